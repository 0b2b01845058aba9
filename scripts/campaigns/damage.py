"""Stored files of which a byte is flipped, or the end is missing.

The files are those that the tests keep. Each byte is replaced by its complement, and has one bit
flipped; and each prefix of a file is tried.
"""

import json
import shutil
import tempfile
import warnings
from collections.abc import Callable
from functools import cache, partial
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jsonschema import Draft202012Validator
from support.stored_files import FILES, continued, same

from campaigns.outcomes import Report, judged
from fcnet.data import load_model, read_schema
from fcnet.train.checkpoint import CheckpointError

WAYS = ("complement", "one bit", "prefix")

SCHEMA = Draft202012Validator(
    {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "additionalProperties": False,
            "required": ["kind"],
            "properties": {
                "kind": {"enum": ["number", "category", "label", "date", "ignored"]},
                "missing": {"type": "array", "items": {"type": "string"}},
                "values": {"type": "array", "items": {"type": "string"}},
            },
        },
    }
)
"""What a schema may be, but for values that are there twice: in other words than the package's."""


class Kind(NamedTuple):
    """A file, and what must hold for its damaged version: fault(path) says in words what does not.

    What raises is judged by its words; `own` are the errors beside ValueError and TypeError.
    """

    file: Path
    fault: Callable[[Path], str | None]
    own: tuple[type, ...] = ()


def _checkpoint(path: Path) -> str | None:
    """A damaged last checkpoint is passed over for the one before."""
    folder = path.parent
    shutil.copy(FILES / "checkpoints" / "step-0000000010.safetensors", folder)
    whole = path.read_bytes() == (FILES / "checkpoints" / path.name).read_bytes()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        step = continued(folder, configuration_of=FILES / "checkpoints" / path.name)
    if step != (20 if whole else 10):
        return f"it continued from step {step}"
    return None if whole or path.name in str(told[0].message) else "no warning names the file"


def _model(path: Path) -> str | None:
    """A damaged model is no model."""
    return None if same(load_model(path), _good_model()) else "another model was read"


@cache
def _good_model() -> Any:
    return load_model(FILES / "model.safetensors")


def _schema(path: Path) -> str | None:
    """A schema that is JSON of the right form after all is read as it stands."""
    try:
        expected = json.loads(path.read_bytes().decode("utf-8-sig"))
    except ValueError:
        read_schema(path)
        return "it is no JSON, but was read"
    if read_schema(path) != expected or not SCHEMA.is_valid(expected):
        return "another schema was read"
    return None


KINDS = (
    Kind(FILES / "checkpoints" / "step-0000000020.safetensors", _checkpoint, (CheckpointError,)),
    Kind(FILES / "model.safetensors", _model),
    Kind(FILES / "schema.json", _schema),
)


def count() -> int:
    """How many damaged files there are."""
    return sum(kind.file.stat().st_size * len(WAYS) for kind in KINDS)


def damaged(raw: bytes, case: int, seed: int) -> bytes:
    """The damaged version of a file of `len(raw)` bytes, of which there are 3 for each byte."""
    position, way = divmod(case, len(WAYS))
    if WAYS[way] == "prefix":
        return raw[:position]
    bit = 1 << int(np.random.default_rng((seed, position)).integers(8))
    flipped = raw[position] ^ (0xFF if WAYS[way] == "complement" else bit)
    return b"".join((raw[:position], bytes([flipped]), raw[position + 1 :]))


def run(seed: int, cases: range, report: Report) -> None:
    """Read damaged files; they are numbered one file after the other, and then from the start."""
    sizes = [kind.file.stat().st_size * len(WAYS) for kind in KINDS]
    ends = [*accumulate(sizes)]
    with tempfile.TemporaryDirectory() as folder:
        for number in cases:
            case = number % ends[-1]
            k = next(k for k, end in enumerate(ends) if case < end)
            kind, case = KINDS[k], case - (ends[k] - sizes[k])
            path = Path(folder) / kind.file.name
            path.write_bytes(damaged(kind.file.read_bytes(), case, seed))
            what = f"{path.name}, byte {case // len(WAYS)}, {WAYS[case % len(WAYS)]}"
            report(judged(partial(kind.fault, path), what, names=path.name, own=kind.own))
            path.unlink()

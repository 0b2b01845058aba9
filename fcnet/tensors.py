"""Safetensors files that hold their own checksum: named arrays, and text beside them.

The format is a JSON header and the bytes of the arrays, so that reading a file executes nothing,
and other programs can read it. One text is the SHA-256 of the file with 64 zeros in its place.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fcnet.extras import extra

NO_SUM = "0" * 64
"""What stands in a file in the place of its checksum, while that is computed."""


def to_bytes(arrays: Mapping[str, np.ndarray], text: Mapping[str, str], checksum: str) -> bytes:
    """A file of these arrays and texts, with its checksum in the text called `checksum`.

    Raises:
        ModuleNotFoundError: without safetensors, of the extra `checkpoint`.
    """
    with extra("checkpoint"):
        from safetensors.numpy import save
    return seal(save(dict(arrays), {**text, checksum: NO_SUM}), checksum)


def read(
    path: Path, checksum: str, *, sealed: bool = False
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the texts of a file, without the checksum.

    Args:
        path: the file.
        checksum: the name of the text that is its checksum.
        sealed: whether it must have one. Files of other programs have none.

    Raises:
        ModuleNotFoundError: without safetensors, of the extra `checkpoint`.
        OSError: if the file cannot be read.
        ValueError: if it is no safetensors file, or its checksum is wrong.
    """
    with extra("checkpoint"):
        from safetensors import SafetensorError, safe_open
    raw = path.read_bytes()
    whole = is_whole(raw, checksum)
    if sealed and not whole:
        raise ValueError(f"{path} is damaged, or fcnet did not write it: its checksum is wrong")
    try:
        with safe_open(path, framework="numpy") as file:  # `load` does not read bfloat16
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            text = dict(file.metadata() or {})
    except SafetensorError as error:
        raise ValueError(f"{path} is not a complete safetensors file: {error}") from error
    if text.pop(checksum, None) and not whole:
        raise ValueError(f"{path} is damaged: its checksum is wrong")
    return arrays, text


def seal(raw: bytes, name: str) -> bytes:
    """A safetensors file with its checksum, SHA-256, in place of `NO_SUM` in its text `name`.

    Its texts are sorted, whose order safetensors draws at random: files that hold the same are the
    same bytes.

    >>> header = b'{"__metadata__":{"sum":"%b","a":"1"}}' % NO_SUM.encode()
    >>> raw = seal(len(header).to_bytes(8, "little") + header, "sum")
    >>> raw[8:35], is_whole(raw, "sum")
    (b'{"__metadata__":{"a":"1","s', True)
    """
    end = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the arrays begin at a multiple of 8
    raw = len(text).to_bytes(8, "little") + text + raw[end:]
    return _sum(name).sub(hashlib.sha256(raw).hexdigest().encode(), raw, count=1)


def is_whole(raw: bytes, name: str) -> bool:
    """Whether a file has the checksum that `seal` has written into its text `name`.

    >>> is_whole(b'{"sum":"%b"}' % NO_SUM.encode(), "sum")
    False
    """
    stored = _sum(name).search(raw)
    blank = _sum(name).sub(NO_SUM.encode(), raw, count=1)
    return stored is not None and hashlib.sha256(blank).hexdigest().encode() == stored[0]


def _sum(name: str) -> re.Pattern[bytes]:
    """Where a checksum stands."""
    return re.compile(rb'(?<="%b":")[0-9a-f]{64}(?=")' % name.encode())

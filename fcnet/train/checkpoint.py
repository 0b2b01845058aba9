"""One checkpoint: named arrays and text in a safetensors file, written whole or not at all.

The format is a JSON header and the arrays' bytes, so that reading one executes nothing, and other
programs can read it. The header's `sha256` is that of the file with 64 zeros in its place.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from fcnet.extras import extra

VERSION = "1"
"""The version of what a checkpoint holds, in its header as `fcnet_checkpoint`."""

BLANK = b"0" * 64
SEAL = re.compile(rb'(?<="sha256":")[0-9a-f]{64}(?=")')


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, cannot be read, or is of another run."""


def write(path: Path, arrays: Mapping[str, np.ndarray], text: Mapping[str, str]) -> None:
    """Write a checkpoint: to a temporary file, which takes its name once it is on the disk.

    Raises:
        CheckpointError: where that fails; a file that had the name before is as it was.
    """
    with extra("checkpoint"):
        from safetensors.numpy import save
    raw = save(dict(arrays), {**text, "fcnet_checkpoint": VERSION, "sha256": BLANK.decode()})
    raw = SEAL.sub(hashlib.sha256(raw).hexdigest().encode(), raw, count=1)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise CheckpointError(
            f"cannot write the checkpoint {path}: {error.strerror}; those before it are as they "
            "were. Make room or choose another folder, then go on with resume=True"
        ) from error


def _sync(folder: Path) -> None:
    """Have a folder's list of names on the disk; on Windows there is no such call."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the text of a checkpoint, once its checksum is found right.

    Raises:
        CheckpointError: for a file that is damaged, or not a checkpoint, or of a later version.
    """
    with extra("checkpoint"):
        from safetensors.numpy import load
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    seal = SEAL.search(raw)
    if (
        seal is None
        or hashlib.sha256(SEAL.sub(BLANK, raw, count=1)).hexdigest() != seal[0].decode()
    ):
        raise CheckpointError(f"{path} is damaged or no checkpoint: its checksum is wrong")
    size = int.from_bytes(raw[:8], "little")
    text = json.loads(raw[8 : 8 + size])["__metadata__"]
    if text.get("fcnet_checkpoint") != VERSION:
        raise CheckpointError(
            f"{path} has version {text.get('fcnet_checkpoint')} of the checkpoints of fcnet, this "
            f"program reads version {VERSION}"
        )
    return load(raw), text

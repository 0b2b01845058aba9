"""Files that are replaced as a whole."""

import csv
import io
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

AnyPath: TypeAlias = str | os.PathLike[str]
"""A path as callers give it."""


def as_path(path: object) -> Path:
    """A path that a caller gives.

    Raises:
        TypeError: for what is no path.

    >>> as_path("runs/model").name
    'model'
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be the name of a file, such as 'a.csv', got {path!r:.60}")
    return Path(path)


def write_file(path: AnyPath, data: bytes) -> None:
    """Write a file, or leave an earlier one of that name unchanged where that fails.

    The data are on the disk before the file has its name. So a reader, or a program that starts
    after a crash, finds all of them or the earlier file. A link is followed, and a device or a pipe
    is written to.

    Raises:
        OSError: if the file cannot be written; it names the file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "file"
    >>> write_file(path, b"new")
    >>> path.read_bytes()
    b'new'
    """
    path = as_path(path).resolve()
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    try:
        replace_file(path, data)
    except OSError as error:
        raise OSError(
            error.errno, f"{error.strerror}; an earlier file is unchanged", str(path)
        ) from error


def replace_file(path: Path, data: bytes) -> None:
    """Write a temporary file beside a file, and rename it to that once it is on the disk.

    Each writer has a temporary file of its own: of several at a time, the last one wins.

    Raises:
        OSError: if it cannot be written; an earlier file is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(OSError):  # most often because it has its new name
            temporary.unlink()


def flush_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk; Windows has no such call."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def as_csv(rows: Iterable[Iterable[Any]]) -> bytes:
    """Rows as lines of CSV, with quotes where they are needed.

    >>> as_csv([["name", "x"], ["a,b", 0.5]]).splitlines()
    [b'name,x', b'"a,b",0.5']
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def write_figure(path: AnyPath, figure: Any) -> None:
    """Write a figure of matplotlib to a PNG file, as `write_file` does."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=150)
    write_file(path, image.getvalue())

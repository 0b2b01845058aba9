"""Files that are replaced as a whole."""

import os
from pathlib import Path


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file, or leave an earlier one of that name unchanged where that fails.

    The data are on the disk before the file has its name. So a reader, or a program that starts
    after a crash, finds all of them or the earlier file.

    Raises:
        OSError: if the file cannot be written.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "file"
    >>> write_file(path, b"new")
    >>> path.read_bytes()
    b'new'
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)

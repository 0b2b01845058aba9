"""What is in the files of a folder, so that two folders can be compared."""

from collections.abc import Collection
from pathlib import Path


def contents(folder: Path, without: Collection[Path] = ()) -> dict[str, bytes]:
    """The bytes of the files in a folder, by name."""
    found = (path for path in folder.rglob("*") if path.is_file() and path not in without)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def difference(found: dict[str, bytes], expected: dict[str, bytes]) -> str:
    """The names of the files in which two folders differ."""
    names = {name for name in {**found, **expected} if found.get(name) != expected.get(name)}
    return f"{', '.join(sorted(names))} differ"

"""What is in the files of a folder, so that two folders can be compared."""

from collections.abc import Collection
from pathlib import Path

from safetensors import SafetensorError, safe_open

SUMS = {"sha256", "fcnet_sha256"}
"""Checksums of a file, which depend on the order of its texts. That order is random."""


def contents(folder: Path, without: Collection[Path] = ()) -> dict[str, object]:
    """The contents of the files in a folder, by name."""
    found = (path for path in folder.rglob("*") if path.is_file() and path not in without)
    return {path.relative_to(folder).as_posix(): _content(path) for path in found}


def _content(path: Path) -> object:
    """The arrays and the texts of a whole safetensors file; the bytes of any other."""
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="numpy") as file:
                names = file.keys()
                arrays = {name: file.get_tensor(name) for name in names}
                texts = {k: v for k, v in file.metadata().items() if k not in SUMS}
            return texts, {n: (str(a.dtype), a.shape, a.tobytes()) for n, a in arrays.items()}
        except SafetensorError:
            pass
    return path.read_bytes()


def difference(found: dict[str, object], expected: dict[str, object]) -> str:
    """The names of the files in which two folders differ."""
    names = {name for name in {**found, **expected} if found.get(name) != expected.get(name)}
    return f"{', '.join(sorted(names))} differ"

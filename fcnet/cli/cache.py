"""How a command uses the machine: XLA has the cores, and its programs are kept for later ones."""

import atexit
import gc
import os
import stat
import sys
import warnings
from contextlib import suppress
from pathlib import Path

PLACES = {
    "win32": ("LOCALAPPDATA", "AppData/Local"),
    "darwin": ("XDG_CACHE_HOME", "Library/Caches"),
}
"""By platform, the variable that names the folder of all caches, and where it is by default."""

MOST_BYTES = 2**28
"""How much is kept; the programs written first are removed first."""

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

VARIABLES = (
    "compiled programs are kept in the user's cache folder, unless others can write there, or\n"
    "in JAX_COMPILATION_CACHE_DIR; JAX_ENABLE_COMPILATION_CACHE=false keeps none"
)


def keep_compiled() -> None:
    """Have JAX, which must not be loaded yet, read and write `cache_folder()`.

    JAX's own variables of the environment count more. Nothing is kept where the folder cannot be
    written, or another user could write; nor in a process that has loaded JAX for itself.
    """
    if "jax" in sys.modules or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    with suppress(OSError, RuntimeError):  # RuntimeError: nobody knows the home folder
        folder = cache_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK) and is_private(folder):
            trim(folder, MOST_BYTES)
            os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
            os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
            # Of a full disk, or of an entry that another process is writing: JAX then compiles.
            warnings.filterwarnings("ignore", "Error .* persistent compilation cache")


def is_private(folder: Path) -> bool:
    """Whether no other user but root can put programs into the folder, which would be executed.

    So it is the user's own, and only they may write to it. Nor may others rename it, or a folder
    above it, to put theirs in its place: the folders above are the user's or root's, and only their
    owner may write to them, or everyone may, but rename only what is theirs, as in /tmp. On Windows
    the folders of a user are private.
    """
    if not hasattr(os, "geteuid"):
        return True
    status, user = folder.stat(), os.geteuid()
    above = {*folder.parents, *folder.resolve().parents}  # of a link, and of its target
    return (
        status.st_uid == user
        and not status.st_mode & OTHERS_WRITE
        and all(_keeps_names(part.stat(), user) for part in above)
    )


def _keeps_names(status: os.stat_result, user: int) -> bool:
    """Whether nobody but the user and root can rename what is theirs in a folder."""
    sticky = status.st_mode & stat.S_ISVTX
    return status.st_uid in (0, user) and bool(sticky or not status.st_mode & OTHERS_WRITE)


def leave_cores_to_xla() -> None:
    """Have NumPy and SciPy, which must not be loaded yet, compute their products on one core.

    The other threads of OpenBLAS wait actively for work, while XLA needs their cores: the linear
    model of a small table takes five times as long. The user's own variable counts more.
    """
    if "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def collect_seldom() -> None:
    """Have Python look for cycles of garbage once in 100,000 new objects instead of 700.

    Of the 250,000 objects that the imports make, one in a hundred is garbage; to look through them
    again and again takes a tenth of a command's time, and at the exit, where the system takes all
    of the memory back anyway, another 0.4 s. A process that has loaded JAX for itself is left as
    it is.
    """
    if "jax" not in sys.modules:
        gc.set_threshold(100_000)
        atexit.register(gc.freeze)


def cache_folder() -> Path:
    """The folder of this program among the user's caches.

    Raises:
        RuntimeError: where the home folder is not known.
    """
    variable, place = PLACES.get(sys.platform, ("XDG_CACHE_HOME", ".cache"))
    given = Path(os.environ.get(variable, ""))
    return (given if given.is_absolute() else Path.home() / place) / "fcnet"


def trim(folder: Path, most: int) -> None:
    """Remove the oldest files of a folder until the others take at most `most` bytes.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for age in (3, 2, 1):
    ...     _ = (folder / str(age)).write_bytes(bytes(10))
    ...     os.utime(folder / str(age), (0, 1000 - age))
    >>> trim(folder, 25)
    >>> sorted(file.name for file in folder.iterdir())
    ['1', '2']
    """
    files = [(file, file.stat()) for file in folder.iterdir() if file.is_file()]
    total = sum(status.st_size for _, status in files)
    for file, status in sorted(files, key=lambda pair: pair[1].st_mtime):
        if total <= most:
            break
        file.unlink(missing_ok=True)
        total -= status.st_size

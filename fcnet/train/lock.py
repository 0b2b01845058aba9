"""A lock that lets one run at a time write to a folder."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fcnet.callers import warn
from fcnet.text import escaped

_held: set[Any] = set()
"""The lock files that this process has open."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is that of its file `.lock`.

    The system keeps the lock and drops it when the process ends, however it ends. The file names
    the process only for the message to another one, so that a file that a killed process left holds
    nothing up. Processes that this one forks do not hold the lock.

    Network file systems such as NFS keep the lock between hosts. Where a file system has no locks,
    a warning says so, and nothing is locked. On Windows nothing is locked.

    Raises:
        BlockingIOError: where another run holds the lock; it names the process.
        OSError: if the file cannot be written.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with locked(folder), locked(folder):
    ...     pass  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    BlockingIOError: process ... on ..., since ..., is writing to it
    """
    # Opened without emptying it, since another process may have written its name into it.
    with open(folder / ".lock", "a+b", buffering=0) as file:
        _lock(file, folder)
        _held.add(file)
        try:
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            holder = f"process {os.getpid()} on {socket.gethostname()}, since {since},"
            file.truncate(0)
            file.write(holder.encode())
            yield
        finally:
            _held.discard(file)
            if not file.closed:  # as it is after a fork
                file.truncate(0)


def _lock(file: Any, folder: Path) -> None:
    """Take the lock of an open file, unless the system has none."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = escaped(file.read(200).decode(errors="replace")) or "another process"
        raise BlockingIOError(f"{holder} is writing to it") from error
    except OSError as error:
        warn(
            f"the file system of {folder} has no locks ({error.strerror}): see to it that no other "
            "run writes to it",
            RuntimeWarning,
        )


def _forget() -> None:
    """Close the lock files in a forked process, which would hold the locks for longer."""
    for file in _held:
        file.close()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

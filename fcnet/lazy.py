"""Imports at the first use of a name, one at a time."""

import importlib
import threading
from typing import Any

from fcnet.signals import noted_signals

_LOCK = threading.RLock()
"""Without it, two threads that import two modules at once could each see half of a third: Python
gives up waiting where modules, such as JAX's, import each other in a circle."""


def load(module: str, name: str | None = None) -> Any:
    """A module, or what it calls `name`, once no other thread is loading one.

    A module that this loads must not ask for `fcnet.NAME`, nor `from fcnet import NAME`, while it
    is imported: a thread that imports it by itself would wait for this one, and this one for it.

    A Ctrl-C acts after the import: half of JAX could not be imported again.

    >>> load("math", "inf")
    inf
    """
    with _LOCK, noted_signals():
        found = importlib.import_module(module)
        return found if name is None else getattr(found, name)

"""Processes that were forked after JAX had started, in which it would wait forever."""

import os
from typing import Any

import jax

_forked = False


def check_process() -> None:
    """Raise in a process that was forked from one in which JAX had started.

    A fork copies one thread, and none of those that JAX waits for.

    Raises:
        RuntimeError: in such a process. One that is forked before JAX has started may use it.
    """
    if _forked:
        raise RuntimeError(
            "this process was forked from one that had used JAX, and would wait forever for its "
            'threads: use multiprocessing.get_context("spawn") or "forkserver", or threads'
        )


def _note() -> None:
    """Note, in a process that was just forked, whether JAX had started."""
    global _forked
    settings: Any = jax.config
    count = settings.jax_num_cpu_devices
    try:
        # JAX refuses another number of devices once it has started.
        settings.update("jax_num_cpu_devices", 1 if count != 1 else 2)
    except RuntimeError:
        _forked = True
    else:
        settings.update("jax_num_cpu_devices", count)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note)

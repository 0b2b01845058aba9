"""State of the whole process: what a candidate changes of it is put back, and a note says so."""

import functools
import pickle
import random
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from fcnet.signals import putting_back

Checker = TypeVar("Checker", bound=Callable[..., Any])


class GlobalState(NamedTuple):
    """A state of the process: its name in a report, and how to read and to set it.

    The name is "" where others than the candidate may change it too.
    """

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], Any]


STATES = (
    GlobalState("np.random", np.random.get_state, np.random.set_state),
    GlobalState("", random.getstate, random.setstate),  # type checkers draw from it
    GlobalState("np.seterr", np.geterr, lambda state: np.seterr(**state)),
)


def _states() -> Iterator[GlobalState]:
    yield from STATES
    if torch := sys.modules.get("torch"):
        yield GlobalState(
            "torch.random",
            lambda: torch.get_rng_state().numpy(),
            lambda state: torch.set_rng_state(torch.from_numpy(state)),
        )
        yield GlobalState("torch.default_dtype", torch.get_default_dtype, torch.set_default_dtype)
        yield GlobalState("torch.grad_enabled", torch.is_grad_enabled, torch.set_grad_enabled)


def _flags() -> dict[str, Any]:
    """JAX's flags for the whole process: another thread does not see those of a `with` block."""
    with ThreadPoolExecutor(1) as other:
        return other.submit(lambda: dict(jax.config.values)).result()


def _put_back(before: list[tuple[GlobalState, Any]], flags: dict[str, Any]) -> list[str]:
    """The names of the states and of the flags of JAX that differ, after they are set to these."""
    changed = []
    for state, then in before:
        if pickle.dumps(state.get()) != pickle.dumps(then):
            state.put(then)
            changed += [state.name] if state.name else []
    now = _flags()
    update: Any = jax.config.update
    for flag, value in flags.items():
        if now[flag] != value:
            update(flag, value)
            changed.append(f"jax.config.{flag}")
    return changed


def keeps_global_state(check: Checker) -> Checker:
    """A check that puts back what its candidate changes in global state, and says so in a note.

    Dtypes are promoted in the standard way: what strict promotion allows is the same in both.
    """

    @functools.wraps(check)
    def wrapper(*args: Any, **options: Any) -> Any:
        before, flags = [(state, state.get()) for state in _states()], _flags()
        changed: list[str] = []
        with putting_back() as stack, jax.numpy_dtype_promotion("standard"):
            stack.callback(lambda: changed.extend(_put_back(before, flags)))
            report = check(*args, **options)
        if not changed:
            return report
        note = f"the calls changed the global state of {', '.join(changed)}; it was put back"
        return replace(report, notes=(*report.notes, note))

    return wrapper  # type: ignore[return-value]

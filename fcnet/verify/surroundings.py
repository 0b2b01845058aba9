"""State of the whole process that a candidate may change: put back after a check, and told."""

import functools
import operator
import pickle
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

Checker = TypeVar("Checker", bound=Callable[..., Any])


def _equal_bytes(one: Any, other: Any) -> bool:
    return pickle.dumps(one) == pickle.dumps(other)


class GlobalState(NamedTuple):
    """A state of the process: its name in a report, how to read, set and compare it.

    The name is "" where others than the candidate may change it too.
    """

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], Any]
    same: Callable[[Any, Any], bool] = _equal_bytes


def _set_errors(state: dict[str, Any]) -> None:
    np.seterr(**state)


STATES = (
    GlobalState("np.random", np.random.get_state, np.random.set_state),
    GlobalState("", random.getstate, random.setstate),  # type checkers draw from it
    GlobalState("np.seterr", np.geterr, _set_errors),
)


def _flag(name: str) -> Any:
    return jax.config.values[name]


def _states() -> Iterator[GlobalState]:
    yield from STATES
    for flag in jax.config.values:
        get = functools.partial(_flag, flag)
        put = functools.partial(jax.config.update, flag)
        yield GlobalState(f"jax.config.{flag}", get, put, operator.eq)
    if torch := sys.modules.get("torch"):
        yield GlobalState(
            "torch.random",
            lambda: torch.get_rng_state().numpy(),
            lambda state: torch.set_rng_state(torch.from_numpy(state)),
        )


def keeps_global_state(check: Checker) -> Checker:
    """A check that puts back what its candidate changes in `STATES`, and says so in a note."""

    @functools.wraps(check)
    def wrapper(*args: Any, **options: Any) -> Any:
        before = [(state, state.get()) for state in _states()]
        changed = []
        try:
            report = check(*args, **options)
        finally:
            for state, then in before:
                if not state.same(state.get(), then):
                    state.put(then)
                    changed += [state.name] if state.name else []
        if not changed:
            return report
        note = f"the calls changed the global state of {', '.join(changed)}; it was put back"
        return replace(report, notes=(*report.notes, note))

    return wrapper  # type: ignore[return-value]

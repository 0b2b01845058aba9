"""Malformed calls of the public functions.

As in the tests, one argument of a good call is malformed, and must be refused in words that name
it. Or two arguments are; or one argument of a function of the public modules, or of
`check_gradient` and `check_vjp`, is replaced by any value of no use. Some of these values are fine,
so that a call may return, but no error may be another library's.
"""

import itertools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from support.malformed_arguments import JUNK, NOT_FINITE, array_of_shape, bad, good
from support.malformed_calls import complaint, malformed
from support.room_calls import room_calls

import fcnet
from campaigns.outcomes import Report, Result, judged
from fcnet.train.checkpoint import CheckpointError

Call = tuple[str, Callable[..., Any], dict[str, Any]]
"""A name, a function and its arguments."""

ANYTHING = (
    JUNK
    | NOT_FINITE
    | array_of_shape(lambda shape: True)
    | st.sampled_from([np.full((4, 3), np.nan), np.ones((4, 3), int), jnp.ones(3), len, "relu"])
    | st.integers(-(2**70), 2**70)
    | st.text(max_size=3)
)


@st.composite
def two_malformed(draw: Any) -> Call:
    """A call with two malformed arguments."""
    name = draw(st.sampled_from([name for name, call in good().items() if len(call) > 1]))
    pair = draw(st.sampled_from([*itertools.combinations(good()[name], 2)]))
    return name, getattr(fcnet, name), good()[name] | {arg: draw(bad(name, arg)) for arg in pair}


@st.composite
def in_a_room(draw: Any) -> Call:
    """A call of a function of a public module with one argument that is anything."""
    name, (function, call) = draw(st.sampled_from([*room_calls().items()]))
    return name, function, call | {draw(st.sampled_from([*call])): draw(ANYTHING)}


def _checked(check: str, **call: Any) -> Any:
    arguments = call.pop("arguments")
    arguments = arguments if isinstance(arguments, list) else [arguments]
    return getattr(fcnet, check)(*call.values(), *arguments)


@st.composite
def general_checks(draw: Any) -> Call:
    """A call of `check_gradient` or `check_vjp` with one argument that is anything."""
    check = draw(st.sampled_from(["check_gradient", "check_vjp"]))
    function = (lambda x: 2 * x) if check == "check_gradient" else jnp.square
    call = {
        "candidate": function,
        "function": lambda x: jnp.sum(x * x),
        "arguments": [np.arange(3.0)],
    }
    call[draw(st.sampled_from([*call]))] = draw(ANYTHING)
    return check, lambda **call: _checked(check, **call), call


def one(draw: Any) -> Result:
    """What becomes of a call with one malformed argument, which must be refused by its name."""
    name, argument, call = draw(malformed())
    fault = complaint(getattr(fcnet, name), argument, call)
    if fault is None:
        return Result("refused")
    outcome = "wrong" if fault == "accepted" else "foreign"
    return Result(outcome, f"{name}({argument}={call.get(argument)!r:.200}): {fault:.300}")


def any_call(strategy: st.SearchStrategy[Call]) -> Callable[[Any], Result]:
    """What becomes of a call that may be fine."""

    def result(draw: Any) -> Result:
        name, function, call = draw(strategy)
        shown = ", ".join(f"{key}={value!r:.80}" for key, value in call.items())
        return judged(lambda: _called(function, call), f"{name}({shown:.400})", own=ERRORS)

    return result


ERRORS = (OSError, CheckpointError, fcnet.NonFiniteError)


def _called(function: Callable[..., Any], call: dict[str, Any]) -> None:
    try:
        function(**call)
    finally:
        plt.close("all")


SHARES = (
    (one, 12),
    (any_call(two_malformed()), 4),
    (any_call(in_a_room()), 3),
    (any_call(general_checks()), 1),
)
"""What is called, and how often among 20 calls."""
KINDS = [kind for kind, times in SHARES for _ in range(times)]


def run(seed: int, cases: range, report: Report) -> None:
    """Make malformed calls."""

    @seeded(hash((seed, cases.start)))
    @settings(
        max_examples=len(cases),
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def throw(data: Any) -> None:
        report(data.draw(st.sampled_from(KINDS))(data.draw))

    throw()

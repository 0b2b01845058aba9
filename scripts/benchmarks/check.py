"""How well gradient checkers distinguish right backward passes from wrong ones.

The candidates have one planted fault each, in eight regimes; or they are correct programs, written
independently in many ways; or one entry of a right gradient has an error of decreasing size. Every
checker gets the same functions at the same points; the slow ones get every fourth. Arrays that a
checker cannot read, such as bfloat16, count as an alarm, on right and wrong programs alike: where
false alarms are 100 %, the detection rate means nothing.
"""

import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.checkers import CHECKERS, NEEDS, Claim
from benchmarks.programs import (
    DTYPES,
    REGIMES,
    Regime,
    right_programs,
    with_error,
    wrong_programs,
)
from benchmarks.record import Row

SEEDS = 3
"""Random networks in each regime."""

OURS = "fcnet.check"

SIZES = 10.0 ** np.arange(-16, 3)
"""Relative errors of one entry. The sensitivity is the least from which a checker sees all."""


def run(quick: bool) -> Iterator[Row]:
    """Detection, false alarms, localisation and cost."""
    checkers = _installed()
    return (
        _score(regime, name, checkers[name], quick)
        for regime in REGIMES[: 1 if quick else None]
        for name in checkers
    )


def sensitivity(quick: bool) -> Iterator[Row]:
    """The least relative error of one entry, of median size, that a checker sees."""
    checkers = _installed()
    return (
        Row(dtype, name, {"least_error": _least_seen(dtype, check, SIZES[:: 6 if quick else 1])})
        for dtype in list(DTYPES)[: 1 if quick else None]
        for name, check in checkers.items()
    )


def _installed() -> dict[str, Callable[[Claim], Any]]:
    """The checkers whose libraries are installed; a line is printed for each of the others."""
    found = {}
    for name, check in CHECKERS.items():
        library = name.split(".")[0]
        if library in NEEDS and importlib.util.find_spec(library) is None:
            print(f"{name} is left out: {library} is not installed")
        else:
            found[name] = check
    return found


def _score(regime: Regime, name: str, check: Callable[[Claim], Any], quick: bool) -> Row:
    seeds = 1 if quick else SEEDS
    some = slice(None, 6 if quick else None, 1 if name == OURS or quick else 4)
    wrong = list(wrong_programs(regime, seeds))[some]
    right = list(right_programs(regime, 2 * seeds))[some]
    jax.clear_caches()  # hundreds of programs that the previous checker compiled
    on_wrong, on_right = Cost([], []), Cost([], [])
    alarms = [_alarm(check, claim, on_wrong) for claim, _ in wrong]
    false = [_alarm(check, claim, on_right)[0] for claim in right]
    placed = [
        {(f.line, f.quantity, f.layer) for f in report.findings} == {place}
        for (_, report), (_, place) in zip(alarms, wrong, strict=True)
        if report is not None
    ]
    values = {
        "detected": np.mean([alarm for alarm, _ in alarms]),
        "wrong": len(wrong),
        "false_alarms": np.mean(false),
        "right": len(right),
        "placed": np.mean(placed) if placed else np.nan,
        "wrong_calls": np.median(on_wrong.calls),
        "right_calls": np.median(on_right.calls),
        "wrong_s": np.median(on_wrong.seconds),
        "right_s": np.median(on_right.seconds),
    }
    return Row(regime.name, name, {key: float(value) for key, value in values.items()})


class Cost(NamedTuple):
    """The seconds and the calls of the candidate that each answer took."""

    seconds: list[float]
    calls: list[int]


def _alarm(check: Callable[[Claim], Any], claim: Claim, cost: Cost) -> tuple[bool, Any]:
    """Whether the checker raises an alarm, and fcnet's report if it makes one."""
    count = 0

    def counted(params: Any, X: Any, Y: Any) -> Any:
        nonlocal count
        count += 1
        return claim.backward(params, X, Y)

    double = claim.X.dtype == np.float64
    start = time.perf_counter()
    with warnings.catch_warnings(), np.errstate(all="ignore"), jax.enable_x64(double):
        warnings.simplefilter("ignore")
        try:
            answer = check(claim._replace(backward=counted))
        except Exception:
            answer = True
    cost.seconds.append(time.perf_counter() - start)
    cost.calls.append(count)
    if isinstance(answer, bool):
        return answer, None
    return answer.verdict == "wrong", answer


def _least_seen(dtype: str, check: Callable[[Claim], Any], sizes: np.ndarray) -> float:
    """The least error that the checker sees in the first layer's weights, of 64 parameters."""
    regime = Regime(dtype, dtype=dtype)

    def seen(size: float) -> bool:
        return _alarm(check, with_error(regime, size), Cost([], []))[0]

    if seen(0.0):
        return float("nan")  # an alarm without an error: nothing is seen
    least = float("inf")
    for size in sizes[::-1]:
        if not seen(size):
            break
        least = float(size)
    return least

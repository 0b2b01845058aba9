"""Known mistakes that are made in any line: factors, signs, bounds, units lost or misplaced."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fcnet.verify.diagnose.line import Mistake
from fcnet.verify.diagnose.single import Step
from fcnet.verify.factors import FACTORS

ANY_LINE = "24Wb"


def _peak(s: Step) -> float:
    peak = max(abs(peer.got).max() for peer in s.peers)
    if not peak:
        raise ValueError("all entries are zero, so there is no bound")
    return float(peak)


def _longest(s: Step) -> float:
    _peak(s)
    return max(float(np.linalg.norm(peer.got)) for peer in s.peers)


def _times(c: float) -> Callable[..., Any]:
    return lambda s, e, k: c * s.expected


def zeroed(value: np.ndarray, where: Any) -> np.ndarray:
    """A copy with zeros at an index."""
    value = value.copy()
    value[where] = 0
    return value


def _only(s: Step, i: int) -> np.ndarray:
    value = np.zeros_like(s.expected)
    value[i] = s.expected[i]
    return value


def _fan_in(s: Step) -> int:
    return s.example.W(s.k).shape[1]


def _width(s: Step) -> int:
    return s.example.W(s.k).shape[0]


def _outputs(s: Step) -> int:
    return len(s.example.y)


def _rate(s: Step) -> float:
    if not s.example.answer.rate:
        raise ValueError("there is no step")
    return s.example.answer.rate


COMMON = (
    Mistake(
        "zero", ANY_LINE, lambda s, e, k: 0 * s.expected, "is zero: it is not computed, or cut off"
    ),
    *(Mistake(factor.kind, ANY_LINE, _times(factor.value), factor.says) for factor in FACTORS),
    Mistake(
        "without_rate",
        "Wb",
        lambda s, e, k: s.expected / _rate(s),
        "is not multiplied by the learning rate",
    ),
    Mistake(
        "rate_twice",
        "Wb",
        lambda s, e, k: s.expected * _rate(s),
        "is multiplied by the learning rate twice",
    ),
    Mistake(
        "per_output",
        ANY_LINE,
        lambda s, e, k: s.expected / _outputs(s),
        "is divided by the number of outputs",
    ),
    Mistake(
        "mean_squared_error",
        "2",
        lambda s, e, k: 2 * s.expected / _outputs(s),
        "is 2 / (number of outputs) times what it must be: the derivative of a mean of squares, "
        "not of half their sum",
    ),
    Mistake(
        "times_outputs",
        ANY_LINE,
        lambda s, e, k: s.expected * _outputs(s),
        "is multiplied by the number of outputs",
    ),
)
"""Tried first, on any line."""

RARE = (
    Mistake(
        "per_unit",
        ANY_LINE,
        lambda s, e, k: s.expected / _width(s),
        "is divided by the number of units of layer {k}",
    ),
    Mistake(
        "times_units",
        ANY_LINE,
        lambda s, e, k: s.expected * _width(s),
        "is multiplied by the number of units of layer {k}",
    ),
    Mistake(
        "per_input",
        ANY_LINE,
        lambda s, e, k: s.expected / _fan_in(s),
        "is divided by the number of inputs of layer {k}",
    ),
    Mistake(
        "times_inputs",
        ANY_LINE,
        lambda s, e, k: s.expected * _fan_in(s),
        "is multiplied by the number of inputs of layer {k}",
    ),
    Mistake(
        "per_root_input",
        ANY_LINE,
        lambda s, e, k: s.expected / np.sqrt(_fan_in(s)),
        "is divided by the square root of the number of inputs of layer {k}",
    ),
    Mistake(
        "first_call",
        ANY_LINE,
        lambda s, e, k: s.peers[0].expected,
        "is that of the first input it was called with: a cache is never renewed",
    ),
    Mistake(
        "absolute",
        ANY_LINE,
        lambda s, e, k: abs(s.expected),
        "has lost its sign: only the size is left",
    ),
    Mistake("squared", ANY_LINE, lambda s, e, k: s.expected**2, "is squared"),
    Mistake(
        "sign_only",
        ANY_LINE,
        lambda s, e, k: np.sign(s.expected),
        "is +1 or -1: only the sign is left",
    ),
    Mistake(
        "positive_part",
        ANY_LINE,
        lambda s, e, k: np.maximum(s.expected, 0),
        "has its negative entries cut off",
    ),
    Mistake(
        "clipped",
        ANY_LINE,
        lambda s, e, k: np.clip(s.expected, -_peak(s), _peak(s)),
        "is clipped entry by entry",
    ),
    Mistake(
        "clipped_norm",
        ANY_LINE,
        lambda s, e, k: s.expected * min(1.0, _longest(s) / np.linalg.norm(s.expected)),
        "is clipped to a largest norm",
    ),
    Mistake(
        "normalised",
        ANY_LINE,
        lambda s, e, k: s.expected / np.linalg.norm(s.expected),
        "is divided by its own norm",
    ),
    Mistake(
        "truncated",
        ANY_LINE,
        lambda s, e, k: np.trunc(s.expected),
        "is cut to whole numbers: an integer array, or //",
    ),
    Mistake(
        "rounded", ANY_LINE, lambda s, e, k: np.round(s.expected), "is rounded to whole numbers"
    ),
    Mistake(
        "summed",
        ANY_LINE,
        lambda s, e, k: np.full_like(s.expected, s.expected.sum()),
        "is one number for all entries, the sum of what they must be",
    ),
    Mistake(
        "averaged",
        ANY_LINE,
        lambda s, e, k: np.full_like(s.expected, s.expected.mean()),
        "is one number for all entries, the mean of what they must be",
    ),
    Mistake(
        "cumulated",
        ANY_LINE,
        lambda s, e, k: s.expected.cumsum(0),
        "adds up from unit to unit: a sum is not restarted for each unit",
    ),
    Mistake(
        "first_unit_dropped",
        ANY_LINE,
        lambda s, e, k: zeroed(s.expected, 0),
        "leaves out the first unit of layer {k}",
    ),
    Mistake(
        "last_unit_dropped",
        ANY_LINE,
        lambda s, e, k: zeroed(s.expected, -1),
        "leaves out the last unit of layer {k}",
    ),
    Mistake(
        "first_unit_only",
        ANY_LINE,
        lambda s, e, k: _only(s, 0),
        "has the first unit of layer {k} only",
    ),
    Mistake(
        "last_unit_only",
        ANY_LINE,
        lambda s, e, k: _only(s, -1),
        "has the last unit of layer {k} only",
    ),
    Mistake(
        "units_reversed",
        ANY_LINE,
        lambda s, e, k: s.expected[::-1],
        "has the units of layer {k} in reverse order",
    ),
    Mistake(
        "units_shifted",
        ANY_LINE,
        lambda s, e, k: np.roll(s.expected, 1, 0),
        "is shifted by one unit of layer {k}",
    ),
    Mistake(
        "units_shifted_back",
        ANY_LINE,
        lambda s, e, k: np.roll(s.expected, -1, 0),
        "is shifted back by one unit of layer {k}",
    ),
    Mistake(
        "scaled",
        ANY_LINE,
        lambda s, e, k: (0 * s.expected, s.expected),
        "is {c} times what it must be, on every input",
    ),
    Mistake(
        "constant_added",
        ANY_LINE,
        lambda s, e, k: (s.expected, np.ones_like(s.expected)),
        "has {c} added to every entry",
    ),
)
"""Tried last, on any line."""

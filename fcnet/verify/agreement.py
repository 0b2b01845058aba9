"""Whether two answers to the same input agree, whatever is right."""

from collections.abc import Sequence

import jax
import numpy as np

from fcnet.arrays import unit_roundoff
from fcnet.verify.types import Answer, Reference, Values, matching

NOISE = 16
"""Units of rounding by which two orders of summation may differ, relative to an array's largest."""


def bounds_of(right: Reference) -> list[Values]:
    """How far two correct answers may be apart: both by rounding, and at kinks by a choice."""
    both = (matching(right.gradient, layers) for layers in (right.tolerance, right.slack))
    return [2 * tolerance + slack for tolerance, slack in zip(*both, strict=True)]


def agree(one: Answer, other: Answer | None, bounds: Sequence[Values]) -> bool:
    """Whether rounding explains the difference of two answers to the same input.

    They may differ by `bounds`, and by `NOISE` roundings of the array's largest entry, since a
    wrong gradient has rounding errors where the bound is zero. NaN agrees with NaN: whether a
    gradient is finite is another question.
    """
    if other is None:
        return False
    pairs = zip(*map(jax.tree.leaves, (one.gradient, other.gradient)), strict=True)
    least = NOISE * unit_roundoff(one.dtype)
    with np.errstate(invalid="ignore"):  # inf - inf
        return all(
            bool(np.all(_same(a, b) | (abs(a - b) <= bound + least * _largest_finite(a, b))))
            for (a, b), bound in zip(pairs, bounds, strict=True)
        )


def distance(one: Answer, other: Answer) -> float:
    """The largest difference relative to the largest entry of its array; 0 for equal answers."""
    largest = 0.0
    for a, b in zip(*map(jax.tree.leaves, (one.gradient, other.gradient)), strict=True):
        differs = ~_same(a, b)
        if differs.any():
            with np.errstate(invalid="ignore"):
                off = abs(a - b)[differs].max() / max(abs(a).max(), abs(b).max())
            largest = max(largest, float(np.nan_to_num(off, nan=np.inf)))
    return largest


def _largest_finite(a: np.ndarray, b: np.ndarray) -> float:
    return max(float(abs(x[np.isfinite(x)]).max(initial=0)) for x in (a, b))


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a == b) | (np.isnan(a) & np.isnan(b))

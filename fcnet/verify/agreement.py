"""Whether two answers to the same question are the same, up to rounding."""

import jax
import numpy as np

from fcnet.arrays import unit_roundoff
from fcnet.verify.types import Answer, Reference

NOISE = 16
"""Units of rounding by which two orders of summation may differ, relative to an array's largest."""


def agree(one: Answer, other: Answer | None, reference: Reference) -> bool:
    """Whether both answers may be right: apart by no more than twice what one may be off.

    Or by less than `NOISE` of the array's largest entry: a wrong gradient is rounded where the true
    one, and what it may be off, is zero. NaN agrees with NaN: whether a gradient is finite is
    another question.
    """
    if other is None:
        return False
    bounds = jax.tree.map(lambda t, s: 2 * t + s, reference.tolerance, reference.slack)
    leaves = zip(*map(jax.tree.leaves, (one.gradient, other.gradient, bounds)), strict=True)
    least = NOISE * unit_roundoff(one.dtype)
    with np.errstate(invalid="ignore"):  # inf - inf
        return all(
            bool(np.all(_same(a, b) | (abs(a - b) <= bound + least * _largest(a, b))))
            for a, b, bound in leaves
        )


def distance(one: Answer, other: Answer) -> float:
    """The largest difference relative to the largest entry of its array; 0 for equal answers."""
    worst = 0.0
    for a, b in zip(*map(jax.tree.leaves, (one.gradient, other.gradient)), strict=True):
        differs = ~_same(a, b)
        if differs.any():
            with np.errstate(invalid="ignore"):
                off = abs(a - b)[differs].max() / max(abs(a).max(), abs(b).max())
            worst = max(worst, float(np.nan_to_num(off, nan=np.inf)))
    return worst


def _largest(a: np.ndarray, b: np.ndarray) -> float:
    """The largest finite entry of both."""
    return max(float(abs(x[np.isfinite(x)]).max(initial=0)) for x in (a, b))


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a == b) | (np.isnan(a) & np.isnan(b))

"""Whether two answers to the same question are the same, up to rounding."""

import jax
import numpy as np

from fcnet.verify.types import Answer, Reference


def agree(one: Answer, other: Answer | None, reference: Reference) -> bool:
    """Whether both answers may be right: apart by no more than twice what one may be off.

    NaN agrees with NaN: whether a gradient is finite is another question.
    """
    if other is None:
        return False
    bounds = jax.tree.map(lambda t, s: 2 * t + s, reference.tolerance, reference.slack)
    leaves = zip(*map(jax.tree.leaves, (one.gradient, other.gradient, bounds)), strict=True)
    with np.errstate(invalid="ignore"):  # inf - inf
        return all(bool(np.all(_same(a, b) | (abs(a - b) <= bound))) for a, b, bound in leaves)


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


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a == b) | (np.isnan(a) & np.isnan(b))

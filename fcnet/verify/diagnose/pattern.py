"""Patterns of arrays and errors: one factor, a few places, rank one."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from fcnet.verify.types import NOT_ZERO, Values

FEW = 4
"""The most indices or factors that a message lists."""

NEARLY = 1e-3
"""The largest error, relative to the largest number, of what is nearly right."""


def little(got: Sequence[Values], right: Sequence[Values]) -> str:
    """That the numbers are off by little, which no slip in a formula does; "" if they are by more.

    >>> little([np.ones(3)], [np.ones(3) + 1e-8])[:47]
    'is off by 1e-08 of its largest number at most: '
    """
    pairs = zip(got, right, strict=True)
    share = max(abs(g - r).max(initial=0) / max(abs(r).max(initial=0), NOT_ZERO) for g, r in pairs)
    return (
        f"is off by {share:.1g} of its largest number at most: little, and yet more than rounding, "
        "as by an epsilon, a tolerance, a small term, or a constant of few digits, such as one of "
        "JAX in float32"
        if share < NEARLY
        else ""
    )


def fitted_factor(
    got: Sequence[Values],
    base: Sequence[Values],
    axis: tuple[int, ...] | None = None,
    default: float = 1.0,
) -> Values:
    """The least-squares c of got = c base, on all inputs; the axes summed over have length 1.

    `default` stands where the base is zero.

    >>> fitted_factor([np.array([2.0, 4.0])], [np.array([1.0, 2.0])])
    array([2.])
    """
    pairs = list(zip(got, base, strict=True))
    top = sum(np.sum(g * b, axis, keepdims=True) for g, b in pairs)
    bottom = sum(np.sum(b * b, axis, keepdims=True) for _, b in pairs)
    return np.asarray(np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1), default))


def few_indices(wrong: Bool[np.ndarray, "..."], axis: int) -> list[int]:
    """The indices along an axis with a wrong entry, if they are few; else none.

    >>> few_indices(np.array([[False, True], [False, False], [False, False]]), axis=0)
    [0]
    """
    lines = np.moveaxis(wrong, axis, 0).reshape(wrong.shape[axis], -1).any(1)
    where: list[int] = np.flatnonzero(lines).tolist()
    return where if len(where) <= min(FEW, wrong.shape[axis] // 2) else []


def few_entries(wrong: Bool[np.ndarray, "..."]) -> list[tuple[int, ...]]:
    """The indices of the wrong entries, if they are few; else none."""
    entries = [tuple(at) for at in np.argwhere(wrong).tolist()]
    return entries if len(entries) <= min(FEW, wrong.size // 2) else []


def rank_one(matrix: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m n"]:
    """The matrix of rank one with the row and the column of the largest entry."""
    i, j = np.unravel_index(np.argmax(abs(matrix)), matrix.shape)
    return np.outer(matrix[:, j], matrix[i]) / (matrix[i, j] or 1)


def is_product(dW: Values, delta: Values | None, a: Values, u: float) -> bool:
    """Whether dW = delta a^T, to half the digits of unit roundoff u; for any delta if it is None.

    >>> is_product(np.array([[2.0, 4.0]]), np.array([2.0]), np.array([1.0, 2.0]), u=2.0**-53)
    True
    """
    delta = dW @ a / max(a @ a, NOT_ZERO) if delta is None else delta
    return bool((abs(dW - np.outer(delta, a)) <= np.sqrt(u) * abs(dW).max()).all())

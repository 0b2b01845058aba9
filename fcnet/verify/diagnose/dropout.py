"""Dropout left on: which units a call dropped is read off its gradients, and undone.

On one example dJ/dW^[k+1] = delta^[k+1] a^[k]^T and dJ/db^[k+1] = delta^[k+1]. So the activations
that a call used can be read: a unit that was dropped has 0, every other one c times its activation.
A network with mask m on a^[k] is one without dropout whose weights are W^[k+1] diag(m). There every
line can be judged as ever.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fcnet.arrays import unit_roundoff
from fcnet.types import Activation
from fcnet.verify.diagnose.line import Vector
from fcnet.verify.truth.functions import activated
from fcnet.verify.types import Answer, Answered, Cost, Finding

VISIBLE = 1e-3
"""The least activation that shows whether it is used, relative to its layer's largest."""

ROUNDINGS, LEAST = 1000, 1e-9
"""The factors of the units that are kept are equal up to `ROUNDINGS` roundings plus `LEAST`,
relatively."""

SCALED = 1.001
"""Factors above it show that the units that are kept are scaled."""


class Dropout(NamedTuple):
    """Dropout on a^[k]: the factor of the units that are kept, and the share of those dropped."""

    k: int
    factor: float
    dropped: float

    @property
    def finding(self) -> Finding:
        """What to tell the user."""
        scaled = self.factor > SCALED
        rate = 1 - 1 / self.factor if scaled else self.dropped
        kept = f"{self.factor:.4g} times as large" if scaled else "as they are"
        where = f"a[{self.k}]" if self.k else "the input x"
        message = (
            f"{where} has dropout: in a call some of its units are 0, and the others {kept}, "
            f"{'a' if scaled else 'about a'} rate of {rate:.3g}; switch dropout off for the check. "
            "All else is judged with the units that each call dropped."
            if self.dropped
            else f"{where} is {kept}: leave this factor out, or, if it is that of dropout with a "
            f"rate of {rate:.3g}, switch dropout off for the check. All else is judged with it."
        )
        return Finding(1, "", self.k or None, "dropout", message)


@np.errstate(all="ignore")  # a wrong candidate may return any values
def undo_dropout(
    cost: Cost, singles: Sequence[Answered], by_factor: bool
) -> tuple[list[Dropout], list[Answered]]:
    """Where dropout is on, and the same answers for networks without it.

    Args:
        cost: gives the activations.
        singles: cases of one example with the answers of single calls, each with units of its own
            dropped.
        by_factor: whether a factor above 1 of a hidden layer shows it too, where no call has
            dropped a unit.

    Returns:
        No dropout, and nothing else, unless some layer shows it: in every call each unit has either
        0 or one factor c, the same for all, and some have 0.
    """
    found: list[Dropout] = []
    a = [single.case.X[0] for single in singles]
    tolerance = ROUNDINGS * unit_roundoff(singles[0].answer.dtype) + LEAST
    for k, activation in enumerate(cost.activations(singles[0].case.r)):
        used = [_used(single.answer, k) for single in singles]
        factor, drops = _factor(a, used, tolerance)
        if factor is not None and (drops or (by_factor and k and factor > SCALED)):
            deltas = [single.answer.gradient[k - 1].b if k else None for single in singles]
            masks = [
                _mask(*triple, factor) if drops else np.full(triple[0].shape, factor)
                for triple in zip(a, used, deltas, strict=True)
            ]
            found.append(Dropout(k, factor, float(np.mean([mask == 0 for mask in masks]))))
            singles = [
                _undone(*triple, k, tolerance) for triple in zip(singles, masks, a, strict=True)
            ]
        a = [_next(activation, s, k, x) for s, x in zip(singles, a, strict=True)]
    return (found, list(singles)) if found else ([], [])


def _used(answer: Answer, k: int) -> Vector | None:
    """The activations a^[k] that a call used; None where its gradient does not show them."""
    dW, db = (None if x is None else np.asarray(x) for x in answer.gradient[k])
    if dW is None or db is None or not db.any() or not np.isfinite(dW).all():
        return None
    return dW.T @ db / (db @ db)


def _factor(
    a: Sequence[Vector], used: Sequence[Vector | None], tolerance: float
) -> tuple[float | None, bool]:
    """c, if every activation is used 0 or c times, else None; and whether some are 0 times."""
    pairs = [(x, y) for x, y in zip(a, used, strict=True) if y is not None and x.any()]
    if not pairs:
        return None, False
    ratios = np.concatenate([(y / np.where(x, x, 1))[_visible(x)] for x, y in pairs])
    values = np.concatenate([x[_visible(x)] for x, _ in pairs])
    on = abs(ratios) > tolerance
    kept, low, high = ratios[on], values[on], values[~on]
    drops = len(kept) < len(ratios)
    if len(kept) < 2:
        return None, drops
    if drops and (low.max() < high.min() or high.max() < low.min()):
        return None, drops  # a threshold, such as a ReLU of a^[k]
    c = float(np.median(kept))
    is_one = c > 1 - tolerance and bool((abs(kept - c) <= tolerance * c).all())
    return (c if is_one else None), drops


def _visible(a: Vector) -> np.ndarray:
    return np.asarray(abs(a) > VISIBLE * abs(a).max())


def _mask(a: Vector, used: Vector | None, delta: Any, factor: float) -> Vector:
    """0 or the factor for each unit. One whose activation is near 0 shows by its delta."""
    silent = np.zeros(a.shape, bool) if delta is None else np.asarray(delta) == 0
    seen = _visible(a) if used is not None else np.zeros(a.shape, bool)
    dropped = np.where(seen, abs(a if used is None else used) < factor * abs(a) / 2, silent)
    return np.where(dropped, 0, factor)


def _undone(single: Answered, mask: Vector, a: Vector, k: int, tolerance: float) -> Answered:
    """The case and the answer of the network without dropout on a^[k].

    Where a penalty of the weights was taken away, its rounding is left for 0.
    """
    params: list[Any] = list(single.case.params)
    gradient: list[Any] = list(single.answer.gradient)
    layer, given = params[k], gradient[k]
    dW = np.asarray(given.W)
    fill = np.outer(np.asarray(given.b), a) if given.b is not None else 0 * dW
    lost = (mask == 0) & (abs(dW) <= tolerance * abs(np.asarray(layer.W)))
    restored = np.where(lost, fill, dW / np.where(mask, mask, 1))
    params[k] = layer._replace(W=np.asarray(layer.W) * mask)
    gradient[k] = given._replace(W=restored)
    return Answered(
        single.case._replace(params=tuple(params)),
        single.answer._replace(gradient=tuple(gradient)),
    )


def _next(activation: Activation, single: Answered, k: int, a: Vector) -> Vector:
    """a^[k+1] from a^[k]."""
    W, b = single.case.params[k]
    return activated(activation, np.asarray(W) @ a + np.asarray(b))

"""The pattern of an error that no known mistake explains: which entries, and in what proportion."""

from collections.abc import Iterable, Sequence

import numpy as np

from fcnet.verify.line import Line

SHOWN = 4
"""How many factors or indices are listed."""


def pattern(lines: Sequence[Line]) -> str:
    """A phrase on how the candidate's numbers differ from the line's; the worst example first.

    Tried in turn: one factor on each example, one for each unit or each input of the layer, a few
    wrong units, inputs or entries, a difference of rank one. {k} is left for the layer.
    """
    found = _factors(lines) or _places(lines) or _rank_one(lines[0]) or _largest(lines[0])
    return f"fits no known mistake: {found}"


def _factors(lines: Sequence[Line]) -> str | None:
    informative = [line for line in lines if line.expected.any() and line.got.size > 1]
    if informative and all(_agrees(line, _factor([line], None)) for line in informative):
        factors = [_factor([line], None).item() for line in informative]
        return f"a factor that changes with the input, {_listed(factors)}"
    axes = {"unit": (1,), "input": (0,)} if lines[0].got.ndim == 2 else {"unit": ()}
    for name, axis in axes.items():
        factor = _factor(lines, axis)
        if len(informative) > 1 and all(_agrees(line, factor) for line in lines):
            return f"a factor for each {name} of layer {{k}}, {_listed(factor.ravel())}"
    return None


def _factor(lines: Sequence[Line], axis: tuple[int, ...] | None) -> np.ndarray:
    """The least-squares factor of got over expected, along the axes."""
    top = sum(np.sum(s.got * s.expected, axis, keepdims=True) for s in lines)
    bottom = sum(np.sum(s.expected**2, axis, keepdims=True) for s in lines)
    return np.where(bottom > 0, top / bottom, 1)


def _agrees(line: Line, factor: np.ndarray) -> bool:
    return line.agrees(factor * line.expected)


def _places(lines: Sequence[Line]) -> str | None:
    wrong = np.any([line.wrong for line in lines], axis=0)
    for axis, name in enumerate(("unit", "input")[: wrong.ndim]):
        where = np.flatnonzero(np.moveaxis(wrong, axis, 0).reshape(wrong.shape[axis], -1).any(1))
        if len(where) <= min(SHOWN, wrong.shape[axis] // 2):
            return f"it is wrong in {name} {_listed(where)} of layer {{k}} only, counted from 0"
    entries = np.argwhere(wrong)
    if len(entries) <= min(SHOWN, wrong.size // 2):
        listed = _listed(map(tuple, entries.tolist()))
        return f"it is wrong in entry {listed} only, as (unit, input) from 0"
    return None


def _rank_one(worst: Line) -> str | None:
    difference = worst.got - worst.expected
    if difference.ndim < 2 or min(difference.shape) < 3 or not np.isfinite(difference).all():
        return None
    i, j = np.unravel_index(np.argmax(abs(difference)), difference.shape)
    near = np.outer(difference[:, j], difference[i]) / difference[i, j]
    return "the difference has rank one" if worst.agrees(worst.expected + near) else None


def _largest(worst: Line) -> str:
    index = np.unravel_index(
        np.argmax(worst.excess(worst.expected, worst.tolerance)), worst.got.shape
    )
    return f"for instance {worst.got[index]:.6g} where {worst.expected[index]:.6g} must be"


def _listed(values: Iterable[object]) -> str:
    words = [_factor_text(value) if isinstance(value, float) else str(value) for value in values]
    return ", ".join(words[:SHOWN]) + (", ..." if len(words) > SHOWN else "")


def _factor_text(factor: float) -> str:
    """Four digits; or how far it is from 1, where these would not show it."""
    text = f"{factor:.4g}"
    return f"1 {factor - 1:+.0e}" if text == "1" and factor != 1 else text

"""Why a line is wrong: the table of mistakes tried on it, and the error's pattern if none fits."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from fcnet.verify.line import Line, Mistake, Values
from fcnet.verify.pattern import pattern

CHANCE = 6.0
"""Decimal digits in which a mistake must fit, all entries together, so that it is no accident."""

SHOWN = 2
"""How many other mistakes that give the same numbers are mentioned."""

KNOWN, FITTED, UNKNOWN = 2, 3, 5


class Explanation(NamedTuple):
    """What was most likely written instead of a line: a kind, and a phrase for the report.

    `cost` ranks explanations: a mistake without a constant of its own is plainer than one whose
    constant had to be found, and either is better than none. Two mistakes cost more than one.
    """

    kind: str
    says: str
    cost: int


class Fault(NamedTuple):
    """A wrong line: its key in `PLACES`, its layer, and why it is wrong."""

    place: str
    k: int
    why: Explanation


def explain(lines: Sequence[Line], mistakes: Sequence[Mistake]) -> Explanation:
    """Why a line, which is wrong on one of the inputs or more, is wrong.

    A mistake explains it only if it gives the candidate's numbers on every input, in enough digits.
    Other mistakes that do are mentioned, since no input here tells them apart.
    """
    if any(not np.isfinite(s.got).all() and np.isfinite(s.expected).all() for s in lines):
        return Explanation("not_finite", "is not a number: overflow, 0/0 or log 0", KNOWN)
    lines = sorted(lines, key=_digits, reverse=True)
    place = lines[0].place
    fits = [_fit(mistake, lines) for mistake in mistakes if place in mistake.places]
    found = sorted((fit for fit in fits if fit), key=lambda fit: fit.cost)
    if not found:
        return Explanation("unknown", pattern(lines), UNKNOWN)
    first = found[0]
    also = [fit.says for fit in found[1:] if fit.cost == first.cost][:SHOWN]
    return first._replace(says="; or, with the same numbers here, it ".join([first.says, *also]))


def _fit(mistake: Mistake, lines: Sequence[Line]) -> Explanation | None:
    """The explanation by one mistake, or None if it does not fit."""
    edits = (line.edited(mistake.edit) for line in lines)
    try:
        first = next(edits)
        if isinstance(first, tuple):
            return _fit_constant(mistake, lines, first)
        fits = all(
            line.agrees(value) for line, value in zip(lines, chain([first], edits), strict=True)
        )
    except (ValueError, LookupError):
        return None
    return Explanation(mistake.kind, mistake.says, KNOWN) if fits and telling(lines) else None


def _fit_constant(
    mistake: Mistake, lines: Sequence[Line], first: tuple[Values, Values]
) -> Explanation | None:
    """As `_fit`, with one constant for all inputs, by least squares in units of the tolerance."""
    c = _least_squares(lines[:1], [first])
    if not lines[0].agrees(first[0] + c * first[1]):
        return None
    pairs = [first, *(line.edited(mistake.edit) for line in lines[1:])]
    c = _least_squares(lines, pairs)
    if not all(line.agrees(base + c * way) for line, (base, way) in zip(lines, pairs, strict=True)):
        return None
    digits = np.concatenate([line.digits().ravel() for line in lines])
    if digits.sum() - digits.max() < CHANCE:  # one entry is spent on the constant
        return None
    return Explanation(mistake.kind, mistake.says.replace("{c}", f"{c:.6g}"), FITTED)


def _least_squares(lines: Sequence[Line], pairs: Sequence[tuple[Values, Values]]) -> float:
    """c of got = base + c way; a shape that does not fit raises ValueError."""
    top = bottom = 0.0
    for line, (base, way) in zip(lines, pairs, strict=True):
        rounding = line.tolerance + line.noise * max(line.size, abs(way).max())
        weight = np.where(line.explained, rounding, np.inf) ** -2.0
        top += np.sum((line.got - base) * way * weight)
        bottom += np.sum(way**2 * weight)
    return float(np.divide(top, bottom))


def telling(lines: Sequence[Line]) -> bool:
    """Whether what fits the lines does so in enough digits."""
    return sum(map(_digits, lines)) >= CHANCE


def _digits(line: Line) -> float:
    return float(line.digits().sum())

"""Why a line is wrong: the table of mistakes tried on it, and the error's pattern if none fits."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from fcnet.verify.line import Line, Mistake, Values
from fcnet.verify.pattern import pattern

CHANCE = 6.0
"""Decimal digits of evidence, all entries together, below which a mistake may fit by accident, or
be told from another that fits."""

SHOWN = 1
"""How many other mistakes that give the same numbers are mentioned."""

KNOWN, FITTED, UNKNOWN = 2, 3, 4


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


class _Fit(NamedTuple):
    """A mistake that explains a line: its explanation, and its evidence in decimal digits."""

    why: Explanation
    digits: float


def explain(lines: Sequence[Line], mistakes: Sequence[Mistake]) -> Explanation:
    """Why a line, which is wrong on one of the inputs or more, is wrong.

    A mistake explains it only if it gives the candidate's numbers on every input, in enough digits.
    Other mistakes that do are mentioned, since no input here tells them apart.
    """
    if any(not np.isfinite(s.got).all() and np.isfinite(s.expected).all() for s in lines):
        return Explanation("not_finite", "is not a number: overflow, 0/0 or log 0", KNOWN)
    # a unit at a kink may spoil a mistake that mixes units
    clear = [line for line in lines if line.explained.all()]
    lines = clear if any(line.wrong.any() for line in clear) else lines
    lines = sorted(lines, key=_badness, reverse=True)
    tried = [_fit(m, lines) for m in mistakes if lines[0].place in m.places]
    fits = [fit for fit in tried if fit and fit.digits >= CHANCE]
    if not fits:
        return Explanation("unknown", pattern(lines), UNKNOWN)
    best = max(fit.digits for fit in fits)
    found = [fit.why for fit in fits if fit.digits > best - CHANCE]
    first, *others = sorted(found, key=lambda why: why.cost)
    also = [why.says for why in others if why.cost == first.cost][:SHOWN]
    return first._replace(
        says="".join(
            [first.says, *(f" (or it {says}; nothing tried tells which)" for says in also)]
        )
    )


def _badness(line: Line) -> float:
    return float(line.excess(line.expected, line.tolerance).max())


def _fit(mistake: Mistake, lines: Sequence[Line]) -> _Fit | None:
    """The explanation by one mistake, or None if it does not fit."""
    edits = (line.edited(mistake.edit) for line in lines)
    try:
        first = next(edits)
        if isinstance(first, tuple):
            return _fit_constant(mistake, lines, [first, *edits])
        digits = evidence(lines, chain([first], edits))
    except (ValueError, LookupError):
        return None
    return None if digits is None else _Fit(Explanation(mistake.kind, mistake.says, KNOWN), digits)


def evidence(lines: Sequence[Line], values: Iterable[Values]) -> float | None:
    """The digits of evidence for values that agree with all the lines; None if some do not."""
    digits = 0.0
    for line, value in zip(lines, values, strict=True):
        if not line.agrees(value):
            return None
        digits += float(line.evidence(value).sum())
    return digits


def _fit_constant(
    mistake: Mistake, lines: Sequence[Line], pairs: Sequence[tuple[Values, Values]]
) -> _Fit | None:
    """As `_fit`, with one constant for all inputs, by least squares in units of rounding."""
    c = _least_squares(lines, pairs)
    values = [base + c * way for base, way in pairs]
    digits = evidence(lines, values)
    if digits is None:
        return None
    # one entry, the one that tells most, is spent on the constant
    digits -= max(line.evidence(value).max() for line, value in zip(lines, values, strict=True))
    says = mistake.says.replace("{c}", f"{c:.6g}")
    return _Fit(Explanation(mistake.kind, says, FITTED), digits)


def _least_squares(lines: Sequence[Line], pairs: Sequence[tuple[Values, Values]]) -> float:
    """c of got = base + c way; a shape that does not fit raises ValueError."""
    top = bottom = 0.0
    for line, (base, way) in zip(lines, pairs, strict=True):
        terms = max(line.size, abs(base).max(), abs(way).max())
        rounding = line.tolerance + line.noise * terms
        told = line.explained & (way != 0) & (rounding > 0)
        weight = np.where(told, rounding, np.inf) ** -2.0
        top += np.sum((line.got - base) * way * weight)
        bottom += np.sum(way**2 * weight)
    return float(np.divide(top, bottom))

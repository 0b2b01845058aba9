"""Why a line is wrong: the table of mistakes tried on it, and the error's pattern if none fits."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from fcnet.verify.diagnose.line import Line, Mistake
from fcnet.verify.diagnose.pattern import (
    FEW,
    few_entries,
    few_indices,
    fitted_factor,
    little,
    rank_one,
)
from fcnet.verify.factors import FACTORS
from fcnet.verify.shown import apart, multiple
from fcnet.verify.types import Severity, Values

CHANCE = 6.0
"""Decimal digits of evidence, of all entries together. A mistake with fewer may fit by accident;
mistakes whose evidence differs by less cannot be told apart."""

ALTERNATIVES = 1
"""How many other mistakes that give the same numbers are mentioned."""

NEWTON_STEPS = 60
"""From 0 to any constant that people write; each step doubles it at least, or its digits."""

KNOWN, FITTED, UNKNOWN = 2, 3, 4
"""Complexities: a mistake without a constant is simpler than one whose constant is fitted, and both
are simpler than an unknown one. Two mistakes are more complex than one."""

_EXTRA = "has an extra factor {c} besides"

ANY_FACTOR = Mistake("scaled", "", lambda line, at, k: None, _EXTRA)
"""What else another mistake in the same line may be multiplied by."""


class Explanation(NamedTuple):
    """What was most likely written instead of a line: a kind, a phrase, and how complex that is.

    `constant` is the one that was fitted, if there is one.
    """

    kind: str
    says: str
    complexity: int
    severity: Severity = "error"
    constant: float | None = None


class Fault(NamedTuple):
    """A wrong line: its key in `PLACES`, its layer, why, and whether only batches show it."""

    place: str
    k: int
    why: Explanation
    batched: bool = False


class _Fit(NamedTuple):
    """A mistake that explains a line: its explanation, and its evidence in decimal digits."""

    why: Explanation
    digits: float


def one_mistake(lines: Sequence[Line], mistakes: Sequence[Mistake]) -> Explanation | None:
    """The mistake that explains a line which is wrong on at least one input; None if none does.

    It explains it only if it gives the candidate's numbers on every input, in enough digits. If
    several do, the simplest is named and another is mentioned: these inputs cannot tell them apart.
    """
    if any(not np.isfinite(s.got).all() and np.isfinite(s.expected).all() for s in lines):
        return Explanation("not_finite", "is not a number: overflow, 0/0 or log 0", KNOWN)
    lines = _telling(lines)
    tried = [_try_mistake(m, lines) for m in mistakes if lines[0].place in m.places]
    fits = [fit for fit in tried if fit and fit.digits >= CHANCE]
    if not fits:
        return None
    best = max(fit.digits for fit in fits)
    found = [fit.why for fit in fits if fit.digits > best - CHANCE]
    first, *others = sorted(found, key=lambda why: why.complexity)
    alike = (why.says for why in others if why.complexity == first.complexity)
    also = [says for says in dict.fromkeys(alike) if says != first.says][:ALTERNATIVES]
    others_too = (f" (or it {says}; no input here tells them apart)" for says in also)
    return first._replace(says="".join([first.says, *others_too]))


def two_mistakes(lines: Sequence[Line], mistakes: Sequence[Mistake]) -> list[Explanation]:
    """The two mistakes that explain a line together with the most evidence, or one unknown mistake.

    They are a known one without a constant and a factor; or one that adds a multiple of something
    to the right value, and another one in that value's place. Together they are as complex as an
    unknown one.
    """
    lines = _telling(lines)
    unknown = Explanation("unknown", f"fits no known mistake: {describe_error(lines)}", UNKNOWN)
    if not any(line.got.any() for line in lines):  # 0 is any value times 0, which shows nothing
        return [unknown]
    here = [mistake for mistake in mistakes if lines[0].place in mistake.places]
    known = [(mistake, values) for mistake in here if (values := _edits(mistake, lines[:1]))]
    added = [(m, way) for m, v in known if _is_added(lines[:1], v) for _, way in v]
    found: list[tuple[float, list[Explanation]]] = []
    for mistake, (value,) in known:
        # Most pairs fail on the first line already, so the others are not computed for them.
        if not isinstance(value, np.ndarray) or not _may_be_two(lines[0], value, added):
            continue
        if values := _edits(mistake, lines):  # else it is not possible on another input
            one = Explanation(mistake.kind, mistake.says, KNOWN)
            found += [(fit.digits, [one, fit.why]) for fit in _beside(lines, values, added)]
    return max(found, key=lambda pair: pair[0], default=(0.0, [unknown]))[1]


def _telling(lines: Sequence[Line]) -> list[Line]:
    """The inputs that show most, the worst one first.

    A unit at a kink can hide a mistake that mixes units, so inputs without kinks are preferred.
    """
    clear = [line for line in lines if line.explained.all()]
    lines = clear if any(line.wrong.any() for line in clear) else lines
    return sorted(lines, key=lambda line: float(line.error.max()), reverse=True)


def _beside(
    lines: Sequence[Line], values: Sequence[Values], added: Sequence[tuple[Mistake, Values]]
) -> Iterator[_Fit]:
    """What else is wrong where a mistake gives `values`: a factor, or an added term."""
    for factor in FACTORS:
        digits = evidence(lines, (factor.value * value for value in values))
        if digits is not None and digits >= CHANCE:
            says = _EXTRA.replace("{c}", f"{factor.value:g}")
            yield _Fit(Explanation(factor.kind, says, KNOWN), digits)
    ways = [(ANY_FACTOR, [(0 * v, v) for v in values])]
    for other, way in added:
        if _may_fit(lines[0], (values[0], way)):
            pairs = _edits(other, lines)
            if pairs and _is_added(lines, pairs):
                ways.append((other, [(v, w) for v, (_, w) in zip(values, pairs, strict=True)]))
    for other, pairs in ways:
        fit = _try_constant(other, lines, pairs)
        if fit and fit.digits >= CHANCE:
            yield fit._replace(why=fit.why._replace(complexity=KNOWN))


def _may_be_two(line: Line, value: Values, added: Sequence[tuple[Mistake, Values]]) -> bool:
    """Whether a line may be a multiple of a value, or that and a multiple of an added one."""
    return any(
        _may_fit(line, pair) for pair in [(0 * value, value), *((value, way) for _, way in added)]
    )


def _edits(mistake: Mistake, lines: Sequence[Line]) -> list[Any]:
    """What a mistake gives on every input; nothing where it is not possible."""
    try:
        values = [line.edited(mistake.edit) for line in lines]
    except (ValueError, LookupError):
        return []
    shapes = [np.shape(v[0] if isinstance(v, tuple) else v) for v in values]
    return values if shapes == [line.got.shape for line in lines] else []


def _is_added(lines: Sequence[Line], values: Sequence[Any]) -> bool:
    """Whether a mistake leaves the right value, with a multiple of something else beside it."""
    return all(
        isinstance(value, tuple) and np.array_equal(value[0], line.expected)
        for line, value in zip(lines, values, strict=True)
    )


def _try_mistake(mistake: Mistake, lines: Sequence[Line]) -> _Fit | None:
    """The explanation by one mistake, or None if it does not fit."""
    edits = (line.edited(mistake.edit) for line in lines)
    try:
        first = next(edits)
        if isinstance(first, tuple) or callable(first):
            return _try_constant(mistake, lines, chain([first], edits))
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


def _try_constant(mistake: Mistake, lines: Sequence[Line], edits: Iterable[Any]) -> _Fit | None:
    """As `_try_mistake`, with one constant for all inputs, by least squares."""
    remaining = iter(edits)  # those of the other lines are not made where the first fails
    if not _may_fit(lines[0], first := next(remaining)):
        return None
    c, values = _fitted(lines, [first, *remaining])
    digits = evidence(lines, values)
    if digits is None or (mistake.positive and c <= 0):
        return None
    # The entry with the most evidence determines the constant, so it does not count.
    digits -= max(line.evidence(value).max() for line, value in zip(lines, values, strict=True))
    says = mistake.says.replace("{c}", multiple(c))
    severity: Severity = "warning" if 0 < abs(c) <= mistake.harmless else "error"
    return _Fit(Explanation(mistake.kind, says, FITTED, severity, float(c)), digits)


def _may_fit(line: Line, edit: Any) -> bool:
    """Whether some constant may explain a line, the worst one: most mistakes fail here already.

    If a constant is within the tolerance everywhere, the one by least squares is within that times
    the root of the number of entries.
    """
    c, (value,) = _fitted([line], [edit])
    return not math.isfinite(c) or line.agrees(value, slack=2 * math.sqrt(line.got.size))


def _fitted(lines: Sequence[Line], edits: Sequence[Any]) -> tuple[float, list[Values]]:
    """The constant that explains the lines best, and what the edits give with it."""
    if callable(edits[0]):
        c = _root(lines, edits)
        return c, [function(c) for function in edits]
    c = _constant(lines, edits)
    return c, [base + c * way for base, way in edits]


def _constant(lines: Sequence[Line], pairs: Sequence[tuple[Values, Values]]) -> float:
    """c of got = base + c way, by least squares in units of rounding.

    Raises ValueError for shapes that do not fit.
    """
    top = bottom = 0.0
    for line, (base, way) in zip(lines, pairs, strict=True):
        terms = max(line.size, float(abs(base).max()), float(abs(way).max()))
        rounding = line.tolerance + line.noise * terms
        counts = line.explained & (way != 0) & (rounding > 0)
        weight = np.where(counts, rounding, np.inf) ** -2.0
        top += np.sum((line.got - base) * way * weight)
        bottom += np.sum(way**2 * weight)
    return float(np.divide(top, bottom))


def _root(lines: Sequence[Line], functions: Sequence[Callable[[complex], Values]]) -> float:
    """c of got = function(c), by the method of Gauss and Newton from c = 0.

    The derivative by c is the imaginary part at c + ih: exact, since h is tiny.
    """
    c, h = 0.0, 1e-40
    for _ in range(NEWTON_STEPS):
        at = [function(complex(c, h)) for function in functions]
        c += (step := _constant(lines, [(v.real, v.imag / h) for v in at]))
        if not abs(step) > 1e-12 * abs(c):
            break
    return c


def describe_error(lines: Sequence[Line]) -> str:
    """A phrase on how the candidate's numbers differ from the line's; the worst input comes first.

    Tried in turn: little more than rounding, one factor on each input, one for each unit or each
    input of the layer, a few wrong units, inputs or entries, a difference of rank one. {k} is left
    for the layer.
    """
    off_by_little = little([line.got for line in lines], [line.expected for line in lines])
    return (
        (off_by_little and f"it {off_by_little}")
        or _as_factors(lines)
        or _as_places(lines)
        or _as_rank_one(lines[0])
        or _as_example(lines[0])
    )


def _as_factors(lines: Sequence[Line]) -> str | None:
    informative = [line for line in lines if line.expected.any() and line.got.size > 1]
    own = [_line_factor([line], None) for line in informative]
    if own and all(map(_is_multiple, informative, own)):
        return f"a factor that changes with the input, {_listed([c.item() for c in own])}"
    axes = {"unit": (1,), "input": (0,)} if lines[0].got.ndim == 2 else {"unit": ()}
    for name, axis in axes.items():
        c = _line_factor(lines, axis)
        if len(informative) > 1 and all(_is_multiple(line, c) for line in lines):
            return f"a factor for each {name} of layer {{k}}, {_listed(c.ravel())}"
    return None


def _line_factor(lines: Sequence[Line], axis: tuple[int, ...] | None) -> Values:
    return fitted_factor([line.got for line in lines], [line.expected for line in lines], axis)


def _is_multiple(line: Line, c: Values) -> bool:
    return line.agrees(c * line.expected)


def _as_places(lines: Sequence[Line]) -> str | None:
    wrong = np.any([line.wrong for line in lines], axis=0)
    for axis, name in enumerate(("unit", "input")[: wrong.ndim]):
        if where := few_indices(wrong, axis):
            return f"it is wrong in {name} {_listed(where)} of layer {{k}} only, counted from 0"
    if entries := few_entries(wrong):
        return f"it is wrong in entry {_listed(entries)} only, as (unit, input) from 0"
    return None


def _as_rank_one(worst: Line) -> str | None:
    difference = worst.got - worst.expected
    if difference.ndim < 2 or min(difference.shape) < 3 or not np.isfinite(difference).all():
        return None
    if worst.agrees(worst.expected + rank_one(difference)):
        return "the difference has rank one"
    return None


def _as_example(worst: Line) -> str:
    index = np.unravel_index(np.argmax(worst.error), worst.got.shape)
    got, right = apart(float(worst.got[index]), float(worst.expected[index]))
    return f"for instance {got} where {right} must be"


def _listed(values: Iterable[object]) -> str:
    words = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
    return ", ".join(words[:FEW]) + (", ..." if len(words) > FEW else "")

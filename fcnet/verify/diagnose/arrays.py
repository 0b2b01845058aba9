"""How a wrong array differs from the right one: by a factor, a transpose, a swap, zeros.

For functions of which only the arguments are known. Each row of `SIGNATURES` compares the array on
all inputs and yields what it recognises.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from fcnet.verify.diagnose.pattern import (
    FEW,
    few_entries,
    few_indices,
    fitted_factor,
    little,
    rank_one,
)
from fcnet.verify.factors import FACTORS
from fcnet.verify.forms import FOR_A_CONSTANT
from fcnet.verify.properties import Property
from fcnet.verify.shown import apart, multiple
from fcnet.verify.types import NOT_ZERO, Finding, Values, form_finding

Match = tuple[str, str]
"""What is recognised: a kind, and a phrase to follow the name of the array."""


class WrongArray(NamedTuple):
    """A wrong array on every input where it was tried.

    Attributes:
        path, phrase, quantity: its name, how messages speak of it, what a finding is about.
        got, right, allowed: returned, right, and what rounding explains, one array for each input.
        argument: the argument whose gradient it is; empty if there is none.
        others: the other right arrays, by name.
        terms: those of which the right array is the sum, by a phrase for each; a function, since
            they cost some time.
        lengths: of the axes of all arguments, with a phrase for each: means are over one of them.
        repeated: the indices that arguments of integers hold more than once, by their names.
        kept: what holds of the argument on all inputs.
        unit_roundoff: u of what was returned.
    """

    path: str
    phrase: str
    quantity: str
    got: tuple[Values, ...]
    right: tuple[Values, ...]
    allowed: tuple[Values, ...]
    argument: tuple[Values, ...]
    others: dict[str, tuple[Values, ...]]
    terms: Callable[[], Mapping[str, tuple[Values, ...]]]
    lengths: dict[int, str]
    repeated: Mapping[str, frozenset[int]]
    kept: tuple[Property, ...]
    unit_roundoff: float

    def agrees(self, values: Sequence[Values], allowed: Sequence[Values]) -> bool:
        """Whether `values` are what was returned, with twice the tolerance for their rounding."""
        with np.errstate(invalid="ignore"):
            return all(
                v.shape == g.shape
                and bool(((abs(g - v) <= 2 * a + 4 * self.unit_roundoff * abs(v)) | (g == v)).all())
                for g, v, a in zip(self.got, values, allowed, strict=True)
            )

    @property
    def wrong(self) -> Bool[np.ndarray, "..."]:
        """Which entries are wrong on any input."""
        inputs = zip(self.got, self.right, self.allowed, strict=True)
        return np.any([abs(got - right) > allowed for got, right, allowed in inputs], 0)

    def only(self, places: Bool[np.ndarray, "..."]) -> "WrongArray":
        """Its entries at these places, in vectors."""

        def chosen(arrays: tuple[Values, ...]) -> tuple[Values, ...]:
            return tuple(values[places] for values in arrays)

        return self._replace(
            got=chosen(self.got),
            right=chosen(self.right),
            allowed=chosen(self.allowed),
            argument=chosen(self.argument),
        )

    def is_edit(self, edit: Callable[[Values], Values]) -> bool:
        """Whether it is the right array rearranged."""
        return self.agrees([*map(edit, self.right)], [*map(edit, self.allowed)])

    def is_multiple(self, c: Any) -> bool:
        """Whether it is c times the right array; c may be an array."""
        return self.agrees([c * r for r in self.right], [abs(c) * a for a in self.allowed])


def explain_arrays(wrong: Sequence[WrongArray]) -> list[Finding]:
    """A finding for each kind of mistake, which names the arrays that share it."""
    shared: dict[tuple[str, ...], list[WrongArray]] = {}
    for array in wrong:
        kind, text = _recognise(array)
        shared.setdefault((array.quantity, array.phrase, kind, text), []).append(array)
    findings = []
    for (quantity, phrase, kind, text), arrays in shared.items():
        paths = ", ".join(array.path for array in arrays)
        got = [values for array in arrays for values in array.got]
        right = [values for array in arrays for values in array.right]
        message = f"{phrase.format(paths)} {text or little(got, right)}"
        findings.append(form_finding(kind, message, quantity=quantity))
    return findings


def _recognise(array: WrongArray) -> Match:
    return next(match for find in SIGNATURES for match in find(array))


def _not_finite(array: WrongArray) -> Iterator[Match]:
    for got in array.got:
        if not np.isfinite(got).all():
            at = np.argwhere(~np.isfinite(got))[0].tolist()
            yield "not_finite", f"is {got[tuple(at)]} at {at}"


def _zero(array: WrongArray) -> Iterator[Match]:
    if not any(got.any() for got in array.got):
        yield "zero", f"is 0 everywhere: it is not computed, or cut off; {FOR_A_CONSTANT}"


def _not_zero(array: WrongArray) -> Iterator[Match]:
    if all((abs(right) <= a).all() for right, a in zip(array.right, array.allowed, strict=True)):
        returned, _, where = _wrong_number(array)
        yield "not_zero", f"is {returned} where 0 must be{where}; it must be 0 everywhere"


def _barely_wrong(array: WrongArray) -> Iterator[Match]:
    """Off by less than twice what rounding explains: any edit that changes little would fit."""
    if array.is_multiple(1.0):
        yield from _nearly_right(array)


def _one_factor(array: WrongArray) -> Iterator[Match]:
    for known, kind, *_ in FACTORS:
        if array.is_multiple(known):
            times = f"is {known:g} times what it must be"
            yield kind, "has the opposite sign" if known == -1 else times
    for n, phrase in array.lengths.items():
        if n <= 2:
            continue
        for c, kind, text in (
            (n, "times_n", f"is multiplied by {n}"),
            (1 / n, "per_n", f"is divided by {n}"),
            (math.sqrt(n), "times_root_n", f"is multiplied by the square root of {n}"),
            (1 / math.sqrt(n), "per_root_n", f"is divided by the square root of {n}"),
        ):
            if array.is_multiple(c):
                yield kind, f"{text}, {phrase}"
    c = fitted_factor(array.got, array.right, default=0.0).item()
    if array.got[0].size > 1 and c and array.is_multiple(c):
        yield "scaled", f"is {multiple(c)} times what it must be"


def _terms(array: WrongArray) -> Iterator[Match]:
    """A term of the sum that is left out, or has another factor."""
    for phrase, term in array.terms().items():
        for c, kind, text in TERMS:
            value = [r + c * t for r, t in zip(array.right, term, strict=True)]
            if array.agrees(value, array.allowed):
                yield kind, f"{text} {phrase}"


TERMS = (
    (-1.0, "missing_term", "lacks the term that comes"),
    (1.0, "term_twice", "has twice the term that comes"),
    (-0.5, "half_a_term", "has only half of the term that comes"),
    (-2.0, "sign_of_term", "has the wrong sign of the term that comes"),
)
"""What is added of a term; the kind, and a phrase to follow the name of the array."""


def _rearranged(array: WrongArray) -> Iterator[Match]:
    ndim = array.right[0].ndim
    if ndim > 1 and array.is_edit(np.transpose):
        yield "transposed", "is transposed"
    for axis in range(ndim):
        if array.is_edit(partial(np.flip, axis=axis)):
            yield "flipped", f"is in reverse order along axis {axis}"
        for shift in (1, -1):
            if array.is_edit(partial(np.roll, shift=shift, axis=axis)):
                yield "shifted", f"is shifted by {shift} along axis {axis}"
    if all(np.unique(right).size > 3 for right in array.right):
        order = [np.argsort(right, None) for right in array.right]
        got = tuple(np.sort(got, None) for got in array.got)
        right = [r.ravel()[o] for r, o in zip(array.right, order, strict=True)]
        allowed = [a.ravel()[o] for a, o in zip(array.allowed, order, strict=True)]
        if array._replace(got=got).agrees(right, allowed):
            yield "permuted", "has the right numbers in wrong places"


def _summed(array: WrongArray) -> Iterator[Match]:
    """Every entry along an axis is the sum, or the mean, of the right ones."""
    for axis in range(array.right[0].ndim):
        for kind, total in (("sum", np.sum), ("mean", np.mean)):
            if array.is_edit(partial(_repeated, total, axis)):
                yield f"{kind}_over_axis", f"has the {kind} over axis {axis} at each of its indices"


def _repeated(total: Callable[..., Any], axis: int, values: Values) -> Values:
    return np.broadcast_to(total(values, axis, keepdims=True), values.shape)


def _swapped(array: WrongArray) -> Iterator[Match]:
    for path, right in array.others.items():
        other = not all(map(np.array_equal, right, array.right))
        if other and array.agrees(right, array.allowed):
            yield "swapped", f"is that of {path}"


def _added(array: WrongArray) -> Iterator[Match]:
    difference = [got - right for got, right in zip(array.got, array.right, strict=True)]
    rounding = [
        a + array.unit_roundoff * abs(g) for g, a in zip(array.got, array.allowed, strict=True)
    ]
    for kind, base, what in (
        ("adds_argument", array.argument, "the argument itself, as of an L2 penalty"),
        ("adds_constant", [np.ones_like(right) for right in array.right], "1"),
    ):
        if not base:
            continue
        own, way = (_in_roundings(values, rounding) for values in (difference, base))
        c = fitted_factor(own, way, default=0.0).item()
        value = [right + c * way for right, way in zip(array.right, base, strict=True)]
        if c and array.got[0].size > 1 and array.agrees(value, array.allowed):
            yield kind, f"has an extra {c:.4g} times {what}"


def _repeated_indices(array: WrongArray) -> Iterator[Match]:
    """Wrong just where an index is repeated."""
    wrong = array.wrong
    for axis, n in enumerate(wrong.shape):
        where = {*np.flatnonzero(wrong.any(tuple(i for i in range(wrong.ndim) if i != axis)))}
        for name, indices in array.repeated.items():
            if len(where) < n and where == indices & {*range(n)}:
                yield (
                    "repeated_index",
                    f"is wrong at the indices along axis {axis} that {name} holds more than once, "
                    f"as after array[{name}] += ..., which adds once for each index: np.add.at "
                    "adds every time",
                )


def _part(array: WrongArray) -> Iterator[Match]:
    """Wrong at a few places only, or along a slice of a vector, as the entries of one parameter."""
    wrong = array.wrong
    if wrong.all():
        return
    part = array.only(wrong)
    zero = not any(map(np.any, part.got))
    if not zero and little(part.got, part.right):
        return
    known = [("dropped", "is 0")] if zero else [*_one_factor(part), *_added(part)]
    for axis in range(wrong.ndim if wrong.ndim > 1 else 0):
        if where := few_indices(wrong, axis):
            kind, text = known[0] if known else ("places", "is wrong")
            yield kind, f"{text} at {where} along axis {axis}"
    entries = ", ".join(str(list(entry)) for entry in few_entries(wrong))
    if known and (entries or _slice(wrong)):
        kind, text = known[0]
        yield kind, f"{text} at {entries or _slice(wrong)} only"
    elif entries:
        returned, true, at = _wrong_number(array)
        at = at if wrong.sum() > 1 else ""
        yield "places", f"is wrong at {entries} only: {returned} where {true} must be{at}"


def _slice(wrong: Bool[np.ndarray, "..."]) -> str:
    """The slice of a vector that is wrong, in words; "" if there is none."""
    where = np.flatnonzero(wrong)
    is_slice = wrong.ndim == 1 and not wrong.all() and np.ptp(where) == len(where) - 1
    return f"[{where[0]}:{where[-1] + 1}]" if is_slice else ""


def _tangent(array: WrongArray) -> Iterator[Match]:
    """Right for all changes that keep a property, such as those of a symmetric matrix."""
    for property in array.kept:
        if _is_normal(array, property):
            holds = property.of(array.path, array.argument[0])
            yield (
                "tangent",
                f"is right for changes after which still {holds}, and not for others; if that is "
                "what you need, check a function of free numbers, which makes the argument of them",
            )


def _is_normal(array: WrongArray, property: Property) -> bool:
    """Whether the error is orthogonal to all changes that keep a property, on all inputs."""
    draw = np.random.default_rng(SEED)
    seen = False
    for x, got, right, allowed in zip(
        array.argument, array.got, array.right, array.allowed, strict=True
    ):
        error = np.where(abs(got - right) > allowed, got - right, 0)
        for _ in range(DIRECTIONS):
            step = LITTLE * abs(x).max(initial=0) * draw.normal(size=x.shape)
            change = property.keep(x + step, x, draw) - x
            size = np.linalg.norm(error) * np.linalg.norm(change)
            if not np.isfinite(size) or abs((error * change).sum()) > NORMAL * size:
                return False
            seen |= bool(size)
    return seen


SEED = 6151
"""A seed that users hardly choose: with theirs, a direction may be parallel to their numbers."""

DIRECTIONS, LITTLE, NORMAL = 3, 1e-5, 1e-3
"""How many changes of an argument are tried, how large they are, relatively, and the largest cosine
between such a change and an error that is orthogonal to it."""


def _factor_along_axis(array: WrongArray) -> Iterator[Match]:
    for axis in range(array.right[0].ndim):
        over = tuple(i for i in range(array.right[0].ndim) if i != axis)
        c = fitted_factor(array.got, array.right, over, default=0.0)
        if over and array.is_multiple(c):
            listed = ", ".join(f"{x:.4g}" for x in np.ravel(c)[:FEW])
            more = ", ..." if np.size(c) > FEW else ""
            yield "scaled_along_axis", f"has a factor for each index of axis {axis}: {listed}{more}"


def _pattern(array: WrongArray) -> Iterator[Match]:
    """A difference that is constant along an axis, or of rank one."""
    difference = [got - right for got, right in zip(array.got, array.right, strict=True)]
    for axis, length in enumerate(difference[0].shape):
        mean = [d.mean(axis, keepdims=True) for d in difference]
        value = [r + m for r, m in zip(array.right, mean, strict=True)]
        if length > 2 and array.agrees(value, array.allowed):
            yield "constant_difference", f"is off by a constant along axis {axis}"
    if difference[0].ndim == 2 and min(difference[0].shape) > 2:
        value = [r + rank_one(d) for r, d in zip(array.right, difference, strict=True)]
        if array.agrees(value, array.allowed):
            yield "rank_one_difference", "is off by a matrix of rank one"


def _nearly_right(array: WrongArray) -> Iterator[Match]:
    """Off by little: no slip in a formula. How little is said of all such arrays together."""
    if little(array.got, array.right):
        yield "inexact", ""


def _unknown(array: WrongArray) -> Iterator[Match]:
    returned, true, where = _wrong_number(array)
    part = _slice(array.wrong)
    only = f"; it is wrong at {part} only" if part else ""
    yield "unknown", f"is {returned} where {true} must be{where}{only}"


def _wrong_number(array: WrongArray) -> tuple[str, str, str]:
    """The worst number on the first input with a wrong one: as returned, right, and its place."""
    inputs = zip(array.got, array.right, array.allowed, strict=True)
    every = [(abs(got - right) - allowed, got, right) for got, right, allowed in inputs]
    excess, got, right = next((each for each in every if each[0].max() > 0), every[0])
    at = np.unravel_index(np.argmax(excess), got.shape)
    where = f", for instance at {list(map(int, at))}" if got.ndim else ""
    return *apart(float(got[at]), float(right[at]) + 0.0), where  # -0.0 is 0


SIGNATURES = (
    _not_finite,
    _zero,
    _not_zero,
    _barely_wrong,
    _one_factor,
    _terms,
    _rearranged,
    _summed,
    _swapped,
    _added,
    _repeated_indices,
    _part,
    _tangent,
    _nearly_right,
    _factor_along_axis,
    _pattern,
    _unknown,
)
"""The simplest first; the last one recognises everything."""


def _in_roundings(values: Sequence[Values], rounding: Sequence[Values]) -> list[Values]:
    """Values in units of their rounding errors, so that the most precise count most."""
    least = max(min(r.min() for r in rounding), NOT_ZERO)
    return [v * (least / np.maximum(r, least)) for v, r in zip(values, rounding, strict=True)]

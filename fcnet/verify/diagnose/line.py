"""A line of Algorithm 5 beside what the candidate has there, and a known mistake in such a line."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from fcnet.verify.types import Values

DIGITS = 16.0
"""The most digits of evidence in one entry: float64 has no more."""

Vector = Float[np.ndarray, " _"]


class Place(NamedTuple):
    """Which line of Algorithm 5 computes which quantity, in words for the report.

    {k}, {above} and {below} are numbers of layers, {dW} and {db} the candidate's own names, and
    {shown} says which of these show delta.
    """

    line: int
    quantity: str
    subject: str
    formula: str


_DELTA = "delta[{k}], which {shown},"

PLACES = {
    "2": Place(2, "delta", _DELTA, "dJ/do * sigma_r'(z[{k}])"),
    "4": Place(4, "delta", _DELTA, "(W[{above}]^T delta[{above}]) * sigma'(z[{k}])"),
    "W": Place(5, "dW", "{dW}", "delta[{k}] a[{below}]^T"),
    "b": Place(5, "db", "{db}", "delta[{k}]"),
}
"""By the short names in the tables of mistakes."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Line:
    """One line at one layer on one input: `expected` by the notes, `got` from the candidate.

    Attributes:
        place: a key of `PLACES`.
        k: the layer.
        expected: the right value, computed from the candidate's own values upstream.
        got: the candidate's value.
        tolerance: what rounding explains of their difference.
        noise: how large rounding errors are here, relative to the largest term.
        size: of the largest term, without the factor sigma'.
        unit_roundoff: u of what the candidate returned.
        explained: where a mistake must explain `got`; not at a kink, where delta has a choice.
    """

    place: str
    k: int
    expected: Values
    got: Values
    tolerance: Values
    noise: float
    size: float
    unit_roundoff: float
    explained: Bool[np.ndarray, "..."]

    def excess(self, value: Values, tolerance: Values) -> Values:
        """|got - value| over the tolerance, entrywise: 0 for two NaN, infinite for one."""
        same = (self.got == value) | (np.isnan(self.got) & np.isnan(value))
        ratio = abs(self.got - value) / tolerance
        return np.where(same, 0, np.where(np.isnan(ratio), np.inf, ratio))

    @property
    def error(self) -> Values:
        """|got - expected| over the tolerance, entrywise."""
        return self.excess(self.expected, self.tolerance)

    @property
    def wrong(self) -> Bool[np.ndarray, "..."]:
        """Where the candidate differs from the notes."""
        return self.error > 1

    def agrees(self, value: Values, slack: float = 1.0) -> bool:
        """Whether a mistake that gives `value` explains the candidate's value.

        The rounding errors of a mistake are not known as well as those of the right value, so the
        tolerance is larger, also by as much as the mistake's terms are; and `slack` times that.
        """
        if value.shape != self.got.shape:
            return False
        largest = abs(value[np.isfinite(value)]).max(initial=self.size)
        larger = largest / self.size if self.size else 1.0
        allowed = self.tolerance * larger + self.noise * largest
        return not (self.excess(value, allowed) > slack)[self.explained].any()

    def evidence(self, value: Values) -> Values:
        """In how many more digits the candidate has `value` than `expected`, entrywise.

        A mistake that gives the very numbers has much evidence. One that is only within the
        tolerance, which may be wide, has little.
        """
        floor = 4 * self.unit_roundoff * abs(value)  # the last digits are no evidence
        ratio = (abs(self.got - self.expected) + floor) / (abs(self.got - value) + floor)
        digits = np.clip(np.nan_to_num(np.log10(ratio)), -DIGITS, DIGITS)
        return np.where(self.explained, digits, 0)

    def edited(self, edit: Callable[..., Any]) -> Any:
        """What the line gives after an edit, a function of the line, its input, and k."""
        raise NotImplementedError


class Mistake(NamedTuple):
    """A row of a table of known mistakes: what was written instead of a line, and a phrase for it.

    Attributes:
        kind: a slug.
        places: the keys of `PLACES` where people make it.
        edit: what the line then gives, a function of the line, its input, and k. Some mistakes have
            a constant c of the programmer's own, such as a learning rate. Then it gives the pair
            (base, way) of base + c way, or else a function of c that takes complex numbers. Where a
            mistake is not possible, it raises ValueError or LookupError, or gives another shape.
        says: what is wrong, to follow the name of the quantity; {c} is the constant, and {k},
            {above} and {below} are numbers of layers.
        harmless: up to which |c| it is a warning, since the numbers are right to most digits.
        positive: whether c is positive, as a learning rate is.
    """

    kind: str
    places: str
    edit: Callable[..., Any]
    says: str
    harmless: float = 0.0
    positive: bool = False

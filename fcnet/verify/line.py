"""A line of Algorithm 5 beside what the candidate has there, and a known mistake in such a line."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

DIGITS = 16.0
"""As many as float64 has: no entry is evidence of more."""

Vector = Float[np.ndarray, " _"]
Values = Float[np.ndarray, "..."]


class Place(NamedTuple):
    """Which line of Algorithm 5 computes which quantity, in words for the report.

    {k}, {above} and {below} are numbers of layers, {dW} and {db} the candidate's own names.
    """

    line: int
    quantity: str
    subject: str
    formula: str


_DELTA = "delta[{k}], which {dW} and {db} show,"

PLACES = {
    "2": Place(2, "delta", _DELTA, "dJ/do * sigma_r'(z[{k}])"),
    "4": Place(4, "delta", _DELTA, "(W[{above}]^T delta[{above}]) * sigma'(z[{k}])"),
    "W": Place(5, "dW", "{dW}", "delta[{k}] a[{below}]^T"),
    "b": Place(5, "db", "{db}", "delta[{k}]"),
}
"""By the short names that the tables of mistakes use."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Line:
    """One line at one layer on one input: `expected` by the notes, `got` from the candidate.

    Attributes:
        place: a key of `PLACES`.
        k: the layer.
        expected, got, tolerance: of one shape; `expected` is from the candidate's values upstream.
        noise: how large rounding errors are here, relative to the largest term.
        size: of the largest term, the factor sigma' left out.
        unit_roundoff: u of the candidate's precision.
        explained: where a mistake must explain `got`; a unit at a kink has a choice of its delta.
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
        """|got - value| over the tolerance, entrywise; two NaN are equal, and one is far off."""
        same = (self.got == value) | (np.isnan(self.got) & np.isnan(value))
        ratio = abs(self.got - value) / tolerance
        return np.where(same, 0, np.where(np.isnan(ratio), np.inf, ratio))

    @property
    def wrong(self) -> Bool[np.ndarray, "..."]:
        """Where the candidate departs from the notes."""
        return self.excess(self.expected, self.tolerance) > 1

    def agrees(self, value: Values) -> bool:
        """Whether a mistake that gives `value` explains all that is to be explained.

        Its rounding errors are not known as well as those of the right value, so they get more.
        """
        if value.shape != self.got.shape:
            return False
        sizes = abs(value[np.isfinite(value)])
        allowed = self.tolerance + self.noise * max(self.size, sizes.max(initial=0))
        return not (self.excess(value, allowed) > 1)[self.explained].any()

    def evidence(self, value: Values) -> Values:
        """In how many more digits `value` is what the candidate has than `expected` is, entrywise.

        A mistake speaks for itself where it gives the very numbers; one that is merely within the
        tolerance, which may be wide, does not.
        """
        floor = 4 * self.unit_roundoff * abs(value)  # the last place tells nothing
        ratio = (abs(self.got - self.expected) + floor) / (abs(self.got - value) + floor)
        digits = np.clip(np.nan_to_num(np.log10(ratio)), -DIGITS, DIGITS)
        return np.where(self.explained, digits, 0)

    def edited(self, edit: Callable[..., Any]) -> Any:
        """What the line gives after an edit, which takes the line, where it stands, and k."""
        raise NotImplementedError


class Mistake(NamedTuple):
    """A row of a table of known mistakes: what was written instead of a line, and how to say so.

    Attributes:
        kind: a slug.
        places: the keys of `PLACES` where people make it.
        edit: what the line gives then, of the line, where it stands, and k; or, where a constant c
            of the programmer's own is to be found, such as a learning rate, the pair (base, way) of
            base + c way. An edit that does not fit the network raises ValueError or IndexError, or
            gives another shape: then it was not made.
        says: what is wrong, to follow the name of the quantity; {c} is the constant, {k}, {above}
            and {below} are numbers of layers.
    """

    kind: str
    places: str
    edit: Callable[..., Any]
    says: str

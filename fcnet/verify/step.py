"""The lines of Algorithm 5 on one example, each judged with the candidate's own values upstream.

On a single example dJ/db^[k] *is* delta^[k], so a returned gradient shows every intermediate of
Algorithm 5, and each line can be judged alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from fcnet.verify.line import Line, Vector
from fcnet.verify.single import Example

Deltas: TypeAlias = Mapping[int, Vector]
"""The candidate's delta^[j] on one example, for the layers j = k..r that have been read."""

SLOPE_ERROR = 4
"""Units in the last place of sigma', relative to 1: what 1 - a^2 loses where a is near 1."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Step(Line):
    """A line on one example.

    Attributes:
        example: where it stands.
        deltas: the candidate's delta^[j], for j = k..r.
        peers: the same line on every example, in the order of the calls, this one included.
    """

    example: Example
    deltas: Deltas
    peers: list["Step"] = field(default_factory=list)

    @property
    def delta(self) -> Vector:
        """delta^[k] of the candidate."""
        return self.deltas[self.k]

    @property
    def above(self) -> Vector:
        """delta^[k+1] of the candidate; LookupError for k = r."""
        return self.deltas[self.k + 1]

    @property
    def back(self) -> Vector:
        """All of delta^[k] but its factor sigma'(z^[k]), from the candidate's delta^[k+1]."""
        return self.back_at(self.k)

    def back_at(self, k: int) -> Vector:
        """dJ/da^[k] from the candidate's delta^[k+1]; dJ/do for k = r."""
        e = self.example
        return e.error if k == e.r else e.W(k + 1).T @ self.deltas[k + 1]

    def edited(self, edit: Callable[..., Any]) -> Any:
        """What the line gives after an edit of the line, its example, and k."""
        return edit(self, self.example, self.k)


def delta_steps(examples: Sequence[Example], k: int, deltas: Sequence[Deltas]) -> list[Step]:
    """Line 2 (k = r) or line 4 on every example: is delta^[k] what follows from delta^[k+1]?

    A unit at a kink may have any slope between those to either side, so its delta is taken as it is
    if some slope gives it, and tells nothing of a mistake if not.
    """
    steps = []
    for e, own in zip(examples, deltas, strict=True):
        delta = own[k]
        if k == e.r:
            back, terms = e.error, abs(e.error)
        else:
            back, terms = e.W(k + 1).T @ own[k + 1], abs(e.W(k + 1)).T @ abs(own[k + 1])
        tolerance = e.delta_tolerance(k, terms * abs(e.slope(k)))
        tolerance = tolerance + SLOPE_ERROR * e.unit_roundoff * terms
        ends = [back * slope for slope in e.kink_slopes(k)]
        allowed = (np.minimum(*ends) - tolerance <= delta) & (
            delta <= np.maximum(*ends) + tolerance
        )
        steps.append(
            Step(
                place="2" if k == e.r else "4",
                k=k,
                expected=np.where(e.tied(k) & allowed, delta, back * e.slope(k)),
                got=delta,
                tolerance=tolerance,
                noise=e.noise,
                size=terms.max(),
                unit_roundoff=e.unit_roundoff,
                explained=~e.tied(k),
                example=e,
                deltas=own,
            )
        )
    return _linked(steps)


def gradient_steps(
    examples: Sequence[Example], place: str, k: int, deltas: Sequence[Deltas]
) -> list[Step]:
    """Line 5 on every example: do dW^[k] ("W") or db^[k] ("b") follow from delta^[k]?"""
    steps = []
    for e, own in zip(examples, deltas, strict=True):
        delta = own[k]
        if place == "W":
            expected, got = np.outer(delta, e.a(k - 1)), e.dW(k)
            tolerance = e.weight_tolerance(k, delta)
        else:
            expected, got = delta, e.db(k)
            tolerance = e.delta_tolerance(k, abs(delta))
        steps.append(
            Step(
                place=place,
                k=k,
                expected=expected,
                got=got,
                tolerance=tolerance,
                noise=e.noise,
                size=abs(expected).max(),
                unit_roundoff=e.unit_roundoff,
                explained=np.ones(expected.shape, bool),
                example=e,
                deltas=own,
            )
        )
    return _linked(steps)


def _linked(steps: list[Step]) -> list[Step]:
    for step in steps:
        step.peers.extend(steps)
    return steps

"""Whether a gradient is that of the loss beside it, where that is not the loss of the network.

The forward pass is then none of (2.12), or is described otherwise. What is right for it is not
known, but differences of the loss that it returns show it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fcnet.verify.backward_pass import ROWS_ALONE, BackwardPass
from fcnet.verify.diagnose.arrays import WrongArray, explain_arrays
from fcnet.verify.differences import central
from fcnet.verify.judge import Trial
from fcnet.verify.types import (
    NOT_ZERO,
    Answered,
    ArrayKey,
    Case,
    Finding,
    Values,
    array_at,
    format_of,
)

INPUTS = 2
"""On how many inputs the loss is changed, in one direction of each array."""

INFORMATIVE = 1e-2
"""The largest relative error of a difference that shows anything."""

SEED = 7829
"""Of the directions."""

SMALL = 100
"""The most entries of an array of which each is changed, to see how a wrong one differs."""

MESSAGE = (
    "{found}, as differences of it show: the forward pass, or the loss at its end, is not the one "
    "that you describe. Describe that one, or use fcnet.check_gradient with the loss as a function"
)

RETURN_THE_LOSS = (
    "return the loss too, as (loss, gradient), to see which arrays are its gradient, whatever the "
    "forward pass computes"
)
"""A note where a mistake is unknown, and no loss is returned."""


class Slope(NamedTuple):
    """A derivative along a direction of one array: by the gradient, and of the returned loss.

    `error` is that of the latter.
    """

    claimed: float
    found: float
    error: float

    def agree(self, c: float = 1.0) -> bool:
        """Whether the gradient is c times that of the loss."""
        return abs(self.claimed - c * self.found) <= abs(c) * self.error

    def is_known(self, largest: float) -> bool:
        """Whether differences show it, as they do not at kinks; `largest` is that of all slopes."""
        size = max(abs(self.claimed), abs(self.found), INFORMATIVE * largest)
        return self.error <= INFORMATIVE * size < np.inf


class OwnLoss(NamedTuple):
    """What differences of the returned loss say of a gradient.

    Attributes:
        right, wrong: the names of the arrays that are its gradient, and are not.
        factor: what the gradient is times that of the loss, if it is a multiple of it; else 0.
        n: the number of examples on which it is that.
        others: how the wrong arrays differ, if they are small.
    """

    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    factor: float = 0.0
    n: int = 1
    others: tuple[Finding, ...] = ()

    @property
    def findings(self) -> list[Finding]:
        """Of which arrays it is the gradient; nothing if of none."""
        if self.factor:
            found = "the gradient of the loss that you return"
            if self.factor == 1:
                found = f"this is {found}"
            else:
                found = f"of {self.n} examples this is {self.factor:.4g} times {found}"
        elif self.right:
            found = f"of the gradient of the loss that you return {', '.join(self.right)} are right"
            found += f", and not {', '.join(self.wrong)}" * bool(self.wrong)
        else:
            return []
        return [Finding(1, "J", None, "own_loss", MESSAGE.format(found=found)), *self.others]


@np.errstate(all="ignore")  # a wrong candidate may return any values
def compare_with_own_loss(subject: BackwardPass, trials: Sequence[Trial]) -> OwnLoss:
    """Compare the gradient with differences of the loss beside it."""
    draw = np.random.default_rng(SEED)
    known = _answered(subject, trials, ROWS_ALONE) or _answered(subject, trials, None)
    names = {key: name for key, name in subject.gradient_names.items() if key not in subject.unread}
    slopes = {
        key: [
            _slope(subject, one, key, draw.normal(size=array_at(one.case.params, key).shape))
            for one in known
        ]
        for key in names
    }
    largest = max((abs(s.found) for seen in slopes.values() for s in seen), default=0.0)
    slopes = {key: [s for s in seen if s.is_known(largest)] for key, seen in slopes.items()}
    every = [slope for seen in slopes.values() for slope in seen]
    if every and all(slopes.values()):
        ratio = float(np.median([slope.claimed / (slope.found or NOT_ZERO) for slope in every]))
        for c in (1.0, ratio):
            if all(slope.agree(c) for slope in every):
                return OwnLoss(factor=c, n=known[0].case.n)
    right = [key for key, seen in slopes.items() if seen and all(s.agree() for s in seen)]
    wrong = [key for key, seen in slopes.items() if not all(s.agree() for s in seen)]
    small = [key for key in wrong if array_at(subject.candidate.own.params, key).size <= SMALL]
    return OwnLoss(
        right=tuple(names[key] for key in right),
        wrong=tuple(names[key] for key in wrong),
        others=tuple(explain_arrays([_wrong_array(subject, known, key) for key in small if right])),
    )


def _answered(subject: BackwardPass, trials: Sequence[Trial], rows: int | None) -> list[Answered]:
    """Answers with a loss to the user's input and to another, or to their first rows alone."""
    n = subject.candidate.own.n
    cases = [t.case._replace(X=t.case.X[:rows], Y=t.case.Y[:rows]) for t in trials if t.case.n == n]
    answers = [(case, subject.answer(case, double=True)) for case in cases[:INPUTS]]
    return [Answered(case, one) for case, one in answers if one and one.loss is not None]


def _slope(subject: BackwardPass, answered: Answered, key: ArrayKey, v: Values) -> Slope:
    """The slope along v."""
    case, answer = answered
    u = format_of(answer.dtype).u
    size = max(abs(array).max() for layer in case.params for array in layer)
    h = float(np.cbrt(u) * max(size, NOT_ZERO))
    J0 = _loss(subject, case)
    slope, error = central(lambda c: _loss(subject, _moved(case, key, c * h * v)), J0, u * abs(J0))
    claimed = float((array_at(answer.gradient, key) * v).sum())
    return Slope(claimed, slope / h, error / h)


def _loss(subject: BackwardPass, case: Case) -> float:
    answer = subject.answer(case, double=True)
    return np.nan if answer is None or answer.loss is None else answer.loss


def _moved(case: Case, key: ArrayKey, change: Values) -> Case:
    role, k = key
    layer = case.params[k - 1]
    moved = layer._replace(**{role: array_at(case.params, key) + change})
    return case._replace(params=(*case.params[: k - 1], moved, *case.params[k:]))


def _wrong_array(subject: BackwardPass, known: Sequence[Answered], key: ArrayKey) -> WrongArray:
    """An array beside differences of the returned loss for each of its entries."""
    slot = subject.slots[key]

    def own(values: Sequence[float]) -> Values:
        array = np.zeros(slot.shape)
        slot.write(np.reshape(values, slot.notes_shape), array)
        return array

    units = np.eye(math.prod(slot.notes_shape)).reshape(-1, *slot.notes_shape)
    inputs = [[_slope(subject, one, key, unit) for unit in units] for one in known]
    return WrongArray(
        path=slot.gradient_name,
        phrase="{}",
        quantity="",
        got=tuple(own([s.claimed for s in slopes]) for slopes in inputs),
        right=tuple(own([s.found for s in slopes]) for slopes in inputs),
        allowed=tuple(own([s.error for s in slopes]) for slopes in inputs),
        argument=(),
        others={},
        terms=dict,
        lengths={known[0].case.n: "the number of examples that were tried"},
        repeated={},
        kept=(),
        unit_roundoff=subject.format.u,
    )

"""Whether a gradient is that of the loss beside it, where that is not the loss of the network.

The forward pass is then none of (2.12), or is described otherwise. What is right for it is not
known, but differences of the loss that it returns show it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fcnet.verify.backward_pass import BackwardPass
from fcnet.verify.judge import Trial
from fcnet.verify.types import (
    NOT_ZERO,
    Answer,
    ArrayKey,
    Case,
    Finding,
    Values,
    array_at,
    format_of,
)

INPUTS = 3
"""On how many inputs the loss is changed, in one direction of each array."""

INFORMATIVE = 1e-2
"""The largest relative error of a difference that shows anything."""

SEED = 7829
"""Of the directions."""

MESSAGE = (
    "{found}: the forward pass is not that of (2.12), or not as you describe it. To check it as it "
    "is, write its loss in JAX and use fcnet.check_gradient"
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


def own_loss(subject: BackwardPass, trials: Sequence[Trial]) -> list[Finding]:
    """Which arrays are the gradient of the returned loss, or of a multiple of it; none if none."""
    draw = np.random.default_rng(SEED)
    n = subject.candidate.own.n
    cases = [t.case for t in trials if t.case.n == n and t.answer.loss is not None][:INPUTS]
    answers = [(case, subject.answer(case, double=True)) for case in cases]
    slopes: dict[str, list[Slope]] = {
        name: [
            slope
            for case, answer in answers
            if answer
            for slope in _slopes(subject, case, answer, key, draw)
        ]
        for key, name in subject.gradient_names.items()
        if key not in subject.unread
    }
    right = [name for name, seen in slopes.items() if seen and all(s.agree() for s in seen)]
    wrong = [name for name, seen in slopes.items() if not all(s.agree() for s in seen)]
    every = [slope for seen in slopes.values() for slope in seen]
    c = np.median([slope.claimed / (slope.found or NOT_ZERO) for slope in every]) if every else 0
    if len(right) == len(slopes):
        found = "this is the gradient of the loss that you return, as differences of it show"
    elif right:
        found = (
            f"as differences of the loss that you return show, of its gradient {', '.join(right)} "
            f"are right" + f", and {', '.join(wrong)} are wrong" * bool(wrong)
        )
    elif c and all(slope.agree(c) for slope in every):
        found = f"this is {c:.4g} times the gradient of the loss that you return"
    else:
        return []
    return [Finding(1, "J", None, "own_loss", MESSAGE.format(found=found))]


def _slopes(
    subject: BackwardPass, case: Case, answer: Answer, key: ArrayKey, draw: np.random.Generator
) -> Iterator[Slope]:
    """One slope, if central differences with two steps are alike, as they are not at kinks."""
    v = draw.normal(size=array_at(case.params, key).shape)
    u = format_of(answer.dtype).u
    size = max(abs(array).max() for layer in case.params for array in layer)
    step = float(np.cbrt(u) * max(size, NOT_ZERO))
    J = [_loss(subject, _moved(case, key, c * step * v)) for c in (1, -1, 2, -2)]
    claimed = float((array_at(answer.gradient, key) * v).sum())
    near, far = (J[0] - J[1]) / (2 * step), (J[2] - J[3]) / (4 * step)
    error = 2 * abs(near - far) + 8 * u * abs(J[0]) / step
    if error <= INFORMATIVE * max(abs(claimed), abs(near)) < np.inf:
        yield Slope(claimed, near, error)


def _loss(subject: BackwardPass, case: Case) -> float:
    answer = subject.answer(case, double=True)
    return np.nan if answer is None or answer.loss is None else answer.loss


def _moved(case: Case, key: ArrayKey, change: Values) -> Case:
    role, k = key
    layer = case.params[k - 1]
    moved = layer._replace(**{role: array_at(case.params, key) + change})
    return case._replace(params=(*case.params[: k - 1], moved, *case.params[k:]))

"""Which of several readings of the arguments is the candidate's own, by what its calls return.

Shapes may fit several layouts. A layout is the candidate's own if the loss that it returns is right
there, or its gradient; and even a wrong gradient has most of its arrays right in the right layout,
and dW = delta a^T on one example.
"""

import math
from collections.abc import Sequence

import jax
import numpy as np

from fcnet.verify.candidate import Candidate
from fcnet.verify.compare import compare, largest_excess
from fcnet.verify.diagnose.pattern import is_product
from fcnet.verify.truth.reference import reference
from fcnet.verify.truth.terms import total
from fcnet.verify.types import Answer, Cost, Reference


def settle(readings: Sequence[Candidate], costs: Sequence[Cost]) -> list[Candidate]:
    """The readings that a call of the candidate leaves; all of them if it tells nothing.

    Where the call raises, or what it returned fits no reading, the layout does not matter, and the
    first is left. The candidate is called once, or once more for each reading. `costs` are the
    costs under each reading.
    """
    first = readings[0]
    call = first.call(first.own)
    answers = [r.read(r.own, call.arguments, call.returned).answer for r in readings]
    raised = any(finding.kind == "raises" for finding in call.findings)
    if raised or all(answer is None for answer in answers):
        return [first]
    rights = [reference(cost, r.own, r.format) for cost, r in zip(costs, readings, strict=True)]
    returned = [answer.loss for answer in answers if answer is not None and answer.loss is not None]
    if returned:
        losses = [right.loss for right in rights]
        is_right = np.isclose(losses, returned[0], rtol=np.sqrt(first.format.u), atol=0)
        if is_right.sum() == 1:
            return [readings[int(is_right.argmax())]]
    scores = list(map(_share_right, readings, answers, rights))
    best = max(scores)
    if scores.count(best) > 1:
        scores = [
            _share_of_products(reading, cost) if score == best else -math.inf
            for reading, cost, score in zip(readings, costs, scores, strict=True)
        ]
    return [r for r, score in zip(readings, scores, strict=True) if score == max(scores)]


def _share_right(candidate: Candidate, answer: Answer | None, right: Reference) -> float:
    """The share of the arrays that are right on the user's own input, and show it."""
    if answer is None:
        return -1.0
    right = right._replace(gradient=candidate.layout.present(right.gradient))
    comparison = compare(answer, right, candidate.own.name)
    pairs = zip(comparison.excess, comparison.informative, strict=True)
    return float(np.mean([shown and largest_excess([x]) <= 1 for x, shown in pairs]))


def _share_of_products(candidate: Candidate, cost: Cost) -> float:
    """The share of layers with dW = delta a^T on one example, where db, if there is one, is delta.

    That holds for a wrong delta as well.
    """
    own = candidate.own
    case = own._replace(X=own.X[:1], Y=own.Y[:1])
    answer = candidate.call(case).answer
    if answer is None:
        return -1.0
    trace = reference(cost, case, candidate.format, own.n).trace
    term = candidate.layout.present(total(cost.terms, case).gradient)
    gradient = jax.tree.map(np.subtract, answer.gradient, term)
    fits = []
    for (dW, db), (a,) in zip(gradient, trace.a[:-1], strict=True):
        fits.append(dW.any() and is_product(dW, db, a, candidate.format.u))
    return float(np.mean(fits))

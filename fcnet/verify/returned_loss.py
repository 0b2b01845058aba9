"""The loss that a candidate returns beside its gradient, compared with the cost."""

import math
from collections.abc import Sequence

import numpy as np

from fcnet.types import itself
from fcnet.verify.candidate import Call
from fcnet.verify.factors import FACTORS
from fcnet.verify.shown import apart
from fcnet.verify.truth.terms import total
from fcnet.verify.types import NOT_ZERO, Cost, Finding, Reference, Severity, Term

NEAR = 1e-4
"""How far, relatively, an epsilon in a logarithm moves a loss: 1e-5, at p = 0.1, just that much."""


def loss_findings(
    cost: Cost,
    calls: Sequence[Call],
    references: Sequence[Reference],
    all_right: bool,
    is_step: bool,
) -> list[Finding]:
    """What is wrong with the loss of the first call, and what explains that of all calls.

    Args:
        cost: what the loss should be.
        calls: on all inputs.
        references: what is right there.
        all_right: whether all gradients are.
        is_step: whether they are those of training steps.
    """
    losses = check_loss(calls[0], references[0])
    if not losses:
        return []
    if lack_terms(cost.terms, calls, references):
        # Such a loss is for people to read: the gradient has the terms that are asked for.
        rest = ": it lacks your l2 or penalty. Add it if the loss is minimised, and not only read"
        return _continued(losses, rest, "warning")
    c = decay_of_losses(calls, references) if all_right else 0.0
    if c > 0:
        rest = (
            f": it has {c / 2:.6g} times the sum of the squared weights besides, and your gradient "
            f"lacks {c:.6g} times the weights; add that to each dW and pass l2={c:.6g}, or leave "
            "it out of the loss"
        )
        return _continued(losses, rest)
    # Only a loss whose outputs are no prediction yet, but have a mean, has the logarithm of one.
    if cost.objective.loss.mean is not itself and are_near(calls, references):
        rest = ": near, as with an epsilon in a logarithm; the gradient is judged without it"
        return _continued(losses, rest, "warning")
    if all_right and is_step:  # which has no use for the loss
        return _continued(losses, ": the step is right, if that loss is only read", "warning")
    return losses


def _continued(losses: Sequence[Finding], rest: str, severity: Severity = "error") -> list[Finding]:
    return [f._replace(message=f"{f.message}{rest}", severity=severity) for f in losses]


def check_loss(call: Call, right: Reference) -> list[Finding]:
    """Whether the loss that the candidate returns, if it does, is that of the network."""
    if call.answer is None or call.answer.loss is None:
        return []
    loss, expected = call.answer.loss, right.loss
    n, m = call.case.n, call.case.Y.shape[1]
    if abs(loss - expected) <= right.loss_tolerance:
        return []
    words = {c / m: f"{c}/{m} (there are {m} outputs) of" for c in (1, 2) if c < m}
    words |= {factor.value: factor.word for factor in FACTORS}
    words |= {float(n): f"n = {n} times", 1 / n: f"1/n = 1/{n} of"}
    near = [text for c, text in words.items() if math.isclose(loss, c * expected, rel_tol=1e-3)]
    ratio = f", {near[0]} it" if near else ""
    right_text, text = apart(expected, loss)
    message = f"on {call.case.name} the loss is {right_text}, but it returns {text}{ratio}"
    return [Finding(1, "J", None, "forward_differs", message)]


def lack_terms(
    terms: Sequence[Term], calls: Sequence[Call], references: Sequence[Reference]
) -> bool:
    """Whether each loss is the data's part alone, and the cost has other terms."""
    pairs = [(c, right) for c, right in zip(calls, references, strict=True) if check_loss(c, right)]
    data = [r._replace(loss=r.loss - total(terms, c.case).value) for c, r in pairs]
    return bool(terms) and not any(
        check_loss(c, right) for (c, _), right in zip(pairs, data, strict=True)
    )


@np.errstate(all="ignore")  # a wrong candidate may return any values
def are_near(calls: Sequence[Call], references: Sequence[Reference]) -> bool:
    """Whether at least half of the losses are right to the digits of `NEAR`."""
    answers = [call.answer for call in calls]
    pairs = zip(answers, [right.loss for right in references], strict=True)
    off = [abs(a.loss / loss - 1) for a, loss in pairs if a is not None and a.loss is not None]
    return bool(off) and float(np.median(off)) <= NEAR


@np.errstate(all="ignore")  # a wrong candidate may return any values
def decay_of_losses(calls: Sequence[Call], references: Sequence[Reference]) -> float:
    """c at the n of the first call, if each loss is c / 2 times the squared weights too large.

    c may be proportional to 1/n. 0 if there is no such c, or some call returned no loss.
    """
    answers = [call.answer for call in calls]
    losses = [math.nan if one is None or one.loss is None else one.loss for one in answers]
    off = np.subtract(losses, [right.loss for right in references])
    squares = [sum(float((W * W).sum()) for W, _ in call.case.params) / 2 for call in calls]
    numbers = [call.case.n for call in calls]
    allowed = [right.loss_tolerance for right in references]
    for shares in (np.ones(len(calls)), numbers[0] / np.array(numbers)):
        c = off[0] / max(squares[0], NOT_ZERO)
        if (abs(off - c * shares * squares) <= np.add(allowed, abs(allowed[0] * shares))).all():
            return float(c)
    return 0.0

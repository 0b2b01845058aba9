"""Training steps that change nothing, that are made for each example, or that nobody asked for.

Each function looks at all answers, and returns a finding if it explains them, else none.
"""

import math
from collections.abc import Sequence

import jax
import numpy as np

from fcnet.types import Layer, Params
from fcnet.verify.backward_pass import ROWS_ALONE, BackwardPass, rows_of
from fcnet.verify.judge import Trial
from fcnet.verify.step import is_changed, rate_of_returned
from fcnet.verify.types import Finding, Values, form_finding, matching

NO_STEP = form_finding(
    "no_step",
    "its parameters are the same after the call as before: return the new ones, or change those "
    "that it is given in place and return None; arrays of JAX cannot be changed in place, and an "
    "optimizer that keeps arrays changes these and no others: check the gradient without it",
)

RETURNS_PARAMETERS = (
    "it returns the new parameters, after a step of rate {rate}, and not the gradient: pass "
    "learning_rate={rate}, or return the gradient"
)

ONLINE = form_finding(
    "online_steps",
    "it takes a step for each example, one after another, and not one for the batch: leave out "
    "batched=True, and give check one example and a function that takes a step for it",
)


def no_step(subject: BackwardPass, trials: Sequence[Trial]) -> list[Finding]:
    """That no step changes any parameter."""
    changed = any(is_changed(trial.answer) for trial in trials)
    return [NO_STEP] if subject.candidate.learning_rate and not changed else []


def returned_parameters(subject: BackwardPass, trials: Sequence[Trial]) -> list[Finding]:
    """That a step returns the new parameters where its gradient is asked for."""
    steps = [
        (t.case.params, t.answer.gradient, t.reference.gradient)
        for t in trials
        if not t.reference.by_convention
    ]
    unasked = steps and not subject.unread and subject.candidate.learning_rate is None
    rate = rate_of_returned(steps, subject.format) if unasked else 0.0
    message = RETURNS_PARAMETERS.format(rate=f"{rate:g}")
    return [form_finding("returns_parameters", message)] if rate else []


def online_steps(subject: BackwardPass, trials: Sequence[Trial]) -> list[Finding]:
    """That the steps of batches are those of their rows, one after another."""
    batches = [trial for trial in trials if 1 < trial.case.n <= ROWS_ALONE]
    asked = subject.candidate.learning_rate and not subject.unread
    in_turn = asked and batches and all(_is_in_turn(subject, trial) for trial in batches)
    return [ONLINE] if in_turn else []


@np.errstate(all="ignore")  # a wrong candidate may return any values
def _is_in_turn(subject: BackwardPass, trial: Trial) -> bool:
    """Whether a step is that of the rows, each with the parameters after the one before."""
    case, got = trial.case, trial.answer.gradient
    rate, near = subject.candidate.learning_rate or 0.0, math.sqrt(subject.format.u)
    params, together = case.params, list(map(np.zeros_like, jax.tree.leaves(got)))
    for row in rows_of(case):
        answer, alone = (subject.answer(row._replace(params=p)) for p in (params, case.params))
        if answer is None or alone is None:
            return False
        params = _stepped(params, answer.gradient, rate)
        together = list(map(np.add, together, jax.tree.leaves(alone.gradient)))
    pairs = zip(matching(got, case.params), matching(got, params), strict=True)
    turns = [(before - after) / rate for before, after in pairs]
    return _are_near(got, turns, near) and not _are_near(got, together, near)


def _stepped(params: Params, gradient: Params, rate: float) -> Params:
    """The parameters after a step."""
    pairs = zip(params, gradient, strict=True)
    return tuple(
        Layer(layer.W - rate * g.W, layer.b if g.b is None else layer.b - rate * g.b)
        for layer, g in pairs
    )


@np.errstate(all="ignore")  # a wrong candidate may return any values
def _are_near(got: Params, others: Sequence[Values], share: float) -> bool:
    """Whether each array is near another one, relative to its largest entry."""
    pairs = zip(jax.tree.leaves(got), others, strict=True)
    return all(bool((abs(g - x) <= share * abs(g).max(initial=0)).all()) for g, x in pairs)

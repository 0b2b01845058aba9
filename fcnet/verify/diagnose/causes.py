"""Why the answers of a backward pass are wrong: special causes first, then the wrong lines."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial, reduce
from typing import Any

import jax
import numpy as np

from fcnet.types import Params
from fcnet.verify.backward_pass import ROWS_ALONE, BackwardPass, rows_of
from fcnet.verify.candidate import Call, Candidate
from fcnet.verify.diagnose.blame import Observation, diagnose
from fcnet.verify.diagnose.decay import odd_terms, simpler
from fcnet.verify.diagnose.descriptions import (
    Description,
    describe,
    described,
    description_findings,
    fits,
    has_loss,
    other_description,
)
from fcnet.verify.diagnose.dropout import undo_dropout
from fcnet.verify.judge import Trial
from fcnet.verify.step import is_changed, rate_of_returned
from fcnet.verify.truth.terms import total, without
from fcnet.verify.types import Answer, Answered, Case, Finding, form_finding

RETURNS_PARAMETERS = (
    "it returns the new parameters, after a step of rate {rate}, and not the gradient: pass "
    "learning_rate={rate}, or return the gradient"
)

NO_STEP = (
    "its parameters are the same after the call as before: return the new ones, or change those "
    "that it is given in place and return None; arrays of JAX cannot be changed in place"
)


SUBTRACTS_BIASES = form_finding(
    "other_description",
    "this is the exact gradient with z = W a - b, and check has z = W a + b: give it a function of "
    "the negative biases, which takes -b for b and returns -db for db",
)

REVERSED = form_finding(
    "leaf_order", "the gradients are in reverse order: that of the last layer stands first"
)

UNUSED_BIASES = form_finding(
    "other_description",
    "this is the exact gradient with z = W a, and check has z = W a + b: the biases are not used "
    "on the way forward. Add them there, or give check a function of the weights alone",
)

IGNORED_BIASES = Finding(
    1,
    "",
    None,
    "bias_not_added",
    "the biases are not used on the way forward: your dW are the same with other biases. Add them "
    "there, or give check a function of the weights alone; it then shows what else is wrong",
)


@dataclass(frozen=True)
class Causes:
    """What may explain wrong answers. Each cause is looked for where it is asked for, and once.

    Attributes:
        subject: the backward pass.
        trials: its answers beside what is right.
    """

    subject: BackwardPass
    trials: Sequence[Trial]

    def findings(self) -> list[Finding]:
        """The root causes: one at least."""
        candidate = self.subject.candidate
        if candidate.learning_rate and not any(is_changed(trial.answer) for trial in self.trials):
            return [form_finding("no_step", NO_STEP)]
        if self.dropout:
            return self.dropout
        if rate := self._rate_returned():
            message = RETURNS_PARAMETERS.format(rate=f"{rate:g}")
            return [form_finding("returns_parameters", message)]
        if cause := self._right_otherwise():
            return [cause]
        other = self.description
        found = self._described_as(other) if other else self._wrong_lines()
        message = "the gradient is wrong, but fits no known mistake"
        return list(first_of_each_kind(found)) or [form_finding("unknown", message)]

    @cached_property
    def dropout(self) -> list[Finding]:
        """Where dropout is on, and what is wrong beside it; nothing if it explains nothing."""
        subject = self.subject
        small = [trial.case for trial in self.trials if 1 < trial.case.n <= ROWS_ALONE]
        alone = [trial.case for trial in self.trials if trial.case.n == 1]
        cases = [*alone, *(row for case in small[:1] for row in rows_of(case))]
        if subject.unread:
            return []
        known = {id(trial.case): trial.answer for trial in self.trials}
        answers = [known[id(case)] if id(case) in known else subject.answer(case) for case in cases]
        singles = [
            Answered(case, without(answer, subject.cost.terms, case))
            for case, answer in zip(cases, answers, strict=True)
            if answer is not None
        ]
        explanations = []
        for by_factor in (False, True):
            found, undone = undo_dropout(subject.cost, singles, by_factor) if singles else ([], [])
            if not found:
                continue
            trials = [subject.trial(case, answer) for case, answer in undone]
            lines = [] if _are_right(trials) else wrong_lines(subject, trials)
            explanations.append([*(dropout.finding for dropout in found), *lines])
            if not lines:
                break
        if not explanations:
            return []
        plain = wrong_lines(subject, self.trials)
        best = reduce(simpler, [*explanations, plain])
        return [] if best is plain else best

    @cached_property
    def description(self) -> Description | None:
        """The description other than the cost's by which all answers are right."""
        if self.subject.unread or not self.trials:
            return None
        _, other = self._odd_terms
        answered = [
            Answered(trial.case, without(trial.answer, other.cost.terms, trial.case))
            for trial in self.trials
        ]
        return other_description(self.subject.cost, answered, self.subject.format)

    def has_other_loss(self, call: Call) -> bool:
        """Whether a call returned the loss of the other description."""
        if self.description is None or call.answer is None:
            return False
        term = total(self.subject.cost.terms, call.case).value
        answered = Answered(call.case, call.answer)
        return has_loss(self.description, answered, term, self.subject.format)

    def _right_otherwise(self) -> Finding | None:
        """The one thing that is wrong, if all answers are right for other biases or reversed."""
        if self.subject.unread or self._is_right():
            return None
        if self._is_right(_with_negative_biases, _with_negative_biases):
            return SUBTRACTS_BIASES
        if self._is_right(read=lambda gradient: gradient[::-1]):
            return REVERSED
        for k in range(1, len(self.subject.candidate.own.params) + 1):
            if self._is_right(partial(_without_bias, k=k)):
                message = f"z[{k}] lacks the bias. It must be W[{k}] a[{k - 1}] + b[{k}]."
                return Finding(1, "", k, "bias_not_added", message)
        if self._is_right(_without_biases, _without_zero_biases):
            return UNUSED_BIASES
        return IGNORED_BIASES if self._ignores_biases() else None

    def _ignores_biases(self) -> bool:
        """Whether no dW depends on any bias.

        With hidden layers, dW^[2] does through a^[1], however wrong its delta is.
        """
        if self.subject.candidate.own.r == 1:
            return False
        for trial in self.trials:
            case, before = trial.case, trial.answer
            after = self.subject.answer(case._replace(params=_with_other_biases(case.params)))
            if before.is_empty or after is None or not _have_same_weights(before, after):
                return False
        return bool(self.trials) and any(b is not None for _, b in self.trials[0].answer.gradient)

    def _is_right(
        self,
        change: Callable[[Params], Params] = lambda params: params,
        read: Callable[[Params], Params] = lambda gradient: gradient,
    ) -> bool:
        """Whether all gradients, read in some way, are exact for parameters that are changed."""
        cost, format = self.subject.cost, self.subject.format
        for trial in self.trials:
            case, answer = trial.case, without(trial.answer, cost.terms, trial.case)
            other = case._replace(params=change(case.params))
            gradient = read(answer.gradient)
            if _shapes(gradient) != _shapes(case.params):
                return False
            if not fits(
                described(cost), Answered(other, answer._replace(gradient=gradient)), format
            ):
                return False
        return bool(self.trials)

    def _rate_returned(self) -> float:
        """The learning rate of a step that returned the new parameters unasked, or 0."""
        subject = self.subject
        steps = [
            (t.case.params, t.answer.gradient, t.reference.gradient)
            for t in self.trials
            if not t.reference.by_convention
        ]
        unasked = steps and not subject.unread and subject.candidate.learning_rate is None
        return rate_of_returned(steps, subject.format) if unasked else 0.0

    @cached_property
    def _odd_terms(self) -> tuple[list[Finding], BackwardPass]:
        return with_own_terms(self.subject)

    @cached_property
    def _beside_odd_terms(self) -> Sequence[Trial]:
        """The answers beside what is right with the candidate's own terms; none if all are."""
        odd, other = self._odd_terms
        if not odd:
            return self.trials
        trials = [other.trial(trial.case, trial.answer) for trial in self.trials]
        return [] if _are_right(trials) else trials

    def _described_as(self, real: Description) -> list[Finding]:
        """The other description, with the wrong lines by the user's own, and odd terms."""
        odd, other = self._odd_terms
        own = described(self.subject.cost)
        elsewhere = "activation" in own.changed(real)
        lines = [] if elsewhere else wrong_lines(other, self._beside_odd_terms)
        return [*description_findings(describe(own, real), lines, bool(odd)), *odd]

    def _wrong_lines(self) -> list[Finding]:
        """The wrong lines and odd terms; if there are none, the arrays that are not finite."""
        odd, other = self._odd_terms
        found = [*wrong_lines(other, self._beside_odd_terms), *odd]
        if odd and self._beside_odd_terms:
            found = simpler(found, wrong_lines(self.subject, self.trials))
        return found or [
            finding
            for trial in self.trials
            for finding in find_non_finite(self.subject.candidate, trial.case, trial.answer)
        ]


def _with_other_biases(layers: Params) -> Params:
    return tuple(layer if layer.b is None else layer._replace(b=layer.b + 1) for layer in layers)


def _have_same_weights(one: Answer, other: Answer) -> bool:
    pairs = zip(one.gradient, other.gradient, strict=True)
    return all(np.array_equal(a.W, b.W) for a, b in pairs)


def _with_negative_biases(layers: Params) -> Params:
    return tuple(layer if layer.b is None else layer._replace(b=-layer.b) for layer in layers)


def _without_bias(layers: Params, k: int) -> Params:
    layer = layers[k - 1]
    bare = layer if layer.b is None else layer._replace(b=0 * layer.b)
    return (*layers[: k - 1], bare, *layers[k:])


def _without_biases(layers: Params) -> Params:
    for k in range(1, len(layers) + 1):
        layers = _without_bias(layers, k)
    return layers


def _without_zero_biases(layers: Params) -> Params:
    """A gradient without the db that are 0: these say nothing."""
    absent: Any = None
    return tuple(
        layer if layer.b is None or layer.b.any() else layer._replace(b=absent) for layer in layers
    )


def _shapes(layers: Params) -> list[tuple[int, ...]]:
    return [layer.W.shape for layer in layers]


def wrong_lines(subject: BackwardPass, trials: Sequence[Trial]) -> list[Finding]:
    """The lines that are wrong in the data's part of the gradient."""
    observed = [
        Observation(
            trial.case,
            trial.reference,
            without(trial.answer, subject.cost.terms, trial.case),
            subject.row_by_row(trial.case),
        )
        for trial in trials
    ]
    return diagnose(subject.cost, observed, subject.gradient_names) if observed else []


def with_own_terms(subject: BackwardPass) -> tuple[list[Finding], BackwardPass]:
    """A finding if the candidate's terms are not those of the cost; the subject with its terms."""
    if subject.unread:
        return [], subject
    n, names = subject.candidate.own.n, subject.gradient_names
    found, cost = odd_terms(subject.silent(), subject.cost, n, names, subject.format)
    return found, replace(subject, cost=cost)


def _are_right(trials: Sequence[Trial]) -> bool:
    return all(trial.comparison.ok for trial in trials)


def find_non_finite(candidate: Candidate, case: Case, answer: Answer) -> list[Finding]:
    """The first array on the way back from the loss that is not finite, if there is one."""
    leaves = jax.tree.leaves(answer.gradient)
    for slot, values in reversed(list(zip(candidate.layout.slots, leaves, strict=True))):
        if not np.isfinite(values).all():
            at = slot.where(tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0]))
            message = f"on {case.name}, {slot.gradient_phrase} is not finite at {list(at)}"
            return [Finding(5, f"d{slot.role}", slot.layer, "not_finite", message)]
    return []


def first_of_each_kind(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The first finding of each kind, quantity and layer."""
    first: dict[tuple[str, str, int | None], Finding] = {}
    for finding in findings:
        first.setdefault((finding.kind, finding.quantity, finding.layer), finding)
    return tuple(first.values())

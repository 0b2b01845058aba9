"""Why the answers of a backward pass are wrong: special causes first, then the wrong lines."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import jax
import numpy as np

from fcnet.arrays import to_numpy
from fcnet.layouts import Layout
from fcnet.types import Layer, Params
from fcnet.verify.backward_pass import ROWS_ALONE, BackwardPass, rows_of
from fcnet.verify.candidate import Call, Candidate
from fcnet.verify.diagnose.blame import Observation, diagnose
from fcnet.verify.diagnose.clipped import clipped
from fcnet.verify.diagnose.decay import odd_terms, simpler
from fcnet.verify.diagnose.descriptions import (
    Description,
    describe,
    described,
    description_findings,
    fits,
    forward,
    has_loss,
    other_description,
)
from fcnet.verify.diagnose.dropout import undo_dropout
from fcnet.verify.diagnose.pattern import is_product
from fcnet.verify.diagnose.slips import NO_SLIP, Slip, slips_of
from fcnet.verify.judge import Trial
from fcnet.verify.readings import readings_of
from fcnet.verify.step import is_changed, rate_of_returned
from fcnet.verify.truth.terms import total, without
from fcnet.verify.types import Answer, Answered, Case, Finding, Values, beside, form_finding

RETURNS_PARAMETERS = (
    "it returns the new parameters, after a step of rate {rate}, and not the gradient: pass "
    "learning_rate={rate}, or return the gradient"
)

NO_STEP = (
    "its parameters are the same after the call as before: return the new ones, or change those "
    "that it is given in place and return None; arrays of JAX cannot be changed in place"
)


ONLINE = (
    "it takes a step for each example, one after another, and not one for the batch: leave out "
    "batched=True, and give check one example and a function that takes a step for it"
)

OTHER_PLACES = (
    "each number is right, but stands elsewhere in the vector than its parameter: unroll the "
    "gradients in the order in which the parameters are cut out, with order='F' in both places or "
    "in none"
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
        if self._is_online():
            return [form_finding("online_steps", ONLINE)]
        comparisons = [trial.comparison for trial in self.trials]
        if clip := clipped(comparisons, range(len(comparisons[0].paths) if comparisons else 0)):
            return [clip]
        if self._is_in_other_places():
            return [form_finding("leaf_order", OTHER_PLACES)]
        if slip := self._only_slip():
            return slip
        other = self.description
        found = self._described_as(other) if other else self._wrong_lines
        if _any_unknown(found) and self._ignores_biases():
            return [IGNORED_BIASES]
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
        best = reduce(simpler, explanations)
        is_simplest = len(best) == 1 or simpler(best, self._wrong_lines) is best
        return best if is_simplest else []

    @cached_property
    def description(self) -> Description | None:
        """The description other than the cost's by which all answers are right."""
        if self.subject.unread or not self.trials:
            return None
        return other_description(self.subject.cost, self._answered, self.subject.format)

    @property
    def has_other_output_activation(self) -> bool:
        """Whether the other description has another output activation."""
        own, other = described(self.subject.cost), self.description
        return other is not None and other.output_activation != own.output_activation

    def has_other_loss(self, call: Call) -> bool:
        """Whether a call returned the loss of the other description."""
        if self.description is None or call.answer is None:
            return False
        term = total(self.subject.cost.terms, call.case).value
        answered = Answered(call.case, call.answer)
        return has_loss(self.description, answered, term, self.subject.format)

    def _likely_slips(self) -> list[Slip]:
        """The slips without which dW = delta a^T holds in most layers.

        That product shows the activations below, and so the way forward, whatever delta is. One
        layer alone has none below.
        """
        if self.subject.candidate.own.r == 1:
            return []
        products = [self._products(slip) for slip in self._slips]
        pairs = zip(self._slips, products, strict=True)
        return [slip for slip, n in pairs if n == max(products) and slip is not NO_SLIP]

    @np.errstate(all="ignore")  # a wrong candidate may return any values
    def _products(self, slip: Slip) -> int:
        """In how many layers above the first dW = delta a^T holds on all single examples."""
        subject, layers = self.subject, set(range(1, self.subject.candidate.own.r))
        for answered in self._answered:
            case, answer = slip.undone(*answered)
            passed = forward(subject.cost.objective.activation, case)
            for k in list(layers) if case.n == 1 else ():
                dW, (a,) = np.asarray(answer.gradient[k].W), passed.a[k]
                delta = dW @ a / max(a @ a, 1e-300)
                if not is_product(dW, delta, a, max(subject.format.u, subject.format.lost)):
                    layers.remove(k)
        return len(layers)

    @cached_property
    def _slips(self) -> list[Slip]:
        """No slip, and those that the shapes allow; nothing where arrays cannot be read."""
        if self.subject.unread or not self.trials:
            return []
        gradients = [trial.answer.gradient for trial in self.trials]
        every = enumerate(zip(*gradients, strict=True), start=1)
        zero = frozenset(("b", k) for k, layers in every if not any(np.any(b) for _, b in layers))
        return [
            slip
            for slip in slips_of(self.subject.candidate.own.r, zero)
            if _shapes(slip.gradient(gradients[0])) == _shapes(self.trials[0].case.params)
        ]

    def _only_slip(self) -> list[Finding]:
        """The slip that is all that is wrong, with odd terms; nothing if there is none."""
        odd, _ = self._odd_terms
        slip = next((slip for slip in self._slips if self._is_right(slip)), NO_SLIP)
        return [*slip.findings, *odd] if slip.findings else []

    def _is_right(self, slip: Slip) -> bool:
        """Whether all gradients are exact without a slip, beside the candidate's own terms."""
        own, format = described(self.subject.cost), self.subject.format
        return all(fits(own, slip.undone(*answered), format) for answered in self._answered)

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

    def _is_online(self) -> bool:
        """Whether the steps of batches are those of their rows, one after another."""
        batches = [trial for trial in self.trials if 1 < trial.case.n <= ROWS_ALONE]
        asked = self.subject.candidate.learning_rate and not self.subject.unread
        return bool(asked and batches) and all(map(self._is_in_turn, batches))

    @np.errstate(all="ignore")  # a wrong candidate may return any values
    def _is_in_turn(self, trial: Trial) -> bool:
        """Whether a step is that of the rows, each with the parameters after the one before."""
        subject, case, got = self.subject, trial.case, trial.answer.gradient
        rate, near = subject.candidate.learning_rate or 0.0, math.sqrt(subject.format.u)
        params, together = case.params, list(map(np.zeros_like, jax.tree.leaves(got)))
        for row in rows_of(case):
            answer, alone = (subject.answer(row._replace(params=p)) for p in (params, case.params))
            if answer is None or alone is None:
                return False
            params = _stepped(params, answer.gradient, rate)
            together = list(map(np.add, together, jax.tree.leaves(alone.gradient)))
        pairs = zip(beside(got, case.params), beside(got, params), strict=True)
        turns = [(before - after) / rate for before, after in pairs]
        return _are_near(got, turns, near) and not _are_near(got, together, near)

    def _is_in_other_places(self) -> bool:
        """Whether the gradient in one vector is right if it is cut in another way."""
        candidate = self.subject.candidate
        own, rate = candidate.layout, candidate.learning_rate
        if len(own.arrays) > 1 or len(own.slots) < 2 or rate or self.subject.unread:
            return False
        shapes = [slot.notes_shape for slot in own.slots]
        ways = (way for way in readings_of(candidate.like[0], own.sizes) if way != own)
        return any(
            all(self._is_right_as(way, trial) for trial in self.trials)
            for way in ways
            if [slot.notes_shape for slot in way.slots] == shapes
        )

    def _is_right_as(self, way: Layout, trial: Trial) -> bool:
        """Whether a gradient in one vector is right if it is cut as the slots of a layout are."""
        subject, case, like = self.subject, trial.case, self.subject.candidate.like[0]
        vector = subject.candidate.layout.write(trial.answer.gradient, like)
        cut = way.layers([to_numpy(array) for array in way.leaves(vector)])
        data = without(trial.answer._replace(gradient=cut), subject.cost.terms, case)
        return fits(described(subject.cost), Answered(case, data), subject.format)

    @cached_property
    def _odd_terms(self) -> tuple[list[Finding], BackwardPass]:
        return with_own_terms(self.subject)

    @cached_property
    def _answered(self) -> list[Answered]:
        """The data's part of each answer, without the candidate's own terms."""
        terms = self._odd_terms[1].cost.terms
        return [Answered(t.case, without(t.answer, terms, t.case)) for t in self.trials]

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

    @cached_property
    def _wrong_lines(self) -> list[Finding]:
        """The wrong lines and odd terms; if there are none, the arrays that are not finite."""
        odd, other = self._odd_terms
        found = [*wrong_lines(other, self._beside_odd_terms), *odd]
        if odd and self._beside_odd_terms:
            found = simpler(found, wrong_lines(self.subject, self.trials))
        r = self.subject.candidate.own.r
        for slip in self._likely_slips() if _any_unknown(found, r) else ():
            lines = wrong_lines(other, self._beside_odd_terms, slip)
            if not _any_unknown(lines):
                found = simpler(found, [*slip.findings, *lines, *odd])
        return found or [
            finding
            for trial in self.trials
            for finding in find_non_finite(self.subject.candidate, trial.case, trial.answer)
        ]


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


def _with_other_biases(layers: Params) -> Params:
    return tuple(layer if layer.b is None else layer._replace(b=layer.b + 1) for layer in layers)


def _have_same_weights(one: Answer, other: Answer) -> bool:
    pairs = zip(one.gradient, other.gradient, strict=True)
    return all(np.array_equal(a.W, b.W) for a, b in pairs)


def _any_unknown(findings: Iterable[Finding], layer: int | None = None) -> bool:
    """Whether a mistake is unknown, in one layer or in any."""
    return any(f.kind == "unknown" and layer in (None, f.layer) for f in findings)


def _shapes(layers: Params) -> list[tuple[int, ...]]:
    return [layer.W.shape for layer in layers]


def wrong_lines(
    subject: BackwardPass, trials: Sequence[Trial], slip: Slip = NO_SLIP
) -> list[Finding]:
    """The lines that are wrong in the data's part of the gradient, without a slip."""
    observed = []
    for trial in trials:
        data = without(trial.answer, subject.cost.terms, trial.case)
        case, answer = slip.undone(trial.case, data)
        right = trial.reference if slip is NO_SLIP else subject.truth(case, subject.format)
        rows = [slip.undone(case, row).answer for row in subject.row_by_row(trial.case)]
        observed.append(Observation(case, right, answer, tuple(rows)))
    return diagnose(subject.cost, observed, subject.gradient_names) if observed else []


def with_own_terms(subject: BackwardPass) -> tuple[list[Finding], BackwardPass]:
    """A finding if the candidate's terms are not those of the cost; the subject with its terms."""
    if subject.unread:
        return [], subject
    candidate, names = subject.candidate, subject.gradient_names
    n, rate = candidate.own.n, candidate.learning_rate
    found, cost = odd_terms(subject.silent(), subject.cost, n, names, subject.format, rate)
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

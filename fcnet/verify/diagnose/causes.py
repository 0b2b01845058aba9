"""Why the answers of a backward pass are wrong: what explains all of them, or the wrong lines."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import jax
import numpy as np

from fcnet.verify.backward_pass import ROWS_ALONE, BackwardPass, rows_of
from fcnet.verify.candidate import Call, Candidate
from fcnet.verify.diagnose.activations import different_activations
from fcnet.verify.diagnose.blame import Observation, diagnose
from fcnet.verify.diagnose.clipped import clipped
from fcnet.verify.diagnose.decay import odd_terms
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
from fcnet.verify.diagnose.own_loss import OwnLoss, compare_with_own_loss
from fcnet.verify.diagnose.places import other_places
from fcnet.verify.diagnose.slips import (
    NO_SLIP,
    UNUSED_BIASES,
    Slip,
    ignores_biases,
    likely_slips,
    possible_slips,
)
from fcnet.verify.diagnose.statistics import batch_statistics
from fcnet.verify.diagnose.steps import no_step, online_steps, returned_parameters
from fcnet.verify.judge import Trial
from fcnet.verify.truth.terms import including, total, without
from fcnet.verify.types import Answer, Answered, Case, Finding, errors, form_finding

UNKNOWN = form_finding("unknown", "the gradient is wrong, but fits no known mistake")

NEAR = 1e-3
"""The largest share of a gradient that warnings explain: the epsilons among them spoil 1e-5."""


@dataclass(frozen=True)
class Causes:
    """What may explain wrong answers. Each cause is looked for where it is asked for, and once.

    Attributes:
        subject: the backward pass.
        trials: its answers beside what is right.
        forward_differs: whether it returns another loss than that of the network.
    """

    subject: BackwardPass
    trials: Sequence[Trial]
    forward_differs: bool = False

    def findings(self) -> list[Finding]:
        """The root causes, one at least: those of the first of `CAUSES` that finds any.

        Warnings alone explain lost digits, and no more.
        """
        found = next(filter(None, (cause(self) for cause in CAUSES)), [UNKNOWN])
        if self._own_loss.factor == 1:
            found = [*first_of_each_kind([*self._own_loss.findings, *found])]
        return found if errors(found) or self._are_near else [*found, UNKNOWN]

    @property
    def _are_near(self) -> bool:
        """Whether a few digits are right on all inputs but the user's own, which may saturate."""
        others = [
            t.comparison for t in self.trials if t.case.name != self.subject.candidate.own.name
        ]
        return all(
            (error <= NEAR * abs(right).max() + allowed).all()
            for one in others
            for error, right, allowed in zip(one.errors, one.right, one.allowed, strict=True)
        )

    @cached_property
    def dropout(self) -> list[Finding]:
        """Where dropout is on, and what is wrong beside it; nothing if it explains nothing."""
        subject = self.subject
        singles = [] if subject.unread else self._single_examples()
        terms = subject.cost.terms
        explanations = []
        for by_factor in (False, True):
            found, undone = undo_dropout(subject.cost, singles, by_factor) if singles else ([], [])
            if not found:
                continue
            trials = [subject.trial(case, including(data, terms, case)) for case, data in undone]
            lines = [] if _are_right(trials) else wrong_lines(subject, observed(subject, trials))
            explanations.append([*(dropout.finding for dropout in found), *lines])
            if not lines:
                break
        if not explanations:
            return []
        best = reduce(_simpler, explanations)
        if len(best) == 1:
            return best
        # Lines beside a slip may explain what is unknown beside dropout; they take longer to find.
        others = self._wrong_lines if any_unknown(best) else self._lines_without_own_terms
        return best if _simpler(best, others) is best else []

    def _single_examples(self) -> list[Answered]:
        """The data's part of the answers for one example: those known, and for rows of a batch."""
        answers = [(t.case, t.answer) for t in self.trials if t.case.n == 1]
        small = [t.case for t in self.trials if 1 < t.case.n <= ROWS_ALONE]
        for case in small[:1]:
            rows = ((row, self.subject.answer(row)) for row in rows_of(case))
            answers += [(row, answer) for row, answer in rows if answer is not None]
        terms = self.subject.cost.terms
        return [Answered(case, without(answer, terms, case)) for case, answer in answers]

    def clip(self) -> list[Finding]:
        """How the gradient was clipped, if that is all that is wrong."""
        comparisons = [trial.comparison for trial in self.trials]
        arrays = range(len(comparisons[0].paths) if comparisons else 0)
        return clipped(comparisons, arrays)

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

    @cached_property
    def _slips(self) -> list[Slip]:
        """No slip, and those that the shapes allow; nothing where arrays cannot be read."""
        return [] if self.subject.unread else possible_slips(self._answered)

    def only_slip(self) -> list[Finding]:
        """The slip that is all that is wrong, with odd terms; nothing if there is none."""
        odd, _ = self._odd_terms
        slip = next((slip for slip in self._slips if self._is_right(slip)), NO_SLIP)
        return [*slip.findings, *odd] if slip.findings else []

    def _is_right(self, slip: Slip) -> bool:
        """Whether all gradients are exact without a slip, beside the candidate's own terms."""
        own, format = described(self.subject.cost), self.subject.format
        return all(fits(own, slip.undone(*answered), format) for answered in self._answered)

    @cached_property
    def _odd_terms(self) -> tuple[list[Finding], BackwardPass]:
        """A finding on terms that are not those of the cost, and the subject with them."""
        return with_own_terms(self.subject)

    @cached_property
    def _answered(self) -> list[Answered]:
        """The data's part of each answer, without the candidate's own terms."""
        terms = self._odd_terms[1].cost.terms
        return [Answered(t.case, without(t.answer, terms, t.case)) for t in self.trials]

    @cached_property
    def _trials_with_own_terms(self) -> Sequence[Trial]:
        """The answers compared with a gradient that has the candidate's terms; none if all fit."""
        odd, other = self._odd_terms
        if not odd:
            return self.trials
        rights = other.truths([trial.case for trial in self.trials], other.format)
        pairs = zip(self.trials, rights, strict=True)
        trials = [other.trial(trial.case, trial.answer, right) for trial, right in pairs]
        return [] if _are_right(trials) else trials

    @cached_property
    def _observed(self) -> list[Observation]:
        """The data's part of the answers, without the candidate's own terms; none if all fit."""
        return observed(self._odd_terms[1], self._trials_with_own_terms)

    @cached_property
    def _lines_without_own_terms(self) -> list[Finding]:
        """The wrong lines where the candidate's terms are taken for those of the cost."""
        return wrong_lines(self.subject, observed(self.subject, self.trials))

    def unused_biases(self) -> list[Finding]:
        """That the biases are not used, if a line is wrong and it is unknown how."""
        unused = any_unknown(self._lines) and ignores_biases(self.subject, self.trials)
        return [UNUSED_BIASES] if unused else []

    def activations(self) -> list[Finding]:
        """That the hidden layers have different activations, so that no line can be judged."""
        if self.subject.unread:
            return []
        described, format = self.subject.cost.objective.activation, self.subject.format
        return different_activations(self._answered, described, format)

    def statistics(self) -> list[Finding]:
        """That it has statistics of the batch, if it is not known better how a line is wrong."""
        unclear = not {"unknown", "not_finite", "zero"}.isdisjoint(f.kind for f in self._lines)
        names, format = self.subject.gradient_names, self.subject.format
        return batch_statistics(self._observed, names, format) if unclear else []

    @cached_property
    def _own_loss(self) -> OwnLoss:
        """What the returned loss says of the gradient, if it is not that of the network."""
        other = self.forward_differs and not self.description
        return compare_with_own_loss(self.subject, self.trials) if other else OwnLoss()

    def own_loss(self) -> list[Finding]:
        """Which arrays are the gradient of the returned loss, if a wrong line is unknown."""
        return self._own_loss.findings if any_unknown(self._lines) else []

    def lines(self) -> list[Finding]:
        """The other description, if there is one, the wrong lines, and odd terms."""
        return list(first_of_each_kind(self._lines))

    @cached_property
    def _lines(self) -> list[Finding]:
        return self._described_as(self.description) if self.description else self._wrong_lines

    def _described_as(self, real: Description) -> list[Finding]:
        """The other description, with the wrong lines by the user's own, and odd terms."""
        odd, other = self._odd_terms
        own = described(self.subject.cost)
        elsewhere = "activation" in own.changed(real)
        lines = [] if elsewhere else wrong_lines(other, self._observed)
        return [*description_findings(describe(own, real), lines, bool(odd)), *odd]

    @cached_property
    def _wrong_lines(self) -> list[Finding]:
        """The wrong lines and odd terms; if there are none, the arrays that are not finite."""
        odd, other = self._odd_terms
        found = [*wrong_lines(other, self._observed), *odd]
        if odd and self._observed:
            found = _simpler(found, self._lines_without_own_terms)
        r, activation = self.subject.candidate.own.r, self.subject.cost.objective.activation
        slips = self._slips if any_unknown(found, r) else []
        for slip in likely_slips(slips, activation, self._answered, self.subject.format):
            lines = wrong_lines(other, [without_slip(other, slip, o) for o in self._observed])
            if not any_unknown(lines):
                found = _simpler(found, [*slip.findings, *lines, *odd])
        return found or [
            finding
            for trial in self.trials
            for finding in find_non_finite(self.subject.candidate, trial.case, trial.answer)
        ]


CAUSES: tuple[Callable[[Causes], list[Finding]], ...] = (
    lambda causes: no_step(causes.subject, causes.trials),
    lambda causes: causes.dropout,
    lambda causes: returned_parameters(causes.subject, causes.trials),
    lambda causes: online_steps(causes.subject, causes.trials),
    Causes.clip,
    lambda causes: other_places(causes.subject, causes.trials),
    Causes.activations,
    Causes.only_slip,
    Causes.unused_biases,
    Causes.statistics,
    Causes.own_loss,
    Causes.lines,
)
"""What may explain the answers, in the order in which it is tried."""


def _simpler(one: list[Finding], other: list[Finding]) -> list[Finding]:
    """The simpler of two explanations, the first if they are alike; an unknown mistake is worst."""
    return min(one, other, key=lambda found: sum(1 + (f.kind == "unknown") for f in found))


def any_unknown(findings: Iterable[Finding], layer: int | None = None) -> bool:
    """Whether a mistake is unknown, in one layer or in any."""
    return any(f.kind == "unknown" and layer in (None, f.layer) for f in findings)


def observed(subject: BackwardPass, trials: Sequence[Trial]) -> list[Observation]:
    """The data's part of each answer, and that of each row of a small batch alone."""
    return [
        Observation(
            trial.case,
            trial.reference,
            without(trial.answer, subject.cost.terms, trial.case),
            subject.row_by_row(trial.case),
        )
        for trial in trials
    ]


def without_slip(subject: BackwardPass, slip: Slip, item: Observation) -> Observation:
    """What was observed, as it is without a slip."""
    case, answer = slip.undone(item.case, item.answer)
    alone = tuple(slip.undone(case, row).answer for row in item.alone)
    return Observation(case, subject.truth(case, subject.format), answer, alone)


def wrong_lines(subject: BackwardPass, items: Sequence[Observation]) -> list[Finding]:
    """The lines that are wrong in what was observed; none if there is nothing."""
    return diagnose(subject.cost, items, subject.gradient_names) if items else []


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

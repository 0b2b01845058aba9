"""A backward pass of the network as a `Subject`: what is right, its answers, and its mistakes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import jax
import numpy as np

from fcnet.types import Params
from fcnet.verify.candidate import Call, Candidate
from fcnet.verify.compare import Comparison, compare, largest_excess
from fcnet.verify.diagnose.blame import Names, Observation, diagnose
from fcnet.verify.diagnose.decay import (
    SilentAnswer,
    decay_note,
    odd_terms,
    read_silent,
    simpler,
)
from fcnet.verify.diagnose.descriptions import (
    Description,
    describe,
    described,
    description_findings,
    has_loss,
    other_description,
)
from fcnet.verify.diagnose.dropout import undo_dropout
from fcnet.verify.example import Shown, call_of, literal, simple_inputs
from fcnet.verify.inputs import USUAL_N
from fcnet.verify.judge import Trial
from fcnet.verify.protocol import check_loss
from fcnet.verify.report import Report
from fcnet.verify.saturation import saturated_inputs
from fcnet.verify.shown import apart
from fcnet.verify.step import rate_of_differences, rate_of_returned
from fcnet.verify.truth.reference import reference
from fcnet.verify.truth.terms import total, without
from fcnet.verify.types import (
    FORMATS,
    Answer,
    Answered,
    Case,
    Cost,
    Finding,
    Format,
    Leaf,
    Reference,
    form_finding,
)
from fcnet.verify.unread import Unread, completed, unread_of, without_biases

DIFFERENCES = (
    "what it returns are differences of parameters, which have fewer digits than the gradient: "
    "return the new parameters instead, and pass learning_rate="
)

RETURNS_PARAMETERS = (
    "it returns the new parameters, after a step of rate {rate}, and not the gradient: pass "
    "learning_rate={rate}, or return the gradient"
)

NO_STEP = (
    "its parameters are the same after the call as before: return the new ones, or change those "
    "that it is given in place and return None; arrays of JAX cannot be changed in place"
)

ROWS_ALONE = 8
"""Batches of up to this many examples are also tried row by row, to locate their faults."""


@dataclass(frozen=True)
class BackwardPass:
    """A backward pass of the network, as a `Subject` to be judged.

    Attributes:
        cost: the function whose gradient it claims to compute.
        candidate: the user's function.
        plain: one or two inputs with nothing special, of different n.
        format: of what it returns: the coarsest format among the parameters, unless that is a
            difference of parameters.
        trials: its answers on all inputs, once they are known.
        otherwise: the keywords of another layout in which it is right, if there is one.
        unread: arrays whose shape hides their numbers on every input; they are left out.
    """

    cost: Cost
    candidate: Candidate
    plain: tuple[Case, ...]
    format: Format
    trials: tuple[Trial, ...] = ()
    otherwise: str = ""
    unread: Unread = frozenset()

    @property
    def name(self) -> str:
        """The name of the user's function."""
        return self.candidate.name

    @property
    def sizes(self) -> tuple[int, ...]:
        """(d, m_1, ..., m_r)."""
        return self.candidate.layout.sizes

    def truth(self, case: Case, format: Format) -> Reference:
        """What is right for a case."""
        rows = USUAL_N if self.candidate.batched else None
        right = reference(self.cost, case, format, rows)
        return right._replace(gradient=self.present(right.gradient))

    def present(self, layers: Params) -> Params:
        """The layers with None for each bias that is absent, or cannot be read."""
        return without_biases(self.candidate.layout.present(layers), self.unread)

    def answer(self, case: Case, double: bool = False) -> Answer | None:
        """What the candidate returns for a case, or for the case in float64."""
        return self.readable(self.candidate.call(case, dtype=np.float64 if double else None))

    def leaving_out(self, calls: Sequence[Call]) -> "BackwardPass":
        """The subject without the arrays that no call returned in a shape that can be read."""
        hidden = {unread_of(call.read.partial) for call in calls if call.read.partial is not None}
        if len(hidden) != 1 or any(call.answer is not None for call in calls):
            return self
        return replace(self, unread=hidden.pop())

    def readable(self, call: Call) -> Answer | None:
        """What a call returned, completed where some arrays are left out."""
        partial = call.read.partial
        if partial is None or unread_of(partial) != self.unread:
            return call.answer
        right, n = self.truth(call.case, self.format), len(call.case.X)
        rows = self.row_by_row(call.case) if any(role == "W" for role, _ in self.unread) else ()
        share = 1 / n if self.cost.reduction == "mean" else 1.0
        return completed(partial, right, share, rows)

    @property
    def unread_names(self) -> list[str]:
        """The arrays that cannot be read."""
        slots = self.candidate.layout.slots
        return [s.gradient_name for s in slots if (s.role, s.layer) in self.unread]

    def moved(self, case: Case, size: float, draw: np.random.Generator) -> Case:
        """The case with moved parameters and inputs, and the same targets."""
        params, X = jax.tree.map(
            lambda leaf: leaf * (1 + size * draw.uniform(-1, 1, leaf.shape)), (case.params, case.X)
        )
        return self.candidate.representable(case._replace(params=params, X=X))

    def compare(self, case: Case, answer: Answer, format: Format) -> Comparison:
        """An answer beside the reference in a format."""
        return compare(answer, self.truth(case, format), case.name)

    def explain(self, trials: Sequence[Trial], persistent: Sequence[Leaf]) -> list[Finding]:
        """The wrong lines; if none can be blamed, the arrays that are not finite."""
        if self.candidate.learning_rate and not any(_is_changed(trial.answer) for trial in trials):
            return [form_finding("no_step", NO_STEP)]
        if self.otherwise:
            return []
        if self.dropout:
            return self.dropout
        if rate := self.rate_returned(trials):
            message = RETURNS_PARAMETERS.format(rate=f"{rate:g}")
            return [form_finding("returns_parameters", message)]
        odd, other = self.odd_terms()
        again = other.again(trials) if odd else trials
        if self.description:
            own = described(self.cost)
            elsewhere = "activation" in own.changed(self.description)
            lines = [] if elsewhere else other.wrong_lines(again)
            text = describe(own, self.description)
            return [*description_findings(text, lines, bool(odd)), *odd]
        findings = [*other.wrong_lines(again), *odd]
        if odd and again:
            findings = simpler(findings, self.wrong_lines(trials))
        findings = findings or [
            finding
            for trial in trials
            for finding in find_non_finite(self.candidate, trial.case, trial.answer)
        ]
        message = "the gradient is wrong, but fits no known mistake"
        return list(first_of_each_kind(findings)) or [form_finding("unknown", message)]

    @cached_property
    def dropout(self) -> list[Finding]:
        """Where dropout is on, and what is wrong beside it; nothing if it explains nothing."""
        small = [trial.case for trial in self.trials if 1 < len(trial.case.X) <= ROWS_ALONE]
        alone = [trial.case for trial in self.trials if len(trial.case.X) == 1]
        cases = [*alone, *(row for case in small[:1] for row in rows_of(case))]
        if self.unread or self.candidate.learning_rate or not cases:
            return []
        known = {id(trial.case): trial.answer for trial in self.trials}
        answers = [known[id(case)] if id(case) in known else self.answer(case) for case in cases]
        singles = [
            Answered(case, without(answer, self.cost.terms, case))
            for case, answer in zip(cases, answers, strict=True)
            if answer is not None
        ]
        found, undone = undo_dropout(self.cost, singles)
        if not found:
            return []
        rights = [self.truth(case, self.format) for case, _ in undone]
        trials = [
            Trial(case, right, answer, compare(answer, right, case.name))
            for (case, answer), right in zip(undone, rights, strict=True)
        ]
        lines = [] if all(trial.comparison.ok for trial in trials) else self.wrong_lines(trials)
        if lines and simpler(lines, plain := self.wrong_lines(self.trials)) is plain:
            return []
        return [*(dropout.finding for dropout in found), *lines]

    def rate_returned(self, trials: Sequence[Trial]) -> float:
        """The learning rate of a step that returned the new parameters unasked, or 0."""
        steps = [
            (t.case.params, t.answer.gradient, t.reference.gradient)
            for t in trials
            if not t.reference.by_convention
        ]
        unasked = steps and not self.unread and self.candidate.learning_rate is None
        return rate_of_returned(steps, self.format) if unasked else 0.0

    @cached_property
    def description(self) -> Description | None:
        """The description other than the cost's by which all answers are right."""
        _, other = self.odd_terms()
        answered = [
            Answered(trial.case, without(trial.answer, other.cost.terms, trial.case))
            for trial in self.trials
        ]
        if self.unread or not answered:
            return None
        return other_description(self.cost, answered, self.format)

    def has_other_loss(self, call: Call) -> bool:
        """Whether a call returned the loss of the other description."""
        if self.description is None or call.answer is None:
            return False
        term = total(self.cost.terms, call.case).value
        return has_loss(self.description, Answered(call.case, call.answer), term, self.format)

    def again(self, trials: Sequence[Trial]) -> list[Trial]:
        """The same answers beside what is right for this subject; none if all are right."""
        rights = [self.truth(trial.case, self.format) for trial in trials]
        again = [
            Trial(case, right, answer, compare(answer, right, case.name))
            for (case, _, answer, _), right in zip(trials, rights, strict=True)
        ]
        return [] if all(trial.comparison.ok for trial in again) else again

    def wrong_lines(self, trials: Sequence[Trial]) -> list[Finding]:
        """The lines that are wrong in the data's part of the gradient."""
        observed = [
            Observation(
                trial.case,
                trial.reference,
                without(trial.answer, self.cost.terms, trial.case),
                self.row_by_row(trial.case),
            )
            for trial in trials
        ]
        return diagnose(self.cost, observed, self.gradient_names) if observed else []

    @property
    def gradient_names(self) -> Names:
        """The user's own names of dJ/dW and dJ/db of each layer, where they can be read."""
        unread = {place for place in self.unread if place[0] == "b"}
        slots = {(slot.role, slot.layer): slot for slot in self.candidate.layout.slots}
        return {place: s.gradient_name for place, s in slots.items() if place not in unread}

    @cached_property
    def silent(self) -> list[SilentAnswer]:
        """What the candidate returns where the data contribute nothing."""
        present = self.candidate.layout.present
        plain = [case._replace(params=present(case.params)) for case in self.plain]
        return read_silent(self.answer, plain, self.cost.objective.activation)

    def odd_terms(self) -> tuple[list[Finding], "BackwardPass"]:
        """A finding if the candidate's terms are not those of the cost, and who has its terms."""
        if self.unread:
            return [], self
        n = len(self.candidate.own.X)
        found, cost = odd_terms(self.silent, self.cost, n, self.gradient_names, self.format)
        return found, replace(self, cost=cost)

    def settled(
        self, calls: Sequence[Call], references: Sequence[Reference]
    ) -> tuple["BackwardPass", list[str]]:
        """The subject with what its answers show of it, and a note on each.

        That is: digits that a difference of parameters has lost, and terms that its own loss has.
        """
        notes, subject = [], self
        answers = [(call.case, call.answer) for call in calls if call.answer is not None]
        fits = all(
            call.answer is None or compare(call.answer, right, "").ok
            for call, right in zip(calls, references, strict=True)
        )
        rate = None if fits or self.format.lost else rate_of_differences(answers, self.format)
        if rate:
            subject = replace(self, format=self.format._replace(lost=self.format.u / rate))
            notes.append(DIFFERENCES)
        if any(map(check_loss, calls, references)):
            found, other = subject.odd_terms()
            if found and all(other.has_loss(*pair) for pair in answers):
                subject = other
                notes.append(decay_note(other.cost, self.candidate.own))
        return subject, notes

    def has_loss(self, case: Case, answer: Answer) -> bool:
        """Whether an answer has a loss, and that is the cost."""
        right = self.truth(case, self.format)
        return answer.loss is not None and abs(answer.loss - right.loss) <= right.loss_tolerance

    def row_by_row(self, case: Case) -> tuple[Answer, ...]:
        """The data's part of each example of a small batch as a batch of one."""
        n = len(case.X)
        if not 1 < n <= ROWS_ALONE:
            return ()
        answers = [(row, self.answer(row)) for row in rows_of(case)]
        parts = [
            without(answer, self.cost.terms, row) for row, answer in answers if answer is not None
        ]
        return tuple(parts) if len(parts) == n else ()

    def remarks(self, comparisons: Sequence[Comparison]) -> list[str]:
        """What the user's own input cannot show, and the convention for ReLU'(0)."""
        notes = []
        own = [c for c in comparisons if c.case == self.candidate.own.name]
        if not any(any(comparison.informative) for comparison in comparisons):
            notes.append("every gradient was zero or all rounding, which agrees with anything")
        elif own and not any(own[0].informative):
            notes.append(
                "on your input the gradient is zero or all rounding, which proves nothing; "
                "the verdict is from the other inputs"
            )
        seen = {c.convention for c in comparisons if c.convention is not None}
        return notes + [
            f"where a pre-activation is exactly 0 it takes ReLU'(0) = {c:g}"
            + (", as the notes do" if c == 1 else "; the notes take 1, and both are right")
            for c in sorted(seen)
        ]

    def at_saturation(self, report: Report) -> Report:
        """The report on a right candidate with a warning if it fails at saturation only."""
        if not report.ok or any(finding.kind == "unstable" for finding in report.findings):
            return report
        format = FORMATS[report.precision]
        format = format._replace(u=report.unit_roundoff, lost=self.format.lost)
        inputs = saturated_inputs(self.candidate, self.cost, self.plain[0])
        report = replace(report, cases=(*report.cases, *(case.name for case, _ in inputs)))
        for case, level in inputs:
            call = self.candidate.call(case)
            answer = self.readable(call)
            shown = self.compare(case, answer, format) if answer else None
            if shown and shown.ok:
                continue
            what = self.worst_entry(shown) if shown else call.findings[0].message
            message = (
                f"at pre-activations of {level:g} {what}: the formula is right elsewhere, and not "
                "stable there"
            )
            unstable = form_finding("unstable", message, "warning")
            return replace(report, findings=(*report.findings, unstable))
        return report

    def example(self, trials: Sequence[Trial]) -> str:
        """An input of simple numbers, or else the failing one of the fewest examples."""
        try:
            inputs = simple_inputs(self.candidate, self.cost.objective.loss)
            failing = [trial.case for trial in trials if not trial.comparison.ok]
            least = sorted(failing, key=lambda case: len(case.X))[:1]
            inputs += [Shown(case, literal(self.candidate, case)) for case in least]
        except TypeError:
            return ""
        for case, code in inputs:
            answer = self.answer(case) if code else None
            shown = self.compare(case, answer, self.format) if answer else None
            if shown and not shown.ok:
                return f"{code}\n# {call_of(self.candidate)}: {self.worst_entry(shown)}"
        return ""

    def worst_entry(self, comparison: Comparison) -> str:
        """The worst entry of a comparison, as returned and as it must be."""
        i = int(np.argmax([largest_excess([excess]) for excess in comparison.excess]))
        leaf = comparison.leaf(i)
        entries = (float(values[i][leaf.index]) for values in (comparison.got, comparison.right))
        got, right = apart(*entries)
        named = self.in_user_terms(leaf)
        return f"{named.path}{list(named.index)} is {got}, and must be {right}"

    def in_user_terms(self, leaf: Leaf) -> Leaf:
        """The leaf with the user's own name and index of the array."""
        slots = {f"{slot.role}{slot.layer}": slot for slot in self.candidate.layout.slots}
        slot = slots[leaf.path]
        return leaf._replace(path=slot.gradient_name, index=slot.where(leaf.index))


def rows_of(case: Case) -> list[Case]:
    """The examples of a batch, each as a batch of one."""
    return [case._replace(X=case.X[i : i + 1], Y=case.Y[i : i + 1]) for i in range(len(case.X))]


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


def _is_changed(answer: Answer) -> bool:
    return any(leaf.any() for leaf in jax.tree.leaves(answer.gradient))

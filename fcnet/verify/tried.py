"""A backward pass tried on varied inputs: what it returned, beside what is right there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial

import jax
import numpy as np
from jax import Array

from fcnet.arrays import coarsest_dtype, is_array
from fcnet.trees import leaves
from fcnet.verify.allowances import allow
from fcnet.verify.backward_pass import BackwardPass
from fcnet.verify.candidate import Call, Candidate
from fcnet.verify.diagnose.decay import silent_answers
from fcnet.verify.inputs import USUAL_N, varied_inputs
from fcnet.verify.judge import Trial
from fcnet.verify.protocol import Protocol, check_protocol
from fcnet.verify.returned_loss import loss_findings
from fcnet.verify.types import Case, Cost, Finding, Format, Reference, form_finding


@dataclass(frozen=True)
class Tried:
    """A backward pass after all its calls.

    Attributes:
        subject: the backward pass, with what its answers show of it.
        calls: on all inputs; the first on the user's own, the second with nothing special.
        references: what is right there.
        protocol: what the calls on the first two inputs show of its form.
        notes: what the answers show, such as terms of its own loss.
        fixed: a warning where it takes one number of examples only.
    """

    subject: BackwardPass
    calls: Sequence[Call]
    references: Sequence[Reference]
    protocol: Protocol
    notes: Sequence[str]
    fixed: tuple[Finding, ...] = ()

    @property
    def cases(self) -> list[Case]:
        """All inputs."""
        return [call.case for call in self.calls]

    @property
    def plain(self) -> Case:
        """An input with nothing special, of a few examples if any number will do.

        The largest class is among them: columns may be counted by `max() + 1`.
        """
        case = self.calls[1].case
        largest_first = np.argsort(-case.Y.argmax(1), kind="stable")
        few = slice(None) if self.fixed else largest_first[:USUAL_N]
        return case._replace(X=case.X[few], Y=case.Y[few])

    @cached_property
    def trials(self) -> list[Trial]:
        """The answers that can be read, beside what is right."""
        return [
            self.subject.trial(call.case, answer, right)
            for call, right in zip(self.calls, self.references, strict=True)
            if (answer := self.subject.readable(call)) is not None
        ]

    @property
    def all_right(self) -> bool:
        """Whether each call returned the right gradient."""
        answered = len(self.trials) == len(self.calls)
        return answered and all(trial.comparison.ok for trial in self.trials)

    @cached_property
    def losses(self) -> list[Finding]:
        """What is wrong with the losses that it returned."""
        is_step = self.subject.candidate.learning_rate is not None
        return loss_findings(
            self.subject.cost, self.calls, self.references, self.all_right, is_step
        )


def try_on_inputs(candidate: Candidate, cost: Cost, key: Array | None) -> Tried:
    """Call a candidate on the user's own input and on others derived from it.

    One that takes no other number of examples than the user's own is judged on such inputs alone,
    with a warning.

    Args:
        candidate: the user's function.
        cost: the function whose gradient it claims to compute.
        key: of the derived inputs; by default always the same.

    Raises:
        ValueError: if the loss of the user's own input is not a number.
    """
    tried = _try(candidate, cost, varied_inputs(candidate, cost, key))
    warning = _fixed_number(tried.calls)
    if warning is None:
        return tried
    again = _try(candidate, cost, varied_inputs(candidate, cost, key, own_number=True))
    return replace(again, fixed=(warning,))


def _fixed_number(calls: Sequence[Call]) -> Finding | None:
    """A warning if each call on another number of examples than the first raised, and no other."""
    n = calls[0].case.n
    elsewhere = [call for call in calls if call.case.n != n]
    raised = [call for call in calls if any(f.kind == "raises" for f in call.findings)]
    if not elsewhere or len(raised) != len(elsewhere) or any(c.case.n == n for c in raised):
        return None
    case, first = elsewhere[0].case, elsewhere[0].findings[0].message.removeprefix("on ")
    message = (
        f"it takes batches of {n} only, and was tried on no others; "
        f"with {case.n} examples{first.removeprefix(case.name)}"
    )
    return form_finding("fixed_number", message, "warning")


def _try(candidate: Candidate, cost: Cost, varied: Sequence[Case]) -> Tried:
    """Call a candidate on the user's own input and on these others."""
    cases = [candidate.own, *varied]
    usual, *others = varied
    another_n = [case for case in others if case.n != usual.n]
    plain = [usual, *another_n[:1]]
    silent = cache(partial(silent_answers, candidate, plain, cost.objective.activation))
    described = BackwardPass(cost, candidate, candidate.format, silent)
    references = described.truths(cases, described.format)
    if math.isnan(references[0].loss):
        raise ValueError(
            f"the {cost.objective.loss.name} loss of your own input is nan: give params, x and y "
            "for which it is a number"
        )
    protocol = check_protocol(candidate, references[0], usual, references[1])
    other = protocol.other or candidate.call(usual)
    calls = [protocol.own, other, *map(candidate.call, others)]
    format = _format_of(candidate, protocol.own)
    known = described if format == described.format else replace(described, format=format)
    subject, notes = allow(known, calls, references)
    if subject is not described:
        references = subject.truths(cases, subject.format)
    return Tried(subject, calls, references, protocol, notes)


def _format_of(candidate: Candidate, call: Call) -> Format:
    """The format of what a call returned: of NumPy's float64, JAX makes float32."""
    arrays = [leaf for _, leaf in leaves(call.returned) if is_array(leaf)]
    of_jax = all(isinstance(array, jax.Array) for array in arrays)
    made = jax.dtypes.canonicalize_dtype(candidate.dtype)
    is_made = bool(arrays) and of_jax and coarsest_dtype(arrays) == made
    return candidate.format_in(made) if is_made else candidate.format

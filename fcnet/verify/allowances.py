"""What answers show of a candidate that its description leaves out, and that is then allowed."""

from collections.abc import Sequence
from dataclasses import replace

from fcnet.verify.backward_pass import BackwardPass
from fcnet.verify.candidate import Call
from fcnet.verify.compare import compare
from fcnet.verify.diagnose.causes import with_own_terms
from fcnet.verify.diagnose.decay import decay_note
from fcnet.verify.returned_loss import check_loss
from fcnet.verify.step import rate_of_differences
from fcnet.verify.types import Answer, Answered, Case, Reference
from fcnet.verify.unread import unread_of

DIFFERENCES = (
    "what it returns are differences of parameters, which have fewer digits than the gradient: "
    "return the new parameters instead, and pass learning_rate="
)


def allow(
    described: BackwardPass, calls: Sequence[Call], references: Sequence[Reference]
) -> tuple[BackwardPass, list[str]]:
    """The backward pass with what its answers show of it, and a note on each.

    Args:
        described: as the user described it.
        calls: on all inputs.
        references: what is right there, by that description.

    Returns:
        The same object if they show nothing. Otherwise digits that a difference of parameters has
        lost, terms that its own loss has, and arrays that no call returned in a shape that can be
        read.
    """
    subject, notes = described, []
    answered = [Answered(call.case, call.answer) for call in calls if call.answer is not None]
    fits = all(
        call.answer is None or compare(call.answer, right, "").ok
        for call, right in zip(calls, references, strict=True)
    )
    rate = None if fits or subject.format.lost else rate_of_differences(answered, subject.format)
    if rate:
        lost = subject.format.u / rate
        subject = replace(subject, format=subject.format._replace(lost=lost))
        notes.append(DIFFERENCES)
    if any(map(check_loss, calls, references)):
        found, other = with_own_terms(subject)
        if found and all(_has_loss(other, *pair) for pair in answered):
            subject = other
            notes.append(decay_note(other.cost, other.candidate.own))
    hidden = {unread_of(call.read.partial) for call in calls if call.read.partial is not None}
    if len(hidden) == 1 and not answered:
        subject = replace(subject, unread=hidden.pop())
        names = ", ".join(subject.unread_names)
        notes.append(f"of {names} only the shape was judged, and no number")
    return subject, notes


def _has_loss(subject: BackwardPass, case: Case, answer: Answer) -> bool:
    """Whether an answer has a loss, and that is the cost."""
    right = subject.truth(case, subject.format)
    return answer.loss is not None and abs(answer.loss - right.loss) <= right.loss_tolerance

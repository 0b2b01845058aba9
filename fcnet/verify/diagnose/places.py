"""Right numbers that stand in the wrong places of one vector."""

from collections.abc import Sequence

from fcnet.arrays import to_numpy
from fcnet.layouts import Layout
from fcnet.verify.backward_pass import BackwardPass
from fcnet.verify.diagnose.descriptions import described, fits
from fcnet.verify.judge import Trial
from fcnet.verify.readings import readings_of
from fcnet.verify.truth.terms import without
from fcnet.verify.types import Answered, Finding, form_finding

OTHER_PLACES = form_finding(
    "leaf_order",
    "each number is right, but stands elsewhere in the vector than its parameter: unroll the "
    "gradients in the order in which the parameters are cut out, with order='F' in both places or "
    "in none",
)


def other_places(subject: BackwardPass, trials: Sequence[Trial]) -> list[Finding]:
    """A finding if the gradient in one vector is right when it is cut in another way."""
    candidate = subject.candidate
    own, rate = candidate.layout, candidate.learning_rate
    if len(own.arrays) > 1 or len(own.slots) < 2 or rate or subject.unread:
        return []
    shapes = [slot.notes_shape for slot in own.slots]
    ways = (way for way in readings_of(candidate.like[0], own.sizes) if way != own)
    is_right = any(
        all(_is_right_as(subject, way, trial) for trial in trials)
        for way in ways
        if [slot.notes_shape for slot in way.slots] == shapes
    )
    return [OTHER_PLACES] if is_right else []


def _is_right_as(subject: BackwardPass, way: Layout, trial: Trial) -> bool:
    """Whether a gradient in one vector is right if it is cut as the slots of a layout are."""
    case, like = trial.case, subject.candidate.like[0]
    vector = subject.candidate.layout.write(trial.answer.gradient, like)
    cut = way.layers([to_numpy(array) for array in way.leaves(vector)])
    data = without(trial.answer._replace(gradient=cut), subject.cost.terms, case)
    return fits(described(subject.cost), Answered(case, data), subject.format)

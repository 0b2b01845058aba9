"""The properties of the arguments without which a right gradient is wrong."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from fcnet.arrays import dtype_of, unit_roundoff
from fcnet.verify.claim import AWAY, ArrayCase, Claim, representable
from fcnet.verify.judge import Trial, right_in_float64
from fcnet.verify.properties import Property, leave
from fcnet.verify.report import Report
from fcnet.verify.types import FORMATS, Answer, Format

TRIES = 3
"""How many points are tried that leave a property."""

ROUNDINGS = 64
"""The least distance by which numbers move, in roundings: smaller errors would hide in rounding."""

Kept = Sequence[Sequence[Property]]
"""The properties kept of each argument."""


def add_limits(report: Report, claim: Claim, own: ArrayCase, draw: np.random.Generator) -> Report:
    """The report on a right claim, with a note for each property without which it is wrong.

    Most claims need one more call: if they are right at a point that leaves all properties, there
    is no limit.
    """
    if not report.ok or not any(claim.kept):
        return report
    format = FORMATS[report.precision]._replace(u=report.unit_roundoff)
    sentences = limits(claim, format, own, draw)
    return replace(report, notes=(*report.notes, *sentences))


def limits(claim: Claim, format: Format, own: ArrayCase, draw: np.random.Generator) -> list[str]:
    """A sentence for each argument whose properties a claim needs that is right in a format."""

    def needs(kept: Kept) -> bool:
        """Whether the claim is wrong at some point that has only these properties."""
        points = [_left(claim, own, kept, draw, any_signs=bool(i % 2)) for i in range(TRIES)]
        answers = [*map(claim.answer, points)]
        claim.know(points, answers, format)
        return any(map(partial(_is_wrong, claim, format), points, answers))

    everything = list(claim.kept)
    if not needs([()] * len(everything)):
        return []
    sentences = []
    for i in range(len(everything)):

        def lacks(kept: Sequence[Property], i: int = i) -> bool:
            """Whether the claim is wrong where this argument has only these properties."""
            return needs([*everything[:i], kept, *everything[i + 1 :]])

        if everything[i] and lacks(()):
            fewest = _fewest(everything[i], lacks)
            says = " and ".join(p.of(claim.names[i], own.leaves[i]) for p in fewest)
            sentences.append(f"right where {says}; otherwise not")
    return sentences


def _fewest(
    kept: Sequence[Property], lacks: Callable[[Sequence[Property]], bool]
) -> Sequence[Property]:
    """The properties that suffice: the weakest one; or those of which none can be left out."""
    for property in kept:
        if not lacks((property,)):
            return (property,)
    for property in reversed(kept):
        fewer = [other for other in kept if other is not property]
        kept = kept if lacks(fewer) else fewer
    return kept


def _left(
    claim: Claim, own: ArrayCase, kept: Kept, draw: np.random.Generator, any_signs: bool
) -> ArrayCase:
    """A point that has only some of the properties; arrays that keep all theirs do not move."""
    leaves = []
    for x, some, had, leaf in zip(own.leaves, kept, claim.kept, claim.leaves, strict=True):
        u = unit_roundoff(dtype_of(leaf))
        left = leave(x, max(AWAY, ROUNDINGS * u), draw, some, u, any_signs)
        leaves.append(x.copy() if some == had else left)
    name = f"a point near {own.name} without its properties"
    return representable(ArrayCase(name, tuple(leaves)), claim.leaves)


def _is_wrong(claim: Claim, format: Format, case: ArrayCase, answer: Answer | None) -> bool:
    """Whether the answer at a point is wrong, and not only for its rounding."""
    if answer is None:
        return False
    trial = Trial(case, None, answer, claim.compare(case, answer, format))
    return not trial.comparison.ok and not right_in_float64(claim, [trial])

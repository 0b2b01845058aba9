"""Where a right gradient ends: the properties of the arguments without which it is wrong."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fcnet.arrays import dtype_of, unit_roundoff
from fcnet.verify.claim import AWAY, ArrayCase, Claim, representable
from fcnet.verify.judge import Trial, right_in_float64
from fcnet.verify.report import Report
from fcnet.verify.structure import Property, leave
from fcnet.verify.types import FORMATS, Format

TRIES = 2
"""How many points are tried that leave a property."""

Kept = Sequence[Sequence[Property]]
"""The properties kept of each argument."""


def add_limits(report: Report, claim: Claim, own: ArrayCase, draw: np.random.Generator) -> Report:
    """The report on a right claim, with a note for each property without which it is wrong.

    Most claims need one more call: if they are right at a point that leaves all properties, there
    is no limit.
    """
    if not report.ok or not any(claim.kept):
        return report
    sentences = limits(claim, FORMATS[report.precision], own, draw)
    return replace(report, notes=(*report.notes, *sentences))


def limits(claim: Claim, format: Format, own: ArrayCase, draw: np.random.Generator) -> list[str]:
    """A sentence for each argument whose properties a claim needs that is right in a format."""

    def needs(kept: Kept) -> bool:
        """Whether the claim is wrong at some point that has only these properties."""
        return any(_is_wrong(claim, format, _left(claim, own, kept, draw)) for _ in range(TRIES))

    everything = list(claim.kept)
    if not needs([()] * len(everything)):
        return []
    structured = [i for i, kept in enumerate(everything) if kept]
    alone = [i for i in structured if needs(_with(everything, i, ()))]
    sentences = []
    for i in alone or structured:
        name, x = claim.names[i], own.leaves[i]
        enough = (p for p in everything[i] if not needs(_with(everything, i, (p,))))
        named = [*enough][:1] or everything[i]
        says = " and ".join(p.of(name, x) for p in named)
        sentences.append(f"right where {says}; otherwise not")
    return sentences


def _with(everything: Kept, i: int, kept: Sequence[Property]) -> Kept:
    return [kept if j == i else others for j, others in enumerate(everything)]


def _left(claim: Claim, own: ArrayCase, kept: Kept, draw: np.random.Generator) -> ArrayCase:
    """A point that has only some of the properties; arrays that keep all theirs do not move."""
    leaves = tuple(
        x.copy() if some == had else leave(x, AWAY, draw, some, unit_roundoff(dtype_of(leaf)))
        for x, some, had, leaf in zip(own.leaves, kept, claim.kept, claim.leaves, strict=True)
    )
    name = f"a point near {own.name} without its properties"
    return representable(ArrayCase(name, leaves), claim.leaves)


def _is_wrong(claim: Claim, format: Format, case: ArrayCase) -> bool:
    """Whether the claim is wrong at a point, and not only for its rounding."""
    answer = claim.answer(case)
    if answer is None:
        return False
    trial = Trial(case, None, answer, claim.compare(case, answer, format))
    return not trial.comparison.ok and not right_in_float64(claim, [trial])

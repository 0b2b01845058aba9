"""Gradients that were right before they were clipped: entry by entry, or to a largest norm."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fcnet.verify.compare import Comparison
from fcnet.verify.types import Finding, Values, form_finding

BEFORE = "check the gradient before it is clipped, which is a part of the step"
ENTRIES = "every entry is clipped to the range from -{c:g} to {c:g}: " + BEFORE
NORM = "the gradient is scaled down where its norm is larger than {c:g}: " + BEFORE

FEWEST = 2
"""How many entries, or gradients, must be clipped to the same size: one may be by chance.

And one must be smaller: where all have one size, as those of a hinge loss, no range shows."""

SAME = 1e-3
"""How nearly: people add 1e-6 to a norm before they divide by it."""


class _Gradient(NamedTuple):
    """All entries of a gradient on one input: returned, right, and what rounding explains."""

    got: Values
    right: Values
    allowed: Values

    def agrees(self, values: Values) -> bool:
        """Whether `values` are what was returned, but for rounding."""
        return bool((abs(self.got - values) <= 2 * self.allowed).all())


@np.errstate(all="ignore")  # a wrong candidate may return any values
def clipped(comparisons: Sequence[Comparison], places: Sequence[int]) -> list[Finding]:
    """How the gradient was clipped that the arrays at these places make; nothing if it was not."""
    gradients = [
        _Gradient(*(np.concatenate([np.ravel(arrays[i]) for i in places]) for arrays in parts))
        for parts in ((c.got, c.right, c.allowed) for c in comparisons if places)
    ]
    known = [gradient for gradient in gradients if gradient.right.any()]
    c = max((abs(gradient.got).max() for gradient in known), default=0.0)
    if not c:
        return []
    beyond = sum(int((abs(g.right) > c + g.allowed).sum()) for g in known)
    within = any(((g.got != 0) & (abs(g.got) < c - g.allowed)).any() for g in known)
    if beyond >= FEWEST and within and all(g.agrees(np.clip(g.right, -c, c)) for g in known):
        return [form_finding("clipped", ENTRIES.format(c=c))]
    norms = [(np.linalg.norm(g.got), np.linalg.norm(g.right)) for g in known]
    longest = max(got for got, _ in norms)
    smaller = [(got, right) for got, right in norms if got < (1 - SAME) * right]
    if len(smaller) < FEWEST or min(smaller)[0] < (1 - SAME) * longest:
        return []
    before = [right for _, right in smaller]
    if max(before) <= (1 + SAME) * min(before):  # all are alike, as those of a sum of signs
        return []
    pairs = zip(known, norms, strict=True)
    if all(g.agrees(got / right * g.right) for g, (got, right) in pairs):
        return [form_finding("clipped_norm", NORM.format(c=float(f"{longest:.3g}")))]
    return []

"""The tables of known mistakes: what a wrong line of Algorithm 5 usually is.

Rows are tried only on a line that is known to be wrong, and every one is tried. Where several give
the same numbers the first is named, so the plainer mistake stands before the odder one.
"""

import numpy as np

from fcnet.verify.batch import Batch
from fcnet.verify.line import Mistake, Values
from fcnet.verify.mistakes.anywhere import ODD, PLAIN
from fcnet.verify.mistakes.biases import BIASES
from fcnet.verify.mistakes.couplings import COUPLINGS
from fcnet.verify.mistakes.output import OUTPUT
from fcnet.verify.mistakes.propagation import PROPAGATION
from fcnet.verify.mistakes.shares import SHARES
from fcnet.verify.mistakes.slopes import SLOPES
from fcnet.verify.mistakes.weights import WEIGHTS

MISTAKES = (*PLAIN, *SLOPES, *OUTPUT, *PROPAGATION, *WEIGHTS, *BIASES, *ODD)
"""Those that show on one example."""

BATCH_MISTAKES = (*SHARES, *COUPLINGS)
"""Those that show only where there are several examples."""


def _on_rows(mistake: Mistake, place: str) -> Mistake:
    """A mistake in a line of single examples, made on every row of a batch."""

    def edit(batch: Batch, k: int) -> Values:
        values = [step.edited(mistake.edit) for step in batch.steps(place, k)]
        if isinstance(values[0], tuple):
            raise ValueError("its constant cannot be told from a sum over rows")
        return np.stack(values) if place in "24" else batch.share * sum(values)

    return mistake._replace(places=place, edit=edit)


ROW_MISTAKES = tuple(_on_rows(mistake, place) for mistake in MISTAKES for place in mistake.places)
"""Those of single examples, on every row of a batch."""

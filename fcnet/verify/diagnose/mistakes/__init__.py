"""The tables of known mistakes: what is usually written instead of a line of Algorithm 5.

All rows are tried, and only on a line that is known to be wrong. If several give the same numbers,
the first is named, so common mistakes stand before rare ones.
"""

import numpy as np

from fcnet.verify.diagnose.batch import Batch
from fcnet.verify.diagnose.line import Mistake
from fcnet.verify.diagnose.mistakes.anywhere import COMMON, RARE
from fcnet.verify.diagnose.mistakes.biases import BIASES
from fcnet.verify.diagnose.mistakes.couplings import COUPLINGS
from fcnet.verify.diagnose.mistakes.output import CONTAINED, OUTPUT
from fcnet.verify.diagnose.mistakes.propagation import PROPAGATION
from fcnet.verify.diagnose.mistakes.shares import SHARES
from fcnet.verify.diagnose.mistakes.slopes import SLOPES
from fcnet.verify.diagnose.mistakes.weights import WEIGHTS
from fcnet.verify.types import Values

MISTAKES = (*COMMON, *CONTAINED, *SLOPES, *OUTPUT, *PROPAGATION, *WEIGHTS, *BIASES, *RARE)
"""Those that show on one example."""

BATCH_MISTAKES = (*SHARES, *COUPLINGS)
"""Those that show only where there are several examples."""


def _on_rows(mistake: Mistake, place: str) -> Mistake:
    """A mistake in a line of single examples, made on every row of a batch."""

    def edit(batch: Batch, k: int) -> Values:
        values = [step.edited(mistake.edit) for step in batch.steps(place, k)]
        if isinstance(values[0], tuple) or callable(values[0]):
            raise ValueError("a sum over rows does not determine its constant")
        return np.stack(values) if place in "24" else batch.share * sum(values)

    return mistake._replace(places=place, edit=edit)


ROW_MISTAKES = tuple(_on_rows(mistake, place) for mistake in MISTAKES for place in mistake.places)
"""Those of single examples, on every row of a batch."""

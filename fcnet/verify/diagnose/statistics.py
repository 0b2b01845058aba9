"""Networks with statistics of the batch, such as batch norm, in which no example stands alone."""

import math
from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike

from fcnet.verify.backward_pass import BackwardPass
from fcnet.verify.judge import Trial
from fcnet.verify.truth.terms import without
from fcnet.verify.types import Finding, form_finding

MESSAGE = (
    "an example alone has a gradient {name} of 0, or none, and in a batch it has one: the network "
    "subtracts a mean of the batch, or divides by its deviation, and check takes each example for "
    "itself. Standardise the inputs before, and give check these and a function of them; for "
    "batch norm, use fcnet.check_gradient"
)


@np.errstate(all="ignore")  # a wrong candidate may return any values
def batch_statistics(subject: BackwardPass, trials: Sequence[Trial]) -> list[Finding]:
    """That each row of a batch, less its own mean, is 0 where it stands alone."""
    least = math.sqrt(subject.format.u)
    for case, _, answer, _ in trials:
        rows = subject.row_by_row(case)
        batch = without(answer, subject.cost.terms, case).gradient
        for k, (W, _) in enumerate(batch if rows else (), start=1):
            size = least * float(abs(W).max())
            if 0 < size < math.inf and all(_is_lost(row.gradient[k - 1].W, size) for row in rows):
                name = subject.gradient_names["W", k]
                return [form_finding("other_description", MESSAGE.format(name=name))]
    return []


def _is_lost(W: ArrayLike, size: float) -> bool:
    values = np.asarray(W)
    return bool((abs(values) <= size).all() or not np.isfinite(values).all())

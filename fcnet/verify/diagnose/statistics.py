"""Networks with statistics of the batch, such as batch norm, in which no example stands alone."""

import math
from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike

from fcnet.verify.diagnose.blame import Names, Observation
from fcnet.verify.types import Finding, Format, form_finding

MESSAGE = (
    "an example alone has a gradient {name} of 0, or none, and in a batch it has one: the network "
    "subtracts a mean of the batch, or divides by its deviation or its sum, and check takes each "
    "example for itself. Standardise the inputs before, and give check these and a function of "
    "them; for a softmax, sum over the classes; for batch norm, use fcnet.check_gradient"
)


@np.errstate(all="ignore")  # a wrong candidate may return any values
def batch_statistics(
    observed: Sequence[Observation], names: Names, format: Format
) -> list[Finding]:
    """That each row of a batch, less its own mean, is 0 where it stands alone."""
    least = math.sqrt(format.u)
    for _, _, answer, alone in observed:
        for k, (W, _) in enumerate(answer.gradient if alone else (), start=1):
            size = least * float(abs(W).max())
            if 0 < size < math.inf and all(_is_lost(row.gradient[k - 1].W, size) for row in alone):
                message = MESSAGE.format(name=names["W", k])
                return [form_finding("other_description", message)]
    return []


def _is_lost(W: ArrayLike, size: float) -> bool:
    values = np.asarray(W)
    return bool((abs(values) <= size).all() or not np.isfinite(values).all())

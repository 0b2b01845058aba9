"""Known mistakes in each example's share of a batch's gradient; none shows on a batch of one.

A row for "2" or "4" gives what weight each example gets, of shape (n,), 1 if all is right; a row
for "W" or "b" gives the array itself.
"""

from collections.abc import Callable, Sequence

import numpy as np

from fcnet.verify.diagnose.batch import Batch, Weights
from fcnet.verify.diagnose.line import Mistake


def _share_rows(
    kind: str, reductions: str, weights: Callable[[Batch, int], Weights | float], says: str
) -> Sequence[Mistake]:
    """Rows that enter with other weights than 1: in all layers below a delta, or in one array."""

    def edit(batch: Batch, k: int) -> Weights:
        if batch.cost.reduction not in reductions:
            raise ValueError("for another reduction")
        return np.broadcast_to(np.asarray(weights(batch, k), float), batch.n)

    return (
        Mistake(kind, "24", edit, says),
        Mistake(kind, "W", lambda batch, k: batch.total("W", k, edit(batch, k)), says),
        Mistake(kind, "b", lambda batch, k: batch.total("b", k, edit(batch, k)), says),
    )


def _per_input(batch: Batch, k: int) -> float:
    if k == 1:
        raise ValueError("its inputs are the features")
    return batch.n / batch.a(k - 1).shape[1]


def _per_unit(batch: Batch, k: int) -> float:
    if k == batch.r:
        raise ValueError("its units are the outputs")
    return batch.n / batch.a(k).shape[1]


def _one(batch: Batch, i: int) -> Weights:
    return np.eye(batch.n)[i]


SHARES = (
    *_share_rows(
        "sum_for_mean",
        "mean",
        lambda batch, k: batch.n,
        "is summed over the examples: the factor 1/n of the mean is missing",
    ),
    *_share_rows(
        "divided_twice",
        "mean",
        lambda batch, k: 1 / batch.n,
        "is divided by the number n of examples twice",
    ),
    *_share_rows(
        "mean_for_sum",
        "sum",
        lambda batch, k: 1 / batch.n,
        "is divided by the number n of examples, and the sum is asked for",
    ),
    *_share_rows(
        "n_minus_1",
        "mean",
        lambda batch, k: np.divide(batch.n, batch.n - 1),
        "is divided by n - 1, not by the number n of examples",
    ),
    *_share_rows(
        "n_plus_1",
        "mean",
        lambda batch, k: batch.n / (batch.n + 1),
        "is divided by n + 1, not by the number n of examples",
    ),
    *_share_rows(
        "root_n",
        "mean",
        lambda batch, k: np.sqrt(batch.n),
        "is divided by the square root of the number of examples",
    ),
    *_share_rows(
        "per_feature",
        "mean",
        lambda batch, k: batch.n / batch.case.X.shape[1],
        "is divided by the number of features, not by the number of examples",
    ),
    *_share_rows(
        "per_input",
        "mean",
        _per_input,
        "is divided by the number of inputs of layer {k}, not by the number of examples",
    ),
    *_share_rows(
        "per_unit",
        "mean",
        _per_unit,
        "is divided by the number of units of layer {k}, not by the number of examples",
    ),
    *_share_rows(
        "per_target",
        "mean",
        lambda batch, k: batch.n / batch.case.Y.shape[1],
        "is divided by the number of outputs, not by the number of examples",
    ),
    *_share_rows(
        "first_example_only",
        "mean sum",
        lambda batch, k: _one(batch, 0) / batch.share,
        "has the first example only",
    ),
    *_share_rows(
        "last_example_only",
        "mean sum",
        lambda batch, k: _one(batch, -1) / batch.share,
        "has the last example only: = instead of +=",
    ),
    *_share_rows(
        "first_example_averaged",
        "mean",
        lambda batch, k: _one(batch, 0),
        "has the first example only, divided by n",
    ),
    *_share_rows(
        "last_example_averaged",
        "mean",
        lambda batch, k: _one(batch, -1),
        "has the last example only, divided by n: = instead of +=",
    ),
    *_share_rows(
        "last_example_dropped",
        "mean sum",
        lambda batch, k: 1 - _one(batch, -1),
        "leaves out the last example",
    ),
    *_share_rows(
        "first_example_dropped",
        "mean sum",
        lambda batch, k: 1 - _one(batch, 0),
        "leaves out the first example",
    ),
    *_share_rows(
        "last_example_dropped_from_mean",
        "mean",
        lambda batch, k: np.divide((1 - _one(batch, -1)) * batch.n, batch.n - 1),
        "is the mean of all examples but the last",
    ),
    *_share_rows(
        "first_example_dropped_from_mean",
        "mean",
        lambda batch, k: np.divide((1 - _one(batch, 0)) * batch.n, batch.n - 1),
        "is the mean of all examples but the first",
    ),
    *_share_rows(
        "every_second_example",
        "mean sum",
        lambda batch, k: 1.0 - np.arange(batch.n) % 2,
        "has every second example only",
    ),
)
"""Tried on batches."""

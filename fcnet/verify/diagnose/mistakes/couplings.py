"""Known mistakes that mix the examples of a batch; none shows on a batch of one.

A row for "2" or "4" gives delta^[k] of every example, of shape (n, m_k); a row for "W" or "b" gives
the array itself.
"""

from collections.abc import Callable

import numpy as np

from fcnet.verify.diagnose.batch import Batch, Rows
from fcnet.verify.diagnose.line import Mistake
from fcnet.verify.diagnose.mistakes.output import LABEL_SUBTRACTED, labels_of
from fcnet.verify.truth.functions import means_of


def _mixed(batch: Batch, k: int) -> Rows:
    return np.broadcast_to(batch.delta(k).mean(0), batch.delta(k).shape)


def _mean_over(regroup: Callable[[Rows], Rows]) -> Callable[[Batch, int], Rows]:
    """The mean that couples outputs, such as softmax, taken over other groups: regrouped rows."""

    def edit(batch: Batch, k: int) -> Rows:
        loss, o = batch.cost.objective.loss, batch.a(k)
        over_outputs = means_of(loss, o)
        over_others = means_of(loss, regroup(o))
        over_others = over_others.reshape(o.shape) if len(over_others) == 1 else over_others.T
        if np.array_equal(over_others, over_outputs):
            raise ValueError("the mean of an output depends on that output alone")
        return (over_others + (batch.error(batch.case.Y) - over_outputs)) * batch.slope(k)

    return edit


def _with_targets(change: Callable[[Rows], Rows]) -> Callable[[Batch, int], Rows]:
    def edit(batch: Batch, k: int) -> Rows:
        Y = np.broadcast_to(change(batch.case.Y), batch.case.Y.shape)
        return batch.error(Y) * batch.slope(k)

    return edit


def _with_labels(batch: Batch, k: int) -> Rows:
    """One-hot targets replaced by their labels, of shape (n,), which only broadcasts if n = m_r."""
    Y = batch.case.Y
    return (batch.error(Y) + (Y - np.broadcast_to(labels_of(Y), Y.shape))) * batch.slope(k)


def _with_slope(i: int) -> Callable[[Batch, int], Rows]:
    return lambda batch, k: batch.back(k) * batch.slope(k)[i]


COUPLINGS = (
    Mistake(
        "targets_averaged",
        "2",
        _with_targets(lambda Y: Y.mean(0)),
        "takes the mean of all targets for every example: (n,) and (n, 1) were broadcast",
    ),
    Mistake("label_subtracted", "2", _with_labels, LABEL_SUBTRACTED),
    Mistake(
        "first_target",
        "2",
        _with_targets(lambda Y: Y[0]),
        "takes the first example's target for every example",
    ),
    Mistake(
        "targets_shifted",
        "2",
        _with_targets(lambda Y: np.roll(Y, 1, 0)),
        "takes the previous example's target for each example",
    ),
    Mistake(
        "targets_shifted_back",
        "2",
        _with_targets(lambda Y: np.roll(Y, -1, 0)),
        "takes the next example's target for each example",
    ),
    Mistake(
        "targets_reversed",
        "2",
        _with_targets(lambda Y: Y[::-1]),
        "takes the targets in reverse order",
    ),
    Mistake(
        "targets_united",
        "2",
        _with_targets(lambda Y: Y.max(0)),
        "takes the classes of all examples for every example, as p[:, labels] does for "
        "p[rows, labels]",
    ),
    Mistake(
        "softmax_over_examples",
        "2",
        _mean_over(np.transpose),
        "has its softmax over the examples, not over the classes",
    ),
    Mistake(
        "softmax_over_batch",
        "2",
        _mean_over(lambda o: o.reshape(1, -1)),
        "has one softmax over all numbers of the batch, not one over the classes of each example: "
        "its sum lacks the axis",
    ),
    Mistake("delta_averaged", "24", _mixed, "is averaged over the examples before it is used"),
    Mistake(
        "first_mask",
        "4",
        _with_slope(0),
        "takes sigma'(z[{k}]) of the first example for every example",
    ),
    Mistake(
        "last_mask",
        "4",
        _with_slope(-1),
        "takes sigma'(z[{k}]) of the last example for every example",
    ),
    Mistake(
        "averaged_factors",
        "W",
        lambda batch, k: (
            batch.share * batch.n * np.outer(_mixed(batch, k)[0], batch.a(k - 1).mean(0))
        ),
        "is the mean of delta[{k}] times the mean of a[{below}], not the mean of their products",
    ),
    Mistake(
        "summed_factors",
        "W",
        lambda batch, k: batch.share * np.outer(batch.delta(k).sum(0), batch.a(k - 1).sum(0)),
        "is the sum of delta[{k}] times the sum of a[{below}], not the sum of their products",
    ),
    Mistake(
        "first_activation",
        "W",
        lambda batch, k: batch.share * np.outer(batch.delta(k).sum(0), batch.a(k - 1)[0]),
        "takes a[{below}] of the first example for every example",
    ),
    Mistake(
        "last_activation",
        "W",
        lambda batch, k: batch.share * np.outer(batch.delta(k).sum(0), batch.a(k - 1)[-1]),
        "takes a[{below}] of the last example for every example",
    ),
    Mistake(
        "rows_shifted",
        "W",
        lambda batch, k: batch.share * batch.delta(k).T @ np.roll(batch.a(k - 1), 1, 0),
        "pairs the delta[{k}] of each example with a[{below}] of the one before",
    ),
    Mistake(
        "rows_reversed",
        "W",
        lambda batch, k: batch.share * batch.delta(k).T @ batch.a(k - 1)[::-1],
        "pairs delta[{k}] with a[{below}] in the reverse order of examples",
    ),
    Mistake(
        "not_transposed",
        "W",
        lambda batch, k: batch.share * (batch.a(k - 1) @ batch.delta(k)).T,
        "is the product of a[{below}] and delta[{k}] without the transpose, which adds up units, "
        "not examples: it has this shape only for as many examples as units",
    ),
    Mistake(
        "over_units",
        "b",
        lambda batch, k: batch.share * batch.delta(k).sum(1),
        "is summed over the units of each example, not over the examples of each unit: the wrong "
        "axis",
    ),
    Mistake(
        "largest_example",
        "b",
        lambda batch, k: batch.share * batch.delta(k).max(0),
        "is the largest over the examples, not their sum",
    ),
)
"""Tried on batches."""

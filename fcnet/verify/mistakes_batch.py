"""Known mistakes in how examples are combined: none of them shows on a batch of one.

A row for "2" or "4" gives delta^[k] of every example, of shape (n, m_k), or only what weight each
example gets, of shape (n,); a row for "W" or "b" gives the array itself.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from fcnet.verify.batch import Batch, Rows
from fcnet.verify.line import Mistake, Values
from fcnet.verify.mistakes import MISTAKES

Weights = Float[np.ndarray, " n"]


def _share(
    kind: str, reductions: str, weights: Callable[[Batch], Weights | float], says: str
) -> Sequence[Mistake]:
    """Rows that enter with other weights than 1: in all layers below a delta, or in one array."""

    def edit(batch: Batch, k: int) -> Weights:
        if batch.problem.reduction not in reductions:
            raise ValueError("for another reduction")
        return np.broadcast_to(np.asarray(weights(batch), float), batch.n)

    return (
        Mistake(kind, "24", edit, says),
        Mistake(kind, "W", lambda batch, k: batch.total("W", k, edit(batch, k)), says),
        Mistake(kind, "b", lambda batch, k: batch.total("b", k, edit(batch, k)), says),
    )


def _one(batch: Batch, i: int) -> Weights:
    return np.eye(batch.n)[i]


SHARES = (
    *_share(
        "sum_for_mean",
        "mean",
        lambda batch: batch.n,
        "is summed over the examples: the factor 1/n of the mean is missing",
    ),
    *_share(
        "divided_twice",
        "mean",
        lambda batch: 1 / batch.n,
        "is divided by the number n of examples once too often",
    ),
    *_share(
        "mean_for_sum",
        "sum",
        lambda batch: 1 / batch.n,
        "is divided by the number n of examples, and the sum is asked for",
    ),
    *_share(
        "n_minus_1",
        "mean",
        lambda batch: np.divide(batch.n, batch.n - 1),
        "is divided by n - 1, not by the number n of examples",
    ),
    *_share(
        "n_plus_1",
        "mean",
        lambda batch: batch.n / (batch.n + 1),
        "is divided by n + 1, not by the number n of examples",
    ),
    *_share(
        "root_n",
        "mean",
        lambda batch: np.sqrt(batch.n),
        "is divided by the square root of the number of examples",
    ),
    *_share(
        "per_feature",
        "mean",
        lambda batch: batch.n / batch.case.X.shape[1],
        "is divided by the number of features, not by the number of examples",
    ),
    *_share(
        "per_target",
        "mean",
        lambda batch: batch.n / batch.case.Y.shape[1],
        "is divided by the number of outputs, not by the number of examples",
    ),
    *_share(
        "first_example_only",
        "mean sum",
        lambda batch: _one(batch, 0) / batch.share,
        "has the first example only",
    ),
    *_share(
        "last_example_only",
        "mean sum",
        lambda batch: _one(batch, -1) / batch.share,
        "has the last example only: = where += is meant",
    ),
    *_share(
        "first_example_averaged",
        "mean",
        lambda batch: _one(batch, 0),
        "has the first example only, divided by n",
    ),
    *_share(
        "last_example_averaged",
        "mean",
        lambda batch: _one(batch, -1),
        "has the last example only, divided by n: = where += is meant",
    ),
    *_share(
        "last_example_dropped",
        "mean sum",
        lambda batch: 1 - _one(batch, -1),
        "leaves out the last example",
    ),
    *_share(
        "first_example_dropped",
        "mean sum",
        lambda batch: 1 - _one(batch, 0),
        "leaves out the first example",
    ),
    *_share(
        "last_example_dropped_from_mean",
        "mean",
        lambda batch: np.divide((1 - _one(batch, -1)) * batch.n, batch.n - 1),
        "is the mean of all examples but the last",
    ),
    *_share(
        "first_example_dropped_from_mean",
        "mean",
        lambda batch: np.divide((1 - _one(batch, 0)) * batch.n, batch.n - 1),
        "is the mean of all examples but the first",
    ),
    *_share(
        "every_second_example",
        "mean sum",
        lambda batch: 1.0 - np.arange(batch.n) % 2,
        "has every second example only",
    ),
)
"""Each example's gradient is right, but not its share."""


def _mixed(batch: Batch, k: int) -> Rows:
    return np.broadcast_to(batch.delta(k).mean(0), batch.delta(k).shape)


def _softmax_over_rows(batch: Batch, k: int) -> Rows:
    if batch.problem.loss.name != "softmax_cross_entropy":
        raise ValueError("there is no softmax")
    e = np.exp(batch.a(k) - batch.a(k).max(0))
    return (e / e.sum(0) - batch.case.Y) * batch.slope(k)


def _with_targets(change: Callable[[Rows], Rows]) -> Callable[[Batch, int], Rows]:
    def edit(batch: Batch, k: int) -> Rows:
        Y = np.broadcast_to(change(batch.case.Y), batch.case.Y.shape)
        return batch.error(Y) * batch.slope(k)

    return edit


def _with_slope(i: int) -> Callable[[Batch, int], Rows]:
    return lambda batch, k: batch.back(k) * batch.slope(k)[i]


COUPLINGS = (
    Mistake(
        "targets_averaged",
        "2",
        _with_targets(lambda Y: Y.mean(0)),
        "takes the mean of all targets for every example: (n,) and (n, 1) were broadcast",
    ),
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
        "softmax_over_examples",
        "2",
        _softmax_over_rows,
        "has its softmax over the examples, not over the classes",
    ),
    Mistake(
        "delta_averaged",
        "24",
        _mixed,
        "is averaged over the examples before it is used",
    ),
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
        lambda batch, k: batch.share * batch.n * np.outer(_mixed(batch, k)[0], batch.a(k - 1).mean(0)),
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
        "over_units",
        "b",
        lambda batch, k: batch.share * batch.delta(k).sum(1),
        "is summed over the units of each example, not over the examples of each unit: the wrong "
        "axis",
    ),
    Mistake(
        "mean_over_units",
        "b",
        lambda batch, k: batch.delta(k).mean(1),
        "is averaged over the units of each example, not over the examples of each unit: the wrong "
        "axis",
    ),
    Mistake(
        "largest_example",
        "b",
        lambda batch, k: batch.share * batch.delta(k).max(0),
        "is the largest over the examples, not their sum",
    ),
)
"""Examples mixed with each other."""

def _on_rows(mistake: Mistake, place: str) -> Mistake:
    """A mistake in a line of single examples, made on every row of a batch."""

    def edit(batch: Batch, k: int) -> Values:
        values = [step.edited(mistake.edit) for step in batch.steps(place, k)]
        if isinstance(values[0], tuple):
            raise ValueError("its constant cannot be told from a sum over rows")
        return np.stack(values) if place in "24" else batch.share * sum(values)

    return mistake._replace(places=place, edit=edit)


BATCH_MISTAKES = (*SHARES, *COUPLINGS)
"""Those that show only where there are several examples."""

ROW_MISTAKES = tuple(_on_rows(mistake, place) for mistake in MISTAKES for place in mistake.places)
"""Those of single examples, on every row of a batch."""

"""Faults that only a batch of several examples shows.

The delta that an edit gets already holds each example's share of the mean or the sum.
"""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

from support.faults import DB, DELTA, DW, everywhere, hidden, inner, output
from support.faulty_backprop import MEANS, Fault, slope


def _mean(m: SimpleNamespace, k: int) -> bool:
    return m.setting.reduction == "mean"


def _sum(m: SimpleNamespace, k: int) -> bool:
    return m.setting.reduction == "sum"


def _mean_above_first(m: SimpleNamespace, k: int) -> bool:
    return _mean(m, k) and k > 1


def _several_classes(m: SimpleNamespace, k: int) -> bool:
    return k == m.r and m.setting.loss == "softmax_cross_entropy"


def _some(
    kind: str,
    rows: slice,
    applies: Callable[[SimpleNamespace, int], bool] = lambda m, k: True,
    renormalised: bool = False,
) -> list[Fault]:
    """delta, dW and db made of some examples only."""

    def only(m: SimpleNamespace, D: np.ndarray) -> np.ndarray:
        chosen = np.zeros_like(D)
        chosen[rows] = D[rows]
        return chosen * (np.divide(m.n, len(D[rows])) if renormalised else 1)

    return [
        Fault(kind, DELTA, lambda m, k, v: only(m, v), applies),
        Fault(kind, DW, lambda m, k, v: only(m, m.D[k]).T @ m.A[k - 1], applies),
        Fault(kind, DB, lambda m, k, v: only(m, m.D[k]).sum(0), applies),
    ]


def _targets(m: SimpleNamespace, k: int, Y: np.ndarray) -> np.ndarray:
    return (m.mean - Y) * m.share * slope(m, k)


SHARES = (
    *everywhere("sum_for_mean", lambda m, k, v: v * m.n, _mean),
    *everywhere("divided_twice", lambda m, k, v: v / m.n, _mean),
    *everywhere("mean_for_sum", lambda m, k, v: v / m.n, _sum),
    *everywhere("n_minus_1", lambda m, k, v: v * np.divide(m.n, m.n - 1), _mean),
    *everywhere("n_plus_1", lambda m, k, v: v * m.n / (m.n + 1), _mean),
    *everywhere("root_n", lambda m, k, v: v * np.sqrt(m.n), _mean),
    *everywhere("per_feature", lambda m, k, v: v * m.n / m.X.shape[1], _mean),
    *everywhere("per_input", lambda m, k, v: v * m.n / m.W[k].shape[1], _mean_above_first),
    *everywhere("per_target", lambda m, k, v: v * m.n / m.Y.shape[1], _mean),
    *_some("first_example_averaged", slice(0, 1), _mean),
    *_some("last_example_averaged", slice(-1, None), _mean),
    *_some("first_example_only", slice(0, 1), _mean, renormalised=True),
    *_some("last_example_only", slice(-1, None), _mean, renormalised=True),
    *_some("last_example_dropped", slice(0, -1)),
    *_some("first_example_dropped", slice(1, None)),
    *_some("first_example_dropped_from_mean", slice(1, None), _mean, renormalised=True),
    *_some("last_example_dropped_from_mean", slice(0, -1), _mean, renormalised=True),
    *_some("every_second_example", slice(0, None, 2)),
)

COUPLINGS = (
    Fault("targets_averaged", DELTA, lambda m, k, v: _targets(m, k, m.Y.mean(0)), output),
    Fault("first_target", DELTA, lambda m, k, v: _targets(m, k, m.Y[0]), output),
    Fault("targets_shifted", DELTA, lambda m, k, v: _targets(m, k, np.roll(m.Y, 1, 0)), output),
    Fault(
        "targets_shifted_back", DELTA, lambda m, k, v: _targets(m, k, np.roll(m.Y, -1, 0)), output
    ),
    Fault("targets_reversed", DELTA, lambda m, k, v: _targets(m, k, m.Y[::-1]), output),
    Fault(
        "targets_united",
        DELTA,
        lambda m, k, v: _targets(m, k, m.Y.max(0)),
        lambda m, k: output(m, k) and _several_classes(m, k),
    ),
    Fault(
        "softmax_over_examples",
        DELTA,
        lambda m, k, v: (MEANS[m.setting.loss](m.A[k].T).T - m.Y) * m.share,
        _several_classes,
    ),
    Fault(
        "softmax_over_batch",
        DELTA,
        lambda m, k, v: (
            (MEANS[m.setting.loss](m.A[k].reshape(1, -1)).reshape(m.Y.shape) - m.Y) * m.share
        ),
        _several_classes,
    ),
    Fault("delta_averaged", DELTA, lambda m, k, v: np.broadcast_to(v.mean(0), v.shape), inner),
    Fault("first_mask", DELTA, lambda m, k, v: m.back[k] * slope(m, k)[0], hidden),
    Fault("last_mask", DELTA, lambda m, k, v: m.back[k] * slope(m, k)[-1], hidden),
    Fault("summed_factors", DW, lambda m, k, v: np.outer(m.D[k].sum(0), m.A[k - 1].sum(0))),
    Fault("averaged_factors", DW, lambda m, k, v: np.outer(m.D[k].sum(0), m.A[k - 1].mean(0))),
    Fault("first_activation", DW, lambda m, k, v: np.outer(m.D[k].sum(0), m.A[k - 1][0])),
    Fault("last_activation", DW, lambda m, k, v: np.outer(m.D[k].sum(0), m.A[k - 1][-1])),
    Fault("rows_shifted", DW, lambda m, k, v: m.D[k].T @ np.roll(m.A[k - 1], 1, 0)),
    Fault("rows_reversed", DW, lambda m, k, v: m.D[k].T @ m.A[k - 1][::-1]),
    Fault("largest_example", DB, lambda m, k, v: m.D[k].max(0)),
)

OVER_UNITS = Fault("over_units", DB, lambda m, k, v: m.D[k].sum(1))
NOT_TRANSPOSED = Fault(
    "not_transposed", DW, lambda m, k, v: v if m.n == 1 else (m.A[k - 1] @ m.D[k]).T
)
"""Only on layers with as many units as the batch has examples."""

BATCH_FAULTS = (*SHARES, *COUPLINGS)
"""Each with the kind that the checker should name."""

UNLISTED_BATCH_FAULTS = (
    *everywhere("unknown", lambda m, k, v: v * (1 + np.log(m.n))),
    *everywhere("unknown", lambda m, k, v: v + 0.01 * (m.n - 1)),
    Fault("unknown", DELTA, lambda m, k, v: v - 0.3 * (v - v[0])),
    Fault("unknown", DELTA, lambda m, k, v: v * (1 + np.arange(m.n)[:, None])),
    Fault("unknown", DELTA, lambda m, k, v: v - v.mean(0) * (m.n > 1)),
    Fault("unknown", DELTA, lambda m, k, v: np.sort(v, axis=0), inner),  # db[1] would not show it
    Fault("unknown", DW, lambda m, k, v: m.D[k].T @ np.sort(m.A[k - 1], axis=0)),
    Fault("unknown", DW, lambda m, k, v: m.D[k].T @ (m.A[k - 1] - 0.1 * m.A[k - 1][0] * (m.n > 1))),
    Fault("unknown", DB, lambda m, k, v: np.median(m.D[k], axis=0) * m.n),
    Fault("unknown", DB, lambda m, k, v: v - m.D[k].std(0)),
)
"""Faults that the table of mistakes does not have: the checker places them and says unknown."""

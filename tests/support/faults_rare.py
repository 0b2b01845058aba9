"""The rarer faults: single wrong lines that one example shows, with the kind to be named."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

from support.faults import (
    DB,
    DELTA,
    DW,
    back,
    everywhere,
    hidden,
    left_out,
    likelihood,
    output,
    own_units,
    product,
    square,
    through,
    wide,
)
from support.faulty_backprop import Edit, Fault, sigma, slope

Along = Callable[[np.ndarray, int], np.ndarray]
"""An edit of an array along the axis of its units."""


def along_units(kind: str, edit: Along) -> list[Fault]:
    """The same fault in delta, which has its examples in rows, in dW and in db."""
    axes = {DELTA: 1, DW: 0, DB: 0}
    return [
        Fault(kind, quantity, lambda m, k, v, axis=axis: edit(v, axis), wide)
        for quantity, axis in axes.items()
    ]


def _only(i: int) -> Along:
    def edit(v: np.ndarray, axis: int) -> np.ndarray:
        kept = np.zeros_like(v)
        np.moveaxis(kept, axis, 0)[i] = np.moveaxis(v, axis, 0)[i]
        return kept

    return edit


def _without(i: int) -> Along:
    return lambda v, axis: left_out(axis, i)(SimpleNamespace(), 0, v)


def _inputs(m: SimpleNamespace, k: int) -> int:
    return m.W[k].shape[1]


def _below(m: SimpleNamespace, k: int) -> np.ndarray:
    """delta^[k-1]."""
    return (m.D[k] @ m.W[k]) * slope(m, k - 1)


def _several_outputs(m: SimpleNamespace, k: int) -> bool:
    return k == m.r and m.Y.shape[1] > 2


def _decision(m: SimpleNamespace, k: int, v: np.ndarray) -> np.ndarray:
    if m.setting.loss == "logistic":
        return (m.mean > 0.5) - m.Y
    return np.eye(m.Y.shape[1])[m.mean.argmax(1)] - m.Y


def _classified(m: SimpleNamespace, k: int) -> bool:
    return k == m.r and m.setting.loss != "squared_error"


def _square_below(m: SimpleNamespace, k: int) -> bool:
    return k > 1 and square(m, k)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


ANYWHERE = [
    *everywhere("factor_minus_2", lambda m, k, v: -2 * v),
    *everywhere("times_units", lambda m, k, v: v * own_units(m, k, v)),
    *everywhere("per_input", lambda m, k, v: v / _inputs(m, k)),
    *everywhere("times_inputs", lambda m, k, v: v * _inputs(m, k)),
    *everywhere("per_root_input", lambda m, k, v: v / np.sqrt(_inputs(m, k))),
    *everywhere("positive_part", lambda m, k, v: np.maximum(v, 0)),
    *everywhere("rounded", lambda m, k, v: np.round(v)),
    *everywhere("normalised", lambda m, k, v: _unit(v)),
    *everywhere("clipped_norm", lambda m, k, v: v * min(1, 0.01 / np.linalg.norm(v))),
    *everywhere("constant_added", lambda m, k, v: v + 0.1),
    *along_units("cumulated", lambda v, axis: v.cumsum(axis)),
    *along_units("first_unit_dropped", _without(0)),
    *along_units("first_unit_only", _only(0)),
    *along_units("last_unit_only", _only(-1)),
    *along_units("units_shifted", lambda v, axis: np.roll(v, 1, axis)),
    *along_units("units_shifted_back", lambda v, axis: np.roll(v, -1, axis)),
    Fault("summed", DELTA, lambda m, k, v: np.full_like(v, v.sum()), wide),
    Fault("averaged", DELTA, lambda m, k, v: np.full_like(v, v.mean()), wide),
    Fault("summed", DW, lambda m, k, v: np.full_like(v, v.sum())),
    Fault("averaged", DW, lambda m, k, v: np.full_like(v, v.mean())),
]


def _cut(first: bool, kept: slice, slopes_too: bool = False) -> Edit:
    """Of the way back through [b, W] or [W, b] the wrong entries are kept."""

    def edit(m: SimpleNamespace, k: int, v: np.ndarray) -> np.ndarray:
        columns = [m.b[k + 1][:, None], m.W[k + 1]][:: 1 if first else -1]
        whole = m.D[k + 1] @ np.hstack(columns)
        if slopes_too:
            return (whole * np.hstack([np.full((m.n, 1), 0.2), slope(m, k)]))[:, kept]
        return whole[:, kept] * slope(m, k)

    return edit


def _with_epsilon(m: SimpleNamespace, k: int, v: np.ndarray) -> np.ndarray:
    p, y, c = m.mean, m.Y, 1e-5
    if m.setting.loss == "logistic":
        return (-y / (p + c) + (1 - y) / (1 - p + c)) * p * (1 - p) * m.share
    d = -y / (p + c)
    return p * (d - (p * d).sum(1, keepdims=True)) * m.share


def _accuracy(m: SimpleNamespace, k: int, v: np.ndarray) -> np.ndarray:
    if m.setting.loss == "logistic":
        return np.where(m.Y == 1, -1, 1) * m.mean * (1 - m.mean) * m.share
    true = (m.mean * m.Y).sum(1, keepdims=True)
    return m.mean * (true - m.Y) * m.share


def _by_prediction(m: SimpleNamespace) -> np.ndarray:
    if m.setting.loss == "logistic":
        return (m.mean - m.Y) / (m.mean * (1 - m.mean)) * m.share
    return -m.Y / m.mean * m.share


def _masked(back: np.ndarray, by: np.ndarray) -> np.ndarray:
    return np.where(by > 0, back, 0.01)


DELTAS = [
    Fault("bias_column", DELTA, _cut(True, slice(0, -1)), hidden),
    Fault("bias_column", DELTA, _cut(False, slice(1, None)), hidden),
    Fault("bias_column", DELTA, _cut(True, slice(0, -1), slopes_too=True), hidden),
    Fault("bias_column", DELTA, lambda m, k, v: np.hstack([0 * v[:, :1], v[:, :-1]]), hidden),
    Fault("constant_where_masked", DELTA, lambda m, k, v: _masked(m.back[k], m.Z[k]), hidden),
    Fault("constant_where_masked", DELTA, lambda m, k, v: _masked(m.back[k], m.back[k]), hidden),
    Fault(
        "activities_above", DELTA, lambda m, k, v: (m.A[k + 1] @ m.W[k + 1]) * slope(m, k), hidden
    ),
    Fault("activities", DELTA, lambda m, k, v: m.A[k] * m.share, hidden),
    Fault("half_at_z", DELTA, lambda m, k, v: m.back[k] * m.A[k] * (1 - m.Z[k]), hidden),
    Fault("epsilon", DELTA, _with_epsilon, likelihood),
    Fault(
        "epsilon",
        DELTA,
        lambda m, k, v: v * m.mean * (1 - m.mean) / (m.mean * (1 - m.mean) + 1e-5),
        likelihood,
    ),
    Fault("accuracy", DELTA, _accuracy, likelihood),
    Fault("accuracy", DELTA, lambda m, k, v: -_accuracy(m, k, v), likelihood),
    Fault("bias_added", DELTA, lambda m, k, v: (m.back[k] + m.b[k]) * slope(m, k), hidden),
    Fault("squared_weights", DELTA, through(lambda m, k, v: m.W[k + 1] ** 2), hidden),
    Fault(
        "first_above_dropped",
        DELTA,
        lambda m, k, v: (m.D[k + 1][:, 1:] @ m.W[k + 1][1:]) * slope(m, k),
        lambda m, k: hidden(m, k) and wide(m, k + 1),
    ),
    Fault(
        "first_above_only",
        DELTA,
        lambda m, k, v: m.D[k + 1][:, :1] * m.W[k + 1][0] * slope(m, k),
        lambda m, k: hidden(m, k) and wide(m, k + 1),
    ),
    Fault(
        "divided_by_derivative",
        DELTA,
        lambda m, k, v: m.back[k] / slope(m, k),
        lambda m, k: m.setting.activation != "relu",  # 1 / 0 is called not finite
    ),
    Fault("derivative_at_back", DELTA, back(lambda m, k, v: sigma(m, k)[1](m.back[k])), hidden),
    Fault("output_derivative", DELTA, back(lambda m, k, v: sigma(m, m.r)[1](m.Z[k])), hidden),
    Fault("decision", DELTA, _decision, _classified),
    Fault("relative_error", DELTA, lambda m, k, v: v / m.Y, output),
    Fault(
        "smoothed_labels",
        DELTA,
        lambda m, k, v: v + 0.1 * (m.Y - m.Y.mean(1, keepdims=True)) * m.share * slope(m, k),
        _several_outputs,
    ),
    Fault(
        "label_subtracted",
        DELTA,
        lambda m, k, v: (m.mean - m.Y.argmax(1)[:, None]) * m.share * slope(m, k),
        lambda m, k: _several_outputs(m, k) and _classified(m, k),
    ),
    Fault(
        "label_off_by_minus_one",
        DELTA,
        lambda m, k, v: (m.mean - np.roll(m.Y, -1, 1)) * m.share * slope(m, k),
        _several_outputs,
    ),
]

WEIGHTS = [
    Fault("own_pre_activation", DW, product(lambda m, k, v: m.Z[k]), square),
    Fault(
        "input_for_activation",
        DW,
        product(lambda m, k, v: m.X),
        lambda m, k: k > 2 and m.X.shape == m.A[k - 1].shape,
    ),
    Fault("absolute_activation", DW, product(lambda m, k, v: abs(m.A[k - 1]))),
    Fault("centred_activation", DW, product(lambda m, k, v: m.A[k - 1] - m.A[k - 1].mean())),
    Fault("normalised_activation", DW, product(lambda m, k, v: _unit(m.A[k - 1]))),
    Fault("normalised_twice", DW, product(lambda m, k, v: m.A[k - 1] / (m.A[k - 1] ** 2).sum())),
    Fault("shifted_activation", DW, product(lambda m, k, v: np.roll(m.A[k - 1], 1, 1))),
    Fault("shifted_back_activation", DW, product(lambda m, k, v: np.roll(m.A[k - 1], -1, 1))),
    Fault(
        "summed_activation",
        DW,
        product(lambda m, k, v: np.full_like(m.A[k - 1], m.A[k - 1].sum())),
    ),
    Fault(
        "summed_delta", DW, lambda m, k, v: np.full_like(m.D[k], m.D[k].sum()).T @ m.A[k - 1], wide
    ),
    Fault("absolute_delta", DW, lambda m, k, v: abs(m.D[k]).T @ m.A[k - 1]),
    Fault("delta_below", DW, lambda m, k, v: _below(m, k).T @ m.A[k - 1], _square_below),
    Fault(
        "swapped_below",
        DW,
        lambda m, k, v: _below(m, k).T @ m.A[k - 2],
        lambda m, k: k > 1 and m.W[k].shape == m.W[k - 1].shape,
    ),
    Fault("lower_triangle", DW, lambda m, k, v: np.tril(v), wide),
    Fault("upper_triangle", DW, lambda m, k, v: np.triu(v), wide),
    Fault("symmetrised", DW, lambda m, k, v: (v + v.T) / 2, square),
    Fault(
        "bias_column",
        DW,
        product(lambda m, k, v: np.hstack([np.ones((m.n, 1)), m.A[k - 1][:, :-1]])),
    ),
    Fault(
        "bias_column",
        DW,
        product(lambda m, k, v: np.hstack([m.A[k - 1][:, 1:], np.ones((m.n, 1))])),
    ),
    Fault("weights_for_gradient", DW, lambda m, k, v: 0.1 * m.W[k]),
]

BIASES = [
    Fault("activities", DB, lambda m, k, v: m.A[k].sum(0)),
    Fault("row_means", DB, lambda m, k, v: v * m.A[k - 1].mean()),
    Fault("first_column", DB, lambda m, k, v: v * m.A[k - 1][0, 0]),
    Fault("last_column", DB, lambda m, k, v: v * m.A[k - 1][0, -1]),
    Fault("times_own_activation", DB, lambda m, k, v: v * m.A[k][0]),
    Fault("parameter_returned", DB, lambda m, k, v: m.b[k] - 0.1 * v),
    Fault("derivative_alone", DB, lambda m, k, v: (m.share * slope(m, k)).sum(0), hidden),
    Fault("bias_for_gradient", DB, lambda m, k, v: 0.1 * m.b[k]),
    Fault("swapped_below", DB, lambda m, k, v: _below(m, k).sum(0), _square_below),
    Fault(
        "weights_summed_out",
        DB,
        lambda m, k, v: (m.D[k + 1].sum(1, keepdims=True) * slope(m, k)).sum(0),
        hidden,
    ),
]

FROM_THE_OUTPUT = [
    Fault(
        "prediction_above",
        DELTA,
        lambda m, k, v: (_by_prediction(m) @ m.W[k + 1]) * slope(m, k),
        lambda m, k: k == m.r - 1 and likelihood(m, m.r),
    ),
]

RARE_FAULTS = (*ANYWHERE, *DELTAS, *WEIGHTS, *BIASES, *FROM_THE_OUTPUT)

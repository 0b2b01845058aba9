"""The common faults: single wrong lines that one example shows, with the kind to be named.

Every edit works on rows of examples, so the same fault serves a candidate for one example and one
for batches. An edit that changes no number on a network is no fault there: the tests leave it out.
"""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

from support.faulty_backprop import ACTIVATIONS, Edit, Fault, sigma, slope

DELTA, DW, DB = "delta", "dW", "db"
EVERYWHERE = (DELTA, DW, DB)


def hidden(m: SimpleNamespace, k: int) -> bool:
    return k < m.r


def output(m: SimpleNamespace, k: int) -> bool:
    return k == m.r


def inner(m: SimpleNamespace, k: int) -> bool:
    return k > 1


def square(m: SimpleNamespace, k: int) -> bool:
    return m.W[k].shape[0] == m.W[k].shape[1]


def square_above(m: SimpleNamespace, k: int) -> bool:
    return k < m.r and square(m, k + 1)


def same_as_above(m: SimpleNamespace, k: int) -> bool:
    return k < m.r and m.W[k].shape == m.W[k + 1].shape


def wide(m: SimpleNamespace, k: int) -> bool:
    return m.W[k].shape[0] > 1


def likelihood(m: SimpleNamespace, k: int) -> bool:
    return k == m.r and m.setting.loss != "squared_error"


def everywhere(
    kind: str, edit: Edit, applies: Callable[[SimpleNamespace, int], bool] = lambda m, k: True
) -> list[Fault]:
    """The same fault in delta, in dW and in db."""
    return [Fault(kind, quantity, edit, applies) for quantity in EVERYWHERE]


def back(factor: Edit) -> Edit:
    """delta with another factor in place of sigma'(z)."""
    return lambda m, k, v: m.back[k] * factor(m, k, v)


def through(weights: Edit) -> Edit:
    """delta by other weights on the way back."""
    return lambda m, k, v: (m.D[k + 1] @ weights(m, k, v)) * slope(m, k)


def left_out(axis: int, i: int) -> Edit:
    def edit(m: SimpleNamespace, k: int, v: np.ndarray) -> np.ndarray:
        v = v.copy()
        np.moveaxis(v, axis, 0)[i] = 0
        return v

    return edit


def product(right: Edit) -> Edit:
    """dW with something else in place of the activations below."""
    return lambda m, k, v: m.D[k].T @ right(m, k, v)


def own_units(m: SimpleNamespace, k: int, v: np.ndarray) -> int:
    return m.W[k].shape[0]


def _remembered(m: SimpleNamespace, name: str, k: int, value: np.ndarray) -> np.ndarray:
    """The value of the first call that had this shape."""
    return m.memory.setdefault((name, k, value.shape), value.copy())


FACTORS = [
    *everywhere("zero", lambda m, k, v: np.zeros_like(v)),
    *everywhere("sign", lambda m, k, v: -v),
    *everywhere("factor_2", lambda m, k, v: v + v),
    *everywhere("factor_half", lambda m, k, v: v / 2),
    *everywhere("per_output", lambda m, k, v: v / m.Y.shape[1]),
    *everywhere("times_outputs", lambda m, k, v: v * m.Y.shape[1]),
    *everywhere("per_unit", lambda m, k, v: v / own_units(m, k, v)),
    *everywhere("scaled", lambda m, k, v: v * 0.03),
    Fault("mean_squared_error", DELTA, lambda m, k, v: 2 * v / m.Y.shape[1], output),
]

DERIVATIVES = [
    Fault("missing_derivative", DELTA, lambda m, k, v: m.back[k]),
    Fault("doubled_derivative", DELTA, lambda m, k, v: v * slope(m, k)),
    Fault("derivative_at_a", DELTA, back(lambda m, k, v: sigma(m, k)[1](m.A[k]))),
    Fault(
        "output_formula_at_z",
        DELTA,
        back(lambda m, k, v: m.Z[k] * (1 - m.Z[k])),
        lambda m, k: hidden(m, k) and m.setting.activation == "sigmoid",
    ),
    Fault(
        "output_formula_at_z",
        DELTA,
        back(lambda m, k, v: 1 - m.Z[k] ** 2),
        lambda m, k: hidden(m, k) and m.setting.activation == "tanh",
    ),
    Fault(
        "derivative_above",
        DELTA,
        back(lambda m, k, v: slope(m, k + 1)),
        lambda m, k: k < m.r - 1 and m.Z[k].shape == m.Z[k + 1].shape,
    ),
    Fault(
        "derivative_below",
        DELTA,
        back(lambda m, k, v: slope(m, k - 1)),
        lambda m, k: 1 < k < m.r and m.Z[k].shape == m.Z[k - 1].shape,
    ),
    Fault("activation_for_derivative", DELTA, back(lambda m, k, v: m.A[k]), hidden),
    Fault("z_for_derivative", DELTA, back(lambda m, k, v: m.Z[k]), hidden),
    Fault("sign_for_derivative", DELTA, back(lambda m, k, v: np.sign(m.Z[k])), hidden),
    Fault(
        "hidden_derivative",
        DELTA,
        back(lambda m, k, v: ACTIVATIONS[m.setting.activation][1](m.Z[k])),
        output,
    ),
    Fault("derivative_of_relu", DELTA, back(lambda m, k, v: m.Z[k] > 0), hidden),
    Fault(
        "derivative_of_sigmoid",
        DELTA,
        back(lambda m, k, v: ACTIVATIONS["sigmoid"][1](m.Z[k])),
        hidden,
    ),
    Fault("derivative_of_tanh", DELTA, back(lambda m, k, v: np.cosh(m.Z[k]) ** -2), hidden),
    Fault(
        "formula_of_sigmoid",
        DELTA,
        back(lambda m, k, v: m.A[k] * (1 - m.A[k])),
        lambda m, k: hidden(m, k) and m.setting.activation != "sigmoid",
    ),
    Fault(
        "formula_of_tanh",
        DELTA,
        back(lambda m, k, v: 1 - m.A[k] ** 2),
        lambda m, k: hidden(m, k) and m.setting.activation != "tanh",
    ),
    Fault("one_minus_activation", DELTA, back(lambda m, k, v: 1 - m.A[k]), hidden),
    Fault("inverted_mask", DELTA, back(lambda m, k, v: 1 - slope(m, k)), hidden),
    Fault("derivative_added", DELTA, lambda m, k, v: m.back[k] + slope(m, k), hidden),
    Fault("derivative_alone", DELTA, lambda m, k, v: slope(m, k), hidden),
    Fault("mask_from_above", DELTA, back(lambda m, k, v: m.back[k] > 0), hidden),
    Fault("guided", DELTA, lambda m, k, v: np.where(m.back[k] > 0, v, 0), hidden),
]

OUTPUTS = [
    Fault("target_not_subtracted", DELTA, lambda m, k, v: m.mean * m.share * slope(m, k), output),
    Fault("target_added", DELTA, lambda m, k, v: (m.mean + m.Y) * m.share * slope(m, k), output),
    Fault("link_missing", DELTA, lambda m, k, v: (m.A[k] - m.Y) * m.share, likelihood),
    Fault("extra_derivative", DELTA, lambda m, k, v: v * m.mean * (1 - m.mean), likelihood),
    Fault(
        "extra_jacobian",
        DELTA,
        lambda m, k, v: m.mean * (v - (m.mean * v).sum(1, keepdims=True)),
        lambda m, k: k == m.r and m.setting.loss == "softmax_cross_entropy",
    ),
    Fault(
        "jacobian_diagonal",
        DELTA,
        lambda m, k, v: -m.Y / m.mean * (m.mean * (1 - m.mean)) * m.share,
        likelihood,
    ),
    Fault("loss_of_prediction", DELTA, lambda m, k, v: -m.Y / m.mean * m.share, likelihood),
    Fault("true_class_only", DELTA, lambda m, k, v: v * m.Y, likelihood),
    Fault(
        "squared_error",
        DELTA,
        lambda m, k, v: (m.A[k] - m.Y) ** 2 / 2 * m.share * slope(m, k),
        output,
    ),
    Fault(
        "label_off_by_one",
        DELTA,
        lambda m, k, v: (m.mean - m.Y[:, np.arange(m.Y.shape[1]) - 1]) * m.share * slope(m, k),
        lambda m, k: k == m.r and m.Y.shape[1] > 2,
    ),
]

PROPAGATION = [
    Fault("not_transposed", DELTA, through(lambda m, k, v: m.W[k + 1].T), square_above),
    Fault("weights_of_this_layer", DELTA, through(lambda m, k, v: m.W[k]), same_as_above),
    Fault("weights_missing", DELTA, lambda m, k, v: m.D[k + 1] * slope(m, k), square_above),
    Fault("weights_summed_out", DELTA, through(lambda m, k, v: 1 + 0 * m.W[k + 1]), hidden),
    Fault("absolute_weights", DELTA, through(lambda m, k, v: abs(m.W[k + 1])), hidden),
    Fault(
        "above_without_derivative",
        DELTA,
        lambda m, k, v: (m.back[k + 1] @ m.W[k + 1]) * slope(m, k),
        hidden,
    ),
    Fault(
        "above_derivative_twice",
        DELTA,
        lambda m, k, v: ((m.D[k + 1] * slope(m, k + 1)) @ m.W[k + 1]) * slope(m, k),
        hidden,
    ),
    Fault(
        "derivative_misplaced",
        DELTA,
        lambda m, k, v: (m.D[k + 1] * slope(m, k + 1)) @ m.W[k + 1],
        hidden,
    ),
    Fault(
        "last_above_dropped",
        DELTA,
        lambda m, k, v: (m.D[k + 1][:, :-1] @ m.W[k + 1][:-1]) * slope(m, k),
        lambda m, k: hidden(m, k) and wide(m, k + 1),
    ),
    Fault(
        "last_above_only",
        DELTA,
        lambda m, k, v: m.D[k + 1][:, -1:] * m.W[k + 1][-1] * slope(m, k),
        lambda m, k: hidden(m, k) and wide(m, k + 1),
    ),
    Fault("residual_added", DELTA, lambda m, k, v: v + m.D[k + 1], square_above),
    Fault("times_activation", DELTA, lambda m, k, v: v * m.A[k], hidden),
    Fault(
        "updated_weights", DELTA, through(lambda m, k, v: m.W[k + 1] - 0.5 * m.dW[k + 1]), hidden
    ),
]

WEIGHTS = [
    Fault("transposed", DW, lambda m, k, v: v.T, square),
    Fault("pre_activation", DW, product(lambda m, k, v: m.Z[k - 1]), inner),
    Fault("own_activation", DW, product(lambda m, k, v: m.A[k]), square),
    Fault(
        "activation_two_below",
        DW,
        product(lambda m, k, v: m.A[k - 2]),
        lambda m, k: k > 1 and square(m, k - 1),
    ),
    Fault("activation_missing", DW, product(lambda m, k, v: np.ones_like(m.A[k - 1]))),
    Fault("delta_missing", DW, lambda m, k, v: np.ones_like(m.D[k]).T @ m.A[k - 1]),
    Fault("derivative_for_activation", DW, product(lambda m, k, v: slope(m, k - 1)), inner),
    Fault("doubled_activation", DW, product(lambda m, k, v: m.A[k - 1] ** 2)),
    Fault("last_input_dropped", DW, left_out(1, -1)),
    Fault("first_input_dropped", DW, left_out(1, 0)),
    Fault("reversed_activation", DW, lambda m, k, v: v[:, ::-1]),
    Fault(
        "cached_activation",
        DW,
        product(lambda m, k, v: _remembered(m, "A", k - 1, m.A[k - 1])),
    ),
    Fault("activities", DW, lambda m, k, v: m.A[k].T @ m.A[k - 1]),
    Fault("bias_gradient_added", DW, lambda m, k, v: v + m.D[k].sum(0)[:, None]),
    Fault("times_weights", DW, lambda m, k, v: v * m.W[k]),
    Fault("swapped_above", DW, lambda m, k, v: m.dW[k + 1], same_as_above),
    Fault("weight_decay", DW, lambda m, k, v: v + 0.1 * m.W[k]),
    Fault("l1_penalty", DW, lambda m, k, v: v + 0.1 * np.sign(m.W[k])),
    Fault("parameter_returned", DW, lambda m, k, v: m.W[k] - 0.1 * v),
    Fault("delta_above", DW, lambda m, k, v: m.D[k + 1].T @ m.A[k - 1], square_above),
    Fault("diagonal_only", DW, lambda m, k, v: v * np.eye(*v.shape)),
    Fault("without_derivative", DW, lambda m, k, v: m.back[k].T @ m.A[k - 1]),
    Fault("derivative_repeated", DW, lambda m, k, v: (m.D[k] * slope(m, k)).T @ m.A[k - 1]),
]

BIASES = [
    Fault("row_sums", DB, lambda m, k, v: m.dW[k].sum(1) if k in m.dW else v),
    Fault("summed", DB, lambda m, k, v: np.full_like(v, v.sum()), wide),
    Fault("averaged", DB, lambda m, k, v: np.full_like(v, v.mean()), wide),
    Fault("ones", DB, lambda m, k, v: np.ones_like(v)),
    Fault("weight_decay", DB, lambda m, k, v: v + 0.1 * m.b[k]),
    Fault("swapped_above", DB, lambda m, k, v: m.db[k + 1], square_above),
    Fault("without_derivative", DB, lambda m, k, v: m.back[k].sum(0)),
    Fault("derivative_repeated", DB, lambda m, k, v: (m.D[k] * slope(m, k)).sum(0)),
    Fault("times_bias", DB, lambda m, k, v: v * m.b[k]),
]

SHAPES = [
    *everywhere("absolute", lambda m, k, v: abs(v)),
    *everywhere("squared", lambda m, k, v: v * v),
    *everywhere("sign_only", lambda m, k, v: np.sign(v)),
    *everywhere("clipped", lambda m, k, v: np.clip(v, -0.1, 0.1)),
    *everywhere("truncated", lambda m, k, v: np.trunc(v)),
    Fault("last_unit_dropped", DELTA, left_out(1, -1), wide),
    Fault("last_unit_dropped", DW, left_out(0, -1), wide),
    Fault("last_unit_dropped", DB, left_out(0, -1), wide),
    Fault("units_reversed", DELTA, lambda m, k, v: v[:, ::-1], wide),
    Fault("units_reversed", DW, lambda m, k, v: v[::-1], wide),
    Fault("units_reversed", DB, lambda m, k, v: v[::-1], wide),
    Fault("first_call", DELTA, lambda m, k, v: _remembered(m, "D", k, v)),
    Fault("first_call", DB, lambda m, k, v: _remembered(m, "db", k, v)),
    Fault("first_call", DW, lambda m, k, v: _remembered(m, "dW", k, v)),
]

FAULTS = (
    *FACTORS,
    *DERIVATIVES,
    *OUTPUTS,
    *PROPAGATION,
    *WEIGHTS,
    *BIASES,
    *SHAPES,
)
"""Each with the kind that the checker should name."""

STATELESS = [fault for fault in FAULTS if fault.kind not in {"first_call", "cached_activation"}]
"""Without the faults that keep values between calls, and so depend on the order of the calls."""

"""Several mistakes in one program: each is named, and what cannot be judged is said."""

import numpy as np
import pytest
from support.correct_candidates import network
from support.pairs import diagonal

import fcnet

pytestmark = pytest.mark.untyped


def softmax(Z):
    E = np.exp(Z - Z.max(1, keepdims=True))
    return E / E.sum(1, keepdims=True)


def places(report):
    return [(f.line, f.quantity, f.layer, f.kind) for f in report.findings]


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_a_decay_beside_the_sum_for_the_mean(decay):
    def backward(params, X, y):
        (W1, b1), (W2, b2) = params
        A = np.tanh(X @ W1.T + b1)
        D2 = softmax(A @ W2.T + b2) - np.eye(3)[y]
        D1 = (D2 @ W2) * (1 - A * A)
        return [(D1.T @ X + decay * W1, D1.sum(0)), (D2.T @ A + decay * W2, D2.sum(0))]

    X, labels = np.random.default_rng(0).normal(size=(10, 4)), np.arange(10) % 3
    choices = {"activation": "tanh", "loss": "softmax_cross_entropy", "batched": True}
    report = fcnet.check(backward, network((4, 5, 3)), X, labels, **choices)
    summed = (2, "delta", 2, "sum_for_mean")
    assert places(report) == [summed, *[(5, "dW", None, "weight_decay")] * (decay > 0)]


def wide_open(db, dW=lambda D, A: D @ A.T, mask=lambda Z1, Z2: Z1 > 0):
    """Columns as examples, ReLU, as many hidden units as classes."""

    def backward(params, X, Y):
        W1, b1, W2, b2 = params
        Z1 = W1 @ X + b1
        Z2 = W2 @ np.maximum(Z1, 0) + b2
        D2 = (softmax(Z2.T).T - Y) / X.shape[1]
        D1 = W2.T @ D2 * mask(Z1, Z2)
        return dW(D1, X), db(D1), D2 @ np.maximum(Z1, 0).T, db(D2)

    draw = np.random.default_rng(1)
    params = [draw.normal(size=shape) for shape in ((6, 5), (6, 1), (6, 6), (6, 1))]
    X, Y = draw.normal(size=(5, 12)), np.eye(6)[np.arange(12) % 6].T
    return fcnet.check(backward, params, X, Y, loss="softmax_cross_entropy", batched=True)


def column_sums(D):
    return D.sum(1, keepdims=True)


MASK_ABOVE = {"mask": lambda Z1, Z2: Z2 > 0}
SHAPES = {
    "db one number": (np.sum, {}, "b"),
    "db for each example": (lambda D: D, {}, ""),
    "dW without its columns": (column_sums, {"dW": lambda D, A: D @ A.T @ np.ones(5)}, "W"),
}


@pytest.mark.parametrize("slip", [{}, MASK_ABOVE], ids=["alone", "beside a formula"])
@pytest.mark.parametrize("name", SHAPES)
def test_a_wrong_shape_hides_no_other_line(name, slip):
    db, how, unread = SHAPES[name]
    report = wide_open(db, **how, **slip)
    assert report.verdict == "wrong"
    found = places(report)
    layers, quantity = ([1], "dW") if unread == "W" else ([1, 2], "db")
    shapes = [(5, quantity, k, "wrong_shape") for k in layers]
    assert found == [*shapes, *([(4, "delta", 1, "derivative_above")] if slip else [])], str(report)
    notes = [note for note in report.notes if "only the shape was judged" in note]
    assert bool(notes) == bool(unread)
    judged = {leaf.path for leaf in report.leaves}
    hidden = {"W": {"dW1"}, "b": {"db1", "db2"}}[unread] if unread else set()
    assert {"dW1", "db1", "dW2", "db2"} - judged == hidden
    assert "<svg" in report.to_html()


def of_share(share):
    """The report on a program that takes `share` in place of the 1/n of a mean."""

    def backward(params, X, Y):
        (W1, b1), (W2, b2) = params
        A = np.tanh(X @ W1.T + b1)
        D2 = share * (A @ W2.T + b2 - Y)
        D1 = (D2 @ W2) * (1 - A * A)
        return [(D1.T @ X, D1.sum(0)), (D2.T @ A, D2.sum(0))]

    draw = np.random.default_rng(2)
    X, Y = draw.normal(size=(9, 4)), draw.normal(size=(9, 2))
    return fcnet.check(backward, network((4, 5, 2)), X, Y, activation="tanh", batched=True)


@pytest.mark.parametrize(
    ("share", "kind", "remark"),
    [
        (2, "factor_2", "in all 18 = 2 n at your n = 9. It must be"),
        (1 / 100, "scaled", "in all 0.09 = 0.01 n at your n = 9. It must be"),
    ],
)
def test_a_factor_of_the_sum_is_told_beside_it_at_the_users_own_n(share, kind, remark):
    report = of_share(share)
    assert places(report) == [(2, "delta", 2, kind), (2, "delta", 2, "sum_for_mean")]
    assert remark in report.findings[1].message


def test_a_number_of_examples_that_is_written_into_the_program_is_one_mistake():
    report = of_share(1 / 9)
    assert places(report) == [(2, "delta", 2, "hard_coded_n")]
    assert "is divided by 9, whatever the number of examples" in report.findings[0].message


@pytest.mark.parametrize("mixed", [False, True])
def test_layers_hidden_by_an_unknown_mistake_of_batches_are_said(mixed):
    def backward(params, X, Y):
        (W1, b1), (W2, b2) = params
        A = np.tanh(X @ W1.T + b1)
        D2 = (A @ W2.T + b2 - Y) / len(X)
        D2 = D2 - 0.3 * (D2 - D2[0]) if mixed else D2
        D1 = (D2 @ W2) * (1 - A * A)
        return [(D1.T @ X, D1.sum(0)), (D2.T @ A, D2.sum(0))]

    draw = np.random.default_rng(2)
    X, Y = draw.normal(size=(7, 4)), draw.normal(size=(7, 2))
    report = fcnet.check(backward, network((4, 5, 2)), X, Y, activation="tanh", batched=True)
    assert places(report) == ([(2, "delta", 2, "unknown")] if mixed else [])
    assert all("layers below were not judged" in f.message for f in report.findings)


def test_a_gradient_of_zeros_is_no_mistake_with_a_factor_of_zero():
    def backward(params, X, Y):
        (W1, b1), (W2, b2) = params
        A = np.tanh(X @ W1.T + b1)
        D2 = np.trunc((A @ W2.T + b2 - Y) / len(X))
        D1 = (D2 @ W2) * (1 - A * A)
        return [(D1.T @ X, D1.sum(0)), (D2.T @ A, D2.sum(0))]

    rng = np.random.default_rng(0)
    params = [(rng.normal(size=(m, d)) / 3, rng.normal(size=m) / 3) for d, m in ((4, 3), (3, 2))]
    X, Y = rng.normal(size=(7, 4)), rng.normal(size=(7, 2))
    report = fcnet.check(backward, params, X, Y, activation="tanh", batched=True)
    assert [finding.kind for finding in report.findings] == ["truncated"], str(report)


SECOND = {
    "": (),
    "twice": [(2, "delta", 2, "factor_2")],
    "no slope": [(4, "delta", 1, "missing_derivative")],
    "dW1 three times": [(5, "dW", 1, "scaled")],
    "dW2 ones": [(5, "dW", 2, "activation_missing")],
    "decay": [(5, "dW", None, "weight_decay")],
}
SIGNS = {
    (1, 1): [],
    (-1, -1): [(None, "", None, "other_description")],
    (-1, 1): [(1, "", None, "bias_subtracted")],
    (0, 1): [(None, "", None, "other_description")],
}
"""The factor of b in z, and that of delta in db: what is to say of the two."""


@pytest.mark.parametrize(("signs", "second"), diagonal(SIGNS, SECOND))
@pytest.mark.parametrize("batched", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_biases_that_are_not_added_are_told_once_beside_another_slip(signs, second, batched):
    of_bias, of_delta = signs

    def backward(params, X, Y):
        (W1, b1), (W2, b2) = params
        A = np.tanh(X @ W1.T + of_bias * b1)
        D2 = (A @ W2.T + of_bias * b2 - Y) / len(X) * (2 if second == "twice" else 1)
        D1 = (D2 @ W2) * (1 if second == "no slope" else 1 - A * A)
        dW1 = D1.T @ X * (3 if second == "dW1 three times" else 1)
        dW2 = D2.T @ (np.ones_like(A) if second == "dW2 ones" else A)
        decay = 0.1 if second == "decay" else 0
        pairs = ((dW1 + decay * W1, of_delta * D1.sum(0)), (dW2 + decay * W2, of_delta * D2.sum(0)))
        return list(pairs)

    draw = np.random.default_rng(2)
    X, Y = draw.normal(size=(7, 4)), draw.normal(size=(7, 2))
    x, y, function = X[0], Y[0], lambda params, x, y: backward(params, x[None], y[None])
    data = (backward, X, Y) if batched else (function, x, y)
    params = network((4, 5, 2))
    report = fcnet.check(data[0], params, *data[1:], activation="tanh", batched=batched)
    assert places(report) == [*SIGNS[signs], *SECOND[second]], str(report)


@pytest.mark.parametrize("k", [1, 2])
def test_a_bias_that_is_left_out_of_one_layer_beside_another_slip(k):
    def backward(params, x, y):
        (W1, b1), (W2, b2) = params
        a = np.tanh(W1 @ x + b1 * (k != 1))
        d2 = W2 @ a + b2 * (k != 2) - y
        d1 = W2.T @ d2
        return [(np.outer(d1, x), d1), (np.outer(d2, a), d2)]

    draw = np.random.default_rng(2)
    x, y = draw.normal(size=4), draw.normal(size=2)
    report = fcnet.check(backward, network((4, 5, 2)), x, y, activation="tanh")
    assert places(report) == [(1, "", k, "bias_not_added"), (4, "delta", 1, "missing_derivative")]


@pytest.mark.parametrize("of_bias", [1, 0])
def test_an_unknown_slip_is_a_matter_of_the_biases_if_they_are_not_added(of_bias):
    """Where the way forward is right, dW = delta a^T shows it."""

    def backward(params, x, y):
        (W1, b1), (W2, b2) = params
        a = np.tanh(W1 @ x + of_bias * b1)
        o = W2 @ a + of_bias * b2
        d2 = o - y + 0.3 * np.sin(7 * o)
        d1 = W2.T @ d2 * (1 - a * a)
        return [(np.outer(d1, x), d1), (np.outer(d2, a), d2)]

    draw = np.random.default_rng(2)
    x, y = draw.normal(size=4), draw.normal(size=2)
    report = fcnet.check(backward, network((4, 5, 2)), x, y, activation="tanh")
    unknown = [(2, "delta", 2, "unknown")]
    assert places(report) == (unknown if of_bias else SIGNS[0, 1]), str(report)

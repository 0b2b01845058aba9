"""Backward passes as they stand in public code: layers with own buffers, plain lists, labels."""

# ruff: noqa: B905 - as it is written by those who write it

import math

import numpy as np
import pytest

import fcnet

pytestmark = pytest.mark.untyped  # whole checks: the types cost six times their time


class Affine:
    """A layer that keeps its gradients in one dict: with new arrays, or always in the same ones."""

    def __init__(self, same_arrays):
        self.grads, self.same_arrays = {}, same_arrays

    def forward(self, x):
        self.x = x
        return x @ self.params["w"] + self.params["b"]

    def backward(self, d):
        for name, value in (("b", d.sum(0)), ("w", self.x.T @ d)):
            if self.same_arrays and name in self.grads:
                self.grads[name][...] = value
            else:
                self.grads[name] = value
        return d @ self.params["w"].T


def layered(same_arrays, slope=1.0):
    hidden, output = Affine(same_arrays), Affine(same_arrays)

    def backward(params, X, Y):
        hidden.params, output.params = params
        a = np.tanh(hidden.forward(X))
        hidden.backward(output.backward(output.forward(a) - Y) * (1 - slope * a * a))
        return [hidden.grads, output.grads]

    return backward


@pytest.mark.parametrize("same_arrays", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_buffer_that_the_next_call_overwrites(same_arrays):
    rng = np.random.default_rng(0)
    params = [
        {"w": rng.normal(size=(4, 5)), "b": rng.normal(size=5)},
        {"w": rng.normal(size=(5, 3)), "b": rng.normal(size=3)},
    ]
    X, Y = rng.normal(size=(7, 4)), rng.normal(size=(7, 3))
    options = {"activation": "tanh", "batched": True, "reduction": "sum"}
    report = fcnet.check(layered(same_arrays), params, X, Y, **options)
    assert report.ok, report
    (warning,) = report.findings
    assert (warning.kind, warning.severity) == ("mutates_earlier_results", "warning")
    report = fcnet.check(layered(same_arrays, slope=0.0), params, X, Y, **options)
    (error,) = [finding for finding in report.findings if finding.severity == "error"]
    assert (error.line, error.layer, error.kind) == (4, 1, "missing_derivative")


def of_lists(params, x, y, plus=1):
    W, b, V, c = params
    a = [math.tanh(sum(w * v for w, v in zip(r, x)) + s) for r, s in zip(W, b)]
    o = [sum(w * v for w, v in zip(r, a)) + s for r, s in zip(V, c)]
    d2 = [out - target for out, target in zip(o, y)]
    d1 = [sum(V[k][j] * d2[k] for k in range(len(d2))) * (1 - a[j] ** 2) for j in range(len(a))]
    return [[[plus * d * v for v in x] for d in d1], d1, [[d * v for v in a] for d in d2], d2]


def test_plain_lists_of_numbers():
    params = [[[0.1, -0.2, 0.3], [0.4, 0.5, -0.6]], [0.1, 0.2], [[0.7, -0.8]], [0.3]]
    x, y = [0.5, -1.0, 2.0], [0.25]
    assert fcnet.check(of_lists, params, x, y, activation="tanh").ok
    report = fcnet.check(lambda *a: of_lists(*a, plus=-1), params, x, y, activation="tanh")
    assert [finding[:4] for finding in report.findings] == [(5, "dW", 1, "sign")]


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize(
    "loss", ["squared_error", pytest.param("logistic", marks=pytest.mark.slow)]
)
def test_targets_of_one_output_in_a_row_or_a_column(column, loss):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(6, 4))
    params = {"W1": rng.normal(size=(4, 1)), "b1": np.zeros(1)}
    y = rng.integers(0, 2, 6) if loss == "logistic" else rng.normal(size=6)
    y = y[:, None] if column else y

    def backward(params, X, y, logit=loss == "logistic"):
        o = X @ params["W1"] + params["b1"]
        d = ((1 / (1 + np.exp(-o)) if logit else o) - np.reshape(y, o.shape)) / len(X)
        return {"W1": X.T @ d, "b1": d.sum(0)}

    assert fcnet.check(backward, params, X, y, loss=loss, batched=True).ok
    other = fcnet.check(
        lambda *a: backward(*a, logit=loss != "logistic"), params, X, y, loss=loss, batched=True
    )
    (finding,) = other.findings
    if loss == "logistic":  # o - y is the gradient of another loss
        assert finding.kind == "other_description"
        assert "loss='squared_error'" in finding.message
    else:
        assert finding.line == 2


def test_labels_in_a_column_for_several_outputs():
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(6, 4)), np.array([[0.0], [1], [2], [1], [0], [2]])
    params = {"W1": rng.normal(size=(4, 3)), "b1": np.zeros(3)}

    def backward(params, X, y):
        o = X @ params["W1"] + params["b1"]
        d = (o - np.eye(3)[y[:, 0].astype(int)]) / len(X)
        return {"W1": X.T @ d, "b1": d.sum(0)}

    assert fcnet.check(backward, params, X, y, batched=True).ok


@pytest.mark.parametrize("n", [3, 8])  # (n, 3) less (n,) is silent for 3 examples alone
def test_a_label_is_subtracted_and_not_its_one_hot_vector(n):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(n, 4)), np.arange(n) % 3
    params = {"W1": rng.normal(size=(4, 3)), "b1": np.zeros(3)}

    def backward(params, X, y):
        e = np.exp(X @ params["W1"] + params["b1"])
        d = (e / e.sum(1, keepdims=True) - y) / len(X)
        return {"W1": X.T @ d, "b1": d.sum(0)}

    report = fcnet.check(backward, params, X, y, batched=True, loss="softmax_cross_entropy")
    assert [f[:4] for f in report.findings[1:]] == [(2, "delta", 1, "label_subtracted")]
    assert report.findings[0].kind == "raises"


@pytest.mark.parametrize(
    ("slip", "expected"),
    [
        ("no b1", (1, "", 1, "bias_not_added")),
        ("no b2", (1, "", 2, "bias_not_added")),
        ("appended", (None, "", None, "leaf_order")),
    ],
)
def test_slips_outside_of_the_lines_that_go_back(slip, expected):
    rng = np.random.default_rng(4)
    X, Y = rng.normal(size=(2, 6, 4))
    params = [(rng.normal(size=(4, 4)), rng.normal(size=4)) for _ in range(2)]

    def backward(params, X, Y):
        (W1, b1), (W2, b2) = params
        a = np.tanh(X @ W1 + b1 * (slip != "no b1"))
        d2 = (a @ W2 + b2 * (slip != "no b2") - Y) / len(X)
        d1 = d2 @ W2.T * (1 - a * a)
        grads = [(a.T @ d2, d2.sum(0)), (X.T @ d1, d1.sum(0))]
        return grads if slip == "appended" else grads[::-1]

    report = fcnet.check(
        backward, params, X, Y, activation="tanh", batched=True, weight_layout="in_out"
    )
    assert [finding[:4] for finding in report.findings] == [expected]

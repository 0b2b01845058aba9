"""Right formulas that fail far from zero only are right, with a warning; stable ones have none."""

import numpy as np
import pytest
from support.correct_candidates import data, gradient, network

import fcnet

pytestmark = pytest.mark.untyped

SIZES = (4, 5, 3)


def softmax(Z):
    E = np.exp(Z - Z.max(1, keepdims=True))
    return E / E.sum(1, keepdims=True)


def overflowing_softmax(Z):
    return np.exp(Z) / np.exp(Z).sum(1, keepdims=True)


def clipped_softmax(Z):
    return np.clip(softmax(Z), 1e-7, 1 - 1e-7)


def overflowing_tanh(z):
    return np.sinh(z) / np.cosh(z)


def sigmoid(Z):
    return 1 / (1 + np.exp(-Z))


def overflowing_sigmoid(Z):
    return np.exp(Z) / (1 + np.exp(Z))


def check(mean, hidden, loss, activation, dtype=np.float64, factor=1.0):
    def backward(params, X, Y):
        (W1, b1), (W2, b2) = params
        A = hidden(X @ W1.T + b1)
        D2 = (mean(A @ W2.T + b2) - Y) / np.asarray(len(X), dtype)
        D1 = (
            np.asarray(factor, dtype)
            * (D2 @ W2)
            * (1 - A * A if activation == "tanh" else A * (1 - A))
        )
        return [(D1.T @ X, D1.sum(0)), (D2.T @ A, D2.sum(0))]

    X, _ = data(6, SIZES, dtype)
    Y = np.eye(3, dtype=dtype)[np.arange(6) % 3]
    return fcnet.check(
        backward, network(SIZES, dtype), X, Y, activation=activation, loss=loss, batched=True
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("mean", "hidden", "loss", "activation"),
    [
        (softmax, np.tanh, "softmax_cross_entropy", "tanh"),
        (sigmoid, np.tanh, "logistic", "tanh"),
        (softmax, sigmoid, "softmax_cross_entropy", "sigmoid"),
        (lambda o: o, sigmoid, "squared_error", "sigmoid"),
    ],
)
def test_stable_formulas_keep_their_digits(mean, hidden, loss, activation, dtype):
    report = check(mean, hidden, loss, activation, dtype)
    assert report.ok, str(report)
    assert report.findings == (), str(report)
    assert sum("pre-activations of" in name for name in report.cases) == 3


@pytest.mark.parametrize(
    ("mean", "hidden", "loss", "activation", "level", "shown"),
    [
        (overflowing_softmax, np.tanh, "softmax_cross_entropy", "tanh", 800, "is nan"),
        (overflowing_sigmoid, np.tanh, "logistic", "tanh", 800, "is nan"),
        (softmax, overflowing_tanh, "softmax_cross_entropy", "tanh", 800, "is nan"),
        (softmax, overflowing_sigmoid, "softmax_cross_entropy", "sigmoid", 800, "is nan"),
        (clipped_softmax, np.tanh, "softmax_cross_entropy", "tanh", 20, "must be"),
    ],
)
def test_what_fails_at_saturation_only_is_unstable(mean, hidden, loss, activation, level, shown):
    report = check(mean, hidden, loss, activation)
    assert report.ok, str(report)
    (finding,) = report.findings
    assert (finding.kind, finding.severity) == ("unstable", "warning")
    assert finding.message.startswith(f"at pre-activations of {level} ")
    assert shown in finding.message


def test_a_wrong_formula_stays_wrong():
    report = check(overflowing_softmax, np.tanh, "softmax_cross_entropy", "tanh", factor=2)
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(4, 1, "factor_2")]


def test_what_grows_without_bound_is_not_driven_there():
    report = fcnet.check(gradient, network(), *data(5), batched=True)  # ReLU, squared error
    assert report.ok
    assert not any("pre-activations of" in name for name in report.cases)

"""Kinds of mistakes that people make in whole programs, from `fcnet.check` to the name."""

import re

import numpy as np
import pytest
from support.correct_candidates import network

import fcnet

SIZES = (4, 5, 3)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(Z):
    E = np.exp(Z - Z.max(1, keepdims=True))
    return E / E.sum(1, keepdims=True)


def through_bias_column(D2, W2, b2):
    """The way back through [b, W], with the last column cut off and not the first."""
    return (D2 @ np.hstack([b2[:, None], W2]))[:, :-1]


SLIPS = {
    "none": lambda D2, W2, b2, A: D2 @ W2 * A * (1 - A),
    "bias_column": lambda D2, W2, b2, A: through_bias_column(D2, W2, b2) * A * (1 - A),
    "one_minus_activation": lambda D2, W2, b2, A: D2 @ W2 * (1 - A),
}


@pytest.mark.parametrize("kind", ["none", "bias_column", "one_minus_activation"])
def test_slips_on_the_way_back_have_names(kind):
    def backward(params, X, y):
        (W1, b1), (W2, b2) = params
        A = sigmoid(X @ W1.T + b1)
        D2 = (softmax(A @ W2.T + b2) - np.eye(3)[y]) / len(X)
        D1 = SLIPS[kind](D2, W2, b2, A)
        return [(D1.T @ X, D1.sum(0)), (D2.T @ A, D2.sum(0))]

    X, labels = np.random.default_rng(0).normal(size=(8, 4)), np.arange(8) % 3
    choices = {"activation": "sigmoid", "loss": "softmax_cross_entropy", "batched": True}
    report = fcnet.check(backward, network(SIZES), X, labels, **choices)
    found = [(f.line, f.layer, f.kind) for f in report.findings]
    assert found == ([] if kind == "none" else [(4, 1, kind)]), str(report)


@pytest.mark.parametrize(
    "epsilon", [0.0, 1e-8, *(pytest.param(c, marks=pytest.mark.slow) for c in (1e-15, 1e-7, 1e-5))]
)
def test_an_epsilon_in_a_division_is_told_with_its_size(epsilon):
    def backward(params, X, Y):
        """Columns are examples."""
        n, Z = X.shape[1], params["W1"] @ X + params["b1"]
        A = sigmoid(params["W2"] @ np.maximum(Z, 0) + params["b2"])
        dA = (1 - Y) / (1 - A + epsilon) - Y / (A + epsilon)
        dZ2 = dA * A * (1 - A) / n
        dZ = params["W2"].T @ dZ2 * (Z > 0)
        return {
            **{"dW2": dZ2 @ np.maximum(Z, 0).T, "db2": dZ2.sum(1, keepdims=True)},
            **{"dW1": dZ @ X.T, "db1": dZ.sum(1, keepdims=True)},
        }

    draw = np.random.default_rng(3)
    params = {"W1": draw.normal(size=(5, 4)), "b1": np.zeros((5, 1))}
    params |= {"W2": draw.normal(size=(1, 5)), "b2": np.zeros((1, 1))}
    X, Y = draw.normal(size=(4, 7)), draw.integers(2, size=(1, 7))
    report = fcnet.check(backward, params, X, Y, loss="logistic", batched=True)
    assert report.ok == (epsilon < 1e-6), str(report)
    if epsilon:
        finding = report.findings[0]
        assert (finding.line, finding.layer, finding.kind) == (2, 2, "epsilon")
        assert finding.severity == ("warning" if report.ok else "error")
        assert len(report.findings) == 1 + report.ok  # where it spoils them, the numbers are shown
        said = float(re.findall("an epsilon of (.*) in a division", finding.message)[0])
        assert abs(said / epsilon - 1) < 0.1


@pytest.mark.parametrize(("epsilon", "ok"), [(1e-7, True), (1e-2, False)])
def test_an_epsilon_in_the_logarithm_of_a_loss_is_a_warning(epsilon, ok):
    def backward(params, X, Y):
        ((W, b),) = params
        P = sigmoid(X @ W + b)
        loss = -np.mean(Y * np.log(P + epsilon) + (1 - Y) * np.log(1 - P + epsilon))
        return loss, [(X.T @ (P - Y) / len(X), (P - Y).mean(0))]

    draw = np.random.default_rng(3)
    params = [(draw.normal(size=(4, 1)), np.zeros(1))]
    X, Y = draw.normal(size=(7, 4)), draw.integers(2, size=(7, 1))
    report = fcnet.check(backward, params, X, Y, loss="logistic", batched=True)
    assert report.ok == ok, str(report)
    assert [f.kind for f in report.findings] == ["forward_differs"]
    assert ("as with an epsilon in a logarithm" in report.findings[0].message) == ok


def test_a_loss_without_a_logarithm_has_no_epsilon():
    def backward(params, X, Y):
        ((W, b),) = params
        E = X @ W + b - Y
        return (1 + 1e-5) * (E**2).sum() / (2 * len(X)), [(X.T @ E / len(X), E.mean(0))]

    draw = np.random.default_rng(3)
    params = [(draw.normal(size=(4, 1)), np.zeros(1))]
    X, Y = draw.normal(size=(7, 4)), draw.normal(size=(7, 1))
    report = fcnet.check(backward, params, X, Y, batched=True)
    assert [(f.kind, f.severity) for f in report.findings] == [("forward_differs", "error")]

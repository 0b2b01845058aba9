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


def over_all(Z, epsilon):
    E = np.exp(Z - Z.max())
    return E / (E.sum() + epsilon)


@pytest.mark.parametrize(
    ("epsilon", "kinds"),
    [
        (0, ["softmax_over_batch"]),
        pytest.param(1e-8, ["epsilon", "unknown"], marks=pytest.mark.slow),
    ],
)
def test_a_softmax_over_the_whole_batch_is_told(epsilon, kinds):
    """On one example it is right, but for an epsilon, which is told as one."""

    def backward(params, X, Y):
        (W1, b1), (W2, b2) = params
        A = np.tanh(X @ W1.T + b1)
        D2 = (over_all(A @ W2.T + b2, epsilon) - Y) / len(X)
        D1 = D2 @ W2 * (1 - A**2)
        return [(D1.T @ X, D1.sum(0)), (D2.T @ A, D2.sum(0))]

    X, Y = np.random.default_rng(0).normal(size=(6, 4)), np.eye(3)[[0, 1, 2, 2, 1, 0]]
    choices = {"activation": "tanh", "loss": "softmax_cross_entropy", "batched": True}
    report = fcnet.check(backward, network(SIZES), X, Y, **choices)
    assert report.verdict == "wrong"
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(2, 2, k) for k in kinds]
    assert epsilon == 0 or "the examples of a batch mix" in report.findings[1].message


@pytest.mark.parametrize("least", [2, pytest.param(9, marks=pytest.mark.slow)])
def test_an_epsilon_excuses_no_other_fault(least):
    """In batches of `least` examples or more they mix, and the rows alone have the epsilon only."""

    def backward(params, X, Y):
        ((W, b),) = params
        p = sigmoid(X @ W + b)
        D = ((1 - Y) / (1 - p + 1e-8) - Y / (p + 1e-8)) * p * (1 - p)
        D = (D + 0.3 * (p - p.mean(0)) * (len(X) >= least)) / len(X)
        return [(X.T @ D, D.sum(0))]

    draw = np.random.default_rng(3)
    params = [(draw.normal(size=(4, 2)), np.zeros(2))]
    X, Y = draw.normal(size=(9, 4)), draw.integers(2, size=(9, 2))
    report = fcnet.check(backward, params, X, Y, loss="logistic", batched=True)
    assert report.verdict == "wrong", report
    assert {f.kind for f in report.findings if f.severity == "error"} == {"unknown"}


@pytest.mark.parametrize(("n", "slip"), [(6, False), (6, True), (1, False)])
def test_a_program_for_one_number_of_examples_is_judged_on_that_number(n, slip):
    buffer = np.empty((n, 4))

    def backward(params, X, Y):
        (W1, b1), (W2, b2) = params
        buffer[:] = X.reshape(n, 4)
        A = np.tanh(buffer @ W1.T + b1)
        D2 = (A @ W2.T + b2 - Y) / n
        D1 = D2 @ W2 * (1 - (np.tanh(A) if slip else A) ** 2)
        return [(D1.T @ X, D1.sum(0)), (D2.T @ A, D2.sum(0))]

    draw = np.random.default_rng(0)
    X, Y = draw.normal(size=(n, 4)), draw.normal(size=(n, 3))
    report = fcnet.check(backward, network(SIZES), X, Y, activation="tanh", batched=True)
    assert report.verdict == ("wrong" if slip else "right"), report
    errors = [(f.line, f.layer, f.kind) for f in report.findings if f.severity == "error"]
    assert errors == [(4, 1, "derivative_at_a")] * slip
    warning = next(f.message for f in report.findings if f.severity == "warning")
    assert f"takes batches of {n} only" in warning
    assert "with 7 examples it raised Val" in warning


def test_a_program_that_fails_on_one_example_alone_is_wrong():
    def backward(params, X, Y):
        ((W, b),) = params
        D = np.squeeze((X @ W.T + b - Y) / len(X))
        return [(D.T @ X, D.sum(0))]

    draw = np.random.default_rng(0)
    params = [(draw.normal(size=(3, 4)), np.zeros(3))]
    X, Y = draw.normal(size=(6, 4)), draw.normal(size=(6, 3))
    report = fcnet.check(backward, params, X, Y, batched=True)
    assert report.verdict == "wrong"

"""A gradient that is that of the returned loss, where the forward pass is none of (2.12)."""

from types import SimpleNamespace

import numpy as np
import pytest

import fcnet

DRAW = np.random.default_rng(0)
PARAMS = {
    name: DRAW.normal(size=shape)
    for name, shape in {
        "W1": (4, 5),
        "b1": (5,),
        "W2": (5, 5),
        "b2": (5,),
        "W3": (5, 3),
        "b3": (3,),
    }.items()
}
X, LABELS = DRAW.normal(size=(8, 4)), np.arange(8) % 3
CHOICES = {"activation": "tanh", "loss": "softmax_cross_entropy", "batched": True}


def residual(params, X, labels, skip=1.0, **wrong):
    """The loss and the gradient of a network whose second layer is added to its input.

    Args:
        params: the arrays.
        X: examples in rows.
        labels: of the examples.
        skip: 0 for the network (2.12).
        wrong: factors of arrays of the gradient.
    """
    n = len(X)
    A1 = np.tanh(X @ params["W1"] + params["b1"])
    H = np.tanh(A1 @ params["W2"] + params["b2"])
    A2 = H + skip * A1
    Z3 = A2 @ params["W3"] + params["b3"]
    P = np.exp(Z3 - Z3.max(1, keepdims=True))
    P /= P.sum(1, keepdims=True)
    loss = -np.log(P[np.arange(n), labels]).mean()
    D3 = (P - np.eye(3)[labels]) / n
    DA2 = D3 @ params["W3"].T
    D2 = DA2 * (1 - H**2)
    D1 = (D2 @ params["W2"].T + skip * DA2) * (1 - A1**2)
    right = {
        **{"W1": X.T @ D1, "b1": D1.sum(0), "W2": A1.T @ D2, "b2": D2.sum(0)},
        **{"W3": A2.T @ D3, "b3": D3.sum(0)},
    }
    return loss, {name: right[name] * wrong.get(name, 1.0) for name in right}


def found(report):
    assert report.verdict == "wrong"
    return [(f.kind, f.line) for f in report.findings]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_right_gradient_of_another_network_is_told(dtype):
    params = {name: array.astype(dtype) for name, array in PARAMS.items()}
    report = fcnet.check(residual, params, X.astype(dtype), LABELS, **CHOICES)
    assert found(report) == [("forward_differs", 1), ("own_loss", 1)]
    message = report.findings[1].message
    assert message.startswith("this is the gradient of the loss that you return")
    assert "fcnet.check_gradient" in message


def test_the_arrays_that_are_wrong_are_named():
    def backward(params, X, labels):
        return residual(params, X, labels, W1=1.1, b2=-1.0)

    report = fcnet.check(backward, PARAMS, X, LABELS, **CHOICES)
    assert found(report) == [
        *(("forward_differs", 1), ("own_loss", 1)),
        *(("scaled", None), ("sign", None)),
    ]
    messages = [finding.message for finding in report.findings[1:]]
    assert "db1, dW2, dW3, db3 are right, and not dW1, db2" in messages[0]
    assert messages[1:] == ["dW1 is 1.1 times what it must be", "db2 has the opposite sign"]


@pytest.mark.parametrize("n", [8, 20])
def test_a_multiple_is_told(n):
    """Of more than eight examples the first eight are tried, and that is said."""

    def backward(params, X, labels):
        return residual(params, X, labels, **dict.fromkeys(PARAMS, len(X)))

    X, labels = np.random.default_rng(1).normal(size=(n, 4)), np.arange(n) % 3
    report = fcnet.check(backward, PARAMS, X, labels, **CHOICES)
    assert found(report) == [("forward_differs", 1), ("own_loss", 1)]
    assert report.findings[1].message.startswith("of 8 examples this is 8 times the gradient of")


@pytest.mark.parametrize("n", [8, 20])
def test_a_sum_over_the_examples_is_named(n):
    def backward(params, X, labels):
        return residual(params, X, labels, W1=len(X))

    X, labels = np.random.default_rng(1).normal(size=(n, 4)), np.arange(n) % 3
    report = fcnet.check(backward, PARAMS, X, labels, **CHOICES)
    assert [f.kind for f in report.findings[1:]] == ["own_loss", "times_n"]
    said = "dW1 is multiplied by 8, the number of examples that were tried"
    assert report.findings[2].message == said


def huber(params, X, Y):
    """Huber's loss of a network of two layers, and its gradient."""
    A1 = np.tanh(X @ params["W1"])
    error = A1 @ params["W2"] - Y
    small = abs(error) < 1
    loss = np.where(small, error**2 / 2, abs(error) - 0.5).sum() / len(X)
    D2 = np.clip(error, -1, 1) / len(X)
    return loss, {"W1": X.T @ (D2 @ params["W2"].T * (1 - A1**2)), "W2": A1.T @ D2}


@pytest.mark.parametrize("wrong", [False, True])
def test_a_known_line_is_told_beside_it(wrong):
    """A clipped delta is a mistake, or Huber's loss: what is returned tells them apart."""

    def backward(params, X, Y):
        loss, gradient = huber(params, X, Y)
        return (loss if not wrong else loss / 3), gradient

    params = {"W1": PARAMS["W1"], "W2": PARAMS["W3"]}
    Y = np.random.default_rng(1).normal(size=(8, 3))
    report = fcnet.check(backward, params, X, Y, activation="tanh", batched=True)
    own = [] if wrong else [("own_loss", 1)]
    assert found(report) == [("forward_differs", 1), *own, ("clipped", 2)]


def test_a_network_that_is_described_otherwise_is_told_by_that_alone():
    def backward(params, X, labels):
        loss, gradient = residual(params, X, labels, skip=0.0)
        return loss, gradient

    report = fcnet.check(backward, PARAMS, X, LABELS, **{**CHOICES, "activation": "relu"})
    assert found(report) == [("other_description", None)]


def test_nothing_is_told_where_no_array_is_right():
    def backward(params, X, labels):
        factors = {name: 2.0 + i for i, name in enumerate(PARAMS)}
        return residual(params, X, labels, **factors)

    kinds = [kind for kind, _ in found(fcnet.check(backward, PARAMS, X, LABELS, **CHOICES))]
    assert "unknown" in kinds
    assert "own_loss" not in kinds


def test_a_right_loss_does_not_hide_the_lines():
    """The forward pass is that of (2.12), so the lines are judged, also by what is unknown."""

    def backward(params, X, labels):
        loss, gradient = residual(params, X, labels, skip=0.0)
        return loss, gradient | {"W2": np.sin(gradient["W2"] * 40)}

    assert found(fcnet.check(backward, PARAMS, X, LABELS, **CHOICES)) == [("unknown", 5)]


def test_an_object_and_a_step_are_read_too():
    net = SimpleNamespace(**{name: array.copy() for name, array in PARAMS.items()})

    def fit(X, labels):
        loss, gradient = residual(vars(net), X, labels)
        for name, dW in gradient.items():
            setattr(net, name, getattr(net, name) - 0.1 * dW)
        return loss

    report = fcnet.check(fit, net, X, LABELS, learning_rate=0.1, **CHOICES)
    assert found(report) == [("forward_differs", 1), ("own_loss", 1)]
    assert report.findings[1].message.startswith("this is the gradient of the loss")


@pytest.mark.parametrize("slope", [0.0, 1.0])
@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_differences_across_a_kink_are_no_derivative(slope, factor):
    """Units at 0 have one slope to the left and another to the right: both are right there."""

    def backward(params, X, labels):
        n, Z = len(X), X @ params["W1"] + params["b1"]
        A = np.maximum(Z, 0)
        Z2 = 0.5 * (A @ params["W2"] + params["b2"])
        P = np.exp(Z2 - Z2.max(1, keepdims=True))
        P /= P.sum(1, keepdims=True)
        D2 = 0.5 * (P - np.eye(3)[labels]) / n
        D1 = D2 @ params["W2"].T * np.where(Z == 0, slope, Z > 0)
        loss = -np.log(P[np.arange(n), labels]).mean()
        gradient = {"W1": X.T @ D1, "b1": factor * D1.sum(0), "W2": A.T @ D2, "b2": D2.sum(0)}
        return loss, gradient

    params = {"W1": PARAMS["W1"], "b1": np.zeros(5), "W2": PARAMS["W3"], "b2": np.zeros(3)}
    zeros = X * (np.arange(8)[:, None] % 3 > 0)
    report = fcnet.check(backward, params, zeros, LABELS, **{**CHOICES, "activation": "relu"})
    right = [("forward_differs", 1), ("own_loss", 1)]
    assert found(report) == right + ([("factor_2", None)] if factor == 2 else [])
    said = "right, and not db1" if factor == 2 else "this is the gradient of the loss that"
    assert said in report.findings[1].message


def test_without_a_loss_it_is_said_to_return_it():
    def backward(params, X, labels):
        return residual(params, X, labels)[1]

    report = fcnet.check(backward, PARAMS, X, LABELS, **CHOICES)
    assert "unknown" in [kind for kind, _ in found(report)]
    assert any(note.startswith("return the loss too") for note in report.notes)
    report = fcnet.check(residual, PARAMS, X, LABELS, **CHOICES)
    assert not any(note.startswith("return the loss too") for note in report.notes)

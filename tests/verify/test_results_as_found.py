"""What backward passes and training steps of public code return: each form is read as it is."""

from dataclasses import make_dataclass
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from support.tanh_network import RATE, D, M, X, Y, arrays, gradients, of_objects

import fcnet

pytestmark = pytest.mark.untyped

NAMES = ("dW1", "db1", "dW2", "db2")
FRACTIONS = ("dL/dW1", "dL/db1", "dL/dW2", "dL/db2")

RESULTS = {
    "zip": lambda loss, g: zip(g[::2], g[1::2], strict=True),
    "map": lambda loss, g: map(np.copy, g),
    "generator": lambda loss, g: (array for array in g),
    "loss and reversed": lambda loss, g: (loss, reversed(g[::-1])),
    "values": lambda loss, g: dict(zip(NAMES, g, strict=True)).values(),
    "fractions": lambda loss, g: dict(zip(FRACTIONS, g, strict=True)),
    "namespace": lambda loss, g: SimpleNamespace(**dict(zip(NAMES, g, strict=True))),
    "loss and dataclass": lambda loss, g: (loss, make_dataclass("Grads", NAMES)(*g)),
    "array of arrays": lambda loss, g: of_objects(g),
    "has_aux": lambda loss, g: ((loss, {"accuracy": 0.5}), list(g)),
}
"""Results, from a loss and the four arrays."""


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("slip", [False, True])
def test_a_result_may_be_wrapped(name, slip):
    def backward(params: Any, x: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        loss = ((np.tanh(x @ W1 + b1) @ W2 + b2 - y) ** 2).sum() / (2 * len(x))
        return RESULTS[name](loss, gradients(*params, x, y, slip))

    report = fcnet.check(backward, arrays(), X, Y, batched=True, activation="tanh")
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(5, 1, "sum_for_mean")] * slip


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("slip", [False, True])
def test_gradients_may_stand_beside_their_parameters(order, slip):
    def backward(params: Any, x: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        loss = ((np.tanh(x @ W1 + b1) @ W2 + b2 - y) ** 2).sum() / (2 * len(x))
        pairs = [pair[::order] for pair in zip(params, gradients(*params, x, y, slip), strict=True)]
        return loss, pairs[::order]

    report = fcnet.check(backward, arrays(), X, Y, batched=True, activation="tanh")
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(5, 1, "sum_for_mean")] * slip


@pytest.mark.parametrize("slip", [False, True])
def test_none_may_stand_for_the_input_layer(slip):
    net = SimpleNamespace(w=[None, *arrays()[::2]], b=[None, *arrays()[1::2]])

    def backward(x: Any, y: Any) -> Any:
        dW1, db1, dW2, db2 = gradients(net.w[1], net.b[1], net.w[2], net.b[2], x, y, slip)
        return [None, dW1, dW2], [None, db1, db2]

    report = fcnet.check(backward, net, X, Y, batched=True, activation="tanh")
    errors = [(f.line, f.layer, f.kind) for f in report.findings if f.severity == "error"]
    assert errors == [(5, 1, "sum_for_mean")] * slip, report


def test_a_wrong_loss_beside_other_results_is_found():
    def backward(params: Any, x: Any, y: Any) -> Any:
        return (1.0, {"accuracy": 0.5}), gradients(*params, x, y, False)

    report = fcnet.check(backward, arrays(), X, Y, batched=True, activation="tanh")
    assert [f.kind for f in report.findings] == ["forward_differs"]


@pytest.mark.parametrize("slip", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_a_loss_may_stand_in_one_tuple_with_the_arrays(last, slip):
    """W2 and b1 have the same numbers of entries, as they do with one output."""
    params = dict(
        zip(("W1", "W2", "b1", "b2"), (X[:D, :2], X[:2, :1], X[:1, :2], X[:1, :1]), strict=True)
    )

    def backward(params: Any, x: Any, y: Any) -> Any:
        W1, W2, b1, b2 = params.values()
        dW1, db1, dW2, db2 = gradients(W1, b1, W2, b2, x, y, slip)
        loss = ((np.tanh(x @ W1 + b1) @ W2 + b2 - y) ** 2).sum() / (2 * len(x))
        arrays = (dW1, dW2, db1, db2)
        return (*arrays, loss) if last else (loss, *arrays)

    report = fcnet.check(backward, params, X, Y[:, :1], batched=True, activation="tanh")
    errors = [(f.line, f.layer, f.kind) for f in report.findings if f.severity == "error"]
    assert errors == [(5, 1, "sum_for_mean")] * slip, report


@pytest.mark.parametrize(
    "returned", [None, (0.5, 0.25), {"loss": 0.5, "accuracy": 1}, np.zeros(3), [np.zeros((5, M))]]
)
@pytest.mark.parametrize("slip", [False, True])
def test_a_step_in_place_may_return_other_values(returned, slip):
    def step(params: Any, x: Any, y: Any) -> Any:
        for array, g in zip(params, gradients(*params, x, y, slip), strict=True):
            array -= RATE * g
        return returned

    options: Any = {"batched": True, "activation": "tanh", "learning_rate": RATE}
    report = fcnet.check(step, arrays(), X, Y, **options)
    assert [(f.line, f.layer) for f in report.findings] == [(5, 1)] * slip, report


@pytest.mark.parametrize("others", [(), (np.zeros((5, M)),), (0.5, np.zeros((5, M)))])
@pytest.mark.parametrize("slip", [False, True])
def test_new_weights_and_biases_may_stand_among_other_values(others, slip):
    """As in (weights, biases, accuracy, predictions)."""
    W1, b1, W2, b2 = arrays()

    def step(params: Any, x: Any, y: Any) -> Any:
        (W1, W2), (b1, b2) = params
        dW1, db1, dW2, db2 = gradients(W1, b1, W2, b2, x, y, slip)
        new = [W1 - RATE * dW1, W2 - RATE * dW2], [b1 - RATE * db1, b2 - RATE * db2]
        return (*new, *map(np.copy, others))

    options: Any = {"batched": True, "activation": "tanh", "learning_rate": RATE}
    report = fcnet.check(step, ([W1, W2], [b1, b2]), X, Y, **options)
    kinds = [(f.line, f.layer, f.kind) for f in report.findings if f.kind != "forward_differs"]
    assert kinds == [(5, 1, "sum_for_mean")] * slip, report


def test_a_step_in_place_that_returns_its_predictions_is_stable():
    """Where its units are saturated it changes nothing."""
    net = SimpleNamespace(syn0=X[:D, :2], bh=X[:1, :2], syn1=X[:2, :1], bo=X[:1, :1])

    def sigmoid(z: Any) -> Any:
        return 1 / (1 + np.exp(-z))

    def step(x: Any, y: Any) -> Any:
        a = sigmoid(x @ net.syn0 + net.bh)
        o = sigmoid(a @ net.syn1 + net.bo)
        d2 = (o - y) * o * (1 - o)
        d1 = d2 @ net.syn1.T * a * (1 - a)
        net.syn0 -= RATE * x.T @ d1
        net.syn1 -= RATE * a.T @ d2
        net.bh -= RATE * d1.sum(0)
        net.bo -= RATE * d2.sum(0)
        return o

    options: Any = {"activation": "sigmoid", "output_activation": "sigmoid", "reduction": "sum"}
    report = fcnet.check(step, net, X, Y[:, :1], batched=True, learning_rate=RATE, **options)
    assert report.ok, report
    assert not report.findings


def test_numbers_that_are_parameters_are_returned_ones():
    def step(params: Any, x: Any, y: Any) -> Any:
        (w, b), error = params, params[0] * x + params[1] - y
        return w - RATE * float(error * x), b - RATE * float(error)

    x, y = np.array(0.5), np.array(2.0)
    report = fcnet.check(step, (0.75, 0.25), x, y, learning_rate=RATE)
    assert report.ok, report


@pytest.mark.parametrize("form", [list, tuple])
def test_new_parameters_may_be_lists_of_numbers(form):
    def step(params: Any, x: Any, y: Any) -> Any:
        pairs = zip(params, gradients(*params, x, y, False), strict=True)
        return form((array - RATE * g).tolist() for array, g in pairs)

    options: Any = {"batched": True, "activation": "tanh", "learning_rate": RATE}
    assert fcnet.check(step, arrays(), X, Y, **options).ok
    theta = np.array([0.5, -1.0, 0.25])

    def vector(theta: Any, x: Any, y: Any) -> Any:
        return form((theta - RATE * x.T @ (x @ theta - y) / len(x)).tolist())

    assert fcnet.check(vector, theta, X, Y[:, 0], batched=True, learning_rate=RATE).ok


@pytest.mark.parametrize(
    ("shape", "severity"), [((2,), "warning"), ((2, 1), "error"), ((1, 1, 2), "error")]
)
def test_a_gradient_of_any_function_may_lack_leading_axes(shape, severity):
    def gradient(v: Any) -> Any:
        return (2 * v).reshape(shape)

    v = np.array([[1.0, -3.0]])
    report = fcnet.check_gradient(gradient, lambda v: jnp.sum(v**2), v)
    assert [(f.kind, f.severity) for f in report.findings] == [("wrong_shape", severity)]
    assert report.ok == (severity == "warning")


def layer(x: Any, W: Any, b: Any, dout: Any) -> Any:
    return jnp.sum(jnp.tanh(x @ W + b) * dout)


@pytest.mark.parametrize(("entries", "factor"), [(1, 1), (2, 1), (3, 1), (2, 2), (3, 2)])
def test_the_first_arguments_may_have_a_gradient(entries, factor):
    """As a layer has whose backward pass gets dout beside its cache."""

    def backward(x: Any, W: Any, b: Any, dout: Any) -> Any:
        d = dout * (1 - np.tanh(x @ W + b) ** 2)
        return (d @ W.T, factor * x.T @ d, d.sum(0))[:entries]

    W, b, *_ = arrays()
    report = fcnet.check_gradient(backward, layer, X, W, b, np.cos(X @ W))
    assert [leaf.path for leaf in report.leaves] == ["x", "W", "b"][:entries]
    assert [f.kind for f in report.findings] == ["factor_2"] * (factor - 1)


def test_a_tuple_of_other_gradients_is_refused():
    W, b, *_ = arrays()
    report = fcnet.check_gradient(lambda x, W, b, d: (W, b), layer, X, W, b, np.cos(X @ W))
    assert "or of those of the first ones" in report.findings[0].message or not report.ok


@pytest.mark.parametrize("slip", [False, True])
def test_0_may_stand_for_the_input_layer(slip):
    net = SimpleNamespace(w=[None, *arrays()[::2]], b=[None, *arrays()[1::2]])

    def backward(x: Any, y: Any) -> Any:
        own = [array for k in (1, 2) for array in (net.w[k], net.b[k])]
        dW1, db1, dW2, db2 = gradients(*own, x, y, slip)
        return [0, dW1, dW2], [0, db1, db2]

    report = fcnet.check(backward, net, X, Y, batched=True, activation="tanh")
    found = [(f.line, f.layer, f.kind) for f in report.findings if f.severity == "error"]
    assert found == [(5, 1, "sum_for_mean")] * slip


@pytest.mark.parametrize("slip", [False, True])
def test_a_flat_gradient_is_told_and_judged(slip):
    def backward(params: Any, x: Any, y: Any) -> Any:
        dW1, *others = gradients(*params, x, y, slip)
        return dW1.ravel(), *others

    report = fcnet.check(backward, arrays(), X, Y, batched=True, activation="tanh")
    found = [(f.line, f.layer, f.kind) for f in report.findings]
    assert found == [(5, 1, "wrong_shape"), *[(5, 1, "sum_for_mean")] * slip]
    assert "it is flat" in report.findings[0].message


@pytest.mark.parametrize("slip", [False, True])
def test_a_step_may_give_a_bias_an_axis(slip):
    """b - rate db has the shape of db, which is (1, m)."""

    def step(params: Any, x: Any, y: Any) -> Any:
        g = gradients(*params, x, y, slip)
        row = [g[0], g[1][None], g[2], g[3][None]]
        return [array - RATE * d for array, d in zip(params, row, strict=True)]

    options: Any = {"batched": True, "activation": "tanh", "learning_rate": RATE}
    report = fcnet.check(step, arrays(), X, Y, **options)
    assert report.ok != slip
    shapes = [f.severity for f in report.findings if f.kind == "wrong_shape"]
    assert shapes == ["warning", "warning"]


@pytest.mark.parametrize("factor", [1, 3])
@pytest.mark.parametrize("slip", [False, True])
def test_another_loss_of_a_right_step_is_a_warning(factor, slip):
    def step(params: Any, x: Any, y: Any) -> float:
        W1, b1, W2, b2 = params
        loss = factor * ((np.tanh(x @ W1 + b1) @ W2 + b2 - y) ** 2).sum() / (2 * len(x))
        for array, g in zip(params, gradients(*params, x, y, slip), strict=True):
            array -= RATE * g
        return float(loss)

    options: Any = {"batched": True, "activation": "tanh", "learning_rate": RATE}
    report = fcnet.check(step, arrays(), X, Y, **options)
    assert report.ok != slip
    severities = [f.severity for f in report.findings if f.kind == "forward_differs"]
    assert severities == (factor > 1) * ["error" if slip else "warning"]

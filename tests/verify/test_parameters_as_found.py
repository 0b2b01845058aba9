"""Parameters of public code that no object holds: each form is read as it is, or told in words."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.tanh_network import RATE, D, H, M, X, Y, arrays, gradients, of_objects

import fcnet
from fcnet.verify.readings import readings_of

pytestmark = pytest.mark.untyped


class Param:
    """An array and its gradient, which is kept in the same memory from call to call."""

    def __init__(self, value: np.ndarray) -> None:
        self.value, self.grad = value, np.zeros_like(value)


def with_param_objects(slip: bool) -> tuple[Any, Any]:
    W1, b1, W2, b2 = map(Param, arrays())
    net = SimpleNamespace(layers=[SimpleNamespace(W=W1, B=b1), SimpleNamespace(W=W2, B=b2)])

    def backward(x: Any, y: Any) -> None:
        own = (W1, b1, W2, b2)
        g = gradients(*(param.value for param in own), x, y, slip)
        for param, array in zip(own, g, strict=True):
            param.grad[...] = array

    return net, backward


def layers_with_settings(slip: bool) -> tuple[Any, Any]:
    """Each layer has the name of its activation, and what the last call kept."""
    W1, b1, W2, b2 = arrays()
    layers = [{"W": W1, "b": b1, "act": "tanh"}, {"W": W2, "b": b2, "act": "linear"}]

    def backward(layers: Any, x: Any, y: Any) -> Any:
        assert [layer["act"] for layer in layers] == ["tanh", "linear"]
        layers[0]["A"] = x
        own = [layer[name] for layer in layers for name in "Wb"]
        dW1, db1, dW2, db2 = gradients(*own, x, y, slip)
        return [{"dW": dW1, "db": db1}, {"dW": dW2, "db": db2}]

    return layers, backward


def tuples_with_functions(slip: bool) -> tuple[Any, Any]:
    W1, b1, W2, b2 = arrays()

    def backward(layers: Any, x: Any, y: Any) -> Any:
        (W1, b1, act), (W2, b2, _) = layers
        assert act is np.tanh
        dW1, db1, dW2, db2 = gradients(W1, b1, W2, b2, x, y, slip)
        return [(dW1, db1), (dW2, db2)]

    return [(W1, b1, np.tanh), (W2, b2, None)], backward


@pytest.mark.parametrize("form", [with_param_objects, layers_with_settings, tuples_with_functions])
@pytest.mark.parametrize("slip", [False, True])
def test_what_is_no_array_is_left_alone(form, slip):
    params, backward = form(slip)
    report = fcnet.check(backward, params, X, Y, batched=True, activation="tanh")
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(5, 1, "sum_for_mean")] * slip


@pytest.mark.parametrize("slip", [False, True])
def test_parameters_may_be_arrays_of_objects(slip):
    """So that a step can be written as params - rate * gradient."""

    def step(params: Any, x: Any, y: Any) -> Any:
        return params - RATE * of_objects(gradients(*params, x, y, slip))

    params = of_objects(arrays())
    options: Any = {"batched": True, "activation": "tanh", "learning_rate": RATE}
    report = fcnet.check(step, params, X, Y, **options)
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(5, 1, "sum_for_mean")] * slip


@pytest.mark.parametrize("slip", [False, True])
def test_one_neuron_may_have_its_bias_in_an_array(slip):
    def backward(params: Any, x: Any, y: Any) -> Any:
        e = (x @ params["w"] + params["b"] - y) / len(x)
        return {"w": x.T @ e, "b": np.array([e.mean() if slip else e.sum()])}

    params = {"w": X[0], "b": np.zeros(1)}
    report = fcnet.check(backward, params, X, Y[:, 0], batched=True)
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(5, 1, "divided_twice")] * slip


@pytest.mark.parametrize("has_bias", [(True, False), (False, True)])
@pytest.mark.parametrize("slip", [False, True])
def test_a_bias_row_may_be_in_some_matrices_only(has_bias, slip):
    """A row of ones is put beside the inputs, or beside the hidden units, alone."""
    rng = np.random.default_rng(7)
    sizes = zip((D, H), (H, M), has_bias, strict=True)
    params = [rng.normal(size=(d + bias, m)) for d, m, bias in sizes]

    def with_ones(a: Any, bias: bool) -> Any:
        return np.c_[a, np.ones(len(a))] if bias else a

    def backward(params: Any, x: Any, y: Any) -> Any:
        W1, W2 = params
        a0 = with_ones(x, has_bias[0])
        a1 = np.tanh(a0 @ W1)
        below = with_ones(a1, has_bias[1])
        d2 = (below @ W2 - y) / len(x)
        d1 = (d2 @ W2.T)[:, :H] * (1 - a1 if slip else 1 - a1**2)
        return a0.T @ d1, below.T @ d2

    report = fcnet.check(backward, params, X, Y, batched=True, activation="tanh")
    found = [(f.line, f.layer, f.kind) for f in report.findings]
    assert found == [(4, 1, "one_minus_activation")] * slip, report


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("slip", [False, True])
def test_a_matrix_stays_a_matrix(slip):
    """The product of two of np.matrix is A * B."""
    params = {name: np.asmatrix(value) for name, value in zip("Wb", arrays(True), strict=False)}

    def backward(params: Any, x: Any, y: Any) -> Any:
        E = (x * params["W"] + params["b"] - y) / len(x)
        return {"W": x.T * E, "b": E.mean(0) if slip else E.sum(0)}

    targets = np.asmatrix(np.cos(X @ np.ones((D, H))))
    report = fcnet.check(backward, params, np.asmatrix(X), targets, batched=True)
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(5, 1, "divided_twice")] * slip


def test_a_pair_of_a_matrix_and_a_vector_is_one_layer():
    """The vector is no layer of weights, though one unit's would have its shape."""
    for W in (np.array([[0.5, -1.0]]), np.array([[0.5, -1.0], [2.0, 0.3]])):
        x, y = np.array([3.0, 4.0]), np.ones(len(W))

        def backward(params: Any, x: Any, y: Any) -> Any:
            ((W, b),) = params
            return [(np.outer(W @ x + b - y, x), W @ x + b - y)]

        assert fcnet.check(backward, [(W, np.ones(len(W)))], x, y, weight_layout="out_in").ok


def test_other_layers_are_told_where_to_go():
    W1, b1, *_ = arrays()
    params = {"W1": W1, "b1": b1, "gamma": b1 + 1}
    with pytest.raises(TypeError, match=r"batch norm, use fcnet\.check_gradient"):
        fcnet.check(lambda params, x, y: params, params, X, Y, batched=True)


@pytest.mark.parametrize("in_rows", [False, True])
def test_neurons_of_their_own_are_told_to_be_rows(in_rows):
    """Each has a list of weights, the last of which is its bias."""
    rng = np.random.default_rng(8)
    matrices = [rng.normal(size=(H, D + 1)), rng.normal(size=(M, H + 1))]

    def rows_of(layer: Any) -> np.ndarray:
        return np.array([neuron["weights"] for neuron in layer])

    def step(network: Any, x: Any, y: Any) -> None:
        one, two = map(rows_of, network)
        a0 = np.r_[x, 1]
        a1 = np.r_[np.tanh(one @ a0), 1]
        d2 = two @ a1 - y
        d1 = (two.T @ d2)[:-1] * (1 - a1[:-1] ** 2)
        for layer, delta, a in zip(network, (d1, d2), (a0, a1), strict=True):
            for neuron, d in zip(layer, delta, strict=True):
                neuron["weights"] = list(neuron["weights"] - RATE * d * a)

    def from_rows(params: Any, x: Any, y: Any) -> Any:
        network = neurons(params)
        step(network, x, y)
        return list(map(rows_of, network))

    def neurons(matrices: Any) -> Any:
        return [[{"weights": list(row)} for row in W] for W in matrices]

    x, y = rng.normal(size=D), rng.normal(size=M)
    options: Any = {"activation": "tanh", "learning_rate": RATE}
    if in_rows:
        assert fcnet.check(from_rows, matrices, x, y, **options).ok
    else:
        with pytest.raises(ValueError, match="a row for each of its neurons"):
            fcnet.check(step, neurons(matrices), x, y, **options)


@pytest.mark.parametrize("names", [("W", "hbias", "vbias"), ("W", "b", "c")])
def test_tied_weights_are_told(names):
    """An autoencoder that decodes by the transpose of its matrix has no pair for it."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s) for s in ((4, 3), (3,), (4,))]
    x = rng.normal(size=(5, 4))
    with pytest.raises(TypeError, match=r"tied weights, use fcnet\.check_gradient"):
        fcnet.check(
            lambda params, x, y: params, dict(zip(names, arrays, strict=True)), x, x, batched=True
        )
    net = SimpleNamespace(**dict(zip(("W", "hbias", "vbias"), arrays, strict=True)))
    with pytest.raises(TypeError, match=r"tied weights, use fcnet\.check_gradient"):
        fcnet.check(lambda x, y: None, net, x, x, batched=True)


@pytest.mark.parametrize("slip", [False, True])
def test_weights_without_biases_may_be_in_out(slip):
    """A layer's attribute `weight` is (out, in) where both ways fit, as in PyTorch."""
    W1, _, W2, _ = arrays()

    def backward(params: Any, x: Any, y: Any) -> Any:
        one, two = params.values()
        dW1, _, dW2, _ = gradients(one, 0.0, two, 0.0, x, y, False)
        return {"0.weight": dW1 * (2 if slip else 1), "1.weight": dW2}

    params = {"0.weight": W1, "1.weight": W2}
    report = fcnet.check(backward, params, X, Y, batched=True, activation="tanh")
    assert [(f.line, f.layer, f.kind) for f in report.findings] == slip * [(4, 1, "factor_2")]
    square = {"0.weight": W1[:, :3], "1.weight": W2[:3, :1] @ np.ones((1, 3))}
    assert next(iter(readings_of(square))).transposed is False


def test_what_stands_for_no_layer_is_told_to_be_none():
    W1, b1, W2, b2 = arrays()
    with pytest.raises(ValueError, match="such as 0 for the input layer, must be None"):
        fcnet.check(lambda p, x, y: p, ([0, W1, W2], [0, b1, b2]), X, Y, batched=True)


def test_several_activations_are_told_where_to_go():
    several: Any = ["relu", "tanh"]
    with pytest.raises(TypeError, match="of all hidden layers; for several, write"):
        fcnet.check(lambda p, x, y: p, arrays(), X, Y, batched=True, activation=several)

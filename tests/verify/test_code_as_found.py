"""Forms of public code that `check` reads as they are; each with a slip that it names.

| form | right | with a slip |
|---|---|---|
| each of `FORMS` | right, no error | the line and the layer of the slip, nothing else |
"""

from dataclasses import make_dataclass
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import fcnet
from fcnet.arrays import overlap
from fcnet.verify.holders import holder_of

pytestmark = pytest.mark.untyped

D, H, M, RATE = 3, 4, 2, 0.5


def arrays(row_biases: bool = False) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    biases = [(1, H), (1, M)] if row_biases else [(H,), (M,)]
    return [rng.normal(size=s) for s in ((D, H), biases[0], (H, M), biases[1])]


X, Y = np.random.default_rng(4).normal(size=(5, D)), np.random.default_rng(5).normal(size=(5, M))


def gradients(
    W1: Any, b1: Any, W2: Any, b2: Any, x: Any, y: Any, slip: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """dW1, db1, dW2, db2 of z = x W + b with tanh; the slip leaves the mean out of db1."""
    a = np.tanh(x @ W1 + b1)
    d2 = (a @ W2 + b2 - y) / len(x)
    d1 = d2 @ W2.T * (1 - a**2)
    return x.T @ d1, d1.sum(0) * (len(x) if slip else 1), a.T @ d2, d2.sum(0)


class Dense:
    """A layer whose arrays are private, or in a dict of its own."""

    def __init__(self, W: np.ndarray, b: np.ndarray) -> None:
        self.weight_scale = 0.3
        self._w, self._b = W, b
        self._dw = self._db = None


def shared(slip: bool) -> tuple[Any, Any]:
    """The arrays of `params` stand in layers too, and only those are used."""
    W1, b1, W2, b2 = arrays()
    layers = {"one": SimpleNamespace(W=W1, b=b1), "two": SimpleNamespace(W=W2, b=b2)}
    net = SimpleNamespace(params={"W1": W1, "b1": b1, "W2": W2, "b2": b2}, layers=layers)

    def backward(x: Any, y: Any) -> Any:
        one, two = net.layers.values()
        g = gradients(one.W, one.b, two.W, two.b, x, y, slip)
        return dict(zip(net.params, g, strict=True))

    return net, backward


def named_by_both_sides(slip: bool) -> tuple[Any, Any]:
    """Weights have the names of two layers, biases that of one."""
    W1, b1, W2, b2 = arrays()
    net = SimpleNamespace(
        weights_input_hidden=W1, weights_hidden_output=W2, bias_hidden=b1, bias_output=b2
    )

    def backward(x: Any, y: Any) -> Any:
        net_W1, net_W2, net_b1, net_b2 = vars(net).values()
        dW1, db1, dW2, db2 = gradients(net_W1, net_b1, net_W2, net_b2, x, y, slip)
        return dW1, dW2, db1, db2

    return net, backward


def numbered_from_zero(slip: bool) -> tuple[Any, Any]:
    """w0 is the bias."""
    W1, b1, W2, b2 = arrays(row_biases=True)
    layers = [SimpleNamespace(W=W1, w0=b1), SimpleNamespace(W=W2, w0=b2)]

    def backward(x: Any, y: Any) -> Any:
        one, two = layers
        return gradients(one.W, one.w0, two.W, two.w0, x, y, slip)

    return layers, backward


def with_gaps(slip: bool) -> tuple[Any, Any]:
    """Layers without parameters have an empty list, and the gradient comes backwards."""
    W1, b1, W2, b2 = arrays(row_biases=True)
    net = SimpleNamespace(params=[[W1, b1], [], [W2, b2]])

    def backward(x: Any, y: Any) -> Any:
        one, _, two = net.params
        g = gradients(*one, *two, x, y, slip)
        return 0.0, [list(g[2:]), [], list(g[:2])]

    return net, lambda x, y: backward(x, y)[1]


def private(slip: bool) -> tuple[Any, Any]:
    """The gradients are kept in private attributes, beside a number named after the weights."""
    W1, b1, W2, b2 = arrays()
    net = SimpleNamespace(layers=[Dense(W1, b1), Dense(W2, b2)])

    def backward(x: Any, y: Any) -> None:
        one, two = net.layers
        g = gradients(one._w, one._b, two._w, two._b, x, y, slip)
        one._dw, one._db, two._dw, two._db = g

    return net, backward


def beside_a_dict(slip: bool) -> tuple[Any, Any]:
    """params["W"] of a layer has its gradient in dW of the layer."""
    W1, b1, W2, b2 = arrays()
    layers = [SimpleNamespace(params={"W": W, "b": b}) for W, b in ((W1, b1), (W2, b2))]

    def backward(x: Any, y: Any) -> None:
        one, two = layers
        g = gradients(*one.params.values(), *two.params.values(), x, y, slip)
        one.dW, one.db, two.dW, two.db = g

    return layers, backward


def pairs_of_a_list(slip: bool) -> tuple[Any, Any]:
    """The network is a list of layers, and so is the gradient, of pairs."""
    W1, b1, W2, b2 = arrays()
    layers = [SimpleNamespace(W=W1, b=b1), SimpleNamespace(W=W2, b=b2)]

    def backward(x: Any, y: Any) -> Any:
        one, two = layers
        g = gradients(one.W, one.b, two.W, two.b, x, y, slip)
        return [g[:2], g[2:]]

    return layers, backward


def with_values(slip: bool) -> tuple[Any, Any]:
    """The forward pass has kept its values in the dict of the parameters."""
    W1, b1, W2, b2 = arrays()
    net = SimpleNamespace(params={"W1": W1, "b1": b1, "W2": W2, "b2": b2, "A0": X, "Z1": X @ W1})

    def backward(x: Any, y: Any) -> Any:
        net.params |= {"A0": x, "Z1": x @ net.params["W1"]}
        W1, b1, W2, b2 = (net.params[name] for name in ("W1", "b1", "W2", "b2"))
        g = gradients(W1, b1, W2, b2, x, y, slip)
        return dict(zip(("dW1", "db1", "dW2", "db2"), g, strict=True))

    return net, backward


def flat_biases(slip: bool) -> tuple[Any, Any]:
    """Every W comes before every b, and b of shape (1, m) has a gradient of shape (m,)."""
    W1, b1, W2, b2 = arrays(row_biases=True)

    def backward(params: Any, x: Any, y: Any) -> Any:
        dW1, db1, dW2, db2 = gradients(*params.values(), x, y, slip)
        return dW1, dW2, db1, db2

    return {"W1": W1, "b1": b1, "W2": W2, "b2": b2}, backward


def beside_sums(slip: bool) -> tuple[Any, Any]:
    """Sums of gradients and velocities have the names of the parameters, with a word more."""
    W1, b1, W2, b2 = arrays()
    arrays_of = {"firstWeights": W1, "firstBiases": b1, "secondWeights": W2, "secondBiases": b2}
    others = {f"{name}{word}": 0 * a for name, a in arrays_of.items() for word in ("Sums", "Velo")}
    net = SimpleNamespace(**arrays_of, **others)

    def backward(x: Any, y: Any) -> Any:
        return gradients(*(getattr(net, name) for name in arrays_of), x, y, slip)

    return net, backward


def in_singular(slip: bool) -> tuple[Any, Any]:
    """Gradients are in weight_grads and bias_grads; the last layer has weights without numbers."""
    W1, b1, W2, b2 = arrays()
    layers = [SimpleNamespace(weights=W, biases=b) for W, b in ((W1, b1), (W2, b2))]
    layers.append(SimpleNamespace(weights=np.array([])))

    def backward(x: Any, y: Any) -> None:
        one, two, _ = layers
        g = gradients(one.weights, one.biases, two.weights, two.biases, x, y, slip)
        one.weight_grads, one.bias_grads, two.weight_grads, two.bias_grads = g

    return layers, backward


def beside_its_loss(slip: bool) -> tuple[Any, Any]:
    """Gradients are kept in dW and db for weights and biases, and the loss is returned."""
    W1, b1, W2, b2 = arrays(row_biases=True)
    net = SimpleNamespace(weights=[W1, W2], biases=[b1, b2], dW=[], db=[])

    def backward(x: Any, y: Any) -> float:
        (W1, W2), (b1, b2) = net.weights, net.biases
        dW1, db1, dW2, db2 = gradients(W1, b1, W2, b2, x, y, slip)
        net.dW, net.db = [dW1, dW2], [db1[None], db2[None]]
        return float(((np.tanh(x @ W1 + b1) @ W2 + b2 - y) ** 2).sum() / (2 * len(x)))

    return net, backward


def beside_that_of_x(slip: bool) -> tuple[Any, Any]:
    """Gradients are kept in w_gradient and b_gradient, and that of x is returned."""
    W1, b1, W2, b2 = arrays()
    layers = [SimpleNamespace(weights=W, bias=b) for W, b in ((W1, b1), (W2, b2))]

    def backward(x: Any, y: Any) -> np.ndarray:
        one, two = layers
        g = gradients(one.weights, one.bias, two.weights, two.bias, x, y, slip)
        one.w_gradient, one.b_gradient, two.w_gradient, two.b_gradient = g
        return np.zeros_like(x)

    return layers, backward


def with_settings(slip: bool) -> tuple[Any, Any]:
    """A dict params holds the settings of the training."""
    W1, b1, W2, b2 = arrays()
    layers = [SimpleNamespace(weights=W, bias=b) for W, b in ((W1, b1), (W2, b2))]
    net = SimpleNamespace(params={"lr": 0.1, "batch_size": 5, "optimizer": "sgd"}, layers=layers)

    def backward(x: Any, y: Any) -> Any:
        one, two = net.layers
        return gradients(one.weights, one.bias, two.weights, two.bias, x, y, slip)

    return net, backward


def with_letters(slip: bool) -> tuple[Any, Any]:
    """Weights and biases have the letters of their layers."""
    names = ("Wih", "bh", "Who", "bo")
    net = SimpleNamespace(**dict(zip(names, arrays(), strict=True)), by=None)

    def backward(x: Any, y: Any) -> Any:
        return gradients(net.Wih, net.bh, net.Who, net.bo, x, y, slip)

    return net, backward


def by_the_loss(slip: bool) -> tuple[Any, Any]:
    """Gradients are dLdW and dLdW0, beside W and W0."""
    W1, b1, W2, b2 = arrays(row_biases=True)
    modules = [SimpleNamespace(W=W, W0=b) for W, b in ((W1, b1), (W2, b2))]
    net = SimpleNamespace(modules=modules)

    def backward(x: Any, y: Any) -> None:
        one, two = net.modules
        g = gradients(one.W, one.W0, two.W, two.W0, x, y, slip)
        one.dLdW, one.dLdW0, two.dLdW, two.dLdW0 = g

    return net, backward


def with_letters_of_its_own(slip: bool) -> tuple[Any, Any]:
    """W and w0, V and v0: which is which shows in the shapes."""
    names = ("W", "w0", "V", "v0")

    def backward(params: Any, x: Any, y: Any) -> Any:
        g = gradients(*(params[name] for name in names), x, y, slip)
        return dict(zip(names, g, strict=True))

    return dict(zip(names, arrays(), strict=True)), backward


def with_weights_of_the_bias(slip: bool) -> tuple[Any, Any]:
    """Layers have w and wb, and keep grad_w and grad_wb."""
    W1, b1, W2, b2 = arrays()
    net = SimpleNamespace(layers=[SimpleNamespace(w=W1, wb=b1), SimpleNamespace(w=W2, wb=b2)])

    def backward(x: Any, y: Any) -> None:
        one, two = net.layers
        g = gradients(one.w, one.wb, two.w, two.wb, x, y, slip)
        one.grad_w, one.grad_wb, two.grad_w, two.grad_wb = g

    return net, backward


def in_one_vector(slip: bool) -> tuple[Any, Any]:
    """A method returns one vector, as for an optimiser of SciPy."""
    net = SimpleNamespace(**dict(zip(("W1", "b1", "W2", "b2"), arrays(), strict=True)))

    def backward(x: Any, y: Any) -> Any:
        return np.concatenate(
            [g.ravel() for g in gradients(net.W1, net.b1, net.W2, net.b2, x, y, slip)]
        )

    return net, backward


class Array(np.ndarray):
    """An array that may have attributes, as tensors may."""


def on_the_arrays(slip: bool) -> tuple[Any, Any]:
    """Each gradient is kept in an attribute of its array; the loss is returned."""
    held = (array.view(Array) for array in arrays())
    net = SimpleNamespace(**dict(zip(("w1", "b1", "w2", "b2"), held, strict=True)))

    def backward(x: Any, y: Any) -> Any:
        own = (net.w1, net.b1, net.w2, net.b2)
        for array, g in zip(own, gradients(*own, x, y, slip), strict=True):
            array.g = np.asarray(g)
        o = np.tanh(x @ net.w1 + net.b1) @ net.w2 + net.b2
        return ((o - y) ** 2).sum() / (2 * len(x))

    return net, backward


FORMS = (
    *(shared, named_by_both_sides, numbered_from_zero, with_gaps, private, beside_a_dict),
    *(pairs_of_a_list, with_values, flat_biases, beside_sums, in_singular),
    *(beside_its_loss, beside_that_of_x, with_settings, with_letters, by_the_loss),
    *(with_letters_of_its_own, with_weights_of_the_bias, in_one_vector, on_the_arrays),
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("slip", [False, True])
def test_code_is_read_as_it_is(form, slip):
    params, backward = form(slip)
    report = fcnet.check(backward, params, X, Y, batched=True, activation="tanh")
    assert report.verdict == ("wrong" if slip else "right"), report
    errors = [(f.line, f.layer, f.kind) for f in report.findings if f.severity == "error"]
    assert errors == [(5, 1, "sum_for_mean")] * slip


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


NAMES = ("dW1", "db1", "dW2", "db2")
RESULTS = {
    "zip": lambda loss, g: zip(g[::2], g[1::2], strict=True),
    "map": lambda loss, g: map(np.copy, g),
    "generator": lambda loss, g: (array for array in g),
    "loss and reversed": lambda loss, g: (loss, reversed(g[::-1])),
    "values": lambda loss, g: dict(zip(NAMES, g, strict=True)).values(),
    "namespace": lambda loss, g: SimpleNamespace(**dict(zip(NAMES, g, strict=True))),
    "loss and dataclass": lambda loss, g: (loss, make_dataclass("Grads", NAMES)(*g)),
    "array of arrays": lambda loss, g: of_objects(g),
    "has_aux": lambda loss, g: ((loss, {"accuracy": 0.5}), list(g)),
}
"""Results, from a loss and the four arrays."""


def of_objects(values: Any) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("slip", [False, True])
def test_a_result_may_be_wrapped(name, slip):
    def backward(params: Any, x: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        loss = ((np.tanh(x @ W1 + b1) @ W2 + b2 - y) ** 2).sum() / (2 * len(x))
        return RESULTS[name](loss, gradients(*params, x, y, slip))

    report = fcnet.check(backward, arrays(), X, Y, batched=True, activation="tanh")
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(5, 1, "sum_for_mean")] * slip


def test_a_wrong_loss_beside_other_results_is_found():
    def backward(params: Any, x: Any, y: Any) -> Any:
        return (1.0, {"accuracy": 0.5}), gradients(*params, x, y, False)

    report = fcnet.check(backward, arrays(), X, Y, batched=True, activation="tanh")
    assert [f.kind for f in report.findings] == ["forward_differs"]


@pytest.mark.parametrize("slip", [False, True])
def test_parameters_may_be_arrays_of_objects(slip):
    """So that a step can be written as params - rate * gradient."""

    def step(params: Any, x: Any, y: Any) -> Any:
        return params - RATE * of_objects(gradients(*params, x, y, slip))

    params = of_objects(arrays())
    options: Any = {"batched": True, "activation": "tanh", "learning_rate": RATE}
    report = fcnet.check(step, params, X, Y, **options)
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(5, 1, "sum_for_mean")] * slip


@pytest.mark.parametrize(("slope", "side"), [(0.1, "below"), (1.0, "above"), (0.55, "middle")])
def test_the_slope_at_a_kink_of_another_activation_is_told(slope, side):
    leaky = fcnet.Activation(
        "leaky", lambda z: jnp.where(z > 0, z, 0.1 * z), lambda z: jnp.where(z > 0, 1.0, 0.1)
    )

    def backward(params: Any, x: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        z = x @ W1 + b1
        a = np.where(z > 0, z, 0.1 * z)
        d2 = (a @ W2 + b2 - y) / len(x)
        d1 = d2 @ W2.T * np.select([z > 0, z < 0], [1, 0.1], slope)
        return x.T @ d1, d1.sum(0), a.T @ d2, d2.sum(0)

    report = fcnet.check(backward, arrays(), X, Y, batched=True, activation=leaky)
    assert report.ok, report
    (note,) = report.notes
    assert side in note
    assert "ReLU" not in note


def test_labels_of_two_signs_are_no_numbers_of_classes():
    """Plus y, with y in -1, 1, is no label that is subtracted."""
    signs = np.where(Y[:, :1] > 0, 1.0, -1.0)
    options: Any = {"batched": True, "activation": "tanh"}
    with pytest.raises(ValueError, match="for labels -1 and 1, pass a"):
        fcnet.check(
            lambda p, x, y: p, arrays()[:2], X, np.ones((5, H)) - 2, loss="logistic", batched=True
        )
    margin = fcnet.Loss(
        "margin",
        lambda o, y: jnp.log1p(jnp.exp(-y * o)).sum(),
        lambda o, y: -y / (1 + jnp.exp(y * o)),
    )

    def backward(params: Any, x: Any, y: Any) -> Any:
        W, b = params
        d = -y / (1 + np.exp(-y * (x @ W + b))) / len(x)  # exp(y o) is right
        return x.T @ d, d.sum(0)

    report = fcnet.check(backward, [X[:D, :1], X[0, :1]], X, signs, loss=margin, **options)
    assert not report.ok
    assert not any("label" in finding.message for finding in report.findings), report


@pytest.mark.parametrize("slip", [False, True])
def test_one_neuron_may_have_its_bias_in_an_array(slip):
    def backward(params: Any, x: Any, y: Any) -> Any:
        e = (x @ params["w"] + params["b"] - y) / len(x)
        return {"w": x.T @ e, "b": np.array([e.mean() if slip else e.sum()])}

    params = {"w": X[0], "b": np.zeros(1)}
    report = fcnet.check(backward, params, X, Y[:, 0], batched=True)
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(5, 1, "divided_twice")] * slip


def test_a_network_of_other_layers_is_no_network_of_pairs():
    W1, b1, *_ = arrays()
    net = SimpleNamespace(params={"W1": W1, "b1": b1, "gamma": b1 + 1, "beta": b1 - 1})
    with pytest.raises(TypeError, match=r"params\.gamma"):
        fcnet.check(lambda x, y: None, net, X, Y, batched=True)


def test_arrays_of_the_same_numbers_are_not_shared():
    W1, b1, *_ = arrays()
    net = SimpleNamespace(params={"W1": W1, "b1": b1}, cache=[W1, W1.copy()])
    assert holder_of(net).aliases == {("cache", 0): ("params", "W1")}


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


def test_numbers_share_no_memory():
    one, other = np.float64(0.5), np.float64(0.5)
    assert not overlap(one, other)
    array = np.zeros(3)
    assert overlap(array, array[1:])


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
def test_differences_of_parameters_are_not_blamed_beside_a_wrong_array(slip):
    """A training step seen as a gradient has lost digits in every array."""

    def step(params: Any, x: Any, y: Any) -> Any:
        g = dict(zip(params, gradients(*params.values(), x, y, slip), strict=True))
        after = {name: value - 0.01 * g[name] for name, value in params.items()}
        return {name: (value - after[name]) / 0.01 for name, value in params.items()}

    def loss(params: Any, x: Any, y: Any) -> Any:
        W1, b1, W2, b2 = (params[name] for name in ("W1", "b1", "W2", "b2"))
        return jnp.sum((jnp.tanh(x @ W1 + b1) @ W2 + b2 - y) ** 2) / (2 * len(x))

    params = dict(zip(("W1", "b1", "W2", "b2"), arrays(), strict=True))
    report = fcnet.check_gradient(step, loss, params, X, Y)
    errors = [f.message for f in report.findings if f.severity == "error"]
    assert [message.split("'")[1] for message in errors] == ["b1"] * slip
    assert report.ok != slip


@pytest.mark.parametrize("target", ["x", "y"])
@pytest.mark.parametrize("slip", [False, True])
def test_an_autoencoder_may_use_its_examples_for_targets(target, slip):
    rng = np.random.default_rng(6)
    params = [rng.normal(size=s) for s in ((D, H), (H,), (H, D), (D,))]

    def backward(params: Any, x: Any, y: Any) -> Any:
        return gradients(*params, x, {"x": x, "y": y}[target], slip)

    report = fcnet.check(backward, params, X, X, batched=True, activation="tanh")
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(5, 1, "sum_for_mean")] * slip


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


@pytest.mark.parametrize(("c", "words"), [(2, "twice the loss"), (2 / 3, "the mean of"), (5, "")])
def test_a_note_says_how_to_pass_another_loss(c, words):
    def backward(params: Any, x: Any, y: Any) -> Any:
        W, b = params
        E = c * (x @ W + b - y) / len(x)
        return x.T @ E, E.sum(0)

    rng = np.random.default_rng(8)
    params = [rng.normal(size=(D, 3)), rng.normal(size=3)]
    report = fcnet.check(backward, params, X, rng.normal(size=(5, 3)), batched=True)
    notes = [note for note in report.notes if "fcnet.Loss" in note]
    assert not report.ok
    assert len(notes) == (words != "")
    assert all(words in note for note in notes)


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


@pytest.mark.parametrize("slip", [False, True])
def test_biases_that_are_subtracted_are_told(slip):
    """As thresholds are: z = x W - b."""

    def backward(params: Any, x: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        dW1, db1, dW2, db2 = gradients(W1, -b1, W2, -b2, x, y, slip)
        return dW1, -db1, dW2, -db2

    report = fcnet.check(backward, arrays(), X, Y, batched=True, activation="tanh")
    told = [finding.message for finding in report.findings if "z = W a - b" in finding.message]
    assert not report.ok
    assert len(told) == 1
    assert len(report.findings) == 1 + slip
    assert not any(finding.kind == "unknown" for finding in report.findings)


@pytest.mark.parametrize("slip", [False, True])
@pytest.mark.parametrize("factor", [0, 1])
def test_biases_that_are_not_used_are_told(factor, slip):
    """They stand in the params, and their gradient is 0, or what it would be."""

    def backward(params: Any, x: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        dW1, db1, dW2, db2 = gradients(W1, 0 * b1, W2, 0 * b2, x, y, False)
        return (-dW1 if slip else dW1), factor * db1, dW2, factor * db2

    report = fcnet.check(backward, arrays(), X, Y, batched=True, activation="tanh")
    first, *others = report.findings
    assert not report.ok
    assert "the biases are not used" in first.message
    place = (5, "dW", 1) if factor else (4, "delta", 1)  # without a db, dW shows delta
    assert [finding[:4] for finding in others] == [(*place, "sign")] * slip


def test_one_bias_that_is_used_is_not_told_as_unused():
    def backward(params: Any, x: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        dW1, db1, dW2, db2 = gradients(W1, 0 * b1, W2, b2, x, y, False)
        return -dW1, 0 * db1, dW2, 0 * db2

    report = fcnet.check(backward, arrays(), X, Y, batched=True, activation="tanh")
    assert not report.ok
    assert not any("the biases are not used" in finding.message for finding in report.findings)


def test_a_delta_that_depends_on_no_output_is_not_told_as_unused_biases():
    def backward(params: Any, x: Any, y: Any) -> Any:
        return -x.T @ y / len(x), -y.mean(0)

    report = fcnet.check(backward, [X[:D, :M], X[0, :M]], X, Y, batched=True)
    assert not report.ok
    assert not any("the biases are not used" in finding.message for finding in report.findings)


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


def test_weights_may_be_named_by_letters_of_both_layers():
    """wih and who, in a step in place whose layout is open and that returns its errors."""
    rng = np.random.default_rng(9)
    net = SimpleNamespace(wih=rng.normal(size=(H, H + 1)), who=rng.normal(size=(M, H + 1)))

    def step(x: Any, y: Any, slip: bool = False) -> Any:
        a0 = np.r_[1, x]
        a1 = np.r_[1, np.tanh(net.wih @ a0)]
        d2 = net.who @ a1 - y
        d1 = (net.who.T @ d2)[1:] * (1 - a1[1:] if slip else 1 - a1[1:] ** 2)
        net.who -= RATE * np.outer(d2, a1)
        net.wih -= RATE * np.outer(d1, a0)
        return np.array([d2 @ d2])

    x, y = rng.normal(size=H), rng.normal(size=M)
    options: Any = {"activation": "tanh", "learning_rate": RATE}
    assert fcnet.check(lambda x, y: step(x, y), net, x, y, **options).ok
    report = fcnet.check(lambda x, y: step(x, y, True), net, x, y, **options)
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(4, 1, "one_minus_activation")]


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


@pytest.mark.parametrize("slip", [False, True])
def test_a_bias_may_start_as_the_whole_number_0(slip):
    """It becomes an array in the first step."""

    class Net:
        def __init__(self) -> None:
            self.__W, self.__b = np.random.default_rng(6).normal(size=(1, D)), 0

        def step(self, x: Any, y: Any) -> None:
            d = (self.__W @ x.T + self.__b - y.T) / len(x)
            self.__W = self.__W - RATE * d @ x
            self.__b = self.__b - RATE * d.sum(1, keepdims=True) * (2 if slip else 1)

    net = Net()
    report = fcnet.check(net.step, net, X, Y[:, :1], batched=True, learning_rate=RATE)
    assert [(f.line, f.kind) for f in report.findings] == slip * [(5, "factor_2")], report
    if slip:
        assert "your __b" in report.findings[0].message


def test_arrays_of_whole_numbers_in_an_object_are_refused_in_words():
    W1, _, W2, b2 = arrays()
    net = SimpleNamespace(W1=W1, b1=np.zeros(H, int), W2=W2, b2=b2)
    with pytest.raises(TypeError, match=r"b1 must be floating.*astype\(float\)"):
        fcnet.check(lambda x, y: None, net, X, Y, batched=True)


def test_arrays_with_names_of_their_own_are_told_where_the_shapes_do_not_fit():
    W1, b1, W2, b2 = arrays()
    net = SimpleNamespace(W=W1, w0=b1, V=W2, v0=b2, hidden=7)
    with pytest.raises(ValueError, match=r"has V \(4, 2\) too, not taken for parameters"):
        fcnet.check(lambda x, y: None, net, X, Y, batched=True)


@pytest.mark.parametrize("slip", [False, True])
def test_examples_may_be_tables_of_pandas(slip):
    pandas = pytest.importorskip("pandas")
    x, y = pandas.DataFrame(X, columns=list("abc")), pandas.Series(Y[:, 0], name="y")

    def backward(params: Any, x: Any, y: Any) -> Any:
        d = (x[list("abc")] @ params["w"] + params["b"] - y) / len(y)
        return {"w": x.T @ d, "b": d.sum() * (2 if slip else 1)}

    report = fcnet.check(backward, {"w": X[0], "b": 0.5}, x, y, batched=True)
    assert [(f.line, f.kind) for f in report.findings] == slip * [(5, "factor_2")], report
    text = pandas.DataFrame({"a": ["one"]})
    with pytest.raises(TypeError, match="got DataFrame"):
        fcnet.check(backward, {"w": X[0], "b": 0.5}, text, y, batched=True)


@pytest.mark.parametrize("root", [np.abs, lambda g: np.sqrt(0.1 * g**2) + 1e-8])
def test_a_step_of_adam_is_told(root):
    def step(params: Any, x: Any, y: Any) -> None:
        for array, g in zip(params, gradients(*params, x, y, False), strict=True):
            array -= RATE * g / root(g)

    report = fcnet.check(step, arrays(), X, Y, batched=True, activation="tanh", learning_rate=RATE)
    assert [f.kind for f in report.findings] == ["adaptive_step"], report


def norm_of(arrays: Any) -> Any:
    return np.sqrt(sum((array**2).sum() for array in arrays))


CLIPPING = {
    "clipped": lambda g: [np.clip(array, -0.1, 0.1) for array in g],
    "clipped_norm": lambda g: [array * min(1, 0.5 / (norm_of(g) + 1e-6)) for array in g],
    "zero": lambda g: [0 * array for array in g],
}


@pytest.mark.parametrize("kind", CLIPPING)
def test_a_gradient_that_is_clipped_is_told(kind):
    def backward(params: Any, x: Any, y: Any) -> Any:
        return CLIPPING[kind](gradients(*params, x, y, False))

    report = fcnet.check(backward, arrays(), X, Y, batched=True, activation="tanh")
    assert {f.kind for f in report.findings} == {kind}, report
    assert len(report.findings) == 1 or kind == "zero"

    def function(params: Any, x: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        return ((jnp.tanh(x @ W1 + b1) @ W2 + b2 - y) ** 2).sum() / (2 * len(x))

    report = fcnet.check_gradient(backward, function, arrays(), X, Y)
    assert [f.kind for f in report.findings] == [kind], report


def test_labels_that_count_from_1_are_told_what_to_do():
    with pytest.raises(ValueError, match=r"integers from 1 to 2 \(for labels that count from 1"):
        fcnet.check(lambda params, x, y: None, arrays(), X, np.array([1, 2, 2, 1, 1]), batched=True)


@pytest.mark.parametrize("batched", [True, False])
def test_a_step_for_each_example_is_told(batched):
    """As fit does that goes through the rows; of one example it is right."""

    def step(params: Any, x: Any, y: Any) -> None:
        for row, target in zip(np.atleast_2d(x), np.atleast_2d(y), strict=True):
            g = gradients(*params, row[None], target[None], False)
            for array, dW in zip(params, g, strict=True):
                array -= RATE * dW

    x, y = (X, Y) if batched else (X[0], Y[0])
    options: Any = {"activation": "tanh", "learning_rate": RATE, "batched": batched}
    report = fcnet.check(step, arrays(), x, y, **options)
    assert [f.kind for f in report.findings] == batched * ["online_steps"], report


@pytest.mark.parametrize(("order", "kinds"), [("C", []), ("F", ["leaf_order"])])
def test_a_vector_of_gradients_in_another_order_is_told(order, kinds):
    """A bias column makes each matrix, and a penalty leaves the biases out."""
    rng = np.random.default_rng(8)
    theta, c = rng.normal(size=H * (D + 1) + M * (H + 1)), 0.3

    def backward(theta: Any, x: Any, y: Any) -> Any:
        one, two = theta[: H * (D + 1)].reshape(H, D + 1), theta[H * (D + 1) :].reshape(M, H + 1)
        a0 = np.c_[np.ones(len(x)), x]
        a1 = np.c_[np.ones(len(x)), np.tanh(a0 @ one.T)]
        d2 = (a1 @ two.T - y) / len(x)
        d1 = (d2 @ two)[:, 1:] * (1 - a1[:, 1:] ** 2)
        weights = [np.c_[np.zeros(len(W)), W[:, 1:]] for W in (one, two)]
        g1, g2 = d1.T @ a0 + c * weights[0], d2.T @ a1 + c * weights[1]
        loss = ((a1 @ two.T - y) ** 2).sum() / (2 * len(x))
        loss += c / 2 * sum((W**2).sum() for W in weights)
        return loss, np.r_[g1.ravel(order), g2.ravel(order)]

    options: Any = {"sizes": (D, H, M), "activation": "tanh", "batched": True, "l2": c}
    report = fcnet.check(backward, theta, X, Y, **options)
    assert [f.kind for f in report.findings] == kinds, report


def test_a_pair_of_a_matrix_and_a_vector_is_one_layer():
    """The vector is no layer of weights, though one unit's would have its shape."""
    for W in (np.array([[0.5, -1.0]]), np.array([[0.5, -1.0], [2.0, 0.3]])):
        x, y = np.array([3.0, 4.0]), np.ones(len(W))

        def backward(params: Any, x: Any, y: Any) -> Any:
            ((W, b),) = params
            return [(np.outer(W @ x + b - y, x), W @ x + b - y)]

        assert fcnet.check(backward, [(W, np.ones(len(W)))], x, y, weight_layout="out_in").ok

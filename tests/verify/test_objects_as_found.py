"""Objects and dicts of public code that `check` reads as they are; each with a slip that it names.

| form | right | with a slip |
|---|---|---|
| each of `FORMS` | right, no error | the line and the layer of the slip, nothing else |
"""

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.tanh_network import RATE, D, H, M, X, Y, arrays, gradients

import fcnet
from fcnet.arrays import overlap
from fcnet.verify.holders import holder_of

pytestmark = pytest.mark.untyped


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


def with_capitals(slip: bool) -> tuple[Any, Any]:
    """gradWeight and gradBias stand beside weight and bias."""
    W1, b1, W2, b2 = arrays()
    layers = [SimpleNamespace(weight=W1, bias=b1), SimpleNamespace(weight=W2, bias=b2)]

    def backward(x: Any, y: Any) -> None:
        one, two = layers
        g = gradients(one.weight, one.bias, two.weight, two.bias, x, y, slip)
        one.gradWeight, one.gradBias, two.gradWeight, two.gradBias = g

    return layers, backward


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


def in_a_dict_of_any_name(slip: bool) -> tuple[Any, Any]:
    """The arrays stand in `model`, and the sums of an optimiser have the same keys."""
    names = ("W1", "b1", "W2", "b2")
    velocity = dict(zip(names, arrays(), strict=True))
    net = SimpleNamespace(
        momentum_history=velocity, model=dict(zip(names, arrays(), strict=True)), memory={}
    )

    def backward(x: Any, y: Any) -> Any:
        return dict(zip(names, gradients(*net.model.values(), x, y, slip), strict=True))

    return net, backward


def beside_a_list(slip: bool) -> tuple[Any, Any]:
    """`params` and `grads` are lists of the arrays that the layers hold too."""
    W1, b1, W2, b2 = arrays()
    net = SimpleNamespace(layers=[SimpleNamespace(W=W1, b=b1), SimpleNamespace(W=W2, b=b2)])
    net.params, net.grads = [W1, b1, W2, b2], [np.zeros_like(a) for a in (W1, b1, W2, b2)]

    def backward(x: Any, y: Any) -> None:
        own = [array for layer in net.layers for array in (layer.W, layer.b)]
        for kept, g in zip(net.grads, gradients(*own, x, y, slip), strict=True):
            kept[...] = g

    return net, backward


def misspelt(slip: bool) -> tuple[Any, Any]:
    """Some names have a slip of the pen, and the gradients are `_upd`."""
    W1, b1, W2, b2 = arrays()
    net = SimpleNamespace(weights_ih=W1, weigths_ho=W2, bias_ih=b1, bias_ho=b2, weights_upd=W1 * 0)

    def backward(x: Any, y: Any) -> Any:
        own = (net.weights_ih, net.bias_ih, net.weigths_ho, net.bias_ho)
        dW1, db1, dW2, db2 = gradients(*own, x, y, slip)
        return dW1, dW2, db1, db2

    return net, backward


def after_none(slip: bool) -> tuple[Any, Any]:
    """A list whose places are the layers: the first, for the inputs, has no matrix."""
    W1, b1, W2, b2 = arrays()
    matrices = [None, np.vstack([b1, W1]).T, np.vstack([b2, W2]).T]

    def backward(params: Any, x: Any, y: Any) -> Any:
        own = [array for A in params[1:] for array in (A[:, 1:].T, A[:, 0])]
        dW1, db1, dW2, db2 = gradients(*own, x, y, slip)
        return [None, np.vstack([db1, dW1]).T, np.vstack([db2, dW2]).T]

    return matrices, backward


def of_lists(slip: bool, placeholder: Any = None) -> tuple[Any, Any]:
    """A pair of lists whose places are the layers: the first, for the inputs, has no arrays."""
    W1, b1, W2, b2 = arrays()

    def backward(params: Any, x: Any, y: Any) -> Any:
        (_, *W), (_, *b) = params
        dW1, db1, dW2, db2 = gradients(W[0], b[0], W[1], b[1], x, y, slip)
        return [placeholder, dW1, dW2], [placeholder, db1, db2]

    return ([placeholder, W1, W2], [placeholder, b1, b2]), backward


of_lists_with_nan = functools.partial(of_lists, placeholder=np.nan)
of_lists_with_empty_arrays = functools.partial(of_lists, placeholder=np.array([]))


def after_nan(slip: bool) -> tuple[Any, Any]:
    """Lists of an object whose places are the layers: the first, for the inputs, is nan."""
    W1, b1, W2, b2 = arrays()
    net = SimpleNamespace(weights=[np.nan, W1, W2], biases=[np.nan, b1, b2])

    def backward(x: Any, y: Any) -> None:
        own = [array for k in (1, 2) for array in (net.weights[k], net.biases[k])]
        dW1, db1, dW2, db2 = gradients(*own, x, y, slip)
        net.dweights, net.dbiases = [np.nan, dW1, dW2], [np.nan, db1, db2]

    return net, backward


def of_one_network(slip: bool) -> tuple[Any, Any]:
    """Each array has an axis of length 1 for the networks, of which there is one."""

    def backward(params: Any, x: Any, y: Any) -> Any:
        return [g[None] for g in gradients(*(array[0] for array in params), x, y, slip)]

    return [array[None] for array in arrays()], backward


def with_letters_of_x_and_y(slip: bool) -> tuple[Any, Any]:
    """The input and the output are layers x and y."""
    names = ("Wxh", "bh", "Why", "by")
    net = SimpleNamespace(**dict(zip(names, arrays(), strict=True)))

    def backward(x: Any, y: Any) -> Any:
        return gradients(net.Wxh, net.bh, net.Why, net.by, x, y, slip)

    return net, backward


def with_another_word(slip: bool) -> tuple[Any, Any]:
    """Gradients are dW_curr and db_curr, beside earlier ones and the numbers of a penalty."""
    W1, b1, W2, b2 = arrays()
    settings = {"w_l2": 0.1, "b_l2": 0}
    layers = [SimpleNamespace(W=W, b=b, dW_prev=0 * W, **settings) for W, b in ((W1, b1), (W2, b2))]
    net = SimpleNamespace(layers=layers)

    def backward(x: Any, y: Any) -> None:
        one, two = net.layers
        g = gradients(one.W, one.b, two.W, two.b, x, y, slip)
        one.dW_curr, one.db_curr, two.dW_curr, two.db_curr = g

    return net, backward


def beside_its_accuracy(slip: bool) -> tuple[Any, Any]:
    """The gradients are in a dict of their own; the loss and the accuracy are returned."""
    names = ("W1", "b1", "W2", "b2")
    net = SimpleNamespace(weights=dict(zip(names, arrays(), strict=True)), gradients={})

    def backward(x: Any, y: Any) -> Any:
        W1, b1, W2, b2 = net.weights.values()
        g = gradients(W1, b1, W2, b2, x, y, slip)
        net.gradients = dict(zip(names, g, strict=True))
        loss = ((np.tanh(x @ W1 + b1) @ W2 + b2 - y) ** 2).sum() / (2 * len(x))
        return float(loss), 0.5

    return net, backward


def of_modules(slip: bool) -> tuple[Any, Any]:
    """`_parameters` of a layer is its matrix, beside `_bias`; the gradients stand beside them."""
    W1, b1, W2, b2 = arrays()
    layers = [SimpleNamespace(_parameters=W, _bias=b) for W, b in ((W1, b1), (W2, b2))]

    def backward(x: Any, y: Any) -> None:
        one, two = layers
        g = gradients(one._parameters, one._bias, two._parameters, two._bias, x, y, slip)
        one._gradient, one._bias_grad, two._gradient, two._bias_grad = g

    return layers, backward


def beside_deltas(slip: bool) -> tuple[Any, Any]:
    """The gradients stand in one dict with deltas, by the keys of the parameters' dict."""
    names = ("w1", "b1", "w2", "b2")
    net = SimpleNamespace(parameters=dict(zip(names, arrays(), strict=True)))

    def backward(x: Any, y: Any) -> Any:
        g = gradients(*net.parameters.values(), x, y, slip)
        return {"dz2": y, "dz1": x, **dict(zip(("dw1", "db1", "dw2", "db2"), g, strict=True))}

    return net, backward


def beside_sums_of_a_batch(slip: bool) -> tuple[Any, Any]:
    """Each layer adds up its gradients in gradient_acc and bias_acc."""
    W1, b1, W2, b2 = arrays()
    layers = [
        SimpleNamespace(W=W, bias=b, gradient_acc=0 * W, bias_acc=0 * b)
        for W, b in ((W1, b1), (W2, b2))
    ]

    def backward(x: Any, y: Any) -> Any:
        one, two = layers
        return gradients(one.W, one.bias, two.W, two.bias, x, y, slip)

    return layers, backward


def beside_numbers_of_adam(slip: bool) -> tuple[Any, Any]:
    """_AdamBETA1 is a number of the optimiser, and B no word of its name."""
    W1, b1, W2, b2 = arrays()
    net = SimpleNamespace(
        _weights=[np.vstack([W1, b1]), np.vstack([W2, b2])], _AdamBETA1=0.9, _AdamBETA2=0.999
    )

    def backward(x: Any, y: Any) -> Any:
        own = [array for A in net._weights for array in (A[:-1], A[-1])]
        dW1, db1, dW2, db2 = gradients(*own, x, y, slip)
        return [np.vstack([dW1, db1]), np.vstack([dW2, db2])]

    return net, backward


def of_private_gradients(slip: bool) -> tuple[Any, Any]:
    """The gradient of W is _dW, and that of b is _gradient_b."""
    W1, b1, W2, b2 = arrays()
    layers = [SimpleNamespace(W=W, b=b, _dW=None) for W, b in ((W1, b1), (W2, b2))]

    def backward(x: Any, y: Any) -> None:
        one, two = layers
        g = gradients(one.W, one.b, two.W, two.b, x, y, slip)
        one._dW, one._gradient_b, two._dW, two._gradient_b = g

    return layers, backward


def of_two_private_dicts(slip: bool) -> tuple[Any, Any]:
    """_gradient of a layer has the keys of its _parameters."""
    W1, b1, W2, b2 = arrays()
    layers = [SimpleNamespace(_parameters={"W": W, "b": b}) for W, b in ((W1, b1), (W2, b2))]

    def backward(x: Any, y: Any) -> None:
        own = [array for layer in layers for array in layer._parameters.values()]
        dW1, db1, dW2, db2 = gradients(*own, x, y, slip)
        for layer, dW, db in zip(layers, (dW1, dW2), (db1, db2), strict=True):
            layer._gradient = {"W": dW, "b": db}

    return layers, backward


def of_wrapped_parameters(slip: bool) -> tuple[Any, Any]:
    """A parameter only wraps a node, which has its value and its gradient."""
    nodes = [SimpleNamespace(value=array, grad=None) for array in arrays()]
    W1, b1, W2, b2 = (SimpleNamespace(node=node) for node in nodes)
    layers = [SimpleNamespace(weights=W, biases=b) for W, b in ((W1, b1), (W2, b2))]

    def backward(x: Any, y: Any) -> None:
        found = gradients(*(node.value for node in nodes), x, y, slip)
        for node, g in zip(nodes, found, strict=True):
            node.grad = g

    return layers, backward


def in_spanish(slip: bool) -> tuple[Any, Any]:
    W1, b1, W2, b2 = arrays()
    red = SimpleNamespace(pesos=[W1, W2], sesgos=[b1, b2])

    def backward(x: Any, y: Any) -> Any:
        own = [array for k in (0, 1) for array in (red.pesos[k], red.sesgos[k])]
        dW1, db1, dW2, db2 = gradients(*own, x, y, slip)
        return [dW1, dW2], [db1, db2]

    return red, backward


FORMS = (
    *(of_private_gradients, of_two_private_dicts, of_wrapped_parameters, in_spanish),
    *(
        beside_its_accuracy,
        of_modules,
        beside_numbers_of_adam,
        beside_deltas,
        beside_sums_of_a_batch,
    ),
    *(of_lists, of_lists_with_nan, of_lists_with_empty_arrays, after_nan, of_one_network),
    *(with_letters_of_x_and_y, with_another_word),
    *(in_a_dict_of_any_name, beside_a_list, misspelt, after_none),
    *(shared, named_by_both_sides, numbered_from_zero, with_gaps, private, beside_a_dict),
    *(pairs_of_a_list, with_values, flat_biases, beside_sums, in_singular),
    *(beside_its_loss, beside_that_of_x, with_settings, with_letters, by_the_loss, with_capitals),
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


@pytest.mark.parametrize("slip", [False, True])
def test_a_bias_beside_the_matrix_params_is_a_parameter(slip):
    """It was left as each step had made it, and the step then called random."""
    W1, b1, W2, b2 = arrays()
    layers = [SimpleNamespace(params=W, bias=b) for W, b in ((W1, b1), (W2, b2))]

    def step(x: Any, y: Any) -> None:
        one, two = layers
        own = (one.params, one.bias, two.params, two.bias)
        for array, g in zip(own, gradients(*own, x, y, slip), strict=True):
            array -= RATE * g

    options: Any = {"activation": "tanh", "learning_rate": RATE, "batched": True}
    report = fcnet.check(step, layers, X, Y, **options)
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(5, 1, "sum_for_mean")] * slip


def test_an_object_that_keeps_no_gradient_and_returns_numbers_is_told_where_to_keep_it():
    net = SimpleNamespace(**dict(zip(("W1", "b1", "W2", "b2"), arrays(), strict=True)))
    report = fcnet.check(lambda x, y: (0.5, 0.75), net, X, Y, batched=True)
    (finding,) = report.findings
    assert "it returned numbers alone" in finding.message
    assert "such as dW1 beside W1" in finding.message


def test_a_layer_that_is_left_out_is_named():
    """As by a loop over the layers that stops too early."""
    net = SimpleNamespace(W=arrays()[::2], b=arrays()[1::2], dW=[None, None], db=[None, None])

    def backward(x: Any, y: Any) -> None:
        *_, net.dW[1], net.db[1] = gradients(net.W[0], net.b[0], net.W[1], net.b[1], x, y, False)

    report = fcnet.check(backward, net, X, Y, batched=True, activation="tanh")
    told = [(f.kind, f.layer, f.quantity) for f in report.findings]
    assert told == [("none_leaf", 1, "dW"), ("none_leaf", 1, "db")], report


def test_a_network_of_other_layers_is_no_network_of_pairs():
    W1, b1, *_ = arrays()
    net = SimpleNamespace(params={"W1": W1, "b1": b1, "gamma": b1 + 1, "beta": b1 - 1})
    with pytest.raises(TypeError, match=r"params\.gamma"):
        fcnet.check(lambda x, y: None, net, X, Y, batched=True)


def test_arrays_of_the_same_numbers_are_not_shared():
    W1, b1, *_ = arrays()
    net = SimpleNamespace(params={"W1": W1, "b1": b1}, cache=[W1, W1.copy()])
    assert holder_of(net).aliases == {("cache", 0): ("params", "W1")}


def test_numbers_share_no_memory():
    one, other = np.float64(0.5), np.float64(0.5)
    assert not overlap(one, other)
    array = np.zeros(3)
    assert overlap(array, array[1:])


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


def test_they_are_told_where_the_params_do_not_chain_too():
    W1, _, W2, _ = arrays()
    net = SimpleNamespace(W1=W1, W2=W2[1:], V=W2)
    with pytest.raises(ValueError, match=r"do not chain.*has V \(4, 2\) too, not taken"):
        fcnet.check(lambda x, y: None, net, X, Y, batched=True)


@pytest.mark.slow
@pytest.mark.parametrize("constant", [0, 1])
def test_an_array_of_a_name_of_its_own_is_told_where_the_cause_is_unknown(constant):
    """The biases are called constant: the network has them, and that of check has none."""
    W1, b1, W2, b2 = arrays()
    layers = [SimpleNamespace(W=W, constant=constant * b) for W, b in ((W1, b1), (W2, b2))]

    def backward(x: Any, y: Any) -> Any:
        one, two = layers
        return gradients(one.W, one.constant, two.W, two.constant, x, y, False)[::2]

    report = fcnet.check(backward, layers, X, Y, batched=True, activation="tanh")
    assert report.ok == (constant == 0)
    told = [note for note in report.notes if "params[0].constant (4,), params[1].c" in note]
    assert len(told) == (constant != 0)


@pytest.mark.parametrize("keeps", [True, False])
def test_what_an_object_keeps_from_call_to_call_is_named(keeps):
    """As momentum does; caches that do not exist before the first call are not named."""
    names = ("W1", "b1", "W2", "b2")
    own = dict(zip(names, arrays(), strict=True))
    net = SimpleNamespace(**own, velocity={name: 0 * a for name, a in own.items()}, rate=RATE)

    def step(x: Any, y: Any) -> None:
        net.cache = x + 0
        g = gradients(*(getattr(net, name) for name in names), x, y, False)
        for name, gradient in zip(names, g, strict=True):
            net.velocity[name] = 0.7 * net.velocity[name] * keeps + gradient
            setattr(net, name, getattr(net, name) - RATE * net.velocity[name])

    report = fcnet.check(step, net, X, Y, batched=True, activation="tanh", learning_rate=RATE)
    assert report.ok != keeps
    said = [note for note in report.notes if "the calls change" in note]
    places = ", ".join(f"net.velocity['{name}']" for name in sorted(names))
    assert [note.startswith(f"the calls change {places} too") for note in said] == [True] * keeps

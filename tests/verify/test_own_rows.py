"""A user's own loss or activation is what it computes: its name changes nothing in a report."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.correct_candidates import SIZES, data, network

import fcnet
from fcnet import ACTIVATIONS, LOSSES, Activation, Loss

pytestmark = pytest.mark.untyped  # whole checks: the types cost six times their time

SOFTMAX = LOSSES["softmax_cross_entropy"]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(o, axis=1):
    e = np.exp(o - o.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def backward(mean, hidden=sigmoid, slope=lambda z: sigmoid(z) * (1 - sigmoid(z))):
    """A batch's gradient of a loss with dJ/do = mean(o) - y, with any slope of the hidden layer."""

    def my_backprop(params, X, Y):
        (W1, b1), (W2, b2) = params
        Z1 = X @ W1.T + b1
        A1 = hidden(Z1)
        D2 = (mean(A1 @ W2.T + b2) - Y) / len(X)
        D1 = (D2 @ W2) * slope(Z1)
        return [(D1.T @ X, D1.sum(0)), (D2.T @ A1, D2.sum(0))]

    return my_backprop


def findings_of(function, activation, loss):
    X, _ = data(5)
    Y = np.eye(2)[[0, 1, 1, 0, 1]]
    report = fcnet.check(
        function, network(SIZES), X, Y, activation=activation, loss=loss, batched=True
    )
    return [finding[1:] for finding in report.findings]


def own_loss(like: Loss, name: str) -> Loss:
    """As a user writes it: functions of their own, no way to draw targets."""
    return Loss(
        name,
        lambda o, y: like.value(o, y),
        lambda o, y: like.derivative(o, y),
        like.labels,
        lambda o: like.mean(o),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["own", "squared_error"])
def test_a_softmax_over_the_examples_is_named_for_any_loss_with_a_softmax(name):
    wrong = backward(lambda o: softmax(o, axis=0))
    (finding,) = findings_of(wrong, "sigmoid", own_loss(SOFTMAX, name))
    assert finding[:3] == ("delta", 2, "softmax_over_examples")
    wrong = backward(lambda o: softmax(o, axis=0), lambda z: np.maximum(z, 0), lambda z: z > 0)
    (finding,) = findings_of(wrong, "relu", own_loss(SOFTMAX, name))  # its ReLU'(0) is 0
    assert finding[:3] == ("delta", 2, "softmax_over_examples")
    assert findings_of(backward(softmax), "sigmoid", own_loss(SOFTMAX, name)) == []


@pytest.mark.slow
def test_a_loss_without_a_softmax_has_the_same_findings_under_its_name():
    squared = LOSSES["squared_error"]
    wrong = backward(lambda o: softmax(o, axis=0))
    found = findings_of(wrong, "sigmoid", own_loss(squared, "softmax_cross_entropy"))
    assert found == findings_of(wrong, "sigmoid", own_loss(squared, "own"))
    assert [finding[2] for finding in found] == ["unknown"]


@pytest.mark.parametrize("name", ["relu", pytest.param("own", marks=pytest.mark.slow)])
def test_an_activation_is_known_by_its_values(name):
    """a (1 - a) at z in place of a: a mistake of the sigmoid, whatever it is called."""
    activation = Activation(name, lambda z: jax.nn.sigmoid(z), ACTIVATIONS["sigmoid"].derivative)
    wrong = backward(lambda o: o, slope=lambda z: z * (1 - z))
    (finding,) = findings_of(wrong, activation, "squared_error")
    assert finding[:3] == ("delta", 1, "output_formula_at_z")
    right = backward(lambda o: o)
    assert findings_of(right, activation, "squared_error") == []


def test_no_formula_of_a_familiar_activation_is_assumed_for_another():
    activation = Activation("sigmoid", jnp.sin, jnp.cos)
    wrong = backward(lambda o: o, np.sin, lambda z: z * (1 - z))
    ((_, _, kind, *_),) = findings_of(wrong, activation, "squared_error")
    assert kind == "unknown"


@pytest.mark.parametrize(
    ("name", "function", "shown"),
    [
        ("own", lambda z: z, False),
        pytest.param("identity", jnp.tanh, True, marks=pytest.mark.slow),
    ],
)
def test_the_formula_in_the_message_is_that_of_the_output_activation(name, function, shown):
    output = Activation(name, function, jnp.vectorize(jax.grad(function)))
    choices = {"activation": "sigmoid", "output_activation": output, "batched": True}
    report = fcnet.check(backward(lambda o: 0 * o), network(SIZES), *data(5), **choices)
    assert report.findings[0].line == 2
    assert ("sigma'(z[2])." in report.findings[0].message) == shown


def test_no_probability_is_named_where_the_loss_has_none():
    """A hinge has dJ/do = 0 for the target 0, which is no prediction."""
    hinge = Loss(
        "hinge", lambda o, y: jnp.maximum(0, 1 - o * y).sum(), lambda o, y: -y * (o * y < 1)
    )
    shapes, draw = ((4, 5), (5,), (5, 1), (1,)), np.random.default_rng(0)
    params, X = [draw.normal(size=shape) for shape in shapes], draw.normal(size=(6, 4))

    def backward(params, X, y):
        W1, b1, W2, _ = params
        A1 = np.tanh(X @ W1 + b1)
        D2 = -y / len(X)  # right: only where o y < 1
        D1 = D2 @ W2.T * (1 - A1**2)
        return [X.T @ D1, D1.sum(0), A1.T @ D2, D2.sum(0)]

    Y = np.sign(draw.normal(size=(6, 1)))
    report = fcnet.check(backward, params, X, Y, activation="tanh", loss=hinge, batched=True)
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(2, 2, "unknown")]

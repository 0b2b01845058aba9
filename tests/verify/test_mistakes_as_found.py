"""Mistakes of public code that are not in one line of Algorithm 5, and what is told of them."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from support.tanh_network import RATE, D, H, M, X, Y, arrays, gradients

import fcnet

pytestmark = pytest.mark.untyped


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


@pytest.mark.parametrize("root", [np.abs, lambda g: np.sqrt(0.1 * g**2) + 1e-8])
def test_a_step_of_adam_is_told(root):
    def step(params: Any, x: Any, y: Any) -> None:
        for array, g in zip(params, gradients(*params, x, y, False), strict=True):
            array -= RATE * g / root(g)

    report = fcnet.check(step, arrays(), X, Y, batched=True, activation="tanh", learning_rate=RATE)
    assert [f.kind for f in report.findings] == ["adaptive_step"], report


def test_a_step_of_equal_entries_is_not_taken_for_one_of_adam():
    """Where all units are dead, each output is 1/2, and o - y is 1/2 or -1/2."""

    def step(params: Any, x: Any, y: Any) -> None:
        W1, b1, W2, b2 = params
        a = np.maximum(W1 @ x + b1, 0)
        o = 1 / (1 + np.exp(-(W2 @ a + b2)))
        d2 = o - y
        d1 = W2.T @ d2 * (a > 0)
        for array, g in zip(params, (np.outer(d1, x), d1, np.outer(d2, a), d2), strict=True):
            array -= 0.1 * g

    params = [-np.ones((4, 3)), np.zeros(4), np.ones((3, 4)), np.zeros(3)]
    x, y = np.ones(3), np.array([0.0, 1.0, 0.0])
    report = fcnet.check(step, params, x, y, output_activation="sigmoid", learning_rate=0.1)
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(2, 2, "missing_derivative")]


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


@pytest.mark.parametrize("epsilon", [0, pytest.param(1e-8, marks=pytest.mark.slow)])
def test_a_batch_less_its_own_mean_is_told(epsilon):
    def backward(params: Any, x: Any, y: Any) -> Any:
        return gradients(*params, (x - x.mean(0)) / (x.std(0) + epsilon), y, False)

    report = fcnet.check(backward, arrays(), X, Y, batched=True, activation="tanh")
    (finding,) = report.findings
    assert finding.kind == "other_description"
    assert "subtracts a mean of the batch" in finding.message


def test_a_softmax_over_the_examples_whose_slope_is_0_for_one_is_told():
    """p = 1 for an example alone, and so p (1 - p) = 0; in a batch it is not."""

    def backward(params: Any, x: Any, y: Any) -> Any:
        W, b = params
        e = np.exp(x @ W + b)
        p = e / e.sum(0)
        D = 2 * (p - y) * p * (1 - p) / len(x)
        return x.T @ D, D.sum(0)

    y = np.eye(M)[np.arange(len(X)) % M]
    params, loss = [np.ones((D, M)), np.arange(M) / 2], "softmax_cross_entropy"
    report = fcnet.check(backward, params, X, y, batched=True, loss=loss)
    (finding,) = report.findings
    assert "for a softmax, sum over the classes" in finding.message


def test_a_constant_of_few_digits_in_the_loss_is_told():
    c = np.array([0.1, 0.7])
    share = jnp.array(c, jnp.float32)
    loss = fcnet.Loss("shared", lambda o, y: share @ (o - y) ** 2, lambda o, y: 2 * share * (o - y))

    def backward(params: Any, x: Any, y: Any) -> Any:
        W, b = params
        E = 2 * c * (x @ W + b - y) / len(x)
        return x.T @ E, E.sum(0)

    report = fcnet.check(backward, [np.ones((D, M)), np.ones(M)], X, Y, batched=True, loss=loss)
    (finding,) = report.findings
    assert "a constant of few digits, such as one of JAX in float32" in finding.message


@pytest.mark.parametrize("c", [0.2, pytest.param(0.3, marks=pytest.mark.slow)])
def test_another_slope_of_leaky_relu_is_told(c):
    def backward(params: Any, x: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        z = x @ W1 + b1
        a, slope = np.where(z > 0, z, c * z), np.where(z > 0, 1, c)
        d2 = (a @ W2 + b2 - y) / len(x)
        d1 = d2 @ W2.T * slope
        return x.T @ d1, d1.sum(0), a.T @ d2, d2.sum(0)

    report = fcnet.check(backward, arrays(), X, Y, batched=True, activation="leaky_relu")
    (finding,) = report.findings
    assert f"activation=fcnet.Activation('leaky_relu of slope {c}', " in finding.message


def test_a_decay_of_1_is_no_step_with_a_negative_rate():
    def backward(params: Any, x: Any, y: Any) -> Any:
        dW1, db1, dW2, db2 = gradients(*params, x, y, False)
        return dW1, db1 + params[1], dW2, db2

    report = fcnet.check(backward, arrays(), X, Y, batched=True, activation="tanh")
    assert [f.kind for f in report.findings] == ["weight_decay"]
    assert "no input here tells them apart" not in report.findings[0].message


def mixed_network(activations: list[str], power: int) -> Any:
    """A backward pass with an activation for each hidden layer, and a power of its slopes."""
    sigmas = [fcnet.ACTIVATIONS[name] for name in activations]

    def backward(params: Any, x: Any, y: Any) -> Any:
        z, a = [], [x]
        for k, (W, b) in enumerate(params):
            z.append(a[-1] @ W.T + b)
            a.append(np.asarray(sigmas[k].function(z[-1])) if k < len(sigmas) else z[-1])
        delta, gradient = (a[-1] - y) / len(x), []
        for k in reversed(range(len(params))):
            gradient.append((delta.T @ a[k], delta.sum(0)))
            if k:
                slopes = np.asarray(sigmas[k - 1].derivative(z[k - 1]))
                delta = (delta @ params[k][0]) * slopes**power
        return gradient[::-1]

    return backward


def arguments_of(*sizes: int) -> tuple[Any, Any, Any]:
    """Pairs (W, b) of a network, and a batch."""
    rng = np.random.default_rng(3)
    pairs = zip(sizes[1:], sizes[:-1], strict=True)
    params = [(rng.normal(size=(m, below)), rng.normal(size=m)) for m, below in pairs]
    return params, rng.normal(size=(7, sizes[0])), rng.normal(size=(7, sizes[-1]))


@pytest.mark.parametrize(
    ("names", "power"), [(["relu", "tanh"], 1), (["tanh", "relu", "sigmoid"], 2)]
)
def test_different_activations_of_hidden_layers_are_told(names, power):
    """Of a right gradient and of a wrong one: no line can be judged by one activation."""
    arguments = arguments_of(*(4, 5, 6, 3)[: len(names) + 1], 2)
    report = fcnet.check(mixed_network(names, power), *arguments, batched=True)
    (finding,) = report.findings
    assert finding.kind == "other_description"
    assert all(f"{name} in layer {k}" in finding.message for k, name in enumerate(names, start=1))


@pytest.mark.slow
def test_one_activation_is_not_told_as_different_ones():
    wrong = mixed_network(["tanh", "tanh"], power=2)
    report = fcnet.check(wrong, *arguments_of(4, 5, 6, 2), batched=True, activation="tanh")
    assert "other_description" not in {finding.kind for finding in report.findings}
    assert not report.ok


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


PREDICTION_SLOPES = {
    "loss_of_prediction": lambda p, o: 1,
    "activation_for_derivative": lambda p, o: p,
    "one_minus_activation": lambda p, o: 1 - p,
    "formula_of_tanh": lambda p, o: 1 - p**2,
    "output_formula_at_z": lambda p, o: o * (1 - o),
    "derivative_at_a": lambda p, o: sigmoid(p) * (1 - sigmoid(p)),
}
"""What people write for p (1 - p), by the kind of that mistake; p = sigmoid(o)."""


@pytest.mark.parametrize("epsilon", [0, 1e-8])
@pytest.mark.parametrize("kind", [*PREDICTION_SLOPES, "prediction_above"])
def test_a_slip_after_the_derivative_by_the_prediction_is_named(kind, epsilon):
    """As many write the cross-entropy: dJ/dp, with an epsilon, and then times p (1 - p)."""

    def backward(params: Any, x: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        a = np.tanh(x @ W1 + b1)
        o = a @ W2 + b2
        p = sigmoid(o)
        dp = ((1 - y) / (1 - p + epsilon) - y / (p + epsilon)) / len(x)
        d2 = dp * PREDICTION_SLOPES.get(kind, lambda p, o: p * (1 - p))(p, o)
        d1 = (dp if kind == "prediction_above" else d2) @ W2.T * (1 - a**2)
        return x.T @ d1, d1.sum(0), a.T @ d2, d2.sum(0)

    y = (Y > 0).astype(float)
    report = fcnet.check(backward, arrays(), X, y, batched=True, activation="tanh", loss="logistic")
    errors = [f for f in report.findings if f.severity == "error"]
    place = (4, 1) if kind == "prediction_above" else (2, 2)
    assert [(f.line, f.layer, f.kind) for f in errors] == [(*place, kind)], report
    assert "dJ/dp" in errors[0].message
    assert "or it is dJ/dp" not in errors[0].message


@pytest.mark.parametrize(("power", "kind"), [(0, "without_rate"), (2, "rate_twice")])
def test_a_bias_with_another_power_of_the_learning_rate_is_told(power, kind):
    """In layer 1 too, whose delta is read from dW there, with the rounding of its step."""

    def step(params: Any, x: Any, y: Any) -> None:
        dW1, db1, dW2, db2 = gradients(*params, x[None], y[None], False)
        for array, g in zip(params[::2], (dW1, dW2), strict=True):
            array -= 0.1 * g
        for array, g in zip(params[1::2], (db1, db2), strict=True):
            array -= 0.1**power * g

    options: Any = {"activation": "tanh", "learning_rate": 0.1}
    report = fcnet.check(step, arrays(), X[0], Y[0], **options)
    told = [(f.line, f.quantity, f.layer, f.kind) for f in report.findings]
    assert told == [(5, "db", 2, kind), (5, "db", 1, kind)], report


def test_biases_before_the_mask_are_told_in_a_step_of_two_hidden_layers():
    """A masked unit has a bias with all that the steps above have lost, and weights of 0."""
    params, x, _ = arguments_of(4, 5, 4, 3)

    def step(params: Any, x: Any, y: Any) -> None:
        a = [x]
        for k, (W, b) in enumerate(params):
            z = W @ a[-1] + b
            a.append(np.maximum(z, 0) if k < 2 else z)
        back = np.exp(a[-1] - a[-1].max())
        back /= back.sum()
        back[y] -= 1
        for k in (2, 1, 0):
            W, b = params[k]
            delta = back * (a[k + 1] > 0) if k < 2 else back
            b -= 0.01 * back
            back = W.T @ delta
            W -= 0.01 * np.outer(delta, a[k])

    options: Any = {"loss": "softmax_cross_entropy", "learning_rate": 0.01}
    report = fcnet.check(step, params, x[0], 1, **options)
    told = [(f.line, f.quantity, f.layer, f.kind) for f in report.findings]
    assert told == [(5, "db", k, "without_derivative") for k in (2, 1)], report


def test_the_number_of_units_for_the_number_of_examples_is_told():
    """As by m = delta.shape[1] where the examples are rows."""

    def backward(params: Any, x: Any, y: Any) -> Any:
        dW1, db1, dW2, db2 = gradients(*params, x, y, False)
        return dW1, db1 * len(x) / H, dW2, db2

    report = fcnet.check(backward, arrays(), X, Y, batched=True, activation="tanh")
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(5, 1, "per_unit")], report


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("factor", [1, 2])
def test_digits_that_a_tanh_of_exponentials_loses_hide_no_slip(fixed, factor):
    """Near 0 it has few digits, so that delta[2] is off by more than rounding explains there."""

    def tanh(z: Any) -> Any:
        return (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z))

    def backward(params: Any, x: Any, y: Any) -> Any:
        assert len(x) == len(X) or not fixed
        W1, b1, W2, b2 = params
        a = tanh(x @ W1 + b1)
        e = np.exp(a @ W2 + b2)
        d2 = (e / e.sum(1, keepdims=True) - y) / len(x)
        d1 = d2 @ W2.T * (1 - a)
        return x.T @ d1, d1.sum(0), a.T @ d2, factor * d2.sum(0)

    y = np.eye(M)[np.arange(len(X)) % M]
    options: Any = {"activation": "tanh", "loss": "softmax_cross_entropy", "batched": True}
    report = fcnet.check(backward, arrays(), X, y, **options)
    told = [(f.line, f.layer, f.kind) for f in report.findings if f.severity == "error"]
    assert told[-1] == (4, 1, "one_minus_activation"), report
    assert [(line, layer) for line, layer, _ in told[:-1]] == [(5, 2)] * (factor == 2)
    assert "unknown" not in {kind for *_, kind in told}


@pytest.mark.parametrize("b", [True, False])
def test_a_mistake_beside_another_slope_at_the_kink_is_named(b):
    """A derivative of ReLU in place has spoilt the activation, and it is 0 at 0."""

    def backward(params: Any, x: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params if b else (params[0], 0.0, params[1], 0.0)
        a = np.maximum(x @ W1 + b1, 0)
        d2 = (a @ W2 + b2 - y) / len(x)
        d1 = d2 @ W2.T * (a > 0)
        g = x.T @ d1, d1.sum(0), (a > 0).T @ d2, d2.sum(0)
        return g if b else g[::2]

    report = fcnet.check(backward, arrays()[:: 1 if b else 2], X, Y, batched=True)
    found = [(f.line, f.layer, f.kind) for f in report.findings]
    assert found == [(5, 2, "derivative_for_activation")], report


@pytest.mark.parametrize("updated", [True, False])
def test_the_error_for_delta_is_named_beside_updated_weights(updated):
    """The step changes W2 first, and sends the error back, not delta[2]."""

    def step(params: Any, x: Any, y: Any) -> None:
        W1, b1, W2, b2 = params
        a = np.tanh(x @ W1 + b1)
        o = np.tanh(a @ W2 + b2)
        error = (o - y) / len(x)
        d2 = error * (1 - o**2)
        back = error @ W2.T
        W2 -= RATE * a.T @ d2
        b2 -= RATE * d2.sum(0)
        d1 = (error @ W2.T if updated else back) * (1 - a**2)
        W1 -= RATE * x.T @ d1
        b1 -= RATE * d1.sum(0)

    options: Any = {"batched": True, "activation": "tanh", "output_activation": "tanh"}
    report = fcnet.check(step, arrays(), X, Y, learning_rate=RATE, **options)
    kind = "updated_weights" if updated else "above_without_derivative"
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(4, 1, kind)], report
    assert "without its own factor sigma'(z[2])" in report.findings[0].message

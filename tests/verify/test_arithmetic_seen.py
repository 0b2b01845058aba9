"""Right formulas with kinks and with poor arithmetic: what `fcnet.check` says, and still finds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.correct_candidates import data, gradient, network

import fcnet

pytestmark = pytest.mark.untyped


def relu_backward(at=0.0, mask=lambda z: z > 0):
    """A batch backward pass of a ReLU network; `at` is ReLU'(0), or what gives it for each z."""

    def backward(params, X, Y):
        (W1, b1), (W2, b2) = params
        Z = X @ W1.T + b1
        D2 = (np.maximum(Z, 0) @ W2.T + b2 - Y) / len(X)
        D1 = (D2 @ W2) * np.where(Z == 0, at(Z) if callable(at) else at, mask(Z))
        return [(D1.T @ X, D1.sum(0)), (D2.T @ np.maximum(Z, 0), D2.sum(0))]

    return backward


def tied(dtype=np.float64):
    """An input of which one example is all 0, and the biases are: there each z is 0."""
    X, Y = data(3, dtype=dtype)
    X[1] = 0
    return [(W, 0 * b) for W, b in network(dtype=dtype)], X, Y


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
def test_every_derivative_of_relu_at_0_is_right_and_is_said(at, dtype):
    backward = relu_backward(np.dtype(dtype).type(at))
    report = fcnet.check(backward, *tied(dtype), batched=True)
    assert report.verdict == "right", str(report)
    assert report.convention == at
    assert f"ReLU'(0) = {at:g}" in " ".join(report.notes)


def test_another_choice_for_each_unit_is_right_too():
    report = fcnet.check(
        relu_backward(lambda Z: np.arange(Z.size).reshape(Z.shape) % 2), *tied(), batched=True
    )
    assert report.verdict == "right", str(report)
    assert report.convention is None


@pytest.mark.parametrize(
    "backward",
    [
        relu_backward(2.0),
        relu_backward(-1.0),
        relu_backward(0.0, mask=lambda z: z > 0.5),
        relu_backward(1.0, mask=np.ones_like),
        relu_backward(0.5, mask=lambda z: 1.0 * (z < 0)),
    ],
    ids=["2", "-1", "too few", "all", "the other side"],
)
def test_a_wrong_mask_is_found_among_ties(backward):
    assert fcnet.check(backward, *tied(), batched=True).verdict == "wrong"


def naive_softmax(z):
    e = np.exp(z)
    return e / e.sum(-1, keepdims=True)


def stable_softmax(z):
    return naive_softmax(z - z.max(-1, keepdims=True))


def naive_sigmoid(z):
    return np.exp(z) / (1 + np.exp(z))


def stable_sigmoid(z):
    return 0.5 * (1 + np.tanh(z / 2))


def classify(softmax=stable_softmax, factor=1):
    """tanh, then softmax cross-entropy, for batches."""

    def backward(params, X, Y):
        (W1, b1), (W2, b2) = params
        A = np.tanh(X @ W1.T + b1)
        D2 = (softmax(A @ W2.T + b2) - Y) / len(X)
        D1 = factor * (D2 @ W2) * (1 - A * A)
        return [(D1.T @ X, D1.sum(0)), (D2.T @ A, D2.sum(0))]

    return backward


def decide(sigmoid=stable_sigmoid, factor=1):
    """tanh, then the logistic loss, for batches."""
    return classify(sigmoid, factor)


POOR = {
    "softmax": ("softmax_cross_entropy", (4, 3, 3), classify, naive_softmax, stable_softmax),
    "sigmoid": ("logistic", (4, 3, 1), decide, naive_sigmoid, stable_sigmoid),
}


@pytest.mark.parametrize("name", [pytest.param("softmax", marks=pytest.mark.slow), "sigmoid"])
def test_arithmetic_that_overflows_is_told_from_a_wrong_formula(name):
    loss, sizes, backward, naive, stable = POOR[name]
    params = [(W, b) for W, b in network(sizes, np.float32)]
    params[-1] = (params[-1][0], params[-1][1] + np.float32(100))  # exp(100) is too large
    X, _ = data(3, sizes, np.float32)
    Y = np.eye(3, dtype=np.float32)[:, : sizes[-1]]

    def check(function):
        return fcnet.check(function, params, X, Y, activation="tanh", loss=loss, batched=True)

    poor = check(backward(naive))
    assert poor.verdict == "right", str(poor)
    (finding,) = poor.findings
    assert (finding.kind, finding.severity) == ("unstable", "warning")
    assert "right in exact arithmetic, but unstable in float32" in finding.message
    assert "your input" in finding.message
    good = check(backward(stable))
    assert good.ok
    assert good.findings == ()
    assert check(backward(naive, factor=1.01)).verdict == "wrong"


def single_inside(error=0.0):
    def backward(params, X, Y):
        params, X, Y = jax.tree.map(lambda leaf: leaf.astype(np.float32), (params, X, Y))
        grads = classify()(params, X, Y)
        grads[0] = ((1 + np.float32(error)) * grads[0][0], grads[0][1])
        return jax.tree.map(lambda leaf: leaf.astype(np.float64), grads)

    return backward


@pytest.mark.slow
def test_float32_inside_a_float64_program_is_right_to_its_digits_and_said():
    X, _ = data(3)
    arguments = (
        network(),
        X,
        np.eye(3)[:, :2] * [[1, 1], [1, 1], [0, 0]] + [[0, 0], [0, 0], [1, 0]],
    )
    choices = {"activation": "tanh", "loss": "softmax_cross_entropy", "batched": True}
    report = fcnet.check(single_inside(), *arguments, **choices)
    assert report.verdict == "right", str(report)
    assert report.precision == "float32"
    (finding,) = report.findings
    assert (finding.kind, finding.severity) == ("low_precision", "warning")
    assert "computation in float32" in finding.message
    assert fcnet.check(single_inside(1e-3), *arguments, **choices).verdict == "wrong"


@pytest.mark.parametrize(("factor", "kinds"), [(1.0, []), (0.5, ["factor_half"])])
def test_float32_that_jax_makes_of_numpys_float64_is_judged_as_such(factor, kinds):
    @jax.jit
    def backward(params, X, Y):
        (W1, b1), (W2, b2) = params
        A = jnp.tanh(X @ W1.T + b1)
        D2 = (A @ W2.T + b2 - Y) / len(X)
        D1 = factor * (D2 @ W2) * (1 - A * A)
        return [(D1.T @ X, D1.sum(0)), (D2.T @ A, D2.sum(0))]

    report = fcnet.check(backward, network(), *data(3), activation="tanh", batched=True)
    assert [finding.kind for finding in report.findings] == kinds
    assert report.precision == "float32"


@pytest.mark.parametrize("factor", [1.0, 1 + 1e-9])
def test_float64_of_jax_is_judged_as_such_whatever_the_flag(factor):
    def backward(params, X, Y):
        ((W, b),) = params
        D = factor * (X @ W.T + b - Y) / len(X)
        return [(D.T @ X, D.sum(0))]

    with jax.enable_x64(True):
        arguments = jax.tree.map(jnp.asarray, (network((4, 3)), *data(5, (4, 3))))
    report = fcnet.check(backward, *arguments, batched=True)
    assert report.ok == (factor == 1), str(report)
    assert report.precision == "float64"


@pytest.mark.parametrize("slip", [1.0, 1.0005])
def test_one_array_with_fewer_digits_hides_no_slip_in_the_others(slip):
    def backward(params, X, Y):
        _, ((dW1, db1), (dW2, db2)) = gradient(params, X, Y)
        return [(slip * dW1, db1), (dW2, db2.astype(np.float16))]

    report = fcnet.check(backward, network(), *data(5), batched=True)
    assert report.ok == (slip == 1), str(report)
    assert slip != 1 or [finding.kind for finding in report.findings] == ["low_precision"]


def test_bfloat16_is_judged_as_such():
    sizes = (4, 3, 2)
    params, (X, Y) = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, jnp.bfloat16), (network(sizes), data(3, sizes))
    )

    def backward(factor):
        def function(params, X, Y):
            (W1, b1), (W2, b2) = params
            A = jnp.tanh(X @ W1.T + b1)
            D2 = (A @ W2.T + b2 - Y) / jnp.bfloat16(len(X))
            D1 = factor * (D2 @ W2) * (1 - A * A)
            return [(D1.T @ X, D1.sum(0)), (D2.T @ A, D2.sum(0))]

        return function

    report = fcnet.check(backward(1), params, X, Y, activation="tanh", batched=True)
    assert report.verdict == "right", str(report)
    assert report.precision == "bfloat16"
    twice = fcnet.check(backward(2), params, X, Y, activation="tanh", batched=True)
    assert twice.verdict == "wrong"

"""Examples worked out and published by others, to the digits they print."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.problems import assert_close, compiled, in_float64

import fcnet

# Matt Mazur, "A Step by Step Backpropagation Example" (2015): 2-2-2, sigmoids, squared error.
# The two units of a layer share a bias, and biases stay as they are.
MAZUR = (
    (np.array([[0.15, 0.20], [0.25, 0.30]]), np.array([0.35, 0.35])),
    (np.array([[0.40, 0.45], [0.50, 0.55]]), np.array([0.60, 0.60])),
)
X, Y = np.array([[0.05, 0.10]]), np.array([[0.01, 0.99]])
SIGMOIDS: Any = {"activation": "sigmoid", "output_activation": "sigmoid"}
ALPHA = 0.5


def without_biases(gradient: Any) -> Any:
    return tuple((dW, jnp.zeros_like(db)) for dW, db in gradient)


def of_the_weights(params: Any, X: Any, Y: Any) -> Any:
    return without_biases(fcnet.batch_backprop(params, X, Y, **SIGMOIDS))


def with_layer_2_overwritten(params: Any, X: Any, Y: Any) -> Any:
    """The mistake behind his losses: layer 1 is reached through weights already moved."""
    trace = fcnet.forward_trace(params, X[0], **SIGMOIDS)
    (dW2, _) = fcnet.gradients(fcnet.deltas(params, trace, Y[0], **SIGMOIDS), trace)[1]
    overwritten = (params[0], (params[1][0] - ALPHA * dW2, params[1][1]))
    delta = fcnet.deltas(overwritten, trace, Y[0], **SIGMOIDS)
    return without_biases(fcnet.gradients(delta, trace))


def trained(gradient: Any, steps: int) -> Any:
    """His network and its loss after so many steps."""
    params = fcnet.gradient_descent(
        MAZUR, X, Y, learning_rate=ALPHA, steps=steps, gradient=gradient
    )
    return params, float(compiled(fcnet.mean_loss, params, X, Y, **SIGMOIDS))


@in_float64
def test_mazur_forward() -> None:
    trace = compiled(fcnet.forward_trace, MAZUR, X[0], **SIGMOIDS)
    assert trace.z[0][0] == pytest.approx(0.3775, rel=1e-9)
    assert trace.a[1].tolist() == pytest.approx([0.593269992, 0.596884378], abs=5e-10)
    assert trace.a[2].tolist() == pytest.approx([0.75136507, 0.772928465], abs=5e-9)
    assert trained(of_the_weights, 0)[1] == pytest.approx(0.298371109, abs=5e-10)


@pytest.mark.notes("Algorithm 5", "(1.3)")
@in_float64
def test_mazur_one_step() -> None:
    ((W1, b1), (W2, b2)), loss = trained(of_the_weights, 1)
    published = [0.149780716, 0.19956143, 0.24975114, 0.29950229]
    assert W1.ravel().tolist() == pytest.approx(published, abs=5e-9)
    published = [0.35891648, 0.408666186, 0.511301270, 0.561370121]
    assert W2.ravel().tolist() == pytest.approx(published, abs=5e-9)
    assert b1.tolist() == [0.35, 0.35]
    assert b2.tolist() == [0.6, 0.6]
    assert loss == pytest.approx(0.291027773694, abs=5e-13)


@pytest.mark.notes("(1.3)")
@in_float64
def test_mazur_ten_thousand_steps() -> None:
    assert trained(of_the_weights, 10_000)[1] == pytest.approx(3.510187783e-05, rel=5e-10)


@in_float64
def test_mazur_published_losses_come_from_overwriting_layer_2_too_early() -> None:
    """That is how far off the right ones are; the weights he prints after one step are right."""
    once, many = (trained(with_layer_2_overwritten, steps)[1] for steps in (1, 10_000))
    assert once == pytest.approx(0.291027924, abs=5e-10)
    assert many == pytest.approx(0.000035085, abs=5e-10)
    assert once != pytest.approx(0.291027773694, abs=1e-7)
    assert many != pytest.approx(3.510187783e-05, abs=1e-8)


# Stanford CS231n, assignment 1, the two-layer network: 4-10-3 with ReLU and a mean softmax
# cross-entropy. Its weights are in the row convention; "reg" adds 0.05 times their squares.
def cs231n() -> tuple[Any, Any, Any]:
    rng = np.random.RandomState(0)
    W1, W2 = 0.1 * rng.randn(4, 10), 0.1 * rng.randn(10, 3)
    X = 10 * np.random.RandomState(1).randn(5, 4)
    params = ((W1.T, np.zeros(10)), (W2.T, np.zeros(3)))
    return params, X, np.eye(3)[[0, 1, 2, 2, 1]]


@pytest.mark.notes("(4.4)")
@in_float64
def test_cs231n_scores_and_loss() -> None:
    params, X, Y = cs231n()
    scores = compiled(jax.vmap(fcnet.forward, in_axes=(None, 0)), params, X)
    assert scores[0].tolist() == pytest.approx([-0.81233741, -1.27654624, -0.70335995], abs=5e-9)
    cost = compiled(fcnet.mean_loss, params, X, Y, loss="softmax_cross_entropy")
    squares = sum((W**2).sum() for W, _ in params)
    assert cost + 0.05 * squares == pytest.approx(1.30378789133, abs=5e-12)


@pytest.mark.notes("Algorithm 5", "(4.4)")
@in_float64
def test_cs231n_gradient_as_its_students_write_it() -> None:
    """The usual solution in NumPy, rows throughout, agrees when its weights are transposed."""
    params, X, Y = cs231n()
    (W1, b1), (W2, b2) = [(W.T, b) for W, b in params]
    hidden = np.maximum(0, X @ W1 + b1)
    powers = np.exp(hidden @ W2 + b2)
    dscores = (powers / powers.sum(axis=1, keepdims=True) - Y) / len(X)
    dhidden = dscores @ W2.T
    dhidden[hidden <= 0] = 0
    expected = (
        ((X.T @ dhidden).T, dhidden.sum(axis=0)),
        ((hidden.T @ dscores).T, dscores.sum(axis=0)),
    )
    gradient = compiled(fcnet.batch_backprop, params, X, Y, loss="softmax_cross_entropy")
    assert_close(jax.tree.map(np.asarray, gradient), expected)

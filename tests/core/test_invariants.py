"""What holds of every right gradient, whatever computed it: there is no autodiff in this file."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from support.problems import Case, assert_close, compiled, in_float64, problem_in_numpy

CASE = Case((4, 5, 3, 2))


@pytest.mark.notes("Algorithm 5")
@in_float64
def test_central_differences_have_no_error_but_rounding(fc: Any) -> None:
    """J is quadratic in any one parameter while no unit changes sides, so the step may be large."""
    params, X, Y = problem_in_numpy(CASE)
    theta, layers = ravel_pytree(params)
    theta, h = np.asarray(theta), 1e-2

    def cost_and_sides(theta: Any) -> Any:
        traces = jax.vmap(fc.forward_trace, in_axes=(None, 0))(layers(theta), X)
        return fc.mean_loss(layers(theta), X, Y), ravel_pytree([z > 0 for z in traces.z[:-1]])[0]

    points = np.stack([theta + h * np.eye(theta.size), theta - h * np.eye(theta.size)])
    (above, below), sides = compiled(jax.vmap(jax.vmap(cost_and_sides)), points)
    same = (sides == compiled(cost_and_sides, theta)[1]).all(axis=(0, 2))
    assert same.mean() > 0.7
    gradient = compiled(fc.batch_backprop, params, X, Y)
    by_hand = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(gradient)])
    assert_close(by_hand[same], ((above - below) / (2 * h))[same], 1e-12)


@pytest.mark.notes("Algorithm 5", "(3.15)")
@in_float64
def test_what_a_relu_unit_takes_in_balances_what_it_hands_on(fc: Any) -> None:
    """From a = z 1{z >= 0}: its slope along the weights in, with the bias, and along those out."""
    params, X, Y = problem_in_numpy(CASE)
    gradient = compiled(fc.batch_backprop, params, X, Y)
    for k in range(len(params) - 1):
        into = (params[k].W * gradient[k][0]).sum(axis=1) + params[k].b * gradient[k][1]
        out_of = (params[k + 1].W * gradient[k + 1][0]).sum(axis=0)
        assert_close(into, out_of)


@pytest.mark.notes("Algorithm 5")
@in_float64
def test_without_biases_every_layer_has_the_same_inner_product(fc: Any) -> None:
    """Euler: o is homogeneous of degree 1 in each W, so <W, dJ/dW> is the mean of (o - y) o."""
    params, X, Y = problem_in_numpy(CASE)
    params = tuple((W, np.zeros_like(b)) for W, b in params)
    gradient = compiled(fc.batch_backprop, params, X, Y)
    o = compiled(jax.vmap(fc.forward, in_axes=(None, 0)), params, X)
    expected = ((o - Y) * o).sum(axis=1).mean()
    for (W, _), (dW, _) in zip(params, gradient, strict=True):
        assert_close(np.vdot(W, dW), expected)


@pytest.mark.notes("(3.13)")
@in_float64
def test_one_example_gives_matrices_of_rank_one(fc: Any) -> None:
    params, X, Y = problem_in_numpy(CASE)
    for dW, _ in compiled(fc.backprop, params, X[0], Y[0]):
        first, second = np.linalg.svd(dW, compute_uv=False)[:2]
        assert first > 1e-3
        assert second < 1e-15 * first
    for dW, _ in compiled(fc.batch_backprop, params, X, Y):
        first, second = np.linalg.svd(dW, compute_uv=False)[:2]
        assert second > 1e-3 * first


@pytest.mark.notes("(1.2)", "Algorithm 5")
@in_float64
def test_a_batch_gives_the_mean_of_its_examples(fc: Any) -> None:
    params, X, Y = problem_in_numpy(CASE)
    one = jax.jit(fc.backprop)
    ones = [one(params, x, y) for x, y in zip(X, Y, strict=True)]
    mean = jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *ones)
    assert_close(compiled(fc.batch_backprop, params, X, Y), mean)
    twice = [np.concatenate([v, v[::-1]]) for v in (X, Y)]
    assert_close(compiled(fc.batch_backprop, params, *twice), mean)


@pytest.mark.notes("Algorithm 5")
@in_float64
def test_hidden_units_may_change_places(fc: Any) -> None:
    params, X, Y = problem_in_numpy(CASE)
    order = np.array([2, 0, 4, 1, 3])

    def renumbered(layers: Any) -> Any:
        (W1, b1), (W2, b2), last = layers
        return (W1[order], b1[order]), (W2[:, order], b2), tuple(last)

    cost, backward = (partial(compiled, function) for function in (fc.mean_loss, fc.batch_backprop))
    assert_close(cost(renumbered(params), X, Y), cost(params, X, Y))
    assert_close(backward(renumbered(params), X, Y), renumbered(backward(params, X, Y)))


@pytest.mark.notes("(2.10)")
@in_float64
def test_a_relu_unit_may_be_scaled_in_and_unscaled_out(fc: Any) -> None:
    (W1, b1), (W2, b2), last = params = problem_in_numpy(CASE)[0]
    _, X, Y = problem_in_numpy(CASE)
    c = np.array([0.5, 3.0, 1.0, 0.1, 7.0])
    scaled = ((c[:, None] * W1, c * b1), (W2 / c, b2), tuple(last))
    forward = jax.jit(jax.vmap(fc.forward, in_axes=(None, 0)))
    assert_close(forward(scaled, X), forward(params, X))
    backward = partial(compiled, fc.batch_backprop)
    (dW1, db1), (dW2, db2), dlast = backward(params, X, Y)
    unscaled = ((dW1 / c[:, None], db1 / c), (dW2 * c, db2), tuple(dlast))
    assert_close(backward(scaled, X, Y), unscaled)


@pytest.mark.notes("Algorithm 5")
@in_float64
def test_the_gradient_is_linear_in_the_residual(fc: Any) -> None:
    params, X, _ = problem_in_numpy(CASE)
    o, residual = compiled(fc.forward, params, X[0]), np.array([1.0, -2.0])
    backward = partial(compiled, fc.backprop)
    once, thrice = (backward(params, X[0], o - t * residual) for t in (1, 3))
    assert_close(thrice, jax.tree.map(lambda leaf: 3 * leaf, once), 1e-12)
    none = backward(params, X[0], o)
    assert not any(leaf.any() for leaf in jax.tree.leaves(none))


@pytest.mark.notes("(2.16)", "(2.20)", "Algorithm 5")
@in_float64
def test_a_deep_linear_network_has_its_gradient_in_closed_form(fc: Any) -> None:
    params, X, Y = problem_in_numpy(CASE)
    x, (W1, W2, W3) = X[0], (np.asarray(W) for W, _ in params)
    params = tuple((W, np.zeros_like(b)) for W, b in params)
    residual = W3 @ W2 @ W1 @ x - Y[0]
    gradient = compiled(fc.backprop, params, x, Y[0], activation="identity")
    for (dW, _), expected in zip(
        gradient,
        (
            np.outer((W3 @ W2).T @ residual, x),
            np.outer(W3.T @ residual, W1 @ x),
            np.outer(residual, W2 @ W1 @ x),
        ),
        strict=True,
    ):
        assert_close(dW, np.asarray(expected))


@pytest.mark.notes("Algorithm 5")
@pytest.mark.parametrize("loss", ["logistic", "softmax_cross_entropy", "poisson"])
@in_float64
def test_line_2_is_prediction_minus_target_for_every_likelihood(fc: Any, loss: str) -> None:
    params, X, Y = problem_in_numpy(CASE)
    o, y = compiled(fc.forward, params, X[0]), Y[0]
    mean = {
        "logistic": 1 / (1 + np.exp(-o)),
        "softmax_cross_entropy": np.exp(o) / np.exp(o).sum(),
        "poisson": np.exp(o),
    }[loss]
    delta_r = compiled(fc.backprop, params, X[0], y, loss=loss)[-1][1]
    assert_close(delta_r, np.asarray(mean - y))
    if loss == "softmax_cross_entropy":
        assert abs(delta_r.sum() + y.sum() - 1) < 1e-15


@pytest.mark.notes("(2.2)", "Algorithm 5")
@in_float64
def test_an_output_activation_enters_line_2_by_its_derivative(fc: Any) -> None:
    params, X, Y = problem_in_numpy(CASE)
    o = compiled(fc.forward, params, X[0], output_activation="sigmoid")
    gradient = compiled(fc.backprop, params, X[0], Y[0], output_activation="sigmoid")
    assert_close(gradient[-1][1], (o - Y[0]) * o * (1 - o))


@pytest.mark.notes("(1.3)")
@in_float64
def test_units_that_start_equal_stay_equal(fc: Any) -> None:
    """Why parameters start at random: here only one unit is ever learned."""
    _, X, Y = problem_in_numpy(Case((3, 4, 2)))
    params = ((np.full((4, 3), 0.3), np.full(4, 0.1)), (np.full((2, 4), 0.2), np.zeros(2)))
    (W1, b1), (W2, _) = fc.gradient_descent(params, X, Y, learning_rate=0.1, steps=100)
    assert not np.ptp(W1, axis=0).any()
    assert not np.ptp(b1)
    assert not np.ptp(W2, axis=1).any()
    assert abs(W1 - 0.3).max() > 0.05


@pytest.mark.notes("(1.3)")
@pytest.mark.parametrize("slope_at_zero", [0.0, 0.5, 1.0])
@in_float64
def test_a_network_of_zeros_learns_nothing_but_its_last_bias(slope_at_zero: float, fc: Any) -> None:
    _, X, Y = problem_in_numpy(Case((3, 4, 2)))
    params = ((np.zeros((4, 3)), np.zeros(4)), (np.zeros((2, 4)), np.zeros(2)))
    relu = fc.Activation("relu", jax.nn.relu, lambda z: jnp.heaviside(z, slope_at_zero))

    def gradient(params: Any, X: Any, Y: Any) -> Any:
        return fc.batch_backprop(params, X, Y, activation=relu)

    (W1, b1), (W2, b2) = fc.gradient_descent(
        params, X, Y, learning_rate=0.1, steps=50, gradient=gradient
    )
    assert not any(leaf.any() for leaf in (W1, b1, W2))
    assert_close(b2, (1 - 0.9**50) * Y.mean(axis=0), 1e-12)


@pytest.mark.notes("(1.3)", "Footnote 2")
@in_float64
def test_every_parameter_moves_by_the_gradient_at_the_old_ones(fc: Any) -> None:
    params, X, Y = problem_in_numpy(CASE)
    before = jax.tree.map(np.array, params)
    moved = fc.gradient_descent(params, X, Y, learning_rate=0.25, steps=1)
    gradient = compiled(fc.batch_backprop, params, X, Y)
    assert_close(moved, jax.tree.map(lambda p, g: p - 0.25 * g, params, gradient))
    for now, then in zip(jax.tree.leaves(params), jax.tree.leaves(before), strict=True):
        np.testing.assert_array_equal(now, then)

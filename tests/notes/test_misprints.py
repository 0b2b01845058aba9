"""Sections 1 and 2 of the notes: what is printed is wrong, and the reading taken is right."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_squared_error
from support.notes_cases import assert_rejects, normals, random_case, random_params
from support.problems import assert_close, compiled

from fcnet import (
    Layer,
    batch_backprop,
    count_neurons,
    features,
    forward,
    forward_trace,
    gradient_descent,
    mean_loss,
)
from fcnet.notes import (
    MASK,
    affine,
    affine_loop,
    collapse,
    dense_house_network,
    house_network,
    house_to_dense,
    linear_model,
    one_neuron,
)

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.misprint("Section 1, linear models")
def test_logistic_regression_is_not_linear_in_theta(key: Array) -> None:
    theta, x = normals(key, (3,), (3,))

    def assert_linear(h) -> None:
        assert_close(h(2 * theta, x), 2 * h(theta, x))

    assert_linear(linear_model)  # the logit
    assert_rejects(assert_linear, lambda theta, x: jax.nn.sigmoid(linear_model(theta, x)))


@pytest.mark.misprint("(1.2), mean square")
def test_the_cost_is_half_the_mean_square(key: Array) -> None:
    params = random_params(key, (3, 2, 1))
    X, Y = normals(key, (5, 3), (5, 1))
    mean_square = mean_squared_error(Y, compiled(jax.vmap(forward, (None, 0)), params, X))
    J = compiled(mean_loss, params, X, Y)
    assert_close(J, np.array(mean_square / 2))
    assert_rejects(lambda J: assert_close(J, np.array(mean_square)), J)


@pytest.mark.misprint("Section 1, scaling the cost")
def test_only_a_positive_factor_keeps_the_minima() -> None:
    """(t^2 - 1)^2 on [-2, 2] has its minima at -1 and 1, and its maxima at -2 and 2."""
    t = np.linspace(-2, 2, 401)

    def minima(factor: float) -> list[float]:
        cost = factor * (t**2 - 1) ** 2
        return t[cost <= cost.min() + 1e-9].round(9).tolist()

    assert minima(1) == minima(0.5) == minima(10) == [-1, 1]
    assert minima(-1) == [-2, 2]
    assert len(minima(0)) == 401


@pytest.mark.misprint("(2.2), one layer")
def test_the_neuron_is_no_one_layer_network() -> None:
    w, b, x = np.ones(2), -3.0, np.ones(2)  # z = -1
    layer = Layer(jnp.ones((1, 2)), jnp.array([-3.0]))
    assert one_neuron(w, b, x) == 0
    assert forward((layer,), x).tolist() == [-1]
    assert forward((layer,), x, output_activation="relu").tolist() == [0]
    assert forward((layer, Layer(jnp.ones((1, 1)), jnp.zeros(1))), x).tolist() == [0]


@pytest.mark.misprint("(2.3), negative prices")
def test_a_price_can_be_negative() -> None:
    theta = np.zeros(12)
    theta[11] = -1
    assert house_network(theta, np.ones(4)) == -1


@pytest.mark.misprint("(2.4), Figure 2")
def test_figure_2_is_not_fully_connected() -> None:
    """Which inputs move which unit: 5 edges in Figure 2, all 12 in the network of (2.4)."""
    theta = np.arange(1.0, 13.0)

    def edges(W1: Array) -> Array:
        params = Layer(W1, np.full(3, 50.0)), house_to_dense(theta)[1]
        return moved(params, np.ones(4))[0].W * W1 != 0

    moved = jax.jit(jax.grad(dense_house_network))
    printed, reading = np.asarray(house_to_dense(theta)[0].W), np.ones((3, 4))
    assert (edges(printed) == MASK).all()
    assert edges(printed).sum() == 5
    assert edges(reading).all()


W = np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])  # m = 2, d = 3
B = np.array([1.0, -100.0])


def caption(W, b, x, terms: int) -> Array:
    """a_j = ReLU of a sum over i = 1..terms, plus b_j."""
    sums = [sum(w[i] * x[i] for i in range(terms)) for w in W]
    return jax.nn.relu(jnp.array(sums) + b)


@pytest.mark.misprint("Figure 3, caption")
def test_the_caption_of_figure_3() -> None:
    x = np.array([1.0, 2.0, 3.0])
    reading = jax.nn.relu(affine_loop(W, B, x))
    assert reading.tolist() == caption(W, B, x, terms=3).tolist() == [9, 0]
    assert caption(W, B, x, terms=2).tolist() == [3, 0]  # the sum to m
    assert caption(W, 0 * B, x, terms=3).tolist() == [8, 26]  # no bias
    assert caption(W, 0 * B, x, terms=2).tolist() == [2, 11]  # as printed: both
    with pytest.raises(IndexError):
        caption(W.T, np.zeros(3), x[:2], terms=3)  # m > d


@pytest.mark.misprint("(2.12), number of neurons")
def test_the_outputs_count_as_neurons(key: Array) -> None:
    params = random_params(key, (4, 3, 1))
    trace = compiled(forward_trace, params, np.ones(4))
    non_linear = sum(a.size for a in trace.a[1:-1])
    assert non_linear == 3
    assert count_neurons((4, 3, 1)) == non_linear + trace.a[-1].size == 4
    assert (trace.a[-1] == trace.z[-1]).all()


@pytest.mark.misprint("(2.19)")
def test_with_biases_the_collapse_is_affine(key: Array) -> None:
    params, x, _ = random_case(key)
    (W1, b1), (W2, b2) = params

    linear = jax.jit(partial(forward, activation="identity"))

    def assert_collapsed(W, b) -> None:
        assert_close(W @ x + b, linear(params, x))

    assert_collapsed(*compiled(collapse, params))
    assert_collapsed(W2 @ W1, W2 @ b1 + b2)
    for b in (np.zeros(1), b2):
        assert_rejects(lambda b: assert_collapsed(W2 @ W1, b), b)
    without = Layer(W1, 0 * b1), Layer(W2, 0 * b2)  # as assumed there
    assert_close(W2 @ W1 @ x, linear(without, x))


@pytest.mark.misprint("Section 2, identity activation")
def test_a_linear_network_is_not_linear_regression(key: Array) -> None:
    """A hidden layer of one unit has rank 1; and at zero weights its gradient is zero."""
    X, W = normals(key, (20, 3), (2, 3))
    Y = X @ W.T
    best = LinearRegression().fit(X, Y)
    assert np.linalg.matrix_rank(best.coef_) == 2
    assert np.linalg.matrix_rank(collapse(random_params(key, (3, 1, 2))).W) == 1

    Y = Y - Y.mean(axis=0)

    def trained(*widths: int) -> Array:
        zeros = tuple(
            Layer(np.zeros((m, m_below)), np.zeros(m))
            for m_below, m in zip((3, *widths), (*widths, 2), strict=True)
        )

        def gradient(params, X, Y):
            return batch_backprop(params, X, Y, activation="identity")

        params = gradient_descent(zeros, X, Y, learning_rate=0.3, steps=400, gradient=gradient)
        return compiled(mean_loss, params, X, Y, activation="identity")

    start = compiled(mean_loss, (Layer(np.zeros((2, 3)), np.zeros(2)),), X, Y)
    assert trained() < 1e-9 * start
    assert_close(trained(3), start)  # wide enough, and still at its saddle


@pytest.mark.misprint("(2.21), penultimate layer")
def test_the_features_are_not_the_output(key: Array) -> None:
    params = random_params(key, (3, 5, 4, 1))
    trace = compiled(forward_trace, params, np.ones(3))
    printed, reading = trace.a[3], trace.a[2]
    assert_close(compiled(features, params, np.ones(3)), reading)
    assert_close(affine(*params[-1], reading), compiled(forward, params, np.ones(3)))
    assert reading.shape == (4,)
    assert printed.shape == (1,)
    with pytest.raises(ValueError, match="matmul"):
        params[-1].W @ printed

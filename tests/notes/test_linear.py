"""The collapse of a network without activations, and the linear model on learned features."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from sklearn.linear_model import LinearRegression
from support.notes_cases import assert_rejects, normals, random_params
from support.problems import assert_close, compiled

from fcnet import (
    Layer,
    Params,
    batch_backprop,
    count_params,
    features,
    forward,
    gradient_descent,
    mean_loss,
)
from fcnet.notes import affine, collapse, fit_head_least_squares

pytestmark = pytest.mark.usefixtures("x64")

SIZES = [(4, 3, 1), (3, 3, 3), (5, 2, 4, 3), (3, 2)]


@pytest.mark.notes("(2.16)", "(2.17)", "(2.18)", "(2.19)", "(2.20)")
@pytest.mark.parametrize("sizes", SIZES)
def test_without_activations_one_layer_is_left(sizes, key: Array) -> None:
    params = random_params(key, sizes)
    (x,) = normals(key, sizes[:1])

    expected = compiled(forward, params, x, activation="identity")

    def assert_same_function(collapsed: Layer) -> None:
        assert_close(affine(*collapsed, x), expected)

    W, b = compiled(collapse, params)
    assert_same_function(Layer(W, b))
    if len(sizes) > 2:
        assert_rejects(
            assert_same_function, Layer(W, params[-1].b)
        )  # b^[2] for W^[2] b^[1] + b^[2]
        assert_rejects(
            assert_same_function, Layer(W, sum(layer.b.sum() for layer in params) + 0 * b)
        )
    assert_rejects(assert_same_function, Layer(-W, b))


@pytest.mark.notes("(2.20)")
def test_the_order_of_the_product_matters(key: Array) -> None:
    params = random_params(key, (3, 3, 3))
    (W1, _), (W2, _) = params
    assert_close(collapse(params).W, W2 @ W1)
    assert_rejects(lambda W: assert_close(collapse(params).W, W), W1 @ W2)


@pytest.mark.notes("(2.20)")
def test_the_narrowest_layer_bounds_the_rank(key: Array) -> None:
    W, _ = collapse(random_params(key, (5, 2, 4, 3)))
    singular = np.linalg.svd(W, compute_uv=False)
    assert (singular[:2] > 0.1).all()
    assert (singular[2:] < 1e-12).all()


@pytest.mark.notes("(2.20)")
def test_only_without_activations_is_the_network_affine(key: Array) -> None:
    params = random_params(key, (4, 6, 2))
    u, v = map(np.asarray, normals(key, (4,), (4,)))

    def assert_affine(activation: str) -> None:
        h = jax.jit(partial(forward, params, activation=activation))
        assert_close(h(0.25 * u + 0.75 * v), 0.25 * np.asarray(h(u)) + 0.75 * np.asarray(h(v)))

    assert_affine("identity")
    for activation in ("relu", "tanh", "leaky_relu"):
        assert_rejects(assert_affine, activation)


def regression_case(key: Array, sizes: tuple[int, ...], n: int) -> tuple[Params, Array, Array]:
    X, Y = normals(key, (n, sizes[0]), (n, sizes[-1]))
    return random_params(key, sizes), X, Y


@pytest.mark.notes("(2.21)")
@pytest.mark.parametrize("sizes", SIZES)
def test_the_network_is_linear_in_its_features(sizes, key: Array) -> None:
    params, X, _ = regression_case(key, sizes, 1)
    phi = compiled(features, params, X[0])
    assert phi.shape == (sizes[-2],)
    assert_close(compiled(affine, *params[-1], phi), compiled(forward, params, X[0]))


def assert_stationary(fit, params, X, Y, **activation) -> None:
    """At the least-squares head dJ/dW^[r] = dJ/db^[r] = 0, against its size at the start."""
    fitted = fit(params, X, Y, **activation)
    for new, old in zip(fitted[:-1], params[:-1], strict=True):
        assert_close(new, old, 0)
    gradient = jax.jit(partial(batch_backprop, **activation))
    for a, e in zip(gradient(fitted, X, Y)[-1], gradient(params, X, Y)[-1], strict=True):
        assert np.linalg.norm(a) < 1e-12 * np.linalg.norm(e)


@pytest.mark.notes("(2.21)")
@pytest.mark.parametrize("activation", ["relu", pytest.param("tanh", marks=pytest.mark.slow)])
@pytest.mark.parametrize("sizes", [(4, 3, 1), (5, 2, 4, 3), (3, 2)])
def test_the_best_head_has_no_gradient(sizes, activation: str, key: Array) -> None:
    params, X, Y = regression_case(key, sizes, 30)
    assert_stationary(fit_head_least_squares, params, X, Y, activation=activation)


@pytest.mark.notes("(2.21)")
def test_a_wrong_head_has_one(key: Array) -> None:
    params, X, Y = regression_case(key, (4, 3, 1), 30)

    def without_bias(params, X, Y):
        phi = compiled(jax.vmap(features, (None, 0)), params, X)
        return *params[:-1], Layer(jnp.asarray(np.linalg.lstsq(phi, Y)[0].T), jnp.zeros(1))

    for wrong in (
        without_bias,
        lambda params, X, Y: params,
        lambda params, X, Y: fit_head_least_squares(params, X, Y, activation="tanh"),
        lambda params, X, Y: fit_head_least_squares(params, X, Y[::-1]),
    ):
        assert_rejects(lambda fit: assert_stationary(fit, params, X, Y), wrong)


@pytest.mark.notes("(2.21)")
def test_the_best_head_is_linear_regression_on_the_features(key: Array) -> None:
    params, X, Y = regression_case(key, (4, 3, 2), 30)
    phi = compiled(jax.vmap(features, (None, 0)), params, X)
    twin = LinearRegression().fit(np.asarray(phi), Y)
    head = fit_head_least_squares(params, X, Y)[-1]
    assert_close(head, Layer(jnp.array(twin.coef_), jnp.array(twin.intercept_)), 1e-10)


@pytest.mark.notes("(2.21)")
def test_a_dead_feature_does_not_spoil_the_fit(key: Array) -> None:
    params, X, Y = regression_case(key, (4, 3, 1), 30)
    params[0].b[1] = -100.0
    fitted = fit_head_least_squares(params, X, Y)
    assert jnp.isfinite(fitted[-1].W).all()
    assert abs(fitted[-1].W[0, 1]) < 1e-12
    assert_stationary(fit_head_least_squares, params, X, Y)


@pytest.mark.slow
@pytest.mark.notes("(2.21)")
def test_learning_the_features_too_beats_the_best_head(key: Array) -> None:
    """At the best head dJ/dbeta is not 0: training everything goes on from there."""
    W = jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    params = (Layer(W, jnp.zeros(4)), Layer(jnp.zeros((1, 4)), jnp.zeros(1)))
    X = jax.random.normal(key, (40, 2))
    Y = abs(X[:, :1] - X[:, 1:])
    fitted = fit_head_least_squares(params, X, Y)
    below = batch_backprop(fitted, X, Y)[0]
    assert jnp.linalg.norm(below.W) > 1e-3
    trained = gradient_descent(fitted, X, Y, learning_rate=0.02, steps=500)
    assert mean_loss(trained, X, Y) < 0.8 * mean_loss(fitted, X, Y)


@pytest.mark.notes("(2.21)")
def test_with_fixed_features_the_cost_is_quadratic_in_the_head(key: Array) -> None:
    params, X, Y = regression_case(key, (4, 3, 1), 30)
    phi = compiled(jax.vmap(features, (None, 0)), params, X)
    with_one = np.concatenate([phi, np.ones((30, 1))], axis=1)

    def cost(head: Array) -> Array:
        return mean_loss((params[0], Layer(head[None, :3], head[3:])), X, Y)

    assert_close(compiled(jax.hessian(cost), jnp.ones(4)), with_one.T @ with_one / 30)
    assert count_params((3, 1)) == 4


@pytest.mark.untyped
def test_bad_input(key: Array) -> None:
    params, X, Y = regression_case(key, (4, 3, 1), 5)
    with pytest.raises(ValueError, match=r"Y has shape \(5,\), expected \(n, 1\)"):
        fit_head_least_squares(params, X, Y[:, 0])
    with pytest.raises(ValueError, match="X has 5 examples but Y has 4"):
        fit_head_least_squares(params, X, Y[:4])
    with pytest.raises(ValueError, match="no examples"):
        fit_head_least_squares(params, X[:0], Y[:0])
    with pytest.raises(ValueError, match="unknown activation"):
        fit_head_least_squares(params, X, Y, activation="rely")
    with pytest.raises(ValueError, match=r"params\[1\].W has shape"):
        collapse((params[1], params[0]))

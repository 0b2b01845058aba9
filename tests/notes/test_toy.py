"""Section 1's abstract models: what is linear, and footnote 1's model, which trains like any."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from support.notes_cases import assert_rejects
from support.problems import assert_close

from fcnet import gradient_descent, minibatch_sgd, sgd
from fcnet.notes import linear_model, one_neuron, toy_quadratic, toy_quadratic_gradient

pytestmark = pytest.mark.usefixtures("x64")

THETA = np.array([0.5, -1.5, 2.0])
X = np.array([[1.0, 2.0, -1.0], [0.5, -1.0, 3.0], [2.0, 0.0, 1.0], [-1.0, 1.0, 0.5]])
Y = np.array([1.0, -2.0, 3.0, 0.5])


def mean_cost(theta, X, Y) -> Array:
    h = jax.vmap(toy_quadratic, in_axes=(None, 0))(theta, X)
    return jnp.mean((h - Y) ** 2) / 2


def assert_additive(model) -> None:
    other = np.array([-3.0, 1.0, 0.25])
    both = model(THETA + other, X[0])
    assert abs(both - model(THETA, X[0]) - model(other, X[0])) < 1e-12 * abs(both)


def test_the_linear_model_is_linear_in_theta() -> None:
    assert_additive(linear_model)
    assert linear_model(THETA, X[1]) == THETA @ X[1]


@pytest.mark.notes("Footnote 1")
def test_the_other_models_are_not_linear_in_theta() -> None:
    assert_rejects(assert_additive, toy_quadratic)
    assert_rejects(assert_additive, lambda theta, x: one_neuron(theta, 0.0, x))


@pytest.mark.notes("Footnote 1")
def test_the_toy_model_sums_squares() -> None:
    assert toy_quadratic(THETA, X[1]) == 0.25 * 0.25 + 2.25 * 1 + 4 * 9
    assert toy_quadratic(THETA, X[1]) == toy_quadratic(-THETA, X[1])


BY_AUTODIFF = jax.jit(jax.grad(mean_cost))


def assert_gradient(gradient) -> None:
    assert_close(gradient(THETA, X, Y), BY_AUTODIFF(THETA, X, Y))


@pytest.mark.notes("Footnote 1", "(1.2)")
def test_its_gradient_is_that_of_the_mean_cost() -> None:
    assert_gradient(toy_quadratic_gradient)
    assert_close(toy_quadratic_gradient(-THETA, X, Y), -toy_quadratic_gradient(THETA, X, Y))


@pytest.mark.notes("Footnote 1", "(1.2)")
@pytest.mark.parametrize(
    "factor", [0.5, 2.0, -1.0, len(X)], ids=["half", "twice", "sign", "sum for mean"]
)
def test_a_wrong_factor_is_noticed(factor: float) -> None:
    assert_rejects(assert_gradient, lambda *args: factor * toy_quadratic_gradient(*args))


@pytest.mark.notes("(1.2)")
def test_duplicating_the_examples_changes_nothing() -> None:
    def assert_mean(gradient) -> None:
        twice = gradient(THETA, np.concatenate([X, X]), np.concatenate([Y, Y]))
        assert_close(twice, gradient(THETA, X, Y))

    assert_mean(toy_quadratic_gradient)
    assert_rejects(assert_mean, lambda t, X, Y: len(Y) * toy_quadratic_gradient(t, X, Y))


@pytest.mark.notes("Footnote 1", "(1.3)", "Algorithm 1", "Algorithm 2")
def test_it_trains_with_the_same_loops_as_a_network(key: Array) -> None:
    truth = np.array([1.0, 0.5, 2.0])
    inputs = X / 2
    targets = inputs**2 @ truth**2
    common = {"learning_rate": 0.01, "steps": 3000, "gradient": toy_quadratic_gradient}
    start = jnp.ones(3)
    before = mean_cost(start, inputs, targets)
    for trained in (
        gradient_descent(start, inputs, targets, **common),
        sgd(start, inputs, targets, key=key, **common),
        minibatch_sgd(start, inputs, targets, key=key, batch_size=2, **common),
    ):
        assert mean_cost(trained, inputs, targets) < 1e-3 * before
        assert (start == 1).all()


@pytest.mark.notes("Footnote 1")
def test_coordinates_at_zero_stay_there(key: Array) -> None:
    start = jnp.array([0.0, 1.0, 0.0])
    trained = sgd(
        start, X, Y, key=key, learning_rate=0.01, steps=50, gradient=toy_quadratic_gradient
    )
    assert (trained[::2] == 0).all()
    assert trained[1] != 1


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("theta", "x", "error", "match"),
    [
        (np.ones(3), np.ones((2, 3)), ValueError, r"x has shape \(2, 3\), expected \(d,\)"),
        (np.ones(3), np.ones(2), ValueError, r"x has shape \(2,\), expected \(d,\) = \(3,\)"),
        (np.ones(3, int), np.ones(3), TypeError, "theta must be floating"),
        (np.array([1.0, np.nan]), np.ones(2), ValueError, "theta must be finite"),
        (np.ones(2), np.array([np.inf, 1]), ValueError, "x must be finite"),
        ([1.0], np.ones(1), TypeError, "theta must be an array"),
    ],
)
@pytest.mark.parametrize("model", [linear_model, toy_quadratic])
def test_bad_input(model, theta, x, error, match) -> None:
    with pytest.raises(error, match=match):
        model(theta, x)


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("X", "Y", "match"),
    [
        (X, Y[:, None], r"Y has shape \(4, 1\), expected \(n,\)"),
        (X, Y[:3], r"Y has shape \(3,\), expected \(n,\) = \(4,\)"),
        (X[:0], Y[:0], "X has no examples"),
    ],
)
def test_targets_that_would_broadcast(X, Y, match) -> None:
    with pytest.raises(ValueError, match=match):
        toy_quadratic_gradient(THETA, X, Y)

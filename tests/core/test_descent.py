"""(1.3), Algorithm 1 and Algorithm 2, step by step, against other ways to get the same steps."""

from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import Array
from scipy import stats
from support.problems import Case, assert_close, problem

from fcnet import sample_batch
from fcnet.notes import toy_quadratic_gradient
from fcnet.sampling import block_length

pytestmark = pytest.mark.usefixtures("x64")

RARE = 1e-4
CASE = Case(sizes=(3, 5, 2), n=6)
A = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 0.5]])
NOTHING = np.zeros((1, 1))  # data of a cost that needs none


def of_the_quadratic(theta: Array, X: Array, Y: Array) -> Array:
    """The gradient of theta^T A theta / 2."""
    return jnp.asarray(A) @ theta


def minus_the_rows(theta: Array, X: Array, Y: Array) -> Array:
    """With X = I and alpha = 1, a step adds 1/B to the entries of the examples it draws."""
    return -X.mean(0)


def visits(algorithm: Any, n: int, steps: int, **choices: Any) -> np.ndarray:
    """How often each of n examples was drawn, over B."""
    theta = algorithm(
        jnp.zeros(n),
        np.eye(n),
        np.zeros(n),
        learning_rate=1.0,
        steps=steps,
        gradient=minus_the_rows,
        **choices,
    )
    return np.asarray(theta)


# Gradient descent


@pytest.mark.notes("(1.3)")
@pytest.mark.parametrize("steps", [0, 1, 2, 50])
def test_descent_on_a_quadratic(fc: ModuleType, steps: int) -> None:
    theta = np.array([1.0, -2.0, 3.0])
    reached = fc.gradient_descent(
        jnp.array(theta),
        NOTHING,
        NOTHING,
        learning_rate=0.1,
        steps=steps,
        gradient=of_the_quadratic,
    )
    assert_close(reached, np.linalg.matrix_power(np.eye(3) - 0.1 * A, steps) @ theta)


@pytest.mark.notes("(1.3)")
def test_all_entries_move_at_once(fc: ModuleType) -> None:
    """Each by the gradient at the old parameters, not at those already moved."""

    def crossed(theta: Any, X: Array, Y: Array) -> Any:
        return {"u": theta["v"], "v": theta["u"]}

    reached = fc.gradient_descent(
        {"u": jnp.array(3.0), "v": jnp.array(5.0)},
        NOTHING,
        NOTHING,
        learning_rate=0.5,
        steps=1,
        gradient=crossed,
    )
    assert reached == {"u": 3 - 0.5 * 5, "v": 5 - 0.5 * 3}
    assert reached["v"] != 5 - 0.5 * reached["u"], "one after the other would be another point"


@pytest.mark.notes("(1.2)", "(1.3)")
def test_a_rescaled_cost_has_the_same_path(fc: ModuleType) -> None:
    params, X, Y = problem(CASE)

    def eightfold(*args: Any) -> Any:
        return jax.tree.map(lambda g: 8 * g, fc.batch_backprop(*args))

    path = fc.gradient_descent(params, X, Y, learning_rate=0.2, steps=20)
    rescaled = fc.gradient_descent(params, X, Y, learning_rate=0.025, steps=20, gradient=eightfold)
    assert_close(rescaled, path)


@pytest.mark.notes("(1.3)")
def test_descent_takes_the_steps_of_optax(fc: ModuleType) -> None:
    params, X, Y = problem(CASE)
    expected, optimiser = params, optax.sgd(0.3)
    state, autodiff = optimiser.init(expected), jax.jit(jax.grad(fc.mean_loss))
    for steps in range(1, 5):
        gradient = autodiff(expected, X, Y)
        updates, state = optimiser.update(gradient, state, expected)
        expected = optax.apply_updates(expected, updates)
        assert_close(fc.gradient_descent(params, X, Y, learning_rate=0.3, steps=steps), expected)


def drift(fc: ModuleType, alpha: float) -> float:
    """How far the invariant of gradient flow moves until time alpha * steps = 3."""

    def invariant(params: Any) -> np.ndarray:
        below, above = params
        return np.asarray((below.W**2).sum(1) + below.b**2 - (above.W**2).sum(0))

    params, X, Y = problem(Case(sizes=(3, 5, 2), n=20))
    reached = fc.gradient_descent(params, X, Y, learning_rate=alpha, steps=round(3 / alpha))
    return float(np.linalg.norm(invariant(reached) - invariant(params)))


@pytest.mark.notes("(1.3)")
def test_the_balance_of_a_relu_unit_drifts_in_proportion_to_alpha(fc: ModuleType) -> None:
    """|w_j|^2 + b_j^2 - |v_j|^2 of each hidden unit is constant under gradient flow."""
    assert 1e-5 < drift(fc, 1e-3) < 1e-2
    assert drift(fc, 1e-2) / drift(fc, 1e-3) == pytest.approx(10, rel=0.1)


# Algorithms 1 and 2


@pytest.mark.notes("Algorithm 1", "Algorithm 2", "(1.3)")
@pytest.mark.parametrize("steps", [0, 1, 1023, 1024, 1025, 3000])
def test_exactly_so_many_steps(fc: ModuleType, key: Array, steps: int) -> None:
    """Also where they do not fill a block of 1,024."""
    assert visits(fc.gradient_descent, 4, steps) == pytest.approx(steps / 4)
    assert visits(fc.sgd, 4, steps, key=key).sum() == steps
    assert visits(fc.minibatch_sgd, 4, steps, key=key, batch_size=2).sum() == steps


@pytest.mark.notes("Algorithm 1", "(1.4)")
def test_algorithm_1_draws_each_example_equally_often(fc: ModuleType, key: Array) -> None:
    counts = visits(fc.sgd, 10, 20_000, key=key)
    assert stats.chisquare(counts).pvalue > RARE
    assert stats.chisquare(np.append(counts[:-1], 0) * 20_000 / counts[:-1].sum()).pvalue < RARE


@pytest.mark.notes("Algorithm 1")
def test_n_steps_do_not_see_all_n_examples(fc: ModuleType, key: Array) -> None:
    """A pass over shuffled examples would. The standard deviation of the number seen is 0.98 %."""
    seen = np.count_nonzero(visits(fc.sgd, 1000, 1000, key=key)) / 1000
    assert abs(seen - (1 - (1 - 1 / 1000) ** 1000)) < 0.04


@pytest.mark.notes("Algorithm 2", "(1.5)")
@pytest.mark.parametrize("batch_size", [3, 600])
def test_algorithm_2_is_this_loop(fc: ModuleType, key: Array, batch_size: int) -> None:
    """For 600 examples, the steps of several blocks."""
    theta, truth = np.array([1.0, 0.5, 2.0]), np.array([2.0, 1.0, 1.5])
    X = np.asarray(jax.random.normal(key, (900, 3)))
    Y = X**2 @ truth**2
    steps = 2 * block_length(600) + 5
    reached = fc.minibatch_sgd(
        theta,
        X,
        Y,
        key=key,
        learning_rate=0.001,
        batch_size=batch_size,
        steps=steps,
        gradient=toy_quadratic_gradient,
    )
    gradient = jax.jit(toy_quadratic_gradient)
    for i in range(steps):
        batch = np.asarray(sample_batch(jax.random.fold_in(key, i), 900, batch_size))
        theta = theta - 0.001 * np.asarray(gradient(theta, X[batch], Y[batch]))
    assert_close(reached, theta)


@pytest.mark.notes("Algorithm 2", "(1.5)")
def test_algorithm_2_takes_the_steps_of_optax(fc: ModuleType, key: Array) -> None:
    params, X, Y = problem(CASE)
    expected, optimiser = params, optax.sgd(0.3)
    state, autodiff = optimiser.init(expected), jax.jit(jax.grad(fc.mean_loss))
    for i in range(4):
        batch = sample_batch(jax.random.fold_in(key, i), CASE.n, 4)
        gradient = autodiff(expected, X[batch], Y[batch])
        updates, state = optimiser.update(gradient, state, expected)
        expected = optax.apply_updates(expected, updates)
        reached = fc.minibatch_sgd(
            params, X, Y, key=key, learning_rate=0.3, batch_size=4, steps=i + 1
        )
        assert_close(reached, expected)


@pytest.mark.notes("Algorithm 1", "Algorithm 2")
def test_algorithm_1_is_algorithm_2_with_one_example(fc: ModuleType, key: Array) -> None:
    params, X, Y = problem(CASE)
    common = {"key": key, "learning_rate": 0.1, "steps": 30}
    assert_close(
        fc.sgd(params, X, Y, **common), fc.minibatch_sgd(params, X, Y, batch_size=1, **common)
    )


@pytest.mark.notes("Algorithm 2", "(1.3)")
def test_with_all_examples_algorithm_2_is_descent_for_every_key(fc: ModuleType, key: Array) -> None:
    params, X, Y = problem(CASE)
    common = {"learning_rate": 0.2, "steps": 30}
    descended = fc.gradient_descent(params, X, Y, **common)
    for k in jax.random.split(key, 5):
        assert_close(fc.minibatch_sgd(params, X, Y, key=k, batch_size=CASE.n, **common), descended)
    fewer = fc.minibatch_sgd(params, X, Y, key=key, batch_size=CASE.n - 1, **common)
    with pytest.raises(AssertionError, match="off by"):
        assert_close(fewer, descended)


@pytest.mark.notes("Algorithm 1", "(1.3)")
def test_a_single_example_leaves_nothing_to_draw(fc: ModuleType, key: Array) -> None:
    params, X, Y = problem(Case(sizes=CASE.sizes, n=1))
    common = {"learning_rate": 0.1, "steps": 10}
    assert_close(
        fc.sgd(params, X, Y, key=key, **common), fc.gradient_descent(params, X, Y, **common)
    )


@pytest.mark.notes("(1.4)", "(1.5)")
def test_a_batch_of_copies_is_one_example(fc: ModuleType, key: Array) -> None:
    """Which it is not where the 1/B is left out."""
    params, X, Y = problem(CASE)
    common = {"key": key, "learning_rate": 0.1, "steps": 3}
    copies = np.repeat(X[:1], 4, 0), np.repeat(Y[:1], 4, 0)
    one = fc.sgd(params, X[:1], Y[:1], **common)
    assert_close(fc.minibatch_sgd(params, *copies, batch_size=4, **common), one)

    def total(params: Any, X: Array, Y: Array) -> Any:
        return jax.tree.map(lambda g: len(X) * g, fc.batch_backprop(params, X, Y))

    summed = fc.minibatch_sgd(params, *copies, batch_size=4, gradient=total, **common)
    with pytest.raises(AssertionError, match="off by"):
        assert_close(summed, one)


@pytest.mark.notes("Algorithm 2", "Algorithm 5")
def test_the_gradient_is_a_part_of_its_own(fc: ModuleType, key: Array) -> None:
    """Autodiff in place of Algorithm 5 gives the same path."""
    params, X, Y = problem(CASE)
    common = {"key": key, "learning_rate": 0.1, "batch_size": 3, "steps": 40}
    autodiff = fc.minibatch_sgd(params, X, Y, gradient=jax.grad(fc.mean_loss), **common)
    assert_close(fc.minibatch_sgd(params, X, Y, **common), autodiff, 1e-12)

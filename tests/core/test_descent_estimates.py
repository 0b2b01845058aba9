"""The gradient of a batch (1.5) as an estimate of the gradient: its mean and its variance."""

from itertools import combinations
from types import ModuleType

import jax
import numpy as np
import pytest
from jax import Array
from support.problems import Case, assert_close, problem

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.notes("(1.5)", "Algorithm 2")
def test_over_all_subsets_the_batch_gradient_has_this_mean_and_variance(fc: ModuleType) -> None:
    """Mean grad J, variance (S^2/B) (n-B)/n with S^2 the variance over examples by n-1."""
    n, size = 6, 4
    params, X, Y = problem(Case(sizes=(3, 5, 2), n=n))
    gradient = jax.jit(jax.vmap(lambda X, Y: fc.batch_backprop(params, X, Y)[0].W))
    batches = np.array(list(combinations(range(n), size)))
    estimates = gradient(X[batches], Y[batches])
    assert_close(estimates.mean(0), fc.batch_backprop(params, X, Y)[0].W)
    single = gradient(X[:, None], Y[:, None])
    assert_close(estimates.var(0), single.var(0, ddof=1) / size * (n - size) / n)


@pytest.mark.notes("(1.5)", "Algorithm 2")
def test_so_do_the_steps_that_are_taken(fc: ModuleType, key: Array) -> None:
    """With replacement the variance would be sigma^2 / B, here 2.5 times as large."""
    n, size, count = 6, 4, 2000
    params, X, Y = problem(Case(sizes=(3, 2), n=n))

    def step(key: Array) -> Array:
        moved = fc.minibatch_sgd(params, X, Y, key=key, learning_rate=1.0, batch_size=size, steps=1)
        return params[0].b - moved[0].b

    steps = jax.jit(jax.vmap(step))(jax.random.split(key, count))
    single = jax.vmap(lambda x, y: fc.backprop(params, x, y)[0].b)(X, Y)
    variance = single.var(0, ddof=1) / size * (n - size) / n
    assert (abs(steps.mean(0) - single.mean(0)) < 5 * np.sqrt(variance / count)).all()
    assert_close(steps.var(0), variance, 0.15)
    with pytest.raises(AssertionError, match="off by"):
        assert_close(steps.var(0), single.var(0) / size, 0.15)

"""The compiled loop: rows that are gathered ahead are those of each step."""

import jax
import jax.numpy as jnp
import optax
import pytest
from support.problems import assert_close

import fcnet
from fcnet.train.batches import Batches
from fcnet.train.loop import Data, State, advance, steps_ahead, take
from fcnet.train.objective import as_objective
from fcnet.train.optimizer import as_optimizer

RATE = {"learning_rate": jnp.asarray(0.05)}
BLOCK, B = 50, 47


@pytest.fixture
def problem(key):
    X = jax.random.normal(key, (60, 150))
    data = Data(X, jnp.abs(X[:, :1]), jnp.linspace(0.5, 1.5, 60))
    rows, masks = jax.random.split(key)
    indices = jax.random.randint(rows, (BLOCK, B), 0, 60)
    batches = Batches(indices, jax.random.bernoulli(masks, 0.8, (BLOCK, B)))
    return fcnet.init(key, (150, 3, 1)), data, batches


@jax.jit
def step(params, X, Y, weights):
    gradient = jax.grad(fcnet.mean_loss)(params, X, Y, weights=weights)
    return jax.tree.map(lambda p, g: p - RATE["learning_rate"] * g, params, gradient)


def one_by_one(params, data, batches, first, last):
    """The steps in plain Python, each on rows of its own."""
    for i in range(first, last):
        rows = batches.indices[i]
        weights = data.weights[rows] * batches.mask[i]
        params = step(params, data.X[rows], data.Y[rows], weights)
    return params


@pytest.mark.parametrize("window", [(0, 21), (3, 4), (7, 7), (BLOCK - 5, BLOCK), (25, BLOCK)])
@pytest.mark.parametrize("ahead", [True, False])
def test_a_window_of_a_block_is_its_steps_one_by_one(problem, window, ahead):
    params, data, batches = problem
    assert 1 < steps_ahead(data, batches) < 21
    assert BLOCK % steps_ahead(data, batches), "no gathering would reach past the block's end"
    optimizer, _ = as_optimizer("sgd", RATE)

    def run(first, last):
        state = State(jax.tree.map(jnp.array, params), optax.sgd(0.05).init(params))
        state, finite = advance(
            state, data, batches, first, last, RATE, optimizer=optimizer, ahead=ahead,
            objective=as_objective("relu", "identity", "squared_error", "backprop"),
        )  # fmt: skip
        assert finite
        return state.params

    first, last = window
    assert_close(run(first, last), one_by_one(params, data, batches, first, last), 1e-5)
    shifted = one_by_one(params, data, batches, max(first - 1, 0), min(last + 1, BLOCK))
    with pytest.raises(AssertionError):
        assert_close(run(first, last), shifted, 1e-5)


def test_steps_whose_rows_are_many_are_gathered_one_by_one(problem):
    batches = problem[2]
    many = Data(jnp.zeros((9, 10**4)), jnp.zeros((9, 1)), None)
    assert steps_ahead(many, batches) == 1
    few = Data(jnp.zeros((9, 1)), jnp.zeros((9, 1)), None)
    assert steps_ahead(few, batches) == BLOCK
    assert take(many, batches, jnp.asarray(2)).X.shape == (B, 10**4)

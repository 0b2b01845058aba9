"""Means of many numbers whose sum is too large for the dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fcnet
from fcnet.losses import as_objective
from fcnet.train.objective import evaluate
from fcnet.train.types import Data

N = 2048
WEIGHTS = {
    "none": None,
    "equal": np.ones(N),
    "one": np.eye(1, N)[0],
    "large": np.full(N, 1e6),
    "varied": np.arange(N),
    "all 0": np.zeros(N),
}


def problem(dtype):
    """A network that is 0 on inputs of 1; its targets, of 200 or 300, are exact in each dtype."""
    params = (fcnet.Layer(jnp.zeros((1, 1), dtype), jnp.zeros(1, dtype)),)
    y = np.where(np.arange(N) % 2, 200.0, 300.0)
    return params, jnp.ones((N, 1), dtype), jnp.asarray(y[:, None], dtype)


def expected(name, per_example):
    """The weighted mean in float64."""
    weights = WEIGHTS[name]
    if name == "all 0":
        return 0.0
    return np.average(per_example, weights=weights)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_a_mean_is_finite_where_its_sum_is_not(fc, dtype, name):
    params, X, Y = problem(dtype)
    y = np.asarray(Y, float)[:, 0]
    gradient = fc.batch_backprop(params, X, Y, weights=WEIGHTS[name])[0]
    loss = fc.mean_loss(params, X, Y, weights=WEIGHTS[name])
    off = 2 * float(jnp.finfo(dtype).eps)
    assert {leaf.dtype for leaf in (*gradient, loss)} == {jnp.dtype(dtype)}
    np.testing.assert_allclose(np.float64(gradient.b[0]), expected(name, -y), rtol=off)
    np.testing.assert_allclose(np.float64(gradient.W[0, 0]), expected(name, -y), rtol=off)
    np.testing.assert_allclose(np.float64(loss), expected(name, y**2 / 2), rtol=off)


def test_dividing_the_sum_is_noticed():
    """The negative control: these means are what overflows."""
    _, _, Y = problem("float16")
    assert not np.isfinite(Y.sum() / N)
    assert not np.isfinite((Y[0, 0] ** 2) / 2)
    shares = jnp.asarray(WEIGHTS["equal"] / 1e8, "float16")
    assert not shares.any()


@pytest.mark.parametrize("name", ["none", "one"])
def test_an_evaluation_is_finite_where_its_sums_are_not(name):
    params, X, Y = problem("float16")
    weights = WEIGHTS[name]
    w = None if weights is None else jnp.asarray(weights / weights.mean(), "float32")
    objective = as_objective("relu", "identity", "squared_error")
    loss, metric = evaluate(objective, params, Data(X, Y, w))
    y = np.asarray(Y, float)[:, 0]
    np.testing.assert_allclose(np.float64(loss), expected(name, y**2 / 2), rtol=1e-3)
    missed = expected(name, y**2) / max(expected(name, (y - expected(name, y)) ** 2), 1e-300)
    np.testing.assert_allclose(np.float64(metric), 0 if name == "one" else 1 - missed, rtol=1e-3)


@pytest.mark.parametrize("weights", [None, pytest.param(np.full(N, 1e6), marks=pytest.mark.slow)])
def test_float16_trains_on_batches_whose_sums_overflow(weights):
    params, X, Y = problem("float16")
    given = {
        "key": jax.random.key(0), "batch_size": N, "steps": 20, "evaluate_every": 10,
        "optimizer": "sgd", "hyperparameters": {"learning_rate": 0.1}, "weights": weights,
    }  # fmt: skip
    y = np.asarray(Y, float)[:, 0]
    ends = [fcnet.fit(params, X, Y, **given).params]
    several = fcnet.sweep(params, X, Y, **{**given, "key": jax.random.split(jax.random.key(0), 2)})
    ends.append(several.member(1))
    if weights is None:
        plain = {k: given[k] for k in ("key", "batch_size", "steps")}
        ends.append(fcnet.minibatch_sgd(params, X, Y, learning_rate=0.1, **plain))
    for end in ends:
        # W and b are alike, and each step takes 0.2 of what W + b is off.
        reached = np.average(y, weights=weights) * (1 - 0.8**20) / 2
        np.testing.assert_allclose(np.float64(end[0].b[0]), reached, rtol=2e-3)
    list_of_batches = [(X, Y)] if weights is None else [(X, Y, weights)]
    streamed = {k: v for k, v in given.items() if k != "weights"}
    end = fcnet.fit(params, list_of_batches, **streamed).params
    np.testing.assert_allclose(np.float64(end[0].b[0]), reached, rtol=2e-3)

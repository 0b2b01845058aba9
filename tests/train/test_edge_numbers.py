"""Numbers at the edge of a format: squares that overflow, losses and numbers that underflow."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fcnet
from fcnet.train import run as host
from fcnet.train.fit import fit
from fcnet.train.sweep import sweep
from fcnet.train.types import State
from fcnet.types import Layer

BAD = 13
"""The step, counted from 0, whose gradient has a square that overflows in float32."""


def one_layer(W, b=0.0):
    return (Layer(jnp.array([[W]], jnp.float32), jnp.array([b], jnp.float32)),)


def batches():
    """Examples of which one has a gradient of about 1e20, and a finite loss."""
    for i in range(30):
        x = np.float32(1e15 if i == BAD else 1 + i % 3)
        yield np.full((1, 1), x), np.full((1, 1), min(x, np.float32(1e5)))


def diverge(optimizer, **choices):
    """The error of a run, and the gradient of the step that it names, in float64."""
    run = partial(
        fit, one_layer(0.0), key=jax.random.key(0), batch_size=1, optimizer=optimizer,
        hyperparameters={"learning_rate": 1e-3}, evaluate_every=None, **choices,
    )  # fmt: skip
    with pytest.raises(fcnet.NonFiniteError, match="or the optimizer's state") as caught:
        run(list(batches()), steps=30)
    before = run(list(batches())[:BAD], steps=BAD)
    jax.tree.map(np.testing.assert_array_equal, caught.value.params, before.params)
    x, y = (np.float64(array.item()) for array in [*batches()][caught.value.step])
    W, b = (np.float64(leaf.item()) for leaf in caught.value.params[0])
    return caught.value, (W * x + b - y) * x


@pytest.mark.parametrize("optimizer", ["adam", pytest.param("rmsprop", marks=pytest.mark.slow)])
@pytest.mark.parametrize("placed", ["on the host", "on a device"])
def test_a_square_that_overflows_in_the_optimiser_is_an_error(monkeypatch, optimizer, placed):
    if placed == "on a device":
        monkeypatch.setattr(host, "on_host", lambda array: array)
    error, gradient = diverge(optimizer)
    assert (error.step, error.evaluation) == (BAD, False)
    assert abs(gradient) < np.finfo(np.float32).max < gradient**2


def test_a_run_that_would_stand_still_is_noticed(monkeypatch):
    monkeypatch.setattr(State, "arrays", property(lambda state: jax.tree.leaves(state.params)))
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        diverge("adam")


@pytest.mark.slow
def test_a_member_whose_optimiser_overflows_is_not_finite():
    huge = jnp.full((1, 1), 1e12)
    starts = jax.tree.map(lambda *leaves: jnp.stack(leaves), one_layer(1.0), one_layer(0.0))
    result = sweep(
        starts, huge, huge, key=jax.random.key(0), sampling="full", steps=3, evaluate_every=1
    )
    assert result.finite.tolist() == [True, False]
    assert np.isfinite(result.history.loss[0]).all()
    assert np.isnan(result.history.loss[1:, 1]).all()


@pytest.mark.untyped
def test_single_numbers_of_an_optimiser_may_be_infinite_and_arrays_may_not():
    """The least loss so far is infinite before the first step."""
    ones = jnp.ones((4, 1))
    run = partial(
        fit, one_layer(0.0), ones, ones, key=jax.random.key(0), sampling="full", steps=9,
        optimizer=optax.chain(
            optax.adam(1e-3), optax.contrib.reduce_on_plateau(accumulation_size=50)
        ),
    )  # fmt: skip
    state = run().opt_state
    assert any(np.isinf(leaf) for leaf in jax.tree.leaves(state) if leaf.ndim == 0)
    assert run(opt_state=state).step == 9
    adam, *others = state
    moments, *rest = adam
    bad = moments._replace(nu=jax.tree.map(lambda leaf: leaf + jnp.inf, moments.nu))
    with pytest.raises(ValueError, match=r"opt_state\[0\]\[0\].nu\[0\].W must be finite, got inf"):
        run(opt_state=((bad, *rest), *others))


SURE = {
    "logistic": ([400.0], [1.0]),
    "softmax_cross_entropy": ([400.0, 0.0, -400.0], [1.0, 0.0, 0.0]),
    "poisson": ([-400.0], [0.0]),
}
"""By loss, outputs and targets at which the loss, and every derivative, is at most exp(-400)."""


def batch(o, y):
    """A network with these outputs, and two examples with these targets."""
    return (Layer(jnp.zeros((len(o), 1)), jnp.array(o)),), jnp.ones((2, 1)), jnp.array([y, y])


@pytest.mark.parametrize("name", SURE)
def test_a_loss_that_underflows_is_zero_and_so_is_its_gradient(name):
    assert np.float32(np.exp(-400.0)) == 0 < np.exp(-400.0)
    given = batch(*SURE[name])
    assert fcnet.mean_loss(*given, loss=name) == 0
    gradient = fcnet.batch_backprop(*given, loss=name)
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient))


def test_a_run_at_a_loss_of_zero_keeps_its_parameters_and_a_wrong_label_moves_them():
    run = partial(
        fit, key=jax.random.key(0), sampling="full", steps=3, optimizer="sgd", loss="logistic"
    )
    o, y = SURE["logistic"]
    params, X, Y = batch(o, y)
    result = run(params, X, Y)
    jax.tree.map(np.testing.assert_array_equal, result.params, params)
    assert result.history.loss.tolist() == [0, 0]
    result = run(params, X, 1 - Y)
    assert result.history.loss[0] == 400
    assert result.params[0].b < params[0].b


@pytest.mark.untyped
def test_half_precision_ends_early_and_the_error_says_what_helps():
    """Adam's epsilon, 1e-8, is 0 in float16, and so is its second moment where gradients are 0."""
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), one_layer(0.0))
    zeros = jnp.zeros((4, 1), jnp.float16)
    run = partial(fit, key=jax.random.key(0), sampling="full", steps=3, evaluate_every=None)
    with pytest.raises(fcnet.NonFiniteError, match='or precision="float32", since float16 ends'):
        run(half, zeros, zeros)
    assert run(half, zeros, zeros, precision="float32").step == 3
    assert "float16" not in str(fcnet.NonFiniteError(1, one_layer(0.0)))


@pytest.mark.slow
def test_the_clipping_that_the_error_names_trains_in_half_precision():
    """The squares of `optax.clip_by_global_norm` overflow: its steps are 0, and nothing says so."""
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), one_layer(0.0))
    X = 1000 * np.array([[1.0], [-1.0]])
    run = partial(fit, half, X, 1.0 * (X > 0), key=jax.random.key(0), sampling="full", steps=3)
    for clip, trains in ((optax.clip, True), (optax.clip_by_global_norm, False)):
        optimizer = optax.chain(clip(1.0), optax.sgd(1e-3))
        losses = run(optimizer=optimizer, loss="logistic").history.loss
        assert (losses[-1] < losses[0]) == trains

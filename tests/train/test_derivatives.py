"""A derivative of the caller's own is compared with that of its function before it is descended.

| call | oracle |
|---|---|
| fit and sweep with a wrong derivative | a warning with its numbers, worked out by hand |
| right derivatives, kinks and clipped logarithms among them | no warning |
| the rows of the tables | nothing is compared |
"""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fcnet
from fcnet import Activation, Loss
from fcnet.losses import as_objective
from fcnet.train import derivatives
from fcnet.train.derivatives import warn_of_derivatives

pytestmark = pytest.mark.untyped

KEY = jax.random.key(0)
X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3)
Y = (X[:, :2] > 0).astype(np.float32)
START = fcnet.init(KEY, (3, 4, 2))
RUN = {"batch_size": 4, "steps": 2}


def squares(factor):
    return Loss("squares", lambda o, y: ((o - y) ** 2).sum(), lambda o, y: factor * (o - y))


def slope(z):
    return jax.nn.sigmoid(z) * (1 + z * (1 - jax.nn.sigmoid(z)))


def entropy(o, y):
    p = jnp.clip(o, 1e-7, 1 - 1e-7)
    return -(y * jnp.log(p) + (1 - y) * jnp.log(1 - p)).sum()


def huber(o, y):
    off = abs(o - y)
    return jnp.where(off < 1, off**2 / 2, off - 0.5).sum()


RIGHT = {
    "squares": {"loss": squares(2)},
    "absolute": {
        "loss": Loss("absolute", lambda o, y: abs(o - y).sum(), lambda o, y: jnp.sign(o - y))
    },
    "Huber's": {"loss": Loss("huber", huber, lambda o, y: jnp.clip(o - y, -1, 1))},
    "a clipped logarithm of probabilities": {
        "loss": Loss("entropy", entropy, lambda o, y: (o - y) / (o * (1 - o))),
        "output_activation": "sigmoid",
    },
    "swish": {"activation": Activation("swish", lambda z: z * jax.nn.sigmoid(z), slope)},
    "a step": {"activation": Activation("step", jnp.sign, jnp.zeros_like)},
}

WRONG = {
    "a factor": ({"loss": squares(1)}, "loss.derivative of 'squares'"),
    "the sign": ({"loss": squares(-2)}, "loss.derivative of 'squares'"),
    "the name of a row": (
        {"loss": squares(1)._replace(name="squared_error")},
        "loss.derivative of 'squared_error'",
    ),
    "an activation": (
        {"activation": Activation("swish", lambda z: z * jax.nn.sigmoid(z), jax.nn.sigmoid)},
        "activation.derivative of 'swish'",
    ),
    "an output activation": (
        {"output_activation": Activation("cube", lambda z: z**3, lambda z: z**2)},
        "output_activation.derivative of 'cube'",
    ),
}


def objective(activation="relu", output_activation="identity", loss="squared_error"):
    return as_objective(activation, output_activation, loss)


def told(call):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    return [str(warning.message) for warning in found]


@pytest.mark.parametrize("case", RIGHT)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_right_derivatives_are_not_told(case, dtype):
    assert told(lambda: warn_of_derivatives(objective(**RIGHT[case]), jnp.asarray(Y, dtype))) == []


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_derivative_is_told(case):
    choice, beginning = WRONG[case]
    (message,) = told(lambda: warn_of_derivatives(objective(**choice), Y))
    assert message.startswith(f"{beginning} is not that of its function: at ")


def test_the_numbers_are_those_of_the_functions():
    (message,) = told(lambda: warn_of_derivatives(objective(loss=squares(1)), np.ones((1, 1))))
    o, v = np.random.default_rng(derivatives.SEED).normal(size=2)
    slope = 2 * (o - 1) * v
    assert f"at o = [{o:.3f}], y = [1.], in the direction [{v:.3f}], it makes " in message
    assert (
        f"a slope of {slope / 2:.3g}, and differences of the function make {slope:.3g}" in message
    )


@pytest.mark.parametrize("seed", range(4))
def test_targets_may_be_drawn_by_any_seed(seed):
    """Were the outputs drawn by that, they would be the targets, where squares have no slope."""
    Y = np.random.default_rng(seed).normal(size=(8, 1))
    assert told(lambda: warn_of_derivatives(objective(**RIGHT["absolute"]), Y)) == []
    assert len(told(lambda: warn_of_derivatives(objective(loss=squares(1)), Y))) == 1


@pytest.mark.parametrize("away", [0, 1e-5, -8e-5])
def test_a_kink_between_the_points_of_a_difference_is_allowed_for(away):
    o = np.random.default_rng(derivatives.SEED).normal(size=(8, 3))
    found = told(lambda: warn_of_derivatives(objective(**RIGHT["absolute"]), o + away))
    assert found == []
    y = np.hstack([o[:, :2] + away, o[:, 2:] + 1])
    wrong = RIGHT["absolute"]["loss"]._replace(derivative=lambda o, y: -jnp.sign(o - y))
    assert len(told(lambda: warn_of_derivatives(objective(loss=wrong), y))) == 1


@pytest.mark.parametrize("train", ["fit", "sweep"])
def test_training_warns_unless_the_derivative_is_not_used(train):
    many = {"params": jax.vmap(partial(fcnet.init, sizes=(3, 4, 2)))(jax.random.split(KEY))}
    start = {"params": START} if train == "fit" else many
    run = partial(
        getattr(fcnet, train), **start, X=X, Y=Y, key=KEY, optimizer="sgd", loss=squares(1), **RUN
    )
    with pytest.warns(UserWarning, match=r"^loss\.derivative of 'squares'") as found:
        run()
    assert found[0].filename == __file__
    assert told(lambda: run(gradient="autodiff")) == []
    assert told(lambda: run(loss=squares(2))) == []


@pytest.mark.parametrize("factor", [1, 2])
def test_a_loss_that_jax_cannot_differentiate_is_compared(factor):
    def value(o, y):
        scalar = jax.ShapeDtypeStruct((), o.dtype)
        return jax.pure_callback(lambda o, y: ((o - y) ** 2).sum(), scalar, o, y,
                                 vmap_method="sequential")  # fmt: skip

    mine = squares(factor)._replace(value=value)
    assert len(told(lambda: warn_of_derivatives(objective(loss=mine), Y))) == (factor == 1)


def test_a_loss_that_takes_no_float64_is_not_compared():
    def value(o, y):
        return jax.lax.mul(o - y, jnp.ones(2, jnp.float32)).sum()

    mine = squares(1)._replace(value=value)
    assert told(lambda: warn_of_derivatives(objective(loss=mine), Y)) == []


def test_rounding_of_the_values_is_allowed_for():
    """In float32, differences of a loss of 1e5 have no digits."""

    def value(o, y):
        return ((o - y) ** 2).sum().astype(jnp.float32) + jnp.float32(1e5)

    assert (
        told(lambda: warn_of_derivatives(objective(loss=squares(2)._replace(value=value)), Y)) == []
    )


def test_the_rows_of_the_tables_compile_nothing(monkeypatch):
    monkeypatch.setattr(derivatives, "_compare", None)
    for activation in fcnet.ACTIVATIONS:
        for loss in fcnet.LOSSES:
            warn_of_derivatives(as_objective(activation, activation, loss), Y)
    with pytest.raises(TypeError):
        warn_of_derivatives(objective(loss=squares(2)), Y)

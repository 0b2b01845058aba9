"""The table of activations: values, derivatives, the kink at 0, and what happens far out."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special
from support.problems import assert_close

from fcnet import ACTIVATIONS, Activation
from fcnet.activations import get_activation

NAMES = list(ACTIVATIONS)

# sigma and sigma' in float64, not written as the package writes them
CLOSED_FORMS = {
    "relu": (lambda z: np.where(z > 0, z, 0), lambda z: np.heaviside(z, 1)),
    "sigmoid": (special.expit, lambda z: 1 / (2 + 2 * np.cosh(z))),
    "tanh": (lambda z: 2 * special.expit(2 * z) - 1, lambda z: np.cosh(z) ** -2.0),
    "identity": (lambda z: z, lambda z: z**0),
    "leaky_relu": (
        lambda z: 0.505 * z + 0.495 * abs(z),
        lambda z: 0.01 + 0.99 * np.heaviside(z, 1),
    ),
    "softplus": (lambda z: np.logaddexp(0, z), lambda z: (1 + np.tanh(z / 2)) / 2),
    "gelu": (
        lambda z: z * special.ndtr(z),
        lambda z: special.ndtr(z) + z * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi),
    ),
    "silu": (
        lambda z: z * special.expit(z),
        lambda z: special.expit(z) + z * special.expit(z) * special.expit(-z),
    ),
    "elu": (
        lambda z: np.where(z > 0, z, special.expm1(z)),
        lambda z: np.where(z > 0, 1, special.expm1(z) + 1),
    ),
}

# sigma(-inf), sigma(inf), sigma'(-inf), sigma'(inf). NaN where JAX's own formula, and PyTorch's,
# multiplies an infinity by zero.
AT_INFINITY = {
    "relu": (0, math.inf, 0, 1),
    "sigmoid": (0, 1, 0, 0),
    "tanh": (-1, 1, 0, 0),
    "identity": (-math.inf, math.inf, 1, 1),
    "leaky_relu": (-math.inf, math.inf, 0.01, 1),
    "softplus": (0, math.inf, 0, 1),
    "gelu": (math.nan, math.inf, math.nan, math.nan),
    "silu": (math.nan, math.inf, math.nan, math.nan),
    "elu": (-1, math.inf, 0, 1),
}

EXTREME = np.array([-1000.0, -100.0, -30.0, 30.0, 100.0, 1000.0])
GRID = np.concatenate([np.linspace(-6, 6, 241), [0.0, -0.0, 1e-6, -1e-6, 20.0, -20.0]])


def test_every_activation_has_its_row_in_these_tables() -> None:
    assert list(CLOSED_FORMS) == list(AT_INFINITY) == NAMES
    assert all(row.name == name for name, row in ACTIVATIONS.items())


@pytest.mark.notes("(2.10)", "(2.14)", "(2.15)")
@pytest.mark.parametrize("name", NAMES)
def test_value_and_derivative_have_their_closed_forms(fc: Any, name: str) -> None:
    for mine, closed in zip(fc.ACTIVATIONS[name][1:], CLOSED_FORMS[name], strict=True):
        with jax.enable_x64(True):
            assert_close(np.asarray(jax.jit(mine)(GRID)), closed(GRID), 1e-14)
        z = np.float32(GRID)
        assert_close(np.asarray(jax.jit(mine)(z)), np.float32(closed(np.float64(z))), 1e-6)


@pytest.mark.notes("(3.15)")
@pytest.mark.parametrize("name", NAMES)
def test_derivative_agrees_with_autodiff_and_differences(fc: Any, name: str) -> None:
    _, function, derivative = fc.ACTIVATIONS[name]
    with jax.enable_x64(True):
        by_hand = np.asarray(jax.jit(derivative)(GRID))
        autodiff = jax.jit(jax.vmap(jax.grad(function)))
        assert_close(by_hand, np.asarray(autodiff(GRID)), 1e-14)
        np.testing.assert_allclose(jax.jit(derivative)(EXTREME), autodiff(EXTREME), atol=1e-15)
        h, smooth = 1e-5, abs(GRID) > 1e-4
        value = jax.jit(function)
        differences = (value(GRID + h) - value(GRID - h)) / (2 * h)
        assert_close(by_hand[smooth], np.asarray(differences)[smooth], 1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_far_out_nothing_overflows(name: str, dtype: str) -> None:
    _, function, derivative = ACTIVATIONS[name]
    with jax.enable_x64(dtype == "float64"), np.errstate(over="ignore"):
        rounding = 32 * np.finfo(dtype).eps  # silu multiplies that of its 1 - s by z = 30
        for mine, closed in zip((function, derivative), CLOSED_FORMS[name], strict=True):
            values = jax.jit(mine)(EXTREME.astype(dtype))
            assert values.dtype == dtype
            np.testing.assert_allclose(values, closed(EXTREME), rtol=rounding, atol=rounding)
        infinite = jnp.array([-jnp.inf, jnp.inf])
        ends = [*function(infinite).tolist(), *derivative(infinite).tolist()]
        np.testing.assert_allclose(ends, AT_INFINITY[name], rtol=rounding)


@pytest.mark.parametrize("name", NAMES)
def test_nan_stays_nan(fc: Any, name: str) -> None:
    assert jnp.isnan(fc.ACTIVATIONS[name].function(jnp.array([jnp.nan]))).all()


@pytest.mark.notes("(2.10)", "(3.15)")
def test_at_zero_the_derivative_of_relu_is_one(fc: Any) -> None:
    relu, ties = fc.ACTIVATIONS["relu"], jnp.array([-1.0, -0.0, 0.0, 1.0])
    expected = [0.0, 1.0, 1.0, 1.0]
    assert relu.derivative(ties).tolist() == expected
    for slope in (jax.grad(relu.function), jax.jacfwd(relu.function), jax.jacrev(relu.function)):
        assert jax.vmap(slope)(ties).tolist() == expected
        assert jax.jit(jax.vmap(slope))(ties).tolist() == expected
    assert jax.jvp(relu.function, (ties,), (3 * jnp.ones(4),))[1].tolist() == [0.0, 3.0, 3.0, 3.0]
    assert not jax.hessian(lambda z: relu.function(z).sum())(ties).any()
    assert jnp.diag(jax.jacfwd(relu.function)(ties)).tolist() == expected


def test_at_zero_other_relus_have_other_derivatives() -> None:
    assert jax.grad(jax.nn.relu)(0.0) == 0.0
    assert jax.grad(lambda z: jnp.maximum(z, 0))(0.0) == 0.5


@pytest.mark.parametrize(("name", "slope"), [("leaky_relu", 1.0), ("elu", 1.0)])
def test_at_zero_the_other_kinks_have_the_slope_from_the_right(name: str, slope: float) -> None:
    for zero in (0.0, -0.0):
        assert ACTIVATIONS[name].derivative(jnp.array(zero)) == slope
        assert jax.grad(ACTIVATIONS[name].function)(zero) == slope


@pytest.mark.notes("(2.10)")
def test_relu_splits_numbers_into_their_halves(fc: Any) -> None:
    relu, z = fc.ACTIVATIONS["relu"].function, jnp.array([*GRID, -jnp.inf, jnp.inf])
    assert (relu(z) + relu(-z) == abs(z)).all()
    assert (relu(z[:-2]) - relu(-z[:-2]) == z[:-2]).all()
    assert (relu(4 * z) == 4 * relu(z)).all()


@pytest.mark.notes("(2.14)", "(2.15)")
def test_sigmoid_and_tanh_are_one_function_and_stable() -> None:
    sigmoid, tanh = ACTIVATIONS["sigmoid"], ACTIVATIONS["tanh"].function
    z = np.float32(GRID)
    np.testing.assert_allclose(sigmoid.function(z) + sigmoid.function(-z), 1, rtol=1e-6)
    np.testing.assert_allclose(tanh(z), 2 * sigmoid.function(2 * z) - 1, rtol=1e-6, atol=1e-6)
    assert (sigmoid.function(jnp.array(0.0)), sigmoid.derivative(jnp.array(0.0))) == (0.5, 0.25)

    def literal(z: Any) -> Any:
        return 1 / (1 + jnp.exp(-z))

    assert jnp.isnan(jax.grad(literal)(-100.0))
    assert jnp.isfinite(jax.grad(sigmoid.function)(-100.0))


def acts_entrywise(function: Any) -> bool:
    z = jnp.array([-2.0, 0.0, 0.5, 3.0])
    return bool(jnp.allclose(function(z), jax.vmap(function)(z[:, None])[:, 0], rtol=1e-6))


@pytest.mark.parametrize("name", NAMES)
def test_an_activation_acts_on_each_entry_alone(name: str) -> None:
    assert acts_entrywise(ACTIVATIONS[name].function)
    assert acts_entrywise(ACTIVATIONS[name].derivative)


def test_a_softmax_does_not() -> None:
    assert not acts_entrywise(jax.nn.softmax)


def test_a_row_of_the_callers_own_is_taken_as_it_is() -> None:
    mine = Activation("cube", lambda z: z**3, lambda z: 3 * z**2)
    assert get_activation(mine) is mine
    assert get_activation("elu") is ACTIVATIONS["elu"]

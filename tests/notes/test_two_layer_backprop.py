"""Algorithms 3 and 4 and the naive gradient: three ways to one gradient, and wrong ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import Array
from support.notes_cases import (
    assert_rejects,
    central_differences,
    random_case,
    random_params,
)
from support.problems import assert_close
from support.two_layer_faults import ALGORITHMS, STRICT, WRONG, algorithm_4, each_algorithm

from fcnet import Layer, backprop
from fcnet.notes import two_layer, two_layer_loss

pytestmark = pytest.mark.usefixtures("x64")

each_wrong = pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)


BY_AUTODIFF = jax.jit(jax.grad(two_layer_loss))


def assert_gradient(gradient, case) -> None:
    assert_close(gradient(*case), BY_AUTODIFF(*case))


@pytest.mark.notes("(3.8)")
def test_the_loss_is_half_the_squared_residual(key: Array) -> None:
    params, x, _ = random_case(key)
    o = two_layer(params, x)
    for t in (0.5, -2.0):
        assert_close(two_layer_loss(params, x, o + t), jnp.array(t**2 / 2))
    assert two_layer_loss(params, x, o) == 0


@pytest.mark.notes("Algorithm 3", "(3.9)", "Algorithm 4", "(3.10)")
@each_algorithm
def test_gradient_against_autodiff(gradient, key: Array) -> None:
    case = random_case(key)
    assert_gradient(gradient, case)
    assert_gradient(algorithm_4(), case)


@pytest.mark.notes("Algorithm 3", "Algorithm 4")
@each_wrong
def test_wrong_gradients_are_noticed(wrong, key: Array) -> None:
    case = random_case(key)
    assert_rejects(lambda gradient: assert_gradient(gradient, case), wrong)


BACKPROP, *COMPILED = map(jax.jit, (backprop, *ALGORITHMS.values()))


@pytest.mark.notes("Algorithm 3", "Algorithm 4", "Algorithm 5")
@settings(max_examples=15)
@given(d=st.sampled_from([1, 2, 4]), m=st.sampled_from([1, 2, 4]), seed=st.integers(0, 2**32 - 1))
def test_all_ways_agree(d: int, m: int, seed: int) -> None:
    params, x, y = random_case(jax.random.key(seed), d, m)
    expected = BACKPROP(params, x, y[None])
    for gradient in COMPILED:
        assert_close(gradient(params, x, y), expected, 1e-11)


@pytest.mark.notes("Algorithm 3", "Algorithm 4", "Footnote 5", "Footnote 6")
@each_algorithm
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_derivative_has_the_shape_and_dtype_of_its_variable(gradient, dtype, key: Array) -> None:
    params, x, y = random_case(key)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    result = gradient(params, np.asarray(x), np.asarray(y))
    assert jax.tree.map(lambda g: (g.shape, g.dtype), result) == jax.tree.map(
        lambda p: (p.shape, p.dtype), params
    )


@pytest.mark.notes("Algorithm 3", "Algorithm 4")
def test_against_central_differences(key: Array) -> None:
    """J is piecewise quadratic in each parameter, so these are exact up to rounding."""
    case = random_case(key)
    differences = central_differences(
        lambda params: two_layer_loss(params, *case[1:]), case[0], 1e-3
    )

    def assert_exact(gradient) -> None:
        assert_close(gradient(*case), differences, 1e-9)

    for gradient in ALGORITHMS.values():
        assert_exact(gradient)
    for wrong in WRONG.values():
        assert_rejects(assert_exact, wrong)


@pytest.mark.notes("(3.9)", "(3.10)", "Algorithm 3", "Algorithm 4")
@each_algorithm
def test_ties_count_as_active_and_dead_units_get_nothing(gradient) -> None:
    """z = (0, -1, 2) exactly; o = 3, y = 1."""
    params = (
        Layer(jnp.array([[1.0, -1.0], [0.0, -1.0], [1.0, 1.0]]), jnp.zeros(3)),
        Layer(jnp.array([[5.0, 7.0, 1.0]]), jnp.array([1.0])),
    )
    x, y = jnp.ones(2), jnp.array(1.0)

    def assert_ties(gradient) -> None:
        (dW1, db1), (dW2, db2) = gradient(params, x, y)
        assert dW1.tolist() == [[10.0, 10.0], [0.0, 0.0], [2.0, 2.0]]
        assert db1.tolist() == [10.0, 0.0, 2.0]
        assert dW2.tolist() == [[0.0, 0.0, 4.0]]
        assert db2.tolist() == [2.0]

    assert_ties(gradient)
    assert_rejects(assert_ties, STRICT)
    assert_gradient(gradient, (params, x, y))


@pytest.mark.notes("Algorithm 3", "Algorithm 4")
@each_algorithm
def test_with_all_units_dead_only_the_last_bias_learns(gradient, key: Array) -> None:
    params = random_params(key, (3, 5, 1))
    params = (params[0]._replace(b=jnp.full(5, -100.0)), params[1])
    (dW1, db1), (dW2, db2) = gradient(params, jnp.ones(3), jnp.array(9.0))
    assert (dW1 == 0).all()
    assert (db1 == 0).all()
    assert (dW2 == 0).all()
    assert db2 == params[1].b - 9


@pytest.mark.untyped
@each_algorithm
def test_bad_input(gradient, key: Array) -> None:
    params, x, y = random_case(key)
    with pytest.raises(ValueError, match=r"y has shape \(1,\), expected \(\)"):
        gradient(params, x, y[None])
    with pytest.raises(ValueError, match=r"x has shape \(2,\), expected \(d,\) = \(3,\)"):
        gradient(params, x[:2], y)
    with pytest.raises(ValueError, match="y must be finite"):
        gradient(params, x, jnp.inf)
    with pytest.raises(ValueError, match=r"expected \(d, m, 1\)"):
        gradient(params[:1], x, y)
    with pytest.raises(TypeError, match=r"params\[0\].W must be floating"):
        gradient(jax.tree.map(lambda leaf: leaf.astype(int), params), x, y)

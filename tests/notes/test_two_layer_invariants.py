"""Properties of the gradient of two layers, most of them without autodiff, and what breaks them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from support.notes_cases import assert_rejects, random_case
from support.problems import assert_close, compiled
from support.two_layer_faults import WRONG, algorithm_4, each_algorithm

from fcnet import Layer, Params
from fcnet.notes import two_layer

pytestmark = pytest.mark.usefixtures("x64")


def assert_balanced(gradient, case) -> None:
    """sum_i W1[j, i] dW1[j, i] + b1[j] db1[j] = W2[0, j] dW2[0, j], since z 1{z >= 0} = a."""
    ((W1, b1), (W2, _)) = case[0]
    (dW1, db1), (dW2, _) = gradient(*case)
    assert dW1.shape == W1.shape
    assert db1.shape == b1.shape
    assert dW2.shape == W2.shape
    assert_close((W1 * dW1).sum(axis=1) + b1 * db1, (W2 * dW2)[0])


@pytest.mark.notes("Algorithm 3", "Algorithm 4")
@each_algorithm
def test_each_unit_is_in_balance(gradient, key: Array) -> None:
    case = random_case(key)
    assert_balanced(gradient, case)
    for fault in ("no mask", "no w2", "x and delta swapped", "no db", "db as a column"):
        assert_rejects(lambda wrong: assert_balanced(wrong, case), WRONG[fault])


@pytest.mark.notes("Algorithm 3", "Algorithm 4")
@each_algorithm
def test_gradients_are_linear_in_the_residual(gradient, key: Array) -> None:
    params, x, _ = random_case(key)
    o = two_layer(params, x)

    def assert_linear(gradient) -> None:
        unit = gradient(params, x, o - 1)
        assert_close(unit[1].b, jnp.ones(1))
        assert_close(gradient(params, x, o + 2.5), jax.tree.map(lambda g: -2.5 * g, unit))

    assert_linear(gradient)
    assert_rejects(assert_linear, WRONG["sign"])
    assert_rejects(assert_linear, algorithm_4(error=lambda o, y: (o - y) ** 2))


@pytest.mark.notes("Algorithm 3", "Algorithm 4")
@each_algorithm
def test_permuting_hidden_units_permutes_the_gradient(gradient, key: Array) -> None:
    params, x, y = random_case(key)
    order = np.array([3, 0, 4, 1, 2])

    def permuted(params: Params) -> Params:
        (W1, b1), (W2, b2) = params
        return Layer(W1[order], b1[order]), Layer(W2[:, order], b2)

    assert_close(gradient(permuted(params), x, y), permuted(gradient(params, x, y)))
    first_unit = algorithm_4(back=lambda W2, delta2: W2[0, 0] * delta2[0] * jnp.ones(W2.shape[1]))
    assert_rejects(
        lambda wrong: assert_close(wrong(permuted(params), x, y), permuted(wrong(params, x, y))),
        first_unit,
    )


@pytest.mark.notes("Algorithm 3", "Algorithm 4")
@each_algorithm
def test_without_biases_both_layers_have_the_same_inner_product(gradient, key: Array) -> None:
    """Euler: o is homogeneous of degree 1 in W^[1] and in W^[2], so both give (o - y) o."""
    ((W1, _), (W2, _)), x, y = random_case(key)
    params = Layer(W1, jnp.zeros(5)), Layer(W2, jnp.zeros(1))
    o = two_layer(params, x)

    def assert_euler(gradient) -> None:
        (dW1, _), (dW2, _) = gradient(params, x, y)
        assert (dW1.shape, dW2.shape) == (W1.shape, W2.shape)
        for product in ((W1 * dW1).sum(), (W2 * dW2).sum()):
            assert_close(product, (o - y) * o, 1e-11)

    assert_euler(gradient)
    for fault in ("no mask", "no w2", "sign", "no 1/2 in the loss", "dW2 as a column"):
        assert_rejects(assert_euler, WRONG[fault])


@pytest.mark.notes("(3.10)", "Algorithm 3", "Algorithm 4")
@each_algorithm
def test_the_bias_gradients_are_the_deltas(gradient, key: Array) -> None:
    """delta^[k] is the gradient for zeros added to z^[k]; and dW^[k] is delta^[k] times a row."""
    params, x, y = random_case(key)
    (W1, b1), (W2, b2) = params

    def cost(added: tuple[Array, Array]) -> Array:
        o = W2 @ jnp.maximum(W1 @ x + b1 + added[0], 0) + b2 + added[1]
        return ((o - y) ** 2).sum() / 2

    deltas = compiled(jax.grad(cost), (np.zeros(5), np.zeros(1)))

    def assert_deltas(gradient) -> None:
        result = gradient(params, x, y)
        assert_close(tuple(layer.b for layer in result), deltas)
        for layer in result:
            assert np.linalg.matrix_rank(layer.W) == 1

    assert_deltas(gradient)
    for fault in ("no mask", "mask turned around", "no w2", "no db", "db as a column"):
        assert_rejects(assert_deltas, WRONG[fault])


@pytest.mark.notes("Algorithm 3", "Algorithm 4")
@each_algorithm
def test_units_that_start_equal_stay_equal(gradient, key: Array) -> None:
    _, x, y = random_case(key)
    params = (
        Layer(np.tile([0.5, -0.25, 1.0], (4, 1)), np.full(4, 5.0)),
        Layer(np.full((1, 4), 0.5), np.zeros(1)),
    )

    def assert_equal_units(gradient) -> None:
        (dW1, db1), (dW2, _) = gradient(params, x, y)
        assert np.linalg.norm(dW1[0]) > 1e-3
        assert (dW1 == dW1[0]).all()
        assert (db1 == db1[0]).all()
        assert (dW2 == dW2[0, 0]).all()

    assert_equal_units(gradient)
    assert_rejects(assert_equal_units, algorithm_4(mask=lambda z, a: jnp.arange(4) > 0))

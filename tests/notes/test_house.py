"""The house network of figure 2: its wiring, its price, and the dense network it is part of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from support.notes_cases import assert_rejects, random_params
from support.problems import assert_close, compiled

from fcnet import backprop, count_params, forward, gradient_descent
from fcnet.notes import (
    EDGES,
    INPUTS,
    MASK,
    dense_house_network,
    dense_to_house,
    house_gradient,
    house_network,
    house_to_dense,
)

pytestmark = pytest.mark.usefixtures("x64")

# every hidden unit is active at X[0]; "walkable" and "school quality" are dead at X[1]
THETA = np.array([0.5, -1.0, 0.25, 2.0, -0.5, 1.5, -0.75, 0.125, 3.0, -4.0, 5.0, -6.0])
X = np.array([[4.0, 1.0, 2.0, 1.0], [2.0, 0.5, -2.0, 3.0], [-1.0, 0.5, 1.0, 4.0]])
Y = np.array([3.0, -1.0, 2.0])


@pytest.mark.notes("Figure 2")
def test_the_wiring_is_that_of_the_figure() -> None:
    assert INPUTS == ("size", "bedrooms", "zip code", "wealth")
    assert list(EDGES) == ["family size", "walkable", "school quality"]
    assert MASK.tolist() == [
        [True, True, False, False],
        [False, False, True, False],
        [False, False, True, True],
    ]


@pytest.mark.notes("(2.3)")
def test_the_price_by_hand() -> None:
    # a = (1.25, 3.5, 2.375) and (0.75, 0, 0): the second price is negative, no ReLU at the end
    assert house_network(THETA, X[0]) == 3 * 1.25 - 4 * 3.5 + 5 * 2.375 - 6
    assert house_network(THETA, X[1]) == 3 * 0.75 - 6
    assert house_network(THETA, X[1]) < 0


def assert_wired(network) -> None:
    """What moves the price through which unit, by autodiff, while all three units are active."""
    gradient = compiled(jax.grad(network, argnums=(0, 1)), THETA, X[0])
    dh_dtheta, dh_dx = map(np.asarray, gradient)
    t = THETA
    assert_close(dh_dx[0], t[8] * t[0])
    assert_close(dh_dx[1], t[8] * t[1])
    assert_close(dh_dx[2], t[9] * t[3] + t[10] * t[5])  # zip code: two paths
    assert_close(dh_dx[3], t[10] * t[6])
    assert_close(dh_dtheta[8:], np.array([1.25, 3.5, 2.375, 1.0]))


def wrongly_wired(theta, x):
    """Zip code feeds only "walkable"."""
    zip_code = jax.lax.stop_gradient(x[2])
    (W1, b1), (W2, b2) = house_to_dense(theta)
    z = W1 @ x + b1
    z = z.at[2].add(W1[2, 2] * (zip_code - x[2]))
    return (W2 @ jnp.maximum(z, 0) + b2)[0]


@pytest.mark.notes("(2.3)", "Figure 2")
def test_each_input_moves_the_price_through_its_own_units() -> None:
    assert_wired(house_network)
    assert_rejects(assert_wired, wrongly_wired)
    assert_rejects(assert_wired, lambda theta, x: jnp.maximum(house_network(theta, x), 0.0))
    assert_rejects(assert_wired, lambda theta, x: house_network(theta, x[::-1]))


@pytest.mark.notes("(2.3)")
def test_with_all_units_dead_the_price_is_the_last_parameter() -> None:
    theta = THETA.copy()
    theta[[2, 4, 7]] = -100
    assert house_network(theta, X[0]) == theta[11]


@pytest.mark.notes("(2.3)", "(2.4)", "(2.11)")
def test_it_is_a_dense_network_with_seven_zeros() -> None:
    params = house_to_dense(THETA)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count_params((4, 3, 1)) == 19
    assert (params[0].W[~MASK] == 0).all()
    assert np.count_nonzero(~MASK) == 7
    assert len(THETA) == 12
    house, dense, general = map(jax.jit, (house_network, dense_house_network, forward))
    for x in X:
        assert_close(dense(params, x), house(THETA, x))
        assert_close(np.asarray(general(params, x))[0], house(THETA, x))


@pytest.mark.notes("(2.3)", "(2.4)")
def test_conversion_there_and_back() -> None:
    assert (dense_to_house(house_to_dense(THETA)) == THETA).all()
    assert house_to_dense(THETA)[0].b.tolist() == THETA[[2, 4, 7]].tolist()
    assert house_to_dense(THETA)[1].W.tolist() == [THETA[8:11].tolist()]


@pytest.mark.notes("(2.4)")
def test_in_the_dense_network_every_unit_sees_every_input(key: Array) -> None:
    params = random_params(key, (4, 3, 1))
    far = (params[0]._replace(b=jnp.full(3, 50.0)), params[1])  # every unit active

    general = jax.jit(forward)

    def assert_dense(network) -> None:
        price = jax.jit(network)
        for x in X:
            for layers in (far, params):
                assert_close(price(layers, x), np.asarray(general(layers, x))[0])
        dh_dW1 = compiled(jax.grad(network), far, X[0])[0].W
        assert_close(dh_dW1, np.outer(far[1].W, X[0]))

    assert_dense(dense_house_network)
    assert_rejects(
        assert_dense,
        lambda p, x: dense_house_network((p[0]._replace(W=p[0].W * MASK), p[1]), x),
    )


def assert_gradient(gradient) -> None:
    def mean_cost(theta):
        h = jax.vmap(house_network, in_axes=(None, 0))(theta, X)
        return jnp.mean((h - Y) ** 2) / 2

    assert_close(compiled(gradient, THETA, X, Y), compiled(jax.grad(mean_cost), THETA))


@pytest.mark.notes("(2.3)", "Algorithm 5")
def test_its_gradient_is_the_dense_one_on_the_edges_of_the_figure() -> None:
    assert_gradient(house_gradient)
    one = dense_to_house(compiled(backprop, house_to_dense(THETA), X[0], Y[:1]))
    assert_close(compiled(house_gradient, THETA, X[:1], Y[:1]), one)


@pytest.mark.notes("(2.3)")
@pytest.mark.parametrize(
    "wrong",
    [
        lambda theta, X, Y: len(X) * house_gradient(theta, X, Y),
        lambda theta, X, Y: house_gradient(theta, X, Y[::-1]),
        lambda theta, X, Y: house_gradient(theta, X, Y)[::-1],
        lambda theta, X, Y: house_gradient(theta, X, Y).at[5].set(0),
    ],
    ids=["sum for mean", "others' targets", "order", "one path of two"],
)
def test_wrong_gradients_are_noticed(wrong) -> None:
    assert_rejects(assert_gradient, wrong)


@pytest.mark.notes("(2.3)", "(1.3)")
def test_it_trains_by_gradient_descent() -> None:
    start = THETA + 0.1
    all_prices = jax.jit(jax.vmap(house_network, in_axes=(None, 0)))
    prices = np.asarray(all_prices(THETA, X))

    def cost(theta) -> float:
        return np.mean((all_prices(theta, X) - prices) ** 2)

    trained = gradient_descent(
        start, X, prices, learning_rate=0.005, steps=300, gradient=house_gradient
    )
    assert cost(trained) < 1e-2 * cost(start)


@pytest.mark.untyped
def test_bad_input(key: Array) -> None:
    with pytest.raises(ValueError, match=r"theta has shape \(11,\), expected \(12,\)"):
        house_network(THETA[:11], X[0])
    with pytest.raises(ValueError, match=r"x has shape \(3, 4\), expected \(4,\)"):
        house_network(THETA, X)
    with pytest.raises(ValueError, match=r"Y has shape \(3, 1\), expected \(n,\)"):
        house_gradient(THETA, X, Y[:, None])
    with pytest.raises(TypeError, match="theta must be floating"):
        house_to_dense(np.arange(12))
    with pytest.raises(ValueError, match=r"params\[0\].W has shape \(4, 3\), expected \(3, 4\)"):
        dense_to_house(random_params(key, (3, 4, 1)))
    with pytest.raises(ValueError, match=r"sizes \(4, 3, 2\), expected \(d, m, 1\)"):
        dense_house_network(random_params(key, (4, 3, 2)), X[0])

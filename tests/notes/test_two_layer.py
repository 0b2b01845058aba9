"""The two-layer network: loops and their vectorised forms agree, and are what (2.5)-(2.11) say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import Array
from support.notes_cases import assert_rejects, normals, random_case, random_params
from support.problems import assert_close

from fcnet import Layer, forward
from fcnet.notes import affine, affine_loop, one_neuron, stack_weights, two_layer, two_layer_loop

pytestmark = pytest.mark.usefixtures("x64")

W = np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])  # m = 2 units, d = 3 inputs
B = np.array([10.0, -20.0])
X = np.array([1.0, 2.0, 3.0])
SIZES = st.sampled_from([1, 2, 4])


@pytest.mark.notes("(2.5)", "(2.8)", "(2.9)")
@pytest.mark.parametrize("function", [affine_loop, affine], ids=["loop", "matrix"])
def test_pre_activations_by_hand(function) -> None:
    assert function(W, B, X).tolist() == [8 + 10, 26 - 20]


def assert_affine(function) -> None:
    """z_j = w_j^T x + b_j, exactly in whole numbers, for a rectangle and for a square."""
    for weights, b, x in ((W, B, X), (np.array([[1.0, 2.0], [3.0, 4.0]]), B, X[:2])):
        expected = [
            sum(w_i * x_i for w_i, x_i in zip(w, x, strict=True)) + b_j
            for w, b_j in zip(weights, b, strict=True)
        ]
        assert_close(function(weights, b, x), jnp.array(expected), 0)


@pytest.mark.notes("(2.5)", "(2.8)", "(2.9)")
def test_wrong_pre_activations_are_noticed() -> None:
    assert_affine(affine)
    assert_affine(affine_loop)
    for wrong in (
        lambda W, b, x: jnp.array(W @ x),
        lambda W, b, x: jnp.array(W @ x - b),
        lambda W, b, x: jnp.array(W @ x + b[:, None]),  # a column against a row: a matrix
        lambda W, b, x: affine(W.T, b, x) if W.shape == (2, 2) else affine(W, b, x),
        lambda W, b, x: affine(W, b, x) + jnp.array([0.0, W[1, 0]]),
    ):
        assert_rejects(assert_affine, wrong)


@pytest.mark.notes("(2.8)")
def test_a_column_of_biases_would_give_a_matrix() -> None:
    assert (W @ X + B[:, None]).shape == (2, 2)
    assert affine(W, B, X).shape == (2,)


@pytest.mark.notes("(2.7)")
def test_weights_are_stacked_as_rows() -> None:
    def assert_stacked(stack) -> None:
        stacked = stack(list(W))
        assert stacked.shape == (2, 3)
        for j, w in enumerate(W):
            assert (stacked[j] == w).all()

    assert_stacked(stack_weights)
    assert_rejects(assert_stacked, lambda weights: jnp.stack(weights, axis=1))
    assert_rejects(assert_stacked, lambda weights: jnp.stack(weights).T.reshape(2, 3))


@pytest.mark.notes("Figure 3", "(2.5)")
@pytest.mark.parametrize(("j", "i"), [(0, 0), (0, 2), (1, 0), (1, 2)])
@pytest.mark.parametrize("function", [affine_loop, affine], ids=["loop", "matrix"])
def test_the_edge_from_input_i_to_unit_j_carries_one_weight(function, j: int, i: int) -> None:
    moved = W.copy()
    moved[j, i] += 0.5
    change = np.zeros(2)
    change[j] = 0.5 * X[i]
    assert (function(moved, B, X) - function(W, B, X)).tolist() == change.tolist()


@pytest.mark.notes("(2.5)", "(2.6)", "(2.9)", "(2.10)", "(2.11)")
@settings(max_examples=20)
@given(d=SIZES, m=SIZES, seed=st.integers(0, 2**32 - 1))
def test_loops_and_matrices_agree(d: int, m: int, seed: int) -> None:
    params = random_params(jax.random.key(seed), (d, m, 1))
    (x,) = normals(jax.random.key(seed), (d,))
    (W1, b1), _ = params
    assert_close(affine_loop(W1, b1, x), affine(W1, b1, x), 1e-11)
    h = two_layer(params, x)
    assert h.shape == ()
    # relative to the size of the terms, which may cancel in h
    scale = 1 + abs(params[1].W[0]) @ abs(affine(W1, b1, x)) + abs(params[1].b[0])
    assert abs(two_layer_loop(params, x) - h) < 1e-12 * scale
    assert abs(forward(params, x)[0] - h) < 1e-12 * scale


def with_activation(function):
    def network(params, x) -> Array:
        (W1, b1), (W2, b2) = params
        return (W2 @ function(W1 @ x + b1) + b2)[0]

    return network


@pytest.mark.notes("(2.6)", "(2.11)")
def test_hidden_units_are_neurons(key: Array) -> None:
    params, x, _ = random_case(key)
    (W1, b1), (W2, b2) = params
    a = [one_neuron(w, b, x) for w, b in zip(W1, b1, strict=True)]

    def assert_two_layers(network) -> None:
        assert_close(network(params, x), jnp.dot(W2[0], jnp.array(a)) + b2[0])

    for network in (two_layer, two_layer_loop, with_activation(lambda z: jnp.maximum(z, 0))):
        assert_two_layers(network)
    for wrong in (
        with_activation(lambda z: z),
        with_activation(abs),
        lambda params, x: jnp.maximum(two_layer(params, x), 0) - b2[0],
        lambda params, x: two_layer(params, x) - b2[0],
        lambda params, x: two_layer(params, x)[None],
    ):
        assert_rejects(assert_two_layers, wrong)


@pytest.mark.notes("(2.6)", "(2.11)")
@pytest.mark.parametrize("network", [two_layer, two_layer_loop])
def test_the_output_is_affine_in_the_last_layer(network, key: Array) -> None:
    (first, (W2, b2)), x, _ = random_case(key)
    h = network((first, Layer(W2, b2)), x)
    assert_close(network((first, Layer(3 * W2, 3 * b2)), x), 3 * h)
    assert_close(network((first, Layer(W2, b2 + 2)), x), h + 2)


@pytest.mark.notes("(2.6)", "(2.11)")
def test_without_biases_it_is_homogeneous_of_degree_two(key: Array) -> None:
    ((W1, _), (W2, _)), x, _ = random_case(key)

    def assert_homogeneous(network, power: int = 2) -> None:
        def at(c: float) -> Array:
            return network((Layer(c * W1, jnp.zeros(5)), Layer(c * W2, jnp.zeros(1))), x)

        assert_close(at(1.5), 1.5**power * at(1))

    assert_homogeneous(two_layer)
    assert_homogeneous(two_layer_loop)
    assert_rejects(assert_homogeneous, with_activation(jnp.tanh))
    assert_rejects(lambda f: assert_homogeneous(f, power=1), two_layer)


@pytest.mark.notes("(2.11)")
def test_permuting_and_rescaling_hidden_units_changes_nothing(key: Array) -> None:
    ((W1, b1), (W2, b2)), x, _ = random_case(key)
    h = two_layer((Layer(W1, b1), Layer(W2, b2)), x)
    order, scale = np.array([3, 0, 4, 1, 2]), np.array([0.5, 2.0, 3.0, 0.25, 10.0])
    permuted = Layer(W1[order], b1[order]), Layer(W2[:, order], b2)
    rescaled = Layer(scale[:, None] * W1, scale * b1), Layer(W2 / scale, b2)
    assert_close(two_layer(permuted, x), h)
    assert_close(two_layer(rescaled, x), h)
    half_permuted = Layer(W1[order], b1[order]), Layer(W2, b2)
    assert_rejects(lambda p: assert_close(two_layer(p, x), h), half_permuted)


@pytest.mark.untyped
def test_bad_input(key: Array) -> None:
    with pytest.raises(ValueError, match=r"b has shape \(2, 1\), expected \(m,\)"):
        affine(W, B[:, None], X)
    with pytest.raises(ValueError, match=r"x has shape \(2,\), expected \(d,\) = \(3,\)"):
        affine_loop(W, B, X[:2])
    for weights in ([], None, W):
        with pytest.raises(TypeError, match="weights must be a non-empty sequence"):
            stack_weights(weights)
    with pytest.raises(
        ValueError, match=r"weights\[1\] has shape \(2,\), expected \(d,\) = \(3,\)"
    ):
        stack_weights([X, X[:2]])
    with pytest.raises(TypeError, match=r"weights\[0\] must be floating"):
        stack_weights([np.arange(3)])
    for network in (two_layer, two_layer_loop):
        with pytest.raises(ValueError, match=r"sizes \(3, 5, 4, 1\), expected \(d, m, 1\)"):
            network(random_params(key, (3, 5, 4, 1)), X)
        with pytest.raises(ValueError, match=r"x has shape \(4, 3\)"):
            network(random_params(key, (3, 5, 1)), np.ones((4, 3)))

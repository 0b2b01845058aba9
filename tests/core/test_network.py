"""The network of (2.12): how it starts, its forward pass, its counts, and a thousand layers."""

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from support.problems import Case, assert_close, compiled, problem

import fcnet


def by_loops(params: Any, x: Any, sigma: Any, sigma_r: Any) -> tuple[Any, Any]:
    """a^[0..r] and z^[1..r], one unit and one input at a time, in Python's own numbers."""
    a, z = [[float(v) for v in x]], []
    for k, (W, b) in enumerate(params, start=1):
        z.append([])
        for w_j, b_j in zip(W.tolist(), b.tolist(), strict=True):
            z[-1].append(sum(w * v for w, v in zip(w_j, a[-1], strict=True)) + b_j)
        a.append([(sigma_r if k == len(params) else sigma)(v) for v in z[-1]])
    return a, z


@pytest.mark.notes("(2.12)", "(2.13)", "(2.21)")
@pytest.mark.parametrize("sizes", [(5, 4, 3, 2), (4, 2)])
def test_forward_agrees_with_loops(fc: Any, sizes: tuple[int, ...]) -> None:
    with jax.enable_x64(True):
        params, X, _ = problem(Case(sizes))
        for x in X[:3]:
            a, z = by_loops(params, x, lambda v: max(v, 0.0), np.tanh)
            trace = compiled(fc.forward_trace, params, x, output_activation="tanh")
            assert_close(tuple(trace.a), tuple(jnp.array(v) for v in a))
            assert_close(tuple(trace.z), tuple(jnp.array(v) for v in z))
            assert_close(compiled(fc.forward, params, x, output_activation="tanh"), trace.a[-1])
            assert_close(compiled(fc.features, params, x), trace.a[-2])


@pytest.mark.notes("(2.12)")
def test_the_output_is_affine_and_the_hidden_layers_are_not(fc: Any) -> None:
    params = (
        (jnp.array([[1.0, 0.0], [0.0, 2.0]]), jnp.array([0.0, -1.0])),
        (jnp.array([[1.0, 1.0], [-3.0, 0.0], [0.0, 0.5]]), jnp.array([0.0, 1.0, 0.0])),
    )
    # z^[1] = (-1, 3), so a^[1] = (0, 3); no ReLU at the end
    assert fc.forward(params, jnp.array([-1.0, 2.0])).tolist() == [3.0, 1.0, 1.5]
    assert fc.forward(params, jnp.array([1.0, 0.0])).tolist() == [1.0, -2.0, 0.0]
    assert fc.forward(params, jnp.array([1.0, 0.0]), output_activation="relu").tolist() == [1, 0, 0]


@pytest.mark.notes("(2.2)")
def test_one_layer_has_no_relu_unless_it_is_asked_for(fc: Any) -> None:
    params, x = ((-jnp.ones((1, 2)), jnp.zeros(1)),), jnp.array([3.0, 4.0])
    assert fc.forward(params, x).tolist() == [-7.0]
    assert fc.forward(params, x, output_activation="relu").tolist() == [0.0]
    assert fc.features(params, x).tolist() == [3.0, 4.0]


@pytest.mark.notes("(2.21)")
def test_the_output_is_linear_in_the_features(fc: Any) -> None:
    params, X, _ = problem(Case(activation="silu"))
    phi = compiled(fc.features, params, X[0], activation="silu")
    assert phi.shape == (3,)
    head = params[-1].W @ phi + params[-1].b
    assert_close(compiled(fc.forward, params, X[0], activation="silu"), head)


@pytest.mark.notes("(2.12)")
def test_layers_of_one_width_and_no_units_between() -> None:
    """A hidden layer of no units leaves the path of the last bias, and empty gradients."""
    params = ((jnp.ones((0, 3)), jnp.ones(0)), (jnp.ones((2, 0)), jnp.array([5.0, -1.0])))
    assert fcnet.forward(params, jnp.ones(3)).tolist() == [5.0, -1.0]
    gradient = fcnet.backprop(params, jnp.ones(3), jnp.array([4.0, 0.0]))
    assert [leaf.shape for leaf in jax.tree.leaves(gradient)] == [(0, 3), (0,), (2, 0), (2,)]
    assert gradient[1][1].tolist() == [1.0, -1.0]


@pytest.mark.notes("(2.12)")
@pytest.mark.parametrize(
    ("sizes", "parameters", "neurons"),
    [((4, 3, 1), 19, 4), ((3, 5, 4, 1), 49, 10), ((7, 1), 8, 1), ((3, 5, 2), 32, 7)],
)
def test_counts(fc: Any, key: Any, sizes: tuple[int, ...], parameters: int, neurons: int) -> None:
    layers = init_shapes(fc, key, sizes)
    assert fc.count_params(sizes) == parameters == sum(v.size for v in jax.tree.leaves(layers))
    assert fc.count_neurons(sizes) == neurons == sum(b.size for _, b in layers)


def init_shapes(fc: Any, key: Any, sizes: tuple[int, ...]) -> Any:
    return jax.eval_shape(lambda k: fc.init(k, sizes), key)


@pytest.mark.notes("(2.12)")
def test_init_gives_the_notes_shapes_and_zero_biases(fc: Any) -> None:
    sizes = (5, 4, 3, 2)
    layers = fc.init(jax.random.key(0), sizes)
    expected = [((m, m_below), (m,)) for m_below, m in pairwise(sizes)]
    assert [(W.shape, b.shape) for W, b in layers] == expected
    assert not any(b.any() for _, b in layers)
    again, other = fc.init(jax.random.key(0), sizes), fc.init(jax.random.key(1), sizes)
    for k, (W, _) in enumerate(layers):
        np.testing.assert_array_equal(again[k][0], W)
        assert jnp.unique(jnp.stack([W, other[k][0]])).size == 2 * W.size


def test_init_draws_normal_weights_of_variance_two_over_fan_in(fc: Any) -> None:
    (W1, _), (W2, _) = fc.init(jax.random.key(3), (50, 200, 40))
    for W, fan_in in ((W1, 50), (W2, 200)):
        scaled = np.ravel(W) * np.sqrt(fan_in / 2)
        assert stats.kstest(scaled, "norm").pvalue > 1e-3
        assert stats.kstest(1.1 * scaled, "norm").pvalue < 1e-3  # it would be noticed
    assert abs(np.corrcoef(np.ravel(W1)[:8000], np.ravel(W2)[:8000])[0, 1]) < 0.05


def test_init_keeps_the_size_of_the_signal_through_relu_layers(fc: Any) -> None:
    layers = fc.init(jax.random.key(0), (256,) * 9)
    x = jax.random.normal(jax.random.key(1), (256,))
    sizes = [float(jnp.mean(z**2)) for z in compiled(fc.forward_trace, layers, x).z]
    assert 0.2 < sizes[-1] / sizes[0] < 5


@pytest.mark.parametrize(
    ("x64", "asked", "given"),
    [
        (False, None, "float32"),
        (True, None, "float64"),
        (True, "float32", "float32"),
        (False, jnp.bfloat16, "bfloat16"),
        (False, np.float64, "float32"),
    ],
)
def test_init_in_the_dtype_that_was_asked_for(x64: bool, asked: Any, given: str) -> None:
    with jax.enable_x64(x64):
        layers = fcnet.init(jax.random.key(0), (2, 3, 1), dtype=asked)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(layers)} == {given}


@pytest.mark.parametrize("key", [jax.random.key(7), jax.random.key(7, impl="rbg")], ids=str)
def test_init_takes_the_old_keys_too(key: Any) -> None:
    old = jax.random.PRNGKey(7)
    assert (fcnet.init(old, (3, 2))[0].W == fcnet.init(jax.random.key(7), (3, 2))[0].W).all()
    assert fcnet.init(key, (3, 2))[0].W.shape == (2, 3)


@pytest.mark.notes("(2.12)", "Algorithm 5")
def test_a_thousand_layers(fc: Any) -> None:
    """999 layers that hand on what they get, and one that sums it up: everything is known."""
    identity = (jnp.eye(2), jnp.zeros(2))
    params = (*(identity,) * 999, (jnp.ones((1, 2)), jnp.zeros(1)))
    x = jnp.array([1.0, 2.0])
    assert fc.forward(params, x).tolist() == [3.0]
    gradient = fc.backprop(params, x, jnp.array([1.0]))  # o - y = 2
    for W, b in gradient[:-1]:
        assert b.tolist() == [2.0, 2.0]
        assert W.tolist() == [[2.0, 4.0], [2.0, 4.0]]
    assert (gradient[-1][0].tolist(), gradient[-1][1].tolist()) == ([[2.0, 4.0]], [2.0])


def test_data_of_any_real_dtype_are_read_in_that_of_the_parameters() -> None:
    params = ((np.ones((1, 2), np.float32), np.zeros(1, np.float32)),)
    for dtype in (np.int64, np.uint64, np.float64, np.float32):
        o = fcnet.forward(params, np.array([2**40, 0], dtype))
        assert (o.tolist(), o.dtype) == ([2.0**40], np.float32)  # int32 would have wrapped around

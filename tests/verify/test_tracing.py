"""Candidates in JAX: plain, compiled and mapped they must say the same."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.correct_candidates import ReLU, alone, counted, data, gradient, jitted, network, one
from support.protocol_cases import N, check, kinds, protocol_of

import fcnet
from fcnet import Layer
from fcnet.verify.binding import bind
from fcnet.verify.types import Case


@pytest.mark.parametrize("function", [jitted, alone(), alone(jitted), jax.jit(alone())])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_correct_candidates_in_jax(function, dtype):
    protocol = check(function, jnp.asarray, "pairs", dtype=dtype)
    assert kinds(protocol) == []
    assert protocol.notes == ()


def test_a_single_example_in_jax():
    params, x, y = jax.tree.map(jnp.asarray, (network(), data(1)[0][0], data(1)[1][0]))
    candidate = bind(one(gradient), params, x, y, ReLU)
    layers = tuple(Layer(W, b) for W, b in network(seed=3))
    other = candidate.representable(Case("a random input", layers, *data(1, seed=4)))
    assert kinds(protocol_of(candidate, other)) == []


@pytest.mark.filterwarnings("ignore:Some donated buffers")
def test_donated_arguments_are_used_up():
    donating = jax.jit(alone(), donate_argnums=0)
    assert kinds(check(donating, jnp.asarray, "pairs")) == ["mutates_params"]


def test_what_depends_on_tracing_disagrees_with_itself():
    settings = SimpleNamespace(scale=2.0)

    def backward(params, X, Y):
        traced = isinstance(X, jax.core.Tracer)
        return jax.tree.map(lambda g: g * (3.0 if traced else 1.0), gradient(params, X, Y)[1])

    def stale(params, X, Y):
        return jax.tree.map(lambda g: g * settings.scale, gradient(params, X, Y)[1])

    found = kinds(check(backward, jnp.asarray, "pairs"))
    assert found == ["jit_disagrees"]
    compiled = jax.jit(stale)
    with jax.enable_x64(True):
        compiled(*jax.tree.map(jnp.asarray, (network(), *data(N))))
    assert kinds(check(compiled, jnp.asarray, "pairs")) == []
    settings.scale = 1.0
    assert kinds(check(compiled, jnp.asarray, "pairs")) == ["jit_disagrees"]


def test_rounding_where_the_true_gradient_is_zero_is_no_disagreement():
    def leaky(params, x, y):  # dJ/dz^[1] goes through units that are dead
        (W1, b1), (W2, b2) = params
        z1 = W1 @ x + b1
        delta2 = W2 @ jnp.maximum(z1, 0) + b2 - y
        delta1 = (W2.T @ delta2) * jnp.sign(z1)
        return [(jnp.outer(delta1, x), delta1), (jnp.outer(delta2, z1), delta2)]

    params = fcnet.init(jax.random.key(0), (30, 64, 3))
    x, y = jax.random.normal(jax.random.key(1), (30,)), jnp.ones(3)
    found = fcnet.check(leaky, params, x, y).findings
    assert {finding.line for finding in found} == {4, 5}


def test_a_batching_rule_that_mixes_examples_disagrees():
    @jax.custom_batching.custom_vmap
    def centred(X):
        return X

    @centred.def_vmap
    def _(size, batched, X):
        return X - X.mean(0), True

    def backward(params, X, Y):
        return gradient(params, centred(X), Y)

    assert kinds(check(backward, jnp.asarray, "pairs")) == ["vmap_disagrees"]


def test_what_cannot_be_traced_is_not_held_against_it():
    def branches(params, X, Y):
        if float(X[0, 0]) > 100:
            raise ValueError
        return gradient(params, X, Y)

    def through_numpy(params, X, Y):
        return gradient(*jax.tree.map(np.asarray, (params, X, Y)))

    for function in (branches, through_numpy):
        assert kinds(check(function, jnp.asarray, "pairs")) == []


@pytest.mark.parametrize("library", [np.asarray, jnp.asarray])
def test_seven_calls_at_most(library):
    function, count = counted(gradient)
    assert kinds(check(function, library, "pairs")) == []
    assert count.calls == (6 if library is jnp.asarray else 4)

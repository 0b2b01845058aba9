"""Gradients of single examples: one by one, their mean, and the memory they take."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.problems import Case, assert_close, problem

import fcnet

pytestmark = pytest.mark.usefixtures("exact_products")

CASES = [Case(n=7), Case((3, 6, 4), n=5, activation="tanh", loss="softmax_cross_entropy")]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "chunk",
    [3, *(pytest.param(chunk, marks=pytest.mark.slow) for chunk in (None, 1, 7, 100))],
)
def test_each_is_the_gradient_of_its_example_and_their_mean_that_of_the_batch(case, chunk):
    params, X, Y = problem(case)
    gradients = fcnet.per_example_gradients(params, X, Y, chunk=chunk, **case.choices)
    each = jax.tree.map(np.asarray, gradients)  # JAX would compile for each i and shape
    one = jax.jit(jax.grad(partial(fcnet.example_loss, **case.choices)))
    for i in range(case.n):
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], each), one(params, X[i], Y[i]))
    mean = jax.tree.map(lambda leaf: leaf.mean(0), each)
    whole = fcnet.batch_backprop(params, X, Y, **case.choices)
    assert_close(mean, whole)
    with pytest.raises(AssertionError):
        assert_close(jax.tree.map(lambda leaf: leaf[:-1].mean(0), each), whole)


def test_what_is_kept_of_each_is_a_function_of_it_and_needs_the_memory_of_a_chunk():
    params = fcnet.init(jax.random.key(0), (8, 64, 64, 1))
    X, Y = np.ones((512, 8), np.float32), np.ones((512, 1), np.float32)
    kept = fcnet.per_example_gradients(params, X[:5], Y[:5], chunk=2, keep=optax.tree.norm)
    each = fcnet.per_example_gradients(params, X[:5], Y[:5])
    np.testing.assert_allclose(kept, jax.vmap(optax.tree.norm)(each), rtol=1e-6)

    def median(gradient):
        return jnp.median(gradient[1].W)

    def temporary(chunk):
        medians = partial(fcnet.per_example_gradients, chunk=chunk, keep=median)
        return jax.jit(medians).lower(params, X, Y).compile().memory_analysis().temp_size_in_bytes

    one_gradient = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    assert temporary(4) < 12 * one_gradient < 100 * one_gradient < temporary(512)


@pytest.mark.untyped
@pytest.mark.parametrize("chunk", [0, -1, 1.5, True, "all"])
def test_a_bad_chunk_is_refused_by_name(chunk):
    params, X, Y = problem(CASES[0])
    with pytest.raises((TypeError, ValueError), match="chunk must be"):
        fcnet.per_example_gradients(params, X, Y, chunk=chunk)

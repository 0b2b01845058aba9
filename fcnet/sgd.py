"""Gradient descent (1.3), stochastic (Algorithm 1) and with mini-batches (Algorithm 2).

The three loops take the gradient as a function of (params, X, Y), so any model trains by them: a
network with `batch_backprop`, their default, or the toy model of footnote 1. They return the last
iterate; the parameters they are given stay as they are.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Num, PyTree

from fcnet.backprop import batch_backprop
from fcnet.checks import (
    as_array,
    as_count,
    as_positive,
    check_finite,
    check_key,
    check_same_length,
)

Model: TypeAlias = PyTree[Float[ArrayLike, "..."]]
"""Parameters of any model: a pytree of floating arrays."""

Gradient: TypeAlias = Callable[[Any, Array, Array], Any]
"""grad J as a function of (params, X, Y): the mean over the rows, a pytree like params."""


def sample_batch(key: Array, n: int, batch_size: int) -> Int[Array, " batch_size"]:
    """Line 4 of Algorithm 2: B distinct indices out of 0..n-1, every subset equally likely.

    The same subsets as `jax.random.choice(key, n, (B,), replace=False)` draws, at a cost that does
    not grow with n. The order within the batch is not random, and does not matter to (1.5).

    Args:
        key: a random key.
        n: the number of examples, at least 1.
        batch_size: B, from 1 to n.

    Returns:
        Indices, int32, shape (B,).

    Raises:
        ValueError, TypeError: for n < 1, B < 1 or B > n, or a key that is not one.

    >>> sorted(sample_batch(jax.random.key(0), 5, 5).tolist())
    [0, 1, 2, 3, 4]
    """
    check_key(key)
    n = as_count("n", n, least=1, most=np.iinfo(np.int32).max)
    batch_size = as_count("batch_size", batch_size, least=1, most=n)
    if 4 * batch_size > n:
        return jax.random.permutation(key, n)[:batch_size].astype(jnp.int32)
    return _floyd(key, n, batch_size)


def _floyd(key: Array, n: int, batch_size: int) -> Array:
    """Floyd's algorithm (Bentley and Floyd 1987, Communications of the ACM 30, 754)."""
    top = jnp.arange(n - batch_size, n, dtype=jnp.int32)
    draws = jax.random.randint(key, (batch_size,), 0, top + 1)

    def put(i: int, chosen: Array) -> Array:
        taken = (chosen == draws[i]).any()
        return chosen.at[i].set(jnp.where(taken, top[i], draws[i]))

    return lax.fori_loop(0, batch_size, put, jnp.full(batch_size, -1, jnp.int32))


def gradient_descent(
    params: Model,
    X: Num[ArrayLike, "n ..."],
    Y: Num[ArrayLike, "n ..."],
    *,
    learning_rate: float,
    steps: int,
    gradient: Gradient = batch_backprop,
) -> Model:
    """Gradient descent (1.3): theta := theta - alpha grad J(theta), `steps` times.

    Args:
        params: theta, any pytree of floating arrays that `gradient` accepts.
        X: examples along axis 0, n >= 1.
        Y: targets along axis 0.
        learning_rate: alpha > 0.
        steps: the number of iterations, 0 or more.
        gradient: grad J as a function of (params, X, Y), the mean over the examples it is given.
            A function compiles once; one made anew for each call compiles each time.

    Returns:
        theta after the last step. The twin is `optax.sgd(learning_rate)`.

    Raises:
        ValueError, TypeError: for arguments outside these bounds, data that is empty or not finite,
            integer parameters, or a gradient that is not of the parameters' structure and shapes.

    >>> from fcnet.types import Layer
    >>> params = (Layer(jnp.array([[0.0]]), jnp.array([0.0])),)
    >>> X, Y = jnp.array([[1.0], [-1.0]]), jnp.array([[2.0], [0.0]])
    >>> gradient_descent(params, X, Y, learning_rate=0.5, steps=1)[0].b.tolist()
    [0.5]
    """
    params, examples, targets = _as_problem(params, X, Y, gradient)
    alpha = as_positive("learning_rate", learning_rate)
    steps = as_count("steps", steps, least=0)
    return _descend(params, examples, targets, alpha, steps, gradient=gradient)


def sgd(
    params: Model,
    X: Num[ArrayLike, "n ..."],
    Y: Num[ArrayLike, "n ..."],
    *,
    key: Array,
    learning_rate: float,
    steps: int,
    gradient: Gradient = batch_backprop,
) -> Model:
    """Algorithm 1: each step draws one example j uniformly and descends J^(j) (1.4).

    Draws are independent from step to step, so n steps see about 63 % of the examples: no epochs.
    It is `minibatch_sgd` with a batch size of 1; arguments, result and errors as there.

    >>> from fcnet.types import Layer
    >>> params = (Layer(jnp.array([[0.0]]), jnp.array([0.0])),)
    >>> X, Y = jnp.array([[1.0], [1.0]]), jnp.array([[2.0], [2.0]])
    >>> sgd(params, X, Y, key=jax.random.key(0), learning_rate=0.5, steps=1)[0].b.tolist()
    [1.0]
    """
    return minibatch_sgd(
        params,
        X,
        Y,
        key=key,
        learning_rate=learning_rate,
        batch_size=1,
        steps=steps,
        gradient=gradient,
    )


def minibatch_sgd(
    params: Model,
    X: Num[ArrayLike, "n ..."],
    Y: Num[ArrayLike, "n ..."],
    *,
    key: Array,
    learning_rate: float,
    batch_size: int,
    steps: int,
    gradient: Gradient = batch_backprop,
) -> Model:
    """Algorithm 2: each step draws B distinct examples and descends the mean of their losses (1.5).

    Every subset of B examples is equally likely, afresh in each step. Step i draws from
    `jax.random.fold_in(key, i)`, so s steps and then t more need not be told apart from s + t.

    Args:
        params: theta, any pytree of floating arrays that `gradient` accepts.
        X: examples along axis 0, n >= 1.
        Y: targets along axis 0.
        key: a random key; the same key gives the same bits on the same machine.
        learning_rate: alpha > 0.
        batch_size: B, from 1 (Algorithm 1) to n (gradient descent).
        steps: the number of iterations, 0 or more.
        gradient: as in `gradient_descent`.

    Returns:
        theta after the last step.

    Raises:
        ValueError, TypeError: as `gradient_descent`, and for B < 1, B > n or a key that is not one.

    >>> from fcnet.types import Layer
    >>> params = (Layer(jnp.array([[0.0]]), jnp.array([0.0])),)
    >>> X, Y = jnp.array([[1.0], [-1.0]]), jnp.array([[2.0], [0.0]])
    >>> minibatch_sgd(params, X, Y, key=jax.random.key(0), learning_rate=0.5, batch_size=2,
    ...               steps=1)[0].b.tolist()
    [0.5]
    """
    params, examples, targets = _as_problem(params, X, Y, gradient)
    n = examples.shape[0]
    check_key(key)
    alpha = as_positive("learning_rate", learning_rate)
    batch_size = as_count("batch_size", batch_size, least=1, most=n)
    steps = as_count("steps", steps, least=0)
    block = block_length(batch_size)
    for start in range(0, steps, block):
        params = _descend_batches(
            params,
            examples,
            targets,
            alpha,
            batch_table(key, start, n, batch_size),
            min(block, steps - start),
            gradient=gradient,
        )
    return params


def block_length(batch_size: int) -> int:
    """How many steps' indices are drawn at once: many, within 256 KiB."""
    return max(1, min(1024, 2**16 // batch_size))


@partial(jax.jit, static_argnames=("n", "batch_size"))
def batch_table(key: Array, start: int, n: int, batch_size: int) -> Int[Array, "block batch_size"]:
    """The batches of steps start, start + 1, ..., one a row, drawn at once and before the loop."""
    step = start + jnp.arange(block_length(batch_size))
    keys = jax.vmap(partial(jax.random.fold_in, key))(step)
    return jax.vmap(lambda k: sample_batch(k, n, batch_size))(keys)


@partial(jax.jit, static_argnames="gradient")
def _descend(
    params: Model, X: Array, Y: Array, alpha: Array, steps: int, *, gradient: Gradient
) -> Model:
    return lax.fori_loop(0, steps, lambda i, p: _step(p, gradient(p, X, Y), alpha), params)


@partial(jax.jit, static_argnames="gradient")
def _descend_batches(
    params: Model,
    X: Array,
    Y: Array,
    alpha: Array,
    indices: Array,
    steps: int,
    *,
    gradient: Gradient,
) -> Model:
    def step(i: Array, params: Model) -> Model:
        batch = indices[i]
        return _step(params, gradient(params, X[batch], Y[batch]), alpha)

    return lax.fori_loop(0, steps, step, params)


def _step(params: Model, gradient: Model, alpha: Float[Array, ""]) -> Model:
    """(1.3): every entry moves at once, by the gradient at the old parameters."""
    return jax.tree.map(lambda p, g: p - alpha.astype(p.dtype) * g, params, gradient)


def _as_problem(
    params: Model, X: ArrayLike, Y: ArrayLike, gradient: Gradient
) -> tuple[Model, Array, Array]:
    """Arguments that fit each other, with known values checked, also by `gradient` itself."""
    X, Y = as_array("X", X), as_array("Y", Y)
    check_same_length(X, Y)
    check_finite("X", X)
    check_finite("Y", Y)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        raise ValueError("params has no arrays: expected a pytree with at least one")
    for path, leaf in leaves:
        name = "params" + jax.tree_util.keystr(path)
        array = as_array(name, leaf)
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise TypeError(f"{name} must be floating, got {array.dtype}; cast with .astype(float)")
        check_finite(name, array)
    params = jax.tree.map(jnp.asarray, params)
    # A rehearsal: nothing is computed, but the values are known, so `gradient` can check them.
    rehearsed = jax.eval_shape(lambda: gradient(params, X, Y))
    expected = jax.eval_shape(lambda: params)
    if rehearsed != expected:
        raise ValueError(
            "gradient must return the structure, shapes and dtypes of params, "
            f"{expected}, got {rehearsed}"
        )
    return params, X, Y

"""Gradient descent (1.3), stochastic (Algorithm 1) and with mini-batches (Algorithm 2).

The three loops take the gradient as a function of (params, X, Y), so they train any model: a
network with `batch_backprop`, the default, or the toy model of footnote 1. They return the last
iterate and leave the given parameters unchanged.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Num, PyTree

from fcnet.activations import get_activation
from fcnet.backpropagation import batch_backprop
from fcnet.checks import (
    as_array,
    as_count,
    as_positive,
    check_finite,
    check_key,
    check_same_length,
    mismatch,
    reraise,
)
from fcnet.losses import check_labels, get_loss, warn_of_link
from fcnet.sampling import INT32_MAX, batch_table, block_length

Model: TypeAlias = PyTree[Float[ArrayLike, "..."]]
"""Parameters of any model: a pytree of floating arrays."""

Gradient: TypeAlias = Callable[[Any, Array, Array], Any]
"""grad J as a function of (params, X, Y): the mean over the rows, a pytree like params."""


def gradient_descent(
    params: Model,
    X: Num[ArrayLike, "n ..."],
    Y: Num[ArrayLike, "n ..."],
    *,
    learning_rate: Num[ArrayLike, ""],
    steps: int,
    gradient: Gradient = batch_backprop,
) -> Model:
    """Gradient descent (1.3): theta := theta - alpha grad J(theta), `steps` times.

    The notes' ":=" overwrites theta (Footnote 2); here the new parameters are returned, and the old
    ones stay as they are.

    Args:
        params: theta, any pytree of floating arrays that `gradient` accepts.
        X: examples along axis 0, n >= 1.
        Y: targets along axis 0.
        learning_rate: alpha > 0.
        steps: the number of iterations, 0 or more.
        gradient: grad J as a function of (params, X, Y), the mean over the examples it is given,
            like params in structure, shapes and dtypes; for other choices than its defaults,
            `functools.partial(batch_backprop, loss=...)`. A function compiles once; one made anew
            for each call compiles each time. `fcnet.fit` calls its own with keywords too, for the
            objective and the weights of a network; a function with defaults for them, such as
            `batch_backprop`, serves both.

    Returns:
        theta after the last step. The twin is `optax.sgd(learning_rate)`. JAX differentiates the
        loop in forward mode alone, as `jax.jacfwd` does, since `steps` may change without
        compiling anew.

    Raises:
        ValueError, TypeError: for arguments outside these bounds, data that is empty or not finite,
            integer parameters, or a gradient that is not of the parameters' structure and shapes.

    >>> from fcnet.types import Layer
    >>> params = (Layer(jnp.array([[0.0]]), jnp.array([0.0])),)
    >>> X, Y = jnp.array([[1.0], [-1.0]]), jnp.array([[2.0], [0.0]])
    >>> gradient_descent(params, X, Y, learning_rate=0.5, steps=1)[0].b.tolist()
    [0.5]
    """
    params, X, Y = _as_problem(params, X, Y)
    alpha = _as_rate(learning_rate)
    steps = as_count("steps", steps, least=0, most=INT32_MAX)
    _check_gradient(gradient, params, X, Y, len(X))
    return _descend(params, X, Y, alpha, np.int32(steps), gradient=gradient)


def sgd(
    params: Model,
    X: Num[ArrayLike, "n ..."],
    Y: Num[ArrayLike, "n ..."],
    *,
    key: Array,
    learning_rate: Num[ArrayLike, ""],
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
    learning_rate: Num[ArrayLike, ""],
    batch_size: int,
    steps: int,
    gradient: Gradient = batch_backprop,
) -> Model:
    """Algorithm 2: each step draws B distinct examples and descends the mean of their losses (1.5).

    Every subset of B examples is equally likely, afresh in each step. Step i draws from
    `jax.random.fold_in(key, i)`, i = 0, 1, ..., so a longer run begins with the steps of a shorter.

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
        theta after the last step; forward mode alone differentiates it, as in `gradient_descent`.

    Raises:
        ValueError, TypeError: as `gradient_descent`, and for B < 1, B > n or a key that is not one.

    >>> from fcnet.types import Layer
    >>> params = (Layer(jnp.array([[0.0]]), jnp.array([0.0])),)
    >>> X, Y = jnp.array([[1.0], [-1.0]]), jnp.array([[2.0], [0.0]])
    >>> minibatch_sgd(params, X, Y, key=jax.random.key(0), learning_rate=0.5, batch_size=2,
    ...               steps=1)[0].b.tolist()
    [0.5]
    """
    _check_one_device(params=params, X=X, Y=Y, key=key)
    params, X, Y = _as_problem(params, X, Y)
    check_key(key)
    alpha = _as_rate(learning_rate)
    batch_size = as_count("batch_size", batch_size, least=1, most=len(X))
    steps = as_count("steps", steps, least=0, most=INT32_MAX)
    _check_gradient(gradient, params, X, Y, batch_size)
    return _descend_batches(
        params, X, Y, key, alpha, np.int32(steps), batch_size=batch_size, gradient=gradient
    )


@partial(jax.jit, static_argnames="gradient")
def _descend(
    params: Model, X: Array, Y: Array, alpha: Array, steps: Array, *, gradient: Gradient
) -> Model:
    gradient = jax.jit(gradient)
    return lax.fori_loop(0, steps, lambda i, p: _step(p, gradient(p, X, Y), alpha), params)


@partial(jax.jit, static_argnames=("batch_size", "gradient"))
def _descend_batches(
    params: Model,
    X: Array,
    Y: Array,
    key: Array,
    alpha: Array,
    steps: Array,
    *,
    batch_size: int,
    gradient: Gradient,
) -> Model:
    """Blocks of steps: the batches of a block are drawn first, and then used one by one."""
    gradient = jax.jit(gradient)
    length = block_length(batch_size)

    def block(k: Array, params: Model) -> Model:
        start = k * length
        batches = batch_table(key, start, X.shape[0], batch_size)

        def step(i: Array, params: Model) -> Model:
            batch = batches[i]
            return _step(params, gradient(params, X[batch], Y[batch]), alpha)

        return lax.fori_loop(0, jnp.minimum(length, steps - start), step, params)

    return lax.fori_loop(0, (steps - 1) // length + 1, block, params)


def _step(params: Model, gradient: Model, alpha: Float[Array, ""]) -> Model:
    """(1.3): every entry moves at once, by the gradient at the old parameters."""
    return jax.tree.map(lambda p, g: p - alpha.astype(p.dtype) * g, params, gradient)


def _as_rate(learning_rate: ArrayLike) -> Array:
    """The learning rate in one dtype, so that 1 and 1.0 share a compiled program."""
    if callable(learning_rate):
        raise TypeError(
            "learning_rate must be a number, got a function: fcnet.fit takes a schedule, as in "
            "optimizer=optax.sgd(schedule)"
        )
    return as_positive("learning_rate", learning_rate).astype(float)


def _as_problem(params: Model, X: ArrayLike, Y: ArrayLike) -> tuple[Model, Array, Array]:
    """Arguments that fit each other, as arrays."""
    X, Y = as_array("X", X), as_array("Y", Y)
    check_same_length(X, Y)
    check_finite("X", X)
    check_finite("Y", Y)
    if all(0 in np.shape(leaf) for leaf in jax.tree.leaves(params)):
        raise ValueError("params has no numbers: expected a pytree of arrays, not all empty")
    return jax.tree.map_with_path(_as_leaf, params), X, Y


def _check_one_device(**arguments: Any) -> None:
    """Raise for arrays that are split over devices, or copied to several.

    XLA compiles no draw of a batch for several devices: it lacks the high word of a product there.
    """
    for name, tree in arguments.items():
        leaves = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, Array)]
        known = [leaf for leaf in leaves if not isinstance(leaf, jax.core.Tracer)]
        if (most := max((len(leaf.devices()) for leaf in known), default=1)) > 1:
            raise ValueError(
                f"{name} lies on {most} devices, expected one: move it there by "
                "jax.device_put(array, jax.devices()[0]), or share steps by fcnet.fit with mesh="
            )


def _check_gradient(gradient: Gradient, params: Model, X: Array, Y: Array, rows: int) -> None:
    """Raise unless the gradient of a batch of `rows` rows is like the parameters."""
    if not callable(gradient):
        raise TypeError(
            f"gradient must be a function of (params, X, Y), got {type(gradient).__name__}"
        )
    batch = (
        jax.ShapeDtypeStruct((rows, *array.shape[1:]), array.dtype)  # type: ignore[no-untyped-call]
        for array in (X, Y)
    )
    # Shapes only: `jax.jit` remembers them, so the steps do not trace `gradient` again.
    try:
        returned = jax.eval_shape(jax.jit(gradient), params, *batch)
    except (TypeError, ValueError) as error:
        if rows == len(X):
            raise
        reraise(error, f"{error}, in a batch of {rows} of the {len(X)} rows")
    if difference := mismatch(returned, params):
        raise ValueError(
            f"gradient must return the structure, shapes and dtypes of params: {difference}"
        )
    if isinstance(gradient, partial) and gradient.func is batch_backprop:
        loss = get_loss(gradient.keywords.get("loss", "squared_error"))
        output = get_activation(gradient.keywords.get("output_activation", "identity"))
        check_labels("Y", Y, loss)
        warn_of_link(output, loss)


def _as_leaf(path: Any, leaf: ArrayLike) -> Array:
    name = "params" + jax.tree_util.keystr(path)
    array = as_array(name, leaf)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{name} must be floating, got {array.dtype}; cast with .astype(float)")
    check_finite(name, array)
    return jnp.asarray(array, array.dtype)  # no longer weakly typed

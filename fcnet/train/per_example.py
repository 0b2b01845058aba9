"""The gradient of each example by itself."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Num

from fcnet.backpropagation import backprop
from fcnet.checks import as_count, as_params
from fcnet.losses import as_batch, as_objective
from fcnet.types import Activation, Loss, Objective, Pairs, Params


def per_example_gradients(
    params: Pairs,
    X: Num[ArrayLike, "n d"],
    Y: Num[ArrayLike, "n m_r"],
    *,
    chunk: int | None = None,
    keep: Callable[[Params], Any] | None = None,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
    loss: str | Loss = "squared_error",
) -> Any:
    """Algorithm 5 for every example: the gradient of each J^(i), before any mean is taken.

    Used for clipping by example, influence functions and the variance of a gradient. The mean over
    the examples is `batch_backprop`, which is cheaper if only the mean is needed.

    Args:
        params: r layers.
        X: examples, shape (n, d), n >= 1.
        Y: targets, shape (n, m_r).
        chunk: the number of examples at a time. Memory beyond the result grows with it, and not
            with n. None takes all at once.
        keep: a function of each gradient, such as its norm, whose value is returned in place of the
            gradient. None returns the gradients: n times the memory of the parameters. Each new
            function compiles anew.
        activation, output_activation, loss: as in `mean_loss`.

    Returns:
        r layers, with W of shape (n, m_k, m_{k-1}) and b of shape (n, m_k); or the values of `keep`
        along axis 0.

    Raises:
        ValueError, TypeError: as `mean_loss`; for a chunk that is not a whole number of 1 or more.

    >>> from fcnet.types import Layer
    >>> import jax.numpy as jnp
    >>> params = (Layer(jnp.array([[2.0]]), jnp.array([1.0])),)
    >>> X, Y = jnp.array([[3.0], [0.0]]), jnp.array([[4.0], [0.0]])
    >>> per_example_gradients(params, X, Y)[0].W.tolist()
    [[[9.0]], [[0.0]]]
    >>> import optax
    >>> per_example_gradients(params, X, Y, chunk=1, keep=optax.tree.norm).round().tolist()
    [9.0, 1.0]

    The twin is `jax.vmap(jax.grad(example_loss), (None, 0, 0))`; in PyTorch,
    `torch.func.vmap(torch.func.grad(loss), (None, 0, 0))`.
    """
    objective = as_objective(activation, output_activation, loss)
    X, Y = as_batch(params, X, Y, objective.loss)
    n = len(X)
    size = n if chunk is None else min(n, as_count("chunk", chunk, least=1))
    if keep is not None and not callable(keep):
        raise TypeError(f"keep must be a function of a gradient, got {type(keep).__name__}")
    return _gradients(as_params(params), X, Y, chunk=size, keep=keep, objective=objective)


@partial(jax.jit, static_argnames=("chunk", "keep", "objective"))
def _gradients(
    params: Params, X: Array, Y: Array, *, chunk: int, keep: Any, objective: Objective
) -> Any:
    def one(xy: tuple[Array, Array]) -> Any:
        gradient = backprop(params, *xy, **objective.keywords)
        return gradient if keep is None else keep(gradient)

    if chunk == len(X):
        return jax.vmap(one)((X, Y))
    return lax.map(one, (X, Y), batch_size=chunk)

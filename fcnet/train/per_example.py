"""The gradient of each example by itself."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Num

from fcnet.activations import get_activation
from fcnet.backpropagation import backprop
from fcnet.checks import as_count, as_params
from fcnet.losses import as_batch, get_loss
from fcnet.types import Activation, Loss, Pairs, Params


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

    What clipping by example, influence functions and the variance of a gradient need. Its mean over
    the examples is `batch_backprop`, which is cheaper where only the mean is wanted.

    Args:
        params: r layers.
        X: examples, shape (n, d), n >= 1.
        Y: targets, shape (n, m_r).
        chunk: so many examples at a time, so that memory beyond the result grows with it and not
            with n; None takes all at once.
        keep: what is kept of each gradient, such as its norm, a function of `Params`; the others
            are forgotten chunk by chunk. None keeps all: n times the memory of the parameters.
            A function compiles once; one made anew for each call compiles each time.
        activation, output_activation, loss: as in `mean_loss`.

    Returns:
        r layers, with W of shape (n, m_k, m_{k-1}) and b of shape (n, m_k); or what `keep` returns,
        n times along axis 0.

    Raises:
        ValueError, TypeError: as `mean_loss`, and for a chunk that is no number of 1 or more.

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
    choices: Any = {
        "activation": get_activation(activation),
        "output_activation": get_activation(output_activation, "output_activation"),
        "loss": get_loss(loss),
    }
    X, Y = as_batch(params, X, Y, choices["loss"])
    n = len(X)
    size = n if chunk is None else min(n, as_count("chunk", chunk, least=1))
    if keep is not None and not callable(keep):
        raise TypeError(f"keep must be a function of a gradient, got {type(keep).__name__}")
    return _gradients(as_params(params), X, Y, chunk=size, keep=keep, **choices)


@partial(jax.jit, static_argnames=("chunk", "keep", "activation", "output_activation", "loss"))
def _gradients(params: Params, X: Array, Y: Array, *, chunk: int, keep: Any, **choices: Any) -> Any:
    def one(xy: tuple[Array, Array]) -> Any:
        gradient = backprop(params, *xy, **choices)
        return gradient if keep is None else keep(gradient)

    if chunk == len(X):
        return jax.vmap(one)((X, Y))
    return lax.map(one, (X, Y), batch_size=chunk)

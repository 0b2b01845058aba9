"""The loss of a batch, its gradient, and the evaluation of a network."""

from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jaxtyping import Float

from fcnet.backpropagation import batch_backprop
from fcnet.losses import mean_loss, sum_dtype
from fcnet.network import forward
from fcnet.rows import look_up_name
from fcnet.train.types import Data, Program
from fcnet.types import Layer, Objective, Params

GRADIENTS: MappingProxyType[str, Callable[..., Params]] = MappingProxyType(
    {"backprop": batch_backprop, "autodiff": jax.grad(mean_loss)}
)
"""The gradient of the mean loss by name: Algorithm 5 by hand, or JAX's reverse mode."""

EVALUATION_BYTES = 2**22
"""The size of the activations of the rows that an evaluation takes at a time."""


def as_gradient(choice: str | Callable[..., Params]) -> Callable[..., Params]:
    """The gradient called `choice`, or `choice` itself where it is a function.

    >>> as_gradient("backprop") is batch_backprop
    True
    """
    return choice if callable(choice) else look_up_name("gradient", GRADIENTS, choice)


def compute_gradient(program: Program, params: Params, batch: Data) -> Any:
    """The gradient of the batch's mean loss, in the dtype that it is computed in.

    A function of the caller's may return the pairs of the layers in tuples or lists.
    """
    params, batch = jax.tree.map(
        lambda leaf: leaf.astype(program.compute or leaf.dtype), (params, batch)
    )
    computed: Any = program.gradient(
        params, batch.X, batch.Y, weights=batch.weights, **program.objective.keywords
    )
    pairs = isinstance(computed, (tuple, list)) and all(
        isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in computed
    )
    return tuple(Layer(*pair) for pair in computed) if pairs else computed


def batch_gradient(program: Program, params: Params, batch: Data) -> Params:
    """The gradient of the batch's mean loss, in the dtype of the parameters."""
    computed = compute_gradient(program, params, batch)
    return jax.tree.map(lambda leaf, p: leaf.astype(p.dtype), computed, params)


def batch_loss(program: Program, params: Params, batch: Data) -> Float[Array, ""]:
    """The batch's mean loss, weighted where weights are given."""
    return mean_loss(params, batch.X, batch.Y, weights=batch.weights, **program.objective.keywords)


def differentiable_loss(program: Program, batch: Data) -> Callable[[Params], Array]:
    """`batch_loss` as a function of the parameters, with `batch_gradient` as its derivative.

    An optimiser that differentiates it, by `jax.grad` or `jax.jvp`, uses Algorithm 5.
    """

    @jax.custom_jvp
    def loss(params: Params, batch: Data) -> Array:
        return batch_loss(program, params, batch)

    @loss.defjvp
    def derivative(at: tuple[Params, Data], along: tuple[Params, Data]) -> tuple[Array, Array]:
        products = jax.tree.map(jnp.multiply, batch_gradient(program, *at), along[0])
        return loss(*at), optax.tree.sum(products)

    return lambda params: loss(params, batch)


@partial(jax.jit, static_argnames="objective")
def evaluate(
    objective: Objective, params: Params, data: Data
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The mean loss over the rows, and the loss's metric."""

    def one(x: Array, y: Array) -> tuple[Array, Array]:
        o = forward(params, x, **objective.sigmas)
        return o, objective.loss.value(o, y)

    rows = max(1, EVALUATION_BYTES // sum(layer.b.nbytes for layer in params))
    whole = len(data.X) // rows
    o, losses = jax.vmap(one)(data.X[whole * rows :], data.Y[whole * rows :])
    if whole:  # in blocks; `lax.map` of the rows themselves would copy them

        def block(k: Array) -> tuple[Array, Array]:
            X, Y = (lax.dynamic_slice_in_dim(a, k * rows, rows) for a in (data.X, data.Y))
            return jax.vmap(one)(X, Y)

        blocks = lax.map(block, jnp.arange(whole))
        o, losses = (
            jnp.concatenate([part.reshape(-1, *part.shape[2:]), rest])
            for part, rest in zip(blocks, (o, losses), strict=True)
        )
    weights = jnp.ones(len(data.X)) if data.weights is None else data.weights
    # Probabilities that differ may be equal in bfloat16, and sums infinite in float16.
    o, Y, losses, weights = (
        array.astype(sum_dtype(o.dtype)) for array in (o, data.Y, losses, weights)
    )
    metric = objective.loss.metric(jax.vmap(objective.loss.mean)(o), Y, weights)
    mean = (weights * losses).sum() / weights.sum()
    return mean.astype(data.X.dtype), metric.astype(data.X.dtype)

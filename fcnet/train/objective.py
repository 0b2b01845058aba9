"""The loss of a batch, its gradient, and the evaluation of a network."""

from collections.abc import Callable
from functools import partial
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from fcnet.backpropagation import batch_backprop
from fcnet.checks import layout_of, look_up_name, reraise
from fcnet.losses import mean_loss
from fcnet.network import forward
from fcnet.train.types import Data, Program
from fcnet.types import Objective, Params

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


def check_gradient_shapes(program: Program, params: Params, batch: Data) -> None:
    """Raise unless the gradient of a batch has the structure and the shapes of the parameters.

    Nothing is computed: the gradient is only traced.
    """
    try:
        computed = jax.eval_shape(partial(_gradient, program), params, batch)
    except (TypeError, ValueError) as error:
        reraise(
            error,
            "gradient must be a function like fcnet.batch_backprop, called as gradient(params, X, "
            "Y, activation=..., output_activation=..., loss=..., weights=...), that JAX can trace: "
            f"of jax.numpy, not numpy. It raised {type(error).__name__}: {error}",
        )
    if layout_of(computed)[:2] != layout_of(params)[:2]:
        expected, got = (jax.tree.map(jnp.shape, tree) for tree in (params, computed))
        raise ValueError(
            f"gradient must return the structure and the shapes of params, expected {expected}, "
            f"got {got}"
        )


def _gradient(program: Program, params: Params, batch: Data) -> Params:
    """The gradient in the dtype that it is computed in."""
    params, batch = jax.tree.map(
        lambda leaf: leaf.astype(program.compute or leaf.dtype), (params, batch)
    )
    return program.gradient(
        params, batch.X, batch.Y, weights=batch.weights, **program.objective.keywords
    )


def batch_gradient(program: Program, params: Params, batch: Data) -> Params:
    """The gradient of the batch's mean loss, in the dtype of the parameters."""
    computed = _gradient(program, params, batch)
    return jax.tree.map(lambda leaf, p: leaf.astype(p.dtype), computed, params)


def batch_loss(program: Program, params: Params, batch: Data) -> Float[Array, ""]:
    """The batch's mean loss, weighted where weights are given."""
    return mean_loss(params, batch.X, batch.Y, weights=batch.weights, **program.objective.keywords)


def differentiable_loss(program: Program, batch: Data) -> Callable[[Params], Array]:
    """`batch_loss` as a function of the parameters, with `batch_gradient` as its derivative.

    A line search that differentiates it with `jax.value_and_grad` uses Algorithm 5.
    """

    @jax.custom_vjp
    def loss(params: Params, batch: Data) -> Array:
        return batch_loss(program, params, batch)

    def forwards(params: Params, batch: Data) -> tuple[Array, Params]:
        return batch_loss(program, params, batch), batch_gradient(program, params, batch)

    def backwards(gradient: Params, cotangent: Array) -> tuple[Params, None]:
        return jax.tree.map(lambda leaf: (cotangent * leaf).astype(leaf.dtype), gradient), None

    loss.defvjp(forwards, backwards)
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
    if len(data.X) <= rows:
        o, losses = jax.vmap(one)(data.X, data.Y)
    else:
        o, losses = lax.map(lambda xy: one(*xy), (data.X, data.Y), batch_size=rows)
    weights = jnp.ones(len(data.X), o.dtype) if data.weights is None else data.weights
    # Probabilities that differ may be equal in bfloat16.
    wide = o.astype(jnp.promote_types(o.dtype, jnp.float32))
    metric = objective.loss.metric(jax.vmap(objective.loss.mean)(wide), data.Y, weights)
    return (weights * losses).sum() / weights.sum(), metric.astype(o.dtype)

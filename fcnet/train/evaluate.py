"""How good a network is on a data set: its loss, and a metric that people know."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from fcnet.network import forward
from fcnet.train.loop import Data
from fcnet.train.objective import Objective
from fcnet.types import Params

MEMORY = 2**22
"""Bytes that the units of the rows in hand may take: large data is gone through in pieces."""


@partial(jax.jit, static_argnames="objective")
def evaluate(
    objective: Objective, params: Params, data: Data
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The mean loss over the rows, and the loss's metric."""
    choices: Any = {
        "activation": objective.activation,
        "output_activation": objective.output_activation,
    }

    def one(x: Array, y: Array) -> tuple[Array, Array]:
        o = forward(params, x, **choices)
        return o, objective.loss.value(o, y)

    rows = max(1, MEMORY // sum(layer.b.nbytes for layer in params))
    if len(data.X) <= rows:
        o, losses = jax.vmap(one)(data.X, data.Y)
    else:
        o, losses = lax.map(lambda xy: one(*xy), (data.X, data.Y), batch_size=rows)
    weights = jnp.ones(len(data.X), o.dtype) if data.weights is None else data.weights
    # in bfloat16, probabilities that differ may round to the same
    wide = o.astype(jnp.promote_types(o.dtype, jnp.float32))
    metric = objective.loss.metric(jax.vmap(objective.loss.mean)(wide), data.Y, weights)
    return (weights * losses).sum() / weights.sum(), metric.astype(o.dtype)

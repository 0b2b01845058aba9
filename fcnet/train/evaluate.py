"""How good a network is on a data set: its loss, and a metric that people know."""

from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from fcnet.network import forward
from fcnet.train.loop import Data
from fcnet.train.objective import Objective
from fcnet.types import Params


def r_squared(prediction: Array, Y: Array, weights: Array) -> Float[Array, ""]:
    """R^2, one minus the squared error over that of the mean; 0 where Y does not vary.

    >>> Y = jnp.array([[1.0], [3.0]])
    >>> r_squared(jnp.array([[1.0], [2.0]]), Y, jnp.ones(2)).item()
    0.5
    """
    w = weights[:, None] / weights.sum()
    off = jnp.where(w > 0, Y - (w * Y).sum(0), 0)
    scale = jnp.abs(off).max()  # or the squares might overflow
    varies = (jnp.where(w > 0, Y, -jnp.inf).max(0) > jnp.where(w > 0, Y, jnp.inf).min(0)).any()
    total, missed = ((w * (e / scale) ** 2).sum() for e in (off, Y - prediction))
    return jnp.where(varies, 1 - missed / total, 0.0)


def accuracy(hit: Array, weights: Array) -> Float[Array, ""]:
    """The share of the rows that were hit."""
    return (weights * hit).sum() / weights.sum()


def both_sides(o: Array, Y: Array, weights: Array) -> Float[Array, ""]:
    """Accuracy of logits for labels 0 and 1: a positive logit says 1."""
    return accuracy(((o > 0) == (Y > 0.5)).mean(1), weights)


def same_class(o: Array, Y: Array, weights: Array) -> Float[Array, ""]:
    """Accuracy of logits for one-hot labels: the largest logit's class."""
    return accuracy(o.argmax(1) == Y.argmax(1), weights)


def no_metric(o: Array, Y: Array, weights: Array) -> Float[Array, ""]:
    """NaN, for a loss that has no metric here."""
    return jnp.array(jnp.nan, o.dtype)


METRICS: MappingProxyType[str, Callable[[Array, Array, Array], Array]] = MappingProxyType(
    {
        "squared_error": r_squared,
        "poisson": lambda o, Y, weights: r_squared(jnp.exp(o), Y, weights),
        "logistic": both_sides,
        "softmax_cross_entropy": same_class,
    }
)
"""The metric that goes with each loss: R^2 of the mean, or accuracy."""


MEMORY = 2**22
"""Bytes that the units of the rows in hand may take: large data is gone through in pieces."""


@partial(jax.jit, static_argnames="objective")
def evaluate(
    objective: Objective, params: Params, data: Data
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The mean loss over the rows, and the loss's metric: NaN for a loss that is none of ours."""
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
    metric = METRICS.get(objective.loss.name, no_metric)
    return (weights * losses).sum() / weights.sum(), metric(o, data.Y, weights)

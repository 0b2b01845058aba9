"""Metrics: how good predictions are, in a number that people know. Each is a weighted mean.

A metric takes predictions and targets Y of shape (n, m_r) and weights of shape (n,), which do not
all vanish, and returns a scalar.
"""

from collections.abc import Callable
from types import MappingProxyType

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def r_squared(
    prediction: Float[Array, "n m_r"], Y: Float[Array, "n m_r"], weights: Float[Array, " n"]
) -> Float[Array, ""]:
    """R^2: one minus the squared error over that of the mean; 0 where Y does not vary.

    The twin is `sklearn.metrics.r2_score(..., multioutput="variance_weighted")`.

    >>> Y = jnp.array([[1.0], [3.0]])
    >>> r_squared(jnp.array([[1.0], [2.0]]), Y, jnp.ones(2)).item()
    0.5
    """
    w = weights[:, None] / weights.sum()
    off = jnp.where(w > 0, Y - (w * Y).sum(0, keepdims=True), 0)
    scale = jnp.abs(off).max()  # or the squares might overflow
    varies = (jnp.where(w > 0, Y, -jnp.inf).max(0) > jnp.where(w > 0, Y, jnp.inf).min(0)).any()
    total, missed = ((w * (e / scale) ** 2).sum() for e in (off, Y - prediction))
    return jnp.where(varies, 1 - missed / total, 0.0)


def label_accuracy(
    probability: Float[Array, "n m_r"], Y: Float[Array, "n m_r"], weights: Float[Array, " n"]
) -> Float[Array, ""]:
    """The share of the labels, 0 or 1 each, on whose side of 1/2 the probability is.

    >>> label_accuracy(jnp.array([[0.9], [0.6]]), jnp.array([[1.0], [0.0]]), jnp.ones(2)).item()
    0.5
    """
    return _share(((probability > 0.5) == (Y > 0.5)).mean(1), weights)


def class_accuracy(
    probability: Float[Array, "n m_r"], Y: Float[Array, "n m_r"], weights: Float[Array, " n"]
) -> Float[Array, ""]:
    """The share of the examples whose most probable class is that of their one-hot target.

    >>> class_accuracy(jnp.array([[0.9, 0.1]]), jnp.array([[1.0, 0.0]]), jnp.ones(1)).item()
    1.0
    """
    return _share(probability.argmax(1) == Y.argmax(1), weights)


def _share(hit: Array, weights: Array) -> Array:
    return (weights * hit).sum() / weights.sum()


METRIC_NAMES: MappingProxyType[Callable[..., Array], str] = MappingProxyType(
    {r_squared: "R^2", label_accuracy: "accuracy", class_accuracy: "accuracy"}
)
"""What the metrics are called where they are printed."""

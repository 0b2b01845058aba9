"""The activations and losses of a cost on NumPy's arrays, and their derivatives by autodiff."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from fcnet.types import Activation, Loss
from fcnet.verify.truth.double import Traced, trace
from fcnet.verify.truth.evaluate import evaluate
from fcnet.verify.types import Values

Rows = Float[np.ndarray, "*n m"]
"""One vector, or several in rows."""


def activated(activation: Activation, z: Values) -> Values:
    """sigma(z), entrywise, in float64.

    >>> from fcnet import ACTIVATIONS
    >>> activated(ACTIVATIONS["relu"], np.array([[-1.0, 2.0]]))
    array([[0., 2.]])
    """
    return _entrywise(activation.function, z)


def slope(activation: Activation, z: Values) -> Values:
    """sigma'(z), entrywise, in float64.

    >>> from fcnet import ACTIVATIONS
    >>> slope(ACTIVATIONS["relu"], np.array([[-1.0, 0.0, 2.0]]))
    array([[0., 1., 1.]])
    """
    return _entrywise(_slope_of(activation.function), z)


def dJ_do(loss: Loss, o: Rows, y: Rows) -> Rows:  # noqa: N802 - the notes' symbol
    """dJ/do of each row, in float64.

    >>> from fcnet import LOSSES
    >>> dJ_do(LOSSES["squared_error"], np.array([[3.0], [1.0]]), np.array([[1.0], [1.0]]))
    array([[2.],
           [0.]])
    """
    return evaluate(_traced(_gradient_of(loss.value), o.shape[-1:], y.shape[-1:]), o, y)


def losses_of(loss: Loss, o: Rows, y: Rows) -> Float[np.ndarray, "*n"]:
    """J(o, y) of each row, in float64.

    >>> from fcnet import LOSSES
    >>> losses_of(LOSSES["squared_error"], np.array([[3.0], [1.0]]), np.array([[1.0], [1.0]]))
    array([2., 0.])
    """
    return evaluate(_traced(loss.value, o.shape[-1:], y.shape[-1:]), o, y)


def means_of(loss: Loss, o: Rows) -> Rows:
    """The mean that each row stands for, in float64."""
    return evaluate(_traced(loss.mean, o.shape[-1:]), o)


def _entrywise(function: Callable[..., Any], z: Values) -> Values:
    """A function of vectors, here of one entry: then one trace serves arrays of all shapes."""
    return evaluate(_traced(function, (1,)), z.reshape(-1, 1)).reshape(z.shape)


@lru_cache(maxsize=256)
def _traced(function: Callable[..., Any], *shapes: tuple[int, ...]) -> Traced:
    return trace(function, *map(np.zeros, shapes))


@lru_cache(maxsize=256)
def _slope_of(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda z: jax.vjp(function, z)[1](jnp.ones_like(z))[0]


@lru_cache(maxsize=256)
def _gradient_of(function: Callable[..., Any]) -> Callable[..., Any]:
    return jax.grad(function)

"""Losses and activations of the caller's own: is the derivative that of the function?

A run descends along the derivatives, and reports the values. If they do not belong together, its
result looks like any other.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array

from fcnet.activations import ACTIVATIONS
from fcnet.callers import warn
from fcnet.losses import LOSSES, sum_dtype
from fcnet.types import Objective

ROWS = 8
"""The examples that are tried."""

TOLERANCE = 1e-2
"""The least error that is told, relative to the largest derivative: far more than rounding makes in
float32, and less than a forgotten factor does."""


def warn_of_derivatives(objective: Objective, Y: Any) -> None:
    """Warn where a derivative of the caller's own is not that of its function.

    Activations are tried at random numbers z, and losses at outputs o for random z, beside the
    first of the targets Y, shape (n, m_r). What JAX cannot differentiate is not compared. The rows
    of the tables are tested, and cost nothing here.

    >>> import warnings
    >>> from fcnet.types import Activation
    >>> twice = Activation("twice", lambda z: 2 * z, lambda z: 0 * z + 1)
    >>> objective = Objective(twice, ACTIVATIONS["identity"], LOSSES["squared_error"])
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     warn_of_derivatives(objective, np.ones((1, 1)))
    >>> print(told[0].message)
    activation.derivative of 'twice' is not that of its function: at z = [0.126] it is [1.], and \
jax.grad gives [2.]. Training follows the derivative. Unless you mean that, compare the two by \
fcnet.check_gradient
    """
    y = np.asarray(Y[:ROWS]).astype(sum_dtype(Y.dtype))
    z: Any = np.random.default_rng(0).normal(size=y.shape).astype(y.dtype)
    for kind, sigma in objective.sigmas.items():
        if ACTIVATIONS.get(sigma.name) != sigma:
            _compare(f"{kind}.derivative of {sigma.name!r}", sigma.function, sigma.derivative, z=z)
    loss = objective.loss
    if LOSSES.get(loss.name) != loss:
        o = np.asarray(jax.vmap(objective.output_activation.function)(z))
        _compare(f"loss.derivative of {loss.name!r}", loss.value, loss.derivative, o=o, y=y)


def _compare(
    name: str,
    function: Callable[..., Array],
    derivative: Callable[..., Array],
    **at: Any,
) -> None:
    """Warn of the first row at which a derivative differs from the one that JAX computes."""
    try:
        given, right = map(np.asarray, _derivatives(function, derivative, *at.values()))
    except Exception:  # whatever JAX raises for a function that it cannot differentiate
        return
    known = np.isfinite(given) & np.isfinite(right)
    largest = abs(right[known]).max(initial=0)
    wrong = (known & (abs(given - right) > TOLERANCE * largest)).any(axis=1)
    if wrong.any():
        i = wrong.argmax()
        where = ", ".join(f"{letter} = {_text(rows[i])}" for letter, rows in at.items())
        warn(
            f"{name} is not that of its function: at {where} it is {_text(given[i])}, and "
            f"jax.grad gives {_text(right[i])}. Training follows the derivative. Unless you mean "
            "that, compare the two by fcnet.check_gradient"
        )


_text = partial(np.array2string, precision=3, threshold=6)


@partial(jax.jit, static_argnums=(0, 1))
def _derivatives(
    function: Callable[..., Array], derivative: Callable[..., Array], *at: Array
) -> tuple[Array, Array]:
    """The derivative that is given and the one of JAX, at each row."""
    by_jax = jax.grad(lambda *vectors: function(*vectors).sum())
    return jax.vmap(derivative)(*at), jax.vmap(by_jax)(*at)

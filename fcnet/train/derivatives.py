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

from fcnet.activations import ACTIVATIONS, check_activations
from fcnet.arrays import unit_roundoff
from fcnet.callers import warn
from fcnet.checks import as_jax, on_host
from fcnet.losses import LOSSES
from fcnet.types import Objective, itself

ROWS = 8
"""The examples that are tried."""

STEP = 1e-4
"""Half the distance of the two points of a difference, for outputs of size 1."""

TOLERANCE = 1e-2
"""The least error that is told, relative to the largest slope: less than a forgotten factor makes.
What rounding of the values makes of their difference is allowed for as well, and so is a kink."""

SEED = 5279
"""Of the numbers tried: those of seed 0 may be the caller's targets, where a loss has no slope."""


def warn_of_derivatives(objective: Objective, Y: Any) -> None:
    """Warn where a derivative of the caller's own is not that of its function.

    Central differences of the function in a random direction are compared with the derivative:
    those of activations at random numbers z, and of losses at outputs o for random z, beside the
    first of the targets Y, shape (n, m_r). The rows of the tables are tested, and cost nothing.

    >>> import warnings
    >>> from fcnet.types import Activation
    >>> twice = Activation("twice", lambda z: 2 * z, lambda z: 0 * z + 1)
    >>> objective = Objective(twice, ACTIVATIONS["identity"], LOSSES["squared_error"])
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     warn_of_derivatives(objective, np.ones((1, 1)))
    >>> print(told[0].message)
    activation.derivative of 'twice' is not that of its function: at z = [-0.442], in the \
direction [0.682], it makes a slope of 0.682, and differences of the function make 1.36. Training \
follows the derivative. Unless you mean that, compare the two by fcnet.check_gradient
    """
    shape = (min(ROWS, len(Y)), Y.shape[1])
    output, loss = objective.output_activation, objective.loss
    zeros = as_jax(np.zeros(shape[1], np.float32))
    check_activations(objective.activation, output, [zeros, zeros])
    for kind, sigma in objective.sigmas.items():
        if sigma not in ACTIVATIONS.values():
            name = f"{kind}.derivative of {sigma.name!r}"
            _compare(name, sigma.function, sigma.derivative, itself, shape)
    if loss not in LOSSES.values():
        name = f"loss.derivative of {loss.name!r}"
        y = np.asarray(on_host(Y)[:ROWS]).astype(np.float64)
        _compare(name, loss.value, loss.derivative, output.function, shape, y)


def _compare(
    name: str,
    function: Callable[..., Array],
    derivative: Callable[..., Array],
    before: Callable[[Array], Array],
    shape: tuple[int, ...],
    *y: np.ndarray,
) -> None:
    """Warn of the first row at which the derivative makes another slope than the function."""
    rng = np.random.default_rng(SEED)
    z, v = rng.normal(size=shape), rng.normal(size=shape)
    try:
        with jax.enable_x64(True):
            slopes = _slopes(function, derivative, before, v, z, *y)
    except Exception:  # of a function that takes no float64, or under jax_debug_nans
        return
    o, given, found, error = map(np.asarray, slopes)
    known = np.isfinite(given) & np.isfinite(found)
    largest = abs(found[known]).max(initial=0)
    wrong = known & (abs(given - found) > TOLERANCE * largest + error)
    if wrong.any():
        i = wrong.argmax()
        where = f"o = {_text(o[i])}, y = {_text(y[0][i])}" if y else f"z = {_text(o[i])}"
        warn(
            f"{name} is not that of its function: at {where}, in the direction {_text(v[i])}, it "
            f"makes a slope of {given[i]:.3g}, and differences of the function make {found[i]:.3g}."
            " Training follows the derivative. Unless you mean that, compare the two by "
            "fcnet.check_gradient"
        )


@partial(jax.jit, static_argnums=(0, 1, 2))
def _slopes(
    function: Callable[..., Array],
    derivative: Callable[..., Array],
    before: Callable[[Array], Array],
    *rows: Array,
) -> tuple[Array, ...]:
    """For each row: o, the slopes there in the direction v, by the derivative and by a difference,
    and how far rounding, or a kink nearby, may move the latter."""

    def one(v: Array, z: Array, *y: Array) -> tuple[Array, ...]:
        o = before(z)
        h = STEP * (1 + abs(o).max())
        down, value, up = (function(o + c * h * v, *y) for c in (-1, 0, 1))
        rounding = 32 * unit_roundoff(up.dtype) * abs(up).sum() / h
        kink = abs(up - 2 * value + down).sum() / h  # of slopes that differ by k: at most k
        return o, derivative(o, *y) @ v, (up - down).sum() / (2 * h), rounding + kink

    return jax.vmap(one)(*rows)


_text = partial(np.array2string, precision=3, threshold=6)

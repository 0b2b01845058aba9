"""Activations with a kink at 0, such as ReLU: any slope between the two one-sided ones is right."""

from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from fcnet.types import Activation, Layer, Params, Trace
from fcnet.verify.truth.double import trace
from fcnet.verify.truth.evaluate import evaluate

CONVENTIONS = (0.0, 0.5, 1.0)
"""The values of ReLU'(0) in use: `jax.nn.relu` and PyTorch, `jnp.maximum(z, 0)`, and the notes."""


class Slopes(NamedTuple):
    """The one-sided derivatives of an activation at 0: 0 and 1 for ReLU, equal if it is smooth.

    Autodiff has another derivative at 0 itself for formulas that are smooth there, but not in their
    parts, such as sign(z) log(1 + |z|). Then that one is `left`: people use both.
    """

    left: float
    right: float

    def at(self, convention: float | Array) -> float | Array:
        """The derivative at 0 by a convention: 0 for the left one, 1 for the right one."""
        return self.left + convention * (self.right - self.left)


@lru_cache(maxsize=64)
def one_sided(activation: Activation) -> Slopes:
    """The derivatives just left and just right of 0, by autodiff.

    >>> from fcnet import ACTIVATIONS
    >>> one_sided(ACTIVATIONS["relu"]), one_sided(ACTIVATIONS["tanh"])
    (Slopes(left=0.0, right=1.0), Slopes(left=1.0, right=1.0))
    """
    points = np.array([-1e-30, 0.0, 1e-30])
    with jax.ensure_compile_time_eval():
        derivative = trace(jax.vmap(jax.grad(activation.function)), points)
    left, at_zero, right = evaluate(derivative, points).tolist()
    is_smooth = np.isclose(left, right, rtol=1e-9, atol=0)
    return Slopes(at_zero if is_smooth and np.isfinite(at_zero) else left, right)


def has_kink(activation: Activation) -> bool:
    """Whether the derivative jumps at 0."""
    left, right = one_sided(activation)
    return not np.isclose(left, right, rtol=1e-9, atol=0)


def activate(
    sigma: Activation,
    z: Float[Array, "..."],
    kink: Bool[Array, "..."] | None = None,
    convention: float | Array = 1.0,
) -> Float[Array, "..."]:
    """sigma(z) with the derivative by `convention` where `kink` is true, by default where z = 0."""
    if not has_kink(sigma):
        return sigma.function(z)
    slope = jnp.asarray(one_sided(sigma).at(convention), z.dtype)
    return _kinked(sigma.function, z, z == 0 if kink is None else kink, slope)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _kinked(function: Any, z: Array, kink: Array, slope: Array) -> Array:
    return function(z)


@_kinked.defjvp
def _kinked_jvp(function: Any, primals: Any, tangents: Any) -> tuple[Array, Array]:
    (z, kink, slope), (dz, _, _) = primals, tangents
    a, da = jax.jvp(function, (z,), (dz,))
    return a, jnp.where(kink, slope * dz, da)


def kink_slack(
    params: Params,
    sigmas: list[Activation],
    trace: Trace,
    above: Float[Array, "n m_r"],
    weights: Float[Array, " n"],
    kinks: tuple[Bool[Array, "n _"], ...],
    near: tuple[Float[Array, "n _"], ...],
    noise: float | Array,
) -> Params:
    """How far the gradient can move if each marked unit may be on either side of its kink.

    This is Algorithm 5 in absolute values. It propagates the changes that start at these units: in
    delta by the jump of the derivative, in the activation by how far rounding moves z.

    Args:
        params: r layers.
        sigmas: the activation of each.
        trace: of n examples, in rows.
        above: dJ/do of each example.
        weights: what each example counts in the loss.
        kinks: the units at their kink, up to rounding.
        near: how far rounding may move each z.
        noise: how far rounding may move a sum, relative to the sum of absolute values.

    Returns:
        A bound for each component, to be added to its tolerance.
    """
    slope = [
        jax.jvp(partial(activate, sigma), (z,), (jnp.ones_like(z),))[1]
        for sigma, z in zip(sigmas, trace.z, strict=True)
    ]
    jump = [abs(one_sided(s).right - one_sided(s).left) for s in sigmas]
    steepest = [abs(s) + kink * j for s, kink, j in zip(slope, kinks, jump, strict=True)]
    # How far rounding may move a^[k]: at a kink from one side of z to the other.
    moved = [jnp.zeros_like(trace.a[0]), *(2 * s * b for s, b in zip(steepest, near, strict=True))]
    at_kink = [jnp.zeros_like(trace.a[0]), *kinks]
    size, change = abs(above), jnp.zeros_like(above)  # of dJ/da^[k], and how it may change
    result: list[Layer] = []
    for k in reversed(range(len(params))):
        W = params[k].W
        change = steepest[k] * change + kinks[k] * jump[k] * (abs(above) + noise * size)
        delta, size = slope[k] * above, steepest[k] * size
        weighted = weights[:, None] * change
        dW = weighted.T @ (abs(trace.a[k]) + moved[k])
        dW += (weights[:, None] * abs(delta)).T @ (at_kink[k] * moved[k])
        result.append(Layer(W=dW, b=weighted.sum(0)))
        above, size, change = delta @ W, size @ abs(W), (1 + noise) * (change @ abs(W))
    return tuple(reversed(result))

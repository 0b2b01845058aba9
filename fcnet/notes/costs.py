"""The number of operations for the gradient of a network, by what is shared (section 3.3)."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from fcnet.activations import get_activation
from fcnet.backpropagation import backprop, deltas
from fcnet.checks import as_count
from fcnet.losses import example_loss
from fcnet.network import forward_trace, init
from fcnet.notes.circuit import circuit_size
from fcnet.types import Params, Trace


class GradientCosts(NamedTuple):
    """The number of operations for the gradient of one example's loss, in three ways.

    Attributes:
        params: p, the number of partial derivatives.
        loss: N, the size of the loss itself.
        nothing_shared: for the gradient, if each partial is computed from x on.
        forward_shared: for the gradient, if all partials use one forward pass.
        deltas_shared: for the gradient by Algorithm 5.
    """

    params: int
    loss: int
    nothing_shared: int
    forward_shared: int
    deltas_shared: int


def gradient_costs(sizes: Sequence[int]) -> GradientCosts:
    """The number of operations for the gradient of a network, one partial at a time and shared.

    Each number is the `circuit_size` of a program that computes the gradient of the squared error
    (1.1) of the ReLU network (2.12) for one example. If nothing is shared, it is about p N. By
    Algorithm 5 it is less than 3 N, as Theorem 3.1 says. If only the forward pass is shared, it is
    between them: with all widths equal, it grows as p for r = 2, as p^(3/2) for r = 3, and as p^2
    for more layers.

    Args:
        sizes: (d, m_1, ..., m_r), as for `fcnet.init`. They may be large: nothing is computed.

    Returns:
        The exact counts.

    Raises:
        ValueError, TypeError: as `fcnet.init`.

    >>> gradient_costs((4, 3, 1))
    GradientCosts(params=19, loss=36, nothing_shared=725, forward_shared=131, deltas_shared=59)
    """
    params = jax.eval_shape(lambda: init(jax.random.key(0), sizes))
    x, y = jax.eval_shape(lambda: (jnp.zeros(params[0].W.shape[1]), jnp.zeros(params[-1].b.shape)))
    trace = jax.eval_shape(forward_trace, params, x)
    nothing_shared, forward_shared = 0, circuit_size(forward_trace, params, x)
    for k, layer in enumerate(params, start=1):
        from_trace = partial(delta_entry, k=k, j=0)
        from_input = partial(_delta_entry_from_input, k=k, j=0)
        # an entry of delta^[k] is the partial of a bias; for a weight, times an activation below
        partials, products = layer.W.size + layer.b.size, layer.W.size
        nothing_shared += partials * circuit_size(from_input, params, x, y) + products
        forward_shared += partials * circuit_size(from_trace, params, trace, y) + products
    return GradientCosts(
        params=sum(leaf.size for leaf in jax.tree.leaves(params)),
        loss=circuit_size(example_loss, params, x, y),
        nothing_shared=nothing_shared,
        forward_shared=forward_shared,
        deltas_shared=circuit_size(backprop, params, x, y),
    )


def delta_entry(
    params: Params, trace: Trace, y: Float[Array, " m_r"], *, k: int, j: int
) -> Float[Array, ""]:
    """The partial dJ/db^[k]_j alone: entry j of delta^[k] (3.16), without its other entries.

    The activation is ReLU, and the loss the squared error. For two layers this is (3.9):
    (o - y) (w^[2])_j 1{z_j >= 0}. For more layers the sum (3.3) needs all of delta^[k+1], which is
    what Algorithm 5 shares.

    Args:
        params: r layers.
        trace: the result of `forward_trace` for them.
        y: the target, shape (m_r,).
        k: the layer, 1..r.
        j: the unit in it, 0..m_k - 1.

    Raises:
        ValueError, TypeError: for a k or j that is no integer in its range.

    >>> from fcnet.types import Layer
    >>> params = (Layer(jnp.array([[1.0, -1.0], [2.0, 0.0]]), jnp.array([0.0, 1.0])),
    ...           Layer(jnp.array([[3.0, 4.0]]), jnp.array([5.0])))
    >>> trace = forward_trace(params, jnp.array([1.0, 2.0]))
    >>> delta_entry(params, trace, jnp.array([15.0]), k=1, j=1).item()
    8.0
    """
    k = as_count("k", k, least=1, most=len(params))
    j = as_count("j", j, least=0, most=params[k - 1].b.size - 1)
    if k == len(params):
        return deltas(params[-1:], Trace(trace.a[-2:], trace.z[-1:]), y)[0][j]
    above = params[k:]
    delta = deltas(above, Trace(trace.a[k:], trace.z[k:]), y)[0]
    return (above[0].W[:, j] @ delta) * get_activation("relu").derivative(trace.z[k - 1][j])


def _delta_entry_from_input(
    params: Params, x: Float[Array, " d"], y: Float[Array, " m_r"], *, k: int, j: int
) -> Float[Array, ""]:
    return delta_entry(params, forward_trace(params, x), y, k=k, j=j)

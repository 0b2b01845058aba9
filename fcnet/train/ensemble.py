"""Several networks of one architecture: their mean prediction and its spread."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from fcnet.checks import as_examples
from fcnet.network import batch_forward
from fcnet.train.members import as_layers
from fcnet.train.program import all_finite
from fcnet.types import Activation


class Ensemble(NamedTuple):
    """The members' outputs for n examples: their mean, and their standard deviation around it."""

    mean: Float[Array, "n m_r"]
    spread: Float[Array, "n m_r"]


def ensemble(
    params: Any,
    X: Num[ArrayLike, "n d"],
    *,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
) -> Ensemble:
    """The mean and the spread over K networks of the outputs (2.12), for n examples in rows.

    Args:
        params: layers with an axis of K members in front, such as `sweep(...).params`; members
            whose parameters are not finite are left out; without any other, all is NaN.
        X: examples, shape (n, d).
        activation, output_activation: as in `forward`.

    Returns:
        The mean and the standard deviation (over K, not K - 1) of the outputs, both (n, m_r).

    Raises:
        ValueError, TypeError: as `forward`, and for layers without an axis of members.

    >>> from fcnet.types import Layer
    >>> three = (Layer(jnp.array([[[1.0]], [[3.0]], [[jnp.nan]]]), jnp.zeros((3, 1))),)
    >>> [leaf.tolist() for leaf in ensemble(three, jnp.array([[2.0]]))]
    [[[4.0]], [[2.0]]]

    See Lakshminarayanan et al. 2017 (arXiv:1612.01474) for what the spread means.
    """
    layers, stacked = as_layers(params)
    if not stacked:
        raise ValueError("params have no axis of members in front; for one network: fcnet.forward")
    rows = as_examples("X", X, layers[0].W.shape[2], layers[0].W.dtype)
    member = partial(
        batch_forward, X=rows, activation=activation, output_activation=output_activation
    )
    finite = jax.vmap(all_finite)(layers)[:, None, None]
    o = lax.map(member, layers)
    return Ensemble(jnp.mean(o, 0, where=finite), jnp.std(o, 0, where=finite))

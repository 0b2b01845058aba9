"""Several networks of one architecture: their mean prediction and its spread."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from fcnet.activations import get_activation
from fcnet.checks import as_examples, as_jax
from fcnet.network import batch_forward
from fcnet.rowwise import by_rows, unplaced
from fcnet.train.members import as_layers
from fcnet.train.program import all_finite
from fcnet.types import Activation, Params


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
    hidden = get_activation(activation)
    output = get_activation(output_activation, "output_activation")
    sigmas = {"activation": hidden, "output_activation": output}
    both = unplaced(by_rows(partial(_mean_and_spread, layers, **sigmas), rows))
    mean, spread = (as_jax(both[:, k]) for k in (0, 1))
    return Ensemble(mean, spread)


@partial(jax.jit, static_argnames=("activation", "output_activation"))
def _mean_and_spread(params: Params, X: Array, **sigmas: Any) -> Float[Array, "n 2 m_r"]:
    finite = jax.vmap(all_finite)(params)[:, None, None]
    o = lax.map(partial(batch_forward, X=X, **sigmas), params)
    return jnp.stack([jnp.mean(o, 0, where=finite), jnp.std(o, 0, where=finite)], axis=1)

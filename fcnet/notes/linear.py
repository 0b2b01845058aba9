"""The linear parts of a network: all of it without activations, the last layer with them."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Num

from fcnet.checks import as_params
from fcnet.losses import LOSSES, as_batch
from fcnet.network import features
from fcnet.types import Activation, Layer, Pairs, Params


def collapse(params: Pairs) -> Layer:
    """The single layer that equals a network with sigma(z) = z: x -> W~ x + b~.

    For two layers without biases h = W^[2] a^[1] (2.16) = W^[2] sigma(z^[1]) (2.17) = W^[2] z^[1]
    (2.18) = W^[2] W^[1] x (2.19) = W~ x (2.20). For any r, W~ = W^[r] ... W^[1], and b~ is the
    output for x = 0: W^[2] b^[1] + b^[2] for two layers.

    Args:
        params: r layers, r >= 1.

    Returns:
        W~ of shape (m_r, d) and b~ of shape (m_r,). The same function as
        `fcnet.forward(params, x, activation="identity")`.

    Raises:
        ValueError, TypeError: for layers that do not chain.

    >>> params = (Layer(jnp.array([[1.0, 0.0], [2.0, 1.0]]), jnp.array([1.0, 0.0])),
    ...           Layer(jnp.array([[3.0, 4.0]]), jnp.array([5.0])))
    >>> W, b = collapse(params)
    >>> W.tolist(), b.tolist()
    ([[11.0, 4.0]], [8.0])
    """
    (W, b), *above = as_params(params)
    for W_k, b_k in above:
        W, b = W_k @ W, W_k @ b + b_k
    return Layer(W, b)


def fit_head_least_squares(
    params: Pairs,
    X: Num[ArrayLike, "n d"],
    Y: Num[ArrayLike, "n m_r"],
    *,
    activation: str | Activation = "relu",
) -> Params:
    """The best last layer for fixed features: (2.21) is a linear model in W^[r] and b^[r].

    If beta, the layers below, is fixed, h_theta(x) = W^[r] phi_beta(x) + b^[r], the mean cost is
    quadratic in the last layer, and least squares gives its minimum. For r = 1 the features are x
    itself, and this is linear regression.

    Args:
        params: r layers, of which the last is replaced.
        X: examples in rows, shape (n, d), n >= 1.
        Y: targets, shape (n, m_r).
        activation: sigma of layers 1..r-1, a name or an `Activation`.

    Returns:
        The r layers, with a new last one. If the minimum is not unique, because a feature is dead
        or n <= m_{r-1}, it is the one of least norm. The twin is
        `sklearn.linear_model.LinearRegression` on the features.

    Raises:
        ValueError, TypeError: as `fcnet.mean_loss`.

    >>> params = (Layer(jnp.array([[1.0], [-1.0]]), jnp.zeros(2)),
    ...           Layer(jnp.zeros((1, 2)), jnp.zeros(1)))
    >>> X, Y = jnp.array([[-2.0], [-1.0], [1.0], [2.0]]), jnp.array([[3.0], [2.0], [2.0], [3.0]])
    >>> head = fit_head_least_squares(params, X, Y)[-1]
    >>> head.W.round(3).tolist(), head.b.round(3).tolist()
    ([[1.0, 1.0]], [1.0])
    """
    layers = as_params(params)
    X, Y = as_batch(layers, X, Y, LOSSES["squared_error"])
    phi = jax.vmap(partial(features, layers, activation=activation))(X)
    with_one = jnp.concatenate([phi, jnp.ones_like(phi, shape=(len(X), 1))], axis=1)
    solution = jnp.linalg.lstsq(with_one, Y)[0]
    return *layers[:-1], Layer(W=solution[:-1].T, b=solution[-1])

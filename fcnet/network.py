"""The network (2.12) for one example: its parameters, its forward pass, its features (2.21)."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float, Num

from fcnet.activations import check_activations, get_activation
from fcnet.checks import (
    as_count,
    as_example,
    as_examples,
    as_floating,
    as_jax,
    as_params,
    check_key,
    on_host,
)
from fcnet.keys import normal, split_keys
from fcnet.rowwise import by_rows
from fcnet.types import Activation, Layer, Pairs, Params, Trace


def init(key: Array, sizes: Sequence[int], *, dtype: DTypeLike | None = None) -> Params:
    """Random parameters of the network (2.12) with layer sizes (d, m_1, ..., m_r).

    Weights are normal with variance 2 / m_{k-1}, which keeps the size of ReLU activations from
    layer to layer (He et al. 2015, arXiv:1502.01852); biases are zero. The twin
    `jax.nn.initializers.he_normal` has the same variance and cuts off the tails.

    Args:
        key: a random key, `jax.random.key(seed)`; the same key gives the same bits.
        sizes: r + 1 positive integers, r >= 1.
        dtype: a floating dtype; by default JAX's own, float32 unless x64 is enabled.

    Returns:
        `r` layers, `W` of shape (m_k, m_{k-1}) and `b` of shape (m_k,).

    Raises:
        ValueError, TypeError: for fewer than two sizes, a size that is no positive integer, a dtype
            that is not floating, or a key that is not one.

    >>> [layer.W.shape for layer in init(jax.random.key(0), (4, 3, 1))]
    [(3, 4), (1, 3)]
    """
    check_key(key)
    widths = _as_sizes(sizes)
    dtype = as_floating("dtype", dtype)
    keys = split_keys(key, len(widths) - 1)
    most = max(m * m_below for m_below, m in pairwise(widths))
    return tuple(
        Layer(W=_draw(k, m, m_below, most, dtype), b=as_jax(np.zeros(m, dtype)))
        for k, (m_below, m) in zip(keys, pairwise(widths), strict=True)
    )


def _draw(
    key: Array, m: int, m_below: int, most: int, dtype: np.dtype
) -> Float[Array, "m m_below"]:
    """Normal weights of variance 2 / m_{k-1}, the first ones of `most` numbers.

    One program draws those of all layers. On a CPU, none is compiled to scale them.
    """
    scale = np.sqrt(np.asarray(2 / m_below, as_floating("dtype", None))).astype(dtype)
    numbers = on_host(normal(key, (most,), dtype))[: m * m_below]
    return as_jax(numbers.reshape(m, m_below) * scale)


def forward_trace(
    params: Pairs,
    x: Num[ArrayLike, " d"],
    *,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
) -> Trace:
    """The forward pass (2.12) of one example with all it computes on its way (2.13).

    Line 1 of Algorithm 5: z^[k] = W^[k] a^[k-1] + b^[k] and a^[k] = sigma(z^[k]), from a^[0] = x
    to the output a^[r] = o. The output activation is the identity in (2.12); with r = 1 and ReLU
    there, the network is the single neuron (2.2).

    Args:
        params: r layers.
        x: one example, shape (d,); cast to the dtype of the parameters.
        activation: sigma of layers 1..r-1, a name or an `Activation`.
        output_activation: that of layer r.

    Returns:
        a^[0..r] and z^[1..r], in the dtype of the parameters.

    Raises:
        ValueError, TypeError: for layers that do not chain, an x of another shape (a batch: use
            `jax.vmap`) or not finite, an unknown activation, one that does not keep the shape of z.

    >>> import jax.numpy as jnp
    >>> params = (Layer(jnp.array([[1.0, -1.0], [2.0, 0.0]]), jnp.array([0.0, 1.0])),
    ...           Layer(jnp.array([[3.0, 4.0]]), jnp.array([5.0])))
    >>> trace = forward_trace(params, jnp.array([1.0, 2.0]))
    >>> [z.tolist() for z in trace.z], [a.tolist() for a in trace.a]
    ([[-1.0, 3.0], [17.0]], [[1.0, 2.0], [0.0, 3.0], [17.0]])
    """
    layers = as_params(params)
    x = as_example("x", x, layers[0].W.shape[1], layers[0].W.dtype)
    hidden = get_activation(activation)
    output = get_activation(output_activation, "output_activation")
    check_activations(hidden, output, [layer.b for layer in layers])
    a, z = [x], []
    for layer, sigma in zip(layers, [hidden] * (len(layers) - 1) + [output], strict=True):
        z.append(layer.W @ a[-1] + layer.b)
        a.append(sigma.function(z[-1]))
    return Trace(tuple(a), tuple(z))


def forward(
    params: Pairs,
    x: Num[ArrayLike, " d"],
    *,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
) -> Float[Array, " m_r"]:
    """The output o = h_theta(x) of the network (2.12) for one example.

    For many examples as rows of X: `batch_forward(params, X)`, or `jax.vmap` in programs of your
    own.

    Args:
        params: r layers.
        x: one example, shape (d,); cast to the dtype of the parameters.
        activation: sigma of layers 1..r-1, a name or an `Activation`.
        output_activation: that of layer r.

    Returns:
        o, shape (m_r,), in the dtype of the parameters.

    Raises:
        ValueError, TypeError: as `forward_trace`.

    >>> import jax.numpy as jnp
    >>> params = (Layer(jnp.array([[1.0, -1.0], [2.0, 0.0]]), jnp.array([0.0, 1.0])),
    ...           Layer(jnp.array([[3.0, 4.0]]), jnp.array([5.0])))
    >>> forward(params, jnp.array([1.0, 2.0])).tolist()
    [17.0]

    The twin is `flax.linen.Dense` or `torch.nn.Linear` with activations in between.
    """
    trace = forward_trace(params, x, activation=activation, output_activation=output_activation)
    return trace.a[-1]


def batch_forward(
    params: Pairs,
    X: Num[ArrayLike, "n d"],
    *,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
) -> Float[Array, "n m_r"]:
    """The outputs of the network (2.12) for n examples: `forward` of each row of X.

    On a CPU, few programs are compiled for all n, see `fcnet.rowwise.by_rows`. The outputs are
    those of `forward` up to rounding.

    Args:
        params: r layers.
        X: examples, shape (n, d); cast to the dtype of the parameters.
        activation: sigma of layers 1..r-1, a name or an `Activation`.
        output_activation: that of layer r.

    Returns:
        The outputs in rows, shape (n, m_r), in the dtype of the parameters. For a loss other than
        the squared error, `fcnet.LOSSES[name].mean` makes predictions of them.

    Raises:
        ValueError, TypeError: as `forward`.

    >>> import jax.numpy as jnp
    >>> params = (Layer(jnp.array([[1.0, -1.0], [2.0, 0.0]]), jnp.array([0.0, 1.0])),
    ...           Layer(jnp.array([[3.0, 4.0]]), jnp.array([5.0])))
    >>> batch_forward(params, jnp.array([[1.0, 2.0], [0.0, 0.0]])).tolist()
    [[17.0], [9.0]]

    The twin is `jax.vmap(forward, in_axes=(None, 0))`.
    """
    layers = as_params(params)
    X = as_examples("X", X, layers[0].W.shape[1], layers[0].W.dtype)
    hidden = get_activation(activation)
    output = get_activation(output_activation, "output_activation")
    sigmas = {"activation": hidden, "output_activation": output}
    return by_rows(partial(_forward_rows, layers, **sigmas), X)


@partial(jax.jit, static_argnames=("activation", "output_activation"))
def _forward_rows(params: Params, X: Array, **sigmas: Any) -> Array:
    return jax.vmap(lambda x: forward(params, x, **sigmas))(X)


def features(
    params: Pairs, x: Num[ArrayLike, " d"], *, activation: str | Activation = "relu"
) -> Float[Array, " m_below"]:
    """The learned features phi_beta(x) = a^[r-1] of (2.21), what the last layer is linear in.

    Shape (m_{r-1},); for r = 1 it is x itself. Arguments and errors as for `forward`.

    >>> import jax.numpy as jnp
    >>> params = (Layer(jnp.array([[1.0, -1.0], [2.0, 0.0]]), jnp.array([0.0, 1.0])),
    ...           Layer(jnp.array([[3.0, 4.0]]), jnp.array([5.0])))
    >>> features(params, jnp.array([1.0, 2.0])).tolist()
    [0.0, 3.0]
    """
    return forward_trace(params, x, activation=activation).a[-2]


def count_params(sizes: Sequence[int]) -> int:
    """The number of parameters, (d+1) m_1 + (m_1+1) m_2 + ... + (m_{r-1}+1) m_r, below (2.12).

    >>> count_params((4, 3, 1))
    19
    """
    return sum((m_below + 1) * m for m_below, m in pairwise(_as_sizes(sizes)))


def count_neurons(sizes: Sequence[int]) -> int:
    """The number of neurons, m_1 + ... + m_r, below (2.12): the output units count too.

    >>> count_neurons((4, 3, 1))
    4
    """
    return sum(_as_sizes(sizes)[1:])


def _as_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(sizes, Sequence):
        raise TypeError(f"sizes must be a sequence (d, m_1, ..., m_r), got {type(sizes).__name__}")
    if len(sizes) < 2:
        raise ValueError(f"sizes must be (d, m_1, ..., m_r) with r >= 1, got {sizes!r}")
    return tuple(as_count(f"sizes[{k}]", size, least=1) for k, size in enumerate(sizes))

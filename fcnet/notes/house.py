"""The house network, wired by hand as in figure 2, and the dense network that contains it.

The edges of figure 2 are a table, from which the figure and the mask are made.
"""

from types import MappingProxyType

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from fcnet.activations import relu
from fcnet.backpropagation import batch_backprop
from fcnet.notes.arguments import as_arrays
from fcnet.notes.neuron import one_neuron
from fcnet.notes.two_layer_network import as_two_layers
from fcnet.types import Layer, Pairs, Params

INPUTS = ("size", "bedrooms", "zip code", "wealth")
"""The inputs x_1, ..., x_4 of Figure 2."""

EDGES = MappingProxyType(
    {
        "family size": ("size", "bedrooms"),
        "walkable": ("zip code",),
        "school quality": ("zip code", "wealth"),
    }
)
"""The hidden units a_1, a_2, a_3 of Figure 2, each with the inputs it depends on."""

MASK = np.array([[name in sources for name in INPUTS] for sources in EDGES.values()])
"""The edges of Figure 2 in the shape of the dense W^[1], (3, 4): MASK[j, i] for x_i to a_j."""

_WEIGHTS, _BIASES, _HEAD, _OFFSET = [0, 1, 3, 5, 6], [2, 4, 7], [8, 9, 10], [11]
_PLACES = np.array(_WEIGHTS + _BIASES + _HEAD + _OFFSET)


def house_network(theta: Float[ArrayLike, "12"], x: Num[ArrayLike, "4"]) -> Float[Array, ""]:
    """The price h_theta(x) of a house by the hand-wired network of Figure 2 (2.3).

    Three neurons, each with its own inputs, and a linear output: by Footnote 3 there is no ReLU at
    the end, so the price can be negative.

    Args:
        theta: theta_1, ..., theta_12, shape (12,), floating.
        x: size, bedrooms, zip code and wealth, as numbers; shape (4,).

    Raises:
        ValueError, TypeError: for other shapes, integer parameters or values that are not finite.

    >>> theta = jnp.array([1.0, 1.0, 0.0, 2.0, -1.0, 1.0, -1.0, 0.0, 3.0, 4.0, 5.0, -6.0])
    >>> house_network(theta, jnp.array([1.0, 2.0, 3.0, 4.0])).item()
    23.0
    """
    theta, x = as_arrays({"theta": (theta, "12")}, {"x": (x, "4")})
    t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11, t12 = theta
    x1, x2, x3, x4 = x
    a1 = relu(t1 * x1 + t2 * x2 + t3)
    a2 = relu(t4 * x3 + t5)
    a3 = relu(t6 * x3 + t7 * x4 + t8)
    return t9 * a1 + t10 * a2 + t11 * a3 + t12


def dense_house_network(params: Pairs, x: Num[ArrayLike, "4"]) -> Float[Array, ""]:
    """The price if each hidden unit has all inputs: a_i = ReLU(w_i^T x + b_i) (2.4).

    Args:
        params: two layers of sizes (4, 3, 1); the rows of W^[1] are w_1, w_2, w_3.
        x: shape (4,).

    Raises:
        ValueError, TypeError: for other sizes or shapes, or values that are not finite.

    >>> params = (Layer(jnp.ones((3, 4)), jnp.array([0.0, -9.0, -99.0])),
    ...           Layer(jnp.array([[1.0, 2.0, 3.0]]), jnp.array([-20.0])))
    >>> dense_house_network(params, jnp.array([1.0, 2.0, 3.0, 4.0])).item()
    -8.0
    """
    (W1, b1), (w2, b2) = _as_dense(params)
    a1, a2, a3 = (one_neuron(w, b, x) for w, b in zip(W1, b1, strict=True))
    return w2[0, 0] * a1 + w2[0, 1] * a2 + w2[0, 2] * a3 + b2[0]


def house_to_dense(theta: Float[ArrayLike, "12"]) -> Params:
    """The 4-3-1 network that computes `house_network(theta, x)`: its W^[1] is 0 off `MASK`.

    Args:
        theta: shape (12,), floating.

    Returns:
        Two layers with 19 parameters, of which 7 are zeros, without an edge in Figure 2.

    Raises:
        ValueError, TypeError: for another shape, integers or values that are not finite.

    >>> house_to_dense(jnp.arange(1.0, 13.0))[0].W.tolist()
    [[1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0], [0.0, 0.0, 6.0, 7.0]]
    """
    (theta,) = as_arrays({"theta": (theta, "12")}, {})
    weights, b1, w2, b2 = jnp.split(theta[_PLACES], (5, 8, 11))
    W1 = jnp.zeros(MASK.shape, theta.dtype).at[MASK].set(weights)
    return Layer(W1, b1), Layer(w2[None, :], b2)


def dense_to_house(params: Pairs) -> Float[Array, "12"]:
    """theta_1, ..., theta_12 of a 4-3-1 network, without the weights off `MASK`.

    The inverse of `house_to_dense`. Of a gradient, it returns the partials of the 12 parameters.

    Args:
        params: two layers of sizes (4, 3, 1), or a gradient of them.

    Raises:
        ValueError, TypeError: for other sizes.

    >>> dense_to_house(house_to_dense(jnp.arange(1.0, 13.0))).tolist()[:4]
    [1.0, 2.0, 3.0, 4.0]
    """
    (W1, b1), (w2, b2) = _as_dense(params)
    return jnp.zeros(12, b1.dtype).at[_PLACES].set(jnp.concatenate([W1[MASK], b1, w2[0], b2]))


def house_gradient(
    theta: Float[ArrayLike, "12"], X: Num[ArrayLike, "n 4"], Y: Num[ArrayLike, " n"]
) -> Float[Array, "12"]:
    """The gradient of `house_network`'s mean cost: the dense network's, on the edges of Figure 2.

    It has the signature that `fcnet.sgd` and the other descents expect of a gradient.

    Args:
        theta: shape (12,), floating.
        X: houses in rows, shape (n, 4), n >= 1.
        Y: their prices, shape (n,).

    Raises:
        ValueError, TypeError: for other shapes, no houses, integer parameters or values that are
            not finite.

    >>> theta = jnp.array([1.0, 1.0, 0.0, 2.0, -1.0, 1.0, -1.0, 0.0, 3.0, 4.0, 5.0, -6.0])
    >>> house_gradient(theta, jnp.array([[1.0, 2.0, 3.0, 4.0]]), jnp.array([22.0])).tolist()
    [3.0, 6.0, 3.0, 12.0, 4.0, 0.0, 0.0, 0.0, 3.0, 5.0, 0.0, 1.0]
    """
    theta, X, Y = as_arrays({"theta": (theta, "12")}, {"X": (X, "n 4"), "Y": (Y, "n")})
    return dense_to_house(batch_backprop(house_to_dense(theta), X, Y[:, None]))


def _as_dense(params: Pairs) -> tuple[Layer, Layer]:
    first, second = as_two_layers(params)
    if first.W.shape != MASK.shape:
        raise ValueError(
            f"params[0].W has shape {first.W.shape}, expected {MASK.shape}: "
            "three hidden units of four inputs"
        )
    return first, second

"""The two-layer network: loops over the units, and their vectorised form."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from fcnet.activations import relu
from fcnet.checks import as_params
from fcnet.notes.arguments import as_arrays
from fcnet.types import Layer, Pairs


def affine_loop(
    W: Float[ArrayLike, "m d"], b: Float[ArrayLike, " m"], x: Num[ArrayLike, " d"]
) -> Float[Array, " m"]:
    """z_j = w_j^T x + b_j for j = 1..m (2.5), one multiplication at a time.

    The weight on the edge of Figure 3 from x_i to unit j is (w_j)_i, which is W[j, i]; the sum runs
    over the d inputs. Written for clarity, not for speed: `affine` computes the same.

    Args:
        W: w_1, ..., w_m in its rows, shape (m, d), floating.
        b: shape (m,).
        x: one example, shape (d,).

    Raises:
        ValueError, TypeError: for other shapes, integer parameters or values that are not finite.

    >>> W, b = jnp.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]), jnp.array([0.0, 1.0])
    >>> affine_loop(W, b, jnp.array([1.0, 2.0, 3.0])).tolist()
    [8.0, 27.0]
    """
    W, b, x = as_arrays({"W": (W, "m d"), "b": (b, "m")}, {"x": (x, "d")})
    m, d = W.shape
    return jnp.array([sum((W[j, i] * x[i] for i in range(d)), start=b[j]) for j in range(m)])


def affine(
    W: Float[ArrayLike, "m d"], b: Float[ArrayLike, " m"], x: Num[ArrayLike, " d"]
) -> Float[Array, " m"]:
    """z = W x + b, entry by entry in (2.8), in matrix form in (2.9).

    Arguments and errors as for `affine_loop`. The twin is `torch.nn.Linear`.

    >>> W, b = jnp.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]), jnp.array([0.0, 1.0])
    >>> affine(W, b, jnp.array([1.0, 2.0, 3.0])).tolist()
    [8.0, 27.0]
    """
    W, b, x = as_arrays({"W": (W, "m d"), "b": (b, "m")}, {"x": (x, "d")})
    return W @ x + b


def stack_weights(weights: Sequence[Float[ArrayLike, " d"]]) -> Float[Array, "m d"]:
    """W^[1] (2.7): the weight vectors w_1, ..., w_m of m units become the rows of a matrix.

    Args:
        weights: m >= 1 vectors of shape (d,), floating.

    Raises:
        ValueError, TypeError: for no vectors, other shapes, integers or values that are not finite.

    >>> stack_weights([jnp.array([1.0, 2.0, 3.0]), jnp.array([4.0, 5.0, 6.0])]).shape
    (2, 3)
    """
    if not isinstance(weights, Sequence) or not weights:
        raise TypeError(
            "weights must be a non-empty sequence of vectors of shape (d,), "
            f"got {type(weights).__name__}"
        )
    return jnp.stack(as_arrays({f"weights[{j}]": (w, "d") for j, w in enumerate(weights)}, {}))


def two_layer_loop(params: Pairs, x: Num[ArrayLike, " d"]) -> Float[Array, ""]:
    """h_theta(x) = sum_j (w^[2])_j a_j + b^[2], with a_j = ReLU(z_j) (2.6), unit by unit.

    Args:
        params: two layers of sizes (d, m, 1), as drawn in Figure 3.
        x: one example, shape (d,).

    Returns:
        A number.

    Raises:
        ValueError, TypeError: for other layers or shapes, or values that are not finite.

    >>> params = (Layer(jnp.array([[1.0, -1.0], [2.0, 0.0]]), jnp.array([0.0, 1.0])),
    ...           Layer(jnp.array([[3.0, 4.0]]), jnp.array([5.0])))
    >>> two_layer_loop(params, jnp.array([1.0, 2.0])).item()
    17.0
    """
    (W1, b1), (W2, b2) = as_two_layers(params)
    a = [relu(z_j) for z_j in affine_loop(W1, b1, x)]
    return sum((W2[0, j] * a_j for j, a_j in enumerate(a)), start=b2[0])


def two_layer(params: Pairs, x: Num[ArrayLike, " d"]) -> Float[Array, ""]:
    """h_theta(x) = W^[2] ReLU(W^[1] x + b^[1]) + b^[2] (2.11), `two_layer_loop` vectorised.

    Arguments, result and errors as for `two_layer_loop`. `fcnet.forward` with r = 2 gives the same
    as an array of shape (1,).

    >>> params = (Layer(jnp.array([[1.0, -1.0], [2.0, 0.0]]), jnp.array([0.0, 1.0])),
    ...           Layer(jnp.array([[3.0, 4.0]]), jnp.array([5.0])))
    >>> two_layer(params, jnp.array([1.0, 2.0])).item()
    17.0
    """
    (W1, b1), (W2, b2) = as_two_layers(params)
    a = relu(affine(W1, b1, x))
    return (W2 @ a + b2)[0]


def as_two_layers(params: Pairs) -> tuple[Layer, Layer]:
    """The layers of a network of sizes (d, m, 1), checked.

    Raises:
        ValueError, TypeError: for another number of layers or outputs, or layers that do not chain.

    >>> as_two_layers([(jnp.ones((3, 2)), jnp.ones(3)), (jnp.ones((1, 3)), jnp.ones(1))])[1].W.shape
    (1, 3)
    """
    layers = as_params(params)
    if len(layers) != 2 or layers[1].W.shape[0] != 1:
        sizes = (layers[0].W.shape[1], *(layer.W.shape[0] for layer in layers))
        raise ValueError(
            f"params has layers of sizes {sizes}, expected (d, m, 1): two layers and one output; "
            "fcnet.forward and fcnet.backprop take any"
        )
    first, second = layers
    return first, second

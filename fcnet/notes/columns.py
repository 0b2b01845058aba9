"""Section 4 as it is written: examples in the columns of a matrix, forward and backward.

`rows.py` has the same in rows. Elsewhere in the package each function is for one example, and
`jax.vmap` makes the matrix.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from fcnet.activations import get_activation
from fcnet.checks import as_count, as_params
from fcnet.losses import check_labels, get_loss
from fcnet.notes.arguments import as_arrays
from fcnet.sampling import INT32_MAX
from fcnet.types import Activation, Layer, Loss, Pairs, Params


def as_column(x: Num[ArrayLike, " d"]) -> Num[Array, "d 1"]:
    """A vector of R^d as a d x 1 matrix, as the notes understand it.

    NumPy and JAX broadcast a vector as a row; `x[:, None]` makes it a column.

    Raises:
        ValueError, TypeError: for an x of another rank, or not finite.

    >>> as_column(jnp.array([1.0, 2.0])).tolist()
    [[1.0], [2.0]]
    """
    (x,) = as_arrays({}, {"x": (x, "d")})
    return x[:, None]


def to_columns(X: Num[ArrayLike, "n d"]) -> Num[Array, "d n"]:
    """The matrix X (4.1), x^(1), ..., x^(n) in its columns, of examples in rows; or Y, likewise.

    `to_rows` is the inverse: mathematics has examples in columns (Footnote 7), software in rows.

    Raises:
        ValueError, TypeError: for an X of another rank, no examples, or values not finite.

    >>> to_columns(jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])).tolist()
    [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]
    """
    (X,) = as_arrays({}, {"X": (X, "n d")})
    return X.T


def repeat_bias(b: Float[ArrayLike, " m"], n: int) -> Float[Array, "m n"]:
    """The matrix b~ (4.3) with b in each of its n columns, which broadcasting need not build.

    Raises:
        ValueError, TypeError: for a b that is no floating vector, or n < 1.

    >>> repeat_bias(jnp.array([1.0, 2.0]), 3).tolist()
    [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]
    """
    (b,) = as_arrays({"b": (b, "m")}, {})
    return jnp.tile(as_column(b), (1, as_count("n", n, least=1, most=INT32_MAX)))


def affine_columns(
    W: Float[ArrayLike, "m d"], b: Float[ArrayLike, " m"], X: Num[ArrayLike, "d n"]
) -> Float[Array, "m n"]:
    """Z = W X + b~ (4.2): z^(i) = W x^(i) + b for all examples at once.

    The trap: `W @ X + b`, with b of shape (m,), adds b along the rows. For n != m that is an error,
    but for n = m it adds b_i to example i instead of b_j to unit j, without an error.

    Args:
        W: shape (m, d), floating.
        b: shape (m,).
        X: examples in columns, shape (d, n), n >= 1.

    Raises:
        ValueError, TypeError: for other shapes, no examples, integer parameters or values that are
            not finite.

    >>> W, b = jnp.array([[1.0], [2.0]]), jnp.array([10.0, 20.0])
    >>> affine_columns(W, b, jnp.array([[1.0, 2.0]])).tolist()
    [[11.0, 12.0], [22.0, 24.0]]
    """
    W, b, X = as_arrays({"W": (W, "m d"), "b": (b, "m")}, {"X": (X, "d n")})
    return W @ X + as_column(b)


def forward_columns(
    params: Pairs, X: Num[ArrayLike, "d n"], *, activation: str | Activation = "relu"
) -> Float[Array, "m_r n"]:
    """The outputs of the network for examples in columns: (4.2) in each layer.

    Args:
        params: r layers.
        X: examples in columns, shape (d, n), n >= 1.
        activation: sigma of layers 1..r-1; the last one is linear.

    Returns:
        Column i is `fcnet.forward(params, X[:, i])`.

    Raises:
        ValueError, TypeError: for layers that do not chain, another shape of X, no examples, values
            that are not finite, or an unknown activation.

    >>> params = (Layer(jnp.array([[1.0], [-1.0]]), jnp.array([0.0, 1.0])),
    ...           Layer(jnp.array([[1.0, 2.0]]), jnp.array([3.0])))
    >>> forward_columns(params, jnp.array([[5.0, 0.0, -5.0]])).tolist()
    [[8.0, 5.0, 15.0]]
    """
    layers = as_params(params)
    _, X = as_arrays({"params[0].W": (layers[0].W, "m d")}, {"X": (X, "d n")})
    A, _ = _trace_columns(layers, X, get_activation(activation))
    return A[-1]


def backprop_columns(
    params: Pairs,
    X: Num[ArrayLike, "d n"],
    Y: Num[ArrayLike, "m_r n"],
    *,
    activation: str | Activation = "relu",
    loss: str | Loss = "squared_error",
) -> Params:
    """The backward pass of section 4: the gradient of the mean loss, with examples in columns.

    Algorithm 5, where each example's delta^[k] is a column of D^[k], with the factor 1/n in D^[r]:
    D^[r] = dJ/dZ^[r] = (Z^[r] - Y) / n for the squared error; dJ/dW^[k] = D^[k] A^[k-1]^T, and
    dJ/db^[k] sums the columns of D^[k]; D^[k-1] = (W^[k]^T D^[k]) * sigma'(Z^[k-1]).

    Args:
        params: r layers.
        X: examples in columns, shape (d, n), n >= 1.
        Y: targets in columns, shape (m_r, n).
        activation, loss: as in `fcnet.batch_backprop`.

    Returns:
        r layers of the shapes of `params`; `fcnet.batch_backprop` of the transposes.

    Raises:
        ValueError, TypeError: as `forward_columns`, and for targets outside the range of the loss.

    >>> params = (Layer(jnp.array([[2.0]]), jnp.array([1.0])),)
    >>> backprop_columns(params, jnp.array([[3.0, 0.0]]), jnp.array([[4.0, 1.0]]))[0].W.tolist()
    [[4.5]]
    """
    layers = as_params(params)
    sigma, row = get_activation(activation), get_loss(loss)
    _, _, X, Y = as_arrays(
        {"params[0].W": (layers[0].W, "m_1 d"), "params[-1].W": (layers[-1].W, "m_r m_below")},
        {"X": (X, "d n"), "Y": (Y, "m_r n")},
    )
    check_labels("Y", Y.T, row)
    A, Z = _trace_columns(layers, X, sigma)
    D = jax.vmap(row.derivative, in_axes=1, out_axes=1)(Z[-1], Y) / Y.shape[1]
    gradient = [Layer(D @ A[-2].T, D.sum(axis=1))]
    for (W_above, _), z, A_below in zip(
        reversed(layers[1:]), reversed(Z[:-1]), reversed(A[:-2]), strict=True
    ):
        D = (W_above.T @ D) * sigma.derivative(z)
        gradient.append(Layer(D @ A_below.T, D.sum(axis=1)))
    return tuple(reversed(gradient))


def _trace_columns(layers: Params, X: Array, sigma: Activation) -> tuple[list[Array], list[Array]]:
    """A^[0] = X, ..., A^[r] and Z^[1], ..., Z^[r], with examples in columns."""
    A, Z = [X], []
    for k, (W, b) in enumerate(layers, start=1):
        Z.append(W @ A[-1] + b[:, None])
        A.append(sigma.function(Z[-1]) if k < len(layers) else Z[-1])
    return A, Z

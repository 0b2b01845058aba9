"""Section 4's conversion: examples in rows, weights transposed, products in the other order.

A layer in this form has its own type, `RowLayer`: a square weight matrix has the same shape in both
forms, so a mix-up would not be noticed.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import jax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from fcnet.activations import get_activation
from fcnet.checks import as_params
from fcnet.losses import check_labels, get_loss
from fcnet.notes.arguments import as_arrays
from fcnet.types import Activation, Layer, Loss, Pairs, Params


class RowLayer(NamedTuple):
    """One layer of (4.4): Z = A W + b, with W of shape (m_{k-1}, m_k) and b of shape (m_k,).

    >>> import jax.numpy as jnp
    >>> W, b = RowLayer(W=jnp.ones((4, 3)), b=jnp.zeros(3))
    >>> W.shape, b.shape
    ((4, 3), (3,))
    """

    W: Float[Array, "m_below m_k"]
    b: Float[Array, " m_k"]


RowParams: TypeAlias = tuple[RowLayer, ...]
"""The layers 1..r in the row convention; a gradient has the same type and the same shapes."""


def to_rows(X: Num[ArrayLike, "d n"]) -> Num[Array, "n d"]:
    """Examples in rows, from the matrix X (4.1) with examples in columns; or Y, likewise.

    Raises:
        ValueError, TypeError: for an X of another rank, no examples, or values not finite.

    >>> import jax.numpy as jnp
    >>> to_rows(jnp.array([[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]])).tolist()
    [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    """
    (X,) = as_arrays({}, {"X": (X, "d n")})
    return X.T


def to_row_params(params: Pairs) -> RowParams:
    """The layers of a network in the row convention: every weight matrix transposed.

    Raises:
        ValueError, TypeError: for layers that do not chain.

    >>> import jax.numpy as jnp
    >>> to_row_params([(jnp.ones((3, 4)), jnp.ones(3))])[0].W.shape
    (4, 3)
    """
    return tuple(RowLayer(W.T, b) for W, b in as_params(params))


def from_row_params(params: RowParams) -> Params:
    """The inverse of `to_row_params`.

    Raises:
        ValueError, TypeError: for layers that are no `RowLayer` or do not chain.

    >>> import jax.numpy as jnp
    >>> from_row_params((RowLayer(jnp.ones((4, 3)), jnp.ones(3)),))[0].W.shape
    (3, 4)
    """
    return tuple(Layer(W.T, b) for W, b in _as_row_params(params))


def affine_rows(
    X: Num[ArrayLike, "n d"], W: Float[ArrayLike, "d m"], b: Float[ArrayLike, " m"]
) -> Float[Array, "n m"]:
    """Z = X W + b (4.4): here b, of shape (m,), is a row, and broadcasting is right.

    Args:
        X: examples in rows, shape (n, d), n >= 1.
        W: the transpose of the notes' W^[1], shape (d, m), floating.
        b: shape (m,).

    Raises:
        ValueError, TypeError: for other shapes, no examples, integer parameters or values that are
            not finite.

    >>> import jax.numpy as jnp
    >>> W, b = jnp.array([[1.0, 2.0]]), jnp.array([10.0, 20.0])
    >>> affine_rows(jnp.array([[1.0], [2.0]]), W, b).tolist()
    [[11.0, 22.0], [12.0, 24.0]]
    """
    W, b, X = as_arrays({"W": (W, "d m"), "b": (b, "m")}, {"X": (X, "n d")})
    return X @ W + b


def forward_rows(
    params: RowParams, X: Num[ArrayLike, "n d"], *, activation: str | Activation = "relu"
) -> Float[Array, "n m_r"]:
    """The outputs of the network for examples in rows: (4.4) in each layer.

    Args:
        params: r layers, from `to_row_params`.
        X: examples in rows, shape (n, d), n >= 1.
        activation: sigma of layers 1..r-1; the last one is linear.

    Returns:
        The transpose of `forward_columns` of the transposed arguments.

    Raises:
        ValueError, TypeError: for layers that are no `RowLayer` or do not chain, another shape of
            X, no examples, values that are not finite, or an unknown activation.

    >>> import jax.numpy as jnp
    >>> params = (RowLayer(jnp.array([[1.0, -1.0]]), jnp.array([0.0, 1.0])),
    ...           RowLayer(jnp.array([[1.0], [2.0]]), jnp.array([3.0])))
    >>> forward_rows(params, jnp.array([[5.0], [0.0], [-5.0]])).tolist()
    [[8.0], [5.0], [15.0]]
    """
    layers = _as_row_params(params)
    _, X = as_arrays({"params[0].W": (layers[0].W, "d m")}, {"X": (X, "n d")})
    A, _ = _trace_rows(layers, X, get_activation(activation))
    return A[-1]


def backprop_rows(
    params: RowParams,
    X: Num[ArrayLike, "n d"],
    Y: Num[ArrayLike, "n m_r"],
    *,
    activation: str | Activation = "relu",
    loss: str | Loss = "squared_error",
) -> RowParams:
    """The backward pass in rows: the gradient of the mean loss, with each product transposed.

    D^[r] = dJ/dZ^[r] = (Z^[r] - Y) / n for the squared error; dJ/dW^[k] = A^[k-1]^T D^[k], and
    dJ/db^[k] sums the rows of D^[k]; D^[k-1] = (D^[k] W^[k]^T) * sigma'(Z^[k-1]).

    Args:
        params: r layers, from `to_row_params`.
        X: examples in rows, shape (n, d), n >= 1.
        Y: targets in rows, shape (n, m_r).
        activation, loss: as in `fcnet.batch_backprop`.

    Returns:
        r `RowLayer`s of the shapes of `params`.

    Raises:
        ValueError, TypeError: as `forward_rows`, and for targets outside the range of the loss.

    >>> import jax.numpy as jnp
    >>> params = (RowLayer(jnp.array([[2.0]]), jnp.array([1.0])),)
    >>> backprop_rows(params, jnp.array([[3.0], [0.0]]), jnp.array([[4.0], [1.0]]))[0].W.tolist()
    [[4.5]]
    """
    layers = _as_row_params(params)
    sigma, row = get_activation(activation), get_loss(loss)
    _, _, X, Y = as_arrays(
        {"params[0].W": (layers[0].W, "d m_1"), "params[-1].W": (layers[-1].W, "m_below m_r")},
        {"X": (X, "n d"), "Y": (Y, "n m_r")},
    )
    check_labels("Y", Y, row)
    A, Z = _trace_rows(layers, X, sigma)
    D = jax.vmap(row.derivative)(Z[-1], Y) / len(Y)
    gradient = [RowLayer(A[-2].T @ D, D.sum(axis=0))]
    for (W_above, _), z, A_below in zip(
        reversed(layers[1:]), reversed(Z[:-1]), reversed(A[:-2]), strict=True
    ):
        D = (D @ W_above.T) * sigma.derivative(z)
        gradient.append(RowLayer(A_below.T @ D, D.sum(axis=0)))
    return tuple(reversed(gradient))


def _trace_rows(layers: RowParams, X: Array, sigma: Activation) -> tuple[list[Array], list[Array]]:
    """A^[0] = X, ..., A^[r] and Z^[1], ..., Z^[r], with examples in rows."""
    A, Z = [X], []
    for k, (W, b) in enumerate(layers, start=1):
        Z.append(A[-1] @ W + b)
        A.append(sigma.function(Z[-1]) if k < len(layers) else Z[-1])
    return A, Z


def _as_row_params(params: RowParams) -> RowParams:
    """The layers, after a check that they have this convention and chain."""
    layers = params if isinstance(params, Sequence) else [params]
    others = [type(layer).__name__ for layer in layers if not isinstance(layer, RowLayer)]
    if others or not layers:
        raise TypeError(
            "params must be a non-empty sequence of RowLayer, with W of shape (m_{k-1}, m_k), "
            f"got {(others or ['none'])[0]}; to_row_params converts the layers of fcnet.init"
        )
    shaped: dict[str, tuple[Array, str]] = {}
    for k, (W, b) in enumerate(layers):
        shaped[f"params[{k}].W"] = W, f"m_{k} m_{k + 1}"
        shaped[f"params[{k}].b"] = b, f"m_{k + 1}"
    leaves = as_arrays(shaped, {})
    return tuple(RowLayer(W, b) for W, b in zip(leaves[::2], leaves[1::2], strict=True))

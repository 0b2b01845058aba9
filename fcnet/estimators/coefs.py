"""Parameters as scikit-learn has them, `coefs_` and `intercepts_`, in the targets' units."""

from collections.abc import Sequence

import numpy as np
from jax.typing import DTypeLike

from fcnet.checks import as_jax
from fcnet.data.preprocess import Standardizer
from fcnet.types import Layer, Params


def to_params(
    coefs: Sequence[np.ndarray],
    intercepts: Sequence[np.ndarray],
    target: Standardizer,
    dtype: DTypeLike,
) -> Params:
    """The layers of scikit-learn's `coefs_`, of shape (m_{k-1}, m_k), and `intercepts_`.

    The inverse of `to_arrays`: the outputs are standardised targets.
    """
    *below, (W, b) = zip(coefs, intercepts, strict=True)
    last = (W / target.scale, (b - target.mean) / target.scale)
    return tuple(
        Layer(as_jax(W.T.astype(dtype)), as_jax(b.astype(dtype))) for W, b in (*below, last)
    )


def to_arrays(
    params: Params, target: Standardizer, dtype: DTypeLike
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """`coefs_` and `intercepts_` as NumPy arrays, so that the outputs have the targets' units.

    Args:
        params: r layers, whose outputs are standardised targets.
        target: the means and the scales of the targets.
        dtype: that of the last layer, which holds these means and scales: the targets' own. The
            other layers keep theirs.

    >>> import jax.numpy as jnp
    >>> layer = Layer(jnp.ones((1, 1), jnp.float32), jnp.ones(1, jnp.float32))
    >>> _, (b,) = to_arrays((layer,), Standardizer(np.array([1e9]), np.array([3.0])), np.float64)
    >>> b.tolist(), layer.b.dtype.name
    ([1000000003.0], 'float32')
    """
    *below, (W, b) = ((np.array(W).T, np.array(b)) for W, b in params)
    last = (W * target.scale, b * target.scale + target.mean)
    coefs, intercepts = zip(*below, [np.array(leaf, dtype) for leaf in last], strict=True)
    return list(coefs), list(intercepts)

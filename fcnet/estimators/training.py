"""What both estimators do with their arrays, as pure functions on NumPy's side of `fcnet.fit`."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from fcnet.data import Standardizer
from fcnet.network import forward, init
from fcnet.train.optimizer import as_optimizer
from fcnet.train.types import Optimizer
from fcnet.types import Activation, Layer, Params

START = 0.4  # chosen on the houses and the digits of scripts/bench.py, where 0.2 to 0.6 do as well


class Examples(NamedTuple):
    """Rows of X, shape (n, d), targets Y, shape (n, m_r), and their weights, shape (n,)."""

    X: np.ndarray
    Y: np.ndarray
    weights: np.ndarray

    def rows(self, rows: np.ndarray) -> "Examples":
        """Only these."""
        return Examples(*(array[rows] for array in self))


def held_out(
    X: Float[np.ndarray, "n d"],
    weights: Float[np.ndarray, " n"],
    fraction: float,
    rng: np.random.RandomState,
) -> Bool[np.ndarray, " n"]:
    """Which rows validate: about this fraction of the weight, at least one row, never all.

    Equal rows stay on one side: nothing that is validated has been trained on, and a row of weight
    2 counts as one that is there twice.

    Raises:
        ValueError: for a fraction that is not between 0 and 1, or where all rows are equal.

    >>> X = np.array([[1.0], [2.0], [1.0], [3.0]])
    >>> held_out(X, np.ones(4), 0.5, np.random.RandomState(0)).tolist()
    [False, True, False, True]
    """
    if not 0 < fraction < 1:
        raise ValueError(f"validation_fraction must be between 0 and 1, got {fraction!r}")
    distinct, row = np.unique(X, axis=0, return_inverse=True)
    if len(distinct) < 2:
        raise ValueError(
            f"early_stopping needs at least two different samples, got n_samples = {len(distinct)}"
        )
    order = rng.permutation(len(distinct))
    share = np.cumsum(np.bincount(row, weights)[order]) / weights.sum()
    return np.isin(row, order[: max(1, np.searchsorted(share, fraction, side="right"))])


def start(key: Array, sizes: tuple[int, ...], dtype: DTypeLike) -> Params:
    """`fcnet.init`, with the first and the last layer's weights at `START` of their size.

    An input that is seldom other than 0, such as a rare category, then adds little noise while
    it is not yet learned, and training begins near a constant prediction.

    >>> (W, b), _, _ = start(jax.random.key(0), (300, 2, 2, 1), "float32")
    >>> round(float(W.std()), 2), round(START * (2 / 300) ** 0.5, 2)
    (0.03, 0.03)
    """
    layers = init(key, sizes, dtype=dtype)
    return tuple(
        layer._replace(W=START * layer.W) if k in (0, len(layers) - 1) else layer
        for k, layer in enumerate(layers)
    )


def penalised(
    optimizer: str | Optimizer, learning_rate: float, penalty: float
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The optimiser with the gradient of penalty / 2 |W|^2 added to what it is given.

    Returns a factory, the same one for the same optimiser, so that nothing is compiled anew, and
    its hyper-parameters. An optimiser that is made already has its own learning rate.
    """
    made = isinstance(optimizer, optax.GradientTransformation)
    chosen, hyper = as_optimizer(optimizer, None if made else {"learning_rate": learning_rate})
    return _penalised(chosen), {"penalty": penalty, **hyper}


@lru_cache(maxsize=64)
def _penalised(optimizer: Optimizer) -> Callable[..., optax.GradientTransformation]:
    def make(penalty: Any, **hyperparameters: Any) -> optax.GradientTransformation:
        made = isinstance(optimizer, optax.GradientTransformation)
        return optax.chain(
            optax.add_decayed_weights(penalty, mask=_weights_only),
            optimizer if made else optimizer(**hyperparameters),
        )

    return make


def _weights_only(params: Params) -> tuple[Any, ...]:
    return tuple(Layer(W=True, b=False) for _ in params)  # type: ignore[arg-type]


def to_params(
    coefs: Sequence[np.ndarray], intercepts: Sequence[np.ndarray], target: Standardizer
) -> Params:
    """The layers of scikit-learn's `coefs_`, of shape (m_{k-1}, m_k), and `intercepts_`.

    The last layer's units are taken out of it again: its outputs are standardised targets.
    """
    *below, (W, b) = zip(coefs, intercepts, strict=True)
    last = (W / target.scale, (b - target.mean) / target.scale)
    dtype = coefs[0].dtype
    return tuple(Layer(jnp.asarray(W.T, dtype), jnp.asarray(b, dtype)) for W, b in (*below, last))


def to_arrays(params: Params, target: Standardizer) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """`coefs_` and `intercepts_` in NumPy, the last of them in the units of the targets."""
    *below, (W, b) = ((np.asarray(W).T, np.asarray(b)) for W, b in params)
    last = (W * target.scale, b * target.scale + target.mean)
    coefs, intercepts = zip(*below, last, strict=True)
    dtype = params[0].W.dtype
    return [np.array(W, dtype) for W in coefs], [np.array(b, dtype) for b in intercepts]


@partial(jax.jit, static_argnames="activation")
def outputs(params: Params, X: Array, *, activation: Activation) -> Array:
    """The outputs (2.12) for examples in rows, shape (n, m_r)."""
    return jax.vmap(partial(forward, params, activation=activation))(X)

"""Algorithm 5 against jax.grad, layer by layer, on real houses."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from fcnet.activations import relu
from fcnet.backpropagation import batch_backprop
from fcnet.data import Dataset, fit_standardizer, standardize
from fcnet.losses import mean_loss
from fcnet.network import init
from fcnet.types import Activation, Layer, Params

WIDTHS = (32, 16, 1)
MISTAKE = Activation("relu with its derivative left out", relu, jnp.ones_like)
"""A common mistake in line 4 of Algorithm 5: delta is passed on without ReLU'(z)."""


def gradient_errors(
    houses: Dataset, dtype: DTypeLike, activation: str | Activation = "relu"
) -> list[tuple[float, float]]:
    """The relative errors of `batch_backprop` against `jax.grad` of `mean_loss`, both in `dtype`.

    The network has three layers of ReLU, random weights and biases of 0.1.

    Args:
        houses: the examples and targets, standardised here.
        dtype: float32 or float64.
        activation: that of `batch_backprop`; `jax.grad` always uses ReLU.

    Returns:
        A pair (error of W, error of b) for each layer, from `relative_errors`.
    """
    X = standardize(fit_standardizer(houses.X), houses.X)
    Y = standardize(fit_standardizer(houses.Y), houses.Y)
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        start = init(jax.random.key(1), (X.shape[1], *WIDTHS), dtype=dtype)
        params = tuple(Layer(W, b + 0.1) for W, b in start)
        by_hand = jax.jit(partial(batch_backprop, activation=activation))(params, X, Y)
        by_autodiff = jax.jit(jax.grad(mean_loss))(params, X, Y)
    return relative_errors(by_hand, by_autodiff)


def relative_errors(gradient: Params, reference: Params) -> list[tuple[float, float]]:
    """|g - h| / |h| of W and of b in each layer, for a gradient g and a reference h.

    |.| is the Euclidean norm of all entries.

    >>> one, two = Layer(jnp.ones((1, 2)), jnp.ones(1)), Layer(2 * jnp.ones((1, 2)), jnp.ones(1))
    >>> relative_errors((one,), (two,))
    [(0.5, 0.0)]
    """
    norm = np.linalg.norm
    return [
        (float(norm(g.W - h.W) / norm(h.W)), float(norm(g.b - h.b) / norm(h.b)))
        for g, h in zip(gradient, reference, strict=True)
    ]

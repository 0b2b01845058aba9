"""The linear model of the same columns: what a network has to beat."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from fcnet.backpropagation import batch_backprop
from fcnet.checks import as_jax
from fcnet.losses import get_loss, mean_loss
from fcnet.types import Layer, Loss, Params

ROWS = 50_000
"""The most examples that it is fitted to; of more, about as many are drawn."""

STEPS, FLAT = 500, 1e-6
"""The most steps, and the norm of a gradient after which no more are taken."""


def linear_model(
    X: Float[ArrayLike, "n d"], Y: Float[ArrayLike, "n m_r"], loss: str | Loss
) -> Params:
    """A network without hidden layers, with the least mean loss that L-BFGS finds in 500 steps.

    For the squared error it is linear regression, for the logistic loss logistic regression.

    Args:
        X: standardised inputs.
        Y: targets, standardised if the loss takes such.
        loss: a name or a `Loss`.

    >>> X = np.array([[-1.0], [0.0], [1.0]])
    >>> (W, b), = linear_model(X, 2 * X + 1, "squared_error")
    >>> W.round(4).tolist(), b.round(4).tolist()
    ([[2.0]], [1.0])

    The twins are scikit-learn's `LinearRegression` and `LogisticRegression(C=np.inf)`.
    """
    X, Y = np.asarray(X), np.asarray(Y)
    if len(X) > ROWS:
        rows = np.unique(np.random.default_rng(0).integers(len(X), size=ROWS))
        X, Y = X[rows], Y[rows]
    with jax.enable_x64(True):
        inputs, targets = (as_jax(array.astype(np.float64)) for array in (X, Y))
        found = jax.tree.map(np.asarray, _least(get_loss(loss), inputs, targets))
    return jax.tree.map(lambda leaf: as_jax(leaf.astype(np.float32)), found)


@partial(jax.jit, static_argnames="loss")
def _least(loss: Loss, X: Float[Array, "n d"], Y: Float[Array, "n m_r"]) -> Params:
    """The layer at which the gradient of the mean loss is `FLAT`, or that of the last step."""
    optimizer = optax.lbfgs(
        linesearch=optax.scale_by_backtracking_linesearch(20, decrease_factor=0.5)
    )

    def layers(flat: Array) -> Params:
        W, b = jnp.split(flat, [X.shape[1] * Y.shape[1]])
        return (Layer(W.reshape(Y.shape[1], X.shape[1]), b),)

    def cost(flat: Array) -> Array:
        return mean_loss(layers(flat), X, Y, loss=loss)

    def step(at: tuple[Array, Array, Any, Array]) -> tuple[Array, Array, Any, Array]:
        i, flat, state, _ = at
        ((dW, db),) = batch_backprop(layers(flat), X, Y, loss=loss)
        gradient = jnp.concatenate([dW.ravel(), db])
        updates, state = optimizer.update(
            gradient, state, flat, value=cost(flat), grad=gradient, value_fn=cost
        )
        return i + 1, flat + updates, state, jnp.linalg.norm(gradient)

    def goes_on(at: tuple[Array, Array, Any, Array]) -> Array:
        return (at[0] < STEPS) & (at[3] > FLAT)

    start = jnp.zeros((X.shape[1] + 1) * Y.shape[1])
    first: Any = (0, start, optimizer.init(start), jnp.inf)
    return layers(jax.lax.while_loop(goes_on, step, first)[1])

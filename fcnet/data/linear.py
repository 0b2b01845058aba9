"""The linear model of the same columns: what a network has to beat."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from fcnet.backpropagation import batch_backprop
from fcnet.losses import mean_loss
from fcnet.types import Layer, Loss, Params

ROWS = 50_000
"""The most examples that it is fitted to; of more, about as many are drawn."""


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
    from scipy.optimize import minimize  # JAX needs SciPy, too

    X, Y = np.asarray(X), np.asarray(Y)
    if len(X) > ROWS:
        rows = np.unique(np.random.default_rng(0).integers(len(X), size=ROWS))
        X, Y = X[rows], Y[rows]
    shape = (Y.shape[1], X.shape[1])

    def layers(flat: np.ndarray) -> Params:
        W, b = np.split(flat, [shape[0] * shape[1]])
        return (Layer(jnp.asarray(W.reshape(shape)), jnp.asarray(b)),)

    with jax.enable_x64(True):
        inputs, targets = jnp.asarray(X, jnp.float64), jnp.asarray(Y, jnp.float64)

        @jax.jit
        def value_and_gradient(
            params: Params, X: jax.Array, Y: jax.Array
        ) -> tuple[jax.Array, jax.Array]:
            ((dW, db),) = batch_backprop(params, X, Y, loss=loss)
            gradient = jnp.concatenate([dW.ravel(), db])
            return mean_loss(params, X, Y, loss=loss), gradient

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = value_and_gradient(layers(flat), inputs, targets)
            return float(value), np.asarray(gradient)

        start = np.zeros(shape[0] * (shape[1] + 1))
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return layers(found.x.astype(np.float32))

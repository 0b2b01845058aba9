"""Models of house prices on the same inputs: a network trained by Algorithm 2, and a line.

Both use the training examples only. The network's size and training, and the penalty of the ridge
regression, were chosen by cross-validation over the same sales, which favours both a little over
plain linear regression.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from fcnet.data import Dataset, Standardizer, fit_standardizer, standardize, unstandardize
from fcnet.descent import minibatch_sgd
from fcnet.losses import mean_loss
from fcnet.metrics import r_squared
from fcnet.network import batch_forward, init
from fcnet.types import Layer, Params

HIDDEN, LEARNING_RATE, BATCH_SIZE = 64, 0.03, 32
BLOCKS, STEPS_PER_BLOCK = 20, 200
START_SCALE = 0.3
"""A factor below He's scale, so that zip codes with few sales have less weight."""


class PriceModel(NamedTuple):
    """A network with the scales of its inputs and of its targets."""

    params: Params
    inputs: Standardizer
    targets: Standardizer


class Scores(NamedTuple):
    """Root mean square error and mean absolute error, in dollars, and R^2."""

    rmse: float
    mae: float
    r2: float


def train_network(
    training: Dataset, key: Array, hidden: int = HIDDEN
) -> Iterator[tuple[int, PriceModel]]:
    """Train a network of two layers by Algorithm 2, with the gradient of Algorithm 5.

    Args:
        training: the training examples.
        key: for the first parameters and for the batches.
        hidden: the number of hidden units.

    Yields:
        The number of iterations, from 0 to 4,000 in steps of 200, and the model after them.
    """
    init_key, sgd_key = jax.random.split(key)
    inputs, targets = fit_standardizer(training.X), fit_standardizer(training.Y)
    X, Y = standardize(inputs, training.X), standardize(targets, training.Y)
    params = jax.tree.map(
        lambda leaf: START_SCALE * leaf, init(init_key, (X.shape[1], hidden, Y.shape[1]))
    )
    yield 0, PriceModel(params, inputs, targets)
    for block in range(BLOCKS):
        params = minibatch_sgd(
            params,
            X,
            Y,
            key=jax.random.fold_in(sgd_key, block),
            learning_rate=LEARNING_RATE,
            batch_size=BATCH_SIZE,
            steps=STEPS_PER_BLOCK,
        )
        yield (block + 1) * STEPS_PER_BLOCK, PriceModel(params, inputs, targets)


def fit_network(training: Dataset) -> PriceModel:
    """The network of `train_network` after the last iteration, with a fixed key.

    Args:
        training: the training examples.
    """
    *_, (_, model) = train_network(training, jax.random.key(1))
    return model


def fit_linear(training: Dataset, penalty: float = 0.0) -> PriceModel:
    """Linear regression by least squares: the best of the networks (2.12) with r = 1.

    Args:
        training: the training examples.
        penalty: lambda of ridge regression, which minimises |Y - X W^T|^2 + lambda |W|^2 on
            standardised columns.
    """
    inputs, targets = fit_standardizer(training.X), fit_standardizer(training.Y)
    X, Y = standardize(inputs, training.X), standardize(targets, training.Y)
    d, m = X.shape[1], Y.shape[1]
    rows = np.vstack([X, np.sqrt(penalty) * np.eye(d)])
    W = np.linalg.lstsq(rows, np.vstack([Y, np.zeros((d, m))]))[0].T
    return PriceModel((Layer(jnp.asarray(W), jnp.zeros(m)),), inputs, targets)


def predict_prices(model: PriceModel, X: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n m"]:
    """Predictions for houses in rows, in dollars."""
    Z = standardize(model.inputs, X)
    return unstandardize(model.targets, batch_forward(model.params, Z))


def score(model: PriceModel, houses: Dataset) -> Scores:
    """The errors of the predictions for these houses."""
    prices = predict_prices(model, houses.X)
    error = prices - houses.Y
    with jax.enable_x64(True):
        r2 = r_squared(*map(jnp.asarray, (prices, houses.Y, np.ones(len(houses.Y)))))
    return Scores(
        rmse=float(np.sqrt(np.mean(error**2))),
        mae=float(np.mean(abs(error))),
        r2=float(r2),
    )


def cost(model: PriceModel, houses: Dataset) -> float:
    """J(theta) (1.2) on these houses, half the mean squared error of standardised targets."""
    X, Y = standardize(model.inputs, houses.X), standardize(model.targets, houses.Y)
    return float(mean_loss(model.params, X, Y))

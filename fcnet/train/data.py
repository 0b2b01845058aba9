"""The examples of a run: checked, weighted, and split into training and validation."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from fcnet.checks import as_positive
from fcnet.losses import as_batch, as_shares
from fcnet.train.loop import Data
from fcnet.train.objective import Objective
from fcnet.types import Params


def as_data(
    params: Params,
    X: ArrayLike,
    Y: ArrayLike,
    weights: ArrayLike | None,
    objective: Objective,
) -> Data:
    """Rows that fit the network and the loss, in its dtype, with weights that are not negative."""
    examples, targets = as_batch(params, X, Y, objective.loss)
    if weights is None:
        return Data(examples, targets, None)
    shares = as_shares(weights, len(examples), examples.dtype)
    if not shares.any():
        raise ValueError("weights are all 0: expected at least one example that counts")
    return Data(examples, targets, shares * len(examples))


def split(
    data: Data,
    validation: float | tuple[ArrayLike, ...] | None,
    key: Array,
    params: Params,
    objective: Objective,
) -> tuple[Data, Data | None]:
    """Training and validation data: a set of its own, a share drawn at random, or none."""
    if validation is None:
        return data, None
    if isinstance(validation, tuple):
        if len(validation) not in (2, 3):
            raise ValueError(
                "validation must be a pair (X, Y), a triple (X, Y, weights) or a share, got "
                f"{len(validation)} arrays"
            )
        weights = validation[2] if len(validation) == 3 else None
        return data, as_data(params, validation[0], validation[1], weights, objective)
    share = float(as_positive("validation", validation))
    n = len(data.X)
    held = round(share * n)
    if not 0 < held < n:
        raise ValueError(
            f"validation must leave at least one of the {n} examples on each side, got {share:g}"
        )
    order = jax.random.permutation(key, n)
    return take_rows(data, order[held:]), take_rows(data, order[:held])


def take_rows(data: Data, rows: Array) -> Data:
    """The same data for some of the rows only."""
    weights = None if data.weights is None else data.weights[rows]
    return Data(data.X[rows], data.Y[rows], weights)


def sample_rows(data: Data, most: int, key: Array) -> Data:
    """All the data, or so many rows drawn at random where there are more."""
    n = len(data.X)
    if n <= most:
        return data
    return take_rows(data, jnp.sort(jax.random.choice(key, n, (most,), replace=False)))

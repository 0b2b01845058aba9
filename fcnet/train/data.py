"""The examples of a run: checked, weighted, and split into training and validation.

They form a table from which rows are taken: on the device, or on disk as an `np.memmap`.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from fcnet.checks import as_array, as_auto, as_jax, check_finite, check_unmasked, on_host, reraise
from fcnet.keys import generator_of
from fcnet.losses import as_batch, as_shares
from fcnet.splits import classes_of, held_count
from fcnet.splits import hold_out as held_rows
from fcnet.train.types import Data
from fcnet.types import Objective, Params

EVALUATED_ROWS, EVALUATED_BYTES = 10_000, 2**23
"""The history measures at most this many training examples, and bytes; of more, a sample."""


class Table(NamedTuple):
    """n examples, of which any rows can be taken; `resident` are all, if on the device."""

    n: int
    rows: Callable[[np.ndarray], Data]
    resident: Data | None

    def keep(self, rows: np.ndarray) -> "Table":
        """The table of these rows only."""
        if self.resident is not None:
            return on_device(self.resident.rows(rows))
        return Table(len(rows), lambda chosen: self.rows(rows[chosen]), None)


T = TypeVar("T", Table, None)


def as_start(layers: Params, dtype: str | None) -> Params:
    """The parameters to start from, of one network or several: finite, in the dtype of the run."""
    start: Params = jax.tree.map(
        lambda leaf: jnp.asarray(as_auto(leaf), dtype or leaf.dtype), layers
    )
    for path, leaf in jax.tree.leaves_with_path(start):
        check_finite(f"params{jax.tree_util.keystr(path)}", leaf)
    return start


def as_data(
    params: Params,
    X: ArrayLike,
    Y: ArrayLike,
    weights: ArrayLike | None,
    objective: Objective,
) -> Data:
    """Checked examples in rows, in the dtype of the parameters, with their weights."""
    X, Y, weights = map(as_auto, (X, Y, weights))
    examples, targets = as_batch(params, X, Y, objective.loss)
    return Data(examples, targets, as_weights(weights, len(examples), params))


def as_weights(weights: ArrayLike | None, n: int, params: Params) -> Array | None:
    """One weight for each example, 0 or more, of mean 1, in the dtype for sums.

    None where all weights are equal.
    """
    if weights is None:
        return None
    shares = on_host(as_shares(weights, n, params[0].W.dtype))
    if not shares.any():
        raise ValueError("weights are all 0: expected at least one example that counts")
    return None if (shares == shares[0]).all() else as_jax(shares * n)


def as_table(
    params: Params, X: ArrayLike, Y: ArrayLike, weights: ArrayLike | None, objective: Objective
) -> Table:
    """The training examples, on the device unless X or Y is an `np.memmap`."""
    if isinstance(X, np.memmap) or isinstance(Y, np.memmap):
        return on_disk(params, np.asanyarray(X), np.asanyarray(Y), weights, objective)
    return on_device(as_data(params, X, Y, weights, objective))


def on_device(data: Data) -> Table:
    """The table of data that is on the device."""
    return Table(len(data.X), data.rows, data)


def on_disk(
    params: Params, X: np.ndarray, Y: np.ndarray, weights: ArrayLike | None, objective: Objective
) -> Table:
    """The table of memory-mapped arrays: shapes are checked now, values when a row is taken."""
    n = _check_table(params, X, Y, objective)
    shares = as_weights(weights, n, params)
    each = None if shares is None else np.asarray(shares)

    def rows(chosen: np.ndarray) -> Data:
        examples, targets = np.asarray(X[chosen]), np.asarray(Y[chosen])
        for name, values in (("X", examples), ("Y", targets)):
            check_finite_rows(name, values, chosen)
        try:
            data = as_data(params, examples, targets, None, objective)
        except ValueError as error:
            raise ValueError(f"{error}, counted among the rows {chosen}") from error
        return data if each is None else data._replace(weights=as_jax(each[chosen]))

    return Table(n, rows, None)


def _check_table(params: Params, X: np.ndarray, Y: np.ndarray, objective: Objective) -> int:
    """The number of rows, once dtypes and shapes fit the network; no value is read."""
    for name, array in (("X", X), ("Y", Y)):
        check_unmasked(name, array)
        as_array(name, np.zeros(1, array.dtype))
    unread = [np.broadcast_to(np.float32(0), array.shape) for array in (X, Y)]
    jax.eval_shape(lambda X, Y: as_batch(params, X, Y, objective.loss), *unread)
    return len(X)


def check_finite_rows(name: str, values: np.ndarray, numbers: np.ndarray) -> None:
    """Raise unless all values are finite, and name the first row with one that is not."""
    bad = ~np.isfinite(values.reshape(len(values), -1)).all(1)
    if bad.any():
        raise ValueError(
            f"{name} must be finite, got {values[bad][0]} in row {numbers[bad][0]}; "
            "remove, impute or rescale such entries first"
        )


def hold_out(
    table: T,
    validation: float | tuple[ArrayLike, ...] | None,
    key: Array,
    params: Params,
    objective: Objective,
) -> tuple[T, Data | None]:
    """Training and validation data: a set of its own, a share drawn at random, or none.

    Each class keeps the share too, unless the table is on disk. The table is None where the batches
    come from an iterable, from which no share can be drawn.
    """
    if validation is None:
        return table, None
    if isinstance(validation, (tuple, list)):
        if len(validation) not in (2, 3):
            raise ValueError(
                "validation must be a pair (X, Y), a triple (X, Y, weights) or a share, got "
                f"{len(validation)} arrays"
            )
        weights = validation[2] if len(validation) == 3 else None
        try:
            return table, as_data(params, validation[0], validation[1], weights, objective)
        except (TypeError, ValueError) as error:
            reraise(error, f"validation: {error}")
    if table is None:
        raise ValueError("validation must be a pair (X, Y) where X is an iterable of batches")
    what = "a pair (X, Y), a triple (X, Y, weights) or a share"
    held = held_count("validation", validation, table.n, what)
    known = table.resident and classes_of(np.asarray(table.resident.Y))
    draw = generator_of(key).permutation
    chosen = held_rows(np.ones(table.n), held / table.n, draw, classes=known)
    held_out = table.rows(np.flatnonzero(chosen))
    check_counts("the validation examples", held_out)
    return table.keep(np.flatnonzero(~chosen)), held_out


def evaluated_rows(params: Params) -> int:
    """The largest number of training examples that the history measures for a network."""
    W = params[0].W
    row = W.itemsize * (W.shape[1] + params[-1].W.shape[0])
    return max(1, min(EVALUATED_ROWS, EVALUATED_BYTES // row))


def sample_rows(table: Table, most: int, key: Array) -> Data:
    """All the data; or `most` rows drawn at random, where there are more."""
    if table.n > most:
        data = table.rows(np.sort(generator_of(key).choice(table.n, most, replace=False)))
    else:
        data = table.rows(np.arange(table.n)) if table.resident is None else table.resident
    check_counts("the training examples that the history measures", data)
    return data


def check_counts(name: str, data: Data) -> None:
    """Raise where every weight is 0: the mean loss would be 0 / 0."""
    if data.weights is not None and not on_host(data.weights).any():
        raise ValueError(
            f"weights of {name}, {len(data.X)} that were drawn, are all 0: leave out examples that "
            "do not count, or give a validation set"
        )

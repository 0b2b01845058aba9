"""What a run learns from: its batches, and the examples that it is measured on."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from fcnet.train.data import as_table, hold_out, sample_rows
from fcnet.train.loop import Data
from fcnet.train.objective import Objective
from fcnet.train.source import Source, drawn
from fcnet.train.stream import given
from fcnet.types import Params

EVALUATED, BYTES = 10_000, 2**23
"""The training loss in the history is that of all examples; or, where there are more, of so many
drawn once, within so many bytes."""


class Problem(NamedTuple):
    """The batches of a run, the training examples its history tells of, and those held out."""

    source: Source
    seen: Data
    held_out: Data | None
    examples: str


def as_problem(
    params: Params,
    X: Any,
    Y: ArrayLike | None,
    weights: ArrayLike | None,
    validation: float | tuple[ArrayLike, ...] | None,
    *,
    key: Array,
    sampling: str,
    batch_size: int,
    objective: Objective,
    mesh: Mesh | None = None,
) -> Problem:
    """Arrays, which are sampled from, or an iterable of batches, in which case Y is None."""
    split_key, draw_key, sample_key = jax.random.split(key, 3)
    if Y is None:
        batches = as_iterable(X, weights, sampling)
        _, held_out = hold_out(None, validation, split_key, params, objective)
        source, seen = given(params, batches, batch_size, objective, evaluated(params), mesh)
        return Problem(source, seen, held_out, "a stream")
    table = as_table(params, X, Y, weights, objective)
    table, held_out = hold_out(table, validation, split_key, params, objective)
    source = drawn(table, sampling, draw_key, batch_size, mesh)
    seen = sample_rows(table, evaluated(params), sample_key)
    return Problem(source, seen, held_out, str(table.n))


def evaluated(params: Params) -> int:
    """How many training examples of a network are evaluated at most."""
    W = params[0].W
    row = W.itemsize * (W.shape[1] + params[-1].W.shape[0])
    return max(1, min(EVALUATED, BYTES // row))


def as_iterable(X: Any, weights: ArrayLike | None, sampling: str) -> Iterable[Any]:
    """Batches that come by themselves: nothing is drawn and nothing weighed here."""
    if not isinstance(X, Iterable) or hasattr(X, "dtype") or isinstance(X, (str, bytes)):
        raise TypeError(
            "Y must be an array; it is left out only where X is an iterable of batches (X, Y), "
            f"but X is a {type(X).__name__}"
        )
    if weights is not None:
        raise ValueError("weights go with arrays; an iterable gives batches (X, Y, weights)")
    if sampling != "algorithm2":
        raise ValueError(f"sampling {sampling!r} draws from arrays; an iterable gives its batches")
    return X

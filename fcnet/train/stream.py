"""Batches that the caller gives, from any iterable: a list, a generator, a loader of Grain's."""

from collections.abc import Iterable, Iterator
from itertools import islice
from threading import Lock
from typing import Any

import jax.numpy as jnp
import numpy as np

from fcnet.checks import as_count
from fcnet.sampling import block_length
from fcnet.train.batches import Batches
from fcnet.train.data import as_data, check_finite_rows, take_rows
from fcnet.train.loop import Data
from fcnet.train.objective import Objective
from fcnet.train.source import Chunk, Source, in_turn, steps_in_chunk
from fcnet.types import Params

STEPS = 64
"""A chunk has the batches of so many steps at most: the first step waits for as many."""


def given(
    params: Params, batches: Iterable[Any], batch_size: object, objective: Objective, most: int
) -> tuple[Source, Data]:
    """The source of an iterable's batches, and examples of its first chunk, at most so many.

    An iterable that can begin again, such as a list, does so at its end; an iterator ends the run.
    """
    B = as_count("batch_size", batch_size, least=1)
    W = params[0].W
    row_bytes = W.dtype.itemsize * (W.shape[1] + len(params[-1].b))
    block = min(STEPS, block_length(B), steps_in_chunk(B, row_bytes))
    reader = _again_and_again(batches)
    recent: dict[int, Chunk] = {}
    lock = Lock()
    read = 0

    def load(begin: int) -> Chunk:
        nonlocal read
        with lock:
            if begin not in recent:
                for _ in islice(reader, begin - read):
                    pass
                few = list(islice(reader, block))
                read = begin + block
                recent[begin] = _chunk(params, few, begin, block, B, objective)
                if len(recent) > 2:
                    del recent[min(recent)]
            return recent[begin]

    first = load(0)
    if not first.length:
        raise ValueError("X gave no batch: expected an iterable of batches (X, Y)")
    assert first.batches is not None
    rows = np.arange(first.length * B)
    if first.batches.mask is not None:
        rows = np.flatnonzero(np.asarray(first.batches.mask))
    return Source(block, load, False), take_rows(first.data, rows[:most])


def _again_and_again(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches of pass after pass; of one only, where they come from an iterator."""
    some = True
    while some:
        some = False
        iterator = iter(batches)
        for batch in iterator:
            some = iterator is not batches
            yield batch


def _chunk(
    params: Params, batches: list[Any], begin: int, block: int, B: int, objective: Objective
) -> Chunk:
    """The batches one after the other, each padded to B rows by its first, and the rest empty."""
    whole = [_as_rows(batch, begin + i, B) for i, batch in enumerate(batches)]
    if not whole:
        return Chunk(Data(params[0].W, params[0].W, None), None, 0)
    sizes = np.array([len(batch[0]) for batch in whole] + [0] * (block - len(whole)))
    if len({len(batch) for batch in whole}) > 1:
        raise ValueError("X must give either weights with every batch or with none")
    whole += [tuple(array[:1] for array in whole[0])] * (block - len(whole))
    try:
        columns = [
            np.concatenate([_padded(array, B) for array in c]) for c in zip(*whole, strict=True)
        ]
        data = as_data(params, columns[0], columns[1], None, objective)
    except ValueError as error:
        raise ValueError(f"{error}, in batches {begin} to {begin + len(batches) - 1}") from error
    if len(columns) == 3:
        data = data._replace(weights=jnp.asarray(columns[2], data.X.dtype))
    full = (sizes[: len(batches)] == B).all()
    mask = None if full else jnp.asarray(np.arange(B) < sizes[:, None])
    return Chunk(data, Batches(in_turn(block, B), mask), len(batches))


def _as_rows(batch: Any, number: int, B: int) -> tuple[np.ndarray, ...]:
    """One batch as arrays of rows, at most B, or an error that names it."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        raise TypeError(
            f"batch {number} must be a pair (X, Y) or a triple (X, Y, weights), got "
            f"{type(batch).__name__}"
        )
    arrays = tuple(map(np.asarray, batch))
    lengths = {array.shape[:1] for array in arrays}
    if len(lengths) > 1 or not 0 < (len(arrays[0]) if arrays[0].ndim else 0) <= B:
        raise ValueError(
            f"batch {number} has shapes {[array.shape for array in arrays]}, expected as many rows "
            f"in each, from 1 to batch_size={B}"
        )
    numbers = np.arange(len(arrays[0]))
    for name, array in zip(("X", "Y", "weights"), arrays, strict=False):
        check_finite_rows(f"batch {number}: {name}", array, numbers)
    if len(arrays) == 3 and (arrays[2].ndim != 1 or (arrays[2] < 0).any()):
        raise ValueError(f"batch {number}: weights must be numbers of 0 or more, one for each row")
    return arrays


def _padded(array: np.ndarray, B: int) -> np.ndarray:
    return np.concatenate([array, np.repeat(array[:1], B - len(array), 0)])

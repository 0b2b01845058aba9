"""Batches that the caller gives, from any iterable: a list, a generator, a loader of Grain's."""

from collections.abc import Iterable, Iterator
from itertools import islice
from threading import Lock
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from fcnet.checks import as_count
from fcnet.sampling import block_length
from fcnet.train.data import as_data, check_finite_rows, take_rows
from fcnet.train.loop import Data
from fcnet.train.mesh import check_own, gathered, is_shared, least, own_rows, split
from fcnet.train.objective import Objective
from fcnet.train.source import Chunk, Source, in_steps, steps_in_chunk
from fcnet.types import Params

STEPS = 64
"""A chunk has the batches of so many steps at most: the first step waits for as many."""


def given(
    params: Params,
    batches: Iterable[Any],
    batch_size: object,
    objective: Objective,
    most: int,
    mesh: Mesh | None = None,
) -> tuple[Source, Data]:
    """The source of an iterable's batches, and examples of its first chunk, at most so many.

    An iterable that can begin again, such as a list, does so at its end; an iterator ends the run.
    In a run of several processes each gives its own rows of every batch.
    """
    B = as_count("batch_size", batch_size, least=1)
    check_own(mesh)
    own = len(own_rows(mesh, "batch_size", B))
    weighed = is_shared(mesh)
    W = params[0].W
    row_bytes = W.dtype.itemsize * (W.shape[1] + len(params[-1].b))
    block = min(STEPS, block_length(B), steps_in_chunk(B, row_bytes))
    reader = _again_and_again(batches)
    recent: dict[int, Chunk] = {}
    lock = Lock()
    read = 0

    def local(begin: int) -> Chunk:
        nonlocal read
        with lock:
            if begin not in recent:
                for _ in islice(reader, begin - read):
                    pass
                few = list(islice(reader, block))
                read = begin + block
                recent[begin] = _chunk(params, few, begin, block, own, objective, weighed)
                if len(recent) > 2:
                    del recent[min(recent)]
            return recent[begin]

    def load(begin: int) -> Chunk:
        chunk = local(begin)
        return chunk._replace(data=split(mesh, chunk.data, 1, B)) if chunk.length else chunk

    first = local(0)
    length = least(mesh, first.length)
    if not length:
        raise ValueError("X gave no batch: expected an iterable of batches (X, Y)")
    seen = jax.tree.map(lambda rows: rows[:length].reshape(-1, *rows.shape[2:]), first.data)
    if is_shared(mesh):
        seen = gathered(take_rows(seen, np.arange(length * own)[: most // jax.process_count()]))
    elif seen.weights is not None:
        seen = take_rows(seen, np.flatnonzero(seen.weights)[:most])
    else:
        seen = take_rows(seen, np.arange(length * own)[:most])
    if seen.weights is not None and not seen.weights.any():
        raise ValueError(
            f"batches 0 to {length - 1} weigh nothing, so the history cannot begin: give one of "
            "them that counts"
        )
    return Source(block, load, False, mesh), seen


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
    params: Params,
    batches: list[Any],
    begin: int,
    block: int,
    B: int,
    objective: Objective,
    weighed: bool,
) -> Chunk:
    """The batches in turn, each padded to B rows by its first, and the rest empty.

    Those of the same size without weights are not weighed, unless other processes' may be.
    """
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
    full = (sizes[: len(batches)] == B).all() and not weighed
    mask = None if full else np.arange(B) < sizes[:, None]
    return Chunk(in_steps(data, B, mask), None, len(batches))


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

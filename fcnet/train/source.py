"""Where the batches of a run come from: a table in memory or on disk, or an iterable of batches.

A source gives them a chunk of steps at a time. The chunk after the one that is worked on is loaded
in a thread of its own.
"""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from fcnet.checks import as_count, look_up_name
from fcnet.sampling import INT32_MAX, block_length
from fcnet.train.batches import SAMPLINGS, Batches, Draw
from fcnet.train.data import Table
from fcnet.train.loop import Data
from fcnet.train.mesh import everywhere, least, own_rows, split

CHUNK = 2**26
"""Bytes that a chunk from outside the device takes at most, but for a single step's."""


class Chunk(NamedTuple):
    """The batches of some steps: `data`, and the rows of it that each step takes.

    Where `batches` is None, the data have an axis of steps, or all of them are each step's batch.
    `length` is the number of steps, less than a block's where the batches end.
    """

    data: Data
    batches: Batches | None
    length: int


class Source(NamedTuple):
    """`load(step)` is the chunk of the `block` steps from a multiple of `block` on.

    `rewinds` says whether any chunk can be loaded again, or only the last two; where the batches
    may end, the processes of `mesh` agree on it.
    """

    block: int
    load: Callable[[int], Chunk]
    rewinds: bool
    mesh: Mesh | None = None


class Piece(NamedTuple):
    """The steps start..stop-1, all in one chunk, that of the steps from `begin` on."""

    start: int
    stop: int
    begin: int
    chunk: Chunk


def drawn(
    table: Table, sampling: str, key: Array, batch_size: object, mesh: Mesh | None = None
) -> Source:
    """The batches that a way to sample draws from a table."""
    sample = look_up_name("sampling", {**SAMPLINGS, "full": None}, sampling)
    if sample is None:
        if table.resident is None:
            raise ValueError(
                "sampling 'full' needs all examples on the device at once; load X and Y with "
                "np.asarray, or choose another sampling"
            )
        block = block_length(1)
        own_rows(mesh, "n, the number of examples,", table.n)
        whole = Chunk(split(mesh, table.resident, 0, table.n), None, block)
        return Source(block, lambda begin: whole, True)
    as_count("n, the number of examples,", table.n, least=1, most=INT32_MAX)
    B = as_count("batch_size", batch_size, least=1, most=table.n)
    own = own_rows(mesh, "batch_size", B)
    draw: Draw = sample(key, table.n, B)
    block = block_length(B)
    if table.resident is not None:
        data = everywhere(mesh, table.resident)
        return Source(block, lambda begin: Chunk(data, split(mesh, draw(begin), 1, B), block), True)
    row = table.rows(np.arange(1))
    block = min(block, steps_in_chunk(B, row.X.nbytes + row.Y.nbytes))

    def load(begin: int) -> Chunk:
        """The rows that the steps of a chunk take, or the part of them that this process feeds."""
        batches = jax.tree.map(lambda leaf: np.asarray(leaf)[:block, own], draw(begin))
        data = in_steps(table.rows(batches.indices.ravel()), len(own), batches.mask)
        return Chunk(split(mesh, data, 1, B), None, block)

    return Source(block, load, True)


def steps_in_chunk(batch_size: int, row_bytes: int) -> int:
    """How many steps' batches are loaded at once: within CHUNK, at least one."""
    return max(1, CHUNK // (batch_size * row_bytes))


def in_steps(data: Data, batch_size: int, mask: np.ndarray | None) -> Data:
    """Rows that lie one batch after the other, with an axis of steps; masked ones weigh nothing."""
    if mask is not None:
        counted = jnp.asarray(mask.ravel(), data.X.dtype)
        data = data._replace(weights=counted * (1 if data.weights is None else data.weights))
    return jax.tree.map(lambda rows: rows.reshape(-1, batch_size, *rows.shape[1:]), data)


def pieces(
    source: Source,
    start: int,
    stop: int,
    every: int,
    scope: Callable[[], AbstractContextManager[Any]],
) -> Generator[Piece, None, None]:
    """The steps start..stop-1 in pieces within one chunk, cut at the multiples of `every`."""
    for begin, chunk in _chunks(source, start, stop, scope):
        first, end = max(start, begin), min(stop, begin + chunk.length)
        while first < end:
            last = min(end, first - first % every + every)
            yield Piece(first, last, begin, chunk)
            first = last


def _chunks(
    source: Source, start: int, stop: int, scope: Callable[[], AbstractContextManager[Any]]
) -> Iterator[tuple[int, Chunk]]:
    """Each chunk, while the next one is loaded."""

    def load(begin: int) -> Chunk:
        with scope():
            return source.load(begin)

    with ThreadPoolExecutor(1, "fcnet-load") as pool:
        begin = start - start % source.block
        upcoming = pool.submit(load, begin)
        while begin < stop:
            chunk = upcoming.result()
            chunk = chunk._replace(length=least(source.mesh, chunk.length))
            after = begin + source.block
            if after < stop and chunk.length == source.block:
                upcoming = pool.submit(load, after)
            yield begin, chunk
            begin = after if chunk.length == source.block else stop

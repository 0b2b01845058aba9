"""Where the batches of a run come from: a table in memory or on disk, or an iterable of batches.

A source loads a block of steps at a time, in a thread of its own, while the block before it is
being worked on.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import islice
from threading import Lock
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from fcnet.checks import as_array, as_count, as_jax, check_unmasked, on_host
from fcnet.keys import split_keys
from fcnet.losses import as_shares, sum_dtype
from fcnet.rows import look_up_name
from fcnet.sampling import INT32_MAX, block_length
from fcnet.train.data import (
    Table,
    as_data,
    as_table,
    check_finite_rows,
    evaluated_rows,
    hold_out,
    sample_rows,
)
from fcnet.train.mesh import check_own, everywhere, gathered, is_shared, least, own_rows, split
from fcnet.train.optimizer import shape_of
from fcnet.train.sampling import SAMPLINGS, Draw, batches_like
from fcnet.train.schedule import Schedule
from fcnet.train.types import Data, Window
from fcnet.types import Objective, Params

LOADED_BYTES = 2**25
"""A block from outside the device takes at most this many bytes, unless it is a single step's.

Up to three are in memory: at work, waiting for the device, and being loaded."""

STREAM_STEPS = 64
"""A block of an iterable has at most this many batches; the first step waits for all of them."""


class Source(NamedTuple):
    """The batches of a run.

    Attributes:
        block: the number of steps in a block.
        load: `load(step)` is the window of the whole block that begins at `step`, a multiple of
            `block`; it is shorter where the batches end.
        rewinds: whether any block can be loaded again, or only the last two.
        mesh: the devices whose processes agree on where the batches end.
        like: a window like that of every block, maybe without values; None where that is known only
            once one is loaded.
    """

    block: int
    load: Callable[[int], Window]
    rewinds: bool
    mesh: Mesh | None = None
    like: Window | None = None


class TrainingData(NamedTuple):
    """The batches of a run, the training examples to measure, and those held out.

    `examples` describes the training examples in the configuration of a run.
    """

    source: Source
    batch_size: int
    seen: Data
    held_out: Data | None
    examples: str


def as_training_data(
    params: Params,
    X: Any,
    Y: ArrayLike | None,
    weights: ArrayLike | None,
    validation: float | tuple[ArrayLike, ...] | None,
    *,
    key: Array,
    sampling: str,
    batch_size: int | None,
    objective: Objective,
    mesh: Mesh | None,
) -> TrainingData:
    """The data of `fit`: arrays to draw batches from, or an iterable of batches if Y is None."""
    split_key, draw_key, sample_key = split_keys(key, 3)
    if Y is None:
        batches = as_iterable(X, weights, sampling)
        _, held_out = hold_out(None, validation, split_key, params, objective)
        most, B = evaluated_rows(params), as_batch_size(batch_size)
        source, seen = streamed(params, batches, B, objective, most, mesh)
        return TrainingData(source, B, seen, held_out, "a stream")
    table = as_table(params, X, Y, weights, objective)
    table, held_out = hold_out(table, validation, split_key, params, objective)
    B = as_sampling(sampling, table.n, batch_size)
    source = drawn(table, sampling, draw_key, B, mesh)
    seen = sample_rows(table, evaluated_rows(params), sample_key)
    return TrainingData(source, B, seen, held_out, str(table.n))


def drawn(table: Table, sampling: str, key: Array, B: int, mesh: Mesh | None = None) -> Source:
    """The batches that a way to sample draws from a table."""
    sample = SAMPLINGS.get(sampling)
    if sample is None:
        return _of_all(table, mesh)
    own = own_rows(mesh, "batch_size", B)
    draw: Draw = sample(key, table.n, B)
    if table.resident is None:
        return _loaded(table, draw, own, B, mesh)
    data, block = everywhere(mesh, table.resident), block_length(B)

    def window(begin: int) -> Window:
        return Window(data, split(mesh, draw(begin), 1, B), 0, block)

    if mesh is not None:
        return Source(block, window, True)
    drawn_shapes = batches_like(sampling, shape_of(key), table.n, B)
    return Source(block, window, True, like=Window(data, drawn_shapes, 0, block))


def _of_all(table: Table, mesh: Mesh | None) -> Source:
    """Batches of all examples, from which nothing is drawn."""
    if table.resident is None:
        raise ValueError(
            "sampling 'full' needs all examples on the device at once; load X and Y with "
            "np.asarray, or choose another sampling"
        )
    block = block_length(1)
    own_rows(mesh, "n, the number of examples,", table.n)
    whole = Window(split(mesh, table.resident, 0, table.n), None, 0, block)
    return Source(block, lambda begin: whole, True, like=None if mesh else whole)


def _loaded(table: Table, draw: Draw, own: np.ndarray, B: int, mesh: Mesh | None) -> Source:
    """Batches whose rows are read from disk, of which each process loads its `own`."""
    row = table.rows(np.arange(1))
    block = min(block_length(B), loaded_steps(B, row.X.nbytes + row.Y.nbytes))

    def load(begin: int) -> Window:
        batches = jax.tree.map(lambda leaf: np.asarray(leaf)[:block, own], draw(begin))
        data = in_steps(table.rows(batches.indices.ravel()), len(own), batches.mask)
        return Window(split(mesh, data, 1, B), None, 0, block)

    return Source(block, load, True)


def as_sampling(sampling: str, n: int, batch_size: object) -> int:
    """B, once it goes with the way to sample n examples: "full" takes them all."""
    sample = look_up_name("sampling", {**SAMPLINGS, "full": None}, sampling)
    if sample is not None:
        return as_batch_size(batch_size, n)
    if batch_size is not None and as_count("batch_size", batch_size, least=1) != n:
        raise ValueError(
            f"sampling 'full' takes all {n} examples in each step, got batch_size={batch_size}: "
            "leave batch_size out, or choose another sampling"
        )
    return n


def as_batch_size(batch_size: object, n: int | None = None) -> int:
    """B, from 1 to n where the examples are counted."""
    if batch_size is None:
        among = "" if n is None else f", from 1 to the {n} training examples"
        raise TypeError(f"batch_size is missing: give the number of examples in a batch{among}")
    most = None if n is None else as_count("n, the number of examples,", n, 1, INT32_MAX)
    return as_count("batch_size", batch_size, least=1, most=most)


def loaded_steps(batch_size: int, row_bytes: int) -> int:
    """The number of steps whose batches are loaded at once: within LOADED_BYTES, at least one."""
    return max(1, LOADED_BYTES // (batch_size * row_bytes))


def in_steps(data: Data, batch_size: int, mask: np.ndarray | None) -> Data:
    """Rows of consecutive batches, with an axis of steps; masked rows get weight 0."""
    if mask is not None:
        counted = np.asarray(mask).ravel().astype(data.X.dtype)
        weights = counted if data.weights is None else counted * on_host(data.weights)
        data = data._replace(weights=as_jax(weights))
    return jax.tree.map(lambda rows: rows.reshape(-1, batch_size, *rows.shape[1:]), data)


def windows(
    source: Source,
    start: int,
    schedule: Schedule,
    scope: Callable[[], AbstractContextManager[Any]],
) -> Generator[tuple[int, Window], None, None]:
    """The steps from `start` on, in windows of one block each, cut where the run is evaluated.

    Each comes with the step at which its block begins.
    """
    for begin, block in _blocks(source, start, schedule.steps, scope):
        first, end = max(start - begin, 0), min(schedule.steps - begin, int(block.last))
        while first < end:
            last = min(end, schedule.after(begin + first) - begin)
            yield begin, block._replace(first=first, last=last)
            first = last


def _blocks(
    source: Source, start: int, stop: int, scope: Callable[[], AbstractContextManager[Any]]
) -> Iterator[tuple[int, Window]]:
    """Each block with the step at which it begins, while the next one is loaded."""

    def load(begin: int) -> Window:
        with scope():
            return source.load(begin)

    with ThreadPoolExecutor(1, "fcnet-load") as pool:
        begin = start - start % source.block
        upcoming = pool.submit(load, begin)
        while begin < stop:
            block = upcoming.result()
            length = least(source.mesh, int(block.last))
            after = begin + source.block
            if after < stop and length == source.block:
                upcoming = pool.submit(load, after)
            yield begin, block._replace(last=length)
            begin = after if length == source.block else stop


def as_iterable(X: Any, weights: ArrayLike | None, sampling: str) -> Iterable[Any]:
    """X as an iterable of batches, from which nothing is drawn."""
    if not isinstance(X, Iterable) or hasattr(X, "dtype") or isinstance(X, (str, bytes)):
        raise TypeError(
            "Y must be an array; it is left out only where X is an iterable of batches (X, Y), "
            f"but X is a {type(X).__name__}"
        )
    if weights is not None:
        raise ValueError("weights go with arrays; an iterable yields batches (X, Y, weights)")
    if sampling != "algorithm2":
        raise ValueError(f"sampling {sampling!r} draws from arrays; an iterable yields its batches")
    return X


def streamed(
    params: Params,
    batches: Iterable[Any],
    B: int,
    objective: Objective,
    most: int,
    mesh: Mesh | None,
) -> tuple[Source, Data]:
    """The batches of an iterable: a list, a generator, a loader of Grain's.

    Returns the source, and at most `most` examples of the first block. An iterable that can begin
    again, such as a list, does so at its end; an iterator ends the run. In a run of several
    processes each yields its own rows of every batch.
    """
    check_own(mesh)
    own = len(own_rows(mesh, "batch_size", B))
    weighted = is_shared(mesh)
    W = params[0].W
    row_bytes = W.dtype.itemsize * (W.shape[1] + len(params[-1].b))
    block = min(STREAM_STEPS, block_length(B), loaded_steps(B, row_bytes))
    reader = _passes(batches)
    recent: dict[int, Window] = {}
    lock = Lock()
    read = 0

    def local(begin: int) -> Window:
        nonlocal read
        with lock:
            if begin not in recent:
                for _ in islice(reader, begin - read):
                    pass
                few = list(islice(reader, block))
                read = begin + block
                data = _stacked(params, few, begin, block, own, objective, weighted)
                recent[begin] = Window(data, None, 0, len(few))
                if len(recent) > 2:
                    del recent[min(recent)]
            return recent[begin]

    def load(begin: int) -> Window:
        window = local(begin)
        return window._replace(data=split(mesh, window.data, 1, B)) if window.last else window

    first = local(0)
    length = least(mesh, int(first.last))
    if not length:
        raise ValueError("X gave no batch: expected an iterable of batches (X, Y)")
    return Source(block, load, False, mesh), _measured(first.data, length, most, mesh)


def _measured(data: Data, length: int, most: int, mesh: Mesh | None) -> Data:
    """At most `most` examples of the first `length` batches of a block, for the history."""
    seen: Data = jax.tree.map(lambda rows: rows[:length].reshape(-1, *rows.shape[2:]), data)
    if is_shared(mesh):
        seen = gathered(seen.rows(np.arange(len(seen.X))[: most // jax.process_count()]))
    else:
        w = seen.weights
        counted = np.arange(len(seen.X)) if w is None else np.flatnonzero(w)
        seen = seen.rows(counted[:most])
    if seen.weights is not None and not seen.weights.any():
        raise ValueError(
            f"all weights of the batches 0 to {length - 1} are 0, so that the history cannot "
            "measure them: give at least one of them a positive weight"
        )
    return seen


def _passes(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches in one pass after the other; in a single pass, if they come from an iterator."""
    again = True
    while again:
        again = False
        iterator = iter(batches)
        for batch in iterator:
            again = iterator is not batches
            yield batch


def _stacked(
    params: Params,
    batches: list[Any],
    begin: int,
    block: int,
    B: int,
    objective: Objective,
    weighted: bool,
) -> Data:
    """Some batches with an axis of `block` steps, each padded to B rows by its first row.

    The steps behind the last batch are padding. Batches of B rows without weights get none, unless
    `weighted`, since those of other processes may have some.
    """
    whole = [_as_rows(batch, begin + i, B) for i, batch in enumerate(batches)]
    if not whole:
        return Data(params[0].W, params[0].W, None)
    sizes = np.array([len(batch[0]) for batch in whole] + [0] * (block - len(whole)))
    if len({len(batch) for batch in whole}) > 1:
        raise ValueError("X must give either weights with every batch or with none")
    whole += [tuple(array[:1] for array in whole[0])] * (block - len(whole))
    try:
        columns = [
            np.concatenate([_padded(array, B) for array in c]) for c in zip(*whole, strict=True)
        ]
        data = as_data(params, columns[0], columns[1], None, objective)
        if len(columns) == 3:
            as_shares(columns[2], len(columns[2]), data.X.dtype)  # whose sum must be finite
            data = data._replace(weights=as_array("weights", columns[2], sum_dtype(data.X.dtype)))
    except ValueError as error:
        raise ValueError(f"{error}, in batches {begin} to {begin + len(batches) - 1}") from error
    full = (sizes[: len(batches)] == B).all() and not weighted
    return in_steps(data, B, None if full else np.arange(B) < sizes[:, None])


def _as_rows(batch: Any, number: int, B: int) -> tuple[np.ndarray, ...]:
    """One batch as arrays of 1 to B rows; errors give its number."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        raise TypeError(
            f"batch {number} must be a pair (X, Y) or a triple (X, Y, weights), got "
            f"{type(batch).__name__}"
        )
    arrays = tuple(map(np.asarray, batch))
    lengths = {array.shape[:1] for array in arrays}
    if len(lengths) > 1 or not 0 < (len(arrays[0]) if arrays[0].ndim else 0) <= B:
        raise ValueError(
            f"batch {number} has shapes {[array.shape for array in arrays]}, expected equal "
            f"numbers of rows, from 1 to batch_size={B}"
        )
    numbers = np.arange(len(arrays[0]))
    for name, value, array in zip(("X", "Y", "weights"), batch, arrays, strict=False):
        check_unmasked(f"batch {number}: {name}", value)
        as_array(f"batch {number}: {name}", array.ravel()[:1])
        check_finite_rows(f"batch {number}: {name}", array, numbers)
    if len(arrays) == 3 and (arrays[2].ndim != 1 or (arrays[2] < 0).any()):
        raise ValueError(
            f"batch {number}: weights must be numbers of 0 or more, one for each row, got shape "
            f"{arrays[2].shape} and {arrays[2].min()}"
        )
    return arrays


def _padded(array: np.ndarray, B: int) -> np.ndarray:
    return np.concatenate([array, np.repeat(array[:1], B - len(array), 0)])

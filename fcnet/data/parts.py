"""The examples of a file in parts, standardised by the training examples: what a network takes."""

from collections.abc import Callable, Iterator
from functools import reduce
from typing import NamedTuple

import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int, UInt64

from fcnet.checks import as_jax
from fcnet.data.cells import as_text, joined, release, to_numpy
from fcnet.data.examples import Schema, examples_of
from fcnet.data.leaks import with_giveaways
from fcnet.data.preprocess import (
    Standardizer,
    combined,
    moments,
    standardize,
    standardizer_of,
    unscaled,
)
from fcnet.data.read import TableFile
from fcnet.data.schema import column_of
from fcnet.keys import generator_of
from fcnet.splits import classes_of, held_count, hold_out

CHUNK = 2**14
"""The rows that are standardised at once."""

ALIGNED = 16
"""The float32 numbers in 64 bytes. XLA on a CPU copies no array at a multiple of 64 bytes."""


class Part(NamedTuple):
    """Standardised examples, in float32, on the device."""

    X: Float[Array, "n d"]
    Y: Float[Array, "n m_r"]


class Parts(NamedTuple):
    """The examples of a file.

    Attributes:
        schema: what its columns are.
        inputs, targets: the means and the scales of the training examples.
        training: examples to train on; of a stream, some of them, to measure a network by.
        validation: those held out; None if there are none.
        rows: how many there are to train on.
        batches: batches(batch_size, key) yields pairs (X, Y) of a stream without end, as
            `fcnet.fit` takes them; None if `training` are all examples to train on.
    """

    schema: Schema
    inputs: Standardizer
    targets: Standardizer
    training: Part
    validation: Part | None
    rows: int
    batches: Callable[[int, Array], Iterator[tuple[np.ndarray, np.ndarray]]] | None = None


def split(
    file: TableFile,
    schema: Schema,
    *,
    validation: float,
    key: Array,
    groups: str | None = None,
) -> Parts:
    """The examples of a file, in memory once, in float32.

    Args:
        file: what `schema` was learned from.
        schema: of `learn_schema`.
        validation: the share to hold out by `fcnet.splits.hold_out`; 0 for none.
        key: a random key; the same key gives the same rows.
        groups: a column, whose equal rows are held out together or not at all.

    Raises:
        ValueError: for a share that leaves no rows on one side, or a column of one group or with
            empty cells.
        TypeError: for what is no key.

    >>> import jax, pyarrow
    >>> from fcnet.data import in_memory, learn_schema, Table
    >>> columns = {"sqft": pyarrow.array(["800", "900", "700"])}
    >>> columns["price"] = pyarrow.array(["1", "2", "3"])
    >>> file = in_memory(Table(columns, 3))
    >>> parts = split(file, learn_schema(file, "price"), validation=0.4, key=jax.random.key(0))
    >>> parts.training.X.shape, parts.validation.X.shape
    ((2, 1), (1, 1))
    """
    draw = generator_of(key).permutation
    d, m = len(schema.scales.mean), len(schema.target_scales.mean)
    X, Y = (aligned_rows(schema.rows, width, np.float32) for width in (d, m))
    hashes, kept, n = np.empty(schema.rows, np.uint64), [], 0
    for rows in examples_of(schema, file):
        here = slice(n, n + len(rows.rows))
        X[here] = standardize(schema.scales, rows.X)
        Y[here] = standardize(schema.target_scales, rows.Y)
        hashes[here] = row_hashes(rows.X)
        if groups is not None:
            kept.append(rows.rows)
        n = here.stop
    schema = with_giveaways(schema, X[:n], Y[:n])
    held = np.zeros(n, bool)
    if validation:
        held_count("validation", validation, n, "0 or a share")
        held = hold_out(
            np.ones(n),
            validation,
            draw,
            classes=classes_of(Y[:n]),
            equal=hashes[:n],
            groups=None if groups is None else _groups(file, groups)[np.concatenate(kept)],
        )
    del hashes
    (X, validation_X), (Y, validation_Y) = divided(X, held), divided(Y, held)
    X_scales = fit_in_chunks(X)
    Y_scales = fit_in_chunks(Y) if schema.loss.is_scalable else unscaled(m)
    for standardizer, arrays in ((X_scales, (X, validation_X)), (Y_scales, (Y, validation_Y))):
        for array in arrays:
            _standardize_in_place(standardizer, array)
    release()
    return Parts(
        schema,
        chained(schema.scales, X_scales),
        chained(schema.target_scales, Y_scales),
        Part(as_jax(X), as_jax(Y)),
        Part(as_jax(validation_X), as_jax(validation_Y)) if validation else None,
        len(X),
    )


def aligned_rows(n: int, width: int, dtype: DTypeLike) -> Float[np.ndarray, "more width"]:
    """n rows and `ALIGNED` more, from an aligned address on; no value is set."""
    size = (n + ALIGNED) * width
    memory = np.empty(size + ALIGNED, dtype)
    begin = -memory.ctypes.data // memory.itemsize % ALIGNED
    return memory[begin : begin + size].reshape(-1, width)


def divided(
    array: Float[np.ndarray, "more width"], held: Bool[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "k width"], Float[np.ndarray, "h width"]]:
    """The rows of `aligned_rows` that are not held out, and those that are, in the same memory.

    >>> rows = aligned_rows(3, 1, np.float32)
    >>> rows[:3, 0] = 5, 6, 7
    >>> training, validation = divided(rows, np.array([False, True, False]))
    >>> training.tolist(), validation.tolist(), np.shares_memory(rows, validation)
    ([[5.0], [7.0]], [[6.0]], True)
    """
    out, rest = array[: len(held)][held], np.flatnonzero(~held)
    for begin in range(0, len(rest), CHUNK):
        chunk = rest[begin : begin + CHUNK]
        array[begin : begin + len(chunk)] = array[chunk]
    begin = -(-len(rest) // ALIGNED) * ALIGNED
    array[begin : begin + len(out)] = out
    return array[: len(rest)], array[begin : begin + len(out)]


def _chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of an array, some at a time."""
    return (array[begin : begin + CHUNK] for begin in range(0, len(array), CHUNK))


def fit_in_chunks(X: Float[np.ndarray, "n d"]) -> Standardizer:
    """`fit_standardizer` of an array, in double precision, that leaves no copy of it."""
    return standardizer_of(
        reduce(combined, (moments(chunk.astype(np.float64)) for chunk in _chunks(X)))
    )


def _standardize_in_place(standardizer: Standardizer, array: np.ndarray) -> None:
    for chunk in _chunks(array):
        chunk[:] = standardize(standardizer, chunk)


def chained(first: Standardizer, then: Standardizer) -> Standardizer:
    """The standardizer that does both.

    >>> one, two = Standardizer(np.ones(1), np.full(1, 2.0)), Standardizer(np.ones(1), np.ones(1))
    >>> standardize(chained(one, two), np.array([[5.0]])).tolist()
    [[1.0]]
    """
    return Standardizer(first.mean + then.mean * first.scale, first.scale * then.scale)


def row_hashes(X: Float[np.ndarray, "n d"], salt: int = 0) -> UInt64[np.ndarray, " n"]:
    """A number for each row, the same for equal rows, and hardly ever for others.

    >>> a, b, c = row_hashes(np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0]]))
    >>> bool(a == c), bool(a == b)
    (True, False)
    """
    factors = np.random.default_rng(salt).integers(2**63, size=X.shape[1], dtype=np.uint64)
    words = _mixed((X + 0.0).view(np.uint64) + factors)  # 0.0 is -0.0 by then
    return _mixed((words * (2 * factors + 1)).sum(axis=1))


def _mixed(words: UInt64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    """Words of which each bit depends on all bits of a word."""
    for shift, factor in ((33, 0xFF51AFD7ED558CCD), (29, 0xC4CEB9FE1A85EC53)):
        words = (words ^ (words >> np.uint64(shift))) * np.uint64(factor)
    return words ^ (words >> np.uint64(32))


def _groups(file: TableFile, name: str) -> Int[np.ndarray, " n"]:
    """A number for the group of each row of a file."""
    cells = joined([column_of(table, name) for table in file.blocks((name,))])
    groups = as_text(cells).combine_chunks().dictionary_encode()
    names = groups.dictionary.to_pylist()
    if "" in names:
        row = groups.indices.index(names.index("")).as_py()
        raise ValueError(
            f"column {name!r} is empty in {file.place(row)}, expected the group of each row: name "
            "it, or leave the row out"
        )
    if len(names) < 2:
        raise ValueError(f"column {name!r} must have two groups or more, got {names[0]!r} alone")
    return to_numpy(groups.indices)

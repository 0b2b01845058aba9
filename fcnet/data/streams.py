"""Tables that are too large for memory: trained on while they are read, again and again."""

from collections.abc import Generator, Iterator
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from fcnet.data.examples import Examples, Schema, examples_of
from fcnet.data.leaks import with_giveaways
from fcnet.data.parts import Part, Parts, row_hashes
from fcnet.data.preprocess import (
    Moments,
    Standardizer,
    combined,
    moments,
    standardize,
    standardizer_of,
    unscaled,
)
from fcnet.data.read import TableFile
from fcnet.keys import generator_of

DRAWN_ROWS, DRAWN_BYTES = 100_000, 2**25
"""The most rows, and bytes of them, that are held out. No more training rows are measured."""

POOL = 2**17
"""Rows that are read before batches are drawn from them."""

GROUPS = 4
"""Groups of rows that are read at once."""


class Arrays(NamedTuple):
    """Inputs and targets of some rows."""

    X: Float[np.ndarray, "n d"]
    Y: Float[np.ndarray, "n m_r"]


def _joined(blocks: list[Arrays]) -> Arrays:
    return Arrays(*map(np.concatenate, zip(*blocks, strict=True)))


class Draw(NamedTuple):
    """Which rows are held out, or measured, by a number between 0 and 1 for each row.

    Attributes:
        held, measured: the rows with a number below `held` are held out; those of the next
            `measured` are trained on and measured.
        seed: another one gives other numbers.
        by_number: whether the number is that of a row's place in the file, not of its inputs.
    """

    held: float
    measured: float
    seed: int
    by_number: bool

    def numbers(self, rows: Examples) -> Float[np.ndarray, " n"]:
        """A number for each row."""
        of = rows.rows[:, None].astype(np.float64) if self.by_number else rows.X
        return row_hashes(of, self.seed) / 2.0**64


def stream(file: TableFile, schema: Schema, *, validation: float, key: Array) -> Parts:
    """The examples of a file, of which few are in memory at any time.

    The file is read once for the means and the scales of its training rows, and then by the
    batches. `training` are rows that are drawn from those to train on, to measure a network by.

    A hash of its inputs decides whether a row is held out, so that equal rows stay on one side. If
    few rows differ, so that the share misses what was asked for by more than a tenth, the row's
    number is hashed instead.

    Args:
        file: what `schema` was learned from. The groups of rows of a Parquet file are read in
            a random order, some at a time; the rows of a CSV file in their order.
        schema: of `learn_schema`.
        validation: the share of rows to hold out, of which there are at most `DRAWN_ROWS`.
        key: a random key; the same key gives the same rows.

    Raises:
        ValueError: for a share that cannot be held out.
        TypeError: for what is no key.

    >>> import tempfile, pathlib, jax, fcnet
    >>> from fcnet.data import learn_schema, open_table
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "line.csv"
    >>> _ = path.write_text("x,y\\n" + "".join(f"{i * 7 % 10},{i * 21 % 30}\\n" for i in range(40)))
    >>> file, key = open_table(path), jax.random.key(0)
    >>> parts = stream(file, learn_schema(file, "y"), validation=0, key=key)
    >>> result = fcnet.fit(
    ...     fcnet.init(key, (1, 1)), parts.batches(8, key), None, batch_size=8, steps=900,
    ...     hyperparameters={"learning_rate": 0.03}, key=key,
    ... )
    >>> round(float(result.params[0].W[0, 0] * parts.targets.scale[0] / parts.inputs.scale[0]), 2)
    3.0
    """
    bytes_each = 8 * (len(schema.scales.mean) + len(schema.target_scales.mean))
    most = min(DRAWN_ROWS, DRAWN_BYTES // bytes_each)
    share, seed = most / schema.rows, _seed_of(key)
    for by_number in (False, True):
        draw = Draw(min(validation, share), share, seed, by_number)
        found = _drawn(file, schema, draw, 4 * most)
        if found is not None:
            break
    else:
        raise ValueError(
            f"validation={validation:g} of {schema.rows:,} rows cannot be held out: choose another "
            "share"
        )
    training, measured, held = found
    d = len(schema.scales.mean)
    inputs, targets = (
        standardizer_of(Moments(training.weight, *(each[part] for each in training[1:])))
        for part in (slice(d), slice(d, None))
    )
    if not schema.loss.is_scalable:
        targets = unscaled(len(targets.mean))
    return Parts(
        with_giveaways(schema, *measured),
        inputs,
        targets,
        _scaled(measured, inputs, targets),
        _scaled(held, inputs, targets) if validation else None,
        round(training.weight),
        partial(_batches, file, schema, draw, (inputs, targets)),
    )


def _seed_of(key: Array) -> int:
    return int(generator_of(key).integers(2**63))


def _drawn(
    file: TableFile, schema: Schema, draw: Draw, most: int
) -> tuple[Moments, Arrays, Arrays] | None:
    """The moments of the training rows, and the rows that are measured and held out.

    None if they are more, or less, than they should be.
    """
    n, count = 0, np.zeros(2, int)
    found: Moments | None = None
    drawn: tuple[list[Arrays], list[Arrays]] = ([], [])
    for rows in examples_of(schema, file):
        number = draw.numbers(rows)
        n += len(number)
        held = number < draw.held
        measured = ~held & (number < draw.held + draw.measured)
        for k, some in enumerate((measured, held)):
            count[k] += some.sum()
            drawn[k].append(Arrays(rows.X[some], rows.Y[some]))
        if count.max() > most:
            return None
        if not held.all():
            here = moments(np.hstack([rows.X, rows.Y])[~held])
            found = here if found is None else combined(found, here)
    expected = n * np.array([min(draw.measured, 1 - draw.held), draw.held])
    likely = np.maximum(expected / 10, 6 * np.sqrt(expected))
    if found is None or (np.abs(count - expected) > likely).any():
        return None
    return found, _joined(drawn[0]), _joined(drawn[1])


def _scaled(arrays: Arrays, inputs: Standardizer, targets: Standardizer) -> Part:
    X, Y = arrays
    return Part(
        jnp.asarray(standardize(inputs, X), jnp.float32),
        jnp.asarray(standardize(targets, Y), jnp.float32),
    )


def _batches(
    file: TableFile,
    schema: Schema,
    draw: Draw,
    scales: tuple[Standardizer, Standardizer],
    batch_size: int,
    key: Array,
) -> Iterator[Arrays]:
    """Batches of the training rows without end, one pass after the other."""
    random = np.random.default_rng(_seed_of(key))
    pool: list[Arrays] = []
    while True:
        for each in _mixed(file, schema, random):
            kept = draw.numbers(each) >= draw.held
            X, Y = (
                standardize(one, rows[kept]) for one, rows in zip(scales, each[:2], strict=True)
            )
            pool.append(Arrays(X.astype(np.float32), Y.astype(np.float32)))
            if sum(len(X) for X, _ in pool) < max(POOL, batch_size):
                continue
            pool = yield from _emptied(pool, batch_size, random)
        pool = yield from _emptied(pool, batch_size, random)


def _emptied(
    pool: list[Arrays], batch_size: int, random: np.random.Generator
) -> Generator[Arrays, None, list[Arrays]]:
    """Batches of the rows in the pool, in a random order; returns the rows that are left."""
    X, Y = _joined(pool)
    order = random.permutation(len(X))
    X, Y = X[order], Y[order]
    whole = len(X) - len(X) % batch_size
    for begin in range(0, whole, batch_size):
        rows = slice(begin, begin + batch_size)
        yield Arrays(X[rows], Y[rows])
    return [Arrays(X[whole:].copy(), Y[whole:].copy())]


def _mixed(file: TableFile, schema: Schema, random: np.random.Generator) -> Iterator[Examples]:
    """All rows once, in blocks of several groups of rows, which are drawn."""
    order = random.permutation(len(file.groups)).tolist()
    for begin in range(0, len(order), GROUPS):
        at_once = [examples_of(schema, file, [group]) for group in order[begin : begin + GROUPS]]
        while at_once:
            for blocks in tuple(at_once):
                rows = next(blocks, None)
                if rows is None:
                    at_once.remove(blocks)
                else:
                    yield rows

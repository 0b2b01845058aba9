"""The examples of a table, by its schema."""

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from fcnet.checks import check_type
from fcnet.data.cells import mask
from fcnet.data.preprocess import Standardizer
from fcnet.data.read import Table, TableFile, part
from fcnet.data.schema import Field, Values, encode, interpret, is_missing
from fcnet.types import Loss

BLOCK_BYTES = 2**21
"""The rows of a table become inputs in blocks of at most this many bytes, or of one row."""


class Schema(NamedTuple):
    """What the columns of a file are, for one target.

    Attributes:
        loss: that of the network.
        features: what the columns are, the ignored ones, too.
        target: what the target is; a label has its classes in the order of Y's columns.
        rows: how many rows the file has.
        dropped: the columns whose missing entries drop a row.
        missing: how many entries of a column are missing, and their marks, by name, in words.
        scales, target_scales: about the means and the scales of inputs and targets, those of all
            rows of the file. What is standardised so may be stored in float32 before it is known
            which rows are to be trained on.
    """

    loss: Loss
    features: tuple[Field, ...]
    target: Field
    rows: int
    dropped: tuple[str, ...]
    missing: Mapping[str, str]
    scales: Standardizer
    target_scales: Standardizer

    @property
    def used(self) -> tuple[Field, ...]:
        """The features that are not ignored."""
        return tuple(field for field in self.features if field.kind != "ignored")

    @property
    def text(self) -> tuple[str, ...]:
        """The columns whose text matters."""
        return tuple(f.name for f in (*self.used, self.target) if f.kind != "number")


class Examples(NamedTuple):
    """n examples: inputs and targets, before they are standardised, and their rows.

    Attributes:
        X, Y: inputs of shape (n, d) and targets of shape (n, m_r).
        rows: the numbers of the rows that they are, shape (n,).
    """

    X: Float[np.ndarray, "n d"]
    Y: Float[np.ndarray, "n m_r"]
    rows: Int[np.ndarray, " n"]


def make_examples(schema: Schema, file: TableFile) -> Examples:
    """The examples of a file, all at once.

    Args:
        schema: of `learn_schema`.
        file: what it was learned from, or another file with its columns.

    Raises:
        ValueError: for a missing column, or a cell that its field does not take, with its place.

    >>> import pyarrow
    >>> from fcnet.data.learn import learn_schema
    >>> from fcnet.data.read import in_memory
    >>> columns = {"sqft": pyarrow.array(["800", "900"]), "price": pyarrow.array(["1", "2"])}
    >>> file = in_memory(Table(columns, 2))
    >>> make_examples(learn_schema(file, "price"), file).X.tolist()
    [[800.0], [900.0]]
    """
    check_type("schema", schema, Schema, "a Schema of learn_schema")
    check_type("file", file, TableFile, "a TableFile of open_table")
    blocks = examples_of(schema, file)
    return Examples(*map(np.concatenate, zip(*blocks, strict=True)))


def examples_of(
    schema: Schema, file: TableFile, groups: Collection[int] | None = None
) -> Iterator[Examples]:
    """`make_examples`, a block of rows at a time; of these groups of rows, by default of all."""
    fields = (*schema.used, schema.target)
    most = max(1, BLOCK_BYTES // (8 * sum(len(field.inputs) for field in fields)))
    for table in file.blocks(schema.text, groups):
        for begin in range(0, table.rows, most):
            examples = _examples(schema, part(table, begin, most))
            if len(examples.X):
                yield examples


def _examples(schema: Schema, table: Table) -> Examples:
    entries, keep = kept_entries(schema, table)
    rows = table.first + np.flatnonzero(keep)

    def place(k: int) -> str:
        return table.place(int(rows[k]))

    def inputs(field: Field) -> np.ndarray:
        values = entries[field.name]
        kept = values[keep] if isinstance(values, np.ndarray) else values.filter(mask(keep))
        return encode(field, kept, place)

    Y = inputs(schema.target)
    wrong = ~np.broadcast_to(np.asarray(schema.loss.labels.accepts(Y)), Y.shape).all(axis=1)
    if wrong.any():
        raise ValueError(
            f"the target {schema.target.name!r} has {Y[wrong][0, 0]:g} in "
            f"{place(int(wrong.argmax()))}, expected {schema.loss.labels.description}, for the "
            f"loss {schema.loss.name}"
        )
    return Examples(np.hstack([inputs(field) for field in schema.used]), Y, rows)


def kept_entries(schema: Schema, table: Table) -> tuple[dict[str, Values], Bool[np.ndarray, " n"]]:
    """The entries of the columns of some rows, and which rows are kept."""
    entries = {field.name: interpret(field, table) for field in (*schema.used, schema.target)}
    keep = np.ones(table.rows, bool)
    for name in schema.dropped:
        keep &= ~is_missing(entries[name])
    return entries, keep

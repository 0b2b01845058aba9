"""Columns of numbers and of text as arrays: examples in rows, targets beside them.

All of it is NumPy, in float64, on the host: the networks cast to the dtype of their parameters.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from itertools import dropwhile
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float

Column: TypeAlias = np.ndarray
"""One value for each example, shape (n,): floats, or text that names a category."""


MISSING = frozenset({"", "NA", "N/A", "null"})
"""What stands for a missing number in a file, besides nan."""


class Dataset(NamedTuple):
    """n examples in the rows of X, shape (n, d), with their targets in Y, shape (n, m_r)."""

    X: Float[np.ndarray, "n d"]
    Y: Float[np.ndarray, "n m_r"]
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]


def read_csv(lines: Iterable[str]) -> dict[str, Column]:
    """The columns of a CSV with a header.

    Lines before it that begin with "# " are remarks; they and empty lines are left out.

    A column whose every entry is a number, or one of `MISSING`, is one of floats, with NaN for a
    missing one; any other is text.

    Raises:
        ValueError: without a row, for a row that is shorter or longer than the header, or for two
            columns of the same name.

    >>> read_csv(["sqft,zip", "800,z95838", ",z95823"])["sqft"].tolist()
    [800.0, nan]
    """
    told = dropwhile(lambda line: line.startswith("# "), lines)
    try:
        rows = [row for row in csv.reader(told, strict=True) if row]
    except csv.Error as error:  # such as a quote that is never closed
        raise ValueError(f"the CSV cannot be read: {error}") from error
    if len(rows) < 2:
        raise ValueError(f"the CSV has {len(rows)} rows, expected a header and at least one more")
    header, *body = rows
    if len(set(header)) < len(header):
        raise ValueError(f"the header names a column twice: {', '.join(header)}")
    for number, row in enumerate(body):
        if len(row) != len(header):
            raise ValueError(f"row {number} has {len(row)} fields, expected {len(header)}")
    return {
        name: _numbers_or_text(cells)
        for name, cells in zip(header, zip(*body, strict=True), strict=True)
    }


def _numbers_or_text(cells: Sequence[str]) -> Column:
    try:
        return np.array([np.nan if cell.strip() in MISSING else _number(cell) for cell in cells])
    except ValueError:
        return np.array(cells, dtype=object)


def _number(cell: str) -> float:
    if "_" in cell:
        raise ValueError("Python would leave the underscore out")
    return float(cell)


class Feature(NamedTuple):
    """How a column becomes inputs: a number as it is, a category as one 0/1 input a value.

    values: those of a category, sorted; None for a number.
    fill: what stands for a missing entry, a number or one of the values; None where none may be.
    """

    name: str
    values: tuple[str, ...] | None
    fill: float | str | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of its inputs.

        >>> Feature("zip", ("a", "b")).inputs
        ('zip=a', 'zip=b')
        """
        if self.values is None:
            return (self.name,)
        return tuple(f"{self.name}={value}" for value in self.values)


def learn_feature(
    name: str, column: Column, *, category: bool = False, fill: bool = False
) -> Feature:
    """The feature that a column of training examples makes.

    Args:
        name: the column's.
        column: its entries, shape (n,).
        category: whether numbers, too, are the names of categories.
        fill: whether missing entries are allowed from now on, here and in new examples. The median
            stands for a missing number; a missing category is one of its own, the empty text.

    Raises:
        ValueError: for a column without any entry.

    >>> learn_feature("beds", np.array([1.0, np.nan, 4.0]), fill=True)
    Feature(name='beds', values=None, fill=2.5)
    """
    missing = is_missing(column)
    if missing.all():
        raise ValueError(f"column {name!r} is empty: leave it out")
    if is_numeric(column) and not category:
        return Feature(name, None, float(np.median(column[~missing])) if fill else None)
    values = {*as_text(column[~missing]), *([""] if fill else [])}
    return Feature(name, tuple(sorted(values)), "" if fill else None)


def encode(feature: Feature, column: Column) -> Float[np.ndarray, "n m"]:
    """A column as inputs, shape (n, m): m = 1 for a number, else one for each value.

    Raises:
        ValueError: for a missing or infinite entry that nothing stands for, text where a number
            is expected, or a value that the feature does not know; with the row.

    >>> encode(Feature("zip", ("a", "b")), np.array(["b", "a"])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    name, values, fill = feature
    missing = is_missing(column)
    if missing.any() and fill is None:
        raise ValueError(
            f"column {name!r} has {missing.sum()} missing or infinite values, the first in row "
            f"{missing.argmax()}: leave the column out, or remove or impute those rows"
        )
    if values is None:
        if not is_numeric(column):
            raise ValueError(f"column {name!r} is text, expected numbers, got {column[0]!r}")
        numbers = column.astype(np.float64)
        return np.where(missing, np.nan if fill is None else fill, numbers)[:, None]
    text = np.where(missing, str(fill or ""), as_text(column))
    hot = text[:, None] == np.array(values)
    unknown = ~hot.any(axis=1)
    if unknown.any():
        row = unknown.argmax()
        raise ValueError(
            f"column {name!r} has the value {str(text[row])!r} in row {row}, which no training "
            f"example has; known are {', '.join(values[:8])}{', ...' if len(values) > 8 else ''}"
        )
    return hot.astype(np.float64)


def is_numeric(column: Column) -> bool:
    """Whether a column holds numbers."""
    return column.dtype.kind in "biuf"


def as_text(column: Column) -> list[str]:
    """The entries as text: a whole number without its decimal point.

    >>> as_text(np.array([95838.0, 0.5]))
    ['95838', '0.5']
    """
    if not is_numeric(column):
        return [str(value) for value in column]
    return [str(int(v)) if float(v).is_integer() else str(v) for v in column.tolist()]


def is_missing(column: Column) -> Bool[np.ndarray, " n"]:
    """Which entries are missing or infinite."""
    if is_numeric(column):
        return ~np.isfinite(column.astype(np.float64))
    return np.array([value in ("", None) or value != value for value in column], bool)


def as_dataset(columns: Mapping[str, Column], features: Sequence[str], target: str) -> Dataset:
    """Named columns as a data set: numbers as they are, a category as one 0/1 column a value.

    Args:
        columns: arrays of shape (n,), n >= 1, by name.
        features: the names of one or more columns, in the order they shall have in X.
        target: the name of a column of numbers, which becomes Y of shape (n, 1).

    Raises:
        ValueError: for a name that is no column, no features, the target among the features, text
            as the target, columns of different lengths, or a missing value, with its row.

    >>> as_dataset({"zip": np.array(["b", "a"]), "price": np.array([2, 1])}, ["zip"], "price").X
    array([[0., 1.],
           [1., 0.]])
    """
    if isinstance(features, str) or not len(features):
        raise ValueError(f"features must be a list of one or more columns, got {features!r}")
    for name in (*features, target):
        if name not in columns:
            raise ValueError(f"no column {name!r}; the columns are {', '.join(columns)}")
    if target in features:
        raise ValueError(f"the target {target!r} is among the features: leave it out")
    lengths = {name: len(columns[name]) for name in (*features, target)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns must have the same length, got {lengths}")
    if not is_numeric(columns[target]):
        raise ValueError(f"the target {target!r} is text, expected numbers")
    learned = [learn_feature(name, columns[name]) for name in features]
    return Dataset(
        np.column_stack([encode(feature, columns[feature.name]) for feature in learned]),
        encode(Feature(target, None), columns[target]),
        tuple(name for feature in learned for name in feature.inputs),
        (target,),
    )

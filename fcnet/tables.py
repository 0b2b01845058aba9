"""Tables: columns of numbers and text, and the inputs that they become.

All of it is NumPy, in float64, on the host: the networks cast to the dtype of their parameters.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from itertools import dropwhile
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

Column: TypeAlias = np.ndarray
"""One value for each example, shape (n,): floats, or text that names a category."""


MISSING = frozenset({"", "NA", "N/A", "null"})
"""The texts that mean a missing number in a file, besides nan."""


class Dataset(NamedTuple):
    """n examples in the rows of X, shape (n, d), with their targets in Y, shape (n, m_r)."""

    X: Float[np.ndarray, "n d"]
    Y: Float[np.ndarray, "n m_r"]
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]

    def rows(self, rows: Int[np.ndarray, " k"]) -> "Dataset":
        """The data set of these rows only."""
        return self._replace(X=self.X[rows], Y=self.Y[rows])


def read_csv(lines: Iterable[str]) -> dict[str, Column]:
    """The columns of a CSV with a header.

    Empty lines are skipped, and so are lines above the header that begin with "# ".

    A column becomes floats if every entry is a number or one of `MISSING`, which becomes NaN. Any
    other column is text.

    Raises:
        ValueError: for a file without rows, a row that is shorter or longer than the header, or two
            columns of the same name.

    >>> read_csv(["sqft,zip", "800,z95838", ",z95823"])["sqft"].tolist()
    [800.0, nan]
    """
    table = dropwhile(lambda line: line.startswith("# "), lines)
    try:
        rows = [row for row in csv.reader(table, strict=True) if row]
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
        return np.array([np.nan if cell.strip() in MISSING else _as_number(cell) for cell in cells])
    except ValueError:
        return np.array(cells, dtype=object)


def _as_number(cell: str) -> float:
    if "_" in cell:
        raise ValueError("Python would leave the underscore out")
    return float(cell)


class Feature(NamedTuple):
    """How a column becomes inputs: a number is one input, a category one of 0 or 1 for each value.

    Attributes:
        name: that of the column.
        values: the values of a category, sorted; None for a number.
        fill: what replaces a missing entry, a number or one of the values; None if no entry may be
            missing.
    """

    name: str
    values: tuple[str, ...] | None
    fill: float | str | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs.

        >>> Feature("zip", ("a", "b")).inputs
        ('zip=a', 'zip=b')
        """
        if self.values is None:
            return (self.name,)
        return tuple(f"{self.name}={value}" for value in self.values)


def learn_feature(
    name: str, column: Column, *, category: bool = False, fill: bool = False
) -> Feature:
    """The feature of a column of training examples.

    Args:
        name: that of the column.
        column: its entries, shape (n,).
        category: whether numbers are names of categories.
        fill: whether entries may be missing, here and in new examples. A missing number is replaced
            by the median; a missing category is a category of its own, the empty text.

    Raises:
        ValueError: for a column whose entries are all missing.

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
        ValueError: for a missing or infinite entry if the feature has no fill, for text where a
            number is expected, or for a value that the feature does not have; with the row.

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
    """The entries as text; a whole number has no decimal point.

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
    """A data set of named columns: a number is one input, a category one of 0 or 1 for each value.

    Args:
        columns: arrays of shape (n,), n >= 1, by name.
        features: the names of one or more columns, in the order of X.
        target: the name of a column of numbers, which becomes Y of shape (n, 1).

    Raises:
        ValueError: for an unknown column, no features, a target that is among the features or is
            text, columns of different lengths, or a missing value, with its row.

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

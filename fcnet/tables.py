"""Columns of numbers and of text as arrays: examples in rows, targets beside them.

All of it is NumPy, in float64, on the host: the networks cast to the dtype of their parameters.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

Column: TypeAlias = np.ndarray
"""One value for each example, shape (n,): floats, or text that names a category."""


class Dataset(NamedTuple):
    """n examples in the rows of X, shape (n, d), with their targets in Y, shape (n, m_r)."""

    X: Float[np.ndarray, "n d"]
    Y: Float[np.ndarray, "n m_r"]
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]


def read_csv(lines: Iterable[str]) -> dict[str, Column]:
    """The columns of a CSV with a header; lines that begin with # are left out.

    A column whose every entry is a number, or empty, is one of floats, NaN where it was empty;
    any other is text.

    Raises:
        ValueError: without a row, for a row that is shorter or longer than the header, or for two
            columns of the same name.

    >>> read_csv(["sqft,zip", "800,z95838", ",z95823"])["sqft"].tolist()
    [800.0, nan]
    """
    rows = list(csv.reader(line for line in lines if not line.startswith("#")))
    if len(rows) < 2:
        raise ValueError(f"the CSV has {len(rows)} lines, expected a header and at least one row")
    header, *body = rows
    if len(set(header)) < len(header):
        raise ValueError(f"the header names a column twice: {', '.join(header)}")
    for number, row in enumerate(body, start=1):
        if len(row) != len(header):
            raise ValueError(f"row {number} has {len(row)} fields, expected {len(header)}")
    return {
        name: _numbers_or_text(cells)
        for name, cells in zip(header, zip(*body, strict=True), strict=True)
    }


def _numbers_or_text(cells: Sequence[str]) -> Column:
    try:
        return np.array([float(cell) if cell.strip() else np.nan for cell in cells])
    except ValueError:
        return np.array(cells, dtype=object)


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
    blocks = [_encode(name, columns[name]) for name in features]
    target_names, Y = _encode(target, columns[target])
    if target_names != (target,):
        raise ValueError(f"the target {target!r} is text, expected numbers")
    return Dataset(
        np.column_stack([block for _, block in blocks]),
        Y,
        tuple(name for names, _ in blocks for name in names),
        target_names,
    )


def _encode(name: str, column: Column) -> tuple[tuple[str, ...], Float[np.ndarray, "n m"]]:
    """A column as one or more columns of floats, with their names."""
    numeric = column.dtype.kind in "biuf"
    missing = (
        ~np.isfinite(column) if numeric else np.array([v in ("", None) or v != v for v in column])
    )
    if missing.any():
        raise ValueError(
            f"column {name!r} has {missing.sum()} missing or infinite values, the first in row "
            f"{missing.argmax()}: leave the column out, or remove or impute those rows"
        )
    if numeric:
        return (name,), column.astype(np.float64)[:, None]
    values = sorted({str(value) for value in column})
    hot = column.astype(str)[:, None] == np.array(values)
    return tuple(f"{name}={value}" for value in values), hot.astype(np.float64)

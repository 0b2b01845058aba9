"""Tables: columns of numbers and text, and the inputs that they become.

All of it is NumPy, in float64, on the host: the networks cast to the dtype of their parameters.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float

Column: TypeAlias = np.ndarray
"""One value for each example, shape (n,): floats, or text that names a category."""


MISSING = frozenset({"", "NA", "N/A", "null"})
"""The texts that mean a missing number in a file, besides nan."""


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


MISSING_CHOICES = ("error", "drop", "impute")
"""What to do about missing entries: raise an error, drop their rows, or impute, here and in new
examples: a number by the median, a category by a value of its own."""


def drop_incomplete(columns: Mapping[str, Column], names: Collection[str]) -> dict[str, Column]:
    """The rows without a missing entry in the named columns.

    >>> drop_incomplete({"a": np.array([1.0, np.nan]), "b": np.array(["x", "y"])}, ["a", "b"])["b"]
    array(['x'], dtype='<U1')
    """
    keep = ~np.any([is_missing(columns[name]) for name in names], axis=0)
    if not keep.any():
        raise ValueError(f"every row has a missing entry in one of {', '.join(names)}")
    return {name: column[keep] for name, column in columns.items()}


def learn_features(
    columns: Mapping[str, Column],
    names: Sequence[str],
    categories: Collection[str] = (),
    *,
    fill: bool = False,
) -> tuple[Feature, ...]:
    """The features of these columns; a column of text, or of `categories`, is a category.

    Raises:
        ValueError: for a missing entry unless `fill`, a constant column, or a category with more
            values than half the rows; the error says what to do.

    >>> columns = {"sqft": np.array([800.0, 900.0]), "zip": np.array([95838.0, 95823.0])}
    >>> [feature.inputs for feature in learn_features(columns, ["sqft", "zip"], ["zip"])]
    [('sqft',), ('zip=95823', 'zip=95838')]
    """
    if not fill and (gaps := _count_missing(columns, names)):
        raise ValueError(
            f"missing or infinite entries: {gaps}; choose --missing drop or --missing impute, or "
            "leave these columns out by --features"
        )
    for name in names:
        text = as_text(columns[name])
        distinct = len(set(text))
        if distinct == 1:
            raise ValueError(
                f"column {name!r} is constant, {text[0]!r} in every row, so nothing can be learned "
                "from it: leave it out by --features"
            )
        is_category = name in categories or not is_numeric(columns[name])
        if is_category and distinct > max(2, len(columns[name]) / 2):
            raise ValueError(
                f"column {name!r} is a category with {distinct} values in {len(columns[name])} "
                "rows, too many to learn from: leave it out by --features"
            )
    return tuple(
        learn_feature(name, columns[name], category=name in categories, fill=fill) for name in names
    )


def _count_missing(columns: Mapping[str, Column], names: Sequence[str]) -> str:
    counts = {name: int(is_missing(columns[name]).sum()) for name in names}
    return ", ".join(f"{count} in {name!r}" for name, count in counts.items() if count)

"""The columns of CSV and Parquet files, and their features."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from fcnet.extras import extra
from fcnet.tables import Column, Feature, as_text, is_missing, is_numeric, learn_feature, read_csv

INDEX = re.compile(r"__index_level_\d+__")
"""pandas' name in a Parquet file for the row numbers of a DataFrame, which are not a column."""


def read_table(path: Path) -> dict[str, Column]:
    """The columns of a file, by its extension. For the format of CSV, see `fcnet.tables.read_csv`.

    Args:
        path: a .csv file in UTF-8, or a .parquet file, which needs the extra `parquet`.

    Raises:
        ValueError: for another extension, a file without rows, or rows that cannot be read.
        OSError: if the file cannot be read.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "houses.csv"
    >>> _ = file.write_text("sqft,zip\\n800,z95838\\n")
    >>> read_table(file)
    {'sqft': array([800.]), 'zip': array(['z95838'], dtype=object)}
    """
    path = Path(path)
    if path.suffix.lower() not in READERS:
        raise ValueError(f"{path} must be a {' or '.join(READERS)} file, got {path.suffix!r}")
    return READERS[path.suffix.lower()](path)


def _read_csv(path: Path) -> dict[str, Column]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            return read_csv(lines)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not in UTF-8: {error.reason}, byte {error.start}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _read_parquet(path: Path) -> dict[str, Column]:
    with extra("parquet"):
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    try:
        table = parquet.read_table(path)
    except arrow.ArrowInvalid as error:
        raise ValueError(f"{path} is no Parquet file: {error}") from error
    if not table.num_rows:
        raise ValueError(f"{path}: the table has no rows, expected at least one")
    return {
        name: _parquet_column(name, table.column(name))
        for name in table.column_names
        if not INDEX.fullmatch(name)
    }


def _parquet_column(name: str, column: Any) -> Column:
    values = column.to_pylist()
    known = [value for value in values if value is not None]
    if all(isinstance(value, (bool, int, float)) for value in known):
        return np.array([np.nan if value is None else float(value) for value in values])
    if all(isinstance(value, str) for value in known):
        return np.array(values, dtype=object)
    raise ValueError(f"column {name!r} holds {column.type}, expected numbers or text")


READERS: MappingProxyType[str, Callable[[Path], dict[str, Column]]] = MappingProxyType(
    {".csv": _read_csv, ".parquet": _read_parquet}
)
"""The files that can be read, by extension."""

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

"""The columns of CSV and Parquet files."""

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import dropwhile
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from fcnet.data.schema import MISSING, Column
from fcnet.extras import extra

INDEX = re.compile(r"__index_level_\d+__")
"""pandas' name in a Parquet file for the row numbers of a DataFrame, which are not a column."""


def read_table(path: Path) -> dict[str, Column]:
    """The columns of a file, by its extension. For the format of CSV, see `read_csv`.

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

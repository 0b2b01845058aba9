"""The cells of CSV and Parquet files, as they are written."""

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from fcnet.data import delimited
from fcnet.data.cells import Cells, arrow, compute, filled, joined
from fcnet.data.format import check_names, format_of
from fcnet.data.pieces import line_of
from fcnet.extras import extra
from fcnet.files import AnyPath, as_path

INDEX = re.compile(r"__index_level_\d+__")
"""pandas' name in a Parquet file for the row numbers of a DataFrame, which are not a column."""

BATCH, BUFFER = 2**16, 2**16
"""The rows, and the bytes of a column, that are read at once of a Parquet file."""

Place: TypeAlias = Callable[[int], str]
"""What an error calls a row of this number: the line of a text file, or `place_of`."""


def place_of(row: int) -> str:
    """What an error calls a row where there are no lines, as in a Parquet file.

    >>> place_of(3)
    'row 3 (from 0)'
    """
    return f"row {row} (from 0)"


class Table(NamedTuple):
    """The columns of a file, or of a block of its rows: Arrow arrays of `rows` cells, by name.

    Attributes:
        columns: text without blanks around it, or numbers, where null is an empty cell.
        rows: how many.
        decimal: the sign before a number's fraction, "." or ",".
        told: what was recognised, other than the usual, in words.
        first: the number of the first row; they count from 0, below the header.
        place: what an error calls a row of this number.
    """

    columns: dict[str, Cells]
    rows: int
    decimal: str = "."
    told: tuple[str, ...] = ()
    first: int = 0
    place: Place = place_of


class Blocks(Protocol):
    """Reads the rows of a file, a block at a time; it may be called again."""

    def __call__(
        self, text: Collection[str], groups: Collection[int] | None = None
    ) -> Iterator[Table]:
        """The blocks, with the columns in `text` as they are written.

        Others are numbers, in the blocks where each of their cells is empty or plain, such as 7 or
        0.5 but not 007. Of these groups of rows only; by default of all.
        """
        ...


class TableFile(NamedTuple):
    """A file with a table, of which no more than a block of rows need be in memory.

    Attributes:
        names: those of the columns.
        blocks: blocks(text) or blocks(text, groups) reads the rows, see `Blocks`.
        groups: the numbers of rows of the groups of a Parquet file. A CSV file is one group, whose
            rows are not counted: (-1,).
        told: what was recognised, other than the usual, in words.
        place: what an error calls a row of this number.
    """

    names: tuple[str, ...]
    blocks: Blocks
    groups: tuple[int, ...]
    told: tuple[str, ...] = ()
    place: Place = place_of


def in_memory(table: Table) -> TableFile:
    """A table in memory, as a file of one block.

    >>> file = in_memory(Table({}, 0))
    >>> next(file.blocks(())).rows
    0
    """

    def blocks(text: Collection[str], groups: Collection[int] | None = None) -> Iterator[Table]:
        return iter([table] if groups is None or groups else [])

    return TableFile(tuple(table.columns), blocks, (table.rows,), table.told, table.place)


def part(table: Table, begin: int, rows: int) -> Table:
    """The next `rows` rows of a table, or what is left of them, from its row `begin` on."""
    columns = {name: cells.slice(begin, rows) for name, cells in table.columns.items()}
    n = min(rows, table.rows - begin)
    return table._replace(columns=columns, rows=n, first=table.first + begin)


def open_table(
    path: AnyPath,
    *,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
) -> TableFile:
    """A file, to be read a block of rows at a time. Needs the extra `tables`.

    Arguments, and errors, are those of `read_table`.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "houses.csv"
    >>> _ = path.write_text("sqft,zip\\n800,07\\n810,7\\n")
    >>> for table in open_table(path).blocks(text=()):
    ...     print({name: cells.to_pylist() for name, cells in table.columns.items()})
    {'sqft': [800.0, 810.0], 'zip': ['07', '7']}
    """
    path = as_path(path)
    ending = path.suffix.lower()
    if ending not in (".csv", ".tsv", ".txt", ".parquet"):
        raise ValueError(
            f"{path} must be a .csv, .tsv, .txt or .parquet file, got {ending!r}: save it as one"
        )
    try:
        if ending == ".parquet":
            return _open_parquet(path)
        form = delimited.with_decimal(path, format_of(path, separator, encoding), decimal)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error

    def place(row: int) -> str:
        return f"line {line_of(path, form, row)}"

    def blocks(text: Collection[str], groups: Collection[int] | None = None) -> Iterator[Table]:
        first = 0
        try:
            for columns in delimited.blocks(path, form, text) if groups is None or groups else ():
                rows = len(columns[form.names[0]])
                yield Table(columns, rows, form.decimal, form.told, first, place)
                first += rows
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    return TableFile(form.names, blocks, (-1,), form.told, place)


def read_table(
    path: AnyPath,
    *,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
) -> Table:
    """The columns of a file. Needs the extra `tables`.

    A CSV file is text in UTF-8, or UTF-16 with its mark, under a header. A cell may be quoted and
    then hold new lines. Lines that begin with "# " are remarks; numpy.savetxt writes its header as
    one. Cells in aligned columns, with several blanks between them, are read too. Empty lines are
    skipped. Every cell stays the text that it is, without blanks around it.

    Args:
        path: a .csv, .tsv, .txt or .parquet file.
        separator: one character; by default it is recognised, or named by a first line "sep=;".
        decimal: "." or ","; by default it is recognised.
        encoding: of a CSV file that is neither, as Python calls it: "latin-1", "cp1252", ...

    Raises:
        ValueError: for another extension, a file without rows, or one that cannot be read, with the
            line.
        OSError: if the file cannot be read.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "houses.csv"
    >>> _ = file.write_text("sqft; zip\\n80,5; 07\\n81,25; 7\\n")
    >>> table = read_table(file)
    >>> {name: cells.to_pylist() for name, cells in table.columns.items()}
    {'sqft': ['80,5', '81,25'], 'zip': ['07', '7']}
    >>> table.told
    ("separator ';'", 'decimal commas')
    """
    file = open_table(path, separator=separator, decimal=decimal, encoding=encoding)
    blocks = list(file.blocks(file.names))
    columns = {name: joined([block.columns[name] for block in blocks]) for name in file.names}
    return blocks[0]._replace(columns=columns, rows=sum(block.rows for block in blocks))


def _open_parquet(path: Path) -> TableFile:
    with extra("tables"):
        import pyarrow.parquet as parquet
    with _arrow_errors("the file is no Parquet file"), parquet.ParquetFile(path) as file:
        schema, size = file.schema_arrow, file.metadata
        sizes = tuple(size.row_group(i).num_rows for i in range(size.num_row_groups))
    if not sum(sizes):
        raise ValueError("the table has no rows, expected at least one")
    inside = [name for name in schema.names if not INDEX.fullmatch(name)]
    names = tuple(name.strip() for name in inside)
    check_names(names)
    for name in inside:
        _check_kind(name, schema.field(name).type)
    begins = np.cumsum((0, *sizes))

    def blocks(text: Collection[str], groups: Collection[int] | None = None) -> Iterator[Table]:
        with (
            _arrow_errors(f"{path} is damaged"),
            parquet.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER) as file,
        ):
            for group in range(len(sizes)) if groups is None else groups:
                first = int(begins[group])
                for batch in file.iter_batches(BATCH, [group], inside):
                    cells = (_parquet_cells(batch.column(name)) for name in inside)
                    columns = dict(zip(names, cells, strict=True))
                    yield Table(columns, batch.num_rows, first=first)
                    first += batch.num_rows
                if first != begins[group + 1]:
                    raise ValueError(
                        f"{path} is damaged: its group {group} of rows has "
                        f"{first - begins[group]:,} of {sizes[group]:,} rows"
                    )

    return TableFile(names, blocks, sizes)


@contextmanager
def _arrow_errors(what: str) -> Iterator[None]:
    """Arrow's errors about a file that it cannot read, as errors that begin with `what`."""
    try:
        yield
    except (arrow().ArrowException, UnicodeError, OSError) as error:
        if getattr(error, "errno", None) is not None:  # of the system, such as for a missing file
            raise
        raise ValueError(f"{what}: {' '.join(str(error).split())}") from error


def _check_kind(name: str, kind: Any) -> None:
    """Raise for a column of a Parquet file that is neither numbers nor text.

    A duration is a number of a unit that may be another in the next file.
    """
    types = arrow().types
    value = kind.value_type if types.is_dictionary(kind) else kind
    stored = getattr(value, "storage_type", value)  # such as the two ends of an interval of pandas
    if types.is_nested(stored) or types.is_duration(value) or "binary" in str(value):
        raise ValueError(
            f"column {name!r} holds {value}, expected numbers or text: leave it out of the file"
        )


def _parquet_cells(cells: Cells) -> Cells:
    """Numbers as they are, true and false as 1 and 0, and all else as text."""
    pc, types, kind = compute(), arrow().types, cells.type
    if types.is_dictionary(kind):
        return _parquet_cells(pc.cast(cells, kind.value_type))
    if types.is_boolean(kind):
        return pc.cast(cells, "int64")
    if types.is_integer(kind):
        return cells
    if types.is_floating(kind):
        return pc.cast(cells, "double")
    text = pc.cast(cells, "string")
    text.validate(full=True)  # that it is in UTF-8
    return pc.utf8_trim_whitespace(filled(text))

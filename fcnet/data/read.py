"""The cells of CSV and Parquet files, as they are written."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fcnet.data.cells import Cells, is_text, matches
from fcnet.extras import extra

SEPARATORS = (",", ";", "\t", "|")
"""What may be between two cells, if the file does not say so and nobody does."""

HEAD = 2**16
"""The bytes in which the format of a CSV file must show."""

SAMPLE = 1000
"""The rows in which decimal commas are looked for."""

INDEX = re.compile(r"__index_level_\d+__")
"""pandas' name in a Parquet file for the row numbers of a DataFrame, which are not a column."""


class Table(NamedTuple):
    """The columns of a file: Arrow arrays of `rows` cells, by name.

    Attributes:
        columns: text without blanks around it, or the numbers of a Parquet file.
        rows: how many; they count from 0, below the header.
        decimal: the sign before a number's fraction, "." or ",".
        told: what was recognised, other than the usual, in words.
    """

    columns: dict[str, Cells]
    rows: int
    decimal: str = "."
    told: tuple[str, ...] = ()


def read_table(path: Path, *, separator: str | None = None, decimal: str | None = None) -> Table:
    """The columns of a file. Needs the extra `tables`.

    A CSV file is text in UTF-8, or UTF-16 with its mark, under a header. A cell may be quoted and
    then hold new lines. Lines that begin with "# " are remarks; numpy.savetxt writes its header as
    one. Empty lines are skipped. Every cell stays the text that it is, without blanks around it.

    Args:
        path: a .csv, .tsv, .txt or .parquet file.
        separator: one character; by default it is recognised, or named by a first line "sep=;".
        decimal: "." or ","; by default it is recognised.

    Raises:
        ValueError: for another extension, a file without rows, or one that cannot be read, with the
            line or the row.
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
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in (".csv", ".tsv", ".txt", ".parquet"):
        raise ValueError(f"{path} must be a .csv, .tsv, .txt or .parquet file, got {ending!r}")
    try:
        if ending == ".parquet":
            return _read_parquet(path)
        return _read_csv(path.read_bytes(), separator, decimal)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


class _Format(NamedTuple):
    """How a CSV file is written: its separator, its header, the lines before the first row."""

    separator: str
    names: tuple[str, ...]
    skipped: int
    told: tuple[str, ...]


def _read_csv(data: bytes, separator: str | None, decimal: str | None) -> Table:
    if decimal not in (None, ".", ","):
        raise ValueError(f"decimal must be '.' or ',', got {decimal!r}")
    data, told = _as_utf8(data)
    form = _format_of(data, separator)
    between = form.separator.encode()
    blanks = b" \t".replace(between, b"")
    quoted = b'"' in data
    if quoted:
        data = _checked_quotes(data, between, blanks)
    columns = dict(zip(form.names, _parse(data, form), strict=True))
    if any(blank in data for blank in (*blanks, "\u00a0".encode())):
        columns = {name: _trimmed(cells) for name, cells in columns.items()}
    if decimal is None:
        decimal = _decimal_of(columns) if quoted or form.separator != "," else "."
    commas = ("decimal commas",) if decimal == "," else ()
    return Table(columns, len(next(iter(columns.values()))), decimal, told + form.told + commas)


def _checked_quotes(data: bytes, separator: bytes, blanks: bytes) -> bytes:
    """The file without blanks before the quotes that open a cell.

    Every second quote closes a cell, where two quotes inside a cell count as one that closes it and
    one that opens it again. If it does not, the rows are read one by one, which is slow, for a cell
    such as 5'11" need not be quoted.

    Raises:
        ValueError: for a quote that is never closed, or closes before its cell ends.
    """
    before, after = _around_quotes(data)
    if _among(before, blanks).any():
        opens = rb"(?<=[\n\r%b])[%b]+(?=\"(?!\"))" % (re.escape(separator), blanks)
        data = re.sub(opens, b"", data)
        before, after = _around_quotes(data)
    ends = separator + b'"\r\n'
    closed = len(before) % 2 == 0 and _among(after[1::2], ends + blanks).all()
    if closed and _among(before[::2], ends).all():
        return data
    lines = io.TextIOWrapper(io.BytesIO(data), "utf-8", errors="replace", newline="")
    reader = csv.reader(lines, delimiter=separator.decode(), skipinitialspace=True, strict=True)
    line = 0
    try:
        for _ in reader:
            line = reader.line_num
    except csv.Error as error:
        raise ValueError(f"the row in line {line + 1} cannot be read: {error}") from error
    return data


def _around_quotes(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The byte before and the byte after each quote; a new line at the ends of the file."""
    signs = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(signs == ord('"'))
    before, after = signs[quotes - 1], signs[(quotes + 1) % len(signs)]
    before[quotes == 0] = after[quotes == len(signs) - 1] = ord("\n")
    return before, after


def _among(signs: np.ndarray, these: bytes) -> np.ndarray:
    return np.isin(np.arange(256), list(these))[signs]


def _as_utf8(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The text of a file in UTF-8 without a mark, and its encoding, if it is another."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16").encode(), ("UTF-16",)
    if (nul := data.find(b"\0")) >= 0:
        raise ValueError(f"line {_line(data, nul)} holds a NUL byte: expected text")
    return data.removeprefix(b"\xef\xbb\xbf"), ()


def _line(data: bytes, position: int) -> int:
    """The number of a line, from 1."""
    return len(data[:position].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))


def _format_of(data: bytes, separator: str | None) -> _Format:
    """The format that the first lines show."""
    head = data[:HEAD].decode("utf-8", errors="replace")
    lines = list(io.StringIO(head, newline=""))
    if len(data) > HEAD and len(lines) > 1:
        lines.pop()  # which is cut off
    told: list[str] = []
    above = 0
    if lines and (says := re.fullmatch(r"sep=(.)\s*", lines[0], re.IGNORECASE)):
        separator, above = separator or says[1], 1
    remark = None
    while lines[above:] and (not lines[above].strip() or lines[above].startswith("# ")):
        remark = lines[above][2:] if lines[above].strip() else remark
        above += 1
    below = lines[above:]
    if not below:
        raise ValueError("the file has 0 rows, expected a header and at least one more")
    if separator is not None and (len(separator) != 1 or separator in '"\r\n'):
        raise ValueError(f"separator must be one character, got {separator!r}")
    separator = separator or _separator_of(below[:50])
    if separator != ",":
        told.append(f"separator {separator!r}")
    names, taken = _first_row(below, separator)
    if "\ufffd" in "".join(below[:taken]):
        raise ValueError("the header is not in UTF-8: save the file in UTF-8")
    if remark is not None and all(map(_is_number, names)):
        header, _ = _first_row([remark], separator)
        if len(header) == len(names):  # as numpy.savetxt writes it
            names, taken = header, 0
            told.append("names from the remark above")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the header names a column twice: {name!r}")
    return _Format(separator, tuple(names), above + taken, tuple(told))


def _first_row(lines: Sequence[str], separator: str) -> tuple[list[str], int]:
    """The first row of these lines, and how many lines it takes."""
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        return [name.strip() for name in next(reader)], reader.line_num
    except csv.Error as error:  # such as a quote that is never closed
        raise ValueError(f"the header cannot be read: {error}") from error


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _separator_of(lines: Sequence[str]) -> str:
    """The separator by which these lines have the most cells, the same number in each."""

    def cells(separator: str) -> tuple[bool, int]:
        rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        counts = [len(row) for row in rows if row]
        return len(set(counts)) == 1 < counts[0], counts[0]

    best = max(SEPARATORS, key=cells)
    return " " if not cells(best)[0] and cells(" ")[0] else best


def _parse(data: bytes, form: _Format) -> list[Cells]:
    """The cells of each column, all as text."""
    with extra("tables"):
        import pyarrow as arrow
        import pyarrow.csv as arrow_csv
    names = [str(column) for column in range(len(form.names))]
    bad: list[Any] = []

    def unfit(row: Any) -> str:
        if row.text.startswith("# "):
            return "skip"
        bad.append(row)
        return "error"

    def read(use_threads: bool) -> Any:
        return arrow_csv.read_csv(
            arrow.BufferReader(data),
            arrow_csv.ReadOptions(
                column_names=names, skip_rows=form.skipped, use_threads=use_threads
            ),
            arrow_csv.ParseOptions(
                delimiter=form.separator,
                newlines_in_values=b'"' in data,
                invalid_row_handler=unfit,
            ),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, arrow.string()), strings_can_be_null=False
            ),
        )

    try:
        table = read(use_threads=True)
    except arrow.ArrowInvalid as error:
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as byte:
            raise ValueError(
                f"line {_line(data, byte.start)} is not in UTF-8: save the file in UTF-8"
            ) from error
        if not bad:
            raise ValueError(f"the rows cannot be read: {error}") from error
        bad.clear()
        try:  # again, since only one thread counts the rows
            read(use_threads=False)
        except arrow.ArrowInvalid:
            row = bad[0]
        raise ValueError(
            f"row {row.number - form.skipped - 1} has {row.actual_columns} cells, expected "
            f"{row.expected_columns}: {_short(row.text)}"
        ) from error
    if not table.num_rows:
        raise ValueError("the file has 1 row, expected a header and at least one more")
    return [table.column(name) for name in names]


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _trimmed(cells: Cells) -> Cells:
    import pyarrow.compute as pc

    return pc.utf8_trim_whitespace(cells)


def _decimal_of(columns: dict[str, Cells]) -> str:
    """The sign before a fraction: a comma if some cells have one in their digits and none a point.

    Raises:
        ValueError: where every such comma may as well group thousands.
    """
    point, comma, thousands = False, None, True
    for name, cells in columns.items():
        sample = cells.slice(0, SAMPLE)
        point |= bool(matches(sample, r"^[+-]?[0-9]*\.[0-9]+$").any())
        found = matches(sample, r"^[+-]?[0-9]+,[0-9]+$")
        if found.any() and comma is None:
            comma = (name, sample[int(found.argmax())].as_py(), found.argmax())
        thousands &= bool((matches(sample, r"^[+-]?[1-9][0-9]{0,2},[0-9]{3}$") == found).all())
    if point or comma is None:
        return "."
    if thousands:
        name, cell, row = comma
        raise ValueError(
            f"column {name!r} has {cell!r} in row {row}, which may be {cell.replace(',', '.')} or "
            f"{cell.replace(',', '')}: say whether the decimal sign is a comma or a point"
        )
    return ","


def _read_parquet(path: Path) -> Table:
    with extra("tables"):
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    try:
        table = parquet.read_table(path)
    except arrow.ArrowInvalid as error:
        raise ValueError(f"the file is no Parquet file: {error}") from error
    if not table.num_rows:
        raise ValueError("the table has no rows, expected at least one")
    columns = {
        name: _parquet_cells(name, table.column(name))
        for name in table.column_names
        if not INDEX.fullmatch(name)
    }
    return Table(columns, table.num_rows)


def _parquet_cells(name: str, cells: Cells) -> Cells:
    """Numbers as they are, true and false as 1 and 0, and all else as text."""
    import pyarrow as arrow
    import pyarrow.compute as pc

    kind = cells.type
    if arrow.types.is_dictionary(kind):
        return _parquet_cells(name, pc.cast(cells, kind.value_type))
    if arrow.types.is_boolean(kind):
        return pc.cast(cells, "int64")
    if arrow.types.is_integer(kind):
        return cells
    if arrow.types.is_floating(kind):
        return pc.cast(cells, "double")
    if arrow.types.is_nested(kind) or arrow.types.is_binary(kind):
        raise ValueError(f"column {name!r} holds {kind}, expected numbers or text")
    text = pc.fill_null(pc.cast(cells, "string"), "")
    return text if not is_text(cells) else _trimmed(text)

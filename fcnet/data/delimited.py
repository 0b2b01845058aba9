"""Text files with a separator between cells, such as CSV, read a piece at a time."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fcnet.data.cells import (
    EXACT,
    TOO_LARGE,
    Cells,
    are_plain,
    as_doubles,
    has_fractions,
    is_text,
    joined,
    matches,
)
from fcnet.extras import extra

SEPARATORS = (",", ";", "\t", "|")
"""What may be between two cells, if the file does not say so and nobody does."""

HEAD = 2**16
"""The bytes in which the format of a file must show, unless its header has more."""

SEP = re.compile(r"sep=(.)\s*", re.IGNORECASE)
"""A first line that names the separator, as Excel writes it."""

SAMPLE = 1000
"""The rows in which decimal commas are looked for."""

PIECE = 2**22
"""The bytes that are read at once; a row may have more."""


CACHED = 2**16
"""Bytes that are looked at together: a core's cache holds them."""


class Format(NamedTuple):
    """How a file is written.

    Attributes:
        separator: one character.
        names: those of the columns.
        encoding: its name in Python; None is UTF-8.
        begin, line: how many bytes, in UTF-8, and lines are before the first row.
        decimal: the sign before a number's fraction, "." or ",".
        told: what was recognised, other than the usual, in words.
    """

    separator: str
    names: tuple[str, ...]
    encoding: str | None
    begin: int
    line: int
    decimal: str
    told: tuple[str, ...]


def format_of(
    path: Path, separator: str | None, decimal: str | None, encoding: str | None
) -> Format:
    """How a file is written, as its first lines show where it is not given.

    Raises:
        ValueError: for a file without rows, a header that cannot be read, or commas that may be
            decimal signs or group thousands.
        OSError: if the file cannot be read.
    """
    if decimal not in (None, ".", ","):
        raise ValueError(f"decimal must be '.' or ',', got {decimal!r}")
    if encoding is not None and not isinstance(encoding, str):
        raise TypeError(f"encoding must be a name such as 'latin-1', got {encoding!r:.60}")
    told = (encoding,) if encoding else ()
    if encoding is None and _first_bytes(path) in (b"\xff\xfe", b"\xfe\xff"):
        encoding, told = "utf-16", ("UTF-16",)
    lines = _first_lines(path, encoding)
    form = _format_of(lines, separator)._replace(encoding=encoding)
    if decimal is None:
        unclear = '"' in "".join(lines) or form.separator != ","
        decimal = _decimal_of(_sample(path, form)) if unclear else "."
    commas = ("decimal commas",) if decimal == "," else ()
    return form._replace(decimal=decimal, told=told + form.told + commas)


def _first_lines(path: Path, encoding: str | None) -> list[str]:
    """Whole lines, of the first `HEAD` bytes or of as many as hold the header."""
    pieces = _utf8(path, encoding, HEAD)
    head = next(pieces, b"")
    while True:
        lines = list(io.StringIO(head.decode("utf-8", "surrogateescape"), newline=""))
        more = next(pieces, b"")
        if not more:
            return lines
        lines.pop()  # which may be cut off
        if not all(map(_is_above, lines)):
            return lines
        head += more


def _is_above(line: str) -> bool:
    """Whether a line may be above the header."""
    return not line.strip() or line.startswith("# ") or bool(SEP.fullmatch(line))


def _sample(path: Path, form: Format) -> dict[str, Cells]:
    """The columns of the first rows, as they are written."""
    rows, columns = 0, []
    for block in blocks(path, form, form.names):
        columns.append(block)
        rows += len(block[form.names[0]])
        if rows >= SAMPLE:
            break
    return {name: joined([block[name] for block in columns]) for name in form.names}


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(2)


def blocks(path: Path, form: Format, text: Collection[str]) -> Iterator[dict[str, Cells]]:
    """The columns of a file, some rows at a time.

    A column is text if it is in `text`, or from the block on in which a cell is neither empty nor a
    plain number, see `are_plain`. Until then it has numbers, and null for an empty cell.

    Raises:
        ValueError: for rows that cannot be read, or if there are none.
    """
    texts, rows = set(text), 0
    for data, line in _pieces(path, form):
        columns = _columns(data, form, texts, rows, line)
        found = len(columns[form.names[0]])
        rows += found
        if found:
            yield columns
    if not rows:
        raise ValueError("the file has 1 row, expected a header and at least one more")


def _utf8(path: Path, encoding: str | None, size: int) -> Iterator[bytes]:
    """The text of a file in UTF-8 without a mark, about `size` bytes at a time."""
    if encoding is None:
        with path.open("rb") as file:
            yield file.read(max(size, 3)).removeprefix(b"\xef\xbb\xbf")
            while data := file.read(size):
                yield data
        return
    try:
        with path.open(encoding=encoding, newline="") as text:
            while signs := text.read(size):
                yield signs.encode()
    except LookupError as error:
        raise ValueError(
            f"encoding must be one that Python knows, such as latin-1 or cp1252, got {encoding!r}"
        ) from error
    except UnicodeError as error:
        raise ValueError(f"the file is not in {encoding}: {error}") from error


def _pieces(path: Path, form: Format) -> Iterator[tuple[bytes, int]]:
    """The file in pieces of whole rows, and how many lines there are before each.

    Raises:
        ValueError: for a NUL byte, or a quote that is never closed or closes before its cell ends.
    """
    between = form.separator.encode()
    text = _utf8(path, form.encoding, PIECE)
    line, rest = 0, b""
    skip = form.begin
    for more in text:
        if (nul := more.find(b"\0")) >= 0:
            raise ValueError(
                f"line {line + 1 + _lines(rest + more[:nul])} holds a NUL byte: expected text"
            )
        if skip:  # the header
            rest += more
            if len(rest) < skip:
                continue
            line, rest, more, skip = form.line, b"", rest[skip:], 0
        if b'"' in rest or b'"' in more:
            rest, more = b"", rest + more
        end = _last_end(more)
        piece = b"".join((rest, memoryview(more)[:end])) if end else b""
        if b'"' in piece:
            closed = _closed(piece, between)
            if closed is None:
                rest = more
                break
            yield closed, line
        elif piece:
            yield piece, line
        line += _lines(piece)
        rest = more[end:] if end else rest + more
    rest = b"".join((rest, *text))
    if b'"' in rest:
        closed = _closed(rest, between)
        if closed is None:
            _check_rows(rest, form.separator, line)
        rest = rest if closed is None else closed
    if rest and not skip:
        yield rest, line


def _lines(data: bytes) -> int:
    """The number of ends of lines."""
    return data.count(b"\n") or data.count(b"\r")


def _last_end(data: bytes) -> int:
    """Where the last row ends that surely does; 0 if none does."""
    sign = b"\n" if b"\n" in data else b"\r"
    if b'"' not in data:
        return data.rfind(sign, 0, len(data) - (sign == b"\r")) + 1
    signs = np.frombuffer(data, np.uint8)
    inside = np.cumsum(signs == ord('"'), dtype=np.uint8) % 2 == 1
    ends = np.flatnonzero((signs == ord(sign)) & ~inside)
    ends = ends[ends < len(data) - (sign == b"\r")]
    return int(ends[-1]) + 1 if len(ends) else 0


def _closed(data: bytes, separator: bytes) -> bytes | None:
    """The rows without blanks before the quotes that open a cell; None if it does not show where.

    Every second quote closes a cell, where two quotes inside a cell count as one that closes it and
    one that opens it again. It need not be so, for a cell such as 5'11" need not be quoted.
    """
    blanks = b" \t".replace(separator, b"")
    before, after = _around_quotes(data)
    if _among(before, blanks).any():
        opens = rb"(?<=[\n\r%b])[%b]+(?=\"(?!\"))" % (re.escape(separator), blanks)
        data = re.sub(opens, b"", data)
        before, after = _around_quotes(data)
    ends = separator + b'"\r\n'
    closes = len(before) % 2 == 0 and _among(after[1::2], ends + blanks).all()
    return data if closes and _among(before[::2], ends).all() else None


def _around_quotes(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The byte before and the byte after each quote; a new line at the ends of the data."""
    signs = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(signs == ord('"'))
    before, after = signs[quotes - 1], signs[(quotes + 1) % len(signs)]
    before[quotes == 0] = after[quotes == len(signs) - 1] = ord("\n")
    return before, after


def _among(signs: np.ndarray, these: bytes) -> np.ndarray:
    return np.isin(np.arange(256), list(these))[signs]


def _check_rows(data: bytes, separator: str, line: int) -> None:
    """Raise for the first row that cannot be read; one by one, which is slow."""
    lines = io.TextIOWrapper(io.BytesIO(data), "utf-8", errors="replace", newline="")
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    read = 0
    try:
        for _ in reader:
            read = reader.line_num
    except csv.Error as error:
        raise ValueError(f"the row in line {line + read + 1} cannot be read: {error}") from error


def _format_of(lines: Sequence[str], separator: str | None) -> Format:
    """The format that the first lines show."""
    told: list[str] = []
    above = 0
    if lines and (says := SEP.fullmatch(lines[0])):
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
    if re.search("[\udc80-\udcff]", "".join(below[:taken])):
        raise ValueError(f"the header {NOT_UTF8}")
    if remark is not None and all(map(_is_number, names)):
        header, _ = _first_row([remark], separator)
        if len(header) == len(names):  # as numpy.savetxt writes it
            names, taken = header, 0
            told.append("names from the remark above")
    check_names(names)
    begin = len("".join(lines[: above + taken]).encode("utf-8", "surrogateescape"))
    return Format(separator, tuple(names), None, begin, above + taken, ".", tuple(told))


def check_names(names: Sequence[str]) -> None:
    """Raise if two columns have the same name.

    >>> check_names(["a", "b", "a"])
    Traceback (most recent call last):
    ValueError: 2 columns are called 'a'
    """
    for name, times in Counter(names).items():
        if times > 1:
            raise ValueError(f"{times} columns are called {name!r}")


NOT_UTF8 = "is not in UTF-8: save the file in UTF-8, or name its encoding, such as latin-1"


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


def _columns(data: bytes, form: Format, texts: set[str], rows: int, line: int) -> dict[str, Cells]:
    """The columns of a piece; `texts` gains those that are found to be text.

    Reading numbers at once is fast, but loses their text, so that this is read too where the
    numbers do not show that it is plain.
    """
    _check_utf8(data, line)
    numbers = [name for name in form.names if name not in texts]
    columns = _typed(data, form, texts) if numbers else None
    doubtful = numbers if columns is None else _doubtful(data, form, columns, numbers)
    wanted = form.names if columns is None else doubtful
    columns = (columns or {}) | (_texts(data, form, wanted, rows, line) if wanted else {})
    if any(sign in data for sign in (b" ", b"\t", b"\xc2")):  # the last begins some in UTF-8
        columns = {n: _trimmed(cells) if is_text(cells) else cells for n, cells in columns.items()}
    for name in doubtful:
        if are_plain(columns[name], form.decimal):
            columns[name] = as_doubles(columns[name], form.decimal)
        else:
            texts.add(name)
    return {name: columns[name] for name in form.names}


def _check_utf8(data: bytes, line: int) -> None:
    """Raise for other bytes than text, of which Arrow would write to standard error."""
    if not data.isascii():
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"line {line + 1 + _lines(data[: error.start])} {NOT_UTF8}") from error


def _doubtful(
    data: bytes, form: Format, columns: dict[str, Cells], numbers: Sequence[str]
) -> list[str]:
    """The columns whose numbers do not show that they are plain."""
    values = {name: np.asarray(columns[name]) for name in numbers}
    odd = [
        name
        for name in numbers
        if (np.abs(values[name]) < TOO_LARGE).sum() + columns[name].null_count < len(values[name])
    ]
    whole = [name for name in numbers if name not in odd and not has_fractions(values[name])]
    if whole and not _may_hold_codes(data, form.separator):
        whole = [name for name in whole if (np.abs(values[name]) >= EXACT).any()]
    return odd + whole


def _may_hold_codes(data: bytes, separator: str) -> bool:
    """Whether a cell may begin with a zero before a digit, or have an E between two digits."""
    signs = np.frombuffer(b"\n" + data, np.uint8)
    exponents = b"e" in data or b"E" in data
    return any(
        _hold_codes(signs[begin : begin + CACHED + 2], separator, exponents)
        for begin in range(0, len(data), CACHED)
    )


def _hold_codes(signs: np.ndarray, separator: str, exponents: bool) -> bool:
    before, sign, after = signs[:-2], signs[1:-1], signs[2:] - np.uint8(ord("0")) < 10
    opens = before <= ord("-")  # which are new lines, blanks, quotes, commas and signs, too
    if separator > "-":
        opens |= before == ord(separator)
    if (opens & (sign == ord("0")) & after).any():
        return True
    if not exponents:
        return False
    return bool(((sign | 32 == ord("e")) & (before - np.uint8(ord("0")) < 10) & after).any())


def _typed(data: bytes, form: Format, texts: Collection[str]) -> dict[str, Cells] | None:
    """The columns with numbers in those that are not in `texts`; None if they have others."""
    with extra("tables"):
        import pyarrow as arrow
    kinds = {name: arrow.string() if name in texts else arrow.float64() for name in form.names}
    try:
        return _parse(data, form, kinds, _skip_remarks)
    except arrow.ArrowInvalid:
        return None


def _texts(
    data: bytes, form: Format, names: Sequence[str], rows: int, line: int
) -> dict[str, Cells]:
    """Some columns as they are written."""
    with extra("tables"):
        import pyarrow as arrow
    kinds = dict.fromkeys(names, arrow.string())
    bad: list[Any] = []

    def unfit(row: Any) -> str:
        if _skip_remarks(row) == "error":
            bad.append(row)
            return "error"
        return "skip"

    try:
        return _parse(data, form, kinds, unfit)
    except arrow.ArrowInvalid as error:
        if not bad:
            raise ValueError(f"the rows cannot be read: {error}") from error
        bad.clear()
        try:  # again, since only one thread counts the rows
            _parse(data, form, kinds, unfit, use_threads=False)
        except arrow.ArrowInvalid:
            row = bad[0]
        raise ValueError(
            f"row {rows + row.number - 1} has {row.actual_columns} cells, expected "
            f"{row.expected_columns}: {_short(row.text)}"
        ) from error


def _skip_remarks(row: Any) -> str:
    return "skip" if row.text.startswith("# ") else "error"


def _parse(
    data: bytes,
    form: Format,
    kinds: Mapping[str, Any],
    unfit: Callable[[Any], str],
    use_threads: bool = True,
) -> dict[str, Cells]:
    """The columns of these kinds, by their names."""
    import pyarrow as arrow
    import pyarrow.csv as arrow_csv

    number = {name: str(column) for column, name in enumerate(form.names)}
    table = arrow_csv.read_csv(
        arrow.BufferReader(data),
        arrow_csv.ReadOptions(column_names=[*number.values()], use_threads=use_threads),
        arrow_csv.ParseOptions(
            delimiter=form.separator,
            newlines_in_values=b'"' in data,
            invalid_row_handler=unfit,
        ),
        arrow_csv.ConvertOptions(
            column_types={number[name]: kind for name, kind in kinds.items()},
            include_columns=[number[name] for name in kinds],
            strings_can_be_null=False,
            null_values=["", " "],
            decimal_point=form.decimal,
        ),
    )
    return {name: table.column(number[name]) for name in kinds}


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

"""The bytes of a text file of cells, in pieces of whole rows, and the lines on which rows begin."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int

from fcnet.data.format import REMARK, Format, cells_of_any_length, utf8

PIECE = 2**22
"""The bytes that are read at once; a row may have more."""


def pieces(path: Path, form: Format) -> Iterator[tuple[bytes, int]]:
    """The file in pieces of whole rows, and how many bytes of its text, in UTF-8, are before each.

    Raises:
        ValueError: for a NUL byte, or a quote that is never closed or closes before its cell ends.
    """
    between = form.separator.encode()
    text = utf8(path, form.encoding, PIECE)
    begin, rest = 0, b""
    skip = form.begin
    for more in text:
        if (nul := more.find(b"\0")) >= 0:
            line = line_in(path, form, begin, rest + more[:nul])
            raise ValueError(f"line {line} holds a NUL byte: expected text")
        if skip:  # the header
            rest += more
            if len(rest) < skip:
                continue
            begin, rest, more, skip = skip, b"", rest[skip:], 0
        if b'"' in rest or b'"' in more:
            rest, more = b"", rest + more
        end = _last_end(more)
        if not end:
            rest += more
            continue
        piece = b"".join((rest, memoryview(more)[:end]))
        closed = _closed(piece, between) if b'"' in piece else piece
        if closed is None:
            rest = more
            break
        yield closed, begin
        begin += len(piece)
        rest = more[end:]
    rest = b"".join((rest, *text))
    if b'"' in rest:
        closed = _closed(rest, between)
        if closed is None:
            _check_rows(rest, form.separator, line_in(path, form, begin, b""))
        rest = rest if closed is None else closed
    if rest and not skip:
        yield rest, begin


def line_of(path: Path, form: Format, row: int) -> int:
    """The line of the file on which a row begins, for an error: the file is read again, up to it.

    Args:
        path: the file.
        form: how it is written.
        row: its number; the first below the header is 0. Empty lines and remarks are no rows.
    """
    for data, begin in pieces(path, form):
        begins = [
            k for k in row_begins(data, form.separator).tolist() if not _is_remark(data, k, form)
        ]
        if row < len(begins):
            return line_in(path, form, begin, data[: begins[row]])
        row -= len(begins)
    raise ValueError("the file was changed while it was read: read it again")


def line_in(path: Path, form: Format, begin: int, data: bytes) -> int:
    """The line after `data`, with which a piece begins that starts at byte `begin` of the file."""
    ends = np.zeros(2, int)
    for text in utf8(path, form.encoding, PIECE):
        ends += [text.count(sign, 0, max(begin, 0)) for sign in (b"\n", b"\r")]
        begin -= len(text)
    ends += [data.count(sign) for sign in (b"\n", b"\r")]
    return 1 + int(ends[0] or ends[1])


def row_begins(data: bytes, separator: str) -> Int[np.ndarray, " rows"]:
    """Where the rows of a piece begin. An empty line is none; a remark is one here.

    >>> row_begins(b'1,"a\\nb"\\n\\r\\n2,5"\\n3,c', ",").tolist()
    [0, 10, 15]
    """
    lines = data.splitlines(keepends=True)
    offsets = np.cumsum([0, *map(len, lines)])
    if b'"' not in data:
        return offsets[:-1][[bool(line.strip(b"\r\n")) for line in lines]]
    text = (line.decode(errors="replace") for line in lines)
    reader = csv.reader(text, delimiter=separator, skipinitialspace=True)
    begins, taken = [], 0
    with cells_of_any_length():
        for row in reader:
            if row:
                begins.append(taken)
            taken = reader.line_num
    return offsets[begins]


def _is_remark(data: bytes, begin: int, form: Format) -> bool:
    """Whether the row that begins there is a remark, with another number of cells."""
    if not re.compile(REMARK.encode()).match(data, begin):
        return False
    text = data[begin:].splitlines()[0].decode(errors="replace")
    with cells_of_any_length():
        return len(next(csv.reader([text], delimiter=form.separator))) != len(form.names)


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
        opens = rb"(?:\A|(?<=[\n\r%b]))[%b]+(?=\"(?!\"))" % (re.escape(separator), blanks)
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
        with cells_of_any_length():
            for _ in reader:
                read = reader.line_num
    except csv.Error as error:
        raise ValueError(f"the row in line {line + read} cannot be read: {error}") from error

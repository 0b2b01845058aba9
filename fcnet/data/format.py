"""How a text file of cells is written, as its first lines show: encoding, separator, header."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import NamedTuple

import numpy as np

SEPARATORS = (",", ";", "\t", "|")
"""What may be between two cells, if the file does not say so and nobody does."""

HEAD = 2**16
"""The bytes in which the format of a file must show, unless its header has more."""

SEP = re.compile(r"sep=(.)\s*", re.IGNORECASE)
"""A first line that names the separator, as Excel writes it."""

BYTE_ORDER_MARK = re.compile(rb"\A(\xef\xbb\xbf){1,2}")
"""That of UTF-8 at the beginning of a file; some programs write a second one."""

REMARK = r"#(?:[ \r\n]|\Z)"
"""How a line that is a remark begins: "# ", or it is "#" alone."""

SPARE = r"(?<![^\r\n]) +| +(?=[\r\n]|\Z)| +(?= )"
"""The blanks at the ends of a line, and all but the last of those between two cells."""

NOT_UTF8 = "is not in UTF-8: save the file in UTF-8, or name its encoding, such as latin-1"


class Format(NamedTuple):
    """How a file is written.

    Attributes:
        separator: one character.
        names: those of the columns.
        encoding: its name in Python; None is UTF-8.
        begin, line: how many bytes, in UTF-8, and lines are before the first row.
        quoted: whether its first lines have a quote.
        told: what was recognised, other than the usual, in words.
        decimal: the sign before a number's fraction, "." or ",".
        aligned: whether several blanks separate two cells as one does.
    """

    separator: str
    names: tuple[str, ...]
    encoding: str | None
    begin: int
    line: int
    quoted: bool
    told: tuple[str, ...]
    decimal: str = "."
    aligned: bool = False


def format_of(path: Path, separator: str | None, encoding: str | None) -> Format:
    """How a file is written, as its first lines show where it is not given; not its decimal sign.

    Raises:
        ValueError: for a file without rows, or a header that cannot be read.
        OSError: if the file cannot be read.
    """
    if encoding is not None and not isinstance(encoding, str):
        raise TypeError(f"encoding must be a name such as 'latin-1', got {encoding!r:.60}")
    told = (encoding,) if encoding else ()
    if encoding is None:
        with path.open("rb") as file:
            if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                encoding, told = "utf-16", ("UTF-16",)
    lines = _first_lines(path, encoding)
    form = _format_of(lines, separator)
    return form._replace(encoding=encoding, told=told + form.told)


def _first_lines(path: Path, encoding: str | None) -> list[str]:
    """Whole lines, of the first `HEAD` bytes or of as many as hold the header."""
    pieces = utf8(path, encoding, HEAD)
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
    return not line.strip() or bool(re.match(REMARK, line) or SEP.fullmatch(line))


def utf8(path: Path, encoding: str | None, size: int) -> Iterator[bytes]:
    """The text of a file in UTF-8 without its byte order mark, about `size` bytes at a time."""
    if encoding is None:
        with path.open("rb") as file:
            yield BYTE_ORDER_MARK.sub(b"", file.read(max(size, 6)))
            while data := file.read(size):
                yield data
        return
    try:
        with path.open(encoding=encoding, newline="") as text:
            yield BYTE_ORDER_MARK.sub(b"", text.read(max(size, 2)).encode())
            while signs := text.read(size):
                yield signs.encode()
    except LookupError as error:
        raise ValueError(
            f"encoding must be one that Python knows, such as latin-1 or cp1252, got {encoding!r}"
        ) from error
    except UnicodeError as error:
        raise ValueError(f"the file is not in {encoding}: {error}") from error


def _format_of(lines: Sequence[str], separator: str | None) -> Format:
    """The format that the first lines show."""
    told: list[str] = []
    above = 0
    if lines and (says := SEP.fullmatch(lines[0])):
        separator, above = separator or says[1], 1
    remark = None
    while lines[above:] and (not lines[above].strip() or re.match(REMARK, lines[above])):
        remark = lines[above][2:] if lines[above].strip().strip("#") else remark
        above += 1
    below = lines[above:]
    if not below:
        raise ValueError("the file has 0 rows, expected a header and at least one more")
    if separator is not None and (len(separator) != 1 or separator in '"\r\n'):
        raise ValueError(
            f"separator must be one character, got {separator!r}: leave it out for a tab, which is "
            "recognised"
        )
    rows = [line for line in below[:50] if not re.match(REMARK, line)]
    separator = separator or _separator_of(rows)
    if separator != ",":
        told.append(f"separator {separator!r}")
    aligned = separator == " " and any(_one_blank(line) != line for line in rows)
    names, taken = _first_row(map(_one_blank, below) if aligned else below, separator)
    if re.search("[\udc80-\udcff]", "".join(below[:taken])):
        raise ValueError(f"the header {NOT_UTF8}")
    if "\0" in "".join(below[:taken]):
        raise ValueError("the header holds a NUL byte: name the encoding, such as utf-16-le")
    numbers = any(names) and all(not n or _is_number(n) for n in names)
    header, _ = _first_row([_one_blank(remark or "")], separator)
    if numbers and len(header) == len(names):  # as numpy.savetxt writes it
        names, taken = header, 0
        told.append("names from the remark above")
    elif numbers or any("." in name and _is_number(name) for name in names):
        told.append("numbers as names, as if there were no header")
    check_names(names)
    begin = len("".join(lines[: above + taken]).encode("utf-8", "surrogateescape"))
    quoted = any('"' in line for line in lines)
    return Format(
        separator, tuple(names), None, begin, above + taken, quoted, tuple(told), aligned=aligned
    )


def check_names(names: Sequence[str]) -> None:
    """Raise if two columns have the same name.

    >>> check_names(["a", "b", "a"])
    Traceback (most recent call last):
    ValueError: 2 columns are called 'a': rename them in the file, or leave all but one out
    """
    for name, times in Counter(names).items():
        if times > 1:
            header = "the first line must be a header; else " if _is_number(name) else ""
            raise ValueError(
                f"{times} columns {f'are called {name!r}' if name else 'have no name'}: {header}"
                "rename them in the file, or leave all but one out"
            )


_LIMIT = RLock()
"""Python's reader has one limit for all threads."""


@contextmanager
def cells_of_any_length() -> Iterator[None]:
    """While it is open, Python's reader takes cells of more than 131,072 characters.

    Other threads wait to open it, or one would put the limit back while another reads.
    """
    with _LIMIT:
        limit = csv.field_size_limit(2**31 - 1)
        try:
            yield
        finally:
            csv.field_size_limit(limit)


def _one_blank(line: str) -> str:
    """A line with one blank between two cells; as it is, where a quote may hold blanks."""
    return line if '"' in line else re.sub(SPARE, "", line)


def _first_row(lines: Iterable[str], separator: str) -> tuple[list[str], int]:
    """The first row of these lines, and how many lines it takes."""
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        with cells_of_any_length():
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
        rows = csv.reader(
            map(_one_blank, lines) if separator == " " else lines,
            delimiter=separator,
            skipinitialspace=True,
        )
        with cells_of_any_length():
            counts = [len(row) for row in rows if row]
        return len(set(counts)) == 1 < counts[0], counts[0]

    best = max(SEPARATORS, key=cells)
    return " " if not cells(best)[0] and cells(" ")[0] else best

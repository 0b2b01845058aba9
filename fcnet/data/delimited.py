"""Text files with a separator between cells, such as CSV, read a piece at a time by Arrow."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fcnet.data.cells import (
    TOO_LARGE,
    Cells,
    are_plain,
    arrow,
    as_doubles,
    as_whole,
    compute,
    has_fractions,
    is_text,
    joined,
    matches,
    shown,
    to_numpy,
)
from fcnet.data.format import NOT_UTF8, REMARK, SPARE, Format
from fcnet.data.pieces import line_in, line_of, pieces, row_begins

SAMPLE = 1000
"""The rows in which decimal commas are looked for."""


def with_decimal(path: Path, form: Format, decimal: str | None) -> Format:
    """The format with this decimal sign, or with the one that the first rows show.

    Raises:
        ValueError: for another sign, or where what may be the sign may as well group thousands.
    """
    if decimal not in (None, ".", ","):
        raise ValueError(f"decimal must be '.' or ',', got {decimal!r}")
    if decimal is None:
        unclear = form.quoted or form.separator != ","
        decimal = _decimal_of(path, form) if unclear else "."
    commas = ("decimal commas",) if decimal == "," else ()
    return form._replace(decimal=decimal, told=form.told + commas)


def _decimal_of(path: Path, form: Format) -> str:
    """A comma if some cells have one in their digits and none a point.

    All such signs may group thousands where three digits follow each. Points are then taken for
    decimal ones unless short whole numbers stand beside them: 12.500 and 900 have no decimals.
    """
    columns = _first_rows(path, form)
    for sign in (".", ","):
        found = {n: matches(c, rf"^[+-]?[0-9]*[{sign}][0-9]+$") for n, c in columns.items()}
        used = {n: columns[n] for n, these in found.items() if these.any()}
        if not used:
            continue
        grouped = rf"^[+-]?[1-9][0-9]{{0,2}}[{sign}][0-9]{{3}}$"
        if not all((matches(cells, grouped) == found[n]).all() for n, cells in used.items()):
            return sign
        short = r"^[+-]?[0-9]{1,3}$"
        if sign == "." and not any(matches(cells, short).any() for cells in used.values()):
            return sign
        name, cells = next(iter(used.items()))
        row = int(found[name].argmax())
        cell = cells[row].as_py()
        raise ValueError(
            f"column {name!r} has {shown(cell)} in line {line_of(path, form, row)}, which may be "
            f"{cell.replace(',', '.')} or {cell.replace(sign, '')}: say whether the decimal sign "
            "is a comma or a point"
        )
    return "."


def _first_rows(path: Path, form: Format) -> dict[str, Cells]:
    """The columns of the first rows, as they are written."""
    rows, columns = 0, []
    for block in blocks(path, form, form.names):
        columns.append(block)
        rows += len(block[form.names[0]])
        if rows >= SAMPLE:
            break
    return {
        name: joined([block[name] for block in columns]).slice(0, SAMPLE) for name in form.names
    }


def blocks(path: Path, form: Format, text: Collection[str]) -> Iterator[dict[str, Cells]]:
    """The columns of a file, some rows at a time.

    A column is text if it is in `text`, or from the block on in which a cell is neither empty nor a
    plain number, see `are_plain`. Until then it has numbers, and null for an empty cell.

    Raises:
        ValueError: for rows that cannot be read, or if there are none.
    """
    state = _State(set(text), set(form.names) - set(text))
    empty = True
    for data, begin in pieces(path, form):
        columns = _columns(data, form, state, partial(line_in, path, form, begin))
        if len(columns[form.names[0]]):
            empty = False
            yield columns
    if empty:
        raise ValueError("the file has 1 row, expected a header and at least one more")


class _State(NamedTuple):
    """Which columns are text, and which had whole numbers alone so far; others have fractions."""

    texts: set[str]
    whole: set[str]


def _columns(
    data: bytes, form: Format, state: _State, line: Callable[[bytes], int]
) -> dict[str, Cells]:
    """The columns of a piece; `state` is told what they are found to be.

    Arrow reads fractions as numbers at once, which is fast but loses their text. That is read too
    where the numbers do not show that it is plain: a code such as 007 looks like a whole number.
    """
    _check_utf8(data, line)
    as_text = state.texts | state.whole
    fractions = [name for name in form.names if name not in as_text]
    columns = _typed(data, form, set(fractions)) if fractions else None
    if columns is None:
        columns, unsure = _texts(data, form, form.names, line), [*state.whole, *fractions]
    else:
        odd = [name for name in fractions if not _are_fractions(columns[name])]
        columns |= _texts(data, form, odd, line) if odd else {}
        unsure = [*state.whole, *odd]
    if any(sign in data for sign in (b" ", b"\t", b"\xc2")):  # the last begins some in UTF-8
        trim = compute().utf8_trim_whitespace
        columns = {n: trim(cells) if is_text(cells) else cells for n, cells in columns.items()}
    for name in unsure:
        numbers = as_whole(columns[name])
        if numbers is None:
            state.whole.discard(name)
            if not are_plain(columns[name], form.decimal):
                state.texts.add(name)
                continue
            numbers = as_doubles(columns[name], form.decimal)
        columns[name] = numbers
    return {name: columns[name] for name in form.names}


def _check_utf8(data: bytes, line: Callable[[bytes], int]) -> None:
    """Raise for bytes that are no UTF-8; Arrow would write of them to standard error."""
    if not data.isascii():
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"line {line(data[: error.start])} {NOT_UTF8}") from error


def _are_fractions(cells: Cells) -> bool:
    """Whether some numbers have a fraction, so that none is a code, and none is too large."""
    values = to_numpy(cells)
    return (
        has_fractions(values)
        and not (np.abs(values) >= TOO_LARGE).any()
        and (not np.isnan(values).any() or int(np.isnan(values).sum()) == cells.null_count)
    )


def _typed(data: bytes, form: Format, numbers: Collection[str]) -> dict[str, Cells] | None:
    """The columns, these as numbers and others as text; None if these have text."""
    number, text = arrow().float64(), arrow().string()
    kinds = {name: number if name in numbers else text for name in form.names}
    try:
        return _parse(data, form, kinds)
    except arrow().ArrowInvalid:
        return None


def _texts(
    data: bytes, form: Format, names: Sequence[str], line: Callable[[bytes], int]
) -> dict[str, Cells]:
    """Some columns as they are written; `line` says which one comes after a part of the data."""
    kinds = dict.fromkeys(names, arrow().string())
    try:
        return _parse(data, form, kinds)
    except arrow().ArrowInvalid as error:
        bad: list[Any] = []

        def unfit(row: Any) -> str:
            if _skip_remarks(row) == "error":
                bad.append(row)
                return "error"
            return "skip"

        with suppress(arrow().ArrowInvalid):
            _parse(data, form, kinds, unfit)
        if not bad:
            raise ValueError(f"the rows cannot be read: {error}") from error
        row = bad[0]
        place = line(data[: row_begins(data, form.separator)[row.number - 1]])
        raise ValueError(
            f"line {place} has {row.actual_columns} cells, expected {row.expected_columns}: "
            f"{shown(row.text)}"
        ) from error


def _skip_remarks(row: Any) -> str:
    return "skip" if re.match(REMARK, row.text) else "error"


def _parse(
    data: bytes,
    form: Format,
    kinds: Mapping[str, Any],
    unfit: Callable[[Any], str] | None = None,
) -> dict[str, Cells]:
    """The columns of these kinds, by their names; `unfit` is called for rows of other lengths.

    Arrow's threads may hold what they read for a moment after it is read. If Python ends in that
    moment, they abort it where they hold an object of Python's. They read a copy of Arrow's own,
    therefore, and rows are read without threads where a function of Python's is called for them.
    """
    import pyarrow.csv as arrow_csv

    number = {name: str(column) for column, name in enumerate(form.names)}
    if unfit is None and re.search(REMARK.encode(), data):
        unfit = _skip_remarks
    if form.aligned and b'"' not in data:
        data = re.sub(SPARE.encode(), b"", data)
    copy = arrow().BufferOutputStream()
    copy.write(data)
    table = arrow_csv.read_csv(
        arrow().BufferReader(copy.getvalue()),
        arrow_csv.ReadOptions(
            column_names=[*number.values()], use_threads=unfit is None, block_size=len(data) + 1
        ),
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

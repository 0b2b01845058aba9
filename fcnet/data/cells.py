"""Cells: what their text says, as it is written in a file.

A column's cells are an Arrow array: text, or the numbers of a Parquet file, where null is missing.
"""

import re
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from fcnet.extras import extra

Cells: TypeAlias = Any
"""An Arrow array of n cells; Arrow ships no types."""

MARKS = (
    *("", "?", "-", "--", ".", "..", "*"),
    *("NA", "N/A", "na", "n/a", "#N/A", "#NA", "<NA>", "NaN", "nan", "NaT"),
    *("NULL", "Null", "null", "None", "none", "missing"),
)
"""What stands for a missing number. Other text in a column of numbers is an error."""

EXACT = 2**53
"""Double precision holds every whole number below it, and rounds some to it."""

TOO_LARGE = 1e300
"""Larger numbers have no mean in double precision. Some programs write the largest one of all where
one is missing."""

NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
CODE = r"^[+-]?0[0-9]+$|^[0-9]+[eE][0-9]+$"
"""Digits that are no number: a leading zero, as in 02139, or an exponent such as no program writes,
as in 101E010031."""
LONG = r"^[+-]?[0-9]{16,}$"
"""A whole number that may be beyond `EXACT`."""
DECORATED = r"^[^\pL\pN]*\pN[\pN.,'\x{2019}_\s\x{a0}\x{202f}]*[^\pL\pN]*$"
"""A number with more than digits: 1,234 or $5 or 12 % or digits of another script."""
MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
DATE = (
    r"(?i)^([0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
    r"|[0-9]{1,2}-[0-9]{1,2}-[0-9]{4}"
    r"|[0-9]{1,4}/[0-9]{1,2}/[0-9]{1,4}"
    r"|[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{4}"
    rf"|[0-9]{{1,2}}[- ]{MONTH}[- ][0-9]{{2,4}}"
    rf"|{MONTH} [0-9]{{1,2}}, [0-9]{{4}})([T ].*)?$"
)


class Numbers(NamedTuple):
    """n cells read as numbers.

    Attributes:
        values: the numbers; NaN for every other cell.
        other: the cells that are neither a number nor missing.
    """

    values: Float[np.ndarray, " n"]
    other: Bool[np.ndarray, " n"]


@cache
def arrow() -> Any:
    """Arrow. Needs the extra `tables`."""
    with extra("tables"):
        import pyarrow
    return pyarrow


@cache
def compute() -> Any:
    """Arrow's functions. Needs the extra `tables`."""
    with extra("tables"):
        import pyarrow.compute as functions
    return functions


def is_text(cells: Cells) -> bool:
    """Whether the cells are text, and not the numbers of a Parquet file."""
    return str(cells.type) == "string"


def as_text(cells: Cells) -> Cells:
    """The cells as text. A whole number has no decimal point; a missing one is empty.

    >>> import pyarrow
    >>> as_text(pyarrow.array([95838.0, 0.5, None])).to_pylist()
    ['95838', '0.5', '']
    """
    if is_text(cells):
        return cells
    pc = compute()
    text = pc.cast(cells, "string")
    if str(cells.type) == "double":
        values = to_numpy(cells)
        whole = mask((values == np.floor(values)) & (np.abs(values) < EXACT))
        short = pc.cast(pc.cast(pc.if_else(whole, cells, null()), "int64"), "string")
        text = pc.coalesce(short, pc.if_else(mask(np.isnan(values)), null(), text))
    return filled(text)


def filled(text: Cells) -> Cells:
    """The texts, empty where one is missing."""
    return compute().coalesce(text, scalar(""))


def as_numbers(cells: Cells, marks: tuple[str, ...] = MARKS, decimal: str = ".") -> Numbers:
    """The cells as numbers in double precision.

    Args:
        cells: n cells.
        marks: the texts that mean a missing number; if they are numbers themselves, in any writing,
            so that "-999" is "-999.0", too.
        decimal: the sign before a number's fraction, "." or ",".

    >>> import pyarrow
    >>> found = as_numbers(pyarrow.array(["1.5", "?", "twelve"]))
    >>> found.values.tolist(), found.other.tolist()
    ([1.5, nan, nan], [False, False, True])
    """
    pc = compute()
    if not is_text(cells):
        return _known(to_numpy(pc.cast(cells, "double", safe=False)), None, marks)
    given = cells
    if decimal == ",":  # a point groups digits there: 1.234 is no number
        given = pc.replace_substring(pc.replace_substring(given, ".", ";"), ",", ".")
    try:
        values = to_numpy(pc.cast(given, "double"))
    except ValueError:  # of Arrow, for a cell that is no number
        numbers = pc.if_else(pc.match_substring_regex(given, NUMBER), given, null())
        values = to_numpy(pc.cast(numbers, "double"))
    return _known(values, cells, marks)


def _known(values: Float[np.ndarray, " n"], text: Cells | None, marks: tuple[str, ...]) -> Numbers:
    """The numbers that are neither missing nor too large."""
    numbers = number_marks(marks)
    fits = np.abs(values) < TOO_LARGE
    if fits.all() and not numbers:
        return Numbers(values, ~fits)
    missing = np.isin(values, numbers)
    missing |= np.isnan(values) if text is None else _is_in(text, marks)
    return Numbers(np.where(fits & ~missing, values, np.nan), ~fits & ~missing)


@cache
def number_marks(marks: tuple[str, ...]) -> list[float]:
    """The marks of a missing number that are numbers themselves.

    >>> number_marks(("?", "-999"))
    [-999.0]
    """
    return [float(mark) for mark in marks if re.match(NUMBER, mark)]


def _is_in(cells: Cells, texts: tuple[str, ...]) -> Bool[np.ndarray, " n"]:
    return to_numpy(compute().is_in(cells, value_set=array(texts)))


def release() -> None:
    """Return unused memory of Arrow to the system; and of NumPy, if both take it from malloc."""
    arrow().default_memory_pool().release_unused()


def joined(blocks: Sequence[Cells]) -> Cells:
    """The cells of one column in blocks of rows, one after the other."""
    chunks = [chunk for cells in blocks for chunk in getattr(cells, "chunks", [cells])]
    return arrow().chunked_array(chunks)


def as_doubles(cells: Cells, decimal: str) -> Cells:
    """Numbers, or texts that are plain numbers or empty, as cells that are numbers or null."""
    values = as_numbers(cells, ("",), decimal).values
    buffers = [mask(~np.isnan(values)).buffers()[1], arrow().py_buffer(values)]
    return arrow().Array.from_buffers(arrow().float64(), len(values), buffers)


def as_whole(text: Cells) -> Cells | None:
    """Texts as whole numbers, null where one is empty; None if one is written in another way.

    >>> import pyarrow
    >>> as_whole(pyarrow.array(["7", ""])).to_pylist(), as_whole(pyarrow.array(["7", "07"]))
    ([7.0, None], None)
    """
    pc = compute()
    empty = pc.equal(text, scalar(""))
    known = pc.if_else(empty, null(), text) if pc.any(empty).as_py() else text
    try:
        pc.cast(known.slice(0, 100), "int64")  # a cast that fails is slow
        numbers = pc.cast(known, "int64")
    except ValueError:  # of Arrow
        return None
    zero = pc.and_(pc.starts_with(known, "0"), pc.not_equal(known, scalar("0")))
    if pc.any(pc.or_(zero, pc.starts_with(known, "-0"))).as_py():  # which a hexadecimal is, too
        return None
    ends = pc.min_max(numbers)
    inside = all(abs(end.as_py() or 0) < EXACT for end in ends.values())
    return pc.cast(numbers, "double") if inside else None


# What follows takes arrays from Arrow to NumPy and back by their memory: `np.asarray` of an Arrow
# array, `pyarrow.array` and `pyarrow.scalar` would import pandas where it is installed.


def to_numpy(cells: Cells) -> np.ndarray:
    """Numbers, or true and false, as an array of NumPy's; NaN is null.

    >>> import pyarrow
    >>> to_numpy(pyarrow.array([1.5, None])).tolist(), to_numpy(pyarrow.array([True])).tolist()
    ([1.5, nan], [True])
    """
    pc, kind = compute(), str(cells.type)
    if kind == "bool":
        return to_numpy(pc.cast(cells, "uint8")).view(bool)
    if cells.null_count:
        cells = pc.coalesce(cells, pc.cast(array(("nan",)), kind)[0])
    return np.from_dlpack(cells.combine_chunks() if hasattr(cells, "chunks") else cells)


def mask(these: Bool[np.ndarray, " n"]) -> Cells:
    """True and false as cells.

    >>> mask(np.array([True, False])).to_pylist()
    [True, False]
    """
    bits = arrow().py_buffer(np.packbits(these, bitorder="little"))
    return arrow().Array.from_buffers(arrow().bool_(), len(these), [None, bits])


def array(texts: Collection[str]) -> Cells:
    """These texts as cells.

    >>> array(("7", "", "é")).to_pylist()
    ['7', '', 'é']
    """
    words = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, words)], dtype=np.int32)
    buffers = map(arrow().py_buffer, (ends, b"".join(words)))
    return arrow().StringArray.from_buffers(len(words), *buffers)


@cache
def scalar(text: str) -> Any:
    """A text as Arrow's functions take one."""
    return array((text,))[0]


def null() -> Any:
    """What `if_else` takes for an entry that is missing."""
    return arrow().NULL


def matches(cells: Cells, pattern: str) -> Bool[np.ndarray, " n"]:
    """Which texts a regular expression of RE2 fits.

    >>> import pyarrow
    >>> matches(pyarrow.array(["02139", "1e-5", "101E010031", "0.5"]), CODE).tolist()
    [True, False, True, False]
    """
    return to_numpy(compute().match_substring_regex(cells, pattern))


def are_codes(cells: Cells, found: Numbers) -> Bool[np.ndarray, " n"]:
    """Which cells are digits that would not stay the same as numbers; none among fractions.

    Args:
        cells: n cells.
        found: what `as_numbers` makes of them.

    >>> import pyarrow
    >>> codes = pyarrow.array(["02139", "95838"])
    >>> are_codes(codes, as_numbers(codes)).tolist()
    [True, False]
    """
    large = np.abs(found.values) >= EXACT
    if not is_text(cells):
        return large & ("int" in str(cells.type))
    if has_fractions(found.values) and not found.other.any():
        return np.zeros(len(large), bool)
    codes = matches(cells, CODE)
    return codes | (large & matches(cells, LONG)) if large.any() else codes


def are_plain(cells: Cells, decimal: str = ".") -> bool:
    """Whether all texts are empty, or numbers of which nothing is lost when they are read as such.

    >>> import pyarrow
    >>> are_plain(pyarrow.array(["7", ""])), are_plain(pyarrow.array(["7", "007"]))
    (True, False)
    """
    found = as_numbers(cells, ("",), decimal)
    return not (found.other.any() or are_codes(cells, found).any())


def has_fractions(values: Float[np.ndarray, " n"]) -> bool:
    """Whether there is a number that is not whole; most often one of the first is."""
    parts = (values[:100], values[100:])
    return any(((part != np.floor(part)) & np.isfinite(part)).any() for part in parts)


def one_hot(cells: Cells, values: tuple[str, ...]) -> Float[np.ndarray, "n m"]:
    """A column of 0 and 1 for each value, shape (n, m); a row of 0 for a text that is none of them.

    >>> import pyarrow
    >>> one_hot(pyarrow.array(["b", "07", "7"]), ("07", "b")).tolist()
    [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]
    """
    found = compute().index_in(cells, value_set=array(values))
    column = to_numpy(compute().cast(found, "double"))  # NaN where it is none of them
    return (column[:, None] == np.arange(len(values))).astype(np.float64)


def shown(text: str) -> str:
    """A text as an error or a note shows it.

    >>> shown("a b"), len(shown("x" * 1000))
    ("'a b'", 62)
    """
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def distinct(cells: Cells) -> dict[str, int]:
    """The different texts, in their order, with how often each is there.

    >>> import pyarrow
    >>> distinct(pyarrow.array(["7", "07", "7"]))
    {'07': 1, '7': 2}
    """
    counts = compute().value_counts(cells)
    pairs = zip(*(counts.field(part).to_pylist() for part in ("values", "counts")), strict=True)
    return dict(sorted(pairs))

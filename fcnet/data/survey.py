"""What the cells of a column are, found a block of rows at a time."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from fcnet.data.cells import (
    MARKS,
    Cells,
    are_codes,
    as_numbers,
    as_text,
    distinct,
    has_fractions,
    is_text,
    mask,
)
from fcnet.data.preprocess import Moments, combined, moments

MOST_TEXTS = 10_000
"""More different texts are not told apart: they are too many categories for a network."""


class Survey(NamedTuple):
    """What is known of the cells of a column.

    Attributes:
        rows: how many cells there are.
        moments: of those that are numbers; None if none is.
        fractions: whether a number is not whole.
        ends: the first and the last number.
        steps: the least and the largest step from one number to the next; None where a cell is no
            whole number, or there is no step.
        others: the texts of cells that are neither a number nor missing, with how often each is.
        other: the row and the text of the first of them.
        code: the first cell of digits that would not stay the same as a number.
        texts: all texts, with how often each is; None if they were not looked at.
        missing: the texts of missing cells, with how often each is.
        gap: the row of the first missing cell.
    """

    rows: int
    moments: Moments | None
    fractions: bool
    ends: tuple[float, float] | None
    steps: tuple[float, float] | None
    others: Mapping[str, int]
    other: tuple[int, str] | None
    code: str | None
    texts: Mapping[str, int] | None
    missing: Mapping[str, int]
    gap: int | None

    @property
    def numbers(self) -> int:
        """How many cells are numbers."""
        return 0 if self.moments is None else round(self.moments.weight)


def survey(cells: Cells, decimal: str = ".", first: int = 0, *, texts: bool = False) -> Survey:
    """What is known of cells of which nobody says what they are.

    Args:
        cells: n cells.
        decimal: the sign before a number's fraction.
        first: the number of their first row.
        texts: whether to look at the texts of numbers, too.

    >>> import pyarrow
    >>> found = survey(pyarrow.array(["7", "twelve", "?"]))
    >>> found.numbers, found.other, found.missing
    (1, (1, 'twelve'), {'?': 1})
    """
    found = as_numbers(cells, MARKS, decimal)
    codes = are_codes(cells, found)
    others = _counts(cells, found.other)
    known = np.isfinite(found.values)
    look = texts or codes.any() or (is_text(cells) and known.sum() <= found.other.sum())
    return _surveyed(
        cells,
        first,
        found.values,
        missing=~known & ~found.other,
        others=others,
        other=_first(cells, found.other, first),
        code=_first(cells, codes, first),
        texts=distinct(as_text(cells)) if look else None,
    )


def survey_of(cells: Cells, entries: np.ndarray | Cells, missing: np.ndarray, first: int) -> Survey:
    """What is known of cells whose kind is known, by which they are these entries."""
    if isinstance(entries, np.ndarray):
        return _surveyed(cells, first, entries, missing=missing)
    return _surveyed(cells, first, np.full(len(cells), np.nan), missing, texts=distinct(entries))


def _surveyed(
    cells: Cells,
    first: int,
    values: Float[np.ndarray, " n"],
    missing: Bool[np.ndarray, " n"],
    others: Mapping[str, int] | None = None,
    other: tuple[int, str] | None = None,
    code: tuple[int, str] | None = None,
    texts: Mapping[str, int] | None = None,
) -> Survey:
    finite = np.isfinite(values)
    known = values if finite.all() else values[finite]
    fractions = has_fractions(known)
    steps = np.diff(known) if len(known) == len(values) and not fractions else values[:0]
    gap = _first(cells, missing, first)
    return Survey(
        rows=len(values),
        moments=moments(known[:, None]) if len(known) else None,
        fractions=fractions,
        ends=(float(known[0]), float(known[-1])) if len(known) else None,
        steps=(float(steps.min()), float(steps.max())) if len(steps) else None,
        others=others or {},
        other=other,
        code=code and code[1],
        texts=texts,
        missing=_counts(cells, missing),
        gap=gap and gap[0],
    )


def _counts(cells: Cells, these: Bool[np.ndarray, " n"]) -> Mapping[str, int]:
    """The texts of these cells, with how often each is there."""
    return distinct(as_text(cells.filter(mask(these)))) if these.any() else {}


def _first(cells: Cells, these: Bool[np.ndarray, " n"], first: int) -> tuple[int, str] | None:
    """The row and the text of the first of these cells."""
    if not these.any():
        return None
    row = int(these.argmax())
    return first + row, as_text(cells.slice(row, 1))[0].as_py()


def both(a: Survey, b: Survey) -> Survey:
    """What is known of the cells of a and of those of b, which come after them."""
    return Survey(
        rows=a.rows + b.rows,
        moments=combined(a.moments, b.moments)
        if a.moments and b.moments
        else a.moments or b.moments,
        fractions=a.fractions or b.fractions,
        ends=(a.ends[0], b.ends[1]) if a.ends and b.ends else a.ends or b.ends,
        steps=_steps(a, b),
        others=_sum(a.others, b.others),
        other=a.other or b.other,
        code=a.code or b.code,
        texts=None if a.texts is None or b.texts is None else _sum(a.texts, b.texts),
        missing=_sum(a.missing, b.missing),
        gap=b.gap if a.gap is None else a.gap,
    )


def _steps(a: Survey, b: Survey) -> tuple[float, float] | None:
    """The least and the largest step in both, and between them."""
    whole = not (a.fractions or b.fractions) and a.numbers + b.numbers == a.rows + b.rows
    if not (whole and a.ends and b.ends):
        return None
    steps = (b.ends[0] - a.ends[1], *(a.steps or ()), *(b.steps or ()))
    return min(steps), max(steps)


def _sum(a: Mapping[str, int], b: Mapping[str, int]) -> Mapping[str, int]:
    """How often each text is there in both, until they are too many."""
    if len(a) > MOST_TEXTS or not b:
        return a
    return {text: a.get(text, 0) + b.get(text, 0) for text in {**a, **b}}

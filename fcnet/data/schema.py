"""The schema of a table: what each column is, decided once and stored with the model."""

import json
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from fcnet.data.cells import (
    DATE,
    DECORATED,
    MARKS,
    Cells,
    array,
    as_numbers,
    as_text,
    compute,
    distinct,
    matches,
    one_hot,
    scalar,
    shown,
    to_numpy,
)
from fcnet.data.read import Place, Table, place_of
from fcnet.data.survey import MOST_TEXTS, Survey
from fcnet.files import AnyPath, as_path
from fcnet.text import from_json

KINDS = ("number", "category", "label", "date", "ignored")
"""What a column can be. A label is a category to predict; a date becomes a number of days."""

MISSING_CHOICES = ("error", "drop", "impute")
"""What to do about missing entries: raise an error, drop their rows, or impute, here and in new
examples: a number by the median, a category by a value of its own."""

SENTINELS = ("-99", "-999", "-9999", "-99999")
"""Numbers that some programs write where one is missing."""

MOST_NAMES = 50
"""An error shows no more names of columns."""

COMMA = re.compile(r"[+-]?[0-9]+,([0-9]{1,2}|[0-9]{4,})")
"""A number with a comma that groups no thousands."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Values: TypeAlias = Any
"""A column as its schema reads it: numbers, with NaN where one is missing, or an Arrow array of
text, with "" where it is missing."""


class Field(NamedTuple):
    """What a column is, and how it becomes inputs or targets.

    A number, or a date, is one of them; a category, or a label, is one of 0 or 1 for each value.

    Attributes:
        name: that of the column.
        kind: one of `KINDS`.
        values: those of a category, as they are written, in the order of the inputs.
        missing: the texts that stand for a missing entry.
        fill: what replaces a missing entry, a number or one of the values; None if no entry may be
            missing.
        mean, scale: of each input, to standardise it; empty until they are learned.
        note: what a reader should know of the column.
    """

    name: str
    kind: str
    values: tuple[str, ...] = ()
    missing: tuple[str, ...] = ("",)
    fill: float | str | None = None
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    note: str = ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs.

        >>> Field("zip", "category", ("a", "b")).inputs
        ('zip=a', 'zip=b')
        """
        if self.is_number:
            return (self.name,)
        return tuple(f"{self.name}={value}" for value in self.values)

    @property
    def is_number(self) -> bool:
        """Whether the column is one number an entry."""
        return self.kind in ("number", "date")


def decide(name: str, found: Survey, place: Place = place_of) -> Field:
    """The kind of a column, by all its cells.

    Numbers, beside which only `MARKS` of missing ones are, make a number. Whole numbers that would
    not stay what they are, such as codes with leading zeros or beyond 2^53, make a category, and so
    does text. A column of which nothing is known, or that no network can learn from, is ignored.

    Raises:
        ValueError: for text among numbers, for numbers with other signs, and for dates, with the
            cell and its place; the error says what to do.

    >>> import pyarrow
    >>> from fcnet.data.survey import survey
    >>> decide("zip", survey(pyarrow.array(["02139", "95838", "95838"]))).note
    "codes such as '02139'"
    """
    if found.code is not None and not found.fractions:
        return _decide_text(name, found, f"codes such as {shown(found.code)}")
    if found.other is None:
        return _decide_number(name, found)
    row, cell = found.other
    others = found.rows - found.numbers - sum(found.missing.values())
    first = f"column {name!r} has {shown(cell)} in {place(row)}"
    if found.numbers > others:
        sign = "say so if its comma is the decimal sign, " if COMMA.fullmatch(cell) else ""
        raise ValueError(
            f"{first}, {found.numbers:,} of {found.numbers + others:,} are numbers: {sign}correct "
            "the cell, or say in a schema that it means a missing number, that the column is a "
            "category, or that it is to be ignored"
        )
    if _most(found.others, DATE):
        raise ValueError(
            f"{first}: dates are no numbers. Say in a schema that the column is a date, which "
            "counts the days since 1970-01-01 of dates written as 2020-01-31, or that it is to be "
            "ignored"
        )
    if _most(found.others, DECORATED):
        raise ValueError(
            f"{first}, which is no plain number such as 1234.5: write it so, or say in a schema "
            "that the column is a category or to be ignored"
        )
    return _decide_text(name, found, "")


def _decide_number(name: str, found: Survey) -> Field:
    """A number, unless there is one number at most."""
    if found.moments is None:
        return Field(name, "ignored", note="empty")
    if found.moments.least == found.moments.most:
        note = _constant(f"{found.moments.least[0]:g}", found.rows - found.numbers)
        return Field(name, "ignored", note=note)
    least = f"{found.moments.least[0]:g}"
    doubt = f"{least} at least; if that is a missing number, say so in a schema"
    return Field(name, "number", missing=MARKS, note=doubt if least in SENTINELS else "")


def _decide_text(name: str, found: Survey, note: str) -> Field:
    """A category, unless there are too few or too many different texts to learn from."""
    if found.texts is None:
        return Field(name, "category", note=note)
    counts = dict(found.texts)
    blank = counts.pop("", 0)
    n = sum(counts.values())
    if len(counts) == 1:
        return Field(name, "ignored", note=_constant(shown(*counts), blank))
    if len(counts) > MOST_TEXTS:
        return Field(name, "ignored", note=f"more than {MOST_TEXTS:,} different {note or 'texts'}")
    if too_many(len(counts), n):
        note = f"{len(counts):,} different {note or 'texts'} in {n:,} rows"
        return Field(name, "ignored", note=note)
    return Field(name, "category", note=note)


def _constant(value: str, missing: int) -> str:
    gaps = f" but {missing:,}, which have none" if missing else ""
    return f"constant: {value} in every row{gaps}"


def too_many(values: int, n: int) -> bool:
    """Whether n rows have too many different values for a category to be learned."""
    return values > min(max(2, n / 2), MOST_TEXTS)


def _most(counts: Mapping[str, int], pattern: str) -> bool:
    """Whether a pattern fits more than half of the texts."""
    fits = matches(array(tuple(counts)), pattern)
    often = np.array([*counts.values()])
    return bool(often[fits].sum() > often.sum() / 2)


def _cell(cells: Cells, these: Bool[np.ndarray, " n"]) -> str:
    """The first of these cells, as an error shows it."""
    return shown(as_text(cells)[int(these.argmax())].as_py())


def interpret(field: Field, table: Table) -> Values:
    """The entries of a column of a table, as its schema says.

    Raises:
        ValueError: if there is no such column, or for a cell that is neither an entry of this kind
            nor a mark of a missing one, with its place.

    >>> import pyarrow
    >>> table = Table({"beds": pyarrow.array(["3", "?"])}, 2)
    >>> interpret(Field("beds", "number", missing=("?",)), table).tolist()
    [3.0, nan]
    """
    cells = column_of(table, field.name)
    if not field.is_number:
        return _blank(as_text(cells), field.missing)
    if field.kind == "date":
        return _days(field, table)
    found = as_numbers(cells, field.missing, table.decimal)
    if found.other.any():
        place = table.place(table.first + int(found.other.argmax()))
        raise ValueError(
            f"column {field.name!r} has {_cell(cells, found.other)} in {place}, expected a number"
        )
    return found.values


def _blank(text: Cells, marks: tuple[str, ...]) -> Cells:
    """The text, empty where it is a mark."""
    if not set(marks) - {""}:
        return text
    pc = compute()
    missing = pc.is_in(text, value_set=array(marks))
    return pc.if_else(missing, scalar(""), text)


def _days(field: Field, table: Table) -> Float[np.ndarray, " n"]:
    """The days since 1970-01-01, with a fraction for the time; dates are written as 2020-01-31."""
    text = as_text(table.columns[field.name])
    days = {mark: np.nan for mark in field.missing}
    for cell in text.unique().to_pylist():
        if cell not in days:
            try:
                moment = datetime.fromisoformat(cell)
                zone = moment.tzinfo or UTC
                days[cell] = (moment.replace(tzinfo=zone) - EPOCH) / timedelta(days=1)
            except ValueError:
                place = table.place(table.first + text.index(cell).as_py())
                raise ValueError(
                    f"column {field.name!r} has {shown(cell)} in {place}, expected a date such as "
                    "2020-01-31"
                ) from None
    return np.array([days[cell] for cell in text.to_pylist()], np.float64)


def is_missing(values: Values) -> Bool[np.ndarray, " n"]:
    """Which entries are missing."""
    if isinstance(values, np.ndarray):
        return np.isnan(values)
    return to_numpy(compute().equal(values, scalar("")))


def learn(field: Field, values: Values, *, fill: bool = False) -> Field:
    """The field with its known values, if it has any, and what replaces a missing entry.

    Args:
        field: what the column is.
        values: its entries, of `interpret`.
        fill: whether entries may be missing, here and in new examples. A missing number is replaced
            by the median; a missing category is a category of its own, the empty text.

    Raises:
        ValueError: if all entries are missing.

    >>> learn(Field("beds", "number"), np.array([1.0, np.nan, 4.0]), fill=True).fill
    2.5
    """
    if is_missing(values).all():
        raise ValueError(f"column {field.name!r} has no entries: leave it out")
    if field.is_number:
        median = float(np.nanmedian(values)) if fill else None
        return field._replace(fill=median)
    known = field.values or tuple(value for value in distinct(values) if value)
    blank = ("",) if fill and "" not in known else ()
    marks = ", ".join(repr(value) for value in known if value in MARKS) if not field.values else ""
    note = ", ".join(filter(None, (field.note, marks and f"{marks} among them")))
    return field._replace(values=(*blank, *known), fill="" if fill else None, note=note)


def encode(field: Field, values: Values, place: Place = place_of) -> Float[np.ndarray, "n m"]:
    """The inputs of a column, shape (n, m), before they are standardised.

    Args:
        field: what the column is.
        values: its entries, of `interpret`.
        place: what an error calls the k-th of them, from 0.

    Raises:
        ValueError: for a missing entry if the field has no fill, or for a value that the field does
            not know; with its place.

    >>> import pyarrow
    >>> encode(Field("zip", "category", ("07", "7")), pyarrow.array(["7", "07"])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    missing = is_missing(values)
    if missing.any() and field.fill is None:
        raise ValueError(
            f"column {field.name!r} has {missing.sum():,} missing values, the first in "
            f"{place(int(missing.argmax()))}: leave the column out, or remove or impute those rows"
        )
    if field.is_number:
        return np.where(missing, np.nan if field.fill is None else field.fill, values)[:, None]
    hot = one_hot(values, field.values)
    unknown = np.asarray(~hot.any(axis=1))
    if unknown.any():
        texts = [shown(value) for value in field.values if value]
        known = ", ".join(texts[:8]) + (", ..." if len(texts) > 8 else "")
        raise ValueError(
            f"column {field.name!r} has {_cell(values, unknown)} in "
            f"{place(int(unknown.argmax()))}, expected one of its known values: {known}"
        )
    return hot


def column_of(table: Table, name: str) -> Cells:
    """The cells of a column.

    Raises:
        ValueError: if there is none of this name.
    """
    check_column(table.columns, name)
    return table.columns[name]


def check_column(names: Collection[str], name: str) -> None:
    """Raise unless there is a column of this name."""
    if name not in names:
        some = ", ".join([*names][:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "")
        raise ValueError(f"no column {name!r}; the columns are {some}")


Given: TypeAlias = Mapping[str, Mapping[str, Any]]
"""What a user says of columns: their kind, and perhaps their values and marks, by name."""


def read_schema(path: AnyPath) -> Given:
    """What a file in JSON says of columns, to override what would be decided.

    It is an object with a member for each column of which it speaks: an object with the column's
    "kind", one of `KINDS`, and if need be its "missing" marks and its known "values".

    Raises:
        ValueError: for a file that is no such JSON.
        OSError: if the file cannot be read.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "schema.json"
    >>> _ = file.write_text('{"zip": {"kind": "category"}, "id": {"kind": "ignored"}}')
    >>> read_schema(file)["zip"]
    {'kind': 'category'}
    """
    try:
        given = from_json(as_path(path).read_text(encoding="utf-8-sig"), object_pairs_hook=_once)
    except ValueError as error:  # of JSON, of its encoding, or of `_once`
        raise ValueError(f"{path} is no JSON of a schema: {error}") from error
    if not isinstance(given, dict):
        raise ValueError(f"{path} must hold an object of columns by name, got {given!r:.60}")
    for name, says in given.items():
        if fault := _fault_of(says):
            raise ValueError(f"{path}: column {name!r} {fault}")
    return given


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, in which each name is once."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {name!r} is there twice")
        found[name] = value
    return found


def _fault_of(says: Any) -> str:
    """What is wrong with what a schema says of a column, in words."""
    if not isinstance(says, dict) or says.get("kind") not in KINDS:
        return f"must have a kind, one of {', '.join(KINDS)}; got {says!r:.60}"
    for key in set(says) - {"kind"}:
        lists_text = isinstance(says[key], list) and all(isinstance(t, str) for t in says[key])
        if key not in ("missing", "values") or not lists_text:
            return (
                "may have a kind, and lists of texts called missing and values; got "
                f"{key!r}: {says[key]!r:.60}"
            )
    values = says.get("values", [])
    if values and says["kind"] not in ("category", "label"):
        return f"is of the kind {says['kind']}, and only a category or a label has values"
    if len(set(values)) < len(values) or set(values) & set(says.get("missing", [])):
        return f"must have each of its values once, and none of them as missing; got {values!r:.60}"
    return ""


def field_of(name: str, says: Mapping[str, Any]) -> Field:
    """The field of a column of which a user says what it is."""
    missing = tuple(says.get("missing", usual_marks(says["kind"])))
    return Field(name, says["kind"], tuple(says.get("values", ())), missing)


def usual_marks(kind: str) -> tuple[str, ...]:
    """What stands for a missing entry: in a category, nothing but the empty text."""
    return MARKS if kind in ("number", "date") else ("",)


def write_schema(fields: Collection[Field]) -> str:
    """The kinds of columns, and unusual marks, as JSON in the form that `read_schema` reads.

    >>> print(write_schema([Field("zip", "category"), Field("id", "number", missing=("-9",))]))
    {
      "zip": {"kind": "category"},
      "id": {"kind": "number", "missing": ["-9"]}
    }
    """
    lines = []
    for field in fields:
        unusual = field.missing != usual_marks(field.kind)
        says = {"kind": field.kind, **({"missing": field.missing} if unusual else {})}
        name = json.dumps(field.name, ensure_ascii=False)
        lines.append(f"  {name}: {json.dumps(says, ensure_ascii=False)}")
    return "{\n" + ",\n".join(lines) + "\n}"

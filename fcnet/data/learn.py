"""What the columns of a table are, decided by all its rows."""

from collections.abc import Collection, Mapping

import numpy as np

from fcnet.checks import check_type
from fcnet.data.cells import array, mask, release, shown
from fcnet.data.examples import Schema, kept_entries
from fcnet.data.leaks import NUMBERINGS, numberings
from fcnet.data.preprocess import Standardizer, standardizer_of, unscaled
from fcnet.data.read import Table, TableFile
from fcnet.data.schema import (
    MISSING_CHOICES,
    Field,
    Given,
    Values,
    check_column,
    column_of,
    decide,
    field_of,
    interpret,
    is_missing,
    learn,
    too_many,
)
from fcnet.data.survey import MOST_TEXTS, Survey, both, survey, survey_of
from fcnet.losses import get_loss
from fcnet.types import Loss

MEDIAN_ROWS = 2**17
"""The most rows of which a median is computed: of a longer table, every k-th row."""


def learn_schema(
    file: TableFile,
    target: str,
    *,
    features: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    given: Given | None = None,
    missing: str = "error",
    loss: str | Loss = "squared_error",
) -> Schema:
    """What the columns of a file are, by all its rows, of which a block at a time is in memory.

    The file is read twice where a column of numbers turns out to be a category, or rows are dropped
    or imputed.

    Args:
        file: of `open_table`, or a table `in_memory`.
        target: the column to predict: labels if the loss takes distributions over classes, as
            "softmax_cross_entropy" does, else numbers.
        features: the columns to predict it from; by default, all others, without those that say
            nothing: constant ones, texts that are nearly all different, and a column that counts
            the rows.
        categories: the columns of numbers that are names, such as zip codes.
        given: what columns are, of `read_schema`; it overrides what is decided.
        missing: one of `MISSING_CHOICES`; "impute" drops the rows whose target is missing.
        loss: a name or a `Loss`.

    Raises:
        ValueError: for unknown columns, or columns that do not fit; the error says what to do.

    >>> import pyarrow
    >>> from fcnet.data.read import in_memory
    >>> columns = {"sqft": pyarrow.array(["800", "900"]), "price": pyarrow.array(["1", "2"])}
    >>> [field.kind for field in learn_schema(in_memory(Table(columns, 2)), "price").features]
    ['number']
    """
    check_type("file", file, TableFile, "a TableFile of open_table")
    if given is not None:
        check_type("given", given, Mapping, "a dictionary of columns, as read_schema returns it")
    if missing not in MISSING_CHOICES:
        raise ValueError(f"missing must be one of {', '.join(MISSING_CHOICES)}, got {missing!r}")
    names = tuple(dict.fromkeys(features)) or tuple(n for n in file.names if n != target)
    chosen = get_loss(loss)
    says = {**{name: {"kind": "category"} for name in categories}, **(given or {})}
    known = _known(file, target, names, says, chosen)
    found = _survey(file, (*names, target), known)
    fields = _decided(file, names, features, known, found)
    used = tuple(name for name in names if fields[name].kind != "ignored")
    if not used:
        raise ValueError(f"there is no column to predict {target!r} from{_left_out(fields)}")
    fields[target] = _target(
        known.get(target) or decide(target, found[target], file.place), found[target], chosen
    )
    gaps = {name: _missing(fields[name], found[name]) for name in (*used, target)}
    _check_gaps(file, target, gaps, found[target].gap, missing)
    dropped = (*(used if missing == "drop" else ()), target)
    schema = Schema(
        chosen,
        tuple(fields[name] for name in names),
        fields[target],
        found[target].rows,
        tuple(name for name in dropped if gaps[name]),
        {name: _in_words(counts) for name, counts in gaps.items() if counts},
        unscaled(0),
        unscaled(0),
    )
    return _with_learned(schema, file, found, impute=missing == "impute")


def _known(
    file: TableFile, target: str, names: Collection[str], says: Given, loss: Loss
) -> dict[str, Field]:
    """The columns of which a user says what they are; a loss may say that the target is a label."""
    for name in (target, *names, *says):
        check_column(file.names, name)
    if target in names:
        raise ValueError(f"the target {target!r} is among the features: leave it out")
    kind = says.get(target, {}).get("kind", "number")
    if loss.labels.one_hot:
        says = {**says, target: {**says.get(target, {}), "kind": "label"}}
    elif kind not in ("number", "date"):
        raise ValueError(
            f"the target {target!r} is of the kind {kind} in the schema, expected a number: to "
            "learn classes, choose the loss softmax_cross_entropy"
        )
    return {name: field_of(name, says[name]) for name in (*names, target) if name in says}


def _left_out(fields: Mapping[str, Field]) -> str:
    """The ignored columns, and why, in words."""
    notes = {name: field.note and f" ({field.note})" for name, field in fields.items()}
    left_out = ", ".join(f"{name!r}{note}" for name, note in notes.items())
    return f"; left out are {left_out}" if left_out else ""


def _survey(
    file: TableFile, names: Collection[str], known: Mapping[str, Field]
) -> dict[str, Survey]:
    """What is known of these columns, by all rows.

    Where a column turns out to be a category but some of its cells were read as numbers, all are
    read again, as they are written.
    """
    text = {name for name, field in known.items() if field.kind not in ("number", "ignored")}
    found: dict[str, Survey] = {}
    look = tuple(name for name in names if name not in known or known[name].kind != "ignored")
    again: set[str] = set()
    while look:
        for table in file.blocks((*text, *again)):
            for name in look:
                one = _survey_block(table, name, known.get(name), name in again)
                found[name] = both(found[name], one) if table.first and name in found else one
        unread = {
            name
            for name in look
            if name not in known
            and found[name].texts is None
            and decide(name, found[name], file.place).kind == "category"
        }
        look, again = tuple(unread - again), again | unread
    return found


def _survey_block(table: Table, name: str, field: Field | None, texts: bool) -> Survey:
    cells = column_of(table, name)
    if field is None:
        return survey(cells, table.decimal, table.first, texts=texts)
    entries = interpret(field, table)
    return survey_of(cells, entries, is_missing(entries), table.first)


def _decided(
    file: TableFile,
    names: Collection[str],
    chosen: Collection[str],
    known: Mapping[str, Field],
    found: Mapping[str, Survey],
) -> dict[str, Field]:
    """What the features are; of these, a user has `chosen` some, and said of some what they are."""
    fields = {name: known.get(name) or decide(name, found[name], file.place) for name in names}
    for name, field in fields.items():
        if name in chosen and name not in known and field.kind == "ignored":
            raise ValueError(
                f"column {name!r} is of no use ({field.note}): leave it out of the features"
            )
    numbers = {name: found[name] for name in names if fields[name].kind == "number"}
    for name, note in numberings(file, numbers).items():
        keep = name in known or name in chosen or len(names) == 1 or note not in NUMBERINGS
        fields[name] = fields[name]._replace(note=note, kind="number" if keep else "ignored")
    return fields


def _target(field: Field, found: Survey, loss: Loss) -> Field:
    """The target, once it can be one; a regression on 0 and 1 is noted."""
    if field.kind == "label":
        return field
    if field.note.startswith("constant"):
        raise ValueError(f"the target {field.name!r} is {field.note}: nothing to learn")
    if field.note == "empty":
        raise ValueError(f"the target {field.name!r} is empty")
    if not field.is_number:
        text = shown(next(iter(found.texts or {}), "")) + (field.note and f" ({field.note})")
        raise ValueError(
            f"the target {field.name!r} is text, such as {text}: to learn classes, choose the loss "
            "softmax_cross_entropy, or choose another target"
        )
    if loss.is_scalable and found.moments is not None and found.moments.binary.all():
        note = "0 or 1 in each row: for probabilities, choose the loss logistic"
        return field._replace(note=note)
    return field


def _missing(field: Field, found: Survey) -> Mapping[str, int]:
    """How often each mark of a missing entry is there."""
    if field.is_number:
        return found.missing
    return {mark: often for mark, often in found.missing.items() if mark in field.missing}


def _check_gaps(
    file: TableFile,
    target: str,
    gaps: Mapping[str, Mapping[str, int]],
    first: int | None,
    missing: str,
) -> None:
    """Raise for missing entries, if they are errors."""
    count = {name: sum(marks.values()) for name, marks in gaps.items() if marks}
    if missing != "error" or not count:
        return
    if target in count and first is not None:
        raise ValueError(
            f"the target {target!r} has {count[target]:,} missing, the first in "
            f"{file.place(first)}: choose 'drop' for missing, which drops such rows"
        )
    found = ", ".join(f"{often:,} in {name!r}" for name, often in count.items())
    raise ValueError(
        f"missing entries: {found}; choose 'drop' or 'impute' for missing, or leave these columns "
        "out"
    )


def _in_words(marks: Mapping[str, int]) -> str:
    shown = ", ".join(repr(mark) for mark in sorted(marks) if mark)
    return f"{sum(marks.values()):,} missing" + (f" ({shown})" if shown else "")


def _entries(schema: Schema, file: TableFile) -> tuple[dict[str, Values], int]:
    """The entries of each column in the rows that are kept, and how many rows these are.

    They are all the texts of a category, and the numbers of at most `MEDIAN_ROWS`.
    """
    step = -(-schema.rows // MEDIAN_ROWS)
    numbers: dict[str, list[np.ndarray]] = {}
    texts: dict[str, set[str]] = {}
    kept = 0
    for table in file.blocks(schema.text):
        entries, keep = kept_entries(schema, table)
        kept += int(keep.sum())
        some = keep & ((table.first + np.arange(table.rows)) % step == 0)
        for name, values in entries.items():
            if isinstance(values, np.ndarray):
                numbers.setdefault(name, []).append(values[some])
            else:
                texts.setdefault(name, set()).update(values.filter(mask(keep)).unique().to_pylist())
    if not kept:
        raise ValueError(f"every row has a missing entry in one of {', '.join(schema.dropped)}")
    found = {name: array(tuple(sorted(words))) for name, words in texts.items()}
    return found | {name: np.concatenate(blocks) for name, blocks in numbers.items()}, kept


def _with_learned(
    schema: Schema, file: TableFile, found: Mapping[str, Survey], *, impute: bool
) -> Schema:
    """The schema with the values, the fills and the scales of its columns."""
    target, rows = schema.target.name, schema.rows
    entries = {
        field.name: array(tuple(found[field.name].texts or ()))
        for field in (*schema.used, schema.target)
        if not field.is_number
    }
    if schema.dropped or impute:
        entries, rows = _entries(schema, file)
    features = tuple(
        field if field.kind == "ignored" else _learned(field, entries.get(field.name), rows, impute)
        for field in schema.features
    )
    release()
    goal = _learned_target(schema.target, entries.get(target), rows)
    schema = schema._replace(features=features, target=goal)
    scales = [_scales(field, found[field.name]) for field in schema.used]
    return schema._replace(
        scales=Standardizer(*map(np.concatenate, zip(*scales, strict=True))),
        target_scales=_scales(goal, found[target])
        if schema.loss.is_scalable
        else unscaled(len(goal.inputs)),
    )


def _learned(field: Field, entries: Values | None, rows: int, fill: bool) -> Field:
    """A feature with its values, and what replaces a missing entry."""
    if entries is None:
        return field
    given = bool(field.values)
    field = learn(field, entries, fill=fill)
    if not given and too_many(sum(map(bool, field.values)), rows):  # the empty text is none
        raise ValueError(
            f"column {field.name!r} is a category with {_many(field.values)} values in {rows:,} "
            "rows, too many to learn from: leave it out"
        )
    return field


def _learned_target(field: Field, entries: Values | None, rows: int) -> Field:
    """The target with its classes, if it has any."""
    if field.is_number:
        if entries is not None and len(entries) == rows and np.ptp(entries) == 0:
            raise ValueError(f"the target {field.name!r} is constant: nothing to learn")
        return field
    field = learn(field, entries)
    if len(field.values) < 2:
        raise ValueError(
            f"the target {field.name!r} is {shown(field.values[0])} in every row: nothing to learn"
        )
    if too_many(len(field.values), rows):
        raise ValueError(
            f"the target {field.name!r} has {_many(field.values)} classes in {rows:,} rows, "
            "too many to learn: for numbers, choose the loss squared_error"
        )
    return field


def _many(values: Collection[str]) -> str:
    most = len(values) > MOST_TEXTS  # and there may be more, which are not counted
    return f"more than {MOST_TEXTS:,}" if most else f"{len(values):,}"


def _scales(field: Field, found: Survey) -> Standardizer:
    """About the mean and the scale of the inputs of a column; those of 0 and 1 stay so."""
    if not field.is_number or found.moments is None or found.moments.binary.all():
        return unscaled(len(field.inputs))
    return standardizer_of(found.moments)

"""The training examples of a table."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from fcnet.checks import check_type
from fcnet.data.cells import array, as_numbers
from fcnet.data.preprocess import Standardizer, standardizer_of, unscaled
from fcnet.data.read import Table, TableFile, in_memory, part
from fcnet.data.schema import (
    MISSING_CHOICES,
    Field,
    Given,
    Values,
    check_column,
    column_of,
    decide,
    encode,
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

BLOCK_BYTES = 2**21
"""The rows of a table become inputs in blocks of at most this many bytes, or of one row."""


class Schema(NamedTuple):
    """What the columns of a file are, for one target.

    Attributes:
        loss: that of the network.
        features: what the columns are, the ignored ones, too.
        target: what the target is; a label has its classes in the order of Y's columns.
        rows: how many rows the file has.
        dropped: the columns whose missing entries drop a row.
        missing: how many entries of a column are missing, and their marks, by name, in words.
        scales, target_scales: about the means and the scales of inputs and targets, those of all
            rows of the file. What is standardised so may be stored in float32 before it is known
            which rows are to be trained on.
    """

    loss: Loss
    features: tuple[Field, ...]
    target: Field
    rows: int
    dropped: tuple[str, ...]
    missing: Mapping[str, str]
    scales: Standardizer
    target_scales: Standardizer

    @property
    def used(self) -> tuple[Field, ...]:
        """The features that are not ignored."""
        return tuple(field for field in self.features if field.kind != "ignored")

    @property
    def text(self) -> tuple[str, ...]:
        """The columns whose text matters."""
        return tuple(f.name for f in (*self.used, self.target) if f.kind != "number")


class Rows(NamedTuple):
    """Some examples: inputs and targets before they are standardised, and their rows."""

    X: Float[np.ndarray, "n d"]
    Y: Float[np.ndarray, "n m_r"]
    rows: Int[np.ndarray, " n"]


class Examples(NamedTuple):
    """n examples: their columns, X of shape (n, d) and Y of shape (n, m_r).

    Attributes:
        features: what the columns are, the ignored ones, too.
        target: what the target is; a label has its classes in the order of Y's columns.
        X, Y: inputs and targets, before they are standardised.
        rows: the rows of the table that they are, shape (n,).
        missing: how many entries of a column are missing, before rows are dropped, and their marks,
            by name, in words.
    """

    features: tuple[Field, ...]
    target: Field
    X: Float[np.ndarray, "n d"]
    Y: Float[np.ndarray, "n m_r"]
    rows: Int[np.ndarray, " n"]
    missing: Mapping[str, str]


def make_examples(
    table: Table,
    target: str,
    *,
    features: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    given: Given | None = None,
    missing: str = "error",
    loss: str | Loss = "squared_error",
) -> Examples:
    """The examples of a table.

    Args:
        table: the columns of a file.
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
    >>> columns = {"sqft": pyarrow.array(["800", "900"]), "price": pyarrow.array(["1", "2"])}
    >>> make_examples(Table(columns, 2), "price").X.tolist()
    [[800.0], [900.0]]
    """
    check_type("table", table, Table, "a Table of read_table")
    file = in_memory(table)
    schema = learn_schema(
        file, target, features=features, categories=categories, given=given, missing=missing,
        loss=loss,
    )  # fmt: skip
    X, Y, rows = map(np.concatenate, zip(*rows_of(schema, file), strict=True))
    told = with_giveaways(schema, X, Y)
    return Examples(told.features, schema.target, X, Y, rows, schema.missing)


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

    Arguments, and errors, are those of `make_examples`. The file is read twice where a column of
    numbers turns out to be a category, or rows are dropped or imputed.
    """
    if missing not in MISSING_CHOICES:
        raise ValueError(f"missing must be one of {', '.join(MISSING_CHOICES)}, got {missing!r}")
    names = tuple(dict.fromkeys(features)) or tuple(n for n in file.names if n != target)
    says = {**{name: {"kind": "category"} for name in categories}, **(given or {})}
    for name in (target, *names, *says):
        check_column(file.names, name)
    if target in names:
        raise ValueError(f"the target {target!r} is among the features: leave it out")
    chosen = get_loss(loss)
    if chosen.labels.one_hot:
        says[target] = {**says.get(target, {}), "kind": "label"}
    elif says.get(target, {}).get("kind", "number") not in ("number", "date"):
        raise ValueError(
            f"the target {target!r} is of the kind {says[target]['kind']} in the schema, expected "
            "a number: to learn classes, choose the loss softmax_cross_entropy"
        )
    known = {name: field_of(name, says[name]) for name in (*names, target) if name in says}
    found = _survey(file, (*names, target), known)
    fields = {}
    for name in names:
        field = known.get(name) or decide(name, found[name])
        if name in features and name not in known and field.kind == "ignored":
            raise ValueError(
                f"column {name!r} is of no use ({field.note}): leave it out of the features"
            )
        if field.kind == "number" and (note := _numbering(file, name, found[name])):
            keep = name in says or name in features or len(names) == 1 or note not in NUMBERINGS
            field = field._replace(note=note) if keep else Field(name, "ignored", note=note)
        fields[name] = field
    used = tuple(name for name in names if fields[name].kind != "ignored")
    if not used:
        notes = {name: fields[name].note and f" ({fields[name].note})" for name in names}
        left_out = ", ".join(f"{name!r}{note}" for name, note in notes.items())
        raise ValueError(
            f"there is no column to predict {target!r} from"
            + (f"; left out are {left_out}" if left_out else "")
        )
    fields[target] = _target(known.get(target) or decide(target, found[target]), found[target])
    gaps = {name: _missing(fields[name], found[name]) for name in (*used, target)}
    _check_gaps(target, gaps, found[target].gap, missing)
    dropped = (*(used if missing == "drop" else ()), target)
    rows = found[target].rows
    schema = Schema(
        chosen,
        tuple(fields[name] for name in names),
        fields[target],
        rows,
        tuple(name for name in dropped if gaps[name]),
        {name: _in_words(counts) for name, counts in gaps.items() if counts},
        unscaled(0),
        unscaled(0),
    )
    texts = {name: found[name].texts for name in (*used, target) if not fields[name].is_number}
    entries = {name: array(tuple(words or ())) for name, words in texts.items()}
    if schema.dropped or missing == "impute":
        entries, rows = _entries(schema, file)
    fields |= {
        name: _learned(fields[name], entries.get(name), rows, missing == "impute") for name in used
    }
    goal = _learned_target(fields[target], entries.get(target), rows)
    scales = [_scales(fields[name], found[name]) for name in used]
    return schema._replace(
        features=tuple(fields[name] for name in names),
        target=goal,
        scales=Standardizer(*map(np.concatenate, zip(*scales, strict=True))),
        target_scales=_scales(goal, found[target])
        if chosen.is_scalable
        else unscaled(len(goal.inputs)),
    )


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
        unread = {name for name in look if name not in known and _is_unread(name, found[name])}
        look, again = tuple(unread - again), again | unread
    return found


def _survey_block(table: Table, name: str, field: Field | None, texts: bool) -> Survey:
    cells = column_of(table, name)
    if field is None:
        return survey(cells, table.decimal, table.first, texts=texts)
    entries = interpret(field, cells, table.decimal, table.first)
    return survey_of(cells, entries, is_missing(entries), table.first)


def _is_unread(name: str, found: Survey) -> bool:
    """Whether a column is a category of which some texts were not looked at."""
    return found.texts is None and decide(name, found).kind == "category"


def _target(field: Field, found: Survey) -> Field:
    """The target, once it can be one."""
    if field.kind == "label":
        return field
    if field.note.startswith("constant"):
        raise ValueError(f"the target {field.name!r} is {field.note}: nothing to learn")
    if field.note == "empty":
        raise ValueError(f"the target {field.name!r} is empty")
    if not field.is_number:
        text = repr(next(iter(found.texts or {}), "")) + (field.note and f" ({field.note})")
        raise ValueError(
            f"the target {field.name!r} is text, such as {text}: to learn classes, choose the loss "
            "softmax_cross_entropy, or choose another target"
        )
    return field


def _missing(field: Field, found: Survey) -> Mapping[str, int]:
    """How often each mark of a missing entry is there."""
    if field.is_number:
        return found.missing
    return {mark: often for mark, often in found.missing.items() if mark in field.missing}


def _check_gaps(
    target: str, gaps: Mapping[str, Mapping[str, int]], first: int | None, missing: str
) -> None:
    """Raise for missing entries, if they are errors."""
    count = {name: sum(marks.values()) for name, marks in gaps.items() if marks}
    if missing != "error" or not count:
        return
    if target in count:
        raise ValueError(
            f"the target {target!r} has {count[target]:,} missing entries, the first in row "
            f"{first}: drop such rows"
        )
    found = ", ".join(f"{often:,} in {name!r}" for name, often in count.items())
    raise ValueError(
        f"missing entries: {found}; drop such rows, impute the entries, or leave these columns out"
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
        entries, keep = _kept(schema, table)
        kept += int(keep.sum())
        some = keep & ((table.first + np.arange(table.rows)) % step == 0)
        for name, values in entries.items():
            if isinstance(values, np.ndarray):
                numbers.setdefault(name, []).append(values[some])
            else:
                texts.setdefault(name, set()).update(values.filter(keep).unique().to_pylist())
    if not kept:
        raise ValueError(f"every row has a missing entry in one of {', '.join(schema.dropped)}")
    found = {name: array(tuple(sorted(words))) for name, words in texts.items()}
    return found | {name: np.concatenate(blocks) for name, blocks in numbers.items()}, kept


def _kept(schema: Schema, table: Table) -> tuple[dict[str, Values], Bool[np.ndarray, " n"]]:
    """The entries of the columns of some rows, and which rows are kept."""
    entries = {
        field.name: interpret(field, column_of(table, field.name), table.decimal, table.first)
        for field in (*schema.used, schema.target)
    }
    keep = np.ones(table.rows, bool)
    for name in schema.dropped:
        keep &= ~is_missing(entries[name])
    return entries, keep


def _learned(field: Field, entries: Values | None, rows: int, fill: bool) -> Field:
    """A feature with its values, and what replaces a missing entry."""
    if entries is None:
        return field
    given = bool(field.values)
    field = learn(field, entries, fill=fill)
    if not given and too_many(len(field.values), rows):
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
            f"the target {field.name!r} is {field.values[0]!r} in every row: nothing to learn"
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


def rows_of(
    schema: Schema, file: TableFile, groups: Collection[int] | None = None
) -> Iterator[Rows]:
    """The examples of a file, a block of rows at a time.

    Args:
        schema: of `learn_schema`.
        file: the same file, or another one with its columns.
        groups: the groups of rows to read, by default all.

    Raises:
        ValueError: for a missing column, or a cell that its field does not take, with its row.
    """
    fields = (*schema.used, schema.target)
    most = max(1, BLOCK_BYTES // (8 * sum(len(field.inputs) for field in fields)))
    blocks = file.blocks(schema.text, *(() if groups is None else (groups,)))
    for table in blocks:
        for begin in range(0, table.rows, most):
            rows = _rows(schema, part(table, begin, most))
            if len(rows.X):
                yield rows


def _rows(schema: Schema, table: Table) -> Rows:
    entries, keep = _kept(schema, table)
    rows = table.first + np.flatnonzero(keep)

    def inputs(field: Field) -> np.ndarray:
        values = entries[field.name]
        kept = values[keep] if isinstance(values, np.ndarray) else values.filter(keep)
        return encode(field, kept, rows)

    Y = inputs(schema.target)
    wrong = ~np.broadcast_to(np.asarray(schema.loss.labels.accepts(Y)), Y.shape).all(axis=1)
    if wrong.any():
        raise ValueError(
            f"the target {schema.target.name!r} has {Y[wrong][0, 0]:g} in row {rows[wrong][0]}, "
            f"expected {schema.loss.labels.description}, for the loss {schema.loss.name}"
        )
    return Rows(np.hstack([inputs(field) for field in schema.used]), Y, rows)


def with_giveaways(schema: Schema, X: np.ndarray, Y: np.ndarray) -> Schema:
    """The schema with a note on each feature whose inputs alone say what the target is."""
    ends = np.cumsum([len(field.inputs) for field in schema.used])
    blocks = dict(zip((f.name for f in schema.used), np.split(X, ends[:-1], axis=1), strict=True))
    note = "determines the target; is it known beforehand?"
    return schema._replace(
        features=tuple(
            field._replace(note=note)
            if field.name in blocks and gives_away(blocks[field.name], Y, schema.loss)
            else field
            for field in schema.features
        )
    )


NUMBERINGS = COUNTS, INDEX = "counts the rows", "whole numbers without a name, all different"
"""What is said of columns that number the rows, which are left out."""

NAMELESS = re.compile(r"(Unnamed: \d+)?")
"""What a column is called whose name is empty: pandas makes up a name, and may write it."""


def _numbering(file: TableFile, name: str, found: Survey) -> str:
    """What to say of a column whose numbers may be those of the rows.

    >>> import pyarrow
    >>> file = in_memory(Table({"n": pyarrow.array([1, 2, 3])}, 3))
    >>> _numbering(file, "n", survey(pyarrow.array([1, 2, 3])))
    'counts the rows'
    >>> _numbering(file, "n", survey(pyarrow.array([1950, 1951, 1952])))
    'each of 1950 to 1952 once; does it number the rows?'
    """
    n, moments, steps = found.rows, found.moments, found.steps
    if n < 3 or moments is None or found.numbers < n or found.fractions:
        return ""
    begins = found.ends is not None and found.ends[0] in (0, 1)
    if begins and steps is not None and steps[0] == steps[1] == 1:
        return COUNTS
    if NAMELESS.fullmatch(name) and _all_different(file, name):
        return INDEX
    (least,), (most,) = moments.least, moments.most
    if most - least == n - 1 and _all_different(file, name):
        return f"each of {least:g} to {most:g} once; does it number the rows?"
    if steps and n >= 10 and steps[0] * steps[1] > 0:
        return f"{'rises' if steps[0] > 0 else 'falls'} in every row; does it number the rows?"
    return ""


def _all_different(file: TableFile, name: str) -> bool:
    """Whether the numbers of a column, which has no others, are all different."""
    blocks = [as_numbers(table.columns[name]).values for table in file.blocks(())]
    return bool((np.diff(np.sort(np.concatenate(blocks))) > 0).all())


def gives_away(block: Float[np.ndarray, "n m"], Y: Float[np.ndarray, "n m_r"], loss: Loss) -> bool:
    """Whether the inputs of one column alone say what the target is, each way.

    A number does so for numbers where their correlation is 1 to six digits; any column does for
    classes where it is the same in all rows of a class and another for every class.

    >>> Y = np.array([[1.0], [2.0], [3.0]])
    >>> loss = get_loss("squared_error")
    >>> gives_away(1.1 * Y, Y, loss), gives_away(Y**2, Y, loss)
    (True, False)
    """
    if not loss.labels.one_hot and set(np.unique(Y[:2000])) != {0, 1}:
        if block.shape[1] > 1:
            return False
        x, y = (a[:, 0].astype(np.float64) for a in (block, Y))
        x, y = x - x.mean(), y - y.mean()
        x, y = (a / (np.abs(a).max() or 1) for a in (x, y))
        size = np.linalg.norm(x) * np.linalg.norm(y)
        return bool(size > 0 and abs(x @ y) > (1 - 1e-6) * size)
    classes = Y @ np.arange(1, Y.shape[1] + 1)
    _, first, which = np.unique(classes, return_index=True, return_inverse=True)
    patterns = block[first]
    apart = len(np.unique(patterns, axis=0)) == len(first)
    return apart and bool((block == patterns[which]).all())

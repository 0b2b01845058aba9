"""The training examples of a table."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from fcnet.data.cells import Cells, as_text, distinct
from fcnet.data.read import Table
from fcnet.data.schema import (
    MISSING_CHOICES,
    Field,
    Given,
    Values,
    column_of,
    decide,
    encode,
    field_of,
    interpret,
    is_missing,
    learn,
    too_many,
)
from fcnet.losses import get_loss
from fcnet.types import Loss


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
    if missing not in MISSING_CHOICES:
        raise ValueError(f"missing must be one of {', '.join(MISSING_CHOICES)}, got {missing!r}")
    names = tuple(dict.fromkeys(features)) or tuple(n for n in table.columns if n != target)
    says = {**{name: {"kind": "category"} for name in categories}, **(given or {})}
    for name in (target, *names, *says):
        column_of(table, name)
    if target in names:
        raise ValueError(f"the target {target!r} is among the features: leave it out")
    fields, values = {}, {}
    for name in names:
        field, entries = _decided(table, name, says, asked=name in features)
        if field.kind == "number" and (note := _numbering(name, entries)):
            chosen = name in says or name in features or len(names) == 1 or note not in NUMBERINGS
            field = field._replace(note=note) if chosen else Field(name, "ignored", note=note)
        fields[name], values[name] = field, entries
    used = tuple(name for name in names if fields[name].kind != "ignored")
    if not used:
        left_out = ", ".join(f"{name!r} ({fields[name].note})" for name in names)
        raise ValueError(
            f"there is no column to predict {target!r} from"
            + (f"; left out are {left_out}" if left_out else "")
        )
    goal, goals = _target(table, target, says, get_loss(loss))
    gaps = {name: is_missing(values[name]) for name in used}
    absent = is_missing(goals)
    told = {
        name: _gaps_in_words(column_of(table, name), gap)
        for name, gap in {**gaps, target: absent}.items()
        if gap.any()
    }
    keep = _kept(target, gaps, absent, missing)
    if not keep.all():
        goals, values = _rows(goals, keep), {name: _rows(values[name], keep) for name in used}
    learned = {name: _learned(fields[name], values[name], missing == "impute") for name in used}
    rows = np.flatnonzero(keep)
    blocks = {name: encode(field, values[name], rows) for name, field in learned.items()}
    goal = _learned_target(goal, goals)
    Y = encode(goal, goals, rows)
    _check_labels(target, Y, rows, get_loss(loss))
    for name, block in blocks.items():
        if gives_away(block, Y, get_loss(loss)):
            note = "determines the target; is it known beforehand?"
            learned[name] = learned[name]._replace(note=note)
    final = tuple(learned.get(name, fields[name]) for name in names)
    return Examples(final, goal, np.hstack(list(blocks.values())), Y, rows, told)


def _decided(table: Table, name: str, says: Given, *, asked: bool = False) -> tuple[Field, Values]:
    """What a column is, and its entries."""
    cells = column_of(table, name)
    if name in says:
        field = field_of(name, says[name])
        return field, interpret(field, cells, table.decimal)
    field, values = decide(name, cells, table.decimal)
    if asked and field.kind == "ignored":
        raise ValueError(
            f"column {name!r} is of no use ({field.note}): leave it out of the features"
        )
    return field, values


def _target(table: Table, name: str, says: Given, loss: Loss) -> tuple[Field, Values]:
    """What the target is, and its entries."""
    cells = column_of(table, name)
    if loss.labels.one_hot:
        field = field_of(name, {**says.get(name, {}), "kind": "label"})
        return field, interpret(field, cells)
    field, values = _decided(table, name, says)
    if field.note.startswith("constant"):
        raise ValueError(f"the target {name!r} is {field.note}: nothing to learn")
    if field.note == "empty":
        raise ValueError(f"the target {name!r} is empty")
    if not field.is_number and name in says:
        raise ValueError(
            f"the target {name!r} is of the kind {field.kind} in the schema, expected a number: to "
            "learn classes, choose the loss softmax_cross_entropy"
        )
    if not field.is_number:
        raise ValueError(
            f"the target {name!r} is text, such as {as_text(cells)[0].as_py()!r}"
            f"{field.note and f' ({field.note})'}: to learn classes, choose the loss "
            "softmax_cross_entropy, or choose another target"
        )
    return field, values


def _kept(
    target: str, gaps: Mapping[str, Bool[np.ndarray, " n"]], absent: np.ndarray, missing: str
) -> Bool[np.ndarray, " n"]:
    """The rows to train on."""
    if missing == "error":
        if absent.any():
            raise ValueError(
                f"the target {target!r} has {absent.sum():,} missing entries, the first in row "
                f"{absent.argmax()}: drop such rows"
            )
        found = ", ".join(f"{gap.sum():,} in {name!r}" for name, gap in gaps.items() if gap.any())
        if found:
            raise ValueError(
                f"missing entries: {found}; drop such rows, impute the entries, or leave these "
                "columns out"
            )
    dropped = [absent, *(gaps.values() if missing == "drop" else ())]
    keep = ~np.any(dropped, axis=0)
    if not keep.any():
        raise ValueError(f"every row has a missing entry in one of {', '.join((target, *gaps))}")
    return keep


def _gaps_in_words(cells: Cells, missing: Bool[np.ndarray, " n"]) -> str:
    marks = [mark for mark in distinct(as_text(cells.filter(missing))) if mark]
    return f"{missing.sum():,} missing" + (f" ({', '.join(map(repr, marks))})" if marks else "")


def _rows(values: Values, keep: Bool[np.ndarray, " n"]) -> Values:
    return values[keep] if isinstance(values, np.ndarray) else values.filter(keep)


def _learned(field: Field, values: Values, fill: bool) -> Field:
    if not field.is_number and not field.values:
        field = learn(field, values, fill=fill)
        if too_many(len(field.values), len(values)):
            raise ValueError(
                f"column {field.name!r} is a category with {len(field.values):,} values in "
                f"{len(values):,} rows, too many to learn from: leave it out"
            )
        return field
    return learn(field, values, fill=fill)


def _learned_target(field: Field, values: Values) -> Field:
    """The target with its classes, if it has any."""
    if field.is_number:
        if np.ptp(values) == 0:
            raise ValueError(f"the target {field.name!r} is constant: nothing to learn")
        return field
    field = learn(field, values)
    if len(field.values) < 2:
        raise ValueError(
            f"the target {field.name!r} is {field.values[0]!r} in every row: nothing to learn"
        )
    if too_many(len(field.values), len(values)):
        raise ValueError(
            f"the target {field.name!r} has {len(field.values):,} classes in {len(values):,} rows, "
            "too many to learn: for numbers, choose the loss squared_error"
        )
    return field


def _check_labels(
    target: str, Y: Float[np.ndarray, "n m_r"], rows: Int[np.ndarray, " n"], loss: Loss
) -> None:
    """Raise unless the loss takes these targets."""
    wrong = ~np.broadcast_to(np.asarray(loss.labels.accepts(Y)), Y.shape).all(axis=1)
    if wrong.any():
        raise ValueError(
            f"the target {target!r} has {Y[wrong][0, 0]:g} in row {rows[wrong][0]}, expected "
            f"{loss.labels.description}, for the loss {loss.name}"
        )


NUMBERINGS = COUNTS, INDEX = "counts the rows", "whole numbers without a name, all different"
"""What is said of columns that number the rows, which are left out."""

NAMELESS = re.compile(r"(Unnamed: \d+)?")
"""What a column is called whose name is empty: pandas makes up a name, and may write it."""


def _numbering(name: str, values: Float[np.ndarray, " n"]) -> str:
    """What to say of a column whose numbers may be those of the rows."""
    n = len(values)
    if n < 3 or not (values == np.floor(values)).all():  # nor is it if a number is missing
        return ""
    if counts_rows(values):
        return COUNTS
    if NAMELESS.fullmatch(name) and len(np.unique(values)) == n:
        return INDEX
    least, most = values.min(), values.max()
    if most - least == n - 1 and (np.sort(values) == np.arange(least, most + 1)).all():
        return f"each of {least:g} to {most:g} once; does it number the rows?"
    steps = np.sign(np.diff(values))
    if n >= 10 and steps[0] and (steps == steps[0]).all():
        return f"{'rises' if steps[0] > 0 else 'falls'} in every row; does it number the rows?"
    return ""


def counts_rows(values: Float[np.ndarray, " n"]) -> bool:
    """Whether a column of numbers is 0, 1, 2, ... or 1, 2, 3, ..., in the order of the rows.

    >>> counts_rows(np.array([1.0, 2.0, 3.0])), counts_rows(np.array([1950.0, 1951.0, 1952.0]))
    (True, False)
    """
    return len(values) > 2 and values[0] in (0, 1) and bool((np.diff(values) == 1).all())


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
        x, y = (a[:, 0] - a[:, 0].mean() for a in (block, Y))
        x, y = (a / (np.abs(a).max() or 1) for a in (x, y))
        size = np.linalg.norm(x) * np.linalg.norm(y)
        return bool(size > 0 and abs(x @ y) > (1 - 1e-6) * size)
    classes = Y @ np.arange(1, Y.shape[1] + 1)
    _, first, which = np.unique(classes, return_index=True, return_inverse=True)
    patterns = block[first]
    apart = len(np.unique(patterns, axis=0)) == len(first)
    return apart and bool((block == patterns[which]).all())

"""Rows of the tables: looked up by name, checked where they are the caller's own, and pickled."""

import copyreg
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax

from fcnet.types import Activation, Labels, Loss

Row = TypeVar("Row", Activation, Loss)


def look_up(kind: str, table: Mapping[str, Row], choice: str | Row) -> Row:
    """The row of `table` called `choice`; a row itself is returned as it is."""
    if isinstance(choice, str):
        return look_up_name(kind, table, choice)
    expected = type(next(iter(table.values())))
    if not isinstance(choice, expected):
        needed = [name for name in expected._fields if name not in expected._field_defaults]
        raise TypeError(
            f"{kind} must be a name such as {next(iter(table))!r}, or "
            f"fcnet.{expected.__name__}({', '.join(needed)}), got {type(choice).__name__}"
        )
    check_fields(kind, choice)
    return choice


def is_text(value: object) -> bool:
    """Whether a field is text, such as a row's name."""
    return isinstance(value, str)


def is_labels(value: object) -> bool:
    """Whether a field is a `Labels` of text and a function."""
    return isinstance(value, Labels) and is_text(value.description) and callable(value.accepts)


FIELDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "name": (is_text, "text"),
    "labels": (is_labels, "a fcnet.Labels of text and a function"),
    "draw": (lambda value: value is None or callable(value), "a function or None"),
    "formula": (is_text, "text"),
    "mean_name": (is_text, "text"),
}
"""By field of a row: whether a value is right for it, and what it must be. Others are functions."""


def check_fields(kind: str, row: Row) -> None:
    """Raise TypeError unless each field of a row is of its type, and the row is hashable."""
    for field, value in row._asdict().items():
        is_right, expected = FIELDS.get(field, (callable, "a function"))
        if not is_right(value):
            raise TypeError(f"{kind}.{field} must be {expected}, got {value!r:.60}")
    try:
        hash(row)
    except TypeError as error:
        raise TypeError(
            f"{kind} {row.name!r} must have hashable fields, for JAX to know it again: {error}"
        ) from error


def check_result(
    kind: str, row: Row, field: str, expected: tuple[int, ...], *vectors: jax.ShapeDtypeStruct
) -> None:
    """Raise unless a function of a row returns an array of this shape. It is only traced."""
    call = f"{kind}.{field} of {row.name!r}, for vectors of shape {vectors[0].shape},"
    try:
        result = jax.eval_shape(getattr(row, field), *vectors)
    except Exception as error:
        raise TypeError(
            f"{call} must be a function of {len(vectors)} JAX array{'s' * (len(vectors) > 1)}; it "
            f"raised {type(error).__name__}: {error}"
        ) from error
    shape = getattr(result, "shape", None)
    if shape != expected:
        got = type(result).__name__ if shape is None else f"shape {shape}"
        raise ValueError(f"{call} must return an array of shape {expected}, got {got}")


def pickle_by_name(table: Mapping[str, Row], get: Callable[[str], Row]) -> None:
    """Let `pickle` store the rows of `table` by name, since it cannot store their functions.

    `get(name)` restores the same row. A row of the caller's own is stored as other named tuples
    are, even if it has a name of the table.
    """

    def reduce(row: Row) -> Any:
        return (get, (row.name,)) if table.get(row.name) is row else row.__reduce_ex__(4)

    copyreg.pickle(type(next(iter(table.values()))), reduce)


def look_up_name(kind: str, table: Mapping[str, Any], name: object) -> Any:
    """The row of `table` called `name`, where only a name will do."""
    known = ", ".join(map(repr, table))
    if not isinstance(name, str):
        raise TypeError(f"{kind} must be a name, one of {known}, got {type(name).__name__}")
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r}; known are {known}")
    return table[name]

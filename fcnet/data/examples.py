"""The training examples of a table."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from fcnet.data.model import inputs_of
from fcnet.data.schema import (
    MISSING_CHOICES,
    Column,
    Feature,
    as_text,
    drop_incomplete,
    is_missing,
    is_numeric,
    learn_features,
)
from fcnet.losses import get_loss
from fcnet.types import Loss


class Examples(NamedTuple):
    """n examples: their columns, their features, X of shape (n, d) and Y of shape (n, m_r).

    `classes` are the values of a target that is a category, in the order of Y's columns.
    """

    columns: Mapping[str, Column]
    features: tuple[Feature, ...]
    classes: tuple[str, ...]
    X: Float[np.ndarray, "n d"]
    Y: Float[np.ndarray, "n m_r"]


def make_examples(
    columns: Mapping[str, Column],
    target: str,
    *,
    features: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    missing: str = "error",
    loss: str | Loss = "squared_error",
) -> Examples:
    """The examples of a table.

    Args:
        columns: arrays of shape (n,), by name.
        target: the column to predict: categories if the loss takes distributions over classes, as
            "softmax_cross_entropy" does, else numbers.
        features: the columns to predict it from; by default, all others.
        categories: the columns of numbers that are names, such as zip codes.
        missing: one of `MISSING_CHOICES`; "impute" drops the rows whose target is missing.
        loss: a name or a `Loss`.

    Raises:
        ValueError: for unknown columns, or columns that do not fit; the error says what to do.

    >>> table = {"sqft": np.array([800.0, 900.0]), "price": np.array([1.0, 2.0])}
    >>> make_examples(table, "price").X.tolist()
    [[800.0], [900.0]]
    """
    if missing not in MISSING_CHOICES:
        raise ValueError(f"missing must be one of {', '.join(MISSING_CHOICES)}, got {missing!r}")
    names = features or tuple(name for name in columns if name != target)
    for name in (target, *names, *categories):
        if name not in columns:
            raise ValueError(f"no column {name!r}; the columns are {', '.join(columns)}")
    if target in names:
        raise ValueError(f"the target {target!r} is among the features: leave it out")
    if not names:
        raise ValueError(f"the only column is the target {target!r}: expected features")
    if missing != "error":
        needed = (target, *names) if missing == "drop" else (target,)
        columns = drop_incomplete(columns, needed)
    classes, Y = _targets(target, columns[target], loss)
    learned = learn_features(columns, names, categories, fill=missing == "impute")
    return Examples(columns, learned, classes, inputs_of(learned, columns), Y)


def _targets(
    name: str, column: Column, loss: str | Loss
) -> tuple[tuple[str, ...], Float[np.ndarray, "n m_r"]]:
    """The classes, if the target is a category, and Y."""
    absent = is_missing(column)
    if absent.any():
        raise ValueError(
            f"the target {name!r} has {absent.sum()} missing or infinite entries, the first in row "
            f"{absent.argmax()}: choose --missing drop to leave such rows out"
        )
    text = as_text(column)
    values = tuple(sorted(set(text)))
    if len(values) < 2:
        raise ValueError(f"the target {name!r} is {values[0]!r} in every row: nothing to learn")
    if get_loss(loss).labels.one_hot:
        if len(values) > max(2, len(column) / 2):
            raise ValueError(
                f"the target {name!r} has {len(values)} classes in {len(column)} rows, too many "
                "to learn: for numbers, choose --loss squared_error"
            )
        hot = np.array(text)[:, None] == np.array(values)
        return values, hot.astype(np.float64)
    if not is_numeric(column):
        raise ValueError(
            f"the target {name!r} is text, such as {text[0]!r}: choose --loss "
            "softmax_cross_entropy to learn classes, or another --target"
        )
    return (), column.astype(np.float64)[:, None]

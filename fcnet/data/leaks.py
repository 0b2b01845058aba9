"""Columns that number the rows, or that alone say what the target is."""

import re

import numpy as np
from jaxtyping import Float

from fcnet.data.cells import as_numbers
from fcnet.data.examples import Schema
from fcnet.data.read import TableFile
from fcnet.data.survey import Survey
from fcnet.types import Loss

NUMBERINGS = COUNTS, INDEX = "counts the rows", "whole numbers without a name, all different"
"""What is said of columns that number the rows, which are left out."""

NAMELESS = re.compile(r"(Unnamed: \d+)?")
"""What a column is called whose name is empty: pandas makes up a name, and may write it."""

LOOKED_AT = 2**16
"""The most rows in which it is looked for a column that says what the target is."""


def numbering(file: TableFile, name: str, found: Survey) -> str:
    """What to say of a column whose numbers may be those of the rows.

    >>> import pyarrow
    >>> from fcnet.data.read import Table, in_memory
    >>> from fcnet.data.survey import survey
    >>> file = in_memory(Table({"n": pyarrow.array([1, 2, 3])}, 3))
    >>> numbering(file, "n", survey(pyarrow.array([1, 2, 3])))
    'counts the rows'
    >>> numbering(file, "n", survey(pyarrow.array([1950, 1951, 1952])))
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


def with_giveaways(schema: Schema, X: np.ndarray, Y: np.ndarray) -> Schema:
    """The schema with a note on each feature whose inputs alone say what the target is.

    Of a long table, every k-th row is looked at.
    """
    step = -(-len(X) // LOOKED_AT)
    X, Y = X[::step], Y[::step]
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


def gives_away(block: Float[np.ndarray, "n m"], Y: Float[np.ndarray, "n m_r"], loss: Loss) -> bool:
    """Whether the inputs of one column alone say what the target is, each way.

    A number does so for numbers where their correlation is 1 to six digits; any column does for
    classes where it is the same in all rows of a class and another for every class.

    >>> from fcnet.losses import get_loss
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

"""Columns that number the rows, or that alone say what the target is."""

import re
from collections.abc import Collection, Mapping

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
"""The most rows that are searched for a column that gives the target away."""


def numberings(file: TableFile, columns: Mapping[str, Survey]) -> dict[str, str]:
    """What to say of columns of numbers that may be those of the rows; of others, nothing.

    >>> import pyarrow
    >>> from fcnet.data.read import Table, in_memory
    >>> from fcnet.data.survey import survey
    >>> columns = {name: pyarrow.array([k, k + 1, k + 2]) for name, k in (("n", 1), ("m", 1950))}
    >>> file = in_memory(Table(columns, 3))
    >>> numberings(file, {name: survey(cells) for name, cells in columns.items()})
    {'n': 'counts the rows', 'm': 'each of 1950 to 1952 once; does it number the rows?'}
    """
    likely = {name for name, found in columns.items() if _may_be_all_different(name, found)}
    different = _all_different(file, likely)
    notes = {name: _numbering(name, found, name in different) for name, found in columns.items()}
    return {name: note for name, note in notes.items() if note}


def _numbering(name: str, found: Survey, different: bool) -> str:
    n, moments, steps = found.rows, found.moments, found.steps
    if not _are_whole(found) or moments is None:
        return ""
    begins = found.ends is not None and found.ends[0] in (0, 1)
    if begins and steps is not None and steps[0] == steps[1] == 1:
        return COUNTS
    if different and NAMELESS.fullmatch(name):
        return INDEX
    if different:
        return f"each of {moments.least[0]:g} to {moments.most[0]:g} once; does it number the rows?"
    if steps and n >= 10 and steps[0] * steps[1] > 0:
        return f"{'rises' if steps[0] > 0 else 'falls'} in every row; does it number the rows?"
    return ""


def _are_whole(found: Survey) -> bool:
    """Whether there are three whole numbers or more, and nothing else."""
    return 3 <= found.rows == found.numbers and not found.fractions


def _may_be_all_different(name: str, found: Survey) -> bool:
    """Whether a column is worth a look: it has no name, or as many numbers as its range."""
    if not _are_whole(found) or found.moments is None:
        return False
    span = found.moments.most[0] - found.moments.least[0]
    return bool(NAMELESS.fullmatch(name) or span == found.rows - 1)


def _all_different(file: TableFile, names: Collection[str]) -> set[str]:
    """Those of some columns, which have numbers alone, whose numbers are all different."""
    blocks: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for table in file.blocks(()) if names else ():
        for name in names:
            blocks[name].append(as_numbers(table.columns[name]).values)
    ordered = {name: np.sort(np.concatenate(parts)) for name, parts in blocks.items()}
    return {name for name, values in ordered.items() if (np.diff(values) > 0).all()}


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
    """Whether the inputs of one column determine the target, and the target these inputs.

    A column of numbers does for a target of numbers if their correlation is 1 to six digits. Any
    column does for classes if it is the same in all rows of a class and differs between classes.

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

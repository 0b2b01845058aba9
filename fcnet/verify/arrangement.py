"""How the user arranges examples and targets: one in any shape, many in rows or in columns."""

import math
from typing import Any, NamedTuple

import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Float

from fcnet.arrays import is_floating, like, shape_of, to_numpy


class Arrangement(NamedTuple):
    """How one of the user's arrays holds n vectors of equal length.

    Attributes:
        shape: of the user's array.
        axis: the one that runs over the examples, None for a single example.
        classes: their number m_r if the array holds class labels 0..m_r-1, else 0.

    >>> labels = np.array([2, 0])
    >>> way = Arrangement(shape=(2,), axis=0, classes=3)
    >>> way.read(labels)
    array([[0., 0., 1.],
           [1., 0., 0.]])
    >>> way.write(np.eye(3), labels)
    array([0, 1, 2])
    """

    shape: tuple[int, ...]
    axis: int | None
    classes: int = 0

    @property
    def n(self) -> int:
        """The number of examples."""
        return 1 if self.axis is None else self.shape[self.axis]

    def read(self, array: object) -> Float[np.ndarray, "n width"]:
        """The vectors as rows in float64; class labels become one-hot."""
        values = to_numpy(array)
        rows = (values.T if self.axis == 1 else values).reshape(self.n, -1)
        return (rows == np.arange(self.classes)).astype(float) if self.classes else rows

    def write(
        self, rows: Float[np.ndarray, "k width"], array: object, dtype: DTypeLike | None = None
    ) -> Any:
        """Rows in the user's arrangement, library and dtype; another dtype only for floats."""
        rows = rows.argmax(axis=1)[:, None].astype(float) if self.classes else rows
        shape = tuple(len(rows) if i == self.axis else m for i, m in enumerate(self.shape))
        values = (rows.T if self.axis == 1 else rows).reshape(shape)
        return like(values, array, dtype if is_floating(array) else None)


def arrangements(
    x: object, y: object, d: int, m_r: int, batched: bool
) -> list[tuple[Arrangement, Arrangement]]:
    """The ways to read x as vectors of length d and y as as many targets of length m_r.

    For m_r > 1 the targets may be class labels. If x and y of a batch are both matrices, a pair
    with the examples on the same axis of both is preferred.
    """
    examples = _ways(shape_of(x), d, batched)
    targets = _ways(shape_of(y), m_r, batched)
    if m_r > 1 and set(to_numpy(y).flat) <= set(range(m_r)):
        targets += [way._replace(classes=m_r) for way in _ways(shape_of(y), 1, batched)]
    pairs = [(one, other) for one in examples for other in targets if one.n == other.n]
    alike = [pair for pair in pairs if pair[0].axis == pair[1].axis or len(pair[1].shape) == 1]
    return alike or pairs


def _ways(shape: tuple[int, ...], width: int, batched: bool) -> list[Arrangement]:
    if not batched:
        return [Arrangement(shape, None)] if math.prod(shape) == width else []
    if len(shape) != 2:  # of an image each
        return [Arrangement(shape, 0)] if shape and math.prod(shape[1:]) == width else []
    return [Arrangement(shape, axis) for axis in (0, 1) if shape[1 - axis] == width]

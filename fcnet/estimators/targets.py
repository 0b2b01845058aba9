"""What is known of the targets of a stream, by which they are standardised."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from fcnet.data.preprocess import Standardizer


class Seen(NamedTuple):
    """What is known of the targets so far, to standardise them.

    Attributes:
        weight: the sum of their weights.
        mean, deviation: of each column, weighted, shape (m_r,).
        least, most: of each column, shape (m_r,).
        binary: whether each column has no other values than 0 and 1, shape (m_r,).
    """

    weight: float
    mean: Float[np.ndarray, " m_r"]
    deviation: Float[np.ndarray, " m_r"]
    least: Float[np.ndarray, " m_r"]
    most: Float[np.ndarray, " m_r"]
    binary: Bool[np.ndarray, " m_r"]

    def standardizer(self) -> Standardizer:
        """That of all targets seen, by the rules of `fit_standardizer`."""
        keep = (self.least == self.most) | self.binary
        return Standardizer(self.mean, np.where(keep, 1.0, self.deviation))


def see(seen: Seen | None, Y: Float[np.ndarray, "n m_r"], weights: Float[np.ndarray, " n"]) -> Seen:
    """What is known of the targets seen so far and of these, as if all had come at once.

    >>> first = see(None, np.array([[1.0]]), np.ones(1))
    >>> see(first, np.array([[5.0], [9.0]]), np.array([1.0, 2.0])).standardizer()
    Standardizer(mean=array([6.]), scale=array([3.31662479]))
    """
    mean = np.average(Y, axis=0, weights=weights)
    unit = np.abs(Y - mean).max(axis=0)
    unit[unit == 0] = 1  # squares of deviations in this unit neither overflow nor underflow
    deviation = unit * np.sqrt(np.average(((Y - mean) / unit) ** 2, axis=0, weights=weights))
    binary = ((Y == 0) | (Y == 1)).all(axis=0)
    new = Seen(float(weights.sum()), mean, deviation, Y.min(axis=0), Y.max(axis=0), binary)
    if seen is None:
        return new
    total = seen.weight + new.weight
    old, share = seen.weight / total, new.weight / total
    step = new.mean - seen.mean
    within = np.hypot(np.sqrt(old) * seen.deviation, np.sqrt(share) * new.deviation)
    return Seen(
        total,
        seen.mean + share * step,
        np.hypot(within, np.sqrt(old * share) * step),
        np.minimum(seen.least, new.least),
        np.maximum(seen.most, new.most),
        seen.binary & new.binary,
    )

"""Random targets like the user's: what holds of the user's own holds of them.

Code relies on what its targets are: it counts the classes in a batch, indexes by labels, or takes
logarithms. A program is judged on such targets as it is made for.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from fcnet.types import Loss

Rows: TypeAlias = Float[np.ndarray, "n m_r"]

SIXTEENTHS = 16
"""Shares of a whole are multiples of 1/16: they sum to 1 exactly in every floating dtype."""

LARGEST = 4
"""Whole numbers in place of larger ones: next to those, an output would drown in rounding."""

NORM_ERROR = 1e-2
"""How far from 1 the norm of a row may be, in the coarsest dtype, to count as 1."""


class Draw(NamedTuple):
    """What is asked for: n rows like the user's own; those of a batch hold each of its labels."""

    rng: np.random.Generator
    n: int
    own: Rows
    batched: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Of the rows asked for."""
        return self.n, self.own.shape[1]

    def labels(self, own: np.ndarray, classes: int) -> np.ndarray:
        """Labels in 0..classes-1: each of the user's if n is large enough, the largest for any."""
        present = np.unique(own) if self.batched else own[:0]
        held = [*present[-1:], *self.rng.permutation(present[:-1])][: self.n]
        others = self.rng.integers(classes, size=self.n - len(held))
        return self.rng.permutation([*held, *others]).astype(int)


class Kind(NamedTuple):
    """A property of targets: a test of the user's rows, and random rows that have it too."""

    fits: Callable[[Rows], bool]
    draw: Callable[[Draw], Rows]


def _is_binary(own: Rows) -> bool:
    return bool(np.isin(own, (0, 1)).all())


def _is_one_hot(own: Rows) -> bool:
    return own.shape[1] > 1 and _is_binary(own) and bool((own.sum(1) == 1).all())


def _are_shares(own: Rows) -> bool:
    total = abs(own.sum(1) - 1) < NORM_ERROR
    return own.shape[1] > 1 and bool((own >= 0).all() and total.all())


def _are_units(own: Rows) -> bool:
    norms = np.linalg.norm(own, axis=1)
    return own.shape[1] > 1 and bool((abs(norms - 1) < NORM_ERROR).all())


def _one_hot(d: Draw) -> Rows:
    m_r = d.own.shape[1]
    return np.eye(m_r)[d.labels(d.own.argmax(1), m_r)]


def _binary(d: Draw) -> Rows:
    return np.stack([d.labels(column, 2) for column in d.own.T], axis=1).astype(float)


def _shares(d: Draw) -> Rows:
    m_r = d.own.shape[1]
    return d.rng.multinomial(SIXTEENTHS, np.full(m_r, 1 / m_r), size=d.n) / SIXTEENTHS


def _units(d: Draw) -> Rows:
    rows = d.rng.normal(size=d.shape)
    rows = abs(rows) if (d.own >= 0).all() else rows
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _whole(d: Draw) -> Rows:
    """The user's own values, if they are several and small."""
    values = np.unique(d.own)
    if len(values) == 1 or abs(values).max() > LARGEST:
        values = np.arange(0 if values[0] >= 0 else -LARGEST, LARGEST + 1.0)
    return d.rng.choice(values, size=d.shape)


KINDS = (
    Kind(_is_one_hot, _one_hot),
    Kind(_is_binary, _binary),
    Kind(_are_shares, _shares),
    Kind(_are_units, _units),
    Kind(lambda own: bool((own == np.rint(own)).all()), _whole),
    Kind(lambda own: bool(((own >= 0) & (own <= 1)).all()), lambda d: d.rng.uniform(size=d.shape)),
)
"""The first that fits, and that the loss accepts, is kept."""


def is_special(own: Rows) -> bool:
    """Whether targets are of one of the kinds, and not any numbers."""
    return any(kind.fits(own) for kind in KINDS)


def random_targets(
    rng: np.random.Generator,
    n: int,
    own: Float[np.ndarray, "own_n m_r"],
    loss: Loss,
    batched: bool = True,
) -> Rows:
    """Random targets for n examples, of the same kind as the user's own rows.

    Args:
        rng: the source of chance.
        n: the number of rows.
        own: the user's targets.
        loss: draws what is of no special kind; without a draw, rows come from the user's own.
        batched: whether the user's own are those of a batch.

    Returns:
        Rows that are one-hot, 0 or 1, non-negative with sum 1, of norm 1, whole, or between 0 and
        1, where the user's are. Labels hold every class of a batch if n is large enough, and the
        largest one for any n: one-hot columns are often counted by `max() + 1`.

    >>> from fcnet import LOSSES
    >>> rng, own = np.random.default_rng(0), np.eye(3)[[0, 2, 1, 0]]
    >>> random_targets(rng, 1, own, LOSSES["softmax_cross_entropy"])
    array([[0., 0., 1.]])
    """
    kinds = KINDS if loss.draw else KINDS[:1]
    for kind in kinds:
        if kind.fits(own):
            drawn = kind.draw(Draw(rng, n, own, batched))
            if np.all(loss.labels.accepts(drawn)):
                return drawn
    if loss.draw:
        return np.asarray(loss.draw(rng, n, own.shape[1]), float)
    return own[rng.integers(len(own), size=n)]

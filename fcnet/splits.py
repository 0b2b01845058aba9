"""Which rows are held out, to validate on."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, Num

COPIES = 5
"""Sets of up to this many equal rows are kept whole; larger ones may be divided."""

SETS_AT_ONCE = 2**16
"""The sets of rows that are looked at together, which bounds the memory."""


def hold_out(
    weights: Float[np.ndarray, " n"],
    share: float,
    draw: Callable[[int], Int[np.ndarray, " k"]],
    *,
    classes: Int[np.ndarray, " n"] | None = None,
    equal: Integer[np.ndarray, " n"] | None = None,
    groups: Int[np.ndarray, " n"] | None = None,
) -> Bool[np.ndarray, " n"]:
    """Which rows to hold out: a share of the total weight, and of each class, to within one row.

    Args:
        weights: how many rows each row counts as, above 0.
        share: between 0 and 1; at least one row is held out, and at least one is not.
        draw: a random permutation of 0, ..., k - 1 for any k.
        classes: the class of each row, 0, 1, ... Of each class, a row is not held out, if the share
            can be had so.
        equal: a number for each row, the same for rows that are equal. Such rows stay on one side,
            unless the share cannot be had so, or they are more than `COPIES` and more than a tenth
            of the rows to hold out: they are then no copies but a frequent combination of a few
            categories, and without it neither side would be like the whole.
        groups: likewise, for rows that stay on one side in any case; then the share is the nearest
            that whole groups were found to make, and classes do not count.

    >>> rows = np.random.default_rng(0)
    >>> hold_out(np.ones(6), 1 / 3, rows.permutation, classes=np.array([0, 0, 0, 1, 1, 1])).tolist()
    [False, False, True, True, False, False]
    """
    if classes is None or groups is not None:
        classes = np.zeros(len(weights), int)
    quota, most = _quotas(weights, share, classes)
    if groups is not None:
        return _whole_sets(weights, quota, most, draw, classes, _numbered(groups))
    if equal is not None:
        equal = _split_large(_numbered(equal), weights, float(max(COPIES, quota.sum() / 10)))
        for slack in (1.0, 2 * float(np.sqrt(quota.max()))):
            room = np.minimum(quota + slack, most)
            held = _whole_sets(weights, quota, room, draw, classes, equal)
            if abs(weights[held].sum() - quota.sum()) <= 1 and not held.all():
                return held
    held = np.zeros(len(weights), bool)
    order = draw(len(weights))
    for label, count in enumerate(quota):
        rest, room = order[classes[order] == label], float(count)
        while len(rest := rest[weights[rest] <= room]):  # the next ones may be too heavy
            taken = rest[np.cumsum(weights[rest]) <= room]
            held[taken] = True
            rest, room = rest[len(taken) :], room - weights[taken].sum()
    held[np.argmin(weights)] |= not held.any()  # where every row counts as too many
    return held


def held_count(name: str, share: object, n: int, what: str = "a share") -> int:
    """How many of n rows a share of them is; at least one is left on each side.

    Args:
        name: that of the argument, for errors.
        share: between 0 and 1.
        n: the number of rows.
        what: what the argument may be, in words that end with the share.

    Raises:
        TypeError: for what is no number.
        ValueError: for a share that leaves no row on one side.

    >>> held_count("validation", 0.2, 10)
    2
    """
    if isinstance(share, (bool, np.bool_)) or not isinstance(share, (float, int, np.number)):
        raise TypeError(f"{name} must be {what} between 0 and 1, got {type(share).__name__}")
    held = round(share * n) if 0 < share < 1 else 0
    if not 0 < held < n:
        raise ValueError(
            f"{name} must be {what} that leaves at least one of {n:,} rows on each side, "
            f"got {share:g}"
        )
    return held


def _numbered(sets: Integer[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The sets of rows numbered 0, 1, ..., in the order of their numbers."""
    return np.unique(sets, return_inverse=True)[1]


def _split_large(
    equal: Int[np.ndarray, " n"], weights: Float[np.ndarray, " n"], most: float
) -> Int[np.ndarray, " n"]:
    """The numbers of the sets, with each row of a set of more weight than `most` as its own set."""
    many = np.bincount(equal, weights)[equal] > most
    return np.where(many, equal.max() + np.cumsum(many), equal)


def classes_of(Y: Float[np.ndarray, "n m_r"]) -> Int[np.ndarray, " n"] | None:
    """The class of each row of targets that are one-hot, or 0 and 1; None for other targets.

    >>> classes_of(np.array([[0.0, 1.0], [1.0, 0.0]])).tolist(), classes_of(np.array([[0.5]]))
    ([1, 0], None)
    """
    if not ((Y == 0) | (Y == 1)).all():
        return None
    if Y.shape[1] == 1:
        return Y[:, 0].astype(int)
    return Y.argmax(axis=1) if (Y.sum(axis=1) == 1).all() else None


def _quotas(
    weights: Float[np.ndarray, " n"], share: float, classes: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " c"], Int[np.ndarray, " c"]]:
    """How many rows of each class to hold out, and how many at most.

    These are whole numbers; the first sum to the share of all.
    """
    of_class = np.bincount(classes, weights)
    total = weights.sum()
    goal = min(max(round(share * total), 1), round(total) - 1)
    most = np.ceil(of_class).astype(int) - 1
    if most.sum() < goal:
        most = np.ceil(of_class).astype(int)
    exact = goal * of_class / total
    quota = np.minimum(np.floor(exact).astype(int), most)
    while (left := goal - quota.sum()) > 0:
        (free,) = np.nonzero(quota < most)
        quota[free[np.argsort((quota - exact)[free], kind="stable")[:left]]] += 1
    return quota, most


def _whole_sets(
    weights: Float[np.ndarray, " n"],
    quota: Int[np.ndarray, " c"],
    most: Num[np.ndarray, " c"],
    draw: Callable[[int], Int[np.ndarray, " k"]],
    classes: Int[np.ndarray, " n"],
    sets: Int[np.ndarray, " n"],
) -> Bool[np.ndarray, " n"]:
    """The rows to hold out in whole sets: each set, in a random order, that still fits.

    A class may have more than its quota, up to `most`, but not all together.
    """
    count = int(sets.max()) + 1
    rank = np.empty(count, np.int64)
    rank[draw(count)] = np.arange(count)
    rank = rank[sets]
    left, room = most.astype(float).tolist(), float(quota.sum())
    held = np.zeros(len(sets), bool)
    for begin in range(0, count, SETS_AT_ONCE):
        (rows,) = np.nonzero((rank >= begin) & (rank < begin + SETS_AT_ONCE))
        pairs, pair = np.unique(rank[rows] * len(quota) + classes[rows], return_inverse=True)
        size, label, of = np.bincount(pair, weights[rows]), pairs % len(quota), pairs // len(quota)
        bounds = np.flatnonzero(np.diff(of, prepend=-1, append=count))
        chosen = np.zeros(len(pairs), bool)
        for part in map(slice, bounds[:-1].tolist(), bounds[1:].tolist()):
            sizes = dict(zip(label[part].tolist(), size[part].tolist(), strict=True))
            if sum(sizes.values()) <= room and all(sizes[c] <= left[c] for c in sizes):
                chosen[part] = True
                for c in sizes:
                    left[c] -= sizes[c]
                    room -= sizes[c]
            if room < 1:
                break
        held[rows] = chosen[pair]
        if room < 1:
            break
    if not held.any():  # every set is too large: the smallest comes nearest
        size = np.bincount(sets, weights)
        held = sets == np.argmin(np.where(size > 0, size, np.inf))
    return held

"""The rows held out: their share, that of each class, equal rows and groups."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcnet.splits import COPIES, classes_of, hold_out


def numbered(X: np.ndarray) -> np.ndarray:
    """A number for each different row."""
    return np.unique(X, axis=0, return_inverse=True)[1].ravel()


def tables() -> dict[str, np.ndarray]:
    """Rows of features, from all different to nearly all the same."""
    r = np.random.default_rng(0)
    twice = r.normal(size=(150, 3))
    return {
        "different": r.normal(size=(301, 3)),
        "each twice": np.vstack([twice, twice]),
        "a few twice": np.vstack([twice, twice[:7]]),
        "two columns of digits": r.integers(0, 10, (500, 2)),
        "three flags": r.integers(0, 2, (400, 3)),
        "one flag": r.integers(0, 2, (90, 1)),
        "a rare combination": (np.arange(1000) < 3)[:, None],
        "rising counts": np.repeat(np.arange(20), np.arange(20))[:, None],
        "one row often": np.r_[np.zeros(600), np.arange(1, 50)][:, None],
        "small": r.integers(0, 3, (11, 1)),
    }


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("name", tables())
def test_the_share_is_what_was_asked_to_one_row(name: str, share: float) -> None:
    X = tables()[name].astype(float)
    n = len(X)
    classes = np.random.default_rng(1).integers(0, 3, n)
    for seed in range(20):
        draw = np.random.default_rng(seed).permutation
        for known in (None, classes):
            held = hold_out(np.ones(n), share, draw, classes=known, equal=numbered(X))
            assert abs(held.sum() - share * n) <= 1.5
            held = hold_out(np.ones(n), share, draw, classes=known)
            assert abs(held.sum() - share * n) <= 0.5
            if known is not None:
                of_class = np.bincount(classes[held], minlength=3) - share * np.bincount(classes)
                assert abs(of_class).max() <= 1


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_of_each_class_a_row_stays_to_train_on(share: float) -> None:
    classes = np.repeat(np.arange(4), [60, 2, 3, 1])
    equal = np.r_[np.arange(60), [60, 60], [61, 61, 61], 62]
    gone = 0
    for seed in range(30):
        draw = np.random.default_rng(seed).permutation
        for known in (None, equal):
            held = hold_out(np.ones(66), share, draw, classes=classes, equal=known)
            assert abs(held.sum() - share * 66) <= 1.5
            assert set(classes[~held]) == {0, 1, 2, 3}
        held = hold_out(np.ones(66), share, draw, equal=equal)
        gone += set(classes[~held]) != {0, 1, 2, 3}
    assert gone  # the planted defect: rows drawn without their classes


def test_the_share_of_weights_is_as_near_as_rows_can_come() -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        weights, classes = rng.integers(1, 6, 150).astype(float), rng.integers(0, 5, 150)
        held = hold_out(weights, 0.4, rng.permutation, classes=classes)
        assert abs(weights[held].sum() - 0.4 * weights.sum()) <= 5


def both_sides(X: np.ndarray, held: np.ndarray) -> int:
    """How many different rows are on both sides."""
    return len({*map(tuple, X[held])} & {*map(tuple, X[~held])})


def test_equal_rows_are_on_one_side_where_they_can_be() -> None:
    for X in tables().values():
        held = hold_out(
            np.ones(len(X)), 0.2, np.random.default_rng(3).permutation, equal=numbered(X)
        )
        sizes = np.bincount(numbered(X))
        frequent = sizes > max(COPIES, round(0.2 * len(X)) / 10)
        assert both_sides(X, held) <= frequent.sum()
    X = tables()["each twice"]
    held = hold_out(np.ones(len(X)), 0.2, np.random.default_rng(3).permutation)
    assert both_sides(X, held)  # the planted defect: rows drawn one by one


def test_large_sets_of_equal_rows_are_on_both_sides() -> None:
    """As in a table of few combinations, which single cells would not represent."""
    X = np.repeat(np.arange(6), [400, 300, 250, 200, 150, 100])[:, None]
    y = np.random.default_rng(0).integers(0, 2, len(X))
    for seed in range(10):
        draw = np.random.default_rng(seed).permutation
        held = hold_out(np.ones(len(X)), 0.1, draw, classes=y, equal=numbered(X))
        assert both_sides(X, held) == 6


@given(n=st.integers(2, 40), share=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_there_is_a_row_on_each_side(n: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    held = hold_out(
        rng.integers(1, 5, n).astype(float),
        share,
        rng.permutation,
        classes=rng.integers(0, 3, n),
        equal=rng.integers(0, n, n),
    )
    assert held.any()
    assert not held.all()


@given(counts=st.lists(st.integers(1, 4), min_size=12, max_size=30), seed=st.integers(0, 99))
def test_a_row_of_weight_two_is_two_rows(counts: list[int], seed: int) -> None:
    sets = np.arange(len(counts))
    draw = functools.partial(np.random.default_rng, seed)
    weighted = hold_out(np.array(counts, float), 0.3, draw().permutation, equal=sets)
    repeated = np.repeat(sets, counts)
    held = hold_out(np.ones(len(repeated)), 0.3, draw().permutation, equal=repeated)
    assert (np.repeat(weighted, counts) == held).all()


@pytest.mark.parametrize("sizes", [[5] * 12, [1, 2, 3, 4, 50, 40], [30, 30], [98, 1, 1]])
def test_groups_are_never_divided(sizes: list[int]) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    for seed in range(10):
        held = hold_out(
            np.ones(len(groups)), 0.25, np.random.default_rng(seed).permutation, groups=groups
        )
        assert held.any()
        assert not held.all()
        assert not both_sides(groups[:, None], held)
        assert held.sum() <= max(0.25 * len(groups) + 0.5, min(sizes))


def test_classes_are_found_in_targets_of_zero_and_one() -> None:
    assert classes_of(np.eye(3)).tolist() == [0, 1, 2]
    assert classes_of(np.array([[1.0], [0.0]])).tolist() == [1, 0]
    assert classes_of(np.array([[1.0, 1.0], [0.0, 1.0]])) is None  # several labels
    assert classes_of(np.array([[0.3], [0.0]])) is None


def test_it_is_random() -> None:
    draws = [
        hold_out(np.ones(50), 0.2, np.random.default_rng(seed).permutation) for seed in (0, 0, 1)
    ]
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).any()

"""Chi-square tests of the batches of Algorithm 2, and the wrong samplers that each must reject."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy import stats

from fcnet.sampling import PAIRWISE, batch_table, sample_batch

pytestmark = pytest.mark.notes("Algorithm 2")

RARE = 1e-4  # a right sampler's p-value falls below it for 1 seed in 10,000; the seeds are fixed
LARGEST = 2**31 - 1


def many(sampler, key: Array, n: int, size: int, count: int) -> np.ndarray:
    """The batches of `count` keys, one a row."""
    draw = jax.jit(jax.vmap(lambda k: sampler(k, n, size)))
    return np.asarray(draw(jax.random.split(key, count)))


# Plausible samplers that are wrong


def with_replacement(key: Array, n: int, size: int) -> Array:
    return jax.random.randint(key, (size,), 0, n)


def one_short(key: Array, n: int, size: int) -> Array:
    return sample_batch(key, n - 1, size) if size < n else sample_batch(key, n, size)


def spaced(key: Array, n: int, size: int) -> Array:
    """Sorted draws from n-B+1 numbers, spread out by adding 0..B-1: distinct, but not uniform."""
    return jnp.sort(jax.random.randint(key, (size,), 0, n - size + 1)) + jnp.arange(size)


def stratified(key: Array, n: int, size: int) -> Array:
    """One index from each of B stretches: all are equally likely, but not all pairs."""
    stretch = n // size
    return stretch * jnp.arange(size) + jax.random.randint(key, (size,), 0, stretch)


def consecutive(key: Array, n: int, size: int) -> Array:
    """B neighbours, as when shuffled data are read from a random place on."""
    return (jax.random.randint(key, (), 0, n) + jnp.arange(size)) % n


def epochs(key: Array, n: int, size: int) -> Array:
    """Two successive batches of a shuffled pass."""
    return jax.random.permutation(key, n)[: 2 * size].reshape(2, size)


def same_key(key: Array, n: int, size: int) -> Array:
    return jnp.stack([sample_batch(key, n, size)] * 2)


# Small n: every subset


def p_subsets(rows: np.ndarray, n: int, size: int) -> float:
    """How likely so uneven a count of the subsets is; 0 for a row that is no subset of size B."""
    codes, counts = np.unique((1 << rows.astype(np.int64)).sum(1), return_counts=True)
    every = [sum(1 << i for i in subset) for subset in combinations(range(n), size)]
    distinct = [len(set(row)) == size for row in rows.tolist()]
    if not all(distinct) or not set(codes.tolist()) <= set(every):
        return 0.0
    found = dict(zip(codes.tolist(), counts.tolist(), strict=True))
    counted = [found.get(subset, 0) for subset in every]
    return float(stats.chisquare(counted).pvalue) if len(every) > 1 else 1.0


@pytest.mark.parametrize(
    ("n", "size"), [(1, 1), *((4, size) for size in range(1, 5)), (6, 3), (6, 5)]
)
def test_every_subset_is_equally_likely(key: Array, n: int, size: int) -> None:
    assert p_subsets(many(sample_batch, key, n, size, 20_000), n, size) > RARE


@pytest.mark.parametrize("wrong", [with_replacement, one_short, spaced])
def test_uneven_subsets_are_noticed(key: Array, wrong) -> None:
    assert p_subsets(many(wrong, key, 6, 3, 20_000), 6, 3) < RARE**2


# Large n: each index, and each pair


def p_indices(rows: np.ndarray, n: int, cells: int) -> float:
    """How likely so uneven a count of the indices is, in cells of equal width.

    Distinct indices spread more evenly than independent ones, by the factor (n-B)/(n-1) of the
    hypergeometric variance, which makes up for it.
    """
    count, size = rows.shape
    edges = np.array([-(-n * cell // cells) for cell in range(cells + 1)])
    expected = count * size * np.diff(edges) / n
    found = np.histogram(rows, np.append(edges[:-1], n - 0.5))[0]
    statistic = ((found - expected) ** 2 / expected).sum() * (n - 1) / (n - size)
    assert found.sum() == rows.size, "an index out of range"
    return float(stats.chi2.sf(statistic, cells - 1))


@pytest.mark.parametrize(
    ("n", "size", "cells", "count"),
    [
        (10_000, 32, 10_000, 20_000),
        (LARGEST, PAIRWISE, 997, 10_000),
        (LARGEST, 400, 997, 2000),
        (1000, 400, 1000, 2000),
        (60_000, 59_000, 60_000, 20),
    ],
)
def test_every_index_is_equally_likely(key: Array, n: int, size: int, cells: int, count: int):
    assert p_indices(many(sample_batch, key, n, size, count), n, cells) > RARE


@pytest.mark.parametrize("wrong", [one_short, spaced])
def test_uneven_indices_are_noticed(key: Array, wrong) -> None:
    assert p_indices(many(wrong, key, 40, 10, 20_000), 40, 40) < RARE**2


def worst_pair(rows: np.ndarray, n: int) -> float:
    """The largest deviation of a pair's count, in standard deviations of a binomial count."""
    count, size = rows.shape
    chosen = np.zeros((count, n))
    np.put_along_axis(chosen, rows, 1, axis=1)
    share = size * (size - 1) / (n * (n - 1))
    together = (chosen.T @ chosen)[np.triu_indices(n, 1)]
    return float(abs(together - count * share).max() / np.sqrt(count * share * (1 - share)))


@pytest.mark.parametrize("size", [10, 38, PAIRWISE + 2])
def test_every_pair_is_equally_likely(key: Array, size: int) -> None:
    """Of 8,911 pairs, the worst is 5.5 off by chance for 1 seed in 3,000."""
    n = 40 if size < 40 else PAIRWISE + 6
    assert worst_pair(many(sample_batch, key, n, size, 20_000), n) < 5.5


@pytest.mark.parametrize("wrong", [stratified, consecutive])
def test_uneven_pairs_are_noticed(key: Array, wrong) -> None:
    assert worst_pair(many(wrong, key, 40, 10, 20_000), 40) > 10


def test_stretches_would_pass_but_for_the_pairs(key: Array) -> None:
    assert p_indices(many(stratified, key, 40, 10, 2000), 40, 40) > RARE


# From step to step


def p_successive(pairs: np.ndarray, n: int) -> float:
    """Whether the second of two batches of 2 depends on the first: both of all subsets alike."""
    every = {subset: i for i, subset in enumerate(combinations(range(n), 2))}
    counted = np.zeros((len(every), len(every)))
    for first, second in np.sort(pairs, axis=2).tolist():
        counted[every[tuple(first)], every[tuple(second)]] += 1
    return float(stats.chisquare(counted.ravel()).pvalue)


def test_each_step_draws_afresh(key: Array) -> None:
    table = np.concatenate([batch_table(key, 1024 * block, 4, 2) for block in range(10)])
    assert p_successive(np.stack([table[:-1], table[1:]], axis=1), 4) > RARE


@pytest.mark.parametrize("wrong", [epochs, same_key])
def test_steps_that_depend_on_each_other_are_noticed(key: Array, wrong) -> None:
    assert p_successive(many(wrong, key, 4, 2, 10_000), 4) < RARE**2

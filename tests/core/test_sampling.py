"""Line 4 of Algorithm 2, exactly: B distinct indices, every subset as likely as any other.

Floyd's algorithm turns B draws into B indices. For small n all its draws are gone through, so that
part is exact; that the draws are uniform, and fresh in each step, is for chi-square to judge. Each
check is also given samplers that are wrong in a plausible way, and must reject them.
"""

from collections import Counter
from itertools import combinations, product
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import Array
from scipy import stats

from fcnet.sampling import (
    PAIRWISE,
    batch_table,
    block_length,
    floyd_at_once,
    floyd_in_turn,
    sample_batch,
    uniform_below,
)

INT32_MAX = 2**31 - 1
UNIFORM_BELOW, FLOYD_IN_TURN, FLOYD_AT_ONCE = map(
    jax.jit, (uniform_below, floyd_in_turn, floyd_at_once)
)
SIZES = (1, 2, 7, PAIRWISE, PAIRWISE + 1, 400)
RARE = 1e-4  # a right sampler's p-value falls below it for 1 seed in 10,000; the seeds are fixed


def subsets(rows: np.ndarray) -> Counter[frozenset[int]]:
    return Counter(frozenset(row) for row in rows.tolist())


# Floyd's algorithm, by going through all its draws


def assert_every_subset_equally_often(floyd, n: int, size: int) -> None:
    last = np.arange(n - size, n, dtype=np.int32)
    draws = np.array(list(product(*(range(j + 1) for j in last.tolist()))), np.int32)
    found = subsets(np.asarray(jax.jit(floyd)(draws.T, last)).T)
    every = map(frozenset, combinations(range(n), size))
    assert found == dict.fromkeys(every, len(draws) // comb(n, size))


@pytest.mark.notes("Algorithm 2")
@pytest.mark.parametrize("floyd", [floyd_in_turn, floyd_at_once])
@pytest.mark.parametrize(("n", "size"), [*((5, size) for size in range(1, 6)), (7, 3), (6, 6)])
def test_every_subset_comes_of_equally_many_draws(floyd, n: int, size: int) -> None:
    assert_every_subset_equally_often(floyd, n, size)


@pytest.mark.parametrize(
    "floyd",
    [
        lambda draws, last: draws,
        lambda draws, last: jnp.where(_repeats(draws), last[:, None], draws),
        lambda draws, last: jnp.where(_repeats(draws), last[::-1, None], draws),
        lambda draws, last: floyd_in_turn(draws, last[::-1]),
    ],
    ids=["with replacement", "forgets substitutes", "reversed substitutes", "reversed"],
)
def test_a_wrong_substitution_is_noticed(floyd) -> None:
    with pytest.raises(AssertionError):
        assert_every_subset_equally_often(floyd, 5, 3)


def _repeats(draws: Array) -> Array:
    earlier = jnp.tril(jnp.ones((len(draws), len(draws)), bool), -1)[..., None]
    return ((draws[:, None] == draws) & earlier).any(1)


@given(
    size=st.sampled_from(SIZES),
    spare=st.sampled_from((0, 1, 3, 50, 10**6)),
    seed=st.integers(0, 99),
)
def test_the_two_forms_of_floyd_agree(size: int, spare: int, seed: int) -> None:
    last = spare + np.arange(size, dtype=np.int32)
    draws = np.array(UNIFORM_BELOW(jax.random.split(jax.random.key(seed)), last + 1))
    if seed % 3 == 0:  # long chains of substitutes: each draw asks for the one before
        draws[:, 0] = [0, *np.maximum(last - 1, 0)[1:]]
    chosen = FLOYD_IN_TURN(draws, last)
    np.testing.assert_array_equal(FLOYD_AT_ONCE(draws, last), chosen)
    for batch in np.asarray(chosen).T.tolist():
        assert len(set(batch)) == size


# The draws


def fair_thirds(draw, key: Array) -> float:
    """The p-value of a fair draw below 3 * 2^29, which should hit each third equally often."""
    draws = np.asarray(jax.jit(draw)(key[None], np.full(30_000, 3 * 2**29, np.int32)))
    return stats.chisquare(np.bincount(draws.ravel() // 2**29, minlength=3)).pvalue


@pytest.mark.parametrize("generator", ["threefry2x32", "rbg"])
def test_draws_are_uniform_also_below_large_bounds(generator: str) -> None:
    assert fair_thirds(uniform_below, jax.random.key(7, impl=generator)) > RARE


@pytest.mark.untyped
def test_a_generator_whose_batches_would_not_depend_on_the_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="key is of 'unsafe_rbg'"):
        sample_batch(jax.random.key(0, impl="unsafe_rbg"), 9, 2)


def test_a_remainder_of_32_bits_is_noticed(key: Array) -> None:
    """As `jax.random.randint` takes it of JAX 0.10 for bounds above 2^16."""

    def remainder(keys: Array, bound: Array) -> Array:
        bits = jax.random.bits(keys[0], bound.shape, jnp.uint32)
        return (bits % bound.astype(jnp.uint32)).astype(jnp.int32)

    assert fair_thirds(remainder, key) < RARE**2


@pytest.mark.parametrize("x64", [False, True])
def test_draws_are_the_floor_of_u_times_the_bound(key: Array, x64: bool) -> None:
    bounds = [1, 2, 3, 10**4, 2**16 + 1, 3 * 2**29, INT32_MAX - 1, INT32_MAX] * 8
    with jax.enable_x64(x64):
        draws = UNIFORM_BELOW(key[None], np.array(bounds, np.int32))
        words = np.asarray(jax.random.key_data(jax.random.split(key, len(bounds)))).T.tolist()
    assert draws.dtype == jnp.int32
    assert np.asarray(draws)[:, 0].tolist() == [
        ((big << 32) + small) * bound >> 64
        for big, small, bound in zip(*words, bounds, strict=True)
    ]


# The batches


@given(size=st.sampled_from(SIZES), n=st.integers(1, INT32_MAX), seed=st.integers(0, 2**32 - 1))
def test_a_batch_is_distinct_and_in_range(size: int, n: int, seed: int) -> None:
    n = max(n, size)
    batch = np.asarray(sample_batch(jax.random.key(seed), n, size))
    assert batch.shape == (size,)
    assert batch.dtype == np.int32
    assert len(set(batch.tolist())) == size
    assert 0 <= batch.min() <= batch.max() < n


@pytest.mark.notes("Algorithm 2")
@pytest.mark.parametrize("n", [1, 2, 7, PAIRWISE, PAIRWISE + 1, 60_000])
def test_all_of_n_is_everything(key: Array, n: int) -> None:
    assert sorted(sample_batch(key, n, n).tolist()) == list(range(n))


@pytest.mark.parametrize("size", [7, PAIRWISE + 1])
def test_one_key_one_batch(key: Array, size: int) -> None:
    """The same for each way to call it, and another batch for another key."""
    batch = sample_batch(key, 500, size)

    def assert_same(other: Array) -> None:
        np.testing.assert_array_equal(other, batch)

    assert_same(sample_batch(key, 500, size))
    assert_same(jax.jit(sample_batch, static_argnums=(1, 2))(key, 500, size))
    assert_same(sample_batch(jax.random.key_data(key), 500, size))
    keys = jnp.stack([key, jax.random.fold_in(key, 1)])
    first, second = np.asarray(jax.jit(jax.vmap(lambda k: sample_batch(k, 500, size)))(keys))
    assert_same(first)
    with pytest.raises(AssertionError):
        assert_same(second)
    with jax.enable_x64(True):
        assert_same(sample_batch(key, 500, size))


@pytest.mark.parametrize("size", [3, 200])
def test_a_table_holds_the_batches_of_its_steps(key: Array, size: int) -> None:
    table = np.asarray(batch_table(key, 40, n=300, batch_size=size))
    assert table.shape == (block_length(size), size)
    for i in (0, 1, len(table) - 1):
        step = jax.random.fold_in(key, 40 + i)
        np.testing.assert_array_equal(table[i], sample_batch(step, 300, size))
    later = np.asarray(batch_table(key, 45, n=300, batch_size=size))
    np.testing.assert_array_equal(later[:-5], table[5:])


def program(sampler, n: int, size: int) -> str:
    """What is compiled, with n blotted out."""
    lowered = jax.jit(lambda key: sampler(key, n, size)).lower(jax.random.key(0))
    return lowered.as_text().replace(str(n), "n")


def test_the_program_does_not_depend_on_n() -> None:
    for size in (32, PAIRWISE + 1):
        assert program(sample_batch, 10_003, size) == program(sample_batch, 10_000_019, size)


def test_a_permutation_of_all_n_is_noticed() -> None:
    def choice(key: Array, n: int, size: int) -> Array:
        return jax.random.choice(key, n, (size,), replace=False)

    assert program(choice, 10_003, 32) != program(choice, 10_000_019, 32)


@pytest.mark.parametrize("size", [32, PAIRWISE + 1])
def test_nothing_overflows_at_the_largest_n(size: int) -> None:
    last = np.arange(INT32_MAX - size, INT32_MAX, dtype=np.int32)
    for draws in (last, np.full(size, last[0]), np.zeros_like(last)):
        for floyd in (FLOYD_IN_TURN, FLOYD_AT_ONCE):
            chosen = np.asarray(floyd(draws[:, None], last))[:, 0]
            assert len(set(chosen.tolist())) == size
            assert chosen.min() >= 0
    shape = jax.eval_shape(lambda key: sample_batch(key, INT32_MAX, INT32_MAX), jax.random.key(0))
    assert shape.shape == (INT32_MAX,)


@pytest.mark.parametrize(
    ("platform", "size", "length"),
    [
        *(("cpu", 1, 1024), ("cpu", 32, 1024), ("cpu", 128, 256), ("cpu", 32_768, 1)),
        *(("gpu", 1, 1024), ("gpu", 8192, 64), ("tpu", 8192, 64), ("gpu", 10**6, 1)),
    ],
)
def test_the_table_of_a_block_is_as_large_as_the_platform_likes(
    platform: str, size: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    assert block_length(size) == length
    assert length == 1 or length * size * 4 <= {"cpu": 2**17}.get(platform, 2**21)


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("n", "size", "error", "match"),
    [
        (0, 1, ValueError, "n must be between 1 and 2147483647, got 0"),
        (2**31, 1, ValueError, "n must be between 1 and 2147483647, got 2147483648"),
        (5, 0, ValueError, "batch_size must be between 1 and 5, got 0"),
        (5, 6, ValueError, "batch_size must be between 1 and 5, got 6"),
        (5.0, 1, TypeError, "n must be an integer, got 5.0"),
        (5, True, TypeError, "batch_size must be an integer, got True"),
    ],
)
def test_bad_input(key: Array, n, size, error, match) -> None:
    with pytest.raises(error, match=match):
        sample_batch(key, n, size)


@pytest.mark.untyped
@pytest.mark.parametrize("key", [0, None, jnp.zeros(2), jax.random.split(jax.random.key(0))])
def test_a_key_that_is_none(key) -> None:
    with pytest.raises((TypeError, ValueError), match="key must"):
        sample_batch(key, 5, 2)

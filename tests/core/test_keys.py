"""Keys made of keys: those of `jax.random`, for known keys without a program."""

import jax
import numpy as np
import pytest
from support.problems import compilations

import fcnet
from fcnet.keys import (
    as_numpy,
    fold_in,
    generator_of,
    is_key,
    key_of,
    normal,
    split_keys,
    threefry,
)

NUMBERS = np.array([0, 1, 2, 1000, 2**31 - 1, 2**31, 2**32 - 1], np.uint32)
KEYS = {
    "new": jax.random.key(2**32 - 5),
    "old": jax.random.PRNGKey(7),
    "rbg": jax.random.key(7, impl="rbg"),
}


def assert_same(got, expected):
    assert is_key(got) == is_key(expected)
    np.testing.assert_array_equal(as_numpy(got), as_numpy(expected))


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_number_is_folded_in_as_by_jax(key):
    expected = jax.vmap(lambda number: jax.random.fold_in(key, number))(NUMBERS)
    assert_same(fold_in(key, NUMBERS), expected)
    assert_same(jax.jit(fold_in)(key, NUMBERS), expected)
    assert_same(jax.jit(lambda numbers: fold_in(key, numbers))(NUMBERS), expected)
    assert_same(fold_in(key, 3), jax.random.fold_in(key, 3))
    assert_same(fold_in(key, np.int32(-1)), jax.random.fold_in(key, np.int32(-1)))
    with pytest.raises(AssertionError):
        assert_same(fold_in(key, NUMBERS[::-1]), expected)


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_keys_and_numbers_are_broadcast(key):
    keys, numbers = fold_in(key, np.arange(3)), NUMBERS[:, None]
    expected = jax.vmap(jax.vmap(jax.random.fold_in, (0, None)), (None, 0))(keys, NUMBERS)
    assert_same(fold_in(keys, numbers), expected)
    assert_same(jax.jit(fold_in)(keys, numbers), expected)


@pytest.mark.parametrize("name", ["new", "old"])
def test_a_key_is_split_as_by_jax(name):
    for got, expected in zip(
        split_keys(KEYS[name], 3), jax.random.split(KEYS[name], 3), strict=True
    ):
        assert_same(got, expected)


def test_the_key_of_a_seed():
    for seed in NUMBERS.tolist():
        assert_same(key_of(seed), jax.random.key(seed))


def test_a_generator_without_a_key_draws_the_numbers_of_no_small_seed():
    seeds = [np.random.default_rng(seed).normal() for seed in range(100)]
    assert generator_of(None).normal() not in seeds
    assert generator_of(None).normal() == generator_of(None).normal()
    assert generator_of(jax.random.key(0)).normal() == seeds[0]  # the words of that key are zeros


def test_nothing_is_compiled_for_a_known_key():
    key = key_of(5)
    assert compilations(lambda: [fold_in(key, np.arange(11)), split_keys(key, 13)]) == 0
    assert compilations(lambda: jax.jit(fold_in)(key, np.arange(11))) > 0


def test_the_layers_of_a_network_are_drawn_by_one_program():
    key, sizes = key_of(5), (5, 7, 11, 3)
    assert compilations(lambda: fcnet.init(key, sizes)) == 1
    for (W, _), each in zip(fcnet.init(key, sizes), jax.random.split(key, 3), strict=True):
        drawn = np.asarray(jax.random.normal(each, W.shape))
        np.testing.assert_array_equal(W, drawn * np.float32(np.sqrt(2 / W.shape[1])))


def test_the_hash_is_that_of_its_authors():
    """The answer for 20 rounds that Salmon et al. publish with their library Random123."""
    zero = np.zeros((), np.uint32)
    assert threefry(zero, zero, 0).tolist() == [0x6B200159, 0x99BA4EFE]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_normal_numbers_are_those_of_jax(key, dtype):
    with jax.enable_x64(dtype == "float64"):
        expected = jax.random.normal(key, (3, 5), dtype)
        np.testing.assert_array_equal(normal(key, (3, 5), dtype), expected)
        np.testing.assert_array_equal(jax.jit(lambda k: normal(k, (3, 5), dtype))(key), expected)
        with pytest.raises(AssertionError):
            np.testing.assert_array_equal(normal(fold_in(key, 1), (3, 5), dtype), expected)

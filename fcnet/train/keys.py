"""Random keys: arrays of the new kind, as `jax.random.key` makes them, or words, the old kind."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from fcnet.checks import check_key


def is_key(leaf: Any) -> bool:
    """Whether an array holds random keys of the new kind."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def as_numpy(leaf: Any) -> np.ndarray:
    """An array in NumPy; keys of the new kind, which NumPy has not, as their words.

    >>> as_numpy(jax.random.key(3)).tolist(), as_numpy(jax.random.PRNGKey(3)).tolist()
    ([0, 3], [0, 3])
    """
    return np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)


def from_words(words: Any, key: Array) -> Array:
    """The key that has these words, of the same generator as another key."""
    return jax.random.wrap_key_data(words, impl=jax.random.key_impl(key))


def split_keys(key: Array, count: int) -> list[Array]:
    """The keys of `jax.random.split` one by one, taken apart in NumPy: nothing is compiled for it.

    >>> one, other = split_keys(jax.random.key(3), 2)
    >>> jax.random.split(jax.random.key(3))[1] == other
    Array(True, dtype=bool)
    """
    words = as_numpy(jax.random.split(key, count))
    return [from_words(each, key) if is_key(key) else jax.device_put(each) for each in words]


def as_keys(key: Array) -> Array:
    """One key or K keys, of the new kind.

    Raises:
        ValueError, TypeError: for anything else.

    >>> as_keys(jax.random.PRNGKey(3)) == jax.random.key(3)
    Array(True, dtype=bool)
    """
    dtype, ndim = getattr(key, "dtype", None), getattr(key, "ndim", 0)
    if dtype == jnp.uint32 and ndim in (1, 2):
        if ndim == 1:
            check_key(key)
        return jax.random.wrap_key_data(key)
    if not is_key(key) or ndim != 1:
        check_key(key)
    return key

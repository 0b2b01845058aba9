"""Random keys: arrays of the new kind, as `jax.random.key` makes them, or words, the old kind.

New keys are made of old ones by Threefry, as in `jax.random`. Here it takes arrays of NumPy's too:
where a key is known, nothing is compiled for a new one. In a program, JAX's own form for a CPU, a
loop of rounds, takes several times as long to compile.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.random import threefry_prng_impl
from jax.typing import DTypeLike

from fcnet.checks import as_jax, check_key


def is_key(leaf: Any) -> bool:
    """Whether an array holds random keys of the new kind."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def is_threefry(keys: Array) -> bool:
    """Whether Threefry makes the numbers of these keys, as it does by default."""
    return not is_key(keys) or str(jax.random.key_impl(keys)) == "threefry2x32"


def as_numpy(leaf: Any) -> Any:
    """An array in NumPy; keys of the new kind, which NumPy has not, as their words.

    While JAX traces a program, what has no values yet is left as JAX's.

    >>> as_numpy(jax.random.key(3)).tolist(), as_numpy(jax.random.PRNGKey(3)).tolist()
    ([0, 3], [0, 3])
    """
    array = jax.random.key_data(leaf) if is_key(leaf) else leaf
    return array if isinstance(array, jax.core.Tracer) else np.asarray(array)


def from_words(words: Any, key: Array) -> Array:
    """The key that has these words, of the same kind and generator as another key."""
    if not is_key(key):
        return as_jax(words)
    return jax.random.wrap_key_data(words, impl=jax.random.key_impl(key))


def fold_in(keys: Array, numbers: Any) -> Array:
    """The keys `jax.random.fold_in(key, number)`; keys and numbers are broadcast.

    >>> key, other = jax.random.key(3), jax.random.PRNGKey(3)
    >>> (fold_in(key, np.arange(2)) == jax.random.split(key)).tolist()
    [True, True]
    >>> jax.random.fold_in(other, 1) == fold_in(other, 1)
    Array([ True,  True], dtype=bool)
    """
    if not is_threefry(keys):
        return jnp.vectorize(jax.random.fold_in)(keys, numbers)
    words = as_numpy(keys)
    return from_words(threefry(words[..., 0], words[..., 1], numbers), keys)


def threefry(first: Any, second: Any, numbers: Any) -> Any:
    """Threefry-2x32 in 20 rounds: two words of 32 bits for the words of a key and each number.

    Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    schedule = (first, second, first ^ second ^ np.uint32(0x1BD11BDA))
    with np.errstate(over="ignore"):
        a, b = first, as_numpy(numbers).astype(np.uint32) + second
        for i in range(1, 6):
            for turn in ((13, 15, 26, 6), (17, 29, 16, 24))[1 - i % 2]:
                a = a + b
                b = a ^ (b << np.uint32(turn) | b >> np.uint32(32 - turn))
            a = a + schedule[i % 3]
            b = b + schedule[(i + 1) % 3] + np.uint32(i)
    return (jnp if isinstance(a, Array) else np).stack([a, b], -1)


def _bits(words: Array, width: int, shape: tuple[int, ...]) -> Array:
    """`jax.random.bits` of the key with these words, `width` bits for each entry of the array."""
    numbers = jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape)
    both = threefry(words[0], words[1], numbers)
    high, low = both[..., 0], both[..., 1]
    if width == 64:
        return high.astype(jnp.uint64) << 32 | low
    return (high ^ low).astype(f"uint{width}")


THREEFRY = threefry_prng_impl._replace(random_bits=_bits, name="fcnet_threefry", tag="fcnet")
"""JAX's generator, with `threefry` for its loop of rounds."""


def normal(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """`jax.random.normal`.

    >>> key = jax.random.key(3)
    >>> (normal(key, (4,), "float32") == jax.random.normal(key, (4,), "float32")).tolist()
    [True, True, True, True]
    """
    if is_threefry(key):
        key = jax.random.wrap_key_data(as_numpy(key), impl=THREEFRY)
    return jax.random.normal(key, shape, dtype)


def split_keys(key: Array, count: int) -> list[Array]:
    """The keys `fold_in(key, i)`, one by one: by default those of `jax.random.split`.

    >>> one, other = split_keys(jax.random.key(3), 2)
    >>> jax.random.split(jax.random.key(3))[1] == other
    Array(True, dtype=bool)
    """
    words = as_numpy(fold_in(key, np.arange(count)))
    return [from_words(words[i], key) for i in range(count)]


def key_of(seed: int) -> Array:
    """`jax.random.key(seed)` of a seed below 2^32; nothing is compiled for it.

    >>> key_of(3) == jax.random.key(3)
    Array(True, dtype=bool)
    """
    words: Any = np.array([0, seed], np.uint32)
    return jax.random.wrap_key_data(words, impl="threefry2x32")


def generator_of(key: Array | None) -> np.random.Generator:
    """NumPy's generator for a random key; for None, that of `jax.random.key(1)`.

    What it draws needs no compiling. It is not `key(0)` for None: `default_rng(0)` draws the same
    numbers as that, and a caller's own data may be drawn so.

    Raises:
        ValueError, TypeError: for what is no key.

    >>> generator_of(jax.random.key(1)).normal() == generator_of(None).normal()
    True
    """
    key = key_of(1) if key is None else key
    check_key(key)
    return np.random.default_rng(as_numpy(key).ravel())


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

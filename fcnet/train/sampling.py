"""Ways to draw batches, one in each row of a table.

Each draws the batches of a whole block of steps at once, before the loop that uses them. The batch
of step i depends on the key and on i alone, not on where blocks begin. K keys give K tables, with
an axis of keys in front.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from types import MappingProxyType
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax

from fcnet.keys import fold_in, is_key
from fcnet.sampling import batch_table, block_length, uniform_below
from fcnet.train.types import Batches

Draw: TypeAlias = Callable[[int], Batches]
"""The batches of the block of steps that starts at a given step."""

KEYS_AT_ONCE = 8
"""How many keys' tables are drawn together: more would not fit a core's cache."""


def each(draw: Callable[[Array], Array], key: Array) -> Array:
    """`draw(key)` for one key, or for each of K keys.

    >>> each(jax.random.key_data, jax.random.split(jax.random.key(0), 3)).shape
    (3, 2)
    """
    several = is_key(key) and key.ndim
    return lax.map(draw, key, batch_size=KEYS_AT_ONCE) if several else draw(key)


def algorithm2(key: Array, n: int, batch_size: int) -> Draw:
    """Algorithm 2, line 4: B distinct examples in each step, every subset equally likely."""
    return lambda start: Batches(_table(key, start, n=n, batch_size=batch_size), None)


@partial(jax.jit, static_argnames=("n", "batch_size"))
def _table(key: Array, start: Array, *, n: int, batch_size: int) -> Array:
    return each(partial(batch_table, start=start, n=n, batch_size=batch_size), key)


def with_replacement(key: Array, n: int, batch_size: int) -> Draw:
    """B examples drawn independently; a batch may hold one twice."""
    return lambda start: Batches(_independent(key, start, n, batch_size=batch_size), None)


@partial(jax.jit, static_argnames="batch_size")
def _independent(key: Array, start: Array, n: Array, *, batch_size: int) -> Array:
    bound = jnp.full(batch_size, n, jnp.int32)
    step = start + jnp.arange(block_length(batch_size), dtype=jnp.int32)

    def draw(key: Array) -> Array:
        return uniform_below(fold_in(key, step), bound).T

    return each(draw, key)


def epoch(key: Array, n: int, batch_size: int) -> Draw:
    """Shuffled passes: epoch e is a permutation of all n; its last batch is padded and masked.

    Epochs are shuffled in groups, each long enough for a block; the last two groups are kept.
    """
    rows = block_length(batch_size)
    per_epoch = -(-n // batch_size)
    epochs = -(-rows // per_epoch)
    per_group = epochs * per_epoch

    @lru_cache(maxsize=2)
    def group(number: int) -> Array:
        return _shuffled(key, number * epochs, epochs=epochs, n=n, batch_size=batch_size)

    def draw(start: int) -> Batches:
        number, offset = divmod(start, per_group)
        after = number + (offset + rows > per_group)
        padded = bool(n % batch_size)
        return _window(group(number), group(after), offset, rows=rows, padded=padded)

    return draw


@partial(jax.jit, static_argnames=("epochs", "n", "batch_size"))
def _shuffled(key: Array, first: Array, *, epochs: int, n: int, batch_size: int) -> Array:
    """The batches of `epochs` epochs in rows, padded with -1."""

    def draw(key: Array) -> Array:
        keys = fold_in(key, first + jnp.arange(epochs))
        order = jax.vmap(lambda k: jax.random.permutation(k, n).astype(jnp.int32))(keys)
        padded = jnp.pad(order, ((0, 0), (0, -n % batch_size)), constant_values=-1)
        return padded.reshape(-1, batch_size)

    return each(draw, key)


@partial(jax.jit, static_argnames=("rows", "padded"))
def _window(here: Array, after: Array, offset: Array, *, rows: int, padded: bool) -> Batches:
    """The `rows` batches from `offset` on, of one group and then of the next."""
    row = offset + jnp.arange(rows)
    last = here.shape[-2]
    here, after = here[..., jnp.minimum(row, last - 1), :], after[..., row - last, :]
    indices = jnp.where((row < last)[:, None], here, after)
    return Batches(jnp.maximum(indices, 0), indices >= 0) if padded else Batches(indices, None)


SAMPLINGS: MappingProxyType[str, Callable[[Array, int, int], Draw]] = MappingProxyType(
    {"algorithm2": algorithm2, "epoch": epoch, "with_replacement": with_replacement}
)
"""By name, functions of the key, n and B. "full", all examples in each step, draws nothing."""


@lru_cache(maxsize=64)
def batches_like(sampling: str, key: jax.ShapeDtypeStruct, n: int, batch_size: int) -> Batches:
    """The shapes of the batches of a block, for a key or keys of this shape."""
    like: Batches = jax.eval_shape(lambda key: SAMPLINGS[sampling](key, n, batch_size)(0), key)
    return like

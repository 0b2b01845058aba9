"""Line 4 of Algorithm 2: B distinct indices out of n, every subset equally likely.

Floyd's algorithm (Bentley and Floyd 1987, Communications of the ACM 30, 754): for j = n-B..n-1 draw
t from 0..j and take it, or j itself where t is taken already. B draws make B distinct indices, so
the cost depends on B alone. `jax.random.choice(replace=False)` sorts all n numbers instead.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Int

from fcnet.checks import as_count, check_key
from fcnet.keys import as_numpy, fold_in

INT32_MAX = int(np.iinfo(np.int32).max)
INDEX_BYTES = {"cpu": 2**17, "gpu": 2**21}
"""The bytes of a block's table of indices, by platform: on a CPU, what its caches hold. Other
accelerators have that of a GPU, which computes a larger table in hardly more time."""
PAIRWISE = 128
"""Up to this B, it is cheaper to compare all pairs of draws than to look them up in a table."""


def sample_batch(key: Array, n: int, batch_size: int) -> Int[Array, " batch_size"]:
    """Line 4 of Algorithm 2: B distinct indices out of 0..n-1, every subset equally likely.

    The same subsets as `jax.random.choice(key, n, (B,), replace=False)` draws, at a cost that does
    not grow with n. Each draw is made of 64 random bits, so the probability of any event is off by
    at most B n / 2^65. The order within the batch is not random; (1.5) does not depend on it.

    Args:
        key: a random key.
        n: the number of examples, at least 1 and less than 2^31.
        batch_size: B, from 1 to n.

    Returns:
        Indices, int32, shape (B,).

    Raises:
        ValueError, TypeError: for n < 1, B < 1 or B > n, or a key that is not one.

    >>> sorted(sample_batch(jax.random.key(0), 5, 5).tolist())
    [0, 1, 2, 3, 4]
    """
    check_key(key)
    n = as_count("n", n, least=1, most=INT32_MAX)
    batch_size = as_count("batch_size", batch_size, least=1, most=n)
    return _sample(key[None], np.int32(n), batch_size)[:, 0]


@partial(jax.jit, static_argnames=("n", "batch_size"))
def batch_table(
    key: Array, start: Int[ArrayLike, ""], n: int, batch_size: int
) -> Int[Array, "block batch_size"]:
    """The batches of steps start, start + 1, ..., one a row, drawn at once and before the loop.

    Row i is `sample_batch(jax.random.fold_in(key, start + i), n, batch_size)`, so a step's batch
    does not depend on how the steps are cut into blocks. There are `block_length(batch_size)` rows.

    >>> batch_table(jax.random.key(0), 0, n=9, batch_size=4).shape
    (1024, 4)
    """
    check_key(key)
    n = as_count("n", n, least=1, most=INT32_MAX)
    batch_size = as_count("batch_size", batch_size, least=1, most=n)
    step = start + jnp.arange(block_length(batch_size), dtype=jnp.int32)
    return _sample(fold_in(key, step), np.int32(n), batch_size).T


def block_length(batch_size: int) -> int:
    """How many steps' indices are drawn at once: up to 1,024, within INDEX_BYTES.

    >>> block_length(32)
    1024
    """
    most = INDEX_BYTES.get(jax.default_backend(), INDEX_BYTES["gpu"])
    return max(1, min(1024, most // (4 * batch_size)))


@partial(jax.jit, static_argnames="batch_size")
def _sample(keys: Array, n: Array, batch_size: int) -> Array:
    """One batch for each key, in the columns: steps side by side fill the vector registers."""
    last = n - batch_size + jnp.arange(batch_size, dtype=jnp.int32)

    def draw(*_: Any) -> Array:
        return uniform_below(keys, last + 1)

    if batch_size <= PAIRWISE:
        return floyd_in_turn(draw(), last)
    # A loop of one turn, whose number XLA cannot know: without it, XLA draws anew for every use.
    once = jnp.minimum(as_numpy(keys).ravel()[0] | 1, 1).astype(jnp.int32)
    zeros = jnp.zeros((batch_size, len(keys)), jnp.int32)
    return floyd_at_once(lax.fori_loop(0, once, draw, zeros), last)


def uniform_below(keys: Array, bound: Int[Array, " B"]) -> Int[Array, "B rows"]:
    """For each key, numbers uniform on 0..bound-1: floor(U bound / 2^64), with 64 random bits U.

    The bits of draw j are the key `fold_in(key, j)` itself; `jax.random.bits` would throw half of
    them away. The keys are the last axis, which fills the vector registers.

    `jax.random.randint` is no substitute. For a bound above 2^16 it keeps the remainder of only 32
    bits: with a bound of 3 * 2^29, a number below 2^30 is 1.5 times as likely as one above.
    """
    draws = jnp.arange(bound.size, dtype=jnp.uint32)[:, None]
    words = as_numpy(fold_in(keys[None], draws))
    high, low = words[..., 0], words[..., 1]
    bound = bound.astype(jnp.uint32)[:, None]
    middle = high * bound
    carry = middle + lax.mulhi(low, bound) < middle
    return (lax.mulhi(high, bound) + carry.astype(jnp.uint32)).astype(jnp.int32)


def floyd_in_turn(draws: Int[Array, "B rows"], last: Int[Array, " B"]) -> Int[Array, "B rows"]:
    """Floyd's algorithm in order: take draw j, or last[j] = n-B+j if that draw is taken already.

    Each step compares one draw of every batch with all that are taken. The cost is B^2.
    """

    def take(taken: Array, row: tuple[Array, Array, Array]) -> tuple[Array, None]:
        j, draw, instead = row
        chosen = jnp.where((taken == draw[None]).any(0), instead, draw)
        return lax.dynamic_update_index_in_dim(taken, chosen, j, 0), None

    rows = (jnp.arange(last.size, dtype=jnp.uint32), draws, last)
    return lax.scan(take, jnp.full_like(draws, -1), rows)[0]


@partial(jax.vmap, in_axes=(1, None), out_axes=1)
def floyd_at_once(draws: Int[Array, " B"], last: Int[Array, " B"]) -> Int[Array, " B"]:
    """The same result at a cost proportional to B.

    Draw j is taken already if an earlier draw equals it. Otherwise it is taken only if it equals
    last[i] for some i < j and draw i was replaced by last[i], which is the same question about i.
    """
    position = jnp.arange(draws.size, dtype=draws.dtype)
    repeats = first_equal(draws) != position
    asked = jnp.where(~repeats & (draws >= last[0]), draws - last[0], position)
    asked = lax.while_loop(lambda i: (i[i] != i).any(), lambda i: i[i], asked)
    return jnp.where(repeats[asked], last, draws)


def first_equal(draws: Int[Array, " B"]) -> Int[Array, " B"]:
    """For each draw, the position of the first draw that equals it.

    The draws go to a table of 2B slots, and the first one in each slot claims it. Draws that equal
    the claimant are settled; others that fell into its slot try again without it.
    """
    size = draws.size
    position = jnp.arange(size, dtype=draws.dtype)
    slots = min(2 * size, INT32_MAX)
    slot = draws % slots

    def claim(first: Array) -> Array:
        open_ = first == size
        claims = jnp.full(slots, size, jnp.int32).at[slot].min(jnp.where(open_, position, size))
        claimant = claims[slot]
        return jnp.where(open_ & (draws[claimant] == draws), claimant, first)

    return lax.while_loop(lambda first: (first == size).any(), claim, jnp.full_like(position, size))

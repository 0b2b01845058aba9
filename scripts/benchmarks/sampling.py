"""Algorithm 2 with exact sampling, against the same steps on given batches."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp

import fcnet
from benchmarks.measure import Program, compare
from benchmarks.record import Row

SIZES = (10, 64, 64, 1)
CASES = (  # n, B, steps a run
    *((10**power, 32, 2048) for power in (4, 5, 6, 7)),
    *((10**power, 128, 1024) for power in (4, 5, 6, 7)),
    (47, 8, 4096),
    (60_000, 12_000, 5),
    (60_000, 30_000, 2),
    (60_000, 60_000, 1),
)
RATE = 1e-3


def run(quick: bool) -> Iterator[Row]:
    return (_case(*case, pairs=1 if quick else 101) for case in CASES[: 1 if quick else None])


def _case(n: int, batch_size: int, steps: int, pairs: int) -> Row:
    keys = jax.random.split(jax.random.key(0), 4)
    params = fcnet.init(keys[0], SIZES)
    X = jax.random.normal(keys[1], (n, SIZES[0]))
    Y = jax.random.normal(keys[2], (n, SIZES[-1]))
    batches = jax.random.randint(keys[3], (steps, batch_size), 0, n)

    # Under `jax.jit` the values of X and Y are unknown, so no run checks them. The key is an
    # argument, because the compiler could draw from a constant key ahead of time.
    @jax.jit
    def sampled(X: jax.Array, Y: jax.Array, key: jax.Array) -> fcnet.Params:
        return fcnet.minibatch_sgd(
            params, X, Y, key=key, learning_rate=RATE, batch_size=batch_size, steps=steps
        )

    @jax.jit
    def given(X: jax.Array, Y: jax.Array, batches: jax.Array) -> fcnet.Params:
        def step(i: jax.Array, params: fcnet.Params) -> fcnet.Params:
            batch = batches[i]
            gradient = fcnet.batch_backprop(params, X[batch], Y[batch])
            return jax.tree.map(lambda p, g: p - jnp.float32(RATE) * g, params, gradient)

        return jax.lax.fori_loop(0, steps, step, params)

    return compare(
        f"n = {n:,}, B = {batch_size:,}",
        Program("exact sampling", partial(sampled, X, Y, keys[3]), steps),
        Program("indices given", partial(given, X, Y, batches), steps),
        pairs,
    )

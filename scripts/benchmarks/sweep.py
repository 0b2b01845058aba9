"""The throughput of `fcnet.sweep` in steps of a network, against `fcnet.fit` one at a time.

Layouts of a member's step with its own batches, in nanoseconds on one core for 4-3-1 with B = 8 and
128 members in one loop (two cores, AMD EPYC, JAX 0.10.2):

| layout                                                                         | ns  |
|--------------------------------------------------------------------------------|-----|
| `jax.vmap`: members first, products as dots                                    | 190 |
| the same, products as sums of products                                         | 183 |
| members last for the gradient alone, products written out term by term         | 160 |
| members last for parameters and optimiser too, products written out            | 88  |

fcnet uses the first. The last would be a second Algorithm 5, and it gains only for networks of this
size under plain SGD: a whole sweep takes 125 ns a step against 193, but 312 against 304 with Adam,
and for 4-16-1 the products written out take fifteen times as long. A member's step takes 63 ns more
to draw its batch exactly and 20 ns to gather the rows. Batches are drawn for eight members at a
time, which fits a core's cache (`KEYS_AT_ONCE` in fcnet/train/sampling.py): a sweep of 256 takes
0.84 to 0.89 of the time of drawing for all at once.
"""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp

import fcnet
import fcnet.train.data
from benchmarks.measure import Program, name_case
from benchmarks.race import race
from benchmarks.record import Row

CASES = (  # layer sizes, B, n, K, steps of a member
    ((4, 3, 1), 8, 47, 256, 32_768),
    ((10, 64, 64, 1), 32, 10_000, 64, 1024),
    ((784, 256, 128, 10), 128, 20_000, 4, 256),
)


def run(quick: bool) -> Iterator[Row]:
    fcnet.train.data.EVALUATED_ROWS = 16
    for case in CASES[: 1 if quick else None]:
        yield from _case(*case, quick=quick)


def _case(
    sizes: tuple[int, ...], batch_size: int, n: int, K: int, steps: int, quick: bool
) -> list[Row]:
    steps = 16 if quick else steps
    keys = jax.random.split(jax.random.key(0), K)
    params = jax.vmap(partial(fcnet.init, sizes=sizes))(keys)
    X = jax.random.normal(keys[0], (n, sizes[0]))
    Y = jnp.sin(X[:, :1] + jnp.arange(sizes[-1]))
    choices = {
        "batch_size": batch_size, "optimizer": "sgd", "evaluate_every": 10**6,
        "hyperparameters": {"learning_rate": jnp.asarray(1e-3)},
    }  # fmt: skip
    alone = 16 * steps if K > 16 and not quick else steps
    first = jax.tree.map(lambda leaf: leaf[0], params)

    def one() -> fcnet.Params:
        return fcnet.fit(first, X, Y, key=keys[0], steps=alone, **choices).params

    def many(key: jax.Array) -> fcnet.Params:
        return fcnet.sweep(params, X, Y, key=key, steps=steps, **choices).params

    programs = [
        Program("fit, one at a time", one, alone),
        Program(f"sweep of {K}, own batches", partial(many, keys), K * steps),
        Program(f"sweep of {K}, shared batches", partial(many, keys[0]), K * steps),
    ]
    return race(name_case(sizes, batch_size), programs, rounds=1 if quick else 5)

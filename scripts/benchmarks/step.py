"""A step with the gradient by hand (Algorithm 5), against the same step with `jax.grad`."""

from collections.abc import Iterator
from functools import partial

import jax

import fcnet
from benchmarks.measure import Program, compare, name_case
from benchmarks.record import Row

CASES = (  # layer sizes, B, steps a run
    ((4, 3, 1), 32, 16384),
    ((10, 64, 64, 1), 32, 2048),
    ((784, 256, 128, 10), 128, 32),
    ((256, 1024, 1024, 1024, 1), 256, 2),
    ((1024, 2048, 2048, 10), 512, 1),
)
BATCHES = 8  # more than one, so that a step's batch is no constant of the loop

GRADIENTS = {"by hand": fcnet.batch_backprop, "autodiff": jax.grad(fcnet.mean_loss)}


def run(quick: bool) -> Iterator[Row]:
    return (_case(*case, pairs=1 if quick else 101) for case in CASES[: 2 if quick else None])


def _case(sizes: tuple[int, ...], batch_size: int, steps: int, pairs: int) -> Row:
    keys = jax.random.split(jax.random.key(0), 3)
    params = fcnet.init(keys[0], sizes)
    X = jax.random.normal(keys[1], (BATCHES, batch_size, sizes[0]))
    Y = jax.random.normal(keys[2], (BATCHES, batch_size, sizes[-1]))

    def program(name: str) -> Program:
        gradient = GRADIENTS[name]

        def step(i: jax.Array, params: fcnet.Params) -> fcnet.Params:
            g = gradient(params, X[i % BATCHES], Y[i % BATCHES])
            return jax.tree.map(lambda p, g: p - 1e-3 * g, params, g)

        descend = jax.jit(lambda params: jax.lax.fori_loop(0, steps, step, params))
        return Program(name, partial(descend, params), steps)

    return compare(name_case(sizes, batch_size), program("by hand"), program("autodiff"), pairs)

"""On a GPU: `fcnet.fit` against other libraries' loops, and against its step's products alone.

Everything is in float32, PyTorch's default, unless a row says otherwise; JAX's is TensorFloat-32.

The forms of the loop, in microseconds a step (NVIDIA H100, JAX 0.11.2, float32, B = 8, 32, 32 and
128; medians of 7 turns of 1,024 steps):

| the loop                                   | 4-3-1 | 10-64-64-1 | 784-128-10 | 784-256-128-10 |
|--------------------------------------------|-------|------------|------------|----------------|
| number of steps given at the start         | 23.9  | 38.2       | 35.2       | 57.3           |
| constant number of steps                   | 11.3  | 22.7       | 22.0       | 43.7           |
| the same, 4 steps an iteration             | 6.4   | 17.4       | 19.4       | 39.2           |
| the same, 16 steps an iteration            | 5.7   | 16.9       | 18.6       | 39.4           |
| given number of runs of 32 steps           | 13.4  | 22.8       | 23.7       | 45.2           |
| number given, the loop a command buffer    | 15.9  | 25.0       | 26.8       | 47.5           |
| constant number, the loop a command buffer | 15.2  | 25.1       | 26.5       | 47.4           |
| 4 an iteration, the loop a command buffer  | 7.6   | 18.5       | 21.0       | 40.2           |

All rows have --xla_gpu_graph_min_graph_size=1. "A command buffer" also has
--xla_gpu_enable_command_buffer=+WHILE, which took twice as long without the other flag. fcnet uses
rows 3 and 5 together, which were not timed together: a given number of runs of 32 steps, 4 an
iteration (fcnet/train/program.py). 16 an iteration take longer to compile and gain little. The
flags are the user's to set, and gain nothing with a constant number. A step of `fit` with
784-1024x3-10 and B = 8,192 took 3.6 ms in float32, 1.3 ms in tensorfloat32 and 0.82 ms in bfloat16,
with the number of steps given.
"""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp

import fcnet.train.data
from benchmarks.measure import Program
from benchmarks.peers import of_fcnet, of_optax, of_torch
from benchmarks.products import Factors, factors
from benchmarks.race import Place, race
from benchmarks.train import compete, draw_work
from fcnet.train.precision import Precision, as_precision

LOOPS = {
    "fcnet.fit": of_fcnet,
    "jitted step + optax": of_optax,
    "torch": partial(of_torch, device="cuda"),
    "torch.compile": partial(of_torch, device="cuda", compile_mode="reduce-overhead"),
}
CASES = (  # layer sizes, B, n
    ((4, 3, 1), 8, 47),
    ((10, 64, 64, 1), 32, 10_000),
    ((784, 256, 128, 10), 128, 20_000),
    ((784, 1024, 1024, 1024, 10), 8192, 60_000),
)
WIDE, WIDE_BATCH = (4096,) * 5, 8192
STEPS = {"float32": 50, "tensorfloat32": 200, "bfloat16": 400}
"""The steps of a run on wide layers, by precision: one to two seconds."""


def run(quick: bool) -> Iterator[Place]:
    if jax.default_backend() != "gpu" and not quick:
        print("gpu is left out: JAX finds no GPU")
        return
    fcnet.train.data.EVALUATED_ROWS = 16
    for case in CASES[: 1 if quick else None]:
        with jax.default_matmul_precision("float32"):
            places = compete(*case, LOOPS, quick)
        yield from places
    yield from _beside_products(quick)


def _beside_products(quick: bool) -> Iterator[Place]:
    """The step of a wide network and its products alone, in each precision."""
    sizes, batch_size = ((8, 4, 4), 16) if quick else (WIDE, WIDE_BATCH)
    work, pairs = draw_work(sizes, batch_size, 2 * batch_size), factors(sizes, batch_size)
    for name, steps in STEPS.items():
        steps = 1 if quick else steps
        arithmetic = as_precision(name)
        dtype = arithmetic.compute or arithmetic.dtype
        given = [(jnp.asarray(a, dtype), jnp.asarray(b, dtype)) for a, b in pairs]
        train = partial(of_fcnet(work, name), steps)
        products = partial(_repeat, given, steps, arithmetic)
        case = f"{'-'.join(map(str, sizes))}, B={batch_size}, {name}"
        programs = [
            Program("fcnet.fit", train, steps),
            Program("products alone", products, steps),
        ]
        yield from race(case, programs, None, rounds=1 if quick else 3)


def _repeat(pairs: Factors, steps: int, arithmetic: Precision) -> list[jax.Array]:
    """The products of `steps` steps."""
    with arithmetic.scope():
        for _ in range(steps):
            products = _multiply(pairs)
    return products


@jax.jit
def _multiply(pairs: Factors) -> list[jax.Array]:
    return [a @ b for a, b in pairs]

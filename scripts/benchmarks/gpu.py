"""On a GPU: `fcnet.fit` beside the same step in a bare loop and other libraries' loops, and sweeps.

All of it takes less than four minutes. Each case begins with its floor: the time of the arithmetic
of its products, or of reading and writing its parameters and batches if that is longer, at the
rates that the device reaches in one large product and one large copy. "First s" is the first run,
of one step, which compiles.

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

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from time import perf_counter
from types import MappingProxyType

import jax
import jax.numpy as jnp

import fcnet
import fcnet.train.data
from benchmarks.measure import Program, name_case
from benchmarks.peers import Run, arithmetic_of, of_fcnet, of_loop, of_optax, of_torch
from benchmarks.race import race
from benchmarks.record import Row
from benchmarks.train import compete

SECONDS = 180
"""After as many, no other part is begun: a part takes half a minute."""

SMALL = (  # layer sizes, B, n
    ((4, 3, 1), 8, 47),
    ((10, 64, 64, 1), 32, 10_000),
    ((784, 256, 128, 10), 128, 20_000),
)
WIDE = ((784, 1024, 1024, 1024, 10), 8192, 60_000)
SWEEPS = (  # layer sizes, B, n, networks, steps
    ((10, 64, 64, 1), 32, 10_000, 1024, 4096),
    ((784, 256, 128, 10), 128, 20_000, 64, 1024),
)
TINY, TINY_WIDE = ((4, 3, 1), 8, 47), ((8, 4, 2), 16, 64)
TINY_SWEEP = ((4, 3, 1), 8, 47, 4, 16)
"""What `--quick` runs in their place."""

LOOPS: Mapping[str, Callable[..., Run]] = MappingProxyType(
    {"fcnet.fit": of_fcnet, "jitted step + optax": of_optax, "torch": of_torch}
)
WIDE_LOOPS = MappingProxyType({"bare fori_loop": of_loop, **LOOPS})
"""Programs that train in a precision; their ratios are to the first of them."""

FLOOR = "floor"


def run(quick: bool) -> Iterator[Row]:
    if jax.default_backend() != "gpu" and not quick:
        print("gpu is left out: JAX finds no GPU")
        return
    fcnet.train.data.EVALUATED_ROWS = 16
    start = perf_counter()
    for name, part in parts(quick):
        if not quick and perf_counter() - start > SECONDS:
            print(f"{name} is left out: {SECONDS} s are over")
            continue
        yield from part()


def parts(quick: bool) -> Iterator[tuple[str, Callable[[], Iterator[Row]]]]:
    """What is measured, with what matters most first."""
    sweeps = (TINY_SWEEP,) if quick else SWEEPS
    wide = TINY_WIDE if quick else WIDE
    for precision in ("float32", "tensorfloat32", "bfloat16"):
        yield f"{wide[0]}, {precision}", partial(train, *wide, precision, WIDE_LOOPS, quick)
        if precision == "float32":
            yield from ((f"sweep of {case[0]}", partial(sweep, *case, quick)) for case in sweeps)
    for case in (TINY,) if quick else SMALL:
        yield f"{case[0]}", partial(train, *case, "float32", LOOPS, quick)


def train(
    sizes: tuple[int, ...],
    batch_size: int,
    n: int,
    precision: str,
    loops: Mapping[str, Callable[..., Run]],
    quick: bool,
) -> Iterator[Row]:
    """The loops in one precision."""
    peers = {name: partial(loop, precision=precision) for name, loop in loops.items()}
    rates = rates_of_device(precision, quick)
    case = f"{name_case(sizes, batch_size)}, {precision}"
    yield floor(case, sizes, batch_size, 1, rates)
    for row in compete(sizes, batch_size, n, peers, quick, lasting=0.8, rounds=3):
        yield row._replace(case=case)


def sweep(
    sizes: tuple[int, ...], batch_size: int, n: int, networks: int, steps: int, quick: bool
) -> Iterator[Row]:
    """A step of all networks, beside the least time that its arithmetic and its memory take."""
    keys = jax.random.split(jax.random.key(0), networks)
    params = jax.vmap(partial(fcnet.init, sizes=sizes))(keys)
    X = jax.random.normal(keys[0], (n, sizes[0]))
    Y = jnp.sin(X[:, :1] + jnp.arange(sizes[-1]))

    def many(key: jax.Array, steps: int) -> fcnet.Params:
        return fcnet.sweep(
            params, X, Y, key=key, steps=steps, batch_size=batch_size, optimizer="sgd",
            hyperparameters={"learning_rate": jnp.asarray(1e-3)}, evaluate_every=10**6,
        ).params  # fmt: skip

    case = f"{networks:,} of {name_case(sizes, batch_size)}"
    least = floor(case, sizes, batch_size, networks, rates_of_device("float32", quick))
    yield least
    programs, cold = [], []
    for name, key in (("own batches", keys), ("shared batches", keys[0])):
        start = perf_counter()
        jax.block_until_ready(many(key, 1))
        cold.append(perf_counter() - start)
        programs.append(Program(f"fcnet.sweep, {name}", partial(many, key, steps), steps))
    for row, seconds in zip(race(case, programs, rounds=1 if quick else 3), cold, strict=True):
        us = row.values["us"]
        values = {"us": us, "ratio": us / least.values["us"], "cold_s": seconds}
        yield Row(case, row.program, values, baseline=FLOOR)


def floor(
    case: str, sizes: tuple[int, ...], batch_size: int, networks: int, rates: dict[str, float]
) -> Row:
    """The least time of a step of all networks, from its shapes and the rates of the device.

    The products are counted: three a layer, and two in the first one. Of the memory, parameters
    are read and written once, and the rows of each batch are read once.
    """
    shapes = list(pairwise(sizes))
    products = sum((3 if k else 2) * m * m_below for k, (m_below, m) in enumerate(shapes))
    flop = 2 * networks * batch_size * products
    rows = batch_size * (sizes[0] + sizes[-1])
    size = 4 * networks * (2 * fcnet.count_params(sizes) + rows)
    seconds = max(flop / rates["flop"], size / rates["bytes"])
    return Row(case, FLOOR, {"us": 1e6 * seconds, "gflop": flop / 1e9, "mb": size / 2**20})


def rates_of_device(precision: str, quick: bool) -> dict[str, float]:
    """Operations a second in a large product, and bytes a second in a large copy."""
    m, size = (64, 2**10) if quick else (8192, 2**28)
    with arithmetic_of(precision) as arithmetic:
        a = jnp.ones((m, m), arithmetic.compute or arithmetic.dtype)
        flop = 2 * m**3 / least_seconds(jax.jit(jnp.matmul), a, a)
    x = jnp.ones(size, jnp.float32)
    return {"flop": flop, "bytes": 2 * x.nbytes / least_seconds(jax.jit(jnp.negative), x)}


def least_seconds(function: Callable[..., jax.Array], *arguments: jax.Array) -> float:
    """The time of a call, the least of several that are each sent eight times in a row."""
    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(5):
        start = perf_counter()
        for _ in range(8):
            result = function(*arguments)
        jax.block_until_ready(result)
        times.append((perf_counter() - start) / 8)
    return min(times)

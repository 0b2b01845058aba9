"""The matrix products of a step alone, in several libraries, beside whole steps.

A step of (2.12) and Algorithm 5 has three products a layer: Z = A W^T, dJ/dA = D W, which the first
layer does not need, and dJ/dW = D^T A. Every library gets the same A, W and D as they lie in a
step, and XLA's products of many steps are in one program, as in `fcnet.fit`. What NumPy's step
takes, divided by the products alone, is the most by which a step on that library's products can be
ahead of NumPy by hand.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import fcnet.train.data
from benchmarks.measure import Program, name_case
from benchmarks.peers import of_fcnet, of_numpy
from benchmarks.race import race
from benchmarks.record import Row
from benchmarks.train import draw_work

CASES = (  # layer sizes, B, steps a run
    ((784, 256, 128, 10), 128, 384),
    ((256, 1024, 1024, 1024, 1), 256, 24),
    ((1024, 2048, 2048, 10), 512, 8),
)
TINY = ((8, 16, 4), 8, 16)
N = 20_000

Factors = list[tuple[Any, Any, Any]]
"""A of the layer below, W, and D, for each layer."""


def run(quick: bool) -> Iterator[Row]:
    fcnet.train.data.EVALUATED_ROWS = 16
    for case in (TINY,) if quick else CASES:
        yield from _case(*case, quick=quick)


def _case(sizes: tuple[int, ...], batch_size: int, steps: int, quick: bool) -> list[Row]:
    work = draw_work(sizes, batch_size, N)
    runs: dict[str, Callable[[int], Any]] = {
        "NumPy by hand": of_numpy(work),
        "fcnet.fit": of_fcnet(work),
    }
    for name, multiplier in MULTIPLIERS.items():
        try:
            runs[f"products, {name}"] = multiplier(factors(sizes, batch_size))
        except ImportError as error:
            print(f"{name} is left out: {error}")
    programs = [Program(name, partial(run, steps), steps) for name, run in runs.items()]
    return race(name_case(sizes, batch_size), programs, rounds=1 if quick else 9)


def factors(sizes: tuple[int, ...], batch_size: int) -> Factors:
    """The factors of a step's products."""
    rng = np.random.default_rng(0)
    shapes = [((batch_size, d), (m, d), (batch_size, m)) for d, m in pairwise(sizes)]
    return [tuple(rng.standard_normal(shape, "f") for shape in layer) for layer in shapes]


def products(layers: Factors) -> list[tuple[Any, Any]]:
    """The two factors of each product of a step."""
    pairs = [(A, W.T) for A, W, _ in layers]
    pairs += [(D, W) for _, W, D in layers[:0:-1]]
    return pairs + [(D.T, A) for A, _, D in layers]


def by_numpy(layers: Factors) -> Callable[[int], Any]:
    return in_turn(products(layers), np.matmul)


def by_torch(layers: Factors) -> Callable[[int], Any]:
    import torch

    given = [tuple(torch.from_numpy(array) for array in layer) for layer in layers]
    return in_turn(products(given), torch.mm)


def in_turn(pairs: list[tuple[Any, Any]], multiply: Callable[..., Any]) -> Callable[[int], Any]:
    """The products one after the other, into arrays that are made once."""
    outs = [a @ b for a, b in pairs]

    def run(steps: int) -> Any:
        for _ in range(steps):
            for (a, b), out in zip(pairs, outs, strict=True):
                multiply(a, b, out=out)
        return outs

    return run


def by_xla(layers: Factors) -> Callable[[int], Any]:
    @jax.jit
    def repeat(layers: Factors, steps: int) -> Any:
        def step(_: int, carry: Any) -> Any:
            # Without the barrier, XLA would move the products out of the loop.
            layers, _ = lax.optimization_barrier(carry)
            return layers, [a @ b for a, b in products(layers)]

        start = [jnp.zeros((len(a), b.shape[1]), a.dtype) for a, b in products(layers)]
        return lax.fori_loop(0, steps, step, (layers, start))[1]

    return partial(repeat, jax.tree.map(jnp.asarray, layers))


MULTIPLIERS = {"NumPy": by_numpy, "torch": by_torch, "XLA": by_xla}

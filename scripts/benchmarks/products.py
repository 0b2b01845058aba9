"""`fcnet.fit` on wide layers against the matrix products of its step alone, in several libraries.

A step of (2.12) and Algorithm 5 has three products a layer: Z = A W^T, dJ/dA = D W, which the first
layer does not need, and dJ/dW = D^T A. The rest of the step is overhead.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fcnet.train.data
from benchmarks.measure import Program
from benchmarks.peers import of_fcnet
from benchmarks.race import Place, race
from benchmarks.train import draw_work

SIZES, BATCH_SIZE, N, STEPS = (1024, 2048, 2048, 10), 512, 20_000, 8
Factors = list[tuple[Any, Any]]


def run(quick: bool) -> list[Place]:
    sizes, batch_size = ((8, 16, 4), 8) if quick else (SIZES, BATCH_SIZE)
    fcnet.train.data.EVALUATED_ROWS = 16
    train = of_fcnet(draw_work(sizes, batch_size, N))
    programs = [Program("fcnet.fit", partial(train, STEPS), STEPS)]
    for name, multiplier in MULTIPLIERS.items():
        try:
            multiply = multiplier(factors(sizes, batch_size))
        except ImportError as error:
            print(f"{name} is left out: {error}")
            continue
        programs.append(Program(f"products, {name}", partial(repeat, multiply), STEPS))
    case = f"{'-'.join(map(str, sizes))}, B={batch_size}"
    return race(case, programs, None, rounds=1 if quick else 7)


def factors(sizes: tuple[int, ...], batch_size: int) -> Factors:
    """The factors of a step's products."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape, "f")  # noqa: E731
    pairs = []
    for k, (m_below, m) in enumerate(pairwise(sizes)):
        W, A, D = draw(m, m_below), draw(batch_size, m_below), draw(batch_size, m)
        pairs += [(A, W.T), (D.T, A)] + ([(D, W)] if k else [])
    return pairs


def repeat(multiply: Callable[[], Any]) -> Any:
    """The products of `STEPS` steps."""
    for _ in range(STEPS):
        products = multiply()
    return products


def by_numpy(pairs: Factors) -> Callable[[], Any]:
    outs = [a @ b for a, b in pairs]
    return lambda: [np.matmul(a, b, out=out) for (a, b), out in zip(pairs, outs, strict=True)]


def by_torch(pairs: Factors) -> Callable[[], Any]:
    import torch

    given = [(torch.from_numpy(a), torch.from_numpy(b)) for a, b in pairs]
    outs = [a @ b for a, b in given]
    return lambda: [torch.mm(a, b, out=out) for (a, b), out in zip(given, outs, strict=True)]


def by_xla(pairs: Factors) -> Callable[[], Any]:
    given = [(jnp.asarray(a), jnp.asarray(b)) for a, b in pairs]
    multiply = jax.jit(lambda pairs: [a @ b for a, b in pairs])
    return lambda: multiply(given)


MULTIPLIERS = {"NumPy": by_numpy, "torch": by_torch, "XLA": by_xla}

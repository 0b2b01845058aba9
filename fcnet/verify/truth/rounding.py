"""How far rounding may move each component of a correct gradient. Nobody chooses a tolerance.

A correct program rounds after every operation, and each rounding moves its result. `spread` repeats
a computation with the result of every primitive moved by a tiny random relative amount (Monte-Carlo
arithmetic; Parker 1997; Sohier et al. 2021, arXiv:1807.09655). It measures the standard deviation
of each component per unit roundoff, sigma. The error of a program that rounds to unit roundoff u is
about u sigma, for any scale of the loss, any size of the network and any cancellation.
"""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from fcnet.verify.truth.arithmetic import MonteCarlo, Pair, decides
from fcnet.verify.truth.double import Traced
from fcnet.verify.truth.evaluate import as_value
from fcnet.verify.truth.jaxprs import shape_of

KAPPA = 6.0
"""The error of a correct program stays below KAPPA u sigma. The largest of 1,900 runs was 3.6 u
sigma. The programs were written independently (sequential, reversed, pairwise and wide sums, other
formulas), and ran in float64 to bfloat16, on networks from 4-3-1 to 50-100-100-100-5."""

TOGETHER = 2**20
"""The most entries of an array of samples: more are computed one part after the other."""


class Spread(NamedTuple):
    """The result of a computation, and per component its standard deviation per unit roundoff.

    `roundoff` is that of the coarsest dtype that the computation itself uses: `value` is not known
    more precisely.
    """

    value: Any
    sigma: Any
    roundoff: Any


def spread(function: Traced, *args: Any, samples: int, floor: float = 0.0) -> Spread:
    """What `function(*args)` is, and how far rounding moves each component, per unit roundoff.

    Args:
        function: of real arrays, traced; it need not be differentiable.
        args: its arguments, pytrees.
        samples: how often the computation is repeated.
        floor: `tiny / u` of the format: what underflow loses, per unit roundoff.

    Returns:
        The value, and sigma with the same structure: at least |value|, for one rounding at the end.

    >>> from fcnet.verify.truth.double import trace
    >>> x = np.float64(2.0**-9)  # 2^-9 + 1 is rounded once; taking 1 away leaves that error
    >>> round(spread(trace(lambda a: (a + 1) - 1, x), x, samples=8).sigma.item(), 2)
    1.0
    """
    jaxpr, consts = function.jaxpr.jaxpr, function.jaxpr.consts
    inputs = [Pair(x, x) for x in map(as_value, jax.tree.leaves(args))]
    step = math.sqrt(function.roundoff)
    together = max(1, TOGETHER // function.largest)
    lengths: list[Any] = [0.0] * len(jaxpr.outvars)
    with np.errstate(all="ignore"):
        for start in range(0, samples, together):
            count = min(together, samples - start)
            arithmetic = MonteCarlo(count, step, floor, seed=start)
            pairs = arithmetic.run(jaxpr, consts, inputs)
            moves = [(arithmetic.all_samples(pair) - pair.exact) / step for pair in pairs]
            # squares would overflow for values beyond 1e154
            lengths = list(map(np.hypot, lengths, map(np.hypot.reduce, moves)))
        values = [pair.exact for pair in pairs]
        sigma = [
            np.maximum(abs(v), x / math.sqrt(samples)) for v, x in zip(values, lengths, strict=True)
        ]
    value, sigma = (jax.tree.unflatten(function.structure, x) for x in (values, sigma))
    return Spread(value, sigma, function.roundoff)


def jumps(function: Traced, *args: Any, size: float, samples: int = 6) -> Any:
    """How far the results change if decisions that rounding can change come out the other way.

    Every input and every result is moved by about `size`, relatively, and what is 0 is moved off 0:
    all up, all down and at random. Each move is made twice: with the decisions it leads to, and
    with those of the exact computation. The difference is that of a ReLU on the other side of its
    kink, or of another entry as the largest.

    Args:
        function: of arrays, traced.
        args: its arguments, pytrees.
        size: the relative size of a move, such as a few unit roundoffs.
        samples: the number of random moves.

    Returns:
        The differences seen, with the structure of the result and an axis for them in front; 0
        where no decision is near.

    >>> from fcnet.verify.truth.double import trace
    >>> jumps(trace(jax.grad(jax.nn.relu), 0.0), 0.0, size=1e-15, samples=0)
    array([1., 0.])
    """
    jaxpr, consts = function.jaxpr.jaxpr, function.jaxpr.consts
    if not decides(function.jaxpr):
        zeros = [np.zeros((1, *shape_of(atom))) for atom in jaxpr.outvars]
        return jax.tree.unflatten(function.structure, zeros)
    directions = np.array([1, -1] + samples * [0])

    def run(frozen: bool) -> list[Any]:
        sample = MonteCarlo(
            len(directions), size, frozen=frozen, nudge=1e-30, directions=directions
        )
        inputs = [sample.start(x) for x in map(as_value, jax.tree.leaves(args))]
        return [sample.all_samples(pair) for pair in sample.run(jaxpr, consts, inputs)]

    with np.errstate(all="ignore"):
        jump = [free - kept for kept, free in zip(run(True), run(False), strict=True)]
    return jax.tree.unflatten(function.structure, jump)


def sample_count(components: int) -> int:
    """How many samples to measure a spread with: fewer for many components, to save time.

    >>> sample_count(19), sample_count(30_000), sample_count(670_000)
    (32, 16, 8)
    """
    return 32 if components <= 2**14 else 16 if components <= 2**17 else 8

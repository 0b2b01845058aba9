"""How far rounding may move each component of a correct gradient. Nobody chooses a tolerance.

A correct program rounds after every operation, and each rounding moves its result. `spread` repeats
a computation with the result of every primitive moved by a tiny random relative amount (Monte-Carlo
arithmetic; Parker 1997; Sohier et al. 2021, arXiv:1807.09655). It measures the standard deviation
of each component per unit roundoff, sigma. The error of a program that rounds to unit roundoff u is
about u sigma, for any scale of the loss, any size of the network and any cancellation.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from fcnet.verify.truth.arithmetic import MonteCarlo, decides
from fcnet.verify.truth.double import Traced
from fcnet.verify.truth.evaluate import as_value
from fcnet.verify.truth.jaxprs import shape_of

KAPPA = 6.0
"""The error of a correct program stays below KAPPA u sigma. The largest of 1,900 runs was 3.6 u
sigma. The programs were written independently (sequential, reversed, pairwise and wide sums, other
formulas), and ran in float64 to bfloat16, on networks from 4-3-1 to 50-100-100-100-5."""

FEW = 5
"""How many random moves are tried first to see whether a decision changes. Also all up and all down
and the exact computation make eight in all, a block of compiled primitives."""

TOGETHER = 2**21
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
    return spreads(function, [args], samples=samples, floor=floor)[0]


def spreads(
    function: Traced,
    cases: Sequence[Any],
    *,
    samples: int,
    floor: float = 0.0,
    rounded: bool = False,
) -> list[Spread]:
    """The spread for each of several tuples of arguments, computed together.

    With `rounded`, the arguments are no numbers of the format either, and are rounded to it first.
    """
    many = TOGETHER // function.largest // (1 + samples)
    together = max(1, TOGETHER // function.largest_result)  # arguments are the same in all samples
    return [
        one
        for part in _parts(cases, many)
        for one in _spreads(function, part, samples, floor, together, rounded)
    ]


def _parts(cases: Sequence[Any], many: int) -> Iterator[Sequence[Any]]:
    """The cases, a few at a time."""
    return (cases[i : i + max(1, many)] for i in range(0, len(cases), max(1, many)))


def _leaves(cases: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Each argument in all cases."""
    return list(zip(*(map(as_value, jax.tree.leaves(args)) for args in cases), strict=True))


def _spreads(
    function: Traced,
    cases: Sequence[Any],
    samples: int,
    floor: float,
    together: int,
    rounded: bool,
) -> list[Spread]:
    jaxpr, consts = function.jaxpr.jaxpr, function.jaxpr.consts
    leaves = _leaves(cases)
    step = math.sqrt(function.roundoff)
    lengths: list[Any] = [0.0] * len(jaxpr.outvars)
    with np.errstate(all="ignore"):
        for start in range(0, samples, together):
            count = min(together, samples - start)
            arithmetic = MonteCarlo(count, step, floor, seed=start, cases=len(cases))
            inputs = [arithmetic.inputs(values, moved=rounded) for values in leaves]
            found = arithmetic.run(jaxpr, consts, inputs)
            pairs = [
                arithmetic.taken_apart(x, shape_of(atom))
                for x, atom in zip(found, jaxpr.outvars, strict=True)
            ]
            moves = ((moved - exact[:, None]) / step for exact, moved in pairs)
            # squares would overflow for values beyond 1e154
            lengths = list(map(np.hypot, lengths, (np.hypot.reduce(move, 1) for move in moves)))
        values = [exact for exact, _ in pairs]
        sigma = [
            np.maximum(abs(v), x / math.sqrt(samples)) for v, x in zip(values, lengths, strict=True)
        ]

    def of_case(results: Sequence[Any], i: int) -> Any:
        return jax.tree.unflatten(function.structure, [x[i] for x in results])

    return [
        Spread(of_case(values, i), of_case(sigma, i), function.roundoff) for i in range(len(cases))
    ]


def jumps(function: Traced, *args: Any, size: float, samples: int = FEW) -> Any:
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
    return jumps_on(function, [args], size=size, samples=samples)[0]


def jumps_on(
    function: Traced, cases: Sequence[Any], *, size: float, samples: int = FEW
) -> list[Any]:
    """The jumps for each of several tuples of arguments, computed together."""
    many = TOGETHER // function.largest // (3 + samples)
    return [jump for part in _parts(cases, many) for jump in _jumps(function, part, size, samples)]


def _jumps(function: Traced, cases: Sequence[Any], size: float, samples: int) -> Iterator[Any]:
    free: list[Any] = []
    switched = np.zeros(len(cases), bool)
    if decides(function.jaxpr):
        free, switched = _moved(function, cases, size, samples, frozen=False)
    kept = _moved(function, cases, size, samples, frozen=True)[0] if switched.any() else []
    none = [np.zeros((1, *shape_of(atom))) for atom in function.jaxpr.jaxpr.outvars]
    for i, is_near in enumerate(switched):
        with np.errstate(invalid="ignore"):
            jump = [x[i] - y[i] for x, y in zip(free, kept, strict=True)] if is_near else none
        yield jax.tree.unflatten(function.structure, jump)


def _moved(
    function: Traced, cases: Sequence[Any], size: float, samples: int, frozen: bool
) -> tuple[list[Any], np.ndarray]:
    """For each result the samples of all cases, and for each case whether a decision changed."""
    way = np.array([1, -1] + samples * [0])
    arithmetic = MonteCarlo(
        len(way), size, frozen=frozen, nudge=1e-30, directions=way, cases=len(cases)
    )
    jaxpr, consts = function.jaxpr.jaxpr, function.jaxpr.consts
    with np.errstate(all="ignore"):
        inputs = [arithmetic.inputs(values, moved=True) for values in _leaves(cases)]
        found = zip(arithmetic.run(jaxpr, consts, inputs), jaxpr.outvars, strict=True)
        moved = [arithmetic.taken_apart(x, shape_of(atom))[1] for x, atom in found]
    return moved, arithmetic.switched


def sample_count(components: int) -> int:
    """How many samples to measure a spread with: fewer for many components, to save time.

    With the exact value they fill blocks of compiled primitives.

    >>> sample_count(19), sample_count(30_000), sample_count(670_000)
    (31, 15, 7)
    """
    return 31 if components <= 2**14 else 15 if components <= 2**17 else 7

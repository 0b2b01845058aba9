"""How far rounding may move each component of a correct gradient. Nobody chooses a tolerance.

A correct program rounds after every operation, and each rounding moves its result. `spread` repeats
a computation with the result of every primitive moved by a tiny random relative amount (Monte-Carlo
arithmetic; Parker 1997; Sohier et al. 2021, arXiv:1807.09655). It measures the standard deviation
of each component per unit roundoff, sigma. The error of a program that rounds to unit roundoff u is
about u sigma, for any scale of the loss, any size of the network and any cancellation.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from fcnet.verify.truth.arithmetic import MonteCarlo, Pair, decides, scramble
from fcnet.verify.truth.double import coarsest_roundoff

KAPPA = 6.0
"""The error of a correct program stays below KAPPA u sigma. The largest of 1,900 runs was 3.6 u
sigma. The programs were written independently (sequential, reversed, pairwise and wide sums, other
formulas), and ran in float64 to bfloat16, on networks from 4-3-1 to 50-100-100-100-5."""


class Spread(NamedTuple):
    """The result of a computation, and per component its standard deviation per unit roundoff.

    `roundoff` is that of the coarsest dtype that the computation itself uses: `value` is not known
    more precisely.
    """

    value: Any
    sigma: Any
    roundoff: Any


def spread(
    function: Callable[..., Any], *args: Any, samples: int, floor: Float[Array, ""] | float = 0.0
) -> Spread:
    """What `function(*args)` is, and how far rounding moves each component, per unit roundoff.

    Call it inside `jax.jit`, in float64.

    Args:
        function: of real JAX arrays; it need not be differentiable.
        args: its arguments, pytrees.
        samples: how often the computation is repeated, in sequence.
        floor: `tiny / u` of the format: what underflow loses, per unit roundoff.

    Returns:
        The value, and sigma with the same structure: at least |value|, for one rounding at the end.

    >>> with jax.enable_x64(True):  # 2^-9 + 1 is rounded once; taking 1 away leaves that error
    ...     sigma = spread(lambda a: (a + 1) - 1, 2.0**-9, samples=8).sigma
    ...     round(float(sigma), 2)
    1.0
    """
    jaxpr, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    inputs = [Pair(jnp.asarray(x), jnp.asarray(x)) for x in jax.tree.leaves(args)]
    roundoff = coarsest_roundoff(jaxpr)
    step = math.sqrt(roundoff)

    def add_sample(lengths: list[Array], i: Array) -> tuple[list[Array], None]:
        pairs = MonteCarlo(step, floor, scramble(i)).run(jaxpr.jaxpr, jaxpr.consts, inputs)
        moves = [(pair.moved - pair.exact) / step for pair in pairs]
        # squares would overflow for values beyond 1e154
        return list(map(jnp.hypot, lengths, moves)), None

    leaves, structure = jax.tree.flatten(shapes)
    lengths, _ = lax.scan(
        add_sample,
        [jnp.zeros(x.shape, x.dtype) for x in leaves],
        jnp.arange(samples, dtype=jnp.uint32),
    )
    value = function(*args)
    sigma = jax.tree.unflatten(structure, [length / math.sqrt(samples) for length in lengths])
    sigma = jax.tree.map(lambda v, s: jnp.maximum(abs(v), s), value, sigma)
    return Spread(value, sigma, jnp.asarray(roundoff))


def jumps(
    function: Callable[..., Any], *args: Any, size: Float[Array, ""] | float, samples: int = 6
) -> tuple[Any, Any]:
    """How far the results change if decisions that rounding can change come out the other way.

    Every input and every result is moved by about `size`, relatively, and what is 0 is moved off 0:
    all up, all down and at random. Each move is made twice: with the decisions it leads to, and
    with those of the exact computation. The difference is that of a ReLU on the other side of its
    kink, or of another entry as the largest.

    Args:
        function: of JAX arrays.
        args: its arguments, pytrees.
        size: the relative size of a move, such as a few unit roundoffs.
        samples: the number of random moves.

    Returns:
        The least and the largest difference seen, per component, each with the structure of the
        result; 0 where no decision is near.

    >>> with jax.enable_x64(True):
    ...     low, high = jumps(jax.grad(jax.nn.relu), 0.0, size=1e-15)
    ...     float(low), float(high)
    (0.0, 1.0)
    """
    jaxpr, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    leaves, structure = jax.tree.flatten(shapes)

    def run(stream: Array, direction: Array, frozen: bool) -> list[Array]:
        sample = MonteCarlo(size, 0.0, stream, frozen, nudge=1e-30, direction=direction)
        inputs = [sample.start(jnp.asarray(x)) for x in jax.tree.leaves(args)]
        return [pair.moved for pair in sample.run(jaxpr.jaxpr, jaxpr.consts, inputs)]

    def add_sample(bounds: Any, i: Array) -> tuple[Any, None]:
        direction = jnp.where(i < 2, 1 - 2 * i.astype(jnp.int32), 0)
        runs = (run(scramble(i), direction, frozen) for frozen in (True, False))
        jump = jax.tree.map(lambda kept, free: free - kept, *runs)
        low, high = bounds
        return (jax.tree.map(jnp.minimum, low, jump), jax.tree.map(jnp.maximum, high, jump)), None

    zeros = [jnp.zeros(x.shape, x.dtype) for x in leaves]
    if not decides(jaxpr):
        return jax.tree.unflatten(structure, zeros), jax.tree.unflatten(structure, zeros)
    (low, high), _ = lax.scan(add_sample, (zeros, zeros), jnp.arange(samples + 2, dtype=jnp.uint32))
    return jax.tree.unflatten(structure, low), jax.tree.unflatten(structure, high)


def sample_count(components: int) -> int:
    """How many samples to measure a spread with: fewer for many components, to save time.

    >>> sample_count(19), sample_count(30_000), sample_count(670_000)
    (32, 16, 8)
    """
    return 32 if components <= 2**14 else 16 if components <= 2**17 else 8

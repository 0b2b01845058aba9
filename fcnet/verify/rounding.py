"""How far rounding may take a correct gradient, per component, with no tolerance asked of anyone.

A correct program rounds after every operation, and each rounding moves its result. `spread` repeats
a computation with the result of every primitive moved by a tiny random relative amount (Monte-Carlo
arithmetic; Parker 1997; Sohier et al. 2021, arXiv:1807.09655), and measures how far each component
strays: its standard deviation per unit roundoff, sigma. A program that rounds to unit roundoff u
errs by about u sigma, whatever the scale of the loss, the size of the network or the cancellation.
"""

import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float

from fcnet.verify.arithmetic import MonteCarlo, Pair, decides, scramble
from fcnet.verify.double import coarsest_roundoff

KAPPA = 6.0
"""A correct program's error stays below KAPPA u sigma. Over 1,900 runs of independently written
ones (sequential, reversed, pairwise and wide sums, other formulas; float64 to bfloat16; 4-3-1 to
50-100-100-100-5) the largest was 3.6 u sigma: a rounding error is smaller than u, at random."""


class Precision(NamedTuple):
    """A floating format: its unit roundoff u, what underflow loses, its largest number."""

    name: str
    u: float
    tiny: float
    largest: float


PRECISIONS = MappingProxyType(
    {
        row.name: row
        for row in (
            Precision("float64", 2.0**-53, 2.0**-1022, 1.797e308),
            Precision("float32", 2.0**-24, 2.0**-126, 3.4e38),
            Precision("tfloat32", 2.0**-11, 2.0**-126, 3.4e38),
            Precision("float16", 2.0**-11, 2.0**-24, 65504.0),
            Precision("bfloat16", 2.0**-8, 2.0**-126, 3.4e38),
        )
    }
)
"""Finest first. TensorFloat-32 is what accelerators round the factors of a float32 product to. A
format's smallest normal number is lost where underflow is flushed to zero, which is usual; float16
is nowhere without its subnormal numbers."""


def precision_of(dtype: DTypeLike) -> Precision:
    """The row of `PRECISIONS` for a floating dtype.

    >>> precision_of("float32").u == 2.0**-24
    True
    """
    return PRECISIONS[jnp.dtype(dtype).name]


class Spread(NamedTuple):
    """The outcome of a computation, and per component its standard deviation per unit roundoff.

    roundoff: that of the coarsest dtype it uses itself; it is not known any better.
    """

    value: Any
    sigma: Any
    roundoff: Any


def spread(
    function: Callable[..., Any], *args: Any, samples: int, floor: Float[Array, ""] | float = 0.0
) -> Spread:
    """What `function(*args)` is, and how far rounding moves each component, per unit roundoff.

    Made to be called inside `jax.jit`, in float64.

    Args:
        function: of JAX arrays, real numbers; it need not be differentiable.
        args: its arguments, pytrees.
        samples: how often the computation is repeated, one after the other.
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
    """How far the decisions in a computation, where they hang by a hair, can move its results.

    Every input and every result is moved by up to about `size` relatively, and what is 0 off 0:
    all up, all down and at random. A move with the decisions it leads to is compared with the same
    move under the decisions of the unmoved computation: the difference is that of a ReLU on the
    other side of its kink, or of another entry that is the largest.

    Args:
        function: of JAX arrays.
        args: its arguments, pytrees.
        size: what decides that a decision hangs by a hair, such as a few unit roundoffs.
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
    """How many samples measure a spread safely and in good time: more where each may be off.

    >>> sample_count(19), sample_count(30_000), sample_count(670_000)
    (32, 16, 8)
    """
    return 32 if components <= 2**14 else 16 if components <= 2**17 else 8

"""A claim: that a function written by hand equals another, tried at points of its arguments."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jaxtyping import Float

from fcnet.arrays import dtype_of, to_numpy
from fcnet.verify.compare import Comparison, compare_arrays
from fcnet.verify.double import compile_double, float64
from fcnet.verify.rounding import KAPPA, Precision, jumps, sample_count, spread
from fcnet.verify.types import Answer

OWN = "your input"
"""The name of the point that the user gave."""

WIDER = 1.5
"""Choices at several kinks can add up to more than the few combinations that are tried."""

Values = Float[np.ndarray, "..."]


class Point(NamedTuple):
    """The floating arguments at one point, in float64, and its name, to follow "on"."""

    name: str
    leaves: tuple[Values, ...]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is right, and who claims to compute it. It can be questioned as `precision.Questioned`.

    Attributes:
        subject: the candidate's name.
        paths: the names of the arrays that are claimed.
        right: these arrays, as JAX functions of the leaves of a point.
        call: what the candidate returns for a point; with True in float64; None if it fails.
        leaves: the user's own arguments, whose kind and dtype the points must fit.
        names: of these.
        places: which of them each claimed array is the gradient of; () if of none.
        precision: of the dtype that the candidate returns.
        phrase: how to speak of a claimed array, with its name for {}.
    """

    subject: str
    paths: tuple[str, ...]
    right: Callable[[Sequence[Array]], list[Array]]
    call: Callable[[Point, bool], Answer | None]
    leaves: tuple[Any, ...]
    names: tuple[str, ...]
    places: tuple[int, ...]
    precision: Precision
    phrase: str = "the gradient of {}"

    def answer(self, point: Point) -> Answer | None:
        """What the candidate returns."""
        return self.call(point, False)

    def finer_answer(self, point: Point) -> Answer | None:
        """The same in float64."""
        return self.call(point, True)

    def moved(self, point: Point, size: float, draw: np.random.Generator) -> Point:
        """The point with each number changed by up to `size`, relatively."""
        changed = (x * (1 + size * draw.uniform(-1, 1, x.shape)) for x in point.leaves)
        return representable(point._replace(leaves=tuple(changed)), self.leaves)

    def compare(self, point: Point, answer: Answer, precision: Precision) -> Comparison:
        """Compare, and where that fails allow each decision that hangs by a hair its choice."""
        got = jax.tree.leaves(answer.gradient)
        with float64():
            floor = np.float64(precision.tiny / precision.u)
            right, sigma, roundoff = jax.tree.map(np.asarray, self._spread(point.leaves, floor))
            u = max(precision.u, float(roundoff))
            allowed = [KAPPA * u * s for s in sigma]
            strict = compare_arrays(self.paths, got, right, allowed, point.name)
            if strict.ok:
                return strict
            bounds = self._jumps(point.leaves, size=np.float64(KAPPA * u))
            low, high = jax.tree.map(np.asarray, bounds)
        hull = list(zip(low, high, strict=True))
        choice = [WIDER * (above - below) / 2 for below, above in hull]
        if all((c <= a).all() for c, a in zip(choice, allowed, strict=True)):
            return strict
        centre = [r + (below + above) / 2 for r, (below, above) in zip(right, hull, strict=True)]
        allowed = [a + c for a, c in zip(allowed, choice, strict=True)]
        return compare_arrays(self.paths, got, centre, allowed, point.name)._replace(mixed=True)

    @cached_property
    def _spread(self) -> Any:
        leaves = tuple(map(to_numpy, self.leaves))
        samples = sample_count(sum(leaf.size for leaf in leaves))

        def program(leaves: Sequence[Array], floor: Array) -> Any:
            return spread(self.right, leaves, samples=samples, floor=floor)

        return compile_double(program, leaves, np.float64(0))

    @cached_property
    def _jumps(self) -> Any:
        leaves = tuple(map(to_numpy, self.leaves))
        return compile_double(partial(jumps, self.right), leaves, size=np.float64(0))


def representable(point: Point, leaves: Sequence[Any]) -> Point:
    """The point with every number rounded to the dtype of the user's own array."""
    pairs = zip(point.leaves, leaves, strict=True)
    rounded = (x.astype(dtype_of(leaf)).astype(np.float64) for x, leaf in pairs)
    return point._replace(leaves=tuple(rounded))

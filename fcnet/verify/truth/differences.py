"""What is right for a function that JAX cannot trace: differences of its values in float64.

Differences of high order of close values show its noise (Hamming; Moré and Wild 2011, SIAM
Journal on Scientific Computing 33, 1292).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fcnet.arrays import unit_roundoff
from fcnet.verify.differences import NOISE, RATIO, Difference, central
from fcnet.verify.truth.known import Case
from fcnet.verify.truth.rounding import Spread
from fcnet.verify.types import Values

STEPS = tuple(2.0**-k for k in range(6, 31, 4))
"""The steps h that are tried, relative to the number that moves, and then to the median of its
array: smaller ones where a function changes faster, or has a kink nearby."""

ENOUGH = 1e-9
"""No other step is tried where the error is at most this share of the array's largest entry."""

UNKNOWN = Difference(math.nan, math.inf)
"""A derivative that differences do not show."""

FAST = 1e-3
"""The largest share of the change between far points that noise may be."""

CLOSE = 1e-8 * RATIO ** np.array([0, 3, 6])
"""The distances of the values that show the noise, relatively: no multiples of a rounding all."""


@dataclass(frozen=True)
class Differences:
    """What differences show of a function's gradient, by case: a twin of `Known`.

    Attributes:
        function: of all arguments of a case; NaN where it has no value.
        places: of the arguments by which it is differentiated.
        with_value: whether its value follows the derivatives.
        roundoff: of the numbers that it computes with.
    """

    function: Callable[[Case], float]
    places: Sequence[int]
    with_value: bool
    roundoff: float = unit_roundoff(np.float64)
    _slopes: dict[Any, list[tuple[Values, Values]]] = field(default_factory=dict)

    largest = 1
    draws = False

    @np.errstate(all="ignore")
    def spread(self, case: Case, floor: float, rounded: bool) -> Spread:
        """What is right on a case, and how far rounding moves it where the candidate has no more
        digits than a number times its derivative has, for the largest of them in the array.

        Where an array is all noise, as that of a bias before a norm, the largest of all arrays
        counts: its zeros are sums of such numbers.
        """
        found = self._found(case)
        sizes = [abs(case[place]) for place in self.places]
        shown = [np.where(abs(v) > error, abs(v), 0) for v, error in found]
        largest = [v.max(initial=0) for v in shown[: len(sizes)]]
        effects = [np.max(v * x, initial=0) for v, x in zip(shown, sizes, strict=False)]
        sigma = [
            np.maximum(
                abs(value),
                np.fmin(largest[i] or max(largest), (effects[i] or max(effects)) / sizes[i]),
            )
            for i, (value, _) in enumerate(found[: len(sizes)])
        ]
        values = [value for value, _ in found]
        return Spread(values, sigma + shown[len(sizes) :], 0.0)

    def values(self, case: Case) -> list[Values]:
        """What is right on a case."""
        return [value for value, _ in self._found(case)]

    def errors(self, case: Case) -> list[Values]:
        """How far that may be off."""
        return [error for _, error in self._found(case)]

    def jumps(self, case: Case, size: float, samples: int) -> list[Values]:
        """None: the errors allow for any slope in between at a kink."""
        return [np.zeros((1, *value.shape)) for value in self.values(case)]

    def add(self, cases: Sequence[Case], floor: float, rounded: bool) -> None:
        """Nothing: each case is found when it is asked for."""

    def _found(self, case: Case) -> list[tuple[Values, Values]]:
        """The values and their errors, which are kept."""
        key = tuple(leaf.tobytes() for leaf in case)
        if key not in self._slopes:
            with np.errstate(all="ignore"):
                self._slopes[key] = self._find(case)
        return self._slopes[key]

    def _find(self, case: Case) -> list[tuple[Values, Values]]:
        value = self.function(case)
        rounding = 8 * self.roundoff * abs(value)
        noise = max(self._noise(case), rounding)
        found = [self._gradient(case, place, value, noise) for place in self.places]
        error = noise if math.isfinite(noise) else rounding
        return found + [(np.asarray(value), np.asarray(error))] * self.with_value

    def _noise(self, case: Case) -> float:
        """The standard deviation of the values, by differences of eighth order in a direction.

        It is infinite for a function that changes as much between close points as between far ones.
        """
        draw = np.random.default_rng(0)
        along = [abs(x) * draw.choice([-1.0, 1.0], x.shape) for x in case]

        def values(steps: Any) -> Values:
            points = ([x + h * v for x, v in zip(case, along, strict=True)] for h in steps)
            return np.array([self.function(point) for point in points])

        lines = np.array([values(close * np.arange(-6, 7)) for close in CLOSE])
        in_float32 = (lines == lines.astype(np.float32)).all()
        rounding = unit_roundoff(np.float32) * abs(lines).max() * in_float32
        noise = np.sqrt(np.mean(np.diff(lines, 8) ** 2, axis=1).max() / math.comb(16, 8))
        far = np.ptp(values(np.array([-1, 0, 1]) * STEPS[0]))
        return math.inf if noise > FAST * far > 0 else float(max(rounding, noise))

    def _gradient(
        self, case: Case, place: int, value: float, noise: float
    ) -> tuple[Values, Values]:
        """The derivatives by the entries of one argument, and their errors."""
        x = case[place]
        typical = float(np.median(abs(x[x != 0]))) if x.any() else 1.0
        right, errors = np.zeros(x.shape), np.zeros(x.shape)
        largest = 0.0
        for i, entry in enumerate(map(abs, map(float, x.flat))):
            tried: list[Difference] = []
            least = math.inf
            for h in [step * size for size in (entry or typical, typical) for step in STEPS]:
                if least <= max(ENOUGH * largest, NOISE * noise / h) or math.isinf(noise):
                    continue
                found = self._slope(case, place, i, h, value, noise)
                if found.slope == 0 and tried and tried[-1].slope != 0:
                    # Values may be stairs: the slope of a stair is right, or of the staircase.
                    stairs = tried[-1]
                    tried = [Difference(stairs.slope, stairs.error + abs(stairs.slope))]
                    break
                tried.append(found)
                if found.error < least:
                    least, largest = found.error, max(largest, abs(found.slope))
            right.flat[i], errors.flat[i] = _best(tried) if tried else UNKNOWN
        return right, errors

    def _slope(
        self, case: Case, place: int, i: int, h: float, value: float, noise: float
    ) -> Difference:
        """The derivative by entry i of an argument, from steps of up to h."""

        def moved(c: float) -> float:
            x = case[place].copy()
            x.flat[i] += c * h
            return self.function([*case[:place], x, *case[place + 1 :]])

        slope, error = central(moved, value, noise)
        return Difference(slope / h, error / h)


def _best(tried: Sequence[Difference]) -> Difference:
    """The derivative with the least error that the one from the next step does not contradict.

    Steps longer than a function's waves may agree by chance, and others then do not.

    >>> _best([Difference(0.25, 0.01), Difference(3.0, 0.02), Difference(3.01, 0.03)])
    Difference(slope=3.0, error=0.02)
    """
    others = [*tried[1:], tried[-2 if len(tried) > 1 else 0]]
    checked = [
        one if abs(one.slope - other.slope) <= one.error + other.error else UNKNOWN
        for one, other in zip(tried, others, strict=True)
    ]
    return min(checked, key=lambda one: one.error)

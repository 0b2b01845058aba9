"""What is right for a function that JAX cannot trace: differences of its values in float64.

Differences of fourth order of close values show its noise (Hamming; Moré and Wild 2011, SIAM
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

STEPS = (2.0**-6, 2.0**-10, 2.0**-14, 2.0**-18)
"""The steps h that are tried, relative to the number that moves, and then to the median of its
array: smaller ones where a function changes faster, or has a kink nearby."""

ENOUGH = 1e-9
"""No other step is tried where the error is at most this share of the array's largest entry."""

CLOSE = 1e-7 * RATIO ** np.array([0, 3, 6])
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
        shown = [abs(v) * (abs(v) > error) for v, error in found]
        largest = [v.max(initial=0) for v in shown]
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
        noise = max(self._noise(case), 8 * self.roundoff * abs(value))
        found = [self._gradient(case, place, value, noise) for place in self.places]
        return found + [(np.asarray(value), np.asarray(noise))] * self.with_value

    def _noise(self, case: Case) -> float:
        """The standard deviation of the values, by differences of fourth order in a direction."""
        draw = np.random.default_rng(0)
        along = [abs(x) * draw.choice([-1.0, 1.0], x.shape) for x in case]
        lines = np.array(
            [
                [
                    self.function([x + k * close * v for x, v in zip(case, along, strict=True)])
                    for k in range(-4, 5)
                ]
                for close in CLOSE
            ]
        )
        in_float32 = (lines == lines.astype(np.float32)).all()
        rounding = unit_roundoff(np.float32) * abs(lines).max() * in_float32
        return float(max(rounding, *np.sqrt(np.mean(np.diff(lines, 4) ** 2, axis=1) / 70)))

    def _gradient(
        self, case: Case, place: int, value: float, noise: float
    ) -> tuple[Values, Values]:
        """The derivatives by the entries of one argument, and their errors."""
        x = case[place]
        typical = float(np.median(abs(x[x != 0]))) if x.any() else 1.0
        right, errors = np.zeros(x.shape), np.zeros(x.shape)
        largest = 0.0
        for i, entry in enumerate(map(abs, map(float, x.flat))):
            best = Difference(math.nan, math.inf)
            for h in [step * size for size in (entry or typical, typical) for step in STEPS]:
                if best.error > max(ENOUGH * largest, NOISE * noise / h):
                    found = self._slope(case, place, i, h, value, noise)
                    if found.slope == 0 and abs(best.slope) > 0:
                        # Values may be stairs: the slope of a stair is right, or of the staircase.
                        best = Difference(best.slope, best.error + abs(best.slope))
                        break
                    if found.error < best.error:
                        best, largest = found, max(largest, abs(found.slope))
            right.flat[i], errors.flat[i] = best
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

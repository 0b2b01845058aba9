"""A derivative by central differences, and how far it may be off."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

RATIO = (1 + math.sqrt(5)) / 2
"""Of two steps: no multiple of a period fits all three."""

NOISE = 32.0
"""How many times the noise of a value the derivative may be off."""


class Difference(NamedTuple):
    """A derivative, and the bound on its error; infinite where it is not known."""

    slope: float
    error: float


def central(J: Callable[[float], float], J0: float, noise: float) -> Difference:
    """The derivative of J at 0, where it is J0, from central differences with three steps up to 1.

    They are extrapolated to the step 0 (Richardson). How far the extrapolations of two are apart
    bounds the error. So do the noise of the values, and a bend at 0: if slopes differ by k there,
    J(h) - 2 J(0) + J(-h) has a part k h beside those in h^2 and h^4, which the three steps remove.
    The derivative is then in between, and so is one that is right.

    >>> slope, error = central(lambda c: math.exp(c / 64), 1.0, 2.0**-53)
    >>> abs(slope - 1 / 64) < error < 1e-10
    True
    """
    steps = 1 / RATIO ** np.arange(3)
    up, down = (np.array([J(sign * step) for step in steps]) for sign in (1, -1))
    first = (up - down) / (2 * steps)
    second = first[1:] + np.diff(first) / (RATIO**2 - 1)
    third = second[1] + (second[1] - second[0]) / (RATIO**4 - 1)
    bends = up - 2 * J0 + down
    bent = RATIO**2 * bends[1:] - bends[:-1]
    kink = abs(RATIO**4 * bent[1] - bent[0]) / ((RATIO - 1) * (RATIO**3 - 1))
    error = float(abs(second[1] - second[0]) + kink + NOISE * noise)
    return Difference(float(third), error if math.isfinite(error) else math.inf)

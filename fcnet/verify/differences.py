"""Derivatives along a direction by central differences, and how far they may be off."""

from collections.abc import Callable
from typing import NamedTuple


class Difference(NamedTuple):
    """A derivative of J by differences of it, and their error."""

    slope: float
    error: float


def central(J: Callable[[float], float], u: float) -> Difference:
    """The derivative of J at 0, from its values at 0, 1, 2, -1 and -2.

    Where J has a kink, with slopes that differ by k, J(h) - 2 J(0) + J(-h) is k h; else it is as
    h^2. The difference is then in between, and so is a right slope.

    Args:
        J: a function of the number of steps.
        u: the unit roundoff of its values.

    >>> central(lambda c: (1 + c / 1024) ** 2, 2.0**-53).slope
    0.001953125
    """
    at = {c: J(c) for c in (-2, -1, 0, 1, 2)}
    near, far = (at[1] - at[-1]) / 2, (at[2] - at[-2]) / 4
    bends = [at[c] - 2 * at[0] + at[-c] for c in (1, 2)]
    kink = abs(4 * bends[0] - bends[1]) / 2
    return Difference(near, 2 * abs(near - far) + kink + 8 * u * abs(at[0]))

"""Equal entries of an argument: a choice among them does not change the sum of their derivatives.

The larger of two equal numbers may have the derivative (1, 0), (0, 1) or (1/2, 1/2). It moves by as
much as both do, so the sum is 1, and (1, 1) is wrong.
"""

import numpy as np

from fcnet.verify.types import Values

NOISE = 16
"""How many times what rounding explains a sum may be off: other choices round otherwise."""


def breaks_ties(x: Values, got: Values, right: Values, jump: Values, allowed: Values) -> bool:
    """Whether a gradient has a sum over equal entries of x that no choice gives.

    Args:
        x: an argument.
        got: what was returned as its gradient.
        right: the gradient by one choice.
        jump: what other choices add to it, with an axis for them in front.
        allowed: what rounding explains.

    >>> ones, jump = np.ones(2), np.array([[0.5, -0.5], [-0.5, 0.5]])
    >>> [breaks_ties(ones, got, ones / 2, jump, ones / 1e9) for got in (ones, np.array([1.0, 0]))]
    [True, False]
    """
    _, group = np.unique(x, return_inverse=True)
    group = group.ravel()

    def total(values: Values) -> Values:
        """The sum over the entries that are equal, for each number that occurs."""
        return np.bincount(group, np.ravel(values))

    bound = NOISE * total(allowed)
    sums = np.stack([total(values) for values in jump])
    with np.errstate(invalid="ignore"):
        is_choice = total(np.ptp(jump, 0)) > bound
        is_certain = np.ptp(sums, 0) <= bound
        off = abs(total(got - right) - sums.mean(0)) > bound
    return bool((is_choice & is_certain & off & (np.bincount(group) > 1)).any())

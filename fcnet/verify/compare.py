"""A candidate's answer beside the reference: what rounding explains, and what it does not.

Every error is relative to what rounding may do to that component. So there is no absolute
tolerance, and a loss times 1e-6 or times 1e6 has the same outcome.
"""

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fcnet.verify.types import Answer, Leaf, Reference, Values, matching

CELLS = 40
"""The most rows and columns of a heat map."""

BEST_AGREEMENT = 2.0**-53
"""The unit roundoff of the float64 reference: no two arrays agree to more than 16 digits."""

FEWEST_INPUTS, MEAN_SHARE = 6, 0.75
"""An error is persistent if it recurs on at least `FEWEST_INPUTS` inputs, and the mean of C errors
exceeds this share of what one input allows, over sqrt(C). In 2,200 groups of correct runs the
share was 0.5 at most: a single rounding error may be large, the average of many is not."""

SMALLEST_MISTAKE = 1e-3
"""A persistent error is at least this share of what is right. A smaller one is no mistake but a way
to round, as of sums of logarithms whose exponential is taken."""

RECURRING = 1 / 2
"""The share of what one input allows a training step that may recur on all: where the weights are
multiplied by 1 - rate * l2, this constant is rounded, and so is its product with weights that most
inputs share. That is 1.5 units of roundoff of 3 that are allowed."""


class Comparison(NamedTuple):
    """How one answer compares with what is right on one input.

    Attributes:
        ok: whether rounding, and the choice at kinks, explains every difference.
        paths: the names of the arrays.
        case: the name of the input.
        got: what was returned, array by array.
        excess: of each array, (returned - right) / allowed, entrywise; NaN counts as inf.
        right, allowed: of each array, by the convention that fits best.
        informative: for each array, whether some right entry is larger than its rounding error. Any
            answer agrees with an array that is zero or all rounding.
        convention: the ReLU'(0) with which the answer is right, if there is exactly one.
        mixed: whether the answer fits only with a choice for each unit at a kink.
    """

    ok: bool
    paths: tuple[str, ...]
    case: str
    got: tuple[Values, ...]
    excess: tuple[Values, ...]
    right: tuple[Values, ...]
    allowed: tuple[Values, ...]
    informative: tuple[bool, ...]
    convention: float | None = None
    mixed: bool = False

    @property
    def worst(self) -> float:
        """The largest error over what is allowed."""
        return largest_excess(self.excess)

    @property
    def errors(self) -> list[Values]:
        """How far each array is off, entrywise."""
        with np.errstate(invalid="ignore"):
            return [abs(got - right) for got, right in zip(self.got, self.right, strict=True)]

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """One for each array."""
        return tuple(map(self.leaf, range(len(self.paths))))

    def leaf(self, i: int) -> Leaf:
        """The leaf of array i. Most are never shown, so each is made on demand."""
        got, right, allowed = self.got[i], self.right[i], self.allowed[i]
        ratio = abs(self.excess[i])
        at = np.unravel_index(ratio.argmax(), ratio.shape) if ratio.size else ()
        known = np.isfinite(right)
        with np.errstate(all="ignore"):
            error = np.where(known, abs(got - right), 0)
        return Leaf(
            path=self.paths[i],
            error=float(error[at]) if ratio.size else 0.0,
            tolerance=float(allowed[at]) if ratio.size else 0.0,
            index=tuple(map(int, at)),
            digits=_digits(error, right, known),
            digits_expected=_digits(allowed, right, known),
            case=self.case,
            heat=_heat(ratio),
        )


def compare(answer: Answer, reference: Reference, case: str) -> Comparison:
    """Compare an answer with the reference of its case.

    At kinks the answer may follow one convention, or differ from unit to unit.

    Args:
        answer: of a candidate that computes in the format that the reference is for.
        reference: of the same case.
        case: its name, for the leaves.

    Returns:
        The comparison under the convention that fits best. The leaves are W1, b1, W2, b2, ...,
        with indices in the notes' layout.
    """
    shown = partial(matching, reference.gradient)
    got, right, allowed = map(shown, (answer.gradient, reference.gradient, reference.tolerance))
    paths = [
        f"{role}{k}"
        for k, layer in enumerate(reference.gradient, start=1)
        for role, array in zip("Wb", layer, strict=True)
        if array is not None
    ]
    convention, mixed = None, False
    if reference.by_convention:
        choices = {c: shown(tree) for c, tree in reference.by_convention.items()}
        worst = {
            c: largest_excess(map(excess_of, got, choice, allowed)) for c, choice in choices.items()
        }
        fitting = [c for c in choices if worst[c] <= 1]
        if fitting:
            right = choices[min(fitting, key=worst.__getitem__)]
            exact = any((z == 0).any() for z in reference.trace.z)
            convention = fitting[0] if exact and len(fitting) == 1 else None
        elif largest_excess(map(excess_of, got, right, allowed)) > 1:
            mixed = True
            # Slopes between 0 and 1 are within 1/2 of 1/2.
            right = choices[0.5]
            allowed = [a + s / 2 for a, s in zip(allowed, shown(reference.slack), strict=True)]
    comparison = compare_arrays(paths, got, right, allowed, case)
    return comparison._replace(convention=convention, mixed=mixed)


def compare_arrays(
    paths: Sequence[str],
    got: Iterable[Values],
    right: Iterable[Values],
    allowed: Iterable[Values],
    case: str,
) -> Comparison:
    """Compare arrays one by one; where the right value is not finite, any value agrees.

    So it does where a bound is not known, since numbers near the largest overflow in it.

    >>> one = np.ones(1)
    >>> compare_arrays(["b1"], [one + 1e-3], [one], [one / 100], "your input").worst
    0.09999999999998899
    """
    got, right, allowed = map(tuple, (got, right, allowed))
    allowed = tuple(np.where(np.isnan(a), np.inf, a) for a in allowed)
    excess = tuple(map(excess_of, got, right, allowed))
    return Comparison(
        ok=largest_excess(excess) <= 1,
        paths=tuple(paths),
        case=case,
        got=got,
        excess=excess,
        right=right,
        allowed=allowed,
        informative=tuple(
            bool((np.isfinite(r) & (abs(r) > a)).any()) for r, a in zip(right, allowed, strict=True)
        ),
    )


def worst_leaves(comparisons: Sequence[Comparison]) -> tuple[Leaf, ...]:
    """The leaf of each array, on the input where it compares worst."""
    arrays = range(len(comparisons[0].paths) if comparisons else 0)
    return tuple(_worst_leaf(comparisons, i) for i in arrays)


def _worst_leaf(comparisons: Sequence[Comparison], i: int) -> Leaf:
    """That of array i; an agreement with a choice for each unit at a kink says least."""

    def rank(comparison: Comparison) -> float:
        worst = largest_excess([comparison.excess[i]])
        return -1.0 if comparison.mixed and worst <= 1 else worst

    return max(comparisons, key=rank).leaf(i)


@np.errstate(invalid="ignore")  # what is right may be infinite
def persistent_errors(comparisons: Sequence[Comparison], lost: float = 0.0) -> tuple[Leaf, ...]:
    """Errors that rounding explains on each input alone, but not on all inputs together.

    Rounding errors on different inputs are independent. So the mean of C of them, each in units of
    what is allowed and with the sign of the gradient, falls as 1 / sqrt(C). The mean error of a
    wrong factor does not fall. In coarse formats this finds errors of a few per cent.

    Args:
        comparisons: of the same arrays on different inputs, each of them ok; those with a choice
            for each unit at a kink are left out.
        lost: of their format; above 0 for the differences of a training step.

    Returns:
        A leaf for each array where the errors persist: the mean error, and what it may be.
    """
    clear = [comparison for comparison in comparisons if not comparison.mixed]
    recurring = RECURRING if lost else 0.0
    found = []
    for i in range(len(clear[0].paths) if clear else 0):
        right = np.stack([comparison.right[i] for comparison in clear])
        excess = np.stack([comparison.excess[i] for comparison in clear]) * np.sign(right)
        count = (right != 0).sum(0)
        drift = np.maximum(abs(excess.sum(0)) - recurring * count, 0)
        drift = drift / np.sqrt(np.maximum(count, 1)) / MEAN_SHARE
        error = np.stack([comparison.got[i] for comparison in clear]) - right
        is_mistake = abs((error * np.sign(right)).sum(0)) >= SMALLEST_MISTAKE * abs(right).sum(0)
        drift = np.where(is_mistake & (count >= FEWEST_INPUTS), drift, 0)
        if largest_excess([drift]) > 1:
            at = np.unravel_index(drift.argmax(), drift.shape)
            leaf = _worst_leaf(clear, i)
            allowed = leaf.tolerance * MEAN_SHARE / math.sqrt(count[at])
            found.append(
                leaf._replace(
                    error=float(drift[at]) * allowed,
                    tolerance=allowed,
                    index=tuple(map(int, at)),
                    case=f"{count[at]} inputs together",
                    heat=_heat(drift),
                )
            )
    return tuple(found)


def largest_excess(excess: Iterable[Values]) -> float:
    """The largest absolute entry of several arrays; 0 if there is none."""
    return max((float(abs(x).max(initial=0)) for x in excess), default=0.0)


def excess_of(got: Values, right: Values, allowed: Values) -> Values:
    """(got - right) / allowed, entrywise: infinite for NaN, 0 where the right one is not finite.

    >>> excess_of(np.array([1.0, np.nan]), np.array([1.5, 2.0]), np.full(2, 0.25)).tolist()
    [-2.0, inf]
    """
    with np.errstate(all="ignore"):
        error = got - right
        excess = np.where(error == 0, 0, error / allowed)
    excess = np.where(np.isfinite(got) & ~np.isnan(excess), excess, np.inf)
    return np.where(np.isfinite(right), excess, 0)


def _digits(error: Values, right: Values, known: Any) -> float:
    """Decimal digits to which an array is known when its entries are off by `error`."""
    right, error = right[known], error[known]
    size = float(np.maximum(abs(right), error).max(initial=0))
    if not math.isfinite(size):
        return 0.0
    if not size:
        return -math.log10(BEST_AGREEMENT)
    norms = [float(np.linalg.norm(x / size)) for x in (error, right)]
    relative = norms[0] / max(norms[1], BEST_AGREEMENT)
    return max(0.0, -math.log10(max(relative, BEST_AGREEMENT)))


def _heat(ratio: Values) -> tuple[tuple[float, ...], ...]:
    """The array as a grid of at most CELLS by CELLS; a cell has the largest entry of its block."""
    if not ratio.size:
        return ()
    grid = ratio.reshape(len(ratio) if ratio.ndim else 1, -1)
    for axis in (0, 1):
        starts = np.unique(np.linspace(0, grid.shape[axis], CELLS, endpoint=False).astype(int))
        grid = np.maximum.reduceat(grid, starts, axis=axis)
    return tuple(map(tuple, grid.tolist()))

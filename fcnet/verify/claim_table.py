"""The arrays of a claim on one input: the right numbers, and the candidate's.

Of a function that names its intermediate values, each array is judged from the candidate's own
gradients of the named values after it. The right numbers here are those from right gradients.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from fcnet.verify.compare import Comparison, excess_of
from fcnet.verify.table import (
    SHOWN,
    Arithmetic,
    Quantity,
    State,
    Summand,
    Table,
    grid,
    shortest,
    written_out,
)
from fcnet.verify.types import Values

MOST_ARRAYS = 16
"""The most arrays that are shown: those that differ first."""

From = Callable[[Sequence[Values]], Sequence[Values]]
"""What is right of all arrays, from given gradients of the named values."""


class _Compared(NamedTuple):
    """An array: right, as returned, and the error over what rounding explains, if it differs."""

    right: Values
    got: Values
    excess: Values
    state: State


def claim_table(
    comparison: Comparison, right_from: From, upstream: Sequence[Values], names: Sequence[str]
) -> Table:
    """The arrays of an answer beside the right ones.

    Args:
        comparison: of the answer, each array from the candidate's own upstream ones.
        right_from: what is right from others.
        upstream: zeros like the first arrays, those of the named values.
        names: what the table calls the arrays.
    """
    given = list(upstream)
    for _ in upstream:  # each pass makes one more of them right
        given = list(right_from(given)[: len(upstream)])
    arrays = _compared(comparison, right_from, given)
    first = next((i for i, array in enumerate(arrays) if array.state == "first"), None)
    ranked = sorted(range(len(arrays)), key=lambda i: arrays[i].state == "agrees")
    left = len(arrays) - MOST_ARRAYS
    arithmetic = ""
    if first is not None:
        paths = comparison.paths
        arithmetic = _written_out(first, arrays[first], right_from, given, names, paths)
    return Table(
        comparison.case,
        tuple(_quantity(names[i], arrays[i]) for i in sorted(ranked[:MOST_ARRAYS])),
        arithmetic,
        (f"{left} more arrays are left out.",) if left > 0 else (),
    )


def _compared(comparison: Comparison, right_from: From, given: list[Values]) -> list[_Compared]:
    """Every array; `given` are the right upstream ones.

    One differs that does not follow from the candidate's own upstream arrays, or that follows from
    some that differ.
    """
    rights, carried = right_from(given), list(given)
    follows, arrays = rights, list[_Compared]()
    pairs = zip(comparison.got, comparison.allowed, comparison.excess, strict=True)
    for i, (got, allowed, own) in enumerate(pairs):
        is_wrong = bool((abs(own) > 1).any())
        inherits = bool((abs(excess_of(follows[i], rights[i], allowed)) > 1).any())
        excess = abs(excess_of(got, rights[i], allowed))
        state: State = "agrees"
        if (is_wrong or inherits) and (excess > 1).any():  # two mistakes may cancel
            earlier = any(array.state != "agrees" for array in arrays)
            state = ("wrong" if is_wrong else "follows") if earlier else "first"
            if i < len(carried):
                carried[i] = got
                follows = right_from(carried)
        excess = np.zeros_like(got) if state == "agrees" else excess
        arrays.append(_Compared(rights[i], got, excess, state))
    return arrays


def _quantity(name: str, array: _Compared) -> Quantity:
    """The entries with the largest errors."""
    size, ratio = array.right.size, array.excess.ravel()
    entries = sorted(np.argsort(-ratio, kind="stable")[:SHOWN].tolist())
    right, got, off = (x.reshape(1, size) for x in (array.right, array.got, array.excess > 1))
    return Quantity(
        line=None,
        layer=None,
        name=name,
        formula="",
        source="yours",
        state=array.state,
        rows=("",),
        columns=tuple(str(list(_index(array, i))) if array.right.ndim else "" for i in entries),
        right=grid(right, [0], entries),
        yours=grid(got, [0], entries),
        differs=grid(off, [0], entries),
        left_out=f"{len(entries)} of {size} entries" if len(entries) < size else "",
    )


def _index(array: _Compared, i: int) -> tuple[int, ...]:
    return tuple(int(j) for j in np.unravel_index(i, array.right.shape))


def _written_out(
    i: int,
    array: _Compared,
    right_from: From,
    given: Sequence[Values],
    names: Sequence[str],
    paths: Sequence[str],
) -> str:
    """An entry as the sum of what comes through each named value, and straight from the result."""
    at = _index(array, int(array.excess.argmax()))
    none = [np.zeros_like(value) for value in given]
    direct = float(right_from(none)[i][at])
    terms = [Summand((direct,), "straight from the result")] if direct and given else []
    for j, value in enumerate(given):
        through = float(right_from([*none[:j], value, *none[j + 1 :]])[i][at]) - direct
        if through:
            terms.append(Summand((through,), f"through {paths[j]}"))
    name = f"{names[i]}{list(at) if at else ''}"
    sum = Arithmetic(shortest(terms) or (Summand((float(array.right[at]),)),))
    return written_out(name, sum, float(array.right[at]), "yours", float(array.got[at]))

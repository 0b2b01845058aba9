"""What `fit` of the estimators is given: checked, weighted, and split for validation."""

from numbers import Real
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Num

from fcnet.checks import check_unmasked
from fcnet.splits import hold_out


class WeightedRows(NamedTuple):
    """Rows of X, shape (n, d), targets Y, shape (n, m_r), and their weights, shape (n,)."""

    X: np.ndarray
    Y: np.ndarray
    weights: np.ndarray

    def rows(self, rows: np.ndarray) -> "WeightedRows":
        """These rows only."""
        return WeightedRows(*(array[rows] for array in self))


def held_out(
    X: Num[np.ndarray, "n d"],
    weights: Float[np.ndarray, " n"],
    fraction: float,
    rng: np.random.RandomState,
    *,
    classes: Int[np.ndarray, " n"] | None = None,
    groups: Int[np.ndarray, " n"] | None = None,
) -> Bool[np.ndarray, " n"]:
    """The rows to validate on: this fraction of the weight, to one row, and of each class.

    A row of weight 2 is treated as two rows of weight 1. A few equal rows are on one side, and a
    group is in any case; see `fcnet.splits.hold_out`.

    Raises:
        TypeError, ValueError: for a fraction that is no number between 0 and 1.
        ValueError: for rows that are all equal.

    >>> X = np.array([[1.0], [2.0], [1.0], [3.0]])
    >>> held_out(X, np.ones(4), 0.5, np.random.RandomState(0)).tolist()
    [False, True, False, True]
    """
    share = as_number("validation_fraction", fraction)
    if not 0 < share < 1:
        raise ValueError(f"validation_fraction must be between 0 and 1, got {fraction!r}")
    distinct, equal = np.unique(X, axis=0, return_inverse=True)
    if len(distinct) < 2:
        raise ValueError(
            f"early_stopping needs at least two different samples, got n_samples = {len(distinct)}"
        )
    whole = (weights % 1 == 0).all()
    counted = weights if whole else weights / weights.mean()
    return hold_out(
        counted, share, rng.permutation, classes=classes, equal=equal.ravel(), groups=groups
    )


def as_number(name: str, value: object) -> float:
    """A real number.

    >>> as_number("alpha", "1e-4")
    Traceback (most recent call last):
    TypeError: alpha must be a number, got '1e-4'
    """
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return float(value)


def as_groups(groups: ArrayLike | None, weights: ArrayLike | None, n: int) -> np.ndarray | None:
    """A number for the group of each of the n examples whose weight is not 0.

    Raises:
        ValueError: for another number of labels, or only one group.

    >>> as_groups(["b", "a", "b"], [1, 0, 1], 2)
    Traceback (most recent call last):
    ValueError: groups must be two or more, got one, 'b'
    >>> as_groups(["b", "a", "b"], None, 3).tolist()
    [1, 0, 1]
    """
    if groups is None:
        return None
    check_unmasked("groups", groups)
    labels = np.asarray(groups)
    each = np.ones(n) if weights is None or np.ndim(weights) == 0 else np.asarray(weights)
    if labels.shape != each.shape:
        raise ValueError(f"groups must be a label for each example, got shape {labels.shape}")
    check_one_kind("groups", labels)
    names, numbers = np.unique(labels[each > 0], return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"groups must be two or more, got one, {names.tolist()[0]!r}")
    return numbers


def check_one_kind(name: str, labels: np.ndarray) -> None:
    """Raise unless labels are of one kind, so that they can be sorted.

    >>> check_one_kind("y", np.array(["a", None], object))
    Traceback (most recent call last):
    TypeError: y must hold labels of one kind, and none missing, got NoneType, str
    """
    kinds: set[str] = set()
    if labels.dtype == object:
        kinds = {"str" if isinstance(v, str) else type(v).__name__ for v in labels.flat}
    if len(kinds) > 1 or kinds & {"NoneType", "NAType"}:
        raise TypeError(
            f"{name} must hold labels of one kind, and none missing, got {', '.join(sorted(kinds))}"
        )
    if (missing := labels != labels).any():  # NaN, or a date that is none
        raise TypeError(f"{name} must hold no missing labels, got {labels[missing][0]}")


TIMES = ("Date", "Duration", "Time")
"""What polars calls dates and times."""


def check_no_dates(X: object) -> None:
    """Raise for dates and times, which NumPy would count in units of their own.

    >>> check_no_dates(np.array([["2020-01-31"]], "M8[D]"))
    Traceback (most recent call last):
    TypeError: X holds datetime64[D], expected numbers: make it one, such as of days
    """
    dtype = getattr(X, "dtype", None)
    for kind in [dtype] if dtype is not None else list(getattr(X, "dtypes", ())):  # of a data frame
        if getattr(kind, "kind", "") in ("m", "M") or str(kind).startswith(TIMES):
            raise TypeError(f"X holds {kind}, expected numbers: make it one, such as of days")

"""Standardised columns: without units, as a network takes them."""

from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from fcnet.checks import check_type, check_unmasked


class Standardizer(NamedTuple):
    """The mean and the scale of d columns, both of shape (d,), in the columns' own units."""

    mean: Float[np.ndarray, " d"]
    scale: Float[np.ndarray, " d"]


def unscaled(d: int) -> Standardizer:
    """The standardizer that leaves d columns as they are.

    >>> standardize(unscaled(1), np.array([[3.0]])).tolist()
    [[3.0]]
    """
    return Standardizer(np.zeros(d), np.ones(d))


class Moments(NamedTuple):
    """What is known of the d columns of some rows, each of shape (d,) but the weight of all rows.

    `deviation` is the standard deviation; `binary` says whether every entry is 0 or 1.
    """

    weight: float
    mean: Float[np.ndarray, " d"]
    deviation: Float[np.ndarray, " d"]
    least: Float[np.ndarray, " d"]
    most: Float[np.ndarray, " d"]
    binary: Bool[np.ndarray, " d"]


def moments(X: Float[np.ndarray, "n d"], weights: Float[np.ndarray, " n"] | None = None) -> Moments:
    """The moments of the columns of X, which is finite; n >= 1.

    >>> moments(np.array([[1.0], [3.0]])).deviation.tolist()
    [1.0]
    """
    shares = None if weights is None else weights / weights.max()  # or products might overflow
    mean = np.average(X, axis=0, weights=shares)
    least, most = X.min(axis=0), X.max(axis=0)
    off = X - mean
    unit = np.ldexp(1.0, np.frexp(np.maximum(most - mean, mean - least))[1])
    off /= unit  # or the squares might overflow
    deviation = unit * np.sqrt(np.average(off * off, axis=0, weights=shares))
    weight = len(X) if weights is None else float(weights.sum())
    binary = (least >= 0) & (most <= 1)
    if binary.any():
        binary = ((X == 0) | (X == 1)).all(axis=0)
    return Moments(weight, mean, deviation, least, most, binary)


def combined(a: Moments, b: Moments) -> Moments:
    """The moments of the rows of both.

    >>> one, other = moments(np.array([[1.0], [3.0]])), moments(np.array([[5.0]]))
    >>> combined(one, other).mean.tolist()
    [3.0]
    """
    p, q = a.weight / (a.weight + b.weight), b.weight / (a.weight + b.weight)
    step = b.mean - a.mean
    within = np.hypot(np.sqrt(p) * a.deviation, np.sqrt(q) * b.deviation)
    return Moments(
        a.weight + b.weight,
        a.mean + q * step,
        np.hypot(within, np.sqrt(p * q) * step),
        np.minimum(a.least, b.least),
        np.maximum(a.most, b.most),
        a.binary & b.binary,
    )


def standardizer_of(found: Moments) -> Standardizer:
    """The mean and the standard deviation of each column.

    Two kinds of columns have the scale 1, so that they are only centred: constant columns, which
    become 0, and columns of 0 and 1, since a rare category would become an input of 20 or 30. What
    differs by weights that vanish beside the others is constant too.
    """
    keep = (found.least == found.most) | found.binary | (found.deviation == 0)
    return Standardizer(found.mean, np.where(keep, 1.0, found.deviation))


def fit_standardizer(
    X: Float[np.ndarray, "n d"], weights: Float[np.ndarray, " n"] | None = None
) -> Standardizer:
    """The mean and the scale of each column, to be computed on training examples only.

    The scale is the standard deviation, or 1 for columns that are constant or of 0 and 1 alone.

    Args:
        X: features, or targets, in rows; n >= 1.
        weights: one for each example, above 0, for a weighted mean and deviation.

    Raises:
        ValueError: for no examples, for a value that is missing (NaN or masked) or infinite, or for
            weights of another shape or not above 0.
        TypeError: for anything but real numbers.

    >>> fit_standardizer(np.array([[1.0, 5.0, 0.0], [7.0, 5.0, 1.0]])).scale.tolist()
    [3.0, 1.0, 1.0]
    >>> fit_standardizer(np.array([[100.0], [300.0]]))
    Standardizer(mean=array([200.]), scale=array([100.]))
    """
    X = _as_doubles("X", X)
    if X.ndim != 2 or not X.size:
        raise ValueError(f"X has shape {X.shape}, expected (n, d), at least one example")
    if not np.isfinite(X).all():
        row, column = np.argwhere(~np.isfinite(X))[0]
        raise ValueError(
            f"X must be finite, got {X[row, column]} in row {row}, column {column}: leave such "
            "rows or columns out, or impute them"
        )
    if weights is not None:
        weights = _as_doubles("weights", weights)
        if weights.shape != X.shape[:1]:
            raise ValueError(
                f"weights has shape {weights.shape}, expected {X.shape[:1]}: one for each example"
            )
        if not ((weights > 0) & (weights < np.inf)).all():
            raise ValueError("weights must be above 0 and finite: leave out what does not count")
    with np.errstate(over="ignore", invalid="ignore"):
        found = standardizer_of(moments(X, weights))
    if not np.isfinite(found).all():
        raise ValueError(f"X has numbers up to {abs(X).max():g}, which have no mean or deviation")
    return found


def standardize(standardizer: Standardizer, X: Float[ArrayLike, "n d"]) -> Float[np.ndarray, "n d"]:
    """(X - mean) / scale: the columns of X, shape (n, d), without units, as a network takes them.

    >>> standardize(fit_standardizer(np.array([[100.0], [300.0]])), np.array([[350.0]])).tolist()
    [[1.5]]
    """
    return (_columns(standardizer, X) - standardizer.mean) / standardizer.scale


def unstandardize(
    standardizer: Standardizer, X: Float[ArrayLike, "n d"]
) -> Float[np.ndarray, "n d"]:
    """The inverse of `standardize`: predictions, shape (n, d), back in their own units.

    >>> unstandardize(fit_standardizer(np.array([[100.0], [300.0]])), np.array([[1.5]])).tolist()
    [[350.0]]
    """
    return _columns(standardizer, X) * standardizer.scale + standardizer.mean


def _columns(standardizer: Standardizer, X: ArrayLike) -> Float[np.ndarray, "n d"]:
    check_type("standardizer", standardizer, Standardizer, "a Standardizer of fit_standardizer")
    array = _as_doubles("X", X)
    if array.ndim != 2 or array.shape[1:] != standardizer.mean.shape:
        raise ValueError(
            f"X has shape {array.shape}, expected (n, {len(standardizer.mean)}), the columns that "
            "the standardizer was fitted to"
        )
    return array


def _as_doubles(name: str, values: ArrayLike) -> Float[np.ndarray, "..."]:
    """Real numbers in double precision."""
    check_unmasked(name, values)
    array = np.asarray(values)
    if array.dtype.kind in "cmMSU":  # from which NumPy would make some numbers
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    return array.astype(np.float64, copy=False)

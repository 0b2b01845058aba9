"""Standardised columns: without units, as a network takes them."""

from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float


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


def fit_standardizer(
    X: Float[np.ndarray, "n d"], weights: Float[np.ndarray, " n"] | None = None
) -> Standardizer:
    """The mean and the standard deviation of each column, to be computed on training examples only.

    Two kinds of columns have the scale 1, so that they are only centred: constant columns, which
    become 0, and columns of 0 and 1, since a rare category would become an input of 20 or 30.

    Args:
        X: features, or targets, in rows; n >= 1.
        weights: one for each example, above 0, for a weighted mean and deviation.

    Raises:
        ValueError: for no examples, or a value that is missing (NaN) or infinite.

    >>> fit_standardizer(np.array([[1.0, 5.0, 0.0], [7.0, 5.0, 1.0]])).scale.tolist()
    [3.0, 1.0, 1.0]
    >>> fit_standardizer(np.array([[100.0], [300.0]]))
    Standardizer(mean=array([200.]), scale=array([100.]))
    """
    X = np.asarray(X, np.float64)
    if not len(X):
        raise ValueError(f"X has shape {X.shape}, expected at least one example")
    if not np.isfinite(X).all():
        row, column = np.argwhere(~np.isfinite(X))[0]
        raise ValueError(
            f"X must be finite, got {X[row, column]} in row {row}, column {column}: leave such "
            "rows or columns out, or impute them"
        )
    keep = (np.ptp(X, axis=0) == 0) | ((X == 0) | (X == 1)).all(axis=0)
    mean = np.average(X, axis=0, weights=weights)
    off = X - mean
    unit = np.ldexp(1.0, np.frexp(np.abs(off).max(axis=0))[1])  # or the squares might overflow
    variance = np.average((off / unit) ** 2, axis=0, weights=weights)
    return Standardizer(mean, np.where(keep, 1.0, unit * np.sqrt(variance)))


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
    array = np.asarray(X, np.float64)
    if array.ndim != 2 or array.shape[1:] != standardizer.mean.shape:
        raise ValueError(
            f"X has shape {array.shape}, expected (n, {len(standardizer.mean)}), the columns that "
            "the standardizer was fitted to"
        )
    return array

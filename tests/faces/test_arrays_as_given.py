"""Arrays as people have them: masked, of dtype object, of pandas.

NumPy and pandas hand over a masked entry, and a missing one, as some number, unless somebody looks.
"""

import pickle
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.sparse import csr_array

import fcnet
from fcnet import data, interchange, plot
from fcnet.estimators import FCNetClassifier, FCNetRegressor

pytestmark = pytest.mark.untyped

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(8, 2))
Y = X[:, :1] - 2 * X[:, 1:]
PARAMS = fcnet.init(KEY, (2, 1))
SCALES = data.fit_standardizer(X)
RUN: dict[str, Any] = {"key": KEY, "batch_size": 4, "steps": 2}


@pytest.fixture
def on_disk(tmp_path):
    """X in a file, of which rows are read as they are needed."""
    np.save(tmp_path / "X.npy", X)
    return np.load(tmp_path / "X.npy", mmap_mode="r")


def masked(array: np.ndarray, entries: int) -> np.ma.MaskedArray:
    """An array whose last entries are masked, or none."""
    mask = np.arange(array.size) >= array.size - entries
    return np.ma.array(array, mask=mask.reshape(array.shape))


def regressor(**changed: Any) -> Any:
    return FCNetRegressor((), max_iter=1, random_state=0, **changed)


TAKERS: dict[str, Callable[[Any], Any]] = {
    "fit": lambda m: fcnet.fit(PARAMS, m(X), Y, **RUN).params,
    "fit validation": lambda m: fcnet.fit(PARAMS, X, Y, validation=(X, m(Y)), **RUN).params,
    "fit stream X": lambda m: fcnet.fit(PARAMS, [(m(X[:4]), Y[:4])], **RUN).params,
    "fit stream Y": lambda m: fcnet.fit(PARAMS, [(X[:4], m(Y[:4]))], **RUN).params,
    "fit stream weights": lambda m: (
        fcnet.fit(PARAMS, [(X[:4], Y[:4], m(np.ones(4)))], **RUN).params
    ),
    "fit params": lambda m: fcnet.fit([(m(np.ones((1, 2))), np.ones(1))], X, Y, **RUN).params,
    "minibatch_sgd": lambda m: fcnet.minibatch_sgd(PARAMS, X, m(Y), learning_rate=0.1, **RUN),
    "regressor X": lambda m: regressor().fit(m(X), Y[:, 0]).predict(X),
    "regressor y": lambda m: regressor().fit(X, m(Y[:, 0])).predict(X),
    "regressor weights": lambda m: regressor().fit(X, Y[:, 0], m(np.ones(8))).predict(X),
    "regressor predict": lambda m: regressor().fit(X, Y[:, 0]).predict(m(X)),
    "regressor groups": lambda m: (
        regressor(early_stopping=True).fit(X, Y[:, 0], groups=m(np.arange(8) // 2)).predict(X)
    ),
    "classifier": lambda m: (
        FCNetClassifier((), max_iter=1, random_state=0).fit(X, m(np.arange(8) % 2)).predict(X)
    ),
    "as_dataset": lambda m: data.as_dataset({"x": m(X[:, 0]), "y": Y[:, 0]}, ["x"], "y").X,
    "fit_standardizer": lambda m: data.fit_standardizer(m(X)),
    "standardize": lambda m: data.standardize(SCALES, m(X)),
    "params_of": lambda m: interchange.params_of([(m(np.ones((1, 2))), np.ones(1))]),
    "loss_curve": lambda m: (
        plot.loss_curve(np.arange(8), {"a": m(X[:, 0])}, ax=Figure().add_subplot())
        .lines[0]
        .get_ydata()
    ),
}


@pytest.mark.parametrize("taker", TAKERS)
def test_masked_entries_are_refused_everywhere(taker: str) -> None:
    take = TAKERS[taker]
    with pytest.raises(ValueError, match="has masked entries: remove or impute them first"):
        take(lambda array: masked(array, 1))
    known, plain = take(lambda array: masked(array, 0)), take(lambda array: array)
    jax.tree.map(np.testing.assert_array_equal, known, plain)


def test_masked_targets_beside_rows_on_disk_are_refused(on_disk) -> None:
    with pytest.raises(ValueError, match="Y has masked entries"):
        fcnet.fit(PARAMS, on_disk, masked(Y, 1), **RUN)
    known, plain = (fcnet.fit(PARAMS, x, masked(Y, 0), **RUN).params for x in (on_disk, X))
    jax.tree.map(np.testing.assert_array_equal, known, plain)


@pytest.mark.parametrize(
    ("column", "error", "message"),
    [
        (np.array([1.5, 2.5], object), TypeError, "'x' holds float in dtype object, expected"),
        (np.array([1, "1"], object), TypeError, "'x' holds int in dtype object"),
        (np.array(["2020-01-01", "2020-01-02"], "M8[D]"), TypeError, "'x' holds date in dtype"),
        (np.array([1, None], object), TypeError, "'x' holds int"),
        (pd.Series([1, None], dtype="Int64"), ValueError, "1 missing or infinite values"),
        (np.array([1, "NaT"], "m8[D]"), TypeError, "'x' holds timedelta"),
        (pd.Series(["a", None], dtype="string"), ValueError, "1 missing or infinite values"),
        (pd.Series(["a", None], dtype="category"), ValueError, "the first in row 1"),
        (np.ones((2, 2)), ValueError, r"'x' has shape \(2, 2\), expected \(n,\)"),
        (np.ones(2) * 1j, TypeError, "'x' holds complex"),
    ],
)
def test_a_column_is_of_numbers_or_of_text(column, error, message) -> None:
    with pytest.raises(error, match=message):
        data.as_dataset({"x": column, "y": np.arange(2)}, ["x"], "y")


@pytest.mark.parametrize(
    ("column", "names", "inputs"),
    [
        ([1, 2], ("x",), [[1], [2]]),
        (pd.Series([1, 2], dtype="Int64"), ("x",), [[1], [2]]),
        (np.asarray([True, False]), ("x",), [[1], [0]]),
        (jax.numpy.array([1, 2], "bfloat16"), ("x",), [[1], [2]]),
        (pd.Series([7, 5], dtype="category"), ("x=5", "x=7"), [[0, 1], [1, 0]]),
        (np.array(["b", "a"], object), ("x=a", "x=b"), [[0, 1], [1, 0]]),
    ],
)
def test_columns_of_any_library_become_inputs(column, names, inputs) -> None:
    found = data.as_dataset({"x": column, "y": np.arange(2)}, ["x"], "y")
    assert found.feature_names == names
    assert found.X.tolist() == inputs


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_data_frame_has_columns(library) -> None:
    columns = {"y": [1, 2, 3], "x": ["b", "a", "b"], "unused": [None, 1, 2]}
    frame = pytest.importorskip(library).DataFrame(columns)
    found = data.as_dataset(frame, ["x"], "y")
    assert found.feature_names == ("x=a", "x=b")
    assert found.X.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert found.Y.tolist() == [[1], [2], [3]]
    with pytest.raises(ValueError, match="no column 'z'; the columns are y, x, unused"):
        data.as_dataset(frame, ["z"], "y")
    table = data.Table({"x": np.ones(3)}, 3)
    with pytest.raises(TypeError, match="columns must be arrays by name, or a data frame, got Tab"):
        data.as_dataset(table, ["x"], "y")
    with pytest.raises(TypeError, match="table must be a Table of read_table, got ") as refused:
        data.predict(None, frame)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("weights", [np.ones(7), np.zeros(8), -np.ones(8), np.full(8, np.nan)])
def test_weights_of_a_standardizer_are_checked(weights) -> None:
    with pytest.raises(ValueError, match="weights"):
        data.fit_standardizer(X, weights)
    twice = data.fit_standardizer(np.vstack([X, X[:1]]))
    np.testing.assert_allclose(data.fit_standardizer(X, [2] + 7 * [1]), twice)


@pytest.mark.parametrize("values", [X * 1j, X.astype(str), X.astype("M8[s]")])
def test_only_real_numbers_are_standardised(values) -> None:
    for standardised in (data.fit_standardizer, lambda X: data.standardize(SCALES, X)):
        with pytest.raises(TypeError, match="must hold real numbers"):
            standardised(values)


@pytest.mark.parametrize(
    "groups",
    [np.r_[np.nan, np.arange(7.0)], np.r_[np.datetime64("NaT", "D"), np.arange(7).astype("M8[D]")]],
)
def test_groups_without_a_label_are_refused(groups) -> None:
    estimator = regressor(early_stopping=True)
    with pytest.raises(TypeError, match=r"groups must hold no missing labels, got [nN]a"):
        estimator.fit(X, Y[:, 0], groups=groups)
    estimator.fit(X, Y[:, 0], groups=groups[np.r_[1:8, 1]])


def noisy(learning_rate):
    return optax.noisy_sgd(learning_rate, key=jax.random.key(1))


def test_the_state_of_an_optimizer_may_hold_a_random_key() -> None:
    """It is stored with the estimator, and the draws go on from there."""
    given = {"learning_rate_init": 1e-3, "optimizer": noisy}
    stored = pickle.loads(pickle.dumps(regressor(**given).fit(X, Y[:, 0])))
    again = pickle.loads(pickle.dumps(stored.partial_fit(X, Y[:, 0]))).predict(X)
    together = regressor(**given).fit(X, Y[:, 0]).partial_fit(X, Y[:, 0]).predict(X)
    np.testing.assert_array_equal(again, together)
    quiet = regressor(**{**given, "optimizer": "sgd"}).fit(X, Y[:, 0]).partial_fit(X, Y[:, 0])
    assert np.abs(quiet.predict(X) - together).max() > 1e-6


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i2"])
def test_rows_on_disk_in_the_order_of_another_machine(tmp_path, dtype) -> None:
    given = (100 * X).astype(dtype)
    np.save(tmp_path / "X.npy", given)
    on_disk = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert on_disk.dtype.byteorder == ">"
    found, expected = (fcnet.fit(PARAMS, x, Y, **RUN).params for x in (on_disk, given))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("column", ["m8[s]", "M8[D]"])
def test_dates_and_times_are_no_numbers(column) -> None:
    """NumPy would count them in units of their own, and a missing one as -2^63."""
    times = np.arange(16).reshape(8, 2).astype(column)
    with pytest.raises(TypeError, match="X must hold real numbers"):
        fcnet.fit(PARAMS, times, Y, **RUN)
    for X_ in (times, pd.DataFrame(times)):
        with pytest.raises(TypeError, match=r"X holds .*time.*, expected numbers"):
            regressor().fit(X_, Y[:, 0])
    whole = np.arange(16).reshape(8, 2)
    found, expected = (regressor().fit(x, Y[:, 0]).predict(whole) for x in (whole, 1.0 * whole))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("weight", [1e300, 2e38])
def test_weights_of_a_stream_have_a_finite_sum(weight) -> None:
    """In float32 their sum is infinite, and every share of it 0 or NaN."""
    with pytest.raises(ValueError, match=r"weights .* finite.*, in batches 0 to"):
        fcnet.fit(PARAMS, [(X[:4], Y[:4], np.full(4, weight))], **RUN)
    large, none = (
        fcnet.fit(PARAMS, [(X[:4], Y[:4], *weights)], **RUN).params
        for weights in ([np.full(4, 1e30)], [])
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), large, none)


@pytest.mark.parametrize("rows", [[[1.7e308], [-1.7e308]], [[1.7e308], [1e308]]])
def test_numbers_without_a_mean_are_refused(rows) -> None:
    with pytest.raises(ValueError, match=r"X has numbers up to 1\.7e\+308, which have no mean"):
        data.fit_standardizer(np.array(rows))
    assert data.fit_standardizer(np.array(rows) / 1e8).scale < 1.8e300


def test_weights_far_apart_leave_the_heavy_examples() -> None:
    weights = np.r_[1e308, np.full(7, 1e-308)]
    scales = data.fit_standardizer(X, weights)
    np.testing.assert_allclose(scales.mean, X[0])
    assert np.isfinite(regressor().fit(X, Y[:, 0], weights).predict(X)).all()


@pytest.mark.parametrize("name", ["early_stopping", "warm_start", "scale_target"])
def test_a_switch_is_true_or_false(name) -> None:
    """The text "no" would be true."""
    with pytest.raises(TypeError, match=f"{name} must be True or False, got 'no'"):
        regressor(**{name: "no"}).fit(X, Y[:, 0])
    regressor(**{name: np.bool_(False)}).fit(X, Y[:, 0])


def test_labels_in_a_sparse_matrix_are_those_of_its_array() -> None:
    labels = np.c_[np.arange(8) % 2, np.arange(8) // 4]
    for train in (FCNetClassifier.fit, FCNetClassifier.partial_fit):
        found, expected = (
            train(FCNetClassifier((), max_iter=1, random_state=0), X, y).predict_proba(X)
            for y in (csr_array(labels), labels)
        )
        np.testing.assert_array_equal(found, expected)


def test_a_tensor_that_numpy_cannot_read_is_refused_with_what_to_do() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is a dependency of the tests only")
    tensor = torch.tensor(X, requires_grad=True)
    with pytest.raises(TypeError, match=r"X must be an array, got Tensor: .*tensor\.detach\(\)"):
        fcnet.fit(PARAMS, tensor, Y, **RUN)
    detached = fcnet.fit(PARAMS, tensor.detach(), Y, **RUN).params
    jax.tree.map(np.testing.assert_array_equal, detached, fcnet.fit(PARAMS, X, Y, **RUN).params)


def test_parameters_in_tensors_descend_as_those_in_arrays() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is a dependency of the tests only")
    tensors = [(torch.tensor(np.array(W)), torch.tensor(np.array(b))) for W, b in PARAMS]
    pairs = [tuple(layer) for layer in PARAMS]
    found, expected = (
        fcnet.gradient_descent(params, X, Y, learning_rate=0.1, steps=2)
        for params in (tensors, pairs)
    )
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    with pytest.raises(ValueError, match="params has no numbers"):
        fcnet.gradient_descent([torch.ones(0)], X, Y, learning_rate=0.1, steps=2)


RATES = {"learning_rate": np.array([0.1, 0.2])}
TRACED: dict[str, Callable[[], Any]] = {
    "fit in jit": lambda: jax.jit(lambda p: fcnet.fit(p, X, Y, **RUN).params)(PARAMS),
    "fit in jit of nothing": lambda: jax.jit(lambda: fcnet.fit(PARAMS, X, Y, **RUN).params)(),
    "fit in vmap": lambda: jax.vmap(
        lambda key: fcnet.fit(PARAMS, X, Y, **{**RUN, "key": key}).params
    )(jax.random.split(KEY)),
    "fit in grad": lambda: jax.grad(
        lambda rate: fcnet.fit(
            PARAMS, X, Y, hyperparameters={"learning_rate": rate}, **RUN
        ).history.loss[-1]
    )(0.1),
    "sweep in jit": lambda: jax.jit(
        lambda p: fcnet.sweep(p, X, Y, hyperparameters=RATES, **RUN).params
    )(PARAMS),
}


@pytest.mark.parametrize("call", TRACED)
def test_a_run_inside_a_program_is_refused_in_words(call) -> None:
    name = call.split()[0]
    with pytest.raises(TypeError, match=f"{name} runs programs of its own, and cannot be part"):
        TRACED[call]()
    outside = jax.pure_callback(lambda: fcnet.fit(PARAMS, X, Y, **RUN).params, PARAMS)
    jax.tree.map(np.testing.assert_array_equal, outside, fcnet.fit(PARAMS, X, Y, **RUN).params)


def test_a_sweep_makes_no_nan_of_its_own() -> None:
    """JAX's flag debug_nans stops at each; without validation examples there is no such loss."""
    jax.config.update("jax_debug_nans", True)
    try:
        result = fcnet.sweep(PARAMS, X, Y, hyperparameters=RATES, **RUN)
        with pytest.raises(FloatingPointError):
            jax.jit(lambda x: x * np.nan)(1.0)
    finally:
        jax.config.update("jax_debug_nans", False)
    assert np.isnan(result.history.validation_loss).all()
    assert result.finite.all()

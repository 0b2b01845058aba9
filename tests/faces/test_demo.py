"""What the demo claims, checked by other means: agreement, models, scores, output, no leaks."""

import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

import fcnet.demo
from fcnet import data
from fcnet.data import Dataset
from fcnet.demo import houses
from fcnet.demo.agreement import MISTAKE, WIDTHS, gradient_errors
from fcnet.demo.houses import (
    PriceModel,
    cost,
    fit_linear,
    fit_network,
    predict_prices,
    score,
    train_network,
)
from fcnet.demo.published import PublishedExample, cs231n, mazur

Split = tuple[Dataset, Dataset]
Fit = Callable[[Dataset], PriceModel]


@pytest.fixture(scope="module")
def sales() -> Split:
    return data.random_split(data.sacramento(), jax.random.key(0))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training that stops after the first of its blocks."""
    monkeypatch.setattr(houses, "BLOCKS", 1)


@pytest.mark.notes("Algorithm 5")
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 1e-5)])
def test_algorithm_5_agrees_with_autodiff_on_real_sales(
    sales: Split, dtype: type, tolerance: float
) -> None:
    errors = gradient_errors(sales[0], dtype)
    assert len(errors) == len(WIDTHS)
    assert np.max(errors) <= tolerance


def test_the_planted_slip_shows_in_the_layers_below_the_last(sales: Split) -> None:
    *below, last = gradient_errors(sales[0], np.float64, MISTAKE)
    assert np.min(below) > 0.1
    assert np.max(last) < 1e-13


@pytest.mark.usefixtures("exact_products")
@pytest.mark.parametrize(
    ("penalty", "twin"), [(0.0, LinearRegression()), (1.0, Ridge(alpha=1.0, solver="cholesky"))]
)
def test_linear_models_are_scikit_learn_s(
    sales: Split, penalty: float, twin: LinearRegression | Ridge
) -> None:
    training, test = sales
    model = fit_linear(training, penalty)
    twin.fit(
        data.standardize(model.inputs, training.X), data.standardize(model.targets, training.Y)
    )
    Z = twin.predict(data.standardize(model.inputs, test.X)).reshape(-1, 1)
    theirs = data.unstandardize(model.targets, Z)
    error = predict_prices(model, test.X) - theirs
    assert np.linalg.norm(error) <= 1e-5 * np.linalg.norm(theirs - theirs.mean())


def test_scores_are_scikit_learn_s(sales: Split) -> None:
    training, test = sales
    model = fit_linear(training)
    guess = predict_prices(model, test.X)
    rmse, mae, r2 = score(model, test)
    assert rmse == pytest.approx(root_mean_squared_error(test.Y, guess))
    assert mae == pytest.approx(mean_absolute_error(test.Y, guess))
    assert r2 == pytest.approx(r2_score(test.Y, guess))
    assert cost(model, test) == pytest.approx((rmse / model.targets.scale[0]) ** 2 / 2, rel=1e-4)


@pytest.mark.slow
def test_the_network_beats_linear_regression_on_houses_held_out() -> None:
    fits = {"network": fit_network, **fcnet.demo.LINEAR}
    folds = data.folds(data.sacramento(), jax.random.key(0))
    scores = np.array([[score(fit(part), test) for fit in fits.values()] for part, test in folds])
    network, linear, ridge = scores.mean(axis=0)
    assert network[0] < linear[0] - 1_000
    assert network[1] < min(linear[1], ridge[1]) - 1_000
    assert network[2] > linear[2] + 0.01


def leaks(
    pipeline: Callable[[Dataset, Dataset], np.ndarray], training: Dataset, test: Dataset
) -> bool:
    """Whether what is predicted for the first house held out depends on the others, or prices."""
    first = np.arange(len(test.X))[:, None] == 0
    other = test._replace(X=np.where(first, test.X, 2 * test.X[::-1]), Y=10 * test.Y)
    return not np.array_equal(pipeline(training, test)[0], pipeline(training, other)[0])


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("fit", [fit_linear, fit_network])
def test_a_prediction_knows_nothing_of_the_other_houses_held_out(fit: Fit, sales: Split) -> None:
    def honest(training: Dataset, test: Dataset) -> np.ndarray:
        return predict_prices(fit(training), test.X)

    def scaled_on_all(training: Dataset, test: Dataset) -> np.ndarray:
        everything = data.fit_standardizer(np.vstack([training.X, test.X]))
        return predict_prices(fit(training)._replace(inputs=everything), test.X)

    def trained_on_all(training: Dataset, test: Dataset) -> np.ndarray:
        X, Y = np.vstack([training.X, test.X]), np.vstack([training.Y, test.Y])
        return predict_prices(fit(training._replace(X=X, Y=Y)), test.X)

    assert not leaks(honest, *sales)
    assert leaks(scaled_on_all, *sales)
    assert leaks(trained_on_all, *sales)


@pytest.mark.usefixtures("short")
@pytest.mark.notes("Algorithm 2")
def test_training_repeats_bit_for_bit_and_lowers_the_cost(sales: Split, key: jax.Array) -> None:
    training, _ = sales
    (_, start), (steps, one) = train_network(training, key)
    _, (_, two) = train_network(training, key)
    assert steps == houses.STEPS_PER_BLOCK
    assert jax.tree.all(jax.tree.map(np.array_equal, one.params, two.params))
    assert cost(one, training) < 0.6 * cost(start, training)


@pytest.mark.parametrize("recompute", [mazur, cs231n])
def test_every_published_digit_is_recomputed_and_a_wrong_one_seen(
    recompute: Callable[[], PublishedExample],
) -> None:
    example = recompute()
    assert example.agrees
    unit = 10.0 ** -len(example.published[-1].partition(".")[2])
    *others, last = example.computed
    assert not example._replace(computed=(*others, last + unit)).agrees


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_the_demo_prints_its_numbers_and_draws_its_figures(
    sales: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fcnet.demo.main(tmp_path / "new" / "figures")
    shown = capsys.readouterr().out
    scores = score(fit_linear(sales[0]), sales[1])
    for words in (
        "932 house sales",
        "layer 3, dJ/db[3]",
        f"linear regression        ${scores.rmse:,.0f}   ${scores.mae:,.0f}   {scores.r2:.3f}",
        "mean of 5 folds",
        "as published, 0.561370121",
        "as published, 1.30378789133",
        str(tmp_path / "new" / "figures"),
    ):
        assert words in shown
    assert "NOT" not in shown
    assert "\x1b" not in shown
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "new" / "figures").iterdir()}
    assert set(drawn) == {
        *("figure1.png", "figure2.png", "figure3.png"),
        *("agreement.png", "training.png", "prediction.png"),
    }
    assert all(content.startswith(b"\x89PNG") for content in drawn.values())


def test_without_matplotlib_nothing_is_computed_or_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'fcnet\[plot\]'"):
        fcnet.demo.main(tmp_path / "figures")
    assert not list(tmp_path.iterdir())
    assert not capsys.readouterr().out


@pytest.mark.parametrize("watched", [False, True])
def test_a_progress_bar_changes_no_item_and_shows_only_on_a_terminal(
    watched: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: watched, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert list(fcnet.demo.track(iter("abc"), "counting", 3)) == ["a", "b", "c"]
    shown = capsys.readouterr()
    assert ("counting" in shown.err) == watched
    assert not shown.out

"""The scikit-learn estimators: all of scikit-learn's own checks, and what those do not cover.

Run without the type checker: scikit-learn hands over wrong types on purpose.
"""

import copy
import functools
import os
import pickle
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import optax
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator
from support.problems import compilations, counted_loss

import fcnet
from fcnet.estimators import FCNetClassifier, FCNetRegressor, base
from fcnet.estimators.arguments import held_out
from fcnet.train.defaults import ALL_PASSES
from fcnet.train.optimizer import OPTIMIZERS

pytestmark = pytest.mark.untyped

ESTIMATORS = [
    kind(early_stopping=early_stopping, max_iter=100)
    for kind in (FCNetRegressor, FCNetClassifier)
    for early_stopping in (False, True)
]
SLOW = {
    *("check_dtype_object", "check_estimators_dtypes", "check_fit_score_takes_y"),
    *("check_classifiers_train", "check_regressors_train", "check_regressor_multioutput"),
    *("check_sample_weights_shape", "check_sample_weights_pandas_series"),
    *("check_estimators_nan_inf", "check_estimators_partial_fit_n_features"),
    *("check_n_features_in_after_fitting", "check_classifiers_classes"),
    *("check_pipeline_consistency", "check_estimators_overwrite_params"),
}


def checks() -> Any:
    """Scikit-learn's checks of each estimator; with early stopping most of them are slow twins."""
    for estimator in ESTIMATORS:
        for number, (candidate, check) in enumerate(estimator_checks_generator(estimator)):
            name = getattr(check, "func", check).__name__
            slow = name in SLOW or (estimator.early_stopping and "equivalence" not in name)
            kind = type(estimator).__name__
            stopping = "-early_stopping" if estimator.early_stopping else ""
            yield pytest.param(
                candidate,
                check,
                id=f"{kind}{stopping}-{number}-{name}",
                marks=[pytest.mark.slow] if slow else [],
            )


@pytest.mark.filterwarnings("ignore")  # the checks provoke warnings of scikit-learn's own
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def houses() -> tuple[np.ndarray, np.ndarray]:
    """A kink, in dollars: 80 houses, two features."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2))
    return X, 2e5 + 5e4 * np.maximum(X[:, 0], 0) - 1e4 * X[:, 1]


def penalised_loss(params, X, Y, weights, alpha):
    squares = sum((layer.W**2).sum() for layer in params)
    loss = fcnet.mean_loss(params, X, Y, weights=weights)
    return loss + alpha / (2 * weights.sum()) * squares


def layers(model):
    return tuple(
        fcnet.Layer(jax.numpy.asarray(W.T), jax.numpy.asarray(b))
        for W, b in zip(model.coefs_, model.intercepts_, strict=True)
    )


def test_a_step_is_that_of_the_weighted_penalised_loss(houses):
    X, y = houses
    y = (y - 2e5) / 1e4
    weights = np.arange(80.0)
    model = FCNetRegressor(
        8, optimizer="sgd", learning_rate_init=0.01, alpha=3.0, batch_size=80, max_iter=4,
        scale_target=False, warm_start=True, random_state=0,
    )  # fmt: skip
    model.fit(X, y, weights)
    with jax.enable_x64(True):
        before = layers(model)
        gradient = jax.grad(penalised_loss)(before, X, y[:, None], weights, 3.0)
        expected = jax.tree.map(lambda p, g: np.asarray(p - 0.01 * g), before, gradient)
    model.set_params(max_iter=1).fit(X, y, weights)
    for layer, W, b in zip(expected, model.coefs_, model.intercepts_, strict=True):
        np.testing.assert_allclose(W, layer.W.T, rtol=1e-10)
        np.testing.assert_allclose(b, layer.b, rtol=1e-10, atol=1e-14)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(model.coefs_[0], np.asarray(before[0].W.T), rtol=1e-6)


def test_by_default_the_penalty_is_shared_out_over_all_examples(houses):
    X, y = np.tile(houses[0], (3, 1)), np.tile(houses[1], 3)
    make = functools.partial(
        FCNetRegressor, 8, batch_size=20, max_iter=3, scale_target=False, random_state=0
    )
    for weights in (None, np.repeat([1.0, 2.0], 120)):
        shared = make().fit(X, y / 1e5, weights).coefs_[0]
        alone = make(alpha=ALL_PASSES.l2 * 20 / 240).fit(X, y / 1e5, weights).coefs_[0]
        np.testing.assert_allclose(shared, alone, rtol=1e-9)
        free = make(alpha=0).fit(X, y / 1e5, weights).coefs_[0]
        with pytest.raises(AssertionError):
            np.testing.assert_allclose(shared, free, rtol=1e-6)
    stream, told = make(), make()
    for rows, n in ((slice(120), 120), (slice(120, 240), 240)):
        stream.partial_fit(X[rows], y[rows] / 1e5)
        told.set_params(alpha=ALL_PASSES.l2 * 20 / n).partial_fit(X[rows], y[rows] / 1e5)
    np.testing.assert_allclose(stream.coefs_[0], told.coefs_[0], rtol=1e-9)


def test_partial_fits_are_one_fit_in_pieces(houses):
    X, y = houses
    make = functools.partial(FCNetRegressor, 8, scale_target=False, random_state=3, alpha=0.1)
    pieces = make()
    for _ in range(5):
        pieces.partial_fit(X, y / 1e5)
    whole = make(max_iter=5).fit(X, y / 1e5)
    for one, other in zip(pieces.coefs_, whole.coefs_, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)
    np.testing.assert_allclose(pieces.loss_curve_, whole.loss_curve_, rtol=1e-9)
    assert pieces.n_iter_ == whole.n_iter_ == 5
    forgetful = make(max_iter=1, warm_start=True).fit(X, y / 1e5)
    for _ in range(4):  # a new optimiser each time
        forgetful.fit(X, y / 1e5)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(forgetful.coefs_[0], whole.coefs_[0], rtol=1e-9)


def test_weights_are_in_the_units_of_the_target(houses):
    X, y = houses
    model = FCNetRegressor(8, learning_rate_init=0.01, alpha=0, max_iter=300, random_state=0)
    model.fit(X, y)
    by_hand = np.maximum(X @ model.coefs_[0] + model.intercepts_[0], 0) @ model.coefs_[1]
    np.testing.assert_allclose(model.predict(X), (by_hand + model.intercepts_[1])[:, 0], rtol=1e-12)
    assert model.score(X, y) > 0.99
    unscaled = clone(model).set_params(scale_target=False).fit(X, y)
    assert unscaled.score(X, y) < 0


def test_a_fit_that_fails_leaves_no_network_behind(houses):
    X, y = houses
    labels = np.where(y > np.median(y), "high", "low")
    model = FCNetClassifier(hidden_layer_sizes=(3,), max_iter=2, random_state=0).fit(X, labels)
    model.set_params(alpha=-1.0)
    with pytest.raises(ValueError, match="alpha"):
        model.fit(X, np.where(labels == "high", "x", "y"))
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_a_logistic_loss_predicts_probabilities(houses):
    X, y = houses
    rich = (y > np.median(y)).astype(float)
    model = FCNetRegressor(
        8, loss="logistic", learning_rate_init=0.01, max_iter=300, random_state=0
    )
    predicted = model.fit(X, rich).predict(X)
    assert ((predicted > 0) & (predicted < 1)).all()
    assert np.mean((predicted > 0.5) == rich) > 0.7


def test_warm_start_goes_on_and_needs_the_same_network(houses):
    X, y = houses
    model = FCNetRegressor(8, max_iter=20, warm_start=True, random_state=0).fit(X, y)
    first = model.loss_curve_
    assert model.fit(X, y).loss_curve_[0] < first[-1] < first[0]
    model.set_params(hidden_layer_sizes=7)
    with pytest.raises(ValueError, match=r"has sizes \(2, 8, 1\), .* sizes \(2, 7, 1\)"):
        model.fit(X, y)
    with pytest.raises(ValueError, match="3 features"):
        model.fit(np.ones((80, 3)), y)


def test_early_stopping_keeps_the_best_and_takes_a_set_of_its_own(houses):
    X, y = houses
    model = FCNetRegressor(
        8, early_stopping=True, n_iter_no_change=3, max_iter=500, learning_rate_init=0.05,
        random_state=0,
    )  # fmt: skip
    model.fit(X[:60], y[:60], X_val=X[60:], y_val=-y[60:])
    assert len(model.validation_scores_) == model.n_iter_ < 500
    # the sign of the validation targets is wrong, so training makes it worse from the start
    assert model.n_iter_ <= 6
    right = clone(model).fit(X[:60], y[:60], X_val=X[60:], y_val=y[60:])
    assert right.n_iter_ > model.n_iter_
    np.testing.assert_allclose(
        right.score(X[60:], y[60:]), max(right.validation_scores_), rtol=1e-3
    )
    own = clone(model).fit(X, y)
    assert own.n_iter_ > 6
    assert own.score(X, y) > 0.9


def test_equal_rows_are_held_out_together_and_weights_count_as_rows():
    rng = np.random.default_rng(1)
    X = rng.integers(0, 9, size=(60, 2)).astype(float)
    seed = functools.partial(np.random.RandomState, 5)
    held = held_out(X, np.ones(60), 0.3, seed())
    sides = {tuple(row) for row in X[held]} & {tuple(row) for row in X[~held]}
    assert not sides
    assert abs(held.sum() - 18) <= 1
    distinct, counts = np.unique(X, axis=0, return_counts=True)
    weighted = held_out(distinct, counts.astype(float), 0.3, seed())
    assert {tuple(row) for row in distinct[weighted]} == {tuple(row) for row in X[held]}
    assert (held_out(X, np.ones(60), 0.3, np.random.RandomState(6)) != held).any()


@pytest.mark.slow
def test_early_stopping_on_few_different_rows_is_as_good_as_scikit_learn_s():
    """Twelve combinations of a class, a sex and an age, in very different numbers."""
    rng = np.random.default_rng(0)
    cells = np.array([[*np.eye(3)[k], a, b] for k in range(3) for a in (0, 1) for b in (0, 1)])
    counts = [700, 450, 330, 200, 150, 120, 90, 60, 25, 12, 5, 2]
    X = np.repeat(cells, counts, axis=0)
    y = rng.random(len(X)) < np.repeat(rng.permutation(np.linspace(0.05, 0.95, 12)), counts)
    order = rng.permutation(len(X))
    X, y = X[order], np.where(y, "yes", "no")[order]
    given = {"hidden_layer_sizes": (32,), "learning_rate_init": 0.01, "early_stopping": True}
    ours, theirs = (
        [kind(**given, random_state=seed).fit(X, y).score(X, y) for seed in range(8)]
        for kind in (FCNetClassifier, MLPClassifier)
    )
    assert min(ours) > min(theirs) - 0.02


def test_groups_are_validated_on_as_a_whole(houses):
    X, y = houses
    patients = np.repeat([f"patient {k}" for k in range(16)], 5)
    model = FCNetRegressor(4, early_stopping=True, max_iter=2, random_state=0)
    seen: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "fcnet.estimators.base.fit",
            lambda *given, **named: (
                seen.update(X=given[1], held=named["validation"][0]) or fcnet.fit(*given, **named)
            ),
        )
        model.fit(X, y, groups=patients, sample_weight=[0.0] + [1.0] * 79)
    group = dict(zip(map(tuple, X), patients, strict=True))
    trained, held = ({group[tuple(row)] for row in seen[key]} for key in ("X", "held"))
    assert held
    assert not trained & held
    assert len(seen["held"]) == 5  # of 79: a group of 5 is the nearest to 8 that fits
    half = np.repeat([0.0, 1.0], 40)  # there are as many weights above 0 as groups
    for wrong in ({"groups": patients[1:]}, {"groups": patients[40:], "sample_weight": half}):
        with pytest.raises(ValueError, match=r"groups must be a label for each example, got shap"):
            model.fit(X, y, **wrong)
    with pytest.raises(TypeError, match=r"groups must hold labels of one kind, .* got NoneType, s"):
        model.fit(X, y, groups=np.array([None, *patients[1:]], object))


@pytest.mark.parametrize(
    "optimizer",
    [
        "adamw",
        optax.rmsprop,
        functools.partial(optax.sgd, momentum=0.9),
        optax.adam(1e-2),
        optax.MultiSteps(optax.adam(2e-2), every_k_schedule=2),
    ],
)
def test_any_optimizer_of_optax_learns(houses, optimizer):
    X, y = houses
    model = FCNetRegressor(
        8, optimizer=optimizer, learning_rate_init=0.01, max_iter=150, random_state=0
    )
    assert clone(model).fit(X, y).score(X, y) > 0.8


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_name_of_an_optimizer_learns_at_the_default_rate(houses, optimizer):
    model = FCNetRegressor(8, optimizer=optimizer, max_iter=50, random_state=0).fit(*houses)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_a_fitted_estimator_can_be_stored_and_gives_the_same(houses):
    X, y = houses
    model = FCNetRegressor(8, max_iter=5, random_state=0).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert all(type(W) is np.ndarray and W.flags.writeable for W in model.coefs_)
    assert again.partial_fit(X, y).n_iter_ == 6


def hinge(o, y):
    return abs(o - y).sum()


def hinge_derivative(o, y):
    return jax.numpy.sign(o - y)


ROWS = [
    {"loss": "squared_error", "activation": "relu"},
    {"loss": fcnet.LOSSES["poisson"], "activation": fcnet.ACTIVATIONS["gelu"]},
    {"loss": fcnet.LOSSES["logistic"], "activation": fcnet.ACTIVATIONS["relu"]},
    {"loss": fcnet.Loss("poisson", hinge, hinge_derivative), "activation": "tanh"},
]


@pytest.mark.parametrize("rows", ROWS)
def test_rows_of_the_tables_are_stored_and_cloned(houses, rows):
    X, y = houses
    rich = (y > np.median(y)).astype(float)
    model = FCNetRegressor(8, max_iter=5, random_state=0, **rows).fit(X, rich)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    for name, row in rows.items():
        assert getattr(again, name) == getattr(clone(model), name) == row


def test_a_copy_of_a_row_is_the_row_itself():
    """JAX would compile anew for a copy of its functions."""
    mine = fcnet.Activation("relu", jax.numpy.sin, jax.numpy.cos)
    for row in (*fcnet.ACTIVATIONS.values(), *fcnet.LOSSES.values()):
        assert pickle.loads(pickle.dumps(row)) is row
    assert copy.deepcopy(mine) is mine
    with pytest.raises(pickle.PicklingError):  # its functions are JAX's: no row of the table
        pickle.dumps(mine)


@pytest.mark.slow
def test_a_search_over_two_processes_finds_what_one_finds(houses):
    X, y = houses
    rows = {"loss": fcnet.LOSSES["squared_error"], "activation": fcnet.ACTIVATIONS["tanh"]}
    model = FCNetRegressor(8, max_iter=20, random_state=0, **rows)
    one, two = (
        GridSearchCV(model, {"learning_rate_init": [1e-3, 1e-2]}, cv=2, n_jobs=n).fit(X, y)
        for n in (None, 2)
    )
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_allclose(two.cv_results_[name], one.cv_results_[name], rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_precision_is_that_of_the_examples(houses, dtype):
    X, y = (array.astype(dtype) for array in houses)
    model = FCNetRegressor(8, max_iter=3, random_state=0).fit(X, y)
    assert {leaf.dtype for leaf in (*model.coefs_, *model.intercepts_)} == {np.dtype(dtype)}
    assert model.predict(X.astype(np.float64)).dtype == dtype


def test_half_precision_is_widened(houses):
    """Sums of such columns, their squares and their weights are infinite in float16."""
    X, y = (1e3 * array / array.std() for array in houses)
    X, y, weights = (array.astype(np.float16) for array in (X, y, np.full(len(X), 6e4)))
    assert weights.astype(float).sum() > np.finfo(np.float16).max
    make = functools.partial(FCNetRegressor, 8, max_iter=3, random_state=0)
    half = make().fit(X, y, weights)
    wide = make().fit(X.astype(float), y.astype(float), weights.astype(float))
    np.testing.assert_array_equal(half.predict(X), wide.predict(X.astype(float)))
    assert half.predict(X).dtype == half.coefs_[0].dtype == np.float64


@pytest.mark.slow
def test_half_precision_that_is_kept_narrow_is_noticed(houses, monkeypatch):
    monkeypatch.setattr(base, "FLOATS", (np.float32, np.float64))
    with pytest.raises(AssertionError):
        test_half_precision_is_widened(houses)


def test_counts_are_learned_by_the_poisson_loss():
    X = np.linspace(-1, 1, 60)[:, None]
    rate = np.exp(1 + 2 * X[:, 0])
    model = FCNetRegressor(
        (), loss="poisson", learning_rate_init=0.1, max_iter=500, alpha=0, random_state=0
    )
    model.fit(X, np.round(rate))
    assert (model.predict(X) > 0).all()
    np.testing.assert_allclose(model.coefs_[0], [[2]], rtol=0.1)
    np.testing.assert_allclose(model.intercepts_[0], [1], rtol=0.1)


def test_other_seeds_and_rates_do_not_compile_anew(houses):
    X, y = houses
    loss, traces = counted_loss()
    model = FCNetRegressor(3, loss=loss, max_iter=3, random_state=0).fit(X, y)
    first = len(traces)
    model.set_params(random_state=1, learning_rate_init=0.5, alpha=1.0, max_iter=7).fit(X, y)
    clone(model).fit(X, y)
    assert first > 0
    assert len(traces) == first


def test_other_numbers_of_rows_to_predict_do_not_compile_anew(houses):
    X, y = houses
    model = FCNetRegressor(3, loss="poisson", max_iter=3, random_state=0).fit(X, y / 1e5)
    model.predict(X[:64])
    assert compilations(lambda: [model.predict(X[:n]) for n in range(33, 64)]) == 0
    assert compilations(lambda: model.predict(X[:65])) > 0


def test_classes_by_name_and_labels_side_by_side():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2))
    names = np.array(["low", "middle", "high"])[np.digitize(X[:, 0], [-0.5, 0.5])]
    make = functools.partial(FCNetClassifier, 16, learning_rate_init=0.02, random_state=0)
    three = make().fit(X, names)
    assert three.classes_.tolist() == ["high", "low", "middle"]
    assert three.score(X, names) > 0.9
    np.testing.assert_allclose(three.predict_proba(X).sum(1), 1)
    two = make().fit(X, names == "low")
    assert two.coefs_[-1].shape == (16, 1)
    assert two.decision_function(X).shape == (120,)
    labels = (X > 0).astype(int)
    both = make().fit(X, labels)
    assert both.predict(X).shape == (120, 2)
    assert (both.predict(X) == labels).mean() > 0.95
    assert ((both.predict_proba(X) > 0.5) == both.predict(X)).all()


def test_classes_given_at_first_may_come_later():
    X = np.array([[0.0], [1.0], [2.0]])
    model = FCNetClassifier(4, random_state=0).partial_fit(X[:2], [0, 1], classes=[0, 1, 2])
    assert model.partial_fit(X[2:], [2]).predict_proba(X).shape == (3, 3)
    with pytest.raises(ValueError, match=r"classes are .* since the first call"):
        model.partial_fit(X[:2], [0, 1], classes=[0, 1])
    with pytest.raises(ValueError, match=r"classes \[3\] that are not among"):
        model.partial_fit(X[2:], [3])


@pytest.mark.parametrize("given", ["numbers", "columns", None])
def test_several_labels_come_in_chunks(given):
    X = np.random.default_rng(0).normal(size=(120, 4))
    labels = (X[:, :3] > 0).astype(int)
    classes = {"numbers": [0, 1, 2], "columns": labels, None: None}[given]
    model = FCNetClassifier(16, learning_rate_init=0.1, random_state=0)
    for _ in range(15):
        for rows in (slice(1), slice(1, 60), slice(60, None)):  # a first row alone has no 1 in some
            model.partial_fit(X[rows], labels[rows], classes=classes)
    assert model.classes_.tolist() == [0, 1, 2]
    assert (model.predict(X) == labels).mean() > 0.95
    with pytest.raises(
        ValueError, match=r"classes are \[0 1 2\] since the first call, got \[0 1\]"
    ):
        model.partial_fit(X, labels, classes=[0, 1])
    with pytest.raises(ValueError, match=r"y has shape \(120,\), expected \(n, 3\)"):
        model.partial_fit(X, labels[:, 0])
    one = FCNetClassifier(4, random_state=0).partial_fit(X, labels[:, 0], classes=[0, 1])
    with pytest.raises(ValueError, match=r"y has shape \(120, 3\), expected \(n,\)"):
        one.partial_fit(X, labels)
    with pytest.raises(ValueError, match=r"classes are \[0 1 2\] since"):
        FCNetClassifier(4).partial_fit(X, labels, classes=["a", "b", "c"])


@pytest.mark.parametrize("first", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_targets_of_a_stream_are_scaled_by_all_that_came(houses, first):
    X, y = houses
    y = y.copy()
    y[:2] = 2e5, 2e5 + 1e-3  # the first chunk says little, or something wrong, of the scale
    chunks = [slice(first), slice(first, 40), slice(40, 80)]
    model = FCNetRegressor(16, learning_rate_init=0.03, random_state=0)
    for _ in range(50):
        for rows in chunks:
            model.partial_fit(X[rows], y[rows])
    assert model.score(X[2:], y[2:]) > 0.9


@pytest.mark.parametrize("offset", [1e7, 1e9])
def test_targets_far_from_zero_keep_their_digits_in_single_precision(houses, offset):
    X = houses[0].astype("f")
    t = (houses[1] - 2e5) / 5e4
    model = FCNetRegressor(16, learning_rate_init=0.02, random_state=0).fit(X, t + offset)
    assert model.predict(X).dtype == np.float64
    assert {W.dtype.name for W in model.coefs_[:-1]} == {"float32"}
    assert model.score(X, t + offset) > 0.95
    before = model.predict(X)
    model.set_params(warm_start=True, max_iter=1, learning_rate_init=1e-9).fit(X, t + offset)
    np.testing.assert_allclose(model.predict(X) - offset, before - offset, atol=1e-3)
    rounded = before.astype("f").astype(float)
    assert 1 - ((rounded - t - offset) ** 2).sum() / ((t - t.mean()) ** 2).sum() < 0.95


def test_data_frames_pipelines_and_searches(houses):
    X = pd.DataFrame(houses[0], columns=["size", "age"])
    y = pd.Series(houses[1])
    network = FCNetRegressor(8, learning_rate_init=0.02, max_iter=60, random_state=0)
    scaler = StandardScaler().set_output(transform="pandas")
    pipeline = make_pipeline(scaler, network).fit(X, y)
    assert pipeline[-1].feature_names_in_.tolist() == ["size", "age"]
    with pytest.raises(ValueError, match="feature names"):
        pipeline[-1].predict(X[["age", "size"]])
    assert cross_val_score(pipeline, X, y, cv=2).min() > 0.5
    search = GridSearchCV(pipeline, {"fcnetregressor__max_iter": [1, 60]}, cv=2).fit(X, y)
    assert search.best_params_ == {"fcnetregressor__max_iter": 60}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "sinus"}, "unknown activation 'sinus'"),
        ({"optimizer": "magic"}, "unknown optimizer 'magic'"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"hidden_layer_sizes": (0,)}, r"hidden_layer_sizes must be at least 1"),
        ({"alpha": -1.0}, "alpha must be 0 or more"),
        ({"alpha": np.inf}, "alpha must be 0 or more, and finite"),
        ({"learning_rate_init": -1e-3}, "learning_rate_init must be positive and finite"),
        ({"learning_rate_init": 0}, "learning_rate_init must be positive and finite"),
        ({"early_stopping": True, "validation_fraction": 1.0}, "validation_fraction must be betw"),
        ({"early_stopping": True, "n_iter_no_change": 0}, "n_iter_no_change must be at least 1"),
        ({"loss": "absolute"}, "unknown loss 'absolute'"),
    ],
)
def test_bad_parameters_are_refused_at_fit(houses, change, message):
    with pytest.raises(ValueError, match=message):
        FCNetRegressor(**change).fit(*houses)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": "1e-4"}, "alpha must be a number, got '1e-4'"),
        ({"early_stopping": True, "validation_fraction": None}, "validation_fraction must be a nu"),
        ({"learning_rate_init": "fast"}, "learning_rate_init must hold real numbers"),
    ],
)
def test_parameters_of_another_type_are_refused_at_fit(houses, change, message):
    with pytest.raises(TypeError, match=message):
        FCNetRegressor(**change).fit(*houses)


@pytest.mark.parametrize(
    ("labels", "kinds"),
    [(["a", None], "NoneType, str"), (["a", 1], "int, str"), ([1, 2.0], "float, int")],
)
def test_labels_that_cannot_be_sorted_are_refused_in_words(houses, labels, kinds):
    y = np.array(labels * 40, object)
    message = f"y must hold labels of one kind, and none missing, got {kinds}"
    with pytest.raises(TypeError, match=message):
        FCNetClassifier(4).fit(houses[0], y)
    FCNetClassifier(4, max_iter=1).fit(houses[0], y.astype(str).astype(object))


def test_targets_of_a_regressor_are_numbers(houses):
    with pytest.raises(TypeError, match="y must hold numbers, got dtype <U"):
        FCNetRegressor(4).fit(houses[0], houses[1].astype(str))


def test_after_a_refusal_other_classes_can_be_named():
    X = np.arange(6.0)[:, None]
    model = FCNetClassifier(4, random_state=0)
    with pytest.raises(ValueError, match="not among"):
        model.partial_fit(X, [0, 1, 2, 0, 1, 2], classes=[0, 1])
    model.partial_fit(X, [0, 1, 2, 0, 1, 2], classes=[0, 1, 2])
    assert model.classes_.tolist() == [0, 1, 2]


def test_columns_of_classes_are_refused_with_what_takes_them():
    classes = np.array([[0, 1], [1, 2], [2, 0]])
    with pytest.raises(ValueError, match=r"y has columns of classes, .*MultiOutputClassifier"):
        FCNetClassifier().fit(classes.astype(float), classes)


def test_targets_that_are_refused_leave_the_shape_of_predictions():
    X = np.arange(6.0)[:, None]
    model = FCNetRegressor(4, max_iter=2, warm_start=True, random_state=0).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="the fitted network has sizes"):
        model.fit(X, np.hstack([X, X]))
    assert model.predict(X).shape == (6,)


def test_a_set_of_one_s_own_needs_both_parts(houses):
    with pytest.raises(ValueError, match="X_val and y_val go together"):
        FCNetRegressor().fit(*houses, X_val=houses[0])


def test_what_diverges_says_so(houses):
    X, y = houses
    model = FCNetRegressor(8, optimizer="sgd", learning_rate_init=1e6, max_iter=500, random_state=0)
    with pytest.raises(fcnet.NonFiniteError, match="smaller learning rate"):
        model.fit(X, y)


@pytest.mark.slow
def test_the_checks_of_the_array_api_need_a_process_of_their_own():
    """SciPy reads the switch at its first import."""
    code = """
from sklearn.utils.estimator_checks import estimator_checks_generator
from fcnet.estimators import FCNetClassifier, FCNetRegressor

for kind in (FCNetRegressor, FCNetClassifier):
    for estimator, check in estimator_checks_generator(kind(max_iter=5)):
        if getattr(check, "func", check).__name__ == "check_array_api_input":
            check(estimator)
            print("passed")
"""
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout == "passed\npassed\n"


def test_an_optimizer_that_reads_the_loss_reads_the_penalty_too() -> None:
    """A linear network by L-BFGS is ridge regression, which has a closed form."""
    draw = np.random.default_rng(0)
    X, alpha = draw.normal(size=(60, 3)), 30.0
    y = X @ np.array([-1.0, 1.0, 2.0]) + draw.normal(size=60)
    model = FCNetRegressor(
        (), optimizer=optax.lbfgs(), alpha=alpha, scale_target=False, batch_size=60, max_iter=60,
        random_state=0,
    ).fit(X, y)  # fmt: skip
    centred = X - X.mean(0)
    ridge = np.linalg.solve(centred.T @ centred + alpha * np.eye(3), centred.T @ (y - y.mean()))
    np.testing.assert_allclose(model.coefs_[0][:, 0], ridge, rtol=1e-6)

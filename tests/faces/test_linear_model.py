"""The linear model beside a network: scikit-learn's are the oracles."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor

from fcnet.data.linear import ROWS, linear_model


def examples(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    r = np.random.default_rng(0)
    X = r.normal(size=(n, 3))
    return X, X @ [1.0, -2.0, 0.5] + 0.3 + r.normal(size=n)


def test_for_numbers_it_is_least_squares() -> None:
    X, y = examples()
    ((W, b),) = linear_model(X, np.column_stack([y, y**2]), "squared_error")
    theirs = LinearRegression().fit(X, np.column_stack([y, y**2]))
    np.testing.assert_allclose(W, theirs.coef_, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(b, theirs.intercept_, rtol=1e-3)


def test_for_labels_it_is_logistic_regression() -> None:
    X, y = examples()
    theirs = LogisticRegression(C=np.inf, tol=1e-8).fit(X, y > 0)
    ((W, b),) = linear_model(X, (y > 0).astype(float)[:, None], "logistic")
    np.testing.assert_allclose(W, theirs.coef_, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(b, theirs.intercept_, rtol=1e-2, atol=1e-3)


def test_for_classes_its_probabilities_are_those_of_multinomial_regression() -> None:
    X, y = examples()
    classes = np.digitize(y, [-1, 1])
    theirs = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(X, classes)
    ((W, b),) = linear_model(X, np.eye(3)[classes], "softmax_cross_entropy")
    o = X @ np.asarray(W).T + np.asarray(b)
    p = np.exp(o) / np.exp(o).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p, theirs.predict_proba(X), atol=3e-3)


def test_for_counts_it_is_poisson_regression() -> None:
    X, y = examples()
    counts = np.random.default_rng(1).poisson(np.exp(0.4 * y)).astype(float)
    theirs = PoissonRegressor(alpha=0, tol=1e-8, max_iter=1000).fit(X, counts)
    ((W, b),) = linear_model(X, counts[:, None], "poisson")
    np.testing.assert_allclose(W[0], theirs.coef_, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(b, theirs.intercept_, rtol=1e-2, atol=1e-3)


def test_a_large_table_is_sampled() -> None:
    X, y = examples(2 * ROWS)
    ((W, _),) = linear_model(X, y[:, None], "squared_error")
    np.testing.assert_allclose(W[0], [1.0, -2.0, 0.5], atol=0.02)
    whole = LinearRegression().fit(X, y).coef_
    assert not np.allclose(W[0], whole, rtol=1e-6)


@pytest.mark.parametrize("loss", ["squared_error", "logistic"])
def test_columns_that_say_the_same_are_no_trouble(loss: str) -> None:
    X, y = examples()
    twice = np.hstack([X, X])
    ((W, _),) = linear_model(twice, (y > 0).astype(float)[:, None], loss)
    assert np.isfinite(np.asarray(W)).all()

"""How well networks predict what they have not seen, and how long they take to learn.

Every model sees the same inputs, standardised by the training examples, and the same splits. The
two networks have the same layers, passes and step size, and each chooses its own penalty alpha, by
cross-validation among the training examples. FCNetRegressor compiles in its first fit: `first` is
the time of that one, `later` the median of the others.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

from fcnet import data
from fcnet.estimators import FCNetClassifier, FCNetRegressor

ALPHAS = (0.1, 0.3, 1.0, 3.0)


class Score(NamedTuple):
    """One model on one data set: its scores on the folds held out, and seconds a fit."""

    case: str
    model: str
    scores: tuple[float, ...]
    first_s: float
    later_s: float

    @property
    def cells(self) -> dict[str, str]:
        return {
            "case": self.case,
            "model": self.model,
            "mean score": f"{np.mean(self.scores):.4f}",
            "of the folds": " ".join(f"{score:.3f}" for score in self.scores),
            "first (s)": f"{self.first_s:.2f}",
            "later (s)": f"{self.later_s:.2f}",
        }


def houses(quick: bool) -> list[Score]:
    """R^2 on five folds: house prices from size, bedrooms and place."""
    network = {
        "hidden_layer_sizes": (32,),
        "max_iter": 2 if quick else 400,
        "random_state": 0,
    }
    alphas = ALPHAS[: 1 if quick else None]
    models: dict[str, Callable[[], Any]] = {
        "linear regression": LinearRegression,
        "scikit-learn's MLPRegressor": lambda: GridSearchCV(
            TransformedTargetRegressor(MLPRegressor(**network), transformer=StandardScaler()),
            {"regressor__alpha": alphas},
            cv=3,
        ),
        "FCNetRegressor": lambda: GridSearchCV(FCNetRegressor(**network), {"alpha": alphas}, cv=3),
    }
    sets = {"Sacramento": data.sacramento, "Ames": data.ames}
    folds = KFold(2 if quick else 5, shuffle=True, random_state=0)
    return [
        score(name, model, make, houses.X, houses.Y[:, 0], list(folds.split(houses.X)))
        for name, houses in ((n, load()) for n, load in list(sets.items())[: 1 if quick else None])
        for model, make in models.items()
    ]


def mnist(quick: bool) -> list[Score]:
    """Accuracy on five folds: 5,000 handwritten digits, 784-128-10, 20 passes."""
    network = {
        "hidden_layer_sizes": (128,),
        "max_iter": 1 if quick else 20,
        "random_state": 0,
    }
    models: dict[str, Callable[[], Any]] = {
        "logistic regression": lambda: LogisticRegression(max_iter=1 if quick else 200),
        "scikit-learn's MLPClassifier": lambda: MLPClassifier(**network),
        "FCNetClassifier": lambda: FCNetClassifier(**network),
    }
    digits = data.mnist_5k()
    labels = digits.Y.argmax(axis=1)
    folds = StratifiedKFold(2 if quick else 5, shuffle=True, random_state=0)
    splits = list(folds.split(digits.X, labels))
    return [
        score("MNIST-5k", model, make, digits.X, labels, splits) for model, make in models.items()
    ]


def score(
    case: str,
    name: str,
    make: Callable[[], Any],
    X: np.ndarray,
    y: np.ndarray,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
) -> Score:
    """A model's scores on the folds; the networks compute in float32, both of them."""
    scores, seconds = [], []
    dtype = np.float64 if "regression" in name else np.float32
    for training, held_out in splits:
        scales = data.fit_standardizer(X[training])
        Z = data.standardize(scales, X).astype(dtype)
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = make().fit(Z[training], y[training])
        seconds.append(getattr(model, "refit_time_", time.perf_counter() - started))
        scores.append(float(model.score(Z[held_out], y[held_out])))
    return Score(case, name, tuple(scores), seconds[0], float(np.median(seconds[1:])))

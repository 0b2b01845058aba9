"""How well networks predict held-out examples, and how long a fit takes.

All models get the same folds and the same inputs, standardised by the training examples. The two
networks have the same layers, passes, learning rate and penalty, and each is trained from several
seeds. FCNetRegressor compiles in its first fit: `cold_s` is the time of that fit, `later_s` the
median of the others.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

from benchmarks.record import Row
from fcnet import data
from fcnet.estimators import FCNetClassifier, FCNetRegressor

SEEDS = 5
RATE = 1e-3
"""The learning rate of both networks, scikit-learn's default."""
HOUSES = {  # the penalty alpha of both networks, chosen once by cross-validation on the same sales
    "Sacramento": (data.sacramento, 1.0),
    "Ames": (data.ames, 0.1),
}


def houses(quick: bool) -> list[Row]:
    """R^2 on five folds: prices from size, bedrooms and place; 32 hidden units, 400 passes."""
    folds = KFold(2 if quick else 5, shuffle=True, random_state=0)
    rows = []
    for name, (load, alpha) in list(HOUSES.items())[: 1 if quick else None]:
        network = {
            "hidden_layer_sizes": (32,),
            "alpha": alpha,
            "learning_rate_init": RATE,
            "max_iter": 2 if quick else 400,
        }
        models: dict[str, Callable[[int], Any]] = {
            "linear regression": lambda seed: LinearRegression(),
            "scikit-learn's MLPRegressor": lambda seed, network=network: TransformedTargetRegressor(
                MLPRegressor(**network, random_state=seed), transformer=StandardScaler()
            ),
            "FCNetRegressor": lambda seed, network=network: FCNetRegressor(
                **network, random_state=seed
            ),
        }
        sales = load()
        splits = list(folds.split(sales.X))
        rows += [
            score(name, model, make, sales.X, sales.Y[:, 0], splits, 1 if quick else SEEDS)
            for model, make in models.items()
        ]
    return rows


def mnist(quick: bool) -> list[Row]:
    """Accuracy on five folds: 5,000 handwritten digits, 784-128-10, 20 passes."""
    network = {
        "hidden_layer_sizes": (128,),
        "alpha": 1e-4,
        "learning_rate_init": RATE,
        "max_iter": 1 if quick else 20,
    }
    models: dict[str, Callable[[int], Any]] = {
        "logistic regression": lambda seed: LogisticRegression(max_iter=1 if quick else 200),
        "scikit-learn's MLPClassifier": lambda seed: MLPClassifier(**network, random_state=seed),
        "FCNetClassifier": lambda seed: FCNetClassifier(**network, random_state=seed),
    }
    digits = data.mnist_5k()
    labels = digits.Y.argmax(axis=1)
    folds = StratifiedKFold(2 if quick else 5, shuffle=True, random_state=0)
    splits = list(folds.split(digits.X, labels))
    return [
        score("MNIST-5k", model, make, digits.X, labels, splits, 1)
        for model, make in models.items()
    ]


def score(
    case: str,
    name: str,
    make: Callable[[int], Any],
    X: np.ndarray,
    y: np.ndarray,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    seeds: int,
) -> Row:
    """The scores of a model; both networks compute in float32."""
    scores, seconds = np.empty((seeds, len(splits))), []
    dtype = np.float64 if "regression" in name else np.float32
    for fold, (training, held_out) in enumerate(splits):
        scales = data.fit_standardizer(X[training])
        Z = data.standardize(scales, X).astype(dtype)
        for seed in range(seeds):
            started = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model = make(seed).fit(Z[training], y[training])
            seconds.append(time.perf_counter() - started)
            scores[seed, fold] = model.score(Z[held_out], y[held_out])
    means = scores.mean(axis=1)
    values = {"score": means.mean(), "least": means.min(), "most": means.max()}
    values |= {"cold_s": seconds[0], "later_s": np.median(seconds[1:])}
    return Row(case, name, {key: float(value) for key, value in values.items()})

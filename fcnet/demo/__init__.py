"""The demo, on real house sales: Algorithm 5 against jax.grad, and a network against a line.

All keys are fixed: on one machine every run prints the same numbers.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from fcnet import data, plot
from fcnet.backpropagation import batch_backprop
from fcnet.data import Dataset
from fcnet.demo.agreement import MISTAKE, WIDTHS, gradient_errors
from fcnet.demo.houses import (
    BLOCKS,
    PriceModel,
    Scores,
    cost,
    fit_linear,
    fit_network,
    predict_prices,
    score,
    train_network,
)
from fcnet.demo.published import cs231n, mazur
from fcnet.descent import gradient_descent
from fcnet.extras import extra
from fcnet.files import write_figure
from fcnet.types import Layer

T = TypeVar("T")
Figures: TypeAlias = dict[str, Callable[..., Any]]
"""Names of files, each with the function that draws the figure on `ax`."""

LINEAR: Mapping[str, Callable[[Dataset], PriceModel]] = {
    "linear regression": fit_linear,
    "ridge regression": partial(fit_linear, penalty=1.0),
}
FOLDS = 5


def main(out: Path) -> None:
    """Print the results, and write the figures as PNG into the folder `out`.

    Raises:
        ModuleNotFoundError: without matplotlib, before anything is computed.
        OSError: if the folder cannot be written, before anything is computed.
    """
    with extra("plot"):
        from matplotlib.figure import Figure
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    houses = data.sacramento()
    training, held_out = data.random_split(houses, jax.random.key(0))
    print(f"{len(houses.X)} house sales, Sacramento 2008: price from size, bedrooms and zip code")
    figures = show_agreement(training) | show_comparison(training, held_out) | notes_figures()
    show_folds(houses)
    show_published()
    for name, draw in figures.items():
        figure = Figure(figsize=(6.4, 4), layout="constrained")
        draw(ax=figure.add_subplot())
        write_figure(out / name, figure)
    print(f"\nFigures in {out.resolve()}: {', '.join(figures)}")
    print(f"Took {time.perf_counter() - started:.0f} s.")


def show_agreement(houses: Dataset) -> Figures:
    """Print and draw the errors of Algorithm 5 against jax.grad, and those of a common mistake."""
    double, single = (gradient_errors(houses, dtype) for dtype in (np.float64, np.float32))
    wrong = gradient_errors(houses, np.float64, MISTAKE)
    sizes = "-".join(map(str, (houses.X.shape[1], *WIDTHS)))
    print(f"\nAlgorithm 5 against jax.grad: a {sizes} network, mean over {len(houses.X)} sales")
    print(f"  {'relative error of':<22}{'float64':>10}{'float32':>10}")
    for k, errors in enumerate(zip(double, single, strict=True), start=1):
        for leaf, in_double, in_single in zip("Wb", *errors, strict=True):
            name = f"layer {k}, dJ/d{leaf}[{k}]"
            print(f"  {name:<22}{in_double:10.1e}{in_single:10.1e}")
    rows = {"float64": double, "float32": single, "float64, ReLU'(z)\nleft out of line 4": wrong}
    return {"agreement.png": partial(plot.agreement, rows)}


def show_comparison(training: Dataset, held_out: Dataset) -> Figures:
    """Print and draw the models' errors on houses that they have not seen."""
    history = track(train_network(training, jax.random.key(1)), "training", BLOCKS + 1)
    steps, stages = zip(*history, strict=True)
    models = {"network": stages[-1], **{name: fit(training) for name, fit in LINEAR.items()}}
    print(f"\nTrained on {len(training.X)} sales, the network by Algorithm 2 ({steps[-1]:,} steps)")
    print_means(
        f"the {len(held_out.X)} held out",
        {name: [score(model, held_out)] for name, model in models.items()},
    )
    line = models["linear regression"]
    losses = {
        "training": np.array([cost(model, training) for model in stages]),
        "held out": np.array([cost(model, held_out) for model in stages]),
        "held out, linear regression": np.full(len(stages), cost(line, held_out)),
    }
    predictions = {
        name: predict_prices(models[name], held_out.X)[:, 0]
        for name in ("network", "linear regression")
    }
    return {
        "training.png": partial(plot.loss_curve, np.array(steps), losses),
        "prediction.png": partial(plot.prediction, held_out.Y[:, 0], predictions),
    }


def show_folds(houses: Dataset) -> None:
    """Print the models' errors where each house is held out once, since one split may be lucky."""
    parts = track(data.folds(houses, jax.random.key(0), FOLDS), "folds", FOLDS)
    fits = {"network": fit_network, **LINEAR}
    folds = [[score(fit(part), test) for fit in fits.values()] for part, test in parts]
    results = dict(zip(fits, zip(*folds, strict=True), strict=True))
    print()
    print_means(f"mean of {FOLDS} folds", results)
    pairs = zip(results["network"], results["linear regression"], strict=True)
    better = np.sum([np.less(network, line)[:2] for network, line in pairs], axis=0)
    print("  folds in which the network's error is below linear regression's:", end=" ")
    print(f"RMSE {better[0]} of {FOLDS}, MAE {better[1]} of {FOLDS}")


def print_means(title: str, results: Mapping[str, Sequence[Scores]]) -> None:
    """Print a row for each model: the mean of its scores."""
    print(f"  {title:<22}{'RMSE':>10}{'MAE':>10}{'R^2':>8}")
    for name, scores in results.items():
        rmse, mae, r2 = np.mean(scores, axis=0)
        print(f"  {name:<22}{f'${rmse:,.0f}':>10}{f'${mae:,.0f}':>10}{r2:8.3f}")


def show_published() -> None:
    """Print worked examples that others published, recomputed."""
    print("\nPublished examples, recomputed")
    for example in (mazur(), cs231n()):
        verdict = "as" if example.agrees else "NOT as"
        print(
            f"  {example.source}, {example.quantity}: {verdict} published, {example.published[-1]}"
        )


def notes_figures() -> Figures:
    """Figures 1 to 3 of the notes, with a neuron and a network trained here."""
    prices = data.kinked_prices(jax.random.key(0))
    neuron = (Layer(jnp.ones((1, 1)), jnp.zeros(1)),)
    neuron = gradient_descent(
        neuron,
        prices.X / 1e3,
        prices.Y / 1e5,
        learning_rate=0.1,
        steps=5_000,
        gradient=partial(batch_backprop, output_activation="relu"),
    )
    w, b = neuron[0].W[0, 0] * 100, neuron[0].b[0] * 1e5
    *_, (_, small) = train_network(
        data.sacramento(["sqft", "beds", "latitude", "longitude"]), jax.random.key(1), hidden=3
    )
    names = ["size", "bedrooms", "latitude", "longitude"], ["$a_1$", "$a_2$", "$a_3$"], ["price"]
    return {
        "figure1.png": partial(plot.kink, prices.X[:, 0], prices.Y[:, 0], w, b),
        "figure2.png": plot.house_network,
        "figure3.png": lambda ax: plot.network(small.params, names, ax=ax).set_title(
            "Figure 3: a fully-connected network, trained on Sacramento"
        ),
    }


def track(items: Iterable[T], description: str, total: int) -> Iterable[T]:
    """The items, with a progress bar on a terminal if rich is installed."""
    if not sys.stderr.isatty() or find_spec("rich") is None:
        return items
    from rich.console import Console
    from rich.progress import track as bar

    return bar(items, description, total, console=Console(stderr=True), transient=True)

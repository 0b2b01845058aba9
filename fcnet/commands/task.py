"""What `fcnet train` and `fcnet sweep` share: a file made ready to train on, and what is left."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from fcnet.data import Standardizer, fit_standardizer, standardize, unscaled
from fcnet.losses import get_loss
from fcnet.network import count_params
from fcnet.tables import Column, as_text
from fcnet.tabular.columns import read_table
from fcnet.tabular.examples import Examples, make_examples
from fcnet.tabular.model import TableModel, predict
from fcnet.types import Params


class Task(NamedTuple):
    """The examples of a file, split and brought to one scale.

    `parts` has the rows of "training" and, if any are held out, of "validation"; `scaled` has X and
    Y of each. `sizes` are those of the network.
    """

    examples: Examples
    target: str
    parts: dict[str, np.ndarray]
    inputs: Standardizer
    targets: Standardizer
    scaled: dict[str, tuple[np.ndarray, np.ndarray]]
    sizes: tuple[int, ...]

    def model(self, params: Params, activation: str, loss: str) -> TableModel:
        """A network with all it takes to predict."""
        examples = self.examples
        return TableModel(
            params,
            examples.features,
            self.inputs,
            self.target,
            self.targets,
            examples.classes,
            activation,
            loss,
        )


def make_task(
    data: Path,
    target: str,
    features: tuple[str, ...],
    categories: tuple[str, ...],
    missing: str,
    hidden: tuple[int, ...],
    loss: str,
    validation: float,
    key: jax.Array,
) -> Task:
    """Read a file, draw the rows to hold out, scale, and print what there is to train on.

    Raises:
        ValueError: for columns or options that do not fit.
    """
    table = read_table(data)
    examples = make_examples(
        table, target, features=features, categories=categories, missing=missing, loss=loss
    )
    parts = _split(len(examples.X), validation, key)
    X, Y = (array[parts["training"]] for array in (examples.X, examples.Y))
    inputs, targets = fit_standardizer(X), _target_scales(Y, loss)
    scaled = {
        name: (standardize(inputs, examples.X[rows]), standardize(targets, examples.Y[rows]))
        for name, rows in parts.items()
    }
    sizes = (X.shape[1], *hidden, Y.shape[1])
    _describe(data, len(table[target]), examples, sizes, parts)
    return Task(examples, target, parts, inputs, targets, scaled, sizes)


def scores(model: TableModel, predicted: Column, truth: Column) -> dict[str, str]:
    """How good predictions are, by the name of the score."""
    if model.classes:
        return {"accuracy": f"{np.mean(predicted == np.array(as_text(truth))):.3f}"}
    error = predicted - truth.astype(np.float64)
    rmse = np.sqrt(np.mean(error**2))
    r2 = 1 - np.mean(error**2) / np.var(truth) if np.ptp(truth) else 0.0
    return {"RMSE": f"{rmse:,.0f}" if rmse >= 1000 else f"{rmse:.4g}", "R^2": f"{r2:.3f}"}


def print_scores(model: TableModel, task: Task) -> None:
    """A table of the scores of each part."""
    columns = task.examples.columns
    predicted = predict(model, columns)
    told = {
        name: scores(model, predicted[rows], columns[model.target][rows])
        for name, rows in task.parts.items()
    }
    lines = {"": told["training"], **{name: found.values() for name, found in told.items()}}
    for name, cells in lines.items():
        print(f"  {name:<14}" + "".join(f"{cell:>12}" for cell in cells))


def _split(n: int, validation: float, key: jax.Array) -> dict[str, np.ndarray]:
    """The rows of each part, drawn at random."""
    held = round(validation * n) if 0 <= validation < 1 else n
    if held >= n or (validation > 0 and not held):
        raise ValueError(
            f"--validation must be 0 or a share that leaves at least one of {n} rows on each side, "
            f"got {validation:g}"
        )
    order = np.asarray(jax.random.permutation(key, n))
    parts = {"training": order[held:], "validation": order[:held]}
    return {name: rows for name, rows in parts.items() if len(rows)}


def _target_scales(Y: np.ndarray, loss: str) -> Standardizer:
    """Numbers are standardised for the squared error; counts and classes stay as they are."""
    return fit_standardizer(Y) if get_loss(loss).is_scalable else unscaled(Y.shape[1])


def _describe(
    data: Path,
    rows: int,
    examples: Examples,
    sizes: tuple[int, ...],
    parts: Mapping[str, np.ndarray],
) -> None:
    """What is trained on what."""
    used = ", ".join(f"{len(part)} for {name}" for name, part in parts.items())
    left_out = rows - len(examples.X)
    print(f"{data}: {rows} rows, {used}" + (f", {left_out} left out" if left_out else ""))
    for feature in examples.features:
        kind = f"{len(feature.values)} categories" if feature.values else "number"
        print(f"  {feature.name:<24}{kind}")
    print(f"Network {'-'.join(map(str, sizes))}, {count_params(sizes):,} parameters", flush=True)


@contextmanager
def progress_bar(total: float, text: str) -> Iterator[Callable[[float, str], None] | None]:
    """A bar, where a person watches and rich is installed: a function of what is done and a text.

    The text before the bar may name `task.completed` and `task.total`, the one after it is given.
    """
    if not sys.stderr.isatty() or find_spec("rich") is None:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns: tuple[Any, ...] = (
        TextColumn(text),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done, told: bar.update(task, completed=done, description=told)

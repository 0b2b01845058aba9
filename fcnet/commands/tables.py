"""`fcnet train` and `fcnet predict`: what they do with files, and what they print."""

import csv
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fcnet.data import Standardizer, fit_standardizer, standardize
from fcnet.extras import extra
from fcnet.network import count_params, init
from fcnet.tables import Column, as_text, is_missing
from fcnet.tabular.columns import read_table
from fcnet.tabular.examples import Examples, make_examples
from fcnet.tabular.model import TableModel, load_model, predict, save_model
from fcnet.train.fit import fit
from fcnet.train.history import History, Interrupted
from fcnet.train.store import saved


def train(
    data: Path,
    target: str,
    features: tuple[str, ...],
    categories: tuple[str, ...],
    missing: str,
    hidden: tuple[int, ...],
    activation: str,
    loss: str,
    optimizer: str,
    learning_rate: float,
    batch_size: int,
    steps: int,
    validation: float,
    evaluate_every: int,
    patience: int,
    seed: int,
    out: Path,
    resume: bool,
) -> None:
    """Train on the rows of a file, and leave a model, its learning curve and checkpoints in `out`.

    Raises:
        ValueError: for columns or options that do not fit, before anything is written.
        ModuleNotFoundError: without the extra `cli`, likewise.
    """
    with extra("cli"):
        import matplotlib.figure
        import safetensors  # noqa: F401
    started = time.perf_counter()
    checkpoints = out / "checkpoints"
    if saved(checkpoints) and not resume:
        raise ValueError(
            f"{out} holds a run already: add --resume to go on with it, or choose another --out"
        )
    table = read_table(data)
    examples = make_examples(
        table, target, features=features, categories=categories, missing=missing, loss=loss
    )
    split_key, start_key, fit_key = jax.random.split(jax.random.key(seed), 3)
    parts = _split(len(examples.X), validation, split_key)
    X, Y = (array[parts["training"]] for array in (examples.X, examples.Y))
    inputs, targets = fit_standardizer(X), _target_scales(Y, loss)
    sizes = (X.shape[1], *hidden, Y.shape[1])
    _describe(data, len(table[target]), examples, sizes, parts)
    scaled = {
        name: (standardize(inputs, examples.X[rows]), standardize(targets, examples.Y[rows]))
        for name, rows in parts.items()
    }
    with _bar(steps) as progress, _interruptible():
        result = fit(
            init(start_key, sizes),
            *scaled["training"],
            key=fit_key,
            batch_size=min(batch_size, len(X)),
            steps=steps,
            optimizer=optimizer,
            hyperparameters={"learning_rate": learning_rate},
            activation=activation,
            loss=loss,
            validation=scaled.get("validation"),
            evaluate_every=evaluate_every,
            patience=(patience or None) if "validation" in parts else None,
            checkpoint=checkpoints,
            resume=resume,
            progress=progress,
        )
    model = TableModel(
        result.params,
        examples.features,
        inputs,
        target,
        targets,
        examples.classes,
        activation,
        loss,
    )
    save_model(out / "model.safetensors", model)
    figure = matplotlib.figure.Figure(figsize=(6.4, 4), layout="constrained")
    _draw(result.history, figure.add_subplot())
    figure.savefig(out / "curve.png", dpi=150)
    _summarise(model, examples, parts)
    best = ", the best on the validation rows" if patience and "validation" in parts else ""
    print(f"These are of step {result.step:,}{best}; took {time.perf_counter() - started:.1f} s.")
    print(f"In {out}: model.safetensors, curve.png and checkpoints.")


def predict_file(model: Path, data: Path, out: Path | None) -> None:
    """Print the prediction for every row of a file as CSV, or write it to `out`.

    Where the file has the target too, how good the predictions are goes to standard error.

    Raises:
        ValueError: for a file that is no model, or columns that do not fit it.
    """
    loaded = load_model(model)
    table = read_table(data)
    rows = [[loaded.target], *([value] for value in predict(loaded, table).tolist())]
    if out is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
    else:
        with out.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    if loaded.target in table and not is_missing(table[loaded.target]).any():
        told = ", ".join(f"{score} {value}" for score, value in scores(loaded, table).items())
        print(f"{len(rows) - 1} rows: {told}", file=sys.stderr)


def scores(model: TableModel, columns: Mapping[str, Column]) -> dict[str, str]:
    """How good the predictions are for examples whose target is known, by the name of the score."""
    predicted, truth = predict(model, columns), columns[model.target]
    if model.classes:
        return {"accuracy": f"{np.mean(predicted == np.array(as_text(truth))):.3f}"}
    error = predicted - truth.astype(np.float64)
    rmse = np.sqrt(np.mean(error**2))
    r2 = 1 - np.mean(error**2) / np.var(truth)
    return {"RMSE": f"{rmse:,.0f}" if rmse >= 1000 else f"{rmse:.4g}", "R^2": f"{r2:.3f}"}


def _split(n: int, validation: float, key: jax.Array) -> dict[str, np.ndarray]:
    """The rows of each part, drawn at random."""
    held = round(validation * n)
    if not 0 <= validation < 1 or held >= n or (validation > 0 and not held):
        raise ValueError(
            f"--validation must be 0 or a share that leaves at least one of {n} rows on each side, "
            f"got {validation:g}"
        )
    order = np.asarray(jax.random.permutation(key, n))
    parts = {"training": order[held:], "validation": order[:held]}
    return {name: rows for name, rows in parts.items() if len(rows)}


def _target_scales(Y: np.ndarray, loss: str) -> Standardizer:
    """Numbers are standardised for the squared error; counts and classes stay as they are."""
    if loss == "squared_error":
        return fit_standardizer(Y)
    return Standardizer(np.zeros(Y.shape[1]), np.ones(Y.shape[1]))


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


def _summarise(model: TableModel, examples: Examples, parts: Mapping[str, np.ndarray]) -> None:
    """A table of the scores of each part."""
    told = {
        name: scores(model, {column: v[rows] for column, v in examples.columns.items()})
        for name, rows in parts.items()
    }
    lines = {"": told["training"], **{name: found.values() for name, found in told.items()}}
    for name, cells in lines.items():
        print(f"  {name:<14}" + "".join(f"{cell:>12}" for cell in cells))


def _draw(history: History, ax: Any) -> None:
    """The learning curve; on a plain axis where a loss is not positive."""
    from fcnet.plot import loss_curve

    curves = {"training": history.loss, "validation": history.validation_loss}
    known = {name: curve for name, curve in curves.items() if np.isfinite(curve).all()}
    loss_curve(history.step, known, ax=ax)
    if min(curve.min() for curve in known.values()) <= 0:
        ax.set_yscale("linear")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Says how to go on with a run that a signal ended, in the words of the command line."""
    try:
        yield
    except Interrupted as stopped:
        raise KeyboardInterrupt(
            f"{stopped.signal.name} after step {stopped.result.step:,}, which is saved; "
            "go on with the same words and --resume"
        ) from stopped


@contextmanager
def _bar(steps: int) -> Iterator[Callable[[int, History], None] | None]:
    """A progress bar with the losses, where a person watches and rich is installed."""
    if not sys.stderr.isatty() or find_spec("rich") is None:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("step {task.completed:,} of {task.total:,}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=steps)

        def show(step: int, history: History) -> None:
            losses = f"loss {history.loss[-1]:.4g}"
            if np.isfinite(history.validation_loss[-1]):
                losses += f", validation {history.validation_loss[-1]:.4g}"
            bar.update(task, completed=step, description=losses)

        yield show

"""What `fcnet train` and `fcnet sweep` share: a task made ready to train on, and its results."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fcnet.cli.options import TaskOptions
from fcnet.data.cells import as_text
from fcnet.data.examples import Examples, make_examples
from fcnet.data.linear import linear_model
from fcnet.data.model import TableModel, means, save_model, with_scales
from fcnet.data.preprocess import Standardizer, fit_standardizer, standardize, unscaled
from fcnet.data.read import Table, read_table
from fcnet.data.schema import Field, column_of, read_schema, write_schema
from fcnet.extras import extra
from fcnet.files import write_file
from fcnet.losses import get_loss
from fcnet.metrics import METRIC_NAMES
from fcnet.network import count_params
from fcnet.splits import classes_of, hold_out
from fcnet.train.data import host_random
from fcnet.types import Params


class Task(NamedTuple):
    """The examples of a file, split and brought to one scale.

    `parts` has the rows of "training" and, if any are held out, of "validation"; `scaled` has X and
    Y of each. `sizes` are those of the network. The keys are for the first parameters and for the
    batches.
    """

    options: TaskOptions
    examples: Examples
    parts: dict[str, np.ndarray]
    inputs: Standardizer
    targets: Standardizer
    scaled: dict[str, tuple[np.ndarray, np.ndarray]]
    sizes: tuple[int, ...]
    start_key: jax.Array
    fit_key: jax.Array

    def training(self) -> dict[str, Any]:
        """The arguments that `fcnet.fit` and `fcnet.sweep` share."""
        options = self.options
        X, Y = self.scaled["training"]
        return {
            "X": X,
            "Y": Y,
            "batch_size": min(options.batch_size, len(X)),
            "steps": options.steps,
            "optimizer": options.optimizer,
            "activation": options.activation,
            "loss": options.loss,
            "validation": self.scaled.get("validation"),
            "evaluate_every": options.evaluate_every,
        }

    def save(self, params: Params) -> TableModel:
        """Write a network to the folder `out`, with all that it takes to predict, and return it."""
        options, examples = self.options, self.examples
        used = tuple(field for field in examples.features if field.kind != "ignored")
        model = TableModel(
            params,
            with_scales(used, self.inputs),
            with_scales((examples.target,), self.targets)[0],
            options.activation,
            options.loss,
        )
        options.out.mkdir(parents=True, exist_ok=True)
        save_model(options.out / "model.safetensors", model)
        schema = write_schema((*examples.features, examples.target))
        write_file(options.out / "schema.json", schema.encode())
        return model

    def save_figure(self, name: str, draw: Callable[[Any], Any]) -> None:
        """Write a figure to the folder `out`."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 4), layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(self.options.out / name, dpi=150)

    def print_scores(self, model: TableModel) -> None:
        """A table of the scores of each part, and of the linear model of the same columns."""
        X, Y = self.examples.X, self.examples.Y
        last = [*self.parts][-1]
        line = model._replace(params=linear_model(*self.scaled["training"], model.loss))
        rated = {name: (model, rows) for name, rows in self.parts.items()}
        rated[f"linear model, {last}"] = (line, self.parts[last])
        found = {
            name: scores(one, means(one, X[rows]), Y[rows]) for name, (one, rows) in rated.items()
        }
        width = max(map(len, found))
        print(f"  {'':<{width}}" + "".join(f"{score:>12}" for score in found["training"]))
        for name, row in found.items():
            print(f"  {name:<{width}}" + "".join(f"{cell:>12}" for cell in row.values()))
        *_, network, linear = (float([*row.values()][-1]) for row in found.values())
        if not network > linear:
            print(f"On the {last} rows, the network is no better than the linear model.")


def make_task(options: TaskOptions) -> Task:
    """Read a file, draw the rows to hold out, scale, and print what there is to train on.

    Raises:
        ValueError: for columns or options that do not fit.
        ModuleNotFoundError: without the extra `cli`, which the results need.
    """
    with extra("cli"):
        import matplotlib  # noqa: F401
        import pyarrow  # noqa: F401
        import safetensors  # noqa: F401
    if options.groups == options.target.strip():
        raise ValueError(f"--groups and --target are one column, {options.groups!r}")
    split_key, start_key, fit_key = jax.random.split(jax.random.key(options.seed), 3)
    table = read_table(
        options.data,
        separator=options.separator,
        decimal=options.decimal,
        encoding=options.encoding,
    )
    ungrouped = {options.groups: {"kind": "ignored"}} if options.groups else {}
    examples = make_examples(
        table,
        options.target.strip(),
        features=options.features,
        categories=options.categories,
        given={**ungrouped, **(read_schema(options.schema) if options.schema else {})},
        missing=options.missing,
        loss=options.loss,
    )
    groups = _groups(table, options.groups, examples.rows)
    parts = _split(examples, options.validation, split_key, groups)
    X, Y = (array[parts["training"]] for array in (examples.X, examples.Y))
    inputs, targets = fit_standardizer(X), _target_scales(Y, options.loss)
    scaled = {
        name: (standardize(inputs, examples.X[rows]), standardize(targets, examples.Y[rows]))
        for name, rows in parts.items()
    }
    sizes = (X.shape[1], *options.hidden, Y.shape[1])
    task = Task(options, examples, parts, inputs, targets, scaled, sizes, start_key, fit_key)
    _describe(task, table)
    return task


def scores(model: TableModel, mean: np.ndarray, Y: np.ndarray) -> dict[str, str]:
    """The scores of some rows by their names: the metric of the loss.

    Where outputs have the units of the target, the root mean square error comes first.

    Args:
        model: the network that predicts them.
        mean: the means that it predicts, shape (n, m_r).
        Y: their targets, in their own units.
    """
    loss, mean = get_loss(model.loss), mean.astype(np.float64)
    if not model.target.is_number:
        # One column more, for a class that the network does not know and so misses.
        mean, Y = (np.column_stack([rows, 1 - rows.sum(axis=1)]) for rows in (mean, Y))
    with jax.enable_x64(True):
        value = loss.metric(*map(jnp.asarray, (mean, Y, np.ones(len(Y)))))
    found = {METRIC_NAMES[loss.metric]: f"{value:.3f}"}
    if not loss.is_scalable:
        return found
    missed = np.abs(mean - Y)
    largest = missed.max() or 1.0  # or the squares might overflow
    rmse = largest * np.sqrt(np.mean((missed / largest) ** 2))
    return {"RMSE": f"{rmse:,.0f}" if 1000 <= rmse < 1e9 else f"{rmse:.4g}", **found}


def _split(
    examples: Examples, validation: float, key: jax.Array, groups: np.ndarray | None
) -> dict[str, np.ndarray]:
    """The rows of each part, drawn at random."""
    n = len(examples.X)
    everything = np.arange(n)
    if validation == 0:
        return {"training": everything}
    if not 0 < round(validation * n) < n:
        raise ValueError(
            f"--validation must be 0 or a share that leaves at least one of {n} rows on each side, "
            f"got {validation:g}"
        )
    held = hold_out(
        np.ones(n),
        validation,
        host_random(key).permutation,
        classes=classes_of(examples.Y),
        equal=np.unique(examples.X, axis=0, return_inverse=True)[1].ravel(),
        groups=groups,
    )
    return {"training": everything[~held], "validation": everything[held]}


def _groups(table: Table, name: str | None, rows: np.ndarray) -> np.ndarray | None:
    """A number for the group of each of these rows."""
    if name is None:
        return None
    labels = as_text(column_of(table, name)).to_numpy(zero_copy_only=False)[rows]
    names, numbers = np.unique(labels.astype(str), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"column {name!r} must have two groups or more, got {names[0]!r} alone")
    return numbers


def _target_scales(Y: np.ndarray, loss: str) -> Standardizer:
    """Numbers are standardised for the squared error; counts and classes stay as they are."""
    return fit_standardizer(Y) if get_loss(loss).is_scalable else unscaled(Y.shape[1])


def _describe(task: Task, table: Table) -> None:
    """Print which rows of the file's and which columns the network is trained on."""
    examples, sizes = task.examples, task.sizes
    used = ", ".join(f"{len(part):,} for {name}" for name, part in task.parts.items())
    left_out = table.rows - len(examples.X)
    shown = f"{task.options.data}: {table.rows:,} rows, {used}"
    print(shown + (f", {left_out:,} left out" if left_out else ""))
    if table.told:
        print(f"Read with {', '.join(table.told)}.")
    fields = {field.name or "(no name)": field for field in (*examples.features, examples.target)}
    width = min(24, max(map(len, fields)))
    for name, field in fields.items():
        role = "target, " if field is examples.target else ""
        print(f"  {name:<{width}}  {role}{_in_words(field, examples.missing.get(field.name, ''))}")
    print(f"Network {'-'.join(map(str, sizes))}, {count_params(sizes):,} parameters", flush=True)


def _in_words(field: Field, missing: str) -> str:
    """What a column is, in a line."""
    if field.kind == "ignored":
        return f"left out: {field.note}" if field.note else "left out"
    count = len([value for value in field.values if value])
    kinds = {
        "number": "number",
        "date": "date, in days since 1970-01-01",
        "category": f"{count:,} categories",
        "label": f"{count:,} classes",
    }
    return ", ".join(filter(None, (kinds[field.kind], missing, field.note)))


@contextmanager
def progress_bar(total: float, text: str) -> Iterator[Callable[[float, str], None] | None]:
    """A progress bar, on a terminal and where rich is installed; otherwise None.

    Args:
        total: what is done at the end.
        text: before the bar; it may name `task.completed` and `task.total`.

    Yields:
        A function of what is done and of the text after the bar.
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
        yield lambda done, after: bar.update(task, completed=done, description=after)

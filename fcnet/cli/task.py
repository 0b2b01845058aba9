"""What `fcnet train` and `fcnet sweep` share: a task made ready to train on, and its results."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from itertools import groupby
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fcnet.checks import as_jax
from fcnet.cli.options import TaskOptions
from fcnet.data.cells import release
from fcnet.data.learn import learn_schema
from fcnet.data.linear import linear_model
from fcnet.data.model import TableModel, save_model, scaled_means, with_scales
from fcnet.data.parts import Parts, split
from fcnet.data.preprocess import unstandardize
from fcnet.data.read import open_table
from fcnet.data.schema import Field, read_schema, write_schema
from fcnet.data.streams import stream
from fcnet.extras import extra
from fcnet.files import write_figure, write_file
from fcnet.keys import key_of, split_keys
from fcnet.losses import get_loss
from fcnet.metrics import METRIC_NAMES
from fcnet.network import count_params
from fcnet.text import escaped
from fcnet.train.penalty import penalised
from fcnet.types import Params

MOST_BYTES = 2**31
"""A table with more bytes of inputs and targets, in float32, is not kept in memory."""


class Task(NamedTuple):
    """The examples of a file, split and brought to one scale.

    `sizes` are those of the network. The keys are for the first parameters and for the batches.
    """

    options: TaskOptions
    examples: Parts
    sizes: tuple[int, ...]
    start_key: jax.Array
    fit_key: jax.Array

    def training(self, learning_rate: float) -> dict[str, Any]:
        """The arguments that `fcnet.fit` and `fcnet.sweep` share; the penalty is in the optimiser.

        A sweep has other learning rates beside this one.
        """
        options, parts = self.options, self.examples
        size = min(options.batch_size, parts.rows)
        X: Any = parts.training.X
        Y: Any = parts.training.Y
        if parts.batches is not None:
            X, Y = parts.batches(size, self.fit_key), None
        l2 = options.l2(parts.rows) if callable(options.l2) else options.l2
        optimizer, hyperparameters = penalised(options.optimizer, learning_rate, l2)
        return {
            "X": X,
            "Y": Y,
            "batch_size": size,
            "steps": options.steps,
            "optimizer": optimizer,
            "hyperparameters": hyperparameters,
            "activation": options.activation,
            "loss": options.loss,
            "validation": self.examples.validation,
            "evaluate_every": options.evaluate_every,
        }

    def save(self, params: Params) -> TableModel:
        """Write a network to the folder `out`, with all that it takes to predict, and return it."""
        options, schema = self.options, self.examples.schema
        model = TableModel(
            params,
            with_scales(schema.used, self.examples.inputs),
            with_scales((schema.target,), self.examples.targets)[0],
            options.activation,
            options.loss,
        )
        options.out.mkdir(parents=True, exist_ok=True)
        save_model(options.out / "model.safetensors", model)
        text = write_schema((*schema.features, schema.target))
        write_file(options.out / "schema.json", text.encode())
        return model

    def save_figure(self, name: str, draw: Callable[[Any], Any]) -> None:
        """Write a figure to the folder `out`."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 4), layout="constrained")
        draw(figure.add_subplot())
        write_figure(self.options.out / name, figure)

    def print_scores(self, model: TableModel) -> None:
        """A table of the scores of each part, and of the linear model of the same columns."""
        parts = {"training": self.examples.training}
        if self.examples.validation is not None:
            parts["validation"] = self.examples.validation
        last = [*parts][-1]
        line = model._replace(params=linear_model(*self.examples.training, model.loss))
        release()
        rated = {name: (model, part) for name, part in parts.items()}
        rated[f"linear model, {last}"] = (line, parts[last])
        found = {
            name: scores(
                one, scaled_means(one, X), unstandardize(self.examples.targets, np.asarray(Y))
            )
            for name, (one, (X, Y)) in rated.items()
        }
        width = max(map(len, found))
        print(f"  {'':<{width}}" + "".join(f"{score:>12}" for score in found["training"]))
        for name, row in found.items():
            print(f"  {name:<{width}}" + "".join(f"{cell:>12}" for cell in row.values()))
        # As they are printed: scores that look equal count as equal.
        *_, network, linear = (float([*row.values()][-1]) for row in found.values())
        if not network > linear:
            print(f"On the {last} rows, the network is no better than the linear model.")


def make_task(options: TaskOptions, *, streams: bool = False) -> Task:
    """Read a file, draw the rows to hold out, scale, and print what there is to train on.

    Args:
        options: those of the command.
        streams: whether a table that is too large for memory may be trained on as it is read.

    Raises:
        ValueError: for columns or options that do not fit.
        ModuleNotFoundError: without the extra `cli`, which the results need.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # others keep what was freed
    with extra("cli"):
        import matplotlib  # noqa: F401
        import pyarrow  # noqa: F401
        import safetensors  # noqa: F401
    if options.groups == options.target.strip():
        raise ValueError(f"--groups and --target are one column, {options.groups!r}")
    split_key, start_key, fit_key = split_keys(key_of(options.seed), 3)
    file = open_table(
        options.data,
        separator=options.separator,
        decimal=options.decimal,
        encoding=options.encoding,
    )
    ungrouped = {options.groups: {"kind": "ignored"}} if options.groups else {}
    schema = learn_schema(
        file,
        options.target.strip(),
        features=options.features,
        categories=options.categories,
        given={**ungrouped, **(read_schema(options.schema) if options.schema else {})},
        missing=options.missing,
        loss=options.loss,
    )
    size = 4 * schema.rows * (len(schema.scales.mean) + len(schema.target_scales.mean))
    if size <= MOST_BYTES:
        parts = split(
            file, schema, validation=options.validation, key=split_key, groups=options.groups
        )
    elif streams and options.groups is None:
        parts = stream(file, schema, validation=options.validation, key=split_key)
    else:
        raise ValueError(
            f"{options.data} has {size / 2**30:,.1f} GiB of inputs and targets, too much for "
            "memory: train on fewer rows or columns, or train one network without groups, which "
            "reads the file again and again"
        )
    sizes = (parts.training.X.shape[1], *options.hidden, parts.training.Y.shape[1])
    task = Task(options, parts, sizes, start_key, fit_key)
    _describe(task, file.told)
    return task


def scores(model: TableModel, mean: np.ndarray, Y: np.ndarray) -> dict[str, str]:
    """The scores of some rows by their names: the metric of the loss.

    Where outputs have the units of the target, the root mean square error comes first.

    Args:
        model: the network that predicts them.
        mean: the means that it predicts, shape (n, m_r).
        Y: their targets, in their own units.
    """
    loss = get_loss(model.loss)
    if not model.target.is_number:
        # One column more, for a class that the network does not know and so misses.
        mean, Y = (np.column_stack([rows, 1 - rows.sum(axis=1)]) for rows in (mean, Y))

    with jax.enable_x64(True):
        value = float(_measured(loss.metric, as_jax(mean), as_jax(Y)))
    found = {METRIC_NAMES[loss.metric]: f"{value:.3f}"}
    if not loss.is_scalable:
        return found
    rmse = _rmse(mean, Y)
    return {"RMSE": f"{rmse:,.0f}" if 1000 <= rmse < 1e9 else f"{rmse:.4g}", **found}


@partial(jax.jit, static_argnames="metric")
def _measured(metric: Callable[..., jax.Array], mean: jax.Array, Y: jax.Array) -> jax.Array:
    return metric(mean, Y, jnp.ones(len(Y)))


def _rmse(mean: np.ndarray, Y: np.ndarray) -> float:
    """The root mean square error."""
    missed = abs(mean - Y)
    largest = max(missed.max(), np.finfo(missed.dtype).tiny)  # or squares might overflow
    return float(largest * np.sqrt(np.mean((missed / largest) ** 2)))


ALIKE = 20
"""If more neighbouring columns are alike, they share one line."""


def _describe(task: Task, told: tuple[str, ...]) -> None:
    """Print which rows of the file's and which columns the network is trained on."""
    schema, sizes = task.examples.schema, task.sizes
    counts = {"training": task.examples.rows}
    if task.examples.validation is not None:
        counts["validation"] = len(task.examples.validation.X)
    used = ", ".join(f"{count:,} for {name}" for name, count in counts.items())
    left_out = schema.rows - sum(counts.values())
    shown = f"{task.options.data}: {schema.rows:,} rows, {used}"
    print(shown + (f", {left_out:,} left out" if left_out else ""))
    if task.examples.batches is not None:
        print(
            "Too large for memory: the file is read while the network is trained, and the scores "
            f"of\ntraining are those of {len(task.examples.training.X):,} rows."
        )
    if told:
        print(f"Read with {', '.join(told)}.")
    columns = [
        (escaped(f.name).replace("\n", r"\n") or "(no name)", f)
        for f in (*schema.features, schema.target)
    ]
    width = min(24, max(len(name) for name, _ in columns))

    def words(column: tuple[str, Field]) -> str:
        field = column[1]
        role = "target, " if field is schema.target else ""
        return role + _in_words(field, schema.missing.get(field.name, ""))

    for what, alike in groupby(columns, words):
        names = [name for name, _ in alike]
        if len(names) <= ALIKE:
            print("\n".join(f"  {name:<{width}}  {what}" for name in names))
        else:
            print(f"  {names[0]} to {names[-1]}, {len(names):,} columns: {what} each")
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
    return escaped(", ".join(filter(None, (kinds[field.kind], missing, field.note))))


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

"""What a command is, how options are read, and the options that `train` and `sweep` share."""

import math
import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

from fcnet.train.defaults import EVALUATE_EVERY, UNTIL_BEST

STATUSES = (
    "exit status: 0 done, 1 an error, in one line (--debug shows its traceback),\n"
    "2 wrong usage, 130 interrupted"
)


class Command(NamedTuple):
    """A command: the function that runs it, its help, examples, and its options.

    The options are what argparse's `add_argument` takes, by name; without their dashes, the names
    are the arguments of the function. It returns the exit status, or None for 0.
    """

    run: Callable[..., int | None]
    help: str
    examples: Sequence[str]
    options: Mapping[str, Mapping[str, Any]]
    statuses: str = STATUSES
    failure: int = 1
    """The exit status of an error."""


def words(text: str) -> tuple[str, ...]:
    """Names with commas in between; a name that has one is in quotes.

    >>> words('sqft, "price, $"')
    ('sqft', 'price, $')
    """
    found = re.findall(r'\s*(?:"([^"]*)"|([^,]*?))\s*(?:,|\Z)', text)
    return tuple(word for pair in found for word in pair if word)


def widths(text: str) -> tuple[int, ...]:
    """Positive whole numbers with commas in between; an empty text is none."""
    return tuple(map(count(1), words(text)))


def count(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    """What reads a whole number from `least` to `most`."""
    expected = f"a whole number from {least} to {most}"
    return _number(int, lambda number: least <= number <= most, expected)


def _number(
    read: Callable[[str], Any], fits: Callable[[Any], bool], expected: str
) -> Callable[[str], Any]:
    """What reads a number that fits; argparse puts the option's name before the error."""

    def number(text: str) -> Any:
        try:
            value = read(text)
        except ValueError:
            value = None
        if value is None or not fits(value):
            raise ArgumentTypeError(f"expected {expected}, got {text!r}")
        return value

    return number


positive = _number(float, lambda x: 0 < x < math.inf, "a positive number")
not_negative = _number(float, lambda x: 0 <= x < math.inf, "a number, 0 or more")
share = _number(float, lambda x: 0 <= x < 1, "a share, 0 or more and less than 1")
seed = count(0, 2**32 - 1)
spacing = _number(
    lambda text: text if text == "log" else int(text),
    lambda spacing: spacing == "log" or 0 < spacing < 2**31,
    "log, or a whole number from 1 to 2147483647",
)


def coefficient(text: str) -> float | Callable[[int], float]:
    """A number, 0 or more, or such a number over the number of examples: "0.1/n"."""
    number, slash, n = text.partition("/")
    try:
        c: float = not_negative(number)
    except ArgumentTypeError:
        c = -1.0
    if c < 0 or (slash and n.strip() != "n"):
        raise ArgumentTypeError(f"expected a number, 0 or more, or one such as 0.1/n, got {text!r}")
    return (lambda n: c / n) if slash else c


def several(number: Callable[[str], float]) -> Callable[[str], tuple[float, ...]]:
    """What reads one number or more, with commas in between."""

    def numbers(text: str) -> tuple[float, ...]:
        if not words(text):
            raise ArgumentTypeError(f"expected numbers with commas in between, got {text!r}")
        return tuple(map(number, words(text)))

    return numbers


def option(default: Any, help: str, **settings: Any) -> dict[str, Any]:
    """An option with a default, which its help shows."""
    kind = {} if default is None or isinstance(default, str) else {"type": type(default)}
    shown = "" if default in (None, ()) else " (default: %(default)s)"
    return {"default": default, "help": help + shown, **kind, **settings}


def folder(default: str, help: str) -> dict[str, Any]:
    """The option of a folder to write to."""
    return option(Path(default), help, type=Path, metavar="FOLDER")


def file(help: str) -> dict[str, Any]:
    """The option of a file to write, none by default."""
    return option(None, help, type=Path, metavar="FILE")


ACTIVATIONS = (
    *("relu", "sigmoid", "tanh", "identity"),
    *("leaky_relu", "softplus", "gelu", "silu", "elu"),
)
LOSSES = ("squared_error", "logistic", "softmax_cross_entropy", "poisson")
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "adagrad", "lion")
MISSING = ("error", "drop", "impute")
"""The names in the package's tables, which would load JAX; a test compares them."""

DATA = {"type": Path, "metavar": "DATA", "help": "a .csv, .tsv or .parquet file with a header"}
MODEL = {"type": Path, "metavar": "MODEL", "help": "a folder or file of fcnet train or sweep"}
FORMAT = {
    "--separator": option(
        None, "what is between two cells of a CSV file (default: it is recognised)", metavar="C"
    ),
    "--decimal": option(
        None, "the decimal sign of a CSV file (default: it is recognised)", choices=(".", ",")
    ),
    "--encoding": option(
        None, "of a CSV file that is neither in UTF-8 nor in UTF-16, such as latin-1",
        metavar="NAME",
    ),
}  # fmt: skip


class TaskOptions(NamedTuple):
    """A task: what a network learns, from which file, and how it is trained.

    The options of both `fcnet train` and `fcnet sweep`, which `task_options` describes.
    """

    data: Path
    target: str
    features: tuple[str, ...]
    categories: tuple[str, ...]
    schema: Path | None
    separator: str | None
    decimal: str | None
    encoding: str | None
    missing: str
    hidden: tuple[int, ...]
    activation: str
    loss: str
    optimizer: str
    l2: float | Callable[[int], float]
    batch_size: int
    steps: int
    validation: float
    groups: str | None
    evaluate_every: int | str
    seed: int
    out: Path


def task_options(steps: int, out: str) -> dict[str, Any]:
    """The options of `TaskOptions`, with the defaults in which commands differ."""
    return {
        "data": DATA,
        "--target": {"required": True, "metavar": "COLUMN", "help": "the column to predict"},
        "--features": option(
            (), "the columns to predict it from (default: all others); double quotes around a name "
            "that has a comma", type=words, metavar="A,B,...",
        ),
        "--categories": option(
            (), "columns of numbers that are names, such as zip codes (text always is)",
            type=words, metavar="A,B,...",
        ),
        "--schema": option(
            None, "a JSON file that says what columns are, as the schema.json of a run does",
            type=Path, metavar="FILE",
        ),
        **FORMAT,
        "--missing": option(
            "error", "what to do about missing entries: refuse them, drop their rows, or "
            "impute: the median for a number, a value of its own for a category",
            choices=MISSING,
        ),
        "--hidden": option(
            ",".join(map(str, UNTIL_BEST.hidden)), "the widths of the hidden layers", type=widths,
            metavar="M1,M2,...",
        ),
        "--activation": option("relu", "of the hidden layers", choices=ACTIVATIONS),
        "--loss": option(
            "squared_error", "squared_error for numbers, poisson for counts, logistic for 0 "
            "and 1, softmax_cross_entropy for classes", choices=LOSSES,
        ),
        "--optimizer": option("adam", "of optax", choices=OPTIMIZERS),
        "--l2": option(
            f"{UNTIL_BEST.l2:g}/n", "the penalty is this / 2 times the sum of the squared "
            "weights: a number, or one over the number of training rows, such as 1/n",
            type=coefficient, metavar="C",
        ),
        "--batch-size": option(UNTIL_BEST.batch_size, "examples in a step", type=count(1)),
        "--steps": option(steps, "number of steps", type=count(0)),
        "--validation": option(
            0.2, "the share of rows held out, to choose the best network by", type=share
        ),
        "--groups": option(
            None, "a column, such as of patients, whose equal rows are held out together or not "
            "at all; it is no feature", metavar="COLUMN",
        ),
        "--evaluate-every": option(
            EVALUATE_EVERY, "steps between two evaluations; log makes eight while the number of "
            "steps doubles, so that they come closer at the start", type=spacing, metavar="N",
        ),
        "--seed": option(
            0, "for the split, the first parameters and the batches", type=seed
        ),
        "--out": folder(out, "where all results go"),
    }  # fmt: skip


def takes_task(run: Callable[..., int | None]) -> Callable[..., int | None]:
    """The command `run(task, ...)` as one that takes the fields of `TaskOptions` by keyword."""

    @wraps(run)
    def collected(**options: Any) -> int | None:
        task = TaskOptions(**{name: options.pop(name) for name in TaskOptions._fields})
        return run(task, **options)

    return collected

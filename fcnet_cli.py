"""The command line: `fcnet COMMAND`. Each command is a row of the table below.

It stands beside the package, not in it: whatever is in the package imports JAX, which takes longer
than all else that `fcnet --help`, a slip in an option or the completion of a word have to do.
What a command does is imported once it is to be done.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

STATUSES = (
    "exit status: 0 done, 1 an error, which is said in one line (--debug shows its traceback),\n"
    "2 wrong usage, 130 interrupted"
)


class Command(NamedTuple):
    """A command: its function, as "module:name", its help, examples, and its options.

    The options are what argparse's `add_argument` takes, by name; without their dashes, the names
    are the arguments of the function.
    """

    run: str
    help: str
    examples: Sequence[str] = ()
    options: Mapping[str, Mapping[str, Any]] = {}
    statuses: str = STATUSES
    failure: int = 1
    """The exit status of an error."""


def words(text: str) -> tuple[str, ...]:
    """Names with commas in between."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def widths(text: str) -> tuple[int, ...]:
    """Positive whole numbers with commas in between; nothing is none."""
    numbers = tuple(int(word) for word in words(text))
    if any(number < 1 for number in numbers):
        raise ValueError
    return numbers


def numbers(text: str) -> tuple[float, ...]:
    """Numbers with commas in between."""
    return tuple(float(word) for word in words(text))


def option(default: Any, help: str, **settings: Any) -> dict[str, Any]:
    """An option with a default, which its help names."""
    kind = {} if default is None or isinstance(default, str) else {"type": type(default)}
    shown = "" if default in (None, ()) else " (default: %(default)s)"
    return {"default": default, "help": help + shown, **kind, **settings}


DATA = {"type": Path, "metavar": "DATA", "help": "a .csv or .parquet file with a header"}

TASK: dict[str, Any] = {
    "data": DATA,
    "--target": {"required": True, "metavar": "COLUMN", "help": "the column to predict"},
    "--features": option(
        (), "the columns to predict it from (default: all others)", type=words,
        metavar="A,B,...",
    ),
    "--categories": option(
        (), "columns of numbers that are names, such as zip codes (text always is)",
        type=words, metavar="A,B,...",
    ),
    "--missing": option(
        "error", "what to do about missing entries: refuse them, drop their rows, or "
        "impute: the median for a number, a value of its own for a category",
        choices=("error", "drop", "impute"),
    ),
    "--hidden": option(
        "64,64", "the widths of the hidden layers", type=widths, metavar="M1,M2,..."
    ),
    "--activation": option("relu", "relu, tanh, sigmoid, gelu, silu, ..."),
    "--loss": option(
        "squared_error", "squared_error for numbers, poisson for counts, logistic for 0 "
        "and 1, softmax_cross_entropy for classes",
    ),
    "--optimizer": option("adam", "adam, sgd, adamw, rmsprop, adagrad or lion"),
}  # fmt: skip
"""What a network is to learn, from what, and how: the options of `train` and of `sweep`."""

COMMANDS = {
    "demo": Command(
        "fcnet.demo:main",
        "check Algorithm 5 and train on real house sales, with figures (needs the extra plot)",
        ("fcnet demo", "fcnet demo --out figures"),
        {
            "--out": option(
                Path("figures"), "where the figures go, as PNG", type=Path, metavar="FOLDER"
            )
        },
    ),
    "check": Command(
        "fcnet.commands.check:check",
        "check a backward pass in a file, and name the line of Algorithm 5 that is wrong",
        (
            "fcnet check mine.py:backprop --sizes 4,3,1",
            "fcnet check mine.py:backprop --sizes 784,64,10 --activation tanh "
            "--loss softmax_cross_entropy --batched --layout dict --weights in_out",
            "fcnet check mine.py:backprop --sizes 4,3,1 --html report.html --json report.json",
        ),
        {
            "candidate": {
                "metavar": "FILE.py:FUNCTION",
                "help": "the candidate, a function of (params, x, y) that returns the gradient, "
                "alone or with the loss",
            },
            "--sizes": {
                "required": True, "type": widths, "metavar": "D,M1,...,MR",
                "help": "the width of the input and of each layer",
            },
            "--activation": option("relu", "of the hidden layers: relu, tanh, sigmoid, ..."),
            "--output-activation": option("identity", "of the last layer"),
            "--loss": option(
                "squared_error", "squared_error, logistic, softmax_cross_entropy or poisson"
            ),
            "--batched": {
                "action": "store_true", "help": "it takes several examples, as rows, at once"
            },
            "--reduction": option("mean", "of the examples' losses", choices=("mean", "sum")),
            "--layout": option(
                "pairs", "its params: [(W1, b1), ...], [W1, b1, ...] or {'W1': ..., 'b1': ...}",
                choices=("pairs", "flat", "dict"),
            ),
            "--weights": option(
                "out_in", "the shape of a W: (out, in) for z = W a + b, (in, out) for z = a W + b",
                choices=("out_in", "in_out"),
            ),
            "--library": option(
                "numpy", "the arrays it is given", choices=("numpy", "jax", "torch")
            ),
            "--dtype": option(
                "float64", "of these arrays",
                choices=("float64", "float32", "bfloat16", "float16"),
            ),
            "--seed": option(0, "for the network and its inputs"),
            "--html": option(None, "write the report as a page", type=Path, metavar="FILE"),
            "--json": option(None, "write the report as JSON", type=Path, metavar="FILE"),
        },
        "exit status: 0 right, 1 wrong, 3 cannot tell, 2 an error, 130 interrupted",
        failure=2,
    ),
    "notes": Command(
        "fcnet.commands.notes:notes",
        "list every equation, algorithm and figure of the notes with its functions",
        ("fcnet notes", "fcnet notes --markdown > notes.md"),
        {"--markdown": {"action": "store_true", "help": "as tables in Markdown"}},
    ),
    "train": Command(
        "fcnet.commands.train:train",
        "train a network on the rows of a file (needs the extra cli)",
        (
            "fcnet train houses.csv --target price",
            "fcnet train houses.csv --target price --features sqft,beds,zip --categories zip",
            "fcnet train houses.csv --target city --loss softmax_cross_entropy --out runs/city",
            "fcnet train houses.csv --target price --steps 20000 --resume",
        ),
        {
            **TASK,
            "--learning-rate": option(1e-3, "the size of a step"),
            "--batch-size": option(32, "examples in a step"),
            "--steps": option(10_000, "how many steps"),
            "--validation": option(0.2, "the share of rows held out to validate by"),
            "--evaluate-every": option(200, "steps between two evaluations and checkpoints"),
            "--patience": option(
                10, "stop once the validation loss has not improved for so many evaluations, and "
                "keep the best network; 0 takes all steps and keeps the last", metavar="N",
            ),
            "--seed": option(0, "for the split, the first parameters and the batches"),
            "--out": option(Path("runs/model"), "where all goes", type=Path, metavar="FOLDER"),
            "--resume": {
                "action": "store_true",
                "help": "go on from the last checkpoint in that folder, if there is one",
            },
        },
    ),
    "sweep": Command(
        "fcnet.commands.sweep:sweep_file",
        "train networks of many seeds and settings at once on the rows of a file (needs the extra "
        "cli)",
        (
            "fcnet sweep houses.csv --target price",
            "fcnet sweep houses.csv --target price --learning-rates 1e-4,1e-3,1e-2 --seeds 32",
            "fcnet sweep houses.csv --target price --optimizer adamw --weight-decays 1e-4,1e-2",
            "fcnet predict runs/sweep houses.csv",
        ),
        {
            **TASK,
            "--learning-rates": option(
                "3e-4,1e-3,3e-3,1e-2", "the sizes of a step to try", type=numbers,
                metavar="A,B,...",
            ),
            "--weight-decays": option(
                (), "the weight decays to try, of adamw or lion", type=numbers,
                metavar="A,B,...",
            ),
            "--seeds": option(8, "networks for each setting"),
            "--batch-size": option(32, "examples in a step"),
            "--steps": option(5000, "how many steps"),
            "--validation": option(0.2, "the share of rows held out to choose the best by"),
            "--evaluate-every": option(200, "steps between two evaluations"),
            "--seed": option(0, "for the split, the first parameters and the batches"),
            "--out": option(Path("runs/sweep"), "where all goes", type=Path, metavar="FOLDER"),
        },
    ),
    "predict": Command(
        "fcnet.commands.predict:predict_file",
        "predict with a network of fcnet train or sweep, for every row of a file (needs the extra "
        "cli)",
        (
            "fcnet predict runs/model houses.csv",
            "fcnet predict runs/model/model.safetensors houses.csv --out prices.csv",
        ),
        {
            "model": {
                "type": Path, "metavar": "MODEL",
                "help": "a folder or file of fcnet train or sweep",
            },
            "data": DATA,
            "--out": option(None, "write the CSV there", type=Path, metavar="FILE"),
        },
    ),
    "completion": Command(
        "fcnet_cli:completion",
        "print a script that completes commands and options in bash and zsh",
        ('eval "$(fcnet completion)"  # in ~/.bashrc; in ~/.zshrc after: autoload -U bashcompinit '
         "&& bashcompinit",),
    ),
}  # fmt: skip
"""The commands by name."""


def completion() -> None:
    """Print a completion script: commands first, then a command's options, and files."""
    cases = "\n".join(
        f"    {name}) words='{' '.join(o for o in options_of(name) if o.startswith('-'))}' ;;"
        for name in COMMANDS
    )
    print(
        "_fcnet() {\n"
        "  local words word=${COMP_WORDS[COMP_CWORD]}\n"
        "  case ${COMP_CWORD}:${COMP_WORDS[1]} in\n"
        "    1:*) COMPREPLY=($(compgen -W '" + " ".join(COMMANDS) + '\' -- "$word")); return ;;\n'
        "  esac\n"
        "  case ${COMP_WORDS[1]} in\n"
        f"{cases}\n"
        "  esac\n"
        '  COMPREPLY=($(compgen -W "$words" -- "$word") $(compgen -f -- "$word"))\n'
        "}\n"
        "complete -o filenames -F _fcnet fcnet"
    )


def options_of(name: str) -> list[str]:
    """The words that a command takes, those of every command included."""
    return [*COMMANDS[name].options, "--debug", "--help"]


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line, made from `COMMANDS`."""
    formatter = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog="fcnet",
        description="Fully-connected networks after the CS229 deep-learning notes, in JAX.",
        epilog=f"fcnet COMMAND --help shows a command's options, with examples.\n\n{STATUSES}",
        formatter_class=formatter,
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {version('fcnet')}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        examples = "\n".join(["examples:", *(f"  {example}" for example in command.examples)])
        sub = commands.add_parser(
            name,
            help=command.help,
            description=command.help,
            epilog=f"{examples}\n\n{command.statuses}",
            formatter_class=formatter,
        )
        for words_, settings in command.options.items():
            sub.add_argument(words_, **settings)
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        sub.set_defaults(run=command.run, failure=command.failure)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status.

    Args:
        arguments: the words after `fcnet`, by default those of the process.

    Raises:
        SystemExit: for bad usage, with status 2, and after --help or --version, with 0.
        Exception: whatever the command raised, with --debug.
    """
    options = vars(parser().parse_args(arguments))
    run, failure, debug = (options.pop(name) for name in ("run", "failure", "debug"))
    try:
        status = resolve_name(run)(**options)
        sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        if str(interrupt):
            print(f"fcnet: {interrupt}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; nor may Python flush to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return failure
    except Exception as error:
        if debug:
            raise
        print(f"fcnet: {type(error).__name__}: {error}", file=sys.stderr)
        return failure
    return status or 0

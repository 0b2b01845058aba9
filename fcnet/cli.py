"""The command line: `fcnet COMMAND`. Each command is a function and a row of the table below.

What a command needs is imported inside its function, so that `fcnet --help` loads no optional
library. Exit statuses: 0 done, 1 an error, 2 bad usage, 130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import fcnet


class Command(NamedTuple):
    """A command: what it does, its help, and its options as argparse's `add_argument` has them."""

    run: Callable[..., None]
    help: str
    options: Mapping[str, Mapping[str, Any]] = {}


def demo(out: Path) -> None:
    """`fcnet demo`: see `fcnet.demo`."""
    from fcnet.demo import main

    main(out)


def notes(markdown: bool) -> None:
    """`fcnet notes`: see `fcnet.notes.index`."""
    from fcnet.notes import index

    print(index.markdown() if markdown else index.table())


COMMANDS = {
    "demo": Command(
        demo,
        "check Algorithm 5 and train on real house sales, with figures (needs the extra plot)",
        {
            "--out": {
                "type": Path,
                "default": Path("figures"),
                "metavar": "FOLDER",
                "help": "where the figures go, as PNG (default: %(default)s)",
            }
        },
    ),
    "notes": Command(
        notes,
        "list every equation, algorithm and figure of the notes with its functions and tests",
        {"--markdown": {"action": "store_true", "help": "as a table for a README"}},
    ),
}
"""The commands by name. The names of a command's options are the arguments of its function."""


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line, made from `COMMANDS`."""
    top = argparse.ArgumentParser(prog="fcnet", description=fcnet.__doc__)
    top.add_argument("--version", action="version", version=f"%(prog)s {fcnet.__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.help, description=command.help)
        for option, settings in command.options.items():
            sub.add_argument(option, **settings)
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        sub.set_defaults(run=command.run)
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
    run, debug = options.pop("run"), options.pop("debug")
    try:
        run(**options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; nor may Python flush to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            raise
        print(f"fcnet: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0

"""The command line: `fcnet COMMAND`.

Each command has a file: its `COMMAND` says which options it takes, its function does the work. This
package loads no JAX until a command runs, so that `fcnet --help`, a misspelt option and the
completion of a word are quick: what a function needs is imported inside it.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import takewhile
from typing import Any, NoReturn

import fcnet
from fcnet.cli import check, completion, demo, export, notes, predict, sweep, train, walk
from fcnet.cli.cache import VARIABLES, collect_seldom, keep_compiled, leave_cores_to_xla
from fcnet.cli.options import STATUSES
from fcnet.text import escaped


class _Version(argparse.Action):
    """Prints the version, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        print(f"fcnet {fcnet.__version__}")
        parser.exit()


OPTION = re.compile(r"(--?[A-Za-z][^\s=]*)(=.*)?", re.DOTALL)
"""A word that argparse takes for an option, whether it is one or not; a negative number is none."""


class _Parser(argparse.ArgumentParser):
    """A parser of whole option names, so that a new option changes no older command line."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = sys.argv[1:] if args is None else [*args]
        self.check_options(takewhile(OPTION.fullmatch, words))  # others are those of a command
        return super().parse_known_args(words, namespace)

    def check_options(self, words: Iterable[str]) -> None:
        """Exit with an error for the first option that is none of the parser's.

        argparse would name a misspelt option last, after an argument that is missing without it.
        """
        known = self._option_string_actions
        for name in (found[1] for word in words if (found := OPTION.fullmatch(word))):
            if name not in known:
                near = get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"{self.prog} --help shows all"
                self.error(f"there is no option {name}: {hint}")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Exit, after --help or --version only once what they print is written."""
        if not status:
            _flush()
        super().exit(status, message)


class _CommandParser(_Parser):
    """The parser of one command: a word that it does not know is its error, with its usage."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.check_options(takewhile("--".__ne__, args))
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return options, unknown


def parser(complete: Mapping[str, Any] = {}) -> argparse.ArgumentParser:
    """The parser of the whole command line, made from `COMMANDS`.

    Args:
        complete: shtab's completer for the arguments of a metavar.
    """
    formatter = argparse.RawDescriptionHelpFormatter
    top = _Parser(
        prog="fcnet",
        description="Fully-connected networks after the CS229 deep-learning notes, in JAX.",
        epilog="fcnet COMMAND --help shows a command's options, with examples.\n\n"
        f"{STATUSES}\n\n{VARIABLES}",
        formatter_class=formatter,
    )
    top.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        default=argparse.SUPPRESS,
        help="show the version and exit",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True, parser_class=_CommandParser)
    for name, command in COMMANDS.items():
        examples = "\n".join(["examples:", *(f"  {example}" for example in command.examples)])
        sub = commands.add_parser(
            name,
            help=command.help,
            description=command.help,
            epilog=f"{examples}\n\n{command.statuses}",
            formatter_class=formatter,
        )
        for option, settings in command.options.items():
            argument = sub.add_argument(option, **settings)
            if completer := complete.get(settings.get("metavar", "")):
                argument.complete = completer  # type: ignore[attr-defined]
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        sub.set_defaults(command=command)
    return top


COMMANDS = {
    "demo": demo.COMMAND,
    "check": check.COMMAND,
    "notes": notes.COMMAND,
    "train": train.COMMAND,
    "sweep": sweep.COMMAND,
    "predict": predict.COMMAND,
    "export": export.COMMAND,
    "walk": walk.COMMAND,
    "completion": completion.command(parser),
}
"""The commands by name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status.

    Args:
        arguments: the words after `fcnet`, by default those of the process.

    Raises:
        SystemExit: for wrong usage, with status 2, and after --help or --version, with 0.
        Exception: whatever the command raised, with --debug.
    """
    debug, failure = False, 1
    try:
        options = vars(parser().parse_args(arguments))
        command, debug = options.pop("command"), options.pop("debug")
        failure = command.failure
        keep_compiled()
        leave_cores_to_xla()
        collect_seldom()
        _flush()
        status = command.run(**options)
        _flush()
    except KeyboardInterrupt as interrupt:
        if str(interrupt):
            print(escaped(f"fcnet: {interrupt}"), file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        _discard_output()
        return failure
    except Exception as error:
        if debug:
            raise
        print(escaped(f"fcnet: {type(error).__name__}: {error}"), file=sys.stderr)
        _discard_output()
        return failure
    return status or 0


def _flush() -> None:
    """Write what was printed.

    Raises:
        OSError: where that is impossible, such as to a full disk or a closed standard output.
    """
    if sys.stdout is None:
        raise OSError("standard output is closed: to discard the output, send it to /dev/null")
    sys.stdout.flush()


def _discard_output() -> None:
    """Discard what cannot be written, for Python would try again at exit."""
    try:
        _flush()
    except OSError:
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

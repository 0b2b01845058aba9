"""`fcnet completion`: a script that completes commands, options and files in a shell, by shtab."""

from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from fcnet.cli.options import Command
from fcnet.extras import extra

MakeParser = Callable[[Mapping[str, Any]], ArgumentParser]
"""Makes a parser whose arguments have shtab's completers by their metavars."""


def completion(make_parser: MakeParser, shell: str) -> None:
    """Print the completion script for a shell.

    Raises:
        ModuleNotFoundError: without the extra `cli`.
    """
    with extra("cli"):
        import shtab

    files = dict.fromkeys(("DATA", "FILE", "FILE.py:FUNCTION", "MODEL"), shtab.FILE)
    print(shtab.complete(make_parser({**files, "FOLDER": shtab.DIRECTORY}), shell))


def command(make_parser: MakeParser) -> Command:
    """The command, for the command line of this parser."""
    return Command(
        partial(completion, make_parser),
        "print a script that completes commands, options and files (needs the extra cli)",
        (
            'eval "$(fcnet completion bash)"  # in ~/.bashrc',
            "fcnet completion zsh > ~/.zfunc/_fcnet  # a folder of zsh's fpath",
            "fcnet completion tcsh > ~/.fcnet.csh  # to be sourced in ~/.tcshrc",
        ),
        {
            "shell": {
                "choices": ("bash", "zsh", "tcsh"),
                "metavar": "SHELL",
                "help": "bash, zsh or tcsh",
            }
        },
    )

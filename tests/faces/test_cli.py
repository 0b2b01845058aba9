"""The command line: its table, its exit statuses, what `--help` does not load, completion."""

import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fcnet
from fcnet.cli import COMMANDS, main, options, parser
from fcnet.cli.options import Command, TaskOptions
from fcnet.data.schema import MISSING_CHOICES
from fcnet.train.optimizer import OPTIMIZERS

pytestmark = pytest.mark.untyped

HEAVY = {"jax", "jaxlib", "numpy", "optax", "matplotlib", "rich", "pandas", "sklearn", "torch"}


def fits(command: Command) -> bool:
    """Whether the command's options are just the arguments of its function."""
    options = {option.strip("-").replace("-", "_") for option in command.options}
    arguments = set(inspect.signature(command.run).parameters)
    if "task" in arguments:
        arguments = arguments - {"task"} | set(TaskOptions._fields)
    return options == arguments


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_the_arguments_of_their_function(name: str) -> None:
    assert fits(COMMANDS[name])
    assert not fits(COMMANDS[name]._replace(run=shlex.quote))
    assert not fits(COMMANDS[name]._replace(options={"--out": {}, "--steps": {}}))


def test_choices_are_the_names_in_the_tables() -> None:
    assert tuple(fcnet.ACTIVATIONS) == options.ACTIVATIONS
    assert tuple(fcnet.LOSSES) == options.LOSSES
    assert tuple(OPTIMIZERS) == options.OPTIMIZERS
    assert options.MISSING == MISSING_CHOICES


def test_train_and_sweep_share_the_options_of_a_task() -> None:
    for name in ("train", "sweep"):
        assert "task" in inspect.signature(COMMANDS[name].run).parameters


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
    shown = example.removeprefix('eval "$(').split(")")[0] if "eval" in example else example
    program, *given = shlex.split(shown.split(" > ")[0])
    assert program == "fcnet"
    assert parser().parse_args(given).command in COMMANDS.values()


@pytest.mark.parametrize(
    ("given", "usage", "error"),
    [
        ([], "usage: fcnet [-h]", "fcnet: error: the following arguments are required: COMMAND"),
        (["no-such-command"], "usage: fcnet [-h]", "invalid choice: 'no-such-command'"),
        (
            ["--verzion"],
            "usage: fcnet [-h]",
            "there is no option --verzion: did you mean --version",
        ),
        (["--debgu", "notes"], "usage: fcnet [-h]", "there is no option --debgu: fcnet --help sho"),
        (["demo", "--no-such"], "usage: fcnet demo", "fcnet demo --help shows all"),
        (["notes", "more"], "usage: fcnet notes", "unrecognized arguments: more"),
        (
            ["train", "houses.csv", "--target", "price", "--stepz", "5"],
            "usage: fcnet train",
            "fcnet train: error: there is no option --stepz: did you mean --steps?",
        ),
        (
            ["train", "no-such.csv", "--targte", "price"],
            "usage: fcnet train",
            "fcnet train: error: there is no option --targte: did you mean --target?",
        ),
        (["train", "a.csv", "--targte=price"], "usage: fcnet train", "did you mean --target?"),
        (["train", "a.csv", "-target", "y"], "usage: fcnet train", "did you mean --target?"),
        (["check", "a.py:f", "--losss", "huber"], "usage: fcnet check", "did you mean --loss?"),
        (["predict", "a", "b", "--outt", "c"], "usage: fcnet predict", "did you mean --out?"),
        (["train", "--steps", "5"], "usage: fcnet train", "required: DATA, --target"),
        (
            ["train", "a.csv", "--target", "y", "--l2", "-1e5"],
            "usage: fcnet train",
            "argument --l2: expected",
        ),
        (
            ["train", "houses.csv", "--target", "price", "--loss", "pain"],
            "usage: fcnet train",
            "fcnet train: error: argument --loss: invalid choice: 'pain'",
        ),
        (
            ["sweep", "a.csv", "--target", "b", "--optimizer", "adom"],
            "usage: fcnet sweep",
            "'adom'",
        ),
        (["check", "a.py:f", "--output-activation", "swoosh"], "usage: fcnet check", "'swoosh'"),
        (
            ["check", "mine.py:f", "--sizes", "0,1"],
            "usage: fcnet check",
            "argument --sizes: expected",
        ),
        (["completion", "cmd"], "usage: fcnet completion", "invalid choice: 'cmd'"),
        (["check", "mine.py:f", "--size", "4,1"], "usage: fcnet check", "did you mean --sizes?"),
        (
            ["sweep", "houses.csv", "--target", "price", "--learning-rate", "1e-3"],
            "usage: fcnet sweep",
            "there is no option --learning-rate: did you mean --learning-rates?",
        ),
        (["notes", "--mark"], "usage: fcnet notes", "there is no option --mark: "),
        (["--vers"], "usage: fcnet [-h]", "did you mean --version?"),
    ],
)
def test_wrong_usage_exits_with_2_and_shows_the_usage_of_its_command(
    given: list[str], usage: str, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(given)
    assert stop.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith(usage)
    assert error in shown


TASK = ["houses.csv", "--target", "price"]
WORDS = {
    "train": ["train", *TASK],
    "sweep": ["sweep", *TASK],
    "check": ["check", "mine.py:f", "--sizes", "4,1"],
    "walk": ["walk", "xor"],
}
HUGE = "9" * 20
BAD = {
    ("train", "--learning-rate"): ["-1", "0", "nan", "inf", "fast", ""],
    ("train", "--patience"): ["-1", "2.5", HUGE],
    ("sweep", "--learning-rates"): ["", "1e-3,-1", "0", "1e-3,x", "nan"],
    ("sweep", "--weight-decays"): ["", "-0.1", "0,inf"],
    ("sweep", "--seeds"): ["0", "-1", "1e3"],
    ("check", "--seed"): ["-1", HUGE, str(2**32), "x"],
    ("check", "--l2"): ["-1", "nan", "x/n", "1/m", "-1/n", ""],
    ("check", "--learning-rate"): ["-1", "0", "inf", "fast"],
    ("check", "--sizes"): ["4,0,1", "4,-1", f"4,{HUGE}", "4,x"],
    ("walk", "--seed"): ["-1", HUGE, str(2**32), "x"],
    ("walk", "--steps"): ["-1", "100001", "1e4"],
    ("walk", "--learning-rate"): ["-1", "0", "nan", "fast"],
    **{
        (command, option): values
        for command in ("train", "sweep")
        for option, values in {
            "--seed": ["-1", HUGE, str(2**32), "x"],
            "--steps": ["-1", str(2**31), "1e4"],
            "--batch-size": ["0", "-1", "many"],
            "--evaluate-every": ["0", "-1"],
            "--validation": ["1", "-0.1", "nan", "half"],
            "--hidden": ["64,0", "-1"],
        }.items()
    },
}


@pytest.mark.parametrize(("command", "option"), BAD)
def test_a_bad_number_is_wrong_usage_and_its_option_is_named(
    command: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No file is read for it: there is none."""
    for value in BAD[command, option]:
        with pytest.raises(SystemExit) as stop:
            main([*WORDS[command], f"{option}={value}"])
        assert stop.value.code == 2
        shown = capsys.readouterr().err
        assert shown.startswith(f"usage: fcnet {command}")
        assert f"fcnet {command}: error: argument {option}: expected " in shown
        assert shown.rpartition("got ")[2].strip("'\n") in value.split(",")


NUMBERS = {
    (name, option)
    for name, command in COMMANDS.items()
    for option, settings in command.options.items()
    if isinstance(settings.get("default"), int | float)
}


def test_every_option_of_a_number_is_checked() -> None:
    assert ("train", "--learning-rate") in NUMBERS <= set(BAD)


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        (["train", *TASK, "--patience", "0"], "patience", 0),
        (["train", *TASK, "--seed", str(2**32 - 1)], "seed", 2**32 - 1),
        (["train", *TASK, "--validation", "0"], "validation", 0.0),
        (["train", *TASK, "--hidden", ""], "hidden", ()),
        (["sweep", *TASK, "--learning-rates", "1e-3, 0.1"], "learning_rates", (1e-3, 0.1)),
        (["sweep", *TASK, "--weight-decays", "0,1"], "weight_decays", (0.0, 1.0)),
        (["sweep", *TASK], "weight_decays", ()),
    ],
)
def test_numbers_at_their_bounds_are_accepted(given: list[str], field: str, value: object) -> None:
    assert getattr(parser().parse_args(given), field) == value


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
    def interrupted() -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("fcnet.notes.index.table", interrupted)
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
        "import fcnet.notes.index\n"
        f"fcnet.notes.index.table = lambda: 'x' * {length}\n"
        "from fcnet.cli import main\n"
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


FULL = Path("/dev/full")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("given", "redirection", "status", "error"),
    [
        ("notes", f">{FULL}", 1, "No space left on device"),
        ("--version", f">{FULL}", 1, "No space left on device"),
        ("notes", ">&-", 1, "standard output is closed"),
        ("--version", ">&-", 1, "standard output is closed"),
        ("predict no-model no-data.csv", ">&-", 1, "standard output is closed"),
        ("check no-file.py:backprop --sizes 2,1", ">&-", 2, "standard output is closed"),
    ],
)
def test_output_that_cannot_be_written_is_an_error_in_one_line(
    given: str, redirection: str, status: int, error: str, unbuffered: str
) -> None:
    if str(FULL) in redirection and not FULL.exists():
        pytest.skip(f"needs {FULL}")
    run = subprocess.run(
        f"{shlex.quote(sys.executable)} -m fcnet {given} {redirection}",
        shell=True,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        text=True,
    )
    assert run.returncode == status
    assert run.stderr.startswith("fcnet: OSError: ")
    assert error in run.stderr
    assert run.stderr.count("\n") == 1


def test_help_on_a_full_disk_is_an_error() -> None:
    if not FULL.exists():
        pytest.skip(f"needs {FULL}")
    with FULL.open("w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "fcnet", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
            text=True,
        )
    assert run.returncode == 1
    assert run.stderr == "fcnet: OSError: [Errno 28] No space left on device\n"


def test_the_package_runs_as_a_module() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "fcnet", "--version"], capture_output=True, text=True, check=True
    )
    assert run.stdout == f"fcnet {fcnet.__version__}\n"


def loaded_by(code: str) -> set[str]:
    """The packages that a program loads, by the end or until it exits."""
    program = f"import sys\ntry: {code}\nexcept SystemExit: pass\nprint()\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}


@pytest.mark.parametrize(
    "given",
    [
        ["--help"],
        ["--version"],
        ["train", "--help"],
        ["train", "--stepz"],
        ["notes", "--markdwon"],
        ["completion", "bash"],
    ],
)
def test_help_wrong_usage_and_completion_load_no_jax(given: list[str]) -> None:
    loaded = loaded_by(f"from fcnet.cli import main; main({given})")
    assert "fcnet" in loaded
    assert not loaded & HEAVY


def test_what_a_command_loads_is_noticed() -> None:
    assert not loaded_by("import fcnet.cli") & HEAVY
    assert loaded_by("from fcnet.cli import main; main(['notes'])") >= {"jax", "numpy"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_completion_script_names_every_command_and_option(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = {word.lstrip("-") for word in re.findall(r"[\w-]+", capsys.readouterr().out)}
    options = [option for command in COMMANDS.values() for option in command.options]
    assert script >= {*COMMANDS, *(option[2:] for option in options if option.startswith("--"))}


def test_completion_without_its_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 1
    shown = capsys.readouterr()
    assert "pip install 'fcnet[cli]'" in shown.err
    assert not shown.out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["fcnet", "no"], ["notes"]),
        (["fcnet", "notes", "--m"], ["--markdown"]),
        (["fcnet", "train", "--hid"], ["--hidden"]),
        (["fcnet", "train", "--missing", "d"], ["drop"]),
        (["fcnet", "train", "--out", ""], ["folder"]),
        (["fcnet", "predict", ""], ["folder", "houses.csv"]),
        (["fcnet", "completion", "z"], ["zsh"]),
        (["fcnet", "train", "--unknown"], []),
    ],
)
def test_completion_offers_commands_options_choices_and_files(
    typed: list[str], offered: list[str], tmp_path: Path
) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    (tmp_path / "folder").mkdir()
    (tmp_path / "houses.csv").touch()
    script = (
        f'eval "$({sys.executable} -m fcnet completion bash)"\n'
        f"COMP_WORDS=({shlex.join(typed)}); COMP_CWORD={len(typed) - 1}\n"
        "name=$(complete -p fcnet); name=${name#*-F }; ${name%% *}\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    run = subprocess.run(
        [bash, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(fcnet.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(word.rstrip("/") for word in run.stdout.split()) == offered

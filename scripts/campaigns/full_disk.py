"""A disk that is full after a random number of bytes of a file.

The limit of the size of a file stands in for the disk: a write that would pass it fails, as it does
on a full disk. The error must say which file cannot be written. Each file of the folder must be as
it was before, or whole.
"""

import io
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache, partial
from pathlib import Path

import jax
import numpy as np
from support.stored_files import FILES, training

import fcnet
from campaigns.contents import contents
from campaigns.outcomes import Report, Result, judged
from fcnet import interchange
from fcnet.cli import main
from fcnet.data import load_model, save_model
from fcnet.train.checkpoint import CheckpointError

MODEL = FILES / "model.safetensors"
TABLE = Path(fcnet.__file__).with_name("sacramento.csv")
CANDIDATE = f"{Path(__file__).with_name('candidate.py')}:backward"
EARLIER = b"an earlier file"


def _network() -> fcnet.Params:
    return fcnet.init(jax.random.key(0), (4, 3, 2))


def _fit(folder: Path) -> None:
    all_kept = fcnet.Checkpoints(folder / "checkpoints", keep=1000)
    training(checkpoint=all_kept, resume=True, steps=60)


def _command(*words: str | Path) -> None:
    """A command of the command line; it raises its error."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        main([*map(str, words), "--debug"])


def _task(name: str, folder: Path) -> None:
    small = ("--features", "sqft,beds", "--hidden", "3", "--steps", "4", "--evaluate-every", "2")
    _command(name, TABLE, "--target", "price", *small, "--out", folder)


def _predict(folder: Path) -> None:
    table = FILES / "table.csv"
    _command("predict", MODEL, table, "--out", folder / "predictions.csv")


def _check(folder: Path) -> None:
    outputs = ("--html", folder / "report.html", "--json", folder / "report.json")
    _command("check", CANDIDATE, "--sizes", "3,2", *outputs)


WRITERS: dict[str, Callable[[Path], None]] = {
    "fit": _fit,
    "save": lambda folder: interchange.save(folder / "network.safetensors", _network()),
    "to_onnx": lambda folder: interchange.to_onnx(folder / "network.onnx", _network()),
    "save_model": lambda folder: save_model(folder / "model.safetensors", load_model(MODEL)),
    "to_csv": lambda folder: training(steps=60).history.to_csv(folder / "history.csv"),
    "train": partial(_task, "train"),
    "sweep": partial(_task, "sweep"),
    "predict": _predict,
    "check": _check,
    "export": lambda folder: _command("export", MODEL, "--onnx", folder / "model.onnx"),
}
STARTS_EMPTY = ("fit", "train", "sweep")
"""They refuse a folder that holds their files."""


@cache
def undisturbed(writer: str) -> tuple[dict[str, bytes], int]:
    """What is written where there is room, and the size of the largest file."""
    with tempfile.TemporaryDirectory() as name:
        WRITERS[writer](Path(name))
        sizes = [path.stat().st_size for path in Path(name).rglob("*") if path.is_file()]
        return contents(Path(name)), max(sizes)


@contextmanager
def limited(most: int) -> Iterator[None]:
    """No file can have more bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def run(seed: int, cases: range, report: Report) -> None:
    """Write to disks that fill, one writer after the other."""
    for case in cases:
        writer = list(WRITERS)[case % len(WRITERS)]
        rng = np.random.default_rng((seed, case))
        _, largest = undisturbed(writer)
        least = max(0, largest - 300) if rng.integers(2) else 0  # where checkpoints have grown
        with tempfile.TemporaryDirectory() as name:
            report(outcome(writer, Path(name), int(rng.integers(least, largest))))


def outcome(writer: str, folder: Path, most: int) -> Result:
    """What becomes of the files of a writer if none can have more than `most` bytes."""
    expected, _ = undisturbed(writer)
    if writer not in STARTS_EMPTY:
        for name in expected:
            (folder / name).write_bytes(EARLIER)
    before = contents(folder)

    def write() -> str | None:
        with limited(most):
            WRITERS[writer](folder)
        return "there was no error"  # for the largest file cannot have been written

    what = f"{writer}, {most} bytes"
    result = judged(write, what, names=str(folder), own=(OSError, CheckpointError))
    after = contents(folder)
    for name in {**before, **after}:
        if after.get(name) not in (before.get(name), expected.get(name)):
            return Result("lost", f"{what}: {name} is neither as before nor whole")
    if result.outcome == "refused" and writer == "fit":
        WRITERS[writer](folder)
        if contents(folder) != expected:
            return Result("lost", f"{what}: it did not go on as if there had been room")
    return result

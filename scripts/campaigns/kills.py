"""Runs that are killed again and again, and end with the same files as one that never was.

Processes are forked from one that has imported all they need, so that a run starts in no time. Half
the kills come at a random time, half at a random event, such as a half-written checkpoint.
"""

import itertools
import multiprocessing
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from support.killed_run import kill_at

import fcnet
from campaigns.contents import contents, difference
from campaigns.outcomes import Report, Result
from fcnet import interchange
from fcnet.cli import main
from fcnet.train.checkpoint import CheckpointError, read, saved

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])

KILLS = 10
"""Kills of one run, before it may come to its end."""

EVENTS = {"half written": 30, "before replace": 60, "after replace": 60, "before removal": 60}
"""The events at which a run is killed, and the most of them that it waits for."""

STEPS, EVERY = 1200, 10
TABLE = Path(fcnet.__file__).with_name("sacramento.csv")


def _examples() -> tuple[jax.Array, jax.Array]:
    X = jax.random.normal(jax.random.key(0), (50, 4))
    return X, jnp.abs(X[:, :1])


def _fit(folder: Path) -> None:
    _trained(folder, *_examples(), validation=0.2, patience=10**6, sampling="epoch")


def _stream(folder: Path) -> None:
    X, Y = map(np.asarray, _examples())
    batches = [(X[begin : begin + 7], Y[begin : begin + 7]) for begin in range(0, 50, 7)]
    _trained(folder, batches, None)


def _trained(folder: Path, X: object, Y: object, **choices: object) -> None:
    key = jax.random.key(0)
    trained = fcnet.fit(
        fcnet.init(key, (4, 5, 1)), X, Y, key=key, batch_size=8, steps=STEPS,
        hyperparameters={"learning_rate": 0.01}, evaluate_every=EVERY,
        checkpoint=folder / "checkpoints", resume=True, **choices,
    )  # fmt: skip
    interchange.save(folder / "network.safetensors", trained.params)


def _command(folder: Path, name: str, *options: str) -> None:
    small = ("--target", "price", "--features", "sqft,beds", "--hidden", "4", "--batch-size", "8")
    status = main([name, str(TABLE), *small, "--out", str(folder), *options])
    assert status == 0, status


def _train(folder: Path) -> None:
    many = ("--steps", str(STEPS), "--evaluate-every", str(EVERY), "--patience", "0")
    _command(folder, "train", *many, "--resume")


def _sweep(folder: Path) -> None:
    _command(folder, "sweep", "--steps", "200", "--evaluate-every", "50", "--seeds", "2")


RUNS: dict[str, Callable[[Path], None]] = {
    "fit": _fit,
    "stream": _stream,
    "train": _train,
    "sweep": _sweep,
}


ORDER = ("fit", "stream", "train", "fit", "stream", "sweep")
"""Which run is killed next."""


def _in_process(kind: str, folder: Path, event: str | None, count: int) -> None:
    if event is not None:
        kill_at(event, count)
    RUNS[kind](folder)


def _start(kind: str, folder: Path, event: str | None = None, count: int = 0) -> Any:
    """A process that runs in a folder, and kills itself at an event."""
    process = FORKS.Process(target=_in_process, args=(kind, folder, event, count))
    process.start()
    return process


def files(folder: Path) -> dict[str, bytes]:
    """What a run left, without the checkpoints before the last."""
    return contents(folder, list(saved(folder / "checkpoints").values())[:-1])


@cache
def undisturbed(kind: str) -> tuple[dict[str, bytes], float]:
    """The files of a run that nothing kills, and the seconds that it takes."""
    with tempfile.TemporaryDirectory() as name:
        for _ in range(2):  # first to compile
            shutil.rmtree(name)
            Path(name).mkdir()
            began = time.perf_counter()
            process = _start(kind, Path(name))
            process.join()
            assert process.exitcode == 0, f"{kind} ended with {process.exitcode}"
        return files(Path(name)), time.perf_counter() - began


def run(seed: int, cases: range, report: Report) -> None:
    """Kill runs; a case is a kill."""
    for begin in range(cases.start, cases.stop, KILLS):
        kills = min(KILLS, cases.stop - begin)
        kind = ORDER[begin // KILLS % len(ORDER)]
        for result in _story(kind, kills, np.random.default_rng((seed, begin))):
            report(result)


def _story(kind: str, kills: int, rng: np.random.Generator) -> list[Result]:
    """The results of a number of kills, each followed by a new start in what it left."""
    expected, seconds = undisturbed(kind)
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        while len(results) < kills:
            before = saved(folder / "checkpoints")
            event = str(rng.choice([*EVENTS])) if rng.integers(2) else None
            process = _start(kind, folder, event, 1 + int(rng.integers(EVENTS.get(event, 1))))
            process.join(rng.uniform(0, seconds) if event is None else None)
            process.kill()
            process.join()
            ended = process.exitcode == 0
            moment = f"{kind}, kill {len(results)}, {event or 'at a random time'}"
            if not ended and process.exitcode != -signal.SIGKILL:
                results.append(Result("foreign", f"{moment}: exit status {process.exitcode}"))
            elif fault := _fault(folder, before, expected, ended):
                results.append(Result(fault[0], f"{moment}: {fault[1]}"))
            elif not ended:
                results.append(Result("survived"))
            if ended or kind == "sweep":  # which keeps no checkpoints
                shutil.rmtree(folder)
                folder.mkdir()
        process = _start(kind, folder)
        process.join()
        found = files(folder)
        if process.exitcode or found != expected:
            fault = f"{kind}, resumed: {difference(found, expected)}"
            results[-1] = Result("wrong", fault)
    return results


def _fault(
    folder: Path, before: dict[int, Path], expected: dict[str, bytes], ended: bool
) -> tuple[str, str] | None:
    """What is wrong with the files that a kill left."""
    found, after = files(folder), saved(folder / "checkpoints")
    if ended:
        return None if found == expected else ("wrong", difference(found, expected))
    if max(after, default=-1) < max(before, default=-1):
        return "lost", f"step {max(before)} was saved, now the last is {max(after, default=None)}"
    for path in itertools.islice(reversed(after.values()), 1):
        try:
            read(path)
        except CheckpointError as error:
            return "lost", str(error)
    results = {name: content for name, content in found.items() if not _is_unfinished(name)}
    if any(content != expected.get(name) for name, content in results.items()):
        return "wrong", difference(results, expected)
    return None


def _is_unfinished(name: str) -> bool:
    """Whether a file is not a result: a checkpoint, or a temporary file."""
    return name.startswith("checkpoints/") or Path(name).name.startswith(".")

"""`fcnet train`: a network trained on the rows of a file."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fcnet
from fcnet.cli.options import (
    Command,
    TaskOptions,
    count,
    option,
    positive,
    takes_task,
    task_options,
)
from fcnet.train.defaults import PATIENCE, UNTIL_BEST

SAVE_EVERY = 1000
"""The steps between two checkpoints: of a small network, those of 0.1 s."""


def train(task: TaskOptions, learning_rate: float, patience: int, resume: bool) -> None:
    """Train on the rows of a file, and leave a model, its learning curve and checkpoints in `out`.

    Raises:
        ValueError: for columns or options that do not fit, before anything is written.
        ArithmeticError: where training diverges.
        ModuleNotFoundError: without the extra `cli`, likewise.
    """
    from fcnet.cli.task import make_task
    from fcnet.train.checkpoint import saved
    from fcnet.train.start import init_small

    started = time.perf_counter()
    out = task.out
    checkpoints = out / "checkpoints"
    if saved(checkpoints):
        if not resume:
            raise ValueError(
                f"{out} holds a run already: add --resume to continue it, or choose another --out"
            )
    elif (out / "model.safetensors").exists():
        raise ValueError(f"{out} holds a model without its run: choose another --out")
    ready = make_task(task, streams=True)
    held_out = ready.examples.validation is not None
    with _bar(task.steps) as progress, _errors_of_the_command_line():
        result = fcnet.fit(
            init_small(ready.start_key, ready.sizes),
            **ready.training(learning_rate),
            key=ready.fit_key,
            patience=(patience or None) if held_out else None,
            checkpoint=fcnet.Checkpoints(checkpoints, every=SAVE_EVERY),
            resume=resume,
            progress=progress,
        )
    model = ready.save(result.params)
    ready.print_scores(model)
    if result.stopped == "patience":
        print(
            f"Stopped after step {result.history.step[-1]:,.0f}: the validation loss had not "
            f"improved in {patience} evaluations."
        )
    ready.save_figure("curve.png", lambda ax: fcnet.plot.history(result.history, ax=ax))
    best = ", the best on the validation rows" if patience and held_out else ""
    print(f"These are of step {result.step:,}{best}; took {time.perf_counter() - started:.1f} s.")
    print(f"In {out}: model.safetensors, schema.json, curve.png and checkpoints.")


@contextmanager
def _errors_of_the_command_line() -> Iterator[None]:
    """Says which option to give after a run that ended early."""
    try:
        yield
    except fcnet.NonFiniteError as diverged:
        raise ArithmeticError(
            f"training diverged after step {diverged.step:,}: try a smaller --learning-rate"
        ) from diverged
    except fcnet.Interrupted as stopped:
        raise KeyboardInterrupt(
            f"{stopped.signal.name} after step {stopped.step:,}, which is saved; "
            "to continue, give the same command with --resume"
        ) from stopped


@contextmanager
def _bar(steps: int) -> Iterator[Callable[..., None] | None]:
    """A progress bar with the losses."""
    from fcnet.cli.task import progress_bar

    with progress_bar(steps, "step {task.completed:,} of {task.total:,}") as update:
        if update is None:
            yield None
            return

        def show(step: int, history: Any) -> None:
            losses = f"loss {history.loss[-1]:.4g}"
            if math.isfinite(history.validation_loss[-1]):
                losses += f", validation {history.validation_loss[-1]:.4g}"
            update(step, losses)

        yield show


COMMAND = Command(
    takes_task(train),
    "train a network on the rows of a file (needs the extra cli)",
    (
        "fcnet train houses.csv --target price",
        "fcnet train houses.csv --target price --features sqft,beds,zip --categories zip",
        "fcnet train houses.csv --target city --loss softmax_cross_entropy --out runs/city",
        "fcnet train houses.csv --target price --steps 20000 --resume",
    ),
    {
        **task_options(steps=10_000, out="runs/model"),
        "--learning-rate": option(UNTIL_BEST.learning_rate, "the size of a step", type=positive),
        "--patience": option(
            PATIENCE, "stop once the validation loss has not improved for N evaluations, and "
            "keep the best network; 0 takes all steps and keeps the last", type=count(0),
            metavar="N",
        ),
        "--resume": {
            "action": "store_true",
            "help": "continue from the last checkpoint in that folder, if there is one",
        },
    },
)  # fmt: skip

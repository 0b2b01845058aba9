"""`fcnet train`: a network trained on the rows of a file."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np

from fcnet.commands.task import make_task, print_scores, progress_bar
from fcnet.extras import extra
from fcnet.network import init
from fcnet.plot import history as draw_history
from fcnet.tabular.model import save_model
from fcnet.train.checkpoint import saved
from fcnet.train.fit import fit
from fcnet.train.types import History, Interrupted, NonFiniteError


def train(
    data: Path,
    target: str,
    features: tuple[str, ...],
    categories: tuple[str, ...],
    missing: str,
    hidden: tuple[int, ...],
    activation: str,
    loss: str,
    optimizer: str,
    learning_rate: float,
    batch_size: int,
    steps: int,
    validation: float,
    evaluate_every: int,
    patience: int,
    seed: int,
    out: Path,
    resume: bool,
) -> None:
    """Train on the rows of a file, and leave a model, its learning curve and checkpoints in `out`.

    Raises:
        ValueError: for columns or options that do not fit, before anything is written.
        ArithmeticError: where training diverges.
        ModuleNotFoundError: without the extra `cli`, likewise.
    """
    with extra("cli"):
        import matplotlib.figure
        import safetensors  # noqa: F401
    started = time.perf_counter()
    checkpoints = out / "checkpoints"
    split_key, start_key, fit_key = jax.random.split(jax.random.key(seed), 3)
    task = make_task(
        data, target, features, categories, missing, hidden, loss, validation, split_key
    )
    if saved(checkpoints):
        if not resume:
            raise ValueError(
                f"{out} holds a run already: add --resume to go on with it, or choose another --out"
            )
    elif (out / "model.safetensors").exists():
        raise ValueError(f"{out} holds a model without its run: choose another --out")
    X, Y = task.scaled["training"]
    held_out = task.scaled.get("validation")
    with _bar(steps) as progress, _in_its_own_words():
        result = fit(
            init(start_key, task.sizes),
            X,
            Y,
            key=fit_key,
            batch_size=min(batch_size, len(X)),
            steps=steps,
            optimizer=optimizer,
            hyperparameters={"learning_rate": learning_rate},
            activation=activation,
            loss=loss,
            validation=held_out,
            evaluate_every=evaluate_every,
            patience=(patience or None) if held_out else None,
            checkpoint=checkpoints,
            resume=resume,
            progress=progress,
        )
    model = task.model(result.params, activation, loss)
    save_model(out / "model.safetensors", model)
    figure = matplotlib.figure.Figure(figsize=(6.4, 4), layout="constrained")
    draw_history(result.history, ax=figure.add_subplot())
    figure.savefig(out / "curve.png", dpi=150)
    print_scores(model, task)
    if result.stopped == "patience":
        print(
            f"Stopped after step {result.history.step[-1]:,.0f}: the validation loss had not "
            f"improved in {patience} evaluations."
        )
    best = ", the best on the validation rows" if patience and held_out else ""
    print(f"These are of step {result.step:,}{best}; took {time.perf_counter() - started:.1f} s.")
    print(f"In {out}: model.safetensors, curve.png and checkpoints.")


@contextmanager
def _in_its_own_words() -> Iterator[None]:
    """Says what to do about a run that ended before its time, in the words of the command line."""
    try:
        yield
    except NonFiniteError as diverged:
        raise ArithmeticError(
            f"training diverged in step {diverged.step + 1}: try a smaller --learning-rate"
        ) from diverged
    except Interrupted as stopped:
        raise KeyboardInterrupt(
            f"{stopped.signal.name} after step {stopped.step:,}, which is saved; "
            "go on with the same words and --resume"
        ) from stopped


@contextmanager
def _bar(steps: int) -> Iterator[Callable[[int, History], None] | None]:
    """A progress bar with the losses."""
    with progress_bar(steps, "step {task.completed:,} of {task.total:,}") as update:

        def show(step: int, history: History) -> None:
            losses = f"loss {history.loss[-1]:.4g}"
            if np.isfinite(history.validation_loss[-1]):
                losses += f", validation {history.validation_loss[-1]:.4g}"
            if update is not None:
                update(step, losses)

        yield update and show

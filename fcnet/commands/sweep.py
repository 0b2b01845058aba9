"""`fcnet sweep`: networks of many seeds and hyper-parameters trained at once on a file's rows."""

import csv
import time
from functools import partial
from itertools import product
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from fcnet.commands.task import make_task, print_scores, progress_bar
from fcnet.extras import extra
from fcnet.network import init
from fcnet.plot.fits import loss_curve, median
from fcnet.tabular.model import save_model
from fcnet.train.checkpoint import saved
from fcnet.train.sweep import SweepResult, sweep


def sweep_file(
    data: Path,
    target: str,
    features: tuple[str, ...],
    categories: tuple[str, ...],
    missing: str,
    hidden: tuple[int, ...],
    activation: str,
    loss: str,
    optimizer: str,
    learning_rates: tuple[float, ...],
    weight_decays: tuple[float, ...],
    seeds: int,
    batch_size: int,
    steps: int,
    validation: float,
    evaluate_every: int,
    seed: int,
    out: Path,
) -> None:
    """Train a network for each learning rate, weight decay and seed, and keep the best of them.

    The seeds stand for the first parameters and the batches, the same for every setting. In `out`
    are the best member's model, a table of all members and the settings' learning curves.

    Raises:
        ValueError: for columns or options that do not fit, before anything is written.
        ArithmeticError: where every member diverged.
        ModuleNotFoundError: without the extra `cli`.
    """
    with extra("cli"):
        import matplotlib.figure
        import safetensors  # noqa: F401
    started = time.perf_counter()
    if (out / "model.safetensors").exists() or saved(out / "checkpoints"):
        raise ValueError(f"{out} holds a model already, or a run: choose another --out")
    if seeds < 1 or not learning_rates:
        raise ValueError("there is nothing to train: expected a learning rate and a seed at least")
    if weight_decays and optimizer not in ("adamw", "lion"):
        raise ValueError(f"--weight-decays needs --optimizer adamw or lion, got {optimizer!r}")
    names = ("learning_rate", *(("weight_decay",) if weight_decays else ()))
    settings = list(product(*filter(len, (learning_rates, weight_decays))))
    split_key, start_key, fit_key = jax.random.split(jax.random.key(seed), 3)
    task = make_task(
        data, target, features, categories, missing, hidden, loss, validation, split_key
    )
    print(
        f"{len(settings)} settings of {seeds} seeds: {len(settings) * seeds} networks", flush=True
    )
    X, Y = task.scaled["training"]
    every_seed = jnp.tile(jnp.arange(seeds), len(settings))
    starts = jax.random.split(start_key, seeds)[every_seed]
    with progress_bar(1, "{task.percentage:.0f} %") as update:
        result = sweep(
            jax.vmap(partial(init, sizes=task.sizes))(starts),
            X,
            Y,
            key=jax.random.split(fit_key, seeds)[every_seed],
            batch_size=min(batch_size, len(X)),
            steps=steps,
            optimizer=optimizer,
            hyperparameters={
                name: jnp.repeat(jnp.array(values), seeds)
                for name, values in zip(names, zip(*settings, strict=True), strict=True)
            },
            activation=activation,
            loss=loss,
            validation=task.scaled.get("validation"),
            evaluate_every=evaluate_every,
            progress=update and (lambda share: update(share, "")),
        )
    losses = _losses(result)
    rows = [
        {**dict(zip(names, setting, strict=True)), "seed": k, "loss": losses[-1, i * seeds + k]}
        for i, setting in enumerate(settings)
        for k in range(seeds)
    ]
    _print_settings(names, settings, losses[-1].reshape(len(settings), seeds))
    if result.best is None:
        raise ArithmeticError("every network diverged: try smaller learning rates")
    out.mkdir(parents=True, exist_ok=True)
    with (out / "members.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    model = task.model(result.member(result.best), activation, loss)
    save_model(out / "model.safetensors", model)
    medians = median(losses.reshape(len(losses), len(settings), seeds))
    curves = {
        ", ".join(_named(names, setting)): medians[:, i]
        for i, setting in enumerate(settings)
        if np.isfinite(medians[:, i]).any()
    }
    figure = matplotlib.figure.Figure(figsize=(6.4, 4), layout="constrained")
    ax = loss_curve(result.history.step, curves, ax=figure.add_subplot())
    ax.set_title(f"{'Validation' if task.scaled.get('validation') else 'Training'}: seeds' medians")
    figure.savefig(out / "curves.png", dpi=150)
    best = ", ".join(f"{name} {value:.4g}" for name, value in rows[result.best].items())
    print(f"The best has {best}; its scores:")
    print_scores(model, task)
    print(f"In {out}: its model.safetensors, members.csv and curves.png.")
    print(f"Took {time.perf_counter() - started:.1f} s.")


def _named(names: tuple[str, ...], setting: tuple[float, ...]) -> list[str]:
    """A setting in words."""
    return [
        f"{name.replace('_', ' ')} {value:g}" for name, value in zip(names, setting, strict=True)
    ]


def _losses(result: SweepResult) -> np.ndarray:
    """The losses that tell the best, of shape (evaluations, members)."""
    history = result.history
    held_out = np.isfinite(history.validation_loss).any()
    return history.validation_loss if held_out else history.loss


def _print_settings(
    names: tuple[str, ...], settings: list[tuple[float, ...]], last: np.ndarray
) -> None:
    """A line for each setting: its least loss, its median loss, and how many members diverged."""
    titles = (*(name.replace("_", " ") for name in names), "least loss", "median", "diverged")
    print("  " + "".join(f"{title:<16}" for title in titles).rstrip())
    for setting, losses in zip(settings, last, strict=True):
        lost = np.isnan(losses).sum()
        told = (
            [np.nan, np.nan] if lost == len(losses) else [np.nanmin(losses), np.nanmedian(losses)]
        )
        cells = [*(f"{value:g}" for value in setting), *(f"{value:.4g}" for value in told)]
        print("  " + "".join(f"{cell:<16}" for cell in cells) + f"{lost} of {len(losses)}")

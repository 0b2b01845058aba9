"""`fcnet sweep`: networks of many seeds and hyper-parameters trained at once on a file's rows."""

import time
from contextlib import suppress
from functools import partial
from inspect import signature
from itertools import product
from typing import Any, TypeAlias

import fcnet
from fcnet.cli.options import (
    Command,
    TaskOptions,
    count,
    not_negative,
    option,
    positive,
    several,
    takes_task,
    task_options,
)
from fcnet.files import as_csv, write_file

Setting: TypeAlias = dict[str, float]
"""The hyper-parameters, by name, that the seeds of a setting share."""


def sweep(
    task: TaskOptions,
    learning_rates: tuple[float, ...],
    weight_decays: tuple[float, ...],
    seeds: int,
) -> None:
    """Train a network for each learning rate, weight decay and seed, and keep the best of them.

    A seed draws the first parameters and the batches, the same for every setting. In `out` are the
    best member's model, a table of all members and the settings' learning curves.

    Raises:
        ValueError: for columns or options that do not fit, before anything is written.
        ArithmeticError: where every member diverged.
        ModuleNotFoundError: without the extra `cli`.
    """
    import numpy as np

    from fcnet.cli.task import make_task
    from fcnet.plot.fits import loss_curve, median
    from fcnet.train.checkpoint import saved

    started = time.perf_counter()
    out = task.out
    if (out / "model.safetensors").exists() or saved(out / "checkpoints"):
        raise ValueError(f"{out} holds a model already, or a run: choose another --out")
    tried = {"learning_rate": learning_rates}
    if weight_decays:
        _check_has_decay(task.optimizer)
        tried["weight_decay"] = weight_decays
    settings = [dict(zip(tried, values, strict=True)) for values in product(*tried.values())]
    ready = make_task(task)
    out.mkdir(parents=True, exist_ok=True)  # or a long sweep would end in an error
    print(
        f"{len(settings)} settings of {seeds} seeds: {len(settings) * seeds} networks", flush=True
    )
    result = _train(ready, settings, seeds)
    held_out = ready.examples.validation is not None
    losses = result.history.validation_loss if held_out else result.history.loss
    least = losses.min(axis=0)  # NaN for a member that diverged
    members = [{**setting, "seed": k} for setting in settings for k in range(seeds)]
    rows = [{**member, "loss": loss} for member, loss in zip(members, least, strict=True)]
    _print_settings(settings, least.reshape(len(settings), seeds))
    if result.best is None or result.best_params is None:
        with suppress(OSError):  # of a folder that holds other files
            out.rmdir()
        raise ArithmeticError("every network diverged: try smaller learning rates")
    model = ready.save(result.best_params)
    write_file(out / "members.csv", as_csv([rows[0], *(row.values() for row in rows)]))
    best = ", ".join(f"{name} {value:.4g}" for name, value in rows[result.best].items())
    print(f"The best has {best}; its scores:")
    ready.print_scores(model)
    medians = median(losses.reshape(len(losses), len(settings), seeds))
    named = zip(map(_name_of, settings), medians.T, strict=True)
    curves = {name: curve for name, curve in named if np.isfinite(curve).any()}
    title = f"{'Validation' if held_out else 'Training'}: seeds' medians"
    ready.save_figure(
        "curves.png",
        lambda ax: loss_curve(result.history.step, curves, ax=ax).set_title(title),
    )
    print(f"In {out}: its model.safetensors, schema.json, members.csv and curves.png.")
    print(f"Took {time.perf_counter() - started:.1f} s.")


def _train(ready: Any, settings: list[Setting], seeds: int) -> "fcnet.SweepResult":
    """The networks of each setting in turn, one for each seed."""
    import jax
    import jax.numpy as jnp

    from fcnet.cli.task import progress_bar
    from fcnet.train.start import init_small

    every_seed = jnp.tile(jnp.arange(seeds), len(settings))
    starts = jax.random.split(ready.start_key, seeds)[every_seed]
    shared = ready.training(settings[0]["learning_rate"])
    varied = {
        name: jnp.repeat(jnp.array([setting[name] for setting in settings]), seeds)
        for name in settings[0]
    }
    with progress_bar(1, "{task.percentage:.0f} %") as update:
        return fcnet.sweep(
            jax.vmap(partial(init_small, sizes=ready.sizes))(starts),
            **{**shared, "hyperparameters": {**shared["hyperparameters"], **varied}},
            key=jax.random.split(ready.fit_key, seeds)[every_seed],
            progress=update and (lambda share: update(share, "")),
        )


def _check_has_decay(optimizer: str) -> None:
    from fcnet.train.optimizer import OPTIMIZERS

    decayed = [
        name
        for name, factory in OPTIMIZERS.items()
        if "weight_decay" in signature(factory.func).parameters
    ]
    if optimizer not in decayed:
        raise ValueError(
            f"--weight-decays needs --optimizer {' or '.join(decayed)}, got {optimizer!r}"
        )


def _name_of(setting: Setting) -> str:
    """A setting in words."""
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in setting.items())


def _print_settings(settings: list[Setting], least: Any) -> None:
    """A line for each setting: its least loss, its median loss, and how many members diverged.

    Args:
        settings: the hyper-parameters that are tried.
        least: the least loss of each member in any evaluation, shape (settings, seeds).
    """
    import numpy as np

    titles = (*(n.replace("_", " ") for n in settings[0]), "least loss", "median", "diverged")
    print("  " + "".join(f"{title:<16}" for title in titles).rstrip())
    for setting, losses in zip(settings, least, strict=True):
        finite = losses[~np.isnan(losses)]
        shown = (finite.min(), np.median(finite)) if len(finite) else (np.nan, np.nan)
        cells = [
            *(f"{value:g}" for value in setting.values()),
            *(f"{value:.4g}" for value in shown),
        ]
        diverged = f"{len(losses) - len(finite)} of {len(losses)}"
        print("  " + "".join(f"{cell:<16}" for cell in cells) + diverged)


COMMAND = Command(
    takes_task(sweep),
    "train networks of many seeds and settings at once on the rows of a file (needs the extra cli)",
    (
        "fcnet sweep houses.csv --target price",
        "fcnet sweep houses.csv --target price --learning-rates 1e-4,1e-3,1e-2 --seeds 32",
        "fcnet sweep houses.csv --target price --optimizer adamw --weight-decays 1e-4,1e-2",
        "fcnet predict runs/sweep houses.csv",
    ),
    {
        **task_options(steps=5000, out="runs/sweep"),
        "--learning-rates": option(
            "3e-4,1e-3,3e-3,1e-2", "the sizes of a step to try", type=several(positive),
            metavar="A,B,...",
        ),
        "--weight-decays": option(
            (), "the weight decays to try, of adamw or lion", type=several(not_negative),
            metavar="A,B,...",
        ),
        "--seeds": option(8, "networks for each setting", type=count(1)),
    },
)  # fmt: skip

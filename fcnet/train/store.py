"""The checkpoints of a run: how one is saved, which are kept, which one a run goes on from.

On a mesh too, a checkpoint is one file with all of the state, which the first process writes to a
folder that all see. Fully-connected networks fit into a host's memory, so that files of parts, as
Orbax writes them, would save little; and a whole one can be gone on from on any other mesh, though
then the rest of the run is the same up to rounding only.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from fcnet.checks import as_count
from fcnet.train.checkpoint import CheckpointError, read, write
from fcnet.train.loop import State
from fcnet.train.mesh import check_alike, is_key, is_shared, least
from fcnet.train.point import Point


class Checkpoints(NamedTuple):
    """Where checkpoints go, after how many evaluations, and how many of the last are kept.

    The one with the least validation loss (the least loss, without such a set) is kept as well.
    """

    folder: str | Path
    every: int = 1
    keep: int = 3


class Store(NamedTuple):
    """A folder of checkpoints, and the configuration of the run that they are of."""

    folder: Path
    every: int
    keep: int
    configuration: Mapping[str, str]
    mesh: Mesh | None = None

    def save(self, point: Point) -> Path:
        """Write the checkpoint of a point, and then remove those that need not be kept.

        Of several processes, each of which has all of it, the first does; the others wait for it.
        """
        path = self.folder / f"step-{point.step:010d}.safetensors"
        if not is_shared(self.mesh):
            self._save(point, path)
            return path
        failure = None
        if jax.process_index() == 0:
            try:
                self._save(point, path)
            except CheckpointError as error:
                failure = error
        if not least(self.mesh, failure is None):
            raise failure or CheckpointError(f"process 0 could not write the checkpoint {path}")
        return path

    def _save(self, point: Point, path: Path) -> None:
        arrays = {name: _as_numpy(leaf) for name, leaf in _leaves(point)}
        arrays["history"] = np.array(point.entries)
        write(
            path,
            arrays,
            {
                "step": str(point.step),
                "best": str(point.best),
                "configuration": json.dumps(self.configuration),
            },
        )
        before = {step: there for step, there in saved(self.folder).items() if step <= point.step}
        for step in before.keys() - set(sorted(before)[-self.keep :]) - {_best(point, before)}:
            before[step].unlink(missing_ok=True)
        for unfinished in self.folder.glob(".step-*.tmp"):
            unfinished.unlink(missing_ok=True)

    def latest(self, start: Point) -> Point:
        """The point of the last checkpoint that is whole; the start, saved, where there is none.

        Raises:
            CheckpointError: if all are damaged, or the last whole one is of another run.
        """
        failures = []
        there = saved(self.folder)
        check_alike(self.mesh, {"the checkpoints in the folder": [*there]})
        for path in reversed(there.values()):
            try:
                arrays, text = read(path)
            except CheckpointError as error:
                failures.append(str(error))
                continue
            for failure in failures:
                warnings.warn(f"{failure}; going on from {path}", RuntimeWarning, stacklevel=4)
            self._check(path, json.loads(text["configuration"]))
            return _point(start, arrays, text, path)
        if failures:
            raise CheckpointError(f"no checkpoint can be read: {'; '.join(failures)}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"cannot make the checkpoint folder {self.folder}: {error.strerror}"
            ) from error
        self.save(start)
        return start

    def _check(self, path: Path, found: Mapping[str, str]) -> None:
        """Raise unless a checkpoint is of this run."""
        other_version = found.get("jax") != self.configuration["jax"]
        differences = [
            f"{name} was {found.get(name)} and is {value}"
            for name, value in self.configuration.items()
            if found.get(name) != value and not (other_version and name in ("compiled step", "jax"))
        ]
        if differences:
            raise CheckpointError(
                f"{path} is of another run: {'; '.join(differences)}. Give the arguments of that "
                "run, or another folder"
            )
        if other_version:
            warnings.warn(
                f"{path} was written with JAX {found.get('jax')}, this is JAX {jax.__version__}: "
                "the run goes on, but maybe not bit for bit",
                RuntimeWarning,
                stacklevel=5,
            )


def as_checkpoints(checkpoint: str | Path | Checkpoints | None, resume: object) -> Any:
    """The folder and its rules, checked; None where nothing is to be saved.

    Raises:
        CheckpointError: for a folder that holds checkpoints, unless they are to be gone on from.
    """
    if not isinstance(resume, bool):
        raise TypeError(f"resume must be True or False, got {resume!r}")
    if checkpoint is None:
        if resume:
            raise ValueError("resume=True needs the folder of the checkpoints: give checkpoint=")
        return None
    if not isinstance(checkpoint, Checkpoints):
        checkpoint = Checkpoints(checkpoint)
    if not isinstance(checkpoint.folder, (str, Path)) or not str(checkpoint.folder):
        raise TypeError(
            "checkpoint must be the path of a folder, or Checkpoints(folder, every, keep), got "
            f"{checkpoint.folder!r}"
        )
    folder = Path(checkpoint.folder)
    every = as_count("checkpoint.every", checkpoint.every, least=1)
    keep = as_count("checkpoint.keep", checkpoint.keep, least=1)
    there = saved(folder)
    if there and not resume:
        raise CheckpointError(
            f"{folder} holds checkpoints already, the last of step {max(there)}: pass resume=True "
            "to go on from it, or choose another folder"
        )
    return Checkpoints(folder, every, keep)


def saved(folder: Path) -> dict[int, Path]:
    """The checkpoints in a folder by their steps, the last step last."""
    steps = {path.stem.removeprefix("step-"): path for path in folder.glob("step-*.safetensors")}
    return {int(step): steps[step] for step in sorted(steps) if step.isdecimal()}


def _best(point: Point, steps: Mapping[int, Path]) -> int | None:
    """The saved step with the least loss in validation, or in training where there is none."""
    history = point.history
    losses = history.loss if np.isnan(history.validation_loss).all() else history.validation_loss
    known = [(loss, step) for loss, step in zip(losses, history.step, strict=True) if step in steps]
    return int(min(known)[1]) if known else None


def _leaves(point: Point) -> list[tuple[str, Any]]:
    """The arrays of a point by name, such as "params[0].W"."""
    return [
        (f"{prefix}{jax.tree_util.keystr(path)}".lstrip("."), leaf)
        for prefix, tree in (("", point.state), ("kept", point.kept))
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]


def _as_numpy(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)


def _point(start: Point, arrays: dict[str, Any], text: Mapping[str, str], path: Path) -> Point:
    """The point that a checkpoint holds, in the structure of the point that a run starts from."""
    values = []
    for name, leaf in _leaves(start):
        wanted, got = _as_numpy(leaf), arrays.get(name)
        if got is None or (got.shape, got.dtype) != (wanted.shape, wanted.dtype):
            raise CheckpointError(
                f"{path} is of another run: {name} is "
                f"{'missing' if got is None else f'{got.dtype}{list(got.shape)}'}, expected "
                f"{wanted.dtype}{list(wanted.shape)}"
            )
        key = jax.random.wrap_key_data(got, impl=jax.random.key_impl(leaf)) if is_key(leaf) else got
        values.append(key)
    state: State
    state, kept = jax.tree.unflatten(jax.tree.structure((start.state, start.kept)), values)
    entries = tuple(map(tuple, arrays["history"].tolist()))
    return Point(int(text["step"]), state, entries, int(text["best"]), kept)

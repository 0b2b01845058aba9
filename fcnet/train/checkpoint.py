"""Checkpoints: the file, the folder of a run, and the configuration by which a run is recognised.

A checkpoint is a file of `fcnet.tensors`, written whole or not at all.

On a mesh too, a checkpoint is one file with the whole state, which the first process writes to a
folder that all processes see. The state of a fully-connected network fits into a host's memory, so
that one file for each process, as Orbax writes them, would save little. A whole file can also be
resumed on another mesh, where the rest of the run is the same up to rounding.
"""

import json
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax import Array
from jax.sharding import Mesh

from fcnet.callers import warn
from fcnet.checks import as_count
from fcnet.files import AnyPath, flush_folder, replace_file
from fcnet.keys import as_numpy, from_words, is_key
from fcnet.tensors import read as read_tensors
from fcnet.tensors import to_bytes
from fcnet.text import from_json
from fcnet.train.lock import locked
from fcnet.train.mesh import check_alike, is_shared, least
from fcnet.train.optimizer import Hyperparameters, build
from fcnet.train.program import descend
from fcnet.train.types import NO_ENTRIES, Data, Program, Snapshot, State

VERSION = "1"
"""The version of the format, in the header as `fcnet_checkpoint`."""

SUM = "sha256"
"""The text of a checkpoint that is its checksum."""

PROGRAMS = ("jax", "fcnet")
"""The programs on whose versions the bits of a step depend."""


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, cannot be read, or is of another run."""


def write(path: Path, arrays: Mapping[str, np.ndarray], text: Mapping[str, str]) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        CheckpointError: where that fails; an earlier file of the same name is unchanged.
    """
    raw = to_bytes(arrays, {**text, "fcnet_checkpoint": VERSION}, SUM)
    try:
        replace_file(path, raw)
        flush_folder(path.parent)
    except OSError as error:
        raise CheckpointError(
            f"cannot write the checkpoint {path}: {error.strerror}; those before it are "
            "unchanged. Make room or choose another folder, then continue with resume=True"
        ) from error


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the text of a checkpoint with the right checksum.

    Raises:
        CheckpointError: for a file that is damaged, no checkpoint, or of another version.
    """
    try:
        arrays, text = read_tensors(path, SUM, sealed=True)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    if text.get("fcnet_checkpoint") != VERSION:
        raise CheckpointError(
            f"{path} has version {text.get('fcnet_checkpoint')} of the checkpoints of fcnet, this "
            f"program reads version {VERSION}"
        )
    return arrays, text


class Checkpoints(NamedTuple):
    """Where checkpoints are written, and which are kept.

    Attributes:
        folder: a path; the folder is made if it is missing.
        every: at most one checkpoint is written in this many steps, at the first evaluation in
            them. 1 saves every evaluation. The start and the end of a run are always saved.
        keep: how many of the last are kept, beside the one with the least validation loss; without
            validation examples, the least training loss.

    >>> Checkpoints("runs/1", keep=5).every
    1
    """

    folder: AnyPath
    every: int = 1
    keep: int = 3


class Store(NamedTuple):
    """The folder of checkpoints of a run, and the configuration of that run."""

    folder: Path
    every: int
    keep: int
    configuration: Mapping[str, str]
    mesh: Mesh | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs from writing to the folder, which is made where it is missing.

        Of several processes the first holds the lock.

        Raises:
            CheckpointError: where another run holds it, or the folder cannot be written to.
        """
        with ExitStack() as held:
            self._by_first(partial(self._lock, held), f"cannot use the folder {self.folder}")
            yield

    def _lock(self, held: ExitStack) -> None:
        """Lock the folder, which is made where it is missing, until `held` is closed."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(self.folder))
        except BlockingIOError as error:
            raise CheckpointError(
                f"{self.folder} is in use: {error}. Wait for its end, or choose another folder"
            ) from error
        except OSError as error:
            raise CheckpointError(
                f"cannot use the checkpoint folder {self.folder}: {error.strerror}"
            ) from error

    def _by_first(self, work: Callable[[], None], fails: str) -> None:
        """Do some work in the first of several processes, while the others wait.

        Raises:
            CheckpointError: where it fails, in all processes; `fails` says what the first one did.
        """
        failure = None
        if not is_shared(self.mesh) or jax.process_index() == 0:
            try:
                work()
            except CheckpointError as error:
                failure = error
        if not least(self.mesh, failure is None):
            raise failure or CheckpointError(f"process 0 {fails}")

    def is_due(self, snapshot: Snapshot) -> bool:
        """Whether the last evaluation is the first, or the first in another `every` steps."""
        blocks = snapshot.history.step[-2:] // self.every
        return len(blocks) == 1 or bool(blocks[0] < blocks[1])

    def save(self, snapshot: Snapshot) -> Path:
        """Write the checkpoint of a snapshot, and then remove those that need not be kept.

        Of several processes the first writes, and the others wait for it.
        """
        path = self.folder / f"step-{snapshot.step:010d}.safetensors"
        work = partial(self._save, snapshot, path)
        self._by_first(work, f"could not write the checkpoint {path}")
        return path

    def _save(self, snapshot: Snapshot, path: Path) -> None:
        arrays = {name: as_numpy(leaf) for name, leaf in _leaves(snapshot)}
        arrays["history"] = snapshot.entries
        text = {"step": str(snapshot.step), "best": str(snapshot.best)}
        write(path, arrays, {**text, "configuration": json.dumps(self.configuration)})
        before = {step: file for step, file in saved(self.folder).items() if step <= snapshot.step}
        for step in before.keys() - set(sorted(before)[-self.keep :]) - {_best(snapshot, before)}:
            before[step].unlink(missing_ok=True)
        for unfinished in self.folder.glob(".step-*.tmp"):
            unfinished.unlink(missing_ok=True)

    def latest(self, start: Snapshot) -> Snapshot | None:
        """The snapshot of the last undamaged checkpoint, in the structure of `start`.

        None where the folder has no checkpoint.

        Raises:
            CheckpointError: if all are damaged, or the last undamaged one is of another run.
        """
        failures = []
        by_step = saved(self.folder)
        check_alike(self.mesh, {"the checkpoints in the folder": [*by_step]})
        for path in reversed(by_step.values()):
            try:
                arrays, text = read(path)
            except CheckpointError as error:
                failures.append(str(error))
                continue
            for failure in failures:
                warn(f"{failure}; resuming from {path}", RuntimeWarning)
            try:
                self._check(path, from_json(text["configuration"]))
                if start.kept and not any(name.startswith("kept") for name in arrays):
                    raise CheckpointError(
                        f"{path} is of a run without patience, which kept no parameters but the "
                        "last: leave patience out, or start a new run in another folder"
                    )
                return _snapshot(start, arrays, text, path)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise CheckpointError(f"{path} is no checkpoint of fit: {error!r}") from error
        if failures:
            raise CheckpointError(f"no checkpoint can be read: {'; '.join(failures)}")
        return None

    def _check(self, path: Path, found: Mapping[str, str]) -> None:
        """Raise unless a checkpoint is of this run."""
        others = [name for name in PROGRAMS if found.get(name) != self.configuration.get(name)]
        may_differ = {*others, "compiled step"} if others else set()
        differences = [
            f"{name} was {found.get(name)} and is {value}"
            for name, value in self.configuration.items()
            if found.get(name) != value and name not in may_differ
        ]
        if differences:
            raise CheckpointError(
                f"{path} is of another run: {'; '.join(differences)}. Give the arguments of that "
                "run, or another folder"
            )
        if others:
            written = " and ".join(f"{name} {found.get(name, '(unknown)')}" for name in others)
            here = " and ".join(f"{name} {self.configuration[name]}" for name in others)
            warn(
                f"{path} was written with {written}, this is {here}: the run continues, but maybe "
                "not bit for bit",
                RuntimeWarning,
            )


def as_checkpoints(checkpoint: AnyPath | Checkpoints | None, resume: object) -> Checkpoints | None:
    """The checked folder and its settings; None where nothing is saved.

    Raises:
        CheckpointError: for a folder that holds checkpoints, unless the run resumes from them.
    """
    if not isinstance(resume, bool):
        raise TypeError(f"resume must be True or False, got {resume!r}")
    if checkpoint is None:
        if resume:
            raise ValueError("resume=True needs the folder of the checkpoints: give checkpoint=")
        return None
    if not isinstance(checkpoint, Checkpoints):
        checkpoint = Checkpoints(checkpoint)
    if not isinstance(checkpoint.folder, (str, os.PathLike)) or not os.fspath(checkpoint.folder):
        raise TypeError(
            "checkpoint must be the path of a folder, or Checkpoints(folder, every, keep), got "
            f"{checkpoint.folder!r}"
        )
    folder = Path(checkpoint.folder)
    every = as_count("checkpoint.every", checkpoint.every, least=1)
    keep = as_count("checkpoint.keep", checkpoint.keep, least=1)
    present = saved(folder)
    if present and not resume:
        raise CheckpointError(
            f"{folder} holds checkpoints already, the last of step {max(present)}: pass "
            "resume=True to continue from it, or choose another folder"
        )
    return Checkpoints(folder, every, keep)


def saved(folder: Path) -> dict[int, Path]:
    """The checkpoints in a folder by step, in the order of steps."""
    steps = {path.stem.removeprefix("step-"): path for path in folder.glob("step-*.safetensors")}
    return {int(step): steps[step] for step in sorted(steps) if step.isdecimal()}


def _best(snapshot: Snapshot, steps: Mapping[int, Path]) -> int | None:
    """The saved step with the least validation loss, or training loss where there is none."""
    history = snapshot.history
    losses = history.loss if np.isnan(history.validation_loss).all() else history.validation_loss
    known = np.flatnonzero(np.isin(history.step, [*steps]))
    if not len(known):
        return None
    least = np.nan_to_num(losses[known], nan=np.inf).argmin()
    return int(history.step[known[least]])


def _leaves(snapshot: Snapshot) -> list[tuple[str, Any]]:
    """The arrays of a snapshot by name, such as "params[0].W"."""
    return [
        (f"{prefix}{jax.tree_util.keystr(path)}".lstrip("."), leaf)
        for prefix, tree in (("", snapshot.state), ("kept", snapshot.kept))
        for path, leaf in jax.tree.leaves_with_path(tree)
    ]


def _snapshot(
    start: Snapshot, arrays: dict[str, Any], text: Mapping[str, str], path: Path
) -> Snapshot:
    """The snapshot in a checkpoint, in the structure of the snapshot that a run starts from."""
    values = []
    for name, leaf in _leaves(start):
        wanted, got = as_numpy(leaf), arrays.get(name)
        if got is None or (got.shape, got.dtype) != (wanted.shape, wanted.dtype):
            raise CheckpointError(
                f"{path} is of another run: {name} is "
                f"{'missing' if got is None else f'{got.dtype}{list(got.shape)}'}, expected "
                f"{wanted.dtype}{list(wanted.shape)}"
            )
        values.append(from_words(got, leaf) if is_key(leaf) else got)
    state: State
    state, kept = jax.tree.unflatten(jax.tree.structure((start.state, start.kept)), values)
    step, best, history = int(text["step"]), int(text["best"]), arrays["history"]
    entries = np.array(history, float) if history.size else NO_ENTRIES
    known = entries.shape[1:] == NO_ENTRIES.shape[1:] and 0 <= best < max(1, len(entries))
    if step < 0 or not known:
        raise ValueError(f"step {step}, entry {best} of a history of shape {history.shape}")
    return Snapshot(step, state, entries, best, kept)


def configuration(
    program: Program,
    hyperparameters: Hyperparameters,
    state: State,
    data: tuple[Data, Data | None],
    key: Array,
    **choices: object,
) -> dict[str, str]:
    """What identifies a run, as text: a run resumes only from checkpoints with the same.

    The choices of the caller are in it by name or number, the data and the compiled step by their
    checksums. `data` are the measured training examples and those held out.
    """
    W = [layer.W for layer in state.params]
    optimizer, objective = program.optimizer, program.objective
    ready = isinstance(optimizer, optax.GradientTransformation)
    rows = {
        "sizes": (W[0].shape[1], *(layer.shape[0] for layer in W)),
        "dtype": W[0].dtype,
        "activation": objective.activation.name,
        "output_activation": objective.output_activation.name,
        "loss": objective.loss.name,
        "optimizer": "ready-made" if ready else getattr(optimizer, "__name__", "a factory"),
        "hyperparameters": json.dumps(hyperparameters, sort_keys=True),
        **choices,
        "key": as_numpy(key).tolist(),
        "data's checksum": checksum(*jax.tree.leaves(data)),
        "compiled step": step_checksum(program, hyperparameters, state, data[0]),
        **{name: version(name) for name in PROGRAMS},
    }
    return {name: str(value) for name, value in rows.items()}


def step_checksum(
    program: Program, hyperparameters: Hyperparameters, state: State, data: Data
) -> str:
    """A checksum of one step as JAX traces it: its operations, and the arrays that they read.

    These include the constants and schedules of the optimiser, and arrays that the loss reads.
    """

    def step(state: State, batch: Data, hyperparameters: Hyperparameters) -> State:
        return descend(program, build(program.optimizer, hyperparameters), state, batch)

    batch = data.rows(np.zeros(1, int))
    traced = jax.make_jaxpr(step)(state, batch, hyperparameters)
    text = re.sub(r"0x[0-9a-f]+", "", str(traced))  # addresses of Python functions
    constants = [as_numpy(constant) for constant in constants_of(traced)]
    return checksum(np.frombuffer(text.encode(), np.uint8), *constants)


def constants_of(traced: Any) -> Iterator[Any]:
    """The arrays that a traced function reads beside its arguments, those of its parts too.

    >>> weight = jax.device_put(np.array([5, 6], np.int32))
    >>> [leaf.tolist() for leaf in constants_of(jax.make_jaxpr(lambda x: weight * x)(1))]
    [[5, 6]]
    """
    yield from getattr(traced, "consts", ())
    for equation in getattr(traced, "eqns", ()):
        for part in jax.tree.leaves([*equation.params.values()]):
            if hasattr(part, "eqns"):
                yield from constants_of(part)


def checksum(*arrays: Any) -> str:
    """A checksum of the values of some arrays."""
    crc = 0
    for array in arrays:
        crc = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data, crc)
    return f"{crc:08x}"

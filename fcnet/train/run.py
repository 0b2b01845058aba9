"""The host's loop: what happens between the blocks of steps on the device."""

import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from fcnet.checks import on_host
from fcnet.signals import noted_signals
from fcnet.train.checkpoint import Store
from fcnet.train.mesh import agreed_signal, to_device, to_host
from fcnet.train.objective import evaluate
from fcnet.train.optimizer import Hyperparameters
from fcnet.train.precision import Precision
from fcnet.train.program import advance, all_finite, last_finite
from fcnet.train.schedule import Schedule
from fcnet.train.source import Source, windows
from fcnet.train.types import (
    NO_ENTRIES,
    Data,
    Entry,
    FitResult,
    History,
    Interrupted,
    NonFiniteError,
    Program,
    Snapshot,
    State,
    Stopped,
    Window,
    appended,
)
from fcnet.types import Params

STEP, LOSS, VALIDATION_LOSS = map(History._fields.index, ("step", "loss", "validation_loss"))


class Plan(NamedTuple):
    """All that a run does, with its arguments checked.

    `seen` are the training examples to measure.
    """

    program: Program
    hyperparameters: Hyperparameters
    precision: Precision
    source: Source
    seen: Data
    held_out: Data | None
    schedule: Schedule
    patience: int | None
    progress: Callable[[int, History], Any] | None
    store: Store | None

    def measure(self, step: int, params: Params) -> Entry:
        """The entry of the history for these parameters."""
        objective = self.program.objective
        training = evaluate(objective, params, self.seen)
        validation: Any = (np.nan, np.nan)
        if self.held_out is not None:
            validation = evaluate(objective, params, self.held_out)
        return (float(step), *map(float, training), *map(float, validation))

    def windows(self, start: int) -> Generator[tuple[int, Window], None, None]:
        """The steps from `start` on, with the step at which the block of each window begins."""
        return windows(self.source, start, self.schedule, self.precision.scope)


def begin(plan: Plan, state: State) -> Snapshot:
    """The snapshot that a run starts from: of the last checkpoint, or before the first step.

    Raises:
        ValueError: for fewer steps than the last checkpoint has.
        CheckpointError: as `fit`.
    """
    host = to_host(state)
    start = Snapshot(0, host, NO_ENTRIES, 0, () if plan.patience is None else host.params)
    found = None if plan.store is None else plan.store.latest(start)
    if found is not None:
        if found.step > plan.schedule.steps:
            raise ValueError(
                f"steps must be at least the {found.step} that the last checkpoint has, got "
                f"{plan.schedule.steps}"
            )
        return found
    if plan.schedule.evaluates(0):
        params = to_device(state.params, plan.program.mesh)
        start = start._replace(entries=appended(NO_ENTRIES, plan.measure(0, params)))
    if plan.store is not None:
        plan.store.save(start)
    return start


def run(plan: Plan, snapshot: Snapshot, compiled: Future[Any] | None = None) -> FitResult:
    """Take the steps from a snapshot to the end of the run, once they are `compiled`.

    Raises:
        NonFiniteError, Interrupted, CheckpointError: as `fit`.
    """
    program, mesh = plan.program, plan.program.mesh
    state = to_device(snapshot.state, mesh)
    stopped: Stopped = "steps"
    step = snapshot.step
    finite: Array | bool = True
    with noted_signals() as received, closing(plan.windows(snapshot.step)) as steps:
        for block, window in steps:
            if _out_of_patience(plan, snapshot):
                stopped = "patience"
                break
            if compiled is not None:
                compiled.result()
            state = advance(program, state, window, plan.hyperparameters)
            _check_finite(plan, snapshot, step, finite)  # of the window before, as this one runs
            step, finite = block + int(window.last), are_finite(state)
            if plan.schedule.evaluates(step):
                _check_finite(plan, snapshot, step, finite)
                snapshot = _evaluated(plan, snapshot, step, state)
            number = agreed_signal(mesh, received)
            if snapshot.step < step and (number or not plan.source.rewinds):
                _check_finite(plan, snapshot, step, finite)
                snapshot = snapshot._replace(step=step, state=to_host(state))
            if number:
                break
        if number := agreed_signal(mesh, received):
            raise _interrupted(plan, snapshot, number)
        if stopped == "steps" and step < plan.schedule.steps:
            stopped = "data"
        if step not in snapshot.entries[-1:, STEP]:  # no evaluation was due here
            snapshot = _evaluated(plan, snapshot, step, state)
        if plan.store is not None and not plan.store.is_due(snapshot):
            plan.store.save(snapshot)
        if number := agreed_signal(mesh, received):
            raise _interrupted(plan, snapshot, number)
    del state  # the result needs its memory
    return _result(plan, snapshot, stopped)


def _out_of_patience(plan: Plan, snapshot: Snapshot) -> bool:
    """Whether too many evaluations have passed since the best."""
    waited = plan.schedule.waited(snapshot.entries[snapshot.best + 1 :, STEP])
    return plan.patience is not None and waited >= plan.patience


def _evaluated(plan: Plan, snapshot: Snapshot, step: int, state: State) -> Snapshot:
    """The snapshot after a step, with its entry in the history; saved, and reported to the caller.

    Without regular evaluations, the entry of an earlier end is dropped.
    """
    entry = plan.measure(step, state.params)
    if not np.isfinite(entry[LOSS]):
        raise _failure(plan, snapshot, step)
    host = to_host(state)
    entries = NO_ENTRIES if plan.schedule.evaluate_every is None else snapshot.entries
    best, kept = snapshot.best, snapshot.kept
    if plan.patience is not None and _validation(entry) < _validation(entries[best]):
        best, kept = len(entries), host.params
    snapshot = Snapshot(step, host, appended(entries, entry), best, kept)
    if plan.store is not None and plan.store.is_due(snapshot):
        plan.store.save(snapshot)
    if plan.progress is not None:
        plan.progress(step, snapshot.history)
    return snapshot


def _validation(entry: Sequence[float] | np.ndarray) -> float:
    """The validation loss of an entry, infinite where it is NaN."""
    return float(np.nan_to_num(entry[VALIDATION_LOSS], nan=np.inf))


def are_finite(state: State) -> Array | bool:
    """Whether a state is finite; of an accelerator, a promise that does not wait for it."""
    arrays = state.arrays
    if isinstance(on_host(arrays[0]), np.ndarray):  # and so are all: they lie on the same devices
        return all(bool(np.isfinite(np.asarray(array)).all()) for array in arrays)
    return all_finite(arrays)


def _check_finite(plan: Plan, snapshot: Snapshot, step: int, finite: Any) -> None:
    """Raise unless the state after a step is finite, as `are_finite` says."""
    if not finite:
        raise _failure(plan, snapshot, step)


def _failure(plan: Plan, snapshot: Snapshot, end: int) -> NonFiniteError:
    """The error of a run that failed between a snapshot and the step `end`.

    The steps are repeated to find the bad one. If all are good, the evaluation after them is bad.
    """
    state, step = to_device(snapshot.state, plan.program.mesh), snapshot.step
    with closing(plan.windows(snapshot.step)) as steps:
        for block, window in steps:
            good, state = last_finite(plan.program, state, window, plan.hyperparameters)
            step = block + int(good)
            if good < window.last or step == end:
                break
    return NonFiniteError(step, to_device(to_host(state)).params, step == end)


def _interrupted(plan: Plan, snapshot: Snapshot, received: signal.Signals) -> Interrupted:
    saved = "no checkpoint folder was given"
    if plan.store is not None:
        saved = f"{plan.store.save(snapshot)} is saved, continue from it with resume=True"
    return Interrupted(received, snapshot.step, _result(plan, snapshot, "signal"), saved)


def _result(plan: Plan, snapshot: Snapshot, stopped: Stopped) -> FitResult:
    step, params = snapshot.step, snapshot.state.params
    if plan.patience is not None:
        step, params = int(snapshot.entries[snapshot.best, STEP]), snapshot.kept
    state = to_device(State(params, snapshot.state.opt_state))
    history = History(*map(np.array, snapshot.history))
    return FitResult(state.params, state.opt_state, history, step, stopped)

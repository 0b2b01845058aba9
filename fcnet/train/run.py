"""The host's loop: between blocks of steps on the device, all that is not arithmetic."""

import signal
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from fcnet.train.evaluate import evaluate
from fcnet.train.history import FitResult, History, Interrupted, NonFiniteError
from fcnet.train.loop import Data, State, advance, last_finite
from fcnet.train.mesh import to_device, to_host, wish
from fcnet.train.objective import Objective
from fcnet.train.optimizer import Hyperparameters, Optimizer
from fcnet.train.point import Entry, Point
from fcnet.train.precision import Precision
from fcnet.train.signals import noted_signals
from fcnet.train.source import Piece, Source, pieces
from fcnet.train.store import Store
from fcnet.types import Params


class Plan(NamedTuple):
    """All that a run does, once its arguments are checked."""

    objective: Objective
    optimizer: Optimizer
    hyperparameters: Hyperparameters
    precision: Precision
    source: Source
    seen: Data
    held_out: Data | None
    steps: int
    evaluate_every: int
    patience: int | None
    progress: Callable[[int, History], Any] | None
    mesh: Mesh | None
    store: Store | None = None

    @property
    def static(self) -> Any:
        """What the compiled programs are made for."""
        return {"objective": self.objective, "optimizer": self.optimizer, "mesh": self.mesh}

    def measure(self, step: int, params: Params) -> Entry:
        """The entry of the history for these parameters."""
        training = evaluate(self.objective, params, self.seen)
        if self.held_out is None:
            return (float(step), *map(float, training), np.nan, np.nan)
        return (
            float(step),
            *map(float, training),
            *map(float, evaluate(self.objective, params, self.held_out)),
        )

    def pieces(self, start: int) -> Generator[Piece, None, None]:
        """The steps from `start` on, a piece at a time."""
        return pieces(self.source, start, self.steps, self.evaluate_every, self.precision.scope)


STEP, LOSS, VALIDATION_LOSS = map(History._fields.index, ("step", "loss", "validation_loss"))


def begin(plan: Plan, state: State) -> Point:
    """The point before the first step."""
    host = to_host(state)
    kept = () if plan.patience is None else host.params
    return Point(0, host, (plan.measure(0, to_device(state.params, plan.mesh)),), 0, kept)


def run(plan: Plan, point: Point) -> FitResult:
    """Go on from a point to the end of the run.

    Raises:
        NonFiniteError, Interrupted, CheckpointError: see there.
    """
    state = to_device(point.state, plan.mesh)
    stopped, step = "steps", point.step
    with noted_signals() as received, closing(plan.pieces(point.step)) as steps:
        for piece in steps:
            if plan.patience is not None and len(point.entries) - 1 - point.best >= plan.patience:
                stopped = "patience"
                break
            state, finite = advance(state, *_arguments(plan, piece), **plan.static)
            if not finite:
                raise _failure(plan, point)
            step = piece.stop
            evaluated = step % plan.evaluate_every == 0 or step == plan.steps
            if evaluated:
                point = _evaluated(plan, point, step, state)
            wished = wish(plan.mesh, received)
            if not evaluated and (wished or not plan.source.rewinds):
                point = point._replace(step=step, state=to_host(state))
            if wished:
                break
        if wished := wish(plan.mesh, received):
            raise _interrupted(plan, point, wished)
    if stopped == "steps" and step < plan.steps:
        stopped = "data"
        if point.entries[-1][STEP] < step:
            point = _evaluated(plan, point, step, state)
    if plan.store is not None and (len(point.entries) - 1) % plan.store.every:
        plan.store.save(point)
    del state  # whose memory the result needs
    return _result(plan, point, stopped)


def _interrupted(plan: Plan, point: Point, received: signal.Signals) -> Interrupted:
    saved = "no checkpoint folder was given"
    if plan.store is not None:
        saved = f"{plan.store.save(point)} is saved, go on from it with resume=True"
    return Interrupted(received, point.step, _result(plan, point, "signal"), saved)


def _arguments(plan: Plan, piece: Piece) -> tuple[Any, ...]:
    """What the compiled loop takes for a piece, after the state."""
    first, last = piece.start - piece.begin, piece.stop - piece.begin
    return (piece.chunk.data, piece.chunk.batches, first, last, plan.hyperparameters)


def _evaluated(plan: Plan, point: Point, step: int, state: State) -> Point:
    """The point at a step, with its entry in the history; the caller is told of it."""
    entry = plan.measure(step, state.params)
    if not np.isfinite(entry[LOSS]):
        raise _failure(plan, point)
    host = to_host(state)
    best, kept = point.best, point.kept
    now, least = (
        np.nan_to_num(e[VALIDATION_LOSS], nan=np.inf) for e in (entry, point.entries[best])
    )
    if plan.patience is not None and now < least:
        best, kept = len(point.entries), host.params
    point = Point(step, host, (*point.entries, entry), best, kept)
    if plan.store is not None and (len(point.entries) - 1) % plan.store.every == 0:
        plan.store.save(point)
    if plan.progress is not None:
        plan.progress(step, point.history)
    return point


def _failure(plan: Plan, point: Point) -> NonFiniteError:
    """The steps after a point are taken again, up to the first that leads to no finite numbers."""
    state, step = to_device(point.state, plan.mesh), point.step
    with closing(plan.pieces(point.step)) as steps:
        for piece in steps:
            good, state = last_finite(state, *_arguments(plan, piece), **plan.static)
            step = piece.begin + int(good)
            if step < piece.stop:
                break
    return NonFiniteError(step, to_device(to_host(state)).params)


def _result(plan: Plan, point: Point, stopped: str) -> FitResult:
    step, params = point.step, point.state.params
    if plan.patience is not None:
        step, params = int(point.entries[point.best][0]), point.kept
    state = to_device(State(params, point.state.opt_state))
    return FitResult(state.params, state.opt_state, point.history, step, stopped)

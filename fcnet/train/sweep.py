"""`sweep`: many networks of one architecture, trained in one compiled program.

The members are trained in groups. How many go through a step together is a question of size: small
layers gain, since their step mostly costs the start of its operations; wide ones lose, since the
members' arrays evict each other from the caches. So a group fits the caches, and there are at least
as many groups as cores or devices, which work on them side by side: XLA does not split a small step
over the cores of a CPU.
"""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from threading import Event, Lock
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num

from fcnet.checks import as_count, check_untraced
from fcnet.keys import fold_in, split_keys
from fcnet.losses import as_objective, warn_of_link
from fcnet.train.data import (
    Table,
    as_data,
    evaluated_rows,
    hold_out,
    on_device,
    sample_rows,
)
from fcnet.train.derivatives import warn_of_derivatives
from fcnet.train.members import Members, as_members
from fcnet.train.objective import as_gradient, evaluate
from fcnet.train.optimizer import (
    Hyperparameters,
    as_factory,
    check_factory,
    check_optimizer,
    named,
    start_state,
)
from fcnet.train.precision import Precision, as_precision
from fcnet.train.program import advance, all_finite, check_own_gradient
from fcnet.train.schedule import Schedule, Spacing, as_schedule, check_progress
from fcnet.train.source import Source, as_sampling, drawn, windows
from fcnet.train.types import Batches, Data, History, Optimizer, Program, State, Window
from fcnet.types import Activation, Loss, Objective, Pairs, Params

GROUP_NUMBERS = {"cpu": 2**16}
"""By platform, how many numbers the parameters and activations of a group have at most: on a CPU
what its caches hold; elsewhere, where only many at once are fast, 2^28."""


class SweepResult(NamedTuple):
    """What `sweep` returns for K members.

    Attributes:
        params: the parameters after the last step, with an axis of members in front.
        opt_state: the states of the optimiser after the last step, likewise.
        history: `step` has one entry for each evaluation. The others have one row for each, with a
            column for each member: NaN once its parameters, or arrays of its optimiser, are not
            finite.
        finite: whether each member stayed finite.
        best: the finite member with the least validation loss in any evaluation; with the least
            training loss, if no examples are held out; None if no member is finite.
        best_params: the parameters of that member at that evaluation, which may be earlier than the
            last step; None if no member is finite.
    """

    params: Params
    opt_state: optax.OptState
    history: History
    finite: Bool[np.ndarray, " K"]
    best: int | None
    best_params: Params | None

    def member(self, k: int) -> Params:
        """The parameters of member k after the last step; k < 0 counts from the end.

        Raises:
            ValueError: for a k of no member, for which JAX would take the nearest one.
        """
        K = len(self.finite)
        k = as_count("k", k, least=-K, most=K - 1)
        return jax.tree.map(lambda leaf: leaf[k], self.params)


def sweep(
    params: Pairs,
    X: Num[ArrayLike, "n d"],
    Y: Num[ArrayLike, "n m_r"],
    *,
    key: Array,
    batch_size: int | None = None,
    steps: int,
    optimizer: str | Optimizer | optax.MultiSteps = "adam",
    hyperparameters: Mapping[str, ArrayLike] | None = None,
    gradient: str | Callable[..., Params] = "backprop",
    sampling: str = "algorithm2",
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
    loss: str | Loss = "squared_error",
    weights: Num[ArrayLike, " n"] | None = None,
    validation: float | tuple[ArrayLike, ...] | None = None,
    evaluate_every: Spacing = 1000,
    precision: str | None = None,
    progress: Callable[[float], Any] | None = None,
) -> SweepResult:
    """Train K networks at once: initialisations, seeds and hyper-parameters side by side.

    What varies has an axis of K members in front; anything else is the same for all. Member k ends
    where `fit` ends with its parameters, key and hyper-parameters, up to rounding. A member that
    diverges does not stop the others.

    Args:
        params: the networks to start from, `jax.vmap(partial(fcnet.init, sizes=sizes))(keys)`; or
            one network, from which all members start.
        X, Y, batch_size, steps, optimizer, gradient, sampling, activation, output_activation, loss,
            weights, evaluate_every, precision: as in `fit`. X and Y are arrays in memory.
        key: K keys, `jax.random.split(key, K)`, so that each member draws its own batches; or one
            key, with which all draw the same batches.
        hyperparameters: for each name K numbers or one. Defaults as in `fit`.
        validation: as in `fit`. A share is drawn by the first key, for all members alike.
        progress: called after each evaluation of a group of members, as progress(share), where
            share is the part of the work that is done, from 0 to 1; in the thread that did it, one
            call at a time. The groups are not at one step, so that there is no step and no history
            to give, as in `fit`.

    Returns:
        A `SweepResult`.

    Raises:
        ValueError, TypeError: as `fit`; for different numbers of members, or if nothing varies.

    >>> from fcnet.types import Layer
    >>> X = jnp.linspace(-1, 1, 8)[:, None]
    >>> start = (Layer(jnp.zeros((1, 1)), jnp.zeros(1)),)
    >>> rates = {"learning_rate": jnp.array([0.3, 1e-3, 30.0])}
    >>> result = sweep(start, X, 2 * X + 1, key=jax.random.key(0), batch_size=4, steps=200,
    ...                optimizer="sgd", hyperparameters=rates)
    >>> result.best, result.finite.tolist()
    (0, [True, True, False])

    The members share the cores of a CPU, or the devices if there are several. The twin is
    `jax.vmap` over a training loop.
    """
    check_untraced("sweep", (params, hyperparameters), X, Y, key, weights)
    arithmetic = as_precision(precision)
    with arithmetic.scope():
        objective = as_objective(activation, output_activation, loss)
        warn_of_link(objective.output_activation, objective.loss)
        chosen, defaults = as_factory(optimizer)
        numbers = {**defaults, **named(hyperparameters)}
        members = as_members(params, key, numbers, arithmetic.dtype)
        first = members.first()
        check_factory(chosen, {name: float(n) for name, n in first.hyperparameters.items()})
        check_optimizer(chosen, first.hyperparameters, first.params)
        program = Program(objective, as_gradient(gradient), arithmetic.compute, chosen)
        schedule = as_schedule(steps, evaluate_every)
        check_progress(progress, "the share of the work that is done")
        split_key, _, sample_key = split_keys(first.keys, 3)
        if isinstance(X, np.memmap) or isinstance(Y, np.memmap):
            raise TypeError("sweep needs its data in memory: load X and Y with np.asarray")
        table = on_device(as_data(first.params, X, Y, weights, objective))
        table, held_out = hold_out(table, validation, split_key, first.params, objective)
        seen = sample_rows(table, evaluated_rows(first.params), sample_key)
        B = as_sampling(sampling, table.n, batch_size)
        plan = _Plan(
            program=program,
            precision=arithmetic,
            members=members,
            table=table,
            sampling=sampling,
            batch_size=B,
            seen=seen,
            held_out=held_out,
            schedule=schedule,
        )
        if not isinstance(gradient, str):
            window = jax.eval_shape(lambda: plan.source(first.keys).load(0))
            check_own_gradient(program, first.params, window)
        if gradient != "autodiff":
            warn_of_derivatives(objective, seen.Y)
        parts = groups(members, B)
        states, kept, measured = zip(*_run(plan, parts, progress), strict=True)
        states, kept = jax.device_get((states, kept))
        return _result(plan, states, kept, np.concatenate(measured, axis=2))


class _Plan(NamedTuple):
    """All that a sweep does, with its arguments checked."""

    program: Program
    precision: Precision
    members: Members
    table: Table
    sampling: str
    batch_size: int
    seen: Data
    held_out: Data | None
    schedule: Schedule

    @property
    def ranked(self) -> int:
        """The row of what `measure_members` returns by which members are ranked."""
        return 0 if self.held_out is None else 2

    def source(self, keys: Array, device: jax.Device | None = None) -> Source:
        """The batches that members with these keys draw from the data, on their device.

        `fit` draws them with the second of the three keys that it makes of its own.
        """
        data: Data
        data, draw_keys = jax.device_put((self.table.resident, fold_in(keys, 1)), device)
        return drawn(on_device(data), self.sampling, draw_keys, self.batch_size)


class Kept(NamedTuple):
    """The parameters of members with their least loss so far, and that loss."""

    params: Params
    loss: Float[Array, " K"]


class Group(NamedTuple):
    """Members first..last-1, and their device."""

    first: int
    last: int
    device: jax.Device

    def take(self, members: Members) -> Members:
        """A copy of these members on their device; a key that all share stays one key."""
        part = partial(jax.tree.map, lambda leaf: leaf[self.first : self.last])
        params, numbers = part((members.params, members.hyperparameters))
        keys = part(members.keys) if members.own_keys else members.keys
        # A slice of all members would be no copy, and the caller's arrays would be donated.
        return Members(*jax.device_put((params, keys, numbers), self.device, may_alias=False))


def workers() -> int:
    """How many groups are trained side by side: one for each device, or for each core of a CPU."""
    devices = jax.local_device_count()
    if jax.default_backend() != "cpu":
        return devices
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(devices, cores)


def groups(members: Members, rows: int) -> list[Group]:
    """The members in as few groups as fit, of sizes that differ by at most one, for `rows` a step.

    >>> from fcnet import init
    >>> many = jax.vmap(partial(init, sizes=(784, 256, 10)))(jax.random.split(jax.random.key(0), 3))
    >>> [group.last for group in groups(Members(many, jax.random.key(0), {}), rows=128)]
    [1, 2, 3]
    """
    params, K = members.params, len(members.params[0].b)
    numbers = sum(leaf[0].size for leaf in jax.tree.leaves(params))
    numbers += rows * (params[0].W.shape[2] + sum(b.shape[1] for _, b in params))
    most = max(1, GROUP_NUMBERS.get(jax.default_backend(), 2**28) // numbers)
    total = min(K, max(workers(), -(-K // most)))
    cuts = np.linspace(0, K, total + 1).astype(int).tolist()
    devices = jax.local_devices()
    return [Group(cuts[g], cuts[g + 1], devices[g % len(devices)]) for g in range(total)]


def _run(
    plan: _Plan, parts: list[Group], progress: Callable[[float], Any] | None
) -> list[tuple[State, Kept, np.ndarray]]:
    """The result of every group; as many at a time as there are cores or devices."""
    ended, done, turn = Event(), count(1), Lock()
    total = len(parts) * len(plan.schedule.evaluated)

    def report() -> None:
        if progress is not None:
            with turn:
                progress(next(done) / total)

    with ThreadPoolExecutor(workers(), "fcnet-sweep") as pool:
        try:
            return list(pool.map(lambda group: _train(plan, group, report, ended), parts))
        finally:
            ended.set()


def _train(
    plan: _Plan, group: Group, report: Callable[[], None], ended: Event
) -> tuple[State, Kept, np.ndarray]:
    """A group's last state, what is kept, and what was measured, (evaluations, 4, members).

    `report` is called after each evaluation. A group stops after a block once the sweep has ended,
    by an error or Ctrl-C; what it returns then is not read.
    """
    with plan.precision.scope():
        program, members = plan.program, group.take(plan.members)
        seen, held_out = jax.device_put((plan.seen, plan.held_out), group.device)
        numbers = members.hyperparameters
        begin = partial(start_state, program.optimizer)
        state = State(members.params, jax.vmap(begin)(numbers, members.params))
        measure = partial(
            measure_members, seen=seen, held_out=held_out, objective=program.objective
        )
        measured: list[np.ndarray] = []
        kept = Kept(
            jax.tree.map(jnp.copy, state.params), jnp.full(group.last - group.first, jnp.inf)
        )

        def keep(kept: Kept, state: State) -> Kept:
            entry = measure(state)
            absent = ((0, 4 - len(entry)), (0, 0))
            measured.append(np.pad(np.asarray(entry), absent, constant_values=np.nan))
            return keep_better(kept, Kept(state.params, entry[plan.ranked]))

        if plan.schedule.evaluates(0):
            kept = keep(kept, state)
            report()
        source = plan.source(members.keys, group.device)
        for block, window in windows(source, 0, plan.schedule, plan.precision.scope):
            state = advance_members(program, state, window, numbers, own=members.own_keys)
            if plan.schedule.evaluates(block + int(window.last)):
                kept = keep(kept, state)
                report()
            if ended.is_set():
                break
        return state, kept, np.array(measured)


@partial(jax.jit, static_argnames=("program", "own"), donate_argnames="state")
def advance_members(
    program: Program, state: State, window: Window, hyperparameters: Hyperparameters, *, own: bool
) -> State:
    """`advance` for every member, with its own batches, or all with the same.

    Rows are gathered step by step: those of all members are already many at once.
    """

    def one(state: State, batches: Batches | None, numbers: Hyperparameters) -> State:
        part = window._replace(batches=batches)
        return advance(program, state, part, numbers, gather_ahead=False)

    axes = (0, 0 if own else None, 0)
    return jax.vmap(one, in_axes=axes)(state, window.batches, hyperparameters)


@partial(jax.jit, static_argnames="objective")
def measure_members(
    state: State, seen: Data, held_out: Data | None, *, objective: Objective
) -> Float[Array, "rows K"]:
    """Each member's loss and metric, and those on the held-out examples; NaN once it diverged.

    Without held-out examples there are two rows, since JAX's flag debug_nans stops at each NaN.
    """

    def one(state: State) -> Array:
        parts = (seen,) if held_out is None else (seen, held_out)
        measured = jnp.stack([m for part in parts for m in evaluate(objective, state.params, part)])
        return jnp.where(all_finite(state.arrays), measured, jnp.nan)

    return lax.map(one, state).T


@jax.jit
def keep_better(kept: Kept, now: Kept) -> Kept:
    """For each member the parameters with the less loss; the earlier ones where the later is NaN.

    >>> from fcnet.types import Layer
    >>> layers = [(Layer(jnp.full((2, 1, 1), k), jnp.full((2, 1), k)),) for k in (0.0, 1.0)]
    >>> kept = keep_better(Kept(layers[0], jnp.array([3.0, 5.0])),
    ...                    Kept(layers[1], jnp.array([jnp.nan, 4.0])))
    >>> kept.params[0].b[:, 0].tolist(), kept.loss.tolist()
    ([0.0, 1.0], [3.0, 4.0])
    """

    def one(kept: Kept, now: Kept) -> Kept:
        better = now.loss < kept.loss
        return jax.tree.map(lambda old, new: jnp.where(better, new, old), kept, now)

    return jax.vmap(one)(kept, now)


def _result(
    plan: _Plan, states: tuple[State, ...], parts: tuple[Kept, ...], measured: np.ndarray
) -> SweepResult:
    """The parts of the groups put together, and the best member."""
    params, opt_state = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *states)
    kept = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    history = History(
        np.array(plan.schedule.evaluated, float), *measured.astype(float).swapaxes(0, 1)
    )
    finite = np.isfinite(history.loss).all(0)
    if not finite.any():
        return SweepResult(params, opt_state, history, finite, None, None)
    best = int(np.where(finite, kept.loss, np.inf).argmin())
    best_params = jax.tree.map(lambda leaf: leaf[best], kept.params)
    return SweepResult(params, opt_state, history, finite, best, best_params)

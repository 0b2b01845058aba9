"""`sweep`: many networks of one architecture, trained in one compiled program."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from threading import Event
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Num

from fcnet.checks import as_count
from fcnet.sampling import INT32_MAX
from fcnet.train.data import Table, as_table, hold_out, on_device, sample_rows
from fcnet.train.groups import Group, advance_members, groups, measure_members, workers
from fcnet.train.history import History
from fcnet.train.loop import Data, State
from fcnet.train.members import Members, as_members
from fcnet.train.objective import Objective, as_objective
from fcnet.train.optimizer import Hyperparameters, Optimizer, as_optimizer, build
from fcnet.train.precision import Precision, as_precision
from fcnet.train.problem import evaluated
from fcnet.train.source import drawn, pieces
from fcnet.types import Activation, Loss, Params


class SweepResult(NamedTuple):
    """What a sweep of K members leaves.

    `params` and `opt_state` have an axis of members in front. `history.step` has an entry for each
    evaluation, and the others a row each, with a column for every member: NaN once its parameters
    are not finite. `finite` says which members got through; `best` is the one of them with the
    least validation loss in the end, or training loss where no data are held out; None if none did.
    """

    params: Params
    opt_state: optax.OptState
    history: History
    finite: Bool[np.ndarray, " K"]
    best: int | None

    def member(self, k: int) -> Params:
        """The parameters of member k."""
        return jax.tree.map(lambda leaf: leaf[k], self.params)


def sweep(
    params: Any,
    X: Num[ArrayLike, "n d"],
    Y: Num[ArrayLike, "n m_r"],
    *,
    key: Array,
    batch_size: int,
    steps: int,
    optimizer: str | Optimizer = "adam",
    hyperparameters: Mapping[str, ArrayLike] | None = None,
    gradient: str = "backprop",
    sampling: str = "algorithm2",
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
    loss: str | Loss = "squared_error",
    weights: Num[ArrayLike, " n"] | None = None,
    validation: float | tuple[ArrayLike, ...] | None = None,
    evaluate_every: int = 1000,
    precision: str | None = None,
    progress: Callable[[float], Any] | None = None,
) -> SweepResult:
    """Train K networks at once: initialisations, seeds and hyper-parameters side by side.

    What varies has an axis of K members in front; what has none is the same for all. Member k does
    what `fit` does with its parameters, its key and its numbers, and ends where that does, up to
    rounding. A member that diverges does not stop the others; `finite` tells.

    Args:
        params: the networks to start from, `jax.vmap(partial(fcnet.init, sizes=sizes))(keys)`; or
            one, from which all start.
        X, Y, batch_size, steps, optimizer, gradient, sampling, activation, output_activation, loss,
            weights, evaluate_every, precision: as in `fit`.
        key: K keys, `jax.random.split(key, K)`, so that each draws batches of its own; or one, and
            all see the same batches.
        hyperparameters: for each name K numbers, or one.
        validation: as in `fit`, but the share is drawn by the first key, for all members alike.
        progress: called after each evaluation with the share of the work that is done, by the
            thread that did it.

    Returns:
        A `SweepResult`.

    Raises:
        ValueError, TypeError: as `fit`; where the numbers of members differ, or nothing varies.

    >>> from fcnet.types import Layer
    >>> X = jnp.linspace(-1, 1, 8)[:, None]
    >>> start = (Layer(jnp.zeros((1, 1)), jnp.zeros(1)),)
    >>> rates = {"learning_rate": jnp.array([0.3, 1e-3, 30.0])}
    >>> result = sweep(start, X, 2 * X + 1, key=jax.random.key(0), batch_size=4, steps=200,
    ...                optimizer="sgd", hyperparameters=rates)
    >>> result.best, result.finite.tolist()
    (0, [True, True, False])

    The members share the cores of a CPU, or the devices where there are several. The twin is
    `jax.vmap` over a training loop.
    """
    arithmetic = as_precision(precision)
    with arithmetic.scope():
        objective = as_objective(activation, output_activation, loss, gradient, arithmetic.compute)
        members = as_members(params, key, hyperparameters, arithmetic.dtype)
        first = members.first()
        numbers = {name: float(value) for name, value in first.hyperparameters.items()}
        chosen, _ = as_optimizer(optimizer, numbers)
        steps = as_count("steps", steps, least=0, most=INT32_MAX)
        every = as_count("evaluate_every", evaluate_every, least=1)
        if progress is not None and not callable(progress):
            raise TypeError(f"progress must be a function of a share, got {progress!r}")
        split_key, _, sample_key = jax.random.split(first.keys, 3)
        table = as_table(first.params, X, Y, weights, objective)
        if table.resident is None:
            raise TypeError("sweep needs its data in memory: load X and Y with np.asarray")
        table, held_out = hold_out(table, validation, split_key, first.params, objective)
        drawn(table, sampling, first.keys, batch_size)  # refuses what cannot be drawn
        plan = _Plan(
            objective=objective,
            optimizer=chosen,
            precision=arithmetic,
            members=members,
            table=table,
            sampling=sampling,
            batch_size=batch_size,
            seen=sample_rows(table, evaluated(first.params), sample_key),
            held_out=held_out,
            steps=steps,
            evaluate_every=every,
        )
        parts = groups(members, table.n if sampling == "full" else batch_size)
        states, measured = zip(*_run(plan, parts, progress), strict=True)
        return _result(plan, jax.device_get(states), np.concatenate(measured, axis=2))


class _Plan(NamedTuple):
    """All that a sweep does, once its arguments are checked."""

    objective: Objective
    optimizer: Optimizer
    precision: Precision
    members: Members
    table: Table
    sampling: str
    batch_size: int
    seen: Data
    held_out: Data | None
    steps: int
    evaluate_every: int

    @property
    def evaluated(self) -> list[int]:
        """The steps after which the members are evaluated."""
        return sorted({*range(0, self.steps, self.evaluate_every), self.steps})


def _run(
    plan: _Plan, parts: list[Group], progress: Callable[[float], Any] | None
) -> list[tuple[State, np.ndarray]]:
    """Every group's outcome, as many at a time as there are cores or devices."""
    ended, turns = Event(), count(1)
    total = len(parts) * len(plan.evaluated)

    def told() -> bool:
        if progress is not None:
            progress(next(turns) / total)
        return not ended.is_set()

    with ThreadPoolExecutor(workers(), "fcnet-sweep") as pool:
        try:
            return list(pool.map(lambda group: _train(plan, group, told), parts))
        finally:
            ended.set()


def _train(plan: _Plan, group: Group, told: Callable[[], bool]) -> tuple[State, np.ndarray]:
    """A group's last state, and what was measured, of shape (evaluations, 4, members).

    `told` is called after each evaluation, and says whether to go on.
    """
    with plan.precision.scope():
        members = group.take(plan.members)
        data: Data = jax.device_put(plan.table.resident, group.device)
        seen, held_out = jax.device_put((plan.seen, plan.held_out), group.device)
        numbers = members.hyperparameters
        state = jax.vmap(partial(_begin, plan.optimizer))(members.params, numbers)
        measure = partial(measure_members, seen=seen, held_out=held_out, objective=plan.objective)
        measured = [np.asarray(measure(state))]
        going = told()
        keys = _draw_keys(members.keys)
        source = drawn(on_device(data), plan.sampling, keys, plan.batch_size)
        for piece in pieces(source, 0, plan.steps, plan.evaluate_every, plan.precision.scope):
            state = advance_members(
                state, data, piece.chunk.batches,
                piece.start - piece.begin, piece.stop - piece.begin, numbers,
                objective=plan.objective, optimizer=plan.optimizer, own=members.own_keys,
            )  # fmt: skip
            if piece.stop % plan.evaluate_every == 0 or piece.stop == plan.steps:
                measured.append(np.asarray(measure(state)))
                going = told()
            if not going:
                break
        return state, np.stack(measured)


def _begin(optimizer: Optimizer, params: Params, numbers: Hyperparameters) -> State:
    return State(params, build(optimizer, numbers).init(params))


def _draw_keys(keys: Array) -> Array:
    """The key that batches are drawn with in `fit`: for one key, or for each member's."""
    return jax.random.split(keys, 3)[1] if keys.ndim == 0 else jax.vmap(_draw_keys)(keys)


def _result(plan: _Plan, states: tuple[State, ...], measured: np.ndarray) -> SweepResult:
    """The groups' states put together, and who is best."""
    params, opt_state = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *states)
    history = History(np.array(plan.evaluated, float), *measured.astype(float).swapaxes(0, 1))
    final = history.loss if plan.held_out is None else history.validation_loss
    finite = np.isfinite(history.loss).all(0)
    ranked = np.where(finite, np.nan_to_num(final[-1], nan=np.inf), np.inf)
    best = int(ranked.argmin()) if finite.any() else None
    return SweepResult(params, opt_state, history, finite, best)

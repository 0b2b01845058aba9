"""The compiled block of steps: a loop over batches that were drawn before it.

The number of steps is an argument, so a shorter last block needs no other program; so are the
optimiser's hyper-parameters, so another learning rate needs none either.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Int

from fcnet.train.batches import Batches
from fcnet.train.mesh import keep_placed, keep_split
from fcnet.train.objective import Objective, batch_gradient, batch_loss
from fcnet.train.optimizer import Hyperparameters, Optimizer, build
from fcnet.types import Params

T = TypeVar("T")

RUNS = {"gpu": (32, 4)}
"""By platform, the steps of a run, and how many of them are one iteration of the compiled loop.

A GPU's loop of a length that is known only once it starts asks the host after each iteration
whether to go on, which takes longer than the step of a small network. Elsewhere it does not. The
steps left over are compiled apart, and may be rounded otherwise.
"""

AHEAD = {"cpu": 2**18}
"""By platform, how many bytes of rows are gathered at once, for as many steps as they make.

A row of a table that no cache holds comes late, but many that are asked for together come hardly
later than one. Elsewhere, and where one step takes more, they are gathered step by step.
"""

COPIED = 4096
"""Up to this many numbers, a copy costs less than to wait for the other layers."""


class State(NamedTuple):
    """What a step turns into the next: the parameters, and what the optimiser remembers."""

    params: Params
    opt_state: optax.OptState


class Data(NamedTuple):
    """Examples and targets as rows, and their weights, or None where all weigh the same.

    In a chunk that was loaded, there is an axis of steps before that of the rows.
    """

    X: Float[Array, "*steps n d"]
    Y: Float[Array, "*steps n m_r"]
    weights: Float[Array, "*steps n"] | None


def take(data: Data, batches: Batches | None, i: Array) -> Data:
    """The batch of step i of the block; all the data where they are not cut into batches."""
    if batches is None:
        return data if data.X.ndim == 2 else jax.tree.map(lambda rows: rows[i], data)
    return gather(data, jax.tree.map(lambda table: table[i], batches))


def gather(data: Data, batches: Batches) -> Data:
    """The rows that a step takes, or those of several steps, with an axis of steps in front."""
    rows = batches.indices
    weights = None if data.weights is None else data.weights[rows]
    if batches.mask is not None:
        mask = batches.mask.astype(data.X.dtype)
        weights = mask if weights is None else weights * mask
    return Data(data.X[rows], data.Y[rows], weights)


def descend(
    state: State,
    batch: Data,
    *,
    objective: Objective,
    optimizer: optax.GradientTransformation,
) -> State:
    """One step: the batch's gradient, through the optimiser, added to the parameters."""
    gradient = in_place(batch_gradient(objective, state.params, *batch))
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    return State(optax.apply_updates(state.params, updates), opt_state)


def in_place(gradient: Params) -> Params:
    """The gradient, of which no large array is ready before the last of it, that of layer 1.

    By then nothing reads the weights any more, and they are updated where they lie. Otherwise XLA
    copies those of the layers above in each step: delta^[1] may come after their update.
    """
    last = 0 * gradient[0].b[0]  # to the compiler no 0, since it is NaN for a NaN
    return jax.tree.map(lambda leaf: leaf if leaf.size <= COPIED else leaf + last, gradient)


@partial(
    jax.jit, static_argnames=("objective", "optimizer", "mesh", "ahead"), donate_argnames="state"
)
def advance(
    state: State,
    data: Data,
    batches: Batches | None,
    first: int | Int[Array, ""],
    last: int | Int[Array, ""],
    hyperparameters: Hyperparameters,
    *,
    objective: Objective,
    optimizer: Optimizer,
    mesh: Mesh | None = None,
    ahead: bool = True,
) -> tuple[State, Bool[Array, ""]]:
    """The state after the steps first..last-1 of a block, and whether its parameters are finite.

    The memory of the state that comes in is used for the one that goes out. `ahead` is whether the
    rows of several steps may be gathered at once.
    """
    one = partial(descend, objective=objective, optimizer=build(optimizer, hyperparameters))

    def step(i: Array, state: State) -> State:
        return one(keep_placed(mesh, state), keep_split(mesh, take(data, batches, i)))

    length = steps_ahead(data, batches) if ahead and batches and mesh is None else 1
    if batches and length > 1:
        state = repeat_ahead(one, first, last, state, data, batches, length)
    else:
        state = keep_placed(mesh, repeat(step, first, last, state))
    return state, all_finite(state.params)


def steps_ahead(data: Data, batches: Batches) -> int:
    """For how many steps the rows are gathered at once: as many as AHEAD allows, and 1 if none."""
    block, batch_size = batches.indices.shape
    row = sum(leaf.size // len(leaf) * leaf.dtype.itemsize for leaf in jax.tree.leaves(data))
    return max(1, min(block, AHEAD.get(jax.default_backend(), 0) // (batch_size * row)))


def repeat_ahead(
    one: Callable[[State, Data], State],
    first: int | Int[Array, ""],
    last: int | Int[Array, ""],
    state: State,
    data: Data,
    batches: Batches,
    length: int,
) -> State:
    """`repeat` of a step on its batch, where the rows of `length` steps are gathered at once."""
    block = len(batches.indices)

    def run(k: Array, state: State) -> State:
        start = first + length * k
        begin = jnp.minimum(start, block - length)
        part = partial(lax.dynamic_slice_in_dim, start_index=begin, slice_size=length)
        rows = gather(data, jax.tree.map(part, batches))
        return lax.fori_loop(
            start,
            jnp.minimum(start + length, last),
            lambda i, state: one(state, take(rows, None, i - begin)),
            state,
        )

    return lax.fori_loop(0, -((first - last) // length), run, state)


def repeat(
    step: Callable[[Array, T], T],
    first: int | Int[Array, ""],
    last: int | Int[Array, ""],
    state: T,
) -> T:
    """`lax.fori_loop`; where RUNS has the platform, in runs of that length and then the rest."""
    platform = jax.default_backend()
    if platform not in RUNS:
        return lax.fori_loop(first, last, step, state)
    length, unroll = RUNS[platform]
    runs = (last - first) // length
    rest = first + length * runs

    def run(k: Array, state: T) -> T:
        start = first + length * k
        return lax.fori_loop(0, length, lambda i, s: step(start + i, s), state, unroll=unroll)

    return lax.fori_loop(rest, last, step, lax.fori_loop(0, runs, run, state))


@partial(jax.jit, static_argnames=("objective", "optimizer", "mesh"), donate_argnames="state")
def last_finite(
    state: State,
    data: Data,
    batches: Batches | None,
    first: int | Int[Array, ""],
    last: int | Int[Array, ""],
    hyperparameters: Hyperparameters,
    *,
    objective: Objective,
    optimizer: Optimizer,
    mesh: Mesh | None = None,
) -> tuple[Int[Array, ""], State]:
    """The same steps, up to the first that a finite loss and finite parameters do not survive.

    Returns the number in the block of the step that did not, and the state before it.
    """
    one = partial(descend, objective=objective, optimizer=build(optimizer, hyperparameters))

    def survive(carry: tuple[Array, State, Array]) -> tuple[Array, State, Array]:
        i, state = carry[0], keep_placed(mesh, carry[1])
        batch = keep_split(mesh, take(data, batches, i))
        after = one(state, batch)
        good = all_finite(after.params) & jnp.isfinite(batch_loss(objective, state.params, *batch))
        kept: State = jax.tree.map(lambda new, old: jnp.where(good, new, old), after, state)
        return i + good, kept, good

    i, state, _ = lax.while_loop(
        lambda carry: (carry[0] < last) & carry[2],
        survive,
        (jnp.asarray(first, jnp.int32), state, jnp.ones((), bool)),
    )
    return i, state


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Whether every entry of every array is finite."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()

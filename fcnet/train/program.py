"""The compiled loop over the steps of a window, whose batches were drawn before it.

The number of steps is an argument, so that a shorter last block needs no other program; so are the
hyper-parameters, so that a new learning rate does not recompile it.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jaxtyping import Bool, Int

from fcnet.checks import mismatch, reraise
from fcnet.train.mesh import keep_placed, keep_split
from fcnet.train.objective import batch_gradient, batch_loss, compute_gradient, differentiable_loss
from fcnet.train.optimizer import Hyperparameters, build, compute_updates, shape_of
from fcnet.train.types import Batches, Data, Program, State, Window
from fcnet.types import Params

T = TypeVar("T")

INNER_LOOPS: Mapping[str, Sequence[tuple[int, int, int]]] = {
    "gpu": ((2**20, 32, 4), (2**32, 32, 1))
}
"""By platform, rows of: the most work of a step, the length of an inner loop of fixed length, and
by how many steps it is unrolled. The work is the number of parameters times that of examples.

Where the length of a loop is known only at run time, the host of a GPU decides after each iteration
whether it ends; that takes longer than the step of a small network. The steps left over by the
inner loops are compiled separately and may be rounded differently. A step of more work than in any
row, or of a block shorter than the inner loop, is compiled once, as on other platforms: in one loop
of all steps. Every copy of a step of a medium network takes seconds to compile.
"""

GATHER_BYTES = {"cpu": 2**18}
"""By platform, how many bytes of rows are gathered at once, for several steps.

Rows of a table that is larger than the caches come late, but many rows that are asked for together
come hardly later than one. Other platforms gather the rows of each step by themselves, and so does
a CPU from a table of no more bytes, which takes a quarter less time to compile.
"""

SMALL_ARRAY = 4096
"""An array of up to this many numbers is copied faster than it waits for the other layers."""


def rows_of_step(window: Window, i: Array) -> Data:
    """The batch of step i of the block."""
    data, batches = window.data, window.batches
    if batches is None:
        return data if data.X.ndim == 2 else jax.tree.map(lambda rows: rows[i], data)
    return gather(data, jax.tree.map(lambda table: table[i], batches))


def gather(data: Data, batches: Batches) -> Data:
    """The rows of one step, or of several, with an axis of steps in front."""
    rows = batches.indices
    weights = None if data.weights is None else data.weights[rows]
    if batches.mask is not None:
        mask = batches.mask.astype(data.X.dtype)
        weights = mask if weights is None else weights * mask
    return Data(data.X[rows], data.Y[rows], weights)


def descend(
    program: Program, optimizer: optax.GradientTransformation, state: State, batch: Data
) -> State:
    """One step: the batch's gradient, through the optimiser, added to the parameters."""
    params = state.params
    gradient = in_place(batch_gradient(program, params, batch))
    value, value_fn = batch_loss(program, params, batch), differentiable_loss(program, batch)
    updates, opt_state = compute_updates(
        optimizer, gradient, state.opt_state, params, value, value_fn
    )
    return State(optax.apply_updates(params, updates), opt_state)


def in_place(gradient: Params) -> Params:
    """The gradient, with every large array made to wait for the last one, that of layer 1.

    By then nothing reads the weights any more, and they are updated where they lie. Without this,
    XLA copies the weights of the layers above in each step, since delta^[1] may be computed after
    their update.
    """
    last = 0 * gradient[0].b[0]  # not 0 to the compiler, since it is NaN for a NaN
    return jax.tree.map(lambda leaf: leaf if leaf.size <= SMALL_ARRAY else leaf + last, gradient)


def check_own_gradient(program: Program, params: Params, window: Window) -> None:
    """Raise unless the gradient of a batch of the window is like the parameters.

    Nothing is computed: the gradient is only traced.
    """

    def of_first(params: Params, window: Window) -> Any:
        return compute_gradient(program, params, rows_of_step(window, jnp.int32(0)))

    try:
        computed = jax.eval_shape(of_first, params, window)
    except (TypeError, ValueError) as error:
        reraise(
            error,
            "gradient must be a function like fcnet.batch_backprop, called as gradient(params, X, "
            "Y, activation=..., output_activation=..., loss=..., weights=...), that JAX can trace: "
            f"of jax.numpy, not numpy. It raised {type(error).__name__}: {error}",
        )
    dtype = params[0].W.dtype
    like_params = jax.tree.map(
        lambda g: g.update(dtype=dtype) if jnp.issubdtype(g.dtype, jnp.floating) else g, computed
    )
    if difference := mismatch(like_params, params):
        raise ValueError(
            "gradient must return the structure and the shapes of params in a floating dtype: "
            f"{difference}"
        )


@partial(jax.jit, static_argnames=("program", "gather_ahead"), donate_argnames="state")
def advance(
    program: Program,
    state: State,
    window: Window,
    hyperparameters: Hyperparameters,
    gather_ahead: bool = True,
) -> State:
    """The state after the steps of a window.

    The memory of the given state is used for the new one. `gather_ahead` is whether the rows of
    several steps may be gathered at once.
    """
    mesh = program.mesh
    one = partial(descend, program, build(program.optimizer, hyperparameters))

    def step(i: Array, state: State) -> State:
        return one(keep_placed(mesh, state), keep_split(mesh, rows_of_step(window, i)))

    length = steps_at_once(window) if gather_ahead and mesh is None else 1
    if length > 1:
        return repeat_gathered(one, window, state, length)
    inner = inner_loop(window, state.params)
    return keep_placed(mesh, repeat(step, window.first, window.last, state, inner))


def compile_ahead(
    program: Program, state: State, window: Window, hyperparameters: Hyperparameters
) -> Future[Any]:
    """Compile `advance` in a thread of its own, once for windows whose arrays have these shapes."""
    leaves, structure = jax.tree.flatten((state, window, hyperparameters))
    key = program, structure, tuple(map(shape_of, leaves))
    compiling = _compiling(*key)
    if compiling.done() and compiling.exception() is not None:  # there may be memory for it now
        _compiling.cache_clear()
        compiling = _compiling(*key)
    return compiling


@lru_cache(maxsize=64)
def _compiling(program: Program, structure: Any, leaves: tuple[Any, ...]) -> Future[Any]:
    lowered = advance.lower(program, *structure.unflatten(leaves))
    pool = ThreadPoolExecutor(1, "fcnet-compile")
    compiling = pool.submit(lowered.compile)
    pool.shutdown(wait=False)
    return compiling


def steps_at_once(window: Window) -> int:
    """For how many steps rows are gathered at once: as many as GATHER_BYTES allows, at least 1."""
    n, leaves = len(window.data.X), jax.tree.leaves(window.data)
    row = sum(leaf.size // n * leaf.dtype.itemsize for leaf in leaves)
    most = GATHER_BYTES.get(jax.default_backend(), 0)
    if window.batches is None or n * row <= most:
        return 1
    block, batch_size = window.batches.indices.shape
    return max(1, min(block, most // (batch_size * row)))


def repeat_gathered(
    one: Callable[[State, Data], State], window: Window, state: State, length: int
) -> State:
    """`repeat` of a step on its batch, with the rows of `length` steps gathered at once."""
    data, batches, first, last = window
    assert batches is not None
    block = len(batches.indices)

    def run(k: Array, state: State) -> State:
        start = first + length * k
        begin = jnp.minimum(start, block - length)
        part = partial(lax.dynamic_slice_in_dim, start_index=begin, slice_size=length)
        rows = Window(gather(data, jax.tree.map(part, batches)), None, 0, length)
        return lax.fori_loop(
            start,
            jnp.minimum(start + length, last),
            lambda i, state: one(state, rows_of_step(rows, i - begin)),
            state,
        )

    return lax.fori_loop(0, -((first - last) // length), run, state)


def inner_loop(window: Window, params: Params) -> tuple[int, int] | None:
    """The length of the inner loop and by how many steps it is unrolled; None where there is none.

    >>> from fcnet.types import Layer
    >>> data = Data(jnp.ones((9, 1)), jnp.ones((9, 1)), None)
    >>> inner_loop(Window(data, None, 0, 9), (Layer(jnp.ones((1, 1)), jnp.ones(1)),)) is None
    True
    """
    X, batches = window.data.X, window.batches
    *steps, examples = X.shape[:-1] if batches is None else batches.indices.shape
    work = examples * sum(leaf.size for leaf in jax.tree.leaves(params))
    for most, length, unroll in INNER_LOOPS.get(jax.default_backend(), ()):
        if work <= most and (not steps or length <= steps[0]):
            return length, unroll
    return None


def repeat(
    step: Callable[[Array, T], T],
    first: int | Int[Array, ""],
    last: int | Int[Array, ""],
    state: T,
    inner: tuple[int, int] | None,
) -> T:
    """`lax.fori_loop`, or inner loops of fixed length and then the remaining steps."""
    if inner is None:
        return lax.fori_loop(first, last, step, state)
    length, unroll = inner
    runs = (last - first) // length
    rest = first + length * runs

    def run(k: Array, state: T) -> T:
        start = first + length * k
        return lax.fori_loop(0, length, lambda i, s: step(start + i, s), state, unroll=unroll)

    return lax.fori_loop(rest, last, step, lax.fori_loop(0, runs, run, state))


@partial(jax.jit, static_argnames="program", donate_argnames="state")
def last_finite(
    program: Program, state: State, window: Window, hyperparameters: Hyperparameters
) -> tuple[Int[Array, ""], State]:
    """The steps of a window up to the first with a loss or a state that is not finite.

    Returns the number of that step in the block, or `last`, and the state before it.
    """
    mesh = program.mesh
    one = partial(descend, program, build(program.optimizer, hyperparameters))

    def survive(carry: tuple[Array, State, Array]) -> tuple[Array, State, Array]:
        i, state = carry[0], keep_placed(mesh, carry[1])
        batch = keep_split(mesh, rows_of_step(window, i))
        after = one(state, batch)
        loss = batch_loss(program, state.params, batch)
        good = all_finite(after.arrays) & jnp.isfinite(loss)
        kept: State = jax.tree.map(lambda new, old: jnp.where(good, new, old), after, state)
        return i + good, kept, good

    i, state, _ = lax.while_loop(
        lambda carry: (carry[0] < window.last) & carry[2],
        survive,
        (jnp.asarray(window.first, jnp.int32), state, jnp.ones((), bool)),
    )
    return i, state


@jax.jit
def all_finite(tree: Any) -> Bool[Array, ""]:
    """Whether every entry of every array is finite."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()

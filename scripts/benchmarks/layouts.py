"""Forms of a step of many networks on a GPU, beside the loop of `fcnet.sweep`.

Each form trains K networks by SGD, each with a learning rate and batches of its own, to the same
parameters. The batches are drawn before: a step gathers rows, computes gradients and updates. All
forms together take less than three minutes.

"Over floor" is the time over the least one of exact float32 products (`floor` in gpu.py), so that
it may be below 1 in tensorfloat32. "Difference" is the largest distance of an array from that of
`fcnet.sweep`'s loop, over the norm of that one. The first form is that loop, beside itself.
"tf32 x 3" makes a float32 product of three in tensorfloat32, at nearly its precision.

Triton 3.9 compiles the kernel of 10-64-64-1 for an H100 as follows, in bytes that a thread puts
into memory for want of registers: exact products 7,600 with 4 warps, 3,160 with 8 and 344 with 16;
tensorfloat32 560 with 2 and none with 4; three times that 376 with 4 and none with 8.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from time import perf_counter
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jax.experimental import pallas
from jax.experimental.pallas import triton

import fcnet
from benchmarks.gpu import SWEEPS, floor, rates_of_device
from benchmarks.measure import Program, compare, name_case
from benchmarks.record import Row
from fcnet.losses import as_objective
from fcnet.train import types
from fcnet.train.optimizer import start_state
from fcnet.train.program import in_place
from fcnet.train.sweep import advance_members
from fcnet.types import Layer, Params

SECONDS = 70
"""After as many, no other form of a case is begun."""

STEPS = 128
TINY, TINY_STEPS = ((3, 5, 2), 16, 47, 16), 16
"""What `--quick` runs in their place: layer sizes, B, n, networks; and the steps."""

Form = Callable[[Params, Array, Array, Array, Array], Params]
"""Trains networks: params with K in front, X, Y, row numbers (K, steps, B) and rates (K,)."""

Step = Callable[[Any, Array, Array, Array], Any]
"""The parameters of all networks after a step on rows (K, B, d) and (K, B, m_r) at rates (K,)."""


PROGRAM = types.Program(
    as_objective("relu", "identity", "squared_error"), fcnet.batch_backprop, None, optax.sgd
)


def of_sweep(params: Params, X: Array, Y: Array, batches: Array, rates: Array) -> Params:
    """The loop of `fcnet.sweep`. It is not in another program, where its length was constant."""
    window = types.Window(types.Data(X, Y, None), types.Batches(batches, None), 0, batches.shape[1])
    numbers = {"learning_rate": rates}
    return advance_members(PROGRAM, started(params, numbers), window, numbers, own=True).params


@jax.jit
def started(params: Params, numbers: dict[str, Array]) -> types.State:
    """The state before the first step, in memory of its own, since the loop takes it."""
    opt_state = jax.vmap(partial(start_state, PROGRAM.optimizer))(numbers, params)
    return types.State(jax.tree.map(jnp.copy, params), opt_state)


@partial(jax.jit, static_argnames=("step", "axis", "unroll", "ahead"))
def in_one_loop(
    params: Params, X: Array, Y: Array, batches: Array, rates: Array, *,
    step: Step, axis: int = 0, unroll: int = 1, ahead: bool = False,
) -> Params:  # fmt: skip
    """A loop of steps, with the members at `axis` of the parameters.

    The rows of all steps are gathered ahead, or those of each step in it.
    """
    rows = batches.swapaxes(0, 1)

    def one(params: Params, given: Any) -> tuple[Params, None]:
        x, y = given if ahead else (X[given], Y[given])
        return step(params, x, y, rates), None

    moved = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, axis), params)
    trained, _ = lax.scan(one, moved, (X[rows], Y[rows]) if ahead else rows, unroll=unroll)
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, axis, 0), trained)


@partial(jax.jit, static_argnames="groups")
def in_groups(
    params: Params, X: Array, Y: Array, batches: Array, rates: Array, *, groups: int
) -> Params:
    """The networks in groups one after the other, so that a group fits the caches."""
    given = (params, batches, rates)
    parts = jax.tree.map(lambda leaf: leaf.reshape(groups, -1, *leaf.shape[1:]), given)
    train = partial(in_one_loop, step=members_at(0))
    trained = lax.map(lambda part: train(part[0], X, Y, *part[1:]), parts)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), trained)


def descend(params: Params, X: Array, Y: Array, rate: Array) -> Params:
    """A step of one network, as the trainer takes it."""
    gradient = in_place(fcnet.batch_backprop(params, X, Y))
    return jax.tree.map(lambda leaf, g: leaf - rate * g, params, gradient)


def by_hand(
    params: Params, X: Array, Y: Array, rate: Array, multiply: Callable[..., Array] = jnp.matmul
) -> Params:
    """A step of Algorithm 5 with examples in rows. All arrays may have the members behind."""
    A, Z = [X], []
    for W, b in params:
        Z.append(multiply(A[-1], W.swapaxes(0, 1)) + b)
        A.append(jnp.maximum(Z[-1], 0))
    D, trained = (Z[-1] - Y) / len(X), []
    for k in reversed(range(len(params))):
        W, b = params[k]
        dW = multiply(D.swapaxes(0, 1), A[k])
        trained.append(Layer(W - rate * dW, b - rate * D.sum(0)))
        if k:
            D = multiply(D, W) * (Z[k - 1] >= 0)
    return tuple(reversed(trained))


def members_at(axis: int, one: Step = descend) -> Step:
    """The step of one network for all, with the members at `axis` of the parameters."""
    return jax.vmap(one, in_axes=(axis, 0, 0, 0), out_axes=axis)


def members_behind(multiply: Callable[..., Array]) -> Step:
    """`by_hand` for all, with the members behind in every array."""

    def step(params: Params, x: Array, y: Array, rates: Array) -> Params:
        return by_hand(params, jnp.moveaxis(x, 0, -1), jnp.moveaxis(y, 0, -1), rates, multiply)

    return step


PRODUCTS = partial(jnp.einsum, "ijk,jlk->ilk")


def sums(A: Array, B: Array) -> Array:
    """PRODUCTS as sums, in which neighbouring threads work on neighbouring members."""
    return (A[:, :, None] * B).sum(1)


KERNEL_NUMBERS = 2**14
"""How many parameters the registers of a program hold."""


@partial(jax.jit, static_argnames="warps")
def in_a_kernel(
    params: Params, X: Array, Y: Array, batches: Array, rates: Array, *, warps: int
) -> Params:
    """All steps in one kernel, with a program for each network that holds its parameters.

    Triton's arrays have powers of two as sizes, and its products at least 16. So widths are padded.

    Raises:
        ValueError: for a network that is too large, or a batch size that is no such number.
    """
    K, steps, B = batches.shape
    wide, X, Y = jax.tree.map(padded, (params, X, Y))
    numbers = sum(leaf[0].size for leaf in jax.tree.leaves(wide))
    if numbers > KERNEL_NUMBERS:
        raise ValueError(f"{numbers:,} parameters, more than the {KERNEL_NUMBERS:,} of a kernel")
    if power_of_two(B) != B:
        raise ValueError(f"B must be 16, 32, 64, ... for a kernel, got {B}")

    def train(params: Any, X: Any, Y: Any, batches: Any, rate: Any, *trained: Any) -> None:
        def step(i: Array, params: Params) -> Params:
            rows = batches[i]
            return by_hand(params, X[rows], Y[rows], rate[...])

        last = lax.fori_loop(0, steps, step, jax.tree.map(lambda ref: ref[...], params))
        for ref, leaf in zip(*map(jax.tree.leaves, (trained, last)), strict=True):
            ref[...] = leaf

    def of_member(leaf: Array) -> Any:
        return pallas.BlockSpec((None, *leaf.shape[1:]), lambda k: (k, *[0] * (leaf.ndim - 1)))

    ours, table, rate = jax.tree.map(of_member, (wide, batches, rates))
    kernel = partial(
        pallas.pallas_call,
        train,
        out_shape=wide,
        grid=(K,),
        in_specs=(ours, pallas.BlockSpec(), pallas.BlockSpec(), table, rate),
        out_specs=ours,
        compiler_params=triton.CompilerParams(num_warps=warps),
    )
    given = (wide, X, Y, batches, rates)
    trained = lax.platform_dependent(*given, cuda=kernel(), default=kernel(interpret=True))
    return jax.tree.map(lambda leaf, like: leaf[tuple(map(slice, like.shape))], trained, params)


def padded(leaf: Array) -> Array:
    """The array with zeros behind in all axes but the first, to powers of two."""
    return jnp.pad(leaf, [(0, 0), *((0, power_of_two(m) - m) for m in leaf.shape[1:])])


def power_of_two(m: int) -> int:
    """The least power of two that is at least m and 16."""
    return max(16, 1 << (m - 1).bit_length())


EXACT, TF32, TF32_X3 = "highest", "tensorfloat32", "TF32_TF32_F32_X3"


def form(train: Callable[..., Params], precision: str = EXACT, **choices: Any) -> Form:
    """The function with its choices and the precision of products, which is exact on a CPU."""

    def run(*given: Any) -> Params:
        found = precision if jax.default_backend() == "gpu" else EXACT
        with jax.default_matmul_precision(found):
            return train(*given, **choices)

    return run


OWN = "fcnet.sweep's loop"
FORMS: Mapping[str, Form] = MappingProxyType(
    {  # what may gain most comes first
        OWN: form(of_sweep),
        "vmap": form(in_one_loop, step=members_at(0)),
        "kernel, 4 warps, tf32 x 3": form(in_a_kernel, TF32_X3, warps=4),
        "kernel, 8 warps, tf32 x 3": form(in_a_kernel, TF32_X3, warps=8),
        "kernel, 4 warps, tf32": form(in_a_kernel, TF32, warps=4),
        "kernel, 16 warps": form(in_a_kernel, warps=16),
        "vmap, tf32 x 3": form(in_one_loop, TF32_X3, step=members_at(0)),
        "vmap, tf32": form(in_one_loop, TF32, step=members_at(0)),
        "vmap, by hand": form(in_one_loop, step=members_at(0, by_hand)),
        "members in the middle": form(in_one_loop, step=members_at(1), axis=1),
        "members behind": form(in_one_loop, step=members_behind(PRODUCTS), axis=-1),
        "rows gathered ahead": form(in_one_loop, step=members_at(0), ahead=True),
        "4 groups": form(in_groups, groups=4),
        "16 groups": form(in_groups, groups=16),
        "4 unrolled": form(in_one_loop, step=members_at(0), unroll=4),
        "16 unrolled": form(in_one_loop, step=members_at(0), unroll=16),
        "members behind, sums": form(in_one_loop, step=members_behind(sums), axis=-1),
    }
)


def run(quick: bool) -> Iterator[Row]:
    if jax.default_backend() != "gpu" and not quick:
        print("layouts is left out: JAX finds no GPU")
        return
    rates = rates_of_device("float32", quick)
    cases = [TINY] if quick else [sweep[:4] for sweep in SWEEPS]
    for case in cases:
        yield from _case(*case, rates, quick)


def draw(
    sizes: tuple[int, ...], batch_size: int, n: int, networks: int, steps: int
) -> tuple[Params, Array, Array, Array, Array]:
    """What a form is given."""
    keys = jax.random.split(jax.random.key(0), networks)
    params = jax.vmap(partial(fcnet.init, sizes=sizes))(keys)
    X = jax.random.normal(keys[0], (n, sizes[0]))
    Y = jnp.sin(X[:, :1] + jnp.arange(sizes[-1]))
    batches = jax.random.randint(keys[1], (networks, steps, batch_size), 0, n)
    return params, X, Y, batches, jnp.linspace(1e-3, 1e-2, networks)


def _case(
    sizes: tuple[int, ...],
    batch_size: int,
    n: int,
    networks: int,
    rates: dict[str, float],
    quick: bool,
) -> Iterator[Row]:
    steps = TINY_STEPS if quick else STEPS
    work = draw(sizes, batch_size, n, networks, steps)
    case = f"{networks:,} of {name_case(sizes, batch_size)}"
    least = floor(case, sizes, batch_size, networks, rates)
    yield least
    programs = {name: Program(name, partial(train, *work), steps) for name, train in FORMS.items()}
    trained: dict[str, Params] = {}
    begin = perf_counter()
    for name, program in programs.items():
        start = perf_counter()
        if not quick and start - begin > SECONDS:
            print(f"{name} is left out of {case}: {SECONDS} s are over")
            continue
        try:
            trained[name] = jax.block_until_ready(program.run())
            cold = perf_counter() - start
            row = compare(case, program, programs[OWN], pairs=1 if quick else 3)
        except Exception as error:  # the form is not for this network, or not for this device
            print(f"{name} is left out of {case}: {type(error).__name__}: {error}"[:300])
            continue
        extra = {
            "over_floor": row.values["us"] / least.values["us"],
            "difference": difference(trained[name], trained[OWN]),
            "cold_s": cold,
        }
        yield row._replace(values={**row.values, **extra})


def difference(params: Params, expected: Params) -> float:
    """The largest distance of an array from the expected one, over the norm of that."""
    ratios = jax.tree.map(
        lambda a, b: jnp.linalg.norm(a - b) / jnp.linalg.norm(b), params, expected
    )
    return float(jnp.stack(jax.tree.leaves(ratios)).max())

"""Members of a sweep side by side, in groups: how many, where, and the program of a group.

How many members go through a step together is a matter of size. Small layers gain by it, since
their step costs mostly what it takes to start its operations; wide ones lose, since the members'
arrays push each other out of the caches. So a group is of a size that fits the caches, and there
are at least as many groups as cores or devices, to work on them side by side: XLA does not split a
small step over the cores of a CPU by itself.
"""

import os
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from fcnet.train.batches import Batches
from fcnet.train.evaluate import evaluate
from fcnet.train.loop import Data, State, advance, all_finite
from fcnet.train.members import Members
from fcnet.train.objective import Objective
from fcnet.train.optimizer import Hyperparameters, Optimizer

TOGETHER = {"cpu": 2**16}
"""How many numbers the parameters and activations of a group have at most, by platform: on a CPU
what its caches hold; elsewhere, where only many at once are fast, 2^28."""


class Group(NamedTuple):
    """Members first..last-1, and the device that they are on."""

    first: int
    last: int
    device: jax.Device

    def take(self, members: Members) -> Members:
        """A copy of these members on their device; a key that all share stays one key."""
        part = partial(jax.tree.map, lambda leaf: leaf[self.first : self.last])
        params, numbers = part((members.params, members.hyperparameters))
        keys = part(members.keys) if members.own_keys else members.keys
        # All members at once would be no copy, and the caller's arrays would be donated.
        return Members(*jax.device_put((params, keys, numbers), self.device, may_alias=False))


def workers() -> int:
    """How many groups are worked on side by side: one a device, or one a core of a CPU."""
    devices = jax.local_device_count()
    if jax.default_backend() != "cpu":
        return devices
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(devices, cores)


def groups(members: Members, rows: int) -> list[Group]:
    """The members in as few groups as fit, of sizes that differ by one at most, for `rows` a step.

    >>> from fcnet import init
    >>> many = jax.vmap(partial(init, sizes=(784, 256, 10)))(jax.random.split(jax.random.key(0), 3))
    >>> [group.last for group in groups(Members(many, jax.random.key(0), {}), rows=128)]
    [1, 2, 3]
    """
    params, K = members.params, len(members.params[0].b)
    numbers = sum(leaf[0].size for leaf in jax.tree.leaves(params))
    numbers += rows * (params[0].W.shape[2] + sum(b.shape[1] for _, b in params))
    most = max(1, TOGETHER.get(jax.default_backend(), 2**28) // numbers)
    count = min(K, max(workers(), -(-K // most)))
    cuts = np.linspace(0, K, count + 1).astype(int).tolist()
    devices = jax.local_devices()
    return [
        Group(cuts[g], cuts[g + 1], devices[g % len(devices)])
        for g in range(count)
    ]  # fmt: skip


@partial(jax.jit, static_argnames=("objective", "optimizer", "own"), donate_argnames="state")
def advance_members(
    state: State,
    data: Data,
    batches: Batches | None,
    first: int | Int[Array, ""],
    last: int | Int[Array, ""],
    hyperparameters: Hyperparameters,
    *,
    objective: Objective,
    optimizer: Optimizer,
    own: bool,
) -> State:
    """`advance` for every member, each by batches of its own, or all by the same.

    Rows are gathered step by step: those of all members already are many at once.
    """

    def one(state: State, batches: Batches | None, hyperparameters: Hyperparameters) -> State:
        after, _ = advance(
            state, data, batches, first, last, hyperparameters,
            objective=objective, optimizer=optimizer, ahead=False,
        )  # fmt: skip
        return after

    axes = (0, 0 if own else None, 0)
    return jax.vmap(one, in_axes=axes)(state, batches, hyperparameters)


@partial(jax.jit, static_argnames="objective")
def measure_members(
    state: State, seen: Data, held_out: Data | None, *, objective: Objective
) -> Float[Array, "4 K"]:
    """Each member's loss and metric, and those of the held-out data; NaN where it has diverged."""

    def one(state: State) -> Array:
        training = evaluate(objective, state.params, seen)
        nothing = (jnp.full_like(training[0], jnp.nan),) * 2
        validation = nothing if held_out is None else evaluate(objective, state.params, held_out)
        measured = jnp.stack([*training, *validation])
        return jnp.where(all_finite(state.params), measured, jnp.nan)

    return lax.map(one, state).T

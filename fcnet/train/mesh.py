"""A run on several devices, of one process or of several: what lies where.

Arrays are put where they belong by `NamedSharding`, steps are constrained to keep them there, and
from that XLA finds what the devices have to tell each other. Everywhere here, mesh None is one
device, for which nothing is done.

Several processes, on one machine or on many, first of all find each other:

    jax.distributed.initialize()  # started by Slurm's srun, Open MPI's mpirun or a TPU pod
    jax.distributed.initialize("10.0.0.1:1234", num_processes=2, process_id=0)  # plain addresses
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    fcnet.fit(params, X, Y, mesh=mesh, ...)

Each calls `fit` with the same arguments; what only one of them knows is agreed on between blocks of
steps. Each feeds its own rows of every batch: of a memory-mapped file it reads those only, and an
iterable gives those only, B over the number of processes. Each calls `progress` and has the result,
and the first writes the checkpoints. On CPUs they talk by gloo, which comes with JAX;
`scripts/launch_local` starts some on one machine.
"""

import signal
import zlib
from collections.abc import Mapping
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

T = TypeVar("T")

AXES = ("data", "model")
"""Examples of a batch are split over the first, the rows of a layer over the second."""


def as_mesh(mesh: Mesh | None) -> Mesh | None:
    """The mesh with both axes, of the kind that XLA splits arrays over by itself.

    >>> as_mesh(jax.make_mesh((1,), ("data",))).devices.shape
    (1, 1)
    """
    if mesh is None:
        return None
    if not isinstance(mesh, Mesh) or mesh.empty:
        raise TypeError(
            'mesh must be a jax.sharding.Mesh such as jax.make_mesh((4, 2), ("data", "model")), '
            f"got {'an empty one' if isinstance(mesh, Mesh) else type(mesh).__name__}"
        )
    if not set(mesh.axis_names) <= set(AXES):
        raise ValueError(f'mesh has axes {mesh.axis_names}, expected "data", "model" or both')
    processes = {device.process_index for device in mesh.devices.flat}
    if processes not in ({jax.process_index()}, set(range(jax.process_count()))):
        raise ValueError(
            f"mesh has devices of the processes {sorted(processes)}: expected devices of all "
            f"{jax.process_count()} processes, or of process {jax.process_index()} alone"
        )
    names = (*mesh.axis_names, *(axis for axis in AXES if axis not in mesh.axis_names))
    devices = np.expand_dims(mesh.devices, tuple(range(mesh.devices.ndim, len(AXES))))
    return Mesh(devices.transpose([names.index(axis) for axis in AXES]), AXES)


def is_shared(mesh: Mesh | None) -> bool:
    """Whether several processes work on the run."""
    return mesh is not None and mesh.is_multi_process


def own_rows(mesh: Mesh | None, name: str, rows: int) -> np.ndarray:
    """The numbers of those rows of a batch that this process feeds, if they divide at all."""
    numbers = np.arange(rows)
    if mesh is None:
        return numbers
    places = mesh.shape["data"]
    if rows % places:
        raise ValueError(
            f'{name} must be a multiple of the {places} places on the axis "data" of the mesh, '
            f"got {rows}"
        )
    mine = [[d.process_index == jax.process_index() for d in row] for row in mesh.devices]
    return numbers.reshape(places, -1)[np.any(mine, 1)].ravel()


def check_own(mesh: Mesh | None) -> None:
    """Raise unless each place on the axis "data" is in one process, which feeds it alone."""
    if mesh is not None and any(len({d.process_index for d in row}) > 1 for row in mesh.devices):
        raise ValueError(
            'the axis "model" of the mesh goes over several processes: where X is an iterable, it '
            "must lie within each, which then gives the rows of its own places"
        )


def _over(mesh: Mesh, *axes: str | None) -> NamedSharding:
    return NamedSharding(mesh, P(*axes))  # type: ignore[no-untyped-call]


def _put(leaf: Any, where: NamedSharding, shape: tuple[int, ...]) -> Any:
    """An array on the mesh, of the whole or of the part that is this process's."""
    leaf = np.asarray(leaf) if jax.process_count() > 1 else leaf
    put: Any = jax.make_array_from_process_local_data
    return put(where, leaf, shape)


def everywhere(mesh: Mesh | None, tree: T) -> T:
    """A copy on every device."""
    if mesh is None:
        return tree
    return jax.tree.map(lambda leaf: _put(leaf, _over(mesh), leaf.shape), tree)


def split(mesh: Mesh | None, tree: T, axis: int, rows: int) -> T:
    """Arrays whose axis, of so many rows in all, is split over "data"."""
    if mesh is None:
        return tree

    def put(leaf: Any) -> Any:
        shape = (*leaf.shape[:axis], rows, *leaf.shape[axis + 1 :])
        return _put(leaf, _over(mesh, *[None] * axis, "data"), shape)

    return jax.tree.map(put, tree)


def to_device(state: T, mesh: Mesh | None = None) -> T:
    """A copy where steps are done, in memory of its own, so that it can be given away."""
    if mesh is None:
        return jax.tree.map(jnp.array, state)

    def put(leaf: Any) -> Any:
        if is_key(leaf):
            raw: Any = everywhere(mesh, np.array(jax.random.key_data(leaf)))
            return jax.random.wrap_key_data(raw, impl=jax.random.key_impl(leaf))
        return _put(np.array(leaf), _over_model(mesh, leaf), leaf.shape)

    return jax.tree.map(put, state)


def to_host(state: T) -> T:
    """A copy in NumPy's arrays; random keys, which NumPy has not, stay JAX's."""

    def get(leaf: Any) -> Any:
        if is_key(leaf):
            raw = jnp.asarray(get(jax.random.key_data(leaf)))
            return jax.random.wrap_key_data(raw, impl=jax.random.key_impl(leaf))
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            return multihost_utils.process_allgather(leaf, tiled=True)
        return np.array(leaf)

    return jax.tree.map(get, state)


def is_key(leaf: Any) -> bool:
    """Whether an array holds random keys of the new kind."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _over_model(mesh: Mesh, leaf: Any) -> NamedSharding:
    """A layer's rows, as of its optimiser's memory, go over "model" where they divide."""
    divides = leaf.ndim > 0 and leaf.shape[0] % mesh.shape["model"] == 0
    return _over(mesh, "model") if divides and not is_key(leaf) else _over(mesh)


_constrain: Any = jax.lax.with_sharding_constraint


def keep_split(mesh: Mesh | None, batch: T) -> T:
    """Inside a program: a batch whose rows stay split over "data"."""
    if mesh is None:
        return batch
    return _constrain(batch, _over(mesh, "data"))


def keep_placed(mesh: Mesh | None, state: T) -> T:
    """Inside a program: a state that stays where `to_device` has put it."""
    if mesh is None:
        return state
    return _constrain(state, jax.tree.map(partial(_over_model, mesh), state))


def gathered(tree: T) -> T:
    """The rows of all processes, one process's after the other's."""
    return jax.tree.map(jnp.asarray, multihost_utils.process_allgather(tree, tiled=True))


def least(mesh: Mesh | None, number: int) -> int:
    """The least of the processes' numbers."""
    if not is_shared(mesh):
        return number
    return int(multihost_utils.process_allgather(np.int32(number)).min())


def wish(mesh: Mesh | None, received: list[signal.Signals]) -> signal.Signals | None:
    """The signal that this or another process was sent; of several, that of the highest number."""
    number = -least(mesh, -received[0] if received else 0)
    return signal.Signals(number) if number else None


def check_alike(mesh: Mesh | None, values: Mapping[str, Any]) -> None:
    """Raise, in every process, unless all have the same values of the same names."""
    if not is_shared(mesh):
        return
    sums = np.array([zlib.crc32(str(value).encode()) for value in values.values()], np.uint32)
    differ = np.ptp(multihost_utils.process_allgather(sums), axis=0) > 0
    names = [name for name, other in zip(values, differ, strict=True) if other]
    if names:
        raise ValueError(
            f"the processes of the mesh differ in {', '.join(names)}: each must be given the same "
            "arguments, and a checkpoint folder that all of them see"
        )

"""A run on several devices, of one process or of several: which array lies where.

Arrays are placed by `NamedSharding`, and the steps are constrained to keep them there; XLA derives
the communication between devices from that. Throughout this file, mesh None is one device, for
which nothing is done.

Several processes, on one machine or on many, first connect to each other:

    jax.distributed.initialize()  # started by Slurm's srun, Open MPI's mpirun or a TPU pod
    jax.distributed.initialize("10.0.0.1:1234", num_processes=2, process_id=0)  # plain addresses
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    fcnet.fit(params, X, Y, mesh=mesh, ...)

Each process calls `fit` with the same arguments. Between blocks of steps they agree on what only
one of them knows, such as a signal. Each process loads its own rows of every batch: it reads only
these from a memory-mapped file, and an iterable yields only these, B over the number of processes.
Each process calls `progress` and returns the result; the first writes the checkpoints. On CPUs the
processes communicate by gloo, which comes with JAX. `scripts/launch_local` starts several on one
machine.

With enough rows of each batch, a device computes for as long as the gradients are on their way:
about 2,200 rows on H100s in one node, 2,500 over several nodes, and 2,000 on TPU v5e along one axis
of the torus, in bfloat16 or tensorfloat32. That is peak FLOP/s over bytes/s
(jax-ml.github.io/scaling-book/training).
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

from fcnet.keys import as_numpy, from_words, is_key

T = TypeVar("T")

AXES = ("data", "model")
"""The examples of a batch are split over the first, the rows of a layer over the second."""


def as_mesh(mesh: Mesh | None) -> Mesh | None:
    """The mesh with both axes, of the kind over which XLA splits arrays by itself.

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
    """The numbers of the rows of a batch that this process loads.

    Raises:
        ValueError: where the rows do not divide over the axis "data".
    """
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
    """Raise unless each place on the axis "data" belongs to one process, which loads its rows."""
    if mesh is not None and any(len({d.process_index for d in row}) > 1 for row in mesh.devices):
        raise ValueError(
            'the axis "model" of the mesh goes over several processes: where X is an iterable, it '
            "must lie within one process, which yields the rows of its own places"
        )


def _over(mesh: Mesh, *axes: str | None) -> NamedSharding:
    return NamedSharding(mesh, P(*axes))  # type: ignore[no-untyped-call]


def _put(leaf: Any, where: NamedSharding, shape: tuple[int, ...]) -> Any:
    """An array on the mesh, made of the whole or of this process's part."""
    leaf = np.asarray(leaf) if jax.process_count() > 1 else leaf
    put: Any = jax.make_array_from_process_local_data
    return put(where, leaf, shape)


def everywhere(mesh: Mesh | None, tree: T) -> T:
    """A copy on every device."""
    if mesh is None:
        return tree
    return jax.tree.map(lambda leaf: _put(leaf, _over(mesh), leaf.shape), tree)


def split(mesh: Mesh | None, tree: T, axis: int, rows: int) -> T:
    """Arrays with one axis, of `rows` rows in all processes together, split over "data"."""
    if mesh is None:
        return tree

    def put(leaf: Any) -> Any:
        shape = (*leaf.shape[:axis], rows, *leaf.shape[axis + 1 :])
        return _put(leaf, _over(mesh, *[None] * axis, "data"), shape)

    return jax.tree.map(put, tree)


def to_device(state: T, mesh: Mesh | None = None) -> T:
    """A copy on the devices of the steps, in memory of its own, so that it can be donated."""
    if mesh is None:
        return jax.device_put(state, may_alias=False)

    def put(leaf: Any) -> Any:
        if is_key(leaf):
            return from_words(everywhere(mesh, np.array(as_numpy(leaf))), leaf)
        return _put(np.array(leaf), _over_model(mesh, leaf), leaf.shape)

    return jax.tree.map(put, state)


def to_host(state: T) -> T:
    """A copy in NumPy arrays; random keys, which NumPy has not, stay JAX arrays."""

    def get(leaf: Any) -> Any:
        if is_key(leaf):
            return from_words(jnp.asarray(get(jax.random.key_data(leaf))), leaf)
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            return multihost_utils.process_allgather(leaf, tiled=True)
        return np.array(leaf)

    return jax.tree.map(get, state)


def _over_model(mesh: Mesh, leaf: Any) -> NamedSharding:
    """The rows of a layer, and of the optimiser's arrays, are split over "model" if they divide."""
    divides = leaf.ndim > 0 and leaf.shape[0] % mesh.shape["model"] == 0
    return _over(mesh, "model") if divides and not is_key(leaf) else _over(mesh)


_constrain: Any = jax.lax.with_sharding_constraint


def keep_split(mesh: Mesh | None, batch: T) -> T:
    """Inside a program: the batch, with its rows split over "data"."""
    if mesh is None:
        return batch
    return _constrain(batch, _over(mesh, "data"))


def keep_placed(mesh: Mesh | None, state: T) -> T:
    """Inside a program: the state, placed as by `to_device`."""
    if mesh is None:
        return state
    return _constrain(state, jax.tree.map(partial(_over_model, mesh), state))


def gathered(tree: T) -> T:
    """The rows of all processes, one process after the other."""
    return jax.tree.map(jnp.asarray, multihost_utils.process_allgather(tree, tiled=True))


def least(mesh: Mesh | None, number: int) -> int:
    """The least of the numbers of all processes."""
    if not is_shared(mesh):
        return number
    return int(multihost_utils.process_allgather(np.int32(number)).min())


def agreed_signal(mesh: Mesh | None, received: list[signal.Signals]) -> signal.Signals | None:
    """A signal that any process received; of several, the one with the highest number."""
    number = -least(mesh, -received[0] if received else 0)
    return signal.Signals(number) if number else None


def check_alike(mesh: Mesh | None, values: Mapping[str, Any]) -> None:
    """Raise in every process unless all processes have the same values."""
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

"""Training runs on a mesh, in one process or in several that scripts/launch_local starts.

    python mesh_run.py FOLDER DEVICES CASE ...

Each process has DEVICES CPU devices, whatever else the machine has, and writes the result of each
case to FOLDER/CASE-PROCESS.npz. There is no mesh for one device in all.
"""

import os
import signal
import sys
from pathlib import Path

import jax
import numpy as np
import optax

import fcnet
from fcnet.train import checkpoint, run
from fcnet.train.fit import fit
from fcnet.types import Layer

PROCESSES = int(os.environ.get("JAX_NUM_PROCESSES", "1"))
B, N, STEPS = 16, 100, 100
ARRAYS = np.random.default_rng(0).normal(size=(N, 10))
X, Y, WEIGHTS = ARRAYS[:, :6], np.sin(ARRAYS[:, 6:8]), abs(ARRAYS[:, 8])
PARAMS = tuple(
    Layer(np.random.default_rng(m).normal(size=(m, below)) / np.sqrt(below), np.zeros(m))
    for below, m in ((6, 16), (16, 7), (7, 2))
)


FULL = {"sampling": "full", "batch_size": None}


def train(X=X, Y=Y, **changed):
    """A run of 100 steps; each case changes one or two arguments."""
    choices = {
        **{"key": jax.random.key(7), "batch_size": B, "steps": STEPS, "evaluate_every": STEPS // 2},
        **{"optimizer": "adam", "hyperparameters": {"learning_rate": 1e-2}},
        **{"precision": "float64", "output_activation": "tanh"},
    }
    return fit(PARAMS, X, Y, **choices | changed)


def arrays(result):
    return [np.asarray(leaf) for leaf in (*jax.tree.leaves(result[:2]), *result.history[:3])]


def mapped(folder, name, array):
    """A memory-mapped copy, each process's own."""
    path = Path(folder) / f"{name}{jax.process_index()}.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def batches(first=0, last=B):
    """A list of batches, or of some rows of each; the last has a quarter of the others' rows."""
    cuts = [slice(start + first, start + last) for start in range(0, N - B, B)]
    cuts.append(slice(N - B + first // 4, N - B + last // 4))
    return [(X[rows], Y[rows]) for rows in cuts]


def resident(folder, **where):
    result = train(precision="float32", **where)
    return [np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(result.params)])]


def on_disk(folder, **where):
    files = mapped(folder, "X", X), mapped(folder, "Y", Y)
    return arrays(train(*files, weights=WEIGHTS, sampling="epoch", **where))


def full(folder, **where):
    return arrays(train(**FULL, validation=0.2, patience=9, **where))


def line_search(folder, **where):
    """An optimiser that evaluates the loss of the batch, too."""
    choices = {"optimizer": optax.lbfgs(memory_size=4), "hyperparameters": None, "steps": 20}
    return arrays(train(**FULL, **choices, **where))


def iterable(folder, *, process=None, **where):
    """Each process gives its own rows of every batch."""
    share = B // PROCESSES
    first = share * (jax.process_index() if process is None else process)
    return arrays(train(batches(first, first + share), None, **where))


def wrong_rows(folder, **where):
    """The first process's rows from every process."""
    return iterable(folder, process=0, **where)


def halves(folder, **where):
    """A run resumed from the checkpoint in the middle; only the first process may write."""
    if jax.process_index():
        checkpoint.write = None
    kept = {"checkpoint": Path(folder) / "kept", **where}
    train(steps=STEPS // 2, **kept)
    return arrays(train(resume=True, **kept))


def own_key(folder, **where):
    """Each process with a key of its own, so that they would draw different batches."""
    try:
        train(key=jax.random.key(jax.process_index()), **where)
    except ValueError as error:
        return [np.array(str(error))]


def full_disk(folder, **where):
    """The first process cannot write, and all processes raise."""

    def write(*_):
        raise fcnet.CheckpointError("no space left")

    before, checkpoint.write = checkpoint.write, write
    try:
        train(checkpoint=Path(folder) / "full", **where)
    except fcnet.CheckpointError as error:
        return [np.array(str(error))]
    finally:
        checkpoint.write = before


def signalled(folder, **where):
    """Only the last process gets a signal, and all processes stop."""

    def interrupt(step, history):
        if jax.process_index() == PROCESSES - 1:
            signal.raise_signal(signal.SIGTERM)

    try:
        train(progress=interrupt, **where)
    except fcnet.Interrupted as error:
        return [np.array(int(error.signal)), np.array(error.result.step)]


def diverging(folder, **where):
    try:
        train(
            optimizer="sgd", hyperparameters={"learning_rate": 1e3},
            output_activation="identity", **where,
        )  # fmt: skip
    except fcnet.NonFiniteError as error:
        finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(error.params))
        return [np.array(error.step), np.array(finite)]


def indivisible(folder, **where):
    """Batches that do not divide among the devices, and batches of all the examples."""
    messages = []
    for changed in ({"batch_size": B + 1}, FULL | {"validation": 0.01}):
        try:
            train(**changed, **where)
        except ValueError as error:
            messages.append(np.array(str(error)))
    return messages


def across(folder, **where):
    """The rows of the layers over the processes, the batch within each."""
    devices = np.array(jax.devices()).reshape(PROCESSES, -1)
    where["mesh"] = jax.sharding.Mesh(devices, ("model", "data"))
    try:
        train(batches(), None, **where)
    except ValueError as error:
        return [*arrays(train(**where)), np.array(str(error))]


def operations(folder, **where):
    """The number of floating operations of one device in a step of 64 examples."""
    counts, advance = [], run.advance

    def counted(*arguments, **static):
        program = advance.lower(*arguments, **static).compile()
        counts.append(np.array(program.cost_analysis()["flops"]))
        return advance(*arguments, **static)

    run.advance = counted
    try:
        train(batch_size=64, steps=1, **where)
    finally:
        run.advance = advance
    return counts


def descent(folder, mesh=None):
    """Algorithm 2 draws its batches on one device, whichever argument lies on several."""
    arguments = {"X": np.float32(X), "Y": np.float32(Y), "params": jax.tree.map(np.float32, PARAMS)}
    arguments["key"] = jax.random.key(7)
    everywhere = jax.NamedSharding(mesh, jax.P())
    messages = []
    for name, argument in arguments.items():
        changed = arguments | {name: jax.device_put(argument, everywhere)}
        try:
            fcnet.minibatch_sgd(**changed, learning_rate=0.1, batch_size=B, steps=2)
        except ValueError as error:
            messages.append(np.array(str(error)))
    return messages


def plain(folder, **where):
    return arrays(train(**where))


CASES = {
    case.__name__: case
    for case in (
        *(resident, on_disk, full, line_search, iterable, wrong_rows, halves, own_key, full_disk),
        *(signalled, diverging, indivisible, across, operations, descent, plain),
    )
}


def main(folder, devices, *cases):
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", int(devices))
    if PROCESSES > 1:
        jax.distributed.initialize(
            os.environ["JAX_COORDINATOR_ADDRESS"], PROCESSES, int(os.environ["JAX_PROCESS_ID"])
        )
    mesh = None
    if jax.device_count() > 1:
        mesh = jax.make_mesh((jax.device_count() // 2, 2), ("data", "model"))
    for case in cases:
        outcome = CASES[case](folder, mesh=mesh)
        np.savez(Path(folder) / f"{case}-{jax.process_index()}.npz", *outcome)


if __name__ == "__main__":
    main(*sys.argv[1:])

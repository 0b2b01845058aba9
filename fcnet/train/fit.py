"""`fit`: train a network in one compiled program."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Num

from fcnet.checks import as_count, as_params, check_key
from fcnet.sampling import INT32_MAX
from fcnet.train.checkpoint import CheckpointError as CheckpointError
from fcnet.train.configuration import checksum, configuration
from fcnet.train.data import check_finite_rows
from fcnet.train.history import FitResult, History
from fcnet.train.history import Interrupted as Interrupted
from fcnet.train.history import NonFiniteError as NonFiniteError
from fcnet.train.loop import State
from fcnet.train.mesh import as_mesh, check_alike, everywhere, is_shared
from fcnet.train.objective import as_objective
from fcnet.train.optimizer import Optimizer, as_optimizer, start_state
from fcnet.train.precision import as_precision
from fcnet.train.problem import as_problem
from fcnet.train.run import Plan, begin, run
from fcnet.train.store import Checkpoints as Checkpoints
from fcnet.train.store import Store, as_checkpoints
from fcnet.types import Activation, Loss, Pairs, Params


def fit(
    params: Pairs,
    X: Num[ArrayLike, "n d"] | Iterable[Any],
    Y: Num[ArrayLike, "n m_r"] | None = None,
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
    patience: int | None = None,
    opt_state: optax.OptState | None = None,
    precision: str | None = None,
    checkpoint: str | Path | Checkpoints | None = None,
    resume: bool = False,
    mesh: Mesh | None = None,
    progress: Callable[[int, History], Any] | None = None,
) -> FitResult:
    """Train a network of the core: Algorithm 2 and its relatives, compiled a block at a time.

    Other steps, learning rates, seeds or data values use the same program; other shapes, batch
    sizes, objectives or optimisers compile anew.

    Args:
        params: r layers to start from; they stay as they are.
        X: examples, shape (n, d); an `np.memmap` stays on disk, and only the rows of the coming
            steps are read. Or an iterable of batches (X, Y) or (X, Y, weights) of 1 to B rows: one
            that can begin again, such as a list, does so at its end, an iterator ends the run.
        Y: targets, shape (n, m_r); left out where X is an iterable.
        key: a random key; the same key gives the same bits on the same machine.
        batch_size: B, from 1 to n; not used by sampling="full". Smaller batches of an iterable are
            padded to it and masked.
        steps: the number of iterations, 0 or more.
        optimizer: an `optax.GradientTransformation`; or a name ("sgd", "adam", "adamw", ...) or
            a factory such as `optax.adamw`, which is made of the hyper-parameters.
        hyperparameters: numbers for the factory, such as {"learning_rate": 1e-3}; being arguments
            of the compiled program, they change without compiling anew.
        gradient: "backprop", Algorithm 5 by hand, or "autodiff", `jax.grad`.
        sampling: "algorithm2", B distinct examples afresh each step; "epoch", shuffled passes;
            "with_replacement"; or "full", gradient descent on all examples.
        activation, output_activation, loss: as in `mean_loss`.
        weights: one an example, 0 or more; a batch's loss is the weighted mean.
        validation: a pair (X, Y), a triple (X, Y, weights), or the share of the examples to hold
            out, drawn by the key, and read into memory even where X is an `np.memmap`.
        evaluate_every: steps between two entries of the history.
        patience: stop after so many evaluations without a better validation loss, and return the
            best parameters; None never stops early.
        opt_state: what the optimiser remembers of an earlier run with it, to go on from there; None
            starts it afresh.
        precision: "float64", also where JAX's own flag is off, and on in this run alone; "float32";
            "tensorfloat32", float32 with such factors in matrix products where the device has them;
            "bfloat16", where gradients are computed in that and parameters, updates and what is
            measured are float32; or None for the parameters' own dtype. But for "tensorfloat32",
            products are as exact as their dtype, on a GPU or TPU too.
        checkpoint: a folder, or `fcnet.train.Checkpoints(folder, every, keep)`: after evaluations,
            all that the rest of the run depends on is saved there; needs the extra "checkpoint".
        resume: go on from the last checkpoint in the folder, if there is one, bit for bit as if the
            run had never stopped. All other arguments must be those of the run, but for `steps`,
            which may be more, and `params` and `opt_state`, of which only the shapes count. A run
            is evaluated at its end, too: `steps`, if it is to grow, had better be a multiple of
            `evaluate_every`, or `patience` counts one evaluation more, and on a GPU the last bits
            may differ.
        mesh: devices that share the run, with the axes "data" and "model" or one of them, such as
            `jax.make_mesh((4, 2), ("data", "model"))`: each batch is split over the first, and the
            rows of each layer over the second where its width divides. The result is that of one
            device up to rounding, and lies on one device. Of several hosts, `fcnet.train.mesh`
            tells. To be kept busy rather than wait for the others' gradients, a device needs about
            2,200 rows of each batch on H100s in one node, 2,500 over several, and 2,000 on TPU v5e
            along one axis of their torus, in bfloat16 or tensorfloat32: peak FLOP/s over bytes/s
            (jax-ml.github.io/scaling-book/training).
        progress: called after each evaluation with the step and the history so far.

    Returns:
        A `FitResult`.

    Raises:
        ValueError, TypeError: for arguments outside these bounds, before anything is computed.
        NonFiniteError: where the loss or the parameters stop being finite; it carries the last
            finite parameters.
        Interrupted: after SIGINT or SIGTERM, once the block is done and saved; it carries the
            result so far. A second signal acts at once, or once the batches being read are there.
        CheckpointError: where a checkpoint cannot be written or read, or is of another run; the
            checkpoints before it stay as they are. One that is damaged is passed over with a
            warning if an earlier one is whole.

    >>> from fcnet.types import Layer
    >>> X = jnp.linspace(-1, 1, 8)[:, None]
    >>> start = (Layer(jnp.zeros((1, 1)), jnp.zeros(1)),)
    >>> result = fit(start, X, 2 * X + 1, key=jax.random.key(0), batch_size=4, steps=200,
    ...              optimizer="sgd", hyperparameters={"learning_rate": 0.3})
    >>> [round(float(leaf.item()), 3) for leaf in result.params[0]]
    [2.0, 1.0]
    """
    arithmetic = as_precision(precision)
    with arithmetic.scope():
        objective = as_objective(activation, output_activation, loss, gradient, arithmetic.compute)
        chosen, hyper = as_optimizer(optimizer, hyperparameters)
        check_key(key)
        steps = as_count("steps", steps, least=0, most=INT32_MAX)
        every = as_count("evaluate_every", evaluate_every, least=1)
        if patience is not None:
            patience = as_count("patience", patience, least=1)
            if validation is None:
                raise ValueError(
                    "patience needs validation data: give validation=(X, Y) or a share"
                )
        if progress is not None and not callable(progress):
            raise TypeError(
                "progress must be a function of the step and the history, got "
                f"{type(progress).__name__}"
            )
        devices = as_mesh(mesh)
        kept = as_checkpoints(checkpoint, resume)
        layers = as_start(params, arithmetic.dtype)
        problem = as_problem(
            layers, X, Y, weights, validation,
            key=key, sampling=sampling, batch_size=batch_size, objective=objective,
            mesh=devices,
        )  # fmt: skip
        state = State(layers, start_state(chosen, hyper, layers, opt_state))
        plan = Plan(
            objective=objective,
            optimizer=chosen,
            hyperparameters=hyper,
            precision=arithmetic,
            source=problem.source,
            seen=problem.seen,
            held_out=problem.held_out,
            steps=steps,
            evaluate_every=every,
            patience=patience,
            progress=progress,
            mesh=devices,
        )
        which: dict[str, str] = {}
        if kept is not None or is_shared(devices):
            which = configuration(
                plan, state, key,
                sampling=sampling, batch_size=batch_size, examples=problem.examples,
            )  # fmt: skip
        if is_shared(devices):
            start_from = checksum(*jax.tree.leaves(layers))
            check_alike(devices, {**which, "params": start_from, "steps": steps})
        plan = plan._replace(
            seen=everywhere(devices, plan.seen), held_out=everywhere(devices, plan.held_out)
        )
        start = begin(plan, state)
        if kept is not None:
            store = Store(kept.folder, kept.every, kept.keep, which, devices)
            plan, start = plan._replace(store=store), store.latest(start)
        if start.step > steps:
            raise ValueError(
                f"steps must be at least the {start.step} that the last checkpoint has, got {steps}"
            )
        return run(plan, start)


def as_start(params: Pairs, dtype: str | None) -> Params:
    """The parameters to start from, finite, and in the dtype of the run."""
    layers = as_params(params)
    for k, layer in enumerate(layers):
        for name, leaf in layer._asdict().items():
            check_finite_rows(f"params[{k}].{name}", np.asarray(leaf), np.arange(len(leaf)))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype or leaf.dtype), layers)

"""`fit`: train a network in one compiled program."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import jax
import optax
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Num

from fcnet.checks import as_params, check_key, check_untraced
from fcnet.files import AnyPath
from fcnet.losses import as_objective, warn_of_link
from fcnet.train.checkpoint import Checkpoints, Store, as_checkpoints, checksum, configuration
from fcnet.train.data import as_start
from fcnet.train.derivatives import warn_of_derivatives
from fcnet.train.mesh import as_mesh, check_alike, everywhere, is_shared
from fcnet.train.objective import as_gradient
from fcnet.train.optimizer import (
    as_optimizer,
    check_optimizer,
    like_start_state,
    start_state,
)
from fcnet.train.precision import as_precision
from fcnet.train.program import check_own_gradient, compile_ahead
from fcnet.train.run import Plan, begin, run
from fcnet.train.schedule import Spacing, as_patience, as_schedule, check_progress
from fcnet.train.source import as_training_data
from fcnet.train.types import FitResult, History, Optimizer, Program, State
from fcnet.types import Activation, Loss, Pairs, Params


def fit(
    params: Pairs,
    X: Num[ArrayLike, "n d"] | Iterable[Any],
    Y: Num[ArrayLike, "n m_r"] | None = None,
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
    patience: int | None = None,
    opt_state: optax.OptState | None = None,
    precision: str | None = None,
    checkpoint: AnyPath | Checkpoints | None = None,
    resume: bool = False,
    mesh: Mesh | None = None,
    progress: Callable[[int, History], Any] | None = None,
) -> FitResult:
    """Train a network by minibatch descent: Algorithm 2 with any optimiser of optax.

    Blocks of steps run in one compiled program. It is compiled anew for other shapes, batch sizes,
    objectives and optimisers, but not for other data, seeds, steps or learning rates.

    Args:
        params: r layers to start from. They are not changed.
        X: examples, shape (n, d). An `np.memmap` stays on disk; only the rows of the coming steps
            are read. Or an iterable of batches (X, Y) or (X, Y, weights) of 1 to B rows. A list
            starts again at its end; an iterator ends the run at its end.
        Y: targets, shape (n, m_r); None if X is an iterable.
        key: a random key. The same key gives the same bits on the same machine.
        batch_size: B, from 1 to n. Leave it out with sampling="full", whose batches are all n.
            Smaller batches of an iterable are padded to B rows, and the padding is masked.
        steps: the number of steps, 0 or more.
        optimizer: an `optax.GradientTransformation` or `optax.MultiSteps`; a factory that makes one
            of the hyper-parameters, such as `optax.adamw`; or a name, for a factory with a default
            learning rate: "adam", "adamw", "rmsprop" (1e-3), "sgd", "adagrad" (1e-2) or "lion"
            (1e-4). Those that read the loss of the batch, such as `optax.lbfgs` and
            `optax.polyak_sgd`, get it by the arguments `value`, `grad` and `value_fn`; the
            derivative of `value_fn` is `gradient`. Line searches are made for sampling="full".
        hyperparameters: real numbers for the factory, such as {"learning_rate": 1e-3}. They
            override the defaults of a name one by one. A factory gets these alone. Counts, switches
            and functions go into the factory: `functools.partial(optax.lbfgs, memory_size=5)`.
        gradient: "backprop" is Algorithm 5, "autodiff" is `jax.grad`. Or a function like
            `batch_backprop`: gradient(params, X, Y, *, activation, output_activation, loss,
            weights), which returns the gradient of the mean loss of B rows, a pair of floating
            arrays (dJ/dW, dJ/db) for each layer. The weights are None where all rows count the
            same; a masked row has weight 0. `minibatch_sgd` calls its own with the first three
            arguments, since its model has no activation, loss or weights.
        sampling: "algorithm2" draws B distinct examples in each step; "epoch" makes shuffled
            passes; "with_replacement" draws B examples independently; "full" takes all examples in
            each step, which is gradient descent.
        activation, output_activation, loss: as in `mean_loss`.
        weights: one weight of 0 or more for each example. The loss of a batch is the weighted mean.
        validation: examples to validate on, (X, Y) or (X, Y, weights), or the share of the training
            examples to hold out, drawn by the key. They are kept in memory.
        evaluate_every: the number of steps between two entries of the history, the first of which
            is of the start. "log" makes eight evaluations while the number of steps doubles, so
            that they come closer at the start: after steps 1, 2, ..., 16, 18, ..., 32, 36, and so
            on. None evaluates after the last step only, so that an interrupted run has no entry.
            An entry takes 40 bytes, in each checkpoint too, and none is ever dropped: choose N for
            the number of steps.
        patience: stop after this many evaluations without a lower validation loss, and return the
            parameters with the lowest. Those of "log" up to step 128 are not counted, since they
            come close together. None never stops early.
        opt_state: the optimiser's state to start from, as returned by an earlier run. None starts
            it afresh.
        precision: the arithmetic of the run. None is the dtype of the parameters. "float64" and
            "float32" are these, whatever JAX's flag is. "tensorfloat32" is float32 with products
            of tensorfloat32, on devices that have them. "bfloat16" computes gradients in bfloat16;
            parameters, updates and evaluations are float32. All but "tensorfloat32" compute
            products in full precision, on a GPU or TPU too. On a CPU, XLA flushes subnormal numbers
            to zero, below 1.2e-38 in float32, except in float16.
        checkpoint: a folder, or `fcnet.Checkpoints(folder, every, keep)`, in which the run is
            saved after evaluations. Needs the extra "checkpoint". One run at a time writes to it:
            its file `.lock` is locked, on network file systems too, but not on Windows.
        resume: continue from the last checkpoint in the folder, if there is one. The result is that
            of an uninterrupted run, bit for bit. The other arguments must be those of the run; but
            `steps` may be larger, `patience` another number or None, and the values of `params` and
            `opt_state` are not used. A run is also evaluated at its end: if `steps` is to grow
            later, make it a multiple of `evaluate_every`, or `patience` counts one evaluation more
            and the last bits may differ on a GPU.
        mesh: the devices that share the run, with the axes "data" and "model" or one of them, such
            as `jax.make_mesh((4, 2), ("data", "model"))`. Each batch is split over "data", and the
            rows of each layer over "model" if its width divides. The result lies on one device and
            is that of one device up to rounding. See `fcnet.train.mesh` for several hosts.
        progress: called after each evaluation but that of the start, as progress(step, history).
            `sweep`, whose members are not at one step, calls progress(share). A dashboard is fed
            from here: for TensorBoard, with writer = torch.utils.tensorboard.SummaryWriter("runs"),
            progress=lambda step, history: writer.add_scalar("loss", history.loss[-1], step). To
            keep all entries of a finished run, use `result.history.to_csv("history.csv")`.

    Returns:
        A `FitResult`.

    Raises:
        ValueError, TypeError: for arguments outside these bounds, before anything is computed; and
            while JAX traces a program, such as inside `jax.jit`.
        NonFiniteError: if the loss, the parameters or the optimiser's arrays stop being finite. It
            names the step and holds the parameters before it.
        Interrupted: after SIGINT or SIGTERM, once the block of steps is done and saved. It holds
            the result so far. A second signal acts at once.
        CheckpointError: if a checkpoint cannot be written or read, or is of another run; or if
            another run is writing to the folder. Earlier checkpoints are not changed. A damaged one
            is skipped with a warning if an earlier one is whole.

    >>> import jax.numpy as jnp
    >>> from fcnet.types import Layer
    >>> X = jnp.linspace(-1, 1, 8)[:, None]
    >>> start = (Layer(jnp.zeros((1, 1)), jnp.zeros(1)),)
    >>> result = fit(start, X, 2 * X + 1, key=jax.random.key(0), batch_size=4, steps=200,
    ...              optimizer="sgd", hyperparameters={"learning_rate": 0.3})
    >>> [round(float(leaf.item()), 3) for leaf in result.params[0]]
    [2.0, 1.0]
    """
    check_untraced("fit", (params, hyperparameters), X, Y, key, weights)
    arithmetic = as_precision(precision)
    with arithmetic.scope():
        objective = as_objective(activation, output_activation, loss)
        warn_of_link(objective.output_activation, objective.loss)
        chosen, hyper = as_optimizer(optimizer, hyperparameters)
        derivative = as_gradient(gradient)
        check_key(key)
        schedule = as_schedule(steps, evaluate_every)
        waiting = as_patience(patience, validation, schedule)
        check_progress(progress, "the step and the history")
        devices = as_mesh(mesh)
        saves = as_checkpoints(checkpoint, resume)
        layers = as_start(as_params(params), arithmetic.dtype)
        check_optimizer(chosen, hyper, layers)
        program = Program(objective, derivative, arithmetic.compute, chosen, devices)
        source, B, seen, held_out, examples = as_training_data(
            layers, X, Y, weights, validation,
            key=key, sampling=sampling, batch_size=batch_size, objective=objective, mesh=devices,
        )  # fmt: skip
        if not isinstance(gradient, str):
            check_own_gradient(program, layers, source.load(0))
        if gradient != "autodiff":
            warn_of_derivatives(objective, seen.Y)
        compiled = None
        if source.like is not None and schedule.steps:
            # Compiled while the start is made and measured, and the first batches are drawn.
            like = State(layers, like_start_state(chosen, hyper, layers))
            compiled = compile_ahead(program, like, source.like, hyper)
        state = State(layers, start_state(chosen, hyper, layers, opt_state))
        identity: dict[str, str] = {}
        if saves is not None or is_shared(devices):
            name = gradient if isinstance(gradient, str) else getattr(gradient, "__name__", "own")
            identity = configuration(
                program, hyper, state, (seen, held_out), key,
                gradient=name, evaluate_every=schedule.evaluate_every,
                precision=arithmetic, sampling=sampling, batch_size=B, examples=examples,
            )  # fmt: skip
        if is_shared(devices):
            start_from = checksum(*jax.tree.leaves(layers))
            ends = {"steps": schedule.steps, "patience": waiting}
            check_alike(devices, {**identity, "params": start_from, **ends})
        store = (
            None
            if saves is None
            else Store(Path(saves.folder), saves.every, saves.keep, identity, devices)
        )
        plan = Plan(
            program=program,
            hyperparameters=hyper,
            precision=arithmetic,
            source=source,
            seen=everywhere(devices, seen),
            held_out=everywhere(devices, held_out),
            schedule=schedule,
            patience=waiting,
            progress=progress,
            store=store,
        )
        with nullcontext() if store is None else store.locked():
            return run(plan, begin(plan, state), compiled)

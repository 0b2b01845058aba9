"""The nouns of the trainer: what a step takes and returns, and what a run returns."""

import signal
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Int

from fcnet.checks import as_jax, on_host
from fcnet.files import AnyPath, as_csv, write_file
from fcnet.types import Objective, Params

Factory: TypeAlias = Callable[..., optax.GradientTransformation | optax.MultiSteps]
Optimizer: TypeAlias = optax.GradientTransformation | Factory


class State(NamedTuple):
    """What a step updates: the parameters, and the state of the optimiser."""

    params: Params
    opt_state: optax.OptState

    @property
    def arrays(self) -> list[Array]:
        """What must stay finite: the parameters, and the optimiser's arrays.

        Where an entry of Adam's second moment is infinite, its parameter never changes again. An
        optimiser's single numbers may be infinite, such as the least loss before the first step.
        """
        return [leaf for leaf in jax.tree.leaves(self) if must_be_finite(leaf)]


def must_be_finite(leaf: Any) -> bool:
    """Whether a leaf of a state is an array of floating numbers.

    >>> must_be_finite(jnp.ones(2)), must_be_finite(jnp.array(jnp.inf))
    (True, False)
    """
    return leaf.ndim > 0 and jnp.issubdtype(leaf.dtype, jnp.floating)


class Data(NamedTuple):
    """Examples and targets in rows, and their weights; None weighs all the same.

    Batches that were loaded for several steps have an axis of steps in front.
    """

    X: Float[Array, "*steps n d"]
    Y: Float[Array, "*steps n m_r"]
    weights: Float[Array, "*steps n"] | None

    def rows(self, rows: np.ndarray) -> "Data":
        """Some of the rows; on a CPU, no program is compiled to take them."""
        taken: Data = jax.tree.map(lambda leaf: as_jax(on_host(leaf)[rows]), self)
        return taken


class Batches(NamedTuple):
    """Row numbers of the batches of a block of steps; the mask is None where no row is padding."""

    indices: Int[Array, "*K block B"]
    mask: Bool[Array, "*K block B"] | None


class Window(NamedTuple):
    """The steps first..last-1 of a block, and the data of the whole block.

    Step i takes the rows `batches.indices[i]` of `data`. If `batches` is None, it takes `data[i]`
    where the data have an axis of steps, and all of the data where they have none.
    """

    data: Data
    batches: Batches | None
    first: int | Int[Array, ""]
    last: int | Int[Array, ""]


class Program(NamedTuple):
    """What a step is compiled for. Hashable, so that it is a static argument of `jax.jit`.

    Attributes:
        objective: the activations and the loss.
        gradient: a function like `batch_backprop`.
        compute: the dtype in which the gradient is computed; None is that of the parameters.
        optimizer: an optax transformation, or a factory that makes one of the hyper-parameters.
        mesh: the devices that share a step; None is one device.
    """

    objective: Objective
    gradient: Callable[..., Params]
    compute: str | None
    optimizer: Optimizer
    mesh: Mesh | None = None


Entry: TypeAlias = tuple[float, ...]
"""One row of the history."""


class History(NamedTuple):
    """What was measured, one entry for each evaluation, as float64 arrays.

    The metric is that of the loss: R^2 or accuracy. The training loss and metric are those of all
    examples; or of a sample, drawn once, where there are more than 10,000 or they take more than
    8 MiB. The validation loss and metric are those of all validation examples, NaN without any. The
    arrays of a sweep have an axis of members behind.
    """

    step: np.ndarray
    loss: np.ndarray
    metric: np.ndarray
    validation_loss: np.ndarray
    validation_metric: np.ndarray

    def to_csv(self, path: AnyPath) -> None:
        """Write the entries to a CSV file, one in each line, under the names of the arrays.

        A member k of a sweep has columns of its own, such as `loss[k]`. What is NaN, such as the
        loss on no validation examples, is an empty cell.

        Args:
            path: the file; an earlier one is replaced.

        Raises:
            OSError: if the file cannot be written.

        >>> import pathlib, tempfile
        >>> nothing = np.full(2, np.nan)
        >>> history = History(np.array([0.0, 9.0]), np.array([0.5, 0.1]), nothing, nothing, nothing)
        >>> file = pathlib.Path(tempfile.mkdtemp(), "history.csv")
        >>> history.to_csv(file)
        >>> print(file.read_text())
        step,loss,metric,validation_loss,validation_metric
        0,0.5,,,
        9,0.1,,,
        <BLANKLINE>
        """
        columns = {"step": [f"{step:.0f}" for step in self.step]}
        for name, values in zip(self._fields[1:], self[1:], strict=True):
            names = [name] if values.ndim == 1 else [f"{name}[{k}]" for k in range(values.shape[1])]
            for title, column in zip(names, values.reshape(len(values), -1).T, strict=True):
                columns[title] = ["" if np.isnan(v) else repr(v) for v in column.tolist()]
        write_file(path, as_csv([columns, *zip(*columns.values(), strict=True)]))


class Snapshot(NamedTuple):
    """A run after `step` steps, on the host: all that the rest of the run depends on.

    With patience, `best` is the entry with the least validation loss and `kept` its parameters;
    without, `kept` is empty.
    """

    step: int
    state: State
    entries: Float[np.ndarray, "entries 5"]
    best: int
    kept: Params

    @property
    def history(self) -> History:
        """The entries as arrays, which cannot be written to: they are views."""
        columns = self.entries.T
        columns.flags.writeable = False
        return History(*columns)


NO_ENTRIES: Float[np.ndarray, "0 5"] = np.empty((0, len(History._fields)))
"""The entries of a run that was not yet evaluated."""


def appended(entries: Float[np.ndarray, "n 5"], entry: Entry) -> Float[np.ndarray, "n_plus_1 5"]:
    """The entries and one more, which is written behind them where their memory has room.

    Memory for twice as many is taken when it is full, so that an entry of a long run costs no more
    than one of a short run. The given entries are not changed; append to them once.

    >>> appended(appended(NO_ENTRIES, (0.0,) * 5), (1.0,) * 5)[:, 0].tolist()
    [0.0, 1.0]
    """
    room, n = entries.base, len(entries)
    if room is None or len(room) == n:
        room = np.empty((max(16, 2 * n), entries.shape[1]))
        room[:n] = entries
    room[n] = entry
    return room[: n + 1]


Stopped: TypeAlias = Literal["steps", "patience", "data", "signal"]
"""Why a run ended."""


class FitResult(NamedTuple):
    """What `fit` returns.

    Attributes:
        params: the parameters after the last step; with patience, those with the least validation
            loss.
        opt_state: the state of the optimiser after the last step.
        history: what was measured.
        step: the step that `params` are of.
        stopped: why the run ended: "steps", all were taken; "patience", it ran out; "data", an
            iterator of batches ended; or "signal", in the result of an `Interrupted` run.
    """

    params: Params
    opt_state: optax.OptState
    history: History
    step: int
    stopped: Stopped


class NonFiniteError(ArithmeticError):
    """Training reached a loss, parameters or arrays of the optimiser that are not finite.

    Attributes:
        step: the number of steps before the first bad one, or before the bad evaluation.
        params: the parameters after these steps, all finite.
        evaluation: whether the steps were good, and only the loss of the training examples that the
            history measures is not finite.
    """

    def __init__(self, step: int, params: Params, evaluation: bool = False) -> None:
        """Name the step and what usually helps."""
        what = "the loss, the parameters or the optimizer's state stopped being finite in step "
        what += f"{step + 1}"
        if evaluation:
            what = (
                f"the loss of the training examples is not finite after step {step}, although "
                "that of each batch before it was finite"
            )
        is_half = params[0].W.dtype == jnp.float16
        wider = '; or precision="float32", since float16 ends at 65504' if is_half else ""
        super().__init__(
            f"{what}; the parameters after step {step} are this error's .params. Try a smaller "
            "learning rate, standardised inputs and targets, or optax.clip in the optimizer"
            f"{wider}"
        )
        self.step = step
        self.params = params
        self.evaluation = evaluation

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the arguments of the constructor, as processes hand exceptions on."""
        return type(self), (self.step, self.params, self.evaluation)


class Interrupted(KeyboardInterrupt):
    """SIGINT (Ctrl-C) or SIGTERM ended a run, after the block of steps at work.

    Attributes:
        signal: the signal.
        step: the number of steps taken.
        result: the `FitResult` of these steps.
        saved: where the run is saved, in words.
    """

    def __init__(self, received: signal.Signals, step: int, result: FitResult, saved: str) -> None:
        """Name the step and how to resume."""
        super().__init__(
            f"{received.name} after step {step}; {saved}; "
            "the parameters so far are in this exception's .result"
        )
        self.signal = received
        self.step = step
        self.result = result
        self.saved = saved

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the arguments of the constructor, as processes hand exceptions on."""
        return type(self), (self.signal, self.step, self.result, self.saved)

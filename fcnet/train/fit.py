"""`fit`: compiled blocks of steps, and between them, on the host, all that is not arithmetic."""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from jaxtyping import Num

from fcnet.checks import as_count, as_params, check_finite, check_key
from fcnet.sampling import INT32_MAX, block_length
from fcnet.train.batches import SAMPLINGS, Batches
from fcnet.train.data import as_data, sample_rows, split
from fcnet.train.evaluate import evaluate
from fcnet.train.loop import Data, State, advance, last_finite
from fcnet.train.objective import Objective, as_objective
from fcnet.train.optimizer import Optimizer, as_optimizer, start_state
from fcnet.types import Activation, Loss, Pairs, Params

EVALUATED = 10_000
"""The training loss in the history is that of all examples, or of so many drawn once if more."""


class History(NamedTuple):
    """What was measured, one entry an evaluation, as float64 arrays of one length.

    The metric is R^2 or accuracy, by the loss; the validation entries are NaN without such a set.
    """

    step: np.ndarray
    loss: np.ndarray
    metric: np.ndarray
    validation_loss: np.ndarray
    validation_metric: np.ndarray


class FitResult(NamedTuple):
    """What a run leaves.

    `params` are the last, or with `patience` those with the least validation loss, of step `step`;
    `stopped` is "steps" where all were taken and "patience" where it ran out.
    """

    params: Params
    opt_state: optax.OptState
    history: History
    step: int
    stopped: str


class NonFiniteError(ArithmeticError):
    """Training reached a loss or parameters that are not finite.

    Attributes:
        step: the number of steps that went well.
        params: the parameters they led to, all finite.
    """

    def __init__(self, step: int, params: Params) -> None:
        """Say where it happened and what usually helps."""
        super().__init__(
            f"the loss or the parameters stopped being finite in step {step + 1}; the parameters "
            f"after step {step} are this error's .params. Try a smaller learning rate, "
            "standardised inputs and targets, or optax.clip_by_global_norm in the optimizer"
        )
        self.step = step
        self.params = params


def fit(
    params: Pairs,
    X: Num[ArrayLike, "n d"],
    Y: Num[ArrayLike, "n m_r"],
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
    progress: Callable[[int, History], Any] | None = None,
) -> FitResult:
    """Train a network of the core: Algorithm 2 and its relatives, compiled a block at a time.

    Other steps, learning rates, seeds or data values use the same program; other shapes, batch
    sizes, objectives or optimisers compile anew.

    Args:
        params: r layers to start from; they stay as they are.
        X: examples, shape (n, d).
        Y: targets, shape (n, m_r).
        key: a random key; the same key gives the same bits on the same machine.
        batch_size: B, from 1 to n; not used by sampling="full".
        steps: the number of iterations, 0 or more.
        optimizer: an `optax.GradientTransformation`; or a name ("sgd", "adam", "adamw", ...) or
            a factory such as `optax.adamw`, which is made of the hyper-parameters.
        hyperparameters: numbers for the factory, such as {"learning_rate": 1e-3}; being arguments
            of the compiled program, they change without compiling anew.
        gradient: "backprop", Algorithm 5 by hand, or "autodiff", `jax.grad`.
        sampling: "algorithm2", B distinct examples afresh each step; "epoch", shuffled passes;
            "with_replacement"; or "full", gradient descent on all examples.
        activation, output_activation, loss: as in `mean_loss`.
        weights: one a example, 0 or more; a batch's loss is the weighted mean.
        validation: a pair (X, Y), a triple (X, Y, weights), or the share of the examples to hold
            out, drawn by the key.
        evaluate_every: steps between two entries of the history.
        patience: stop after so many evaluations without a better validation loss, and return the
            best parameters; None never stops early.
        opt_state: what the optimiser remembers of an earlier run with it, to go on from there; None
            starts it afresh.
        progress: called after each evaluation with the step and the history so far.

    Returns:
        A `FitResult`.

    Raises:
        ValueError, TypeError: for arguments outside these bounds, before anything is computed.
        NonFiniteError: where the loss or the parameters stop being finite; it carries the last
            finite parameters.

    >>> from fcnet.types import Layer
    >>> X = jnp.linspace(-1, 1, 8)[:, None]
    >>> start = (Layer(jnp.zeros((1, 1)), jnp.zeros(1)),)
    >>> result = fit(start, X, 2 * X + 1, key=jax.random.key(0), batch_size=4, steps=200,
    ...              optimizer="sgd", hyperparameters={"learning_rate": 0.3})
    >>> [round(float(leaf.item()), 3) for leaf in result.params[0]]
    [2.0, 1.0]
    """
    objective = as_objective(activation, output_activation, loss, gradient)
    chosen, hyper = as_optimizer(optimizer, hyperparameters)
    check_key(key)
    steps = as_count("steps", steps, least=0, most=INT32_MAX)
    every = as_count("evaluate_every", evaluate_every, least=1)
    layers = jax.tree.map(jnp.array, as_params(params))
    check_finite("params", ravel_pytree(layers)[0])
    split_key, draw_key, sample_key = jax.random.split(key, 3)
    everything = as_data(layers, X, Y, weights, objective)
    data, held_out = split(everything, validation, split_key, layers, objective)
    if patience is not None:
        patience = as_count("patience", patience, least=1)
        if held_out is None:
            raise ValueError("patience needs validation data: give validation=(X, Y) or a share")
    block, draw = _drawer(sampling, draw_key, len(data.X), batch_size)
    seen = sample_rows(data, EVALUATED, sample_key)
    static: Any = {"objective": objective, "optimizer": chosen}

    state = State(layers, start_state(chosen, hyper, layers, opt_state))
    entries = [_entry(0, objective, state.params, seen, held_out)]
    best, kept = 0, state.params
    for start, stop in _cut(0, steps, every):
        for first, last in _cut(start, stop, block):
            begin = first - first % block
            arguments = (data, draw(begin), first - begin, last - begin, hyper)
            after, finite = advance(state, *arguments, **static)
            if not finite:
                bad, state = last_finite(state, *arguments, **static)
                raise NonFiniteError(begin + int(bad), state.params)
            state = after
        entries.append(_entry(stop, objective, state.params, seen, held_out))
        if progress is not None:
            progress(stop, _history(entries))
        if patience is not None:
            if entries[-1][VALIDATION_LOSS] < entries[best][VALIDATION_LOSS]:
                best, kept = len(entries) - 1, state.params
            elif len(entries) - 1 - best >= patience:
                break
    history = _history(entries)
    step = int(history.step[-1])
    stopped = "steps" if step == steps else "patience"
    if patience is not None:
        return FitResult(kept, state.opt_state, history, int(history.step[best]), stopped)
    return FitResult(state.params, state.opt_state, history, step, stopped)


VALIDATION_LOSS = History._fields.index("validation_loss")


def _drawer(
    sampling: str, key: Array, n: int, batch_size: int
) -> tuple[int, Callable[[int], Batches | None]]:
    """How many steps a block has, and the function that draws the block of a given first step."""
    if sampling == "full":
        return block_length(1), lambda start: None
    if sampling not in SAMPLINGS:
        known = ", ".join(map(repr, [*SAMPLINGS, "full"]))
        raise ValueError(f"unknown sampling {sampling!r}; known are {known}")
    batch_size = as_count("batch_size", batch_size, least=1, most=n)
    return block_length(batch_size), lru_cache(maxsize=1)(SAMPLINGS[sampling](key, n, batch_size))


def _cut(start: int, stop: int, length: int) -> Iterator[tuple[int, int]]:
    """The steps start..stop-1 in pieces that end at the multiples of a length."""
    while start < stop:
        end = min(stop, start - start % length + length)
        yield start, end
        start = end


def _entry(
    step: int, objective: Objective, params: Params, seen: Data, held_out: Data | None
) -> tuple[float, ...]:
    """One row of the history."""
    training = evaluate(objective, params, seen)
    validation = (np.nan, np.nan) if held_out is None else evaluate(objective, params, held_out)
    return (float(step), *map(float, training), *map(float, validation))


def _history(entries: list[tuple[float, ...]]) -> History:
    return History(*np.array(entries).T)

"""What a run leaves: its history and its result, also where it ends before its time."""

import signal
from typing import NamedTuple

import numpy as np
import optax

from fcnet.types import Params


class History(NamedTuple):
    """What was measured, an entry each evaluation, as float64 arrays; a sweep's have columns too.

    The metric is R^2 or accuracy, by the loss. Training's entries are of all examples, or of a
    sample drawn once where there are more than 10,000 or than 8 MiB hold; validation's are of all,
    and NaN where no data are held out.
    """

    step: np.ndarray
    loss: np.ndarray
    metric: np.ndarray
    validation_loss: np.ndarray
    validation_metric: np.ndarray


class FitResult(NamedTuple):
    """What a run leaves.

    `params` are the last, or with `patience` those with the least validation loss, of step `step`;
    `stopped` is "steps" where all were taken, "patience" where it ran out, "data" where the batches
    did, and "signal" in the result of an `Interrupted` run. `opt_state` is always that of the last
    step taken.
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


class Interrupted(KeyboardInterrupt):
    """SIGINT (Ctrl-C) or SIGTERM ended a run after the block of steps that it was in.

    Attributes:
        signal: which of them.
        step: after how many steps.
        result: the `FitResult` of the steps that were taken.
    """

    def __init__(self, received: signal.Signals, step: int, result: FitResult, saved: str) -> None:
        """Say how far the run came and how to go on."""
        super().__init__(
            f"{received.name} after step {step}; {saved}; "
            "the parameters so far are in this exception's .result"
        )
        self.signal = received
        self.step = step
        self.result = result

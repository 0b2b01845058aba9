"""The defaults of `fcnet train` and of the estimators, chosen by `scripts/bench.py defaults`."""

from typing import NamedTuple


class Defaults(NamedTuple):
    """How a network is trained if nothing else is asked for.

    The penalty is l2 / 2n times the sum of the squared weights, for n examples. The learning rate
    is Adam's. It goes with the batch size: larger batches bear larger steps.
    """

    hidden: tuple[int, ...]
    l2: float
    batch_size: int
    learning_rate: float


UNTIL_BEST = Defaults(hidden=(100,), l2=3.0, batch_size=32, learning_rate=2e-3)
"""Of `fcnet train` and `fcnet sweep`, which keep the network with the least validation loss."""

ALL_PASSES = Defaults(hidden=(100,), l2=6.0, batch_size=200, learning_rate=5e-3)
"""Of the estimators, which keep the last network: only the penalty prevents that it overfits."""

LEAST_EXAMPLES = 100
"""The penalty of fewer examples is that of these many: 6 / n makes XOR's four a constant."""

START_SCALE = 0.4
"""A factor of the first weights of the first and the last layer, below He's."""

EVALUATE_EVERY = "log"
"""Of the commands: eight evaluations while the number of steps doubles."""

PATIENCE = 16
"""Evaluations without a lower validation loss: until the steps of the best are taken four times,
and at least 512."""

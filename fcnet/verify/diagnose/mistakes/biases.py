"""Known mistakes in line 5 of Algorithm 5 that spoil one db, and nothing else."""

import numpy as np

from fcnet.verify.diagnose.line import Mistake
from fcnet.verify.diagnose.mistakes.weights import delta_of

BIASES = (
    Mistake(
        "without_derivative",
        "b",
        lambda s, e, k: s.back,
        "is taken before delta[{k}] is multiplied by sigma'(z[{k}])",
    ),
    Mistake(
        "derivative_repeated",
        "b",
        lambda s, e, k: s.delta * e.slope(k),
        "has sigma'(z[{k}]) once more, which delta[{k}] has already",
    ),
    Mistake(
        "weights_summed_out",
        "b",
        lambda s, e, k: np.full_like(s.expected, s.above.sum()) * e.slope(k),
        "adds up delta[{above}] without the weights W[{above}]",
    ),
    Mistake(
        "ones",
        "b",
        lambda s, e, k: np.ones_like(s.expected),
        "is 1: the factor delta[{k}] is missing",
    ),
    Mistake("activities", "b", lambda s, e, k: e.a(k), "is the activation a[{k}], not delta[{k}]"),
    Mistake(
        "times_bias", "b", lambda s, e, k: s.expected * e.b(k), "is multiplied by the bias b[{k}]"
    ),
    Mistake(
        "row_sums",
        "b",
        lambda s, e, k: s.expected * e.a(k - 1).sum(),
        "is the sum over the columns of dW, that is delta[{k}] times the sum of a[{below}]",
    ),
    Mistake(
        "row_means",
        "b",
        lambda s, e, k: s.expected * e.a(k - 1).mean(),
        "is the mean over the columns of dW, that is delta[{k}] times the mean of a[{below}]",
    ),
    Mistake(
        "first_column",
        "b",
        lambda s, e, k: s.expected * e.a(k - 1)[0],
        "is the first column of dW, that is delta[{k}] times the first entry of a[{below}]",
    ),
    Mistake(
        "last_column",
        "b",
        lambda s, e, k: s.expected * e.a(k - 1)[-1],
        "is the last column of dW, that is delta[{k}] times the last entry of a[{below}]",
    ),
    Mistake(
        "times_own_activation",
        "b",
        lambda s, e, k: s.expected * e.a(k),
        "is multiplied by the activation a[{k}]",
    ),
    Mistake(
        "swapped_above",
        "b",
        lambda s, e, k: delta_of(s, k + 1),
        "is that of layer {above}: two arrays are swapped or in the wrong order",
    ),
    Mistake(
        "swapped_below",
        "b",
        lambda s, e, k: delta_of(s, k - 1),
        "is that of layer {below}: two arrays are swapped or in the wrong order",
    ),
    Mistake(
        "overwritten",
        "b",
        lambda s, e, k: e.overwritten(s.expected, e.b(k)),
        "has b[{k}] / lr added: the step drops the old values, b = -lr db, and must be b - lr db",
    ),
    Mistake(
        "weight_decay",
        "b",
        lambda s, e, k: (s.expected, e.b(k)),
        "has {c} b[{k}] added, a decay that the loss does not have",
    ),
    Mistake(
        "parameter_returned",
        "b",
        lambda s, e, k: (e.b(k), -s.expected),
        "is the updated b[{k}] itself, b[{k}] - {c} delta[{k}], not its gradient",
        positive=True,
    ),
    Mistake(
        "bias_for_gradient",
        "b",
        lambda s, e, k: (np.zeros_like(s.expected), e.b(k)),
        "is {c} b[{k}]: the bias stands where its gradient must be",
    ),
)
"""Tried on line 5, for db."""

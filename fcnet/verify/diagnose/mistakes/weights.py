"""Known mistakes in line 5 of Algorithm 5 that spoil one dW, and nothing else."""

from collections.abc import Callable

import numpy as np

from fcnet.verify.diagnose.line import Mistake, Vector
from fcnet.verify.diagnose.mistakes.anywhere import zeroed
from fcnet.verify.diagnose.single import Single, Step
from fcnet.verify.types import Values


def delta_of(s: Step, k: int) -> Values:
    """delta^[k]: the candidate's own, or for a layer below, which is not read yet, the true one."""
    return s.upstream.deltas.get(k, s.example.true_delta(k))


def _other_dW(s: Step, k: int) -> np.ndarray:  # noqa: N802 - the notes' symbol
    return np.outer(delta_of(s, k), s.example.a(k - 1))


def _for_a(kind: str, vector: Callable[[Step, Single, int], Vector], says: str) -> Mistake:
    """Another vector in the place of a^[k-1]."""
    return Mistake(kind, "W", lambda s, e, k: np.outer(s.delta, vector(s, e, k)), says)


def _for_delta(kind: str, vector: Callable[[Step, Single, int], Vector], says: str) -> Mistake:
    """Another vector in the place of delta^[k]."""
    return Mistake(kind, "W", lambda s, e, k: np.outer(vector(s, e, k), e.a(k - 1)), says)


WEIGHTS = (
    Mistake(
        "transposed", "W", lambda s, e, k: s.expected.T, "is transposed: a[{below}] delta[{k}]^T"
    ),
    _for_a(
        "pre_activation",
        lambda s, e, k: e.z(k - 1),
        "uses z[{below}], before the activation, for a[{below}]",
    ),
    _for_a(
        "own_activation",
        lambda s, e, k: e.a(k),
        "uses a[{k}], this layer's own activation, for a[{below}]",
    ),
    _for_a("own_pre_activation", lambda s, e, k: e.z(k), "uses z[{k}] for a[{below}]"),
    _for_a(
        "activation_two_below",
        lambda s, e, k: e.a(k - 2),
        "uses the activation two layers below for a[{below}]",
    ),
    _for_a(
        "bias_column",
        lambda s, e, k: np.r_[1, e.a(k - 1)[:-1]],
        "is cut at the wrong end: its first column is that of the bias, and the last one is lost",
    ),
    _for_a(
        "bias_column",
        lambda s, e, k: np.r_[e.a(k - 1)[1:], 1],
        "is cut at the wrong end: its last column is that of the bias, and the first one is lost",
    ),
    _for_a("input_for_activation", lambda s, e, k: e.a(0), "uses the input x for a[{below}]"),
    _for_a(
        "activation_missing",
        lambda s, e, k: np.ones_like(e.a(k - 1)),
        "is delta[{k}] in every column: the factor a[{below}]^T is missing",
    ),
    _for_delta(
        "delta_missing",
        lambda s, e, k: np.ones_like(s.delta),
        "is a[{below}] in every row: the factor delta[{k}] is missing",
    ),
    _for_a(
        "derivative_for_activation",
        lambda s, e, k: e.slope(k - 1),
        "uses sigma'(z[{below}]) for a[{below}]",
    ),
    _for_a(
        "doubled_activation", lambda s, e, k: e.a(k - 1) ** 2, "has the factor a[{below}] twice"
    ),
    _for_a(
        "absolute_activation", lambda s, e, k: abs(e.a(k - 1)), "has lost the signs of a[{below}]"
    ),
    _for_a(
        "centred_activation",
        lambda s, e, k: e.a(k - 1) - e.a(k - 1).mean(),
        "uses a[{below}] less its mean",
    ),
    _for_a(
        "normalised_activation",
        lambda s, e, k: e.a(k - 1) / np.linalg.norm(e.a(k - 1)),
        "uses a[{below}] divided by its norm",
    ),
    _for_a(
        "normalised_twice",
        lambda s, e, k: e.a(k - 1) / (e.a(k - 1) @ e.a(k - 1)),
        "uses a[{below}] divided by its squared norm",
    ),
    _for_a(
        "reversed_activation",
        lambda s, e, k: e.a(k - 1)[::-1],
        "has the columns, the units of a[{below}], in reverse order",
    ),
    _for_a(
        "shifted_activation",
        lambda s, e, k: np.roll(e.a(k - 1), 1),
        "has the columns, the units of a[{below}], shifted by one",
    ),
    _for_a(
        "shifted_back_activation",
        lambda s, e, k: np.roll(e.a(k - 1), -1),
        "has the columns, the units of a[{below}], shifted back by one",
    ),
    _for_a(
        "summed_activation",
        lambda s, e, k: np.full_like(e.a(k - 1), e.a(k - 1).sum()),
        "has the sum of a[{below}] in every column",
    ),
    _for_delta(
        "summed_delta",
        lambda s, e, k: np.full_like(s.delta, s.delta.sum()),
        "has the sum of delta[{k}] in every row",
    ),
    _for_delta("absolute_delta", lambda s, e, k: abs(s.delta), "has lost the signs of delta[{k}]"),
    Mistake(
        "last_input_dropped",
        "W",
        lambda s, e, k: zeroed(s.expected, (slice(None), -1)),
        "leaves out the last input of layer {k}",
    ),
    Mistake(
        "first_input_dropped",
        "W",
        lambda s, e, k: zeroed(s.expected, (slice(None), 0)),
        "leaves out the first input of layer {k}",
    ),
    Mistake(
        "diagonal_only",
        "W",
        lambda s, e, k: s.expected * np.eye(*s.expected.shape),
        "has its diagonal only",
    ),
    Mistake(
        "lower_triangle", "W", lambda s, e, k: np.tril(s.expected), "has its lower triangle only"
    ),
    Mistake(
        "upper_triangle", "W", lambda s, e, k: np.triu(s.expected), "has its upper triangle only"
    ),
    Mistake(
        "symmetrised",
        "W",
        lambda s, e, k: (s.expected + s.expected.T) / 2,
        "is averaged with its transpose",
    ),
    _for_a(
        "cached_activation",
        lambda s, e, k: s.peers[0].example.a(k - 1),
        "uses a[{below}] of the first input it was called with: a cache is never renewed",
    ),
    _for_delta(
        "activities", lambda s, e, k: e.a(k), "is a[{k}] a[{below}]^T: delta[{k}] is missing"
    ),
    Mistake(
        "bias_gradient_added",
        "W",
        lambda s, e, k: s.expected + s.delta[:, None],
        "has delta[{k}] added to every column: the bias is counted in",
    ),
    Mistake(
        "times_weights",
        "W",
        lambda s, e, k: s.expected * e.W(k),
        "is multiplied entrywise by W[{k}]",
    ),
    _for_delta(
        "without_derivative",
        lambda s, e, k: s.back,
        "is taken before delta[{k}] is multiplied by sigma'(z[{k}])",
    ),
    _for_delta(
        "derivative_repeated",
        lambda s, e, k: s.delta * e.slope(k),
        "has sigma'(z[{k}]) once more, which delta[{k}] has already",
    ),
    _for_delta(
        "delta_above", lambda s, e, k: delta_of(s, k + 1), "uses delta[{above}] for delta[{k}]"
    ),
    _for_delta(
        "delta_below", lambda s, e, k: delta_of(s, k - 1), "uses delta[{below}] for delta[{k}]"
    ),
    Mistake(
        "swapped_above",
        "W",
        lambda s, e, k: _other_dW(s, k + 1),
        "is that of layer {above}: two arrays are swapped or in the wrong order",
    ),
    Mistake(
        "swapped_below",
        "W",
        lambda s, e, k: _other_dW(s, k - 1),
        "is that of layer {below}: two arrays are swapped or in the wrong order",
    ),
    Mistake(
        "overwritten",
        "W",
        lambda s, e, k: e.overwritten(s.expected, e.W(k)),
        "has W[{k}] / lr added: the step drops the old values, W = -lr dW, and must be W - lr dW",
    ),
    Mistake(
        "weight_decay",
        "W",
        lambda s, e, k: (s.expected, e.W(k)),
        "has {c} W[{k}] added, a weight decay that the loss does not have",
    ),
    Mistake(
        "l1_penalty",
        "W",
        lambda s, e, k: (s.expected, np.sign(e.W(k))),
        "has {c} sign(W[{k}]) added, a penalty that the loss does not have",
    ),
    Mistake(
        "parameter_returned",
        "W",
        lambda s, e, k: (e.W(k), -s.expected),
        "is the updated W[{k}] itself, W[{k}] - {c} delta[{k}] a[{below}]^T, not its gradient",
        positive=True,
    ),
    Mistake(
        "weights_for_gradient",
        "W",
        lambda s, e, k: (np.zeros_like(s.expected), e.W(k)),
        "is {c} W[{k}]: the weights stand where their gradient must be",
    ),
)
"""Tried on line 5, for dW."""

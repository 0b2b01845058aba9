"""Known mistakes in line 5 of Algorithm 5: in dW or db of one layer, and in no other place."""

import numpy as np

from fcnet.verify.line import Mistake, Values
from fcnet.verify.step import Step


def _a(s: Step) -> np.ndarray:
    return s.example.a(s.k - 1)


def _delta(s: Step, k: int) -> Values:
    """delta^[k]: the candidate's own if it has been read, for a layer below the true one."""
    return s.deltas[k] if k in s.deltas else s.example.true_delta(k)


def _other_dW(s: Step, k: int) -> np.ndarray:  # noqa: N802 - the notes' symbol
    return np.outer(_delta(s, k), s.example.a(k - 1))


def _zeroed(value: np.ndarray, where: tuple[slice | int, ...]) -> np.ndarray:
    value = value.copy()
    value[where] = 0
    return value


WEIGHTS = (
    Mistake(
        "transposed",
        "W",
        lambda s, e, k: s.expected.T,
        "is transposed: a[{below}] delta[{k}]^T",
    ),
    Mistake(
        "pre_activation",
        "W",
        lambda s, e, k: np.outer(s.delta, e.z(k - 1)),
        "uses z[{below}], before the activation, for a[{below}]",
    ),
    Mistake(
        "own_activation",
        "W",
        lambda s, e, k: np.outer(s.delta, e.a(k)),
        "uses a[{k}], this layer's own activation, for a[{below}]",
    ),
    Mistake(
        "own_pre_activation",
        "W",
        lambda s, e, k: np.outer(s.delta, e.z(k)),
        "uses z[{k}] for a[{below}]",
    ),
    Mistake(
        "activation_two_below",
        "W",
        lambda s, e, k: np.outer(s.delta, e.a(k - 2)) if k > 1 else s.expected,
        "uses the activation two layers below for a[{below}]",
    ),
    Mistake(
        "input_for_activation",
        "W",
        lambda s, e, k: np.outer(s.delta, e.a(0)),
        "uses the input x for a[{below}]",
    ),
    Mistake(
        "activation_missing",
        "W",
        lambda s, e, k: np.outer(s.delta, np.ones_like(e.a(k - 1))),
        "is delta[{k}] in every column: the factor a[{below}]^T is missing",
    ),
    Mistake(
        "delta_missing",
        "W",
        lambda s, e, k: np.outer(np.ones_like(s.delta), e.a(k - 1)),
        "is a[{below}] in every row: the factor delta[{k}] is missing",
    ),
    Mistake(
        "derivative_for_activation",
        "W",
        lambda s, e, k: np.outer(s.delta, e.slope(k - 1)),
        "uses sigma'(z[{below}]) for a[{below}]",
    ),
    Mistake(
        "doubled_activation",
        "W",
        lambda s, e, k: np.outer(s.delta, e.a(k - 1) ** 2),
        "has the factor a[{below}] twice",
    ),
    Mistake(
        "absolute_activation",
        "W",
        lambda s, e, k: np.outer(s.delta, abs(e.a(k - 1))),
        "has lost the signs of a[{below}]",
    ),
    Mistake(
        "centred_activation",
        "W",
        lambda s, e, k: np.outer(s.delta, e.a(k - 1) - e.a(k - 1).mean()),
        "uses a[{below}] less its mean",
    ),
    Mistake(
        "normalised_activation",
        "W",
        lambda s, e, k: np.outer(s.delta, e.a(k - 1) / np.linalg.norm(e.a(k - 1))),
        "uses a[{below}] divided by its norm",
    ),
    Mistake(
        "normalised_twice",
        "W",
        lambda s, e, k: np.outer(s.delta, e.a(k - 1) / (e.a(k - 1) @ e.a(k - 1))),
        "uses a[{below}] divided by its squared norm",
    ),
    Mistake(
        "reversed_activation",
        "W",
        lambda s, e, k: np.outer(s.delta, e.a(k - 1)[::-1]),
        "has the columns, the units of a[{below}], in reverse order",
    ),
    Mistake(
        "shifted_activation",
        "W",
        lambda s, e, k: np.outer(s.delta, np.roll(e.a(k - 1), 1)),
        "has the columns, the units of a[{below}], shifted by one",
    ),
    Mistake(
        "shifted_back_activation",
        "W",
        lambda s, e, k: np.outer(s.delta, np.roll(e.a(k - 1), -1)),
        "has the columns, the units of a[{below}], shifted back by one",
    ),
    Mistake(
        "summed_activation",
        "W",
        lambda s, e, k: np.outer(s.delta, np.full_like(e.a(k - 1), e.a(k - 1).sum())),
        "has the sum of a[{below}] in every column",
    ),
    Mistake(
        "summed_delta",
        "W",
        lambda s, e, k: np.outer(np.full_like(s.delta, s.delta.sum()), e.a(k - 1)),
        "has the sum of delta[{k}] in every row",
    ),
    Mistake(
        "absolute_delta",
        "W",
        lambda s, e, k: np.outer(abs(s.delta), e.a(k - 1)),
        "has lost the signs of delta[{k}]",
    ),
    Mistake(
        "last_input_dropped",
        "W",
        lambda s, e, k: _zeroed(s.expected, (slice(None), -1)),
        "leaves out the last input of layer {k}",
    ),
    Mistake(
        "first_input_dropped",
        "W",
        lambda s, e, k: _zeroed(s.expected, (slice(None), 0)),
        "leaves out the first input of layer {k}",
    ),
    Mistake(
        "diagonal_only",
        "W",
        lambda s, e, k: s.expected * np.eye(*s.expected.shape),
        "has its diagonal only",
    ),
    Mistake("lower_triangle", "W", lambda s, e, k: np.tril(s.expected), "has its lower triangle only"),
    Mistake("upper_triangle", "W", lambda s, e, k: np.triu(s.expected), "has its upper triangle only"),
    Mistake(
        "symmetrised",
        "W",
        lambda s, e, k: (s.expected + s.expected.T) / 2,
        "is averaged with its transpose",
    ),
    Mistake(
        "cached_activation",
        "W",
        lambda s, e, k: np.outer(s.delta, s.peers[0].example.a(k - 1)),
        "uses a[{below}] of the first input it was ever called with: a cache is never renewed",
    ),
    Mistake(
        "stale_activation",
        "W",
        lambda s, e, k: np.outer(s.delta, s.earlier(1).example.a(k - 1)),
        "uses a[{below}] of the previous call: a cache is stale",
    ),
    Mistake(
        "activities",
        "W",
        lambda s, e, k: np.outer(e.a(k), e.a(k - 1)),
        "is a[{k}] a[{below}]^T: delta[{k}] is missing",
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
        lambda s, e, k: (e.W(k), s.expected),
        "is the updated W[{k}] itself, W[{k}] + {c} delta[{k}] a[{below}]^T, not its gradient",
    ),
    Mistake(
        "weights_for_gradient",
        "W",
        lambda s, e, k: (np.zeros_like(s.expected), e.W(k)),
        "is {c} W[{k}]: the weights stand where their gradient must be",
    ),
)
"""dW alone."""

BIASES = (
    Mistake(
        "ones", "b", lambda s, e, k: np.ones_like(s.expected), "is 1: the factor delta[{k}] is missing"
    ),
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
        lambda s, e, k: _delta(s, k + 1),
        "is that of layer {above}: two arrays are swapped or in the wrong order",
    ),
    Mistake(
        "swapped_below",
        "b",
        lambda s, e, k: _delta(s, k - 1),
        "is that of layer {below}: two arrays are swapped or in the wrong order",
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
        lambda s, e, k: (e.b(k), s.expected),
        "is the updated b[{k}] itself, b[{k}] + {c} delta[{k}], not its gradient",
    ),
    Mistake(
        "bias_for_gradient",
        "b",
        lambda s, e, k: (np.zeros_like(s.expected), e.b(k)),
        "is {c} b[{k}]: the bias stands where its gradient must be",
    ),
)
"""db alone."""


def _scaled_rows(s: Step, factor: np.ndarray) -> np.ndarray:
    rows = s.delta * factor if s.place == "b" else np.outer(s.delta * factor, _a(s))
    return rows


EITHER = (
    Mistake(
        "without_derivative",
        "Wb",
        lambda s, e, k: s.back if s.place == "b" else np.outer(s.back, e.a(k - 1)),
        "is taken before delta[{k}] is multiplied by sigma'(z[{k}])",
    ),
    Mistake(
        "derivative_repeated",
        "Wb",
        lambda s, e, k: _scaled_rows(s, e.slope(k)),
        "has sigma'(z[{k}]) once more, which delta[{k}] has already",
    ),
    Mistake(
        "delta_above",
        "W",
        lambda s, e, k: np.outer(_delta(s, k + 1), e.a(k - 1)),
        "uses delta[{above}] for delta[{k}]",
    ),
    Mistake(
        "delta_below",
        "W",
        lambda s, e, k: np.outer(_delta(s, k - 1), e.a(k - 1)),
        "uses delta[{below}] for delta[{k}]",
    ),
)
"""Both: delta in the wrong form."""

GRADIENTS = (*WEIGHTS, *BIASES, *EITHER)
"""Tried on line 5."""

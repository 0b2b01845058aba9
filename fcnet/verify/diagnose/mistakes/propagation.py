"""Known mistakes in line 4 of Algorithm 5: the way back from layer k+1."""

from collections.abc import Callable

import numpy as np

from fcnet.verify.diagnose.line import Mistake, Vector
from fcnet.verify.diagnose.mistakes.output import (
    PER_PREDICTION,
    PerPrediction,
    per_class,
    probability,
)
from fcnet.verify.diagnose.single import Single, Step
from fcnet.verify.types import Values


def _through_bias(s: Step) -> float:
    """The entry of [b, W]^T delta[k+1] that belongs to the bias and must be cut off."""
    return float(s.example.b(s.k + 1) @ s.above)


def _bias_before(s: Step) -> Vector:
    return np.r_[_through_bias(s), s.back[:-1]]


def _bias_behind(s: Step) -> Vector:
    return np.r_[s.back[1:], _through_bias(s)]


def _from_prediction(dJ_dp: PerPrediction) -> Mistake:
    """The way back from dJ/dp of p and y, where the loss contains the prediction p."""

    def edit(s: Step, e: Single, k: int) -> Callable[[complex], Values]:
        if k + 1 != e.r:
            raise LookupError("layer k+1 is not the output")
        p, y = probability(e), e.y
        return lambda c: (e.W(k + 1).T @ dJ_dp(p, y, c)) * e.slope(k)

    says = "goes back from dJ/dp, the derivative by the prediction p, not from delta[{above}]"
    return Mistake("prediction_above", "4", edit, says)


_CUT = (
    "is cut at the wrong end: of [b, W]^T delta[{above}] the entry of the bias b[{above}] is kept, "
    "and one of a unit is dropped"
)

PROPAGATION = (
    Mistake(
        "not_transposed",
        "4",
        lambda s, e, k: (e.W(k + 1) @ s.above) * e.slope(k),
        "multiplies by W[{above}], not by its transpose",
    ),
    Mistake(
        "weights_of_this_layer",
        "4",
        lambda s, e, k: (e.W(k).T @ s.above) * e.slope(k),
        "goes back through W[{k}], not through W[{above}]",
    ),
    Mistake(
        "weights_missing",
        "4",
        lambda s, e, k: s.above * e.slope(k),
        "does not go through W[{above}] at all",
    ),
    Mistake(
        "weights_summed_out",
        "4",
        lambda s, e, k: np.full_like(s.expected, s.above.sum()) * e.slope(k),
        "adds up delta[{above}] without the weights W[{above}]",
    ),
    Mistake(
        "absolute_weights",
        "4",
        lambda s, e, k: (abs(e.W(k + 1)).T @ s.above) * e.slope(k),
        "has lost the signs of W[{above}]",
    ),
    Mistake(
        "squared_weights",
        "4",
        lambda s, e, k: (e.W(k + 1).T ** 2 @ s.above) * e.slope(k),
        "has the weights W[{above}] squared",
    ),
    Mistake(
        "above_without_derivative",
        "4",
        lambda s, e, k: (e.W(k + 1).T @ s.upstream.back(k + 1)) * e.slope(k),
        "goes back from delta[{above}] without its own factor sigma'(z[{above}])",
    ),
    *map(_from_prediction, (*PER_PREDICTION, per_class)),
    Mistake(
        "above_derivative_twice",
        "4",
        lambda s, e, k: (e.W(k + 1).T @ (s.above * e.slope(k + 1))) * e.slope(k),
        "has sigma'(z[{above}]) once more, which delta[{above}] has already",
    ),
    Mistake(
        "derivative_misplaced",
        "4",
        lambda s, e, k: e.W(k + 1).T @ (s.above * e.slope(k + 1)),
        "has sigma'(z[{above}]) before W[{above}]^T where sigma'(z[{k}]) must come after it",
    ),
    Mistake(
        "first_above_dropped",
        "4",
        lambda s, e, k: (e.W(k + 1)[1:].T @ s.above[1:]) * e.slope(k),
        "leaves out the first unit of layer {above}",
    ),
    Mistake(
        "last_above_dropped",
        "4",
        lambda s, e, k: (e.W(k + 1)[:-1].T @ s.above[:-1]) * e.slope(k),
        "leaves out the last unit of layer {above}",
    ),
    Mistake(
        "first_above_only",
        "4",
        lambda s, e, k: e.W(k + 1)[0] * s.above[0] * e.slope(k),
        "has the first unit of layer {above} only: = instead of +=",
    ),
    Mistake(
        "last_above_only",
        "4",
        lambda s, e, k: e.W(k + 1)[-1] * s.above[-1] * e.slope(k),
        "has the last unit of layer {above} only: = instead of +=",
    ),
    Mistake(
        "bias_added",
        "4",
        lambda s, e, k: (s.back + e.b(k)) * e.slope(k),
        "has the bias b[{k}] added before sigma'(z[{k}]), as on the way forward",
    ),
    Mistake("bias_column", "4", lambda s, e, k: _bias_before(s) * e.slope(k), _CUT),
    Mistake("bias_column", "4", lambda s, e, k: _bias_behind(s) * e.slope(k), _CUT),
    Mistake(  # here with sigma' of the constant 1 or z that feeds the bias
        "bias_column",
        "4",
        lambda s, e, k: (
            np.r_[0, s.expected[:-1]],
            np.r_[_through_bias(s), 0 * s.expected[:-1]],
        ),
        _CUT,
    ),
    Mistake(
        "activities_above",
        "4",
        lambda s, e, k: (e.W(k + 1).T @ e.a(k + 1)) * e.slope(k),
        "goes back from the activation a[{above}], not from delta[{above}]",
    ),
    Mistake(
        "activities",
        "4",
        lambda s, e, k: e.a(k),
        "is the activation a[{k}] itself",
    ),
    Mistake(
        "residual_added",
        "4",
        lambda s, e, k: s.expected + s.above,
        "has delta[{above}] added, as if there were a connection past layer {above}",
    ),
    Mistake(
        "times_activation", "4", lambda s, e, k: s.expected * e.a(k), "has an extra factor a[{k}]"
    ),
    Mistake(
        "updated_weights",
        "4",
        lambda s, e, k: (s.expected, -(e.descent(k + 1).T @ s.above) * e.slope(k)),
        "goes back through weights that were updated before: the updated weights "
        "W[{above}] - {c} dJ/dW[{above}] were used in the backward pass of layer {k}, so all "
        "layers' deltas must be computed before any weight changes",
    ),
    Mistake(
        "updated_weights",
        "4",
        lambda s, e, k: (
            (e.W(k + 1).T @ s.upstream.back(k + 1)) * e.slope(k),
            -(e.descent(k + 1).T @ s.upstream.back(k + 1)) * e.slope(k),
        ),
        "goes back through weights that were updated before, W[{above}] - {c} dJ/dW[{above}], and "
        "from delta[{above}] without its own factor sigma'(z[{above}])",
    ),
)
"""Tried on line 4."""

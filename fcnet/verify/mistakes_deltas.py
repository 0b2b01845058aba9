"""Known mistakes in lines 2 and 4 of Algorithm 5: in delta, and so in all layers below."""

from collections.abc import Callable

import numpy as np

from fcnet.verify.single import Example, slope
from fcnet.verify.line import Mistake, Values
from fcnet.verify.step import Step

FAMILIAR: dict[str, tuple[Callable[[Values], Values], Callable[[Values], Values]]] = {
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda a: a * (1 - a)),
    "relu": (lambda z: np.maximum(z, 0), lambda a: 1.0 * (a > 0)),
    "tanh": (np.tanh, lambda a: 1 - a**2),
}
"""Activations beside their derivative as people write it, with a = sigma(z)."""


def _derivative_of(name: str) -> Callable[[Step, Example, int], Values]:
    function, formula = FAMILIAR[name]
    return lambda s, e, k: s.back * formula(function(e.z(k)))


def _formula_at_z(s: Step, e: Example, k: int) -> Values:
    activation = e.problem.output_activation if k == e.r else e.problem.activation
    if activation.name not in FAMILIAR:
        raise ValueError("no formula in a is in use")
    return s.back * FAMILIAR[activation.name][1](e.z(k))


def _hidden(s: Step) -> np.ndarray:
    return slope(s.example.problem.activation, s.example.z(s.k))


def _of_output(s: Step) -> np.ndarray:
    return slope(s.example.problem.output_activation, s.example.z(s.k))


def _residual(s: Step) -> np.ndarray:
    return s.example.a(s.k) - s.example.y


def _choice(mean: np.ndarray) -> np.ndarray:
    return np.eye(len(mean))[mean.argmax()] if len(mean) > 1 else (mean > 0.5).astype(float)


DERIVATIVE = (
    Mistake("missing_derivative", "24", lambda s, e, k: s.back, "lacks the factor sigma'(z[{k}])"),
    Mistake(
        "doubled_derivative",
        "24",
        lambda s, e, k: s.back * e.slope(k) ** 2,
        "has the factor sigma'(z[{k}]) twice",
    ),
    Mistake(
        "derivative_at_a",
        "24",
        lambda s, e, k: s.back * e.slope_at_a(k),
        "takes sigma' at the activation a[{k}], not at z[{k}]",
    ),
    Mistake(
        "output_formula_at_z",
        "24",
        _formula_at_z,
        "puts z[{k}] into the formula of sigma' that is made for a[{k}] = sigma(z[{k}])",
    ),
    Mistake(
        "derivative_above",
        "4",
        lambda s, e, k: s.back * e.slope(k + 1),
        "takes sigma' at z[{above}], of the layer above, not at z[{k}]",
    ),
    Mistake(
        "derivative_below",
        "24",
        lambda s, e, k: s.back * e.slope(k - 1),
        "takes sigma' at z[{below}], of the layer below, not at z[{k}]",
    ),
    Mistake(
        "activation_for_derivative",
        "24",
        lambda s, e, k: s.back * e.a(k),
        "is multiplied by a[{k}] = sigma(z[{k}]), not by sigma'(z[{k}])",
    ),
    Mistake(
        "z_for_derivative",
        "24",
        lambda s, e, k: s.back * e.z(k),
        "is multiplied by z[{k}], not by sigma'(z[{k}])",
    ),
    Mistake(
        "hidden_derivative",
        "2",
        lambda s, e, k: s.back * _hidden(s),
        "has the hidden layers' sigma' at the output, which has its own",
    ),
    Mistake(
        "output_derivative",
        "4",
        lambda s, e, k: s.back * _of_output(s),
        "has the output's sigma' in a hidden layer, which has its own",
    ),
    *(
        Mistake(
            f"derivative_of_{name}",
            "24",
            _derivative_of(name),
            f"has the derivative of {name}, which is not this layer's activation",
        )
        for name in FAMILIAR
    ),
    Mistake(
        "inverted_mask",
        "24",
        lambda s, e, k: s.back * (1 - e.slope(k)),
        "has 1 - sigma'(z[{k}]) for sigma'(z[{k}]): for ReLU, the mask is the wrong way round",
    ),
    Mistake(
        "divided_by_derivative",
        "24",
        lambda s, e, k: s.back / e.slope(k),
        "is divided by sigma'(z[{k}]) instead of multiplied",
    ),
    Mistake(
        "derivative_added",
        "24",
        lambda s, e, k: s.back + e.slope(k),
        "has sigma'(z[{k}]) added instead of multiplied",
    ),
    Mistake(
        "derivative_alone",
        "24",
        lambda s, e, k: e.slope(k),
        "is sigma'(z[{k}]) alone: what comes from above is ignored",
    ),
    Mistake(
        "mask_from_above",
        "4",
        lambda s, e, k: s.back * (s.back > 0),
        "has its mask from the sign of W[{above}]^T delta[{above}], not of z[{k}]",
    ),
    Mistake(
        "guided",
        "4",
        lambda s, e, k: s.expected * (s.back > 0),
        "is masked a second time, by the sign of W[{above}]^T delta[{above}]",
    ),
    Mistake(
        "derivative_at_back",
        "4",
        lambda s, e, k: s.back * slope(e.problem.activation, s.back),
        "takes sigma' at W[{above}]^T delta[{above}], not at z[{k}]",
    ),
)
"""sigma' forgotten, repeated, or taken elsewhere."""

OUTPUT = (
    Mistake(
        "target_not_subtracted",
        "2",
        lambda s, e, k: e.prediction * e.slope(k),
        "does not subtract the target y",
    ),
    Mistake(
        "target_added",
        "2",
        lambda s, e, k: (2 * e.prediction - s.back) * e.slope(k),
        "adds the target y instead of subtracting it",
    ),
    Mistake(
        "link_missing",
        "2",
        lambda s, e, k: _residual(s) * e.slope(k),
        "is o - y with the raw output o: the step from o to the prediction is missing",
    ),
    Mistake(
        "extra_derivative",
        "2",
        lambda s, e, k: s.expected * e.prediction * (1 - e.prediction),
        "has an extra factor p (1 - p), p being the prediction: this loss has used it up already",
    ),
    Mistake(
        "extra_jacobian",
        "2",
        lambda s, e, k: e.prediction * (s.expected - e.prediction @ s.expected),
        "has the Jacobian of softmax once more: this loss has used it up already",
    ),
    Mistake(
        "jacobian_diagonal",
        "2",
        lambda s, e, k: -e.y * (1 - e.prediction),
        "uses only the diagonal p (1 - p) of the Jacobian: the entries beside it are missing",
    ),
    Mistake(
        "loss_of_prediction",
        "2",
        lambda s, e, k: -e.y / e.prediction,
        "is -y / p, the derivative by the prediction p; its derivative by o is missing",
    ),
    Mistake(
        "true_class_only",
        "2",
        lambda s, e, k: s.expected * e.y,
        "is kept for the true class only, and multiplied by y elsewhere",
    ),
    Mistake(
        "squared_error",
        "2",
        lambda s, e, k: _residual(s) ** 2 / 2 * e.slope(k),
        "has the squared error (o - y)^2 / 2 itself for its derivative o - y",
    ),
    Mistake(
        "decision",
        "2",
        lambda s, e, k: _choice(e.prediction) - e.y,
        "compares the decision with y, not the prediction",
    ),
    Mistake(
        "label_off_by_one",
        "2",
        lambda s, e, k: s.expected + (e.y - np.roll(e.y, 1)) * e.slope(k),
        "has the labels off by one: class c is taken for class c + 1",
    ),
    Mistake(
        "label_off_by_minus_one",
        "2",
        lambda s, e, k: s.expected + (e.y - np.roll(e.y, -1)) * e.slope(k),
        "has the labels off by one: class c is taken for class c - 1",
    ),
    Mistake(
        "relative_error",
        "2",
        lambda s, e, k: s.expected / e.y,
        "is divided by the target y",
    ),
    Mistake(
        "smoothed_labels",
        "2",
        lambda s, e, k: (s.expected, (e.y - e.y.mean()) * e.slope(k)),
        "has its labels smoothed by {c}, which the loss does not",
    ),
)
"""Line 2 alone: the derivative of the loss."""


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
        lambda s, e, k: (e.W(k + 1).T @ s.back_at(k + 1)) * e.slope(k),
        "goes back from delta[{above}] without its own factor sigma'(z[{above}])",
    ),
    Mistake(
        "above_derivative_twice",
        "4",
        lambda s, e, k: (
            (e.W(k + 1).T @ (s.above * e.slope(k + 1))) * e.slope(k)
        ),
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
        "hears of the first unit of layer {above} only: = where += is meant",
    ),
    Mistake(
        "last_above_only",
        "4",
        lambda s, e, k: e.W(k + 1)[-1] * s.above[-1] * e.slope(k),
        "hears of the last unit of layer {above} only: = where += is meant",
    ),
    Mistake(
        "bias_added",
        "4",
        lambda s, e, k: (s.back + e.b(k)) * e.slope(k),
        "has the bias b[{k}] added before sigma'(z[{k}]), as on the way forward",
    ),
    Mistake(
        "residual_added",
        "4",
        lambda s, e, k: s.expected + s.above,
        "has delta[{above}] added, as if there were a connection past layer {above}",
    ),
    Mistake(
        "times_activation",
        "4",
        lambda s, e, k: s.expected * e.a(k),
        "has an extra factor a[{k}]",
    ),
    Mistake(
        "updated_weights",
        "4",
        lambda s, e, k: (
            s.expected,
            -(e.dW(k + 1).T @ s.above) * e.slope(k),
        ),
        "goes back through weights that were updated before: the updated weights "
        "W[{above}] - {c} dJ/dW[{above}] were used in the backward pass of layer {k}, so all "
        "layers' deltas must be computed before any weight changes",
    ),
)
"""Line 4 alone: the way back from layer k+1."""

DELTAS = (*DERIVATIVE, *OUTPUT, *PROPAGATION)
"""Tried on lines 2 and 4."""

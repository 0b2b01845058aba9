"""Known mistakes with sigma' in lines 2 and 4: forgotten, repeated, or taken elsewhere."""

from collections.abc import Callable

import numpy as np

from fcnet.verify.line import Mistake, Values
from fcnet.verify.single import Example, slope
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


SLOPES = (
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
"""Tried on lines 2 and 4."""

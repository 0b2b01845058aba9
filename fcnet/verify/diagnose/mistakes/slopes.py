"""Known mistakes with sigma' in lines 2 and 4: forgotten, repeated, or taken elsewhere."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fcnet.verify.diagnose.line import Mistake
from fcnet.verify.diagnose.single import Single, Step
from fcnet.verify.truth.functions import slope
from fcnet.verify.types import Values


class Familiar(NamedTuple):
    """An activation, beside its derivative as people write it: a formula in a = sigma(z)."""

    name: str
    function: Callable[[Values], Values]
    formula: Callable[[Values], Values]
    text: str


SIGMOID = Familiar("sigmoid", lambda z: 1 / (1 + np.exp(-z)), lambda a: a * (1 - a), "a (1 - a)")
RELU = Familiar("relu", lambda z: np.maximum(z, 0), lambda a: 1.0 * (a > 0), "1{{a > 0}}")
TANH = Familiar("tanh", np.tanh, lambda a: 1 - a**2, "1 - a^2")

FAMILIAR = (SIGMOID, RELU, TANH)


def _derivative_of(other: Familiar) -> Callable[[Step, Single, int], Values]:
    return lambda s, e, k: s.back * other.formula(other.function(e.z(k)))


def _formula_of(other: Familiar) -> Callable[[Step, Single, int], Values]:
    return lambda s, e, k: s.back * other.formula(e.a(k))


def _has_values(row: Familiar, e: Single, k: int) -> bool:
    return np.allclose(row.function(e.z(k)), e.a(k), rtol=1e-9, atol=1e-12)


def _formula_at_z(s: Step, e: Single, k: int) -> Values:
    """The formula in a of the activation with these values, whatever it is called."""
    for row in FAMILIAR:
        if all(_has_values(row, p.example, k) for p in s.peers):
            return s.back * row.formula(e.z(k))
    raise ValueError("no formula in a is in use")


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
        "derivative_above",
        "4",
        lambda s, e, k: s.back * slope(e.cost.objective.activation, e.z(k + 1)),
        "takes the hidden layers' sigma' at z[{above}], of the layer above, not at z[{k}]",
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
        "sign_for_derivative",
        "24",
        lambda s, e, k: s.back * np.sign(e.z(k)),
        "is multiplied by the sign of z[{k}], which is -1 below 0, not by sigma'(z[{k}])",
    ),
    Mistake(
        "hidden_derivative",
        "2",
        lambda s, e, k: s.back * slope(e.cost.objective.activation, e.z(k)),
        "has the hidden layers' sigma' at the output, which has its own",
    ),
    Mistake(
        "output_derivative",
        "4",
        lambda s, e, k: s.back * slope(e.cost.objective.output_activation, e.z(k)),
        "has the output's sigma' in a hidden layer, which has its own",
    ),
    *(
        Mistake(
            f"derivative_of_{row.name}",
            "24",
            _derivative_of(row),
            f"has the derivative of {row.name}, which is not this layer's activation",
        )
        for row in FAMILIAR
    ),
    *(
        Mistake(
            f"formula_of_{row.name}",
            "24",
            _formula_of(row),
            f"has {row.text}, with a = a[{{k}}], for sigma'(z[{{k}}]): the derivative of "
            f"{row.name}, which is not this layer's activation",
        )
        for row in (SIGMOID, TANH)  # ReLU's is 1, or its derivative at z again
    ),
    Mistake(
        "one_minus_activation",
        "24",
        lambda s, e, k: s.back * (1 - e.a(k)),
        "has 1 - a[{k}] for sigma'(z[{k}]), which is a (1 - a) for a sigmoid and 1 - a^2 for tanh",
    ),
    Mistake(
        "half_at_z",
        "24",
        lambda s, e, k: s.back * e.a(k) * (1 - e.z(k)),
        "has a (1 - z), with a = a[{k}] and z = z[{k}], for sigma'(z[{k}]): of a sigmoid that is "
        "a (1 - a)",
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
        "24b",
        lambda s, e, k: e.slope(k),
        "is sigma'(z[{k}]) alone: the factor before it is missing",
    ),
    Mistake(
        "mask_from_above",
        "4",
        lambda s, e, k: s.back * (s.back > 0),
        "has its mask from the sign of W[{above}]^T delta[{above}], not of z[{k}]",
    ),
    Mistake(
        "constant_where_masked",
        "4",
        lambda s, e, k: (s.back * (e.z(k) > 0), 1.0 * (e.z(k) <= 0)),
        "is {c} itself where z[{k}] is not positive, not {c} times W[{above}]^T delta[{above}]",
    ),
    Mistake(
        "constant_where_masked",
        "4",
        lambda s, e, k: (s.back * (s.back > 0), 1.0 * (s.back <= 0)),
        "is {c} itself where W[{above}]^T delta[{above}], not z[{k}], is not positive",
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
        lambda s, e, k: s.back * slope(e.cost.objective.activation, s.back),
        "takes sigma' at W[{above}]^T delta[{above}], not at z[{k}]",
    ),
)
"""Tried on lines 2 and 4."""

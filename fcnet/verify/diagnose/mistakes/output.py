"""Known mistakes in line 2 of Algorithm 5: the derivative of the loss."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fcnet.types import itself
from fcnet.verify.diagnose.line import Mistake, Vector
from fcnet.verify.diagnose.mistakes.slopes import SIGMOID, TANH
from fcnet.verify.diagnose.single import Single, Step
from fcnet.verify.types import Values

LABEL_SUBTRACTED = "subtracts the label, the number of the class, not its one-hot vector"


def labels_of(y: Values) -> Values:
    """The numbers of the classes of one-hot targets; ValueError for one output, which has none."""
    if y.shape[-1] == 1:
        raise ValueError("one output has no one-hot targets")
    return y.argmax(-1)


def _residual(s: Step) -> np.ndarray:
    return s.example.a(s.k) - s.example.y


def _choice(mean: np.ndarray) -> np.ndarray:
    return np.eye(len(mean))[mean.argmax()] if len(mean) > 1 else (mean > 0.5).astype(float)


def _contained(e: Single) -> Vector:
    """The prediction of a loss that contains its activation; ValueError for another loss."""
    if e.cost.objective.loss.mean is itself:
        raise ValueError("the outputs are the prediction")
    return e.prediction


def probability(e: Single) -> Vector:
    """The prediction p of a loss with dJ/do = p - y; ValueError for another, such as a hinge."""
    if not np.allclose(e.prediction - e.y, e.error):
        raise ValueError("dJ/do is not p - y")
    return e.prediction


def _softmax_back(p: Values, d: Any) -> Any:
    """Through the Jacobian of softmax: dJ/do from d = dJ/dp."""
    if len(p) == 1:
        raise ValueError("the softmax of one output is 1")
    return p * (d - p @ d)


PerPrediction = Callable[[Values, Values, complex], Values]
"""A derivative by the prediction p or the output o, of p, y and an epsilon c in each division."""

PER_PREDICTION: tuple[PerPrediction, ...] = (
    lambda p, y, c: (1 - y) / (1 - p + c) - y / (p + c),
    lambda p, y, c: (p - y) / (p * (1 - p) + c),
)
"""dJ/dp of p and y for each output alone, with the epsilon c that people add to a denominator."""


def per_class(p: Values, y: Values, c: complex) -> Any:
    """dJ/dp of p = softmax(o), with an epsilon c."""
    return -y / (p + c)


def _each_back(dJ_dp: PerPrediction) -> PerPrediction:
    """dJ/do from dJ/dp for each output alone."""
    return lambda p, y, c: p * (1 - p) * dJ_dp(p, y, c)


EPSILON = float(np.finfo(np.float32).eps)
"""The spacing of float32 at 1: what people add to a denominator is usually less, such as 1e-8."""


EPSILON_SPOILS = (
    "has an epsilon of {c} in a division, which spoils it where a prediction p is near 0 or 1; "
    "multiplied out, there is no division"
)
EPSILON_IN_SOFTMAX = (
    "has an epsilon of {c} in the sum by which softmax divides: without it that sum is 1 at least, "
    "so leave it out"
)


def _with_epsilon(dJ_do: PerPrediction, says: str = EPSILON_SPOILS) -> Mistake:
    """dJ/do of p and y with an epsilon c in each division."""
    return Mistake(
        "epsilon",
        "2",
        lambda s, e, k: lambda c: dJ_do(probability(e), e.y, c) * e.slope(k),
        says,
        EPSILON,
    )


def _epsilon_in_softmax(p: Values, y: Values, c: complex) -> Any:
    """p - y with an epsilon in the sum of exp(o - max o), which is 1 / max p."""
    if len(p) == 1:
        raise ValueError("the softmax of one output is 1")
    return p / (1 + c * p.max()) - y


AFTER_PREDICTION: tuple[tuple[str, Callable[[Values, Values], Values], str], ...] = (
    ("loss_of_prediction", lambda p, o: np.ones_like(p), "without its factor p (1 - p)"),
    ("activation_for_derivative", lambda p, o: p, "times p, not times p (1 - p)"),
    ("one_minus_activation", lambda p, o: 1 - p, "times 1 - p, not times p (1 - p)"),
    ("formula_of_tanh", lambda p, o: TANH.formula(p), "times 1 - p^2, not times p (1 - p)"),
    ("output_formula_at_z", lambda p, o: o * (1 - o), "times o (1 - o), not times p (1 - p)"),
    (
        "derivative_at_a",
        lambda p, o: SIGMOID.formula(SIGMOID.function(p)),
        "times the derivative of a sigmoid at p, not at o",
    ),
)
"""Kinds of slips in the factor p (1 - p) after dJ/dp: what is there, a function of p and o."""


def _after_prediction(
    kind: str, factor: Callable[[Values, Values], Values], says: str
) -> list[Mistake]:
    """dJ/dp times something else than p (1 - p), of p and o."""

    def edit(dJ_dp: PerPrediction) -> Callable[..., Callable[[complex], Values]]:
        return lambda s, e, k: lambda c: dJ_dp(p := probability(e), e.y, c) * factor(p, e.z(k))

    says = f"is dJ/dp, by the prediction p, {says}"
    return [Mistake(kind, "2", edit(dJ_dp), says) for dJ_dp in PER_PREDICTION]


def _accuracy(sign: float, coupled: bool) -> Mistake:
    """The derivative of the probability of the right class, which training makes large."""

    def edit(s: Step, e: Any, k: int) -> Values:
        p, y = probability(e), e.y
        if coupled == (len(y) == 1):
            raise ValueError("for another number of outputs")
        slope = _softmax_back(p, y) if coupled else (2 * y - 1) * p * (1 - p)
        return sign * slope * e.slope(k)

    says = "is the derivative of the accuracy, the probability p of the right class, not of -log p"
    return Mistake("accuracy", "2", edit, says)


CONTAINED = (
    Mistake(
        "extra_derivative",
        "2",
        lambda s, e, k: s.expected * _contained(e) * (1 - e.prediction),
        "has an extra factor p (1 - p) of the prediction p: dJ/do of this loss contains it already",
    ),
)
"""Tried on line 2 before any other factor there: the loss contains what is written once more."""

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
        "extra_jacobian",
        "2",
        lambda s, e, k: _softmax_back(_contained(e), s.expected),
        "has the Jacobian of softmax once more: dJ/do of this loss contains it already",
    ),
    Mistake(
        "jacobian_diagonal",
        "2",
        lambda s, e, k: -e.y * (1 - probability(e)),
        "uses only the diagonal p (1 - p) of the Jacobian: the entries beside it are missing",
    ),
    Mistake(
        "loss_of_prediction",
        "2",
        lambda s, e, k: -e.y / probability(e),
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
        lambda s, e, k: _choice(probability(e)) - e.y,
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
        "label_subtracted",
        "2",
        lambda s, e, k: s.expected + (e.y - labels_of(e.y)) * e.slope(k),
        LABEL_SUBTRACTED,
    ),
    *(row for slip in AFTER_PREDICTION for row in _after_prediction(*slip)),
    _accuracy(-1.0, coupled=True),
    _accuracy(1.0, coupled=True),
    _accuracy(-1.0, coupled=False),
    _accuracy(1.0, coupled=False),
    *(_with_epsilon(_each_back(dJ_dp)) for dJ_dp in PER_PREDICTION),
    _with_epsilon(lambda p, y, c: _softmax_back(p, per_class(p, y, c))),
    _with_epsilon(_epsilon_in_softmax, EPSILON_IN_SOFTMAX),
    Mistake("relative_error", "2", lambda s, e, k: s.expected / e.y, "is divided by the target y"),
    Mistake(
        "smoothed_labels",
        "2",
        lambda s, e, k: (s.expected, (e.y - e.y.mean()) * e.slope(k)),
        "has its labels smoothed by {c}, which the loss does not",
    ),
)
"""Tried on line 2."""

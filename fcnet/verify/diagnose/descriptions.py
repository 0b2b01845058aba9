"""Another description that fits: the gradient is exact, but of another network or loss.

Descriptions are compared by Algorithm 5 in NumPy, so that hundreds are tried in no time; nothing is
compiled.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import product
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from fcnet.activations import ACTIVATIONS
from fcnet.losses import LOSSES
from fcnet.types import Activation, Layer, Loss, Params, itself
from fcnet.verify.truth.functions import activated, dJ_do, losses_of, slope
from fcnet.verify.truth.kinks import CONVENTIONS, has_kink, one_sided
from fcnet.verify.types import Answered, Case, Cost, Finding, Format, Values, form_finding, matching

Rows = Float[np.ndarray, "n m"]

ROUNDINGS, COARSEST = 1024, 0.05
"""How far a gradient may be from an exact one, relative to the terms that it adds up: in units of
rounding, and at most. No two descriptions are that near on all inputs."""

FLOOR = 1 / 64
"""The least share of a term's factors that counts for its rounding: sigma' near 0 loses digits."""

LIKELY = frozenset({"sum_for_mean", "mean_for_sum", "missing_derivative", "extra_derivative"})
"""Kinds of mistakes that people make as often as they describe another cost: both are said."""

OTHER_LOSSES = {
    "factor_2": "twice the loss, such as (o - y)^2 without the 1/2",
    "mean_squared_error": "the mean of (o - y)^2 over the outputs",
}
"""By kinds of mistakes in line 2, the loss for which it is none."""

NOTE = "line 2 is right for {}: if you mean that, pass loss=fcnet.Loss(name, J, dJ_do)"


OTHER_FORMS = (
    Activation("jax.nn.gelu", jax.nn.gelu, itself),
    *(
        Activation(f"leaky_relu of slope {c}", partial(jax.nn.leaky_relu, negative_slope=c), itself)
        for c in (0.1, 0.2, 0.3)
    ),
)
"""What other libraries have under a name of the table; `derivative` is never used here."""


class Description(NamedTuple):
    """A network and a loss: what `check` takes as keywords."""

    activation: Activation
    output_activation: Activation
    loss: Loss
    reduction: str

    def changed(self, other: "Description") -> dict[str, str]:
        """The keywords in which another description differs, with their values there, as code."""
        mine, theirs = self._asdict(), other._asdict()
        return {field: _code(value) for field, value in theirs.items() if value != mine[field]}


def _code(value: str | Activation | Loss) -> str:
    name = repr(value if isinstance(value, str) else value.name)
    return f"fcnet.Activation({name}, function, derivative)" if value in OTHER_FORMS else name


def described(cost: Cost) -> Description:
    """The description of a cost."""
    return Description(*cost.objective, cost.reduction)


def neighbours(own: Description, r: int) -> Iterator[Description]:
    """All other descriptions by the tables' rows; the hidden activation counts from two layers."""
    outputs = dict.fromkeys((*ACTIVATIONS.values(), own.output_activation))
    every = (*ACTIVATIONS.values(), *OTHER_FORMS, own.activation)
    hidden = dict.fromkeys(every if r > 1 else (own.activation,))
    losses = dict.fromkeys((*LOSSES.values(), own.loss))
    for choices in product(hidden, outputs, losses, ("mean", "sum")):
        if choices != own:
            yield Description(*choices)


def other_description(
    cost: Cost, answered: Sequence[Answered], format: Format
) -> Description | None:
    """The description other than the cost's under which all gradients are exact, if there is one.

    Args:
        cost: as described; its gradient is known to be another.
        answered: the data's part of what was returned on several inputs, the first the user's own.
        format: of what the candidate returned.

    Returns:
        Of several the one with the fewest other keywords; None if none fits on all inputs, or if
        the described one fits as well.
    """
    own, r = described(cost), answered[0].case.r
    # an input that has nothing special about it tells the most descriptions apart
    usual = answered[min(1, len(answered) - 1)]
    others = sorted(neighbours(own, r), key=lambda d: len(own.changed(d)))
    with np.errstate(all="ignore"):
        if all(fits(own, one, format) for one in answered):
            return None
        hidden = dict.fromkeys(other.activation for other in others)
        passed = {sigma: forward(sigma, usual.case) for sigma in hidden}
        signals = cache(partial(_signals, passed, usual.case.Y))
        for other in others:
            sigma, last, loss, _ = other
            signal = signals(last, loss)[sigma]
            if (
                fits(other, usual, format, passed[sigma], signal, first=r - 1)
                and np.all(loss.labels.accepts(answered[0].case.Y))
                and all(fits(other, one, format) for one in answered)
            ):
                return other
    return None


def fits(
    description: Description,
    answered: Answered,
    format: Format,
    passed: "Passed | None" = None,
    signal: "Signal | None" = None,
    first: int = 0,
) -> bool:
    """Whether a gradient is exact under a description, for any ReLU'(0).

    Args:
        description: any.
        answered: a case and a gradient.
        format: of the gradient.
        passed, signal: the forward pass of the case, and delta^[r] of it, if they are known.
        first: the number of layers, from the input, that are left out of the comparison.
    """
    case, answer = answered
    passed = forward(description.activation, case) if passed is None else passed
    got, params = answer.gradient[first:], case.params[first:]
    tied = any((z == 0).any() for z in passed.z)
    for c in CONVENTIONS if tied else CONVENTIONS[-1:]:
        right, terms = backward(description, case, passed, None if tied else signal, c, first)
        arrays = (matching(got, part) for part in (got, right, terms, params))
        if all(_is_near(g, r, t, w, format) for g, r, t, w in zip(*arrays, strict=True)):
            return True
    return False


def _is_near(got: Values, right: Values, terms: Values, theta: Values, format: Format) -> bool:
    share = min(ROUNDINGS * format.u, COARSEST)
    allowed = share * terms + ROUNDINGS * (format.tiny + format.lost * abs(theta))
    return bool((abs(got - right) <= allowed).all())


class Passed(NamedTuple):
    """The forward pass of all rows: a^[0..r-1], z^[1..r], and sizes of the terms of a^[0..r-1]."""

    a: list[Rows]
    z: list[Rows]
    sizes: list[Rows]


class Signal(NamedTuple):
    """delta of all rows in one layer, and the sizes of the terms that it adds up."""

    delta: Rows
    size: Rows

    def times(self, slopes: Rows) -> "Signal":
        """The signal times sigma'."""
        return Signal(self.delta * slopes, self.size * np.maximum(abs(slopes), FLOOR))


def forward(activation: Activation, case: Case) -> Passed:
    """The forward pass of a case up to z^[r]."""
    a, z, sizes = [case.X], [], [abs(case.X)]
    last = case.params[-1]
    for layer in case.params:
        z.append(a[-1] @ layer.W.T + layer.b)
        if layer is not last:
            a.append(activated(activation, z[-1]))
            terms = sizes[-1] @ abs(layer.W).T + abs(layer.b)
            sizes.append(abs(a[-1]) + FLOOR * terms)
    return Passed(a, z, sizes)


def _slopes(activation: Activation, z: Rows, convention: float) -> Rows:
    """sigma'(z), by a convention where z is exactly at a kink."""
    slopes = slope(activation, z)
    if not has_kink(activation):
        return slopes
    return np.where(z == 0, one_sided(activation).at(convention), slopes)


def output_signal(
    output_activation: Activation, loss: Loss, z: Rows, Y: Rows, convention: float = 1.0
) -> Signal:
    """delta^[r] of rows, from their z^[r] and targets."""
    o = activated(output_activation, z)
    error = dJ_do(loss, o, Y)
    signal = Signal(error, abs(error) + abs(o) + abs(Y))
    return signal.times(_slopes(output_activation, z, convention))


def _signals(
    passed: Mapping[Activation, Passed], Y: Rows, output_activation: Activation, loss: Loss
) -> dict[Activation, Signal]:
    """delta^[r] for each hidden activation; they are computed together, as rows of one batch."""
    z = np.concatenate([some.z[-1] for some in passed.values()])
    signal = output_signal(output_activation, loss, z, np.tile(Y, (len(passed), 1)))
    parts = zip(*(np.split(rows, len(passed)) for rows in signal), strict=True)
    return dict(zip(passed, map(Signal._make, parts), strict=True))


def backward(
    description: Description,
    case: Case,
    passed: Passed,
    signal: Signal | None = None,
    convention: float = 1.0,
    first: int = 0,
) -> tuple[Params, Params]:
    """The gradient of the layers after the `first`, and the sizes of the terms that it adds up.

    `signal` is delta^[r] if it is known.
    """
    hidden, output, loss, reduction = description
    share = 1 / case.n if reduction == "mean" else 1.0
    signal = signal or output_signal(output, loss, passed.z[-1], case.Y, convention)
    gradient: list[Any] = []
    terms: list[Any] = []
    for k in reversed(range(first, case.r)):
        delta, size = signal
        gradient.insert(0, Layer._make((share * (delta.T @ passed.a[k]), share * delta.sum(0))))
        terms.insert(0, Layer._make((share * (size.T @ passed.sizes[k]), share * size.sum(0))))
        if k > first:
            W = case.params[k].W
            slopes = _slopes(hidden, passed.z[k - 1], convention)
            signal = Signal(delta @ W, size @ abs(W)).times(slopes)
    return tuple(gradient), tuple(terms)


def loss_notes(findings: Sequence[Finding]) -> list[str]:
    """How to pass the loss for which line 2 would be right."""
    kinds = [finding.kind for finding in findings if finding.line == 2]
    return [NOTE.format(OTHER_LOSSES[kind]) for kind in kinds if kind in OTHER_LOSSES]


def has_loss(description: Description, answered: Answered, term: float, format: Format) -> bool:
    """Whether the loss beside a gradient is that of a description, with a term added."""
    case, answer = answered
    if answer.loss is None:
        return False
    z = forward(description.activation, case).z[-1]
    losses = losses_of(description.loss, activated(description.output_activation, z), case.Y)
    value = losses.mean() if description.reduction == "mean" else losses.sum()
    allowed = min(ROUNDINGS * format.u, COARSEST) * (abs(losses).sum() + abs(term))
    return bool(abs(answer.loss - value - term) <= allowed)


def describe(own: Description, other: Description) -> str:
    """The keywords of another description, as one passes them."""
    changed = own.changed(other)
    if other.output_activation is ACTIVATIONS["identity"] and "output_activation" in changed:
        del changed["output_activation"]
        if other.loss.mean is not itself:
            changed["loss"] = _code(other.loss)
        name = other.loss.mean_name
        why = f": that loss contains the {name}" if name else ""
        return f"{_keywords(changed)}{' and ' * bool(changed)}no output_activation{why}"
    return _keywords(changed)


def _keywords(values: Mapping[str, str]) -> str:
    return ", ".join(f"{keyword}={value}" for keyword, value in values.items())


def description_findings(
    text: str, lines: Sequence[Finding], beside_terms: bool = False
) -> list[Finding]:
    """One finding for another description that fits.

    Args:
        text: its keywords.
        lines: what is wrong as described. If that is a single known mistake, both are said.
        beside_terms: whether the gradient has other terms of the parameters than it should have.
    """
    apart = "apart from its terms of the parameters, " if beside_terms else ""
    exact = f"{apart}this is the exact gradient with {text}"
    known = lines[0] if len(lines) == 1 and lines[0].kind != "unknown" else None
    if known and known.kind in LIKELY:
        comma = "," if beside_terms else ""
        message = f"{known.message} Or{comma} {exact}; pass that if it is what you mean."
        return [known._replace(message=message)]
    message = f"{exact}; pass that if it is what you mean, since it is wrong as you described it"
    if known:
        message += f". If your description is right: {known.message}"
    return [form_finding("other_description", message)]

"""The nouns of the gradient checker: what is asked, what is tried, what is known, what is found.

Inside this room arrays are NumPy's, in float64 and in the notes' layout: one `Layer(W, b)` a layer,
`W` of shape (m_k, m_{k-1}), examples as rows. A network without a bias has b = 0 there, and its
gradient has None for it. The candidate sees the user's own layout, array
library and dtype; `candidate.py` translates.
"""

from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from fcnet.types import Activation, Objective, Params, Trace

Severity: TypeAlias = Literal["error", "warning"]
"""Whether a finding makes a program wrong, or only unwise: the numbers are right all the same."""

Values: TypeAlias = Float[np.ndarray, "..."]
"""An array of any shape, in float64."""

NOT_ZERO = 1e-300
"""What stands for a denominator of 0."""

ArrayKey: TypeAlias = tuple[str, int]
"""An array of a network: its role, "W" or "b", and its layer."""


class Cost(NamedTuple):
    """The cost J(theta) whose gradient the candidate claims to compute.

    Attributes:
        objective: the activations and the loss of one example.
        reduction: what the losses of a batch become: their "mean" or their "sum". For one example
            both are the same.
        terms: what is added to that.
    """

    objective: Objective
    reduction: str = "mean"
    terms: "tuple[Term, ...]" = ()

    def activations(self, r: int) -> list[Activation]:
        """The activation of each of r layers."""
        hidden = [self.objective.activation] * (r - 1)
        return [*hidden, self.objective.output_activation]

    def share(self, n: int) -> float:
        """What the loss of each of n examples is multiplied by: 1/n for the mean, 1 for the sum."""
        return 1 / n if self.reduction == "mean" else 1.0


class Format(NamedTuple):
    """A floating-point format: its unit roundoff u, what underflow loses, its largest number.

    `lost` is what a gradient loses that is found by the difference of parameters before and after a
    step: u / learning_rate, relative to these parameters. It is 0 for a gradient that is returned.
    """

    name: str
    u: float
    tiny: float
    largest: float
    lost: float = 0.0


FORMATS = MappingProxyType(
    {
        row.name: row
        for row in (
            Format("float64", 2.0**-53, 2.0**-1022, 1.797e308),
            Format("float32", 2.0**-24, 2.0**-126, 3.4e38),
            Format("tfloat32", 2.0**-11, 2.0**-126, 3.4e38),
            Format("float16", 2.0**-11, 2.0**-24, 65504.0),
            Format("bfloat16", 2.0**-8, 2.0**-126, 3.4e38),
        )
    }
)
"""Finest first. Accelerators round the factors of a float32 product to TensorFloat-32. Most
hardware flushes underflow to zero, which loses the smallest normal number; float16 always keeps its
subnormal numbers."""


def format_of(dtype: DTypeLike) -> Format:
    """The row of `FORMATS` for a floating dtype.

    >>> format_of("float32").u == 2.0**-24
    True
    """
    return FORMATS[jnp.dtype(dtype).name]


def are_numbers_of(format: Format, arrays: Sequence[Values]) -> bool:
    """Whether a format holds all numbers of the arrays, unchanged.

    TensorFloat-32 is a format of factors, and not of results: none are numbers of it.

    >>> are_numbers_of(FORMATS["bfloat16"], [np.array([0.5])])
    True
    """
    if format.name == "tfloat32":
        return False
    dtype = jnp.dtype(format.name)
    with np.errstate(over="ignore"):
        return all(bool((array == array.astype(dtype)).all()) for array in arrays)


class Case(NamedTuple):
    """One input on which the candidate is tried: float64, but exact in the user's dtype.

    `name` says where it comes from, in words that fit "on ...": "your input", "a random input",
    "an input with exact ties". X has n >= 1 rows; a candidate for single examples has n = 1.
    """

    name: str
    params: Params
    X: Float[np.ndarray, "n d"]
    Y: Float[np.ndarray, "n m_r"]

    @property
    def n(self) -> int:
        """The number of examples."""
        return len(self.X)

    @property
    def r(self) -> int:
        """The number of layers."""
        return len(self.params)

    @property
    def reproduces(self) -> bool:
        """Whether the targets are the examples, as for an autoencoder; code may use either."""
        return np.array_equal(self.X, self.Y)


class TermValue(NamedTuple):
    """The value and the gradient of a term on one case, or bounds of the errors of both."""

    value: float
    gradient: Params


@runtime_checkable
class Term(Protocol):
    """A term of the cost that depends on the parameters, and on the number n of examples, alone."""

    def __call__(self, case: Case) -> TermValue:
        """The term on a case."""

    def tolerance(self, case: Case, u: float) -> TermValue:
        """What rounding to unit roundoff u, and a choice at kinks, explain of an error in both."""


class Reference(NamedTuple):
    """What is right on a case, in float64, and what a candidate may be off by.

    Attributes:
        loss, loss_tolerance: the cost J, and what rounding explains of an error in it.
        trace: of all examples, in rows.
        deltas: delta^[k] of each example's own loss, in rows, without the 1/n of a mean.
        kinks: the units whose pre-activation is 0, or so close that rounding decides its sign.
        gradient: with ReLU'(0) = 1; None for a bias that is absent.
        by_convention: the gradient for other values of ReLU'(0); empty where no unit is at a kink.
        slack: per component, how much any choice for each unit at a kink can add.
        tolerance: per component, what the rounding of a correct candidate may reach.
        lost: the part of it that a difference of parameters has lost, relative to these.
    """

    loss: float
    loss_tolerance: float
    trace: Trace
    deltas: tuple[Float[np.ndarray, "n _"], ...]
    kinks: tuple[Bool[np.ndarray, "n _"], ...]
    gradient: Params
    by_convention: dict[float, Params]
    slack: Params
    tolerance: Params
    lost: float = 0.0


class Answer(NamedTuple):
    """What the candidate returned for a case, in the notes' layout, in float64, values unchanged.

    `dtype` is the coarsest among the arrays that the candidate returned. Of a step, `gradient` is
    the difference of the parameters over its learning rate, `rate`.
    """

    gradient: Params
    loss: float | None
    dtype: np.dtype
    rate: float | None = None

    @property
    def is_finite(self) -> bool:
        """Whether all entries of the gradient are."""
        return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(self.gradient))

    @property
    def is_empty(self) -> bool:
        """Whether each entry is 0 or not finite: that two such are equal shows nothing."""
        leaves = jax.tree.leaves(self.gradient)
        return not any((np.isfinite(leaf) & (leaf != 0)).any() for leaf in leaves)


class Answered(NamedTuple):
    """A case, and what the candidate returned for it."""

    case: Case
    answer: Answer


class Finding(NamedTuple):
    """One root cause. The text of a report shows the message; the rest is for programs.

    Attributes:
        line: of Algorithm 5 (1 forward, 2 and 4 deltas, 5 gradients); None for the program's form.
        quantity: "delta", "dW" or "db"; "J" for the loss or the value; the name of an intermediate;
            "" for the program's form.
        layer: k in 1..r; None where the fault is not of one layer.
        kind: a slug, such as "transposed" or "unknown".
        message: a sentence that a student understands, in the user's own names.
        severity: "error" where the caller gets wrong numbers, else "warning". Only errors make a
            verdict.
    """

    line: int | None
    quantity: str
    layer: int | None
    kind: str
    message: str
    severity: Severity = "error"


def matching(gradient: Params, layers: Params) -> list[Values]:
    """The arrays of layers for which a gradient has one: none for a bias that is absent.

    >>> from fcnet import Layer
    >>> ones = Layer(np.ones((1, 2)), np.ones(1))
    >>> len(matching([ones._replace(b=None)], [ones]))
    1
    """
    return [
        np.asarray(array)
        for own, layer in zip(gradient, layers, strict=True)
        for mine, array in zip(own, layer, strict=True)
        if mine is not None
    ]


def array_at(layers: Params, key: ArrayKey) -> Values:
    """W^[k] or b^[k] of layers, or of a gradient."""
    role, k = key
    return np.asarray(getattr(layers[k - 1], role))


def form_finding(
    kind: str, message: str, severity: Severity = "error", quantity: str = ""
) -> Finding:
    """A finding about the program's form: no line of Algorithm 5 is to blame."""
    return Finding(None, quantity, None, kind, message, severity)


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Those that make a program wrong; the others are warnings."""
    return [finding for finding in findings if finding.severity == "error"]


class Leaf(NamedTuple):
    """How the gradient of one parameter array compares, on the input where it compares worst.

    Attributes:
        path: the user's own name of the array, such as "params[0].W" or "dW2".
        error: the absolute error of the entry whose error is largest relative to its tolerance.
        tolerance: what rounding explains at that entry.
        index: of that entry, in the user's layout.
        digits, digits_expected: decimal digits to which the array agrees, and rounding allows.
        case: the name of the input.
        heat: error / tolerance over the whole array, the largest in each cell of a grid of at most
            40 x 40, for the page; a vector is one column.
    """

    path: str
    error: float
    tolerance: float
    index: tuple[int, ...]  # type: ignore[assignment]  # hides tuple.index, not needed here
    digits: float
    digits_expected: float
    case: str
    heat: tuple[tuple[float, ...], ...] = ()

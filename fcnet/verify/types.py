"""The nouns of the gradient checker: what is asked, what is tried, what is known, what is found.

Inside this room arrays are NumPy's, in float64 and in the notes' layout: one `Layer(W, b)` a layer,
`W` of shape (m_k, m_{k-1}), examples as rows. What the candidate sees is in the user's own layout,
array library and dtype; the translation happens at the border (`candidate.py`).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from fcnet.types import Activation, Loss, Params, Trace


class Problem(NamedTuple):
    """The function whose gradient the candidate claims to compute."""

    activation: Activation
    output_activation: Activation
    loss: Loss
    reduction: str = "mean"
    """Over the examples of a batch: "mean" or "sum"; nothing to choose for one example."""


class Case(NamedTuple):
    """One input on which the candidate is tried: float64, but exact in the user's dtype.

    `name` says where it comes from, in words that fit "on ...": "your input", "a random input",
    "an input with exact ties". X has n >= 1 rows; a candidate for single examples has n = 1.
    """

    name: str
    params: Params
    X: Float[np.ndarray, "n d"]
    Y: Float[np.ndarray, "n m_r"]


class Reference(NamedTuple):
    """What the judge knows of a case, in float64, for a candidate that rounds to unit roundoff u.

    `trace` and `deltas` hold all examples in rows, and delta is that of the single example's loss,
    without the 1/n of a mean. `gradient` belongs to ReLU'(0) = 1; where `kinks` marks units whose
    pre-activation is 0, or too near to tell at u, `by_convention` has it also for other values of
    ReLU'(0), and `slack` bounds per component what any choice for each such unit can add.
    `tolerance` is what a correct candidate's rounding errors may reach, per component.
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


class Answer(NamedTuple):
    """What the candidate returned for a case, in the notes' layout, float64 (values unchanged)."""

    gradient: Params
    loss: float | None
    dtype: np.dtype
    """The coarsest dtype among the returned leaves, as the candidate returned them."""


class Finding(NamedTuple):
    """One root cause. `str` of a report prints the message; the rest is for programs.

    line: of Algorithm 5 (1 forward, 2 and 4 deltas, 5 gradients), None for faults of protocol.
    quantity: "delta", "dW" or "db"; "J" for the loss; "" for faults of protocol.
    layer: k in 1..r, None where the fault is not of one layer.
    kind: a slug, such as "transposed" or "unknown".
    message: a sentence a student understands, in the user's own names.
    """

    line: int | None
    quantity: str
    layer: int | None
    kind: str
    message: str


class Leaf(NamedTuple):
    """How one parameter array's gradient compares, on the input where it compares worst.

    path: the user's own name of it, such as "params[0].W" or "dW2".
    error: the largest absolute error relative to its tolerance decides where; this is its size.
    tolerance: what rounding explains at that entry.
    index: of that entry, in the user's layout.
    digits, digits_expected: decimal digits in which the whole leaf agrees, and rounding allows.
    case: the name of the input.
    heat: error / tolerance over the whole array, the largest in each cell of a grid of at most
        40 x 40, for the page that shows it; a vector is one column.
    """

    path: str
    error: float
    tolerance: float
    index: tuple[int, ...]  # type: ignore[assignment]  # hides tuple.index, not needed here
    digits: float
    digits_expected: float
    case: str
    heat: tuple[tuple[float, ...], ...] = ()

"""How a candidate takes its arguments, from shapes and names, or from keywords."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fcnet.arrays import is_array, shape_of
from fcnet.checks import check_finite
from fcnet.layouts import layouts_of
from fcnet.losses import check_labels, mean_loss
from fcnet.trees import rebuild
from fcnet.verify.arrangement import arrangements
from fcnet.verify.candidate import Candidate
from fcnet.verify.types import Case, Cost

WEIGHT_LAYOUTS = {"out_in": False, "in_out": True}
"""`weight_layout`, and whether W is then transposed."""

EXAMPLE_AXES = {"rows": 0, "columns": 1}
"""`example_axis`, and the axis of x that the examples are on."""


def bind(
    function: Callable[[Any, Any, Any], Any],
    params: object,
    x: object,
    y: object,
    cost: Cost,
    *,
    batched: bool = False,
    weight_layout: str | None = None,
    example_axis: str | None = None,
) -> Candidate:
    """Read from shapes and names how `function(params, x, y)` takes its arguments.

    Args:
        function: the backward pass. It is called here only if the shapes leave its layout open:
            once, to see for which layout the loss that it returns is right.
        params, x, y: its arguments, as the user has them: params in any layout of `fcnet.layouts`;
            x one example, or examples in rows or columns; y likewise, or class labels.
        cost: the function whose gradient it returns.
        batched: whether x and y hold several examples; else one.
        weight_layout: "out_in" or "in_out", for a network whose layers are all square.
        example_axis: "rows" or "columns", for a batch of as many examples as inputs.

    Returns:
        The candidate, whose `own` is the user's input in the notes' layout.

    Raises:
        TypeError: if `function` is not callable, or x or y is no array.
        ValueError: for shapes that fit no layout, values that are not finite, targets that the loss
            does not accept, and a layout that stays open: the message names the keyword to give.

    >>> from fcnet.losses import as_objective
    >>> linear = Cost(as_objective("relu", "identity", "squared_error"))
    >>> def backward(params, x, y):
    ...     o = x @ params["W1"] + params["b1"]
    ...     return {"dW1": np.outer(x, o - y), "db1": o - y}
    >>> params = {"W1": np.array([[2.0], [1.0]]), "b1": np.array([0.5])}
    >>> candidate = bind(backward, params, np.array([3.0, 4.0]), np.array([1.0]), linear)
    >>> candidate.call(candidate.own).answer.gradient
    (Layer(W=array([[28.5, 38. ]]), b=array([9.5])),)
    """
    if not callable(function):
        raise TypeError(f"backward must be a function of (params, x, y), got {function!r:.60}")
    for name, value in (("x", x), ("y", y)):
        if not is_array(value):
            raise TypeError(
                f"{name} must be an array of NumPy, JAX or PyTorch, or lists of numbers, "
                f"got {type(value).__name__}"
            )
    like = (rebuild(lambda _, leaf: leaf, params), x, y)
    readings = []
    for layout in layouts_of(params):
        for one, other in arrangements(x, y, layout.sizes[0], layout.sizes[-1], batched):
            own = Case("your input", layout.read(params), one.read(x), other.read(y))
            reading = Candidate(function, layout, one, other, (params, x, y), like, own, batched)
            readings.append(reading)
    if not readings:
        d, *_, m_r = layout.sizes
        raise ValueError(_misfit(shape_of(x), shape_of(y), d, m_r, batched))
    _check_own_values(readings[0])
    candidate = _chosen(_matching(readings, weight_layout, example_axis), cost)
    with jax.enable_x64(True):
        check_labels("y", jnp.asarray(candidate.own.Y), cost.objective.loss)
    return candidate


def _check_own_values(candidate: Candidate) -> None:
    names = [*(slot.name for slot in candidate.layout.slots), "x", "y"]
    with jax.enable_x64(True):
        for name, values in zip(names, jax.tree.leaves(candidate.own[1:]), strict=True):
            check_finite(name, jnp.asarray(values))


def _misfit(x: tuple[int, ...], y: tuple[int, ...], d: int, m_r: int, batched: bool) -> str:
    label = " (or class labels 0..m_r-1)" if m_r > 1 else ""
    if batched:
        return (
            f"x has shape {x} and y {y}; expected n examples as rows, (n, {d}) and "
            f"(n, {m_r}){label}, or as columns, ({d}, n) and ({m_r}, n); "
            "leave out batched=True for a single example"
        )
    return (
        f"x has shape {x} and y {y}; expected one example of shape ({d},) and its target of shape "
        f"({m_r},){label}, maybe with an axis of length 1; for many examples give batched=True"
    )


def _matching(
    readings: list[Candidate], weight_layout: str | None, example_axis: str | None
) -> list[Candidate]:
    """The readings that agree with the keywords."""
    for keyword, choice, table in (
        ("weight_layout", weight_layout, WEIGHT_LAYOUTS),
        ("example_axis", example_axis, EXAMPLE_AXES),
    ):
        if choice is not None and choice not in table:
            known = " or ".join(map(repr, table))
            raise ValueError(f"{keyword} must be {known}, got {choice!r}")
    wanted = [
        reading
        for reading in readings
        if weight_layout is None
        or reading.layout.transposed in (None, WEIGHT_LAYOUTS[weight_layout])
        if example_axis is None or reading.examples.axis in (None, EXAMPLE_AXES[example_axis])
    ]
    if not wanted:
        raise ValueError(
            f"the shapes cannot be read with weight_layout={weight_layout!r} and "
            f"example_axis={example_axis!r}; leave these keywords out unless you are asked for one"
        )
    return wanted


def _chosen(readings: list[Candidate], cost: Cost) -> Candidate:
    """The one reading whose targets the loss accepts, and whose loss the candidate returns."""
    accepts = cost.objective.loss.labels.accepts
    suitable = [r for r in readings if bool(jnp.all(accepts(jnp.asarray(r.own.Y))))]
    first, *others = suitable or readings[:1]
    if not others:
        return first
    call = first.call(first.own)
    if any(finding.kind == "raises" for finding in call.findings):
        return first
    if call.answer is not None and call.answer.loss is not None:
        losses = [_loss(reading.own, cost) for reading in suitable]
        right = np.isclose(losses, call.answer.loss, rtol=np.sqrt(first.format.u), atol=0)
        if right.sum() == 1:
            return suitable[int(right.argmax())]
    questions = []
    if first.layout.transposed != others[-1].layout.transposed:
        questions.append(
            "every layer is square: give weight_layout='out_in' if z = W a + b, as in the notes, "
            "or weight_layout='in_out' if z = a W + b"
        )
    if any(reading.examples.axis != first.examples.axis for reading in others):
        questions.append(
            "there are as many examples as inputs: give "
            "example_axis='rows' or example_axis='columns'"
        )
    raise ValueError(f"the shapes leave the layout open; {'; '.join(questions)}")


def _loss(case: Case, cost: Cost) -> float:
    with jax.enable_x64(True):
        params, X, Y = jax.tree.map(jnp.asarray, (case.params, case.X, case.Y))
        mean = mean_loss(params, X, Y, **cost.objective.keywords)
        return float(mean) * (len(X) if cost.reduction == "sum" else 1)

"""How a candidate takes its arguments, from shapes and names, or from keywords."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from fcnet.activations import check_activations
from fcnet.arrays import dtype_of, is_array, shape_of, to_numpy, with_floats
from fcnet.checks import check_finite
from fcnet.layouts import Layout
from fcnet.losses import check_labels
from fcnet.trees import leaves, rebuild
from fcnet.verify.arrangement import arrangements
from fcnet.verify.calling import check_call
from fcnet.verify.candidate import Candidate
from fcnet.verify.own_reading import settle
from fcnet.verify.readings import is_vector, readings_of
from fcnet.verify.types import Case, Cost, Term

Terms: TypeAlias = Callable[[Candidate], tuple[Term, ...]]
"""The terms of a cost, for a candidate whose layout its parameters have."""

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
    terms: Terms = lambda candidate: (),
    *,
    batched: bool = False,
    weight_layout: str | None = None,
    example_axis: str | None = None,
    sizes: Sequence[int] | None = None,
    learning_rate: float | None = None,
) -> Candidate:
    """Read from shapes and names how `function(params, x, y)` takes its arguments.

    Args:
        function: the backward pass. It is called here only if the shapes leave its layout open:
            to see for which layout the loss or the gradient that it returns is right.
        params, x, y: its arguments, as the user has them: params in any layout of `readings_of`; x
            one example, or examples in rows or columns; y likewise, or class labels.
        cost: the data's part of the function whose gradient it returns.
        terms: its other terms; by default none.
        batched: whether x and y hold several examples; else one.
        weight_layout: "out_in" or "in_out", for a network whose layers are all square.
        example_axis: "rows" or "columns", for a batch of as many examples as inputs.
        sizes: (d, m_1, ..., m_r), for parameters in one vector, or where several fit.
        learning_rate: of the step that the function takes; None if it returns the gradient.

    Returns:
        The candidate, whose `own` is the user's input in the notes' layout.

    Raises:
        TypeError: if `function` cannot be called with its arguments, or x or y is no array.
        ValueError: for shapes that fit no layout, values that are not finite, targets that the loss
            does not accept, and a layout that stays open: the message names the keyword to give.

    >>> import numpy as np
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
    check_call(function, (params, x, y), "(params, x, y)", params_first=True)
    for name, value in (("x", x), ("y", y)):
        _check_input(name, value)
    readings = _all_readings(function, params, x, y, batched, sizes, learning_rate)
    _check_own_values(readings[0])
    with jax.enable_x64(True):
        z = [jnp.zeros(m) for m in readings[0].layout.sizes[1:]]
        check_activations(*cost.objective[:2], z)
    candidate = _chosen(_matching(readings, weight_layout, example_axis), cost, terms)
    with jax.enable_x64(True):
        check_labels("y", candidate.own.Y, cost.objective.loss)
    return candidate


def _check_input(name: str, value: object) -> None:
    if not is_array(value):
        raise TypeError(
            f"{name} must be an array of NumPy, JAX or PyTorch, or lists of numbers, "
            f"got {type(value).__name__}"
        )
    if dtype_of(value).kind == "c":
        raise TypeError(f"{name} must hold real numbers, got {dtype_of(value)}")
    if 0 in shape_of(value):
        raise ValueError(f"{name} has shape {shape_of(value)}, which holds no numbers")


def _all_readings(
    function: Callable[[Any, Any, Any], Any],
    params: Any,
    x: Any,
    y: Any,
    batched: bool,
    sizes: Sequence[int] | None,
    learning_rate: float | None,
) -> list[Candidate]:
    """The candidate for each way to read its arguments; ValueError if there is none."""
    if any(with_floats(leaf) is not leaf for _, leaf in leaves(params)):
        params = rebuild(lambda _, leaf: with_floats(leaf), params)
    given, like = (params, x, y), (rebuild(lambda _, leaf: leaf, params), x, y)
    try:
        layouts = readings_of(params, sizes)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error}{_others(params)}") from None
    readings = []
    for layout in layouts:
        for one, other in arrangements(x, y, layout.sizes[0], layout.sizes[-1], batched):
            own = Case("your input", layout.read(params), one.read(x), other.read(y))
            readings.append(
                Candidate(function, layout, one, other, given, like, own, batched, learning_rate)
            )
    if readings:
        return readings
    if is_vector(params) and sizes is None:
        raise ValueError(
            "params are one vector of numbers: give sizes=(d, m_1, ..., m_r), the width of the "
            "input and that of each layer"
        )
    raise ValueError(_misfit(x, y, layouts[0], batched) + _others(params))


def _others(params: object) -> str:
    """A phrase on the other arrays of an object, which may be parameters."""
    others = getattr(params, "others", "")
    return f"; {others}" if others else ""


def _check_own_values(candidate: Candidate) -> None:
    names = [*(slot.name for slot in candidate.layout.slots), "x", "y"]
    params = candidate.layout.present(candidate.own.params)
    own = jax.tree.leaves((params, candidate.own.X, candidate.own.Y))
    for name, values in zip(names, own, strict=True):
        check_finite(name, values)


def _misfit(x: object, y: object, layout: Layout, batched: bool) -> str:
    d, *_, m_r = layout.sizes
    arrays = ", ".join(f"{slot.name} {slot.shape}" for slot in layout.arrays)
    label = f" (or class labels 0..{m_r - 1})" if m_r > 1 else ""
    got = f"x has shape {shape_of(x)} and y {shape_of(y)}"
    if dtype_of(y).kind in "iu":
        values = to_numpy(y)
        got += f", with integers from {values.min():g} to {values.max():g}"
        if values.min() == 1 and values.max() == m_r > 1:
            got += " (for labels that count from 1 give y - 1, and a function that adds 1)"
    if batched:
        return (
            f"{got}; expected n examples as rows, (n, {d}) and "
            f"(n, {m_r}){label}, or as columns, ({d}, n) and ({m_r}, n); "
            f"leave out batched=True for a single example; the params are {arrays}"
        )
    return (
        f"{got}; expected one example of shape ({d},) and its target of shape ({m_r},){label}, "
        "maybe with an axis of length 1; for many examples give batched=True; "
        f"the params are {arrays}"
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


def _chosen(readings: list[Candidate], cost: Cost, terms: Terms) -> Candidate:
    """The one reading whose targets the loss accepts, and that fits what the candidate returns."""
    accepts = cost.objective.loss.labels.accepts
    suitable = [r for r in readings if np.all(accepts(r.own.Y))] or readings[:1]
    if len(suitable) > 1:
        suitable = settle(suitable, [cost._replace(terms=terms(reading)) for reading in suitable])
    if len(suitable) > 1:
        others = _others(suitable[0].given[0])
        raise ValueError(
            f"the shapes leave the layout open; {'; '.join(_questions(suitable))}{others}"
        )
    return suitable[0]


def _questions(readings: list[Candidate]) -> list[str]:
    """What several readings differ in, and the keywords that decide it."""
    first, *others = readings
    questions = []
    sizes = list(dict.fromkeys(str(reading.layout.sizes) for reading in readings))
    if sizes[1:]:
        questions.append(f"networks of several sizes fit: give sizes={' or sizes='.join(sizes)}")
    elif any(slot.part for reading in readings for slot in reading.layout.slots):
        questions.append(
            "which numbers of params are W and which b: return (loss, gradient), with l2= or "
            "penalty= if the loss has such a term, or give params [(W1, b1), ...] and make your "
            "own from them in a function of one line"
        )
    elif any(reading.layout != first.layout for reading in others):
        questions.append(
            "every layer is square: give weight_layout='out_in' if z = W a + b, as in the notes, "
            "or weight_layout='in_out' if z = a W + b"
        )
    if any(reading.examples.axis != first.examples.axis for reading in others):
        questions.append(
            "there are as many examples as inputs: give "
            "example_axis='rows' or example_axis='columns'"
        )
    return questions

"""What a candidate returned: its gradient in the notes' layout, or what is wrong with its form."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from fcnet.arrays import dtype_of, is_array, is_floating, shape_of, to_numpy, unit_roundoff
from fcnet.layouts import Layout, Slot
from fcnet.trees import Path, children, name_of
from fcnet.verify.regroup import STYLES, in_order, regrouped
from fcnet.verify.types import Answer, Finding, Severity, form_finding


class Returned(NamedTuple):
    """What could be read of a result, and what is wrong with its form.

    Attributes:
        answer: the gradient in the notes' layout. It may come with findings, where the right
            numbers have a wrong shape or order.
        findings: what is wrong with the form.
        leaves: the returned arrays in the order of the layout's slots; none without an answer.
        partial: where some shapes hide the numbers, an answer with None for these arrays.
    """

    answer: Answer | None
    findings: tuple[Finding, ...]
    leaves: tuple[Any, ...] = ()
    partial: Answer | None = None


class _MismatchError(Exception):
    """The containers of a gradient are not those of the parameters."""


def read_returned(layout: Layout, params: object, value: object, n: int) -> Returned:
    """Read a gradient, alone or beside its loss, from containers like those of `params`.

    Args:
        layout: of the parameters.
        params: the parameters, or anything in the same containers.
        value: what the candidate returned: the gradient, (loss, gradient) or (gradient, loss).
        n: the number of examples that it was given.
    """
    try:
        found, loss = _gradient_and_loss(layout, params, value)
    except _MismatchError as mismatch:
        step = "; pass learning_rate= for a training step in place" if value is None else ""
        return Returned(None, (form_finding("wrong_structure", f"{mismatch}{step}"),))
    slots = layout.arrays
    leaves = [found[slot.path] for slot in slots]
    findings = [
        f for slot, leaf in zip(slots, leaves, strict=True) for f in _check_kind(slot, leaf)
    ]
    if findings:
        return Returned(None, tuple(findings))
    leaves, findings = _in_order(slots, leaves)
    arrays = []
    for slot, leaf in zip(slots, leaves, strict=True):
        findings += _check_shape(slot, leaf, n)
        arrays.append(_reshaped(slot, to_numpy(leaf), n))
    place = {slot.path: i for i, slot in enumerate(slots)}
    each = [place[slot.path] for slot in layout.slots]
    answer = Answer(
        gradient=layout.layers([arrays[i] for i in each]),
        loss=None if loss is None else float(to_numpy(loss).item()),
        dtype=max(map(dtype_of, leaves), key=unit_roundoff),
    )
    if any(array is None for array in arrays):
        return Returned(None, tuple(findings), partial=answer)
    return Returned(answer, tuple(findings), tuple(leaves[i] for i in each))


def _gradient_and_loss(layout: Layout, params: object, value: Any) -> tuple[dict[Path, Any], Any]:
    """The gradient's leaves by the paths of the parameters, and the loss or None.

    If several readings fit the containers, one that fits the shapes too is preferred.
    """
    readings = [(value, None)]
    if isinstance(value, (tuple, list)) and len(value) == 2:
        one, other = value
        readings += [(g, loss) for loss, g in ((one, other), (other, one)) if _is_scalar(loss)]
    fitting, mismatch = [], _MismatchError()
    for gradient, loss in readings:
        try:
            fitting.append((_align(params, gradient), loss))
        except _MismatchError as error:
            other = regrouped(layout, gradient)
            fitting += [] if other is None else [(other, loss)]
            mismatch = error
    if not fitting:
        raise mismatch
    return max(
        fitting,
        key=lambda reading: all(
            is_array(reading[0][slot.path]) and shape_of(reading[0][slot.path]) == slot.shape
            for slot in layout.arrays
        ),
    )


def _is_scalar(value: Any) -> bool:
    return is_array(value) and math.prod(shape_of(value)) == 1 and dtype_of(value).kind != "c"


def _align(params: Any, gradient: Any, path: Path = ()) -> dict[Path, Any]:
    """The entries of `gradient` at the places of the leaves of `params`, by the paths of these."""
    entries, others = children(params), children(gradient)
    if entries is None and others is None:
        return {path: gradient}
    parts = _parts(params, gradient, entries, others)
    if entries is None or parts is None:
        raise _MismatchError(
            f"the gradient of {name_of(path)} is {_describe_container(gradient)}, "
            f"expected {_describe_container(params)}; alone, or as a pair with the loss"
        )
    aligned: dict[Path, Any] = {}
    for (key, entry), part in zip(entries, parts, strict=True):
        aligned |= _align(entry, part, (*path, key))
    return aligned


Entries = list[tuple[str | int, Any]] | None
"""Of a container, with their keys; None for an array."""


def _parts(params: Any, gradient: Any, expected: Entries, entries: Entries) -> list[Any] | None:
    """The entries of `gradient` in the order of those of `params`; None where some are missing."""
    if isinstance(params, Mapping) and isinstance(gradient, Mapping):
        for style in STYLES:
            names = [key if style == "{}" else style.format(key) for key in params]
            if all(name in gradient for name in names):
                return [gradient[name] for name in names]
    either = isinstance(params, Mapping) or isinstance(gradient, Mapping)
    if either or entries is None or expected is None or len(entries) != len(expected):
        return None
    return [entry for _, entry in entries]


def _describe_container(tree: Any) -> str:
    entries = children(tree)
    if entries is None:
        return "an array" if is_array(tree) else f"{type(tree).__name__}"
    if isinstance(tree, Mapping):
        name = "dict" if isinstance(tree, dict) else type(tree).__name__
        return f"a {name} with {', '.join(str(key) for key, _ in entries)}"
    return f"a {type(tree).__name__} of length {len(entries)}"


def _check_kind(slot: Slot, leaf: object) -> Iterator[Finding]:
    """A leaf that holds no floating-point numbers."""
    name = slot.gradient_name
    if leaf is None:
        yield _slot_finding(
            slot, "none_leaf", f"{name} is None: the gradient of {slot.name} is missing"
        )
    elif not is_array(leaf):
        yield _slot_finding(
            slot, "wrong_structure", f"{name} is {_describe_container(leaf)}, expected an array"
        )
    elif dtype_of(leaf).kind in "iub":
        yield _slot_finding(
            slot, "integer_leaf", f"{name} holds {dtype_of(leaf)}, cut to whole numbers"
        )
    elif not is_floating(leaf):
        yield _slot_finding(
            slot, "wrong_dtype", f"{name} is {dtype_of(leaf)}, expected real numbers"
        )


def _in_order(slots: tuple[Slot, ...], leaves: list[Any]) -> tuple[list[Any], list[Finding]]:
    """The leaves in the order of the slots, if their shapes show that they are in another."""
    back, description = in_order(slots, list(map(shape_of, leaves))) or ([], "")
    if not description:
        return leaves, []
    names = ", ".join(slot.gradient_name for slot in slots)
    message = f"the gradient comes {description}; expected the order {names}"
    return [leaves[i] for i in back], [form_finding("leaf_order", message, "warning")]


def _check_shape(slot: Slot, leaf: Any, n: int) -> Iterator[Finding]:
    """A shape that is not the parameter's: an error, unless the rules for arrays mend it."""
    got = shape_of(leaf)
    if got == slot.shape:
        return
    name, harmless = slot.gradient_name, not isinstance(leaf, list) and _fills(got, slot.shape)
    hint = next(text for fits, text in HINTS if fits(got, slot.shape, n))
    if harmless:
        hint = ": an update is right all the same, since it is broadcast to that shape"
    message = f"{name} has shape {got}, expected {slot.shape} like {slot.name}{hint}"
    yield _slot_finding(slot, "wrong_shape", message, "warning" if harmless else "error")


def _fills(got: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Whether it only lacks leading axes of length 1, which broadcasting adds."""
    lacking = len(expected) - len(got)
    return lacking > 0 and (1,) * lacking + got == expected


HINTS: tuple[tuple[Callable[[tuple[int, ...], tuple[int, ...], int], bool], str], ...] = (
    (lambda got, want, n: got == want[::-1], ": it is transposed"),
    (lambda got, want, n: _squeeze(got) == _squeeze(want), ": axes of length 1 broadcast silently"),
    (lambda got, want, n: math.prod(got) == 1, ": it was summed over the units too"),
    (
        lambda got, want, n: n in got and math.prod(got) == n * math.prod(want),
        ": it was not summed over the examples",
    ),
    (lambda got, want, n: True, ""),
)
"""Known causes of a wrong shape: a test of (got, expected, n examples), and a phrase. The first one
that fits is named."""


def _squeeze(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(m for m in shape if m != 1)


def _reshaped(slot: Slot, values: np.ndarray, n: int) -> np.ndarray | None:
    """The values in the slot's shape, if there is only one way to read them; else None.

    One array for each of n examples is added up.
    """
    if values.shape != slot.shape and values.shape == slot.shape[::-1]:
        return values.T
    if _squeeze(values.shape) == _squeeze(slot.shape):
        return values.reshape(slot.shape)
    sums = [values.sum(axis) for axis, m in enumerate(values.shape) if m == n]
    fitting = [x for x in sums if _squeeze(x.shape) == _squeeze(slot.shape)]
    return fitting[0].reshape(slot.shape) if len(fitting) == 1 else None


def _slot_finding(slot: Slot, kind: str, message: str, severity: Severity = "error") -> Finding:
    return Finding(5, f"d{slot.role}", slot.layer, kind, message, severity)

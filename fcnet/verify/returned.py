"""What a candidate returned: its gradient in the notes' layout, or what is wrong with its form."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from fcnet.arrays import dtype_of, is_array, is_floating, shape_of, to_numpy, unit_roundoff
from fcnet.layouts import Layout, Slot
from fcnet.trees import Path, children, name_of
from fcnet.verify.types import Answer, Finding

STYLES = ("{}", "d{}", "d_{}", "grad_{}", "{}_grad")
"""How people name the gradient of the entry {} of a mapping."""


class Returned(NamedTuple):
    """What could be read of the gradient, and what is wrong with its form.

    answer: may come with findings, where the right numbers have a wrong shape or order.
    leaves: the returned arrays in the order of the layout's slots; none without an answer.
    """

    answer: Answer | None
    findings: tuple[Finding, ...]
    leaves: tuple[Any, ...] = ()


class _MismatchError(Exception):
    """The containers are not those of the parameters."""


def read_returned(layout: Layout, params: object, value: object, n: int) -> Returned:
    """Read a gradient, alone or beside its loss, from containers like those of `params`.

    Args:
        layout: that of the parameters.
        params: the parameters, or anything in the same containers.
        value: what the candidate returned: the gradient, (loss, gradient) or (gradient, loss).
        n: the number of examples it was given.
    """
    try:
        found, loss = _split(layout, params, value)
    except _MismatchError as mismatch:
        return Returned(None, (Finding(None, "", None, "wrong_structure", str(mismatch)),))
    leaves = [found[slot.path] for slot in layout.slots]
    findings = [
        f for slot, leaf in zip(layout.slots, leaves, strict=True) for f in _kind(slot, leaf)
    ]
    if findings:
        return Returned(None, tuple(findings))
    leaves, findings = _in_order(layout.slots, leaves)
    arrays = []
    for slot, leaf in zip(layout.slots, leaves, strict=True):
        findings += _shape(slot, shape_of(leaf), n)
        arrays += _fit(slot, to_numpy(leaf))
    if len(arrays) < len(leaves):
        return Returned(None, tuple(findings))
    answer = Answer(
        gradient=layout.layers(arrays),
        loss=None if loss is None else float(to_numpy(loss).item()),
        dtype=max(map(dtype_of, leaves), key=unit_roundoff),
    )
    return Returned(answer, tuple(findings), tuple(leaves))


def _split(layout: Layout, params: object, value: Any) -> tuple[dict[Path, Any], Any]:
    """The gradient's leaves by the paths of the parameters, and the loss or None.

    Of several readings that fit the containers, one that fits the shapes too is preferred.
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
            mismatch = error
    if not fitting:
        raise mismatch
    return max(
        fitting,
        key=lambda reading: all(
            is_array(reading[0][slot.path]) and shape_of(reading[0][slot.path]) == slot.shape
            for slot in layout.slots
        ),
    )


def _is_scalar(value: Any) -> bool:
    return is_array(value) and math.prod(shape_of(value)) == 1 and dtype_of(value).kind != "c"


def _align(params: Any, gradient: Any, path: Path = ()) -> dict[Path, Any]:
    """What stands in `gradient` where the leaves of `params` stand, by the paths of these."""
    entries = children(params)
    if entries is None and children(gradient) is None:
        return {path: gradient}
    parts = _parts(params, gradient)
    if entries is None or parts is None:
        raise _MismatchError(
            f"the gradient of {name_of(path)} is {_describe(gradient)}, "
            f"expected {_describe(params)}; alone, or as a pair with the loss"
        )
    aligned: dict[Path, Any] = {}
    for (key, entry), part in zip(entries, parts, strict=True):
        aligned |= _align(entry, part, (*path, key))
    return aligned


def _parts(params: Any, gradient: Any) -> list[Any] | None:
    """The entries of one container that stand for those of the other; None where some do not."""
    if isinstance(params, Mapping) and isinstance(gradient, Mapping):
        for style in STYLES:
            names = [key if style == "{}" else style.format(key) for key in params]
            if all(name in gradient for name in names):
                return [gradient[name] for name in names]
    entries, expected = children(gradient), children(params)
    either = isinstance(params, Mapping) or isinstance(gradient, Mapping)
    if either or entries is None or expected is None or len(entries) != len(expected):
        return None
    return [entry for _, entry in entries]


def _describe(tree: Any) -> str:
    entries = children(tree)
    if entries is None:
        return "an array" if is_array(tree) else f"{type(tree).__name__}"
    if isinstance(tree, Mapping):
        return f"a {type(tree).__name__} with {', '.join(str(key) for key, _ in entries)}"
    return f"a {type(tree).__name__} of length {len(entries)}"


def _kind(slot: Slot, leaf: object) -> Iterator[Finding]:
    """A leaf that holds no floating-point numbers."""
    name = slot.gradient_name
    if leaf is None:
        yield _fault(slot, "none_leaf", f"{name} is None: the gradient of {slot.name} is missing")
    elif not is_array(leaf):
        yield _fault(slot, "wrong_structure", f"{name} is {_describe(leaf)}, expected an array")
    elif dtype_of(leaf).kind in "iub":
        yield _fault(slot, "integer_leaf", f"{name} holds {dtype_of(leaf)}, cut to whole numbers")
    elif not is_floating(leaf):
        yield _fault(slot, "wrong_dtype", f"{name} is {dtype_of(leaf)}, expected real numbers")


def _in_order(slots: tuple[Slot, ...], leaves: list[Any]) -> tuple[list[Any], list[Finding]]:
    """The leaves in the order of the slots, if their shapes show that they came in another."""
    got, expected = [shape_of(leaf) for leaf in leaves], [slot.shape for slot in slots]
    indices = np.arange(len(slots)).reshape(-1, 2)
    for order, description in (
        (indices[::-1], "with the last layer first"),
        (indices[:, ::-1], "with each b before its W"),
        (indices[::-1, ::-1], "backwards, the last b first"),
    ):
        back = np.argsort(order.ravel())
        if got != expected and [got[i] for i in back] == expected:
            names = ", ".join(slot.gradient_name for slot in slots)
            message = f"the gradient comes {description}; expected the order {names}"
            return [leaves[i] for i in back], [Finding(None, "", None, "leaf_order", message)]
    return leaves, []


def _shape(slot: Slot, got: tuple[int, ...], n: int) -> Iterator[Finding]:
    """A shape that is not the parameter's: nothing is ever broadcast silently."""
    if got != slot.shape:
        hint = next(text for fits, text in HINTS if fits(got, slot.shape, n))
        name = slot.gradient_name
        message = f"{name} has shape {got}, expected {slot.shape} like {slot.name}{hint}"
        yield _fault(slot, "wrong_shape", message)


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
"""What a wrong shape tells of its cause; the first that fits, of (got, expected, n examples)."""


def _squeeze(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(m for m in shape if m != 1)


def _fit(slot: Slot, values: np.ndarray) -> list[np.ndarray]:
    """The values in the slot's shape, if they can only be meant so."""
    if values.shape != slot.shape and values.shape == slot.shape[::-1]:
        return [values.T]
    return [values.reshape(slot.shape)] if _squeeze(values.shape) == _squeeze(slot.shape) else []


def _fault(slot: Slot, kind: str, message: str) -> Finding:
    return Finding(5, f"d{slot.role}", slot.layer, kind, message)

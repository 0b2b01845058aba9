"""What a candidate returned: its gradient in the notes' layout, or what is wrong with its form."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from fcnet.arrays import coarsest_dtype, dtype_of, is_array, shape_of, to_numpy
from fcnet.layouts import Layout, Slot
from fcnet.trees import Path, children, leaves, name_of
from fcnet.verify.forms import describe, is_one_number, of_examples, without_numbers, wrong_shape
from fcnet.verify.location import (
    Location,
    entries_of,
    in_one_row,
    is_one_gradient,
    locations_among_others,
    not_judged,
    numbers_of,
    usual_locations,
)
from fcnet.verify.regroup import in_one_style, in_order, is_one_vector, regrouped
from fcnet.verify.types import Answer, Finding, Severity, form_finding

NOTHING = (
    "it returned None: return the gradients of {names}, alone or as a pair with the loss, or pass "
    "learning_rate= for a training step in place"
)

NUMBERS = (
    "it returned numbers alone, such as its loss: return the gradients of {names} beside it, or "
    "keep each beside its parameter in an object, such as dW1 beside W1"
)

ONE_VECTOR = "the gradient is one vector: it was cut in the order {names}, each along its rows"


class Returned(NamedTuple):
    """What could be read of a result, and what is wrong with its form.

    Attributes:
        answer: the gradient in the notes' layout. It may come with findings, where the right
            numbers have a wrong shape or order.
        findings: what is wrong with the form.
        leaves: the returned arrays in the order of the layout's slots; none without an answer.
        partial: where some shapes hide the numbers, an answer with None for these arrays.
        note: what stands beside the gradient and was not judged, in words, or "".
    """

    answer: Answer | None
    findings: tuple[Finding, ...]
    leaves: tuple[Any, ...] = ()
    partial: Answer | None = None
    note: str = ""


class _MismatchError(Exception):
    """The containers of a gradient are not those of the parameters."""


def read_returned(
    layout: Layout, params: object, value: object, n: int, is_step: bool = False
) -> Returned:
    """Read a gradient, alone or beside its loss, from containers like those of `params`.

    Args:
        layout: of the parameters.
        params: the parameters, or anything in the same containers.
        value: what the candidate returned: the gradient, alone or beside its loss.
        n: the number of examples that it was given.
        is_step: whether the value is new parameters.
    """
    value = in_one_row(value)
    names = ", ".join(slot.name for slot in layout.arrays)
    entries = value if type(value) is tuple else (value,)
    numbers = 0 < len(entries) < len(layout.arrays) and all(map(is_one_number, entries))
    if value is None or numbers:
        message = (NUMBERS if numbers else NOTHING).format(names=names)
        return Returned(None, (form_finding("wrong_structure", message),))
    try:
        found = _gradient_and_loss(layout, params, value)
    except _MismatchError as mismatch:
        return Returned(None, (form_finding("wrong_structure", str(mismatch)),))
    slots, loss, note = layout.arrays, found.loss, not_judged(value, found.rest)
    leaves = [found.leaves[slot.path] for slot in slots]
    findings = [
        f for slot, leaf in zip(slots, leaves, strict=True) for f in _check_kind(slot, leaf)
    ]
    if findings:
        return Returned(None, tuple(findings))
    leaves, findings = _in_order(slots, leaves)
    parts = value if isinstance(value, (tuple, list)) else (value,)
    if any(is_one_vector(layout, part) for part in parts):
        findings.append(form_finding("one_vector", ONE_VECTOR.format(names=names), "warning"))
    arrays = []
    for slot, leaf in zip(slots, leaves, strict=True):
        found_here, array = _check_shape(slot, leaf, n, is_step)
        findings += found_here
        arrays.append(array)
    place = {slot.path: i for i, slot in enumerate(slots)}
    each = [place[slot.path] for slot in layout.slots]
    answer = Answer(
        gradient=layout.layers([arrays[i] for i in each]),
        loss=None if loss is None else float(to_numpy(loss).item()),
        dtype=coarsest_dtype(leaves),
    )
    if any(array is None for array in arrays):
        return Returned(None, tuple(findings), partial=answer, note=note)
    return Returned(answer, tuple(findings), tuple(leaves[i] for i in each), note=note)


class _Found(NamedTuple):
    """A gradient and a loss that were found in a result.

    Attributes:
        leaves: of the gradient, by the paths of the parameters.
        location: in the result.
        loss: or None.
        rest: the keys of what is neither.
    """

    leaves: dict[Path, Any]
    location: Location
    loss: Any
    rest: tuple[Any, ...]

    def fitting_shapes(self, layout: Layout) -> int:
        """How many of its arrays have the shapes of their parameters."""
        pairs = [(self.leaves[slot.path], slot.shape) for slot in layout.arrays]
        return sum(is_array(leaf) and shape_of(leaf) == shape for leaf, shape in pairs)


def _gradient_and_loss(layout: Layout, params: object, value: Any) -> _Found:
    """The gradient and the loss in a result.

    If several ways fit the containers, the one that fits the most shapes is preferred. Only where
    none does, the gradient may stand among other results. Two entries that fit alike are refused.
    """
    mismatches: list[_MismatchError] = []
    for locations in (usual_locations, locations_among_others):
        fitting = []
        for location in locations(value):
            gradient, loss = location.parts(value)
            try:
                aligned = _aligned(layout, params, gradient)
            except _MismatchError as error:
                mismatches.append(error)
                continue
            fitting.append(
                _Found(aligned, location, loss, (*location.rest, *_unused(gradient, aligned)))
            )
        fitting = [found for found in fitting if _has_its_loss(found, value)]
        if fitting:
            break
    if not fitting:
        is_pair = isinstance(value, (tuple, list)) and len(value) == 2
        raise mismatches[len(usual_locations(value)) - 1 if is_pair else 0]
    counts = [found.fitting_shapes(layout) for found in fitting]
    likely = [found for found, n in zip(fitting, counts, strict=True) if n == max(counts)]
    if not is_one_gradient([found.location for found in likely]):
        keys = dict.fromkeys(key for found in likely for key in found.location.keys)
        where = entries_of(value, keys)
        raise _MismatchError(f"{where} may each be the gradient: leave out what is none")
    return likely[0]


def _unused(gradient: Any, aligned: Mapping[Path, Any]) -> list[Any]:
    """The keys of what a dict has besides the gradient."""
    used = set(map(id, aligned.values()))
    entries = gradient.items() if isinstance(gradient, Mapping) else ()
    return [key for key, entry in entries if used.isdisjoint(id(x) for _, x in leaves(entry))]


def _has_its_loss(found: _Found, value: Any) -> bool:
    """Whether a lone number that stands in one dict with the gradient is taken for the loss."""
    if found.location.keys or not isinstance(value, Mapping):
        return True
    numbers = numbers_of({key: value[key] for key in found.rest})
    return len(numbers) != 1 if found.loss is None else not numbers


def _aligned(layout: Layout, params: object, gradient: Any) -> dict[Path, Any]:
    """The entries of a gradient by the paths of the parameters, by its form or regrouped."""
    try:
        return _align(params, gradient)
    except _MismatchError:
        other = regrouped(layout, gradient)
        if other is None:
            raise
        return other


def _align(params: Any, gradient: Any, path: Path = ()) -> dict[Path, Any]:
    """The entries of `gradient` at the places of the leaves of `params`, by the paths of these."""
    entries, others = children(params), children(gradient)
    if entries is None and others is None:
        return {path: gradient}
    parts = _parts(params, gradient, entries, others)
    if entries is None or parts is None:
        raise _MismatchError(
            f"the gradient of {name_of(path)} is {describe(gradient)}, "
            f"expected {describe(params)}; alone, with the loss, or in one entry of the result"
        )
    aligned: dict[Path, Any] = {}
    for (key, entry), part in zip(entries, parts, strict=True):
        aligned |= _align(entry, part, (*path, key))
    return aligned


Entries = list[tuple[str | int, Any]] | None
"""Of a container, with their keys; None for an array."""


def _parts(params: Any, gradient: Any, expected: Entries, entries: Entries) -> list[Any] | None:
    """The entries of `gradient` in the order of those of `params`; None where some are missing."""
    both = isinstance(params, Mapping) and isinstance(gradient, Mapping)
    if both and (names := in_one_style(params, gradient)) is not None:
        return [gradient[name] for name in names]
    either = isinstance(params, Mapping) or isinstance(gradient, Mapping)
    if either or entries is None or expected is None or len(entries) != len(expected):
        return None
    return [entry for _, entry in entries]


def _check_kind(slot: Slot, leaf: Any) -> Iterator[Finding]:
    """A leaf that holds no floating-point numbers."""
    if is_array(leaf) and dtype_of(leaf).kind in "iub":
        message = f"{slot.gradient_phrase} holds {dtype_of(leaf)}, cut to whole numbers"
        yield _slot_finding(slot, "integer_leaf", message)
    elif fault := without_numbers(leaf):
        kind, says = fault
        yield _slot_finding(slot, kind, f"{slot.gradient_phrase} {says}")


def _in_order(slots: tuple[Slot, ...], leaves: list[Any]) -> tuple[list[Any], list[Finding]]:
    """The leaves in the order of the slots, if their shapes show that they are in another."""
    back, description = in_order(slots, list(map(shape_of, leaves))) or ([], "")
    if not description:
        return leaves, []
    names = ", ".join(slot.gradient_name for slot in slots)
    message = f"the gradient comes {description}; expected the order {names}"
    return [leaves[i] for i in back], [form_finding("leaf_order", message, "warning")]


def _check_shape(
    slot: Slot, leaf: Any, n: int, is_step: bool
) -> tuple[list[Finding], np.ndarray | None]:
    """A wrong shape, and the array in the right one; None if it is not clear what was meant."""
    got, values = shape_of(leaf), to_numpy(leaf)
    if got == slot.shape or (slot.shape == () and math.prod(got) == 1):
        return [], values.reshape(slot.shape)
    like = "" if slot.gradient_name == slot.name else f" like {slot.name}"
    says, severity, meant = wrong_shape(leaf, slot.shape, of_examples(n), like, is_step)
    message = f"{slot.gradient_phrase} {says}"
    return [_slot_finding(slot, "wrong_shape", message, severity)], meant


def _slot_finding(slot: Slot, kind: str, message: str, severity: Severity = "error") -> Finding:
    return Finding(5, f"d{slot.role}", slot.layer, kind, message, severity)

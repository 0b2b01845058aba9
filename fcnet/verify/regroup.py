"""A gradient in other containers than its parameters, read by its names or by its shapes."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import dropwhile
from typing import Any

import numpy as np

from fcnet.arrays import is_array, shape_of, to_numpy
from fcnet.layouts import Layout, Slot, layers_by_name
from fcnet.trees import Path, leaves
from fcnet.verify.forms import is_one_array, is_one_number, is_placeholder, without_ones

STYLES = (
    *("d{}", "d_{}", "grad_{}", "grad{}", "g{}", "g_{}", "{}_grad", "{}_grads", "{}_gradient"),
    *("nabla_{}", "dL_d{}", "dLd{}", "dLoss_d{}", "dJ_d{}", "dJd{}", "dj_d{}", "dC_d{}"),
    *("dL/d{}", "dJ/d{}", "{}"),
)
"""How people name the gradient of the entry {} of a mapping; W itself may stand beside dW."""

GRADIENT_OF = re.compile(
    r"^(?:(?:d(?:[LJjC]|Loss)[_/]?)?d_?|grad(?:ient)?_|nabla_)(?=[A-Za-z])|_grad(?:s|ient)?$"
)
"""What makes the name of a gradient of the name of its parameter."""

ORDERS: tuple[tuple[Callable[[Slot], tuple[int, int]], str], ...] = (
    (lambda slot: (-slot.layer, slot.role == "b"), "with the last layer first"),
    (lambda slot: (slot.layer, slot.role == "W"), "with each b before its W"),
    (lambda slot: (-slot.layer, slot.role == "W"), "backwards, the last b first"),
    (lambda slot: (slot.role == "b", slot.layer), "with every W before every b"),
    (lambda slot: (slot.role == "W", slot.layer), "with every b before every W"),
    (lambda slot: (slot.role == "b", -slot.layer), "with every W before every b, backwards"),
    (lambda slot: (slot.role == "W", -slot.layer), "with every b before every W, backwards"),
)
"""Other orders of the arrays, by the key to sort their slots by."""


def in_one_style(keys: Iterable[Any], gradient: Mapping[Any, Any]) -> list[Any] | None:
    """The keys of a gradient for these keys of parameters; None if it lacks some in every style.

    >>> in_one_style(["W", "b"], {"db": 1.0, "dW": 2.0})
    ['dW', 'db']
    """
    for style in STYLES:
        names = [key if style == "{}" else style.format(key) for key in keys]
        if all(name in gradient for name in names):
            return names
    return None


def regrouped(layout: Layout, gradient: object) -> dict[Path, Any] | None:
    """The arrays of a gradient by the paths of the parameters; None if its form does not tell.

    By its names, if it has some, or by its length, if it is one vector. Else in the order in which
    they are written, if there are as many as parameters, and their shapes fit in that order, all or
    most of them, or in one of `ORDERS`. None stands for the input layer, which has no parameters,
    and so do 0 and a placeholder in a list of several.
    """
    if is_one_vector(layout, gradient):
        return _cut(layout, gradient)
    named = _by_entry(layout, gradient) or _by_layer(layout, gradient)
    if named is not None:
        return named
    slots = layout.arrays
    entries = gradient if isinstance(gradient, (list, tuple)) else ()
    if len(entries) > 1 and sum(entry is not None for entry in entries) == 1:
        return None  # that entry alone may be the gradient, and None another result
    found = [(path, leaf) for path, leaf in leaves(gradient) if leaf is not None]
    if len(found) > len(slots):  # not a loss, which stands beside the lists
        found = [(path, leaf) for path, leaf in found if not (path[1:] and _is_no_layer(leaf))]
    values = [leaf for _, leaf in found]
    unnamed = all(isinstance(key, int) for path, _ in found for key in path)
    if not unnamed or len(values) != len(slots) or not all(map(is_array, values)):
        return None
    fits = in_order(slots, list(map(shape_of, values))) is not None
    return dict(zip([slot.path for slot in slots], values, strict=True)) if fits else None


def _is_no_layer(leaf: Any) -> bool:
    return is_placeholder(leaf) or type(leaf) is int


def without_parameters(layout: Layout, params: object, result: Any) -> Any:
    """[(W1, dW1), ...] or [(dW1, W1), ...], maybe after a loss, as a dict of the gradients by name.

    Any other result as it is.
    """
    if type(result) is tuple and len(result) == 2 and is_one_number(result[0]):
        return result[0], without_parameters(layout, params, result[1])
    pairs = result if isinstance(result, (list, tuple)) else []
    are_pairs = all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs)
    arrays = dict(leaves(params))
    if not are_pairs or len(pairs) != len(layout.arrays):
        return result
    for own, other in ((0, 1), (1, 0)):
        found = {
            f"d{slot.role}{slot.layer}": pair[other]
            for slot in layout.arrays
            for pair in pairs
            if _are_equal(pair[own], arrays.get(slot.path))
        }
        if len(found) == len(pairs):
            return found
    return result


def _are_equal(one: Any, other: Any) -> bool:
    return is_array(one) and is_array(other) and np.array_equal(to_numpy(one), to_numpy(other))


def is_one_vector(layout: Layout, gradient: Any) -> bool:
    """Whether a gradient of several arrays is one vector of all their entries."""
    if len(layout.arrays) < 2 or not is_one_array(gradient):
        return False
    count = sum(math.prod(slot.shape) for slot in layout.arrays)
    return without_ones(shape_of(gradient)) == (count,)


def _cut(layout: Layout, vector: Any) -> dict[Path, Any]:
    """One vector, cut into arrays in the order of the parameters, each along its rows."""
    entries, found, start = vector.reshape(-1), {}, 0
    for slot in layout.arrays:
        end = start + math.prod(slot.shape)
        found[slot.path] = entries[start:end].reshape(slot.shape)
        start = end
    return found


def in_order(
    slots: tuple[Slot, ...], shapes: list[tuple[int, ...]]
) -> tuple[list[int], str] | None:
    """Where the array of each slot is among arrays of these shapes, and the order in words.

    "" for the order of the slots. It is the first order that fits the most shapes, with their axes
    of length 1, without those that lead, since broadcasting adds them, or without any of them. None
    if no order fits more than half.

    >>> from fcnet.layouts import layouts_of
    >>> params = [[[1.0] * 3] * 4, [[1.0] * 3], [[1.0]] * 3, [[1.0]]]  # W1, b1, W2, b2
    >>> in_order(layouts_of(params)[0].arrays, [(4, 3), (3, 1), (3,), (1,)])
    ([0, 2, 1, 3], 'with every W before every b')
    """
    places = list(range(len(slots)))
    found, most = None, len(slots) // 2
    for form in (tuple, _without_leading_ones, without_ones):
        expected = [form(slot.shape) for slot in slots]
        for key, description in ((None, ""), *ORDERS):
            order = sorted(places, key=lambda i: key(slots[i])) if key else places
            back = sorted(places, key=order.__getitem__)
            fits = sum(form(shapes[i]) == shape for i, shape in zip(back, expected, strict=True))
            if fits > most:
                found, most = (back, description), fits
            if fits == len(slots):
                return found
    return found


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(dropwhile((1).__eq__, shape))


def _by_entry(layout: Layout, gradient: object) -> dict[Path, Any] | None:
    """A mapping with one entry for each array, named by role and layer or as it is, and maybe more.

    Its parameters may be in a dict of an object, with others beside it.
    """
    if not isinstance(gradient, Mapping):
        return None
    slots = layout.arrays
    by_role, by_key = ([f(slot) for slot in slots] for f in (_role_and_layer, _last_key))
    names = in_one_style(by_role, gradient)
    if names is None and len(set(by_key)) == len(slots):
        names = in_one_style(by_key, gradient)
    if names is None:
        return None
    return {slot.path: gradient[name] for slot, name in zip(slots, names, strict=True)}


def _role_and_layer(slot: Slot) -> str:
    return f"{slot.role}{slot.layer}"


def _last_key(slot: Slot) -> str | int:
    return slot.path[-1] if slot.path else ""


def _by_layer(layout: Layout, gradient: object) -> dict[Path, Any] | None:
    """Arrays that words in their names place, as those of parameters are; all in one style."""
    found = {path: leaf for path, leaf in leaves(gradient) if leaf is not None}
    values = {tuple(map(_plain, path)): leaf for path, leaf in found.items()}
    changed = {_plain(path[-1]) != path[-1] for path in found if path and isinstance(path[-1], str)}
    named = layers_by_name(list(values)) if values else None
    if named is None or len(changed) > 1 or any(slot.part for slot in layout.slots):
        return None
    places = {
        (k, role): values[path]
        for k, layer in enumerate(named[0], start=1)
        for role, path in layer.items()
    }
    if set(places) != {(slot.layer, slot.role) for slot in layout.slots}:
        return None
    return {slot.path: places[slot.layer, slot.role] for slot in layout.slots}


def _plain(key: str | int) -> str | int:
    return GRADIENT_OF.sub("", key) if isinstance(key, str) else key

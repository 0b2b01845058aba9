"""A check of an object that holds its parameters, and is left as it was.

The checker gets the parameters as nested dicts. For each case it puts the values into the object,
and then calls backward(x, y).
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any, TypeVar

import numpy as np

from fcnet.arrays import is_array, is_floating, shape_of, to_numpy
from fcnet.trees import Path, children, leaves
from fcnet.verify.calling import check_call, name_of_function, required_count
from fcnet.verify.diagnose.causes import any_unknown
from fcnet.verify.forms import is_one_array, is_placeholder
from fcnet.verify.holders import Holder, arrays_in, has_parameters, holder_of
from fcnet.verify.location import value_in
from fcnet.verify.snapshot import restored
from fcnet.verify.types import Finding

KEEPING = {"nondeterministic", "stateful", "momentum", "averaged_gradients"}
"""Kinds of findings of a program that keeps something from call to call, as momentum does."""

MOST_KEPT = 4
"""How many arrays that it may keep are named."""

Checker = TypeVar("Checker", bound=Callable[..., Any])


def takes_objects(check: Checker) -> Checker:
    """A check that also accepts an object for `params`, and leaves it as it was."""

    @functools.wraps(check)
    def wrapper(backward: Any, params: Any, x: Any, y: Any, **options: Any) -> Any:
        if not callable(backward) or not is_object(params):
            return check(backward, params, x, y, **options)
        with restored(params):
            holder = holder_of(params)
            _check_can_change(holder)
            keeps = options.get("learning_rate") is None
            function = _filled_first(backward, holder, x, y, keeps)
            if callable(penalty := options.get("penalty")):
                of_arrays = functools.partial(_of_filled, penalty, holder)
                options["penalty"] = functools.update_wrapper(of_arrays, penalty)
            arrays = ((path, array) for path, array in arrays_in(params) if is_floating(array))
            before = {path: np.array(to_numpy(array)) for path, array in arrays}
            held = holder.arrays()
            report = check(function, held, x, y, **options)
            said = _kept_notes(holder, before, report.findings)
            if held.others and any_unknown(report.findings):
                said.append(held.others)
            return dataclasses.replace(report, notes=(*report.notes, *said))

    return wrapper  # type: ignore[return-value]


def is_object(params: object) -> bool:
    """Whether it is an object with attributes, or a container of objects with parameters.

    Or a list or a dict that holds settings too, such as the name of an activation, or a list with
    a placeholder for the input layer, or a pair of such lists.
    """
    objects = [
        leaf
        for _, leaf in leaves(params)
        if not is_array(leaf) and (hasattr(leaf, "__dict__") or hasattr(leaf, "__slots__"))
    ]
    if children(params) is None:
        return bool(objects)
    entries = params if isinstance(params, tuple) else (params,)  # a tuple of lists can change
    changes = all(isinstance(entry, (MutableMapping, MutableSequence)) for entry in entries)
    return has_parameters(objects) or (changes and _has_settings(params))


def _has_settings(container: object) -> bool:
    """Whether arrays stand beside texts or functions, or beside a placeholder in a list."""
    values = [leaf for _, leaf in leaves(container)]
    inner = (entry for _, entry in children(container) or ())
    lists = [value for value in (container, *inner) if isinstance(value, MutableSequence)]
    no_layer = any(is_placeholder(entry) for entries in lists for entry in entries)
    settings = no_layer or any(isinstance(v, str) or callable(v) for v in values)
    return settings and any(map(is_one_array, values))


def _check_can_change(holder: Holder) -> None:
    """Raise TypeError unless other arrays can be put into the object."""
    try:
        holder.put(holder.arrays())
    except (AttributeError, TypeError) as error:
        raise TypeError(
            f"the {type(holder.owner).__name__} does not take other parameters ({error}). Pass "
            "the arrays themselves as params, and a function of (params, x, y) that makes one"
        ) from error


def _filled_first(
    backward: Callable[..., Any], holder: Holder, x: Any, y: Any, keeps_gradients: bool = True
) -> Callable[[Any, Any, Any], Any]:
    """`backward(x, y)` as a function of (params, x, y), which are put into the object first.

    A function that needs three arguments, and is no method, is called as backward(object, x, y).
    Where it returns nothing, the object, one array, such as the gradient of x, or its loss and no
    arrays of the shapes of all parameters, the gradient is the one that the object keeps, with
    `keeps_gradients`.
    """
    takes_owner = required_count(backward) == 3 and not inspect.ismethod(backward)
    first = (holder.owner,) if takes_owner else ()
    check_call(backward, (*first, x, y), "(x, y)")

    def function(params: Any, x: Any, y: Any) -> Any:
        holder.put(params)
        try:
            result = backward(*first, x, y)
        finally:
            holder.take(params)
        result = None if result is holder.owner else holder.read(result)
        value = value_in(result)
        shapes, found = (
            {shape_of(x) for _, x in leaves(t) if is_array(x)} for t in (params, result)
        )
        alone = is_one_array(result) and len(holder.paths) > 1
        beside = value is not None and not shapes <= found
        if not keeps_gradients or not (result is None or alone or beside):
            return result
        kept = holder.kept_gradient()
        if result is None or kept is None:
            return kept if result is None else result
        return kept if value is None else (value, kept)

    function.__name__ = name_of_function(backward)
    return function


def _kept_notes(
    holder: Holder, before: Mapping[Path, np.ndarray], findings: Sequence[Finding]
) -> list[str]:
    """What calls change in the object beside its parameters, if they do not repeat themselves."""
    if KEEPING.isdisjoint(finding.kind for finding in findings):
        return []
    own = {*holder.paths, *holder.aliases}
    changed = sorted(
        holder.place(path)
        for path, array in arrays_in(holder.owner)
        if path in before and path not in own and is_floating(array)
        if not np.array_equal(to_numpy(array), before[path])
    )
    names = ", ".join(changed[:MOST_KEPT]) + ", ..." * (len(changed) > MOST_KEPT)
    said = f"the calls change {names} too: set back before each call what is not made anew in it"
    return [said] * bool(changed)


def _of_filled(penalty: Callable[..., Any], holder: Holder, arrays: Any, *n: Any) -> Any:
    """A penalty of the object with other arrays in it, which is left as it was."""
    with restored(holder.owner):
        holder.put(arrays)
        return penalty(holder.owner, *n)

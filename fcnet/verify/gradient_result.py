"""What a gradient function returned: the gradient of any pytree, with what may stand beside it.

That is the value of the function, and the gradients of its named values.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from fcnet.arrays import is_array, like, shape_of, to_numpy
from fcnet.verify.arguments import Arguments, as_answer, is_none
from fcnet.verify.forms import (
    FOR_A_CONSTANT,
    OF_ANY_FUNCTION,
    Place,
    describe,
    places_among_others,
    usual_places,
    without_numbers,
    wrong_shape,
)
from fcnet.verify.regroup import STYLES, in_one_style
from fcnet.verify.types import Answer, Finding, form_finding

NO_FLOATS = (
    "the first argument holds no floating-point numbers, and so has no gradient: return a tuple "
    "with an entry for every argument, None for the first"
)


class ResultForm(NamedTuple):
    """One way to read a result.

    Attributes:
        entries: the places of the arguments that have an entry in the gradient; None if it is that
            of the first argument, alone.
        place: of the gradient and the value in the result. The value may stand in one tuple with
            the gradients of several arguments.
        named: the named values whose gradients come last in a dict, in the order of the backward
            pass; () if there are none.
        keys: of the entries in a dict; () if they come in order.
    """

    entries: tuple[int, ...] | None
    place: Place = Place()
    named: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def parts(self, returned: Any) -> "Parts":
        """The result taken apart; what does not fit is taken for the gradient."""
        named: Mapping[str, Any] = {}
        if self.named and _ends_in_dict(returned):
            named = returned[-1]
            returned = _alone(returned[:-1])
        gradient, value = self.place.parts(returned)
        if isinstance(gradient, Mapping) and gradient.keys() == {*self.keys}:
            gradient = tuple(gradient[key] for key in self.keys)
        return Parts(gradient, value, named)


class Parts(NamedTuple):
    """The gradient; the value or None; the gradients of named values."""

    gradient: Any
    value: Any
    named: Mapping[str, Any]


class Result(NamedTuple):
    """A result that was read, and what is wrong with its form.

    The arrays of the answer are those of the named values, the last one first; then those of the
    arguments; then the value.
    """

    form: ResultForm
    answer: Answer | None
    findings: tuple[Finding, ...]

    @property
    def misshapen(self) -> bool:
        """Whether an array is missing, or has a wrong shape."""
        return self.answer is None or any(f.kind == "wrong_shape" for f in self.findings)


def results_of(
    arguments: Arguments, shapes: Mapping[str, tuple[int, ...]], returned: Any
) -> list[Result]:
    """What was returned, read in each way that fits its shapes; in one way if none does.

    Args:
        arguments: of the function.
        shapes: of the values that it names.
        returned: what it returned.
    """
    names: list[tuple[str, ...]] = [()]
    if shapes and (keys := returned_names(returned)):
        known = [name for name in reversed(tuple(shapes)) if name in keys]
        names.insert(0, (*known, *(name for name in keys if name not in shapes)))
    for places in (usual_places, places_among_others):
        ways = [way for named in names for way in _ways(arguments, places, named, returned)]
        fitting = [way for way in ways if _leaves(arguments, way.parts(returned), way) is not None]
        if fitting:
            break
    if len({way.place.gradient for way in fitting}) > 1:
        fitting = []  # any of several entries may be the gradient
    forms = dict.fromkeys(fitting) or [ResultForm(entries=None)]
    found = [read(arguments, shapes, returned, form) for form in forms]
    return [result for result in found if not result.misshapen] or found[:1]


def _ways(
    arguments: Arguments,
    places: Callable[[Any], list[Place]],
    named: tuple[str, ...],
    returned: Any,
) -> list[ResultForm]:
    """Forms with entries for all arguments, for the first alone, for the first ones, or by name."""
    count = len(arguments.heads)
    firsts = (tuple(range(k)) or None for k in (count, 0, *range(count - 1, 0, -1)))
    found = places(_alone(returned[:-1]) if named else returned)
    ways = [ResultForm(entries, place, named) for entries in firsts for place in found]
    for place in found:
        gradient = ResultForm(None, place, named).parts(returned).gradient
        if places_by_key := _named_entries(arguments.heads, gradient):
            entries, keys = zip(*places_by_key, strict=True)
            ways.append(ResultForm(entries, place, named, keys))
    return ways


def _named_entries(heads: Sequence[str], gradient: Any) -> list[tuple[int, str]]:
    """The place of the argument that each key of a gradient names; [] if one names none."""
    if not isinstance(gradient, Mapping):
        return []
    for style in STYLES:
        keys = [(place, style.format(head)) for place, head in enumerate(heads)]
        found = [(place, key) for place, key in keys if key in gradient]
        if len(found) == len(gradient):
            return found
    return []


def returned_names(returned: Any) -> tuple[Any, ...]:
    """The keys of a dict that comes last, beside something else."""
    return tuple(returned[-1]) if _ends_in_dict(returned) else ()


def _ends_in_dict(returned: Any) -> bool:
    return _has_parts(returned) and isinstance(returned[-1], Mapping)


def _has_parts(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) > 1


def _alone(parts: Any) -> Any:
    return parts[0] if len(parts) == 1 else parts


def _leaves(arguments: Arguments, parts: Parts, form: ResultForm) -> list[Any] | None:
    """What the gradient has for each leaf of the arguments; a list of numbers stands for an array.

    None if it has other containers, or if the value or the gradients of named values are missing.
    """
    if (form.place.value is not None and parts.value is None) or (form.named and not parts.named):
        return None
    each, places = arguments.structure.children(), form.entries or (0,)
    own: Any = tuple(arguments.own[place] for place in places)
    structure: Any = jax.tree_util.treedef_tuple([each[place] for place in places])
    gradient = parts.gradient if form.entries else (parts.gradient,)
    gradient = _renamed(own, tuple(gradient) if type(gradient) is list else gradient)
    try:
        leaves = structure.flatten_up_to(gradient)
    except ValueError:
        return None
    fits = (is_array(x) or jax.tree_util.all_leaves([x], is_leaf=is_none) for x in leaves)
    return leaves if all(fits) else None


def _renamed(own: Any, gradient: Any) -> Any:
    """The gradient with the keys of the user's own arguments, where it has dW for W."""
    if type(own) is dict and isinstance(gradient, Mapping):
        names = in_one_style(own, gradient)
        if names is None or len(own) != len(gradient):
            return gradient
        return {
            key: _renamed(own[key], gradient[name]) for key, name in zip(own, names, strict=True)
        }
    both = type(own) in (list, tuple) and type(gradient) in (list, tuple)
    if both and not is_array(gradient) and len(own) == len(gradient):
        return type(gradient)(map(_renamed, own, gradient))
    return gradient


def read(
    arguments: Arguments, shapes: Mapping[str, tuple[int, ...]], returned: Any, form: ResultForm
) -> Result:
    """Read a result in one way.

    The entry of a leaf without a gradient, such as integers, may be None, float0 or zeros.
    """
    parts = form.parts(returned)
    leaves = _leaves(arguments, parts, form)
    if leaves is None:
        return Result(form, None, (misfit(arguments, parts.gradient),))
    findings: list[Finding] = []
    arrays: list[Any] = []
    for name in form.named:
        if name not in shapes or name not in parts.named:
            findings.append(_unknown_name(shapes, name))
            arrays.append(None)
            continue
        found, array = _check_leaf(name, parts.named[name], shapes[name])
        findings += [finding._replace(quantity=name) for finding in found]
        arrays.append(array)
    for i, leaf in zip(arguments.leaves_of(form.entries or (0,)), leaves, strict=True):
        name = arguments.names[i]
        if i in arguments.floating:
            found, array = _check_leaf(name, leaf, shape_of(arguments.leaves[i]))
            findings += found
            arrays.append(array)
        elif not _is_nothing(leaf):
            message = f"{name} has no gradient; return None, float0 or zeros for it, got {leaf}"
            findings.append(form_finding("integer_leaf", message))
    if not arrays:
        findings.append(form_finding("wrong_structure", NO_FLOATS))
    if not arrays or any(array is None for array in arrays):
        return Result(form, None, tuple(findings))
    answer = as_answer(arrays)
    if parts.value is not None:
        gradients: Any = (*answer.gradient, to_numpy(parts.value).reshape(()))
        answer = answer._replace(gradient=gradients)
    return Result(form, answer, tuple(findings))


def _unknown_name(shapes: Mapping[str, tuple[int, ...]], name: str) -> Finding:
    message = (
        f"a gradient of {name!r} is returned, but the function names no value so; "
        f"it names {', '.join(map(repr, shapes))}"
    )
    return form_finding("wrong_structure", message)


def misfit(arguments: Arguments, gradient: Any) -> Finding:
    """That the gradient is in other containers than the arguments."""
    args = jax.tree.unflatten(arguments.structure, arguments.leaves)
    name = arguments.names[0].split("[")[0]
    message = (
        f"the gradient is {describe(gradient)}, expected {describe(args[0])}, like {name}, "
        "alone or as (value, gradient)"
    )
    if len(args) > 1:
        message += f"; or a tuple of {len(args)} gradients, one for each argument"
        message += ", or of those of the first ones" if len(args) > 2 else ""
        names = ", ".join(f"d{head}" for head in arguments.heads[:2])
        message += f"; or a dict by the names of arguments, such as {names}"
    expected, got = _keys(args[0]), _keys(gradient)
    for what, keys in (("lacks", expected - got), ("also has", got - expected)):
        if keys and got and expected != {""}:
            message += f"; it {what} {min(keys)}"
    return form_finding("wrong_structure", message)


def _keys(tree: Any) -> set[str]:
    paths, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_none)
    return {jax.tree_util.keystr(path) for path, _ in paths}


def _check_leaf(name: str, leaf: Any, shape: tuple[int, ...]) -> tuple[list[Finding], Any]:
    """What is wrong with the form of one gradient; and the gradient in the right shape, or None."""
    subject = f"the gradient of {name}"
    if fault := without_numbers(leaf):
        kind, says = fault
        hint = f"; {FOR_A_CONSTANT}" if leaf is None else ""
        return [form_finding(kind, f"{subject} {says}{hint}")], None
    if shape_of(leaf) == shape:
        return [], leaf
    says, severity, meant = wrong_shape(leaf, shape, OF_ANY_FUNCTION)
    finding = form_finding("wrong_shape", f"{subject} {says}", severity)
    return [finding], None if meant is None else like(meant, leaf)


def _is_nothing(leaf: Any) -> bool:
    if leaf is None or getattr(leaf, "dtype", None) == jax.dtypes.float0:
        return True
    return is_array(leaf) and not np.any(np.asarray(leaf))

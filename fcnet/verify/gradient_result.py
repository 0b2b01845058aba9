"""What a gradient function returned: the gradient of any pytree, with what may stand beside it.

That is the value of the function, and the gradients of its named values.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from fcnet.arrays import dtype_of, is_array, is_floating, like, shape_of, to_numpy
from fcnet.trees import children, leaves
from fcnet.verify.arguments import OF_PARTS, Arguments, as_answer, is_complex
from fcnet.verify.forms import (
    FOR_A_CONSTANT,
    OF_ANY_FUNCTION,
    is_one_number,
    without_numbers,
    wrong_shape,
)
from fcnet.verify.location import (
    Location,
    in_one_row,
    is_one_gradient,
    locations_among_others,
    numbers_of,
    usual_locations,
)
from fcnet.verify.misfit import misfit
from fcnet.verify.regroup import STYLES, in_one_style
from fcnet.verify.result_form import (
    Group,
    ResultForm,
    beside_names,
    has_numbers,
    leaves_of_gradient,
    returned_names,
)
from fcnet.verify.types import Answer, Finding, form_finding

MISFITS = ("wrong_shape", "integer_leaf")
"""Kinds of findings that speak for another way to read a result, if there is one."""


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
        """Whether an array is missing, has a wrong shape, or stands where none belongs."""
        return self.answer is None or any(f.kind in MISFITS for f in self.findings)


def results_of(
    arguments: Arguments, shapes: Mapping[str, tuple[int, ...]], returned: Any
) -> list[Result]:
    """What was returned, read in each way that fits its shapes; in one way if none does.

    If it cannot be read as it is, the entries of a dict may be those of an argument, and others.

    Args:
        arguments: of the function.
        shapes: of the values that it names.
        returned: what it returned.
    """
    results = _results_of(arguments, shapes, returned)
    for group in _groups(arguments, returned) if results[0].answer is None else ():
        found = _results_of(arguments, shapes, group.made(returned))
        if found[0].answer:
            return [each._replace(form=each.form._replace(group=group)) for each in found]
    return results


def _groups(arguments: Arguments, returned: Any) -> Iterator[Group]:
    """Arguments that are dicts, where all their entries are named in a dict of the result."""
    parts = [entry for _, entry in children(returned) or ()]
    dicts = [part for part in (returned, *parts) if isinstance(part, Mapping)]
    for head, own in zip(arguments.heads, arguments.own, strict=True):
        keys = [key for key in own if has_numbers(own[key])] if isinstance(own, Mapping) else []
        for part in dicts if keys else ():
            names = in_one_style(keys, part)
            if names and names != keys:  # W beside dx may be the argument itself
                yield Group(head, dict(zip(keys, names, strict=True)))


def _results_of(
    arguments: Arguments, shapes: Mapping[str, tuple[int, ...]], returned: Any
) -> list[Result]:
    """The result read as it is.

    A reading that leaves out a possible gradient of another argument is refused. So are two that
    take different entries for the gradient.
    """
    returned = in_one_row(returned)
    names: list[tuple[str, ...]] = [()]
    if shapes and (keys := returned_names(returned)):
        known = [name for name in reversed(tuple(shapes)) if name in keys]
        names.insert(0, (*known, *(name for name in keys if name not in shapes)))
    fitting: list[ResultForm] = []
    unclear: list[list[Any]] = []
    for locations in (usual_locations, locations_among_others):
        ways = [way for named in names for way in _ways(arguments, locations, named, returned)]
        ways = [
            way
            for way in ways
            if leaves_of_gradient(arguments, way.parts(returned), way) is not None
        ]
        doubts = {way: _doubtful(arguments, way, returned) for way in ways}
        unclear += [[*way.location.keys, *keys] for way, keys in doubts.items() if keys]
        fitting = [way for way in ways if not doubts[way]]
        if fitting:
            break
    found = [read(arguments, shapes, returned, form) for form in dict.fromkeys(fitting)]
    exact = [result for result in found if not result.misshapen]
    if exact and all(result.form.is_reordered for result in exact):  # or each is transposed
        exact += [result for result in found if result.misshapen and result.answer]
    likely = exact or ([] if unclear else found)
    if likely and is_one_gradient([result.form.location for result in likely]):
        return exact or likely[:1]
    unclear = unclear or [[key for result in likely for key in result.form.location.keys]]
    either = sorted({*min(unclear, key=len)}, key=str)
    return [Result(ResultForm(entries=None), None, (misfit(arguments, returned, either),))]


def _ways(
    arguments: Arguments,
    locations: Callable[[Any], list[Location]],
    named: tuple[str, ...],
    returned: Any,
) -> list[ResultForm]:
    """Forms with entries for all arguments, the first, the first ones, by name or by shape."""
    count = len(arguments.heads)
    firsts = (tuple(range(k)) or None for k in (count, 0, *range(count - 1, 0, -1)))
    found = locations(beside_names(returned) if named else returned)
    ways = [ResultForm(entries, location, named) for entries in firsts for location in found]
    for location in found:
        gradient = ResultForm(None, location, named).parts(returned).gradient
        if by_shape := _by_shape(arguments, gradient):
            ways.append(ResultForm(by_shape, location, named))
        for style in STYLES if isinstance(gradient, Mapping) else ():
            by_key = {style.format(head): i for i, head in enumerate(arguments.heads)}
            keys = tuple(key for key in by_key if key in gradient)
            others = {key: entry for key, entry in gradient.items() if key not in keys}
            is_cache = style == "{}" and _shapes_in(others)  # such as x beside z
            if keys and not is_cache:
                entries = tuple(by_key[key] for key in keys)
                ways.append(ResultForm(entries, location, named, keys))
    names = {style.format(head) for head in arguments.heads for style in STYLES}
    own = arguments.own[arguments.first[0]]
    fields: Any = getattr(own, "_fields", own if isinstance(own, Mapping) else ())
    parts = {style.format(field) for field in fields for style in STYLES}
    return [
        way
        for way in ways
        if (
            _has_its_value(way, returned)
            if way.keys
            else way.location.gradient not in names and way.location.value not in parts
        )
    ]


def _by_shape(arguments: Arguments, gradient: Any) -> tuple[int, ...]:
    """The places of the arguments of which several arrays are the gradients, by their shapes.

    These must be arguments in a row, as in f(X, y, W, b) those of W and b. Of another one an array
    may have the shape by mistake. () if the shapes do not tell.
    """
    if not isinstance(gradient, (tuple, list)) or not all(map(is_array, gradient)):
        return ()
    fitting = [places_of_shape(arguments, shape_of(array)) for array in gradient]
    if len(fitting) < 2 or any(len(places) != 1 for places in fitting):
        return ()
    places = tuple(place for (place,) in fitting)
    return places if {*places} == {*range(min(places), min(places) + len(places))} else ()


def places_of_shape(arguments: Arguments, shape: tuple[int, ...]) -> list[int]:
    """The places of the arguments that are floating arrays of this shape."""
    floating = {i: x for i, x in enumerate(arguments.own) if is_array(x) and is_floating(x)}
    return [i for i, x in floating.items() if shape_of(x) == shape]


def _has_its_value(way: ResultForm, returned: Any) -> bool:
    """Whether a lone number that stands in one dict with the gradient is taken for the value."""
    if way.location.gradient is not None:
        return True
    numbers = numbers_of(way.left_out(returned))
    return len(numbers) != 1 if way.location.value is None else not numbers


def _doubtful(arguments: Arguments, way: ResultForm, returned: Any) -> list[Any]:
    """The keys of what is left out, or taken for the value, and may be another argument's gradient.

    Its key names that argument, or it holds arrays of the shapes of arguments, and of no others.
    """
    unread = {*range(len(arguments.heads))} - {*(way.entries or arguments.first)}
    floating = {place: {*arguments.leaves_of([place])} & {*arguments.floating} for place in unread}
    heads = [arguments.heads[place] for place in unread if floating[place]]
    shapes = {shape_of(arguments.leaves[i]) for place in unread for i in floating[place]}
    every = {*map(shape_of, arguments.differentiable)}
    names = {style.format(head) for head in heads for style in STYLES}
    rest = way.left_out(returned)
    doubtful = [key for key in (*rest, way.location.value) if key in names]
    for key, entry in rest.items():
        found = _shapes_in(entry)
        if _is_named(entry, heads) or (found & shapes and found <= every):
            doubtful.append(key)
    return doubtful


def _is_named(entry: Any, heads: Sequence[str]) -> bool:
    """Whether it is a dict with keys such as dW for an argument W, or with W alone."""
    if not isinstance(entry, Mapping):
        return False
    *gradients, plain = ({style.format(head) for head in heads} & {*entry} for style in STYLES)
    return any(gradients) or len(plain) == len(entry) > 0


def _shapes_in(entry: Any) -> set[tuple[int, ...]]:
    """The shapes of the arrays in an entry; not of numbers in a dict, such as an accuracy."""
    is_dict = isinstance(entry, Mapping)
    found = (x for _, leaf in leaves(entry) for x in jax.tree.leaves(leaf) if is_array(x))
    return {shape_of(x) for x in found if not (is_dict and is_one_number(x))}


def read(
    arguments: Arguments, shapes: Mapping[str, tuple[int, ...]], returned: Any, form: ResultForm
) -> Result:
    """Read a result in one way.

    The entry of a leaf without a gradient, such as integers, may be None, float0 or zeros.
    """
    parts = form.parts(returned)
    leaves = leaves_of_gradient(arguments, parts, form)
    if leaves is None:
        return Result(form, None, (misfit(arguments, parts.gradient),))
    findings = [_in_order(arguments, form)] if form.is_reordered else []
    arrays: list[Any] = []
    for name in form.named:
        if name not in shapes or name not in parts.named:
            findings.append(_unknown_name(shapes, name))
            arrays.append(None)
            continue
        found, array = _check_leaf(name, parts.named[name], shapes[name])
        findings += [finding._replace(quantity=name) for finding in found]
        arrays.append(array)
    for i, leaf in zip(arguments.leaves_of(form.entries or arguments.first), leaves, strict=True):
        name = arguments.names[i]
        if i in arguments.floating:
            found, array = _check_leaf(name, leaf, shape_of(arguments.leaves[i]))
            more = _of_another(arguments, form, leaf) if array is None else ""
            more += _of_second_order(arguments, leaf)
            findings += [finding._replace(message=finding.message + more) for finding in found]
            arrays.append(array)
        elif not _is_nothing(leaf):
            findings.append(_of_no_gradient(arguments, i, leaf))
    if any(array is None for array in arrays):
        return Result(form, None, tuple(findings))
    answer = as_answer(arrays)
    if parts.value is not None:
        gradients: Any = (*answer.gradient, to_numpy(parts.value).reshape(()))
        answer = answer._replace(gradient=gradients)
    return Result(form, answer, tuple(findings))


def _of_no_gradient(arguments: Arguments, i: int, leaf: Any) -> Finding:
    """That a leaf without a gradient, such as integers, has an entry that is not 0.

    Beside the gradient of a function of labels it is something else, and not judged.
    """
    name = arguments.names[i]
    if name in arguments.heads and not is_complex(arguments.leaves[i]):
        message = f"{name} has no gradient: what is returned for it, such as a Hessian, leave out"
        return form_finding("integer_leaf", message, "warning")
    message = f"{name} has no gradient; return None, float0 or zeros for it, got {leaf}"
    message += f"; {OF_PARTS}" * is_complex(arguments.leaves[i])
    return form_finding("integer_leaf", message)


def _in_order(arguments: Arguments, form: ResultForm) -> Finding:
    """That the entries are those of other arguments than the first ones, in their order."""
    names = ", ".join(arguments.heads[place] for place in form.entries or ())
    return form_finding("leaf_order", f"by their shapes, these are gradients of {names}", "warning")


def _of_another(arguments: Arguments, form: ResultForm, leaf: Any) -> str:
    """That an array has the shape of just one other argument, and how to return its gradient."""
    if not is_array(leaf):
        return ""
    others = {*places_of_shape(arguments, shape_of(leaf))} - {*(form.entries or arguments.first)}
    heads = [arguments.heads[place] for place in others]
    if len(heads) != 1 or not heads[0].isidentifier():
        return ""
    (head,) = heads
    return f"; if it is the gradient of {head}, which has this shape, return {{'d{head}': ...}}"


def _of_second_order(arguments: Arguments, leaf: Any) -> str:
    """What to do about an array with the shape of a Hessian."""
    hessians = {2 * shape_of(array) for array in arguments.differentiable}
    is_hessian = is_array(leaf) and shape_of(leaf) in hessians - {()}
    return "; if it is a Hessian, leave it out" if is_hessian else ""


def _unknown_name(shapes: Mapping[str, tuple[int, ...]], name: str) -> Finding:
    message = (
        f"a gradient of {name!r} is returned, but the function names no value so; "
        f"it names {', '.join(map(repr, shapes))}"
    )
    return form_finding("wrong_structure", message)


def _check_leaf(name: str, leaf: Any, shape: tuple[int, ...]) -> tuple[list[Finding], Any]:
    """What is wrong with the form of one gradient; and the gradient in the right shape, or None."""
    subject = f"the gradient of {name}"
    if is_array(leaf) and dtype_of(leaf).kind in "biu":
        says = f"is {dtype_of(leaf)}, where what is not whole is cut off: return real numbers"
        finding = form_finding("wrong_dtype", f"{subject} {says}", "warning")
        findings, array = _check_leaf(name, to_numpy(leaf), shape)
        return [finding, *findings], array
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

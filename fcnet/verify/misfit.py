"""What is said of a gradient that cannot be read: what was expected, and what to return."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax

from fcnet.arrays import shape_of
from fcnet.verify.arguments import Arguments, is_none
from fcnet.verify.forms import describe
from fcnet.verify.location import entries_of
from fcnet.verify.regroup import STYLES
from fcnet.verify.result_form import Parts, ResultForm, has_numbers, leaves_of_gradient
from fcnet.verify.types import Finding, form_finding


def misfit(arguments: Arguments, gradient: Any, unclear: Sequence[Any] = ()) -> Finding:
    """That the gradient is in other containers than the arguments, or which part it is is unclear.

    Args:
        arguments: of the function.
        gradient: what was taken for it.
        unclear: the keys of the parts any of which may hold a gradient.
    """
    args = jax.tree.unflatten(arguments.structure, arguments.leaves)
    (first,) = arguments.first
    message = (
        f"the gradient is {describe(gradient)}, expected {describe(args[first])}, like "
        f"{arguments.heads[first]}, alone or as (value, gradient)"
    )
    if len(args) > 1:
        message += f"; or a tuple of {len(args)} gradients, one for each argument"
        message += ", or of those of the first ones" if len(args) > 2 else ""
        names = ", ".join(f"d{head}" for head in arguments.heads[:2] if head.isidentifier())
        message += f"; or a dict by the names of arguments, such as {names}" * bool(names)
    if unclear:
        each = "each " * (len(unclear) > 1)
        where = entries_of(gradient, unclear)
        message += f"; {where} may {each}be a gradient: leave out what is none"
        if others := _of_others(arguments, gradient):
            named = ", ".join(f"'d{head}': ..." for head in others)
            message += f"; of {', '.join(others)} return them in a dict by name, {{{named}}}"
        return form_finding("wrong_structure", message)
    lacking = _lacking(args[first], gradient)
    if lacking:
        return form_finding("wrong_structure", f"{message}; it lacks {', '.join(lacking)}")
    expected, got = _keys(args[first]), _keys(gradient)
    for what, keys in (("lacks", expected - got), ("also has", got - expected)):
        if keys and got and expected != {""}:
            message += f"; it {what} {min(keys)}"
    return form_finding("wrong_structure", message)


def _of_others(arguments: Arguments, returned: Any) -> list[str]:
    """The only arguments of which the entries of a tuple may be the gradients in their order.

    As those of W and of a dict b in f(W, mask, b), where a mask of real numbers is passed over.
    """

    def fits(place: int, entry: Any) -> bool:
        way = ResultForm((place,))
        leaves = leaves_of_gradient(arguments, Parts((entry,), None, {}), way)
        pairs = zip(arguments.leaves_of([place]), leaves or (), strict=False)
        return leaves is not None and all(
            shape_of(arguments.leaves[i]) == shape_of(leaf) if i in arguments.floating else True
            for i, leaf in pairs
        )

    def fitting(entries: Sequence[Any], places: Iterator[int]) -> list[int | None]:
        return [next((i for i in places if fits(i, entry)), None) for entry in entries]

    if not isinstance(returned, (tuple, list)):
        return []
    count = len(arguments.heads)
    first = fitting(returned, iter(range(count)))
    last = fitting(returned[::-1], iter(reversed(range(count))))[::-1]
    heads = [arguments.heads[i] for i in first if i is not None]
    is_clear = first == last and None not in first
    return heads if is_clear and all(map(str.isidentifier, heads)) else []


def _lacking(own: Any, gradient: Any) -> list[str]:
    """The entries of a dict that have no gradient, where others have."""
    if not isinstance(own, Mapping) or not isinstance(gradient, Mapping):
        return []
    keys = [key for key in own if has_numbers(own[key])]
    lacking = [key for key in keys if not any(style.format(key) in gradient for style in STYLES)]
    return list(map(str, lacking)) if len(lacking) < len(keys) else []


def _keys(tree: Any) -> set[str]:
    try:
        paths, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_none)
    except ValueError:  # keys of a dict that JAX cannot sort
        return set()
    return {jax.tree_util.keystr(path) for path, _ in paths}

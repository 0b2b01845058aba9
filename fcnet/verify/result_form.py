"""One way to read what a gradient function returned: the gradient, and what stands beside it."""

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax

from fcnet.arrays import is_array, is_floating, shape_of
from fcnet.verify.arguments import Arguments, is_none
from fcnet.verify.location import Location, in_one_row, not_judged
from fcnet.verify.regroup import in_one_style


class ResultForm(NamedTuple):
    """One way to read a result.

    Attributes:
        entries: the places of the arguments that have an entry in the gradient, in its order; None
            if it is that of the first argument that has one, alone. What holds no floating-point
            numbers may be left out.
        location: of the gradient and the value in the result. The value may stand in one tuple with
            the gradients of several arguments.
        named: the named values whose gradients come last in a dict, in the order of the backward
            pass; () if there are none.
        keys: of the entries in a dict; () if they come in order.
        group: of entries of a dict that belong together; None if they stand as they must.
    """

    entries: tuple[int, ...] | None
    location: Location = Location()
    named: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    group: "Group | None" = None

    @property
    def is_reordered(self) -> bool:
        """Whether entries without keys come in another order than the first arguments."""
        return not self.keys and self.entries not in (None, (*range(len(self.entries or ())),))

    def parts(self, returned: Any) -> "Parts":
        """The result taken apart; what does not fit is taken for the gradient."""
        beside, named = self._without_named(returned)
        gradient, value = self.location.parts(beside)
        if self.keys and isinstance(gradient, Mapping) and gradient.keys() >= {*self.keys}:
            gradient = tuple(gradient[key] for key in self.keys)
        return Parts(gradient, value, named)

    def left_out(self, returned: Any) -> dict[Any, Any]:
        """What of a result that fits is neither the gradient nor the value."""
        beside, _ = self._without_named(returned)
        gradient, _ = self.location.parts(beside)
        unnamed = [key for key in gradient if key not in self.keys] if self.keys else []
        rest = {key: beside[key] for key in self.location.rest}
        return rest | {key: gradient[key] for key in unnamed}

    def note(self, returned: Any) -> str:
        """What of a result that fits is not judged, in words; "" if there is nothing."""
        return not_judged(self._without_named(returned)[0], self.left_out(returned))

    def _without_named(self, returned: Any) -> tuple[Any, Mapping[str, Any]]:
        returned = self.group.made(returned) if self.group else returned
        if self.named and _ends_in_dict(returned):
            return beside_names(returned), returned[-1]
        return in_one_row(returned), {}


class Group(NamedTuple):
    """Entries of a dict that are those of one argument, such as dW and db beside dx.

    Attributes:
        head: the name of the argument, itself a dict.
        names: the key of each entry in the result, by the key in the argument.
    """

    head: str
    names: dict[Any, Any]

    def made(self, returned: Any) -> Any:
        """The result with these entries in a dict of their own, in each dict that has them."""
        if type(returned) in (tuple, list):
            return type(returned)(map(self.made, returned))
        if not isinstance(returned, Mapping) or not returned.keys() >= {*self.names.values()}:
            return returned
        rest = {key: x for key, x in returned.items() if key not in self.names.values()}
        return rest | {f"d{self.head}": {key: returned[k] for key, k in self.names.items()}}


class Parts(NamedTuple):
    """The gradient; the value or None; the gradients of named values."""

    gradient: Any
    value: Any
    named: Mapping[str, Any]


def returned_names(returned: Any) -> tuple[Any, ...]:
    """The keys of a dict that comes last, beside something else."""
    return tuple(returned[-1]) if _ends_in_dict(returned) else ()


def beside_names(returned: Any) -> Any:
    """What comes before a dict that is last: one thing alone, or several."""
    parts = returned[:-1]
    return parts[0] if len(parts) == 1 else parts


def _ends_in_dict(returned: Any) -> bool:
    has_parts = isinstance(returned, (tuple, list)) and len(returned) > 1
    return has_parts and isinstance(returned[-1], Mapping)


def leaves_of_gradient(arguments: Arguments, parts: Parts, form: ResultForm) -> list[Any] | None:
    """What the gradient has for each leaf of the arguments; a list of numbers stands for an array.

    None if it has other containers, or if the value or the gradients of named values are missing.
    """
    without_value = form.location.value is not None and parts.value is None
    if without_value or (form.named and not parts.named):
        return None
    each, places = arguments.structure.children(), form.entries or arguments.first
    own: Any = tuple(arguments.own[place] for place in places)
    structure: Any = jax.tree_util.treedef_tuple([each[place] for place in places])
    gradient = parts.gradient if form.entries else (parts.gradient,)
    is_vector = is_array(gradient) and shape_of(gradient) == (len(own),)
    if is_vector and all(is_array(x) and shape_of(x) == () for x in own):  # f(a, b), [da, db]
        gradient = tuple(gradient)
    gradient = _renamed(own, tuple(gradient) if isinstance(gradient, (tuple, list)) else gradient)
    try:
        leaves = structure.flatten_up_to(gradient)
        fits = (is_array(x) or jax.tree_util.all_leaves([x], is_leaf=is_none) for x in leaves)
        return leaves if all(fits) else None
    except ValueError:  # other containers, or keys of a dict that JAX cannot sort
        return None


def _renamed(own: Any, gradient: Any) -> Any:
    """The gradient in the user's own containers: dW for W, in its order, and a list for a tuple.

    None stands for an entry that is left out, which holds no floating-point numbers.
    """
    is_record = hasattr(own, "_fields")
    if (is_record or type(own) in (dict, OrderedDict)) and isinstance(gradient, Mapping):
        entries = own._asdict() if is_record else own
        names: Any = partial(in_one_style, gradient=gradient)
    elif (is_record or type(own) in (list, tuple)) and type(gradient) in (list, tuple):
        entries, names = dict(enumerate(own)), lambda keys: range(len(keys))
    else:
        return gradient
    every = len(entries) == len(gradient)
    keys = [key for key, entry in entries.items() if every or has_numbers(entry)]
    if len(keys) != len(gradient) or (found := names(keys)) is None:
        return gradient
    filled = {key: jax.tree.map(lambda _: None, entry) for key, entry in entries.items()}
    for key, name in zip(keys, found, strict=True):
        filled[key] = _renamed(entries[key], gradient[name])
    if is_record:
        return type(own)(*filled.values())
    return type(own)(filled if isinstance(own, Mapping) else filled.values())


def has_numbers(tree: Any) -> bool:
    """Whether a pytree has an array of floating-point numbers."""
    return any(is_array(leaf) and is_floating(leaf) for leaf in jax.tree.leaves(tree))

"""Objects that hold parameters: found by their names, read, and filled with other values.

`weights` and `biases`, `W1` and `b1`, `params`, `coefs_` and `intercepts_`, layers with W and b.
The parameters are nested dicts with the names of the attributes.
"""

import dataclasses
from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence
from itertools import chain, product
from typing import Any, NamedTuple

from fcnet.arrays import dtype_of, is_array, is_floating, like, shape_of, to_numpy, with_floats
from fcnet.layouts import words_of
from fcnet.trees import Path, children, leaves, name_of
from fcnet.verify.attribute_names import (
    CONTENTS,
    GRADIENTS,
    NO_PARAMETER,
    OF_ARRAYS,
    VALUES,
    gradient_names,
    is_gradient_of,
    is_parameter_key,
    is_parameter_name,
    is_whole,
    may_be_a_number,
    role_of,
    roles_of,
)
from fcnet.verify.forms import is_one_array, is_placeholder
from fcnet.verify.snapshot import attributes


class Held(dict[str | int, Any]):
    """The arrays that an object holds, in nested dicts.

    Attributes:
        places: where each is in code, by path.
        others: a phrase on its other arrays, which may be parameters, or "".
    """

    places: dict[Path, str]
    others: str = ""


class Holder(NamedTuple):
    """An object, and where its parameters are.

    Attributes:
        owner: the object.
        paths: of the arrays, by the names of attributes and the keys of containers.
        aliases: other places of the same arrays, with the path of each.
    """

    owner: Any
    paths: tuple[Path, ...]
    aliases: dict[Path, Path]

    def arrays(self) -> Held:
        """The arrays that the object holds now."""
        held = Held(_nested({path: with_floats(_at(self.owner, path)) for path in self.paths}))
        held.places = {path: self.place(path) for path in self.paths}
        if others := self._others():
            held.others = (
                f"the {type(self.owner).__name__} has {others} too, not taken for parameters by "
                "their names: if they are, pass all as params, and a function of (params, x, y) "
                "that puts them into the object"
            )
        return held

    def _others(self) -> str:
        """The names and shapes of attributes that may be parameters with names of their own."""
        own = dict.fromkeys(path[:i] for path in self.paths for i in range(len(path) + 1))
        return ", ".join(
            f"{name_of((*path, name))} {shape_of(value)}"
            for path in own
            for name, value in attributes(_at(self.owner, path)).items()
            if isinstance(name, str) and (*path, name) not in own and not VALUES.match(name)
            if is_one_array(value) and is_floating(value) and shape_of(value)
            if NO_PARAMETER.isdisjoint(map(str, words_of(name)))  # V is no v, a velocity
        )

    def place(self, path: Path) -> str:
        """Such as "net.params['W1']" or "net.layers[0].weight"."""
        text, value = "net", self.owner
        for key in path:
            text += f".{key}" if _has_attributes(value, key) else f"[{key!r}]"
            value = _at(value, (key,))
        return text

    def put(self, params: Mapping[Any, Any]) -> None:
        """Put arrays into the object, wherever it holds one of them."""
        values = dict(leaves(params))
        values |= {place: values[path] for place, path in self.aliases.items()}
        _fill(self.owner, _nested(values))

    def take(self, params: MutableMapping[Any, Any]) -> None:
        """Put the arrays that the object holds now into `params`, where they are others."""
        _fill(params, self.arrays())

    def kept_gradient(self) -> Any:
        """The gradient that the object keeps beside its parameters, None for those that have none.

        It is a copy: what an object keeps, the next call may overwrite. None if there is none.
        """
        found = {path: self._gradient_of(path) for path in self.paths}
        if all(value is None for value in found.values()):
            return None
        copies = {path: g if g is None else like(to_numpy(g), g) for path, g in found.items()}
        return _nested(copies)

    def read(self, result: Any) -> Any:
        """A result with the arrays of each object in it that is like the owner.

        So gradients of models that are pytrees come in such an object. It may be of another class
        with the same attributes: to JAX, two dataclasses with the same fields are the same pytree.
        """
        if self._is_like_owner(result):
            return self._replace(owner=result).arrays()
        if type(result) in (tuple, list):
            return type(result)(map(self.read, result))
        return result

    def _is_like_owner(self, result: Any) -> bool:
        if children(self.owner) is not None:
            same = type(result) is type(self.owner)
            return same and all(is_array(_at(result, path)) for path in self.paths)
        if type(result) is type(self.owner):
            return True
        names = {str(path[0]) for path in self.paths}
        no_container = children(result) is None and not is_array(result)
        return no_container and all(hasattr(result, name) for name in names)

    def _gradient_of(self, path: Path) -> Any:
        """The array in dW1 for W1, dweights[0] or dW[0] for weights[0], grads["W1"], or W1.grad."""
        last = max(i for i, key in enumerate(path) if isinstance(key, str))
        above, name, rest = path[:last], str(path[last]), path[last + 1 :]
        names = gradient_names(name)
        one = str(above[-1]) if above else ""
        in_one = is_whole(one) or is_parameter_name(one)
        paths = dict.fromkeys((above, above[:-1] if in_one else above))
        parents = [_at(self.owner, parent) for parent in paths]
        starts = dict.fromkeys(("", *(text[: -len(text.lstrip("_"))] for text in (name, one))))
        all_gradients = [start + whole for start, whole in product(starts, GRADIENTS)]
        wholes = [_at(parent, (whole,)) for whole, parent in product(all_gradients, parents)]
        wholes = [whole for whole in wholes if whole is not None]
        own = _at(self.owner, path)
        like = [other for other in attributes(parents[0]) if is_gradient_of(str(other), name)]
        values = chain(
            (_at(parent, (other, *rest)) for parent, other in product(parents, names)),
            (_at(whole, (other, *rest)) for whole, other in product(wholes, (name, *names))),
            (_at(parents[0], (other, *rest)) for other in like if len(like) == 1),
            (_at(whole, rest) for whole in wholes if is_whole(name)),
            (getattr(own, other, None) for other in OF_ARRAYS),
            (_at(parents[0], (other,)) for other in OF_ARRAYS if name.strip("_") in CONTENTS),
        )
        return next((value for value in values if value is not None and is_array(value)), None)


def holder_of(owner: Any) -> Holder:
    """The parameters of an object, found by the names of its attributes.

    Raises TypeError if there are none.

    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> net = SimpleNamespace(W1=np.ones((2, 3)), b1=np.zeros(2), dW1=np.zeros((2, 3)), rate=0.1)
    >>> holder_of(net).paths
    (('W1',), ('b1',))
    """
    places: dict[Path, Any] = dict(_parameters(owner, (), False, set()))
    if not places and children(owner) is not None:
        places = dict(_parameters(owner, (), True, set()))
    first: dict[int, Path] = {}
    for path, array in places.items():
        if not isinstance(array, (int, float)):
            first.setdefault(id(array), path)
    paths = tuple(path for path, array in places.items() if first.get(id(array), path) == path)
    if all(roles_of(path) == {"b"} for path in paths):
        names = ", ".join(key for key in attributes(owner) if isinstance(key, str))
        biases = f"{len(paths)} bias" + "es" * (len(paths) > 1)
        what = f"weights beside {biases}" if paths else "parameters"
        raise TypeError(
            f"found no {what} in the {type(owner).__name__} (its attributes: {names or 'none'})"
            "; expected weights and biases, W1 and b1, params, coefs_ and intercepts_, or layers "
            "with W and b, as arrays of floating numbers. Or pass the arrays themselves as params, "
            "and a function of (params, x, y) that puts them into the object"
        )
    everywhere = ((path, first.get(id(array), path)) for path, array in arrays_in(owner))
    return Holder(owner, paths, {path: to for path, to in everywhere if path != to})


def has_parameters(container: Any) -> bool:
    """Whether objects in a container hold parameters."""
    return any(True for _ in _parameters(container, (), False, set()))


def _parameters(value: Any, path: Path, named: bool, seen: set[int]) -> Iterator[tuple[Path, Any]]:
    """The path of each array of a parameter; `named` if a name says that all below are some."""
    if is_array(value):
        if named and not is_placeholder(value) and _may_be_one(path[-1], value):
            yield path, value
        return
    entries = children(value)
    if entries is not None:
        for key, entry in entries:
            if not VALUES.match(str(key)):
                below = named or is_parameter_key(path, key)
                yield from _parameters(entry, (*path, key), below, seen)
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    held = attributes(value)
    for names, are_named in _groups(held, named):
        found = [
            place
            for name in names
            for place in _parameters(held[name], (*path, name), are_named, seen)
        ]
        if found:
            yield from found
            return


def _groups(held: Mapping[str, Any], named: bool) -> list[tuple[list[str], bool]]:
    """Names of attributes of an object, and whether all arrays below these are parameters.

    The first group counts that has any parameters. `named` says that the object's own name is that
    of a parameter, and so is its one attribute, if it only wraps that.
    """
    whole = [name for name in held if is_whole(name)]
    of_role = [name for name in held if is_parameter_name(name)]
    if {role_of(name) for name in of_role if name not in whole} == {"b"}:
        # Beside a b, theta holds the weights alone, and so does one array that is called params.
        weights = [name for name in whole if name in of_role or is_array(held[name])]
        of_role = [name for name in held if name in (*weights, *of_role)]
        whole = [name for name in whole if name not in weights]
    content = [name for name in held if named and name.strip("_") in CONTENTS]
    every = (list(held), named and len(held) == 1)
    return [(content[:1], True), (whole, True), (of_role, True), every]


def _may_be_one(key: str | int, value: Any) -> bool:
    """Whether an array may be a parameter; a number with another name is a setting, as lr is.

    A bias may be the whole number 0. An integer array with the name of a parameter is one, which is
    refused in words.
    """
    if not shape_of(value) and isinstance(key, str) and not may_be_a_number(key):
        return False
    if is_floating(value):
        return True
    if dtype_of(value).kind not in "iu" or not isinstance(key, str) or not is_parameter_name(key):
        return False
    if not shape_of(value):
        return role_of(key) == "b" and not value
    return is_one_array(value)


def arrays_in(owner: Any) -> Iterator[tuple[Path, Any]]:
    """The path of every array that can be reached from an object, whatever its name is.

    An array that stands in several objects has several paths, one for each.
    """
    pending: list[tuple[Path, Any]] = [((), owner)]
    seen: dict[int, Any] = {}
    while pending:
        path, value = pending.pop()
        if is_array(value):
            yield path, value
        elif id(value) not in seen:
            seen[id(value)] = value  # kept, so that no other object gets its identity
            entries = children(value)
            below = attributes(value).items() if entries is None else entries
            pending += [((*path, key), entry) for key, entry in below]


def _at(value: Any, path: Path) -> Any:
    """What is at a path of attributes and keys; None if there is nothing."""
    for key in path:
        if _has_attributes(value, key):
            value = getattr(value, str(key), None)
        else:
            try:
                value = value[key]
            except (LookupError, TypeError):
                return None
    return value


def _has_attributes(value: Any, key: str | int) -> bool:
    """Whether `key` is the name of an attribute, and not of an entry of a container."""
    return children(value) is None or (isinstance(value, tuple) and isinstance(key, str))


def _fill(value: Any, new: Any) -> Any:
    """A value with new arrays at the keys of nested dicts; the same object where it can change."""
    if not isinstance(new, dict):
        return new
    entries = {key: _fill(_at(value, (key,)), below) for key, below in new.items()}
    if isinstance(value, tuple):
        items = {**dict(children(value) or ()), **entries}.values()
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    for key, entry in entries.items():
        if isinstance(value, (MutableMapping, MutableSequence)):
            value[key] = entry
        else:
            try:
                setattr(value, str(key), entry)
            except dataclasses.FrozenInstanceError:
                object.__setattr__(value, str(key), entry)  # for a while: it is put back
    return value


def _nested(values: Mapping[Path, Any]) -> dict[str | int, Any]:
    tree: dict[str | int, Any] = {}
    for path, value in values.items():
        node = tree
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = value
    return tree

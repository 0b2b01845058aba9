"""Objects that hold parameters: found by name, filled with other values, and left as they were.

`weights` and `biases`, `W1` and `b1`, `params`, `coefs_` and `intercepts_`, layers with W and b.
The checker gets the arrays as a dict with the names of the attributes. For each case it puts the
values into the object, and then calls backward(x, y).
"""

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from itertools import chain, product
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fcnet.arrays import dtype_of, is_array, is_floating, like, shape_of, to_numpy, with_floats
from fcnet.layouts import WORDS, words_of
from fcnet.trees import Path, children, leaves
from fcnet.verify.calling import check_call, name_of_function, required_count
from fcnet.verify.forms import is_one_array
from fcnet.verify.location import value_in
from fcnet.verify.regroup import GRADIENT_OF, STYLES
from fcnet.verify.snapshot import attributes, restored
from fcnet.verify.types import Finding

WHOLE = {"params", "parameters", "theta", "thetas"}
"""Names of attributes that hold all parameters."""

NO_PARAMETER = frozenset(
    {
        *("d", "grad", "grads", "gradient", "gradients", "nabla", "delta", "deltas", "update"),
        *("m", "v", "velocity", "velo", "momentum", "cache", "old", "prev", "last", "best"),
        *("decay", "sum", "sums", "summation", "summations", "total", "totals"),
        *("shape", "shapes", "size", "sizes", "updates", "scale", "std", "init", "initializer"),
        *("reg", "regularizer", "regularization", "penalty", "lr", "rate"),
        *("upd", "change", "changes", "adjustment", "adjustments"),
    }
)
"""Words in the names of attributes beside the parameters: gradients, averages, numbers."""

OF_NUMBERS = frozenset({"l", "lambda", "lam", "wd"})
"""Words in the names of numbers beside the parameters, such as w_l2: no bias is called so."""

VALUES = re.compile(r"^[AaZzXxYy]_?\d*$")
"""Names of what a forward pass keeps: A0, Z1. It may be in one dict with the parameters."""

PLURAL = re.compile(r"(?<=s)es$|s$")
"""The end of weights and biases, whose gradients may be weight_grads and bias_grads."""

GRADIENTS = ("grads", "gradients", "grad")
"""Names of attributes that hold all gradients."""

CONTENTS = ("value", "data", "val", "array", "values", "tensor")
"""Names of the array in an object that is one parameter, as Param(value, grad) is."""

OF_ARRAYS = ("grad", "g")
"""Names of attributes that hold its gradient: of an array, such as a tensor, or beside it."""

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
            check_can_change(holder)
            keeps = options.get("learning_rate") is None
            function = filled_first(backward, holder, x, y, keeps)
            if callable(penalty := options.get("penalty")):
                of_arrays = functools.partial(_of_filled, penalty, holder)
                options["penalty"] = functools.update_wrapper(of_arrays, penalty)
            arrays = ((path, array) for path, array in _arrays(params) if is_floating(array))
            before = {path: np.array(to_numpy(array)) for path, array in arrays}
            report = check(function, holder.arrays(), x, y, **options)
            return dataclasses.replace(
                report, notes=(*report.notes, *_kept_notes(holder, before, report.findings))
            )

    return wrapper  # type: ignore[return-value]


def _kept_notes(
    holder: "Holder", before: Mapping[Path, np.ndarray], findings: Sequence[Finding]
) -> list[str]:
    """What calls change in the object beside its parameters, if they do not repeat themselves."""
    if KEEPING.isdisjoint(finding.kind for finding in findings):
        return []
    own = {*holder.paths, *holder.aliases}
    changed = sorted(
        holder.place(path)
        for path, array in _arrays(holder.owner)
        if path in before and path not in own and is_floating(array)
        if not np.array_equal(to_numpy(array), before[path])
    )
    names = ", ".join(changed[:MOST_KEPT]) + ", ..." * (len(changed) > MOST_KEPT)
    said = f"the calls change {names} too: set back before each call what is not made anew in it"
    return [said] * bool(changed)


def _of_filled(penalty: Callable[..., Any], holder: "Holder", arrays: Any, *n: Any) -> Any:
    """A penalty of the object with other arrays in it, which is left as it was."""
    with restored(holder.owner):
        holder.put(arrays)
        return penalty(holder.owner, *n)


def is_object(params: object) -> bool:
    """Whether it is an object with attributes, or a container of objects with parameters.

    Or a list or a dict that holds settings too, such as the name of an activation, or a list with
    None for the input layer, or a pair of such lists.
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
    return bool(list(_parameters(objects, (), False, set()))) or (changes and _has_settings(params))


def _has_settings(container: object) -> bool:
    """Whether arrays stand beside texts or functions, or beside None in a list."""
    values = [leaf for _, leaf in leaves(container)]
    inner = (entry for _, entry in children(container) or ())
    lists = [value for value in (container, *inner) if isinstance(value, MutableSequence)]
    no_layer = any(entry is None for entries in lists for entry in entries)
    settings = no_layer or any(isinstance(v, str) or callable(v) for v in values)
    return settings and any(map(is_one_array, values))


class Held(dict[str | int, Any]):
    """The arrays that an object holds, in nested dicts.

    Attributes:
        places: where each is in code, by path.
        others: a phrase for errors, on its other arrays, which may be parameters.
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
                f"; the {type(self.owner).__name__} has {others} too, not taken for parameters by "
                "their names: if they are, pass all as params, and a function of (params, x, y) "
                "that puts them into the object"
            )
        return held

    def _others(self) -> str:
        """The names and shapes of attributes that may be parameters with names of their own."""
        top = {path[0] for path in self.paths}
        return ", ".join(
            f"{name} {shape_of(value)}"
            for name, value in attributes(self.owner).items()
            if isinstance(name, str) and name not in top and not VALUES.match(name)
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
        names = _gradient_names(name)
        paths = dict.fromkeys((above, above[:-1] if above and above[-1] in WHOLE else above))
        parents = [_at(self.owner, parent) for parent in paths]
        wholes = [_at(parent, (whole,)) for whole, parent in product(GRADIENTS, parents)]
        wholes = [whole for whole in wholes if whole is not None]
        own = _at(self.owner, path)
        like = [other for other in attributes(parents[0]) if _is_gradient_of(str(other), name)]
        values = chain(
            (_at(parent, (other, *rest)) for parent, other in product(parents, names)),
            (_at(whole, (other, *rest)) for whole, other in product(wholes, (name, *names))),
            (_at(parents[0], (other, *rest)) for other in like if len(like) == 1),
            (_at(whole, rest) for whole in wholes if name in WHOLE),
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
    if all(_roles_of(path) == {"b"} for path in paths):
        names = ", ".join(key for key in attributes(owner) if isinstance(key, str))
        biases = f"{len(paths)} bias" + "es" * (len(paths) > 1)
        what = f"weights beside {biases}" if paths else "parameters"
        raise TypeError(
            f"found no {what} in the {type(owner).__name__} (its attributes: {names or 'none'})"
            "; expected weights and biases, W1 and b1, params, coefs_ and intercepts_, or layers "
            "with W and b, as arrays of floating numbers. Or pass the arrays themselves as params, "
            "and a function of (params, x, y) that puts them into the object"
        )
    everywhere = ((path, first.get(id(array), path)) for path, array in _arrays(owner))
    return Holder(owner, paths, {path: to for path, to in everywhere if path != to})


def check_can_change(holder: Holder) -> None:
    """Raise TypeError unless other arrays can be put into the object."""
    try:
        holder.put(holder.arrays())
    except (AttributeError, TypeError) as error:
        raise TypeError(
            f"the {type(holder.owner).__name__} does not take other parameters ({error}). Pass "
            "the arrays themselves as params, and a function of (params, x, y) that makes one"
        ) from error


def filled_first(
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


def _parameters(value: Any, path: Path, named: bool, seen: set[int]) -> Iterator[tuple[Path, Any]]:
    """The path of each array of a parameter; `named` if a name says that all below are some."""
    if is_array(value):
        if named and 0 not in shape_of(value) and _may_be_one(path[-1], value):
            yield path, value
        return
    entries = children(value)
    if entries is not None:
        for key, entry in entries:
            if not VALUES.match(str(key)):
                below = named or _is_named(path, key)
                yield from _parameters(entry, (*path, key), below, seen)
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    held = attributes(value)
    for names, are_named in _groups(list(held), named):
        found = [
            place
            for name in names
            for place in _parameters(held[name], (*path, name), are_named, seen)
        ]
        if found:
            yield from found
            return


def _is_named(path: Path, key: str | int) -> bool:
    """Whether a key of a dict in an object is the name of a parameter, whatever the dict's is."""
    names = [name for name in (*path, key) if isinstance(name, str)]
    no_other = all(NO_PARAMETER.isdisjoint(_lower_words(name)) for name in names)
    return bool(path) and isinstance(key, str) and is_parameter_name(key) and no_other


def _groups(held: list[str], named: bool) -> list[tuple[list[str], bool]]:
    """Names of attributes of an object, and whether all arrays below these are parameters.

    The first group counts that has any parameters. `named` says that the object's own name is that
    of a parameter.
    """
    whole = [name for name in held if name.strip("_").lower() in WHOLE]
    of_role = [name for name in held if is_parameter_name(name)]
    if {_role_of(name) for name in of_role if name not in whole} == {"b"}:
        # Beside a b, theta holds the weights alone.
        whole = [name for name in whole if name not in of_role]
    content = [name for name in held if named and name.strip("_") in CONTENTS]
    return [(content[:1], True), (whole, True), (of_role, True), (held, False)]


def _gradient_names(name: str) -> list[str]:
    """How people call the gradient of an attribute: dweights, gradWeight or dW for weights."""
    bare = name.strip("_")
    word = WORDS.get(bare.lower())
    letters = (word.role, word.role.lower()) if word else ()
    starts = dict.fromkeys(("", name.partition(bare)[0]))
    small = (bare, PLURAL.sub("", bare), *letters)
    nouns = dict.fromkeys((*small, *(noun[:1].upper() + noun[1:] for noun in small)))
    return [
        start + style.format(noun) for start, noun, style in product(starts, nouns, STYLES[:-1])
    ]


def _is_gradient_of(other: str, name: str) -> bool:
    """Whether a name is that of a gradient of an attribute, with more words in it.

    >>> [_is_gradient_of(other, "W") for other in ("dW_curr", "db_curr", "dW_prev", "W_curr")]
    [True, False, False, False]
    """
    bare = GRADIENT_OF.sub("", other)
    own, words = (set(_lower_words(text)) for text in (name, bare))
    known = own - set(WORDS) <= words and NO_PARAMETER.isdisjoint(words)
    return bare != other and known and _role_of(bare) == _role_of(name)


def _may_be_one(key: str | int, value: Any) -> bool:
    """Whether an array may be a parameter; a number with another name is a setting, as lr is.

    A bias may be the whole number 0. An integer array with the name of a parameter is one, which is
    refused in words.
    """
    if not shape_of(value) and isinstance(key, str) and not _is_name_of_number(key):
        return False
    if is_floating(value):
        return True
    if dtype_of(value).kind not in "iu" or not isinstance(key, str) or not is_parameter_name(key):
        return False
    if not shape_of(value):
        return _role_of(key) == "b" and not value
    return is_one_array(value)


def _is_name_of_number(name: str) -> bool:
    """Whether a number of this name may be a parameter, as b may, and w_l2 may not."""
    return is_parameter_name(name) and OF_NUMBERS.isdisjoint(_lower_words(name))


def _arrays(owner: Any) -> Iterator[tuple[Path, Any]]:
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


def is_parameter_name(name: str) -> bool:
    """Whether an attribute of this name may be a parameter.

    >>> [is_parameter_name(name) for name in ("W1", "biases", "weights_ho", "wih", "dW1", "grad_w")]
    [True, True, True, True, False, False]
    """
    return bool(_role_of(name)) and NO_PARAMETER.isdisjoint(_lower_words(name))


def _role_of(name: str) -> str:
    """W or b, by the last word that means one of them; "" if none does."""
    words = reversed(_lower_words(name))
    return next((WORDS[word].role for word in words if word in WORDS), "")


def _roles_of(path: Path) -> set[str]:
    """W, b, both or none, by all names of a path."""
    return {_role_of(key) for key in path if isinstance(key, str)} - {""}


def _lower_words(name: str) -> list[str]:
    return [str(word).lower() for word in words_of(name)]


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

"""Nested containers of arrays, in the order in which they are written.

Unlike in `jax.tree`, a mapping keeps the order of its keys, an array may be of any library, and
None is an entry like any other.
"""

import copy
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from fcnet.arrays import is_array

Path: TypeAlias = tuple[str | int, ...]
"""The keys from the outermost container inwards; a named tuple has its fields as keys."""

MANGLED = re.compile(r"^_[A-Za-z]\w*?(?=__[A-Za-z])")
"""What Python puts before the name of a private attribute: __W of a class Net is _Net__W."""

OF_MODULES = ("_modules", "_parameters")
"""Attributes in which a module of PyTorch keeps its parts; its own names leave them out."""


def name_of(path: Path) -> str:
    """A path as users write it.

    >>> name_of(("W1",)), name_of((0, "W")), name_of(("_modules", "0", "_parameters", "weight"))
    ('W1', 'params[0].W', '0.weight')
    >>> name_of(("_Net__layers", 0, "_Dense__W"))
    '__layers[0].__W'
    """
    named = (MANGLED.sub("", key) if isinstance(key, str) else key for key in path)
    named = (key for key in named if key not in OF_MODULES)
    keys = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in named)
    return keys[1:] if keys.startswith(".") else f"params{keys}"


def children(tree: object) -> list[tuple[str | int, Any]] | None:
    """The keys and entries of a container; None for anything else, such as an array."""
    if is_array(tree) or isinstance(tree, (str, bytes, range)):
        return None
    if isinstance(tree, Mapping):
        return list(tree.items())
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return list(zip(tree._fields, tree, strict=True))
    if isinstance(tree, np.ndarray):  # a container if it is a vector of objects, such as arrays
        return list(enumerate(tree)) if tree.dtype == object and tree.ndim == 1 else None
    return list(enumerate(tree)) if isinstance(tree, Sequence) else None


def leaves(tree: object, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The path and the value of every entry that is not a container.

    >>> [path for path, _ in leaves({"W": [1.5, None], "b": [2.5, [0.5, 1.0]]})]
    [('W', 0), ('W', 1), ('b', 0), ('b', 1)]
    """
    entries = children(tree)
    if entries is None:
        yield path, tree
    for key, entry in entries or ():
        yield from leaves(entry, (*path, key))


def rebuild(function: Callable[[Path, Any], Any], tree: object, path: Path = ()) -> Any:
    """The same containers, with every leaf replaced by function(path, leaf).

    >>> rebuild(lambda path, leaf: name_of(path), {"W": [1.5, None], "b": 0.5})
    {'W': ['W[0]', 'W[1]'], 'b': 'b'}
    """
    entries = children(tree)
    if entries is None:
        return function(path, tree)
    new = {key: rebuild(function, entry, (*path, key)) for key, entry in entries}
    if isinstance(tree, MutableMapping):
        clone = copy.copy(tree)
        clone.update(new)
        return clone
    if isinstance(tree, np.ndarray):
        array = np.empty_like(tree)
        for key, value in new.items():
            array[key] = value
        return array
    kind: Any = type(tree)
    if isinstance(tree, Mapping):
        return kind(new)
    return kind(*new.values()) if hasattr(tree, "_fields") else kind(new.values())

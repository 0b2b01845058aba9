"""The state of an object, and of all that it holds, put back after a block."""

import copy
import random
import sys
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    MutableMapping,
    MutableSequence,
    MutableSet,
)
from contextlib import contextmanager
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from fcnet.arrays import is_tensor
from fcnet.signals import putting_back

Restore = Callable[[], Any]

STATELESS = (type, ModuleType, FunctionType, BuiltinFunctionType)
"""What is left alone: classes, modules and functions."""

FOREIGN = (sys.stdlib_module_names | {"jax", "jaxlib", "numpy"}) - {"types", "__main__"}
"""Packages whose objects' attributes are left alone: files, loggers, arrays that cannot change."""


@contextmanager
def restored(value: object) -> Iterator[None]:
    """Put everything back that can be reached from `value`: attributes, entries, numbers in arrays.

    Also the states of its generators of random numbers.

    >>> from types import SimpleNamespace
    >>> net = SimpleNamespace(W=np.ones(2), layers=[1, 2])
    >>> with restored(net):
    ...     net.W[0], net.cache, _ = 5, "z", net.layers.append(3)
    >>> net
    namespace(W=array([1., 1.]), layers=[1, 2])
    """
    with putting_back() as stack:
        for action in _actions(value):
            stack.callback(action)
        yield


class Kind(NamedTuple):
    """How to recognise a kind of object, put its state back, and reach what it holds."""

    owns: Callable[[Any], bool]
    save: Callable[[Any], Restore]
    parts: Callable[[Any], Iterable[Any]]


def attributes(value: Any) -> dict[str, Any]:
    """The attributes of a user's object, in the order in which they were set; none of a class."""
    if isinstance(value, STATELESS) or _is_foreign(value):
        return {}
    held = {name: getattr(value, name) for name in _slots(value) if hasattr(value, name)}
    return {**held, **getattr(value, "__dict__", {})}


def _slots(value: Any) -> list[str]:
    """The names in `__slots__`, which may also be a single string."""
    slots = [getattr(kind, "__slots__", ()) for kind in type(value).__mro__]
    names = [name for some in slots for name in ((some,) if isinstance(some, str) else some)]
    return [name for name in dict.fromkeys(names) if name not in ("__dict__", "__weakref__")]


def _is_foreign(value: object) -> bool:
    return type(value).__module__.split(".")[0] in FOREIGN


def _save_array(array: np.ndarray) -> Restore:
    values = array.copy()

    def restore() -> None:
        if array.flags.writeable:
            array[...] = values

    return restore


def _save_tensor(tensor: Any) -> Restore:
    values, gradient = tensor.detach().clone(), tensor.grad if tensor.is_leaf else None

    def restore() -> None:
        tensor.detach().copy_(values)
        if tensor.is_leaf:
            tensor.grad = gradient

    return restore


def _save_numpy_generator(generator: np.random.Generator) -> Restore:
    state = copy.deepcopy(generator.bit_generator.state)
    return lambda: setattr(generator.bit_generator, "state", state)


def _save_mapping(mapping: MutableMapping[Any, Any]) -> Restore:
    entries = list(mapping.items())

    def restore() -> None:
        mapping.clear()
        mapping.update(entries)

    return restore


def _save_sequence(sequence: MutableSequence[Any]) -> Restore:
    entries = list(sequence)

    def restore() -> None:
        sequence.clear()
        sequence.extend(entries)

    return restore


def _save_set(items: MutableSet[Any]) -> Restore:
    entries = list(items)

    def restore() -> None:
        items.clear()
        for item in entries:
            items.add(item)

    return restore


def _save_attributes(value: Any) -> Restore:
    if _is_foreign(value):
        return _nothing(value)
    held, own, slots = attributes(value), getattr(value, "__dict__", {}), _slots(value)
    then = dict(own)

    def restore() -> None:
        own.clear()
        own.update(then)
        for name in slots:
            if name in held:
                object.__setattr__(value, name, held[name])  # also where the class is frozen
            elif hasattr(value, name):
                object.__delattr__(value, name)

    return restore


def _nothing(value: Any) -> Restore:
    return lambda: None


def _no_parts(value: Any) -> tuple[()]:
    return ()


def _own(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


KINDS = (
    Kind(_own(*STATELESS), _nothing, _no_parts),
    Kind(_own(MethodType), _nothing, lambda method: (method.__self__,)),
    Kind(_own(np.ndarray), _save_array, lambda a: a.flat if a.dtype.kind == "O" else ()),
    Kind(is_tensor, _save_tensor, _no_parts),
    Kind(_own(np.random.Generator), _save_numpy_generator, _no_parts),
    Kind(_own(np.random.RandomState), lambda g: partial(g.set_state, g.get_state()), _no_parts),
    Kind(_own(random.Random), lambda g: partial(g.setstate, g.getstate()), _no_parts),
    Kind(_own(MutableMapping), _save_mapping, lambda mapping: mapping.values()),
    Kind(_own(MutableSequence), _save_sequence, list),
    Kind(_own(MutableSet), _save_set, list),
    Kind(_own(tuple, frozenset), _nothing, list),
    Kind(lambda value: True, _save_attributes, lambda value: attributes(value).values()),
)
"""An object is of the first kind that owns it; the last one has attributes, perhaps none."""


def _actions(value: object) -> Iterator[Restore]:
    """What puts each object back that can be reached, each once."""
    pending, seen = [value], {}
    while pending:
        thing = pending.pop()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing  # kept, so that no other object gets its identity
        kind = next(kind for kind in KINDS if kind.owns(thing))
        yield kind.save(thing)
        pending += kind.parts(thing)

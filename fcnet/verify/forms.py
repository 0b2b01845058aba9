"""The form of what a candidate returned: containers in words, leaves without numbers, wrong shapes.

Both readers use it: that of a network's gradient, and that of the gradient of any function.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, ValuesView
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

from fcnet.arrays import dtype_of, is_array, is_floating, shape_of, to_numpy
from fcnet.trees import children, leaves, name_of, rebuild
from fcnet.verify.snapshot import attributes
from fcnet.verify.types import Severity

Shape: TypeAlias = tuple[int, ...]


def is_one_number(value: Any) -> bool:
    """Whether a value is one real number, such as a loss, in an array of any shape.

    >>> is_one_number(0.5), is_one_number(np.ones((1, 1))), is_one_number(np.ones(2))
    (True, True, False)
    """
    return is_array(value) and math.prod(shape_of(value)) == 1 and dtype_of(value).kind != "c"


def value_in(part: Any) -> Any:
    """The value that stands beside a gradient: one number, or the first of (value, other results).

    So JAX returns it with `has_aux`. None if there is none, as where the number is whole.

    >>> value_in(0.5), value_in((0.5, {"accuracy": 1.0})), value_in(np.ones(2)), value_in(3)
    (0.5, 0.5, None, None)
    """
    first = part[0] if type(part) is tuple and len(part) == 2 else part
    return first if _is_value(first) else None


def _is_value(entry: Any) -> bool:
    return is_one_number(entry) and is_floating(entry)


class Place(NamedTuple):
    """Where a gradient is in a result, and where the value of the function.

    Attributes:
        gradient: the key of its entry; None if it is all of the result but the value, or `arrays`.
        value: the key of the value, 0 or -1 beside a gradient without a key; None if there is none.
        rest: the keys of what is neither, such as a cache or an accuracy.
        arrays: the places of its arrays in a tuple that holds others, too.
    """

    gradient: Any = None
    value: Any = None
    rest: tuple[Any, ...] = ()
    arrays: tuple[int, ...] = ()

    def parts(self, result: Any) -> tuple[Any, Any]:
        """The gradient, and the value or None; a result without these entries is all gradient.

        >>> Place(value=0).parts((0.5, "dW", "db")), Place(gradient=0, rest=(1,)).parts(("dW", {}))
        ((('dW', 'db'), 0.5), ('dW', None))
        """
        if not isinstance(result, (tuple, list, Mapping)):
            return result, None
        try:
            value = None if self.value is None else value_in(result[self.value])
            return self._gradient_in(result), value
        except LookupError:
            return result, None

    def _gradient_in(self, result: Any) -> Any:
        if self.arrays:
            return tuple(result[i] for i in self.arrays)
        if self.gradient is not None or self.value is None:
            return result if self.gradient is None else result[self.gradient]
        if isinstance(result, Mapping):
            return {key: entry for key, entry in result.items() if key != self.value}
        rest = result[1:] if self.value == 0 else result[:-1]
        return rest[0] if len(rest) == 1 else rest

    @property
    def keys(self) -> tuple[Any, ...]:
        """The keys of the gradient's entries; () if it is all of the result but the value."""
        return self.arrays if self.gradient is None else (self.gradient,)


def is_one_gradient(places: Sequence[Place]) -> bool:
    """Whether all places share entries of the result, so that no other may be the gradient.

    >>> is_one_gradient([Place(0), Place(arrays=(0, 1))]), is_one_gradient([Place(0), Place(1)])
    (True, False)
    """
    keys = [{*place.keys} for place in places if place.keys]
    return all(one & other for one in keys for other in keys)


def entries_of(result: Any, keys: Collection[Any]) -> str:
    """Entries of a result, in words.

    >>> entries_of((0.5, 0.75, "grads"), (0, 1)), entries_of({"grads": 1.0, "cache": []}, ["cache"])
    ('entries 0, 1 of the result', "'cache' of the result")
    """
    fields = dict(enumerate(getattr(result, "_fields", ())))
    words = [fields.get(key, key) for key in keys]
    noun = f"entr{'ies' if len(words) > 1 else 'y'} " if isinstance(words[0], int) else ""
    return f"{noun}{', '.join(map(repr, words))} of the result"


def not_judged(result: Any, keys: Collection[Any]) -> str:
    """What is left out of a result, in words; "" if nothing is.

    >>> not_judged((0.5, 0.75, "grads"), (0, 1))
    'entries 0, 1 of the result were not judged'
    """
    verb = "were" if len(keys) > 1 else "was"
    return f"{entries_of(result, keys)} {verb} not judged" if keys else ""


def usual_places(result: Any) -> list[Place]:
    """A gradient alone, or with the value first or last; in a dict, that may be any number."""
    if isinstance(result, Mapping):
        return [Place(), *(Place(value=key) for key in numbers_of(result))]
    ends = (0, -1) if isinstance(result, (tuple, list)) and len(result) > 1 else ()
    return [Place(), *(Place(value=i) for i in ends if value_in(result[i]) is not None)]


def numbers_of(entries: Mapping[Any, Any]) -> list[Any]:
    """The keys of the entries that may be the value. A lone one is; of several, none is.

    Not what has axes of length 1: one output of one example has, too.
    """
    return [key for key, entry in entries.items() if _is_value(entry) and shape_of(entry) == ()]


def places_among_others(result: Any) -> list[Place]:
    """Where a gradient may stand among other results: in one entry, or in all arrays of a tuple.

    >>> places_among_others({"loss": 0.5, "gradient": [np.ones(2)]})
    [Place(gradient='gradient', value='loss', rest=(), arrays=())]
    >>> places_among_others((np.ones(2), np.ones(3), {}))[-1]
    Place(gradient=None, value=None, rest=(2,), arrays=(0, 1))
    """
    is_dict = isinstance(result, Mapping)
    entries = dict(result if is_dict else enumerate(result if children(result) else ()))
    numbers = numbers_of(entries)
    value = numbers[0] if len(numbers) == 1 else None
    places = [Place(key, value) for key, entry in entries.items() if _may_be_gradient(entry)]
    arrays = tuple(key for key, entry in entries.items() if is_array(entry) and not is_dict)
    if 1 < len(arrays) < len(entries):
        ends = ((None, arrays), (arrays[0], arrays[1:]), (arrays[-1], arrays[:-1]))
        places += [
            Place(value=end, arrays=keys)
            for end, keys in ends
            if end in (None, *numbers) and len(keys) > 1
        ]
    return [
        place._replace(rest=tuple(key for key in entries if key not in (*place.keys, place.value)))
        for place in places
    ]


def _may_be_gradient(entry: Any) -> bool:
    """Whether a part of a result may be a gradient of itself: no number, None or text."""
    return entry is not None and not is_one_number(entry) and not isinstance(entry, (str, bytes))


def is_one_array(value: Any) -> bool:
    """Whether a value is an array of a library or a number, and no list.

    >>> is_one_array(0.5), is_one_array(np.ones(2)), is_one_array([0.5, 0.5])
    (True, True, False)
    """
    return is_array(value) and not isinstance(value, (list, tuple))


def opened(result: Any) -> Any:
    """A result with lists in place of iterators, and dicts in place of objects that hold arrays.

    Objects that JAX takes apart stay what they are.

    >>> opened((0.5, zip("Wb", [1.0, 2.0], strict=True)))
    (0.5, [('W', 1.0), ('b', 2.0)])
    """
    if not any(fits(leaf) for _, leaf in leaves(result) for fits, _ in OPENED):
        return result
    return rebuild(lambda _, leaf: _opened_leaf(leaf), result)


def _opened_leaf(leaf: Any) -> Any:
    way = next((way for fits, way in OPENED if fits(leaf)), None)
    return leaf if way is None else opened(way(leaf))


def _holds_arrays(value: Any) -> bool:
    held = {} if is_array(value) else attributes(value)
    return any(map(is_one_array, held.values())) and jax.tree_util.all_leaves([value])


OPENED: tuple[tuple[Callable[[Any], bool], Callable[[Any], Any]], ...] = (
    (lambda value: isinstance(value, (Iterator, ValuesView)), list),
    (_holds_arrays, attributes),
)
"""What a result may be wrapped in, and how it is opened."""


def describe(tree: Any) -> str:
    """A container, or what stands in place of one, in words.

    >>> describe({"W": 1.0, "b": 2.0}), describe((1.0, None)), describe(None), describe({})
    ('a dict with W, b', 'a tuple of length 2', 'None', 'an empty dict')
    """
    if tree is None or is_array(tree):
        return "None" if tree is None else "an array"
    kind, entries = type(tree).__name__, children(tree)
    if entries is None:
        return f"a {kind}"
    if not entries:
        return f"an empty {kind}"
    if isinstance(tree, Mapping):
        kind = "dict" if isinstance(tree, dict) else kind
        return f"a {kind} with {', '.join(name_of(path) for path, _ in leaves(tree))}"
    return f"a {kind} of length {len(entries)}"


def without_numbers(leaf: Any) -> tuple[str, str] | None:
    """Why a leaf holds no real numbers: a kind, and a phrase to follow its name; None if it does.

    >>> without_numbers(None), without_numbers(1j * np.ones(2))[1]
    (('none_leaf', 'is None, expected an array'), 'is complex128, expected real numbers')
    """
    if leaf is None or not is_array(leaf):
        kind = "none_leaf" if leaf is None else "wrong_structure"
        return kind, f"is {describe(leaf)}, expected an array"
    if not is_floating(leaf):
        return "wrong_dtype", f"is {dtype_of(leaf)}, expected real numbers"
    return None


FOR_A_CONSTANT = "for a constant, check a function of the other arguments"
"""What to do about an argument that is to have no gradient."""

HARMLESS = ": an update is right all the same, since it is broadcast to that shape"
"""A hint for an array that only lacks leading axes of length 1."""


class WrongShape(NamedTuple):
    """A known cause of a wrong shape.

    Attributes:
        fits: whether an array of the first shape, in place of one of the second, shows it.
        hint: it in words, to follow the shape that is expected.
        mend: the array that was meant, from the one that was returned and the shape that is
            expected; None if that is not clear.
    """

    fits: Callable[[Shape, Shape], bool]
    hint: str
    mend: Callable[[np.ndarray, Shape], np.ndarray | None]


def wrong_shape(
    leaf: Any, expected: Shape, causes: Sequence[WrongShape], like: str = ""
) -> tuple[str, Severity, np.ndarray | None]:
    """What is wrong with the shape of an array.

    Args:
        leaf: the array.
        expected: the right shape, which is another.
        causes: the first that fits is named; the last one always fits.
        like: words to follow the expected shape.

    Returns:
        A phrase to follow the array's name, its severity, and the array that was meant; None if
        that is not clear.

    >>> wrong_shape(np.ones((4, 3)), (3, 4), OF_ANY_FUNCTION)[0]
    'has shape (4, 3), expected (3, 4): it is transposed'
    """
    got = shape_of(leaf)
    cause = next(cause for cause in causes if cause.fits(got, expected))
    harmless = not isinstance(leaf, list) and _is_filled_up(got, expected)
    hint = HARMLESS if harmless else cause.hint
    phrase = f"has shape {got}, expected {expected}{like}{hint}"
    return phrase, "warning" if harmless else "error", cause.mend(to_numpy(leaf), expected)


def without_ones(shape: Shape) -> Shape:
    """A shape without its axes of length 1."""
    return tuple(n for n in shape if n != 1)


def _is_filled_up(got: Shape, expected: Shape) -> bool:
    """Whether a shape only lacks leading axes of length 1, which broadcasting adds."""
    lacking = len(expected) - len(got)
    return lacking > 0 and (1,) * lacking + got == expected


def _is_broadcast(got: Shape, expected: Shape) -> bool:
    try:
        return np.broadcast_shapes(got, expected) == got
    except ValueError:
        return False


def _summed_to(values: np.ndarray, expected: Shape) -> np.ndarray:
    """The sum over the axes along which an array of this shape was repeated."""
    ones = (1,) * (values.ndim - len(expected)) + expected
    axes = tuple(i for i, n in enumerate(ones) if n == 1)
    return values.sum(axes).reshape(expected)


def _summed_over(n: int, values: np.ndarray, expected: Shape) -> np.ndarray | None:
    """The sum over an axis of length n, if only one such sum has the shape that is expected."""
    sums = [values.sum(axis) for axis, m in enumerate(values.shape) if m == n]
    fitting = [x for x in sums if without_ones(x.shape) == without_ones(expected)]
    return fitting[0].reshape(expected) if len(fitting) == 1 else None


def _unclear(values: np.ndarray, expected: Shape) -> None:
    return None


_TRANSPOSED = WrongShape(
    lambda got, expected: got == expected[::-1],
    ": it is transposed",
    lambda values, expected: values.T,
)
_AXES_OF_ONE = WrongShape(
    lambda got, expected: without_ones(got) == without_ones(expected),
    ": axes of length 1 broadcast silently",
    lambda values, expected: values.reshape(expected),
)
_UNKNOWN = WrongShape(lambda got, expected: True, "", _unclear)

OF_ANY_FUNCTION = (
    _TRANSPOSED,
    _AXES_OF_ONE,
    WrongShape(_is_broadcast, ": it was not summed over what was broadcast", _summed_to),
    WrongShape(
        lambda got, expected: math.prod(got) == 1,
        ": a number that is no gradient belongs in a dict after the gradient",
        _unclear,
    ),
    _UNKNOWN,
)
"""What makes the gradient of an argument of any function have a wrong shape."""


def of_examples(n: int) -> tuple[WrongShape, ...]:
    """What makes the gradient of a network on n examples have a wrong shape."""
    return (
        _TRANSPOSED,
        _AXES_OF_ONE,
        WrongShape(
            lambda got, expected: math.prod(got) == 1,
            ": it was summed over the units too",
            _unclear,
        ),
        WrongShape(
            lambda got, expected: n in got and math.prod(got) == n * math.prod(expected),
            ": it was not summed over the examples",
            partial(_summed_over, n),
        ),
        WrongShape(
            lambda got, expected: without_ones(got) == (n,),
            f": it has a number for each of {n} examples, as a sum over the wrong axis has",
            _unclear,
        ),
        _UNKNOWN,
    )

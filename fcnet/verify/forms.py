"""The form of what a candidate returned: containers in words, leaves without numbers, wrong shapes.

Both readers use it: that of a network's gradient, and that of the gradient of any function.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, ValuesView
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


def is_one_array(value: Any) -> bool:
    """Whether a value is an array of a library or a number, and no list.

    >>> is_one_array(0.5), is_one_array(np.ones(2)), is_one_array([0.5, 0.5])
    (True, True, False)
    """
    return is_array(value) and not isinstance(value, (list, tuple))


def is_placeholder(value: Any) -> bool:
    """Whether it stands in a list for a layer without parameters: None, nan or no numbers.

    >>> [is_placeholder(value) for value in (None, np.nan, np.array([]), 0)]
    [True, True, True, False]
    """
    if value is None or not is_array(value):
        return value is None
    is_number = shape_of(value) == () and is_floating(value)
    return 0 in shape_of(value) or (is_number and bool(np.isnan(to_numpy(value))))


def opened(result: Any) -> Any:
    """A result with lists in place of iterators, and dicts in place of objects that hold arrays.

    A sparse array of SciPy becomes a dense one, and a matrix of NumPy an array.

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
    (lambda value: isinstance(value, np.matrix), np.asarray),
    (lambda value: hasattr(value, "toarray"), lambda sparse: sparse.toarray()),
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
    leaf: Any, expected: Shape, causes: Sequence[WrongShape], like: str = "", is_step: bool = False
) -> tuple[str, Severity, np.ndarray | None]:
    """What is wrong with the shape of an array.

    Args:
        leaf: the array.
        expected: the right shape, which is another.
        causes: the first that fits is named; the last one always fits.
        like: words to follow the expected shape.
        is_step: whether it is a parameter after an update, which broadcasting may have given axes.

    Returns:
        A phrase to follow the array's name, its severity, and the array that was meant; None if
        that is not clear.

    >>> wrong_shape(np.ones((4, 3)), (3, 4), OF_ANY_FUNCTION)[0]
    'has shape (4, 3), expected (3, 4): it is transposed'
    """
    got = shape_of(leaf)
    cause = next(cause for cause in causes if cause.fits(got, expected))
    filled_up = not isinstance(leaf, list) and _is_filled_up(got, expected)
    harmless = filled_up or (is_step and _is_filled_up(expected, got))
    hint = HARMLESS if filled_up else cause.hint
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
_FLAT = WrongShape(
    lambda got, expected: without_ones(got) == (math.prod(expected),),
    ": it is flat; give it that shape",
    lambda values, expected: values.reshape(expected),
)
_UNKNOWN = WrongShape(lambda got, expected: True, "", _unclear)

OF_ANY_FUNCTION = (
    _TRANSPOSED,
    _AXES_OF_ONE,
    WrongShape(_is_broadcast, ": it was not summed over what was broadcast", _summed_to),
    _FLAT._replace(hint=f"{_FLAT.hint}, or check a function of one flat vector"),
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
    hint = f"{_TRANSPOSED.hint}; if your update turns it, check that step, with learning_rate="
    return (
        _TRANSPOSED._replace(hint=hint),
        _AXES_OF_ONE,
        _FLAT,
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

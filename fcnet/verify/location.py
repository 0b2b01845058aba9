"""Where a gradient is in a result, and the value of the function: alone, or among other results.

Both readers use it: that of a network's gradient, and that of the gradient of any function.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from fcnet.arrays import is_array, is_floating, shape_of
from fcnet.trees import children
from fcnet.verify.forms import is_one_number


def value_in(part: Any) -> Any:
    """The value that stands beside a gradient: one number, or the first of (value, other results).

    So JAX returns it with `has_aux`. None if there is none, as where the number is whole.

    >>> import numpy as np
    >>> value_in(0.5), value_in((0.5, {"accuracy": 1.0})), value_in(np.ones(2)), value_in(3)
    (0.5, 0.5, None, None)
    """
    first = part[0] if type(part) is tuple and len(part) == 2 else part
    return first if _is_value(first) else None


def in_one_row(result: Any) -> Any:
    """(value, (gradient, others)) as (value, gradient, others), and any other result as it is.

    >>> in_one_row((0.5, ({"dW": [1.0]}, "cache")))
    (0.5, {'dW': [1.0]}, 'cache')
    """
    is_pair = type(result) is tuple and len(result) == 2 and type(result[1]) is tuple
    return (result[0], *result[1]) if is_pair and _is_value(result[0]) else result


def _is_value(entry: Any) -> bool:
    return is_one_number(entry) and is_floating(entry)


class Location(NamedTuple):
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

        >>> Location(value=0).parts((0.5, "dW", "db"))
        (('dW', 'db'), 0.5)
        >>> Location(gradient=0, rest=(1,)).parts(("dW", {}))
        ('dW', None)
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


def is_one_gradient(locations: Sequence[Location]) -> bool:
    """Whether all locations share entries of the result, so that no other may be the gradient.

    >>> first, second, both = Location(0), Location(1), Location(arrays=(0, 1))
    >>> is_one_gradient([first, both]), is_one_gradient([first, second])
    (True, False)
    """
    keys = [{*location.keys} for location in locations if location.keys]
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


def usual_locations(result: Any) -> list[Location]:
    """A gradient alone, or with the value first or last; in a dict, that may be any number.

    Several numbers may come before it: which is the value, they do not tell.

    >>> import numpy as np
    >>> usual_locations((0.5, 3, np.ones(2)))[-1]  # the sum of a loss, and the number of its terms
    Location(gradient=2, value=None, rest=(0, 1), arrays=())
    """
    if isinstance(result, Mapping):
        return [Location(), *(Location(value=key) for key in numbers_of(result))]
    ends = (0, -1) if isinstance(result, (tuple, list)) and len(result) > 1 else ()
    found = [Location(), *(Location(value=i) for i in ends if value_in(result[i]) is not None)]
    *numbers, last = result if ends else [None]
    if len(numbers) > 1 and all(map(is_one_number, numbers)) and _may_be_gradient(last):
        found.append(Location(len(numbers), rest=tuple(range(len(numbers)))))
    return found


def numbers_of(entries: Mapping[Any, Any]) -> list[Any]:
    """The keys of the numbers among some entries. A single one is taken for the value.

    An array with axes of length 1 is no number here: one output of one example is such an array.
    """
    return [key for key, entry in entries.items() if _is_value(entry) and shape_of(entry) == ()]


def locations_among_others(result: Any) -> list[Location]:
    """Where a gradient may stand among other results: in one entry, or in all arrays of a tuple.

    >>> import numpy as np
    >>> locations_among_others({"loss": 0.5, "gradient": [np.ones(2)]})
    [Location(gradient='gradient', value='loss', rest=(), arrays=())]
    >>> locations_among_others((np.ones(2), np.ones(3), {}))[-1]
    Location(gradient=None, value=None, rest=(2,), arrays=(0, 1))
    """
    is_dict = isinstance(result, Mapping)
    entries = dict(result if is_dict else enumerate(result if children(result) else ()))
    numbers = numbers_of(entries)
    value = numbers[0] if len(numbers) == 1 else None
    locations = [Location(key, value) for key, entry in entries.items() if _may_be_gradient(entry)]
    arrays = tuple(key for key, entry in entries.items() if is_array(entry) and not is_dict)
    ends: list[tuple[Any, tuple[Any, ...]]] = []
    if 1 < len(arrays) < len(entries):
        ends = [(None, arrays), (arrays[0], arrays[1:]), (arrays[-1], arrays[:-1])]
    if len(numbers) > 1:  # such as (loss, accuracy, dW, db)
        ends.append((None, tuple(key for key in arrays if key not in numbers)))
    containers = tuple(key for key, entry in entries.items() if children(entry) and not is_dict)
    if len(containers) < len(entries):  # such as (weights, biases, cost, predictions)
        ends.append((value, containers))
    locations += [
        Location(value=end, arrays=keys)
        for end, keys in ends
        if end in (None, *numbers) and len(keys) > 1
    ]
    return [
        location._replace(
            rest=tuple(key for key in entries if key not in (*location.keys, location.value))
        )
        for location in locations
    ]


def _may_be_gradient(entry: Any) -> bool:
    """Whether a part of a result may be a gradient of itself: no number, None or text."""
    return entry is not None and not is_one_number(entry) and not isinstance(entry, (str, bytes))

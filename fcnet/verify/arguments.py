"""The arguments of any function: which leaves have a gradient, and calls with others in place."""

import copy
import inspect
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from fcnet.arrays import coarsest_dtype, dtype_of, is_array, is_floating, like, to_numpy
from fcnet.verify.candidate import quietly, raised
from fcnet.verify.forms import opened
from fcnet.verify.types import FORMATS, Answer, Finding, Format, Values, form_finding, format_of

Traced = TypeVar("Traced")


def is_none(value: object) -> bool:
    """Whether a value is None, which counts as a leaf and not as an empty container."""
    return value is None


OF_PARTS = "of complex numbers, check a function of their real and imaginary parts"
"""What to do about a complex argument."""


class Arguments(NamedTuple):
    """Positional arguments of a function, taken apart.

    Attributes:
        structure: of the containers.
        leaves: all leaves in order, with None and what is no array.
        names: of the leaves, such as "params['W'][0]".
        floating: the places of the leaves that hold floating-point numbers.
        own: the arguments themselves; their dicts keep the order of their keys, where JAX sorts it.
        heads: of each argument, its name.
        integers_known: whether a JAX function gets integers in arrays of NumPy. Then JAX knows them
            while it traces, so that shapes and branches may depend on them.
    """

    structure: Any
    leaves: tuple[Any, ...]
    names: tuple[str, ...]
    floating: tuple[int, ...]
    own: tuple[Any, ...]
    heads: tuple[str, ...]
    integers_known: bool = False

    @property
    def differentiable(self) -> tuple[Any, ...]:
        """The user's own floating arrays."""
        return tuple(self.leaves[i] for i in self.floating)

    @property
    def floating_names(self) -> tuple[str, ...]:
        """The names of these arrays."""
        return tuple(self.names[i] for i in self.floating)

    @property
    def values(self) -> tuple[Values, ...]:
        """Their numbers."""
        return tuple(map(to_numpy, self.differentiable))

    @property
    def indices(self) -> dict[str, Values]:
        """The arrays of integers, by their names."""
        named = zip(self.names, self.leaves, strict=True)
        return {name: to_numpy(x) for name, x in named if _is_index(x)}

    @property
    def format(self) -> Format:
        """The coarsest format of the floating arguments."""
        return coarsest_format(self.differentiable)

    @property
    def first(self) -> tuple[int]:
        """The place of the first argument that holds floating-point numbers."""
        ends = np.cumsum([argument.num_leaves for argument in self.structure.children()])
        return (int(np.searchsorted(ends, self.floating[0], side="right")),)

    @property
    def call_form(self) -> str:
        """How a function is called with them, "(x, y)"."""
        return f"({', '.join(self.heads)})" if all(map(str.isidentifier, self.heads)) else "(*args)"

    def leaves_of(self, places: Sequence[int]) -> list[int]:
        """Where the leaves of the arguments at these places are among all leaves."""
        counts = [argument.num_leaves for argument in self.structure.children()]
        ends = np.cumsum(counts)
        return [i for place in places for i in range(ends[place] - counts[place], ends[place])]

    def fill(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments for a JAX function, with these floating leaves."""
        replaced, known = set(self.floating), self.integers_known
        leaves = [x if i in replaced else _for_jax(x, known) for i, x in enumerate(self.leaves)]
        return self._with(leaves, values)

    def reduce(self, function: Callable[..., Any]) -> Callable[[Sequence[Any]], Any]:
        """The JAX function of the floating leaves alone."""
        return lambda values: function(*self.fill(values))

    def floats(self, args: tuple[Any, ...]) -> list[Any]:
        """The floating leaves of arguments of the same form."""
        leaves = jax.tree.leaves(args, is_leaf=is_none)
        return [leaves[i] for i in self.floating]

    def fresh(self, values: Sequence[Values], double: bool = False) -> tuple[Any, ...]:
        """The arguments with these numbers, in new arrays of the user's own library and dtype.

        Arrays of integers are new, too, since a call may change them.
        """
        dtype = np.float64 if double else None
        arrays = zip(values, self.differentiable, strict=True)
        leaves = [copy.deepcopy(leaf) if _is_foreign(leaf) else leaf for leaf in self.leaves]
        return self._with(leaves, [like(x, array, dtype) for x, array in arrays])

    def changed(self, given: tuple[Any, ...], values: Sequence[Values]) -> list[str]:
        """The names of the arrays that a call changed, which it was given with these numbers."""
        integers = [i for i, leaf in enumerate(self.leaves) if _is_foreign(leaf) and _counts(leaf)]
        before = {i: to_numpy(self.leaves[i]) for i in integers}
        before |= dict(zip(self.floating, values, strict=True))
        after = jax.tree.leaves(given, is_leaf=is_none)
        return [
            self.names[i]
            for i, then in sorted(before.items())
            if not np.array_equal(to_numpy(after[i]), then)
        ]

    def _with(self, leaves: list[Any], values: Sequence[Any]) -> tuple[Any, ...]:
        for i, value in zip(self.floating, values, strict=True):
            leaves[i] = value
        return _ordered(self.own, jax.tree.unflatten(self.structure, leaves))


class Called(NamedTuple):
    """One call: what was returned, or how it failed, and which arguments it changed."""

    value: Any
    error: Finding | None
    mutations: list[Finding]


def call(
    function: Callable[..., Any],
    arguments: Arguments,
    values: Sequence[Values],
    double: bool = False,
) -> Called:
    """Call a function with these numbers in its floating arguments, in new arrays.

    An exception is a finding.
    """
    with quietly(arguments.differentiable, double):
        given = arguments.fresh(values, double)
        try:
            value = opened(function(*given))
        except (Exception, SystemExit) as error:
            return Called(None, raised(error), [])
    if jax.tree.structure(given, is_leaf=is_none) != arguments.structure:
        message = "the call takes entries out of its arguments, or puts some in; work on a copy"
        return Called(value, None, [form_finding("mutates_inputs", message)])
    changed = "" if double else ", ".join(arguments.changed(given, values))
    message = (
        f"the call changes its {changed}; work on a copy, unless no one needs it afterwards; a "
        "gradient that is written there must be returned"
    )
    mutations = [form_finding("mutates_inputs", message, "warning")] if changed else []
    return Called(value, None, mutations)


def is_complex(leaf: Any) -> bool:
    """Whether it holds complex numbers."""
    return is_array(leaf) and dtype_of(leaf).kind == "c"


def take_apart(
    function: Callable[..., Any], args: Sequence[Any], static: Collection[int] = ()
) -> Arguments:
    """The arguments of `function`, any pytrees; those at the places `static` have no gradient.

    Raises TypeError if no leaf is floating, ValueError if one is not finite.
    """
    flat, structure = jax.tree_util.tree_flatten_with_path(tuple(args), is_leaf=is_none)
    heads = _names(function, len(args))
    places: list[Any] = [path[0] for path, _ in flat]
    names = tuple(
        heads[place.idx] + jax.tree_util.keystr(path[1:])
        for place, (path, _) in zip(places, flat, strict=True)
    )
    leaves = tuple(leaf for _, leaf in flat)
    floating = tuple(
        i
        for i, leaf in enumerate(leaves)
        if places[i].idx not in static and is_array(leaf) and is_floating(leaf)
    )
    if not floating:
        raise TypeError(
            "none of the arguments holds floating-point numbers, 1.0 and not 1: nothing has a "
            "gradient" + f"; {OF_PARTS}" * any(map(is_complex, leaves))
        )
    for i in floating:
        if dtype_of(leaves[i]).name not in FORMATS:
            known = ", ".join(dtype for dtype in FORMATS if dtype != "tfloat32")
            raise TypeError(f"{names[i]} holds {dtype_of(leaves[i])}, expected one of {known}")
        if not np.isfinite(to_numpy(leaves[i])).all():
            raise ValueError(f"{names[i]} must be finite, got {leaves[i]}")
    return Arguments(structure, leaves, names, floating, tuple(args), heads)


def _names(function: Callable[..., Any], count: int) -> tuple[str, ...]:
    """The names of the first positional arguments of a function."""
    try:
        parameters = [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):
        parameters = []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [each.name for each in parameters if each.kind in positional][:count]
    return (*named, *(f"args[{place}]" for place in range(len(named), count)))


def _ordered(own: Any, tree: Any) -> Any:
    """The same containers, with the keys of each dict in the order of the user's own."""
    if type(own) is dict:
        return {key: _ordered(entry, tree[key]) for key, entry in own.items()}
    if type(own) in (tuple, list):
        return type(own)(map(_ordered, own, tree))
    return tree


def coarsest_format(arrays: Iterable[Any]) -> Format:
    """The coarsest format of floating arrays of any library."""
    return format_of(coarsest_dtype(arrays))


def as_answer(arrays: Sequence[Any]) -> Answer:
    """Arrays of any library as an answer."""
    gradient: Any = tuple(map(to_numpy, arrays))
    return Answer(gradient, None, coarsest_dtype(arrays))


def settled(trace: Callable[[Arguments], Traced], arguments: Arguments) -> tuple[Arguments, Traced]:
    """What `trace` returns, and the arguments for which it does; for others it raises TypeError.

    Integers become known only where that is needed: arrays of JAX have methods that NumPy's lack.
    """
    try:
        return arguments, trace(arguments)
    except TypeError:
        arguments = arguments._replace(integers_known=True)
        return arguments, trace(arguments)


def _for_jax(leaf: Any, integers_known: bool) -> Any:
    """A leaf without a gradient, or of a static argument, for a JAX function."""
    if integers_known and isinstance(leaf, jax.Array | np.ndarray) and _counts(leaf):
        return np.array(leaf)
    return jnp.asarray(np.asarray(leaf).copy()) if _is_foreign(leaf) else leaf


def _counts(array: Any) -> bool:
    """Whether it holds integers or truth values."""
    return dtype_of(array).kind in "biu"


def _is_index(leaf: Any) -> bool:
    return is_array(leaf) and dtype_of(leaf).kind in "iu"


def _is_foreign(leaf: Any) -> bool:
    """Whether it is an array, but not one of JAX. JAX converts those once, in one precision."""
    return is_array(leaf) and not isinstance(leaf, jax.Array) and np.ndim(leaf) > 0

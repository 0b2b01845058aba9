"""The smallest input that shows a fault, as Python code to paste."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fcnet.arrays import is_floating, like, shape_of
from fcnet.trees import leaves, rebuild
from fcnet.types import Loss
from fcnet.verify.candidate import Candidate
from fcnet.verify.holders import Held
from fcnet.verify.shown import MANY, code_of
from fcnet.verify.table import Table
from fcnet.verify.targets import is_special, random_targets
from fcnet.verify.types import Case

FEW = 60
"""How many numbers code lists one by one, where a generator could draw them."""

IMPORTS = {"np": "import numpy as np", "jnp": "import jax.numpy as jnp", "torch": "import torch"}
"""The imports of code, by the names that it uses."""

NUMBERS = "rng.integers(-8, 9, size={}) / {}"
"""Simple numbers, exact in every floating dtype."""


class Example(NamedTuple):
    """An input on which a candidate is wrong: code that makes it, and its numbers.

    The code is "" where none makes it; there are no numbers where it is wrong on no input alone.
    """

    code: str = ""
    numbers: Table | None = None


NO_EXAMPLE = Example()


class Shown(NamedTuple):
    """An input, and the code that makes it."""

    case: Case
    code: str


def inputs_to_show(candidate: Candidate, loss: Loss, failing: Sequence[Case]) -> list[Shown]:
    """Inputs of simple numbers, and then the failing one of the fewest examples.

    The former have one example and, for a batch, two and three. There are none where no code makes
    the user's containers.
    """
    try:
        inputs = [_simple(candidate, loss, n) for n in ((1, 2, 3) if candidate.batched else (1,))]
        least = sorted(failing, key=lambda case: case.n)[:1]
        return inputs + [Shown(case, literal(candidate, case)) for case in least]
    except TypeError:
        return []


def _simple(candidate: Candidate, loss: Loss, n: int) -> Shown:
    rng = np.random.default_rng(0)
    params, x, y = candidate.like

    def draw(array: Any, shape: tuple[int, ...]) -> Any:
        if is_floating(array):
            return like(rng.integers(-8, 9, size=shape) / _divisor(shape), array)
        return like(rng.integers(2, size=shape).astype(float), array)

    own = rebuild(lambda _, leaf: None if leaf is None else draw(leaf, shape_of(leaf)), params)
    axis = candidate.examples.axis
    shape = tuple(n if i == axis else m for i, m in enumerate(shape_of(x)))
    xs = draw(x, shape)
    X = candidate.examples._replace(shape=shape).read(xs)
    Y = random_targets(rng, n, candidate.own.Y, loss, candidate.batched)
    Y = X if candidate.own.reproduces else Y if is_special(candidate.own.Y) else np.round(Y * 4) / 4
    ys = candidate.targets.write(Y, y)
    case = Case(
        f"{n} simple example{'s' * (n > 1)}",
        candidate.layout.read(own),
        X,
        candidate.targets._replace(shape=shape_of(ys)).read(ys),
    )
    if _count(own, xs) <= FEW:
        return Shown(case, _code(own, xs, ys))
    return Shown(case, f"rng = np.random.default_rng(0)\n{_code(own, xs, ys, _drawn)}")


def _divisor(shape: tuple[int, ...]) -> int:
    """A power of two that keeps sums over the longest axis near 1."""
    return 4 * 2 ** math.ceil(math.log2(max(1, *shape)) / 2)


def _drawn(array: Any) -> str:
    """Code for the numbers of `_simple`."""
    shape = shape_of(array)
    return NUMBERS.format(shape, _divisor(shape))


def _code(params: Any, x: Any, y: Any, values: Callable[[Any], str] | None = None) -> str:
    """Code that makes an input, with code for the values of its floating arrays but y."""
    x_code = code_of(x, values if is_floating(x) else None)
    return f"{_parameters_code(params, values)}\nx = {x_code}\ny = {code_of(y)}"


def with_imports(code: str) -> str:
    """Code below the imports that it needs.

    >>> with_imports("x = np.ones(2)").splitlines()
    ['import numpy as np', 'x = np.ones(2)']
    """
    needed = [line for name, line in IMPORTS.items() if re.search(rf"\b{name}\.", code)]
    return "\n".join([*needed, code])


def _count(params: Any, *arrays: Any) -> int:
    """How many numbers these are."""
    own = [leaf for _, leaf in leaves(params) if leaf is not None]
    return sum(math.prod(shape_of(leaf)) for leaf in (*own, *arrays))


def literal(candidate: Candidate, case: Case) -> str:
    """Code that lists all numbers of a case; none where these are too many."""
    params, x, y = candidate.arguments(case)
    if _count(params, x, y) > MANY:
        return ""
    return _code(params, x, y)


def _parameters_code(params: Any, values: Callable[[Any], str] | None) -> str:
    """Code that makes the parameters, or puts them into the user's object, which it calls net."""
    if not isinstance(params, Held):
        return f"params = {code_of(params, values)}"
    lines = (f"{params.places[path]} = {code_of(leaf, values)}" for path, leaf in leaves(params))
    return "\n".join(lines)


def call_of(candidate: Candidate) -> str:
    """How the candidate is called, such as "backward(params, x, y)"."""
    is_held = isinstance(candidate.like[0], Held)
    call = f"{candidate.name}({'x, y' if is_held else 'params, x, y'})"
    rate = candidate.learning_rate
    return f"{call}, (before - after) / {rate:g}" if rate else call

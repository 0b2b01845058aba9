"""The intermediate values of a function that `jax.ad_checkpoint.checkpoint_name` marks.

With every named value in place of a new input, a function falls into steps: each named value, and
the result, is a function of the arguments and of the named values before it. The gradient of a
named value is the sum of the vector-Jacobian products of the steps that use it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend import core

from fcnet.verify.truth.jaxprs import NESTED, bind, interpret, wrapped

Visit = Callable[[str, Array], Array]
"""What becomes of a named value."""


class Named(NamedTuple):
    """A named value: its name, shape and dtype, and the loop or branch in which it is, or ""."""

    name: str
    shape: tuple[int, ...]
    dtype: Any
    inside: str


def named_values(jaxpr: core.Jaxpr) -> list[Named]:
    """The named values of a computation, at any depth, in order."""
    found = []
    for eqn in jaxpr.eqns:
        kind = eqn.primitive.name
        if kind == "name":
            aval: Any = eqn.outvars[0].aval
            found.append(Named(eqn.params["name"], aval.shape, aval.dtype, ""))
        for body in core.jaxprs_in_params(eqn.params):
            inner = named_values(body)
            found += inner if _runs_as_it_stands(eqn) else [v._replace(inside=kind) for v in inner]
    return found


def _runs_as_it_stands(eqn: core.JaxprEqn) -> bool:
    """Whether an operation runs a jaxpr once, and has its derivative."""
    nested = NESTED.get(eqn.primitive.name)
    return nested is not None and not nested.has_rule


def shapes_of(values: Sequence[Named], wanted: Collection[str]) -> dict[str, tuple[int, ...]]:
    """The shapes of the named floating-point values whose gradients are wanted.

    Raises:
        ValueError: if one of the wanted names stands for several values, or for one in a loop, a
            branch or a function with a derivative rule.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape, dtype, inside in values:
        if not jnp.issubdtype(dtype, jnp.floating):
            continue
        if name in wanted and inside:
            raise ValueError(
                f"function names {name!r} inside {inside}, where it is not one value; "
                "name it outside, or write the loop or branch in Python"
            )
        if name in wanted and name in shapes:
            raise ValueError(f"function names two values {name!r}; give each a name of its own")
        shapes[name] = shape
    return shapes


def visited(jaxpr: core.ClosedJaxpr, inputs: Sequence[Array], visit: Visit) -> list[Array]:
    """The results of a computation in which `visit` replaces each named value."""

    def apply(eqn: core.JaxprEqn, operands: list[Any]) -> list[Any]:
        if eqn.primitive.name == "name":
            return [visit(eqn.params["name"], operands[0])]
        if _runs_as_it_stands(eqn) and named_values(wrapped(eqn)[0]):
            return interpret(*wrapped(eqn), operands, apply, whole=True)
        return bind(eqn.primitive, eqn.params, operands)

    return interpret(jaxpr.jaxpr, jaxpr.consts, inputs, apply, whole=True)


def step_gradients(
    function: Callable[[Sequence[Array]], Array],
    inputs: Sequence[Array],
    given: Mapping[str, Array],
) -> tuple[Array, list[Array], dict[str, Array]]:
    """The gradient of every input and named value, each from the gradients of those after it.

    Args:
        function: of a list of arrays, with a scalar result.
        inputs: these arrays.
        given: the gradients of some named values. The others are no steps of their own.

    Returns:
        The value, the gradients of the inputs, and those of the values named in `given`.

    >>> from jax.ad_checkpoint import checkpoint_name
    >>> def f(inputs):
    ...     (x,) = inputs
    ...     return checkpoint_name(x**2, "square") * 3
    >>> value, (dx,), named = step_gradients(f, [jnp.array(2.0)], {"square": jnp.array(10.0)})
    >>> float(value), float(dx), float(named["square"])  # 2 x 10, where 3 were right for square
    (12.0, 40.0, 3.0)
    """
    jaxpr = jax.make_jaxpr(function)(inputs)

    def steps(inputs: Sequence[Array], before: Mapping[str, Array]) -> tuple[Array, Any]:
        """The result and each named value, from the arguments and the named values before it."""
        computed: dict[str, Array] = {}

        def visit(name: str, value: Array) -> Array:
            if name not in given:
                return value
            computed[name] = value
            return before.get(name, value)

        (result,) = visited(jaxpr, inputs, visit)
        return result, computed

    value, known = steps(inputs, {})
    (_, like), back = jax.vjp(steps, list(inputs), known)
    cotangents = {name: jnp.asarray(given[name], x.dtype) for name, x in like.items()}
    of_inputs, of_named = back((jnp.ones_like(value), cotangents))
    return value, of_inputs, of_named

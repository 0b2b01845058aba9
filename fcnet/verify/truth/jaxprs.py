"""Jaxprs, the operations that JAX sees in a function, run one after the other on any values."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jax.extend import core


class Nested(NamedTuple):
    """A primitive that only wraps a jaxpr.

    Attributes:
        parameter: the one that holds the jaxpr.
        has_rule: whether it has a derivative rule, which is lost if the jaxpr is run instead.
    """

    parameter: str
    has_rule: bool = False


NESTED: Mapping[str, Nested] = MappingProxyType(
    {
        "jit": Nested("jaxpr"),
        "remat2": Nested("jaxpr"),
        "checkpoint": Nested("jaxpr"),
        "closed_call": Nested("call_jaxpr"),
        "core_call": Nested("call_jaxpr"),
        "custom_jvp_call": Nested("call_jaxpr", has_rule=True),
        "custom_vjp_call": Nested("call_jaxpr", has_rule=True),
    }
)
"""By their names; "remat2" and "checkpoint" are one in different versions of JAX."""


def wrapped(eqn: core.JaxprEqn) -> tuple[core.Jaxpr, Any]:
    """The jaxpr, and its constants, that an operation of `NESTED` wraps."""
    return opened(eqn.params[NESTED[eqn.primitive.name].parameter])


def opened(jaxpr: Any) -> tuple[core.Jaxpr, Any]:
    """A jaxpr and its constants; an open one has none."""
    return getattr(jaxpr, "jaxpr", jaxpr), getattr(jaxpr, "consts", ())


def shape_of(atom: Any) -> tuple[int, ...]:
    """The shape of an array of a jaxpr."""
    return atom.aval.shape


def bodies(jaxpr: core.Jaxpr) -> Iterator[core.Jaxpr]:
    """A jaxpr and those in it, at any depth."""
    yield jaxpr
    for inner in core.subjaxprs(jaxpr):
        yield from bodies(inner)


def bind(primitive: Any, params: Mapping[str, Any], operands: Sequence[Any]) -> list[Any]:
    """The results of an operation of JAX."""
    results = primitive.bind(*operands, **primitive.get_bind_params(dict(params)))
    return list(results) if primitive.multiple_results else [results]


def interpret(
    jaxpr: core.Jaxpr,
    consts: Iterable[Any],
    inputs: Iterable[Any],
    apply: Callable[[core.JaxprEqn, list[Any]], list[Any]],
    constant: Callable[[np.ndarray], Any] = lambda x: x,
    whole: bool = False,
) -> list[Any]:
    """The results of a jaxpr whose values may be of any kind.

    Args:
        jaxpr: the operations.
        consts, inputs: the values of its constant variables and of its inputs.
        apply: the results of an operation on its operands.
        constant: the value for a number that the jaxpr holds itself.
        whole: whether operations are applied whose results are not used.
    """
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    values |= zip(jaxpr.invars, inputs, strict=True)

    def read(atom: Any) -> Any:
        if isinstance(atom, core.Literal):
            return constant(np.asarray(atom.val, getattr(atom.aval, "dtype", None)))
        return values[atom]

    nothing: set[Any] = set()
    for eqn, last in [(eqn, nothing) for eqn in jaxpr.eqns] if whole else _needed(jaxpr):
        values |= zip(eqn.outvars, apply(eqn, list(map(read, eqn.invars))), strict=True)
        for variable in last:
            del values[variable]
    return list(map(read, jaxpr.outvars))


@lru_cache(maxsize=1024)
def _needed(jaxpr: core.Jaxpr) -> list[tuple[core.JaxprEqn, set[Any]]]:
    """The operations whose results are used, each with the variables that it is the last to use."""
    used, needed = _variables(jaxpr.outvars), []
    for eqn in reversed(jaxpr.eqns):
        if not used.isdisjoint(eqn.outvars):
            variables = _variables(eqn.invars)
            needed.append((eqn, variables - used))
            used |= variables
    return needed[::-1]


def _variables(atoms: Iterable[Any]) -> set[Any]:
    return {atom for atom in atoms if not isinstance(atom, core.Literal)}

"""Double precision inside a block, with JAX's own state unchanged after it."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from fcnet.arrays import unit_roundoff
from fcnet.verify.truth.jaxprs import bodies


@contextmanager
def float64() -> Iterator[None]:
    """Double precision, and exact matrix products on accelerators, inside the block only."""
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        yield


class Traced(NamedTuple):
    """A function of arrays, as the operations that JAX sees in it.

    Attributes:
        jaxpr: the operations, in float64.
        structure: of the result.
        roundoff: the unit roundoff of the coarsest floating dtype in it.
        largest: the size of the largest array in it.
        largest_result: that of the largest result of an operation.
    """

    jaxpr: core.ClosedJaxpr
    structure: Any
    roundoff: float
    largest: int
    largest_result: int


def trace(function: Callable[..., Any], *args: Any) -> Traced:
    """A function in float64, for arguments of these shapes.

    JAX converts a NumPy array that a function closes over once, and keeps that precision for as
    long as anything refers to the converted one. So where a function has such arrays, the caches of
    traces are emptied before and after, and the trace gets copies.
    """
    traced: Any
    if closed_over := _closes_over_numpy(function, args):
        _forget_traces()
    with float64():
        traced = jax.jit(function).trace(*args)
        jaxpr, structure = traced.jaxpr, jax.tree.structure(traced.out_info)
    if closed_over:
        jaxpr = _with_copies(jaxpr)
        del traced
        _forget_traces()
    given, results = _arrays_in(jaxpr)
    floats = (x.dtype for x in (*given, *results) if jnp.issubdtype(x.dtype, jnp.floating))
    roundoff = max(map(unit_roundoff, floats), default=2.0**-53)
    largest, result = (
        max((math.prod(x.shape) for x in some), default=1) for some in (given, results)
    )
    return Traced(jaxpr, structure, roundoff, max(largest, result), result)


def _forget_traces() -> None:
    clear_caches: Any = jax.clear_caches
    clear_caches()


def _with_copies(jaxpr: core.ClosedJaxpr) -> core.ClosedJaxpr:
    """The computation with copies of its constants, at any depth."""

    def copied(value: Any) -> Any:
        return _with_copies(value) if isinstance(value, core.ClosedJaxpr) else value

    inner: Any = jaxpr.jaxpr
    eqns = [eqn.replace(params=jax.tree.map(copied, eqn.params)) for eqn in inner.eqns]
    consts = [x if isinstance(x, jax.Array) else np.array(x) for x in jaxpr.consts]
    return core.ClosedJaxpr(inner.replace(eqns=eqns), consts)


def _closes_over_numpy(function: Callable[..., Any], args: Any) -> bool:
    """Whether there are constants that are not JAX's own arrays, at any depth.

    This is asked in the user's own precision: a trace that fails, where a number in float32 meets
    one in float64, would keep them for ever. Truth values are alike in both.
    """
    try:
        pending = [jax.jit(function).trace(*args).jaxpr]
    except Exception:
        return True
    while pending:
        closed = pending.pop()
        foreign = (const for const in closed.consts if not isinstance(const, jax.Array))
        if not all(jnp.issubdtype(jnp.result_type(const), jnp.bool_) for const in foreign):
            return True
        parameters = jax.tree.leaves([eqn.params for eqn in closed.jaxpr.eqns])
        pending += [value for value in parameters if isinstance(value, core.ClosedJaxpr)]
    return False


def draws_in_double(jaxpr: core.ClosedJaxpr) -> bool:
    """Whether random numbers are drawn that would be others without double precision."""
    eqns = (eqn for body in bodies(jaxpr.jaxpr) for eqn in body.eqns)
    return any(e.primitive.name == "random_bits" and e.params["bit_width"] == 64 for e in eqns)


def _arrays_in(jaxpr: core.ClosedJaxpr) -> tuple[list[Any], list[Any]]:
    """The forms of all arrays in a computation, at any depth: arguments, and results."""
    every = list(bodies(jaxpr.jaxpr))
    given: list[Any] = [variable.aval for body in every for variable in body.invars]
    results: list[Any] = [v.aval for body in every for eqn in body.eqns for v in eqn.outvars]
    given, results = (
        [aval for aval in some if hasattr(aval, "dtype")] for some in (given, results)
    )
    return given, results

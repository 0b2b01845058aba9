"""Double precision inside a block, with JAX's own state unchanged after it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from fcnet.arrays import unit_roundoff


@contextmanager
def float64() -> Iterator[None]:
    """Double precision, and exact matrix products on accelerators, inside the block only."""
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        yield


def compile_double(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A function of the user's, compiled in float64 for arguments like these.

    JAX converts a NumPy array that a function closes over once, and keeps that precision for as
    long as any trace of the function is alive. So where a function has such arrays, the caches of
    traces are emptied before and after.

    Returns:
        The program, to be called inside `float64`.
    """
    traced: Any
    with float64():
        try:
            traced = jax.jit(function).trace(*args, **kwargs)
            closed_over = _closes_over_numpy(traced.jaxpr)
        except TypeError:  # a float64 argument met such an array, which JAX holds in float32
            traced, closed_over = None, True
        if closed_over:
            del traced
            _forget_traces()
            traced = jax.jit(function).trace(*args, **kwargs)
        program = traced.lower().compile()
    if closed_over:
        del traced
        _forget_traces()
    return program


def _forget_traces() -> None:
    clear_caches: Any = jax.clear_caches
    clear_caches()


def _closes_over_numpy(jaxpr: core.ClosedJaxpr) -> bool:
    """Whether there are floating constants that are not JAX's own arrays, at any depth."""
    pending = [jaxpr]
    while pending:
        closed = pending.pop()
        foreign = (const for const in closed.consts if not isinstance(const, jax.Array))
        if any(jnp.issubdtype(jnp.result_type(const), jnp.inexact) for const in foreign):
            return True
        parameters = jax.tree.leaves([eqn.params for eqn in closed.jaxpr.eqns])
        pending += [value for value in parameters if isinstance(value, core.ClosedJaxpr)]
    return False


def coarsest_roundoff(jaxpr: core.ClosedJaxpr) -> float:
    """The unit roundoff of the coarsest floating dtype in a computation, at any depth."""
    pending, coarsest = [jaxpr.jaxpr], 2.0**-53
    while pending:
        body = pending.pop()
        pending += core.subjaxprs(body)
        for variable in (*body.invars, *(v for eqn in body.eqns for v in eqn.outvars)):
            dtype = getattr(variable.aval, "dtype", None)
            if dtype is not None and jnp.issubdtype(dtype, jnp.floating):
                coarsest = max(coarsest, unit_roundoff(dtype))
    return coarsest

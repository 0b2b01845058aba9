"""A function of the user's that JAX differentiates: it can be traced, and returns a real scalar."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from fcnet.verify.candidate import message_of


class TracingError(TypeError):
    """JAX cannot trace a function of the user's."""


def trace_scalar(
    function: Callable[..., Any], *args: Any, name: str, arguments: str, hint: str = ""
) -> core.ClosedJaxpr:
    """The computation of a function, which JAX traces to a real scalar.

    Args:
        function: of pytrees of arrays.
        args: its arguments.
        name: the user's word for the function, such as "penalty".
        arguments: what it is a function of, in words.
        hint: what to do about a result that is no scalar, to follow what it is.

    Raises:
        TracingError: if JAX cannot trace it.
        TypeError: if it returns anything else.

    >>> trace_scalar(abs, [1.0], name="penalty", arguments="params")
    Traceback (most recent call last):
    fcnet.verify.truth.scalar.TracingError: penalty must be a JAX function (jnp, not np) of \
params as you passed them;...
    """
    jaxpr, result = traced(function, *args, name=name, arguments=arguments)
    scalar = getattr(result, "shape", None) == ()
    if not (scalar and jnp.issubdtype(result.dtype, jnp.floating)):
        raise TypeError(f"{name} must return a real scalar, a () array, got {result}{hint}")
    return jaxpr


def traced(
    function: Callable[..., Any], *args: Any, name: str, arguments: str
) -> tuple[core.ClosedJaxpr, Any]:
    """The computation of a function, and the form of its result.

    Raises TracingError if JAX cannot trace it. The arguments are those of `trace_scalar`.
    """
    try:
        return jax.make_jaxpr(function, return_shape=True)(*args)
    except Exception as error:
        raise TracingError(
            f"{name} must be a JAX function (jnp, not np) of {arguments} as you passed them; "
            f"it raised {message_of(error)}"
        ) from error

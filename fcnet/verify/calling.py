"""Whether a function can be called with the arguments that it is to be tried on."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

INPUTS = frozenset({"x", "xs", "x_batch", "x_train", "input", "inputs", "data", "batch"})
"""Names, in lower case, of a first argument that is no parameters but x."""

OBJECT = (
    "; if it is a method of an object that holds the parameters, pass the object as params, and "
    "it is called as {name}(x, y)"
)


def check_call(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    form: str,
    params_first: bool = False,
) -> None:
    """Raise TypeError if a function cannot be called with these positional arguments.

    Args:
        function: the candidate; one without a signature, such as a builtin, passes.
        arguments: what it is to be called with.
        form: these in words, "(params, x, y)".
        params_first: whether the first is the parameters of a network, so that a function whose
            first argument has the name of an input is refused.

    >>> check_call(lambda x, y: None, (1, 2, 3), "(params, x, y)")
    Traceback (most recent call last):
    TypeError: <lambda> takes (x, y), so it cannot be called as <lambda>(params, x, y). Wrap it...
    """
    if not callable(function):
        raise TypeError(f"expected a function to be called with {form}, got {function!r:.60}")
    signature = _signature(function)
    if signature is None:
        return
    names = [name.lower() for name in signature.parameters]
    try:
        signature.bind(*arguments)
        fits = not (params_first and INPUTS.intersection(names[:1]))
    except TypeError:
        fits = False
    if not fits:
        own = ", ".join(map(str, signature.parameters.values()))
        name = getattr(function, "__name__", "backward")
        raise TypeError(
            f"{name} takes ({own}), so it cannot be called as {name}{form}. Wrap it: "
            f"lambda {form[1:-1]}: ..., with the call of {name} for the dots"
            + OBJECT.format(name=name)
            * params_first
        )


def required_count(function: Callable[..., Any]) -> int:
    """The number of positional arguments without a default; 0 if there is no signature."""
    signature = _signature(function)
    return sum(
        parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        for parameter in (signature.parameters.values() if signature else ())
    )


def name_of_function(function: Callable[..., Any]) -> str:
    """The name of a function; of another object that can be called, that of its class."""
    return getattr(function, "__name__", type(function).__name__)


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None

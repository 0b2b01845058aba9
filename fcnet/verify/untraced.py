"""A function that JAX cannot trace, as one of NumPy or PyTorch: it is called with numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fcnet.arrays import dtype_of, is_array, is_floating, to_numpy, unit_roundoff
from fcnet.verify.arguments import Arguments, call
from fcnet.verify.truth.known import Case
from fcnet.verify.truth.scalar import TracingError


@dataclass(frozen=True)
class Untraced:
    """A function of the user's arguments, in their own library.

    `double` is whether it gets them in float64; else in their own dtype.
    """

    function: Callable[..., Any]
    arguments: Arguments
    double: bool

    def __call__(self, case: Case) -> float:
        """Its value on a case, NaN where it has none."""
        called = call(self.function, self.arguments, case, self.double)
        return float(to_numpy(called.value)) if _is_real(called.value) else np.nan

    @property
    def roundoff(self) -> float:
        """That of the numbers that it gets."""
        return unit_roundoff(np.float64) if self.double else self.arguments.format.u


def untraced(function: Callable[..., Any], arguments: Arguments, why: TracingError) -> Untraced:
    """The function, which returns a real scalar for the user's own arguments.

    Raises:
        TypeError: if it does not; JAX cannot trace it for the reason `why`.
        ValueError: if it does not return the same twice.
    """
    own = arguments.values
    double = not call(function, arguments, own, True).error
    called = call(function, arguments, own, double)
    if called.error:
        message = called.error.message
        raise TypeError(f"function cannot be called with the arguments: {message}") from why
    if not _is_real(called.value):
        got = " ".join(repr(called.value).split())
        raise TypeError(
            f"function must return a finite real number of shape (), got {got:.60}"
        ) from why
    plain = Untraced(function, arguments, double)
    if plain(own) != plain(own):
        raise ValueError(
            "function returns another value each time that it is called with the same arguments: "
            "draw its random numbers before, and pass them"
        )
    return plain


def _is_real(value: Any) -> bool:
    """Whether a value is one real number, and finite; `max(0, 1 - x)` may be the integer 0."""
    is_one = is_array(value) and np.ndim(value) == 0
    is_real = is_one and (is_floating(value) or dtype_of(value).kind in "iu")
    return is_real and bool(np.isfinite(to_numpy(value)))

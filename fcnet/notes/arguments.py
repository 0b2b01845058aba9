"""The check of arguments for this room: shapes by letter, one dtype, finite values."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from fcnet.checks import as_array, check_finite

Shaped: TypeAlias = Mapping[str, tuple[ArrayLike, str]]
"""Arguments by name, each with its axes: "m d" for a matrix, "d" for a vector, "" for a number."""


def as_arrays(parameters: Shaped, data: Shaped) -> list[Array]:
    """The arguments as arrays, in the order given, after a check that they fit each other.

    A letter stands for the same size wherever it occurs, a numeral for itself, and n for the number
    of examples, at least 1. Parameters are floating and of one dtype; data are cast to it.

    Raises:
        ValueError: for a shape that does not fit, no examples, or a value that is not finite.
        TypeError: for arguments that hold no real numbers, or integer or mixed parameters.

    >>> W, x = as_arrays({"W": (jnp.ones((2, 3)), "m d")}, {"x": (jnp.array([1, 2, 3]), "d")})
    >>> W.shape, x.dtype == W.dtype
    ((2, 3), True)
    """
    arrays: dict[str, Array] = {}
    sizes: dict[str, int] = {}
    first = next(iter({**parameters, **data}))
    for name, (value, axes) in {**parameters, **data}.items():
        dtype = arrays[first].dtype if first in arrays else None
        array = as_array(name, value, None if name in parameters else dtype)
        if name in parameters:
            _check_dtype(name, array, first, dtype or array.dtype)
        _check_axes(name, array, axes.split(), sizes)
        check_finite(name, array)
        arrays[name] = array
    return list(arrays.values())


def _check_axes(name: str, array: Array, axes: list[str], sizes: dict[str, int]) -> None:
    """Raise unless the axes have the sizes known so far; add new sizes."""
    sizes |= {axis: int(axis) for axis in axes if axis.isdigit()}
    if array.ndim == len(axes):
        for axis, size in zip(axes, array.shape, strict=True):
            sizes.setdefault(axis, size)
    expected = tuple(sizes.get(axis, axis) for axis in axes)
    if array.shape != expected:
        raise ValueError(
            f"{name} has shape {array.shape}, expected {_text(axes)}"
            f"{f' = {_text(expected)}' if list(expected) != axes else ''}: "
            "nothing is broadcast; reshape it, and jax.vmap the function over many examples"
        )
    if sizes.get("n") == 0:
        raise ValueError(f"{name} has no examples, shape {array.shape}: expected n >= 1")


def _text(shape: Sequence[str | int]) -> str:
    return str(tuple(shape)).replace("'", "")


def _check_dtype(name: str, array: Array, first: str, dtype: jnp.dtype) -> None:
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{name} must be floating, got {array.dtype}: "
            "integers have no gradient; cast with .astype(float)"
        )
    if array.dtype != dtype:
        raise TypeError(
            f"{name} is {array.dtype} but {first} is {dtype}: all parameters must have one dtype"
        )

"""What every public function asks of its arguments, before anything is traced.

Shapes and dtypes are always checked. Values can be checked only where they are known: inside
`jax.jit`, `jax.vmap` or `jax.grad` an array has none yet, so the check of its values is left out.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from fcnet.types import Layer, Params

T = TypeVar("T")


def look_up(kind: str, table: Mapping[str, T], choice: str | T) -> T:
    """The row of `table` called `choice`; a row itself is returned as it is."""
    if not isinstance(choice, str):
        expected = type(next(iter(table.values())))
        if not isinstance(choice, expected):
            raise TypeError(
                f"{kind} must be a name or a fcnet.{expected.__name__}, got {type(choice).__name__}"
            )
        return choice
    if choice not in table:
        raise ValueError(f"unknown {kind} {choice!r}; known are {', '.join(map(repr, table))}")
    return table[choice]


def as_array(name: str, value: ArrayLike, dtype: DTypeLike | None = None) -> Array:
    """`value` as a JAX array of real numbers, cast to `dtype` where one is given."""
    if isinstance(value, (list, tuple)):
        raise TypeError(f"{name} must be an array, got a {type(value).__name__}; use jnp.asarray")
    try:
        array = value if isinstance(value, Array) else np.asarray(value)
        kind = array.dtype
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be an array, got {type(value).__name__}") from error
    if not (jnp.issubdtype(kind, jnp.floating) or jnp.issubdtype(kind, jnp.integer)):
        raise TypeError(f"{name} must hold real numbers, got dtype {kind}")
    return jnp.asarray(array, dtype)


def fails(array: Array, predicate: Callable[[Array], Array]) -> bool:
    """Whether a known value fails `predicate`; while JAX traces through it, a value is unknown."""
    if isinstance(array, jax.core.Tracer):
        return False
    with jax.ensure_compile_time_eval():
        return not bool(jnp.all(predicate(array)))


def check_finite(name: str, array: Array) -> None:
    """Raise unless every known value is finite, and say where the first bad one is."""
    if fails(array, jnp.isfinite):
        values = np.asarray(array)
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise ValueError(
            f"{name} must be finite, got {values[where]} at index {where}; "
            "remove, impute or rescale such entries first"
        )


def check_shape(name: str, array: Array, expected: tuple[int, ...], hint: str) -> None:
    """Raise unless the shape is exactly `expected`: nothing is ever broadcast silently."""
    if array.shape != expected:
        raise ValueError(f"{name} has shape {array.shape}, expected {expected}: {hint}")


def as_params(params: object) -> Params:
    """Parameters as a tuple of layers whose shapes chain, all of one floating dtype."""
    if not isinstance(params, Sequence) or isinstance(params, (str, bytes)) or not len(params):
        raise TypeError(
            "params must be a non-empty sequence of pairs (W, b), as fcnet.init(key, sizes) "
            f"returns, got {type(params).__name__}"
        )
    layers: list[Layer] = []
    for k, pair in enumerate(params):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"params[{k}] must be a pair (W, b), got {type(pair).__name__}")
        W, b = (
            as_array(f"params[{k}].{name}", leaf) for name, leaf in zip("Wb", pair, strict=True)
        )
        for name, leaf in (("W", W), ("b", b)):
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise TypeError(
                    f"params[{k}].{name} must be floating, got {leaf.dtype}: "
                    "integers have no gradient; cast with .astype(float)"
                )
            first = layers[0].W.dtype if layers else W.dtype
            if leaf.dtype != first:
                raise TypeError(
                    f"params[{k}].{name} is {leaf.dtype} but params[0].W is {first}: "
                    "all parameters must have one dtype"
                )
        if W.ndim != 2:
            raise ValueError(f"params[{k}].W has shape {W.shape}, expected (m_k, m_{{k-1}})")
        if layers and W.shape[1] != layers[-1].W.shape[0]:
            raise ValueError(
                f"params[{k}].W has shape {W.shape}, but the layer below has "
                f"{layers[-1].W.shape[0]} units: expected ({W.shape[0]}, {layers[-1].W.shape[0]})"
            )
        check_shape(f"params[{k}].b", b, W.shape[:1], "one bias for each row of W")
        layers.append(Layer(W, b))
    return tuple(layers)


def as_example(name: str, value: ArrayLike, width: int, dtype: DTypeLike) -> Array:
    """One example x, or one target y, of shape (width,): finite, in the parameters' dtype."""
    array = as_array(name, value)
    check_shape(
        name, array, (width,), "this function takes one example; jax.vmap it over the rows of many"
    )
    array = array.astype(dtype)
    check_finite(name, array)
    return array


def as_examples(name: str, value: ArrayLike, width: int, dtype: DTypeLike) -> Array:
    """Examples as the rows of a matrix of shape (n, width), n >= 1: finite, in `dtype`."""
    array = as_array(name, value)
    if array.ndim != 2 or array.shape[1] != width:
        fix = f"; write {name}[:, None]" if array.ndim == 1 and width == 1 else ""
        raise ValueError(
            f"{name} has shape {array.shape}, expected (n, {width}), one example in each row{fix}"
        )
    array = array.astype(dtype)
    check_finite(name, array)
    return array


def check_same_length(X: Array, Y: Array) -> int:
    """The number n >= 1 of examples, the same in X and in Y."""
    if X.ndim < 1 or Y.ndim < 1:
        raise ValueError(
            f"X has shape {X.shape} and Y has shape {Y.shape}, expected n examples along axis 0"
        )
    if X.shape[0] != Y.shape[0]:
        raise ValueError(
            f"X has {X.shape[0]} examples but Y has {Y.shape[0]}: expected one target each"
        )
    if not X.shape[0]:
        raise ValueError("X has no examples: expected n >= 1")
    return X.shape[0]


def as_count(name: str, value: object, least: int, most: int | None = None) -> int:
    """A whole number between `least` and `most`."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if count < least or (most is not None and count > most):
        limits = f"at least {least}" if most is None else f"between {least} and {most}"
        raise ValueError(f"{name} must be {limits}, got {count}")
    return count


def as_positive(name: str, value: ArrayLike) -> Array:
    """A positive finite number, such as a learning rate."""
    array = as_array(name, value)
    check_shape(name, array, (), "a single number")
    if fails(array, lambda value: (value > 0) & (value < jnp.inf)):
        raise ValueError(f"{name} must be positive and finite, got {float(array)}")
    return array


def check_key(key: object) -> None:
    """Raise unless `key` is a single random key, of the new kind or the old."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key):
        if shape == ():
            return
        raise ValueError(f"key must be a single key, got an array of keys of shape {shape}")
    if dtype == jnp.uint32 and shape == (2,):
        return
    raise TypeError(f"key must come from jax.random.key(seed), got {type(key).__name__}")

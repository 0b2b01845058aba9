"""Arrays of other libraries, value for value: NumPy, JAX, PyTorch, pandas, and lists of numbers.

One row for each library. PyTorch and pandas are never imported here: where there is a tensor or a
table, they have been.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

Span = tuple[int, int]
"""The first address of a piece of memory, and the one after its last."""


class ArrayLibrary(NamedTuple):
    """How to recognise, read, make and change the arrays of one library, and where they lie."""

    name: str
    owns: Callable[[Any], bool]
    dtype: Callable[[Any], np.dtype]
    read: Callable[[Any], np.ndarray]
    """The values in float64, exact, and a copy."""
    make: Callable[[np.ndarray, Any, np.dtype], Any]
    """An array like a given one, with these values and this dtype."""
    assign: Callable[[Any, np.ndarray], None] | None
    """Write new values into an array; None if such arrays cannot be changed."""
    memory: Callable[[Any], list[Span]]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number))


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple)) and bool(value)


def _is_numbers(value: Any) -> bool:
    """A number, a list of numbers, or a list of equally long lists of numbers."""
    rows = value if _is_list(value) and all(map(_is_list, value)) else [value]
    return _is_number(value) or all(
        _is_list(row) and len(row) == len(rows[0]) and all(map(_is_number, row)) for row in rows
    )


def _list_memory(value: Any) -> list[Span]:
    rows = [value, *value] if isinstance(value, (list, tuple)) else []
    return [(id(row), id(row) + 1) for row in rows if isinstance(row, list)]


def is_tensor(value: object) -> bool:
    """Whether a value is a tensor of PyTorch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _make_tensor(values: np.ndarray, like: Any, dtype: np.dtype) -> Any:
    torch: Any = sys.modules["torch"]
    tensor = like.new_tensor(values, dtype=getattr(torch, dtype.name))
    if isinstance(like, torch.nn.Parameter):  # a module takes nothing else in its place
        return torch.nn.Parameter(tensor, like.requires_grad)
    return tensor.requires_grad_(like.requires_grad)


def _assign_tensor(tensor: Any, values: np.ndarray) -> None:
    tensor.detach().copy_(tensor.new_tensor(values))


def _tensor_memory(tensor: Any) -> list[Span]:
    storage = tensor.untyped_storage()
    return [(storage.data_ptr(), storage.data_ptr() + storage.nbytes())]


def _is_frame(value: Any) -> bool:
    """Whether it is a DataFrame or a Series of pandas, of numbers."""
    pandas = sys.modules.get("pandas")
    known = pandas is not None and isinstance(value, (pandas.DataFrame, pandas.Series))
    return known and value.to_numpy().dtype.kind in "biuf"


def _make_frame(values: np.ndarray, like: Any, dtype: np.dtype) -> Any:
    """With the labels of `like` along the axes that are as long as its own."""
    labels = zip(("index", "columns"), like.axes, values.shape, strict=False)
    kept = {name: axis for name, axis, size in labels if len(axis) == size}
    return type(like)(values.astype(dtype), **kept)


def _assign_frame(frame: Any, values: np.ndarray) -> None:
    frame.iloc[:] = values


def _make_numpy(values: np.ndarray, like: Any, dtype: np.dtype) -> Any:
    array = values.astype(dtype)
    return array[()] if isinstance(like, np.generic) else array.view(type(like))  # np.matrix


def _assign_numpy(array: Any, values: np.ndarray) -> None:
    array[...] = values


def _assign_list(value: Any, values: np.ndarray) -> None:
    value[:] = values.astype(np.asarray(value).dtype).tolist()


ARRAY_LIBRARIES = (
    ArrayLibrary(
        "NumPy",
        lambda value: isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind not in "OUS",
        lambda array: array.dtype,
        lambda array: np.array(array, np.float64),
        _make_numpy,
        _assign_numpy,
        lambda array: [np.lib.array_utils.byte_bounds(array)] if np.ndim(array) else [],
    ),
    ArrayLibrary(
        "JAX",
        lambda value: isinstance(value, jax.Array),
        lambda array: array.dtype,
        lambda array: np.array(array, np.float64),
        lambda values, _, dtype: jnp.asarray(values.astype(dtype)),
        None,
        lambda array: [],
    ),
    ArrayLibrary(
        "PyTorch",
        is_tensor,
        lambda tensor: jnp.dtype(str(tensor.dtype).removeprefix("torch.")),
        lambda tensor: np.array(tensor.detach().cpu().double().numpy()),
        _make_tensor,
        _assign_tensor,
        _tensor_memory,
    ),
    ArrayLibrary(
        "pandas",
        _is_frame,
        lambda frame: frame.to_numpy().dtype,
        lambda frame: np.array(frame.to_numpy(), np.float64),
        _make_frame,
        _assign_frame,
        lambda frame: [],
    ),
    ArrayLibrary(
        "Python",
        _is_numbers,
        lambda value: np.asarray(value).dtype,
        lambda value: np.array(value, np.float64),
        lambda values, _, dtype: values.astype(dtype).tolist(),
        _assign_list,
        _list_memory,
    ),
)
"""The libraries whose arrays can be read. A value belongs to the first row that owns it."""


def is_array(value: object) -> bool:
    """Whether `value` is an array, a number or a rectangular list of numbers."""
    return _owner(value) is not None


def library_of(array: object) -> ArrayLibrary:
    """The library whose array this is; TypeError if it is none."""
    if owner := _owner(array):
        return owner
    raise TypeError(
        "expected an array of NumPy, JAX or PyTorch, or lists of numbers, "
        f"got {type(array).__name__}"
    )


def _owner(value: object) -> ArrayLibrary | None:
    for row in ARRAY_LIBRARIES:
        if row.owns(value):
            return row
    return None


def dtype_of(array: object) -> np.dtype:
    """The dtype of an array of any library, as NumPy (with ml_dtypes) knows it.

    >>> dtype_of([1.0, 2.0]), dtype_of(jnp.ones(2, "bfloat16"))
    (dtype('float64'), dtype(bfloat16))
    """
    return library_of(array).dtype(array)


def shape_of(array: Any) -> tuple[int, ...]:
    """The shape of an array of any library; () for a number."""
    return tuple(np.shape(array))


def is_floating(array: object) -> bool:
    """Whether an array holds floating-point numbers, so that it can have a gradient."""
    return bool(jnp.issubdtype(dtype_of(array), jnp.floating))


def with_floats(value: Any) -> Any:
    """Whole numbers of Python, alone or in lists, as floats; anything else as it is.

    >>> with_floats(0), with_floats([[1, 2]]), with_floats(None)
    (0.0, [[1.0, 2.0]], None)
    """
    row = next((row for row in ARRAY_LIBRARIES if row.owns(value)), None)
    if row is None or row.name != "Python" or row.dtype(value).kind != "i":
        return value
    return row.make(row.read(value), value, np.dtype(float))


def to_numpy(array: object) -> np.ndarray:
    """The values of an array of real numbers in float64: exact, and a copy.

    >>> to_numpy([[1, 2], [3, 4]])
    array([[1., 2.],
           [3., 4.]])
    """
    return library_of(array).read(array)


def like(values: np.ndarray, array: object, dtype: DTypeLike | None = None) -> Any:
    """A new array of the same library as `array`, with other values and maybe another shape.

    Args:
        values: float64; rounded to the dtype.
        array: determines the library and, unless `dtype` is given, the dtype.
        dtype: another dtype. JAX has float64 only inside `jax.enable_x64(True)`.

    >>> like(np.array([0.5, 2.0]), jnp.ones(3, "bfloat16"))
    Array([0.5, 2], dtype=bfloat16)
    """
    return library_of(array).make(values, array, jnp.dtype(dtype or dtype_of(array)))


def assign(array: object, values: np.ndarray) -> bool:
    """Write `values` into `array`; return False, and do nothing, if it cannot be changed."""
    row = library_of(array)
    if row.assign is None or isinstance(array, (np.generic, int, float, tuple)):
        return False
    row.assign(array, values)
    return True


def overlap(one: object, other: object) -> bool:
    """Whether a change to one array may change the other; never for arrays of JAX.

    >>> a = np.arange(4.0)
    >>> overlap(a[:2], a), overlap(a, a + 1)
    (True, False)
    """
    mine, theirs = library_of(one).memory(one), library_of(other).memory(other)
    return any(a < d and c < b for a, b in mine for c, d in theirs)


def unit_roundoff(dtype: DTypeLike) -> float:
    """u, the largest relative error of rounding to nearest in a floating dtype.

    >>> unit_roundoff("float32") == 2**-24
    True
    """
    return float(np.spacing(np.ones((), jnp.dtype(dtype)))) / 2


def coarsest_dtype(arrays: Iterable[object]) -> np.dtype:
    """The dtype with the largest unit roundoff among floating arrays of any library.

    >>> coarsest_dtype([1.0, jnp.ones(2, "bfloat16")])
    dtype(bfloat16)
    """
    return max(map(dtype_of, arrays), key=unit_roundoff)

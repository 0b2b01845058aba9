import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcnet.arrays import (
    assign,
    dtype_of,
    is_array,
    is_floating,
    library_of,
    like,
    overlap,
    shape_of,
    to_numpy,
    unit_roundoff,
)

DTYPES = ("float64", "float32", "float16", "bfloat16")
VALUES = np.array([[0.5, -2.0, 3.0], [0.0, 1.25, -0.125]])
"""Exact in every floating dtype."""


def examples(dtype: str) -> dict[str, object]:
    with jax.enable_x64(True):
        arrays: dict[str, object] = {
            "NumPy": VALUES.astype(jnp.dtype(dtype)),
            "JAX": jnp.asarray(VALUES, dtype),
        }
    if dtype == "float64":
        arrays["Python"] = VALUES.tolist()
    return arrays


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_come_out_and_go_back_exactly(dtype):
    for name, array in examples(dtype).items():
        assert library_of(array).name == name
        assert dtype_of(array) == jnp.dtype(dtype)
        assert is_floating(array)
        assert shape_of(array) == (2, 3)
        values = to_numpy(array)
        assert values.dtype == np.float64
        np.testing.assert_array_equal(values, VALUES)
        with jax.enable_x64(True):
            again = like(2 * values.T, array)
        assert library_of(again).name == name
        assert dtype_of(again) == jnp.dtype(dtype)
        np.testing.assert_array_equal(to_numpy(again), 2 * VALUES.T)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("grad", [False, True])
def test_tensors_of_pytorch(dtype, grad):
    torch = pytest.importorskip("torch", reason="PyTorch is a dependency of the tests only")
    tensor = torch.tensor(VALUES, dtype=getattr(torch, dtype), requires_grad=grad)
    assert library_of(tensor).name == "PyTorch"
    assert dtype_of(tensor) == jnp.dtype(dtype)
    np.testing.assert_array_equal(to_numpy(tensor), VALUES)
    again = like(VALUES + 1, tensor)
    assert again.dtype == tensor.dtype
    assert again.requires_grad == grad
    assert again.is_leaf
    np.testing.assert_array_equal(to_numpy(again), VALUES + 1)
    assert like(VALUES, tensor, "float64").dtype == torch.float64
    assert not overlap(tensor, again)
    assert overlap(tensor, tensor.detach()[1:])
    assert assign(again, 3 * VALUES)
    np.testing.assert_array_equal(to_numpy(again), 3 * VALUES)


def test_reading_copies():
    array = VALUES.copy()
    values = to_numpy(array)
    array += 1
    np.testing.assert_array_equal(values, VALUES)


def test_whole_numbers_keep_their_dtype():
    for labels in (np.array([0, 2, 1]), jnp.array([0, 2, 1]), [0, 2, 1]):
        assert not is_floating(labels)
        again = like(np.array([1.0, 1.0]), labels)
        assert dtype_of(again) == dtype_of(labels)
        assert type(again) is type(labels)


def test_numbers_stay_numbers():
    assert like(np.array(2.5), 1.0) == 2.5
    assert isinstance(like(np.array(2.0), 7), int)
    assert isinstance(like(np.array(2.0), np.float32(7)), np.float32)


@pytest.mark.parametrize(
    "value", [1.5, [1.5], [[1.5, 2], [0, 1]], (1.0, 2.0), [np.float32(1)], np.ones(3), jnp.ones(())]
)
def test_what_is_an_array(value):
    assert is_array(value)


@pytest.mark.parametrize(
    "value",
    [None, "ab", [], [[]], [[1.0], [1.0, 2.0]], [1.0, [2.0]], {}, [np.ones(2)], np.array(["a"])],
)
def test_what_is_no_array(value):
    assert not is_array(value)
    with pytest.raises(TypeError, match="expected an array of NumPy, JAX or PyTorch"):
        to_numpy(value)


def test_overlap_follows_memory():
    array = np.arange(12.0).reshape(3, 4)
    rows = [[1.0], [2.0]]
    assert overlap(array.T, array[1])
    assert not overlap(array[:1], array[1:])
    assert not overlap(array, array.copy())
    assert overlap(rows, [rows[0], [3.0]])
    assert not overlap(rows, [[1.0], [2.0]])
    assert not overlap(jnp.ones(2), jnp.ones(2))


def test_assign_only_where_arrays_change():
    array, rows = np.zeros((2, 3)), [[0.0] * 3] * 2
    assert assign(array, VALUES)
    assert assign(rows, VALUES)
    np.testing.assert_array_equal(array, VALUES)
    assert rows == VALUES.tolist()
    for fixed in (jnp.zeros((2, 3)), 1.0, np.float32(1), (1.0, 2.0)):
        before = to_numpy(fixed)
        assert not assign(fixed, np.full(shape_of(fixed), 5.0))
        np.testing.assert_array_equal(to_numpy(fixed), before)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_float32_round_trip(number):
    array = np.array([number], np.float32)
    assert like(to_numpy(array), array)[0] == array[0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_unit_roundoff_is_half_a_step(dtype):
    u, kind = unit_roundoff(dtype), jnp.dtype(dtype).type
    assert float(kind(1 + 2 * u)) == 1 + 2 * u
    assert float(kind(1 + 0.99 * u)) == 1


def test_bfloat16_is_that_of_ml_dtypes():
    assert dtype_of(jnp.ones(1, "bfloat16")) == np.dtype(ml_dtypes.bfloat16)

"""Random cases and central differences for the tests of the notes' models, and planted faults."""

import math
from collections.abc import Callable
from itertools import chain, pairwise
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from fcnet import Layer, Params


def assert_rejects(check: Callable[[Any], None], wrong: Any) -> None:
    """The check fails for a planted fault."""
    with pytest.raises(AssertionError):
        check(wrong)


def normals(key: Array, *shapes: tuple[int, ...]) -> list[Any]:
    """Independent normal numbers, of JAX's own dtype.

    They are NumPy's: JAX would compile for each shape, and for what a test computes from them.
    """
    seed = [*np.asarray(jax.random.key_data(key)).tolist(), *chain(*shapes)]
    rng = np.random.default_rng(seed)
    dtype = jax.dtypes.canonicalize_dtype(float)
    return [np.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def random_params(key: Array, sizes: tuple[int, ...]) -> Params:
    """Layers of the scale of `fcnet.init`, whose biases are not zero either."""
    shapes = [shape for m_below, m in pairwise(sizes) for shape in ((m, m_below), (m,))]
    leaves = normals(key, *shapes)
    return tuple(
        Layer(W * math.sqrt(2 / W.shape[1]), b)
        for W, b in zip(leaves[::2], leaves[1::2], strict=True)
    )


def random_case(key: Array, d: int = 3, m: int = 5) -> tuple[Params, Array, Array]:
    """A two-layer network, an example and a target: some units are active, some not, none tied."""
    for attempt in range(100):
        again = jax.random.fold_in(key, attempt)
        params = random_params(again, (d, m, 1))
        x, y = normals(again, (d,), ())
        z = params[0].W @ x + params[0].b
        o = params[1].W @ np.maximum(z, 0) + params[1].b
        mixed = m == 1 or ((z > 0).any() and (z < 0).any())
        if mixed and (z > 0).any() and abs(z).min() > 0.05 and abs(o - y).min() > 0.1:
            return params, x, y
    raise AssertionError("no case found")


def central_differences(f: Callable[[Any], Array], params: Any, step: float) -> Any:
    """(f(theta + h e_i) - f(theta - h e_i)) / 2h for each entry of each array."""
    flat, unflatten = jax.flatten_util.ravel_pytree(params)
    moves = step * jnp.eye(len(flat), dtype=flat.dtype)
    at = jax.jit(jax.vmap(lambda move: f(unflatten(flat + move))))
    return unflatten((at(moves) - at(-moves)) / (2 * step))

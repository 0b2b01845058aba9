"""Activations: each sigma beside its derivative sigma', one row a piece.

The notes' ReLU has ReLU'(0) = 1, from 1{z >= 0} in section 3.2 and Algorithm 4. JAX's own differ:
`jax.nn.relu` has 0 there, `jnp.maximum(z, 0)` has 1/2. So `relu` has a custom rule, and `jax.grad`
through it agrees with Algorithm 5 also where z is 0.
"""

from collections.abc import Sequence
from functools import lru_cache
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.stats import norm
from jaxtyping import Float

from fcnet.rows import check_result, look_up, pickle_by_name
from fcnet.types import Activation


@jax.custom_jvp
def relu(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """ReLU(z) = max(z, 0), entrywise (2.10), with ReLU'(0) = 1 as in the notes.

    Takes and returns an array of any shape and floating dtype; NaN stays NaN. The twin
    `jax.nn.relu` has the same values and ReLU'(0) = 0.

    >>> relu(jnp.array([-2.0, 0.0, 3.0])).tolist()
    [0.0, 0.0, 3.0]
    >>> jax.vmap(jax.grad(relu))(jnp.array([-2.0, 0.0, 3.0])).tolist()
    [0.0, 1.0, 1.0]
    """
    return jnp.maximum(z, 0)


@relu.defjvp
def _relu_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (z,), (dz,) = primals, tangents
    return relu(z), jnp.where(z >= 0, dz, jnp.zeros_like(dz))


def _relu_derivative(z: Array) -> Array:
    return (z >= 0).astype(z.dtype)


def _identity(z: Array) -> Array:
    return z


def _sigmoid_derivative(z: Array) -> Array:
    s = jax.nn.sigmoid(z)
    return s * (1 - s)


def _tanh_derivative(z: Array) -> Array:
    # 1 - tanh(z)^2, in the form that keeps its digits where tanh(z) is near 1
    t = jnp.tanh(z)
    return (1 + t) * (1 - t)


def _leaky_relu_derivative(z: Array) -> Array:
    return jnp.where(z >= 0, jnp.ones_like(z), jnp.full_like(z, 0.01))


def _gelu(z: Array) -> Array:
    return jax.nn.gelu(z, approximate=False)


def _gelu_derivative(z: Array) -> Array:
    return norm.cdf(z) + z * norm.pdf(z)


def _silu_derivative(z: Array) -> Array:
    s = jax.nn.sigmoid(z)
    return s * (1 + z * (1 - s))


def _elu_derivative(z: Array) -> Array:
    return jnp.exp(jnp.minimum(z, 0))


ACTIVATIONS = MappingProxyType(
    {
        row.name: row
        for row in (
            Activation("relu", relu, _relu_derivative),
            Activation("sigmoid", jax.nn.sigmoid, _sigmoid_derivative),
            Activation("tanh", jnp.tanh, _tanh_derivative),
            Activation("identity", _identity, jnp.ones_like),
            Activation("leaky_relu", jax.nn.leaky_relu, _leaky_relu_derivative),
            Activation("softplus", jax.nn.softplus, jax.nn.sigmoid),
            Activation("gelu", _gelu, _gelu_derivative),
            Activation("silu", jax.nn.silu, _silu_derivative),
            Activation("elu", jax.nn.elu, _elu_derivative),
        )
    }
)
"""The activations by name: (2.10), sigmoid (2.14) and tanh (2.15) in forms that do not overflow,
the identity of (2.16) to (2.20), and five more from the field."""


def get_activation(choice: str | Activation, kind: str = "activation") -> Activation:
    """The activation called `choice`, or `choice` itself; `kind` names the argument in errors.

    Raises ValueError for an unknown name, TypeError for anything that is no activation.

    >>> get_activation("tanh").derivative(jnp.array(0.0)).item()
    1.0
    """
    if isinstance(choice, str) and choice == "softmax":
        raise ValueError(
            f"softmax is no {kind}, which takes each number alone; "
            "the loss 'softmax_cross_entropy' contains it"
        )
    return look_up(kind, ACTIVATIONS, choice)


pickle_by_name(ACTIVATIONS, get_activation)


def check_activations(hidden: Activation, output: Activation, z: Sequence[Array]) -> None:
    """Raise unless sigma and sigma' of each layer keep the shape (m_k,) of its z^[k].

    >>> check_activations(ACTIVATIONS["relu"], Activation("sum", jnp.sum, jnp.ones_like),
    ...                   [jnp.ones(3), jnp.ones(2)])
    Traceback (most recent call last):
    ValueError: output_activation.function of 'sum', for vectors of shape (2,), must return an \
array of shape (2,), got shape ()
    """
    for vector in z[:-1]:
        _check_activation("activation", hidden, vector.size, vector.dtype)
    _check_activation("output_activation", output, z[-1].size, z[-1].dtype)


@lru_cache(maxsize=256)
def _check_activation(kind: str, row: Activation, m: int, dtype: np.dtype) -> None:
    z = jax.ShapeDtypeStruct((m,), dtype)  # type: ignore[no-untyped-call]
    check_result(kind, row, "function", (m,), z)
    check_result(kind, row, "derivative", (m,), z)

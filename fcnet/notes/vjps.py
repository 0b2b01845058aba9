"""The chain rule, and the two cases that make up backpropagation: affine maps and activations.

A rule takes the derivative of J with respect to an output and returns those with respect to the
inputs. This holds if J depends on the inputs through that output alone. If there are more paths,
their contributions add, as in (3.3).
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from fcnet.activations import get_activation
from fcnet.notes.arguments import as_arrays
from fcnet.types import Activation


def chain_rule(
    dJ_dg: Float[ArrayLike, " k"], dg_dtheta: Float[ArrayLike, "k p"]
) -> Float[Array, " p"]:
    """dJ/dtheta_i = sum_j dJ/dg_j dg_j/dtheta_i (3.3): each path from theta_i to J adds a term.

    Args:
        dJ_dg: the partials of J(g_1, ..., g_k) (3.2), shape (k,), floating.
        dg_dtheta: those of g_j(theta_1, ..., theta_p) (3.1), shape (k, p), one row for each g_j.

    Returns:
        The gradient of J with respect to theta, shape (p,). The twin is `jax.vjp`.

    Raises:
        ValueError, TypeError: for other shapes, integers or values that are not finite.

    With g = (t, t^2) and J = g_1 g_2 = t^3, at t = 2:

    >>> chain_rule(jnp.array([4.0, 2.0]), jnp.array([[1.0], [4.0]])).tolist()
    [12.0]
    """
    dJ_dg, dg_dtheta = as_arrays({"dJ_dg": (dJ_dg, "k"), "dg_dtheta": (dg_dtheta, "k p")}, {})
    return dg_dtheta.T @ dJ_dg


def affine_vjp(
    W: Float[ArrayLike, "m d"], u: Num[ArrayLike, " d"], dJ_dz: Num[ArrayLike, " m"]
) -> tuple[Float[Array, "m d"], Float[Array, " m"], Float[Array, " d"]]:
    """The chain rule for z = W u + b, J = J(z) (3.11): from dJ/dz to dJ/dW, dJ/db and dJ/du.

    Args:
        W: shape (m, d), floating; the result does not depend on b.
        u: shape (d,).
        dJ_dz: shape (m,).

    Returns:
        dJ/dW = dJ/dz u^T (3.13), dJ/db = dJ/dz (3.14) and dJ/du = W^T dJ/dz (3.12), each of the
        shape of its variable. The twin is `jax.vjp(lambda W, b, u: W @ u + b, W, b, u)[1](dJ_dz)`.

    Raises:
        ValueError, TypeError: for other shapes, integer W or values that are not finite.

    >>> W, u = jnp.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), jnp.array([1.0, 0.0, -1.0])
    >>> dW, db, du = affine_vjp(W, u, jnp.array([1.0, 10.0]))
    >>> dW.tolist(), db.tolist(), du.tolist()
    ([[1.0, 0.0, -1.0], [10.0, 0.0, -10.0]], [1.0, 10.0], [41.0, 52.0, 63.0])
    """
    W, u, dJ_dz = as_arrays({"W": (W, "m d")}, {"u": (u, "d"), "dJ_dz": (dJ_dz, "m")})
    return jnp.outer(dJ_dz, u), dJ_dz, W.T @ dJ_dz


def activation_vjp(
    z: Float[ArrayLike, " m"],
    dJ_da: Num[ArrayLike, " m"],
    *,
    activation: str | Activation = "relu",
) -> Float[Array, " m"]:
    """The chain rule for a = sigma(z), J = J(a): dJ/dz = dJ/da * sigma'(z), entrywise (3.15).

    sigma' is taken at z, not at a.

    Args:
        z: shape (m,), floating.
        dJ_da: shape (m,).
        activation: sigma, a name or an `Activation`.

    Raises:
        ValueError, TypeError: for other shapes, integer z, values that are not finite, or an
            unknown activation.

    >>> activation_vjp(jnp.array([-1.0, 0.0, 2.0]), jnp.array([5.0, 6.0, 7.0])).tolist()
    [0.0, 6.0, 7.0]
    """
    sigma = get_activation(activation)
    z, dJ_da = as_arrays({"z": (z, "m")}, {"dJ_da": (dJ_da, "m")})
    return dJ_da * sigma.derivative(z)

"""The models of section 1: one that is linear in theta, and one that is not, from footnote 1."""

from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from fcnet.notes.arguments import as_arrays


def linear_model(theta: Float[ArrayLike, " d"], x: Num[ArrayLike, " d"]) -> Float[Array, ""]:
    """h_theta(x) = theta^T x, the first model of section 1: linear in theta and in x.

    With a feature map phi it is `linear_model(theta, phi(x))`. For logistic regression, which the
    notes list beside it, this is the logit; the hypothesis is its sigmoid, and not linear.

    Args:
        theta: shape (d,), floating.
        x: one example, or its features, shape (d,).

    Raises:
        ValueError, TypeError: for other shapes, integer parameters or values that are not finite.

    >>> import jax.numpy as jnp
    >>> linear_model(jnp.array([1.0, -2.0]), jnp.array([5.0, 3.0])).item()
    -1.0
    """
    theta, x = as_arrays({"theta": (theta, "d")}, {"x": (x, "d")})
    return theta @ x


def toy_quadratic(theta: Float[ArrayLike, " d"], x: Num[ArrayLike, " d"]) -> Float[Array, ""]:
    """h_theta(x) = theta_1^2 x_1^2 + ... + theta_d^2 x_d^2, the model of Footnote 1.

    Arguments and errors as for `linear_model`.

    >>> import jax.numpy as jnp
    >>> toy_quadratic(jnp.array([1.0, -2.0]), jnp.array([5.0, 3.0])).item()
    61.0
    """
    theta, x = as_arrays({"theta": (theta, "d")}, {"x": (x, "d")})
    return theta**2 @ x**2


def toy_quadratic_gradient(
    theta: Float[ArrayLike, " d"], X: Num[ArrayLike, "n d"], Y: Num[ArrayLike, " n"]
) -> Float[Array, " d"]:
    """The gradient of the mean cost of Footnote 1's model: mean of (h - y) 2 theta_i x_i^2.

    It has the signature that `fcnet.sgd` and the other descents expect of a gradient, so the model
    trains with the same code as a network: `fcnet.sgd(theta, X, Y,
    gradient=toy_quadratic_gradient, ...)`. A coordinate of theta that is 0 has gradient 0, and
    stays 0.

    Args:
        theta: shape (d,), floating.
        X: examples in rows, shape (n, d), n >= 1.
        Y: targets, shape (n,).

    Raises:
        ValueError, TypeError: for other shapes, no examples, integer parameters or values that are
            not finite.

    >>> import jax.numpy as jnp
    >>> X, Y = jnp.array([[5.0, 3.0], [1.0, 0.0]]), jnp.array([60.0, 1.0])
    >>> toy_quadratic_gradient(jnp.array([1.0, -2.0]), X, Y).tolist()
    [25.0, -18.0]
    """
    theta, X, Y = as_arrays({"theta": (theta, "d")}, {"X": (X, "n d"), "Y": (Y, "n")})
    squares = X**2
    residual = squares @ theta**2 - Y
    return 2 * theta * (residual @ squares) / len(Y)

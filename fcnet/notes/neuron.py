"""The single neuron: figure 1's kink, its loss, and its gradient by the chain rule."""

from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from fcnet.activations import ACTIVATIONS, relu
from fcnet.notes.arguments import as_arrays


def kink(
    w: Float[ArrayLike, ""], b: Float[ArrayLike, ""], x: Num[ArrayLike, ""]
) -> Float[Array, ""]:
    """h_theta(x) = max(w x + b, 0), theta = (w, b) in R^2 (2.1): the kinked line of Figure 1.

    For w > 0 it is 0 up to x = -b / w, and has slope w above.

    Args:
        w, b: slope and intercept, numbers, floating.
        x: one example, a number; `jax.vmap(kink, in_axes=(None, None, 0))` draws the graph.

    Raises:
        ValueError, TypeError: for other shapes, integer parameters or values that are not finite.

    >>> kink(2.0, -6.0, 5).item(), kink(2.0, -6.0, 1).item()
    (4.0, 0.0)
    """
    w, b, x = as_arrays({"w": (w, ""), "b": (b, "")}, {"x": (x, "")})
    return relu(w * x + b)


def one_neuron(
    w: Float[ArrayLike, " d"], b: Float[ArrayLike, ""], x: Num[ArrayLike, " d"]
) -> Float[Array, ""]:
    """h_theta(x) = ReLU(w^T x + b), theta = (w, b) (2.2): a single neuron with d inputs.

    It equals `fcnet.forward` with r = 1 and `output_activation="relu"`; by default, the only layer
    has no ReLU there.

    Args:
        w: the weight vector, shape (d,), floating.
        b: the bias, a number.
        x: one example, shape (d,).

    Raises:
        ValueError, TypeError: for other shapes, integer parameters or values that are not finite.

    >>> import jax.numpy as jnp
    >>> one_neuron(jnp.array([1.0, -2.0]), 4.0, jnp.array([3.0, 1.0])).item()
    5.0
    """
    w, b, x = as_arrays({"w": (w, "d"), "b": (b, "")}, {"x": (x, "d")})
    return relu(w @ x + b)


def one_neuron_loss(
    w: Float[ArrayLike, " d"],
    b: Float[ArrayLike, ""],
    x: Num[ArrayLike, " d"],
    y: Num[ArrayLike, ""],
) -> Float[Array, ""]:
    """J = (y - o)^2 / 2 (3.6) of o = ReLU(z) (3.5), z = w^T x + b (3.4), for one example.

    Args:
        w, b, x: as in `one_neuron`.
        y: the target, a number.

    Raises:
        ValueError, TypeError: as `one_neuron`.

    >>> import jax.numpy as jnp
    >>> one_neuron_loss(jnp.array([1.0, -2.0]), 4.0, jnp.array([3.0, 1.0]), 3.0).item()
    2.0
    """
    w, b, x, y = as_arrays(
        {"w": (w, "d"), "b": (b, "")},
        {"x": (x, "d"), "y": (y, "")},
    )
    z = w @ x + b
    o = relu(z)
    return (y - o) ** 2 / 2


def one_neuron_gradients(
    w: Float[ArrayLike, " d"],
    b: Float[ArrayLike, ""],
    x: Num[ArrayLike, " d"],
    y: Num[ArrayLike, ""],
) -> tuple[Float[Array, " d"], Float[Array, ""]]:
    """The gradient of `one_neuron_loss` with respect to w and b, a product of local factors (3.7).

    dJ/dw = dJ/do do/dz dz/dw = (o - y) 1{z >= 0} x, and dJ/db = (o - y) 1{z >= 0}.

    Arguments and errors as for `one_neuron_loss`.

    Returns:
        dJ/dw, shape (d,), and dJ/db, a number. Where z = 0 the neuron counts as active.

    >>> import jax.numpy as jnp
    >>> dw, db = one_neuron_gradients(jnp.array([1.0, -2.0]), 4.0, jnp.array([3.0, 1.0]), 3.0)
    >>> dw.tolist(), db.item()
    ([6.0, 2.0], 2.0)
    """
    w, b, x, y = as_arrays(
        {"w": (w, "d"), "b": (b, "")},
        {"x": (x, "d"), "y": (y, "")},
    )
    z = w @ x + b
    dJ_do = relu(z) - y
    do_dz = ACTIVATIONS["relu"].derivative(z)
    dz_dw, dz_db = x, 1
    return dJ_do * do_dz * dz_dw, dJ_do * do_dz * dz_db

"""Backpropagation through two layers: one partial at a time, in scalars, and in vectors.

Three ways to compute the same gradient. The first computes each partial derivative separately; the
other two compute what the partials share only once, which is backpropagation.
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from fcnet.activations import ACTIVATIONS, relu
from fcnet.notes.arguments import as_arrays
from fcnet.notes.two_layer_network import affine_loop, as_two_layers, two_layer
from fcnet.types import Layer, Pairs, Params

_indicator = ACTIVATIONS["relu"].derivative  # 1{z >= 0}


def two_layer_loss(
    params: Pairs, x: Num[ArrayLike, " d"], y: Num[ArrayLike, ""]
) -> Float[Array, ""]:
    """J = (y - o)^2 / 2 of the two-layer network's output o, for one example (3.8).

    Args:
        params: two layers of sizes (d, m, 1).
        x: one example, shape (d,).
        y: its target, a number.

    Raises:
        ValueError, TypeError: for other layers or shapes, or values that are not finite.

    >>> params = (Layer(jnp.array([[1.0, -1.0], [2.0, 0.0]]), jnp.array([0.0, 1.0])),
    ...           Layer(jnp.array([[3.0, 4.0]]), jnp.array([5.0])))
    >>> two_layer_loss(params, jnp.array([1.0, 2.0]), 15.0).item()
    2.0
    """
    first, second, x, y = _checked(params, x, y)
    o = two_layer((first, second), x)
    return (y - o) ** 2 / 2


def naive_two_layer_gradient(
    params: Pairs, x: Num[ArrayLike, " d"], y: Num[ArrayLike, ""]
) -> Params:
    """The gradient of `two_layer_loss`, each partial separately, by the formula of section 3.3.

    dJ/d(w_j^[1])_i = (o - y) (w^[2])_j 1{z_j >= 0} x_i and dJ/d(w^[2])_j = (o - y) a_j, each with
    its own forward pass. This takes p forward passes for p parameters, about (md)^2 operations,
    where Algorithms 3 and 4 take about md. It is for comparison, not for use.

    Arguments and errors as for `two_layer_loss`; result as for `backprop_two_layer`.

    >>> params = (Layer(jnp.array([[1.0, -1.0], [2.0, 0.0]]), jnp.array([0.0, 1.0])),
    ...           Layer(jnp.array([[3.0, 4.0]]), jnp.array([5.0])))
    >>> naive_two_layer_gradient(params, jnp.array([1.0, 2.0]), 15.0)[0].W.tolist()
    [[0.0, 0.0], [8.0, 16.0]]
    """
    (W1, b1), (W2, b2), x, y = _checked(params, x, y)
    m, d = W1.shape

    def forward() -> tuple[Array, Array, Array]:
        z = W1 @ x + b1
        a = relu(z)
        return z, a, (W2 @ a + b2)[0]

    def partial_w1(j: int, i: int) -> Array:
        z, _, o = forward()
        return (o - y) * W2[0, j] * _indicator(z[j]) * x[i]

    def partial_b1(j: int) -> Array:
        z, _, o = forward()
        return (o - y) * W2[0, j] * _indicator(z[j])

    def partial_w2(j: int) -> Array:
        _, a, o = forward()
        return (o - y) * a[j]

    def partial_b2() -> Array:
        _, _, o = forward()
        return o - y

    return (
        Layer(
            W=jnp.array([[partial_w1(j, i) for i in range(d)] for j in range(m)]),
            b=jnp.array([partial_b1(j) for j in range(m)]),
        ),
        Layer(
            W=jnp.array([[partial_w2(j) for j in range(m)]]),
            b=jnp.array([partial_b2()]),
        ),
    )


def backprop_two_layer_scalars(
    params: Pairs, x: Num[ArrayLike, " d"], y: Num[ArrayLike, ""]
) -> Params:
    """Algorithm 3: the gradient of `two_layer_loss`, from scalars that the partials share (3.9).

    Arguments and errors as for `two_layer_loss`; result as for `backprop_two_layer`.

    >>> params = (Layer(jnp.array([[1.0, -1.0], [2.0, 0.0]]), jnp.array([0.0, 1.0])),
    ...           Layer(jnp.array([[3.0, 4.0]]), jnp.array([5.0])))
    >>> backprop_two_layer_scalars(params, jnp.array([1.0, 2.0]), 15.0)[0].W.tolist()
    [[0.0, 0.0], [8.0, 16.0]]
    """
    (W1, b1), (W2, b2), x, y = _checked(params, x, y)
    m, d = W1.shape
    z = affine_loop(W1, b1, x)
    a = relu(z)
    o = affine_loop(W2, b2, a)[0]
    dJ_do = o - y
    dJ_dz = [dJ_do * W2[0, j] * _indicator(z[j]) for j in range(m)]
    return (
        Layer(
            W=jnp.array([[dJ_dz[j] * x[i] for i in range(d)] for j in range(m)]),
            b=jnp.array(dJ_dz),
        ),
        Layer(W=jnp.array([[dJ_do * a[j] for j in range(m)]]), b=jnp.array([dJ_do])),
    )


def backprop_two_layer(params: Pairs, x: Num[ArrayLike, " d"], y: Num[ArrayLike, ""]) -> Params:
    """Algorithm 4: the gradient of `two_layer_loss` in vectors.

    With delta^[2] = dJ/do = o - y and delta^[1] = dJ/dz = (W^[2]^T delta^[2]) * 1{z >= 0} (3.10),
    dJ/dW^[2] = delta^[2] a^T and dJ/dW^[1] = delta^[1] x^T. The derivatives with respect to b^[1]
    and b^[2] are the deltas themselves. `fcnet.backprop` with r = 2 is the same.

    Args:
        params: two layers of sizes (d, m, 1).
        x: one example, shape (d,).
        y: its target, a number.

    Returns:
        Two layers of the shapes and the dtype of `params`: J is real, so each derivative of it has
        the shape of its variable (Footnote 5, Footnote 6).

    Raises:
        ValueError, TypeError: for other layers or shapes, or values that are not finite.

    >>> params = (Layer(jnp.array([[1.0, -1.0], [2.0, 0.0]]), jnp.array([0.0, 1.0])),
    ...           Layer(jnp.array([[3.0, 4.0]]), jnp.array([5.0])))
    >>> gradient = backprop_two_layer(params, jnp.array([1.0, 2.0]), 15.0)
    >>> gradient[0].W.tolist(), gradient[0].b.tolist()
    ([[0.0, 0.0], [8.0, 16.0]], [0.0, 8.0])
    >>> gradient[1].W.tolist(), gradient[1].b.tolist()
    ([[0.0, 6.0]], [2.0])
    """
    (W1, b1), (W2, b2), x, y = _checked(params, x, y)
    z = W1 @ x + b1
    a = relu(z)
    o = W2 @ a + b2
    delta2 = o - y
    delta1 = (W2.T @ delta2) * _indicator(z)
    return Layer(jnp.outer(delta1, x), delta1), Layer(jnp.outer(delta2, a), delta2)


def _checked(params: Pairs, x: ArrayLike, y: ArrayLike) -> tuple[Layer, Layer, Array, Array]:
    first, second = as_two_layers(params)
    _, x, y = as_arrays({"params[0].W": (first.W, "m d")}, {"x": (x, "d"), "y": (y, "")})
    return first, second, x, y

"""Algorithm 5: backpropagation by hand, for one example and for a batch.

This file uses no `jax.grad`, `jax.vjp` or `jax.jvp`. `fcnet.verify` compares it with autodiff.
"""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from fcnet.activations import check_activations
from fcnet.checks import as_example, as_params, as_trace, as_vectors, check_widths
from fcnet.losses import as_batch, as_objective, as_shares, check_labels, sum_dtype
from fcnet.network import forward_trace
from fcnet.types import Activation, Layer, Loss, Pairs, Params, Trace

P = TypeVar("P", bound=Pairs)
"""Parameters in the caller's own structure: the gradient comes in it too."""

SMALL = 4096
"""Up to this size, writing out a transpose saves more time in the product than it costs."""


def deltas(
    params: Pairs,
    trace: Trace,
    y: Num[ArrayLike, " m_r"],
    *,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
    loss: str | Loss = "squared_error",
) -> tuple[Float[Array, " _"], ...]:
    """Lines 2 to 4 of Algorithm 5: delta^[k] = dJ/dz^[k] (3.16) of one example, for k = 1..r.

    delta^[r] = dJ/do * sigma_r'(z^[r]), which is o - y for the squared error and a linear output;
    then delta^[k] = (W^[k+1]^T delta^[k+1]) * sigma'(z^[k]) for k = r-1..1, by (3.12) and (3.15).

    Args:
        params: r layers.
        trace: what `forward_trace` returned for them.
        y: the target, shape (m_r,).
        activation, output_activation, loss: as for the trace, and as in `example_loss`.

    Returns:
        r arrays, delta^[1] of shape (m_1,) first.

    Raises:
        ValueError, TypeError: as `example_loss`, and for a trace of another network.

    >>> params = (Layer(jnp.array([[1.0, -1.0], [2.0, 0.0]]), jnp.array([0.0, 1.0])),
    ...           Layer(jnp.array([[3.0, 4.0]]), jnp.array([5.0])))
    >>> trace = forward_trace(params, jnp.array([1.0, 2.0]))
    >>> [delta.tolist() for delta in deltas(params, trace, jnp.array([15.0]))]
    [[0.0, 8.0], [2.0]]
    """
    sigma, sigma_r, J = as_objective(activation, output_activation, loss)
    layers, trace = as_params(params), as_trace(trace)
    check_widths("trace.z", trace.z, [b.shape for _, b in layers], "one z^[k] for each layer")
    target = as_example("y", y, layers[-1].W.shape[0], layers[-1].W.dtype)
    check_activations(sigma, sigma_r, trace.z)
    check_labels("y", target, J)
    delta = J.derivative(trace.a[-1], target) * sigma_r.derivative(trace.z[-1])
    result = [delta]
    for (W_above, _), z in zip(reversed(layers[1:]), reversed(trace.z[:-1]), strict=True):
        delta = (W_above.T @ delta) * sigma.derivative(z)
        result.append(delta)
    return tuple(reversed(result))


def gradients(delta: tuple[Float[Array, " _"], ...], trace: Trace) -> Params:
    """Line 5 of Algorithm 5: dJ/dW^[k] = delta^[k] a^[k-1]^T and dJ/db^[k] = delta^[k], k = 1..r.

    By (3.13) and (3.14). The printed loop stops at layer 2; k = 1, with a^[0] = x, belongs to it.

    Args:
        delta: delta^[1..r] of one example, from `deltas`.
        trace: the same example's, from `forward_trace`.

    Returns:
        r layers, in the shapes of the parameters.

    Raises:
        ValueError, TypeError: for deltas that do not fit the trace.

    >>> params = (Layer(jnp.array([[1.0, -1.0]]), jnp.array([0.0])),)
    >>> trace = forward_trace(params, jnp.array([3.0, 4.0]))
    >>> gradients((jnp.array([2.0]),), trace)[0].W.tolist()
    [[6.0, 8.0]]
    """
    delta, trace = as_vectors("delta", delta), as_trace(trace)
    check_widths(
        "delta", delta, [z.shape for z in trace.z], "one delta^[k] for each z^[k] of the trace"
    )
    return tuple(
        Layer(W=jnp.outer(d, a_below), b=d) for d, a_below in zip(delta, trace.a[:-1], strict=True)
    )


def backprop(
    params: P,
    x: Num[ArrayLike, " d"],
    y: Num[ArrayLike, " m_r"],
    *,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
    loss: str | Loss = "squared_error",
) -> P:
    """Algorithm 5: the gradient of `example_loss` with respect to every W^[k] and b^[k].

    Same as `jax.grad(example_loss)(params, x, y)` up to rounding, but by hand: the forward pass of
    line 1, the deltas of lines 2 to 4, the gradients of line 5. Two misprints of the notes are
    corrected: line 2 is (z^[r] - y), and line 5 also runs for layer 1.

    Args:
        params: r layers, r >= 1.
        x: one example, shape (d,).
        y: its target, shape (m_r,).
        activation, output_activation, loss: as in `example_loss`.

    Returns:
        The gradient, with the structure, shapes and dtype of `params`.

    Raises:
        ValueError, TypeError: as `example_loss`.

    >>> params = (Layer(jnp.array([[1.0, -1.0], [2.0, 0.0]]), jnp.array([0.0, 1.0])),
    ...           Layer(jnp.array([[3.0, 4.0]]), jnp.array([5.0])))
    >>> gradient = backprop(params, jnp.array([1.0, 2.0]), jnp.array([15.0]))
    >>> gradient[0].W.tolist(), gradient[0].b.tolist()
    ([[0.0, 0.0], [8.0, 16.0]], [0.0, 8.0])
    >>> gradient[1].W.tolist(), gradient[1].b.tolist()
    ([[0.0, 6.0]], [2.0])
    """
    objective = as_objective(activation, output_activation, loss)
    trace = forward_trace(params, x, **objective.sigmas)
    delta = deltas(params, trace, y, **objective.keywords)
    return _like(params, gradients(delta, trace))


def batch_backprop(
    params: P,
    X: Num[ArrayLike, "n d"],
    Y: Num[ArrayLike, "n m_r"],
    *,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
    loss: str | Loss = "squared_error",
    weights: Num[ArrayLike, " n"] | None = None,
) -> P:
    """The gradient of `mean_loss`: Algorithm 5 for every row, then one contraction a layer.

    The mean over examples of `backprop`, without forming each example's outer product. The rows of
    D are the deltas of all examples, those of A the activations below. Then dJ/dW = D^T A / n, and
    dJ/db is the mean of the rows of D (section 4, backward).

    Args:
        params: r layers.
        X: examples, shape (n, d), n >= 1.
        Y: targets, shape (n, m_r).
        activation, output_activation, loss, weights: as in `mean_loss`.

    Returns:
        The gradient, with the structure, shapes and dtype of `params`.

    Raises:
        ValueError, TypeError: as `mean_loss`.

    >>> params = (Layer(jnp.array([[2.0]]), jnp.array([1.0])),)
    >>> batch_backprop(params, jnp.array([[3.0], [0.0]]), jnp.array([[4.0], [1.0]]))[0].W.tolist()
    [[4.5]]
    """
    objective = as_objective(activation, output_activation, loss)
    layers = as_params(params)
    X, Y = as_batch(params, X, Y, objective.loss)
    traces = jax.vmap(lambda x: forward_trace(layers, x, **objective.sigmas))(X)
    D = jax.vmap(lambda trace, y: deltas(layers, trace, y, **objective.keywords))(traces, Y)
    n: int | Array = len(X)
    if weights is not None:
        share = as_shares(weights, len(X), X.dtype)
        largest = jnp.where(share.any(), share.max(), 1)
        relative = (share / largest).astype(X.dtype)  # at most 1, so that no product overflows
        D = tuple(relative[:, None] * delta for delta in D)
        n = 1 / largest
    kind = sum_dtype(X.dtype)
    gradient = tuple(
        Layer(
            W=jnp.matmul(_transposed(delta), a_below, preferred_element_type=kind) / n,
            b=delta.sum(0, dtype=kind) / n,
        )
        for delta, a_below in zip(D, traces.a[:-1], strict=True)
    )
    return _like(params, jax.tree.map(lambda leaf: leaf.astype(X.dtype), gradient))


def _transposed(D: Array) -> Array:
    """D^T, written out if it is small: XLA's CPU compiler then uses a faster matrix product."""
    if D.size > SMALL:
        return D.T
    transposed: Array = lax.optimization_barrier(D.T)  # type: ignore[no-untyped-call]
    return transposed


def _like(params: Pairs, gradient: Params) -> Any:
    """The gradient in the caller's own structure, be it lists or tuples of pairs."""
    return jax.tree.unflatten(jax.tree.structure(params), jax.tree.leaves(gradient))

"""The judge: loss, trace, deltas and gradient of a case by reverse-mode autodiff in float64.

Nothing is by hand but the forward pass (2.12), and of the tables of activations and losses only
`function` and `value` are trusted, never `derivative`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from fcnet.types import Activation, Layer, Params, Trace
from fcnet.verify.rounding import KAPPA, sample_count, spread
from fcnet.verify.types import Case, Problem, Reference

CONVENTIONS = (0.0, 0.5, 1.0)
"""The values of ReLU'(0) in use: in `jax.nn.relu` and PyTorch, in `jnp.maximum(z, 0)`, and here."""


class Slopes(NamedTuple):
    """The one-sided derivatives of an activation at 0: 0 and 1 for ReLU, and equal where smooth."""

    left: float
    right: float

    def at(self, convention: float | Array) -> float | Array:
        """The derivative at 0 by a convention, which is 0 for the left one and 1 for the right."""
        return self.left + convention * (self.right - self.left)


def reference(
    problem: Problem, case: Case, u: float, rows: int | None = None, *, tiny: float = 0.0
) -> Reference:
    """What a correct candidate that rounds to unit roundoff u may return for a case.

    Reverse-mode autodiff in float64, whatever JAX's global flags. Where an activation has a kink at
    0 its derivative there is the right one; `by_convention` has the gradient for each c of
    `CONVENTIONS`, with left + c (right - left), if any unit of the case is at the kink.

    Args:
        problem: the network's activations, its loss, and the reduction over examples.
        case: parameters and examples, float64.
        u: the unit roundoff of the candidate's precision, `precision_of(dtype).u`.
        rows: a number of rows, at least n, to which X and Y are filled up with rows of weight 0, so
            that cases with different n share one compiled program; n by default.
        tiny: what an underflow may lose in that precision, `precision_of(dtype).tiny`.

    Returns:
        The reference, NumPy arrays of float64.
    """
    n = len(case.X)
    row = np.arange(max(n, rows or n))
    weights = np.where(row < n, 1 / n if problem.reduction == "mean" else 1.0, 0.0)
    filled = np.minimum(row, n - 1)
    inputs = (case.params, case.X[filled], case.Y[filled], weights)
    samples = sample_count(sum(leaf.size for leaf in jax.tree.leaves(case.params)))
    with float64():
        judged = jax.tree.map(np.asarray, _judge(problem)(*inputs, tiny / u, samples=samples))
        kinks = tuple(
            (abs(z) <= KAPPA * u * spread_of_z) & has_kink(sigma)
            for z, spread_of_z, sigma in zip(
                judged.z, judged.z_sigma, _sigmas(problem, case.params), strict=True
            )
        )
        zero = jax.tree.map(lambda leaf: np.broadcast_to(0.0, leaf.shape), judged.gradient)
        choices, slack = {}, zero
        if any(kink[:n].any() for kink in kinks):
            gradients, slack = jax.tree.map(np.asarray, _choices(problem)(*inputs, kinks))
            choices = {
                c: jax.tree.map(lambda leaf, i=i: leaf[i], gradients)
                for i, c in enumerate(CONVENTIONS)
            }
    return Reference(
        loss=float(judged.loss),
        loss_tolerance=KAPPA * u * float(judged.loss_sigma),
        trace=Trace(*(tuple(x[:n] for x in part) for part in (judged.a, judged.z))),
        deltas=tuple(delta[:n] for delta in judged.deltas),
        kinks=tuple(kink[:n] for kink in kinks),
        gradient=judged.gradient,
        by_convention=choices,
        slack=slack,
        tolerance=jax.tree.map(lambda sigma: KAPPA * u * sigma, judged.gradient_sigma),
    )


@contextmanager
def float64() -> Iterator[None]:
    """Double precision, and exact matrix products on accelerators, inside the block only."""
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        yield


class _Judged(NamedTuple):
    loss: Float[Array, ""]
    gradient: Params
    z: tuple[Float[Array, "n m_k"], ...]
    loss_sigma: Float[Array, ""]
    gradient_sigma: Params
    z_sigma: tuple[Float[Array, "n m_k"], ...]
    a: tuple[Float[Array, "n m_k"], ...]
    deltas: tuple[Float[Array, "n m_k"], ...]


@lru_cache(maxsize=32)
def _judge(problem: Problem) -> Any:
    @partial(jax.jit, static_argnames="samples")
    def judge(
        params: Params, X: Array, Y: Array, weights: Array, floor: Array, *, samples: int
    ) -> _Judged:
        def rounded(params: Params, X: Array, Y: Array, weights: Array) -> Any:
            (loss, trace), gradient = _gradient(problem, params, X, Y, weights)
            return loss, gradient, trace.z

        def total(biases: list[Array]) -> tuple[Array, Trace]:
            losses, trace = _losses(problem, [W for W, _ in params], biases, X, Y)
            return losses.sum(), trace

        value, sigma = spread(rounded, params, X, Y, weights, samples=samples, floor=floor)
        # An example's own bias reaches its loss through its own z only: its gradient is delta.
        biases = [jnp.broadcast_to(b, (len(X), len(b))) for _, b in params]
        deltas, trace = jax.grad(total, has_aux=True)(biases)
        known = (*value, *sigma, trace.a, tuple(deltas))
        return _Judged._make(known)

    return judge


@lru_cache(maxsize=32)
def _choices(problem: Problem) -> Any:
    """With units at a kink: the gradient by each convention, and what any choice can add."""

    @jax.jit
    def choices(
        params: Params, X: Array, Y: Array, weights: Array, kinks: Any
    ) -> tuple[Params, Params]:
        def by_convention(c: Array) -> Params:
            return _gradient(problem, params, X, Y, weights, kinks, c)[1]

        gradients = jax.lax.map(by_convention, jnp.array(CONVENTIONS))
        return gradients, _slack(problem, params, X, Y, weights, kinks)

    return choices


def _gradient(
    problem: Problem, params: Params, X: Array, Y: Array, weights: Array, *choice: Any
) -> tuple[tuple[Array, Trace], Params]:
    """The loss of the batch with the trace, and the gradient."""

    def loss(params: Params) -> tuple[Array, Trace]:
        losses, trace = _losses(
            problem, [W for W, _ in params], [b for _, b in params], X, Y, *choice
        )
        return weights @ losses, trace

    return jax.value_and_grad(loss, has_aux=True)(params)


def _losses(
    problem: Problem,
    weights: list[Array],
    biases: list[Array],
    X: Float[Array, "n d"],
    Y: Float[Array, "n m_r"],
    kinks: Any = None,
    convention: float | Array = 1.0,
) -> tuple[Float[Array, " n"], Trace]:
    """The loss of each example, and the trace of all, in rows.

    A bias may be each example's own, (n, m_k). The derivative at a kink is by `convention`, where
    `kinks` marks units, or else where z is 0.
    """
    a, z = [X], []
    for k, sigma in enumerate(_sigmas(problem, weights)):
        z.append(a[-1] @ weights[k].T + biases[k])
        if has_kink(sigma):
            kink = z[-1] == 0 if kinks is None else kinks[k]
            a.append(_kinked(sigma.function, z[-1], kink, one_sided(sigma).at(convention)))
        else:
            a.append(sigma.function(z[-1]))
    return jax.vmap(problem.loss.value)(a[-1], Y), Trace(tuple(a), tuple(z))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _kinked(function: Any, z: Array, kink: Bool[Array, "..."], slope: float | Array) -> Array:
    """`function(z)`, whose derivative is `slope` where `kink` says so."""
    return function(z)


@_kinked.defjvp
def _kinked_jvp(function: Any, primals: Any, tangents: Any) -> tuple[Array, Array]:
    (z, kink, slope), (dz, _, _) = primals, tangents
    a, da = jax.jvp(function, (z,), (dz,))
    return a, jnp.where(kink, slope * dz, da)


def _slack(
    problem: Problem, params: Params, X: Array, Y: Array, weights: Array, kinks: Any
) -> Params:
    """How far the gradient can move if each marked unit has any derivative between its slopes.

    Algorithm 5 in absolute values, of the changes of delta, which start at the marked units.
    """
    trace = _losses(problem, [W for W, _ in params], [b for _, b in params], X, Y)[1]
    above = jax.vmap(jax.grad(problem.loss.value))(trace.a[-1], Y)  # dJ/da^[k]
    change = jnp.zeros_like(above)
    slack = []
    layers = zip(params, trace.z, trace.a, _sigmas(problem, params), kinks, strict=False)
    for (W, _), z, a_below, sigma, kink in reversed(list(layers)):
        left, right = one_sided(sigma)
        slope = jax.jvp(sigma.function, (z,), (jnp.ones_like(z),))[1]
        slope = jnp.where(kink & (z == 0), right, slope)
        steepest = jnp.where(kink, max(abs(left), abs(right)), abs(slope))
        change = steepest * change + kink * abs(right - left) * abs(above)
        weighted = weights[:, None] * change
        slack.append(Layer(W=weighted.T @ abs(a_below), b=weighted.sum(0)))
        above, change = (slope * above) @ W, change @ abs(W)
    return tuple(reversed(slack))


def _sigmas(problem: Problem, layers: Sequence[Any]) -> list[Activation]:
    """The activation of each layer."""
    return [problem.activation] * (len(layers) - 1) + [problem.output_activation]


@lru_cache(maxsize=64)
def one_sided(activation: Activation) -> Slopes:
    """The derivatives just left and just right of 0, by autodiff.

    >>> from fcnet import ACTIVATIONS
    >>> one_sided(ACTIVATIONS["relu"]), one_sided(ACTIVATIONS["tanh"])
    (Slopes(left=0.0, right=1.0), Slopes(left=1.0, right=1.0))
    """
    with jax.ensure_compile_time_eval(), float64():
        left, right = map(jax.grad(activation.function), (-1e-30, 1e-30))
    return Slopes(float(left), float(right))


def has_kink(activation: Activation) -> bool:
    """Whether the derivative jumps at 0."""
    left, right = one_sided(activation)
    return not np.isclose(left, right, rtol=1e-9, atol=0)

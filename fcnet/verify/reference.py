"""The judge: loss, trace, deltas and gradient of a case by reverse-mode autodiff in float64.

Nothing is by hand but the forward pass (2.12), and of the tables of activations and losses only
`function` and `value` are trusted, never `derivative`.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from fcnet.types import Activation, Params, Trace
from fcnet.verify.double import float64
from fcnet.verify.kinks import CONVENTIONS, activate, has_kink, kink_slack
from fcnet.verify.rounding import KAPPA, sample_count, spread
from fcnet.verify.types import Case, Problem, Reference


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
        rows: at least n, n by default. X and Y are filled up, with rows of weight 0, to the next
            power of two, so that cases with different n share one compiled program.
        tiny: what an underflow may lose in that precision, `precision_of(dtype).tiny`.

    Returns:
        The reference, NumPy arrays of float64.
    """
    n = len(case.X)
    row = np.arange(1 << (max(n, rows or n) - 1).bit_length())
    weights = np.where(row < n, 1 / n if problem.reduction == "mean" else 1.0, 0.0)
    filled = np.minimum(row, n - 1)
    inputs = (case.params, case.X[filled], case.Y[filled], weights)
    samples = sample_count(sum(leaf.size for leaf in jax.tree.leaves(case.params)))
    with float64():
        judged = jax.tree.map(np.asarray, _judge(problem)(*inputs, tiny / u, samples=samples))
        near = tuple(KAPPA * u * sigma for sigma in judged.z_sigma)
        kinks = tuple(
            (abs(z) <= bound) & has_kink(sigma)
            for z, bound, sigma in zip(judged.z, near, _sigmas(problem, case.params), strict=True)
        )
        choices, slack = {}, jax.tree.map(lambda x: np.broadcast_to(0.0, x.shape), case.params)
        if any(kink[:n].any() for kink in kinks):
            gradients, slack = jax.tree.map(
                np.asarray, _choices(problem)(*inputs, kinks, near, KAPPA * u)
            )
            choices = dict(zip(CONVENTIONS, gradients, strict=True))
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


class _Judged(NamedTuple):
    loss: Float[Array, ""]
    gradient: Params
    z: tuple[Float[Array, "n _"], ...]
    loss_sigma: Float[Array, ""]
    gradient_sigma: Params
    z_sigma: tuple[Float[Array, "n _"], ...]
    a: tuple[Float[Array, "n _"], ...]
    deltas: tuple[Float[Array, "n _"], ...]


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

        value, sigma, _ = spread(rounded, params, X, Y, weights, samples=samples, floor=floor)
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
        params: Params,
        X: Array,
        Y: Array,
        weights: Array,
        kinks: tuple[Array, ...],
        near: tuple[Array, ...],
        noise: Array,
    ) -> tuple[list[Params], Params]:
        gradients = [_gradient(problem, params, X, Y, weights, kinks, c)[1] for c in CONVENTIONS]
        trace = _losses(problem, *_split(params), X, Y)[1]
        above = jax.vmap(jax.grad(problem.loss.value))(trace.a[-1], Y)
        sigmas = _sigmas(problem, params)
        return gradients, kink_slack(params, sigmas, trace, above, weights, kinks, near, noise)

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
        a.append(activate(sigma, z[-1], kinks and kinks[k], convention))
    return jax.vmap(problem.loss.value)(a[-1], Y), Trace(tuple(a), tuple(z))


def _sigmas(problem: Problem, layers: Sequence[Any]) -> list[Activation]:
    """The activation of each layer."""
    return [problem.activation] * (len(layers) - 1) + [problem.output_activation]


def _split(params: Params) -> tuple[list[Array], list[Array]]:
    """All W and all b."""
    return [W for W, _ in params], [b for _, b in params]

"""The reference: loss, trace, deltas and gradient of a case by reverse-mode autodiff in float64.

Only the forward pass (2.12) is written by hand. Of a user's activations and loss, `function` and
`value` are used, and never `derivative`.
"""

from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from fcnet.types import Params, Trace
from fcnet.verify.truth.double import float64
from fcnet.verify.truth.kinks import CONVENTIONS, activate, has_kink, kink_slack
from fcnet.verify.truth.rounding import KAPPA, sample_count, spread
from fcnet.verify.truth.terms import total, with_term
from fcnet.verify.types import Case, Cost, Format, Reference


def reference(cost: Cost, case: Case, format: Format, rows: int | None = None) -> Reference:
    """What a correct candidate that computes in `format` may return for a case.

    The values are by autodiff in float64, whatever JAX's global flags are. Where an activation has
    a kink at 0, its right derivative is used there. If any unit of the case is at a kink,
    `by_convention` has the gradient for each c of `CONVENTIONS`, with the slope left + c (right -
    left).

    Args:
        cost: the function to differentiate.
        case: parameters and examples, float64.
        format: what the candidate computes in; tolerances follow from it.
        rows: at least n, n by default. X and Y are padded to the next power of two, with rows of
            weight 0, so that cases with different n share one compiled program.

    Returns:
        The reference, NumPy arrays of float64.
    """
    n, u = len(case.X), format.u
    lost = KAPPA / 2 * format.lost  # a sum rounds by half a unit in the last place at most
    row = np.arange(1 << (max(n, rows or n) - 1).bit_length())
    weights = np.where(row < n, 1 / n if cost.reduction == "mean" else 1.0, 0.0)
    padded = np.minimum(row, n - 1)
    inputs = (case.params, case.X[padded], case.Y[padded], weights)
    data = Cost(cost.objective)  # one compiled program for all reductions and terms
    samples = sample_count(sum(leaf.size for leaf in jax.tree.leaves(case.params)))
    with float64():
        measured = _measure(data)(*inputs, format.tiny / u, samples=samples)
        measured = jax.tree.map(np.asarray, measured)
        near = tuple(KAPPA * u * sigma for sigma in measured.z_sigma)
        activations = cost.activations(len(case.params))
        kinks = tuple(
            (abs(z) <= bound) & has_kink(sigma)
            for z, bound, sigma in zip(measured.z, near, activations, strict=True)
        )
        choices, slack = {}, jax.tree.map(lambda x: np.broadcast_to(0.0, x.shape), case.params)
        if any(kink[:n].any() for kink in kinks):
            gradients, slack = jax.tree.map(
                np.asarray, _kink_choices(data)(*inputs, kinks, near, KAPPA * u)
            )
            choices = dict(zip(CONVENTIONS, gradients, strict=True))
    right = Reference(
        loss=float(measured.loss),
        loss_tolerance=KAPPA * u * float(measured.loss_sigma),
        trace=Trace(*(tuple(x[:n] for x in part) for part in (measured.a, measured.z))),
        deltas=tuple(delta[:n] for delta in measured.deltas),
        kinks=tuple(kink[:n] for kink in kinks),
        gradient=measured.gradient,
        by_convention=choices,
        slack=slack,
        tolerance=jax.tree.map(
            lambda sigma, theta: KAPPA * u * sigma + lost * abs(theta),
            measured.gradient_sigma,
            case.params,
        ),
        lost=lost,
    )
    return with_term(right, total(cost.terms, case), u) if cost.terms else right


class _Measured(NamedTuple):
    """The values on a padded case, and the standard deviations per unit roundoff of some."""

    loss: Float[Array, ""]
    gradient: Params
    z: tuple[Float[Array, "n _"], ...]
    loss_sigma: Float[Array, ""]
    gradient_sigma: Params
    z_sigma: tuple[Float[Array, "n _"], ...]
    a: tuple[Float[Array, "n _"], ...]
    deltas: tuple[Float[Array, "n _"], ...]


@lru_cache(maxsize=32)
def _measure(cost: Cost) -> Any:
    @partial(jax.jit, static_argnames="samples")
    def measure(
        params: Params, X: Array, Y: Array, weights: Array, floor: Array, *, samples: int
    ) -> _Measured:
        def rounded(params: Params, X: Array, Y: Array, weights: Array) -> Any:
            (loss, trace), gradient = _cost_and_gradient(cost, params, X, Y, weights)
            return loss, gradient, trace.z

        def total(biases: list[Array]) -> tuple[Array, Trace]:
            losses, trace = _example_losses(cost, [W for W, _ in params], biases, X, Y)
            return losses.sum(), trace

        value, sigma, _ = spread(rounded, params, X, Y, weights, samples=samples, floor=floor)
        # An example's own bias reaches its loss through its own z only: its gradient is delta.
        biases = [jnp.broadcast_to(b, (len(X), len(b))) for _, b in params]
        deltas, trace = jax.grad(total, has_aux=True)(biases)
        return _Measured._make((*value, *sigma, trace.a, tuple(deltas)))

    return measure


@lru_cache(maxsize=32)
def _kink_choices(cost: Cost) -> Any:
    """For units at a kink: the gradient by each convention, and how much any choice can add."""

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
        gradients = [
            _cost_and_gradient(cost, params, X, Y, weights, kinks, c)[1] for c in CONVENTIONS
        ]
        trace = _example_losses(cost, [W for W, _ in params], [b for _, b in params], X, Y)[1]
        above = jax.vmap(jax.grad(cost.objective.loss.value))(trace.a[-1], Y)
        activations = cost.activations(len(params))
        return gradients, kink_slack(params, activations, trace, above, weights, kinks, near, noise)

    return choices


def _cost_and_gradient(
    cost: Cost, params: Params, X: Array, Y: Array, weights: Array, *choice: Any
) -> tuple[tuple[Array, Trace], Params]:
    """The cost of the batch with the trace, and the gradient."""

    def weighted(params: Params) -> tuple[Array, Trace]:
        losses, trace = _example_losses(
            cost, [W for W, _ in params], [b for _, b in params], X, Y, *choice
        )
        return weights @ losses, trace

    return jax.value_and_grad(weighted, has_aux=True)(params)


def _example_losses(
    cost: Cost,
    weights: list[Array],
    biases: list[Array],
    X: Float[Array, "n d"],
    Y: Float[Array, "n m_r"],
    kinks: Any = None,
    convention: float | Array = 1.0,
) -> tuple[Float[Array, " n"], Trace]:
    """The loss of each example, and the trace of all, in rows.

    A bias may be one for each example, (n, m_k). The derivative at a kink is by `convention`: at
    the units that `kinks` marks, by default at those with z = 0.
    """
    a, z = [X], []
    for k, sigma in enumerate(cost.activations(len(weights))):
        z.append(a[-1] @ weights[k].T + biases[k])
        a.append(activate(sigma, z[-1], kinks and kinks[k], convention))
    return jax.vmap(cost.objective.loss.value)(a[-1], Y), Trace(tuple(a), tuple(z))

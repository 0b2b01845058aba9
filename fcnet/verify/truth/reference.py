"""The reference: loss, trace, deltas and gradient of a case by reverse-mode autodiff in float64.

Only the forward pass (2.12) is written by hand. Of a user's activations and loss, `function` and
`value` are used, and never `derivative`.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from fcnet.types import Layer, Params, Trace
from fcnet.verify.truth.double import Traced, float64, trace
from fcnet.verify.truth.evaluate import evaluate
from fcnet.verify.truth.kinks import CONVENTIONS, activate, has_kink, kink_slack
from fcnet.verify.truth.rounding import KAPPA, Spread, sample_count, spreads
from fcnet.verify.truth.terms import with_terms
from fcnet.verify.types import Case, Cost, Format, Reference, Values

MOST_PADDED = 64
"""More rows are not padded: it takes longer to compute with them than to trace anew."""


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
        rows: at least n, n by default. A few rows are padded to the next power of two, with rows of
            weight 0, so that cases with different n share one trace.

    Returns:
        The reference, NumPy arrays of float64.
    """
    return references(cost, [case], format, rows)[0]


def references(
    cost: Cost, cases: Sequence[Case], format: Format, rows: int | None = None
) -> list[Reference]:
    """The reference of each of several cases; those of one padded size are computed together."""
    padded = [_padded(cost, case, rows) for case in cases]
    same_size: dict[int, list[int]] = {}
    for i, given in enumerate(padded):
        same_size.setdefault(len(given.weights), []).append(i)
    found: dict[int, Reference] = {}
    for places in same_size.values():
        some = [padded[i] for i in places]
        samples = sample_count(sum(leaf.size for leaf in jax.tree.leaves(some[0].params)))
        values = _traced(_values, Cost(cost.objective), *some[0])
        measured = spreads(values, some, samples=samples, floor=format.tiny / format.u)
        found |= {
            i: _reference(cost, cases[i], format, given, spread)
            for i, given, spread in zip(places, some, measured, strict=True)
        }
    return [found[i] for i in range(len(cases))]


class _Padded(NamedTuple):
    """Parameters and examples, with the weight of each example's loss in the cost."""

    params: Params
    X: Values
    Y: Values
    weights: Values


def _padded(cost: Cost, case: Case, rows: int | None) -> _Padded:
    n, rows = case.n, max(case.n, rows or case.n)
    row = np.arange(1 << (rows - 1).bit_length() if rows <= MOST_PADDED else rows)
    kept = np.minimum(row, n - 1)
    return _Padded(case.params, case.X[kept], case.Y[kept], np.where(row < n, cost.share(n), 0.0))


def _reference(
    cost: Cost, case: Case, format: Format, given: _Padded, measured: Spread
) -> Reference:
    """The reference, from the values on padded examples and how far rounding moves these."""
    n, u = case.n, format.u
    lost = KAPPA / 2 * format.lost  # a sum rounds by half a unit in the last place at most
    loss, gradient, passes = measured.value
    loss_sigma, gradient_sigma, passes_sigma = measured.sigma
    activations = cost.activations(case.r)
    may_kink = list(map(has_kink, activations))
    data = Cost(cost.objective)  # one trace for all reductions and terms
    inputs = given[:-1]
    deltas = evaluate(_traced(_deltas, data, *inputs), *inputs)
    near = tuple(KAPPA * u * sigma for sigma in passes_sigma.z)
    kinks = tuple(
        (abs(z) <= bound) & may for z, bound, may in zip(passes.z, near, may_kink, strict=True)
    )
    choices, slack = {}, jax.tree.map(lambda x: np.broadcast_to(0.0, x.shape), case.params)
    if any(kink[:n].any() for kink in kinks):
        chosen = (*given, kinks)
        at = _traced(_gradient_at, data, *chosen, 0.0)
        choices = {c: evaluate(at, *chosen, c) for c in CONVENTIONS}
        bounds = (*chosen, near, KAPPA * u)
        slack = evaluate(_traced(_slack, data, *bounds), *bounds)
    right = Reference(
        loss=float(loss),
        loss_tolerance=KAPPA * u * float(loss_sigma),
        trace=jax.tree.map(lambda x: x[:n], passes),
        deltas=tuple(delta[:n] for delta in deltas),
        kinks=tuple(kink[:n] for kink in kinks),
        gradient=gradient,
        by_convention=choices,
        slack=slack,
        tolerance=jax.tree.map(
            lambda sigma, theta: KAPPA * u * sigma + lost * np.maximum(abs(theta), format.tiny / u),
            gradient_sigma,
            case.params,
        ),
        lost=lost,
    )
    return with_terms(right, cost.terms, case, u) if cost.terms else right


def _traced(function: Callable[..., Any], cost: Cost, *args: Any) -> Traced:
    """A function of the cost and arrays, traced once for arguments of the same shapes."""
    leaves, structure = jax.tree.flatten(args)
    forms = tuple((np.shape(x), np.result_type(x)) for x in leaves)
    return _traced_once(function, cost, structure, forms)


@lru_cache(maxsize=256)
def _traced_once(function: Callable[..., Any], cost: Cost, structure: Any, forms: Any) -> Traced:
    with float64():
        form: Any = jax.ShapeDtypeStruct
        leaves = [form(shape, dtype) for shape, dtype in forms]
        return trace(partial(function, cost), *jax.tree.unflatten(structure, leaves))


def _values(
    cost: Cost, params: Params, X: Array, Y: Array, weights: Array
) -> tuple[Array, Params, Trace]:
    (loss, trace), gradient = _cost_and_gradient(cost, params, X, Y, weights)
    return loss, gradient, trace


def _deltas(cost: Cost, params: Params, X: Array, Y: Array) -> list[Array]:
    """An example's own bias reaches its loss through its own z only: its gradient is delta."""

    def losses(biases: list[Array]) -> Array:
        layers = tuple(Layer(W, b) for (W, _), b in zip(params, biases, strict=True))
        return _example_losses(cost, layers, X, Y)[0].sum()

    return jax.grad(losses)([jnp.broadcast_to(b, (len(X), len(b))) for _, b in params])


def _gradient_at(
    cost: Cost,
    params: Params,
    X: Array,
    Y: Array,
    weights: Array,
    kinks: tuple[Array, ...],
    convention: Array,
) -> Params:
    """The gradient with the slopes of units at a kink by a convention."""
    return _cost_and_gradient(cost, params, X, Y, weights, kinks, convention)[1]


def _slack(
    cost: Cost,
    params: Params,
    X: Array,
    Y: Array,
    weights: Array,
    kinks: tuple[Array, ...],
    near: tuple[Array, ...],
    noise: Array,
) -> Params:
    """How much any choice for each unit at a kink can add to the gradient."""
    _, trace = _example_losses(cost, params, X, Y)
    above = jax.vmap(jax.grad(cost.objective.loss.value))(trace.a[-1], Y)
    activations = cost.activations(len(params))
    return kink_slack(params, activations, trace, above, weights, kinks, near, noise)


def _cost_and_gradient(
    cost: Cost, params: Params, X: Array, Y: Array, weights: Array, *choice: Any
) -> tuple[tuple[Array, Trace], Params]:
    """The cost of the batch with the trace, and the gradient."""

    def weighted(params: Params) -> tuple[Array, Trace]:
        losses, trace = _example_losses(cost, params, X, Y, *choice)
        return weights @ losses, trace

    return jax.value_and_grad(weighted, has_aux=True)(params)


def _example_losses(
    cost: Cost,
    params: Params,
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
    for k, sigma in enumerate(cost.activations(len(params))):
        W, b = params[k]
        z.append(a[-1] @ W.T + jnp.atleast_2d(b))
        a.append(activate(sigma, z[-1], kinks and kinks[k], convention))
    return jax.vmap(cost.objective.loss.value)(a[-1], Y), Trace(tuple(a), tuple(z))

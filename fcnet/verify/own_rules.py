"""Whether what JAX gives for a function is the derivative of its values, or that of a wrong rule.

Autodiff takes a `jax.custom_vjp` or `jax.custom_jvp` in a function at its word.
"""

from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax import Array
from jax.extend import core

from fcnet.verify.differences import central
from fcnet.verify.truth.double import trace
from fcnet.verify.truth.evaluate import evaluate
from fcnet.verify.truth.jaxprs import NESTED, bodies
from fcnet.verify.types import FORMATS, Values

ANOTHER = (
    "for {} JAX gives another derivative than that of the values of the function: a rule in it, of "
    "a jax.custom_vjp or jax.custom_jvp, is wrong, or another on purpose, and here it is what is "
    "right; check the rule alone by fcnet.check_vjp"
)

CLEAR = 1e-3
"""The largest relative error of a difference that shows anything, and the least one of a rule."""

SEED = 4813
"""Of the directions."""


def other_derivatives(
    jaxpr: core.Jaxpr,
    loss: Callable[[Sequence[Array]], Array],
    values: Sequence[Values],
    claimed: dict[int, str],
) -> list[str]:
    """A note on the arguments of which autodiff of a scalar function is not its derivative.

    Args:
        jaxpr: of the function; without rules of its own it is not looked at.
        loss: the function of its floating arguments.
        values: these.
        claimed: the names of those whose gradient is claimed, by their places.
    """
    names = {eqn.primitive.name for body in bodies(jaxpr) for eqn in body.eqns}
    if not any(NESTED[name].has_rule for name in names & {*NESTED}):
        return []
    u, draw = FORMATS["float64"].u, np.random.default_rng(SEED)
    traced = trace(jax.value_and_grad(loss), list(values))
    J0, gradient = evaluate(traced, list(values))
    others = []
    for i, name in claimed.items():
        step = np.cbrt(u) * np.maximum(abs(values[i]), 1e-3) * draw.choice([-1, 1], values[i].shape)

        def moved(c: float, i: int = i, step: Values = step) -> float:
            point = [x + c * step if j == i else x for j, x in enumerate(values)]
            return evaluate(traced, point)[0].item()

        slope, error = central(moved, J0.item(), u * abs(J0.item()))
        given = (gradient[i] * step).sum()
        least = CLEAR * max(abs(given), abs(slope))
        if error <= least < abs(given - slope) - error:
            others.append(name)
    return [ANOTHER.format(", ".join(others))] if others else []

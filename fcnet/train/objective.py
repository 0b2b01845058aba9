"""What a run minimises, and by which gradient: the choices that a compiled program is made for."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
from jax import Array

from fcnet.activations import get_activation
from fcnet.backpropagation import batch_backprop
from fcnet.checks import look_up_name
from fcnet.losses import get_loss, mean_loss
from fcnet.types import Activation, Loss, Params

GRADIENTS = MappingProxyType({"backprop": batch_backprop, "autodiff": jax.grad(mean_loss)})
"""The gradient of the mean loss by name: Algorithm 5 by hand, or JAX's reverse mode."""


class Objective(NamedTuple):
    """The network's shape-free choices; hashable, so that it is a static argument of `jax.jit`."""

    activation: Activation
    output_activation: Activation
    loss: Loss
    gradient: str
    compute: str | None = None
    """The dtype in which the gradient is computed; None is the parameters' own."""

    @property
    def choices(self) -> dict[str, Any]:
        """The keyword arguments of `mean_loss` and its gradients."""
        return {
            "activation": self.activation,
            "output_activation": self.output_activation,
            "loss": self.loss,
        }


def as_objective(
    activation: str | Activation,
    output_activation: str | Activation,
    loss: str | Loss,
    gradient: str,
    compute: str | None = None,
) -> Objective:
    """An objective of names or rows of the tables, each checked.

    >>> as_objective("relu", "identity", "logistic", "backprop").loss.name
    'logistic'
    """
    look_up_name("gradient", GRADIENTS, gradient)
    return Objective(
        get_activation(activation),
        get_activation(output_activation, "output_activation"),
        get_loss(loss),
        gradient,
        compute,
    )


def batch_gradient(
    objective: Objective, params: Params, X: Array, Y: Array, weights: Array | None
) -> Params:
    """The gradient of the batch's mean loss, weighted where weights are given.

    It has the parameters' dtype, whatever it is computed in.
    """
    gradient: Callable[..., Params] = GRADIENTS[objective.gradient]
    given = jax.tree.map(
        lambda leaf: leaf.astype(objective.compute or leaf.dtype), (params, X, Y, weights)
    )
    computed = gradient(*given[:3], weights=given[3], **objective.choices)
    return jax.tree.map(lambda leaf, p: leaf.astype(p.dtype), computed, params)


def batch_loss(
    objective: Objective, params: Params, X: Array, Y: Array, weights: Array | None
) -> Array:
    """The batch's mean loss, weighted where weights are given."""
    return mean_loss(params, X, Y, weights=weights, **objective.choices)

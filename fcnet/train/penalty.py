"""A penalty on the weights, in the step of an optimiser."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import optax
from jax import Array

from fcnet.train.optimizer import as_optimizer, build
from fcnet.train.types import Optimizer
from fcnet.types import Layer, Params


def penalised(
    optimizer: str | Optimizer | optax.MultiSteps, learning_rate: float | None, penalty: float
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The optimiser of the loss plus penalty / 2 |W|^2, where it is given those of the loss alone.

    Returns a factory and its hyper-parameters. The factory is the same for the same optimiser, so
    that JAX does not compile anew. A ready-made optimiser has its own learning rate: give None.
    """
    rate = None if learning_rate is None else {"learning_rate": learning_rate}
    chosen, hyper = as_optimizer(optimizer, rate)
    return _penalised(chosen), {"penalty": penalty, **hyper}


@lru_cache(maxsize=64)
def _penalised(optimizer: Optimizer) -> Callable[..., optax.GradientTransformation]:
    def make(penalty: Any, **hyperparameters: Any) -> optax.GradientTransformation:
        made = optax.with_extra_args_support(build(optimizer, hyperparameters))

        def term(params: Params) -> Array:
            return penalty / 2 * sum(jnp.vdot(W, W) for W, _ in params)

        def update(
            gradient: Params,
            state: optax.OptState,
            params: Params,
            *,
            value: Array,
            grad: Params,
            value_fn: Callable[[Params], Array],
        ) -> Any:
            pairs = zip(gradient, params, strict=True)
            whole = tuple(Layer(g.W + penalty * p.W, g.b) for g, p in pairs)
            return made.update(
                whole,
                state,
                params,
                value=value + term(params),
                grad=whole,
                value_fn=lambda params: value_fn(params) + term(params),
            )

        return optax.GradientTransformationExtraArgs(made.init, update)

    make.__name__ = getattr(optimizer, "__name__", "a factory")  # for the errors of `resume`
    return make

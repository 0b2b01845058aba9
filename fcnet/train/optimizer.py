"""Optimisers: any of optax's, with hyper-parameters that may change without compiling anew."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from fcnet.types import Params

Factory: TypeAlias = Callable[..., optax.GradientTransformation]
Optimizer: TypeAlias = optax.GradientTransformation | Factory
Hyperparameters: TypeAlias = Mapping[str, Array]

OPTIMIZERS: MappingProxyType[str, Factory] = MappingProxyType(
    {
        "sgd": optax.sgd,
        "adam": optax.adam,
        "adamw": optax.adamw,
        "rmsprop": optax.rmsprop,
        "adagrad": optax.adagrad,
        "lion": optax.lion,
    }
)
"""Optimisers by name; any other factory of optax's can be given itself."""


def as_optimizer(
    optimizer: str | Optimizer, hyperparameters: Mapping[str, ArrayLike] | None
) -> tuple[Optimizer, Hyperparameters]:
    """The optimiser as a static argument, and its hyper-parameters as arrays.

    Args:
        optimizer: a ready `optax.GradientTransformation`; or a name or factory, such as
            `optax.adamw`, that makes one of hyper-parameters.
        hyperparameters: the factory's keyword arguments, all numbers.

    Raises:
        ValueError, TypeError: for an unknown name, hyper-parameters that the factory does not take
            or lacks, or any given beside a ready optimiser.

    >>> as_optimizer("sgd", {"learning_rate": 0.1})[0] is optax.sgd
    True
    """
    given = dict(hyperparameters or {})
    if isinstance(optimizer, optax.GradientTransformation):
        if given:
            raise ValueError(
                f"hyperparameters {sorted(given)} go with an optimizer's name or factory, such as "
                "optimizer=optax.adam; this optimizer already has its own"
            )
        return optimizer, {}
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            known = ", ".join(map(repr, OPTIMIZERS))
            raise ValueError(f"unknown optimizer {optimizer!r}; known are {known}")
        optimizer = OPTIMIZERS[optimizer]
    if not callable(optimizer):
        raise TypeError(
            "optimizer must be a name, an optax.GradientTransformation or a factory such as "
            f"optax.adam, got {type(optimizer).__name__}"
        )
    arrays = {name: jnp.asarray(value, float) for name, value in given.items()}
    try:
        optimizer(**arrays)
    except TypeError as error:
        raise TypeError(f"hyperparameters do not fit the optimizer: {error}") from error
    return optimizer, arrays


def build(optimizer: Optimizer, hyperparameters: Hyperparameters) -> Any:
    """The optimiser made of its hyper-parameters, inside the program that uses it."""
    if isinstance(optimizer, optax.GradientTransformation):
        return optimizer
    return optimizer(**hyperparameters)


def start_state(
    optimizer: Optimizer,
    hyperparameters: Hyperparameters,
    params: Params,
    earlier: optax.OptState | None,
) -> optax.OptState:
    """What the optimiser remembers at the start: nothing yet, or a copy of an earlier run's state.

    Raises:
        ValueError: for a state of another optimiser, or of a network of other shapes.
    """
    fresh = build(optimizer, hyperparameters).init(params)
    if earlier is None:
        return fresh
    copy = jax.tree.map(jnp.asarray, earlier)
    kinds = [
        (jax.tree.structure(state), [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(state)])
        for state in (copy, fresh)
    ]
    if kinds[0] != kinds[1]:
        raise ValueError(
            "opt_state does not fit the optimizer and the parameters: give the opt_state that a "
            "run with the same optimizer, sizes and dtype returned"
        )
    return copy

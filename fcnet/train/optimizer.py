"""Optimisers: any of optax's, with hyper-parameters that may change without compiling anew."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from fcnet.checks import as_array, check_finite, check_shape, look_up_name
from fcnet.types import Params

Factory: TypeAlias = Callable[..., optax.GradientTransformation]
Optimizer: TypeAlias = optax.GradientTransformation | Factory
Hyperparameters: TypeAlias = Mapping[str, float | Array]
"""By name: numbers, or what stands for them inside a compiled program."""

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
    """The optimiser as a static argument, and its hyper-parameters as numbers.

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
    given = as_hyperparameters(hyperparameters)
    if isinstance(optimizer, optax.GradientTransformation):
        if given:
            raise ValueError(
                f"hyperparameters {sorted(given)} go with an optimizer's name or factory, such as "
                "optimizer=optax.adam; this optimizer already has its own"
            )
        return optimizer, {}
    if not callable(optimizer):
        if not isinstance(optimizer, str):
            raise TypeError(
                "optimizer must be a name, an optax.GradientTransformation or a factory such as "
                f"optax.adam, got {type(optimizer).__name__}"
            )
        optimizer = look_up_name("optimizer", OPTIMIZERS, optimizer)
    try:
        made = optimizer(**given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"hyperparameters do not fit the optimizer: {error}") from error
    if not isinstance(made, optax.GradientTransformation):
        raise TypeError(
            "optimizer must make an optax.GradientTransformation of the hyperparameters, "
            f"got {type(made).__name__}"
        )
    return optimizer, given


def as_hyperparameters(hyperparameters: object) -> dict[str, float | Array]:
    """Numbers by name. As Python's own they take the dtype of the parameters that they meet."""
    numbers: dict[str, float | Array] = {}
    for name, value in named(hyperparameters).items():
        array = as_array(f"hyperparameters[{name!r}]", value)
        check_shape(
            f"hyperparameters[{name!r}]", array, (),
            "a number; anything else belongs in a factory, such as partial(optax.adam, mask=...)",
        )  # fmt: skip
        check_finite(f"hyperparameters[{name!r}]", array)
        numbers[name] = float(value)
    return numbers


def named(hyperparameters: object) -> Mapping[str, Any]:
    """Hyper-parameters by name, whatever their values; None is none at all."""
    if not isinstance(hyperparameters, Mapping | None):
        raise TypeError(
            'hyperparameters must be a mapping such as {"learning_rate": 1e-3}, got '
            f"{type(hyperparameters).__name__}"
        )
    for name in hyperparameters or {}:
        if not isinstance(name, str):
            raise TypeError(f"hyperparameters must have names, got {name!r}")
    return hyperparameters or {}


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
    fresh = _init(hyperparameters, params, optimizer=optimizer)
    if earlier is None:
        return fresh
    if _layout(earlier) != _layout(fresh):
        raise ValueError(
            "opt_state does not fit the optimizer and the parameters: give the opt_state that a "
            "run with the same optimizer, sizes and dtype returned"
        )
    return jax.tree.map(jnp.asarray, earlier)


@partial(jax.jit, static_argnames="optimizer")
def _init(hyperparameters: Hyperparameters, params: Params, *, optimizer: Optimizer) -> Any:
    return build(optimizer, hyperparameters).init(params)


def _layout(tree: Any) -> tuple[Any, list[Any]]:
    """The structure of a tree, and the shape and dtype of each array in it."""
    kinds = [(np.shape(leaf), getattr(leaf, "dtype", None)) for leaf in jax.tree.leaves(tree)]
    return jax.tree.structure(tree), kinds

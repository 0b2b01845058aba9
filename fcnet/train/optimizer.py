"""Optimisers: any of optax's, with hyper-parameters that may change without compiling anew."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from fcnet.checks import as_array, check_finite, check_shape, look_up_name
from fcnet.train.types import Optimizer
from fcnet.types import Params

Hyperparameters: TypeAlias = Mapping[str, float | Array]
"""By name: numbers, or tracers for them inside a compiled program."""

OPTIMIZERS: MappingProxyType[str, "partial[optax.GradientTransformation]"] = MappingProxyType(
    {
        "sgd": partial(optax.sgd, learning_rate=1e-2),
        "adam": partial(optax.adam, learning_rate=1e-3),
        "adamw": partial(optax.adamw, learning_rate=1e-3),
        "rmsprop": partial(optax.rmsprop, learning_rate=1e-3),
        "adagrad": partial(optax.adagrad, learning_rate=1e-2),
        "lion": partial(optax.lion, learning_rate=1e-4),
    }
)
"""Optimisers by name: a factory of optax's and its default hyper-parameters."""

UNSUITABLE: MappingProxyType[type, str] = MappingProxyType(
    {
        optax.contrib.ScheduleFreeState: (
            "optax.contrib.schedule_free cannot be used: it evaluates other parameters than those "
            "that it steps from, which history, patience and result would be of"
        ),
        optax.contrib.SAMState: (
            "optax.contrib.sam cannot be used: it steps to perturbed parameters, which history, "
            "patience and result could be of; or, with opaque_mode=True, it needs grad_fn, the "
            "gradient at other parameters, which fit does not give"
        ),
    }
)
"""Transformations, by the type of their state, that step to parameters not meant for evaluation."""

INSTEAD = "Choose another, or write the loop with optax and fcnet.batch_backprop"


def as_optimizer(
    optimizer: str | Optimizer, hyperparameters: Mapping[str, ArrayLike] | None
) -> tuple[Optimizer, Hyperparameters]:
    """The optimiser as a static argument, and its hyper-parameters as numbers.

    Args:
        optimizer: a ready `optax.GradientTransformation`; or a factory that makes one, such as
            `optax.adamw`; or the name of one.
        hyperparameters: keyword arguments of the factory, all numbers. They override the defaults
            of a name; a factory gets these alone.

    Raises:
        ValueError, TypeError: for an unknown name, hyper-parameters that the factory does not take
            or lacks, or any given beside a ready optimiser.

    >>> chosen, numbers = as_optimizer("sgd", {"momentum": 0.9})
    >>> chosen is optax.sgd, numbers
    (True, {'learning_rate': 0.01, 'momentum': 0.9})
    """
    chosen, defaults = as_factory(optimizer)
    given = as_hyperparameters(hyperparameters)
    if isinstance(chosen, optax.GradientTransformation):
        if given:
            raise ValueError(
                f"hyperparameters {sorted(given)} go with an optimizer's name or factory, such as "
                "optimizer=optax.adam; this optimizer already has its own"
            )
        return chosen, {}
    numbers = {**defaults, **given}
    try:
        made = chosen(**numbers)
    except (TypeError, ValueError) as error:
        raise type(error)(f"hyperparameters do not fit the optimizer: {error}") from error
    if not isinstance(made, optax.GradientTransformation):
        raise TypeError(
            "optimizer must make an optax.GradientTransformation of the hyperparameters, "
            f"got {type(made).__name__}"
        )
    return chosen, numbers


def as_factory(optimizer: str | Optimizer) -> tuple[Optimizer, dict[str, float]]:
    """The optimiser or its factory, and the default hyper-parameters, which a name alone has."""
    if callable(optimizer) or isinstance(optimizer, optax.GradientTransformation):
        return optimizer, {}
    if not isinstance(optimizer, str):
        raise TypeError(
            "optimizer must be a name, an optax.GradientTransformation or a factory such as "
            f"optax.adam, got {type(optimizer).__name__}"
        )
    row = look_up_name("optimizer", OPTIMIZERS, optimizer)
    return row.func, row.keywords


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
    earlier: optax.OptState | None = None,
) -> optax.OptState:
    """The optimiser's state before the first step, or a copy of an earlier run's.

    Raises:
        ValueError: for the state of another optimiser, or of a network of other shapes.
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


def reads_loss(optimizer: Optimizer, hyperparameters: Hyperparameters, params: Params) -> bool:
    """Whether the optimiser reads the loss: its value, or the function `value_fn`.

    Those that do not, such as Adam, are not given it and do not wait for it.

    Raises:
        ValueError: for an optimiser that needs another argument, or that cannot be evaluated.

    >>> params = ((jnp.ones((2, 3)), jnp.ones(2)),)
    >>> reads_loss(optax.adam(0.1), {}, params), reads_loss(optax.polyak_sgd(), {}, params)
    (False, True)
    """
    leaves, structure = jax.tree.flatten(params)
    kinds = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    return _reads_loss(optimizer, tuple(hyperparameters), structure, kinds)


@lru_cache(maxsize=64)
def _reads_loss(optimizer: Optimizer, names: tuple[str, ...], structure: Any, kinds: Any) -> bool:
    """One update, traced to see which of its arguments it reads."""
    shaped: Any = jax.ShapeDtypeStruct
    params = jax.tree.unflatten(structure, [shaped(*kind) for kind in kinds])
    numbers = {name: shaped((), float, weak_type=True) for name in names}
    value = shaped((), kinds[0][1])
    calls = []

    def value_fn(params: Params) -> Array:
        calls.append(params)
        return optax.tree.norm(params, squared=True)

    def init(numbers: Hyperparameters, params: Params) -> optax.OptState:
        return build(optimizer, numbers).init(params)

    def update(
        value: Array, numbers: Hyperparameters, params: Params, state: optax.OptState
    ) -> tuple[Params, optax.OptState]:
        made = build(optimizer, numbers)
        return update_params(made, params, state, params, lambda: (value, value_fn))

    state = _traced(jax.eval_shape, init, numbers, params)
    for node in jax.tree.leaves(state, is_leaf=lambda node: type(node) in UNSUITABLE):
        if type(node) in UNSUITABLE:
            raise ValueError(f"{UNSUITABLE[type(node)]}. {INSTEAD}")
    program = _traced(jax.make_jaxpr(update), value, numbers, params, state).jaxpr
    read = [variable for equation in program.eqns for variable in equation.invars]
    return bool(calls) or any(variable is program.invars[0] for variable in read)


def _traced(trace: Callable[..., Any], *arguments: Any) -> Any:
    """What tracing a part of the optimiser gives.

    Raises:
        ValueError: if the optimiser raises, with its message.
    """
    try:
        return trace(*arguments)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"fit cannot use this optimizer, which raised {type(error).__name__}: "
            f"{str(error).rstrip('.')}. An optimizer gets the gradient, its state, the parameters, "
            f"value, grad and value_fn, and no other arguments. {INSTEAD}"
        ) from error


def update_params(
    optimizer: optax.GradientTransformation,
    gradient: Params,
    opt_state: optax.OptState,
    params: Params,
    loss: Callable[[], tuple[Array, Callable[[Params], Array]]] | None,
) -> tuple[Params, optax.OptState]:
    """The parameters after a step, and the optimiser's state.

    `loss` gives the loss at the parameters, and the loss as a function of them, to an optimiser
    that reads it; None to one that does not.
    """
    extra: dict[str, Any] = {}
    if loss is not None:
        value, value_fn = loss()
        extra = {"value": value, "grad": gradient, "value_fn": value_fn}
    updates, opt_state = optax.with_extra_args_support(optimizer).update(
        gradient, opt_state, params, **extra
    )
    return optax.apply_updates(params, updates), opt_state

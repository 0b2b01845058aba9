"""Optimisers: any of optax's, with hyper-parameters that may change without compiling anew."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from fcnet.checks import (
    as_array,
    as_auto,
    as_jax,
    check_finite,
    check_shape,
    mismatch,
    reraise,
)
from fcnet.rows import look_up_name
from fcnet.train.types import Optimizer, must_be_finite
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
            "that it steps from, so that history and result would describe other parameters"
        ),
        optax.contrib.SAMState: (
            "optax.contrib.sam cannot be used: it steps to perturbed parameters, which history "
            "and result could describe; or, with opaque_mode=True, it needs grad_fn, the "
            "gradient at other parameters, which fit does not give"
        ),
    }
)
"""Transformations, by the type of their state, that step to parameters not meant for evaluation."""

INSTEAD = "Choose another, or write the loop with optax and fcnet.batch_backprop"

CONSTANTS = (
    "hyperparameters are real numbers that may change without compiling anew; counts, switches and "
    "functions go into the factory, as in optimizer=functools.partial(optax.sgd, nesterov=True)"
)


def as_optimizer(
    optimizer: str | Optimizer | optax.MultiSteps,
    hyperparameters: Mapping[str, ArrayLike] | None,
) -> tuple[Optimizer, Hyperparameters]:
    """The optimiser as a static argument, and its hyper-parameters as numbers.

    Args:
        optimizer: a ready `optax.GradientTransformation` or `optax.MultiSteps`; or a factory that
            makes one, such as `optax.adamw`; or the name of one.
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
    numbers = {**defaults, **as_hyperparameters(hyperparameters)}
    check_factory(chosen, numbers)
    return chosen, numbers


def as_factory(
    optimizer: str | Optimizer | optax.MultiSteps,
) -> tuple[Optimizer, dict[str, float]]:
    """The optimiser or its factory, and the default hyper-parameters, which a name alone has."""
    optimizer = as_transformation(optimizer)
    if callable(optimizer) or isinstance(optimizer, optax.GradientTransformation):
        return optimizer, {}
    if not isinstance(optimizer, str):
        raise TypeError(
            "optimizer must be a name, an optax.GradientTransformation or a factory such as "
            f"optax.adam, got {type(optimizer).__name__}"
        )
    row = look_up_name("optimizer", OPTIMIZERS, optimizer)
    return row.func, row.keywords


def as_transformation(optimizer: Any) -> Any:
    """An `optax.MultiSteps` as the transformation that it stands for; anything else as it is."""
    if isinstance(optimizer, optax.MultiSteps):
        # Its method gradient_transformation() would leave out the arguments for the loss.
        return optax.GradientTransformationExtraArgs(optimizer.init, optimizer.update)
    return optimizer


def check_factory(optimizer: Optimizer, numbers: Mapping[str, Any]) -> None:
    """Raise unless the optimiser is ready, or can be made of these hyper-parameters."""
    if isinstance(optimizer, optax.GradientTransformation):
        if numbers:
            raise ValueError(
                f"hyperparameters {sorted(numbers)} go with an optimizer's name or factory, such "
                "as optimizer=optax.adam; this optimizer already has its own"
            )
        return
    try:
        made = build(optimizer, numbers)
    except (TypeError, ValueError) as error:
        reraise(error, f"hyperparameters do not fit the optimizer: {error}")
    if not isinstance(made, optax.GradientTransformation):
        raise TypeError(
            "optimizer must make an optax.GradientTransformation of the hyperparameters, "
            f"got {type(made).__name__}"
        )


def as_hyperparameters(hyperparameters: object) -> dict[str, float | Array]:
    """Numbers by name. As Python's own they take the dtype of the parameters that they meet."""
    numbers: dict[str, float | Array] = {}
    for name, value in named(hyperparameters).items():
        array = as_numbers(name, value)
        check_shape(f"hyperparameters[{name!r}]", array, (), f"a number; {CONSTANTS}")
        numbers[name] = float(value)
    return numbers


def as_numbers(name: str, value: Any) -> Array:
    """The number of a hyper-parameter, or the numbers of several members; all finite."""
    try:
        array = as_array(f"hyperparameters[{name!r}]", as_auto(value))
    except (TypeError, ValueError) as error:
        reraise(error, f"{error}: {CONSTANTS}")
    check_finite(f"hyperparameters[{name!r}]", array)
    return array


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


def build(optimizer: Optimizer, hyperparameters: Hyperparameters) -> optax.GradientTransformation:
    """The optimiser made of its hyper-parameters, inside the program that uses it."""
    if isinstance(optimizer, optax.GradientTransformation):
        return optimizer
    return as_transformation(optimizer(**hyperparameters))


def start_state(
    optimizer: Optimizer,
    hyperparameters: Hyperparameters,
    params: Params,
    earlier: optax.OptState | None = None,
) -> optax.OptState:
    """The optimiser's state before the first step, or a copy of an earlier run's.

    Raises:
        ValueError: for the state of another optimiser, of a network of other shapes, or with arrays
            that are not finite.
    """
    if earlier is None:
        return _init(hyperparameters, params, optimizer=optimizer)
    if difference := mismatch(earlier, like_start_state(optimizer, hyperparameters, params)):
        raise ValueError(
            "opt_state does not fit the optimizer and the parameters: give the opt_state that a "
            f"run with the same optimizer, sizes and dtype returned; {difference}"
        )
    state = jax.tree.map(lambda leaf: as_jax(as_auto(leaf)), earlier)
    for path, leaf in jax.tree.leaves_with_path(state):
        if must_be_finite(leaf):
            check_finite(f"opt_state{jax.tree_util.keystr(path)}", leaf)
    return state


def like_start_state(
    optimizer: Optimizer, hyperparameters: Hyperparameters, params: Params
) -> optax.OptState:
    """`start_state` in shapes and dtypes; nothing is computed."""
    return _traced(_init, optimizer, hyperparameters, params)


@partial(jax.jit, static_argnames="optimizer")
def _init(hyperparameters: Hyperparameters, params: Params, *, optimizer: Optimizer) -> Any:
    return build(optimizer, hyperparameters).init(params)


def check_optimizer(optimizer: Optimizer, hyperparameters: Hyperparameters, params: Params) -> None:
    """Raise unless the optimiser can take a step with the arguments that it gets here.

    Nothing is computed: one update is only traced.

    Raises:
        ValueError: for one that needs another argument, or whose hyper-parameters must be
            constants; whose updates or state the next step cannot take; or that steps to parameters
            not meant for evaluation.
    """
    leaves, structure = jax.tree.flatten((hyperparameters, params))
    _check_step(optimizer, structure, tuple(map(shape_of, leaves)))


def shape_of(leaf: Any) -> jax.ShapeDtypeStruct:
    """What a program is compiled for, of an array: its shape and dtype, but no values.

    >>> shape_of(0.5) == shape_of(2.0)
    True
    """
    kind: Any = jax.typeof(leaf)
    struct: Any = jax.ShapeDtypeStruct
    return struct(kind.shape, kind.dtype, weak_type=kind.weak_type)


@lru_cache(maxsize=64)
def _check_step(optimizer: Optimizer, structure: Any, leaves: tuple[Any, ...]) -> None:
    """`check_optimizer`, once for each optimiser and for arrays of these shapes."""
    hyperparameters, params = structure.unflatten(leaves)
    state = _traced(_init, optimizer, hyperparameters, params)
    for node in jax.tree.leaves(state, is_leaf=lambda node: type(node) in UNSUITABLE):
        if type(node) in UNSUITABLE:
            raise ValueError(f"{UNSUITABLE[type(node)]}. {INSTEAD}")
    moved, after = _traced(_update, optimizer, hyperparameters, params, state)
    for what, got, expected in (("the parameters", moved, params), ("its state", after, state)):
        if difference := mismatch(got, expected):
            raise ValueError(
                "fit cannot use this optimizer: a step must keep the structure, the shapes and the "
                f"dtypes of {what}, but {difference}. {INSTEAD}"
            )


def _traced(function: Callable[..., Any], optimizer: Optimizer, *arguments: Any) -> Any:
    """The shapes that a part of the optimiser returns.

    Raises:
        ValueError: if the optimiser raises, with its message.
    """
    try:
        return jax.eval_shape(partial(function, optimizer=optimizer), *arguments)
    except (TypeError, ValueError, AttributeError) as error:
        # JAX's errors name the argument whose value is not known while it traces.
        if names := re.findall(r"hyperparameters\['(.*?)'\]", str(error)):
            raise ValueError(
                f"the optimizer needs {' and '.join(names)} as a constant: {CONSTANTS}"
            ) from error
        raise ValueError(
            f"fit cannot use this optimizer, which raised {type(error).__name__}: "
            f"{str(error).rstrip('.')}. An optimizer gets the gradient, its state, the parameters, "
            f"value, grad and value_fn, and no other arguments. {INSTEAD}"
        ) from error


@partial(jax.jit, static_argnames="optimizer")
def _update(
    hyperparameters: Hyperparameters, params: Params, opt_state: Any, *, optimizer: Optimizer
) -> tuple[Params, optax.OptState]:
    """The parameters and the state after a step by some gradient and some loss."""
    made, loss = build(optimizer, hyperparameters), partial(optax.tree.norm, squared=True)
    updates, after = compute_updates(made, params, opt_state, params, loss(params), loss)
    if any(jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(updates)):
        raise TypeError("its updates are complex numbers, but the parameters are real")
    return optax.apply_updates(params, updates), after


def compute_updates(
    optimizer: optax.GradientTransformation,
    gradient: Params,
    opt_state: optax.OptState,
    params: Params,
    value: Array,
    value_fn: Callable[[Params], Array],
) -> tuple[Params, optax.OptState]:
    """The updates of a step, and the optimiser's state after it.

    `value` is the loss at the parameters, and `value_fn` the loss as a function of them. XLA leaves
    the loss out of the compiled step where the optimiser does not read it.
    """
    updates, after = optax.with_extra_args_support(optimizer).update(
        gradient, opt_state, params, value=value, grad=gradient, value_fn=value_fn
    )
    return updates, after

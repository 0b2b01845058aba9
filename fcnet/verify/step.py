"""Training steps: the gradient is the difference of the parameters before and after, over the rate.

Most code from scratch is of this kind: it changes its parameters, and returns no gradient.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from fcnet.arrays import is_array, shape_of
from fcnet.types import Params
from fcnet.verify.forms import is_one_array
from fcnet.verify.returned import Returned
from fcnet.verify.types import FORMATS, NOT_ZERO, Answer, Case, Format, are_numbers_of, matching

RATES = (0.001, 0.003, 0.005, 0.01, 0.03, 0.05, 0.1, 0.3, 0.5, 1.0)
"""Learning rates that people use, the smallest first: a multiple of 1/0.1 is one of 1 too."""

ROUNDINGS = 64
"""Units of rounding within which new parameters are those of an exact step."""

FEWEST_ENTRIES, NEAR = 20, 0.05
"""How many entries must be multiples of their parameters' last digits, and how nearly, before a
gradient is taken for a difference of parameters: by chance it is so once in 10^20 times."""

SAME = 0.01
"""How far, relatively, a gradient is from that which its step in place shows, in fewer digits."""

FAR = 160
"""An entry shows it if its step is this many times smaller than its parameter: then its number of
last digits is known to a small part of one."""


def check_learning_rate(learning_rate: Any) -> float | None:
    """The learning rate as a Python number; raise unless it is None or finite and above 0."""
    if learning_rate is None:
        return None
    if (
        isinstance(learning_rate, bool | np.bool_)
        or not is_array(learning_rate)
        or shape_of(learning_rate)
    ):
        raise TypeError(f"learning_rate must be a number, got {learning_rate!r:.60}")
    if not (np.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(f"learning_rate must be finite and above 0, got {learning_rate!r}")
    return float(learning_rate)


def after_step(params: Any, returned: Any) -> Any:
    """The parameters after a step: what was returned, or what was given and changed in place.

    A step in place may return None, its loss, several numbers such as its loss and accuracy, or one
    array such as its predictions.
    """
    if returned is None:
        return params
    if is_in_place(returned):
        return (returned, params)
    alike = is_array(params) or _are_numbers(params)
    return returned if alike or not (_are_numbers(returned) or is_one_array(returned)) else params


def _are_numbers(value: Any) -> bool:
    """Whether it is a container of numbers alone; lists in it are arrays."""
    entries = value.values() if isinstance(value, Mapping) else value
    return isinstance(value, (Mapping, list, tuple)) and all(map(_is_number, entries))


def _is_number(value: Any) -> bool:
    return is_array(value) and shape_of(value) == ()


def is_in_place(returned: Any) -> bool:
    """Whether a step returned no parameters."""
    return returned is None or _is_number(returned)


@np.errstate(all="ignore")  # a wrong candidate may return any values
def gradient_of_step(before: Params, after: Returned, learning_rate: float) -> Returned:
    """The gradient of which a step has taken `learning_rate` times from the parameters."""
    if after.answer is None:
        return after
    gradient = jax.tree.map(
        lambda old, new: (old - new) / learning_rate, before, after.answer.gradient
    )
    return after._replace(answer=after.answer._replace(gradient=gradient, rate=learning_rate))


def is_changed(step: Answer | None) -> bool:
    """Whether a step has changed any parameter."""
    return step is not None and any(leaf.any() for leaf in jax.tree.leaves(step.gradient))


@np.errstate(all="ignore")  # a wrong candidate may return any values
def is_beside(returned: Answer | None, step: Answer | None) -> bool:
    """Whether a step was taken in place, and what it returned is no new parameters.

    That is predictions or the like, which cannot be read, or its own gradient.
    """
    if step is None or not is_changed(step) or returned is None:
        return is_changed(step)
    one, other = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(answer.gradient)])
        for answer in (returned, step)
    )
    return bool(np.linalg.norm(one - other) <= SAME * np.linalg.norm(other))


@np.errstate(all="ignore")  # a wrong candidate may return any values
def rate_of_differences(answers: Iterable[tuple[Case, Answer]], format: Format) -> float | None:
    """The learning rate by which gradients were divided that are differences of parameters.

    The difference of two parameters is a whole number of units in their last place. So are numbers
    of a coarser format; any other gradient is not in all its entries. Returns the rate or half of
    it; None if there is none.
    """
    pairs = [
        (np.ravel(theta), np.ravel(g))
        for case, answer in answers
        for theta, g in zip(
            matching(answer.gradient, case.params), jax.tree.leaves(answer.gradient), strict=True
        )
    ]
    theta, g = (np.concatenate(part) for part in zip(*pairs, strict=True))
    if any(are_numbers_of(coarser, [g]) for coarser in FORMATS.values() if coarser.u > format.u):
        return None
    last_place = format.u * 2.0 ** np.floor(np.log2(np.where(theta, abs(theta), 1)))
    for rate in RATES:
        units = g * rate / last_place
        shows = (abs(g) * rate * FAR < abs(theta)) & (units != 0)
        some = units[shows]
        off = abs(some - np.copysign(np.maximum(np.rint(abs(some)), 1), some))
        if len(off) >= FEWEST_ENTRIES and off.max() < NEAR:
            return rate
    return None


@np.errstate(all="ignore")  # a wrong candidate may return any values
def rate_of_returned(trials: Iterable[tuple[Params, Params, Params]], format: Format) -> float:
    """The learning rate of a step that returned new parameters where its gradient was asked for.

    Args:
        trials: parameters, what was returned, and the right gradient.
        format: of what was returned.

    Returns:
        The rate; 0 if what was returned is no exact step.
    """
    arrays = [[matching(trial[1], layers) for layers in trial] for trial in trials]
    theta, got, right = (
        np.concatenate([np.ravel(leaf) for trial in part for leaf in trial])
        for part in zip(*arrays, strict=True)
    )
    step = theta - got
    rate = float(step @ right / max(right @ right, NOT_ZERO))
    allowed = ROUNDINGS * format.u * (abs(theta) + abs(rate * right).max())
    fits = np.isfinite(got).all() and (abs(step - rate * right) <= allowed).all()
    return float(f"{rate:.4g}") if fits and rate > 0 else 0.0

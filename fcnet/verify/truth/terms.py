"""Terms of the cost that depend on the parameters alone, such as L2, and their gradients.

What they add to a gradient is known apart from the data, so the diagnosis takes it away and judges
the lines of Algorithm 5 on what is left.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from jax import Array

from fcnet.arrays import is_array, shape_of, to_numpy
from fcnet.layouts import Layout, with_zero_biases
from fcnet.trees import leaves, rebuild
from fcnet.types import Layer, Params
from fcnet.verify.calling import required_count
from fcnet.verify.candidate import message_of
from fcnet.verify.truth.double import Traced, float64, trace
from fcnet.verify.truth.evaluate import evaluate
from fcnet.verify.truth.rounding import KAPPA, jumps, spread
from fcnet.verify.truth.scalar import trace_scalar
from fcnet.verify.types import Answer, Case, Reference, Term, TermValue

PENALTY_SAMPLES = 8
"""Samples of the rounding of a penalty: it has few operations, and its tolerance is added to that
of the data's part."""


@dataclass(frozen=True)
class PowerOfN:
    """factor * n ** power, of the number n of examples."""

    factor: float
    power: int

    def __call__(self, n: int) -> float:
        """The coefficient for n examples."""
        return self.factor * float(n) ** self.power


ZERO = PowerOfN(0.0, 0)


@dataclass(frozen=True)
class Decay:
    """Half of a sum of squares, with a coefficient for the array of each layer.

    Attributes:
        W, b: the coefficients of the weights and the biases of layers 1..r, as functions of the
            number n of examples.
    """

    W: tuple[Callable[[int], float], ...]
    b: tuple[Callable[[int], float], ...]

    def __call__(self, case: Case) -> TermValue:
        """The term on a case."""
        n = case.n
        gradient = tuple(
            Layer(*(c(n) * theta for theta, c in zip(layer, coefficients, strict=True)))
            for layer, *coefficients in zip(case.params, self.W, self.b, strict=True)
        )
        return TermValue(sum(_halves(gradient, case)), gradient)

    def tolerance(self, case: Case, u: float) -> TermValue:
        """What rounding explains of an error in it."""
        gradient = self(case).gradient
        pairs = zip(_halves(gradient, case), jax.tree.leaves(gradient), strict=True)
        value = sum(abs(half) * (1 + math.sqrt(np.size(g) / 3)) for half, g in pairs)
        return TermValue(
            KAPPA * u * value, jax.tree.map(lambda g: KAPPA * u * 2 * abs(g), gradient)
        )


def _halves(gradient: Params, case: Case) -> list[float]:
    """Half of gradient . theta for each array: what a decay adds to the cost."""
    pairs = zip(*map(jax.tree.leaves, (gradient, case.params)), strict=True)
    return [float((g * theta).sum()) / 2 for g, theta in pairs]


@dataclass(frozen=True, eq=False)
class Penalty:
    """A JAX function of the parameters in the user's own layout, or of these and the number n.

    Attributes:
        function: returns a scalar; n is passed where it has two arguments without a default.
        layout: of the user's parameters.
        like: the user's parameters, whose containers the function gets with arrays of JAX.
    """

    function: Callable[..., Any]
    layout: Layout
    like: Any

    def __post_init__(self) -> None:
        """Raise TypeError unless JAX can trace the function to a real scalar.

        ValueError where that scalar, or its gradient, is not finite.
        """
        with float64():
            arrays = self._arrays(self.layout.read(self.like))
            arguments = "params and n" if self._takes_n else "params"
            trace_scalar(self._value, arrays, 1.0, name="penalty", arguments=arguments)
        value, gradient = evaluate(self._traced, arrays, 1.0)
        if not all(np.isfinite(x).all() for x in (value, *gradient)):
            raise ValueError(
                "penalty must be finite at your params, and so must its gradient: that of a norm "
                "is not where the norm is 0, unless a small number stands under its root"
            )

    def __call__(self, case: Case) -> TermValue:
        """The term on a case."""
        value, gradient = evaluate(self._traced, self._arrays(case.params), float(case.n))
        return TermValue(float(value), self._layers(gradient))

    def tolerance(self, case: Case, u: float) -> TermValue:
        """What rounding, and the choice at kinks such as that of |w| at 0, explain of an error."""
        given = self._arrays(case.params), float(case.n)
        value_sigma, sigma = spread(self._traced, *given, samples=PENALTY_SAMPLES).sigma
        _, jump = jumps(self._traced, *given, size=KAPPA * u)
        allowed = [KAPPA * u * s + abs(j).max(0) for s, j in zip(sigma, jump, strict=True)]
        return TermValue(KAPPA * u * float(value_sigma), self._layers(allowed))

    def _arrays(self, params: Params) -> list[np.ndarray]:
        """The user's arrays with the values of notes' layers, in the order of his containers."""
        inner = rebuild(lambda _, leaf: None if leaf is None else to_numpy(leaf), self.like)
        values = leaves(self.layout.write(params, inner))
        return [leaf for _, leaf in values if leaf is not None]

    def _layers(self, arrays: Sequence[np.ndarray]) -> Params:
        return self.layout.read(self._filled(arrays))

    def _filled(self, arrays: Sequence[Any]) -> Any:
        remaining = iter(arrays)
        return rebuild(lambda _, leaf: None if leaf is None else next(remaining), self.like)

    @property
    def _takes_n(self) -> bool:
        return required_count(self.function) == 2

    def _value(self, arrays: list[Array], n: Any) -> Array:
        filled = self._filled(arrays)
        return self.function(filled, n) if self._takes_n else self.function(filled)

    @cached_property
    def _traced(self) -> Traced:
        arrays = self._arrays(self.layout.read(self.like))
        return trace(jax.value_and_grad(self._value), arrays, 1.0)


@dataclass(frozen=True)
class Multiple:
    """A factor times a term."""

    factor: float
    term: Term

    def __call__(self, case: Case) -> TermValue:
        """The multiple on a case."""
        return _times(self.factor, self.term(case))

    def tolerance(self, case: Case, u: float) -> TermValue:
        """What rounding and a choice at kinks explain of an error in it."""
        return _times(abs(self.factor), self.term.tolerance(case, u))


def _times(factor: float, value: TermValue) -> TermValue:
    return jax.tree.map(lambda x: factor * x, value)


def total(terms: Sequence[Term], case: Case) -> TermValue:
    """The sum of several terms on a case; a bias that is absent is 0."""
    case = case._replace(params=with_zero_biases(case.params))
    return _sum((term(case) for term in terms), case.params)


def _sum(values: Iterable[TermValue], params: Params) -> TermValue:
    """The sum of values of terms of these parameters; zeros if there is none."""
    zero = TermValue(0.0, jax.tree.map(np.zeros_like, params))
    return jax.tree.map(lambda *parts: sum(parts), zero, *values)


def without(answer: Answer, terms: Sequence[Term], case: Case) -> Answer:
    """The data's part of an answer on a case."""
    return _changed(np.subtract, answer, terms, case)


def including(data: Answer, terms: Sequence[Term], case: Case) -> Answer:
    """The answer on a case of which this is the data's part."""
    return _changed(np.add, data, terms, case)


def _changed(
    change: Callable[[Any, Any], Any], answer: Answer, terms: Sequence[Term], case: Case
) -> Answer:
    gradient = jax.tree.map(
        lambda g, term: None if g is None else change(g, term),
        answer.gradient,
        total(terms, case).gradient,
        is_leaf=lambda g: g is None,
    )
    return answer._replace(gradient=gradient)


def with_terms(right: Reference, terms: Sequence[Term], case: Case, u: float) -> Reference:
    """The reference of the data's part with terms added, for arithmetic of unit roundoff u."""
    value, gradient = total(terms, case)
    allowed = _sum((term.tolerance(case, u) for term in terms), case.params)
    add: Callable[[Params, Params], Params] = partial(jax.tree.map, np.add)
    return right._replace(
        loss=right.loss + value,
        loss_tolerance=right.loss_tolerance + allowed.value,
        gradient=add(right.gradient, gradient),
        by_convention={c: add(choice, gradient) for c, choice in right.by_convention.items()},
        tolerance=add(right.tolerance, allowed.gradient),
    )


def l2_term(l2: float | Callable[[int], float], r: int) -> Decay:
    """l2 / 2 times the sum of the squared weights of r layers; `l2` a number or a function of n."""
    coefficient = partial(_checked, l2) if callable(l2) else PowerOfN(float(l2), 0)
    return Decay((coefficient,) * r, (ZERO,) * r)


def check_l2(l2: Any) -> None:
    """Raise unless `l2` is a finite number of 0 or more, or a function."""
    if not callable(l2):
        _checked(lambda n: l2, 1)


def _checked(l2: Callable[[int], Any], n: int) -> float:
    try:
        value = l2(n)
    except Exception as error:
        raise ValueError(
            f"l2 must be a function of any number n of examples; for n = {n} it raised "
            f"{message_of(error)}"
        ) from error
    if isinstance(value, (bool, np.bool_)) or not (is_array(value) and shape_of(value) == ()):
        raise TypeError(
            "l2 must be a number, or a function of the number n of examples that returns one, "
            f"such as lambda n: 0.1 / n; got {value!r}"
        )
    if not (np.isfinite(value) and value >= 0):
        raise ValueError(f"l2 must be finite and 0 or more, got {value!r}")
    return float(np.asarray(value).item())

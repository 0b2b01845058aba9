"""Terms of the cost that depend on the parameters alone, such as L2, and their gradients.

What they add to a gradient is known apart from the data, so the diagnosis takes it away and judges
the lines of Algorithm 5 on what is left.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from jax import Array

from fcnet.arrays import to_numpy
from fcnet.layouts import Layout, with_zero_biases
from fcnet.trees import leaves, rebuild
from fcnet.types import Layer, Params
from fcnet.verify.truth.double import Traced, float64, trace
from fcnet.verify.truth.rounding import KAPPA, jumps, spread
from fcnet.verify.truth.scalar import trace_scalar
from fcnet.verify.types import Answer, Case, Reference, Term

PENALTY_SAMPLES = 8
"""Samples of the rounding of a penalty: it has few operations, and its tolerance is added to that
of the data's part."""


@dataclass(frozen=True)
class Decay:
    """coefficient(n) / 2 times a sum of squares, with a factor for the arrays of each layer.

    Attributes:
        coefficient: a function of the number n of examples.
        W, b: the factors of the weights and the biases of layers 1..r, 0 for those left out.
    """

    coefficient: Callable[[int], float]
    W: tuple[float, ...]
    b: tuple[float, ...]

    def __call__(self, case: Case) -> Term:
        """The term on a case."""
        c = self.coefficient(len(case.X))
        gradient, value, spread_of_value = [], 0.0, 0.0
        for layer, *factors in zip(case.params, self.W, self.b, strict=True):
            arrays = []
            for theta, factor in zip(layer, factors, strict=True):
                arrays.append(c * factor * theta)
                part = c * factor / 2 * float((theta**2).sum())
                value += part
                spread_of_value += abs(part) * (1 + math.sqrt(np.size(theta) / 3))
            gradient.append(Layer(*arrays))
        sigma = jax.tree.map(lambda g: 2 * abs(g), tuple(gradient))
        return Term(value, tuple(gradient), spread_of_value, sigma)


@dataclass(frozen=True, eq=False)
class Penalty:
    """A JAX function of the parameters in the user's own layout.

    Attributes:
        function: returns a scalar.
        layout: of the user's parameters.
        like: the user's parameters, whose containers the function gets with arrays of JAX.
        roundoff: u of what the candidate computes in.
    """

    function: Callable[[Any], Any]
    layout: Layout
    like: Any
    roundoff: float

    def __post_init__(self) -> None:
        """Raise TypeError unless JAX can trace the function to a real scalar."""
        with float64():
            arrays = self._arrays(self.layout.read(self.like))
            trace_scalar(self._value, arrays, name="penalty", arguments="params")

    def __call__(self, case: Case) -> Term:
        """The term on a case."""
        arrays = self._arrays(case.params)
        measured = spread(self._traced, arrays, samples=PENALTY_SAMPLES)
        low, high = jumps(self._traced, arrays, size=KAPPA * self.roundoff)
        (value, gradient), (value_sigma, sigma), _ = measured
        # A kink, such as that of |w| at 0, is worth as much as rounding the other way.
        choice = [
            np.maximum(abs(below), abs(above)) / (KAPPA * self.roundoff)
            for below, above in zip(low[1], high[1], strict=True)
        ]
        sigma = [s + c for s, c in zip(sigma, choice, strict=True)]
        return Term(float(value), self._layers(gradient), float(value_sigma), self._layers(sigma))

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

    def _value(self, arrays: list[Array]) -> Array:
        return self.function(self._filled(arrays))

    @cached_property
    def _traced(self) -> Traced:
        return trace(jax.value_and_grad(self._value), self._arrays(self.layout.read(self.like)))


@dataclass(frozen=True)
class Multiple:
    """A factor times a term."""

    factor: float
    term: Callable[[Case], Term]

    def __call__(self, case: Case) -> Term:
        """The multiple on a case."""
        value, gradient, value_sigma, sigma = self.term(case)
        scale = partial(jax.tree.map, lambda x: self.factor * x)
        return Term(self.factor * value, scale(gradient), value_sigma, sigma)


def total(terms: Sequence[Callable[[Case], Term]], case: Case) -> Term:
    """The sum of several terms on a case; a bias that is absent is 0."""
    case = case._replace(params=with_zero_biases(case.params))
    zero = Term(0.0, jax.tree.map(np.zeros_like, case.params), 0.0, case.params)
    zero = zero._replace(sigma=zero.gradient)
    return sum_of([zero, *(term(case) for term in terms)])


def sum_of(terms: Sequence[Term]) -> Term:
    """The sum of terms on the same case."""
    return jax.tree.map(lambda *parts: sum(parts), *terms)


def without(answer: Answer, terms: Sequence[Callable[[Case], Term]], case: Case) -> Answer:
    """The data's part of an answer on a case."""
    pairs = zip(answer.gradient, total(terms, case).gradient, strict=True)
    layers: list[Any] = [
        Layer(*(None if g is None else g - t for g, t in zip(*layer, strict=True)))
        for layer in pairs
    ]
    return answer._replace(gradient=tuple(layers))


def with_term(reference: Reference, term: Term, u: float) -> Reference:
    """The reference of the data's part with a term added."""

    def add(gradient: Params) -> Params:
        return jax.tree.map(np.add, gradient, term.gradient)

    return reference._replace(
        loss=reference.loss + term.value,
        loss_tolerance=reference.loss_tolerance + KAPPA * u * term.value_sigma,
        gradient=add(reference.gradient),
        by_convention={c: add(choice) for c, choice in reference.by_convention.items()},
        tolerance=jax.tree.map(
            lambda allowed, sigma: allowed + KAPPA * u * sigma, reference.tolerance, term.sigma
        ),
    )


def l2_term(l2: float | Callable[[int], float], r: int) -> Decay:
    """l2 / 2 times the sum of the squared weights of r layers; `l2` a number or a function of n."""
    coefficient = partial(_checked, l2) if callable(l2) else partial(_constant, float(l2))
    return Decay(coefficient, (1.0,) * r, (0.0,) * r)


def check_l2(l2: Any) -> None:
    """Raise unless `l2` is a finite number of 0 or more, or a function."""
    if not callable(l2):
        _checked(lambda n: l2, 1)


def _constant(value: float, n: int) -> float:
    return value


def _checked(l2: Callable[[int], Any], n: int) -> float:
    value = l2(n)
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.number, np.ndarray, Array)
    ):
        raise TypeError(
            "l2 must be a number, or a function of the number n of examples that returns one, "
            f"such as lambda n: 0.1 / n; got {value!r}"
        )
    if np.size(value) != 1 or not (np.isfinite(value) and value >= 0):
        raise ValueError(f"l2 must be finite and 0 or more, got {value!r}")
    return float(np.asarray(value).item())

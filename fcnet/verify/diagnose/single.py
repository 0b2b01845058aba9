"""One example as Algorithm 5 sees it, and the lines of Algorithm 5 on it.

On a single example dJ/db^[k] *is* delta^[k]. So a returned gradient shows every intermediate of
Algorithm 5, and each line can be judged alone, with the candidate's own values upstream.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from fcnet.arrays import unit_roundoff
from fcnet.verify.diagnose.line import Line, Vector
from fcnet.verify.truth.functions import dJ_do, slope
from fcnet.verify.truth.terms import total
from fcnet.verify.types import NOT_ZERO, Answer, Case, Cost, Reference, TermValue, Values

Matrix = Float[np.ndarray, "m_k m_below"]

UNSEEN_NOISE = 32
"""Units of rounding that stand for the noise of delta where every delta is 0, and shows none."""

SLOPE_ERROR = 4
"""Units in the last place of sigma', relative to 1: what 1 - a^2 loses where a is near 1."""


@dataclass(frozen=True, eq=False, repr=False)
class Single:
    """A case of one example with its reference, and the gradient that the candidate returned.

    Every method takes the notes' k: `a(0)` is x, and `W(1)` the first layer's weights. A layer that
    does not exist raises IndexError. Tolerances are divided by `strictness`. Of the layers in
    `by_weights`, delta is read from dW though there is a bias.
    """

    cost: Cost
    case: Case
    reference: Reference
    answer: Answer
    slopes: dict[str, tuple[Vector, ...]]
    strictness: float = 1.0
    by_weights: frozenset[int] = frozenset()

    @property
    def r(self) -> int:
        """The number of layers."""
        return self.case.r

    @property
    def y(self) -> Vector:
        """The target."""
        return self.case.Y[0]

    def W(self, k: int) -> Matrix:  # noqa: N802 - the notes' symbol, as in all that follow
        """W^[k]."""
        return np.asarray(self.case.params[self._index(k)].W)

    def b(self, k: int) -> Vector:
        """b^[k]."""
        return np.asarray(self.case.params[self._index(k)].b)

    def a(self, k: int) -> Vector:
        """a^[k], for k = 0..r."""
        return np.asarray(self.reference.trace.a[self._index(k) + 1 if k else 0][0])

    def z(self, k: int) -> Vector:
        """z^[k]."""
        return np.asarray(self.reference.trace.z[self._index(k)][0])

    def dW(self, k: int) -> Matrix:  # noqa: N802
        """The candidate's dJ/dW^[k]."""
        return np.asarray(self.answer.gradient[self._index(k)].W)

    def db(self, k: int) -> Vector:
        """The candidate's dJ/db^[k]."""
        return np.asarray(self.answer.gradient[self._index(k)].b)

    def delta_from_dW(self, k: int) -> Vector:  # noqa: N802
        """delta^[k] as dW^[k] = delta^[k] a^[k-1]^T shows it, if a^[k-1] is not zero."""
        a = self.a(k - 1)
        return self.dW(k) @ a / (a @ a)

    def descent(self, k: int) -> Matrix:
        """What a training step subtracts a multiple of from W^[k]: dW with the cost's own terms."""
        return self.dW(k) + np.asarray(self.term.gradient[self._index(k)].W)

    def overwritten(self, gradient: Values, theta: Values) -> Values:
        """What a step shows for a gradient if it drops the old parameter: theta = -rate gradient.

        LookupError where the candidate takes no step.
        """
        if self.answer.rate is None:
            raise LookupError("there is no step")
        return gradient + theta / self.answer.rate

    def has_bias(self, k: int) -> bool:
        """Whether layer k has a bias, so that db shows its delta."""
        return self.answer.gradient[self._index(k)].b is not None

    def true_delta(self, k: int) -> Vector:
        """delta^[k] by the reference."""
        return self.reference.deltas[self._index(k)][0]

    def slope(self, k: int) -> Vector:
        """sigma'(z^[k]), the output activation's for k = r."""
        return self.slopes["here"][self._index(k)]

    def slope_at_a(self, k: int) -> Vector:
        """sigma'(a^[k]), which is a mistake."""
        return self.slopes["at a"][self._index(k)]

    def kink_slopes(self, k: int) -> tuple[Vector, Vector]:
        """sigma' to the left and to the right of z^[k], wide enough to straddle a kink at 0."""
        return self.slopes["left"][self._index(k)], self.slopes["right"][self._index(k)]

    def tied(self, k: int) -> Bool[np.ndarray, " m_k"]:
        """Which units of layer k are at a kink, up to rounding."""
        return self.reference.kinks[self._index(k)][0]

    @cached_property
    def term(self) -> TermValue:
        """The part of the cost that depends on the parameters alone; `answer` is without it."""
        return total(self.cost.terms, self.case)

    @cached_property
    def error(self) -> Vector:
        """dJ/do."""
        return dJ_do(self.cost.objective.loss, self.a(self.r), self.y)

    @cached_property
    def prediction(self) -> Vector:
        """dJ/do for the target 0: the mean that o stands for, such as softmax(o)."""
        return dJ_do(self.cost.objective.loss, self.a(self.r), 0 * self.y)

    @cached_property
    def noise(self) -> float:
        """How large rounding errors of the true delta are, relative to its largest entry."""
        pairs = zip(range(1, self.r + 1), self.reference.deltas, strict=True)
        ratios = [self._usual("b", k).max() / abs(d).max() for k, d in pairs if d.any()]
        return max(ratios, default=UNSEEN_NOISE * self.unit_roundoff)

    @property
    def unit_roundoff(self) -> float:
        """u of what the candidate returned."""
        return unit_roundoff(self.answer.dtype)

    def delta_tolerance(self, k: int, terms: Vector) -> Vector:
        """What rounding explains in delta^[k], or in db^[k], with terms of this size.

        The reference's tolerance is for the true values. A wrong value upstream may be larger, and
        rounding errors grow with it.
        """
        usual, size = self._usual("b", k), abs(self.true_delta(k)).max()
        noise = usual.max() / size if size else self.noise
        lost = self.read_error(k) + abs(self.slope(k)) * self.error_from_above(k)
        return np.asarray(usual + noise * terms + lost) / self.strictness

    def error_from_above(self, k: int) -> Vector:
        """What W^[k+1]^T delta^[k+1] has lost where delta^[k+1] is read; 0 in the output layer."""
        if k == self.r:
            return np.zeros_like(self.true_delta(k))
        return np.asarray(abs(self.W(k + 1)).T @ self.read_error(k + 1))

    def weight_tolerance(self, k: int, delta: Vector) -> Matrix:
        """What rounding explains in dW^[k] = delta a^[k-1]^T, for any delta.

        The rounding error of a^[k-1] follows from the reference's tolerance at the largest delta.
        """
        usual, true = self._usual("W", k), abs(self.true_delta(k))
        j = int(true.argmax())
        known = usual[j] / true[j] if true[j] else self.noise * abs(self.a(k - 1))
        lost = self.reference.lost * abs(self.W(k))
        lost = lost + np.outer(self.read_error(k), abs(self.a(k - 1)))
        return np.asarray(usual + np.outer(abs(delta), known) + lost) / self.strictness

    def read_error(self, k: int) -> Vector:
        """What delta^[k] has lost that is read from a difference of biases, or else from dW^[k]."""
        lost = self.reference.lost * abs(self.b(k))
        if self.has_bias(k) and k not in self.by_weights:
            return lost
        a = abs(self.a(k - 1))
        allowed = np.asarray(self.reference.tolerance[self._index(k)].W)
        return np.asarray(lost + allowed @ a / max(float(a @ a), NOT_ZERO))

    def _usual(self, role: str, k: int) -> Values:
        """The tolerance of dW^[k] or db^[k] without what a difference of parameters has lost."""
        tolerance, theta = (
            getattr(params[self._index(k)], role)
            for params in (self.reference.tolerance, self.case.params)
        )
        return np.asarray(tolerance - self.reference.lost * abs(theta))

    def _index(self, k: int) -> int:
        if not 1 <= k <= self.r:
            raise IndexError(f"there is no layer {k}")
        return k - 1


def single_of(
    cost: Cost, case: Case, reference: Reference, answer: Answer, strictness: float = 1.0
) -> Single:
    """The example of a case with one row. All slopes take two calls."""
    z = np.concatenate([row[0] for row in reference.trace.z])
    a = np.concatenate([row[0] for row in reference.trace.a[1:]])
    away = 2 * abs(z) + 1e-6
    points = np.stack([z, a, z - away, z + away])
    m_r = reference.trace.z[-1].shape[1]
    values = slope(cost.objective.activation, points)
    output = slope(cost.objective.output_activation, points[:, -m_r:])
    values = np.concatenate([values[:, :-m_r], output], axis=1)
    cuts = np.cumsum([row.shape[1] for row in reference.trace.z])[:-1]
    slopes = {
        name: tuple(np.split(row, cuts))
        for name, row in zip(("here", "at a", "left", "right"), values, strict=True)
    }
    return Single(cost, case, reference, answer, slopes, strictness)


class Upstream(NamedTuple):
    """An example, and the candidate's delta^[j] on it for the layers j = k..r read so far."""

    example: Single
    deltas: Mapping[int, Vector] = MappingProxyType({})

    def with_delta(self, k: int, delta: Vector) -> "Upstream":
        """The same with delta^[k], the next one."""
        return self._replace(deltas={**self.deltas, k: delta})

    def with_delta_from_dW(self, k: int) -> "Upstream":  # noqa: N802
        """The same with delta^[k] as dW^[k] shows it."""
        e = self.example
        shown = self.with_delta(k, e.delta_from_dW(k))
        return shown._replace(example=replace(e, by_weights=e.by_weights | {k}))

    def back(self, k: int) -> Vector:
        """dJ/da^[k] from delta^[k+1]: W^[k+1]^T delta^[k+1], or dJ/do for k = r."""
        e = self.example
        return e.error if k == e.r else e.W(k + 1).T @ self.deltas[k + 1]

    def terms(self, k: int) -> Vector:
        """The sizes of the terms of dJ/da^[k]."""
        e = self.example
        return abs(e.error) if k == e.r else abs(e.W(k + 1)).T @ abs(self.deltas[k + 1])

    def noise(self, k: int) -> float:
        """How large rounding errors are in layer k, relative to the largest term.

        A mistake may lack the factor sigma', which makes what is lost above smaller.
        """
        size = float(self.terms(k).max())
        lost = float(self.example.error_from_above(k).max()) / size if size else 0.0
        return self.example.noise + lost


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Step(Line):
    """A line on one example.

    Attributes:
        upstream: the example, with the candidate's delta^[j] for j = k..r.
        peers: the same line on every example, in the order of the calls, this one included.
    """

    upstream: Upstream
    peers: Sequence["Step"]

    @property
    def example(self) -> Single:
        """The example."""
        return self.upstream.example

    @property
    def delta(self) -> Vector:
        """delta^[k] of the candidate."""
        return self.upstream.deltas[self.k]

    @property
    def above(self) -> Vector:
        """delta^[k+1] of the candidate; LookupError for k = r."""
        return self.upstream.deltas[self.k + 1]

    @property
    def back(self) -> Vector:
        """All of delta^[k] but its factor sigma'(z^[k]), from the candidate's delta^[k+1]."""
        return self.upstream.back(self.k)

    def edited(self, edit: Callable[..., Any]) -> Any:
        """What the line gives after an edit of the line, its example, and k."""
        return edit(self, self.example, self.k)


def delta_steps(upstream: Sequence[Upstream], k: int) -> list[Step]:
    """Line 2 (k = r) or line 4 on every example: is delta^[k] what follows from delta^[k+1]?

    A unit at a kink may have any slope between the two one-sided ones. Its delta is right if some
    such slope gives it; if none does, it is no evidence for or against a mistake.
    """
    steps: list[Step] = []
    for one in upstream:
        e, delta, back = one.example, one.deltas[k], one.back(k)
        terms = one.terms(k)
        tolerance = e.delta_tolerance(k, terms * abs(e.slope(k)))
        tolerance = tolerance + SLOPE_ERROR * e.unit_roundoff * terms
        ends = [back * slope for slope in e.kink_slopes(k)]
        allowed = (np.minimum(*ends) - tolerance <= delta) & (
            delta <= np.maximum(*ends) + tolerance
        )
        steps.append(
            Step(
                place="2" if k == e.r else "4",
                k=k,
                expected=np.where(e.tied(k) & allowed, delta, back * e.slope(k)),
                got=delta,
                tolerance=tolerance,
                noise=one.noise(k),
                size=float(terms.max()),
                unit_roundoff=e.unit_roundoff,
                explained=~e.tied(k),
                upstream=one,
                peers=steps,
            )
        )
    return steps


def gradient_steps(upstream: Sequence[Upstream], place: str, k: int) -> list[Step]:
    """Line 5 on every example: do dW^[k] ("W") or db^[k] ("b") follow from delta^[k]?"""
    steps: list[Step] = []
    for one in upstream:
        e, delta = one.example, one.deltas[k]
        if place == "W":
            expected, got = np.outer(delta, e.a(k - 1)), e.dW(k)
            tolerance = e.weight_tolerance(k, delta)
        else:
            expected, got = delta, e.db(k)
            tolerance = e.delta_tolerance(k, abs(delta))
        steps.append(
            Step(
                place=place,
                k=k,
                expected=expected,
                got=got,
                tolerance=tolerance,
                noise=one.noise(k),
                size=float(abs(expected).max()),
                unit_roundoff=e.unit_roundoff,
                explained=np.ones(expected.shape, bool),
                upstream=one,
                peers=steps,
            )
        )
    return steps

"""One example as Algorithm 5 sees it, in the notes' numbering, beside the candidate's answer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from fcnet.arrays import unit_roundoff
from fcnet.types import Activation, Loss
from fcnet.verify.line import Values, Vector
from fcnet.verify.types import Answer, Case, Problem, Reference

Matrix = Float[np.ndarray, "m_k m_below"]


@dataclass(frozen=True, eq=False, repr=False)
class Example:
    """A case of one row, what is known of it, and the gradient that the candidate returned for it.

    Every method takes the notes' k, so `a(0)` is x and `W(1)` the first layer's weights; a layer
    that does not exist raises IndexError. Tolerances are divided by `strictness`.
    """

    problem: Problem
    case: Case
    reference: Reference
    answer: Answer
    slopes: dict[str, tuple[Vector, ...]]
    strictness: float = 1.0

    @property
    def r(self) -> int:
        """The number of layers."""
        return len(self.case.params)

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

    def true_delta(self, k: int) -> Vector:
        """delta^[k] by the reference."""
        return self.reference.deltas[self._index(k)][0]

    def slope(self, k: int) -> Vector:
        """sigma'(z^[k]), the output activation's for k = r."""
        return self.slopes["here"][self._index(k)]

    def slope_at_a(self, k: int) -> Vector:
        """sigma'(a^[k]): sigma' where it should not be taken."""
        return self.slopes["at a"][self._index(k)]

    def kink_slopes(self, k: int) -> tuple[Vector, Vector]:
        """sigma' to the left and to the right of z^[k], wide enough to straddle a kink at 0."""
        return self.slopes["left"][self._index(k)], self.slopes["right"][self._index(k)]

    def tied(self, k: int) -> Bool[np.ndarray, " m_k"]:
        """Which units of layer k sit on a kink, or too near to tell."""
        return self.reference.kinks[self._index(k)][0]

    def back(self, k: int, above: Vector | None) -> Vector:
        """dJ/da^[k] from delta^[k+1]: W^[k+1]^T delta^[k+1], or dJ/do for k = r."""
        return self.error if above is None else self.W(k + 1).T @ above

    @cached_property
    def error(self) -> Vector:
        """dJ/do."""
        return dJ_do(self.problem.loss, self.a(self.r), self.y)

    @cached_property
    def prediction(self) -> Vector:
        """dJ/do without its target: what o stands for, such as softmax(o)."""
        return dJ_do(self.problem.loss, self.a(self.r), 0 * self.y)

    @cached_property
    def noise(self) -> float:
        """How large rounding errors of the true delta are, relative to its largest entry."""
        pairs = zip(self.reference.tolerance, self.reference.deltas, strict=True)
        ratios = [layer.b.max() / abs(delta).max() for layer, delta in pairs if delta.any()]
        return max(ratios, default=32 * self.unit_roundoff)

    @property
    def unit_roundoff(self) -> float:
        """u of what the candidate returned."""
        return unit_roundoff(self.answer.dtype)

    def delta_tolerance(self, k: int, terms: Vector) -> Vector:
        """What rounding explains in delta^[k], or in db^[k], with terms of this size.

        The reference's tolerance is for the true values. A faulty value upstream may be larger, and
        errors grow with it.
        """
        usual, size = self.reference.tolerance[self._index(k)].b, abs(self.true_delta(k)).max()
        noise = usual.max() / size if size else self.noise
        return np.asarray(usual + noise * terms) / self.strictness

    def weight_tolerance(self, k: int, delta: Vector) -> Matrix:
        """What rounding explains in dW^[k] = delta a^[k-1]^T, for any delta.

        Where the true delta is largest, the reference's tolerance shows how well a^[k-1] is known.
        """
        usual, true = self.reference.tolerance[self._index(k)].W, abs(self.true_delta(k))
        j = int(true.argmax())
        known = usual[j] / true[j] if true[j] else self.noise * abs(self.a(k - 1))
        return np.asarray(usual + np.outer(abs(delta), known)) / self.strictness

    def _index(self, k: int) -> int:
        if not 1 <= k <= self.r:
            raise IndexError(f"there is no layer {k}")
        return k - 1


def slope(activation: Activation, z: Values) -> Values:
    """sigma'(z) by autodiff, in float64."""
    with jax.enable_x64(True):
        return np.asarray(_slope(activation.function, z))


def dJ_do(loss: Loss, o: Vector, y: Vector) -> Vector:  # noqa: N802 - the notes' symbol
    """dJ/do of one example by autodiff, in float64."""
    with jax.enable_x64(True):
        return np.asarray(_dJ_do(loss.value, o, y))


@partial(jax.jit, static_argnums=0)
def _slope(function: Callable[[Array], Array], z: Array) -> Array:
    _, pull = jax.vjp(function, z)
    return pull(jnp.ones_like(z))[0]


@partial(jax.jit, static_argnums=0)
def _dJ_do(value: Callable[[Array, Array], Array], o: Array, y: Array) -> Array:  # noqa: N802
    return jax.grad(value)(o, y)


def as_example(
    problem: Problem, case: Case, reference: Reference, answer: Answer, strictness: float = 1.0
) -> Example:
    """The example of a case with one row; all slopes in two calls, since each shape compiles."""
    z = np.concatenate([row[0] for row in reference.trace.z])
    a = np.concatenate([row[0] for row in reference.trace.a[1:]])
    away = 2 * abs(z) + 1e-6
    points = np.stack([z, a, z - away, z + away])
    m_r = reference.trace.z[-1].shape[1]
    values = slope(problem.activation, points)
    output = slope(problem.output_activation, points[:, -m_r:])
    values = np.concatenate([values[:, :-m_r], output], axis=1)
    cuts = np.cumsum([row.shape[1] for row in reference.trace.z])[:-1]
    slopes = {
        name: tuple(np.split(row, cuts))
        for name, row in zip(("here", "at a", "left", "right"), values, strict=True)
    }
    return Example(problem, case, reference, answer, slopes, strictness)

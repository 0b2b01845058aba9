"""A batch and its examples: its gradient must be the mean, or the sum, of theirs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from fcnet.arrays import unit_roundoff
from fcnet.types import Layer, Trace
from fcnet.verify.diagnose.line import Line
from fcnet.verify.diagnose.single import (
    Single,
    Step,
    Upstream,
    delta_steps,
    gradient_steps,
    single_of,
)
from fcnet.verify.truth.functions import dJ_do
from fcnet.verify.types import Answer, Case, Cost, Reference, Values, array_at

CANCELLATION = 8
"""How many times more cancellation a wrong gradient may have than the true one."""

Rows = Float[np.ndarray, "n m"]
Weights: TypeAlias = Float[np.ndarray, " n"]


class Given(NamedTuple):
    """The gradients dJ/dW and dJ/db of each of n examples in one layer, as returned."""

    W: Float[np.ndarray, "n m m_below"]
    b: Float[np.ndarray, "n m"]

    def total(self, place: str, weights: Weights) -> Values:
        """The weighted sum over the examples, of dW ("W") or db ("b")."""
        return np.tensordot(weights, self.W if place == "W" else self.b, 1)


class Product(NamedTuple):
    """The same gradients as delta a^T, line 5 of Algorithm 5, without forming each dW."""

    b: Float[np.ndarray, "n m"]
    a: Float[np.ndarray, "n m_below"]

    def total(self, place: str, weights: Weights) -> Values:
        """As `Given.total`."""
        return (self.b.T * weights) @ self.a if place == "W" else weights @ self.b


LayerRows: TypeAlias = Given | Product


@dataclass(frozen=True, eq=False, repr=False)
class Batch:
    """A case of n examples with the candidate's answer, and the gradient of each example alone.

    Attributes:
        cost: the function whose gradient is checked.
        case, reference, answer: an input, what is right, and what the candidate returned.
        examples: its rows as single examples, without an answer of their own.
        rows: in each layer the gradient of every row's loss: what the candidate returns for that
            row as a batch of one, or the true one; with the effect of faults in layers above.
        weights: how much row i counts in layer k beside its share, [k - 1, i]: 1 unless a fault in
            a layer above changed it.
        true: whether `rows` came from the reference.
        strictness: tolerances are divided by it.
    """

    cost: Cost
    case: Case
    reference: Reference
    answer: Answer
    examples: Sequence[Single]
    rows: Sequence[LayerRows]
    weights: Float[np.ndarray, "r n"]
    true: bool
    strictness: float
    _steps: dict[tuple[str, int], list[Step]] = field(default_factory=dict, init=False)

    @property
    def n(self) -> int:
        """The number of examples."""
        return self.case.n

    @property
    def r(self) -> int:
        """The number of layers."""
        return self.case.r

    @property
    def share(self) -> float:
        """What each row's gradient is multiplied by."""
        return self.cost.share(self.n)

    def a(self, k: int) -> Rows:
        """a^[k] of all rows, for k = 0..r."""
        return np.asarray(self.reference.trace.a[k])

    def delta(self, k: int) -> Rows:
        """delta^[k] of all rows, as their own gradients have it."""
        return self.weights[k - 1][:, None] * self.rows[k - 1].b

    def slope(self, k: int) -> Rows:
        """sigma'(z^[k]) of all rows."""
        return np.stack([example.slope(k) for example in self.examples])

    def error(self, Y: Rows) -> Rows:
        """dJ/do of all rows for any targets."""
        return dJ_do(self.cost.objective.loss, self.a(self.r), Y)

    def back(self, k: int) -> Rows:
        """W^[k+1]^T delta^[k+1] of all rows: delta^[k] but for its factor sigma'(z^[k])."""
        return self.delta(k + 1) @ self.case.params[k].W

    def steps(self, place: str, k: int) -> list[Step]:
        """The line of Algorithm 5 at `place` and layer k, on every row."""
        if (place, k) not in self._steps:
            upstream = [
                Upstream(example, {j: self.delta(j)[i] for j in range(k, self.r + 1)})
                for i, example in enumerate(self.examples)
            ]
            self._steps[place, k] = (
                delta_steps(upstream, k) if place in "24" else gradient_steps(upstream, place, k)
            )
        return self._steps[place, k]

    def total(self, place: str, k: int, weights: Weights | float = 1.0) -> Values:
        """dW^[k] ("W") or db^[k] ("b") of the batch, from its rows, each with a weight."""
        return self.share * self.rows[k - 1].total(place, self.weights[k - 1] * weights)

    def terms(self, place: str, k: int) -> Values:
        """The sum of the absolute values of what `total` adds up."""
        rows = self.rows[k - 1]
        absolute = type(rows)(*map(abs, rows))
        return self.share * absolute.total(place, abs(self.weights[k - 1]))

    def lost(self, place: str, k: int) -> Values:
        """What `total` has lost where the gradients of the rows are differences of parameters."""
        own, c = self.case.params[k - 1], self.share * self.reference.lost
        if place == "b":
            return np.asarray(self.n * c * abs(own.b))
        read = np.outer(abs(own.b), abs(self.a(k - 1)).sum(0))
        return np.asarray(c * (self.n * abs(own.W) + read))

    def edited(self, place: str, k: int, edit: Rows | Weights) -> Values:
        """dW^[k] or db^[k] with another delta^[k], or only other weights of the rows."""
        if edit.ndim == 1:
            return self.total(place, k, edit)
        return Product(edit, self.a(k - 1)).total(place, np.full(self.n, self.share))

    def after(self, k: int, edit: Rows | Weights) -> "Batch":
        """The batch below a fault in delta^[k]: another delta, or only other weights of rows."""
        weights = self.weights.copy()
        if edit.ndim == 1:
            weights[:k] *= edit
            return replace(self, weights=weights)
        weights[:k] = 1
        rows = list(self.rows)
        for j in range(k, 0, -1):
            delta = edit if j == k else (rows[j].b @ self.case.params[j].W) * self.slope(j)
            rows[j - 1] = Product(delta, self.a(j - 1))
        return replace(self, rows=rows, weights=weights)


def batch_of(
    cost: Cost,
    case: Case,
    reference: Reference,
    answer: Answer,
    alone: Sequence[Answer],
    strictness: float,
) -> Batch:
    """The batch of a case. Its rows are what was returned for each alone, or else the true ones."""
    n = case.n
    layers = zip(*(answer.gradient for answer in alone), strict=True)
    given = [_given(layer, reference, k) for k, layer in enumerate(layers, start=1)]
    pairs = zip(reference.deltas, reference.trace.a[:-1], strict=True)
    true = [Product(delta, np.asarray(a)) for delta, a in pairs]
    return Batch(
        cost=cost,
        case=case,
        reference=reference,
        answer=answer,
        examples=[
            single_of(cost, *row(cost, case, reference, i), answer, strictness) for i in range(n)
        ],
        rows=given or true,
        weights=np.ones((case.r, n)),
        true=not given,
        strictness=strictness,
    )


def _given(layers: Sequence[Layer], reference: Reference, k: int) -> Given:
    """What was returned for layer k of each example; without a bias, dW shows its delta."""
    W = np.stack([np.asarray(layer.W) for layer in layers])
    biases: list[Any] = [layer.b for layer in layers]
    if all(b is not None for b in biases):
        return Given(W, np.stack(biases))
    a, true = np.asarray(reference.trace.a[k - 1]), reference.deltas[k - 1]
    size = (a * a).sum(1, keepdims=True)
    shown = np.einsum("nij,nj->ni", W, a) / np.where(size > 0, size, 1)
    return Given(W, np.where(size > 0, shown, true))


def row(cost: Cost, case: Case, reference: Reference, i: int) -> tuple[Case, Reference]:
    """One row of a batch as a case of its own, with its reference.

    Its tolerance is that of the sum over the batch, which is at least as large. `gradient`,
    `by_convention` and `slack` stay those of the batch.
    """
    own = slice(i, i + 1)
    a, z = reference.trace
    n = case.n if cost.reduction == "mean" else 1
    return case._replace(X=case.X[own], Y=case.Y[own]), reference._replace(
        trace=Trace(tuple(x[own] for x in a), tuple(x[own] for x in z)),
        deltas=tuple(delta[own] for delta in reference.deltas),
        kinks=tuple(kink[own] for kink in reference.kinks),
        tolerance=tuple(Layer(n * W, n * b) for W, b in reference.tolerance),
        lost=n * reference.lost,
    )


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class BatchLine(Line):
    """Line 5 of one layer of a batch: dW^[k] or db^[k] from its rows, and as returned."""

    batch: Batch

    def edited(self, edit: Callable[..., Any]) -> Any:
        """What the line gives after an edit of its batch, and k."""
        return edit(self.batch, self.k)


def batch_lines(batches: Sequence[Batch], place: str, k: int) -> list[BatchLine]:
    """Is dW^[k] ("W") or db^[k] ("b") of every batch the mean, or sum, of its rows?"""
    lines = []
    for batch in batches:
        terms, noise = batch.terms(place, k), _noise(batch)
        # The rounding error of a unit's delta is relative to the terms that it adds up: as for any
        # unit, or several times that where a fault in a layer above leaves more to cancel.
        usual = array_at(batch.reference.tolerance, (place, k))
        tolerance = usual + CANCELLATION * noise * terms.max(axis=0) + batch.lost(place, k)
        slack = array_at(batch.reference.slack, (place, k)) if batch.true else 0
        lines.append(
            BatchLine(
                place=place,
                k=k,
                expected=batch.total(place, k),
                got=array_at(batch.answer.gradient, (place, k)),
                tolerance=tolerance / batch.strictness + slack,
                noise=noise,
                size=terms.max(),
                unit_roundoff=unit_roundoff(batch.answer.dtype),
                explained=np.ones(tolerance.shape, bool),
                batch=batch,
            )
        )
    return lines


def _noise(batch: Batch) -> float:
    """How large rounding errors of the true db are, relative to the largest of its terms."""
    layers = zip(batch.reference.tolerance, batch.case.params, batch.reference.deltas, strict=True)
    lost = batch.reference.lost
    sizes: list[tuple[Any, Any]] = [
        ((tolerance.b - lost * abs(own.b)).max(), batch.share * abs(delta).sum(0).max())
        for tolerance, own, delta in layers
    ]
    # A sum of n products has this much even where the true gradient, and its tolerance, is zero.
    least = 2 * batch.n * unit_roundoff(batch.answer.dtype)
    return max([least, *(tolerance / size for tolerance, size in sizes if size)])

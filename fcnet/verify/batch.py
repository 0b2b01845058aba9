"""A batch beside its rows: its gradient must be the mean, or the sum, of each example's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from fcnet.arrays import unit_roundoff
from fcnet.types import Layer, Trace
from fcnet.verify.line import Line, Values
from fcnet.verify.rows import Given, LayerRows, Product, Weights
from fcnet.verify.single import Example, as_example, dJ_do
from fcnet.verify.step import Deltas, Step, delta_steps, gradient_steps
from fcnet.verify.types import Answer, Case, Problem, Reference

CANCELLATION = 8
"""How many times more than the true gradient a faulty one may have to cancel."""

Rows = Float[np.ndarray, "n m"]


@dataclass(frozen=True, eq=False, repr=False)
class Batch:
    """A case of n rows with the candidate's answer, and the gradient of each row alone.

    Attributes:
        problem, case, reference, answer: as everywhere.
        examples: its rows as single examples, without an answer of their own.
        rows: in each layer the gradient of every row's loss, as the candidate returns it for that
            row as a batch of one, or the true one; after a fault upstream, as it is by then.
        weights: what row i counts in layer k beside its share, [k - 1, i]: 1 unless a fault
            upstream changed it.
        true: whether `rows` came from the reference.
        strictness: tolerances are divided by it.
    """

    problem: Problem
    case: Case
    reference: Reference
    answer: Answer
    examples: Sequence[Example]
    rows: Sequence[LayerRows]
    weights: Float[np.ndarray, "r n"]
    true: bool
    strictness: float

    @property
    def n(self) -> int:
        """The number of examples."""
        return len(self.case.X)

    @property
    def r(self) -> int:
        """The number of layers."""
        return len(self.case.params)

    @property
    def share(self) -> float:
        """What each row's gradient is multiplied by: 1/n for the mean, 1 for the sum."""
        return 1 / self.n if self.problem.reduction == "mean" else 1.0

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
        pairs = zip(self.a(self.r), Y, strict=True)
        return np.stack([dJ_do(self.problem.loss, o, y) for o, y in pairs])

    def back(self, k: int) -> Rows:
        """W^[k+1]^T delta^[k+1] of all rows: delta^[k] but for its factor sigma'(z^[k])."""
        return self.delta(k + 1) @ self.case.params[k].W

    def steps(self, place: str, k: int) -> list[Step]:
        """The line at `place` and k of Algorithm 5 on every row."""
        deltas: list[Deltas] = [
            {j: self.delta(j)[i] for j in range(k, self.r + 1)} for i in range(self.n)
        ]
        if place in "24":
            return delta_steps(self.examples, k, deltas)
        return gradient_steps(self.examples, place, k, deltas)

    def total(self, place: str, k: int, weights: Weights | float = 1.0) -> Values:
        """dW^[k] ("W") or db^[k] ("b") of the batch, from its rows, each with a weight."""
        return self.share * self.rows[k - 1].total(place, self.weights[k - 1] * weights)

    def terms(self, place: str, k: int) -> Values:
        """What `total` adds up, without cancellation."""
        return self.share * self.rows[k - 1].terms(place, self.weights[k - 1])

    def edited(self, place: str, k: int, edit: Rows | Weights) -> Values:
        """dW^[k] or db^[k] with another delta^[k], or only other weights of the rows."""
        if edit.ndim == 1:
            return self.total(place, k, edit)
        return Product(edit, self.a(k - 1)).total(place, np.full(self.n, self.share))

    def after(self, k: int, edit: Rows | Weights) -> "Batch":
        """The batch after a fault in delta^[k]: another delta, or only other weights of rows."""
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


def as_batch(
    problem: Problem,
    case: Case,
    reference: Reference,
    answer: Answer,
    alone: Sequence[Answer] = (),
    strictness: float = 1.0,
) -> Batch:
    """The batch of a case; its rows are what was returned for each alone, or else the true ones."""
    n = len(case.X)
    layers = zip(*(answer.gradient for answer in alone), strict=True)
    given = [Given(*map(np.stack, zip(*layer, strict=True))) for layer in layers]
    pairs = zip(reference.deltas, reference.trace.a[:-1], strict=True)
    true = [Product(delta, np.asarray(a)) for delta, a in pairs]
    return Batch(
        problem=problem,
        case=case,
        reference=reference,
        answer=answer,
        examples=[
            as_example(problem, *row(problem, case, reference, i), answer, strictness)
            for i in range(n)
        ],
        rows=given or true,
        weights=np.ones((len(case.params), n)),
        true=not given,
        strictness=strictness,
    )


def row(problem: Problem, case: Case, reference: Reference, i: int) -> tuple[Case, Reference]:
    """One row of a batch as a case of its own, and what is known of it.

    Its tolerance is that of the sum over the batch, which is no less; `gradient`, `by_convention`
    and `slack` stay the batch's.
    """
    own = slice(i, i + 1)
    a, z = reference.trace
    n = len(case.X) if problem.reduction == "mean" else 1
    return case._replace(X=case.X[own], Y=case.Y[own]), reference._replace(
        trace=Trace(tuple(x[own] for x in a), tuple(x[own] for x in z)),
        deltas=tuple(delta[own] for delta in reference.deltas),
        kinks=tuple(kink[own] for kink in reference.kinks),
        tolerance=tuple(Layer(n * W, n * b) for W, b in reference.tolerance),
    )


def leaf(layer: Layer, place: str) -> Values:
    """The array of a layer that line 5 computes at that place."""
    return np.asarray(layer.W if place == "W" else layer.b)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class BatchLine(Line):
    """Line 5 of one layer of a batch: dW^[k] or db^[k] as its rows have it, and as returned."""

    batch: Batch

    def edited(self, edit: Callable[..., Any]) -> Any:
        """What the line gives after an edit of its batch, and k."""
        return edit(self.batch, self.k)


def batch_lines(batches: Sequence[Batch], place: str, k: int) -> list[BatchLine]:
    """Is dW^[k] ("W") or db^[k] ("b") of every batch what its rows make together?"""
    lines = []
    for batch in batches:
        terms, noise = batch.terms(place, k), _noise(batch)
        # a unit's delta is rounded relative to what it adds up: as much as any unit's, or, after a
        # fault upstream that leaves more to cancel, several times as much
        usual = leaf(batch.reference.tolerance[k - 1], place)
        tolerance = usual + CANCELLATION * noise * terms.max(axis=0)
        slack = leaf(batch.reference.slack[k - 1], place) if batch.true else 0
        lines.append(
            BatchLine(
                place=place,
                k=k,
                expected=batch.total(place, k),
                got=leaf(batch.answer.gradient[k - 1], place),
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
    pairs = zip(batch.reference.tolerance, batch.reference.deltas, strict=True)
    sizes = [(layer.b.max(), batch.share * abs(delta).sum(0).max()) for layer, delta in pairs]
    # a sum of n products has so much even where the true gradient, and its tolerance, is zero
    least = 2 * batch.n * unit_roundoff(batch.answer.dtype)
    return max([least, *(tolerance / size for tolerance, size in sizes if size)])

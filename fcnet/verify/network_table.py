"""Algorithm 5 line by line on one input: the right numbers, and those that a gradient shows.

On one example dJ/db^[k] is delta^[k]; without a bias, dJ/dW^[k] = delta^[k] a^[k-1]^T shows it. A
gradient of several examples shows sums over them alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from fcnet.layouts import Slot
from fcnet.verify.compare import excess_of
from fcnet.verify.diagnose.blame import formula_of, is_identity
from fcnet.verify.diagnose.single import Single, Upstream, delta_steps, gradient_steps, single_of
from fcnet.verify.shown import shortened
from fcnet.verify.table import (
    SHOWN,
    Arithmetic,
    Quantity,
    State,
    Summand,
    Table,
    grid,
    shortest,
    written_out,
)
from fcnet.verify.truth.functions import losses_of
from fcnet.verify.truth.terms import total, without
from fcnet.verify.types import Answer, ArrayKey, Case, Cost, Reference, TermValue, Values, array_at
from fcnet.verify.unread import Unread

EXAMPLES = 3
"""The most examples of a batch whose z, a and delta are shown."""

NAME_WIDTH = 40
"""The most characters of the user's name of an array."""

INDICES = "Layers count from 1, units and inputs from 0: W[layer][unit][input]."
FORWARD = "Where only right numbers stand, such as z and a, a gradient does not show yours."
SUMS = (
    "A gradient of several examples shows no delta of theirs, only sums: in the backward pass your "
    "numbers show first at line 5."
)
FEWER = "Of {} examples the first {} are shown; the sums are over all."
TERM = "R is what l2 or penalty adds to the cost, or your own loss."
STEP = "Your gradient is (before - after) / {:g}, as learning_rate says."
KINK = (
    "At a kink of sigma any slope between that to the left and that to the right is right; these "
    "numbers have the latter. At one: {}."
)

Matrix = Float[np.ndarray, "rows columns"]
Index = tuple[int, int]


class Seen(NamedTuple):
    """What an answer shows of a quantity.

    Attributes:
        values: the candidate's numbers.
        middle: of all numbers that are right; only at a kink is it not the one shown.
        allowed: how far from there rounding, and the choice at kinks, explain them.
        source: where they are seen.
        follows: whether its own numbers before this give them; None if that is not known.
        name_of: the name of an entry.
        arithmetic: that gives the right number of an entry.
    """

    values: Matrix
    middle: Matrix
    allowed: Matrix
    source: str
    follows: bool | None
    name_of: Callable[[Index], str]
    arithmetic: Callable[[Index], Arithmetic]


class Entry(NamedTuple):
    """A quantity with all its units, in rows and columns.

    Attributes:
        name, line, layer, formula: as in a `Quantity`.
        right: the right numbers.
        row_layer: the layer of whose units there is a row each; None for a row for each example.
        column_layer: the layer of whose units there is a column each; None for a single column.
        seen: what the answer shows of it.
    """

    name: str
    right: Matrix
    line: int | None = None
    layer: int | None = None
    formula: str = ""
    row_layer: int | None = None
    column_layer: int | None = None
    seen: Seen | None = None

    @property
    def excess(self) -> Matrix:
        """The error of the candidate's numbers, over what rounding explains."""
        if self.seen is None:
            return np.zeros(self.right.shape)
        return abs(excess_of(self.seen.values, self.seen.middle, self.seen.allowed))

    @property
    def differs(self) -> Bool[np.ndarray, "rows columns"]:
        """Where rounding does not explain it."""
        return self.excess > 1

    @property
    def layers(self) -> tuple[int | None, int | None]:
        """Those of the rows and of the columns."""
        return self.row_layer, self.column_layer

    def where(self, at: Index) -> str:
        """The index of an entry, as it is written behind the name."""
        return "".join(
            f"[{i}]" for i, layer in zip(at, self.layers, strict=True) if layer is not None
        )


def network_table(
    cost: Cost,
    case: Case,
    right: Reference,
    answer: Answer,
    slots: Mapping[ArrayKey, Slot],
    unread: Unread = frozenset(),
    learning_rate: float | None = None,
) -> Table:
    """The right numbers of a case, and the candidate's where its answer shows them.

    Args:
        cost: the function whose gradient it should be.
        case, right, answer: an input, what is right there, and what the candidate returned.
        slots: the user's arrays.
        unread: those that cannot be read.
        learning_rate: of a candidate that takes a step.
    """
    lines = _Lines(cost, case, right, answer, slots, unread)
    with np.errstate(all="ignore"):  # a wrong candidate may return any values
        entries = list(lines.entries())
        first = next((entry for entry in entries if entry.differs.any()), None)
        spot = _worst(first) if first else None
        units = _units(lines.sizes, entries, first, spot)
        arithmetic = _written_out(first, spot) if first and spot else ""
    remarks = [
        INDICES,
        FORWARD,
        *([SUMS] if case.n > 1 else []),
        *([FEWER.format(case.n, EXAMPLES)] if case.n > EXAMPLES else []),
        *([TERM] if cost.terms else []),
        *([STEP.format(learning_rate)] if learning_rate else []),
        *lines.kinks(units),
    ]
    quantities = tuple(_quantity(entry, entry is first, units) for entry in entries)
    return Table(case.name, quantities, arithmetic, tuple(remarks))


def _state(entry: Entry, is_first: bool) -> State:
    if entry.seen is None:
        return "unseen"
    if is_first:
        return "first"
    if not entry.differs.any():
        return "agrees"
    if entry.seen.follows is None:
        return "differs"
    return "follows" if entry.seen.follows else "wrong"


def _worst(entry: Entry) -> Index:
    i, j = np.unravel_index(entry.excess.argmax(), entry.right.shape)
    return int(i), int(j)


def _written_out(entry: Entry, at: Index) -> str:
    if entry.seen is None:
        return ""
    name, right = f"{entry.name}{entry.where(at)}", float(entry.right[at])
    yours, got = entry.seen.name_of(at), float(entry.seen.values[at])
    return written_out(name, entry.seen.arithmetic(at), right, yours, got)


def _units(
    sizes: Sequence[int], entries: Sequence[Entry], first: Entry | None, spot: Index | None
) -> list[list[int]]:
    """Of each layer the units to show: those with the largest errors, and those of one entry."""
    scores = [np.zeros(size) for size in sizes]
    for entry in entries:
        ratio = entry.excess
        if entry is first and spot is not None:
            ratio[spot] = np.inf
        for axis, layer in enumerate(entry.layers):
            if layer is not None:
                np.maximum(scores[layer], ratio.max(1 - axis), out=scores[layer])
    return [sorted(np.argsort(-score, kind="stable")[:SHOWN].tolist()) for score in scores]


def _quantity(entry: Entry, is_first: bool, units: Sequence[Sequence[int]]) -> Quantity:
    chosen: list[list[int]] = []
    names: list[list[str]] = []
    left_out: list[str] = []
    for axis, layer in enumerate(entry.layers):
        size = entry.right.shape[axis]
        if layer is None:
            chosen.append(list(range(min(size, EXAMPLES))))
            names.append([f"example {i}" if size > 1 else "" for i in chosen[-1]])
            continue
        word = "unit" if layer else "input"
        chosen.append(list(units[layer]))
        names.append([f"{word} {i}" for i in units[layer]])
        left_out += [f"{len(units[layer])} of {size} {word}s"] if len(units[layer]) < size else []
    return Quantity(
        line=entry.line,
        layer=entry.layer,
        name=entry.name,
        formula=entry.formula,
        source=entry.seen.source if entry.seen else "",
        state=_state(entry, is_first),
        rows=tuple(names[0]),
        columns=tuple(names[1]),
        right=grid(entry.right, *chosen),
        yours=grid(entry.seen.values, *chosen) if entry.seen else (),
        differs=grid(entry.differs, *chosen),
        left_out=", ".join(left_out),
    )


@dataclass(frozen=True)
class _Lines:
    """The lines of Algorithm 5 on a case, as entries; the arguments of `network_table`."""

    cost: Cost
    case: Case
    right: Reference
    answer: Answer
    slots: Mapping[ArrayKey, Slot]
    unread: Unread

    @property
    def sizes(self) -> list[int]:
        """d, m_1, ..., m_r."""
        return [a.shape[1] for a in self.right.trace.a]

    @cached_property
    def term(self) -> TermValue:
        """The part of the cost that depends on the parameters alone."""
        return total(self.cost.terms, self.case)

    @cached_property
    def single(self) -> Single:
        """The case as a single example, with the data's part of the answer."""
        return single_of(
            self.cost, self.case, self.right, without(self.answer, self.cost.terms, self.case)
        )

    def entries(self) -> Iterator[Entry]:
        """Every quantity, in the order in which Algorithm 5 computes them."""
        yield from self.forward()
        own = Upstream(self.single) if self.case.n == 1 else None
        for k in range(self.case.r, 0, -1):
            if own is None:
                yield self.right_delta(k)
            else:
                entry, own = self.delta(k, own)
                yield entry
            yield from self.gradients(k, own)

    def forward(self) -> Iterator[Entry]:
        """Line 1: what goes in, z and a of each layer, and J."""
        a, z = ([*map(np.asarray, layers)] for layers in self.right.trace)
        linear = is_identity(self.cost.objective.output_activation)
        yield Entry(name="a[0]", formula="x", right=a[0], column_layer=0)
        yield Entry(name="y", right=self.case.Y, column_layer=self.case.r)
        for k in range(1, self.case.r + 1):
            bias = f" + b[{k}]" if ("b", k) in self.slots else ""
            sigma = "sigma({})" if k < self.case.r else "{}" if linear else "sigma_r({})"
            one = partial(Entry, line=1, layer=k, column_layer=k)
            yield one(name=f"z[{k}]", formula=f"W[{k}] a[{k - 1}]{bias}", right=z[k - 1])
            name = f"a[{k}]" if k < self.case.r else f"o = a[{k}]"
            yield one(name=name, formula=sigma.format(f"z[{k}]"), right=a[k])
        if self.answer.loss is not None:
            losses = losses_of(self.cost.objective.loss, a[-1], self.case.Y)
            yield Entry(
                line=1,
                name="J",
                formula=self._over_examples("J(o, y)") + (" + R" if self.cost.terms else ""),
                right=np.array([[self.right.loss]]),
                seen=Seen(
                    values=np.array([[self.answer.loss]]),
                    middle=np.array([[self.right.loss]]),
                    allowed=np.array([[self.right.loss_tolerance]]),
                    source="your loss",
                    follows=None,
                    name_of=lambda at: "your loss",
                    arithmetic=lambda at: self._sum(
                        [(J,) for J in losses], self.term.value if self.cost.terms else None
                    ),
                ),
            )

    def right_delta(self, k: int) -> Entry:
        """Lines 2 and 4: the right delta^[k]."""
        place = "2" if k == self.case.r else "4"
        return Entry(
            line=int(place),
            layer=k,
            name=f"delta[{k}]",
            formula=formula_of(self.cost, place, k),
            right=self.right.deltas[k - 1],
            column_layer=k,
        )

    def delta(self, k: int, above: Upstream) -> tuple[Entry, Upstream]:
        """Lines 2 and 4 on one example; and the candidate's own delta from there up.

        Where dJ/db is not delta^[k] by the candidate's own delta^[k+1], but dJ/dW shows one that
        is, then that is taken, and dJ/db is wrong.
        """
        e, right = self.single, self.right_delta(k)
        a, tolerance = e.a(k - 1), self.right.tolerance[k - 1].b + self.right.slack[k - 1].b / 2
        seen = []
        if self._slot("b", k):
            seen.append(("b", e.db(k), tolerance))
        if self._slot("W", k) and a.any():
            from_dW = self.right.tolerance[k - 1].W @ abs(a) / (a @ a)
            seen.append(("W", e.delta_from_dW(k), tolerance + from_dW))
        fitting = [
            witness
            for witness in seen
            if not delta_steps([above.with_delta(k, witness[1])], k)[0].wrong.any()
        ]
        if not seen:
            return right, above.with_delta(k, above.back(k) * self._slope(k))
        role, got, allowed = (fitting or seen)[0]
        middle, term = self.right.by_convention.get(0.5), self.term.gradient[k - 1]
        shown = Seen(
            values=got[None],
            middle=right.right if middle is None else np.asarray(middle[k - 1].b - term.b)[None],
            allowed=np.asarray(allowed)[None],
            source=f"your delta[{k}], which your {_name(self.slots[role, k])} shows,",
            follows=bool(fitting) or (None if self._has_other_loss(k) else False),
            name_of=lambda at: f"your delta[{k}][{at[1]}]",
            arithmetic=partial(self._delta_arithmetic, k),
        )
        return right._replace(seen=shown), above.with_delta(k, got)

    def _has_other_loss(self, k: int) -> bool:
        """Whether a wrong loss was returned, from which delta^[r] may follow."""
        loss, right = self.answer.loss, self.right
        is_wrong = loss is not None and not abs(loss - right.loss) <= right.loss_tolerance
        return k == self.case.r and is_wrong

    def _slope(self, k: int) -> Values:
        """sigma'(z^[k]) of one example, as in the reference: on the right side of a kink at 0."""
        e = self.single
        return np.where((e.z(k) == 0) & e.tied(k), e.kink_slopes(k)[1], e.slope(k))

    def _delta_arithmetic(self, k: int, at: Index) -> Arithmetic:
        e, i = self.single, at[1]
        slope = float(self._slope(k)[i])
        if k < self.case.r:
            pairs = zip(e.W(k + 1)[:, i], e.true_delta(k + 1), strict=True)
            terms = shortest([Summand(tuple(map(float, pair))) for pair in pairs])
            return Arithmetic(terms, times=slope)
        # dJ/do is "prediction minus target" in most losses; else only its value is known.
        parts = (e.prediction[i], -e.y[i]) if self._is_difference() else (e.error[i],)
        linear = is_identity(self.cost.objective.output_activation)
        terms = tuple(Summand((float(part),)) for part in parts)
        return Arithmetic(terms, times=None if linear else slope)

    def _is_difference(self) -> bool:
        e = self.single
        return np.allclose(e.error, e.prediction - e.y, rtol=1e-9, atol=0)

    def gradients(self, k: int, own: Upstream | None) -> Iterator[Entry]:
        """Line 5: dJ/dW^[k] and dJ/db^[k], beside what the candidate's own delta^[k] gives."""
        for role in "Wb":
            right, middle, got, tolerance, slack, term = (
                getattr(layers[k - 1], role)
                for layers in (
                    self.right.gradient,
                    self.right.by_convention.get(0.5, self.right.gradient),
                    self.answer.gradient,
                    self.right.tolerance,
                    self.right.slack,
                    self.term.gradient,
                )
            )
            if right is None:
                continue
            added = f" + dR/d{role}[{k}]" if np.any(term) else ""
            entry = Entry(
                line=5,
                layer=k,
                name=f"d{role}[{k}]",
                formula=self._over_examples(formula_of(self.cost, role, k)) + added,
                right=np.atleast_2d(right),
                row_layer=k if role == "W" else None,
                column_layer=k - 1 if role == "W" else k,
            )
            if slot := self._slot(role, k):
                shown = Seen(
                    values=np.atleast_2d(got),
                    middle=np.atleast_2d(middle),
                    allowed=np.atleast_2d(tolerance + slack / 2),  # slopes of 0 to 1 are 1/2 +- 1/2
                    source=f"your {_name(slot)}",
                    follows=self._follows(role, k, own),
                    name_of=partial(_own_entry, slot),
                    arithmetic=partial(self._gradient_arithmetic, role, k),
                )
                entry = entry._replace(seen=shown)
            yield entry

    def _slot(self, role: str, k: int) -> Slot | None:
        """The user's array, if it can be read."""
        return None if (role, k) in self.unread else self.slots.get((role, k))

    def _follows(self, role: str, k: int, own: Upstream | None) -> bool | None:
        return None if own is None else not gradient_steps([own], role, k)[0].wrong.any()

    def _gradient_arithmetic(self, role: str, k: int, at: Index) -> Arithmetic:
        i, j = at
        rows = zip(self.right.deltas[k - 1], self.right.trace.a[k - 1], strict=True)
        products = [(delta[i], a[j]) if role == "W" else (delta[j],) for delta, a in rows]
        term = np.atleast_2d(array_at(self.term.gradient, (role, k)))
        return self._sum(products, float(term[at]) if term.any() else None)

    def _sum(self, products: Sequence[tuple[float, ...]], plus: float | None) -> Arithmetic:
        """The mean, or the sum, of what each example adds."""
        terms = shortest(Summand(tuple(map(float, factors))) for factors in products)
        over = self.case.n if self.cost.reduction == "mean" else 1
        return Arithmetic(terms, over=over, plus=plus)

    def _over_examples(self, formula: str) -> str:
        over = "" if self.case.n == 1 else f"{self.cost.reduction} over the examples of "
        return f"{over}{formula}"

    def kinks(self, units: Sequence[Sequence[int]]) -> list[str]:
        """A remark on the units at a kink, of those that are shown."""
        at = [
            f"z[{k}][{i}]"
            for k, kink in enumerate(self.right.kinks, start=1)
            for i in units[k]
            if kink[:EXAMPLES, i].any()
        ]
        return [KINK.format(", ".join(at))] if at else []


def _name(slot: Slot) -> str:
    return shortened(slot.gradient_name, NAME_WIDTH)


def _own_entry(slot: Slot, at: Index) -> str:
    """An entry in the user's own terms."""
    return f"your {_name(slot)}{list(slot.where(at if slot.role == 'W' else at[1:]))}"

"""The wrong lines from the output down: of a single example, and of a batch with given rows.

Layers are judged with the candidate's own values upstream. So a fault is found in its place,
several are found at once, and no line is blamed for what it inherits.

On one example delta^[k] has three witnesses: dJ/db^[k], which is delta^[k]; dJ/dW^[k], which is
delta^[k] times a^[k-1]^T; and layer k-1, which is computed from it. If they contradict each other,
there are several hypotheses, and the one that leaves the fewest and simplest mistakes is taken.
A layer without a bias has the last two of these witnesses.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Generic, TypeVar

from fcnet.verify.diagnose.batch import Batch, BatchLine, batch_lines
from fcnet.verify.diagnose.explain import (
    CHANCE,
    KNOWN,
    UNKNOWN,
    Explanation,
    Fault,
    describe_error,
    evidence,
    one_mistake,
    two_mistakes,
)
from fcnet.verify.diagnose.line import Line, Mistake
from fcnet.verify.diagnose.single import (
    Single,
    Step,
    Upstream,
    delta_steps,
    gradient_steps,
)
from fcnet.verify.types import NOT_ZERO, Values

UNTRACED = UNKNOWN + 3
"""The complexity of an unknown fault in delta of a batch, which hides all layers below: more than
that of an unknown one in line 5 and a known one below, less than that of two unknown ones."""


def complexity(faults: Sequence[Fault]) -> int:
    """How complex an explanation by these faults is: least for few and simple mistakes."""
    return sum(fault.why.complexity for fault in faults)


Input = TypeVar("Input", Upstream, Batch)


@dataclass(frozen=True)
class Hypothesis(Generic[Input]):
    """What a layer may have computed.

    Attributes:
        inputs: those that show it, with the candidate's values from this layer up; none where these
            values are unknown.
        lines: those of the layer that may then be wrong, each on all inputs.
        mistakes: that may explain them.
        supposed: the faults that it consists of itself.
    """

    inputs: Sequence[Input]
    lines: Sequence[Sequence[Line]]
    mistakes: Sequence[Mistake]
    supposed: Sequence[Fault] = ()

    @cached_property
    def _explained(self) -> list[tuple[Sequence[Line], Explanation | None]]:
        """The wrong lines, each with the one mistake that explains it."""
        return [(line, one_mistake(line, self.mistakes)) for line in self.lines if _any_wrong(line)]

    @property
    def complexity(self) -> int:
        """That of its faults; it is known before two mistakes in one line are looked for."""
        own = (why.complexity if why else UNKNOWN for _, why in self._explained)
        return complexity(self.supposed) + sum(own)

    @cached_property
    def faults(self) -> list[Fault]:
        """The wrong lines, explained."""
        explained: list[Fault] = [
            Fault(line[0].place, line[0].k, why)
            for line, one in self._explained
            for why in ([one] if one else two_mistakes(line, self.mistakes))
        ]
        return [*self.supposed, *explained]

    @property
    def has_unknown(self) -> bool:
        """Whether a fault is unknown."""
        return any(fault.why.kind == "unknown" for fault in self.faults)


def _search(
    inputs: Sequence[Input],
    r: int,
    hypotheses_of: Callable[[Sequence[Input], int], Iterable[Hypothesis[Input]]],
    known_only: bool = False,
) -> list[Fault]:
    """The faults of the simplest hypothesis on each layer, from the output down.

    The layer below is a witness: the complexity of its faults under each hypothesis is added. With
    `known_only` nothing is found if on some layer every hypothesis has an unknown fault.
    """
    found: list[Fault] = []
    hypotheses = list(hypotheses_of(inputs, r))
    for k in range(r, 0, -1):
        if known_only:
            hypotheses = [h for h in hypotheses if not h.has_unknown]
            if not hypotheses:
                return []
        below = [
            list(hypotheses_of(h.inputs, k - 1)) if k > 1 and h.inputs else [] for h in hypotheses
        ]
        least = [min((h.complexity for h in hs), default=0) for hs in below]
        costs = [h.complexity + further for h, further in zip(hypotheses, least, strict=True)]
        best = costs.index(min(costs))
        found += hypotheses[best].faults
        if not below[best]:
            break
        hypotheses = below[best]
    return found


def single_faults(singles: Sequence[Single], mistakes: Sequence[Mistake]) -> list[Fault]:
    """The wrong lines on single examples, from the output down.

    Examples whose gradient is not finite show little: they are used only if no other shows a fault.
    So are those with units at a kink, where code that makes a mistake may have any derivative.
    """
    hypotheses_of = partial(_single_hypotheses, mistakes=mistakes)
    finite = [e for e in singles if e.answer.is_finite]
    smooth = [e for e in finite if not any(e.tied(k).any() for k in range(1, e.r))]
    for some in (smooth, finite, singles):
        if some and (found := _search([*map(Upstream, some)], some[0].r, hypotheses_of)):
            return found
    return []


def _single_hypotheses(
    above: Sequence[Upstream], k: int, mistakes: Sequence[Mistake]
) -> list[Hypothesis[Upstream]]:
    """delta^[k] as db shows it, as dW shows it, or as it must be."""
    if not above[0].example.has_bias(k):
        return _hypotheses_without_bias(above, k, mistakes)
    own = [one.with_delta(k, one.example.db(k)) for one in above]
    line = delta_steps(own, k)
    hypotheses = [_suppose(own, k, mistakes)]
    if not hypotheses[0].complexity:
        return hypotheses
    shown = _shown_by_dW(above, k)  # if the rank of dW is one
    if shown and not _any_wrong(gradient_steps(shown, "W", k)):
        hypothesis, other = _suppose(shown, k, mistakes), delta_steps(shown, k)
        if not _any_wrong(line):  # in a coarse format both may pass for delta: the nearer is first
            near = _delta_error(other) < _delta_error(line)
            return [hypothesis, *hypotheses] if near else [*hypotheses, hypothesis]
        hypotheses.append(hypothesis)
        if not _any_wrong(other):
            return hypotheses
        own, line = shown, other
    if not _any_wrong(line):
        return hypotheses
    must = [one.with_delta(k, step.expected) for one, step in zip(own, line, strict=True)]
    return [*hypotheses, _suppose(must, k, mistakes)]


def _hypotheses_without_bias(
    above: Sequence[Upstream], k: int, mistakes: Sequence[Mistake]
) -> list[Hypothesis[Upstream]]:
    """delta^[k] as dW shows it, or as it must be: in layer 1 there is no third witness."""
    hypotheses = []
    if shown := _shown_by_dW(above, k):
        hypotheses = [_suppose(shown, k, mistakes)]
        if not hypotheses[0].complexity:
            return hypotheses
    must = [one.with_delta(k, one.back(k) * one.example.slope(k)) for one in above]
    return [*hypotheses, _suppose(must, k, mistakes)]


def _shown_by_dW(above: Sequence[Upstream], k: int) -> list[Upstream]:  # noqa: N802
    """The examples where a^[k-1] is not zero, with delta^[k] as dW^[k] shows it there."""
    return [one.with_delta_from_dW(k) for one in above if one.example.a(k - 1).any()]


def _suppose(
    upstream: Sequence[Upstream], k: int, mistakes: Sequence[Mistake]
) -> Hypothesis[Upstream]:
    """The wrong lines of layer k for a given delta."""
    places = "Wb" if upstream[0].example.has_bias(k) else "W"
    gradients = [gradient_steps(upstream, place, k) for place in places]
    lines = [delta_steps(upstream, k), *gradients]
    return Hypothesis(upstream, lines, mistakes)


def _delta_error(line: Sequence[Step]) -> float:
    sizes = sum(float(abs(step.expected).sum()) for step in line)
    return sum(float(abs(step.got - step.expected).sum()) for step in line) / max(sizes, NOT_ZERO)


def batch_faults(
    batches: Sequence[Batch], mistakes: Sequence[Mistake], known_only: bool
) -> list[Fault]:
    """The lines that are wrong in batches, given their rows, from the output down.

    Args:
        batches: at least one.
        mistakes: rows of `BATCH_MISTAKES`, and of `ROW_MISTAKES` where the rows are the true ones.
        known_only: as in `_search`.
    """
    hypotheses_of = partial(_batch_hypotheses, mistakes=mistakes)
    return _search(batches, batches[0].r, hypotheses_of, known_only)


def _batch_hypotheses(
    batches: Sequence[Batch], k: int, mistakes: Sequence[Mistake]
) -> Iterator[Hypothesis[Batch]]:
    """Faults of line 5 alone; a known one in delta; or an unknown one, if layer k-1 inherits it."""
    lines = _lines_of_batches(batches, k)
    plain = Hypothesis(batches, lines, mistakes)
    yield plain
    wrong = [line for line in lines if _any_wrong(line)]
    if not wrong:
        return
    place = "2" if k == batches[0].r else "4"
    for mistake in mistakes:
        if place not in mistake.places:
            continue
        try:
            edits = [mistake.edit(batch, k) for batch in batches]
        except (ValueError, LookupError):
            continue
        if any(_is_explained(line, edits) for line in lines):
            after = [batch.after(k, edit) for batch, edit in zip(batches, edits, strict=True)]
            why = Explanation(mistake.kind, mistake.says, KNOWN)
            yield Hypothesis(after, _lines_of_batches(after, k), mistakes, [Fault(place, k, why)])
    inheriting = _lines_of_batches(batches, k - 1) if k > 1 else lines
    if plain.has_unknown and all(map(_any_wrong, inheriting)):
        below = "; the layers below were not judged in batches" if k > 1 else ""
        says = f"fits no known mistake: {describe_error(wrong[0])}{below}"
        if not batches[0].true:
            says += "; alone, no example has this fault: the examples of a batch mix"
        fault = Fault(place, k, Explanation("unknown", says, UNTRACED))
        yield Hypothesis((), (), mistakes, [fault])


def _lines_of_batches(batches: Sequence[Batch], k: int) -> list[list[BatchLine]]:
    has_bias = batches[0].answer.gradient[k - 1].b is not None
    return [batch_lines(batches, place, k) for place in ("Wb" if has_bias else "W")]


def _is_explained(lines: Sequence[BatchLine], edits: Sequence[Values]) -> bool:
    """Whether another delta, or other weights of the rows, explain the lines."""
    pairs = zip(lines, edits, strict=True)
    digits = evidence(lines, (line.batch.edited(line.place, line.k, edit) for line, edit in pairs))
    return digits is not None and (digits >= CHANCE or not _any_wrong(lines))


def _any_wrong(lines: Sequence[Line]) -> bool:
    return any(line.wrong.any() for line in lines)

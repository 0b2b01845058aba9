"""The wrong lines from the output down: of a single example, and of a batch with given rows.

Layers are judged with the candidate's own values upstream. So a fault is found in its place,
several are found at once, and no line is blamed for what it inherits.

On one example delta^[k] has three witnesses: dJ/db^[k], which is delta^[k]; dJ/dW^[k], which is
delta^[k] times a^[k-1]^T; and layer k-1, which is computed from it. If they contradict each other,
there are several hypotheses, and the one that leaves the fewest and simplest mistakes is taken.
A layer without a bias has the last two of these witnesses.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fcnet.verify.diagnose.batch import Batch, BatchLine, batch_lines
from fcnet.verify.diagnose.explain import (
    CHANCE,
    KNOWN,
    UNKNOWN,
    Explanation,
    Fault,
    describe_error,
    evidence,
    explain,
)
from fcnet.verify.diagnose.line import Line, Mistake
from fcnet.verify.diagnose.single import (
    Deltas,
    Single,
    Step,
    delta_steps,
    gradient_steps,
)
from fcnet.verify.types import Values

UNTRACED = UNKNOWN + 3
"""The complexity of an unknown fault in delta of a batch, which hides all layers below: more than
that of an unknown one in line 5 and a known one below, less than that of two unknown ones."""


def complexity(faults: Sequence[Fault]) -> int:
    """How complex an explanation by these faults is: least for few and simple mistakes."""
    return sum(fault.why.complexity for fault in faults)


class SingleHypothesis(NamedTuple):
    """What a layer may have computed on single examples.

    Attributes:
        singles: the examples that show its delta.
        deltas: of each, the delta of this layer and of those above.
        faults: the lines of the layer that are then wrong.
    """

    singles: Sequence[Single]
    deltas: Sequence[Deltas]
    faults: list[Fault]


def single_faults(singles: Sequence[Single], mistakes: Sequence[Mistake]) -> list[Fault]:
    """The wrong lines on single examples, from the output down.

    Examples whose gradient is not finite show little: they are used only if no other shows a fault.
    """
    finite = [e for e in singles if e.answer.is_finite]
    return (_search_singles(finite, mistakes) if finite else []) or (
        _search_singles(singles, mistakes) if singles else []
    )


def _search_singles(singles: Sequence[Single], mistakes: Sequence[Mistake]) -> list[Fault]:
    found: list[Fault] = []
    deltas: Sequence[Deltas] = [{} for _ in singles]
    for k in range(singles[0].r, 0, -1):
        hypotheses = _single_hypotheses(singles, k, deltas, mistakes)
        costs = [complexity(hypothesis.faults) for hypothesis in hypotheses]
        if len(hypotheses) > 1 and k > 1:  # the third witness: layer k-1 under each hypothesis
            below = [_single_hypotheses(r.singles, k - 1, r.deltas, mistakes) for r in hypotheses]
            least = [min(complexity(r.faults) for r in hypotheses) for hypotheses in below]
            costs = [own + further for own, further in zip(costs, least, strict=True)]
        hypothesis = hypotheses[costs.index(min(costs))]
        found += hypothesis.faults
        singles, deltas = hypothesis.singles, hypothesis.deltas
    return found


def _single_hypotheses(
    singles: Sequence[Single], k: int, above: Sequence[Deltas], mistakes: Sequence[Mistake]
) -> list[SingleHypothesis]:
    """delta^[k] as db shows it, as dW shows it, or as it must be."""
    if not singles[0].has_bias(k):
        return _hypotheses_without_bias(singles, k, above, mistakes)
    deltas: Sequence[Deltas] = [
        {**known, k: e.db(k)} for e, known in zip(singles, above, strict=True)
    ]
    line = delta_steps(singles, k, deltas)
    hypotheses = [_suppose(singles, k, deltas, mistakes)]
    if not hypotheses[0].faults:
        return hypotheses
    seen, shown = _shown_by_dW(singles, k, above)  # if the rank of dW is one
    if seen and not _any_wrong(gradient_steps(seen, "W", k, shown)):
        hypothesis, other = _suppose(seen, k, shown, mistakes), delta_steps(seen, k, shown)
        if not _any_wrong(line):  # in a coarse format both may pass for delta: the nearer is first
            near = _delta_error(other) < _delta_error(line)
            return [hypothesis, *hypotheses] if near else [*hypotheses, hypothesis]
        hypotheses.append(hypothesis)
        if not _any_wrong(other):
            return hypotheses
        singles, deltas, line = seen, shown, other
    if not _any_wrong(line):
        return hypotheses
    must = [{**known, k: s.expected} for known, s in zip(deltas, line, strict=True)]
    return [*hypotheses, _suppose(singles, k, must, mistakes)]


def _hypotheses_without_bias(
    singles: Sequence[Single], k: int, above: Sequence[Deltas], mistakes: Sequence[Mistake]
) -> list[SingleHypothesis]:
    """delta^[k] as dW shows it, or as it must be: in layer 1 no other witness tells which."""
    hypotheses = []
    seen, shown = _shown_by_dW(singles, k, above)
    if seen:
        hypothesis = _suppose(seen, k, shown, mistakes)
        if not hypothesis.faults:
            return [hypothesis]
        hypotheses = [hypothesis]
    must = [
        {**known, k: e.back(k, known) * e.slope(k)} for e, known in zip(singles, above, strict=True)
    ]
    return [*hypotheses, _suppose(singles, k, must, mistakes)]


def _shown_by_dW(  # noqa: N802
    singles: Sequence[Single], k: int, above: Sequence[Deltas]
) -> tuple[list[Single], list[Deltas]]:
    """The examples where a^[k-1] is not zero, so that dW^[k] shows delta^[k], and their deltas."""
    lit = [(e, known) for e, known in zip(singles, above, strict=True) if e.a(k - 1).any()]
    return [e for e, _ in lit], [{**known, k: e.delta_from_dW(k)} for e, known in lit]


def _suppose(
    singles: Sequence[Single], k: int, deltas: Sequence[Deltas], mistakes: Sequence[Mistake]
) -> SingleHypothesis:
    """The wrong lines of layer k for a given delta."""
    places = "Wb" if singles[0].has_bias(k) else "W"
    gradients = [gradient_steps(singles, place, k, deltas) for place in places]
    lines = [delta_steps(singles, k, deltas), *gradients]
    return SingleHypothesis(singles, deltas, _faults_in(lines, mistakes))


def _delta_error(line: Sequence[Step]) -> float:
    sizes = sum(float(abs(step.expected).sum()) for step in line)
    return sum(float(abs(step.got - step.expected).sum()) for step in line) / max(sizes, 1e-300)


class BatchHypothesis(NamedTuple):
    """What a layer of batches may have computed.

    Attributes:
        batches: with their rows as they are from this layer down; none where these are unknown.
        faults: the lines of the layer that are then wrong.
    """

    batches: Sequence[Batch]
    faults: list[Fault]


def batch_faults(
    batches: Sequence[Batch], mistakes: Sequence[Mistake], known_only: bool
) -> list[Fault]:
    """The lines that are wrong in batches, given their rows, from the output down.

    Args:
        batches: at least one.
        mistakes: rows of `BATCH_MISTAKES`, and of `ROW_MISTAKES` where the rows are the true ones.
        known_only: no fault at all rather than an unknown one.
    """
    found: list[Fault] = []
    for k in range(batches[0].r, 0, -1):
        hypotheses = list(_batch_hypotheses(batches, k, mistakes))
        if known_only:
            hypotheses = [h for h in hypotheses if all(f.why.kind != "unknown" for f in h.faults)]
            if not hypotheses:
                return []
        costs = [complexity(hypothesis.faults) for hypothesis in hypotheses]
        if len(hypotheses) > 1 and k > 1:
            least = [_least_complexity(h.batches, k - 1, mistakes) for h in hypotheses]
            costs = [own + further for own, further in zip(costs, least, strict=True)]
        hypothesis = hypotheses[costs.index(min(costs))]
        found += hypothesis.faults
        batches = hypothesis.batches
        if not batches:
            break
    return found


def _least_complexity(batches: Sequence[Batch], k: int, mistakes: Sequence[Mistake]) -> int:
    hypotheses = _batch_hypotheses(batches, k, mistakes) if batches else ()
    return min((complexity(hypothesis.faults) for hypothesis in hypotheses), default=0)


def _batch_hypotheses(
    batches: Sequence[Batch], k: int, mistakes: Sequence[Mistake]
) -> Iterator[BatchHypothesis]:
    """Faults of line 5 alone; a known one in delta; or an unknown one, if layer k-1 inherits it."""
    lines = _lines_of_batches(batches, k)
    plain = BatchHypothesis(batches, _faults_in(lines, mistakes))
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
            rest = _faults_in(_lines_of_batches(after, k), mistakes)
            yield BatchHypothesis(after, [Fault(place, k, why), *rest])
    unknown = any(fault.why.kind == "unknown" for fault in plain.faults)
    if unknown and all(map(_any_wrong, _lines_of_batches(batches, k - 1) if k > 1 else lines)):
        below = "; the layers below were not judged in batches" if k > 1 else ""
        says = f"fits no known mistake: {describe_error(wrong[0])}{below}"
        yield BatchHypothesis((), [Fault(place, k, Explanation("unknown", says, UNTRACED))])


def _lines_of_batches(batches: Sequence[Batch], k: int) -> list[list[BatchLine]]:
    has_bias = batches[0].answer.gradient[k - 1].b is not None
    return [batch_lines(batches, place, k) for place in ("Wb" if has_bias else "W")]


def _is_explained(lines: Sequence[BatchLine], edits: Sequence[Values]) -> bool:
    """Whether another delta, or other weights of the rows, explain the lines."""
    pairs = zip(lines, edits, strict=True)
    digits = evidence(lines, (line.batch.edited(line.place, line.k, edit) for line, edit in pairs))
    return digits is not None and (digits >= CHANCE or not _any_wrong(lines))


def _faults_in(lines: Sequence[Sequence[Line]], mistakes: Sequence[Mistake]) -> list[Fault]:
    """The lines that are wrong on any input, each explained."""
    return [
        Fault(line[0].place, line[0].k, why)
        for line in lines
        if _any_wrong(line)
        for why in explain(line, mistakes)
    ]


def _any_wrong(lines: Sequence[Line]) -> bool:
    return any(line.wrong.any() for line in lines)

"""The wrong lines of Algorithm 5, and what stands there instead: root causes only.

Layers are judged from the output down, each with the candidate's own values upstream. So a fault is
found in its place, several are found at once, and no line is blamed for what it inherits.

On one example delta^[k] has three witnesses: dJ/db^[k], which is delta^[k]; dJ/dW^[k], which is
delta^[k] times a^[k-1]^T; and layer k-1, which is computed from it. If they contradict each other,
there are several hypotheses, and the one that leaves the fewest and simplest mistakes is taken.
A layer without a bias has the last two of these witnesses.

A batch is compared with its examples: the gradient that the candidate returns for each as a batch
of one shows its faults on one example. A batch that is not their mean has a fault of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import jax
import numpy as np

from fcnet.types import Activation
from fcnet.verify.diagnose.batch import Batch, BatchLine, batch_lines, batch_of, row
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
from fcnet.verify.diagnose.line import PLACES, Line, Mistake, Vector
from fcnet.verify.diagnose.mistakes import BATCH_MISTAKES, MISTAKES, ROW_MISTAKES
from fcnet.verify.diagnose.single import (
    Deltas,
    Single,
    Step,
    delta_steps,
    gradient_steps,
    single_of,
)
from fcnet.verify.factors import FACTORS
from fcnet.verify.truth.functions import activated
from fcnet.verify.types import Answer, Case, Cost, Finding, Reference, Values

STRICTNESS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Divisors of the tolerance, tried in turn until a line is wrong: an error beyond what rounding
explains in the whole backward pass may be within the tolerances of its single lines."""

FEW_ROWS, MOST_ROWS = 8, 64
"""Batches of up to `FEW_ROWS` are enough; those of more than `MOST_ROWS` are not used."""

SHARELESS = {
    *("zero", "ones", "delta_missing", "activities", "activities_above", "derivative_alone"),
    *("weights_for_gradient", "bias_for_gradient", "parameter_returned", "sign_only", "normalised"),
    *("first_call", "not_finite"),
}
"""Kinds of mistakes on one example that leave delta out, and with it the share 1/n of a mean."""

UNTRACED = UNKNOWN + 3
"""The complexity of an unknown fault in delta of a batch, which hides all layers below: more than
that of an unknown one in line 5 and a known one below, less than that of two unknown ones."""


class Observation(NamedTuple):
    """What a candidate returned on one case, beside the reference.

    `alone` holds, for a batch, what it returned for each row as a batch of one; or nothing.
    """

    case: Case
    reference: Reference
    answer: Answer
    alone: tuple[Answer, ...] = ()


class Cause(NamedTuple):
    """A wrong line, and whether it is wrong in batches only."""

    fault: Fault
    batched: bool


Names: TypeAlias = Mapping[tuple[str, int], str]
"""The candidate's own names of dJ/dW ("W") and dJ/db ("b") of layer k; none for an absent bias."""


def diagnose(cost: Cost, items: Sequence[Observation], names: Names) -> list[Finding]:
    """The root causes of a gradient that is known to be wrong, from the output down.

    Args:
        cost: the function whose gradient it should be.
        items: in the order of the calls; cases of one row, at least one, and for a candidate of
            batches also cases of several rows. Mistakes that coincide on one input differ on
            others, and those of batches differ for batches of other sizes.
        names: the candidate's own names of the gradients.

    Returns:
        One finding for each wrong line. Its kind is that of a known mistake that gives the
        candidate's numbers on all inputs, or "not_finite", or "unknown": then the message says
        which entries are wrong, and by how much.
    """
    with np.errstate(all="ignore"):  # a wrong candidate may return any values
        tries = (causes_of(cost, items, strictness) for strictness in STRICTNESS)
        causes = next((causes for causes in tries if causes), [])
    own_n = len(items[0].case.X) if items else 1
    return [
        _finding_of(cost, cause, names, _whole_factor(cause, causes, own_n)) for cause in causes
    ]


def _whole_factor(cause: Cause, causes: Sequence[Cause], n: int) -> str:
    """What a factor and a sum in place of a mean, in one line, come to at the user's own n."""
    fault = cause.fault
    if fault.why.kind != "sum_for_mean" or n == 1:
        return ""
    here = [c.fault.why.kind for c in causes if c.fault[:2] == fault[:2]]
    factors = [c for c, kind, *_ in FACTORS if kind in here]
    return "".join(f": in all {c * n:g} = {c:g} n at your n = {n}" for c in factors)


def causes_of(cost: Cost, items: Sequence[Observation], strictness: float) -> list[Cause]:
    """The wrong lines from the output down, each once."""
    batches = _useful_batches(items)
    singles = [item for item in items if len(item.case.X) == 1]
    singles += [end for item in batches for end in _ends(cost, item)]
    alone = single_faults([single_of(cost, *item[:3], strictness) for item in singles])
    usable = [item for item in batches if item.alone or not alone]
    together = _faults_of_batches(cost, usable, BATCH_MISTAKES, strictness)
    if together:
        same_places = _places_of(together) <= _places_of(alone)
        whole = _batch_explanation(cost, items, batches, same_places, strictness)
        if whole and complexity(whole) < complexity([*alone, *together]):
            alone, together = [], whole
    causes = [Cause(fault, False) for fault in alone]
    causes += [Cause(fault, True) for fault in together if not _is_the_same(fault, alone)]
    return sorted(causes, key=lambda c: (-c.fault.k, PLACES[c.fault.place].line))


def _is_the_same(fault: Fault, alone: Sequence[Fault]) -> bool:
    """Whether a fault in a line of batches is that of the same line on one example.

    It is another one if it is a known mistake, which the rows of the batch do not make by
    themselves. Where delta is missing in a row, so is its share 1/n.
    """
    here = [one.why.kind for one in alone if (one.place, one.k) == (fault.place, fault.k)]
    return bool(here) and (fault.why.kind == "unknown" or not SHARELESS.isdisjoint(here))


def complexity(faults: Sequence[Fault]) -> int:
    """How complex an explanation by these faults is: least for few and simple mistakes."""
    return sum(fault.why.complexity for fault in faults)


def _useful_batches(items: Sequence[Observation]) -> list[Observation]:
    """The batches of few rows, which take little time and show as much; others if there is none."""
    batches = [item for item in items if 1 < len(item.case.X) <= MOST_ROWS]
    return [item for item in batches if len(item.case.X) <= FEW_ROWS] or batches


def _ends(cost: Cost, item: Observation) -> list[Observation]:
    """The first and the last row of a batch as examples alone."""
    return [
        Observation(*row(cost, item.case, item.reference, i), item.alone[i])
        for i in (0, len(item.case.X) - 1)
        if item.alone
    ]


def _batch_explanation(
    cost: Cost,
    items: Sequence[Observation],
    batches: Sequence[Observation],
    same_places: bool,
    strictness: float,
) -> list[Fault]:
    """Faults of batches that explain those on one example as well; none if any stays unknown.

    A mistake in combining rows may spoil a batch of one too. So the rows are the true ones here.
    """
    single = [item for item in items if len(item.case.X) == 1]
    plain = [i._replace(alone=()) for i in (*single, *batches) if _is_finite(i.answer)]
    tables = BATCH_MISTAKES if same_places else (*BATCH_MISTAKES, *ROW_MISTAKES)
    return _faults_of_batches(cost, plain, tables, strictness, known_only=True)


def _faults_of_batches(
    cost: Cost,
    items: Sequence[Observation],
    mistakes: Sequence[Mistake],
    strictness: float,
    known_only: bool = False,
) -> list[Fault]:
    batches = [batch_of(cost, *item, strictness) for item in items]
    return batch_faults(batches, mistakes, known_only) if batches else []


def _places_of(faults: Sequence[Fault]) -> set[tuple[str, int]]:
    return {(fault.place, fault.k) for fault in faults}


def _is_finite(answer: Answer) -> bool:
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(answer.gradient))


def _finding_of(cost: Cost, cause: Cause, names: Names, remark: str = "") -> Finding:
    fault = cause.fault
    place, k = PLACES[fault.place], fault.k
    dW, db = (f"your {names.get((role, k))}" for role in "Wb")
    shown = f"{dW} and {db} show" if ("b", k) in names else f"{dW} shows"
    words = {"k": k, "above": k + 1, "below": k - 1, "dW": dW, "db": db, "shown": shown}
    formula = place.formula.format(**words)
    if fault.place == "2":
        linear = _is_identity(cost.objective.output_activation)
        formula = cost.objective.loss.formula + ("" if linear else f" * sigma'(z[{k}])")
    if cause.batched:
        formula = f"the {cost.reduction} over the examples of {formula}"
    message = f"{place.subject} {fault.why.says}{remark}. It must be {formula}."
    return Finding(place.line, place.quantity, k, fault.why.kind, message.format(**words))


def _is_identity(activation: Activation) -> bool:
    z = np.linspace(-8, 8, 33)
    return bool((activated(activation, z) == z).all())


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


def single_faults(singles: Sequence[Single]) -> list[Fault]:
    """The wrong lines on single examples, from the output down.

    Examples whose gradient is not finite show little: they are used only if no other shows a fault.
    """
    finite = [e for e in singles if _is_finite(e.answer)]
    return (_search_singles(finite) if finite else []) or (
        _search_singles(singles) if singles else []
    )


def _search_singles(singles: Sequence[Single]) -> list[Fault]:
    found: list[Fault] = []
    deltas: Sequence[Deltas] = [{} for _ in singles]
    for k in range(singles[0].r, 0, -1):
        hypotheses = _single_hypotheses(singles, k, deltas)
        costs = [complexity(hypothesis.faults) for hypothesis in hypotheses]
        if len(hypotheses) > 1 and k > 1:  # the third witness: layer k-1 under each hypothesis
            below = [_single_hypotheses(r.singles, k - 1, r.deltas) for r in hypotheses]
            least = [min(complexity(r.faults) for r in hypotheses) for hypotheses in below]
            costs = [own + further for own, further in zip(costs, least, strict=True)]
        hypothesis = hypotheses[costs.index(min(costs))]
        found += hypothesis.faults
        singles, deltas = hypothesis.singles, hypothesis.deltas
    return found


def _single_hypotheses(
    singles: Sequence[Single], k: int, above: Sequence[Deltas]
) -> list[SingleHypothesis]:
    """delta^[k] as db shows it, as dW shows it, or as it must be."""
    if not singles[0].has_bias(k):
        return _hypotheses_without_bias(singles, k, above)
    deltas = [{**known, k: e.db(k)} for e, known in zip(singles, above, strict=True)]
    line = delta_steps(singles, k, deltas)
    hypotheses = [_suppose(singles, k, deltas)]
    if not hypotheses[0].faults:
        return hypotheses
    # dW = delta a^T shows delta on the examples where a is not zero, if its rank is one
    lit = [(e, known) for e, known in zip(singles, above, strict=True) if e.a(k - 1).any()]
    seen = [e for e, _ in lit]
    shown = [{**known, k: _delta_from_dW(e, k)} for e, known in lit]
    if seen and not _any_wrong(gradient_steps(seen, "W", k, shown)):
        hypothesis, other = _suppose(seen, k, shown), delta_steps(seen, k, shown)
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
    return [*hypotheses, _suppose(singles, k, must)]


def _hypotheses_without_bias(
    singles: Sequence[Single], k: int, above: Sequence[Deltas]
) -> list[SingleHypothesis]:
    """delta^[k] as dW shows it, or as it must be: in layer 1 no other witness tells which."""
    hypotheses = []
    lit = [(e, known) for e, known in zip(singles, above, strict=True) if e.a(k - 1).any()]
    shown = [{**known, k: _delta_from_dW(e, k)} for e, known in lit]
    if lit:
        hypothesis = _suppose([e for e, _ in lit], k, shown)
        if not hypothesis.faults:
            return [hypothesis]
        hypotheses = [hypothesis]
    must = [
        {**known, k: e.back(k, known) * e.slope(k)} for e, known in zip(singles, above, strict=True)
    ]
    return [*hypotheses, _suppose(singles, k, must)]


def _suppose(singles: Sequence[Single], k: int, deltas: Sequence[Deltas]) -> SingleHypothesis:
    """The wrong lines of layer k for a given delta."""
    places = "Wb" if singles[0].has_bias(k) else "W"
    gradients = [gradient_steps(singles, place, k, deltas) for place in places]
    lines = [delta_steps(singles, k, deltas), *gradients]
    return SingleHypothesis(singles, deltas, _faults_in(lines, MISTAKES))


def _delta_from_dW(e: Single, k: int) -> Vector:  # noqa: N802 - the notes' symbol
    """delta^[k] from dW^[k] = delta^[k] a^[k-1]^T, for an a that is not zero."""
    a = e.a(k - 1)
    return e.dW(k) @ a / (a @ a)


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
    batches: Sequence[Batch], mistakes: Sequence[Mistake], known_only: bool = False
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

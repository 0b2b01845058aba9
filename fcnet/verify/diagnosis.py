"""The diagnosis of a wrong gradient: which lines of Algorithm 5, and what stands there instead."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fcnet.verify.batch import as_batch, row
from fcnet.verify.batch_diagnosis import batch_faults
from fcnet.verify.explain import Fault
from fcnet.verify.line import PLACES, Mistake
from fcnet.verify.mistakes import BATCH_MISTAKES, ROW_MISTAKES
from fcnet.verify.single import as_example
from fcnet.verify.single_diagnosis import single_faults
from fcnet.verify.types import Answer, Case, Finding, Problem, Reference

STRICTNESS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Divisors of the tolerance, in turn until a line is found wrong: an error beyond what rounding
explains in the whole backward pass may hide within the tolerances of its single lines."""


FEW_ROWS, MOST_ROWS = 8, 64
"""Batches of up to `FEW_ROWS` are enough; none of more than `MOST_ROWS` is looked at."""


class Evidence(NamedTuple):
    """What a candidate returned on one case, beside what it should have.

    alone: for a batch, what it returned for each row as a batch of one; empty if it was not asked.
    """

    case: Case
    reference: Reference
    answer: Answer
    alone: tuple[Answer, ...] = ()


class _Cause(NamedTuple):
    """A wrong line, and whether it is wrong in batches only."""

    fault: Fault
    batched: bool


def diagnose(
    problem: Problem, evidence: Sequence[Evidence], names: Sequence[tuple[str, str]]
) -> list[Finding]:
    """The root causes of a wrong gradient, from the output downwards.

    Each line of Algorithm 5 is judged with the candidate's own values upstream, so a fault is found
    in its place, several are found at once, and none is blamed for what it inherits. Only call it
    for a gradient that is known to be wrong.

    Args:
        problem: the function.
        evidence: in the order of the calls; cases of one row, of which there must be one at least,
            and batches of several rows if the candidate takes these. Several different inputs tell
            mistakes apart that coincide on one, and several sizes of batches those of batches.
        names: the candidate's own names of dJ/dW and dJ/db of the layers 1..r.

    Returns:
        One finding a wrong line. Its kind is that of a row of the tables of mistakes that gives the
        candidate's numbers on all the evidence, else "unknown" (or "not_finite"), and then the
        message says which entries are wrong, and in what proportion.
    """
    with np.errstate(all="ignore"):  # a faulty candidate may return anything
        causes = next(
            (
                causes
                for strictness in STRICTNESS
                if (causes := _causes(problem, evidence, strictness))
            ),
            [],
        )
    return [_finding(problem, cause, names) for cause in causes]


def _causes(problem: Problem, evidence: Sequence[Evidence], strictness: float) -> list[_Cause]:
    """The wrong lines from the output downwards, each once."""
    batches = _batches(evidence)
    singles = [item for item in evidence if len(item.case.X) == 1]
    singles += [own for item in batches for own in _ends(problem, item)]
    alone = single_faults([as_example(problem, *item[:3], strictness) for item in singles])
    told = [item for item in batches if item.alone or not alone]
    together = _batch_faults(problem, told, BATCH_MISTAKES, strictness)
    if together:
        whole = _whole(problem, evidence, batches, _places(together) <= _places(alone), strictness)
        if whole and _cost(whole) < _cost([*alone, *together]):
            alone, together = [], whole
    # a line that is wrong on one example is wrong in batches too: what it does there is no news
    causes = [_Cause(fault, False) for fault in alone]
    causes += [_Cause(f, True) for f in together if not _places([f]) <= _places(alone)]
    return sorted(causes, key=lambda c: (-c.fault.k, PLACES[c.fault.place].line))


def _whole(
    problem: Problem,
    evidence: Sequence[Evidence],
    batches: Sequence[Evidence],
    same_places: bool,
    strictness: float,
) -> list[Fault]:
    """The faults of batches, those of one row among them, from the true gradients of their rows.

    A mistake in combining rows may spoil a batch of one as well, and then it explains all. Empty if
    anything stays unknown.
    """
    single = [item for item in evidence if len(item.case.X) == 1]
    plain = [i._replace(alone=()) for i in (*single, *batches) if _finite(i.answer)]
    tables = BATCH_MISTAKES if same_places else (*BATCH_MISTAKES, *ROW_MISTAKES)
    whole = _batch_faults(problem, plain, tables, strictness)
    return [] if any(fault.why.kind == "unknown" for fault in whole) else whole


def _places(faults: Sequence[Fault]) -> set[tuple[str, int]]:
    return {(fault.place, fault.k) for fault in faults}


def _batch_faults(
    problem: Problem, items: Sequence[Evidence], mistakes: Sequence[Mistake], strictness: float
) -> list[Fault]:
    batches = [as_batch(problem, *item, strictness) for item in items]
    return batch_faults(batches, mistakes) if batches else []


def _batches(evidence: Sequence[Evidence]) -> list[Evidence]:
    """The batches of few rows, which cost little and say as much; others only if there is none."""
    batches = [item for item in evidence if 1 < len(item.case.X) <= MOST_ROWS]
    return [item for item in batches if len(item.case.X) <= FEW_ROWS] or batches


def _ends(problem: Problem, item: Evidence) -> list[Evidence]:
    """The first and the last row of a batch as examples alone."""
    return [
        Evidence(*row(problem, item.case, item.reference, i), item.alone[i])
        for i in (0, len(item.case.X) - 1)
        if item.alone
    ]


def _cost(faults: Sequence[Fault]) -> int:
    return sum(fault.why.cost for fault in faults)


def _finite(answer: Answer) -> bool:
    return all(np.isfinite(leaf).all() for layer in answer.gradient for leaf in layer)


def _finding(problem: Problem, cause: _Cause, names: Sequence[tuple[str, str]]) -> Finding:
    fault = cause.fault
    place, k = PLACES[fault.place], fault.k
    dW, db = names[k - 1]
    words = {"k": k, "above": k + 1, "below": k - 1, "dW": f"your {dW}", "db": f"your {db}"}
    formula = place.formula.format(**words)
    if fault.place == "2":
        linear = problem.output_activation.name == "identity"
        formula = problem.loss.formula + ("" if linear else f" * sigma'(z[{k}])")
    if cause.batched:
        formula = f"the {problem.reduction} over the examples of {formula}"
    message = f"{place.subject} {fault.why.says}. It must be {formula}."
    return Finding(place.line, place.quantity, k, fault.why.kind, message.format(**words))

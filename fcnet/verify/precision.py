"""What errors beyond the rounding of the candidate's own dtype come from.

A program may be right and yet not to the digits of the dtype it returns: it computes in a coarser
one inside, or its formula loses digits at some inputs. Rounding errors tell themselves from
mistakes: they shrink when the precision grows, and they change at random when the input moves a
little, where the error of a wrong formula is as smooth as the formula.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fcnet.verify.compare import Comparison, compare
from fcnet.verify.reference import reference
from fcnet.verify.rounding import PRECISIONS, Precision
from fcnet.verify.types import Answer, Case, Problem, Reference

NEARBY = 5
"""Calls of the candidate near an input. Errors of six roundings that all move together, the least
random there are, look smooth once in 300 times."""

SMOOTH = 0.15
"""Errors whose variance between neighbours is less than this, of their mean square, are smooth."""


class Trial(NamedTuple):
    """One input, what is right there, what the candidate returned, and how the two compare."""

    case: Case
    reference: Reference
    answer: Answer
    comparison: Comparison


class Ruling(NamedTuple):
    """Whether the candidate is right, and to which precision.

    kind: "right" to the precision of its dtype; "coarse", right to a coarser one, everywhere;
        "unstable", right in exact arithmetic, but digits are lost on some inputs; or "wrong".
    precision: that to which the candidate is right; its own where it is wrong.
    comparisons: of all trials, in that precision.
    note: a sentence for the report, "" where there is nothing to say.
    """

    kind: Literal["right", "coarse", "unstable", "wrong"]
    precision: Precision
    comparisons: tuple[Comparison, ...]
    note: str


@dataclass(frozen=True)
class Suspect:
    """A candidate with errors beyond rounding, and how to question it further.

    Attributes:
        problem: what it claims to differentiate.
        precision: of the dtype that it returns.
        call: the candidate on a case; None where it does not answer.
        representable: a case with its values rounded to the candidate's own dtype.
        finer: the candidate called with float64, if it can be.
        rows: as for `reference`.
    """

    problem: Problem
    precision: Precision
    call: Callable[[Case], Answer | None]
    representable: Callable[[Case], Case]
    finer: Callable[[Case], Answer | None] | None = None
    rows: int | None = None


def rule(suspect: Suspect, trials: Sequence[Trial]) -> Ruling:
    """Decide whether errors beyond rounding come from the arithmetic or from the formula.

    Args:
        suspect: the candidate.
        trials: its comparisons so far, at least one, for its own precision.
    """
    own = suspect.precision
    comparisons = tuple(trial.comparison for trial in trials)
    failing = [trial for trial in trials if not trial.comparison.ok]
    if not failing:
        return Ruling("right", own, comparisons, "")
    sound = any(comparison.ok and any(comparison.telling) for comparison in comparisons)
    where = ", ".join(trial.case.name for trial in failing)
    if sound and (_overflows(failing, own) or _right_in_float64(suspect, failing)):
        note = f"right in exact arithmetic, but unstable in {own.name}: it breaks on {where}"
        return Ruling("unstable", own, comparisons, note)
    explained = _explained(suspect, trials)
    if not explained:
        return Ruling("wrong", own, comparisons, "")
    coarser, again = explained
    worst = max(failing, key=lambda trial: trial.comparison.worst)
    if not (_representable(trials, coarser) or _rough(suspect, worst, coarser)):
        return Ruling("wrong", own, comparisons, "")
    if sound:
        note = f"right in exact arithmetic, but on {where} only to the digits of {coarser.name}"
        return Ruling("unstable", own, again, note)
    note = (
        f"returns {own.name} but computes in {coarser.name}: its errors are those of {coarser.name}"
    )
    return Ruling("coarse", coarser, again, note)


def _overflows(failing: Sequence[Trial], precision: Precision) -> bool:
    """Whether all that fails is not finite, where exp or its square would overflow."""
    limit = math.log(precision.largest) / 2
    return all(
        max(abs(z).max() for z in trial.reference.trace.z) > limit
        and all(
            (abs(excess) <= 1)[np.isfinite(got)].all()
            for excess, got in zip(
                trial.comparison.excess, jax.tree.leaves(trial.answer.gradient), strict=True
            )
        )
        for trial in failing
    )


def _right_in_float64(suspect: Suspect, failing: Sequence[Trial]) -> bool:
    """Whether the errors shrink as u does: at least to the geometric mean of both."""
    double = PRECISIONS["float64"]
    if suspect.finer is None or suspect.precision.u <= double.u:
        return False
    u = math.sqrt(suspect.precision.u * double.u)
    return all(
        (answer := suspect.finer(trial.case)) is not None
        and compare(
            answer, reference(suspect.problem, trial.case, u, suspect.rows), trial.case.name
        ).ok
        for trial in failing
    )


def _explained(
    suspect: Suspect, trials: Sequence[Trial]
) -> tuple[Precision, tuple[Comparison, ...]] | None:
    """The finest precision coarser than the candidate's own whose rounding explains all errors."""
    hardest_first = sorted(trials, key=lambda trial: -trial.comparison.worst)
    for precision in PRECISIONS.values():
        if precision.u > suspect.precision.u and all(
            _compare(suspect, trial.case, trial.answer, precision).ok for trial in hardest_first
        ):
            again = (_compare(suspect, t.case, t.answer, precision) for t in trials)
            return precision, tuple(again)
    return None


def _compare(suspect: Suspect, case: Case, answer: Answer, precision: Precision) -> Comparison:
    right = reference(suspect.problem, case, precision.u, suspect.rows, tiny=precision.tiny)
    return compare(answer, right, case.name)


def _representable(trials: Sequence[Trial], precision: Precision) -> bool:
    """Whether the candidate returned numbers of that precision only."""
    if precision.name == "tfloat32":  # a format of factors, not of results
        return False
    leaves = jax.tree.leaves([trial.answer.gradient for trial in trials])
    with np.errstate(over="ignore"):
        return all((leaf == leaf.astype(jnp.dtype(precision.name))).all() for leaf in leaves)


def _rough(suspect: Suspect, trial: Trial, coarser: Precision) -> bool:
    """Whether the errors on an input change at random when it moves by a few roundings."""
    draw = np.random.default_rng(0)
    excess = [trial.comparison.excess]
    for _ in range(NEARBY):
        case = suspect.representable(_moved(trial.case, 8 * coarser.u, draw))
        answer = suspect.call(case)
        if answer is None or not _compare(suspect, case, answer, coarser).ok:
            return False
        excess.append(_compare(suspect, case, answer, suspect.precision).excess)
    variance = square = 0.0
    for errors in map(np.stack, zip(*excess, strict=True)):
        beyond = errors[:, (abs(errors) > 1).any(0)]
        variance += beyond.var(0).sum()
        square += (beyond**2).mean(0).sum()
    return variance > SMOOTH * square


def _moved(case: Case, size: float, draw: np.random.Generator) -> Case:
    """The case with its parameters and inputs changed by up to `size`, relatively."""
    params, X = jax.tree.map(
        lambda leaf: leaf * (1 + size * draw.uniform(-1, 1, leaf.shape)), (case.params, case.X)
    )
    return Case(case.name, params, X, case.Y)

"""What errors beyond the rounding of the candidate's own dtype come from.

A program may be right and yet not to the digits of the dtype it returns: it computes in a coarser
one inside, or its formula loses digits at some inputs. Rounding errors tell themselves from
mistakes: they shrink when the precision grows, and they change at random when the input moves a
little, where the error of a wrong formula is as smooth as the formula.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from fcnet.verify.compare import Comparison, compare, persistent_errors
from fcnet.verify.reference import reference
from fcnet.verify.rounding import PRECISIONS, Precision
from fcnet.verify.types import Answer, Case, Problem

NEARBY = 5
"""Calls of the candidate near an input. Errors of six roundings that all move together, the least
random there are, look smooth once in 300 times."""

SMOOTH = 0.15
"""Errors whose variance between neighbours is less than this, of their mean square, are smooth."""


class Trial(NamedTuple):
    """One input, what is right there, what the candidate returned, and how the two compare.

    case: a `Case`, or whatever has a name; reference: None where there is no trace.
    """

    case: Any
    reference: Any
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


@runtime_checkable
class Questioned(Protocol):
    """A candidate with errors beyond rounding, and how to question it further."""

    @property
    def precision(self) -> Precision:
        """Of the dtype that it returns."""

    def answer(self, case: Any) -> Answer | None:
        """What it returns for a case; None where it does not answer."""

    def finer_answer(self, case: Any) -> Answer | None:
        """What it returns for the same in float64; None where it cannot be asked."""

    def moved(self, case: Any, size: float, draw: np.random.Generator) -> Any:
        """The case, each number changed by up to `size` relatively, in the candidate's dtype."""

    def compare(self, case: Any, answer: Answer, precision: Precision) -> Comparison:
        """An answer beside what is right, for a candidate that computes in `precision`."""


@dataclass(frozen=True)
class Suspect:
    """A backward pass of the network to be questioned.

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

    def answer(self, case: Case) -> Answer | None:
        """As in `Questioned`, like the rest."""
        return self.call(case)

    def finer_answer(self, case: Case) -> Answer | None:
        """The candidate in float64."""
        return self.finer(case) if self.finer else None

    def moved(self, case: Case, size: float, draw: np.random.Generator) -> Case:
        """The same targets, with parameters and inputs moved."""
        params, X = jax.tree.map(
            lambda leaf: leaf * (1 + size * draw.uniform(-1, 1, leaf.shape)), (case.params, case.X)
        )
        return self.representable(case._replace(params=params, X=X))

    def compare(self, case: Case, answer: Answer, precision: Precision) -> Comparison:
        """By the reference of the case."""
        right = reference(self.problem, case, precision.u, self.rows, tiny=precision.tiny)
        return compare(answer, right, case.name)


def rule(suspect: Questioned, trials: Sequence[Trial]) -> Ruling:
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
    where = ", ".join(trial.case.name for trial in failing)
    breaks = f"right in exact arithmetic, but unstable in {own.name}: it breaks on {where}"
    unstable = Ruling("unstable", own, comparisons, breaks)
    rare = 2 * len(failing) < len(trials)
    if rare and (_overflows(failing, own) or _right_in_float64(suspect, failing)):
        return unstable
    coarser, again = _explanation(suspect, trials) or (own, comparisons)
    worst = max(failing, key=lambda trial: trial.comparison.worst)
    if again is comparisons or not (
        _representable(trials, coarser, own) or _rough(suspect, worst, coarser)
    ):
        right = not rare and _right_in_float64(suspect, failing)
        return unstable if right else Ruling("wrong", own, comparisons, "")
    if coarser.name == own.name:
        note = f"on {where} an error is up to twice what rounding usually does, and as random"
        return Ruling("right", own, again, note)
    if rare:
        note = f"right in exact arithmetic, but on {where} only to the digits of {coarser.name}"
        return Ruling("unstable", own, again, note)
    note = f"returns {own.name}, but its errors are those of a computation in {coarser.name}"
    return Ruling("coarse", coarser, again, note)


def _overflows(failing: Sequence[Trial], precision: Precision) -> bool:
    """Whether all that fails is not finite, where exp or its square would overflow."""
    limit = math.log(precision.largest) / 2
    return all(
        trial.reference is not None
        and max(abs(z).max() for z in trial.reference.trace.z) > limit
        and all(
            (abs(excess) <= 1)[np.isfinite(got)].all()
            for excess, got in zip(
                trial.comparison.excess, jax.tree.leaves(trial.answer.gradient), strict=True
            )
        )
        for trial in failing
    )


def _right_in_float64(suspect: Questioned, failing: Sequence[Trial]) -> bool:
    """Whether the errors shrink as u does: at least to the geometric mean of both."""
    own, double = suspect.precision, PRECISIONS["float64"]
    between = own._replace(u=math.sqrt(own.u * double.u), tiny=double.tiny)
    return own.u > double.u and all(
        (answer := suspect.finer_answer(trial.case)) is not None
        and suspect.compare(trial.case, answer, between).ok
        for trial in failing
    )


def _explanation(
    suspect: Questioned, trials: Sequence[Trial]
) -> tuple[Precision, tuple[Comparison, ...]] | None:
    """The finest precision coarser than the candidate's own whose rounding explains all errors.

    First its own with twice the roundoff, if one input fails: an error in a million is so large.
    """
    own = suspect.precision
    hardest_first = sorted(trials, key=lambda trial: -trial.comparison.worst)
    precisions = [precision for precision in PRECISIONS.values() if precision.u > own.u]
    if len(trials) > 1 and hardest_first[1].comparison.ok:
        precisions = [own._replace(u=2 * own.u), *precisions]
    for precision in precisions:
        if all(suspect.compare(t.case, t.answer, precision).ok for t in hardest_first):
            again = tuple(suspect.compare(t.case, t.answer, precision) for t in trials)
            if not persistent_errors(again):
                return precision, again
    return None


def _representable(trials: Sequence[Trial], precision: Precision, own: Precision) -> bool:
    """Whether the candidate returned numbers of that precision only."""
    if precision.name in (own.name, "tfloat32"):  # that is one of factors, not of results
        return False
    leaves = jax.tree.leaves([trial.answer.gradient for trial in trials])
    with np.errstate(over="ignore"):
        return all((leaf == leaf.astype(jnp.dtype(precision.name))).all() for leaf in leaves)


def _rough(suspect: Questioned, trial: Trial, coarser: Precision) -> bool:
    """Whether the errors on an input change at random when it moves by a few roundings."""
    draw = np.random.default_rng(0)
    excess = [trial.comparison.excess]
    for _ in range(NEARBY):
        case = suspect.moved(trial.case, 8 * coarser.u, draw)
        answer = suspect.answer(case)
        if answer is None or not suspect.compare(case, answer, coarser).ok:
            return False
        excess.append(suspect.compare(case, answer, suspect.precision).excess)
    variance = square = 0.0
    for errors in map(np.stack, zip(*excess, strict=True)):
        beyond = errors[:, (abs(errors) > 1).any(0)]
        variance += beyond.var(0).sum()
        square += (beyond**2).mean(0).sum()
    return bool(variance > SMOOTH * square)

"""The verdict: right, wrong or "cannot tell", from what a candidate returned on several inputs.

A program may be right and yet not to the digits of the format that it returns: it computes in a
coarser one inside, or its formula loses digits on some inputs. Rounding errors differ from mistakes
in two ways. They shrink in a finer format, and they change at random when the input moves a little,
where the error of a wrong formula is smooth.
"""

import math
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from fcnet.verify.compare import Comparison, persistent_errors, worst_leaves
from fcnet.verify.example import NO_EXAMPLE, Example
from fcnet.verify.report import Report, Verdict
from fcnet.verify.types import (
    FORMATS,
    Answer,
    Finding,
    Format,
    Leaf,
    are_numbers_of,
    errors,
    form_finding,
)

NEIGHBOURS = 5
"""How many moved inputs are tried. Errors of six roundings that all move together, the least random
there are, look smooth once in 300 times."""

SMOOTH = 0.15
"""Errors are smooth if their variance between neighbours is at most this share of their mean
square."""

FAR, FAR_NEIGHBOURS = 0.1, 15
"""How far neighbours are at most, and how many. Of 636 right programs in coarse arithmetic, with 1
to 6 numbers, 49 had more than half of their errors smooth a few roundings away. Farther away, one
had with 5 neighbours, and has not with 15."""

UNRELIABLE = {
    *("stateful", "nondeterministic", "stale_cache", "momentum", "averaged_gradients"),
    *("ignores_params", "ignores_inputs", "adaptive_step"),
}
"""Kinds of findings after which the numbers of single calls show nothing about the formulas."""


@runtime_checkable
class Subject(Protocol):
    """What is judged: a candidate, and what is right.

    A case is whatever the candidate is tried on; it has a name.
    """

    @property
    def name(self) -> str:
        """Of the candidate."""

    @property
    def format(self) -> Format:
        """Of what the candidate returns."""

    @property
    def given(self) -> Format:
        """The coarsest of what the candidate is given."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes (d, m_1, ..., m_r) of a network; empty for any other function."""

    @property
    def independent(self) -> bool:
        """Whether rounding errors on different cases are independent."""

    def answer(self, case: Any, double: bool = False) -> Answer | None:
        """What the candidate returns for a case, or for the case in float64; None if it fails."""

    def moved(self, case: Any, size: float, draw: np.random.Generator) -> Any:
        """The case with each number changed by up to `size`, relatively, in the user's dtype."""

    def compare(self, case: Any, answer: Answer, format: Format) -> Comparison:
        """An answer beside what is right, for a candidate that computes in `format`."""

    def remarks(self, comparisons: Sequence[Comparison]) -> list[str]:
        """Notes for the report on what the comparisons show, or cannot show."""

    def example(self, trials: Sequence["Trial"]) -> Example:
        """A small input on which the answer is wrong, if there is one."""

    def in_user_terms(self, leaf: Leaf) -> Leaf:
        """The leaf with the user's own name and index."""


class Trial(NamedTuple):
    """One case, what is right there, what the candidate returned, and how the two compare.

    `reference` is None where the function is no network.
    """

    case: Any
    reference: Any
    answer: Answer
    comparison: Comparison


class Ruling(NamedTuple):
    """Whether the candidate is right, and in which format.

    Attributes:
        kind: "right" to the precision of its format; "coarse", right to that of a coarser one on
            all cases; "unstable", right in exact arithmetic, but digits are lost on some cases; or
            "wrong".
        format: the one to which it is right; its own if it is wrong.
        comparisons: of all trials, in that format.
        note: a sentence for the report, or "".
    """

    kind: Literal["right", "coarse", "unstable", "wrong"]
    format: Format
    comparisons: tuple[Comparison, ...]
    note: str


def judge(
    subject: Subject,
    cases: Sequence[Any],
    trials: Sequence[Trial],
    findings: Sequence[Finding],
    notes: Sequence[str],
    explain: Callable[[Sequence[Leaf]], list[Finding]],
) -> Report:
    """The report on a subject.

    Args:
        subject: the candidate.
        cases: all that were tried.
        trials: those on which it answered.
        findings: what is wrong with its form.
        notes: what else is known of it.
        explain: gives the root causes of wrong answers; it gets the errors that are persistent,
            where rounding explains each answer alone. Called once, if the answers are wrong.
    """
    if not trials:
        return _report(subject, cases, "wrong", (), tuple(findings), notes, subject.format)
    ruling = rule(subject, trials)
    persistent: tuple[Leaf, ...] = ()
    if ruling.kind in ("right", "coarse"):
        persistent = _persistent(subject, trials, ruling.comparisons, ruling.format)
    found = [*findings, *_warnings(ruling)]
    reliable = UNRELIABLE.isdisjoint(finding.kind for finding in findings)
    is_wrong = ruling.kind == "wrong" or bool(persistent)
    if is_wrong and reliable:
        causes = explain(persistent)
        found += causes
        is_wrong = not causes or bool(errors(causes))
    shown = any(any(comparison.informative) for comparison in ruling.comparisons)
    verdict: Verdict = "wrong" if is_wrong or errors(found) else "right" if shown else "cannot tell"
    said = [*subject.remarks(ruling.comparisons), *notes]
    if is_wrong and not reliable:
        said.insert(0, "no line was judged, since that is to be mended first")
    if ruling.kind == "right" and ruling.note:
        said.insert(0, ruling.note)
    example = subject.example(trials) if is_wrong and reliable else NO_EXAMPLE
    if example.code:
        said.insert(0, f"{_where(trials)}; report.example makes a small input that shows it")
    leaves = persistent or worst_leaves(ruling.comparisons)
    conventions = {c.convention for c in ruling.comparisons} - {None}
    convention = conventions.pop() if len(conventions) == 1 else None
    return _report(
        subject, cases, verdict, leaves, tuple(found), said, ruling.format, convention, example
    )


def _warnings(ruling: Ruling) -> list[Finding]:
    """That a right candidate has fewer digits than its format has."""
    kinds = {"coarse": "low_precision", "unstable": "unstable"}
    if ruling.kind not in kinds:
        return []
    return [form_finding(kinds[ruling.kind], ruling.note, "warning")]


def _where(trials: Sequence[Trial]) -> str:
    """On which inputs a wrong answer shows."""
    names = [t.case.name for t in trials if not t.comparison.ok] or [trials[0].case.name]
    return f"wrong on {len(names)} of {len(trials)} inputs, such as {names[0]}"


def _report(
    subject: Subject,
    cases: Sequence[Any],
    verdict: Verdict,
    leaves: tuple[Leaf, ...],
    findings: tuple[Finding, ...],
    notes: Sequence[str],
    format: Format,
    convention: float | None = None,
    example: Example = NO_EXAMPLE,
) -> Report:
    return Report(
        subject=subject.name,
        verdict=verdict,
        leaves=tuple(map(subject.in_user_terms, leaves)),
        findings=findings,
        notes=tuple(notes),
        cases=tuple(case.name for case in cases),
        precision=format.name,
        unit_roundoff=format.u,
        convention=convention,
        sizes=subject.sizes,
        example=example.code,
        numbers=example.numbers,
    )


def rule(subject: Subject, trials: Sequence[Trial]) -> Ruling:
    """Decide whether errors beyond rounding come from the arithmetic or from the formula.

    Args:
        subject: the candidate.
        trials: its comparisons in its own format, at least one.
    """
    own = subject.format
    works_in = max(own, subject.given, key=attrgetter("u"))
    comparisons = tuple(trial.comparison for trial in trials)
    failing = [trial for trial in trials if not trial.comparison.ok]
    if not failing:
        return Ruling("right", own, comparisons, "")
    where = ", ".join(trial.case.name for trial in failing)
    breaks = f"right in exact arithmetic, but unstable in {works_in.name}: it breaks on {where}"
    unstable = Ruling("unstable", own, comparisons, breaks)
    rare = 2 * len(failing) < len(trials)
    if rare and (_overflows(failing, own) or right_in_float64(subject, failing)):
        return unstable
    coarser, again = _explanation(subject, trials, rare) or (own, comparisons)
    worst = max(failing, key=lambda trial: trial.comparison.worst)
    if again is comparisons or not (
        _is_representable(trials, coarser, own)
        or _is_rough(subject, worst, coarser)
        or (coarser.u <= works_in.u and right_in_float64(subject, failing))
    ):
        right = not rare and right_in_float64(subject, failing)
        return unstable if right else Ruling("wrong", own, comparisons, "")
    if coarser.name == own.name:
        note = f"on {where} an error is up to twice what rounding usually does, and as random"
        return Ruling("right", own, again, note)
    if rare:
        note = f"right in exact arithmetic, but on {where} only to the digits of {coarser.name}"
        return Ruling("unstable", own, again, note)
    note = f"returns {own.name}, but its errors are those of a computation in {coarser.name}"
    if coarser.u > works_in.u and not _is_representable(trials, coarser, own):
        note += ", or of digits that cancel, as in p - 1 for p near 1"
    return Ruling("coarse", coarser, again, note)


def _overflows(failing: Sequence[Trial], format: Format) -> bool:
    """Whether all errors are values that are not finite, where exp or its square overflows."""
    limit = math.log(format.largest) / 2
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


def right_in_float64(subject: Subject, failing: Sequence[Trial]) -> bool:
    """Whether errors shrink in float64 at least to the geometric mean of both roundoffs.

    Or they shrink as much, from what they are: p - 1 has lost more digits than there are, where p
    is nearly 1.
    """
    own, double = subject.format, FORMATS["float64"]
    u = max(own.u, subject.given.u)
    share = math.sqrt(double.u / u)
    between = own._replace(u=u * share, tiny=double.tiny, lost=own.lost * share)

    def shrink(trial: Trial) -> bool:
        answer = subject.answer(trial.case, double=True)
        if answer is None:
            return False
        again = subject.compare(trial.case, answer, between)
        return again.ok or all(
            ((abs(excess) <= 1) | ((now <= share * before) & np.isfinite(before))).all()
            for excess, now, before in zip(
                again.excess, again.errors, trial.comparison.errors, strict=True
            )
        )

    return u > double.u and all(map(shrink, failing))


def _coarsest(subject: Subject, trials: Sequence[Trial], rare: bool) -> float:
    """The unit roundoff of the coarsest format that may explain errors.

    Rare ones come from digits that cancel. They shrink in float64, where a candidate computes in
    that if it is asked to; and of float64 half of the digits are left.
    """
    if not rare:
        return math.inf
    if subject.format.name == "float64":
        return FORMATS["float32"].u
    failing = [trial.case for trial in trials if not trial.comparison.ok]
    answers = [subject.answer(case, double=True) for case in failing]
    is_double = all(answer is not None and answer.dtype == np.float64 for answer in answers)
    return subject.format.u if is_double else math.inf


def _explanation(
    subject: Subject, trials: Sequence[Trial], rare: bool
) -> tuple[Format, tuple[Comparison, ...]] | None:
    """The finest format coarser than the candidate's own whose rounding explains all errors.

    If a single case fails, its own format with twice the roundoff is tried first: one rounding
    error in a million is that large. If errors are `rare`, the candidate computes in its own
    format, and no coarser one decides for it on which side of a kink a unit is.
    """
    own = subject.format
    hardest_first = sorted(trials, key=lambda trial: -trial.comparison.worst)
    most = _coarsest(subject, trials, rare)
    formats = [f._replace(lost=own.lost) for f in FORMATS.values() if own.u < f.u <= most]
    if len(trials) > 1 and hardest_first[1].comparison.ok:
        formats = [own._replace(u=2 * own.u), *formats]
    for format in formats:
        if all(subject.compare(t.case, t.answer, format).ok for t in hardest_first):
            again = tuple(subject.compare(t.case, t.answer, format) for t in trials)
            chosen = rare and format.name != own.name and any(c.mixed for c in again)
            empty = format.u > max(own.u, subject.given.u) and not _leaves_digits(trials, again)
            if not (chosen or empty or _persistent(subject, trials, again, format)):
                return format, again
    return None


def _leaves_digits(trials: Sequence[Trial], again: Sequence[Comparison]) -> bool:
    """Whether a coarser format leaves digits of the arrays that are off, so that it shows anything.

    Where sin(50 x) is steep, arithmetic of few digits leaves none, and explains any number.
    """
    own = [trial.comparison for trial in trials]
    for i in range(len(own[0].paths)):
        off = any((abs(comparison.excess[i]) > 1).any() for comparison in own)
        known = [np.isfinite(comparison.right[i]) for comparison in again]
        right, allowed = (
            np.linalg.norm(np.concatenate([x[i][k] for x, k in zip(some, known, strict=True)]))
            for some in ([c.right for c in again], [c.allowed for c in again])
        )
        if off and any(c.informative[i] for c in own) and allowed > right:
            return False
    return True


def _persistent(
    subject: Subject, trials: Sequence[Trial], comparisons: Sequence[Comparison], format: Format
) -> tuple[Leaf, ...]:
    """The errors that rounding explains on each case alone, but not on all together.

    Where the cases share rounding errors, as many others are tried, which do not.
    """
    found = persistent_errors(comparisons, subject.format.lost)
    if subject.independent or not found:
        return found
    draw = np.random.default_rng(0)
    moved = [subject.moved(trial.case, FAR, draw) for trial in trials]
    answers = [(case, subject.answer(case)) for case in moved]
    others = [subject.compare(case, answer, format) for case, answer in answers if answer]
    return persistent_errors(others, subject.format.lost)


def _is_representable(trials: Sequence[Trial], format: Format, own: Format) -> bool:
    """Whether all numbers that were returned are those of a coarser format, and not by chance."""
    leaves = jax.tree.leaves([trial.answer.gradient for trial in trials])
    if format.name == own.name or not are_numbers_of(format, leaves):
        return False
    digits = 1 / math.sqrt(format.u)  # signs and small integers are numbers of each format
    significands = [np.frexp(leaf[np.isfinite(leaf)])[0] * digits for leaf in leaves]
    return any((x != np.round(x)).any() for x in significands)


@np.errstate(invalid="ignore")  # errors may be infinite
def _is_rough(subject: Subject, trial: Trial, coarser: Format) -> bool:
    """Whether the errors on a case change at random when it moves by a few roundings.

    They must together, and more than half of them each for itself: where digits cancel, one error
    may be so large that it hides all others. One that hardly changes may do so with larger moves:
    1 - a^2 has a rounding error for a near 1, and few roundings do not move it.
    """
    draw = np.random.default_rng(0)
    around = _answers_around(subject, trial, 8 * coarser.u, NEIGHBOURS, draw)
    if around is None or not all(subject.compare(*each, coarser).ok for each in around):
        return False
    beyond = (abs(_excess(subject, around, subject.format)) > 1).any(0)
    near = _excess(subject, around, coarser)[:, beyond]
    if not near.var(0).sum() > SMOOTH * (near**2).mean(0).sum():
        return False
    smooth = _are_smooth(near)
    if 2 * smooth.sum() >= smooth.size:
        far = _answers_around(subject, trial, FAR, FAR_NEIGHBOURS, draw)
        smooth &= far is None or _are_smooth(_excess(subject, far, coarser)[:, beyond])
    return bool(2 * smooth.sum() < smooth.size)


def _answers_around(
    subject: Subject, trial: Trial, size: float, count: int, draw: np.random.Generator
) -> list[tuple[Any, Answer]] | None:
    """A case and `count` neighbours, up to `size` away, relatively; None if one has no answer."""
    cases = [subject.moved(trial.case, size, draw) for _ in range(count)]
    answers = [(case, subject.answer(case)) for case in cases]
    around = [(case, answer) for case, answer in answers if answer is not None]
    return [(trial.case, trial.answer), *around] if len(around) == count else None


def _excess(subject: Subject, around: Sequence[tuple[Any, Answer]], format: Format) -> np.ndarray:
    """The excess of each entry in a format, on each case."""
    each = [subject.compare(case, answer, format).excess for case, answer in around]
    return np.stack([np.concatenate([np.ravel(array) for array in arrays]) for arrays in each])


@np.errstate(invalid="ignore")  # errors may be infinite
def _are_smooth(excess: np.ndarray) -> np.ndarray:
    """Whether each entry hardly changes from neighbour to neighbour."""
    return ~(excess.var(0) > SMOOTH * (excess**2).mean(0))

"""A claim: that a function written by hand equals another, tried at cases of its arguments."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from fcnet.arrays import dtype_of, like, shape_of, to_numpy, unit_roundoff
from fcnet.verify.arguments import coarsest_format
from fcnet.verify.candidate import message_of
from fcnet.verify.claim_table import claim_table
from fcnet.verify.compare import Comparison, compare_arrays, largest_excess
from fcnet.verify.diagnose.arrays import WrongArray, explain_arrays
from fcnet.verify.diagnose.clipped import clipped
from fcnet.verify.example import NO_EXAMPLE, Example
from fcnet.verify.judge import Trial, judge
from fcnet.verify.properties import Property, move, properties_of
from fcnet.verify.protocol import check_repeated, note_noise
from fcnet.verify.report import Report
from fcnet.verify.shown import MANY, code_of
from fcnet.verify.table import Table
from fcnet.verify.truth.differences import Differences
from fcnet.verify.truth.double import trace
from fcnet.verify.truth.known import Known
from fcnet.verify.truth.rounding import FEW, KAPPA, TOGETHER
from fcnet.verify.truth.ties import breaks_ties
from fcnet.verify.types import (
    FORMATS,
    Answer,
    Finding,
    Format,
    Leaf,
    Values,
    are_numbers_of,
    form_finding,
)

OWN = "your input"
"""The name of the case that the user gave."""

AWAY = 0.1
"""How far the numbers of other cases are from the user's, relatively."""

FEW_CHOICES, MANY_CHOICES = FEW, 61
"""How many random choices are tried at kinks and among equal entries: at first, and if an answer
fits none of them. With 64 each of nine equal entries is the largest in some."""

OTHER_NUMBERS = (
    "what is right is computed in float64, in which the random numbers drawn inside are others: "
    "draw them before and pass them as an argument, or draw them with a dtype"
)

UNKNOWN = "are not known, since the function has no value at points beside it"
"""Of the right numbers of a function that JAX cannot trace."""

UNITS = 2.0**10
"""How much larger than the others a number may be whose derivative is lost, as a large logit."""

WIDER = 1.5
"""Choices at several kinks can add up to more than the few combinations that are tried."""


class ArrayCase(NamedTuple):
    """One input of any function: its floating arguments in float64, and a name to follow "on"."""

    name: str
    leaves: tuple[Values, ...]


class Claimed(NamedTuple):
    """An array that is claimed.

    Attributes:
        path: its name.
        place: the index of the argument that it is the gradient of; None if it is no gradient.
        phrase: how messages speak of it, with its name for {}.
        quantity: of a finding about it.
        roundoff: it need not be more precise than this, whatever the format.
    """

    path: str
    place: int | None = None
    phrase: str = "the gradient of {}"
    quantity: str = ""
    roundoff: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A function written by hand, and what it must compute: a `Subject` to be judged.

    Attributes:
        name: of the candidate.
        arrays: those that are claimed.
        right: these arrays, as JAX functions of the leaves of a case, and of those arrays of an
            answer that are `upstream`.
        call: what the candidate returns for a case, or for the case in float64; or how it fails.
        leaves: the user's own arguments, whose kind and dtype the cases must fit.
        names: of these.
        kept: the properties of each of them, which other cases have too.
        format: of what the candidate returns.
        upstream: zeros like the first arrays of an answer, from which the others are judged: each
            step of a program is judged at the candidate's own values.
        indices: the arguments of integers, by their names.
        causes: what explains wrong numbers before the arrays are compared; a function of the claim
            and the trials.
        hint: what to do about a finding, a phrase that it ends with; "" if there is none.
        sizes: (), since this is no network.
        independent: whether rounding errors on different cases are.
        plain: the user's word for the JAX function that gives what is right.
        differences: what is right, for a function that JAX cannot trace.
        shown: the arguments by names, from their leaves, for an example; None if none is given.
    """

    name: str
    arrays: tuple[Claimed, ...]
    right: Callable[[Sequence[Array]], list[Array]]
    call: Callable[[ArrayCase, bool], Answer | Finding]
    leaves: tuple[Any, ...]
    names: tuple[str, ...]
    kept: tuple[tuple[Property, ...], ...]
    format: Format
    upstream: tuple[Values, ...] = ()
    indices: Mapping[str, Values] = field(default_factory=dict)
    causes: Callable[["Claim", Sequence[Trial]], list[Finding]] = lambda claim, trials: []
    hint: Callable[[Finding], str] = lambda finding: ""
    sizes: tuple[int, ...] = ()
    independent: bool = True
    plain: str = "function"
    differences: Differences | None = None
    shown: Callable[[Sequence[Any]], dict[str, Any]] | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The names of the claimed arrays."""
        return tuple(array.path for array in self.arrays)

    @property
    def given(self) -> Format:
        """The coarsest format of the user's own arguments."""
        return coarsest_format(self.leaves)

    def answer(self, case: ArrayCase, double: bool = False) -> Answer | None:
        """What the candidate returns for a case, or for the case in float64; None if it fails."""
        returned = self.call(case, double)
        return returned if isinstance(returned, Answer) else None

    def moved(
        self, case: ArrayCase, size: float, draw: np.random.Generator, zeros: bool = False
    ) -> ArrayCase:
        """The case with each number changed by up to `size`, relatively, and its properties.

        With `zeros`, numbers that are 0 change too.
        """
        pairs = zip(case.leaves, self.kept, self.leaves, strict=True)
        moved = (
            move(x, size, draw, kept, unit_roundoff(dtype_of(leaf)), zeros)
            for x, kept, leaf in pairs
        )
        return representable(case._replace(leaves=tuple(moved)), self.leaves)

    def near(self, case: ArrayCase, count: int, draw: np.random.Generator) -> list[ArrayCase]:
        """Other cases near a case, of the same properties; fewer where there are no others."""
        found = {_numbers(case): case}
        for i in range(count):
            moved = self.moved(case, AWAY, draw, zeros=True)
            name = f"a point near {case.name}, number {i + 1}"
            found.setdefault(_numbers(moved), moved._replace(name=name))
        return list(found.values())[1:]

    def trial(self, case: ArrayCase, answer: Answer) -> Trial:
        """An answer beside what is right on its case."""
        return Trial(case, None, answer, self.compare(case, answer, self.format))

    def compare(self, case: ArrayCase, answer: Answer, format: Format) -> Comparison:
        """An answer beside what is right, up to rounding and to the choice at kinks.

        An entry may also be 0 where the right one is less than the roundoff of the array's largest:
        code that computes p - 1 for p near 1 has 0 there.
        """
        got = jax.tree.leaves(answer.gradient)
        leaves = self._given(case, answer)
        rounded = not are_numbers_of(format, case.leaves)
        right, sigma, roundoff = self._truth.spread(leaves, self._floor(format), rounded)
        u = max(format.u, roundoff)
        each = zip(sigma, self._truth.errors(leaves), self.arrays, strict=True)
        allowed = [KAPPA * max(u, array.roundoff) * s + error for s, error, array in each]
        least = max(self.format.u, roundoff)
        zeros = (self._lost(case, *each, least) for each in zip(self.arrays, right, strict=True))
        allowed = [
            np.where(g == 0, np.maximum(a, zero), a)
            for g, a, zero in zip(got, allowed, zeros, strict=True)
        ]
        strict = compare_arrays(self.paths, got, right, allowed, case.name)
        return strict if strict.ok else self._with_choices(case, leaves, strict, allowed, u)

    @np.errstate(invalid="ignore", over="ignore")
    def _lost(self, case: ArrayCase, array: Claimed, right: Values, u: float) -> Values:
        """What each entry of an array may be less than where 0 is returned.

        Each number times its derivative shows what is little whatever the units: in one vector, a
        derivative by joules is large, and one by kelvins is not.
        """
        x = case.leaves[array.place] if array.place is not None else np.ones_like(right)
        effect = abs(right * x)
        little = effect <= UNITS * u * effect.max(initial=0)
        return np.where(little, u * abs(right).max(initial=0), 0)

    def _with_choices(
        self,
        case: ArrayCase,
        leaves: Sequence[Values],
        strict: Comparison,
        allowed: Sequence[Values],
        u: float,
    ) -> Comparison:
        """The comparison where each decision that rounding can change may come out either way.

        It is `strict` where there is no such decision, or where the answer breaks a tie as none
        does. `leaves` give the right arrays; `allowed` is what rounding alone explains.
        """
        got, right = strict.got, strict.right
        most = max(FEW_CHOICES, min(MANY_CHOICES, TOGETHER // self._truth.largest))
        for tries in (FEW_CHOICES, most):
            jump = self._truth.jumps(leaves, KAPPA * u, tries)
            choice = [WIDER * np.ptp(j, 0) / 2 for j in jump]
            if all((c <= a).all() for c, a in zip(choice, allowed, strict=True)):
                return strict
            centre = [r + (j.min(0) + j.max(0)) / 2 for r, j in zip(right, jump, strict=True)]
            wide = [a + c for a, c in zip(allowed, choice, strict=True)]
            chosen = compare_arrays(self.paths, got, centre, wide, case.name)
            arrays = zip(self.arrays, got, right, jump, allowed, strict=True)
            broken = any(
                array.place is not None and breaks_ties(case.leaves[array.place], *values)
                for array, *values in arrays
            )
            if chosen.ok and not broken:
                break
        return strict if broken else chosen._replace(mixed=True)

    def right_from(self, case: ArrayCase, upstream: Sequence[Values]) -> list[Values]:
        """What is right on a case, from given upstream arrays."""
        return self._truth.values((*case.leaves, *upstream))

    def bounds(self, case: ArrayCase, answer: Answer) -> list[Values]:
        """How far two answers to a case may be apart by rounding, one of which is `answer`."""
        return [2 * allowed for allowed in self.compare(case, answer, self.format).allowed]

    @property
    def float32_excess(self) -> list[float]:
        """For each array, the excess over its rounding that float32 explains; 2 at least."""
        roundoffs = (max(self.format.u, array.roundoff) for array in self.arrays)
        return [max(2.0, FORMATS["float32"].u / u) for u in roundoffs]

    @cached_property
    def _truth(self) -> Known | Differences:
        if self.differences is not None:
            return self.differences
        try:
            return Known(trace(self.right, (*map(to_numpy, self.leaves), *self.upstream)))
        except Exception as error:
            raise TypeError(
                f"{self.plain} must have a derivative that JAX finds, as a loop has whose number "
                f"of steps is fixed; it raised {message_of(error)}"
            ) from error

    def know(
        self, cases: Sequence[ArrayCase], answers: Sequence[Answer | None], format: Format
    ) -> None:
        """Find together what is right on cases that will be compared, and were answered."""
        given: dict[bool, list[tuple[Values, ...]]] = {False: [], True: []}
        for case, answer in zip(cases, answers, strict=True):
            if answer is not None:
                rounded = not are_numbers_of(format, case.leaves)
                given[rounded].append(self._given(case, answer))
        for rounded, some in given.items():
            self._truth.add(some, self._floor(format), rounded)

    def _given(self, case: ArrayCase, answer: Answer) -> tuple[Values, ...]:
        """What gives the right arrays: the leaves of a case, and the upstream arrays."""
        return (*case.leaves, *jax.tree.leaves(answer.gradient)[: len(self.upstream)])

    def _floor(self, format: Format) -> float:
        """What underflow loses, per unit roundoff, in a format and in the candidate's own."""
        return max(f.tiny / f.u for f in (format, self.format))

    def explain(self, trials: Sequence[Trial], persistent: Sequence[Leaf]) -> list[Finding]:
        """How the wrong arrays differ from the right ones; or which errors are persistent."""
        if persistent:
            off = [(leaf, self.arrays[self.paths.index(leaf.path)]) for leaf in persistent]
            return [
                form_finding(
                    "persistent",
                    f"{array.phrase.format(array.path)} is off alike on {leaf.case}",
                    quantity=array.quantity,
                )
                for leaf, array in off
            ]
        gradients = [i for i, array in enumerate(self.arrays) if array.place is not None]
        found = (
            self.causes(self, trials)
            or clipped([trial.comparison for trial in trials], gradients)
            or explain_arrays(_wrong_arrays(self, trials))
        )
        return [
            finding._replace(message=f"{finding.message}; {hint}") if hint else finding
            for finding, hint in zip(found, map(self.hint, found), strict=True)
        ]

    def remarks(self, comparisons: Sequence[Comparison]) -> list[str]:
        """The arrays of which no case shows anything, and where zeros hide what is wrong."""
        shown = np.any([comparison.informative for comparison in comparisons], axis=0)
        silent = ", ".join(path for path, some in zip(self.paths, shown, strict=True) if not some)
        notes = [
            f"of {silent} nothing is proved: the right values are zero or all rounding everywhere"
        ]
        alike = all(comparison.ok for comparison in comparisons)
        draws = not alike and self.given != FORMATS["float64"]
        own = {
            array.path: self.leaves[array.place] for array in self.arrays if array.place is not None
        }
        zeros = ", ".join(path for path, leaf in own.items() if not np.any(to_numpy(leaf)))
        hidden = zeros and comparisons[0].ok and not alike
        return [
            *(notes if silent else ()),
            *_not_finite(comparisons, UNKNOWN if self.differences else "are not finite"),
            *([f"right on {comparisons[0].case}, where {zeros} is 0"] if hidden else ()),
            *([OTHER_NUMBERS] if draws and self._truth.draws else ()),
        ]

    def example(self, trials: Sequence[Trial]) -> Example:
        """The first input on which the answer is wrong; the user's own if it is."""
        failing = [trial for trial in trials if not trial.comparison.ok]
        if not failing:
            return NO_EXAMPLE
        return Example(self._code(failing[0].case), self.numbers(failing[0]))

    def numbers(self, trial: Trial) -> Table:
        """The right arrays of a trial beside the candidate's."""
        return claim_table(
            trial.comparison,
            partial(self.right_from, trial.case),
            self.upstream,
            [array.phrase.format(array.path) for array in self.arrays],
        )

    def _code(self, case: ArrayCase) -> str:
        """Code that makes the arguments of a case; "" where these are too many numbers."""
        if not self.shown or sum(x.size for x in case.leaves) > MANY:
            return ""
        pairs = zip(case.leaves, self.leaves, strict=True)
        own = [like(x, leaf, dtype_of(leaf)) for x, leaf in pairs]
        try:
            values = self.shown(own)
            return "\n".join(f"{name} = {code_of(value)}" for name, value in values.items())
        except TypeError:
            return ""

    def in_user_terms(self, leaf: Leaf) -> Leaf:
        """The leaf itself: the arrays are the user's own."""
        return leaf


def properties(leaves: Sequence[Any], claimed: Container[int]) -> tuple[tuple[Property, ...], ...]:
    """What holds of each array of the user's, up to its own rounding, and is kept.

    Args:
        leaves: the arrays.
        claimed: the places of those whose gradients are claimed.
    """
    return tuple(
        properties_of(to_numpy(leaf), unit_roundoff(dtype_of(leaf)), i in claimed)
        for i, leaf in enumerate(leaves)
    )


def _numbers(case: ArrayCase) -> tuple[bytes, ...]:
    return tuple(leaf.tobytes() for leaf in case.leaves)


def representable(case: ArrayCase, leaves: Sequence[Any]) -> ArrayCase:
    """The case with every number rounded to the dtype of the user's own array."""
    pairs = zip(case.leaves, leaves, strict=True)
    rounded = (x.astype(dtype_of(leaf)).astype(np.float64) for x, leaf in pairs)
    return case._replace(leaves=tuple(rounded))


def unreadable(subject: str, format: Format, findings: Iterable[Finding]) -> Report:
    """The report on a candidate whose result on the user's own input cannot be read."""
    return Report(subject, "wrong", (), tuple(findings), (), (OWN,), format.name, format.u)


def judge_claim(
    claim: Claim,
    cases: Sequence[ArrayCase],
    answers: Sequence[Answer | None],
    findings: Sequence[Finding] = (),
    notes: Sequence[str] = (),
) -> Report:
    """The report on a claim, from what was returned for some cases; None where nothing was."""
    claim.know(cases, answers, claim.format)
    pairs = list(zip(cases, answers, strict=True))
    trials = [claim.trial(case, answer) for case, answer in pairs if answer is not None]
    failed = [case for case, answer in pairs if answer is None]
    findings = [*findings, *_failures(claim, failed, len(cases))]
    return judge(claim, cases, trials, findings, notes, partial(claim.explain, trials))


def _failures(claim: Claim, cases: Sequence[ArrayCase], count: int) -> list[Finding]:
    """A warning if the candidate fails on some of the cases tried: of those it shows nothing."""
    reasons = [claim.call(case, False) for case in cases[:1]]
    return [
        form_finding(reason.kind, f"on {len(cases)} of {count} inputs {reason.message}", "warning")
        for reason in reasons
        if isinstance(reason, Finding)
    ]


def call_again(claim: Claim, case: ArrayCase, answer: Answer) -> tuple[list[Finding], list[str]]:
    """Whether a second call on a case returns the same: findings, or a note on noise."""
    again = claim.answer(case)
    findings = check_repeated(answer, again, claim.bounds(case, again or answer))
    return findings, [] if findings else note_noise(answer, again)


def _wrong_arrays(claim: Claim, trials: Sequence[Trial]) -> list[WrongArray]:
    """The arrays with an error beyond rounding on any case, as they are on all cases.

    An error of up to twice what rounding explains is not blamed where another array has a larger;
    nor is one of up to what float32 explains, such as that of a difference of parameters.
    """
    worst = [
        largest_excess(trial.comparison.excess[i] for trial in trials)
        for i in range(len(claim.arrays))
    ]
    grades = [
        sum(excess > bound for bound in (1.0, 2.0, most))
        for excess, most in zip(worst, claim.float32_excess, strict=True)
    ]
    rights = {
        path: tuple(_known(trial.comparison.right[i], trial, i) for trial in trials)
        for i, path in enumerate(claim.paths)
    }
    return [
        WrongArray(
            path=path,
            phrase=phrase,
            quantity=quantity,
            got=tuple(_known(trial.comparison.got[i], trial, i) for trial in trials),
            right=rights[path],
            allowed=tuple(_known(trial.comparison.allowed[i], trial, i) for trial in trials),
            argument=() if place is None else tuple(trial.case.leaves[place] for trial in trials),
            others={p: right for p, right in rights.items() if p != path},
            terms=partial(_terms, claim, trials, i),
            lengths=_lengths(claim),
            repeated={name: _repeated(index) for name, index in claim.indices.items()},
            kept=() if place is None else claim.kept[place],
            unit_roundoff=claim.format.u,
        )
        for i, (path, place, phrase, quantity, _) in enumerate(claim.arrays)
        if grades[i] == max(grades) > 0
    ]


def _not_finite(comparisons: Sequence[Comparison], what: str) -> list[str]:
    """A sentence for each array of which some right numbers are not finite, which are `what`."""
    found: dict[str, str] = {}
    for comparison in comparisons:
        for path, right in zip(comparison.paths, comparison.right, strict=True):
            count = int((~np.isfinite(right)).sum())
            where = f"on {comparison.case}, {count} of the {right.size} right numbers of {path}"
            if count:
                found.setdefault(path, f"{where} {what}: there any number agrees")
    return list(found.values())


def _known(values: Values, trial: Trial, i: int) -> Values:
    """Values of array i, with 0 where the right one is not finite, so that nothing is wrong."""
    return np.where(np.isfinite(trial.comparison.right[i]), values, 0)


def _terms(claim: Claim, trials: Sequence[Trial], i: int) -> dict[str, tuple[Values, ...]]:
    """The terms of array i that come through each upstream array, and from the result itself."""
    terms: dict[str, list[Values]] = {}
    for trial in trials if claim.upstream else ():
        given = jax.tree.leaves(trial.answer.gradient)[: len(claim.upstream)]
        none = list(map(np.zeros_like, given))
        direct = claim.right_from(trial.case, none)[i]
        terms.setdefault("straight from the result", []).append(direct)
        for j, path in enumerate(claim.paths[: len(given)]):
            alone = [*none[:j], given[j], *none[j + 1 :]]
            term = claim.right_from(trial.case, alone)[i] - direct
            terms.setdefault(f"through {path}", []).append(term)
    return {phrase: tuple(values) for phrase, values in terms.items()}


def _repeated(index: Values) -> frozenset[int]:
    """The indices that an array of them holds more than once."""
    indices, counts = np.unique(index, return_counts=True)
    return frozenset(indices[counts > 1].tolist())


def _lengths(claim: Claim) -> dict[int, str]:
    """The lengths of the arguments' axes, each with the first argument that has it."""
    lengths: dict[int, str] = {}
    named = zip(claim.paths, claim.upstream, strict=False)
    for name, leaf in (*zip(claim.names, claim.leaves, strict=True), *named):
        for axis, n in enumerate(shape_of(leaf)):
            lengths.setdefault(n, f"the length of axis {axis} of {name}")
    return lengths

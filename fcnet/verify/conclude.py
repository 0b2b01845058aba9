"""From the answers at the points of a claim to a report."""

from collections.abc import Sequence

import jax
import numpy as np

from fcnet.arrays import dtype_of, shape_of, unit_roundoff
from fcnet.verify.arguments import Arguments
from fcnet.verify.claim import OWN, Claim, Point
from fcnet.verify.compare import persistent_errors, worst_leaves
from fcnet.verify.precision import Ruling, Trial, rule
from fcnet.verify.report import Report, Verdict
from fcnet.verify.rounding import precision_of
from fcnet.verify.signature import Wrong, explain_arrays
from fcnet.verify.types import Answer, Finding


def conclude(
    claim: Claim,
    points: Sequence[Point],
    answers: Sequence[Answer | None],
    findings: Sequence[Finding],
    notes: Sequence[str],
    causes: Sequence[Finding] = (),
) -> Report:
    """Judge a claim by what was returned at its points; None where nothing was.

    Args:
        claim: what is right.
        points, answers: the tries.
        findings, notes: what is known already, of the form.
        causes: what explains wrong numbers, if they are; by default the arrays tell.
    """
    trials = [
        Trial(point, None, answer, claim.compare(point, answer, claim.precision))
        for point, answer in zip(points, answers, strict=True)
        if answer is not None
    ]
    ruling = rule(claim, trials)
    drifting = persistent_errors(ruling.comparisons) if ruling.kind in ("right", "coarse") else ()
    found = list(findings)
    if ruling.kind == "wrong":
        found += causes or explain_arrays(_wrong_arrays(claim, trials), claim.phrase)
    found += [
        Finding(
            None,
            "",
            None,
            "persistent",
            f"{claim.phrase.format(leaf.path)} is off alike on {leaf.case}",
        )
        for leaf in drifting
    ]
    said = [*([ruling.note] if ruling.note else []), *_silent(claim, ruling), *notes]
    told = any(any(comparison.telling) for comparison in ruling.comparisons)
    verdict: Verdict = "wrong" if found else "right" if told else "cannot tell"
    return Report(
        subject=claim.subject,
        verdict=verdict,
        leaves=drifting or worst_leaves(ruling.comparisons),
        findings=tuple(found),
        notes=tuple(said),
        cases=tuple(trial.case.name for trial in trials),
        precision=ruling.precision.name,
        unit_roundoff=ruling.precision.u,
    )


def unread(subject: str, arguments: Arguments, findings: Sequence[Finding]) -> Report:
    """The report on a candidate whose result cannot be read."""
    dtype = max(map(dtype_of, arguments.differentiable), key=unit_roundoff)
    precision = precision_of(dtype)
    cases = (OWN,)
    return Report(subject, "wrong", (), tuple(findings), (), cases, precision.name, precision.u)


def disagreement(claim: Claim, point: Point, one: Answer, other: Answer) -> tuple[float, bool]:
    """The largest difference between two answers at a point, and whether rounding explains it."""
    pairs = list(zip(*(jax.tree.leaves(a.gradient) for a in (one, other)), strict=True))
    if all(np.array_equal(a, b, equal_nan=True) for a, b in pairs):
        return 0.0, True
    allowed = claim.compare(point, other, claim.precision).allowed
    with np.errstate(all="ignore"):
        noise = max(float(np.max(abs(a - b), initial=0)) for a, b in pairs)
        known = all((abs(a - b) <= 2 * t).all() for (a, b), t in zip(pairs, allowed, strict=True))
    return noise, known


def check_repeated(claim: Claim, point: Point, answer: Answer) -> tuple[list[Finding], list[str]]:
    """Whether a second call at a point gives what the first did: findings, or a note on noise."""
    again = claim.answer(point)
    if again is None:
        message = "the first call worked, a second one like it did not"
        return [Finding(None, "", None, "stateful", message)], []
    noise, known = disagreement(claim, point, answer, again)
    message = f"two calls with the same input differ by {noise:.1e}"
    if not known:
        return [Finding(None, "", None, "nondeterministic", message)], []
    return [], [f"{message}, which rounding explains"] if noise else []


def _silent(claim: Claim, ruling: Ruling) -> list[str]:
    """A note on the arrays of which no point tells anything."""
    told = np.any([comparison.telling for comparison in ruling.comparisons], axis=0)
    silent = ", ".join(path for path, tells in zip(claim.paths, told, strict=True) if not tells)
    if not silent:
        return []
    return [f"of {silent} nothing is proved: the right values are zero or all rounding everywhere"]


def _wrong_arrays(claim: Claim, trials: Sequence[Trial]) -> list[Wrong]:
    """The arrays with an error beyond rounding at any point, as they are at all points."""
    arrays = {
        path: Wrong(
            path=path,
            got=tuple(jax.tree.leaves(trial.answer.gradient)[i] for trial in trials),
            right=tuple(trial.comparison.right[i] for trial in trials),
            allowed=tuple(trial.comparison.allowed[i] for trial in trials),
            argument=tuple(
                trial.case.leaves[at] for trial in trials for at in claim.places[i : i + 1]
            ),
            others={},
            lengths=_lengths(claim),
            unit_roundoff=claim.precision.u,
        )
        for i, path in enumerate(claim.paths)
        if any((abs(trial.comparison.excess[i]) > 1).any() for trial in trials)
    }
    rights = {
        path: tuple(trial.comparison.right[i] for trial in trials)
        for i, path in enumerate(claim.paths)
    }
    return [
        array._replace(others={p: right for p, right in rights.items() if p != path})
        for path, array in arrays.items()
    ]


def _lengths(claim: Claim) -> dict[int, str]:
    """The lengths of the arguments' axes, each with the first argument that has it."""
    lengths: dict[int, str] = {}
    for name, leaf in zip(claim.names, claim.leaves, strict=True):
        for axis, n in enumerate(shape_of(leaf)):
            lengths.setdefault(n, f"the length of axis {axis} of {name}")
    return lengths

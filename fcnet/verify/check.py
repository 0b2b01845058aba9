"""`fcnet.check`: a backward pass of the network tried on varied inputs, judged and diagnosed."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array

from fcnet.activations import get_activation
from fcnet.losses import get_loss
from fcnet.types import Activation, Loss
from fcnet.verify.binding import bind
from fcnet.verify.candidate import Call, Candidate
from fcnet.verify.compare import Comparison, compare, persistent_errors, worst_leaves
from fcnet.verify.diagnosis import Evidence, diagnose
from fcnet.verify.inputs import varied_inputs
from fcnet.verify.precision import Ruling, Suspect, Trial, rule
from fcnet.verify.protocol import check_finite, check_protocol
from fcnet.verify.reference import reference
from fcnet.verify.report import Report, Verdict
from fcnet.verify.rounding import precision_of
from fcnet.verify.types import Answer, Case, Finding, Leaf, Problem, Reference

REDUCTIONS = ("mean", "sum")

UNRELIABLE = {"stateful", "nondeterministic", "stale_cache"}
"""Kinds of findings after which the numbers of single calls say nothing of the formulas."""

ROWS_ALONE = 8
"""Batches of up to so many examples are also asked for row by row, to tell what goes wrong."""


def check(
    backward: Callable[[Any, Any, Any], Any],
    params: Any,
    x: Any,
    y: Any,
    *,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
    loss: str | Loss = "squared_error",
    batched: bool = False,
    reduction: str = "mean",
    weight_layout: str | None = None,
    example_axis: str | None = None,
    key: Array | None = None,
) -> Report:
    """Check a hand-written backward pass of the network (2.12), and name the line that is wrong.

    The candidate is called on the user's input and on about ten others derived from it, and is
    compared with reverse-mode autodiff in float64. What it may be off by is derived from rounding
    in its own precision, so there is no tolerance to choose. If it is wrong, each line of
    Algorithm 5 is judged alone, with the candidate's own values upstream.

    Args:
        backward: `backward(params, x, y)`, in NumPy, JAX or PyTorch; returns the gradient in the
            layout of `params`, alone or with the loss, before or after it.
        params: any layout of `fcnet.layouts`: pairs (W, b), a flat list, dicts of several kinds;
            weights as in the notes, (out, in), or (in, out).
        x, y: one example and its target; or, with `batched`, examples and targets, in rows or in
            columns; targets may be class labels.
        activation, output_activation, loss: as in `fcnet.example_loss`.
        batched: whether the candidate takes several examples at once.
        reduction: of a batch's losses, "mean" or "sum".
        weight_layout: "out_in" or "in_out", only needed where every layer is square.
        example_axis: "rows" or "columns", only needed where n = d.
        key: of the derived inputs; by default always the same.

    Returns:
        A `Report`: its verdict is "right", "wrong" or "cannot tell".

    Raises:
        ValueError, TypeError: for arguments that cannot be read, before the candidate is judged. A
            candidate that raises is a finding of the report.

    >>> W, b, x, y = np.ones((1, 2)), np.zeros(1), np.array([3.0, 4.0]), np.array([5.0])
    >>> def backward(params, x, y):
    ...     (W, b), = params
    ...     delta = 2 * (W @ x + b - y)
    ...     return [(np.outer(delta, x), delta)]
    >>> report = check(backward, [(W, b)], x, y)
    >>> report.verdict, report.findings[0].line, report.findings[0].kind
    ('wrong', 2, 'factor_2')
    """
    problem = Problem(
        get_activation(activation),
        get_activation(output_activation, "output_activation"),
        get_loss(loss),
        reduction,
    )
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
    candidate = bind(
        backward,
        params,
        x,
        y,
        problem,
        batched=batched,
        weight_layout=weight_layout,
        example_axis=example_axis,
    )
    cases = varied_inputs(candidate, problem, jax.random.key(0) if key is None else key)
    cases = [candidate.own, *cases]
    references = _references(problem, candidate, cases)
    protocol = check_protocol(candidate, references[0], cases[1], references[1])
    other = protocol.other or candidate.call(cases[1])
    calls = [protocol.own, other, *map(candidate.call, cases[2:])]
    form = [*protocol.findings, *(finding for call in calls for finding in call.findings)]
    trials = [
        Trial(case, right, call.answer, compare(call.answer, right, case.name))
        for case, right, call in zip(cases, references, calls, strict=True)
        if call.answer is not None
    ]
    if not trials:
        return _report(candidate, "wrong", (), _distinct(form), (), cases)
    ruling = rule(_suspect(candidate, problem), trials)
    drifting = persistent_errors(ruling.comparisons) if ruling.kind in ("right", "coarse") else ()
    faulty = ruling.kind == "wrong" or bool(drifting)
    if faulty and UNRELIABLE.isdisjoint(finding.kind for finding in form):
        form += _explain(candidate, problem, trials, calls)
    findings = _distinct(form)
    told = any(any(comparison.telling) for comparison in ruling.comparisons)
    verdict: Verdict = "wrong" if faulty or findings else "right" if told else "cannot tell"
    notes = (*_notes(ruling, trials[0].case is candidate.own, told), *protocol.notes)
    leaves = _in_their_words(candidate, drifting or worst_leaves(ruling.comparisons))
    return _report(candidate, verdict, leaves, findings, notes, cases, ruling)


def _references(problem: Problem, candidate: Candidate, cases: Sequence[Case]) -> list[Reference]:
    """What is right on each case; those with n up to 64 share one compiled program."""
    precision = precision_of(candidate.dtype)
    own_n = len(candidate.own.X)
    rows = max(n for case in cases if (n := len(case.X)) != own_n or n == len(cases[-1].X))
    return [
        reference(
            problem,
            case,
            precision.u,
            own_n if len(case.X) == own_n else rows,
            tiny=precision.tiny,
        )
        for case in cases
    ]


def _suspect(candidate: Candidate, problem: Problem) -> Suspect:
    return Suspect(
        problem=problem,
        precision=precision_of(candidate.dtype),
        call=lambda case: candidate.call(case).answer,
        representable=candidate.representable,
        finer=lambda case: candidate.call(case, dtype=np.float64).answer,
    )


def _explain(
    candidate: Candidate, problem: Problem, trials: Sequence[Trial], calls: Sequence[Call]
) -> list[Finding]:
    """The lines that are wrong; if none can be blamed, what is not finite, or at least which."""
    evidence = [
        Evidence(trial.case, trial.reference, trial.answer, _alone(candidate, trial.case))
        for trial in trials
    ]
    slots = candidate.layout.slots
    names = [
        (W.gradient_name, b.gradient_name) for W, b in zip(slots[::2], slots[1::2], strict=True)
    ]
    findings = diagnose(problem, evidence, names)
    findings = findings or [f for call in calls for f in check_finite(candidate, call)]
    return findings or [
        Finding(None, "", None, "unknown", "the gradient is wrong, in no way that has a name here")
    ]


def _alone(candidate: Candidate, case: Case) -> tuple[Answer, ...]:
    """What the candidate returns for each example of a small batch as a batch of one."""
    n = len(case.X)
    if not 1 < n <= ROWS_ALONE:
        return ()
    rows = (Case(case.name, case.params, case.X[i : i + 1], case.Y[i : i + 1]) for i in range(n))
    answers = [candidate.call(row).answer for row in rows]
    return tuple(a for a in answers if a is not None) if None not in answers else ()


def _distinct(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One finding of each kind, quantity and layer: the first."""
    first: dict[tuple[str, str, int | None], Finding] = {}
    for finding in findings:
        first.setdefault((finding.kind, finding.quantity, finding.layer), finding)
    return tuple(first.values())


def _notes(ruling: Ruling, own_answered: bool, told: bool) -> list[str]:
    notes = [ruling.note] if ruling.note else []
    if not told:
        notes.append("every gradient was zero or all rounding, which agrees with anything")
    elif own_answered and not any(ruling.comparisons[0].telling):
        notes.append(
            "on your input the gradient is zero or all rounding, which proves nothing; "
            "the verdict is from the other inputs"
        )
    seen = {c.convention for c in ruling.comparisons if c.convention is not None}
    notes += [
        f"where a pre-activation is exactly 0 it takes ReLU'(0) = {c:g}"
        + (", as the notes do" if c == 1 else "; the notes take 1, and both are right")
        for c in sorted(seen)
    ]
    return notes


def _in_their_words(candidate: Candidate, leaves: Iterable[Leaf]) -> tuple[Leaf, ...]:
    """The leaves under the user's own names and indices."""
    slots = {f"{slot.role}{slot.layer}": slot for slot in candidate.layout.slots}
    return tuple(
        leaf._replace(path=slots[leaf.path].gradient_name, index=slots[leaf.path].where(leaf.index))
        for leaf in leaves
    )


def _report(
    candidate: Candidate,
    verdict: Verdict,
    leaves: tuple[Leaf, ...],
    findings: tuple[Finding, ...],
    notes: tuple[str, ...],
    cases: Sequence[Case],
    ruling: Ruling | None = None,
) -> Report:
    precision = ruling.precision if ruling else precision_of(candidate.dtype)
    comparisons: Sequence[Comparison] = ruling.comparisons if ruling else ()
    conventions = {c.convention for c in comparisons} - {None}
    return Report(
        subject=getattr(candidate.function, "__name__", type(candidate.function).__name__),
        verdict=verdict,
        leaves=leaves,
        findings=findings,
        notes=notes,
        cases=tuple(case.name for case in cases),
        precision=precision.name,
        unit_roundoff=precision.u,
        convention=conventions.pop() if len(conventions) == 1 else None,
        sizes=candidate.layout.sizes,
    )

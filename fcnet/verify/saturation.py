"""What shows at saturation only: a right formula that overflows, or is cut off, far from zero.

Activations that stay bounded, and losses whose derivative does, are tried at pre-activations of 20,
40 and 800. There exp overflows in one format after another, and probabilities round to 0 or 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fcnet.types import Layer
from fcnet.verify.backward_pass import BackwardPass
from fcnet.verify.candidate import Candidate
from fcnet.verify.report import Report
from fcnet.verify.truth.functions import activated, dJ_do
from fcnet.verify.types import FORMATS, Case, Cost, form_finding

LEVELS = (20.0, 40.0, 800.0)
"""The pre-activations: exp overflows at 11 in float16, at 89 in float32, at 710 in float64."""

BOUND = 2.0
"""The most that a bounded activation, or derivative of a loss, may be."""


def add_saturation(report: Report, subject: BackwardPass, like: Case) -> Report:
    """The report on a right candidate with a warning if it fails at saturation only.

    Args:
        report: the report.
        subject: the candidate.
        like: an input with nothing special.
    """
    if not report.ok or any(finding.kind == "unstable" for finding in report.findings):
        return report
    format = FORMATS[report.precision]
    format = format._replace(u=report.unit_roundoff, lost=subject.format.lost)
    inputs = saturated_inputs(subject.candidate, subject.cost, like)
    report = replace(report, cases=(*report.cases, *(case.name for case, _ in inputs)))
    for case, level in inputs:
        call = subject.candidate.call(case)
        answer = subject.readable(call)
        shown = subject.compare(case, answer, format) if answer else None
        if shown and shown.ok:
            continue
        what = subject.worst_entry(shown) if shown else call.findings[0].message
        message = (
            f"at pre-activations of {level:g} {what}: the formula is right elsewhere, and not "
            "stable there"
        )
        unstable = form_finding("unstable", message, "warning")
        return replace(report, findings=(*report.findings, unstable))
    return report


class Saturated(NamedTuple):
    """A case, and the size of its pre-activations."""

    case: Case
    level: float


def saturated_inputs(candidate: Candidate, cost: Cost, like: Case) -> list[Saturated]:
    """The inputs at saturation; none if no layer stays bounded there, or it has no bias.

    Args:
        candidate: gives what its arrays can hold.
        cost: its activations and its loss decide which layers are driven there.
        like: an input with nothing special.
    """
    layers = list(_bounded(candidate, cost, like))
    if not layers:
        return []
    return [Saturated(candidate.representable(_driven(like, layers, z)), z) for z in LEVELS]


def _bounded(candidate: Candidate, cost: Cost, like: Case) -> Iterator[int]:
    """The indices of the layers that have a bias and can be saturated."""
    with_bias = {slot.layer for slot in candidate.layout.slots if slot.role == "b"}
    activations = cost.activations(len(like.params))
    for k, activation in enumerate(activations, start=1):
        far = activated(activation, _signs(like.params[k - 1]) * LEVELS[-1])
        last = k == len(activations)
        fits = _is_bounded(dJ_do(cost.objective.loss, far, like.Y[0]) if last else far)
        if k in with_bias and fits:
            yield k - 1


def _signs(layer: Layer) -> np.ndarray:
    """1 and -1 in turn, for each unit."""
    return np.resize([1.0, -1.0], len(np.asarray(layer.W)))


def _is_bounded(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).all() and (abs(values) <= BOUND).all())


def _driven(like: Case, layers: Sequence[int], level: float) -> Case:
    """The case with biases that drive these layers to pre-activations of about that size."""
    params: list[Any] = list(like.params)
    for k in layers:
        params[k] = params[k]._replace(b=_signs(params[k]) * level)
    return like._replace(name=f"an input with pre-activations of {level:g}", params=tuple(params))

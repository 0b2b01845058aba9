"""Runs the diagnosis on planted faults, and scores its answers."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from fcnet.verify.diagnose import blame
from fcnet.verify.diagnose.blame import Observation, diagnose
from fcnet.verify.diagnose.mistakes import BATCH_MISTAKES, MISTAKES
from fcnet.verify.types import Answer, Case, Finding, Reference
from support.diagnosis_evidence import answer_of, cases, cost_of, reference_of
from support.faulty_backprop import Fault, Setting, Site, candidate, forward

NETWORKS: tuple[tuple[Setting, tuple[int, ...]], ...] = (
    (Setting("tanh"), (5, 4, 4, 4, 3)),
    (Setting("relu"), (4, 6, 3)),
    (Setting("sigmoid", loss="softmax_cross_entropy"), (5, 3, 3, 3)),
    (Setting("tanh", "sigmoid", "squared_error"), (3, 5, 2)),
    (Setting("relu", loss="logistic", reduction="sum"), (4, 4, 3, 1)),
)
"""Square layers and others, deep and shallow, several losses, both reductions."""

SINGLE, BATCHED = (1,) * 8, (5, 1, 2, 3, 7, 1, 5)
"""The number of rows of each input."""

LINES = {"delta": (2, 4), "dW": (5, 5), "db": (5, 5)}
"""The line of Algorithm 5 that computes a quantity: at the output, and below it."""

Rows = tuple[int, ...]


class Trial(NamedTuple):
    """A candidate with faults on one network, and the findings of the diagnosis."""

    network: int
    sites: tuple[Site, ...]
    rows: Rows
    findings: list[Finding]

    @property
    def localised(self) -> bool:
        """Whether exactly the wrong lines are named: line, quantity and layer."""
        r = len(NETWORKS[self.network][1]) - 1
        planted = {(LINES[fault.quantity][k < r], fault.quantity, k) for fault, k in self.sites}
        return {(f.line, f.quantity, f.layer) for f in self.findings} == planted

    @property
    def kinds(self) -> list[str]:
        return [finding.kind for finding in self.findings]

    @property
    def named(self) -> bool:
        """Whether the only fault has its name, or one whose row gives the very same numbers here.

        Rows that give the same numbers are merged under the name of the first. The planted fault
        is named if the diagnosis names it where its row is alone in the tables.
        """
        ((fault, _),) = self.sites
        if self.kinds == [fault.kind]:
            return True
        own = tuple(row for row in MISTAKES if row.kind == fault.kind)
        batch = tuple(row for row in BATCH_MISTAKES if row.kind == fault.kind)
        with (
            patch.object(blame, "MISTAKES", own),
            patch.object(blame, "BATCH_MISTAKES", batch),
        ):
            return Trial(*self[:3], judged(*self[:3])).kinds == [fault.kind]


@cache
def known(network: int, rows: Rows) -> list[tuple[Case, Reference]]:
    setting, sizes = NETWORKS[network]
    return [(case, reference_of(setting, case)) for case in cases(setting, sizes, 0, rows)]


def evidence(network: int, faults: Sequence[Site], rows: Rows) -> list[Observation]:
    """What a candidate with the faults returns, for inputs of these numbers of rows."""
    batched = max(rows) > 1
    backward = candidate(NETWORKS[network][0], faults, batched)
    return [
        Observation(case, right, answer_of(backward, case, batched), _alone(backward, case))
        for case, right in known(network, rows)
    ]


def _alone(backward: Any, case: Case) -> tuple[Answer, ...]:
    """What it returns for each row as a batch of one; nothing if that has another shape."""
    n = len(case.X)
    rows = (
        case._replace(X=case.X[i : i + 1], Y=case.Y[i : i + 1]) for i in range(n if n > 1 else 0)
    )
    answers = tuple(answer_of(backward, row, True) for row in rows)
    fits = all(
        db.shape == b.shape
        for answer in answers
        for (_, db), (_, b) in zip(answer.gradient, case.params, strict=True)
    )
    return answers if fits else ()


def is_wrong(items: Iterable[Observation]) -> bool:
    """Whether an error is beyond rounding, with a margin of ten, or not a number."""
    return any(
        not (abs(got - right) <= 10 * allowed).all()
        for item in items
        for layers in zip(
            item.answer.gradient, item.reference.gradient, item.reference.tolerance, strict=True
        )
        for got, right, allowed in zip(*layers, strict=True)
    )


def judged(network: int, faults: Sequence[Site], rows: Rows) -> list[Finding]:
    """The findings of the diagnosis for a candidate with the faults."""
    setting, sizes = NETWORKS[network]
    names = {(role, k): f"d{role}{k}" for k in range(1, len(sizes)) for role in "Wb"}
    return diagnose(cost_of(setting), evidence(network, faults, rows), names)


def trials(faults: Iterable[Fault], rows: Rows, every: int = 1) -> Iterator[Trial]:
    """Each fault in each layer of each network where it is one, or every `every`-th of these."""
    places = [
        (i, (fault, k)) for i in range(len(NETWORKS)) for fault in faults for k in layers(i, fault)
    ]
    for i, site in places[::every]:
        if is_wrong(evidence(i, [site], rows)):
            yield Trial(i, (site,), rows, judged(i, [site], rows))


def layers(network: int, fault: Fault) -> Iterator[int]:
    """The layers of a network in which a fault can be planted."""
    setting, sizes = NETWORKS[network]
    draw = np.random.default_rng(0)
    params = [(draw.normal(size=(m, d)), draw.normal(size=m)) for d, m in pairwise(sizes)]
    m = forward(setting, params, draw.normal(size=(1, sizes[0])), np.ones((1, sizes[-1])))
    return (k for k in range(1, len(sizes)) if fault.applies(m, k))

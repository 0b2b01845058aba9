"""Two planted faults at once, in one line or in two, and whether the diagnosis names both."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from fcnet.types import Params
from fcnet.verify.diagnose import blame
from fcnet.verify.diagnose.mistakes import BATCH_MISTAKES, MISTAKES
from fcnet.verify.types import Finding
from support.faults import FAULTS, STATELESS
from support.faults_batch import BATCH_FAULTS
from support.faulty_backprop import Fault, Site
from support.scored_diagnoses import (
    BATCHED,
    NETWORKS,
    SINGLE,
    Rows,
    evidence,
    is_wrong,
    judged,
    layers,
)

FACTORS = [fault for fault in FAULTS if fault.kind in ("factor_2", "factor_half", "sign")]
DECAYS = [fault for fault in FAULTS if fault.kind in ("weight_decay", "l1_penalty")]
SUMS = [fault for fault in BATCH_FAULTS if fault.kind in ("sum_for_mean", "divided_twice")]
CONSTANTS = {
    *("scaled", "per_output", "times_outputs", "per_unit", "mean_squared_error", "factor_minus_2"),
    *("weight_decay", "l1_penalty", "parameter_returned", "updated_weights", "clipped", "zero"),
    *("sign_only", "ones", "truncated", "first_call", "cached_activation"),
}
"""Kinds with a constant of their own, which swallows any factor, and those that no factor shows."""
FORMULAS = [f for f in FAULTS if f not in FACTORS and f.kind not in CONSTANTS]


class Pool(NamedTuple):
    """Faults to pair, and whether a pair is in one line, in one layer, or anywhere."""

    one: Sequence[Fault]
    other: Sequence[Fault]
    rows: Rows
    fits: Callable[[Site, Site], bool]


def same_line(one: Site, other: Site) -> bool:
    return one[1] == other[1] and one[0].quantity == other[0].quantity


def same_layer(one: Site, other: Site) -> bool:
    return one[1] == other[1] and one[0].quantity != other[0].quantity


POOLS = {
    "a factor beside a formula": Pool(FORMULAS, FACTORS, SINGLE, same_line),
    "a factor beside a decay": Pool(DECAYS, FACTORS, SINGLE, same_line),
    "a formula beside a decay": Pool(FORMULAS, DECAYS, SINGLE, same_line),
    "2 beside 1/n": Pool(SUMS, FACTORS, BATCHED, same_line),
    "a formula beside 1/n": Pool(STATELESS, SUMS, BATCHED, lambda a, b: a[1] != b[1]),
    "two lines of one layer": Pool(STATELESS, STATELESS, SINGLE, same_layer),
}


class Pair(NamedTuple):
    """Two faults on one network, and the findings."""

    network: int
    sites: tuple[Site, Site]
    rows: Rows
    findings: list[Finding]

    @property
    def named(self) -> bool:
        """Whether both have their names, or names whose rows give the very same numbers here."""
        if self.surplus == Counter() and self._kinds(self.findings) == self.planted:
            return True
        own = {fault.kind for fault, _ in self.sites}
        tables = {"MISTAKES": MISTAKES, "BATCH_MISTAKES": BATCH_MISTAKES}
        few = {name: tuple(r for r in rows if r.kind in own) for name, rows in tables.items()}
        with patch.multiple(blame, **few):
            return self._kinds(judged(self.network, self.sites, self.rows)) == self.planted

    @property
    def planted(self) -> Counter[tuple[str, int, str]]:
        return Counter((fault.quantity, k, fault.kind) for fault, k in self.sites)

    @property
    def surplus(self) -> Counter[tuple[str, int, str]]:
        """What is named and not planted; "unknown" is no name."""
        found = self._kinds(self.findings) - self.planted
        return Counter({key: n for key, n in found.items() if key[2] != "unknown"})

    @staticmethod
    def _kinds(findings: Sequence[Finding]) -> Counter[tuple[str, int, str]]:
        return Counter((f.quantity, f.layer or 0, f.kind) for f in findings)


def pairs_of(pool: Pool, count: int, seed: int) -> Iterator[Pair]:
    """Random pairs; each fault is one alone, and changes something beside the other."""
    draw, found = np.random.default_rng(seed), 0
    while found < count:
        i = int(draw.integers(len(NETWORKS)))
        faults = [pool[j][int(draw.integers(len(pool[j])))] for j in (0, 1)]
        places = [list(layers(i, fault)) for fault in faults]
        if not all(places):
            continue
        one, other = (
            (fault, int(draw.choice(ks))) for fault, ks in zip(faults, places, strict=True)
        )
        if pool.fits(one, other) and _both_tell(i, (one, other), pool.rows):
            found += 1
            yield Pair(i, (one, other), pool.rows, judged(i, (one, other), pool.rows))


def _both_tell(i: int, sites: tuple[Site, Site], rows: Rows) -> bool:
    """Whether each is wrong alone, and both together give what neither gives."""
    both = [item.answer.gradient for item in evidence(i, sites, rows)]
    alone = [evidence(i, [site], rows) for site in sites]
    return all(map(is_wrong, [*alone, evidence(i, sites, rows)])) and all(
        any(_differ(item.answer.gradient, b) for item, b in zip(items, both, strict=True))
        for items in alone
    )


def _differ(one: Params, other: Params) -> bool:
    return not all(
        np.allclose(a, b, rtol=1e-9, atol=0, equal_nan=True)
        for layers in zip(one, other, strict=True)
        for a, b in zip(*layers, strict=True)
    )

"""The diagnosis finds planted faults in their place and names them; and says unknown where it must.

Every candidate here is wrong. That a right one is never diagnosed is tested in test_check.py.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from support.faults import FAULTS, STATELESS
from support.faults_batch import BATCH_FAULTS, NOT_TRANSPOSED, OVER_UNITS, UNLISTED_BATCH_FAULTS
from support.faults_rare import RARE_FAULTS
from support.faults_unlisted import UNLISTED_FAULTS
from support.faulty_backprop import Fault, Site
from support.scored_diagnoses import (
    BATCHED,
    NETWORKS,
    SINGLE,
    Rows,
    Trial,
    evidence,
    is_wrong,
    judged,
    layers,
)
from support.scored_diagnoses import trials as tried
from support.scored_pairs import POOLS, pairs_of

from fcnet.verify.diagnose.mistakes import BATCH_MISTAKES, MISTAKES

pytestmark = (
    pytest.mark.untyped
)  # thousands of small arrays: checked types take longer than all else

SINGLE_FAULTS = (*FAULTS, *RARE_FAULTS)

SQUARE = (4,) * 5
"""As many rows as the hidden layers of the first network have units."""


def share(found: Sequence[bool]) -> float:
    return sum(found) / len(found)


def assert_scores(trials: list[Trial], named: float) -> None:
    """All faults localised, and at least the share `named` of them named."""
    assert [trial for trial in trials if not trial.localised] == []
    assert share([trial.named for trial in trials]) >= named


def assert_honest(trials: list[Trial]) -> None:
    """All faults localised, and hardly any with a name that it has not."""
    assert [trial for trial in trials if not trial.localised] == []
    assert share([trial.kinds != ["unknown"] for trial in trials]) <= 0.02


def test_single_faults_are_placed_and_named() -> None:
    trials = list(tried(SINGLE_FAULTS, SINGLE, every=31))
    assert len(trials) > 50
    assert_scores(trials, 0.99)


@pytest.mark.slow
def test_faults_of_batches_are_placed_and_named() -> None:
    trials = list(tried(BATCH_FAULTS, BATCHED, every=41))
    assert len(trials) > 10
    assert_scores(trials, 0.99)


def test_faults_beyond_the_table_are_placed_and_called_unknown() -> None:
    trials = list(tried(UNLISTED_FAULTS, SINGLE, every=23))
    assert len(trials) > 25
    assert_honest(trials)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("faults", "rows", "every"),
    [
        (SINGLE_FAULTS, SINGLE, 2),
        (STATELESS, BATCHED, 8),
        (BATCH_FAULTS, BATCHED, 1),
    ],
    ids=["one example", "examples of a batch", "batches"],
)
def test_every_single_fault_is_placed_and_named(
    faults: Sequence[Fault], rows: Rows, every: int
) -> None:
    """In every second or eighth of their places: a fault has one or more in each network."""
    assert_scores(list(tried(faults, rows, every)), 0.99)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("faults", "rows"),
    [(UNLISTED_FAULTS, SINGLE), (UNLISTED_BATCH_FAULTS, BATCHED)],
    ids=["one example", "batches"],
)
def test_every_fault_beyond_the_table_is_called_unknown(
    faults: Sequence[Fault], rows: Rows
) -> None:
    assert_honest(list(tried(faults, rows)))


def both_tell(network: int, sites: Sequence[Site]) -> bool:
    """Whether the faults are in two lines, and both together give what neither gives alone."""
    if len({(fault.quantity, k) for fault, k in sites}) < 2:
        return False
    both = [item.answer for item in evidence(network, sites, SINGLE)]
    return all(
        any(
            not np.allclose(a, b, rtol=1e-9, atol=0, equal_nan=True)
            for item, answer in zip(evidence(network, [site], SINGLE), both, strict=True)
            for layers in zip(item.answer.gradient, answer.gradient, strict=True)
            for a, b in zip(*layers, strict=True)
        )
        for site in sites
    ) and all(is_wrong(evidence(network, [site], SINGLE)) for site in sites)


def pairs(count: int) -> list[Trial]:
    """Two faults in different lines of one network, drawn at random; each must do something."""
    draw = np.random.default_rng(3)
    found: list[Trial] = []
    while len(found) < count:
        i = int(draw.integers(len(NETWORKS)))
        faults = [SINGLE_FAULTS[j] for j in draw.choice(len(SINGLE_FAULTS), 2, replace=False)]
        places = [list(layers(i, fault)) for fault in faults]
        if not all(places):
            continue
        sites = [(fault, int(draw.choice(ks))) for fault, ks in zip(faults, places, strict=True)]
        if both_tell(i, sites):
            found.append(Trial(i, tuple(sites), SINGLE, judged(i, sites, SINGLE)))
    return found


@pytest.mark.parametrize("count", [24, pytest.param(120, marks=pytest.mark.slow)])
def test_two_faults_at_once_are_placed(count: int) -> None:
    trials = pairs(count)
    assert share([trial.localised for trial in trials]) >= 0.95
    named = [
        Counter(trial.kinds) == Counter(fault.kind for fault, _ in trial.sites) for trial in trials
    ]
    assert share(named) > 0.7


def scored(counts: dict[str, int]) -> tuple[float, float]:
    """The share of pairs with both names, and that of pairs with a name that is not planted."""
    found = [pair for name, n in counts.items() for pair in pairs_of(POOLS[name], n, seed=1)]
    named = [pair.named for pair in found]
    wrong = [bool(p.surplus) and not fine for p, fine in zip(found, named, strict=True)]
    return share(named), share(wrong)


def test_two_mistakes_in_one_line_are_both_named() -> None:
    named, wrong = scored(
        {"a factor beside a formula": 12, "a factor beside a decay": 8, "2 beside 1/n": 4}
    )
    assert (named, wrong) == (1, 0)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_300_pairs_of_mistakes_are_both_named() -> None:
    counts = {
        "a factor beside a formula": 80,
        "a factor beside a decay": 60,
        "a formula beside a decay": 60,
        "2 beside 1/n": 40,
        "a formula beside 1/n": 15,
        "two lines of one layer": 45,
    }
    assert counts.keys() == POOLS.keys()
    assert sum(counts.values()) == 300
    named, wrong = scored(counts)
    assert named >= 0.95
    assert wrong <= 0.02


def test_every_row_of_the_tables_is_planted_and_found() -> None:
    """A row that no fault of the suites is called by is a row that nobody has seen at work."""
    kinds = {row.kind for row in (*MISTAKES, *BATCH_MISTAKES)}
    assert len(kinds) > 150
    planted = {m.kind for m in (*SINGLE_FAULTS, *BATCH_FAULTS, OVER_UNITS)}
    assert planted - kinds == set()
    of_steps = {"overwritten", "without_rate", "rate_twice"}  # test_steps and others plant them
    assert kinds - planted == of_steps


@pytest.mark.parametrize(
    ("fault", "k"),
    [*((OVER_UNITS, k) for k in (1, 2, 3)), *((NOT_TRANSPOSED, k) for k in (2, 3))],
)
def test_a_sum_over_the_wrong_axis_shows_where_shapes_hide_it(fault: Fault, k: int) -> None:
    site = (fault, k)
    assert is_wrong(evidence(0, [site], SQUARE))
    trial = Trial(0, (site,), SQUARE, judged(0, [site], SQUARE))
    assert trial.localised
    assert trial.kinds == [fault.kind]

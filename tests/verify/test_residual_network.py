"""`fcnet.check_gradient` of a residual network with layer norm: faults in nine regimes."""

import pytest
from support.residual_network import (
    REGIMES,
    arguments,
    effective_faults,
    gradient_of,
    network,
)

import fcnet

pytestmark = [pytest.mark.untyped, pytest.mark.slow]

SHARE = 5
"""Each regime has one fault in five, and the next regime the next ones: 243 in all."""


@pytest.mark.parametrize("name", REGIMES)
def test_the_right_gradient_is_right_and_needs_rows_that_sum_to_one(name):
    args = arguments(REGIMES[name])
    report = fcnet.check_gradient(gradient_of(), network, *args)
    assert report.verdict == "right", str(report)
    limits = [note for note in report.notes if note.startswith("right where")]
    assert limits == ["right where the rows of Y sum to 1; otherwise not"]


@pytest.mark.parametrize("name", REGIMES)
def test_faults_are_found(name):
    args = arguments(REGIMES[name])
    first = list(REGIMES).index(name) % SHARE
    for fault in effective_faults(args)[first::SHARE]:
        report = fcnet.check_gradient(gradient_of(fault), network, *args)
        assert report.verdict == "wrong", (fault, str(report))

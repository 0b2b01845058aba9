"""Nineteen kinds of public code, each right as it stands and with six slips, as in a table.

| kind | as published | six slips |
|---|---|---|
| each of `PUBLIC_CODE` | right, no error | wrong, the line named, no second error |
"""

import ast

import pytest
from support.more_public_code import PUBLIC_CODE

pytestmark = pytest.mark.untyped

ADAPTER_LINES = 2

SLIPS = [(name, i) for name, kind in PUBLIC_CODE.items() for i in range(len(kind.slips))]


def kind_of(name):
    kind = PUBLIC_CODE[name]
    if kind.needs:
        pytest.importorskip(kind.needs, reason="it is a dependency of the tests only")
    return kind


@pytest.mark.parametrize("name", PUBLIC_CODE)
def test_public_code_is_right_as_it_stands(name):
    kind = kind_of(name)
    assert sum(line.strip() != "" for line in kind.adapter.splitlines()) <= ADAPTER_LINES
    report = kind.report()
    assert report.ok, report
    assert all(finding.severity == "warning" for finding in report.findings)


def names_the_slip(name, i):
    kind = kind_of(name)
    slip = kind.slips[i]
    report = kind.report(slip)
    assert report.verdict == "wrong"
    found = [(f.line, f.layer) for f in report.findings if f.severity == "error"]
    assert found == [(slip.line, slip.layer)], report


@pytest.mark.parametrize("name", PUBLIC_CODE)
def test_a_slip_is_named(name):
    names_the_slip(name, list(PUBLIC_CODE).index(name) % len(PUBLIC_CODE[name].slips))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "i"), SLIPS)
def test_every_slip_is_named(name, i):
    names_the_slip(name, i)


def test_there_are_nineteen_kinds_and_a_hundred_slips():
    assert len(PUBLIC_CODE) == 19
    assert len({kind.code for kind in PUBLIC_CODE.values()}) == 19
    assert len(SLIPS) == 114
    for kind in PUBLIC_CODE.values():
        ast.parse(kind.code)
        assert all(kind.code.count(slip.old) == 1 != slip.new for slip in kind.slips)

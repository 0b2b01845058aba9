"""Ctrl-C during an import: the module is whole all the same, and the signal acts afterwards."""

import sys
from contextlib import nullcontext

import pytest

from fcnet import extras, lazy

pytestmark = pytest.mark.usefixtures("signals_as_in_a_terminal")

MODULE = "interrupted_module"
SOURCE = "import signal\nsignal.raise_signal(signal.SIGINT)\nwhole = True\n"


def by_name():
    lazy.load(MODULE, "whole")


def as_an_extra():
    with extras.extra("plot"):
        import interrupted_module  # noqa: F401


WAYS = {by_name: lazy, as_an_extra: extras}


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / f"{MODULE}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop(MODULE, None)


@pytest.mark.parametrize("load", WAYS)
def test_an_interrupted_import_ends_first(load):
    with pytest.raises(KeyboardInterrupt):
        load()
    assert sys.modules[MODULE].whole


@pytest.mark.parametrize(("load", "room"), WAYS.items())
def test_half_an_import_is_noticed(monkeypatch, load, room):
    monkeypatch.setattr(room, "noted_signals", nullcontext)
    with pytest.raises(KeyError, match=MODULE):
        test_an_interrupted_import_ends_first(load)

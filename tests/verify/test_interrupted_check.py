"""Ctrl-C at any moment of a check: objects, global state and flags are put back all the same."""

import signal
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from support.interrupts import lines_of, moments

import fcnet
from fcnet import signals
from fcnet.verify import snapshot, surroundings

pytestmark = pytest.mark.usefixtures("signals_as_in_a_terminal")

VERIFY = str(Path(fcnet.__file__).parent / "verify")


class Net:
    """A network of one's own, which keeps its last activations and counts its calls."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.W1, self.b1 = rng.normal(size=(4, 3)), rng.normal(size=4)
        self.W2, self.b2 = rng.normal(size=(1, 4)), rng.normal(size=1)
        self.cache, self.calls = {"a": np.zeros(4)}, [0]

    def backward(self, x, y):
        np.random.seed(1)
        self.calls.append(1)
        z = self.W1 @ x + self.b1
        a = self.cache["a"] = np.maximum(z, 0)
        delta2 = self.W2 @ a + self.b2 - y
        delta1 = self.W2.T @ delta2 * (z >= 0)
        return {"W1": np.outer(delta1, x), "b1": delta1, "W2": np.outer(delta2, a), "b2": delta2}


def state_of(net):
    """All that a check has to put back."""
    arrays = (net.W1, net.b1, net.W2, net.b2, net.cache["a"])
    flags = (jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision)
    return (
        [array.tobytes() for array in arrays],
        [*map(id, arrays)], list(vars(net)), list(net.cache), list(net.calls), flags,
        np.random.get_state()[1].tobytes(), np.geterr(),
        [*map(signal.getsignal, signals.SIGNALS)],
    )  # fmt: skip


def restoring(net):
    """What a check does around its calls."""
    with snapshot.restored(net):
        net.W1[:] = 9.0
        net.W2, net.cache, net.more = 9.0 * net.W2, {"b": 1}, 1
        net.calls.append(1)


@surroundings.keeps_global_state
def changing():
    np.random.seed(1)
    np.seterr(all="raise")
    return fcnet.Report


def check_lines(work, net, files, parts=None):
    """Interrupt some work at lines of some files, of each part or at all, and look at the state."""
    before, total = state_of(net), lines_of(work, files)
    assert state_of(net) == before
    lines = range(1, total + 1) if parts is None else [1 + part * total // 1000 for part in parts]
    for line in lines:
        with pytest.raises(KeyboardInterrupt):
            lines_of(work, files, line)
        assert state_of(net) == before, line


OWN = (snapshot.__file__, surroundings.__file__, signals.__file__)


def test_an_object_is_put_back_wherever_a_signal_comes():
    net = Net()
    check_lines(partial(restoring, net), net, OWN)


def test_global_state_is_put_back_wherever_a_signal_comes(monkeypatch):
    monkeypatch.setattr(surroundings, "replace", lambda report, **_: report)
    monkeypatch.setattr(fcnet.Report, "notes", (), raising=False)
    check_lines(changing, Net(), OWN)


@contextmanager
def hurried():
    """A stack whose callbacks a Ctrl-C cuts short."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("room", [snapshot, surroundings])
def test_what_a_signal_cuts_short_is_noticed(monkeypatch, room):
    monkeypatch.setattr(room, "putting_back", hurried)
    test = {
        snapshot: test_an_object_is_put_back_wherever_a_signal_comes,
        surroundings: partial(test_global_state_is_put_back_wherever_a_signal_comes, monkeypatch),
    }[room]
    before = np.geterr()
    with pytest.raises(AssertionError):
        test()
    np.seterr(**before)


@pytest.mark.slow
def test_a_check_that_is_interrupted_can_be_made_again():
    net = Net()
    check = partial(fcnet.check, net.backward, net, np.ones(3), np.ones(1))
    expected = str(check())
    assert "RIGHT" in expected
    check_lines(check, net, VERIFY, moments(4))
    assert str(check()) == expected

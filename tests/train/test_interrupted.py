"""Ctrl-C at any moment: the process can go on, and the run continues to the same bits."""

import signal
import threading
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from support.interrupts import lines_of, moments
from support.problems import assert_same_bits

import fcnet
import fcnet.signals
import fcnet.train.run
import fcnet.train.sweep
from fcnet.signals import noted_signals

pytestmark = pytest.mark.usefixtures("signals_as_in_a_terminal")

PLACES = (str(Path(fcnet.__file__).parent / "train"), fcnet.signals.__file__)
NUMBERS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def run(problem, key):
    return partial(fcnet.fit, *problem, key=key, batch_size=6, steps=40, evaluate_every=10)


def check_moments(run, folder, parts):
    """Interrupt a run at each moment, and look at what is left; what is wrong raises."""
    expected = run(checkpoint=folder / "unbroken")
    total = lines_of(partial(run, checkpoint=folder / "counted"), PLACES)
    kinds = set()
    for part in parts:
        here = folder / str(part)
        handlers, x64 = [*map(signal.getsignal, NUMBERS)], jax.config.jax_enable_x64
        with pytest.raises(KeyboardInterrupt) as caught:
            lines_of(partial(run, checkpoint=here), PLACES, 1 + part * total // 1000)
        kinds.add(type(caught.value).__name__)
        assert [*map(signal.getsignal, NUMBERS)] == handlers
        assert jax.config.jax_enable_x64 == x64
        assert_same_bits(run(checkpoint=here, resume=True), expected)
    return kinds


def test_a_run_that_is_interrupted_at_any_moment_continues(run, tmp_path):
    assert check_moments(run, tmp_path, moments(20)) == {"KeyboardInterrupt", "Interrupted"}


@pytest.mark.slow
def test_a_run_that_is_interrupted_at_more_moments_continues(run, tmp_path):
    check_moments(run, tmp_path, moments(200))


def test_a_handler_that_stays_is_noticed(run, tmp_path, monkeypatch):
    def noted(*arguments):
        signal.signal(signal.SIGTERM, lambda *_: None)
        return noted_signals()

    monkeypatch.setattr(fcnet.train.run, "noted_signals", noted)
    with pytest.raises(AssertionError):
        check_moments(run, tmp_path, [990])


def test_a_signal_that_nobody_has_seen_acts_as_before():
    before = [*map(signal.getsignal, NUMBERS)]
    with pytest.raises(KeyboardInterrupt), noted_signals():
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), noted_signals():
        signal.raise_signal(signal.SIGINT) or 1 / 0
    assert [*map(signal.getsignal, NUMBERS)] == before


def nothing():
    with noted_signals():
        pass


def test_the_handlers_come_back_wherever_a_signal_comes():
    before = [*map(signal.getsignal, NUMBERS)]
    total = lines_of(nothing, PLACES)
    assert total > 10
    for line in range(1, total + 1):
        with pytest.raises(KeyboardInterrupt):
            lines_of(nothing, PLACES, line)
        assert [*map(signal.getsignal, NUMBERS)] == before, line


def test_a_sweep_ends_before_its_next_evaluation(run, monkeypatch):
    """Ctrl-C comes while the groups are in the first of 10,000 blocks, none of which evaluates."""
    key, X = jax.random.key(5), jnp.ones((23, 4))
    long = partial(
        fcnet.sweep, fcnet.init(key, (4, 5, 1)), X, X[:, :1], key=jax.random.split(key, 2),
        batch_size=6, steps=10**7, evaluate_every=None,
    )  # fmt: skip
    advance, blocks = fcnet.train.sweep.advance_members, []

    def counted(*arguments, **named):
        blocks.append(None)
        if len(blocks) == 1:
            main = threading.main_thread().ident
            signal.pthread_kill(main, signal.SIGINT)
            time.sleep(0.5)
        return advance(*arguments, **named)

    monkeypatch.setattr(fcnet.train.sweep, "advance_members", counted)
    with pytest.raises(KeyboardInterrupt):
        long()
    assert len(blocks) < 5000

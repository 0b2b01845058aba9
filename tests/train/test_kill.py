"""A run killed at any moment goes on to the same bits; a signal ends one gently."""

import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

import fcnet
from fcnet.train import program
from fcnet.train import run as host
from fcnet.train.checkpoint import saved
from fcnet.train.fit import fit

pytestmark = pytest.mark.usefixtures("signals_as_in_a_terminal")

SCRIPT = Path(__file__).parents[1] / "support" / "killed_run.py"
MOMENTS = ("half written", "before replace", "after replace", "before removal", "block boundary")


def start(folder, result, *moment):
    command = [sys.executable, str(SCRIPT), str(folder), str(result), *map(str, moment)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(folder, result):
    """The run's arrays, once it has come to its end."""
    with start(folder, result) as process:
        assert process.wait() == 0
    with np.load(result) as arrays:
        return dict(arrays)


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    return finish(folder, folder / "result.npz")


@pytest.mark.slow
def test_a_run_killed_at_the_worst_moments_ends_with_the_same_bits(unbroken, tmp_path):
    progress = [-1]
    for count, moment in enumerate(MOMENTS):
        with start(tmp_path, tmp_path / "r.npz", moment, 3 + count) as process:
            assert process.wait() == -signal.SIGKILL
        progress.append(max(saved(tmp_path)))
        assert progress[-1] > progress[-2] or moment == "half written"
    assert_same_bits(finish(tmp_path, tmp_path / "r.npz"), unbroken)


def kill_at_random(folder, moment):
    """Start the run, and kill it so many seconds after its first line; whether it still ran."""
    with start(folder, folder / "r.npz") as process:
        process.stdout.readline()
        time.sleep(moment)
        process.kill()
        return process.wait() == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_fifty_kills_at_random_moments(unbroken, tmp_path):
    rng = np.random.default_rng(0)
    began = time.perf_counter()
    finish(tmp_path / "whole", tmp_path / "whole.npz")
    seconds = time.perf_counter() - began
    killed = folders = 0
    while killed < 50:
        folder = tmp_path / str(folders)
        folder.mkdir()
        folders += 1
        kills = 0
        while kills < 5 and kill_at_random(folder, rng.uniform(0, seconds)):
            kills += 1
        killed += kills
        assert_same_bits(finish(folder, folder / "r.npz"), unbroken)


@pytest.fixture
def run(problem, key):
    rate = {"learning_rate": 0.01}
    return partial(
        fit, *problem, key=key, batch_size=6, steps=3000, hyperparameters=rate, evaluate_every=500
    )


def raise_at(step, number):
    return lambda now, history: signal.raise_signal(number) if now == step else None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_after_its_block_and_saves_it(run, tmp_path, number):
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(
        fcnet.Interrupted, match=f"{number.name} after step 1000; .* resume=True"
    ) as caught:
        run(checkpoint=tmp_path, progress=raise_at(1000, number))
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert max(saved(tmp_path)) == caught.value.result.step == 1000
    jax.tree.map(np.testing.assert_array_equal, caught.value.result.params, run(steps=1000).params)
    resumed = run(checkpoint=tmp_path, resume=True)
    jax.tree.map(np.testing.assert_array_equal, resumed, run())


def test_between_two_evaluations_a_run_ends_where_its_block_does(run, tmp_path, monkeypatch):
    blocks = []

    def advance(*args, **named):
        blocks.append(args)
        if len(blocks) == 3:
            signal.raise_signal(signal.SIGTERM)
        return program.advance(*args, **named)

    monkeypatch.setattr(host, "advance", advance)
    long = partial(run, steps=8000, evaluate_every=8000)
    with pytest.raises(fcnet.Interrupted) as caught:
        long(checkpoint=tmp_path)
    step = caught.value.result.step
    assert (len(blocks), step % 1024) == (3, 0)
    assert list(saved(tmp_path)) == [0, step]
    assert caught.value.result.history.step.tolist() == [0]
    resumed = long(checkpoint=tmp_path, resume=True)
    jax.tree.map(np.testing.assert_array_equal, resumed, long())


def test_the_step_named_is_the_one_reached_not_the_best(run):
    """The held-out targets are as far off as can be, so that the start stays the best."""
    validation = (np.ones((4, 4), np.float32), np.full((4, 1), -1e6, np.float32))
    with pytest.raises(fcnet.Interrupted, match="SIGINT after step 500;") as caught:
        run(validation=validation, patience=9, progress=raise_at(500, signal.SIGINT))
    assert caught.value.step == 500
    assert caught.value.result.step == 0


def test_without_a_folder_the_result_so_far_is_in_the_exception(run):
    with pytest.raises(
        KeyboardInterrupt, match="no checkpoint folder was given; the parameters"
    ) as e:
        run(progress=raise_at(500, signal.SIGINT))
    jax.tree.map(np.testing.assert_array_equal, e.value.result.params, run(steps=500).params)


def test_a_signal_in_the_last_block_is_not_swallowed(run):
    with pytest.raises(fcnet.Interrupted) as caught:
        run(progress=raise_at(3000, signal.SIGTERM))
    jax.tree.map(np.testing.assert_array_equal, caught.value.result.params, run().params)


def test_a_second_signal_acts_at_once(run):
    def impatient(step, history):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        run(progress=impatient)
    assert not isinstance(caught.value, fcnet.Interrupted)


def test_signals_are_left_alone_where_they_are_ignored_or_in_other_threads(run):
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        run(steps=500, progress=raise_at(500, signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
    results = []
    thread = threading.Thread(target=lambda: results.append(run(steps=500)))
    thread.start()
    thread.join()
    jax.tree.map(np.testing.assert_array_equal, results[0].params, run(steps=500).params)

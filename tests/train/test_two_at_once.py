"""Two runs with one folder, in two threads, and in a forked process."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from functools import partial

import jax
import jax.numpy as jnp
import pytest
from support.problems import assert_same_bits

import fcnet
from fcnet.train import lock
from fcnet.train.lock import locked

HOLD = """
import os, sys, time, pathlib
from fcnet.train.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    if not os.fork():
        print(os.getpid(), flush=True)
    time.sleep(60)
"""
"""A program that holds the lock of a folder, and forks one that lives on, and says so."""


@pytest.fixture
def run(problem, key):
    return partial(fcnet.fit, *problem, key=key, batch_size=6, steps=20, evaluate_every=10)


def test_a_second_run_in_a_folder_is_refused_while_the_first_writes_to_it(run, tmp_path):
    refused = []

    def second(step, history):
        with pytest.raises(fcnet.CheckpointError, match=r"is in use: process .* is writing") as e:
            run(checkpoint=tmp_path, resume=True)
        refused.append(str(e.value))

    result = run(checkpoint=tmp_path, progress=second)
    assert len(refused) == 2
    assert all(f"process {os.getpid()} on " in message for message in refused)
    assert_same_bits(result, run())
    assert_same_bits(run(checkpoint=tmp_path, resume=True), result)


def test_without_the_lock_that_is_noticed(run, tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_lock", lambda file, folder: None)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        test_a_second_run_in_a_folder_is_refused_while_the_first_writes_to_it(run, tmp_path)


def test_a_killed_process_holds_no_lock_nor_does_a_process_that_it_forked(tmp_path):
    program = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as holder:
        child = int(holder.stdout.readline())
        with pytest.raises(BlockingIOError, match=f"process {holder.pid} on .*, since 20"):
            locked(tmp_path).__enter__()
        holder.kill()
    try:
        os.kill(child, 0)
        assert (tmp_path / ".lock").read_text().startswith(f"process {holder.pid} on ")
        with locked(tmp_path):
            assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")
        assert not (tmp_path / ".lock").read_bytes()
    finally:
        os.kill(child, 9)


@pytest.mark.untyped
def test_a_file_system_without_locks_is_named(run, tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.warns(RuntimeWarning, match=f"{tmp_path} has no locks .Func") as told:
        run(checkpoint=tmp_path)
    assert told[0].filename == __file__


def test_what_a_lock_names_cannot_write_to_a_terminal(tmp_path):
    with open(tmp_path / ".lock", "a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(b"\x1b[2J\xff")
        file.flush()
        with pytest.raises(BlockingIOError) as caught, locked(tmp_path):
            pass
    assert str(caught.value).isprintable()


def test_runs_in_threads_are_those_of_one(run, tmp_path):
    rates = [{"learning_rate": rate} for rate in (0.01, 0.02, 0.03, 0.01)]
    found = [None] * len(rates)

    def train(k):
        found[k] = run(hyperparameters=rates[k], checkpoint=tmp_path / str(k))

    threads = [threading.Thread(target=train, args=(k,)) for k in range(len(rates))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rate, result in zip(rates, found, strict=True):
        assert_same_bits(result, run(hyperparameters=rate))


def in_a_fork(work):
    """What a forked process says of its work; it is killed after 20 seconds."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            text = f"right: {work()}"
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writing, text.encode()[:4000])
        os._exit(0)
    os.close(writing)
    for _ in range(200):
        if os.waitpid(child, os.WNOHANG)[0]:
            with open(reading, "rb") as file:
                return file.read().decode()
        time.sleep(0.1)
    os.kill(child, 9)
    os.waitpid(child, 0)
    os.close(reading)
    return "it hangs"


@pytest.mark.filterwarnings("ignore:.*fork")
@pytest.mark.parametrize(
    "name", ["fit", "sweep", "check", "check_gradient", "minibatch_sgd", "forward"]
)
def test_a_process_forked_after_jax_has_started_is_refused(run, name):
    key = jax.random.key(0)
    keys = jax.random.split(key, 2)
    params, X = fcnet.init(key, (4, 5, 1)), jnp.ones((23, 4))
    calls = {
        "fit": run,
        "sweep": partial(fcnet.sweep, params, X, X[:, :1], key=keys, batch_size=6, steps=20),
        "check": partial(fcnet.check, fcnet.backprop, params, X[0], X[0, :1]),
        "check_gradient": partial(fcnet.check_gradient, jnp.cos, jnp.sin, X[0, 0]),
        "minibatch_sgd": partial(
            fcnet.minibatch_sgd, params, X, X[:, :1], key=key, batch_size=6, steps=20,
            learning_rate=0.1,
        ),
        "forward": partial(fcnet.forward, params, X[0]),
    }  # fmt: skip
    message = in_a_fork(calls[name])
    assert message.startswith("RuntimeError: this process was forked from one that had used JAX")


FORK_FIRST = r"""
import os, jax, fcnet.checks
import fcnet
child = os.fork()
found = f"{jax.config.jax_num_cpu_devices} {fcnet.init(jax.random.key(0), (2, 1))[0].b}\n"
os.write(1, found.encode())
if child:
    os.waitpid(child, 0)
"""


def test_a_process_forked_before_jax_has_started_trains():
    run = subprocess.run(
        [sys.executable, "-c", FORK_FIRST], capture_output=True, text=True, timeout=60
    )
    one, other = run.stdout.splitlines()
    assert one == other
    assert one.endswith("[0.]")

"""Checkpoints: a run goes on bit for bit, and whatever is wrong with a file is noticed."""

import json
import os
import re
import resource
import shutil
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors import safe_open
from support.problems import assert_same_bits

import fcnet
from fcnet.train import checkpoint
from fcnet.train import run as host
from fcnet.train.checkpoint import CheckpointError, Checkpoints, read, saved, write
from fcnet.train.fit import fit

RATE = {"learning_rate": 0.02}


class StopHereError(Exception):
    """What ends a run in the middle, in place of a power cut."""


@pytest.fixture
def run():
    """A small run of 60 steps, with an evaluation every 10, by the arguments that vary."""
    key = jax.random.key(5)
    X = jax.random.normal(key, (23, 4))
    Y = jnp.abs(X[:, :1]) - X[:, 1:2]
    return partial(
        fit, fcnet.init(key, (4, 5, 1)), X, Y,
        key=key, batch_size=6, steps=60, hyperparameters=RATE, evaluate_every=10,
    )  # fmt: skip


def stop_at(step):
    def progress(now, history):
        if now == step:
            raise StopHereError

    return progress


def cut(run, folder, step=30, **changed):
    """The run up to a step, and nothing but its folder left of it."""
    with pytest.raises(StopHereError):
        run(checkpoint=folder, progress=stop_at(step), **changed)


def noisy(learning_rate):
    return optax.chain(optax.add_noise(0.1, 0.5, jax.random.key(3)), optax.sgd(learning_rate))


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"optimizer": noisy},
        {"sampling": "epoch", "validation": 0.25, "patience": 4},
        *(
            pytest.param(changed, marks=pytest.mark.slow)
            for changed in (
                {
                    "optimizer": optax.adamw(optax.cosine_decay_schedule(0.1, 50)),
                    "hyperparameters": None,
                },
                {"sampling": "full", "batch_size": None, "weights": np.arange(23)},
                {"precision": "float64"},
            )
        ),
    ],
)
def test_a_run_goes_on_as_if_it_had_never_stopped(run, tmp_path, changed):
    unbroken = run(**changed)
    cut(run, tmp_path, **changed)
    resumed = run(checkpoint=tmp_path, resume=True, **changed)
    assert_same_bits(resumed, unbroken)
    assert_same_bits(run(checkpoint=tmp_path, resume=True, **changed), unbroken)


def test_a_run_in_bfloat16_goes_on(run, tmp_path):
    """NumPy has no such dtype of its own; neither have all readers of safetensors."""
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), run.args[0])
    for k, changed in enumerate(
        ({"params": params}, {"optimizer": partial(optax.adam, mu_dtype=jnp.bfloat16)})
    ):
        start, more = changed.get("params", run.args[0]), {**run.keywords, **changed}
        more.pop("params", None)
        again = partial(fit, start, *run.args[1:], **more)
        cut(again, tmp_path / str(k))
        gone_on = again(checkpoint=tmp_path / str(k), resume=True)
        assert any(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(gone_on[:2]))
        assert_same_bits(gone_on, again())


def test_a_resumed_run_evaluates_no_start(run, tmp_path, monkeypatch):
    cut(run, tmp_path)
    evaluate, measured = host.evaluate, []

    def counted(*arguments):
        measured.append(arguments)
        return evaluate(*arguments)

    monkeypatch.setattr(host, "evaluate", counted)
    run(checkpoint=tmp_path, resume=True)
    assert len(measured) == 3, "those after 40, 50 and 60 steps"
    run()
    assert len(measured) == 3 + 7


def test_a_folder_may_be_any_path(run, tmp_path):
    class Place:
        def __fspath__(self):
            return str(tmp_path)

    for path in (Place(), Checkpoints(Place()), str(tmp_path)):
        run(checkpoint=path, resume=True)
        assert max(saved(tmp_path)) == 60


def test_full_batches_are_one_run_with_their_size_or_without(run, tmp_path):
    cut(run, tmp_path, sampling="full", batch_size=None)
    resumed = run(checkpoint=tmp_path, resume=True, sampling="full", batch_size=23)
    assert_same_bits(resumed, run(sampling="full", batch_size=None))


def test_going_on_is_not_starting_again(run, tmp_path):
    cut(run, tmp_path)
    steps = []
    run(checkpoint=tmp_path, resume=True, progress=lambda step, history: steps.append(step))
    assert steps == [40, 50, 60]
    longer = run(checkpoint=tmp_path, resume=True, steps=80)
    jax.tree.map(np.testing.assert_array_equal, longer.params, run(steps=80).params)
    with pytest.raises(AssertionError):
        assert_same_bits(longer, run())


def test_a_run_that_stopped_early_goes_on_with_another_patience(run, tmp_path):
    rising = {"validation": (np.ones((3, 4)), np.full((3, 1), -9.0)), "steps": 90}
    unbroken = {patience: run(patience=patience, **rising) for patience in (1, 3, None)}
    assert unbroken[1].history.step[-1] < unbroken[3].history.step[-1] < 90
    for patience in (1, 3):
        resumed = run(checkpoint=tmp_path, resume=True, patience=patience, **rising)
        assert resumed.stopped == "patience"
        assert_same_bits(resumed, unbroken[patience])
    less = run(checkpoint=tmp_path, resume=True, patience=2, **rising)
    assert_same_bits(less, unbroken[3])  # it has waited that long already
    assert_same_bits(run(checkpoint=tmp_path, resume=True, **rising), unbroken[None])
    with pytest.raises(CheckpointError, match="is of a run without patience, which kept no param"):
        run(checkpoint=tmp_path, resume=True, patience=3, **rising)


def test_the_last_and_the_best_are_kept(run, tmp_path):
    rising = {"validation": (np.ones((3, 4)), np.full((3, 1), -9.0)), "steps": 90}
    history = run(checkpoint=Checkpoints(tmp_path, keep=2), **rising).history
    best = int(history.step[history.validation_loss.argmin()])
    assert best < 80
    assert list(saved(tmp_path)) == [best, 80, 90]


@pytest.mark.parametrize(
    ("every", "steps"), [(10, [*range(0, 61, 10)]), (25, [0, 30, 50, 60]), (40, [0, 40, 60])]
)
def test_a_checkpoint_is_written_after_as_many_steps(run, tmp_path, every, steps):
    run(checkpoint=Checkpoints(tmp_path, every=every, keep=9))
    assert list(saved(tmp_path)) == steps


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": 7}, "batch_size was 6 and is 7"),
        ({"optimizer": "sgd"}, "optimizer was adam and is sgd"),
        ({"optimizer": optax.adam(0.02), "hyperparameters": None}, "optimizer was adam and is rea"),
        ({"hyperparameters": {"learning_rate": 0.03}}, "hyperparameters was .*0.02.* and is .*0.0"),
        ({"activation": "tanh"}, "activation was relu and is tanh"),
        ({"params": fcnet.init(jax.random.key(0), (4, 6, 1))}, "sizes was .*5, 1. and is .*6, 1."),
        ({"key": jax.random.key(6)}, "key was .*5. and is .*6."),
        ({"X": np.ones((23, 4))}, "data's checksum was"),
        ({"precision": "float64"}, "dtype was float32 and is float64"),
        ({"gradient": "autodiff"}, "gradient was backprop and is autodiff"),
        ({"evaluate_every": 5}, "evaluate_every was 10 and is 5"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(run, tmp_path, changed, message):
    cut(run, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    given = {"params": run.args[0], "X": run.args[1], "Y": run.args[2], **run.keywords, **changed}
    with pytest.raises(CheckpointError, match=f"is of another run: .*{message}"):
        fit(**given, checkpoint=tmp_path, resume=True)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.slow
def test_constants_inside_a_ready_optimizer_are_part_of_the_run(run, tmp_path):
    changed = {"optimizer": optax.adam(0.02), "hyperparameters": None}
    cut(run, tmp_path, **changed)
    other = {**changed, "optimizer": optax.adam(optax.linear_schedule(0.02, 0.01, 50))}
    for optimizer in (optax.adam(0.021), optax.adam(0.02, b1=0.8)):
        with pytest.raises(CheckpointError, match="another run: compiled step was"):
            run(checkpoint=tmp_path, resume=True, **{**changed, "optimizer": optimizer})
    with pytest.raises(CheckpointError, match="is of another run"):
        run(checkpoint=tmp_path, resume=True, **other)
    run(checkpoint=tmp_path, resume=True, **{**changed, "optimizer": optax.adam(0.02)})


def weighted_loss(weight):
    """A loss that reads an array, whose functions have the same text whatever its values."""
    weight = jnp.array([weight])
    return fcnet.Loss(
        "weighted",
        lambda o, y: (weight * (o - y) ** 2).sum() / 2,
        jax.jit(lambda o, y: weight * (o - y)),
    )


def scheduled(rate):
    """An optimiser whose schedule reads an array."""
    rates = jnp.array([0.01, rate, 0.03])
    return optax.adam(lambda step: rates[step % 3])


@pytest.mark.parametrize(("name", "make"), [("loss", weighted_loss), ("optimizer", scheduled)])
def test_arrays_that_a_step_reads_are_part_of_the_run(run, tmp_path, name, make):
    run = partial(run, hyperparameters=None)
    cut(run, tmp_path, **{name: make(1.0)})
    with pytest.raises(CheckpointError, match="another run: compiled step was"):
        run(checkpoint=tmp_path, resume=True, **{name: make(5.0)})
    same = run(checkpoint=tmp_path, resume=True, **{name: make(1.0)})
    assert_same_bits(same.params, run(**{name: make(1.0)}).params)


def test_a_folder_in_use_and_a_resume_without_one_are_refused(run, tmp_path):
    cut(run, tmp_path)
    with pytest.raises(CheckpointError, match="holds checkpoints already, the last of step 30"):
        run(checkpoint=tmp_path)
    with pytest.raises(ValueError, match="steps must be at least the 30 that the last checkpoint"):
        run(checkpoint=tmp_path, resume=True, steps=20)
    with pytest.raises(ValueError, match="resume=True needs the folder"):
        run(resume=True)


def test_every_flipped_bit_and_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "one.safetensors"
    write(path, {"W": np.arange(6.0).reshape(2, 3), "n": np.array(7, np.int32)}, {"step": "3"})
    raw = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in range(len(raw)):
        damaged = bytearray(raw)
        damaged[position] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="checksum is wrong"):
            read(path)
        path.write_bytes(raw[:position])
        with pytest.raises(CheckpointError, match="checksum is wrong"):
            read(path)
    path.write_bytes(raw + b" ")
    with pytest.raises(CheckpointError, match="checksum is wrong"):
        read(path)
    path.write_bytes(raw)
    arrays, text = read(path)
    np.testing.assert_array_equal(arrays["W"], np.arange(6.0).reshape(2, 3))
    assert (arrays["n"].shape, text["step"]) == ((), "3")


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(run, tmp_path):
    unbroken = run()
    cut(run, tmp_path)
    last = saved(tmp_path)[30]
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.warns(RuntimeWarning, match=r"step-0000000030.* checksum is wrong; resuming from"):
        assert_same_bits(run(checkpoint=tmp_path, resume=True), unbroken)
    for path in saved(tmp_path).values():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="no checkpoint can be read"):
        run(checkpoint=tmp_path, resume=True)


@pytest.mark.untyped
def test_a_damaged_later_checkpoint_does_not_push_out_good_ones(run, tmp_path):
    cut(run, tmp_path, step=20)
    (tmp_path / "step-0000000099.safetensors").write_bytes(b"")
    keep_one = Checkpoints(tmp_path, keep=1)
    with pytest.warns(RuntimeWarning, match="resuming from") as told:
        run(checkpoint=keep_one, resume=True)
    assert told[0].filename == __file__
    assert list(saved(tmp_path))[-2:] == [60, 99]


def test_a_full_disk_is_an_error_and_leaves_what_was_there(run, tmp_path):
    cut(run, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (len(before["step-0000000030.safetensors"]) - 9, hard)
    )
    try:
        with pytest.raises(
            CheckpointError, match=r"step-0000000040.*those before it are unchanged"
        ):
            run(checkpoint=tmp_path, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert_same_bits(run(checkpoint=tmp_path, resume=True), run())


def test_a_folder_that_cannot_be_written_is_an_error_before_the_first_step(run, tmp_path):
    steps = []
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot use the checkpoint folder"):
        run(checkpoint=tmp_path / "file" / "folder", progress=lambda *now: steps.append(now))
    if Path("/proc/self").is_dir():  # where not even root can make a file
        with pytest.raises(CheckpointError, match="cannot use the checkpoint folder /proc/self"):
            run(checkpoint="/proc/self", progress=lambda *now: steps.append(now))
    assert not steps


def test_nothing_is_made_for_a_call_that_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match="batch_size"):
        run(checkpoint=tmp_path / "folder", batch_size=99)
    assert not (tmp_path / "folder").exists()


def test_after_a_divergence_the_last_finite_checkpoint_is_there(run, tmp_path):
    wild = {"optimizer": "sgd", "hyperparameters": {"learning_rate": 30.0}, "evaluate_every": 1}
    with pytest.raises(fcnet.NonFiniteError) as caught:
        run(checkpoint=tmp_path, **wild)
    last = max(saved(tmp_path))
    assert 0 < last <= caught.value.step
    with pytest.raises(fcnet.NonFiniteError, match=f"after step {caught.value.step} are this"):
        run(checkpoint=tmp_path, resume=True, **wild)


def test_other_programs_can_read_a_checkpoint(run, tmp_path):
    result = run(checkpoint=tmp_path)
    with safe_open(saved(tmp_path)[60], framework="np") as file:
        assert json.loads(file.metadata()["configuration"])["sizes"] == "(4, 5, 1)"
        np.testing.assert_array_equal(file.get_tensor("params[1].W"), result.params[1].W)
        assert "opt_state[0].mu[0].b" in file.keys()  # noqa: SIM118


def test_a_later_format_is_refused_by_its_version(tmp_path, monkeypatch):
    path = tmp_path / "one.safetensors"
    monkeypatch.setattr(checkpoint, "VERSION", "2")
    write(path, {"n": np.ones(1)}, {})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"has version 2 .* reads version 1"):
        read(path)


@pytest.mark.parametrize("name", ["jax", "fcnet"])
def test_a_run_of_another_version_goes_on_with_a_warning(run, tmp_path, monkeypatch, name):
    monkeypatch.setattr(checkpoint, "version", {"jax": "0.1", "fcnet": "0.1", name: "0.2"}.get)
    cut(run, tmp_path)
    monkeypatch.setattr(checkpoint, "version", {"jax": "0.1", "fcnet": "0.1"}.get)
    monkeypatch.setattr(checkpoint, "step_checksum", lambda *_: "another")
    with pytest.warns(RuntimeWarning, match=f"with {name} 0.2, this is {name} 0.1: the run contin"):
        run(checkpoint=tmp_path, resume=True)
    cut(run, tmp_path / "same version")
    monkeypatch.setattr(checkpoint, "step_checksum", lambda *_: "a third")
    with pytest.raises(CheckpointError, match="compiled step was another and is a third"):
        run(checkpoint=tmp_path / "same version", resume=True)


def test_what_a_killed_write_left_is_cleared_away(run, tmp_path):
    (tmp_path / ".step-0000000007.safetensors.tmp").write_bytes(b"half")
    run(checkpoint=tmp_path)
    assert not [
        name for name in os.listdir(tmp_path) if not re.match(r"step-\d+\.safe|\.lock$", name)
    ]
    shutil.rmtree(tmp_path)

"""Runs of many steps: no entry costs more than an earlier one, and counters stop before 2^31."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fcnet
from fcnet.sampling import INT32_MAX, sample_batch
from fcnet.train.sampling import SAMPLINGS
from fcnet.train.schedule import as_schedule
from fcnet.train.types import NO_ENTRIES, History, Snapshot, State, appended

FIVE = len(History._fields)


def test_entries_are_written_once():
    """The memory is taken anew 7 times for 1,000 entries, and earlier entries stay as they were."""
    entries, rooms, parts = NO_ENTRIES, set(), []
    for k in range(1000):
        entries = appended(entries, (float(k),) * FIVE)
        rooms.add(entries.__array_interface__["data"])
        parts.append(entries)
    assert len(rooms) <= 8
    for k, part in enumerate(parts):
        assert part.shape == (k + 1, FIVE)
        np.testing.assert_array_equal(part[[0, -1], 0], [0, k])
    assert not np.shares_memory(NO_ENTRIES, entries)


def copied(entries, entry):
    """What `appended` must not do: copy all for one."""
    return np.concatenate([entries, [entry]]).copy()


def test_copying_the_entries_is_noticed(monkeypatch):
    monkeypatch.setitem(globals(), "appended", copied)
    with pytest.raises(AssertionError):
        test_entries_are_written_once()


def test_a_history_is_a_view_that_cannot_be_written_to_and_a_result_is_not():
    entries = appended(NO_ENTRIES, (1.0,) * FIVE)
    history = Snapshot(0, State((), ()), entries, 0, ()).history
    assert all(np.shares_memory(column, entries) for column in history)
    with pytest.raises(ValueError, match="read-only"):
        history.loss[0] = 7
    params, X = fcnet.init(jax.random.key(0), (2, 1)), jnp.ones((4, 2))
    seen = []
    result = fcnet.fit(
        params, X, X[:, :1], key=jax.random.key(0), batch_size=2, steps=4, evaluate_every=1,
        progress=lambda step, history: seen.append(history),
    )  # fmt: skip
    result.history.loss[:] = 7
    for k, history in enumerate(seen):
        assert history.step.tolist() == [*range(k + 2)]
        assert (history.loss != 7).all()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_batches_of_the_last_steps_are_right(sampling):
    """Those of steps up to 2^31 - 1, the last that a run may have."""
    key, n, B = jax.random.key(3), 11, 4
    block = 1024
    begin = INT32_MAX + 1 - block
    batches = SAMPLINGS[sampling](key, n, B)(begin)
    rows = np.asarray(batches.indices)
    assert rows.shape == (block, B)
    assert rows.min() >= 0
    assert rows.max() < n
    if sampling == "algorithm2":
        for i in (0, block - 2, block - 1):
            step_key = jax.random.fold_in(key, begin + i)
            assert set(rows[i]) == set(np.asarray(sample_batch(step_key, n, B)).tolist())


@pytest.mark.untyped
@pytest.mark.parametrize("steps", [2**31, 2**63, 2**100])
def test_more_steps_than_are_counted_are_refused(steps):
    with pytest.raises(ValueError, match="steps must be between 0 and 2147483647"):
        as_schedule(steps, 1000)
    params, X = fcnet.init(jax.random.key(0), (2, 1)), jnp.ones((4, 2))
    given = {"key": jax.random.key(0), "batch_size": 2, "steps": steps}
    with pytest.raises(ValueError, match="steps must be between 0 and 2147483647"):
        fcnet.fit(params, X, X[:, :1], **given)
    several = {**given, "key": jax.random.split(given["key"], 2)}
    with pytest.raises(ValueError, match="steps must be between 0 and 2147483647"):
        fcnet.sweep(params, X, X[:, :1], **several)
    with pytest.raises(ValueError, match="steps must be between 0 and 2147483647"):
        fcnet.minibatch_sgd(params, X, X[:, :1], learning_rate=0.1, **given)


def test_more_examples_than_are_counted_are_refused(tmp_path):
    """The file is sparse: it has no bytes on the disk."""
    path, n = tmp_path / "X", 2**31
    with path.open("wb") as file:
        file.truncate(n)
    X = np.memmap(path, np.int8, "r", shape=(n, 1))
    params = fcnet.init(jax.random.key(0), (1, 1))
    with pytest.raises(ValueError, match="the number of examples, must be between 1 and 2147483"):
        fcnet.fit(params, X, X, key=jax.random.key(0), batch_size=2, steps=1)

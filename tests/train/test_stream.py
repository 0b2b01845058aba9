"""Data that does not lie in memory: from disk and from iterables, the same bits as from memory."""

import tracemalloc
from functools import partial

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.problems import assert_close, assert_same_bits

import fcnet
from fcnet.train import source
from fcnet.train.checkpoint import saved
from fcnet.train.fit import fit
from fcnet.train.sampling import SAMPLINGS

pytestmark = pytest.mark.usefixtures("exact_products")

RATE = {"learning_rate": 0.02}


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4)).astype(np.float32)
    return X, abs(X[:, :1]) - X[:, 1:2]


@pytest.fixture
def run():
    key = jax.random.key(5)
    return partial(
        fit, fcnet.init(key, (4, 5, 1)),
        key=key, batch_size=6, steps=90, hyperparameters=RATE, evaluate_every=20,
    )  # fmt: skip


@pytest.fixture
def on_disk(tmp_path):
    def map_file(name, array):
        path = tmp_path / f"{name}.npy"
        np.save(path, array)
        mapped = np.load(path, mmap_mode="r")
        assert isinstance(mapped, np.memmap)
        return mapped

    return map_file


@pytest.mark.parametrize(
    "steps_in_chunk",
    [7, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (1, 2000))],
)
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"sampling": "epoch", "validation": 0.3, "patience": 3},
        *(
            pytest.param(changed, marks=pytest.mark.slow)
            for changed in (
                {"sampling": "with_replacement", "weights": np.arange(200.0)},
                {"precision": "float64"},
            )
        ),
    ],
)
def test_from_disk_as_from_memory(run, data, on_disk, monkeypatch, changed, steps_in_chunk):
    X, Y = data
    monkeypatch.setattr(source, "LOADED_BYTES", 6 * 5 * 4 * steps_in_chunk)
    in_memory = run(X, Y, **changed)
    assert_same_bits(run(on_disk("X", X), on_disk("Y", Y), **changed), in_memory)
    assert_same_bits(run(on_disk("X", X), Y, **changed), in_memory)
    other = run(on_disk("X", X[::-1]), Y, **changed)
    assert (other.params[0].W != in_memory.params[0].W).any()


def test_rows_to_validate_on_may_be_on_disk(run, data, on_disk):
    held = tuple(array[:50] for array in data)
    files = tuple(on_disk(f"held-{name}", array) for name, array in zip("XY", held, strict=True))
    assert_same_bits(run(*data, validation=files), run(*data, validation=held))
    given = (run(batches_of(data, jax.random.key(5)), validation=rows) for rows in (files, held))
    assert_same_bits(*given)


def test_a_run_from_disk_goes_on_from_its_checkpoint(run, data, on_disk, tmp_path):
    files = [on_disk(name, array) for name, array in zip("XY", data, strict=True)]
    run(*files, steps=40, checkpoint=tmp_path / "folder")
    resumed = run(*files, checkpoint=tmp_path / "folder", resume=True)
    assert_same_bits(resumed, run(*data))


def test_memory_grows_neither_with_the_file_nor_with_the_steps(run, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "LOADED_BYTES", 2**20)
    peaks = []
    for n, steps in [(10**5, 1500), (10**5, 6000), (4 * 10**6, 1500)]:
        path = tmp_path / f"{n}-{steps}"
        X = np.memmap(
            path, np.float32, "w+", shape=(n, 4)
        )  # a file of zeros, of which none is kept
        Y = np.memmap(f"{path}-Y", np.float32, "w+", shape=(n, 1))
        tracemalloc.start()
        run(X, Y, batch_size=32, steps=steps, evaluate_every=1000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks) < 8e6 < 4 * 10**6 * 4
    assert peaks[1] < 1.2 * peaks[0] + 1e6
    assert peaks[2] < 1.2 * peaks[0] + 1e6


@pytest.mark.untyped
def test_bad_rows_on_disk_are_named(run, data, on_disk):
    X, Y = (array.copy() for array in data)
    X[123, 2] = np.nan
    with pytest.raises(ValueError, match=r"X must be finite, got \[.*nan.*\] in row 123;"):
        run(on_disk("X", X), Y)
    with pytest.raises(
        ValueError, match=r"Y\[\d+\] must be probabilities.* counted among the rows"
    ):
        run(on_disk("good", data[0]), Y, loss="logistic")
    with pytest.raises(ValueError, match=r"X has shape \(200, 3\), expected \(n, 4\)"):
        run(on_disk("narrow", X[:, :3]), Y)
    with pytest.raises(ValueError, match="X has 200 examples but Y has 199"):
        run(on_disk("good", data[0]), Y[:-1])
    with pytest.raises(ValueError, match="sampling 'full' needs all examples on the device"):
        run(on_disk("good", data[0]), Y, sampling="full", batch_size=None)


def batches_of(data, key, steps=90, sampling="algorithm2"):
    """The batches that a run with this key sees, as NumPy arrays."""
    drawn = SAMPLINGS[sampling](jax.random.split(key, 3)[1], len(data[0]), 6)(0)
    for step in range(steps):
        rows = np.asarray(drawn.indices[step])
        if drawn.mask is not None:
            rows = rows[np.asarray(drawn.mask[step])]
        yield tuple(array[rows] for array in data)


@pytest.mark.parametrize("sampling", ["algorithm2", pytest.param("epoch", marks=pytest.mark.slow)])
def test_given_batches_train_as_drawn_ones(run, data, sampling):
    drawn = run(*data, sampling=sampling)
    given = run(batches_of(data, jax.random.key(5), sampling=sampling))
    assert_same_bits(given.params, drawn.params)
    assert (given.step, given.stopped) == (90, "steps")


def test_a_list_begins_again_and_an_iterator_ends_the_run(run, data):
    batches = list(batches_of(data, jax.random.key(5), steps=25))
    twice = run(batches, steps=50)
    assert_same_bits(twice.params, run(iter(batches * 2), steps=50).params)
    ended = run(iter(batches))
    assert (ended.step, ended.stopped) == (25, "data")
    assert ended.history.step.tolist() == [0, 20, 25]
    assert_same_bits(ended.params, run(batches, steps=25).params)
    exactly = run(iter(batches * 2), steps=51)
    assert (exactly.step, exactly.stopped) == (50, "data")


def test_batches_of_any_size_and_weight_beside_a_plain_loop(run, data):
    X, Y = data
    rng = np.random.default_rng(1)
    rows = [rng.choice(200, size, replace=False) for size in (6, 1, 4, 6, 3) * 6]
    weights = rng.uniform(size=200)
    batches = [(X[r], Y[r], weights[r]) for r in rows]
    params, optimizer = run.args[0], optax.sgd(0.05)
    for x, y, w in batches:
        gradient = jax.jit(jax.grad(fcnet.mean_loss))(params, x, y, weights=w)
        params = optax.apply_updates(params, optimizer.update(gradient, optimizer.init(params))[0])
    sgd = {"steps": 30, "optimizer": "sgd", "hyperparameters": {"learning_rate": 0.05}}
    assert_close(run(batches, **sgd).params, params, 1e-5)
    with pytest.raises(AssertionError):
        assert_close(run([batch[:2] for batch in batches], **sgd).params, params, 1e-5)


def test_a_stream_goes_on_where_its_checkpoint_was(run, data, tmp_path):
    batches = list(batches_of(data, jax.random.key(5)))
    held_out = {"validation": data}
    run(iter(batches), steps=40, checkpoint=tmp_path, **held_out)
    resumed = run(iter(batches), checkpoint=tmp_path, resume=True, **held_out)
    assert_same_bits(resumed, run(batches, **held_out))
    assert list(saved(tmp_path))[-1] == 90


def test_a_stream_that_diverges_names_the_step(run, data):
    wild = {"optimizer": "sgd", "hyperparameters": {"learning_rate": 1e3}}
    with pytest.raises(fcnet.NonFiniteError) as drawn:
        run(*data, **wild)
    with pytest.raises(fcnet.NonFiniteError) as given:
        run(batches_of(data, jax.random.key(5)), **wild)
    assert given.value.step == drawn.value.step
    assert_same_bits(given.value.params, drawn.value.params)


def test_a_grain_loader_streams(run, data):
    X, Y = data
    pairs = grain.MapDataset.source([(x, y) for x, y in zip(X, Y, strict=True)])
    loader = pairs.shuffle(seed=0).repeat(3).batch(6)
    assert_same_bits(
        run(loader.to_iter_dataset()).params, run([loader[i] for i in range(90)]).params
    )


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("X", "changed", "error", "message"),
    [
        ([], {}, ValueError, "X gave no batch"),
        (
            [(np.ones((2, 4)), np.ones((2, 1)), np.zeros(2))],
            {},
            ValueError,
            "all weights of the batches 0 to 63 are 0",
        ),
        ([np.ones((6, 4))], {}, TypeError, "batch 0 must be a pair"),
        ([(np.ones((7, 4)), np.ones((7, 1)))], {}, ValueError, "batch 0 .* to batch_size=6"),
        (
            [(np.ones((3, 4)), np.ones((2, 1)))],
            {},
            ValueError,
            "batch 0 .* expected equal numbers of rows",
        ),
        ([(np.ones((3, 5)), np.ones((3, 1)))], {}, ValueError, r"\(n, 4\).* in batches 0 to 63"),
        (
            [(np.ones((2, 4)) * np.inf, np.ones((2, 1)))],
            {},
            ValueError,
            "batch 0: X must be finite",
        ),
        ([(np.ones((2, 4)), [["a"], ["b"]])], {}, TypeError, "batch 0: Y must hold real numbers"),
        (np.ones((9, 4)), {}, TypeError, "Y must be an array; it is left out only where X is"),
        ([1], {"weights": np.ones(3)}, ValueError, "weights go with arrays"),
        ([1], {"sampling": "epoch"}, ValueError, "sampling 'epoch' draws from arrays"),
        ([1], {"validation": 0.5}, ValueError, r"validation must be a pair \(X, Y\) where X is an"),
    ],
)
def test_bad_batches_are_refused_by_name(run, X, changed, error, message):
    with pytest.raises(error, match=message):
        run(X, **changed)


def test_weights_with_some_batches_only_are_refused(run, data):
    pair = (data[0][:6], data[1][:6])
    with pytest.raises(ValueError, match="either weights with every batch or with none"):
        run([pair, (*pair, jnp.ones(6))])

"""The trainer beside computations that share no code with it: NumPy loops and closed forms."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.problems import assert_close

import fcnet
from fcnet.metrics import r_squared
from fcnet.train import objective, program
from fcnet.train.data import on_device, sample_rows
from fcnet.train.fit import fit
from fcnet.train.sampling import SAMPLINGS
from fcnet.train.types import Batches, Data, Window
from fcnet.types import Layer

pytestmark = pytest.mark.usefixtures("exact_products")


@pytest.fixture
def problem():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(23, 3)).astype(np.float32)
    return X, (X @ [[1.0], [-2.0], [0.5]] + rng.normal(size=(23, 1))).astype(np.float32)


RATE = {"learning_rate": 0.1}
LINEAR = (fcnet.Layer(jnp.zeros((1, 3)), jnp.zeros(1)),)


def drawn(key, sampling, steps):
    """The row numbers of each batch of a run with this key, without its padding."""
    batches = SAMPLINGS[sampling](jax.random.split(key, 3)[1], 23, 6)(0)
    masks = np.ones(batches.indices.shape, bool) if batches.mask is None else batches.mask
    rows = zip(np.asarray(batches.indices), np.asarray(masks), strict=True)
    return [indices[mask] for indices, mask in rows][:steps]


def least_squares(X, Y, batches, rate, weights=None):
    """(1.5) for a linear model in NumPy and float64: one row of parameters a step."""
    w, b = np.zeros(3), 0.0
    path = [(w, b)]
    for k, rows in enumerate(batches):
        x, y = X[rows].astype(float), Y[rows, 0].astype(float)
        share = np.ones(len(rows)) if weights is None else weights[rows]
        error = share * (x @ w + b - y) / share.sum()
        w, b = w - rate(k) * error @ x, b - rate(k) * error.sum()
        path.append((w, b))
    return path


def as_params(w, b):
    return (fcnet.Layer(jnp.asarray(w, jnp.float32)[None], jnp.asarray([b], jnp.float32)),)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("weighted", [False, True])
def test_batches_masks_and_weights_beside_numpy(problem, key, sampling, weighted):
    weights = np.arange(1.0, 24.0) if weighted else None
    run = partial(fit, LINEAR, *problem, key=key, batch_size=6, steps=40, sampling=sampling)
    result = run(optimizer=optax.sgd(0.05), weights=weights)
    path = least_squares(*problem, drawn(key, sampling, 40), lambda k: 0.05, weights)
    assert_close(result.params, as_params(*path[-1]), 1e-5)
    with pytest.raises(AssertionError):
        assert_close(result.params, as_params(*path[-2]), 1e-5)


def test_a_schedule_beside_its_formula(problem, key):
    def rate(k):
        return 0.1 * (1 + np.cos(np.pi * min(k, 30) / 30)) / 2

    run = partial(fit, LINEAR, *problem, key=key, batch_size=6, steps=40)
    path = least_squares(*problem, drawn(key, "algorithm2", 40), rate)
    expected = as_params(*path[-1])
    assert_close(
        run(optimizer=optax.sgd(optax.cosine_decay_schedule(0.1, 30))).params, expected, 1e-5
    )
    made = run(
        optimizer=lambda peak: optax.sgd(optax.cosine_decay_schedule(peak, 30)),
        hyperparameters={"peak": 0.1},
    )
    assert_close(made.params, expected, 1e-5)
    with pytest.raises(AssertionError):
        assert_close(run(optimizer=optax.sgd(0.1)).params, expected, 1e-5)


@pytest.mark.usefixtures("x64")
def test_algorithm_2_is_minibatch_sgd(problem, key):
    start = jax.tree.map(lambda leaf: leaf.astype(float), LINEAR)
    given = {"batch_size": 6, "steps": 40}
    result = fit(start, *problem, key=key, optimizer=optax.sgd(0.05), **given)
    draw_key = jax.random.split(key, 3)[1]
    twin = fcnet.minibatch_sgd(start, *problem, key=draw_key, learning_rate=0.05, **given)
    assert_close(result.params, twin, 1e-12)
    other = fcnet.minibatch_sgd(start, *problem, key=key, learning_rate=0.05, **given)
    with pytest.raises(AssertionError):
        assert_close(result.params, other, 1e-12)


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_early_stopping_beside_numpy(problem, key, patience):
    X, Y = problem
    held_out = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    target = held_out @ np.float32([[1.0], [-2.0], [0.5]]) - 0.05
    run = partial(fit, LINEAR, X, Y, key=key, batch_size=6, validation=(held_out, target))
    result = run(steps=2000, optimizer=optax.sgd(0.05), evaluate_every=4, patience=patience)

    path = least_squares(X, Y, drawn(key, "algorithm2", 1000), lambda k: 0.05)
    losses, best = [], 0
    for w, b in path[::4]:
        losses.append(((held_out @ w + b - target[:, 0]) ** 2).mean() / 2)
        best = int(np.argmin(losses))
        if len(losses) - 1 - best == patience:
            break
    assert len(losses) < len(path[::4])
    assert result.stopped == "patience"
    assert result.step == 4 * best > 0
    np.testing.assert_allclose(result.history.validation_loss, losses, rtol=1e-4)
    assert_close(result.params, as_params(*path[4 * best]), 1e-5)


@pytest.mark.parametrize(("every", "end"), [(1, 3), (50, 150), ("log", 176)])
def test_without_a_better_loss_the_start_is_kept(problem, key, every, end):
    """The evaluations of "log" up to step 128 are not waited for: only 144, 160 and 176 are."""
    X, Y = problem
    away = (X, np.zeros_like(Y))  # the start, all zeros, is perfect
    result = fit(LINEAR, X, Y, key=key, batch_size=6, steps=300, evaluate_every=every,
                 validation=away, patience=3, hyperparameters={"learning_rate": 0.1})  # fmt: skip
    assert (result.step, result.stopped, result.history.step[-1]) == (0, "patience", end)
    jax.tree.map(np.testing.assert_array_equal, result.params, LINEAR)


def test_a_rise_at_the_start_ends_no_run(problem, key):
    """The best is step 0 until long after the 16th evaluation, which is that of step 16."""
    X, Y = problem
    start = (Layer(W=jnp.zeros((1, 3)), b=jnp.full(1, Y.mean())),)
    ascent = optax.sgd(lambda step: jnp.where(step < 40, -0.01, 0.05))
    result = fit(start, X, Y, key=key, batch_size=6, steps=2000, evaluate_every="log",
                 validation=(X, Y), patience=16, optimizer=ascent)  # fmt: skip
    first, *losses = result.history.validation_loss
    assert min(losses[:20]) > first
    assert result.step > 100


def test_history_in_pieces_is_history_at_once(problem, key, monkeypatch):
    run = partial(fit, LINEAR, *problem, key=key, batch_size=6, steps=20, evaluate_every=5,
                  precision="float64")  # fmt: skip
    once = run(hyperparameters={"learning_rate": 0.1}, weights=np.arange(23.0)).history
    monkeypatch.setattr(objective, "EVALUATION_BYTES", 8 * 7)
    objective.evaluate.clear_cache()
    pieces = run(hyperparameters={"learning_rate": 0.1}, weights=np.arange(23.0)).history
    objective.evaluate.clear_cache()
    np.testing.assert_allclose(pieces.loss, once.loss, rtol=1e-12)
    np.testing.assert_allclose(pieces.metric, once.metric, rtol=1e-12)
    assert once.metric[-1] > once.metric[0]


@pytest.mark.parametrize(("first", "last"), [(0, 0), (3, 3), (0, 4), (0, 5), (2, 14), (7, 40)])
@pytest.mark.parametrize("inner", [None, (5, 1), (6, 2)])
def test_the_loop_takes_each_step_once_and_in_turn(first, last, inner):
    def step(i, state):
        taken, steps = state
        return taken + 1, steps.at[taken].set(i)

    start = (jnp.array(0), jnp.full(50, -1))
    taken, steps = jax.jit(lambda *bounds: program.repeat(step, *bounds, start, inner))(first, last)
    assert int(taken) == last - first
    np.testing.assert_array_equal(steps[:taken], np.arange(first, last))


@pytest.mark.parametrize(("inner", "copies"), [(None, 1), ((32, 1), 2), ((32, 4), 5)])
def test_a_loop_has_as_many_copies_of_a_step_as_it_says(inner, copies):
    def steps(last):
        return program.repeat(lambda i, x: jnp.tanh(x + i), 0, last, 1.0, inner)

    assert jax.jit(steps).lower(99).compile().as_text().count(" tanh(") == copies


@pytest.mark.parametrize(
    ("sizes", "examples", "steps", "inner"),
    [
        ((10, 64, 64, 1), 32, 1024, (32, 4)),
        ((784, 256, 128, 10), 128, 1024, (32, 1)),
        ((784, 1024, 1024, 1024, 10), 8192, 64, None),
        ((10, 64, 64, 1), 32, 31, None),
    ],
)
def test_a_large_step_or_a_short_block_is_compiled_once_on_a_gpu(
    sizes, examples, steps, inner, monkeypatch
):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    struct = partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    params = tuple(Layer(struct((m, d)), struct((m,))) for d, m in pairwise(sizes))
    indices = jax.ShapeDtypeStruct((steps, examples), jnp.int32)
    drawn = Window(Data(struct((9, sizes[0])), None, None), Batches(indices, None), 0, steps)
    loaded = Window(Data(struct((steps, examples, sizes[0])), None, None), None, 0, steps)
    assert program.inner_loop(drawn, params) == program.inner_loop(loaded, params) == inner


def test_a_run_in_inner_loops_ends_at_the_same_place(problem, key, monkeypatch):
    train = partial(fit, LINEAR, *problem, key=key, batch_size=6, steps=43,
                    evaluate_every=20, hyperparameters=RATE, precision="float64")  # fmt: skip
    monkeypatch.setattr(program, "INNER_LOOPS", {})
    program.advance.clear_cache()
    once = train().params
    monkeypatch.setattr(program, "INNER_LOOPS", {jax.default_backend(): ((99, 8, 4),)})
    monkeypatch.setattr(program, "GATHER_BYTES", {})
    program.advance.clear_cache()
    in_inner_loops = train().params
    program.advance.clear_cache()
    assert_close(in_inner_loops, once, 1e-12)


def test_a_large_array_waits_for_the_gradient_of_layer_1_and_stays_as_it_is(key):
    gradient = fcnet.init(key, (3, 5, program.SMALL_ARRAY // 5 + 1))
    waiting = jax.jit(program.in_place)(gradient)
    jax.tree.map(np.testing.assert_array_equal, waiting, gradient)
    first, *above = gradient
    broken = (first._replace(b=first.b.at[0].set(jnp.nan)), *above)
    waiting = jax.jit(program.in_place)(broken)
    assert jnp.isnan(waiting[1].W).all()  # so it does depend on it
    np.testing.assert_array_equal(waiting[1].b, gradient[1].b)  # a small one does not


@pytest.mark.parametrize("size", [1e-15, 1, 1e18])
def test_r_squared_at_any_scale_is_that_of_double_precision(problem, size):
    _, Y = problem
    weights = np.arange(23.0)
    prediction = 0.9 * Y + 0.1
    w, y, p = weights[:, None], Y.astype(float), prediction.astype(float)
    mean = (w * y).sum() / w.sum()
    expected = 1 - (w * (y - p) ** 2).sum() / (w * (y - mean) ** 2).sum()
    scaled = (jnp.asarray(array * size, jnp.float32) for array in (prediction, Y))
    assert 0.9 < expected < 0.99
    np.testing.assert_allclose(r_squared(*scaled, jnp.asarray(weights)), expected, 1e-5)


def test_r_squared_of_targets_that_do_not_vary_is_0():
    Y = jnp.full((1000, 1), 0.1).at[7].set(5.0)
    weights = jnp.ones(1000)
    assert r_squared(Y + 1, Y, weights.at[7].set(0.0)) == 0
    assert r_squared(Y + 1, Y, weights) != 0


@pytest.mark.untyped
def test_weights_none_of_which_the_history_draws_are_refused(key):
    X = jnp.arange(5.0)[:, None]
    drawn = int(sample_rows(on_device(Data(X, X, None)), 1, key).X.item())
    another = on_device(Data(X, X, jnp.zeros(5).at[drawn - 1].set(1)))
    with pytest.raises(ValueError, match="the history measures, 1 that were drawn, are all 0"):
        sample_rows(another, 1, key)


@pytest.mark.untyped
def test_weights_that_leave_nothing_to_measure_by_are_refused(problem):
    """Which would look like a run that diverged: a loss of 0 / 0."""
    weights = np.zeros(23)
    weights[0] = 1
    run = partial(fit, LINEAR, *problem, batch_size=2, steps=3, hyperparameters=RATE)
    for seed in range(3):  # the one that counts is held out, or it is not
        with pytest.raises(ValueError, match="are all 0"):
            run(key=jax.random.key(seed), weights=weights, validation=0.5)


def test_what_the_caller_gave_survives(problem, key):
    adam = optax.adam(0.1)
    memory = adam.init(LINEAR)
    before = jax.tree.map(np.array, (LINEAR, memory))
    run = partial(fit, LINEAR, *problem, key=key, batch_size=6, steps=20, optimizer=adam)
    result = run(opt_state=memory)
    jax.tree.map(np.testing.assert_array_equal, (LINEAR, memory), before)
    again = fit(result.params, *problem, key=key, batch_size=6, steps=20, optimizer=adam)
    assert jnp.isfinite(result.params[0].W).all()
    assert (again.params[0].W != result.params[0].W).all()

"""The trainer: each way to sample, weigh, stop and fail, beside an independent computation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.problems import assert_close, assert_same_bits, counted_loss

import fcnet
from fcnet.train.fit import fit
from fcnet.train.sampling import SAMPLINGS

pytestmark = pytest.mark.usefixtures("exact_products")

RATE = {"learning_rate": 0.05}


def by_loop(params, X, Y, batches, weights=None, optimizer=None):
    """The same steps in plain Python, one batch of row numbers after the other."""
    optimizer = optimizer or optax.sgd(RATE["learning_rate"])
    state = optimizer.init(params)
    for rows in batches:
        w = None if weights is None else weights[rows]
        gradient = jax.grad(fcnet.mean_loss)(params, X[rows], Y[rows], weights=w)
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.usefixtures("x64")
def test_full_batches_are_gradient_descent(problem, key):
    params, X, Y = problem
    run = partial(fit, params, X, Y, key=key, steps=7, sampling="full")
    expected = fcnet.gradient_descent(params, X, Y, learning_rate=0.05, steps=7)
    assert_close(run(optimizer="sgd", hyperparameters=RATE).params, expected, 1e-12)
    with pytest.raises(AssertionError):
        assert_close(
            run(optimizer="sgd", hyperparameters={"learning_rate": 0.06}).params, expected, 1e-12
        )


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_autodiff_trains_as_backprop_does(problem, key, sampling):
    params, X, Y = problem
    run = partial(fit, params, X, Y, key=key, batch_size=6, steps=12, sampling=sampling)
    by_hand = run(optimizer="sgd", hyperparameters=RATE)
    assert_close(
        by_hand.params, run(optimizer="sgd", hyperparameters=RATE, gradient="autodiff").params, 1e-5
    )
    assert by_hand.history.loss[-1] < by_hand.history.loss[0]


def test_an_epoch_sees_every_example_once_and_masks_its_padding(key):
    n, batch_size = 23, 6
    draw = SAMPLINGS["epoch"](key, n, batch_size)
    batches = draw(0)
    per_epoch = 4
    for e in range(3):
        rows = slice(e * per_epoch, (e + 1) * per_epoch)
        seen = np.asarray(batches.indices[rows])[np.asarray(batches.mask[rows])]
        assert sorted(seen) == list(range(n))
    first, second = np.asarray(batches.indices[:3]), np.asarray(batches.indices[4:7])
    assert (first != second).any()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_batches_do_not_depend_on_where_a_block_starts(key, sampling):
    draw = SAMPLINGS[sampling](key, 23, 6)
    for start in (1, 5, 1023, 1500):
        whole, part = draw(0), draw(start)
        if start < len(whole.indices):
            np.testing.assert_array_equal(
                whole.indices[start:], part.indices[: len(whole.indices) - start]
            )
        again = SAMPLINGS[sampling](key, 23, 6)(start)
        np.testing.assert_array_equal(part.indices, again.indices)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_tables_of_many_keys_are_those_of_each(key, sampling):
    keys = jax.random.split(key, 11)  # eight side by side, and three
    draw, each = SAMPLINGS[sampling](keys, 23, 6), [SAMPLINGS[sampling](k, 23, 6) for k in keys]
    for start in (0, 1500):
        together, alone = draw(start), [draw_one(start) for draw_one in each]
        stacked = jax.tree.map(lambda *tables: jnp.stack(tables), *alone)
        jax.tree.map(np.testing.assert_array_equal, together, stacked)
        assert (alone[0].indices != alone[1].indices).any()


def test_epochs_with_weights_and_masks_beside_a_plain_loop(problem, key):
    params, X, Y = problem
    weights = jnp.arange(23.0)
    result = fit(
        params, X, Y, key=key, batch_size=6, steps=9, sampling="epoch", weights=weights,
        optimizer="sgd", hyperparameters=RATE,
    )  # fmt: skip
    drawn = SAMPLINGS["epoch"](jax.random.split(key, 3)[1], 23, 6)(0)
    batches = [np.asarray(i)[np.asarray(m)] for i, m in zip(*drawn, strict=True)][:9]
    assert_close(result.params, by_loop(params, X, Y, batches, weights), 1e-5)
    with pytest.raises(AssertionError):
        assert_close(result.params, by_loop(params, X, Y, batches), 1e-5)


@pytest.mark.usefixtures("x64")
def test_a_ready_optimizer_and_its_factory_agree(problem, key):
    params, X, Y = problem
    run = partial(fit, params, X, Y, key=key, batch_size=6, steps=10)
    ready = run(optimizer=optax.adamw(1e-2, weight_decay=0.1))
    made = run(optimizer="adamw", hyperparameters={"learning_rate": 1e-2, "weight_decay": 0.1})
    assert_close(ready.params, made.params, 1e-12)
    other = run(optimizer="adamw", hyperparameters={"learning_rate": 1e-2, "weight_decay": 0.2})
    with pytest.raises(AssertionError):
        assert_close(other.params, made.params, 1e-12)


@pytest.mark.usefixtures("x64")
def test_a_history_is_kept_in_a_file(problem, key, tmp_path):
    params, X, Y = problem
    run = {"key": key, "batch_size": 6, "steps": 25, "evaluate_every": 10}
    held_out = fit(params, X, Y, validation=(X, Y), **run).history
    plain = fit(params, X, Y, **run).history
    for history, missing in ((held_out, 0), (plain, 8)):
        history.to_csv(tmp_path / "history.csv")
        text = (tmp_path / "history.csv").read_text(encoding="utf-8")
        names, *lines = (line.split(",") for line in text.splitlines())
        assert tuple(names) == history._fields
        assert [line[0] for line in lines] == ["0", "10", "20", "25"]
        read = np.array([[float(cell or "nan") for cell in line] for line in lines])
        np.testing.assert_array_equal(read.T, history)
        assert sum(line.count("") for line in lines) == missing


@pytest.mark.usefixtures("x64")
def test_history_is_of_the_loss_and_metric_at_its_steps(problem, key):
    params, X, Y = problem
    reported = []
    result = fit(
        params, X, Y, key=key, batch_size=6, steps=25, evaluate_every=10, validation=0.25,
        optimizer="sgd", hyperparameters=RATE, progress=lambda step, history: reported.append(step),
    )  # fmt: skip
    assert result.history.step.tolist() == [0, 10, 20, 25]
    assert reported == [10, 20, 25]
    assert (result.step, result.stopped) == (25, "steps")
    seed = jax.random.key_data(jax.random.split(key, 3)[0])
    order = np.random.default_rng(np.asarray(seed)).permutation(23)
    held, kept = np.sort(order[:6]), np.sort(order[6:])
    np.testing.assert_allclose(
        [result.history.loss[-1], result.history.validation_loss[-1]],
        [fcnet.mean_loss(result.params, X[rows], Y[rows]) for rows in (kept, held)],
        rtol=1e-12,
    )
    predicted = jax.vmap(fcnet.forward, in_axes=(None, 0))(result.params, X[held])
    o, y = np.float64(predicted), np.float64(Y[held])
    r2 = 1 - ((o - y) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    np.testing.assert_allclose(result.history.validation_metric[-1], r2, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_early_stopping_returns_the_best_parameters(problem, key):
    params, X, Y = problem
    run = partial(
        fit, params, X[:12], Y[:12], key=key, batch_size=4, evaluate_every=5,
        validation=(X[12:], -Y[12:]), optimizer="sgd", hyperparameters=RATE,
    )  # fmt: skip
    result = run(steps=500, patience=3)
    best = int(result.history.validation_loss.argmin())
    assert result.stopped == "patience"
    assert len(result.history.step) == best + 4
    assert result.step == result.history.step[best]
    assert_close(result.params, run(steps=max(result.step, 0)).params, 1e-12)


@pytest.mark.usefixtures("x64")
def test_equal_weights_are_no_weights(problem, key):
    run = partial(fcnet.fit, *problem, key=key, batch_size=6, steps=9, sampling="epoch")
    plain, equal = run(), run(weights=np.full(23, 3.0))
    assert_same_bits(equal.params, plain.params)
    assert_same_bits(equal.history, plain.history)
    with pytest.raises(AssertionError):
        assert_same_bits(run(weights=np.arange(23.0)).params, plain.params)


@pytest.mark.usefixtures("x64")
def test_validation_examples_may_have_weights(problem, key):
    params, X, Y = problem
    weights = jnp.arange(1.0, 12.0)
    run = partial(fit, params, X[:12], Y[:12], key=key, batch_size=4, steps=5, hyperparameters=RATE)
    weighted, plain = (run(validation=(X[12:], Y[12:], *w)).history for w in ((weights,), ()))
    expected = fcnet.mean_loss(params, X[12:], Y[12:], weights=weights)
    np.testing.assert_allclose(weighted.validation_loss[0], expected, rtol=1e-12)
    assert abs(plain.validation_loss[0] - expected) > 1e-3


@pytest.mark.usefixtures("x64")
def test_an_optimizer_goes_on_from_what_it_remembers(problem, key):
    params, X, Y = problem
    run = partial(fit, X=X, Y=Y, key=key, sampling="full", hyperparameters=RATE)
    whole = run(params, steps=12)
    half = run(params, steps=6)
    assert_close(run(half.params, steps=6, opt_state=half.opt_state).params, whole.params, 1e-12)
    with pytest.raises(AssertionError):
        assert_close(run(half.params, steps=6).params, whole.params, 1e-12)


def test_what_stops_being_finite_is_named_with_its_step(problem, key):
    params, X, Y = problem
    run = partial(fit, params, X, Y, key=key, batch_size=6, optimizer="sgd")
    diverging = {"hyperparameters": {"learning_rate": 1e3}}
    with pytest.raises(
        fcnet.NonFiniteError, match=r"in step \d+; .* smaller learning rate"
    ) as caught:
        run(steps=3000, **diverging)
    step = caught.value.step
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(caught.value.params))
    drawn = SAMPLINGS["algorithm2"](jax.random.split(key, 3)[1], 23, 6)(0).indices
    expected = by_loop(params, X, Y, drawn[:step], optimizer=optax.sgd(1e3))
    assert_close(caught.value.params, expected, 1e-5)


def test_the_same_key_gives_the_same_bits_and_leaves_its_arguments(problem, key):
    params, X, Y = problem
    before = jax.tree.map(np.array, params)
    run = partial(fit, params, X, Y, batch_size=6, steps=30, hyperparameters=RATE)
    one, two = (run(key=key).params for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, one, two)
    jax.tree.map(np.testing.assert_array_equal, params, before)
    other = run(key=jax.random.key(7)).params
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True))


def test_other_steps_rates_seeds_and_data_do_not_compile_anew(problem, key):
    params, X, Y = problem
    loss, traces = counted_loss()
    run = partial(fit, params, batch_size=6, optimizer="sgd", loss=loss)
    run(X, Y, key=key, steps=30, hyperparameters=RATE)
    first = len(traces)
    run(2 * X, Y + 1, key=jax.random.key(1), steps=70, hyperparameters={"learning_rate": 0.01})
    assert first > 0
    assert len(traces) == first
    run(X[:-1], Y[:-1], key=key, steps=30, hyperparameters=RATE)
    assert len(traces) > first


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"steps": -1}, ValueError, "steps must be at least 0|between 0"),
        ({"batch_size": 24}, ValueError, "batch_size must be between 1 and 23"),
        ({"batch_size": None}, TypeError, "batch_size is missing: .* from 1 to the 23 training ex"),
        ({"sampling": "full"}, ValueError, "takes all 23 examples in each step, got batch_size=6"),
        ({"sampling": "full", "batch_size": "all"}, TypeError, "batch_size must be an integer"),
        ({"sampling": "lottery"}, ValueError, "unknown sampling 'lottery'; known are 'algorithm2'"),
        ({"optimizer": "magic"}, ValueError, "unknown optimizer 'magic'; known are 'sgd'"),
        ({"hyperparameters": {"speed": 1.0}}, TypeError, "hyperparameters do not fit"),
        ({"gradient": "numeric"}, ValueError, "unknown gradient 'numeric'"),
        ({"patience": 3}, ValueError, "patience needs validation data"),
        ({"validation": 1.0}, ValueError, "at least one of 23 rows on each side"),
        ({"validation": (jnp.ones(3),)}, ValueError, r"triple \(X, Y, weights\) or a share, got 1"),
        ({"opt_state": optax.adam(0.1).init(jnp.ones(3))}, ValueError, "opt_state does not fit"),
        ({"weights": -jnp.ones(23)}, ValueError, "weights must be 0 or more"),
        ({"weights": jnp.zeros(23)}, ValueError, "weights are all 0"),
        ({"weights": jnp.ones(22)}, ValueError, r"weights has shape \(22,\), expected \(23,\)"),
        ({"optimizer": optax.sgd(0.1)}, ValueError, "go with an optimizer's name or factory"),
    ],
)
def test_bad_arguments_are_refused_by_name(problem, key, change, error, message):
    params, X, Y = problem
    given = {"key": key, "batch_size": 6, "steps": 5, "optimizer": "sgd", "hyperparameters": RATE}
    with pytest.raises(error, match=message):
        fit(params, X, Y, **{**given, **change})


LOOPS = {
    "fit": partial(fit, steps=0, batch_size=6),
    "sweep": lambda *problem, key, **choices: fcnet.sweep(
        *problem, key=key[None], batch_size=6, steps=0, **choices
    ),
    "minibatch_sgd": lambda *problem, key, **choices: fcnet.minibatch_sgd(
        *problem, key=key, learning_rate=0.1, batch_size=6, steps=0,
        gradient=partial(fcnet.batch_backprop, **choices),
    ),
}  # fmt: skip
"""The loops that train, by what they call the objective."""


@pytest.mark.untyped
@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_a_loss_that_applies_a_function_once_more_is_told(problem, key, loop):
    params, X, Y = problem
    run = partial(loop, params, X, (Y > 0) * 1.0, key=key)
    with pytest.warns(UserWarning, match=r"prediction is sigmoid\(tanh\(z\)\); leave out") as told:
        run(output_activation="tanh", loss="logistic")
    assert told[0].filename == __file__
    run(output_activation="tanh")
    run(loss="logistic")

"""Runs that are evaluated at the end only, and gradients of the caller's own."""

import pickle
import signal
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.problems import assert_close

import fcnet
from fcnet.train import run as host
from fcnet.train.checkpoint import CheckpointError, saved
from fcnet.train.fit import fit
from fcnet.train.sweep import sweep

pytestmark = pytest.mark.usefixtures("exact_products")


@pytest.fixture
def problem(key):
    X = jax.random.normal(key, (23, 4))
    return fcnet.init(key, (4, 5, 1)), X, jnp.abs(X[:, :1]) - X[:, 1:2]


@pytest.fixture
def run(problem, key):
    return partial(fit, *problem, key=key, batch_size=6, steps=50, optimizer="adam",
                   hyperparameters={"learning_rate": 0.02}, evaluate_every=None)  # fmt: skip


def assert_same_bits(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_only_entry_is_that_of_the_last_step(run):
    reported = []
    result = run(validation=0.3, progress=lambda step, history: reported.append(step))
    every = run(validation=0.3, evaluate_every=25)
    assert_same_bits((result.params, result.opt_state), (every.params, every.opt_state))
    assert_same_bits(result.history, jax.tree.map(lambda column: column[-1:], every.history))
    assert (reported, result.step, result.stopped) == ([50], 50, "steps")
    assert run(steps=0).history.step.tolist() == [0]


def test_an_iterator_that_ends_is_evaluated_there(run, problem):
    params, X, Y = problem
    batches = [(X[i : i + 6], Y[i : i + 6]) for i in range(0, 17, 4)]
    result = fit(params, iter(batches), **run.keywords)
    assert (result.stopped, result.history.step.tolist()) == ("data", [5])


def test_the_end_is_saved_and_a_longer_run_has_one_entry_too(run, tmp_path):
    run(checkpoint=tmp_path)
    assert list(saved(tmp_path)) == [0, 50]
    assert_same_bits(run(checkpoint=tmp_path, resume=True), run())
    longer = run(checkpoint=tmp_path, resume=True, steps=80)
    assert_same_bits(longer, run(steps=80))
    assert longer.history.step.tolist() == [80]
    with pytest.raises(CheckpointError, match="evaluate_every was None and is 25"):
        run(checkpoint=tmp_path, resume=True, steps=80, evaluate_every=25)


def test_an_interrupted_run_is_saved_without_an_entry_and_resumes(run, tmp_path, monkeypatch):
    advance = host.advance

    def interrupt(*arguments):
        signal.raise_signal(signal.SIGTERM)
        return advance(*arguments)

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    monkeypatch.setattr(host, "advance", interrupt)
    with pytest.raises(fcnet.Interrupted) as caught:
        run(checkpoint=tmp_path, steps=3000)
    monkeypatch.undo()
    signal.signal(signal.SIGTERM, before)
    assert 0 < caught.value.step < 3000
    assert len(caught.value.result.history.step) == 0
    assert list(saved(tmp_path)) == [0, caught.value.step]
    assert_same_bits(run(checkpoint=tmp_path, resume=True, steps=3000), run(steps=3000))


def test_the_first_bad_step_is_named(run, problem):
    params, X, Y = problem
    wild = {"optimizer": "sgd", "hyperparameters": {"learning_rate": 1e3}, "steps": 3000}
    with pytest.raises(fcnet.NonFiniteError) as often:
        run(**wild, evaluate_every=2)
    with pytest.raises(fcnet.NonFiniteError) as once:
        run(**wild)
    assert once.value.step == often.value.step > 0
    assert_same_bits(once.value.params, often.value.params)
    batches = [(X[i : i + 6], Y[i : i + 6]) for i in range(17)]
    streams = {**run.keywords, **wild}
    with pytest.raises(fcnet.NonFiniteError) as often:
        fit(params, batches, **{**streams, "evaluate_every": 2})
    with pytest.raises(fcnet.NonFiniteError) as once:
        fit(params, batches, **streams)
    assert once.value.step == often.value.step > 0


def test_errors_of_a_run_can_be_pickled(run, problem):
    """A pool of processes pickles the errors of its workers."""
    for error in (
        fcnet.NonFiniteError(7, problem[0]),
        fcnet.Interrupted(signal.SIGTERM, 50, run(), "it is saved"),
    ):
        other = pickle.loads(pickle.dumps(error))
        assert (type(other), str(other)) == (type(error), str(error))
        assert_same_bits(vars(other), vars(error))


@pytest.mark.untyped
def test_patience_is_refused(run):
    with pytest.raises(ValueError, match="patience counts evaluations, of which evaluate_every=N"):
        run(patience=3, validation=0.3)


def test_a_sweep_is_evaluated_at_the_end_only(problem, run, key):
    keys = jax.random.split(key, 3)
    shares = []
    given = {**run.keywords, "key": keys, "validation": 0.3}
    result = sweep(*problem, **given, progress=shares.append)
    every = sweep(*problem, **{**given, "evaluate_every": 10})
    assert_same_bits(result.params, every.params)
    assert_same_bits(result.history, jax.tree.map(lambda column: column[-1:], every.history))
    assert (max(shares), result.best) == (1, every.best)
    assert result.history.loss.shape == (1, 3)


def own(params, X, Y, *, activation, output_activation, loss, weights):
    """A gradient like `batch_backprop`, by autodiff of a function written for this test."""

    def cost(params):
        def one(x, y):
            o = fcnet.forward(params, x, activation=activation, output_activation=output_activation)
            return loss.value(o, y)

        losses = jax.vmap(one)(X, Y)
        return losses.mean() if weights is None else weights @ losses / weights.sum()

    return jax.grad(cost)(params)


def doubled(*arguments, **choices):
    return jax.tree.map(lambda leaf: 2 * leaf, own(*arguments, **choices))


@pytest.mark.parametrize("changed", [{}, {"sampling": "epoch", "weights": np.arange(1.0, 24.0)}])
def test_a_gradient_function_trains_as_backprop_does(run, problem, changed):
    run = partial(run, optimizer="sgd", **changed)
    assert_close(run(gradient=own).params, run().params, 1e-5)
    assert_same_bits(run(gradient=fcnet.batch_backprop).params, run().params)
    with pytest.raises(AssertionError):
        assert_close(run(gradient=doubled).params, run().params, 1e-5)
    together = sweep(*problem, **{**run.keywords, "key": jax.random.split(jax.random.key(0), 2)},
                     gradient=own)  # fmt: skip
    alone = run(gradient=own, key=jax.random.split(jax.random.key(0), 2)[1])
    assert_close(together.member(1), alone.params, 1e-5)


def test_bfloat16_is_the_dtype_that_a_gradient_function_is_given(run):
    seen = set()

    def gradient(params, X, Y, *, weights, **choices):
        seen.update(leaf.dtype.name for leaf in jax.tree.leaves((params, X, Y, weights)))
        return fcnet.batch_backprop(params, X, Y, weights=weights, **choices)

    result = run(gradient=gradient, precision="bfloat16", weights=np.arange(1.0, 24.0))
    assert seen == {"bfloat16"}
    assert_same_bits(result.params, run(precision="bfloat16", weights=np.arange(1.0, 24.0)).params)


def test_a_gradient_function_is_part_of_a_run(run, tmp_path):
    run(checkpoint=tmp_path, gradient=own)
    assert_same_bits(run(checkpoint=tmp_path, gradient=own, resume=True), run(gradient=own))
    with pytest.raises(CheckpointError, match="gradient was own and is doubled; compiled step was"):
        run(checkpoint=tmp_path, gradient=doubled, resume=True)


def test_an_optimizer_that_reads_the_loss_has_the_gradient_function(run):
    run = partial(run, optimizer=optax.polyak_sgd(), hyperparameters=None, steps=9)
    assert_close(run(gradient=own).params, run().params, 1e-4)
    with pytest.raises(AssertionError):
        assert_close(run(gradient=doubled).params, run().params, 1e-3)


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        (lambda params, X, Y: params, TypeError, "called as gradient.params, X, Y, activation=.*"),
        (fcnet.backprop, TypeError, "unexpected keyword argument 'weights'"),
        (
            lambda params, X, Y, **_: jax.tree.map(np.sin, params),
            TypeError,
            "of jax.numpy, not numpy. It raised TracerArrayConversionError",
        ),
        (lambda params, X, Y, **_: params[0], ValueError, "structure and the shapes of params"),
        (
            lambda params, X, Y, **_: jax.tree.map(lambda leaf: leaf[None], params),
            ValueError,
            r"expected \(Layer\(W=\(5, 4\), .* got \(Layer\(W=\(1, 5, 4\)",
        ),
        ("numeric", ValueError, "unknown gradient 'numeric'; known are 'backprop', 'autodiff'"),
        (3, TypeError, "gradient must be a name, one of"),
    ],
)
def test_what_is_no_gradient_is_refused_before_the_run(problem, run, gradient, error, message):
    steps = []
    with pytest.raises(error, match=message):
        run(gradient=gradient, progress=lambda *now: steps.append(now))
    with pytest.raises(error, match=message):
        sweep(*problem, **{**run.keywords, "key": jax.random.split(jax.random.key(0), 2)},
              gradient=gradient)  # fmt: skip
    assert not steps

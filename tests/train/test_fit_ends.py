"""Runs that are evaluated at the end only, and gradients of the caller's own."""

import pickle
import signal
from functools import partial

import jax
import numpy as np
import optax
import pytest
from support.problems import assert_close, assert_same_bits

import fcnet
from fcnet.train import run as host
from fcnet.train.checkpoint import CheckpointError, saved
from fcnet.train.fit import fit
from fcnet.train.program import all_finite
from fcnet.train.sweep import sweep

pytestmark = pytest.mark.usefixtures("exact_products")


@pytest.fixture
def run(problem, key):
    return partial(fit, *problem, key=key, batch_size=6, steps=50, optimizer="adam",
                   hyperparameters={"learning_rate": 0.02}, evaluate_every=None)  # fmt: skip


def test_the_only_entry_is_that_of_the_last_step(run):
    reported = []
    result = run(validation=0.3, progress=lambda step, history: reported.append(step))
    every = run(validation=0.3, evaluate_every=25)
    assert_same_bits((result.params, result.opt_state), (every.params, every.opt_state))
    assert_same_bits(result.history, jax.tree.map(lambda column: column[-1:], every.history))
    assert (reported, result.step, result.stopped) == ([50], 50, "steps")
    assert run(steps=0).history.step.tolist() == [0]


def test_evaluations_that_come_closer_at_the_start_change_no_step(run, tmp_path):
    result = run(validation=0.3, evaluate_every="log")
    assert result.history.step.tolist() == [*range(17), *range(18, 33, 2), *range(36, 49, 4), 50]
    every = run(validation=0.3, evaluate_every=1)
    assert_same_bits((result.params, result.opt_state), (every.params, every.opt_state))
    at = result.history.step.astype(int)
    assert_same_bits(result.history, jax.tree.map(lambda column: column[at], every.history))
    pieces = partial(run, validation=0.3, evaluate_every="log", checkpoint=tmp_path)
    pieces(steps=32)
    assert_same_bits(pieces(resume=True), result)


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


def interrupted(run, folder, monkeypatch):
    """What a run of 3,000 steps raises that gets a signal in its first block."""
    advance = host.advance

    def interrupt(*arguments):
        signal.raise_signal(signal.SIGTERM)
        return advance(*arguments)

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    monkeypatch.setattr(host, "advance", interrupt)
    with pytest.raises(fcnet.Interrupted) as caught:
        run(checkpoint=folder, steps=3000)
    monkeypatch.undo()
    signal.signal(signal.SIGTERM, before)
    return caught.value


def test_an_interrupted_run_is_saved_without_an_entry_and_resumes(run, tmp_path, monkeypatch):
    error = interrupted(run, tmp_path, monkeypatch)
    assert 0 < error.step < 3000
    assert len(error.result.history.step) == 0
    assert list(saved(tmp_path)) == [0, error.step]
    assert_same_bits(run(checkpoint=tmp_path, resume=True, steps=3000), run(steps=3000))


@pytest.mark.parametrize(
    "changed",
    [{}, {"evaluate_every": 2900}, {"evaluate_every": 2900, "validation": 0.3, "patience": 1}],
)
def test_a_run_that_is_resumed_at_its_end_is_evaluated_there(run, tmp_path, monkeypatch, changed):
    run = partial(run, **changed)
    step = interrupted(run, tmp_path, monkeypatch).step
    reported = []
    run = partial(run, steps=step)
    again = partial(run, checkpoint=tmp_path, resume=True)
    resumed = again(progress=lambda step, history: reported.append(step))
    assert_same_bits(resumed, run())
    assert (resumed.history.step[-1], reported) == (step, [step])
    assert_same_bits(again(), resumed)


def test_a_bad_evaluation_after_good_steps_is_named_as_one(run, problem):
    """The example with an infinite squared error is in the last batch, which no step takes."""
    params, X, Y = problem
    batches = [(X[i : i + 1], Y.at[22].set(1e30)[i : i + 1]) for i in range(23)]
    for every in (4, None):
        choices = {**run.keywords, "evaluate_every": every, "batch_size": 1, "steps": 9}
        with pytest.raises(fcnet.NonFiniteError, match="training examples is not finite") as caught:
            fit(params, batches, **choices)
        assert (caught.value.step, caught.value.evaluation) == (every or 9, True)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(caught.value.params))
    with pytest.raises(fcnet.NonFiniteError, match="in step 23") as caught:
        fit(params, batches, **{**choices, "steps": 30})
    assert (caught.value.step, caught.value.evaluation) == (22, False)


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


class Promise:
    """Whether parameters are finite, as an accelerator says it: `asked` is called when it must."""

    def __init__(self, params, asked):
        self.finite, self.asked = all_finite(params), asked

    def __bool__(self):
        self.asked()
        return bool(self.finite)


def test_an_accelerator_is_asked_while_its_next_block_runs(run, monkeypatch):
    advance, events = host.advance, []
    monkeypatch.setattr(host, "advance", lambda *a: (events.append("advance"), advance(*a))[1])
    expected = run(steps=4096)
    assert events == 4 * ["advance"]
    events.clear()
    asked = partial(events.append, "asked")
    monkeypatch.setattr(host, "are_finite", lambda params: Promise(params, asked))
    assert_same_bits(run(steps=4096), expected)
    assert events == ["advance", *3 * ["advance", "asked"], "asked"]
    events.clear()
    assert_same_bits(run(steps=2048, evaluate_every=1024), run(steps=2048, evaluate_every=1024))
    assert events[:4] == 2 * ["advance", "asked"]


@pytest.mark.parametrize("streamed", [False, True])
def test_what_an_accelerator_says_late_is_the_same_error(run, problem, monkeypatch, streamed):
    params, X, Y = problem
    wild = {"optimizer": "sgd", "hyperparameters": {"learning_rate": 1e3}, "steps": 3000}
    batches = [(X[i : i + 6], Y[i : i + 6]) for i in range(17)]
    train = partial(fit, params, batches, **run.keywords) if streamed else run
    errors = []
    for _ in range(2):
        with pytest.raises(fcnet.NonFiniteError) as caught:
            train(**wild)
        errors.append(caught.value)
        monkeypatch.setattr(host, "on_host", lambda array: array)  # as if it were on a device
    assert errors[0].step == errors[1].step > 0
    assert_same_bits(errors[0].params, errors[1].params)


def test_errors_of_a_run_can_be_pickled(run, problem):
    """A pool of processes pickles the errors of its workers."""
    for error in (
        fcnet.NonFiniteError(7, problem[0]),
        fcnet.NonFiniteError(7, problem[0], evaluation=True),
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


def test_a_gradient_function_is_traced_with_the_rows_and_the_weights_of_a_step(run, problem):
    shapes = set()

    def gradient(params, X, Y, *, weights, **choices):
        shapes.add((X.shape, Y.shape, None if weights is None else weights.shape))
        return fcnet.batch_backprop(params, X, Y, weights=weights, **choices)

    several = partial(sweep, *problem, key=jax.random.split(jax.random.key(0), 2))
    for train in (run, partial(several, **{k: v for k, v in run.keywords.items() if k != "key"})):
        for sampling, weights in (("algorithm2", None), ("epoch", (6,))):  # 23 rows need a mask
            shapes.clear()
            train(gradient=gradient, sampling=sampling, steps=9)
            assert shapes == {((6, 4), (6, 1), weights)}


def test_a_gradient_function_may_return_pairs_in_lists(run, problem):
    def pairs(*arguments, **choices):
        return [[dW, db] for dW, db in own(*arguments, **choices)]

    assert_same_bits(run(gradient=pairs).params, run(gradient=own).params)
    several = {**run.keywords, "key": jax.random.split(jax.random.key(0), 2), "steps": 9}
    assert_same_bits(sweep(*problem, **several, gradient=pairs).params,
                     sweep(*problem, **several, gradient=own).params)  # fmt: skip


def scaled(factor, dtype=None):
    """A gradient function whose arrays are multiplied by a factor, and cast."""

    def gradient(*arguments, **choices):
        return jax.tree.map(lambda leaf: (factor * leaf).astype(dtype), own(*arguments, **choices))

    return gradient


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
            lambda params, X, Y, **_: [{"W": W, "b": b} for W, b in params],
            ValueError,
            r"it is \[{W: float32\[5, 4\], b: float32\[5\]}, .* expected \(Layer\(W=float32",
        ),
        (scaled(1 + 1j, complex), ValueError, r"\[0\].W is complex64\[5, 4\], expected float32"),
        (scaled(9, int), ValueError, r"floating dtype: \[0\].W is int32\[5, 4\], expected float32"),
        (
            lambda params, X, Y, **_: jax.tree.map(lambda leaf: leaf[None], params),
            ValueError,
            r"\[0\].W is float32\[1, 5, 4\], expected float32\[5, 4\]",
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

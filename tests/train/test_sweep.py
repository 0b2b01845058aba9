"""`sweep`: every member ends where its own `fit` does, and one that diverges stops no other."""

import time
from functools import partial
from threading import Lock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.problems import assert_close, counted_loss

import fcnet
import fcnet.train.sweep as sweep_module
from fcnet.train.fit import fit
from fcnet.train.members import Members
from fcnet.train.sampling import SAMPLINGS
from fcnet.train.sweep import groups, sweep

pytestmark = pytest.mark.usefixtures("exact_products")

K = 5
RATES = jnp.linspace(0.01, 0.08, K)


@pytest.fixture
def problem(key):
    X = jax.random.normal(key, (23, 4))
    Y = jnp.abs(X[:, :1]) - X[:, 1:2]
    keys = jax.random.split(key, K)
    return jax.vmap(partial(fcnet.init, sizes=(4, 5, 1)))(keys), X, Y, keys


def member(tree, k):
    """One member's leaves; NumPy takes them, as JAX would compile for each k and shape."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[k], tree)


@pytest.mark.parametrize(
    "sampling",
    ["algorithm2"]
    + [
        pytest.param(sampling, marks=pytest.mark.slow)
        for sampling in (*SAMPLINGS, "full")
        if sampling != "algorithm2"
    ],
)
def test_a_member_ends_where_its_own_run_does(problem, sampling):
    params, X, Y, keys = problem
    run = {
        "batch_size": None if sampling == "full" else 6, "sampling": sampling,
        "steps": 37, "optimizer": "adamw",
        "weights": jnp.arange(1.0, 24.0), "validation": (X[:7], Y[:7]), "evaluate_every": 10,
        "precision": "float64",
    }  # fmt: skip
    numbers = {"learning_rate": RATES, "weight_decay": jnp.array(0.1)}
    result = sweep(params, X, Y, key=keys, hyperparameters=numbers, **run)
    for k in range(K):
        own = {"learning_rate": RATES[k], "weight_decay": float(numbers["weight_decay"])}
        alone = fit(member(params, k), X, Y, key=keys[k], hyperparameters=own, **run)
        assert_close(result.member(k), alone.params, 1e-9)
        assert_close(member(result.opt_state, k), alone.opt_state, 1e-9)
        np.testing.assert_array_equal(result.history.step, alone.history.step)
        for name in ("loss", "metric", "validation_loss", "validation_metric"):
            together, expected = getattr(result.history, name)[:, k], getattr(alone.history, name)
            np.testing.assert_allclose(together, expected, rtol=1e-9)
        if k:
            with pytest.raises(AssertionError):
                assert_close(result.member(0), alone.params, 1e-9)
    assert result.finite.all()
    assert result.best == result.history.validation_loss.min(0).argmin()


def test_a_member_computes_in_the_precision_of_its_own_run(problem):
    params, X, Y, keys = problem
    run = {"batch_size": 6, "steps": 20, "hyperparameters": {"learning_rate": jnp.array(0.05)}}
    result = sweep(params, X, Y, key=keys, precision="bfloat16", **run)
    for k in range(K):
        coarse, fine = (
            fit(member(params, k), X, Y, key=keys[k], precision=precision, **run).params
            for precision in ("bfloat16", "float32")
        )
        assert_close(result.member(k), coarse, 1e-3)
        with pytest.raises(AssertionError):
            assert_close(result.member(k), fine, 1e-3)


@pytest.mark.slow
def test_numbers_are_not_rounded_to_the_parameters_precision(problem):
    params, X, Y, keys = problem
    coarse = jax.tree.map(lambda leaf: leaf.astype("bfloat16"), params)
    numbers = {"learning_rate": jnp.array(0.01), "b2": jnp.array(0.999)}  # in bfloat16, that is 1
    result = sweep(coarse, X, Y, key=keys, batch_size=6, steps=5, hyperparameters=numbers)
    assert result.finite.all()


def test_one_key_of_the_old_kind_is_one_key(problem):
    params, X, Y, _ = problem
    run = {"batch_size": 6, "steps": 3, "hyperparameters": {"learning_rate": RATES}}
    old, new = (
        sweep(params, X, Y, key=key, **run).params
        for key in (jax.random.PRNGKey(3), jax.random.key(3))
    )
    jax.tree.map(np.testing.assert_array_equal, old, new)


def test_the_arrays_given_stay_where_one_group_holds_all_members(problem, monkeypatch):
    monkeypatch.setattr(sweep_module, "workers", lambda: 1)
    params, X, Y, keys = problem
    before = jax.tree.map(np.array, params)
    run = {"key": keys, "batch_size": 6, "steps": 3, "hyperparameters": {"learning_rate": RATES}}
    first, second = (sweep(params, X, Y, **run) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, params, before)
    jax.tree.map(np.testing.assert_array_equal, first.params, second.params)


def test_one_key_and_one_start_serve_all(problem, key):
    params, X, Y, _ = problem
    start = member(params, 0)
    run = {"key": key, "batch_size": 6, "steps": 20, "optimizer": "sgd", "validation": 0.3}
    result = sweep(start, X, Y, hyperparameters={"learning_rate": RATES}, **run)
    for k in range(K):
        alone = fit(start, X, Y, hyperparameters={"learning_rate": RATES[k]}, **run)
        assert_close(result.member(k), alone.params, 1e-5)
        np.testing.assert_allclose(
            result.history.validation_loss[:, k], alone.history.validation_loss, rtol=1e-4
        )


def test_the_best_is_that_of_the_training_loss_where_no_data_are_held_out(problem):
    params, X, Y, keys = problem
    rates = {"learning_rate": jnp.array([1e-6, 1e-6, 0.05, 1e-6, 1e-6])}
    result = sweep(
        member(params, 0), X, Y, key=keys, batch_size=6, steps=60, optimizer="sgd",
        hyperparameters=rates,
    )  # fmt: skip
    assert result.best == 2
    assert np.isnan(result.history.validation_loss).all()


def test_the_best_evaluation_counts_and_its_parameters_are_kept(tmp_path):
    """Of two members, one is the best in the middle, and the other one in the end."""
    start = (fcnet.Layer(jnp.zeros((1, 1)), jnp.zeros(1)),)
    X = jnp.array([[-1.0], [1.0]])
    run = {
        "key": jax.random.key(0), "sampling": "full", "steps": 6, "optimizer": "sgd",
        "evaluate_every": 1, "validation": (X, X),  # W = 1 is right, on its way to 2
    }  # fmt: skip
    rates = jnp.array([0.5, 0.05])
    result = sweep(start, X, 2 * X, hyperparameters={"learning_rate": rates}, **run)
    passed, slow = result.history.validation_loss.T
    assert passed[1] == 0 < slow[-1] < passed[-1]
    result.history.to_csv(tmp_path / "history.csv")
    table = np.genfromtxt(tmp_path / "history.csv", delimiter=",", names=True, deletechars="")
    np.testing.assert_array_equal(table["validation_loss[1]"], slow)
    np.testing.assert_array_equal(table["step"], range(7))
    assert result.best == 0
    assert result.best_params[0].W.item() == 1
    assert result.member(0)[0].W.item() > 1.9
    patient = fit(start, X, 2 * X, hyperparameters={"learning_rate": 0.5}, patience=6, **run)
    assert_close(result.best_params, patient.params, 1e-6)


def test_a_member_that_diverges_does_not_stop_the_others(problem):
    params, X, Y, keys = problem
    run = {"batch_size": 6, "steps": 300, "optimizer": "sgd", "evaluate_every": 100}
    rates = RATES.at[1].set(1e6)
    result = sweep(params, X, Y, key=keys, hyperparameters={"learning_rate": rates}, **run)
    assert result.finite.tolist() == [True, False, True, True, True]
    assert result.best != 1
    lost = ~np.isfinite(result.history.loss)
    assert lost[-1].tolist() == (~result.finite).tolist()
    assert not lost[0].any()
    alone = fit(
        member(params, 4), X, Y, key=keys[4], hyperparameters={"learning_rate": rates[4]}, **run
    )
    assert_close(result.member(4), alone.params, 2e-5)
    prediction = fcnet.ensemble(result.params, X)
    others = [jax.vmap(fcnet.forward, (None, 0))(result.member(k), X) for k in range(K) if k != 1]
    np.testing.assert_allclose(prediction.mean, np.mean(others, 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(prediction.spread, np.std(others, 0), rtol=1e-4, atol=1e-6)
    all_lost = sweep(
        params, X, Y, key=keys, hyperparameters={"learning_rate": jnp.array(1e6)}, **run
    )
    assert all_lost.best is None
    assert all_lost.best_params is None
    assert not all_lost.finite.any()


def test_there_is_no_member_beyond_the_last(problem):
    """JAX would take the nearest one."""
    params, X, Y, keys = problem
    result = sweep(params, X, Y, key=keys, batch_size=6, steps=0)
    assert_close(result.member(-1), member(params, K - 1), 0)
    for k in (K, -K - 1):
        with pytest.raises(ValueError, match=f"k must be between -{K} and {K - 1}, got {k}"):
            result.member(k)


@pytest.mark.slow
def test_the_callers_double_precision_reaches_the_workers(problem, x64):
    params, X, Y, keys = problem
    params, X, Y = jax.tree.map(lambda leaf: leaf.astype(np.float64), (params, X, Y))
    run = {"batch_size": 6, "steps": 9, "optimizer": "sgd"}
    result = sweep(params, X, Y, key=keys, hyperparameters={"learning_rate": RATES}, **run)
    alone = fit(
        member(params, 1), X, Y, key=keys[1], hyperparameters={"learning_rate": RATES[1]}, **run
    )
    assert_close(result.member(1), alone.params, 1e-12)


@pytest.mark.slow
def test_double_precision(problem):
    params, X, Y, keys = problem
    run = {"batch_size": 6, "steps": 12, "precision": "float64", "optimizer": "sgd"}
    result = sweep(params, X, Y, key=keys, hyperparameters={"learning_rate": RATES}, **run)
    alone = fit(
        member(params, 3), X, Y, key=keys[3],
        hyperparameters={"learning_rate": float(RATES[3])}, **run,
    )  # fmt: skip
    assert result.params[0].W.dtype == jnp.float64
    assert_close(result.member(3), alone.params, 1e-12)


def test_groups_hold_every_member_once():
    start = fcnet.init(jax.random.key(0), (10, 64, 64, 1))
    for count in (1, 7, 64):
        params = jax.tree.map(lambda leaf, n=count: jnp.asarray(np.stack([leaf] * n)), start)
        members = Members(
            params, jax.random.split(jax.random.key(0), count), {"rate": jnp.ones(count)}
        )
        parts = groups(members, rows=32)
        covered = [k for part in parts for k in range(part.first, part.last)]
        assert covered == list(range(count))
        sizes = {part.last - part.first for part in parts}
        assert max(sizes) - min(sizes) <= 1
        assert parts[0].take(members).keys.shape == (parts[0].last,)


def test_progress_runs_to_the_end_and_its_error_ends_the_sweep(problem):
    params, X, Y, keys = problem
    run = partial(sweep, params, X, Y, key=keys, batch_size=6, steps=50, evaluate_every=10)
    shares = []
    run(optimizer=optax.sgd(0.01), progress=shares.append)
    assert max(shares) == 1
    assert len(set(shares)) == len(shares)

    def stop(share):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        run(optimizer=optax.sgd(0.01), progress=stop)


def test_progress_is_called_once_at_a_time(problem, monkeypatch):
    monkeypatch.setattr(sweep_module, "workers", lambda: 5)
    params, X, Y, keys = problem
    shares, turn = [], Lock()

    def progress(share):
        assert turn.acquire(blocking=False)
        time.sleep(0.001)
        shares.append(share)
        turn.release()

    sweep(params, X, Y, key=keys, batch_size=6, steps=20, evaluate_every=1, progress=progress)
    assert len(shares) == 5 * 21
    assert shares == sorted(shares)


def test_other_steps_rates_seeds_and_data_do_not_compile_anew(problem):
    params, X, Y, keys = problem
    loss, traces = counted_loss()
    run = partial(sweep, params, batch_size=6, optimizer="sgd", loss=loss)
    run(X, Y, key=keys, steps=30, hyperparameters={"learning_rate": RATES})
    first = len(traces)
    run(2 * X, Y, key=keys[::-1], steps=70, hyperparameters={"learning_rate": RATES / 2})
    assert len(traces) == first > 0


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"key": jax.random.split(jax.random.key(0), 4)}, ValueError, "params has 5, key has 4"),
        (
            {"hyperparameters": {"learning_rate": jnp.ones(3)}},
            ValueError,
            r"'learning_rate'\] has 3",
        ),
        (
            {"hyperparameters": {"learning_rate": jnp.ones((5, 1))}},
            ValueError,
            r"\(5, 1\), expected",
        ),
        ({"hyperparameters": {"learning_rate": jnp.full(5, jnp.nan)}}, ValueError, "finite"),
        ({"hyperparameters": {"speed": RATES}}, TypeError, "hyperparameters do not fit"),
        ({"key": jnp.ones(5)}, TypeError, "key must come from jax.random.key"),
        ({"batch_size": 24}, ValueError, "batch_size must be between 1 and 23"),
        ({"batch_size": None}, TypeError, "batch_size is missing: .* from 1 to the 23 training ex"),
        ({"sampling": "full"}, ValueError, "takes all 23 examples in each step, got batch_size=6"),
        ({"sampling": "lottery"}, ValueError, "sampling"),
        ({"steps": -1}, ValueError, "steps must be"),
    ],
)
def test_bad_arguments_are_refused_by_name(problem, change, error, message):
    params, X, Y, keys = problem
    given = {"key": keys, "batch_size": 6, "steps": 5, "optimizer": "sgd"}
    given["hyperparameters"] = {"learning_rate": RATES}
    with pytest.raises(error, match=message):
        sweep(params, X, Y, **{**given, **change})


@pytest.mark.untyped
def test_networks_that_do_not_agree_are_refused(problem):
    params, X, Y, keys = problem
    run = partial(sweep, X=X, Y=Y, key=keys[0], batch_size=6, steps=5, optimizer=optax.sgd(0.1))
    with pytest.raises(ValueError, match="no axis of members"):
        run(member(params, 0))
    short = (params[0], fcnet.Layer(params[1].W[:4], params[1].b))
    with pytest.raises(ValueError, match=r"params\[1\].W has shape \(4, 1, 5\)"):
        run(short)
    with pytest.raises(ValueError, match=r"params\[0\].W must be finite"):
        run((fcnet.Layer(params[0].W.at[3, 0, 0].set(jnp.nan), params[0].b), params[1]))
    for count in (1, 2, 3):  # a network of two layers is like a pair (W, b), a list of two like one
        with pytest.raises(TypeError, match="params is a list of networks: stack those"):
            run([member(params, k) for k in range(count)])

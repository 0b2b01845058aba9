"""Optimisers: defaults by name, and those that read the loss, beside optax's own loop."""

import re
from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.problems import assert_close, relative_errors

import fcnet
from fcnet import data
from fcnet.losses import as_objective
from fcnet.train.checkpoint import saved
from fcnet.train.fit import fit
from fcnet.train.mesh import as_mesh, keep_placed, keep_split
from fcnet.train.objective import batch_gradient, batch_loss, differentiable_loss
from fcnet.train.optimizer import OPTIMIZERS
from fcnet.train.program import descend, in_place
from fcnet.train.sampling import SAMPLINGS
from fcnet.train.sweep import sweep
from fcnet.train.types import Data, Program, State

pytestmark = pytest.mark.usefixtures("exact_products")


def along_the_gradient():
    """Steps whose length is that of the derivative along the gradient, by forward mode."""

    def update(gradient, state, params, *, value_fn, **_):
        _, slope = jax.jvp(value_fn, (params,), (gradient,))
        return optax.tree.scale(-0.1 * slope / (1 + slope), gradient), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


READERS = {
    "lbfgs": optax.lbfgs(memory_size=4),
    "polyak_sgd": optax.polyak_sgd(max_learning_rate=0.5),
    "backtracking": optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(9)),
    "reduce_on_plateau": optax.chain(
        optax.sgd(0.1), optax.contrib.reduce_on_plateau(factor=0.5, patience=1, rtol=0.1)
    ),
    "momo": optax.contrib.momo(0.3),
    "prodigy": optax.contrib.prodigy(),
    "forward mode": along_the_gradient(),
}


@pytest.fixture
def run(problem, key):
    return partial(fit, *problem, key=key, steps=9, sampling="full",
                   activation="tanh", precision="float64")  # fmt: skip


def with_optax(optimizer, params, X, Y, batches, scale=1.0):
    """Optax's own loop in float64, with autodiff; `scale` plants a wrong value of the loss."""
    with jax.enable_x64(True):
        params, X, Y = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), (params, X, Y))
        state = optimizer.init(params)

        @jax.jit
        def step(params, state, x, y):
            def loss(params):
                return fcnet.mean_loss(params, x, y, activation="tanh")

            value, gradient = jax.value_and_grad(loss)(params)
            updates, state = optax.with_extra_args_support(optimizer).update(
                gradient, state, params, value=scale * value, grad=gradient, value_fn=loss
            )
            return optax.apply_updates(params, updates), state

        for rows in batches:
            params, state = step(params, state, X[rows], Y[rows])
    return params, state


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "lbfgs")) for name in READERS],
)
def test_full_batches_are_optax_own_loop(problem, run, name):
    result = run(optimizer=READERS[name])
    params, state = with_optax(READERS[name], *problem, [np.arange(23)] * 9)
    assert_close(result.params, params, 1e-9)
    assert jax.tree.structure(result.opt_state) == jax.tree.structure(state)
    assert result.history.loss[-1] < result.history.loss[0]


@pytest.mark.parametrize("sampling", ["algorithm2", "epoch"])
@pytest.mark.parametrize("name", [pytest.param("lbfgs", marks=pytest.mark.slow), "polyak_sgd"])
def test_drawn_batches_are_optax_own_loop(problem, run, key, sampling, name):
    params, X, Y = problem
    result = run(optimizer=READERS[name], sampling=sampling, batch_size=6)
    drawn = SAMPLINGS[sampling](jax.random.split(key, 3)[1], 23, 6)(0)
    masks = np.ones(drawn.indices.shape, bool) if drawn.mask is None else np.asarray(drawn.mask)
    batches = [np.asarray(rows)[mask] for rows, mask in zip(drawn.indices, masks, strict=True)][:9]
    assert_close(result.params, with_optax(READERS[name], params, X, Y, batches)[0], 1e-9)


def test_a_wrong_value_of_the_loss_would_show(problem, run):
    for name in ("polyak_sgd", "momo", "backtracking"):
        result = run(optimizer=READERS[name])
        wrong, _ = with_optax(READERS[name], *problem, [np.arange(23)] * 9, scale=0.5)
        assert max(relative_errors(result.params, wrong).values()) > 1e-3, name


@pytest.mark.slow
def test_a_line_search_differentiates_by_the_chosen_gradient(problem):
    """The derivative of this loss is three times what autodiff finds."""
    params, X, Y = problem
    half_square = fcnet.LOSSES["squared_error"].value
    tripled = fcnet.Loss("tripled", half_square, lambda o, y: 3 * (o - y))
    objective = as_objective("relu", "identity", tripled)
    batch = Data(X, Y, jnp.arange(23.0))
    program = Program(objective, fcnet.batch_backprop, None, optax.lbfgs())
    value, gradient = jax.value_and_grad(differentiable_loss(program, batch))(params)
    expected = {"weights": batch.weights, **objective.keywords}
    np.testing.assert_allclose(value, fcnet.mean_loss(params, X, Y, **expected), rtol=1e-6)
    assert_close(gradient, fcnet.batch_backprop(params, X, Y, **expected), 1e-6)
    by_autodiff = jax.grad(fcnet.mean_loss)(params, X, Y, **expected)
    assert_close(gradient, jax.tree.map(lambda leaf: 3 * leaf, by_autodiff), 1e-5)
    _, slope = jax.jvp(differentiable_loss(program, batch), (params,), (by_autodiff,))
    np.testing.assert_allclose(slope, 3 * optax.tree.norm(by_autodiff, squared=True), rtol=1e-5)


@pytest.mark.parametrize("compute", [None, "bfloat16"])
@pytest.mark.parametrize("with_mesh", [False, True])
def test_the_compiled_step_leaves_out_a_loss_that_is_not_read(problem, compute, with_mesh):
    params, X, Y = problem
    mesh = as_mesh(jax.make_mesh((1, 1), ("data", "model"))) if with_mesh else None
    objective = as_objective("relu", "identity", "squared_error")

    def operations(optimizer, step):
        program = Program(objective, fcnet.batch_backprop, compute, optimizer, mesh)

        def placed(state, batch):
            state, batch = keep_placed(mesh, state), keep_split(mesh, batch)
            return keep_placed(mesh, step(program, optimizer, state, batch))

        state = State(params, optimizer.init(params))
        text = jax.jit(placed).lower(state, Data(X, Y, None)).compile().as_text()
        return Counter(re.findall(r"^ .* ([a-z-]+)\(", text, re.MULTILINE))

    def without_loss(program, optimizer, state, batch):
        gradient = in_place(batch_gradient(program, state.params, batch))
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        return State(optax.apply_updates(state.params, updates), opt_state)

    adam = optax.adam(0.1)
    assert operations(adam, descend) == operations(adam, without_loss)

    def reading(program, optimizer, state, batch):
        after = descend(program, optimizer, state, batch)
        value = batch_loss(program, state.params, batch)
        return after._replace(params=jax.tree.map(lambda leaf: leaf + value, after.params))

    assert operations(adam, reading) != operations(adam, without_loss)


def recorder(name):
    """A transformation that needs one of the arguments for the loss, and stores a number of it."""

    def update(updates, state, params=None, **extra):
        given = extra[name](params) if name == "value_fn" else extra[name]
        return updates, optax.tree.norm(given)

    start = optax.GradientTransformationExtraArgs(lambda params: jnp.zeros(()), update)
    return optax.chain(start, optax.sgd(0.1))


@pytest.mark.parametrize("name", ["value", "grad", "value_fn"])
def test_each_argument_for_the_loss_is_given_by_itself(problem, run, name):
    params, X, Y = problem
    run = partial(run, optimizer=recorder(name), steps=1, precision="float32")
    loss, gradient = jax.value_and_grad(fcnet.mean_loss)(params, X, Y, activation="tanh")
    expected = optax.tree.norm(gradient) if name == "grad" else loss
    np.testing.assert_allclose(run().opt_state[0], expected, rtol=1e-5)
    mesh = jax.make_mesh((1, 1), ("data", "model"))
    np.testing.assert_allclose(run(mesh=mesh).opt_state[0], expected, rtol=1e-5)
    coarse = run(precision="bfloat16").opt_state[0]
    np.testing.assert_allclose(coarse, expected, rtol=3e-2)


@pytest.mark.parametrize("name", [pytest.param("lbfgs", marks=pytest.mark.slow), "polyak_sgd"])
def test_what_holds_for_adam_holds_for_those_that_read_the_loss(run, problem, tmp_path, name):
    """Checkpoints, an earlier state, early stopping and a mesh."""
    run = partial(run, optimizer=READERS[name], evaluate_every=3, validation=0.25)
    whole = run(checkpoint=fcnet.Checkpoints(tmp_path, keep=9))
    for step in (6, 9):
        saved(tmp_path)[step].unlink()
    resumed = run(checkpoint=tmp_path, resume=True)
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)
    half = run(steps=6)
    other_half = run(steps=3, opt_state=half.opt_state)
    assert jax.tree.structure(other_half.opt_state) == jax.tree.structure(whole.opt_state)
    with_mesh = run(mesh=jax.make_mesh((1, 1), ("data", "model")))
    assert_close(with_mesh.params, whole.params, 1e-9)
    stopped = run(steps=300, patience=2)
    assert stopped.stopped == "patience"
    assert stopped.step == stopped.history.step[stopped.history.validation_loss.argmin()]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", [pytest.param("lbfgs", marks=pytest.mark.slow), "polyak_sgd"])
def test_coarser_arithmetic_trains_too(run, name, precision):
    result = run(optimizer=READERS[name], precision=precision)
    assert result.params[0].W.dtype == jnp.float32
    assert result.history.loss[-1] < 0.5 * result.history.loss[0]


@pytest.mark.parametrize(
    ("optimizer", "numbers"),
    [
        pytest.param(
            optax.lbfgs, {"learning_rate": jnp.array([0.5, 1.0, 0.8])}, marks=pytest.mark.slow
        ),
        pytest.param(
            optax.polyak_sgd,
            {"max_learning_rate": jnp.array([0.1, 0.5, 0.2])},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_member_of_a_sweep_ends_where_its_own_run_does(run, problem, optimizer, numbers):
    one = dict(run.keywords)
    result = sweep(*problem, **one, optimizer=optimizer, hyperparameters=numbers)
    for k in range(3):
        own = {name: float(values[k]) for name, values in numbers.items()}
        alone = run(optimizer=optimizer, hyperparameters=own)
        assert_close(result.member(k), alone.params, 1e-7)
    with pytest.raises(AssertionError):
        assert_close(result.member(0), result.member(1), 1e-7)


@pytest.mark.slow
def test_lbfgs_is_ahead_of_adam_after_ten_times_the_steps_on_the_houses():
    houses = data.sacramento()
    X, Y = ((np.asarray(a) - np.mean(a, 0)) / np.std(a, 0) for a in (houses.X, houses.Y))
    key = jax.random.key(0)
    train = partial(
        fit, fcnet.init(key, (X.shape[1], 16, 1)), X, Y,
        key=key, sampling="full", evaluate_every=None,
    )  # fmt: skip
    start = train(steps=0).history.loss[0]
    lbfgs = train(optimizer=optax.lbfgs(), steps=50).history.loss[0]
    adam = train(steps=500).history.loss[0]
    polyak = train(optimizer=optax.polyak_sgd(), steps=100).history.loss[0]
    assert lbfgs < adam < 0.1 * start
    assert polyak < 0.1 * start


def test_a_name_runs_with_its_default_rate(problem, run):
    for name, row in OPTIMIZERS.items():
        given = run(optimizer=name, hyperparameters=row.keywords)
        jax.tree.map(np.testing.assert_array_equal, run(optimizer=name).params, given.params)
    adam = run(hyperparameters={"learning_rate": 1e-3})
    jax.tree.map(np.testing.assert_array_equal, run().params, adam.params)


def test_numbers_override_the_defaults_one_by_one(run):
    some = run(optimizer="adam", hyperparameters={"b1": 0.5})
    both = run(optimizer="adam", hyperparameters={"b1": 0.5, "learning_rate": 1e-3})
    jax.tree.map(np.testing.assert_array_equal, some.params, both.params)
    with pytest.raises(AssertionError):
        assert_close(some.params, run(optimizer="adam").params, 1e-6)


@pytest.mark.slow
def test_multi_steps_are_optax_own_loop(problem, run):
    """As an object, from a factory, in a sweep, and around an optimiser that reads the loss."""
    for inner in (optax.sgd(0.3), optax.polyak_sgd(max_learning_rate=0.5)):
        several = optax.MultiSteps(inner, every_k_schedule=2)
        result = run(optimizer=several)
        params, _ = with_optax(
            optax.GradientTransformationExtraArgs(several.init, several.update),
            *problem, [np.arange(23)] * 9,
        )  # fmt: skip
        assert_close(result.params, params, 1e-9)
        with pytest.raises(AssertionError):
            assert_close(result.params, run(optimizer=inner).params, 1e-3)

    def factory(learning_rate):
        return optax.MultiSteps(optax.sgd(learning_rate), every_k_schedule=2)

    alone = run(optimizer=optax.MultiSteps(optax.sgd(0.3), every_k_schedule=2))
    made = run(optimizer=factory, hyperparameters={"learning_rate": 0.3})
    assert_close(made.params, alone.params, 1e-9)
    rates = {"learning_rate": jnp.array([0.1, 0.3])}
    together = sweep(*problem, **run.keywords, optimizer=factory, hyperparameters=rates)
    assert_close(together.member(1), alone.params, 1e-7)


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("factory", "numbers", "message"),
    [
        (optax.lbfgs, {"memory_size": 5}, "the optimizer needs memory_size as a constant"),
        ("sgd", {"momentum": 0.9, "nesterov": 1}, "needs nesterov as a constant"),
        ("sgd", {"momentum": 0.9, "nesterov": True}, r"hyperparameters\['nesterov'\] must hold re"),
        ("adam", {"learning_rate": optax.constant_schedule(0.1)}, r"'learning_rate'\] must hold"),
    ],
)
def test_a_constant_among_the_hyperparameters_belongs_in_the_factory(
    problem, run, factory, numbers, message
):
    several = partial(
        sweep, *problem, **{**run.keywords, "key": jax.random.split(run.keywords["key"])}
    )
    for train in (run, several):
        with pytest.raises((TypeError, ValueError), match=f"{message}.*functools.partial"):
            train(optimizer=factory, hyperparameters=numbers)


@pytest.mark.untyped
def test_a_constant_belongs_in_a_partial_factory(run):
    factory = partial(optax.sgd, nesterov=True)
    made = run(optimizer=factory, hyperparameters={"learning_rate": 0.01, "momentum": 0.9})
    ready = run(optimizer=optax.sgd(0.01, 0.9, nesterov=True))
    assert_close(made.params, ready.params, 1e-9)
    with pytest.raises(AssertionError):
        assert_close(made.params, run(optimizer=optax.sgd(0.01, 0.9)).params, 1e-3)


@pytest.mark.untyped
def test_a_factory_gets_what_the_caller_gives_and_no_more(run):
    with pytest.raises(TypeError, match=r"hyperparameters do not fit the optimizer: .*learning_ra"):
        run(optimizer=optax.adam)
    seen = []

    def factory(**numbers):
        seen.append(set(numbers))
        return optax.sgd(0.1)

    run(optimizer=factory, hyperparameters={"rate": 1.0})
    assert seen[0] == {"rate"}


def test_a_sweep_has_the_same_defaults(problem, run):
    keys = jax.random.split(jax.random.key(1), 2)
    result = sweep(*problem, **{**run.keywords, "key": keys, "sampling": "epoch", "batch_size": 6})
    for k in range(2):
        alone = run(
            key=keys[k], sampling="epoch", batch_size=6, hyperparameters={"learning_rate": 1e-3}
        )
        assert_close(result.member(k), alone.params, 1e-9)
    momenta = {"b1": jnp.array([0.5, 0.8])}
    result = sweep(*problem, **run.keywords, hyperparameters=momenta)
    alone = run(hyperparameters={"learning_rate": 1e-3, "b1": 0.8})
    assert_close(result.member(1), alone.params, 1e-7)


def needs(name):
    """A transformation that needs an argument of this name."""

    def update(updates, state, params=None, **extra):
        if name not in extra:
            raise TypeError(f"missing 1 required keyword-only argument: '{name}'")
        return updates, state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def counting(start, after):
    """Gradient descent with a state that is `start`, and `after(state)` after a step."""

    def update(updates, state, params=None):
        return optax.tree.scale(-0.1, updates), after(state)

    return optax.GradientTransformation(lambda params: start, update)


REFUSED = {
    "sam": (optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.1)), "optax.contrib.sam .* grad_fn"),
    "opaque": (
        optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.1), opaque_mode=True),
        "optax.contrib.sam .* grad_fn",
    ),
    "schedule-free": (
        optax.contrib.schedule_free(optax.sgd(0.1), 0.1),
        "schedule_free cannot be used: it evaluates other parameters",
    ),
    "sophia": (optax.contrib.sophia(0.1), "obj_fn must be provided"),
    "own": (needs("hessian"), "argument: 'hessian'. An optimizer gets .* value, grad and value_fn"),
    "in a chain": (optax.chain(optax.adam(0.1), needs("hessian")), "'hessian'"),
    "state's dtype": (
        counting({"count": jnp.zeros((), int)}, lambda state: {"count": state["count"] + 0.5}),
        r"dtypes of its state, but \['count'\] is float(32|64)\[\], expected int(32|64)\[\]",
    ),
    "state's shape": (
        counting(jnp.zeros(()), lambda state: jnp.stack([state, state])),
        r"its state, but it is float(32|64)\[2\], expected float(32|64)\[\]",
    ),
    "state's structure": (
        counting((), lambda state: [1.0]),
        r"but it is \[float.*\], expected \(\)",
    ),
    "updates' shape": (
        optax.stateless(lambda updates, _: jax.tree.map(lambda leaf: leaf[None], updates)),
        r"dtypes of the parameters, but \[0\].W is float.*\[1, 5, 4\], expected",
    ),
    "updates' dtype": (
        optax.stateless(lambda u, _: optax.tree.scale(1j, u)),
        "raised TypeError: its updates are complex numbers",
    ),
    "other layout": (optax.lookahead(optax.sgd(0.1), 5, 0.5), "raised AttributeError"),
}


@pytest.mark.untyped
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_before_anything_is_traced(problem, run, name):
    optimizer, message = REFUSED[name]

    def gradient(*arguments, **choices):
        raise AssertionError("traced")

    for train in (run, partial(sweep, *problem, **run.keywords)):
        train = partial(train, optimizer=optimizer, gradient=gradient)
        if train.func is not fit:
            train = partial(train, key=jax.random.split(jax.random.key(0), 2))
        with pytest.raises(ValueError, match=message):
            train()
    with pytest.raises(ValueError, match=r"write the loop with optax and fcnet\.batch_backprop"):
        run(optimizer=optimizer)

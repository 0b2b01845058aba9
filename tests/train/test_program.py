"""The compiled loop: rows that are gathered for several steps are those of each step."""

from threading import Event
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import optax
import pytest
from support.problems import assert_close

import fcnet
from fcnet.losses import as_objective
from fcnet.train import program
from fcnet.train.program import advance, rows_of_step, steps_at_once
from fcnet.train.types import Batches, Data, Program, State, Window

RATE = {"learning_rate": jnp.asarray(0.05)}
BLOCK, B = 50, 47
PROGRAM = Program(
    as_objective("relu", "identity", "squared_error"), fcnet.batch_backprop, None, optax.sgd
)

pytestmark = pytest.mark.usefixtures("exact_products")


@pytest.fixture(autouse=True, scope="module")
def several_steps_at_once():
    """Whatever the backend, rows are gathered for some steps, but not for a whole block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "GATHER_BYTES", {jax.default_backend(): 2**17})
        advance.clear_cache()
        yield
    advance.clear_cache()


@pytest.fixture
def problem(key):
    X = jax.random.normal(key, (400, 150))
    data = Data(X, jnp.abs(X[:, :1]), jnp.linspace(0.5, 1.5, 400))
    rows, masks = jax.random.split(key)
    indices = jax.random.randint(rows, (BLOCK, B), 0, 400)
    batches = Batches(indices, jax.random.bernoulli(masks, 0.8, (BLOCK, B)))
    return fcnet.init(key, (150, 3, 1)), data, batches


@jax.jit
def step(params, X, Y, weights):
    gradient = jax.grad(fcnet.mean_loss)(params, X, Y, weights=weights)
    return jax.tree.map(lambda p, g: p - RATE["learning_rate"] * g, params, gradient)


def one_by_one(params, data, batches, first, last):
    """The steps in plain Python, each on rows of its own."""
    for i in range(first, last):
        rows = batches.indices[i]
        weights = data.weights[rows] * batches.mask[i]
        params = step(params, data.X[rows], data.Y[rows], weights)
    return params


@pytest.mark.parametrize("window", [(0, 21), (3, 4), (7, 7), (BLOCK - 5, BLOCK), (25, BLOCK)])
@pytest.mark.parametrize("ahead", [True, False])
def test_a_window_of_a_block_is_its_steps_one_by_one(problem, window, ahead):
    params, data, batches = problem
    length = steps_at_once(Window(data, batches, 0, BLOCK))
    assert 1 < length < 21
    assert BLOCK % length, "no gathering would reach past the block's end"

    def run(first, last):
        state = State(jax.tree.map(jnp.array, params), optax.sgd(0.05).init(params))
        window = Window(data, batches, first, last)
        return advance(PROGRAM, state, window, RATE, gather_ahead=ahead).params

    first, last = window
    assert_close(run(first, last), one_by_one(params, data, batches, first, last), 1e-5)
    shifted = one_by_one(params, data, batches, max(first - 1, 0), min(last + 1, BLOCK))
    with pytest.raises(AssertionError):
        assert_close(run(first, last), shifted, 1e-5)


def test_rows_are_gathered_one_by_one_if_long_or_of_a_small_table(problem):
    shapes = [(9, 10**4), (2**15, 1), (2**13, 1)]
    tables = [Data(jnp.zeros(shape), jnp.zeros((shape[0], 1)), None) for shape in shapes]
    windows = [Window(data, problem[2], 0, BLOCK) for data in tables]
    assert [steps_at_once(window) for window in windows] == [1, BLOCK, 1]
    assert rows_of_step(windows[0], jnp.asarray(2)).X.shape == (B, 10**4)


def test_a_backend_without_a_limit_gathers_step_by_step(problem, monkeypatch):
    monkeypatch.setattr(program, "GATHER_BYTES", {})
    assert steps_at_once(Window(*problem[1:], 0, BLOCK)) == 1


@pytest.mark.untyped
def test_what_could_not_be_compiled_is_tried_again(monkeypatch):
    outcomes, asked = [MemoryError("the device is full"), "a program"], Event()

    def compile():
        asked.wait()
        if isinstance(outcome := outcomes.pop(0), Exception):
            raise outcome
        return outcome

    lowered = SimpleNamespace(compile=compile)
    monkeypatch.setattr(program, "advance", SimpleNamespace(lower=lambda *_: lowered))
    failing = program.compile_ahead("mine", (), (), ())
    asked.set()
    with pytest.raises(MemoryError):
        failing.result()
    assert program.compile_ahead("mine", (), (), ()).result() == "a program"
    assert program.compile_ahead("mine", (), (), ()).result() == "a program"
    assert not outcomes
    program._compiling.cache_clear()

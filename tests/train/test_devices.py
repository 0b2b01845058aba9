"""The programs of training, lowered here for the devices that this machine does not have."""

import sys
from functools import partial

import jax
import numpy as np
import pytest
from jax import export

import fcnet
from fcnet.descent import minibatch_sgd
from fcnet.train import program
from fcnet.train.fit import fit
from fcnet.train.sweep import sweep

PLATFORMS = ("cuda", "tpu")
JITTED = type(jax.jit(lambda: None))
UNFIT = ("f64", "callback")


def unfit(function, *arguments, **choices):
    """What the program of a jitted function has, on one of PLATFORMS, that holds up a device."""
    try:
        exported = export.export(function, platforms=PLATFORMS)(*arguments, **choices)
    except NotImplementedError as error:  # JAX exports no callback at all
        return {word for word in UNFIT if word in str(error)}
    return {word for word in UNFIT if word in exported.mlir_module()}


def lowered(monkeypatch, call):
    """What is unfit in each jitted function of the package that `call()` calls, by its name."""
    found = {}

    def recorded(function):
        def record(*arguments, **choices):
            leaves = jax.tree.leaves((arguments, choices))
            if not any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
                name = function.__name__
                found[name] = found.get(name, set()) | unfit(function, *arguments, **choices)
            return function(*arguments, **choices)

        record.lower = function.lower
        return record

    with monkeypatch.context() as patched:
        for module in [module for name, module in sys.modules.items() if name.startswith("fcnet")]:
            for name, value in list(vars(module).items()):
                if isinstance(value, JITTED):
                    patched.setattr(module, name, recorded(value))
        call()
    return found


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """The loop of a GPU; what is traced for one platform is not used for the other."""
    gpu = {jax.default_backend(): program.INNER_LOOPS["gpu"]}
    monkeypatch.setattr(program, "INNER_LOOPS", gpu)
    monkeypatch.setattr(program, "GATHER_BYTES", {})
    program.advance.clear_cache()
    yield
    program.advance.clear_cache()


def run(problem, key, **choices):
    return partial(fit, *problem, key=key, steps=9, **{"batch_size": 6, **choices})


RUNS = {
    "algorithm2": {"validation": 0.3},
    "epoch": {"sampling": "epoch", "weights": np.arange(1.0, 24.0), "precision": "bfloat16"},
    "with_replacement": {"sampling": "with_replacement", "optimizer": "lion"},
    "full": {"sampling": "full", "batch_size": None, "gradient": "autodiff"},
}


@pytest.mark.parametrize("choices", RUNS.values(), ids=RUNS)
def test_a_run_has_nothing_in_float64_and_nothing_of_the_host(problem, key, choices, monkeypatch):
    found = lowered(monkeypatch, run(problem, key, **choices))
    assert {"advance", "evaluate", "_init"} <= found.keys()
    assert set().union(*found.values()) == set()


@pytest.mark.usefixtures("as_on_a_gpu")
def test_nor_has_the_loop_of_a_gpu(problem, key, monkeypatch):
    found = lowered(monkeypatch, run(problem, key))
    assert found["advance"] == set()


def test_a_sweep_has_neither(problem, key, monkeypatch):
    keys = jax.random.split(key, 3)
    choices = {"batch_size": 6, "steps": 9, "validation": 0.3}
    found = lowered(monkeypatch, lambda: sweep(*problem, key=keys, **choices))
    assert {"advance_members", "measure_members", "keep_better", "_table"} <= found.keys()
    assert set().union(*found.values()) == set()


def test_a_search_for_the_bad_step_has_neither(problem, key, monkeypatch):
    def diverge():
        with pytest.raises(fcnet.NonFiniteError):
            run(problem, key, optimizer="sgd", hyperparameters={"learning_rate": 1e4})()

    found = lowered(monkeypatch, diverge)
    assert found["last_finite"] == set()


def test_minibatch_sgd_and_a_gradient_have_neither(problem, key, monkeypatch):
    choices = {"key": key, "learning_rate": 0.1, "batch_size": 6, "steps": 9}
    found = lowered(monkeypatch, lambda: minibatch_sgd(*problem, **choices))
    assert found["_descend_batches"] == set()
    assert unfit(jax.jit(fcnet.batch_backprop), *problem) == set()


def in_double(params, X, Y, **choices):
    """The gradient, through float64."""
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: leaf.astype("float64") * 0.1, params)
        narrow = jax.tree.map(lambda leaf: (leaf * 10).astype("float32"), wide)
    return fcnet.batch_backprop(narrow, X, Y, **choices)


def on_the_host(params, X, Y, **choices):
    """The gradient, with the examples handed through Python."""
    X = jax.pure_callback(lambda X: X, jax.ShapeDtypeStruct(X.shape, X.dtype), X)
    return fcnet.batch_backprop(params, X, Y, **choices)


@pytest.mark.parametrize(("gradient", "word"), [(in_double, "f64"), (on_the_host, "callback")])
def test_what_holds_up_a_device_is_found(problem, key, gradient, word, monkeypatch):
    found = lowered(monkeypatch, run(problem, key, gradient=gradient))
    assert found["advance"] == {word}
    assert found["evaluate"] == set()
    assert unfit(jax.jit(gradient), *problem) == {word}

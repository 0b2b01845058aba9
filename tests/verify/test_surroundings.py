"""What a candidate changes outside of the calls is put back, and the report says so."""

import copy
import pickle
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import candidate_manners as manners
from support.correct_candidates import LAYOUTS, alone, data, network

import fcnet


def leaves_traces(function):
    def backward(*arguments):
        np.random.seed(20261)
        random.random()
        np.seterr(all="raise")
        return function(*arguments)

    return backward


def states():
    return [pickle.dumps(get()) for get in (np.random.get_state, random.getstate, np.geterr)]


def squares(x):
    return (x**2).sum()


CHECKS = {
    "check": lambda wrap: fcnet.check(wrap(alone()), network(), *data(5), batched=True),
    "check_gradient": lambda wrap: fcnet.check_gradient(
        wrap(lambda x: 2 * x), lambda x: jnp.sum(x**2), np.ones(3)
    ),
}


@pytest.mark.untyped  # the type checker draws from `random` itself
@pytest.mark.parametrize("name", CHECKS)
def test_global_state_is_put_back_and_told(name):
    before = states()
    report = CHECKS[name](leaves_traces)
    assert states() == before
    assert report.ok
    (note,) = [note for note in report.notes if "global state" in note]
    assert "np.random, np.seterr" in note
    quiet = CHECKS[name](lambda function: function)
    assert not [note for note in quiet.notes if "global state" in note]


@pytest.mark.untyped
def test_it_is_put_back_when_arguments_are_refused():
    before = states()

    class Odd:
        """An array whose shape cannot be asked for, and that leaves a trace."""

        @property
        def weights(self):
            random.random()
            raise ValueError("no")

    with pytest.raises((TypeError, ValueError)):
        fcnet.check(leaves_traces(alone()), Odd(), *data(5), batched=True)
    assert states() == before


def test_the_control_changes_it():
    before = states()
    state, python_state, errors = np.random.get_state(), random.getstate(), np.geterr()
    leaves_traces(squares)(np.ones(2))
    assert all(now != then for now, then in zip(states(), before, strict=True))
    np.random.set_state(state)
    random.setstate(python_state)
    np.seterr(**errors)


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize(
    ("flag", "value"), [("jax_enable_x64", True), ("jax_numpy_dtype_promotion", "strict")]
)
def test_the_flags_of_jax_are_put_back_and_told(name, flag, value):
    before = dict(jax.config.values)
    assert before[flag] != value

    def sets_the_flag(function):
        def backward(*arguments):
            jax.config.update(flag, value)
            return function(*arguments)

        return backward

    report = CHECKS[name](sets_the_flag)
    assert dict(jax.config.values) == before
    assert report.ok
    note = f"the calls changed the global state of jax.config.{flag}; it was put back"
    assert note in report.notes


@pytest.mark.parametrize("inside", [True, False])
def test_a_flag_is_put_back_though_a_block_hides_it(inside):
    def backward(x):
        jax.config.update("jax_enable_x64", True)
        return 2 * x

    assert not jax.config.jax_enable_x64
    with jax.enable_x64(inside):
        report = fcnet.check_gradient(backward, lambda x: jnp.sum(x**2), np.ones(3))
    assert not jax.config.jax_enable_x64
    assert any("jax.config.jax_enable_x64" in note for note in report.notes)


@pytest.mark.untyped
@pytest.mark.parametrize("draws", [False, True])
def test_the_state_of_pytorch_is_told_only_if_it_changes(draws):
    torch = pytest.importorskip("torch", reason="PyTorch is a dependency of the tests only")
    before = torch.get_rng_state()

    def backward(x):
        return 2 * x + (0 * torch.rand(3).numpy() if draws else 0)

    report = fcnet.check_gradient(backward, lambda x: jnp.sum(x**2), np.ones(3))
    assert report.ok
    assert any("torch.random" in note for note in report.notes) == draws
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["descends", "remembers_in_params", "standardises"])
def test_the_arguments_are_left_as_they_were(name):
    """Of many submissions that are checked on the same arrays, none changes them for the next."""
    arguments = (LAYOUTS["names"].write(network(dtype=np.float64)), *data(5, dtype=np.float64))
    before, own = copy.deepcopy(arguments), jax.tree.leaves(arguments)
    report = fcnet.check(getattr(manners, name), *arguments, batched=True)
    assert report.findings[0].kind in ("mutates_params", "mutates_inputs")
    jax.tree.map(np.testing.assert_array_equal, arguments, before)
    assert all(now is then for now, then in zip(jax.tree.leaves(arguments), own, strict=True))

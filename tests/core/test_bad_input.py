"""Malformed calls: each is refused by the package itself, in words that name the argument."""

import inspect
import itertools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given, settings
from support.malformed_arguments import good
from support.malformed_calls import complaint, malformed
from support.public_calls import PURE
from support.room_calls import room_calls

import fcnet
from fcnet import Activation, Loss

pytestmark = pytest.mark.untyped

CALLS = 2600
OF_ANY_ARGUMENTS = {"check_gradient", "check_vjp"}
"""They take a function of the caller's and its arguments, whatever these are."""


def test_every_public_function_has_a_good_call_to_spoil() -> None:
    functions = {name for name in dir(fcnet) if inspect.isfunction(getattr(fcnet, name))}
    assert good().keys() == functions - OF_ANY_ARGUMENTS


def test_malformed_calls_are_refused() -> None:
    thrown: Counter[tuple[str, str]] = Counter()

    @settings(max_examples=CALLS)
    @given(malformed())
    def throw(case: tuple[str, str, dict[str, Any]]) -> None:
        function, argument, call = case
        thrown[function, argument] += 1
        assert complaint(getattr(fcnet, function), argument, call) is None

    throw()
    assert thrown.total() >= 2000
    assert thrown.keys() >= {(name, argument) for name in good() for argument in good()[name]}


ODD = (3, "abc", None, np.ones((2, 2)), len)


@pytest.mark.filterwarnings("ignore")
def test_functions_of_the_public_modules_refuse_in_the_packages_own_words() -> None:
    """Some odd values are fine for some arguments; no error is another library's."""
    refused, told = 0, []
    for name, (function, call) in room_calls().items():
        assert complaint(function, "", call) == "accepted", name
        for argument, odd in itertools.product(call, ODD):
            fault = complaint(function, "", {**call, argument: odd})
            refused += fault is None
            if fault not in (None, "accepted") and "FileNotFoundError" not in fault:
                told.append(f"{name}({argument}={odd!r}): {fault}")
        plt.close("all")
    assert told == []
    assert refused > 300


def test_a_careless_refusal_is_noticed() -> None:
    def broadcasts(x: Any) -> Any:
        return jnp.ones(3) + x

    def asserts(x: Any) -> Any:
        assert np.ndim(x) == 1

    def does_not_name_it(x: Any) -> Any:
        raise ValueError("wrong shape")

    call, here = {"x": np.ones((3, 1))}, Path(__file__).parent
    assert complaint(broadcasts, "x", call) == "accepted"
    assert complaint(broadcasts, "x", {"x": np.ones(2)}).startswith("raised in")
    assert complaint(asserts, "x", call).startswith("raised AssertionError")
    assert complaint(does_not_name_it, "x", call, here).startswith("does not name x")
    assert all(complaint(getattr(fcnet, name), "n", good()[name]) == "accepted" for name in PURE)


@pytest.mark.parametrize(
    ("function", "changed", "error", "message"),
    [
        (
            "forward",
            {"x": np.ones((3, 1))},
            ValueError,
            "x has shape (3, 1), expected (3,): this function takes one example; "
            "jax.vmap it over the rows of many",
        ),
        (
            "mean_loss",
            {"params": ((np.ones((1, 3)), np.zeros(1)),), "Y": np.ones(4)},
            ValueError,
            "Y has shape (4,), expected (n, 1), one example in each row; write Y[:, None]",
        ),
        (
            "mean_loss",
            {"params": ((np.ones((1, 3)), np.zeros(1)),), "Y": pd.Series(np.ones(4))},
            ValueError,
            "Y has shape (4,), expected (n, 1), one example in each row; "
            "write np.asarray(Y)[:, None]",
        ),
        (
            "mean_loss",
            {"Y": np.arange(4) % 2, "loss": "softmax_cross_entropy"},
            ValueError,
            "Y has shape (4,), expected (n, 2), one example in each row; for numbers of classes, "
            "write jax.nn.one_hot(Y, 2)",
        ),
        (
            "mean_loss",
            {"Y": np.ones((4, 2), bool)},
            TypeError,
            "Y must hold real numbers of at most 64 bits, got dtype bool; write Y.astype(float)",
        ),
        (
            "mean_loss",
            {"X": scipy.sparse.csr_array(np.ones((4, 3)))},
            TypeError,
            "X must hold real numbers of at most 64 bits, got dtype object; write X.toarray(), "
            "since it is sparse",
        ),
        (
            "mean_loss",
            {"X": pd.DataFrame({"a": [1] * 4, "b": [0.5] * 4, "c": [True] * 4})},
            TypeError,
            "X must hold real numbers of at most 64 bits, got dtype object; "
            "write np.asarray(X).astype(float)",
        ),
        (
            "mean_loss",
            {"X": pd.DataFrame({"a": [1] * 4, "b": [0.5] * 4, "c": ["1", "x", "y", "z"]})},
            TypeError,
            "X must hold real numbers of at most 64 bits, got dtype object; 'x' at index (1, 2) is "
            "no number",
        ),
        (
            "mean_loss",
            {"Y": np.array([["1", "2"]] * 4)},
            TypeError,
            "Y must hold real numbers of at most 64 bits, got dtype <U1; write Y.astype(float)",
        ),
        (
            "mean_loss",
            {"activation": jnp.tanh},
            TypeError,
            "activation must be a name such as 'relu', or fcnet.Activation(name, function, "
            "derivative), got PjitFunction",
        ),
        (
            "minibatch_sgd",
            {"learning_rate": optax.constant_schedule(0.1)},
            TypeError,
            "learning_rate must be a number, got a function: fcnet.fit takes a schedule, as in "
            "optimizer=optax.sgd(schedule)",
        ),
        (
            "fit",
            {"hyperparameters": {"learning_rate": np.nan}},
            ValueError,
            "hyperparameters['learning_rate'] must be finite, got nan",
        ),
        (
            "mean_loss",
            {"Y": np.ones((5, 2))},
            ValueError,
            "X has 4 examples but Y has 5: expected one target each",
        ),
        (
            "batch_backprop",
            {"X": np.ones((0, 3)), "Y": np.ones((0, 2))},
            ValueError,
            "X has no examples: expected n >= 1",
        ),
        (
            "mean_loss",
            {"X": np.where(np.arange(12) == 7, np.nan, 1).reshape(4, 3)},
            ValueError,
            "X must be finite, got nan at index (2, 1); "
            "remove, impute or rescale such entries first",
        ),
        (
            "batch_backprop",
            {"Y": np.array([[0, 1], [1, 0], [0.5, 1.5], [2, 2]])},
            ValueError,
            "Y[2] must be probabilities, between 0 and 1, for logistic, got [0.5 1.5]",
        ),
        (
            "forward",
            {"params": [(np.ones((1, 3)), np.ones(1))] * 2},
            ValueError,
            "params[1].W has shape (1, 3), but the layer below has 1 units: expected (1, 1)",
        ),
        (
            "forward",
            {"params": [(np.ones((2, 3)), np.ones((2, 1)))]},
            ValueError,
            "params[0].b has shape (2, 1), expected (2,): one bias for each row of W",
        ),
        (
            "forward",
            {"params": [(np.ones((1, 3), np.int32), np.ones(1))]},
            TypeError,
            "params[0].W must be floating, of 16 to 64 bits, got int32: "
            "integers have no gradient; cast with .astype(float)",
        ),
        (
            "gradient_descent",
            {"X": np.full((4, 3), 2**40)},
            ValueError,
            "X must fit int32, got integers up to 1099511627776; cast with .astype(float)",
        ),
        (
            "forward",
            {"activation": "rely"},
            ValueError,
            "unknown activation 'rely'; known are 'relu', 'sigmoid', 'tanh', 'identity', "
            "'leaky_relu', 'softplus', 'gelu', 'silu', 'elu'",
        ),
        (
            "forward",
            {"activation": "softmax"},
            ValueError,
            "softmax is no activation, which takes each number alone; "
            "the loss 'softmax_cross_entropy' contains it",
        ),
        (
            "example_loss",
            {"loss": "mse"},
            ValueError,
            "unknown loss 'mse'; known are 'squared_error', 'logistic', "
            "'softmax_cross_entropy', 'poisson'",
        ),
        (
            "sample_batch",
            {"batch_size": 10},
            ValueError,
            "batch_size must be between 1 and 9, got 10",
        ),
        (
            "gradients",
            {"delta": (np.ones(2),)},
            ValueError,
            "delta has shapes [(2,)], expected [(2,), (2,)]: "
            "one delta^[k] for each z^[k] of the trace",
        ),
        (
            "init",
            {"sizes": {3, 2}},
            TypeError,
            "sizes must be a sequence (d, m_1, ..., m_r), got set",
        ),
    ],
)
def test_a_refusal_says_what_was_got_what_was_expected_and_what_to_do(
    function: str, changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        getattr(fcnet, function)(**{**good()[function], **changed})


def test_under_jit_shapes_are_checked_and_values_cannot_be() -> None:
    call = good()["mean_loss"]
    with pytest.raises(ValueError, match="one example in each row"):
        jax.jit(lambda Y: fcnet.mean_loss(call["params"], call["X"], Y))(call["Y"][:, 0])
    loss = jax.jit(lambda Y: fcnet.mean_loss(call["params"], call["X"], Y))(call["Y"] * jnp.nan)
    assert jnp.isnan(loss)


@pytest.mark.parametrize(
    ("rows", "mine"),
    [
        ("activation", Activation("half", lambda z: z / 2, lambda z: z * 0 + 0.5)),
        ("loss", Loss("hinge", lambda o, y: abs(o - y).sum(), lambda o, y: jnp.sign(o - y))),
    ],
)
def test_rows_of_the_callers_own_are_good_input(rows: str, mine: Any) -> None:
    call = {**good()["backprop"], rows: mine}
    assert complaint(fcnet.backprop, rows, call) == "accepted"

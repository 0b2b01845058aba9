"""`report.example`: pasted as it stands, it makes an input on which the program is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.correct_candidates import LAYOUTS, data, gradient, in_layout, network
from support.pairs import diagonal

import fcnet

pytestmark = pytest.mark.untyped


def spoilt(params, X, Y):
    """dW1 is 1 % too large."""
    loss, ((dW1, db1), last) = gradient(params, X, Y)
    return loss, [(1.01 * dW1, db1), last]


def pasted(example):
    if "torch." in example:
        pytest.importorskip("torch")
    names = {}
    exec(example, names)
    return [names[name] for name in ("params", "x", "y")]


@pytest.mark.parametrize(
    ("name", "sizes"),
    diagonal(["pairs", "flat list", "names", "in, out", "PyTorch"], [(3, 4, 2), (30, 20, 2)]),
)
def test_the_example_shows_the_fault_in_the_users_own_layout(name, sizes):
    params = LAYOUTS[name].write(network(sizes))
    report = fcnet.check(in_layout(name, spoilt), params, *data(5, sizes), batched=True)
    assert report.verdict == "wrong"
    assert len(report.example) < 2500
    assert ("default_rng" in report.example) == (sizes[0] == 30)
    own, X, Y = pasted(report.example)
    assert len(X) == len(Y) == 1
    assert jax.tree.structure(own) == jax.tree.structure(params)
    wrong, right = (
        jax.tree.leaves(in_layout(name, function)(own, X, Y)) for function in (spoilt, gradient)
    )
    assert sum(not np.allclose(a, b) for a, b in zip(wrong, right, strict=True)) == 1
    assert " is " in report.example.splitlines()[-1]
    assert ", and must be " in report.example.splitlines()[-1]
    assert "report.example" in str(report)
    assert report.to_dict()["example"] == report.example
    assert "<pre" in report.to_html()


def test_a_right_program_has_no_example():
    report = fcnet.check(gradient, network(), *data(5), batched=True)
    assert report.ok
    assert report.example == ""
    assert "<pre" not in report.to_html()


def test_a_fault_of_batches_is_shown_by_two_examples():
    def summed(params, X, Y):
        return [(len(X) * W, len(X) * b) for W, b in gradient(params, X, Y)[1]]

    report = fcnet.check(summed, network(), *data(5), batched=True)
    assert [len(array) for array in pasted(report.example)[1:]] == [2, 2]


def test_a_fault_that_shows_on_special_inputs_only_is_listed_number_by_number():
    def clipped(params, x, y):
        """The gradient is cut where the input is large, which no input of simple numbers is."""
        (_, grads), large = gradient(params, x[None], y[None]), abs(x).max() > 30
        return [(W * (1 - large / 2), b) for W, b in grads]

    params, (X, Y) = network(), data(1)
    report = fcnet.check(clipped, params, X[0], Y[0])
    assert report.verdict == "wrong"
    assert abs(pasted(report.example)[1]).max() > 30


def test_check_gradient_lists_its_arguments():
    p = {"W": np.float32([[1.5, -0.1]])}
    report = fcnet.check_gradient(lambda p: {"W": 2.5 * p["W"]}, lambda p: jnp.sum(p["W"] ** 2), p)
    assert report.example == "args = ({'W': np.array([[1.5, -0.1]], np.float32)},)"
    assert not fcnet.check_gradient(
        lambda p: {"W": 2 * p["W"]}, lambda p: jnp.sum(p["W"] ** 2), p
    ).example


def test_check_vjp_lists_arguments_and_cotangents():
    square = jax.custom_vjp(lambda x: x * x)
    square.defvjp(lambda x: (x * x, x), lambda x, g: (3 * g * x,))
    report = fcnet.check_vjp(square, lambda x: x * x, jnp.arange(3.0))
    first, second = report.example.splitlines()
    assert first == "args = (jnp.array([0.0, 1.0, 2.0], jnp.float32),)"
    assert second.startswith("cotangents = [jnp.array([")


def test_numbers_that_differ_are_printed_with_the_digits_in_which_they_differ():
    def nudged(params, X, Y):
        (dW1, db1), last = gradient(params, X, Y)[1]
        return [(dW1, db1 + 1e-9 * np.cos(np.arange(len(db1)) * len(X))), last]

    report = fcnet.check(nudged, network(), *data(5), batched=True)
    (finding,) = report.findings
    assert finding.kind == "unknown"
    got, right = finding.message.split("for instance ")[1].split(" must be")[0].split(" where ")
    assert got != right
    assert abs(float(got) - float(right)) < 1e-8


def test_an_example_in_bfloat16_can_be_pasted():
    def narrow(pairs):
        return [tuple(array.astype(jnp.bfloat16) for array in pair) for pair in pairs]

    def doubled(params, X, Y):
        wide = [tuple(array.astype(float) for array in pair) for pair in params]
        grads = gradient(wide, X.astype(float), Y.astype(float))[1]
        return narrow([(2 * dW, db) for dW, db in grads])

    X, Y = (array.astype(jnp.bfloat16) for array in data(5, (4, 2, 2)))
    report = fcnet.check(doubled, narrow(network((4, 2, 2))), X, Y, batched=True)
    own, x, _ = pasted(report.example)
    assert own[0][0].dtype == x.dtype == jnp.bfloat16


def test_the_example_of_a_step_says_what_is_compared():
    def step(params, X, Y):
        pairs = zip(params, gradient(params, X, Y)[1], strict=True)
        return [(W - 0.5 * dW, b - 0.25 * db) for (W, b), (dW, db) in pairs]

    report = fcnet.check(step, network(), *data(5), batched=True, learning_rate=0.25)
    own, X, Y = pasted(report.example)
    (before, _), (after, _) = own[0], step(own, X, Y)[0]
    said = report.example.splitlines()[-1]
    assert "step(params, x, y), (before - after) / 0.25: params[1].W" in said
    wrong, right = (before - after) / 0.25, gradient(own, X, Y)[1][0][0]
    assert np.allclose(wrong, 2 * right)

"""`fcnet.check_gradient`: the arguments that it takes, and how it calls a gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.loss_of_pytree import arguments, by_hand, function

import fcnet

pytestmark = pytest.mark.untyped

KNOWN = {
    "rows that a mask takes": lambda x, k: (x[k > 1] ** 2).sum(),
    "a label": lambda x, k: x[int(k[0])] ** 2,
    "the first few": lambda x, k: (x[: k.max()] ** 2).sum(),
}
"""Functions that JAX can trace if it knows the integers k."""


@pytest.mark.parametrize("array", [np.array, jnp.array])
@pytest.mark.parametrize("name", KNOWN)
def test_shapes_may_depend_on_integers(name, array):
    function = KNOWN[name]
    x, k = np.array([0.3, -1.2, 2.4], np.float32), array([1, 2, 2])
    assert fcnet.check_gradient(jax.grad(function), function, x, k).ok
    twice = fcnet.check_gradient(lambda x, k: 2 * jax.grad(function)(x, k), function, x, k)
    assert twice.verdict == "wrong"


def test_integers_have_the_methods_of_jax():
    """Arrays of NumPy have a method `dot` that does not take what JAX traces."""
    x, k = np.array([0.3, -1.2, 2.4]), np.array([1, 2, 2])
    assert fcnet.check_gradient(lambda x, k: 2 * k * x, lambda x, k: k.dot(x**2), x, k).ok


@pytest.mark.parametrize("library", ["jax", "torch"])
def test_jax_and_torch_functions_are_checked(library):
    def function(x, w):
        return jnp.sum(jnp.tanh(w * x))

    if library == "torch":
        torch = pytest.importorskip("torch")
        x, w = torch.tensor([0.5, -0.25]), torch.tensor([1.5, 2.5])

        def gradient(x, w):
            return w * (1 - torch.tanh(w * x) ** 2)
    else:
        x, w = jnp.array([0.5, -0.25]), jnp.array([1.5, 2.5])
        gradient = jax.jit(lambda x, w: w * (1 - jnp.tanh(w * x) ** 2))

    assert fcnet.check_gradient(gradient, function, x, w).ok
    wrong = fcnet.check_gradient(lambda x, w: gradient(x, w) / w, function, x, w)
    assert wrong.verdict == "wrong"


@pytest.mark.parametrize("factor", [1, 2.01])
@pytest.mark.parametrize("function", [lambda x: jnp.sum(x**2), lambda x: (x**2).sum()])
def test_tensors_may_require_a_gradient(function, factor):
    torch = pytest.importorskip("torch")
    x = torch.tensor([0.5, -0.25], requires_grad=True)
    report = fcnet.check_gradient(lambda x: factor * 2 * x, function, x)
    assert report.verdict == ("right" if factor == 1 else "wrong")


@pytest.mark.parametrize(
    ("error", "match", "function", "x"),
    [
        (TypeError, "scalar", lambda x: x, np.ones(2)),
        (TypeError, "function cannot be called .*: it raised", lambda x: 1 / 0, np.ones(2)),
        (TypeError, "nothing has a gradient", lambda x: 1.0 * x, 3),
        (TypeError, "real and imaginary parts", lambda z: jnp.sum(abs(z)), np.ones(2) + 1j),
        (ValueError, "x must be finite", lambda x: jnp.sum(x), np.array([np.nan])),
    ],
)
def test_bad_arguments_are_refused(error, match, function, x):
    with pytest.raises(error, match=match):
        fcnet.check_gradient(np.ones_like, function, x)


def test_the_gradient_is_called_few_times():
    calls = []

    def gradient(x):
        calls.append(x)
        return 2 * x

    report = fcnet.check_gradient(gradient, lambda x: jnp.sum(x**2), np.ones(3))
    assert report.ok
    assert len(calls) <= 10 * len(report.cases)
    assert len(calls) <= 12


class Counter:
    """Right at first, then not: it adds up."""

    def __init__(self):
        self.total = 0

    def __call__(self, x):
        self.total = self.total + 2 * x
        return self.total


def noisy(draw):
    return lambda x: 2 * x * (1 + 1e-3 * draw.uniform(size=x.shape))


def fails_later():
    calls = []

    def gradient(x):
        calls.append(x)
        if len(calls) > 1:
            raise RuntimeError("once only")
        return 2 * x

    return gradient


MANNERS = {
    "adds up between calls": (Counter, "stateful"),
    "random": (lambda: noisy(np.random.default_rng(0)), "nondeterministic"),
    "raises": (lambda: lambda x: 1 / 0, "raises"),
    "raises the second time": (fails_later, "stateful"),
}


@pytest.mark.parametrize("name", MANNERS)
def test_bad_manners_are_findings(name):
    make, kind = MANNERS[name]
    report = fcnet.check_gradient(make(), lambda x: jnp.sum(x**2), np.array([1.0, -2.0, 3.0]))
    assert report.verdict == "wrong"
    assert kind in [finding.kind for finding in report.findings], str(report)


@pytest.mark.parametrize("slip", [False, True])
def test_a_layer_that_works_in_its_argument_is_warned(slip):
    """As ReLU layers do with the gradient from above, which no one needs afterwards."""

    def relu_backward(dout, x):
        dout[x <= 0] = 0
        return np.maximum(x, 0), dout * (2 if slip else 1)

    x, dout = np.random.default_rng(0).normal(size=(2, 3, 4))
    report = fcnet.check_gradient(relu_backward, lambda d, x: (jax.nn.relu(x) * d).sum(), dout, x)
    assert report.ok != slip, str(report)
    assert ("mutates_inputs", "warning") in [(f.kind, f.severity) for f in report.findings]


def test_integers_that_a_call_changes_are_told_and_are_no_others():
    """Labels from 1 to K that are shifted in place were shifted again by the next call."""

    def shifts(x, k):
        k -= 1
        return np.bincount(k, x, minlength=3)[k]

    x, k = np.array([0.5, -1.0, 3.0]), np.array([1, 3, 1])
    report = fcnet.check_gradient(
        shifts, lambda x, k: (jnp.zeros(3).at[k - 1].add(x) ** 2).sum() / 2, x, k
    )
    assert report.ok, str(report)
    assert [(f.kind, f.severity) for f in report.findings] == [("mutates_inputs", "warning")]
    assert k.tolist() == [1, 3, 1]


def test_a_gradient_that_takes_its_arguments_apart_is_told():
    def taking(params, x, y):
        gradient = by_hand(params, x, y)
        params.pop("W")
        return gradient

    report = fcnet.check_gradient(taking, function, *arguments())
    assert "mutates_inputs" in {finding.kind for finding in report.findings}


def test_a_gradient_that_leaves_the_program_is_told():
    def leaving(params, x, y):
        raise SystemExit(3)

    report = fcnet.check_gradient(leaving, function, *arguments())
    assert [finding.kind for finding in report.findings] == ["raises"]
    assert report.verdict == "wrong"


@pytest.mark.parametrize("fails", [0, 1])
def test_inputs_on_which_a_gradient_fails_are_told(fails):
    """One that answers at one point only is right there, and that is all that is known."""
    own = np.array([0.3, -1.2, 2.4])

    def gradient(x):
        if fails and not np.array_equal(x, own):
            raise ValueError("not what the forward pass was called with")
        return 2 * x

    report = fcnet.check_gradient(gradient, lambda x: jnp.sum(x**2), own)
    assert report.verdict == "right"
    assert [(finding.kind, finding.severity) for finding in report.findings] == [
        ("raises", "warning")
    ] * fails
    for finding in report.findings:
        assert finding.message.startswith(
            "on 7 of 8 inputs it raised ValueError: not what the forward pass was called with"
        )


def test_a_rule_that_fails_for_some_cotangents_is_told():
    @jax.custom_vjp
    def square(x):
        return x * x

    def back(x, g):
        if float(g[0]) > 0:
            raise ValueError("no positive cotangents")
        return (2 * g * x,)

    square.defvjp(lambda x: (x * x, x), back)
    report = fcnet.check_vjp(square, lambda x: x * x, jnp.array([1.0, -2.0]))
    told = [finding.message for finding in report.findings if finding.kind == "raises"]
    assert told, str(report)
    assert all("no positive cotangents" in message for message in told)

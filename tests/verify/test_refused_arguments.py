"""Arguments that cannot be judged are refused in a sentence, before any line is blamed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.correct_candidates import alone, data, gradient, network

import fcnet

pytestmark = pytest.mark.untyped

X, Y = data(6)


def squares(v):
    return (v**2).sum()


def own_activation(function):
    return {"activation": fcnet.Activation("own", function, jnp.ones_like)}


CHECK = {
    "complex x": ((X + 1j, Y), {}, TypeError, "x must hold real numbers, got complex128"),
    "complex y": ((X, Y + 1j), {}, TypeError, "y must hold real numbers, got complex128"),
    "no examples": (
        (X[:0], Y[:0]),
        {},
        ValueError,
        "which holds no numbers",
    ),
    "a sum for an activation": (
        (X, Y),
        own_activation(jnp.sum),
        ValueError,
        r"activation.function of 'own'.*must return an array of shape \(3,\), got shape \(\)",
    ),
    "l2 that divides by 0": (
        (X, Y),
        {"l2": lambda n: 1 / (n - 1)},
        ValueError,
        "l2 must be a function of any number n of examples; for n = 1 it raised ZeroDivisionError",
    ),
    "l2 in an array": ((X, Y), {"l2": np.array([0.1])}, TypeError, "l2 must be a number"),
    "sizes of one number": ((X, Y), {"sizes": 4}, ValueError, "sizes must be the width"),
    "a penalty without a gradient": (
        (X, Y),
        {"penalty": lambda params: jnp.sqrt(jnp.sum((0 * params[0][0]) ** 2))},
        ValueError,
        "penalty must be finite at your params, and so must its gradient",
    ),
    "a loss that is nan": (
        (X, Y),
        {"loss": fcnet.Loss("logs", lambda o, y: jnp.log(-(o**2)).sum(), jnp.subtract)},
        ValueError,
        "the logs loss of your own input is nan",
    ),
}


@pytest.mark.parametrize("name", CHECK)
def test_check_refuses(name):
    (x, y), options, error, match = CHECK[name]
    with pytest.raises(error, match=match):
        fcnet.check(alone(gradient), network(), x, y, batched=True, **options)


UNITS = [(np.zeros((0, 4)), np.zeros(0)), (np.zeros((2, 0)), np.zeros(2))]


@pytest.mark.parametrize("params", [[], {}, (), [[]], [()]])
def test_no_parameters_are_refused(params):
    with pytest.raises(TypeError, match="must hold one W and one b for each layer, got nothing"):
        fcnet.check(alone(gradient), params, X, Y, batched=True)


@pytest.mark.parametrize(
    ("params", "name"), [(UNITS, r"params\[0\]\[0\]"), (np.zeros(0), "params")]
)
def test_a_layer_without_units_is_refused(params, name):
    match = rf"^{name} of shape \(0,.*\) has no numbers: each layer needs units and inputs"
    with pytest.raises(ValueError, match=match):
        fcnet.check(alone(gradient), params, X, Y, batched=True)


@pytest.mark.parametrize("sizes", [np.array([4, 3, 2]), tuple(np.array([4, 3, 2]))])
def test_sizes_may_be_integers_of_numpy(sizes):
    assert fcnet.check(alone(gradient), network(), X, Y, batched=True, sizes=sizes).ok


V, KEY = jnp.arange(1.0, 4.0), jax.random.key(0)
OTHERS = {
    "a key beside arrays": (
        lambda: fcnet.check(alone(gradient), [*jax.tree.leaves(network()), KEY], X, Y),
        TypeError,
        r"^params\[4\] must be floating, of 16 to 64 bits, got key<fry>",
    ),
    "a gradient that is an array": (
        lambda: fcnet.check_gradient(2 * V, squares, V),
        TypeError,
        r"expected a function to be called with \(v\), got Array",
    ),
    "a rule that is a number": (
        lambda: fcnet.check_vjp(3, squares, V),
        TypeError,
        r"expected a function to be called with \(v\), got 3",
    ),
    "more digits than JAX has": (
        lambda: fcnet.check_vjp(squares, squares, np.ones(2, np.longdouble)),
        TypeError,
        "an argument has the dtype .*, which JAX does not have: cast it",
    ),
    "eight bits": (
        lambda: fcnet.check_gradient(lambda v: v, squares, jnp.ones(2, jnp.float8_e4m3fn)),
        TypeError,
        "v holds float8_e4m3fn, expected one of float64, float32, float16, bfloat16",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_checks_refuse(name):
    call, error, match = OTHERS[name]
    with pytest.raises(error, match=match):
        call()


def test_a_first_argument_without_a_gradient_is_told():
    report = fcnet.check_gradient(lambda i, v: None, lambda i, v: squares(v), 1, V)
    (finding,) = report.findings
    assert finding.kind == "none_leaf"
    assert finding.message.startswith("the gradient of v is None, expected an array")
    assert fcnet.check_gradient(lambda i, v: 2 * v, lambda i, v: squares(v), 1, V).ok
    assert fcnet.check_gradient(lambda i, v: (None, 2 * v), lambda i, v: squares(v), 1, V).ok


@pytest.mark.parametrize(("factor", "verdict"), [(1, "right"), (2, "wrong")])
def test_tensors_may_be_the_arguments_of_a_rule(factor, verdict):
    torch = pytest.importorskip("torch")
    rule = jax.custom_vjp(lambda v: v * 2)
    rule.defvjp(lambda v: (v * 2, None), lambda _, g: (factor * 2 * g,))
    assert fcnet.check_vjp(rule, lambda v: v * 2, torch.arange(1.0, 4.0)).verdict == verdict

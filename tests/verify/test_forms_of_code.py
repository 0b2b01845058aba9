"""Code in forms that people have: right code is right in each, and a slip is found in each."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.correct_candidates import data, network
from support.pairs import diagonal

import fcnet

pytestmark = pytest.mark.untyped

X, Y = data(6)
EYE = np.eye(2)


def two_layers(params, X, dJ_do, relu=np.tanh, slope=lambda z: 1 - np.tanh(z) ** 2):
    (W1, b1), (W2, b2) = params
    z = X @ W1.T + b1
    a = relu(z)
    d2 = dJ_do(a @ W2.T + b2) / len(X)
    d1 = d2 @ W2 * slope(z)
    return [(d1.T @ X, d1.sum(0)), (d2.T @ a, d2.sum(0))]


def softmax(o):
    p = np.exp(o - o.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


@pytest.mark.parametrize("slip", [0, 1])
def test_labels_in_a_list_stay_integers(slip):
    """They index an array, which numbers with a point do not."""

    def backward(params, X, labels):
        return two_layers(params, X, lambda o: softmax(o) - EYE[np.array(labels) - slip])

    report = fcnet.check(
        backward,
        network(),
        X,
        [0, 1, 1, 0, 1, 0],
        activation="tanh",
        loss="softmax_cross_entropy",
        batched=True,
    )
    assert report.ok is not slip
    assert "stateful" not in {finding.kind for finding in report.findings}


def _call(model, x):
    first, last = model.layers
    return last.weight @ jnp.tanh(first.weight @ x + first.bias) + last.bias


def _pytree(name, fields, frozen):
    """A class of models that are pytrees, as those of Equinox are."""
    made = dataclasses.make_dataclass(name, fields, frozen=frozen)
    return jax.tree_util.register_dataclass(made)


LINEAR = {frozen: _pytree("Linear", ["weight", "bias"], frozen) for frozen in (False, True)}
MODEL = {frozen: _pytree("Model", ["layers"], frozen) for frozen in (False, True)}


def model_of(frozen):
    pairs = network()
    return MODEL[frozen]([LINEAR[frozen](jnp.float32(W), jnp.float32(b)) for W, b in pairs])


def loss_of(model, X, Y):
    return jnp.mean(jnp.sum((jax.vmap(partial(_call, model))(X) - Y) ** 2, axis=1)) / 2


FORMS = {
    "gradient": (jax.grad(loss_of), {}),
    "compiled": (jax.jit(jax.grad(loss_of)), {}),
    "with its loss": (jax.value_and_grad(loss_of), {}),
    "step": (
        lambda model, X, Y: jax.tree.map(
            lambda theta, g: theta - 0.5 * g, model, jax.grad(loss_of)(model, X, Y)
        ),
        {"learning_rate": 0.5},
    ),
}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", FORMS)
def test_a_gradient_may_be_a_model_of_the_same_class(name, frozen):
    function, options = FORMS[name]
    model, inputs = model_of(frozen), (jnp.float32(X), jnp.float32(Y))
    before = jax.tree.leaves(model)
    known = {"activation": "tanh", "batched": True, **options}
    report = fcnet.check(function, model, *inputs, **known)
    assert report.ok, str(report)
    assert "layers[0].weight" in str(report)
    assert all(a is b for a, b in zip(jax.tree.leaves(model), before, strict=True))


@pytest.mark.parametrize("name", ["other", "fewer"])
def test_a_gradient_may_be_a_model_with_the_same_attributes(name):
    """`jax.jit` may return the class of an earlier call, if the fields are the same."""
    other = dataclasses.make_dataclass("Other", ["layers"] if name == "other" else ["rest"])
    report = fcnet.check(
        lambda model, X, Y: other(jax.grad(loss_of)(model, X, Y).layers),
        model_of(True), jnp.float32(X), jnp.float32(Y), activation="tanh", batched=True,
    )  # fmt: skip
    assert report.ok == (name == "other"), str(report)


def test_a_wrong_gradient_in_a_model_is_found():
    def backward(model, X, Y):
        g = jax.grad(loss_of)(model, X, Y)
        return dataclasses.replace(
            g, layers=[dataclasses.replace(g.layers[0], bias=2 * g.layers[0].bias), g.layers[1]]
        )

    report = fcnet.check(
        backward, model_of(True), jnp.float32(X), jnp.float32(Y), activation="tanh", batched=True
    )
    assert [finding[1:4] for finding in report.findings] == [("db", 1, "factor_2")]


def test_a_model_of_another_class_is_no_gradient():
    report = fcnet.check(lambda model, X, Y: object(), model_of(False), X, Y, batched=True)
    (finding,) = report.findings
    assert finding.kind == "wrong_structure"
    assert "Held" not in finding.message


SMOOTH = {
    "elu": (
        lambda z: jnp.where(z > 0, z, jnp.exp(jnp.minimum(z, 0)) - 1),
        lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        lambda z: np.where(z > 0, 1, np.exp(np.minimum(z, 0))),
        0.5,
    ),
    "signed logarithm": (
        lambda z: jnp.sign(z) * jnp.log1p(jnp.abs(z)),
        lambda z: np.sign(z) * np.log1p(abs(z)),
        lambda z: 1 / (1 + abs(z)),
        0.0,
    ),
}
"""Activations that are smooth at 0, where autodiff of their formula has the last number."""


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize(("at_zero", "verdict"), [(1.0, "right"), (None, "right"), (3.0, "wrong")])
def test_autodiff_may_be_off_where_an_activation_is_smooth(name, at_zero, verdict):
    function, by_hand, slope, autodiff = SMOOTH[name]
    own = fcnet.Activation("own", function, jax.grad(lambda z: function(z).sum()))
    assert own.derivative(jnp.zeros(1)) == autodiff
    value = autodiff if at_zero is None else at_zero

    def backward(params, X, Y):
        return two_layers(
            params, X, lambda o: o - Y, by_hand, lambda z: np.where(z == 0, value, slope(z))
        )

    report = fcnet.check(backward, network(), X, Y, activation=own, batched=True)
    assert report.verdict == verdict, report


def scaled_rule(factor):
    """x times a static number, and its rule times `factor`."""
    rule = partial(jax.custom_vjp, nondiff_argnums=(1,))(lambda x, scale: x * scale)
    rule.defvjp(lambda x, scale: (x * scale, None), lambda scale, _, g: (factor * g * scale,))
    return rule


@pytest.mark.parametrize("wrap", [lambda rule: rule, partial(jax.jit, static_argnums=1)])
@pytest.mark.parametrize("scale", [0.5, np.float32(0.5)])
def test_numbers_that_a_rule_does_not_differentiate_are_left_alone(scale, wrap):
    x = jnp.arange(1.0, 4.0)
    right = fcnet.check_vjp(wrap(scaled_rule(1)), lambda x, scale: x * scale, x, scale)
    wrong = fcnet.check_vjp(wrap(scaled_rule(2)), lambda x, scale: x * scale, x, scale)
    assert right.ok, right
    assert [leaf.path for leaf in right.leaves] == ["x"]
    assert [finding.kind for finding in wrong.findings] == ["factor_2"]


@pytest.mark.parametrize("shape", [(2,), (5,), (3, 2)])
@pytest.mark.parametrize("form", ["alone", "with the value", "in a dict"])
def test_lists_of_numbers_are_arrays(shape, form):
    x = np.random.default_rng(0).normal(size=shape)

    def returned(x, factor):
        g = (factor * x).tolist()
        value = float((x**2).sum())
        return {"alone": g, "with the value": (value, g), "in a dict": {"w": g}}[form]

    def function(x):
        return ((x["w"] if form == "in a dict" else x) ** 2).sum()

    argument = {"w": x} if form == "in a dict" else x

    def gradient(x, factor):
        return returned(x["w"] if form == "in a dict" else x, factor)

    right = fcnet.check_gradient(lambda x: gradient(x, 2), function, argument)
    wrong = fcnet.check_gradient(lambda x: gradient(x, 4), function, argument)
    assert right.ok, right
    assert [finding.kind for finding in wrong.findings] == ["factor_2"]


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("edge", [0.0, 0.1, -0.1, 1e-3, -1e-3])
def test_a_relu_that_switches_beside_0_is_found(edge, batched):
    """No coarser format is to blame: it would decide otherwise near 0."""

    def backward(params, x, y):
        rows, targets = np.atleast_2d(x), np.atleast_2d(y)
        relu = partial(np.maximum, 0)
        return two_layers(params, rows, lambda o: o - targets, relu, lambda z: (z > edge) * 1.0)

    x, y = (X, Y) if batched else (X[0], Y[0])
    report = fcnet.check(backward, network(), x, y, batched=batched)
    assert report.ok is (edge == 0)
    assert {finding.line for finding in report.findings} <= {4}


LIMITS = {
    "a positive argument": (
        lambda v: abs(2 * v),
        lambda v: (v**2).sum(),
        (np.arange(1.0, 6),),
        "right where v is positive; otherwise not",
    ),
    "a number that is 0": (
        lambda v, s: 2 * v,
        lambda v, s: ((v + s) ** 2).sum(),
        (np.arange(-2.0, 3), 0.0),
        "right where s is 0; otherwise not",
    ),
    "neither": (lambda v: 2 * v, lambda v: (v**2).sum(), (np.arange(1.0, 6),), None),
    "a domain": (lambda v: 1 / v, lambda v: jnp.log(v).sum(), (np.arange(1.0, 6),), None),
}


@pytest.mark.parametrize("name", LIMITS)
def test_signs_and_zeros_that_a_gradient_needs_are_told(name):
    gradient, function, args, note = LIMITS[name]
    report = fcnet.check_gradient(gradient, function, *args)
    assert report.ok, str(report)
    assert report.notes == (() if note is None else (note,))


@pytest.mark.parametrize(("factor", "kinds"), [(1, []), (2, ["factor_2"])])
def test_nothing_is_said_of_entries_without_a_right_value(factor, kinds):
    """The norm of a row of zeros has no derivative: autodiff gives NaN there."""
    rows = np.random.default_rng(0).normal(size=(4, 3)) * [[1], [0], [1], [1]]

    def gradient(rows):
        norms = np.sqrt((rows * rows).sum(1, keepdims=True))
        return factor * rows / np.where(norms > 0, norms, 1)

    report = fcnet.check_gradient(gradient, lambda r: jnp.linalg.norm(r, axis=1).sum(), rows)
    assert [finding.kind for finding in report.findings] == kinds


ROWS = np.array([[1.0, 3, 3, 2], [0, 0, 0, 0], [3, 1, 1, 1]])
CHOICES = {
    "the first": (lambda x: np.eye(4)[x.argmax(1)], True),
    "the last": (lambda x: np.eye(4)[3 - x[:, ::-1].argmax(1)], True),
    "shares": (lambda x: (m := x == x.max(1, keepdims=True)) / m.sum(1, keepdims=True), True),
    "all": (lambda x: (x == x.max(1, keepdims=True)) * 1.0, False),
    "none of several": (
        lambda x: (m := x == x.max(1, keepdims=True)) * (m.sum(1, keepdims=True) == 1.0),
        False,
    ),
}
"""Gradients of the sum of the largest entries of each row, and whether they are right."""


@pytest.mark.parametrize("name", CHOICES)
def test_one_of_several_largest_entries_has_the_derivative(name):
    """Or each has a share; max pooling written as (x == max) gives it to all."""
    gradient, is_right = CHOICES[name]
    report = fcnet.check_gradient(gradient, lambda x: x.max(1).sum(), ROWS)
    assert report.ok is is_right, str(report)


@pytest.mark.parametrize("at_zero", [0.0, 0.5, 1.0, np.array([0, 1, 1, 0.5, 0, 0, 0])])
@pytest.mark.parametrize("weights", [np.ones(7), np.array([1.0, -1, 1, -1, 1, -1, 2])])
def test_each_kink_among_equal_entries_has_its_own_choice(at_zero, weights):
    x = np.array([0.0, 0, 0, 0, 0, 0, 1])

    def gradient(x):
        return np.where(x == 0, at_zero, x > 0) * weights

    assert fcnet.check_gradient(gradient, lambda x: (jax.nn.relu(x) * weights).sum(), x).ok


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("value", "options"), diagonal([np.inf, np.nan, 1e308], [{}, {"learning_rate": 0.1}])
)
def test_a_gradient_that_overflows_warns_of_nothing(value, options):
    def backward(params, X, Y):
        (_, db1), last = two_layers(params, X, lambda o: o - Y)
        return [(np.full_like(params[0][0], value), db1), last]

    report = fcnet.check(backward, network(), X, Y, activation="tanh", batched=True, **options)
    assert report.verdict == "wrong"


def test_the_settings_of_torch_are_put_back():
    torch = pytest.importorskip("torch")

    def backward(params, X, Y):
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        return two_layers(params, X, lambda o: o - Y)

    report = fcnet.check(backward, network(), X, Y, activation="tanh", batched=True)
    assert report.ok
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert "torch.default_dtype, torch.grad_enabled" in report.notes[-1]

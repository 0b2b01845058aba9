"""NumPy computes what JAX does: every rule of the table beside the compiled primitive."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.extend import core

import fcnet.verify.truth.evaluate as module
from fcnet import ACTIVATIONS, LOSSES, forward_trace
from fcnet.network import init
from fcnet.verify.truth.double import trace
from fcnet.verify.truth.evaluate import RULES, evaluate

pytestmark = [pytest.mark.untyped, pytest.mark.usefixtures("x64")]

X = np.random.default_rng(0).normal(size=(3, 4))
POSITIVE, INSIDE, BITS = abs(X) + 0.5, np.tanh(X), X > 0


def contracted(dims: Any) -> Any:
    return lambda x, y: lax.dot_general(x, y, dims)


CASES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    **{
        name: (getattr(lax, name), (X,))
        for name in [
            "abs",
            "sign",
            "exp",
            "exp2",
            "expm1",
            "sin",
            "cos",
            "tan",
            "sinh",
            "cosh",
            "tanh",
            "cbrt",
            "floor",
            "ceil",
            "asinh",
            "atan",
            "is_finite",
            "logistic",
            "square",
            "neg",
            "erf",
            "erfc",
            "round",
        ]
    },
    **{name: (getattr(lax, name), (POSITIVE,)) for name in ("log", "log1p", "sqrt", "rsqrt")},
    **{name: (getattr(lax, name), (INSIDE,)) for name in ("asin", "acos", "atanh")},
    "acosh": (lax.acosh, (POSITIVE + 1,)),
    **{
        name: (getattr(lax, name), (X, X[::-1].copy()))
        for name in [
            "add",
            "sub",
            "mul",
            "div",
            "rem",
            "max",
            "min",
            "atan2",
            "eq",
            "ne",
            "lt",
            "le",
            "gt",
            "ge",
            "nextafter",
        ]
    },
    "round to even": (lambda x: jnp.round(2 * x) / 2, (X,)),
    "pow": (lax.pow, (POSITIVE, X)),
    "integer_pow": (lambda x: lax.integer_pow(x, -3), (X,)),
    "and": (lax.bitwise_and, (BITS, BITS[::-1].copy())),
    "or": (lax.bitwise_or, (BITS, BITS[::-1].copy())),
    "xor": (lax.bitwise_xor, (BITS, BITS[::-1].copy())),
    "not": (lax.bitwise_not, (BITS,)),
    "clamp": (lambda x: lax.clamp(-0.5, x, 0.5), (X,)),
    "convert_element_type": (lambda x: x.astype(jnp.int32), (3 * X,)),
    "select_n": (lax.select, (BITS, X, -X)),
    "broadcast_in_dim": (lambda x: lax.broadcast_in_dim(x, (3, 2, 4), (0, 2)), (X,)),
    "reshape": (lambda x: x.reshape(2, 6), (X,)),
    "transpose": (lambda x: lax.transpose(x.reshape(3, 2, 2), (2, 0, 1)), (X,)),
    "squeeze": (lambda x: lax.squeeze(x.reshape(3, 1, 4), (1,)), (X,)),
    "slice": (lambda x: x[1:, ::2], (X,)),
    "rev": (lambda x: lax.rev(x, (1,)), (X,)),
    "split": (lambda x: jnp.concatenate(lax.split(x, (1, 3), 1)[::-1], 1), (X,)),
    "cumsum": (lambda x: lax.cumsum(x, 1, reverse=True), (X,)),
    "sort": (lambda x: lax.sort(x, dimension=0), (X,)),
    "argmax": (lambda x: jnp.argmax(x, 0), (X,)),
    "argmin": (lambda x: jnp.argmin(x, 1), (X,)),
    "reduce_sum": (lambda x: x.sum(0), (X,)),
    "reduce_prod": (lambda x: x.prod(1), (X,)),
    "reduce_max": (lambda x: x.max((0, 1)), (X,)),
    "reduce_min": (lambda x: x.min(1), (X,)),
    "reduce_and": (lambda x: x.all(0), (BITS,)),
    "reduce_or": (lambda x: x.any(1), (BITS,)),
    "iota": (lambda x: x + lax.broadcasted_iota(float, (3, 4), 1), (X,)),
    "concatenate": (lambda x: lax.concatenate([x, -x], 1), (X,)),
    "pad": (lambda x: lax.pad(x, 7.0, [(1, 2, 0), (0, 1, 2)]), (X,)),
    "dynamic_slice": (lambda x: lax.dynamic_slice(x, (2, 1), (2, 2)), (X,)),
    "dot_general": (contracted((((0,), (1,)), ((), ()))), (X, X[:2, :3].copy())),
    "of stacks": (
        contracted((((2,), (0,)), ((0,), (1,)))),
        (X.reshape(2, 3, 2), X.reshape(2, 2, 3)),
    ),
    "of vectors": (lambda x: x @ x, (X[0],)),
    "outer": (contracted((((), ()), ((), ()))), (X[0], X[1])),
    "optimization_barrier": (lambda x: lax.optimization_barrier((x, 2 * x))[1], (X,)),
    "copy": (lax.copy_p.bind, (X,)),
    "name": (lambda x: checkpoint_name(x, "x"), (X,)),
    "add_any": (jax.grad(lambda x: jnp.sum(x * jnp.sin(x))), (X,)),
    # primitives that the table lacks
    "cholesky": (lambda x: jnp.linalg.cholesky(x @ x.T), (X,)),
    "gather": (lambda x: x[jnp.array([2, 0, 2])], (X,)),
    "scan": (lambda x: lax.scan(lambda c, v: (c * v + 1, c), x[0], x)[1], (X,)),
    "lgamma": (lax.lgamma, (POSITIVE,)),
    "by integers": (lambda x: lax.div(x, 3), (np.arange(-4, 5),)),
    "bfloat16": (lambda x: (x.astype("bfloat16") * 3).astype(float), (X,)),
    # what only wraps others
    "relu": (jax.jit(ACTIVATIONS["relu"].function), (X,)),
    "checkpoint": (jax.grad(jax.checkpoint(lambda x: jnp.sin(jnp.sin(x)).sum())), (X,)),
}


@pytest.mark.parametrize("name", CASES)
def test_numpy_computes_what_jax_does(name: str) -> None:
    function, args = CASES[name]
    right = np.asarray(jax.jit(function)(*args))
    got = evaluate(trace(function, *args), *args)
    assert got.shape == right.shape
    assert got.dtype == right.dtype
    np.testing.assert_allclose(got, right, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("name", CASES)
def test_an_axis_in_front_is_mapped_over(name: str) -> None:
    function, args = CASES[name]
    many = tuple(np.stack([x, x[::-1], x]) for x in args)
    right = np.stack([np.asarray(jax.jit(function)(*row)) for row in zip(*many, strict=True)])
    np.testing.assert_allclose(
        evaluate(trace(function, *args), *many), right, rtol=1e-14, atol=1e-16
    )


def test_every_rule_is_tried() -> None:
    pending = [trace(function, *args).jaxpr.jaxpr for function, args in CASES.values()]
    seen = set()
    while pending:
        jaxpr = pending.pop()
        pending += core.subjaxprs(jaxpr)
        seen |= {eqn.primitive.name for eqn in jaxpr.eqns}
    assert set(RULES) - seen <= {"copy_p", "copy"}  # of one primitive, in two versions of JAX


@pytest.mark.parametrize(
    ("activation", "loss"),
    [*((name, "squared_error") for name in ACTIVATIONS), *(("tanh", name) for name in LOSSES)],
)
def test_whole_gradients_are_those_of_jax(activation: str, loss: str) -> None:
    params = init(jax.random.key(0), (4, 3, 2))
    y = np.array([0.25, 0.75])

    def cost(params: Any, x: Any) -> Any:
        o = forward_trace(params, x, activation=activation).z[-1]
        return LOSSES[loss].value(o, y)

    params, x = jax.tree.map(lambda leaf: np.asarray(leaf, float), (params, X[0]))
    right = jax.jit(jax.grad(cost))(params, x)
    got = evaluate(trace(jax.grad(cost), params, x), params, x)
    for one, other in zip(*map(jax.tree.leaves, (got, right)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("name", ["tanh", "reduce_sum", "dot_general", "transpose", "erf"])
def test_a_wrong_rule_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = RULES[name]
    wrong = {**RULES, name: lambda eqn, *xs: rule(eqn, *xs) * (1 + 1e-12)}
    monkeypatch.setattr(module, "RULES", wrong)
    with pytest.raises(AssertionError):
        test_numpy_computes_what_jax_does(name)


def test_a_primitive_without_a_rule_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RULES", {})
    for name in ("tanh", "reduce_sum", "select_n", "dot_general"):
        test_numpy_computes_what_jax_does(name)
        test_an_axis_in_front_is_mapped_over(name)


def test_random_keys_pass_through() -> None:
    def noisy(x: Any) -> Any:
        return x + jax.random.normal(jax.random.key(3), x.shape, x.dtype)

    np.testing.assert_allclose(evaluate(trace(noisy, X), X), noisy(X), rtol=1e-14)


def test_what_is_not_used_is_not_computed() -> None:
    def function(x: Any) -> Any:
        jax.pure_callback(lambda x: 1 / 0, jax.ShapeDtypeStruct((), float), x[0, 0])
        return 2 * x

    np.testing.assert_array_equal(evaluate(trace(function, X), X), 2 * X)

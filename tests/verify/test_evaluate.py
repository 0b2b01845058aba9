"""The reference evaluated with NumPy against the same functions compiled by XLA."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.extend import core

from fcnet.verify.truth import evaluate as evaluator
from fcnet.verify.truth.double import float64, trace

DRAW = np.random.default_rng(0)
A, B = DRAW.normal(size=(3, 4)), DRAW.normal(size=(3, 4))
C = DRAW.normal(size=(2, 4, 5))
SPECIAL = np.array([0.0, -0.0, 1.0, -1.5, 2.5, -800.0, 800.0, np.inf, -np.inf, np.nan])
WHOLE = np.arange(12).reshape(3, 4) - 5
LOGICAL = A > 0


constant = lax.stop_gradient

FUNCTIONS = {
    "entrywise": (
        lambda x, y: [
            f(x)
            for f in (
                *(jnp.abs, jnp.sign, jnp.exp, jnp.exp2, jnp.expm1, jnp.sin, jnp.cos, jnp.tan),
                *(jnp.sinh, jnp.cosh, jnp.tanh, jnp.cbrt, jnp.floor, jnp.ceil, jnp.arctan),
                *(jnp.arcsinh, jnp.isfinite, jax.nn.sigmoid, jnp.square, jnp.negative),
                *(lax.erf, lax.erfc, jax.nn.softplus, jax.nn.gelu, jnp.round),
                *(lambda x: x**3, lambda x: x**-2, lambda x: lax.round(x, lax.RoundingMethod(0))),
            )
        ],
        (A, B),
    ),
    "of positive numbers": (
        lambda x: [jnp.log(x), jnp.log1p(x), jnp.sqrt(x), lax.rsqrt(x), jnp.arccosh(1 + x)],
        (abs(A),),
    ),
    "of small numbers": (
        lambda x: [jnp.arcsin(x), jnp.arccos(x), jnp.arctanh(x)],
        (np.tanh(A),),
    ),
    "special functions": (
        lambda x, y: [
            *(lax.lgamma(x), lax.digamma(x), lax.polygamma(jnp.full_like(x, 2.0), x)),
            *(lax.igamma(x, y), lax.igammac(x, y), lax.bessel_i0e(x), lax.bessel_i1e(x)),
            *(lax.betainc(constant(x), constant(y), x / 9), lax.erf_inv(x / 9)),
            lax.zeta(constant(1 + x), constant(y)),
        ],
        (abs(A) + 0.5, abs(B) + 0.5),
    ),
    "of two": (
        lambda x, y: [
            *(x + y, x - y, x * y, x / y, jnp.maximum(x, y), jnp.minimum(x, y)),
            *(jnp.arctan2(x, y), lax.rem(x, y), jnp.abs(x) ** y, jnp.clip(x, -0.5, y)),
            *(x == y, x != y, x < y, x <= y, x > y, x >= y, lax.clamp(-0.5, x, 0.5)),
        ],
        (A, B),
    ),
    "logical": (
        lambda p, i: [~p, p & (i > 0), p | (i > 0), p ^ (i > 0), p.all(0), p.any(), ~i, i & 3],
        (LOGICAL, WHOLE),
    ),
    "integers": (
        lambda i: [i // 2, i % 3, i**3, -i, jnp.sign(i), i.sum(0), i.max(1), i.astype(float)],
        (WHOLE,),
    ),
    "special numbers": (
        lambda x: [
            *(jnp.exp(x), jnp.tanh(x), jax.nn.sigmoid(x), jax.nn.softplus(x), jnp.sign(x)),
            *(jnp.maximum(x, 0), jnp.minimum(x, 0), jnp.max(x), jnp.argmax(x), jnp.sort(x)),
            *(jnp.cumsum(x), jnp.round(x), x**2, jnp.where(x > 0, x, 0), jnp.log(x), jnp.sqrt(x)),
            *(jnp.isfinite(x), jnp.clip(x, -1, 1), x**-1, jnp.floor(x), jax.nn.relu(x)),
        ],
        (SPECIAL,),
    ),
    "conversions": (
        lambda x: [
            y.astype(kind)
            for y in (x, 1e8 * x, 1e18 * x, 2.0**31 + x, 2.0**63 * x)
            for kind in ("int8", "int32", "int64", "uint8", "uint32", "bool", "float32")
        ],
        (SPECIAL,),
    ),
    "shapes": (
        lambda x, y: [
            *(x.T, x.reshape(2, 6), x[:, 1:3], x[::2], x[:, ::-1], jnp.concatenate([x, y], 1)),
            *(jnp.pad(x, ((1, 0), (0, 2))), lax.pad(x, 0.0, ((1, -1, 1), (0, 1, 0)))),
            *(jnp.stack([x, y]), jnp.broadcast_to(x[0], (2, 4)), x[:, :1].squeeze(), x[:, None]),
            *(jnp.split(x, 2, axis=1), jnp.tril(x), jnp.eye(3) @ x, jnp.arange(4.0) * x),
            *(lax.dynamic_slice(x, (1, 5), (2, 2)), x[1], x[-1, 2], jnp.roll(x, 1, 0)),
        ],
        (A, B),
    ),
    "reductions": (
        lambda x: [
            *(x.sum(), x.sum(0), x.mean(1), x.prod(0), x.max(1), x.min(), x.std(0), x.var()),
            *(jnp.argmax(x, 1), jnp.argmin(x, 0), jnp.cumsum(x, 1), jnp.sort(x, 0)),
            *(lax.cumsum(x, 1, reverse=True), jnp.linalg.norm(x), jnp.linalg.norm(x, axis=1)),
            *(jax.nn.softmax(x), jax.nn.logsumexp(x, 0), jnp.argsort(x, 1), jnp.median(x)),
            *lax.top_k(x, 2),
        ],
        (A,),
    ),
    "products": (
        lambda x, y, z: [
            *(x @ y.T, x[0] @ y[1], jnp.outer(x[0], y[1]), jnp.einsum("ij,bjk->bik", x, z)),
            *(jnp.einsum("ij,ij->i", x, y), jnp.einsum("ij,kj,bjl->bikl", x, y, z)),
            *(jnp.tensordot(x, z, ((1,), (1,))), jax.vmap(jnp.matmul, (None, 0))(x, z)),
        ],
        (A, B, C),
    ),
    "by index": (
        lambda x: [
            *(x[jnp.array([2, 0, 0])], x.at[1].set(0), x.at[jnp.array([0, 0])].add(1.0)),
            *(jnp.take_along_axis(x, jnp.array([[1], [0], [3]]), 1), jax.nn.one_hot(1, 3) @ x),
        ],
        (A,),
    ),
    "loops": (
        lambda x: [
            lax.scan(lambda s, row: (jnp.tanh(s + row), s.sum()), x[0], x),
            lax.fori_loop(0, 3, lambda i, s: s * x + i, x),
            lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x),
            lax.map(jnp.sum, x),
        ],
        (A,),
    ),
    "wrapped": (
        lambda x: [
            jax.checkpoint(jnp.tanh)(x),
            checkpoint_name(x * 2, "double"),
            jax.jit(lambda x: (jnp.float64(2.0), x))(x),
            lax.optimization_barrier(x),
            jnp.array(x, copy=True),
        ],
        (A,),
    ),
    "a convolution": (
        lambda x, z: lax.conv_general_dilated(x[None, None], z[:, None], (1, 1), "SAME"),
        (DRAW.normal(size=(6, 7)), C),
    ),
    "linear algebra": (
        lambda x: [jnp.linalg.inv(x), jnp.linalg.slogdet(x)[1], jnp.linalg.cholesky(x)],
        (A @ A.T + 3 * np.eye(3),),
    ),
}


def scalar(function):
    """The sum of all floating results, whose gradient passes through the rules of autodiff too."""

    def total(*args):
        results = [x for x in jax.tree.leaves(function(*args)) if jnp.issubdtype(x, jnp.floating)]
        return sum((jnp.sum(jnp.sin(x)) for x in results), 0.0 * jnp.sum(args[0]))

    return jax.grad(total)


def compiled(function, *args):
    with float64():
        return jax.tree.map(np.asarray, jax.jit(function)(*args))


def compare(got, right):
    for one, other in zip(*map(jax.tree.leaves, (got, right)), strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numpy_computes_what_xla_computes(name):
    function, args = FUNCTIONS[name]
    compare(evaluator.evaluate(trace(function, *args), *args), compiled(function, *args))


@pytest.mark.parametrize(
    "name",
    [n for n in FUNCTIONS if n not in ("logical", "integers", "special numbers", "conversions")],
)
def test_numpy_computes_the_gradients_that_xla_computes(name):
    function, args = FUNCTIONS[name]
    function = scalar(function)
    compare(evaluator.evaluate(trace(function, *args), *args), compiled(function, *args))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_axis_of_samples_is_a_loop(name):
    function, args = FUNCTIONS[name]
    floating = [np.issubdtype(x.dtype, np.floating) for x in args]
    samples = [
        np.stack([x, x * 0.5, x * 0.25]) if f else x for x, f in zip(args, floating, strict=True)
    ]
    traced = trace(function, *args)
    if not any(floating):
        samples = [np.stack([x, x, x]) for x in args]
    together = evaluator.evaluate(traced, *samples)
    for i in range(3):
        one = [x[i] if x.ndim > own.ndim else x for x, own in zip(samples, args, strict=True)]
        alone = evaluator.evaluate(traced, *one)
        for got, right, v in zip(
            *map(jax.tree.leaves, (together, alone)), traced.jaxpr.jaxpr.outvars, strict=True
        ):
            got = got[i] if got.ndim > len(v.aval.shape) else got
            np.testing.assert_allclose(got, right, rtol=1e-12, atol=1e-12)


def primitives(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name
        for value in jax.tree.leaves(
            list(eqn.params.values()),
            is_leaf=lambda x: isinstance(x, (core.Jaxpr, core.ClosedJaxpr)),
        ):
            if isinstance(value, (core.Jaxpr, core.ClosedJaxpr)):
                yield from primitives(getattr(value, "jaxpr", value))


def test_every_rule_is_tried():
    tried = set()
    for function, args in FUNCTIONS.values():
        tried |= set(primitives(trace(function, *args).jaxpr.jaxpr))
        if any(np.issubdtype(x.dtype, np.floating) for x in args):
            tried |= set(primitives(trace(scalar(function), *args).jaxpr.jaxpr))
    assert set(evaluator.RULES) - tried == set()


def test_a_wrong_rule_is_noticed(monkeypatch):
    wrong = {**evaluator.RULES, "tanh": evaluator.RULES["sin"]}
    monkeypatch.setattr(evaluator, "RULES", wrong)
    with pytest.raises(AssertionError):
        test_numpy_computes_what_xla_computes("entrywise")


def test_a_primitive_without_a_rule_is_compiled(monkeypatch):
    monkeypatch.setattr(evaluator, "RULES", {})
    for name in ("of small numbers", "wrapped"):
        test_numpy_computes_what_xla_computes(name)
        test_an_axis_of_samples_is_a_loop(name)


def test_random_keys_pass_through():
    def noisy(x):
        return x + jax.random.normal(jax.random.key(3), x.shape, x.dtype)

    compare(evaluator.evaluate(trace(noisy, A), A), compiled(noisy, A))


def test_what_is_not_used_is_not_computed():
    def function(x):
        jax.pure_callback(lambda x: 1 / 0, jax.ShapeDtypeStruct((), float), x[0, 0])
        return 2 * x

    np.testing.assert_array_equal(evaluator.evaluate(trace(function, A), A), 2 * A)

"""`fcnet.check_gradient` with named intermediate values: the wrong step of any backward pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name as name
from support.named_programs import NAMED, Steps, faults_of, gradient_of

import fcnet
from fcnet.verify.truth.named import named_values, step_gradients

pytestmark = pytest.mark.untyped

QUICK = (
    ("batch norm", ("centred", "no_square"), "missing_term"),
    ("batch norm", ("var", "no_half"), "factor_2"),
    ("batch norm", ("mean", "mean"), "per_n"),
    ("batch norm", ("out", "summed"), "sum_over_axis"),
    ("attention", ("scores", "transposed"), "transposed"),
    ("attention", ("e", "no_total"), "missing_term"),
)
"""Programs, faults in a step, and the kind that the report names."""


def arguments(program, dtype="float64"):
    args = NAMED[program].draw(np.random.default_rng(0))
    return jax.tree.map(lambda x: x.astype(dtype) if x.dtype.kind == "f" else x, args)


def report_on(program, fault=None, dtype="float64"):
    candidate = gradient_of(NAMED[program], fault)
    return fcnet.check_gradient(candidate, NAMED[program].function, *arguments(program, dtype))


def assert_right(program, dtype):
    report = report_on(program, None, dtype)
    assert report.verdict == "right", str(report)
    assert report.findings == ()
    names = [v.name for v in traced(program)]
    assert 8 <= len(names) <= 25
    assert [leaf.path for leaf in report.leaves][: len(names)] == names[::-1]


def traced(program):
    args = arguments(program)
    return named_values(jax.make_jaxpr(NAMED[program].function)(*args).jaxpr)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_right_program_has_no_wrong_step(dtype):
    assert_right("batch norm", dtype)


@pytest.mark.parametrize(("program", "fault", "kind"), QUICK)
def test_a_wrong_step_is_named_and_what_inherits_its_error_is_not(program, fault, kind):
    report = report_on(program, fault)
    assert report.verdict == "wrong"
    assert [(f.quantity, f.kind) for f in report.findings] == [(fault[0], kind)], str(report)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("program", NAMED)
def test_right_programs_have_no_wrong_step(program, dtype):
    assert_right(program, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("program", NAMED)
def test_every_planted_fault_is_placed_on_its_name(program, part):
    faults = faults_of(NAMED[program], arguments(program))[part::4]
    blamed = {fault: {f.quantity for f in report_on(program, fault).findings} for fault in faults}
    assert all(place in blamed[place, kind] for place, kind in faults), blamed
    alone = [names == {place} for (place, _), names in blamed.items()]
    assert np.mean(alone) >= 0.98, {f: names for f, names in blamed.items() if names != {f[0]}}


def test_enough_faults_are_planted():
    assert sum(len(faults_of(NAMED[p], arguments(p))) for p in NAMED) >= 200


def chain(w, x):
    """Two named values, the second under jit."""
    z = name(w * x, "z")
    return jnp.sum(jax.jit(lambda z: name(jnp.sin(z), "s") ** 2)(z))


def chain_back(w, x, *, s=2.0, z=1.0, dw=1.0):
    """The gradient; the keywords are factors of each step."""
    ds = s * np.sin(w * x)
    dz = z * ds * np.cos(w * x)
    return dw * dz * x, {"z": dz, "s": ds}


W, X = np.array([0.3, -1.2, 0.8]), np.array([1.5, 0.4, -2.0])


def test_names_inside_jit_count_and_several_steps_can_be_wrong():
    assert fcnet.check_gradient(chain_back, chain, W, X).ok
    report = fcnet.check_gradient(lambda w, x: chain_back(w, x, s=3.0, z=-1.0), chain, W, X)
    assert [(f.quantity, f.kind) for f in report.findings] == [("s", "scaled"), ("z", "sign")]
    report = fcnet.check_gradient(lambda w, x: chain_back(w, x, dw=2.0), chain, W, X)
    assert [(f.quantity, f.kind) for f in report.findings] == [("", "factor_2")]


FORMS = {
    "a triple with the value": lambda w, v, g, named: (v, g, named),
    "a pair in a pair": lambda w, v, g, named: ((v, g), named),
    "the value second": lambda w, v, g, named: (g, v, named),
    "some of the names": lambda w, v, g, named: (g, {"z": named["z"]}),
    "all gradients": lambda w, v, g, named: ((g, named["z"] * w), named),
    "no names": lambda w, v, g, named: g,
    "the value, no names": lambda w, v, g, named: (v, g),
}


@pytest.mark.parametrize("form", FORMS)
def test_named_gradients_may_stand_beside_the_value(form):
    def gradient(w, x):
        v = np.sum(np.sin(w * x) ** 2)
        return FORMS[form](w, v, *chain_back(w, x))

    report = fcnet.check_gradient(gradient, chain, W, X)
    assert report.verdict == "right", str(report)


WRONG_FORMS = {
    "another name": (lambda named: {"y": named["z"]}, "wrong_structure", "'y'"),
    "a row": (lambda named: named | {"z": named["z"][None]}, "wrong_shape", "(1, 3)"),
    "another shape": (lambda named: named | {"z": named["z"][:2]}, "wrong_shape", "(2,)"),
    "None": (lambda named: named | {"z": None}, "none_leaf", "None"),
}


@pytest.mark.parametrize("form", WRONG_FORMS)
def test_a_named_gradient_of_a_wrong_form_is_told(form):
    change, kind, says = WRONG_FORMS[form]

    def gradient(w, x):
        g, named = chain_back(w, x)
        return g, change(named)

    report = fcnet.check_gradient(gradient, chain, W, X)
    assert [f.kind for f in report.findings] == [kind]
    assert says in report.findings[0].message
    assert report.findings[0].quantity in ("", "z")


def test_a_step_that_was_not_summed_is_told_and_hides_no_other():
    def function(b, X):
        shift = name(b * 2, "shift")
        return jnp.sum(name(jnp.tanh(X + shift), "t") ** 2)

    def gradient(b, X, factor):
        t = np.tanh(X + 2 * b)
        dt = factor * t
        dz = dt * (1 - t * t)
        return 2 * dz.sum(0), {"shift": dz, "t": dt}

    b, X = np.array([0.3, -1.2]), np.random.default_rng(0).normal(size=(4, 2))
    report = fcnet.check_gradient(lambda b, X: gradient(b, X, 2), function, b, X)
    assert [(f.quantity, f.kind) for f in report.findings] == [("shift", "wrong_shape")]
    assert "not summed" in report.findings[0].message
    report = fcnet.check_gradient(lambda b, X: gradient(b, X, 1), function, b, X)
    assert [f.quantity for f in report.findings] == ["shift", "t"]


def in_a_loop(w):
    return jax.lax.scan(lambda c, _: (name(jnp.sin(c), "c"), None), jnp.sum(w), None, length=2)[0]


def twice(w):
    return jnp.sum(name(w, "c") * name(w * 2, "c"))


@pytest.mark.parametrize(
    ("function", "match"), [(in_a_loop, "'c' inside scan"), (twice, "two values 'c'")]
)
def test_names_that_are_not_one_value_are_refused_where_they_are_used(function, match):
    right = jax.grad(function)
    assert fcnet.check_gradient(right, function, jnp.array([0.3, -0.2])).ok
    with pytest.raises(ValueError, match=match):
        fcnet.check_gradient(lambda w: (right(w), {"c": w}), function, jnp.array([0.3, -0.2]))


@pytest.mark.parametrize("program", NAMED)
def test_the_backward_passes_by_hand_are_those_of_jax(program):
    """The tests' own programs against `jax.grad`, names and all."""
    with jax.enable_x64(True):
        args = arguments(program)
        step = Steps()
        by_hand = NAMED[program].backward(step, *args)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12),
            by_hand,
            jax.jit(jax.grad(NAMED[program].function))(*args),
        )
        given = {v.name: jnp.asarray(step.found[v.name]) for v in traced(program)}
        leaves, structure = jax.tree.flatten(args[0])

        def function(inputs):
            return NAMED[program].function(jax.tree.unflatten(structure, inputs), *args[1:])

        _, _, named = step_gradients(function, leaves, given)
        for key, value in named.items():
            np.testing.assert_allclose(value, step.found[key], rtol=1e-9, atol=1e-12)

"""The schema of the report as JSON: every kind of report fits it, and nothing else does."""

import copy
import json
from importlib.resources import files

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from support.correct_candidates import alone, data, gradient, network, one

import fcnet
from fcnet.verify.report import SCHEMA

pytestmark = pytest.mark.untyped

SCHEMA_FILE = json.loads((files("fcnet.verify") / "report.schema.json").read_text("utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA_FILE)


def of_network(change):
    params, (X, Y) = network(), data(1)
    right = one(alone(gradient))

    def backward(params, x, y):
        return change(right(params, x, y))

    return fcnet.check(backward, params, X[0], Y[0])


def with_a_reused_buffer():
    buffer = np.zeros(3)

    def gradient(params, x, y):
        buffer[:] = params[0][0] @ x + params[0][1] - y
        return [(np.outer(buffer, x), buffer)]

    return fcnet.check(gradient, [(np.ones((3, 2)), np.ones(3))], np.arange(2.0), np.zeros(3))


def of_rule(factor):
    square = jax.custom_vjp(lambda x: x * x)
    square.defvjp(lambda x: (x * x, x), lambda x, g: (factor * x * g,))
    return fcnet.check_vjp(square, lambda x: x * x, jnp.arange(3.0))


def of_gradient(factor):
    return fcnet.check_gradient(lambda x: factor * x, lambda x: jnp.sum(x * x), np.arange(3.0))


REPORTS = {
    "right": lambda: of_network(lambda grads: grads),
    "wrong": lambda: of_network(lambda grads: [(2 * W, b) for W, b in grads]),
    "not finite": lambda: of_network(lambda grads: [(W * np.nan, b * np.inf) for W, b in grads]),
    "unread": lambda: of_network(lambda grads: "nonsense"),
    "right, with a warning": with_a_reused_buffer,
    "cannot tell": lambda: fcnet.check_gradient(
        np.zeros_like, lambda x: jnp.sum(0 * x), np.ones(3)
    ),
    "gradient, right": lambda: of_gradient(2),
    "gradient, wrong": lambda: of_gradient(-2),
    "rule, right": lambda: of_rule(2),
    "rule, wrong": lambda: of_rule(3),
}


@pytest.fixture(scope="module")
def wrong():
    return REPORTS["wrong"]().to_dict()


@pytest.mark.parametrize("name", REPORTS)
def test_every_kind_of_report_fits_its_schema(name):
    report = REPORTS[name]()
    assert report.verdict in name or name in ("not finite", "unread")
    plain = json.loads(report.to_json())
    VALIDATOR.validate(plain)
    assert plain == json.loads(json.dumps(report.to_dict()))


def test_the_schema_is_one_and_its_version_is_that_of_the_reports():
    Draft202012Validator.check_schema(SCHEMA_FILE)
    assert SCHEMA_FILE["properties"]["schema"]["const"] == SCHEMA
    assert SCHEMA_FILE["$id"].endswith(f":{SCHEMA}")


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("verdict",), "fine"),
        (("verdict",), "right"),  # which contradicts ok and the findings
        (("schema",), 1),
        (("unit_roundoff",), "1e-16"),
        (("sizes",), [4, 0]),
        (("findings",), []),
        (("findings", 0, "line"), "5"),
        (("findings", 0, "layer"), 0),
        (("findings", 0, "kind"), "Factor 2"),
        (("findings", 0, "severity"), "fatal"),
        (("leaves", 0, "error"), "NaN"),
        (("leaves", 0, "index"), [0.5]),
        (("leaves", 0, "heat"), [[-1.0]]),
        (("leaves", 0, "unknown"), 1),
        (("findings", 0, "unknown"), 1),
        (("unknown",), 1),
    ],
)
def test_what_is_no_report_does_not_fit(wrong, where, value):
    VALIDATOR.validate(wrong)
    spoilt = copy.deepcopy(wrong)
    *place, key = where
    _at(spoilt, place)[key] = value
    assert not VALIDATOR.is_valid(spoilt)


def test_a_right_report_has_warnings_only():
    plain = with_a_reused_buffer().to_dict()
    (finding,) = plain["findings"]
    assert (finding["kind"], finding["severity"]) == ("mutates_earlier_results", "warning")
    VALIDATOR.validate(plain)
    assert not VALIDATOR.is_valid(plain | {"verdict": "wrong", "ok": False})
    finding["severity"] = "error"
    assert not VALIDATOR.is_valid(plain)


@pytest.mark.parametrize("place", [(), ("findings", 0), ("leaves", 0)])
def test_every_key_is_required(wrong, place):
    for key in [*_at(wrong, place)]:
        spoilt = copy.deepcopy(wrong)
        del _at(spoilt, place)[key]
        assert not VALIDATOR.is_valid(spoilt), key


def _at(value, place):
    for step in place:
        value = value[step]
    return value

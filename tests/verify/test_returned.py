"""What a candidate may return, and what is wrong with the form of it if it may not."""

import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.correct_candidates import LAYOUTS, data, gradient, network

from fcnet.layouts import layouts_of
from fcnet.verify.returned import Returned, read_returned

pytestmark = pytest.mark.untyped

N = 5
LOSS, PAIRS = gradient(network(), *data(N))
(DW1, DB1), (DW2, DB2) = PAIRS


def read(value: object, name: str = "pairs", n: int = N) -> Returned:
    params = LAYOUTS[name].write(network())
    return read_returned(layouts_of(params)[0], params, value, n)


def right(returned: Returned, loss: float | None = None) -> None:
    assert returned.findings == ()
    assert returned.answer.loss == loss
    assert len(returned.leaves) == 4
    same(returned)


def same(returned: Returned) -> None:
    got = [tuple(layer) for layer in returned.answer.gradient]
    jax.tree.map(np.testing.assert_array_equal, got, PAIRS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_gradient_alone_or_with_its_loss(name):
    g = LAYOUTS[name].write(PAIRS)
    right(read(g, name))
    for loss in (LOSS, float(LOSS), np.array([LOSS]), jnp.array(0.5), np.array([[LOSS]])):
        right(read((loss, g), name), float(np.ravel(loss)[0]))
        right(read([g, loss], name), float(np.ravel(loss)[0]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pairs", tuple(PAIRS)),
        ("pairs", [list(pair) for pair in PAIRS]),
        ("fcnet", PAIRS),
        ("flat list", (DW1, DB1, DW2, DB2)),
        ("names", {"dW1": DW1, "dW2": DW2, "db1": DB1, "db2": DB2}),
        ("names", {"db2": DB2, "dW2": DW2, "dZ2": 0, "dA1": None, "db1": DB1, "dW1": DW1}),
        ("names", {f"grad_{k}": v for k, v in LAYOUTS["names"].write(PAIRS).items()}),
        ("names", {k: v.tolist() for k, v in LAYOUTS["names"].write(PAIRS).items()}),
        ("PyTorch", {f"{k}_grad": v for k, v in LAYOUTS["PyTorch"].write(PAIRS).items()}),
        ("lists by name", {"dweights": (DW1, DW2), "dbiases": (DB1, DB2)}),
    ],
)
def test_containers_that_say_the_same_are_accepted(name, value):
    right(read(value, name))


@pytest.mark.parametrize(
    ("name", "value", "order"),
    [
        ("pairs", [DW1, DB1, DW2, DB2], ""),
        ("names", (DW1, DB1, DW2, DB2), ""),
        ("pairs", {"dW1": DW1, "dW2": DW2, "db2": DB2, "db1": DB1, "dZ1": None}, ""),
        ("pairs", {"weights": [DW1, DW2], "biases": [DB1, DB2]}, ""),
        ("flat list", [{"bias": DB1, "weight": DW1}, {"bias": DB2, "weight": DW2}], ""),
        ("names", [{"db": DB1, "dW": DW1}, {"db": DB2, "dW": DW2}], ""),
        ("names", ([DW1, DW2], [DB1, DB2]), "every W before every b"),
        ("names", ([DB1, DB2], [DW1, DW2]), "every b before every W"),
        ("lists by name", PAIRS[::-1], "the last layer first"),
        ("pairs", ([DB1, DB2], [DW1, DW2]), "every b before every W"),
    ],
)
def test_other_containers_are_read_by_names_or_shapes(name, value, order):
    for loss in (None, LOSS):
        returned = read(value if loss is None else (loss, value), name)
        same(returned)
        assert returned.answer.loss == loss
        assert [finding.kind for finding in returned.findings] == ["leaf_order"] * bool(order)
        assert all(finding.severity == "warning" for finding in returned.findings)
        assert all(order in finding.message for finding in returned.findings)


def test_a_gradient_that_looks_like_a_loss_and_a_gradient():
    params = [np.array([[2.0]]), np.array([3.0])]
    value = [np.array([[5.0]]), np.array([7.0])]
    returned = read_returned(layouts_of(params)[0], params, value, 1)
    assert returned.findings == ()
    assert returned.answer.loss is None
    assert returned.answer.gradient[0].W == 5
    returned = read_returned(layouts_of(params)[0], params, (0.5, value), 1)
    assert returned.answer.loss == 0.5


@pytest.mark.parametrize(
    ("dtypes", "coarsest"),
    [(("float64", "float64"), "float64"), (("float64", "float32"), "float32"),
     (("float32", "bfloat16"), "bfloat16"), (("float16", "float64"), "float16")],
)  # fmt: skip
def test_the_coarsest_dtype_is_told(dtypes, coarsest):
    one, other = map(jnp.dtype, dtypes)
    answer = read([(DW1.astype(one), DB1.astype(other)), (DW2.astype(one), DB2)]).answer
    assert answer.dtype == jnp.dtype(coarsest)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("pairs", None, r"returned None: return the gradients of params\[0\].W, params\[0\].b,"),
        ("pairs", 1.5, r"numbers alone.*return the gradients of params\[0\].W"),
        ("pairs", PAIRS[:1], "is a list of length 1, expected a list of length 2"),
        ("pairs", [DW1, DB1, DW2], "is a list of length 3"),
        ("pairs", [DB1, DB1, DB1, DW2], "is a list of length 4"),
        ("pairs", (LOSS, PAIRS, PAIRS), "entries 1, 2 of the result may each be the gradient"),
        ("pairs", [PAIRS[0], (DW2, [DB2, DB2])], r"params\[1\]\[1\] is a list.*expected an array"),
        ("pairs", [PAIRS[0], (DW2, SimpleNamespace())], r"\[1\].b is a SimpleNamespace"),
        ("pairs", {"W1": DW1}, "is a dict with W1, expected a list"),
        ("names", (DW1, DB1, DB2), "expected a dict with W1, W2, b1, b2"),
        ("names", {"dW1": DW1, "dW2": DW2, "b1": DB1, "b2": DB2}, "is a dict with dW1"),
        ("names", (LOSS, {"W1": DW1}), "a dict with W1, expected a dict with W1, W2"),
        ("pairs", (x for x in PAIRS), "is a generator"),
        ("pairs", "text", "is a str"),
    ],
)
def test_wrong_structure(name, value, words):
    returned = read(value, name)
    (finding,) = returned.findings
    assert returned.answer is None
    assert finding.kind == "wrong_structure"
    assert re.search(words, finding.message)


@pytest.mark.parametrize(
    ("leaf", "kind", "words"),
    [
        (None, "none_leaf", "dW2 is None, expected an array"),
        (DW2.astype(int), "integer_leaf", "dW2 holds int64"),
        (DW2 > 0, "integer_leaf", "dW2 holds bool"),
        (DW2.astype(complex), "wrong_dtype", "dW2 is complex128"),
        ("text", "wrong_structure", "dW2 is a str, expected an array"),
        (np.zeros((2, 3), object), "wrong_structure", "dW2 is a ndarray"),
    ],
)
def test_leaves_that_hold_no_real_numbers(leaf, kind, words):
    returned = read({"dW1": DW1, "db1": DB1, "dW2": leaf, "db2": DB2}, "names")
    (finding,) = returned.findings
    assert returned.answer is None
    assert finding[:4] == (5, "dW", 2, kind)
    assert words in finding.message


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (PAIRS[::-1], "with the last layer first"),
        ([(b, W) for W, b in PAIRS], "with each b before its W"),
        ([(b, W) for W, b in PAIRS[::-1]], "backwards, the last b first"),
        ((LOSS, PAIRS[::-1]), "with the last layer first"),
    ],
)
def test_another_order_is_seen_and_read_all_the_same(value, words):
    returned = read(value)
    (finding,) = returned.findings
    assert (finding.kind, finding.severity) == ("leaf_order", "warning")
    assert words in finding.message
    same(returned)


@pytest.mark.parametrize(
    ("changes", "quantity", "words"),
    [
        ({"dW1": DW1.T}, "dW", r"dW1 has shape \(4, 3\), expected \(3, 4\) like W1: it is transp"),
        ({"db1": DB1[None]}, "db", r"db1 has shape \(1, 3\), expected \(3,\).*length 1 broadcast"),
        ({"db1": DB1[:, None]}, "db", "axes of length 1 broadcast silently"),
        ({"dW1": DW1[None]}, "dW", "axes of length 1 broadcast silently"),
        ({"db1": np.ones((N, 3))}, "db", "not summed over the examples"),
        ({"db1": np.ones((3, N))}, "db", "not summed over the examples"),
        ({"dW1": np.ones((N, 3, 4))}, "dW", "not summed over the examples"),
        ({"db1": np.ones(())}, "db", "summed over the units too"),
        ({"db1": 2.5}, "db", "summed over the units too"),
        ({"db1": np.ones(N)}, "db", f"a number for each of {N} examples"),
        ({"db1": np.ones(N + 1)}, "db", r"expected \(3,\) like b1$"),
        ({"dW1": np.ones((3, 3))}, "dW", r"has shape \(3, 3\), expected \(3, 4\) like W1$"),
    ],
)
def test_wrong_shapes(changes, quantity, words):
    value = {"dW1": DW1, "db1": DB1, "dW2": DW2, "db2": DB2} | changes
    returned = read(value, "names")
    (finding,) = returned.findings
    assert finding[:4] == (5, quantity, 1, "wrong_shape")
    assert re.search(words, finding.message)
    (changed,) = changes.values()
    if np.size(changed) in (3, 12):
        same(returned)  # the numbers are there: judged as well
    elif N in np.shape(changed) and np.ndim(changed) > 1:  # one array for each example
        sums = jax.tree.leaves(returned.answer.gradient)[0 if quantity == "dW" else 1]
        assert np.array_equal(sums, np.full(sums.shape, N))
    else:
        assert returned.answer is None
        layer = returned.partial.gradient[0]
        assert [array is None for array in layer] == [quantity == "dW", quantity == "db"]


@pytest.mark.parametrize("name", ["names", "pairs"])
@pytest.mark.parametrize(
    "value", [[DW1, DB1, DW2, np.ones(N)], ([DB1, np.ones(N)], [DW1, DW2]), (DB1, 1.0, DW1, DW2)]
)
def test_one_wrong_shape_in_other_containers_is_told_as_such(value, name):
    *_, finding = read(value, name).findings
    assert finding[:4] == (5, "db", 2, "wrong_shape")


def test_a_gradient_that_has_the_name_of_its_parameter_is_called_its_gradient():
    returned = read([(DW1, DB1[None]), (DW2, DB2)])
    assert returned.findings[0].message.startswith(
        "the gradient of params[0].b has shape (1, 3), expected (3,): axes"
    )


def test_a_shape_is_judged_against_the_parameters_own():
    columns = LAYOUTS["column biases"].write(PAIRS)
    right(read(columns, "column biases"))
    (finding,) = read(columns | {"b1": DB1}, "column biases").findings
    assert (finding.kind, finding.severity) == ("wrong_shape", "error")
    right(read([(W.T, b[None]) for W, b in PAIRS], "in, out"))
    assert len(read(PAIRS, "in, out").findings) == 4


@pytest.mark.parametrize(
    ("expected", "got", "severity"),
    [
        ((1, 3), (3,), "warning"),
        ((1, 1), (1,), "warning"),
        ((1,), (), "warning"),
        ((3, 1), (3,), "error"),  # broadcast to (3, 3)
        ((3,), (1, 3), "error"),  # the parameter changes its shape
        ((1, 3), (3, 1), "error"),
    ],
)
def test_a_shape_is_harmless_where_the_update_is_right_all_the_same(expected, got, severity):
    values, b = np.arange(1.0, 1 + np.prod(got, dtype=int)), np.ones(expected)
    harmless = np.array_equal(b - values.reshape(got), b - values.reshape(expected))
    assert (severity == "warning") == harmless
    params = [(np.ones((values.size, 2)), b)]
    returned = read_returned(
        layouts_of(params)[0], params, [(params[0][0], values.reshape(got))], N
    )
    (finding,) = returned.findings
    assert (finding.kind, finding.severity) == ("wrong_shape", severity)
    assert ("broadcast" in finding.message) or severity == "error"
    assert np.array_equal(returned.answer.gradient[0].b, values)


def test_numbers_that_are_not_finite_are_still_read():
    returned = read([(DW1 * np.nan, DB1), (DW2, DB2 * np.inf)])
    assert returned.findings == ()
    assert np.isnan(returned.answer.gradient[0].W).all()

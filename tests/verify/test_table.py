"""`report.table()`: the right numbers beside the candidate's, and the first line that differs."""

import json
import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name
from support.correct_candidates import LAYOUTS, data, gradient, in_layout, network
from support.diagnosis_evidence import cost_of
from support.faults import FAULTS
from support.faults_rare import RARE_FAULTS
from support.faulty_backprop import Setting
from support.named_programs import NAMED, faults_of, gradient_of
from support.scored_diagnoses import NETWORKS, evidence, layers

import fcnet
from fcnet import Layer
from fcnet.backpropagation import deltas
from fcnet.layouts import layouts_of
from fcnet.network import forward_trace
from fcnet.verify.network_table import network_table
from fcnet.verify.truth.reference import reference
from fcnet.verify.types import FORMATS, Answer, Case

pytestmark = pytest.mark.untyped

HEADING = re.compile(
    r"(>> )?(?:line (\d)(?:, layer (\d+))?: )?([a-zA-Z]+(?: = a)?(?:\[\d+\])?)( = .*)?"
)
ARITHMETIC = re.compile(r"(.+?) = (?:(.*) = )?(\S+); (.*) is (\S+)")


def parsed(text):
    """The numbers of each quantity, {name: {row: {column: number}}}, and the quantity marked."""
    quantities, marked = {}, None
    for block in text.split("\n\n")[1:]:
        heading, *lines = block.splitlines()
        first, line, layer, name, _ = HEADING.fullmatch(heading).groups()
        marked = (int(line), layer and int(layer), name) if first else marked
        rows, columns, of = quantities.setdefault(name, {}), [""], ""
        for line in lines:
            label, cells = line[2:12].strip(), line[12:]
            if not line[:12].strip():
                columns = re.findall(r"(?:unit|input) \d+", cells)
            elif label == "yours":
                rows[f"{of} yours"] = dict(zip(columns, cells.split(), strict=True))
            elif re.fullmatch(r"right|(unit|example) \d+", label):
                rows[of := label] = dict(zip(columns, cells.split(), strict=True))
    return quantities, marked


def written_out(report):
    """(name, value, what Python makes of the written-out sum, the candidate's number)."""
    arithmetic = report.numbers.arithmetic
    assert arithmetic in re.sub(r"\s+", " ", report.table())
    name, terms, value, _, yours = ARITHMETIC.fullmatch(arithmetic).groups()
    return name, value, eval(re.sub(r"\[[^]]*\]", "", terms or value), {}), float(yours)


def evaluates(report):
    """Whether the written-out sum is the number behind it, in all its digits."""
    _, value, sum, yours = written_out(report)
    return f"{sum:.6g}" == f"{float(value):.6g}" != f"{yours:.6g}"


def pasted(report):
    names = {}
    exec(report.example, names)
    return [names[name] for name in ("params", "x", "y")]


def numbers(values):
    return [f"{x + 0.0:.4g}" for x in np.ravel(values).tolist()]


def shown(row):
    return [f"{float(text):.4g}" for text in row.values()]


SETTINGS = {
    "ReLU": {},
    "tanh, cross-entropy": {"activation": "tanh", "loss": "softmax_cross_entropy"},
    "sigmoid, sigmoid": {"activation": "sigmoid", "output_activation": "sigmoid"},
    "GELU, Poisson": {"activation": "gelu", "loss": "poisson"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_numbers_are_those_of_algorithm_5_to_the_digits_shown(name):
    keywords, sizes = SETTINGS[name], (4, 5, 3, 2)
    targets = fcnet.losses.get_loss(keywords.get("loss", "squared_error")).draw
    y = targets(np.random.default_rng(0), 1, 2)[0].astype(float)

    def twice(params, x, y):
        with jax.enable_x64(True):
            grads = fcnet.backprop(params, x, y, **keywords)
            (W, b), *others = jax.tree.map(np.asarray, grads)
            return [(2 * W, b), *others]

    report = fcnet.check(twice, network(sizes), data(1, sizes)[0][0], y, **keywords)
    params, x, y = pasted(report)
    with jax.enable_x64(True):
        sigmas = {key: keywords[key] for key in keywords if key != "loss"}
        trace = forward_trace(params, x, **sigmas)
        layers = tuple(map(Layer._make, params))
        right = fcnet.backprop(layers, x, y, **keywords)
        own = deltas(params, trace, y, **keywords)
    trace, own, right = jax.tree.map(np.asarray, (trace, own, right))
    quantities, marked = parsed(report.table())
    assert marked == (5, 1, "dW[1]")
    assert shown(quantities["a[0]"]["right"]) == numbers(x)
    assert shown(quantities["y"]["right"]) == numbers(y)
    assert shown(quantities["o = a[3]"]["right"]) == numbers(trace.a[3])
    for k in (1, 2, 3):
        assert shown(quantities[f"z[{k}]"]["right"]) == numbers(trace.z[k - 1])
        assert shown(quantities[f"delta[{k}]"]["right"]) == numbers(own[k - 1])
        assert shown(quantities[f"db[{k}]"]["right"]) == numbers(right[k - 1].b)
        for i, row in enumerate(right[k - 1].W):
            assert shown(quantities[f"dW[{k}]"][f"unit {i}"]) == numbers(row)
            yours = quantities[f"dW[{k}]"].get(f"unit {i} yours")
            assert (k > 1 or not row.any()) == (yours is None)
            assert yours is None or shown(yours) == numbers(2 * row)
    assert evaluates(report)


def by_hand(params, x, y, *, loss=1.0, bias=1.0, error=1.0, slope=0.0, outer=1.0, sum=1.0):
    """The loss and the gradient of a tanh network; each keyword spoils one line of Algorithm 5."""
    (W1, b1), (W2, b2) = params
    a = np.tanh(W1 @ x + b1)
    o = W2 @ a + bias * b2
    delta2 = error * (o - y)
    delta1 = W2.T @ delta2 * (1 - (1 - slope) * a * a)
    dW1, dW2 = outer * np.outer(delta1, x), np.outer(delta2, a)
    return loss * ((o - y) ** 2).sum() / 2, [(dW1, delta1), (dW2, sum * delta2)]


SLIPS = {
    "line 1, J": ({"loss": 0.9}, (1, None, "J"), {"delta[2]": "agrees", "dW[1]": "agrees"}),
    "line 1, z": ({"bias": 0.5}, (1, None, "J"), {"delta[2]": "differs", "dW[2]": "follows"}),
    "line 2": ({"error": -1.0}, (2, 2, "delta[2]"), {"dW[2]": "follows", "delta[1]": "follows"}),
    "line 4": ({"slope": 1.0}, (4, 1, "delta[1]"), {"dW[2]": "agrees", "dW[1]": "follows"}),
    "line 5, dW": ({"outer": 2.0}, (5, 1, "dW[1]"), {"delta[1]": "agrees", "db[1]": "agrees"}),
    "line 5, db": ({"sum": 2.0}, (5, 2, "db[2]"), {"delta[2]": "agrees", "delta[1]": "agrees"}),
    "lines 2 and 5": (
        {"error": 2.0, "outer": 3.0},
        (2, 2, "delta[2]"),
        {"delta[1]": "follows", "dW[1]": "wrong", "db[1]": "follows"},
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_the_first_line_that_differs_is_marked_and_what_follows_from_it_is_told(slip):
    changes, expected, others = SLIPS[slip]
    X, Y = data(1)
    report = fcnet.check(
        lambda *arguments: by_hand(*arguments, **changes), network(), X[0], Y[0], activation="tanh"
    )
    text = report.table()
    quantities, marked = parsed(text)
    assert marked == expected
    states = {quantity.name: quantity.state for quantity in report.numbers.quantities}
    assert others.items() <= states.items()
    assert evaluates(report)
    name, value, _, yours = written_out(report)
    assert name.startswith(expected[2])
    row = [int(i) for i in re.findall(r"\[(\d+)\]", name)[1:]]
    label = f"unit {row[0]}" if len(row) == 2 else "right"
    entries = quantities[expected[2]]
    column = list(entries[label])[row[-1] if row else 0]
    assert float(entries[label][column]) == pytest.approx(float(value), rel=1e-3)
    assert float(entries[f"{label} yours"][column]) == pytest.approx(yours, rel=1e-3)
    assert max(map(len, text.splitlines())) <= 100


def test_planted_faults_are_marked_in_their_place_and_nowhere_else():
    places = [
        (i, (fault, k))
        for i in range(len(NETWORKS))
        for fault in (*FAULTS, *RARE_FAULTS)
        for k in layers(i, fault)
    ]
    marked = 0
    for i, (fault, k) in places[::97]:
        case, right, answer, _ = evidence(i, [(fault, k)], (1,))[0]
        slots = layouts_of([tuple(layer) for layer in case.params])[0].slots
        cost = cost_of(NETWORKS[i][0])
        table = network_table(cost, case, right, answer, {(s.role, s.layer): s for s in slots})
        states = {quantity.name: quantity.state for quantity in table.quantities}
        seen = set(states.values()) != {"unseen", "agrees"}
        assert (states[f"{fault.quantity}[{k}]"] == "first") == seen
        assert "wrong" not in states.values()
        marked += seen
    assert marked > 20


def test_a_batch_shows_its_examples_in_sum():
    def summed(params, X, Y):
        return [(len(X) * W, len(X) * b) for W, b in gradient(params, X, Y)[1]]

    report = fcnet.check(summed, network(), *data(5), batched=True)
    params, X, Y = pasted(report)
    quantities, marked = parsed(report.table())
    assert marked == (5, 2, "dW[2]")
    trace = jax.vmap(forward_trace, in_axes=(None, 0))(params, X)
    for i in range(2):
        own = deltas(params, jax.tree.map(lambda x, i=i: x[i], trace), Y[i])
        for k in (1, 2):
            assert shown(quantities[f"delta[{k}]"][f"example {i}"]) == numbers(own[k - 1])
            assert shown(quantities[f"z[{k}]"][f"example {i}"]) == numbers(trace.z[k - 1][i])
    right = gradient(params, X, Y)[1]
    assert shown(quantities["db[1]"]["right"]) == numbers(right[0][1])
    assert shown(quantities["dW[2]"]["unit 1"]) == numbers(right[1][0][1])
    assert evaluates(report)
    assert written_out(report)[3] == pytest.approx(2 * float(written_out(report)[1]), rel=1e-5)
    assert "no delta of theirs" in report.table()


@pytest.mark.parametrize("layout", ["in, out", "names", "column biases"])
def test_an_entry_is_named_as_in_the_users_own_arrays(layout):
    def spoilt(params, X, Y):
        loss, ((dW1, db1), last) = gradient(params, X, Y)
        return loss, [(dW1 + np.eye(*dW1.shape)[:, ::-1], db1), last]

    params = LAYOUTS[layout].write(network())
    report = fcnet.check(in_layout(layout, spoilt), params, *data(5), batched=True)
    pattern = r"dW\[1\]\[(\d)\]\[(\d)\] .*; your (.*?)\[(\d), (\d)\] is"
    named = re.search(pattern, report.numbers.arithmetic)
    i, j, path, *own = named.groups()
    assert own == ([j, i] if layout == "in, out" else [i, j])
    assert path in [leaf.path for leaf in report.leaves]


def test_without_biases_delta_is_seen_in_the_weights_and_the_added_term_is_told():
    def backward(params, x, y):
        W1, W2 = params
        a = np.tanh(W1 @ x)
        delta2 = W2 @ a - y
        delta1 = 2 * W2.T @ delta2 * (1 - a * a)
        return [np.outer(delta1, x) + 0.5 * W1, np.outer(delta2, a) + 0.5 * W2]

    X, Y = data(1)
    params = [W for W, _ in network()]
    report = fcnet.check(backward, params, X[0], Y[0], activation="tanh", l2=0.5)
    quantities, marked = parsed(report.table())
    assert marked == (4, 1, "delta[1]")
    assert "db[1]" not in quantities
    assert "which your dW1 shows" in report.table()
    assert "dW[1] = delta[1] a[0]^T + dR/dW[1]" in report.table()
    (W1, W2), x, y = pasted(report)
    a = np.tanh(W1 @ x)
    delta2 = W2 @ a - y
    assert shown(quantities["dW[2]"]["unit 1"]) == numbers((np.outer(delta2, a) + 0.5 * W2)[1])
    assert shown(quantities["delta[1]"]["right"]) == numbers(W2.T @ delta2 * (1 - a * a))
    assert evaluates(report)


def test_an_entry_with_an_added_term_is_written_out_with_it():
    X, Y = data(1)
    report = fcnet.check(
        lambda *arguments: by_hand(*arguments)[1], network(), X[0], Y[0], activation="tanh", l2=0.5
    )
    assert parsed(report.table())[1] == (5, 2, "dW[2]")
    assert evaluates(report)


def test_a_step_is_shown_as_the_gradient_that_it_takes():
    def step(params, X, Y):
        pairs = zip(params, gradient(params, X, Y)[1], strict=True)
        return [(W - 0.5 * dW, b - 0.25 * db) for (W, b), (dW, db) in pairs]

    report = fcnet.check(step, network(), *data(5), batched=True, learning_rate=0.25)
    assert "(before - after) / 0.25" in report.table()
    _, right, _, yours = written_out(report)
    assert yours == pytest.approx(2 * float(right), rel=1e-5)


def test_of_wide_layers_the_worst_units_are_shown():
    def spoilt(params, x, y):
        (dW1, db1), last = gradient(params, x[None], y[None])[1]
        dW1[33, 77] += 1.0
        return [(dW1, db1), last]

    X, Y = data(1, (100, 40, 3))
    report = fcnet.check(spoilt, network((100, 40, 3)), X[0], Y[0])
    text = report.table()
    quantities, marked = parsed(text)
    assert marked == (5, 1, "dW[1]")
    assert len(quantities["dW[1]"]["unit 33"]) == len(quantities["z[1]"]["right"]) == 8
    assert "input 77" in quantities["dW[1]"]["unit 33 yours"]
    assert "8 of 40 units, 8 of 100 inputs" in text
    assert max(map(len, text.splitlines())) <= 100
    assert evaluates(report)


def test_a_long_sum_is_written_out_by_its_largest_terms():
    def spoilt(params, X, Y):
        _, (dW2, db2) = gradient(params, X, Y)[1]
        delta = params[1][0].T @ db2  # lacks ReLU'
        return [(np.outer(delta, X[0]), delta), (dW2, db2)]

    X, Y = data(1, (4, 3, 30))
    sizes = (4, 3, 30)
    report = fcnet.check(
        lambda params, x, y: spoilt(params, x[None], y[None]), network(sizes), X[0], Y[0]
    )
    assert "[23 more]" in report.numbers.arithmetic
    assert evaluates(report)


@pytest.mark.parametrize("convention", [0.0, 0.5, 1.0])
def test_any_slope_at_a_kink_agrees_and_the_kink_is_told(convention):
    layers = (
        Layer(np.array([[1.0], [2.0]]), np.array([-1.0, 1.0])),
        Layer(np.ones((1, 2)), np.ones(1)),
    )
    case = Case("an input", layers, np.ones((1, 1)), np.zeros((1, 1)))  # z[1] = (0, 3), o = 4
    right = reference(cost_of(Setting("relu")), case, FORMATS["float64"])
    delta1 = np.array([4 * convention, 4.0])
    answer = (Layer(delta1[:, None], delta1), Layer(np.array([[0.0, 12.0]]), np.array([5.0])))
    slots = layouts_of([tuple(layer) for layer in layers])[0].slots
    table = network_table(
        cost_of(Setting("relu")),
        case,
        right,
        Answer(answer, None, np.dtype(float)),
        {(slot.role, slot.layer): slot for slot in slots},
    )
    (kink,) = [remark for remark in table.remarks if "kink" in remark]
    assert kink.endswith("At one: z[1][0].")
    states = {quantity.name: quantity.state for quantity in table.quantities}
    assert states["db[2]"] == "first"
    assert states["delta[1]"] == states["dW[1]"] == "agrees"
    (delta,) = [quantity for quantity in table.quantities if quantity.name == "delta[1]"]
    assert delta.right == ((4.0, 4.0),)


@pytest.mark.parametrize("slope", [-0.5, 2.0])
def test_a_slope_at_a_kink_that_is_not_between_the_two_differs(slope):
    def backward(params, x, y):
        (W1, b1), (W2, b2) = params
        z = W1 @ x + b1
        delta2 = W2 @ np.maximum(z, 0) + b2 - y
        delta1 = W2.T @ delta2 * np.where(z == 0, slope, z > 0)
        return [(np.outer(delta1, x), delta1), (np.outer(delta2, np.maximum(z, 0)), delta2)]

    params = [(W, np.zeros(len(b))) for W, b in network()]
    report = fcnet.check(backward, params, np.zeros(params[0][0].shape[1]), np.ones(2))
    assert parsed(report.table())[1] == (4, 1, "delta[1]")


def chain(w, x):
    z = checkpoint_name(w * x, "z")
    return jnp.sum(checkpoint_name(jnp.sin(z), "<b>s") ** 2 + z)


def chain_back(w, x, *, s=2.0, z=1.0):
    ds = s * np.sin(w * x)
    dz = z * (ds * np.cos(w * x) + 1)
    return dz * x, {"z": dz, "<b>s": ds}


def test_named_values_are_shown_by_name_and_escaped():
    W, X = np.array([0.3, -1.2, 0.8]), np.array([1.5, 0.4, -2.0])
    report = fcnet.check_gradient(lambda w, x: chain_back(w, x, z=3.0), chain, W, X)
    states = [(q.name, q.state) for q in report.numbers.quantities]
    assert states == [
        ("the gradient of <b>s", "agrees"),
        ("the gradient of z", "first"),
        ("the gradient of w", "follows"),
    ]
    right = jax.grad(lambda z: jnp.sum(jnp.sin(z) ** 2 + z))(W * X)
    assert numbers(report.numbers.quantities[1].right) == numbers(right)
    assert "[through <b>s]" in report.numbers.arithmetic
    assert "[straight from the result]" in report.numbers.arithmetic
    assert evaluates(report)
    both = fcnet.check_gradient(lambda w, x: chain_back(w, x, s=3.0, z=-1.0), chain, W, X)
    assert [q.state for q in both.numbers.quantities] == ["first", "wrong", "follows"]
    assert numbers(both.numbers.quantities[2].right) == numbers(right * X)
    page = report.to_html()
    assert "&lt;b&gt;s" in page
    assert "<b>s" not in page


def test_two_mistakes_that_cancel_leave_an_array_right():
    args = np.array([0.3, -1.2, 0.8]), np.array([1.5, 0.4, -2.0])

    def signs(w, x):
        ds = -2 * np.sin(w * x)
        dz = 1 - ds * np.cos(w * x)
        return dz * x, {"z": dz, "<b>s": ds}

    report = fcnet.check_gradient(signs, chain, *args)
    assert [q.state for q in report.numbers.quantities] == ["first", "agrees", "agrees"]


def test_an_array_of_many_dimensions_keeps_the_width():
    report = fcnet.check_gradient(lambda x: 3 * x, lambda x: jnp.sum(x**2), np.ones((1,) * 30))
    for text in (report.table(), str(report)):
        assert max(map(len, text.splitlines())) <= 100


def test_an_empty_array_among_wrong_ones_is_no_obstacle():
    def function(x, y):
        return jnp.sum(x) + jnp.sum(y**2)

    report = fcnet.check_gradient(lambda x, y: (x, 3 * y), function, np.ones((0, 3)), np.ones(2))
    assert report.findings[0].kind == "scaled"
    assert "the gradient of y" in report.table()


def test_names_with_unsafe_characters_are_escaped_before_lines_are_broken():
    name = "\x1b[2J\u202e" * 12
    report = fcnet.check_gradient(
        lambda x: (6 * x, {name: 3 * np.ones(2)}),
        lambda x: jnp.sum(checkpoint_name(x * x, name)),
        np.ones(2),
    )
    page = report.to_html()
    for text in (report.table(), str(report)):
        assert max(map(len, text.splitlines())) <= 100
        assert not {"\x1b", "\u202e"} & {*text, *page}


@pytest.mark.parametrize("program", ["batch norm", "attention"])
def test_a_wrong_step_of_a_program_is_marked_and_nothing_else(program):
    args = NAMED[program].draw(np.random.default_rng(0))
    for place, kind in faults_of(NAMED[program], args)[3::23]:
        candidate = gradient_of(NAMED[program], (place, kind))
        report = fcnet.check_gradient(candidate, NAMED[program].function, *args)
        states = {quantity.name: quantity.state for quantity in report.numbers.quantities}
        assert states[f"the gradient of {place}"] == "first"
        assert "wrong" not in states.values()


def test_a_report_with_its_numbers_is_plain_data_and_asks_the_candidate_no_more():
    calls = []

    def backward(params, x, y):
        calls.append(0)
        return by_hand(params, x, y, slope=1.0)

    X, Y = data(1)
    report = fcnet.check(backward, network(), X[0], Y[0], activation="tanh")
    count = len(calls)
    text, page = report.table(), report.to_html()
    assert len(calls) == count
    assert pickle.loads(pickle.dumps(report)).table() == text
    quantities = json.loads(report.to_json())["numbers"]["quantities"]
    assert [q["heading"] for q in quantities] == [
        line.removeprefix(">> ").rstrip()
        for block in text.split("\n\n")[1:]
        for line in block.splitlines()[:1]
    ]
    assert page.count("<div class='lines") == len(quantities)
    assert page.count("<div class='lines first'>") == 1
    for quantity in quantities:
        assert all(f"{x + 0.0:.4g}" in page for row in quantity["right"] for x in row)


def test_where_no_number_is_wrong_a_sentence_says_so():
    X, Y = data(1)
    right = fcnet.check(by_hand, network(), X[0], Y[0], activation="tanh")
    assert right.table() == (
        "Your numbers and the right ones agree on every input: there is no table of them."
    )
    unread = fcnet.check(lambda *_: "nonsense", network(), X[0], Y[0])
    assert "in the findings" in unread.table()
    nothing = fcnet.check_gradient(np.zeros_like, lambda x: jnp.sum(0 * x), np.ones(3))
    assert nothing.verdict == "cannot tell"
    assert "whether yours are right" in nothing.table()
    for report in (right, unread, nothing):
        assert report.numbers is None
        assert "beside the right ones" not in report.to_html()


def test_numbers_that_are_not_finite_are_shown():
    def backward(params, x, y):
        first, (dW2, db2) = by_hand(params, x, y)[1]
        return [first, (dW2 * np.inf, db2 * np.nan)]

    X, Y = data(1)
    report = fcnet.check(backward, network(), X[0], Y[0], activation="tanh")
    assert "nan" in report.table()
    assert "inf" in report.table()
    assert "not finite" in report.to_html()
    json.loads(report.to_json())


def test_a_gradient_of_nothing_but_nan_is_said_to_be_that_and_nothing_else():
    def backward(params, x, y):
        return [(W * np.nan, b * np.nan) for W, b in params]

    @jax.custom_vjp
    def square(x):
        return x**2

    square.defvjp(lambda x: (x**2, x), lambda x, cotangent: (jnp.nan * x * cotangent,))
    X, Y = data(1)
    reports = (
        fcnet.check(backward, network(), X[0], Y[0]),
        fcnet.check_vjp(square, lambda x: x**2, np.ones(3)),
    )
    for report in reports:
        assert {finding.kind for finding in report.findings} == {"not_finite"}
    assert parsed(reports[0].table())[1] == (2, 2, "delta[2]")

"""Parameters without biases, with bias columns, or in one vector: read as what they are."""

import jax
import numpy as np
import pytest
from support.correct_candidates import SIZES, ReLU, data, gradient, network
from support.other_layouts import OTHER_LAYOUTS, WITHOUT_BIASES, candidate_in, parameters_in

import fcnet
from fcnet.verify.binding import bind
from fcnet.verify.readings import readings_of

pytestmark = pytest.mark.untyped

N = 7


def delta_doubled(pairs, X, Y):
    """Wrong in the output's delta, so that no array is right."""
    loss, result = gradient(pairs, X, Y)
    return loss, [(2 * dW, 2 * db) for dW, db in result]


def sign_in_layer_1(pairs, X, Y):
    loss, ((dW1, db1), above) = gradient(pairs, X, Y)
    return loss, [(-dW1, db1), above]


def known_sizes(name):
    return SIZES if "vector" in name else None


@pytest.mark.parametrize("name", OTHER_LAYOUTS)
def test_the_gradient_settles_what_shapes_leave_open(name):
    params, pairs = parameters_in(name, network())
    X, Y = data(N)
    for function, loss in (
        (gradient, False),
        (gradient, True),
        (delta_doubled, True),
        (delta_doubled, False),
        (sign_in_layer_1, False),
    ):
        backward = candidate_in(name, function, loss)
        candidate = bind(backward, params, X, Y, ReLU, batched=True, sizes=known_sizes(name))
        read = [tuple(layer) for layer in candidate.own.params]
        jax.tree.map(np.testing.assert_array_equal, read, pairs)
        again = candidate.arguments(candidate.own)[0]
        jax.tree.map(np.testing.assert_array_equal, again, params)
        answer = candidate.call(candidate.own).answer
        expected = [tuple(layer) for layer in function(pairs, X, Y)[1]]
        got = [(W, expected[k][1] if b is None else b) for k, (W, b) in enumerate(answer.gradient)]
        jax.tree.map(np.testing.assert_array_equal, got, expected)
        assert all((b is None) == (name in WITHOUT_BIASES) for _, b in answer.gradient)


@pytest.mark.parametrize("name", ["names of weights", "bias column first", "vector, bias columns"])
def test_reports_in_these_layouts(name):
    params, _ = parameters_in(name, network())
    X, Y = data(N)
    options = {"batched": True, "sizes": known_sizes(name)}
    right = fcnet.check(candidate_in(name), params, X, Y, **options)
    assert right.ok, right
    assert right.sizes == SIZES
    wrong = fcnet.check(candidate_in(name, sign_in_layer_1), params, X, Y, **options)
    (finding,) = wrong.findings
    assert finding.kind == "sign"
    assert finding.layer == 1
    # without a bias, delta[1] and dW[1] have the same sign or none has
    assert finding.line == (4 if name in WITHOUT_BIASES else 5)
    worst = max(wrong.leaves, key=lambda leaf: leaf.error / leaf.tolerance)
    assert worst.path.startswith("dW1")
    assert "your dW1" in finding.message


@pytest.mark.parametrize("name", OTHER_LAYOUTS)
def test_an_index_is_where_the_user_finds_the_number(name):
    params, pairs = parameters_in(name, network())
    candidate = bind(candidate_in(name), params, *data(N), ReLU, batched=True, sizes=SIZES)
    layout = candidate.layout
    for slot, theirs in zip(layout.slots, layout.leaves(params), strict=True):
        mine = pairs[slot.layer - 1]["Wb".index(slot.role)]
        for index in np.ndindex(*mine.shape):
            assert theirs[slot.where(index)] == mine[index]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


SLIPS = {
    "none": None,
    "o - y": (2, 2),
    "twice": (2, 2),
    "no slope": (4, 1),
    "W2 for its transpose": (4, 1),
    "sign of dW2": (5, 2),
    "mean for sum": (5, 2),
    "dW1 of the wrong product": (5, 1),
}


def eleven_lines(slip):
    """Two layers without biases, as in a short public program."""

    def backward(params, X, Y):
        W1, W2 = params
        a = sigmoid(X @ W1)
        o = sigmoid(a @ W2)
        d2 = (o - Y) * (1 if slip == "o - y" else o * (1 - o)) * (2 if slip == "twice" else 1)
        back = d2 @ (W2 if slip == "W2 for its transpose" else W2.T)
        d1 = back * (1 if slip == "no slope" else a * (1 - a))
        dW1, dW2 = X.T @ d1, a.T @ d2
        if slip == "sign of dW2":
            dW2 = -dW2
        if slip == "mean for sum":
            dW2 /= len(X)
        if slip == "dW1 of the wrong product":
            dW1 = (d1.T @ X).reshape(dW1.shape)
        return [dW1, dW2]

    return backward


@pytest.mark.parametrize("slip", SLIPS)
def test_a_network_of_two_matrices(slip):
    rng = np.random.default_rng(0)
    square = slip == "W2 for its transpose"
    X = rng.integers(0, 2, (4, 6)).astype(float)
    Y = rng.integers(0, 2, (4, 3 if square else 1)).astype(float)
    params = [rng.normal(size=(6, 3)), rng.normal(size=(3, Y.shape[1]))]
    report = fcnet.check(
        eleven_lines(slip),
        params,
        X,
        Y,
        activation="sigmoid",
        output_activation="sigmoid",
        batched=True,
        reduction="sum",
    )
    assert report.sizes == (6, 3, Y.shape[1])
    found = [(finding.line, finding.layer) for finding in report.findings]
    assert found == ([] if SLIPS[slip] is None else [SLIPS[slip]]), report
    assert report.ok == (not found)


def test_single_examples_without_biases():
    rng = np.random.default_rng(0)
    params = {"W1": rng.normal(size=(3, 4)), "W2": rng.normal(size=(2, 3))}
    x, y = rng.normal(size=4), rng.normal(size=2)

    def backward(params, x, y, slip=1.0):
        a = np.tanh(params["W1"] @ x)
        d2 = params["W2"] @ a - y
        d1 = (params["W2"].T @ d2) * (1 - slip * a**2)
        return {"W1": np.outer(d1, x), "W2": np.outer(d2, a)}

    assert fcnet.check(backward, params, x, y, activation="tanh").ok
    report = fcnet.check(lambda *a: backward(*a, slip=0), params, x, y, activation="tanh")
    (finding,) = report.findings
    assert finding[:4] == (4, "delta", 1, "missing_derivative")
    assert "which your dW1 shows," in finding.message


def test_only_the_last_layer_has_a_bias():
    rng = np.random.default_rng(1)
    params = {"W1": rng.normal(size=(3, 4)), "W2": rng.normal(size=(2, 3)), "b2": np.ones(2)}
    X, Y = data(N)

    def backward(params, X, Y, c=1.0):
        a = np.tanh(X @ params["W1"].T)
        d2 = (a @ params["W2"].T + params["b2"] - Y) / len(X)
        d1 = d2 @ params["W2"] * (1 - a**2)
        return {"dW1": d1.T @ X, "dW2": d2.T @ a, "db2": c * d2.sum(0)}

    assert fcnet.check(backward, params, X, Y, activation="tanh", batched=True).ok
    report = fcnet.check(
        lambda *a: backward(*a, c=-1), params, X, Y, activation="tanh", batched=True
    )
    (finding,) = report.findings
    assert finding[:4] == (5, "db", 2, "sign")


def test_a_vector_of_one_neuron():
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(6, 3)), rng.normal(size=6)

    def plain(w, X, y):
        return X.T @ (X @ w - y) / len(X)

    def with_bias(w, X, y):
        e = X @ w[1:] + w[0] - y
        return np.r_[e.mean(), X.T @ e / len(X)]

    assert fcnet.check(plain, rng.normal(size=3), X, y, batched=True).ok
    assert fcnet.check(with_bias, rng.normal(size=4), X, y, batched=True).ok


def nothing(params, X, Y):
    return 0 * params if isinstance(params, np.ndarray) else [0 * W for W in params]


@pytest.mark.parametrize(
    ("params", "sizes", "words"),
    [
        (np.ones(23), None, r"one vector of numbers: give sizes=\(d, m_1"),
        (np.ones((23, 1)), None, r"one vector of numbers: give sizes=\(d, m_1"),
        (np.ones(23), (4, 5, 2), "which has 37 numbers, or 30 without biases"),
        (np.ones(23), (4, 3, 2), "which numbers of params are W and which b: return"),
        (np.ones(23), (4,), r"such as \(4, 5, 3\), got \(4,\)"),
        (np.ones(23), (4, 0, 2), r"got \(4, 0, 2\)"),
        ([np.ones((3, 4)), np.ones((2, 3))], (4, 2), r"but one of sizes \(4, 3, 2\)"),
        ([np.ones((3, 4)), np.ones((6, 2))], None, "do not chain"),
    ],
)
def test_what_stays_open_is_asked_for(params, sizes, words):
    X, Y = data(N)
    with pytest.raises(ValueError, match=words):
        bind(nothing, params, X, Y, ReLU, batched=True, sizes=sizes)


def test_two_networks_of_other_sizes_fit():
    params = [np.ones((4, 2)), np.ones((2, 1))]
    X, Y = data(5)[0], np.array([[1.0], [0], [1], [0], [1]])
    with pytest.raises(ValueError, match=r"give sizes=\(4, 2\) or sizes=\(4, 2, 1\)"):
        bind(nothing, params, X, Y, ReLU, batched=True)
    assert bind(nothing, params, X, Y, ReLU, batched=True, sizes=[4, 2, 1]).layout.sizes == (
        4, 2, 1,
    )  # fmt: skip


def test_what_was_read_before_is_read_alike():
    pairs = network()
    (layout,) = readings_of(pairs)
    assert [slot.part for slot in layout.slots] == [None] * 4
    with pytest.raises(TypeError, match="one W and one b for each layer"):
        readings_of({"hidden": np.ones(3), "output": np.ones((2, 2))})


@pytest.mark.parametrize("name", ["list of weights", "pairs with None", "vector, bias columns"])
def test_a_loss_with_a_term_in_these_layouts(name):
    params, _ = parameters_in(name, network())
    X, Y = data(N)

    def with_decay(pairs, X, Y):
        loss, result = gradient(pairs, X, Y)
        half = sum((W**2).sum() for W, _ in pairs) / 2
        return loss + 0.25 * half, [
            (dW + 0.25 * W, db) for (dW, db), (W, _) in zip(result, pairs, strict=True)
        ]

    options = {"batched": True, "sizes": known_sizes(name)}
    for loss in (False, True):
        backward = candidate_in(name, with_decay, loss)
        assert fcnet.check(backward, params, X, Y, l2=0.25, **options).ok
        own = fcnet.check(backward, params, X, Y, **options)
        assert own.ok == loss
        assert [f.kind for f in own.findings] == ([] if loss else ["weight_decay"])


@pytest.mark.parametrize("name", ["list of weights", "pairs with None", "bias column first"])
@pytest.mark.parametrize("in_place", [False, True])
def test_training_steps_in_these_layouts(name, in_place):
    params, _ = parameters_in(name, network())
    X, Y = data(N)

    def step(params, X, Y, sign=1):
        gradients = candidate_in(name)(params, X, Y)

        def moved(theta, g):
            if theta is None:
                return None
            if in_place:
                theta -= sign * 0.5 * g
            return theta - (not in_place) * sign * 0.5 * g

        new = jax.tree.map(moved, params, gradients, is_leaf=lambda leaf: leaf is None)
        return None if in_place else new

    assert fcnet.check(step, params, X, Y, batched=True, learning_rate=0.5).ok
    wrong = fcnet.check(lambda *a: step(*a, sign=-1), params, X, Y, batched=True, learning_rate=0.5)
    assert {finding.kind for finding in wrong.findings} == {"sign"}

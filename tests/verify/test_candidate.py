"""Binding and calling: any layout of the same network gives the same canonical gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.correct_candidates import (
    LAYOUTS,
    SIZES,
    ReLU,
    alone,
    cost,
    data,
    gradient,
    in_layout,
    jitted,
    loops,
    network,
    one,
    reference_of,
    student,
    torch_functions,
)

from fcnet import Layer, backprop, batch_backprop
from fcnet.verify.agreement import agree, bounds_of
from fcnet.verify.binding import bind
from fcnet.verify.candidate import Candidate
from fcnet.verify.types import Case

N = 5


def right(candidate: Candidate, case: Case | None = None) -> None:
    """The candidate's answer on a case is the gradient by autodiff."""
    case = candidate.own if case is None else case
    call = candidate.call(case)
    assert call.findings == ()
    reference = reference_of(ReLU, case, candidate.format.u)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(reference.gradient))
    assert agree(
        call.answer._replace(gradient=reference.gradient), call.answer, bounds_of(reference)
    )
    if call.answer.loss is not None:
        assert abs(call.answer.loss - reference.loss) <= reference.loss_tolerance


def elsewhere(candidate: Candidate, n: int) -> Case:
    pairs, (X, Y) = network(candidate.layout.sizes, seed=3), data(n, candidate.layout.sizes, seed=4)
    layers = tuple(Layer(W, b) for W, b in pairs)
    return candidate.representable(Case("another input", layers, X, Y))


@pytest.mark.parametrize("loss", ["no", "first", "last"])
@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_gradient(name, columns, loss):
    X, Y = data(N)
    x, y = (X.T, Y.T) if columns else (X, Y)
    params = LAYOUTS[name].write(network())
    candidate = bind(in_layout(name, columns=columns, loss=loss), params, x, y, ReLU, batched=True)
    assert candidate.own.name == "your input"
    np.testing.assert_array_equal(candidate.own.X, X)
    np.testing.assert_array_equal(candidate.own.Y, Y)
    right(candidate)
    right(candidate, elsewhere(candidate, 3))
    answer = candidate.call(candidate.own).answer
    expected = tuple(Layer(W, b) for W, b in gradient(network(), X, Y)[1])
    jax.tree.map(np.testing.assert_array_equal, answer.gradient, expected)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_kinds_of_candidates(dtype):
    pairs, (X, Y) = network(dtype=np.dtype(dtype)), data(N, dtype=np.dtype(dtype))
    names = LAYOUTS["names"].write(pairs)
    right(bind(student, names, X, Y, ReLU, batched=True))
    right(bind(one(in_layout("names")), names, X[0], Y[0], ReLU))
    with jax.enable_x64(True):
        params, XX, YY = jax.tree.map(jnp.asarray, (LAYOUTS["fcnet"].write(pairs), X, Y))
    for function in (jitted, alone(), jax.jit(batch_backprop)):
        candidate = bind(function, params, XX, YY, ReLU, batched=True)
        assert candidate.in_jax
        assert candidate.dtype == np.dtype(dtype)
        right(candidate)  # in double precision outside `enable_x64` too
        right(candidate, elsewhere(candidate, N))
    right(bind(jax.jit(backprop), params, XX[0], YY[0], ReLU))


def test_lists_of_numbers_and_loops():
    (W1, b1), (W2, b2) = network()
    X, Y = data(1)
    params = [leaf.tolist() for leaf in (W1, b1, W2, b2)]
    candidate = bind(loops, params, X[0].tolist(), Y[0].tolist(), ReLU)
    right(candidate)
    right(candidate, elsewhere(candidate, 1))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_pytorch(dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is a dependency of the tests only")
    tensors = [[torch.tensor(a.astype(dtype)) for a in pair] for pair in network()]
    X, Y = (torch.tensor(a.astype(dtype)) for a in data(N))
    for name, function in (
        ("PyTorch", torch_functions),
        ("names", torch_functions),
        ("pairs", in_layout("pairs")),
    ):
        params = LAYOUTS[name].write(tensors)
        candidate = bind(function, params, X, Y, ReLU, batched=True)
        assert candidate.dtype == np.dtype(dtype)
        right(candidate)
        right(candidate, elsewhere(candidate, 3))


@pytest.mark.parametrize("shape", [(4,), (1, 4), (4, 1)])
@pytest.mark.parametrize("target", [(2,), (1, 2), (2, 1)])
def test_shapes_of_one_example(shape, target):
    X, Y = data(1)

    def backward(params, x, y):
        assert x.shape == shape
        assert y.shape == target
        return gradient(params, x.reshape(1, -1), y.reshape(1, -1))

    candidate = bind(backward, network(), X.reshape(shape), Y.reshape(target), ReLU)
    right(candidate)
    right(candidate, elsewhere(candidate, 1))


@pytest.mark.parametrize("shape", [(N,), (N, 1), (1, N)])
@pytest.mark.parametrize("columns", [False, True])
def test_shapes_of_scalar_targets(shape, columns):
    sizes = (4, 3, 1)
    X, Y = data(N, sizes)

    def backward(params, x, y):
        assert y.ndim == len(shape)
        return gradient(params, x.T if columns else x, y.reshape(-1, 1))

    x = X.T if columns else X
    candidate = bind(backward, network(sizes), x, Y.reshape(shape), ReLU, batched=True)
    right(candidate)
    right(candidate, elsewhere(candidate, 3))


def test_a_number_as_target():
    sizes = (4, 3, 1)
    X, Y = data(1, sizes)
    backward = one(in_layout("pairs"))
    candidate = bind(
        lambda p, x, y: backward(p, x, np.array([y])), network(sizes), X[0], float(Y[0, 0]), ReLU
    )
    right(candidate)
    assert type(candidate.arguments(elsewhere(candidate, 1))[2]) is float


@pytest.mark.parametrize("shape", [(N,), (N, 1), (1, N)])
@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.float64])
def test_class_labels(shape, kind):
    labels = np.array([0, 1, 1, 0, 1]).astype(kind).reshape(shape)
    choice = cost(loss="softmax_cross_entropy")
    seen = []
    candidate = bind(
        lambda p, x, y: seen.append(y), network(), data(N)[0], labels, choice, batched=True
    )
    np.testing.assert_array_equal(candidate.own.Y, np.eye(2)[[0, 1, 1, 0, 1]])
    candidate.call(candidate.own)
    np.testing.assert_array_equal(seen[0], labels)
    assert seen[0].dtype == kind


def test_a_single_class_label():
    choice = cost(loss="softmax_cross_entropy")
    for label in (1, np.int32(1), np.array(1), jnp.array([1])):
        candidate = bind(lambda p, x, y: None, network(), data(1)[0][0], label, choice)
        assert candidate.own.Y.tolist() == [[0.0, 1.0]]
        again = candidate.arguments(candidate.own)[2]
        assert np.shape(again) == np.shape(label)
        assert again == label


def test_the_users_own_objects_are_handed_over():
    seen = []
    params, (X, Y) = network(), data(N)
    candidate = bind(lambda *a: seen.append(a), params, X, Y, ReLU, batched=True)
    candidate.call(candidate.own, candidate.given)
    candidate.call(candidate.own)
    assert all(a is b for a, b in zip(seen[0], (params, X, Y), strict=True))
    assert not any(a is b for a, b in zip(seen[1], (params, X, Y), strict=True))


def test_another_precision_on_request():
    params, (X, Y) = network(dtype=np.float32), data(N, dtype=np.float32)
    for library, function in (
        (np.asarray, alone()),
        (np.asarray, alone(jitted)),
        (jnp.asarray, alone(jitted)),
    ):
        arguments = jax.tree.map(library, (params, X, Y))
        candidate = bind(function, *arguments, ReLU, batched=True)
        assert candidate.call(candidate.own).answer.dtype == np.float32
        finer = candidate.call(candidate.own, dtype=np.float64).answer
        assert finer.dtype == np.float64
        expected = reference_of(ReLU, candidate.own, 2.0**-53)
        assert agree(finer._replace(gradient=expected.gradient), finer, bounds_of(expected))


def test_values_are_rounded_to_what_the_user_can_hold():
    params, (X, Y) = network(dtype=np.float32), data(N)
    labels = np.array([[2, -1]] * N, np.int8)
    candidate = bind(alone(), params, X.astype(np.float16), labels, ReLU, batched=True)
    case = candidate.representable(Case("", candidate.own.params, X * 1.2345, Y + 200))
    np.testing.assert_array_equal(case.X, (X * 1.2345).astype(np.float16))
    np.testing.assert_array_equal(case.Y, np.full((N, 2), 127))
    for W, _ in case.params:
        np.testing.assert_array_equal(W, W.astype(np.float16))
    assert candidate.dtype == np.float32


@pytest.mark.parametrize("sizes", [SIZES, (4, 4, 4)])
def test_a_candidate_that_raises_is_a_finding(sizes):
    def backward(params, x, y):
        raise RuntimeError("no luck " * 1000)

    X, Y = data(N, sizes)
    candidate = bind(backward, network(sizes), X, Y, ReLU, batched=True)
    (finding,) = candidate.call(candidate.own).findings
    assert finding.kind == "raises"
    assert finding.message.startswith("on your input it raised RuntimeError: no luck")
    assert "test_candidate.py" in finding.message
    assert "in backward" in finding.message
    assert len(finding.message) < 1000


@pytest.mark.parametrize("function", [lambda *_: 1 / 0, lambda params, x, y: exit()])
def test_other_ways_to_fail(function):
    candidate = bind(function, network(), *data(N), ReLU, batched=True)
    (finding,) = candidate.call(candidate.own).findings
    assert finding.kind == "raises"


def test_warnings_of_the_candidate_are_its_own_affair():
    def backward(params, x, y):
        np.exp(np.array([1e4]))
        return gradient(params, x, y)

    X, Y = data(N)
    right(bind(backward, network(), X, Y, ReLU, batched=True))

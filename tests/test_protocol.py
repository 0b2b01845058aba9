"""Each check of form has a planted defect that it must catch, and a correct twin to accept."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from candidates import (
    LAYOUTS,
    ReLU,
    alone,
    counted,
    data,
    gradient,
    jitted,
    network,
    one,
    reference_of,
    student,
)

from fcnet import Layer, Loss
from fcnet.verify.binding import bind
from fcnet.verify.protocol import Protocol, check_finite, check_protocol
from fcnet.verify.types import Case

N = 5


def check(function, library=np.asarray, name="names", n=N, problem=ReLU, dtype=np.float64):
    """The protocol of a candidate on batches, in one library's arrays."""
    with jax.enable_x64(library is jnp.asarray):
        params = jax.tree.map(library, LAYOUTS[name].write(network(dtype=dtype)))
        x, y = map(library, data(n, dtype=dtype))
    candidate = bind(function, params, x, y, problem, batched=True)
    pairs, (X, Y) = network(dtype=dtype, seed=3), data(n, dtype=dtype, seed=4)
    layers = tuple(Layer(*(a.astype(float) for a in pair)) for pair in pairs)
    return protocol_of(candidate, Case("", layers, X.astype(float), Y.astype(float)), problem)


def protocol_of(candidate, other, problem=ReLU):
    references = [reference_of(problem, case, candidate.u) for case in (candidate.own, other)]
    return check_protocol(candidate, references[0], other, references[1])


def kinds(protocol: Protocol) -> list[str]:
    return [finding.kind for finding in protocol.findings]


def by_name(function=gradient):
    """A candidate for parameters by name from one for pairs; the names of the gradient are d..."""

    def backward(params, X, Y):
        _, pairs = function(LAYOUTS["names"].read(params), X, Y)
        return {f"d{name}": leaf for name, leaf in LAYOUTS["names"].write(pairs).items()}

    return backward


right = by_name()


def shuffled_sum(params, X, Y):
    """Right, but its rounding errors are random."""
    order = np.random.permutation(len(X))
    return right(params, X[order], Y[order])


def float32_inside(params, X, Y):
    grads = right(*jax.tree.map(np.float32, (params, X, Y)))
    return {name: leaf.astype(float) for name, leaf in grads.items()}


def float32_outside(params, X, Y):
    return right(*jax.tree.map(np.float32, (params, X, Y)))


def views(params, X, Y):
    """Views into one array, which is new in each call."""
    grads = right(params, X, Y)
    buffer = np.concatenate([leaf.ravel() for leaf in grads.values()])
    ends = np.cumsum([leaf.size for leaf in grads.values()])
    return {
        name: buffer[end - leaf.size : end].reshape(leaf.shape)
        for (name, leaf), end in zip(grads.items(), ends, strict=True)
    }


def in_own_buffers(params, X, Y):
    buffers = {f"d{name}": np.empty_like(leaf) for name, leaf in params.items()}
    for name, leaf in right(params, X, Y).items():
        buffers[name][...] = leaf
    return buffers


def irrelevant_randomness(params, X, Y):
    np.random.rand(3)
    return right(params, X, Y)


def scratch_in_place(params, X, Y):
    """Changes in place, but copies only."""
    X, params = X.copy(), {name: leaf.copy() for name, leaf in params.items()}
    grads = right(params, X, Y)
    X -= 1
    params["W1"] *= 2
    return grads


class Cached:
    """Keeps the forward pass of the last call, and uses it only if the input is the same."""

    last = None

    def __call__(self, params, X, Y):
        key = [leaf.tobytes() for leaf in (*params.values(), X, Y)]
        if self.last is None or self.last[0] != key:
            self.last = (key, right(params, X, Y))
        return {name: leaf.copy() for name, leaf in self.last[1].items()}


@pytest.mark.parametrize(
    "function",
    [right, student, shuffled_sum, views, in_own_buffers, irrelevant_randomness,
     scratch_in_place, Cached()],
)  # fmt: skip
def test_correct_candidates_have_no_fault_of_form(function):
    np.random.seed(0)
    assert kinds(check(function)) == []


@pytest.mark.parametrize("function", [float32_inside, float32_outside])
def test_a_coarser_precision_is_no_fault_of_form(function):
    protocol = check(function)
    assert kinds(protocol) == []
    said = [note for note in protocol.notes if "is float32, but" in note]
    assert bool(said) == (function is float32_outside)


@pytest.mark.parametrize("function", [jitted, alone(), alone(jitted), jax.jit(alone())])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_correct_candidates_in_jax(function, dtype):
    protocol = check(function, jnp.asarray, "pairs", dtype=dtype)
    assert kinds(protocol) == []
    assert protocol.notes == ()


def test_correct_candidates_in_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is a dependency of the tests only")
    assert kinds(check(right, torch.tensor)) == []
    assert kinds(check(gradient, torch.tensor, "pairs")) == []


def test_a_single_example_in_jax():
    params, x, y = jax.tree.map(jnp.asarray, (network(), data(1)[0][0], data(1)[1][0]))
    candidate = bind(one(gradient), params, x, y, ReLU)
    layers = tuple(Layer(W, b) for W, b in network(seed=3))
    other = candidate.representable(Case("a random input", layers, *data(1, seed=4)))
    assert kinds(protocol_of(candidate, other)) == []


def descends(params, X, Y):
    grads = right(params, X, Y)
    params["W1"] -= 0.1 * grads["dW1"]
    return grads


def remembers_in_params(params, X, Y):
    grads = right(params, X, Y)
    params["A1"] = X @ params["W1"].T
    return grads


def standardises(params, X, Y):
    grads = right(params, X, Y)
    X -= X.mean(0)
    return grads


def residual_in_place(params, X, Y):
    grads = right(params, X, Y)
    Y[:] = 0
    return grads


BUFFERS: dict[str, np.ndarray] = {}


def same_buffers(params, X, Y):
    for name, leaf in right(params, X, Y).items():
        BUFFERS.setdefault(name, np.empty_like(leaf))[...] = leaf
    return BUFFERS


ZERO = np.zeros(3)


def one_buffer_never_changed(params, X, Y):
    return right(params, X, Y) | {"db1": ZERO}


def returns_a_parameter(params, X, Y):
    return right(params, X, Y) | {"dW1": params["W1"]}


def returns_a_view_of_x(params, X, Y):
    return right(params, X, Y) | {"dW1": X[:3]}


class Accumulates:
    def __init__(self):
        self.total = None

    def __call__(self, params, X, Y):
        grads = right(params, X, Y)
        if self.total is not None:
            grads = {name: leaf + self.total[name] for name, leaf in grads.items()}
        self.total = {name: leaf.copy() for name, leaf in grads.items()}
        return grads


class First:
    """Keeps the gradient of its first call."""

    def __init__(self):
        self.first = None

    def __call__(self, params, X, Y):
        self.first = right(params, X, Y) if self.first is None else self.first
        return {name: leaf.copy() for name, leaf in self.first.items()}


class ByIdentity:
    """Keeps what it computed by the identity of the weights, as if they never changed."""

    def __init__(self):
        self.known = {}

    def __call__(self, params, X, Y):
        key = id(params["W1"])
        if key not in self.known:
            self.known[key] = (params["W1"], right(params, X, Y))
        return {name: leaf.copy() for name, leaf in self.known[key][1].items()}


class Running:
    """Centres by a mean that it goes on updating, as batch normalisation does when training."""

    def __init__(self):
        self.mean = None

    def __call__(self, params, X, Y):
        if self.mean is None or not np.array_equal(X.mean(0), self.mean):
            self.mean = X.mean(0) if self.mean is None else 0.9 * self.mean + 0.1 * X.mean(0)
        return right(params, X - self.mean, Y)


class OnlyOnce:
    def __init__(self):
        self.tape = [0]

    def __call__(self, params, X, Y):
        self.tape.pop()
        return right(params, X, Y)


class Network:
    """Holds its parameters, whatever it is given."""

    params = LAYOUTS["names"].write(network())

    def __call__(self, params, X, Y):
        return right(self.params, X, Y)


def dropout(params, X, Y):
    return right(params, X * (np.random.rand(*X.shape) < 0.5), Y)


@pytest.mark.parametrize(
    ("function", "kind", "words"),
    [
        (descends, "mutates_params", "changes its W1;"),
        (remembers_in_params, "mutates_params", "changes its params;"),
        (standardises, "mutates_inputs", "changes its x;"),
        (residual_in_place, "mutates_inputs", "changes its y;"),
        (same_buffers, "mutates_earlier_results", "overwrites the gradient"),
        (one_buffer_never_changed, "aliases", "the same memory as db1"),
        (returns_a_parameter, "aliases", "dW1 is the memory of W1 itself"),
        (returns_a_view_of_x, "aliases", "dW1 is the memory of x itself"),
        (Accumulates(), "stateful", "twice the gradient"),
        (OnlyOnce(), "stateful", "a second one like it did not: on your input it raised IndexEr"),
        (Running(), "stateful", "a call on another input changed the gradient"),
        (First(), "stale_cache", "another input gave the gradient of the first"),
        (ByIdentity(), "stale_cache", "the gradient of their old ones"),
        (Network(), "ignores_params", "params of its own"),
        (dropout, "nondeterministic", "something random"),
    ],
)
def test_planted_defects(function, kind, words):
    np.random.seed(0)
    BUFFERS.clear()
    protocol = check(function)
    assert kinds(protocol) == [kind]  # the root cause only
    assert words in protocol.findings[0].message


def test_planted_defects_in_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is a dependency of the tests only")

    def view(params, X, Y):
        return right(params, X, Y) | {"db1": params["b1"].view(3)}

    for function, kind in ((descends, "mutates_params"), (view, "aliases")):
        assert kinds(check(function, torch.tensor)) == [kind]
    assert kinds(check(same_buffers_of(torch), torch.tensor)) == ["mutates_earlier_results"]


def same_buffers_of(torch):
    buffers = {}

    def function(params, X, Y):
        for name, leaf in right(params, X, Y).items():
            buffers.setdefault(name, torch.empty_like(leaf)).copy_(leaf)
        return buffers

    return function


def test_lists_of_numbers_are_watched_too():
    params, x, y = [[[1.0, 2.0]], [0.5]], [1.0, -1.0], [3.0]

    def backward(params, x, y, fault="none"):
        (W,), (b,) = params
        delta = W[0] * x[0] + W[1] * x[1] + b - y[0]
        if fault == "mutates":
            W[0] += 1
        return [[[delta * v for v in x]], params[1] if fault == "aliases" else [delta]]

    for fault, expected in (
        ("none", []),
        ("mutates", ["mutates_params"]),
        ("aliases", ["aliases"]),
    ):
        candidate = bind(lambda *a, f=fault: backward(*a, fault=f), params, x, y, ReLU)
        layers = (Layer(np.array([[3.0, -1.0]]), np.array([2.0])),)
        other = Case("a random input", layers, 2 * candidate.own.X, candidate.own.Y)
        assert kinds(protocol_of(candidate, other)) == expected


@pytest.mark.filterwarnings("ignore:Some donated buffers")
def test_donated_arguments_are_used_up():
    donating = jax.jit(alone(), donate_argnums=0)
    assert kinds(check(donating, jnp.asarray, "pairs")) == ["mutates_params"]


@pytest.mark.parametrize(
    ("factor", "words"),
    [(2, ", twice it"), (0.5, ", half it"), (N, "n = 5 times it"), (1 / N, "1/n = 1/5 of it"),
     (-1, "minus it"), (1.1, "")],
)  # fmt: skip
def test_another_loss_is_another_forward_pass(factor, words):
    def backward(params, X, Y):
        loss, pairs = gradient(params, X, Y)
        return factor * loss, pairs

    (finding,) = check(backward, name="pairs").findings
    assert finding[:4] == (1, "J", None, "forward_differs")
    assert finding.message.endswith(words)
    assert kinds(check(backward, name="pairs", problem=ReLU._replace(reduction="sum"))) == (
        ["forward_differs"] if factor != N else []
    )


def test_a_loss_that_is_not_a_number_differs():
    protocol = check(lambda *a: (np.nan, gradient(*a)[1]), name="pairs")
    assert kinds(protocol) == ["forward_differs"]


def test_nan_in_the_gradient_is_the_same_nan_again():
    protocol = check(by_name(lambda *a: (0, [(W * np.nan, b) for W, b in gradient(*a)[1]])))
    assert kinds(protocol) == []
    assert not np.isfinite(protocol.own.answer.gradient[0].W).any()


def test_noise_is_noted():
    np.random.seed(0)
    protocol = check(shuffled_sum, n=64)
    assert kinds(protocol) == []
    assert any("differ by rounding" in note for note in protocol.notes)
    assert check(right, n=64).notes == ()


def test_what_depends_on_tracing_disagrees_with_itself():
    settings = SimpleNamespace(scale=2.0)

    def backward(params, X, Y):
        traced = isinstance(X, jax.core.Tracer)
        return jax.tree.map(lambda g: g * (3.0 if traced else 1.0), gradient(params, X, Y)[1])

    def stale(params, X, Y):
        return jax.tree.map(lambda g: g * settings.scale, gradient(params, X, Y)[1])

    found = kinds(check(backward, jnp.asarray, "pairs"))
    assert found == ["jit_disagrees"]
    compiled = jax.jit(stale)
    with jax.enable_x64(True):
        compiled(*jax.tree.map(jnp.asarray, (network(), *data(N))))
    assert kinds(check(compiled, jnp.asarray, "pairs")) == []
    settings.scale = 1.0
    assert kinds(check(compiled, jnp.asarray, "pairs")) == ["jit_disagrees"]


def test_a_batching_rule_that_mixes_examples_disagrees():
    @jax.custom_batching.custom_vmap
    def centred(X):
        return X

    @centred.def_vmap
    def _(size, batched, X):
        return X - X.mean(0), True

    def backward(params, X, Y):
        return gradient(params, centred(X), Y)

    assert kinds(check(backward, jnp.asarray, "pairs")) == ["vmap_disagrees"]


def test_what_cannot_be_traced_is_not_held_against_it():
    def branches(params, X, Y):
        if float(X[0, 0]) > 100:
            raise ValueError
        return gradient(params, X, Y)

    def through_numpy(params, X, Y):
        return gradient(*jax.tree.map(np.asarray, (params, X, Y)))

    for function in (branches, through_numpy):
        assert kinds(check(function, jnp.asarray, "pairs")) == []


@pytest.mark.parametrize("library", [np.asarray, jnp.asarray])
def test_seven_calls_at_most(library):
    function, count = counted(gradient)
    assert kinds(check(function, library, "pairs")) == []
    assert count.calls == (6 if library is jnp.asarray else 4)


def test_a_right_gradient_may_be_the_same_for_other_params():
    hinge = ReLU._replace(loss=Loss("hinge", lambda o, y: (1 - o * y).sum(), lambda o, y: -y))
    params, x, y = (
        [(np.array([[1.0, 2.0]]), np.array([0.5]))],
        np.array([1.0, 3.0]),
        np.array([1.0]),
    )
    candidate = bind(lambda p, x, y: [(-np.outer(y, x), -y)], params, x, y, hinge)
    layers = (Layer(np.array([[3.0, -1.0]]), np.array([2.0])),)
    other = Case("", layers, 2 * candidate.own.X, candidate.own.Y)
    assert kinds(protocol_of(candidate, other, hinge)) == []


def test_a_failure_ends_the_matter():
    for result, kind in ((None, "wrong_structure"), (network()[::-1], "leaf_order")):
        function, count = counted(lambda *a, r=result: r)
        protocol = check(function, name="pairs")
        assert kind in kinds(protocol)
        assert (count.calls == 1) == (result is None)


@pytest.mark.parametrize(("bad", "where"), [(np.nan, (1, 0)), (np.inf, (0, 2))])
def test_the_uppermost_array_that_is_not_finite_is_told(bad, where):
    def backward(params, X, Y):
        (dW1, db1), (dW2, db2) = gradient(params, X, Y)[1]
        dW2[where] = bad
        return [(dW1 * bad, db1 * bad), (dW2, db2)]

    X, Y = data(N)
    candidate = bind(backward, network(), X, Y, ReLU, batched=True)
    (finding,) = check_finite(candidate, candidate.call(candidate.own))
    assert finding[:4] == (5, "dW", 2, "not_finite")
    assert finding.message.endswith(f"not finite at {list(where)}")
    healthy = bind(alone(), network(), X, Y, ReLU, batched=True)
    assert check_finite(healthy, healthy.call(healthy.own)) == []

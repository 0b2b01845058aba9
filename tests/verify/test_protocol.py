"""Each check of form has a planted defect that it must catch, and a correct twin to accept."""

import numpy as np
import pytest
from support import candidate_manners as manners
from support.candidate_manners import right
from support.correct_candidates import ReLU, alone, cost, counted, data, gradient, network, student
from support.protocol_cases import N, check, kinds, loss_findings, protocol_of

import fcnet
from fcnet import Layer, Loss
from fcnet.verify.binding import bind
from fcnet.verify.diagnose.causes import find_non_finite
from fcnet.verify.types import Case


@pytest.mark.parametrize(
    "function",
    [
        right,
        student,
        manners.shuffled_sum,
        manners.views,
        manners.in_own_buffers,
        manners.irrelevant_randomness,
        manners.scratch_in_place,
        manners.Cached(),
    ],
)
def test_correct_candidates_have_no_fault_of_form(function):
    np.random.seed(0)
    assert kinds(check(function)) == []


@pytest.mark.parametrize("function", [manners.float32_inside, manners.float32_outside])
def test_a_coarser_precision_is_no_fault_of_form(function):
    protocol = check(function)
    assert kinds(protocol) == []
    said = [note for note in protocol.notes if "is float32, but" in note]
    assert bool(said) == (function is manners.float32_outside)


def test_a_gradient_without_a_name_of_its_own_is_called_the_gradient_of_its_parameter():
    def coarse(params, X, Y):
        return [(dW.astype(np.float32), db) for dW, db in gradient(params, X, Y)[1]]

    (note,) = check(coarse, name="pairs").notes
    assert note.startswith("the gradient of params[0].W is float32, but params[0].W is float64")
    (finding,) = check(lambda params, X, Y: params, name="pairs").findings
    assert finding.kind == "aliases"
    assert finding.message.startswith("the gradient of params[0].W is the memory of")


def test_correct_candidates_in_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is a dependency of the tests only")
    assert kinds(check(right, torch.tensor)) == []
    assert kinds(check(gradient, torch.tensor, "pairs")) == []


@pytest.mark.parametrize(
    ("function", "kind", "words"),
    [
        (manners.descends, "mutates_params", "changes its W1;"),
        (manners.remembers_in_params, "mutates_params", "changes its params;"),
        (manners.standardises, "mutates_inputs", "changes its x;"),
        (manners.residual_in_place, "mutates_inputs", "changes its y;"),
        (manners.same_buffers, "mutates_earlier_results", "overwrites the gradient"),
        (manners.one_buffer_never_changed, "aliases", "the same memory as db1"),
        (manners.returns_a_parameter, "aliases", "dW1 is the memory of W1 itself"),
        (manners.returns_a_view_of_x, "aliases", "dW1 is the memory of x itself"),
        (manners.Accumulates(), "stateful", "twice the gradient"),
        (
            manners.OnlyOnce(),
            "stateful",
            "a second one like it did not: on your input it raised IndexEr",
        ),
        (manners.Momentum(), "momentum", "adds 0.9 times what the first one returned"),
        (manners.Momentum(0.1), "momentum", "adds 0.9 times what the first one returned"),
        (manners.Averaged(), "averaged_gradients", "averaged with those of earlier calls"),
        (
            manners.Averaged(lambda t: 0.1 / (1 - 0.9**t)),
            "averaged_gradients",
            "averaged with those of earlier calls",
        ),
        (manners.Running(), "stateful", "a call on another input changed the gradient"),
        (manners.First(), "stale_cache", "another input gave the gradient of the first"),
        (manners.ByIdentity(), "stale_cache", "the gradient of their old values"),
        (manners.AddsUp(), "stateful", "adds its gradient to that of the call before"),
        (manners.Network(), "ignores_params", "params of its own"),
        (manners.Data(), "ignores_inputs", "an x and y of its own"),
        (manners.dropout, "nondeterministic", "something is random"),
    ],
)
def test_planted_defects(function, kind, words):
    np.random.seed(0)
    manners.BUFFERS.clear()
    protocol = check(function)
    assert kinds(protocol) == [kind]  # the root cause only
    assert words in protocol.findings[0].message
    harmless = function in (manners.same_buffers, manners.one_buffer_never_changed)
    assert protocol.findings[0].severity == ("warning" if harmless else "error")


def test_planted_defects_in_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is a dependency of the tests only")

    def view(params, X, Y):
        return right(params, X, Y) | {"db1": params["b1"].view(3)}

    for function, kind in ((manners.descends, "mutates_params"), (view, "aliases")):
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


@pytest.mark.parametrize(
    ("factor", "words"),
    [(2, ", twice it"), (0.5, ", half it"), (N, "n = 5 times it"), (1 / N, "1/n = 1/5 of it"),
     (-1, "minus it"), (1.1, "")],
)  # fmt: skip
def test_another_loss_is_another_forward_pass(factor, words):
    def backward(params, X, Y):
        loss, pairs = gradient(params, X, Y)
        return factor * loss, pairs

    (finding,) = loss_findings(check(backward, name="pairs"))
    assert finding[:4] == (1, "J", None, "forward_differs")
    assert finding.message.endswith(words)
    total = ReLU._replace(reduction="sum")
    assert len(loss_findings(check(backward, name="pairs", cost=total), total)) == (factor != N)


@pytest.mark.parametrize(("c", "words"), [(1, ", 1/3 (there are 3 outputs) of it"), (3, "")])
def test_a_loss_that_is_a_mean_over_the_outputs_is_told(c, words):
    def backward(params, X, Y):
        ((W, b),) = params
        E = X @ W.T + b - Y
        return c * (E**2).mean() / 2, [(E.T @ X / len(X), E.mean(0))]

    draw = np.random.default_rng(0)
    params = [(draw.normal(size=(3, 4)), np.zeros(3))]
    X, Y = draw.normal(size=(5, 4)), draw.normal(size=(5, 3))
    report = fcnet.check(backward, params, X, Y, batched=True)
    assert [f.message.endswith(words) for f in report.findings] == [True] * bool(words), report


def test_a_loss_that_is_not_a_number_differs():
    protocol = check(lambda *a: (np.nan, gradient(*a)[1]), name="pairs")
    assert [finding.kind for finding in loss_findings(protocol)] == ["forward_differs"]


def test_nan_in_the_gradient_is_the_same_nan_again():
    protocol = check(manners.by_name(lambda *a: (0, [(W * np.nan, b) for W, b in gradient(*a)[1]])))
    assert kinds(protocol) == []
    assert not np.isfinite(protocol.own.answer.gradient[0].W).any()


def test_noise_is_noted():
    np.random.seed(0)
    protocol = check(manners.shuffled_sum, n=64)
    assert kinds(protocol) == []
    assert any("differ by rounding" in note for note in protocol.notes)
    assert check(right, n=64).notes == ()


def test_a_right_gradient_may_be_the_same_for_other_params():
    hinge = cost(loss=Loss("hinge", lambda o, y: (1 - o * y).sum(), lambda o, y: -y))
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
    (finding,) = find_non_finite(candidate, candidate.own, candidate.call(candidate.own).answer)
    assert finding[:4] == (5, "dW", 2, "not_finite")
    assert finding.message.endswith(f"not finite at {list(where)}")
    healthy = bind(alone(), network(), X, Y, ReLU, batched=True)
    assert find_non_finite(healthy, healthy.own, healthy.call(healthy.own).answer) == []

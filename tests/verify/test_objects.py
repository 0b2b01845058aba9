"""Objects that hold their parameters: judged as they are, and left as they were."""

import copy
import dataclasses
import logging
import pickle
import random
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from support.correct_candidates import data, gradient, network
from support.objects import OBJECTS, Attributes, InParams, Layers, Lists
from support.pairs import diagonal

import fcnet
from fcnet.trees import leaves
from fcnet.verify.holders import holder_of
from fcnet.verify.objects import is_object
from fcnet.verify.snapshot import restored

pytestmark = pytest.mark.untyped

N = 7
X, Y = data(N)


def everything(value):
    """All that an object holds, by value."""
    return pickle.dumps(value)


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_are_right_as_they_are(name):
    kind, method = OBJECTS[name]
    net = kind(network())
    before, mine = everything(net), copy.copy(vars(net))
    report = fcnet.check(getattr(net, method), net, X, Y, batched=True)
    assert report.ok, report
    assert {finding.kind for finding in report.findings} <= {"leaf_order"}
    assert everything(net) == before
    assert all(value is mine[key] for key, value in vars(net).items())


@pytest.mark.parametrize(
    ("name", "slip"), diagonal(OBJECTS, [("sign", (5, "dW", 1)), ("bias", (5, "db", 2))])
)
def test_slips_are_named_in_objects(name, slip):
    (kind, method), (slip, place) = OBJECTS[name], slip
    net = kind(network(), slip)
    report = fcnet.check(getattr(net, method), net, X, Y, batched=True)
    (finding,) = [finding for finding in report.findings if finding.severity == "error"]
    assert finding[:3] == place
    assert finding.kind == ("sign" if slip == "sign" else "factor_2")


@pytest.mark.parametrize("name", OBJECTS)
def test_the_example_is_put_into_the_object(name):
    kind, method = OBJECTS[name]
    net = kind(network(), "sign")
    report = fcnet.check(getattr(net, method), net, X, Y, batched=True)
    *code, comment = report.example.splitlines()
    assert comment.startswith(f"# {method}(x, y): ")
    if name == "twice":  # its weights are also in a tuple, from which it reads them
        return
    names = {"np": np, "net": net}
    exec("\n".join(code), names)
    for _, array in leaves(holder_of(net).arrays()):
        np.testing.assert_array_equal(array * 8, np.round(array * 8))
    assert not fcnet.check(getattr(net, method), net, names["x"], names["y"], batched=True).ok


def test_names_in_the_report_are_those_of_the_attributes():
    net = Lists(network(), "sign")
    report = fcnet.check(net.backprop, net, X, Y, batched=True)
    names = [leaf.path for leaf in report.leaves]
    assert names == ["weights[0]", "biases[0]", "weights[1]", "biases[1]"]
    assert "your weights[0] has the opposite sign" in str(report)


def test_a_function_and_a_lambda_of_the_object():
    net = Attributes(network())
    assert fcnet.check(lambda x, y: net.backward(x, y), net, X, Y, batched=True).ok
    assert fcnet.check(Attributes.backward, net, X, Y, batched=True).ok
    layers = Layers(network())
    assert fcnet.check(layers.backward, layers.layers, X, Y, batched=True).ok


def test_one_example_at_a_time():
    class Online(Attributes):
        def backward(self, x, y):
            return super().backward(x[None], y[None])

    net = Online(network())
    assert fcnet.check(net.backward, net, X[0], Y[0]).ok


class Raises(Attributes):
    def backward(self, X, Y):
        self.W1[:] = 7
        self.extra = X
        del self.b2
        np.random.seed(3)
        if self.calls >= 0:
            raise RuntimeError("no luck")


def test_an_object_is_left_as_it_was_when_its_method_raises():
    net = Raises(network())
    before, state, python_state = everything(net), np.random.get_state(), random.getstate()
    report = fcnet.check(net.backward, net, X, Y, batched=True)
    assert report.findings[0].kind == "raises"
    assert "no luck" in report.findings[0].message
    assert "in backward" in report.findings[0].message
    assert everything(net) == before
    assert np.array_equal(np.random.get_state()[1], state[1])
    assert random.getstate() == python_state
    with pytest.raises(RuntimeError, match="no luck"):  # the control: it does change all that
        net.backward(X, Y)
    assert everything(net) != before
    assert not np.array_equal(np.random.get_state()[1], state[1])
    np.random.set_state(state)


class Trains(Attributes):
    def backward(self, X, Y):
        loss, found = super().backward(X, Y)
        self.W1 = self.W1 - 0.1 * found["dW1"]
        return loss, found


def test_a_method_that_changes_its_weights_is_told_so():
    net = Trains(network())
    before = everything(net)
    report = fcnet.check(net.backward, net, X, Y, batched=True)
    kinds = {finding.kind: finding.message for finding in report.findings}
    assert "changes its W1" in kinds["mutates_params"]
    assert everything(net) == before


@pytest.mark.parametrize("returns", ["nothing", "itself"])
def test_training_steps_of_objects(returns):
    class Steps(Attributes):
        def step(self, X, Y, sign=1):
            _, found = self.backward(X, Y)
            self.W1 = self.W1 - 0.1 * sign * found["dW1"]
            self.b1 = self.b1 - 0.1 * found["db1"]
            self.W2 -= 0.1 * found["dW2"]
            self.b2 -= 0.1 * found["db2"]
            return self if returns == "itself" else None

        def wrong_step(self, X, Y):
            return self.step(X, Y, sign=-1)

    net = Steps(network())
    mine = copy.deepcopy(vars(net))
    assert fcnet.check(net.step, net, X, Y, batched=True, learning_rate=0.1).ok
    report = fcnet.check(net.wrong_step, net, X, Y, batched=True, learning_rate=0.1)
    assert [finding[:4] for finding in report.findings] == [(5, "dW", 1, "sign")]
    assert all(np.array_equal(value, mine[key]) for key, value in vars(net).items())
    report = fcnet.check(net.step, net, X, Y, batched=True)
    assert "if it is a training step, pass learning_rate=" in report.findings[-1].message


@dataclasses.dataclass(frozen=True)
class Frozen:
    W1: np.ndarray
    b1: np.ndarray

    def backward(self, X, Y):
        D = (X @ self.W1.T + self.b1 - Y) / len(X)
        return {"W1": D.T @ X, "b1": D.sum(0)}


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots(Frozen):
    pass


@pytest.mark.parametrize("kind", [Frozen, FrozenSlots])
def test_a_frozen_object_is_left_as_it_was(kind):
    net = kind(*network((4, 2))[0])
    mine = net.W1, net.b1
    assert fcnet.check(net.backward, net, X, Y, batched=True).ok
    assert net.W1 is mine[0]
    assert net.b1 is mine[1]


class Sealed(SimpleNamespace):
    """It refuses every change of an attribute after its start."""

    def __setattr__(self, name, value):
        raise AttributeError(f"cannot assign to {name}")

    def backward(self, X, Y):
        return {"W1": 0 * self.W1, "b1": 0 * self.b1}


def test_an_object_that_refuses_changes_is_refused():
    W, b = network((4, 2))[0]
    net = Sealed(W1=W, b1=b)
    with pytest.raises(TypeError, match=r"does not take other parameters.*cannot assign"):
        fcnet.check(net.backward, net, X, Y, batched=True)


def test_slots_are_put_back():
    class Net:
        __slots__ = "W1"

    class Wider(Net):
        __slots__ = ("b1", "cache")

    net = Wider()
    net.W1, net.b1 = np.ones((2, 3)), np.zeros(2)
    mine = net.W1
    assert holder_of(net).paths == (("b1",), ("W1",))
    with restored(net):
        net.W1, net.cache = None, 3
        del net.b1
    assert net.W1 is mine
    assert not net.b1.any()
    assert not hasattr(net, "cache")


def test_all_else_is_put_back_where_one_part_cannot_be():
    class Stuck(list):
        def clear(self):
            raise RuntimeError("stuck")

    def changed():
        with restored(net):
            net.before.clear()
            net.after.clear()

    net = SimpleNamespace(before=[1], stuck=Stuck(), after=[2])
    with pytest.raises(RuntimeError, match="stuck"):
        changed()
    assert (net.before, net.after) == ([1], [2])


def test_what_else_an_object_holds_is_left_alone():
    net = Attributes(network())
    net.log, net.key, net.compiled = logging.getLogger("a"), jax.random.key(0), jax.jit(abs)
    net.tools, net.file = [np, Attributes, len], sys.stdout
    assert fcnet.check(net.backward, net, X, Y, batched=True).ok
    assert net.compiled(-1.0) == 1
    assert net.log is logging.getLogger("a")


def test_gradients_that_add_up_from_call_to_call_are_found():
    class Accumulates(Layers):
        def backward(self, X, Y):
            before = [copy.deepcopy(getattr(layer, "grad_weight", 0)) for layer in self.layers]
            super().backward(X, Y)
            for layer, old in zip(self.layers[:1], before, strict=False):
                layer.grad_weight = layer.grad_weight + old

    net = Accumulates(network())
    report = fcnet.check(net.backward, net, X, Y, batched=True)
    assert "stateful" in {finding.kind for finding in report.findings} | {
        "stateful" if finding.kind == "nondeterministic" else "" for finding in report.findings
    }


def test_modules_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is a dependency of the tests only")
    module = torch.nn.Sequential(
        torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)
    ).double()
    before = {name: value.clone() for name, value in module.state_dict().items()}

    def backward(x, y):
        module.zero_grad()
        loss = ((module(x) - y) ** 2).sum() / (2 * len(x))
        loss.backward()
        return {name: value.grad.clone() for name, value in module.named_parameters()}

    report = fcnet.check(backward, module, torch.tensor(X), torch.tensor(Y), batched=True)
    assert report.ok, report
    assert [leaf.path for leaf in report.leaves] == list(before)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(value.grad is None for value in module.parameters())

    def step(x, y):
        backward(x, y)
        with torch.no_grad():
            for layer in (module[0], module[2]):
                layer.weight -= 0.5 * layer.weight.grad
                layer.bias = torch.nn.Parameter(layer.bias - 0.5 * layer.bias.grad)

    batch = torch.tensor(X), torch.tensor(Y)
    report = fcnet.check(step, module, *batch, batched=True, learning_rate=0.5)
    assert report.ok, report


def test_other_parameters_are_found_too():
    generator = np.random.default_rng(0)
    net = SimpleNamespace(
        weights_input_hidden=np.ones((3, 4)), bias_hidden=np.ones(3), momentum_w=np.ones(3),
        weights_hidden_output=np.ones((2, 3)), bias_output=np.ones(2), weight_decay=0.1,
        rng=generator,
    )  # fmt: skip
    assert [path for (path,) in holder_of(net).paths] == [
        "weights_input_hidden", "bias_hidden", "weights_hidden_output", "bias_output",
    ]  # fmt: skip
    with restored(net):
        first = generator.normal()
    assert generator.normal() == first


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (SimpleNamespace(depth=3, dW1=np.ones(2)), "attributes: depth, dW1.*weights and biases"),
        (SimpleNamespace(weights=["a"]), "found no parameters"),
        (SimpleNamespace(), "attributes: none"),
        (SimpleNamespace(K=np.ones((3, 2)), b=np.ones(3)), "no weights beside 1 bias .*K, b"),
    ],
)
def test_an_object_without_parameters_is_refused(net, words):
    with pytest.raises(TypeError, match=words):
        fcnet.check(lambda x, y: None, net, X, Y, batched=True)


def test_a_candidate_that_cannot_be_called_is_no_verdict():
    net, pairs = InParams(network()), network()
    for function, params, words in (
        (net.loss, net.params, r"takes \(X.*y.*reg.*called as loss\(params, x, y\).*object as par"),
        (lambda a, b: None, pairs, r"takes \(a, b\), so it cannot be called as <lambda>\(params"),
        (lambda: None, pairs, r"takes \(\)"),
        (lambda x, y, params: None, pairs, r"takes \(x, y, params\)"),
        (lambda p, x, y, *, rate: None, pairs, "rate"),
        (lambda x: None, net, r"cannot be called as <lambda>\(x, y\)"),
        (Stepping().step, Stepping(), r"takes \(x, y, lr\).*called as step\(x, y\)"),
    ):
        with pytest.raises(TypeError, match=words):
            fcnet.check(function, params, X, Y, batched=True)


class Stepping:
    def __init__(self):
        ((self.W1, self.b1),) = network((4, 2))

    def step(self, x, y, lr):
        raise AssertionError("it is not called")


def test_other_entries_than_arrays_are_refused_where_arrays_cannot_be_put_in():
    W, b = network((4, 2))[0]
    with pytest.raises(TypeError, match=r"params\[2\] must be an array .*got str; pass the arrays"):
        fcnet.check(lambda p, x, y: p, (W, b, "relu"), X, Y, batched=True)


def test_a_list_of_layers_may_hold_some_without_parameters():
    layers = [SimpleNamespace(W=np.ones((2, 3)), b=np.zeros(2)), SimpleNamespace(X=None), np.tanh]
    assert is_object(layers)
    assert holder_of(layers).paths == ((0, "W"), (0, "b"))
    assert not is_object(layers[1:])


def test_a_type_error_inside_a_candidate_is_a_finding():
    def backward(params, x, y):
        return gradient(params, x)

    report = fcnet.check(backward, network(), X, Y, batched=True)
    (finding,) = report.findings
    assert finding.kind == "raises"
    assert "missing 1 required positional argument" in finding.message
    assert not report.ok


class Theta:
    """A layer of theta and b, which updates both when it goes back; without biases, theta alone."""

    def __init__(self, W, b, rate, slip):
        self.theta, self.rate, self.slip = W, rate, slip
        if b is not None:
            self.b = b

    def forward(self, a):
        self.a = a
        return a @ self.theta.T + getattr(self, "b", 0)

    def back(self, delta):
        above = delta @ self.theta
        self.theta -= self.rate * (2 if self.slip else 1) * delta.T @ self.a
        if hasattr(self, "b"):
            self.b -= self.rate * delta.sum(0)
        return above


@pytest.mark.parametrize("slip", [False, True])
@pytest.mark.parametrize("biases", [True, False])
def test_theta_is_the_weights_beside_a_bias(biases, slip):
    """It was all parameters: the bias kept its values from call to call, and was no parameter."""
    rate = 0.1
    net = SimpleNamespace(
        layers=[Theta(W.copy(), b if biases else None, rate, slip) for W, b in network()]
    )

    def step(X, Y):
        hidden, last = net.layers
        Z = hidden.forward(X)
        delta = (last.forward(np.maximum(Z, 0)) - Y) / len(X)
        hidden.back(last.back(delta) * (Z > 0))

    before = everything(net)
    report = fcnet.check(step, net, X, Y, batched=True, learning_rate=rate)
    found = [(f.line, f.quantity, f.layer, f.kind) for f in report.findings]
    twice = [(5, "dW", 2), (5, "dW", 1)] if biases else [(2, "delta", 2)]  # dW shows delta
    assert found == [(*place, "factor_2") for place in twice if slip], report
    names = [name for k in range(2) for name in ("theta", "b")[: 1 + biases]]
    assert [leaf.path.split(".")[-1] for leaf in report.leaves] == names
    assert everything(net) == before


def test_theta_is_all_parameters_where_nothing_else_is():
    whole = SimpleNamespace(theta=np.ones(7), W1=np.ones((2, 2)), b1=np.ones(2))
    assert holder_of(whole).paths == (("theta",),)
    assert holder_of(SimpleNamespace(theta=np.ones(7), rate=0.1)).paths == (("theta",),)
    beside = SimpleNamespace(theta=np.ones((2, 3)), b=np.ones(2))
    assert holder_of(beside).paths == (("theta",), ("b",))

"""Candidates that follow the protocol of the checker, and ones that each break one rule of it.

The candidates take their parameters by name.
"""

import jax
import numpy as np

from support.correct_candidates import LAYOUTS, gradient, network


def by_name(function=gradient):
    """A candidate for parameters by name from one for pairs; the gradient of W1 is called dW1."""

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
    """Changes only its own copies in place."""
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


class Momentum:
    """Returns the step of gradient descent with momentum, the first one from a velocity of 0."""

    def __init__(self, share=1.0):
        self.share, self.velocity = share, None

    def __call__(self, params, X, Y):
        step = {name: self.share * leaf for name, leaf in right(params, X, Y).items()}
        if self.velocity is not None:
            step = {name: leaf + 0.9 * self.velocity[name] for name, leaf in step.items()}
        self.velocity = {name: leaf.copy() for name, leaf in step.items()}
        return step


class Averaged:
    """Returns the mean of the gradients so far, or Adam's first moment, corrected for its bias."""

    def __init__(self, weight=lambda t: 1 / t):
        self.weight, self.t, self.mean = weight, 0, None

    def __call__(self, params, X, Y):
        self.t += 1
        grads = right(params, X, Y)
        if self.mean is not None:
            w = self.weight(self.t)
            grads = {name: w * leaf + (1 - w) * self.mean[name] for name, leaf in grads.items()}
        self.mean = {name: leaf.copy() for name, leaf in grads.items()}
        return grads


class First:
    """Keeps the gradient of its first call."""

    def __init__(self):
        self.first = None

    def __call__(self, params, X, Y):
        self.first = right(params, X, Y) if self.first is None else self.first
        return {name: leaf.copy() for name, leaf in self.first.items()}


class ByIdentity:
    """Caches results by the identity of the weights, as if their values never changed."""

    def __init__(self):
        self.known = {}

    def __call__(self, params, X, Y):
        key = id(params["W1"])
        if key not in self.known:
            self.known[key] = (params["W1"], right(params, X, Y))
        return {name: leaf.copy() for name, leaf in self.known[key][1].items()}


class AddsUp:
    """Adds each gradient to what it returned for the same containers, as tensors of PyTorch do."""

    def __init__(self):
        self.grads = {}

    def __call__(self, params, X, Y):
        _, grads = self.grads.setdefault(id(params), (params, {}))
        for name, leaf in right(params, X, Y).items():
            grads[name] = grads.get(name, 0) + leaf
        return grads.copy()


class Running:
    """Centres by a running mean that each call updates, as batch normalisation does in training."""

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
    """Uses parameters of its own in place of those it gets."""

    params = LAYOUTS["names"].write(network())

    def __call__(self, params, X, Y):
        return right(self.params, X, Y)


class Data:
    """Uses the x and y of its first call in place of those it gets."""

    def __init__(self):
        self.data = None

    def __call__(self, params, X, Y):
        self.data = self.data or (X.copy(), Y.copy())
        return right(params, *self.data)


def dropout(params, X, Y):
    return right(params, X * (np.random.rand(*X.shape) < 0.5), Y)

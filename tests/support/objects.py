"""Networks as objects that hold their parameters, as people write them, in several ways.

Each class takes pairs (W, b) as in the notes, computes the gradient of the mean of half the squared
errors of a ReLU network on rows, and may have one slip.
"""

from typing import Any

from support.correct_candidates import Pairs, gradient


def slipped(pairs: Pairs, slip: str) -> Pairs:
    """A gradient with a slip: none, "sign" of dW1, or "bias" of layer 2 twice as large."""
    (dW1, db1), (dW2, db2) = pairs
    return [
        (-dW1 if slip == "sign" else dW1, db1),
        (dW2, 2 * db2 if slip == "bias" else db2),
    ]


class Lists:
    """`weights` and `biases`, the biases as columns; returns (nabla_b, nabla_w)."""

    def __init__(self, pairs: Pairs, slip: str = "") -> None:
        self.sizes = [pairs[0][0].shape[1], *(len(b) for _, b in pairs)]
        self.biases = [b[:, None] for _, b in pairs]
        self.weights = [W for W, _ in pairs]
        self.slip = slip

    def backprop(self, X: Any, Y: Any) -> Any:
        own = [(W, b[:, 0]) for W, b in zip(self.weights, self.biases, strict=True)]
        self.last_loss, found = gradient(own, X, Y)
        found = slipped(found, self.slip)
        return [b[:, None] for _, b in found], [W for W, _ in found]


class Attributes:
    """W1, b1, W2, b2, and gradients in a dict with intermediates, beside the loss."""

    def __init__(self, pairs: Pairs, slip: str = "") -> None:
        (self.W1, self.b1), (self.W2, self.b2) = pairs
        self.learning_rate, self.slip, self.calls = 0.1, slip, 0

    def backward(self, X: Any, Y: Any) -> Any:
        self.calls += 1
        self.X = X
        loss, found = gradient([(self.W1, self.b1), (self.W2, self.b2)], X, Y)
        (dW1, db1), (dW2, db2) = slipped(found, self.slip)
        return loss, {"dZ2": None, "dW2": dW2, "db2": db2, "dW1": dW1, "db1": db1}


class InParams:
    """A dict `params`, weights (in, out), as in a course on vision; (loss, grads)."""

    def __init__(self, pairs: Pairs, slip: str = "") -> None:
        self.params = {}
        for k, (W, b) in enumerate(pairs, start=1):
            self.params[f"W{k}"], self.params[f"b{k}"] = W.T.copy(), b
        self.slip = slip

    def loss(self, X: Any, y: Any = None, reg: float = 0.0) -> Any:
        p = self.params
        value, found = gradient([(p["W1"].T, p["b1"]), (p["W2"].T, p["b2"])], X, y)
        grads = {}
        for k, (W, b) in enumerate(slipped(found, self.slip), start=1):
            grads[f"W{k}"], grads[f"b{k}"] = W.T, b
        return value, grads


class Estimator:
    """`coefs_` and `intercepts_`; returns them in the same order, alone."""

    def __init__(self, pairs: Pairs, slip: str = "") -> None:
        self.coefs_ = [W.T for W, _ in pairs]
        self.intercepts_ = [b for _, b in pairs]
        self.slip = slip

    def gradients(self, X: Any, Y: Any) -> Any:
        own = [(W.T, b) for W, b in zip(self.coefs_, self.intercepts_, strict=True)]
        found = slipped(gradient(own, X, Y)[1], self.slip)
        return [W.T for W, _ in found], [b for _, b in found]


class Linear:
    """A layer that keeps what it needs, and its gradients, in itself."""

    def __init__(self, W: Any, b: Any) -> None:
        self.weight, self.bias = W, b

    def forward(self, X: Any) -> Any:
        self.X = X
        return X @ self.weight.T + self.bias

    def backward(self, D: Any) -> Any:
        self.grad_weight, self.grad_bias = D.T @ self.X, D.sum(0)
        return D @ self.weight


class Rectify:
    def forward(self, X: Any) -> Any:
        self.on = X > 0
        return X * self.on

    def backward(self, D: Any) -> Any:
        return D * self.on


class Layers:
    """A list of layer objects, some without parameters; the gradients stay in the layers."""

    def __init__(self, pairs: Pairs, slip: str = "") -> None:
        (W1, b1), (W2, b2) = pairs
        self.layers = [Linear(W1, b1), Rectify(), Linear(W2, b2), Rectify()]
        self.slip = slip

    def backward(self, X: Any, Y: Any) -> None:
        A = X
        for layer in self.layers:
            A = layer.forward(A)
        output = self.layers[2].X @ self.layers[2].weight.T + self.layers[2].bias
        D = (output - Y) / len(X)
        for layer in reversed(self.layers[:3]):
            D = layer.backward(D)
        if self.slip == "sign":
            self.layers[0].grad_weight = -self.layers[0].grad_weight
        if self.slip == "bias":
            self.layers[2].grad_bias = 2 * self.layers[2].grad_bias


class Cached(Layers):
    """Its method returns the loss and a cache, and keeps the gradients."""

    def backward(self, X: Any, Y: Any) -> Any:
        super().backward(X, Y)
        output = self.layers[2].X @ self.layers[2].weight.T + self.layers[2].bias
        return ((output - Y) ** 2).sum() / (2 * len(X)), {"A1": self.layers[2].X, "o": output}


class Members:
    """Layers as attributes, each with W and b in slots; a tuple beside them holds them too."""

    def __init__(self, pairs: Pairs, slip: str = "") -> None:
        self.hidden, self.output = (Slotted(*pair) for pair in pairs)
        self.all = (self.hidden, self.output)
        self.slip = slip

    def grads(self, X: Any, Y: Any) -> Any:
        found = gradient([(layer.W, layer.b) for layer in self.all], X, Y)[1]
        return [dict(b=b, W=W) for W, b in slipped(found, self.slip)]


class Slotted:
    __slots__ = ("W", "b")

    def __init__(self, W: Any, b: Any) -> None:
        self.W, self.b = W, b


class Twice:
    """Each array in two places: by name, and in a tuple, from which it is read."""

    def __init__(self, pairs: Pairs, slip: str = "") -> None:
        (self.W1, self.b1), (self.W2, self.b2) = pairs
        self.weights = (self.W1, self.W2)
        self.slip = slip

    def backprop(self, X: Any, Y: Any) -> Any:
        pairs = list(zip(self.weights, (self.b1, self.b2), strict=True))
        return slipped(gradient(pairs, X, Y)[1], self.slip)


OBJECTS: dict[str, tuple[type[Any], str]] = {
    "weights and biases": (Lists, "backprop"),
    "W1 and b1": (Attributes, "backward"),
    "params": (InParams, "loss"),
    "coefs_ and intercepts_": (Estimator, "gradients"),
    "layers": (Layers, "backward"),
    "layers and a cache": (Cached, "backward"),
    "members": (Members, "grads"),
    "twice": (Twice, "backprop"),
}
"""Each class, and the name of its method of (X, Y) that gives the gradient."""

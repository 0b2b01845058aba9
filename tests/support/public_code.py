"""Kinds of backward passes as people publish them, in words of our own.

Each is source text, so that a slip is a change of the text, and the adapter can be counted. The
text may use np, rng (seeded), fcnet, and the sizes d, h, m and n.
"""

from typing import Any, NamedTuple

import numpy as np

import fcnet


class Slip(NamedTuple):
    """A change of the text, and where the fault then is: a line of Algorithm 5, and a layer."""

    old: str
    new: str
    line: int
    layer: int


class PublicCode(NamedTuple):
    """One kind.

    Attributes:
        code: as it is published, with its data.
        adapter: what must be written besides, at most two lines.
        options: the arguments of `fcnet.check` after the function, as text.
        slips: six.
        needs: a module without which it cannot run.
    """

    code: str
    options: str
    slips: tuple[Slip, ...]
    function: str = "backward"
    adapter: str = ""
    needs: str = ""

    def report(self, slip: Slip | None = None) -> fcnet.Report:
        """The report on the code, with a slip or without."""
        code = self.code
        if slip is not None:
            assert code.count(slip.old) == 1, slip.old
            code = code.replace(slip.old, slip.new)
        names: dict[str, Any] = {
            "np": np, "fcnet": fcnet, "rng": np.random.default_rng(7), "d": 4, "h": 5, "m": 3,
            "n": 7, "__name__": "public",
        }  # fmt: skip
        exec(code, names)
        exec(self.adapter, names)
        report: fcnet.Report = eval(f"fcnet.check({self.function}, {self.options})", names)
        return report


DICT = PublicCode(
    code="""
def loss(params, X, y):
    hidden = np.maximum(0, X @ params["W1"] + params["b1"])
    scores = hidden @ params["W2"] + params["b2"]
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    rows = np.arange(len(X))
    value = -np.log(p[rows, y]).mean()
    dscores = p.copy()
    dscores[rows, y] -= 1
    dscores /= len(X)
    dhidden = dscores @ params["W2"].T
    dhidden[hidden <= 0] = 0
    return value, {
        "W1": X.T @ dhidden, "b1": dhidden.sum(0), "W2": hidden.T @ dscores, "b2": dscores.sum(0)}

params = {"W1": rng.normal(size=(d, h)), "b1": np.zeros(h),
          "W2": rng.normal(size=(h, m)), "b2": np.zeros(m)}
X, y = rng.normal(size=(n, d)), np.arange(n) % m
""",
    function="loss",
    options='params, X, y, loss="softmax_cross_entropy", batched=True',
    slips=(
        Slip("dscores[rows, y] -= 1", "pass", 2, 2),
        Slip("dhidden[hidden <= 0] = 0", "pass", 4, 1),
        Slip('params["W2"].T\n', 'abs(params["W2"]).T\n', 4, 1),
        Slip('"W2": hidden.T @ dscores', '"W2": -hidden.T @ dscores', 5, 2),
        Slip("dhidden.sum(0)", "dhidden.mean(0)", 5, 1),
        Slip("X.T @ dhidden", "X.T @ dhidden * len(X)", 5, 1),
    ),
)

COLUMNS = PublicCode(
    code="""
def backward(parameters, X, Y):
    W1, b1, W2, b2 = (parameters[k] for k in ("W1", "b1", "W2", "b2"))
    examples = X.shape[1]
    A1 = np.tanh(W1 @ X + b1)
    A2 = 1 / (1 + np.exp(-(W2 @ A1 + b2)))
    dZ2 = A2 - Y
    dW2 = dZ2 @ A1.T / examples
    db2 = np.sum(dZ2, axis=1, keepdims=True) / examples
    dZ1 = (W2.T @ dZ2) * (1 - A1**2)
    dW1 = dZ1 @ X.T / examples
    db1 = np.sum(dZ1, axis=1, keepdims=True) / examples
    return {"dW1": dW1, "db1": db1, "dW2": dW2, "db2": db2}

parameters = {"W1": rng.normal(size=(h, d)), "b1": np.zeros((h, 1)),
              "W2": rng.normal(size=(1, h)), "b2": np.zeros((1, 1))}
X, Y = rng.normal(size=(d, n)), rng.integers(0, 2, (1, n))
""",
    options='parameters, X, Y, activation="tanh", loss="logistic", batched=True',
    slips=(
        Slip("A2 - Y", "Y - A2", 2, 2),
        Slip("A2 - Y", "A2 + Y", 2, 2),
        Slip("* (1 - A1**2)", "", 4, 1),
        Slip("(1 - A1**2)", "(1 - A1)", 4, 1),
        Slip("dZ2 @ A1.T / examples", "dZ2 @ A1.T", 5, 2),
        Slip("np.sum(dZ1, axis=1, keepdims=True)", "2 * np.sum(dZ1, axis=1, keepdims=True)", 5, 1),
    ),
)

FLAT = PublicCode(
    code="""
lam = 0.5

def sigmoid(z):
    return 1 / (1 + np.exp(-z))

def cost(theta, X, y):
    T1 = theta[: h * (d + 1)].reshape(h, d + 1)
    T2 = theta[h * (d + 1) :].reshape(m, h + 1)
    count = len(X)
    a1 = np.hstack([np.ones((count, 1)), X])
    a2 = np.hstack([np.ones((count, 1)), sigmoid(a1 @ T1.T)])
    a3 = sigmoid(a2 @ T2.T)
    Y = np.eye(m)[y]
    J = -np.sum(Y * np.log(a3) + (1 - Y) * np.log(1 - a3)) / count
    J += lam / (2 * count) * (np.sum(T1[:, 1:] ** 2) + np.sum(T2[:, 1:] ** 2))
    d3 = a3 - Y
    d2 = (d3 @ T2)[:, 1:] * a2[:, 1:] * (1 - a2[:, 1:])
    G1 = d2.T @ a1 / count
    G2 = d3.T @ a2 / count
    G1[:, 1:] += lam / count * T1[:, 1:]
    G2[:, 1:] += lam / count * T2[:, 1:]
    return J, np.concatenate([G1.ravel(), G2.ravel()])

theta = rng.normal(size=h * (d + 1) + m * (h + 1))
X, y = rng.normal(size=(n, d)), np.arange(n) % m
""",
    function="cost",
    options='theta, X, y, activation="sigmoid", loss="logistic", batched=True, '
    "sizes=(d, h, m), l2=lambda n: lam / n",
    slips=(
        Slip("d3 = a3 - Y", "d3 = Y - a3", 2, 2),
        Slip("d3 = a3 - Y", "d3 = 2 * (a3 - Y)", 2, 2),
        Slip(" * a2[:, 1:] * (1 - a2[:, 1:])", "", 4, 1),
        Slip("* (1 - a2[:, 1:])", "", 4, 1),
        Slip("G2[:, 1:] += lam / count", "G2[:, 1:] += lam", 5, 2),
        Slip("G1[:, 1:] += lam / count * T1[:, 1:]", "G1 += lam / count * T1", 5, 1),
    ),
)

CLASS = PublicCode(
    code="""
class Network:
    def __init__(self, sizes):
        self.sizes = sizes
        self.biases = [rng.normal(size=(y, 1)) for y in sizes[1:]]
        self.weights = [rng.normal(size=(y, x)) for x, y in zip(sizes[:-1], sizes[1:])]

    def backprop(self, x, y):
        nabla_b = [None] * len(self.biases)
        nabla_w = [None] * len(self.weights)
        activation, activations = x, [x]
        for b, w in zip(self.biases, self.weights):
            activation = 1 / (1 + np.exp(-(w @ activation + b)))
            activations.append(activation)
        delta = (activations[-1] - y) * activations[-1] * (1 - activations[-1])
        nabla_b[-1] = delta
        nabla_w[-1] = delta @ activations[-2].T
        for l in range(2, len(self.sizes)):
            a = activations[-l]
            delta = (self.weights[-l + 1].T @ delta) * a * (1 - a)
            nabla_b[-l] = delta
            nabla_w[-l] = delta @ activations[-l - 1].T
        return nabla_b, nabla_w

net = Network([d, h, m])
x, y = rng.normal(size=(d, 1)), np.eye(m)[:, :1]
""",
    function="net.backprop",
    options='net, x, y, activation="sigmoid", output_activation="sigmoid"',
    slips=(
        Slip("(activations[-1] - y) * activations", "(activations[-1] + y) * activations", 2, 2),
        Slip(" * activations[-1] * (1 - activations[-1])", "", 2, 2),
        Slip(" @ delta) * a * (1 - a)", " @ delta)", 4, 1),
        Slip("self.weights[-l + 1].T @ delta", "abs(self.weights[-l + 1].T) @ delta", 4, 1),
        Slip("nabla_w[-1] = delta", "nabla_w[-1] = -delta", 5, 2),
        Slip("nabla_b[-l] = delta", "nabla_b[-l] = 0 * delta", 5, 1),
    ),
)

IN_PLACE = PublicCode(
    code="""
rate = 0.1

def train(weights, X, Y):
    (W1, b1), (W2, b2) = weights
    A = np.tanh(X @ W1 + b1)
    D2 = (A @ W2 + b2 - Y) / len(X)
    D1 = D2 @ W2.T * (1 - A * A)
    W2 -= rate * A.T @ D2
    b2 -= rate * D2.sum(0)
    W1 -= rate * X.T @ D1
    b1 -= rate * D1.sum(0)

weights = [(rng.normal(size=(d, h)), rng.normal(size=h)),
           (rng.normal(size=(h, m)), rng.normal(size=m))]
X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, m))
""",
    function="train",
    options='weights, X, Y, activation="tanh", batched=True, learning_rate=rate',
    slips=(
        Slip("(A @ W2 + b2 - Y)", "2 * (A @ W2 + b2 - Y)", 2, 2),
        Slip("(A @ W2 + b2 - Y)", "(A @ W2 + b2 + Y)", 2, 2),
        Slip(" * (1 - A * A)", "", 4, 1),
        Slip("(1 - A * A)", "(1 - A)", 4, 1),
        Slip("W2 -= rate", "W2 += rate", 5, 2),
        Slip("rate * X.T @ D1", "rate * X.T @ D1 * len(X)", 5, 1),
    ),
)

LAYER_OBJECTS = PublicCode(
    code="""
class Linear:
    def __init__(self, inputs, outputs):
        self.params = {"w": rng.normal(size=(inputs, outputs)), "b": rng.normal(size=outputs)}
        self.grads = {}

    def forward(self, inputs):
        self.inputs = inputs
        return inputs @ self.params["w"] + self.params["b"]

    def backward(self, grad):
        self.grads["b"] = np.sum(grad, axis=0)
        self.grads["w"] = self.inputs.T @ grad
        return grad @ self.params["w"].T

class Tanh:
    params, grads = {}, {}

    def forward(self, inputs):
        self.inputs = inputs
        return np.tanh(inputs)

    def backward(self, grad):
        return grad * (1 - np.tanh(self.inputs) ** 2)

class NeuralNet:
    def __init__(self, layers):
        self.layers = layers

    def gradient(self, x, y):
        for layer in self.layers:
            x = layer.forward(x)
        grad = x - y
        for layer in reversed(self.layers):
            grad = layer.backward(grad)

net = NeuralNet([Linear(d, h), Tanh(), Linear(h, m)])
X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, m))
""",
    function="net.gradient",
    options='net, X, Y, activation="tanh", batched=True, reduction="sum"',
    slips=(
        Slip("grad = x - y", "grad = y - x", 2, 2),
        Slip("grad = x - y", "grad = 2 * (x - y)", 2, 2),
        Slip("grad * (1 - np.tanh(self.inputs) ** 2)", "grad", 4, 1),
        Slip("grad * (1 - np.tanh(self.inputs) ** 2)", "grad * (1 - self.inputs**2)", 4, 1),
        Slip('grad @ self.params["w"].T', 'grad @ abs(self.params["w"]).T', 4, 1),
        Slip("grad = x - y", "grad = np.sign(x - y)", 2, 2),
    ),
)

NO_BIASES = PublicCode(
    code="""
def learn(synapses, X, y):
    syn0, syn1 = synapses
    l1 = 1 / (1 + np.exp(-X.dot(syn0)))
    l2 = 1 / (1 + np.exp(-l1.dot(syn1)))
    l2_delta = (y - l2) * (l2 * (1 - l2))
    l1_delta = l2_delta.dot(syn1.T) * (l1 * (1 - l1))
    syn1 += l1.T.dot(l2_delta)
    syn0 += X.T.dot(l1_delta)

synapses = [2 * rng.random((d, h)) - 1, 2 * rng.random((h, 1)) - 1]
X, y = rng.integers(0, 2, (n, d)).astype(float), rng.integers(0, 2, (n, 1)).astype(float)
""",
    function="learn",
    options='synapses, X, y, activation="sigmoid", output_activation="sigmoid", batched=True, '
    'reduction="sum", learning_rate=1.0',
    slips=(
        Slip("(y - l2) * (l2 * (1 - l2))", "y - l2", 2, 2),
        Slip("(y - l2) *", "(l2 - y) *", 2, 2),
        Slip(" * (l1 * (1 - l1))", "", 4, 1),
        Slip("(l1 * (1 - l1))", "(1 - l1)", 4, 1),
        Slip("syn1 += l1", "syn1 -= l1", 5, 2),
        Slip("l1.T.dot(l2_delta)", "l1.T.dot(l2_delta) / len(X)", 5, 2),
    ),
)

REGULARISED = PublicCode(
    code="""
reg = 0.01

def backward(model, X, y):
    W1, b1, W2, b2 = model["W1"], model["b1"], model["W2"], model["b2"]
    a1 = np.tanh(X.dot(W1) + b1)
    scores = np.exp(a1.dot(W2) + b2)
    probs = scores / np.sum(scores, axis=1, keepdims=True)
    delta3 = probs
    delta3[range(len(X)), y] -= 1
    delta3 /= len(X)
    dW2 = (a1.T).dot(delta3)
    db2 = np.sum(delta3, axis=0, keepdims=True)
    delta2 = delta3.dot(W2.T) * (1 - np.power(a1, 2))
    dW1 = np.dot(X.T, delta2)
    db1 = np.sum(delta2, axis=0)
    dW2 += reg * W2
    dW1 += reg * W1
    return {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}

model = {"W1": rng.normal(size=(d, h)), "b1": np.zeros((1, h)),
         "W2": rng.normal(size=(h, m)), "b2": np.zeros((1, m))}
X, y = rng.normal(size=(n, d)), np.arange(n) % m
""",
    options='model, X, y, activation="tanh", loss="softmax_cross_entropy", batched=True, l2=reg',
    slips=(
        Slip("delta3[range(len(X)), y] -= 1", "delta3[range(len(X)), y] += 1", 2, 2),
        Slip(" * (1 - np.power(a1, 2))", "", 4, 1),
        Slip("delta3.dot(W2.T)", "2 * delta3.dot(W2.T)", 4, 1),
        Slip("dW2 = (a1.T)", "dW2 = (-a1.T)", 5, 2),
        Slip("np.dot(X.T, delta2)", "np.dot(X.T, delta2) / len(X)", 5, 1),
        Slip("dW1 += reg * W1", "dW1 += 2 * reg * W1", 5, 1),
    ),
)

SOFTMAX_TWICE = PublicCode(
    code="""
def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)

def backward(params, X, T):
    (W1, b1), (W2, b2) = params
    a = np.maximum(X @ W1 + b1, 0)
    p = softmax(a @ W2 + b2)
    value = -(T * np.log(p)).sum(1).mean()
    dp = -T / p / len(X)
    dz2 = p * (dp - (dp * p).sum(1, keepdims=True))
    dz1 = (dz2 @ W2.T) * (a > 0)
    return value, [(X.T @ dz1, dz1.sum(0)), (a.T @ dz2, dz2.sum(0))]

params = [(rng.normal(size=(d, h)), rng.normal(size=h)),
          (rng.normal(size=(h, m)), rng.normal(size=m))]
X, T = rng.normal(size=(n, d)), np.eye(m)[np.arange(n) % m]
""",
    options='params, X, T, loss="softmax_cross_entropy", batched=True',
    slips=(
        Slip("p * (dp - (dp * p).sum(1, keepdims=True))", "p * (1 - p) * dp", 2, 2),
        Slip("p * (dp - (dp * p).sum(1, keepdims=True))", "dp", 2, 2),
        Slip(" * (a > 0)", "", 4, 1),
        Slip("(dz2 @ W2.T)", "-(dz2 @ W2.T)", 4, 1),
        Slip("a.T @ dz2", "2 * a.T @ dz2", 5, 2),
        Slip("dz1.sum(0)", "0 * dz1.sum(0)", 5, 1),
    ),
)

OWN_LOSS = PublicCode(
    code="""
import jax.numpy as jnp

def backward(params, X, Y):
    W1, b1, W2, b2 = params
    A = np.tanh(X @ W1.T + b1)
    E = A @ W2.T + b2 - Y
    D2 = np.tanh(E) / len(X)
    D1 = D2 @ W2 * (1 - A**2)
    return np.log(np.cosh(E)).sum() / len(X), [D1.T @ X, D1.sum(0), D2.T @ A, D2.sum(0)]

params = [rng.normal(size=(h, d)), rng.normal(size=h), rng.normal(size=(m, h)), rng.normal(size=m)]
X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, m))
""",
    adapter='log_cosh = fcnet.Loss("log_cosh", lambda o, y: jnp.log(jnp.cosh(o - y)).sum(), '
    "lambda o, y: jnp.tanh(o - y))",
    options='params, X, Y, activation="tanh", loss=log_cosh, batched=True',
    slips=(
        Slip("np.tanh(E) / len(X)", "np.sign(E) / len(X)", 2, 2),
        Slip("np.tanh(E) / len(X)", "2 * np.tanh(E) / len(X)", 2, 2),
        Slip(" * (1 - A**2)", "", 4, 1),
        Slip("D2 @ W2 *", "D2 @ abs(W2) *", 4, 1),
        Slip("D2.T @ A", "-D2.T @ A", 5, 2),
        Slip("D1.sum(0)", "D1.mean(0)", 5, 1),
    ),
)

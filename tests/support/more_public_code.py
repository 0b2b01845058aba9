"""More kinds of public code: libraries, lists, tapes, columns, orders; and the table of all."""

from support.public_code import (
    CLASS,
    COLUMNS,
    DICT,
    FLAT,
    IN_PLACE,
    LAYER_OBJECTS,
    NO_BIASES,
    OWN_LOSS,
    REGULARISED,
    SOFTMAX_TWICE,
    PublicCode,
    Slip,
)

FLOAT32 = PublicCode(
    code="""
def gradients(W1, b1, W2, b2, X, Y):
    Z = X @ W1 + b1
    A = np.maximum(Z, np.float32(0))
    D2 = (A @ W2 + b2 - Y) / np.float32(len(X))
    D1 = (D2 @ W2.T) * (Z > 0)
    return X.T @ D1, D1.sum(axis=0), A.T @ D2, D2.sum(axis=0)

params = [rng.normal(size=s).astype("f4") for s in ((d, h), (h,), (h, m), (m,))]
X, Y = rng.normal(size=(n, d)).astype("f4"), rng.normal(size=(n, m)).astype("f4")
""",
    adapter="backward = lambda params, X, Y: gradients(*params, X, Y)",
    options="params, X, Y, batched=True",
    slips=(
        Slip("(A @ W2 + b2 - Y)", "2 * (A @ W2 + b2 - Y)", 2, 2),
        Slip("(A @ W2 + b2 - Y)", "(A @ W2 + b2 + Y)", 2, 2),
        Slip(" * (Z > 0)", "", 4, 1),
        Slip("(Z > 0)", "Z", 4, 1),
        Slip("A.T @ D2", "-A.T @ D2", 5, 2),
        Slip("D1.sum(axis=0)", "D1.mean(axis=0)", 5, 1),
    ),
)

TORCH = PublicCode(
    code="""
import torch

torch.manual_seed(1)
g = torch.Generator().manual_seed(2)

def manual(p, X, y):
    hpre = X @ p["W1"] + p["b1"]
    hid = torch.tanh(hpre)
    logits = hid @ p["W2"] + p["b2"]
    loss = torch.nn.functional.cross_entropy(logits, y)
    dlogits = torch.softmax(logits, 1)
    dlogits[range(len(X)), y] -= 1
    dlogits /= len(X)
    dhid = dlogits @ p["W2"].T
    dhpre = (1 - hid**2) * dhid
    return loss, {"W1": X.T @ dhpre, "b1": dhpre.sum(0), "W2": hid.T @ dlogits,
                  "b2": dlogits.sum(0)}

p = {"W1": torch.randn(d, h, generator=g), "b1": torch.randn(h, generator=g),
     "W2": torch.randn(h, m, generator=g), "b2": torch.zeros(m)}
X, y = torch.randn(n, d, generator=g), torch.arange(n) % m
""",
    function="manual",
    options='p, X, y, activation="tanh", loss="softmax_cross_entropy", batched=True',
    needs="torch",
    slips=(
        Slip("dlogits[range(len(X)), y] -= 1", "pass", 2, 2),
        Slip("dlogits[range(len(X)), y] -= 1", "dlogits[range(len(X)), y] += 1", 2, 2),
        Slip("(1 - hid**2) * dhid", "dhid", 4, 1),
        Slip("(1 - hid**2)", "(1 - hid)", 4, 1),
        Slip("hid.T @ dlogits", "-hid.T @ dlogits", 5, 2),
        Slip("dhpre.sum(0)", "dhpre.mean(0)", 5, 1),
    ),
)

PLAIN_LISTS = PublicCode(
    code="""
import math

def dot(u, v):
    return sum(a * b for a, b in zip(u, v))

def backward(network, x, y):
    (W1, b1), (W2, b2) = network
    hidden = [math.tanh(dot(w, x) + b) for w, b in zip(W1, b1)]
    outputs = [dot(w, hidden) + b for w, b in zip(W2, b2)]
    d2 = [o - t for o, t in zip(outputs, y)]
    d1 = [(1 - a * a) * dot(d2, [w[j] for w in W2]) for j, a in enumerate(hidden)]
    dW1 = [[d * v for v in x] for d in d1]
    dW2 = [[d * a for a in hidden] for d in d2]
    return [(dW1, d1), (dW2, d2)]

network = [(rng.normal(size=(h, d)).tolist(), rng.normal(size=h).tolist()),
           (rng.normal(size=(m, h)).tolist(), rng.normal(size=m).tolist())]
x, y = rng.normal(size=d).tolist(), rng.normal(size=m).tolist()
""",
    options='network, x, y, activation="tanh"',
    slips=(
        Slip("o - t for o", "t - o for o", 2, 2),
        Slip("o - t for o", "2 * (o - t) for o", 2, 2),
        Slip("(1 - a * a) * dot", "dot", 4, 1),
        Slip("(1 - a * a) * dot", "(1 - a) * dot", 4, 1),
        Slip("[d * a for a in hidden]", "[-d * a for a in hidden]", 5, 2),
        Slip("[d * v for v in x]", "[2 * d * v for v in x]", 5, 1),
    ),
)

TAPE = PublicCode(
    code="""
import math

class Value:
    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents = data, 0.0, parents

    def __add__(self, other):
        return Value(self.data + other.data, ((self, 1.0), (other, 1.0)))

    def __mul__(self, other):
        return Value(self.data * other.data, ((self, other.data), (other, self.data)))

    def tanh(self):
        t = math.tanh(self.data)
        return Value(t, ((self, 1 - t * t),))

    def backward(self):
        order, seen = [], set()
        def visit(v):
            if v not in seen:
                seen.add(v)
                for parent, _ in v.parents:
                    visit(parent)
                order.append(v)
        visit(self)
        self.grad = 1.0
        for v in reversed(order):
            for parent, slope in v.parents:
                parent.grad += slope * v.grad

def layer(W, b, a):
    return [sum((w * v for w, v in zip(row, a)), start) for row, start in zip(W, b)]

def gradient(W1, b1, W2, b2, x, y):
    wrap = lambda a: [wrap(row) for row in a] if np.ndim(a) else Value(float(a))
    W1, b1, W2, b2, x, y = map(wrap, (W1, b1, W2, b2, x, y))
    hidden = [z.tanh() for z in layer(W1, b1, x)]
    outputs = layer(W2, b2, hidden)
    errors = [o + t * Value(-1.0) for o, t in zip(outputs, y)]
    loss = sum((e * e * Value(0.5) for e in errors), Value(0.0))
    loss.backward()
    grads = lambda a: [grads(row) for row in a] if isinstance(a, list) else a.grad
    return loss.data, [grads(W1), grads(b1), grads(W2), grads(b2)]

params = [rng.normal(size=s).tolist() for s in ((h, d), h, (m, h), m)]
x, y = rng.normal(size=d).tolist(), rng.normal(size=m).tolist()
""",
    adapter="backward = lambda p, x, y: gradient(*p, x, y)",
    options='params, x, y, activation="tanh"',
    slips=(
        Slip("self.grad = 1.0", "self.grad = 2.0", 2, 2),
        Slip("self.grad = 1.0", "self.grad = -1.0", 2, 2),
        Slip("((self, 1 - t * t),)", "((self, 1.0),)", 4, 1),
        Slip("((self, 1 - t * t),)", "((self, 1 - t),)", 4, 1),
        Slip("((self, 1 - t * t),)", "((self, t * t - 1),)", 4, 1),
        Slip("grads(W2), grads(b2)", "grads(W2), [2 * g for g in grads(b2)]", 5, 2),
    ),
)

BIAS_COLUMN = PublicCode(
    code="""
def ones(A):
    return np.c_[A, np.ones(len(A))]

def backward(Thetas, X, Y):
    T1, T2 = Thetas
    A1 = ones(X)
    A2 = ones(np.tanh(A1 @ T1.T))
    D2 = (A2 @ T2.T - Y) / len(X)
    D1 = (D2 @ T2)[:, :-1] * (1 - A2[:, :-1] ** 2)
    return [D1.T @ A1, D2.T @ A2]

Thetas = [rng.normal(size=(h, d + 1)), rng.normal(size=(m, h + 1))]
X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, m))
""",
    options='Thetas, X, Y, activation="tanh", batched=True',
    slips=(
        Slip("(A2 @ T2.T - Y)", "(Y - A2 @ T2.T)", 2, 2),
        Slip("(A2 @ T2.T - Y)", "2 * (A2 @ T2.T - Y)", 2, 2),
        Slip(" * (1 - A2[:, :-1] ** 2)", "", 4, 1),
        Slip("(1 - A2[:, :-1] ** 2)", "(1 - A2[:, :-1])", 4, 1),
        Slip("(D2 @ T2)[:, :-1]", "(D2 @ T2)[:, 1:]", 4, 1),
        Slip("(D2 @ T2)[:, :-1]", "-(D2 @ T2)[:, :-1]", 4, 1),
    ),
)

BIASES_FIRST = PublicCode(
    code="""
def backward(params, X, Y):
    biases, weights = params
    A = [X]
    for W, b in zip(weights, biases):
        A.append(1 / (1 + np.exp(-(A[-1] @ W + b))))
    delta = (A[-1] - Y) / len(X)
    db, dW = [], []
    for k in (1, 0):
        db.insert(0, delta.sum(0))
        dW.insert(0, A[k].T @ delta)
        delta = (delta @ weights[k].T) * A[k] * (1 - A[k])
    return db, dW

params = [rng.normal(size=h), rng.normal(size=m)], [
    rng.normal(size=(d, h)), rng.normal(size=(h, m))]
X, Y = rng.normal(size=(n, d)), rng.integers(0, 2, (n, m))
""",
    options='params, X, Y, activation="sigmoid", loss="logistic", batched=True',
    slips=(
        Slip("(A[-1] - Y)", "2 * (A[-1] - Y)", 2, 2),
        Slip("(A[-1] - Y)", "(A[-1] + Y)", 2, 2),
        Slip(" * A[k] * (1 - A[k])", "", 4, 1),
        Slip("(1 - A[k])", "(1 + A[k])", 4, 1),
        Slip("return db, dW", "return db, [dW[0], -dW[1]]", 5, 2),
        Slip("return db, dW", "return [db[0] / len(X), db[1]], dW", 5, 1),
    ),
)

ONE_HOT_BY_MAX = PublicCode(
    code="""
def one_hot(Y):
    table = np.zeros((Y.size, Y.max() + 1))
    table[np.arange(Y.size), Y] = 1
    return table.T

def backward_prop(W1, b1, W2, b2, X, Y):
    count = Y.size
    Z1 = W1.dot(X) + b1
    A1 = np.maximum(Z1, 0)
    Z2 = W2.dot(A1) + b2
    A2 = np.exp(Z2) / np.exp(Z2).sum(0)
    dZ2 = A2 - one_hot(Y)
    dW2 = 1 / count * dZ2.dot(A1.T)
    db2 = 1 / count * np.sum(dZ2, 1, keepdims=True)
    dZ1 = W2.T.dot(dZ2) * (Z1 > 0)
    dW1 = 1 / count * dZ1.dot(X.T)
    db1 = 1 / count * np.sum(dZ1, 1, keepdims=True)
    return dW1, db1, dW2, db2

params = tuple(rng.random(s) - 0.5 for s in ((h, d), (h, 1), (m, h), (m, 1)))
X, Y = rng.random((d, n)), np.arange(n) % m
""",
    adapter="backward = lambda params, X, Y: backward_prop(*params, X, Y)",
    options='params, X, Y, loss="softmax_cross_entropy", batched=True',
    slips=(
        Slip("dZ2 = A2 - one_hot(Y)", "dZ2 = A2 + one_hot(Y)", 2, 2),
        Slip("dZ2 = A2 - one_hot(Y)", "dZ2 = 2 * (A2 - one_hot(Y))", 2, 2),
        Slip(" * (Z1 > 0)", "", 4, 1),
        Slip("W2.T.dot(dZ2)", "abs(W2.T).dot(dZ2)", 4, 1),
        Slip("dW2 = 1 / count * dZ2", "dW2 = dZ2", 5, 2),
        Slip("db1 = 1 / count", "db1 = -1 / count", 5, 1),
    ),
)

NEW_PARAMS = PublicCode(
    code="""
alpha = 0.05

def update(params, X, Y):
    W1, b1, W2, b2 = params
    A1 = np.maximum(X @ W1 + b1, 0)
    dZ2 = (A1 @ W2 + b2 - Y) / len(X)
    dZ1 = dZ2 @ W2.T * (A1 > 0)
    return (
        W1 - alpha * X.T @ dZ1, b1 - alpha * dZ1.sum(0),
        W2 - alpha * A1.T @ dZ2, b2 - alpha * dZ2.sum(0))

params = tuple(rng.normal(size=s) for s in ((d, h), (h,), (h, m), (m,)))
X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, m))
""",
    function="update",
    options="params, X, Y, batched=True, learning_rate=alpha",
    slips=(
        Slip("(A1 @ W2 + b2 - Y)", "2 * (A1 @ W2 + b2 - Y)", 2, 2),
        Slip("(A1 @ W2 + b2 - Y)", "(A1 @ W2 + b2 + Y)", 2, 2),
        Slip(" * (A1 > 0)", "", 4, 1),
        Slip("dZ2 @ W2.T", "dZ2 @ abs(W2).T", 4, 1),
        Slip("W2 - alpha", "W2 + alpha", 5, 2),
        Slip("alpha * dZ1.sum(0)", "alpha * dZ1.mean(0)", 5, 1),
    ),
)

JITTED = PublicCode(
    code="""
import jax
import jax.numpy as jnp

@jax.jit
def grads(params, X, Y):
    (W1, b1), (W2, b2) = params
    z = X @ W1.T + b1
    a = jax.nn.relu(z)
    dz2 = (a @ W2.T + b2 - Y) / X.shape[0]
    dz1 = (dz2 @ W2) * (z > 0)
    return [(dz1.T @ X, dz1.sum(0)), (dz2.T @ a, dz2.sum(0))]

params = [(jnp.array(rng.normal(size=(h, d))), jnp.array(rng.normal(size=h))),
          (jnp.array(rng.normal(size=(m, h))), jnp.array(rng.normal(size=m)))]
X, Y = jnp.array(rng.normal(size=(n, d))), jnp.array(rng.normal(size=(n, m)))
""",
    function="grads",
    options="params, X, Y, batched=True",
    slips=(
        Slip("(a @ W2.T + b2 - Y)", "2 * (a @ W2.T + b2 - Y)", 2, 2),
        Slip("(a @ W2.T + b2 - Y)", "(Y - a @ W2.T - b2)", 2, 2),
        Slip(" * (z > 0)", "", 4, 1),
        Slip("(z > 0)", "a", 4, 1),
        Slip("dz2.T @ a,", "2 * dz2.T @ a,", 5, 2),
        Slip("dz1.sum(0)", "dz1.mean(0)", 5, 1),
    ),
)

PUBLIC_CODE = {
    "dict": DICT,
    "columns": COLUMNS,
    "flat theta": FLAT,
    "class": CLASS,
    "in place": IN_PLACE,
    "layer objects": LAYER_OBJECTS,
    "without biases": NO_BIASES,
    "regularised": REGULARISED,
    "softmax said twice": SOFTMAX_TWICE,
    "own loss": OWN_LOSS,
    "float32": FLOAT32,
    "torch": TORCH,
    "plain lists": PLAIN_LISTS,
    "scalar tape": TAPE,
    "bias column": BIAS_COLUMN,
    "biases first": BIASES_FIRST,
    "one-hot by max": ONE_HOT_BY_MAX,
    "new parameters": NEW_PARAMS,
    "jitted": JITTED,
}
"""Nineteen kinds."""

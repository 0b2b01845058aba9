"""Correct backward passes as people write them, in many layouts, and a reference for them.

Written without fcnet's own forward or backward pass, so that the oracle is independent of the
checker. `LAYOUTS` translates by hand, one row a layout, what `fcnet.layouts` infers.
"""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import numpy as np

from fcnet import Layer, mean_loss
from fcnet.losses import as_objective
from fcnet.types import Trace
from fcnet.verify.types import Case, Cost, Reference

Pairs = list[tuple[Any, Any]]
"""(W, b) of each layer as in the notes, of any array library."""


def cost(activation: Any = "relu", loss: Any = "squared_error", reduction: str = "mean") -> Cost:
    return Cost(as_objective(activation, "identity", loss), reduction)


ReLU = cost()
SIZES = (4, 3, 2)


def network(sizes: tuple[int, ...] = SIZES, dtype: Any = np.float64, seed: int = 0) -> Pairs:
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(size=(m, below)).astype(dtype), (rng.normal(size=m) + 1).astype(dtype))
        for below, m in pairwise(sizes)
    ]


def data(
    n: int, sizes: tuple[int, ...] = SIZES, dtype: Any = np.float64, seed: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """X and Y with n examples as rows."""
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(n, sizes[0])), rng.normal(size=(n, sizes[-1]))
    return X.astype(dtype), Y.astype(dtype)


def gradient(params: Pairs, X: Any, Y: Any) -> tuple[Any, Pairs]:
    """Mean squared error of a ReLU network on a batch, in operators that all libraries share."""
    A, Z = [X], []
    for W, b in params:
        Z.append(A[-1] @ W.T + b)
        A.append(Z[-1] * (Z[-1] > 0))
    D = (Z[-1] - Y) / len(X)
    loss = ((Z[-1] - Y) ** 2).sum() / (2 * len(X))
    result: Pairs = []
    for k in reversed(range(len(params))):
        result.insert(0, (D.T @ A[k], D.sum(0)))
        if k:
            D = (D @ params[k][0]) * (Z[k - 1] > 0)
    return loss, result


def one(function: Callable[..., Any]) -> Callable[..., Any]:
    """A batch function for one example."""
    return lambda params, x, y: function(params, x[None], y[None])


def alone(function: Callable[..., Any] = gradient) -> Callable[..., Any]:
    """The gradient without the loss."""
    return lambda *arguments: function(*arguments)[1]


class UserLayout(NamedTuple):
    """The user's parameters from the notes' pairs, and back."""

    write: Callable[[Pairs], Any]
    read: Callable[[Any], Pairs]


def _numbered(params: Any, W: str, b: str) -> Pairs:
    return [(params[W.format(k)], params[b.format(k)]) for k in range(1, len(params) // 2 + 1)]


LAYOUTS: dict[str, UserLayout] = {
    "pairs": UserLayout(list, list),
    "fcnet": UserLayout(
        lambda p: tuple(Layer(*pair) for pair in p), lambda u: [(W, b) for W, b in u]
    ),
    "flat list": UserLayout(
        lambda p: [leaf for pair in p for leaf in pair],
        lambda u: list(zip(u[::2], u[1::2], strict=True)),
    ),
    "two lists": UserLayout(
        lambda p: ([W for W, _ in p], [b for _, b in p]), lambda u: list(zip(*u, strict=True))
    ),
    "biases first": UserLayout(lambda p: [(b, W) for W, b in p], lambda u: [(W, b) for b, W in u]),
    "names": UserLayout(
        lambda p: (
            {f"W{k}": W for k, (W, _) in enumerate(p, 1)}
            | {f"b{k}": b for k, (_, b) in enumerate(p, 1)}
        ),
        lambda u: _numbered(u, "W{}", "b{}"),
    ),
    "column biases": UserLayout(
        lambda p: (
            {f"W{k}": W for k, (W, _) in enumerate(p, 1)}
            | {f"b{k}": b[:, None] for k, (_, b) in enumerate(p, 1)}
        ),
        lambda u: [(W, b[:, 0]) for W, b in _numbered(u, "W{}", "b{}")],
    ),
    "in, out": UserLayout(
        lambda p: [(W.T, b[None]) for W, b in p], lambda u: [(W.T, b[0]) for W, b in u]
    ),
    "lists by name": UserLayout(
        lambda p: {"biases": [b for _, b in p], "weights": [W for W, _ in p]},
        lambda u: list(zip(u["weights"], u["biases"], strict=True)),
    ),
    "PyTorch": UserLayout(
        lambda p: {
            f"{2 * k}.{name}": leaf
            for k, pair in enumerate(p)
            for name, leaf in zip(("weight", "bias"), pair, strict=True)
        },
        lambda u: list(zip(list(u.values())[::2], list(u.values())[1::2], strict=True)),
    ),
    "scikit-learn": UserLayout(
        lambda p: {"coefs_": [W.T for W, _ in p], "intercepts_": [b for _, b in p]},
        lambda u: [(W.T, b) for W, b in zip(u["coefs_"], u["intercepts_"], strict=True)],
    ),
    "Flax": UserLayout(
        lambda p: {
            "params": {f"Dense_{k}": {"bias": b, "kernel": W.T} for k, (W, b) in enumerate(p)}
        },
        lambda u: [(layer["kernel"].T, layer["bias"]) for layer in u["params"].values()],
    ),
    "list of dicts": UserLayout(
        lambda p: [{"w": W.T, "b": b} for W, b in p], lambda u: [(q["w"].T, q["b"]) for q in u]
    ),
}


def in_layout(
    name: str, function: Callable[..., Any] = gradient, columns: bool = False, loss: str = "no"
) -> Callable[..., Any]:
    """A batch function in a user's layout; it returns its loss "first", "last" or not at all."""
    layout = LAYOUTS[name]

    def backward(params: Any, X: Any, Y: Any) -> Any:
        rows = (X.T, Y.T) if columns else (X, Y)
        value, pairs = function(layout.read(params), *rows)
        result = layout.write(pairs)
        return {"no": result, "first": (value, result), "last": (result, value)}[loss]

    return backward


class Student:
    """A network as a first course writes it: attributes, a forward pass that stores, a backward."""

    def __init__(self, params: dict[str, np.ndarray]) -> None:
        self.W1, self.b1, self.W2, self.b2 = (params[k] for k in ("W1", "b1", "W2", "b2"))

    def forward(self, X: np.ndarray) -> np.ndarray:
        self.X = X
        self.Z1 = X @ self.W1.T + self.b1
        self.A1 = np.maximum(self.Z1, 0)
        return self.A1 @ self.W2.T + self.b2

    def backward(self, X: np.ndarray, Y: np.ndarray) -> dict[str, np.ndarray]:
        dZ2 = (self.forward(X) - Y) / len(X)
        dZ1 = dZ2 @ self.W2
        dZ1[self.Z1 <= 0] = 0
        return {
            "dZ2": dZ2,
            "dW2": dZ2.T @ self.A1,
            "db2": dZ2.sum(axis=0),
            "dZ1": dZ1,
            "dW1": dZ1.T @ self.X,
            "db1": dZ1.sum(axis=0),
        }


def student(params: dict[str, np.ndarray], X: np.ndarray, Y: np.ndarray) -> dict[str, np.ndarray]:
    return Student(params).backward(X, Y)


def loops(params: list[Any], x: list[float], y: list[float]) -> list[Any]:
    """One example, [W1, b1, W2, b2, ...] as lists of numbers, without any library."""
    layers = list(zip(params[::2], params[1::2], strict=True))
    a, z = [list(x)], []
    for W, b in layers:
        z.append(
            [
                sum(w * v for w, v in zip(row, a[-1], strict=True)) + c
                for row, c in zip(W, b, strict=True)
            ]
        )
        a.append([max(t, 0.0) for t in z[-1]])
    delta = [o - t for o, t in zip(z[-1], y, strict=True)]
    gradients: list[Any] = []
    for k in reversed(range(len(layers))):
        gradients = [[[d * v for v in a[k]] for d in delta], delta, *gradients]
        if k:
            W = layers[k][0]
            back = [sum(W[j][i] * delta[j] for j in range(len(delta))) for i in range(len(a[k]))]
            delta = [g if t > 0 else 0.0 for g, t in zip(back, z[k - 1], strict=True)]
    return gradients


def torch_functions(params: dict[str, Any], X: Any, Y: Any) -> dict[str, Any]:
    """`torch.autograd.Function`s with backward passes by hand, chained by PyTorch's tape."""
    import torch

    class Affine(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, A: Any, W: Any, b: Any) -> Any:
            ctx.save_for_backward(A, W)
            return A @ W.T + b

        @staticmethod
        def backward(ctx: Any, D: Any) -> Any:
            A, W = ctx.saved_tensors
            return D @ W, D.T @ A, D.sum(0)

    class Rectify(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, Z: Any) -> Any:
            ctx.save_for_backward(Z)
            return Z.clamp(min=0)

        @staticmethod
        def backward(ctx: Any, D: Any) -> Any:
            return D * (ctx.saved_tensors[0] > 0)

    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    layers = _numbered(leaves, "W{}", "b{}") if "W1" in leaves else LAYOUTS["PyTorch"].read(leaves)
    A = X
    for W, b in layers[:-1]:
        A = Rectify.apply(Affine.apply(A, W, b))
    loss = ((Affine.apply(A, *layers[-1]) - Y) ** 2).sum() / (2 * len(X))
    loss.backward()
    return {name: p.grad for name, p in leaves.items()}


jitted = jax.jit(gradient)


def counted(function: Callable[..., Any]) -> tuple[Callable[..., Any], SimpleNamespace]:
    """The function, and how often it was called."""
    count = SimpleNamespace(calls=0)

    def counting(*arguments: Any) -> Any:
        count.calls += 1
        return function(*arguments)

    return counting, count


@cache
def _loss_and_gradient(cost: Cost) -> Callable[..., Any]:
    def loss(params: Any, X: Any, Y: Any) -> Any:
        mean = mean_loss(params, X, Y, **cost.objective.keywords)
        return (len(X) if cost.reduction == "sum" else 1) * mean

    return jax.jit(jax.value_and_grad(loss))


def reference_of(cost: Cost, case: Case, u: float) -> Reference:
    """`jax.grad` in float64; the tolerance is a multiple of u times each array's largest entry."""
    with jax.enable_x64(True):
        loss, gradient = _loss_and_gradient(cost)(case.params, case.X, case.Y)
    gradient = jax.tree.map(np.asarray, gradient)
    return Reference(
        loss=float(loss),
        loss_tolerance=64 * u * abs(float(loss)),
        trace=Trace((), ()),
        deltas=(),
        kinks=(),
        gradient=gradient,
        by_convention={},
        slack=jax.tree.map(np.zeros_like, gradient),
        tolerance=jax.tree.map(lambda g: np.full(g.shape, 64 * u * abs(g).max()), gradient),
    )

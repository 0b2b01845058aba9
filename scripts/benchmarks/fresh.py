"""Programs whose first result is timed, each in a process of its own, by the suite `first`.

    python scripts/benchmarks/fresh.py NAME    # one program once: its own seconds, as JSON

Imports are not timed, except those of the command line, which is a process of its own. Processor
time counts all threads of the process, and the processes that it starts.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np

Run = Callable[[], Any]
"""Computes one result."""

Pairs = list[tuple[Any, Any]]


def problem(sizes: tuple[int, ...], n: int = 32) -> tuple[Pairs, np.ndarray, np.ndarray]:
    """A random network, examples and targets, in NumPy's float32."""
    rng = np.random.default_rng(0)
    layers = [(rng.normal(size=(m, d)) * np.sqrt(2 / d), np.zeros(m)) for d, m in pairwise(sizes)]
    X, Y = rng.normal(size=(n, sizes[0])), rng.normal(size=(n, sizes[-1]))
    return [(W.astype("f"), b.astype("f")) for W, b in layers], X.astype("f"), Y.astype("f")


def backward(params: Pairs, X: np.ndarray, Y: np.ndarray) -> Pairs:
    """The gradient of the mean squared error by hand, in NumPy."""
    a, z = [X], []
    for W, b in params:
        z.append(a[-1] @ W.T + b)
        a.append(np.maximum(z[-1], 0))
    delta = (z[-1] - Y) / len(X)
    gradient = []
    for k in reversed(range(len(params))):
        gradient.append((delta.T @ a[k], delta.sum(0)))
        if k:
            delta = (delta @ params[k][0]) * (z[k - 1] >= 0)
    return gradient[::-1]


def doubled(params: Pairs, X: np.ndarray, Y: np.ndarray) -> Pairs:
    """As `backward`, with a factor 2 in the first layer's delta."""
    (dW, db), *rest = backward(params, X, Y)
    return [(2 * dW, 2 * db), *rest]


def training() -> list[Run]:
    import jax
    import jax.numpy as jnp
    import optax

    params, X, Y = jax.tree.map(jnp.asarray, problem((10, 64, 64, 1)))
    optimizer = optax.adam(1e-3)

    def cost(params: Any) -> Any:
        a = X
        for W, b in params[:-1]:
            a = jax.nn.relu(a @ W.T + b)
        W, b = params[-1]
        return jnp.mean((a @ W.T + b - Y) ** 2) / 2

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        updates, state = optimizer.update(jax.grad(cost)(params), state)
        return optax.apply_updates(params, updates), state

    def loop() -> Any:
        trained, state = params, optimizer.init(params)
        for _ in range(100):
            trained, state = step(trained, state)
        return jax.block_until_ready(trained)

    return [loop]


def fit(**choices: Any) -> list[Run]:
    """The same training by `fcnet.fit`, and that of a network of another shape."""
    import jax

    import fcnet

    function, key = fcnet.fit, jax.random.wrap_key_data(np.array([0, 1], np.uint32))

    def run(*sizes: int) -> Run:
        params, X, Y = problem(sizes)
        given: Any = {"key": key, "steps": 100, "optimizer": "adam", **choices}
        return lambda: jax.block_until_ready(function(params, X, Y, **given).params)

    return [run(10, 64, 64, 1), run(6, 32, 3)]


def estimator(of_sklearn: bool) -> list[Run]:
    """The same by a regressor of scikit-learn's kind: 100 passes over 32 examples."""
    _, X, Y = problem((10, 64, 64, 1))
    choices: Any = {"hidden_layer_sizes": (64, 64), "max_iter": 100, "random_state": 0}
    if of_sklearn:
        from sklearn.neural_network import MLPRegressor as Regressor

        choices["n_iter_no_change"] = 101
    else:
        from fcnet.estimators import FCNetRegressor as Regressor
    return [lambda: Regressor(**choices).fit(X, Y[:, 0])]


def by_torch() -> list[Run]:
    """The same training in PyTorch, step by step."""
    import torch

    params, *data = problem((10, 64, 64, 1))
    X, Y = (torch.from_numpy(array) for array in data)
    linear = [torch.nn.Linear(*W.shape[::-1]) for W, _ in params]
    model = torch.nn.Sequential(linear[0], torch.nn.ReLU(), linear[1], torch.nn.ReLU(), linear[2])
    for layer, (W, b) in zip(linear, params, strict=True):
        layer.load_state_dict({"weight": torch.from_numpy(W), "bias": torch.from_numpy(b)})
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def loop() -> None:
        for _ in range(100):
            optimizer.zero_grad()
            (((model(X) - Y) ** 2).mean() / 2).backward()
            optimizer.step()

    return [loop]


def command() -> list[Run]:
    """`fcnet train` on the shipped houses, the whole process."""

    def run() -> None:
        houses = Path(__file__).parents[2] / "fcnet/sacramento.csv"
        with TemporaryDirectory() as folder:
            given = ["train", houses, "--target", "price", "--out", Path(folder, "run")]
            call = [sys.executable, "-m", "fcnet", *given]
            subprocess.run(call, check=True, stdout=subprocess.DEVNULL)

    return [run]


def check(candidate: Callable[..., Pairs], verdict: str) -> list[Run]:
    import fcnet

    function = fcnet.check

    def run(*sizes: int) -> Run:
        params, X, Y = problem(sizes)
        return lambda: _expect(function(candidate, params, X, Y, batched=True), verdict)

    return [run(10, 64, 64, 1), run(6, 32, 3)]


def check_residual() -> list[Run]:
    """Of a network with a residual block, LayerNorm and cross-entropy, jax.grad's own gradient."""
    import jax
    import jax.numpy as jnp

    import fcnet

    function = fcnet.check_gradient
    rng = np.random.default_rng(0)
    d, m, classes, n = 5, 6, 3, 4
    shapes = {"W1": (d, m), "b1": (m,), "W2": (m, m), "b2": (m,), "g": (m,), "c": (m,)}
    shapes |= {"W3": (m, classes), "b3": (classes,)}
    params = {name: rng.normal(size=shape).astype("f") for name, shape in shapes.items()}
    X, Y = rng.normal(size=(n, d)).astype("f"), np.eye(classes, dtype="f")[[0, 2, 1, 0]]

    def cost(p: Any, X: Any, Y: Any) -> Any:
        h = jax.nn.relu(X @ p["W1"] + p["b1"])
        r = h + jnp.tanh(h @ p["W2"] + p["b2"])
        mean, variance = r.mean(1, keepdims=True), r.var(1, keepdims=True)
        normal = (r - mean) / jnp.sqrt(variance + 1e-5) * p["g"] + p["c"]
        o = normal @ p["W3"] + p["b3"]
        decay = sum(jnp.sum(p[name] ** 2) for name in ("W1", "W2", "W3"))
        return -jnp.mean(jnp.sum(Y * jax.nn.log_softmax(o), 1)) + 1e-2 * decay

    def gradient(p: Any, X: Any, Y: Any) -> Any:
        a1 = X @ p["W1"] + p["b1"]
        h = np.maximum(a1, 0)
        t = np.tanh(h @ p["W2"] + p["b2"])
        r = h + t
        s = np.sqrt(r.var(1, keepdims=True) + np.float32(1e-5))
        normal = (r - r.mean(1, keepdims=True)) / s
        q = normal * p["g"] + p["c"]
        o = q @ p["W3"] + p["b3"]
        e = np.exp(o - o.max(1, keepdims=True))
        do = (e / e.sum(1, keepdims=True) * Y.sum(1, keepdims=True) - Y) / np.float32(len(X))
        dq = do @ p["W3"].T
        dn = dq * p["g"]
        dr = (dn - dn.mean(1, keepdims=True) - normal * (dn * normal).mean(1, keepdims=True)) / s
        du = dr * (1 - t**2)
        da = (dr + du @ p["W2"].T) * (a1 > 0)
        decay = np.float32(2e-2)
        return {
            "W1": X.T @ da + decay * p["W1"],
            "b1": da.sum(0),
            "W2": h.T @ du + decay * p["W2"],
            "b2": du.sum(0),
            "g": (dq * normal).sum(0),
            "c": dq.sum(0),
            "W3": q.T @ do + decay * p["W3"],
            "b3": do.sum(0),
        }

    return [lambda: _expect(function(gradient, cost, params, X, Y), "right")]


def _expect(report: Any, verdict: str) -> None:
    if report.verdict != verdict:
        raise AssertionError(f"the verdict is not {verdict!r}:\n{report}")


BASELINE = "optax.adam, jitted step"
SKLEARN, TORCH = "sklearn.neural_network.MLPRegressor", "torch.optim.Adam"
PROGRAMS = MappingProxyType(
    {
        BASELINE: training,
        "fcnet.fit, all examples": lambda: fit(sampling="full"),
        "fcnet.fit, batches of 16": lambda: fit(batch_size=16),
        "fcnet.estimators.FCNetRegressor": lambda: estimator(of_sklearn=False),
        "fcnet.check, right": lambda: check(backward, "right"),
        "fcnet.check, wrong": lambda: check(doubled, "wrong"),
        "fcnet.check_gradient, residual LayerNorm": check_residual,
        "fcnet train": command,
        SKLEARN: lambda: estimator(of_sklearn=True),
        TORCH: by_torch,
    }
)
"""Each makes, after its imports, the runs to be timed one after the other."""

WITHOUT_JAX = frozenset({SKLEARN, TORCH})
"""These compile nothing."""


def _clocks() -> np.ndarray:
    return np.array([time.perf_counter(), sum(os.times()[:4])])


def main() -> None:
    seconds = []
    for result in PROGRAMS[sys.argv[1]]():
        start = _clocks()
        result()
        seconds.append((_clocks() - start).tolist())
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()

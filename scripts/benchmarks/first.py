"""The time to the first result in a fresh process, imports aside, beside a jitted training loop.

Each program runs alone in a new process without a cache of compiled programs, and the programs take
turns. The time is almost all tracing and compiling. Processor time counts all threads of the
process; other processes on the machine change it less than the time on the clock.

    python scripts/benchmarks/first.py NAME    # one program once: its own seconds, as JSON
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

ROUNDS = 7

Run = Callable[[], Any]
"""Computes one result."""

Pairs = list[tuple[Any, Any]]


class First(NamedTuple):
    """The time to a result. `ratio` is the median over the rounds of its time divided by that of
    the baseline in the same round."""

    case: str
    variant: str
    baseline: str
    seconds: float  # the median
    processor_seconds: float
    ratio: float
    low: float  # the quartiles
    high: float
    processor_ratio: float
    rounds: int

    @property
    def cells(self) -> dict[str, str]:
        """The row as the terminal shows it, by the headers of its columns."""
        return {
            "program": self.variant,
            "result": self.case,
            "s": f"{self.seconds:.2f}",
            "processor s": f"{self.processor_seconds:.2f}",
            "baseline": self.baseline,
            "ratio": f"{self.ratio:.2f}",
            "quartiles": f"{self.low:.2f}-{self.high:.2f}",
            "processor": f"{self.processor_ratio:.2f}",
            "rounds": f"{self.rounds}",
        }


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
PROGRAMS = MappingProxyType(
    {
        BASELINE: training,
        "fcnet.fit, all examples": lambda: fit(sampling="full"),
        "fcnet.fit, batches of 16": lambda: fit(batch_size=16),
        "fcnet.FCNetRegressor": lambda: estimator(of_sklearn=False),
        "sklearn.MLPRegressor": lambda: estimator(of_sklearn=True),
        "fcnet.check, right": lambda: check(backward, "right"),
        "fcnet.check, wrong": lambda: check(doubled, "wrong"),
        "fcnet.check_gradient, residual LayerNorm": check_residual,
    }
)
"""Each makes, after its imports, the runs to be timed one after the other."""

RESULTS = ("first", "second, another shape")


def run(quick: bool) -> Iterator[First]:
    rounds = 1 if quick else ROUNDS
    times: dict[str, list[Any]] = {name: [] for name in PROGRAMS}
    for _ in range(rounds):
        for name, measured in times.items():
            measured.append(_fresh(name))
    baseline = np.array(times[BASELINE])[:, 0]
    for name, measured in times.items():
        runs = np.array(measured)  # round, result, clock
        for i in range(runs.shape[1]):
            low, ratio, high = np.quantile(runs[:, i] / baseline, (0.25, 0.5, 0.75), axis=0)
            seconds, processor_seconds = np.median(runs[:, i], axis=0)
            yield First(
                case=RESULTS[i],
                variant=name,
                baseline=BASELINE,
                seconds=float(seconds),
                processor_seconds=float(processor_seconds),
                ratio=float(ratio[0]),
                low=float(low[0]),
                high=float(high[0]),
                processor_ratio=float(ratio[1]),
                rounds=rounds,
            )


def _fresh(name: str) -> list[list[float]]:
    """The seconds of each result of a program in a new process, on the clock and of processors."""
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    command = [sys.executable, Path(__file__), name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _clocks() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def main() -> None:
    seconds = []
    for result in PROGRAMS[sys.argv[1]]():
        start = _clocks()
        result()
        seconds.append((_clocks() - start).tolist())
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()

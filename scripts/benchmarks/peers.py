"""The same training in other libraries: descent on the half mean squared error, ReLU, float32.

Each peer takes a `Work` and returns a function of the number of steps, which returns the trained
layers as pairs (W, b) of NumPy arrays in the notes' shapes. Each step draws B of n examples without
replacement, in the library's fastest way; scikit-learn has only shuffled passes, and its own
initial weights. A peer raises where its library is missing or fails; the suite leaves it out.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import fcnet
from fcnet.train.precision import as_precision

RATE = 1e-3
Pairs = list[tuple[np.ndarray, np.ndarray]]


class Work(NamedTuple):
    """What is trained: the initial layers, the data and the batch size."""

    layers: Pairs
    X: np.ndarray
    Y: np.ndarray
    batch_size: int

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.X.shape[1], *(len(b) for _, b in self.layers))


LOOP_BATCHES = 64
"""The batches of `of_loop`, which it takes in turn."""

Run = Callable[[int], Pairs]
"""Trains for a number of steps from the initial layers."""


@contextmanager
def arithmetic_of(precision: str | None) -> Iterator[Any]:
    """The row of the precision, while JAX computes in it; None is float32 as JAX has it."""
    arithmetic = as_precision(precision)
    with arithmetic.scope() if precision else nullcontext():
        yield arithmetic


def of_fcnet(work: Work, precision: str | None = None) -> Run:
    params = tuple(fcnet.Layer(jnp.asarray(W), jnp.asarray(b)) for W, b in work.layers)
    X, Y = jnp.asarray(work.X), jnp.asarray(work.Y)

    def run(steps: int) -> Pairs:
        result = fcnet.fit(
            params, X, Y, key=jax.random.key(0), batch_size=work.batch_size, steps=steps,
            optimizer="sgd", hyperparameters={"learning_rate": RATE}, evaluate_every=max(steps, 1),
            precision=precision,
        )  # fmt: skip
        return to_numpy(result.params)

    return run


def of_loop(work: Work, precision: str | None = None) -> Run:
    """The steps alone, in one loop that is compiled whole: no trainer needs less."""
    draw = np.random.default_rng(0)
    drawn = [draw.choice(len(work.X), work.batch_size, replace=False) for _ in range(LOOP_BATCHES)]
    X, Y, batches = jnp.asarray(work.X), jnp.asarray(work.Y), jnp.asarray(np.stack(drawn))
    layers = [(jnp.asarray(W), jnp.asarray(b)) for W, b in work.layers]

    @jax.jit
    def descend(layers: Any, X: jax.Array, Y: jax.Array, batches: jax.Array, steps: int) -> Any:
        def step(i: jax.Array, layers: Any) -> Any:
            rows = batches[i % LOOP_BATCHES]
            given = in_dtype(as_precision(precision).compute, (layers, X[rows], Y[rows]))
            gradient = fcnet.batch_backprop(*given)
            return jax.tree.map(lambda p, g: p - RATE * g.astype(p.dtype), layers, gradient)

        return jax.lax.fori_loop(0, steps, step, layers)

    def run(steps: int) -> Pairs:
        with arithmetic_of(precision):
            return to_numpy(descend(layers, X, Y, batches, steps))

    return run


def in_dtype(dtype: str | None, tree: Any) -> Any:
    """The arrays in a dtype; None leaves them as they are."""
    return tree if dtype is None else jax.tree.map(lambda leaf: leaf.astype(dtype), tree)


def of_numpy(work: Work) -> Run:
    def run(steps: int) -> Pairs:
        rng = np.random.default_rng(0)
        layers = [(W.copy(), b.copy()) for W, b in work.layers]
        rate, B = np.float32(RATE), work.batch_size
        for _ in range(steps):
            rows = rng.choice(len(work.X), B, replace=False, shuffle=False)
            a = [work.X[rows]]
            for k, (W, b) in enumerate(layers):
                z = a[-1] @ W.T + b
                a.append(np.maximum(z, 0) if k < len(layers) - 1 else z)
            delta = (a[-1] - work.Y[rows]) / np.float32(B)
            for k in reversed(range(len(layers))):
                W, b = layers[k]
                dW, db = delta.T @ a[k], delta.sum(0)
                if k:
                    delta = (delta @ W) * (a[k] > 0)
                W -= rate * dW
                b -= rate * db
        return layers

    return run


def in_a_loop(
    step: Callable[[Any, jax.Array], Any], start: Any, layers: Any, precision: str | None = None
) -> Run:
    """Calls a compiled step from a Python loop; the step splits the key."""

    def run(steps: int) -> Pairs:
        state, key = start, jax.random.key(0)
        with arithmetic_of(precision):
            for _ in range(steps):
                state, key = step(state, key)
        return to_numpy(layers(state))

    return run


def of_optax(work: Work, precision: str | None = None) -> Run:
    optimizer = optax.sgd(RATE)
    X, Y = jnp.asarray(work.X), jnp.asarray(work.Y)

    def loss(params: Any, X: jax.Array, Y: jax.Array) -> jax.Array:
        params, a, Y = in_dtype(as_precision(precision).compute, (params, X, Y))
        for W, b in params[:-1]:
            a = jax.nn.relu(a @ W.T + b)
        W, b = params[-1]
        return ((a @ W.T + b - Y) ** 2).sum(1).mean() / 2

    @jax.jit
    def step(state: Any, key: jax.Array) -> Any:
        params, opt_state = state
        key, draw = jax.random.split(key)
        rows = fcnet.sample_batch(draw, len(X), work.batch_size)
        gradient = jax.grad(loss)(params, X[rows], Y[rows])
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), key

    params = [(jnp.asarray(W), jnp.asarray(b)) for W, b in work.layers]
    start = (params, optimizer.init(params))
    return in_a_loop(step, start, lambda state: state[0], precision)


def of_equinox(work: Work) -> Run:
    import equinox as eqx

    optimizer = optax.sgd(RATE)
    X, Y = jnp.asarray(work.X), jnp.asarray(work.Y)

    class Network(eqx.Module):
        layers: list[eqx.nn.Linear]

        def __call__(self, x: jax.Array) -> jax.Array:
            for layer in self.layers[:-1]:
                x = jax.nn.relu(layer(x))
            return self.layers[-1](x)

    shapes = zip(work.sizes, work.sizes[1:], strict=False)
    model = Network([eqx.nn.Linear(*shape, key=jax.random.key(0)) for shape in shapes])

    def pairs(model: Any) -> Any:
        return [leaf for layer in model.layers for leaf in (layer.weight, layer.bias)]

    model = eqx.tree_at(pairs, model, [jnp.asarray(leaf) for pair in work.layers for leaf in pair])

    @eqx.filter_jit
    def step(state: Any, key: jax.Array) -> Any:
        model, opt_state = state
        key, draw = jax.random.split(key)
        rows = fcnet.sample_batch(draw, len(X), work.batch_size)
        loss = lambda m: ((jax.vmap(m)(X[rows]) - Y[rows]) ** 2).sum(1).mean() / 2  # noqa: E731
        updates, opt_state = optimizer.update(eqx.filter_grad(loss)(model), opt_state)
        return (eqx.apply_updates(model, updates), opt_state), key

    start = (model, optimizer.init(eqx.filter(model, eqx.is_array)))
    return in_a_loop(step, start, lambda s: [(m.weight, m.bias) for m in s[0].layers])


def of_nnx(work: Work) -> Run:
    from flax import nnx

    X, Y, descent = jnp.asarray(work.X), jnp.asarray(work.Y), optax.sgd(RATE)

    class Network(nnx.Module):
        def __init__(self) -> None:
            rngs = nnx.Rngs(0)
            shapes = zip(work.sizes, work.sizes[1:], strict=False)
            self.layers = nnx.List(nnx.Linear(*shape, rngs=rngs) for shape in shapes)
            for layer, (W, b) in zip(self.layers, work.layers, strict=True):
                layer.kernel[...], layer.bias[...] = jnp.asarray(W.T), jnp.asarray(b)

        def __call__(self, x: jax.Array) -> jax.Array:
            for layer in self.layers[:-1]:
                x = nnx.relu(layer(x))
            return self.layers[-1](x)

    @nnx.jit
    def step(model: Any, optimizer: Any, key: jax.Array) -> jax.Array:
        key, draw = jax.random.split(key)
        rows = fcnet.sample_batch(draw, len(X), work.batch_size)
        loss = lambda m: ((m(X[rows]) - Y[rows]) ** 2).sum(1).mean() / 2  # noqa: E731
        optimizer.update(model, nnx.grad(loss)(model))
        return key

    def run(steps: int) -> Pairs:
        model, key = Network(), jax.random.key(0)
        optimizer = nnx.Optimizer(model, descent, wrt=nnx.Param)
        for _ in range(steps):
            key = step(model, optimizer, key)
        return to_numpy([(layer.kernel[...].T, layer.bias[...]) for layer in model.layers])

    return run


def of_torch(
    work: Work,
    precision: str | None = None,
    threads: int = 1,
    compile_mode: str | None = None,
) -> Run:
    import torch

    device = "cuda" if jax.default_backend() == "gpu" else "cpu"
    X, Y = torch.from_numpy(work.X).to(device), torch.from_numpy(work.Y).to(device)
    linear = [torch.nn.Linear(*shape) for shape in zip(work.sizes, work.sizes[1:], strict=False)]
    modules = [m for layer in linear[:-1] for m in (layer, torch.nn.ReLU())] + linear[-1:]
    model = torch.nn.Sequential(*modules).to(device)
    call = torch.compile(model, mode=compile_mode) if compile_mode else model

    def run(steps: int) -> Pairs:
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = precision == "tensorfloat32"
        narrow = torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")
        rng = np.random.default_rng(0)
        with torch.no_grad():
            for layer, (W, b) in zip(linear, work.layers, strict=True):
                layer.weight.copy_(torch.from_numpy(W))
                layer.bias.copy_(torch.from_numpy(b))
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
        for _ in range(steps):
            drawn = rng.choice(len(work.X), work.batch_size, replace=False, shuffle=False)
            rows = torch.from_numpy(drawn).to(device)
            optimizer.zero_grad()
            with narrow:
                loss = ((call(X[rows]) - Y[rows]) ** 2).sum(1).mean() / 2
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            return [(m.weight.cpu().numpy().copy(), m.bias.cpu().numpy().copy()) for m in linear]

    return run


def of_sklearn(work: Work) -> Run:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    per_epoch = -(-len(work.X) // work.batch_size)
    target = work.Y[:, 0] if work.Y.shape[1] == 1 else work.Y

    def run(steps: int) -> Pairs:
        model = MLPRegressor(
            hidden_layer_sizes=work.sizes[1:-1], solver="sgd", alpha=0, momentum=0,
            nesterovs_momentum=False, batch_size=work.batch_size, learning_rate_init=RATE,
            tol=0, n_iter_no_change=10**9, max_iter=max(1, round(steps / per_epoch)),
            random_state=0,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(work.X, target)
        return [(W.T, b) for W, b in zip(model.coefs_, model.intercepts_, strict=True)]

    return run


def to_numpy(layers: Any) -> Pairs:
    return [(np.asarray(W), np.asarray(b)) for W, b in layers]


Peer = Callable[[Work], Run]

PEERS: dict[str, Peer] = {
    "fcnet.fit": of_fcnet,
    "NumPy by hand": of_numpy,
    "jitted step + optax": of_optax,
    "Equinox": of_equinox,
    "Flax NNX": of_nnx,
    "torch, 1 thread": partial(of_torch, threads=1),
    "torch, 2 threads": partial(of_torch, threads=2),
    "torch.compile": partial(
        of_torch, threads=2, compile_mode="default"
    ),  # compiles for half a minute
    "scikit-learn": of_sklearn,
}

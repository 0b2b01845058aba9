# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # 8. How fast
#
# The same training, in four forms, from the one that reads best to the one that runs best. What is
# measured is printed, not claimed: run it on your own machine. `python scripts/bench.py train` does it
# with more care, beside other libraries.

# %%
import json
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import fcnet

sizes, B, n = (10, 64, 64, 1), 32, 10_000
key = jax.random.key(0)
X = jax.random.normal(key, (n, sizes[0]))
Y = jnp.sin(X[:, :1])
start = fcnet.init(key, sizes)
rate = 1e-2


def microseconds(train, steps):
    """Of a step: with compilation, and without."""
    times = []
    for _ in range(4):
        began = time.perf_counter()
        jax.block_until_ready(train(steps))
        times.append((time.perf_counter() - began) / steps * 1e6)
    return times[0], min(times[1:])


# %% [markdown]
# **Eager.** Every operation is sent to the device by itself.


# %%
def update(params, X, Y):
    gradient = fcnet.batch_backprop(params, X, Y)
    return jax.tree.map(lambda p, g: p - rate * g, params, gradient)


def loop(step):
    examples, targets = np.asarray(X), np.asarray(Y)  # NumPy takes rows faster than eager JAX

    def train(steps):
        params, draw = start, np.random.default_rng(0)
        for _ in range(steps):
            rows = draw.choice(n, B, replace=False)
            params = step(params, examples[rows], targets[rows])
        return params

    return train


results = {"eager": microseconds(loop(update), 20)}

# %% [markdown]
# **A compiled step.** `jax.jit` makes one program of a step. A Python loop still calls it, and draws
# the batch.

# %%
results["jit, a Python loop"] = microseconds(loop(jax.jit(update)), 500)

# %% [markdown]
# **All steps compiled.** `fcnet.minibatch_sgd` draws the batches of many steps ahead and loops over them
# inside one program. Another number of steps, another learning rate or another key compiles nothing.

# %%
compiled = partial(fcnet.minibatch_sgd, start, X, Y, key=key, learning_rate=rate, batch_size=B)
results["one program"] = microseconds(lambda steps: compiled(steps=steps), 20_000)

# %% [markdown]
# **The trainer** does the same with any optimiser, and stops now and then to evaluate.

# %%
fit = partial(fcnet.fit, start, X, Y, key=key, batch_size=B, evaluate_every=20_000)
fit = partial(fit, optimizer="sgd", hyperparameters={"learning_rate": rate})
results["fcnet.fit"] = microseconds(lambda steps: fit(steps=steps).params, 20_000)

for name, (cold, warm) in results.items():
    print(f"{name:<20} {cold:10.0f} us/step in the first run {warm:10.1f} after that")

# %%
figure, ax = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
names = list(results)
ax.plot([warm for _, warm in results.values()], names, "o", markersize=9, color="#0072B2")
ax.set(xscale="log", xlabel="microseconds a step, without compilation")
ax.invert_yaxis()
ax.spines[["top", "right"]].set_visible(False)
for i, (_, warm) in enumerate(results.values()):
    ax.annotate(f"{warm:,.0f}", (warm, i), (9, 0), textcoords="offset points", va="center")
ax.margins(0.15)
figure.show()

# %% [markdown]
# ## One example at a time, written; a batch, run
#
# `fcnet.backprop` is Algorithm 5 for one example. `jax.vmap` makes a batch of it, and
# `fcnet.batch_backprop` does the same without forming each example's outer product.

# %%
rows = slice(0, 256)
each = jax.jit(jax.vmap(partial(fcnet.backprop, start)))


@jax.jit
def mean_of_each(X, Y):
    return jax.tree.map(lambda leaf: leaf.mean(0), each(X, Y))


whole = jax.jit(partial(fcnet.batch_backprop, start))
for a, b in zip(
    jax.tree.leaves(mean_of_each(X[rows], Y[rows])),
    jax.tree.leaves(whole(X[rows], Y[rows])),
    strict=True,
):
    assert np.linalg.norm(a - b) < 1e-5 * np.linalg.norm(b)


def once(f):
    times = []
    for _ in range(50):
        began = time.perf_counter()
        jax.block_until_ready(f(X[rows], Y[rows]))
        times.append((time.perf_counter() - began) * 1e6)
    return np.median(times)


print(
    f"mean of {rows.stop} backprops: {once(mean_of_each):.0f} us, batch_backprop: {once(whole):.0f} us"
)

# %% [markdown]
# ## Beside other libraries
#
# A checkout keeps the runs whose figures are published. Each point is the time of a step divided by that
# of `fcnet.fit`, which is 1. The larger the products, the less any library can save.

# %%
record = json.loads(Path("../scripts/benchmarks/results/train.json").read_text())
print(f"{record['date']}, {record['machine']['cores']} cores, JAX {record['versions']['jax']}")

figure, ax = plt.subplots(figsize=(7.2, 3.4), layout="constrained")
measured = [row for row in record["suites"]["train"] if row["values"].get("ratio")]
cases = list(dict.fromkeys(row["case"] for row in measured))
programs = list(dict.fromkeys(row["program"] for row in measured))
for i, program in enumerate(programs):
    theirs = [row for row in measured if row["program"] == program]
    ratios = [row["values"]["ratio"] for row in theirs]
    heights = [cases.index(row["case"]) + 0.06 * (i - len(programs) // 2) for row in theirs]
    line = "-" if program == "fcnet.fit" else ""
    ax.plot(ratios, heights, f"o{line}", markersize=5, label=program)
ax.set(xscale="log", xlabel="time of a step / that of fcnet.fit", yticks=range(len(cases)))
ax.set_yticklabels(cases)
ax.invert_yaxis()
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
figure.show()

# %% [markdown]
# ## By hand or by autodiff?
#
# The compiler does not care who wrote the backward pass.

# %%
automatic = jax.jit(partial(jax.grad(fcnet.mean_loss), start))
print(f"Algorithm 5: {once(whole):.0f} us, jax.grad: {once(automatic):.0f} us")

# %% [markdown]
# ## Exercises
#
# 1. Time the four forms for a 4-3-1 network with B = 8, and for 784-256-128-10 with B = 128. For which is
#    the Python loop good enough?
# 2. Write a faster backward pass than this one, and prove that it is still right. Here `jnp.sign` was
#    taken for the mask, since it "saves a comparison":


# %%
def faster(params, X, Y):
    (W1, b1), (W2, b2), (W3, b3) = params
    Z1 = X @ W1.T + b1
    A1 = jnp.maximum(Z1, 0)
    Z2 = A1 @ W2.T + b2
    A2 = jnp.maximum(Z2, 0)
    D3 = (A2 @ W3.T + b3 - Y) / len(X)
    D2 = (D3 @ W3) * jnp.sign(Z2)
    D1 = (D2 @ W2) * jnp.sign(A1)
    return [(D1.T @ X, D1.sum(0)), (D2.T @ A1, D2.sum(0)), (D3.T @ A2, D3.sum(0))]


print(fcnet.check(faster, start, X[:5], Y[:5], batched=True))

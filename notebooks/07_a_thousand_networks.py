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
# # 7. A thousand networks at once
#
# A small network leaves most of a processor idle. `fcnet.sweep` trains many of them, of one
# architecture, in one compiled program: seeds, learning rates and initialisations side by side. Each
# member does what `fcnet.fit` would do with its own key and its own numbers.

# %%
import time

import jax
import jax.numpy as jnp
import numpy as np

import fcnet
from fcnet import plot

key = jax.random.key(0)
data_key, noise_key, start_key, train_key = jax.random.split(key, 4)
X = jnp.sort(jax.random.uniform(data_key, (40, 1), minval=-1.0, maxval=1.0), axis=0)
X = X[abs(X[:, 0] - 0.2) > 0.15]  # a gap, of which the data say nothing
truth = jnp.sin(4 * X)
Y = truth + 0.1 * jax.random.normal(noise_key, truth.shape)
print(len(X), "examples")

# %% [markdown]
# ## 1000 members: 20 learning rates, 50 seeds each
#
# What varies has an axis of members in front: `jax.vmap` of `fcnet.init` makes the networks, and
# `jax.random.split` the keys. Nothing else is said.

# %%
seeds = 50
rates = jnp.repeat(jnp.logspace(-2.5, 1, 20), seeds)
K = len(rates)
starts = jax.vmap(lambda key: fcnet.init(key, (1, 16, 1)))(jax.random.split(start_key, K))
keys = jax.random.split(train_key, K)
task = {"batch_size": 8, "steps": 2000, "optimizer": "sgd", "activation": "tanh"}
task |= {"evaluate_every": 500}
began = time.perf_counter()
result = fcnet.sweep(starts, X, Y, key=keys, hyperparameters={"learning_rate": rates}, **task)
print(
    f"{K} networks, {task['steps']} steps each: {time.perf_counter() - began:.1f} s, with compilation"
)

# %% [markdown]
# A large learning rate diverges, a small one has not arrived yet. A member that diverges stops
# nobody else; `finite` tells.

# %%
loss = np.where(result.finite, result.history.loss[-1], np.inf).reshape(-1, seeds)
print(f"{'learning rate':>13} {'median loss':>12} {'diverged':>9}")
for rate, losses in zip(rates[::seeds][::2], loss[::2], strict=True):
    print(f"{rate:13.4f} {np.median(losses):12.4f} {np.isinf(losses).sum():6d}/{seeds}")
assert np.isinf(loss[-1]).all()
assert np.isfinite(loss[0]).all()

# %%
ax = plot.history(result.history)
ax.set_title(f"{K} members and their median")
ax.figure.show()

# %% [markdown]
# ## A member is what `fit` makes of it
#
# The claim is easy to check: train one member alone, with its own key and rate.

# %%
k = result.best
alone = fcnet.fit(
    jax.tree.map(lambda leaf: leaf[k], starts),
    X,
    Y,
    key=keys[k],
    hyperparameters={"learning_rate": rates[k]},
    **task,
)


def distance(a, b):
    a, b = (jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)]) for tree in (a, b))
    return float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))


print(f"member {k}, alone and in the sweep: {distance(result.member(k), alone.params):.1e} apart")
assert distance(result.member(k), alone.params) < 1e-3

# %% [markdown]
# ## What the members disagree about
#
# 50 networks of one good learning rate, from different starts and with different batches: where there
# are data they agree, in the gap and beyond the ends they do not. `fcnet.ensemble` has the mean of
# their predictions and the spread around it.

# %%
good = int(np.argmin(np.median(loss, axis=1)))
members = jax.tree.map(lambda leaf: leaf[seeds * good : seeds * (good + 1)], result.params)
places = {"at the data": X, "in the gap": jnp.array([[0.2]]), "beyond": jnp.array([[1.5]])}
spread = {
    place: float(fcnet.ensemble(members, where, activation="tanh").spread.mean())
    for place, where in places.items()
}
print(", ".join(f"{place}: {value:.3f}" for place, value in spread.items()))
assert 2 * spread["at the data"] < min(spread["in the gap"], spread["beyond"])

# %%
ax = plot.ensemble_band(members, X, Y, activation="tanh")
ax.figure.show()

# %% [markdown]
# The spread says how far the members differ, not how wrong they all are: what none of them can
# represent, or all got from the same noise, it does not show.
#
# ## Exercises
#
# 1. Sweep `weight_decay` of `optimizer="adamw"` beside the learning rate: ten of each make 100
#    settings. Which of the two matters more here?
# 2. Give all members one key in place of 1000, so that all see the same batches. How much of the
#    spread comes from the batches, how much from the start?
# 3. One gradient for all members at once is `jax.vmap` of a backward pass over parameters. Write yours;
#    `fcnet.check` judges it for one member. This one forgets something:


# %%
def mine(params, x, y):
    (W1, b1), (W2, b2) = params
    a1 = jnp.tanh(W1 @ x + b1)
    delta2 = W2 @ a1 + b2 - y
    delta1 = W2.T @ delta2
    return [(jnp.outer(delta1, x), delta1), (jnp.outer(delta2, a1), delta2)]


print(fcnet.check(mine, result.member(k), X[0], Y[0], activation="tanh"))

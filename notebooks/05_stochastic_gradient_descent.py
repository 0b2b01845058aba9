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
# # 5. Stochastic gradient descent
#
# Algorithm 1 takes one example at a time, with replacement. Algorithm 2 takes B *distinct* examples,
# drawn afresh in each iteration. Both are one compiled program here, and both take any gradient
# function of any model.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import fcnet
from fcnet import plot

key = jax.random.key(0)
X = jax.random.normal(key, (200, 3))
Y = jnp.abs(X[:, :1]) + 0.5 * X[:, 1:2]
start = fcnet.init(key, (3, 16, 1))

# %% [markdown]
# ## The three of them on one problem
#
# $\theta := \theta - \alpha \nabla J(\theta)$, with the gradient of all examples (1.3), of one (1.4),
# or of B (1.5). One iteration of gradient descent looks at 200 examples, one of Algorithm 1 at one: so
# what is compared is how many examples were looked at. With a constant rate the cost of Algorithm 1 jumps
# up and down: its last point may be a lucky one.

# %%
rate, budget, B = 0.05, 40_000, 8
choices = {"learning_rate": rate}


def descend(name, steps):
    if name == "gradient descent":
        return fcnet.gradient_descent(start, X, Y, steps=steps, **choices)
    if name == "Algorithm 1":
        return fcnet.sgd(start, X, Y, key=key, steps=steps, **choices)
    return fcnet.minibatch_sgd(start, X, Y, key=key, batch_size=B, steps=steps, **choices)


looked = np.linspace(0, budget, 11).astype(int)
cost = {"gradient descent": len(X), "Algorithm 1": 1, f"Algorithm 2, B = {B}": B}
curves = {
    name: np.array([float(fcnet.mean_loss(descend(name, n // each), X, Y)) for n in looked])
    for name, each in cost.items()
}
for name, curve in curves.items():
    print(f"{name:<20} cost after {budget:,} examples: {curve[-1]:.5f}")
ax = plot.loss_curve(looked, curves)
ax.set_xlabel("examples looked at")
ax.figure.show()

# %% [markdown]
# The number of steps, the learning rate and the key are arguments of the compiled program: none of
# these calls but the first of its kind compiled anything.
#
# ## What drawing without replacement buys
#
# The gradient of a batch is an estimate of that of all examples. B examples drawn *with* replacement
# have a variance of $\sigma^2 / B$. Drawn without, as line 4 of Algorithm 2 says, it is
# $\frac{\sigma^2}{B} \cdot \frac{n - B}{n - 1}$: less, and none at all for $B = n$.

# %%
each = fcnet.per_example_gradients(start, X, Y)
G = np.concatenate([leaf.reshape(len(X), -1) for leaf in jax.tree.leaves(each)], axis=1)
n, sigma2 = len(G), G.var(axis=0).sum()
draws = 2000
print(f"{'B':>4} {'with':>9} {'formula':>10} {'without':>9} {'formula':>12}")
for B in (1, 8, 64, 150, n):
    keys = jax.random.split(jax.random.key(B), draws)
    without = np.asarray(jax.vmap(lambda key, B=B: fcnet.sample_batch(key, n, B))(keys))
    with_ = np.random.default_rng(B).integers(n, size=(draws, B))
    variances = [((G[rows].mean(1) - G.mean(0)) ** 2).sum(1).mean() for rows in (with_, without)]
    print(
        f"{B:4} {variances[0]:9.5f} {sigma2 / B:10.5f} {variances[1]:9.5f} "
        f"{sigma2 / B * (n - B) / (n - 1):12.5f}"
    )
    assert np.isclose(variances[0], sigma2 / B, rtol=0.1)
    assert np.isclose(variances[1], sigma2 / B * (n - B) / (n - 1), rtol=0.1, atol=1e-9)

# %% [markdown]
# The textbook call `jax.random.choice(key, n, (B,), replace=False)` draws the same batches by sorting
# all n numbers. `fcnet.sample_batch` takes B draws by Floyd's algorithm, so its cost does not grow
# with n.
#
# ## Learning rates
#
# Too small, and 2,000 iterations do not get far; too large, and $\theta$ runs away: the crosses.

# %%
rates, steps = np.logspace(-5, 0.8, 20), 2000
costs = []
for rate in rates:
    trained = fcnet.minibatch_sgd(
        start, X, Y, key=key, learning_rate=rate, batch_size=8, steps=steps
    )
    costs.append(float(fcnet.mean_loss(trained, X, Y)))
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
ax.loglog(rates, costs, "o-", color="#0072B2")
lost = rates[~np.isfinite(costs)]
ax.plot(lost, np.full(len(lost), np.nanmax(costs)), "x", color="#D55E00", label="not finite")
ax.axhline(
    float(fcnet.mean_loss(start, X, Y)), color="#777777", linestyle=":", label="at the start"
)
ax.set(xlabel=r"learning rate $\alpha$", ylabel=rf"cost $J(\theta)$ after {steps:,} iterations")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False)
figure.show()
print("best rate", f"{rates[np.nanargmin(costs)]:.3f};", "not finite from", end=" ")
print(f"{rates[~np.isfinite(costs)].min():.3f}" if not np.isfinite(costs).all() else "nowhere")

# %% [markdown]
# ## Gradients of single examples
#
# The more the examples pull against each other, the shorter is the mean of their gradients beside the
# gradients themselves. These targets have no noise and a network can have them all, so the single
# gradients vanish together, and a constant learning rate does arrive. With noise they would not, and
# it would stop short of the minimum.

# %%
trained = fcnet.minibatch_sgd(start, X, Y, key=key, learning_rate=0.05, batch_size=8, steps=5000)
for name, params in {"at the start": start, "trained": trained}.items():
    each = jax.tree.leaves(fcnet.per_example_gradients(params, X, Y))
    G = np.concatenate([leaf.reshape(len(X), -1) for leaf in each], axis=1)
    shorter = np.linalg.norm(G.mean(0)) / np.linalg.norm(G, axis=1).mean()
    print(f"{name}: the mean of the gradients is {shorter:.2f} times as long as one of them")
ax = plot.gradient_norms({"at the start": start, "trained": trained}, X, Y)
ax.figure.show()

# %% [markdown]
# ## Exercises
#
# 1. `fcnet.minibatch_sgd` takes any gradient function: pass `gradient=jax.grad(fcnet.mean_loss)` and
#    see that the parameters agree with Algorithm 5's to rounding.
# 2. (1.5) has the *mean* over the batch. Write the batch's gradient in rows and let
#    `fcnet.check(..., batched=True)` judge it. This one has the sum:


# %%
def batch_gradient(params, X, Y):
    (W1, b1), (W2, b2) = params
    Z1 = X @ W1.T + b1
    A1 = jnp.maximum(Z1, 0)
    D2 = A1 @ W2.T + b2 - Y
    D1 = (D2 @ W2) * (Z1 > 0)
    return [(D1.T @ X, D1.sum(0)), (D2.T @ A1, D2.sum(0))]


print(fcnet.check(batch_gradient, start, X[:6], Y[:6], batched=True))

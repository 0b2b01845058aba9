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
# # 3. Theorem 3.1, measured
#
# If J is computed by a circuit of N operations, its whole gradient takes O(N) operations, however
# many inputs there are. Here the circuit is counted: it is the jaxpr of a JAX function.

# %%
from itertools import pairwise

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import fcnet
from fcnet import notes

# %% [markdown]
# ## Counting operations
#
# `notes.circuit_size` counts each scalar operation of a function once. The loss (1.1) of a network for
# one example takes, in layer k, $m_k m_{k-1}$ products, as many additions with the bias, and $m_k$
# activations.

# %%
sizes = (4, 3, 1)
params = fcnet.init(jax.random.key(0), sizes)
x, y = jnp.arange(1.0, 5.0), jnp.array([2.0])
N = notes.circuit_size(fcnet.example_loss, params, x, y)
products = sum(d * m for d, m in pairwise(sizes))
hidden, outputs = sizes[1], sizes[-1]
print(f"N = {N} = 2 * {products} + {hidden} activations + {3 * outputs} for the loss")
assert 2 * products + hidden + 3 * outputs == N

# %% [markdown]
# ## An explicit reverse pass
#
# `notes.reverse_gradient` walks the circuit backwards and pulls the adjoint of each operation back to
# its operands, by the rule that the notes give for it. It is itself a function that JAX can trace, so
# it can be counted, too.

# %%
gradient = notes.reverse_gradient(fcnet.example_loss)
by_jax = jax.grad(fcnet.example_loss)(params, x, y)
for mine, theirs in zip(
    jax.tree.leaves(gradient(params, x, y)), jax.tree.leaves(by_jax), strict=True
):
    np.testing.assert_allclose(mine, theirs, rtol=1e-6)
print("operations of the gradient / of the loss:", end=" ")
print(f"{notes.circuit_size(gradient, params, x, y) / N:.2f}")

# %% [markdown]
# ## Random circuits
#
# Nothing here is special to networks. A random circuit of additions, products, sines and ReLUs:


# %%
def random_circuit(seed, inputs=5, gates=60):
    """A scalar function of a vector, of gates drawn at random."""
    draw = np.random.default_rng(seed)
    unary = (jnp.sin, jnp.tanh, fcnet.ACTIVATIONS["relu"].function)
    binary = (jnp.add, jnp.multiply, jnp.subtract)
    plan = [(draw.integers(6), *draw.integers(0, inputs + i, 2)) for i in range(gates)]

    def f(x):
        wires = [x[i] for i in range(inputs)]
        for kind, i, j in plan:
            gate = unary[kind](wires[i]) if kind < 3 else binary[kind - 3](wires[i], wires[j])
            wires.append(gate)
        return sum(jnp.tanh(wire) for wire in wires[-10:])

    return f


ratios = []
for seed in range(30):
    f, at = random_circuit(seed), jnp.linspace(0.1, 1.0, 5)
    np.testing.assert_allclose(notes.reverse_gradient(f)(at), jax.grad(f)(at), rtol=2e-4, atol=1e-5)
    cost = notes.circuit_size(notes.reverse_gradient(f), at)
    ratios.append(cost / notes.circuit_size(f, at))
print(f"gradient / function, on 30 random circuits: {min(ratios):.2f} to {max(ratios):.2f}")
assert max(ratios) <= 5

# %% [markdown]
# ## One partial derivative at a time
#
# Section 3.3 says what sharing saves. With nothing shared, each of the p partials starts from x and
# costs about N, so all take about p N. Algorithm 5 shares the forward pass and the deltas.

# %%
widths = (4, 8, 16, 32, 64, 128)
costs = {r: [notes.gradient_costs((m,) * (r + 1)) for m in widths] for r in (2, 3)}
figure, axes = plt.subplots(1, len(costs), figsize=(9, 4), layout="constrained", sharey=True)
styles = {
    "nothing_shared": ("#D55E00", "x", "one partial at a time"),
    "forward_shared": ("#009E73", "^", "forward pass shared"),
    "deltas_shared": ("#0072B2", "o", "Algorithm 5"),
}
for ax, (r, rows) in zip(axes, costs.items(), strict=True):
    p = np.array([row.params for row in rows])
    for name, (color, marker, label) in styles.items():
        operations = np.array([getattr(row, name) for row in rows], float)
        exponent = np.polyfit(np.log(p[-3:]), np.log(operations[-3:]), 1)[0]
        ax.loglog(
            p, operations, marker=marker, color=color, label=f"{label}: $p^{{{exponent:.2f}}}$"
        )
        print(f"r = {r}, {label:<22} exponent in p {exponent:.2f}")
    ax.set(xlabel="parameters p", title=f"r = {r}")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
axes[0].set_ylabel("operations of the gradient")
figure.show()
last = costs[3][-1]
assert last.deltas_shared < 3 * last.loss
assert last.nothing_shared > 1000 * last.deltas_shared

# %% [markdown]
# ## And in seconds
#
# Operations are not time, but the ratio survives: with all sizes large, the gradient takes two to three
# times as long as the loss.

# %%
import time

big = fcnet.init(jax.random.key(0), (512, 1024, 1024, 1))
X, Y = jnp.ones((256, 512)), jnp.ones((256, 1))


def seconds(f):
    f = jax.jit(f)
    jax.block_until_ready(f(big, X, Y))
    times = []
    for _ in range(15):
        began = time.perf_counter()
        jax.block_until_ready(f(big, X, Y))
        times.append(time.perf_counter() - began)
    return np.median(times)


print(f"gradient / loss in time: {seconds(fcnet.batch_backprop) / seconds(fcnet.mean_loss):.1f}")

# %% [markdown]
# ## Exercises
#
# 1. Footnote 4: an input that is not used costs nothing. Count `notes.reverse_gradient` of
#    `lambda x: x[0] ** 2` for x of 10 and of 10,000 entries.
# 2. Write the reverse pass of two layers with one line for each operation, and let `fcnet.check` judge
#    it. In this one an adjoint is overwritten where two paths meet and must be added:


# %%
def overwritten(params, x, y):
    (W1, b1), (W2, b2) = params
    z1 = W1 @ x + b1
    a1 = jnp.maximum(z1, 0)
    delta2 = W2 @ a1 + b2 - y
    back = W2[-1] * delta2[-1]  # the other outputs' paths are lost
    delta1 = back * (z1 > 0)
    return [(jnp.outer(delta1, x), delta1), (jnp.outer(delta2, a1), delta2)]


two_outputs = fcnet.init(jax.random.key(1), (4, 3, 2))
print(fcnet.check(overwritten, two_outputs, x, jnp.array([2.0, 1.0])))

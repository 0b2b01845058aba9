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
# # 2. Backpropagation by hand
#
# Section 3 of the notes three times: Algorithm 3 number by number, Algorithm 4 with matrices for two
# layers, Algorithm 5 for any number of layers. They give the same numbers, and `jax.grad` is the
# judge.

# %%
import jax
import jax.numpy as jnp
import numpy as np

import fcnet
from fcnet import notes, plot

jax.config.update("jax_enable_x64", True)  # to see agreement down to the last digits
keys = jax.random.split(jax.random.key(0), 3)
params = tuple(fcnet.Layer(W, b + 0.1) for W, b in fcnet.init(keys[0], (4, 3, 1)))
example_x, y = jax.random.normal(keys[1], (4,)), jnp.array([2.0])

# %% [markdown]
# ## Two layers, number by number and with matrices
#
# Algorithm 3 computes $\partial J/\partial z_j = (o - y)\, w^{[2]}_j\, 1\{z_j \ge 0\}$ (3.9) once for each
# hidden unit and shares it. Algorithm 4 writes the same as
#
# $$\delta^{[1]} = (W^{[2]\top} \delta^{[2]}) \odot 1\{z \ge 0\}, \qquad
#   \frac{\partial J}{\partial W^{[1]}} = \delta^{[1]} x^\top.$$

# %%
scalar_by_scalar = notes.backprop_two_layer_scalars(params, example_x, y[0])
vectorised = notes.backprop_two_layer(params, example_x, y[0])
any_depth = fcnet.backprop(params, example_x, y)
autodiff = jax.grad(fcnet.example_loss)(params, example_x, y)


def furthest(one, other):
    """The largest difference, relative to each array's own norm."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max(float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b)) for a, b in pairs)


for name, gradient in (
    ("Algorithm 3", scalar_by_scalar),
    ("Algorithm 4", vectorised),
    ("Algorithm 5", any_depth),
):
    print(f"{name}: {furthest(gradient, autodiff):.1e} from jax.grad")

# %% [markdown]
# ## Algorithm 5, line by line
#
# Line 1 is the forward pass, which keeps every $z^{[k]}$ and $a^{[k]}$; lines 2 to 4 go back through the
# layers; line 5 makes the gradients.

# %%
sizes = (5, 4, 3, 2, 1)
deep = tuple(fcnet.Layer(W, b + 0.5) for W, b in fcnet.init(keys[2], sizes))
x = jnp.array([1.0, 0.5, 0.2, 0.3, 1.2])
trace = fcnet.forward_trace(deep, x)  # line 1
delta = fcnet.deltas(deep, trace, y)  # lines 2 to 4
gradient = fcnet.gradients(delta, trace)  # line 5
for k, (d, layer) in enumerate(zip(delta, gradient, strict=True), start=1):
    print(f"delta[{k}] = {np.round(d, 3)}, dW[{k}] has shape {layer.W.shape}")
print(f"{furthest(gradient, jax.grad(fcnet.example_loss)(deep, x, y)):.1e} from jax.grad")

# %% [markdown]
# ## $\delta^{[k]}$ is a derivative too
#
# (3.16) defines $\delta^{[k]} = \partial J / \partial z^{[k]}$. Add a vector of zeros to $z^{[k]}$ and
# differentiate by it; or look at the bias, since $\partial J/\partial b^{[k]}$ *is* $\delta^{[k]}$. That is
# how `fcnet.check` sees inside a backward pass that it cannot open.

# %%
shown = fcnet.deltas(params, fcnet.forward_trace(params, example_x), y)
for k, layer in enumerate(jax.grad(fcnet.example_loss)(params, example_x, y), start=1):
    print(f"dJ/db[{k}] = {np.round(layer.b, 4)}, delta[{k}] = {np.round(shown[k - 1], 4)}")

# %% [markdown]
# ## The misprints, caught live
#
# Algorithm 5 as printed has $\delta^{[r]} = z^{[r]} - o$ in line 2, and its loop stops at layer 2. But
# $o$ *is* $z^{[r]}$:


# %%
def as_printed(params, x, y):
    (W1, b1), (W2, b2) = params
    z1 = W1 @ x + b1
    a1 = jnp.where(z1 >= 0, z1, 0)
    z2 = W2 @ a1 + b2
    o = z2
    delta2 = z2 - o  # line 2, as printed
    return [(jnp.zeros_like(W1), jnp.zeros_like(b1)), (jnp.outer(delta2, a1), delta2)]


example = (params, example_x, y)
print(fcnet.check(as_printed, *example))

# %% [markdown]
# With line 2 mended, the loop still never reaches layer 1:


# %%
def one_mended(params, x, y):
    (W1, b1), (W2, b2) = params
    a1 = jnp.maximum(W1 @ x + b1, 0)
    delta2 = W2 @ a1 + b2 - y
    return [(jnp.zeros_like(W1), jnp.zeros_like(b1)), (jnp.outer(delta2, a1), delta2)]


print(fcnet.check(one_mended, *example))

# %% [markdown]
# `MISPRINTS` lists them all, with the reading that fcnet takes, and a test shows each printed version to
# be wrong. Those of the algorithms:

# %%
from fcnet.notes.misprints import MISPRINTS

for misprint in MISPRINTS:
    if misprint.where.startswith("Algorithm"):
        print(f"{misprint.where}\n    printed: {misprint.printed}\n    read:    {misprint.reading}")

# %% [markdown]
# ## Where two gradients differ, layer by layer

# %%
from fcnet.demo.agreement import relative_errors

wrong = tuple(
    fcnet.Layer(layer.W * (2.0 if k == 2 else 1.0), layer.b) for k, layer in enumerate(gradient)
)
right = jax.grad(fcnet.example_loss)(deep, x, y)
plot.agreement(
    {
        "Algorithm 5": relative_errors(gradient, right),
        "dW[3] doubled": relative_errors(wrong, right),
    }
)

# %% [markdown]
# ## Exercises
#
# 1. Write Algorithm 5 for three layers with tanh and let `fcnet.check(yours, params, x, y,
#    activation="tanh")` judge it.
# 2. `notes.naive_two_layer_gradient` computes each partial derivative on its own. Compare its cost with
#    Algorithm 3's by `notes.circuit_size`; the next notebook does it for many sizes.

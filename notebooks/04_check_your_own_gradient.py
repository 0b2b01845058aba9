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
# # 4. Check your own gradient
#
# You wrote a backward pass. `fcnet.check` says whether it is right, to how many digits, and if not,
# which line of Algorithm 5 is wrong in which layer, and what was probably written instead. It asks for
# no tolerance: that follows from the rounding of your own arrays.

# %%
import numpy as np

import fcnet
from fcnet.demo.published import MAZUR_EXAMPLE, MAZUR_WEIGHTS

draw = np.random.default_rng(0)
params = [
    (draw.normal(size=(5, 4)), draw.normal(size=5)),
    (draw.normal(size=(5, 5)), draw.normal(size=5)),
    (draw.normal(size=(2, 5)), draw.normal(size=2)),
]
x, y = draw.normal(size=4), draw.normal(size=2)

# %% [markdown]
# ## A student's class
#
# It keeps its parameters in a dict and its weights as (in, out). Nobody has to rewrite their code to be
# checked: the layout is read off names and shapes.


# %%
class Student:
    """Three layers of tanh, examples in rows, mean squared error."""

    def __init__(self, slope=lambda a: 1 - a**2, share=lambda X: len(X), updated=lambda W, dW: W):
        self.slope, self.share, self.updated = slope, share, updated

    def __call__(self, params, X, Y):
        a = [X]
        for k in (1, 2, 3):
            z = a[-1] @ params[f"W{k}"] + params[f"b{k}"]
            a.append(z if k == 3 else np.tanh(z))
        grads, delta = {}, (a[3] - Y) / self.share(X)
        for k in (3, 2, 1):
            grads[f"dW{k}"], grads[f"db{k}"] = a[k - 1].T @ delta, delta.sum(0)
            if k > 1:
                W = self.updated(params[f"W{k}"], grads[f"dW{k}"])
                delta = (delta @ W.T) * self.slope(a[k - 1])
        return grads


named = {}
for k, (W, b) in enumerate(params, start=1):
    named |= {f"W{k}": W.T.copy(), f"b{k}": b}
X, Y = draw.normal(size=(6, 4)), draw.normal(size=(6, 2))
settings = {"activation": "tanh", "batched": True}
print(fcnet.check(Student(), named, X, Y, **settings))

# %% [markdown]
# ## A gallery of mistakes
#
# Each is one that people make; the checker names it.

# %%
gallery = {
    "no sigma'": Student(slope=np.ones_like),
    "sigma' at a, not at z": Student(slope=lambda a: 1 - np.tanh(a) ** 2),
    "sum instead of mean": Student(share=lambda X: 1),
    "n - 1": Student(share=lambda X: len(X) - 1 or 1),
    "updated weights": Student(updated=lambda W, dW: W - 0.1 * dW),
}
for name, student in gallery.items():
    report = fcnet.check(student, named, X, Y, **settings)
    print(f"{name}: {report.verdict}")
    for finding in report.findings[:2]:
        print(f"    line {finding.line}, layer {finding.layer}, {finding.kind}: {finding.message}")

# %% [markdown]
# ## A training step, and a loss with L2
#
# Much code never returns a gradient: it changes its parameters in place. With `learning_rate=` the
# checker judges the gradient that a step used, (before - after) / rate. This step also has a penalty,
# which the description leaves out; the report says what to pass.


# %%
def step(params, X, Y, rate=0.1, lam=0.3):
    """Descend once on the mean squared error plus lam / 2n times the sum of squared weights."""
    n = len(X)
    a1 = np.tanh(X @ params["W1"] + params["b1"])
    delta2 = (a1 @ params["W2"] + params["b2"] - Y) / n
    delta1 = (delta2 @ params["W2"].T) * (1 - a1**2)
    params["W2"] -= rate * (a1.T @ delta2 + lam / n * params["W2"])
    params["b2"] -= rate * delta2.sum(0)
    params["W1"] -= rate * (X.T @ delta1 + lam / n * params["W1"])
    params["b1"] -= rate * delta1.sum(0)


small = {"W1": draw.normal(size=(4, 5)), "b1": np.zeros(5)}
small |= {"W2": draw.normal(size=(5, 2)), "b2": np.zeros(2)}
print(fcnet.check(step, small, X, Y, learning_rate=0.1, **settings))

# %%
print(fcnet.check(step, small, X, Y, learning_rate=0.1, l2=lambda n: 0.3 / n, **settings).verdict)

# %% [markdown]
# ## Right, but described in other words
#
# The loss "logistic" contains the sigmoid, as in most libraries. Someone who also names it as the
# output's activation has described another network. The checker finds the description that fits:


# %%
def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def classify(params, X, Y):
    a1 = np.tanh(X @ params["W1"] + params["b1"])
    delta2 = (sigmoid(a1 @ params["W2"] + params["b2"]) - Y) / len(X)
    delta1 = (delta2 @ params["W2"].T) * (1 - a1**2)
    return {"W1": X.T @ delta1, "b1": delta1.sum(0), "W2": a1.T @ delta2, "b2": delta2.sum(0)}


labels = draw.integers(0, 2, (6, 2))
described = {"output_activation": "sigmoid", "loss": "logistic"}
for finding in fcnet.check(classify, small, X, labels, **settings, **described).findings:
    print(f"{finding.kind}: {finding.message}")

# %% [markdown]
# ## Any network: name the steps
#
# Batch norm is not a layer of these notes. Mark the steps of *any* JAX function with `checkpoint_name`
# and return your gradients of them beside the gradient. Each step is then judged alone, at your own
# gradients of the steps after it, so what inherits an error is not blamed.

# %%
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name


def loss(params, x, y):
    z = checkpoint_name(x @ params["W"], "z")
    mean = checkpoint_name(z.mean(0), "mean")
    centred = checkpoint_name(z - mean, "centred")
    variance = checkpoint_name((centred**2).mean(0), "variance")
    scaled = checkpoint_name(centred / jnp.sqrt(variance + 1e-5), "scaled")
    o = checkpoint_name(params["gamma"] * scaled + params["beta"], "o")
    return ((o - y) ** 2).sum() / 2


def backward(params, x, y):
    n, z = len(x), x @ params["W"]
    centred = z - z.mean(0)
    variance = (centred**2).mean(0)
    scaled = centred / np.sqrt(variance + 1e-5)
    o = params["gamma"] * scaled + params["beta"]
    d = {"o": o - y}
    d["scaled"] = d["o"] * params["gamma"]
    d["variance"] = -(d["scaled"] * centred).sum(0) * (variance + 1e-5) ** -1.5  # lacks 1/2
    d["centred"] = d["scaled"] / np.sqrt(variance + 1e-5) + 2 / n * centred * d["variance"]
    d["mean"] = -d["centred"].sum(0)
    d["z"] = d["centred"] + d["mean"] / n
    gradient = {"W": x.T @ d["z"], "gamma": (d["o"] * scaled).sum(0), "beta": d["o"].sum(0)}
    return gradient, d


normed = {"W": draw.normal(size=(4, 3)), "gamma": np.ones(3), "beta": np.zeros(3)}
print(fcnet.check_gradient(backward, loss, normed, X, draw.normal(size=(6, 3))))

# %% [markdown]
# ## Mazur's famous numbers
#
# His worked example is right. Its well-known table after one step is right too; but a program that
# updates the weights *while* it goes back, as the code beside it did, uses the new $W^{[2]}$ for
# $\delta^{[1]}$. The checker says so:


# %%
def in_place(params, x, y, rate=0.5):
    """The gradients that such a trainer steps by."""
    (W1, b1), (W2, b2) = params
    a1 = sigmoid(W1 @ x + b1)
    o = sigmoid(W2 @ a1 + b2)
    delta2 = (o - y) * o * (1 - o)
    dW2 = np.outer(delta2, a1)
    new_W2 = W2 - rate * dW2
    delta1 = (new_W2.T @ delta2) * a1 * (1 - a1)
    return [(np.outer(delta1, x), delta1), (dW2, delta2)]


report = fcnet.check(
    in_place,
    MAZUR_WEIGHTS,
    *MAZUR_EXAMPLE,
    activation="sigmoid",
    output_activation="sigmoid",
    weight_layout="out_in",  # every layer is 2 x 2, so no shape shows it
)
print(report)

# %% [markdown]
# ## Ties, rounding, and what proves nothing
#
# With ReLU a pre-activation can be exactly 0, and any slope from 0 to 1 is right there: the report says
# which one it saw. In float32 fewer digits are expected. And a gradient that is zero agrees with
# anything, so it counts for nothing.


# %%
def relu_backward(params, x, y):
    (W1, b1), (W2, b2) = params
    z = W1 @ x + b1
    delta2 = W2 @ np.maximum(z, 0) + b2 - y
    delta1 = (W2.T @ delta2) * (z > 0)
    return [(np.outer(delta1, x), delta1), (np.outer(delta2, np.maximum(z, 0)), delta2)]


narrow = [(W.astype(np.float32), 0 * b.astype(np.float32)) for W, b in (params[0], params[2])]
print(fcnet.check(relu_backward, narrow, 0 * x.astype(np.float32), y.astype(np.float32)))

# %% [markdown]
# ## In a notebook, the report is a page

# %%
fcnet.check(gallery["updated weights"], named, X, Y, **settings)

# %% [markdown]
# ## Exercises
#
# 1. Plant two mistakes in different layers at once. Are both found?
# 2. Break only the bias gradient of layer 2 for the *last* example of a batch.
# 3. Write a `jax.custom_vjp` for softplus and check it with `fcnet.check_vjp`.
#
# Notebook 9 goes on with batch norm, attention, and slips in each of their steps.

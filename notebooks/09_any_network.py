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
# # 9. Any network: the wrong line of any backward pass
#
# Algorithm 5 is for fully-connected networks. What it does at each layer can be done for any function:
# give every intermediate value a name, and go back from name to name. `fcnet.check_gradient` judges such
# a backward pass step by step. Here it judges batch norm and attention, written by hand in NumPy.

# %%
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax.ad_checkpoint import checkpoint_name

import fcnet

draw = np.random.default_rng(0)

# %% [markdown]
# ## Batch norm
#
# Each unit is centred and scaled over the batch, then stretched and shifted:
#
# $$\mu = \frac1n \sum_i z^{(i)}, \quad c = z - \mu, \quad v = \frac1n \sum_i \big(c^{(i)}\big)^2, \quad
# s = \frac{c}{\sqrt{v + \epsilon}}, \quad o = \gamma s + \beta$$
#
# `checkpoint_name(value, "name")` gives a value its name. It computes nothing.


# %%
def norm_loss(params, x, y):
    z = checkpoint_name(x @ params["W"], "z")
    mean = checkpoint_name(z.mean(0), "mean")
    centred = checkpoint_name(z - mean, "centred")
    variance = checkpoint_name((centred**2).mean(0), "variance")
    scaled = checkpoint_name(centred / jnp.sqrt(variance + 1e-5), "scaled")
    o = checkpoint_name(params["gamma"] * scaled + params["beta"], "o")
    return ((o - y) ** 2).sum() / 2


# %% [markdown]
# The backward pass returns the gradient and, beside it, its gradients of the named values. One line of
# this one is wrong.


# %%
def norm_backward(params, x, y):
    n, z = len(x), x @ params["W"]
    centred = z - z.mean(0)
    variance = (centred**2).mean(0)
    scaled = centred / np.sqrt(variance + 1e-5)
    d = {"o": params["gamma"] * scaled + params["beta"] - y}
    d["scaled"] = d["o"] * params["gamma"]
    d["variance"] = -(d["scaled"] * centred).sum(0) * (variance + 1e-5) ** -1.5
    d["centred"] = d["scaled"] / np.sqrt(variance + 1e-5) + 2 / n * centred * d["variance"]
    d["mean"] = -d["centred"].sum(0)
    d["z"] = d["centred"] + d["mean"] / n
    gradient = {"W": x.T @ d["z"], "gamma": (d["o"] * scaled).sum(0), "beta": d["o"].sum(0)}
    return gradient, d


params = {"W": draw.normal(size=(4, 3)), "gamma": draw.normal(size=3), "beta": np.zeros(3)}
x, y = draw.normal(size=(6, 4)), draw.normal(size=(6, 3))
print(fcnet.check_gradient(norm_backward, norm_loss, params, x, y))

# %% [markdown]
# $d v^{-1/2} / dv = -\tfrac12 v^{-3/2}$: the half is missing. The numbers of `centred`, `mean`, `z` and `W`
# are wrong too, since they are made of that of `variance`. None of them is blamed: each step is compared
# with the vector-Jacobian product from the named values that follow it in the forward pass, at the
# candidate's own gradients of these. For the gradient of `variance` that it was given, `centred` is right.
#
# ## Attention
#
# One head, causal: a token looks at itself and at those before it. The parts of the softmax have names.

# %%
n_tokens, width = 6, 4
future = np.triu(np.ones((n_tokens, n_tokens), bool), 1)
root = np.sqrt(width)


def attention_loss(params, X, Y):
    Q = checkpoint_name(X @ params["Q"], "Q")
    K = checkpoint_name(X @ params["K"], "K")
    V = checkpoint_name(X @ params["V"], "V")
    S = checkpoint_name(jnp.where(future, -jnp.inf, Q @ K.T / root), "S")
    e = checkpoint_name(jnp.exp(S), "e")
    total = checkpoint_name(e.sum(1, keepdims=True), "total")
    A = checkpoint_name(e / total, "A")
    mixed = checkpoint_name(A @ V, "O")
    R = checkpoint_name(X + mixed @ params["P"], "R")
    return ((R - Y) ** 2).sum() / 2


# %% [markdown]
# The backward pass collects its gradients in `d`. So that we can plant mistakes, a step may have a slip: a
# function of the forward values `f`, of `d` so far, and of the right value.


# %%
def attention_backward(params, X, Y, **slips):
    f = {name: X @ params[name] for name in "QKV"}
    f["e"] = np.exp(np.where(future, -np.inf, f["Q"] @ f["K"].T / root))
    f["total"] = f["e"].sum(1, keepdims=True)
    f["A"] = f["e"] / f["total"]
    f["O"] = f["A"] @ f["V"]
    d = {}

    def step(name, value):
        d[name] = slips[name](f, d, value) if name in slips else value

    step("R", X + f["O"] @ params["P"] - Y)
    step("O", d["R"] @ params["P"].T)
    step("V", f["A"].T @ d["O"])
    step("A", d["O"] @ f["V"].T)
    step("total", -(d["A"] * f["e"]).sum(1, keepdims=True) / f["total"] ** 2)
    step("e", d["A"] / f["total"] + d["total"])
    step("S", d["e"] * f["e"])
    step("K", d["S"].T @ f["Q"] / root)
    step("Q", d["S"] @ f["K"] / root)
    gradient = {name: X.T @ d[name] for name in "QKV"} | {"P": f["O"].T @ d["R"]}
    return gradient, d


params = {name: draw.normal(size=(width, width)) for name in "QKVP"}
X, Y = draw.normal(size=(2, n_tokens, width))
print(fcnet.check_gradient(attention_backward, attention_loss, params, X, Y))

# %% [markdown]
# It is right. Now a slip in each step in turn: twice too much.

# %%
names = ["R", "O", "V", "A", "total", "e", "S", "K", "Q"]


def planted(**slips):
    return lambda params, X, Y: attention_backward(params, X, Y, **slips)


def twice(name):
    return planted(**{name: lambda f, d, value: 2 * value})


blamed = {}
for wrong in names:
    report = fcnet.check_gradient(twice(wrong), attention_loss, params, X, Y)
    blamed[wrong] = [finding.quantity for finding in report.findings]
    print(f"{wrong}: {report.findings[0].message}")

# %% [markdown]
# A comparison with `jax.grad` shows less. The error of one step is handed on to all that follow, and the
# gradient of the parameters, which is all that most checkers see, says only that something is wrong.

# %%
right = attention_backward(params, X, Y)[1]
differs = np.zeros((len(names), len(names)))
for i, wrong in enumerate(names):
    theirs = twice(wrong)(params, X, Y)[1]
    differs[i] = [not np.allclose(theirs[name], right[name]) for name in names]
judged = np.array([[name in blamed[wrong] for name in names] for wrong in names], float)

figure, axes = plt.subplots(1, 2, figsize=(8, 4), sharey=True)
titles = "differs from the right gradient", "blamed by fcnet"
for ax, matrix, title in zip(axes, (differs, judged), titles, strict=True):
    ax.imshow(matrix, cmap="Blues", vmin=0, vmax=1.4)
    ax.set(title=title, xlabel="step of the backward pass")
    ax.set(xticks=range(len(names)), xticklabels=names, yticks=range(len(names)), yticklabels=names)
axes[0].set_ylabel("step with the slip")
figure.tight_layout()
figure.show()
assert (judged == np.eye(len(names))).all()

# %% [markdown]
# ## Slips that people make
#
# Where a known mistake fits the step on every input, the message says what it is. Otherwise it shows the
# two numbers.

# %%
gallery = {
    "the softmax's sum is forgotten": planted(e=lambda f, d, value: d["A"] / f["total"]),
    "one power of the sum too few": planted(total=lambda f, d, value: value * f["total"]),
    "no 1 / sqrt(width)": planted(Q=lambda f, d, value: d["S"] @ f["K"]),
    "summed over the wrong axis": planted(
        total=lambda f, d, value: -(d["A"] * f["e"]).sum(0)[:, None] / f["total"] ** 2
    ),
    "S not transposed": planted(K=lambda f, d, value: d["S"] @ f["Q"] / root),
}
for title, backward in gallery.items():
    report = fcnet.check_gradient(backward, attention_loss, params, X, Y)
    for finding in report.findings:
        print(f"{title}\n    {finding.quantity}, {finding.kind}: {finding.message}")

# %% [markdown]
# ## Exercises
#
# 1. Name only `A` of the softmax's parts, in both functions. What is said of the first slip then?
# 2. Name `z` of batch norm only. What does the report say of the missing half?
# 3. Write the backward pass of a recurrent cell over three steps, with names `h1`, `h2`, `h3`.

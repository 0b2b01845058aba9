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
# # 1. One neuron, the kink, and the house network
#
# Section 2 of the notes starts with the smallest model that is not linear: a line that is cut off at
# zero, because no house costs less than nothing. This notebook draws it, fits it, and then wires a
# few of them together.

# %%
import jax
import jax.numpy as jnp
import numpy as np

import fcnet
from fcnet import data, notes, plot

# %% [markdown]
# ## The kink
#
# One neuron with one input is $h_\theta(x) = \max(wx + b, 0)$ (2.1). It is zero up to $x = -b/w$ and
# rises with slope $w$ from there. The houses are synthetic: real prices show no such kink.

# %%
houses = data.kinked_prices(jax.random.key(0))
size, price = houses.X[:, 0], houses.Y[:, 0]
w, b = 150.0, -135_000.0
plot.kink(size, price, w, b)
print(f"kink at {-b / w:.0f} square feet")

# %% [markdown]
# ## Its gradient, by the chain rule
#
# For one example $J = \frac12 (y - o)^2$ with $o = \mathrm{ReLU}(z)$, $z = w^T x + b$ (3.4-3.6), and
#
# $$\frac{\partial J}{\partial w} = (o - y)\,1\{z \ge 0\}\,x, \qquad
#   \frac{\partial J}{\partial b} = (o - y)\,1\{z \ge 0\} \qquad (3.7)$$
#
# By hand and by `jax.grad`, for an active neuron, for a dead one, and exactly at the kink, where the
# notes take ReLU'(0) = 1 and so does fcnet:

# %%
weights, y = jnp.array([1.0, -2.0]), 3.0
for name, bias in (("active", 4.0), ("dead", -4.0), ("at the kink", -1.0)):
    x = jnp.array([3.0, 1.0])
    by_hand = notes.one_neuron_gradients(weights, bias, x, y)
    autodiff = jax.grad(notes.one_neuron_loss, argnums=(0, 1))(weights, bias, x, y)
    print(
        f"{name:12} by hand {by_hand[0]}, {by_hand[1]:5.1f}   jax.grad {autodiff[0]}, {autodiff[1]:5.1f}"
    )

# %% [markdown]
# Not every library agrees at 0. `jnp.maximum` splits the difference, `jax.nn.relu` takes 0:

# %%
conventions = {
    "fcnet": fcnet.ACTIVATIONS["relu"].function,
    "jax.nn.relu": jax.nn.relu,
    "jnp.maximum": lambda z: jnp.maximum(z, 0.0),
}
for name, function in conventions.items():
    print(f"{name:12} ReLU'(0) = {jax.grad(function)(0.0):.1f}")

# %% [markdown]
# ## Fitting it
#
# Gradient descent (1.3) on the mean cost (1.2). The optimisers of `fcnet` take the gradient as an
# argument, so the neuron trains with the same code as a network. Sizes and prices are scaled first.

# %%
X, Y = jnp.asarray(houses.X) / 1000, jnp.asarray(price) / 1e5


def neuron_gradient(theta, X, Y):
    w, b = theta
    grads = jax.vmap(notes.one_neuron_gradients, in_axes=(None, None, 0, 0))(w, b, X, Y)
    return jax.tree.map(lambda g: g.mean(0), grads)


start = (jnp.array([1.0]), jnp.array(0.0))
w_fit, b_fit = fcnet.gradient_descent(
    start, X, Y, learning_rate=0.1, steps=2000, gradient=neuron_gradient
)
print(
    f"slope {100 * w_fit[0]:.0f} dollars a square foot, kink at {-1000 * b_fit / w_fit[0]:.0f} square feet"
)

# %% [markdown]
# ## The house network
#
# Figure 2 wires three neurons by hand, each with the inputs that somebody thought it needs: family
# size from size and bedrooms, walkability from the zip code, school quality from zip code and wealth.

# %%
plot.house_network()
# %% [markdown]
# It has 12 parameters. The fully-connected network of Figure 3 has 19, and the hand-wired one is that
# with seven of its weights held at zero:

# %%
theta = jnp.array([1.0, 1.0, 0.0, 2.0, -1.0, 1.0, -1.0, 0.0, 3.0, 4.0, 5.0, -6.0])
x = jnp.array([1.0, 2.0, 3.0, 4.0])
dense = notes.house_to_dense(theta)
print("wired by hand ", notes.house_network(theta, x))
print("fully connected", fcnet.forward(dense, x)[0])
print(dense[0].W)

# %%
ax = plot.network(dense, [notes.INPUTS, list(notes.EDGES), ["price"]])
ax.set_title("Fully connected, with the seven weights at 0 not drawn")
ax.figure.show()
# %% [markdown]
# Its gradient is the dense network's, on the edges that are there:

# %%
by_mask = notes.house_gradient(theta, x[None], jnp.array([22.0]))
autodiff = jax.grad(lambda theta: (notes.house_network(theta, x) - 22.0) ** 2 / 2)(theta)
print(np.abs(by_mask - autodiff).max())

# %% [markdown]
# ## Exercises
#
# 1. Write the gradient of the *squared* hinge, $\max(\theta^T x, 0)^2 / 2$, and let
#    `fcnet.check_gradient` judge it. A wrong first try:


# %%
def squared_hinge(theta, x):
    return jnp.maximum(theta @ x, 0.0) ** 2 / 2


def my_gradient(theta, x):
    return 2 * np.maximum(theta @ x, 0) * x


print(fcnet.check_gradient(my_gradient, squared_hinge, np.array([1.0, 2.0]), np.array([0.5, -0.1])))

# %% [markdown]
# 2. Start the fit above from $w = -1$. What happens, and why does no learning rate help?
# 3. In which places of $W^{[1]}$ does the gradient of the dense network differ from zero although the
#    house network has no edge there?

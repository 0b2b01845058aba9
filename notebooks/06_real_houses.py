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
# # 6. Real houses
#
# 932 sales in Sacramento and 2,930 in Ames, with what the notes' example has: size, bedrooms, and where
# the house is. A network beats the line that has the same inputs, and its last layer can be had by least
# squares.

# %%
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import fcnet
from fcnet import data, notes, plot
from fcnet.demo.houses import fit_linear, fit_network, predict_prices, score

sacramento, ames = data.sacramento(), data.ames()
for name, houses in (("Sacramento", sacramento), ("Ames", ames)):
    print(f"{name}: {len(houses.X)} sales, {houses.X.shape[1]} inputs")

# %% [markdown]
# ## Five folds
#
# Each house is held out once. The network of 64 hidden units is trained by Algorithm 2 with Algorithm 5's
# gradient; linear regression gets the same columns.

# %%
print(f"{'R^2 on houses held out':<24}{'network':>10}{'line':>10}")
for name, houses in (("Sacramento", sacramento), ("Ames", ames)):
    folds = data.folds(houses, jax.random.key(0))
    network, line = (
        np.mean([score(fit(part), test).r2 for part, test in folds])
        for fit in (fit_network, fit_linear)
    )
    print(f"{name:<24}{network:10.3f}{line:10.3f}")
    assert network > line

# %% [markdown]
# ## What is gained, house by house

# %%
training, held_out = data.random_split(ames, jax.random.key(0))
models = {"network": fit_network(training), "linear regression": fit_linear(training)}
predictions = {name: predict_prices(model, held_out.X)[:, 0] for name, model in models.items()}
ax = plot.prediction(held_out.Y[:, 0], predictions)
ax.figure.show()

# %% [markdown]
# ## The last layer is linear regression on learned features
#
# (2.21): with the layers below held, $h_\theta(x) = W^{[r]} \phi_\beta(x) + b^{[r]}$ is a linear model over
# $\phi_\beta(x) = a^{[r-1]}$. So its best $W^{[r]}$ and $b^{[r]}$ are those of least squares. On the
# training houses that can only lower the cost.

# %%
network = models["network"]
X, Y = (
    np.asarray(data.standardize(scale, part), np.float32)
    for scale, part in ((network.inputs, training.X), (network.targets, training.Y))
)
best_head = notes.fit_head_least_squares(network.params, X, Y)
before, after = (float(fcnet.mean_loss(params, X, Y)) for params in (network.params, best_head))
print(f"cost on the training houses: {before:.5f} as trained, {after:.5f} with the best last layer")
assert after <= before
for name, params in (("as trained", network.params), ("best last layer", best_head)):
    scores = score(network._replace(params=params), held_out)
    print(f"{name:<16} R^2 {scores.r2:.3f} on houses held out")

# %% [markdown]
# ## What the hidden units do
#
# A line for each unit, from its least pre-activation to its greatest: a unit that is below 0 for every
# house is dead.

# %%
ax = plot.pre_activations(network.params, X)
ax.figure.show()

# %% [markdown]
# ## Transfer
#
# Features learned on many houses serve where there are few. Both towns have size and bedrooms. The hidden
# layer is learned in Ames; for Sacramento only the last layer is fitted, by least squares, to ever fewer
# sales. The alternative is a line on the inputs themselves.

# %%
small = {
    "Ames": data.ames(("Gr_Liv_Area", "Bedroom_AbvGr", "Latitude", "Longitude")),
    "Sacramento": data.sacramento(("sqft", "beds", "latitude", "longitude")),
}
scaled = {}
for name, houses in small.items():
    scales = data.fit_standardizer(houses.X), data.fit_standardizer(houses.Y)
    scaled[name] = [
        np.asarray(data.standardize(scale, part), np.float32)
        for scale, part in zip(scales, (houses.X, houses.Y), strict=True)
    ]
learned = fcnet.fit(
    fcnet.init(jax.random.key(2), (4, 32, 1)),
    *scaled["Ames"],
    key=jax.random.key(3),
    batch_size=32,
    steps=5000,
    hyperparameters={"learning_rate": 1e-3},
).params
untrained = fcnet.init(jax.random.key(2), (4, 32, 1))
X, Y = scaled["Sacramento"]
test = np.arange(len(X)) % 3 == 0
print(f"{'R^2 in Sacramento':<20}{'Ames features':>15}{'random features':>17}{'line':>8}")
for n in (40, 80, 160, 600):
    scores = []
    for seed in range(20):
        rows = np.random.default_rng(seed).choice(np.flatnonzero(~test), n, replace=False)
        for params in (learned, untrained, untrained[-1:]):
            # for r = 1 the features are x itself: linear regression
            layers = params if len(params) > 1 else (fcnet.Layer(jnp.zeros((1, 4)), jnp.zeros(1)),)
            head = notes.fit_head_least_squares(layers, X[rows], Y[rows])
            o = jax.vmap(partial(fcnet.forward, head))(X[test])
            scores.append(1 - float(((o - Y[test]) ** 2).mean() / Y[test].var()))
    medians = np.median(np.reshape(scores, (-1, 3)), axis=0)
    print(
        f"{n:4} sales"
        + " " * 10
        + "".join(f"{m:{w}.3f}" for m, w in zip(medians, (15, 17, 8), strict=True))
    )

# %% [markdown]
# Read it soberly: with up to 160 sales the line is better here, for a last layer over 32 features has 33
# numbers to find; with 600 the features of Ames win. Transfer pays where the new town has enough houses
# to fit the last layer, and the features have learned something that a line cannot.
#
# ## Exercises
#
# 1. Make the last layer's least squares a ridge regression, with the penalty chosen by folds. Does it
#    help with 40 sales?
# 2. Train with `fcnet.fit(..., validation=0.2, patience=10)` on Ames. Which step was best?
# 3. The gradient of the last layer alone is that of linear regression on the features. Here is one that
#    takes what the hidden units get, $z^{[1]}$, in the place of the features $a^{[1]}$:


# %%
def head_gradient(params, x, y):
    (W1, b1), (W2, b2) = params
    z1 = W1 @ x + b1
    a1 = jnp.maximum(z1, 0)
    o = W2 @ a1 + b2
    delta1 = (W2.T @ (o - y)) * (z1 > 0)
    return [(jnp.outer(delta1, x), delta1), (jnp.outer(o - y, z1), o - y)]


print(fcnet.check(head_gradient, learned, X[0], Y[0]))

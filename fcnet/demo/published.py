"""Worked examples that others published, recomputed and compared with the printed numbers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fcnet.backpropagation import backprop
from fcnet.losses import mean_loss
from fcnet.network import forward


class PublishedExample(NamedTuple):
    """Published numbers, as they were printed, beside those computed here in float64."""

    source: str
    quantity: str
    published: tuple[str, ...]
    computed: tuple[float, ...]

    @property
    def agrees(self) -> bool:
        """Whether every number, rounded to the printed digits, equals the printed one.

        >>> PublishedExample("", "", ("0.12", "1.5"), (0.1249, 1.46)).agrees
        True
        """
        return all(
            f"{ours:.{len(theirs.partition('.')[2])}f}" == theirs
            for theirs, ours in zip(self.published, self.computed, strict=True)
        )


MAZUR_WEIGHTS = (
    (np.array([[0.15, 0.20], [0.25, 0.30]]), np.array([0.35, 0.35])),
    (np.array([[0.40, 0.45], [0.50, 0.55]]), np.array([0.60, 0.60])),
)
"""The pairs (W, b) that Mazur starts from: w1, ..., w4 and b1, then w5, ..., w8 and b2."""

MAZUR_EXAMPLE = (np.array([0.05, 0.10]), np.array([0.01, 0.99]))
"""Mazur's one example x with its target y."""


def mazur() -> PublishedExample:
    """A step of gradient descent on a 2-2-2 sigmoid network, by Matt Mazur (2015).

    "A Step by Step Backpropagation Example": one example, the squared error summed over two
    outputs, learning rate 1/2, and biases that stay as they are.
    """
    with jax.enable_x64(True):
        gradient = backprop(
            MAZUR_WEIGHTS, *MAZUR_EXAMPLE, activation="sigmoid", output_activation="sigmoid"
        )
        pairs = zip(MAZUR_WEIGHTS, gradient, strict=True)
        stepped = jnp.array([W - 0.5 * step for (W, _), (step, _) in pairs])
    computed = tuple(stepped.ravel().tolist())
    published = (
        *("0.149780716", "0.19956143", "0.24975114", "0.29950229"),
        *("0.35891648", "0.408666186", "0.511301270", "0.561370121"),
    )
    return PublishedExample(
        "Mazur's 2-2-2 network", "weights w1 to w8 after one step", published, computed
    )


def cs231n() -> PublishedExample:
    """The toy network of Stanford's CS231n, assignment 1: sizes 4-10-3, ReLU, softmax.

    Its scores for the first of five examples, and its loss: the mean cross-entropy plus 0.05 times
    the sum of squared weights. Weights are drawn there in row convention, (d, m), so transposed.
    """
    weights, inputs = np.random.RandomState(0), np.random.RandomState(1)
    W1, W2 = 0.1 * weights.randn(4, 10), 0.1 * weights.randn(10, 3)
    params = ((W1.T, np.zeros(10)), (W2.T, np.zeros(3)))
    X, Y = 10 * inputs.randn(5, 4), np.eye(3)[[0, 1, 2, 2, 1]]
    with jax.enable_x64(True):
        scores = forward(params, X[0]).tolist()
        loss = mean_loss(params, X, Y, loss="softmax_cross_entropy").item()
    loss += 0.05 * (np.sum(W1**2) + np.sum(W2**2))
    published = ("-0.81233741", "-1.27654624", "-0.70335995", "1.30378789133")
    return PublishedExample(
        "CS231n's 4-10-3 network", "scores and loss", published, (*scores, loss)
    )

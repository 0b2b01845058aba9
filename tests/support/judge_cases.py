"""Cases for the tests of tolerances, and the answers of correct programs on them."""

from itertools import pairwise
from typing import Any

import numpy as np

from fcnet import Layer
from fcnet.losses import as_objective
from fcnet.verify.compare import Comparison, compare
from fcnet.verify.truth.reference import reference
from fcnet.verify.types import FORMATS, Answer, Case, Cost, Format, Reference
from support.rounded_backprop import DTYPES, Variant


def cost(
    activation: str = "tanh",
    loss: str = "squared_error",
    output_activation: str = "identity",
    reduction: str = "mean",
) -> Cost:
    return Cost(as_objective(activation, output_activation, loss), reduction)


def targets(loss: str, generator: np.random.Generator, n: int, m_r: int) -> np.ndarray:
    if loss == "softmax_cross_entropy":
        return np.eye(m_r)[generator.integers(m_r, size=n)]
    if loss == "logistic":
        return generator.integers(2, size=(n, m_r)).astype(float)
    return generator.normal(size=(n, m_r))


def case(
    sizes: tuple[int, ...] = (4, 3, 2),
    n: int = 5,
    seed: int = 0,
    dtype: str = "float64",
    loss: str = "squared_error",
) -> Case:
    """A random network and examples, every number exact in the dtype."""
    g = np.random.default_rng(seed)

    def exact(x: np.ndarray) -> np.ndarray:
        return x.astype(DTYPES[dtype]).astype(float)

    params = tuple(
        Layer(exact(g.normal(size=(m, below)) * np.sqrt(1.5 / below)), exact(g.normal(size=m) / 5))
        for below, m in pairwise(sizes)
    )
    X = exact(g.normal(size=(n, sizes[0])))
    return Case(f"input {seed}", params, X, exact(targets(loss, g, n, sizes[-1])))


def answer(variant: Variant, p: Cost, c: Case, dtype: str) -> Answer:
    """What a correct program that computes in the dtype returns."""
    kind = DTYPES[dtype]
    params = [(W.astype(kind), b.astype(kind)) for W, b in c.params]
    with np.errstate(all="ignore"):
        gradient = variant.gradient(
            params,
            c.X.astype(kind),
            c.Y.astype(kind),
            p.objective.activation.name,
            p.objective.loss.name,
        )
    layers = tuple(Layer(W.astype(float), b.astype(float)) for W, b in gradient)
    return Answer(layers, None, np.dtype(kind))


def format_in(variant: Variant, dtype: str) -> Format:
    return FORMATS["tfloat32" if variant.product == "tensor core" else dtype]


def right(p: Cost, c: Case, at: Format) -> Reference:
    return reference(p, c, at, rows=8)


def judge(variant: Variant, p: Cost, c: Case, dtype: str) -> Comparison:
    return compare(answer(variant, p, c, dtype), right(p, c, format_in(variant, dtype)), c.name)


def planted(a: Answer, error: float, at: Any = None, k: int = 0) -> Answer:
    """The answer with a relative error in one entry of dW, the one of median size."""
    layers = [Layer(W.copy(), b.copy()) for W, b in a.gradient]
    W = layers[k].W
    if at is None:
        order = np.argsort(abs(W), axis=None)
        order = order[abs(W).ravel()[order] > 0]
        at = np.unravel_index(order[len(order) // 2], W.shape)
    W[at] *= 1 + error
    return a._replace(gradient=tuple(layers))

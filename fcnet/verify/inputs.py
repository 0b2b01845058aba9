"""Inputs of the same sizes as the user's, on which mistakes show that hide at special points.

Each is a random network and random examples with something special done to them, scaled so that a
correct candidate overflows in no floating dtype, and exact in the user's own. The network is drawn
once: its parameters are many, and the examples make the difference.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from fcnet.checks import check_key
from fcnet.losses import draw_classes
from fcnet.types import Layer, Params
from fcnet.verify.candidate import Candidate
from fcnet.verify.types import Case, Problem

Input: TypeAlias = tuple[Params, Float[np.ndarray, "n d"]]

USUAL_N, WIDEST_N = 7, 64
"""Examples in most batches: a multiple of nothing, so that no axis fits by chance. And the largest
layer that a batch is made to match."""

LARGEST_Z, LARGEST_O = 8.0, 4.0
"""Bounds on the pre-activations and the outputs; exp(4) is harmless in float16 too."""


class Special(NamedTuple):
    """What is special about an input, in words that fit "on ...", and how it is made so."""

    name: str
    change: Callable[[Params, Float[np.ndarray, "n d"]], Input]


def _as_it_is(params: Params, X: np.ndarray) -> Input:
    return params, X


def _saturated(params: Params, X: np.ndarray) -> Input:
    return _pushed(params, shrink=4, z=5.0, signs=(1, -1)), X


def _dead(params: Params, X: np.ndarray) -> Input:
    return _pushed(params, shrink=8, z=6.0, signs=(-1, -1)), X


def _pushed(params: Params, shrink: int, z: float, signs: tuple[int, int]) -> Params:
    """The first half of each hidden layer's units held near +z or -z by their biases."""
    pushed: Any = jax.tree.map(np.copy, params)
    for W, b in pushed[:-1]:
        half = len(b) // 2
        W[:half] /= shrink
        b[:half] = z * np.resize(signs, half)
    return pushed


def _tied(params: Params, X: np.ndarray) -> Input:
    """z = 0 exactly: for the first unit of each hidden layer, and all units on the last example."""
    tied: Any = jax.tree.map(np.copy, params)
    for _, b in tied:
        b[:] = 0
    for W, _ in tied[:-1]:
        W[0] *= len(W) == 1
    last = np.arange(len(X)) == max(1, len(X) - 1)
    return tied, np.where(last[:, None], 0, X)


def _scaled(factor: float) -> Callable[[Params, np.ndarray], Input]:
    return lambda params, X: (params, X * factor)


def _repeated(params: Params, X: np.ndarray) -> Input:
    return params, X[np.arange(len(X)) // 2]


def _uneven(params: Params, X: np.ndarray) -> Input:
    return params, X * 2.0 ** np.linspace(-6, 6, len(X))[:, None]


ANY = (
    Special("a random input", _as_it_is),
    Special("an input with saturated units", _saturated),
    Special("an input with dead units", _dead),
    Special("an input with exact ties", _tied),
    Special("a large input", _scaled(2.0**6)),
    Special("a tiny input", _scaled(2.0**-10)),
)
SINGLE = (Special("an input of zeros", _scaled(0.0)), Special("another random input", _as_it_is))
BATCH = (
    Special("a batch of one example", _as_it_is),
    Special("a batch as large as a layer is wide", _as_it_is),
    Special("a batch with repeated examples", _repeated),
    Special("a batch with examples of very different size", _uneven),
)
"""The inputs tried: of either kind of candidate, of one for single examples, of one for batches."""


def varied_inputs(candidate: Candidate, problem: Problem, key: Array) -> list[Case]:
    """Inputs beside the user's own: eight for a candidate of single examples, ten for a batch.

    The first, a random one, has as many examples as the user's own; the others have 1, 7, or up to
    64 if that makes as many as a layer has units.

    Args:
        candidate: gives the sizes, and what its arrays can hold.
        problem: its activations decide how far a network must be scaled down.
        key: a random key; the same key gives the same inputs.
    """
    check_key(key)
    rng = np.random.default_rng(np.ravel(jax.random.key_data(key)))
    sizes, own_n = candidate.layout.sizes, len(candidate.own.X)
    widths = [m for m in sizes[1:] if 1 < m <= WIDEST_N]
    numbers = {
        "a random input": own_n,
        "a batch of one example": 1,
        "a batch as large as a layer is wide": widths[0] if widths else 0,
    }
    network: list[Any] = [
        (rng.normal(size=(m, below)) * np.sqrt(2 / below), (rng.normal(size=m) + 1) / 2)
        for below, m in pairwise(sizes)
    ]
    params = tuple(Layer(W, b) for W, b in network)
    cases = []
    for special in (*ANY, *(BATCH if candidate.batched else SINGLE)):
        n = numbers.get(special.name, USUAL_N) if candidate.batched else 1
        if n:
            changed, X = special.change(params, rng.normal(size=(n, sizes[0])))
            Y = _random_targets(rng, candidate, problem, n)
            case = Case(special.name, _tamed(changed, X, problem), X, Y)
            cases.append(candidate.representable(case))
    return cases


def _random_targets(
    rng: np.random.Generator, candidate: Candidate, problem: Problem, n: int
) -> Float[np.ndarray, "n m_r"]:
    own = candidate.own.Y
    draw = draw_classes if candidate.targets.classes else problem.loss.draw
    if draw is None:
        return own[rng.integers(len(own), size=n)]
    return np.asarray(draw(rng, n, own.shape[1]), float)


def _tamed(params: Params, X: np.ndarray, problem: Problem) -> Params:
    """The network with layers halved as often as it takes to bound every z on these examples."""
    a, layers = X, []
    for k, (W, b) in enumerate(params, start=1):
        z = a @ W.T + b
        excess = np.max(abs(z)) / (LARGEST_Z if k < len(params) else LARGEST_O)
        if excess > 1:
            factor = 2.0 ** -np.ceil(np.log2(excess))
            W, b, z = W * factor, b * factor, z * factor
        layers.append(Layer(W, b))
        a = np.asarray(problem.activation.function(jnp.asarray(z, jnp.float32)))
    return tuple(layers)

"""Inputs of the same sizes as the user's, special ones too: some mistakes show only there.

Each is a random network with random examples, changed in one special way. Values are exact in the
user's own dtype, and scaled so that a correct candidate overflows in no floating dtype. One network
is drawn for all inputs: it has many parameters, and the examples make the difference.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jax import Array
from jaxtyping import Float

from fcnet.keys import generator_of
from fcnet.types import Layer, Params
from fcnet.verify.candidate import Candidate
from fcnet.verify.targets import random_targets
from fcnet.verify.truth.functions import activated
from fcnet.verify.types import Case, Cost

Input: TypeAlias = tuple[Params, Float[np.ndarray, "n d"]]

USUAL_N, WIDEST_N = 7, 64
"""The number of examples in most batches, a prime, so that no axis fits by chance; and the widest
layer that gets a batch of as many examples as it has units."""

LARGEST_Z, LARGEST_O = 8.0, 4.0
"""Bounds on the pre-activations and the outputs; exp(4) is small in float16 too."""


class Special(NamedTuple):
    """A special kind of input.

    Attributes:
        name: fits "on ...".
        change: makes an input so.
        number: of the examples of a batch, from the user's own n and the sizes; 0 leaves it out.
    """

    name: str
    change: Callable[[Params, Float[np.ndarray, "n d"]], Input]
    number: Callable[[int, Sequence[int]], int] = lambda own_n, sizes: USUAL_N


def _unchanged(params: Params, X: np.ndarray) -> Input:
    return params, X


def _saturated(params: Params, X: np.ndarray) -> Input:
    return _pushed(params, shrink=4, z=5.0, signs=(1, -1)), X


def _dead(params: Params, X: np.ndarray) -> Input:
    return _pushed(params, shrink=8, z=6.0, signs=(-1, -1)), X


def _pushed(params: Params, shrink: int, z: float, signs: tuple[int, int]) -> Params:
    """Biases hold the first half of each hidden layer's units near +z or -z."""
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


def _tiny(params: Params, X: np.ndarray) -> Input:
    """Pre-activations are tiny too, and those of the first layer on either side of a kink at 0."""
    tiny: Any = jax.tree.map(np.copy, params)
    for W, b in tiny[:-1]:
        b[:] = 0
        if W is tiny[0].W:
            z = W @ X[0]
            W *= np.copysign(1, z * np.resize([1, -1], len(z)))[:, None]
    return tiny, X * 2.0**-10


def _scaled(factor: float) -> Callable[[Params, np.ndarray], Input]:
    return lambda params, X: (params, X * factor)


def _repeated(params: Params, X: np.ndarray) -> Input:
    return params, X[np.arange(len(X)) // 2]


def _uneven(params: Params, X: np.ndarray) -> Input:
    return params, X * 2.0 ** np.linspace(-6, 6, len(X))[:, None]


COMMON = (
    Special("a random input", _unchanged, lambda own_n, sizes: own_n),
    Special("an input with saturated units", _saturated),
    Special("an input with dead units", _dead),
    Special("an input with exact ties", _tied),
    Special("a large input", _scaled(2.0**6)),
    Special("a tiny input", _tiny),
)
FOR_SINGLES = (
    Special("an input of zeros", _scaled(0.0)),
    Special("another random input", _unchanged),
)
FOR_BATCHES = (
    Special("a batch of one example", _unchanged, lambda own_n, sizes: 1),
    Special(
        "a batch as large as a layer is wide",
        _unchanged,
        lambda own_n, sizes: next((m for m in sizes[1:] if 1 < m <= WIDEST_N), 0),
    ),
    Special("a batch with repeated examples", _repeated),
    Special("a batch with examples of very different size", _uneven),
)
"""The inputs tried: for all candidates, for those of single examples, for those of batches."""


def varied_inputs(
    candidate: Candidate, cost: Cost, key: Array | None, own_number: bool = False
) -> list[Case]:
    """Inputs beside the user's own: eight for a candidate of single examples, ten for a batch.

    The first, a random one, has as many examples as the user's own. The others have 1 or 7; one has
    as many as the first layer of 2 to 64 units is wide. Targets are like the user's own; those of
    an autoencoder are the examples.

    Args:
        candidate: gives the sizes, and what its arrays can hold.
        cost: its activations decide how far a network must be scaled down.
        key: a random key; the same key, or none, gives the same inputs.
        own_number: whether all have as many examples as the user's own; those that are there for
            their number are then left out.
    """
    rng = generator_of(key)
    sizes, own_n = candidate.layout.sizes, candidate.own.n
    network: list[Any] = [
        (rng.normal(size=(m, below)) * np.sqrt(2 / below), (rng.normal(size=m) + 1) / 2)
        for below, m in pairwise(sizes)
    ]
    params = tuple(Layer(W, b) for W, b in network)
    cases = []
    for special in (*COMMON, *(FOR_BATCHES if candidate.batched else FOR_SINGLES)):
        n = special.number(own_n, sizes) if candidate.batched else 1
        if own_number:
            n = own_n if n in (own_n, USUAL_N) else 0
        if n:
            X = rng.normal(size=(n, sizes[0]))
            changed, X = special.change(params, abs(X) if candidate.is_unsigned else X)
            Y = random_targets(rng, n, candidate.own.Y, cost.objective.loss, candidate.batched)
            if candidate.own.reproduces:
                X, Y = (X, X) if np.all(cost.objective.loss.labels.accepts(X)) else (Y, Y)
            case = Case(special.name, _scaled_down(changed, X, cost), X, Y)
            cases.append(candidate.representable(case))
    return cases


def _scaled_down(params: Params, X: np.ndarray, cost: Cost) -> Params:
    """The network with layers halved until every z on these examples is within its bound."""
    a, layers = X, []
    for k, (W, b) in enumerate(params, start=1):
        z = a @ W.T + b
        excess = np.max(abs(z)) / (LARGEST_Z if k < len(params) else LARGEST_O)
        if excess > 1:
            factor = 2.0 ** -np.ceil(np.log2(excess))
            W, b, z = W * factor, b * factor, z * factor
        layers.append(Layer(W, b))
        a = activated(cost.objective.activation, z)
    return tuple(layers)

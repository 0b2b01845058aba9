"""The gradients of a batch's examples in one layer, each alone: as returned, or as delta a^T."""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from fcnet.verify.line import Values

Weights: TypeAlias = Float[np.ndarray, " n"]


class Given(NamedTuple):
    """Any gradients dJ/dW and dJ/db of n examples."""

    W: Float[np.ndarray, "n m m_below"]
    b: Float[np.ndarray, "n m"]

    def total(self, place: str, weights: Weights) -> Values:
        """The weighted sum over the examples, of dW ("W") or db ("b")."""
        return np.tensordot(weights, self.W if place == "W" else self.b, 1)

    def terms(self, place: str, weights: Weights) -> Values:
        """What `total` adds up, without cancellation."""
        return np.tensordot(abs(weights), abs(self.W if place == "W" else self.b), 1)


class Product(NamedTuple):
    """Gradients that follow from line 5 of Algorithm 5, without forming each one's dW."""

    b: Float[np.ndarray, "n m"]
    a: Float[np.ndarray, "n m_below"]

    def total(self, place: str, weights: Weights) -> Values:
        """As `Given.total`."""
        return (self.b.T * weights) @ self.a if place == "W" else weights @ self.b

    def terms(self, place: str, weights: Weights) -> Values:
        """As `Given.terms`."""
        return Product(abs(self.b), abs(self.a)).total(place, abs(weights))


LayerRows: TypeAlias = Given | Product

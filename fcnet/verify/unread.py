"""Arrays whose shape hides their numbers: they are left out, and the others are judged.

Without a db, dW shows delta. Without a dW, delta a^T stands in its place, so that it is right if
its db is.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from fcnet.types import Params
from fcnet.verify.types import Answer, ArrayKey, Reference

Unread: TypeAlias = frozenset[ArrayKey]
"""The arrays that cannot be read."""


def unread_of(partial: Answer) -> Unread:
    """The arrays that an answer lacks.

    >>> from fcnet import Layer
    >>> sorted(unread_of(Answer((Layer(np.ones((1, 2)), None),), None, np.dtype(float))))
    [('b', 1)]
    """
    return frozenset(
        (role, k)
        for k, layer in enumerate(partial.gradient, start=1)
        for role, array in zip("Wb", layer, strict=True)
        if array is None
    )


def without_biases(layers: Params, unread: Unread) -> Params:
    """The layers without the biases that cannot be read."""
    absent: Any = None
    return tuple(
        layer._replace(b=absent) if ("b", k) in unread else layer
        for k, layer in enumerate(layers, start=1)
    )


def completed(partial: Answer, right: Reference, share: float, rows: Sequence[Answer]) -> Answer:
    """An answer with a matrix for each one that cannot be read.

    Args:
        partial: with None for what cannot be read.
        right: the reference of its case.
        share: of each row in the gradient of a batch.
        rows: the completed answers for the rows of a batch alone; none for a single example.
    """
    layers = []
    for k, (layer, true) in enumerate(zip(partial.gradient, right.gradient, strict=True)):
        W: Any = layer.W
        if W is None and rows:
            W = share * sum(np.asarray(row.gradient[k].W) for row in rows)
        elif W is None and layer.b is not None and len(right.trace.a[k]) == 1:
            W = np.outer(layer.b, right.trace.a[k][0])
        layers.append(layer._replace(W=true.W if W is None else W))
    return partial._replace(gradient=tuple(layers))

"""First parameters that make a nearly constant prediction."""

import numpy as np
from jax import Array
from jax.typing import DTypeLike

from fcnet.checks import as_jax, on_host
from fcnet.network import init
from fcnet.train.defaults import START_SCALE
from fcnet.types import Params


def init_small(key: Array, sizes: tuple[int, ...], dtype: DTypeLike | None = None) -> Params:
    """`fcnet.init`, with the weights of the first and the last layer multiplied by `START_SCALE`.

    Training then begins near a constant prediction, and an input that is mostly 0, such as a rare
    category, adds little noise before it is learned.

    >>> import jax
    >>> (W, b), _, _ = init_small(jax.random.key(0), (300, 2, 2, 1), "float32")
    >>> round(float(W.std()), 2), round(START_SCALE * (2 / 300) ** 0.5, 2)
    (0.03, 0.03)
    """
    layers = init(key, sizes, dtype=dtype)
    scale = np.asarray(START_SCALE, layers[0].W.dtype)  # in NumPy, where nothing is compiled for it
    return tuple(
        layer._replace(W=as_jax(on_host(layer.W) * scale)) if k in (0, len(layers) - 1) else layer
        for k, layer in enumerate(layers)
    )

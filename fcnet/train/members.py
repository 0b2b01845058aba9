"""The members of a sweep: what each starts from, in arrays with an axis of members in front."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from fcnet.checks import as_array, as_params, check_shape
from fcnet.keys import as_keys
from fcnet.train.data import as_start
from fcnet.train.optimizer import as_numbers, named
from fcnet.types import Layer, Pairs, Params


class Members(NamedTuple):
    """K networks, their hyper-parameters, and their keys, or one key for all."""

    params: Params
    keys: Array
    hyperparameters: dict[str, Array]

    @property
    def own_keys(self) -> bool:
        """Whether each member has its own key, and so its own batches."""
        return self.keys.ndim == 1

    def first(self) -> "Members":
        """Member 0, without the axis."""
        key = self.keys[0] if self.own_keys else self.keys
        params, numbers = jax.tree.map(lambda leaf: leaf[0], (self.params, self.hyperparameters))
        return Members(params, key, numbers)


def as_members(
    params: Pairs, key: Array, hyperparameters: Mapping[str, ArrayLike] | None, dtype: str | None
) -> Members:
    """The members of a sweep, of which all arguments give the same number K.

    An argument without an axis of members is the same for all.

    Raises:
        ValueError, TypeError: for networks, keys or numbers that `fit` refuses, for different K,
            or where no argument has an axis of members.

    >>> start = (Layer(jnp.zeros((1, 1)), jnp.zeros(1)),)
    >>> rates = {"learning_rate": jnp.array([0.1, 0.2, 0.3])}
    >>> as_members(start, jax.random.key(0), rates, None).params[0].W.shape
    (3, 1, 1)
    """
    layers, stacked = as_layers(params)
    layers = as_start(layers, dtype)
    keys = as_keys(key)
    kind = jnp.promote_types(layers[0].W.dtype, jnp.float32)  # 0.999 is 1 in bfloat16
    numbers = {
        name: _as_numbers(name, value).astype(kind)
        for name, value in named(hyperparameters).items()
    }
    counts = {"params": len(layers[0].b)} if stacked else {}
    counts |= {"key": len(keys)} if keys.ndim else {}
    counts |= {f"hyperparameters[{name!r}]": len(n) for name, n in numbers.items() if n.ndim}
    if len(set(counts.values())) != 1:
        got = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise ValueError(
            "params, key and hyperparameters must agree on the number K of members in front, and "
            f"at least one of them must have such an axis; got {got or 'no axis of members'}"
        )
    (K,) = set(counts.values())
    if not K:
        raise ValueError("there are no members, expected K >= 1")
    if not stacked:
        layers = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (K, *leaf.shape)), layers)
    return Members(layers, keys, {name: jnp.broadcast_to(n, K) for name, n in numbers.items()})


def as_layers(params: Pairs) -> tuple[Params, bool]:
    """The layers, and whether they have an axis of K members in front.

    Raises:
        ValueError, TypeError: for layers that do not form a network, or with different K.

    >>> as_layers((Layer(jnp.zeros((5, 2, 3)), jnp.zeros((5, 2))),))[1]
    True
    """
    try:
        ranks = [(np.ndim(W), np.ndim(b)) for W, b in params]
    except (TypeError, ValueError):
        ranks = []
    if set(ranks) != {(3, 2)}:
        return _one_network(params), False
    layers = tuple(
        Layer(as_array(f"params[{k}].W", W), as_array(f"params[{k}].b", b))
        for k, (W, b) in enumerate(params)
    )
    K = layers[0].b.shape[0]
    for k, (W, b) in enumerate(layers):
        check_shape(f"params[{k}].W", W, (K, *W.shape[1:]), "K members in front, as in params[0].b")
        check_shape(f"params[{k}].b", b, (K, W.shape[1]), "one bias for each row of W")
    if not K:
        raise ValueError("params have no members: expected K >= 1 of them in front")
    as_params(jax.tree.map(lambda leaf: leaf[0], layers))
    return layers, True


def _one_network(params: Pairs) -> Params:
    """The layers of a network; a list of networks is refused in words of its own."""
    try:
        return as_params(params)
    except (TypeError, ValueError):
        try:
            as_params(params[0])
        except (TypeError, ValueError, LookupError):
            pass
        else:
            raise TypeError(
                "params is a list of networks: stack those of equal sizes, jax.tree.map(lambda "
                "*arrays: jnp.stack(arrays), *networks); others need a call of their own"
            ) from None
        raise


def _as_numbers(name: str, value: ArrayLike) -> Array:
    """One number or K numbers, finite."""
    array = as_numbers(name, value)
    if array.ndim > 1:
        raise ValueError(
            f"hyperparameters[{name!r}] has shape {array.shape}, expected (), or (K,) for K members"
        )
    return array

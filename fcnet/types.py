"""The nouns of the package, each defined once.

Letters follow the notes: d inputs, r layers, m_k units in layer k (m_0 = d), n examples, B examples
in a batch. In code `W[k - 1]` is the notes' W^[k], since Python counts from 0.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from fcnet.metrics import r_squared


class Layer(NamedTuple):
    """One layer of (2.12): z = W a + b, with W of shape (m_k, m_{k-1}) and b of shape (m_k,).

    >>> import jax.numpy as jnp
    >>> W, b = Layer(W=jnp.ones((3, 4)), b=jnp.zeros(3))
    >>> W.shape, b.shape
    ((3, 4), (3,))
    """

    W: Float[Array, "m_k m_below"]
    b: Float[Array, " m_k"]


Params: TypeAlias = tuple[Layer, ...]
"""The layers 1..r of a network. A gradient has the same type and the same shapes."""

Pairs: TypeAlias = Sequence[tuple[ArrayLike, ArrayLike]]
"""What the public functions accept as parameters: `Params`, or any sequence of pairs (W, b)."""


class Trace(NamedTuple):
    """What Algorithm 5 stores on its way forward, line 1, for one example.

    `a` holds a^[0] = x, a^[1], ..., a^[r] = o, and `z` holds z^[1], ..., z^[r]: so `a[k]` is the
    notes' a^[k], and `z[k - 1]` is z^[k].

    >>> import jax.numpy as jnp
    >>> x, z = jnp.array([1.0, 2.0]), jnp.array([5.0])
    >>> Trace(a=(x, z), z=(z,)).a[-1].tolist()
    [5.0]
    """

    a: tuple[Float[Array, " m_k"], ...]
    z: tuple[Float[Array, " m_k"], ...]


class Activation(NamedTuple):
    """An entrywise non-linearity sigma: R -> R beside its derivative sigma'(z), a function of z.

    One of the caller's own is accepted wherever a name is. `fit` and `sweep` warn of a derivative
    that is not that of the function, at a few numbers; `fcnet.check_gradient` checks it:

    >>> import fcnet
    >>> import jax.numpy as jnp
    >>> square = Activation("square", jnp.square, lambda z: 2 * z)
    >>> square.derivative(jnp.array(3.0)).item()
    6.0
    >>> fcnet.check_gradient(square.derivative, square.function, 3.0).verdict
    'right'
    """

    name: str
    function: Callable[[Array], Array]
    derivative: Callable[[Array], Array]

    def __deepcopy__(self, memo: object) -> "Activation":
        """The row itself: JAX would compile anew for a copy of its functions."""
        return self


class Labels(NamedTuple):
    """The targets y for which a loss makes sense.

    Attributes:
        description: them in words.
        accepts: whether the entries of an array of JAX or NumPy, or its rows, are such targets.
        one_hot: whether a target is a distribution over classes, such as a one-hot row.
    """

    description: str
    accepts: Callable[[Any], Any]
    one_hot: bool = False


def is_number(y: Any) -> Any:
    """Whether the entries are numbers, for the labels `REAL`."""
    return y == y


REAL = Labels("any real numbers", is_number)


def itself(o: Array) -> Array:
    """The mean of y where the output o is that mean already."""
    return o


class Loss(NamedTuple):
    """A loss J(o, y) of one example beside its derivative dJ/do, with o and y of shape (m_r,).

    One of the caller's own is accepted wherever a name is. Its first three fields are enough; the
    others say what the loss means. Nothing in the package depends on its name. `fit` and `sweep`
    warn of a derivative that is not that of the value, and `fcnet.check_gradient` checks it.

    Attributes:
        name: what messages call it.
        value: J(o, y), a scalar.
        derivative: dJ/do, of shape (m_r,).
        labels: the targets for which it makes sense.
        mean: the mean of y that an output o stands for, of the same shape; what `predict` returns.
            Leaving out both labels and mean says that y is any number in the units of o. The
            estimators and `fcnet train` then standardise the targets.
        metric: one of `fcnet.metrics`, or a function like them, of the means and the targets of n
            examples in rows and their weights.
        draw: n random targets of m_r entries, `draw(rng, n, m_r)`, with a NumPy generator; None
            where the caller's own targets are to be drawn from.
        formula: dJ/do in words.
        mean_name: what messages call the function `mean`, such as "sigmoid"; "" if it has no name.

    >>> import fcnet
    >>> import jax.numpy as jnp
    >>> absolute = Loss("absolute", lambda o, y: abs(o - y).sum(), lambda o, y: jnp.sign(o - y))
    >>> o, y = jnp.array([3.0]), jnp.array([5.0])
    >>> absolute.value(o, y).item()
    2.0
    >>> fcnet.check_gradient(absolute.derivative, absolute.value, o, y).verdict
    'right'
    """

    name: str
    value: Callable[[Array, Array], Array]
    derivative: Callable[[Array, Array], Array]
    labels: Labels = REAL
    mean: Callable[[Array], Array] = itself
    metric: Callable[[Array, Array, Array], Array] = r_squared
    draw: Callable[[np.random.Generator, int, int], np.ndarray] | None = None
    formula: str = "dJ/do"
    mean_name: str = ""

    def __deepcopy__(self, memo: object) -> "Loss":
        """The row itself: JAX would compile anew for a copy of its functions."""
        return self

    @property
    def is_scalable(self) -> bool:
        """Whether targets may be standardised: any are accepted, and outputs have their units."""
        return self.labels == REAL and self.mean is itself


class Objective(NamedTuple):
    """What is minimised, but for the data: the activations of the network, and the loss.

    Hashable, so that it is a static argument of `jax.jit`; `fcnet.losses.as_objective` makes one.
    """

    activation: Activation
    output_activation: Activation
    loss: Loss

    @property
    def sigmas(self) -> dict[str, Any]:
        """The keyword arguments of `forward`."""
        return {"activation": self.activation, "output_activation": self.output_activation}

    @property
    def keywords(self) -> dict[str, Any]:
        """The keyword arguments of `mean_loss` and its gradients."""
        return self._asdict()

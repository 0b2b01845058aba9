"""Losses: each J(o, y) beside its derivative dJ/do, and the cost they make of a network.

In every row dJ/do is "prediction minus target": o - y for the squared error, and the mean that the
logit o stands for, minus y, for the others. That is line 2 of Algorithm 5.
"""

from functools import lru_cache
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float, Num

from fcnet.activations import ACTIVATIONS, get_activation
from fcnet.callers import warn
from fcnet.checks import (
    as_array,
    as_example,
    as_examples,
    as_jax,
    as_params,
    check_finite,
    check_same_length,
    check_shape,
    fails,
    on_host,
)
from fcnet.metrics import class_accuracy, label_accuracy
from fcnet.network import forward
from fcnet.rows import check_result, look_up, pickle_by_name
from fcnet.types import Activation, Labels, Loss, Objective, Pairs, itself


def _is_distribution(y: Any) -> Any:
    return (y >= 0) & (abs(y.sum(-1, keepdims=True) - 1) < 1e-2)


DISTRIBUTION = Labels(
    "a distribution over the m_r classes, as jax.nn.one_hot makes of class numbers",
    _is_distribution,
    one_hot=True,
)


def draw_classes(rng: np.random.Generator, n: int, m_r: int) -> Float[np.ndarray, "n m_r"]:
    """One-hot targets of n examples, each of a random class.

    >>> draw_classes(np.random.default_rng(0), 2, 3).tolist()
    [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    return np.eye(m_r)[rng.integers(m_r, size=n)]


# The functions of the rows have names, so that pickle stores rows made from those of the table.
# They take NumPy's arrays as well as JAX's.
def _half_squares(o: Any, y: Any) -> Any:
    off = jnp.asarray(o - y)
    wide = off.astype(sum_dtype(off.dtype))  # the square of 300 is infinite in float16
    return (jnp.sum(wide**2) / 2).astype(off.dtype)


def _difference(o: Any, y: Any) -> Any:
    return o - y


def _draw_numbers(rng: np.random.Generator, n: int, m_r: int) -> np.ndarray:
    return rng.normal(size=(n, m_r))


def _logistic(o: Any, y: Any) -> Any:
    return jnp.sum(jax.nn.softplus(o) - y * o)


def _logistic_derivative(o: Any, y: Any) -> Any:
    return jax.nn.sigmoid(o) - y


def _is_probability(y: Any) -> Any:
    return (y >= 0) & (y <= 1)


def _sigmoid(o: Any) -> Any:
    return jax.nn.sigmoid(o)


def _draw_labels(rng: np.random.Generator, n: int, m_r: int) -> np.ndarray:
    return rng.integers(2, size=(n, m_r))


def _softmax_cross_entropy(o: Any, y: Any) -> Any:
    return logsumexp(o) - jnp.dot(y, o)


def _softmax_cross_entropy_derivative(o: Any, y: Any) -> Any:
    return jax.nn.softmax(o) - y


def _poisson(o: Any, y: Any) -> Any:
    return jnp.sum(jnp.exp(o) - y * o)


def _poisson_derivative(o: Any, y: Any) -> Any:
    return jnp.exp(o) - y


def _is_not_negative(y: Any) -> Any:
    return y >= 0


def _exp(o: Any) -> Any:
    return jnp.exp(o)


def _draw_counts(rng: np.random.Generator, n: int, m_r: int) -> np.ndarray:
    return rng.poisson(2, size=(n, m_r))


LOSSES = MappingProxyType(
    {
        row.name: row
        for row in (
            Loss(
                "squared_error", _half_squares, _difference, draw=_draw_numbers, formula="(o - y)"
            ),
            Loss(
                "logistic",
                _logistic,
                _logistic_derivative,
                labels=Labels("probabilities, between 0 and 1", _is_probability),
                mean=_sigmoid,
                metric=label_accuracy,
                draw=_draw_labels,
                formula="(sigmoid(o) - y)",
                mean_name="sigmoid",
            ),
            Loss(
                "softmax_cross_entropy",
                _softmax_cross_entropy,
                _softmax_cross_entropy_derivative,
                labels=DISTRIBUTION,
                mean=jax.nn.softmax,
                metric=class_accuracy,
                draw=draw_classes,
                formula="(softmax(o) - y)",
                mean_name="softmax",
            ),
            Loss(
                "poisson",
                _poisson,
                _poisson_derivative,
                labels=Labels("counts, 0 or more", _is_not_negative),
                mean=_exp,
                draw=_draw_counts,
                formula="(exp(o) - y)",
                mean_name="exp",
            ),
        )
    }
)
"""The losses by name. The squared error (1.1) is 1/2 the sum of squares for m_r > 1. The others are
the negative log-likelihoods of a Bernoulli, a categorical and a Poisson variable: o is the logit,
for Poisson the log of the mean. Constants in y alone are left out. For m_r > 1 independent outputs
add up."""


def get_loss(choice: str | Loss) -> Loss:
    """The loss called `choice`, or `choice` itself.

    Raises ValueError for an unknown name, TypeError for anything that is no loss.

    >>> get_loss("squared_error").value(jnp.array([3.0]), jnp.array([1.0])).item()
    2.0
    """
    return look_up("loss", LOSSES, choice)


pickle_by_name(LOSSES, get_loss)


def as_objective(
    activation: str | Activation, output_activation: str | Activation, loss: str | Loss
) -> Objective:
    """The objective of names or rows of the tables, each checked.

    >>> as_objective("relu", "identity", "logistic").loss.formula
    '(sigmoid(o) - y)'
    """
    return Objective(
        get_activation(activation),
        get_activation(output_activation, "output_activation"),
        get_loss(loss),
    )


def link_notes(output_activation: Activation, loss: Loss) -> list[str]:
    """What to say where a loss applies a function to outputs that an activation has made.

    >>> for note in link_notes(get_activation("sigmoid"), get_loss("logistic")):
    ...     print(note)
    the loss 'logistic' applies sigmoid to the outputs: after output_activation='sigmoid' the \
prediction is sigmoid(sigmoid(z)); leave output_activation out, unless you mean that
    """
    if loss.mean is itself or output_activation is ACTIVATIONS["identity"]:
        return []
    mean, sigma = loss.mean_name or "mean", output_activation.name
    return [
        f"the loss {loss.name!r} applies {mean} to the outputs: after output_activation={sigma!r} "
        f"the prediction is {mean}({sigma}(z)); leave output_activation out, unless you mean that"
    ]


def warn_of_link(output_activation: Activation, loss: Loss) -> None:
    """Warn of what `link_notes` says."""
    for note in link_notes(output_activation, loss):
        warn(note)


@lru_cache(maxsize=256)
def check_loss(loss: Loss, m_r: int, dtype: np.dtype) -> None:
    """Raise unless J(o, y) is a scalar, and dJ/do and the mean have the shape (m_r,) of o.

    >>> check_loss(Loss("squares", lambda o, y: (o - y) ** 2, jnp.subtract), 2, np.dtype("f4"))
    Traceback (most recent call last):
    ValueError: loss.value of 'squares', for vectors of shape (2,), must return an array of \
shape (), got shape (2,)
    """
    o = y = jax.ShapeDtypeStruct((m_r,), dtype)  # type: ignore[no-untyped-call]
    check_result("loss", loss, "value", (), o, y)
    check_result("loss", loss, "derivative", (m_r,), o, y)
    check_result("loss", loss, "mean", (m_r,), o)


SIGNS = "; for labels -1 and 1, pass a fcnet.Loss of your own"
"""What is added to the error where every target is -1 or 1."""


def check_labels(name: str, y: Array | np.ndarray, loss: Loss) -> None:
    """Raise unless the loss is one of m_r outputs, and the known targets are such as it takes."""
    check_loss(loss, y.shape[-1], y.dtype)
    if fails(y, loss.labels.accepts):
        accepted = np.broadcast_to(loss.labels.accepts(y), y.shape)
        row = tuple(int(i) for i in np.argwhere(~accepted)[0][:-1])
        raise ValueError(
            f"{name}{list(row) or ''} must be {loss.labels.description}, for {loss.name}, "
            f"got {np.asarray(y)[row]}{SIGNS if np.all(abs(np.asarray(y)) == 1) else ''}"
        )


def example_loss(
    params: Pairs,
    x: Num[ArrayLike, " d"],
    y: Num[ArrayLike, " m_r"],
    *,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
    loss: str | Loss = "squared_error",
) -> Float[Array, ""]:
    """The loss J^(i)(theta) of one example, (1.1) for the squared error.

    Args:
        params: r layers.
        x: one example, shape (d,).
        y: its target, shape (m_r,).
        activation, output_activation: as in `forward`.
        loss: a name or a `Loss`.

    Returns:
        A scalar, in the dtype of the parameters; in nats for the likelihoods.

    Raises:
        ValueError, TypeError: as `forward`, and for a target that has another shape, is not finite
            or is outside the range of the loss; for a loss of the caller's own whose functions do
            not return arrays of the shapes that `Loss` names.

    >>> from fcnet.types import Layer
    >>> example_loss((Layer(jnp.array([[2.0]]), jnp.array([1.0])),), jnp.array([3.0]),
    ...              jnp.array([4.0])).item()
    4.5
    """
    objective = as_objective(activation, output_activation, loss)
    last = as_params(params)[-1]
    target = as_example("y", y, last.W.shape[0], last.W.dtype)
    check_labels("y", target, objective.loss)
    return objective.loss.value(forward(params, x, **objective.sigmas), target)


def mean_loss(
    params: Pairs,
    X: Num[ArrayLike, "n d"],
    Y: Num[ArrayLike, "n m_r"],
    *,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
    loss: str | Loss = "squared_error",
    weights: Num[ArrayLike, " n"] | None = None,
) -> Float[Array, ""]:
    """The cost J(theta) (1.2): the mean of `example_loss` over n examples in rows.

    Args:
        params: r layers.
        X: examples, shape (n, d), n >= 1.
        Y: targets, shape (n, m_r).
        activation, output_activation, loss: as in `example_loss`.
        weights: one for each example, 0 or more, for the weighted mean sum(w_i J_i) / sum(w_i),
            which is 0 where all are 0; None weighs all the same.

    Returns:
        A scalar. Half of what libraries call the mean squared error, for m_r = 1.

    Raises:
        ValueError, TypeError: as `example_loss`, and where X and Y differ in n.

    >>> from fcnet.types import Layer
    >>> params = (Layer(jnp.array([[2.0]]), jnp.array([1.0])),)
    >>> mean_loss(params, jnp.array([[3.0], [0.0]]), jnp.array([[4.0], [1.0]])).item()
    2.25
    """
    objective = as_objective(activation, output_activation, loss)
    X, Y = as_batch(params, X, Y, objective.loss)
    losses = jax.vmap(lambda x, y: example_loss(params, x, y, **objective.keywords))(X, Y)
    if weights is None:
        return jnp.mean(losses)
    return (as_shares(weights, len(X), X.dtype) @ losses).astype(X.dtype)


def as_batch(params: Pairs, X: ArrayLike, Y: ArrayLike, loss: Loss) -> tuple[Array, Array]:
    """Examples and targets as rows, checked against each other, the network and the loss."""
    layers = as_params(params)
    dtype, m = layers[0].W.dtype, layers[-1].W.shape[0]
    X = as_examples("X", X, layers[0].W.shape[1], dtype)
    classes = f"; for numbers of classes, write jax.nn.one_hot(Y, {m})"
    Y = as_examples("Y", Y, m, dtype, classes if loss.labels.one_hot else "")
    check_same_length(X, Y)
    check_labels("Y", Y, loss)
    return X, Y


def sum_dtype(dtype: DTypeLike) -> np.dtype:
    """The dtype in which numbers of a dtype are added up: at least float32.

    The sum of 100 numbers of 1,000 is infinite in float16, their mean is not.

    >>> sum_dtype(jnp.float16), sum_dtype(jnp.float64)
    (dtype('float32'), dtype('float64'))
    """
    return jnp.promote_types(dtype, jnp.float32)


def as_shares(weights: ArrayLike, n: int, dtype: DTypeLike) -> Float[Array, " n"]:
    """Weights of n examples as shares w_i / sum(w) of their sum; all 0 where every weight is 0.

    They come in the dtype for sums of `dtype`, since 1 / n may be 0 in float16.
    """
    w = as_array("weights", weights, sum_dtype(dtype))
    check_shape("weights", w, (n,), "one weight for each example")
    check_finite("weights", w)
    if fails(w, lambda w: w >= 0):
        raise ValueError(f"weights must be 0 or more, got {np.asarray(w).min():g}")
    known = on_host(w)
    with np.errstate(over="ignore"):
        total = known.sum(keepdims=True)
    if fails(total, lambda total: total < np.inf):
        raise ValueError(
            f"weights have no finite sum, the largest is {np.asarray(w).max():g}: divide them by it"
        )
    where: Any = jnp.where if isinstance(known, Array) else np.where
    return as_jax(known / where(total > 0, total, 1))

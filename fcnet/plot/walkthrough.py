"""Algorithm 5, watched: a training run as one page, with the numbers of every line of every step.

The page is `walk.html` with its style, its script and the run as JSON in it; it loads nothing.
"""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Num

from fcnet.backpropagation import deltas, gradients
from fcnet.checks import as_count, as_params, as_positive, check_key
from fcnet.losses import as_batch, as_objective, mean_loss
from fcnet.network import forward_trace
from fcnet.plot.canvas import check_names
from fcnet.sampling import sample_batch
from fcnet.train.program import all_finite
from fcnet.train.types import NonFiniteError
from fcnet.types import Activation, Layer, Loss, Objective, Pairs, Params

DIGITS = 3
"""The digits of a number that the page shows."""

MOST_LAYERS, MOST_UNITS, MOST_PARAMETERS = 8, 64, 10_000
"""What a page can show: beyond it, lines cannot be told apart, and a page keeps too few steps."""

MOST_STEPS, MOST_BYTES = 300, 900_000
"""What a page keeps of a run, with the size of its JSON."""


def walk(
    params: Pairs,
    X: Num[ArrayLike, "n d"],
    Y: Num[ArrayLike, "n m_r"],
    *,
    key: Array,
    learning_rate: Num[ArrayLike, ""],
    steps: int,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
    loss: str | Loss = "squared_error",
    edges: Sequence[Bool[ArrayLike, "_ _"]] | None = None,
    names: Sequence[Sequence[str]] | None = None,
    title: str = "Algorithm 5, watched",
) -> str:
    """A page on which one watches Algorithm 5 while the network learns.

    It trains by Algorithm 1, as `sgd` does with the same key, and shows every value of Algorithm 5
    on the example that each step draws: on circles and lines, with a slider over the steps, another
    over the lines of the algorithm, and the formula of the line with its numbers. The page is one
    text that loads nothing, for a file or a notebook; it needs no extra.

    A page of less than 1 MB keeps up to 300 steps. Of a longer run they are evenly spaced in the
    square root of the step, so that they are closer at the start. Larger networks keep fewer: about
    15 steps for sizes (10, 64, 64, 1). Numbers are rounded to 3 digits.

    Args:
        params: the parameters at step 0: at most 8 layers, 64 units in one, 10,000 parameters.
        X: examples, shape (n, d), n >= 1.
        Y: targets, shape (n, m_r).
        key: a random key, for the examples that are drawn.
        learning_rate: alpha > 0.
        steps: the number of steps, 0 to 100,000.
        activation, output_activation, loss: as in `mean_loss`.
        edges: for each layer which weights there are, in the shape of W, such as `notes.MASK`; by
            default all. The others must be 0 and stay so.
        names: r + 1 lists of names of the inputs and of the units of each layer.
        title: the page's heading.

    Returns:
        HTML, to be written in UTF-8.

    Raises:
        ValueError, TypeError: as `sgd` and `mean_loss`; for a larger network; for edges or names
            that do not fit it, or a weight that is not 0 where there is no edge.
        NonFiniteError: if the run diverges.

    >>> from fcnet.network import init
    >>> X = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> Y = jnp.array([[0.0], [1.0], [1.0], [0.0]])
    >>> page = walk(init(jax.random.key(0), (2, 4, 1)), X, Y, key=jax.random.key(1),
    ...             learning_rate=0.1, steps=20)
    >>> page[:15], len(page) < 100_000
    ('<!doctype html>', True)
    """
    objective = as_objective(activation, output_activation, loss)
    layers = as_params(params)
    sizes = [layers[0].W.shape[1], *(len(layer.b) for layer in layers)]
    _check_size(layers, sizes)
    X, Y = as_batch(layers, X, Y, objective.loss)
    check_key(key)
    alpha = as_positive("learning_rate", learning_rate).astype(layers[0].W.dtype)
    steps = as_count("steps", steps, least=0, most=100_000)
    masks = _as_masks(edges, layers)
    if names is not None:
        check_names(names, sizes)
    run = {
        "sizes": sizes,
        "names": None if names is None else [[str(name) for name in layer] for layer in names],
        "edges": None
        if edges is None
        else [layer.W.ravel().astype(int).tolist() for layer in masks],
        "sigmas": [objective.activation.name] * (len(layers) - 1)
        + [objective.output_activation.name],
        "loss": objective.loss.name,
        "formula": objective.loss.formula,
        "rate": _rounded(alpha),
        "digits": DIGITS,
        "n": len(X),
        "total": steps,
    }
    kept = _fitting([*_train(layers, masks, X, Y, key, alpha, steps, objective)])
    data = f'{json.dumps(run)[:-1]}, "steps": [{",".join(kept)}]}}'.replace("<", r"\u003c")
    room = files("fcnet.plot")
    style, script, page = (
        room.joinpath(f"walk.{kind}").read_text(encoding="utf-8") for kind in ("css", "js", "html")
    )
    return Template(page).substitute(title=escape(title), style=style, script=script, data=data)


def _check_size(layers: Params, sizes: Sequence[int]) -> None:
    """Raise unless a page can show the network."""
    parameters = sum(leaf.size for leaf in jax.tree.leaves(layers))
    for what, got, most in (
        ("layers", len(layers), MOST_LAYERS),
        ("units in a layer", max(sizes), MOST_UNITS),
        ("parameters", parameters, MOST_PARAMETERS),
    ):
        if got > most:
            raise ValueError(f"params has {got} {what}, but a page can show at most {most}")


def _as_masks(edges: Sequence[ArrayLike] | None, layers: Params) -> Params:
    """1 for each parameter that is there, in the structure of the parameters."""
    ones = jax.tree.map(jnp.ones_like, layers)
    if edges is None:
        return ones
    shapes, expected = [np.shape(edge) for edge in edges], [layer.W.shape for layer in layers]
    if shapes != expected:
        raise ValueError(f"edges has arrays of shapes {shapes}, expected {expected}")
    for k, (edge, layer) in enumerate(zip(edges, layers, strict=True)):
        if np.any(np.asarray(layer.W)[~np.asarray(edge, bool)]):
            raise ValueError(f"params[{k}].W must be 0 where edges[{k}] has no edge")
    return tuple(
        Layer(jnp.asarray(edge, layer.W.dtype), one.b)
        for edge, layer, one in zip(edges, layers, ones, strict=True)
    )


def _train(
    params: Params,
    masks: Params,
    X: Array,
    Y: Array,
    key: Array,
    alpha: Array,
    steps: int,
    objective: Objective,
) -> Iterator[dict[str, Any]]:
    """The numbers of each step that may be kept, of `steps` steps and the one that would follow."""
    shares = np.linspace(0, 1, MOST_STEPS) ** 2
    kept = set(range(steps + 1) if steps < MOST_STEPS else (shares * steps).round().tolist())
    for t in range(steps + 1):
        after, seen = _step(params, masks, X, Y, key, np.int32(t), alpha, objective=objective)
        if not seen.pop("finite"):
            raise NonFiniteError(t, params)
        if t in kept:
            mean = _mean(params, X, Y, objective=objective)
            yield jax.device_get({"t": t, "mean": mean, **seen})
        params = after


@partial(jax.jit, static_argnames="objective")
def _step(
    params: Params,
    masks: Params,
    X: Array,
    Y: Array,
    key: Array,
    t: Array,
    alpha: Array,
    *,
    objective: Objective,
) -> tuple[Params, dict[str, Any]]:
    """The parameters after step t of Algorithm 1, and all that Algorithm 5 computes in it."""
    sigma, sigma_r, J = objective
    (j,) = sample_batch(jax.random.fold_in(key, t), X.shape[0], 1)
    y = Y[j]
    trace = forward_trace(params, X[j], **objective.sigmas)
    delta = deltas(params, trace, y, **objective.keywords)
    gradient = jax.tree.map(jnp.multiply, gradients(delta, trace), masks)
    after = jax.tree.map(lambda p, g: p - alpha * g, params, gradient)
    value = J.value(trace.a[-1], y)
    return after, {
        "finite": all_finite((value, after)),
        "example": j,
        "y": y,
        "J": value,
        "dJ": J.derivative(trace.a[-1], y),
        "a": trace.a,
        "z": trace.z,
        "slope": [*map(sigma.derivative, trace.z[:-1]), sigma_r.derivative(trace.z[-1])],
        "delta": delta,
        "W": [layer.W for layer in params],
        "b": [layer.b for layer in params],
        "dW": [layer.W for layer in gradient],
    }


@partial(jax.jit, static_argnames="objective")
def _mean(params: Params, X: Array, Y: Array, *, objective: Objective) -> Array:
    return mean_loss(params, X, Y, **objective.keywords)


def _rounded(array: Any) -> Any:
    """A number, or the entries of an array in one list, to `DIGITS` digits."""
    if np.ndim(array):
        return list(map(_rounded, np.ravel(array).tolist()))
    x = float(f"{float(array):.{DIGITS}g}")
    return int(x) if x.is_integer() else x


def _fitting(seen: Sequence[dict[str, Any]]) -> list[str]:
    """The JSON of the first step, of the last, and of as many between as fit into `MOST_BYTES`."""
    largest = max(len(_json(seen[i])) for i in (0, len(seen) // 2, -1))
    count = min(len(seen), MOST_BYTES // largest)
    while True:
        chosen = np.linspace(0, len(seen) - 1, count).round().astype(int)
        texts = [_json(seen[i]) for i in chosen]
        if sum(map(len, texts)) <= MOST_BYTES:
            return texts
        count -= 1


def _json(numbers: dict[str, Any]) -> str:
    return json.dumps(jax.tree.map(_rounded, numbers), separators=(",", ":"))

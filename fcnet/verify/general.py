"""`fcnet.check_gradient`: a hand-written gradient of any scalar JAX function, tried and judged."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from fcnet.arrays import to_numpy
from fcnet.checks import check_key
from fcnet.verify.arguments import Arguments, call, is_none, read_gradient, take_apart
from fcnet.verify.claim import OWN, ArrayCase, Claim, call_again, judge_claim
from fcnet.verify.report import Report, unreadable
from fcnet.verify.types import Answer, format_of

NEARBY_CASES = 7
"""The number of points near the user's own at which the gradient is tried."""


def check_gradient(
    gradient: Callable[..., Any],
    function: Callable[..., Any],
    *args: Any,
    key: Array | None = None,
) -> Report:
    """Check a hand-written gradient of any scalar JAX function.

    `gradient(*args)` is compared with `jax.grad(function)` in float64, at the given arguments and
    at points near them. Its tolerance follows from rounding. Where the function has a kink, or two
    entries are equally the largest, any choice is right.

    Args:
        gradient: returns what `jax.grad(function)` does, the gradient with respect to the first
            argument; or a tuple with an entry for every argument. Any arrays: NumPy, JAX, PyTorch.
        function: a JAX function that returns a scalar, the reference.
        args: the arguments of both, pytrees with arrays at their leaves. Leaves without a gradient
            (integers, None) are not changed; their gradient may be None, float0 or zeros.
        key: of the points; by default always the same.

    Returns:
        A `Report`, with a leaf for each floating array whose gradient is returned.

    Raises:
        TypeError, ValueError: for arguments without a floating array, or not finite, or a function
            that does not return a scalar. A gradient that raises is a finding of the report.

    >>> def function(params, x):
    ...     return jnp.sum(jnp.tanh(params["W"] @ x))
    >>> def gradient(params, x):
    ...     return {"W": np.outer(1 - np.tanh(params["W"] @ x), x)}
    >>> W, x = np.array([[0.1, 0.2], [0.3, 0.4]]), np.array([1.0, 2.0])
    >>> report = check_gradient(gradient, function, {"W": W}, x)
    >>> report.verdict, report.leaves[0].path
    ('wrong', "params['W']")
    """
    check_key(key := jax.random.key(0) if key is None else key)
    arguments = take_apart(function, args)
    own = ArrayCase(OWN, tuple(map(to_numpy, arguments.differentiable)))
    _check_scalar(function, arguments, own)
    subject = getattr(gradient, "__name__", type(gradient).__name__)
    first = call(gradient, arguments, own.leaves)
    if first.error:
        return unreadable(subject, OWN, arguments.format, [first.error])
    whole = jax.tree.structure(first.value, is_leaf=is_none) == arguments.structure
    answer, findings = read_gradient(arguments, first.value, whole)
    findings += first.mutations
    if answer is None:
        return unreadable(subject, OWN, arguments.format, findings)

    def ask(case: ArrayCase, double: bool) -> Answer | None:
        result = call(gradient, arguments, case.leaves, double)
        return None if result.error else read_gradient(arguments, result.value, whole)[0]

    places = tuple(i for i, j in enumerate(arguments.floating) if whole or j < arguments.first)
    names = tuple(arguments.names[i] for i in arguments.floating)
    claim = Claim(
        name=subject,
        paths=tuple(names[i] for i in places),
        right=_autodiff(function, arguments, places),
        call=ask,
        leaves=arguments.differentiable,
        names=names,
        places=places,
        format=format_of(answer.dtype),
    )
    draw = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    others = claim.near(own, NEARBY_CASES, draw)
    repeated, notes = call_again(claim, own, answer)
    answers = [answer, *map(claim.answer, others)]
    return judge_claim(claim, [own, *others], answers, [*findings, *repeated], notes)


def _autodiff(
    function: Callable[..., Any], arguments: Arguments, places: Sequence[int]
) -> Callable[[Sequence[Array]], list[Array]]:
    def right(leaves: Sequence[Array]) -> list[Array]:
        def loss(claimed: list[Array]) -> Array:
            values = list(leaves)
            for i, value in zip(places, claimed, strict=True):
                values[i] = value
            return function(*arguments.fill(values))

        return jax.grad(loss)([leaves[i] for i in places])

    return right


def _check_scalar(function: Callable[..., Any], arguments: Arguments, own: ArrayCase) -> None:
    result = jax.eval_shape(lambda leaves: function(*arguments.fill(leaves)), own.leaves)
    scalar = getattr(result, "shape", None) == ()
    if not (scalar and jnp.issubdtype(result.dtype, jnp.floating)):
        raise TypeError(f"function must return a real scalar, a () array, got {result}")

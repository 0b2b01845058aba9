"""`fcnet.check_vjp`: a `jax.custom_vjp` put to the test against its plain twin."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from fcnet.arrays import to_numpy
from fcnet.checks import check_key
from fcnet.verify.arguments import Arguments, as_answer, call, take_apart
from fcnet.verify.claim import OWN, Claim, Point, representable
from fcnet.verify.conclude import check_repeated, conclude, unread
from fcnet.verify.cotangents import check_linear, check_traced, cotangent_points
from fcnet.verify.report import Report
from fcnet.verify.rounding import precision_of
from fcnet.verify.types import Answer, Finding

NEARBY, AWAY = 2, 0.1
"""Besides the user's own, so many points are tried, up to 10 % away."""


def check_vjp(
    function: Callable[..., Any],
    reference: Callable[..., Any],
    *args: Any,
    key: Array | None = None,
) -> Report:
    """Check the derivative rule of a `jax.custom_vjp` against autodiff of its plain twin.

    First the value, then the cotangents of the arguments, for cotangents of the result that are
    zero, random, one-hot and scaled, at the given arguments and near them, and again under
    `jax.jit` and `jax.vmap`. What they may be off by is derived from rounding.

    Args:
        function: with a derivative rule of its own.
        reference: a plain JAX function of the same arguments with the same values.
        args: the arguments of both, pytrees of arrays; integers and static values stay as they are.
        key: of the random cotangents and points; by default always the same.

    Returns:
        A `Report`, with a leaf for each floating array of the arguments; or of the results, if
        already these differ.

    Raises:
        TypeError, ValueError: for arguments without a floating array, or not finite, or a reference
            without a floating result. A function that raises is a finding of the report.

    >>> @jax.custom_vjp
    ... def square(x):
    ...     return x * x
    >>> square.defvjp(lambda x: (x * x, x), lambda x, g: (g * x,))
    >>> report = check_vjp(square, lambda x: x * x, jnp.array([1.0, 2.0, 3.0]))
    >>> report.verdict, report.findings[0].kind
    ('wrong', 'factor_half')
    """
    check_key(key := jax.random.key(0) if key is None else key)
    arguments = take_apart(reference, jax.tree.map(_as_jax, args))
    subject = getattr(function, "__name__", type(function).__name__)
    own = Point(OWN, tuple(map(to_numpy, arguments.differentiable)))
    right = _form(call(reference, arguments, own.leaves))
    if not right.names:
        raise TypeError("reference must return floating-point arrays: they have the cotangents")
    value = call(function, arguments, own.leaves)
    different = value.error or _difference(_form(value), right)
    if different:
        return unread(subject, arguments, [different])
    twins = _Twins(subject, function, reference, arguments, _form(value))
    draw = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    report = _check_values(twins, own, draw)
    return report if report.verdict == "wrong" else _check_rule(twins, own, draw)


def _as_jax(leaf: Any) -> Any:
    """A rule is handed NumPy's arrays as they are, and NumPy may compute in another dtype."""
    return jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf


class _Form(NamedTuple):
    """The containers of a result, and its floating leaves with their names."""

    structure: Any
    names: tuple[str, ...]
    leaves: tuple[Any, ...]


class _Twins(NamedTuple):
    """The function and its reference, the arguments of both, and the form of their results."""

    subject: str
    function: Callable[..., Any]
    reference: Callable[..., Any]
    arguments: Arguments
    result: _Form

    @property
    def names(self) -> tuple[str, ...]:
        """Of the floating arguments."""
        return tuple(self.arguments.names[i] for i in self.arguments.floating)

    def values(self, function: Callable[..., Any], leaves: Sequence[Any]) -> list[Array]:
        """The floating results, of the floating arguments."""
        results = jax.tree.leaves(function(*self.arguments.fill(leaves)))
        return [x for x in results if jnp.issubdtype(jnp.result_type(x), jnp.floating)]

    def pull(self, function: Callable[..., Any], leaves: Sequence[Any]) -> list[Array]:
        """The cotangents of the arguments; `leaves` are these and then those of the results."""
        n = len(self.arguments.floating)
        results, back = jax.vjp(partial(self.values, function), list(leaves[:n]))
        given = zip(leaves[n:], results, strict=True)
        return back([jnp.asarray(cotangent, like.dtype) for cotangent, like in given])[0]


def _form(called: Any) -> _Form:
    if called.error:
        raise ValueError(f"reference must accept the arguments: {called.error.message}")
    flat, structure = jax.tree_util.tree_flatten_with_path(called.value)
    floating = [(p, x) for p, x in flat if jnp.issubdtype(jnp.result_type(x), jnp.floating)]
    names = tuple(f"result{jax.tree_util.keystr(path)}" for path, _ in floating)
    return _Form(structure, names, tuple(x for _, x in floating))


def _difference(hand: _Form, right: _Form) -> Finding | None:
    """What is other about the form of the result than it must be."""
    if (hand.structure, hand.names) != (right.structure, right.names):
        message = f"it returns {hand.structure} with {', '.join(hand.names)} in floating point; "
        message += f"the reference {right.structure} with {', '.join(right.names)}"
        return _fault("wrong_structure", message)
    for name, one, other in zip(hand.names, hand.leaves, right.leaves, strict=True):
        if jnp.shape(one) != jnp.shape(other):
            shapes = f"{jnp.shape(one)}, that of the reference {jnp.shape(other)}"
            return _fault("wrong_shape", f"{name} has shape {shapes}")
    return None


def _check_values(twins: _Twins, own: Point, draw: np.random.Generator) -> Report:
    """The results themselves, called plainly and by `jax.vjp`, which runs the rule's own forward.

    Another function has another derivative.
    """
    arguments = twins.arguments

    def both(*args: Any) -> list[Array]:
        values = partial(twins.values, twins.function)
        leaves = arguments.floats(args)
        return [*values(leaves), *jax.vjp(values, leaves)[0]]

    def ask(point: Point, double: bool) -> Answer | None:
        called = call(both, arguments, point.leaves, double)
        return None if called.error else as_answer(called.value)

    first = call(both, arguments, own.leaves)
    if first.error:
        return unread(twins.subject, arguments, [first.error])
    claim = Claim(
        subject=twins.subject,
        paths=(*twins.result.names, *(f"{name} under jax.vjp" for name in twins.result.names)),
        right=lambda leaves: 2 * twins.values(twins.reference, leaves),
        call=ask,
        leaves=arguments.differentiable,
        names=twins.names,
        places=(),
        precision=precision_of(as_answer(first.value).dtype),
        phrase="{}",
    )
    points = [own, *_nearby(claim, own, draw)]
    report = conclude(claim, points, [*map(claim.answer, points)], [], [])
    findings = [_fault("forward_differs", finding.message) for finding in report.findings]
    return replace(report, findings=tuple(findings))


def _check_rule(twins: _Twins, own: Point, draw: np.random.Generator) -> Report:
    """The rule: what it makes of cotangents."""
    leaves = (*twins.arguments.differentiable, *twins.result.leaves)
    both = take_apart(twins.pull, leaves)

    def rule(*leaves: Any) -> list[Array]:
        return twins.pull(twins.function, leaves)

    def ask(point: Point, double: bool, how: Callable[..., Any] = rule) -> Answer | None:
        pulled = call(how, both, point.leaves, double)
        return None if pulled.error else as_answer(pulled.value)

    n = len(own.leaves)
    points = cotangent_points(own, [to_numpy(leaf) for leaf in leaves[n:]], draw)
    points = [representable(point, leaves) for point in points]
    pulled = call(rule, both, points[0].leaves)
    if pulled.error:
        return unread(twins.subject, twins.arguments, [pulled.error])
    first = as_answer(pulled.value)
    claim = Claim(
        subject=twins.subject,
        paths=twins.names,
        right=partial(twins.pull, twins.reference),
        call=ask,
        leaves=leaves,
        names=(*twins.names, *twins.result.names),
        places=tuple(range(n)),
        precision=precision_of(first.dtype),
    )
    points += _nearby(claim, points[0], draw)
    answers = [first, *map(claim.answer, points[1:])]
    repeated, notes = check_repeated(claim, points[0], first)
    findings = [*repeated, *check_traced(claim, points[0], first, rule, ask)]
    return conclude(claim, points, answers, findings, notes, check_linear(claim, points, answers))


def _nearby(claim: Claim, point: Point, draw: np.random.Generator) -> list[Point]:
    names = (f"a point near {point.name}, number {i + 1}" for i in range(NEARBY))
    return [claim.moved(point, AWAY, draw)._replace(name=name) for name in names]


def _fault(kind: str, message: str) -> Finding:
    return Finding(None, "", None, kind, message)

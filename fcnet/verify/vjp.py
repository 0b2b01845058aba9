"""`fcnet.check_vjp`: the derivative rule of a `jax.custom_vjp` against its plain twin."""

import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from fcnet.arrays import is_array, is_floating, is_tensor, to_numpy
from fcnet.keys import generator_of
from fcnet.verify.agreement import agree, distance
from fcnet.verify.arguments import Arguments, as_answer, call, settled, take_apart
from fcnet.verify.calling import check_call, name_of_function
from fcnet.verify.claim import (
    OWN,
    ArrayCase,
    Claim,
    Claimed,
    call_again,
    judge_claim,
    properties,
    representable,
    unreadable,
)
from fcnet.verify.judge import Trial
from fcnet.verify.judge import rule as rule_on
from fcnet.verify.limits import add_limits
from fcnet.verify.report import Report
from fcnet.verify.surroundings import keeps_global_state
from fcnet.verify.truth.scalar import traced
from fcnet.verify.types import Answer, Finding, errors, form_finding, format_of

NEAR_ARGUMENTS = 2
"""The number of points near the user's own at which the rule is tried."""

RANDOM, ONE_HOT = 3, 3
"""The numbers of random and of one-hot cotangents."""

UNDER = "under jax.vjp"
"""The quantity of results as the rule's own forward returns them. Where results are wrong without
that, it is not said again."""

NOT_CHECKED = (
    "the rule was not checked: the reference must have the values of the function, with every "
    "epsilon and every constant of it"
)

ON_PURPOSE = (
    "if another derivative is meant, as of jnp.round(x) or for a reversed gradient, take for the "
    "reference s(x) + jax.lax.stop_gradient(f(x) - s(x)), where s has it"
)
"""What to do about a surrogate gradient, or one that passes straight through."""

OF_PYTORCH = (
    "; of a torch.autograd.Function, check the gradient of the sum of its result times a fixed "
    "array by fcnet.check_gradient: autograd calls its backward pass"
)
"""What to do where the arguments are tensors, which functions of JAX get as arrays of JAX."""

MULTIPLE = -8.0
"""The rule must give, for a cotangent times minus a power of two, that multiple to the last bit."""


@keeps_global_state
def check_vjp(
    function: Callable[..., Any],
    reference: Callable[..., Any],
    *args: Any,
    key: Array | None = None,
) -> Report:
    """Check the derivative rule of a `jax.custom_vjp` against autodiff of its plain twin.

    First the values are compared, then the cotangents of the arguments. The cotangents of the
    result are zero, random, one-hot and scaled. All is compared at the given arguments, near them,
    and again under `jax.jit` and `jax.vmap`. The tolerance follows from rounding. Arguments near
    the user's own keep what holds of these exactly, such as rows that sum to 1; a note says which
    of that the rule needs.

    Args:
        function: with a derivative rule of its own.
        reference: a plain JAX function of the same arguments with the same values.
        args: the arguments of both, pytrees of arrays; integers, static values and the function's
            own `nondiff_argnums` are not changed.
        key: of the random cotangents and points; by default always the same.

    Returns:
        A `Report`, with a leaf for each floating array of the arguments; or of the results, if
        these already differ.

    Raises:
        TypeError, ValueError: for arguments without a floating array, or not finite, a function or
            reference that cannot be called with them, or a reference without a floating result. A
            function that raises is a finding of the report.

    >>> @jax.custom_vjp
    ... def square(x):
    ...     return x * x
    >>> square.defvjp(lambda x: (x * x, x), lambda x, g: (g * x,))
    >>> report = check_vjp(square, lambda x: x * x, jnp.array([1.0, 2.0, 3.0]))
    >>> report.verdict, report.findings[0].kind
    ('wrong', 'factor_half')
    """
    draw = generator_of(key)
    arguments = take_apart(reference, jax.tree.map(_as_jax, args), _nondifferentiable(function))
    for each in (function, reference):
        check_call(each, args, arguments.call_form)
    subject = name_of_function(function)
    own = ArrayCase(OWN, arguments.values)
    of_pytorch = OF_PYTORCH * any(map(is_tensor, jax.tree.leaves(args)))
    right = _form(call(reference, arguments, own.leaves), of_pytorch)
    if not any(map(np.size, right.leaves)):
        raise TypeError("reference must return floating-point numbers: they have the cotangents")
    # The trace is not kept: it refers to what JAX has made of closed-over NumPy arrays in float32.
    arguments = settled(partial(_trace, reference), arguments)[0]
    value = call(function, arguments, own.leaves)
    different = value.error or _difference(_form(value), right)
    if different:
        message = _with_hint(different.message, of_pytorch)
        return unreadable(subject, arguments.format, [different._replace(message=message)])
    twins = _Twins(subject, function, reference, arguments, _form(value))
    results = _check_results(twins, own, draw)
    if results.verdict == "wrong":
        return results
    report = _check_rule(twins, own, draw)
    return replace(report, findings=(*results.findings, *report.findings))


def _trace(reference: Callable[..., Any], arguments: Arguments) -> Any:
    """The computation of the reference; TypeError unless JAX can trace it."""
    values = arguments.reduce(reference)
    return traced(values, arguments.values, name="reference", arguments="the arguments")


def _as_jax(leaf: Any) -> Any:
    """JAX hands NumPy arrays to a rule unchanged, and NumPy may compute in another dtype.

    Tensors of PyTorch become arrays of JAX too.
    """
    foreign = is_array(leaf) and not isinstance(leaf, (jax.Array, int, float, np.number))
    if not foreign:
        return leaf
    array = np.asarray(leaf)
    try:
        return jnp.asarray(array)
    except TypeError as error:
        raise TypeError(
            f"an argument has the dtype {array.dtype}, which JAX does not have: cast it"
        ) from error


def _nondifferentiable(function: Any) -> tuple[int, ...]:
    """The places of arguments for which the rule of a function has no cotangent."""
    own = inspect.unwrap(function, stop=lambda f: hasattr(f, "nondiff_argnums"))
    return tuple(getattr(own, "nondiff_argnums", ()))


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

    def values(self, function: Callable[..., Any], leaves: Sequence[Any]) -> list[Array]:
        """The floating results, of the floating arguments."""
        results = jax.tree.leaves(self.arguments.reduce(function)(leaves))
        return [x for x in results if jnp.issubdtype(jnp.result_type(x), jnp.floating)]

    def pull(self, function: Callable[..., Any], leaves: Sequence[Any]) -> list[Array]:
        """The cotangents of the arguments; `leaves` are these and then those of the results."""
        n = len(self.arguments.floating)
        results, back = jax.vjp(partial(self.values, function), list(leaves[:n]))
        given = zip(leaves[n:], results, strict=True)
        return back([jnp.asarray(cotangent, jnp.result_type(like)) for cotangent, like in given])[0]


def _with_hint(message: str, hint: str) -> str:
    """A message with a hint after its first line; the others say where an error was raised."""
    first, *rest = message.split("\n")
    return "\n".join([first + hint, *rest])


def _form(called: Any, hint: str = "") -> _Form:
    if called.error:
        message = _with_hint(called.error.message, hint)
        raise ValueError(f"reference must accept the arguments: {message}")
    flat, structure = jax.tree_util.tree_flatten_with_path(called.value)
    floating = [(path, x) for path, x in flat if is_array(x) and is_floating(x)]
    names = tuple(f"result{jax.tree_util.keystr(path)}" for path, _ in floating)
    return _Form(structure, names, tuple(x for _, x in floating))


def _difference(hand: _Form, right: _Form) -> Finding | None:
    """How the form of the result differs from that of the reference."""
    if (hand.structure, hand.names) != (right.structure, right.names):
        message = f"it returns {hand.structure} with {', '.join(hand.names)} in floating point; "
        message += f"the reference {right.structure} with {', '.join(right.names)}"
        return form_finding("wrong_structure", message)
    for name, one, other in zip(hand.names, hand.leaves, right.leaves, strict=True):
        if jnp.shape(one) != jnp.shape(other):
            shapes = f"{jnp.shape(one)}, that of the reference {jnp.shape(other)}"
            return form_finding("wrong_shape", f"{name} has shape {shapes}")
    return None


def _check_results(twins: _Twins, own: ArrayCase, draw: np.random.Generator) -> Report:
    """The results themselves, called plainly and by `jax.vjp`, which runs the rule's own forward.

    If they differ, the function has another derivative, and its rule is not checked.
    """
    arguments = twins.arguments

    def both(*args: Any) -> list[Array]:
        values = partial(twins.values, twins.function)
        leaves = arguments.floats(args)
        return [*values(leaves), *jax.vjp(values, leaves)[0]]

    first = call(both, arguments, own.leaves)
    n = len(twins.result.names)
    other = first.error or _other_shape(twins.result.names, first.value[:n], first.value[n:])
    if other:
        return unreadable(twins.subject, arguments.format, [other])
    claim = Claim(
        name=twins.subject,
        arrays=tuple(
            Claimed(f"{name} {how}".strip(), phrase=phrase, quantity=how)
            for how, phrase in (("", "the {}"), (UNDER, "{}"))
            for name in twins.result.names
        ),
        right=lambda leaves: 2 * twins.values(twins.reference, leaves),
        call=partial(_answer, both, arguments),
        leaves=arguments.differentiable,
        names=arguments.floating_names,
        kept=properties(arguments.differentiable, range(len(own.leaves))),
        format=format_of(as_answer(first.value).dtype),
        shown=lambda leaves: {"args": arguments.fill(leaves)},
    )
    cases = [own, *claim.near(own, NEAR_ARGUMENTS, draw)]
    report = judge_claim(claim, cases, [*map(claim.answer, cases)])
    found = errors(report.findings)
    plain = [finding for finding in found if finding.quantity != UNDER]
    wrong = [finding._replace(kind="forward_differs", quantity="") for finding in plain or found]
    warnings = [
        finding._replace(message=f"the function itself: {finding.message}")
        for finding in report.findings
        if finding.severity == "warning"
    ]
    notes = (*report.notes, NOT_CHECKED) if wrong else report.notes
    return replace(report, findings=tuple(wrong or warnings), notes=notes)


def _other_shape(names: Sequence[str], plain: list[Array], under: list[Array]) -> Finding | None:
    """That the rule's own forward returns results of other shapes than the function."""
    for name, *results in zip(names, plain, under, strict=True):
        one, other = map(jnp.shape, results)
        if one != other:
            message = f"{name} {UNDER} has shape {other}, and {one} where the function is called"
            return form_finding("forward_differs", message)
    return None


def _check_rule(twins: _Twins, own: ArrayCase, draw: np.random.Generator) -> Report:
    """The rule itself, on several cotangents."""
    leaves = (*twins.arguments.differentiable, *map(jnp.zeros_like, twins.result.leaves))
    both = take_apart(twins.pull, leaves)

    def rule(*leaves: Any) -> list[Array]:
        return twins.pull(twins.function, leaves)

    n = len(own.leaves)
    cases = cotangent_cases(own, [to_numpy(leaf) for leaf in leaves[n:]], draw)
    cases = [representable(case, leaves) for case in cases]
    pulled = call(rule, both, cases[0].leaves)
    if pulled.error:
        return unreadable(twins.subject, twins.arguments.format, [pulled.error])
    first, names = as_answer(pulled.value), twins.arguments.floating_names
    claim = Claim(
        name=twins.subject,
        arrays=tuple(Claimed(name, place=i) for i, name in enumerate(names)),
        right=partial(twins.pull, twins.reference),
        call=partial(_answer, rule, both),
        leaves=leaves,
        names=(*names, *twins.result.names),
        kept=(*properties(leaves[:n], range(n)), *[()] * (len(leaves) - n)),
        format=format_of(first.dtype),
        causes=partial(check_linear, cases),
        independent=False,  # for all cotangents a rule keeps the same numbers of the arguments
        plain="reference",
        shown=lambda leaves: {
            "args": twins.arguments.fill(leaves[:n]),
            "cotangents": list(leaves[n:]),
        },
    )
    cases += claim.near(cases[0], NEAR_ARGUMENTS, draw)
    answers = [first, *map(claim.answer, cases[1:])]
    repeated, notes = call_again(claim, cases[0], first)
    findings = [*repeated, *check_traced(claim, cases[0], first, rule, both)]
    report = judge_claim(claim, cases, answers, findings, notes)
    if report.verdict == "wrong":
        report = replace(report, notes=(*report.notes, ON_PURPOSE))
    return add_limits(report, claim, cases[0], draw)


def _answer(
    function: Callable[..., Any], arguments: Arguments, case: ArrayCase, double: bool = False
) -> Answer | Finding:
    """What a function of the arguments returns for a case; or that it raises."""
    called = call(function, arguments, case.leaves, double)
    return called.error or as_answer(called.value)


def cotangent_cases(
    own: ArrayCase, results: Sequence[np.ndarray], draw: np.random.Generator
) -> list[ArrayCase]:
    """The user's arguments with cotangents of many kinds: random ones first."""
    sizes = [x.size for x in results]

    def case(name: str, flat: np.ndarray) -> ArrayCase:
        parts = np.split(flat, np.cumsum(sizes)[:-1])
        cotangents = (part.reshape(x.shape) for part, x in zip(parts, results, strict=True))
        return ArrayCase(name, (*own.leaves, *cotangents))

    random = [draw.normal(size=sum(sizes)) for _ in range(RANDOM)]
    places = draw.integers(sum(sizes), size=ONE_HOT)
    return [
        *(case(f"random cotangent {i + 1}", flat) for i, flat in enumerate(random)),
        case(f"{MULTIPLE:g} times random cotangent 1", MULTIPLE * random[0]),
        case("a zero cotangent", np.zeros(sum(sizes))),
        *(
            case(f"the cotangent that is 1 at {i} only", np.eye(1, sum(sizes), i)[0])
            for i in places
        ),
    ]


def check_linear(
    cases: Sequence[ArrayCase], claim: Claim, trials: Sequence[Trial]
) -> list[Finding]:
    """Whether the rule does with a cotangent what no derivative does.

    Args:
        cases: those of `cotangent_cases`.
        claim: what is right.
        trials: on some of the cases.
    """
    one, two, multiple, zero = (
        next((trial for trial in trials if trial.case is cases[i]), None)
        for i in (0, 1, RANDOM, RANDOM + 1)
    )
    if one is None or two is None or multiple is None:
        return []
    if distance(one.answer, two.answer) == 0 and not one.answer.is_empty:
        return [
            form_finding("ignores_cotangent", "the rule does not use the cotangent it is given")
        ]
    times: Any = tuple(MULTIPLE * x for x in jax.tree.leaves(one.answer.gradient))
    expected = one.answer._replace(gradient=times)
    bounds = claim.bounds(multiple.case, multiple.answer)
    if not agree(expected, multiple.answer, bounds):
        message = f"{MULTIPLE:g} times the cotangent does not give {MULTIPLE:g} times the result; "
        constant = jax.tree.leaves(zero.answer.gradient) if zero else []
        paths = [path for path, x in zip(claim.paths, constant, strict=False) if x.any()]
        message += (
            f"for a cotangent of 0, the gradient of {', '.join(paths)} is not 0"
            if paths
            else "a gradient that is clipped is no derivative: check the rule without that"
        )
        return [form_finding("not_linear", message)]
    unused = [*_unused(claim, cases[0])]
    if not unused:
        return []
    message = (
        f"the rule does not use the cotangent of {', '.join(claim.names[j] for j in unused)}; "
    )
    message += "where that is on purpose, check a function that returns the other results"
    others = {*range(len(claim.names))} - {*unused}
    rest = _trials(claim, [_only(case, others) for case in cases[:2]])
    alone = replace(claim, causes=lambda claim, trials: [])
    return [form_finding("ignores_cotangent", message), *alone.explain(rest, ())]


def _unused(claim: Claim, case: ArrayCase) -> Iterator[int]:
    """The places of the results whose cotangent changes nothing, though it must."""
    n = len(claim.arrays)
    for j in range(n, len(claim.names)):
        for trial in _trials(claim, [_only(case, {*range(n), j})]):
            zero = not any(x.any() for x in jax.tree.leaves(trial.answer.gradient))
            if zero and not trial.comparison.ok:
                yield j


def _only(case: ArrayCase, places: Collection[int]) -> ArrayCase:
    """The case with zeros for the arrays at other places."""
    leaves = [x if i in places else np.zeros_like(x) for i, x in enumerate(case.leaves)]
    return case._replace(leaves=tuple(leaves))


def _trials(claim: Claim, cases: Sequence[ArrayCase]) -> list[Trial]:
    """The cases that the rule answers, and how."""
    answered = ((case, claim.answer(case)) for case in cases)
    return [claim.trial(case, answer) for case, answer in answered if answer is not None]


def check_traced(
    claim: Claim,
    case: ArrayCase,
    plain: Answer,
    rule: Callable[..., Any],
    arguments: Arguments,
) -> list[Finding]:
    """Whether the rule gives the same under `jax.jit`, and for two cotangents under `jax.vmap`.

    Args:
        claim: what is right.
        case: the one for which the rule gave `plain`.
        plain: what it gave.
        rule: of the arguments, and then of the cotangents.
        arguments: of the rule.
    """
    n = len(claim.arrays)

    def stacked(*leaves: Any) -> list[Array]:
        pairs = [jnp.stack([x, x / 2]) for x in map(jnp.asarray, leaves[n:])]
        both = jax.vmap(lambda *cotangents: rule(*leaves[:n], *cotangents))(*pairs)
        return [x[0] for x in both]

    findings, plainly_wrong = [], _is_wrong(claim, claim, case, plain)
    for kind, how in (("jit", jax.jit(rule)), ("vmap", stacked)):
        called = call(how, arguments, case.leaves)
        if called.error:
            message = f"under jax.{kind} the rule fails: {called.error.message}"
            findings.append(form_finding(f"{kind}_disagrees", message))
            continue
        answer = as_answer(called.value)
        traced = replace(claim, call=partial(_answer, how, arguments))
        if not plainly_wrong and _is_wrong(claim, traced, case, answer):
            message = f"under jax.{kind} the rule gives another result, and a wrong one"
            findings.append(form_finding(f"{kind}_disagrees", message))
    return findings


def _is_wrong(claim: Claim, called: Claim, case: ArrayCase, answer: Answer) -> bool:
    """Whether the answer to a case is, judged alone; `called` is the claim as it was called.

    Of `claim` it is known what is right.
    """
    trial = claim.trial(case, answer)
    return not trial.comparison.ok and rule_on(called, [trial]).kind == "wrong"

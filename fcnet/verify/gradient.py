"""`fcnet.check_gradient`: a hand-written gradient of any scalar function, tried and judged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core

from fcnet.arrays import is_array, is_floating, shape_of
from fcnet.keys import generator_of
from fcnet.verify.arguments import Arguments, call, settled, take_apart
from fcnet.verify.calling import check_call, name_of_function
from fcnet.verify.claim import (
    OWN,
    ArrayCase,
    Claim,
    Claimed,
    call_again,
    judge_claim,
    properties,
    unreadable,
)
from fcnet.verify.gradient_result import Result, read, results_of
from fcnet.verify.judge import Trial
from fcnet.verify.limits import add_limits
from fcnet.verify.own_rules import other_derivatives
from fcnet.verify.report import Report
from fcnet.verify.result_form import returned_names
from fcnet.verify.surroundings import keeps_global_state
from fcnet.verify.truth.differences import Differences
from fcnet.verify.truth.double import trace
from fcnet.verify.truth.evaluate import evaluate
from fcnet.verify.truth.named import named_values, shapes_of, step_gradients
from fcnet.verify.truth.scalar import TracingError, trace_scalar
from fcnet.verify.types import FORMATS, Answer, Finding, form_finding, format_of
from fcnet.verify.untraced import Untraced, untraced

NEARBY_CASES = 7
"""The number of points near the user's own at which the gradient is tried."""

FEW_CASES = 2
"""That number where each point takes a few calls of the function for each number in it."""

MOST_NUMBERS = 2000
"""The most numbers by which a function is differentiated by differences."""

BY_DIFFERENCES = (
    "JAX cannot trace the function, so differences of its values show what is right{}: "
    "write it with jax.numpy to have all digits judged"
)

OF_A_SOLVER = "or the function is inexact, as by the tolerance of a solver in it: make that smaller"

VALUE = Claimed("value", phrase="the {}", quantity="J", roundoff=FORMATS["float32"].u)
"""The function's value, if it is returned. JAX computes it in float32 for many who return it."""


OF_A_LAYER = (
    "; of a layer, take the sum of its result times the gradient that its backward pass is given: "
    "jnp.sum(dout * layer(x, W)); of residuals, jnp.sum(v * residuals(x)) beside v @ jacobian(x)"
)

NAME_THE_STEPS = (
    "to see which step is wrong, name values of the function by jax.ad_checkpoint.checkpoint_name, "
    "and return their gradients in a dict after the gradient"
)


@keeps_global_state
def check_gradient(
    gradient: Callable[..., Any],
    function: Callable[..., Any],
    *args: Any,
    key: Array | None = None,
) -> Report:
    """Check a hand-written gradient of any scalar function.

    `gradient(*args)` is compared with `jax.grad(function)` in float64, at the given arguments and
    at points near them. If JAX cannot trace the function, as one in NumPy or PyTorch, it is
    compared with differences of its values, to fewer digits. Its tolerance follows from rounding.
    Where the function has a kink, or two entries are equally the largest, any choice is right.
    Points near the user's own keep what holds of it exactly, such as rows that sum to 1, and the
    zeros and whole numbers of arguments without a gradient; a note says which of that the gradient
    needs.

    A function can name its intermediate values by `jax.ad_checkpoint.checkpoint_name(value, "h")`.
    If `gradient` returns their gradients as well, each is judged alone, from its own gradients of
    the named values after it. So the wrong step is found, and what inherits its error is not.

    Args:
        gradient: returns what `jax.grad(function)` does, the gradient with respect to the first
            argument; or a tuple with an entry for every argument, for the first ones, or for others
            in a row whose shapes tell them apart; or a dict by the names of some arguments of
            `function`, {"dW": dW}. It may stand beside the value of the function, which is then
            judged too, and among other results, which are not. A dict may come last, with the
            gradients of named values, {"h": dh}. Any arrays: NumPy, JAX, PyTorch.
        function: the reference, which returns a scalar: a JAX function; or any other of at most
            2,000 numbers.
        args: the arguments of both, pytrees with arrays at their leaves. A list of real numbers is
            an array. Leaves without a gradient (integers, None) are not changed; their gradient may
            be None, float0 or zeros, or be left out.
        key: of the points; by default always the same.

    Returns:
        A `Report`, with a leaf for each floating array whose gradient is returned, and one for the
        value if that is returned. A finding about the value has quantity "J", one about a named
        value its name.

    Raises:
        TypeError, ValueError: for arguments without a floating array, or not finite; for a function
            that raises, that returns no scalar, or not the same twice; for a gradient that cannot
            be called with them; for a name of several values. A gradient that raises is a finding
            of the report.

    >>> import jax.numpy as jnp
    >>> def function(params, x):
    ...     return jnp.sum(jnp.tanh(params["W"] @ x))
    >>> def gradient(params, x):
    ...     return {"W": np.outer(1 - np.tanh(params["W"] @ x), x)}
    >>> W, x = np.array([[0.1, 0.2], [0.3, 0.4]]), np.array([1.0, 2.0])
    >>> report = check_gradient(gradient, function, {"W": W}, x)
    >>> report.verdict, report.leaves[0].path
    ('wrong', "params['W']")

    >>> from jax.ad_checkpoint import checkpoint_name
    >>> def named(x):
    ...     h = checkpoint_name(jnp.sin(x), "h")
    ...     return jnp.sum(checkpoint_name(h * x, "p") ** 2)
    >>> def by_hand(x):
    ...     h, dp = np.sin(x), 2 * np.sin(x) * x
    ...     dh = dp * h  # dp * x is right
    ...     return dh * np.cos(x) + dp * h, {"p": dp, "h": dh}
    >>> [finding.quantity for finding in check_gradient(by_hand, named, x).findings]
    ['h']
    """
    draw = generator_of(key)
    arguments = take_apart(function, args := tuple(map(_as_array, args)))
    own = ArrayCase(OWN, arguments.values)
    plain: Untraced | None = None
    jaxpr: core.Jaxpr | None = None
    try:
        arguments, jaxpr = settled(partial(_computation, function), arguments)
    except TracingError as error:
        plain = untraced(function, arguments, error)
    check_call(gradient, args, arguments.call_form)
    subject = name_of_function(gradient)
    first = call(gradient, arguments, own.leaves)
    if first.error:
        return unreadable(subject, arguments.format, [first.error])
    named = named_values(jaxpr) if jaxpr else []
    shapes = shapes_of(named, returned_names(first.value))
    found = results_of(arguments, shapes, first.value)
    tried = [
        (
            _claim(subject, gradient, function, plain, arguments, shapes, result),
            result.answer,
            result,
        )
        for result in found
        if result.answer is not None
    ]
    if not tried:
        findings = [*found[0].findings, *first.mutations]
        return unreadable(subject, arguments.format, findings)
    claim, answer, result = _nearest(tried, own)
    findings = [*result.findings, *first.mutations]
    others = claim.near(own, FEW_CASES if plain else NEARBY_CASES, draw)
    repeated, notes = call_again(claim, own, answer)
    notes += [note] if (note := result.form.note(first.value)) else []
    if jaxpr:
        judged = {array.place: array.path for array in claim.arrays if array.place is not None}
        notes += other_derivatives(jaxpr, arguments.reduce(function), arguments.values, judged)
    answers = [answer, *map(claim.answer, others)]
    report = judge_claim(claim, [own, *others], answers, [*findings, *repeated], notes)
    if plain:
        note = BY_DIFFERENCES.format(_digits(report))
        return replace(report, notes=(*report.notes, note))
    if not claim.upstream and any(finding.kind == "unknown" for finding in report.findings):
        report = replace(report, notes=(*report.notes, NAME_THE_STEPS))
    return add_limits(report, claim, own, draw)


def _as_array(arg: Any) -> Any:
    """A list of real numbers as an array, as an optimizer takes its start; all else as it is."""
    is_list = type(arg) in (list, tuple) and is_array(arg) and is_floating(arg)
    return np.asarray(arg) if is_list else arg


def _claim(
    subject: str,
    gradient: Callable[..., Any],
    function: Callable[..., Any],
    plain: Untraced | None,
    arguments: Arguments,
    shapes: Mapping[str, tuple[int, ...]],
    result: Result,
) -> Claim:
    """That what `gradient` returns, in the form of this result, is the gradient of `function`."""

    def ask(case: ArrayCase, double: bool) -> Answer | Finding:
        called = call(gradient, arguments, case.leaves, double)
        if called.error:
            return called.error
        found = read(arguments, shapes, called.value, result.form)
        return found.answer or found.findings[0]

    named, with_value = result.form.named, result.form.location.value is not None
    names = arguments.floating_names
    claimed = arguments.leaves_of(result.form.entries or arguments.first)
    places = [arguments.floating.index(j) for j in claimed if j in arguments.floating]
    steps = [Claimed(name, quantity=name) for name in named]
    gradients = [Claimed(names[i], place=i) for i in places]
    return Claim(
        name=subject,
        arrays=(*steps, *gradients, *[VALUE] * with_value),
        right=_autodiff(function, arguments, places, named, with_value),
        upstream=tuple(np.zeros(shapes[name]) for name in named),
        call=ask,
        leaves=arguments.differentiable,
        names=names,
        kept=properties(arguments.differentiable, places),
        indices=arguments.indices,
        causes=partial(_of_something_else, function, arguments, result.form.entries or ()),
        differences=_differences(plain, places, with_value) if plain else None,
        hint=partial(_hint, arguments, result, plain),
        format=format_of(result.answer.dtype) if result.answer else arguments.format,
        shown=lambda leaves: {"args": arguments.fill(leaves)},
    )


def _differences(plain: Untraced, places: Sequence[int], with_value: bool) -> Differences:
    """Those of a function that JAX cannot trace; ValueError for too many."""
    count = sum(plain.arguments.values[place].size for place in places)
    if count > MOST_NUMBERS:
        raise ValueError(
            f"function has {count:,} derivatives, and JAX cannot trace it: write it with "
            f"jax.numpy, or pass smaller arguments, with {MOST_NUMBERS:,} at most"
        )
    return Differences(plain, tuple(places), with_value, plain.roundoff)


def _digits(report: Report) -> str:
    """To how many digits the gradient is judged, from the array with fewest to that with most."""
    if report.verdict == "cannot tell":
        return ""
    digits = sorted(int(leaf.digits_expected) for leaf in report.leaves) or [0]
    span = f"{digits[0]} to {digits[-1]}" if digits[0] < digits[-1] else f"{digits[0]}"
    return f", to {span} digits"


def _of_something_else(
    function: Callable[..., Any],
    arguments: Arguments,
    entries: Sequence[int],
    claim: Claim,
    trials: Sequence[Trial],
) -> list[Finding]:
    """That a gradient is that of another argument, or one of several a second derivative."""

    def is_it(i: int, right: Callable[[Sequence[Array]], list[Array]]) -> bool:
        """Whether array i is this one on all trials, to half of the digits."""
        try:
            traced, half = trace(right, arguments.values), np.sqrt(claim.format.u)
        except (TypeError, ValueError, NotImplementedError):  # there may be no second derivative
            return False
        every = [evaluate(traced, trial.case.leaves)[0] for trial in trials]
        pairs = zip((trial.comparison.got[i] for trial in trials), every, strict=True)
        near = ((abs(g - r) <= half * abs(r).max(initial=0)).all() for g, r in pairs)
        return any(map(np.any, every)) and all(near)  # 0 is also what is not computed

    claimed = {i: array.place for i, array in enumerate(claim.arrays) if array.place is not None}
    wrong = [i for i in claimed if any((abs(t.comparison.excess[i]) > 1).any() for t in trials)]
    if claim.differences:
        return []
    shapes = list(map(shape_of, claim.leaves))
    if len(wrong) == 2 and len({shapes[claimed[i]] for i in wrong}) == 1:  # of a loss f(y, p)
        j = claimed[wrong[1]]
        first = _autodiff(function, arguments, [j], (), False)
        if is_it(wrong[0], first) and is_it(wrong[1], _curvature(function, arguments, j)):
            message = "what is returned are the first and the second derivative by "
            message += f"{claim.names[j]}, as for XGBoost: of the first alone, "
            return [form_finding("second_derivative", message + _alone(claim.names[j]))]
    if len(wrong) != 1:
        return []
    (i,), own = wrong, next(iter(claimed.values()))
    place, path = claimed[i], claim.paths[i]
    for j, name in enumerate(claim.names if len(claimed) == 1 else ()):  # of a loss f(y, p) dp
        alike = j != place and shapes[j] == shapes[place]
        if alike and is_it(i, _autodiff(function, arguments, [j], (), False)):
            message = f"the gradient of {path} is that of {name}; if it is to be that one, "
            return [form_finding("other_argument", message + _alone(name))]
    alike = len(entries) > 1 and shapes[place] == shapes[own]
    if alike and is_it(i, _curvature(function, arguments, own)):
        message = f"what is returned for {path} is the second derivative by {claim.names[own]}, "
        return [form_finding("second_derivative", message + "as for XGBoost: leave it out")]
    return []


def _alone(name: str) -> str:
    """How the gradient of one argument is returned."""
    return f"return {{'d{name}': ...}}" if name.isidentifier() else "name it in a dict"


def _curvature(
    function: Callable[..., Any], arguments: Arguments, place: int
) -> Callable[[Sequence[Array]], list[Array]]:
    """The sums of the rows of a Hessian: its diagonal, where it is diagonal."""
    gradient = _autodiff(function, arguments, [place], (), False)

    def curvature(leaves: Sequence[Array]) -> list[Array]:
        along = [
            jnp.ones_like(x) if i == place else jnp.zeros_like(x) for i, x in enumerate(leaves)
        ]
        return jax.jvp(gradient, (list(leaves),), (along,))[1]

    return curvature


def _hint(arguments: Arguments, result: Result, plain: Untraced | None, finding: Finding) -> str:
    """What else a finding may mean, or ""."""
    if plain and finding.kind == "inexact":
        return OF_A_SOLVER
    return _taken_for_the_value(arguments, result, finding)


def _taken_for_the_value(arguments: Arguments, result: Result, finding: Finding) -> str:
    """What else a number after a gradient may be, as a db that is summed over too much; or ""."""
    form = result.form
    if finding.quantity != VALUE.quantity:
        return ""
    others = [
        head
        for i, head in enumerate(arguments.heads)
        if i not in (form.entries or arguments.first)
        and {*arguments.leaves_of([i])} & {*arguments.floating}
    ]
    if not others or form.location.value in (None, 0) or not isinstance(form.location.value, int):
        return ""
    return (
        "the number after the gradient is read as the value; the gradient of "
        f"{' or '.join(others)} must have the shape of that"
    )


def _nearest(
    tried: Sequence[tuple[Claim, Answer, Result]], own: ArrayCase
) -> tuple[Claim, Answer, Result]:
    """Where a result can be read in several ways, the one with the fewest wrong arrays.

    Of several, one without a value: (dx, ds) with a wrong ds is no pair of dx and a wrong value.
    """

    def wrongness(each: tuple[Claim, Answer, Result]) -> tuple[int, bool, float]:
        claim, answer, _ = each
        comparison = claim.compare(own, answer, claim.format)
        wrong = sum(
            bool((abs(excess) > bound).any())
            for excess, bound in zip(comparison.excess, claim.float32_excess, strict=True)
        )
        return wrong, VALUE in claim.arrays, comparison.worst

    return min(tried, key=wrongness) if len(tried) > 1 else tried[0]


def _autodiff(
    function: Callable[..., Any],
    arguments: Arguments,
    places: Sequence[int],
    named: Sequence[str],
    with_value: bool,
) -> Callable[[Sequence[Array]], list[Array]]:
    """The right arrays; of the arguments, and then of the candidate's gradients of named values."""
    n = len(arguments.floating)

    def right(leaves: Sequence[Array]) -> list[Array]:
        def loss(claimed: Sequence[Array]) -> Array:
            values = list(leaves[:n])
            for i, value in zip(places, claimed, strict=True):
                values[i] = value
            return function(*arguments.fill(values))

        claimed = [leaves[i] for i in places]
        steps: dict[str, Array] = {}
        if named:
            given = dict(zip(named, leaves[n:], strict=True))
            value, gradient, steps = step_gradients(loss, claimed, given)
        else:
            value, gradient = jax.value_and_grad(loss)(claimed)
        return [*(steps[name] for name in named), *gradient, *([value] if with_value else [])]

    return right


def _computation(function: Callable[..., Any], arguments: Arguments) -> core.Jaxpr:
    """What the function computes; TypeError unless JAX can trace it to a scalar."""
    loss = arguments.reduce(function)
    words = {"name": "function", "arguments": "the arguments", "hint": OF_A_LAYER}
    return trace_scalar(loss, arguments.values, **words).jaxpr

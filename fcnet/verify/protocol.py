"""Checks of a candidate's form, whatever its numbers: state, mutation, aliases, randomness, jit.

First the candidate is called, on the user's own input and on another. The checks then compare what
the calls returned; each is a function of `Calls` and of what is right on the two inputs.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fcnet.arrays import dtype_of, overlap
from fcnet.types import Params
from fcnet.verify.agreement import agree, bounds_of, distance
from fcnet.verify.candidate import Call, Candidate
from fcnet.verify.diagnose.pattern import fitted_factor
from fcnet.verify.returned import Returned
from fcnet.verify.step import is_in_place
from fcnet.verify.types import Answer, Case, Finding, Reference, Values, errors, form_finding

EQUAL, MOST = 0.01, 0.9
"""How near the sizes of entries are that move equally far, and how many of them: not those whose
gradient is no larger than Adam's epsilon."""


class Calls(NamedTuple):
    """The calls whose results are compared.

    Attributes:
        first: on the user's own input, with the user's own objects.
        other: on another input, with other parameters and as many examples.
        kept: what `first` returned, read once more after the call on the other input.
        back: on the user's own input, in the objects of `other` with their values replaced.
        own_reference, other_reference: what is right on the two inputs.
    """

    first: Call
    other: Call
    kept: Returned
    back: Call
    own_reference: Reference
    other_reference: Reference


class Protocol(NamedTuple):
    """What the calls on two inputs show.

    Attributes:
        own: the first call on the user's own input.
        other: the call on the other input; None if the first call returned no gradient.
        findings: what is wrong with the form.
        notes: what is no fault, but worth a line in the report.
    """

    own: Call
    other: Call | None
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def check_protocol(
    candidate: Candidate, own_reference: Reference, other: Case, other_reference: Reference
) -> Protocol:
    """Call the candidate in turn on the user's own input and on another, and compare.

    Args:
        candidate: called 8 times at most, the first time with the user's own objects, unless it is
            a training step.
        own_reference: of the user's own input.
        other, other_reference: another input, with other parameters and as many examples.

    Returns:
        The findings are root causes: a candidate that does not repeat its own result is not checked
        any further.
    """
    own = candidate.own
    is_step = candidate.learning_rate is not None
    first = candidate.call(own, None if is_step else candidate.given)  # a step changes its params
    if first.answer is None:
        return Protocol(first, None, (*first.findings, *check_mutation(candidate, first)), ())
    again = candidate.call(own)
    arguments = candidate.arguments(other)
    second = candidate.call(other, arguments)
    kept = candidate.read(own, first.arguments, first.returned)
    back = candidate.call(own, candidate.refill(arguments, own))
    calls = Calls(first, second, kept, back, own_reference, other_reference)

    findings = [*first.findings, *check_mutation(candidate, first)]
    findings += check_aliases(candidate, first)
    failure = again.findings[0].message if again.findings else ""
    unrepeated = check_adaptive(first.answer, own_reference) or check_repeated(
        first.answer, again.answer, bounds_of(own_reference), failure
    )
    if unrepeated:
        return Protocol(first, second, (*findings, *unrepeated), ())
    findings += [finding for finding in second.findings if finding not in findings]
    findings += [*check_earlier_results(candidate, calls), *check_state(calls)]
    if not errors(findings):
        findings += check_dependence(candidate, calls)
    in_place = is_step and is_in_place(first.returned)
    if candidate.in_jax and not in_place and not errors(findings):
        findings += check_jit(candidate, calls) or check_vmap(candidate, calls)
    notes = (*note_noise(first.answer, again.answer), *note_dtypes(candidate, first))
    notes += (first.read.note,) if first.read.note else ()
    return Protocol(first, second, tuple(findings), notes)


def check_mutation(candidate: Candidate, call: Call) -> list[Finding]:
    """Whether the arguments still hold the same values, bit for bit, in the same containers."""
    params, x, y = call.arguments
    _, before, X, Y = call.case
    names = [slot.name for slot in candidate.layout.slots]

    def read(params: Any) -> Params:
        return candidate.layout.present(candidate.layout.read(params))

    before = candidate.layout.present(before)
    is_step = candidate.learning_rate is not None
    parameters = [] if is_step else _changed("params", names, read, params, before)
    inputs = [
        *_changed("x", ["x"], candidate.examples.read, x, X),
        *_changed("y", ["y"], candidate.targets.read, y, Y),
    ]
    a_step = "; if it is a training step, pass learning_rate=, its rate"
    return [
        form_finding(
            f"mutates_{kind}", f"the call changes its {', '.join(changed)}; work on a copy{hint}"
        )
        for kind, changed, hint in (
            ("params", parameters, a_step if call.returned is None else ""),
            ("inputs", inputs, ""),
        )
        if changed
    ]


def _changed(
    whole: str, names: list[str], read: Callable[[Any], Any], argument: Any, before: Any
) -> list[str]:
    try:
        after = jax.tree.leaves(read(argument))
    except (TypeError, ValueError, RuntimeError):  # entries came or went, or JAX arrays are donated
        return [whole]
    pairs = zip(names, after, jax.tree.leaves(before), strict=True)
    return [name for name, now, then in pairs if not np.array_equal(now, then)]


def check_aliases(candidate: Candidate, first: Call) -> list[Finding]:
    """Whether a returned array shares memory with the user's own: then one changes the other."""
    slots = candidate.layout.slots
    names = [*(slot.name for slot in slots), "x", "y"]
    for slot, leaf in zip(slots, first.read.leaves, strict=True):
        for name, array in zip(names, candidate.leaves, strict=True):
            if overlap(leaf, array):
                message = f"{slot.gradient_phrase} is the memory of {name} itself; return a copy"
                return [form_finding("aliases", message)]
    return []


def check_earlier_results(candidate: Candidate, calls: Calls) -> list[Finding]:
    """Whether a later call changed what an earlier one had returned, or may do so."""
    earlier, now = calls.first, calls.kept.answer
    if now is None or earlier.answer is None or distance(now, earlier.answer) != 0:
        message = "a call overwrites the gradient that an earlier call returned; return new arrays"
        return [form_finding("mutates_earlier_results", message, "warning")]
    leaves = (earlier.read.leaves, calls.other.read.leaves)
    for slot, one, other in zip(candidate.layout.slots, *leaves, strict=False):
        if overlap(one, other):
            message = (
                f"two calls returned the same memory as {slot.gradient_phrase}; return new arrays"
            )
            return [form_finding("aliases", message, "warning")]
    return []


@np.errstate(all="ignore")  # a wrong candidate may return any values
def check_adaptive(step: Answer, right: Reference) -> list[Finding]:
    """Whether a step moves each entry equally far, as the first step of Adam does."""
    if step.rate is None:
        return []
    leaves = zip(jax.tree.leaves(step.gradient), jax.tree.leaves(right.gradient), strict=True)
    pairs = [(abs(g[true != 0]), abs(true[true != 0])) for g, true in leaves]
    size, true_size = (_common_size(np.concatenate(sizes)) for sizes in zip(*pairs, strict=True))
    if not size or true_size:  # a gradient that is so itself is no sign of Adam
        return []
    message = (
        f"each entry moves by {size:.3g} times the rate, however large its gradient is: that is "
        "the first step of Adam or RMSprop. Check the gradient alone, or a step of plain descent"
    )
    return [form_finding("adaptive_step", message)]


def _common_size(sizes: np.ndarray) -> float:
    """The size that most of the sizes have; 0 if there is none."""
    size = float(np.median(sizes)) if sizes.size else 0.0
    return size if size and np.mean(abs(sizes / size - 1) < EQUAL) >= MOST else 0.0


@np.errstate(all="ignore")  # a wrong candidate may return any values
def check_repeated(
    first: Answer, again: Answer | None, bounds: Sequence[Values], failure: str = ""
) -> list[Finding]:
    """Whether the same input, in new objects, gives the same gradient up to rounding.

    Args:
        first, again: what two calls returned; None if the second one failed.
        bounds: of each array, what rounding explains of their difference.
        failure: why the second call failed, if that is known.
    """
    if agree(first, again, bounds):
        return []
    if again is None:
        reason = f": {failure}" if failure else ""
        message = f"the first call worked, a second one like it did not{reason}"
        return [form_finding("stateful", message)]
    doubled = jax.tree.map(lambda leaf: 2 * leaf, first.gradient)
    if agree(first._replace(gradient=doubled), again, bounds):
        message = "a second call returns twice the gradient: it adds to what it returned before"
        return [form_finding("stateful", message)]
    c = _multiple(first.gradient, again.gradient)
    multiple = jax.tree.map(lambda leaf: c * leaf, first.gradient)
    if 1 < c < 2 and agree(first._replace(gradient=multiple), again, bounds):
        message = (
            f"a second call adds {c - 1:.3g} times what the first one returned. If that is "
            "momentum, check the gradient without it; if not, set what is kept to zero in each call"
        )
        return [form_finding("momentum", message)]
    message = (
        f"two calls with the same input differ by {distance(first, again):.1e} of the largest "
        "entry: something is random, or kept from call to call, as in an array that is changed in "
        "place"
    )
    return [form_finding("nondeterministic", message)]


@np.errstate(all="ignore")  # a wrong candidate may return any values
def check_state(calls: Calls) -> list[Finding]:
    """Whether a call on another input, in between, changed what the first input gives."""
    first, back, between = calls.first, calls.back, calls.other
    if first.answer is None or agree(first.answer, back.answer, bounds_of(calls.own_reference)):
        return []
    if back.answer and between.answer and distance(back.answer, between.answer) == 0:
        message = (
            "arrays with new values gave the gradient of their old values: "
            "something is cached by the identity of the arrays"
        )
        return [form_finding("stale_cache", message)]
    if back.answer and between.answer and _is_average(first.answer, between.answer, back.answer):
        message = (
            "the gradient is averaged with those of earlier calls: that belongs to the optimizer; "
            "return the gradient of this call alone"
        )
        return [form_finding("averaged_gradients", message)]
    if back.answer and between.answer and _is_sum(first.answer, between.answer, back.answer):
        message = "a call adds its gradient to that of the call before: set that to zero first"
        return [form_finding("stateful", message)]
    message = "a call on another input changed the gradient of this one: something of it is kept"
    return [form_finding("stateful", message)]


def _is_sum(first: Answer, between: Answer, back: Answer) -> bool:
    both = jax.tree.map(np.add, first.gradient, between.gradient)
    return _are_equal(first._replace(gradient=both), back)


def _is_average(first: Answer, between: Answer, back: Answer) -> bool:
    """Whether the last of three gradients lies between the others, on the line through them."""
    way, off = (
        jax.tree.map(np.subtract, answer.gradient, first.gradient) for answer in (between, back)
    )
    c = _multiple(way, off)
    on_line = jax.tree.map(lambda one, step: one + c * step, first.gradient, way)
    return 0 < c < 1 and _are_equal(first._replace(gradient=on_line), back)


def _are_equal(one: Answer, other: Answer) -> bool:
    """Whether two gradients are equal, but for the rounding of a sum."""
    return agree(one, other, [0 * leaf for leaf in jax.tree.leaves(one.gradient)])


def _multiple(base: Params, other: Params) -> float:
    """The least-squares c of other = c base; 0 where the base is 0."""
    return fitted_factor(jax.tree.leaves(other), jax.tree.leaves(base), default=0.0).item()


def check_dependence(candidate: Candidate, calls: Calls) -> list[Finding]:
    """Whether a wrong gradient of the other input is one that does not depend on the arguments.

    Calls the candidate at most twice more, with the other's data and the first's parameters, and
    the other way round.
    """
    first, other, right = calls.first, calls.other, calls.other_reference
    if first.answer is None or other.answer is None or other.answer.is_empty:
        return []
    if agree(other.answer._replace(gradient=right.gradient), other.answer, bounds_of(right)):
        return []
    if distance(first.answer, other.answer) == 0:
        message = "another input gave the gradient of the first: something is kept from that call"
        return [form_finding("stale_cache", message)]
    pairs = zip(*map(jax.tree.leaves, (first.case.params, other.case.params)), strict=True)
    if all(np.array_equal(*pair) for pair in pairs):  # seeds may coincide
        return []
    call = candidate.call(other.case._replace(params=first.case.params))
    if call.answer is not None and distance(call.answer, other.answer) == 0:
        message = "other params gave the same gradient: perhaps it works on params of its own"
        return [form_finding("ignores_params", message)]
    if np.array_equal(first.case.X, other.case.X):
        return []
    call = candidate.call(first.case._replace(params=other.case.params))
    if call.answer is not None and distance(call.answer, other.answer) == 0:
        message = (
            "another x and y gave the same gradient: perhaps it works on an x and y of its own"
        )
        return [form_finding("ignores_inputs", message)]
    return []


def check_jit(candidate: Candidate, calls: Calls) -> list[Finding]:
    """Whether the candidate gives the same compiled and plain; no finding if tracing fails.

    Calls the candidate once more: without `jax.jit` if it is compiled, else with it.
    """
    compiled = hasattr(candidate.function, "lower")

    def twin(*arguments: Any) -> Any:
        if not compiled:
            return jax.jit(candidate.function)(*arguments)
        with jax.disable_jit():
            return candidate.function(*arguments)

    call = candidate.run(twin, candidate.own, candidate.arguments(candidate.own))
    message = (
        "with jax.jit and without, the gradients differ by {:.1e} of the largest entry: "
        "something that is no argument was fixed when the function was traced"
    )
    return _compare_traced("jit_disagrees", message, calls, call)


def check_vmap(candidate: Candidate, calls: Calls) -> list[Finding]:
    """Whether `jax.vmap` over two inputs gives for the first what a call of its own does.

    Calls the candidate once more; no finding if tracing fails.
    """
    params, x, y = candidate.arguments(candidate.own)
    second = candidate.arguments(calls.other.case)[1:]

    def row(*_: Any) -> Any:
        xs, ys = jax.tree.map(lambda *pair: jnp.stack(pair), (x, y), second)
        results = jax.vmap(candidate.function, in_axes=(None, 0, 0))(params, xs, ys)
        return jax.tree.map(lambda leaf: leaf[0], results)

    call = candidate.run(row, candidate.own, (params, x, y))
    message = (
        "under jax.vmap the gradient differs by {:.1e} of the largest entry from that of a call "
        "of its own: the examples of a batch mix"
    )
    return _compare_traced("vmap_disagrees", message, calls, call)


def _compare_traced(kind: str, message: str, calls: Calls, traced: Call) -> list[Finding]:
    plain = calls.first.answer
    if plain is None or traced.answer is None:
        return []
    if agree(plain, traced.answer, bounds_of(calls.own_reference)):
        return []
    return [form_finding(kind, message.format(distance(plain, traced.answer)))]


def note_noise(first: Answer, again: Answer | None) -> list[str]:
    """How far two calls with the same input are apart, where that is only rounding."""
    noise = distance(first, again) if again else 0.0
    return [f"two calls with the same input differ by rounding, {noise:.1e}"] if noise else []


def note_dtypes(candidate: Candidate, call: Call) -> list[str]:
    """Gradients that are floating, but not in the dtype of their parameters."""
    pairs = zip(candidate.layout.slots, call.read.leaves, candidate.leaves, strict=False)
    odd = [(s, dtype_of(g), dtype_of(p)) for s, g, p in pairs if dtype_of(g) != dtype_of(p)]
    if not odd:
        return []
    slot, got, expected = odd[0]
    more = f", and {len(odd) - 1} more alike" if odd[1:] else ""
    return [f"{slot.gradient_phrase} is {got}, but {slot.name} is {expected}{more}"]

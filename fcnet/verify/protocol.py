"""Faults of form, whatever the numbers: state, mutation, aliases, randomness, jit and vmap.

The checks share their calls of the candidate: at most six on the user's own input, one on another.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from fcnet.arrays import dtype_of, overlap
from fcnet.verify.agreement import agree, distance
from fcnet.verify.candidate import Call, Candidate
from fcnet.verify.returned import read_returned
from fcnet.verify.tracing import check_jit, check_vmap
from fcnet.verify.types import Answer, Case, Finding, Reference

FACTORS = {2.0: "twice", 0.5: "half", -1.0: "minus"}
"""What a wrong loss often is of the right one; n and 1/n are tried too."""


class Protocol(NamedTuple):
    """What the calls on two inputs showed.

    own, other: the first call on the user's own input, and the one on the other input; None if it
        was not worth making.
    notes: what is no fault but worth a line in the report.
    """

    own: Call
    other: Call | None
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def check_protocol(
    candidate: Candidate, reference: Reference, other: Case, other_reference: Reference
) -> Protocol:
    """Call the candidate in turn on the user's own input and on another, and compare.

    Args:
        candidate: called 7 times at most, the first time with the user's own objects.
        reference: of the user's own input; its tolerance says what is only rounding.
        other, other_reference: another input, with other parameters and as many examples.
    """
    own = candidate.own
    first = candidate.call(own, candidate.given)
    findings = [*first.findings, *check_mutation(candidate, first)]
    if first.answer is None:
        return Protocol(first, None, tuple(findings), ())
    findings += [*check_loss(first, reference), *check_aliases(candidate, first)]
    again = candidate.call(own)
    memory = check_repeated(first, again, reference)
    if memory:
        return Protocol(first, None, (*findings, *memory), ())
    arguments = candidate.arguments(other)
    between = candidate.call(other, arguments)
    findings += [finding for finding in between.findings if finding not in findings]
    findings += check_earlier_results(candidate, first, between)
    back = candidate.call(own, candidate.refill(arguments, own))
    findings += check_state(first, back, between, reference)
    if between.answer is not None and not agree(
        between.answer._replace(gradient=other_reference.gradient), between.answer, other_reference
    ):
        findings += check_dependence(candidate, first, between)
    if candidate.in_jax and not findings:
        findings += check_jit(candidate, first, reference) or check_vmap(
            candidate, first, other, reference
        )
    notes = (*note_noise(first, again), *note_dtypes(candidate, first))
    return Protocol(first, between, tuple(findings), notes)


def check_mutation(candidate: Candidate, call: Call) -> list[Finding]:
    """Whether the arguments still hold what they held, bit for bit, in the same containers."""
    params, x, y = call.arguments
    _, before, X, Y = call.case
    names = [slot.name for slot in candidate.layout.slots]
    parameters = _changed("params", names, candidate.layout.read, params, before)
    inputs = [
        *_changed("x", ["x"], candidate.examples.read, x, X),
        *_changed("y", ["y"], candidate.targets.read, y, Y),
    ]
    return [
        _fault(f"mutates_{kind}", f"the call changes its {', '.join(changed)}; work on a copy")
        for kind, changed in (("params", parameters), ("inputs", inputs))
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
                message = f"{slot.gradient_name} is the memory of {name} itself; return a copy"
                return [_fault("aliases", message)]
    return []


def check_earlier_results(candidate: Candidate, earlier: Call, later: Call) -> list[Finding]:
    """Whether a later call changed what an earlier one had returned, or may do so."""
    slots = candidate.layout.slots
    n = len(earlier.case.X)
    now = read_returned(candidate.layout, candidate.like[0], earlier.returned, n).answer
    if now is None or earlier.answer is None or distance(now, earlier.answer) != 0:
        message = (
            "a call overwrites the gradient that the one before it returned; return new arrays"
        )
        return [_fault("mutates_earlier_results", message)]
    for slot, one, other in zip(slots, earlier.read.leaves, later.read.leaves, strict=False):
        if overlap(one, other):
            message = (
                f"two calls returned the same memory as {slot.gradient_name}; return new arrays"
            )
            return [_fault("aliases", message)]
    return []


def check_loss(call: Call, reference: Reference) -> list[Finding]:
    """Whether the loss that the candidate returns, if it does, is that of the network."""
    if call.answer is None or call.answer.loss is None:
        return []
    loss, expected, n = call.answer.loss, reference.loss, len(call.case.X)
    if abs(loss - expected) <= reference.loss_tolerance:
        return []
    factors = {**FACTORS, float(n): f"n = {n} times", 1 / n: f"1/n = 1/{n} of"}
    near = [text for c, text in factors.items() if math.isclose(loss, c * expected, rel_tol=1e-3)]
    ratio = f", {near[0]} it" if near else ""
    message = f"on {call.case.name} the loss is {expected:.6g}, but it returns {loss:.6g}{ratio}"
    return [Finding(1, "J", None, "forward_differs", message)]


def check_repeated(first: Call, again: Call, reference: Reference) -> list[Finding]:
    """Whether the same input, in fresh arrays, gives the same gradient up to rounding."""
    if first.answer is None or agree(first.answer, again.answer, reference):
        return []
    if again.answer is None:
        reason = again.findings[0].message
        return [
            _fault("stateful", f"the first call worked, a second one like it did not: {reason}")
        ]
    doubled = jax.tree.map(lambda leaf: 2 * leaf, first.answer.gradient)
    if agree(first.answer._replace(gradient=doubled), again.answer, reference):
        message = "a second call returns twice the gradient: it adds to what it returned before"
        return [_fault("stateful", message)]
    noise = distance(first.answer, again.answer)
    message = (
        f"two calls with the same input differ by {noise:.1e} of the largest entry: "
        "something random, or something kept from call to call"
    )
    return [_fault("nondeterministic", message)]


def check_state(first: Call, back: Call, between: Call, reference: Reference) -> list[Finding]:
    """Whether a call in between, on another input, changed what the first input gives."""
    if first.answer is None or agree(first.answer, back.answer, reference):
        return []
    if back.answer and between.answer and distance(back.answer, between.answer) == 0:
        message = (
            "arrays with new values in them gave the gradient of their old ones: "
            "something is kept for arrays of the same identity"
        )
        return [_fault("stale_cache", message)]
    message = "a call on another input changed the gradient of this one: it keeps something of it"
    return [_fault("stateful", message)]


def check_dependence(candidate: Candidate, first: Call, between: Call) -> list[Finding]:
    """Whether a wrong gradient of another input is one that does not depend on the arguments.

    Calls the candidate once more, on the other's x and y with the first's parameters.
    """
    if first.answer is None or between.answer is None or _is_zero(between.answer):
        return []
    if distance(first.answer, between.answer) == 0:
        message = "another input gave the gradient of the first: something is kept from that call"
        return [_fault("stale_cache", message)]
    call = candidate.call(between.case._replace(params=first.case.params))
    if call.answer is not None and distance(call.answer, between.answer) == 0:
        message = "other params gave the same gradient: perhaps it works on params of its own"
        return [_fault("ignores_params", message)]
    return []


def note_noise(first: Call, again: Call) -> list[str]:
    """How far two calls with the same input are apart, where that is rounding only."""
    if first.answer is None or again.answer is None:
        return []
    noise = distance(first.answer, again.answer)
    return [f"two calls with the same input differ by rounding, {noise:.1e}"] if noise else []


def note_dtypes(candidate: Candidate, call: Call) -> list[str]:
    """Gradients that are floating, but not in the dtype of their parameters."""
    pairs = zip(candidate.layout.slots, call.read.leaves, candidate.leaves, strict=False)
    odd = [(s, dtype_of(g), dtype_of(p)) for s, g, p in pairs if dtype_of(g) != dtype_of(p)]
    if not odd:
        return []
    slot, got, expected = odd[0]
    more = f", and {len(odd) - 1} more alike" if odd[1:] else ""
    return [f"{slot.gradient_name} is {got}, but {slot.name} is {expected}{more}"]


def check_finite(candidate: Candidate, call: Call) -> list[Finding]:
    """The first array on the way back from the loss that is not finite, if there is one.

    Not part of `check_protocol`: where a coarser precision is to blame, the formula is right.
    """
    if call.answer is None:
        return []
    leaves = jax.tree.leaves(call.answer.gradient)
    for slot, values in list(zip(candidate.layout.slots, leaves, strict=True))[::-1]:
        if not np.isfinite(values).all():
            at = slot.where(tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0]))
            message = f"on {call.case.name}, {slot.gradient_name} is not finite at {list(at)}"
            return [Finding(5, f"d{slot.role}", slot.layer, "not_finite", message)]
    return []


def _is_zero(answer: Answer) -> bool:
    return not any(np.any(leaf) for leaf in jax.tree.leaves(answer.gradient))


def _fault(kind: str, message: str) -> Finding:
    return Finding(None, "", None, kind, message)

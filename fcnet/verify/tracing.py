"""Whether a candidate in JAX means the same when it is traced, by `jax.jit` or `jax.vmap`."""

from typing import Any

import jax
import jax.numpy as jnp

from fcnet.verify.agreement import agree, distance
from fcnet.verify.candidate import Call, Candidate
from fcnet.verify.types import Case, Finding, Reference


def check_jit(candidate: Candidate, first: Call, reference: Reference) -> list[Finding]:
    """Whether compiled and plain agree; nothing is said of what cannot be traced.

    Args:
        candidate: called once more, without `jax.jit` if it is compiled, else with it.
        first: an earlier call on the user's own input.
        reference: of that input.
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
    return _compare("jit_disagrees", message, first, call, reference)


def check_vmap(
    candidate: Candidate, first: Call, other: Case, reference: Reference
) -> list[Finding]:
    """Whether `jax.vmap` over two inputs gives for the first what a call of its own does.

    Args:
        candidate: called once more, unless it cannot be traced.
        first: an earlier call on the user's own input.
        other: supplies the second x and y, of the same shapes.
        reference: of the user's own input.
    """
    params, x, y = candidate.arguments(candidate.own)
    second = candidate.arguments(other)[1:]

    def row(*_: Any) -> Any:
        xs, ys = jax.tree.map(lambda *pair: jnp.stack(pair), (x, y), second)
        results = jax.vmap(candidate.function, in_axes=(None, 0, 0))(params, xs, ys)
        return jax.tree.map(lambda leaf: leaf[0], results)

    call = candidate.run(row, candidate.own, (params, x, y))
    message = (
        "under jax.vmap the gradient differs by {:.1e} of the largest entry from that of a call "
        "of its own: the examples of a batch mix"
    )
    return _compare("vmap_disagrees", message, first, call, reference)


def _compare(
    kind: str, message: str, first: Call, call: Call, reference: Reference
) -> list[Finding]:
    if first.answer is None or call.answer is None or agree(first.answer, call.answer, reference):
        return []
    noise = distance(first.answer, call.answer)
    return [Finding(None, "", None, kind, message.format(noise))]

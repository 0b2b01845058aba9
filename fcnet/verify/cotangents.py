"""Cotangents to try a derivative rule with, and what no rule may do with them."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from fcnet.verify.claim import Claim, Point
from fcnet.verify.conclude import disagreement
from fcnet.verify.types import Answer, Finding

RANDOM, ONE_HOT = 3, 3
"""How many random and one-hot cotangents are tried."""

SCALE = -8.0
"""A cotangent times minus a power of two gives the result times that, to the last bit."""


def cotangent_points(
    own: Point, results: Sequence[np.ndarray], draw: np.random.Generator
) -> list[Point]:
    """The user's arguments with cotangents of many kinds: random ones first."""
    sizes = [x.size for x in results]

    def point(name: str, flat: np.ndarray) -> Point:
        parts = np.split(flat, np.cumsum(sizes)[:-1])
        cotangents = (part.reshape(x.shape) for part, x in zip(parts, results, strict=True))
        return Point(name, (*own.leaves, *cotangents))

    random = [draw.normal(size=sum(sizes)) for _ in range(RANDOM)]
    places = draw.integers(sum(sizes), size=ONE_HOT)
    return [
        *(point(f"random cotangent {i + 1}", flat) for i, flat in enumerate(random)),
        point(f"{SCALE:g} times random cotangent 1", SCALE * random[0]),
        point("a zero cotangent", np.zeros(sum(sizes))),
        *(
            point(f"the cotangent that is 1 at {i} only", np.eye(1, sum(sizes), i)[0])
            for i in places
        ),
    ]


def check_linear(
    claim: Claim, points: Sequence[Point], answers: Sequence[Answer | None]
) -> list[Finding]:
    """Whether the rule does with a cotangent what no derivative does."""
    one, two, _, scaled = answers[: RANDOM + 1]
    if one is None or two is None or scaled is None:
        return []
    values = jax.tree.leaves(one.gradient)
    if disagreement(claim, points[0], one, two)[0] == 0 and any(x.any() for x in values):
        return [_fault("ignores_cotangent", "the rule does not use the cotangent it is given")]
    times: Any = tuple(SCALE * x for x in values)
    if not disagreement(claim, points[RANDOM], one._replace(gradient=times), scaled)[1]:
        message = f"{SCALE:g} times the cotangent does not give {SCALE:g} times the result"
        return [_fault("not_linear", message)]
    return []


def check_traced(
    claim: Claim,
    point: Point,
    plain: Answer,
    rule: Callable[..., Any],
    ask: Callable[..., Answer | None],
) -> list[Finding]:
    """Whether the rule means the same under `jax.jit`, and for two cotangents under `jax.vmap`.

    Args:
        claim: what is right.
        point: where the rule gave `plain`.
        rule: of the arguments, and then of the cotangents.
        ask: calls another function in the rule's place.
    """
    n = len(claim.paths)

    def stacked(*leaves: Any) -> list[Array]:
        pairs = [jnp.stack([x, x / 2]) for x in map(jnp.asarray, leaves[n:])]
        both = jax.vmap(lambda *cotangents: rule(*leaves[:n], *cotangents))(*pairs)
        return [x[0] for x in both]

    findings = []
    for kind, how in (("jit", jax.jit(rule)), ("vmap", stacked)):
        answer = ask(point, False, how)
        if answer is None:
            findings.append(_fault(f"{kind}_disagrees", f"under jax.{kind} the rule fails"))
            continue
        compiled, known = (claim.compare(point, a, claim.precision) for a in (answer, plain))
        if known.ok and not compiled.ok:
            message = f"under jax.{kind} the rule gives another result, and a wrong one"
            findings.append(_fault(f"{kind}_disagrees", message))
    return findings


def _fault(kind: str, message: str) -> Finding:
    return Finding(None, "", None, kind, message)

"""Mistakes outside of the lines that go back: the biases on the way forward, the order of layers.

A slip is undone: the answers are read as those of a network and a gradient without it. There every
line can be judged as ever.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from fcnet.types import Params
from fcnet.verify.types import Answer, Answered, Case, Finding, form_finding
from fcnet.verify.unread import Unread, without_biases


class Slip(NamedTuple):
    """A mistake outside of the lines that go back, and how to undo it.

    Attributes:
        findings: what is wrong: one thing, or nothing.
        params: those with which the candidate computes, from those that it was given.
        gradient: the gradient for these, from what it returned.
    """

    findings: tuple[Finding, ...] = ()
    params: Callable[[Params], Params] = tuple
    gradient: Callable[[Params], Params] = tuple

    def undone(self, case: Case, answer: Answer) -> Answered:
        """A case and the data's part of its answer, without the slip."""
        return Answered(
            case._replace(params=self.params(case.params)),
            answer._replace(gradient=self.gradient(answer.gradient)),
        )


NO_SLIP = Slip()

SUBTRACTS_BIASES = form_finding(
    "other_description",
    "this network has z = W a - b, and check has z = W a + b: give it a function of the negative "
    "biases, which takes -b for b and returns -db for db",
)

REVERSED = form_finding(
    "leaf_order", "the gradients are in reverse order: that of the last layer stands first"
)

BIASES_SUBTRACTED = Finding(
    line=1,
    quantity="",
    layer=None,
    kind="bias_subtracted",
    message="z = W a - b, but db is that of z = W a + b. It must be W a + b, or else db = -delta.",
)

UNUSED_BIASES = form_finding(
    "other_description",
    "this network has z = W a, and check has z = W a + b: the biases are not used on the way "
    "forward. Add them there, or give check a function of the weights alone",
)

IN_ONE_LAYER = (
    (0, "bias_not_added", "lacks the bias"),
    (-1, "bias_subtracted", "has the bias subtracted"),
)
"""What a bias is multiplied by in z[k]; the kind, and a phrase to follow z[k]."""


def slips_of(r: int, zero: Unread) -> list[Slip]:
    """The slips in a network of r layers, none and then the likeliest first.

    `zero` are the db that are always 0.
    """
    every = range(1, r + 1)
    negative, none = (partial(_with_biases, factor=c, layers=every) for c in (-1, 0))
    return [
        NO_SLIP,
        Slip((SUBTRACTS_BIASES,), negative, negative),
        Slip((REVERSED,), gradient=lambda layers: layers[::-1]),
        *(
            Slip((_forward_finding(k, *row),), partial(_with_biases, factor=c, layers=[k]))
            for c, *row in IN_ONE_LAYER
            for k in every
        ),
        Slip((BIASES_SUBTRACTED,), negative),
        Slip((UNUSED_BIASES,), none, partial(without_biases, unread=zero)),
    ]


def _forward_finding(k: int, kind: str, says: str) -> Finding:
    return Finding(1, "", k, kind, f"z[{k}] {says}. It must be W[{k}] a[{k - 1}] + b[{k}].")


def _with_biases(params: Params, factor: int, layers: Sequence[int]) -> Params:
    """The parameters with the biases of some layers multiplied by a factor."""
    return tuple(
        layer if layer.b is None or k not in layers else layer._replace(b=factor * layer.b)
        for k, layer in enumerate(params, start=1)
    )

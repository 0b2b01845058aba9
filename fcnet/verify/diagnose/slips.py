"""Mistakes outside of the backward lines: inputs, biases of the forward pass, order of layers.

A slip is undone: the answers are read as those of a network and a gradient without it. There every
line can be judged as ever.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from fcnet.types import Activation, Params
from fcnet.verify.backward_pass import BackwardPass
from fcnet.verify.diagnose.descriptions import forward
from fcnet.verify.diagnose.pattern import is_product
from fcnet.verify.judge import Trial
from fcnet.verify.types import Answer, Answered, Case, Finding, Format, form_finding
from fcnet.verify.unread import Unread, without_biases


class Slip(NamedTuple):
    """A mistake outside of the backward lines, and how to undo it.

    Attributes:
        findings: what is wrong: one thing, or nothing.
        params: those with which the candidate computes, from those that it was given.
        gradient: the gradient for these, from what it returned.
        inputs: those with which it computes, from those that it was given.
    """

    findings: tuple[Finding, ...] = ()
    params: Callable[[Params], Params] = tuple
    gradient: Callable[[Params], Params] = tuple
    inputs: Callable[[np.ndarray], np.ndarray] = np.asarray

    def undone(self, case: Case, answer: Answer) -> Answered:
        """A case and the data's part of its answer, without the slip."""
        return Answered(
            case._replace(params=self.params(case.params), X=self.inputs(case.X)),
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

SCALED_INPUTS = (
    "this network computes with {0} instead of x, and check has z = W x + b: give check the inputs "
    "after that change, and a function of them"
)

NEAR = 1e-3
"""How near, relatively, the inputs with which it computes are to those of a slip."""

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


def possible_slips(answered: Sequence[Answered]) -> list[Slip]:
    """No slip, and those that the gradients of the data's part allow; nothing without an answer."""
    if not answered:
        return []
    params, gradients = answered[0].case.params, [answer.gradient for _, answer in answered]
    every = enumerate(zip(*gradients, strict=True), start=1)
    zero = frozenset(("b", k) for k, layers in every if not any(np.any(b) for _, b in layers))
    slips = [*slips_of(len(params), zero), *scaled_inputs(answered)]
    return [slip for slip in slips if _shapes(slip.gradient(gradients[0])) == _shapes(params)]


@np.errstate(all="ignore")  # a wrong candidate may return any values
def scaled_inputs(answered: Sequence[Answered]) -> list[Slip]:
    """That it computes with s x + t instead of x, for numbers s and t, if it does.

    Of one example, dW^[1] = db^[1] x^T shows the x with which it computes.
    """
    given, used = [np.zeros(0)], [np.zeros(0)]
    for case, answer in answered:
        dW, db = answer.gradient[0]
        if case.n == 1 and db is not None and np.any(db):
            given.append(case.X[0])
            used.append(np.asarray(db @ dW / (db @ db)))
    x, seen = np.concatenate(given), np.concatenate(used)
    if not np.isfinite(seen).all() or not x.any():
        return []
    s, t = x @ seen / (x @ x), 0.0
    if not _are_near(s * x, seen):
        (s, t), *_ = np.linalg.lstsq(np.stack([x, np.ones_like(x)], axis=1), seen)
    if _are_near(x, seen) or not _are_near(s * x + t, seen):
        return []
    shift = f" {'-' if t < 0 else '+'} {abs(t):.6g}" if t else ""
    finding = form_finding("other_description", SCALED_INPUTS.format(f"{s:.6g} x{shift}"))
    return [Slip((finding,), inputs=lambda X: s * X + t)]


def _are_near(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.linalg.norm(one - other) <= NEAR * np.linalg.norm(other))


def likely_slips(
    slips: Sequence[Slip], activation: Activation, answers: Sequence[Answered], format: Format
) -> list[Slip]:
    """The slips without which dW = delta a^T holds in most layers above the first.

    That product shows the activations below, and so the way forward, whatever delta is. One layer
    alone has none below.
    """
    if not slips or answers[0].case.r == 1:
        return []
    products = [_products(slip, activation, answers, format) for slip in slips]
    pairs = zip(slips, products, strict=True)
    return [slip for slip, n in pairs if n == max(products) and slip is not NO_SLIP]


@np.errstate(all="ignore")  # a wrong candidate may return any values
def _products(
    slip: Slip, activation: Activation, answers: Sequence[Answered], format: Format
) -> int:
    """In how many layers above the first dW = delta a^T holds on all single examples."""
    layers = set(range(1, answers[0].case.r))
    singles = (answered for answered in answers if answered.case.n == 1)
    for case, answer in (slip.undone(*answered) for answered in singles):
        passed = forward(activation, case)
        for k in list(layers):
            dW, (a,) = np.asarray(answer.gradient[k].W), passed.a[k]
            if not is_product(dW, None, a, max(format.u, format.lost)):
                layers.remove(k)
    return len(layers)


def ignores_biases(subject: BackwardPass, trials: Sequence[Trial]) -> bool:
    """Whether no dW depends on any bias.

    With hidden layers, dW^[2] does through a^[1], however wrong its delta is.
    """
    if subject.candidate.own.r == 1:
        return False
    for trial in trials:
        case, before = trial.case, trial.answer
        after = subject.answer(case._replace(params=_with_other_biases(case.params)))
        if before.is_empty or after is None or not _have_same_weights(before, after):
            return False
    return bool(trials) and any(b is not None for _, b in trials[0].answer.gradient)


def _with_other_biases(layers: Params) -> Params:
    return tuple(layer if layer.b is None else layer._replace(b=layer.b + 1) for layer in layers)


def _have_same_weights(one: Answer, other: Answer) -> bool:
    pairs = zip(one.gradient, other.gradient, strict=True)
    return all(np.array_equal(a.W, b.W) for a, b in pairs)


def _shapes(layers: Params) -> list[tuple[int, ...]]:
    return [layer.W.shape for layer in layers]


def _forward_finding(k: int, kind: str, says: str) -> Finding:
    return Finding(1, "", k, kind, f"z[{k}] {says}. It must be W[{k}] a[{k - 1}] + b[{k}].")


def _with_biases(params: Params, factor: int, layers: Sequence[int]) -> Params:
    """The parameters with the biases of some layers multiplied by a factor."""
    return tuple(
        layer if layer.b is None or k not in layers else layer._replace(b=factor * layer.b)
        for k, layer in enumerate(params, start=1)
    )

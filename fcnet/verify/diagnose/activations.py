"""Networks whose hidden layers have different activations, as dW = delta a^T shows them."""

from collections.abc import Sequence

import numpy as np

from fcnet.activations import ACTIVATIONS
from fcnet.types import Activation
from fcnet.verify.diagnose.pattern import is_product
from fcnet.verify.truth.functions import activated
from fcnet.verify.types import FORMATS, Answered, Finding, Format, form_finding

MESSAGE = (
    "the hidden layers of this network have different activations ({layers}), and check has one "
    "for all of them, so no line was judged: use fcnet.check_gradient, which takes any function"
)


@np.errstate(all="ignore")  # a wrong candidate may return any values
def different_activations(
    answered: Sequence[Answered], described: Activation, format: Format
) -> list[Finding]:
    """That the hidden layers have different activations, however wrong delta is.

    Args:
        answered: the data's part of the answers.
        described: the activation of all hidden layers, as the user says.
        format: of the answers.
    """
    # Functions of JAX compute in float32, also those in a program of NumPy's float64.
    u = max(format.u, format.lost, FORMATS["float32"].u)
    singles = [one for one in answered if one.case.n == 1]
    hidden = range(1, singles[0].case.r) if singles else range(0)
    # W z for W a is a mistake in line 5, and no sign of another activation.
    rows = dict.fromkeys((described, *ACTIVATIONS.values()))
    rows.pop(ACTIVATIONS["identity"], None)
    a = [case.X[0] for case, _ in singles]
    found: list[Activation] = []
    for k in hidden:
        layers = [case.params[k - 1] for case, _ in singles]
        z = [W @ x + b for (W, b), x in zip(layers, a, strict=True)]
        dW = [np.asarray(answer.gradient[k].W) for _, answer in singles]
        for sigma in rows:
            a = [activated(sigma, each) for each in z]
            if all(is_product(each, None, x, u) for each, x in zip(dW, a, strict=True)):
                found.append(sigma)
                break
        else:
            return []
    if len(set(found)) < 2:
        return []
    layers_of = ", ".join(f"{sigma.name} in layer {k}" for k, sigma in enumerate(found, start=1))
    return [form_finding("other_description", MESSAGE.format(layers=layers_of))]

"""Runs the protocol tests of the checker on a candidate for batches."""

import jax
import jax.numpy as jnp
import numpy as np

from fcnet import Layer
from fcnet.verify.binding import bind
from fcnet.verify.protocol import Protocol, check_protocol
from fcnet.verify.returned_loss import check_loss
from fcnet.verify.types import Case, Finding
from support.correct_candidates import LAYOUTS, ReLU, data, network, reference_of

N = 5


def check(function, library=np.asarray, name="names", n=N, cost=ReLU, dtype=np.float64):
    """The protocol of a candidate on batches, in one library's arrays."""
    with jax.enable_x64(library is jnp.asarray):
        params = jax.tree.map(library, LAYOUTS[name].write(network(dtype=dtype)))
        x, y = map(library, data(n, dtype=dtype))
    candidate = bind(function, params, x, y, cost, batched=True)
    pairs, (X, Y) = network(dtype=dtype, seed=3), data(n, dtype=dtype, seed=4)
    layers = tuple(Layer(*(a.astype(float) for a in pair)) for pair in pairs)
    return protocol_of(candidate, Case("", layers, X.astype(float), Y.astype(float)), cost)


def protocol_of(candidate, other, cost=ReLU):
    references = [reference_of(cost, case, candidate.format.u) for case in (candidate.own, other)]
    return check_protocol(candidate, references[0], other, references[1])


def kinds(protocol: Protocol) -> list[str]:
    return [finding.kind for finding in protocol.findings]


def loss_findings(protocol: Protocol, cost=ReLU) -> list[Finding]:
    return check_loss(protocol.own, reference_of(cost, protocol.own.case, 2.0**-53))

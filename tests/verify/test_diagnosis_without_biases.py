"""Planted faults in networks without biases: each is placed where it is.

There dW alone shows delta. So in layer 1 a fault of delta and one of dW may give the same numbers;
in all others the layer below tells them apart.
"""

from functools import cache

import pytest
from support.diagnosis_evidence import answer_of, cases, cost_of, reference_of
from support.faults import FAULTS
from support.faults_batch import BATCH_FAULTS
from support.faulty_backprop import candidate
from support.scored_diagnoses import BATCHED, LINES, NETWORKS, SINGLE, layers

from fcnet import Layer
from fcnet.verify.diagnose.blame import Observation, diagnose

pytestmark = pytest.mark.untyped

ROWS = {"single": (FAULTS, SINGLE), "batched": (BATCH_FAULTS, BATCHED)}


def without_biases(layers):
    return tuple(Layer(layer.W, None) for layer in layers)


@cache
def known(network, rows):
    """Inputs with all biases 0, and what is right there."""
    setting, sizes = NETWORKS[network]
    zeroed = [
        case._replace(params=tuple(Layer(W, 0 * b) for W, b in case.params))
        for case in cases(setting, sizes, 0, rows)
    ]
    rights = [reference_of(setting, case) for case in zeroed]
    return [
        (case, right._replace(gradient=without_biases(right.gradient)))
        for case, right in zip(zeroed, rights, strict=True)
    ]


def evidence(i, site, rows):
    batched = max(rows) > 1
    backward = candidate(NETWORKS[i][0], [site], batched)

    def answer(case):
        own = answer_of(backward, case, batched)
        return own._replace(gradient=without_biases(own.gradient))

    def alone(case):
        n = len(case.X) if len(case.X) > 1 else 0
        pairs = [(case.X[j : j + 1], case.Y[j : j + 1]) for j in range(n)]
        return tuple(answer(case._replace(X=x, Y=y)) for x, y in pairs)

    return [Observation(case, right, answer(case), alone(case)) for case, right in known(i, rows)]


def is_wrong(items):
    return any(
        not (abs(got.W - right.W) <= 10 * allowed.W).all()
        for item in items
        for got, right, allowed in zip(
            item.answer.gradient, item.reference.gradient, item.reference.tolerance, strict=True
        )
    )


@pytest.mark.parametrize("every", [pytest.param(7, marks=pytest.mark.slow), 80])
@pytest.mark.parametrize("kind", ROWS)
def test_faults_are_placed_without_biases(kind, every):
    faults, rows = ROWS[kind]
    places = [
        (i, (fault, k))
        for i in range(len(NETWORKS))
        for fault in faults
        if fault.quantity != "db"
        for k in layers(i, fault)
    ]
    tried, misplaced = 0, []
    for i, (fault, k) in places[::every]:
        items = evidence(i, (fault, k), rows)
        if not is_wrong(items):
            continue
        setting, sizes = NETWORKS[i]
        names = {("W", j): f"dW{j}" for j in range(1, len(sizes))}
        found = diagnose(cost_of(setting), items, names)
        places_found = [(f.line, f.quantity, f.layer) for f in found]
        line = LINES[fault.quantity][k < len(sizes) - 1]
        alike = [(line, fault.quantity, k)]
        alike += [(2 if len(sizes) == 2 else 4, "delta", 1), (5, "dW", 1)] if k == 1 else []
        tried += 1
        if len(found) != 1 or places_found[0] not in alike:
            misplaced.append((i, fault.kind, k, places_found))
    assert tried >= 0.8 * len(places[::every])
    assert not misplaced

"""The table of properties: each is seen where it holds, and kept by moves."""

import numpy as np
import pytest
from support.structured_programs import one_hot, orthogonal, softmax, spd, symmetric, unit

from fcnet.verify.properties import PROPERTIES, leave, move, properties_of


def examples() -> dict[str, np.ndarray]:
    """An array for each property, by the words of the table."""
    r = np.random.default_rng(0)
    return {
        "{} is positive": r.uniform(0.01, 2, size=9),
        "{} is negative": -r.uniform(0.01, 2, size=9),
        "no entry of {} is negative": np.array([0, 0.3, 2.5, 0, 7]),
        "the entries of {} are in [-1, 1]": np.array([0.99, -0.98, 1.0, 0.97]),
        "{} is in ascending order": np.array([1.0, 1.01, 1.02, 5.5]),
        "{} is in descending order": np.array([5.0, 4.9, 4.8, 1.5]),
        "{} is lower triangular": np.tril(r.normal(size=(4, 4))),
        "{} is upper triangular": np.triu(r.normal(size=(4, 4))),
        "{} is diagonal": np.diag(r.normal(size=4)),
        "{} is symmetric": symmetric(r, 4),
        "{} is antisymmetric": np.array([[0, 1.5, -0.3], [-1.5, 0, 2.1], [0.3, -2.1, 0]]),
        "{} is positive definite": spd(r, 5),
        "all of {} sums to 1": softmax(r.normal(size=6)),
        "the rows of {} sum to 1": softmax(r.normal(size=(2, 4, 3))),
        "the columns of {} sum to 1": softmax(r.normal(size=(3, 4))).T,
        "the norm of {} is 1": unit(r.normal(size=6)),
        "the rows of {} have norm 1": unit(r.normal(size=(5, 3))),
        "the columns of {} have norm 1": unit(r.normal(size=(5, 3)), axis=0),
        "{} is orthogonal": orthogonal(r, 4),
        "the zeros of {} stay 0": np.array([[1.5, 0.0, 2.5], [0.0, -0.5, 0.0]]),
        "the entries of {} are 0 or 1": one_hot(r, 5, 3),
        "the entries of {} are 0 or {c:g}": 2.5 * one_hot(r, 5, 3),
        "the entries of {} are integers": np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0]),
        "{} is 0": np.zeros((3, 2)),
    }


FIXED = ("the entries of {} are 0 or 1", "the entries of {} are 0 or {c:g}", "{} is 0")
"""No other array near it has the property."""


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("property", PROPERTIES, ids=lambda property: property.says)
def test_moves_keep_what_holds(property, dtype):
    x = examples()[property.says].astype(dtype).astype(float)
    u = {"float64": 2.0**-53, "float32": 2.0**-24}[dtype]
    kept = properties_of(x, u)
    assert property in kept
    moves = [move(x, 0.1, np.random.default_rng(seed), kept, u) for seed in range(5)]
    for moved in moves:
        assert set(kept) <= set(properties_of(moved, u))
        assert (moved == x).all() == (property.says in FIXED)
    others = [leave(x, 0.1, np.random.default_rng(seed), (), u) for seed in range(5)]
    if property.says not in ("{} is in ascending order", "{} is negative", "{} is positive"):
        assert not all(property.holds(other, u) for other in others)


def test_every_property_has_an_example():
    assert sorted(examples()) == sorted(property.says for property in PROPERTIES)


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (np.ones(4), []),
        (np.full((3, 3), 2.5), []),
        (np.full(4, 0.25), ["all of w sums to 1"]),
        (np.array(0.0), ["w is 0"]),
        (np.array([0.3, -7.2]), []),
        (np.array([[0.5, 3.0], [2.0, -1.0]]), []),
        (np.zeros(3), ["w is 0"]),
    ],
)
def test_first_values_and_chance_are_no_structure(x, says):
    assert [property.of("w", x) for property in properties_of(x, 2.0**-53)] == says

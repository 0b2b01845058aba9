"""No correct program is called wrong for how it rounds, and a small single error is seen."""

import numpy as np
import pytest
from support.judge_cases import answer, case, cost, format_in, judge, planted, right
from support.rounded_backprop import DTYPES, Variant, variants

from fcnet import Loss
from fcnet.verify.compare import Comparison, compare, persistent_errors
from fcnet.verify.types import FORMATS, Cost

COMBINATIONS = [
    ("relu", "squared_error"),
    ("tanh", "squared_error"),
    ("sigmoid", "logistic"),
    ("tanh", "softmax_cross_entropy"),
]

SMALLEST_CAUGHT = {"float64": 1e-12, "float32": 1e-4, "bfloat16": 5e-2}


def groups(
    sizes: tuple[int, ...], activation: str, loss: str, dtype: str, seeds: int
) -> dict[Variant, list[Comparison]]:
    """The comparisons of every variant on inputs with 1 to 8 examples, some with exact ties."""
    p = cost(activation, loss)
    found: dict[Variant, list[Comparison]] = {}
    for seed in range(seeds):
        c = case(sizes, (1, 2, 7, 8)[seed % 4], seed, dtype, loss)
        if seed % 4 == 3:
            c.X[-1] = 0
            for _, b in c.params[:-1]:
                b[:] = 0
        known = {at: right(p, c, at) for at in {format_in(v, dtype) for v in variants(dtype)}}
        for v in variants(dtype):
            comparison = compare(answer(v, p, c, dtype), known[format_in(v, dtype)], c.name)
            found.setdefault(v, []).append(comparison)
    return found


def assert_all_right(found: dict[Variant, list[Comparison]]) -> None:
    for variant, comparisons in found.items():
        for comparison in comparisons:
            assert comparison.ok, (variant, comparison.leaves)
        assert not persistent_errors(comparisons), variant
        assert any(any(comparison.informative) for comparison in comparisons)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("activation", "loss"), COMBINATIONS[:3])
def test_correct_programs_are_right_however_they_round(
    activation: str, loss: str, dtype: str
) -> None:
    assert_all_right(groups((4, 3, 1), activation, loss, dtype, seeds=8))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("activation", "loss"), COMBINATIONS)
@pytest.mark.parametrize("sizes", [(6, 5, 4, 3, 2), (20, 30, 30, 5), (50, 100, 100, 100, 5)])
def test_no_false_alarm_in_a_long_campaign(
    sizes: tuple[int, ...], activation: str, loss: str, dtype: str
) -> None:
    assert_all_right(groups(sizes, activation, loss, dtype, seeds=8 if sizes[0] < 50 else 4))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_hundred_thousand_parameters_cause_no_false_alarm(dtype: str) -> None:
    assert_all_right(groups((256, 256, 128, 10), "tanh", "softmax_cross_entropy", dtype, seeds=2))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_one_wrong_entry_is_seen_on_one_input(dtype: str) -> None:
    p, c = cost("relu"), case((4, 3, 1), seed=4, dtype=dtype)
    variant = Variant("wide", 0)
    known = right(p, c, FORMATS[dtype])
    good = answer(variant, p, c, dtype)
    bad = planted(good, SMALLEST_CAUGHT[dtype])
    assert compare(good, known, c.name).ok
    comparison = compare(bad, known, c.name)
    assert not comparison.ok
    assert [leaf.error > leaf.tolerance for leaf in comparison.leaves] == [
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_in_bfloat16_one_wrong_entry_is_seen_on_eight_inputs(activation: str) -> None:
    loss = "logistic" if activation == "sigmoid" else "squared_error"
    p, at = cost(activation, loss), (1, 2)
    cases = [case((4, 3, 1), 7, seed, "bfloat16", loss) for seed in range(8)]
    good, bad = [], []
    for c in cases:
        known = right(p, c, FORMATS["bfloat16"])
        a = answer(Variant("wide", 0), p, c, "bfloat16")
        good.append(compare(a, known, c.name))
        bad.append(compare(planted(a, SMALLEST_CAUGHT["bfloat16"], at), known, c.name))
    assert all(comparison.ok for comparison in good)
    assert not persistent_errors(good)
    found = persistent_errors(bad)
    assert not all(comparison.ok for comparison in bad) or [f.index for f in found] == [at]


def test_the_scale_of_the_loss_changes_nothing() -> None:
    def scaled(factor: float) -> Cost:
        plain = cost("tanh")
        loss = plain.objective.loss
        scaled = Loss("scaled", lambda o, y: factor * loss.value(o, y), loss.derivative)
        return plain._replace(objective=plain.objective._replace(loss=scaled))

    c = case((4, 3, 1), seed=2)
    judgements = []
    for factor in (2.0**-20, 1.0, 2.0**20):
        p, known = cost("tanh"), right(scaled(factor), c, FORMATS["float64"])
        good = answer(Variant("in order", 0), p, c, "float64")
        for a in (good, planted(good, 1e-13), planted(good, 1e-15)):
            layers = tuple(type(layer)(*(factor * x for x in layer)) for layer in a.gradient)
            judgements.append(compare(a._replace(gradient=layers), known, c.name).worst)
    first, *rest = np.reshape(judgements, (3, 3))
    assert first[0] < 1 < first[1]
    for other in rest:  # a power of two rounds nothing
        np.testing.assert_allclose(other, first, rtol=1e-6)


def test_a_wrong_formula_is_wrong_in_every_format_in() -> None:
    for dtype in DTYPES:
        p, c = cost("tanh"), case((4, 3, 1), seed=3, dtype=dtype)
        a = answer(Variant("in pairs", 0), p, c, dtype)
        doubled = a._replace(gradient=tuple(type(x)(2 * x.W, x.b) for x in a.gradient))
        comparison = compare(doubled, right(p, c, FORMATS[dtype]), c.name)
        assert not comparison.ok, dtype
        assert judge(Variant("in pairs", 0), p, c, dtype).ok

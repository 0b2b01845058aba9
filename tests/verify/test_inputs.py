"""The varied inputs: special as they say, exact in the user's dtype, harmless to what is right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.correct_candidates import ReLU, alone, cost, data, gradient, jitted, network, one

from fcnet import LOSSES, Layer, Loss, check, forward_trace
from fcnet.verify.binding import bind
from fcnet.verify.candidate import Candidate
from fcnet.verify.inputs import LARGEST_O, LARGEST_Z, USUAL_N, WIDEST_N, varied_inputs
from fcnet.verify.types import Case

SIZES = (6, 5, 4, 3)
N = 9
DTYPES = ("float64", "float32", "float16", "bfloat16")


def candidate_of(
    sizes=SIZES, dtype="float64", batched=True, choice=ReLU, targets=None, function=None
) -> Candidate:
    kind = jnp.dtype(dtype)
    X, Y = data(N, sizes, kind)
    Y = Y if targets is None else targets
    function = alone() if function is None else function
    if not batched:
        function, X, Y = one(function), X[0], Y[0]
    return bind(function, network(sizes, kind), X, Y, choice, batched=batched)


def inputs_of(key, choice=ReLU, **choices) -> list[Case]:
    return varied_inputs(candidate_of(choice=choice, **choices), choice, key)


def named(cases: list[Case], word: str) -> Case:
    (case,) = (case for case in cases if word in case.name)
    return case


def pre_activations(case: Case, choice=ReLU) -> list[np.ndarray]:
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, case.params)
        trace = jax.vmap(lambda x: forward_trace(params, x, **choice.objective.sigmas))(
            jnp.asarray(case.X)
        )
    return [np.asarray(z) for z in trace.z]


@pytest.mark.parametrize("batched", [True, False])
def test_a_small_set_of_the_same_sizes(key, batched):
    cases = inputs_of(key, batched=batched)
    assert len(cases) == (10 if batched else 8)
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        assert [W.shape for W, _ in case.params] == [(5, 6), (4, 5), (3, 4)]
        assert case.X.shape[1:] == (6,)
        assert case.Y.shape == (len(case.X), 3)
    assert {len(case.X) for case in cases} == ({1, 5, USUAL_N, N} if batched else {1})
    assert len(cases[0].X) == (N if batched else 1)


def test_the_key_decides(key):
    one_set, again = inputs_of(key), inputs_of(key)
    others = inputs_of(jax.random.fold_in(key, 1))
    for case, same, other in zip(one_set, again, others, strict=True):
        jax.tree.map(np.testing.assert_array_equal, case[1:], same[1:])
        assert case.name == same.name == other.name
        assert not np.array_equal(case.params[0].W, other.params[0].W)


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_exact_in_the_users_dtype(key, dtype):
    for case in inputs_of(key, dtype=dtype):
        for leaf in jax.tree.leaves(case[1:]):
            assert leaf.dtype == np.float64
            np.testing.assert_array_equal(leaf, leaf.astype(jnp.dtype(dtype)).astype(float))


@pytest.mark.parametrize("batched", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    "sizes",
    [SIZES, pytest.param((200, 30, 30, 10), marks=pytest.mark.slow), (2,) * 20 + (1,)],
)
def test_a_right_candidate_overflows_nowhere(key, sizes, dtype, batched):
    candidate = candidate_of(
        sizes, dtype, batched, function=alone(jitted if dtype == "bfloat16" else gradient)
    )
    for case in varied_inputs(candidate, ReLU, key):
        answer = candidate.call(case).answer
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(answer.gradient)), case.name


@pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])
def test_pre_activations_and_outputs_are_bounded(key, activation):
    choice = cost(activation)
    for case in inputs_of(key, choice=choice):
        *hidden, output = pre_activations(case, choice)
        assert max(abs(z).max() for z in hidden) <= LARGEST_Z * 1.001
        assert abs(output).max() <= LARGEST_O * 1.001


@pytest.mark.parametrize("batched", [True, False])
def test_most_inputs_tell_something_about_every_array(key, batched):
    candidate = candidate_of(batched=batched)
    cases = varied_inputs(candidate, ReLU, key)
    answers = [candidate.call(case).answer for case in cases]
    telling = [all(np.any(leaf) for leaf in jax.tree.leaves(a.gradient)) for a in answers]
    assert sum(telling) >= len(cases) - (1 if batched else 3)


@pytest.mark.parametrize("batched", [True, False])
def test_exact_ties(batched):
    alive = []
    for seed in range(6):
        case = named(inputs_of(jax.random.key(seed), batched=batched), "exact ties")
        *hidden, output = pre_activations(case)
        assert not any(z[:, 0].any() for z in hidden)
        assert not any(b.any() for _, b in case.params)
        alive.append(all(z[0, 1:].any() for z in hidden) and output[0].any())
        if batched:
            assert not case.X[-1].any()
            assert case.X[:-1].all()
            assert not any(z[-1].any() for z in hidden)
    assert sum(alive) >= 4  # all units of a layer may be dead by chance


def test_one_hidden_unit_stays_alive_beside_ties(key):
    case = named(inputs_of(key, sizes=(3, 1, 2)), "exact ties")
    assert case.params[0].W.any()


@pytest.mark.parametrize("batched", [True, False])
def test_dead_units(key, batched):
    *hidden, _ = pre_activations(named(inputs_of(key, batched=batched), "dead units"))
    for z in hidden:
        assert (z[:, : z.shape[1] // 2] < 0).all()
    assert (hidden[0][:, 2:] > 0).any()


@pytest.mark.parametrize("batched", [True, False])
def test_saturated_units(key, batched):
    tanh = cost("tanh")
    case = named(inputs_of(key, choice=tanh, batched=batched), "saturated")
    *hidden, _ = pre_activations(case, tanh)
    for z in hidden:
        half = z[:, : z.shape[1] // 2]
        assert (abs(half) > 2).all()
        assert (half[:, 0] > 0).all()
    assert (hidden[0][:, 1] < 0).all()


def test_repeated_examples(key):
    case = named(inputs_of(key), "repeated examples")
    assert np.unique(case.X, axis=0).shape[0] == 4
    assert np.unique(case.Y, axis=0).shape[0] == USUAL_N


def test_sizes_of_examples(key):
    cases = inputs_of(key)
    norms = np.linalg.norm(named(cases, "very different size").X, axis=1)
    assert norms.max() / norms.min() > 1000
    assert abs(named(cases, "large input").X).mean() > 20
    assert abs(named(cases, "tiny input").X).max() < 0.01
    assert not named(inputs_of(key, batched=False), "zeros").X.any()


@pytest.mark.parametrize("sizes", [(3, 100, 1), (3, 1, 1)])
def test_no_layer_to_match_is_no_input(key, sizes):
    assert WIDEST_N < 100
    assert len(inputs_of(key, sizes=sizes)) == 9


@pytest.mark.parametrize("loss", LOSSES)
def test_targets_suit_the_loss(key, loss):
    choice = cost(loss=loss)
    own = np.eye(3)[np.arange(N) % 3]
    for case in inputs_of(key, choice=choice, targets=own):
        assert choice.objective.loss.labels.accepts(jnp.asarray(case.Y)).all()
    many = np.concatenate([case.Y for case in inputs_of(key, choice=choice, targets=own)])
    assert len(np.unique(many, axis=0)) >= 3


def test_targets_of_another_loss_are_drawn_from_the_users_own(key):
    hinge = Loss(
        "hinge", lambda o, y: jnp.maximum(0, 1 - o * y).sum(), lambda o, y: -y * (o * y < 1)
    )
    own = np.random.default_rng(0).choice([-1.0, 1.0], (N, 3))
    rows = {tuple(row) for row in own}
    for case in inputs_of(key, choice=cost(loss=hinge), targets=own):
        assert {tuple(row) for row in case.Y} <= rows


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.bool_])
def test_whole_numbers_stay_whole(key, kind):
    for case in inputs_of(key, targets=np.ones((N, 3), kind)):
        np.testing.assert_array_equal(case.Y, case.Y.astype(kind))
    labels = np.arange(N) % 3
    for case in inputs_of(key, targets=labels):
        assert np.all(np.sort(case.Y, axis=1) == [0, 0, 1])


@pytest.mark.untyped
def test_a_key_is_needed():
    with pytest.raises(TypeError, match="key must come from"):
        inputs_of(0)


def test_layers_are_the_notes(key):
    assert all(isinstance(layer, Layer) for case in inputs_of(key) for layer in case.params)


@pytest.mark.parametrize("key", [None, jax.random.key(0)], ids=["by default", "of seed 0"])
def test_an_example_of_the_users_from_seed_0_is_no_derived_input(key):
    """Where both draw the same W, the gradient is the same for both: it does not ignore W."""
    W = np.random.default_rng(0).normal(size=(1, 2))

    def backward(params, x, y):
        return [2 * np.outer(params[0] @ x - y, x)]

    report = check(backward, [W], np.array([1.0, 2.0]), np.array([0.5]), key=key)
    assert [finding.kind for finding in report.findings] == ["factor_2"]

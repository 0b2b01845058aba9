"""Every public function is the same under jit and vmap, and a second call traces nothing."""

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.problems import assert_close
from support.public_calls import ARRAYS, PURE, good_calls

import fcnet
from fcnet.keys import is_key

SEEDS = (0, 1, 2)
ROUNDING = 1e-13
BATCHED = {"mean_loss", "batch_backprop"}  # they use vmap, which traces unless it is under jit


def traced_and_static(name: str, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    call = good_calls(seed)[name]
    traced = {key: value for key, value in call.items() if key in ARRAYS}
    return traced, {key: value for key, value in call.items() if key not in ARRAYS}


def stacked(trees: list[Any]) -> Any:
    """NumPy stacks all but keys, which only JAX can."""
    return jax.tree.map(lambda *leaves: (jnp if is_key(leaves[0]) else np).stack(leaves), *trees)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", PURE)
def test_jit_changes_nothing_and_vmap_is_a_loop(name: str) -> None:
    eager = partial(getattr(fcnet, name), **traced_and_static(name)[1])
    function = jax.jit(eager)
    calls = [traced_and_static(name, seed)[0] for seed in SEEDS]
    one_by_one = [function(**call) for call in calls]
    assert_close(one_by_one[0], eager(**calls[0]), ROUNDING)
    at_once = jax.jit(jax.vmap(lambda call: function(**call)))(stacked(calls))
    assert_close(at_once, stacked(one_by_one), ROUNDING)


@pytest.mark.parametrize("name", PURE)
def test_under_jit_other_values_trace_nothing_anew(name: str) -> None:
    chex.clear_trace_counter()
    counted = chex.assert_max_traces(getattr(fcnet, name), n=1)
    once = jax.jit(partial(counted, **traced_and_static(name)[1]))
    for seed in SEEDS:
        once(**traced_and_static(name, seed)[0])


@pytest.mark.parametrize("name", [name for name in PURE if name not in BATCHED])
def test_a_second_call_traces_nothing(name: str) -> None:
    function = getattr(fcnet, name)
    function(**good_calls(0)[name])
    again = good_calls(1)[name]
    with jax.no_tracing():
        function(**again)


@pytest.mark.parametrize(
    "name",
    [
        "sample_batch",
        "batch_backprop",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("minibatch_sgd", "fit", "check")),
    ],
)
def test_no_array_is_promoted_to_another_rank(name: str) -> None:
    call = good_calls()[name]
    if "loss" in call:
        call["loss"] = "squared_error"
    with jax.numpy_rank_promotion("raise"):
        getattr(fcnet, name)(**call)
        with pytest.raises(ValueError, match="rank_promotion"):
            jnp.ones((2, 2)) + jnp.ones(2)


def test_tracing_is_noticed() -> None:
    with jax.no_tracing(), pytest.raises(RuntimeError, match="re-tracing"):
        jax.jit(lambda x: x + 1)(1.0)
    chex.clear_trace_counter()
    once = jax.jit(chex.assert_max_traces(lambda x: x + 1, n=1))
    once(jnp.ones(1))
    with pytest.raises(AssertionError):
        once(jnp.ones(2))

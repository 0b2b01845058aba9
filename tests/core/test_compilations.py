"""What a second call of a public function compiles: nothing."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import pytest
from jax import lax
from support.problems import compilations
from support.public_calls import good_calls
from support.room_calls import room_calls

import fcnet

CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    **{name: (getattr(fcnet, name), call) for name, call in good_calls().items()},
    **room_calls(),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_second_call_compiles_nothing(name: str) -> None:
    function, call = CALLS[name]
    function(**call)
    assert compilations(lambda: function(**call)) == 0
    plt.close("all")


def test_a_loop_of_a_new_function_is_compiled_for_each_call() -> None:
    """The planted defect: JAX remembers programs by their function."""
    X = jnp.ones((3, 2))

    def sums() -> jax.Array:
        return lax.map(partial(jnp.sum, axis=0), X)

    sums()
    assert compilations(sums) > 0

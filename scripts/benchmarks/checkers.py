"""Gradient checkers, each called as its documentation shows, with its default settings.

A row of `CHECKERS` takes a `Claim` and returns whether the checker raises an alarm. A checker
differentiates the loss as a function of all parameters in one vector: the same NumPy function for
all of them, and the same function in JAX for JAX's.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fcnet

SCIPY_THRESHOLD = 1e-4
"""`scipy.optimize.check_grad` returns an error and no verdict. With a threshold of 1e-6, it would
call every correct float32 gradient wrong."""


class Claim(NamedTuple):
    """A candidate and the point and the problem that it is checked on.

    Attributes:
        network: the parameters, pairs (W, b).
        X, Y: the examples and their targets.
        loss: the mean loss of (pairs, X, Y), in NumPy and in their dtype.
        jax_loss: the same in JAX.
        backward: the candidate, which returns the gradient of the mean loss.
        problem: the keywords that `fcnet.check` needs.
    """

    network: list[tuple[np.ndarray, np.ndarray]]
    X: np.ndarray
    Y: np.ndarray
    loss: Callable[..., Any]
    jax_loss: Callable[..., Any]
    backward: Callable[..., Any]
    problem: dict[str, Any]

    @property
    def flat(self) -> np.ndarray:
        """All parameters in one vector."""
        return np.concatenate([leaf.ravel() for pair in self.network for leaf in pair])

    def pairs(self, flat: Any) -> list[tuple[Any, Any]]:
        """The parameters of a vector."""
        ends = np.cumsum([leaf.size for pair in self.network for leaf in pair])[:-1]
        parts = iter(
            np.split(flat, ends) if isinstance(flat, np.ndarray) else jnp.split(flat, ends)
        )
        return [(next(parts).reshape(W.shape), next(parts)) for W, _ in self.network]

    def value(self, flat: np.ndarray) -> Any:
        """The loss at a vector."""
        return self.loss(self.pairs(flat), self.X, self.Y)

    def gradient(self, flat: np.ndarray) -> np.ndarray:
        """The candidate's gradient at a vector, in the vector's dtype."""
        pairs = self.backward(self.pairs(flat), self.X, self.Y)
        return np.concatenate([np.ravel(leaf) for pair in pairs for leaf in pair]).astype(
            flat.dtype
        )


def fcnet_check(claim: Claim) -> fcnet.Report:
    """The report of `fcnet.check`."""
    return fcnet.check(
        claim.backward, claim.network, claim.X, claim.Y, batched=True, **claim.problem
    )


def torch_gradcheck(claim: Claim, fast_mode: bool) -> bool:
    """`torch.autograd.gradcheck` of a Function with the candidate as its backward."""
    import torch

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, flat: Any) -> Any:
            ctx.save_for_backward(flat)
            return torch.tensor(np.float64(claim.value(flat.detach().numpy()))).to(flat.dtype)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (flat,) = ctx.saved_tensors
            return g * torch.from_numpy(claim.gradient(flat.detach().numpy()))

    flat = torch.from_numpy(claim.flat.copy()).requires_grad_(True)
    return not torch.autograd.gradcheck(Loss.apply, (flat,), fast_mode=fast_mode)


def _with_rule(claim: Claim) -> Callable[..., Any]:
    """The loss of a vector in JAX, with the candidate as its derivative rule."""

    @jax.custom_vjp
    def loss(flat: Any) -> Any:
        return claim.jax_loss(claim.pairs(flat), claim.X, claim.Y)

    def back(flat: Any, g: Any) -> tuple[Any]:
        shape = jax.ShapeDtypeStruct(flat.shape, flat.dtype)
        return (g * jax.pure_callback(lambda x: claim.gradient(np.asarray(x)), shape, flat),)

    loss.defvjp(lambda flat: (loss(flat), flat), back)
    return loss


def jax_check_grads(claim: Claim) -> bool:
    """`jax.test_util.check_grads`; reverse mode, since a `custom_vjp` has no other."""
    from jax.test_util import check_grads

    check_grads(_with_rule(claim), (jnp.asarray(claim.flat),), order=1, modes=["rev"])
    return False


def chex_numerical_grads(claim: Claim) -> bool:
    """`chex.assert_numerical_grads`."""
    import chex

    chex.assert_numerical_grads(
        _with_rule(claim), (jnp.asarray(claim.flat),), order=1, modes=["rev"]
    )
    return False


def scipy_check_grad(claim: Claim) -> bool:
    """`scipy.optimize.check_grad` against `SCIPY_THRESHOLD`."""
    from scipy.optimize import check_grad

    error = check_grad(claim.value, claim.gradient, claim.flat)
    return not error <= SCIPY_THRESHOLD


def autograd_check_grads(claim: Claim) -> bool:
    """`autograd.test_util.check_grads` of a primitive."""
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    loss = primitive(lambda flat: np.float64(claim.value(flat)))
    defvjp(loss, lambda answer, flat: lambda g: g * claim.gradient(flat))
    check_grads(loss, modes=["rev"], order=1)(claim.flat)
    return False


CHECKERS: MappingProxyType[str, Callable[[Claim], Any]] = MappingProxyType(
    {
        "fcnet.check": fcnet_check,
        "torch.autograd.gradcheck": lambda claim: torch_gradcheck(claim, fast_mode=False),
        "torch.autograd.gradcheck, fast_mode": lambda claim: torch_gradcheck(claim, fast_mode=True),
        "jax.test_util.check_grads": jax_check_grads,
        "chex.assert_numerical_grads": chex_numerical_grads,
        "scipy.optimize.check_grad": scipy_check_grad,
        "autograd.test_util.check_grads": autograd_check_grads,
    }
)
"""The checkers by name. Each raises, or returns True, for a gradient that it finds wrong."""

NEEDS = frozenset({"autograd", "chex", "scipy", "torch"})
"""The libraries, by the first parts of the checkers' names, that fcnet itself does not need."""

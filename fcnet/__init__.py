"""Fully-connected networks after the CS229 deep-learning notes, as pure JAX functions."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fcnet.activations import ACTIVATIONS as ACTIVATIONS
from fcnet.backpropagation import backprop as backprop
from fcnet.backpropagation import batch_backprop as batch_backprop
from fcnet.backpropagation import deltas as deltas
from fcnet.backpropagation import gradients as gradients
from fcnet.descent import gradient_descent as gradient_descent
from fcnet.descent import minibatch_sgd as minibatch_sgd
from fcnet.descent import sgd as sgd
from fcnet.losses import LOSSES as LOSSES
from fcnet.losses import example_loss as example_loss
from fcnet.losses import mean_loss as mean_loss
from fcnet.network import count_neurons as count_neurons
from fcnet.network import count_params as count_params
from fcnet.network import features as features
from fcnet.network import forward as forward
from fcnet.network import forward_trace as forward_trace
from fcnet.network import init as init
from fcnet.sampling import sample_batch as sample_batch
from fcnet.types import Activation as Activation
from fcnet.types import Layer as Layer
from fcnet.types import Loss as Loss
from fcnet.types import Params as Params
from fcnet.types import Trace as Trace

if TYPE_CHECKING:
    from fcnet.train.ensemble import ensemble as ensemble
    from fcnet.train.fit import fit as fit
    from fcnet.train.per_example import per_example_gradients as per_example_gradients
    from fcnet.train.sweep import sweep as sweep
    from fcnet.verify.check import check as check
    from fcnet.verify.general import check_gradient as check_gradient
    from fcnet.verify.report import Report as Report
    from fcnet.verify.types import Finding as Finding
    from fcnet.verify.vjp import check_vjp as check_vjp

__version__ = version("fcnet")

_WINGS = {
    "Finding": "fcnet.verify.types",
    "Report": "fcnet.verify.report",
    "check": "fcnet.verify.check",
    "check_gradient": "fcnet.verify.general",
    "check_vjp": "fcnet.verify.vjp",
    "ensemble": "fcnet.train.ensemble",
    "fit": "fcnet.train.fit",
    "per_example_gradients": "fcnet.train.per_example",
    "sweep": "fcnet.train.sweep",
}


def __getattr__(name: str) -> Any:
    """The public names of the wings, imported at their first use: `import fcnet` stays quick."""
    if name not in _WINGS:
        raise AttributeError(f"module 'fcnet' has no attribute {name!r}")
    return getattr(import_module(_WINGS[name]), name)

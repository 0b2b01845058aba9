"""Other libraries' models: how each library's are recognised, read, called and changed.

No library is imported here. A model is of a library only if it has been imported.
"""

import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fcnet.activations import get_activation
from fcnet.network import batch_forward


class ModelLibrary(NamedTuple):
    """How the models of one library are recognised, read, called and changed.

    Attributes:
        name: that of the library.
        owns: whether a model is one of the library's.
        arrays: the arrays of a model, in its containers.
        put: puts new arrays, in the same containers, into a model; returns the model.
        outputs: the outputs of a model for examples in the rows of X, as it predicts, so that
            Dropout does nothing. Its arrays are made double precision for this, whatever they are:
            in bfloat16, two activations could not be told apart. None if the library's models are
            arrays alone.
        layers: the names of a model's layers and activations, as far as they are known.
        foreign: which of these hold arrays and are no layers z = W a + b.
    """

    name: str
    owns: Callable[[Any], bool]
    arrays: Callable[[Any], Any]
    put: Callable[[Any, Any], Any]
    outputs: Callable[[Any, np.ndarray], Any] | None = None
    layers: Callable[[Any], list[str]] = lambda model: []
    foreign: Callable[[Any], list[str]] = lambda model: []


def _instance(model: object, module: str, kind: str) -> bool:
    """Whether a model is an instance of a class; if it is, its library has been imported."""
    library = sys.modules.get(module)
    return library is not None and isinstance(model, getattr(library, kind))


def _put_torch(module: Any, state: Any) -> Any:
    module.load_state_dict(state)
    return module


def _torch_outputs(module: Any, X: np.ndarray) -> np.ndarray:
    torch = sys.modules["torch"]
    copy = deepcopy(module).double().cpu().eval()
    with torch.no_grad():
        return copy(torch.as_tensor(X)).numpy()


def _torch_layers(module: Any) -> list[str]:
    return [type(part).__name__ for part in module.modules() if not any(part.children())]


def _torch_foreign(module: Any) -> list[str]:
    torch = sys.modules["torch"]
    return [
        f"{type(part).__name__} ({name})"
        for name, part in module.named_modules()
        if type(part).__module__.startswith("torch.nn.")
        and not isinstance(part, torch.nn.Linear)
        and [*part.parameters(recurse=False), *part.buffers(recurse=False)]
    ]


def _flax_arrays(module: Any) -> Any:
    nnx = sys.modules["flax.nnx"]
    return _as_set(module, nnx.to_pure_dict(nnx.state(module, nnx.Param)))


def _as_set(module: Any, state: Any) -> Any:
    """A module's arrays in the order in which its attributes were set; NNX sorts them by name."""
    if not _instance(module, "flax.nnx", "Module") or not isinstance(state, Mapping):
        return state
    names = {str(name): name for name in state}  # those of a list are numbers
    return {
        names[name]: _as_set(child, state[names[name]])
        for name, child in vars(module).items()
        if name in names
    }


def _put_flax(module: Any, state: Any) -> Any:
    sys.modules["flax.nnx"].update(module, state)
    return module


def _flax_outputs(module: Any, X: np.ndarray) -> np.ndarray:
    nnx = sys.modules["flax.nnx"]
    copy = nnx.clone(module)
    copy.eval()
    wide = jax.tree.map(lambda leaf: leaf.astype(np.float64), nnx.state(copy, nnx.Param))
    nnx.update(copy, wide)
    return np.asarray(copy(jnp.asarray(X)))


def _flax_layers(module: Any) -> list[str]:
    parts = getattr(module, "layers", [])
    return [getattr(part, "__name__", type(part).__name__) for part in parts]


def _flax_foreign(module: Any) -> list[str]:
    nnx = sys.modules["flax.nnx"]
    return [
        f"{type(part).__name__} ({'.'.join(map(str, path))})"
        for path, part in nnx.iter_modules(module)
        if type(part).__module__.startswith("flax.nnx.nn.")
        and not isinstance(part, nnx.Linear)
        and any(isinstance(value, nnx.Variable) for value in vars(part).values())
    ]


def _put_sklearn(model: Any, arrays: Any) -> Any:
    model.coefs_, model.intercepts_ = arrays["coefs"], arrays["intercepts"]
    return model


OTHER_NAMES_OF_SKLEARN = {"logistic": "sigmoid"}
"""What scikit-learn calls activations that have another name in `fcnet.ACTIVATIONS`."""


def _sklearn_outputs(model: Any, X: np.ndarray) -> np.ndarray:
    """Those of the last layer: for a classifier, the logits."""
    theirs = model.activation
    layers = zip(model.coefs_, model.intercepts_, strict=True)
    params = [(W.T.astype(np.float64), b.astype(np.float64)) for W, b in layers]
    sigma = get_activation(OTHER_NAMES_OF_SKLEARN.get(theirs, theirs))
    return np.asarray(batch_forward(params, X, activation=sigma))


MODEL_LIBRARIES = (
    ModelLibrary(
        "PyTorch",
        lambda model: _instance(model, "torch.nn", "Module"),
        lambda module: module.state_dict(),
        _put_torch,
        _torch_outputs,
        _torch_layers,
        _torch_foreign,
    ),
    ModelLibrary(
        "Flax",
        lambda model: _instance(model, "flax.nnx", "Module"),
        _flax_arrays,
        _put_flax,
        _flax_outputs,
        _flax_layers,
        _flax_foreign,
    ),
    ModelLibrary(
        "scikit-learn",
        lambda model: hasattr(model, "coefs_") and hasattr(model, "intercepts_"),
        lambda model: {"coefs": model.coefs_, "intercepts": model.intercepts_},
        _put_sklearn,
        _sklearn_outputs,
    ),
    ModelLibrary(
        "containers", lambda model: True, lambda model: model, lambda model, arrays: arrays
    ),
)
"""The libraries whose models can be read. A model belongs to the first row that owns it."""

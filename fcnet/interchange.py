"""Parameters from and to other libraries, value for value, and in safetensors files.

Any layout of the weights is read: pairs, lists and mappings of arrays, PyTorch modules, Flax NNX
modules, and scikit-learn's networks. Parameters hold no activation: pass it to `forward`.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from fcnet.arrays import dtype_of
from fcnet.checks import as_params
from fcnet.extras import extra
from fcnet.files import write_file
from fcnet.layouts import Layout, layouts_of
from fcnet.types import Layer, Pairs, Params

AnyModel = TypeVar("AnyModel")


class ModelLibrary(NamedTuple):
    """How to recognise the models of one library, get their arrays, and put in new ones."""

    name: str
    owns: Callable[[Any], bool]
    arrays: Callable[[Any], Any]
    put: Callable[[Any, Any], Any]
    """Put new arrays, in the same containers, into a model; returns the model."""


def _instance(model: object, module: str, kind: str) -> bool:
    """Whether a model is an instance of a class; if it is, its library has been imported."""
    library = sys.modules.get(module)
    return library is not None and isinstance(model, getattr(library, kind))


def _put_torch(module: Any, state: Any) -> Any:
    module.load_state_dict(state)
    return module


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


def _put_sklearn(model: Any, arrays: Any) -> Any:
    model.coefs_, model.intercepts_ = arrays["coefs"], arrays["intercepts"]
    return model


MODEL_LIBRARIES = (
    ModelLibrary(
        "PyTorch",
        lambda model: _instance(model, "torch.nn", "Module"),
        lambda module: module.state_dict(),
        _put_torch,
    ),
    ModelLibrary(
        "Flax",
        lambda model: _instance(model, "flax.nnx", "Module"),
        _flax_arrays,
        _put_flax,
    ),
    ModelLibrary(
        "scikit-learn",
        lambda model: hasattr(model, "coefs_") and hasattr(model, "intercepts_"),
        lambda model: {"coefs": model.coefs_, "intercepts": model.intercepts_},
        _put_sklearn,
    ),
    ModelLibrary(
        "containers", lambda model: True, lambda model: model, lambda model, arrays: arrays
    ),
)
"""The libraries whose models can be read. A model belongs to the first row that owns it."""


def params_of(model: Any) -> Params:
    """The parameters of another library's network, in the notes' layout.

    Args:
        model: a `torch.nn.Module` or its state dict, a `flax.nnx.Module`, a fitted network of
            scikit-learn or of `fcnet.estimators`, or arrays in any layout that `fcnet.check`
            accepts; with a weight and a bias for each layer, and nothing else. Layers are sorted by
            the numbers in their names, or keep their order if the names have none.

    Returns:
        New layers, W of shape (m_k, m_{k-1}), in the model's dtype, or the widest if it has
        several; float64 becomes float32 unless x64 is enabled.

    Raises:
        TypeError, ValueError: if the arrays make no chain of layers, or can be read in two ways.

    >>> [W.tolist() for W, b in params_of({"kernel": np.array([[1.0], [2.0]]),
    ...                                    "bias": np.zeros(1)})]
    [[[1.0, 2.0]]]
    """
    _, arrays, layout = _read(model)
    widest = np.result_type(*map(dtype_of, layout.leaves(arrays)))
    dtype = jax.dtypes.canonicalize_dtype(widest)
    return tuple(
        Layer(jnp.asarray(W, dtype), jnp.asarray(b, dtype)) for W, b in layout.read(arrays)
    )


def with_params(model: AnyModel, params: Pairs) -> AnyModel:
    """The network of another library, with its parameters replaced by these.

    Args:
        model: as for `params_of`, of the same sizes. Modules and estimators are changed in place;
            containers of arrays are not changed.
        params: r layers.

    Returns:
        The model itself, or new containers; arrays keep their dtype and their device.

    Raises:
        TypeError, ValueError: as `params_of`, and for parameters of other sizes; the model is then
            unchanged.

    >>> with_params({"kernel": np.zeros((2, 1)), "bias": np.zeros(1)},
    ...             [(np.array([[1.0, 2.0]]), np.array([3.0]))])["kernel"].tolist()
    [[1.0], [2.0]]
    """
    library, arrays, layout = _read(model)
    layers = _as_layers(params)
    sizes = (layers[0].W.shape[1], *(layer.W.shape[0] for layer in layers))
    if sizes != layout.sizes:
        raise ValueError(f"params have the sizes {sizes}, but the model has {layout.sizes}")
    return library.put(model, layout.write(layers, arrays))


def _as_layers(params: Pairs) -> Params:
    """The layers in their own precision, whether or not x64 is enabled."""
    with jax.enable_x64(True):
        return as_params(params)


def _read(model: Any) -> tuple[ModelLibrary, Any, Layout]:
    library = next(row for row in MODEL_LIBRARIES if row.owns(model))
    arrays = library.arrays(model)
    layouts = layouts_of(arrays)
    if len(layouts) > 1:
        raise ValueError(
            "every W is square, and no name says whether it is (out, in) or (in, out): use names "
            "such as weight, which is (out, in), or kernel, which is (in, out)"
        )
    return library, arrays, layouts[0]


def save(
    path: str | os.PathLike[str], params: Pairs, text: Mapping[str, str] | None = None
) -> None:
    """Write parameters to a safetensors file. Needs the extra `checkpoint`.

    The arrays are called 1.weight, 1.bias, 2.weight, ..., by the notes' numbers of the layers. If
    writing fails, an earlier file of that name is unchanged.

    Args:
        path: the file; an earlier one is replaced.
        params: r layers; they are written in their own dtype.
        text: other text to store, by name.

    Raises:
        ModuleNotFoundError: without safetensors.
        OSError: if the file cannot be written.
    """
    with extra("checkpoint"):
        from safetensors.numpy import save as as_bytes
    arrays = {
        f"{k}.{name}": np.asarray(leaf)
        for k, layer in enumerate(_as_layers(params), start=1)
        for name, leaf in zip(("weight", "bias"), layer, strict=True)
    }
    write_file(path, as_bytes(arrays, dict(text or {})))


def load(path: str | os.PathLike[str]) -> tuple[Params, dict[str, str]]:
    """The parameters and the text of a safetensors file. Nothing in the file is executed.

    Args:
        path: a file of `save`, or of another library, with a weight and a bias for each layer.

    Returns:
        The layers, as from `params_of`, and the text that is stored beside them.

    Raises:
        ModuleNotFoundError: without safetensors.
        OSError: if the file cannot be read.
        ValueError, TypeError: if it is no safetensors file, does not hold such layers, or holds
            several layers whose names have no numbers, since the file keeps no order.
    """
    with extra("checkpoint"):
        from safetensors import SafetensorError, safe_open
    try:
        with safe_open(Path(path), framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            text = dict(file.metadata() or {})
    except SafetensorError as error:
        raise ValueError(f"{path} is not a complete safetensors file: {error}") from error
    if len(arrays) > 2 and not any(map(str.isdigit, "".join(arrays))):
        raise ValueError(
            f"{path} has {', '.join(arrays)}, names without numbers, so the order of the layers is "
            "unknown: pass the arrays to params_of in a dictionary, first layer first"
        )
    return params_of(arrays), text

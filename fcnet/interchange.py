"""Parameters from and to other libraries, value for value, and in safetensors files.

Any layout of the weights is read: pairs, lists and mappings of arrays, PyTorch modules, Flax NNX
modules, and scikit-learn's networks. Parameters hold no activation: pass it to `forward`, and to
the functions here, which compare what a model computes with what `forward` will.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from fcnet.activations import ACTIVATIONS, get_activation
from fcnet.arrays import dtype_of, is_array, unit_roundoff
from fcnet.checks import as_params
from fcnet.files import AnyPath, as_path, write_file
from fcnet.layouts import Layout, layers_by_name, layouts_of
from fcnet.libraries import MODEL_LIBRARIES, ModelLibrary
from fcnet.network import batch_forward
from fcnet.onnx_graph import Value, network, write
from fcnet.tensors import read, to_bytes
from fcnet.trees import children
from fcnet.types import Activation, Layer, Pairs, Params

AnyModel = TypeVar("AnyModel")

SUM = "fcnet_sha256"
"""The text of a file of `save` that is the checksum of the file."""


def params_of(
    model: Any,
    *,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
) -> Params:
    """The parameters of another library's network, in the notes' layout.

    A model that can be called is called, for some random inputs, and must compute what `forward`
    computes with these activations. Dropout does nothing in this, as in any prediction.

    Args:
        model: a `torch.nn.Module` or its state dict, a `flax.nnx.Module`, a fitted network of
            scikit-learn or of `fcnet.estimators`, or arrays in any layout that `fcnet.check`
            accepts; with a weight and a bias for each layer, and nothing else. Layers are sorted by
            the numbers in their names, or keep their order if the names have none. A state dict, or
            other arrays alone, cannot be called: nothing says what they compute.
        activation, output_activation: those of the model, to be passed to `forward` too. For
            estimators of scikit-learn and `fcnet.estimators`, the outputs are those before the
            loss's mean: the logits of a classifier, the logarithm for a Poisson loss.

    Returns:
        New layers, W of shape (m_k, m_{k-1}), in the model's dtype, or the widest if it has
        several; float64 becomes float32 unless x64 is enabled.

    Raises:
        TypeError, ValueError: if the arrays make no chain of layers, or can be read in two ways;
            if the model has other layers, such as BatchNorm, or computes something else than
            `forward`, such as LeakyReLU.

    >>> [W.tolist() for W, b in params_of({"kernel": np.array([[1.0], [2.0]]),
    ...                                    "bias": np.zeros(1)})]
    [[[1.0, 2.0]]]
    """
    _, arrays, layout = _read(model, activation, output_activation)
    widest = np.result_type(*map(dtype_of, layout.leaves(arrays)))
    dtype = jax.dtypes.canonicalize_dtype(widest)
    return tuple(
        Layer(jnp.asarray(W, dtype), jnp.asarray(b, dtype)) for W, b in layout.read(arrays)
    )


def with_params(
    model: AnyModel,
    params: Pairs,
    *,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
) -> AnyModel:
    """The network of another library, with its parameters replaced by these.

    Args:
        model: as for `params_of`, of the same sizes. Modules and estimators are changed in place;
            containers of arrays are not changed.
        params: r layers.
        activation, output_activation: as for `params_of`.

    Returns:
        The model itself, or new containers; arrays keep their dtype and their device.

    Raises:
        TypeError, ValueError: as `params_of`, and for parameters of other sizes; the model is then
            unchanged.

    >>> with_params({"kernel": np.zeros((2, 1)), "bias": np.zeros(1)},
    ...             [(np.array([[1.0, 2.0]]), np.array([3.0]))])["kernel"].tolist()
    [[1.0], [2.0]]
    """
    library, arrays, layout = _read(model, activation, output_activation)
    layers = _as_layers(params)
    sizes = (layers[0].W.shape[1], *(layer.W.shape[0] for layer in layers))
    if sizes != layout.sizes:
        raise ValueError(f"params have the sizes {sizes}, but the model has {layout.sizes}")
    return library.put(model, layout.write(layers, arrays))


def _as_layers(params: Pairs) -> Params:
    """The layers in their own precision, whether or not x64 is enabled."""
    with jax.enable_x64(True):
        return as_params(params)


def _read(
    model: Any, activation: str | Activation, output_activation: str | Activation
) -> tuple[ModelLibrary, Any, Layout]:
    """The library, the arrays and the layout of a model, which computes what `forward` does."""
    hidden = get_activation(activation)
    output = get_activation(output_activation, "output_activation")
    library = next(row for row in MODEL_LIBRARIES if row.owns(model))
    if foreign := library.foreign(model):
        raise TypeError(
            f"the model has {', '.join(foreign)}, expected linear layers, and activations without "
            "arrays of their own: fcnet has no other layers. A BatchNorm after a Linear of PyTorch "
            "can be merged into it by torch.nn.utils.fusion.fuse_linear_bn_eval"
        )
    arrays = library.arrays(model)
    if arrays is model and children(model) is None and not is_array(model):
        raise TypeError(
            f"model is a {type(model).__name__}, expected a torch.nn.Module, a flax.nnx.Module, a "
            "fitted network of scikit-learn or of fcnet.estimators, or arrays, such as "
            '{"weight": W, "bias": b}'
        )
    layouts = layouts_of(arrays)
    if len(layouts) > 1:
        raise ValueError(
            "every W is square, and no name says whether it is (out, in) or (in, out): use names "
            "such as weight, which is (out, in), or kernel, which is (in, out)"
        )
    layout = layouts[0]
    if library.outputs is not None:
        with jax.enable_x64(True):
            params = as_params([(np.float64(W), np.float64(b)) for W, b in layout.read(arrays)])
            _check_outputs(library, model, params, hidden, output)
    return library, arrays, layout


SIZES, ROWS = (0.01, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e6), 16
"""The sizes of the inputs at which a model is compared with `forward`, and the rows of each: an
activation such as ReLU6 differs from ReLU only where its inputs are large."""


def _check_outputs(
    library: ModelLibrary, model: Any, params: Params, hidden: Activation, output: Activation
) -> None:
    """Raise unless a model computes what `forward` does, up to what rounding to float32 does.

    If the model computes in a narrower dtype, up to what rounding to this one does.
    """
    assert library.outputs is not None
    rng, d = np.random.default_rng(0), params[0].W.shape[1]
    size = np.repeat(SIZES, ROWS)[:, None]
    X = (size * rng.normal(size=(len(size), d))).astype(np.float32).astype(np.float64)
    sigmas = {"activation": hidden, "output_activation": output}
    expected = np.asarray(batch_forward(params, X, **sigmas))
    escape = "To read its arrays whatever it computes, pass these alone, such as a state dict"
    try:
        o = library.outputs(model, X).reshape(expected.shape)
    except Exception as error:
        raise TypeError(
            f"the model cannot be compared with forward: for X of shape {X.shape} in float64, it "
            f"must return an array of shape {expected.shape}, but: {error}. {escape}"
        ) from error
    dtype = min(o.dtype, np.dtype(np.float32), key=lambda dtype: dtype.itemsize)
    low = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    traced = jax.jit(lambda X: batch_forward(low, X, **sigmas))  # X may overflow in that dtype
    rounded = np.asarray(traced(jnp.asarray(X, dtype)), np.float64)
    known = np.isfinite(rounded)
    u = unit_roundoff(dtype)
    tolerance = 32 * _largest(rounded - expected, known) + 128 * u * _largest(expected, known)
    off = np.where(known, abs(o.astype(np.float64) - expected), 0)
    if (off <= tolerance).all():
        return
    if fitting := _activations_of(params, X, o, known, tolerance):
        advice = f"It computes what forward does with {fitting}: pass these here and to forward"
    else:
        parts = ", ".join(library.layers(model))
        advice = "No activations of fcnet fit, one for all hidden layers and one for the last"
        advice += f"; the model has {parts}. {escape}" if parts else f". {escape}"
    row = np.argmax((off / (tolerance + (tolerance == 0))).max(axis=1))
    raise ValueError(
        f"the model does not compute what forward does with activation={hidden.name!r} and "
        f"output_activation={output.name!r}: for inputs of size {size[row, 0]:g}, outputs differ "
        f"by up to {off[row].max():.2g}. {advice}"
    )


def _largest(o: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The largest known entry for inputs of the same size, in absolute value, for each row."""
    most = np.where(known, abs(o), 0).reshape(len(SIZES), -1).max(axis=1)
    return np.repeat(most, ROWS)[:, None]


def _activations_of(
    params: Params, X: np.ndarray, o: np.ndarray, known: np.ndarray, tolerance: np.ndarray
) -> str | None:
    """The activations, in words, with which a network has these outputs; None if none fit."""
    for sigma in ACTIVATIONS.values():
        z = batch_forward(params, X, activation=sigma)
        for last in ACTIVATIONS.values():
            off = abs(np.asarray(last.function(z)) - o.astype(np.float64))
            if (np.where(known, off, 0) <= tolerance).all():
                return f"activation={sigma.name!r} and output_activation={last.name!r}"
    return None


def to_onnx(
    path: AnyPath,
    params: Pairs,
    *,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
) -> None:
    """Write a network to an ONNX file, which many programs run. Needs the extra `onnx`.

    Its input X has shape (n, d), with examples in rows, and its output o has shape (n, m_r). For a
    model of `fcnet train`, with its scales and categories, use `fcnet.data.to_onnx`. In float64,
    ONNX Runtime knows relu, sigmoid, tanh, silu and identity alone; in float32, all activations.

    Args:
        path: the file; an earlier one is replaced.
        params: r layers; the network computes in their dtype.
        activation, output_activation: rows of `fcnet.ACTIVATIONS`, or their names.

    Raises:
        ModuleNotFoundError: without onnx.
        OSError: if the file cannot be written.
        ValueError: for an activation of your own, which ONNX does not have.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "network.onnx"
    >>> to_onnx(file, [(np.array([[2.0]]), np.array([1.0]))])
    >>> file.stat().st_size < 1000
    True
    """
    layers = _as_layers(params)
    hidden = get_activation(activation)
    graph = network(layers, hidden, get_activation(output_activation, "output_activation"))
    (m, _), (_, d), dtype = layers[-1].W.shape, layers[0].W.shape, layers[0].W.dtype
    write(
        path, graph, [Value("X", "a0", dtype, ("n", d))], [Value("o", "outputs", dtype, ("n", m))]
    )


def save(path: AnyPath, params: Pairs, text: Mapping[str, str] | None = None) -> None:
    """Write parameters to a safetensors file. Needs the extra `checkpoint`.

    The arrays are called 1.weight, 1.bias, 2.weight, ..., by the notes' numbers of the layers. The
    file holds its own checksum. If writing fails, an earlier file of that name is unchanged.

    Args:
        path: the file; an earlier one is replaced.
        params: r layers; they are written in their own dtype.
        text: other text to store, by name.

    Raises:
        ModuleNotFoundError: without safetensors.
        OSError: if the file cannot be written.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "network.safetensors"
    >>> save(file, [(np.array([[2.0]]), np.array([1.0]))], {"unit": "dollars"})
    >>> ((W, b),), text = load(file)
    >>> W.tolist(), b.tolist(), text
    ([[2.0]], [1.0], {'unit': 'dollars'})
    """
    arrays = {
        f"{k}.{name}": np.asarray(leaf)
        for k, layer in enumerate(_as_layers(params), start=1)
        for name, leaf in zip(("weight", "bias"), layer, strict=True)
    }
    write_file(path, to_bytes(arrays, text or {}, SUM))


def load(path: AnyPath) -> tuple[Params, dict[str, str]]:
    """The parameters and the text of a safetensors file. Nothing in the file is executed.

    Args:
        path: a file of `save`, or of another library, with a weight and a bias for each layer.

    Returns:
        The layers, as from `params_of`, and the text that is stored beside them.

    Raises:
        ModuleNotFoundError: without safetensors.
        OSError: if the file cannot be read.
        ValueError, TypeError: if it is no safetensors file, is damaged, does not hold such layers,
            or holds layers of which neither the numbers in their names nor their shapes tell the
            order, since the file keeps none.
    """
    path = as_path(path)
    arrays, text = read(path, SUM)
    ordered = arrays if len(arrays) <= 2 else _in_order(arrays)
    if ordered is None:
        raise ValueError(
            f"{path} has {', '.join(arrays)}, whose names and shapes do not tell the order of the "
            "layers: pass the arrays to params_of in a dictionary, first layer first"
        )
    return params_of(ordered), text


class _FileLayer(NamedTuple):
    """A layer of a file: the numbers in its name, its widths, and the names of its arrays."""

    numbers: list[int]
    inputs: int
    outputs: int
    names: list[str]


def _in_order(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """The arrays of a file, which keeps no order, first layer first; None if that is unknown.

    Layers whose names differ in numbers alone are in the order of these. Where there are others,
    the shapes must say which of all is the first or the last, and then, one by one, of those left.

    >>> sizes = {"fc1": (9, 3), "fc2": (9, 9), "fc10": (9, 9), "a_head": (2, 9)}
    >>> [*_in_order({f"{name}.weight": np.ones(sizes[name]) for name in sorted(sizes)})]
    ['fc1.weight', 'fc2.weight', 'fc10.weight', 'a_head.weight']
    """
    named = layers_by_name([(name,) for name in arrays])
    if named is None or any(array.ndim > 2 for array in arrays.values()):
        return None
    found, transposed = named
    layers: dict[str, list[_FileLayer]] = {}
    for paths in found:
        names = [str(*path) for path in paths.values()]
        name = str(*paths["W"])
        m, m_below = np.atleast_2d(arrays[name]).shape[:: -1 if transposed else 1]
        numbers = [int(number) for number in re.findall(r"\d+", name)]
        layer = _FileLayer(numbers, m_below, m, names)
        layers.setdefault(re.sub(r"\d+", "", name), []).append(layer)
    queues = [sorted(alike, key=lambda layer: layer.numbers) for alike in layers.values()]
    if transposed is None and len(queues) > 1:
        return None
    taken = {layer.inputs for queue in queues for layer in queue}
    given = {layer.outputs for queue in queues for layer in queue}
    first: list[_FileLayer] = []
    last: list[_FileLayer] = []
    while len(queues := [queue for queue in queues if queue]) > 1:
        below = {first[-1].outputs} if first else {q[0].inputs for q in queues} - given
        above = {last[0].inputs} if last else {q[-1].outputs for q in queues} - taken
        next_up = [queue for queue in queues if queue[0].inputs in below]
        next_down = [queue for queue in queues if queue[-1].outputs in above]
        if len(next_up) == 1:
            first.append(next_up[0].pop(0))
        elif len(next_down) == 1:
            last.insert(0, next_down[0].pop())
        else:
            return None
    ordered = [*first, *(layer for queue in queues for layer in queue), *last]
    return {name: arrays[name] for layer in ordered for name in layer.names}

"""Networks as graphs of ONNX, the format that other programs run. Needs the extra `onnx`.

A graph is written as lines of ONNX's own text, such as `z1 = Gemm<transB = 1>(a0, W1, b1)`, in the
notes' names, beside the tensors that these lines read.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fcnet.activations import ACTIVATIONS
from fcnet.extras import extra
from fcnet.files import AnyPath, write_file
from fcnet.losses import LOSSES
from fcnet.types import Activation, Params

OPSET, IR_VERSION = 21, 10

INSIDE = "fcnet/"
"""The beginning of all names inside a graph, so that none is that of a column."""

OPERATIONS: Mapping[Activation | Callable[..., Any], str] = {
    ACTIVATIONS["relu"]: "{a} = Relu({z})",
    ACTIVATIONS["sigmoid"]: "{a} = Sigmoid({z})",
    ACTIVATIONS["tanh"]: "{a} = Tanh({z})",
    ACTIVATIONS["identity"]: "{a} = Identity({z})",
    ACTIVATIONS["leaky_relu"]: "{a} = LeakyRelu<alpha = 0.01>({z})",
    ACTIVATIONS["softplus"]: "{a} = Softplus({z})",
    ACTIVATIONS["gelu"]: "{a} = Gelu({z})",
    ACTIVATIONS["silu"]: "{a}s = Sigmoid({z}) {a} = Mul({z}, {a}s)",
    ACTIVATIONS["elu"]: "{a} = Elu<alpha = 1.0>({z})",
    LOSSES["squared_error"].mean: "{a} = Identity({z})",
    LOSSES["logistic"].mean: "{a} = Sigmoid({z})",
    LOSSES["softmax_cross_entropy"].mean: "{a} = Softmax<axis = 1>({z})",
    LOSSES["poisson"].mean: "{a} = Exp({z})",
}
"""What ONNX has for each activation, and for the mean of each loss: {a} computed of {z}."""


class Graph(NamedTuple):
    """The lines of a graph, and the tensors that they read, by name."""

    lines: tuple[str, ...]
    tensors: Mapping[str, np.ndarray]

    def then(self, other: "Graph") -> "Graph":
        """This graph followed by another one, which may read its values."""
        return Graph(self.lines + other.lines, {**self.tensors, **other.tensors})


class Value(NamedTuple):
    """An input or an output: its name outside, its name in the lines, its dtype and its shape."""

    name: str
    inside: str
    dtype: Any
    shape: tuple[str | int, ...]


def network(params: Params, hidden: Activation, output: Activation) -> Graph:
    """The layers (2.12) of a network, with examples in rows, from a0 to its outputs.

    Raises:
        ValueError: for an activation that is no row of `fcnet.ACTIVATIONS`.

    >>> layer = (np.ones((1, 2)), np.zeros(1))
    >>> network((layer, (np.ones((1, 1)), np.zeros(1))), ACTIVATIONS["relu"],
    ...         ACTIVATIONS["identity"]).lines
    ('z1 = Gemm<transB = 1>(a0, W1, b1)', 'a1 = Relu(z1)', 'z2 = Gemm<transB = 1>(a1, W2, b2)', \
'outputs = Identity(z2)')
    """
    for sigma in (hidden, output):
        if sigma not in OPERATIONS:
            raise ValueError(
                f"ONNX has no operation that is known to be {sigma.name!r}: expected a row of "
                f"fcnet.ACTIVATIONS, one of {', '.join(ACTIVATIONS)}"
            )
    lines: list[str] = []
    tensors: dict[str, np.ndarray] = {}
    for k, (W, b) in enumerate(params, start=1):
        last = k == len(params)
        lines.append(f"z{k} = Gemm<transB = 1>(a{k - 1}, W{k}, b{k})")
        operation = OPERATIONS[output if last else hidden]
        lines.append(operation.format(a="outputs" if last else f"a{k}", z=f"z{k}"))
        tensors |= {f"W{k}": np.asarray(W), f"b{k}": np.asarray(b)}
    return Graph(tuple(lines), tensors)


def write(path: AnyPath, graph: Graph, inputs: Sequence[Value], results: Sequence[Value]) -> None:
    """Write a graph to a file, after ONNX has checked it.

    Raises:
        ModuleNotFoundError: without onnx.
        OSError: if the file cannot be written.
    """
    with extra("onnx"):
        import onnx
    header = f'<ir_version: {IR_VERSION}, opset_import: ["" : {OPSET}]> fcnet () => () '
    model = onnx.parser.parse_model(header + "{" + "\n".join(graph.lines) + "}")

    def info(value: Value) -> Any:
        kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype))
        return onnx.helper.make_tensor_value_info(value.name, kind, value.shape)

    own, nodes = model.graph, list(model.graph.node)
    del own.node[:]
    for names in [names for node in nodes for names in (node.input, node.output)]:
        names[:] = [f"{INSIDE}{name}" for name in names]
    named = [
        onnx.helper.make_node("Identity", [value.name], [INSIDE + value.inside]) for value in inputs
    ]
    ended = [
        onnx.helper.make_node("Identity", [INSIDE + value.inside], [value.name])
        for value in results
    ]
    own.node.extend([*named, *nodes, *ended])
    own.input.extend(map(info, inputs))
    own.output.extend(map(info, results))
    tensors = graph.tensors.items()
    own.initializer.extend(onnx.numpy_helper.from_array(v, INSIDE + k) for k, v in tensors)
    onnx.checker.check_model(model, full_check=True)
    write_file(path, model.SerializeToString())

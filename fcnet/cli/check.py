"""`fcnet check`: a backward pass in a file, tried on a random network of the sizes asked for."""

import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import fcnet
from fcnet.cli.options import (
    ACTIVATIONS,
    LOSSES,
    Command,
    coefficient,
    file,
    option,
    positive,
    seed,
    widths,
)
from fcnet.files import write_file

STATUS = {"right": 0, "wrong": 1, "cannot tell": 3}
"""The exit status for each verdict; 2 is that of an error."""


GIVEN = """
It was given --layout {} --weight-layout {}{}: x of shape {}, y of shape {}.
If it takes others, choose other options: see fcnet check --help."""
"""What is said of a candidate that raises."""


def _named(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    return {
        f"{name}{k}": array
        for k, pair in enumerate(pairs, start=1)
        for name, array in zip("Wb", pair, strict=True)
    }


def _bias_first(pairs: list[tuple[Any, Any]]) -> list[Any]:
    import numpy as np

    return [np.hstack([b.reshape(-1, 1), W]) for W, b in pairs]


def _vector(pairs: list[tuple[Any, Any]]) -> Any:
    import numpy as np

    return np.concatenate([array.ravel() for pair in pairs for array in pair])


LAYOUTS: dict[str, Callable[[list[tuple[Any, Any]]], Any]] = {
    "pairs": list,
    "flat": lambda pairs: list(chain.from_iterable(pairs)),
    "dict": _named,
    "weights": lambda pairs: [W for W, _ in pairs],
    "bias_column": _bias_first,
    "vector": _vector,
}
"""How the candidate gets its parameters: [(W1, b1), ...], [W1, b1, ...], {"W1": ..., "b1": ...},
[W1, ...] of a network without biases, matrices with b as their first column, or all in one vector.
"""


def _numpy(values: Any, dtype: str) -> Any:
    import jax.numpy as jnp

    return values.astype(jnp.dtype(dtype))  # of jnp, which has bfloat16


def _jax(values: Any, dtype: str) -> Any:
    import jax
    import jax.numpy as jnp

    return jnp.asarray(values, jax.dtypes.canonicalize_dtype(jnp.dtype(dtype)))


def _torch(values: Any, dtype: str) -> Any:
    import torch

    return torch.tensor(values, dtype=getattr(torch, dtype))


LIBRARIES: dict[str, Callable[[Any, str], Any]] = {"numpy": _numpy, "jax": _jax, "torch": _torch}
"""The candidate's arrays: made of NumPy's, in a precision."""


def check(
    candidate: str,
    sizes: tuple[int, ...],
    activation: str,
    output_activation: str,
    loss: str,
    class_numbers: bool,
    batched: bool,
    example_axis: str,
    reduction: str,
    l2: float | Callable[[int], float],
    learning_rate: float | None,
    layout: str,
    weight_layout: str,
    library: str,
    dtype: str,
    seed: int,
    table: bool,
    html: Path | None,
    json: Path | None,
) -> int:
    """Check a backward pass in a file, print the report, and return the exit status.

    A candidate that raises or returns nonsense is a finding of the report. Whatever prevents the
    check is an error.

    Raises:
        ValueError, TypeError: for a candidate that cannot be loaded, or options that do not fit.
        OSError: where the report cannot be written.
    """
    import jax

    with loaded(candidate) as function:
        params, x, y = _example(
            sizes,
            loss,
            class_numbers,
            batched,
            example_axis,
            layout,
            weight_layout,
            library,
            dtype,
            seed,
        )
        report = fcnet.check(
            function,
            params,
            x,
            y,
            activation=activation,
            output_activation=output_activation,
            loss=loss,
            batched=batched,
            reduction=reduction,
            l2=l2,
            learning_rate=learning_rate,
            weight_layout=weight_layout,
            example_axis=example_axis,
            sizes=sizes,
            key=jax.random.key(seed),
        )
    print(f"{report}\n\n{report.table()}" if table else report)
    if any(finding.kind == "raises" for finding in report.findings):
        many = f" --batched --example-axis {example_axis}" if batched else ""
        print(GIVEN.format(layout, weight_layout, many, tuple(x.shape), tuple(y.shape)))
    for path, text in ((html, report.to_html), (json, report.to_json)):
        if path is not None:
            write_file(path, text().encode())
    return STATUS[report.verdict]


@contextmanager
def loaded(candidate: str) -> Iterator[Callable[..., Any]]:
    """The function that "FILE.py:FUNCTION" names; it can import the modules beside its file.

    The file does not run as the main program. Its modules leave `sys.modules` afterwards.

    Raises:
        ValueError: for another form, a missing file, one that fails, or a name of no function.
    """
    file, colon, name = candidate.rpartition(":")
    if not colon or not name.isidentifier():
        raise ValueError(f"expected FILE.py:FUNCTION, got {candidate!r}")
    path = Path(file).resolve()
    if not path.is_file():
        raise ValueError(f"there is no file {file}")
    before, modules = list(sys.path), set(sys.modules)
    sys.path.insert(0, str(path.parent))
    try:
        found = _run(path)
        if not callable(found.get(name)):
            functions = ", ".join(n for n, v in found.items() if callable(v) and n[0] != "_")
            raise ValueError(f"{file} has no function {name!r}, only: {functions or 'none'}")
        yield found[name]
    finally:
        sys.path[:] = before
        for module in set(sys.modules) - modules:
            source = Path(getattr(sys.modules[module], "__file__", None) or "/")
            if source.is_relative_to(path.parent) and "site-packages" not in source.parts:
                del sys.modules[module]


def _run(path: Path) -> dict[str, Any]:
    try:
        return runpy.run_path(str(path), run_name=path.stem)
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{path.name} cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def _example(
    sizes: tuple[int, ...],
    loss: str,
    class_numbers: bool,
    batched: bool,
    example_axis: str,
    layout: str,
    weight_layout: str,
    library: str,
    dtype: str,
    seed: int,
) -> tuple[Any, Any, Any]:
    """A random network, and examples, in the layout and the arrays of the candidate."""
    import jax
    import numpy as np

    from fcnet.losses import get_loss
    from fcnet.verify.inputs import USUAL_N

    if len(sizes) < 2:
        raise ValueError(f"--sizes must be the input's width and those of the layers, got {sizes}")
    draw = np.random.default_rng((seed, 1))  # not the numbers that check draws for this seed
    pairs = [
        (draw.normal(size=(m, below)) * np.sqrt(2 / below), draw.normal(size=m) / 2)
        for below, m in pairwise(sizes)
    ]
    n = USUAL_N if batched else 1
    row = get_loss(loss)
    assert row.draw is not None  # every row of LOSSES has it
    X, Y = draw.normal(size=(n, sizes[0])), row.draw(draw, n, sizes[-1])
    if class_numbers and not row.labels.one_hot:
        raise ValueError(f"--class-numbers is for losses of classes, and {loss} has none")
    Y = Y.argmax(-1) if class_numbers else Y.astype(float)
    x, y = (X, Y) if batched else (X[0], Y[0])
    if example_axis == "columns":
        if not batched:
            raise ValueError("--example-axis columns is for several examples: give --batched too")
        x, y, pairs = x.T, y.T, [(W, b[:, None]) for W, b in pairs]
    if weight_layout == "in_out" and layout == "bias_column":
        raise ValueError("--layout bias_column is for weights (out, in): leave out --weight-layout")
    if weight_layout == "in_out":
        pairs = [(W.T.copy(), b) for W, b in pairs]
    example = jax.tree.map(np.asarray, (LAYOUTS[layout](pairs), x, y))
    with jax.enable_x64(dtype == "float64"):
        params, x, y = jax.tree.map(
            lambda a: LIBRARIES[library](a, str(a.dtype) if a.dtype.kind == "i" else dtype), example
        )
    return params, x, y


COMMAND = Command(
    check,
    "check a backward pass in a file, and name the line of Algorithm 5 that is wrong",
    (
        "fcnet check mine.py:backprop --sizes 4,3,1",
        "fcnet check mine.py:backprop --sizes 784,64,10 --activation tanh "
        "--loss softmax_cross_entropy --batched --layout dict --weight-layout in_out",
        "fcnet check mine.py:backprop --sizes 4,3,1 --html report.html --json report.json",
        "fcnet check mine.py:step --sizes 4,3,1 --batched --l2 0.1/n --learning-rate 0.01",
    ),
    {
        "candidate": {
            "metavar": "FILE.py:FUNCTION",
            "help": "the candidate, a function of (params, x, y) that returns the gradient, "
            "alone or with the loss; FILE.py is run, as Python runs it",
        },
        "--sizes": {
            "required": True, "type": widths, "metavar": "D,M1,...,MR",
            "help": "the width of the input and of each layer",
        },
        "--activation": option("relu", "of the hidden layers", choices=ACTIVATIONS),
        "--output-activation": option("identity", "of the last layer", choices=ACTIVATIONS),
        "--loss": option("squared_error", "of one example", choices=LOSSES),
        "--class-numbers": {
            "action": "store_true", "help": "it takes y as class numbers, not as one-hot vectors"
        },
        "--batched": {
            "action": "store_true", "help": "it takes several examples at once"
        },
        "--example-axis": option(
            "rows", "with --batched: whether these are rows, or columns, as its biases then are",
            choices=("rows", "columns"),
        ),
        "--reduction": option("mean", "of the examples' losses", choices=("mean", "sum")),
        "--l2": option(
            0.0, "the loss has this / 2 times the sum of the squared weights: a number, or one "
            "over the number of examples, such as 0.1/n", type=coefficient, metavar="C",
        ),
        "--learning-rate": option(
            None, "it takes a training step with this rate: it returns the new params, or None if "
            "it has changed those it was given", type=positive, metavar="RATE",
        ),
        "--layout": option(
            "pairs", "its params: [(W1, b1), ...], [W1, b1, ...], {'W1': ..., 'b1': ...}, "
            "[W1, ...] without biases, matrices with b as first column, or one vector W1, b1, ...",
            choices=tuple(LAYOUTS),
        ),
        "--weight-layout": option(
            "out_in", "the shape of a W: (out, in) for z = W a + b, (in, out) for z = a W + b",
            choices=("out_in", "in_out"),
        ),
        "--library": option("numpy", "the arrays it is given", choices=tuple(LIBRARIES)),
        "--dtype": option(
            "float64", "of these arrays", choices=("float64", "float32", "bfloat16", "float16")
        ),
        "--seed": option(0, "for the network and its inputs", type=seed),
        "--table": {
            "action": "store_true", "help": "print its numbers beside the right ones, too"
        },
        "--html": file("write the report as a page"),
        "--json": file("write the report as JSON"),
    },
    "exit status: 0 right, 1 wrong, 3 cannot tell, 2 an error, 130 interrupted",
    failure=2,
)  # fmt: skip

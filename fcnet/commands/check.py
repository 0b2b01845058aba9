"""`fcnet check`: a backward pass in a file, tried on a random network of the sizes asked for."""

import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fcnet.losses import get_loss
from fcnet.verify.check import check as check_backward
from fcnet.verify.inputs import USUAL_N
from fcnet.verify.report import Report

STATUS = {"right": 0, "wrong": 1, "cannot tell": 3}
"""The exit status for each verdict; 2 is that of an error."""

LAYOUTS: dict[str, Callable[[list[tuple[Any, Any]]], Any]] = {
    "pairs": list,
    "flat": lambda pairs: list(chain.from_iterable(pairs)),
    "dict": lambda pairs: {
        f"{name}{k}": array
        for k, pair in enumerate(pairs, start=1)
        for name, array in zip("Wb", pair, strict=True)
    },
}
"""How the candidate gets its parameters: [(W1, b1), ...], [W1, b1, ...] or {"W1": ..., "b1": ...}.
"""


def _tensor(values: np.ndarray, dtype: str) -> Any:
    import torch

    return torch.tensor(values, dtype=getattr(torch, dtype))


LIBRARIES: dict[str, Callable[[np.ndarray, str], Any]] = {
    "numpy": lambda values, dtype: values.astype(jnp.dtype(dtype)),
    "jax": jnp.asarray,
    "torch": _tensor,
}
"""In which arrays."""


def check(
    candidate: str,
    sizes: tuple[int, ...],
    activation: str,
    output_activation: str,
    loss: str,
    batched: bool,
    reduction: str,
    layout: str,
    weights: str,
    library: str,
    dtype: str,
    seed: int,
    html: Path | None,
    json: Path | None,
) -> int:
    """Check a backward pass in a file, print the report, and return the exit status.

    What the candidate does, to raise and to return nonsense included, is a finding of the report;
    whatever prevents the check is an error.

    Raises:
        ValueError, TypeError: for a candidate that cannot be loaded, or options that do not fit.
        OSError: where the report cannot be written.
    """
    with loaded(candidate) as function:
        params, x, y = _example(sizes, loss, batched, layout, weights, library, dtype, seed)
        report = check_backward(
            function,
            params,
            x,
            y,
            activation=activation,
            output_activation=output_activation,
            loss=loss,
            batched=batched,
            reduction=reduction,
            weight_layout=weights,
            example_axis="rows",
            key=jax.random.key(seed),
        )
    print(report)
    _write(report, html, json)
    return STATUS[report.verdict]


@contextmanager
def loaded(candidate: str) -> Iterator[Callable[..., Any]]:
    """The function that "FILE.py:FUNCTION" names; its neighbours can be imported meanwhile.

    The file runs as a module of its own that is gone from `sys.modules` afterwards, and not as
    the main program.

    Raises:
        ValueError: for another form, a file that is none or fails, and a name that is no function.
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
    batched: bool,
    layout: str,
    weights: str,
    library: str,
    dtype: str,
    seed: int,
) -> tuple[Any, Any, Any]:
    """A random network with an input and a target, or several, as the candidate wants them."""
    if len(sizes) < 2:
        raise ValueError(f"--sizes must be the input's width and those of the layers, got {sizes}")
    draw = np.random.default_rng(seed)
    pairs = [
        (draw.normal(size=(m, below)) * np.sqrt(2 / below), draw.normal(size=m) / 2)
        for below, m in pairwise(sizes)
    ]
    n = USUAL_N if batched else 1
    targets = get_loss(loss).draw
    assert targets is not None  # every row of LOSSES has it
    X, Y = draw.normal(size=(n, sizes[0])), targets(draw, n, sizes[-1])
    x, y = (X, Y) if batched else (X[0], Y[0])
    if weights == "in_out":
        pairs = [(W.T.copy(), b) for W, b in pairs]
    with jax.enable_x64(dtype == "float64"):
        arrays = jax.tree.map(
            lambda a: LIBRARIES[library](np.asarray(a, float), dtype), (pairs, x, y)
        )
    pairs, x, y = arrays
    return LAYOUTS[layout](pairs), x, y


def _write(report: Report, html: Path | None, json: Path | None) -> None:
    for path, text in ((html, report.to_html), (json, report.to_json)):
        if path is not None:
            path.write_text(text(), encoding="utf-8")

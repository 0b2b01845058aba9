"""Numbers, arrays and lines of text as messages show them."""

import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from fcnet.arrays import dtype_of, library_of, to_numpy
from fcnet.text import escaped
from fcnet.trees import children

LEAST, MOST = 6, 17
"""The significant digits of a number: more than 6 only where two numbers differ beyond these."""

WIDTH = 100
"""The characters of a line of text."""

MANY = 2000
"""How many numbers code lists one by one, at most."""


def apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to see that they differ.

    >>> apart(1.0, 2.5)
    ('1', '2.5')
    >>> apart(0.1234567891, 0.1234567892)
    ('0.1234567891', '0.1234567892')
    """
    texts = ((f"{one:.{n}g}", f"{other:.{n}g}") for n in range(LEAST, MOST + 1))
    return next((pair for pair in texts if pair[0] != pair[1]), (f"{one:g}", f"{other:g}"))


def multiple(c: float, digits: int = LEAST) -> str:
    """A factor; or how far it is from 1, where its digits would not show it.

    >>> multiple(0.5), multiple(1 + 2e-9)
    ('0.5', '1 +2e-09')
    """
    text = f"{c:.{digits}g}"
    return f"1 {c - 1:+.0e}" if text == "1" and abs(c - 1) > 1e-15 else text


def wrapped(item: str, width: int = WIDTH) -> list[str]:
    """The lines of an item of text, its second and later ones indented.

    Unsafe characters are escaped first, which makes a text longer.

    >>> wrapped("one two three", 9)
    ['one two', '  three']
    """
    first, *others = escaped(item).splitlines()
    lines = textwrap.wrap(first, width, subsequent_indent="  ")
    return lines + [line for other in others for line in textwrap.wrap(other, width) or [""]]


def shortened(text: str, width: int) -> str:
    """A text without its middle where it is longer than `width`; most of the end is kept.

    >>> shortened("params['encoder']['layer_0'].W", 20)
    "param...'layer_0'].W"
    """
    if len(text) <= width:
        return text
    start = (width - 3) // 3
    return f"{text[:start]}...{text[start + 3 - width :]}"


MAKERS = {
    "NumPy": "np.array({}, np.{})",
    "JAX": "jnp.array({}, jnp.{})",
    "PyTorch": "torch.tensor({}, dtype=torch.{})",
}
"""What makes an array of a library from values and a dtype."""


def code_of(value: Any, values: Callable[[Any], str] | None = None) -> str:
    """Python code for containers of arrays.

    Args:
        value: dicts, lists, tuples and arrays of any library.
        values: code for the values of an array; by default a list of them.

    Raises TypeError for what is neither.

    >>> code_of({"W": np.array([[1.0, 0.5]]), "b": (2.0, None)})
    "{'W': np.array([[1.0, 0.5]]), 'b': (2.0, None)}"
    >>> code_of(np.float32([0.1]))
    'np.array([0.1], np.float32)'
    """
    entries = children(value)
    if entries is None:
        return "None" if value is None else _array(value, values or _listed)
    parts = [(key, code_of(entry, values)) for key, entry in entries]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {part}" for key, part in parts) + "}"
    if hasattr(value, "_fields"):
        return f"{type(value).__name__}({', '.join(f'{key}={part}' for key, part in parts)})"
    inside = ", ".join(part for _, part in parts)
    if isinstance(value, tuple):
        return f"({inside},)" if len(parts) == 1 else f"({inside})"
    return f"[{inside}]"


def _array(array: Any, values: Callable[[Any], str]) -> str:
    library, dtype = library_of(array), dtype_of(array)
    if library.name not in MAKERS:
        return values(array)
    if library.name == "NumPy" and dtype in (np.float64, np.int64):
        return f"np.array({values(array)})"
    if library.name == "NumPy" and not hasattr(np, dtype.name):  # bfloat16 is JAX's
        return f"np.array({values(array)}, jnp.{dtype.name})"
    return MAKERS[library.name].format(values(array), dtype.name)


def _listed(array: Any) -> str:
    """The values as nested lists, each in the fewest digits that give it in its own dtype."""
    dtype, numbers = dtype_of(array), to_numpy(array)
    if not jnp.issubdtype(dtype, jnp.floating):
        return repr(numbers.astype(dtype).tolist())
    short = np.reshape([float(str(x)) for x in numbers.astype(dtype).flat], numbers.shape)
    return repr(short.tolist())

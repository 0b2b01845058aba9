"""In which arithmetic a run is done: one row a precision."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import NamedTuple

import jax

from fcnet.checks import look_up_name


class Precision(NamedTuple):
    """The dtype of parameters, data and updates; how exact products are; the gradient's own dtype.

    `dtype` None is that of the parameters given, and `compute` None that of `dtype`. `matmul` is a
    name that `jax.default_matmul_precision` knows.
    """

    dtype: str | None
    matmul: str = "highest"
    compute: str | None = None

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Inside, JAX computes in this precision; no flag of the program is left changed."""
        with ExitStack() as stack:
            if self.dtype == "float64":
                stack.enter_context(jax.enable_x64(True))
            stack.enter_context(jax.default_matmul_precision(self.matmul))
            yield


PRECISIONS: MappingProxyType[str, Precision] = MappingProxyType(
    {
        "float64": Precision("float64"),
        "float32": Precision("float32"),
        "tensorfloat32": Precision("float32", matmul="tensorfloat32"),
        "bfloat16": Precision("float32", compute="bfloat16"),
    }
)
"""By name. A CPU has no products of tensorfloat32 and computes those of float32."""


def as_precision(name: str | None) -> Precision:
    """The row called `name`; None is the parameters' own dtype, in full.

    >>> as_precision("bfloat16")
    Precision(dtype='float32', matmul='highest', compute='bfloat16')
    """
    if name is None:
        return Precision(None)
    row: Precision = look_up_name("precision", PRECISIONS, name)
    return row

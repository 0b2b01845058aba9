"""In which arithmetic a run is done: one row a precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import NamedTuple

import jax

from fcnet.checks import look_up_name


class Precision(NamedTuple):
    """The dtype of parameters, data and updates; how exact products are; the gradient's own dtype.

    `dtype` None is that of the parameters given, and `compute` None that of `dtype`. `matmul` is a
    name that `jax.default_matmul_precision` knows. `x64` is JAX's flag, which is each thread's own.
    """

    dtype: str | None
    matmul: str = "highest"
    compute: str | None = None
    x64: bool = False

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Inside, JAX computes in this precision; no flag of the program is left changed."""
        with jax.enable_x64(self.x64), jax.default_matmul_precision(self.matmul):
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
    """The row called `name`; None is the parameters' own dtype, in full. Flags are the caller's.

    >>> as_precision("bfloat16")
    Precision(dtype='float32', matmul='highest', compute='bfloat16', x64=False)
    """
    row = Precision(None) if name is None else look_up_name("precision", PRECISIONS, name)
    wide = jax.dtypes.canonicalize_dtype(float) == "float64"
    return row._replace(x64=row.dtype == "float64" or wide)

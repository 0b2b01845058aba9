"""The precisions of a run, one in each row of the table."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from fcnet.rows import look_up_name

NO_MESH = Mesh(np.empty((), object), ())
"""As though `jax.set_mesh` had not been called."""


class Precision(NamedTuple):
    """The arithmetic of a run.

    Attributes:
        dtype: of parameters, data and updates; None is that of the given parameters.
        matmul: the precision of matrix products, for `jax.default_matmul_precision`.
        compute: the dtype in which gradients are computed; None is `dtype`.
        x64: JAX's flag, which each thread has for itself.
    """

    dtype: str | None
    matmul: str = "highest"
    compute: str | None = None
    x64: bool = False

    @contextmanager
    def scope(self) -> Iterator[None]:
        """A context in which JAX computes in this precision; afterwards its flags are as before.

        Dtypes are promoted in the standard way, since Adam of optax takes a float to an integer
        power. A mesh that the caller has set is left: it may have explicit axes, which must be
        named in every program.
        """
        with (
            jax.enable_x64(self.x64),
            jax.default_matmul_precision(self.matmul),
            jax.numpy_dtype_promotion("standard"),
            jax.set_mesh(NO_MESH),
        ):
            yield


PRECISIONS: MappingProxyType[str, Precision] = MappingProxyType(
    {
        "float64": Precision("float64"),
        "float32": Precision("float32"),
        "tensorfloat32": Precision("float32", matmul="tensorfloat32"),
        "bfloat16": Precision("float32", compute="bfloat16"),
    }
)
"""By name. A CPU has no tensorfloat32, and computes in float32 instead."""


def as_precision(name: str | None) -> Precision:
    """The row called `name`; None is the dtype of the parameters, in full precision.

    Without a name, the flag x64 stays as the caller has it.

    >>> as_precision("bfloat16")
    Precision(dtype='float32', matmul='highest', compute='bfloat16', x64=False)
    """
    row = Precision(None) if name is None else look_up_name("precision", PRECISIONS, name)
    wide = jax.dtypes.canonicalize_dtype(float) == "float64"
    return row._replace(x64=row.dtype == "float64" or wide)

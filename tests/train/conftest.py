"""What the tests of the trainer share."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture
def exact_products() -> Iterator[None]:
    """Full precision for the products outside the package, as `fit` asks for its own.

    By default a GPU rounds the factors of float32 products to tensorfloat32.
    """
    with jax.default_matmul_precision("highest"):
        yield

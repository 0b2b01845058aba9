"""Flags and fixtures of every test: strict promotion, a key per test, and no flag left changed."""

import os
import signal
import zlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import jax
import pytest
from hypothesis import HealthCheck, settings

import fcnet

# XLA compiles quickly here, and in one piece, since the tests keep all cores busy; the programs are
# slower than those of users, which .ci/run tests too. Versions from 0.11 on lack the last flag.
QUICKLY = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
if jax.__version_info__ < (0, 11):
    QUICKLY += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", QUICKLY)

settings.register_profile(
    "fcnet",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("fcnet")

FLAGS = ("jax_enable_x64", "jax_default_matmul_precision", "jax_numpy_dtype_promotion")


@pytest.fixture
def key(request: pytest.FixtureRequest) -> jax.Array:
    """A random key of the test's own, the same in every run."""
    return jax.random.key(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision inside the test, and not after it."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def exact_products() -> Iterator[None]:
    """Full precision for the products outside the package, as `fit` asks for its own.

    By default a GPU rounds the factors of float32 products to tensorfloat32.
    """
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture
def signals_as_in_a_terminal() -> Iterator[None]:
    """A shell starts what it runs in the background with SIGINT ignored."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def ax() -> Iterator[Any]:
    """Axes that are rendered after the test, so that a figure that cannot be drawn fails."""
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    yield figure.add_subplot()
    figure.canvas.draw()


@pytest.fixture(scope="session")
def fc() -> ModuleType:
    """The package. test_source_mutants.py runs the tests that take it on wrong versions too."""
    return fcnet


@pytest.fixture(autouse=True)
def no_flag_left_changed() -> Iterator[None]:
    before = {flag: getattr(jax.config, flag) for flag in FLAGS}
    yield
    after = {flag: getattr(jax.config, flag) for flag in FLAGS}
    assert after == before, "the test changed a global flag of JAX"

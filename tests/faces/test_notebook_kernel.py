"""The kernel of a notebook, interrupted at any moment, goes on as if nothing had been."""

import json
import os
import queue
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from support.public_names import PACKAGE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.untyped,
    pytest.mark.filterwarnings("ignore"),  # of Jupyter's own
]

SETUP = """
import json, signal, tempfile
from functools import partial
import jax, jax.numpy as jnp, numpy as np
import fcnet
from fcnet.estimators import FCNetRegressor

key = jax.random.key(0)
X = jax.random.normal(key, (50, 4))
start, Y = fcnet.init(key, (4, 5, 1)), jnp.abs(X[:, :1])
common = dict(batch_size=8, steps=2000, evaluate_every=100)
stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), start)

class Net:
    W1, b1, W2, b2 = (np.asarray(leaf, float) for layer in start for leaf in layer)
    def backward(self, x, y):
        np.random.seed(0)
        a = self.a = np.maximum(self.W1 @ x + self.b1, 0)
        d2 = self.W2 @ a + self.b2 - y
        d1 = self.W2.T @ d2 * (a > 0)
        return dict(W1=np.outer(d1, x), b1=d1, W2=np.outer(d2, a), b2=d2)

net = Net()
for name in ("W1", "b1", "W2", "b2"):
    setattr(net, name, getattr(Net, name).copy())

def leaves(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]

def fit(folder):
    return leaves(fcnet.fit(start, X, Y, key=key, checkpoint=folder, resume=True, **common))

def sweep(folder):
    return leaves(fcnet.sweep(stacked, X, Y, key=jax.random.split(key, 2), **common)[:3])

def check(folder):
    return str(fcnet.check(net.backward, net, np.ones(4), np.ones(1)))

def estimator(folder):
    model = FCNetRegressor(5, random_state=0, max_iter=40).fit(X, Y[:, 0])
    return leaves([model.coefs_, model.loss_curve_])

WORKS = dict(fit=fit, sweep=sweep, check=check, estimator=estimator)

def state():
    flags = jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision
    handlers = [str(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)]
    return str((flags, handlers, np.geterr(), np.random.get_state()[1].tolist(), leaves(vars(net))))

expected = {name: work(tempfile.mkdtemp()) for name, work in WORKS.items()}
before = state()
"""


class Kernel:
    """A kernel, and what its cells print."""

    def __init__(self, manager: Any, client: Any) -> None:
        self.manager, self.client = manager, client

    def run(self, code: str, interrupt_after: float | None = None) -> tuple[str, str]:
        """The text that a cell prints, and the name of its error.

        It is interrupted after the time given, and each 10 seconds from then on, up to 5 times.
        """
        printed: list[str] = []
        self.interrupts = 0
        sent = self.client.execute(code)
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=10 if self.interrupts else 120)
            except queue.Empty:
                if self.interrupts not in range(1, 5):
                    raise
                self.interrupt()
                continue
            if message["parent_header"].get("msg_id") != sent:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                printed.append(content["text"])
                if interrupt_after is not None and "begun" in content["text"]:
                    time.sleep(interrupt_after)
                    self.interrupt()
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                break
        reply = self.client.get_shell_msg(timeout=120)
        return "".join(printed), reply["content"].get("ename", "")

    def interrupt(self) -> None:
        """Press the notebook's button."""
        self.interrupts += 1
        self.manager.interrupt_kernel()


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    start_new_kernel = pytest.importorskip("jupyter_client.manager").start_new_kernel
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    manager, client = start_new_kernel(kernel_name="python3", env=environment)
    kernel = Kernel(manager, client)
    assert kernel.run(SETUP) == ("", "")
    yield kernel
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def what_is_left(kernel: Kernel, work: str, after: float) -> tuple[bool, list[bool]]:
    """Whether one interrupt ends an endless cell as it should; whether the state is as before,
    and the work's result too."""
    _, error = kernel.run(
        f"folder = tempfile.mkdtemp()\nprint('begun', flush=True)\nwhile True: {work}(folder)",
        interrupt_after=after,
    )
    ended = kernel.interrupts == 1 and error in ("KeyboardInterrupt", "Interrupted")
    printed, failed = kernel.run(
        f"print(json.dumps([state() == before, {work}(folder) == expected[{work!r}]]))"
    )
    assert failed == ""
    return ended, json.loads(printed)


@pytest.mark.parametrize("work", ["fit", "sweep", "check", "estimator"])
def test_an_interrupted_kernel_goes_on(kernel: Kernel, work: str) -> None:
    ended, same = zip(
        *(
            what_is_left(kernel, work, after)
            for after in np.random.default_rng(0).uniform(0, 0.5, 8)
        ),
        strict=True,
    )
    assert list(same) == [[True, True]] * 8  # the state and the result
    # JAX itself loses about one in 50 of those that come while it traces: Python ignores exceptions
    # in callbacks of its garbage collection and weak references, C++ makes a SystemError of some.
    assert sum(ended) >= 6


def test_a_kernel_that_is_left_changed_is_noticed(kernel: Kernel) -> None:
    kernel.run(
        "check_right = check\ndef check(folder): np.random.seed(1); return check_right(folder)"
    )
    assert what_is_left(kernel, "check", 0.1)[1] == [False, True]
    kernel.run("check = check_right; before = state()")


def test_work_that_loses_interrupts_is_noticed(kernel: Kernel) -> None:
    kernel.run(
        "check_right, lost = check, []\n"
        "def check(folder):\n"
        "    try: return check_right(folder)\n"
        "    except KeyboardInterrupt:\n"
        "        lost.append(1)\n"
        "        if len(lost) > 1: raise"
    )
    ended, same = what_is_left(kernel, "check", 0.1)
    assert (ended, same) == (False, [True, True])
    kernel.run("check = check_right")

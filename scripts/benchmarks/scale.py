"""What must not grow: a step's time with n, a run's memory with the number of steps.

Memory is the peak of a separate process minus its peak right after JAX has started: that is the
data, the run and its compilation. `ru_maxrss` does not serve, since on Linux a process inherits it
from its parent.
"""

import json
import subprocess
import sys
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fcnet
import fcnet.train.data
from benchmarks.measure import Program
from benchmarks.race import Place, race

SIZES, BATCH_SIZE, STEPS = (10, 64, 64, 1), 32, 131_072


def time(quick: bool) -> list[Place]:
    """The time of a step of `fit` for n = 10^4 to 10^7, against that for 10^4.

    The runs are long, since each checks once that all its data are finite.
    """
    fcnet.train.data.EVALUATED_ROWS = 16
    largest, steps = (10**5, 64) if quick else (10**7, STEPS)
    X = jnp.asarray(np.random.default_rng(0).normal(size=(largest, SIZES[0])).astype("f"))
    Y = jnp.sin(X[:, :1])
    params = fcnet.init(jax.random.key(0), SIZES)

    def train(n: int) -> fcnet.Params:
        return fcnet.fit(
            params, X[:n], Y[:n], key=jax.random.key(0), batch_size=BATCH_SIZE, steps=steps,
            optimizer="sgd", hyperparameters={"learning_rate": 1e-3}, evaluate_every=steps,
        ).params  # fmt: skip

    counts = [n for n in (10**4, 10**5, 10**6, 10**7) if n <= largest]
    programs = [Program(f"n = {n:,}", partial(train, n), steps) for n in counts]
    return race("10-64-64-1, B=32", programs, None, rounds=1 if quick else 5)


class Memory(NamedTuple):
    """The memory of one run in MB, and its limit: data + 4 theta + 2 activations + 300 MB."""

    case: str
    steps: int
    mb: float
    limit_mb: float

    @property
    def cells(self) -> dict[str, str]:
        """The row as the terminal shows it, by the headers of its columns."""
        return {
            "case": self.case,
            "steps": f"{self.steps:,}",
            "MB": f"{self.mb:.0f}",
            "limit MB": f"{self.limit_mb:.0f}",
        }


MEMORY = (  # layer sizes, B, n, steps
    ((10, 64, 64, 1), 32, 1_000_000, (1000, 100_000)),
    ((1024, 2048, 2048, 10), 512, 20_000, (2, 20)),
)
SCRIPT = """
import json, re, sys
import jax, numpy as np, fcnet

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

jax.jit(lambda x: x + 1)(1.0).block_until_ready()
before = peak()
sizes, B, n, steps = json.loads(sys.argv[1])
X = np.ones((n, sizes[0]), "f")
Y = np.ones((n, sizes[-1]), "f")
params = fcnet.init(jax.random.key(0), sizes)
fcnet.fit(params, X, Y, key=jax.random.key(0), batch_size=B, steps=steps,
          optimizer="sgd", hyperparameters={"learning_rate": 1e-6})
print(peak() - before)
"""


def memory(quick: bool) -> list[Memory]:
    """The memory of short and of long runs."""
    rows = []
    for sizes, batch_size, n, lengths in MEMORY[: 1 if quick else None]:
        n = 1000 if quick else n
        numbers = {
            "data": n * (sizes[0] + sizes[-1]),
            "parameters": 4 * fcnet.count_params(sizes),
            "activations": 2 * batch_size * sum(sizes),
        }
        for steps in lengths:
            arguments = json.dumps([sizes, batch_size, n, 10 if quick else steps])
            done = subprocess.run(
                [sys.executable, "-c", SCRIPT, arguments],
                capture_output=True,
                text=True,
                check=True,
            )
            case = f"{'-'.join(map(str, sizes))}, B={batch_size}, n={n:,}"
            limit = 4 * sum(numbers.values()) / 2**20 + 300
            rows.append(Memory(case, steps, float(done.stdout), limit))
    return rows

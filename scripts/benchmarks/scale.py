"""What must not grow: a step's time with n, a run's memory with the number of steps.

Memory is the peak of a separate process minus its peak right after JAX has started: that is the
data, the run and its compilation. `ru_maxrss` does not serve, since on Linux a process inherits it
from its parent.
"""

import json
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import fcnet
import fcnet.train.data
from benchmarks.measure import Program, name_case
from benchmarks.race import race
from benchmarks.record import Row

SIZES, BATCH_SIZE, STEPS = (10, 64, 64, 1), 32, 131_072


def time(quick: bool) -> list[Row]:
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
    return race(name_case(SIZES, BATCH_SIZE), programs, rounds=1 if quick else 5)


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


def memory(quick: bool) -> list[Row]:
    """The memory of short and of long runs.

    The limit is that of the data, 4 times the parameters, 2 times the activations, and 300 MB.
    """
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
            case = f"{name_case(sizes, batch_size)}, n = {n:,}"
            limit = 4 * sum(numbers.values()) / 2**20 + 300
            values = {"mb": float(done.stdout), "limit_mb": limit}
            rows.append(Row(case, f"fcnet.fit, {steps:,} steps", values))
    return rows

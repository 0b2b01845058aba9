"""`fcnet.fit` against other libraries' loops: the same work, the same precision, exact batches.

`ratio` is a program's time a step divided by that of `fcnet.fit`; above 1, fcnet is faster.
"First s" is the first run, of one step; scikit-learn's is of a whole pass, its least. The other
runs are of whole passes and last two seconds or more, so that work done once a run counts little.
The loss is the one after the same number of steps in each library.

Ways to contract the weight gradient D^T A, in microseconds of wall time a step (two cores, AMD
EPYC, JAX 0.10.2, medians of 15 turns on a busy machine):

| network, B, members       | einsum nj,ni->ji | barrier(D^T) A | (barrier(A^T) D)^T | (A^T D)^T |
|---------------------------|------------------|----------------|--------------------|-----------|
| 4-3-1, 8, 1               | 3.44             | 2.70           | 3.69               | 3.55      |
| 4-3-1, 8, 256 in one vmap | 0.66             | 0.24           | 0.70               | 0.66      |
| 10-64-64-1, 32, 1         | 18.2             | 17.9           | 20.0               | 18.3      |
| 10-64-64-1, 32, 8         | 16.9             | 15.0           | 18.7               | 16.6      |
| 784-256-128-10, 128, 1    | 1,270            | 1,294          | 1,461              | 1,247     |
| 256-1024x3-1, 256, 1      | 22,463           | 22,528         | 23,644             | 22,244    |

fcnet uses the second: it gains most for small layers, and for wide ones the four are equal.

Forms of the loop: the time of a step divided by that with the number of steps given at the start
(the same machine, idle, medians of 7 turns):

| network, B          | constant | 4 unrolled | 16   | one flat vector | 16 gathered first | all  |
|---------------------|----------|------------|------|-----------------|-------------------|------|
| 4-3-1, 8            | 0.98     | 0.89       | 1.02 | 0.96            | 0.94              | 0.94 |
| 10-64-64-1, 32      | 1.01     | 0.99       | 1.11 | 1.05            | 1.00              | 1.01 |
| 784-256-128-10, 128 | 0.99     | 1.02       | 0.99 | 11.6            | 1.01              | 1.27 |
| 256-1024x3-1, 256   | 1.00     | 0.99       | 1.00 | 2.8             | 1.00              | 1.00 |

For tables that fit the caches none is worth its lines, and with a given number another number of
steps compiles no other program. From larger tables, rows are gathered for several steps at once,
within 256 KiB (`repeat_gathered` in fcnet/train/program.py): 10-64-64-1 then takes 0.89 of the time
with a million rows, and 0.85 with four million. The update of a large array waits for the last
gradient, so that XLA does not copy the array first (`in_place`). If small arrays waited too, a step
of 4-3-1 would take 1.1 to 1.5 times as long, varying from run to run.

Libraries for the products: the time of a step divided by that of fcnet's choice, YNNPACK with
examples as rows (two cores, AMD EPYC without AVX-512, JAX 0.10.2, medians of 9 turns):

| network, B          | rows, Eigen | columns, YNNPACK | columns, Eigen | columns, W^T written out |
|---------------------|-------------|------------------|----------------|--------------------------|
| 4-3-1, 8            | 1.41        | 0.92 to 1.05     | 1.33 to 1.40   | 0.98                     |
| 10-64-64-1, 32      | 1.07        | 1.13             | 1.14           | 1.13                     |
| 784-256-128-10, 128 | 0.96        | 1.09             | 1.03           | 1.18                     |
| 256-1024x3-1, 256   | 1.29        | 1.04             | 1.36           | 1.05                     |

XLA uses Eigen where its option xla_cpu_experimental_ynn_fusion_type is empty. oneDNN, a vector
width of 512 and one thread for Eigen change the wide networks by no more than the noise.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import pairwise
from time import perf_counter

import numpy as np

import fcnet.train.data
from benchmarks.measure import Program, name_case
from benchmarks.peers import PEERS, Pairs, Peer, Run, Work
from benchmarks.race import race
from benchmarks.record import Row
from fcnet.sampling import block_length

QUICK = {  # the last compiles for half a minute
    name: peer for name, peer in PEERS.items() if name != "torch.compile"
}
CASES = (  # layer sizes, B, n, the peers
    ((4, 3, 1), 8, 47, QUICK),
    ((10, 64, 64, 1), 32, 10_000, PEERS),
    ((784, 256, 128, 10), 128, 20_000, QUICK),
    ((256, 1024, 1024, 1024, 1), 256, 10_000, QUICK),
)
LASTING, ROUNDS = 2.0, 5  # seconds a run, approximately


def run(quick: bool) -> Iterator[Row]:
    # The peers evaluate nothing; `fit` evaluates at the start and the end, here on few examples.
    fcnet.train.data.EVALUATED_ROWS = 16
    for case in CASES[: 1 if quick else None]:
        yield from compete(*case, quick=quick)


def compete(
    sizes: tuple[int, ...],
    batch_size: int,
    n: int,
    peers: Mapping[str, Peer],
    quick: bool,
    lasting: float = LASTING,
    rounds: int = ROUNDS,
) -> list[Row]:
    """The results of the peers for one network, without those that raise here."""
    work = draw_work(sizes, batch_size, n)
    per_pass = -(-n // batch_size)
    programs, losses, cold = [], [], []
    for name, peer in peers.items():
        try:
            peer(work)  # imports its library
            start = perf_counter()
            train = peer(work)
            train(1)
            cold.append(perf_counter() - start)
            start = perf_counter()
            train(20)
            steps, trained = 20, 20
            if not quick:
                guess = (perf_counter() - start) / 20
                steps = _whole(_steps(guess, train, batch_size, lasting), per_pass)
                trained = _whole(block_length(batch_size), per_pass)
            losses.append(_loss(train(trained), work))
        except Exception as error:
            print(f"{name} is left out: {type(error).__name__}: {str(error).splitlines()[0]}")
            continue
        programs.append(Program(name, partial(train, steps), steps))
    rows = race(name_case(sizes, batch_size), programs, rounds=1 if quick else rounds)
    return [
        row._replace(values={**row.values, "cold_s": seconds, "loss": loss})
        for row, seconds, loss in zip(rows, cold, losses, strict=True)
    ]


def _whole(steps: int, per_pass: int) -> int:
    """The number of steps, rounded up to whole passes."""
    return -(-steps // per_pass) * per_pass


def _steps(seconds: float, train: Run, batch_size: int, lasting: float) -> int:
    """The number of steps for a run of `lasting` seconds, and at least one block of fcnet's.

    Measured twice, since the first few steps are slow.
    """
    for _ in range(2):
        steps = max(20, round(lasting / seconds / 2))
        start = perf_counter()
        train(steps)
        seconds = (perf_counter() - start) / steps
    return max(block_length(batch_size), round(lasting / seconds))


def draw_work(sizes: tuple[int, ...], batch_size: int, n: int) -> Work:
    """A random network, and data that a network can learn."""
    rng = np.random.default_rng(0)
    layers = [
        (rng.normal(0, (2 / m_below) ** 0.5, (m, m_below)).astype("f"), np.zeros(m, "f"))
        for m_below, m in pairwise(sizes)
    ]
    X = rng.normal(size=(n, sizes[0])).astype("f")
    Y = np.sin(X[:, :1] + np.arange(sizes[-1])).astype("f")
    return Work(layers, X, Y, batch_size)


def _loss(layers: Pairs, work: Work) -> float:
    """The half mean squared error on all the data, in NumPy for every library."""
    a = work.X
    for W, b in layers[:-1]:
        a = np.maximum(a @ W.T + b, 0)
    W, b = layers[-1]
    return float(((a @ W.T + b - work.Y) ** 2).sum(1).mean() / 2)

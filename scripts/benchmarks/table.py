"""Tables: the time and the memory that reading and training take, each in a process of its own.

Memory is the peak of the process minus its peak right after JAX has started. For `fcnet train`,
what a table of 2,000 rows takes is shown beside it: it is compilation and libraries.
"""

import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.record import Row

COLUMNS = 20
ROWS = 10**6

START = """
import json, re, sys, time
from pathlib import Path
import jax

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

jax.jit(lambda x: x + 1)(1.0).block_until_ready()
path = sys.argv[1]
"""
END = """
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
print(json.dumps({"s": wall, "processor_s": cpu, "mb": peak() - before}))
"""
TIMED = "before, cpu, wall = peak(), time.process_time(), time.perf_counter()\n"

ARROW = "import pyarrow.compute, pyarrow.csv, pyarrow.parquet\n"
"""What fcnet imports when it reads: no library's import is timed."""

READERS = {
    "fcnet, with kinds": (
        "fcnet",
        ARROW + "from fcnet.data import learn_schema, open_table\n",
        "learn_schema(open_table(Path(path)), 'y')",
    ),
    "fcnet, all text": (
        "fcnet",
        ARROW + "from fcnet.data import read_table\n",
        "table = read_table(Path(path))",
    ),
    "pandas": (
        "pandas",
        "import pandas\n",
        "table = getattr(pandas, 'read_' + Path(path).suffix[1:])(path)",
    ),
    "polars": (
        "polars",
        "import polars\n",
        "table = getattr(polars, 'read_' + Path(path).suffix[1:])(path)",
    ),
}
"""The library of each reader, what it imports, and what is timed."""

TRAIN = """
from fcnet.cli import main, task
task.MOST_BYTES = {most}
out = str(Path(path).with_suffix(f".{{time.time_ns()}}.run"))
code = main(["train", path, "--target", "y", "--steps", "{steps}", "--batch-size", "256",
             "--evaluate-every", "500", "--patience", "0", "--out", out])
if code:
    raise SystemExit(code)
"""


def reading(quick: bool) -> list[Row]:
    """The time to read a file of numbers: with kinds decided, as text, and by other libraries."""
    n = 1000 if quick else ROWS
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for file in (_csv(Path(folder), n), _parquet(Path(folder), n, 10)):
            for name, (library, imports, timed) in READERS.items():
                if find_spec(library):
                    found = _measured(START + imports + TIMED + timed + END, file)
                    rows.append(Row(f"{file.suffix[1:]}, {n:,} x {COLUMNS}", name, found))
    return rows


def training(quick: bool) -> list[Row]:
    """The memory of `fcnet train` for a table in memory, and for one that is read in groups."""
    n, steps = (2000, 20) if quick else (ROWS, 4000)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small"
        small.mkdir()
        cases = ((_csv, 2**40, (1,)), (_parquet, 2**40, (1,)), (_parquet, 0, (1, 4)))
        for make, most, sizes in cases:
            script = START + TIMED + TRAIN.format(most=most, steps=steps) + END
            few = _measured(script, make(small, 2000))["mb"]
            for times in sizes:
                file = make(Path(folder), times * n)
                found = _measured(script, file)
                case = f"{file.suffix[1:]}, {times * n:,} x {COLUMNS}"
                case += "" if most else ", read in groups"
                arrays = 4 * times * n * COLUMNS / 2**20
                found |= {"small_mb": few, "arrays_mb": arrays}
                found |= {"in_arrays": (found["mb"] - few) / arrays}
                rows.append(Row(case, "fcnet train", found))
    return rows


def _measured(script: str, file: Path) -> dict[str, float]:
    """The numbers that a script prints in its last line."""
    done = subprocess.run(
        [sys.executable, "-c", script, str(file)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def _columns(n: int, seed: int) -> dict[str, np.ndarray]:
    """Numbers of four decimals, four columns of whole numbers, and a target y of them."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, COLUMNS - 5)).round(4)
    K = random.integers(1000, size=(n, 4))
    y = X[:, :5].sum(axis=1) + np.sin(X[:, 5]) + 0.1 * random.normal(size=n)
    columns = {f"x{j}": X[:, j] for j in range(X.shape[1])}
    return columns | {f"k{j}": K[:, j] for j in range(4)} | {"y": y.round(4)}


def _csv(folder: Path, n: int) -> Path:
    import pyarrow
    import pyarrow.csv

    pyarrow.csv.write_csv(pyarrow.table(_columns(n, 0)), folder / "table.csv")
    return folder / "table.csv"


def _parquet(folder: Path, n: int, groups: int = 20) -> Path:
    """A file of as many groups of rows, which are made one by one."""
    import pyarrow
    import pyarrow.parquet

    path = folder / "table.parquet"
    schema = pyarrow.table(_columns(1, 0)).schema
    with pyarrow.parquet.ParquetWriter(path, schema) as file:
        for group in range(groups):
            file.write_table(pyarrow.table(_columns(n // groups, group)))
    return path

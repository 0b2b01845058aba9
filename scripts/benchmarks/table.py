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
from typing import NamedTuple

import numpy as np

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
print(json.dumps([time.process_time() - cpu, time.perf_counter() - wall, peak() - before]))
"""
TIMED = "before, cpu, wall = peak(), time.process_time(), time.perf_counter()\n"

READERS = {
    "fcnet, with kinds": (
        "fcnet",
        "from fcnet.data import learn_schema, open_table\n",
        "learn_schema(open_table(Path(path)), 'y')",
    ),
    "fcnet, all text": (
        "fcnet",
        "from fcnet.data import read_table\n",
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


class Reading(NamedTuple):
    """One file, read once by one library."""

    file: str
    reader: str
    cpu_s: float
    wall_s: float
    mb: float

    @property
    def cells(self) -> dict[str, str]:
        """The row as the terminal shows it, by the headers of its columns."""
        return {
            "file": self.file,
            "reader": self.reader,
            "CPU s": f"{self.cpu_s:.2f}",
            "wall s": f"{self.wall_s:.2f}",
            "MB": f"{self.mb:.0f}",
        }


class Training(NamedTuple):
    """One run of `fcnet train`: its memory beside that of the arrays in float32."""

    case: str
    wall_s: float
    mb: float
    small_mb: float
    arrays_mb: float

    @property
    def cells(self) -> dict[str, str]:
        """The row as the terminal shows it, by the headers of its columns."""
        return {
            "case": self.case,
            "wall s": f"{self.wall_s:.1f}",
            "MB": f"{self.mb:.0f}",
            "MB of 2,000 rows": f"{self.small_mb:.0f}",
            "arrays": f"{self.arrays_mb:.0f}",
            "difference / arrays": f"{(self.mb - self.small_mb) / self.arrays_mb:.2f}",
        }


def reading(quick: bool) -> list[Reading]:
    """The time to read a file of numbers: with kinds decided, as text, and by other libraries."""
    n = 1000 if quick else ROWS
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for file in (_csv(Path(folder), n), _parquet(Path(folder), n, 10)):
            for name, (library, imports, timed) in READERS.items():
                if find_spec(library):
                    found = _measured(START + imports + TIMED + timed + END, file)
                    rows.append(Reading(f"{file.suffix[1:]}, {n:,} x {COLUMNS}", name, *found))
    return rows


def training(quick: bool) -> list[Training]:
    """The memory of `fcnet train` for a table in memory, and for one that is read in groups."""
    n, steps = (2000, 20) if quick else (ROWS, 4000)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small"
        small.mkdir()
        cases = ((_csv, 2**40, (1,)), (_parquet, 2**40, (1,)), (_parquet, 0, (1, 4)))
        for make, most, sizes in cases:
            script = START + TIMED + TRAIN.format(most=most, steps=steps) + END
            _, _, few_mb = _measured(script, make(small, 2000))
            for times in sizes:
                file = make(Path(folder), times * n)
                _, wall, mb = _measured(script, file)
                case = f"{file.suffix[1:]}, {times * n:,} x {COLUMNS}"
                case += "" if most else ", read in groups"
                arrays = 4 * times * n * COLUMNS / 2**20
                rows.append(Training(case, wall, mb, few_mb, arrays))
    return rows


def _measured(script: str, file: Path) -> list[float]:
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

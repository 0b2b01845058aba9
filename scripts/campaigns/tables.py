"""Random CSV and Parquet files, whole and damaged, through reading, schema and examples.

Of a whole CSV file each cell is read as it was written. A damaged file, and the schema of any, is
read as something or refused in the package's own words, with its name where it cannot be read.
"""

import csv
import io
import resource
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet as parquet

from campaigns.outcomes import PROMISED, Report, Result, judged
from fcnet.data import learn_schema, open_table, read_table
from fcnet.data.cells import as_text
from fcnet.data.examples import examples_of

MOST_MEMORY = 2**36
"""The bytes of address space that a process may have: more are asked for by a damaged header."""

TEXTS = (
    *("a", "b", "hill", "lake", "é", "日本", "02139", "7e5", "-", "NA", "?", "", "1,5", "x;y"),
    *('say "so"', "two\nlines", "=1+1", "<b>", "\u202e", "2020-01-05", "$5", "1e400", "inf"),
    *(" padded ", "\t", "'", "#", "# remark", "sep=;", "\x1b[31m", "0x10", "true", "9" * 30),
)

Cells = list[str]


def _numbers(rng: np.random.Generator, n: int) -> Cells:
    values = rng.normal(size=n) * 10.0 ** rng.integers(-5, 9)
    form = rng.choice(["{:.3f}", "{:.0f}", "{:e}", "{:g}", "{!r}"])
    return [str(form).format(float(value)) for value in values]


def _words(rng: np.random.Generator, n: int) -> Cells:
    few = rng.choice(TEXTS, size=int(rng.integers(1, 5)))
    return [str(text) for text in rng.choice(few, size=n)]


def _mixed(rng: np.random.Generator, n: int) -> Cells:
    cells = _numbers(rng, n)
    for row in rng.integers(n, size=int(rng.integers(0, 3))):
        cells[row] = str(rng.choice(TEXTS))
    return cells


def _whole_numbers(rng: np.random.Generator, n: int) -> Cells:
    digits = int(rng.integers(1, 19))
    return [str(number) for number in rng.integers(0, 10**digits, size=n)]


def _rows(rng: np.random.Generator, n: int) -> Cells:
    return [str(i) for i in range(n)]


COLUMNS: Sequence[Callable[[np.random.Generator, int], Cells]] = (
    *(_numbers, _numbers, _numbers, _words, _words, _whole_numbers, _rows, _mixed),
)


def columns(rng: np.random.Generator) -> dict[str, Cells]:
    """The cells of a random table by the names of its columns."""
    n, d = int(rng.integers(1, 60)), int(rng.integers(1, 7))
    odd = [str(rng.choice(TEXTS)).strip() if rng.integers(9) == 0 else f"c{i}" for i in range(d)]
    names = dict.fromkeys(name.removeprefix("#").strip() for name in odd)  # which begins a remark
    makers = rng.integers(len(COLUMNS), size=len(names))
    return {name: COLUMNS[maker](rng, n) for name, maker in zip(names, makers, strict=True)}


def write_csv(rng: np.random.Generator, path: Path, cells: dict[str, Cells]) -> dict[str, str]:
    """Write a table in a random form; what must be said to read it, as arguments of the reader."""
    separator = str(rng.choice([",", ";", "\t", "|"]))
    text = io.StringIO()
    quoting = int(rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    end = str(rng.choice(["\n", "\r\n"]))
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writerows([cells, *zip(*cells.values(), strict=True)])
    encoding = str(rng.choice(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16"]))
    path.write_bytes(text.getvalue().encode(encoding))
    return {"separator": separator, "decimal": "."}


def write_parquet(rng: np.random.Generator, path: Path, cells: dict[str, Cells]) -> None:
    """Write a table in random types."""
    kinds = KINDS if rng.integers(3) else KINDS + ODD_KINDS
    arrays = {name: _typed(rng, texts, kinds) for name, texts in cells.items()}
    parquet.write_table(
        pyarrow.table(arrays),
        path,
        compression=str(rng.choice(["none", "snappy", "gzip", "zstd"])),
        row_group_size=int(rng.integers(1, 40)),
        use_dictionary=bool(rng.integers(2)),
    )


KINDS = (
    *("int8", "int64", "uint64", "float16", "float32", "float64", "bool", "string", "large_string"),
    *("its texts", "its texts", "its texts in a dictionary", "numbers", "numbers", "numbers"),
)
ODD_KINDS = (
    *("date32", "timestamp[ns]", "timestamp[s]", "time64[us]", "binary", "nothing", "lists"),
    "structures",
)


def _typed(rng: np.random.Generator, texts: Cells, kinds: Sequence[str]) -> pyarrow.Array:
    """A column of a random kind, maybe with missing entries."""
    n, kind = len(texts), kinds[int(rng.integers(len(kinds)))]
    others: dict[str, Callable[[], pyarrow.Array]] = {
        "its texts": lambda: pyarrow.array(texts),
        "its texts in a dictionary": lambda: pyarrow.array(texts).dictionary_encode(),
        "numbers": lambda: pyarrow.array(rng.normal(size=n) * 10.0 ** rng.integers(-300, 300)),
        "nothing": lambda: pyarrow.nulls(n),
        "lists": lambda: pyarrow.array([[1, 2]] * n),
        "structures": lambda: pyarrow.array([{"a": 1}] * n),
    }
    if kind in others:
        return others[kind]()
    gaps = rng.integers(9, size=n) == rng.integers(18)  # which is in none, half of the time
    numbers = pyarrow.array(rng.integers(0, 100, size=n), mask=gaps)
    first = {
        "date32": "int32",
        "float16": "float32",
        "binary": "string",
        "large_string": "string",
    }
    return numbers.cast(first.get(kind, "int64")).cast(kind)


def mutated(rng: np.random.Generator, raw: bytes) -> bytes:
    """A file with some bytes changed, cut out, put in, or repeated."""
    for _ in range(int(rng.integers(1, 4))):
        begin, length = int(rng.integers(len(raw) + 1)), int(rng.integers(1, 20))
        some = bytes(rng.choice(list(b'\0\n\r,;\t" .-0123456789eE\xff\xc3a'), size=length).tolist())
        part = raw[begin : begin + length]
        new = {0: some, 1: b"", 2: some + part, 3: part * 2, 4: bytes(b ^ 255 for b in part)}
        raw = raw[:begin] + new[int(rng.integers(5))] + raw[begin + length :]
    return raw[: int(rng.integers(len(raw) + 1))] if rng.integers(8) == 0 else raw


def fault_of_csv(path: Path, cells: dict[str, Cells], form: dict[str, str]) -> str | None:
    """What is wrong with what is read of a whole CSV file; None where it is refused or right."""
    table = read_table(path, **form)
    if list(table.columns) != list(cells):
        return f"the names are {list(table.columns)}"
    for name, texts in cells.items():
        if as_text(table.columns[name]).to_pylist() != [text.strip(BLANKS) for text in texts]:
            return f"the cells of {name!r} differ"
    return None


BLANKS = " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u2028\u2029\u202f\u3000"


LOSSES = ("squared_error", "softmax_cross_entropy", "poisson", "logistic")


def fault_of_examples(path: Path, target: int, missing: str, loss: str) -> str | None:
    """What is wrong with the examples of a file, whatever it holds, for a column as the target."""
    file = open_table(path)
    name = file.names[target % len(file.names)]
    schema = learn_schema(file, name, missing=missing, loss=loss)
    found = list(examples_of(schema, file))
    rows = sum(len(part.X) for part in found)
    d = sum(len(field.inputs) for field in schema.used)
    if not 0 < rows <= schema.rows or any(part.X.shape[1] != d for part in found):
        return f"{rows} examples of {schema.rows} rows, {d} inputs"
    finite = all(np.isfinite(part.X).all() and np.isfinite(part.Y).all() for part in found)
    return None if finite else "an example is not finite"


def run(seed: int, cases: range, report: Report) -> None:
    """Read random files: half are CSV, half Parquet; half of each are damaged."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            report(outcome(np.random.default_rng((seed, case)), case, Path(folder)))


def outcome(rng: np.random.Generator, case: int, folder: Path) -> Result:
    """What becomes of the file of a case."""
    kind = ("csv", "parquet")[case % 2]
    path, cells = folder / f"table.{kind}", columns(rng)
    form = write_csv(rng, path, cells) if kind == "csv" else write_parquet(rng, path, cells)
    damaged = case // 2 % 2 == 1
    if damaged:
        path.write_bytes(mutated(rng, path.read_bytes()))
    what = f"case {case}, {'damaged' if damaged else 'whole'} {kind}"
    if form is not None and not damaged:
        read = judged(lambda: fault_of_csv(path, cells, form), what, names=path.name)
        if read.outcome not in PROMISED:
            return read
    target, missing = int(rng.integers(9)), str(rng.choice(["error", "drop", "impute"]))
    for loss in rng.permutation(LOSSES):
        chosen = (path, target, missing, str(loss))
        result = judged(partial(fault_of_examples, *chosen), f"{what}, {chosen[1:]}")
        if result.outcome != "refused":  # the target fits the loss
            break
    return result

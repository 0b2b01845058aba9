"""What a file holds is neither run, nor obeyed by a terminal, nor believed about its size."""

import ast
import csv
import io
import json
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

import fcnet
from fcnet.cli import main
from fcnet.data import load_model, read_schema
from fcnet.text import escaped
from fcnet.train.checkpoint import CheckpointError, Store, read, write
from fcnet.train.types import NO_ENTRIES, Snapshot, State

PACKAGE = Path(fcnet.__file__).parent
RUNS_CODE = {"eval", "exec", "compile", "__import__", "import_module", "load_module"}
READS_PICKLES = {"load", "loads", "read_pickle", "Unpickler", "allow_pickle"}
EVIL = "\x1b[2J\x07\x9b31m\u202eevil"
"""It would clear a terminal, ring, change its colour, and turn the direction of the text."""


def calls(source):
    """The functions that a source calls, as they are written there."""
    return {ast.unparse(n.func) for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)}


def suspicious(source):
    """The calls in a source that run code which it has as text, or read a pickle."""
    found = set()
    for call in calls(source):
        *owner, name = call.split(".")
        runs = name in RUNS_CODE and owner in ([], ["builtins"], ["importlib"])
        if runs or (name in READS_PICKLES and owner and owner[-1] in ("pickle", "np", "numpy")):
            found.add(call)
    return found


def test_no_source_runs_text_or_reads_a_pickle():
    found = {path.name: suspicious(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}
    assert {name: calls for name, calls in found.items() if calls} == {
        "lazy.py": {"importlib.import_module"}  # by names of its own
    }
    for evil in ("eval(text)", "pickle.loads(raw)", "np.load(path)", "__import__(name)"):
        assert suspicious(evil)


@pytest.mark.parametrize("text", [EVIL, "\x00", "\ud800", "a\rb", "\x85", "\u2066x"])
def test_what_a_terminal_obeys_is_escaped(text):
    shown = escaped(text)
    assert shown.isprintable()
    assert ast.literal_eval(f'"{shown}"') == text
    assert escaped("é 表 \n\t") == "é 表 \n\t"


@pytest.fixture
def table(tmp_path):
    """A table one of whose columns has a name that a terminal would obey."""
    rng = np.random.default_rng(0)
    path = tmp_path / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow([EVIL, "two\nlines", "kind", "y"])
        rows.writerows([i, rng.integers(9), "ab"[i % 2] + EVIL, i % 7] for i in range(40))
    return path


def is_harmless(text):
    return all(line.isprintable() for line in text.split("\n"))


@pytest.mark.untyped
def test_a_terminal_shows_names_and_does_not_obey_them(table, tmp_path, capsys, monkeypatch):
    out = str(tmp_path / "model")
    told = [str(table), "--target", "kind", "--loss", "softmax_cross_entropy", "--out", out]
    assert main(["train", *told, "--hidden", "3", "--steps", "20"]) == 0
    shown = capsys.readouterr()
    assert escaped(EVIL) in shown.out
    assert r"two\nlines" in shown.out
    assert is_harmless(shown.out + shown.err)
    assert main(["train", str(table), "--target", EVIL + "s", "--out", out + "2"]) == 1
    assert main(["train", str(table), "--target", "y", "--features", EVIL + "s"]) == 1
    assert is_harmless(capsys.readouterr().err)
    assert main(["predict", out, str(table)]) == 0
    assert EVIL in capsys.readouterr().out, "a file gets the labels as they are"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["predict", out, str(table)]) == 0
    assert is_harmless(capsys.readouterr().out)
    assert not is_harmless(EVIL)


def test_a_report_shows_the_names_of_a_candidate_and_does_not_obey_them():
    x = {EVIL: jnp.ones(2), "<b>bold</b>": jnp.ones(2)}
    report = fcnet.check_gradient(
        lambda x: {key: 3 * value for key, value in x.items()},
        lambda x: sum((value**2).sum() for value in x.values()),
        x,
    )
    assert report.verdict == "wrong"
    assert is_harmless(str(report) + report.table())
    assert is_harmless(report.to_json())
    assert json.loads(report.to_json())["leaves"]
    assert "<b>bold</b>" not in report.to_html()
    assert "&lt;b&gt;bold" in report.to_html()


def header(claim, **text):
    """A safetensors file whose header claims an array of so many bytes, and no array."""
    entry = {"dtype": "F32", "shape": [claim // 4], "data_offsets": [0, claim]}
    raw = json.dumps({"__metadata__": text, "1.weight": entry}).encode()
    return len(raw).to_bytes(8, "little") + raw


@pytest.mark.parametrize(
    "raw",
    [
        (10**15).to_bytes(8, "little") + b"{}",
        (2**64 - 1).to_bytes(8, "little"),
        header(10**15),
        header(4 * 10**15 // 4),
        b"",
    ],
)
def test_sizes_that_a_header_claims_ask_for_no_memory(raw, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="is not a complete safetensors"):
        load_model(path)
    with pytest.raises(CheckpointError, match="is damaged, or fcnet did not write it"):
        read(path)


def varint(number):
    """A number as Thrift's compact protocol writes it: zigzag, seven bits a byte."""
    number, raw = 2 * number, b""
    while number > 127:
        raw, number = raw + bytes([number & 127 | 128]), number >> 7
    return raw + bytes([number])


def test_rows_that_a_parquet_file_claims_ask_for_no_memory(tmp_path):
    rows = 2**20 + 7
    column = pyarrow.array(np.zeros(rows, np.int8))
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"a": column, "y": column}), buffer)
    raw = buffer.getvalue()
    size = int.from_bytes(raw[-8:-4], "little")
    assert varint(rows) in raw[-8 - size :]
    footer = raw[-8 - size : -8].replace(varint(rows), varint(10**15))
    path = tmp_path / "table.parquet"
    path.write_bytes(raw[: -8 - size] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    assert main(["train", str(path), "--target", "y", "--out", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out").exists()


def test_json_that_is_too_deep_is_refused(tmp_path):
    path = tmp_path / "schema.json"
    path.write_text("[" * 10**5)
    with pytest.raises(ValueError, match="is no JSON of a schema: it is nested too deeply"):
        read_schema(path)


PROGRAMS = {"jax": "1", "fcnet": "1"}
WHOLE = {"step": "10", "best": "0", "configuration": json.dumps(PROGRAMS)}


def latest(folder):
    """The last checkpoint of a folder, for a run whose parameters are two numbers."""
    start = Snapshot(0, State(np.ones(2), ()), NO_ENTRIES, 0, ())
    return Store(folder, 1, 3, PROGRAMS).latest(start)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"configuration": "[" * 10**5}, "nested too deeply"),
        ({"configuration": "[]"}, "is no checkpoint of fit"),
        ({"configuration": None}, "KeyError"),
        ({"step": "ten"}, "invalid literal"),
        ({"step": "-1"}, "step -1, entry 0"),
        ({"best": "7"}, "step 10, entry 7"),
        ({"best": None}, "KeyError"),
        ({"history": np.ones((2, 3))}, "history of shape .2, 3."),
        ({"history": np.ones(())}, "history of shape"),
        ({"history": np.ones(5)}, "history of shape .5,."),
        ({"history": None}, "KeyError"),
    ],
)
def test_a_checkpoint_made_by_hand_is_refused(changed, fault, tmp_path):
    """Its checksum is right: anybody can compute it."""
    made = {**WHOLE, "history": np.ones((1, 5)), **changed}
    made = {name: value for name, value in made.items() if value is not None}
    arrays = {name: value for name, value in made.items() if name == "history"}
    text = {name: value for name, value in made.items() if name != "history"}
    write(tmp_path / "step-0000000010.safetensors", {"params": np.ones(2), **arrays}, text)
    with pytest.raises(CheckpointError, match=fault):
        latest(tmp_path)


def test_a_checkpoint_that_is_whole_is_not(tmp_path):
    arrays = {"params": np.ones(2), "history": np.ones((1, 5))}
    write(tmp_path / "step-0000000010.safetensors", arrays, WHOLE)
    assert latest(tmp_path).step == 10

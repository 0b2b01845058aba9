"""`fcnet check`: files as people write them, exit statuses, and what goes where."""

import json
import sys
from pathlib import Path

import pytest

from fcnet.cli import main

pytestmark = pytest.mark.untyped

RIGHT = """
import numpy as np

def backprop(params, x, y):
    (W1, b1), (W2, b2) = params
    z = W1 @ x + b1
    a = np.maximum(z, 0)
    delta2 = W2 @ a + b2 - y
    delta1 = (W2.T @ delta2) * (z > 0)
    return [(np.outer(delta1, x), delta1), (np.outer(delta2, a), delta2)]

if __name__ == "__main__":
    raise RuntimeError("this is not to be run")
"""

BATCH = """
import jax.numpy as np

def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)

def backprop(p, X, Y):
    A = np.tanh(X @ p["W1"] + p["b1"])
    D2 = (softmax(A @ p["W2"] + p["b2"]) - Y) / len(X)
    D1 = (D2 @ p["W2"].T) * (1 - A * A)
    return {"W1": X.T @ D1, "b1": D1.sum(0), "W2": A.T @ D2, "b2": D2.sum(0)}
"""

TORCH = """
import torch

def backprop(params, x, y):
    W1, b1, W2, b2 = params
    z = W1 @ x + b1
    a = torch.relu(z)
    delta2 = W2 @ a + b2 - y
    delta1 = (W2.T @ delta2) * (z > 0)
    return [torch.outer(delta1, x), delta1, torch.outer(delta2, a), delta2]
"""

NETWORK = "--sizes 4,3,2"
LAYERS = "--sizes 5,4,3 --activation tanh --loss softmax_cross_entropy --batched --layout dict"


@pytest.fixture
def run(tmp_path: Path):
    """Writes a file, checks its function `backprop` or another, and gives the exit status."""

    def run_(source: str, options: str = NETWORK, name: str = "backprop") -> int:
        (tmp_path / "mine.py").write_text(source)
        return main(["check", f"{tmp_path / 'mine.py'}:{name}", *options.split()])

    return run_


def test_a_right_program_exits_with_0(run, capsys):
    assert run(RIGHT) == 0
    assert capsys.readouterr().out.startswith("backprop: RIGHT to 1")


def test_a_wrong_program_exits_with_1_and_the_line_is_named(run, capsys):
    assert run(RIGHT.replace(" * (z > 0)", "")) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("backprop: WRONG")
    assert "line 4 of Algorithm 5, layer 1, missing_derivative" in shown
    assert "Your numbers beside the right ones" not in shown


def test_the_table_comes_after_the_report(run, capsys):
    wrong = RIGHT.replace(" * (z > 0)", "")
    assert run(wrong, f"{NETWORK} --table") == 1
    report, table = capsys.readouterr().out.split("Your numbers beside the right ones", 1)
    assert report.startswith("backprop: WRONG")
    assert "\n>> line 4, layer 1: delta[1]" in table
    assert run(RIGHT, f"{NETWORK} --table") == 0
    assert "agree on every input: there is no table" in capsys.readouterr().out


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
@pytest.mark.parametrize(("spoilt", "status"), [("", 0), (" * 2", 1)])
def test_a_batch_in_another_layout_library_and_precision(run, dtype, spoilt, status):
    source = BATCH.replace("(1 - A * A)", f"(1 - A * A){spoilt}")
    options = f"{LAYERS} --weight-layout in_out --library jax --dtype {dtype} --seed 3"
    assert run(source, options) == status


@pytest.mark.parametrize(("y", "status"), [("np.eye(3)[Y]", 0), ("np.eye(3)[(Y + 1) % 3]", 1)])
def test_targets_may_be_class_numbers(run, y, status):
    source = BATCH.replace("- Y)", f"- {y})")
    assert run(source, f"{LAYERS} --weight-layout in_out --library jax --class-numbers") == status


COLUMNS = """
import numpy as np

def backprop(params, X, Y):
    n = X.shape[1]
    A = np.tanh(params["W1"] @ X + params["b1"])
    D2 = (params["W2"] @ A + params["b2"] - Y) / n
    D1 = params["W2"].T @ D2 * (1 - A * A)
    total = lambda D: D.sum(1, keepdims=True)
    return {"dW1": D1 @ X.T, "db1": total(D1), "dW2": D2 @ A.T, "db2": total(D2)}
"""


@pytest.mark.parametrize(("spoilt", "status"), [("", 0), (" * 2", 1)])
def test_examples_and_biases_may_be_columns(run, spoilt, status):
    source = COLUMNS.replace("(1 - A * A)", f"(1 - A * A){spoilt}")
    options = "--sizes 5,4,3 --activation tanh --layout dict --batched --example-axis columns"
    assert run(source, options) == status


def test_the_network_given_is_another_than_those_tried(run, capsys):
    """Of a network without biases the params would be the same, and seem to be ignored."""
    source = "def backprop(params, x, y): return [x.sum() * y.std() * W for W in params]"
    assert run(source, "--sizes 5,4,3 --layout weights --batched") == 1
    assert "ignores_params" not in capsys.readouterr().out


TAKEN_APART = {
    "weights": "W1, W2 = params; b1, b2 = 0, 0",
    "bias_column": "(b1, W1), (b2, W2) = [(T[:, 0], T[:, 1:]) for T in params]",
    "vector": "W1, b1, W2, b2 = [a.reshape(s) for a, s in zip("
    "np.split(params, [12, 15, 21]), [(3, 4), 3, (2, 3), 2])]",
}
PUT_TOGETHER = {
    "weights": "[dW1, dW2]",
    "bias_column": "[np.c_[db1, dW1], np.c_[db2, dW2]]",
    "vector": "np.concatenate([dW1.ravel(), db1, dW2.ravel(), db2])",
}


@pytest.mark.parametrize(("spoilt", "status"), [("", 0), (" * 2", 1)])
@pytest.mark.parametrize("layout", TAKEN_APART)
def test_layouts_that_sizes_tell(run, layout, spoilt, status):
    source = f"""
import numpy as np

def backprop(params, x, y):
    {TAKEN_APART[layout]}
    z = W1 @ x + b1
    a = np.maximum(z, 0)
    db2 = W2 @ a + b2 - y
    db1 = (W2.T @ db2) * (z > 0){spoilt}
    dW1, dW2 = np.outer(db1, x), np.outer(db2, a)
    return {PUT_TOGETHER[layout]}
"""
    assert run(source, f"{NETWORK} --layout {layout}") == status


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
@pytest.mark.parametrize(("spoilt", "status"), [("", 0), (" * 2", 1)])
def test_tensors(run, dtype, spoilt, status):
    pytest.importorskip("torch")
    source = TORCH.replace("(z > 0)", f"(z > 0){spoilt}")
    assert run(source, f"{NETWORK} --layout flat --library torch --dtype {dtype}") == status


STEP = """
from first import backprop

def step(params, X, Y):
    for k, grad in enumerate(backprop(params, X, Y)):
        params[k] -= 0.1 * (grad + 0.5 / len(X) * params[k] * (k % 2 == 0))
"""

FLAT = """
import numpy as np

def backprop(params, X, Y):
    W1, b1, W2, b2 = params
    Z = X @ W1.T + b1
    D2 = (np.maximum(Z, 0) @ W2.T + b2 - Y) / len(X)
    D1 = (D2 @ W2) * (Z > 0)
    return [D1.T @ X, D1.sum(0), D2.T @ np.maximum(Z, 0), D2.sum(0)]
"""


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ("--l2 0.5/n --learning-rate 0.1", 0, "RIGHT"),
        ("--learning-rate 0.1", 1, "in general l2=lambda n: 0.5 / n"),
        ("--l2 0.5 --learning-rate 0.1", 1, "and l2 asks for 0.5 times"),
    ],
)
def test_a_step_of_a_regularised_loss(tmp_path, capsys, options, status, words):
    (tmp_path / "first.py").write_text(FLAT)
    arguments = ["check", f"{tmp_path / 'mine.py'}:step", "--sizes", "4,3,2", "--batched"]
    (tmp_path / "mine.py").write_text(STEP)
    assert main([*arguments, "--layout", "flat", *options.split()]) == status
    assert words in " ".join(capsys.readouterr().out.split())


def test_a_gradient_of_nothing_exits_with_3(run, capsys):
    """One class has one probability, whatever the parameters."""
    source = (
        "import numpy as np\n"
        "def backprop(params, x, y):\n    return [(0 * W, 0 * b) for W, b in params]"
    )
    assert run(source, "--sizes 3,2,1 --loss softmax_cross_entropy") == 3
    assert capsys.readouterr().out.startswith("backprop: CANNOT TELL")


@pytest.mark.parametrize(
    ("body", "message", "raises"),
    [
        ("return 1 / 0", "mine.py:2 in backprop: return 1 / 0", True),
        ("return 'nonsense'", "backprop: WRONG", False),
        ("return None", "backprop: WRONG", False),
        ("raise SystemExit(0)", "SystemExit", True),
    ],
)
def test_a_program_that_raises_or_returns_nonsense_is_a_finding(run, capsys, body, message, raises):
    assert run(f"def backprop(params, x, y):\n    {body}\n") == 1
    shown = capsys.readouterr()
    assert message in shown.out
    given = "given --layout pairs --weight-layout out_in: x of shape (4,), y of shape (2,)"
    assert (given in shown.out) == raises
    assert not shown.err


@pytest.mark.parametrize(
    ("source", "options", "name", "message"),
    [
        (RIGHT, NETWORK, "backward", "has no function 'backward', only: backprop"),
        (RIGHT, NETWORK, "np", "has no function 'np'"),
        (RIGHT, NETWORK, "a b", "expected FILE.py:FUNCTION"),
        (RIGHT, "--sizes 4", "backprop", "sizes"),
        (RIGHT, f"{NETWORK} --class-numbers", "backprop", "squared_error has none"),
        (RIGHT, f"{NETWORK} --example-axis columns", "backprop", "give --batched too"),
        (RIGHT, f"{NETWORK} --html no/such/folder/page.html", "backprop", "page.html"),
        ("def backprop(:", NETWORK, "backprop", "mine.py cannot be loaded: SyntaxError"),
        ("import no_such_thing", NETWORK, "backprop", "ModuleNotFoundError"),
        ("raise SystemExit(0)", NETWORK, "backprop", "SystemExit"),
    ],
)
def test_an_error_is_one_line_and_status_2(run, capsys, source, options, name, message):
    assert run(source, options, name) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.startswith("fcnet: ")
    assert shown.err.count("\n") == 1


def test_debug_shows_where_a_candidate_fails_to_load(run):
    with pytest.raises(ValueError, match="cannot be loaded") as raised:
        run("import no_such_thing", f"{NETWORK} --debug")
    assert isinstance(raised.value.__cause__, ModuleNotFoundError)


def test_a_missing_file_is_wrong_usage(capsys):
    assert main(["check", "no/such/file.py:backprop", "--sizes", "4,3,1"]) == 2
    assert "there is no file no/such/file.py" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        "--sizes 4,x,1",
        "--sizes 4,0,1",
        "",
        "--sizes 4,3 --dtype x",
        "--sizes 4,3 --l2 1/m",
        "--sizes 4,3 --l2 -1",
        "--sizes 4,3 --learning-rate 0",
    ],
)
def test_options_that_cannot_be_read_are_wrong_usage(run, capsys, options):
    with pytest.raises(SystemExit) as stop:
        run(RIGHT, options)
    assert stop.value.code == 2
    assert "usage: fcnet check" in capsys.readouterr().err


def test_the_report_is_written_as_page_and_as_json(run, tmp_path):
    page, data = tmp_path / "page.html", tmp_path / "report.json"
    assert run(RIGHT, f"{NETWORK} --html {page} --json {data}") == 0
    assert page.read_text().startswith("<!doctype html>")
    assert json.loads(data.read_text())["verdict"] == "right"


def test_neighbours_can_be_imported_and_nothing_stays(run, tmp_path):
    (tmp_path / "the_slope.py").write_text("def slope(z):\n    return z > 0\n")
    source = RIGHT.replace("(z > 0)", "slope(z)").replace(
        "import numpy as np", "import numpy as np\nfrom the_slope import slope"
    )
    before, modules = list(sys.path), set(sys.modules)
    assert run(source) == 0
    assert sys.path == before
    assert not {"mine", "the_slope"} & (set(sys.modules) - modules)

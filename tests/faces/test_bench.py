"""The benchmarks run and write their rows. No test asserts a time."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "scripts" / "bench.py"


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, BENCH, *arguments], capture_output=True, text=True, check=False
    )


def measured(
    tmp_path: Path, *suites: str
) -> tuple[list[dict[str, Any]], subprocess.CompletedProcess[str]]:
    """The rows of a quick run, and the run."""
    file = tmp_path / "figures.json"
    done = bench("--quick", *suites, "--json", file)
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text())["rows"], done


@pytest.mark.slow
def test_a_quick_run_writes_its_rows(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = bench("--quick", "step", "sampling", "--json", file)
    assert done.returncode == 0, done.stderr
    written = json.loads(file.read_text())
    assert {"device", "cores", "python", "jax"} <= written["machine"].keys()
    assert {row["suite"] for row in written["rows"]} == {"step", "sampling"}
    for row in written["rows"]:
        assert row["variant"] != row["baseline"]
        assert row["ratio"] == pytest.approx(row["variant_us"] / row["baseline_us"])
        assert 0 < row["low"] <= row["ratio"] <= row["high"]
        assert row["processor_ratio"] > 0
        assert f"{row['case']}  " in done.stdout
        assert f"{row['ratio']:.3f}" in done.stdout


@pytest.mark.slow
def test_first_results_are_timed_in_fresh_processes(tmp_path: Path) -> None:
    rows, done = measured(tmp_path, "first")
    assert [(row["variant"].split(",")[0], row["case"]) for row in rows] == [
        ("optax.adam", "first"),
        *(("fcnet.fit", case) for case in 2 * ("first", "second, another shape")),
        ("fcnet.FCNetRegressor", "first"),
        ("sklearn.MLPRegressor", "first"),
        *(("fcnet.check", case) for case in 2 * ("first", "second, another shape")),
        ("fcnet.check_gradient", "first"),
    ]
    assert rows[0]["ratio"] == rows[0]["processor_ratio"] == 1
    for row in rows:
        assert row["processor_seconds"] > 0
        assert 0 < row["low"] <= row["ratio"] <= row["high"]
        assert f"{row['processor_ratio']:.2f}" in done.stdout


@pytest.mark.slow
def test_training_is_raced_beside_other_libraries(tmp_path: Path) -> None:
    rows, done = measured(tmp_path, "train", "sweep")
    trained = {row["program"]: row for row in rows if row["suite"] == "train"}
    swept = [row for row in rows if row["suite"] == "sweep"]
    assert {"fcnet.fit", "NumPy by hand", "jitted step + optax"} <= trained.keys()
    assert len(swept) == 3
    own_start = trained.pop("scikit-learn", None)
    assert own_start is None or own_start["loss"] > 0
    losses = [row["loss"] for row in trained.values()]
    assert max(losses) < 1.1 * min(losses), "the libraries did not do the same work"
    assert rows[0]["ratio"] == swept[0]["ratio"] == 1
    for row in rows:
        assert row["low"] <= row["ratio"] <= row["high"]
        assert row["cold"] > 0
        assert f"{row['us']:.4g}" in done.stdout


@pytest.mark.slow
def test_wide_layers_are_raced_beside_their_products(tmp_path: Path) -> None:
    rows, done = measured(tmp_path, "products", "gpu")
    assert {row["suite"] for row in rows} == {"products", "gpu"}
    cases = {row["case"].rpartition(", ")[2] for row in rows if row["program"] == "products alone"}
    assert cases == {"float32", "tensorfloat32", "bfloat16"}
    assert {"fcnet.fit", "products, NumPy", "products, XLA"} <= {row["program"] for row in rows}
    for row in rows:
        assert row["us"] > 0
        assert f"{row['us']:.4g}" in done.stdout
        assert f"{row['us']:.4g}" in done.stderr  # as soon as it is measured


@pytest.mark.slow
def test_time_and_memory_are_measured(tmp_path: Path) -> None:
    rows, _ = measured(tmp_path, "scale", "memory")
    assert [row["suite"] for row in rows] == ["scale"] * 2 + ["memory"] * 2
    assert [row["program"] for row in rows[:2]] == ["n = 10,000", "n = 100,000"]
    for row in rows[2:]:
        assert row["mb"] > 10
        assert row["limit_mb"] > 300


@pytest.mark.slow
def test_models_are_scored_on_what_they_have_not_seen(tmp_path: Path) -> None:
    rows, done = measured(tmp_path, "houses", "mnist")
    assert [row["suite"] for row in rows] == ["houses"] * 3 + ["mnist"] * 3
    for row in rows:
        (score,) = row["scores"]
        assert score < 1
        assert f"{score:.4f}" in done.stdout


@pytest.mark.slow
def test_defaults_are_scored_beside_a_linear_model_and_another_network(tmp_path: Path) -> None:
    ((row,), done) = measured(tmp_path, "defaults")
    assert (row["table"], row["rows"], row["columns"]) == ("iris", 150, 4)
    scores = [value for value in row.values() if isinstance(value, float)]
    assert len(scores) == 6
    assert min(scores) > 0.8
    assert f"{row['command']:.3f}" in done.stdout


@pytest.mark.slow
def test_checkers_are_scored_on_faults_and_on_correct_programs(tmp_path: Path) -> None:
    written, done = measured(tmp_path, "check", "sensitivity")
    rows = {row["variant"]: row for row in written[::-1]}
    ours, others = rows["fcnet.check"], rows["chex assert_numerical_grads"]
    assert (ours["ratio"], ours["false_alarms"], ours["localised"]) == (1.0, 0.0, 1.0)
    assert ours["wrong"] == ours["right"] == 6
    assert others["ratio"] < 1  # a fault goes unseen: the table can tell checkers apart
    assert others["localised"] is None
    assert "detected" in done.stdout
    assert "least error seen" in done.stdout


def test_an_unknown_suite_is_refused() -> None:
    done = bench("steps")
    assert done.returncode == 2
    assert "unknown suite 'steps'; known are step, sampling, check, sensitivity" in done.stderr


@pytest.mark.slow
def test_files_are_read_in_fresh_processes(tmp_path: Path) -> None:
    rows, done = measured(tmp_path, "reading")
    ours = [row for row in rows if row["reader"].startswith("fcnet")]
    assert [row["file"] for row in ours] == 2 * ["csv, 1,000 x 20"] + 2 * ["parquet, 1,000 x 20"]
    for row in rows:
        assert row["cpu_s"] > 0
        assert row["mb"] > 0
        assert row["reader"] in done.stdout

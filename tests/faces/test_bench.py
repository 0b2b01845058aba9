"""The benchmarks run and write their rows. No test asserts a time."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import pytest
from jax import export
from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh

import fcnet

BENCH = Path(__file__).parents[2] / "scripts" / "bench.py"


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, BENCH, *arguments], capture_output=True, text=True, check=False
    )


def measured(
    tmp_path: Path, *suites: str
) -> tuple[list[dict[str, Any]], subprocess.CompletedProcess[str]]:
    """The rows of a quick run, with the suite and the figures of each side by side, and the run."""
    file = tmp_path / "figures.json"
    done = bench("--quick", *suites, "--json", file)
    assert done.returncode == 0, done.stderr
    record = json.loads(file.read_text())
    assert {"device", "processor", "cores"} <= record["machine"].keys()
    assert {"python", "jax", "numpy"} <= record["versions"].keys()
    assert record["date"]
    assert record["note"] == "the smallest cases, once"
    assert list(record["suites"]) == list(suites)
    rows = [
        {"suite": suite, **row, **row["values"]}
        for suite, rows in record["suites"].items()
        for row in rows
    ]
    for row in rows:
        assert row.keys() >= {"case", "program", "values", "baseline"}
        assert row["case"] in done.stdout
        assert row["program"] in done.stdout
        assert row["program"] in done.stderr  # as soon as it is measured
    return rows, done


@pytest.mark.slow
def test_a_quick_run_writes_its_rows(tmp_path: Path) -> None:
    rows, done = measured(tmp_path, "step", "sampling")
    for row in rows:
        assert row["program"] != row["baseline"]
        assert row["ratio"] == pytest.approx(row["us"] / row["baseline_us"])
        assert 0 < row["low"] <= row["ratio"] <= row["high"]
        assert row["processor_ratio"] > 0
        assert shown(row, "ratio") in done.stdout


@pytest.mark.slow
def test_first_results_are_timed_in_fresh_processes(tmp_path: Path) -> None:
    rows, done = measured(tmp_path, "first")
    cases = {name: [r["case"] for r in rows if r["program"] == name] for name in programs(rows)}
    once, twice = ["first, no cache"], ["first, no cache", "second, another shape, no cache"]
    caches = ("no cache", "empty cache", "filled cache")
    assert cases == {
        "optax.adam, jitted step": [f"first, {cache}" for cache in caches],
        "fcnet.fit, all examples": [
            f"{result}, {cache}"
            for cache in caches
            for result in ("first", "second, another shape")
        ],
        "fcnet.fit, batches of 16": twice,
        "fcnet.estimators.FCNetRegressor": once,
        "fcnet.check, right": twice,
        "fcnet.check, wrong": twice,
        "fcnet.check_gradient, residual LayerNorm": once,
        "fcnet train": once,
        "sklearn.neural_network.MLPRegressor": once,
        **({"torch.optim.Adam": once} if find_spec("torch") else {}),
    }
    for row in rows:
        if row["program"] == row["baseline"]:
            assert row["ratio"] == row["processor_ratio"] == 1
        assert row["processor_s"] > 0
        assert 0 < row["low"] <= row["ratio"] <= row["high"]
        assert f"{row['processor_s']:.2f}" in done.stdout


def shown(row: dict[str, Any], name: str) -> str:
    """The figure to as many digits as tables show."""
    digits = {"us": 4, "ratio": 3}[name]
    return f"{float(f'{row[name]:.{digits}g}'):g}"


def programs(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["program"] for row in rows))


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
        assert row["cold_s"] > 0
        assert shown(row, "us") in done.stdout


@pytest.mark.slow
def test_steps_are_raced_beside_their_products(tmp_path: Path) -> None:
    rows, done = measured(tmp_path, "products")
    assert {"fcnet.fit", "NumPy by hand", "products, NumPy", "products, XLA"} <= set(programs(rows))
    for row in rows:
        assert row["us"] > 0
        assert shown(row, "us") in done.stdout


@pytest.mark.slow
def test_the_suite_for_a_gpu_runs_small_on_any_device(tmp_path: Path) -> None:
    rows, done = measured(tmp_path, "gpu")
    floors = {row["case"]: row for row in rows if row["program"] == "floor"}
    assert list(floors) == [
        "8-4-2, B = 16, float32",
        "4 of 4-3-1, B = 8",
        "8-4-2, B = 16, tensorfloat32",
        "8-4-2, B = 16, bfloat16",
        "4-3-1, B = 8, float32",
    ]
    loops = [row["program"] for row in rows if row["case"] == "8-4-2, B = 16, bfloat16"]
    assert loops[:4] == ["floor", "bare fori_loop", "fcnet.fit", "jitted step + optax"]
    for case in floors:
        losses = [row["loss"] for row in rows if row["case"] == case and "loss" in row]
        assert not losses or max(losses) < 1.1 * min(losses), "the loops did not do the same work"
    wide = floors["8-4-2, B = 16, float32"]
    products = 2 * 16 * (2 * 8 * 4 + 3 * 4 * 2)  # 16 rows, two products of 8 x 4, three of 4 x 2
    assert wide["gflop"] == pytest.approx(products / 1e9)
    arrays = 2 * (8 * 4 + 4 + 4 * 2 + 2) + 16 * (8 + 2)  # parameters twice, and the batch
    assert wide["mb"] == pytest.approx(4 * arrays / 2**20)
    for row in rows:
        assert row["us"] > 0
        if row["baseline"] == "floor":
            assert row["ratio"] == pytest.approx(row["us"] / floors[row["case"]]["us"])
        assert shown(row, "us") in done.stdout


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
        assert row["least"] == row["score"] == row["most"] < 1
        assert f"{row['score']:.3f}" in done.stdout


@pytest.mark.slow
def test_defaults_are_scored_beside_a_linear_model_and_another_network(tmp_path: Path) -> None:
    rows, done = measured(tmp_path, "defaults")
    assert programs(rows) == ["linear model", "scikit-learn's MLP", "FCNet", "fcnet train"]
    assert {row["case"] for row in rows} == {"iris, 150 x 4"}
    assert [row["program"] for row in rows if "validation" in row] == programs(rows)[::3]
    assert min(value for row in rows for value in row["values"].values()) > 0.8
    assert f"{rows[-1]['score']:.3f}" in done.stdout


@pytest.mark.slow
def test_checkers_are_scored_on_faults_and_on_correct_programs(tmp_path: Path) -> None:
    written, done = measured(tmp_path, "check", "sensitivity")
    rows = {row["program"]: row for row in written[::-1]}
    ours, others = rows["fcnet.check"], rows["chex.assert_numerical_grads"]
    assert (ours["detected"], ours["false_alarms"], ours["placed"]) == (1.0, 0.0, 1.0)
    assert ours["wrong"] == ours["right"] == 6
    assert ours["wrong_calls"] > ours["right_calls"] > 1
    assert others["detected"] < 1  # a fault goes unseen: the table can tell checkers apart
    assert others["placed"] is None
    assert "detected" in done.stdout
    assert "least error seen" in done.stdout


@pytest.mark.parametrize(("seconds", "begun"), [(-1, 0), (1e6, 8)])
def test_no_part_for_a_gpu_is_begun_when_its_time_is_over(
    seconds: float, begun: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCH.parent))
    gpu = importlib.import_module("benchmarks.gpu")
    monkeypatch.setattr("fcnet.train.data.EVALUATED_ROWS", 16)  # so that it is as before again
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    monkeypatch.setattr(gpu, "SECONDS", seconds)
    for part in ("train", "sweep"):
        monkeypatch.setattr(gpu, part, lambda *given: iter([given]))
    assert len(list(gpu.run(quick=False))) == begun
    assert capsys.readouterr().out.count("left out") == 8 - begun


@pytest.fixture
def layouts(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH.parent))
    return importlib.import_module("benchmarks.layouts")


def stepwise(params: Any, X: Any, Y: Any, batches: Any, rates: Any) -> Any:
    """What a form computes, one network and one step after the other."""
    gradient = jax.jit(fcnet.batch_backprop)
    trained = []
    for k, (table, rate) in enumerate(zip(batches, rates, strict=True)):
        one = jax.tree.map(lambda leaf, k=k: leaf[k], params)
        for rows in table:
            g = gradient(one, X[rows], Y[rows])
            one = jax.tree.map(lambda leaf, g, rate=rate: leaf - rate * g, one, g)
        trained.append(one)
    return jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *trained)


DEFECTS: dict[str, Callable[..., Any]] = {
    "without the last step": lambda p, X, Y, batches, rates: (p, X, Y, batches[:, :-1], rates),
    "another's rate": lambda p, X, Y, batches, rates: (p, X, Y, batches, rates[::-1]),
    "another's batches": lambda p, X, Y, batches, rates: (p, X, Y, batches[::-1], rates),
    "all with one's batches": lambda p, X, Y, b, r: (p, X, Y, b * 0 + b[:1], r),
}


@pytest.mark.slow
def test_every_form_of_a_sweep_takes_the_same_steps(layouts: ModuleType) -> None:
    work = layouts.draw(*layouts.TINY, layouts.TINY_STEPS)
    expected = stepwise(*work)
    for name, train in layouts.FORMS.items():
        assert layouts.difference(train(*work), expected) < 1e-6, name
    for name, defect in DEFECTS.items():
        assert layouts.difference(layouts.FORMS["vmap"](*defect(*work)), expected) > 1e-4, name
    floor, *rows = layouts.run(quick=True)
    assert [row.program for row in rows] == list(layouts.FORMS)
    for row in rows:
        assert row.values["over_floor"] == row.values["us"] / floor.values["us"] > 0
        assert row.values["difference"] < 1e-6


@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated")
def test_the_kernel_of_a_sweep_is_lowered_for_a_gpu(
    layouts: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    work = jax.eval_shape(partial(layouts.draw, *layouts.SWEEPS[0][:4], steps=2))
    device = AbstractDevice("NVIDIA H200", num_cores=None, platform="gpu")
    of_triton = export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")

    def lower(train: Callable[..., Any]) -> str:
        with use_abstract_mesh(AbstractMesh((), (), abstract_device=device)):
            exported = export.export(
                jax.jit(train), platforms=("cuda",), disabled_checks=(of_triton,)
            )(*work)
        return str(exported.mlir_module())

    kernels = [train for name, train in layouts.FORMS.items() if name.startswith("kernel")]
    lowered = {lower(train) for train in kernels}
    assert len(lowered) == len(kernels) > 1, "a precision or a number of warps does not arrive"
    assert all("__gpu$xla.gpu.triton" in text for text in lowered)
    monkeypatch.setattr(layouts, "power_of_two", lambda m: m)
    with pytest.raises(ValueError, match="power of 2"):
        lower(layouts.form(layouts.in_a_kernel, warps=1))


@pytest.mark.parametrize(("sizes", "batch_size"), [((64, 256, 1), 16), ((3, 5, 2), 24)])
def test_what_no_kernel_takes_is_refused(
    sizes: tuple[int, ...], batch_size: int, layouts: ModuleType
) -> None:
    work = jax.eval_shape(partial(layouts.draw, sizes, batch_size, n=30, networks=2, steps=2))
    with pytest.raises(ValueError, match="kernel"):
        jax.eval_shape(partial(layouts.in_a_kernel, warps=4), *work)


@pytest.mark.parametrize(("seconds", "begun"), [(-1, 0), (1e6, 1)])
def test_forms_of_a_sweep_that_fail_or_are_late_are_left_out(
    seconds: float,
    begun: int,
    layouts: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*work: Any) -> Any:
        raise ValueError("not on this device")

    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    monkeypatch.setattr(layouts, "rates_of_device", lambda *_: {"flop": 1.0, "bytes": 1.0})
    monkeypatch.setattr(layouts, "draw", lambda *_: (jax.numpy.ones(1),))
    monkeypatch.setattr(layouts, "SWEEPS", ((*layouts.TINY, 0),))
    monkeypatch.setattr(layouts, "SECONDS", seconds)
    monkeypatch.setattr(layouts, "FORMS", {layouts.OWN: lambda *work: work[0], "bad": fail})
    rows = list(layouts.run(quick=False))
    assert [row.program for row in rows] == ["floor", layouts.OWN][: 1 + begun]
    assert capsys.readouterr().out.count("left out") == 2 - begun


@pytest.mark.slow
def test_an_unknown_suite_is_refused() -> None:
    done = bench("steps")
    assert done.returncode == 2
    assert "unknown suite 'steps'; known are step, sampling, check, sensitivity" in done.stderr


@pytest.mark.slow
def test_files_are_read_in_fresh_processes(tmp_path: Path) -> None:
    rows, done = measured(tmp_path, "reading")
    ours = [row for row in rows if row["program"].startswith("fcnet")]
    assert [row["case"] for row in ours] == 2 * ["csv, 1,000 x 20"] + 2 * ["parquet, 1,000 x 20"]
    for row in rows:
        assert row["processor_s"] > 0
        assert row["mb"] > 0
        assert f"{row['mb']:.0f}" in done.stdout

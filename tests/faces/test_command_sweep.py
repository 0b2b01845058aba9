"""`fcnet sweep` on a small file, from the words to what is written."""

import csv
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from support.problems import assert_close
from test_tabular import houses, write

import fcnet
from fcnet.cli import main
from fcnet.cli.options import TaskOptions
from fcnet.cli.task import make_task
from fcnet.data.model import load_model
from fcnet.plot import loss_curve
from fcnet.train.penalty import penalised
from fcnet.train.start import init_small
from fcnet.train.sweep import SweepResult, sweep

pytestmark = pytest.mark.untyped

GIVEN = ["--features", "sqft,place", "--hidden", "8", "--steps", "100", "--seeds", "3"]
GIVEN += ["--evaluate-every", "200"]
RATES = ["--learning-rates", "0.01,0.001"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "houses.csv", houses())


def swept(file: Path, out: Path, *more: str) -> int:
    return main(["sweep", str(file), "--target", "price", *GIVEN, *more, "--out", str(out)])


def members(out: Path) -> list[dict[str, Any]]:
    with (out / "members.csv").open(newline="") as file:
        return [{name: float(v) for name, v in row.items()} for row in csv.DictReader(file)]


def test_sweep_leaves_the_best_member(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert swept(file, out, *RATES) == 0
    shown = capsys.readouterr().out
    rows = members(out)
    assert [(row["learning_rate"], row["seed"]) for row in rows] == [
        (rate, seed) for rate in (0.01, 0.001) for seed in (0, 1, 2)
    ]
    best = min(rows, key=lambda row: row["loss"])
    assert f"The best has learning_rate {best['learning_rate']:g}, seed {best['seed']:g}" in shown
    losses = [row["loss"] for row in rows if row["learning_rate"] == 0.001]
    assert f"{min(losses):.4g}" in shown
    assert f"{np.median(losses):.4g}" in shown
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert main(["predict", str(out), str(file)]) == 0


def test_a_seed_that_diverged_in_each_setting_costs_neither_the_model_nor_the_curves(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def losing(*given: Any, **named: Any) -> SweepResult:
        result = sweep(*given, **named)
        lost = result.history.validation_loss.copy()
        lost[1:, [0, 3, 4]] = np.nan
        return result._replace(history=result.history._replace(validation_loss=lost), best=1)

    drawn = {}

    def drawing(step: np.ndarray, curves: dict[str, np.ndarray], *, ax: Any) -> Any:
        drawn.update(curves)
        return loss_curve(step, curves, ax=ax)

    monkeypatch.setattr("fcnet.sweep", losing)
    monkeypatch.setattr("fcnet.plot.fits.loss_curve", drawing)
    out = tmp_path / "run"
    assert swept(file, out, *RATES) == 0
    one_of_three, two_of_three = (drawn[f"learning rate {rate}"] for rate in ("0.01", "0.001"))
    assert np.isfinite(one_of_three).all()
    assert np.isfinite(two_of_three).tolist() == [True, False]
    assert main(["predict", str(out), str(file)]) == 0


def test_a_member_is_what_fit_makes_of_its_settings(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert swept(file, out, *RATES, "--l2", "0.01", "--evaluate-every", "log") == 0
    best = min(members(out), key=lambda row: row["loss"])
    _, start, draws = jax.random.split(jax.random.key(0), 3)
    options = TaskOptions(
        **{"data": file, "target": "price", "features": ("sqft", "place"), "categories": ()},
        **{"schema": None, "separator": None, "decimal": None, "encoding": None},
        **{"missing": "error", "hidden": (8,), "activation": "relu", "loss": "squared_error"},
        **{"optimizer": "adam", "l2": 0.01, "batch_size": 32, "steps": 100, "validation": 0.2},
        **{"groups": None},
        **{"evaluate_every": 200, "seed": 0, "out": out},
    )
    task = make_task(options)
    k = int(best["seed"])
    optimizer, hyperparameters = penalised("adam", best["learning_rate"], 0.01)
    result = fcnet.fit(
        init_small(jax.random.split(start, 3)[k], task.sizes),
        *task.examples.training,
        key=jax.random.split(draws, 3)[k],
        batch_size=32,
        steps=100,
        optimizer=optimizer,
        hyperparameters=hyperparameters,
        validation=task.examples.validation,
        evaluate_every="log",
        patience=100,
    )
    assert np.isclose(result.history.validation_loss.min(), best["loss"], rtol=1e-4)
    assert_close(load_model(out).params, result.params, 1e-4)


@pytest.mark.slow
def test_weight_decays_are_crossed_with_rates(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert swept(file, out, *RATES, "--optimizer", "adamw", "--weight-decays", "0,0.1,0.2") == 0
    rows = members(out)
    assert len(rows) == 2 * 3 * 3
    assert len({(row["learning_rate"], row["weight_decay"]) for row in rows}) == 6
    assert len({row["loss"] for row in rows}) == 18


@pytest.mark.slow
def test_a_setting_that_diverges_is_told_and_not_kept(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--optimizer", "sgd", "--learning-rates", "0.01,1e30"]
    assert swept(file, tmp_path / "run", *given) == 0
    shown = capsys.readouterr().out.splitlines()
    (diverged,) = (line for line in shown if line.strip().startswith("1e+30"))
    assert diverged.endswith("3 of 3")
    assert any("The best has learning_rate 0.01" in line for line in shown)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(
            ["--optimizer", "sgd", "--learning-rates", "1e30"],
            "every network diverged",
            marks=pytest.mark.slow,
        ),
        (["--weight-decays", "0.1"], "--weight-decays needs --optimizer adamw or lion"),
        (["--features", "sqm"], "no column 'sqm'"),
        (["--validation", "0.999"], "validation must be"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(
    given: list[str],
    message: str,
    file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert swept(file, tmp_path / "run", *given) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_model_is_not_overwritten(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert swept(file, out, "--learning-rates", "0.01") == 0
    before = (out / "model.safetensors").read_bytes()
    assert swept(file, out, "--learning-rates", "0.02") == 1
    assert "holds a model already" in capsys.readouterr().err
    run = tmp_path / "interrupted"
    assert main(["train", str(file), "--target", "price", "--steps", "20", "--out", str(run)]) == 0
    (run / "model.safetensors").unlink()
    assert swept(file, run, "--learning-rates", "0.01") == 1
    assert "or a run: choose another --out" in capsys.readouterr().err
    for resume in ([], ["--resume"]):
        assert main(["train", str(file), "--target", "price", "--out", str(out), *resume]) == 1
        assert "holds a model without its run" in capsys.readouterr().err
    assert (out / "model.safetensors").read_bytes() == before


def test_a_folder_that_cannot_be_made_is_an_error_before_training(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*given: object, **named: object) -> None:
        raise AssertionError("it trained")

    monkeypatch.setattr("fcnet.sweep", trained)
    assert swept(file, file, "--learning-rates", "0.01") == 1  # in place of a folder, a file
    assert "FileExistsError" in capsys.readouterr().err
    assert swept(file, file.parent / "run", "--learning-rates", "0.01") == 1
    assert "it trained" in capsys.readouterr().err

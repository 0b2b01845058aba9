"""Tables that are read while a network is trained: which rows it sees, what it makes of them."""

from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from fcnet.cli import main
from fcnet.data import learn_schema, open_table, stream
from fcnet.data.parts import Parts
from fcnet.data.preprocess import fit_standardizer
from fcnet.interchange import load

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

pytestmark = pytest.mark.untyped

N, GROUP = 2000, 100
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
COLUMNS: dict[str, Any] = {
    "x": 1e6 + RNG.permutation(N) / 3,  # all different, and they number the rows
    "place": np.array(["hill", "lake", "town"])[RNG.integers(3, size=N)],
    "group": np.arange(N) // GROUP,
}
COLUMNS["y"] = 2 * COLUMNS["x"] + 100 * (COLUMNS["place"] == "lake")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and pools so small that there are many."""
    monkeypatch.setattr("fcnet.data.read.BATCH", 30)
    monkeypatch.setattr("fcnet.data.streams.POOL", 300)


def write(path: Path, columns: dict[str, Any]) -> Path:
    parquet.write_table(arrow.table(columns), path, row_group_size=GROUP)
    return path


def parts_of(path: Path, validation: float = 0.2, **given: Any) -> Parts:
    file = open_table(path)
    return stream(file, learn_schema(file, "y"), **{"validation": validation, "key": KEY, **given})


def x_of(parts: Parts, X: Any) -> np.ndarray:
    """The numbers in the column x, in their own units."""
    x = np.asarray(X)[:, 0] * parts.inputs.scale[0] + parts.inputs.mean[0]
    return np.round((x - 1e6) * 3).astype(int)


def test_each_pass_has_every_training_row_once_and_none_that_is_held_out(tmp_path: Path) -> None:
    parts = parts_of(write(tmp_path / "a.parquet", COLUMNS))
    assert parts.validation is not None
    assert parts.batches is not None
    held = x_of(parts, parts.validation.X)
    assert len(held) + parts.rows == N
    assert abs(len(held) - N / 5) < 80
    seen = parts.batches(7, KEY)
    passes = []
    for _ in range(2):
        batches = [*islice(seen, parts.rows // 7)]
        assert {X.shape for X, _ in batches} == {(7, 5)}
        passes.append(x_of(parts, np.concatenate([X for X, _ in batches])))
    for some in passes:
        assert len(np.unique(some)) >= len(some) - 7  # whose first rows may end the pass before
        assert not set(some) & set(held)
    assert (passes[0] != passes[1]).any()
    assert set(np.concatenate(passes)) | set(held) == set(range(N))


def test_scales_are_those_of_the_training_rows(tmp_path: Path) -> None:
    """The oracle is NumPy, of the rows that are not held out."""
    parts = parts_of(write(tmp_path / "a.parquet", COLUMNS))
    assert parts.validation is not None
    kept = ~np.isin(np.round((COLUMNS["x"] - 1e6) * 3), x_of(parts, parts.validation.X))
    places = [COLUMNS["place"] == place for place in ("hill", "lake", "town")]
    X = np.column_stack([COLUMNS["x"], *places, COLUMNS["group"]]).astype(float)[kept]
    for found, expected in zip(parts.inputs, fit_standardizer(X), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    for found, expected in zip(
        parts.targets, fit_standardizer(COLUMNS["y"][kept, None]), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert parts.batches is not None
    X, Y = next(parts.batches(50, KEY))
    y = Y[:, 0] * parts.targets.scale + parts.targets.mean
    lake = X[:, 2] > 0
    np.testing.assert_allclose(
        y - 2 * (x_of(parts, X) / 3 + 1e6), 100 * lake, atol=1e-4 * parts.targets.scale[0]
    )


def test_batches_mix_groups_that_are_far_apart(tmp_path: Path) -> None:
    """A file may be sorted; the planted defect is one group at a time."""
    parts = parts_of(write(tmp_path / "a.parquet", COLUMNS), validation=0)

    def mixed(parts: Parts) -> float:
        """How many groups of rows a batch of 50 has, on average."""
        assert parts.batches is not None
        return float(
            np.mean([len(np.unique(X[:, 4])) for X, _ in islice(parts.batches(50, KEY), 20)])
        )

    assert parts.validation is None
    assert parts.rows == N
    assert mixed(parts) >= 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fcnet.data.streams.GROUPS", 1)
        patch.setattr("fcnet.data.streams.POOL", 50)
        assert mixed(parts) < 2.5


def test_rows_and_their_order_are_the_keys_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", COLUMNS)
    one, same, other = (parts_of(path, key=jax.random.key(seed)) for seed in (1, 1, 2))
    held = [set(x_of(parts, parts.validation.X)) for parts in (one, same, other)]  # type: ignore[union-attr]
    assert held[0] == held[1] != held[2]
    assert one.batches is not None
    first = [next(one.batches(64, jax.random.key(seed)))[0] for seed in (1, 1, 2)]
    assert (first[0] == first[1]).all()
    assert (first[0] != first[2]).any()


def test_equal_rows_stay_on_one_side_unless_few_are_different(tmp_path: Path) -> None:
    twice = {name: np.tile(cells[: N // 2], 2) for name, cells in COLUMNS.items()}
    parts = parts_of(write(tmp_path / "twice.parquet", twice))
    assert parts.validation is not None
    held = np.bincount(x_of(parts, parts.validation.X))
    assert set(held) == {0, 2}
    few = {"x": np.arange(N) % 3, "y": COLUMNS["y"]}
    parts = parts_of(write(tmp_path / "few.parquet", few))
    assert parts.validation is not None
    assert abs(len(parts.validation.X) - N / 5) < 80


def test_no_more_rows_are_held_out_than_a_network_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcnet.data.streams.DRAWN_ROWS", 100)
    parts = parts_of(write(tmp_path / "a.parquet", COLUMNS))
    assert parts.validation is not None
    assert 50 < len(parts.validation.X) < 200
    assert 50 < len(parts.training.X) < 200
    assert parts.rows == N - len(parts.validation.X)


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.mark.parametrize("ending", ["csv", pytest.param("parquet", marks=pytest.mark.slow)])
def test_a_network_is_trained_on_a_table_that_is_too_large(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fcnet.cli.task.MOST_BYTES", 0)
    monkeypatch.setattr("fcnet.data.pieces.PIECE", 20_000)
    path = write(tmp_path / "a.parquet", COLUMNS)
    if ending == "csv":
        path = tmp_path / "a.csv"
        rows = zip(*COLUMNS.values(), strict=True)
        path.write_text("\n".join([",".join(COLUMNS), *(",".join(map(str, row)) for row in rows)]))
    given = ["train", path, "--target", "y", "--hidden", "16", "--learning-rate", 0.01]
    given += ["--evaluate-every", 100, "--patience", 0]
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    assert run(*given, "--steps", 600, "--out", whole) == 0
    shown = capsys.readouterr().out
    assert "2,000 rows, 1,584 for training, 416 for validation" in shown
    assert "Too large for memory: the file is read while the network is trained" in shown
    r2 = float(next(line for line in shown.splitlines() if "  validation" in line).split()[-1])
    assert r2 > 0.99
    assert run("predict", whole, path, "--out", tmp_path / "y.csv") == 0
    assert run(*given, "--steps", 300, "--out", pieces) == 0
    assert run(*given, "--steps", 600, "--out", pieces, "--resume") == 0
    one, other = (load(out / "model.safetensors") for out in (whole, pieces))
    assert one[1] == other[1]
    assert jax.tree.all(jax.tree.map(np.array_equal, one[0], other[0]))
    capsys.readouterr()
    assert run("sweep", path, "--target", "y", "--out", tmp_path / "sweep") == 1
    assert "too much for memory" in capsys.readouterr().err
    assert run(*given, "--groups", "group", "--out", tmp_path / "groups") == 1
    assert "too much for memory" in capsys.readouterr().err


def test_a_share_that_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {name: cells[:20] for name, cells in COLUMNS.items()})
    with pytest.raises(ValueError, match=r"validation=0\.999 of 20 rows cannot be held out"):
        parts_of(path, validation=0.999)

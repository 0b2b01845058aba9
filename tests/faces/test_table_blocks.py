"""Tables read a block of rows at a time: what is learned of them is what the whole table says."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tables import learned

from fcnet.checks import as_jax
from fcnet.cli import main
from fcnet.data import pieces, read, survey
from fcnet.data.examples import Schema
from fcnet.data.learn import learn_schema
from fcnet.data.parts import Parts, aligned_rows, divided, row_hashes, split
from fcnet.data.preprocess import combined, fit_standardizer, moments, standardizer_of
from fcnet.data.read import open_table, read_table

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

pytestmark = pytest.mark.untyped

N = 60
RNG = np.random.default_rng(0)
COLUMNS: dict[str, list[str]] = {
    "id": [str(i) for i in range(N)],
    "code": [f"{i % 3:02d}" if i > 50 else str(10 + i % 4) for i in range(N)],
    "late": ["7"] * 55 + ["hill"] * 5,
    "gaps": [["", "?", "NA", f"{i}.5", f"{i}"][i % 5] for i in range(N)],
    "place": [["hill", "lake", ""][i % 3] for i in range(N)],
    "large": [f"{10**7 + (i * i) % 17}" for i in range(N)],
    "size": [f"{x:.3f}" for x in RNG.normal(size=N)],
    "price": [f"{x:.3f}" for x in RNG.normal(size=N)],
}
GIVEN = {"late": {"kind": "category"}}


def write(path: Path, columns: dict[str, Any]) -> Path:
    rows = zip(*columns.values(), strict=True)
    text = "\n".join([",".join(columns), *map(",".join, rows), ""])
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("missing", ["drop", "impute"])
@pytest.mark.parametrize("size", [1, 100, 400])
def test_a_schema_learned_in_pieces_is_that_of_the_whole(
    size: int, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A code in the last rows makes a category of all, with the texts of the first ones."""
    path = write(tmp_path / "a.csv", COLUMNS)
    expected = learned(read_table(path), "price", given=GIVEN, missing=missing)
    monkeypatch.setattr(pieces, "PIECE", size)
    found = learn_schema(open_table(path), "price", given=GIVEN, missing=missing)
    kinds = {field.name: field.kind for field in found.features}
    assert kinds["code"] == "category"
    assert kinds["id"] == "ignored"
    assert [*found.features, found.target] == [*expected.features, expected.target]
    assert found.missing == expected.missing
    assert found.rows == N


def test_a_wrong_cell_is_named_by_its_row_in_any_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [*COLUMNS["size"][:41], "twelve", *COLUMNS["size"][42:]]
    path = write(tmp_path / "a.csv", {**COLUMNS, "size": sizes})
    monkeypatch.setattr(pieces, "PIECE", 50)
    with pytest.raises(
        ValueError, match="column 'size' has 'twelve' in line 43, 59 of 60 are numb"
    ):
        learn_schema(open_table(path), "price", given=GIVEN, missing="impute")
    with pytest.raises(
        ValueError, match="column 'size' has 'twelve' in line 43, expected a number"
    ):
        learn_schema(
            open_table(path), "price", given=GIVEN | {"size": {"kind": "number"}}, missing="impute"
        )


def test_texts_that_are_too_many_to_keep_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two in five names are digits: no column of numbers, however many names are remembered."""
    names = [str(i) if i % 5 < 2 else f"name {i}" for i in range(N)]
    path = write(tmp_path / "a.csv", {**COLUMNS, "name": names})
    monkeypatch.setattr(pieces, "PIECE", 100)
    monkeypatch.setattr(survey, "MOST_TEXTS", 3)
    found = learn_schema(open_table(path), "price", given=GIVEN, missing="impute")
    (field,) = (field for field in found.features if field.name == "name")
    assert field.kind == "ignored"
    write(path, {**COLUMNS, "name": [f"name {i}" if i % 5 < 2 else str(i) for i in range(N)]})
    with pytest.raises(ValueError, match="'name' has 'name 0' in line 2, 36 of 60 are numbers"):
        learn_schema(open_table(path), "price", given=GIVEN, missing="impute")


@given(
    cells=st.lists(
        st.sampled_from(["1", "2.5", "007", "", "?", "x", "y", "1e3", "9007199254740993", "-0"]),
        min_size=4,
        max_size=40,
    ),
    size=st.integers(1, 30),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_pieces_change_nothing(
    cells: list[str], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is decided of a column, or refused, is the same however it is read."""
    path = tmp_path_factory.mktemp("pieces") / "a.csv"
    write(path, {"c": cells, "x": [*map(str, range(len(cells)))], "y": ["1", "2"] * len(cells)}
          | {"y": [str(i * i % 7) for i in range(len(cells))]})  # fmt: skip

    def result() -> tuple[Schema | None, str]:
        try:
            found = learn_schema(open_table(path), "y", features=("c", "x"), missing="drop")
        except ValueError as error:
            return None, str(error)
        return found._replace(scales=None, target_scales=None), ""  # type: ignore[arg-type]

    whole = result()
    piece, pieces.PIECE = pieces.PIECE, size
    try:
        assert result() == whole
    finally:
        pieces.PIECE = piece


def test_moments_of_blocks_are_those_of_all() -> None:
    X = np.column_stack(
        [RNG.normal(size=50), 1e9 + RNG.normal(size=50), RNG.integers(2, size=50), np.ones(50)]
    )
    X[0, 0] = 1e200
    parts = [moments(block) for block in np.array_split(X, [3, 4, 30])]
    whole = parts[0]
    for part in parts[1:]:
        whole = combined(whole, part)
    for found, expected in zip(standardizer_of(whole), fit_standardizer(X), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-7)


def parts_of(path: Path, **given: Any) -> tuple[Parts, Schema]:
    file = open_table(path)
    schema = learn_schema(file, "price", given=GIVEN, missing="impute")
    given = {"validation": 0.2, "key": jax.random.key(0), **given}
    return split(file, schema, **given), schema


def test_parts_are_standardised_by_their_training_rows(tmp_path: Path) -> None:
    """The oracle is NumPy, of the examples in double precision."""
    path = write(tmp_path / "a.csv", COLUMNS)
    parts, _ = parts_of(path)
    assert parts.validation is not None
    examples = learned(read_table(path), "price", given=GIVEN, missing="impute")
    assert len(parts.validation.X) == 12
    np.testing.assert_allclose(np.asarray(parts.training.X).mean(axis=0), 0, atol=1e-5)
    rows = []
    for part in (parts.training, parts.validation):
        X = np.asarray(part.X) * parts.inputs.scale + parts.inputs.mean
        Y = np.asarray(part.Y) * parts.targets.scale + parts.targets.mean
        for x, y in zip(X, Y, strict=True):
            distance = np.abs(examples.Y - y)[:, 0]
            (row,) = np.flatnonzero(distance < 1e-5)
            np.testing.assert_allclose(x, examples.X[row], atol=1e-5, rtol=1e-7)
            rows.append(row)
    assert sorted(rows) == [*range(N)]
    expected = fit_standardizer(examples.X[rows[:48]])
    np.testing.assert_allclose(parts.inputs.mean, expected.mean, atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(parts.inputs.scale, expected.scale, rtol=1e-5)


def test_divided_rows_are_not_copied() -> None:
    """On a CPU; the planted defect are rows from another address on."""
    if jax.default_backend() != "cpu":
        pytest.skip("the rows are copied to the device")
    rows = aligned_rows(100, 3, np.float32)
    rows[:100] = RNG.normal(size=(100, 3))
    before, held = rows[:100].copy(), RNG.uniform(size=100) < 0.3
    training, validation = divided(rows, held)
    np.testing.assert_array_equal(training, before[~held])
    np.testing.assert_array_equal(validation, before[held])
    for part in (training, validation):
        assert np.shares_memory(np.asarray(as_jax(part)), rows)
    assert not np.shares_memory(np.asarray(as_jax(training[1:])), rows)


def test_a_table_is_read_without_pandas(tmp_path: Path) -> None:
    """Which takes longer to load than most tables take to read."""
    path = write(tmp_path / "a.csv", {**COLUMNS, "gap": ["1.5", "?", ""] * 20})
    arrow_table = arrow.table({name: [*cells] for name, cells in COLUMNS.items()})
    parquet.write_table(arrow_table, tmp_path / "a.parquet")
    program = """
import sys
from pathlib import Path
from fcnet.data import learn_schema, make_examples, open_table
for path in sys.argv[1:]:
    file = open_table(Path(path))
    given = {"late": {"kind": "category"}}
    make_examples(learn_schema(file, "price", given=given, missing="impute"), file)
assert "pyarrow" in sys.modules
print("pandas" in sys.modules)
"""
    paths = [str(path), str(tmp_path / "a.parquet")]
    done = subprocess.run(
        [sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_large_numbers_keep_their_digits_in_single_precision(tmp_path: Path) -> None:
    """10^7 + 0 ... 16: read in float32 before it is standardised, a column would lose its units."""
    parts, _ = parts_of(write(tmp_path / "a.csv", COLUMNS))
    names = [name for field in parts.schema.used for name in field.inputs]
    large = np.asarray(parts.training.X)[:, names.index("large")].astype(np.float64)
    steps = np.diff(np.unique(large.round(5))) * parts.inputs.scale[names.index("large")]
    np.testing.assert_allclose(steps, steps.round(), atol=1e-3)
    assert steps.max() <= 7


def test_predictions_in_pieces_are_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.csv", {**COLUMNS, "place": ["é", "ü", "o"] * 20})
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    given = ["--encoding", "latin-1", "--out"]
    options = ["--target", "price", "--features", "size,code,place", "--hidden", "4"]
    assert main(["train", str(path), *options, "--steps", "9", *given, str(tmp_path / "run")]) == 0
    assert "Read with latin-1." in capsys.readouterr().out
    found = []
    for size in (2**22, 60):
        monkeypatch.setattr(pieces, "PIECE", size)
        out = tmp_path / f"{size}.csv"
        assert main(["predict", str(tmp_path / "run"), str(path), *given, str(out)]) == 0
        found.append((np.loadtxt(out, skiprows=1), capsys.readouterr().err))
    assert found[0][1] == found[1][1] != ""
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    assert main(["predict", str(tmp_path / "run"), str(path)]) == 1
    assert "is not in UTF-8: save the file in UTF-8, or name its encod" in capsys.readouterr().err


def test_hashes_are_those_of_rows() -> None:
    X = RNG.integers(4, size=(500, 3)).astype(np.float64)
    assert len(np.unique(row_hashes(X))) == len(np.unique(X, axis=0))
    assert (row_hashes(np.array([[-0.0]])) == row_hashes(np.array([[0.0]]))).all()
    assert (row_hashes(X, salt=1) != row_hashes(X)).all()
    spread = np.bincount((row_hashes(RNG.normal(size=(4000, 2))) >> np.uint64(62)).astype(int))
    np.testing.assert_allclose(spread, 1000, atol=150)


@pytest.mark.parametrize("rows", [7, 20, 60])
def test_row_groups_are_read_as_the_file(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.csv", COLUMNS)
    typed = {
        name: [*map(float, cells)] if name in ("size", "price", "large") else cells
        for name, cells in COLUMNS.items()
    }
    parquet.write_table(arrow.table(typed), tmp_path / "a.parquet", row_group_size=rows)
    monkeypatch.setattr(read, "BATCH", 16)
    file = open_table(tmp_path / "a.parquet")
    assert sum(file.groups) == N
    firsts = [(table.first, table.rows) for table in file.blocks((), [len(file.groups) - 1])]
    assert firsts[0][0] == N - file.groups[-1]
    found = learn_schema(file, "price", given=GIVEN, missing="impute")
    expected = learned(read_table(path), "price", given=GIVEN, missing="impute")
    assert [*found.features, found.target] == [*expected.features, expected.target]

"""What a column is, is decided once: overrides, missing entries, predictions to the letter."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tables import Learned, learned

import fcnet
from fcnet.cli import main
from fcnet.data.cells import as_numbers
from fcnet.data.model import (
    TableModel,
    inputs_of,
    load_model,
    predict,
    save_model,
    targets_of,
    with_scales,
)
from fcnet.data.preprocess import fit_standardizer, unscaled
from fcnet.data.read import Table, read_table
from fcnet.data.schema import Field, encode, interpret, learn, read_schema, write_schema
from fcnet.network import init

pytestmark = pytest.mark.untyped

N = 24
ROWS = {
    "post": ["02139", "K1A", "02140", "2139"],
    "zone": ["7", "07", "7.0", "+7"],
    "sold": ["NA", "yes", "no", "yes, soon"],
    "size": [str(800 + 37 * i % 101) for i in range(N)],
    "price": [f"{50 + i * i % 17}.5" for i in range(N)],
}
COLUMNS = {name: (cells * N)[:N] for name, cells in ROWS.items()}


def table_of(columns: dict[str, Any], path: Path, **how: Any) -> Table:
    with path.open("w", newline="") as file:
        csv.writer(file, **how).writerows([columns, *zip(*columns.values(), strict=True)])
    return read_table(path)


def model_of(examples: Learned) -> TableModel:
    """A network of random parameters on these examples."""
    import jax

    used = tuple(field for field in examples.features if field.kind != "ignored")
    target = with_scales((examples.target,), unscaled(examples.Y.shape[1]))[0]
    params = init(jax.random.key(0), (examples.X.shape[1], 5, examples.Y.shape[1]))
    loss = "squared_error" if target.is_number else "softmax_cross_entropy"
    fields = with_scales(used, fit_standardizer(examples.X))
    return TableModel(params, fields, target, "tanh", loss)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("schema")


@pytest.fixture(scope="module")
def model(folder: Path) -> TableModel:
    path = folder / "model.safetensors"
    save_model(path, model_of(learned(table_of(COLUMNS, folder / "all.csv"), "price", given=ZONE)))
    return load_model(path)


ZONE = {"zone": {"kind": "category"}}


@given(
    rows=st.lists(st.integers(0, N - 1), min_size=1, max_size=8),
    order=st.permutations([*COLUMNS]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_row_has_one_prediction_however_its_file_is_written(
    model: TableModel, folder: Path, rows: list[int], order: list[str], **how: Any
) -> None:
    """Any subset of rows, and so of categories, in any order of rows and columns, quoted or not."""
    expected = predict(model, read_table(folder / "all.csv"))[rows]
    how["lineterminator"] = how.pop("end")
    some = {name: [COLUMNS[name][row] for row in rows] for name in order}
    table = table_of(some, folder / "some.csv", **how)
    np.testing.assert_allclose(predict(model, table), expected, rtol=1e-5)


def test_a_reader_that_took_a_code_for_a_number_would_be_noticed(
    model: TableModel, folder: Path
) -> None:
    """The planted defect: the text of a code, read as a number and written again."""
    wrong = {**COLUMNS, "zone": [f"{float(cell):g}" for cell in COLUMNS["zone"]]}
    right = predict(model, read_table(folder / "all.csv"))
    assert not np.allclose(predict(model, table_of(wrong, folder / "wrong.csv")), right, rtol=1e-3)


TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=6
)
LIKE = st.from_regex(r"[+-]?0*[0-9]{1,3}(\.0*)?([eE]0?[0-3])?", fullmatch=True)


@given(texts=st.lists(TEXT | LIKE, min_size=2, max_size=6, unique=True))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_texts_that_differ_share_no_category(folder: Path, texts: list[str]) -> None:
    cells = [*texts, *texts, *texts]
    table = table_of(
        {"c": cells, "y": [*range(len(cells))]}, folder / "c.csv", quoting=csv.QUOTE_ALL
    )
    entries = interpret(Field("c", "category"), table)
    known = learn(Field("c", "category"), entries)
    assert sorted(known.values) == sorted(texts)
    hot = encode(known, entries)
    assert (hot.sum(axis=1) == 1).all()
    assert [known.values[j] for j in hot.argmax(axis=1)] == cells


def test_a_schema_in_a_file_overrides_what_would_be_decided(tmp_path: Path) -> None:
    columns = {
        "level": ["1", "2", "twelve", "3"] * 6,
        "zip": ["1", "2", "3", "4"] * 6,
        "note": [f"note {i % 5}" for i in range(N)],
        "day": ["2020-01-01", "2020-01-02", "2020-03-01 12:00", "NA"] * 6,
        "gap": ["-999", "5", "6", "7"] * 6,
        "y": [*range(N)],
    }
    table = table_of(columns, tmp_path / "a.csv")
    with pytest.raises(
        ValueError, match="column 'level' has 'twelve' in line 4, 18 of 24 are numb"
    ):
        learned(table, "y")
    (tmp_path / "schema.json").write_text(
        json.dumps(
            {
                "level": {"kind": "number", "missing": ["twelve"]},
                "zip": {"kind": "category"},
                "note": {"kind": "ignored"},
                "day": {"kind": "date"},
                "gap": {"kind": "number", "missing": ["-999"]},
            }
        )
    )
    says = read_schema(tmp_path / "schema.json")
    examples = learned(table, "y", given=says, missing="impute")
    kinds = {field.name: field.kind for field in examples.features}
    assert kinds == {name: said["kind"] for name, said in says.items()}
    level, blank, *zips, day, gap = examples.X[:4].T
    assert not blank.any()
    assert level.tolist() == [1, 2, 2, 3]
    assert np.array_equal(np.array(zips), np.eye(4))
    assert day.tolist() == [18262, 18263, 18322.5, 18263]  # days since 1970-01-01
    assert gap.tolist() == [6, 5, 6, 7]
    assert examples.missing["level"] == "6 missing ('twelve')"
    written = write_schema((*examples.features, examples.target))
    (tmp_path / "again.json").write_text(written)
    again = learned(table, "y", given=read_schema(tmp_path / "again.json"), missing="impute")
    np.testing.assert_array_equal(again.X, examples.X)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "schema.json is no JSON"),
        (
            '{"a": {"kind": "number"}, "a": {"kind": "ignored"}}',
            "the name 'a' is there twice",
        ),
        ("[]", "must hold an object of columns by name, got []"),
        ('{"a": {}}', "column 'a' must have a kind, one of number, category, label, date, ignored"),
        ('{"a": {"kind": "text"}}', "got {'kind': 'text'}"),
        ('{"a": {"kind": "number", "missing": "?"}}', "lists of texts called missing and values"),
        ('{"a": {"kind": "number", "fill": []}}', "got 'fill': []"),
        (
            '{"a": {"kind": "number", "values": ["1"]}}',
            "of the kind number, and only a category ",
        ),
        ('{"a": {"kind": "label", "values": ["b", "b"]}}', "must have each of its values once"),
        (
            '{"a": {"kind": "category", "values": ["b"], "missing": ["b"]}}',
            "and none of them as missing; got ['b']",
        ),
    ],
)
def test_a_schema_that_cannot_be_read_says_why(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text(content)
    with pytest.raises(ValueError, match=r"schema\.json") as caught:
        read_schema(tmp_path / "schema.json")
    assert message in str(caught.value)


def test_a_schema_of_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    table = table_of(COLUMNS, tmp_path / "a.csv")
    with pytest.raises(ValueError, match="no column 'beds'; the columns are post, zone"):
        learned(table, "price", given={"beds": {"kind": "number"}})


def test_a_target_of_another_kind_in_the_schema_is_told(tmp_path: Path) -> None:
    table = table_of(COLUMNS, tmp_path / "a.csv")
    for kind in ("category", "ignored"):
        with pytest.raises(ValueError, match=f"the target 'price' is of the kind {kind} in"):
            learned(table, "price", given={"price": {"kind": kind}})


def test_known_values_can_be_given(tmp_path: Path) -> None:
    table = table_of(COLUMNS, tmp_path / "a.csv")
    known = {"kind": "category", "values": ["0", "7", "07", "7.0", "+7"]}
    examples = learned(table, "price", features=("zone",), given={"zone": known})
    assert examples.features[0].values == ("0", "7", "07", "7.0", "+7")
    assert not examples.X[:, 0].any()
    known = {"kind": "category", "values": ["7", "07", "7.0"]}
    with pytest.raises(
        ValueError, match=r"column 'zone' has '\+7' in line 5, expected one of its "
    ):
        learned(table, "price", features=("zone",), given={"zone": known})
    gaps = {**COLUMNS, "size": ["NA", *COLUMNS["size"][1:]]}
    with pytest.raises(
        ValueError, match=r"'\+7' in line 5, expected one of its known values: '7', "
    ):
        learned(
            table_of(gaps, tmp_path / "gaps.csv"),
            "price",
            features=("zone", "size"),
            given={"zone": known},
            missing="drop",  # the error counts the row that is dropped, too
        )


@pytest.mark.parametrize("kind", ["number", "category"])
def test_a_column_that_is_said_to_be_something_must_have_entries(kind: str, tmp_path: Path) -> None:
    columns = {**COLUMNS, "gone": [""] * N}
    table = table_of(columns, tmp_path / "a.csv")
    assert "gone" in {f.name for f in learned(table, "price", missing="impute").features}
    with pytest.raises(ValueError, match="column 'gone' has no entries: leave it out"):
        learned(table, "price", given={"gone": {"kind": kind}}, missing="impute")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"post": ["2140"]},
            "column 'post' has '2140' in line 4, expected one of its known values",
        ),
        ({"zone": ["007"]}, "'007' in line 4, expected one of its known values: '+7', '07'"),
        ({"sold": [""]}, "column 'sold' has 1 missing values, the first in line 4"),
        ({"size": ["NA"]}, "column 'size' has 1 missing values, the first in line 4"),
        ({"size": ["large"]}, "column 'size' has 'large' in line 4, expected a number"),
    ],
)
def test_predictions_follow_the_schema_to_the_letter(
    model: TableModel, tmp_path: Path, change: dict[str, list[str]], message: str
) -> None:
    columns = {name: cells[:4] for name, cells in COLUMNS.items()}
    assert len(predict(model, table_of(columns, tmp_path / "right.csv"))) == 4
    (name,) = change
    columns[name] = [*columns[name][:2], *change[name], columns[name][3]]
    with pytest.raises(ValueError, match="column") as caught:
        predict(model, table_of(columns, tmp_path / "wrong.csv"))
    assert message in str(caught.value)


def test_a_column_that_is_missing_is_named(model: TableModel, tmp_path: Path) -> None:
    fewer = {name: cells for name, cells in COLUMNS.items() if name != "size"}
    with pytest.raises(ValueError, match="no column 'size'; the columns are post, zone, sold, pr"):
        predict(model, table_of(fewer, tmp_path / "fewer.csv"))


def test_a_parquet_file_has_the_categories_of_a_csv(model: TableModel, folder: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    typed = {**COLUMNS, "size": [float(cell) for cell in COLUMNS["size"]]}
    parquet.write_table(arrow.table(typed), folder / "all.parquet")
    expected = predict(model, read_table(folder / "all.csv"))
    np.testing.assert_allclose(predict(model, read_table(folder / "all.parquet")), expected)
    codes = arrow.array([2139, 95838, 2139])
    assert inputs_of(
        (Field("zip", "category", ("2139", "95838")),), Table({"zip": codes}, 3)
    ).tolist() == [[1, 0], [0, 1], [1, 0]]


LEFT_OUT = {
    "": ([*range(N)], "counts the rows"),
    "id": ([*range(1, N + 1)], "counts the rows"),
    "name": ([f"name {i}" for i in range(N)], "24 different texts in 24 rows"),
    "zip": ([f"{i:05d}" for i in range(N)], "24 different codes such as '00000' in 24 rows"),
    "unit": (["m"] * N, "constant: 'm' in every row"),
    "flag": (["x", "", "x"] * (N // 3), "constant: 'x' in every row but 8, which have none"),
    "year": ([2020] * N, "constant: 2020 in every row"),
    "one": ([1] * (N - 1) + ["NA"], "constant: 1 in every row but 1, which have none"),
    "more": (["?"] * N, "empty"),
}


@pytest.mark.parametrize(("name", "found"), LEFT_OUT.items(), ids=[*LEFT_OUT])
def test_a_column_that_says_nothing_is_left_out_and_told(
    name: str, found: tuple[list[object], str], tmp_path: Path
) -> None:
    cells, note = found
    table = table_of({name: cells, **COLUMNS}, tmp_path / "a.csv")
    examples = learned(table, "price", given=ZONE)
    first = examples.features[0]
    assert (first.name, first.kind, first.note) == (name, "ignored", note)


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_row_numbers_of_a_part_of_a_frame_are_left_out(name: str, tmp_path: Path) -> None:
    """pandas writes them without a name, and gives them one when it reads them again."""
    some = [i * i * 7 % 997 for i in range(N)]
    columns = {name: some, "other": some, "y": COLUMNS["price"]}
    first, other = learned(table_of(columns, tmp_path / "a.csv"), "y").features
    assert (first.kind, first.note) == ("ignored", "whole numbers without a name, all different")
    assert (other.kind, other.note) == ("number", "")
    columns[name] = [i % 7 for i in range(N)]
    first, _ = learned(table_of(columns, tmp_path / "b.csv"), "y").features
    assert first.kind == "number"


def test_numbers_that_rise_with_the_rows_are_told(tmp_path: Path) -> None:
    columns = {
        "up": [i * i + 100 for i in range(N)],
        "down": [-3 * i for i in range(N)],
        "not": [i * i * (-1) ** (i == 20) for i in range(N)],
        "part": [i + 0.5 for i in range(N)],
        "y": COLUMNS["price"],
    }
    examples = learned(table_of(columns, tmp_path / "a.csv"), "y")
    assert {field.name: field.note for field in examples.features} == {
        "up": "rises in every row; does it number the rows?",
        "down": "falls in every row; does it number the rows?",
        "not": "",
        "part": "",
    }


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            "logistic",
            "has 2 in line 6, expected probabilities, between 0 and 1, for the loss logis",
        ),
        ("poisson", "has -1 in line 7, expected counts, 0 or more, for the loss poisson"),
    ],
)
def test_targets_that_the_loss_does_not_take_are_named_with_their_row(
    loss: str, message: str, tmp_path: Path
) -> None:
    y = [0, 1, "", 1, 2, -1, *([1, 0] * (N // 2 - 3))]
    table = table_of({"x": COLUMNS["size"], "y": y}, tmp_path / "a.csv")
    with pytest.raises(ValueError, match="the target 'y' has") as caught:
        learned(table, "y", loss=loss, missing="drop")
    assert message in str(caught.value)


def test_numbers_of_rows_in_another_order_are_told(tmp_path: Path) -> None:
    columns = {"id": [i * 7 % N for i in range(N)], "x": COLUMNS["size"], "y": COLUMNS["price"]}
    examples = learned(table_of(columns, tmp_path / "a.csv"), "y")
    field, other = examples.features
    assert (field.kind, other.note) == ("number", "")
    assert field.note == "each of 0 to 23 once; does it number the rows?"


def test_a_table_of_which_nothing_is_left_says_why(tmp_path: Path) -> None:
    columns = {"id": [f"u{i}" for i in range(N)], "unit": ["m"] * N, "y": COLUMNS["price"]}
    message = r"from; left out are 'id' \(24 different texts in 24 rows\), 'unit' \(constant: 'm'"
    table = table_of(columns, tmp_path / "a.csv")
    with pytest.raises(ValueError, match=message):
        learned(table, "y")
    given = {"id": {"kind": "ignored"}}
    with pytest.raises(ValueError, match="from; left out are 'id', 'unit' "):
        learned(table, "y", given=given)


def test_years_are_no_numbers_of_rows(tmp_path: Path) -> None:
    columns = {"year": [*range(1950, 1950 + N)], "x": COLUMNS["size"], "y": COLUMNS["price"]}
    examples = learned(table_of(columns, tmp_path / "a.csv"), "y")
    assert [field.kind for field in examples.features] == ["number", "number"]
    asked = learned(
        table_of({"t": [*range(N)], **columns}, tmp_path / "b.csv"), "y", features=("t",)
    )
    assert asked.X[:, 0].tolist() == [*range(N)]


@pytest.mark.parametrize(
    ("least", "told"),
    [("-999", True), ("-9999.0", True), ("-99.5", False), ("-9", False), ("999", False)],
)
def test_a_number_that_may_be_a_missing_one_is_told(least: str, told: bool, tmp_path: Path) -> None:
    wind = [least if row % 7 == 3 else f"{row % 5}.5" for row in range(N)]
    table = table_of({"wind": wind, "price": COLUMNS["price"]}, tmp_path / "a.csv")
    (field,) = learned(table, "price").features
    said = f"{float(least):g} at least; if that is a missing number, say so in a schema"
    assert field.note == (said if told else "")
    says = {"wind": {"kind": "number", "missing": [least]}}
    (field,) = learned(table, "price", given=says, missing="impute").features
    assert field.note == ""
    assert 0 < field.fill < 5


def test_a_column_that_gives_the_target_away_is_told(tmp_path: Path) -> None:
    euro = [f"{0.9 * float(cell):.4f}" for cell in COLUMNS["price"]]
    table = table_of({**COLUMNS, "euro": euro}, tmp_path / "a.csv")
    notes = {f.name: f.note for f in learned(table, "price", given=ZONE).features}
    assert notes == {name: "" for name in ("zone", "size")} | {
        "post": "codes such as '02139'",
        "sold": "'NA' among them",
        "euro": "determines the target; is it known beforehand?",
    }
    table = table_of(
        {"a": ["x", "y"] * 12, "b": ["y"] * 12 + ["z"] * 12, "c": ["1", "0"] * 12},
        tmp_path / "b.csv",
    )
    examples = learned(table, "c", loss="softmax_cross_entropy")
    assert [bool(field.note) for field in examples.features] == [True, False]


def test_numbers_of_a_mark_are_missing_only_where_it_is_one() -> None:
    arrow = pytest.importorskip("pyarrow")
    cells = arrow.array(["-999", "1", ""])
    assert as_numbers(cells).values.tolist()[:2] == [-999, 1]
    assert np.isnan(as_numbers(cells, ("-999", "")).values).tolist() == [True, False, True]
    assert as_numbers(cells, ("-999",)).other.tolist() == [False, False, True]


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_labels_come_back_as_they_are_written_and_are_scored_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two labels that are one number; a third in the file to predict, which the model misses."""
    rng = np.random.default_rng(0)
    which = rng.integers(2, size=80)
    x = which + rng.normal(0, 0.1, 80)
    columns = {"x": x.round(3), "huc": np.array(["7", "07"])[which]}
    file = tmp_path / "a.csv"
    table_of(columns, file)
    given = ["--loss", "softmax_cross_entropy", "--hidden", "8", "--learning-rate", "0.05"]
    assert (
        run("train", file, "--target", "huc", "--steps", 200, *given, "--out", tmp_path / "m") == 0
    )
    shown = capsys.readouterr().out
    assert "  huc  target, 2 classes" in shown
    assert run("predict", tmp_path / "m", file) == 0
    captured = capsys.readouterr()
    assert captured.out.split() == ["huc", *columns["huc"]]
    assert captured.err == "80 rows, including training rows: accuracy 1.000\n"
    table_of({"x": [0, 1, 1, 1], "huc": ["7", "07", "7.0", "007"]}, file)
    assert run("predict", tmp_path / "m", file) == 0
    assert capsys.readouterr().err == "4 rows, including training rows: accuracy 0.500\n"
    table_of({"x": [0, 1], "huc": ["7.0", "True"]}, file)
    assert run("predict", tmp_path / "m", file) == 0
    told = "Not scored: no row has a label that the model knows, such as '07'.\n"
    assert capsys.readouterr().err == told
    table_of({"x": [0, 1]}, file)
    assert run("predict", tmp_path / "m", file) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_labels_that_may_mean_a_missing_one_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.csv"
    table_of({"x": [*range(N)], "y": ["a", "b", "NA"] * (N // 3)}, file)
    given = ["--target", "y", "--loss", "softmax_cross_entropy", "--steps", 1, "--hidden", "2"]
    assert run("train", file, *given, "--features", "x", "--out", tmp_path / "a") == 0
    assert "  y  target, 3 classes, 'NA' among them" in capsys.readouterr().out
    (tmp_path / "schema.json").write_text('{"y": {"kind": "label", "missing": ["NA"]}}')
    given += ["--schema", tmp_path / "schema.json", "--missing", "drop", "--features", "x"]
    assert run("train", file, *given, "--out", tmp_path / "b") == 0
    assert "  y  target, 2 classes, 8 missing ('NA')\n" in capsys.readouterr().out


def test_a_date_to_predict_is_scored(tmp_path: Path) -> None:
    columns = {"x": [*range(N)], "day": [f"2020-01-{i + 1:02d}" for i in range(N)]}
    given = {"day": {"kind": "date"}}
    examples = learned(table_of(columns, tmp_path / "a.csv"), "day", features=("x",), given=given)
    model = model_of(examples)
    Y = targets_of(model, read_table(tmp_path / "a.csv"))
    assert Y is not None
    assert Y[:, 0].tolist() == [18262 + i for i in range(N)]
    columns["day"][3] = "soon"
    assert targets_of(model, table_of(columns, tmp_path / "b.csv")) is None


def test_train_prints_what_each_column_is_before_it_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = {"": [*range(N)], **COLUMNS, "gone": ["", "?"] * 12}
    columns["size"] = ["NA", *columns["size"][1:]]
    table_of(columns, tmp_path / "a.csv", delimiter=";")
    (tmp_path / "schema.json").write_text('{"zone": {"kind": "category"}}')
    given = ["--schema", tmp_path / "schema.json", "--missing", "impute", "--hidden", "3"]
    assert (
        run(
            *("train", tmp_path / "a.csv", "--target", "price", "--steps", 4, *given),
            *("--out", tmp_path / "run"),
        )
        == 0
    )
    shown = capsys.readouterr().out.splitlines()
    assert shown[1:10] == [
        "Read with separator ';'.",
        "  (no name)  left out: counts the rows",
        "  post       4 categories, codes such as '02139'",
        "  zone       4 categories",
        "  sold       4 categories, 'NA' among them",
        "  size       number, 1 missing ('NA')",
        "  gone       left out: empty",
        "  price      target, number",
        "Network 16-3-1, 55 parameters",
    ]
    assert all(len(line) <= 80 for line in shown[1:-1])
    stored = read_schema(tmp_path / "run" / "schema.json")
    assert stored["zone"]["kind"] == "category"
    assert stored[""]["kind"] == stored["gone"]["kind"] == "ignored"
    more = ["--schema", tmp_path / "run" / "schema.json", "--out", tmp_path / "again"]
    assert (
        run("train", tmp_path / "a.csv", "--target", "price", "--steps", 4, *given[2:], *more) == 0
    )
    assert capsys.readouterr().out.splitlines()[-4] == shown[-4]


def test_a_decimal_sign_that_is_not_recognised_can_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"{i},{i * 37 % 1000:03d};{i * i}\n" for i in range(1, 20))
    (tmp_path / "a.csv").write_text("x;y\n" + rows)
    given = ["train", tmp_path / "a.csv", "--target", "y", "--steps", 2, "--hidden", "2", "--out"]
    assert run(*given, tmp_path / "a") == 1
    assert "say whether the decimal sign is a comma or a point" in capsys.readouterr().err
    assert run(*given, tmp_path / "b", "--decimal", ",", "--separator", ";") == 0
    assert "Read with separator ';', decimal commas." in capsys.readouterr().out
    assert run("predict", tmp_path / "b", tmp_path / "a.csv", "--decimal", ",") == 0


def test_groups_of_a_column_are_held_out_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    patient = [f"p{i // 6}" for i in range(60)]
    columns = {"patient": patient, "x": [*range(60)], "y": [(i * i) % 31 for i in range(60)]}
    columns["x"] = ["", *columns["x"][1:]]  # a row that is dropped
    table_of(columns, tmp_path / "a.csv")
    seen: dict[str, Any] = {}
    fit = fcnet.fit
    monkeypatch.setattr(fcnet, "fit", lambda *a, **k: seen.update(k) or fit(*a, **k))
    given = ["--groups", "patient", "--missing", "drop", "--steps", 2, "--hidden", "2"]
    out = ["--out", tmp_path / "run"]
    assert run("train", tmp_path / "a.csv", "--target", "y", *given, *out) == 0
    shown = capsys.readouterr().out
    assert "60 rows, 48 for training, 11 for validation, 1 left out" in shown
    assert "  patient  left out" in shown
    x = np.concatenate([seen["X"], seen["validation"][0]])[:, 0]
    rows = np.round(x / np.ptp(x) * 58).astype(int)
    rows += 1 - rows.min()  # the numbers that stand in the column x
    assert sorted(rows) == [*range(1, 60)]
    assert run("train", tmp_path / "a.csv", "--target", "y", "--groups", "y") == 1
    assert "--groups and --target are one column, 'y'" in capsys.readouterr().err
    table_of({**columns, "patient": [*patient[:3], "", *patient[4:]]}, tmp_path / "b.csv")
    assert run("train", tmp_path / "b.csv", "--target", "y", *given, "--out", tmp_path / "b") == 1
    assert "column 'patient' is empty in line 5, expected the group of" in capsys.readouterr().err
    trained, held = rows[:48] // 6, rows[48:] // 6
    assert len(set(held)) == 2
    assert not set(trained) & set(held)

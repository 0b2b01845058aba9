"""`fcnet train` and `fcnet predict`, on small files, from the words to what is written."""

import csv
import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from support.tables import learned

import fcnet
from fcnet import data, interchange
from fcnet.cli import COMMANDS, main
from fcnet.cli.task import scores
from fcnet.data.model import TableModel, inputs_of, means, targets_of
from fcnet.data.read import Table, read_table
from fcnet.data.schema import MISSING_CHOICES, Field
from fcnet.metrics import METRIC_NAMES
from fcnet.train.fit import fit
from fcnet.train.types import History

pytestmark = pytest.mark.untyped

SCALES = ("mean", "scale")
QUICK = ("--hidden", "8", "--steps", "100")


def write(path: Path, columns: dict[str, Any]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *zip(*columns.values(), strict=True)])
    return path


def houses(n: int = 60) -> dict[str, Any]:
    """Prices that a line in sqft and a step at one of three places make, exactly."""
    rng = np.random.default_rng(0)
    sqft = rng.integers(500, 3000, n)
    place = rng.choice(["hill", "lake", "town"], n)
    price = 100 * sqft + 50_000 * (place == "lake")
    return {"sqft": sqft, "place": place, "price": price, "id": np.arange(n)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "houses.csv", houses())


def train(file: Path, out: Path) -> Path:
    given = ["--features", "sqft,place", "--learning-rate", "0.01", "--steps", "1000"]
    assert main(["train", str(file), "--target", "price", *given, "--out", str(out)]) == 0
    return out


@pytest.fixture
def trained(file: Path, tmp_path: Path) -> Path:
    return train(file, tmp_path / "run")


def test_train_leaves_a_model_that_predicts(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = train(file, tmp_path / "run")
    shown = capsys.readouterr().out
    assert "60 rows, 48 for training, 12 for validation" in shown
    assert "3 categories" in shown
    assert "Network 4-100-1, 601 parameters" in shown
    assert (trained / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert main(["predict", str(trained), str(file)]) == 0
    captured = capsys.readouterr()
    header, *rows = captured.out.splitlines()
    assert header == "price"
    truth = houses()["price"]
    error = np.array(rows, float) - truth
    assert 1 - np.mean(error**2) / np.var(truth) > 0.99
    assert captured.err.startswith("60 rows, including training rows: RMSE ")


def test_inputs_beyond_the_network_s_precision_are_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extreme = write(tmp_path / "extreme.csv", {"sqft": [1e299], "place": ["hill"]})
    assert main(["predict", str(trained), str(extreme)]) == 1
    assert "the standardised inputs must be finite, got inf" in capsys.readouterr().err


@pytest.mark.parametrize(("sqft", "told"), [(8_000, False), (90_000, True)])
def test_numbers_far_from_those_of_training_are_told(
    trained: Path, tmp_path: Path, sqft: int, told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as an area in other units; a rare category is not far."""
    rows = {"sqft": [900, sqft], "place": ["hill", "lake"]}
    assert main(["predict", str(trained), str(write(tmp_path / "rows.csv", rows))]) == 0
    said = "More than 10 standard deviations from the mean of training: sqft.\n"
    assert capsys.readouterr().err == (said if told else "")


def test_a_name_with_a_comma_goes_in_quotes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"price, $": [1, 2, 3, 5], '5" pipes': [2, 1, 4, 3], "n": [4, 4, 2, 1]}
    given = ["--target", "n", "--features", 'price\t, $,"price, $",  5" pipes', *QUICK]
    file = str(write(tmp_path / "rows.csv", rows))
    out = ["--out", str(tmp_path / "run")]
    assert main(["train", file, *given, *out]) == 1
    assert "no column 'price'" in capsys.readouterr().err
    given[3] = '"price, $",  5" pipes'
    assert main(["train", file, *given, *out]) == 0
    names = [field.name for field in data.load_model(tmp_path / "run").features]
    assert names == ["price, $", '5" pipes']


def test_targets_of_another_kind_are_not_compared(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = write(tmp_path / "unknown.csv", {"sqft": [900], "place": ["hill"], "price": ["?"]})
    assert main(["predict", str(trained), str(unknown)]) == 0
    assert "Not scored: some rows have no target" in capsys.readouterr().err


@pytest.mark.usefixtures("exact_products")
def test_predictions_follow_from_the_stored_text_and_arrays(file: Path, trained: Path) -> None:
    params, text = interchange.load(trained / "model.safetensors")
    stored = json.loads(text["fcnet_model"])
    table = read_table(file)
    with file.open(newline="") as lines:
        rows = [*csv.DictReader(lines)]
    X = [[int(row["sqft"]), *(row["place"] == p for p in ("hill", "lake", "town"))] for row in rows]
    mean, scale = (np.hstack([field[key] for field in stored["features"]]) for key in SCALES)
    a = (np.array(X, float) - mean) / scale
    for W, b in params[:-1]:
        a = np.maximum(a @ np.asarray(W).T + np.asarray(b), 0)
    o = a @ np.asarray(params[-1].W).T + np.asarray(params[-1].b)
    expected = o * stored["target"]["scale"][0] + stored["target"]["mean"][0]
    predicted = data.predict(data.load_model(trained), table)
    np.testing.assert_allclose(predicted, expected[:, 0], rtol=1e-4)


@pytest.mark.parametrize(("l2", "alpha"), [("6/n", 6.0), ("0.25", 0.25 * 60), ("0", 0.0)])
def test_without_hidden_layers_the_penalty_makes_ridge_regression(
    file: Path, tmp_path: Path, l2: str, alpha: float
) -> None:
    given = ["--features", "sqft", "--hidden", "", "--l2", l2, "--batch-size", "60"]
    given += ["--learning-rate", "0.02", "--steps", "1000", "--validation", "0"]
    out = tmp_path / "run"
    assert main(["train", str(file), "--target", "price", *given, "--out", str(out)]) == 0
    ((W, b),), _ = interchange.load(out / "model.safetensors")
    line = np.corrcoef(houses()["sqft"], houses()["price"])[0, 1]  # both are standardised
    np.testing.assert_allclose(W, [[line * 60 / (60 + alpha)]], rtol=1e-3)
    np.testing.assert_allclose(b, [0.0], atol=1e-4)


@pytest.mark.slow
def test_by_default_the_shipped_houses_are_not_given_up_at_the_first_evaluations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = Path(fcnet.__file__).with_name("sacramento.csv")
    assert main(["train", str(shipped), "--target", "price", "--out", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    (step,) = re.findall(r"These are of step ([\d,]+), the best", shown)
    assert int(step.replace(",", "")) > 100
    network, linear = re.findall(r"validation +\S+ +(\S+)\n", shown)
    assert float(network) > max(0.65, float(linear))


def test_the_same_seed_gives_the_same_and_another_not(file: Path, tmp_path: Path) -> None:
    given = ["train", str(file), "--target", "price", "--features", "sqft", *QUICK]
    for out, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert main([*given, "--out", str(tmp_path / out), "--seed", seed]) == 0
    a, b, c = ((tmp_path / out / "model.safetensors").read_bytes() for out in "abc")
    assert a == b != c


def test_a_run_in_two_pieces_is_the_run_in_one(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["train", str(file), "--target", "price", "--features", "sqft", "--hidden", "8"]
    given += ["--evaluate-every", "50", "--patience", "0", "--out"]
    whole, pieces = (tmp_path / name for name in ("whole", "pieces"))
    assert main([*given, str(whole), "--steps", "200"]) == 0
    assert main([*given, str(pieces), "--steps", "100"]) == 0
    before = (pieces / "model.safetensors").read_bytes()
    assert main([*given, str(pieces), "--steps", "200"]) == 1
    assert "holds a run already: add --resume" in capsys.readouterr().err
    assert (pieces / "model.safetensors").read_bytes() == before
    assert main([*given, str(pieces), "--steps", "200", "--resume"]) == 0
    assert before != (pieces / "model.safetensors").read_bytes()
    assert (pieces / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.usefixtures("signals_as_in_a_terminal")
def test_an_interrupted_run_says_how_to_go_on(
    file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = ["train", str(file), "--target", "price", "--features", "sqft", "--hidden", "8"]
    given += ["--evaluate-every", "50", "--steps", "100", "--out", str(tmp_path / "run")]

    def interrupt(step: int, history: History) -> None:
        if step == 50:
            signal.raise_signal(signal.SIGINT)

    signalled = {"progress": interrupt}
    once = lambda *positional, **named: fit(*positional, **(named | signalled))  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr("fcnet.fit", once)
        assert main(given) == 130
    # other libraries may write there too, such as Matplotlib while it builds its font cache
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fcnet: ")]
    assert said == [
        "fcnet: SIGINT after step 50, which is saved; "
        "to continue, give the same command with --resume"
    ]
    assert main([*given, "--resume"]) == 0


def test_classes_are_learned_and_come_back_by_name(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")
    given = ["--features", "sqft,price", "--loss", "softmax_cross_entropy", *QUICK]
    assert main(["train", str(file), "--target", "place", "--out", out, *given]) == 0
    assert "accuracy" in capsys.readouterr().out
    written = tmp_path / "places.csv"
    assert main(["predict", out, str(file), "--out", str(written)]) == 0
    header, *rows = written.read_text().splitlines()
    assert header == "place"
    assert set(rows) <= {"hill", "lake", "town"}


def test_numbers_can_be_categories(tmp_path: Path) -> None:
    columns = {"zip": [95838, 95823, 95838, 95823], "price": [3, 1, 2, 4]}
    table = read_table(write(tmp_path / "zips.csv", columns))
    examples = learned(table, "price", categories=("zip",))
    assert examples.features[0].inputs == ("zip=95823", "zip=95838")
    assert learned(table, "price").X.shape == (4, 1)
    assert learned(table, "price", features=("zip", "zip")).X.shape == (4, 1)


GAPS = {
    "sqft": ["1", "", "3", "NA", "2", "2"],
    "place": ["a", "b", "", "a", "b", "a"],
    "price": ["2", "1", "3", "4", "5", "6"],
}


def test_missing_entries_are_refused_dropped_or_imputed(tmp_path: Path) -> None:
    columns = read_table(write(tmp_path / "gaps.csv", GAPS))
    with pytest.raises(
        ValueError, match="missing entries: 2 in 'sqft', 1 in 'place'; choose 'drop' or"
    ):
        learned(columns, "price")
    with pytest.raises(ValueError, match="missing must be one of error, drop, impute, got 'zero'"):
        learned(columns, "price", missing="zero")
    assert COMMANDS["train"].options["--missing"]["choices"] == MISSING_CHOICES
    dropped = learned(columns, "price", missing="drop")
    assert dropped.Y[:, 0].tolist() == [2, 5, 6]
    assert dropped.X[:, 0].tolist() == [1, 2, 2]
    imputed = learned(columns, "price", missing="impute")
    assert imputed.X[:, 0].tolist() == [1, 2, 3, 2, 2, 2]
    assert imputed.features[1].values == ("", "a", "b")
    assert imputed.X[2].tolist() == [3, 1, 0, 0]
    most = {**GAPS, "place": ["a", "b", "c", "a", "b", "c"]}  # half as many as there are rows
    columns = read_table(write(tmp_path / "most.csv", most))
    assert learned(columns, "price", missing="impute").features[1].values == ("", "a", "b", "c")


@pytest.mark.parametrize(
    ("sold", "loss", "noted"),
    [
        ([0, 1, 1], "squared_error", True),
        ([0, 1, 1], "logistic", False),
        ([0, 1, 2], "squared_error", False),
    ],
)
def test_a_regression_on_0_and_1_is_noted(sold: list[int], loss: str, noted: bool) -> None:
    columns = {"sqft": pyarrow.array([5.0, 6.0, 8.0]), "sold": pyarrow.array(sold)}
    target = learned(Table(columns, 3), "sold", loss=loss).target
    assert target.kind == "number"
    assert ("choose the loss logistic" in target.note) == noted


def test_parquet_is_read_as_csv_is(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"a": [1, None, 3], "b": ["x", None, ""], "c": [True, False, True]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet").columns
    assert table["a"].to_pylist() == [1, None, 3]
    assert table["b"].to_pylist() == ["x", "", ""]
    assert table["c"].to_pylist() == [1, 0, 1]
    numbered = pyarrow.table({**columns, "__index_level_0__": [*range(len(columns["a"]))]})
    parquet.write_table(numbered, tmp_path / "frame.parquet")
    assert read_table(tmp_path / "frame.parquet").columns.keys() == columns.keys()
    parquet.write_table(pyarrow.table({"a": [[1]]}), tmp_path / "lists.parquet")
    with pytest.raises(ValueError, match=r"'a' holds list<.*>, expected numbers or text"):
        read_table(tmp_path / "lists.parquet")
    (tmp_path / "no.parquet").write_text("a,b")
    with pytest.raises(ValueError, match="is no Parquet file"):
        read_table(tmp_path / "no.parquet")


@pytest.mark.parametrize(
    ("change", "given", "message"),
    [
        ({}, ["--target", "prize"], "no column 'prize'; the columns are sqft, place, price, id"),
        ({}, ["--target", "price", "--features", "rooms"], "no column 'rooms'"),
        ({}, ["--target", "price", "--features", "price"], "'price' is among the features"),
        ({}, ["--target", "place"], "the target 'place' is text, such as"),
        (
            {"sqft": [7] * 60},
            ["--target", "price", "--features", "sqft"],
            "column 'sqft' is of no use (constant: 7 in every row)",
        ),
        ({"price": [7] * 60}, ["--target", "price"], "the target 'price' is constant: 7 in every"),
        ({"price": [""] * 60}, ["--target", "price"], "the target 'price' is empty"),
        ({"price": ["", *range(59)]}, ["--target", "price"], "the target 'price' has 1 missing"),
        (
            {"place": [f"p{i}" for i in range(60)]},
            ["--target", "price", "--features", "place"],
            "(60 different texts in 60 rows)",
        ),
        (
            {"sqft": [*range(60)]},
            ["--target", "price", "--categories", "sqft"],
            "too many to learn from",
        ),
        ({}, ["--target", "id", "--loss", "softmax_cross_entropy"], "has 60 classes in 60 rows"),
        ({}, ["--target", "price", "--validation", "0.999"], "validation must be 0 or a share"),
    ],
)
def test_columns_and_options_that_do_not_fit_are_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    given: list[str],
    message: str,
) -> None:
    file = write(tmp_path / "houses.csv", houses() | change)
    out = tmp_path / "run"
    assert main(["train", str(file), *given, "--out", str(out)]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("fcnet: ValueError: ")
    assert message in shown
    assert shown.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "empty.csv: the file has 0 rows"),
        ("header.csv", b"sqft,price\n", "header.csv: the file has 1 row,"),
        ("ragged.csv", b"sqft,price\n1\n", "ragged.csv: line 2 has 1 cells, expected 2"),
        ("houses.xlsx", b"PK", "must be a .csv, .tsv, .txt or .parquet file, got '.xlsx'"),
        ("latin.csv", b"sqft,pr\xefx\n1,2\n", "latin.csv: the header is not in UTF-8"),
        ("missing.csv", None, "No such file or directory: "),
    ],
)
def test_files_that_cannot_be_read_are_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes | None,
    message: str,
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert main(["train", str(tmp_path / name), "--target", "price"]) == 1
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"place": ["moon"] * 60}, "column 'place' has 'moon' in line 2, expected one of"),
        ({"sqft": ["big"] * 60}, "column 'sqft' has 'big' in line 2, expected a number"),
        ({"sqft": [""] + ["1"] * 59}, "column 'sqft' has 1 missing values, the first in line 2"),
    ],
)
def test_new_rows_must_be_like_those_of_training(
    tmp_path: Path,
    trained: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    message: str,
) -> None:
    new = write(tmp_path / "new.csv", houses() | change)
    written = tmp_path / "out.csv"
    assert main(["predict", str(trained), str(new), "--out", str(written)]) == 1
    assert message in capsys.readouterr().err
    assert not written.exists()


def test_a_file_that_is_no_model_is_refused(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare.safetensors"
    interchange.save(bare, [(np.ones((1, 1)), np.ones(1))])
    for version in (1, 99):
        text = {"fcnet_model": json.dumps({"version": version})}
        interchange.save(tmp_path / f"{version}.safetensors", [(np.ones((1, 1)), np.ones(1))], text)
    for path, message in (
        (bare, "bare.safetensors is not a model of fcnet train"),
        (tmp_path / "1.safetensors", "an earlier version wrote it, which did not store what each"),
        (tmp_path / "99.safetensors", "version 99, this program reads version 2"),
        (file, "is not a complete safetensors file"),
        (tmp_path, "holds no model.safetensors. If a run is unfinished there, co"),
    ):
        assert main(["predict", str(path), str(file)]) == 1
        assert message in capsys.readouterr().err


def test_a_model_whose_columns_do_not_fit_its_network_is_refused(
    trained: Path, tmp_path: Path
) -> None:
    model = data.load_model(trained)
    size, place = model.features
    path = tmp_path / "other.safetensors"
    for features in (
        (size,),
        (size, place._replace(values=place.values[1:])),
        (size._replace(mean=()), place),
        (size._replace(kind="text"), place),
    ):
        data.save_model(path, model._replace(features=features))
        with pytest.raises(ValueError, match=r"is not a model .* columns \['sqft'.* do not fit"):
            data.load_model(path)
    target = model.target._replace(kind="label", values=("a", "b"))
    data.save_model(path, model._replace(target=target))
    with pytest.raises(ValueError, match=r"its columns \['price'\] do not fit its network"):
        data.load_model(path)
    interchange.save(path, model.params, {"fcnet_model": '{"version": 2}'})
    with pytest.raises(ValueError, match="is not a model of fcnet train: it has no 'features'"):
        data.load_model(path)
    data.save_model(path, model)
    assert data.load_model(path).features == model.features


def test_without_its_extra_nothing_is_started(
    file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    out = tmp_path / "run"
    assert main(["train", str(file), "--target", "price", "--out", str(out)]) == 1
    assert "pip install 'fcnet[cli]'" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("widths", ["64,x", "0", "-3"])
def test_widths_are_whole_numbers(
    file: Path, widths: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", str(file), "--target", "price", f"--hidden={widths}"])
    assert stop.value.code == 2
    bad = widths.removeprefix("64,")
    assert f"--hidden: expected a whole number from 1 to 2147483647, got {bad!r}" in (
        capsys.readouterr().err
    )


MEANS = {"squared_error": lambda o: o, "poisson": np.exp}


@pytest.mark.parametrize("loss", sorted(fcnet.LOSSES))
def test_scores_are_the_loss_s_own(loss: str) -> None:
    """Accuracy for labels and classes, R^2 for counts; RMSE only in the target's units."""
    truth = {
        "squared_error": np.array([1.0, 2.0, 4.0, 3.0]),
        "logistic": np.array([0.0, 1.0, 1.0, 0.0]),
        "poisson": np.array([0.0, 1.0, 4.0, 2.0]),
        "softmax_cross_entropy": np.array(["a", "b", "unknown", "a"], dtype=object),
    }[loss]
    x = np.array([-1.0, 0.5, 1.0, 0.25])
    classes = ("a", "b") if fcnet.LOSSES[loss].labels.one_hot else ()
    m = len(classes) or 1
    W = np.arange(1.0, 1 + m)[:, None]
    number = Field("x", "number", mean=(0.0,), scale=(1.0,))
    target = Field(
        "y", "label" if classes else "number", classes, mean=(0.0,) * m, scale=(1.0,) * m
    )
    network = interchange.params_of([(W, np.zeros(m))])
    model = TableModel(network, (number,), target, "relu", loss)
    missed = {name: ((f(x) - truth) ** 2).mean() for name, f in MEANS.items() if name == loss}
    expected = {
        "squared_error": lambda: {
            "RMSE": f"{missed[loss] ** 0.5:.4g}",
            "R^2": f"{1 - missed[loss] / truth.var():.3f}",
        },
        "poisson": lambda: {"R^2": f"{1 - missed[loss] / truth.var():.3f}"},
        "logistic": lambda: {"accuracy": "0.750"},
        "softmax_cross_entropy": lambda: {"accuracy": "0.500"},  # the unknown class is missed
    }[loss]()
    table = Table({"x": pyarrow.array(x), "y": pyarrow.array(truth)}, len(x))
    mean = means(model, inputs_of(model.features, table))
    Y = targets_of(model, table)
    assert Y is not None
    assert scores(model, mean, Y) == expected


def test_every_metric_of_the_table_has_a_name() -> None:
    assert {row.metric for row in fcnet.LOSSES.values()} == set(METRIC_NAMES)


def test_many_columns_alike_have_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    genes = {f"g{i}": rng.normal(size=30).round(3) for i in range(60)}
    columns = {"place": ["a", "b"] * 15, **genes, "y": rng.normal(size=30).round(3)}
    columns["g40"] = ["", *genes["g40"][1:]]
    file = write(tmp_path / "genes.csv", columns)
    given = ["--steps", "1", "--hidden", "2", "--missing", "impute", "--out", str(tmp_path / "a")]
    assert main(["train", str(file), "--target", "y", *given]) == 0
    shown = capsys.readouterr().out.splitlines()
    end = shown.index("Network 63-2-1, 131 parameters")
    assert shown[1:4] == [
        "  place  2 categories",
        "  g0 to g39, 40 columns: number each",
        "  g40    number, 1 missing",
    ]
    assert shown[4:end] == [
        *(f"  {f'g{i}':<5}  number" for i in range(41, 60)),
        "  y      target, number",
    ]
    assert main(["train", str(file), "--target", "z", *given[:-1], str(tmp_path / "b")]) == 1
    error = capsys.readouterr().err
    assert "no column 'z'; the columns are place, g0, g1," in error
    assert "g48, ..." in error
    assert "g49" not in error


def test_a_network_that_a_line_beats_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The prices are a line; a network of no steps is none."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 2)).round(4)
    columns = {"a": x[:, 0], "b": x[:, 1], "y": (3 * x[:, 0] - x[:, 1]).round(4)}
    file = write(tmp_path / "line.csv", columns)
    given = ["train", str(file), "--target", "y", "--hidden", "8", "--learning-rate", "0.05"]
    assert main([*given, "--steps", "0", "--out", str(tmp_path / "a")]) == 0
    shown = capsys.readouterr().out
    assert "On the validation rows, the network is no better than the linear model." in shown
    (line,) = (row for row in shown.splitlines() if row.startswith("  linear model, validation"))
    assert line.endswith(" 1.000")
    columns["y"] = np.abs(x[:, 0]).round(4)
    file = write(tmp_path / "line.csv", columns)
    assert main([*given, "--steps", "500", "--out", str(tmp_path / "b")]) == 0
    shown = capsys.readouterr().out
    assert "linear model, validation" in shown
    assert "no better" not in shown

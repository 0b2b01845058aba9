"""The tables of README and of the site are those that the recorded results give."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.untyped

SCRIPTS = Path(__file__).parents[2] / "scripts"
TABLE = re.compile(r"(?<=<!-- table: )\w+")


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield importlib.import_module("benchmarks.publish")
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        del sys.modules[name]


@pytest.fixture
def record(publish: ModuleType) -> ModuleType:
    return sys.modules["benchmarks.record"]


def stale(publish: ModuleType, pages: dict[str, str], folder: Path) -> set[str]:
    """The pages whose tables are not those of the records of a folder."""
    suites = publish.load(folder)
    return {name for name, text in pages.items() if publish.render(text, suites) != text}


def pages_of(publish: ModuleType) -> dict[str, str]:
    texts = {page.name: page.read_text(encoding="utf-8") for page in publish.PAGES}
    return {name: text for name, text in texts.items() if TABLE.search(text)}


def test_the_pages_show_what_was_recorded(publish: ModuleType, record: ModuleType) -> None:
    pages = pages_of(publish)
    assert pages.keys() == {"README.md", "speed.md", "tested.md"}
    assert stale(publish, pages, record.RESULTS) == set()
    for text in pages.values():
        assert [found[2] for found in publish.BLOCK.finditer(text)] == TABLE.findall(text)


def test_a_figure_changed_by_hand_is_noticed(publish: ModuleType, record: ModuleType) -> None:
    pages = pages_of(publish)
    for name, text in pages.items():
        figures = [
            at for block in publish.BLOCK.finditer(text) for at in rows_of_digits(block, text)
        ]
        for at in figures[:: max(1, len(figures) // 20)]:
            digit = str((int(text[at]) + 1) % 10)
            changed = {**pages, name: text[:at] + digit + text[at + 1 :]}
            assert stale(publish, changed, record.RESULTS) == {name}


def rows_of_digits(block: re.Match[str], text: str) -> list[int]:
    """The places of the digits of a block's figures."""
    return [at for at in range(block.end(1), block.start(3)) if text[at] in "0123456789"]


def test_a_figure_measured_anew_is_noticed(
    publish: ModuleType, record: ModuleType, tmp_path: Path
) -> None:
    for file in record.RESULTS.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    pages = pages_of(publish)
    assert stale(publish, pages, tmp_path) == set()
    measured = record.read(tmp_path / "train.json")
    rows = measured.suites["train"]
    rows[1] = rows[1]._replace(values={**rows[1].values, "ratio": 2 * rows[1].values["ratio"]})
    measured.write(tmp_path / "train.json")
    assert stale(publish, pages, tmp_path) == {"README.md", "speed.md"}
    page = tmp_path / "README.md"
    page.write_text(pages["README.md"], encoding="utf-8")
    publish.write([page], publish.load(tmp_path))
    written = page.read_text(encoding="utf-8")
    assert stale(publish, {"README.md": written}, tmp_path) == set()
    assert publish.BLOCK.sub("", written) == publish.BLOCK.sub("", pages["README.md"])


def test_every_recorded_figure_has_its_place_in_the_table_of_figures(
    publish: ModuleType, record: ModuleType
) -> None:
    for suite, run in publish.load(record.RESULTS).items():
        assert {"device"} <= run.machine.keys()
        assert {"python", "jax"} <= run.versions.keys()
        for row in run.suites[suite]:
            assert row.values.keys() <= record.FIGURES.keys()


def test_a_record_is_read_as_it_was_written(record: ModuleType, tmp_path: Path) -> None:
    rows = [
        record.Row("4-3-1", "fit", {"us": 4.0, "ratio": 1.0}),
        record.Row("4-3-1", "numpy", {"us": 88.0, "ratio": 22.0, "loss": float("inf")}, "fit"),
    ]
    file = tmp_path / "train.json"
    written = record.Record({"cores": 2}, {"python": "3.11"}, None, "abc", "", {"train": rows})
    written.write(file)
    assert "Infinity" not in file.read_text()
    got = record.read(file)
    assert got._replace(suites={}) == written._replace(suites={})
    assert got.suites["train"][0] == rows[0]
    assert str(got.suites["train"][1].values["loss"]) == "nan"
    assert record.format_rows(got.suites["train"]).splitlines() == [
        "case   program  baseline  us/step  ratio",
        "4-3-1  fit                4        1",
        "4-3-1  numpy    fit       88       22",
    ]


def test_what_has_no_single_source_is_refused(
    publish: ModuleType, record: ModuleType, tmp_path: Path
) -> None:
    suites = publish.load(record.RESULTS)
    with pytest.raises(KeyError, match="no_such_table"):
        publish.render("<!-- table: no_such_table -->\n<!-- end -->", suites)
    other = {**suites, "sensitivity": suites["sensitivity"]._replace(date="another day")}
    with pytest.raises(ValueError, match="check and sensitivity of one table are of different"):
        publish.render("<!-- table: check -->\n<!-- end -->", other)
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_bytes((record.RESULTS / "train.json").read_bytes())
    with pytest.raises(ValueError, match=r"the suite train is in b\.json and in another"):
        publish.load(tmp_path)


def test_a_table_of_first_results_has_a_column_for_each_state_of_the_cache(
    publish: ModuleType, record: ModuleType
) -> None:
    rows = [
        record.Row("first, no cache", "jitted step", {"s": 1.256, "ratio": 1.0}),
        record.Row("first, filled cache", "jitted step", {"s": 0.3, "ratio": 1.0}),
        record.Row("first, no cache", "torch", {"s": 0.1, "ratio": 0.08}),
    ]
    run = record.Record({"device": "NVIDIA H200"}, {"python": "3.12", "jax": "0.11.2"}, None, None,
                        "", {"first": rows})  # fmt: skip
    assert publish.TABLES["first"]({"first": run}).splitlines() == [
        "| program | first, no cache | first, filled cache |",
        "|---|---|---|",
        "| jitted step | 1.26 (1.00) | 0.30 (1.00) |",
        "| torch | 0.10 (0.08) | - |",
        "",
        "`python scripts/bench.py first`: NVIDIA H200; Python 3.12, JAX 0.11.2.",
    ]

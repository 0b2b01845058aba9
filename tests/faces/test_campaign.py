"""The campaigns run, go on where they were interrupted, and notice what is planted in them."""

import json
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "scripts"))

from campaigns import __main__ as command
from campaigns import damage, full_disk, kills, tables
from campaigns.outcomes import PROMISED, Result, judged
from campaigns.table import CAMPAIGNS

import fcnet
from fcnet import files, interchange, tensors
from fcnet.cli import predict as command_line
from fcnet.data import cells
from fcnet.train import types
from fcnet.verify import page

pytestmark = pytest.mark.untyped


def some(name: str, seed: int = 0, step: int = 1, count: int = 20) -> Counter[str]:
    """How often each outcome is there in some cases of a campaign, in this process."""
    found: list[Result] = []
    CAMPAIGNS[name].run(seed, range(0, step * count, step), found.append)
    return Counter(result.outcome for result in found)


def test_an_attempt_is_judged_by_who_raises_what() -> None:
    def ours() -> None:
        fcnet.count_params("abc")

    def foreign() -> None:
        np.ones(3) + np.ones(2)

    assert judged(lambda: None, "a case") == Result("survived")
    assert judged(lambda: "off by one", "a case") == Result("wrong", "a case: off by one")
    assert judged(ours, "a case") == Result("refused")
    assert judged(ours, "a case", names="the file").outcome == "foreign"
    assert (
        judged(lambda: Path("nothing").read_bytes(), "a case", own=(OSError,)).outcome == "refused"
    )
    found = judged(foreign, "a case")
    assert found.outcome == "foreign"
    assert "could not be broadcast" in found.detail


WORKER = """
import json, os, sys, time
name, seed, begin, end = sys.argv[1], *map(int, sys.argv[2:])
for case in range(begin, end):
    if name == "crash" and case == 3:
        os.abort()
    if name == "hang" and case == 3:
        time.sleep(60)
    outcome = "wrong" if name == "wrong" and case == 3 else "refused"
    print(json.dumps([outcome, "planted"]), flush=True)
"""


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that runs a planted campaign of 9 cases, and returns its tally and its status."""
    (tmp_path / "worker.py").write_text(WORKER)
    monkeypatch.setattr(command, "WORK", [sys.executable, str(tmp_path / "worker.py")])
    file = tmp_path / "results.json"

    def run(name: str, limit: float = 30.0) -> tuple[dict[str, Any], int]:
        campaign = CAMPAIGNS["reports"]._replace(count=9, chunk=5, limit=limit)
        monkeypatch.setitem(command.CAMPAIGNS, name, campaign)
        status = command.main([name, "--json", str(file), "--jobs", "1"])
        return json.loads(file.read_text())["campaigns"][name], status

    return run


@pytest.mark.parametrize(
    ("name", "limit", "outcome"),
    [("wrong", 30.0, "wrong"), ("crash", 30.0, "foreign"), ("hang", 0.5, "hang")],
)
def test_a_fault_is_counted_and_its_cases_are_tried_again(
    planted: Any, name: str, limit: float, outcome: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, status = planted(name, limit)
    assert status == 1
    assert (found["tried"], found["refused"], found[outcome]) == (9, 8, 1)
    assert list(found["chunks"]) == ["0-5", "5-9"]
    capsys.readouterr()
    assert planted(name, limit)[1] == 1
    told = capsys.readouterr()
    assert "0-5" in told.err
    assert "5-9" not in told.err
    assert told.out.splitlines()[-1].split()[:2] == [name, "9"]


def test_without_a_fault_nothing_is_tried_twice(
    planted: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert planted("fine")[1] == 0
    capsys.readouterr()
    found, status = planted("fine")
    assert (found["tried"], status) == (9, 0)
    assert capsys.readouterr().err == ""


def test_damaged_files_are_refused_or_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    step = damage.count() // 60
    assert set(some("damage", step=step, count=60)) <= set(PROMISED)
    monkeypatch.setattr(tensors, "is_whole", lambda raw, name: True)
    assert some("damage", step=step, count=60)["wrong"] > 0


@pytest.mark.parametrize("writer", ["save", "save_model", "to_csv", "predict"])
def test_a_full_disk_leaves_what_was_there(
    writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, largest = full_disk.undisturbed(writer)
    for most in (0, largest // 2, largest - 1):
        assert full_disk.outcome(writer, tmp_path, most) == Result("refused")

    def in_place(path: os.PathLike[str], data: bytes) -> None:
        Path(path).write_bytes(data)

    for home in (interchange, types, command_line):
        monkeypatch.setattr(home, "write_file", in_place)
    assert full_disk.outcome(writer, tmp_path, largest // 2).outcome in ("lost", "foreign")


@pytest.mark.slow
@pytest.mark.parametrize("writer", sorted(full_disk.WRITERS))
def test_a_full_disk_leaves_what_was_there_whatever_writes(writer: str, tmp_path: Path) -> None:
    _, largest = full_disk.undisturbed(writer)
    for most in (0, largest // 2, largest - 1):
        folder = tmp_path / str(most)
        folder.mkdir()
        assert full_disk.outcome(writer, folder, most) == Result("refused")


def test_tables_are_read_as_they_are_written_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcomes() -> Counter[str]:
        found = [
            tables.outcome(np.random.default_rng((7, case)), case, tmp_path) for case in range(60)
        ]
        assert {result.outcome for result in found} <= {*PROMISED, "wrong"}, found
        return Counter(result.outcome for result in found)

    assert outcomes()["wrong"] == 0
    monkeypatch.setattr(tables, "as_text", lambda column: cells.as_text(column).slice(1))
    assert outcomes()["wrong"] > 5


def test_odd_reports_keep_their_texts_and_bring_no_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    assert some("reports", count=30) == {"survived": 30}
    monkeypatch.setattr(page, "escape", lambda text: text)
    assert some("reports", count=30)["wrong"] > 5


@pytest.mark.slow
def test_killed_runs_end_as_if_undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert some("kills", count=8) == {"survived": 8}
    undisturbed = kills.undisturbed("fit")
    other = {**undisturbed[0], "network.safetensors": b"another"}
    monkeypatch.setattr(kills, "undisturbed", lambda kind: (other, undisturbed[1]))
    assert some("kills", count=2)["wrong"] == 1


@pytest.mark.slow
def test_malformed_calls_are_refused_in_the_campaign_too() -> None:
    assert set(some("calls", count=300)) <= set(PROMISED)


def test_files_name_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"an earlier file is unchanged: '.*/nowhere/file'"):
        files.write_file(tmp_path / "nowhere" / "file", b"new")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "file")
    files.write_file(link, b"new")
    assert link.is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        read = pool.submit(pipe.read_bytes)
        files.write_file(pipe, b"new")
    assert read.result() == b"new"


def test_writers_of_one_file_do_not_spoil_it(tmp_path: Path) -> None:
    """Each has a temporary file of its own: the planted defect is one name for all."""
    contents = [bytes([i]) * 10**6 for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            list(pool.map(lambda data: files.write_file(tmp_path / "file", data), contents))
            assert (tmp_path / "file").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

"""The report as text and as a page: short, complete, and nothing in it that runs or loads."""

import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fcnet.verify.compare import compare_arrays
from fcnet.verify.page import colour
from fcnet.verify.report import GradientError, Report
from fcnet.verify.table import Quantity, Table
from fcnet.verify.types import Finding, Leaf

SIZES = (4, 3, 1)


def leaves(sizes=SIZES, error=0.0) -> tuple[Leaf, ...]:
    """Of a network whose first weight is off by `error` times what rounding explains."""
    paths, got, right = [], [], []
    for k, (below, m) in enumerate(pairwise(sizes), start=1):
        for name, shape in (("W", (m, below)), ("b", (m,))):
            paths.append(f"{name}{k}")
            right.append(np.ones(shape))
            got.append(np.ones(shape))
    got[0][0, 0] += error * 2.0**-50
    allowed = [np.full_like(r, 2.0**-50) for r in right]
    return compare_arrays(paths, got, right, allowed, "your input").leaves


def numbers() -> Table:
    agrees = Quantity(
        *(2, 2, "delta[2]", "(o - y)", "your delta[2]", "agrees"),
        *(("",), ("unit 0",), ((0.5,),), ((0.5,),), ((False,),)),
    )
    first = Quantity(
        *(
            5,
            1,
            "dW[1]",
            "delta[1] a[0]^T",
            "your W1",
            "first",
            ("unit 0",),
            ("input 0", "input 1"),
        ),
        *(((0.5, 0.25),), ((0.5, np.nan),), ((False, True),), "2 of 4 inputs"),
    )
    return Table("a <small> input", (agrees, first), "dW[1][0][1] = 0.5 * 0.5 = 0.25; W1 is nan")


def finding(**changes) -> Finding:
    usual = Finding(5, "dW", 1, "factor_2", "your dW1 is twice too large. It must be delta[1] x^T.")
    return usual._replace(**changes)


def report(verdict="wrong", **changes) -> Report:
    parts = {
        "subject": "backward",
        "verdict": verdict,
        "leaves": leaves(error=1e6 * (verdict == "wrong")),
        "findings": (finding(),) if verdict == "wrong" else (),
        "notes": (),
        "cases": ("your input", "a random input"),
        "precision": "float64",
        "unit_roundoff": 2.0**-53,
        "sizes": SIZES,
        "numbers": numbers() if verdict == "wrong" else None,
    }
    return Report(**(parts | changes))


def test_the_verdict_comes_first_and_then_what_is_wrong():
    lines = str(report()).splitlines()
    assert lines[0] == "backward: WRONG"
    assert lines[2].startswith("* line 5 of Algorithm 5, layer 1, factor_2: your dW1 is twice")
    assert re.search(r"^W1 .*  \[0, 0\]    8.9e-10  8.9e-16   your input$", lines[5])
    assert str(report("right")).startswith("backward: RIGHT to 16.0 digits; float64 allows 15.1")
    assert str(report("cannot tell")).startswith("backward: CANNOT TELL\n")


def test_warnings_come_after_errors_and_are_no_verdict():
    warning = finding(kind="leaf_order", severity="warning")
    both = report(findings=(warning, finding(layer=2)))
    assert str(both).startswith("backward: WRONG, with 1 warning\n\n* line 5 of Algorithm 5, ")
    assert str(both).index("layer 2, factor_2") < str(both).index("layer 1, leaf_order")
    assert "\n* warning, line 5 of Algorithm 5, layer 1, leaf_order: " in str(both)
    page = both.to_html()
    assert page.index("What is wrong") < page.index("<article class=error>")
    assert page.index("<article class=error>") < page.index("<h2>Warnings")
    assert page.index("<h2>Warnings") < page.index("<article class=warning>")
    fine = report("right", findings=(warning, warning._replace(layer=2)))
    fine.raise_if_wrong()
    assert str(fine).startswith("backward: RIGHT to 16.0 digits; float64 allows 15.1, with 2 warn")
    assert "What is wrong" not in fine.to_html()
    assert report().findings[0].severity == "error"


@pytest.mark.parametrize("length", [20, 300, 5000])
@pytest.mark.parametrize("count", [1, 3, 40])
def test_the_text_is_never_longer_than_30_lines(length, count):
    message = ("some words " * length)[:length].rstrip()
    wordy = report(
        findings=tuple(finding(layer=k + 1, message=message) for k in range(count)),
        notes=(message,) * count,
        leaves=leaves((3,) * (count + 1), error=9.0),
    )
    lines = str(wordy).splitlines()
    assert len(lines) <= 30
    if length < 5000:
        assert max(map(len, lines)) <= 120
    left_out = {
        what: int(number)
        for number, what in re.findall(r"and (\d+) more (finding|array|note)", str(wordy))
    }
    shown = str(wordy).count("* line 5")
    assert shown >= 1
    assert left_out.get("finding", 0) == count - shown
    assert set(left_out) == {"finding", "array", "note"} or count < 40


@pytest.mark.parametrize("name", ["W1", "params['encoder']['layer_10']['weight']", "x" * 200])
@pytest.mark.parametrize("case", ["your input", "a batch as large as a layer is wide", "y" * 200])
def test_the_table_of_arrays_fits_in_100_columns(name, case):
    wide = leaves()[0]._replace(path=name, case=case, index=(100, 1000, 2), error=np.nan)
    *_, heading, row = str(report(leaves=(wide,))).splitlines()
    assert heading.startswith("array")
    assert len(row) <= 100
    assert row.split()[0] == name or row.split()[0][-12:] == name[-12:]
    assert case in row or row[-12:] == case[-12:]
    if len(name) + len(case) < 30:
        assert f"{name} " in row
        assert row.endswith(case)


def test_a_traceback_keeps_its_lines():
    text = str(report(findings=(finding(message="it raised\n    f.py:1 in f: 1 / 0\n    and so"),)))
    assert "\n    f.py:1 in f: 1 / 0\n    and so\n" in text


def test_only_what_is_not_right_raises():
    report("right").raise_if_wrong()
    for verdict in ("wrong", "cannot tell"):
        unsure = report(verdict)
        with pytest.raises(GradientError) as raised:
            unsure.raise_if_wrong()
        assert str(raised.value) == str(unsure)


def test_numbers_that_are_not_finite_are_null_in_json():
    odd = leaves()[0]._replace(error=np.inf, digits=np.nan, heat=((np.inf, 1.0),))
    plain = json.loads(report(leaves=(odd,)).to_json())["leaves"][0]
    assert (plain["error"], plain["digits"], plain["heat"]) == (None, None, [[None, 1.0]])


def test_the_page_shows_the_worst_edge_and_the_findings():
    page = report().to_html()
    assert page.count("<line") == 4 * 3 + 3 * 1
    assert page.count("<circle") == 4 + 3 + 1
    assert page.count(f'stroke="{colour(1e6)}"') == 1  # the one edge that is off
    assert "δ[1]" not in page
    assert "&delta;[1] x<sup>T</sup></code>" in page
    assert "Line 5 of Algorithm 5, layer 1" in page
    assert report("right").to_html().count(colour(1e6)) == 1  # in the legend
    assert report()._repr_html_().partition("</style>")[2] in page


def test_numbers_stand_beside_the_right_ones_and_those_that_differ_are_marked():
    page = report().to_html()
    assert "On a &lt;small&gt; input." in page
    assert page.count("class='lines first'") == page.count("class='n off'>not finite") == 1
    assert page.count("<tr><th>yours") == page.count("<tr><th>off by") == 1
    assert "<code class=formula>dW[1][0][1] = 0.5 * 0.5 = 0.25; W1 is nan</code>" in page
    assert "beside the right ones" not in report("right").to_html()
    assert report().table().splitlines()[-7:] == [
        "  your W1 differs, as the first that does",
        "  2 of 4 inputs",
        "                input 0    input 1",
        "  unit 0            0.5       0.25",
        "  yours             0.5        nan",
        "  off by                       nan",
        "dW[1][0][1] = 0.5 * 0.5 = 0.25; W1 is nan",
    ]


def test_wide_layers_are_drawn_by_their_worst_units():
    sizes = (100, 50, 30)
    page = report(sizes=sizes, leaves=leaves(sizes, error=1e6)).to_html()
    assert page.count("<circle") == 3 * 12
    assert page.count(f'stroke="{colour(1e6)}"') == 1


def test_what_a_user_writes_is_escaped():
    nasty = "<script>alert('x')</script>"
    page = report(
        subject=nasty,
        findings=(finding(message=nasty, kind=nasty),),
        notes=(nasty,),
        cases=(nasty,),
        leaves=(leaves()[0]._replace(path=nasty, case=nasty),),
        sizes=(),
    ).to_html()
    assert "<script" not in page


def test_half_a_character_in_a_name_is_shown_as_its_number():
    html = report(subject="a\ud800b").to_html()
    assert r"<b>a\ud800b</b>" in html.encode("utf-8").decode()
    assert str(report(subject="a\ud800b")).startswith(r"a\ud800b: ")


def test_colours_tell_more_error_from_less():
    lightness = [
        int(re.search(r"(\d+)%\)$", colour(ratio)).group(1))
        for ratio in (0.0, 0.5, 1.0, 2.0, 1e2, 1e4)
    ]
    assert lightness == sorted(lightness, reverse=True)
    assert colour(1.0)[:7] != colour(1.1)[:7]
    assert colour(None) not in {colour(ratio) for ratio in (0.0, 1.0, 1e300)}


CHROMIUM = shutil.which("chromium")


def opened(path: Path, profile: Path) -> tuple[list[str], list[str]]:
    """What a browser writes to its console on opening a file, and what the page asks a network for.

    The browser's own requests, which it makes whatever the page, have no page as initiator.
    """
    log = profile / "net.json"
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
            *("--disable-sync", f"--user-data-dir={profile}", f"--log-net-log={log}"),
            *("--enable-logging=stderr", "--v=0", "--host-resolver-rules=MAP * ~NOTFOUND"),
            *("--dump-dom", path.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "<body>" in done.stdout
    requests = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    return (
        [line for line in done.stderr.splitlines() if ":CONSOLE" in line],
        sorted(
            {
                request["url"]
                for request in requests
                if request.get("initiator", "not an origin") != "not an origin"
                if not request["url"].startswith(("file:", "data:"))
            }
        ),
    )


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which .ci/run installs")
class TestInABrowser:
    @pytest.mark.parametrize("verdict", ["right", "wrong", "cannot tell"])
    def test_the_page_opens_without_a_word_or_a_request(self, verdict, tmp_path):
        page = tmp_path / "page.html"
        page.write_text(report(verdict, notes=("a note",)).to_html(), encoding="utf-8")
        assert opened(page, tmp_path / "profile") == ([], [])

    def test_a_page_that_talks_or_asks_is_noticed(self, tmp_path):
        planted = (
            '<img src="http://fcnet.invalid/x.png"><script>console.error("oh")</script></body>'
        )
        page = tmp_path / "page.html"
        page.write_text(report().to_html().replace("</body>", planted), encoding="utf-8")
        console, requests = opened(page, tmp_path / "profile")
        assert any("oh" in line for line in console)
        assert requests == ["http://fcnet.invalid/x.png"]

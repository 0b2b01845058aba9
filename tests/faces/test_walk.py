"""`plot.walk`: the page shows the numbers of Algorithm 5 in a run, and asks for nothing."""

import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest

import fcnet
from fcnet import plot
from fcnet.cli import main
from fcnet.cli.walk import NETWORKS
from fcnet.notes import MASK

STEPS = 60
RATE = 0.1
KEY = jax.random.key(5)
DATA = re.compile(r'(<script type="application/json" id="data">)(.*?)(</script>)', re.DOTALL)


def data_of(page: str):
    return json.loads(DATA.search(page)[2])


@pytest.fixture(scope="module")
def network():
    return NETWORKS["house"](jax.random.key(4))


@pytest.fixture(scope="module")
def page(network) -> str:
    return plot.walk(**network, key=KEY, learning_rate=RATE, steps=STEPS)


def masked(params, X, Y):
    """The gradient of the house network: 0 where there is no edge."""
    first, *rest = fcnet.batch_backprop(params, X, Y)
    return (first._replace(W=first.W * MASK), *rest)


@pytest.fixture(scope="module")
def expected(network):
    """The values of Algorithm 5 at a step, by `sgd` and `backprop` in place of the page's loop."""

    def values(step: int):
        params, X, Y = network["params"], network["X"], network["Y"]
        run = {"key": KEY, "learning_rate": RATE, "gradient": masked}
        params = fcnet.sgd(params, X, Y, steps=step, **run)
        (j,) = fcnet.sample_batch(jax.random.fold_in(KEY, step), len(X), 1)
        trace = fcnet.forward_trace(params, X[j])
        gradient = fcnet.backprop(params, X[j], Y[j])
        return {
            "x": X[j],
            "z": trace.z,
            "a": trace.a[1:],
            "delta": [layer.b for layer in gradient],
            "W": [layer.W for layer in params],
            "b": [layer.b for layer in params],
            "dW": [gradient[0].W * MASK, gradient[1].W],
            "example": int(j),
            "mean": fcnet.mean_loss(params, X, Y),
        }

    return values


def assert_shown(got, value) -> None:
    """Equal to the three digits of the page, or to one unit in the last of them."""
    for shown, x in zip(np.ravel(got), np.ravel(value), strict=True):
        unit = 10.0 ** (math.floor(math.log10(abs(x))) - 2) if x else 1e-9
        assert abs(shown - x) <= max(unit, 1e-6), (shown, x)


@pytest.mark.parametrize("step", [0, 1, 17, STEPS])
def test_the_page_has_the_numbers_of_a_run(page, expected, step) -> None:
    shown, right = data_of(page)["steps"][step], expected(step)
    assert shown["t"] == step
    assert shown["example"] == right["example"]
    for name in ("z", "delta", "W", "b", "dW", "mean"):
        values = right[name] if name != "mean" else [right[name]]
        for got, value in zip(
            shown[name] if name != "mean" else [shown[name]], values, strict=True
        ):
            assert_shown(got, value)
    for got, value in zip(shown["a"], [right["x"], *right["a"]], strict=True):
        assert_shown(got, value)


def test_another_number_is_noticed(page, expected) -> None:
    shown = data_of(page)["steps"][17]
    shown["delta"][0][1] += 0.1
    with pytest.raises(AssertionError):
        assert_shown(shown["delta"][0], expected(17)["delta"][0])


def test_a_page_is_small_and_refers_to_nothing(page) -> None:
    X = jax.random.normal(KEY, (20, 10))
    params = fcnet.init(KEY, (10, 64, 64, 1))
    large = plot.walk(params, X, X[:, :1], key=KEY, learning_rate=0.01, steps=20)
    for text in (page, large):
        assert len(text.encode()) < 1_000_000
        outside = {"http://www.w3.org/2000/svg"}  # the name of a language, not an address
        assert set(re.findall(r"https?://[^\"'\s<)]+", text)) == outside
    kept = [step["t"] for step in data_of(large)["steps"]]
    assert kept[0] == 0
    assert kept[-1] == 20
    assert 10 < len(kept) < 20


def test_names_and_titles_are_text(network) -> None:
    script = "</script><script>alert(1)</script>"
    names = [["<b>size"] * 4, [script] * 3, ["$" + "data"]]
    run = {**network, "names": names, "title": script}
    text = plot.walk(**run, key=KEY, learning_rate=RATE, steps=1)
    assert script not in text
    assert data_of(text)["names"] == names


WRONG = {
    "is too wide": ({"params": fcnet.init(KEY, (4, 65, 1)), "edges": None}, "65 units in a layer"),
    "is too deep": ({"params": fcnet.init(KEY, (4, *[2] * 8, 1)), "edges": None}, "9 layers"),
    "has names of others": ({"names": [["x"]]}, r"names has \[1\] entries"),
    "has edges of another": ({"edges": [MASK.T, MASK]}, "edges has arrays of shapes"),
    "has weights off its edges": ({"edges": (~MASK, np.ones((1, 3)))}, "must be 0 where"),
    "takes no steps backwards": ({"steps": -1}, "steps"),
    "takes too many": ({"steps": 10**6}, "100,?000"),
    "has a rate of zero": ({"learning_rate": 0.0}, "learning_rate"),
}


@pytest.mark.untyped
@pytest.mark.parametrize(("changed", "message"), WRONG.values(), ids=WRONG)
def test_what_no_page_can_show_is_refused(network, changed, message) -> None:
    run = {**network, "names": None, "learning_rate": RATE, "steps": 3, **changed}
    with pytest.raises(ValueError, match=message):
        plot.walk(**run, key=KEY)


def test_a_run_that_diverges_is_refused(network) -> None:
    with pytest.raises(fcnet.NonFiniteError):
        plot.walk(**network, key=KEY, learning_rate=1e6, steps=STEPS)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_command_writes_a_page(name: str, tmp_path: Path, capsys) -> None:
    file = tmp_path / "pages" / "walk.html"
    assert main(["walk", name, "--steps", "5", "--out", str(file)]) == 0
    assert str(file) in capsys.readouterr().out
    assert len(data_of(file.read_text(encoding="utf-8"))["steps"]) == 6


CHROMIUM = shutil.which("chromium")

NOW = "<script>window.requestAnimationFrame = (draw) => draw();</script>\n<script>"
"""Frames are drawn at once, so that what is shown can be read in turn."""

READ = """<script>
const text = (id) => at(id).textContent;
const pairs = () => [...at("values").querySelectorAll("dt")].map((name) =>
  [name.textContent, name.nextSibling.textContent]);
const found = PLACES.map(([step, line, unit]) => {
  goTo(step, line);
  choose(state.layer, unit % run.sizes[state.layer]);
  goTo(step, line);
  return { step, kind: lines[line].kind, layer: state.layer, unit: state.units[state.layer],
           formula: text("formula"), values: Object.fromEntries(pairs()) };
});
const answer = document.createElement("pre");
answer.id = "answer";
answer.textContent = JSON.stringify(found);
document.body.append(answer);
</script></body>"""


COUNT = """<script>
let found = 0;
picture.context.stroke = () => { found += 1; };
draw();
const answer = document.createElement("pre");
answer.id = "answer";
answer.textContent = found;
document.body.append(answer);
</script></body>"""
"""The number of lines in one frame."""


def read(page: str, places, folder: Path):
    """What Chromium shows at steps, lines and units."""
    return answered(page, READ.replace("PLACES", json.dumps(places)), folder)


def answered(page: str, script: str, folder: Path):
    """What a script at the end of the page writes to the element `answer`, as JSON."""
    file = folder / "page.html"
    text = page.replace("<script>", NOW, 1)
    file.write_text(text.replace("</body>", script), "utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run(
        [*command, "--disable-gpu", "--dump-dom", file.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    answer = re.search(r'<pre id="answer">(.*?)</pre>', done.stdout, re.DOTALL)
    return json.loads(answer[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def assert_read(found, expected) -> int:
    """The number of values that were compared; AssertionError at one that differs."""
    compared = 0
    for place in found:
        right, k, j = expected(place["step"]), place["layer"], place["unit"]
        names = {"z": "z", "a": "a", "\u03b4": "delta", "b": "b", "\u2202J/\u2202b": "delta"}
        for name, shown in place["values"].items():
            if shown != "\u00b7" and name in names:
                assert_shown(float(shown.replace("\u2212", "-")), right[names[name]][k - 1][j])
                compared += 1
            elif name == "x":
                assert_shown(float(shown.replace("\u2212", "-")), right["x"][j])
                compared += 1
    return compared


PLACES = [
    (int(step), int(line), int(unit))
    for step, line, unit in np.random.default_rng(0).integers([0, 0, 0], [STEPS + 1, 8, 4], (10, 3))
]


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which .ci/run installs")
class TestInABrowser:
    def test_shows_the_numbers_of_python(self, page, expected, tmp_path) -> None:
        assert assert_read(read(page, PLACES, tmp_path), expected) > 20

    def test_another_number_in_the_page_is_noticed(self, page, expected, tmp_path) -> None:
        run = data_of(page)
        for step in run["steps"]:
            step["z"] = [[2 * z + 0.1 for z in layer] for layer in step["z"]]
        planted = DATA.sub(lambda found: found[1] + json.dumps(run) + found[3], page)
        with pytest.raises(AssertionError):
            assert_read(read(planted, PLACES, tmp_path), expected)

    def test_the_formula_is_written_out_with_its_numbers(self, page, tmp_path) -> None:
        (forward, delta) = read(page, [(3, 1, 0), (3, 4, 1)], tmp_path)
        assert forward["kind"] == "forward"
        total = forward["formula"].split("=")[2].replace("\u2212", "-")
        terms = [
            math.prod(float(factor.strip(" ()")) for factor in term.split("\u00b7"))
            for term in total.split(" + ")
        ]
        z = float(forward["values"]["z"].replace("\u2212", "-"))
        assert sum(terms) == pytest.approx(z, abs=0.02)
        assert delta["kind"] == "delta"
        assert "\u03c3\u2032" in delta["formula"]

    def test_a_crowded_layer_shows_its_largest_weights(self, tmp_path) -> None:
        X = jax.random.normal(KEY, (5, 10))
        params = fcnet.init(KEY, (10, 64, 1))
        text = plot.walk(params, X, X[:, :1], key=KEY, learning_rate=0.01, steps=1)
        first = np.abs(data_of(text)["steps"][0]["W"][0]).reshape(64, 10)
        least = np.sort(first.ravel())[-300]
        expected = (first >= least).sum() + (first[:, 0] < least).sum() + 64
        assert answered(text, COUNT, tmp_path) == expected
        planted = text.replace("mostLines = 300", "mostLines = 1000")
        assert answered(planted, COUNT, tmp_path) == 704

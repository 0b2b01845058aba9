"""The site: every public name has its place in the reference, and it builds without a warning."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fcnet

SITE = Path(__file__).parents[2] / "scripts/site"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SITE))
    yield importlib.import_module("names")
    sys.modules.pop("names")


def listed(names) -> list[str]:
    return [*names.MODULES, *(name for group in names.GROUPS.values() for name in group)]


def test_every_public_name_is_listed_once(names) -> None:
    assert sorted(listed(names)) == fcnet.__all__


def test_a_name_that_is_missing_or_listed_twice_is_noticed(names) -> None:
    groups = names.GROUPS
    for changed in (groups["Losses"][1:], (*groups["Losses"], "fit")):
        names.GROUPS = {**groups, "Losses": changed}
        assert sorted(listed(names)) != fcnet.__all__


def test_the_names_of_modules_are_those_they_offer(names) -> None:
    found = {module: list(names.module_names(module)) for module in names.MODULES}
    assert found["estimators"] == [
        "fcnet.estimators.FCNetClassifier",
        "fcnet.estimators.FCNetRegressor",
    ]
    assert {"fcnet.interchange.to_onnx", "fcnet.notes.EDGES", "fcnet.plot.network"} < {
        name for module in found.values() for name in module
    }
    for module, offered in found.items():
        loaded = importlib.import_module(f"fcnet.{module}")
        assert all(hasattr(loaded, name.split(".")[-1]) for name in offered)


def built(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """What `scripts/docs` does, into a folder, in a workflow of owner/name."""
    command = ["mkdocs", "build", "--strict", "--config-file", config, "--site-dir", folder]
    environment = {**os.environ, "GITHUB_REPOSITORY": "owner/name"}
    return subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = built(SITE / "mkdocs.yml", tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'id="fcnet.check_vjp"' in (tmp_path / "reference/check_a_gradient.html").read_text()
    assert "Algorithm 5" in (tmp_path / "search/search_index.json").read_text()
    notebook = (tmp_path / "notebooks/02_backpropagation.html").read_text(encoding="utf-8")
    assert "colab.research.google.com/github/owner/name/blob/main/notebooks/02_b" in notebook
    assert "mybinder.org/v2/gh/owner/name/main?labpath=notebooks/02_b" in notebook
    for page in tmp_path.rglob("*.html"):
        assert 'src="http' not in page.read_text(encoding="utf-8"), page


@pytest.mark.slow
@pytest.mark.parametrize("page", ["[fit](no_such_page.md)", "::: fcnet.no_such_name"])
def test_a_broken_link_or_name_fails(page: str, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(page)
    config = tmp_path / "mkdocs.yml"
    config.write_text("site_name: broken\nplugins: [mkdocstrings]\n")
    assert built(config, tmp_path / "site").returncode != 0


MENTION = re.compile(r"`(fcnet\.[\w.]+)`")


def resolved(name: str) -> object:
    """What a dotted name stands for; an AttributeError if nothing."""
    value: object = fcnet
    for part in name.split(".")[1:]:
        value = getattr(value, part)
    return value


@pytest.mark.parametrize(
    "page",
    [*sorted((SITE / "pages").rglob("*.md")), SITE.parents[1] / "README.md"],
    ids=lambda page: page.stem,
)
def test_names_in_the_text_exist(page: Path) -> None:
    for name in MENTION.findall(page.read_text(encoding="utf-8")):
        resolved(name)


def test_a_name_that_does_not_exist_is_noticed() -> None:
    (name,) = MENTION.findall("see `fcnet.train_all`")
    with pytest.raises(AttributeError):
        resolved(name)

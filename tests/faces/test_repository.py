"""The files that a repository is expected to have agree with the project, and with each other."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FOLDER = ROOT / ".github" / "ISSUE_TEMPLATE"
FORMS = [path for path in sorted(FOLDER.glob("*.yml")) if path.name != "config.yml"]


def read(*parts: str) -> Any:
    return yaml.safe_load(ROOT.joinpath(*parts).read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version() -> None:
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # the format asks them
    shared = ("name", "version", "license")
    assert [citation[key] for key in ("title", *shared[1:])] == [PROJECT[key] for key in shared]
    assert [author["name"] for author in citation["authors"]] == ["The fcnet authors"]
    (notes,) = citation["references"]
    names = [author["family-names"] for author in notes["authors"]]
    assert names == ["Ma", "Avati", "Katanforoosh", "Ng"]


def test_ci_runs_on_every_version_that_the_project_names() -> None:
    (job,) = read(".github", "workflows", "ci.yml")["jobs"].values()
    named = [re.fullmatch(r".*Python :: (\d+\.\d+)", line) for line in PROJECT["classifiers"]]
    assert job["strategy"]["matrix"]["python-version"] == [match[1] for match in named if match]
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == [".ci/run"]
    assert (ROOT / commands[0]).stat().st_mode & 0o111


def test_the_hooks_run_the_tools_of_the_extra_dev() -> None:
    (local,) = read(".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"
    tools = {re.split(r"\W", line)[0] for line in PROJECT["optional-dependencies"]["dev"]}
    hooks = {hook["id"]: hook for hook in local["hooks"]}
    assert hooks.keys() == {"ruff-check", "ruff-format", "mypy"}
    assert {hook["entry"].split()[0] for hook in hooks.values()} == {"ruff", "mypy"} <= tools
    assert {hook["language"] for hook in hooks.values()} == {"system"}
    assert hooks["mypy"]["pass_filenames"] is False


def defects(form: dict[str, Any]) -> list[str]:
    """What keeps an issue form from being shown."""
    found = [key for key in ("name", "description", "body") if not form.get(key)]
    fields = [field for field in form.get("body", []) if field["type"] != "markdown"]
    ids = [field.get("id") for field in fields]
    found += [
        f"{field['type']} without a label" for field in fields if not field["attributes"]["label"]
    ]
    if None in ids or len(set(ids)) < len(ids):
        found.append("ids that are missing or there twice")
    return found


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_are_complete(path: Path) -> None:
    form = read(*path.relative_to(ROOT).parts)
    assert defects(form) == []
    required = {f["id"] for f in form["body"] if f.get("validations", {}).get("required")}
    assert required  # or an issue may be empty
    form["body"][-1]["id"] = form["body"][-2].get("id")
    assert defects(form) == ["ids that are missing or there twice"]


def test_a_wrong_verdict_is_reported_with_all_that_it_takes_to_repeat_it() -> None:
    body = read(".github", "ISSUE_TEMPLATE", "wrong_verdict.yml")["body"]
    assert {f["id"] for f in body if f.get("validations", {}).get("required")} == {
        *("function", "verdict", "program", "report", "evidence", "versions")
    }


def unlisted(guide: str) -> set[str]:
    """The modules of the core that CONTRIBUTING.md does not name."""
    files = {path.stem for path in (ROOT / "fcnet").glob("[!_]*.py")}
    return {name for name in files if f"`{name}`" not in guide}


def test_the_guide_names_every_module_of_the_core() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert not unlisted(guide)
    assert unlisted(guide.replace("`forks`", "forks")) == {"forks"}

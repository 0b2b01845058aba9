"""The command line keeps the programs that it compiles, where its user has room for them."""

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from support.public_names import run_program

from fcnet.cli import cache
from fcnet.cli.cache import cache_folder, is_private, trim

COMPILING = """
import json, os
for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
    os.environ.pop(name, None)
os.environ.update(json.loads(os.environ["CHANGES"]))
from fcnet.cli.cache import cache_folder, keep_compiled
{before}
keep_compiled()
import jax
compiled = []
jax.monitoring.register_event_listener(lambda event, **_: compiled.append(event))
jax.jit(lambda x: x * 3 + 1)(2.0)
folder = cache_folder()
files = [path.name for path in folder.glob("*-cache")] if folder.is_dir() else []
print(json.dumps([len(files), sum("cache_hits" in event for event in compiled)]))
"""


def compile_once(home: Path, before: str = "", **changes: str) -> tuple[int, int]:
    """How many programs the cache folder has after one was compiled, and how many it was read."""
    done = run_program(
        COMPILING.format(before=before),
        XDG_CACHE_HOME=str(home),
        LOCALAPPDATA=str(home),
        CHANGES=json.dumps(changes),
    )
    assert (done.returncode, done.stderr) == (0, "")
    kept, read = json.loads(done.stdout)
    return kept, read


def test_the_second_process_reads_what_the_first_compiled(tmp_path: Path) -> None:
    kept, read = compile_once(tmp_path)
    assert kept > 0
    assert read == 0
    assert compile_once(tmp_path) == (kept, kept)


def test_the_variables_of_jax_count_more(tmp_path: Path) -> None:
    assert compile_once(tmp_path, JAX_ENABLE_COMPILATION_CACHE="false") == (0, 0)
    other = tmp_path / "other"
    changes = {"JAX_COMPILATION_CACHE_DIR": str(other)}
    changes["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    assert compile_once(tmp_path, **changes) == (0, 0)
    assert list(other.glob("*-cache"))


def test_a_process_that_has_loaded_jax_is_left_alone(tmp_path: Path) -> None:
    assert compile_once(tmp_path, before="import jax") == (0, 0)


def test_without_a_folder_to_write_to_programs_are_compiled(tmp_path: Path) -> None:
    (tmp_path / "fcnet").write_text("a file, where a folder is needed")
    assert compile_once(tmp_path) == (0, 0)


def test_a_command_keeps_programs_and_help_makes_no_folder(tmp_path: Path) -> None:
    script = (
        "import os; os.environ.pop('JAX_COMPILATION_CACHE_DIR', None)\n"
        "from fcnet.cli import main; main(['{}'])"
    )
    places = {"XDG_CACHE_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    assert "JAX_ENABLE_COMPILATION_CACHE" in run_program(script.format("--help"), **places).stdout
    assert not (tmp_path / "fcnet").exists()
    assert run_program(script.format("notes"), **places).returncode == 0
    assert (tmp_path / "fcnet").is_dir()


@pytest.mark.parametrize(
    ("before", "given", "threads", "threshold", "frozen"),
    [
        ("", "", "1", 100_000, True),
        ("", "3", "3", 100_000, True),
        ("import jax", "", "None", gc.get_threshold()[0], False),
    ],
)
def test_a_command_has_the_process_to_itself(
    before: str, given: str, threads: str, threshold: int, frozen: bool
) -> None:
    script = (
        "import atexit, gc, os; before = gc.get_freeze_count()\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > before))\n"
        f"os.environ.pop('OPENBLAS_NUM_THREADS'); given = {given!r}\n"
        f"if given: os.environ['OPENBLAS_NUM_THREADS'] = given\n{before}\n"
        "from fcnet.cli import main; main(['notes'])\n"
        "print(os.environ.get('OPENBLAS_NUM_THREADS'), gc.get_threshold()[0])"
    )
    done = run_program(script, OPENBLAS_NUM_THREADS="2")
    assert done.stdout.splitlines()[-2:] == [f"{threads} {threshold}", str(frozen)]


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "home/.cache/fcnet"),
        ("linux", {"XDG_CACHE_HOME": "caches"}, "caches/fcnet"),
        ("darwin", {}, "home/Library/Caches/fcnet"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/fcnet"),
        ("win32", {}, "home/AppData/Local/fcnet"),
    ],
)
def test_the_folder_is_where_the_platform_has_its_caches(
    monkeypatch: Any, tmp_path: Path, platform: str, variables: dict[str, str], expected: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, place in variables.items():
        monkeypatch.setenv(name, str(tmp_path / place))
    assert cache_folder() == tmp_path / expected


def test_a_relative_folder_is_ignored(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert cache_folder() == tmp_path / ".cache" / "fcnet"


def test_what_is_too_much_is_removed(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(bytes(10))
    trim(tmp_path, 30)
    assert len(list(tmp_path.iterdir())) == 3
    trim(tmp_path, 5)
    assert not list(tmp_path.iterdir())
    assert cache.MOST_BYTES > 2**20


ME, OTHER = 1000, 1001
FOLDER = Path("/home/me/.cache/fcnet")
CACHE, HOMES = FOLDER.parent, FOLDER.parents[2]


def seen_as(monkeypatch: Any, folders: dict[Path, tuple[int, int]]) -> None:
    """Have the system say who owns these folders, and their modes; all others are this user's."""

    def stat(path: Any, **options: Any) -> os.stat_result:
        owner, mode = folders.get(Path(path), (ME, 0o755))
        return os.stat_result((mode, 0, 0, 0, owner, 0, 0, 0, 0, 0))

    monkeypatch.setattr(os, "geteuid", lambda: ME)
    monkeypatch.setattr(os, "stat", stat)


@pytest.mark.parametrize(
    ("folder", "owner", "mode", "private"),
    [
        (FOLDER, ME, 0o700, True),
        (HOMES, 0, 0o755, True),
        (HOMES, 0, 0o1777, True),  # like /tmp
        (FOLDER, OTHER, 0o700, False),
        (FOLDER, 0, 0o755, False),
        (FOLDER, ME, 0o775, False),
        (FOLDER, ME, 0o757, False),
        (FOLDER, ME, 0o1777, False),
        (CACHE, OTHER, 0o755, False),
        (CACHE, ME, 0o775, False),
        (HOMES, 0, 0o777, False),
    ],
)
def test_a_folder_that_others_can_change_is_not_trusted(
    monkeypatch: Any, folder: Path, owner: int, mode: int, private: bool
) -> None:
    seen_as(monkeypatch, {folder: (owner, mode)})
    assert is_private(FOLDER) == private


def test_the_folders_above_a_link_and_above_its_target_count(
    monkeypatch: Any, tmp_path: Path
) -> None:
    target, caches = tmp_path.resolve() / "target", tmp_path.resolve() / "caches"
    (target / "fcnet").mkdir(parents=True)
    caches.mkdir()
    (caches / "link").symlink_to(target)
    for open_to_all, private in ((tmp_path / "other", True), (target, False), (caches, False)):
        seen_as(monkeypatch, {open_to_all: (ME, 0o777)})
        assert is_private(caches / "link" / "fcnet") == private
        monkeypatch.undo()


@pytest.mark.parametrize("private", [True, False])
def test_nothing_is_kept_in_a_folder_that_is_not_trusted(
    monkeypatch: Any, tmp_path: Path, private: bool
) -> None:
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.setenv(name, "")  # so that what follows is undone
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "jax")
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "fcnet")
    monkeypatch.setattr(cache, "is_private", lambda folder: private)
    cache.keep_compiled()
    kept = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    assert kept == (str(tmp_path / "fcnet") if private else None)

"""Files of each released version are read, and those of a later one are refused by it."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from support.stored_files import FILES, VERSIONS, training

import fcnet
from fcnet.data import load_model, predict, read_schema, read_table, save_model
from fcnet.data.model import MODEL_VERSION
from fcnet.train.checkpoint import CheckpointError, read, saved

each_version = pytest.mark.parametrize("files", VERSIONS, ids=[path.name for path in VERSIONS])


def test_this_version_has_its_files() -> None:
    assert FILES in VERSIONS


@each_version
@pytest.mark.filterwarnings("ignore:.*was written with")
def test_a_run_continues_from_a_checkpoint(files: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    shutil.copytree(files / "checkpoints", folder)
    assert list(saved(folder)) == [10, 20]
    steps: list[int] = []
    result = training(
        checkpoint=folder, resume=True, steps=40, progress=lambda step, _: steps.append(step)
    )
    assert steps == [30, 40]
    unbroken = training(steps=40)
    for one, other in zip(*map(jax.tree.leaves, (result.params, unbroken.params)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    with pytest.raises(fcnet.CheckpointError, match="is of another run: batch_size was 3 and is 4"):
        training(checkpoint=folder, resume=True, steps=40, batch_size=4)


@each_version
def test_a_model_predicts_what_it_did(files: Path) -> None:
    found = predict(load_model(files), read_table(files / "table.csv"))
    expected = json.loads((files / "predictions.json").read_text(encoding="utf-8"))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert read_schema(files / "schema.json").keys() == {"sqft", "kind", "price"}


def rewritten(file: Path, name: str, text: str) -> None:
    """Change a text of a safetensors file, which then has no right checksum of its own."""
    with safe_open(file, framework="numpy") as stored:
        arrays = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
        texts = {**stored.metadata(), name: text}
    texts.pop("fcnet_sha256", None)
    save_file(arrays, file, texts)


def test_a_later_model_is_refused_by_its_version(tmp_path: Path) -> None:
    file = shutil.copy(FILES / "model.safetensors", tmp_path)
    with safe_open(file, framework="numpy") as stored:
        text = json.loads(stored.metadata()["fcnet_model"])
    later = MODEL_VERSION + 1
    rewritten(Path(file), "fcnet_model", json.dumps({**text, "version": later, "new": 1}))
    with pytest.raises(ValueError, match=f"version {later}, this program reads .*{MODEL_VERSION}"):
        load_model(tmp_path)
    rewritten(Path(file), "fcnet_model", json.dumps(text))
    assert load_model(tmp_path).target == load_model(FILES).target


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    raw = (FILES / "model.safetensors").read_bytes()
    file = tmp_path / "model.safetensors"
    for position in (len(raw) - 2, len(raw) // 2, 12):
        file.write_bytes(raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :])
        with pytest.raises(ValueError, match=r"model\.safetensors is (damaged|not a complete)"):
            load_model(file)


def test_the_checkpoints_that_are_kept_are_whole() -> None:
    for path in saved(FILES / "checkpoints").values():
        arrays, text = read(path)
        assert int(text["step"]) == int(path.stem.removeprefix("step-"))
        assert "params[0].W" in arrays
    with pytest.raises(CheckpointError, match="is damaged, or fcnet did not write it"):
        read(FILES / "model.safetensors")


def test_files_that_hold_the_same_are_the_same_bytes(tmp_path: Path) -> None:
    model = load_model(FILES)
    for name in "ab":
        save_model(tmp_path / name, model)
        training(checkpoint=tmp_path / f"{name}-run", steps=10)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    a, b = (saved(tmp_path / f"{name}-run") for name in "ab")
    assert [path.read_bytes() for path in a.values()] == [path.read_bytes() for path in b.values()]
    assert len({path.read_bytes() for path in a.values()}) == len(a) == 2
    save_model(tmp_path / "c", model._replace(loss="poisson"))
    assert (tmp_path / "c").read_bytes() != (tmp_path / "a").read_bytes()

"""Files of earlier versions, which this version must still read: `files/VERSION/`.

    python -m support.stored_files    # in tests/: write the files of this version, once

Once a version is released, its files are not written again.
"""

import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

import fcnet
from fcnet.cli import main
from fcnet.data import TableModel, load_model, predict, read_table
from fcnet.train.checkpoint import Store, read
from fcnet.train.types import Snapshot, State

FOLDER = Path(__file__).with_name("files")
VERSIONS = sorted(path for path in FOLDER.iterdir() if path.is_dir())
FILES = FOLDER / fcnet.__version__
"""Those of this version."""

TABLE = "sqft,kind,price\n" + "".join(
    f"{i * 7 % 30}.5,{'ab'[i % 2]},{i * 11 % 20 + 10 * (i % 2)}\n" for i in range(30)
)


def training(**changed: Any) -> fcnet.FitResult:
    """The run whose checkpoints are stored. Its data are the same bits on every machine."""
    X = np.arange(16.0, dtype=np.float32).reshape(8, 2) % 5
    layers = ((X[:3] / 4, np.zeros(3, np.float32)), (X[:3].T[:1] / 8, np.ones(1, np.float32)))
    usual = {"batch_size": 3, "steps": 20, "evaluate_every": 10, "key": jax.random.key(7)}
    return fcnet.fit(layers, X, X[:, :1] * X[:, 1:], **{**usual, **changed})


@cache
def start() -> Snapshot:
    """The snapshot that the run starts from, without its entry in the history."""
    result = training(steps=0)
    return Snapshot(0, jax.device_get(State(result.params, result.opt_state)), (), 0, ())


def continued(folder: Path, configuration_of: Path) -> int:
    """The step from which the run of this checkpoint continues in a folder."""
    found = json.loads(read(configuration_of)[1]["configuration"])
    snapshot = Store(folder, 1, 3, found).latest(start())
    return 0 if snapshot is None else snapshot.step


def same(one: TableModel, other: TableModel) -> bool:
    """Whether two models are the same, bit for bit."""
    pairs = zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True)
    alike = one._replace(params=()) == other._replace(params=())
    return alike and all(np.array_equal(a, b) for a, b in pairs)


def write() -> None:
    """Write the files of this version."""
    FILES.mkdir(parents=True)
    training(checkpoint=FILES / "checkpoints")
    for name in (".lock", "step-0000000000.safetensors"):
        (FILES / "checkpoints" / name).unlink()
    table = FILES / "table.csv"
    table.write_text(TABLE, encoding="utf-8")
    with tempfile.TemporaryDirectory() as out:
        options = ("--target", "price", "--hidden", "3", "--steps", "40", "--out", out)
        assert main(["train", str(table), *options]) == 0
        for name in ("model.safetensors", "schema.json"):
            shutil.copy(Path(out) / name, FILES)
    prices = predict(load_model(FILES), read_table(table))
    (FILES / "predictions.json").write_text(json.dumps(prices.tolist()), encoding="utf-8")


if __name__ == "__main__":
    write()

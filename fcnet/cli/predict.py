"""`fcnet predict`: a trained network on the rows of a file."""

import csv
import sys
from pathlib import Path

from fcnet.cli.options import DATA, Command, file


def predict(model: Path, data: Path, out: Path | None) -> None:
    """Print the prediction for every row of a file as CSV, or write it to `out`.

    Where the file has the target too, the score goes to standard error. It covers all rows,
    including training rows.

    Raises:
        ValueError: for a file that is no model, or columns that do not fit it.
    """
    from fcnet.cli.task import scores
    from fcnet.data import load_model, read_table
    from fcnet.data import predict as predict_rows
    from fcnet.data.schema import is_missing, is_numeric

    if model.is_dir() and not (model / "model.safetensors").exists():
        raise ValueError(
            f"{model} holds no model.safetensors. If the run is unfinished, continue it with "
            "fcnet train --resume"
        )
    loaded = load_model(model)
    table = read_table(data)
    predicted = predict_rows(loaded, table)
    rows = [[loaded.target], *([value] for value in predicted.tolist())]
    if out is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
    else:
        with out.open("w", newline="", encoding="utf-8") as written:
            csv.writer(written, lineterminator="\n").writerows(rows)
    truth = table.get(loaded.target)
    if truth is None or is_missing(truth).any():
        return
    if loaded.classes or is_numeric(truth):
        found = scores(loaded, table)
        shown = ", ".join(f"{score} {value}" for score, value in found.items())
        print(f"{len(predicted)} rows, including training rows: {shown}", file=sys.stderr)


COMMAND = Command(
    predict,
    "predict with a network of fcnet train or sweep, for every row of a file (needs the extra cli)",
    (
        "fcnet predict runs/model houses.csv",
        "fcnet predict runs/model/model.safetensors houses.csv --out prices.csv",
    ),
    {
        "model": {
            "type": Path,
            "metavar": "MODEL",
            "help": "a folder or file of fcnet train or sweep",
        },
        "data": DATA,
        "--out": file("write the CSV there"),
    },
)

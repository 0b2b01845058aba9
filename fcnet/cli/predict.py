"""`fcnet predict`: a trained network on the rows of a file."""

import sys
from pathlib import Path

from fcnet.cli.options import DATA, FORMAT, MODEL, Command, file
from fcnet.files import as_csv, write_file
from fcnet.text import escaped

FAR = 10
"""Standard deviations from the mean of the training rows; beyond, there is little to learn from."""


def predict(
    model: Path,
    data: Path,
    separator: str | None,
    decimal: str | None,
    encoding: str | None,
    out: Path | None,
) -> None:
    """Print the prediction for every row of a file as CSV, or write it to `out`.

    Where the file has the target too, the score goes to standard error. It covers all rows,
    including training rows; each must have a target, and of labels, at least one must be known.
    So do the names of columns with numbers that are far from those of training.

    Raises:
        ValueError: for a file that is no model, or columns that do not fit it.
    """
    import numpy as np

    from fcnet.cli.task import scores
    from fcnet.data.cells import shown
    from fcnet.data.model import inputs_of, load_model, means, predictions, scales, targets_of
    from fcnet.data.preprocess import standardize
    from fcnet.data.read import open_table

    loaded = load_model(model)
    source = open_table(data, separator=separator, decimal=decimal, encoding=encoding)
    text = [field.name for field in (*loaded.features, loaded.target) if field.kind != "number"]
    columns = [field for field in loaded.features for _ in field.inputs]
    found, far = [], np.zeros(len(columns), bool)
    for table in source.blocks(text):
        X = inputs_of(loaded.features, table)
        far |= (np.abs(standardize(scales(loaded.features), X)) > FAR).any(axis=0)
        found.append((means(loaded, X), targets_of(loaded, table)))
    mean = np.concatenate([part for part, _ in found])
    rows = [[loaded.target.name], *([value] for value in predictions(loaded, mean).tolist())]
    written = as_csv(rows)
    if out is None:
        printed = written.decode()
        sys.stdout.write(escaped(printed) if sys.stdout.isatty() else printed)
    else:
        write_file(out, written)
    if names := [field.name for field, is_far in zip(columns, far, strict=True) if is_far]:
        listed = escaped(", ".join(names))
        print(
            f"More than {FAR} standard deviations from the mean of training: {listed}.",
            file=sys.stderr,
        )
    if loaded.target.name not in source.names:
        return
    targets = [Y for _, Y in found if Y is not None]
    if len(targets) < len(found):
        print("Not scored: some rows have no target, or one of another kind.", file=sys.stderr)
        return
    Y = np.concatenate(targets)
    if loaded.target.values and not Y.any():  # such as True in CSV for the 1 of Parquet
        known = shown(loaded.target.values[0])
        print(
            f"Not scored: no row has a label that the model knows, such as {known}.",
            file=sys.stderr,
        )
    else:
        rated = scores(loaded, mean, Y)
        listed = ", ".join(f"{score} {value}" for score, value in rated.items())
        print(f"{len(mean):,} rows, including training rows: {listed}", file=sys.stderr)


COMMAND = Command(
    predict,
    "predict with a network of fcnet train or sweep, for every row of a file (needs the extra cli)",
    (
        "fcnet predict runs/model houses.csv",
        "fcnet predict runs/model/model.safetensors houses.csv --out prices.csv",
    ),
    {
        "model": MODEL,
        "data": DATA,
        **FORMAT,
        "--out": file("write the CSV there"),
    },
)

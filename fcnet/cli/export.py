"""`fcnet export`: a trained network in the format of other programs."""

from pathlib import Path

from fcnet.cli.options import MODEL, Command


def export(model: Path, onnx: Path) -> None:
    """Write a model to an ONNX file, and print its inputs and outputs.

    Raises:
        ValueError: for a file that is no model, or a column that ONNX cannot name.
        ModuleNotFoundError: without the extra `onnx`.
    """
    from fcnet.data.model import load_model
    from fcnet.data.onnx import to_onnx

    loaded = load_model(model)
    to_onnx(onnx, loaded)
    target = loaded.target
    lines = {
        field.name: f"{KINDS[field.kind]}, shape (n, 1)"
        + (f", {MISSING[field.kind]} where it is missing" if field.fill is not None else "")
        for field in loaded.features
    }
    results = {target.name: f"{KINDS[target.kind]}, shape (n,)"}
    if not target.is_number:
        results[f"{target.name}.probabilities"] = f"float64, shape (n, {len(target.values)})"
    width = max(map(len, [*lines, *results]))
    for title, values in (("inputs", lines), ("outputs", results)):
        print(f"The {title} of {onnx}, for n rows:")
        for name, is_what in values.items():
            print(f"  {name:<{width}}  {is_what}")


MISSING = {"number": "NaN", "date": "NaN", "category": "the empty text"}
KINDS = {
    "number": "float64",
    "date": "float64, in days since 1970-01-01",
    "category": "text",
    "label": "text",
}
"""What ONNX takes for each kind of column, and where an entry is missing."""

COMMAND = Command(
    export,
    "write a network of fcnet train or sweep to an ONNX file (needs the extras cli and onnx)",
    (
        "fcnet export runs/model --onnx houses.onnx",
        "fcnet export runs/model/model.safetensors --onnx houses.onnx",
    ),
    {
        "model": MODEL,
        "--onnx": {"required": True, "type": Path, "metavar": "FILE", "help": "the file to write"},
    },
)

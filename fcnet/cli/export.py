"""`fcnet export`: a trained network in the format of other programs."""

from pathlib import Path

from fcnet.cli.options import MODEL, Command
from fcnet.text import escaped


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
    target, takes = loaded.target, {}
    for field in loaded.features:
        what, gap = KINDS[field.kind]
        shown = f", {gap} where it is missing" if field.fill is not None else ""
        takes[field.name] = f"{what}, shape (n, 1){shown}"
    returns = {target.name: f"{KINDS[target.kind][0]}, shape (n,)"}
    if not target.is_number:
        returns[f"{target.name}.probabilities"] = f"float64, shape (n, {len(target.values)})"
    width = max(map(len, [*takes, *returns]))
    for title, values in (("inputs", takes), ("outputs", returns)):
        print(f"The {title} of {onnx}, for n rows:")
        for name, what in values.items():
            print(escaped(f"  {name:<{width}}  {what}"))


KINDS = {
    "number": ("float64", "NaN"),
    "date": ("float64, in days since 1970-01-01", "NaN"),
    "category": ("text", "the empty text"),
    "label": ("text", "the empty text"),
}
"""What ONNX takes for a column of each kind, and where an entry is missing."""

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

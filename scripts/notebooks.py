#!/usr/bin/env python
"""Run the notebooks and save their outputs: each NAME.py gives an executed NAME.ipynb.

    python scripts/notebooks.py            # all of them
    python scripts/notebooks.py 01_one_neuron

Edit notebooks/*.py, never the .ipynb files.
"""

import argparse
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"


def executed(source: Path) -> nbformat.NotebookNode:
    """The notebook of a source, with what its cells print and draw."""
    notebook = jupytext.read(source)
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i}"  # random by default, which would change in every run
    NotebookClient(
        notebook, timeout=120, coalesce_streams=True, resources={"metadata": {"path": FOLDER}}
    ).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran, to the microsecond
    notebook.metadata.pop("language_info", None)
    return notebook


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="without a suffix")
    names = parser.parse_args().names or sorted(path.stem for path in FOLDER.glob("*.py"))
    for name in names:
        print(name, flush=True)
        nbformat.write(executed(FOLDER / f"{name}.py"), FOLDER / f"{name}.ipynb")


if __name__ == "__main__":
    main()

"""Pages that are made of the repository: the reference, the notes, the notebooks, the changes."""

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import jax
import nbformat
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter
from nbformat.v4 import new_markdown_cell

sys.path.insert(0, str(Path(__file__).parent))

from names import GROUPS, MODULES, module_names

from fcnet import plot
from fcnet.cli.walk import NETWORKS
from fcnet.notes.index import index, mentions
from fcnet.notes.misprints import MISPRINTS, Misprint

ROOT = Path(__file__).parents[2]

FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$", re.DOTALL)

NAME = re.compile(r"^```.*?^```|^#.*?$|`(?P<name>fcnet\.[\w.]+)`", re.DOTALL | re.MULTILINE)
"""A name in the text; also what has no links, a block of code or a heading, to pass over it."""

Content = tuple[str, str | bytes]
"""The path of a page or a picture, and its content."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what stands in no file of `pages`."""
    repository = config.extra["repository"]
    for path, content in (*reference(), *notebooks(repository), *walks(), notes(), changes()):
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Link public names to the reference: in the text, not in headings and blocks of code."""
    if page.file.src_uri.startswith(("reference/", "notebooks/")):
        return markdown
    names = {name for offered in reference_names().values() for name in offered}

    def linked(found: re.Match[str]) -> str:
        name = found["name"]
        return f"[`{name}`][{name}]" if name in names else found[0]

    return NAME.sub(linked, markdown)


def reference_names() -> dict[str, list[str]]:
    """The public names by the page of the reference."""
    names = {title: [f"fcnet.{name}" for name in group] for title, group in GROUPS.items()}
    return names | {f"fcnet.{module}": list(module_names(module)) for module in MODULES}


def reference() -> Iterator[Content]:
    """A page for each group of names and each public module, and their list."""
    pages = reference_names()
    contents = ["# Reference", "", "Every public name, with its source.", ""]
    for title, names in pages.items():
        page = f"{re.sub('[^a-z]+', '_', title.lower())}.md"
        links = ", ".join(f"[`{name.split('.')[-1]}`]({page}#{name})" for name in names)
        contents.append(f"- [{title}]({page}): {links}")
        about = import_module(title).__doc__ if title.startswith("fcnet.") else ""
        yield f"reference/{page}", "\n\n".join([f"# {title}", about, *(f"::: {n}" for n in names)])
    yield "reference/index.md", "\n".join(contents)


def notes() -> Content:
    """Every item of the notes, with its misprints and the source of its functions."""
    parts = [
        "# The notes, item by item",
        "Each numbered item of the notes with the functions that implement or draw it, and with "
        "what is misprinted there. `python scripts/notes_index.py` also lists the tests of each.",
    ]
    elsewhere = list(MISPRINTS)
    for item in index():
        parts.append(f"## {item.name}: {item.title}")
        here = [row for row in elsewhere if item.name in mentions(row.where)]
        elsewhere = [row for row in elsewhere if row not in here]
        parts += [*map(misprint, here), *map(source, item.functions)]
    parts += ["## Misprints elsewhere", *map(misprint, elsewhere)]
    return "notes.md", "\n\n".join(parts)


def misprint(row: Misprint) -> str:
    """The misprint as a box."""
    text = f"    Printed: {row.printed}.\n\n    Read: {row.reading}."
    return f'!!! warning "Misprint: {row.where}"\n{text}'


def source(name: str) -> str:
    """A box with the source of an object, or its name alone where that is a value."""
    module, _, attribute = name.rpartition(".")
    value = getattr(import_module(module), attribute)
    code = inspect.unwrap(value) if callable(value) else None
    if not (inspect.isfunction(code) or inspect.isclass(code)):
        return f"`{name}`"
    body = textwrap.indent(f"```python\n{inspect.getsource(code).rstrip()}\n```", "    ")
    return f'??? note "`{name}`"\n{body}'


def notebooks(repository: str | None) -> Iterator[Content]:
    """The executed notebooks with their pictures, and their list.

    repository: "owner/name" on GitHub. Each page then links to the services that run it.
    """
    contents = ["# Notebooks", "", "The notes' story, with the code that runs.", ""]
    exporter = MarkdownExporter()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        notebook.metadata.language_info = {"name": "python"}
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = FORMULA.sub(formula, cell.source)
        if repository:
            notebook.cells.insert(1, new_markdown_cell(run_online(repository, path.name)))
        text, resources = exporter.from_notebook_node(
            notebook, resources={"unique_key": path.stem, "output_files_dir": path.stem}
        )
        for picture, content in resources["outputs"].items():
            yield f"notebooks/{picture}", content
        yield f"notebooks/{path.stem}.md", text
        title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
        contents.append(f"- [{title}]({path.stem}.md)")
    yield "notebooks/index.md", "\n".join(contents)


def run_online(repository: str, name: str) -> str:
    """How to run a notebook without an installation of one's own."""
    colab = f"https://colab.research.google.com/github/{repository}/blob/main/notebooks/{name}"
    binder = f"https://mybinder.org/v2/gh/{repository}/main?labpath=notebooks/{name}"
    package = f"fcnet[all] @ git+https://github.com/{repository}"
    return f"""Run it in [Binder]({binder}), or in [Colab]({colab}) after this cell:

```text
%pip install -q "{package}"
```
"""


def walks() -> Iterator[Content]:
    """The pages that `fcnet walk` writes."""
    for name, network in NETWORKS.items():
        start, draws = jax.random.split(jax.random.key(0))
        page = plot.walk(**network(start), key=draws, learning_rate=0.1, steps=250)
        yield f"walks/{name}.html", page


def formula(found: re.Match[str]) -> str:
    """A formula in LaTeX as MathML, which browsers draw without a script."""
    display, inline = found.groups()
    return convert(display or inline, display="block" if display else "inline")


def changes() -> Content:
    """The changelog."""
    return "changes.md", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

"""The index of the notes: each numbered item with the functions that implement or draw it.

Only the items are listed by hand. Functions are found by their docstrings, which cite the notes'
numbers. In the repository, `scripts/notes_index.py` adds the tests of each item.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from fcnet.notes.misprints import MISPRINTS

PACKAGE = Path(__file__).parents[1]
ROOMS = (".", "data", "notes", "plot")
"""The folders that implement the notes' items; the others only cite them in explanations."""

Tests: TypeAlias = Mapping[str, tuple[str, ...]]
"""Names of tests, by the item or the misprint that they cover."""

NO_TESTS: Tests = MappingProxyType({})


class Item(NamedTuple):
    """An item as the notes name it, its content in a few words, and its functions."""

    name: str
    title: str
    functions: tuple[str, ...] = ()


ITEMS = tuple(
    Item(name, title)
    for name, title in (
        ("Footnote 1", "a toy model that is no network"),
        ("(1.1)", "least-squares loss of one example"),
        ("(1.2)", "mean-square cost of a data set"),
        ("(1.3)", "gradient descent"),
        ("Footnote 2", "assignment against equality"),
        ("Algorithm 1", "stochastic gradient descent"),
        ("(1.4)", "its update"),
        ("Algorithm 2", "mini-batch stochastic gradient descent"),
        ("(1.5)", "its update"),
        ("Figure 1", "housing prices with a kink"),
        ("(2.1)", "one neuron, one input"),
        ("(2.2)", "one neuron, d inputs"),
        ("Figure 2", "a small network for housing prices"),
        ("(2.3)", "its output"),
        ("(2.4)", "the same, fully connected"),
        ("(2.5)", "pre-activations, unit by unit"),
        ("Figure 3", "a two-layer fully-connected network"),
        ("(2.6)", "two layers, unit by unit"),
        ("(2.7)", "weights stacked as rows"),
        ("(2.8)", "pre-activations as a matrix product"),
        ("(2.9)", "the same, in short"),
        ("(2.10)", "ReLU, entrywise"),
        ("(2.11)", "two layers, vectorised"),
        ("(2.12)", "the network of r layers"),
        ("(2.13)", "its recursion"),
        ("(2.14)", "sigmoid"),
        ("(2.15)", "tanh"),
        ("(2.16)", "identity activation: output"),
        ("(2.17)", "by definition"),
        ("(2.18)", "since sigma(z) = z"),
        ("(2.19)", "a product of matrices"),
        ("(2.20)", "collapsed into one"),
        ("(2.21)", "a linear model over learned features"),
        ("Theorem 3.1", "a gradient costs O(N)"),
        ("Footnote 4", "inputs that are not used cost nothing"),
        ("(3.1)", "intermediate variables"),
        ("(3.2)", "the output variable"),
        ("(3.3)", "the chain rule"),
        ("(3.4)", "one neuron: pre-activation"),
        ("(3.5)", "one neuron: output"),
        ("(3.6)", "one neuron: loss"),
        ("(3.7)", "one neuron: gradient"),
        ("(3.8)", "two layers: the loss, step by step"),
        ("Algorithm 3", "backpropagation for two layers, unit by unit"),
        ("(3.9)", "its shared quantity dJ/dz_j"),
        ("(3.10)", "delta of two layers"),
        ("Footnote 5", "partials of a scalar only"),
        ("Footnote 6", "a gradient has the shape of its variable"),
        ("Algorithm 4", "backpropagation for two layers, vectorised"),
        ("(3.11)", "an affine map inside J"),
        ("(3.12)", "its gradient for the input"),
        ("(3.13)", "its gradient for the matrix"),
        ("(3.14)", "its gradient for the bias"),
        ("(3.15)", "the gradient through an activation"),
        ("(3.16)", "delta of layer k"),
        ("Algorithm 5", "backpropagation for r layers"),
        ("(4.1)", "examples as columns"),
        ("(4.2)", "pre-activations of all examples"),
        ("(4.3)", "the bias, broadcast"),
        ("(4.4)", "examples as rows"),
    )
)

_EQUATION = r"(?<!\w)\((\d)\.([1-9]\d*)\)"
_MENTION = re.compile(rf"{_EQUATION}(?:\s*(?:to|-)\s*{_EQUATION})?")
_NAMED = re.compile(r"(?:Algorithm|Figure|Footnote) \d+|Theorem \d+\.\d+")


def mentions(text: str) -> set[str]:
    """The items that a text cites; "(3.1) to (3.3)" and "(3.1)-(3.3)" cite all between as well.

    >>> sorted(mentions("Line 4 of Algorithm 5, by (3.12) and (2.19) to (2.21)"))
    ['(2.19)', '(2.20)', '(2.21)', '(3.12)', 'Algorithm 5']
    """
    found = set(_NAMED.findall(" ".join(text.split())))
    for section, first, last_section, last in _MENTION.findall(text):
        end = int(last) if last_section == section else int(first)
        found |= {f"({section}.{number})" for number in range(int(first), end + 1)}
    return found


def documented(source: str) -> Iterator[tuple[str, str]]:
    """The public names that a module defines, each with its docstring.

    >>> list(documented('def f():\\n    "Of (1.1)."\\nX = 1\\n"Of (1.2)."'))
    [('f', 'Of (1.1).'), ('X', 'Of (1.2).')]
    """
    body = ast.parse(source).body
    for node, after in zip(body, [*body[1:], ast.Pass()], strict=True):
        match node, after:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name), _:
                text = ast.get_docstring(node) or ""
            case (
                ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                pass
            case _:
                continue
        if not name.startswith("_"):
            yield name, text


def grouped(pairs: Iterable[tuple[str, str]]) -> Mapping[str, tuple[str, ...]]:
    """The values of each key, each once, in the order of the pairs.

    >>> dict(grouped([("a", "x"), ("b", "y"), ("a", "z"), ("a", "x")]))
    {'a': ('x', 'z'), 'b': ('y',)}
    """
    groups: dict[str, dict[str, None]] = {}
    for key, value in pairs:
        groups.setdefault(key, {})[value] = None
    return {key: tuple(values) for key, values in groups.items()}


def index() -> tuple[Item, ...]:
    """Every item of the notes with the public functions whose docstrings cite it.

    >>> next(item.functions for item in index() if item.name == "Algorithm 5")[0]
    'fcnet.backpropagation.deltas'
    """
    functions = grouped(
        (item, f"{'.'.join(path.relative_to(PACKAGE.parent).with_suffix('').parts)}.{name}")
        for room in ROOMS
        for path in sorted((PACKAGE / room).glob("*.py"))
        if path != Path(__file__)
        for name, text in documented(path.read_text(encoding="utf-8"))
        for item in mentions(text)
    )
    return tuple(item._replace(functions=functions.get(item.name, ())) for item in ITEMS)


def table(tests: Tests = NO_TESTS) -> str:
    """The index as text for a terminal: each item with its functions and tests; then misprints.

    >>> print(table().splitlines()[0])
    Footnote 1   a toy model that is no network
    """
    lines = []
    for item in index():
        lines.append(f"{item.name:<12} {item.title}")
        lines += [f"{'':12}   {name}" for name in (*item.functions, *tests.get(item.name, ()))]
    lines += ["", "Misprints: what is printed, and what to read instead"]
    for misprint in MISPRINTS:
        lines += [f"{misprint.where}", f"   printed: {misprint.printed}"]
        lines += [f"   read:    {misprint.reading}"]
        lines += [f"   {name}" for name in tests.get(misprint.where, ())]
    return "\n".join(lines)


def markdown() -> str:
    """The index as two Markdown tables, of items and of misprints.

    >>> print(markdown().splitlines()[0])
    | notes | what | functions |
    """
    lines = ["| notes | what | functions |", "|---|---|---|"]
    for item in index():
        functions = ", ".join(f"`{name.removeprefix('fcnet.')}`" for name in item.functions)
        lines.append(f"| {item.name} | {item.title} | {functions} |")
    lines += ["", "| misprint | printed | read |", "|---|---|---|"]
    lines += [f"| {row.where} | {row.printed} | {row.reading} |" for row in MISPRINTS]
    return "\n".join(lines)

"""Source mutants: wrong versions of the package's own source, made by one edit of the syntax tree.

A mutant gives the right piece and the wrong one as Python, each an expression or a statement. The
piece is found by its meaning, so line breaks, quotes, parentheses and comments do not matter.
"""

import ast
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import fcnet

PACKAGE = Path(fcnet.__file__).parent


class Mutant(NamedTuple):
    """A mistake: the right piece of a file, the wrong one, and the test that must notice it."""

    mistake: str
    file: str
    right: str
    wrong: str
    test: Callable[..., None]
    parameters: tuple[tuple[str, Any], ...]


def mutants(file: str, *rows: tuple[Any, ...]) -> list[Mutant]:
    """The mutants of one file; a row may end with the parameters of its test, by name."""
    return [
        Mutant(mistake, file, right, wrong, test, tuple(*(p.items() for p in parameters)))
        for mistake, right, wrong, test, *parameters in rows
    ]


@cache
def tree_of(file: str) -> ast.Module:
    """The syntax tree of a file of the package."""
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))


def mutated(tree: ast.Module, mutant: Mutant) -> str:
    """The source of the tree with the wrong piece in place of the right one.

    Raises ValueError, with the file and the mistake, unless the right piece is there just once and
    the wrong one is of the same sort, both expressions or both statements.
    """
    right, wrong = parsed(mutant.right), parsed(mutant.wrong)
    name = f"{mutant.file}, {mutant.mistake}"
    if isinstance(right, ast.expr) != isinstance(wrong, ast.expr):
        raise ValueError(f"{name}: one piece is an expression and the other a statement")
    edit = Replacement(right, wrong)
    tree = edit.visit(deepcopy(tree))
    if edit.count != 1:
        raise ValueError(f"{name}: expected `{mutant.right}` once, found it {edit.count} times")
    return ast.unparse(tree)


def parsed(piece: str) -> ast.expr | ast.stmt:
    """The node of one expression or one statement."""
    (statement,) = ast.parse(piece).body
    return statement.value if isinstance(statement, ast.Expr) else statement


class Replacement(ast.NodeTransformer):
    """Replaces every node that equals `right`, and counts them."""

    def __init__(self, right: ast.AST, wrong: ast.AST) -> None:
        self.right, self.wrong, self.count = ast.dump(right), wrong, 0
        self.sort = type(right)

    def visit(self, node: ast.AST) -> ast.AST:
        if type(node) is self.sort and ast.dump(node) == self.right:
            self.count += 1
            return self.wrong
        return self.generic_visit(node)

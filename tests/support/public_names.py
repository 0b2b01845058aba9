"""What the tests of the package as a whole share: its stub, and programs that import it."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import fcnet

PACKAGE = Path(fcnet.__file__).parent


def offered(file: str) -> dict[str, str]:
    """The names that a file imports as themselves, with the modules that they come from."""
    return {
        alias.asname: node.module or ""
        for node in ast.parse((PACKAGE / file).read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }


def run_program(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a program does, on this checkout."""
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), **environment},
        capture_output=True,
        text=True,
        check=False,
    )

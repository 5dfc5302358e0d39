"""Run a program of the README as it stands, but for the address, and compare what it shows."""

import ast
import contextlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.conftest import ROOT
from tests.readme.blocks import Block

COUNTS = ("iterations", "evaluations")
"""What a search needs may differ by one between processors, since their sums are rounded in another order."""

NUMBER = re.compile(r"-?\d+(?:\.\d*)?(?:e[+-]?\d+)?")
INTERPRETERS = {"javascript": ["node", "--input-type=module", "-e"], "r": ["Rscript", "-e"], "elixir": ["elixir", "-e"]}
PRINTS = {"javascript": ("console.log(", "//"), "r": ("print(", "#>"), "elixir": ("IO.inspect(", "#")}
SECONDS = 300


def near(a: Any, b: Any) -> bool:
    """Whether two JSON documents are equal but for rounding."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(key in COUNTS or near(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(near, a, b))
    return a == pytest.approx(b, rel=1e-12, abs=1e-15) if isinstance(a, float) else bool(a == b)


def same_text(shown: str, printed: str) -> bool:
    """Whether two texts are equal but for white space and the rounding of numbers."""
    words = [re.sub(r"\s+", "", NUMBER.sub("#", text)) for text in (shown, printed)]
    numbers = [list(map(float, NUMBER.findall(text))) for text in (shown, printed)]
    return words[0] == words[1] and numbers[0] == pytest.approx(numbers[1], rel=1e-12, abs=1e-15)


def prepare(folder: Path) -> None:
    """Make in a folder what commands of the README take for granted: the virtual environment and a file of points."""
    (folder / ".venv").symlink_to(sys.prefix)
    points = {name: np.linspace(0.1, 2.0, 100) for name in ("a", "b", "t")}
    parquet.write_table(pa.table(points), folder / "points.parquet")


def run_shell(block: Block, url: str, folder: Path) -> None:
    """Run a command with bash. Its output is the block below it, if there is one."""
    code = block.code.replace("localhost:8000", url.removeprefix("http://"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    if block.answer_language == "json":
        assert near(json.loads(block.answer), json.loads(done.stdout)), done.stdout
    elif block.answer:
        assert done.stdout == block.answer
    elif done.stdout.startswith("{"):
        assert "/problems/" not in done.stdout, done.stdout


def run_program(block: Block, url: str, folder: Path) -> None:
    """Run a program in another language. What it prints is in comments: behind the command that prints, or below it."""
    code = block.code.replace("http://localhost:8000", url)
    program = INTERPRETERS[block.language]
    done = subprocess.run([*program, code], cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    prints, comment = PRINTS[block.language]
    shown = [line.partition(comment)[2] for line in block.code.splitlines() if line.startswith((prints, comment))]
    assert same_text(" ".join(shown), done.stdout), done.stdout


def comments(code: str) -> dict[int, str]:
    """Return the comments of Python code by the numbers of the lines that they stand in."""
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return {token.start[0]: token.string[1:].strip() for token in tokens if token.type == tokenize.COMMENT}


def run_python(block: Block, url: str, names: dict[str, Any]) -> int:
    """Run statements of Python, with the names of the blocks above in the same section.

    A comment behind an expression, or in the line below, is its value or what it prints. Return how many were compared.
    """
    code = block.code.replace("http://localhost:8000", url)
    said = comments(code)
    compared = 0
    for statement in ast.parse(code).body:
        assert statement.end_lineno is not None
        shown = said.get(statement.end_lineno, said.get(statement.end_lineno + 1))
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            if isinstance(statement, ast.Expr):
                value = eval(compile(ast.Expression(statement.value), block.name, "eval"), names)
            else:
                exec(compile(ast.Module([statement], []), block.name, "exec"), names)
                continue
        if shown is not None:
            printed = output.getvalue() or str(value)
            assert same_text(shown, printed), printed
            compared += 1
    return compared


def missing(needs: str) -> bool:
    """Whether a block cannot run here: a program, a module or a variable is missing, or Docker's daemon does not run."""
    kind, _, name = needs.rpartition(" ")
    if kind == "module":
        return importlib.util.find_spec(name) is None
    if kind == "variable":
        return name not in os.environ
    return shutil.which(name) is None or (
        name == "docker" and subprocess.run(["docker", "info"], capture_output=True).returncode != 0
    )

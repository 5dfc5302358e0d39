"""Compile and run generated source code: many functions in one program per language."""

import math
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from app.engine.graph import Graph
from app.formats.code import Code, generate
from app.formats.languages import LANGUAGES

PROGRAMS = {"c": "gcc", "javascript": "node", "python": sys.executable, "r": "Rscript", "elixir": "elixir"}
"""What compiles or runs each language."""

SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize=float-divide-by-zero"]
STRICT = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror"]


class Task(NamedTuple):
    """A function and the numbers of its inputs, by the ids of the leaves."""

    graph: Graph
    inputs: Mapping[str, float]
    wrt: Sequence[str]
    derivatives: str = "hessian"


def needs(language: str) -> None:
    """Skip a test where a language is not installed."""
    if shutil.which(PROGRAMS[language]) is None:
        pytest.skip(f"{PROGRAMS[language]} is not installed")


def run(language: str, tasks: Sequence[Task], folder: Path, flags: Sequence[str] = ()) -> list[list[float]]:
    """Return the value, the gradient and the Hessian's entries of each task, as the language's program computes them."""
    written: dict[tuple[int, str], Code] = {}  # one function for all points of a graph
    codes = []
    for task in tasks:
        key = (id(task.graph), task.derivatives)
        if key not in written:
            name = f"f{len(written)}"
            language_row = LANGUAGES[language]
            written[key] = generate(task.graph, language_row, wrt=task.wrt, derivatives=task.derivatives, name=name)
        codes.append(written[key])
    arguments = []
    for code, task in zip(codes, tasks, strict=True):
        ids = {code.renamed.get(name, name): number for name, number in task.inputs.items()}
        arguments.append([float(ids[name]) for name in code.inputs])
    output = RUNNERS[language](codes, tasks, arguments, folder, flags)
    rows = [line for line in output.splitlines() if line.strip()]
    assert len(rows) == len(tasks), output[-2000:]
    return [[float(word) for word in row.split()] for row in rows]


def _c(
    codes: Sequence[Code], tasks: Sequence[Task], arguments: Sequence[list[float]], folder: Path, flags: Sequence[str]
) -> str:
    lines = ["#include <stdio.h>", *dict.fromkeys(code.source for code in codes), "int main(void)\n{"]
    for k, (task, given) in enumerate(zip(tasks, arguments, strict=True)):
        n = len(task.wrt)
        counts = {"none": [], "gradient": [n], "hessian": [n, n * n]}[task.derivatives]
        names = ["g", "h"][: len(counts)]
        lines.append("    {")
        lines += [f"        double {name}[{max(count, 1)}];" for name, count in zip(names, counts, strict=True)]
        call = ", ".join([*map(literal, given), *names])
        lines.append(f'        printf("%.17g", {name_of(codes[k])}({call}));')
        for name, count in zip(names, counts, strict=True):
            lines.append(f'        for (int k = 0; k < {count}; k++) printf(" %.17g", {name}[k]);')
        lines.append('        printf("\\n");\n    }')
    (folder / "main.c").write_text("\n".join([*lines, "    return 0;\n}", ""]))
    program = folder / "main"
    _call(["gcc", *STRICT, *flags, "-o", str(program), str(folder / "main.c"), "-lm"])
    return _call([str(program)])


def _script(file: Path, command: Sequence[str], codes: Sequence[Code], lines: Sequence[str], calls: Sequence[str]) -> str:
    """The output of a script: all functions, once each, further lines, and a line that shows the result of each call."""
    sources = dict.fromkeys(code.source for code in codes)
    file.write_text("\n".join([*sources, *lines, *calls]))
    return _call([*command, str(file)])


def _calls(codes: Sequence[Code], arguments: Sequence[list[float]]) -> list[str]:
    """The call of each function."""
    return [f"{name_of(code)}({', '.join(map(literal, given))})" for code, given in zip(codes, arguments, strict=True)]


JAVASCRIPT_SHOW = """\
const flat = (r) => (typeof r === 'number' ? [r] : [r.value, ...r.gradient, ...(r.hessian ?? []).flat()]);
const show = (r) => console.log(flat(r).join(' '));"""

PYTHON_SHOW = """\
def show(r):
    flat = [r] if not isinstance(r, tuple) else [r[0], *r[1], *(x for row in r[2:] for y in row for x in y)]
    print(*(repr(float(x)) for x in flat))"""

R_SHOW = """\
options(warn = -1)
flat <- function(r) if (is.list(r)) c(r$value, r$gradient, if (!is.null(r$hessian)) t(r$hessian)) else r
show <- function(r) cat(sprintf("%.17g", flat(r)), "\\n")"""


def _javascript(
    codes: Sequence[Code], tasks: Sequence[Task], arguments: Sequence[list[float]], folder: Path, flags: Sequence[str]
) -> str:
    calls = [f"show({call});" for call in _calls(codes, arguments)]
    return _script(folder / "main.mjs", ["node"], codes, [JAVASCRIPT_SHOW], calls)


def _python(
    codes: Sequence[Code], tasks: Sequence[Task], arguments: Sequence[list[float]], folder: Path, flags: Sequence[str]
) -> str:
    calls = [f"show({call})" for call in _calls(codes, arguments)]
    return _script(folder / "main.py", [sys.executable, "-W", "error"], codes, [PYTHON_SHOW], calls)


def _r(
    codes: Sequence[Code], tasks: Sequence[Task], arguments: Sequence[list[float]], folder: Path, flags: Sequence[str]
) -> str:
    calls = [f"show({call})" for call in _calls(codes, arguments)]
    return _script(folder / "main.R", ["Rscript", "--vanilla"], codes, [R_SHOW], calls)


def _elixir(
    codes: Sequence[Code], tasks: Sequence[Task], arguments: Sequence[list[float]], folder: Path, flags: Sequence[str]
) -> str:
    lines = list(dict.fromkeys(code.source for code in codes))
    lines.append("show = fn\n  {v, g, h} -> [v, g, h]\n  {v, g} -> [v, g]\n  v -> [v]\nend")
    lines.append('print = fn r -> IO.puts(Enum.join(Enum.map(List.flatten(show.(r)), &to_string/1), " ")) end')
    for k, given in enumerate(arguments):
        call = f"{name_of(codes[k]).upper()}.{name_of(codes[k])}({', '.join(map(elixir_literal, given))})"
        lines.append(f'try do\n  print.({call})\nrescue\n  ArithmeticError -> IO.puts("nan")\nend')
    (folder / "main.exs").write_text("\n".join(lines))
    return _call(["elixir", str(folder / "main.exs")])


RUNNERS = {"c": _c, "javascript": _javascript, "python": _python, "r": _r, "elixir": _elixir}


def name_of(code: Code) -> str:
    """The name of the function, from the line that calls it."""
    match = re.search(r"\bf\d+", code.usage)
    assert match is not None
    return match[0]


def literal(number: float) -> str:
    """A number as all languages but Elixir read it."""
    return f"({number!r})" if math.isfinite(number) else "nan"


def elixir_literal(number: float) -> str:
    """A number as Elixir reads it."""
    mantissa, e, exponent = repr(float(number)).partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}{e}{exponent}"


def _call(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and not done.stderr.strip(), f"{command[0]}: {done.stderr[:3000]}"
    return done.stdout

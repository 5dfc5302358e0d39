"""Source code: what it looks like, what compilers say, and how a language is added."""

import json
import keyword
import re
import subprocess
from pathlib import Path

import pytest

from app.engine import transforms
from app.engine.errors import InvalidNode, UnknownNode
from app.engine.graph import Graph, Node
from app.engine.text import parse
from app.formats.code import MANY_INPUTS, Entry, Language, generate, nodes_of
from app.formats.languages import LANGUAGES, PYTHON, C
from app.formats.special_functions import FUNCTIONS, function
from tests.benchmarks.expressions import mixed
from tests.conftest import ROOT
from tests.formats.programs import PROGRAMS, SANITIZE, STRICT, Task, needs, run

LUA = Language(
    "lua",
    "Lua 5.4",
    dict.fromkeys(
        ("none", "gradient", "hessian"),
        "{helpers}local function {name}({parameters})\n{definitions}  return {value}, {{{gradient}}}, {{{hessian}}}\nend\n",
    ),
    dict.fromkeys(("none", "gradient", "hessian"), "local value, gradient, hessian = {name}({arguments})"),
    "  local {name} = {value}",
    "local function {name}({parameters})\n{definitions}  return {value}\nend\n\n",
    functions={name: f"math.{name}({{0}})" for name in ("sin", "cos", "tan", "exp", "log", "sqrt", "abs", "floor")}
    | {"pow": "({0})^({1})", "where": "pick({0}, {1}, {2})", "tanh": "tanh({0})", "cosh": "cosh({0})"},
    reserved=frozenset({"end", "local", "function"}),
    hessian=Entry(row="{{{entries}}}"),
)


def test_a_new_language_is_one_row() -> None:
    code = generate(parse("h = sin(end*x); h*erf(h)"), LUA, derivatives="hessian")
    assert code.source.count("local function") > 3 and code.source.rstrip().endswith("end")
    assert "local function f(end_2, x)" in code.source and code.renamed == {"end": "end_2"}
    assert code.usage == "local value, gradient, hessian = f(end_2, x)"
    assert re.search(r"math\.sin\(end_2\*x\)", code.source)


@pytest.mark.parametrize("language", [name for name in PROGRAMS])
def test_many_inputs_are_passed_as_one_array(language: str) -> None:
    count = MANY_INPUTS + 1
    graph = parse(" + ".join(f"x{k}*x{(k + 1) % count}" for k in range(count)))
    code = generate(graph, LANGUAGES[language])
    assert len(code.inputs) == count and "inputs" in code.usage and "x64" not in code.usage
    assert "inputs" in code.source


@pytest.mark.parametrize("language", LANGUAGES)
def test_code_of_many_nodes_is_short(language: str) -> None:
    code = generate(mixed(2_000).graph(), LANGUAGES[language])
    assert len(code.source) < 200_000 and max(map(len, code.source.splitlines())) < (10_000 if language == "c" else 200_000)


def test_names_that_are_not_used_cause_no_warning(tmp_path: Path) -> None:
    needs("c")
    found = run("c", [Task(parse("x = 2; y*0 + 1"), {"x": 1.0, "y": 3.0}, ["x", "y"])], tmp_path, SANITIZE)
    assert found == [[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize("derivatives", ["none", "gradient", "hessian"])
@pytest.mark.parametrize("language", PROGRAMS)
def test_expression_without_inputs(language: str, derivatives: str, tmp_path: Path) -> None:
    needs(language)
    found = run(language, [Task(parse("x = 3; x*x"), {}, [], derivatives)], tmp_path, SANITIZE)
    assert found == [[9.0]]


def test_names_that_c_reserves_for_itself_are_changed(tmp_path: Path) -> None:
    needs("c")
    names = ["__func__", "_Exit", "errno", "_x", "x__y"]
    graph = Graph([*(Node(name, "value") for name in names), Node("f", "sum", tuple(names))], ("f",))
    assert generate(graph, C).renamed == {"__func__": "x___func__", "_Exit": "x__Exit", "errno": "errno_2"}
    assert run("c", [Task(graph, dict.fromkeys(names, 2.0), names, "gradient")], tmp_path) == [[10.0] + [1.0] * 5]


def test_reserved_words_of_c_and_python_are_complete() -> None:
    assert set(keyword.kwlist) <= PYTHON.reserved and {"restrict", "inline", "_Bool", "_Atomic"} <= C.reserved


def test_elixir_does_not_evaluate_what_is_used_in_one_branch_alone(tmp_path: Path) -> None:
    needs("elixir")
    found = run("elixir", [Task(parse("where(x > 0, log(x), 0)"), {"x": -1.0}, ["x"], "gradient")], tmp_path)
    assert found == [[0.0, 0.0]]


def test_shared_parts_are_computed_once() -> None:
    text = "x0 = x\n" + "\n".join(f"x{k + 1} = sin(x{k}*x{k}) + 1" for k in range(40))
    for language in LANGUAGES.values():
        assert len(generate(parse(text), language).source) < 20_000, language.name


def test_errors() -> None:
    with pytest.raises(UnknownNode) as unknown:
        generate(parse("x"), C, wrt=["z"], derivatives="none")
    assert unknown.value.place == ("wrt", 0)
    with pytest.raises(InvalidNode, match="order 2.5"):
        generate(parse("polygamma(2.5, x)"), C)


def test_every_text_of_a_function_can_be_read() -> None:
    for name in [*FUNCTIONS, "polygamma_1", "polygamma_2", "polygamma_7", "polygamma"]:
        parameters, text = function(name)
        assert nodes_of(text, parameters)[-1].id == "\0result"
    with pytest.raises(KeyError):
        function("cot")


def test_polygamma_of_an_order_that_is_an_input(tmp_path: Path) -> None:
    needs("c")
    graph = Graph([Node("n", "value"), Node("x", "value"), Node("f", "polygamma", ("n", "x"))], ("f",))
    points = [{"n": float(n), "x": x} for n in (0, 1, 2, 5, 12) for x in (0.3, 1.7, 9.0)]
    found = run("c", [Task(graph, at, ["x"], "none") for at in points], tmp_path)
    for at, numbers in zip(points, found, strict=True):
        assert numbers[0] == pytest.approx(transforms.evaluate(graph, at)["f"], rel=1e-13), at


def test_code_of_the_readme_runs(tmp_path: Path) -> None:
    """The C of the README compiles without a warning, and both functions give the service's numbers."""
    readme = (ROOT / "README.md").read_text("utf-8")
    c, javascript = (re.search(rf"```{start}.*?)```", readme, re.DOTALL) for start in ("c\n(", "javascript\n(export "))
    assert c and javascript
    needs("c")
    main = (
        'int main(void) { double g[2]; printf("%.17g", loss(0.5, 2, -1, 1, g)); printf(" %.17g %.17g", g[0], g[1]); return 0; }'
    )
    (tmp_path / "loss.c").write_text(f"{c[1]}#include <stdio.h>\n{main}\n")
    subprocess.run(["gcc", *STRICT, "-o", str(tmp_path / "loss"), str(tmp_path / "loss.c"), "-lm"], check=True)
    numbers = subprocess.run([str(tmp_path / "loss")], check=True, capture_output=True, text=True).stdout.split()
    assert list(map(float, numbers)) == pytest.approx([1.0, -4.0, -2.0])
    needs("javascript")
    (tmp_path / "decay.mjs").write_text(javascript[1] + "console.log(JSON.stringify(decay(2, 0.5, 3)));\n")
    shown = subprocess.run(["node", str(tmp_path / "decay.mjs")], check=True, capture_output=True, text=True).stdout
    want = transforms.backward(parse("amplitude*exp(-rate*t)"), {"amplitude": 2.0, "rate": 0.5, "t": 3.0})
    found = json.loads(shown)
    assert found["value"] == pytest.approx(want.value)
    assert found["gradient"] == pytest.approx([want.gradients[name] for name in ("amplitude", "rate", "t")])

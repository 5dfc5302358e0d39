"""Formulas: short as a person writes them, the same numbers when they are read again, and no longer for shared parts."""

import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import mpmath
import pytest

from app.engine import transforms
from app.engine.derivative import gradient
from app.engine.graph import Graph, Node
from app.engine.primitives import WIRE, Primitive
from app.engine.simplification import simplified
from app.engine.text import parse
from app.formats.formulas import FORMS, Formula, formulas, latex_name, text_names
from tests.formats.answers import CASES
from tests.rows import for_each

POINT = {"x": 0.7, "y": 1.3, "a": 1.7, "b": -0.4, "t": 0.9, "m": 0.2, "s": 1.1, "w": 0.6, "r": 1.2, "K": 3.0}
ELSEWHERE = {"acosh(x)": {"x": 1.7}, "sqrt(x**2 - 1)": {"x": 1.7}, "asin(2*x)": {"x": 0.3}}
ELSEWHERE |= {"m*c**2/sqrt(1 - v**2/c**2)": {"v": 0.5}, "(a*x + b)/(c*x + d)": {"c": 0.9}, "y/(x > 0)": {"x": -1.0}}
"""Where expressions are defined that are not at `POINT`, or infinite that are finite there."""


def derivative_of(graph: Graph, *wrt: str) -> Graph:
    """The derivatives as they are answered."""
    return simplified(gradient(graph, wrt or None), len(graph.nodes))


def formula_of(graph: Graph, output: str) -> Formula:
    return formulas(graph, output, FORMS, text_names(graph))


def text_of(graph: Graph, *wrt: str) -> str:
    """The text of the first derivative."""
    found = derivative_of(graph, *wrt)
    text = formula_of(found, found.outputs[1]).text
    assert text is not None
    return text


def value_of(text: str, at: dict[str, Any]) -> Any:
    graph = parse(text)
    return transforms.evaluate(graph, {name: x for name, x in at.items() if name in graph.leaves})[graph.output]


def length(text: str) -> int:
    return len(re.sub(r"\s", "", text))


@pytest.mark.parametrize(
    ("text", "answer"),
    [("x**2/4", "x/2"), ("x**2/18", "x/9"), ("x**2/20", "0.1*x"), ("x**2/22", "x/11"), ("x**2/200", "0.01*x")],
)
def test_small_denominators_stay_and_decimal_fractions_are_written_so(text: str, answer: str) -> None:
    assert text_of(parse(text), "x") == answer


@for_each(("text", "wrt", "answer"), CASES)
def test_text_is_as_short_as_that_of_a_person(text: str, wrt: str, answer: str) -> None:
    found = text_of(parse(text), wrt)
    assert length(found) <= 1.2 * length(answer), found
    leaves = {*parse(text).leaves, *parse(answer).leaves}
    at = {name: POINT.get(name, 0.8) for name in leaves}
    at |= ELSEWHERE.get(text, {})
    assert value_of(found, at) == pytest.approx(value_of(answer, at), rel=1e-13)


EXACTLY = [
    ("x**2", "2*x"),
    ("x*x**2", "3*x**2"),
    ("3*x + 1", "3"),
    ("0*x", "0"),
    ("x**1", "1"),
    ("x - -x", "2"),
    ("where(x > 0, log(x), 0)", "1/x if x > 0 else 0"),
    ("where(x > 0, x*y, y*x)*x", "2*x*y"),
    ("relu(x)", "x > 0"),
    ("max(x, 0)", "(sign(x) + 1)/2"),
    ("x**y", "0 if (x == 0)*(y == 0) else y*x**(y - 1)"),
    ("x**x", "(log(x) + 1)*x**x if x else 0"),
    ("(x**2)**0.5", "x/(x**2)**0.5"),
    ("x**(1/3)", "1/(3*x**(2/3))"),
    ("pi*x**2", "2*pi*x"),
    ("0.1*x**3", "0.3*x**2"),
    ("sin(2)*x", "sin(2)"),
    ("max(x, x)", "1"),
    ("logsumexp(x, x)", "1"),
    ("logsumexp(x, y)", "sigmoid(x - y)"),
    ("hypot(x, y)", "x/hypot(x, y) if hypot(x, y) else 0"),
    ("log(sin(x)**2 + cos(x)**2)", "0"),
    ("x*y*z - z*y*x", "0"),
    ("(x - y)*(y - x)", "2*y - 2*x"),
    ("log((0.22640680311233974*x)**4)", "4/x"),
]


@for_each(("text", "want"), EXACTLY)
def test_text(text: str, want: str) -> None:
    assert text_of(parse(text), "x") == want


@for_each("row", WIRE.values())
def test_kinks_keep_their_conventions(row: Primitive) -> None:
    for point, partials in row.kinks:
        names = [f"x{k}" for k in range(len(point))]
        graph = Graph([*(Node(name, "value") for name in names), Node("f", row.name, tuple(names))], ("f",))
        found = derivative_of(graph)
        texts = [formula_of(found, output).text or "" for output in found.outputs[1:]]
        assert [value_of(text, dict(zip(names, point, strict=True))) for text in texts] == list(partials), texts


@pytest.mark.parametrize(
    ("text", "at", "want"),
    [
        ("where(x > 0, log(x), 0)", {"x": 0.0}, 0.0),
        ("relu(log(x))", {"x": 0.0}, 0.0),
        ("max(1, sqrt(x))", {"x": 0.0}, 0.0),
        ("where(x > 1, sqrt(x - 1), x)", {"x": 1.0}, 1.0),
        ("x**x", {"x": 0.0}, 0.0),
    ],
)
def test_branch_that_is_not_taken_does_no_harm(text: str, at: dict[str, float], want: float) -> None:
    assert value_of(text_of(parse(text), "x"), at) == want


CHAINS = {
    "squares of names": "x0 = x\n" + "\n".join(f"x{k + 1} = x{k}*x{k}" for k in range(40)),
    "squares without names": "square(" * 40 + "x + 1" + ")" * 40,
    "squares and sines": "x0 = x\n" + "\n".join(f"x{k + 1} = sin(x{k}*x{k}) + 1" for k in range(39)),
}


@pytest.mark.parametrize("text", CHAINS.values(), ids=CHAINS)
def test_forty_squarings_stay_short_in_every_form(text: str) -> None:
    graph = parse(text)
    found = derivative_of(graph)
    formula = formula_of(found, "d_x")
    for form in FORMS:
        assert len(getattr(formula, form)) < 20_000, form
    at = {"x": 0.01}
    want = transforms.backward(graph, at, ["x"]).gradients["x"]
    assert value_of(formula.text or "", at) == pytest.approx(want, rel=1e-9)


def test_shared_parts_are_definitions_with_the_names_of_the_author() -> None:
    text = text_of(parse("h = tanh(w*x + b); h*exp(h) + log(h)"), "w")
    assert text.startswith("h = tanh(w*x + b); ") and text.count("tanh(") == 1
    assert text_of(parse("sqrt(1 + sin(x)**2 + cos(3*x))*exp(sqrt(1 + sin(x)**2 + cos(3*x)))"), "x").startswith("t1 = sqrt(")


def test_names_that_are_none_are_replaced() -> None:
    nodes = [Node("a b", "value"), Node("if", "value"), Node("e", "value"), Node("p", "prod", ("a b", "if", "e", "a b"))]
    graph = Graph(nodes, ("p",))
    names = text_names(graph)
    assert names == {"a b": "a_b", "if": "x_if", "e": "x_e"}
    assert text_of(graph, "if") == "a_b**2*x_e"


def test_latex() -> None:
    found = derivative_of(parse("x**2*sin(y)"))
    assert formula_of(found, "d_x").latex == r"2 x \sin\left(y\right)"
    assert formula_of(found, "d_y").latex == r"x^{2} \cos\left(y\right)"
    found = derivative_of(parse("where(alpha > 0, x_1/alpha, 0)"), "x_1")
    assert formula_of(found, found.outputs[1]).latex == (
        r"\begin{cases} \frac{1}{\alpha} & \text{if } \alpha > 0 \\ 0 & \text{otherwise} \end{cases}"
    )
    assert (
        latex_name("x_1") == "x_{1}" and latex_name("rate") == r"\mathrm{rate}" and latex_name("a_b_c") == r"\mathrm{a\_b\_c}"
    )


@for_each(("text", "wrt", "answer"), CASES)
def test_latex_and_mathml_are_well_formed(text: str, wrt: str, answer: str) -> None:
    found = derivative_of(parse(text), wrt)
    formula = formula_of(found, found.outputs[1])
    assert formula.latex is not None and formula.mathml is not None
    assert formula.latex.count("{") == formula.latex.count("}")
    assert formula.latex.count(r"\left") == formula.latex.count(r"\right")
    root = ElementTree.fromstring(formula.mathml.replace("<math>", '<math xmlns="http://www.w3.org/1998/Math/MathML">'))
    allowed = {"math", "mrow", "mi", "mn", "mo", "msup", "msub", "mfrac", "msqrt", "mtable", "mtr", "mtd", "mtext"}
    assert {element.tag.partition("}")[2] for element in root.iter()} <= allowed


TAYLOR: list[tuple[str, Any, float]] = [
    ("exp(2*x)", lambda x: mpmath.exp(2 * x), 0.3),
    ("x*exp(x)", lambda x: x * mpmath.exp(x), 0.5),
    ("log(1 + x**2)", lambda x: mpmath.log(1 + x**2), 0.7),
    ("1/(1 + x)", lambda x: 1 / (1 + x), 0.4),
    ("sin(x)/x", lambda x: mpmath.sin(x) / x, 1.1),
    ("tanh(x)", mpmath.tanh, 0.6),
    ("atan(x)", mpmath.atan, 0.8),
    ("asin(x)", mpmath.asin, 0.3),
    ("sqrt(1 + x**2)", lambda x: mpmath.sqrt(1 + x**2), 0.9),
    ("x**x", lambda x: x**x, 1.2),
    ("sigmoid(x)", lambda x: 1 / (1 + mpmath.exp(-x)), 0.5),
    ("softplus(2*x)", lambda x: mpmath.log1p(mpmath.exp(2 * x)), 0.2),
    ("erf(x)", mpmath.erf, 0.4),
    ("exp(-x**2/2)", lambda x: mpmath.exp(-(x**2) / 2), 0.7),
    ("lgamma(x)", mpmath.loggamma, 1.6),
    ("cos(x)*exp(sin(x))", lambda x: mpmath.cos(x) * mpmath.exp(mpmath.sin(x)), 0.5),
    ("x/(1 + x**2)", lambda x: x / (1 + x**2), 0.6),
    ("tan(x)", mpmath.tan, 0.5),
    ("log(x)**2", lambda x: mpmath.log(x) ** 2, 1.7),
    ("acosh(x)", mpmath.acosh, 2.3),
]


@pytest.mark.parametrize(("text", "function", "x"), TAYLOR, ids=[text for text, _, _ in TAYLOR])
def test_five_derivatives_are_the_taylor_coefficients(text: str, function: Any, x: float) -> None:
    """Each text is read again and differentiated again."""
    with mpmath.workdps(40):
        coefficients = mpmath.taylor(function, mpmath.mpf(x), 5)
    size = max(abs(float(c)) for c in coefficients)
    for order in range(1, 6):
        text = text_of(parse(text), "x")
        want = float(coefficients[order] * mpmath.factorial(order))
        assert value_of(text, {"x": x}) == pytest.approx(want, rel=1e-10, abs=1e-12 * size), text


def test_numbers_out_of_range_leave_the_graph_as_it_is() -> None:
    graph = parse("1e200*(1e200*x)")
    found = gradient(graph)
    assert simplified(found, len(graph.nodes)) == found
    assert simplified(replace(found, outputs=("output",)), len(graph.nodes)).outputs == ("output",)

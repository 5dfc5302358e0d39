"""Simplification keeps every value: each of its rules with constants of every kind, before and after, by mpmath."""

import math
import random
from typing import Any

import mpmath
import pytest
from mpmath import mp, mpf

from app.engine.graph import Graph, Node
from app.engine.primitives import ALIASES
from app.engine.simplification import simplified
from app.engine.text import parse
from tests.engine.test_primitives import ORACLES
from tests.rows import for_each

CONSTANTS: dict[str, float] = {
    "0": 0.0,
    "1": 1.0,
    "-1": -1.0,
    "2": 2.0,
    "-2": -2.0,
    "-3": -3.0,
    "a half": 0.5,
    "minus a half": -0.5,
    "three halves": 1.5,
    "a third": 1 / 3,
    "minus a tenth": -0.1,
    "pi": math.pi,
    "-pi": -math.pi,
    "e": math.e,
    "-e": -math.e,
}

RULES = """
c
x + c
c - x
x - c
-(c*x)
c*x
x*c*x
c*x*y*c
x/c
c/x
x/(c*y)
1/(c*x)
c*(x + y)
c*x + c*y
c*x - c*y
c*x + x
x - c*x
c*x - c*x
c + x + c
c - (x - c)
(x + y) - c*(x + y)
2*x + c*(2*x + 4)
c*(x + y)*(x + y)
(x + c)*(x + c)
(x + c)/(2*x + 2*c)
(2*x + 4*y)**2*c
(c*x + c*y)**3
(c*x + c*y)**(-1)
(c*x)**2
(c*x)**3
(c*x)**(-2)
(c*x)**0.5
(c*c*x)**0.5
(c*pi)**0.5*x
(x*x)**0.5*c
(x*x)**1.5
(1/x)**0.5
(1/x)**c
(1/(c*x))**0.5
(x/y)**0.5
(x*y)**1.5
(x**2)**0.5
(x**3)**2
x**c
x**c*x
x**2*x**c
x**c/x
c**x
c**x*c
c**2*x
x**y*x
x**y*x**2
y*x**y/x
x**(y + c)*x
(x + y)**c
square(c*x)
sqrt(c*x)
sqrt(c)*x
sqrt(2*pi)*c
x/sqrt(c*pi)
sqrt(c*c)
reciprocal(c*x)
reciprocal(x)*x
log(c)*x
log(x)/log(c)
exp(c)*x
abs(c)*x
sign(c)*x
sin(c*x)/cos(c*x)
cos(c*x)/sin(c*x)
sin(x)/cos(x)**2*c
sin(x)**2/cos(x)
1/(sin(x)/cos(x))
sin(x)/cos(y)
cos(x)/sin(x)**2
sinh(c*x)/cosh(c*x)
cosh(x)/sinh(x)*c
sinh(x)/cosh(x)**3
hypot(x, y)**2 - x**2
c*hypot(x, y)**2 - c*y**2
hypot(x, c)**2 - x**2
x**2*y - hypot(x, c)**2*y
hypot(c*x, y)**2 - y**2
hypot(x, y) - x*x/hypot(x, y)
sigmoid(x) - sigmoid(-x)
sigmoid(c*x) - sigmoid(-(c*x))
c*sigmoid(-(2*x)) - c*sigmoid(2*x)
y*sigmoid(x) - y*sigmoid(-x) + c
sigmoid(x)*sigmoid(x) - sigmoid(x)*sigmoid(-x)
sum(x, c, y, c)
mean(x, c, y)
mean(c, c)
prod(c, x, y, c)
min(x, x)*c
max(c, c)*x
min(x, c)
logsumexp(x)*c
x/(1 + c/x)
x/(y/c + c/y)
x/y + c/y
x/y - c/(x*y)
1/x + 1/(c*x)
1/x/(1/y + c/x)
x*y + c*x
c*x**2*y - x*y**2
x**-1 + c*x**-2
x**0.5 + c*x**1.5
x/3 + y/6
c*(x/3 + y/7)
(x/3 + c)/(y/5)
(x - y)/(y - x)
(x - y)*(c*y - c*x)
(x - y)*(3*y - 3*x)/(2*x - 2*y)
(x - y)*(y - x)**2*c
(x - y)**2/(y - x)**3
(x + c)**0.5
(x + 4)**0.5*c
(x + y + c)*(x + y - c)
(x + y + c)*(x - y - c)
(x + y)**2*(x - y)**2*c
(x + y)**0.5*(x - y)**0.5*c
(x + c)**0.5*(x - c)**0.5
x*(x + y) - x**2 + y**3
x*(x + y) - x**2 + y**3 + c
y**3 + x*(x + y) - x**2 + c*y
c*x*(x + y) - c*x**2 + y
sin(x)*(x + y) - x*sin(x) + c + y
x*(y + c) - x*y + sin(y)
2*(x*(y + c) - x*y + sin(y)) + x
""".split("\n")[1:-1]
"""`c` stands for a constant, which need not be an argument that can be folded."""

CHOICES = """
where(x > c, x, x)
where(x > y, 1, 0)
where(x > y, c, 0)*(x > y)
(x > y)*(x > y)*c
(x > y)**2 + c
where(x > c, c*x, 0) + where(x > c, y, 0)
c*where(x > 1, x, 0) - where(x > 1, y, 0)
where(x > c, where(x > c, x, y), c)
where(x > c, y, where(x > c, x, c))
where(x > c, 2*where(x > c, x, y), 3*where(x > c, x, y) + c)
where(x > 1, where(x > 1, x, y)**2, sin(where(x > 1, x, y)))
where((x > 1) == 0, x, 0)
where((x > 1) == 0, 0, y)
where((x > 1) != 0, x, 0)
where((x > 1) != 0, 0, y)
where(c, x, y)
(x == x)*c
(x <= x)*c
(x >= x)*c
(x < x) + c
(x > x) + c
(x != x) + c
((x > y) != 0)*c
where(x >= 0, where(x == 0, 0.5, 1), 0)*y
where(x <= 0, where(x == 0, 0.5, 1), 0)*y
where(0 >= x, where(x == 0, 0.5, 1), 0)*y
where(0 <= x, where(0 == x, 0.5, 1), 0)*y
where(x >= y, where(x == y, 0.5, 1), 0)*c
where(x <= y, where(y == x, 0.5, 1), 0)*c
where(x >= y, where(x == y, 0.5, 2), 0)
where(x >= y, where(x == y, 0.25, 1), 0)
where(x > y, where(x == y, 0.5, 1), 0)
where(x >= y, where(x == 1, 0.5, 1), 0)
""".split("\n")[1:-1]

PLAIN = [{"x": 0.7, "y": 1.3}, {"x": 2.6, "y": 0.4}, {"x": 1.9, "y": 1.1}]
SIGNED = [{"x": -0.7, "y": 1.3}, {"x": 2.6, "y": -0.4}, {"x": -1.9, "y": -1.1}]
TIES = [{"x": a, "y": b} for a in (-1.0, 0.0, 1.0, 2.0) for b in (-1.0, 0.0, 1.0)]


def with_constant(text: str, c: float) -> Graph:
    """The graph with its leaves first, and with a number where `c` is an argument."""
    graph = parse(text)
    if graph.output == "c":
        return Graph([Node("x", "value"), Node("y", "value"), Node("f", "sum", (c,))], ("f",))
    nodes = [
        Node(node.id, node.op, tuple(c if argument == "c" else argument for argument in node.args))
        for node in graph.nodes
        if node.op != "value"
    ]
    leaves = [Node(name, "value") for name in ("x", "y")]
    return Graph([*leaves, *nodes], graph.outputs)


def exactly(graph: Graph, at: dict[str, float]) -> Any:
    """The value of a graph, or None where it has none: what divides by 0, overflows or is complex."""
    values: dict[str, Any] = {}
    for position in graph.wiring.order.tolist():
        node = graph.nodes[position]
        arguments = [values[a] if isinstance(a, str) else mpf(a) for a in node.args]
        if node.op == "value":
            values[node.id] = mpf(at[node.id])
            continue
        if any(a is None for a in arguments) and node.op != "where":
            values[node.id] = None
            continue
        try:
            found = ORACLES[ALIASES.get(node.op, node.op)](*arguments)
        except (ZeroDivisionError, ValueError, OverflowError, TypeError):
            found = None
        good = found is not None and isinstance(found, mpf) and mpmath.isfinite(found)
        values[node.id] = found if good else None
    return values[graph.output]


def assert_kept(text: str, c: float, points: list[dict[str, float]]) -> int:
    """Assert that a value that there is stays the same, to the roundings of constants. Return how many there are."""
    graph = with_constant(text, c)
    kept = sum(node.op == "value" for node in graph.nodes)
    found = simplified(graph, kept)
    count = 0
    with mp.workdps(50):
        for at in points:
            want = exactly(graph, at)
            if want is None:
                continue
            count += 1
            got = exactly(found, at)
            written = [(node.op, *node.args) for node in found.nodes[kept:]]
            assert got is not None and abs(got - want) <= 1e-14 * (1 + abs(want)), (text, c, at, written, got, want)
    return count


@for_each("text", RULES)
def test_rule_keeps_the_value(text: str) -> None:
    count = sum(assert_kept(text, c, PLAIN + SIGNED) for c in CONSTANTS.values())
    assert count >= len(PLAIN), "an expression without values shows nothing"


@pytest.mark.parametrize("text", CHOICES)
def test_choice_keeps_the_value(text: str) -> None:
    """At ties, too."""
    assert sum(assert_kept(text, c, TIES) for c in CONSTANTS.values()) >= len(TIES)


@for_each("c", CONSTANTS.values())
def test_constant_alone_keeps_its_sign(c: float) -> None:
    for text in ("c", "-c" if c else "c", "c*x", "x + c"):
        assert assert_kept(text, c, PLAIN) == len(PLAIN)


FUNCTIONS = (
    "({})**2",
    "({})**(-1)",
    "sqrt(({})**2)",
    "-({})",
    "sin({0})/cos({0})",
    "hypot({0}, y)**2 - ({0})**2",
    "where(x > y, {}, 0)",
    "where(x > y, x, {})",
    "sigmoid({0}) - sigmoid(-({0}))",
)
OPERATORS = ("{} + {}", "{} - {}", "{}*{}", "{}/{}", "({})*({})", "({})/({})", "({} + {})*2", "({} - {})**2")


def random_text(draw: random.Random, depth: int) -> str:
    """An expression of the operations that have rules, with constants of every kind among its parts."""
    if depth == 0:
        return draw.choice(("x", "y", "c", "c", "pi", "2", "3", "0.5"))
    inner = random_text(draw, depth - 1)
    if draw.random() < 0.3:
        return draw.choice(FUNCTIONS).format(f"({inner})")
    return draw.choice(OPERATORS).format(f"({inner})", f"({random_text(draw, depth - 1)})")


@pytest.mark.parametrize("part", range(4), ids=lambda part: f"part {part}")
def test_random_expression_keeps_its_value(part: int) -> None:
    draw = random.Random(part)
    count = 0
    for _ in range(60):
        text = random_text(draw, 3)
        if "x" in text or "y" in text:
            count += assert_kept(text, draw.choice(list(CONSTANTS.values())), PLAIN + SIGNED)
    assert count > 60

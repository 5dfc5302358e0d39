"""New nodes have the value of the operation, and the simple form that an identity gives them."""

import itertools
import math
import operator
from collections.abc import Callable

from app.engine.graph import Graph, Node
from app.engine.interruption import never
from app.engine.new_nodes import NewNodes, is_short
from tests.rows import for_each

REFERENCE: dict[str, Callable[..., float]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "divide": operator.truediv, "neg": operator.neg,
    "pow": operator.pow, "where": lambda c, a, b: a if c else b, "sum": lambda *x: sum(x), "prod": lambda *x: math.prod(x),
    "mean": lambda *x: sum(x) / len(x), "min": min, "max": max, "logsumexp": lambda *x: math.log(sum(map(math.exp, x))),
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
}  # fmt: skip
"""What Python computes."""


GRAPH = Graph([Node("x", "value"), Node("y", "value"), Node("f", "add", ("x", "y"))], ("f",))


def fresh() -> NewNodes:
    """Nothing but the leaves x and y, at the places 0 and 1, and their sum."""
    return NewNodes(GRAPH, [0, 1], never)


def made_of(made: NewNodes, text: str) -> int:
    """The operand that a text stands for; each of its calls is made in turn. Numbers are written as floats."""

    def maker(op: str) -> Callable[..., int]:
        return lambda *given: made.make(op, *(made.number(a) if isinstance(a, float) else a for a in given))

    found = eval(text, {op: maker(op) for op in REFERENCE}, {"x": 0, "y": 1})  # the texts below
    return made.number(found) if isinstance(found, float) else found


def written(made: NewNodes, operand: int) -> str:
    """An operand as a text."""
    if operand < 0:
        return repr(made.numbers[~operand])
    if operand < 2:
        return "xy"[operand]
    return f"{made.ops[operand]}({', '.join(written(made, a) for a in made.args[operand])})"


def values_of(text: str) -> list[float | None]:
    """The values at POINTS by Python, or None where there is no real and finite one."""
    function = eval(f"lambda x, y: {text}", dict(REFERENCE))  # the texts below
    values: list[float | None] = []
    for point in POINTS:
        try:
            value = function(*point)
        except (ZeroDivisionError, OverflowError, ValueError, TypeError):
            value = math.nan
        values.append(None if isinstance(value, complex) or not math.isfinite(value) else float(value))
    return values


OPERANDS = ("x", "y", "0.0", "1.0", "-1.0", "2.0", "0.5", "neg(x)", "mul(2.0, y)", "divide(3.0, x)", "lt(x, y)", "eq(x, 0.0)")
BINARY = ("add", "sub", "mul", "divide", "pow", "ne", "eq", "min", "max", "sum", "prod", "mean", "logsumexp")
CALLS = [f"{op}({a}, {b})" for op in BINARY for a, b in itertools.product(OPERANDS, repeat=2)]
CALLS += [f"where({', '.join(three)})" for three in itertools.product(OPERANDS[:3] + OPERANDS[-2:], repeat=3)]
CALLS += [f"{op}({a})" for op in ("neg", "sum", "prod", "mean", "min", "max", "logsumexp") for a in OPERANDS]
POINTS = [(0.7, -1.3), (2.0, 2.0), (-1.5, 0.5), (0.0, 3.0), (1.0, 0.0)]


def test_every_operation_keeps_its_value() -> None:
    """On leaves, the first of which is at place 0, on numbers, and on what has a simpler form."""
    compared = 0
    for text in CALLS:
        made = fresh()
        found = written(made, made_of(made, text))
        for value, other in zip(values_of(text), values_of(found), strict=True):
            if value is not None:
                compared += 1
                assert other is not None and abs(other - value) <= 1e-13 * abs(value), (text, found)
    assert compared > len(CALLS)


@for_each(
    ("text", "simple"),
    [
        ("add(x, 0.0)", "x"),
        ("add(0.0, x)", "x"),
        ("add(x, x)", "mul(2.0, x)"),
        ("add(x, neg(y))", "sub(x, y)"),
        ("sub(x, 0.0)", "x"),
        ("sub(0.0, x)", "neg(x)"),
        ("mul(x, 0.0)", "0.0"),
        ("mul(0.0, x)", "0.0"),
        ("divide(0.0, 0.0)", "divide(0.0, 0.0)"),
        ("divide(x, 0.0)", "divide(x, 0.0)"),
        ("mul(x, 1.0)", "x"),
        ("mul(1.0, x)", "x"),
        ("mul(x, -1.0)", "neg(x)"),
        ("mul(x, 3.0)", "mul(3.0, x)"),
        ("mul(2.0, mul(3.0, x))", "mul(6.0, x)"),
        ("mul(2.0, divide(3.0, x))", "divide(6.0, x)"),
        ("mul(2.0, neg(x))", "mul(-2.0, x)"),
        ("mul(neg(x), y)", "neg(mul(x, y))"),
        ("mul(x, neg(y))", "neg(mul(y, x))"),
        ("mul(mul(2.0, x), y)", "mul(2.0, mul(x, y))"),
        ("mul(y, mul(2.0, x))", "mul(2.0, mul(x, y))"),
        ("mul(divide(2.0, x), y)", "divide(mul(2.0, y), x)"),
        ("mul(y, divide(1.0, x))", "divide(y, x)"),
        ("divide(x, 1.0)", "x"),
        ("divide(x, -1.0)", "neg(x)"),
        ("divide(0.0, x)", "0.0"),
        ("neg(neg(x))", "x"),
        ("pow(x, 1.0)", "x"),
        ("pow(x, 0.0)", "1.0"),
        ("ne(lt(x, y), 0.0)", "lt(x, y)"),
        ("where(1.0, x, y)", "x"),
        ("where(-2.0, x, y)", "x"),
        ("where(0.0, x, y)", "y"),
        ("where(x, y, y)", "y"),
        ("sum(x)", "x"),
        ("mean(x)", "x"),
        ("prod(x)", "x"),
        ("min(x)", "x"),
        ("max(x)", "x"),
        ("logsumexp(x)", "x"),
        ("add(2.0, 3.0)", "5.0"),
        ("pow(2.0, 3.0)", "8.0"),
        ("lt(2.0, 3.0)", "1.0"),
        ("logsumexp(2.0, 3.0)", "logsumexp(2.0, 3.0)"),
        ("divide(1.0, 3.0)", "divide(1.0, 3.0)"),
        ("divide(1.0, 0.0)", "divide(1.0, 0.0)"),
    ],
)
def test_identity_makes_it_simple(text: str, simple: str) -> None:
    made = fresh()
    assert written(made, made_of(made, text)) == simple


@for_each("op", ["add", "mul", "max", "min", "eq", "ne", "sub", "divide", "pow", "lt"])
def test_what_is_the_same_is_made_once(op: str) -> None:
    made = fresh()
    commutes = REFERENCE[op](2.0, 3.0) == REFERENCE[op](3.0, 2.0)
    assert made_of(made, f"{op}(x, y)") == made_of(made, f"{op}(x, y)")
    assert (made_of(made, f"{op}(x, y)") == made_of(made, f"{op}(y, x)")) is commutes


@for_each(
    ("number", "short"),
    [
        (999999999999999.0, True),
        (-999999999999999.0, True),
        (1e15, False),
        (-1e15, False),
        (0.12345678, True),
        (0.123456789, False),
        (1e-300, True),
        (math.inf, False),
        (math.nan, False),
    ],
)
def test_short_numbers_are_integers_below_a_quadrillion_or_have_ten_characters(number: float, short: bool) -> None:
    assert is_short(number) is short

"""Double-doubles against mpmath at 60 digits."""

import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf

from app.engine.double_double import RULES, DoubleDouble, add, evaluate, exact
from app.engine.graph import Graph
from app.engine.primitives import WIRE
from app.engine.text import parse
from tests.rows import for_each

RNG = np.random.default_rng(3)
POINTS = 200
KINKED = {"abs", "sign", "relu", "leaky_relu", "elu"}
"""Functions that are another one on the other side of 0."""
ONLY_DOUBLE = {"erf", "erfc", "gelu", "lgamma", "digamma", "polygamma"}

TRUTH: dict[str, Any] = {
    "neg": lambda x: -x,
    "abs": abs,
    "sign": mpmath.sign,
    "exp": mpmath.exp,
    "expm1": mpmath.expm1,
    "log": mpmath.log,
    "log1p": lambda x: mpmath.log(1 + x),
    "log2": lambda x: mpmath.log(x) / mpmath.log(2),
    "log10": mpmath.log10,
    "sqrt": mpmath.sqrt,
    "square": lambda x: x * x,
    "reciprocal": lambda x: 1 / x,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tan": mpmath.tan,
    "asin": mpmath.asin,
    "acos": mpmath.acos,
    "atan": mpmath.atan,
    "sinh": mpmath.sinh,
    "cosh": mpmath.cosh,
    "tanh": mpmath.tanh,
    "asinh": mpmath.asinh,
    "acosh": mpmath.acosh,
    "atanh": mpmath.atanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log(1 + mpmath.exp(x)),
    "relu": lambda x: max(x, mpf(0)),
    "leaky_relu": lambda x: x if x > 0 else x * mpf(0.01),
    "elu": lambda x: x if x > 0 else mpmath.expm1(x),
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "gelu": lambda x: x * mpmath.ncdf(x),
    "erf": mpmath.erf,
    "erfc": mpmath.erfc,
    "lgamma": mpmath.loggamma,
    "digamma": mpmath.digamma,
    "polygamma": lambda n, x: mpmath.psi(int(n), x),
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "pow": lambda x, y: x**y,
    "min": min,
    "max": max,
    "atan2": mpmath.atan2,
    "hypot": mpmath.hypot,
    "lt": lambda x, y: mpf(x < y),
    "le": lambda x, y: mpf(x <= y),
    "gt": lambda x, y: mpf(x > y),
    "ge": lambda x, y: mpf(x >= y),
    "eq": lambda x, y: mpf(x == y),
    "ne": lambda x, y: mpf(x != y),
    "where": lambda c, x, y: x if c else y,
    "sum": lambda *numbers: mpmath.fsum(numbers),
    "mean": lambda *numbers: mpmath.fsum(numbers) / len(numbers),
    "prod": lambda *numbers: mpmath.fprod(numbers),
    "logsumexp": lambda *numbers: mpmath.log(mpmath.fsum(map(mpmath.exp, numbers))),
}


def test_every_operation_is_compared() -> None:
    assert set(TRUTH) == set(WIRE) and set(WIRE) - set(RULES) == ONLY_DOUBLE


def drawn(name: str) -> list[DoubleDouble]:
    """Points of an operation's domain, with a second double each."""
    row = WIRE[name]
    intervals = ((-2.0, 2.0),) if name in KINKED else row.domain or ((-2.0, 2.0),) * 3
    columns = []
    for low, high in intervals:
        hi = RNG.uniform(low, high, POINTS)
        lo = hi * RNG.uniform(-0.4, 0.4, POINTS) * 2.0**-53
        columns.append(DoubleDouble(hi, 0.0 * lo if low == high else lo))  # an order is a whole number
    return columns


@for_each("name", sorted(TRUTH))
def test_operation_has_the_digits(name: str) -> None:
    columns = drawn(name)
    ids = [f"x{k}" for k in range(len(columns))]
    found = evaluate(parse(f"{name}({', '.join(ids)})"), dict(zip(ids, columns, strict=True)))
    worst = mpf(0)
    with mp.workdps(60):
        for k in range(POINTS):
            arguments = [mpf(float(x.hi[k])) + mpf(float(x.lo[k])) for x in columns]
            expected = TRUTH[name](*arguments)
            hi, lo = (np.broadcast_to(part, POINTS)[k] for part in found)
            scale = max(abs(expected), mpf(10) ** -3)
            worst = max(worst, abs(mpf(float(hi)) + mpf(float(lo)) - expected) / scale)
    assert worst < (1e-13 if name in ONLY_DOUBLE else mpf(10) ** -28), mpmath.nstr(worst, 3)


@pytest.mark.parametrize("numbers", [(0.0, 800.0), (800.0, 0.0), (-800.0, -1600.0), (750.0, 750.0, -750.0)])
def test_logsumexp_of_numbers_far_apart(numbers: tuple[float, ...]) -> None:
    ids = [f"x{k}" for k in range(len(numbers))]
    hi, lo = evaluate(parse(f"logsumexp({', '.join(ids)})"), dict(zip(ids, numbers, strict=True)))
    with mp.workdps(60):
        expected = TRUTH["logsumexp"](*map(mpf, numbers))
        assert abs(mpf(float(hi)) + mpf(float(lo)) - expected) <= mpf(10) ** -28 * abs(expected)


@for_each(
    ("text", "x"),
    [
        ("sin(x)", 1e5),
        ("cos(x)", -3.14159),
        ("sin(x)", 3.141592653589793),
        ("x**7", -1.1),
        ("x**-2", -3.3),
        ("x**0.3", 7.7),
        ("exp(x)", -500.0),
        ("exp(x)", 700.0),
        ("log(x)", 1e-300),
        ("(x + 1e-20) - x", 1.0),
        ("atan2(x, -2)", -1e-3),
        ("x**0", 5.0),
    ],
)
def test_numbers_of_all_sizes(text: str, x: float) -> None:
    hi, lo = evaluate(parse(text), {"x": x})
    with mp.workdps(60):
        names = {"sin": mpmath.sin, "cos": mpmath.cos, "exp": mpmath.exp, "log": mpmath.log, "atan2": mpmath.atan2}
        expected = eval(text, {}, {**names, "x": mpf(x)})
        if text == "x**0.3":
            expected = mpf(x) ** mpf(0.3)
        if "1e-20" in text:
            expected = mpf(1e-20)
        assert abs(mpf(float(hi)) + mpf(float(lo)) - expected) <= mpf(10) ** -24 * abs(expected)


@pytest.mark.parametrize("low", [-(2.0**-60), 0.0, 2.0**-60])
def test_comparisons_look_at_both_parts(low: float) -> None:
    """1 + low is compared with 1."""
    x, y = DoubleDouble(1.0, low), exact(1.0)
    for name, holds in {"lt": low < 0, "le": low <= 0, "gt": low > 0, "ge": low >= 0, "eq": low == 0, "ne": low != 0}.items():
        assert float(RULES[name](x, y).hi) == float(holds), name


def test_where_a_double_double_overflows_the_double_is_taken() -> None:
    assert float(evaluate(parse("x*1"), {"x": 1.7e308}).hi) == 1.7e308
    assert float(evaluate(parse("x/3"), {"x": 1.5e308}).hi) == 5e307
    assert float(evaluate(parse("sqrt(x)"), {"x": 0.0}).hi) == 0.0
    found = evaluate(parse("x*x"), {"x": np.array([1e200, 3.0])})
    assert math.isinf(found.hi[0]) and found.hi[1] == 9.0


@pytest.mark.parametrize(("text", "value"), [("erf(exp(x))", 1.0), ("erfc(exp(x))", 0.0), ("erf(-exp(x)) + 2", 1.0)])
def test_function_of_what_overflows_has_the_value_of_doubles(text: str, value: float) -> None:
    """The limits of the error functions (DLMF 7.2.4)."""
    found = evaluate(parse(text), {"x": 1000.0})
    assert (float(found.hi), float(found.lo)) == (value, 0.0)


def test_sum_keeps_its_digits_where_terms_cancel() -> None:
    """To 3 units of 2**-106 (M. Joldes, J.-M. Muller, V. Popescu, ACM TOMS 44 (2017) 15, theorem 3.1)."""
    rng = np.random.default_rng(4)
    for gap in (0, 10, 40, 52, 60):
        for _ in range(50):
            a, b, c = rng.normal(size=3)
            x = DoubleDouble(a, b * 2.0**-54 * abs(a))
            y = DoubleDouble(-a + c * 2.0**-gap * (gap < 60), b * 2.0**-115 * abs(a))
            exactly = sum((Fraction(float(part)) for part in (*x, *y)), Fraction(0))
            found = sum((Fraction(float(part)) for part in add(x, y)), Fraction(0))
            assert abs(found - exactly) <= 3 * Fraction(1, 2**106) * abs(exactly)


def test_a_branch_that_is_not_taken_does_no_harm() -> None:
    found = evaluate(parse("where(x > 0, log(x), x)"), {"x": np.array([-1.0, 1.0])})
    assert found.hi.tolist() == [-1.0, 0.0] and found.lo.tolist() == [0.0, 0.0]


def test_the_output_is_that_of_the_graph() -> None:
    graph = parse("a = x*2; a + 1")
    assert float(evaluate(Graph(graph.nodes, ("a",)), {"x": exact(1.5)}).hi) == 3.0

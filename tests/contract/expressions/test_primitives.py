"""Values and derivatives of every primitive against mpmath, and the list at GET /v1/primitives."""

from collections.abc import Callable
from typing import Any

import httpx
import mpmath
import pytest

from tests.contract.conftest import Post
from tests.contract.wire import graph, json_of, leaf, node
from tests.rows import for_each

UNARY: dict[str, Callable[..., Any]] = {
    "neg": lambda x: -x,
    "abs": abs,
    "sign": mpmath.sign,
    "exp": mpmath.exp,
    "expm1": mpmath.expm1,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "log2": lambda x: mpmath.log(x, 2),
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
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "relu": lambda x: max(x, mpmath.mpf(0)),
    "leaky_relu": lambda x: x if x > 0 else x * mpmath.mpf(0.01),
    "elu": lambda x: x if x > 0 else mpmath.expm1(x),
    "gelu": lambda x: x / 2 * (1 + mpmath.erf(x / mpmath.sqrt(2))),
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "erf": mpmath.erf,
    "erfc": mpmath.erfc,
    "lgamma": lambda x: mpmath.log(abs(mpmath.gamma(x))),
    "digamma": mpmath.digamma,
}

POINTS = {
    "acosh": [1.1, 2.7],
    "log": [0.3, 4.2],
    "log2": [0.3, 4.2],
    "log10": [0.3, 4.2],
    "sqrt": [0.3, 4.2],
    "log1p": [-0.4, 2.0],
    "lgamma": [0.3, 4.2],
    "digamma": [0.3, 4.2],
}
"""Arguments for primitives whose domain does not have the default ones."""

BINARY: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "div": lambda x, y: x / y,
    "pow": lambda x, y: x**y,
    "min": min,
    "max": max,
    "atan2": mpmath.atan2,
    "hypot": mpmath.hypot,
}

MANY: dict[str, Callable[..., Any]] = {
    "sum": lambda *x: mpmath.fsum(x),
    "mean": lambda *x: mpmath.fsum(x) / len(x),
    "prod": lambda *x: mpmath.fprod(x),
    "logsumexp": lambda *x: mpmath.log(mpmath.fsum(map(mpmath.exp, x))),
    "min": min,
    "max": max,
}

COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")


@for_each("op", UNARY)
def test_unary_primitive_agrees_with_mpmath(post: Post, op: str) -> None:
    points = POINTS.get(op, [-0.6, 0.4])
    found = json_of(post("backward", expression=f"{op}(x)", inputs={"x": points}))
    with mpmath.workdps(30):
        for k, x in enumerate(map(mpmath.mpf, points)):
            assert found["value"][k] == pytest.approx(float(UNARY[op](x)), rel=1e-13)
            assert found["gradients"]["x"][k] == pytest.approx(float(mpmath.diff(UNARY[op], x)), rel=1e-12, abs=1e-18), x


@for_each("op", BINARY)
def test_binary_primitive_agrees_with_mpmath(post: Post, op: str) -> None:
    x, y = 1.7, 0.6
    found = json_of(post("backward", expression=graph(leaf("x", x), leaf("y", y), node("z", op, "x", "y"))))
    with mpmath.workdps(30):
        assert found["value"] == pytest.approx(float(BINARY[op](mpmath.mpf(x), mpmath.mpf(y))), rel=1e-14)
        for name, order in (("x", (1, 0)), ("y", (0, 1))):
            expected = float(mpmath.diff(BINARY[op], (mpmath.mpf(x), mpmath.mpf(y)), order))
            assert found["gradients"][name] == pytest.approx(expected, rel=1e-13, abs=1e-18), name


@pytest.mark.parametrize("order", [0, 1, 2, 5])
def test_polygamma_agrees_with_mpmath(post: Post, order: int) -> None:
    found = json_of(post("hessian", expression=f"polygamma({order}, x)", inputs={"x": [0.6, -1.7]}))
    with mpmath.workdps(30):
        for k, x in enumerate((mpmath.mpf(0.6), mpmath.mpf(-1.7))):
            assert found["value"][k] == pytest.approx(float(mpmath.psi(order, x)), rel=1e-13)
            assert found["gradients"]["x"][k] == pytest.approx(float(mpmath.psi(order + 1, x)), rel=1e-13)
            assert found["hessian"]["x"]["x"][k] == pytest.approx(float(mpmath.psi(order + 2, x)), rel=1e-13)


@for_each("op", MANY)
@for_each("count", [2, 3, 5])
def test_variadic_primitive_agrees_with_mpmath(post: Post, op: str, count: int) -> None:
    numbers = [0.3, -1.2, 2.5, 0.7, -0.4][:count]
    names = [f"x{k}" for k in range(count)]
    found = json_of(post("backward", expression=f"{op}({', '.join(names)})", inputs=dict(zip(names, numbers, strict=True))))
    with mpmath.workdps(30):
        point = tuple(map(mpmath.mpf, numbers))
        assert found["value"] == pytest.approx(float(MANY[op](*point)), rel=1e-14)
        for k, name in enumerate(names):
            expected = float(mpmath.diff(MANY[op], point, tuple(int(j == k) for j in range(count))))
            assert found["gradients"][name] == pytest.approx(expected, rel=1e-13, abs=1e-18), name


@pytest.mark.parametrize("op", ["sum", "mean", "prod", "logsumexp"])
def test_variadic_primitive_of_one_argument_is_the_identity(post: Post, op: str) -> None:
    found = json_of(post("backward", expression=f"{op}(x)", inputs={"x": 1.25}))
    assert found["value"] == 1.25 and found["gradients"] == {"x": 1.0}


@for_each("op", COMPARISONS)
@for_each(("x", "y"), [(1, 2), (2, 1), (1.5, 1.5)])
def test_comparison_is_one_or_zero_with_derivative_zero(post: Post, op: str, x: float, y: float) -> None:
    expected = {"lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y, "eq": x == y, "ne": x != y}[op]
    found = json_of(post("backward", expression=graph(leaf("x", x), leaf("y", y), node("z", op, "x", "y"))))
    assert found["value"] == float(expected) and found["gradients"] == {"x": 0.0, "y": 0.0, "z": 1.0}


@pytest.mark.parametrize("alias", ["div", "divide"])
def test_div_is_an_alias_of_divide(post: Post, alias: str) -> None:
    found = json_of(post("backward", expression=graph(leaf("x", 6), leaf("y", 3), node("z", alias, "x", "y"))))
    assert found["value"] == 2.0 and found["gradients"]["y"] == pytest.approx(-2 / 3, rel=1e-15)
    assert json_of(post("forward", expression=f"{alias}(x, 4)", inputs={"x": 6}))["value"] == 1.5


def test_primitives_endpoint_describes_every_primitive(client: httpx.Client) -> None:
    rows = {row["name"]: row for row in json_of(client.get("/v1/primitives"))["primitives"]}
    assert set(rows) == set(UNARY) | (set(BINARY) - {"div"}) | set(MANY) | set(COMPARISONS) | {"where", "polygamma"}
    for name, row in rows.items():
        assert {"name", "arity", "formula", "derivative", "domain", "kink"} <= set(row)
        assert row["formula"] and row["derivative"] and row["domain"] and row["kink"]
        expected = 1 if name in UNARY else 3 if name == "where" else None if name in MANY else 2
        assert row["arity"] == expected
    assert {name: row["aliases"] for name, row in rows.items() if row["aliases"]} == {"divide": ["div"]}


@for_each("op", [*UNARY, *BINARY, *MANY, *COMPARISONS, "where"])
def test_call_in_text_equals_op_in_graph(post: Post, op: str) -> None:
    """A call in text and an `op` in a graph are the same operation."""
    count = 1 if op in UNARY else 3 if op == "where" or op in MANY else 2
    names = "xyz"[:count]
    inputs = {name: 1.1 + 0.1 * k for k, name in enumerate(names)}
    if op in ("asin", "acos", "atanh"):
        inputs = {"x": 0.25}
    as_text = json_of(post("hessian", expression=f"{op}({','.join(names)})", inputs=inputs))
    as_graph = json_of(post("hessian", expression=graph(*map(leaf, names), node("output", op, *names)), inputs=inputs))
    assert as_text == as_graph


def test_row_of_a_primitive(client: httpx.Client) -> None:
    rows = {row.pop("name"): row for row in json_of(client.get("/v1/primitives"))["primitives"]}
    divide, absolute = rows["divide"], rows["abs"]
    assert (divide["formula"], divide["derivative"]) == ("x / y", ["1/y", "-x/y**2"])
    assert (divide["domain"], divide["kink"]) == ("y != 0", "none")
    assert (divide["arity"], divide["min_arity"], divide["max_arity"]) == (2, 2, 2)
    assert (absolute["formula"], absolute["derivative"]) == ("abs(x)", ["sign(x)"])
    assert (absolute["domain"], absolute["kink"]) == ("all numbers", "at 0 the derivative is 0")
    assert (rows["sum"]["arity"], rows["sum"]["max_arity"]) == (None, None)

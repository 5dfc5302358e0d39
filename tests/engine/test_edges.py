"""Numbers at the edges: where a slope is infinite, a result overflows, or terms cancel. Expectations are mpmath's or limits."""

import math
from collections.abc import Mapping
from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf

from app.engine import sparse
from app.engine.text import parse
from app.engine.transforms import backward, evaluate, hessian, hvp, jacobian, jvp
from tests.rows import for_each

SIZES = pytest.mark.parametrize("points", [None, 3, 100], ids=["one point", "3 points", "100 points"])


def spread(inputs: Mapping[str, float], points: int | None) -> dict[str, Any]:
    """The same inputs at as many points, of which only the first is looked at; the others are ordinary."""
    return {n: x if points is None else [x] + [0.7] * (points - 1) for n, x in inputs.items()}


def first(column: Any) -> float:
    return float(np.ravel(column)[0])


def gradients_in_every_way(text: str, inputs: Mapping[str, float], points: int | None) -> dict[str, float]:
    """The derivative by x in reverse mode, in forward mode and as part of every other transform."""
    graph, given = parse(text), spread(inputs, points)
    several = parse(f"f = {text}; g = 2*x")
    both = type(several)(several.nodes, ("f", "g"), several.names, "text")
    return {
        "backward": first(backward(graph, given, ["x"]).gradients["x"]),
        "jvp": first(jvp(graph, given, {"x": 1.0}).tangent),
        "jacobian of one output": first(jacobian(graph, given, ["x"]).jacobian["output"]["x"]),
        "jacobian of two outputs": first(jacobian(both, given, ["x"]).jacobian["f"]["x"]),
        "hessian": first(hessian(graph, given, ["x"]).gradients["x"]),
        "hvp": first(hvp(graph, given, {"x": 1.0}).gradients["x"]),
    }


@SIZES
@for_each(
    ("text", "x"),
    [
        ("sigmoid(log(x))", 0.0),  # x/(1 + x): the slope is 1
        ("softplus(log(x))", 0.0),  # log(1 + x): the slope is 1
        ("sqrt(x)**2", 0.0),  # x: the slope is 1
        ("(x**3)**(1/3)", 0.0),  # x: the slope is 1
        ("tanh(log(x))", 0.0),
        ("elu(log(x))", 0.0),
        ("exp(-1/x)", 0.0),
        ("abs(sqrt(x))", 0.0),
        ("acos(x/x)", 3.0),  # constant, but each factor alone is infinite
        ("sqrt(x)*0", 0.0),
    ],
)
def test_zero_times_infinity_is_never_a_number(text: str, x: float, points: int | None) -> None:
    """Zero comes from rounding or from a stationary point here, not from a selection, so nothing is known of the product."""
    found = gradients_in_every_way(text, {"x": x}, points)
    assert all(map(math.isnan, found.values())), found


@SIZES
@for_each(
    ("text", "x", "slope"),
    [
        ("where(x > 0, log(x), 3*x)", 0.0, 3.0),
        ("where(x < 1, 2*x, sqrt(-x))", 0.0, 2.0),
        ("max(log(x), x - 1)", 0.0, 1.0),
        ("min(1/x, 4*x)", 0.0, 4.0),
        ("min(1, 1/x) + x", 0.0, 1.0),
        ("relu(log(x)) + x", 0.0, 1.0),
        ("sign(log(x)) + x", 0.0, 1.0),
        ("(log(x) < 0) + x", 0.0, 1.0),
        ("where(x > 0, sigmoid(log(x)), 5*x)", 0.0, 5.0),
        ("where(x, exp(800*x)*exp(800), x)", 0.0, 1.0),
    ],
)
def test_what_was_not_selected_passes_nothing_on(text: str, x: float, slope: float, points: int | None) -> None:
    found = gradients_in_every_way(text, {"x": x}, points)
    assert set(found.values()) == {slope}, found
    graph, given = parse(text), spread({"x": x}, points)
    assert first(hessian(graph, given, ["x"]).hessian["x"]["x"]) == 0.0
    assert first(hvp(graph, given, {"x": 1.0}).hvp["x"]) == 0.0


@SIZES
def test_an_infinite_adjoint_meets_a_zero_behind_it(points: int | None) -> None:
    """All partials are finite, and their product overflows before it meets the slope 0 of the square at 0."""
    found = gradients_in_every_way("square(x)*1e200*1e200", {"x": 0.0}, points)
    assert all(math.isnan(g) or g == 0.0 for g in found.values())  # 0, or refused: never anything else
    reverse = first(backward(parse("square(x)*1e200*1e200"), spread({"x": 0.0}, points), ["x"]).gradients["x"])
    assert math.isnan(reverse)


@SIZES
@pytest.mark.parametrize("choice", ["where(z > 0, z, x)", "where(z < 0, x, z)", "max(x, z)"])
def test_an_infinite_adjoint_passes_nothing_on_to_what_was_not_selected(choice: str, points: int | None) -> None:
    """All partials are finite, and so is the value; the adjoint of the choice is not, and x does not count."""
    found = gradients_in_every_way(f"1e200*(1e200*{choice})", {"x": -1.0, "z": 1e-300}, points)
    assert set(found.values()) == {0.0}, found


@SIZES
@pytest.mark.parametrize("text", ["where(z > 0, x, y)**1.5", "where(z < 0, y, x)**1.5", "max(y, x)**1.5", "max(x, y)**1.5"])
def test_an_infinite_second_derivative_is_not_passed_on_to_what_was_not_selected(text: str, points: int | None) -> None:
    """x is selected, and there the second derivative is infinite; y is not, so that all of its derivatives are 0."""
    graph, inputs = parse(text), spread({"x": 0.0, "y": -1.0, "z": 1.0}, points)
    inputs = {name: given for name, given in inputs.items() if name in graph.leaves}
    matrix = hessian(graph, inputs, ["x", "y"]).hessian
    entries = sparse.hessian(graph, inputs, ["x", "y"])
    found = {
        (entries.names[row], entries.names[column]): first(entry)
        for row, column, entry in zip(entries.pattern.rows, entries.pattern.columns, np.asarray(entries.entries), strict=True)
    }
    assert first(matrix["x"]["x"]) == found["x", "x"] == math.inf
    assert [first(matrix[a][b]) for a, b in ("xy", "yx", "yy")] == [0.0] * 3
    assert {entry for pair, entry in found.items() if pair != ("x", "x")} == {0.0}


@SIZES
def test_a_jacobian_has_nan_where_an_infinite_adjoint_meets_a_zero(points: int | None) -> None:
    graph = parse("square(x)*1e200*1e200 + y")
    row = jacobian(graph, spread({"x": 0.0, "y": 1.0}, points)).jacobian["output"]
    assert math.isnan(first(row["x"])) and first(row["y"]) == 1.0


@SIZES
def test_a_second_derivative_that_overflows_passes_nothing_on_to_what_was_not_selected(points: int | None) -> None:
    """Value, gradient and tangent are finite; only the derivative of the gradient overflows."""
    graph = parse("1e10*square(where(c, x, sin(y)))")
    inputs = spread({"c": 1.0, "x": 1e-10, "y": 1.0}, points)
    product = hvp(graph, inputs, {"x": 1e300}).hvp
    assert first(product["x"]) == math.inf and first(product["y"]) == 0.0


@SIZES
@pytest.mark.parametrize("text", ["(x - x)**1.5", "square((x - x)**0.5)"])
def test_an_infinite_derivative_meets_a_tangent_that_cancels(text: str, points: int | None) -> None:
    """0 times infinity: x - x has a tangent, although its number is 0."""
    assert math.isnan(first(hvp(parse(text), spread({"x": 1.0}, points), {"x": 1.0}).hvp["x"]))


def second(text: str, inputs: Mapping[str, float], x: str, y: str, points: int | None) -> float:
    return first(hessian(parse(text), spread(inputs, points)).hessian[x][y])


@SIZES
@for_each("x", [1.0 + 1e-9, 1.0 - 1e-12, 2.0 + 1e-9, 2.0 - 1e-12, 1e-310, 1e-300, 5e-324, 0.5, 171.6, 1e300, -0.5, -1.5])
def test_lgamma_is_right_near_its_zeros_and_at_tiny_numbers(x: float, points: int | None) -> None:
    with mp.workdps(40):
        want = mpmath.re(mpmath.loggamma(mpf(x)))
    got = first(evaluate(parse("lgamma(x)"), spread({"x": x}, points))["output"])
    assert abs(got - want) <= 4e-16 * abs(want) + 5e-324, (got, mpmath.nstr(want, 17))


@SIZES
@for_each("x", [0.3, 1.0, 5.0, 9.9, 10.085070851374951, 20.0, 26.5, -3.0])
@for_each("name", ["erf", "erfc", "gelu"])
def test_error_functions_keep_their_digits_in_the_tails(name: str, x: float, points: int | None) -> None:
    """Value and two derivatives, to 3e-15 relative."""
    functions = {"erf": mpmath.erf, "erfc": mpmath.erfc, "gelu": lambda x: x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2}
    got = hessian(parse(f"{name}(x)"), spread({"x": -x}, points))
    with mp.workdps(60):
        for order, number in enumerate((got.value, got.gradients["x"], got.hessian["x"]["x"])):
            want = mpmath.diff(functions[name], mpf(-x), order) if order else functions[name](mpf(-x))
            if abs(want) > 1e-300:
                assert abs(first(number) - want) <= 3e-15 * abs(want), (order, first(number), mpmath.nstr(want, 17))


@SIZES
@pytest.mark.parametrize("top", [0.0, 100.0, 1e15, -1e15, 1e16, 1e300])
def test_gradients_of_logsumexp_are_the_softmax_however_large_the_numbers(top: float, points: int | None) -> None:
    inputs = {"a": top, "b": top, "c": top, "d": top - 2.0 if abs(top) < 1e15 else top}
    numbers = np.array(list(inputs.values()))
    softmax = np.exp(numbers - top) / np.exp(numbers - top).sum()
    table = backward(parse("logsumexp(a, b, c, d)"), spread(inputs, points)).gradients
    np.testing.assert_allclose([first(table[name]) for name in "abcd"], softmax, rtol=1e-15)


@SIZES
@for_each(
    ("text", "x", "slope"),
    [
        ("x**0.001", 1e-310, "0.001*x**(mpf('0.001000000000000000020816681711721685')-1)"),
        ("x**-0.5", 1e-100, "-x**-1.5/2"),
        ("x**0.3", 1e200, "mpf(0.3)*x**(mpf(0.3)-1)"),
        ("x**0.01", 1.3e308, "mpf(0.01)*x**(mpf(0.01)-1)"),  # 0.01/x has lost digits to underflow
        ("x**-0.03", 1e-300, "mpf(-0.03)*x**(mpf(-0.03)-1)"),  # x**-0.03/x overflows
        ("x**1e16", -1.0, "-mpf(10)**16"),  # the exponent 1e16 - 1 is odd, but rounded to an even number
        ("x**-1e16", -1.0, "mpf(10)**16"),
        ("x**y", -1.0, "-mpf(10)**16"),
        ("asin(x)", 1.0 - 1e-8, "1/sqrt(1-x*x)"),
        ("acosh(x)", 1.0 + 1e-8, "1/sqrt(x*x-1)"),
        ("atanh(x)", 1.0 - 1e-8, "1/(1-x*x)"),
        ("log1p(x)", -1.0 + 1e-8, "1/(1+x)"),
        ("expm1(x)", 1e-300, "exp(x)"),
        ("sigmoid(x)", 40.0, "1/(1+exp(-x))*(1/(1+exp(x)))"),
        ("sigmoid(x)", 9.0, "1/(1+exp(-x))*(1/(1+exp(x)))"),
        ("tanh(x)", 20.0, "sech(x)**2"),
        ("tanh(x)", -5.0, "sech(x)**2"),  # where 1 - tanh(x)**2 has lost four digits
        ("log10(x)", 1e307, "1/(x*log(10))"),
        ("digamma(x)", 1.4616321449683622, "psi(1,x)"),
        ("lgamma(x)", -0.5016016690041988, "psi(0,x)"),
    ],
)
def test_slopes_close_to_an_edge(text: str, x: float, slope: str, points: int | None) -> None:
    """To 1e-14 relative of mpmath's formula."""
    with mp.workdps(50):
        want = eval(slope, {**vars(mpmath), "x": mpf(x)})  # the formulas above
    graph = parse(text)
    inputs = {"x": x, "y": 1e16} if "y" in graph.index else {"x": x}
    got = first(backward(graph, spread(inputs, points), ["x"]).gradients["x"])
    assert abs(got - want) <= 1e-14 * abs(want), (got, mpmath.nstr(want, 17))


@SIZES
@pytest.mark.parametrize(("x", "value", "slope"), [(-61.0, 0.0, 0.0), (-1e3, 0.0, 0.0), (61.0, 61.0, 1.0), (1e3, 1e3, 1.0)])
def test_gelu_far_out_is_zero_or_its_argument(x: float, value: float, slope: float, points: int | None) -> None:
    """The normal distribution function is below 1e-800 at -61, and as close to 1 at 61."""
    found = backward(parse("gelu(x)"), spread({"x": x}, points), ["x"])
    assert (first(found.value), first(found.gradients["x"])) == (value, slope)


@SIZES
def test_second_derivative_of_erf_far_out_is_zero(points: int | None) -> None:
    for name in ("erf", "erfc", "gelu", "silu", "sigmoid", "softplus", "tanh"):
        assert second(f"{name}(x)", {"x": 1e308}, "x", "x", points) == 0.0, name


@SIZES
def test_slopes_of_a_hypot_that_overflows(points: int | None) -> None:
    table = backward(parse("hypot(x, y)"), spread({"x": 1.7e308, "y": -1.7e308}, points)).gradients
    assert first(table["x"]) == pytest.approx(math.sqrt(0.5), rel=1e-15)
    assert first(table["y"]) == pytest.approx(-math.sqrt(0.5), rel=1e-15)


@SIZES
@pytest.mark.parametrize("x", [1.0, 1.0 + 1e-9, -1.0 - 1e-12, 0.5, 1.0 - 1e-15])
def test_mixed_second_derivative_of_atan2_beside_the_diagonal(x: float, points: int | None) -> None:
    y = math.copysign(1.0, x)
    with mp.workdps(50):
        a, b = mpf(x), mpf(-y)
        want = (a * a - b * b) / (a * a + b * b) ** 2
    got = second("atan2(x, y)", {"x": x, "y": -y}, "x", "y", points)
    assert abs(got - want) <= 1e-15 * abs(want), (got, mpmath.nstr(want, 17))


@SIZES
@pytest.mark.parametrize("x", [1e-9, -1e-12, 1e-300])
def test_second_derivative_of_sigmoid_near_zero(x: float, points: int | None) -> None:
    """-tanh(x/2)*(1 - tanh(x/2)**2)/4, to 1e-15 relative."""
    with mp.workdps(50):
        t = mpmath.tanh(mpf(x) / 2)
        want = -t * (1 - t * t) / 4
    got = second("sigmoid(x)", {"x": x}, "x", "x", points)
    assert abs(got - want) <= 1e-15 * abs(want), (got, mpmath.nstr(want, 17))


@SIZES
@for_each("name", ["relu", "abs", "leaky_relu", "elu", "gelu", "silu", "softplus", "sign", "sqrt"])
def test_nan_stays_nan(name: str, points: int | None) -> None:
    """Also through operations that select: the value of a negative number's logarithm is not 0."""
    assert math.isnan(first(evaluate(parse(f"{name}(log(x))"), spread({"x": -1.0}, points))["output"]))
    for op in ("min", "max", "hypot", "logsumexp"):
        assert math.isnan(first(evaluate(parse(f"{op}(log(x), 1)"), spread({"x": -1.0}, points))["output"]))

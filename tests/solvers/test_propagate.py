"""Propagation of uncertainty against the examples of the GUM (JCGM 100, Annex H), GTC's numbers, and laws."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine import transforms
from app.engine.binding import bind
from app.engine.errors import EngineError, InvalidNode, NonFinite, UnboundInput, UnknownNode
from app.engine.graph import Graph, Node
from app.engine.text import parse
from app.solvers import Estimate, InvalidArgument, PropagateOptions, Propagation, bounded, from_readings, measured, propagate
from app.solvers.propagate import Result, coverage_factor
from tests.rows import for_each

RECORDED = json.loads((Path(__file__).parent / "recorded" / "correlated.json").read_text("utf-8"))


def of(text: str, *outputs: str) -> Graph:
    graph = parse(text)
    return replace(graph, outputs=outputs) if outputs else graph


def one(text: str, inputs: Mapping[str, float | Estimate], *correlations: tuple[str, str, float], **options: Any) -> Result:
    """The result of the only output."""
    (result,) = propagate(parse(text), inputs, correlations, PropagateOptions(**options)).results.values()
    return result


# --- the examples of the GUM

GAUGE = "l_s + d - l_s*(d_alpha*theta + alpha_s*d_theta)"
"""The length of an end gauge in nm (H.1, equation H.4)."""
GAUGE_INPUTS = {
    "l_s": measured(50_000_623.0, 25.0, 18),
    "d": measured(215.0, 9.7, 25.6),
    "d_alpha": measured(0.0, 0.58e-6, 50),
    "theta": measured(-0.1, 0.41),
    "alpha_s": measured(11.5e-6, 1.2e-6),
    "d_theta": measured(0.0, 0.029, 2),
}


def test_h1_end_gauge() -> None:
    """H.1.3 to H.1.7: 50,000,838 nm, 32 nm with 16 degrees of freedom, t99 = 2.92, 93 nm; 34 nm with terms of second order."""
    result = one(GAUGE, GAUGE_INPUTS, coverage=0.99, order=2)
    assert result.value == pytest.approx(50_000_838.0, abs=0.5)
    assert round(result.standard_uncertainty) == 32
    assert result.degrees_of_freedom == pytest.approx(16.7, abs=0.1)  # truncated to 16
    assert round(result.coverage_factor, 2) == 2.92
    assert round(result.expanded_uncertainty) == 93
    assert result.second_order is not None and round(result.second_order.standard_uncertainty or 0.0) == 34
    contributions = {row.input: row.contribution for row in result.budget}
    assert contributions == pytest.approx(
        {"l_s": 25.0, "d": 9.7, "d_alpha": 2.9, "theta": 0.0, "alpha_s": 0.0, "d_theta": 16.6}, abs=0.1
    )


VOLTS = (5.007, 4.994, 5.005, 4.990, 4.999)
AMPERES = (0.019663, 0.019639, 0.019640, 0.019685, 0.019678)
RADIANS = (1.0456, 1.0438, 1.0468, 1.0428, 1.0433)
"""Table H.2."""
IMPEDANCE = "R = V/I*cos(phi); X = V/I*sin(phi); Z = V/I"


def test_h2_resistance_and_reactance_from_readings() -> None:
    """Tables H.2 to H.4, approach 1."""
    inputs = {"V": from_readings(VOLTS), "I": from_readings(AMPERES), "phi": from_readings(RADIANS)}
    assert [round(inputs["V"].value, 4), round(inputs["I"].value * 1000, 4), round(inputs["phi"].value, 5)] == [
        4.999,
        19.661,
        1.04446,
    ]
    assert [f"{given.uncertainty:.1e}" for given in inputs.values()] == ["3.2e-03", "9.5e-06", "7.5e-04"]
    r = np.corrcoef([VOLTS, AMPERES, RADIANS])
    assert np.round(r[np.triu_indices(3, 1)], 2).tolist() == [-0.36, 0.86, -0.65]
    pairs = [("V", "I", float(r[0, 1])), ("V", "phi", float(r[0, 2])), ("I", "phi", float(r[1, 2]))]
    found = propagate(of(IMPEDANCE, "R", "X", "Z"), inputs, pairs)
    values = {name: (result.value, result.standard_uncertainty) for name, result in found.results.items()}
    assert values["R"] == pytest.approx((127.732, 0.071), abs=0.0005)
    assert values["X"] == pytest.approx((219.847, 0.295), abs=0.001)
    assert values["Z"] == pytest.approx((254.260, 0.236), abs=0.0005)
    assert found.correlation["R"]["X"] == pytest.approx(-0.588, abs=0.0005)
    assert found.correlation["R"]["Z"] == pytest.approx(-0.485, abs=0.0005)
    assert found.correlation["X"]["Z"] == pytest.approx(0.993, abs=0.0005)
    assert {result.degrees_of_freedom for result in found.results.values()} == {4.0}


THERMOMETER = {
    21.521: -0.171, 22.012: -0.169, 22.512: -0.166, 23.003: -0.159, 23.507: -0.164, 23.999: -0.165,
    24.513: -0.156, 25.002: -0.157, 25.503: -0.159, 26.010: -0.161, 26.511: -0.160,
}  # fmt: skip
"""Table H.6: readings, and the corrections that were observed."""


def test_h3_thermometer_prediction() -> None:
    """H.3.4: the correction at 30 °C is -0.1494 °C, its standard uncertainty 0.0041 °C with 9 degrees of freedom."""
    inputs = {"y1": measured(-0.1712, 0.0029, 9), "y2": measured(0.00218, 0.00067, 9)}
    result = one("y1 + y2*(30 - 20)", inputs, ("y1", "y2", -0.930))
    assert result.value == pytest.approx(-0.1494, abs=1e-12)
    assert round(result.standard_uncertainty, 4) == 0.0041
    assert result.degrees_of_freedom == 9.0


def test_h3_thermometer_line() -> None:
    """H.3.2 and H.3.3: intercept and slope as functions of the observations, each of which has s = 0.0035 °C."""
    names = [f"b{k}" for k in range(len(THERMOMETER))]
    theta = np.array(list(THERMOMETER)) - 20.0
    n, total, squares = len(theta), float(theta.sum()), float((theta**2).sum())
    divisor = n * squares - total**2
    y1 = " + ".join(f"{(squares - t * total) / divisor!r}*{b}" for t, b in zip(theta.tolist(), names, strict=True))
    y2 = " + ".join(f"{(n * t - total) / divisor!r}*{b}" for t, b in zip(theta.tolist(), names, strict=True))
    inputs = {name: measured(b, 0.0035) for name, b in zip(names, THERMOMETER.values(), strict=True)}
    found = propagate(of(f"y1 = {y1}; y2 = {y2}; b = y1 + 10*y2", "y1", "y2", "b"), inputs)
    assert [round(result.value, 5) for result in found.results.values()] == [-0.1712, 0.00218, -0.14938]
    assert [f"{result.standard_uncertainty:.1e}" for result in found.results.values()] == ["2.9e-03", "6.7e-04", "4.1e-03"]
    assert found.correlation["y1"]["y2"] == pytest.approx(-0.930, abs=0.0005)


def test_second_order_of_a_cube() -> None:
    """f = x**3 at 1 with u = 0.1: 9 u^2 + (1/2 * 36 + 3 * 6) u^4 = 0.0936, and the value 1 + 1/2 * 6 u^2 = 1.03."""
    second = one("x**3", {"x": measured(1.0, 0.1)}, order=2).second_order
    assert second is not None and second.standard_uncertainty is not None
    assert second.standard_uncertainty**2 == pytest.approx(0.0936, rel=1e-13)
    assert second.value == pytest.approx(1.03, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "mean", "variance"),
    [
        # Exact moments of polynomials of degree 2 in independent normal variables.
        ("x*y", 6.0, 4 * 0.04 + 9 * 0.01 + 0.04 * 0.01),
        ("x*x", 4.0 + 0.01, 4 * 4 * 0.01 + 2 * 0.01**2),
        ("x*x + y*y", 13.0 + 0.05, 4 * 4 * 0.01 + 2 * 0.01**2 + 4 * 9 * 0.04 + 2 * 0.04**2),
        ("3*x - 2*y + 1", 1.0, 9 * 0.01 + 4 * 0.04),
    ],
)
def test_second_order_is_exact_for_quadratic_functions(text: str, mean: float, variance: float) -> None:
    inputs = {name: given for name, given in (("x", measured(2.0, 0.1)), ("y", measured(3.0, 0.2))) if name in text}
    second = one(text, inputs, order=2).second_order
    assert second is not None and second.standard_uncertainty is not None
    assert second.value == pytest.approx(mean, rel=1e-14)
    assert second.standard_uncertainty == pytest.approx(math.sqrt(variance), rel=1e-14)


def test_second_order_by_hand_with_mixed_third_derivatives() -> None:
    """f = x*y**2*z at (1, 2, 3): every term of GUM 5.1.2 written out."""
    x, y, z = 1.0, 2.0, 3.0
    u = (0.1, 0.05, 0.2)
    first = (y * y * z, 2 * x * y * z, x * y * y)
    second = ((0.0, 2 * y * z, y * y), (2 * y * z, 2 * x * z, 2 * x * y), (y * y, 2 * x * y, 0.0))
    third = ((0.0, 2 * z, 0.0), (0.0, 0.0, 0.0), (0.0, 2 * x, 0.0))  # f_ijj
    variance = sum((first[i] * u[i]) ** 2 for i in range(3))
    variance += sum(
        (0.5 * second[i][j] ** 2 + first[i] * third[i][j]) * u[i] ** 2 * u[j] ** 2 for i in range(3) for j in range(3)
    )
    inputs = {name: measured(number, width) for name, number, width in zip("xyz", (x, y, z), u, strict=True)}
    found = one("x*y**2*z", inputs, order=2).second_order
    assert found is not None and found.standard_uncertainty == pytest.approx(math.sqrt(variance), rel=1e-13)


def test_negative_variance_of_second_order_is_said() -> None:
    """sin(x) at 0 with u = 2: u^2 - u^4 is below 0, as f f_xxx is."""
    result = one("sin(x)", {"x": measured(0.0, 2.0)}, order=2)
    assert result.second_order is not None and result.second_order.standard_uncertainty is None
    assert "negative" in result.messages[0]


# --- GTC's numbers


def assert_recorded(found: Propagation, recorded: Mapping[str, Any]) -> None:
    for name, want in recorded["results"].items():
        result = found.results[name]
        assert result.value == pytest.approx(want["value"], rel=1e-13)
        assert result.standard_uncertainty == pytest.approx(want["standard_uncertainty"], rel=1e-12)
        if want["degrees_of_freedom"] is None:
            assert result.degrees_of_freedom is None
        else:
            assert result.degrees_of_freedom == pytest.approx(want["degrees_of_freedom"], rel=1e-10)
        contributions = {row.input: row.contribution for row in result.budget}
        assert contributions == pytest.approx(want["contributions"], rel=1e-12)
        assert found.correlation[name] == pytest.approx(recorded["correlation"][name], rel=1e-10)


@pytest.mark.parametrize(("case", "freedom"), [("impedance", 4.0), ("certain", math.inf)])
def test_correlated_quantities_as_in_gtc(case: str, freedom: float) -> None:
    inputs = {
        "V": measured(4.999, 0.0032, freedom),
        "I": measured(0.019661, 0.0000095, freedom),
        "phi": measured(1.04446, 0.00075, freedom),
        "k": measured(1.002, 0.0004, 7),
    }
    pairs = [("V", "I", -0.36), ("V", "phi", 0.86), ("I", "phi", -0.65)]
    assert_recorded(propagate(of(f"{IMPEDANCE}; P = k*V*V/I", "R", "X", "Z", "P"), inputs, pairs), RECORDED[case])


def test_curved_functions_as_in_gtc() -> None:
    inputs = {"a": measured(2.0, 0.3), "b": measured(-1.5, 0.2), "c": measured(0.7, 0.05), "d": measured(3.0, 0.4)}
    pairs = [("a", "b", 0.5), ("b", "c", -0.25), ("a", "c", 0.1)]
    graph = of("f = exp(b)*log(a + c); g = a*b*c/d; h = sin(a)**2 + d", "f", "g", "h")
    assert_recorded(propagate(graph, inputs, pairs), RECORDED["curved"])


# --- degrees of freedom and coverage


def test_coverage_factors_of_the_gum() -> None:
    """Table G.2: degrees of freedom, and the factors for 95 % and 99 %."""
    for freedom, t95, t99 in [(1, 12.71, 63.66), (4, 2.78, 4.60), (9, 2.26, 3.25), (16, 2.12, 2.92), (50, 2.01, 2.68)]:
        assert round(coverage_factor(0.95, freedom)[0], 2) == t95
        assert round(coverage_factor(0.99, freedom + 0.9)[0], 2) == t99  # truncated
    assert coverage_factor(0.95, None)[0] == pytest.approx(1.959964, abs=1e-6)
    assert coverage_factor(0.95, 48.99999999999999)[0] == coverage_factor(0.95, 49)[0]


def test_welch_satterthwaite_of_the_gum() -> None:
    """G.4.1: relative uncertainties 0.25 %, 0.57 % and 0.82 % with 9, 4 and 14 degrees of freedom have 19.0."""
    inputs = {"a": measured(1.0, 0.0025, 9), "b": measured(1.0, 0.0057, 4), "c": measured(1.0, 0.0082, 14)}
    result = one("2*a*b*c", inputs)
    assert result.standard_uncertainty / result.value == pytest.approx(0.0103, abs=5e-5)
    assert result.degrees_of_freedom == pytest.approx(19.0, abs=0.05)
    assert round(result.coverage_factor, 2) in (2.09, 2.10)  # for 19 or 18


@pytest.mark.parametrize("freedom", [1, 3, 7, 9, 49, 103, 2.5])
def test_one_input_keeps_its_degrees_of_freedom(freedom: float) -> None:
    assert one("x/3", {"x": measured(1.0, 0.1, freedom)}).degrees_of_freedom == freedom


def test_correlated_inputs_of_unlike_degrees_of_freedom_have_none() -> None:
    inputs = {"x": measured(1.0, 0.1, 5), "y": measured(1.0, 0.1, 6), "z": measured(1.0, 0.1, 7)}
    pairs = [("x", "y", 0.5)]
    found = propagate(of("f = x + y; g = x + z; h = z", "f", "g", "h"), inputs, pairs)
    assert found.results["f"].degrees_of_freedom is None and "different degrees of freedom" in found.results["f"].messages[0]
    assert found.results["f"].coverage_factor == pytest.approx(1.96, abs=0.001)
    assert found.results["g"].degrees_of_freedom == pytest.approx(4 / (1 / 5 + 1 / 7)) and not found.results["g"].messages
    assert found.results["h"].degrees_of_freedom == 7


def test_less_than_one_degree_of_freedom_is_not_truncated() -> None:
    result = one("x", {"x": measured(1.0, 0.1, 0.5)})
    assert result.degrees_of_freedom == 0.5 and "less than one" in result.messages[0]
    assert result.coverage_factor > coverage_factor(0.95, 1)[0]


def test_given_coverage_factor_is_used() -> None:
    result = one("x", {"x": measured(1.0, 0.1, 3)}, coverage_factor=2.0)
    assert result.expanded_uncertainty == 0.2 and result.interval == (0.8, 1.2) and result.degrees_of_freedom == 3


# --- budgets


def test_shares_sum_to_one_and_may_be_negative() -> None:
    result = one("x - y", {"x": measured(1.0, 0.3), "y": measured(1.0, 0.1)}, ("x", "y", 0.9))
    assert result.standard_uncertainty == pytest.approx(math.sqrt(0.09 + 0.01 - 2 * 0.9 * 0.03), rel=1e-14)
    assert [row.share for row in result.budget] == pytest.approx([(0.09 - 0.027) / 0.046, (0.01 - 0.027) / 0.046], rel=1e-13)


def test_no_uncertainty_has_no_shares() -> None:
    for inputs in ({"x": measured(1.0, 0.0)}, {"x": 1.0}):
        result = one("2*x", inputs)
        assert result.standard_uncertainty == 0.0 and result.interval == (2.0, 2.0) and result.degrees_of_freedom is None
        assert [row.share for row in result.budget] == [None] * len(result.budget)
    found = propagate(of("f = x; g = 2*y", "f", "g"), {"x": 1.0, "y": measured(1.0, 0.1)})
    assert found.correlation == {"f": {"f": None, "g": None}, "g": {"f": None, "g": 1.0}}


def test_perfect_correlation_cancels() -> None:
    result = one("x - y + z", {"x": measured(1.0, 0.3), "y": measured(2.0, 0.3), "z": 1.0}, ("x", "y", 1.0))
    assert result.standard_uncertainty == 0.0
    result = one("2*x + 3*y", {"x": measured(1.0, 0.3), "y": measured(2.0, 0.2)}, ("x", "y", 1.0))
    assert result.standard_uncertainty == pytest.approx(1.2, rel=1e-14)


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(0.0, 2.0)), min_size=1, max_size=5), st.integers(0, 99))
def test_linear_functions_of_correlated_inputs(terms: Sequence[tuple[float, float]], seed: int) -> None:
    """The variance is c' C c for a covariance matrix C, and the shares sum to 1."""
    n = len(terms)
    root = np.random.default_rng(seed).normal(size=(n, n))
    matrix = root @ root.T
    matrix = matrix / np.sqrt(np.outer(np.diag(matrix), np.diag(matrix)))
    text = " + ".join(f"({c!r})*x{k}" for k, (c, _) in enumerate(terms))
    pairs = [(f"x{i}", f"x{j}", float(np.clip(matrix[i, j], -1, 1))) for i in range(n) for j in range(i)]
    result = one(text, {f"x{k}": measured(1.0, u) for k, (_, u) in enumerate(terms)}, *pairs)
    signed = np.array([c * u for c, u in terms])
    variance = float(signed @ matrix @ signed)
    assert result.standard_uncertainty**2 == pytest.approx(variance, rel=1e-9, abs=1e-12 * float(np.max(signed**2)))
    if result.standard_uncertainty:
        assert sum(row.share or 0.0 for row in result.budget) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_uncertainties_of_any_size(size: float) -> None:
    """No square overflows or underflows."""
    result = one("3*x + 4*y", {"x": measured(0.0, size), "y": measured(0.0, size)}, order=2)
    assert result.standard_uncertainty == pytest.approx(5.0 * size, rel=1e-15)
    assert result.second_order is not None and result.second_order.standard_uncertainty == pytest.approx(5.0 * size, rel=1e-15)
    assert [row.share for row in result.budget] == pytest.approx([0.36, 0.64], rel=1e-14)


# --- inputs


def test_readings() -> None:
    found = from_readings([1.0, 2.0, 4.0])
    assert (found.value, found.uncertainty, found.degrees_of_freedom) == pytest.approx(
        (7 / 3, math.sqrt(7 / 9), 2.0), rel=1e-15
    )
    assert from_readings([5.0, 5.0]).uncertainty == 0.0
    assert from_readings([1e308, -1e308, 1.5e308]).value == pytest.approx(0.5e308)
    assert from_readings([1e-300, 3e-300]).uncertainty == pytest.approx(1e-300, rel=1e-15)
    assert from_readings([1e9 + 1, 1e9 + 2, 1e9 + 3]).uncertainty == pytest.approx(1 / math.sqrt(3), rel=1e-15)


@for_each(
    ("distribution", "parameters", "variance"),
    [
        # JCGM 101, 6.4.2 to 6.4.6, with a half-width of 2.
        ("uniform", {}, 4 / 3),
        ("triangular", {}, 4 / 6),
        ("arcsine", {}, 4 / 2),
        ("trapezoidal", {"beta": 0.5}, 4 * 1.25 / 6),
        ("trapezoidal", {"beta": 0.0}, 4 / 6),
        ("trapezoidal", {"beta": 1.0}, 4 / 3),
        ("curvilinear_trapezoid", {"half_width_uncertainty": 0.5}, 4 / 3 + 0.25 / 9),
        ("curvilinear_trapezoid", {"half_width_uncertainty": 0.0}, 4 / 3),
    ],
)
def test_standard_uncertainty_of_a_distribution(distribution: str, parameters: dict[str, float], variance: float) -> None:
    estimate = bounded(1.0, 2.0, distribution, parameters)
    assert estimate.uncertainty == pytest.approx(math.sqrt(variance), rel=1e-15) and math.isinf(estimate.degrees_of_freedom)
    drawn = estimate.draw(np.random.default_rng(1), 400_000)
    assert np.mean(drawn) == pytest.approx(1.0, abs=0.01) and np.var(drawn) == pytest.approx(variance, rel=0.01)
    most = 2.0 + parameters.get("half_width_uncertainty", 0.0)
    assert 1.0 - most <= drawn.min() < 1.1 - most and most + 0.9 < drawn.max() <= 1.0 + most


def test_leaves_with_data_are_exact_unless_given() -> None:
    graph = Graph([Node("x", "value", (), 2.0), Node("y", "value", (), 3.0), Node("f", "mul", ("x", "y"))], ("f",))
    result = propagate(graph, {"x": measured(2.0, 0.1)}).results["f"]
    assert result.value == 6.0 and result.standard_uncertainty == pytest.approx(0.3) and len(result.budget) == 1


def test_exact_number_that_a_text_does_not_use() -> None:
    """Every name of a text needs an input, so nothing can have been misspelt."""
    assert one("2*x", {"x": measured(1.0, 0.1), "c": 299792458.0}).value == 2.0
    graph = Graph([Node("x", "value", (), 2.0)], ("x",))
    with pytest.raises(UnknownNode):
        propagate(graph, {"c": 1.0})


# --- what is wrong

X: dict[str, float | Estimate] = {"x": measured(1.0, 0.1), "y": measured(1.0, 0.1), "z": measured(1.0, 0.1), "c": 1.0}
XYZ = "x + y + z + c"
Call = Callable[[], object]

FAULTS: list[tuple[Call, type[EngineError], tuple[str | int, ...], str]] = [
    (lambda: measured(math.nan, 1.0), InvalidArgument, ("value",), "finite"),
    (lambda: measured(1.0, -1.0), InvalidArgument, ("u",), "from 0"),
    (lambda: measured(1.0, math.nan), InvalidArgument, ("u",), "from 0"),
    (lambda: measured(1.0, math.inf), InvalidArgument, ("u",), "from 0"),
    (lambda: measured(1.0, 1.0, 0.0), InvalidArgument, ("dof",), "above 0"),
    (lambda: measured(1.0, 1.0, -3.0), InvalidArgument, ("dof",), "above 0"),
    (lambda: measured(1.0, 1.0, math.nan), InvalidArgument, ("dof",), "above 0"),
    (lambda: from_readings([]), InvalidArgument, ("readings",), "no readings"),
    (lambda: from_readings([1.0]), InvalidArgument, ("readings",), "only one reading"),
    (lambda: from_readings([1.0, math.nan]), InvalidArgument, ("readings", 1), "finite"),
    (lambda: bounded(1.0, -1.0, "uniform"), InvalidArgument, ("half_width",), "from 0"),
    (lambda: bounded(math.inf, 1.0, "uniform"), InvalidArgument, ("value",), "finite"),
    (lambda: bounded(1.0, 1.0, "unifrom"), InvalidArgument, ("distribution",), "Did you mean 'uniform'"),
    (lambda: bounded(1.0, 1.0, "trapezoidal"), InvalidArgument, ("beta",), "needs 'beta'"),
    (lambda: bounded(1.0, 1.0, "uniform", {"beta": 0.5}), InvalidArgument, ("beta",), "has no 'beta'"),
    (lambda: bounded(1.0, 1.0, "trapezoidal", {"beta": 1.5}), InvalidArgument, ("beta",), "between 0 and 1"),
    (
        lambda: bounded(1.0, 1.0, "curvilinear_trapezoid", {"half_width_uncertainty": 1.5}),
        InvalidArgument, ("half_width_uncertainty",), "between 0 and the half-width",
    ),
    (lambda: one(XYZ, X, ("x", "w", 0.5)), UnknownNode, ("correlations", 0, 1), "'w'"),
    (lambda: one(XYZ, X, ("x", "y", 0.5), ("c", "y", 0.5)), InvalidArgument, ("correlations", 1, 0), "exact"),
    (lambda: one(XYZ, X, ("x", "x", 1.0)), InvalidArgument, ("correlations", 0), "itself"),
    (lambda: one(XYZ, X, ("x", "y", 1.1)), InvalidArgument, ("correlations", 0, 2), "must be between -1 and 1"),
    (lambda: one(XYZ, X, ("x", "y", math.nan)), InvalidArgument, ("correlations", 0, 2), "between -1 and 1"),
    (lambda: one(XYZ, X, ("x", "y", 0.5), ("y", "x", 0.5)), InvalidArgument, ("correlations", 1), "twice"),
    (
        lambda: one(XYZ, X, ("x", "y", 0.9), ("y", "z", 0.9), ("x", "z", -0.9)),
        InvalidArgument, ("correlations",), "not positive semidefinite",
    ),
    (lambda: one(XYZ, X, ("x", "y", 0.5), order=2), InvalidArgument, ("order",), "independent"),
    (lambda: one(XYZ, X, order=3), InvalidArgument, ("order",), "1 or 2"),
    (lambda: one(XYZ, X, coverage=1.0), InvalidArgument, ("coverage",), "between 0 and 1"),
    (lambda: one(XYZ, X, coverage=math.nan), InvalidArgument, ("coverage",), "between 0 and 1"),
    (lambda: one(XYZ, X, coverage_factor=0.0), InvalidArgument, ("coverage_factor",), "above 0"),
    (lambda: one("x + y", {"x": measured(1.0, 0.1)}), UnboundInput, ("nodes", 1), "'y'"),
    (lambda: one("x", {"x": 1.0, "y": measured(1.0, 0.1)}), UnknownNode, ("inputs", "y"), "'y'"),
    (lambda: one("h = 2*x; h", {"x": 1.0, "h": measured(1.0, 0.1)}), InvalidNode, ("inputs", "h"), "only a leaf"),
    (lambda: one("pi*x", {"x": measured(1.0, 0.1), "pi": 3.0}), InvalidArgument, ("inputs", "pi"), "the constant 3.14"),
    (lambda: one("log(x)", {"x": measured(-1.0, 0.1)}), NonFinite, ("nodes", 1), "log(-1.0)"),
    (lambda: one("sqrt(x)", {"x": measured(0.0, 0.1)}), NonFinite, ("nodes", 1), "gradient"),
    (lambda: one("sqrt(x)**3", {"x": measured(0.0, 0.1)}, order=2), NonFinite, ("nodes", 1), ""),
    (lambda: one("1e300*x", {"x": measured(0.0, 1e300)}), NonFinite, ("inputs", "x"), "contribution"),
    (lambda: one("x + y", {"x": measured(0.0, 1.5e308), "y": measured(0.0, 1.5e308)}), NonFinite, (), "uncertainty"),
    (lambda: one("x", {"x": measured(0.0, 1e308)}, coverage_factor=1e10), NonFinite, (), "expanded"),
    (lambda: one("x", {"x": measured(0.0, 1.0, 1e-4)}), NonFinite, (), "expanded"),
]  # fmt: skip


@for_each(("call", "kind", "place", "words"), FAULTS)
def test_fault_is_said_with_its_place(call: Call, kind: type[EngineError], place: tuple[str | int, ...], words: str) -> None:
    with pytest.raises(EngineError) as error:
        call()
    assert type(error.value) is kind and error.value.place == place and words in error.value.detail


def test_singular_matrix_is_a_correlation_matrix() -> None:
    """x and y determine each other, so both have the same correlation with z."""
    inputs = {name: measured(1.0, 1.0) for name in "xyz"}
    result = one("x + y + z", inputs, ("x", "y", 1.0), ("x", "z", 0.3), ("y", "z", 0.3))
    assert result.standard_uncertainty == pytest.approx(math.sqrt(3 + 2 * (1 + 0.3 + 0.3)), rel=1e-14)


def test_checkpoint_stops_the_work() -> None:
    class StopError(Exception):
        pass

    def stop() -> None:
        raise StopError

    with pytest.raises(StopError):
        propagate(parse("x"), {"x": measured(1.0, 0.1)}, checkpoint=stop)


def test_no_value_is_taken_at_a_displaced_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """All derivatives are exact: whatever is evaluated is evaluated at the estimates."""
    taken = []

    def recorded(graph: Graph, inputs: Mapping[str, Any], everything: bool = False) -> Any:
        taken.append(dict(inputs))
        return bind(graph, inputs, everything)

    monkeypatch.setattr(transforms, "bind", recorded)
    inputs: dict[str, Any] = {"x": measured(1.0, 0.1), "y": measured(2.0, 0.2), "c": 3.0}
    propagate(of("f = exp(x)*y**c; g = x/y", "f", "g"), inputs, (), PropagateOptions(order=2))
    assert len(taken) > 4 and all(point == {"x": 1.0, "y": 2.0, "c": 3.0} for point in taken)

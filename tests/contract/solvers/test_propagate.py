"""POST /v1/propagate: what it answers, in which forms it takes inputs, and what it refuses."""

import json
import math
from typing import Any

import pytest

from tests.contract.conftest import Post
from tests.contract.wire import graph, json_of, leaf, node, problem
from tests.rows import for_each

IMPEDANCE: dict[str, Any] = {
    "expression": "R = V/I*cos(phi); X = V/I*sin(phi); Z = V/I",
    "outputs": ["R", "X", "Z"],
    "inputs": {
        "V": {"value": 4.999, "u": 0.0032},
        "I": {"value": 0.019661, "u": 0.0000095},
        "phi": {"value": 1.04446, "u": 0.00075},
        "c": 299792458,
    },
    "correlations": [["V", "I", -0.36], ["V", "phi", 0.86], ["I", "phi", -0.65]],
    "coverage": 0.95,
    "coverage_factor": None,
    "order": 1,
    "monte_carlo": {"samples": 1000000, "seed": 1},
}
"""Every field of a request; the numbers are those of GUM, H.2."""


def test_resistance_and_reactance(post: Post) -> None:
    """GUM, table H.4; its uncertainties come from unrounded correlations, so they differ in the last digit."""
    found = json_of(post("propagate", **IMPEDANCE))
    assert list(found) == ["results", "correlation"] and list(found["results"]) == ["R", "X", "Z"]
    published = {"R": (127.732, 0.071), "X": (219.847, 0.295), "Z": (254.260, 0.236)}
    for name, (value, uncertainty) in published.items():
        result = found["results"][name]
        assert result["value"] == pytest.approx(value, abs=0.0005)
        assert result["standard_uncertainty"] == pytest.approx(uncertainty, abs=0.0015)
        assert result["degrees_of_freedom"] is None and result["coverage_factor"] == pytest.approx(1.96, abs=0.0001)
        assert result["expanded_uncertainty"] == result["coverage_factor"] * result["standard_uncertainty"]
        assert result["interval"] == [result["value"] - result["expanded_uncertainty"], sum_of(result)]
        assert [row["input"] for row in result["budget"]] == ["V", "I", "phi"]
        assert sum(row["share"] for row in result["budget"]) == pytest.approx(1.0, rel=1e-12)
        for row in result["budget"]:
            assert row["contribution"] == pytest.approx(abs(row["sensitivity"]) * row["uncertainty"], rel=1e-14)
        simulation = result["monte_carlo"]
        assert simulation["agrees"] is True and "second_order" not in result and "message" not in result
        assert simulation["standard_uncertainty"] == pytest.approx(result["standard_uncertainty"], rel=0.005)
    assert found["correlation"]["R"]["X"] == found["correlation"]["X"]["R"] == pytest.approx(-0.588, abs=0.004)
    assert found["correlation"]["X"]["Z"] == pytest.approx(0.993, abs=0.001) and found["correlation"]["R"]["R"] == 1.0


def sum_of(result: dict[str, Any]) -> float:
    return float(result["value"] + result["expanded_uncertainty"])


def test_end_gauge(post: Post) -> None:
    """GUM, H.1: 32 nm, or 34 nm with second order, 16 degrees of freedom, 93 nm at 99 %."""
    inputs = {
        "l_s": {"value": 50000623, "u": 25, "dof": 18},
        "d": {"value": 215, "u": 9.7, "dof": 25.6},
        "d_alpha": {"value": 0, "u": 0.58e-6, "dof": 50},
        "theta": {"value": -0.1, "u": 0.41},
        "alpha_s": {"value": 11.5e-6, "half_width": 2e-6, "distribution": "uniform"},
        "d_theta": {"value": 0, "u": 0.029, "dof": 2},
    }
    expression = "l_s + d - l_s*(d_alpha*theta + alpha_s*d_theta)"
    found = json_of(post("propagate", expression=expression, inputs=inputs, coverage=0.99, order=2))
    (result,) = found["results"].values()
    assert round(result["standard_uncertainty"]) == 32 and math.trunc(result["degrees_of_freedom"]) == 16
    assert round(result["expanded_uncertainty"]) == 93
    assert round(result["second_order"]["standard_uncertainty"]) == 34


def test_same_request_has_the_same_bytes_wherever_it_runs(post: Post) -> None:
    """Small requests run on the event loop, large ones in the pool."""
    body = json.dumps({**IMPEDANCE, "monte_carlo": {"samples": 100}, "coverage": 0.9}).encode()
    first = post("propagate", content=body)
    assert first.status_code == 200 and first.content == post("propagate", content=body + b" " * 100_000).content
    large = json.dumps({**IMPEDANCE, "monte_carlo": {"samples": 200_000, "seed": 3}}).encode()
    assert post("propagate", content=large).content == post("propagate", content=large).content


FORMS = [
    ({"value": 2, "u": 0.5}, 0.5, None),
    ({"value": 2.0, "u": 0.5, "dof": 7}, 0.5, 7.0),
    ({"value": 2, "u": 0.5, "dof": None}, 0.5, None),
    ({"readings": [1, 2, 3]}, 1 / math.sqrt(3), 2.0),
    ({"value": 2, "half_width": 3, "distribution": "uniform"}, math.sqrt(3), None),
    ({"value": 2, "half_width": 6, "distribution": "triangular"}, math.sqrt(6), None),
    ({"value": 2, "half_width": 2, "distribution": "arcsine"}, math.sqrt(2), None),
    ({"value": 2, "half_width": 6, "distribution": "trapezoidal", "beta": 0.5}, math.sqrt(7.5), None),
    ({"value": 2, "half_width": 3, "distribution": "curvilinear_trapezoid", "half_width_uncertainty": 3}, 2.0, None),
    (2, 0.0, None),
    (2.0, 0.0, None),
]


@for_each(("given", "uncertainty", "freedom"), FORMS)
def test_forms_of_an_input(post: Post, given: Any, uncertainty: float, freedom: float | None) -> None:
    (result,) = json_of(post("propagate", expression="3*x", inputs={"x": given}))["results"].values()
    assert result["value"] == pytest.approx(6.0) and result["degrees_of_freedom"] == freedom
    assert result["standard_uncertainty"] == pytest.approx(3 * uncertainty, rel=1e-14)
    assert len(result["budget"]) == isinstance(given, dict)


def test_many_readings(post: Post) -> None:
    """A large body is read by compiled code."""
    readings = [1.0, 2.0] * 20_000
    (result,) = json_of(post("propagate", expression="x", inputs={"x": {"readings": readings}}))["results"].values()
    n = len(readings)
    assert result["value"] == 1.5 and result["degrees_of_freedom"] == n - 1
    assert result["standard_uncertainty"] == pytest.approx(math.sqrt(0.25 / (n - 1)), rel=1e-12)


def test_many_inputs_and_correlations(post: Post) -> None:
    """The sum of n quantities of which each two have the correlation r has the variance n + n (n - 1) r."""
    names = [f"a_long_name_of_an_input_{k}" for k in range(120)]
    inputs = {name: {"value": 1.0, "u": 1.0} for name in names}
    pairs = [[a, b, 0.25] for k, a in enumerate(names) for b in names[:k]]
    found = json_of(post("propagate", expression=" + ".join(names), inputs=inputs, correlations=pairs))
    assert found["results"]["output"]["standard_uncertainty"] == pytest.approx(math.sqrt(120 + 120 * 119 * 0.25), rel=1e-12)


def test_graph_with_outputs_of_its_own(post: Post) -> None:
    nodes = [leaf("x", 2.0), leaf("y", 3.0), node("p", "mul", "x", "y"), node("s", "add", "x", "y")]
    expression = {"nodes": nodes, "outputs": ["p", "s"]}
    found = json_of(post("propagate", expression=expression, inputs={"x": {"value": 2, "u": 0.1}}))
    assert {name: result["standard_uncertainty"] for name, result in found["results"].items()} == pytest.approx(
        {"p": 0.3, "s": 0.1}
    )
    assert found["correlation"]["p"]["s"] == pytest.approx(1.0)
    found = json_of(post("propagate", expression=graph(*nodes), inputs={"x": {"value": 2, "u": 0.1}}, outputs=["x", "p"]))
    assert list(found["results"]) == ["x", "p"]


def test_shares_are_null_without_uncertainty(post: Post) -> None:
    found = json_of(post("propagate", expression="0*x", inputs={"x": {"value": 2, "u": 0.1}}, monte_carlo={"samples": 100}))
    (result,) = found["results"].values()
    assert result["standard_uncertainty"] == 0.0 and result["budget"][0]["share"] is None
    assert result["monte_carlo"]["agrees"] is True and found["correlation"] == {"output": {"output": None}}


def test_message_says_why_there_are_no_degrees_of_freedom(post: Post) -> None:
    inputs = {"x": {"value": 1, "u": 0.1, "dof": 3}, "y": {"value": 1, "u": 0.1}}
    found = json_of(post("propagate", expression="x + y", inputs=inputs, correlations=[["x", "y", 0.5]]))
    (result,) = found["results"].values()
    assert result["degrees_of_freedom"] is None and "different degrees of freedom" in result["message"]


UNCERTAIN = {"value": 1, "u": 0.1}
XY: dict[str, Any] = {"expression": "x + y", "inputs": {"x": UNCERTAIN, "y": UNCERTAIN}}


def x_is(given: Any) -> dict[str, Any]:
    return {"expression": "x", "inputs": {"x": given}}


def related(*pairs: Any, **fields: Any) -> dict[str, Any]:
    return XY | {"correlations": list(pairs)} | fields


HALF = {"value": 1, "half_width": 1}
FAULTS: list[tuple[dict[str, Any], str, str]] = [
    (x_is({"value": 1, "u": -0.1}), "invalid-request", "/inputs/x/u"),
    (x_is({"value": 1, "u": "0.1"}), "invalid-request", "/inputs/x/u"),
    (x_is({"value": True, "u": 1}), "invalid-request", "/inputs/x/value"),
    (x_is({"value": 1}), "invalid-request", "/inputs/x/u"),
    (x_is({"u": 1}), "invalid-request", "/inputs/x/value"),
    (x_is({}), "invalid-request", "/inputs/x/value"),
    (x_is({"value": 1, "u": 1, "dof": 0}), "invalid-request", "/inputs/x/dof"),
    (x_is({"value": 1, "u": 1, "dof": -2}), "invalid-request", "/inputs/x/dof"),
    (x_is({"value": 1, "u": 1, "sigma": 2}), "invalid-request", "/inputs/x/sigma"),
    (x_is({"value": 1, "u": 1, "readings": [1, 2]}), "invalid-request", "/inputs/x/value"),
    (x_is({"value": 1, "u": 1, "half_width": 1}), "invalid-request", "/inputs/x/half_width"),
    (x_is({"readings": []}), "invalid-request", "/inputs/x/readings"),
    (x_is({"readings": [1]}), "invalid-request", "/inputs/x/readings"),
    (x_is({"readings": [1, "2"]}), "invalid-request", "/inputs/x/readings/1"),
    (x_is({"readings": 5}), "invalid-request", "/inputs/x/readings"),
    (x_is(HALF), "invalid-request", "/inputs/x/distribution"),
    (x_is({**HALF, "distribution": "normal"}), "invalid-request", "/inputs/x/distribution"),
    (x_is({**HALF, "half_width": -1, "distribution": "uniform"}), "invalid-request", "/inputs/x/half_width"),
    (x_is({**HALF, "distribution": "trapezoidal"}), "invalid-request", "/inputs/x/beta"),
    (x_is({**HALF, "distribution": "trapezoidal", "beta": 2}), "invalid-request", "/inputs/x/beta"),
    (x_is({**HALF, "distribution": "uniform", "beta": 0.5}), "invalid-request", "/inputs/x/beta"),
    (
        x_is({**HALF, "distribution": "curvilinear_trapezoid", "half_width_uncertainty": 2}),
        "invalid-request", "/inputs/x/half_width_uncertainty",
    ),
    (x_is("1"), "invalid-request", "/inputs/x"),
    (x_is(None), "invalid-request", "/inputs/x"),
    (x_is([1, 2]), "invalid-request", "/inputs/x"),
    (x_is(True), "invalid-request", "/inputs/x"),
    ({**x_is(UNCERTAIN), "inputs": {"x": UNCERTAIN, "z": UNCERTAIN}}, "unknown-node", "/inputs/z"),
    ({**XY, "inputs": {"x": UNCERTAIN}}, "unbound-input", "/expression"),
    ({**XY, "outputs": ["z"]}, "unknown-node", "/outputs/0"),
    ({**XY, "outputs": []}, "invalid-request", "/outputs"),
    (related(["x", "z", 0.5]), "unknown-node", "/correlations/0/1"),
    (related(["x", "y", 0.5], inputs={"x": UNCERTAIN, "y": 1}), "invalid-request", "/correlations/0/1"),
    (related(["x", "x", 1]), "invalid-request", "/correlations/0"),
    (related(["x", "y", 1.01]), "invalid-request", "/correlations/0/2"),
    (related(["x", "y", 0.5], ["y", "x", 0.5]), "invalid-request", "/correlations/1"),
    (related(["x", "y"]), "invalid-request", "/correlations/0"),
    (related(["x", 1, 0.5]), "invalid-request", "/correlations/0/1"),
    (related(["x", "y", "0.5"]), "invalid-request", "/correlations/0/2"),
    (related("xy"), "invalid-request", "/correlations/0"),
    (
        {
            "expression": "x + y + z",
            "inputs": {"x": UNCERTAIN, "y": UNCERTAIN, "z": UNCERTAIN},
            "correlations": [["x", "y", 0.9], ["y", "z", 0.9], ["x", "z", -0.9]],
        },
        "invalid-request", "/correlations",
    ),
    (related(["x", "y", 0.5], order=2), "invalid-request", "/order"),
    ({**XY, "order": 3}, "invalid-request", "/order"),
    ({**XY, "order": 1.5}, "invalid-request", "/order"),
    ({**XY, "coverage": 1}, "invalid-request", "/coverage"),
    ({**XY, "coverage": 0}, "invalid-request", "/coverage"),
    ({**XY, "coverage_factor": 0}, "invalid-request", "/coverage_factor"),
    ({**XY, "monte_carlo": {"samples": 1}}, "invalid-request", "/monte_carlo/samples"),
    ({**XY, "monte_carlo": {"samples": 10}}, "invalid-request", "/monte_carlo/samples"),
    ({**XY, "monte_carlo": {"seed": -1}}, "invalid-request", "/monte_carlo/seed"),
    ({**XY, "monte_carlo": {"samples": 1000001}}, "too-large", "/monte_carlo/samples"),
    (
        related(
            ["x", "y", 0.5], inputs={"x": UNCERTAIN, "y": {**HALF, "distribution": "uniform"}}, monte_carlo={"samples": 100}
        ),
        "invalid-request", "/inputs/y",
    ),
    ({"expression": "log(x)", "inputs": {"x": {"value": -1, "u": 0.1}}}, "non-finite", "/expression"),
    ({"expression": "log(x)", "inputs": {"x": {"value": 1, "u": 1}}, "monte_carlo": {}}, "non-finite", "/expression"),
    ({"expression": "1e300*x", "inputs": {"x": {"value": 1, "u": 1e300}}}, "non-finite", "/inputs/x"),
    ({"expression": "x +", "inputs": {"x": UNCERTAIN}}, "syntax-error", "/expression"),
    ({**XY, "nonfinite": "null"}, "invalid-request", "/nonfinite"),
]  # fmt: skip


@for_each(("request_body", "name", "pointer"), FAULTS)
def test_fault_is_a_problem_with_its_place(post: Post, request_body: dict[str, Any], name: str, pointer: str) -> None:
    found = problem(post("propagate", **request_body), name, 422, pointer)
    assert "nonfinite" not in found["detail"] or "nonfinite" in request_body


@pytest.mark.parametrize("literal", ["NaN", "1e999", "-Infinity"])
@pytest.mark.parametrize("field", ["value", "u"])
def test_what_is_no_number(post: Post, field: str, literal: str) -> None:
    given = {"value": "1", "u": "1"} | {field: literal}
    body = f'{{"expression": "x", "inputs": {{"x": {{"value": {given["value"]}, "u": {given["u"]}}}}}}}'
    assert post("propagate", content=body.encode()).status_code in (400, 422)

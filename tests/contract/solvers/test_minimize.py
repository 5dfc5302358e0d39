"""POST /v1/minimize and /v1/minimize/stream."""

import math
from typing import Any

import httpx
import pytest

from tests.contract.conftest import Post
from tests.contract.events import events, read_events
from tests.contract.wire import graph, json_of, leaf, node, problem
from tests.rows import for_each

ROSENBROCK: dict[str, Any] = {
    "expression": "(1-x)**2 + c*(y-x**2)**2",
    "inputs": {"c": 100},
    "initial": {"x": -1.2, "y": 1},
}
METHODS = ("bfgs", "l-bfgs-b", "newton-cg", "trust-ncg", "trust-exact", "slsqp", "trust-constr")


def test_response_has_the_documented_fields(post: Post) -> None:
    found = json_of(post("minimize", **ROSENBROCK))
    assert set(found) == {"minimum", "value", "gradients", "iterations", "evaluations", "converged", "method", "message"}
    assert found["minimum"] == {"x": 1.0, "y": 1.0} and found["value"] == 0.0
    assert found["gradients"] == {"x": 0.0, "y": 0.0} and found["converged"] is True
    assert found["method"] == "trust-exact" and found["message"].startswith("converged")


def test_request_of_the_contract(post: Post) -> None:
    """The minimum on the line x + y = 1 with 0 <= x*y <= 2: the derivative of (1-x)**2 + 100*(1-x-x**2)**2 is 0 there."""
    request = {
        **ROSENBROCK,
        "method": None,
        "bounds": {"x": [0, None]},
        "constraints": [{"expression": "x + y", "equals": 1}, {"expression": "x*y", "min": 0, "max": 2}],
        "starts": 1,
        "seed": 0,
        "tolerance": None,
        "max_iterations": None,
        "trajectory": False,
    }
    found = json_of(post("minimize", **request))
    x, y = found["minimum"]["x"], found["minimum"]["y"]
    assert found["converged"] and x + y == pytest.approx(1.0, abs=1e-14)
    assert -2 * (1 - x) + 200 * (1 - x - x * x) * (-1 - 2 * x) == pytest.approx(0.0, abs=1e-9)
    multipliers = found["multipliers"]
    assert multipliers["constraints"] == pytest.approx([200 * (y - x * x), 0.0], abs=1e-9) and multipliers["bounds"] == {
        "x": 0.0
    }
    assert "'x' was outside its bounds and was moved to the nearest point inside" in found["message"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs(post: Post, method: str) -> None:
    found = json_of(post("minimize", **ROSENBROCK, method=method))
    assert found["converged"] and found["method"] == method
    assert found["minimum"] == pytest.approx({"x": 1.0, "y": 1.0}, abs=1e-12)


def test_multipliers_on_a_disc(post: Post) -> None:
    """The gradient is the multiplier times the gradient of x**2 + y**2, and the limit is an upper one."""
    found = json_of(post("minimize", **ROSENBROCK, constraints=[{"expression": "x**2 + y**2", "max": 1}]))
    (multiplier,) = found["multipliers"]["constraints"]
    assert multiplier < 0.0 and found["multipliers"]["bounds"] == {}
    assert math.hypot(*found["minimum"].values()) == pytest.approx(1.0, abs=1e-14)
    for name in "xy":
        assert found["gradients"][name] == pytest.approx(2 * found["minimum"][name] * multiplier, abs=1e-10)


def test_expressions_may_be_graphs(post: Post) -> None:
    objective = graph(leaf("x"), leaf("a", 3), node("d", "sub", "x", "a"), node("f", "square", "d"))
    constraint = graph(leaf("x"), node("c", "mul", "x", 2))
    found = json_of(
        post("minimize", expression=objective, initial={"x": 0}, constraints=[{"expression": constraint, "max": 4}])
    )
    assert found["minimum"] == pytest.approx({"x": 2.0}) and found["multipliers"]["constraints"] == pytest.approx([-1.0])


def test_data_are_summed_or_averaged(post: Post) -> None:
    request = {"expression": "(y - a - b*x)**2", "inputs": {"x": [0, 1, 2], "y": [1, 3, 5]}, "initial": {"a": 0, "b": 0}}
    shifted = {**request, "inputs": {"x": [0, 1, 2], "y": [1, 3, 8]}}
    assert json_of(post("minimize", **request))["minimum"] == pytest.approx({"a": 1.0, "b": 2.0}, abs=1e-12)
    assert json_of(post("minimize", **shifted))["value"] == pytest.approx(1.5)  # residuals 1/2, -1, 1/2
    assert json_of(post("minimize", **shifted, reduce="mean"))["value"] == pytest.approx(0.5)


def test_trajectory_and_starts(post: Post) -> None:
    found = json_of(post("minimize", **ROSENBROCK, trajectory=True))
    rows = found["trajectory"]
    assert [row["iteration"] for row in rows] == list(range(found["iterations"] + 1))
    assert rows[0] == {
        "iteration": 0,
        "point": {"x": -1.2, "y": 1.0},
        "value": pytest.approx(24.2),
        "gradient_norm": pytest.approx(232.867688),
    }
    wave = {"expression": "sin(x) + x/10", "initial": {"x": 5}, "bounds": {"x": [-18, 20]}}
    one, many = json_of(post("minimize", **wave)), json_of(post("minimize", **wave, starts=20, seed=1))
    assert many["value"] < one["value"] and many["evaluations"] > one["evaluations"]


def test_same_request_has_the_same_bytes(post: Post) -> None:
    request = {**ROSENBROCK, "starts": 4, "seed": 7}
    assert post("minimize", **request).content == post("minimize", **request).content


@for_each(
    ("body", "name", "pointer"),
    [
        ({"initial": {}}, "invalid-request", "/initial"),
        ({"initial": None}, "invalid-request", "/initial"),
        ({"initial": {"x": [1, 2], "y": 1}}, "invalid-request", "/initial/x"),
        ({"initial": {"x": 1, "y": 1, "z": 1}}, "unknown-node", "/initial/z"),
        ({"initial": {"x": 1}}, "unbound-input", "/expression"),
        ({"initial": {"x": 1, "y": 1, "c": 1}}, "invalid-request", "/initial/c"),
        ({"inputs": {"c": 1, "d": 1}}, "unknown-node", "/inputs/d"),
        ({"inputs": {}}, "unbound-input", "/expression"),
        ({"bounds": {"x": [2, 1]}}, "invalid-request", "/bounds/x"),
        ({"bounds": {"x": [2]}}, "invalid-request", "/bounds/x"),
        ({"bounds": {"x": [1, 2, 3]}}, "invalid-request", "/bounds/x"),
        ({"bounds": {"x": ["1", None]}}, "invalid-request", "/bounds/x/0"),
        ({"bounds": {"u": [0, 1]}}, "unknown-node", "/bounds/u"),
        ({"bounds": {"c": [0, 1]}}, "invalid-request", "/bounds/c"),
        ({"method": "powell"}, "invalid-request", "/method"),
        ({"method": "bfgs", "bounds": {"x": [0, 1]}}, "invalid-request", "/method"),
        ({"method": "l-bfgs-b", "constraints": [{"expression": "x", "min": 0}]}, "invalid-request", "/method"),
        ({"constraints": [{"expression": "x"}]}, "invalid-request", "/constraints/0"),
        ({"constraints": [{"expression": "x", "equals": 1, "min": 0}]}, "invalid-request", "/constraints/0"),
        ({"constraints": [{"expression": "x", "min": 1, "max": 0}]}, "invalid-request", "/constraints/0"),
        ({"constraints": [{"expression": "x", "at_most": 1}]}, "invalid-request", "/constraints/0/at_most"),
        ({"constraints": [{"expression": "x +", "min": 1}]}, "syntax-error", "/constraints/0/expression"),
        ({"constraints": [{"expression": "x*q", "min": 1}]}, "unbound-input", "/constraints/0/expression"),
        ({"constraints": [{"expression": "sqrt(x)", "min": 1}]}, "non-finite", "/constraints/0/expression"),
        ({"constraints": [{"expression": graph(leaf("q")), "min": 1}]}, "unbound-input", "/constraints/0/expression/nodes/0"),
        ({"starts": 0}, "invalid-request", "/starts"),
        ({"starts": 10_001}, "invalid-request", "/starts"),
        ({"seed": -1}, "invalid-request", "/seed"),
        ({"tolerance": 0}, "invalid-request", "/tolerance"),
        ({"max_iterations": 0}, "invalid-request", "/max_iterations"),
        ({"trajectory": 1}, "invalid-request", "/trajectory"),
        ({"reduce": "none"}, "invalid-request", "/reduce"),
        ({"wrong": 1}, "invalid-request", "/wrong"),
        ({"expression": "log(x) + y*c"}, "non-finite", "/expression"),
        ({"expression": "x*y*c"}, "not-converged", None),
    ],
)
def test_faults_have_their_place(post: Post, body: dict[str, Any], name: str, pointer: str | None) -> None:
    request = {**ROSENBROCK, **body}
    problem(post("minimize", **request), name, 422, pointer)
    if name != "not-converged":  # which only the search finds out
        problem(post("minimize/stream", **request), name, 422, pointer)


def test_bounds_of_a_wrong_length_are_counted(post: Post) -> None:
    detail = post("minimize", **{**ROSENBROCK, "bounds": {"x": [0]}}).text
    assert "expected [lower, upper], found a list of 1" in detail


def test_constraint_on_a_list_is_refused_at_its_place(post: Post) -> None:
    request = {
        "expression": "(x - t)**2",
        "inputs": {"t": [1, 2, 3]},
        "initial": {"x": 0},
        "constraints": [{"expression": "x", "min": 0}, {"expression": "x*t", "max": 9}],
    }
    problem(post("minimize", **request), "invalid-request", 422, "/constraints/1/expression")


def test_not_finite_gives_no_advice_that_does_not_apply(post: Post) -> None:
    found = problem(post("minimize", expression="log(x)", initial={"x": -1}), "non-finite", 422)
    assert "at the start" in found["detail"] and "nonfinite" not in found["detail"]


def test_too_many_variables_for_a_matrix(post: Post) -> None:
    names = [f"x{k}" for k in range(1001)]
    request = {"expression": "+".join(f"{name}**2" for name in names), "initial": dict.fromkeys(names, 1.0)}
    found = problem(post("minimize", **request, method="bfgs"), "too-large", 422, "/initial")
    assert "AUTODIFF_MAX_VARIABLES" in found["detail"]
    problem(post("minimize", **request, constraints=[{"expression": "x0", "min": 1}]), "too-large", 422, "/initial")
    large = json_of(post("minimize", **request))
    assert large["converged"] and large["value"] < 1e-12 and large["method"] == "trust-ncg"


def test_result_of_the_stream_is_the_response(client: httpx.Client, post: Post) -> None:
    response = client.post("/v1/minimize/stream", json=ROSENBROCK)
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/event-stream")
    found = read_events(response.text)
    assert [name for name, _ in found] == ["progress"] * (len(found) - 1) + ["result"] and len(found) > 1
    assert found[0][1] == {"iteration": 0, "value": pytest.approx(24.2), "gradient_norm": pytest.approx(232.867688)}
    name, data = list(events(iter(response.text.splitlines())))[-1]
    assert name == "result" and data.encode() == post("minimize", **ROSENBROCK).content, "byte for byte"


def test_error_in_the_middle_of_a_stream_is_an_event(client: httpx.Client) -> None:
    response = client.post("/v1/minimize/stream", json={"expression": "x*y", "initial": {"x": 1, "y": 1}})
    found = read_events(response.text)
    assert response.status_code == 200 and [name for name, _ in found if name != "progress"] == ["error"]
    assert found[-1][1]["type"] == "/problems/not-converged" and found[-1][1]["status"] == 422

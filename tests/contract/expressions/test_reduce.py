"""`reduce`: sums and means over the points."""

import math
from typing import Any

import pytest

from tests.contract.conftest import Post
from tests.contract.wire import graph, json_of, leaf, node, problem

LOSS = "(y - a*x)**2"
POINTS: dict[str, Any] = {"a": 2, "x": [1, 2, 3], "y": [3, 3, 3]}
"""The residuals are 1, -1 and -3."""


@pytest.mark.parametrize(("how", "share"), [("sum", 1), ("mean", 3)])
def test_gradient_of_a_sum_of_squares(post: Post, how: str, share: int) -> None:
    found = json_of(post("backward", expression=LOSS, inputs=POINTS, reduce=how, wrt=["a", "y"]))
    assert found["value"] == pytest.approx(11 / share, rel=1e-15)
    assert found["gradients"]["a"] == pytest.approx(-2 * (1 - 2 - 9) / share, rel=1e-15)
    assert found["gradients"]["y"] == pytest.approx([2 / share, -2 / share, -6 / share], rel=1e-15)


def test_every_transform_takes_it(post: Post) -> None:
    assert json_of(post("forward", expression=LOSS, inputs=POINTS, reduce="sum")) == {"output": "output", "value": 11.0}
    tangent = json_of(post("jvp", expression=LOSS, inputs=POINTS, reduce="sum", tangents={"a": 1, "y": [1, 0, 1]}))
    assert tangent == {"output": "output", "value": 11.0, "tangent": 20.0 + 2.0 - 6.0}
    two: dict[str, Any] = {"expression": "f = a*x; g = a**2", "outputs": ["f", "g"], "inputs": {"a": 2, "x": [1, 5]}}
    jacobian = json_of(post("jacobian", **two, reduce="mean"))
    assert jacobian["values"] == {"f": 6.0, "g": 4.0}
    assert jacobian["jacobian"] == {"f": {"a": 3.0, "x": [1.0, 1.0]}, "g": {"a": 4.0, "x": [0.0, 0.0]}}
    hessian = json_of(post("hessian", expression=LOSS, inputs=POINTS, reduce="sum"))
    assert hessian == {"output": "output", "value": 11.0, "gradients": {"a": 20.0}, "hessian": {"a": {"a": 28.0}}}
    product = json_of(post("hvp", expression=LOSS, inputs=POINTS, reduce="sum", tangents={"a": 3}))
    assert product == {"output": "output", "value": 11.0, "gradients": {"a": 20.0}, "hvp": {"a": 84.0}}


def test_a_graph(post: Post) -> None:
    nodes = graph(leaf("a", 2.0), leaf("x"), node("y", "mul", "a", "x"), output="y")
    found = json_of(post("backward", expression=nodes, inputs={"x": [1, 2, 4]}, reduce="sum"))
    assert found == {"output": "y", "value": 14.0, "gradients": {"a": 7.0, "x": [2.0, 2.0, 2.0], "y": [1.0, 1.0, 1.0]}}


def test_values_are_those_at_each_point(post: Post) -> None:
    found = json_of(post("forward", expression="h = a*x; h + 1", inputs={"a": 2, "x": [1, 2]}, reduce="sum", values=True))
    assert found["value"] == 8.0
    assert {"a": 2.0, "x": [1.0, 2.0], "h": [2.0, 4.0], "output": [3.0, 5.0]}.items() <= found["values"].items()


def test_a_sum_is_rounded_once(post: Post) -> None:
    numbers = [1e100, 1.0, -1e100, 1e-30] * 100
    found = json_of(post("backward", expression="a*x", inputs={"a": 1, "x": numbers}, reduce="sum", wrt=["a"]))
    assert found["value"] == found["gradients"]["a"] == math.fsum(numbers)


def test_no_list_and_no_difference(post: Post) -> None:
    request: dict[str, Any] = {"expression": "x*y", "inputs": {"x": 2, "y": 3}}
    assert post("backward", **request, reduce="mean").content == post("backward", **request).content
    assert post("backward", **request, reduce=None).content == post("backward", **request).content


@pytest.mark.parametrize(
    ("operation", "fields", "pointer", "kind"),
    [
        ("hessian", {"wrt": ["a", "x"]}, "/wrt/1", "invalid-request"),
        ("hvp", {"tangents": {"x": 1}}, "/tangents/x", "invalid-request"),
        ("jvp", {"tangents": {"a": [1, 2, 3]}}, "/tangents/a", "shape-mismatch"),
        ("backward", {"cotangent": [1, 2, 3]}, "/cotangent", "shape-mismatch"),
        ("forward", {"reduce": "max"}, "/reduce", "invalid-request"),
        ("check", {}, "/reduce", "invalid-request"),
        ("graph", {}, "/reduce", "invalid-request"),
    ],
)
def test_what_cannot_be_reduced(post: Post, operation: str, fields: dict[str, Any], pointer: str, kind: str) -> None:
    found = problem(post(operation, **{"expression": LOSS, "inputs": POINTS, "reduce": "sum", **fields}), kind, 422)
    assert found["errors"][0]["pointer"] == pointer


def test_an_error_names_the_point(post: Post) -> None:
    request: dict[str, Any] = {"expression": "a*log(x)", "inputs": {"a": 1, "x": [1, 0, 2]}, "reduce": "sum"}
    assert "log(0.0)" in (detail := problem(post("backward", **request), "non-finite", 422)["detail"]) and "point 1" in detail
    found = json_of(post("backward", **request, nonfinite="null"))
    assert found["value"] is None and found["gradients"] == {"a": None, "x": [1.0, None, 0.5]}
    assert {"node": "output", "pass": "forward", "value": "-Infinity"} in found["nonfinite"]


def test_a_sum_that_overflows(post: Post) -> None:
    request: dict[str, Any] = {"expression": "x", "inputs": {"x": [1.7e308, 1.7e308]}}
    assert "too large" in problem(post("forward", **request, reduce="sum"), "non-finite", 422)["detail"]
    assert json_of(post("forward", **request, reduce="mean"))["value"] == 1.7e308

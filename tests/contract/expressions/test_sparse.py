"""`"format": "sparse"` of POST /v1/hessian and /v1/jacobian."""

from typing import Any

import pytest

from tests.contract.conftest import Post
from tests.contract.expressions.cases import MICROGRAD_NODES, TEXTS
from tests.contract.wire import json_of, problem
from tests.rows import for_each

ROSENBROCK = "(1 - x)**2 + 100*(y - x**2)**2"


def whole(matrix: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A sparse Hessian as a table of tables."""
    names = matrix["names"]
    table: dict[str, dict[str, Any]] = {a: dict.fromkeys(names, 0.0) for a in names}
    for row, column, number in zip(matrix["rows"], matrix["columns"], matrix["values"], strict=True):
        assert row >= column
        table[names[row]][names[column]] = table[names[column]][names[row]] = number
    return table


def test_hessian_of_rosenbrock_at_its_standard_start(post: Post) -> None:
    """The numbers of Moré, Garbow and Hillstrom (1981), by row and then by column."""
    found = json_of(post("hessian", expression=ROSENBROCK, inputs={"x": -1.2, "y": 1}, format="sparse"))
    matrix = found["hessian"]
    assert (matrix["names"], matrix["rows"], matrix["columns"]) == (["x", "y"], [0, 1, 1], [0, 0, 1])
    assert matrix["values"] == pytest.approx([1330.0, 480.0, 200.0], rel=1e-13)
    assert found["value"] == pytest.approx(24.2, rel=1e-14)
    assert found["gradients"] == pytest.approx({"x": -215.6, "y": -88.0}, rel=1e-13)


@for_each("name", TEXTS)
def test_hessian_is_the_dense_one(post: Post, name: str) -> None:
    text, inputs = TEXTS[name]
    dense = json_of(post("hessian", expression=text, inputs=inputs))
    found = json_of(post("hessian", expression=text, inputs=inputs, format="sparse"))
    assert (found["value"], found["gradients"]) == (dense["value"], dense["gradients"])
    for a, row in whole(found["hessian"]).items():
        assert row == pytest.approx(dense["hessian"][a], rel=1e-12, abs=1e-12)


def test_jacobian_is_the_dense_one(post: Post) -> None:
    graph = {"nodes": MICROGRAD_NODES, "outputs": ["g", "d", "c"]}
    dense = json_of(post("jacobian", expression=graph, wrt=["a", "b", "d'"]))
    found = json_of(post("jacobian", expression=graph, wrt=["a", "b", "d'"], format="sparse"))
    matrix = found["jacobian"]
    assert found["values"] == dense["values"]
    assert (matrix["outputs"], matrix["names"]) == (["g", "d", "c"], ["a", "b", "d'"])
    assert (matrix["rows"], matrix["columns"]) == ([0, 0, 0, 1, 1, 2, 2], [0, 1, 2, 0, 1, 0, 1])
    for row, column, number in zip(matrix["rows"], matrix["columns"], matrix["values"], strict=True):
        assert number == pytest.approx(dense["jacobian"][matrix["outputs"][row]][matrix["names"][column]], rel=1e-13)


def test_each_value_at_many_points_is_a_list(post: Post) -> None:
    found = json_of(post("hessian", expression="x**3*y", inputs={"x": [1, 2], "y": 5}, format="sparse"))
    assert found["value"] == [5.0, 40.0] and found["gradients"] == {"x": [15.0, 60.0], "y": [1.0, 8.0]}
    assert found["hessian"] == {
        "names": ["x", "y"], "rows": [0, 1], "columns": [0, 0], "values": [[30.0, 60.0], [3.0, 12.0]]
    }  # fmt: skip
    rows = json_of(
        post("jacobian", expression="f = x*y; g = y", outputs=["f", "g"], inputs={"x": [1, 2], "y": 5}, format="sparse")
    )
    assert rows["jacobian"]["values"] == [[5.0, 5.0], [1.0, 2.0], [1.0, 1.0]]


@pytest.mark.parametrize(("reduce", "factor"), [("sum", 1.0), ("mean", 0.5)])
def test_values_may_be_reduced(post: Post, reduce: str, factor: float) -> None:
    """The second derivatives of x**2 a**3 by a are 6 a x**2: at a = 2, 12 and 48."""
    inputs = {"x": [1, 2], "a": 2}
    found = json_of(post("hessian", expression="x**2*a**3", inputs=inputs, reduce=reduce, format="sparse"))
    assert found["hessian"] == {"names": ["a"], "rows": [0], "columns": [0], "values": [60.0 * factor]}
    rows = json_of(post("jacobian", expression="f = x**2*a", outputs=["f"], inputs=inputs, reduce=reduce, format="sparse"))
    values = dict(zip(rows["jacobian"]["names"], rows["jacobian"]["values"], strict=True))
    assert values == {"x": [4.0 * factor, 8.0 * factor], "a": 5.0 * factor}


def test_number_that_is_not_finite_is_an_error_that_names_the_node(post: Post) -> None:
    found = problem(post("hessian", expression="sqrt(x)*y", inputs={"x": 0, "y": 1}, format="sparse"), "non-finite")
    assert "sqrt" in found["detail"]


def test_number_that_is_not_finite_may_be_null(post: Post) -> None:
    fields: dict[str, Any] = {"inputs": {"x": [0, 4], "y": 1}, "nonfinite": "null", "format": "sparse"}
    found = json_of(post("hessian", expression="sqrt(x)*y", **fields))
    assert found["hessian"]["values"] == [[None, -0.03125], [None, 0.25]]
    assert {(row["node"], row["pass"], row["value"], row["point"]) for row in found["nonfinite"]} == {
        ("x", "backward", "Infinity", 0),
        ("x", "backward", "-Infinity", 0),
    }
    at_pole = json_of(post("hessian", expression="f = y/x", **fields))
    assert {(row["node"], row["pass"], row["value"]) for row in at_pole["nonfinite"]} == {
        ("f", "forward", "Infinity"),
        ("x", "backward", "-Infinity"),
        ("y", "backward", "Infinity"),
        ("x", "backward", "Infinity"),
        ("y", "backward", "-Infinity"),
    }
    rows = json_of(post("jacobian", expression="f = log(x)*y", outputs=["f"], **fields))
    assert rows["jacobian"]["values"] == [[None, 0.25], [None, pytest.approx(1.3862943611198906, rel=1e-15)]]
    assert {(row["node"], row["pass"], row["value"]) for row in rows["nonfinite"]} == {
        ("f", "forward", "-Infinity"),
        ("x", "backward", "Infinity"),
        ("y", "backward", "-Infinity"),
    }


def test_branch_that_is_not_taken_is_listed_and_does_no_harm(post: Post) -> None:
    """The entries are the same at all points, so that an optimizer can keep its factorisation."""
    text = "where(x > 0, log(x), x*y)"
    at = [json_of(post("hessian", expression=text, inputs={"x": x, "y": 2}, format="sparse"))["hessian"] for x in (-1, 2)]
    assert at[0]["rows"] == at[1]["rows"] == [0, 1] and at[0]["columns"] == at[1]["columns"] == [0, 0]
    assert at[0]["values"] == [0.0, 1.0] and at[1]["values"] == [-0.25, 0.0]


@pytest.mark.parametrize("operation", ["hessian", "jacobian"])
@pytest.mark.parametrize("format", ["csr", 1, ["sparse"]])
def test_unknown_format_is_an_invalid_request(post: Post, operation: str, format: Any) -> None:
    found = problem(post(operation, expression="x", inputs={"x": 1}, format=format), "invalid-request")
    assert found["errors"][0]["pointer"] == "/format"


def test_many_variables(post: Post) -> None:
    """A dense table of these would have 400,000,000 numbers."""
    n = 20_000
    nodes: list[dict[str, Any]] = [{"id": f"x{k}", "op": "value", "data": k % 7} for k in range(n)]
    nodes += [{"id": f"p{k}", "op": "mul", "args": [f"x{k}", f"x{k + 1}"]} for k in range(n - 1)]
    nodes.append({"id": "f", "op": "sum", "args": [f"p{k}" for k in range(n - 1)]})
    found = json_of(post("hessian", expression={"nodes": nodes, "output": "f"}, format="sparse"))["hessian"]
    assert found["rows"] == list(range(1, n)) and found["columns"] == list(range(n - 1))
    assert found["values"] == [1.0] * (n - 1)

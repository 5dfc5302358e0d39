"""Numbers that are NaN or infinite: an error by default, null if `nonfinite` is "null"."""

from typing import Any

from tests.contract.conftest import Post
from tests.contract.wire import EVALUATED, graph, json_of, leaf, node, problem, smallest
from tests.rows import for_each


@for_each(
    ("operation", "text", "inputs", "words"),
    [
        ("forward", "y = log(x); y*2", {"x": -4}, ["'y'", "log", "-4", "forward", "NaN"]),
        ("forward", "y = x/z; y + 1", {"x": 1, "z": 0}, ["'y'", "divide", "1.0", "0.0", "forward", "Infinity"]),
        ("forward", "y = exp(x); -y", {"x": 1000}, ["'y'", "exp", "1000", "forward", "-Infinity"]),
        ("backward", "y = sqrt(x); y*2", {"x": 0}, ["'y'", "sqrt", "0.0", "backward", "Infinity"]),
        ("backward", "y = log(x); y*2", {"x": -4}, ["'y'", "log", "-4", "forward", "NaN"]),
        ("jvp", "y = sqrt(x); y*2", {"x": 0}, ["'y'", "sqrt", "0.0", "forward"]),
        ("hessian", "y = x**1.5; y*2", {"x": 0}, ["'y'", "pow", "0.0", "1.5", "backward"]),
        ("hvp", "y = x**1.5; y*2", {"x": 0}, ["'y'", "pow", "0.0", "1.5", "backward"]),
        ("jacobian", "y = sqrt(x); y*2", {"x": 0}, ["'y'", "sqrt", "0.0", "backward"]),
        ("check", "y = sqrt(x); y*2", {"x": 0}, ["'y'", "sqrt", "0.0", "backward"]),
        ("graph", "y = log(x); y*2", {"x": -4}, ["'y'", "log", "-4", "forward", "NaN"]),
        ("graph", "y = sqrt(x); y*2", {"x": 0}, ["'y'", "sqrt", "0.0", "backward"]),
    ],
)
def test_error_names_node_operation_arguments_and_pass(
    post: Post, operation: str, text: str, inputs: dict[str, float], words: list[str]
) -> None:
    request = smallest(operation, expression=text, inputs=inputs)
    detail = problem(post(operation, **request), "non-finite", 422)["detail"]
    assert all(word in detail for word in words), detail
    at_points = {name: [1.5, x] for name, x in inputs.items()}
    detail = problem(post(operation, **{**request, "inputs": at_points}), "non-finite", 422)["detail"]
    assert all(word in detail for word in words) and "point 1" in detail, detail


def test_error_points_at_the_node_of_a_graph(post: Post) -> None:
    expression = graph(leaf("x", -1), node("z", "mul", "y", 2), node("y", "log", "x"), output="z")
    problem(post("forward", expression=expression), "non-finite", 422, "/expression/nodes/2")


def test_only_requested_numbers_must_be_finite(post: Post) -> None:
    assert json_of(post("backward", expression="sqrt(x)*y", inputs={"x": 0, "y": 1}, wrt=["y"]))["gradients"] == {"y": 0.0}
    assert json_of(post("forward", expression="sqrt(x)", inputs={"x": 0}))["value"] == 0.0
    expression = graph(leaf("x", -1), node("bad", "log", "x"), node("y", "neg", "x"))
    assert json_of(post("backward", expression=expression))["gradients"] == {"x": -1.0, "bad": 0.0, "y": 1.0}


def test_nonfinite_null_replaces_each_number_by_null(post: Post) -> None:
    found = json_of(post("backward", expression="y = log(x)", inputs={"x": [1, 0, -1]}, nonfinite="null", values=True))
    assert found["value"] == [0.0, None, None] and found["values"] == {"x": [1.0, 0.0, -1.0], "y": [0.0, None, None]}
    assert found["gradients"]["x"] in ([1.0, None, -1.0], [1.0, None, None]) and found["gradients"]["y"] == [1.0] * 3
    rows = found["nonfinite"]
    assert all({"node", "pass", "value"} <= set(row) <= {"node", "pass", "value", "point"} for row in rows)
    assert {("y", "forward", "-Infinity"), ("y", "forward", "NaN"), ("x", "backward", "Infinity")} <= {
        (row["node"], row["pass"], row["value"]) for row in rows
    }


def test_nonfinite_null_at_one_point(post: Post) -> None:
    found = json_of(post("forward", expression="y = 1/x", inputs={"x": 0}, nonfinite="null"))
    assert found == {"output": "y", "value": None, "nonfinite": [{"node": "y", "pass": "forward", "value": "Infinity"}]}


@for_each(
    ("operation", "fields"),
    [
        *(("forward", {}), ("backward", {}), ("hessian", {}), ("hessian", {"format": "sparse"})),
        *(("jvp", {"tangents": {"x": 1}}), ("hvp", {"tangents": {"x": 1}})),
        *(("jacobian", {"outputs": ["f"]}), ("jacobian", {"outputs": ["f"], "format": "sparse"})),
    ],
)
def test_value_is_listed_as_of_the_forward_pass(post: Post, operation: str, fields: dict[str, Any]) -> None:
    rows = json_of(post(operation, expression="f = 1/x", inputs={"x": 0}, nonfinite="null", **fields))["nonfinite"]
    assert {"node": "f", "pass": "forward", "value": "Infinity"} in rows


def test_nonfinite_lists_the_first_20(post: Post) -> None:
    found = json_of(post("forward", expression="y = log(x)", inputs={"x": [-1] * 50}, nonfinite="null"))
    assert found["value"] == [None] * 50 and len(found["nonfinite"]) == 20


def nulls(found: Any) -> int:
    """Return how many numbers of a response are null."""
    if isinstance(found, dict):
        return sum(nulls(value) for key, value in found.items() if key not in ("label", "nonfinite"))
    return sum(map(nulls, found)) if isinstance(found, list) else int(found is None)


FAULTY = {
    "value": ("y = log(x)", {"x": -1}),
    "gradient": ("sqrt(x) + y", {"x": 0, "y": 1}),
    "second": ("x**1.5 + y*y", {"x": 0, "y": 1}),
    "points": ("y = 1/x", {"x": [1, 0, 2]}),
    "dead branch": ("where(x > 0, sqrt(x), 0)", {"x": 0}),
    "numeric": ("0*sqrt(x)", {"x": 0}),
}


@for_each("operation", [operation for operation in EVALUATED if operation != "parse"])
@for_each("case", FAULTY)
def test_every_null_is_listed(post: Post, operation: str, case: str) -> None:
    """By default a non-finite number is an error. With "null", `nonfinite` lists each null of the response."""
    text, inputs = FAULTY[case]
    request = smallest(operation, expression=text, inputs=inputs)
    response = post(operation, **request)
    if response.status_code == 200:
        assert nulls(json_of(response)) == 0, response.text
    else:
        problem(response, "non-finite", 422)
    found = json_of(post(operation, **request, nonfinite="null"))
    if operation in ("check", "graph"):  # several numbers of a row belong to one node
        assert bool(found["nonfinite"]) == (nulls(found) > 0), found
    else:
        assert len(found["nonfinite"]) == nulls(found) < 20, found

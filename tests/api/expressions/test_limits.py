"""Every limit on every endpoint for expressions: a request at the limit is answered, and one over it is refused."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from app.api.expressions import derivatives
from app.engine import sparse, transforms
from app.formats.code import READABLE
from app.service.execution import Job
from tests.rows import for_each
from tests.service.limits import AtLimit, assert_held, assert_too_large, post

LEAVES = ({"id": "x", "op": "value", "data": 1}, {"id": "y", "op": "value", "data": 1})
TEXT = "x*y + x"
GRAPH = {
    "nodes": [*LEAVES, {"id": "p", "op": "mul", "args": ["x", "y"]}, {"id": "s", "op": "add", "args": ["p", "x"]}],
    "output": "s",
}
"""The same four nodes: x, y, their product and the sum."""

TWO_TEXT = "f = x*y; g = x + y"
TWO_GRAPH = {
    "nodes": [*LEAVES, {"id": "f", "op": "mul", "args": ["x", "y"]}, {"id": "g", "op": "add", "args": ["x", "y"]}],
    "outputs": ["f", "g"],
}
"""Four nodes with two outputs."""
BOTH = {"outputs": ["f", "g"]}

ROUTES = ("forward", "backward", "jvp", "jacobian", "hessian", "hvp", "check", "parse", "graph")
WRITTEN: dict[str, dict[str, Any]] = {
    "derivative": {},
    **{f"code {derivatives}": {"language": "c", "derivatives": derivatives} for derivatives in ("none", "gradient", "hessian")},
}
"""Requests to the endpoints that write expressions, beside the expression."""
WITH_POINTS = tuple(route for route in ROUTES if route != "parse")
"""The endpoints that evaluate the expression."""

ONE_POINT = {"x": 1, "y": 1}
X_POINTS = {"x": [1, 2, 3], "y": 1}
ALL_POINTS = {"x": [1, 2, 3], "y": [4, 5, 6]}


def numbers_in(answer: Any) -> int:
    """How many floats a decoded response has. Numbers of arguments are integers, and not counted."""
    if isinstance(answer, dict | list):
        return sum(map(numbers_in, answer.values() if isinstance(answer, dict) else answer))
    return isinstance(answer, float)


# --- texts

NON_ASCII = [
    ("x*x", 3),  # one byte per character
    ("é*é", 5),  # two bytes per letter
    ("変*変", 7),  # three bytes per letter
    ("𐎠", 4),  # one letter of four bytes
    ("x*x # é", 8),  # comment
]


@for_each("route", ROUTES)
@for_each(("text", "size"), NON_ASCII)
def test_length_of_a_text_is_counted_in_bytes(route: str, text: str, size: int) -> None:
    body = {"expression": text, "inputs": {text[0]: 2}}
    if route == "jacobian":
        body["outputs"] = ["output"]
    assert_held(AtLimit(route, body, "max_text", size, ("/expression",)))


@for_each("request_name", WRITTEN)
@for_each(("text", "size"), NON_ASCII)
def test_length_of_a_text_that_is_written_anew(request_name: str, text: str, size: int) -> None:
    body = {"expression": text, **WRITTEN[request_name]}
    assert_held(AtLimit(request_name.split()[0], body, "max_text", size, ("/expression",)))


# --- nodes


@for_each("route", ROUTES)
@for_each(("form", "pointer"), [("text", "/expression"), ("graph", "/expression/nodes")])
def test_nodes(route: str, form: str, pointer: str) -> None:
    body: dict[str, Any] = {"expression": TEXT if form == "text" else GRAPH, "inputs": ONE_POINT}
    assert_held(AtLimit(route, body, "max_nodes", 4, (pointer,)))


@for_each("request_name", WRITTEN)
@for_each(("form", "pointer"), [("text", "/expression"), ("graph", "/expression/nodes")])
def test_nodes_that_are_written_anew(request_name: str, form: str, pointer: str) -> None:
    body = {"expression": TEXT if form == "text" else GRAPH, **WRITTEN[request_name]}
    assert_held(AtLimit(request_name.split()[0], body, "max_nodes", 4, (pointer,)))


def test_nodes_times_second_derivatives() -> None:
    """13 nodes, and 1 + 7 derivatives of each, are 4 * 26."""
    body: dict[str, Any] = {"expression": "a*b*c*d*f*g*h", "language": "c", "derivatives": "hessian"}
    assert post("code", body, max_nodes=26).status_code == 200
    assert_too_large(post("code", body, max_nodes=25), "max_nodes", 100, ())
    assert post("code", {**body, "wrt": list("abcdfg")}, max_nodes=25).status_code == 200
    assert post("code", {**body, "derivatives": "gradient"}, max_nodes=13).status_code == 200


@pytest.mark.parametrize(("over", "written"), [(0, True), (1, False)], ids=["at the limit", "one over"])
def test_nodes_of_an_expression_whose_derivatives_are_written(over: int, written: bool) -> None:
    nodes: list[dict[str, Any]] = [{"id": "x", "op": "value"}]
    nodes += [{"id": f"n{k}", "op": "sin", "args": [nodes[-1]["id"]]} for k in range(READABLE - 1 + over)]
    answer = post("derivative", {"expression": {"nodes": nodes, "output": nodes[-1]["id"]}, "forms": ["text"]}).json()
    assert (answer["derivatives"]["x"]["text"] is not None) == written and len(answer["graph"]["nodes"]) > READABLE


@pytest.mark.parametrize(("under", "written"), [(0, True), (1, False)], ids=["at the limit", "one over"])
def test_nodes_of_all_derivatives_that_are_written(monkeypatch: pytest.MonkeyPatch, under: int, written: bool) -> None:
    """Those of x*y*z are y*z, x*z and x*y, of three nodes each, and a node d_z that is x*y."""
    monkeypatch.setattr(derivatives, "MAX_WRITTEN", 10 - under)
    answer = post("derivative", {"expression": "x*y*z", "forms": ["text"]}).json()
    assert [row["text"] for row in answer["derivatives"].values()] == (["y*z", "x*z", "x*y"] if written else [None] * 3)


def test_nodes_of_several_outputs() -> None:
    for route in ("jacobian", "parse"):
        assert_held(AtLimit(route, {"expression": TWO_GRAPH}, "max_nodes", 4, ("/expression/nodes",)))


def test_numbers_in_a_text_are_nodes_only_where_they_stand_alone() -> None:
    """A number among the arguments of an operation is no node of its own."""
    assert_held(AtLimit("forward", {"expression": "x*2", "inputs": {"x": 1}}, "max_nodes", 2, ("/expression",)))


@pytest.mark.parametrize("route", ROUTES)
def test_arguments(route: str) -> None:
    """Four per node that there may be: a sum of very many numbers is two nodes, and takes as long as very many nodes."""
    nodes = [{"id": "x", "op": "value", "data": 1}, {"id": "s", "op": "sum", "args": ["x", *[1] * 10_003]}]
    body: dict[str, Any] = {"expression": {"nodes": nodes, "output": "s"}}
    if route == "graph":
        body["gradients"] = False
    assert post(route, body, max_nodes=2501).status_code == 200
    refused = post(route, body, max_nodes=2500)
    assert_too_large(refused, "max_nodes", 10_000, ("/expression/nodes",))
    assert "10,004 arguments" in refused.json()["detail"]


@for_each("route", ROUTES)
@for_each("form", ["text", "nodes", "MathJSON"])
def test_arguments_of_a_short_expression(route: str, form: str) -> None:
    """In each form: 13 are more than 12."""
    arguments = ["x"] * 13
    nodes = [{"id": "x", "op": "value"}, {"id": "output", "op": "max", "args": arguments}]
    expression = {
        "text": f"output = max({', '.join(arguments)})",
        "nodes": {"nodes": nodes, "output": "output"},
        "MathJSON": ["Max", *arguments],
    }[form]
    body: dict[str, Any] = {"expression": expression, "inputs": {"x": 1}}
    if route == "jacobian":
        body["outputs"] = ["output"]
    assert post(route, body, max_nodes=4).status_code == 200
    refused = post(route, body, max_nodes=3)
    assert_too_large(refused, "max_nodes", 12, ("/expression/nodes" if form == "nodes" else "/expression",))


# --- points

POINTS = {
    **{f"{route}, inputs": (route, {"inputs": X_POINTS}, "/inputs/x") for route in WITH_POINTS},
    "jvp, tangents": ("jvp", {"inputs": ONE_POINT, "tangents": {"y": [1, 2, 3]}}, "/tangents/y"),
    "hvp, tangents": ("hvp", {"inputs": ONE_POINT, "tangents": {"y": [1, 2, 3]}}, "/tangents/y"),
    "backward, cotangent": ("backward", {"inputs": ONE_POINT, "cotangent": [1, 2, 3]}, "/cotangent"),
    "second input": ("forward", {"inputs": {"x": 1, "y": [1, 2, 3]}}, "/inputs/y"),
}
"""(endpoint, fields, pointer) of requests with three points."""


@for_each(("route", "fields", "pointer"), POINTS.values())
@for_each("expression", [TEXT, GRAPH])
def test_points(route: str, fields: dict[str, Any], pointer: str, expression: Any) -> None:
    assert_held(AtLimit(route, {"expression": expression, **fields}, "max_points", 3, (pointer,)))


@pytest.mark.parametrize("points", [3, 1000], ids=["few", "many"])
@pytest.mark.parametrize("arrays", ["list", "base64"])
def test_points_in_base64(arrays: str, points: int) -> None:
    """The numbers that a text holds are counted, and not its characters."""
    text = base64.b64encode(np.arange(float(points)).tobytes()).decode()
    body = {"expression": TEXT, "inputs": {"x": {"float64": text}, "y": 1}, "arrays": arrays}
    assert_held(AtLimit("forward", body, "max_points", points, ("/inputs/x",)))
    assert_held(AtLimit("backward", {**body, "wrt": ["x", "y"]}, "max_numbers", 3 * points))


@pytest.mark.parametrize("route", WITH_POINTS)
def test_numbers_are_one_point(route: str) -> None:
    """Two points are too many where one is allowed, and plain numbers are one."""
    body = {"expression": TEXT, "inputs": {"x": [1, 2], "y": 3}}
    assert_held(AtLimit(route, body, "max_points", 2, ("/inputs/x",)))
    assert_held(AtLimit(route, {"expression": TEXT, "inputs": ONE_POINT}, "max_nodes", 4, ("/expression",), {"max_points": 1}))


# --- work: nodes times points times passes

PASSES: dict[str, tuple[str, dict[str, Any], int]] = {
    "forward": ("forward", {}, 1),
    "forward with values": ("forward", {"values": True}, 1),
    "backward": ("backward", {}, 2),
    "backward with values": ("backward", {"values": True}, 3),
    "backward by one node": ("backward", {"wrt": ["x"]}, 2),
    "jvp": ("jvp", {"tangents": {"x": 1, "y": 1}}, 3),
    "hessian by two leaves": ("hessian", {}, 4 + 2 * 2),
    "hessian by one node": ("hessian", {"wrt": ["y"]}, 4 + 2 * 1),
    "hvp": ("hvp", {"tangents": {"x": 1}}, 6),
    "hvp by one node": ("hvp", {"tangents": {"x": 1}, "wrt": ["x"]}, 6),
    "check by two leaves": ("check", {}, 3 + 122 * 2),
    "check by one node": ("check", {"wrt": ["x"]}, 3 + 122 * 1),
    "graph": ("graph", {}, 3),
    "graph without gradients": ("graph", {"gradients": False}, 3),
}
"""(endpoint, fields, walks over the graph per point): a check differentiates by each node in 122 evaluations."""


@for_each(("route", "fields", "passes"), PASSES.values())
@for_each("expression", [TEXT, GRAPH])
def test_work(route: str, fields: dict[str, Any], passes: int, expression: Any) -> None:
    assert_held(AtLimit(route, {"expression": expression, "inputs": X_POINTS, **fields}, "max_work", 4 * 3 * passes))


JACOBIAN_PASSES: dict[str, tuple[dict[str, Any], int]] = {
    "two leaves, two outputs": ({"expression": TWO_TEXT, **BOTH}, 2 + 2),
    "one node, two outputs": ({"expression": TWO_TEXT, **BOTH, "wrt": ["x"]}, 2 + 1),
    "two leaves, one output": ({"expression": TWO_TEXT, "outputs": ["f"]}, 2 + 1),
    "three nodes, two outputs": ({"expression": TWO_TEXT, **BOTH, "wrt": ["x", "y", "f"]}, 2 + 2),
    "graph's own two outputs": ({"expression": TWO_GRAPH}, 2 + 2),
    "graph's own outputs, one node": ({"expression": TWO_GRAPH, "wrt": ["y"]}, 2 + 1),
    "graph's outputs replaced": ({"expression": TWO_GRAPH, "outputs": ["g"]}, 2 + 1),
}
"""A Jacobian takes one walk for each node or each output, whichever are fewer."""


@pytest.mark.parametrize(("body", "passes"), JACOBIAN_PASSES.values(), ids=JACOBIAN_PASSES)
def test_work_of_a_jacobian(body: dict[str, Any], passes: int) -> None:
    assert_held(AtLimit("jacobian", {"inputs": X_POINTS, **body}, "max_work", 4 * 3 * passes))


POINTS_OF_SEEDS: dict[str, tuple[str, dict[str, Any], int]] = {
    "backward, cotangent": ("backward", {"cotangent": [1, 2, 3]}, 2),
    "jvp, tangents": ("jvp", {"tangents": {"y": [1, 2, 3]}}, 3),
    "hvp, tangents": ("hvp", {"tangents": {"y": [1, 2, 3]}}, 6),
}


@pytest.mark.parametrize(("route", "fields", "passes"), POINTS_OF_SEEDS.values(), ids=POINTS_OF_SEEDS)
def test_work_at_points_that_only_the_seeds_have(route: str, fields: dict[str, Any], passes: int) -> None:
    assert_held(AtLimit(route, {"expression": TEXT, "inputs": ONE_POINT, **fields}, "max_work", 4 * 3 * passes))


@for_each("route", WITH_POINTS)
def test_work_is_spelled_out(route: str) -> None:
    """At one point, work is nodes times passes."""
    passes = {"forward": 1, "backward": 2, "jvp": 3, "jacobian": 3, "hessian": 8, "hvp": 6, "check": 247, "graph": 3}[route]
    assert_held(AtLimit(route, {"expression": TEXT, "inputs": ONE_POINT}, "max_work", 4 * passes))


# --- numbers of an answer

NUMBERS: dict[str, tuple[str, dict[str, Any], int]] = {
    "forward": ("forward", {"expression": TEXT}, 1),
    "backward, text": ("backward", {"expression": TEXT}, 1 + 2),
    "backward, assigned name": ("backward", {"expression": "p = x*y; p + x"}, 1 + 3),
    "backward, graph": ("backward", {"expression": GRAPH}, 1 + 4),
    "backward by one node": ("backward", {"expression": GRAPH, "wrt": ["x"]}, 1 + 1),
    "backward with values": ("backward", {"expression": TEXT, "values": True}, 1 + 2 + 4),
    "backward by one node with values": ("backward", {"expression": GRAPH, "wrt": ["y"], "values": True}, 1 + 1 + 4),
    "jvp": ("jvp", {"expression": TEXT, "tangents": {"x": 1}}, 2),
    "jacobian": ("jacobian", {"expression": TWO_TEXT, **BOTH}, 2 + 2 * 2),
    "jacobian by one node": ("jacobian", {"expression": TWO_TEXT, **BOTH, "wrt": ["x"]}, 2 + 2 * 1),
    "jacobian of one output": ("jacobian", {"expression": TWO_GRAPH, "outputs": ["g"]}, 1 + 2),
    "jacobian of a graph's outputs": ("jacobian", {"expression": TWO_GRAPH}, 2 + 2 * 2),
    "hessian": ("hessian", {"expression": TEXT}, 1 + 2 + 2 * 2),
    "hessian by one node": ("hessian", {"expression": TEXT, "wrt": ["x"]}, 1 + 1 + 1),
    "hessian by three nodes": ("hessian", {"expression": GRAPH, "wrt": ["x", "y", "p"]}, 1 + 3 + 3 * 3),
    "hvp": ("hvp", {"expression": TEXT, "tangents": {"x": 1}}, 1 + 2 + 2),
    "hvp by one node": ("hvp", {"expression": TEXT, "tangents": {"x": 1}, "wrt": ["y"]}, 1 + 1 + 1),
    "check": ("check", {"expression": TEXT}, 4 * 2),
    "check by one node": ("check", {"expression": TEXT, "wrt": ["x"]}, 4),
}
"""(endpoint, request, numbers of its response per point)."""


@for_each(("route", "body", "numbers"), NUMBERS.values())
def test_numbers_of_an_answer(route: str, body: dict[str, Any], numbers: int) -> None:
    answer = assert_held(AtLimit(route, {"inputs": ALL_POINTS, **body}, "max_numbers", 3 * numbers))
    assert numbers_in(answer.json()) == 3 * numbers


def test_numbers_of_all_values() -> None:
    """With `values`, every node adds one number per point."""
    body = {"expression": TEXT, "inputs": ALL_POINTS, "values": True}
    assert post("forward", body, max_numbers=3 * 5).status_code == 200
    assert_too_large(post("forward", body, max_numbers=3 * 4 - 1), "max_numbers", 11, ())


def test_numbers_of_all_values_and_the_output() -> None:
    body = {"expression": TEXT, "inputs": ALL_POINTS, "values": True}
    answer = assert_held(AtLimit("forward", body, "max_numbers", 3 * (1 + 4)))
    assert numbers_in(answer.json()) == 3 * (1 + 4)


SPARSE: dict[str, tuple[str, dict[str, Any], int]] = {
    "hessian": ("hessian", {"expression": TEXT, "inputs": ONE_POINT}, 1 + 2 + 1),
    "hessian at points": ("hessian", {"expression": TEXT, "inputs": ALL_POINTS}, 3 * (1 + 2 + 1)),
    "hessian of a sum": ("hessian", {"expression": "x*y*y", "wrt": ["y"], "inputs": X_POINTS, "reduce": "sum"}, 1 + 1 + 1),
    "jacobian": ("jacobian", {"expression": TWO_TEXT, "inputs": ONE_POINT, **BOTH}, 2 + 4),
    "jacobian at points": ("jacobian", {"expression": TWO_TEXT, "inputs": ALL_POINTS, **BOTH}, 3 * (2 + 4)),
}
"""(endpoint, request, numbers of its response)."""


@pytest.mark.parametrize(("route", "body", "numbers"), SPARSE.values(), ids=SPARSE)
def test_numbers_of_a_sparse_matrix(route: str, body: dict[str, Any], numbers: int) -> None:
    """Only the entries that are listed count."""
    answer = assert_held(AtLimit(route, {**body, "format": "sparse"}, "max_numbers", numbers))
    assert numbers_in(answer.json()) == numbers


def test_a_matrix_that_fills_in_is_limited_as_a_dense_one() -> None:
    """30 functions of three variables in one square: 6 entries, but more than 12 steps, and 9 numbers in all."""
    terms = " + ".join(f"sin({k}*x)*cos({k}*y)*z" for k in range(1, 31))
    body = {"expression": f"({terms})**2", "inputs": {"x": 1, "y": 2, "z": 3}, "format": "sparse"}
    assert_held(AtLimit("hessian", body, "max_numbers", 1 + 3 + 6))


TANGLED = " + ".join(f"sin({k}*x)*cos({k}*y)*z" for k in range(1, 31))
"""30 functions of three variables: 212 nodes."""


@pytest.mark.parametrize(
    ("route", "fields", "nodes", "passes"),
    [
        ("hessian", {"expression": f"({TANGLED})**2"}, 213, 4 + 2 * 3),
        ("jacobian", {"expression": f"f = {TANGLED}; g = f*f; h = f*g; exp(h)", "outputs": ["f", "g", "h", "output"]}, 215, 5),
        ("jacobian", {"expression": f"f = w*({TANGLED}); g = f*f; f*g", "outputs": ["f", "g", "output"]}, 216, 5),
    ],
    ids=["hessian", "four outputs by three names", "three outputs by four names"],
)
def test_work_of_a_matrix_that_fills_in_is_that_of_a_dense_one(
    route: str, fields: dict[str, Any], nodes: int, passes: int
) -> None:
    inputs = {"x": 1, "y": 2, "z": 3, **({"w": 4} if "w*" in fields["expression"] else {})}
    body = {**fields, "inputs": inputs, "format": "sparse"}
    assert_held(AtLimit(route, body, "max_work", nodes * passes, settings={"max_numbers": 20}))


REDUCED: dict[str, tuple[str, dict[str, Any], int]] = {
    "forward with values": ("forward", {"expression": TEXT, "values": True}, 1 + 3 * 4),
    "backward by a number and a list": ("backward", {"expression": TEXT}, 1 + 1 + 3),
    "backward by an operation": ("backward", {"expression": "p = x*y; p + x", "wrt": ["p"]}, 1 + 3),
    "jvp": ("jvp", {"expression": TEXT, "tangents": {"y": 1}}, 2),
    "jacobian": ("jacobian", {"expression": TWO_TEXT, **BOTH}, 2 + 2 * (1 + 3)),
    "hessian": ("hessian", {"expression": TEXT, "wrt": ["y"]}, 1 + 1 + 1),
    "hvp": ("hvp", {"expression": TEXT, "tangents": {"y": 1}, "wrt": ["y"]}, 1 + 1 + 1),
}
"""(endpoint, request, numbers of its response), where x is a list of three and y a number."""


@pytest.mark.parametrize(("route", "body", "numbers"), REDUCED.values(), ids=REDUCED)
def test_numbers_of_a_sum_over_points(route: str, body: dict[str, Any], numbers: int) -> None:
    request = {"inputs": {"x": [1, 2, 3], "y": 2}, "reduce": "sum", **body}
    answer = assert_held(AtLimit(route, request, "max_numbers", numbers))
    assert numbers_in(answer.json()) <= numbers


@pytest.mark.parametrize(
    ("nodes", "inputs", "numbers"),
    [
        pytest.param([{"id": "y", "op": "value"}], {"y": [1, 2, 3]}, 3 * 2, id="value and gradient of a node at 3 points"),
        pytest.param([{"id": "y", "op": "mul", "args": [2, 3]}], {}, 3 * 2 + 2, id="3 nodes and 2 edges"),
    ],
)
def test_numbers_of_a_drawing(nodes: list[Any], inputs: dict[str, Any], numbers: int) -> None:
    """A number among the arguments is a node of the drawing, so an edge has up to three numbers."""
    body = {"expression": {"nodes": nodes, "output": "y"}, "inputs": inputs}
    answer = assert_held(AtLimit("graph", body, "max_numbers", numbers))
    assert numbers_in(answer.json()) == numbers


@pytest.mark.parametrize(
    ("route", "fields", "numbers"),
    [
        pytest.param("backward", {"cotangent": [1, 2, 3]}, 3, id="cotangent"),
        pytest.param("jvp", {"tangents": {"y": [1, 2, 3]}}, 2, id="tangents of a jvp"),
        pytest.param("hvp", {"tangents": {"y": [1, 2, 3]}}, 5, id="tangents of an hvp"),
    ],
)
def test_numbers_at_points_that_only_the_seeds_have(route: str, fields: dict[str, Any], numbers: int) -> None:
    body = {"expression": TEXT, "inputs": ONE_POINT, **fields}
    assert_held(AtLimit(route, body, "max_numbers", 3 * numbers))


# --- the deadline

ENGINE = [
    *((transforms, name) for name in ("backward", "evaluate", "jvp", "jacobian", "hessian", "hvp", "check_gradients")),
    *((sparse, name) for name in ("hessian", "jacobian")),
]
"""What the endpoints call."""

SPARSE_FORM = {"format": "sparse"}
TIMED: dict[str, tuple[str, dict[str, Any]]] = {
    **{route: (route, {}) for route in WITH_POINTS if route != "graph"},
    "backward with values": ("backward", {"values": True}),
    "forward of a sum": ("forward", {"values": True, "reduce": "sum"}),
    "sparse hessian": ("hessian", SPARSE_FORM),
    "sparse jacobian": ("jacobian", SPARSE_FORM),
}


@pytest.mark.parametrize(("route", "fields"), TIMED.values(), ids=TIMED)
def test_deadline_that_passes_within_the_work_ends_it(
    monkeypatch: pytest.MonkeyPatch, route: str, fields: dict[str, Any]
) -> None:
    depth = 0

    def entered(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            nonlocal depth
            depth += 1
            try:
                return work(*arguments, **options)
            finally:
                depth -= 1

        return run

    def check(job: Job) -> None:
        if depth:
            raise job.deadline_exceeded()

    for module, name in ENGINE:
        monkeypatch.setattr(module, name, entered(getattr(module, name)))
    monkeypatch.setattr(Job, "check", check)
    response = post(route, {"expression": TEXT, "inputs": ALL_POINTS, **fields})
    assert response.status_code == 503 and response.json()["type"] == "/problems/deadline-exceeded"

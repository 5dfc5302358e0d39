"""Expressions on the wire: texts and graph objects, plain and read by compiled code, and what is wrong with them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.expressions.expression import AnyExpression, graph_object, graph_of, with_outputs
from app.api.expressions.models import BackwardRequest, ExpressionRequest, JacobianRequest
from app.engine.graph import Node
from app.service.bodies import EXPLAINED_BYTES, encode, parse
from app.service.problems import Problem
from tests.conftest import times
from tests.rows import for_each
from tests.service.inprocess import job_with

X = {"id": "x", "op": "value"}
Y = {"id": "y", "op": "neg", "args": ["x"]}


JOB = job_with()


def graph_body(*nodes: Any, **fields: Any) -> str:
    """The body of a request about a graph of these nodes."""
    return json.dumps({"expression": {"nodes": list(nodes), **fields}})


def read(body: str | bytes) -> None:
    """Parse a request, and its expression."""
    request = parse(body.encode() if isinstance(body, str) else body, BackwardRequest)
    graph_of(request.expression, JOB)


def refusal(body: str | bytes) -> Problem:
    """The problem with a request."""
    with pytest.raises(Problem) as caught:
        read(body)
    return caught.value


def expression(*nodes: Any, **fields: Any) -> AnyExpression:
    """A graph object as a request has it."""
    return parse(graph_body(*nodes, **fields).encode(), ExpressionRequest).expression


# --- graph objects


@pytest.mark.parametrize("label", [None, "ends with a brace }", "a\\u0041"], ids=["none", "plain", "escape"])
def test_nodes_are_read(label: str | None) -> None:
    labelled = {**Y, "args": ["x", 2.5], "op": "mul"} | ({} if label is None else {"label": label})
    graph = graph_of(expression({**X, "data": 3}, labelled, output="y"), JOB)
    assert list(graph.nodes) == [Node("x", "value", (), 3.0), Node("y", "mul", ("x", 2.5), None, label)]
    assert graph.output == "y"


@pytest.mark.parametrize("count", [1000, 1001])
def test_output_is_proposed_for_at_most_a_thousand_nodes(count: int) -> None:
    nodes = [X, *({"id": f"n{k}", "op": "neg", "args": [f"n{k - 1}" if k else "x"]} for k in range(count - 1))]
    proposal = f': add "output": "n{count - 2}"' if count == 1000 else ""
    assert refusal(graph_body(*nodes)).detail.endswith('a graph needs "output", which names a node' + proposal)


def test_no_output_is_proposed_where_several_nodes_are_left_over() -> None:
    nodes = [X, *({"id": name, "op": "neg", "args": ["x"]} for name in ("y", "z"))]
    assert refusal(graph_body(*nodes)).detail.endswith('a graph needs "output", which names a node')


FAULTS: dict[str, tuple[Any, str, str]] = {
    "no object": (3, "", "expected an object, found a number"),
    "no id": ({"op": "neg"}, "/id", "the field 'id' is required"),
    "no op": ({"id": "y"}, "/op", "the field 'op' is required"),
    "id": ({"id": 3, "op": "neg"}, "/id", "expected a string, found a number"),
    "op": ({"id": "y", "op": None}, "/op", "expected a string, found null"),
    "args": ({"id": "y", "op": "neg", "args": {}}, "/args", "expected a list, found an object"),
    "argument": (
        {"id": "y", "op": "neg", "args": [1, True]},
        "/args/1",
        "expected a node's id or a number, found a boolean",
    ),
    "data": (
        {"id": "y", "op": "value", "data": "3.5"},
        "/data",
        "expected a number, found a string; a number stands without quotes: 3",
    ),
    "label": ({"id": "y", "op": "value", "label": 3}, "/label", "expected a string, found a number"),
    "unknown field": ({"id": "y", "op": "neg", "arg": []}, "/arg", "unknown field 'arg'. Did you mean 'args'?"),
}


@for_each("before", [1, 300])
@for_each(("node", "place", "detail"), FAULTS.values())
def test_fault_in_a_node(node: Any, place: str, detail: str, before: int) -> None:
    leaves = [{"id": f"x{k}", "op": "value", "data": 0.5} for k in range(before)]
    problem = refusal(graph_body(*leaves, node, output="x0"))
    assert problem.kind.name == "invalid-request"
    assert [error.pointer for error in problem.errors] == [f"/expression/nodes/{before}{place}"]
    assert problem.errors[0].detail == detail


OTHER_FAULTS: dict[str, tuple[str, str, str]] = {
    "expression": (
        '{"expression": 3}',
        "/expression",
        "expected an expression as text, as a graph object or as a MathJSON list, found a number",
    ),
    "nodes": ('{"expression": {"nodes": 3}}', "/expression/nodes", "expected a list, found a number"),
    "no nodes": ('{"expression": {"output": "x"}}', "/expression/nodes", "the field 'nodes' is required"),
    "output": ('{"expression": {"nodes": [], "output": 3}}', "/expression/output", "expected a string, found a number"),
    "unknown": (
        '{"expression": {"nodes": [], "ouput": "x"}}',
        "/expression/ouput",
        "unknown field 'ouput'. Did you mean 'output'?",
    ),
    "inputs": ('{"expression": "x", "input": {}}', "/input", "unknown field 'input'. It is called 'inputs' here."),
    "wrt": ('{"expression": "x", "wrt": ["x", 3]}', "/wrt/1", "expected a string, found a number"),
    "nonfinite": ('{"expression": "x", "nonfinite": "nul"}', "/nonfinite", 'expected "error" or "null"'),
    "cotangent": (
        '{"expression": "x", "cotangent": "1"}',
        "/cotangent",
        "expected a number or a list of numbers, found a string",
    ),
    "first key of two": ('{"expression": {"nodes": [{"id": "x", "op": "value", "a": 1}]}}', "/expression/nodes/0/a", "'a'"),
}


@for_each(("body", "place", "detail"), OTHER_FAULTS.values())
def test_fault_in_a_request(body: str, place: str, detail: str) -> None:
    problem = refusal(body)
    assert problem.kind.name == "invalid-request"
    assert [error.pointer for error in problem.errors] == [place]
    assert detail in problem.errors[0].detail


@pytest.mark.parametrize(
    ("node", "kind"),
    [
        (b'{"id":1}', "invalid-request"),
        (b'{"id":"\xff","op":"value"}', "invalid-json"),
        (b'{"id":"x","op":"value","data":NaN}', "invalid-json"),
        (b'{"id":"x","op":"value"', "invalid-json"),
    ],
)
def test_fault_in_a_large_graph(node: bytes, kind: str) -> None:
    """Too large to be decoded again to say more."""
    body = b'{"expression":{"nodes":[%s%s],"output":"x"}}' % (b" " * EXPLAINED_BYTES, node)
    problem = refusal(body)
    assert problem.kind.name == kind and len(problem.detail) < 300


# --- outputs


@for_each(
    ("fields", "several", "kind", "place"),
    [
        ({}, False, "invalid-request", "/expression/output"),
        ({}, True, "invalid-request", "/expression/output"),
        ({"output": "x", "outputs": ["x"]}, True, "invalid-request", "/expression/output"),
        ({"outputs": ["x"]}, False, "invalid-request", "/expression/outputs"),
        ({"outputs": []}, True, "invalid-request", "/expression/outputs"),
        ({"outputs": ["z"]}, True, "unknown-node", "/expression/outputs/0"),
        ({"outputs": ["x", "z"]}, True, "unknown-node", "/expression/outputs/1"),
        ({"output": "z"}, False, "unknown-node", "/expression/output"),
    ],
)
def test_outputs_that_do_not_fit(fields: dict[str, Any], several: bool, kind: str, place: str) -> None:
    with pytest.raises(Problem) as caught:
        graph_of(expression(X, Y, **fields), JOB, several=several)
    assert caught.value.kind.name == kind
    assert [error.pointer for error in caught.value.errors] == [place]
    assert not caught.value.detail.endswith('either "output"'), "either without an or"


@pytest.mark.parametrize(("outputs", "place"), [([], "/outputs"), (["x", "z"], "/outputs/1")])
def test_outputs_of_the_request_that_do_not_fit(outputs: list[str], place: str) -> None:
    with pytest.raises(Problem) as caught:
        with_outputs(graph_of(expression(X, Y, output="x"), JOB), outputs)
    assert [error.pointer for error in caught.value.errors] == [place]


def test_outputs_of_graphs_and_texts() -> None:
    assert graph_of(expression(X, Y, output="y"), JOB).outputs == ("y",)
    several = graph_of(expression(X, Y, outputs=["y", "x"]), JOB, several=True)
    assert several.outputs == with_outputs(several, None).outputs == ("y", "x")
    assert with_outputs(several, ["x", "x"]).outputs == ("x",)
    text = graph_of("f = x; g = f*x", JOB)
    assert text.outputs == ("g",) and with_outputs(text, ["g", "f"]).outputs == ("g", "f")


def test_graph_object_survives_the_wire() -> None:
    graph = graph_of("h = tanh(w*x + 1); (h - y)**2", JOB)
    body = b'{"expression": %s}' % encode(graph_object(graph.nodes, graph.outputs))
    again = graph_of(parse(body, JacobianRequest).expression, JOB, several=True)
    assert list(again.nodes) == list(graph.nodes) and again.outputs == graph.outputs


def test_graph_object_keeps_numbers_of_zero() -> None:
    nodes = (Node("x", "value", (), 0.0), Node("y", "mul", ("x", 0.0), None, ""))
    found = json.loads(encode(graph_object(nodes, ("y",))))
    assert found["nodes"] == [
        {"id": "x", "op": "value", "data": 0.0},
        {"id": "y", "op": "mul", "args": ["x", 0.0], "label": ""},
    ]


# --- texts and limits


@pytest.mark.parametrize("text", ["x +", "sn(x)", "a = 1; a = 2", "sin(x, x)", "q" * 200])
def test_fault_in_a_text_is_at_the_text(text: str) -> None:
    with pytest.raises(Problem) as caught:
        graph_of(text, JOB, ("loss", "expression"))
    assert [error.pointer for error in caught.value.errors] == ["/loss/expression"]


@pytest.mark.parametrize("size", [10, 10_000], ids=["cached", "not cached"])
def test_same_text_gives_an_equal_graph(size: int) -> None:
    text = "+".join(["x"] * size)
    assert list(graph_of(text, JOB).nodes) == list(graph_of(text, JOB).nodes)


def test_limits_name_their_setting() -> None:
    with pytest.raises(Problem, match="the text has 9 bytes; the limit is 8, and AUTODIFF_MAX_TEXT raises it"):
        graph_of("x + y + z", job_with(max_text=8))
    with pytest.raises(Problem, match="the text has 10 bytes"):  # of UTF-8, not characters
        graph_of("é + é + é"[:8], job_with(max_text=9))
    with pytest.raises(Problem, match="AUTODIFF_MAX_NODES") as caught:
        graph_of(expression(X, Y, output="y"), job_with(max_nodes=1))
    assert caught.value.kind.status == 422
    assert [error.pointer for error in caught.value.errors] == ["/expression/nodes"]
    with pytest.raises(Problem, match="AUTODIFF_MAX_NODES"):
        graph_of("x + y", job_with(max_nodes=2))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["x", "value", "neg"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "op", "args", "data", "nodes", "output", "x", ""]) | st.text(), inner, max_size=4
        )
    ),
    max_leaves=12,
)
FIELDS = ["expression", "inputs", "wrt", "cotangent", "values", "nonfinite", "other"]


@times(2)
@given(st.dictionaries(st.sampled_from(FIELDS), json_values), st.sampled_from([0, 600]))
def test_any_json_is_read_or_refused(body: dict[str, Any], padding: int) -> None:
    """Whatever the body holds, the outcome is a request or a problem, and each pointer leads into the body."""
    try:
        read(json.dumps(body) + " " * padding)
    except Problem as problem:
        for error in problem.errors:
            place: Any = json.loads(json.dumps(body))
            for step in error.pointer.split("/")[1:-1]:
                step = step.replace("~1", "/").replace("~0", "~")
                place = place[int(step) if isinstance(place, list) else step]

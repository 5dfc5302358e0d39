"""POST /v1/derivative: derivatives as formulas and as a graph."""

from typing import Any

import httpx
import pytest

from tests.contract.conftest import Post
from tests.contract.expressions.cases import TEXTS
from tests.contract.wire import assert_mentions, graph, json_of, leaf, node, problem
from tests.rows import for_each


def test_the_example_of_the_contract(post: Post) -> None:
    answer = json_of(post("derivative", expression="x**2*sin(y)", wrt=["x", "y"]))
    assert answer["output"] == "output"
    assert answer["derivatives"]["x"]["text"] == "2*x*sin(y)"
    assert answer["derivatives"]["x"]["latex"] == r"2 x \sin\left(y\right)"
    assert answer["derivatives"]["y"]["text"] == "x**2*cos(y)"
    assert answer["derivatives"]["y"]["mathml"].startswith("<math>")
    assert answer["graph"]["outputs"] == ["output", "d_x", "d_y"] and "renamed" not in answer


@pytest.mark.parametrize(("text", "inputs"), TEXTS.values(), ids=TEXTS)
def test_texts_and_graph_have_the_gradients_of_backward(post: Post, text: str, inputs: dict[str, float]) -> None:
    names = list(inputs)
    want = json_of(post("backward", expression=text, inputs=inputs, wrt=names))["gradients"]
    answer = json_of(post("derivative", expression=text, wrt=names))
    nodes = answer["graph"]["nodes"]
    several = answer["graph"].get("outputs", [answer["output"]])
    whole = {"nodes": nodes, "output": several[0]}
    values = json_of(post("forward", expression=whole, inputs=inputs, values=True))["values"]
    for name, output in zip(names, several[1:], strict=True):
        assert values[output] == pytest.approx(want[name], rel=1e-12)
        found = answer["derivatives"][name]["text"]
        leaves = json_of(post("parse", expression=found))["graph"]["nodes"]
        used = {n: x for n, x in inputs.items() if any(row["id"] == n and row["op"] == "value" for row in leaves)}
        assert json_of(post("forward", expression=found, inputs=used))["value"] == pytest.approx(want[name], rel=1e-12)


def test_forms_that_are_not_asked_for_are_absent(post: Post) -> None:
    row = json_of(post("derivative", expression="x*y", wrt=["x"], forms=["latex"]))["derivatives"]["x"]
    assert row == {"latex": "y"}
    assert json_of(post("derivative", expression="x*y", forms=[]))["derivatives"] == {"x": {}, "y": {}}


def test_large_expressions_come_back_as_a_graph_alone(post: Post) -> None:
    answer = json_of(post("derivative", expression="x" + "*sin(x)" * 1500))
    assert answer["derivatives"] == {"x": {"text": None, "latex": None, "mathml": None}}
    assert len(answer["graph"]["nodes"]) > 3000


def test_names_that_are_none_are_listed(post: Post) -> None:
    answer = json_of(post("derivative", expression=graph(leaf("a b"), node("f", "square", "a b")), forms=["text"]))
    assert answer["renamed"] == {"a b": "a_b"} and answer["derivatives"]["a b"]["text"] == "2*a_b"


def test_numbers_of_leaves_are_defaults_in_graphs_and_constants_in_texts(post: Post) -> None:
    nodes = graph(leaf("x", 3.0), node("f", "pow", "x", 3))
    assert json_of(post("derivative", expression=nodes))["derivatives"]["x"]["text"] == "3*x**2"
    assert json_of(post("derivative", expression="k = 2; k*x", wrt=["x"]))["derivatives"]["x"]["text"] == "k = 2; k"


@for_each(
    ("fields", "name", "pointer"),
    [
        ({"wrt": ["z"]}, "unknown-node", "/wrt/0"),
        ({"wrt": "x"}, "invalid-request", "/wrt"),
        ({"forms": ["png"]}, "invalid-request", "/forms/0"),
        ({"forms": "text"}, "invalid-request", "/forms"),
        ({"inputs": {"x": 1}}, "invalid-request", "/inputs"),
        ({"expression": "x +"}, "syntax-error", "/expression"),
        ({"expression": 5}, "invalid-request", "/expression"),
        ({"expression": graph(leaf("x"), node("y", "sinus", "x"))}, "unknown-primitive", "/expression/nodes/1/op"),
    ],
)
def test_faults(post: Post, fields: dict[str, Any], name: str, pointer: str) -> None:
    problem(post("derivative", **{"expression": "x*y", **fields}), name, 422, pointer)


def test_missing_expression(client: httpx.Client) -> None:
    assert_mentions(problem(client.post("/v1/derivative", json={}), "invalid-request", 422), ["expression"])

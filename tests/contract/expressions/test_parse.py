"""POST /v1/parse: text as a graph object."""

import pytest

from tests.contract.conftest import Post
from tests.contract.expressions.cases import MICROGRAD, TEXTS
from tests.contract.wire import POSTS, graph, json_of, leaf, node, smallest
from tests.rows import for_each


@pytest.mark.parametrize(("text", "inputs"), TEXTS.values(), ids=TEXTS)
def test_a_parsed_text_gives_the_same_bytes(post: Post, text: str, inputs: dict[str, float]) -> None:
    parsed = json_of(post("parse", expression=text, inputs=inputs))["graph"]
    names = list(json_of(post("backward", expression=text, inputs=inputs))["gradients"])
    for operation in ("backward", "hessian", "check"):
        from_text = post(operation, expression=text, inputs=inputs, wrt=names)
        from_graph = post(operation, expression=parsed, wrt=names)
        assert from_text.status_code == 200 and from_text.content == from_graph.content, operation
    assert post("graph", expression=parsed).content == post("graph", expression=text, inputs=inputs).content


@for_each("operation", POSTS)
def test_every_operation_takes_a_parsed_graph(post: Post, operation: str) -> None:
    request = smallest(operation)
    parsed = json_of(post("parse", expression=request["expression"]))["graph"]
    json_of(post(operation, **request | {"expression": parsed}))


def test_parsing_a_parsed_graph_changes_nothing(post: Post) -> None:
    expression = graph(leaf("x", 3.0), node("y", "pow", "x", 2.0, label="x squared"))
    assert json_of(post("parse", expression=expression)) == {"graph": expression}
    again = json_of(post("parse", expression=MICROGRAD))
    assert json_of(post("parse", expression=again["graph"])) == again


def test_ids_of_unnamed_nodes_are_unique_and_stable(post: Post) -> None:
    request = {"expression": "a*b + a*b + sin(a*b)"}
    first, second = post("parse", **request), post("parse", **request)
    assert first.content == second.content
    nodes = json_of(first)["graph"]["nodes"]
    assert len({row["id"] for row in nodes}) == len(nodes)
    assert {row["id"] for row in nodes if row["op"] == "value"} == {"a", "b"}

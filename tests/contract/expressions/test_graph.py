"""POST /v1/graph: nodes and edges with their gradients, as JSON or as Graphviz DOT."""

import json
import math
import re
import shutil
import subprocess
from typing import Any

import httpx
import pytest

from tests.contract.conftest import Post
from tests.contract.expressions.cases import TEXTS
from tests.contract.wire import graph, json_of, label, leaf, node
from tests.rows import for_each

ROW = {"id", "label", "op", "data", "grad", "arity", "is_leaf"}


@for_each(("text", "inputs"), TEXTS.values())
def test_nodes_are_in_topological_order_and_obey_the_chain_rule(post: Post, text: str, inputs: dict[str, float]) -> None:
    found = json_of(post("graph", expression=text, inputs=inputs))
    place = {row["id"]: k for k, row in enumerate(found["nodes"])}
    assert len(place) == len(found["nodes"])
    assert all(set(row) == ROW for row in found["nodes"])
    assert all(set(edge) == {"from", "to", "local_gradient"} for edge in found["edges"])
    assert all(place[edge["from"]] < place[edge["to"]] for edge in found["edges"])
    grad = {row["id"]: row["grad"] for row in found["nodes"]}
    for row in found["nodes"]:
        into = [edge for edge in found["edges"] if edge["to"] == row["id"]]
        assert row["is_leaf"] == (row["op"] == "value") == (not into)
        assert row["arity"] == len(into)
        out = [edge for edge in found["edges"] if edge["from"] == row["id"]]
        if out:
            total = math.fsum(grad[edge["to"]] * edge["local_gradient"] for edge in out)
            assert row["grad"] == pytest.approx(total, rel=1e-12, abs=1e-14), row["id"]
    for name, gradient in json_of(post("backward", expression=text, inputs=inputs))["gradients"].items():
        assert grad[name] == gradient, name


def test_nodes_keep_their_ids_labels_and_data(post: Post) -> None:
    found = json_of(post("graph", expression=graph(leaf("x", 3), node("y", "pow", "x", 2, label="x squared"))))
    rows = {row["id"]: row for row in found["nodes"]}
    assert rows["x"] == {"id": "x", "label": None, "op": "value", "data": 3.0, "grad": 6.0, "arity": 0, "is_leaf": True}
    assert rows["y"] == {"id": "y", "label": "x squared", "op": "pow", "data": 9.0, "grad": 1.0, "arity": 2, "is_leaf": False}
    assert {"from": "x", "to": "y", "local_gradient": 6.0} in found["edges"]


def test_two_uses_of_a_node_are_two_edges(post: Post) -> None:
    edges = json_of(post("graph", expression="y = x - x", inputs={"x": 3}))["edges"]
    assert [(edge["from"], edge["to"], edge["local_gradient"]) for edge in edges] == [("x", "y", 1.0), ("x", "y", -1.0)]


def test_gradients_can_be_left_out(post: Post) -> None:
    found = json_of(post("graph", expression="y = x*x", inputs={"x": 3}, gradients=False))
    assert [set(row) for row in found["nodes"]] == [ROW - {"grad"}] * 2
    assert found["edges"] == [{"from": "x", "to": "y"}] * 2


def test_ids_of_constants_never_clash_with_other_ids(post: Post) -> None:
    """Constants are shown as leaves with ids of their own. The request's ids take precedence."""
    ids = ["y", "y[1]", "y[1]'", "%1", "output"]
    nodes = [leaf(name, k) for k, name in enumerate(ids[1:])]
    found = json_of(post("graph", expression=graph(*nodes, node("y", "sum", 7, 8, *ids[1:]))))
    assert len({row["id"] for row in found["nodes"]}) == len(found["nodes"]) == 7
    assert {row["id"]: row["data"] for row in found["nodes"]}.items() >= {
        name: float(k) for k, name in enumerate(ids[1:])
    }.items()


def dot(client: httpx.Client, request: dict[str, Any]) -> str:
    """Return the DOT text of a graph."""
    response = client.post("/v1/graph", json=request, headers={"Accept": "text/vnd.graphviz"})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].split(";")[0] == "text/vnd.graphviz"
    return response.text


@pytest.mark.parametrize(
    ("text", "number", "gradient"),
    [("acos(-1)*r**2", -1, "-Infinity"), ("r + sqrt(0)", 0, "Infinity"), ("0**r", 0, "Infinity")],
)
def test_infinite_gradient_of_a_constant_is_refused_or_null(post: Post, text: str, number: int, gradient: str) -> None:
    refused = post("graph", expression=text, inputs={"r": 0.5})
    assert refused.status_code == 422 and refused.json()["type"].endswith("/non-finite")
    assert f"the gradient by the number {number} in " in refused.json()["detail"]
    found = json_of(post("graph", expression=text, inputs={"r": 0.5}, nonfinite="null"))
    (constant,) = [row for row in found["nodes"] if row["grad"] is None]
    assert constant["op"] == "value" and constant["data"] == number
    assert found["nonfinite"][0] == {"node": constant["id"], "pass": "backward", "value": gradient}


def test_dot_is_chosen_by_accept(client: httpx.Client) -> None:
    text = dot(client, {"expression": "y = x*x", "inputs": {"x": 3}})
    assert text.lstrip().startswith("digraph") and text.rstrip().endswith("}")
    assert "mul" in text and "data 9" in text and "grad 6" in text
    assert "grad" not in dot(client, {"expression": "y = x*x", "inputs": {"x": 3}, "gradients": False})


HOSTILE_NAMES = ['a"b', "a\\b", "a\\", "{a|b}", "<p>", "w[0]", "é☃", "a -> b; }", "a b", "\\N", "%", "layers.0.weights.3.1"]


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=label)
def test_dot_escapes_any_id_and_label(client: httpx.Client, name: str) -> None:
    """Graphviz, if it is installed, reads the text and shows the name unchanged."""
    expression = graph(leaf(name, 2), {**leaf("q", 3), "label": name}, node("y", "mul", name, "q"))
    text = dot(client, {"expression": expression})
    if not shutil.which("dot"):
        pytest.skip("needs Graphviz")
    result = subprocess.run(["dot", "-Tjson0"], input=text.encode(), capture_output=True, timeout=20)
    assert result.returncode == 0 and not result.stderr, result.stderr
    labels = [row.get("label", "") for row in json.loads(result.stdout)["objects"]]
    bare = re.sub(r"\\(.)", r"\1", " ".join(labels))
    assert bare.count(name) == 2, labels

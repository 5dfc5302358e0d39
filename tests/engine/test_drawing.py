"""Rows of nodes and edges, in which the chain rule is visible, and their text for Graphviz."""

import html
import math
import re
import shutil
import subprocess
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.drawing import EdgeRow, NodeRow, dot, rows
from app.engine.errors import UnboundInput
from app.engine.graph import Graph, Node
from app.engine.text import parse
from app.engine.transforms import backward, evaluate
from tests.engine.conftest import graphs, leaf_values
from tests.rows import for_each

GRAPHVIZ = shutil.which("dot")


@given(graphs(), st.integers(0, 2**32 - 1), st.sampled_from([None, 3, 100]))
def test_the_chain_rule_is_visible(graph: Graph, seed: int, points: int | None) -> None:
    """A node's grad is the sum, over the edges that leave it, of the grad at the other end times the local gradient."""
    inputs = leaf_values(graph, points, seed)
    nodes, edges = rows(graph, inputs)
    grads = {row.id: row.grad for row in nodes}
    assert len(grads) == len(nodes)
    total: dict[str, Any] = defaultdict(float)
    for edge in edges:
        total[edge.origin] += np.multiply(grads[edge.to], edge.local_gradient)
    for row in nodes:
        want = total[row.id] + (1.0 if row.id == graph.output else 0.0)
        size = max(1.0, float(np.abs(row.grad).max()))
        np.testing.assert_allclose(row.grad, want, rtol=0.0, atol=1e-10 * size)


@given(graphs(), st.integers(0, 2**32 - 1), st.sampled_from([None, 3, 100]))
def test_rows_have_the_values_and_gradients_of_the_transforms(graph: Graph, seed: int, points: int | None) -> None:
    inputs = leaf_values(graph, points, seed)
    nodes, edges = rows(graph, inputs)
    values, gradients = evaluate(graph, inputs, everything=True), backward(graph, inputs).gradients
    own = {row.id: row for row in nodes if row.id in graph.index}
    assert len(own) == len(graph.nodes)
    for name, row in own.items():
        node = graph.nodes[graph.index[name]]
        np.testing.assert_allclose(row.data, values[name], rtol=1e-12)
        np.testing.assert_allclose(row.grad, gradients[name], rtol=1e-12, atol=1e-300)
        assert (row.op, row.arity, row.is_leaf, row.label) == (node.op, len(node.args), node.op == "value", node.label)
        into = [edge for edge in edges if edge.to == name]
        assert len(into) == len(node.args)
        for edge, arg in zip(into, node.args, strict=True):
            if isinstance(arg, str):
                assert edge.origin == arg
            else:
                constant = next(row for row in nodes if row.id == edge.origin)
                assert constant.is_leaf and constant.op == "value" and np.all(np.asarray(constant.data) == arg)
    place = {row.id: k for k, row in enumerate(nodes)}
    assert all(place[edge.origin] < place[edge.to] for edge in edges), "arguments come first"


def test_a_small_expression() -> None:
    nodes, edges = rows(parse("y = x**2; 3*y + x"), {"x": 2.0})
    assert nodes == [
        NodeRow("x", None, "value", 2.0, 13.0, 0, True),
        NodeRow("y[1]", None, "value", 2.0, 0.0, 0, True),
        NodeRow("y", None, "pow", 4.0, 3.0, 2, False),
        NodeRow("%1[0]", None, "value", 3.0, 4.0, 0, True),
        NodeRow("%1", None, "mul", 12.0, 1.0, 2, False),
        NodeRow("output", None, "add", 14.0, 1.0, 2, False),
    ]
    assert sorted((edge.origin, edge.to, edge.local_gradient) for edge in edges) == [
        ("%1", "output", 1.0),
        ("%1[0]", "%1", 4.0),
        ("x", "output", 1.0),
        ("x", "y", 4.0),
        ("y", "%1", 3.0),
        ("y[1]", "y", 0.0),
    ]


@for_each(
    ("text", "inputs", "local"),
    [
        ("x*x", {"x": 3.0}, [3.0, 3.0]),
        ("sum(x, y, 1)", {"x": 3.0, "y": 4.0}, [1.0, 1.0, 1.0]),
        ("mean(x, y, 1, x)", {"x": 3.0, "y": 4.0}, [0.25] * 4),
        ("prod(x, y, 2, x)", {"x": 3.0, "y": 4.0}, [24.0, 18.0, 36.0, 24.0]),
        ("prod(x, y, z)", {"x": 0.0, "y": 4.0, "z": 5.0}, [20.0, 0.0, 0.0]),
        ("max(x, y, z)", {"x": 0.0, "y": 4.0, "z": 5.0}, [0.0, 0.0, 1.0]),
        ("max(x, y, z)", {"x": 5.0, "y": 5.0, "z": 5.0}, [0.25, 0.25, 0.5]),
        ("logsumexp(x, x, x, x)", {"x": 0.5}, [0.25] * 4),
        ("sum(x)", {"x": 3.0}, [1.0]),
        ("mean(x)", {"x": 3.0}, [1.0]),
        ("prod(2)", {}, [1.0]),
        ("where(x, y, z)", {"x": 0.0, "y": 4.0, "z": 5.0}, [0.0, 0.0, 1.0]),
        ("pow(x, 3)", {"x": -2.0}, [12.0, 0.0]),
        ("x", {"x": 2.0}, [1.0]),
    ],
)
@for_each("points", [None, 3, 100])
def test_local_gradients(text: str, inputs: dict[str, float], local: list[float], points: int | None) -> None:
    """The derivative of a node by each argument alone, also for a repeated argument and for chains."""
    given = {name: x if points is None else [x] * points for name, x in inputs.items()}
    points = points if inputs else None
    found = [edge.local_gradient for edge in rows(parse(text), given)[1]]
    assert len(found) == len(local)
    for gradient, want in zip(found, local, strict=True):
        np.testing.assert_allclose(np.broadcast_to(gradient, points or 1), want, rtol=2e-15, atol=0.0)


def test_a_value_that_depends_on_no_list_is_one_number() -> None:
    """A value that depends on no list is one number."""
    nodes, _ = rows(parse("c = y*2; c*x"), {"x": [1.0, 2.0, 3.0], "y": 3.0})
    shapes = {row.id: np.shape(row.data) for row in nodes}
    assert shapes == {"x": (3,), "y": (), "c[1]": (), "c": (), "output": (3,)}


def test_no_points_and_no_edges() -> None:
    nodes, edges = rows(Graph((Node("x", "value", data=2.0),), ("x",)))
    assert nodes == [NodeRow("x", None, "value", 2.0, 1.0, 0, True)] and edges == []
    nodes, _ = rows(parse("x*2"), {"x": []})
    assert np.shape(nodes[0].data) == (0,)


def test_constants_get_ids_of_their_own() -> None:
    nodes = (
        Node("f", "add", ("f[0]", 2)),
        Node("f[0]", "value", data=1.0),
        Node("f[1]", "neg", (5,)),
        Node("g", "mul", ("f", "f[1]")),
    )
    found, edges = rows(Graph(nodes, ("g",)))
    ids = [row.id for row in found]
    assert len(set(ids)) == len(ids) == 6
    assert {edge.origin for edge in edges if edge.to == "f"} == {"f[0]", "f[1]'"}


def test_dead_code_is_drawn_with_a_gradient_of_zero() -> None:
    graph = Graph((Node("x", "value", data=2.0), Node("dead", "exp", ("x",)), Node("y", "square", ("x",))), ("y",))
    nodes, edges = rows(graph)
    assert {row.id: row.grad for row in nodes} == {"x": 4.0, "y": 1.0, "dead": 0.0}
    assert EdgeRow("x", "dead", math.exp(2.0)) in edges
    with pytest.raises(UnboundInput):
        rows(Graph((*graph.nodes, Node("unbound", "value")), ("y",)))


# --- the text for Graphviz

NASTY = [
    '"',
    "\\",
    "\\N",
    "\\n",
    "a|b",
    "{a}",
    "<a>",
    "}",
    '"];',
    "a b",
    "  ",
    "é",
    "变量",
    "😀",
    "&amp;",
    "<b>x</b>",
    "a\nb",
    "\x00",
    "\ud800",
    "//",
    "/* x",
    "#",
    "node",
    "subgraph",
    "\\\\\\",
    '\\\\\\"',
    "\u202e",
    "w[0]",
    "x" * 500,
]


def drawn(graph: Graph, gradients: bool = True) -> str:
    return dot(*rows(graph), gradients)


def layout(text: str) -> str:
    """The plain output of Graphviz for a DOT text; fails on any warning."""
    assert GRAPHVIZ
    done = subprocess.run([GRAPHVIZ, "-Tplain"], input=text.encode("utf-8"), capture_output=True, timeout=60, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.decode("utf-8")


def test_dot_text() -> None:
    graph = Graph((Node("x", "value", data=3.0, label="input"), Node("y", "pow", ("x", 2))), ("y",))
    assert drawn(graph) == (
        "digraph expression {\n"
        "  rankdir=LR;\n"
        "  node [fontname=Helvetica, fontsize=11];\n"
        "  edge [fontname=Helvetica, fontsize=9];\n"
        '  n0 [shape=record, label="{ input | data 3 | grad 6 }"];\n'
        '  n1 [shape=record, label="{ data 2 | grad 0 }"];\n'
        '  n2 [shape=record, label="{ y | data 9 | grad 1 }"];\n'
        '  n2op [label="pow"];\n'
        "  n2op -> n2;\n"
        '  n0 -> n2op [label="6"];\n'
        '  n1 -> n2op [label="0"];\n'
        "}\n"
    )
    without = drawn(graph, gradients=False)
    assert "grad" not in without and "data 9" in without and "n0 -> n2op;" in without


def test_every_node_that_the_user_named_has_a_name() -> None:
    """Also one whose id looks like the made-up id of a constant, such as the weight `w[0]`."""
    graph = Graph((Node("w[0]", "value", data=2.0), Node("y[1]'", "mul", ("w[0]", 3))), ("y[1]'",))
    text = drawn(graph)
    assert "w[0]" in text and "y[1]'" in text
    assert text.count("{ data") == 1, "the constant alone has no name"


@pytest.mark.skipif(GRAPHVIZ is None, reason="Graphviz is not installed")
@pytest.mark.parametrize("gradients", [True, False])
def test_graphviz_accepts_any_label(gradients: bool) -> None:
    """No label ends a string, a field or a record: there are as many boxes as nodes, with as many fields."""
    leaves = [Node(f"n{k}", "value", data=float(k), label=label) for k, label in enumerate(NASTY)]
    graph = Graph((*leaves, Node("s", "sum", tuple(node.id for node in leaves))), ("s",))
    text = drawn(graph, gradients)
    found = layout(text).splitlines()
    assert sum(line.startswith("node ") for line in found) == len(NASTY) + 2
    assert sum(line.startswith("edge ") for line in found) == len(NASTY) + 1
    assert text.encode("utf-8").isascii() is False
    for line in text.splitlines():
        if "shape=record" in line:
            fields = re.sub(r"\\.", "", line.split('label="')[1])
            assert fields.count("|") == 1 + gradients and fields.count("{") == fields.count("}") == 1


@pytest.mark.skipif(GRAPHVIZ is None, reason="Graphviz is not installed")
@pytest.mark.parametrize(
    "label", ["a b", "a  b", "{x}|<y>", "back\\slash", '"quoted"', "\\N", "\\n", "a\\nb", "é 变量", "a &amp; b", "a&b", "é"]
)
def test_graphviz_shows_a_label_as_it_is(label: str) -> None:
    """A label is drawn as it is, with its spaces, backslashes, braces and ampersands."""
    assert GRAPHVIZ
    text = drawn(Graph((Node("x", "value", data=1.0, label=label),), ("x",)))
    svg = subprocess.run([GRAPHVIZ, "-Tsvg"], input=text.encode(), capture_output=True, timeout=60, check=True).stdout
    shown = re.findall(r"<text[^>]*>([^<]*)</text>", svg.decode("utf-8"))
    assert [html.unescape(t).replace("\u00a0", " ").strip() for t in shown] == [label, "data 1", "grad 1"]


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_label_is_one_quoted_string_in_one_line(label: str, other: str) -> None:
    graph = Graph((Node("x", "value", data=1.0, label=label), Node("y", "neg", ("x",), label=other)), ("y",))
    text = drawn(graph)
    text.encode("utf-8")
    assert len(text.splitlines()) == len(text.split("\n")) - 1 == 10
    for line in text.splitlines():
        assert re.sub(r"\\.", "", line).count('"') in (0, 2)


def test_many_points_and_unknown_numbers() -> None:
    """Only the first three of many points are shown; None is a number that is not known."""
    nodes, edges = rows(parse("x*2"), {"x": [1.0, 2.0, 3.0, 4.0]})
    text = dot(nodes, edges)
    assert "{ x | data 1, 2, 3, ... | grad 2, 2, 2, ... }" in text
    assert '[label="2, 2, 2, ..."]' in text
    three, _ = rows(parse("x*2"), {"x": [1.0, 2.0, 3.0]})
    assert "{ x | data 1, 2, 3 | grad 2, 2, 2 }" in dot(three, [])
    unknown = [NodeRow("x", None, "value", None, [None, 1.0], 0, True)]  # type: ignore[arg-type]
    assert "{ x | data ? | grad ?, 1 }" in dot(unknown, [])


def test_numbers_have_six_digits() -> None:
    graph = Graph((Node("x", "value", data=1 / 3), Node("y", "mul", ("x", 1e-10)), Node("z", "log", (-1,))), ("y",))
    text = drawn(graph)
    assert "data 0.333333 " in text and "data 3.33333e-11 " in text and "data nan" in text

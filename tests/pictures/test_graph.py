"""Pictures of graphs."""

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.drawing import rows
from app.engine.graph import Graph, Node
from app.engine.interruption import Checkpoint, never
from app.engine.text import parse
from app.pictures.graph import graph_svg
from tests.conftest import times
from tests.engine.conftest import graphs, leaf_values
from tests.pictures.svg import HOSTILE, NAMESPACE, constants_of, elements, read, texts

MICROGRAD = """c = a + b; d = a*b + b**3; c1 = c + c + 1; c2 = c1 + 1 + c1 + (-a); d1 = d + d*2 + relu(b + a)
d2 = d1 + 3*d1 + relu(b - a); e = c2 - d2; f = e**2; g = f/2.0 + 10.0/f"""


def draw(graph: Graph, inputs: Any = None, *, gradients: bool = True, checkpoint: Checkpoint = never) -> bytes:
    """The picture of a graph."""
    nodes, edges = rows(graph, inputs)
    constants = constants_of(graph, [row.id for row in nodes])
    return graph_svg(nodes, edges, output=graph.output, constants=constants, gradients=gradients, checkpoint=checkpoint)


def test_every_number_of_micrograds_example_is_shown() -> None:
    graph, inputs = parse(MICROGRAD), {"a": -4.0, "b": 2.0}
    root = read(draw(graph, inputs))
    shown = texts(root)
    assert {"grad 138.83", "grad 645.58", "data 24.704", "data −4"} <= set(shown)  # micrograd's README: 138.8338, 645.5773
    nodes, edges = rows(graph, inputs)
    groups = {group.get("id"): group for group in elements(root, "g")}
    for k, row in enumerate(nodes):
        group = groups[f"node-{k}"]
        assert group.get("data-id") == row.id
        title = group.find(f"{NAMESPACE}title")
        assert title is not None and title.text is not None
        assert f"data {row.data!r}, grad {row.grad!r}" in title.text, "the tooltip has all digits"
        assert (f"operation-{k}" in groups) == (not row.is_leaf)
    for k, edge in enumerate(edges):
        group = groups[f"edge-{k}"]
        assert (group.get("data-from"), group.get("data-to")) == (edge.origin, edge.to)
        (label,) = group.findall(f"{NAMESPACE}text")
        assert label.text == f"{edge.local_gradient:.5g}".replace("-", "−")
    assert {"+", "×", "÷", "**", "relu"} <= set(shown)


@times(0.25)
@given(graphs(), st.integers(0, 2**32 - 1), st.sampled_from([None, 3]))
def test_any_graph_is_drawn_with_one_element_per_row(graph: Graph, seed: int, points: int | None) -> None:
    inputs = leaf_values(graph, points, seed)
    root = read(draw(graph, inputs))
    nodes, edges = rows(graph, inputs)
    ids = {element.get("id") for element in root.iter()}
    assert {f"node-{k}" for k in range(len(nodes))} | {f"edge-{k}" for k in range(len(edges))} <= ids
    output = [group.get("data-id") for group in elements(root, "g") if "output" in (group.get("class") or "")]
    assert output == [graph.output]


@pytest.mark.parametrize("name", HOSTILE)
def test_ids_and_labels_are_escaped(name: str) -> None:
    nodes = (Node(name, "value", data=2.0), Node("q", "value", data=3.0, label=name), Node("y", "mul", (name, "q")))
    root = read(draw(Graph(nodes, ("y",))))
    visible = "".join(c if c.isprintable() else "\ufffd" for c in name)
    assert texts(root).count(visible) == 2
    assert [group.get("data-id") for group in elements(root, "g") if group.get("id") == "node-0"] == [visible]


def test_gradients_can_be_left_out() -> None:
    shown = texts(read(draw(parse("x*y"), {"x": 2.0, "y": 3.0}, gradients=False)))
    assert shown == ["x", "data 2", "y", "data 3", "×", "output", "data 6"]


def test_points_and_unknown_numbers() -> None:
    shown = texts(read(draw(parse("x*2"), {"x": np.array([1.0, 2.0, 3.0])})))
    assert "data 1, 2, …" in shown and "grad 2, 2, …" in shown
    nodes, edges = rows(parse("x*2"), {"x": 1.0})
    unknown = [type("Row", (), {**{f: getattr(row, f) for f in row.__slots__}, "grad": None})() for row in nodes]
    assert "grad ?" in texts(read(graph_svg(unknown, edges, output="output")))


def test_long_names_are_cut_and_whole_in_the_tooltip() -> None:
    content = draw(Graph((Node("x" * 128, "value", data=1.0),), ("x" * 128,)))
    assert texts(read(content))[0] == "x" * 27 + "…" and content.count(b"x" * 128) > 1


def test_the_bytes_are_those_of_every_run() -> None:
    """If the picture was meant to change, record its hash."""
    content = draw(parse("y = tanh(x*w + b)"), {"x": 1.0, "w": 2.0, "b": -0.5})
    assert hashlib.sha256(content).hexdigest() == "d1f336526c35b823750a35af67445083a802fffacf76759b311c5c4d4808f0b5"


def test_a_checkpoint_ends_the_work() -> None:
    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        draw(parse("x + y"), {"x": 1.0, "y": 2.0}, checkpoint=stop)

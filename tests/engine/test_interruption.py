"""Long work calls its checkpoint between its parts, and an exception raised there stops it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from app.engine import drawing, transforms
from app.engine.faults import Fault, Quantity, explain
from app.engine.graph import Graph
from app.engine.interruption import Checkpoint, never
from app.engine.points import BLOCK_POINTS
from app.engine.text import parse
from tests.rows import for_each

POINTS = 3 * BLOCK_POINTS
GRAPH = parse("a = sin(x)*y; a*x + y")
INPUTS: dict[str, Any] = {"x": np.linspace(0.5, 1.0, POINTS), "y": 2.0}

Work = Callable[[Graph, dict[str, Any], Checkpoint], object]

WORK: dict[str, Work] = {
    "evaluate": lambda g, i, c: transforms.evaluate(g, i, checkpoint=c),
    "backward": lambda g, i, c: transforms.backward(g, i, checkpoint=c),
    "jvp": lambda g, i, c: transforms.jvp(g, i, {"x": 1.0}, checkpoint=c),
    "jacobian": lambda g, i, c: transforms.jacobian(g, i, checkpoint=c),
    "hessian": lambda g, i, c: transforms.hessian(g, i, checkpoint=c),
    "hvp": lambda g, i, c: transforms.hvp(g, i, {"x": 1.0}, checkpoint=c),
    "check_gradients": lambda g, i, c: transforms.check_gradients(g, i, ["y"], checkpoint=c),
    "rows": lambda g, i, c: drawing.rows(g, i, checkpoint=c),
}


class Stopped(Exception):
    """Raised by a checkpoint."""


def stop_at(call: int) -> Checkpoint:
    """A checkpoint that raises when it is called for this time, counted from 1."""
    calls = 0

    def checkpoint() -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Stopped

    return checkpoint


@for_each("call", [1, 3])
@for_each("name", WORK)
def test_work_on_many_points_is_stopped_between_blocks(name: str, call: int) -> None:
    with pytest.raises(Stopped):
        WORK[name](GRAPH, INPUTS, stop_at(call))


@for_each("name", WORK)
def test_work_that_is_never_stopped_ends(name: str) -> None:
    few = {"x": [0.5, 0.6], "y": 2.0}
    assert WORK[name](GRAPH, few, never) is not None


def test_points_walked_one_by_one_are_stopped() -> None:
    with pytest.raises(Stopped):
        transforms.backward(GRAPH, {"x": [0.5] * 10, "y": 2.0}, checkpoint=stop_at(10))


def test_differences_at_one_point_are_stopped() -> None:
    with pytest.raises(Stopped):
        transforms.check_gradients(GRAPH, {"x": 0.5, "y": 2.0}, checkpoint=stop_at(50))


@for_each(("quantity", "call"), [*((quantity, call) for quantity in Quantity for call in (1, 2)), (Quantity.SECOND, 3)])
def test_an_explanation_is_stopped_before_each_of_its_walks(quantity: Quantity, call: int) -> None:
    with pytest.raises(Stopped):
        explain(GRAPH, {"x": 0.5, "y": 2.0}, Fault(quantity, "x", float("nan")), {"x": 1.0}, checkpoint=stop_at(call))


LONG = "+".join(["x*2"] * 3000)


@pytest.mark.parametrize("call", [1, 2, 3])
def test_long_text_is_stopped_within_its_parsing(call: int) -> None:
    with pytest.raises(Stopped):
        parse(LONG, checkpoint=stop_at(call))


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_long_text_that_python_code_reads_is_stopped_too(call: int) -> None:
    with pytest.raises(Stopped):
        parse("+".join([LONG.replace("x", "é")] * 3), checkpoint=stop_at(call))


@pytest.mark.parametrize("call", [1, 15, 30])
@pytest.mark.parametrize("name", ["hessian", "jacobian"])
def test_matrix_at_the_points_of_one_block_is_stopped_between_its_walks(name: str, call: int) -> None:
    graph = parse(" * ".join(f"x{k}" for k in range(32)))
    graph = Graph(graph.nodes, tuple(node.id for node in graph.nodes[-31:]) if name == "jacobian" else graph.outputs)
    with pytest.raises(Stopped):
        WORK[name](graph, {f"x{k}": [1.0] * 64 for k in range(32)}, stop_at(call))


@pytest.mark.parametrize("call", range(1, 9))
def test_drawing_of_many_nodes_is_stopped_within(call: int) -> None:
    """Its nodes are laid out, walked over, and made into rows; each takes long where they are many."""
    graph = parse(LONG)
    with pytest.raises(Stopped):
        drawing.rows(graph, {"x": 1.0}, checkpoint=stop_at(call))

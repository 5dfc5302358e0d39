"""Tapes: instructions, slots, and dead code that is left out."""

import numpy as np
import pytest
from hypothesis import given

from app.engine.binding import bind
from app.engine.graph import Graph, Node
from app.engine.primitives import OPCODE, PRIMITIVES
from app.engine.tape import dependents, record
from app.engine.text import parse
from tests.engine.conftest import graphs
from tests.rows import for_each


def names(graph: Graph, everything: bool = False) -> list[str]:
    """The rows of a graph's instructions in order."""
    return [PRIMITIVES[code].name for code in record(graph.wiring, everything).code[:, 0].tolist()]


@for_each(
    ("text", "rows"),
    [
        ("x", ["identity"]),
        ("x + y", ["add"]),
        ("sum(x)", ["identity"]),
        ("sum(x, y, x, 1)", ["add", "add", "add"]),
        ("mean(x, y)", ["add", "divide"]),
        ("mean(x)", ["identity"]),
        ("max(x, y)", ["max"]),
        ("max(x, y, 2)", ["max", "max"]),
        ("logsumexp(x, y)", ["logaddexp"]),
        ("x**2", ["pow_two"]),
        ("x**3", ["pow_number"]),
        ("x**y", ["pow"]),
        ("2**x", ["pow"]),
        ("2**3", ["pow_number"]),
        ("3**2", ["pow_two"]),
        ("n = 2; x**n", ["pow"]),
        ("div(x, y)", ["divide"]),
        ("where(x, y, 1)", ["where"]),
        ("unused = exp(x); x*2", ["mul"]),
    ],
)
def test_instructions_of_an_expression(text: str, rows: list[str]) -> None:
    assert names(parse(text)) == rows


@given(graphs())
def test_arguments_come_first_and_each_node_has_a_slot(graph: Graph) -> None:
    for everything in (False, True):
        tape = record(graph.wiring, everything)
        for k in range(len(tape.code)):
            assert tape.code[k, 1:].max() < tape.leaves + k
        for node, slot in zip(graph.nodes, tape.slot.tolist(), strict=True):
            if slot < 0:
                assert not everything
            else:
                assert (slot < tape.leaves) == (node.op == "value")
        taken = [slot for slot in tape.slot.tolist() if slot >= 0]
        assert len(set(taken)) == len(taken) == (len(graph.nodes) if everything else graph.wiring.live)
        own = [graph.nodes[position].data for position in tape.source.tolist() if position >= 0]
        assert tape.numbers[tape.source >= 0].tolist() == pytest.approx([np.nan if x is None else x for x in own], nan_ok=True)
        assert tape.unbound.tolist() == np.flatnonzero(np.isnan(tape.numbers)).tolist()


def test_dead_code_is_left_out() -> None:
    graph = Graph((Node("x", "value"), Node("dead", "exp", ("x",)), Node("u", "value"), Node("y", "neg", ("x",))), ("y",))
    assert names(graph) == ["neg"] and names(graph, everything=True) == ["neg", "exp"]
    tape = record(graph.wiring)
    assert tape.slot.tolist() == [0, -1, -1, 1] and tape.slots == 2


def test_a_tape_never_changes() -> None:
    tape = record(parse("x*2 + 1").wiring)
    for array in (tape.code, tape.source, tape.numbers, tape.unbound, tape.slot):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_constants_are_in_their_slots() -> None:
    tape = record(parse("5 - x*2 + mean(x, 7)").wiring)
    assert sorted(tape.numbers[tape.source < 0].tolist()) == [2.0, 2.0, 5.0, 7.0]


def test_dependents() -> None:
    """The unused arguments of an instruction, which are slot 0, do not count."""
    graph = parse("a = neg(y); b = x*2; where(z, a, b)")
    tape = record(graph.wiring)

    def found(name: str) -> set[str]:
        mask = dependents(tape, [int(tape.slot[graph.index[name]])])
        return {node.id for node, slot in zip(graph.nodes, tape.slot.tolist(), strict=True) if mask[slot]}

    assert found("x") == {"x", "b", "output"}
    assert found("y") == {"y", "a", "output"}
    assert found("z") == {"z", "output"}
    assert found("a") == {"a", "output"}
    assert not dependents(tape, [-1]).any() and not dependents(tape, []).any()


def test_bound_at_a_point_and_changed() -> None:
    bound = bind(parse("x*y"), {"x": [1.0, 2.0], "y": 3.0})
    x = int(bound.tape.slot[bound.graph.index["x"]])
    y = int(bound.tape.slot[bound.graph.index["y"]])
    at = bound.at(1)
    assert (at.points, at.columns, at.numbers[x], at.numbers[y]) == (None, {}, 2.0, 3.0)
    assert bound.changed(y, 4.0).numbers[y] == 4.0 and bound.numbers[y] == 3.0
    assert bound.changed(x, np.array([5.0, 6.0])).columns[x].tolist() == [5.0, 6.0]
    assert bound.columns[x].tolist() == [1.0, 2.0]


def test_there_are_fewer_rows_than_a_byte_holds() -> None:
    """Opcodes are bytes."""
    assert len(OPCODE) < 256

"""A graph as rows of nodes and edges with values, gradients and local gradients, and as DOT text for Graphviz."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.engine.binding import Column, Inputs, bind
from app.engine.graph import Graph
from app.engine.interruption import Checkpoint, checked, never
from app.engine.points import Seeds, at_points
from app.engine.primitives import LEAF, PRIMITIVES, Primitive
from app.engine.tape import Tape
from app.engine.transforms import collapse_constants
from app.engine.walk import SlotNumbers, Walk


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node with its value `data` and with `grad`, the derivative of the output by it.

    A number among the arguments of an operation is drawn as a leaf of its own.
    """

    id: str
    label: str | None
    op: str
    data: Column
    grad: Column
    arity: int
    is_leaf: bool


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """An edge from an argument to a node: `local_gradient` is the derivative of node `to` by the argument `origin` alone."""

    origin: str
    to: str
    local_gradient: Column


@dataclass(slots=True)
class _Layout:
    """What to draw of a graph, in topological order, before any number is known.

    For each node, and each number among the arguments, its slot and its id, label, op and arity; for each edge its two ends;
    and for each operation its row, its last instruction and its arity.
    """

    slots: list[int] = field(default_factory=list)
    nodes: list[tuple[str, str | None, str, int]] = field(default_factory=list)
    edges: list[tuple[str, str]] = field(default_factory=list)
    operations: list[tuple[Primitive, int, int]] = field(default_factory=list)


def rows(graph: Graph, inputs: Inputs | None = None, *, checkpoint: Checkpoint = never) -> tuple[list[NodeRow], list[EdgeRow]]:
    """Return all nodes and edges, arguments first.

    The chain rule is visible in them: a node's `grad` is the sum, over the edges that leave it, of the grad at the other end
    times the local gradient. Raises as `transforms` does.
    """
    bound = bind(graph, inputs or {}, everything=True)
    layout = _layout(graph, bound.tape, checkpoint)
    output = int(bound.tape.slot[graph.index[graph.output]])
    slots = layout.slots

    def walks(walk: Walk, seeds: Seeds) -> list[SlotNumbers]:
        adjoints = walk.pull({output: 1.0})
        operations = checked(layout.operations, checkpoint)
        local = [gradient for operation in operations for gradient in _local_gradients(walk, *operation)]
        return [[walk.values[slot] for slot in slots], [adjoints[slot] for slot in slots], local]

    entries = at_points(bound, {}, range(bound.tape.slots), walks, checkpoint)
    n = len(slots)
    values = collapse_constants(bound, slots, entries)
    columns: list[Column] = entries.tolist() if bound.points is None else list(entries)
    node_rows = [
        NodeRow(name, label, op, data, grad, arity, op == LEAF)
        for (name, label, op, arity), data, grad in checked(
            zip(layout.nodes, values, columns[n : 2 * n], strict=True), checkpoint
        )
    ]
    edges = zip(layout.edges, columns[2 * n :], strict=True)
    edge_rows = [EdgeRow(*ends, gradient) for ends, gradient in checked(edges, checkpoint)]
    return node_rows, edge_rows


def _layout(graph: Graph, tape: Tape, checkpoint: Checkpoint) -> _Layout:
    layout = _Layout()
    constants = iter(np.flatnonzero(tape.source < 0).tolist())
    for position in checked(graph.wiring.order.tolist(), checkpoint):
        node = graph.nodes[position]
        slot = int(tape.slot[position])
        for k, arg in enumerate(node.args):
            name = arg if isinstance(arg, str) else _constant_id(graph, node.id, k)
            if not isinstance(arg, str):
                layout.slots.append(next(constants))
                layout.nodes.append((name, None, LEAF, 0))
            layout.edges.append((name, node.id))
        layout.slots.append(slot)
        layout.nodes.append((node.id, node.label, node.op, len(node.args)))
        if node.args:
            row = PRIMITIVES[graph.wiring.opcode[position]]
            layout.operations.append((row, slot - tape.leaves, len(node.args)))
            if row.average and len(node.args) > 1:
                next(constants)  # the number that the sum is divided by
    return layout


def _local_gradients(walk: Walk, row: Primitive, last: int, count: int) -> list[Column]:
    """Return the derivatives of a node by its arguments, along the chain of instructions that ends with `last`."""
    if row.fold is None or count == 1:
        return [walk.partial(last, i) for i in range(count)]
    through: Column = 1.0
    if row.average or (row.shift and count > 2):  # a last instruction after the fold
        through = walk.partial(last, 0)
        last -= 1
    gradients: list[Column] = []
    for k in range(last, last - count + 1, -1):
        gradients.append(through * walk.partial(k, 1))
        through = through * walk.partial(k, 0)
    return [through, *reversed(gradients)]


def _constant_id(graph: Graph, node: str, k: int) -> str:
    """Return an id for the number that is argument k of a node."""
    name = f"{node}[{k}]"
    while name in graph.index:
        name += "'"
    return name


def dot(node_rows: Sequence[Any], edge_rows: Iterable[Any], gradients: bool = True) -> str:
    """Return the rows as DOT text: a record per node, behind an ellipse with its operation, drawn from left to right.

    Edges are labelled with their local gradients. The layout is micrograd's. Takes `NodeRow`s and `EdgeRow`s, or objects with
    the same attributes, in which lists may stand for arrays and None for a number that is not known.
    """
    lines = ["digraph expression {", "  rankdir=LR;", "  node [fontname=Helvetica, fontsize=11];"]
    lines.append("  edge [fontname=Helvetica, fontsize=9];")
    at = {row.id: f"n{k}" for k, row in enumerate(node_rows)}
    edge_rows = list(edge_rows)
    places: dict[str, int] = {}
    constants = set()
    for edge in edge_rows:
        place = places[edge.to] = places.get(edge.to, -1) + 1
        if edge.origin.rstrip("'") == f"{edge.to}[{place}]":
            constants.add(edge.origin)
    for row in node_rows:
        name = row.label or ("" if row.id in constants else row.id)
        fields = [_escape(name)] if name else []
        fields.append(f"data {_number_label(row.data)}")
        if gradients:
            fields.append(f"grad {_number_label(row.grad)}")
        lines.append(f'  {at[row.id]} [shape=record, label="{{ {" | ".join(fields)} }}"];')
        if not row.is_leaf:
            lines.append(f'  {at[row.id]}op [label="{row.op}"];')
            lines.append(f"  {at[row.id]}op -> {at[row.id]};")
    for edge in edge_rows:
        label = f' [label="{_number_label(edge.local_gradient)}"]' if gradients else ""
        lines.append(f"  {at[edge.origin]} -> {at[edge.to]}op{label};")
    lines.append("}")
    return "\n".join(lines) + "\n"


def _number_label(column: Column | list[float | None] | None) -> str:
    """Return a number with six digits, or the first three of many."""
    if isinstance(column, list | np.ndarray):
        return ", ".join(map(_number_label, column[:3])) + (", ..." if len(column) > 3 else "")
    return "?" if column is None else f"{column:.6g}"


def _escape(text: str) -> str:
    """Return a text for a field of a record, with the characters escaped that Graphviz gives a meaning."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    escaped = "".join("\\" + c if c in '\\"{}|<>' else "&amp;" if c == "&" else c for c in plain)
    # Graphviz drops a space next to a character beyond ASCII, and all but one of several spaces.
    return re.sub(r"(?<=[^!-~]) | (?=[^!-~])|^ | $", "&#160;", escaped)

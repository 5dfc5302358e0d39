"""A graph as rows of nodes and edges with values, gradients and local gradients, and as a text for Graphviz.

Not here: pictures, and the wire's form of the rows.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.engine.graph import Graph
from app.engine.primitives import LEAF, PRIMITIVES, Primitive
from app.engine.tape import Column, Inputs, bind
from app.engine.transforms import Seeds, at_points, once
from app.engine.walk import Columns, Walk


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node: its value `data`, and `grad`, the derivative of the output by it. A number argument is a leaf of its own."""

    id: str
    label: str | None
    op: str
    data: Column
    grad: Column
    arity: int
    is_leaf: bool


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """An argument's way into a node: `local_gradient` is the derivative of the node `to` by the argument `origin` alone."""

    origin: str
    to: str
    local_gradient: Column


def rows(graph: Graph, inputs: Inputs | None = None) -> tuple[list[NodeRow], list[EdgeRow]]:
    """All nodes and edges, arguments first. The chain rule is visible in them: a node's `grad` is the sum over its edges
    of the grad at the other end times the local gradient.
    """
    bound = bind(graph, inputs or {}, everything=True)
    tape, nodes = bound.tape, graph.nodes
    output = int(tape.slot[graph.index[graph.output]])
    slots: list[int] = []
    described: list[tuple[str, str | None, str, int]] = []
    ends: list[tuple[str, str]] = []
    links: list[tuple[Primitive, int, int]] = []
    constants = iter(np.flatnonzero(tape.source < 0).tolist())
    for position in graph.wiring.order.tolist():
        node = nodes[position]
        slot = int(tape.slot[position])
        for k, arg in enumerate(node.args):
            name = arg if isinstance(arg, str) else _constant_id(graph, node.id, k)
            if not isinstance(arg, str):
                slots.append(next(constants))
                described.append((name, None, LEAF, 0))
            ends.append((name, node.id))
        slots.append(slot)
        described.append((node.id, node.label, node.op, len(node.args)))
        if node.args:
            row = PRIMITIVES[graph.wiring.opcode[position]]
            links.append((row, slot - tape.leaves, len(node.args)))
            if row.average and len(node.args) > 1:
                next(constants)  # the number that the sum is divided by

    def walks(walk: Walk, seeds: Seeds) -> list[Columns]:
        adjoints = walk.pull({output: 1.0})
        local = [gradient for link in links for gradient in _local_gradients(walk, *link)]
        return [[walk.values[slot] for slot in slots], [adjoints[slot] for slot in slots], local]

    entries = at_points(bound, {}, range(tape.slots), walks)
    n = len(slots)
    values = once(bound, slots, entries)
    columns: list[Column] = entries.tolist() if bound.points is None else list(entries)
    node_rows = [
        NodeRow(name, label, op, data, grad, arity, op == LEAF)
        for (name, label, op, arity), data, grad in zip(described, values, columns[n : 2 * n], strict=True)
    ]
    edge_rows = [EdgeRow(*pair, gradient) for pair, gradient in zip(ends, columns[2 * n :], strict=True)]
    return node_rows, edge_rows


def _local_gradients(walk: Walk, row: Primitive, last: int, count: int) -> list[Column]:
    """The derivatives of a node by its arguments, along the chain of instructions that ends with `last`."""
    if row.fold is None or count == 1:
        return [walk.partial(last, i) for i in range(count)]
    through: Column = 1.0
    if row.average:
        through = walk.partial(last, 0)
        last -= 1
    gradients: list[Column] = []
    for k in range(last, last - count + 1, -1):
        gradients.append(through * walk.partial(k, 1))
        through = through * walk.partial(k, 0)
    return [through, *reversed(gradients)]


def _constant_id(graph: Graph, node: str, k: int) -> str:
    """An id for the number that stands as argument k of a node."""
    name = f"{node}[{k}]"
    while name in graph.index:
        name += "'"
    return name


def dot(node_rows: Sequence[Any], edge_rows: Iterable[Any], gradients: bool = True) -> str:
    """The rows as a text for Graphviz, read from left to right: a record a node, with its operation in an ellipse before
    it, as micrograd draws them; along an edge stands its local gradient. Takes `NodeRow`s and `EdgeRow`s, or what has the
    same attributes, with lists for arrays and None for a number that is not known.
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
        fields = [_escaped(name)] if name else []
        fields.append(f"data {_shown(row.data)}")
        if gradients:
            fields.append(f"grad {_shown(row.grad)}")
        lines.append(f'  {at[row.id]} [shape=record, label="{{ {" | ".join(fields)} }}"];')
        if not row.is_leaf:
            lines.append(f'  {at[row.id]}op [label="{row.op}"];')
            lines.append(f"  {at[row.id]}op -> {at[row.id]};")
    for edge in edge_rows:
        label = f' [label="{_shown(edge.local_gradient)}"]' if gradients else ""
        lines.append(f"  {at[edge.origin]} -> {at[edge.to]}op{label};")
    lines.append("}")
    return "\n".join(lines) + "\n"


def _shown(column: Column | list[float | None] | None) -> str:
    """A number with six digits; of many points the first three."""
    if isinstance(column, list | np.ndarray):
        return ", ".join(map(_shown, column[:3])) + (", ..." if len(column) > 3 else "")
    return "?" if column is None else f"{column:.6g}"


def _escaped(text: str) -> str:
    """A text for a field of a record, in which Graphviz gives meaning to some characters."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    escaped = "".join("\\" + c if c in '\\"{}|<>' else "&amp;" if c == "&" else c for c in plain)
    # Graphviz drops a space beside a character beyond ASCII, and all but one of several.
    return re.sub(r"(?<=[^!-~]) | (?=[^!-~])|^ | $", "&#160;", escaped)

"""A graph as SVG, in the style of micrograd: each value with its data and gradient, behind a round node with its operation.

Element ids follow the rows: `node-3` and `operation-3` are the fourth node, `edge-5` is the sixth edge. Colours are attributes
and not a style sheet, so the picture can stand in a page with a strict content security policy, and the page's own style sheet
can change them.
"""

import unicodedata
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from app.engine.interruption import Checkpoint, never
from app.pictures.layout import Layout, Stop, layout

CHARACTER = 7.3
"""The width of a character of 12 px in a font of fixed width."""
SMALL_CHARACTER = 6.1
"""The same at 10 px."""
LINE = 16.0
MARGIN = 16.0
PAD = 9.0
RADIUS = 13.0
SLOT = 17.0
"""The distance of two edges before an operation, where their labels are."""
FAN = 26.0
"""The length on which the edges come together at an operation."""
STEM = 14.0
"""The length of the line between an operation and its value."""
MAX_NAME = 28
"""Longer names are cut; the tooltip has all of them."""

SYMBOLS = {"add": "+", "sub": "−", "mul": "×", "divide": "÷", "div": "÷", "pow": "**", "neg": "−"}
INK, FAINT, GRADIENT, OPERATION = "#1f2328", "#59636e", "#a33a00", "#fff4d6"
FILLS = {"value": "#ffffff", "leaf": "#e6f1fb", "constant": "#f1f2f4"}
FONT = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"


@dataclass(frozen=True, slots=True)
class _Shape:
    """What is drawn for a row: its lines of text (class and text), the width of its operation, and the sizes of its parts."""

    kind: str
    name: str
    lines: list[tuple[str, str]]
    operation: str
    operation_width: float
    label_width: float
    box_width: float
    box_height: float
    size: tuple[float, float]


def graph_svg(
    node_rows: Sequence[Any],
    edge_rows: Sequence[Any],
    *,
    output: str,
    constants: Container[str] = (),
    gradients: bool = True,
    checkpoint: Checkpoint = never,
) -> bytes:
    """Return the rows as an SVG document in UTF-8, always the same bytes for the same rows.

    Args:
        node_rows: `NodeRow`s in topological order, or objects with the same attributes, in which lists may stand for arrays and
            None for a number that is not known.
        edge_rows: `EdgeRow`s, or objects with the same attributes.
        output: the id of the node that is emphasised.
        constants: the ids that stand for numbers among the arguments, and are not shown.
        gradients: whether gradients and local gradients are shown.
        checkpoint: is called now and then, and may raise to end the work.
    """
    number = {row.id: k for k, row in enumerate(node_rows)}
    labels = [_number(edge.local_gradient) if gradients else "" for edge in edge_rows]
    into: list[list[int]] = [[] for _ in node_rows]
    for k, edge in enumerate(edge_rows):
        into[number[edge.to]].append(k)
    shapes = [
        _shape(row, [labels[e] for e in into[k]], "constant" if row.id in constants else _kind(row), gradients)
        for k, row in enumerate(node_rows)
    ]
    placed = layout([s.size for s in shapes], [(number[e.origin], number[e.to]) for e in edge_rows], checkpoint=checkpoint)
    width, height = placed.width + 2 * MARGIN, placed.height + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="{-MARGIN:g} {-MARGIN:g} {width:.0f} {height:.0f}" role="img" aria-labelledby="graph-title" '
        f'font-family="{FONT}" font-size="12" fill="{INK}">',
        f'<title id="graph-title">{_text(f"Expression graph with {len(shapes)} nodes, output {output}")}</title>',
        f'<rect class="background" x="{-MARGIN:g}" y="{-MARGIN:g}" width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
    ]
    for k, row in enumerate(node_rows):
        # From above, so that edges do not cross in front of the operation.
        order = sorted(into[k], key=lambda e: (_arrival(placed, number, edge_rows[e], e), e))
        for place, e in enumerate(order):
            source = number[edge_rows[e].origin]
            y = placed.middle[k] + SLOT * (place - (len(order) - 1) / 2)
            line = _Line(
                placed.left[source] + shapes[source].size[0], placed.middle[source], placed.stops[e], placed.left[k], y
            )
            parts.append(_edge(e, edge_rows[e], labels[e], line, shapes[k], placed.middle[k], into[k].index(e)))
        parts.append(_node(k, row, shapes[k], placed.left[k], placed.middle[k], row.id == output))
    parts.append("</svg>\n")
    return "\n".join(parts).encode()


def _kind(row: Any) -> str:
    return "leaf" if row.is_leaf else "value"


def _shape(row: Any, labels: list[str], kind: str, gradients: bool) -> _Shape:
    name = "" if kind == "constant" else row.label or row.id
    cut = name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"
    lines = [("name", cut)] if cut else []
    lines.append(("data", f"data {_number(row.data)}"))
    if gradients:
        lines.append(("grad", f"grad {_number(row.grad)}"))
    box = max(_cells(text) for _, text in lines) * CHARACTER + 2 * PAD
    height = LINE * len(lines) + 8.0
    if row.is_leaf:
        return _Shape(kind, name, lines, "", 0.0, 0.0, box, height, (box, height))
    operation = SYMBOLS.get(row.op, row.op)
    round_width = max(2 * RADIUS, len(operation) * CHARACTER + 12.0)
    label = max((len(text) for text in labels), default=0) * SMALL_CHARACTER + 6.0
    width = label + FAN + round_width + STEM + box
    return _Shape(kind, name, lines, operation, round_width, label, box, height, (width, max(height, SLOT * len(labels))))


@dataclass(frozen=True, slots=True)
class _Line:
    """The way of an edge: from its node, past the layers between, to its place before the operation."""

    x: float
    y: float
    stops: list[Stop]
    end_x: float
    end_y: float


def _arrival(placed: Layout, number: dict[str, int], edge: Any, e: int) -> float:
    """The height at which an edge comes from the layer before."""
    stops = placed.stops[e]
    return stops[-1][2] if stops else placed.middle[number[edge.origin]]


def _edge(k: int, edge: Any, label: str, line: _Line, shape: _Shape, middle: float, argument: int) -> str:
    x, y = line.x, line.y
    path = [f"M{x:.1f} {y:.1f}"]
    for left, right, height in [*line.stops, (line.end_x, line.end_x + shape.label_width, line.end_y)]:
        bend = (x + left) / 2
        path.append(f"C{bend:.1f} {y:.1f} {bend:.1f} {height:.1f} {left:.1f} {height:.1f}H{right:.1f}")
        x, y = right, height
    end = x + FAN
    path.append(f"C{x + FAN / 2:.1f} {y:.1f} {end - FAN / 2:.1f} {middle:.1f} {end:.1f} {middle:.1f}")
    names = f"data-from={_attribute(edge.origin)} data-to={_attribute(edge.to)}"
    text = f"{edge.to} by {edge.origin}" + (f": {_precise(edge.local_gradient)}" if label else "")
    parts = [
        f'<g id="edge-{k}" class="edge" {names} data-argument="{argument}"><title>{_text(text)}</title>',
        f'<path d="{"".join(path)}" fill="none" stroke="{FAINT}" stroke-width="1.1"/>',
    ]
    if label:
        at = line.end_x + shape.label_width / 2
        parts.append(
            f'<text class="local-gradient" x="{at:.1f}" y="{line.end_y - 3:.1f}" text-anchor="middle" font-size="10" '
            f'fill="{GRADIENT}" stroke="#ffffff" stroke-width="3" stroke-linejoin="round" paint-order="stroke">{label}</text>'
        )
    return "".join([*parts, "</g>"])


def _node(k: int, row: Any, shape: _Shape, left: float, middle: float, is_output: bool) -> str:
    x = left + shape.size[0] - shape.box_width
    top = middle - shape.box_height / 2
    parts = []
    if shape.operation:
        start = x - STEM - shape.operation_width
        parts.append(
            f'<g id="operation-{k}" class="operation" data-operation={_attribute(row.op)}><title>{_text(row.op)}</title>'
            f'<path d="M{start + shape.operation_width:.1f} {middle:.1f}H{x:.1f}" stroke="{FAINT}" stroke-width="1.1"/>'
            f'<rect x="{start:.1f}" y="{middle - RADIUS:.1f}" width="{shape.operation_width:.1f}" height="{2 * RADIUS:g}" '
            f'rx="{RADIUS:g}" fill="{OPERATION}" stroke="#8a5a00"/>'
            f'<text x="{start + shape.operation_width / 2:.1f}" y="{middle + 4:.1f}" text-anchor="middle">'
            f"{_text(shape.operation)}</text></g>"
        )
    kind = f"{shape.kind} output" if is_output else shape.kind
    title = f"{shape.name or 'number'}: data {_precise(row.data)}" + (
        f", grad {_precise(row.grad)}" if shape.lines[-1][0] == "grad" else ""
    )
    stroke = 2.2 if is_output else 1.1
    parts.append(f'<g id="node-{k}" class="{kind}" data-id={_attribute(row.id)}><title>{_text(title)}</title>')
    parts.append(
        f'<rect x="{x:.1f}" y="{top:.1f}" width="{shape.box_width:.1f}" height="{shape.box_height:.1f}" rx="4" '
        f'fill="{FILLS[shape.kind]}" stroke="{INK}" stroke-width="{stroke}"/>'
    )
    for place, (role, text) in enumerate(shape.lines):
        y = top + 4.0 + LINE * (place + 0.75)
        look = ' font-weight="bold"' if role == "name" else f' fill="{GRADIENT}"' if role == "grad" else ""
        parts.append(f'<text class="{role}" x="{x + PAD:.1f}" y="{y:.1f}"{look}>{_text(text)}</text>')
    return "".join([*parts, "</g>"])


def _number(column: Any) -> str:
    """A number with five digits, or the first two of many."""
    if isinstance(column, list | np.ndarray):
        return ", ".join(map(_number, column[:2])) + (", …" if len(column) > 2 else "")
    return "?" if column is None else f"{column:.5g}".replace("-", "−")


def _precise(column: Any) -> str:
    """A number with all digits, or the first of many."""
    if isinstance(column, list | np.ndarray):
        return ", ".join(map(_precise, column[:10])) + (", …" if len(column) > 10 else "")
    return "?" if column is None else repr(float(column))


def _cells(text: str) -> int:
    """How many cells of a font of fixed width a text takes."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _text(text: str) -> str:
    """A text for the content of an element."""
    return escape(_characters(text))


def _attribute(text: str) -> str:
    """A text for the value of an attribute, in its quotes."""
    return quoteattr(_characters(text))


def _characters(text: str) -> str:
    """A text without characters that XML does not have, or that people cannot see."""
    return "".join(c if c.isprintable() and c not in "\ufffe\uffff" else "\ufffd" for c in text)

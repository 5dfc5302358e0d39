"""Find where a number that is NaN or infinite comes from: the first node at fault, in words.

Walks again at the one point in question and follows the fault back. Whether such a number is an error at all is for the
caller to say.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal

import numpy as np

from app.engine import kernels
from app.engine.binding import Bound, Seed, bind, points_of
from app.engine.errors import NonFinite, quote
from app.engine.graph import Graph
from app.engine.interruption import Checkpoint, never
from app.engine.points import Reduce, Seeds
from app.engine.transforms import backward, evaluate, hvp, jvp, with_tangents
from app.engine.walk import Passed, PointWalk

MAX_ARGUMENTS_SHOWN = 6


class Quantity(Enum):
    """The kind of a requested number, in the words of a message."""

    VALUE = "value"
    TANGENT = "tangent"
    GRADIENT = "gradient"
    SECOND = "second derivative"

    @property
    def walk(self) -> Literal["forward", "backward"]:
        """The pass in which it is computed."""
        return "forward" if self in (Quantity.VALUE, Quantity.TANGENT) else "backward"


@dataclass(frozen=True, slots=True)
class Fault:
    """A number that is not finite: the `quantity` of `node`.

    `point` is its index among many points, or None if there is only one. `output` is the output that it is a derivative of,
    by default the graph's.
    """

    quantity: Quantity
    node: str
    number: float
    point: int | None = None
    output: str | None = None


def number_text(number: float) -> str:
    """Return a number as JSON would write it if NaN and the infinities were part of JSON."""
    if np.isnan(number):
        return "NaN"
    if np.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return repr(float(number))


def explain(
    graph: Graph,
    inputs: Mapping[str, Seed],
    fault: Fault,
    seeds: Mapping[str, Seed] | None = None,
    *,
    reduce: Reduce = "none",
    checkpoint: Checkpoint = never,
) -> NonFinite:
    """Return the error for a number that is not finite, which names the node where it comes from.

    `seeds` are the tangents, or the cotangent by the output's id, that the number was computed with. The number may be a sum
    over points, as `reduce` says; then the first point counts at which what is added up is not finite.
    """
    if reduce != "none" and fault.point is None and points_of(graph, inputs):
        found = _first_point(graph, inputs, fault, seeds, checkpoint)
        if found is None:
            detail = f"{_quantity(fault, graph.output)}: the {reduce} over the points is too large for a number of 64 bits"
            return NonFinite(detail, ("nodes", graph.index[fault.node]))
        fault = found
    bound = bind(graph, inputs)
    if bound.tape.slot[graph.index[fault.node]] < 0:
        bound = bind(graph, inputs, everything=True)
    bound, columns = with_tangents(bound, seeds or {})
    here = {slot: float(s[fault.point or 0] if isinstance(s, np.ndarray) else s) for slot, s in columns.items()}
    if fault.point is not None:
        bound = bound.at(fault.point)
    checkpoint()
    walk = PointWalk(bound.tape, bound.numbers, checkpoint)
    slot = int(bound.tape.slot[graph.index[fault.node]])
    output = int(bound.tape.slot[graph.index[fault.output or graph.output]])
    culprit = _culprit(walk, fault.quantity, here, output, slot, checkpoint)
    node = _node_at(bound, slot if culprit < 0 else culprit)
    return NonFinite(_sentence(fault, graph.output, _describe(bound, walk, node)), ("nodes", node))


def _first_point(
    graph: Graph, inputs: Mapping[str, Seed], fault: Fault, seeds: Mapping[str, Seed] | None, checkpoint: Checkpoint
) -> Fault | None:
    """The fault at the first point at which the number is not finite, or None if it is finite at all points."""
    node, quantity = fault.node, fault.quantity
    graph = Graph(graph.nodes, (fault.output or graph.output,))
    if quantity is Quantity.VALUE:
        column = evaluate(graph, inputs, everything=True, checkpoint=checkpoint)[node]
    elif quantity is Quantity.TANGENT:
        column = jvp(graph, inputs, seeds, checkpoint=checkpoint).tangent
    elif quantity is Quantity.GRADIENT:
        column = backward(graph, inputs, [node], (seeds or {}).get(graph.output, 1.0), checkpoint=checkpoint).gradients[node]
    else:
        column = hvp(graph, inputs, seeds, [node], checkpoint=checkpoint).hvp[node]
    points = np.flatnonzero(~np.isfinite(column))
    return replace(fault, point=int(points[0]), number=float(np.ravel(column)[points[0]])) if len(points) else None


def _quantity(fault: Fault, output: str) -> str:
    """The number and what it is: `the gradient of 'y' by 'x' is NaN`."""
    quantity = fault.quantity
    of = fault.node if quantity is Quantity.VALUE else fault.output or output
    by = f" by {quote(fault.node)}" if quantity in (Quantity.GRADIENT, Quantity.SECOND) else ""
    at = f" at point {fault.point} (counted from 0)" if fault.point is not None else ""
    return f"the {quantity.value} of {quote(of)}{by} is {number_text(fault.number)}{at}"


def _sentence(fault: Fault, output: str, culprit: str) -> str:
    walk = fault.quantity.walk
    verb = "gives the first number that is not finite" if walk == "forward" else "has the first derivative at fault"
    return f"{_quantity(fault, output)}: in the {walk} pass, {culprit} {verb}"


def _culprit(walk: PointWalk, quantity: Quantity, seeds: Seeds, output: int, slot: int, checkpoint: Checkpoint) -> int:
    """Return the first slot at fault for the quantity of `slot`, or -1 if that is finite."""
    code, p = walk.tape.code, walk.linearize()
    checkpoint()
    if quantity is Quantity.VALUE:
        everywhere = np.ones(walk.tape.slots, np.bool_)
        return int(kernels.blame_forward(code, p, walk.values, everywhere, True)[slot])
    if quantity is Quantity.TANGENT:
        return int(kernels.blame_forward(code, p, *walk.push_carefully(seeds), False)[slot])
    if quantity is Quantity.GRADIENT:
        adjoints = walk.pull_carefully(seeds or {output: 1.0})
        none = Passed(np.zeros(walk.tape.slots), np.zeros(walk.tape.slots, np.bool_))
        return int(kernels.blame_backward(code, p, np.zeros((len(code), 6)), none.live, *none, *adjoints)[slot])
    walk.curve({output: 1.0})
    cotangents, tangents = walk.pull_carefully({output: 1.0}), walk.push_carefully(seeds)
    checkpoint()
    products = walk.pull_tangents_carefully(seeds)
    culprit = int(kernels.blame_backward(code, p, walk.curvature, cotangents.live, *tangents, *products)[slot])
    if culprit < walk.tape.leaves:
        return culprit
    # An instruction is not at fault for a tangent that was infinite when it arrived.
    forward = kernels.blame_forward(code, p, *tangents, False)
    op, *arguments = code[culprit - walk.tape.leaves].tolist()
    return next((int(forward[s]) for s in arguments[: kernels.ARITY[op]] if forward[s] >= 0), culprit)


def _node_at(bound: Bound, slot: int) -> int:
    """Return the position of the node whose slot this is, or in whose chain of instructions it is a link."""
    slots = bound.tape.slot
    candidates = np.flatnonzero(slots >= slot)
    return int(candidates[np.argmin(slots[candidates])])


def _describe(bound: Bound, walk: PointWalk, position: int) -> str:
    """Return a node with its operation and the values of its arguments: `node 'y' = log(-4.0)`."""
    node = bound.graph.nodes[position]
    if not node.args:
        return f"node {quote(node.id)}"
    index, slots = bound.graph.index, bound.tape.slot
    numbers = [walk.values[slots[index[arg]]] if isinstance(arg, str) else arg for arg in node.args[:MAX_ARGUMENTS_SHOWN]]
    dots = ", ..." if len(node.args) > MAX_ARGUMENTS_SHOWN else ""
    return f"node {quote(node.id)} = {node.op}({', '.join(map(number_text, numbers))}{dots})"

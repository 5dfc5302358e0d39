"""Where a number that is NaN or infinite comes from: the first node at fault, in words.

Walks again at the one point in question and follows the fault back. Not here: whether such a number is an error, which is
the caller's to say.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Literal

import numpy as np

from app.engine import kernels
from app.engine.errors import NODES, NonFinite, Path, quote
from app.engine.graph import Graph
from app.engine.tape import Bound, Seed, bind
from app.engine.transforms import Seeds, seeded
from app.engine.walk import PointWalk

MOST_ARGUMENTS = 6


class Asked(Enum):
    """What kind of number was asked for, in the words of a message."""

    VALUE = "value"
    TANGENT = "tangent"
    GRADIENT = "gradient"
    SECOND = "second derivative"

    @property
    def walk(self) -> Literal["forward", "backward"]:
        """The pass in which it is computed."""
        return "forward" if self in (Asked.VALUE, Asked.TANGENT) else "backward"


def number_text(number: float) -> str:
    """A number as JSON would write it, were NaN and the infinities a part of JSON."""
    if np.isnan(number):
        return "NaN"
    if np.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return repr(float(number))


def explain(
    graph: Graph,
    inputs: Mapping[str, Seed],
    asked: Asked,
    node: str,
    found: float,
    *,
    point: int | None = None,
    seeds: Mapping[str, Seed] | None = None,
    output: str | None = None,
) -> NonFinite:
    """The error for the number `found`, which is not finite, and was asked for as the `asked` of `node`.

    `point` is the one at which it was found, where there are many. `seeds` are the tangents or the cotangent (by the
    output's id) that it was computed with; `output` is the output it is a derivative of, by default the graph's.
    """
    bound = bind(graph, inputs)
    if bound.tape.slot[graph.index[node]] < 0:
        bound = bind(graph, inputs, everything=True)
    bound, slots = seeded(bound, seeds or {})
    here = {slot: float(s[point or 0] if isinstance(s, np.ndarray) else s) for slot, s in slots.items()}
    if point is not None:
        bound = bound.at(point)
    of = output or graph.output
    walk = PointWalk(bound.tape, bound.numbers)
    slot = int(bound.tape.slot[graph.index[node]])
    culprit = _culprit(bound, walk, asked, here, int(bound.tape.slot[graph.index[of]]), slot)
    guilty = _node_at(bound, slot if culprit < 0 else culprit)
    at = f" at point {point} (counted from 0)" if point is not None else ""
    what = f"the value of {quote(node)}" if asked is Asked.VALUE else f"the {asked.value} of {quote(of)}"
    by = f" by {quote(node)}" if asked in (Asked.GRADIENT, Asked.SECOND) else ""
    described = _described(bound, walk, guilty)
    verb = "gives the first number that is not finite" if asked.walk == "forward" else "has the first derivative at fault"
    detail = f"{what}{by} is {number_text(found)}{at}: in the {asked.walk} pass, {described} {verb}"
    place: Path = (*NODES, guilty) if graph.source == "nodes" else ("expression",)
    return NonFinite(detail + '; with "nonfinite": "null" such a number is answered as null', place)


def _culprit(bound: Bound, walk: PointWalk, asked: Asked, seeds: Seeds, output: int, slot: int) -> int:
    """The first slot at fault for the number of the kind that was asked for in `slot`; -1 where that is finite."""
    tape = bound.tape
    p = walk.linearize()
    if asked is Asked.VALUE:
        return int(kernels.blame_forward(tape.code, p, walk.values, True)[slot])
    if asked is Asked.TANGENT:
        tangents = walk.push(seeds)
        return int(kernels.blame_forward(tape.code, p, tangents, False)[slot])
    if asked is Asked.GRADIENT:
        adjoints = walk.pull(seeds or {output: 1.0})
        none = np.zeros((len(tape.code), 6))
        return int(kernels.blame_backward(tape.code, p, none, np.zeros(tape.slots), adjoints)[slot])
    walk.curve(walk.pull({output: 1.0}))
    tangents = walk.push(seeds)
    w = walk.pull_tangents(tangents)
    culprit = int(kernels.blame_backward(tape.code, p, walk.curvature, tangents, w)[slot])
    if culprit < tape.leaves:
        return culprit
    # An instruction is not at fault for a tangent that came to it as infinite.
    forward = kernels.blame_forward(tape.code, p, tangents, False)
    k = culprit - tape.leaves
    arguments = tape.code[k, 1 : 1 + kernels.ARITY[tape.code[k, 0]]].tolist()
    return next((int(forward[s]) for s in arguments if forward[s] >= 0), culprit)


def _node_at(bound: Bound, slot: int) -> int:
    """The position of the node that a slot belongs to: its own, or that of the chain it is a link of."""
    slots = bound.tape.slot
    candidates = np.flatnonzero(slots >= slot)
    return int(candidates[np.argmin(slots[candidates])])


def _described(bound: Bound, walk: PointWalk, position: int) -> str:
    """A node with its operation and its arguments' values: `node 'y' = log(-4.0)`."""
    node = bound.graph.nodes[position]
    if not node.args:
        return f"node {quote(node.id)}"
    index, slots = bound.graph.index, bound.tape.slot
    numbers = [walk.values[slots[index[arg]]] if isinstance(arg, str) else arg for arg in node.args[:MOST_ARGUMENTS]]
    dots = ", ..." if len(node.args) > MOST_ARGUMENTS else ""
    return f"node {quote(node.id)} = {node.op}({', '.join(map(number_text, numbers))}{dots})"

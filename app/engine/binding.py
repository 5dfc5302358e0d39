"""Binding: a graph's tape with a number, or an array of numbers, in each of its leaves."""

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np

from app.engine.errors import MAX_COMPARED_NAMES, InvalidNode, Place, ShapeMismatch, UnboundInput, quote
from app.engine.foreign_names import NUMBERS
from app.engine.graph import CONSTANTS, Graph, unknown_node
from app.engine.primitives import LEAF_CODE, WIRE
from app.engine.tape import Floats, Ints, Tape, record

Column = float | Floats
"""One number for all points, or an array with one number per point."""
Seed = float | Sequence[float] | Floats
Inputs = Mapping[str, Seed]
"""Numbers by id: real numbers of any type, or sequences of them."""

MAX_MISSING_SHOWN = 5
MAX_PRODUCT_LENGTH = 12
"""Longer names are words."""

NUMBER = (float, Real)
"""What is one number. `float` comes first because asking the abstract class takes long."""

MANY = 32
"""From so many inputs on, looking at all of them at once takes less time than one after the other."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A tape with the numbers of its leaves, at one point or at `points` of them.

    `numbers` has shape (tape.leaves,). `columns` maps the slots whose number differs from point to point to arrays of shape
    (points,). If there is only one point, `points` is None and `columns` is empty.
    """

    graph: Graph
    tape: Tape
    inputs: Inputs
    numbers: Floats
    columns: Mapping[int, Floats]
    points: int | None

    def at(self, point: int) -> "Bound":
        """Return the binding at one of the points alone."""
        numbers = self.numbers.copy()
        for slot, column in self.columns.items():
            numbers[slot] = column[point]
        return replace(self, numbers=numbers, columns={}, points=None)

    def changed(self, slot: int, number: Column) -> "Bound":
        """Return the binding with another number, or another column, in one leaf slot."""
        if isinstance(number, np.ndarray):
            return replace(self, columns={**self.columns, slot: number})
        numbers = self.numbers.copy()
        numbers[slot] = number
        return replace(self, numbers=numbers)


def bind(graph: Graph, inputs: Inputs, everything: bool = False) -> Bound:
    """Give each leaf of a graph's tape a number: the one in `inputs`, or else the node's own `data`.

    With `everything`, the tape computes all nodes and not only those that the outputs need.

    Raises: UnknownNode; InvalidNode for an input that is not a leaf; ShapeMismatch for lists of different lengths;
    UnboundInput for a leaf of the tape without a number.
    """
    if not isinstance(graph, Graph):
        raise TypeError(f"expected a graph, which parse(text) or graph_of(value) gives, not {type(graph).__name__}")
    tape = record(graph.wiring, everything=True) if everything else graph.tape
    numbers = tape.numbers.copy() if inputs else tape.numbers
    if len(inputs) >= MANY and (leaves := _leaves_of_numbers(graph, inputs)) is not None:
        slots = tape.slot[leaves]
        needed = slots >= 0
        numbers[slots[needed]] = np.fromiter(inputs.values(), np.float64, len(inputs))[needed]
        without = np.zeros(tape.leaves, np.bool_)
        without[tape.unbound] = True
        without[slots[needed]] = False
        if without.any():
            raise _unbound(graph, tape.source[without].tolist())
        return Bound(graph, tape, inputs, numbers, {}, None)
    columns: dict[int, Floats] = {}
    bound: set[int] = set()
    points = points_of(graph, inputs)
    for name, given in inputs.items():
        slot = int(tape.slot[graph.index[name]])
        if slot < 0:
            continue
        bound.add(slot)
        if isinstance(given, NUMBER):
            numbers[slot] = given
        else:
            columns[slot] = np.asarray(given, np.float64)
    missing = [slot for slot in tape.unbound.tolist() if slot not in bound]
    if missing:
        raise _unbound(graph, [int(tape.source[slot]) for slot in missing])
    return Bound(graph, tape, inputs, numbers, columns, points)


def _leaves_of_numbers(graph: Graph, inputs: Inputs) -> Ints | None:
    """Return the positions of the inputs if all of them are leaves and have one number, else None: a faster `points_of`."""
    if set(map(type, inputs.values())) != {float}:
        return None
    if not graph.every_node_named:
        places = [graph.leaf_places.get(name, -1) for name in inputs]
        return graph.leaf_positions[places] if min(places) >= 0 else None
    found = [graph.index.get(name, -1) for name in inputs]
    positions = np.array(found, np.int32)
    return positions if min(found) >= 0 and (graph.wiring.opcode[positions] == LEAF_CODE).all() else None


def _unbound(graph: Graph, missing: Sequence[int]) -> UnboundInput:
    """Return the error for the leaves at these positions; it names the first few, and points at the first."""
    names = [graph.nodes[position].id for position in sorted(missing)[:MAX_MISSING_SHOWN]]
    more = len(missing) - len(names)
    shown = [*map(quote, names), *([f"{more} other {'leaf' if more == 1 else 'leaves'}"] if more else [])]
    listed = shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
    notes = dict.fromkeys(_note(name) for name in names if graph.source == "text" and _note(name))
    detail = f"{listed} {'has' if len(missing) == 1 else 'have'} no number{''.join(f'; {note}' for note in notes)}"
    return UnboundInput(detail, ("nodes", min(missing)))


def _note(name: str) -> str:
    """Return a hint where a name of a text stands for a constant elsewhere, or is a function without its parentheses."""
    if name in WIRE:
        return f"{name} is a function, called as {name}(...)"
    return NUMBERS.get(name, "")


def not_a_leaf(name: str, graph: Graph, place: Place) -> InvalidNode:
    """Return the error for an input that is an operation of the graph."""
    op = graph.nodes[graph.index[name]].op
    return InvalidNode(f"{quote(name)} is the operation {op}; only a leaf can have an input", place)


def _parts(graph: Graph, inputs: Inputs) -> str:
    """Return a hint where a name of a text is a product of inputs, or a call, without its signs, such as `xy` or `sinx`."""
    if graph.source != "text":
        return ""
    factors = [*(name for name in inputs if name not in graph.index), *CONSTANTS]
    for name in graph.leaves[:MAX_COMPARED_NAMES]:
        if len(name) > MAX_PRODUCT_LENGTH or name in inputs:
            continue
        product = _split(name, factors)
        call = next((f"{f}({name[len(f) :]})" for f in WIRE if name.startswith(f) and name[len(f) :] in factors), "")
        if call or len(product) > 1:
            written = call or "*".join(product)
            return f" {quote(name)} is one name; write {written} for a {'call' if call else 'product'}."
    return ""


def _split(name: str, factors: Sequence[str]) -> list[str]:
    """Return `name` as a list of factors one after the other, or an empty list."""
    ways: dict[int, list[str]] = {0: []}
    for end in range(1, len(name) + 1):
        for factor in factors:
            begin = end - len(factor)
            if begin in ways and end not in ways and name[begin:end] == factor:
                ways[end] = [*ways[begin], factor]
    return ways.get(len(name), [])


def points_of(graph: Graph, inputs: Inputs) -> int | None:
    """Return the length of the lists in `inputs`, or None if there are only numbers.

    Raises: UnknownNode; InvalidNode for an input that is not a leaf; ShapeMismatch for lists of different lengths.
    """
    points: int | None = None
    first = ""
    for name, given in inputs.items():
        node = graph.index.get(name, -1)
        if node < 0:
            hint = _parts(graph, inputs)
            raise unknown_node(name, graph, ("inputs", name), hint)
        if graph.wiring.opcode[node] != LEAF_CODE:
            raise not_a_leaf(name, graph, ("inputs", name))
        if isinstance(given, NUMBER):
            continue
        if isinstance(given, str | bytes | Mapping) or not isinstance(given, Sized):
            raise InvalidNode(f"the input {quote(name)} is a {type(given).__name__}; give a number or a list", ("inputs", name))
        if points is None:
            points, first = len(given), name
        elif len(given) != points:
            detail = f"{quote(name)} has {len(given)} numbers and {quote(first)} has {points}: all lists need one length"
            raise ShapeMismatch(detail, ("inputs", name))
    return points

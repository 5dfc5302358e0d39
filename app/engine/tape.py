"""Tapes: a graph as flat arrays of instructions, ready to be walked. Not here: the walks.

A tape has one slot for each number: first the leaves and constants, then one slot for each instruction, in an order in
which arguments come first. Operations of any number of arguments are laid out as chains of two-argument instructions, so
that a walk knows only opcodes and at most three arguments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np
import numpy.typing as npt

from app.engine.errors import NODES, InvalidNode, Path, ShapeMismatch, UnboundInput, quote
from app.engine.graph import LEAF_CODE, Graph, Wiring, unknown_node
from app.engine.jit import jit
from app.engine.kernels import ARITY
from app.engine.primitives import OPCODE, PRIMITIVES, Primitive

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Column = float | Floats
"""One number for all points, or an array with one number a point."""
Seed = float | Sequence[float] | Floats
Inputs = Mapping[str, Seed]
"""Numbers by id; any real number will do, and any sequence of them."""

NUMBER = (float, Real)
"""What is one number; in this order, as asking an abstract class takes long."""

IDENTITY = OPCODE["identity"]
DIVIDE = OPCODE["divide"]


def _links(to: str) -> Ints:
    """For each opcode, the opcode that its row names under `to`, or -1."""

    def linked(row: Primitive) -> int:
        name = getattr(row, to)
        return -1 if name is None else OPCODE[name]

    return np.array([linked(row) for row in PRIMITIVES] + [-1], np.int32)


FOLD = _links("fold")
WITH_NUMBER = _links("with_number")
AVERAGE = np.array([row.average for row in PRIMITIVES] + [False])


@dataclass(frozen=True, slots=True)
class Tape:
    """m instructions over `leaves + m` slots. All arrays are read-only.

    Instruction k, `code[k]`, is a row of the table and three slots: it applies the row to those (beyond its arity they are 0
    and mean nothing) and writes slot `leaves + k`. `source` says what stands in each leaf slot: the position of a node, or
    -1 - k for number k of the graph. `numbers` holds what the leaf slots have from the graph itself: constants and the
    leaves' own data; NaN in the slots listed as `unbound`, which have neither. `slot` gives each node's slot, or -1 for a
    node that the outputs do not need.
    """

    code: Ints
    source: Ints
    numbers: Floats
    unbound: Ints
    slot: Ints

    @property
    def leaves(self) -> int:
        """The number of slots before the first instruction's."""
        return len(self.source)

    @property
    def slots(self) -> int:
        """The number of slots."""
        return len(self.source) + len(self.code)


def record(wiring: Wiring, everything: bool = False) -> Tape:
    """The tape of what the outputs need, or of `everything` in the graph."""
    count = len(wiring.order) if everything else wiring.live
    arrays = _lower(wiring.opcode, wiring.start, wiring.arg, wiring.datum, wiring.numbers, wiring.order, count)
    for array in arrays:
        array.flags.writeable = False
    return Tape(*arrays)


@jit
def _lower(
    opcode: Ints, start: Ints, arg: Ints, datum: Ints, data: Floats, order: Ints, count: int
) -> tuple[Ints, Ints, Floats, Ints, Ints]:
    leaves = 0
    instructions = 0
    free = 0
    for node in order[:count]:
        op = opcode[node]
        if op == LEAF_CODE:
            leaves += 1
            free += datum[node] < 0
            continue
        arguments = start[node + 1] - start[node]
        for k in range(start[node], start[node + 1]):
            leaves += arg[k] < 0
        if FOLD[op] >= 0:
            instructions += max(arguments - 1, 1)
            if AVERAGE[op] and arguments > 1:
                instructions += 1
                leaves += 1
        else:
            instructions += 1

    code = np.zeros((instructions, 4), np.int32)
    source = np.empty(leaves, np.int32)
    numbers = np.empty(leaves)
    unbound = np.empty(free, np.int32)
    slot = np.full(len(opcode), -1, np.int32)
    leaf = 0
    free = 0
    at = 0
    for node in order[:count]:
        op = opcode[node]
        if op == LEAF_CODE:
            source[leaf] = node
            slot[node] = leaf
            if datum[node] >= 0:
                numbers[leaf] = data[datum[node]]
            else:
                numbers[leaf] = np.nan
                unbound[free] = leaf
                free += 1
            leaf += 1
            continue
        first, last = start[node], start[node + 1]
        fold = FOLD[op]
        left = -1
        for k in range(first, last):
            if arg[k] < 0:
                source[leaf] = arg[k]
                numbers[leaf] = data[-1 - arg[k]]
                here = leaf
                leaf += 1
            else:
                here = slot[arg[k]]
            if fold < 0:
                code[at, 1 + k - first] = here
            elif left < 0:
                left = here
            else:
                code[at, 0], code[at, 1], code[at, 2] = fold, left, here
                left = leaves + at
                at += 1
        if fold < 0:
            with_number = WITH_NUMBER[op]
            code[at, 0] = with_number if with_number >= 0 and arg[last - 1] < 0 else op
            at += 1
        elif last - first == 1:
            code[at, 0], code[at, 1] = IDENTITY, left
            at += 1
        elif AVERAGE[op]:
            source[leaf] = -1 - len(data)
            numbers[leaf] = last - first
            code[at, 0], code[at, 1], code[at, 2] = DIVIDE, left, leaf
            leaf += 1
            at += 1
        slot[node] = leaves + at - 1
    return code, source, numbers, unbound, slot


def dependents(tape: Tape, slots: Sequence[int] | Ints) -> Bools:
    """Which slots depend on any of these, themselves included."""
    mask = np.zeros(tape.slots, np.bool_)
    marked = np.asarray(slots, np.int32)
    mask[marked[marked >= 0]] = True
    _spread(tape.code, mask)
    return mask


@jit
def _spread(code: Ints, mask: Bools) -> None:
    base = len(mask) - len(code)
    for k in range(len(code)):
        arity = ARITY[code[k, 0]]
        mask[base + k] |= mask[code[k, 1]] | (arity > 1 and mask[code[k, 2]]) | (arity > 2 and mask[code[k, 3]])


@dataclass(frozen=True, slots=True)
class Bound:
    """A tape with the numbers of its leaves: `numbers` at one point, or, at `points` of them, with `columns` beside.

    `numbers` has an entry for each leaf slot. `columns` maps the slots whose number differs from point to point to
    arrays of `points` numbers. `points` is None, and `columns` empty, where there is only one point.
    """

    graph: Graph
    tape: Tape
    inputs: Inputs
    numbers: Floats
    columns: Mapping[int, Floats]
    points: int | None

    def at(self, point: int) -> "Bound":
        """The same at one of the points alone."""
        numbers = self.numbers.copy()
        for slot, column in self.columns.items():
            numbers[slot] = column[point]
        return replace(self, numbers=numbers, columns={}, points=None)

    def changed(self, slot: int, number: Column) -> "Bound":
        """The same with another number, or column, in one leaf slot."""
        if isinstance(number, np.ndarray):
            return replace(self, columns={**self.columns, slot: number})
        numbers = self.numbers.copy()
        numbers[slot] = number
        return replace(self, numbers=numbers)


def bind(graph: Graph, inputs: Inputs, everything: bool = False) -> Bound:
    """A graph's tape, with a number for each of its leaves: an input's, else the node's own `data`.

    Raises: UnknownNode, InvalidNode for an input that is not a leaf, ShapeMismatch for lists of unlike length,
    UnboundInput for a leaf of the tape without a number.
    """
    tape: Tape | None = graph.tapes.get(everything)
    if tape is None:
        tape = graph.tapes[everything] = record(graph.wiring, everything)
    numbers = tape.numbers.copy() if inputs else tape.numbers
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
        node = min(int(tape.source[slot]) for slot in missing)
        others = f" (nor have {len(missing) - 1} others)" if len(missing) > 1 else ""
        place: Path = (*NODES, node) if graph.source == "nodes" else ("expression",)
        advice = 'bind it in "inputs"' + (' or give the node "data"' if graph.source == "nodes" else "")
        raise UnboundInput(f"{quote(graph.nodes[node].id)} has no number{others}: {advice}", place)
    return Bound(graph, tape, inputs, numbers, columns, points)


def points_of(graph: Graph, inputs: Inputs) -> int | None:
    """How many points the lists in `inputs` give; None for numbers alone.

    Raises: UnknownNode, InvalidNode for an input that is not a leaf, ShapeMismatch where two lists differ in length.
    """
    points: int | None = None
    first = ""
    for name, given in inputs.items():
        node = graph.index.get(name, -1)
        if node < 0:
            raise unknown_node(name, graph, ("inputs", name))
        if graph.wiring.opcode[node] != LEAF_CODE:
            detail = f"{quote(name)} is the operation {graph.nodes[node].op}; only a leaf can be bound"
            raise InvalidNode(detail, ("inputs", name))
        if isinstance(given, NUMBER):
            continue
        if points is None:
            points, first = len(given), name
        elif len(given) != points:
            raise ShapeMismatch(
                f"{quote(name)} has {len(given)} numbers and {quote(first)} has {points}: lists have one length",
                ("inputs", name),
            )
    return points

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

    Instruction k applies the table's row `op[k]` to the slots `a[k]`, `b[k]`, `c[k]` (those beyond its arity are 0 and
    mean nothing) and writes slot `leaves + k`. `source` says what stands in each leaf slot: the position of a node, or
    -1 - k for constant k of the graph. `constants` holds those constants' numbers at their slots, and NaN elsewhere.
    `slot` gives each node's slot, or -1 for a node that the outputs do not need.
    """

    op: npt.NDArray[np.uint8]
    a: Ints
    b: Ints
    c: Ints
    source: Ints
    constants: Floats
    slot: Ints

    @property
    def leaves(self) -> int:
        """The number of slots before the first instruction's."""
        return len(self.source)

    @property
    def slots(self) -> int:
        """The number of slots."""
        return len(self.source) + len(self.op)


def record(wiring: Wiring, everything: bool = False) -> Tape:
    """The tape of what the outputs need, or of `everything` in the graph."""
    count = len(wiring.order) if everything else wiring.live
    op, a, b, c, source, constants, slot = _lower(
        wiring.opcode, wiring.start, wiring.arg, wiring.constants, wiring.order[:count]
    )
    for array in (op, a, b, c, source, constants, slot):
        array.flags.writeable = False
    return Tape(op, a, b, c, source, constants, slot)


@jit
def _lower(
    opcode: Ints, start: Ints, arg: Ints, constants: Floats, order: Ints
) -> tuple[npt.NDArray[np.uint8], Ints, Ints, Ints, Ints, Floats, Ints]:
    leaves = 0
    instructions = 0
    for node in order:
        code = opcode[node]
        if code == LEAF_CODE:
            leaves += 1
            continue
        count = start[node + 1] - start[node]
        for k in range(start[node], start[node + 1]):
            leaves += arg[k] < 0
        if FOLD[code] >= 0:
            instructions += max(count - 1, 1)
            if AVERAGE[code] and count > 1:
                instructions += 1
                leaves += 1
        else:
            instructions += 1

    op = np.empty(instructions, np.uint8)
    a = np.zeros(instructions, np.int32)
    b = np.zeros(instructions, np.int32)
    c = np.zeros(instructions, np.int32)
    source = np.empty(leaves, np.int32)
    numbers = np.full(leaves, np.nan)
    slot = np.full(len(opcode), -1, np.int32)
    taken = np.zeros(3, np.int32)
    leaf = 0
    at = 0
    for node in order:
        code = opcode[node]
        if code == LEAF_CODE:
            source[leaf] = node
            slot[node] = leaf
            leaf += 1
            continue
        first, last = start[node], start[node + 1]
        fold = FOLD[code]
        left = -1
        for k in range(first, last):
            if arg[k] < 0:
                source[leaf] = arg[k]
                numbers[leaf] = constants[-1 - arg[k]]
                here = leaf
                leaf += 1
            else:
                here = slot[arg[k]]
            if fold < 0:
                taken[k - first] = here
            elif left < 0:
                left = here
            else:
                op[at] = fold
                a[at] = left
                b[at] = here
                left = leaves + at
                at += 1
        if fold < 0:
            with_number = WITH_NUMBER[code]
            op[at] = with_number if with_number >= 0 and arg[last - 1] < 0 else code
            a[at] = taken[0]
            if last - first > 1:
                b[at] = taken[1]
            if last - first > 2:
                c[at] = taken[2]
            at += 1
        elif last - first == 1:
            op[at] = IDENTITY
            a[at] = left
            at += 1
        elif AVERAGE[code]:
            source[leaf] = -1 - len(constants)
            numbers[leaf] = last - first
            op[at] = DIVIDE
            a[at] = left
            b[at] = leaf
            leaf += 1
            at += 1
        slot[node] = leaves + at - 1
    return op, a, b, c, source, numbers, slot


def dependents(tape: Tape, slots: Sequence[int]) -> Bools:
    """Which slots depend on any of these, themselves included."""
    mask = np.zeros(tape.slots, np.bool_)
    for slot in slots:
        if slot >= 0:
            mask[slot] = True
    _spread(tape.op, tape.a, tape.b, tape.c, mask)
    return mask


@jit
def _spread(op: npt.NDArray[np.uint8], a: Ints, b: Ints, c: Ints, mask: Bools) -> None:
    base = len(mask) - len(op)
    for k in range(len(op)):
        arity = ARITY[op[k]]
        mask[base + k] |= mask[a[k]] | (arity > 1 and mask[b[k]]) | (arity > 2 and mask[c[k]])


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
    tape = record(graph.wiring, everything)
    nodes, index = graph.nodes, graph.index
    numbers = tape.constants.copy()
    leaves = np.flatnonzero(tape.source >= 0)
    unbound: list[int] = []
    for slot, node in zip(leaves.tolist(), tape.source[leaves].tolist(), strict=True):
        data = nodes[node].data
        if data is None:
            unbound.append(slot)
        else:
            numbers[slot] = data
    columns: dict[int, Floats] = {}
    bound: set[int] = set()
    points = points_of(graph, inputs)
    for name, given in inputs.items():
        slot = int(tape.slot[index[name]])
        if slot < 0:
            continue
        bound.add(slot)
        if isinstance(given, Real):
            numbers[slot] = float(given)
        else:
            columns[slot] = np.asarray(given, np.float64)
    missing = [slot for slot in unbound if slot not in bound]
    if missing:
        node = min(int(tape.source[slot]) for slot in missing)
        others = f" (nor have {len(missing) - 1} others)" if len(missing) > 1 else ""
        name = nodes[node].id
        place: Path = (*NODES, node) if graph.source == "nodes" else ("expression",)
        advice = 'bind it in "inputs"' + (' or give the node "data"' if graph.source == "nodes" else "")
        raise UnboundInput(f"{quote(name)} has no number{others}: {advice}", place)
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
        if isinstance(given, float | Real):
            continue
        if points is None:
            points, first = len(given), name
        elif len(given) != points:
            raise ShapeMismatch(
                f"{quote(name)} has {len(given)} numbers and {quote(first)} has {points}: lists have one length",
                ("inputs", name),
            )
    return points

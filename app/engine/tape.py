"""Tapes: a graph as flat arrays of instructions, ready to be walked.

A tape has one slot per number: first the leaves and constants, then one slot per instruction, in an order in which arguments
come first. Operations on any number of arguments are laid out as chains of instructions on two, so that a walk only has to
know opcodes and at most three arguments.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.engine.jit import inline, jit
from app.engine.kernels import ARITY
from app.engine.primitives import LEAF_CODE, OPCODE, PRIMITIVES, Primitive

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

IDENTITY = OPCODE["identity"]
DIVIDE = OPCODE["divide"]
POW_NUMBER, POW_TWO = OPCODE["pow_number"], OPCODE["pow_two"]


def _linked_opcodes(field: str) -> Ints:
    """For each opcode, the opcode of the row that its own row names in `field`, or -1."""

    def linked(row: Primitive) -> int:
        name = getattr(row, field)
        return -1 if name is None else OPCODE[name]

    return np.array([linked(row) for row in PRIMITIVES] + [-1], np.int32)


FOLD = _linked_opcodes("fold")
WITH_NUMBER = _linked_opcodes("with_number")
AVERAGE = np.array([row.average for row in PRIMITIVES] + [False])
SHIFT = np.array([row.shift for row in PRIMITIVES] + [False])
LARGEST, SHIFT_DOWN, SHIFT_UP = OPCODE["largest"], OPCODE["shift_down"], OPCODE["shift_up"]


@dataclass(frozen=True, slots=True)
class Wiring:
    """Nodes as arrays, as in `graph.NodeTable`, with a topological order.

    `order` lists all nodes, arguments first; the first `live` of them are those that the outputs need. It is a walk from the
    outputs, so it does not depend on the order in which the nodes were given, and neither does the last bit of a derivative.
    """

    opcode: Ints
    start: Ints
    arg: Ints
    datum: Ints
    numbers: Floats
    order: Ints
    live: int


@dataclass(frozen=True, slots=True)
class Tape:
    """m instructions over `leaves + m` slots. All arrays are read-only.

    `code[k]` is instruction k: an opcode and three slots. It applies the opcode to as many of the slots as its arity says (the
    others are 0 and mean nothing) and writes slot `leaves + k`. `source` says what is in each leaf slot: the position of a
    node, or -1 - k for number k of the graph. `numbers` holds the numbers that the leaf slots have from the graph itself,
    constants and the leaves' own data, and NaN in the slots listed in `unbound`, which have neither. `slot` is the slot of
    each node, or -1 for a node that the outputs do not need.
    """

    code: Ints
    source: Ints
    numbers: Floats
    unbound: Ints
    slot: Ints

    @property
    def leaves(self) -> int:
        """The number of slots before the first instruction's slot."""
        return len(self.source)

    @property
    def slots(self) -> int:
        """The number of slots."""
        return len(self.source) + len(self.code)


def connect(opcode: Ints, start: Ints, arg: Ints, datum: Ints, numbers: Floats, roots: Ints) -> tuple[Wiring, list[int]]:
    """Return the wiring of nodes whose outputs are at the positions `roots`, and the positions of a cycle if there is one."""
    order, live = topological_order(start, arg, roots)
    cycle = [] if live >= 0 else order.tolist()
    return Wiring(opcode, start, arg, datum, numbers, order, live), cycle


def record(wiring: Wiring, everything: bool = False) -> Tape:
    """Return the tape of what the outputs need, or of `everything` in the graph."""
    count = len(wiring.order) if everything else wiring.live
    arrays = _lower(wiring.opcode, wiring.start, wiring.arg, wiring.datum, wiring.numbers, wiring.order, count)
    for array in arrays:
        array.flags.writeable = False
    return Tape(*arrays)


def dependents(tape: Tape, slots: Sequence[int] | Ints) -> Bools:
    """Return which slots depend on any of these, these included: an array of shape (tape.slots,)."""
    mask = np.zeros(tape.slots, np.bool_)
    marked = np.asarray(slots, np.int32)
    mask[marked[marked >= 0]] = True
    _spread(tape.code, mask)
    return mask


# --- compiled


@jit
def _lower(
    opcode: Ints, start: Ints, arg: Ints, datum: Ints, data: Floats, order: Ints, count: int
) -> tuple[Ints, Ints, Floats, Ints, Ints]:
    """The arrays of a `Tape` for the first `count` nodes of `order`: first counted, then filled."""
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
            if SHIFT[op] and arguments > 2:
                instructions += 2 * arguments
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
        shifted = SHIFT[op] and last - first > 2
        for k in range(first, last):
            if arg[k] < 0:
                source[leaf] = arg[k]
                numbers[leaf] = data[-1 - arg[k]]
                here = leaf
                leaf += 1
            else:
                here = slot[arg[k]]
            if shifted:
                code[at + last - 1 - 2 * first + k, 1] = here
            elif fold < 0:
                code[at, 1 + k - first] = here
            elif left < 0:
                left = here
            else:
                code[at, 0], code[at, 1], code[at, 2] = fold, left, here
                left = leaves + at
                at += 1
        if shifted:
            at = _complete_shifted(code, leaves, at, last - first, fold)
        elif fold < 0:
            with_number = WITH_NUMBER[op]
            code[at, 0] = with_number if with_number >= 0 and arg[last - 1] < 0 else op
            if code[at, 0] == POW_NUMBER and data[-1 - arg[last - 1]] == 2.0:
                code[at, 0] = POW_TWO
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


@inline
def _complete_shifted(code: Ints, leaves: int, at: int, count: int, fold: int) -> int:
    """Complete the chain of a shifted fold of `count` arguments, and return the next free instruction.

    It finds the largest argument, subtracts it from each, folds the differences, and adds it again. The arguments' slots are
    already in the instructions that subtract.
    """
    down = at + count - 1
    largest = code[down, 1]
    for k in range(1, count):
        code[at, 0], code[at, 1], code[at, 2] = LARGEST, largest, code[down + k, 1]
        largest = leaves + at
        at += 1
    for _ in range(count):
        code[at, 0], code[at, 2] = SHIFT_DOWN, largest
        at += 1
    left = leaves + down
    for k in range(1, count):
        code[at, 0], code[at, 1], code[at, 2] = fold, left, leaves + down + k
        left = leaves + at
        at += 1
    code[at, 0], code[at, 1], code[at, 2] = SHIFT_UP, left, largest
    return at + 1


@jit
def _spread(code: Ints, mask: Bools) -> None:
    """Mark the slot of each instruction that has a marked argument."""
    base = len(mask) - len(code)
    for k in range(len(code)):
        arity = ARITY[code[k, 0]]
        mask[base + k] |= mask[code[k, 1]] | (arity > 1 and mask[code[k, 2]]) | (arity > 2 and mask[code[k, 3]])


@jit
def topological_order(start: Ints, arg: Ints, roots: Ints) -> tuple[Ints, int]:
    """Walk depth-first from each root, then from the rest: (order, number of nodes the roots need), or (a cycle, -1).

    The colours of a node are 0 unseen, 1 begun, 2 done. An argument that is begun but not done closes a cycle, which consists
    of the nodes above it on the stack.
    """
    n = len(start) - 1
    colour = np.zeros(n, np.uint8)
    cursor = start[:-1].copy()
    stack = np.empty(n, np.int32)
    order = np.empty(n, np.int32)
    done = 0
    live = 0
    for turn in range(len(roots) + n):
        if turn == len(roots):
            live = done
        root = roots[turn] if turn < len(roots) else turn - len(roots)
        if colour[root] != 0:
            continue
        depth = 1
        stack[0] = root
        colour[root] = 1
        while depth > 0:
            node = stack[depth - 1]
            if cursor[node] == start[node + 1]:
                colour[node] = 2
                order[done] = node
                done += 1
                depth -= 1
                continue
            child = arg[cursor[node]]
            cursor[node] += 1
            if child < 0 or colour[child] == 2:
                continue
            if colour[child] == 1:
                bottom = depth - 1
                while stack[bottom] != child:
                    bottom -= 1
                return stack[bottom:depth].copy(), -1
            stack[depth] = child
            colour[child] = 1
            depth += 1
    return order, live

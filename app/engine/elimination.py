"""Which second derivatives of an output, or derivatives of several, can differ from 0, and the steps that compute them.

The structure of a graph decides, and no number: an entry is listed if the nodes meet in an operation that is not linear in
them, or, for a Jacobian, if the output depends on the node. An operation whose partial is 0 everywhere, such as a comparison,
passes nothing on. So the entries are the same at every point.

Edge pushing finds and computes them in one walk; see `edges`. Where it would fill in, because much is mixed before little
comes out, `Mask` finds the entries, and all columns are computed as for a dense matrix.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from app.engine import edges
from app.engine.graph import Graph
from app.engine.interruption import Checkpoint, never
from app.engine.tape import Bools, Ints, Tape

PIECE = 1 << 20
"""So many steps of edge pushing take some tens of milliseconds."""
LANES = 16
"""A dense matrix is computed in lanes of so many columns."""
LEAST_STEPS = 1024
BITS = 64
NO_SLOTS = np.empty(0, np.int32)


def anything(*counts: int) -> None:
    """Allow any numbers."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a sparse matrix may take. The functions may raise.

    Attributes:
        plan: called with the number of steps of edge pushing, and with that of the entries.
        dense: called with the number of entries of the dense matrix, before that is computed instead.
        room: called with a number of bytes before these are allocated.
        most_steps: the largest number of steps of edge pushing.
    """

    plan: Callable[[int, int], None] = anything
    dense: Callable[[int], None] = anything
    room: Callable[[int], None] = anything
    most_steps: int = 1 << 25


@dataclass(frozen=True, slots=True)
class Pattern:
    """The places of the entries, by row and then by column.

    `rows` and `columns` have shape (entries,). Those of a Hessian are of its lower triangle.
    """

    rows: Ints
    columns: Ints


@dataclass(frozen=True, slots=True)
class Elimination:
    """The steps that compute the entries of a `pattern`, as in `edges`.

    `entries` says which of the `weights` each entry is.
    """

    pattern: Pattern
    bend_at: Ints
    bend_place: Ints
    steps: edges.Steps
    weights: int
    entries: Ints


@dataclass(frozen=True, slots=True)
class Mask:
    """The places of the entries in a dense matrix, row by row, of which they are picked."""

    pattern: Pattern
    entries: npt.NDArray[np.int64]


Plan = Elimination | Mask


class _Structure(NamedTuple):
    """Which slots of a tape matter, and where it is not linear; see `edges.find_active` and `edges.find_bends`."""

    active: Bools
    bend_at: Ints
    bend_place: Ints


UNLIMITED = Allowance()


def plan_hessian(graph: Graph, output: int, slots: Ints, allowance: Allowance, checkpoint: Checkpoint = never) -> Plan:
    """Return how to compute the second derivatives of slot `output` by the `slots`; -1 is a node that is not needed."""

    def find() -> Plan:
        found = _curved(graph.tape, output, slots)
        most = min(allowance.most_steps, most_steps(graph.tape, len(slots)))
        plan = _eliminate(graph.tape, found, NO_SLOTS, slots, most, allowance, checkpoint)
        if plan is not None:
            return plan
        mask = _dense(len(slots), len(slots), allowance)
        for first in range(0, len(slots), BITS):
            part = slots[first : first + BITS]
            mask[:, first : first + BITS] = _bits(_spread(graph.tape, found, part, checkpoint)[1], slots, len(part))
        return _masked(np.tril(mask))

    plan = _kept(graph, "hessian", (output, slots.tobytes(), allowance.most_steps), find)
    _allow(plan, len(slots) ** 2, allowance)
    return plan


def plan_jacobian(graph: Graph, outputs: Ints, slots: Ints, allowance: Allowance, checkpoint: Checkpoint = never) -> Plan:
    """Return how to compute the derivatives of the slots `outputs` by the `slots`; -1 is a node that is not needed."""

    def find() -> Plan:
        found = _Structure(_active(graph.tape, outputs, slots), NO_SLOTS, NO_SLOTS)
        most = min(allowance.most_steps, most_steps(graph.tape, min(len(outputs), len(slots))))
        plan = _eliminate(graph.tape, found, outputs, slots, most, allowance, checkpoint)
        if plan is not None:
            return plan
        mask = _dense(len(outputs), len(slots), allowance)
        for first in range(0, len(slots), BITS):
            part = slots[first : first + BITS]
            mask[:, first : first + BITS] = _bits(_spread(graph.tape, found, part, checkpoint)[0], outputs, len(part))
        return _masked(mask)

    plan = _kept(graph, "jacobian", (slots.tobytes(), allowance.most_steps), find)
    _allow(plan, len(outputs) * len(slots), allowance)
    return plan


def find_elimination(graph: Graph, output: int, slots: Ints, most: int, checkpoint: Checkpoint = never) -> Elimination | None:
    """Return the steps to the second derivatives of slot `output` by the `slots`, or None if there are more than `most`."""

    def find() -> Elimination | None:
        found = _curved(graph.tape, output, slots)
        return _eliminate(graph.tape, found, NO_SLOTS, slots, most, UNLIMITED, checkpoint)

    return _kept(graph, "steps", (output, slots.tobytes(), most), find)


def most_steps(tape: Tape, columns: int) -> int:
    """So many steps of edge pushing take about as long as a dense matrix of so many columns."""
    return LEAST_STEPS + len(tape.code) * -(-columns // LANES)


Found = TypeVar("Found")


def _kept(graph: Graph, kind: str, key: object, find: Callable[[], Found]) -> Found:
    """What has been found for a graph; it is kept with the graph, of each kind the last, for the graph's next evaluation."""
    kept = graph.plans.get(kind)
    if kept is None or kept[0] != key:
        kept = graph.plans[kind] = key, find()
    found: Found = kept[1]
    return found


def _allow(plan: Plan, size: int, allowance: Allowance) -> None:
    """Ask for what an evaluation takes, also of a plan that was found before; `size` is that of the dense matrix."""
    if isinstance(plan, Mask):
        allowance.dense(size)
    allowance.plan(len(plan.steps) if isinstance(plan, Elimination) else 0, len(plan.entries))


def _dense(rows: int, columns: int, allowance: Allowance) -> Bools:
    """A mask for all entries of a dense matrix."""
    allowance.dense(rows * columns)
    allowance.room(rows * columns)
    return np.zeros((rows, columns), np.bool_)


def _active(tape: Tape, outputs: Ints, slots: Ints) -> Bools:
    active, needed = np.zeros(tape.slots, np.bool_), np.zeros(tape.slots, np.bool_)
    active[slots[slots >= 0]] = True
    needed[outputs] = True
    edges.find_active(tape.code, active, needed)
    return active


def _curved(tape: Tape, output: int, slots: Ints) -> _Structure:
    active = _active(tape, np.array([output], np.int32), slots)
    return _Structure(active, *edges.find_bends(tape.code, active))


def _eliminate(
    tape: Tape, found: _Structure, roots: Ints, slots: Ints, most: int, allowance: Allowance, checkpoint: Checkpoint
) -> Elimination | None:
    """Edge pushing, or None if it takes more than `most` steps."""
    operations = np.flatnonzero((slots >= tape.leaves) & found.active[slots])
    offset, m = len(roots) + len(operations), len(tape.code)
    alias = np.full(m if len(operations) else 0, -1, np.int32)
    if len(operations):
        alias[slots[operations] - tape.leaves] = len(roots) + np.arange(len(operations), dtype=np.int32)
    ends = offset + tape.slots
    room = LEAST_STEPS + 2 * m + len(found.bend_at) + 8 * len(roots)
    room = min(room, most + len(roots)) + edges.MOST_STEPS_BESIDES
    allowance.room(24 * room + 12 * ends)
    heads, mark = np.zeros((ends, 2), np.int32), np.full(ends, -1, np.int32)
    heads[:, 0] = -1
    steps, following, low = np.empty((room, 4), np.int32), np.empty(room, np.int32), np.empty(room, np.int32)
    state = np.array([ends, 0, 0, len(found.bend_at), 0], np.int64)
    arguments = np.empty((edges.MOST_STEPS_PER_EDGE, 2), np.int32)
    bends = (found.bend_at, found.bend_place)
    while state[0] > 0:
        checkpoint()
        before = int(state[1])
        edges.push_edges(
            tape.code, *bends, found.active, alias, roots, heads, mark, steps, following, low, arguments, state, PIECE
        )
        if state[1] > most:
            return None
        if state[0] > 0 and state[1] - before < PIECE:  # there was no room
            need = int(state[1]) + edges.MOST_STEPS_PER_EDGE * int(heads[state[0] - 1, 1]) + edges.MOST_STEPS_BESIDES
            room = max(2 * len(steps), need)
            allowance.room(24 * room)
            steps, following, low = _grown(steps, room), _grown(following, room), _grown(low, room)
    taken, count, inner = int(state[1]), int(state[2]), int(state[4])
    number = np.empty(ends, np.int32)
    number[: len(roots)] = np.arange(len(roots))
    number[len(roots) : offset] = operations
    number[offset + slots[slots >= 0]] = np.flatnonzero(slots >= 0)
    rows, columns, order, spare = np.empty((4, count - inner), np.int32)
    bins = np.empty(max(len(roots), len(slots)) + 1, np.int32)
    edges.list_entries(heads[: ends - m], low[inner:count], number, len(roots) > 0, rows, columns, order, spare, bins)
    pattern = Pattern(rows[order], columns[order])
    first = 1 + len(found.bend_at)
    return Elimination(pattern, *bends, steps[:taken], first + count, first + inner + order)


def _grown(array: Ints, room: int) -> Ints:
    grown = np.empty((room, *array.shape[1:]), np.int32)
    grown[: len(array)] = array
    return grown


def _spread(tape: Tape, found: _Structure, slots: Ints, checkpoint: Checkpoint) -> tuple[edges.Words, edges.Words]:
    checkpoint()
    ahead, back = np.zeros(tape.slots, np.uint64), np.zeros(tape.slots, np.uint64)
    for bit, slot in enumerate(slots.tolist()):
        if slot >= 0 and found.active[slot]:
            ahead[slot] |= np.uint64(1 << bit)
    edges.spread(tape.code, found.active, found.bend_at, found.bend_place, ahead, back)
    return ahead, back


def _bits(words: edges.Words, slots: Ints, count: int) -> Bools:
    """For each slot and each of the first bits whether it is set; for slot -1, none is."""
    picked = np.where(slots >= 0, words[slots], np.uint64(0))
    bits: Bools = (picked[:, None] >> np.arange(count, dtype=np.uint64)) & np.uint64(1) != 0
    return bits


def _masked(mask: Bools) -> Mask:
    places = np.flatnonzero(mask).astype(np.int64)
    rows, columns = np.divmod(places, mask.shape[1])
    return Mask(Pattern(rows.astype(np.int32), columns.astype(np.int32)), places)

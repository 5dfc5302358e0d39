"""Graphs: nodes that name their arguments, checked as a whole and put into topological order without recursion."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, repeat
from typing import Any, Literal, NamedTuple, overload
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from app.engine import foreign_names
from app.engine.errors import (
    DuplicateNode,
    GraphCycle,
    InvalidNode,
    Place,
    UnknownNode,
    UnknownPrimitive,
    WrongArity,
    nearest,
    quote,
)
from app.engine.interruption import Checkpoint, checked, never
from app.engine.primitives import ALIASES, LEAF, LEAF_CODE, OPCODE, PRIMITIVES, WIRE
from app.engine.tape import Floats, Ints, Tape, Wiring, connect, record

ID_LIMIT = 128
CONSTANTS = {"pi": math.pi, "e": math.e}
"""Names in a text that stand for numbers, unless it assigns them."""
CHUNK = 1 << 16
"""So many arguments are looked up in some milliseconds, in which no other thread runs."""
MANY_IDS = 1000
"""From more ids on, each is expected as far from the last one as that from the one before."""
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

CODES = {name: OPCODE[name] for name in WIRE} | {name: OPCODE[to] for name, to in ALIASES.items()} | {LEAF: LEAF_CODE}
OPERATIONS = (*(row.name for row in PRIMITIVES), LEAF)
"""The name of each opcode."""
MIN_ARITY = np.array([row.min_arity for row in PRIMITIVES] + [0])
MAX_ARITY = np.array([row.max_arity or 2**31 - 1 for row in PRIMITIVES] + [0])

NUMBER_TEXT = re.compile(r"-?\d{1,17}(?:\.\d{1,17})?(?:[eE][+-]?\d{1,3})?")

MAX_CYCLE_SHOWN = 12
CYCLE_START_SHOWN = 6
CYCLE_ID_SHOWN = 30
MAX_NAMES_SHOWN = 8


class Node(NamedTuple):
    """A node of a graph: a leaf (`op` "value", perhaps with a number of its own in `data`) or an operation on `args`.

    An argument is the id of another node, or a number, which becomes a constant leaf. An id has 1 to 128 characters and no
    control characters. `label` is shown in pictures and has no other meaning.
    """

    id: str
    op: str
    args: tuple[str | float, ...] = ()
    data: float | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class NodeTable:
    """n nodes as arrays, in the order in which they were given, with all names resolved.

    `index` maps ids to positions. `opcode[i]` is the row of node i's primitive, or LEAF_CODE. Its arguments are
    `arg[start[i]:start[i + 1]]`: positions of nodes, or -1 - k for `numbers[k]`. `datum[i]` says where in `numbers` a leaf's
    own number is, or is -1 if it has none.
    """

    ids: Sequence[str]
    index: Mapping[str, int]
    opcode: Ints
    start: Ints
    arg: Ints
    datum: Ints
    numbers: Floats


@dataclass(frozen=True)
class Graph:
    """Nodes, in any order, and the ids of the outputs. A graph that exists is valid, and it never changes.

    `names` are the ids that the author of the expression gave, and so the default for gradients; if empty, for a graph of
    nodes, all ids are (`every_node_named`). `source` says whether the graph was written as nodes or as text; text has unnamed
    nodes between its names. `table` is the table of `nodes`, for a caller who has it already.

    `index` maps ids to positions in `nodes`. `roots` are the positions of the outputs. `tape` is the tape of what the outputs
    need. `plans` keeps what `elimination` has found out about the graph.

    Raises: UnknownNode, DuplicateNode, GraphCycle, UnknownPrimitive, WrongArity, InvalidNode.
    """

    nodes: Sequence[Node]
    outputs: tuple[str, ...]
    names: Sequence[str] = ()
    source: Literal["nodes", "text"] = "nodes"
    table: NodeTable | None = field(default=None, repr=False, compare=False)
    every_node_named: bool = field(init=False, repr=False, compare=False)
    index: Mapping[str, int] = field(init=False, repr=False, compare=False)
    roots: Ints = field(init=False, repr=False, compare=False)
    wiring: Wiring = field(init=False, repr=False, compare=False)
    tape: Tape = field(init=False, repr=False, compare=False)
    plans: dict[str, Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __repr__(self) -> str:
        return f"Graph({len(self.nodes)} nodes, {len(self.leaves)} named leaves, outputs={self.outputs!r})"

    def __post_init__(self) -> None:
        outputs = tuple(self.outputs)
        set_field = object.__setattr__
        table = self.table
        if table is None:
            nodes = tuple(self.nodes)
            table = tabulate(nodes)
            set_field(self, "nodes", nodes)
            set_field(self, "table", table)
        set_field(self, "outputs", outputs)
        set_field(self, "index", table.index)
        set_field(self, "every_node_named", self.source == "nodes" and not self.names)
        if self.every_node_named:
            set_field(self, "names", table.ids)
        if not outputs:
            raise InvalidNode("a graph needs at least one output", ("outputs",))
        roots = self.positions(outputs, ("outputs",) if len(outputs) > 1 else ("output",))
        wiring, cycle = connect(table.opcode, table.start, table.arg, table.datum, table.numbers, roots)
        if cycle:
            raise _cycle_error([table.ids[k] for k in cycle], ("nodes", cycle[0]))
        set_field(self, "roots", roots)
        set_field(self, "wiring", wiring)
        set_field(self, "tape", record(wiring))

    @property
    def output(self) -> str:
        """The id of the first output, which is the only one except for Jacobians."""
        return self.outputs[0]

    @cached_property
    def leaves(self) -> tuple[str, ...]:
        """The named leaves: the default variables of Jacobians and Hessians."""
        if self.every_node_named:
            return tuple([self.names[k] for k in self.leaf_positions.tolist()])
        index, leaf = self.index, (self.wiring.opcode == LEAF_CODE).tolist()
        return tuple([name for name in self.names if leaf[index[name]]])

    @cached_property
    def leaf_positions(self) -> Ints:
        """The positions of `leaves` in `nodes`."""
        if self.every_node_named:
            return np.flatnonzero(self.wiring.opcode == LEAF_CODE).astype(np.int32)
        return self.positions(self.leaves, ())

    @cached_property
    def leaf_places(self) -> Mapping[str, int]:
        """The place of each of `leaves` among them."""
        return {name: k for k, name in enumerate(self.leaves)}

    @cached_property
    def named(self) -> tuple[Mapping[str, int], Ints]:
        """The place of each name in `names`, and the positions in `nodes` of the nodes that they name."""
        return {name: k for k, name in enumerate(self.names)}, self.positions(self.names, ())

    def positions(self, ids: Sequence[str], place: Place) -> Ints:
        """Return the positions of these ids in `nodes`.

        Raises UnknownNode for the first that does not exist, at its index in `place` (at `place` itself for `("output",)`).
        """
        if self.source == "nodes" and len(ids) > MANY_IDS:
            found = self._spaced(ids)
        else:
            found = [self.index.get(name, -1) for name in ids]
        if -1 in found:
            k = found.index(-1)
            raise unknown_node(ids[k], self, place if place == ("output",) else (*place, k))
        return np.array(found, np.int32)

    def _spaced(self, ids: Sequence[str]) -> list[int]:
        """Return the positions of ids that mostly lie at equal distances, such as outputs, and -1 for those that do not exist.

        To compare an id at the expected position takes less than half as long as a look-up in a large index, which reads from
        places all over the memory.
        """
        assert self.table is not None
        every, last = self.table.ids, len(self.table.ids) - 1
        found = []
        position, distance = 0, 0
        for name in ids:
            there = position + distance
            if not 0 <= there <= last or every[there] != name:
                there = self.index.get(name, -1)
                distance = there - position
            position = there
            found.append(there)
        return found


class TableNodes(Sequence[Node]):
    """Nodes, and after them those of a table. The latter are made when the first is accessed, or as parts of a slice.

    Attributes:
        first: the nodes before those of the table.
        table: the table. Its arguments are positions among all nodes.
        ids: the ids of all nodes.
        checkpoint: is called while they are made.
    """

    def __init__(self, first: Sequence[Node], table: NodeTable, ids: Sequence[str], checkpoint: Checkpoint = never) -> None:
        self.first, self.table, self.ids, self.checkpoint = first, table, ids, checkpoint
        self._all: tuple[Node, ...] | None = None

    @property
    def all(self) -> tuple[Node, ...]:
        """All nodes."""
        if self._all is None:
            self._all = (*self.first, *self._made(0, len(self.table.opcode)))
        return self._all

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, k: int) -> Node: ...
    @overload
    def __getitem__(self, k: slice) -> tuple[Node, ...]: ...
    def __getitem__(self, k: int | slice) -> Node | tuple[Node, ...]:
        if isinstance(k, slice) and k.step is None:
            low, high, _ = k.indices(len(self))
            own = len(self.first)
            return (*self.first[low:high], *self._made(max(low - own, 0), max(high - own, 0)))
        return self.all[k]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.all)

    def _made(self, low: int, high: int) -> Iterator[Node]:
        """The nodes from `low` up to `high` of the table."""
        ids, first, table = self.ids, len(self.first), self.table
        starts = table.start[low : high + 1]
        flat = table.arg[starts[0] : starts[-1]].tolist()
        arguments = [ids[a] if a >= 0 else float(table.numbers[~a]) for a in flat]
        at = (starts - starts[0]).tolist()
        data = [None if k < 0 else float(table.numbers[k]) for k in table.datum[low:high].tolist()]
        for k, code in enumerate(checked(table.opcode[low:high].tolist(), self.checkpoint)):
            yield Node(ids[first + low + k], OPERATIONS[code], tuple(arguments[at[k] : at[k + 1]]), data[k])


def more_nodes(
    graph: Graph, added: NodeTable, outputs: tuple[str, ...], names: Sequence[str], checkpoint: Checkpoint = never
) -> Graph:
    """Return a graph with further nodes.

    Args:
        graph: the nodes that come first.
        added: the others, all of them operations, without an index. Their arguments are positions among all nodes, or
            -1 - len(graph.table.numbers) - k for `added.numbers[k]`.
        outputs: the new outputs.
        names: the new names; none if every node is named.
        checkpoint: is called from time to time.

    Raises: as `Graph`.
    """
    table = graph.table
    assert table is not None
    ids = (*table.ids, *added.ids)
    index: dict[str, int] = {}
    for low in range(0, len(ids), CHUNK):  # other threads may run between the chunks
        checkpoint()
        index.update(zip(ids[low : low + CHUNK], range(low, len(ids)), strict=False))
    whole = NodeTable(
        ids,
        index,
        np.concatenate((table.opcode, added.opcode)),
        np.concatenate((table.start, added.start[1:] + table.start[-1])),
        np.concatenate((table.arg, added.arg)),
        np.concatenate((table.datum, added.datum)),
        np.concatenate((table.numbers, added.numbers)),
    )
    nodes = TableNodes(graph.nodes, replace(added, numbers=whole.numbers), ids, checkpoint)
    return Graph(nodes, outputs, names, graph.source, whole)


def unknown_node(name: str, graph: Graph, place: Place, hint: str = "") -> UnknownNode:
    """Return the error for a name of no node, with a hint, by default at the nearest name that exists."""
    normal = normalize("NFKC", name)
    hint = hint or nearest(name, graph.index)
    if graph.source == "text" and name in CONSTANTS:
        hint = f" {name} is the constant {CONSTANTS[name]:.4g}...; choose another name."
    if normal != name and normal in graph.index and graph.source == "text":
        hint = f" Names in a text are normalised (NFKC); write {quote(normal)} here too."
    if not hint and len(graph.names) <= MAX_NAMES_SHOWN:
        hint = f" The nodes are {', '.join(map(quote, graph.names))}." if graph.names else " The expression has no names."
    return UnknownNode(f"there is no node {quote(name)}.{hint}", place)


def is_id(text: str) -> bool:
    """Return whether a text is a valid id."""
    return 0 < len(text) <= ID_LIMIT and not CONTROL.search(text)


def tabulate(nodes: Sequence[Node], checkpoint: Checkpoint = never) -> NodeTable:
    """Return the table of nodes. `checkpoint` is called from time to time.

    Raises: everything that can be wrong with nodes, except for GraphCycle.
    """
    checkpoint()
    index = _index(nodes)
    checkpoint()
    n = len(nodes)
    opcode = np.fromiter(map(CODES.get, [node.op for node in nodes], repeat(-1)), np.int32, n)
    if opcode.min() < 0:
        k = int(np.argmax(opcode < 0))
        raise unknown_primitive(nodes[k].op, ("nodes", k, "op"))
    arguments = [node.args for node in nodes]
    counts = np.fromiter(map(len, arguments), np.int64, n)
    wrong = (counts < MIN_ARITY[opcode]) | (counts > MAX_ARITY[opcode])
    if wrong.any():
        k = int(np.argmax(wrong))
        raise wrong_arity(nodes[k].op, int(counts[k]), ("nodes", k, "args"), nodes[k].id)
    datum, numbers = _leaf_data(nodes, checkpoint)
    flat = list(chain.from_iterable(arguments))
    arg = np.empty(len(flat), np.int32)
    for low in range(0, len(flat), CHUNK):  # other threads may run between the chunks
        checkpoint()
        part = flat[low : low + CHUNK]
        arg[low : low + CHUNK] = np.fromiter(map(index.get, part, repeat(-1)), np.int32, len(part))  # type: ignore[arg-type]  # numbers find nothing
    constants = np.flatnonzero(arg < 0)
    arg[constants] = -1 - len(numbers) - np.arange(len(constants), dtype=np.int32)
    for place in checked(constants.tolist(), checkpoint):
        number = flat[place]
        if isinstance(number, str):
            raise _unknown_argument(nodes, index, counts, place)
        numbers.append(number)
    return NodeTable(tuple(index), index, opcode, argument_starts(counts), arg, datum, np.array(numbers, np.float64))


def argument_starts(counts: npt.NDArray[np.int64]) -> Ints:
    """Return where each node's arguments begin, given their numbers, and, as a last entry, where all of them end."""
    start = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=start[1:])
    return start


def unknown_primitive(name: str, place: Place, leaf: bool = True) -> UnknownPrimitive:
    """Return the error for an unknown operation, with what to write instead. `leaf`: the op of a leaf counts as known."""
    return UnknownPrimitive(f"there is no primitive {quote(name)}.{_instead(name, leaf)}", place)


def _instead(name: str, leaf: bool) -> str:
    """Return what to write instead of an unknown operation, or an empty string."""
    plain = name.lower()
    if leaf and name in foreign_names.OPERATIONS:
        unary = ", or 'neg' with one argument" if name == "-" else ""
        return f" It is called {quote(foreign_names.OPERATIONS[name])}{unary}."
    if leaf and plain in foreign_names.LEAF_NAMES:
        return f" A leaf has the op {quote(LEAF)}."
    if not leaf and name in foreign_names.SPREADSHEET_NAMES:
        return f" {foreign_names.SPREADSHEET_NAMES[name]}"
    if plain in foreign_names.RENAMED:
        return f" It is called {quote(foreign_names.RENAMED[plain])}."
    if plain in foreign_names.FORMULAS:
        arguments, formula, where = foreign_names.FORMULAS[plain]
        return f" {plain}({arguments}) is {formula}{f' for {where}' if where else ''}."
    if plain in foreign_names.NOTES:
        return f" {foreign_names.NOTES[plain]}"
    if plain[1:] in WIRE and not leaf:  # a product without its sign, such as xsin(x)
        return ""
    return nearest(name, [*WIRE, LEAF] if leaf else WIRE)


def wrong_arity(name: str, count: int, place: Place, node: str | None = None) -> WrongArity:
    """Return the error for a primitive with too few or too many arguments."""
    at = f"node {quote(node)}: " if node else ""
    if name == LEAF:
        return WrongArity(f"{at}a leaf takes no arguments, not {count}; put its number into `data`", place)
    return WrongArity(f"{at}{name} takes {WIRE[ALIASES.get(name, name)].arity_text}, not {count}", place)


def _index(nodes: Sequence[Node]) -> dict[str, int]:
    """Return the position of each id. Raises InvalidNode for an id that is empty, too long or unprintable, DuplicateNode."""
    ids = [node.id for node in nodes]
    if not ids:
        raise InvalidNode("a graph needs at least one node", ("nodes",))
    index = {name: k for k, name in enumerate(ids)}  # other threads may run within a loop, but not within dict(zip(...))
    if "" in index or max(map(len, ids)) > ID_LIMIT or CONTROL.search("".join(ids)):
        k = next(k for k, i in enumerate(ids) if not is_id(i))
        detail = f"an id has 1 to {ID_LIMIT} characters and no control characters, this one is {quote(ids[k])}"
        raise InvalidNode(f"{detail} ({len(ids[k])} characters)", ("nodes", k, "id"))
    if len(index) != len(ids):
        first: dict[str, int] = {}
        for k, name in enumerate(ids):
            if first.setdefault(name, k) != k:
                raise DuplicateNode(f"nodes {first[name]} and {k} share the id {quote(name)}", ("nodes", k, "id"))
    return index


def _leaf_data(nodes: Sequence[Node], checkpoint: Checkpoint) -> tuple[Ints, list[float]]:
    """Return `NodeTable.datum` and the numbers it points at. Raises InvalidNode for data on an operation."""
    datum = np.full(len(nodes), -1, np.int32)
    numbers: list[float] = []
    for k, node in enumerate(checked(nodes, checkpoint)):
        if node.data is None:
            continue
        if node.op != LEAF:
            detail = f"node {quote(node.id)} is the operation {node.op}: only a node with op {LEAF!r} has data"
            raise InvalidNode(detail, ("nodes", k, "data"))
        datum[k] = len(numbers)
        numbers.append(node.data)
    return datum, numbers


def _unknown_argument(nodes: Sequence[Node], index: dict[str, int], counts: npt.NDArray[np.int64], place: int) -> UnknownNode:
    """Return the error for an argument of no node, given its place among all arguments."""
    start = argument_starts(counts)
    k = int(np.searchsorted(start, place, side="right")) - 1
    position = place - int(start[k])
    name = nodes[k].args[position]
    detail = f"node {quote(nodes[k].id)} has the argument {quote(name)}, which names no node."
    hint = f" A number stands without quotes: {name}." if NUMBER_TEXT.fullmatch(str(name)) else nearest(str(name), index)
    return UnknownNode(detail + hint, ("nodes", k, "args", position))


def _cycle_error(ids: list[str], place: Place) -> GraphCycle:
    """Return the error that spells the cycle out, `a -> b -> a`, each node followed by an argument; long ones in part."""
    short = len(ids) <= MAX_CYCLE_SHOWN
    shown = [
        name if len(name) <= CYCLE_ID_SHOWN else name[: CYCLE_ID_SHOWN - 1] + "…"
        for name in (ids if short else ids[:CYCLE_START_SHOWN])
    ]
    middle = [] if short else [f"... ({len(ids) - CYCLE_START_SHOWN} more) ..."]
    return GraphCycle("the graph has a cycle: " + " -> ".join([*shown, *middle, shown[0]]), place)

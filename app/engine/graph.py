"""Graphs: nodes that name their arguments, checked as a whole and put in topological order without recursion.

Not here: numbers computed from a graph (`tape` and below), and where a graph comes from (`text`, `value`, the wire).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, repeat
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from app.engine.errors import (
    NODES,
    DuplicateNode,
    GraphCycle,
    InvalidNode,
    Path,
    UnknownNode,
    UnknownPrimitive,
    WrongArity,
    nearest,
    quote,
)
from app.engine.jit import jit
from app.engine.primitives import ALIASES, LEAF, OPCODE, PRIMITIVES, WIRE

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

ID_LIMIT = 128
LEAF_CODE = len(PRIMITIVES)
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

CODES = {name: OPCODE[name] for name in WIRE} | {name: OPCODE[to] for name, to in ALIASES.items()} | {LEAF: LEAF_CODE}
MIN_ARITY = np.array([row.min_arity for row in PRIMITIVES] + [0])
MAX_ARITY = np.array([row.max_arity or 2**31 - 1 for row in PRIMITIVES] + [0])


class Node(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """A node of a graph: a leaf (`op` "value", perhaps with its number in `data`) or an operation on `args`.

    An argument is the id of another node, or a plain number, which is promoted to a constant leaf. A msgspec struct
    and not a dataclass, because the wire decodes straight into it, ten times as fast as a dataclass is made.
    """

    id: Annotated[str, msgspec.Meta(description=f"1 to {ID_LIMIT} characters, no control characters", examples=["x"])]
    op: Annotated[str, msgspec.Meta(description='A primitive\'s name, or "value" for a leaf')]
    args: Annotated[
        tuple[str | float, ...], msgspec.Meta(description="Ids of nodes, or numbers, which become constant leaves")
    ] = ()
    data: Annotated[float | None, msgspec.Meta(description="A leaf's number; `inputs` overrides it")] = None
    label: Annotated[str | None, msgspec.Meta(description="Shown in pictures and messages; means nothing")] = None


@dataclass(frozen=True, slots=True)
class Columns:
    """n nodes as columns, in the order in which they were given, with every name looked up.

    `index` maps ids to positions. `opcode` is the row of each node's primitive, or LEAF_CODE. Node i's arguments are
    `arg[start[i]:start[i + 1]]`: the position of a node, or -1 - k for `numbers[k]`. `datum` says where in `numbers` a
    leaf's own number stands; -1 where there is none.
    """

    ids: Sequence[str]
    index: Mapping[str, int]
    opcode: Ints
    start: Ints
    arg: Ints
    datum: Ints
    numbers: Floats


@dataclass(frozen=True, slots=True)
class Wiring:
    """Columns, as in `Columns`, with the order in which they are worked through.

    `order` lists all nodes, arguments first, those that the outputs need (`live` of them) before the others. It is a walk
    from the outputs, so it does not depend on the order in which the nodes were given, and neither does the last bit of any
    derivative.
    """

    opcode: Ints
    start: Ints
    arg: Ints
    datum: Ints
    numbers: Floats
    order: Ints
    live: int


@dataclass(frozen=True)
class Graph:
    """Nodes, in any order, and the ids of the outputs. A graph that exists is valid; it never changes.

    `names` are the ids that mean something to whoever wrote the expression, and so have a gradient by default;
    left out, they are all ids. (Text has unnamed nodes between its names.) `source` says which of the two it came from.
    `columns` are what the nodes come to, where that is known already; `nodes` may then be made as late as they are looked at.
    `roots` are the outputs' positions; `tapes` is where `tape.bind` keeps what it makes of the graph, once for all walks.

    Raises: UnknownNode, DuplicateNode, GraphCycle, UnknownPrimitive, WrongArity, InvalidNode.
    """

    nodes: Sequence[Node]
    outputs: tuple[str, ...]
    names: Sequence[str] = ()
    source: Literal["nodes", "text"] = "nodes"
    columns: Columns | None = field(default=None, repr=False, compare=False)
    index: Mapping[str, int] = field(init=False, repr=False, compare=False)
    roots: Ints = field(init=False, repr=False, compare=False)
    wiring: Wiring = field(init=False, repr=False, compare=False)
    tapes: dict[bool, Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        outputs = tuple(self.outputs)
        set_field = object.__setattr__
        columns = self.columns
        if columns is None:
            nodes = tuple(self.nodes)
            columns = columns_of(nodes)
            set_field(self, "nodes", nodes)
            set_field(self, "columns", columns)
        set_field(self, "outputs", outputs)
        set_field(self, "index", columns.index)
        if not self.names:
            set_field(self, "names", columns.ids if self.source == "nodes" else ())
        if not outputs:
            raise InvalidNode("a graph has at least one output", ("expression", "outputs"))
        roots = self.positions(outputs, ("expression", "outputs") if len(outputs) > 1 else ("expression", "output"))
        wiring, cycle = connect(columns.opcode, columns.start, columns.arg, columns.datum, columns.numbers, roots)
        if cycle:
            raise _cycle([self.nodes[k].id for k in cycle], (*NODES, cycle[0]))
        set_field(self, "roots", roots)
        set_field(self, "wiring", wiring)

    @property
    def output(self) -> str:
        """The first output's id: the only one, for all but Jacobians."""
        return self.outputs[0]

    @cached_property
    def leaves(self) -> tuple[str, ...]:
        """The named leaves: what Jacobians and Hessians are taken by unless told otherwise."""
        index, leaf = self.index, (self.wiring.opcode == LEAF_CODE).tolist()
        return tuple([name for name in self.names if leaf[index[name]]])

    def positions(self, ids: Sequence[str], place: Path) -> Ints:
        """Where these nodes stand in `nodes`. Raises UnknownNode for the first that is none, as an entry of `place`."""
        found = [self.index.get(name, -1) for name in ids]
        if -1 in found:
            k = found.index(-1)
            raise unknown_node(ids[k], self, place if place[-1] == "output" else (*place, k))
        return np.array(found, np.int32)


def unknown_node(name: str, graph: Graph, place: Path) -> UnknownNode:
    """The error for a name that stands for no node, with the nearest one that does."""
    hint = nearest(name, graph.index)
    if not hint and len(graph.names) <= 8:
        hint = f" The nodes are {', '.join(map(quote, graph.names))}." if graph.names else " The expression has no names."
    return UnknownNode(f"there is no node {quote(name)}.{hint}", place)


def is_id(text: str) -> bool:
    """Whether a text can be an id."""
    return 0 < len(text) <= ID_LIMIT and not CONTROL.search(text)


def _index(nodes: Sequence[Node]) -> dict[str, int]:
    """Each id's position. Raises InvalidNode for an id that is empty, too long or unprintable, and DuplicateNode."""
    ids = [node.id for node in nodes]
    if not ids:
        raise InvalidNode("a graph has at least one node", NODES)
    index = dict(zip(ids, range(len(ids)), strict=True))
    if "" in index or max(map(len, ids)) > ID_LIMIT or CONTROL.search("".join(ids)):
        k = next(k for k, i in enumerate(ids) if not is_id(i))
        detail = f"an id has 1 to {ID_LIMIT} characters and no control characters, this one is {quote(ids[k])}"
        raise InvalidNode(f"{detail} ({len(ids[k])} characters)", (*NODES, k, "id"))
    if len(index) != len(ids):
        first: dict[str, int] = {}
        for k, name in enumerate(ids):
            if first.setdefault(name, k) != k:
                raise DuplicateNode(f"nodes {first[name]} and {k} share the id {quote(name)}", (*NODES, k, "id"))
    return index


def columns_of(nodes: Sequence[Node]) -> Columns:
    """What nodes come to. Raises all that can be wrong with them one by one: all but GraphCycle."""
    index = _index(nodes)
    n = len(nodes)
    opcode = np.fromiter(map(CODES.get, [node.op for node in nodes], repeat(-1)), np.int32, n)
    if opcode.min() < 0:
        k = int(np.argmax(opcode < 0))
        raise unknown_primitive(nodes[k].op, (*NODES, k, "op"))
    arguments = [node.args for node in nodes]
    counts = np.fromiter(map(len, arguments), np.int64, n)
    misfits = (counts < MIN_ARITY[opcode]) | (counts > MAX_ARITY[opcode])
    if misfits.any():
        k = int(np.argmax(misfits))
        raise wrong_arity(nodes[k].op, int(counts[k]), (*NODES, k, "args"), nodes[k].id)
    datum = np.full(n, -1, np.int32)
    numbers: list[float] = []
    for k, node in enumerate(nodes):
        if node.data is None:
            continue
        if node.op != LEAF:
            raise InvalidNode(
                f"node {quote(node.id)} is the operation {node.op}: only a node with op {LEAF!r} has data",
                (*NODES, k, "data"),
            )
        datum[k] = len(numbers)
        numbers.append(node.data)
    flat = list(chain.from_iterable(arguments))
    arg = np.fromiter(map(index.get, flat, repeat(-1)), np.int32, len(flat))  # type: ignore[arg-type]  # numbers find nothing
    places = np.flatnonzero(arg < 0)
    arg[places] = -1 - len(numbers) - np.arange(len(places), dtype=np.int32)
    for place in places.tolist():
        number = flat[place]
        if isinstance(number, str):
            raise _unknown_argument(nodes, index, counts, place)
        numbers.append(number)
    return Columns(tuple(index), index, opcode, starts(counts), arg, datum, np.array(numbers, np.float64))


def starts(counts: npt.NDArray[np.int64]) -> Ints:
    """Where each node's arguments begin, if it has so many; and, in the end, where all of them end."""
    start = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=start[1:])
    return start


def connect(opcode: Ints, start: Ints, arg: Ints, datum: Ints, numbers: Floats, roots: Ints) -> tuple[Wiring, list[int]]:
    """The wiring of columns, and a cycle, where there is one."""
    order, live = _topological_order(start, arg, roots)
    cycle = [] if live >= 0 else order.tolist()
    return Wiring(opcode, start, arg, datum, numbers, order, live), cycle


def unknown_primitive(name: str, place: Path, leaf: bool = True) -> UnknownPrimitive:
    """The error for an operation that does not exist, with the nearest that does; `leaf`: the op of a leaf is one too."""
    hint = (
        " It is called 'log'."
        if name == "ln"
        else nearest(name, [*WIRE, LEAF] if leaf else WIRE) or " GET /v1/primitives lists them."
    )
    return UnknownPrimitive(f"there is no primitive {quote(name)}.{hint}", place)


def wrong_arity(name: str, count: int, place: Path, node: str | None = None) -> WrongArity:
    """The error for a primitive with too few or too many arguments."""
    at = f"node {quote(node)}: " if node else ""
    if name == LEAF:
        return WrongArity(f"{at}a leaf takes no arguments, not {count}; its number stands in `data`", place)
    return WrongArity(f"{at}{name} takes {WIRE[ALIASES.get(name, name)].arity_text}, not {count}", place)


def _unknown_argument(nodes: Sequence[Node], index: dict[str, int], counts: npt.NDArray[np.int64], place: int) -> UnknownNode:
    start = np.concatenate(([0], np.cumsum(counts)))
    k = int(np.searchsorted(start, place, side="right")) - 1
    name = nodes[k].args[place - int(start[k])]
    detail = f"node {quote(nodes[k].id)} has the argument {quote(name)}, which names no node."
    return UnknownNode(detail + nearest(str(name), index), (*NODES, k, "args", place - int(start[k])))


def _cycle(ids: list[str], place: Path) -> GraphCycle:
    """Spells the cycle out, `a -> b -> a`, each node followed by an argument of it; a long one in part."""
    shown = [i if len(i) <= 30 else i[:29] + "…" for i in (ids if len(ids) <= 12 else ids[:6])]
    middle = [] if len(ids) <= 12 else [f"... ({len(ids) - 6} more) ..."]
    return GraphCycle("the graph has a cycle: " + " -> ".join([*shown, *middle, shown[0]]), place)


@jit
def _topological_order(start: Ints, arg: Ints, roots: Ints) -> tuple[Ints, int]:
    """Depth-first from the roots in turn, then from the rest: (order, how many the roots need), or (a cycle, -1).

    Tarjan's colours on a stack of our own: 0 unseen, 1 begun, 2 done. An argument that is begun closes a cycle, which
    is then what lies on the stack above it.
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

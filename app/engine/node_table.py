"""Node tables of JSON texts: the arrays that `node_reader` fills, with ids and nodes that are decoded only when needed.

Most requests look up a few ids of a large graph and never look at its nodes, so neither becomes Python objects before that.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np

from app.engine import node_reader
from app.engine.graph import Node, NodeTable
from app.engine.interruption import Checkpoint, checked, never
from app.engine.json_tokens import Bytes
from app.engine.large_json import LargeList, as_array, decode, whole
from app.engine.tape import Ints

MAX_TEXT_LOOKUPS = 64
"""Look-ups in the text, or ids, up to which a dict of all ids costs no more than compiled code."""


def read_nodes(
    text: bytes | memoryview, check: Checkpoint = never, arrays: node_reader.NodeArrays | None = None
) -> NodeTable | None:
    """Read the JSON text of a list of nodes, unless `arrays` is what was made of it. `check` is called every few milliseconds.

    Returns None if a node has a field twice, or if the list is not right, for example because `graph.tabulate` refuses it.
    Reading the nodes by other means then gives the graph, or the error.

    The text must be JSON. The table refers to it, so it must not change.
    """
    raw = as_array(text)
    arrays = node_reader.read(raw, check) if arrays is None else arrays
    if arrays.size < 0:
        plain = node_reader.unescape(raw, check)
        if len(plain) == len(raw):
            return None
        raw, arrays = plain, node_reader.read(plain, check)
    if arrays.size < 0 or not node_reader.decide(raw, arrays, check):
        return None
    ids = Ids(raw, arrays.spans)
    index = Index(raw, arrays.spans, arrays.table, ids)
    return NodeTable(ids, index, arrays.opcode, arrays.start, arrays.arg, arrays.datum, arrays.numbers)


ESCAPE = re.compile(r"\\(.)")
"""The escape of a quote or of a backslash, which are the only ones in ids."""


class Ids(Sequence[str]):
    """The ids in a text. All are decoded when the first is accessed."""

    def __init__(self, raw: Bytes, spans: Ints) -> None:
        self._raw, self._spans = raw, spans
        self._decoded: list[str] | None = None

    @property
    def decoded(self) -> list[str]:
        """All ids."""
        if self._decoded is None:
            joined = node_reader.join_ids(self._raw, self._spans).tobytes().decode()
            self._decoded = (ESCAPE.sub(r"\1", joined) if "\\" in joined else joined).split("\n")
        return self._decoded

    def __len__(self) -> int:
        return len(self._spans)

    @overload
    def __getitem__(self, k: int) -> str: ...
    @overload
    def __getitem__(self, k: slice) -> list[str]: ...
    def __getitem__(self, k: int | slice) -> str | list[str]:
        return self.decoded[k]

    def __iter__(self) -> Iterator[str]:
        return iter(self.decoded)


class Index(Mapping[str, int]):
    """Positions by id. The first look-ups search the text; after some, or for a small graph, a dict is made."""

    def __init__(self, raw: Bytes, spans: Ints, table: Ints, ids: Ids) -> None:
        self._raw, self._spans, self._table, self._ids = raw, spans, table, ids
        self._lookups = 0 if len(spans) > MAX_TEXT_LOOKUPS else MAX_TEXT_LOOKUPS
        self._positions: dict[str, int] | None = None

    @property
    def positions(self) -> dict[str, int]:
        """All positions."""
        if self._positions is None:
            self._positions = dict(zip(self._ids.decoded, range(len(self._spans)), strict=True))
        return self._positions

    def get(self, name: str, default: Any = None) -> Any:
        """Return the position of a node, or `default`."""
        if self._lookups >= MAX_TEXT_LOOKUPS:
            return self.positions.get(name, default)
        self._lookups += 1
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        sought = np.frombuffer(escaped.encode("utf-8", "surrogatepass"), np.uint8)
        position = node_reader.find(self._raw, self._spans, self._table, sought)
        return position if position >= 0 else default

    def __getitem__(self, name: str) -> int:
        position = self.get(name)
        if position is None:
            raise KeyError(name)
        return int(position)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __len__(self) -> int:
        return len(self._spans)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)


class Nodes(Sequence[Node]):
    """The nodes in a text of valid nodes. All are decoded when the first is accessed; `check` is called meanwhile."""

    def __init__(self, text: bytes | memoryview, count: int, check: Checkpoint = never) -> None:
        self._text, self._count, self._check = text, count, check
        self._decoded: tuple[Node, ...] | None = None

    @property
    def decoded(self) -> tuple[Node, ...]:
        """All nodes."""
        if self._decoded is None:
            nodes = decode(self._text, (), self._check)
            pieces = nodes.pieces() if isinstance(nodes, LargeList) else [nodes]
            every = (fields for piece in pieces for fields in piece)
            self._decoded = tuple([_node(**whole(fields)) for fields in checked(every, self._check)])
        return self._decoded

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, k: int) -> Node: ...
    @overload
    def __getitem__(self, k: slice) -> tuple[Node, ...]: ...
    def __getitem__(self, k: int | slice) -> Node | tuple[Node, ...]:
        return self.decoded[k]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.decoded)


def _node(
    id: str, op: str, args: Sequence[str | float] | None = None, data: float | None = None, label: str | None = None
) -> Node:
    """Return the node with these fields, with integers as floats."""
    arguments = tuple([arg if isinstance(arg, str) else float(arg) for arg in args or ()])
    return Node(id, op, arguments, None if data is None else float(data), label)

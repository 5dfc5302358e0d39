"""Nodes that are made on top of those of a graph, each once, and in a simple form.

A node is a place: an int. Those of the graph come first, arguments before what uses them, and new ones follow in the order in
which they are made. So a place is larger than those of its arguments.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from app.engine.graph import Graph
from app.engine.interruption import Checkpoint, checked
from app.engine.primitives import ALIASES, LEAF, OPCODE, PRIMITIVES

Operand = int | float
"""The place of a node, which is an int, or a number, which is a float."""

COMMUTATIVE = frozenset({"add", "mul", "max", "min", "eq", "ne", "hypot"})
TRUTHS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})
"""Operations whose value is 1 or 0."""

FOLDED = frozenset({"add", "sub", "mul", "divide", "neg", "pow", "where", "max", "min", *TRUTHS})
"""Operations on numbers that are carried out. Others stay as they are: log(2) is shorter than its digits."""
SHORT = 10
"""A number of at most so many characters is short."""


class NewNodes:
    """The nodes that a graph's outputs need, and more.

    Attributes:
        ops: the operation of each place.
        args: its arguments: places and numbers.
        active: whether it depends on a target.
        place: the place of each needed position of the graph.
        output: the place of the graph's first output.
    """

    def __init__(self, graph: Graph, targets: Sequence[int], checkpoint: Checkpoint) -> None:
        """Take over the nodes of a graph, of which those at the positions `targets` are what is differentiated by."""
        self.graph = graph
        order = graph.wiring.order[: graph.wiring.live].tolist()
        self.place = {position: place for place, position in enumerate(order)}
        self.output = self.place[graph.index[graph.output]]
        self.ops: list[str] = []
        self.args: list[tuple[Operand, ...]] = []
        self.active: list[bool] = []
        self.known: dict[tuple[object, ...], int] = {}
        places = {graph.nodes[position].id: place for place, position in enumerate(order)}
        wanted = set(targets)
        active = self.active
        for position in checked(order, checkpoint):
            node = graph.nodes[position]
            op = ALIASES.get(node.op, node.op)
            arguments = tuple([places[a] if type(a) is str else float(a) for a in node.args])
            depends = position in wanted
            if op != LEAF:
                self.known.setdefault(_key(op, arguments), len(self.ops))
                for argument in arguments:
                    if type(argument) is int and active[argument]:
                        depends = True
                        break
            self.ops.append(op)
            self.args.append(arguments)
            active.append(depends)

    def name(self, place: int) -> str:
        """Return the id of one of the graph's nodes."""
        return self.graph.nodes[self.position(place)].id

    def position(self, place: int) -> int:
        """Return the position in the graph of one of its nodes."""
        return int(self.graph.wiring.order[place])

    def complement(self, condition: Operand | None) -> Operand | None:
        """Return the condition that holds where this one, a comparison with 0, does not; None if it is of another form."""
        if not isinstance(condition, int) or self.ops[condition] != "eq":
            return None
        other, zero = self.args[condition]
        if not isinstance(other, int) or not isinstance(zero, float) or zero:
            return None
        return other if self.ops[other] in TRUTHS else self.known.get(_key("ne", (other, 0.0)))

    def make(self, op: str, *arguments: Operand) -> Operand:
        """Return an operation on these arguments, simplified: a node that may have been there before, or a number."""
        simple: Operand | None = None
        if op == "mul":
            simple = self._product(*arguments)
        elif op == "add":
            simple = self._sum(*arguments)
        elif op in SIMPLE:
            simple = self._simplified(op, arguments)
        if simple is None and op in FOLDED and float is type(arguments[0]) and all(type(a) is float for a in arguments):
            simple = _folded(op, arguments)
        return self._node(op, arguments) if simple is None else simple

    def _node(self, op: str, arguments: tuple[Operand, ...]) -> int:
        key = _key(op, arguments)
        place = self.known.get(key)
        if place is None:
            place = self.known[key] = len(self.ops)
            self.ops.append(op)
            self.args.append(arguments)
            active = self.active
            depends = False
            for argument in arguments:
                if type(argument) is int and active[argument]:
                    depends = True
                    break
            active.append(depends)
        return place

    def _sum(self, x: Operand, y: Operand) -> Operand | None:
        if x == 0.0 and type(x) is float:
            return y
        if type(y) is float:
            return x if y == 0.0 else None
        if x == y and type(x) is int:
            return self.make("mul", 2.0, x)
        assert isinstance(y, int)
        if self.ops[y] == "neg":
            return self.make("sub", x, self.args[y][0])
        return None

    def _product(self, x: Operand, y: Operand) -> Operand | None:
        """A product with its number in front, and as a fraction if a factor is one over something."""
        if type(y) is float:
            if type(x) is float:
                return None
            x, y = y, x
        assert isinstance(y, int)
        if type(x) is float:
            return self._multiple(x, y)
        assert isinstance(x, int)
        for factor, other in ((x, y), (y, x)):
            op = self.ops[factor]
            if op == "neg":
                return self.make("neg", self.make("mul", self.args[factor][0], other))
            if op in ("mul", "divide"):
                number, inner = self.args[factor]
                if type(number) is float:
                    if op == "mul":
                        return self.make("mul", number, self.make("mul", inner, other))
                    return self.make("divide", self.make("mul", number, other), inner)
        return None

    def _multiple(self, number: float, x: int) -> Operand | None:
        """A number times a node that may have a number already."""
        if number == 1.0:
            return x
        if number == 0.0:
            return 0.0
        if number == -1.0:
            return self.make("neg", x)
        op = self.ops[x]
        if op == "neg":
            return self.make("mul", -number, self.args[x][0])
        if op in ("mul", "divide"):
            other, inner = self.args[x]
            if type(other) is float and _is_short(product := number * other):
                return self.make(op, product, inner)
        return self._node("mul", (number, x))

    def _simplified(self, op: str, arguments: tuple[Operand, ...]) -> Operand | None:
        """A simpler form of another operation, or None if it is as simple as can be."""
        x, y = arguments[0], arguments[1] if len(arguments) > 1 else None
        y_number = y if type(y) is float else None  # a place may be equal to a number
        if len(arguments) == 1:
            if op == "neg":
                return self.args[x][0] if type(x) is int and self.ops[x] == "neg" else None
            return x  # a sum or mean, product, minimum or maximum of one
        if op == "where":
            if type(x) is float:
                return arguments[1] if x else arguments[2]
            return y if y == arguments[2] and type(y) is type(arguments[2]) else None
        if (op == "sub" and y_number == 0.0) or (op in ("divide", "pow") and y_number == 1.0):
            return x
        if op == "pow" and y_number == 0.0:
            return 1.0
        if op == "ne" and y_number == 0.0 and type(x) is int and self.ops[x] in TRUTHS:
            return x
        if op == "divide" and y_number == -1.0:
            return self.make("neg", x)
        if type(x) is float and x == 0.0 and type(y) is int:
            return 0.0 if op == "divide" else self.make("neg", y) if op == "sub" else None
        return None


SIMPLE = frozenset({"sum", "mean", "prod", "min", "max", "sub", "divide", "pow", "ne", "where", "neg"})


def _key(op: str, arguments: tuple[Operand, ...]) -> tuple[object, ...]:
    """What is the same for operations with the same value. A number counts as its text, since 2 is a place and 2.0 a number."""
    if len(arguments) == 1:
        (a,) = arguments
        return (op, a if type(a) is int else repr(a))
    if len(arguments) == 2:
        a, b = arguments
        first = a if type(a) is int else repr(a)
        second = b if type(b) is int else repr(b)
        if type(first) is type(second) and op in COMMUTATIVE and second < first:  # type: ignore[operator]  # two places, or two texts
            return (op, second, first)
        if type(second) is str and op in COMMUTATIVE:
            return (op, second, first)
        return (op, first, second)
    return (op, *[argument if type(argument) is int else repr(argument) for argument in arguments])


def _is_short(number: float) -> bool:
    return number.is_integer() and abs(number) < 1e15 or (math.isfinite(number) and len(repr(number)) <= SHORT)


@lru_cache(maxsize=4096)
def _folded(op: str, arguments: tuple[float, ...]) -> float | None:
    """The value of an operation on numbers, if it is short enough to stand for it."""
    fun = PRIMITIVES[OPCODE[op]].fun
    assert fun is not None
    with np.errstate(all="ignore"):
        number = float(fun(*map(np.float64, arguments)))
    return number if _is_short(number) else None

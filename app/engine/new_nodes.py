"""Nodes that are made on top of those of a graph, each once, and in a simple form.

A node is a place, from 0 on. Those of the graph come first, arguments before what uses them, and new ones follow in the order
in which they are made. So a place is larger than those of its arguments. A number is an operand below 0.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from app.engine.graph import OPERATIONS, Graph
from app.engine.interruption import Checkpoint, checked
from app.engine.primitives import LEAF, OPCODE, PRIMITIVES
from app.engine.tape import Ints, dependents

Operand = int
"""The place of a node, or ~k for number k."""

NUMBERS = (0.0, 1.0, -1.0, 2.0)
"""The first numbers, which are always there."""
ZERO, ONE, MINUS_ONE, TWO = (~k for k in range(len(NUMBERS)))

COMMUTATIVE = frozenset({"add", "mul", "max", "min", "eq", "ne", "hypot"})
REORDERED = frozenset({"neg", "mul", "divide"})
"""Operations whose products have another form."""
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
        args: its arguments.
        active: whether it depends on a target.
        numbers: the numbers among the arguments.
        count: how many places are the graph's.
        place: the place of each position of the graph, or -1 for a node that the outputs do not need.
        output: the place of the graph's first output.
        checkpoint: is called from time to time.
    """

    def __init__(self, graph: Graph, targets: Sequence[int], checkpoint: Checkpoint) -> None:
        """Take over the nodes of a graph, of which those at the positions `targets` are what is differentiated by."""
        self.graph, self.checkpoint = graph, checkpoint
        self.numbers: list[float] = []
        self._operands: dict[object, Operand] = {}
        for number in NUMBERS:
            self.number(number)
        wiring, tape = graph.wiring, graph.tape
        self.count = wiring.live
        order = wiring.order[: self.count]
        self.place: Ints = np.full(len(wiring.order), -1, np.int32)
        self.place[order] = np.arange(self.count, dtype=np.int32)
        self.output = int(self.place[graph.index[graph.output]])
        self.ops = [OPERATIONS[code] for code in wiring.opcode[order].tolist()]
        operands = np.array([self.number(number) for number in checked(wiring.numbers.tolist(), checkpoint)], np.int32)
        is_number = wiring.arg < 0
        flat = self.place[np.where(is_number, 0, wiring.arg)]
        flat[is_number] = operands[~wiring.arg[is_number]]
        arguments: list[Operand] = flat.tolist()
        starts, ends = wiring.start[order].tolist(), wiring.start[order + 1].tolist()
        checkpoint()
        spans = checked(zip(starts, ends, strict=True), checkpoint)
        self.args = [tuple(arguments[start:end]) for start, end in spans]
        self.active: list[bool] = dependents(tape, tape.slot[np.array(targets, np.int32)])[tape.slot[order]].tolist()
        self._known: dict[str, dict[object, Operand]] = {name: {} for name in OPERATIONS}
        for place, op in enumerate(checked(self.ops, checkpoint)):
            if op != LEAF:
                self._known[op].setdefault(_key(op, self.args[place]), place)

    def number(self, number: float) -> Operand:
        """Return the operand of a number."""
        key = number or str(number)  # 0 and -0 are equal
        operand = self._operands.get(key)
        if operand is None:
            operand = self._operands[key] = ~len(self.numbers)
            self.numbers.append(number)
        return operand

    def name(self, place: int) -> str:
        """Return the id of one of the graph's nodes."""
        return self.graph.nodes[self.position(place)].id

    def position(self, place: int) -> int:
        """Return the position in the graph of one of its nodes."""
        return int(self.graph.wiring.order[place])

    def complement(self, condition: Operand | None) -> Operand | None:
        """Return the condition that holds where this one, a comparison with 0, does not; None if it is of another form."""
        if condition is None or condition < 0 or self.ops[condition] != "eq":
            return None
        other, zero = self.args[condition]
        if other < 0 or zero >= 0 or self.numbers[~zero]:
            return None
        return other if self.ops[other] in TRUTHS else self._known["ne"].get(_key("ne", (other, ZERO)))

    def make(self, op: str, *arguments: Operand) -> Operand:
        """Return an operation on these arguments, simplified: a node that may have been there before, or a number."""
        simplify = SIMPLE.get(op)
        if simplify is not None:
            simple = simplify(self, *arguments)
            if simple is not None:
                return simple
        if arguments[0] < 0 and op in FOLDED and max(arguments) < 0:
            number = _folded(op, [self.numbers[~a] for a in arguments])
            if number is not None:
                return self.number(number)
        return self._node(op, arguments)

    def multiply(self, x: Operand, y: Operand) -> Operand:
        """Return a product, as `make` does, but faster."""
        if x == ONE:
            return y
        if x < 0 or y < 0 or self.ops[x] in REORDERED or self.ops[y] in REORDERED:
            return self.make("mul", x, y)
        return self._node("mul", (x, y))

    def add(self, x: Operand, y: Operand) -> Operand:
        """Return a sum, as `make` does, but faster."""
        if x < 0 or y < 0 or x == y or self.ops[y] == "neg":
            return self.make("add", x, y)
        return self._node("add", (x, y))

    def _node(self, op: str, arguments: tuple[Operand, ...]) -> int:
        known, key = self._known[op], _key(op, arguments)
        place = known.get(key)
        if place is None:
            place = known[key] = len(self.ops)
            self.ops.append(op)
            self.args.append(arguments)
            active = self.active
            depends = False
            for argument in arguments:
                if argument >= 0 and active[argument]:
                    depends = True
                    break
            active.append(depends)
        return place

    def sum(self, x: Operand, y: Operand) -> Operand | None:
        """A simpler form of a sum, or None if it is as simple as can be."""
        if x < 0 and not self.numbers[~x]:
            return y
        if y < 0:
            return None if self.numbers[~y] else x
        if x == y:
            return self.make("mul", TWO, x)
        if self.ops[y] == "neg":
            return self.make("sub", x, self.args[y][0])
        return None

    def product(self, x: Operand, y: Operand) -> Operand | None:
        """A product with its number in front, and as a fraction if a factor is one over something."""
        if y < 0:
            if x < 0:
                return y if x == ONE else x if y == ONE else None
            x, y = y, x
        if x < 0:
            return self._multiple(x, y)
        for factor, other in ((x, y), (y, x)):
            op = self.ops[factor]
            if op == "neg":
                return self.make("neg", self.make("mul", self.args[factor][0], other))
            if op in ("mul", "divide"):
                number, inner = self.args[factor]
                if number < 0:
                    if op == "mul":
                        return self.make("mul", number, self.make("mul", inner, other))
                    return self.make("divide", self.make("mul", number, other), inner)
        return None

    def _multiple(self, factor: Operand, x: int) -> Operand:
        """A number times a node that may have a number already."""
        number = self.numbers[~factor]
        if number == 1.0:
            return x
        if number == 0.0:
            return ZERO
        if number == -1.0:
            return self.make("neg", x)
        op = self.ops[x]
        if op == "neg":
            return self.make("mul", self.number(-number), self.args[x][0])
        if op in ("mul", "divide"):
            other, inner = self.args[x]
            if other < 0 and is_short(product := number * self.numbers[~other]):
                return self.make(op, self.number(product), inner)
        return self._node("mul", (factor, x))

    def difference(self, x: Operand, y: Operand) -> Operand | None:
        """A simpler form of a difference."""
        if y < 0 and not self.numbers[~y]:
            return x
        return self.make("neg", y) if y >= 0 and x < 0 and not self.numbers[~x] else None

    def quotient(self, x: Operand, y: Operand) -> Operand | None:
        """A simpler form of a quotient."""
        if y == ONE:
            return x
        if y == MINUS_ONE:
            return self.make("neg", x)
        return ZERO if y >= 0 and x < 0 and not self.numbers[~x] else None

    def power(self, x: Operand, y: Operand) -> Operand | None:
        """A simpler form of a power."""
        if y == ONE:
            return x
        return ONE if y < 0 and not self.numbers[~y] else None

    def inequality(self, x: Operand, y: Operand) -> Operand | None:
        """A comparison instead of its comparison with 0."""
        return x if y < 0 and not self.numbers[~y] and x >= 0 and self.ops[x] in TRUTHS else None

    def choice(self, condition: Operand, x: Operand, y: Operand) -> Operand | None:
        """A simpler form of a `where`."""
        if condition < 0:
            return x if self.numbers[~condition] else y
        return x if x == y else None

    def negative(self, x: Operand) -> Operand | None:
        """What was negated already."""
        return self.args[x][0] if x >= 0 and self.ops[x] == "neg" else None

    def fold(self, *arguments: Operand) -> Operand | None:
        """The argument of a fold of one, such as a sum."""
        return arguments[0] if len(arguments) == 1 else None


SIMPLE: dict[str, Callable[..., Operand | None]] = {
    "add": NewNodes.sum,
    "sub": NewNodes.difference,
    "mul": NewNodes.product,
    "divide": NewNodes.quotient,
    "neg": NewNodes.negative,
    "pow": NewNodes.power,
    "ne": NewNodes.inequality,
    "where": NewNodes.choice,
    **dict.fromkeys(("sum", "mean", "prod", "min", "max", "logsumexp"), NewNodes.fold),
}
"""What finds a simpler form of an operation."""


def _key(op: str, arguments: tuple[Operand, ...]) -> object:
    """What is the same for an operation with the same value. An integer takes less time than a tuple."""
    if len(arguments) == 2:
        a, b = arguments
        return (b << 32) + a if b < a and op in COMMUTATIVE else (a << 32) + b
    return arguments


def is_short(number: float) -> bool:
    """Whether a number has few digits."""
    return number.is_integer() and abs(number) < 1e15 or (math.isfinite(number) and len(repr(number)) <= SHORT)


def _folded(op: str, numbers: Sequence[float]) -> float | None:
    """The value of an operation on numbers, if it is short enough to stand for it."""
    fun = PRIMITIVES[OPCODE[op]].fun
    assert fun is not None
    with np.errstate(all="ignore"):
        number = float(fun(*map(np.float64, numbers)))
    return number if is_short(number) else None

"""The derivative of a graph as a graph: reverse accumulation with expressions in place of numbers.

The rule of each operation stands in the table of primitives, as the text of an expression. The result is an ordinary graph, so
it can be evaluated, written out and differentiated again.

An adjoint is a term with a condition. Where an operation selects, as `where` and `max` do, its condition goes along with the
adjoint of what it may have selected, instead of being multiplied in, and every operation further back only extends the term.
So a branch that was not taken passes nothing on, even if a derivative in it is infinite:

    where(x > 0, log(x), 0)        has the derivative  where(x > 0, 1/x, 0)
    not                                                where(x > 0, 1, 0)*(1/x)

Equal parts are made once, constants are folded, and sums and products lose their zeros and ones.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from app.engine.errors import InvalidNode, quote
from app.engine.graph import ID_LIMIT, Graph, Node
from app.engine.interruption import Checkpoint, checked, never
from app.engine.primitives import ALIASES, LEAF, OPCODE, PRIMITIVES, Primitive
from app.engine.text import parse

Operand = str | float
"""The id of a node, or a number."""

COMMUTATIVE = {"add", "mul", "max", "min", "eq", "ne", "hypot"}
TRUTHS = {"lt", "le", "gt", "ge", "eq", "ne"}
"""Operations whose value is 1 or 0."""


class _Adjoint(NamedTuple):
    """A term that counts only where the condition `live` is not 0; without one, it counts everywhere."""

    term: Operand
    live: Operand | None = None


def gradient(graph: Graph, wrt: Sequence[str] | None = None, *, checkpoint: Checkpoint = never) -> Graph:
    """Return a graph whose outputs are the output of `graph` and its derivative by each node in `wrt` (default: the leaves).

    It has all nodes of `graph` and more. The derivatives are called d_x, d_y and so on, or, where such a name is taken or too
    long, similarly; they are `outputs[1:]` in the order of `wrt`, each name once. By an operation, the derivative is that by a
    number added to its result.

    Raises: UnknownNode; InvalidNode for an operation whose derivative cannot be expressed by operations.
    """
    names = tuple(dict.fromkeys(graph.leaves if wrt is None else wrt))
    targets = graph.positions(names if wrt is None else wrt, ("wrt",)).tolist()
    made = _Expressions(graph)
    adjoints = _accumulate(graph, set(targets), made, checkpoint)
    positions = dict.fromkeys(targets)
    derivatives = [made.settled(adjoints[position]) if position in adjoints else 0.0 for position in positions]
    return _extended(graph, made, dict(zip(names, derivatives, strict=True)))


def _accumulate(graph: Graph, targets: set[int], made: "_Expressions", checkpoint: Checkpoint) -> dict[int, _Adjoint]:
    """The adjoints of the targets, by position, as far as the output depends on them."""
    order = graph.wiring.order[: graph.wiring.live].tolist()
    active: set[str] = set()  # what depends on a target
    for position in checked(order, checkpoint):
        node = graph.nodes[position]
        if position in targets or not active.isdisjoint(node.args):
            active.add(node.id)
    arrived: dict[str, list[_Adjoint]] = {graph.output: [_Adjoint(1.0)]}
    adjoints = {}
    for position in checked(reversed(order), checkpoint):
        node = graph.nodes[position]
        if node.id not in arrived or node.id not in active:
            continue
        adjoint = made.total(arrived.pop(node.id))
        if position in targets:
            adjoints[position] = adjoint
        if node.op == LEAF:
            continue
        row = _row(node.op, node.args)
        if row.fun is not None and not row.symbolic:
            detail = f"node {quote(node.id)}: the derivative of {node.op} is no expression of the operations that there are"
            raise InvalidNode(detail, ("nodes", position))
        for argument, part in _contributions(made, node, adjoint, active):
            arrived.setdefault(argument, []).append(part)
    return adjoints


def _contributions(made: "_Expressions", node: Node, adjoint: _Adjoint, active: set[str]) -> Iterator[tuple[str, _Adjoint]]:
    """What an operation passes on to each of its active arguments."""
    row, value = _row(node.op, node.args), node.id
    arguments = [argument if isinstance(argument, str) else float(argument) for argument in node.args]
    if row.fold is None or (row.fun is not None and len(arguments) == 2):
        for argument, part in _passed(made, row, dict(zip("abc", arguments, strict=False)) | {"y": value}, adjoint):
            if argument in active:
                yield str(argument), part
    elif row.fun is None and row.symbolic:
        for argument in arguments:
            if argument in active:
                names: dict[str, Operand] = {"a": argument, "y": value, "n": float(len(arguments))}
                yield from ((str(argument), part) for _, part in _passed(made, row, names, adjoint))
    else:
        yield from _along_chain(made, row.fold, (arguments, value), adjoint, active)


def _along_chain(
    made: "_Expressions", op: str, chain: tuple[Sequence[Operand], Operand], adjoint: _Adjoint, active: set[str]
) -> Iterator[tuple[str, _Adjoint]]:
    """The same for a chain of an operation on two arguments, from left to right: for its arguments and its value."""
    arguments, value = chain
    links: list[tuple[Operand, Operand]] = []
    prefix = arguments[0]
    for argument in arguments[1:]:
        prefix = made.make(op, *links[-1]) if links else prefix
        links.append((prefix, argument))
    row = _row(op, ())
    left: _Adjoint | None = adjoint
    for link, argument in reversed(links):
        if left is None:
            return
        here, left = left, None
        for k, (_, part) in enumerate(_both_passed(made, row, {"a": link, "b": argument, "y": value}, here)):
            if part is not None and k == 1 and argument in active:
                yield str(argument), part
            elif k == 0:
                left = part
        value = link
    if left is not None and arguments[0] in active:
        yield str(arguments[0]), left


def _row(op: str, arguments: Sequence[Operand]) -> Primitive:
    """The row of an operation, or the one that is used in its place if the last argument is a number."""
    row = PRIMITIVES[OPCODE[ALIASES.get(op, op)]]
    if row.with_number is not None and arguments and not isinstance(arguments[-1], str):
        row = PRIMITIVES[OPCODE[row.with_number]]
    return row


def _passed(
    made: "_Expressions", row: Primitive, names: Mapping[str, Operand], adjoint: _Adjoint
) -> Iterator[tuple[Operand, _Adjoint]]:
    """The arguments to which something is passed, with what that is."""
    for argument, part in _both_passed(made, row, names, adjoint):
        if part is not None:
            yield argument, part


def _both_passed(
    made: "_Expressions", row: Primitive, names: Mapping[str, Operand], adjoint: _Adjoint
) -> Iterator[tuple[Operand, _Adjoint | None]]:
    """Each argument with what is passed to it, or None."""
    for letter, text in zip("abc", row.symbolic, strict=False):
        if not isinstance(names[letter], str):
            yield names[letter], None
            continue
        live, partial = made.rule(text, names, row.selects)
        if partial == 0.0 or live == 0.0:
            yield names[letter], None
        else:
            yield names[letter], _Adjoint(made.make("mul", adjoint.term, partial), made.both(adjoint.live, live))


@cache
def _rule(text: str) -> Graph:
    return parse(text)


class _Expressions:
    """Nodes that are made on top of those of a graph, each once. Their ids are provisional, and are no ids of a graph.

    A method that returns an operand may return one that was there before, or a number.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: dict[str, tuple[str, tuple[Operand, ...]]] = {}
        self.known = {_key(ALIASES.get(node.op, node.op), node.args): node.id for node in graph.nodes if node.op != LEAF}

    def rule(self, text: str, names: Mapping[str, Operand], selects: bool) -> tuple[Operand | None, Operand]:
        """The partial that a rule of the table gives for these arguments, and before it the condition under which it counts."""
        graph = _rule(text)
        operands: dict[str, Operand] = {}
        for node in graph.nodes:  # arguments come first
            given = [operands[argument] if isinstance(argument, str) else argument for argument in node.args]
            if node.op == LEAF:
                operands[node.id] = names[node.id] if node.data is None else node.data
            elif selects and node.id == graph.output:
                condition, partial = given[0], given[1]
                return (None if isinstance(condition, float) and condition else condition), partial
            else:
                operands[node.id] = self.make(node.op, *given)
        return None, operands[graph.output]

    def total(self, parts: Sequence[_Adjoint]) -> _Adjoint:
        """The sum of adjoints. It is live where one of them is."""
        terms: dict[Operand | None, Operand] = {}
        for term, live in parts:
            terms[live] = self.make("add", terms[live], term) if live in terms else term
        for otherwise in list(terms):
            live = self._complement(otherwise)
            if live is not None and live in terms and otherwise in terms:
                term = self.make("where", live, terms.pop(live), terms.pop(otherwise))
                terms[None] = self.make("add", terms[None], term) if None in terms else term
        if len(terms) == 1:
            ((live, term),) = terms.items()
            return _Adjoint(term, live)
        live, term = None, 0.0
        for k, (condition, part) in enumerate(terms.items()):
            live = condition if not k else None if live is None or condition is None else self.make("max", live, condition)
            term = self.make("add", term, self.settled(_Adjoint(part, condition)))
        return _Adjoint(term, live)

    def _complement(self, condition: Operand | None) -> Operand | None:
        """The condition that holds where this one, a comparison with 0, does not; None if it is of another form."""
        if not isinstance(condition, str) or self._op(condition) != "eq" or self._arguments(condition)[1] != 0.0:
            return None
        other = self._arguments(condition)[0]
        return other if isinstance(other, str) and self._op(other) in TRUTHS else self.known.get(_key("ne", (other, 0.0)))

    def settled(self, adjoint: _Adjoint) -> Operand:
        """An adjoint as a number: its term, or 0 where it does not count."""
        return adjoint.term if adjoint.live is None else self.make("where", adjoint.live, adjoint.term, 0.0)

    def both(self, first: Operand | None, second: Operand | None) -> Operand | None:
        """The condition that two conditions hold."""
        if first is None or second is None or first == second:
            return second if first is None else first
        return self.make("mul", first, second)

    def make(self, op: str, *arguments: Operand) -> Operand:
        """An operation on these arguments, simplified."""
        if not any(isinstance(argument, str) for argument in arguments):
            number = _value(op, arguments)
            if math.isfinite(number):
                return number
        simpler = self._simplified(op, arguments)
        if simpler is not None:
            return simpler
        key = _key(op, arguments)
        if key not in self.known:
            name = f"\0{len(self.nodes)}"
            self.nodes[name] = (op, arguments)
            self.known[key] = name
        return self.known[key]

    def _simplified(self, op: str, arguments: tuple[Operand, ...]) -> Operand | None:
        """A simpler form of an operation, or None if it is as simple as can be."""
        match op, arguments:
            case ("sum" | "mean" | "prod" | "min" | "max", (x,)):
                return x
            case ("add", (0.0, x)) | ("add" | "sub", (x, 0.0)) | ("mul", (1.0, x) | (x, 1.0)) | ("divide" | "pow", (x, 1.0)):
                return x
            case ("mul", (0.0, _) | (_, 0.0)) | ("divide", (0.0, _)):
                return 0.0
            case ("pow", (_, 0.0)):
                return 1.0
            case ("sub", (0.0, x)) | ("mul", (-1.0, x) | (x, -1.0)) | ("divide", (x, -1.0)):
                return self.make("neg", x)
            case ("add", (x, y)) if x == y:
                return self.make("mul", 2.0, x)
            case ("ne", (str(x), 0.0)) if self._op(x) in TRUTHS:
                return x
            case ("where", (float(condition), x, y)):
                return x if condition else y
            case ("where", (_, x, y)) if x == y:
                return x
            case ("neg", (str(x),)) if self._op(x) == "neg":
                return self._arguments(x)[0]
            case ("add", (x, str(y))) if self._op(y) == "neg":
                return self.make("sub", x, self._arguments(y)[0])
            case ("mul", (x, y)):
                return self._product(x, y)
        return None

    def _product(self, x: Operand, y: Operand) -> Operand | None:
        """A product with its number in front, and as a fraction if a factor is one over something."""
        if isinstance(y, float):
            return self.make("mul", y, x)
        if isinstance(x, float):
            return self._multiple(x, y)
        for factor, other in ((x, y), (y, x)):
            match self.nodes.get(factor):
                case ("neg", (inner,)):
                    return self.make("neg", self.make("mul", inner, other))
                case ("mul", (float(number), inner)):
                    return self.make("mul", number, self.make("mul", inner, other))
                case ("divide", (float(number), inner)):
                    return self.make("divide", self.make("mul", number, other), inner)
        return None

    def _multiple(self, number: float, x: str) -> Operand | None:
        """A number times a node that may have a number already."""
        match self.nodes.get(x):
            case ("neg", (inner,)):
                return self.make("mul", -number, inner)
            case ("mul" | "divide" as op, (float(other), inner)) if math.isfinite(number * other):
                return self.make(op, number * other, inner)
        return None

    def _op(self, name: str) -> str:
        """The operation of a node."""
        return self.nodes[name][0] if name in self.nodes else self.graph.nodes[self.graph.index[name]].op

    def _arguments(self, name: str) -> tuple[Operand, ...]:
        """The arguments of a node."""
        return self.nodes[name][1] if name in self.nodes else self.graph.nodes[self.graph.index[name]].args


def _key(op: str, arguments: Sequence[Operand]) -> tuple[object, ...]:
    """What is the same for operations with the same value."""
    if op in COMMUTATIVE and len(arguments) == 2:
        arguments = sorted(arguments, key=lambda argument: (isinstance(argument, str), argument))
    return (op, *arguments)


def _value(op: str, arguments: Sequence[Operand]) -> float:
    """The value of an operation on numbers, NaN for one without a rule of its own."""
    fun = _row(op, ()).fun
    if fun is None:
        return math.nan
    with np.errstate(all="ignore"):
        return float(fun(*map(np.float64, arguments)))


def _extended(graph: Graph, made: _Expressions, derivatives: Mapping[str, Operand]) -> Graph:
    """The graph with the nodes that the derivatives need, and the derivatives as further outputs."""
    needed: set[Operand] = {name for name in derivatives.values() if name in made.nodes}
    for name, (_, arguments) in reversed(made.nodes.items()):
        if name in needed:
            needed.update(argument for argument in arguments if argument in made.nodes)
    taken = set(graph.index)
    outputs: list[str] = []
    ids: dict[Operand, str] = {}
    for name, derivative in derivatives.items():
        output = _free(f"d_{name}", taken)
        outputs.append(output)
        if derivative in needed and derivative not in ids:
            ids[derivative] = output
    numbers = iter(range(1, len(graph.nodes) + len(needed) + 1))
    nodes = list(graph.nodes)
    for name, (op, arguments) in made.nodes.items():
        if name in needed:
            if name not in ids:
                ids[name] = next(free for k in numbers if (free := f"%{k}") not in taken)
            nodes.append(Node(ids[name], op, tuple(ids.get(argument, argument) for argument in arguments)))
    own = set(ids.values())
    for output, derivative in zip(outputs, derivatives.values(), strict=True):
        if output not in own:  # a number, or a node that has a name already
            nodes.append(Node(output, "sum", (ids.get(derivative, derivative),)))
    names = () if graph.every_node_named else (*graph.names, *outputs)
    return Graph(nodes, (graph.output, *outputs), names, graph.source)


def _free(name: str, taken: set[str]) -> str:
    """A name that is not taken, similar to this one; it is taken from now on."""
    found, number = name[:ID_LIMIT], 1
    while found in taken:
        number += 1
        ending = f"_{number}"
        found = name[: ID_LIMIT - len(ending)] + ending
    taken.add(found)
    return found

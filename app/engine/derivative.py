"""The derivatives of a graph as a graph: reverse accumulation with expressions in place of numbers.

The rule of each operation stands in the table of primitives, as the text of an expression. The result is an ordinary graph, so
it can be evaluated, written out and differentiated again.

An adjoint is a term with a condition. Where an operation selects, as `where` and `max` do, its condition goes along with the
adjoint of what it may have selected, instead of being multiplied in, and every operation further back only extends the term.
So a branch that was not taken passes nothing on, even if a derivative in it is infinite:

    where(x > 0, log(x), 0)        has the derivative  where(x > 0, 1/x, 0)
    not                                                where(x > 0, 1, 0)*(1/x)

Equal parts are made once, short constants are folded, and sums and products lose their zeros and ones. `simplification` does
the rest, where a graph is small enough to be read.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import count as count_from
from typing import NamedTuple

from app.engine.errors import InvalidNode, quote
from app.engine.graph import ID_LIMIT, Graph, Node
from app.engine.interruption import Checkpoint, checked, never
from app.engine.new_nodes import NewNodes, Operand
from app.engine.primitives import LEAF, OPCODE, PRIMITIVES, Primitive
from app.engine.text import parse

SLOTS = {"a": 0, "b": 1, "c": 2, "y": 3, "n": 4}
"""Where a rule finds its arguments, the value of the operation and the number of its arguments."""


class _Adjoint(NamedTuple):
    """A term that counts only where the condition `live` is not 0; without one, it counts everywhere."""

    term: Operand
    live: Operand | None = None


class _Rule(NamedTuple):
    """A partial derivative as steps: each is an operation on slots, which are ints, and numbers, and fills the next slot.

    `live` is the slot or number of the condition under which the partial counts, None for everywhere.
    """

    steps: tuple[tuple[str, tuple[int | float, ...]], ...]
    live: int | float | None
    partial: int | float


def gradient(graph: Graph, wrt: Sequence[str] | None = None, *, checkpoint: Checkpoint = never) -> Graph:
    """Return a graph whose outputs are the output of `graph` and its derivative by each node in `wrt` (default: the leaves).

    It has all nodes of `graph` first, and more. The derivatives are called d_x, d_y and so on, or, where such a name is taken
    or too long, similarly; they are `outputs[1:]` in the order of `wrt`, each name once. By an operation, the derivative is
    that by a number added to its result.

    Raises: UnknownNode; InvalidNode for an operation whose derivative cannot be expressed by operations.
    """
    names, targets = _targets(graph, wrt)
    made = NewNodes(graph, targets, checkpoint)
    found = _derivatives(made, made.output, targets, checkpoint)
    return _extended(graph, made, [(f"d_{name}", operand) for name, operand in zip(names, found, strict=True)])


def hessian(graph: Graph, wrt: Sequence[str] | None = None, *, checkpoint: Checkpoint = never) -> Graph:
    """Return a graph whose outputs are the output, its n derivatives as of `gradient`, and the second derivatives.

    The latter are the lower triangle of the Hessian row by row, called d_x_x, d_y_x, d_y_y and so on. Raises as `gradient`.
    """
    names, targets = _targets(graph, wrt)
    made = NewNodes(graph, targets, checkpoint)
    first = _derivatives(made, made.output, targets, checkpoint)
    outputs = [(f"d_{name}", operand) for name, operand in zip(names, first, strict=True)]
    for k, operand in enumerate(first):
        second = _derivatives(made, operand, targets[: k + 1], checkpoint)
        outputs += [(f"d_{names[k]}_{names[j]}", entry) for j, entry in enumerate(second)]
    return _extended(graph, made, outputs)


def _targets(graph: Graph, wrt: Sequence[str] | None) -> tuple[tuple[str, ...], list[int]]:
    """The names to differentiate by, each once, and their positions in the graph."""
    names = tuple(dict.fromkeys(graph.leaves if wrt is None else wrt))
    graph.positions(graph.leaves if wrt is None else wrt, ("wrt",))
    return names, [graph.index[name] for name in names]


def _derivatives(made: NewNodes, output: Operand, targets: Sequence[int], checkpoint: Checkpoint) -> list[Operand]:
    """The derivatives of an output by the nodes at these positions."""
    places = [made.place.get(position, -1) for position in targets]
    adjoints = _accumulate(made, output, set(places), checkpoint)
    return [_settled(made, adjoints[place]) if place in adjoints else 0.0 for place in places]


def _accumulate(made: NewNodes, output: Operand, targets: set[int], checkpoint: Checkpoint) -> dict[int, _Adjoint]:
    """The adjoints of the targets, by place, as far as the output depends on them."""
    if not isinstance(output, int):
        return {}
    arrived: list[list[_Adjoint] | None] = [None] * (output + 1)
    arrived[output] = [_Adjoint(1.0)]
    adjoints = {}
    active = made.active
    for place in checked(range(output, -1, -1), checkpoint):
        parts = arrived[place]
        if parts is None or not active[place]:
            continue
        arrived[place] = None
        adjoint = parts[0] if len(parts) == 1 else _total(made, parts)
        if place in targets:
            adjoints[place] = adjoint
        if made.ops[place] == LEAF:
            continue
        for argument, part in _contributions(made, place, adjoint):
            found = arrived[argument]
            if found is None:
                arrived[argument] = [part]
            else:
                found.append(part)
    return adjoints


def _contributions(made: NewNodes, place: int, adjoint: _Adjoint) -> Iterator[tuple[int, _Adjoint]]:
    """What an operation passes on to each of its active arguments."""
    arguments, active = made.args[place], made.active
    row, rules = _rules(made.ops[place], type(arguments[-1]) is float)
    if row.fun is not None and not rules:
        detail = (
            f"node {quote(made.name(place))}: the derivative of {row.name} is no expression of the operations that there are"
        )
        raise InvalidNode(detail, ("nodes", made.position(place)))
    if row.fold is None or (row.fun is not None and len(arguments) == 2):
        slots: list[Operand] = [0.0, 0.0, 0.0, place, 0.0]
        slots[: len(arguments)] = arguments
        for argument, rule in zip(arguments, rules, strict=False):
            if type(argument) is int and active[argument]:
                part = _passed(made, rule, slots, adjoint)
                if part is not None:
                    yield argument, part
    elif row.fun is None and rules:
        rule = rules[0]
        for argument in arguments:
            if isinstance(argument, int) and made.active[argument]:
                part = _passed(made, rule, [argument, 0.0, 0.0, place, float(len(arguments))], adjoint)
                if part is not None:
                    yield argument, part
    else:
        yield from _along_chain(made, row.fold, place, adjoint)


def _along_chain(made: NewNodes, op: str, place: int, adjoint: _Adjoint) -> Iterator[tuple[int, _Adjoint]]:
    """The same for a chain of an operation on two arguments, from left to right: for its arguments and its value."""
    arguments = made.args[place]
    links: list[tuple[Operand, Operand]] = []
    prefix = arguments[0]
    for argument in arguments[1:]:
        prefix = made.make(op, *links[-1]) if links else prefix
        links.append((prefix, argument))
    _, (left, right) = _rules(op, False)
    here = adjoint
    value: Operand = place
    for link, argument in reversed(links):
        slots: list[Operand] = [link, argument, 0.0, value, 0.0]
        part = _passed(made, right, slots, here)
        if part is not None and isinstance(argument, int) and made.active[argument]:
            yield argument, part
        passed = _passed(made, left, slots, here)
        if passed is None:
            return
        here, value = passed, link
    first = arguments[0]
    if isinstance(first, int) and made.active[first]:
        yield first, here


@cache
def _rules(op: str, with_number: bool) -> tuple[Primitive, tuple[_Rule, ...]]:
    """The row of an operation, or that used in its place if the last argument is a number, and the rules of its partials."""
    row = PRIMITIVES[OPCODE[op]]
    if with_number and row.with_number is not None:
        row = PRIMITIVES[OPCODE[row.with_number]]
    return row, tuple([_rule(text, row.selects) for text in row.symbolic])


def _passed(made: NewNodes, rule: _Rule, slots: Sequence[Operand], adjoint: _Adjoint) -> _Adjoint | None:
    """What is passed to an argument by its rule; None for nothing."""
    steps, live, partial = rule
    filled = slots
    if steps:
        filled = list(slots)
        for op, taken in steps:
            filled.append(made.make(op, *[filled[slot] if type(slot) is int else slot for slot in taken]))
    if type(partial) is int:
        partial = filled[partial]
    if live is not None:
        if type(live) is int:
            live = filled[live]
        if type(live) is float:
            if not live:
                return None
            live = None
    if type(partial) is float:
        if partial == 0.0:
            return None
        if partial == 1.0 and live is None:
            return adjoint
    if live is None:
        return _Adjoint(made.make("mul", adjoint[0], partial), adjoint[1])
    return _Adjoint(made.make("mul", adjoint[0], partial), _both(made, adjoint[1], live))


def _rule(text: str, selects: bool) -> _Rule:
    """The steps of a rule of the table."""
    graph = parse(text)
    slots: dict[str, int | float] = {}
    steps: list[tuple[str, tuple[int | float, ...]]] = []
    live: int | float | None = None
    for node in graph.nodes:  # arguments come first
        taken = tuple([slots[argument] if isinstance(argument, str) else argument for argument in node.args])
        if node.op == LEAF:
            slots[node.id] = SLOTS[node.id] if node.data is None else node.data
        elif selects and node.id == graph.output:
            live, slots[node.id] = taken[0], taken[1]
        else:
            slots[node.id] = len(SLOTS) + len(steps)
            steps.append((node.op, taken))
    return _Rule(tuple(steps), live, slots[graph.output])


def _total(made: NewNodes, parts: Sequence[_Adjoint]) -> _Adjoint:
    """The sum of adjoints. It is live where one of them is."""
    terms: dict[Operand | None, Operand] = {}
    for term, live in parts:
        terms[live] = made.make("add", terms[live], term) if live in terms else term
    if len(terms) > 1:
        for otherwise in list(terms):
            live = made.complement(otherwise)
            if live is not None and live in terms and otherwise in terms:
                term = made.make("where", live, terms.pop(live), terms.pop(otherwise))
                terms[None] = made.make("add", terms[None], term) if None in terms else term
    if len(terms) == 1:
        ((live, term),) = terms.items()
        return _Adjoint(term, live)
    live, total = None, 0.0
    for k, (condition, part) in enumerate(terms.items()):
        live = condition if not k else None if live is None or condition is None else made.make("max", live, condition)
        total = made.make("add", total, _settled(made, _Adjoint(part, condition)))
    return _Adjoint(total, live)


def _settled(made: NewNodes, adjoint: _Adjoint) -> Operand:
    """An adjoint as a number: its term, or 0 where it does not count."""
    return adjoint.term if adjoint.live is None else made.make("where", adjoint.live, adjoint.term, 0.0)


def _both(made: NewNodes, first: Operand | None, second: Operand | None) -> Operand | None:
    """The condition that two conditions hold."""
    if first is None or second is None or first == second:
        return second if first is None else first
    return made.make("mul", first, second)


def _extended(graph: Graph, made: NewNodes, derivatives: Sequence[tuple[str, Operand]]) -> Graph:
    """The graph with the nodes that the derivatives need, and the derivatives as further outputs."""
    count = len(made.place)
    needed = bytearray(len(made.ops))
    for _, operand in derivatives:
        if isinstance(operand, int):
            needed[operand] = 1
    for place in range(len(made.ops) - 1, count - 1, -1):
        if needed[place]:
            for argument in made.args[place]:
                if type(argument) is int:
                    needed[argument] = 1
    taken = dict.fromkeys(graph.index)
    outputs: list[str] = []
    ids: dict[int, str] = {}
    for name, operand in derivatives:
        output = free_name(name, taken)
        outputs.append(output)
        if isinstance(operand, int) and operand >= count and operand not in ids:
            ids[operand] = output
    names: list[str] = [graph.nodes[position].id for position in made.place]
    numbers = count_from(1 + sum(name.startswith("%") for name in taken))
    nodes = list(graph.nodes)
    for place in range(count, len(made.ops)):
        if not needed[place]:
            names.append("")
            continue
        name = ids.get(place, "")
        if not name:
            name = f"%{next(numbers)}"
            while name in taken:
                name = f"%{next(numbers)}"
        names.append(name)
        args = tuple([names[argument] if type(argument) is int else argument for argument in made.args[place]])
        nodes.append(Node(name, made.ops[place], args))
    own = set(ids.values())
    for output, (_, operand) in zip(outputs, derivatives, strict=True):
        if output not in own:  # a number, or a node that has a name already
            nodes.append(Node(output, "sum", (names[operand] if isinstance(operand, int) else operand,)))
    known = () if graph.every_node_named else (*graph.names, *outputs)
    return Graph(nodes, (graph.output, *outputs), known, graph.source)


def free_name(name: str, taken: dict[str, None]) -> str:
    """Return a name that is not taken, similar to this one; it is taken from now on."""
    found, number = name[:ID_LIMIT], 1
    while found in taken:
        number += 1
        ending = f"_{number}"
        found = name[: ID_LIMIT - len(ending)] + ending
    taken[found] = None
    return found

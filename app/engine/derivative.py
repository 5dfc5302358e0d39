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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain
from itertools import count as count_from
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from app.engine.errors import InvalidNode, quote
from app.engine.graph import CHUNK, ID_LIMIT, Graph, NodeTable, argument_starts, more_nodes
from app.engine.interruption import Checkpoint, checked, never
from app.engine.new_nodes import ONE, ZERO, NewNodes, Operand
from app.engine.primitives import FEW, LEAF, OPCODE, PRIMITIVES, Primitive
from app.engine.tape import Bools, Ints, topological_order
from app.engine.text import parse

SLOTS = {"a": 0, "b": 1, "c": 2, "y": 3, "n": 4}
"""Where a rule finds its arguments, the value of the operation and the number of its arguments."""

_Adjoint = tuple[Operand, Operand | None]
"""A term, and the condition that is not 0 where the term counts; without one, it counts everywhere."""
EVERYWHERE = (ONE, None)
ENDING = 12
"""So many characters are enough for a number that is appended to a name."""


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
    wanted = graph.leaves if wrt is None else wrt
    positions = dict(zip(wanted, graph.positions(wanted, ("wrt",)).tolist(), strict=True))
    return tuple(positions), list(positions.values())


def _derivatives(made: NewNodes, output: Operand, targets: Sequence[int], checkpoint: Checkpoint) -> list[Operand]:
    """The derivatives of an output by the nodes at these positions."""
    places = made.place[targets].tolist()
    adjoints = _accumulate(made, output, set(places), checkpoint)
    return [_settled(made, adjoints[place]) if place in adjoints else ZERO for place in places]


def _accumulate(made: NewNodes, output: Operand, targets: set[int], checkpoint: Checkpoint) -> dict[int, _Adjoint]:
    """The adjoints of the targets, by place, as far as the output depends on them."""
    if output < 0:
        return {}
    arrived: list[list[_Adjoint] | None] = [None] * (output + 1)
    arrived[output] = [EVERYWHERE]
    adjoints = {}
    active, ops = made.active, made.ops
    for place in checked(range(output, -1, -1), checkpoint):
        parts = arrived[place]
        if parts is None or not active[place]:
            continue
        arrived[place] = None
        adjoint = parts[0] if len(parts) == 1 else _total(made, parts)
        if place in targets:
            adjoints[place] = adjoint
        if ops[place] == LEAF:
            continue
        for argument, part in _contributions(made, place, adjoint):
            found = arrived[argument]
            if found is None:
                arrived[argument] = [part]
            else:
                found.append(part)
    return adjoints


def _contributions(made: NewNodes, place: int, adjoint: _Adjoint) -> Iterable[tuple[int, _Adjoint]]:
    """What an operation passes on to each of its active arguments."""
    arguments, active = made.args[place], made.active
    row, rules = _rules(made.ops[place], arguments[-1] < 0)
    if row.fun is not None and not rules:
        detail = (
            f"node {quote(made.name(place))}: the derivative of {row.name} is no expression of the operations that there are"
        )
        raise InvalidNode(detail, ("nodes", made.position(place)))
    if len(arguments) == 1 and row.fold is not None:
        return [(arguments[0], adjoint)] if arguments[0] >= 0 and active[arguments[0]] else []
    found = []
    if row.fold is None or (row.fun is not None and len(arguments) == 2):
        slots = [*arguments, ZERO, ZERO, ZERO][:3]
        slots += (place, ZERO)
        for argument, rule in zip(arguments, rules, strict=False):
            if argument >= 0 and active[argument]:
                part = _passed(made, rule, slots, adjoint)
                if part is not None:
                    found.append((argument, part))
    elif row.fun is None and rules:
        few = row.symbolic_of_few if len(arguments) <= FEW else None
        rule, count = rules[0] if few is None else _rule(few, False), made.number(float(len(arguments)))
        for k, argument in enumerate(checked(arguments, made.checkpoint)):
            if argument >= 0 and active[argument]:
                rest = ZERO if few is None else _rest(made, row.name, arguments, k)
                part = _passed(made, rule, [argument, rest, ZERO, place, count], adjoint)
                if part is not None:
                    found.append((argument, part))
    else:
        return _along_chain(made, row.fold, place, adjoint)
    return found


def _rest(made: NewNodes, op: str, arguments: Sequence[Operand], k: int) -> Operand:
    """A fold of what the other arguments exceed argument k by."""
    others = [*arguments[:k], *arguments[k + 1 :]]
    return made.make(op, *[made.make("sub", other, arguments[k]) for other in others])


def _along_chain(made: NewNodes, op: str, place: int, adjoint: _Adjoint) -> Iterator[tuple[int, _Adjoint]]:
    """The same for a chain of an operation on two arguments, from left to right: for its arguments and its value."""
    arguments, active = made.args[place], made.active
    links: list[tuple[Operand, Operand]] = []
    prefix = arguments[0]
    for argument in checked(arguments[1:], made.checkpoint):
        prefix = made.make(op, *links[-1]) if links else prefix
        links.append((prefix, argument))
    _, (left, right) = _rules(op, False)
    here = adjoint
    value: Operand = place
    for link, argument in checked(reversed(links), made.checkpoint):
        slots = [link, argument, ZERO, value, ZERO]
        part = _passed(made, right, slots, here)
        if part is not None and argument >= 0 and active[argument]:
            yield argument, part
        passed = _passed(made, left, slots, here)
        if passed is None:
            return
        here, value = passed, link
    first = arguments[0]
    if first >= 0 and active[first]:
        yield first, here


@cache
def _rules(op: str, with_number: bool) -> tuple[Primitive, tuple[_Rule, ...]]:
    """The row of an operation, or that used in its place if the last argument is a number, and the rules of its partials."""
    row = PRIMITIVES[OPCODE[op]]
    if with_number and row.with_number is not None:
        row = PRIMITIVES[OPCODE[row.with_number]]
    return row, tuple([_rule(text, row.selects) for text in row.symbolic])


def _passed(made: NewNodes, rule: _Rule, slots: list[Operand], adjoint: _Adjoint) -> _Adjoint | None:
    """What is passed to an argument by its rule; None for nothing."""
    steps, condition, slope = rule
    filled = slots
    if steps:
        filled = slots.copy()
        for op, taken in steps:
            filled.append(made.make(op, *[filled[slot] if type(slot) is int else made.number(slot) for slot in taken]))
    partial = filled[slope] if type(slope) is int else made.number(slope)
    live = None
    if condition is not None:
        live = filled[condition] if type(condition) is int else made.number(condition)
        if live < 0:
            if not made.numbers[~live]:
                return None
            live = None
    if partial < 0:
        if not made.numbers[~partial]:
            return None
        if partial == ONE and live is None:
            return adjoint
    term, known = adjoint
    return made.multiply(term, partial), known if live is None else _both(made, known, live)


@cache
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
        terms[live] = made.add(terms[live], term) if live in terms else term
    if len(terms) > 1:
        for otherwise in list(terms):
            live = made.complement(otherwise)
            if live is not None and live in terms and otherwise in terms:
                term = made.make("where", live, terms.pop(live), terms.pop(otherwise))
                terms[None] = made.add(terms[None], term) if None in terms else term
    if len(terms) == 1:
        ((live, term),) = terms.items()
        return term, live
    live, total = None, ZERO
    for k, (condition, part) in enumerate(terms.items()):
        live = condition if not k else None if live is None or condition is None else made.make("max", live, condition)
        total = made.add(total, _settled(made, (part, condition)))
    return total, live


def _settled(made: NewNodes, adjoint: _Adjoint) -> Operand:
    """An adjoint as a number: its term, or 0 where it does not count."""
    term, live = adjoint
    return term if live is None else made.make("where", live, term, ZERO)


def _both(made: NewNodes, first: Operand | None, second: Operand) -> Operand:
    """The condition that two conditions hold."""
    return second if first is None or first == second else made.make("mul", first, second)


def _extended(graph: Graph, made: NewNodes, derivatives: Sequence[tuple[str, Operand]]) -> Graph:
    """The graph with the nodes that the derivatives need, and the derivatives as further outputs."""
    taken = dict.fromkeys(graph.index, 1)
    outputs = [free_name(name, taken) for name, _ in checked(derivatives, made.checkpoint)]
    ids: dict[int, str] = {}
    copies = []  # a number, or a node that has a name already
    for output, (_, operand) in zip(outputs, derivatives, strict=True):
        if operand < made.count or operand in ids:
            copies.append((output, operand))
        else:
            ids[operand] = output
    table, places = _table(made, len(graph.nodes), list(ids), [operand for _, operand in copies])
    free = _free_names(taken)
    names = [ids.get(place) or next(free) for place in checked(places, made.checkpoint)] + [output for output, _ in copies]
    known = () if graph.every_node_named else (*graph.names, *outputs)
    return more_nodes(graph, replace(table, ids=names), (graph.output, *outputs), known, made.checkpoint)


def _table(made: NewNodes, first: int, roots: Sequence[int], copied: Sequence[Operand]) -> tuple[NodeTable, list[int]]:
    """The new nodes that some of them need, and copies of others, without names; and the places of the former.

    Their positions begin at `first`, and so do their numbers after those of the graph.
    """
    args = made.args[made.count :]
    counts = np.fromiter(map(len, args), np.int64, len(args))
    parts = [_flat(args[low : low + CHUNK]) for low in checked(range(0, len(args), CHUNK), made.checkpoint)]
    arguments = np.concatenate(parts) if parts else _flat(args)
    needed = _needed(counts, arguments - made.count, np.array(roots, np.int32) - made.count)
    position = np.empty(len(made.ops), np.int32)
    position[: made.count] = made.graph.wiring.order[: made.count]
    position[made.count :][needed] = first + np.arange(np.count_nonzero(needed), dtype=np.int32)
    places = (np.flatnonzero(needed) + made.count).tolist()
    opcode = [OPCODE[made.ops[place]] for place in places] + [OPCODE["sum"]] * len(copied)
    kept = np.concatenate((arguments[np.repeat(needed, counts)], np.array(copied, np.int32)))
    numbers = kept < 0
    kept[~numbers] = position[kept[~numbers]]
    kept[numbers] -= len(made.graph.wiring.numbers)
    start = argument_starts(np.concatenate((counts[needed], np.ones(len(copied), np.int64))))
    datum = np.full(len(opcode), -1, np.int32)
    return NodeTable((), {}, np.array(opcode, np.int32), start, kept, datum, np.array(made.numbers, np.float64)), places


def _flat(args: Sequence[tuple[Operand, ...]]) -> Ints:
    return np.fromiter(chain.from_iterable(args), np.int32)


def _needed(counts: npt.NDArray[np.int64], arguments: Ints, roots: Ints) -> Bools:
    """Which of some nodes the roots need, these included. An argument below 0 is none of them."""
    order, live = topological_order(argument_starts(counts), arguments, roots)
    needed = np.zeros(len(counts), np.bool_)
    needed[order[:live]] = True
    return needed


def _free_names(taken: Mapping[str, int]) -> Iterator[str]:
    """Names that are not taken, and look as those of nodes in a text do."""
    first = 1 + sum(name.startswith("%") for name in taken)
    return (name for k in count_from(first) if (name := f"%{k}") not in taken)


def free_name(name: str, taken: dict[str, int]) -> str:
    """Return a name that is not taken, similar to this one; it is taken from now on.

    `taken` has, by name, the last number that was appended to it, 1 for none, so that many equal names take linear time.
    """
    found = name[:ID_LIMIT]
    if found in taken:
        stem = name[: ID_LIMIT - ENDING]
        number = taken.get(stem, 1)
        while found in taken:
            number += 1
            found = f"{stem}_{number}"
        taken[stem] = number
    taken[found] = 1
    return found

"""How a graph is written out: what is written in place, what becomes a definition, and where parentheses stand.

A notation is a record of templates. `write` turns the nodes of one or several outputs into definitions and texts: a node that
is used once, or is short, stands where it is used, and a long node that is used again gets a name.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from app.engine.graph import Graph, Node
from app.engine.interruption import ITEMS_BETWEEN, Checkpoint, checked, never
from app.engine.primitives import ALIASES, LEAF

CHOICE, COMPARISON, SUM, NEGATION, PRODUCT, FACTOR, POWER, ATOM = range(8)
"""How tightly what is written holds together. A part that holds less than its place needs gets parentheses."""

WORTHWHILE = 9
"""A definition must save more than so many characters."""
NAME_LENGTH = 2
NODES_BETWEEN = 64
"""So many nodes, whose texts may be long, are written between two checkpoints."""


class Template(NamedTuple):
    """How an operation is written: a format string, how tightly the result holds, and what its arguments need."""

    text: str
    level: int = ATOM
    needs: tuple[int, ...] = (CHOICE, CHOICE, CHOICE)


class Written(NamedTuple):
    """What stands for a node: a text, how tightly it holds, and, for a comparison, the text of its condition."""

    text: str
    level: int = ATOM
    condition: str = ""


@dataclass(frozen=True)
class Notation:
    """A way of writing expressions.

    Attributes:
        templates: how operations are written; others are calls.
        call: writes the call of an operation.
        number: writes a number.
        condition: writes what is not a comparison as a condition.
        truth: writes a condition as the number 1 or 0; "" if conditions are numbers.
        grouped: what stands around a part that needs parentheses.
        special: writes an operation whose form depends on its arguments, or returns None.
    """

    templates: Mapping[str, Template]
    call: Callable[[str, Sequence[str]], str]
    number: Callable[[float], Written]
    condition: str = "{0}"
    truth: str = ""
    grouped: str = "({0})"
    special: Callable[[str, Sequence[Written]], Written | None] = field(default=lambda op, args: None)

    def operation(self, op: str, args: Sequence[Written]) -> Written:
        """An operation on what was written for its arguments."""
        found = self.special(op, args)
        if found is not None:
            return found
        template = self.templates.get(op)
        if template is None:
            return Written(self.call(op, [a.text for a in args]))
        parts = []
        for k, argument in enumerate(args):
            if op == "where" and k == 0:
                parts.append(argument.condition or self.condition.format(self.at(argument, SUM)))
            else:
                parts.append(self.at(argument, template.needs[min(k, len(template.needs) - 1)]))
        text = template.text.format(*parts)
        if template.level == COMPARISON and self.truth:
            return Written(self.truth.format(text), ATOM, text)
        return Written(text, template.level, text if template.level == COMPARISON else "")

    def at(self, written: Written, level: int) -> str:
        """A part where something must hold as tightly as `level`."""
        return written.text if written.level >= level else self.grouped.format(written.text)


class Plan(NamedTuple):
    """What is written: the nodes that the outputs need, arguments first, and which of them are definitions."""

    nodes: Sequence[Node]
    defined: frozenset[str]
    outputs: Sequence[str]


def plan(
    nodes: Sequence[Node],
    outputs: Sequence[str],
    measure: Notation,
    *,
    worthwhile: int = WORTHWHILE,
    preferred: Collection[str] = (),
    longest: int | None = None,
    checkpoint: Checkpoint = never,
) -> Plan:
    """Decide what becomes a definition, by the lengths that a notation gives.

    Args:
        nodes: what the outputs need, arguments first. A leaf with a number is a definition.
        outputs: the ids of what is to be written.
        measure: the notation in which lengths are counted, without spaces.
        worthwhile: a definition of what is used again saves more characters than this.
        preferred: nodes whose names are known already, so that any saving is worthwhile.
        longest: what is longer is a definition in any case.
        checkpoint: is called from time to time.
    """
    uses: dict[str, int] = dict.fromkeys((node.id for node in nodes), 0)
    for node in checked(nodes, checkpoint):
        for argument in node.args:
            if isinstance(argument, str):
                uses[argument] += 1
    for output in outputs:
        uses[output] += len(outputs) > 1
    written: dict[str, Written] = {}
    defined = set()
    for k, node in enumerate(nodes):
        if not k % NODES_BETWEEN:
            checkpoint()
        if node.op == LEAF:
            written[node.id] = Written(node.id)
            if node.data is not None:
                defined.add(node.id)
            continue
        found = operation(measure, node, written)
        length = len(found.text.replace(" ", ""))
        named = node.id in preferred
        name = len(node.id) if named else NAME_LENGTH
        saved = (uses[node.id] - 1) * (length - name) - name - 2
        if (uses[node.id] > 1 and saved > (0 if named else worthwhile)) or (
            longest is not None and length > longest and node.args[1:]
        ):
            defined.add(node.id)
            found = Written("t" * NAME_LENGTH)
        written[node.id] = found
    return Plan(nodes, frozenset(defined), outputs)


def needed(graph: Graph, outputs: Sequence[str], checkpoint: Checkpoint = never) -> list[Node]:
    """Return the nodes that the outputs need, arguments first. It takes as long as there are such nodes."""
    index, wiring = graph.index, graph.wiring
    found = {index[output] for output in outputs}
    pending = list(found)
    turns = 0
    while pending:
        if not turns % ITEMS_BETWEEN:
            checkpoint()
        turns += 1
        position = pending.pop()
        for argument in wiring.arg[wiring.start[position] : wiring.start[position + 1]].tolist():
            if argument >= 0 and argument not in found:
                found.add(argument)
                pending.append(argument)
    ranks = np.empty(len(wiring.order), np.int64)
    ranks[wiring.order] = np.arange(len(wiring.order))
    positions = np.fromiter(found, np.int64)
    nodes = graph.nodes
    return [nodes[position] for position in positions[np.argsort(ranks[positions])].tolist()]


def write(
    notation: Notation, planned: Plan, names: Mapping[str, str], checkpoint: Checkpoint = never
) -> tuple[list[tuple[str, str]], list[Written]]:
    """Return the definitions, each a name and a text, and what stands for each output.

    Args:
        notation: how to write.
        planned: what to write.
        names: the names of leaves and definitions, as they are written.
        checkpoint: is called from time to time.
    """
    written: dict[str, Written] = {}
    definitions = []
    for k, node in enumerate(planned.nodes):
        if not k % NODES_BETWEEN:
            checkpoint()
        if node.op == LEAF:
            found = Written(names[node.id])
            if node.id in planned.defined:
                definitions.append((names[node.id], notation.number(node.data or 0.0).text))
        else:
            found = operation(notation, node, written)
            if node.id in planned.defined:
                definitions.append((names[node.id], found.text))
                found = Written(names[node.id])
        written[node.id] = found
    return definitions, [written[output] for output in planned.outputs]


def operation(notation: Notation, node: Node, written: Mapping[str, Written]) -> Written:
    """Write a node, given what stands for its arguments."""
    args = [written[a] if isinstance(a, str) else notation.number(float(a)) for a in node.args]
    op = ALIASES.get(node.op, node.op)
    if op in ("sum", "prod", "mean"):
        total = args[0]
        for argument in args[1:]:
            total = notation.operation("mul" if op == "prod" else "add", [total, argument])
        if op == "mean" and len(args) > 1:
            return notation.operation("divide", [total, notation.number(float(len(args)))])
        return total
    return notation.operation(op, args)


def short_number(number: float) -> str:
    """Return a number as a person writes it: without a decimal point if it is an integer."""
    text = repr(float(number))
    if text.endswith(".0"):
        text = text[:-2]
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text

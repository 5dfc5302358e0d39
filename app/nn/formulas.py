"""Expressions of given variables, recorded as tapes: losses of `score` and `target`, learning rates of `step`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from app.engine.binding import bind
from app.engine.errors import InvalidNode, Place, UnboundInput, quote
from app.engine.graph import Graph, Node
from app.engine.tape import Tape
from app.nn.model import Floats


@dataclass(frozen=True, slots=True)
class Formula:
    """An expression as a tape. `numbers` are those of its leaves, `slots` those of its variables, -1 for an unused one."""

    tape: Tape
    numbers: Floats
    slots: tuple[int, ...]


def formula_of(graph: Graph, variables: Sequence[str], place: Place) -> Formula:
    """Record an expression of `variables` alone.

    Raises UnboundInput if another leaf has no number, InvalidNode if the expression assigns a variable, both at `place`.
    """
    used = [name for name in variables if name in graph.index]
    try:
        bound = bind(graph, {name: 0.0 for name in used if graph.nodes[graph.index[name]].op == "value"})
    except UnboundInput as error:
        problem = error.detail.partition(":")[0]
        raise UnboundInput(f"{problem}; the variables here are {' and '.join(variables)}", place) from None
    for name in used:
        node = graph.nodes[graph.index[name]]
        if node.op != "value" or (graph.source == "text" and node.data is not None):
            raise InvalidNode(
                f"{quote(name)} is a variable here, so the expression must not assign it; use another name", place
            )
    slots = tuple(int(bound.tape.slot[graph.index[name]]) if name in used else -1 for name in variables)
    assert bound.tape.slot[graph.index[graph.output]] == bound.tape.slots - 1, "the output is computed last"
    return Formula(bound.tape, bound.numbers, slots)


def constant(number: float) -> Formula:
    """Record an expression that is a number."""
    numbers = np.array([number])
    numbers.flags.writeable = False
    return Formula(replace(_one_leaf(), numbers=numbers), numbers, ())


@cache
def _one_leaf() -> Tape:
    """The tape of an expression that is a number."""
    return Graph((Node("constant", "value", data=0.0),), ("constant",)).tape

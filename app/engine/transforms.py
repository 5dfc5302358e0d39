"""What the engine is for: values and every kind of derivative of a graph, at one point or at many.

Each function takes a graph and `inputs`, which bind leaves by id: a number, or a list with one number a point. Numbers in
the answers are floats at one point, and arrays of shape (points,) at many. They are what IEEE arithmetic makes of the
expression, NaN and infinity included; `faults` finds where such a number comes from.

All raise UnknownNode, InvalidNode, UnboundInput and ShapeMismatch for inputs that do not fit the graph. Derivatives may be
asked for by any node: by an operation's, it is the derivative by a number added to the operation's result.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from app.engine.batch import BatchWalk
from app.engine.errors import Path, ShapeMismatch
from app.engine.gradients import Gradients, Tables
from app.engine.graph import Graph, Node, unknown_node
from app.engine.interruption import checkpoint
from app.engine.primitives import LEAF
from app.engine.tape import NUMBER, Bound, Column, Floats, Inputs, Ints, Seed, bind, dependents, record
from app.engine.walk import Columns, PointWalk, Walk, pick

BLOCK = 16_384
"""Points that a batch walk takes at a time: a column of them fits into the processor's cache."""
CELLS = 1 << 22
"""Numbers that a batch walk holds at most: slots times points of a block."""
FEW = 64
"""Below so many points to a block NumPy costs more than one compiled walk a point."""

EPSILON = float(np.finfo(np.float64).eps)

Table = Gradients[str, Column]
Seeds = Mapping[int, Column]
"""Tangents or cotangents by slot."""


class Backward(NamedTuple):
    """The output's value, and its gradient table."""

    value: Column
    gradients: Table


class Tangent(NamedTuple):
    """The output's value, and its derivative along the given tangents."""

    value: Column
    tangent: Column


class Jacobian(NamedTuple):
    """The outputs' values by id, and each output's gradient table."""

    values: dict[str, Column]
    jacobian: Mapping[str, Table]


class Hessian(NamedTuple):
    """The output's value, its gradient table, and the gradient table of each of its gradients."""

    value: Column
    gradients: Table
    hessian: Mapping[str, Table]


class Product(NamedTuple):
    """The output's value, its gradient table, and the Hessian times the given tangents."""

    value: Column
    gradients: Table
    hvp: Table


@dataclass(frozen=True, slots=True)
class Check:
    """One gradient, computed in three ways, and how far they are apart at most, relative to max(1, |gradient|)."""

    reverse: Column
    forward: Column
    numeric: Column
    relative_error: Column


def evaluate(graph: Graph, inputs: Inputs | None = None, *, everything: bool = False) -> dict[str, Column]:
    """The outputs' values, or, with `everything`, those of all nodes, in topological order.

    A value that depends on no list is one number, also where there are many points.
    """
    bound = bind(graph, inputs or {}, everything)
    order = (graph.wiring.order if everything else graph.roots).tolist()
    slots = bound.tape.slot[order]
    values = at_points(bound, {}, (), lambda walk, seeds: [pick(walk.values, slots)])
    return dict(zip([graph.nodes[position].id for position in order], once(bound, slots, values), strict=True))


def backward(graph: Graph, inputs: Inputs | None = None, wrt: Sequence[str] | None = None, cotangent: Seed = 1.0) -> Backward:
    """Reverse mode: `cotangent` times the derivative of the output by each node in `wrt` (default: `graph.names`)."""
    bound = bind(graph, inputs or {})
    names, slots, output = _targets(bound, wrt, graph.names)
    bound, seeds = seeded(bound, {graph.output: cotangent}, "cotangent")

    def walks(walk: Walk, cotangents: Seeds) -> list[Columns]:
        adjoints = walk.pull(cotangents)  # first, as partials are computed along with values
        return [walk.values[output : output + 1], pick(adjoints, slots)]

    entries = at_points(bound, seeds, slots, walks)
    return Backward(once(bound, [output], entries)[0], _table(names, entries[1:], graph))


def jvp(graph: Graph, inputs: Inputs | None = None, tangents: Mapping[str, Seed] | None = None) -> Tangent:
    """Forward mode: the derivative of the output along `tangents`; nodes without one have the tangent 0."""
    bound = bind(graph, inputs or {})
    _, _, output = _targets(bound, (), ())
    bound, seeds = seeded(bound, tangents or {})

    def walks(walk: Walk, tangents: Seeds) -> list[Columns]:
        tangent = walk.push(tangents)[output]
        return [[walk.values[output], tangent]]

    entries = at_points(bound, seeds, (), walks)
    return Tangent(once(bound, [output], entries)[0], _column(entries[1]))


def jacobian(graph: Graph, inputs: Inputs | None = None, wrt: Sequence[str] | None = None) -> Jacobian:
    """The derivative of each output by each node in `wrt` (default: the leaves).

    Forward mode where there are fewer nodes than outputs, else reverse mode: one walk for each of the fewer.
    """
    bound = bind(graph, inputs or {})
    names, slots, _ = _targets(bound, wrt, graph.leaves)
    outputs = bound.tape.slot[graph.roots]
    ahead = len(slots) < len(outputs)

    def walks(walk: Walk, seeds: Seeds) -> list[Columns]:
        walk.linearize()
        return [pick(walk.values, outputs), *(walk.push_each(slots, outputs) if ahead else walk.pull_each(outputs, slots))]

    entries = at_points(bound, {}, slots, walks)
    m, n = len(outputs), len(slots)
    values = dict(zip(graph.outputs, once(bound, outputs, entries), strict=True))
    shape = (n, m) if ahead else (m, n)
    matrix = entries[m:].reshape(*shape, *entries.shape[1:])
    return Jacobian(values, Tables(graph.outputs, names, matrix.swapaxes(0, 1) if ahead else matrix))


def hessian(graph: Graph, inputs: Inputs | None = None, wrt: Sequence[str] | None = None) -> Hessian:
    """The second derivatives of the output by the nodes in `wrt` (default: the leaves), exact: forward over reverse."""
    bound = bind(graph, inputs or {})
    names, slots, output = _targets(bound, wrt, graph.leaves)

    def walks(walk: Walk, seeds: Seeds) -> list[Columns]:
        walk.linearize()
        adjoints = walk.pull({output: 1.0})
        walk.curve(adjoints)
        return [[walk.values[output]], pick(adjoints, slots), *walk.pull_tangents_each(slots)]

    entries = at_points(bound, {}, slots, walks)
    n = len(names)
    matrix = entries[1 + n :].reshape(n, n, *entries.shape[1:])
    gradients = _table(names, entries[1 : 1 + n])
    return Hessian(once(bound, [output], entries)[0], gradients, Tables(names, names, matrix))


def hvp(
    graph: Graph,
    inputs: Inputs | None = None,
    tangents: Mapping[str, Seed] | None = None,
    wrt: Sequence[str] | None = None,
) -> Product:
    """The Hessian of the output times `tangents`, by the nodes in `wrt` (default: the leaves).

    One forward-over-reverse walk; the Hessian itself is never formed.
    """
    bound = bind(graph, inputs or {})
    names, slots, output = _targets(bound, wrt, graph.leaves)
    bound, seeds = seeded(bound, tangents or {})

    def walks(walk: Walk, tangents: Seeds) -> list[Columns]:
        walk.linearize()
        adjoints = walk.pull({output: 1.0})
        walk.curve(adjoints)
        products = walk.pull_tangents(walk.push(tangents))
        return [[walk.values[output]], pick(adjoints, slots), pick(products, slots)]

    entries = at_points(bound, seeds, slots, walks)
    gradients, products = entries[1 : 1 + len(names)], entries[1 + len(names) :]
    return Product(once(bound, [output], entries)[0], _table(names, gradients), _table(names, products))


def check_gradients(graph: Graph, inputs: Inputs | None = None, wrt: Sequence[str] | None = None) -> dict[str, Check]:
    """Each gradient in reverse mode, in forward mode and as a difference quotient, by node in `wrt` (default: the leaves)."""
    given = inputs or {}
    bound = bind(graph, given)
    names, slots, _ = _targets(bound, wrt, graph.leaves)
    reverse = backward(graph, given, names).gradients
    checks = {}
    for name, slot in zip(names, slots.tolist(), strict=True):
        forward = jvp(graph, given, {name: 1.0}).tangent
        numeric = _numeric(bound, name, slot)
        gradient = reverse[name]
        with np.errstate(invalid="ignore"):
            apart = np.maximum(np.abs(gradient - forward), np.abs(gradient - numeric))
            error = apart / np.maximum(1.0, np.abs(gradient))
        checks[name] = Check(gradient, forward, numeric, error if np.ndim(error) else float(error))
    return checks


def _numeric(bound: Bound, name: str, slot: int) -> Column:
    """The difference quotient of the output by one node. An operation is first cut off from its arguments."""
    shape = np.zeros(bound.points) if bound.points is not None else 0.0
    if slot < 0:
        return shape
    if slot >= bound.tape.leaves:
        graph, k = bound.graph, bound.graph.index[name]
        at = at_points(bound, {}, (), lambda walk, seeds: [[walk.values[slot]]])[0]
        cut = Graph((*graph.nodes[:k], Node(name, LEAF), *graph.nodes[k + 1 :]), graph.outputs, graph.names, graph.source)
        numbers: dict[str, Column] = {name: _column(at)}
        for leaf in np.flatnonzero(record(cut.wiring).slot >= 0).tolist():
            if graph.nodes[leaf].op == LEAF:
                there = int(bound.tape.slot[leaf])
                numbers[graph.nodes[leaf].id] = bound.columns.get(there, float(bound.numbers[there]))
        bound = bind(cut, numbers)
        slot = int(bound.tape.slot[k])
    start = bound.columns[slot] if slot in bound.columns else bound.numbers[slot] + shape
    output = int(bound.tape.slot[bound.graph.index[bound.graph.output]])
    return difference_quotient(
        lambda x: _column(at_points(bound.changed(slot, x), {}, (), lambda walk, seeds: [[walk.values[output]]])[0]), start
    )


def agrees(check: Check, tolerance: float) -> bool:
    """Whether the relative error is nowhere over the tolerance; NaN is over any."""
    return bool(np.all(np.asarray(check.relative_error) <= tolerance))


def difference_quotient(function: Callable[[Column], Column], x: Column) -> Column:
    """The derivative of `function` at x as the limit of central differences, extrapolated by Ridders' method.

    Steps are halved 30 times, once from a tenth of |x| and once from a tenth of max(|x|, 1/8); of Richardson's tables that
    entry is taken, at each point, that its neighbours confirm best, with what rounding may be counted in.
    C. Ridders, Advances in Engineering Software 4 (1982) 75-76.
    """
    best = np.full(np.shape(x), np.nan)
    least = np.full(np.shape(x), np.inf)
    with np.errstate(all="ignore"):
        for start in (0.1 * np.abs(x), 0.1 * np.maximum(np.abs(x), 0.125)):
            h: Column = start
            row: list[Column] = []
            for _ in range(30):
                checkpoint()
                up, down = x + h, x - h
                above, below = function(up), function(down)
                fresh: list[Column] = [(above - below) / (up - down)]
                rounding = EPSILON * (np.abs(above) + np.abs(below)) / (up - down)
                factor = 1.0
                for older in row:
                    factor *= 4.0
                    newer = fresh[-1]
                    fresh.append((newer * factor - older) / (factor - 1.0))
                    error = np.maximum(np.abs(fresh[-1] - newer), np.abs(fresh[-1] - older)) + rounding
                    better = error < least
                    best, least = np.where(better, fresh[-1], best), np.where(better, error, least)
                row = fresh
                h = 0.5 * h
    return best if isinstance(x, np.ndarray) else float(best)


# --- from names to slots


def _targets(bound: Bound, wrt: Sequence[str] | None, default: Sequence[str]) -> tuple[Sequence[str], Ints, int]:
    """The ids in `wrt`, their slots, and the output's slot."""
    graph, slot = bound.graph, bound.tape.slot
    output = int(slot[graph.roots[0]])
    names = default
    if wrt is not None:
        names = tuple(dict.fromkeys(wrt))
        if len(names) < len(wrt):
            graph.positions(wrt, ("wrt",))  # which says at which place a name is wrong
    if graph.columns is not None and names is graph.columns.ids:
        return names, slot.copy(), output  # as writable as other slots are, for which kernels are compiled
    return names, slot[graph.positions(names, ("wrt",))], output


def seeded(bound: Bound, given: Mapping[str, Seed], field: str = "tangents") -> tuple[Bound, Seeds]:
    """The given tangents or cotangents by slot. Where they alone are lists, there are as many points as they are long.

    Raises UnknownNode and, for a list of another length than the points, ShapeMismatch.
    """
    graph = bound.graph
    seeds: dict[int, Column] = {}
    points = bound.points
    for name, seed in given.items():
        place: Path = ("cotangent",) if field == "cotangent" else (field, name)
        position = graph.roots[0] if name is graph.outputs[0] else graph.index.get(name)
        if position is None:
            raise unknown_node(name, graph, place)
        if isinstance(seed, NUMBER):
            column: Column = float(seed)
        else:
            column = np.asarray(seed, np.float64)
            points = len(column) if points is None else points
            if len(column) != points:
                raise ShapeMismatch(f"a list of {len(column)} numbers stands where there are {points} points", place)
        slot = int(bound.tape.slot[position])
        if slot >= 0:
            seeds[slot] = column
    if points is not None and bound.points is None:
        bound = replace(bound, columns={}, points=points)
    return bound, seeds


def _table(names: Sequence[str], entries: Floats, graph: Graph | None = None) -> Table:
    """The table of entries by name; of all nodes of a graph, by the index that it has."""
    whole = graph is not None and graph.columns is not None and names is graph.columns.ids
    return Gradients.of(graph.index if whole and graph else {name: k for k, name in enumerate(names)}, entries)


def _column(entry: Any) -> Column:
    """An entry of a walk: a number, or an array with one a point."""
    return entry if isinstance(entry, np.ndarray) else float(entry)


def once(bound: Bound, slots: Sequence[int] | Ints, values: Floats) -> list[Column]:
    """The values in these slots, those that depend on no list as one number."""
    if bound.points is None:
        return values[: len(slots)].tolist()  # type: ignore[no-any-return]  # floats
    if not bound.points:
        return list(values[: len(slots)])
    varying = dependents(bound.tape, list(bound.columns))
    return [value if slot >= 0 and varying[slot] else float(value[0]) for slot, value in zip(slots, values, strict=False)]


# --- points


def at_points(
    bound: Bound, seeds: Seeds, towards: Sequence[int] | Ints, walks: Callable[[Walk, Seeds], list[Columns]]
) -> Floats:
    """The numbers that `walks` makes of a walk: a vector of them at one point, and a row for each, with one entry a point,
    at many.

    `towards` are the slots whose adjoints count. Many points are cut into blocks for a `BatchWalk`; where only few would
    fit into one, each is walked alone.
    """
    tape, points = bound.tape, bound.points
    if points is None:
        return _joined(walks(PointWalk(tape, bound.numbers), seeds))
    if not points:
        nowhere = {slot: 0.0 for slot in seeds}
        return np.empty((len(_joined(walks(PointWalk(tape, bound.numbers), nowhere))), 0))
    block = min(BLOCK, CELLS // max(tape.slots, 1), points)
    return _one_by_one(bound, seeds, walks) if block < FEW else _in_blocks(bound, seeds, towards, walks, block)


def _joined(parts: list[Any]) -> Floats:
    return np.concatenate(parts)


def _one_by_one(bound: Bound, seeds: Seeds, walks: Callable[[Walk, Seeds], list[Columns]]) -> Floats:
    points = []
    for k in range(bound.points or 0):
        checkpoint()
        here = {slot: column[k] if isinstance(column, np.ndarray) else column for slot, column in seeds.items()}
        points.append(_joined(walks(PointWalk(bound.tape, bound.at(k).numbers), here)))
    return np.column_stack(points)


def _in_blocks(
    bound: Bound, seeds: Seeds, towards: Sequence[int] | Ints, walks: Callable[[Walk, Seeds], list[Columns]], block: int
) -> Floats:
    assert bound.points
    needed = dependents(bound.tape, towards)
    table = np.empty((0, bound.points))
    for start in range(0, bound.points, block):
        rows = slice(start, min(start + block, bound.points))
        columns = {slot: column[rows] for slot, column in bound.columns.items()}
        here = {slot: column[rows] if isinstance(column, np.ndarray) else column for slot, column in seeds.items()}
        for careful in (False, True):
            checkpoint()
            walk = BatchWalk(bound.tape, bound.numbers, columns, needed, careful)
            with np.errstate(all="ignore"):
                entries = list(chain.from_iterable(walks(walk, here)))
            if not start and not careful:
                table = np.empty((len(entries), bound.points))
            total = 0.0
            with np.errstate(all="ignore"):
                for k, entry in enumerate(entries):
                    np.add(entry, 0.0, out=table[k, rows])  # which also makes 0.0 of -0.0, a gradient of nothing
                    total += np.add.reduce(table[k, rows])
            if not math.isnan(total):  # a sum is NaN if a term is; or if infinities meet, and then a second walk does no harm
                break
    return table

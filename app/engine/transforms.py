"""Values and every kind of derivative of a graph, at one point or at many.

Each function takes a graph and `inputs`, which give numbers to leaves by id: a number, or a list with one number per point.
Numbers in the results are floats at one point, and arrays of shape (points,) at many. They follow IEEE arithmetic, NaN and
infinity included; `faults` finds where such a number comes from. `checkpoint` is called at least every tenth of a second or
so, and may raise to stop the work. Up to `threads` threads share many points, which then call it; the results are the same.

With `reduce` "sum" or "mean", what is evaluated and differentiated is the sum or the mean over the points. Its value is one
number, and so is its derivative by everything that is one number for all points; by what differs from point to point, there
is still one derivative per point. Sums and means are rounded once, as `math.fsum` does, so they do not depend on the order of
the points. At one point `reduce` makes no difference.

All raise UnknownNode, InvalidNode, UnboundInput and ShapeMismatch for inputs that do not fit the graph. Derivatives may be
taken by any node: by an operation, it is the derivative by a number added to the operation's result.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from app.engine import elimination, lanes
from app.engine.binding import NUMBER, Bound, Column, Inputs, Seed, bind
from app.engine.elimination import Elimination
from app.engine.errors import InvalidNode, Place, ShapeMismatch, quote
from app.engine.gradients import Gradients, Tables
from app.engine.graph import Graph, Node, unknown_node
from app.engine.interruption import Checkpoint, never
from app.engine.points import Reduce, Seeds, Walks, at_points, summed_over_points
from app.engine.primitives import LEAF
from app.engine.tape import Bools, Floats, Ints, dependents
from app.engine.walk import PointWalk, SlotNumbers, Walk, pick

EPSILON = float(np.finfo(np.float64).eps)
HALVINGS = 30
"""Steps of the difference quotient."""
RESOLUTION = 1e8
"""A hundred times the uncertainty of a difference quotient is a relative error of 1e-6, the usual tolerance."""

Table = Gradients[str, Column]
Entries = Floats | list[Column]
"""The numbers of a result, one after the other; a list if some are columns and others are not."""


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
    hessian: Tables[str, Column]


class Product(NamedTuple):
    """The output's value, its gradient table, and the Hessian times the given tangents."""

    value: Column
    gradients: Table
    hvp: Table


@dataclass(frozen=True, slots=True)
class Check:
    """One gradient, computed in three ways, and the largest difference from the first, relative to their size.

    The size is the largest of the three. Where all are close to 0, it is at least the slope to the points beside, or what the
    quotient can resolve, but at most 1: see `check_gradients`.
    """

    reverse: Column
    forward: Column
    numeric: Column
    relative_error: Column


def evaluate(
    graph: Graph,
    inputs: Inputs | None = None,
    *,
    everything: bool = False,
    reduce: Reduce = "none",
    checkpoint: Checkpoint = never,
    threads: int = 1,
) -> dict[str, Column]:
    """Return the outputs' values by id, or, with `everything`, those of all nodes in topological order, which are not reduced.

    A value that depends on no list is one number, even if there are many points.
    """
    bound = bind(graph, inputs or {}, everything)
    order = (graph.wiring.order if everything else graph.roots).tolist()
    names = [graph.nodes[position].id for position in order] if everything else graph.outputs
    slots = bound.tape.slot[order]
    if everything:
        reduce = "none"
    values = entries_of(
        bound, {}, (), lambda walk, seeds: [pick(walk.values, slots)], [False] * len(slots), reduce, checkpoint, threads
    )
    # Not dict(zip(...)), which would let no other thread run among a million names.
    return {name: value for name, value in zip(names, collapse_constants(bound, slots, values), strict=True)}


def backward(
    graph: Graph,
    inputs: Inputs | None = None,
    wrt: Sequence[str] | None = None,
    cotangent: Seed = 1.0,
    *,
    reduce: Reduce = "none",
    checkpoint: Checkpoint = never,
    threads: int = 1,
) -> Backward:
    """Reverse mode: `cotangent` times the derivative of the output by each node in `wrt` (default: `graph.names`)."""
    bound = bind(graph, inputs or {})
    if reduce != "none" and not isinstance(cotangent, NUMBER):
        detail = f"the list has {len(cotangent)} numbers, but the cotangent of the {reduce} over the points is one number"
        raise ShapeMismatch(detail, ("cotangent",))
    targets = _named_targets(bound) if wrt is None else targets_of(bound, wrt)
    output = output_slot(bound)
    if bound.points is None and isinstance(cotangent, NUMBER):
        found = PointWalk(bound.tape, bound.numbers, checkpoint).pull_one(output, float(cotangent), targets.slots)
        return Backward(float(found[0]), targets.table(found[1:]))
    bound, seeds = _with_seeds(bound, [(int(graph.roots[0]), cotangent, ("cotangent",))])

    def walks(walk: Walk, cotangents: Seeds) -> list[SlotNumbers]:
        adjoints = walk.pull(cotangents)  # before the values, which come along with the partials
        return [walk.values[output : output + 1], pick(adjoints, targets.slots)]

    kept = [] if reduce == "none" else [False, *are_lists(bound, targets)]
    entries = entries_of(bound, seeds, targets.slots, walks, kept, reduce, checkpoint, threads)
    return Backward(collapse_constants(bound, [output], entries)[0], targets.table(entries[1:]))


def jvp(
    graph: Graph,
    inputs: Inputs | None = None,
    tangents: Mapping[str, Seed] | None = None,
    *,
    reduce: Reduce = "none",
    checkpoint: Checkpoint = never,
    threads: int = 1,
) -> Tangent:
    """Forward mode: the derivative of the output along `tangents`; nodes without one have the tangent 0."""
    bound = bind(graph, inputs or {})
    output = output_slot(bound)
    if reduce != "none":
        _check_lists(bound, tangents or {}, reduce)
    bound, seeds = with_tangents(bound, tangents or {})

    def walks(walk: Walk, tangents: Seeds) -> list[SlotNumbers]:
        tangent = walk.push(tangents)[output]
        return [[walk.values[output], tangent]]

    entries = entries_of(bound, seeds, (), walks, [False, False], reduce, checkpoint, threads)
    return Tangent(collapse_constants(bound, [output], entries)[0], _column(entries[1]))


def jacobian(
    graph: Graph,
    inputs: Inputs | None = None,
    wrt: Sequence[str] | None = None,
    *,
    reduce: Reduce = "none",
    checkpoint: Checkpoint = never,
    threads: int = 1,
) -> Jacobian:
    """The derivative of each output by each node in `wrt` (default: the leaves).

    Takes one forward walk per node if there are fewer nodes than outputs, else one reverse walk per output.
    """
    bound = bind(graph, inputs or {})
    targets = targets_of(bound, wrt)
    slots, outputs = targets.slots, bound.tape.slot[graph.roots]
    ahead = len(slots) < len(outputs)

    def walks(walk: Walk, seeds: Seeds) -> list[SlotNumbers]:
        walk.linearize()
        return [pick(walk.values, outputs), *(walk.push_each(slots, outputs) if ahead else walk.pull_each(outputs, slots))]

    m, n = len(outputs), len(slots)
    lists = [] if reduce == "none" else are_lists(bound, targets).tolist()
    kept = [False] * m + ([is_list for is_list in lists for _ in range(m)] if ahead else lists * m)
    entries = entries_of(bound, {}, slots, walks, kept, reduce, checkpoint, threads)
    values = dict(zip(graph.outputs, collapse_constants(bound, outputs, entries), strict=True))
    if isinstance(entries, list):
        rows = [[entries[m + (j * m + i if ahead else i * n + j)] for j in range(n)] for i in range(m)]
        return Jacobian(values, {name: targets.table(row) for name, row in zip(graph.outputs, rows, strict=True)})
    shape = (n, m) if ahead else (m, n)
    matrix = entries[m:].reshape(*shape, *entries.shape[1:])
    return Jacobian(values, Tables(graph.outputs, targets.names, matrix.swapaxes(0, 1) if ahead else matrix))


def hessian(
    graph: Graph,
    inputs: Inputs | None = None,
    wrt: Sequence[str] | None = None,
    *,
    reduce: Reduce = "none",
    checkpoint: Checkpoint = never,
    threads: int = 1,
) -> Hessian:
    """The exact second derivatives of the output by the nodes in `wrt` (default: the leaves), forward over reverse.

    With `reduce`, only by nodes that are one number for all points: by default, the leaves that are.
    """
    bound = bind(graph, inputs or {})
    targets = second_targets(bound, wrt, reduce)
    names, slots, output = targets.names, targets.slots, output_slot(bound)

    def walks(walk: Walk, seeds: Seeds) -> list[SlotNumbers]:
        walk.linearize()
        adjoints = walk.curve({output: 1.0})
        return [[walk.values[output]], pick(adjoints, slots), *walk.pull_tangents_each(slots)]

    n = len(names)
    if bound.points is None and n > lanes.WIDTH:
        most = elimination.most_steps(bound.tape, n) // 2
        plan = elimination.find_elimination(graph, output, slots, most, checkpoint)
        if plan is not None:
            return _eliminated(bound, targets, output, plan, checkpoint)
    entries = np.asarray(entries_of(bound, {}, slots, walks, [False] * (1 + n + n * n), reduce, checkpoint, threads))
    matrix = entries[1 + n :].reshape(n, n, *entries.shape[1:])
    value = collapse_constants(bound, [output], entries)[0]
    return Hessian(value, targets.table(entries[1 : 1 + n]), Tables.of(targets.places, targets.places, matrix))


def _eliminated(bound: Bound, targets: "Targets", output: int, plan: Elimination, checkpoint: Checkpoint) -> Hessian:
    """The Hessian at one point by edge pushing, which is faster where it is sparse."""
    walk = PointWalk(bound.tape, bound.numbers, checkpoint)
    adjoints, entries = walk.eliminate(plan, {output: 1.0})
    n, rows, columns = len(targets.names), plan.pattern.rows, plan.pattern.columns
    matrix = np.zeros((n, n))
    matrix[rows, columns] = entries
    matrix[columns, rows] = entries
    gradients = targets.table(np.asarray(pick(adjoints, targets.slots)))
    return Hessian(float(walk.values[output]), gradients, Tables.of(targets.places, targets.places, matrix))


def hvp(
    graph: Graph,
    inputs: Inputs | None = None,
    tangents: Mapping[str, Seed] | None = None,
    wrt: Sequence[str] | None = None,
    *,
    reduce: Reduce = "none",
    checkpoint: Checkpoint = never,
    threads: int = 1,
) -> Product:
    """The Hessian of the output times `tangents`, by the nodes in `wrt` (default: the leaves).

    Takes one forward-over-reverse walk; the Hessian itself is never formed. With `reduce`, only for nodes that are one number
    for all points, as `hessian`.
    """
    bound = bind(graph, inputs or {})
    targets = second_targets(bound, wrt, reduce)
    output = output_slot(bound)
    if reduce != "none":
        _check_singles(bound, targets_of(bound, tuple(tangents or {})), "tangents", reduce)
        _check_lists(bound, tangents or {}, reduce)
    bound, seeds = with_tangents(bound, tangents or {})

    def walks(walk: Walk, tangents: Seeds) -> list[SlotNumbers]:
        walk.linearize()
        adjoints = walk.curve({output: 1.0})
        products = walk.pull_tangents(tangents)
        return [[walk.values[output]], pick(adjoints, targets.slots), pick(products, targets.slots)]

    n = len(targets.names)
    entries = entries_of(bound, seeds, targets.slots, walks, [False] * (1 + 2 * n), reduce, checkpoint, threads)
    value = collapse_constants(bound, [output], entries)[0]
    return Product(value, targets.table(entries[1 : 1 + n]), targets.table(entries[1 + n :]))


def check_gradients(
    graph: Graph, inputs: Inputs | None = None, wrt: Sequence[str] | None = None, *, checkpoint: Checkpoint = never
) -> dict[str, Check]:
    """Each gradient in reverse mode, in forward mode and as a difference quotient, by node in `wrt` (default: the leaves)."""
    given = inputs or {}
    bound = bind(graph, given)
    targets = targets_of(bound, wrt)
    back = backward(graph, given, targets.names, checkpoint=checkpoint)
    checks = {}
    for name, slot in zip(targets.names, targets.slots.tolist(), strict=True):
        forward = jvp(graph, given, {name: 1.0}, checkpoint=checkpoint).tangent
        numeric, uncertainty, beside = _numeric(bound, name, slot, back.value, checkpoint)
        gradient = back.gradients[name]
        with np.errstate(all="ignore"):
            apart = np.maximum(np.abs(gradient - forward), np.abs(gradient - numeric))
            size = np.maximum(np.maximum(np.abs(gradient), np.abs(forward)), np.abs(numeric))
            size = np.maximum(size, np.minimum(np.fmax(RESOLUTION * uncertainty, beside), 1.0))
            error = np.where(apart == 0.0, 0.0, apart / size)
        checks[name] = Check(gradient, forward, numeric, error if np.ndim(error) else float(error))
    return checks


class Quotient(NamedTuple):
    """A difference quotient, its uncertainty, and the largest slope to a point beside."""

    value: Column
    uncertainty: Column
    beside: Column


def _numeric(bound: Bound, name: str, slot: int, value: Column, checkpoint: Checkpoint) -> Quotient:
    """The difference quotient of the output, which has this value, by one node. An operation becomes a leaf first."""
    shape = np.zeros(bound.points) if bound.points is not None else 0.0
    if slot < 0:
        return Quotient(shape, shape, shape)
    if slot >= bound.tape.leaves:
        position = bound.graph.index[name]
        bound = _cut_off(bound, position, slot, checkpoint)
        slot = int(bound.tape.slot[position])
    start = bound.columns[slot] if slot in bound.columns else bound.numbers[slot] + shape
    output = output_slot(bound)

    def value_at(x: Column) -> Column:
        checkpoint()
        return _value_in(bound.changed(slot, x), output, checkpoint)

    return difference_quotient(value_at, start, value)


def _cut_off(bound: Bound, position: int, slot: int, checkpoint: Checkpoint) -> Bound:
    """The same binding of a graph in which the operation at `position` is a leaf with the value that it has now."""
    graph = bound.graph
    name = graph.nodes[position].id
    nodes = (*graph.nodes[:position], Node(name, LEAF), *graph.nodes[position + 1 :])
    cut = Graph(nodes, graph.outputs, graph.names, graph.source)
    numbers: dict[str, Column] = {name: _value_in(bound, slot, checkpoint)}
    for leaf in np.flatnonzero(cut.tape.slot >= 0).tolist():
        if graph.nodes[leaf].op == LEAF:
            there = int(bound.tape.slot[leaf])
            numbers[graph.nodes[leaf].id] = bound.columns.get(there, float(bound.numbers[there]))
    return bind(cut, numbers)


def _value_in(bound: Bound, slot: int, checkpoint: Checkpoint) -> Column:
    """The value in one slot."""
    return _column(at_points(bound, {}, (), lambda walk, seeds: [[walk.values[slot]]], checkpoint)[0])


def agrees(check: Check, tolerance: float) -> bool:
    """Return whether the relative error exceeds the tolerance nowhere; NaN exceeds any tolerance."""
    return bool(np.all(np.asarray(check.relative_error) <= tolerance))


def difference_quotient(function: Callable[[Column], Column], x: Column, value: Column) -> Quotient:
    """The derivative of `function`, which has this value at x, as the limit of central differences, by Ridders' method.

    Steps are halved 30 times, once from a tenth of |x| and once from a tenth of max(|x|, 1/8). The result is, at each point,
    the entry of Richardson's tables that its neighbours confirm best, allowing for the rounding of the function and, as if it
    were of that size at the first step, of what it is computed from.
    C. Ridders, Advances in Engineering Software 4 (1982) 75-76.
    """
    best, least, beside = np.full(np.shape(x), np.nan), np.full(np.shape(x), np.inf), np.zeros(np.shape(x))
    with np.errstate(all="ignore"):
        for start in (0.1 * np.abs(x), 0.1 * np.maximum(np.abs(x), 0.125)):
            h: Column = start
            row: list[Column] = []
            for _ in range(HALVINGS):
                up, down = x + h, x - h
                above, below = function(up), function(down)
                if h is start:
                    beside = np.fmax(beside, np.fmax(np.abs((above - value) / h), np.abs((value - below) / h)))
                fresh: list[Column] = [(above - below) / (up - down)]
                rounding = EPSILON * ((np.abs(above) + np.abs(below)) / (up - down) + np.abs(fresh[0]) * start / h)
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
    return Quotient(best, least, beside) if isinstance(x, np.ndarray) else Quotient(float(best), float(least), float(beside))


# --- from names to slots


@dataclass(frozen=True)
class Targets:
    """The nodes that a derivative is taken by: their ids, each once, and their slots.

    `index` has the places of the ids, if there is one already; `leaves_of` is the graph if they are its leaves.
    """

    names: Sequence[str]
    slots: Ints
    index: Mapping[str, int] | None = None
    leaves_of: Graph | None = None

    @cached_property
    def places(self) -> Mapping[str, int]:
        """The place of each id in a table."""
        if self.leaves_of is not None:
            return self.leaves_of.leaf_places
        return {name: k for k, name in enumerate(self.names)} if self.index is None else self.index

    def table(self, entries: Entries) -> Table:
        """The gradient table with these entries."""
        if isinstance(entries, list):
            return Gradients(dict(zip(self.names, entries, strict=True)))
        return Gradients.of(self.places, entries)


def targets_of(bound: Bound, wrt: Sequence[str] | None) -> Targets:
    """The nodes in `wrt`, each once; by default the leaves. Raises UnknownNode."""
    if wrt is None:
        return Targets(bound.graph.leaves, bound.tape.slot[bound.graph.leaf_positions], leaves_of=bound.graph)
    names = tuple(dict.fromkeys(wrt))
    if len(names) < len(wrt):
        bound.graph.positions(wrt, ("wrt",))  # an error gives the place in `wrt`, not in `names`
    slots = bound.tape.slot[bound.graph.positions(names, ("wrt",))]
    return Targets(names, slots)


def _named_targets(bound: Bound) -> Targets:
    """All nodes that have a name. If these are all nodes, nothing is looked up: the graph has their index already."""
    graph = bound.graph
    if graph.every_node_named:
        return Targets(graph.names, bound.tape.slot.copy(), graph.index)  # writable, as the kernels are compiled for
    places, positions = graph.named
    return Targets(graph.names, bound.tape.slot[positions], places)


def second_targets(bound: Bound, wrt: Sequence[str] | None, reduce: Reduce) -> Targets:
    """The nodes that a second derivative is taken by. Raises UnknownNode, and InvalidNode for a list that is reduced."""
    targets = targets_of(bound, wrt)
    if reduce == "none":
        return targets
    if wrt is None:
        single = [name for name, is_list in zip(targets.names, are_lists(bound, targets), strict=True) if not is_list]
        return targets_of(bound, single)
    _check_singles(bound, targets, "wrt", reduce)
    return targets


def are_lists(bound: Bound, targets: Targets) -> Bools:
    """Which targets differ from point to point, so that the reduced output has one derivative per point by them."""
    given = np.array([not isinstance(bound.inputs.get(name, 0.0), NUMBER) for name in targets.names], np.bool_)
    varying = dependents(bound.tape, list(bound.columns))
    return given | np.where(targets.slots >= 0, varying[targets.slots], False)


def _check_singles(bound: Bound, targets: Targets, field: str, reduce: Reduce) -> None:
    """Raise InvalidNode for the first target that differs from point to point."""
    for k in np.flatnonzero(are_lists(bound, targets)).tolist():
        name = targets.names[k]
        detail = f"{quote(name)} differs from point to point; the second derivatives of a {reduce} are taken by single numbers"
        raise InvalidNode(detail, (field, name if field == "tangents" else k))


def _check_lists(bound: Bound, tangents: Mapping[str, Seed], reduce: Reduce) -> None:
    """Raise ShapeMismatch for a list of tangents of something that is one number."""
    targets = targets_of(bound, tuple(tangents))
    for name, is_list in zip(targets.names, are_lists(bound, targets), strict=True):
        if not is_list and not isinstance(tangents[name], NUMBER):
            detail = f"there is a list of tangents for {quote(name)}, which is one number in the {reduce} over the points"
            raise ShapeMismatch(detail, ("tangents", name))


def output_slot(bound: Bound) -> int:
    """The slot of the output."""
    return int(bound.tape.slot[bound.graph.roots[0]])


def with_tangents(bound: Bound, tangents: Mapping[str, Seed]) -> tuple[Bound, Seeds]:
    """Return the tangents by slot, and the binding with the points that they add.

    If only the tangents are lists, there are as many points as they are long. Raises UnknownNode; ShapeMismatch for a list
    of another length than the points.
    """
    given = []
    for name, seed in tangents.items():
        position = bound.graph.index.get(name)
        if position is None:
            raise unknown_node(name, bound.graph, ("tangents", name))
        given.append((position, seed, ("tangents", name)))
    return _with_seeds(bound, given)


def _with_seeds(bound: Bound, given: Iterable[tuple[int, Seed, Place]]) -> tuple[Bound, Seeds]:
    """As `with_tangents`, for seeds with the positions of their nodes and their places in an error."""
    seeds: dict[int, Column] = {}
    points = bound.points
    for position, seed, place in given:
        if isinstance(seed, NUMBER):
            column: Column = float(seed)
        else:
            column = np.asarray(seed, np.float64)
            points = len(column) if points is None else points
            if len(column) != points:
                raise ShapeMismatch(f"the list has {len(column)} numbers, but the number of points is {points}", place)
        slot = int(bound.tape.slot[position])
        if slot >= 0:
            seeds[slot] = column
    if points is not None and bound.points is None:
        bound = replace(bound, columns={}, points=points)
    return bound, seeds


def _column(entry: Any) -> Column:
    """An entry of a walk as a float, or as an array with one number per point."""
    return entry if isinstance(entry, np.ndarray) else float(entry)


def collapse_constants(bound: Bound, slots: Sequence[int] | Ints, values: Entries) -> list[Column]:
    """Return the values of these slots, each that depends on no list as one number and not as a column."""
    if isinstance(values, list):
        return values[: len(slots)]
    if values.ndim == 1:  # at one point, or reduced
        return values[: len(slots)].tolist()  # type: ignore[no-any-return]  # floats
    if not bound.points:
        return list(values[: len(slots)])
    varying = dependents(bound.tape, list(bound.columns))
    return [value if slot >= 0 and varying[slot] else float(value[0]) for slot, value in zip(slots, values, strict=False)]


def entries_of(
    bound: Bound,
    seeds: Seeds,
    towards: Sequence[int] | Ints,
    walks: Walks,
    kept: Sequence[bool],
    reduce: Reduce,
    checkpoint: Checkpoint,
    threads: int = 1,
) -> Entries:
    """Return what `walks` computes. With `reduce`, each entry at many points is one number, or a column where it is `kept`."""
    if reduce == "none" or bound.points is None:
        return at_points(bound, seeds, towards, walks, checkpoint, threads)
    return summed_over_points(bound, seeds, towards, walks, np.array(kept, np.bool_), reduce == "mean", checkpoint, threads)

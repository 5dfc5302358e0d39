"""Hessians and Jacobians as their structural nonzeros, in time that grows with these and not with the matrix.

What is listed depends on the graph alone; see `elimination`. Arguments, errors and conventions are those of `transforms`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from app.engine import elimination
from app.engine.binding import Column, Inputs, bind
from app.engine.elimination import UNLIMITED, Allowance, Elimination, Pattern
from app.engine.graph import Graph
from app.engine.interruption import Checkpoint, never
from app.engine.points import Reduce, Seeds
from app.engine.tape import Floats
from app.engine.transforms import are_lists, collapse_constants, entries_of, output_slot, second_targets, targets_of
from app.engine.walk import SlotNumbers, Walk, pick

Entries = Floats | list[Column]
"""One number per entry of a pattern, an array of shape (entries,) or (entries, points); a list if some are columns."""


class SparseHessian(NamedTuple):
    """The output's value, and its gradient and the lower triangle of its Hessian by `names`.

    `gradient` has one entry per name: its shape is (names,) or (names, points).
    """

    value: Column
    names: Sequence[str]
    gradient: Floats
    pattern: Pattern
    entries: Entries


class SparseJacobian(NamedTuple):
    """The outputs' values, one per output in the graph's order, and their derivatives by `names`."""

    values: Sequence[Column]
    names: Sequence[str]
    pattern: Pattern
    entries: Entries


def hessian(
    graph: Graph,
    inputs: Inputs | None = None,
    wrt: Sequence[str] | None = None,
    *,
    reduce: Reduce = "none",
    allowance: Allowance = UNLIMITED,
    checkpoint: Checkpoint = never,
) -> SparseHessian:
    """The second derivatives of the output by the nodes in `wrt` (default: the leaves), as `transforms.hessian`."""
    bound = bind(graph, inputs or {})
    targets = second_targets(bound, wrt, reduce)
    slots, output = targets.slots, output_slot(bound)
    plan = elimination.plan_hessian(graph, output, slots, allowance, checkpoint)

    def walks(walk: Walk, seeds: Seeds) -> list[SlotNumbers]:
        walk.linearize()
        if isinstance(plan, Elimination):
            adjoints, found = walk.eliminate(plan, {output: 1.0})
            return [[walk.values[output]], pick(adjoints, slots), found]
        adjoints = walk.curve({output: 1.0})
        return [[walk.values[output]], pick(adjoints, slots), _picked(walk.pull_tangents_each(slots), plan.entries)]

    n, count = len(slots), len(plan.pattern.rows)
    entries = np.asarray(entries_of(bound, {}, slots, walks, [False] * (1 + n + count), reduce, checkpoint))
    value = collapse_constants(bound, [output], entries)[0]
    return SparseHessian(value, targets.names, entries[1 : 1 + n], plan.pattern, entries[1 + n :])


def jacobian(
    graph: Graph,
    inputs: Inputs | None = None,
    wrt: Sequence[str] | None = None,
    *,
    reduce: Reduce = "none",
    allowance: Allowance = UNLIMITED,
    checkpoint: Checkpoint = never,
) -> SparseJacobian:
    """The derivatives of each output by the nodes in `wrt` (default: the leaves), as `transforms.jacobian`."""
    bound = bind(graph, inputs or {})
    targets = targets_of(bound, wrt)
    slots, outputs = targets.slots, bound.tape.slot[graph.roots]
    plan = elimination.plan_jacobian(graph, outputs, slots, allowance, checkpoint)

    def walks(walk: Walk, seeds: Seeds) -> list[SlotNumbers]:
        walk.linearize()
        if isinstance(plan, Elimination):
            return [pick(walk.values, outputs), walk.eliminate(plan, {})[1]]
        return [pick(walk.values, outputs), _picked(walk.pull_each(outputs, slots), plan.entries)]

    kept = [] if reduce == "none" else [False] * len(outputs) + are_lists(bound, targets)[plan.pattern.columns].tolist()
    entries = entries_of(bound, {}, slots, walks, kept, reduce, checkpoint)
    values = collapse_constants(bound, outputs, entries)
    return SparseJacobian(values, targets.names, plan.pattern, entries[len(outputs) :])


def _picked(rows: list[SlotNumbers], places: npt.NDArray[np.int64]) -> SlotNumbers:
    """The numbers in these places of rows that follow each other."""
    arrays = [row for row in rows if isinstance(row, np.ndarray)]
    if len(arrays) == len(rows):
        numbers: Floats = np.concatenate(arrays)[places]
        return numbers
    joined = [entry for row in rows for entry in row]
    return [joined[place] for place in places.tolist()]

"""A graph as a function of a vector, with its value and exact derivatives at any point.

The graph is bound to its fixed inputs once; only the variables' numbers change from point to point. Where the inputs hold
lists, the function is the sum or the mean over their points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from app.engine.binding import NUMBER, Bound, Inputs, bind
from app.engine.graph import Graph
from app.engine.interruption import Checkpoint, never
from app.engine.points import Seeds, summed_over_points
from app.engine.walk import PointWalk, SlotNumbers, Walk, pick

Floats = npt.NDArray[np.float64]

MOST_SUMS = 10_000
"""Second derivatives over points are computed together up to so many, because a sum that is rounded once takes memory."""


class Objective:
    """A graph's output as a function of some of its leaves, the variables.

    A point is an array of shape (n,), one number per variable. What the last point's walk has found is kept, so that its
    value, gradient and second derivatives cost one walk forward. Nothing here is ever evaluated for a difference quotient.

    Args:
        graph: the function; its first output counts.
        inputs: the fixed numbers of the other leaves. Lists are points, over which the function is reduced.
        variables: the ids of the variables, which must be leaves. The function is constant in those that it does not have.
        reduce: how points are reduced.
        checkpoint: called before each walk, and within long ones.

    Raises: UnknownNode, InvalidNode, UnboundInput and ShapeMismatch, as `transforms`.
    """

    def __init__(
        self,
        graph: Graph,
        inputs: Inputs,
        variables: Sequence[str],
        reduce: Literal["sum", "mean"] = "sum",
        checkpoint: Checkpoint = never,
    ) -> None:
        self.graph = graph
        self.inputs = inputs
        self.variables = variables
        self.reduce: Literal["sum", "mean"] = reduce
        self.checkpoint = checkpoint
        positions = np.array([graph.index.get(name, -1) for name in variables], np.int64)
        known = [name for name, position in zip(variables, positions.tolist(), strict=True) if position >= 0]
        self._bound: Bound = bind(graph, {**inputs, **dict.fromkeys(known, 0.0)})
        tape = self._bound.tape
        self._slots = np.where(positions >= 0, tape.slot[positions], -1).astype(np.int32)
        self._used = np.flatnonzero(self._slots >= 0)
        self._used_slots = self._slots[self._used]
        self._output = int(tape.slot[graph.roots[0]])
        self._at: bytes = b""
        self._walk: PointWalk | None = None
        self.is_one_point = self._bound.points is None

    def value_and_gradient(self, x: Floats) -> tuple[float, Floats]:
        """The value at x, and the gradient of shape (n,). Either may hold NaN and infinity."""
        self.checkpoint()
        if self.is_one_point:
            walk = self._walk_at(x)
            adjoints = walk.pull({self._output: 1.0})
            return float(walk.values[self._output]), np.array(pick(adjoints, self._slots))
        entries = self._reduced(x, _value_and_gradient, {self._output: 1.0}, 1 + len(x))
        return float(entries[0]), entries[1:]

    def hessian(self, x: Floats) -> Floats:
        """The second derivatives at x: a symmetric array of shape (n, n)."""
        self.checkpoint()
        n = len(x)
        matrix: Floats
        if self.is_one_point:
            walk = self._walk_at(x)
            walk.linearize()
            walk.curve({self._output: 1.0})
            matrix = np.concatenate([np.asarray(row) for row in walk.pull_tangents_each(self._slots)]).reshape(n, n)
        elif n * n <= MOST_SUMS:
            matrix = self._reduced(x, _hessian, {self._output: 1.0}, n * n).reshape(n, n)
        else:
            matrix = np.array([self.product(x, row) for row in np.eye(n)])
        return 0.5 * (matrix + matrix.T)

    def product(self, x: Floats, direction: Floats) -> Floats:
        """The Hessian at x times a direction, both of shape (n,). The Hessian itself is never formed."""
        self.checkpoint()
        tangents = dict(zip(self._used_slots.tolist(), direction[self._used].tolist(), strict=True))
        if self.is_one_point:
            walk = self._walk_at(x)
            walk.linearize()
            walk.curve({self._output: 1.0})
            return np.array(pick(walk.pull_tangents(tangents), self._slots))
        output = self._output

        def product(walk: Walk, seeds: Seeds, slots: Any) -> list[SlotNumbers]:
            walk.linearize()
            walk.curve({output: 1.0})
            return [pick(walk.pull_tangents(seeds), slots)]

        return self._reduced(x, product, tangents, len(x))

    def inputs_at(self, x: Floats) -> Mapping[str, Any]:
        """The inputs of the graph at x: the fixed numbers, and the variables' own."""
        variables = zip(self.variables, x.tolist(), strict=True)
        return {**self.inputs, **{name: number for name, number in variables if name in self.graph.index}}

    def _numbers(self, x: Floats) -> Floats:
        numbers = self._bound.numbers.copy()
        numbers[self._used_slots] = x[self._used]
        return numbers

    def _walk_at(self, x: Floats) -> PointWalk:
        key = x.tobytes()
        if self._walk is None or key != self._at:
            self._walk = PointWalk(self._bound.tape, self._numbers(x), self.checkpoint)
            self._at = key
        return self._walk

    def _reduced(self, x: Floats, walks: Any, seeds: Seeds, count: int) -> Floats:
        """The sums or means of `count` entries over the points."""
        bound = replace(self._bound, numbers=self._numbers(x))
        slots = self._slots

        def on_slots(walk: Walk, seeds: Seeds) -> list[SlotNumbers]:
            return walks(walk, seeds, slots)  # type: ignore[no-any-return]  # as `points.Walks`

        kept = np.zeros(count, np.bool_)
        entries = summed_over_points(bound, seeds, slots, on_slots, kept, self.reduce == "mean", self.checkpoint)
        return np.array(entries, np.float64)


def _value_and_gradient(walk: Walk, seeds: Seeds, slots: Any) -> list[SlotNumbers]:
    (output,) = seeds
    adjoints = walk.pull(seeds)  # before the values, which come along with the partials
    return [[walk.values[output]], pick(adjoints, slots)]


def _hessian(walk: Walk, seeds: Seeds, slots: Any) -> list[SlotNumbers]:
    walk.linearize()
    walk.curve(seeds)
    return walk.pull_tangents_each(slots)


def is_list(given: object) -> bool:
    """Whether an input has one number per point."""
    return not isinstance(given, NUMBER)

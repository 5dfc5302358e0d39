"""A model curve: the values of an expression at rows of data, and their exact derivatives by its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from app.engine import double_double, transforms
from app.engine.binding import Column
from app.engine.graph import Graph, Node
from app.engine.interruption import Checkpoint, never
from app.engine.points import BLOCK_POINTS, MIN_BLOCK_POINTS
from app.engine.primitives import LEAF

Floats = npt.NDArray[np.float64]

MICROSECONDS_PER_ROW = 9.0
"""A walk over one row alone, whatever the expression."""
MICROSECONDS_PER_INSTRUCTION = 5.0
"""One instruction for all rows together, with its derivatives."""
MICROSECONDS_PER_WALK = 60.0
"""A walk over all rows together, besides the instructions."""


@dataclass(slots=True)
class Curve:
    """The model f(row; parameters).

    `columns` gives a number, or an array of shape (rows,), to each name that is not one of the `names` of parameters. Points
    are vectors of parameters in that order. What was computed last is remembered, so that a value and its derivatives are one
    evaluation, which `evaluations` counts, and a minimum that is looked at twice is computed once.
    """

    graph: Graph
    names: tuple[str, ...]
    columns: Mapping[str, Column]
    rows: int
    checkpoint: Checkpoint = never
    evaluations: int = 0
    _last: tuple[bytes, Floats, Floats] | None = field(default=None, repr=False)
    _precise: tuple[bytes, double_double.DoubleDouble] | None = field(default=None, repr=False)
    _curvature: tuple[bytes, Floats] | None = field(default=None, repr=False)
    _walked: Mapping[str, Column] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._walked = self._enough_for_a_block()

    def _enough_for_a_block(self) -> Mapping[str, Column]:
        """The columns, with the last row repeated if a block of `MIN_BLOCK_POINTS` rows takes less time than the rows alone."""
        missing = MIN_BLOCK_POINTS - self.rows
        together = MICROSECONDS_PER_WALK + MICROSECONDS_PER_INSTRUCTION * len(self.graph.tape.code)
        if missing <= 0 or MICROSECONDS_PER_ROW * self.rows < together:
            return self.columns
        return {
            name: np.pad(column, (0, missing), mode="edge") if isinstance(column, np.ndarray) else column
            for name, column in self.columns.items()
        }

    def at(self, point: Floats) -> tuple[Floats, Floats]:
        """Return the values, shape (rows,), and the Jacobian, shape (rows, parameters). Both may hold NaN or infinity."""
        key = point.tobytes()
        if self._last is None or self._last[0] != key:
            self.checkpoint()
            self.evaluations += 1
            inputs = self._inputs(self._walked, point)
            found = transforms.backward(self.graph, inputs, self.names, checkpoint=self.checkpoint)
            jacobian = np.empty((self.rows, len(self.names)))
            for k, name in enumerate(self.names):
                jacobian[:, k] = self._of_rows(found.gradients[name])
            self._last = key, np.array(self._of_rows(found.value)), jacobian
        return self._last[1], self._last[2]

    def residuals(self, point: Floats, target: Floats) -> Floats:
        """Return target - f, shape (rows,), with the difference taken in double-double arithmetic and then rounded."""
        key = point.tobytes()
        if self._precise is None or self._precise[0] != key:
            self._precise = key, self._values(point)
        with np.errstate(all="ignore"):
            difference = double_double.subtract(double_double.exact(target), self._precise[1])
            return np.asarray(difference.hi + difference.lo)

    def _values(self, point: Floats) -> double_double.DoubleDouble:
        """The values in double-double arithmetic, by blocks of rows, which takes less memory, and is faster."""
        inputs, hi, lo = self._inputs(self.columns, point), np.empty(self.rows), np.empty(self.rows)
        for low in range(0, self.rows, BLOCK_POINTS):
            self.checkpoint()
            rows = slice(low, low + BLOCK_POINTS)
            block = {name: column[rows] if isinstance(column, np.ndarray) else column for name, column in inputs.items()}
            value = double_double.evaluate(self.graph, block)
            hi[rows], lo[rows] = value.hi, value.lo
        return double_double.DoubleDouble(hi, lo)

    def curvature(self, point: Floats, factors: Floats) -> Floats:
        """Return the sum over the rows of a factor times the Hessian of f, shape (parameters, parameters)."""
        key = point.tobytes() + factors.tobytes()
        if self._curvature is None or self._curvature[0] != key:
            self._curvature = key, self._weighted_hessian(point, factors)
        return self._curvature[1]

    def _weighted_hessian(self, point: Floats, factors: Floats) -> Floats:
        factor, product = _unused(self.graph, "factor"), _unused(self.graph, "product")
        nodes = (*self.graph.nodes, Node(factor, LEAF), Node(product, "mul", (factor, self.graph.output)))
        missing = max((len(c) for c in self._walked.values() if isinstance(c, np.ndarray)), default=self.rows) - self.rows
        inputs = {**self._inputs(self._walked, point), factor: np.pad(factors, (0, missing))}
        found = transforms.hessian(
            Graph(nodes, (product,)), inputs, self.names, reduce="sum", checkpoint=self.checkpoint
        ).hessian
        return np.array([[found[a][b] for b in self.names] for a in self.names]).reshape(len(self.names), len(self.names))

    def _of_rows(self, column: Column) -> Floats:
        """A number or a column that was walked, as one number per row."""
        return column[: self.rows] if isinstance(column, np.ndarray) else np.full(self.rows, column)

    def _inputs(self, columns: Mapping[str, Column], point: Floats) -> dict[str, Column]:
        return {**columns, **dict(zip(self.names, point.tolist(), strict=True))}


def _unused(graph: Graph, name: str) -> str:
    """The name, or a longer one that no node of the graph has."""
    while name in graph.index:
        name += "'"
    return name

"""A model curve: the values of an expression at rows of data, and their exact derivatives by its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from app.engine import double_double, transforms
from app.engine.binding import Column
from app.engine.graph import Graph, Node
from app.engine.interruption import Checkpoint, never
from app.engine.primitives import LEAF

Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class Curve:
    """The model f(row; parameters).

    `columns` gives a number, or an array of shape (rows,), to each name that is not one of the `names` of parameters. Points
    are vectors of parameters in that order. The last point is remembered, so that a value and its derivatives are one
    evaluation; `evaluations` counts them.
    """

    graph: Graph
    names: tuple[str, ...]
    columns: Mapping[str, Column]
    rows: int
    checkpoint: Checkpoint = never
    evaluations: int = 0
    _last: tuple[bytes, Floats, Floats] | None = field(default=None, repr=False)

    def at(self, point: Floats) -> tuple[Floats, Floats]:
        """Return the values, shape (rows,), and the Jacobian, shape (rows, parameters). Both may hold NaN or infinity."""
        key = point.tobytes()
        if self._last is None or self._last[0] != key:
            self.checkpoint()
            self.evaluations += 1
            found = transforms.backward(self.graph, self._inputs(point), self.names, checkpoint=self.checkpoint)
            jacobian = np.empty((self.rows, len(self.names)))
            for k, name in enumerate(self.names):
                jacobian[:, k] = found.gradients[name]
            self._last = key, np.array(np.broadcast_to(found.value, self.rows)), jacobian
        return self._last[1], self._last[2]

    def residuals(self, point: Floats, target: Floats) -> Floats:
        """Return target - f, shape (rows,), with the difference taken in double-double arithmetic and then rounded."""
        self.checkpoint()
        value = double_double.evaluate(self.graph, self._inputs(point))
        with np.errstate(all="ignore"):
            difference = double_double.subtract(double_double.exact(target), value)
            return np.array(np.broadcast_to(difference.hi + difference.lo, self.rows))

    def curvature(self, point: Floats, factors: Floats) -> Floats:
        """Return the sum over the rows of a factor times the Hessian of f, shape (parameters, parameters)."""
        factor, product = _unused(self.graph, "factor"), _unused(self.graph, "product")
        nodes = (*self.graph.nodes, Node(factor, LEAF), Node(product, "mul", (factor, self.graph.output)))
        inputs = {**self._inputs(point), factor: factors}
        found = transforms.hessian(
            Graph(nodes, (product,)), inputs, self.names, reduce="sum", checkpoint=self.checkpoint
        ).hessian
        return np.array([[found[a][b] for b in self.names] for a in self.names]).reshape(len(self.names), len(self.names))

    def _inputs(self, point: Floats) -> dict[str, Column]:
        return {**self.columns, **dict(zip(self.names, point.tolist(), strict=True))}


def _unused(graph: Graph, name: str) -> str:
    """The name, or a longer one that no node of the graph has."""
    while name in graph.index:
        name += "'"
    return name

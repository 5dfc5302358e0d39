"""Numbers of the engine on their way into a response: checked, and as JSON has them.

A number that is NaN or infinite becomes an error that names the node at fault, or null if the request asks for that.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from app.api.expressions.models import ExpressionRequest, NonFiniteNumber, ReducibleRequest
from app.engine.binding import Column, Seed
from app.engine.errors import NonFinite, Place
from app.engine.faults import Fault, Quantity, explain, number_text
from app.engine.gradients import Gradients, Tables
from app.engine.graph import Graph
from app.engine.points import Reduce
from app.engine.sparse import Entries
from app.service.models import nan_for_null

MAX_LISTED = 20
"""How many null numbers a response lists."""

MAX_DICT_ENTRIES = 1000
"""A table with more is written in parts."""

Written = Any
"""A number as the response has it: a float or None, or an array with one per point, in which NaN stands for null."""


class ResponseNumbers:
    """The numbers of one response. `nulls` lists those that became null so far."""

    def __init__(self, request: ExpressionRequest, graph: Graph, checkpoint: Callable[[], None]) -> None:
        self.inputs = request.inputs
        self.reduce: Reduce = request.reduce if isinstance(request, ReducibleRequest) else "none"
        self.graph = graph
        self.checkpoint = checkpoint
        self.allow_null = request.nonfinite == "null"
        self.nulls: list[NonFiniteNumber] = []

    @property
    def fields(self) -> dict[str, Any]:
        """The response's field `nonfinite`, if the request allows null."""
        return {"nonfinite": self.nulls} if self.allow_null else {}

    def table(
        self,
        quantity: Quantity,
        columns: Mapping[str, Column],
        *,
        seeds: Mapping[str, Seed] | None = None,
        output: str | None = None,
    ) -> Mapping[str, Written]:
        """A table of numbers by node; a large one stays an array until it is written.

        `seeds` and `output` are as in `engine.faults.explain`.
        """
        if len(columns) > MAX_DICT_ENTRIES and isinstance(columns, Gradients) and columns.is_finite():
            return columns
        plain: Any = columns.copy() if isinstance(columns, Gradients) else dict(columns)
        if set(map(type, plain.values())) <= {float}:
            if math.isfinite(sum(plain.values())):  # a sum is finite only if all its terms are
                return plain  # type: ignore[no-any-return]  # floats by id
        elif all(map(_is_finite, plain.values())):
            return plain  # type: ignore[no-any-return]  # floats and arrays by id

        return {
            node: self._with_nulls(quantity, node, column, self._fault(quantity, node, seeds, output))
            for node, column in plain.items()
        }

    def tables(
        self, quantity: Quantity, tables: Mapping[str, Mapping[str, Column]], explained: Callable[[str], dict[str, Any]]
    ) -> Any:
        """A table of numbers for each row. If all are in one array and finite, they stay there until they are written.

        `explained` gives the `seeds` and `output` of a row, as in `table`.
        """
        if isinstance(tables, Tables) and tables.is_finite():
            return tables
        return {row: self.table(quantity, table, **explained(row)) for row, table in tables.items()}

    def entries(self, quantity: Quantity, found: Entries, explained: Callable[[int], tuple[str, dict[str, Any]]]) -> Written:
        """The entries of a sparse matrix, in which a number that is not finite is written as null.

        `explained` gives the node by which an entry is a derivative, and its `seeds` and `output`, as in `table`.
        """
        if isinstance(found, np.ndarray):
            finite = np.isfinite(found)
            wrong = np.flatnonzero(~(finite if found.ndim == 1 else finite.all(axis=1))).tolist()
        else:
            wrong = [k for k, column in enumerate(found) if not _is_finite(column)]
        for k in wrong:
            if len(self.nulls) >= MAX_LISTED:
                break
            node, context = explained(k)
            column = found[k] if isinstance(found[k], np.ndarray) else float(found[k])
            self._with_nulls(quantity, node, column, self._fault(quantity, node, **context))
        if isinstance(found, np.ndarray):
            return nan_for_null(found)
        return [nan_for_null(column) if isinstance(column, np.ndarray) else column for column in found]

    def named(self, what: str, quantity: Quantity, node: str, column: Column, at: str | None = None) -> Written:
        """A number that belongs to no node alone, such as a local gradient; `what` names it in an error at node `at`."""
        at = at or node

        def fault(number: float, point: int | None) -> NonFinite:
            where = "" if point is None else f" at point {point} (counted from 0)"
            place: Place = ("nodes", self.graph.index[at]) if at in self.graph.index else ()
            return NonFinite(f"{what} is {number_text(number)}{where}", place)

        return self._with_nulls(quantity, node, column, fault)

    def one(
        self, quantity: Quantity, column: Column, *, seeds: Mapping[str, Seed] | None = None, output: str | None = None
    ) -> Written:
        """One number, of the graph's output."""
        if isinstance(column, float) and math.isfinite(column):
            return column
        return self.table(quantity, {self.graph.output: column}, seeds=seeds, output=output)[self.graph.output]

    def _fault(
        self, quantity: Quantity, node: str, seeds: Mapping[str, Seed] | None = None, output: str | None = None
    ) -> Callable[[float, int | None], NonFinite]:
        """What makes the error for a number of a node. Arguments as in `engine.faults.explain`."""

        def explained(number: float, point: int | None) -> NonFinite:
            found = Fault(quantity, node, number, point, output)
            return explain(self.graph, self.inputs, found, seeds, reduce=self.reduce, checkpoint=self.checkpoint)

        return explained

    def _with_nulls(
        self, quantity: Quantity, node: str, column: Column, fault: Callable[[float, int | None], NonFinite]
    ) -> Written:
        """The column with null for each number that is not finite. Each is listed, or raised as its `fault`."""
        if _is_finite(column):
            return column
        many = isinstance(column, np.ndarray)
        numbers = column.tolist() if isinstance(column, np.ndarray) else [column]
        for point, number in enumerate(numbers):
            if math.isfinite(number):
                continue
            if not self.allow_null:
                raise fault(number, point if many else None)
            if len(self.nulls) < MAX_LISTED:
                at_point: dict[str, Any] = {"point": point} if many else {}
                text: Any = number_text(number)
                self.nulls.append(NonFiniteNumber(node=node, walk=quantity.walk, value=text, **at_point))
        return nan_for_null(column) if isinstance(column, np.ndarray) else None


def _is_finite(column: Column) -> bool:
    return bool(np.isfinite(column).all()) if isinstance(column, np.ndarray) else math.isfinite(column)

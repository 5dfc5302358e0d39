"""A drawing on the wire: nodes and edges as lists whose objects are made when they are written.

Models of all rows at once would take a kilobyte each, and so long to make that other requests would wait.
"""

from collections.abc import Iterator
from typing import Any

from app.api.expressions import work
from app.api.expressions.expression import graph_of
from app.api.expressions.models import GraphEdge, GraphNode, GraphRequest, GraphResponse
from app.api.expressions.numbers import ResponseNumbers, Written
from app.engine import drawing
from app.engine.drawing import EdgeRow, NodeRow
from app.engine.errors import quote
from app.engine.faults import Quantity
from app.engine.graph import Graph
from app.engine.interruption import checked
from app.pictures.graph import graph_svg
from app.service.execution import Job


class DrawnNodes:
    """Nodes with their values, and with `grads` unless that is None; both are numbers as a response has them, by id."""

    def __init__(self, rows: list[NodeRow], data: dict[str, Written], grads: dict[str, Written] | None) -> None:
        self.rows = rows
        self.data = data
        self.grads = grads

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[GraphNode]:
        return (GraphNode(**row) for row in self.json_rows(0, len(self)))

    def json_rows(self, low: int, high: int) -> list[dict[str, Any]]:
        """The nodes from `low` up to `high`."""
        return [self._json(row) for row in self.rows[low:high]]

    def _json(self, row: NodeRow) -> dict[str, Any]:
        grad = {} if self.grads is None else {"grad": self.grads[row.id]}
        data = self.data[row.id]
        return {
            "id": row.id,
            "label": row.label,
            "op": row.op,
            "data": data,
            **grad,
            "arity": row.arity,
            "is_leaf": row.is_leaf,
        }


class DrawnEdges:
    """Edges, and with their local gradients unless those are None."""

    def __init__(self, rows: list[EdgeRow], local_gradients: list[Written] | None) -> None:
        self.rows = rows
        self.local_gradients = local_gradients

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[GraphEdge]:
        return (GraphEdge.model_validate(row) for row in self.json_rows(0, len(self)))

    def json_rows(self, low: int, high: int) -> list[dict[str, Any]]:
        """The edges from `low` up to `high`."""
        ends = [{"from": row.origin, "to": row.to} for row in self.rows[low:high]]
        if self.local_gradients is None:
            return ends
        return [{**row, "local_gradient": n} for row, n in zip(ends, self.local_gradients[low:high], strict=True)]


def drawn_graph(request: GraphRequest, graph: Graph, job: Job) -> GraphResponse:
    """The nodes and edges of a graph. Raises Problem where a limit is exceeded, and NonFinite as `ResponseNumbers` does."""
    edge_count = sum(len(node.args) for node in graph.nodes)
    rows = len(graph.nodes) + 2 * edge_count  # the numbers among the arguments are rows too
    work.check(job, graph, 3, 2 * len(graph.nodes) + 3 * edge_count, ("inputs", request.inputs), rows=rows)
    node_rows, edge_rows = drawing.rows(graph, request.inputs, checkpoint=job.check)
    numbers = ResponseNumbers(request, graph, job.check)
    nodes: Any = drawn_nodes(numbers, node_rows, edge_rows, request.gradients)
    edges: Any = drawn_edges(numbers, edge_rows, request.gradients)
    return GraphResponse(nodes=nodes, edges=edges, **numbers.fields)


def draw_graph(request: GraphRequest, job: Job) -> bytes:
    """The picture of a graph. Raises as `drawn_graph` does, and Problem for a graph that is too large for a picture."""
    graph = graph_of(request.expression, job)
    constants = sum(not isinstance(arg, str) for node in graph.nodes for arg in node.args)
    work.check_picture(job, len(graph.nodes) + constants)
    response = drawn_graph(request, graph, job)
    nodes, edges = list(response.nodes), list(response.edges)
    return graph_svg(
        nodes,
        edges,
        output=graph.output,
        constants={row.id for row in nodes if row.id not in graph.index},
        gradients=request.gradients,
        checkpoint=job.check,
    )


def drawn_nodes(numbers: ResponseNumbers, rows: list[NodeRow], edges: list[EdgeRow], with_gradients: bool) -> DrawnNodes:
    """The nodes of a drawing. Raises NonFinite as `ResponseNumbers` does."""
    data = dict(numbers.table(Quantity.VALUE, {row.id: row.data for row in checked(rows, numbers.checkpoint)}))
    return DrawnNodes(rows, data, _gradients(numbers, rows, edges) if with_gradients else None)


def drawn_edges(numbers: ResponseNumbers, rows: list[EdgeRow], with_gradients: bool) -> DrawnEdges:
    """The edges of a drawing. Raises NonFinite as `ResponseNumbers` does."""
    checked_rows = checked(rows, numbers.checkpoint)
    return DrawnEdges(rows, [_local_gradient(numbers, row) for row in checked_rows] if with_gradients else None)


def _gradients(numbers: ResponseNumbers, node_rows: list[NodeRow], edge_rows: list[EdgeRow]) -> dict[str, Written]:
    """The gradients of all nodes, and of the numbers among their arguments, which are no nodes of the graph."""
    nodes = numbers.graph.index
    grads = dict(numbers.table(Quantity.GRADIENT, {row.id: row.grad for row in node_rows if row.id in nodes}))
    users = {row.origin: row.to for row in edge_rows if row.origin not in nodes}
    for row in checked(node_rows, numbers.checkpoint):
        if row.id not in nodes:
            what = f"the gradient by the number {row.data:g} in {quote(users[row.id])}"
            grads[row.id] = numbers.named(what, Quantity.GRADIENT, row.id, row.grad, users[row.id])
    return grads


def _local_gradient(numbers: ResponseNumbers, row: EdgeRow) -> Written:
    what = f"the local gradient of {quote(row.to)} by {quote(row.origin)}"
    return numbers.named(what, Quantity.GRADIENT, row.to, row.local_gradient)


def to_dot(response: GraphResponse) -> bytes:
    """The drawing as DOT text."""
    nodes: Any = response.nodes
    return drawing.dot(list(nodes), response.edges, nodes.grads is not None).encode()

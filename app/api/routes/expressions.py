"""The endpoints for expressions: a request struct in, an answer struct out. What they compute is in `engine.transforms`."""

from fastapi import APIRouter
from msgspec import UNSET
from msgspec.structs import replace

from app.api import codec, costs
from app.api.codec import Outgoing
from app.api.endpoint import computation
from app.api.limits import check_expression, check_points, check_work
from app.api.schemas.expressions import (
    BackwardAnswer,
    BackwardRequest,
    CheckAnswer,
    CheckedGradient,
    CheckRequest,
    ExpressionRequest,
    ForwardAnswer,
    ForwardRequest,
    GraphAnswer,
    GraphEdge,
    GraphNode,
    GraphRequest,
    HessianAnswer,
    HvpAnswer,
    HvpRequest,
    JacobianAnswer,
    JacobianRequest,
    JvpAnswer,
    JvpRequest,
    LeavesRequest,
    ParseAnswer,
)
from app.engine import drawing, transforms
from app.engine.errors import quote
from app.engine.faults import Asked
from app.engine.graph import Graph
from app.engine.tape import points_of

router = APIRouter(prefix="/v1", tags=["expressions"])
DOT = "text/vnd.graphviz"


def _graph(request: ExpressionRequest, outputs: list[str] | None = None, several: bool = False) -> Graph:
    """The graph of a request, if it is within the limits."""
    check_expression(request.expression)
    return codec.graph_of(request.expression, outputs, several)


def _check(request: ExpressionRequest, graph: Graph, passes: int, numbers: int) -> None:
    """Raises Problem where the points, the walks or the numbers of the answer are over a limit."""
    points = check_points(request.inputs, ("inputs",))
    if isinstance(request, JvpRequest | HvpRequest):
        points = max(points, check_points(request.tangents, ("tangents",)))
    if isinstance(request, BackwardRequest):
        points = max(points, check_points({"cotangent": request.cotangent}, ()))
    check_work(graph, points, passes, numbers)


@computation(router, "/forward", seconds=costs.expression)
def forward(request: ForwardRequest) -> ForwardAnswer:
    """Value of an expression.

    `value = f(inputs)`. With lists in `inputs`, f is evaluated at each point, and `value` is a list of that length.
    """
    graph = _graph(request)
    outgoing = Outgoing(request, graph)
    _check(request, graph, 1, len(graph.nodes) if request.values else 1)
    columns = transforms.evaluate(graph, request.inputs, everything=request.values)
    table = outgoing.table(Asked.VALUE, columns)
    values = table if request.values else UNSET
    return ForwardAnswer(output=graph.output, value=table[graph.output], values=values, nonfinite=outgoing.nonfinite)


@computation(router, "/backward", seconds=costs.expression)
def backward(request: BackwardRequest) -> BackwardAnswer:
    """Value and gradient table (reverse mode).

    `gradients[x] = cotangent * df/dx`, for all x in one walk back over the expression. At many points every gradient is a
    list with one entry a point. A node that the output does not depend on has the gradient 0.
    """
    graph = _graph(request)
    outgoing = Outgoing(request, graph)
    wanted = len(graph.names if request.wrt is None else request.wrt)
    _check(request, graph, 2, 1 + wanted + request.values * len(graph.nodes))
    seeds = {graph.output: request.cotangent}
    result = transforms.backward(graph, request.inputs, request.wrt, request.cotangent)
    value = outgoing.one(Asked.VALUE, result.value)
    gradients = outgoing.table(Asked.GRADIENT, result.gradients, seeds=seeds)
    answer = BackwardAnswer(output=graph.output, value=value, gradients=gradients, nonfinite=outgoing.nonfinite)
    if request.values:
        answer.values = outgoing.table(Asked.VALUE, transforms.evaluate(graph, request.inputs, everything=True))
    return answer


@computation(router, "/jvp", seconds=costs.expression)
def jvp(request: JvpRequest) -> JvpAnswer:
    """Derivative along a direction (forward mode).

    `tangent = sum over x of df/dx * tangents[x]`: a Jacobian-vector product, in one walk forward.
    """
    graph = _graph(request)
    outgoing = Outgoing(request, graph)
    _check(request, graph, 3, 2)
    result = transforms.jvp(graph, request.inputs, request.tangents)
    return JvpAnswer(
        output=graph.output,
        value=outgoing.one(Asked.VALUE, result.value),
        tangent=outgoing.one(Asked.TANGENT, result.tangent, seeds=request.tangents),
        nonfinite=outgoing.nonfinite,
    )


@computation(router, "/jacobian", seconds=costs.derivatives)
def jacobian(request: JacobianRequest) -> JacobianAnswer:
    """Jacobian of several outputs.

    `jacobian[f][x] = df/dx`, one gradient table for each output. Forward mode where there are fewer nodes to
    differentiate by than outputs, else reverse mode. A text names its outputs in `outputs`, a graph in its own.
    """
    graph = _graph(request, request.outputs, several=True)
    outgoing = Outgoing(request, graph)
    n, m = len(graph.leaves if request.wrt is None else request.wrt), len(graph.outputs)
    _check(request, graph, 2 + min(n, m), m * (n + 1))
    result = transforms.jacobian(graph, request.inputs, request.wrt)
    values = outgoing.table(Asked.VALUE, result.values)
    rows = {f: outgoing.table(Asked.GRADIENT, row, output=f, seeds={f: 1.0}) for f, row in result.jacobian.items()}
    return JacobianAnswer(values=values, jacobian=rows, nonfinite=outgoing.nonfinite)


@computation(router, "/hessian", seconds=costs.derivatives)
def hessian(request: LeavesRequest) -> HessianAnswer:
    """Second derivatives, exact (forward over reverse).

    `hessian[x][y] = d2f/dxdy`, an n by n table for n nodes in `wrt`; no difference quotients.
    """
    graph = _graph(request)
    outgoing = Outgoing(request, graph)
    n = len(graph.leaves if request.wrt is None else request.wrt)
    _check(request, graph, 4 + 2 * n, 1 + n + n * n)
    result = transforms.hessian(graph, request.inputs, request.wrt)
    value = outgoing.one(Asked.VALUE, result.value)
    gradients = outgoing.table(Asked.GRADIENT, result.gradients)
    rows = {x: outgoing.table(Asked.SECOND, row, seeds={x: 1.0}) for x, row in result.hessian.items()}
    return HessianAnswer(output=graph.output, value=value, gradients=gradients, hessian=rows, nonfinite=outgoing.nonfinite)


@computation(router, "/hvp", seconds=costs.expression)
def hvp(request: HvpRequest) -> HvpAnswer:
    """Hessian times a direction.

    `hvp[x] = sum over y of d2f/dxdy * tangents[y]`, exact, in one walk forward and one back; the Hessian is never formed.
    """
    graph = _graph(request)
    outgoing = Outgoing(request, graph)
    n = len(graph.leaves if request.wrt is None else request.wrt)
    _check(request, graph, 6, 1 + 2 * n)
    result = transforms.hvp(graph, request.inputs, request.tangents, request.wrt)
    return HvpAnswer(
        output=graph.output,
        value=outgoing.one(Asked.VALUE, result.value),
        gradients=outgoing.table(Asked.GRADIENT, result.gradients),
        hvp=outgoing.table(Asked.SECOND, result.hvp, seeds=request.tangents),
        nonfinite=outgoing.nonfinite,
    )


@computation(router, "/check", seconds=costs.unknown)
def check(request: CheckRequest) -> CheckAnswer:
    """Gradients compared with difference quotients.

    Each gradient three times: in reverse mode, in forward mode, and as the limit of `(f(x + h) - f(x - h)) / 2h`
    (Ridders' method). `relative_error` is the greatest distance from the first, over `max(1, |gradient|)`; `ok` says that
    none is over `tolerance`. At a kink the three need not agree.
    """
    graph = _graph(request)
    outgoing = Outgoing(request, graph)
    n = len(graph.leaves if request.wrt is None else request.wrt)
    _check(request, graph, 2 + 122 * n, 4 * n)
    checks = transforms.check_gradients(graph, request.inputs, request.wrt)
    reverse = outgoing.table(Asked.GRADIENT, {x: c.reverse for x, c in checks.items()})
    forward = outgoing.table(Asked.GRADIENT, {x: c.forward for x, c in checks.items()})
    shown = {}
    for x, c in checks.items():
        numeric = outgoing.described(f"the difference quotient by {quote(x)}", Asked.VALUE, x, c.numeric)
        error = outgoing.described(f"the relative error by {quote(x)}", Asked.VALUE, x, c.relative_error)
        shown[x] = CheckedGradient(reverse[x], forward[x], numeric, error)
    ok = all(transforms.agrees(c, request.tolerance) for c in checks.values())
    return CheckAnswer(ok=ok, checks=shown, nonfinite=outgoing.nonfinite)


@computation(router, "/parse", seconds=costs.parsing)
def parse(request: ExpressionRequest) -> ParseAnswer:
    """Text to graph.

    The same expression as a graph object, which every endpoint takes. Numbers in `inputs` become the `data` of leaves;
    lists have no place in a graph, so their leaves stay unbound.
    """
    graph = _graph(request, several=True)
    points_of(graph, request.inputs)
    nodes = list(graph.nodes)
    for name, number in request.inputs.items():
        if not isinstance(number, list):
            nodes[graph.index[name]] = replace(nodes[graph.index[name]], data=number)
    return ParseAnswer(codec.graph_body(nodes, graph.outputs))


def _dot(answer: GraphAnswer) -> bytes:
    return drawing.dot(answer.nodes, answer.edges, answer.nodes[0].grad is not UNSET).encode()


@computation(router, "/graph", seconds=costs.drawing, renderings={DOT: _dot})
def graph(request: GraphRequest) -> GraphAnswer:
    """Nodes and edges, with values and gradients.

    Backpropagation made visible: a node's `grad` is the sum, over the edges that leave it, of `local_gradient` times the
    `grad` at the other end. Numbers among the arguments are shown as leaves of their own. With
    `Accept: text/vnd.graphviz` the answer is a text for Graphviz.
    """
    graph = _graph(request)
    outgoing = Outgoing(request, graph)
    edges_of = sum(len(node.args) for node in graph.nodes)
    _check(request, graph, 3, 2 * len(graph.nodes) + 3 * edges_of)
    node_rows, edge_rows = drawing.rows(graph, request.inputs)
    data = outgoing.table(Asked.VALUE, {row.id: row.data for row in node_rows})
    nodes = [
        GraphNode(id=row.id, label=row.label, op=row.op, data=data[row.id], arity=row.arity, is_leaf=row.is_leaf)
        for row in node_rows
    ]
    edges = [GraphEdge(edge.origin, edge.to) for edge in edge_rows]
    if request.gradients:
        grads = outgoing.table(Asked.GRADIENT, {row.id: row.grad for row in node_rows})
        for node in nodes:
            node.grad = grads[node.id]
        for edge, row in zip(edges, edge_rows, strict=True):
            what = f"the local gradient of {quote(row.to)} by {quote(row.origin)}"
            edge.local_gradient = outgoing.described(what, Asked.GRADIENT, row.to, row.local_gradient)
    return GraphAnswer(nodes=nodes, edges=edges, nonfinite=outgoing.nonfinite)

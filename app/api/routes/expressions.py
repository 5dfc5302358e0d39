"""The endpoints for expressions: a request struct in, an answer struct out. What they compute is in `engine.transforms`."""

from fastapi import APIRouter
from msgspec import UNSET
from msgspec.structs import replace

from app.api import codec
from app.api.codec import Outgoing
from app.api.endpoint import computation
from app.api.schemas.expressions import (
    BackwardAnswer,
    BackwardRequest,
    CheckAnswer,
    CheckedGradient,
    CheckRequest,
    ExpressionGraph,
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
from app.engine.faults import Asked
from app.engine.tape import points_of

router = APIRouter(prefix="/v1", tags=["expressions"])
DOT = "text/vnd.graphviz"


@computation(router, "/forward")
def forward(request: ForwardRequest) -> ForwardAnswer:
    """Value of an expression.

    `value = f(inputs)`. With lists in `inputs`, f is evaluated at each point, and `value` is a list of that length.
    """
    graph = codec.graph_of(request.expression)
    outgoing = Outgoing(request, graph)
    columns = transforms.evaluate(graph, request.inputs, everything=request.values)
    table = outgoing.table(Asked.VALUE, columns)
    values = table if request.values else UNSET
    return ForwardAnswer(output=graph.output, value=table[graph.output], values=values, nonfinite=outgoing.nonfinite)


@computation(router, "/backward")
def backward(request: BackwardRequest) -> BackwardAnswer:
    """Value and gradient table (reverse mode).

    `gradients[x] = cotangent * df/dx`, for all x in one walk back over the expression. At many points every gradient is a
    list with one entry a point. A node that the output does not depend on has the gradient 0.
    """
    graph = codec.graph_of(request.expression)
    outgoing = Outgoing(request, graph)
    seeds = {graph.output: request.cotangent}
    result = transforms.backward(graph, request.inputs, request.wrt, request.cotangent)
    value = outgoing.one(Asked.VALUE, result.value)
    gradients = outgoing.table(Asked.GRADIENT, result.gradients, seeds=seeds)
    answer = BackwardAnswer(output=graph.output, value=value, gradients=gradients, nonfinite=outgoing.nonfinite)
    if request.values:
        answer.values = outgoing.table(Asked.VALUE, transforms.evaluate(graph, request.inputs, everything=True))
    return answer


@computation(router, "/jvp")
def jvp(request: JvpRequest) -> JvpAnswer:
    """Derivative along a direction (forward mode).

    `tangent = sum over x of df/dx * tangents[x]`: a Jacobian-vector product, in one walk forward.
    """
    graph = codec.graph_of(request.expression)
    outgoing = Outgoing(request, graph)
    result = transforms.jvp(graph, request.inputs, request.tangents)
    return JvpAnswer(
        output=graph.output,
        value=outgoing.one(Asked.VALUE, result.value),
        tangent=outgoing.one(Asked.TANGENT, result.tangent, seeds=request.tangents),
        nonfinite=outgoing.nonfinite,
    )


@computation(router, "/jacobian", proportional=False)
def jacobian(request: JacobianRequest) -> JacobianAnswer:
    """Jacobian of several outputs.

    `jacobian[f][x] = df/dx`, one gradient table for each output. Forward mode where there are fewer nodes to
    differentiate by than outputs, else reverse mode. A text names its outputs in `outputs`, a graph in its own.
    """
    graph = codec.graph_of(request.expression, request.outputs, several=True)
    outgoing = Outgoing(request, graph)
    result = transforms.jacobian(graph, request.inputs, request.wrt)
    values = outgoing.table(Asked.VALUE, result.values)
    rows = {f: outgoing.table(Asked.GRADIENT, row, output=f, seeds={f: 1.0}) for f, row in result.jacobian.items()}
    return JacobianAnswer(values=values, jacobian=rows, nonfinite=outgoing.nonfinite)


@computation(router, "/hessian", proportional=False)
def hessian(request: LeavesRequest) -> HessianAnswer:
    """Second derivatives, exact (forward over reverse).

    `hessian[x][y] = d2f/dxdy`, an n by n table for n nodes in `wrt`; no difference quotients.
    """
    graph = codec.graph_of(request.expression)
    outgoing = Outgoing(request, graph)
    result = transforms.hessian(graph, request.inputs, request.wrt)
    value = outgoing.one(Asked.VALUE, result.value)
    gradients = outgoing.table(Asked.GRADIENT, result.gradients)
    rows = {x: outgoing.table(Asked.SECOND, row, seeds={x: 1.0}) for x, row in result.hessian.items()}
    return HessianAnswer(output=graph.output, value=value, gradients=gradients, hessian=rows, nonfinite=outgoing.nonfinite)


@computation(router, "/hvp")
def hvp(request: HvpRequest) -> HvpAnswer:
    """Hessian times a direction.

    `hvp[x] = sum over y of d2f/dxdy * tangents[y]`, exact, in one walk forward and one back; the Hessian is never formed.
    """
    graph = codec.graph_of(request.expression)
    outgoing = Outgoing(request, graph)
    result = transforms.hvp(graph, request.inputs, request.tangents, request.wrt)
    return HvpAnswer(
        output=graph.output,
        value=outgoing.one(Asked.VALUE, result.value),
        gradients=outgoing.table(Asked.GRADIENT, result.gradients),
        hvp=outgoing.table(Asked.SECOND, result.hvp, seeds=request.tangents),
        nonfinite=outgoing.nonfinite,
    )


@computation(router, "/check", proportional=False)
def check(request: CheckRequest) -> CheckAnswer:
    """Gradients compared with difference quotients.

    Each gradient three times: in reverse mode, in forward mode, and as the limit of `(f(x + h) - f(x - h)) / 2h`
    (Ridders' method). `relative_error` is the greatest distance from the first, over `max(1, |gradient|)`; `ok` says that
    none is over `tolerance`. At a kink the three need not agree.
    """
    graph = codec.graph_of(request.expression)
    outgoing = Outgoing(request, graph)
    checks = transforms.check_gradients(graph, request.inputs, request.wrt)
    reverse = outgoing.table(Asked.GRADIENT, {x: c.reverse for x, c in checks.items()})
    shown = {x: CheckedGradient(reverse[x], *codec.plain((c.forward, c.numeric, c.relative_error))) for x, c in checks.items()}
    ok = all(transforms.agrees(c, request.tolerance) for c in checks.values())
    return CheckAnswer(ok=ok, checks=shown, nonfinite=outgoing.nonfinite)


@computation(router, "/parse")
def parse(request: ExpressionRequest) -> ParseAnswer:
    """Text to graph.

    The same expression as a graph object, which every endpoint takes. Numbers in `inputs` become the `data` of leaves;
    lists have no place in a graph, so their leaves stay unbound.
    """
    graph = codec.graph_of(request.expression, several=True)
    points_of(graph, request.inputs)
    nodes = list(graph.nodes)
    for name, number in request.inputs.items():
        if not isinstance(number, list):
            nodes[graph.index[name]] = replace(nodes[graph.index[name]], data=number)
    if len(graph.outputs) == 1:
        return ParseAnswer(ExpressionGraph(nodes, output=graph.output))
    return ParseAnswer(ExpressionGraph(nodes, outputs=list(graph.outputs)))


def _dot(answer: GraphAnswer) -> bytes:
    return drawing.dot(answer.nodes, answer.edges, answer.nodes[0].grad is not UNSET).encode()


@computation(router, "/graph", renderings={DOT: _dot})
def graph(request: GraphRequest) -> GraphAnswer:
    """Nodes and edges, with values and gradients.

    Backpropagation made visible: a node's `grad` is the sum, over the edges that leave it, of `local_gradient` times the
    `grad` at the other end. Numbers among the arguments are shown as leaves of their own. With
    `Accept: text/vnd.graphviz` the answer is a text for Graphviz.
    """
    graph = codec.graph_of(request.expression)
    outgoing = Outgoing(request, graph)
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
        for edge, gradient in zip(edges, codec.plain(edge.local_gradient for edge in edge_rows), strict=True):
            edge.local_gradient = gradient
    return GraphAnswer(nodes=nodes, edges=edges, nonfinite=outgoing.nonfinite)

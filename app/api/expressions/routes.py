"""The endpoints for expressions. What they compute is in `app.engine.transforms`."""

from typing import Any

import numpy as np

from app.api.errors import BODY_PROBLEMS, EXPRESSION_PROBLEMS, NUMBER_PROBLEMS
from app.api.expressions import work
from app.api.expressions.derivatives import (
    CodeRequest,
    CodeResponse,
    DerivativeRequest,
    DerivativeResponse,
    estimate_code,
    estimate_derivative,
    respond_code,
    respond_derivative,
    to_source,
)
from app.api.expressions.drawn import draw_graph, drawn_graph, to_dot
from app.api.expressions.expression import graph_object, graph_of, with_outputs
from app.api.expressions.models import (
    BackwardRequest,
    BackwardResponse,
    CheckedGradient,
    CheckRequest,
    CheckResponse,
    ForwardRequest,
    ForwardResponse,
    GraphRequest,
    GraphResponse,
    HessianRequest,
    HessianResponse,
    HvpRequest,
    HvpResponse,
    JacobianRequest,
    JacobianResponse,
    JvpRequest,
    JvpResponse,
    ParseRequest,
    ParseResponse,
    SparseHessian,
    SparseJacobian,
)
from app.api.expressions.numbers import ResponseNumbers
from app.engine import sparse, transforms
from app.engine.binding import points_of
from app.engine.errors import quote
from app.engine.faults import Quantity
from app.engine.graph import Graph
from app.service import problems
from app.service.execution import Job
from app.service.routing import SVG, ComputationRoute, PrefixRouter, computation

PROBLEMS = (*BODY_PROBLEMS, *EXPRESSION_PROBLEMS, *NUMBER_PROBLEMS)
DOT = "text/vnd.graphviz"
PLAIN_TEXT = "text/plain"

router = PrefixRouter(prefix="/v1", tags=["expressions"], route_class=ComputationRoute, responses=problems.responses(*PROBLEMS))


@router.post("/backward", summary="Value and derivatives")
@computation(estimate_seconds=work.estimate_evaluation, needs_gradients_only=True)
def backward(request: BackwardRequest, job: Job) -> BackwardResponse:
    """`gradients[x] = cotangent * df/dx`, for all x in one walk back over the expression.

    At many points every gradient is a list with one entry per point. A node that the output does not depend on has gradient 0.
    """
    graph = graph_of(request.expression, job)
    wanted = graph.names if request.wrt is None else request.wrt
    points = (("inputs", request.inputs), ("cotangent", {"": request.cotangent}))
    sums = work.count_sums(request, graph, 1, wanted)
    work.check(job, graph, 2 + request.values, 1 + len(wanted) + request.values * len(graph.nodes), *points, sums=sums)
    result = transforms.backward(
        graph, request.inputs, request.wrt, request.cotangent, reduce=request.reduce, checkpoint=job.check, threads=job.threads
    )
    numbers = ResponseNumbers(request, graph, job.check)
    value = numbers.one(Quantity.VALUE, result.value)
    gradients = numbers.table(Quantity.GRADIENT, result.gradients, seeds={graph.output: request.cotangent})
    values: dict[str, Any] = {}
    if request.values:
        columns = transforms.evaluate(graph, request.inputs, everything=True, checkpoint=job.check, threads=job.threads)
        values["values"] = numbers.table(Quantity.VALUE, columns)
    return BackwardResponse(output=graph.output, value=value, gradients=gradients, **values, **numbers.fields)


@router.post("/forward", summary="Value of an expression")
@computation(estimate_seconds=work.estimate_evaluation)
def forward(request: ForwardRequest, job: Job) -> ForwardResponse:
    """`value = f(inputs)`. With lists in `inputs`, f is evaluated at each point, and `value` is a list of that length."""
    graph = graph_of(request.expression, job)
    sums, apart = work.count_sums(request, graph, 1), request.values and request.reduce != "none"
    work.check(job, graph, 1 + apart, 1 + request.values * len(graph.nodes), ("inputs", request.inputs), sums=sums)
    numbers = ResponseNumbers(request, graph, job.check)
    columns = transforms.evaluate(
        graph, request.inputs, reduce=request.reduce, everything=request.values, checkpoint=job.check, threads=job.threads
    )
    table = numbers.table(Quantity.VALUE, columns)
    values: dict[str, Any] = {"values": table} if request.values else {}
    value = table[graph.output]
    if apart:  # the values of the nodes are those at each point
        outputs = transforms.evaluate(graph, request.inputs, reduce=request.reduce, checkpoint=job.check, threads=job.threads)
        value = numbers.one(Quantity.VALUE, outputs[graph.output])
    return ForwardResponse(output=graph.output, value=value, **values, **numbers.fields)


@router.post("/jvp", summary="Derivative along a direction (forward mode)")
@computation(estimate_seconds=work.estimate_evaluation)
def jvp(request: JvpRequest, job: Job) -> JvpResponse:
    """`tangent = sum over x of df/dx * tangents[x]`: a Jacobian-vector product, in one walk forward."""
    graph = graph_of(request.expression, job)
    sums = work.count_sums(request, graph, 2)
    work.check(job, graph, 3, 2, ("inputs", request.inputs), ("tangents", request.tangents), sums=sums)
    result = transforms.jvp(
        graph, request.inputs, request.tangents, reduce=request.reduce, checkpoint=job.check, threads=job.threads
    )
    numbers = ResponseNumbers(request, graph, job.check)
    return JvpResponse(
        output=graph.output,
        value=numbers.one(Quantity.VALUE, result.value),
        tangent=numbers.one(Quantity.TANGENT, result.tangent, seeds=request.tangents),
        **numbers.fields,
    )


@router.post("/jacobian", summary="Jacobian of several outputs")
@computation(estimate_seconds=work.estimate_matrix)
def jacobian(request: JacobianRequest, job: Job) -> JacobianResponse:
    """`jacobian[f][x] = df/dx`: one gradient table for each output.

    Uses forward mode if there are fewer nodes to differentiate by than outputs, else reverse mode. A text names its outputs in
    the request's `outputs`, a graph in its own. With `"format": "sparse"`, the response lists the entries that can differ
    from 0, and the time grows with their number.
    """
    graph = with_outputs(graph_of(request.expression, job, several=True), request.outputs)
    if request.format == "sparse":
        return _sparse_jacobian(request, graph, job)
    wanted = graph.leaves if request.wrt is None else request.wrt
    n, m = len(wanted), len(graph.outputs)
    sums = work.count_sums(request, graph, m, wanted)
    work.check(job, graph, 2 + min(n, m), m * (n + 1), ("inputs", request.inputs), sums=sums)
    result = transforms.jacobian(
        graph, request.inputs, request.wrt, reduce=request.reduce, checkpoint=job.check, threads=job.threads
    )
    numbers = ResponseNumbers(request, graph, job.check)
    values = numbers.table(Quantity.VALUE, result.values)
    rows = numbers.tables(Quantity.GRADIENT, result.jacobian, lambda f: {"output": f, "seeds": {f: 1.0}})
    return JacobianResponse(values=values, jacobian=rows, **numbers.fields)


@router.post("/hessian", summary="Second derivatives (forward over reverse)")
@computation(estimate_seconds=work.estimate_matrix)
def hessian(request: HessianRequest, job: Job) -> HessianResponse:
    """`hessian[x][y] = d2f/dxdy`, exact: an n by n table for n nodes in `wrt`. No difference quotients are involved.

    With `"format": "sparse"`, the response lists the entries of the lower triangle that can differ from 0, and the time grows
    with their number. At many points, each of its `values` is a list with one number per point.
    """
    graph = graph_of(request.expression, job)
    if request.format == "sparse":
        return _sparse_hessian(request, graph, job)
    n = len(graph.leaves if request.wrt is None else request.wrt)
    sums = work.count_sums(request, graph, 1 + n + n * n)
    work.check(job, graph, 4 + 2 * n, 1 + n + n * n, ("inputs", request.inputs), sums=sums)
    result = transforms.hessian(
        graph, request.inputs, request.wrt, reduce=request.reduce, checkpoint=job.check, threads=job.threads
    )
    numbers = ResponseNumbers(request, graph, job.check)
    return HessianResponse(
        output=graph.output,
        value=numbers.one(Quantity.VALUE, result.value),
        gradients=numbers.table(Quantity.GRADIENT, result.gradients),
        hessian=numbers.tables(Quantity.SECOND, result.hessian, lambda x: {"seeds": {x: 1.0}}),
        **numbers.fields,
    )


def _sparse_hessian(request: HessianRequest, graph: Graph, job: Job) -> HessianResponse:
    """The Hessian as its structural nonzeros."""
    n = len(graph.leaves if request.wrt is None else request.wrt)
    sums = work.count_sums(request, graph, 1 + n)
    besides = work.check(job, graph, 6, 1 + n, ("inputs", request.inputs), sums=sums)
    allowance = work.sparse_allowance(request, job, graph, besides, 4 + 2 * n, request.reduce == "none")
    result = sparse.hessian(
        graph, request.inputs, request.wrt, reduce=request.reduce, allowance=allowance, checkpoint=job.check
    )
    numbers, names, pattern = ResponseNumbers(request, graph, job.check), result.names, result.pattern
    value = numbers.one(Quantity.VALUE, result.value)
    gradient = result.gradient.tolist() if result.gradient.ndim == 1 else list(result.gradient)
    gradients = numbers.table(Quantity.GRADIENT, dict(zip(names, gradient, strict=True)))

    def explained(k: int) -> tuple[str, dict[str, Any]]:
        return names[pattern.columns[k]], {"seeds": {names[pattern.rows[k]]: 1.0}}

    values = numbers.entries(Quantity.SECOND, result.entries, explained)
    matrix = SparseHessian(names=names, rows=pattern.rows, columns=pattern.columns, values=values)
    return HessianResponse(output=graph.output, value=value, gradients=gradients, hessian=matrix, **numbers.fields)


def _sparse_jacobian(request: JacobianRequest, graph: Graph, job: Job) -> JacobianResponse:
    """The Jacobian as its structural nonzeros."""
    wanted = graph.leaves if request.wrt is None else request.wrt
    m = len(graph.outputs)
    sums = work.count_sums(request, graph, m)
    besides = work.check(job, graph, 4, m, ("inputs", request.inputs), sums=sums)
    columns = request.reduce == "none" or any(isinstance(request.inputs.get(name), np.ndarray) for name in wanted)
    allowance = work.sparse_allowance(request, job, graph, besides, 2 + min(len(wanted), m), columns)
    result = sparse.jacobian(
        graph, request.inputs, request.wrt, reduce=request.reduce, allowance=allowance, checkpoint=job.check
    )
    numbers, outputs, names, pattern = ResponseNumbers(request, graph, job.check), graph.outputs, result.names, result.pattern
    table = numbers.table(Quantity.VALUE, dict(zip(outputs, result.values, strict=True)))

    def explained(k: int) -> tuple[str, dict[str, Any]]:
        output = outputs[pattern.rows[k]]
        return names[pattern.columns[k]], {"output": output, "seeds": {output: 1.0}}

    values = numbers.entries(Quantity.GRADIENT, result.entries, explained)
    matrix = SparseJacobian(outputs=outputs, names=names, rows=pattern.rows, columns=pattern.columns, values=values)
    return JacobianResponse(values=table, jacobian=matrix, **numbers.fields)


@router.post("/hvp", summary="Hessian times a direction")
@computation(estimate_seconds=work.estimate_evaluation)
def hvp(request: HvpRequest, job: Job) -> HvpResponse:
    """`hvp[x] = sum over y of d2f/dxdy * tangents[y]`, exact, in one walk forward and one back. The Hessian is never formed."""
    graph = graph_of(request.expression, job)
    n = len(graph.leaves if request.wrt is None else request.wrt)
    sums = work.count_sums(request, graph, 1 + 2 * n)
    work.check(job, graph, 6, 1 + 2 * n, ("inputs", request.inputs), ("tangents", request.tangents), sums=sums)
    result = transforms.hvp(
        graph, request.inputs, request.tangents, request.wrt, reduce=request.reduce, checkpoint=job.check, threads=job.threads
    )
    numbers = ResponseNumbers(request, graph, job.check)
    return HvpResponse(
        output=graph.output,
        value=numbers.one(Quantity.VALUE, result.value),
        gradients=numbers.table(Quantity.GRADIENT, result.gradients),
        hvp=numbers.table(Quantity.SECOND, result.hvp, seeds=request.tangents),
        **numbers.fields,
    )


@router.post("/check", summary="Gradients compared with difference quotients")
@computation(estimate_seconds=work.estimate_check)
def check(request: CheckRequest, job: Job) -> CheckResponse:
    """Each gradient three times: in reverse mode, in forward mode, and as the limit of `(f(x + h) - f(x - h)) / 2h` (Ridders'
    method).

    `relative_error` is the largest distance from the first, divided by the largest of the three. Where all are close to 0, it
    is divided by the slope to the points beside, or by what the difference quotient can resolve, but at most by 1. `ok` means
    that the value is finite and no error exceeds `tolerance`. At a kink the three need not agree.
    """
    graph = graph_of(request.expression, job)
    n = len(graph.leaves if request.wrt is None else request.wrt)
    work.check(job, graph, 3 + 122 * n, 4 * n, ("inputs", request.inputs))
    checks = transforms.check_gradients(graph, request.inputs, request.wrt, checkpoint=job.check)
    value = transforms.evaluate(graph, request.inputs, checkpoint=job.check)[graph.output]
    numbers = ResponseNumbers(request, graph, job.check)
    numbers.one(Quantity.VALUE, value)
    reverse = numbers.table(Quantity.GRADIENT, {x: c.reverse for x, c in checks.items()})
    forward = numbers.table(Quantity.GRADIENT, {x: c.forward for x, c in checks.items()})
    rows = {}
    for x, c in checks.items():
        numeric = numbers.named(f"the difference quotient by {quote(x)}", Quantity.VALUE, x, c.numeric)
        error = numbers.named(f"the relative error by {quote(x)}", Quantity.VALUE, x, c.relative_error)
        rows[x] = CheckedGradient(reverse=reverse[x], forward=forward[x], numeric=numeric, relative_error=error)
    ok = bool(np.all(np.isfinite(value))) and all(transforms.agrees(c, request.tolerance) for c in checks.values())
    return CheckResponse(ok=ok, checks=rows, **numbers.fields)


@router.post("/parse", summary="Text to graph")
@computation(estimate_seconds=work.estimate_parsing)
def parse(request: ParseRequest, job: Job) -> ParseResponse:
    """The same expression as a graph object, which every endpoint takes.

    Numbers in `inputs` become the `data` of leaves. Lists have no place in a graph, so their leaves stay unbound.
    """
    graph = graph_of(request.expression, job, several=True)
    work.check(job, graph, 1, len(graph.nodes), rows=len(graph.nodes))
    points_of(graph, request.inputs)
    nodes = list(graph.nodes)
    for name, number in request.inputs.items():
        if not isinstance(number, np.ndarray):
            nodes[graph.index[name]] = nodes[graph.index[name]]._replace(data=number)
    return ParseResponse(graph=graph_object(nodes, graph.outputs))


@router.post("/graph", summary="Nodes and edges, with values and gradients")
@computation(estimate_seconds=work.estimate_drawing, renderings={DOT: to_dot}, pictures={SVG: draw_graph})
def graph(request: GraphRequest, job: Job) -> GraphResponse:
    """Backpropagation made visible.

    A node's `grad` is the sum, over the edges that leave it, of `local_gradient` times the `grad` at the other end. Numbers
    among the arguments are shown as leaves of their own. With `Accept: text/vnd.graphviz` the response is a text for Graphviz,
    and with `Accept: image/svg+xml` a picture. In it, `node-3` and `operation-3` are the ids of the elements of the fourth of
    these nodes, and `edge-5` is that of the sixth edge.
    """
    return drawn_graph(request, graph_of(request.expression, job), job)


@router.post("/derivative", summary="Derivatives as expressions")
@computation(estimate_seconds=estimate_derivative)
def derivative(request: DerivativeRequest, job: Job) -> DerivativeResponse:
    """Each derivative as a text, as LaTeX and as MathML, and all of them as one graph.

    They are simplified as a person would write them, and parts that are used again are definitions. Texts and the graph are
    expressions of this service, so they can be evaluated, drawn and differentiated again. Conventions at kinks are kept, as
    with `x**y*log(x) if x else 0`.
    """
    return respond_derivative(request, job)


@router.post("/code", summary="Value and derivatives as source code")
@computation(estimate_seconds=estimate_code, renderings={PLAIN_TEXT: to_source})
def code(request: CodeRequest, job: Job) -> CodeResponse:
    """A function to take away, without any dependency: NumPy for Python, the standard library for the others.

    It computes the value, the gradient and the Hessian in one pass, in which shared parts are computed once. The inputs are the
    leaves; a name to which a text assigns a number stays that number unless it is in `wrt`. Special functions that the language
    lacks come along. With `Accept: text/plain` the response is the source alone.
    """
    return respond_code(request, job)

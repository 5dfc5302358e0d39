"""The operations of UM-Bridge by the functions of `/v1`, their limits and estimated run times."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from app.api.bridges.translation import free_inputs, request_of
from app.api.bridges.umbridge_models import (
    EXPRESSION,
    NETWORK,
    ROSENBROCK,
    UMBridgeApplyHessian,
    UMBridgeApplyJacobian,
    UMBridgeConfig,
    UMBridgeEvaluate,
    UMBridgeGradient,
    UMBridgeSizes,
)
from app.api.errors import located
from app.api.expressions import routes as expressions
from app.api.expressions import work
from app.api.expressions.expression import AnyExpression, graph_of
from app.api.expressions.models import BackwardRequest, ForwardRequest, HvpRequest, JacobianRequest, JvpRequest
from app.api.networks import routes as networks
from app.api.networks import translation
from app.api.networks.models import ModelOrSpec, NetworkLayer, NetworkModel, PredictRequest
from app.api.networks.work import check_graph, estimate_prediction
from app.engine.binding import not_a_leaf
from app.engine.errors import nearest, quote
from app.engine.graph import Graph
from app.engine.primitives import LEAF_CODE
from app.nn.graphs import network_graph
from app.nn.model import Floats
from app.service.execution import Job
from app.service.problems import Problem, problem_at

SMALL_NETWORK = NetworkModel(
    layers=[
        NetworkLayer(weights=np.array([[0.1, -0.2], [0.3, 0.4]]), biases=np.zeros(2), activation="relu"),
        NetworkLayer(weights=np.array([[0.5, -0.6]]), biases=np.zeros(1)),
    ]
)
"""The default network."""


@dataclass(frozen=True, slots=True)
class VectorFunction:
    """A function from a vector to a vector, whose numbers are the nodes `inputs` and the outputs of the graph."""

    graph: Graph
    inputs: tuple[str, ...]


def estimate_sizes(request: UMBridgeSizes) -> float:
    """Estimated run time in seconds of reading a model."""
    config = request.config
    if request.name == NETWORK:
        return estimate_prediction(_prediction(config, np.empty((0, 0))))
    return work.reading_seconds(_expression(config))


def estimate_evaluation(request: UMBridgeEvaluate) -> float:
    """Estimated run time in seconds of a model's outputs."""
    if request.name == NETWORK:
        return estimate_prediction(_prediction(request.config, np.empty((1, 0))))
    return _seconds(request.config)


def estimate_derivative(request: UMBridgeEvaluate) -> float:
    """Estimated run time in seconds of a product; unknown for a network, which has to be written as an expression first."""
    return math.inf if request.name == NETWORK else _seconds(request.config)


def _seconds(config: UMBridgeConfig) -> float:
    expression = _expression(config)
    nodes, outputs = work.count_nodes(expression), len(config.outputs or ()) or 1
    per_walk = 4.0 * work.SECONDS_PER_INSTRUCTION * nodes + work.SECONDS_PER_NUMBER * (len(config.inputs or ()) or nodes)
    return work.reading_seconds(expression) + per_walk * outputs


def sizes(request: UMBridgeSizes, job: Job) -> tuple[int, int]:
    """The numbers of inputs and outputs of a model."""
    if request.name == NETWORK:
        model = translation.model_of(_network(request.config), job, "config", "model")
        return model.inputs, model.outputs
    function = _function_of(request.config, job)
    return len(function.inputs), len(function.graph.outputs)


def evaluate(request: UMBridgeEvaluate, job: Job) -> list[float]:
    """The outputs: those of `/v1/forward` or `/v1/networks/predict`."""
    if request.name == NETWORK:
        model = translation.model_of(_network(request.config), job, "config", "model")
        _check_length("input", request.input, model.inputs, ())
        prediction = _prediction(request.config, request.input[np.newaxis])
        scores: Any = networks.predict(prediction, job).outputs
        return scores[0].tolist()  # type: ignore[no-any-return]  # floats
    function = _function_of(request.config, job)
    inputs = _inputs(function, request)
    graph = function.graph
    if len(graph.outputs) == 1:
        asked = request_of(ForwardRequest, graph, inputs=inputs)
        return [_number(expressions.forward(asked, job).value)]
    several = request_of(JacobianRequest, graph, inputs=inputs, wrt=[])
    values = expressions.jacobian(several, job).values
    return [_number(values[name]) for name in graph.outputs]


def gradient(request: UMBridgeGradient, job: Job) -> list[float]:
    """`sens` times the Jacobian: the gradients of `/v1/backward` with that cotangent."""
    _check_indices(outWrt=request.outWrt, inWrt=request.inWrt)
    function = _derivable(request, job)
    inputs = _inputs(function, request)
    # The engine has a table of all names at hand, which are often the inputs.
    wrt = None if function.inputs == tuple(function.graph.names) else list(function.inputs)
    rows = []
    for graph, cotangent in _weighted(function, request.sens, job, 2):
        asked = request_of(
            BackwardRequest,
            graph,
            inputs=inputs,
            wrt=wrt,
            cotangent=cotangent,
            values=False,
            reduce="none",
            nonfinite="error",
        )
        gradients: Any = expressions.backward(asked, job).gradients
        rows.append([float(gradients[name]) for name in function.inputs])
    return _sums(rows, function)


def apply_jacobian(request: UMBridgeApplyJacobian, job: Job) -> list[float]:
    """The Jacobian times `vec`: the tangent of `/v1/jvp`, for each output."""
    _check_indices(outWrt=request.outWrt, inWrt=request.inWrt)
    function = _derivable(request, job)
    inputs = _inputs(function, request)
    _check_length("vec", request.vec, len(function.inputs), function.inputs)
    tangents = dict(zip(function.inputs, request.vec.tolist(), strict=True))
    outputs = function.graph.outputs
    if len(outputs) > 1:
        work.check(job, function.graph, 3 * len(outputs), len(outputs))
    found = []
    for graph in _alone(function.graph, outputs, job):
        asked = request_of(JvpRequest, graph, inputs=inputs, tangents=tangents)
        found.append(_number(expressions.jvp(asked, job).tangent))
    return found


def apply_hessian(request: UMBridgeApplyHessian, job: Job) -> list[float]:
    """The Hessian of `sens` times the outputs, times `vec`: `sens` times the products of `/v1/hvp`."""
    _check_indices(outWrt=request.outWrt, inWrt1=request.inWrt1, inWrt2=request.inWrt2)
    function = _derivable(request, job)
    inputs = _inputs(function, request)
    _check_length("vec", request.vec, len(function.inputs), function.inputs)
    tangents = dict(zip(function.inputs, request.vec.tolist(), strict=True))
    rows = []
    for graph, factor in _weighted(function, request.sens, job, 6):
        asked = request_of(
            HvpRequest,
            graph,
            inputs=inputs,
            wrt=list(function.inputs),
            tangents=tangents,
        )
        product: Any = expressions.hvp(asked, job).hvp
        rows.append([_number(factor * product[name]) for name in function.inputs])
    return _sums(rows, function)


def _weighted(function: VectorFunction, sens: Floats, job: Job, passes: int) -> Iterable[tuple[Graph, float]]:
    """The function's outputs one by one with their factors, without those whose factor is 0 if there are several."""
    graph = function.graph
    outputs = graph.outputs
    _check_length("sens", sens, len(outputs), outputs)
    if len(outputs) == 1:
        return [(graph, float(sens[0]))]
    work.check(job, graph, passes * len(outputs), len(outputs) * len(function.inputs))
    factors = [(name, factor) for name, factor in zip(outputs, sens.tolist(), strict=True) if factor != 0.0]
    return zip(_alone(graph, tuple(name for name, _ in factors), job), (factor for _, factor in factors), strict=True)


def _alone(graph: Graph, outputs: tuple[str, ...], job: Job) -> Iterator[Graph]:
    """For each of these outputs the graph of it alone, made when it is needed: together they would take much memory."""
    if outputs == graph.outputs and len(outputs) == 1:
        yield graph
        return
    for name in outputs:
        job.check()
        yield replace(graph, outputs=(name,))


def _sums(rows: list[list[float]], function: VectorFunction) -> list[float]:
    """The sum over the rows for each input, rounded once."""
    if len(rows) == 1:
        return rows[0]
    found = []
    for k in range(len(function.inputs)):
        try:
            total = math.fsum(row[k] for row in rows)
        except OverflowError:
            total = math.inf
        found.append(_number(total))
    return found


def _number(number: Any) -> float:
    """The number. Raises Problem if a product or a sum has overflowed."""
    if not math.isfinite(number):
        raise Problem("non-finite", "a number of the result is beyond 1.8e308")
    return float(number)


def _expression(config: UMBridgeConfig) -> AnyExpression:
    return ROSENBROCK if config.expression is None else config.expression


def _network(config: UMBridgeConfig) -> ModelOrSpec:
    for field in ("expression", "inputs", "outputs"):
        if getattr(config, field) is not None:
            raise problem_at("invalid-request", ("config", field), f"the model 'network' has no {field}; it takes a model")
    return SMALL_NETWORK if config.model is None else config.model


def _prediction(config: UMBridgeConfig, rows: Floats) -> PredictRequest:
    model = SMALL_NETWORK if config.model is None else config.model
    return PredictRequest.model_construct(model=model, inputs=rows)


def _function_of(config: UMBridgeConfig, job: Job) -> VectorFunction:
    """The function of a configuration of the model `expression`."""
    if config.model is not None:
        detail = "the model 'expression' has no model; it takes an expression, inputs and outputs"
        raise problem_at("invalid-request", ("config", "model"), detail)
    graph = graph_of(_expression(config), job, ("config", "expression"), several=True)
    if config.outputs is not None:
        _check_names(graph, config.outputs, "outputs")
        graph = graph if graph.outputs == tuple(config.outputs) else replace(graph, outputs=tuple(config.outputs))
    if config.inputs is None:
        return VectorFunction(graph, free_inputs(graph))
    _check_names(graph, config.inputs, "inputs")
    return VectorFunction(graph, tuple(config.inputs))


def _check_names(graph: Graph, names: list[str], field: str) -> None:
    """Raise Problem unless these are different nodes of the graph, and at least one; leaves, if they are inputs."""
    if not names:
        raise problem_at("invalid-request", ("config", field), "expected at least one name")
    seen = set()
    for k, name in enumerate(names):
        if name not in graph.index:
            detail = f"the expression has no {quote(name)}.{nearest(name, list(graph.names))}"
            raise problem_at("unknown-node", ("config", field, k), detail)
        if name in seen:
            raise problem_at("invalid-request", ("config", field, k), f"{quote(name)} is there twice")
        if field == "inputs" and graph.wiring.opcode[graph.index[name]] != LEAF_CODE:
            with located("config"):
                raise not_a_leaf(name, graph, (field, k))
        seen.add(name)


def _derivable(request: UMBridgeEvaluate, job: Job) -> VectorFunction:
    """The function to differentiate: a network is written as an expression at its inputs, as `/v1/networks/graph` writes it."""
    if request.name == EXPRESSION:
        return _function_of(request.config, job)
    model = translation.model_of(_network(request.config), job, "config", "model")
    _check_length("input", request.input, model.inputs, ())
    check_graph(job, model)
    graph = network_graph(model, request.input, checkpoint=job.check)
    return VectorFunction(graph, tuple(f"inputs.{k}" for k in range(model.inputs)))


def _check_indices(**indices: int) -> None:
    """Raise Problem for an index of a vector that there is not."""
    for field, index in indices.items():
        if index != 0:
            what = "output" if field == "outWrt" else "input"
            detail = f"{field} is {index}, but there is one {what} vector, which has the index 0"
            raise problem_at("invalid-request", (field,), detail)


def _inputs(function: VectorFunction, request: UMBridgeEvaluate) -> dict[str, Any]:
    """The numbers of the input vector by name."""
    names = function.inputs
    if len(request.input) != len(names):
        _check_length("input", request.input, len(names), names)
    return dict(zip(names, request.input.tolist(), strict=True))


def _check_length(field: str, vector: Floats, expected: int, names: tuple[str, ...]) -> None:
    """Raise Problem unless a vector has so many numbers."""
    if len(vector) != expected:
        named = f" ({', '.join(map(quote, names))})" if 0 < len(names) <= 8 else ""
        detail = f"{field} has {len(vector)} numbers, and the model takes {expected}{named}"
        place = ("input", 0) if field == "input" else (field,)
        raise problem_at("shape-mismatch", place, detail)

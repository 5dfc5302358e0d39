"""The operations of a Tesseract by the functions of `/v1`: points as arrays, their limits and estimated run times.

The arrays of the inputs are broadcast to one shape, each of whose places is a point. Derivatives by an array that was broadcast
are summed over the points that share one of its numbers; each sum is rounded once.
"""

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np

from app.api.bridges.tesseract_arrays import Shape, broadcast, fits
from app.api.bridges.tesseract_models import (
    TesseractAbstract,
    TesseractApply,
    TesseractJacobian,
    TesseractJVP,
    TesseractVJP,
)
from app.api.bridges.translation import free_inputs, request_of
from app.api.expressions import routes as expressions
from app.api.expressions import work
from app.api.expressions.expression import graph_of
from app.api.expressions.models import BackwardRequest, ForwardRequest, JvpRequest
from app.engine.errors import nearest, quote
from app.engine.exact_sum import ExactSums
from app.engine.graph import Graph
from app.service.execution import Job
from app.service.models import Floats
from app.service.problems import problem_at, too_large

BASE64 = "b64:"
EXACT_ROWS = 4096
"""How many sums are made at once: each takes half a kilobyte."""
BYTES_PER_ENTRY = 64
"""One number of an array that is made here, as a number and as text."""

EXPRESSION = ("expression",)
"""The place of the text in the path."""


@dataclass(frozen=True, slots=True)
class Function:
    """An expression as a function of arrays: its graph and the names of its inputs."""

    graph: Graph
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Points:
    """Inputs at all points.

    Attributes:
        shape: the shape in which the points stand.
        inputs: for each input a number, or one number per point.
        shapes: the shape of each input as it was given.
    """

    shape: Shape
    inputs: dict[str, Any]
    shapes: dict[str, Shape]

    @property
    def count(self) -> int:
        """How many points there are."""
        return math.prod(self.shape)


# --- the expression in the path


def expression_text(path: str) -> str:
    """The text that stands in a path, percent-encoded, or as base64url behind `b64:`. Raises Problem."""
    content = unquote_to_bytes(path)
    if content.startswith(BASE64.encode()):
        encoded = content.removeprefix(BASE64.encode()).rstrip(b"=")
        try:
            content = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise problem_at("invalid-request", EXPRESSION, "what follows b64: is not base64url") from None
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise problem_at("invalid-request", EXPRESSION, "the expression is not UTF-8") from None


def function_of(path: str, job: Job) -> Function:
    """The function whose text stands in a path."""
    graph = graph_of(expression_text(path), job, EXPRESSION)
    return Function(graph, free_inputs(graph))


# --- estimates


def estimate_apply(request: TesseractApply, expression: str) -> float:
    """Estimated run time in seconds of a few walks over an expression at all points."""
    nodes = len(expression) + 1
    per_point = 4.0 * work.SECONDS_PER_INSTRUCTION * nodes + work.SECONDS_PER_NUMBER * len(request.inputs)
    return work.SECONDS_PER_CHARACTER * nodes + per_point * _count(request)


def estimate_jacobian(request: TesseractJacobian, expression: str) -> float:
    """Estimated run time in seconds of a Jacobian, which has a row for each point."""
    points, names = _count(request), set(request.jac_inputs)
    entries = points * sum(array.size for name, array in request.inputs.items() if name in names)
    return estimate_apply(request, expression) + work.SECONDS_PER_NUMBER * entries


def estimate_abstract(request: TesseractAbstract, expression: str) -> float:
    """Estimated run time in seconds of reading an expression."""
    return work.SECONDS_PER_CHARACTER * len(expression)


def _count(request: TesseractApply) -> int:
    try:
        return math.prod(broadcast({name: array.shape for name, array in request.inputs.items()}))
    except ValueError:  # which is answered with an error
        return 1


# --- points


def points_of(function: Function, request: TesseractApply, job: Job) -> Points:
    """The inputs at all points. Raises Problem for wrong names and shapes, and for too many points."""
    shapes = {name: array.shape for name, array in request.inputs.items()}
    shape = common_shape(function, shapes)
    count = math.prod(shape)
    if count > job.settings.max_points:
        raise too_large(f"the arrays have {count:,} points", job.settings.max_points, "max_points", ("inputs",))
    job.reserve_more(8 * count * len(shapes))
    inputs = {name: _at_points(request.inputs[name], shape) for name in function.inputs}
    return Points(shape, inputs, shapes)


def common_shape(function: Function, shapes: Mapping[str, Shape]) -> Shape:
    """The shape of the points. Raises Problem for missing and unknown inputs, and for shapes that do not fit together."""
    known = set(function.inputs)
    for name in shapes:
        if name not in known:
            hint = nearest(name, function.inputs)
            raise problem_at("unknown-node", ("inputs", name), f"the expression has no input {quote(name)}.{hint}")
    for name in function.inputs:
        if name not in shapes:
            raise problem_at("unbound-input", ("inputs", name), f"the input {quote(name)} is required")
    try:
        return broadcast(shapes)
    except ValueError as error:
        name = str(error)
        detail = f"the array {quote(name)} of the shape {list(shapes[name])} cannot be broadcast to the others' shape"
        raise problem_at("shape-mismatch", ("inputs", name), detail) from None


def _at_points(array: Floats, shape: Shape) -> Any:
    """One number for all points, or one per point."""
    return float(array.reshape(-1)[0]) if array.size == 1 else np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(-1)


def _array(numbers: Any, shape: Shape) -> Floats:
    """Numbers per point, or one for all, in the shape of the points."""
    return np.array(np.broadcast_to(np.asarray(numbers, np.float64), (math.prod(shape),))).reshape(shape)


# --- operations


def apply(function: Function, request: TesseractApply, job: Job) -> Floats:
    """The values of `/v1/forward`."""
    points = points_of(function, request, job)
    asked = request_of(ForwardRequest, function.graph, inputs=points.inputs)
    return _array(expressions.forward(asked, job).value, points.shape)


def jacobian_vector_product(function: Function, request: TesseractJVP, job: Job) -> Floats:
    """The tangents of `/v1/jvp`."""
    points = points_of(function, request, job)
    _check_inputs(function, request.jvp_inputs, "jvp_inputs")
    _check_output(function, request.jvp_outputs, "jvp_outputs")
    _check_keys(request.tangent_vector, request.jvp_inputs, "tangent_vector", "jvp_inputs")
    for name, array in request.tangent_vector.items():
        if array.shape != points.shapes[name]:
            detail = f"the tangent has the shape {list(array.shape)}, and the input {list(points.shapes[name])}"
            raise problem_at("shape-mismatch", ("tangent_vector", name), detail)
    tangents = {name: _at_points(array, points.shape) for name, array in request.tangent_vector.items()}
    asked = request_of(
        JvpRequest,
        function.graph,
        inputs=points.inputs,
        tangents=tangents,
    )
    return _array(expressions.jvp(asked, job).tangent, points.shape)


def vector_jacobian_product(function: Function, request: TesseractVJP, job: Job) -> dict[str, Floats]:
    """The gradients of `/v1/backward` with the cotangents."""
    points = points_of(function, request, job)
    _check_inputs(function, request.vjp_inputs, "vjp_inputs")
    _check_output(function, request.vjp_outputs, "vjp_outputs")
    _check_keys(request.cotangent_vector, request.vjp_outputs, "cotangent_vector", "vjp_outputs")
    output = function.graph.output
    cotangent = request.cotangent_vector[output]
    if not fits(cotangent.shape, points.shape):
        detail = f"the cotangent has the shape {list(cotangent.shape)}, and the output {list(points.shape)}"
        raise problem_at("shape-mismatch", ("cotangent_vector", output), detail)
    gradients = _gradients(function, points, list(dict.fromkeys(request.vjp_inputs)), job, _at_points(cotangent, points.shape))
    return {name: _summed(column, points.shape, points.shapes[name], job) for name, column in gradients.items()}


def jacobian(function: Function, request: TesseractJacobian, job: Job) -> dict[str, Floats]:
    """The gradients of `/v1/backward` as Jacobians: a point depends on the numbers of its place alone."""
    points = points_of(function, request, job)
    _check_inputs(function, request.jac_inputs, "jac_inputs")
    _check_output(function, request.jac_outputs, "jac_outputs")
    names = list(dict.fromkeys(request.jac_inputs))
    entries = points.count * sum(math.prod(points.shapes[name]) for name in names)
    work.check_numbers(job, entries)
    gradients = _gradients(function, points, names, job, 1.0)
    job.reserve_more(BYTES_PER_ENTRY * entries)
    found = {}
    for name, column in gradients.items():
        job.check()
        shape = points.shapes[name]
        matrix = np.zeros((points.count, math.prod(shape)))
        places = np.broadcast_to(np.arange(math.prod(shape)).reshape(shape), points.shape).reshape(-1)
        matrix[np.arange(points.count), places] = column
        found[name] = matrix.reshape((*points.shape, *shape))
    return found


def _gradients(function: Function, points: Points, names: list[str], job: Job, cotangent: Any) -> dict[str, Any]:
    asked = request_of(
        BackwardRequest,
        function.graph,
        inputs=points.inputs,
        wrt=names,
        cotangent=cotangent,
    )
    return expressions.backward(asked, job).gradients


def _summed(column: Any, shape: Shape, into: Shape, job: Job) -> Floats:
    """Numbers per point, summed over the points that share one number of an array of the shape `into`."""
    array = _array(column, shape)
    if math.prod(into) == array.size:
        return array.reshape(into)
    padded = (1,) * (len(shape) - len(into)) + into
    shared = [k for k, length in enumerate(padded) if length == 1 and shape[k] != 1]
    kept = [k for k in range(len(shape)) if k not in shared]
    rows = array.transpose(*kept, *shared).reshape(math.prod(into), -1)
    job.reserve_more(8 * array.size)
    sums = np.empty(len(rows))
    for low in range(0, len(rows), EXACT_ROWS):
        job.check()
        block = ExactSums(len(rows[low : low + EXACT_ROWS]))
        block.add(rows[low : low + EXACT_ROWS])
        sums[low : low + EXACT_ROWS] = block.sums()
    if not np.isfinite(sums).all():
        raise problem_at("non-finite", ("inputs",), "a sum over the points is beyond 1.8e308")
    return sums.reshape(into)


# --- names


def _check_inputs(function: Function, names: list[str], field: str) -> None:
    known = set(function.inputs)
    for k, name in enumerate(names):
        if name not in known:
            hint = nearest(name, function.inputs)
            raise problem_at("unknown-node", (field, k), f"the expression has no input {quote(name)}.{hint}")


def _check_output(function: Function, names: list[str], field: str) -> None:
    for k, name in enumerate(names):
        if name != function.graph.output:
            detail = f"the expression has no output {quote(name)}; it has {quote(function.graph.output)}"
            raise problem_at("unknown-node", (field, k), detail)


def _check_keys(vector: Mapping[str, Any], names: list[str], field: str, of: str) -> None:
    if set(vector) != set(names):
        raise problem_at("invalid-request", (field,), f"{field} needs one array for each of {of}, and no others")

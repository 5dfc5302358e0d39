"""Tesseract: an expression in the URL as a component for its SDK and for JAX (tesseract-jax).

The protocol is described at https://docs.pasteurlabs.ai/projects/tesseract-core. The expression is taken from the path as it
was sent, since a division is a slash and a new line ends a statement.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

from app.api.bridges import tesseract_work as work
from app.api.bridges.tesseract_arrays import Arrays, NestedArrays, encoded, to_base64
from app.api.bridges.tesseract_models import (
    TesseractAbstract,
    TesseractApply,
    TesseractFaults,
    TesseractHealth,
    TesseractJacobian,
    TesseractJVP,
    TesseractRun,
    TesseractSchema,
    TesseractShapes,
    TesseractVJP,
)
from app.api.bridges.tesseract_schema import openapi_document
from app.api.bridges.translation import TAG, BridgeRoute
from app.service import problems
from app.service.execution import Job
from app.service.problems import FieldError, ProblemDetails
from app.service.routing import PrefixRouter, computation

PREFIX = "/tesseract"
BASE64_JSON = "application/json+base64"
PARAMETER = "{expression}"

PROBLEMS = (
    "unauthorized",
    "too-large",
    "too-many-requests",
    "overloaded",
    "deadline-exceeded",
    "unsupported-media-type",
    "not-acceptable",
    "internal",
)

FAULTS: dict[int | str, dict[str, Any]] = {
    422: {"description": "What is wrong with the request or the expression", "model": TesseractFaults}
}

Expression = Annotated[
    str,
    Path(
        description="An expression as text, percent-encoded, or as base64url behind `b64:`",
        examples=["x**2*sin(y)"],
    ),
]


def match_path(route: APIRoute, scope: Scope) -> tuple[Match, Scope]:
    """Whether a route's path, which has one parameter, matches the path of a request as it was sent."""
    raw: bytes = scope.get("raw_path") or b""
    path = raw.decode("latin-1").removeprefix(scope.get("root_path", "").rstrip("/"))
    begin, _, end = route.path.partition(PARAMETER)
    if scope["type"] != "http" or len(path) <= len(begin) + len(end) or not (path.startswith(begin) and path.endswith(end)):
        return Match.NONE, {}
    parameters = {"expression": path[len(begin) : len(path) - len(end)]}
    found: Scope = {"endpoint": route.endpoint, "path_params": parameters, "route": route}
    return (Match.FULL if scope["method"] in (route.methods or ()) else Match.PARTIAL), found


class TesseractRoute(BridgeRoute):
    """A route whose parameter is an expression in the path as it was sent, and whose errors are those of FastAPI."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether this route is the one for a request."""
        return match_path(self, scope)

    def translate(self, details: ProblemDetails) -> tuple[int, Any] | None:
        """What is wrong with the body or the expression as FastAPI's list of errors."""
        if details.status == 400:
            return 422, {"detail": [{"type": "json_invalid", "loc": ["body"], "msg": details.detail}]}
        if details.status != 422:
            return None
        kind = details.type.rpartition("/")[2]
        entries = details.errors or [FieldError(pointer="", detail=details.detail)]
        return 422, {"detail": [{"type": kind, "loc": location(entry.pointer), "msg": entry.detail} for entry in entries]}


class TesseractHealthRoute(APIRoute):
    """A route that only needs to know that there is an expression."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether this route is the one for a request."""
        return match_path(self, scope)


def location(pointer: str) -> list[str | int]:
    """A JSON Pointer as FastAPI has it: in the path or in the body."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    if steps[:1] == list(work.EXPRESSION):
        return ["path", "expression"]
    names = {"tangents": "tangent_vector", "cotangent": "cotangent_vector"}
    return ["body", *(int(step) if step.isdecimal() else names.get(step, step) for step in steps)]


router = PrefixRouter(
    prefix=f"{PREFIX}/{PARAMETER}",
    tags=[TAG],
    route_class=TesseractRoute,
    responses={**problems.responses(*PROBLEMS), **FAULTS},
)
plain = APIRouter(
    prefix=f"{PREFIX}/{PARAMETER}",
    tags=[TAG],
    route_class=TesseractHealthRoute,
    responses={**problems.responses("unauthorized", "internal"), "default": problems.responses("internal")[500]},
)


@plain.get("/health", summary="Tesseract: health")
async def tesseract_health(expression: Expression) -> TesseractHealth:
    """Answers at once. The expression is not looked at."""
    return TesseractHealth({"status": "ok"})


@router.get("/openapi.json", summary="Tesseract: schemas")
@computation()
def tesseract_openapi(expression: Expression, query: Annotated[TesseractRun, Query()], job: Job) -> TesseractSchema:
    """The document from which the Tesseract SDK takes the names of inputs and outputs and the encodings of arrays."""
    function = work.function_of(expression, job)
    document = openapi_document(work.expression_text(expression), function.inputs, function.graph.output)
    return TesseractSchema.model_construct(document)


@router.post("/apply", summary="Tesseract: the values at all points")
@computation(estimate_seconds=work.estimate_apply, renderings={BASE64_JSON: to_base64})
def tesseract_apply(expression: Expression, request: TesseractApply, job: Job) -> Arrays:
    """The values of `/v1/forward`. Inputs are broadcast to one shape, by NumPy's rules; the output has that shape."""
    function = work.function_of(expression, job)
    return Arrays.model_construct({function.graph.output: encoded(work.apply(function, request, job))})


@router.post("/jacobian", summary="Tesseract: Jacobians")
@computation(estimate_seconds=work.estimate_jacobian, renderings={BASE64_JSON: to_base64})
def tesseract_jacobian(expression: Expression, request: TesseractJacobian, job: Job) -> NestedArrays:
    """The gradients of `/v1/backward`. A Jacobian has the shape of the output and then that of the input."""
    function = work.function_of(expression, job)
    found = work.jacobian(function, request, job)
    return NestedArrays.model_construct({function.graph.output: {name: encoded(array) for name, array in found.items()}})


@router.post("/jacobian_vector_product", summary="Tesseract: the Jacobian times a tangent")
@computation(estimate_seconds=work.estimate_apply, renderings={BASE64_JSON: to_base64})
def tesseract_jacobian_vector_product(expression: Expression, request: TesseractJVP, job: Job) -> Arrays:
    """The tangents of `/v1/jvp`."""
    function = work.function_of(expression, job)
    return Arrays.model_construct({function.graph.output: encoded(work.jacobian_vector_product(function, request, job))})


@router.post("/vector_jacobian_product", summary="Tesseract: a cotangent times the Jacobian")
@computation(estimate_seconds=work.estimate_apply, renderings={BASE64_JSON: to_base64})
def tesseract_vector_jacobian_product(expression: Expression, request: TesseractVJP, job: Job) -> Arrays:
    """The gradients of `/v1/backward` with these cotangents, summed over the points to which an input was broadcast."""
    function = work.function_of(expression, job)
    found = work.vector_jacobian_product(function, request, job)
    return Arrays.model_construct({name: encoded(array) for name, array in found.items()})


@router.post("/abstract_eval", summary="Tesseract: the shape of the output")
@computation(estimate_seconds=work.estimate_abstract)
def tesseract_abstract_eval(expression: Expression, request: TesseractAbstract, job: Job) -> TesseractShapes:
    """Without numbers, for programs that plan ahead, as JAX does."""
    function = work.function_of(expression, job)
    shape = work.common_shape(function, {name: tuple(given.shape) for name, given in request.inputs.items()})
    return TesseractShapes.model_validate({function.graph.output: {"shape": list(shape), "dtype": "float64"}})

"""UM-Bridge 1.0: models for the clients of uncertainty quantification, such as PyMC, QMCPy, emcee, MUQ and Dakota.

The protocol is described at https://um-bridge-benchmarks.readthedocs.io. Nothing is stored: every request has its `config`.
"""

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from app.api.bridges import umbridge_work as work
from app.api.bridges.translation import TAG, BridgeRoute
from app.api.bridges.umbridge_models import (
    MODELS,
    ModelNotFound,
    UMBridgeApplyHessian,
    UMBridgeApplyJacobian,
    UMBridgeError,
    UMBridgeEvaluate,
    UMBridgeGradient,
    UMBridgeInfo,
    UMBridgeInputSizes,
    UMBridgeModel,
    UMBridgeModelInfo,
    UMBridgeOutputs,
    UMBridgeOutputSizes,
    UMBridgeProduct,
    UMBridgeSizes,
    UMBridgeSupport,
)
from app.service import problems
from app.service.execution import Job
from app.service.negotiation import JSON, Accepts
from app.service.problems import ProblemDetails
from app.service.routing import PrefixRouter, computation

PREFIX = "/umbridge"
SUPPORT = UMBridgeModelInfo(support=UMBridgeSupport(Evaluate=True, Gradient=True, ApplyJacobian=True, ApplyHessian=True))

USER_ERRORS = (400, 406, 415, 422)
"""Statuses that this protocol has 400 for."""

DESCRIPTIONS: dict[int | str, str] = {
    400: "What is wrong with the request, or that there is no such model",
    413: "The body is too long",
    429: "The client has too much in flight",
    500: "The service has a defect",
    503: "The service is busy, or the computation took too long",
    "default": "Any other error",  # without it, FastAPI would add a 422 of its own
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": description, "model": UMBridgeError} for status, description in DESCRIPTIONS.items()
}


def error_type(details: ProblemDetails) -> str:
    """The protocol's name of a problem; for those that it has none for, the problem's own, as in `DeadlineExceeded`."""
    if details.status in (*USER_ERRORS, 413):
        return "InvalidInput"
    return "".join(word.capitalize() for word in details.type.rpartition("/")[2].split("-"))


class UMBridgeRoute(BridgeRoute):
    """A route whose errors have the form of UM-Bridge."""

    def translate(self, details: ProblemDetails) -> tuple[int, Any]:
        """A problem as `{"error": {"type", "message"}}`."""
        status = 400 if details.status in USER_ERRORS else details.status
        place = details.errors[0].pointer if details.errors else ""
        # Of all places, only those in the configuration are named by nothing else in the message.
        is_named = details.detail.startswith("at ") or not place.startswith("/config/")
        message = details.detail if is_named else f"at {place}: {details.detail}"
        return status, {"error": {"type": error_type(details), "message": message}}

    async def _answer_error(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, ModelNotFound):
            return await super()._answer_error(request, error)
        request.state.facts["problem"] = "unknown-model"
        body = UMBridgeError.model_validate({"error": {"type": "ModelNotFound", "message": str(error)}})
        return Response(body.model_dump_json(), 400, media_type=JSON)


router = PrefixRouter(
    prefix=PREFIX,
    tags=[TAG],
    route_class=UMBridgeRoute,
    responses={**problems.responses("unauthorized"), **ERRORS},
)
plain = APIRouter(prefix=PREFIX, tags=[TAG], responses=problems.responses("unauthorized", "not-acceptable", "internal"))


@plain.get("/Info", summary="UM-Bridge: protocol version and models", dependencies=[Depends(Accepts(JSON))])
async def umbridge_info() -> UMBridgeInfo:
    """Two models: `expression` is any function of this service, and `network` any network."""
    return UMBridgeInfo(protocolVersion=1.0, models=list(MODELS))


# Routes are tried in this order, so those that are called most come first.


@router.post("/Gradient", summary="UM-Bridge: a vector times the Jacobian")
@computation(estimate_seconds=work.estimate_derivative, any_content_type=True)
def umbridge_gradient(request: UMBridgeGradient, job: Job) -> UMBridgeProduct:
    """`sens` times the Jacobian: the gradients of `/v1/backward` with the cotangent `sens`."""
    return UMBridgeProduct(output=work.gradient(request, job))


@router.post("/Evaluate", summary="UM-Bridge: the output vector")
@computation(estimate_seconds=work.estimate_evaluation, any_content_type=True)
def umbridge_evaluate(request: UMBridgeEvaluate, job: Job) -> UMBridgeOutputs:
    """The value of `/v1/forward`, or the scores of `/v1/networks/predict`."""
    return UMBridgeOutputs(output=[work.evaluate(request, job)])


@router.post("/ApplyJacobian", summary="UM-Bridge: the Jacobian times a vector")
@computation(estimate_seconds=work.estimate_derivative, any_content_type=True)
def umbridge_apply_jacobian(request: UMBridgeApplyJacobian, job: Job) -> UMBridgeProduct:
    """The tangent of `/v1/jvp` along `vec`, for each output."""
    return UMBridgeProduct(output=work.apply_jacobian(request, job))


@router.post("/ApplyHessian", summary="UM-Bridge: the Hessian times a vector")
@computation(estimate_seconds=work.estimate_derivative, any_content_type=True)
def umbridge_apply_hessian(request: UMBridgeApplyHessian, job: Job) -> UMBridgeProduct:
    """The Hessian of `sens` times the output, times `vec`: `sens` times the product of `/v1/hvp`. It is never formed."""
    return UMBridgeProduct(output=work.apply_hessian(request, job))


@router.post("/ModelInfo", summary="UM-Bridge: what a model supports")
@computation(any_content_type=True)
def umbridge_model_info(request: UMBridgeModel) -> UMBridgeModelInfo:
    """Both models support all four operations."""
    return SUPPORT


@router.post("/InputSizes", summary="UM-Bridge: the length of the input vector")
@computation(estimate_seconds=work.estimate_sizes, any_content_type=True)
def umbridge_input_sizes(request: UMBridgeSizes, job: Job) -> UMBridgeInputSizes:
    """It depends on `config`: an expression has as many inputs as it has names that it assigns no number to."""
    return UMBridgeInputSizes(inputSizes=[work.sizes(request, job)[0]])


@router.post("/OutputSizes", summary="UM-Bridge: the length of the output vector")
@computation(estimate_seconds=work.estimate_sizes, any_content_type=True)
def umbridge_output_sizes(request: UMBridgeSizes, job: Job) -> UMBridgeOutputSizes:
    """It depends on `config`: an expression has as many outputs as are named there, by default one."""
    return UMBridgeOutputSizes(outputSizes=[work.sizes(request, job)[1]])

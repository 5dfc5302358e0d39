"""The endpoints about the service itself: health, metrics, what it can do, and what its errors mean."""

from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from app import __version__
from app.engine.primitives import ALIASES, WIRE
from app.service import problems
from app.service.execution import Execution
from app.service.metrics import exposition
from app.service.models import ResponseModel
from app.service.negotiation import JSON, Accepts
from app.service.problems import Problem
from app.settings import Settings

FEATURES = [
    *("forward", "backward", "jvp", "jacobian", "hessian", "hvp", "check", "parse", "graph"),
    *("many-points", "reduce", "pictures", "minimize", "fit", "propagate"),
    *("derivative", "code", "mathjson", "network-files", "mcp", "um-bridge", "tesseract"),
]
LIMITS = (
    "max_body_bytes",
    "max_nodes",
    "max_text",
    "max_points",
    "max_work",
    "max_numbers",
    "max_variables",
    "max_drawn_nodes",
    "max_drawn_points",
    "compute_timeout_s",
    "max_concurrency",
    "max_queue",
    "max_concurrency_per_client",
    "memory_bytes",
    "max_connections",
    "max_connections_per_client",
    "max_head_bytes",
    "head_timeout_s",
    "body_timeout_s",
    "send_timeout_s",
)


OTHER_PATHS = {
    **dict.fromkeys(("ad", "autodiff", "backprop", "derivatives", "grad", "gradient"), "/v1/backward"),
    **dict.fromkeys(("gradients", "reverse", "value_and_grad", "vjp"), "/v1/backward"),
    **dict.fromkeys(("compute", "eval", "evaluate", "evaluation", "expression", "value"), "/v1/forward"),
    **dict.fromkeys(("diff", "differentiate", "latex", "simplify", "symbolic"), "/v1/derivative"),
    **dict.fromkeys(("hess", "hesse"), "/v1/hessian"),
    "jac": "/v1/jacobian",
    **dict.fromkeys(("minimise", "minimization", "optimise", "optimize", "solve"), "/v1/minimize"),
    **dict.fromkeys(
        ("curve-fit", "curve_fit", "curvefit", "fitting", "least-squares", "least_squares", "regression"), "/v1/fit"
    ),
    **dict.fromkeys(("error-propagation", "gum", "propagation", "uncertainty"), "/v1/propagate"),
    **dict.fromkeys(("codegen", "export", "generate"), "/v1/code"),
    **dict.fromkeys(("draw", "plot", "svg"), "/v1/graph"),
    **dict.fromkeys(("fit/network", "network/train", "networks/fit", "train", "training"), "/v1/networks/train"),
    **dict.fromkeys(("network/predict", "predict", "prediction"), "/v1/networks/predict"),
    **dict.fromkeys(("mlp", "network", "networks/create", "networks/new", "nn"), "/v1/networks"),
    **dict.fromkeys(("gradients/network", "networks/gradient", "networks/loss"), "/v1/networks/backward"),
    "dataset": "/v1/datasets",
    **dict.fromkeys(("functions", "operations", "ops"), "/v1/primitives"),
    **dict.fromkeys(("info", "version"), "/v1/info"),
    **dict.fromkeys(("index.html", "playground", "web"), "/"),
    **dict.fromkeys(("health", "healthcheck", "healthz", "ping", "ready", "status", "up"), "/readyz"),
    **dict.fromkeys(("alive", "live"), "/livez"),
    **dict.fromkeys(("openapi", "openapi.yaml", "schema", "swagger.json"), "/openapi.json"),
    **dict.fromkeys(("documentation", "help", "redoc", "swagger", "swagger-ui", "ui"), "/docs"),
}
"""Paths that people try, without `/v1`, and those that they mean."""


class Health(ResponseModel):
    """Whether the service is alive, or ready for work."""

    status: str = Field(examples=["ok"])


class Info(ResponseModel):
    """What runs here, what it can do and what its limits are."""

    name: str
    version: str
    features: list[str]
    limits: dict[str, Any]


class PrimitiveRow(ResponseModel):
    """A primitive. `arity` is null if the number of arguments is not fixed, and `max_arity` if it is not limited."""

    name: str
    aliases: list[str]
    arity: int | None
    min_arity: int
    max_arity: int | None
    formula: str
    derivative: list[str] = Field(description="The partial derivative by each argument")
    domain: str
    kink: str = Field(description="What happens where there is no derivative")


class PrimitivesResponse(ResponseModel):
    """All operations that an expression can name."""

    primitives: list[PrimitiveRow]


ALL_PRIMITIVES = PrimitivesResponse(
    primitives=[
        PrimitiveRow(
            name=row.name,
            aliases=[alias for alias, name in ALIASES.items() if name == row.name],
            arity=row.min_arity if row.min_arity == row.max_arity else None,
            min_arity=row.min_arity,
            max_arity=row.max_arity,
            formula=row.formula,
            derivative=list(row.derivative),
            domain=row.domain_note,
            kink=row.kink,
        )
        for row in WIRE.values()
    ]
)

router = APIRouter(tags=["service"], responses=problems.responses("not-acceptable", "internal"))


@router.get("/livez", summary="Whether the process is alive", dependencies=[Depends(Accepts(JSON))])
async def livez() -> Health:
    """Answers at once, even while kernels are compiled or large requests computed."""
    return Health(status="ok")


@router.get(
    "/readyz",
    summary="Whether the service is ready for work",
    dependencies=[Depends(Accepts(JSON))],
    responses=problems.responses("overloaded"),
)
async def readyz(request: Request) -> Health:
    """503 until all kernels are compiled or loaded, which takes long at the very first start only, and after SIGTERM."""
    execution: Execution = request.app.state.execution
    if execution.draining or not execution.ready.is_set():
        reason = "the service is shutting down" if execution.draining else "the kernels are not ready yet"
        raise Problem("overloaded", reason, headers={"Retry-After": "1"})
    return Health(status="ok")


@router.get(
    "/v1/info",
    summary="Version, features and limits",
    dependencies=[Depends(Accepts(JSON))],
    responses=problems.responses("unauthorized"),
)
async def info(request: Request) -> Info:
    """Each limit has the name of its setting, without AUTODIFF_."""
    settings: Settings = request.app.state.settings
    limits = {name: getattr(settings, name) for name in LIMITS}
    return Info(name="autodiff-http", version=__version__, features=FEATURES, limits=limits)


@router.get(
    "/v1/primitives",
    summary="All operations that an expression can name",
    dependencies=[Depends(Accepts(JSON))],
    responses=problems.responses("unauthorized"),
)
async def primitives() -> PrimitivesResponse:
    """For each its name, number of arguments, formula, derivatives, domain, and what happens at a kink."""
    return ALL_PRIMITIVES


class PrometheusText(Response):
    """Metrics in Prometheus's text format."""

    media_type = "text/plain; version=1.0.0; charset=utf-8"


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=PrometheusText,
    dependencies=[Depends(Accepts("text/plain"))],
    responses=problems.responses("unauthorized"),
)
async def metrics() -> PrometheusText:
    """Requests and latency by route, the time of each phase, the pool and its queue, and refused requests.

    The phases are decoding, computing and encoding. The figures cover all worker processes.
    """
    return PrometheusText(exposition())

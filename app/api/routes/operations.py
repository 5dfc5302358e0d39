"""The endpoints about the service itself: health, what it can do, and what its errors mean."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from app import __version__
from app.api import limits, problems
from app.api.endpoint import description
from app.api.execution import Execution
from app.api.metrics import exposition
from app.api.problems import KINDS, Problem
from app.api.schemas.operations import Health, Info, PrimitiveRow, Primitives
from app.engine.primitives import ALIASES, WIRE

router = APIRouter(tags=["service"])

FEATURES = ["forward", "backward", "jvp", "jacobian", "hessian", "hvp", "check", "parse", "graph", "many-points"]


@description(router, "/livez")
def livez(request: Request) -> Health:
    """Whether the process lives.

    Answers at once, also while the kernels are compiled and while large requests are computed.
    """
    return Health("ok")


@description(router, "/readyz", problems=("not-acceptable", "overloaded", "internal"))
def readyz(request: Request) -> Health:
    """Whether the service is ready for work.

    503 until all kernels are compiled or loaded, which takes some seconds at the very first start only, and from SIGTERM on.
    """
    execution: Execution = request.app.state.execution
    if execution.draining or not execution.ready.is_set():
        why = "the service is ending" if execution.draining else "the kernels are not ready yet"
        raise Problem("overloaded", why, headers={"Retry-After": "1"})
    return Health("ok")


@description(router, "/v1/info")
def info(request: Request) -> Info:
    """Version, features and limits.

    Each limit bears the name of its setting, without AUTODIFF_.
    """
    return Info("autodiff-http", __version__, FEATURES, limits.described(request.app.state.settings))


@description(router, "/v1/primitives")
def primitives(request: Request) -> Primitives:
    """All operations that an expression can name.

    For each its name, arity, formula, derivative by each argument, domain, and what happens at a kink.
    """
    return ALL


ALL = Primitives(
    [
        PrimitiveRow(
            row.name,
            [alias for alias, name in ALIASES.items() if name == row.name],
            row.min_arity if row.min_arity == row.max_arity else None,
            row.min_arity,
            row.max_arity,
            row.formula,
            list(row.derivative),
            row.domain_note,
            row.kink,
        )
        for row in WIRE.values()
    ]
)


@description(
    router,
    "/problems/{name}",
    media="text/html",
    problems=("not-found", "not-acceptable", "internal"),
    path_example="unknown-node",
)
def problem(request: Request) -> Response:
    """What a kind of error means, and how it is mended.

    A short page for people, behind the `type` of every error.
    """
    kind = KINDS.get(request.path_params["name"])
    if kind is None:
        raise Problem("not-found", f"there is no such problem; there are {', '.join(KINDS)}")
    return HTMLResponse(problems.page(kind))


@description(router, "/metrics", media="text/plain", problems=("unauthorized", "not-acceptable", "internal"))
def metrics(request: Request) -> Response:
    """Metrics for Prometheus.

    Requests and latency by route, the time of decoding, computing and encoding, the pool and its queue, and what was refused;
    of all worker processes.
    """
    return Response(exposition(), media_type="text/plain; version=1.0.0; charset=utf-8")


@router.get("/", include_in_schema=False)
async def root(request: Request) -> Response:
    """Leads to the documentation."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/docs")

"""The endpoints about the service itself: health, what it can do, and what its errors mean."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from app import __version__
from app.api import problems
from app.api.endpoint import description
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

    503 until all kernels are compiled or loaded, which takes some seconds at the very first start only.
    """
    if not request.app.state.execution.ready.is_set():
        raise Problem("overloaded", "the kernels are not ready yet", headers={"Retry-After": "1"})
    return Health("ok")


@description(router, "/v1/info")
def info(request: Request) -> Info:
    """Version, features and limits."""
    return Info("autodiff-http", __version__, FEATURES, {})


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


@router.get("/", include_in_schema=False)
async def root(request: Request) -> Response:
    """Leads to the documentation."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/docs")

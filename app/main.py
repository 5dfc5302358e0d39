"""The application: wiring only."""

import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from app import __version__
from app.api import docs, errors, operations, playground, problem_pages
from app.api.bridges import mcp, tesseract, umbridge
from app.api.bridges.mcp_sdk import connecting
from app.api.expressions import routes as expressions
from app.api.networks import datasets, files
from app.api.networks import routes as networks
from app.api.solvers import routes as solvers
from app.machine import keep_heaps_small
from app.service import problems
from app.service.cors import ExplainedPreflights
from app.service.keys import Keys
from app.service.lifecycle import serving
from app.service.logs import configure_logging
from app.service.middleware import Admission, RequestContext
from app.settings import Settings
from app.warm import PRELOADED, warm


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """What lives as long as the application does."""
    async with serving(app, warm=warm, preload=PRELOADED), connecting(app):
        yield


def create_app(settings: Settings | None = None) -> FastAPI:
    """A new application. The default settings are those of the environment."""
    settings = settings or Settings()
    app = FastAPI(
        title="autodiff-http",
        version=__version__,
        summary=docs.SUMMARY,
        description=docs.DESCRIPTION,
        openapi_tags=docs.TAGS,
        license_info={"name": "MIT", "identifier": "MIT"},
        openapi_url=None,  # FastAPI's own route makes the document on the event loop, and all other requests wait for a second
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
        generate_unique_id_function=lambda route: route.name,
        lifespan=lifespan,
        telemetry={"tracing": settings.telemetry, "logs": settings.telemetry, "metrics": False},
    )
    app.state.settings = settings
    keys = Keys(settings.keys, settings.metrics_open, basic_paths=(umbridge.PREFIX, tesseract.PREFIX))
    # From the innermost to the outermost.
    app.add_middleware(Admission, keys=keys)
    if settings.origins:
        headers = ["Authorization", "Content-Encoding", "Content-Type", "X-Request-ID", *mcp.HEADERS]
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=headers,
            expose_headers=["X-Request-ID", "Retry-After"],
        )
        app.add_middleware(ExplainedPreflights, headers=headers)
    app.add_middleware(RequestContext, root_path=settings.root_path)
    problems.install(app)
    errors.install(app)
    # Routers are tried in this order. The first three are passed over at once by requests for others.
    prefixed = (expressions.router, umbridge.router, tesseract.router)
    computations = (networks.router, files.router, datasets.computations, solvers.router)
    others = (datasets.router, umbridge.plain, tesseract.plain, mcp.router, operations.router)
    pages = (problem_pages.router, docs.router, playground.router)
    routers = (*prefixed, *computations, *others, *pages)
    for router in routers:
        app.include_router(router)
    problems.describe_paths(app, routers, operations.OTHER_PATHS)
    docs.extend_openapi(app, keys, settings.root_path)
    return app


def served() -> FastAPI:
    """What the server's processes start: an application with the process's logging."""
    settings = Settings()
    configure_logging(settings.log_level)
    keep_heaps_small()
    # The longest time that the event loop, which answers small requests, waits for a thread that runs Python code.
    sys.setswitchinterval(0.001)
    # Collecting all garbage stops all threads, for over a second beside the objects of a large response. It is rare now: once
    # in ten million objects that stay.
    gc.set_threshold(1000, 10, 1000)
    app = create_app(settings)
    app.state.owns_process = True
    return app

"""The application: wiring only."""

import asyncio
import gc
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from app.api import docs, problems
from app.api.execution import Execution
from app.api.lifecycle import drained
from app.api.middleware import RequestContext
from app.api.observability import configure_logging
from app.api.routes import datasets, expressions, networks, operations
from app.api.security import Keys
from app.settings import Settings
from app.warm import preload, warm

log = logging.getLogger("autodiff")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Warms the kernels beside the running server, which is alive at once and ready when they are."""
    execution = Execution(app.state.settings)
    app.state.execution = execution

    async def make_ready() -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(execution.pool, warm)
        except Exception:
            log.exception("the kernels could not be made ready, so the process ends")
            os._exit(1)
        execution.ready.set()
        log.info("ready")
        await asyncio.get_running_loop().run_in_executor(execution.pool, preload)
        gc.freeze()  # what is loaded now stays, so the collector need not look at it again

    task = asyncio.create_task(make_ready())
    with drained(execution):
        yield
    task.cancel()
    execution.close()


def create_app(settings: Settings | None = None) -> FastAPI:
    """A new application. `settings` are read from the environment where they are left out."""
    settings = settings or Settings()
    app = FastAPI(
        title="autodiff-http",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        root_path=settings.root_path,
        lifespan=lifespan,
        telemetry={"tracing": settings.telemetry, "metrics": False},
    )
    app.state.settings = settings
    app.add_middleware(RequestContext, keys=Keys(settings.keys, settings.metrics_open))
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    problems.install(app)
    for router in (expressions.router, networks.router, datasets.router, operations.router, docs.router):
        app.router.routes += router.routes  # as they are: an included router would be looked through for each request
    return app


def served() -> FastAPI:
    """What the server's processes start: an application that writes the log of the process."""
    settings = Settings()
    configure_logging(settings.log_level)
    # The loop, which answers small requests, waits so long at most for a thread that works through a large one in Python.
    sys.setswitchinterval(0.001)
    return create_app(settings)

"""The application: wiring only."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.api import docs, problems
from app.api.execution import Execution
from app.api.middleware import RequestContext
from app.api.routes import datasets, expressions, networks, operations
from app.settings import Settings
from app.warm import warm

log = logging.getLogger("autodiff")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Warms the kernels beside the running server, which is alive at once and ready when they are."""
    execution = Execution(app.state.settings.compute_timeout_s)
    app.state.execution = execution

    async def make_ready() -> None:
        await asyncio.get_running_loop().run_in_executor(execution.pool, warm)
        gc.freeze()  # what is loaded now stays, so the collector need not look at it again
        execution.ready.set()
        log.info("ready")

    task = asyncio.create_task(make_ready())
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
    )
    app.state.settings = settings
    app.add_middleware(RequestContext)
    problems.install(app)
    for router in (expressions.router, networks.router, datasets.router, operations.router, docs.router):
        app.include_router(router)
    return app

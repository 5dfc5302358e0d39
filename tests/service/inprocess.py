"""Applications in process: the service's machinery around any routers, without a server or a socket."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import APIRouter, FastAPI

from app.api import errors
from app.service import problems
from app.service.execution import Execution, Job
from app.service.keys import Keys
from app.service.middleware import Admission, RequestContext
from app.settings import Settings


def service(*routers: APIRouter, settings: Settings | None = None, dependencies: Sequence[Any] = ()) -> FastAPI:
    """An application with the middleware and exception handlers of the service, and these routers only."""
    settings = settings or Settings()
    app = FastAPI(dependencies=dependencies, strict_content_type=False)
    app.state.settings = settings
    app.add_middleware(Admission, keys=Keys(settings.keys, settings.metrics_open))
    app.add_middleware(RequestContext)
    problems.install(app)
    errors.install(app)
    for router in routers:
        app.include_router(router)
    return app


def job_with(**limits: Any) -> Job:
    """A job without a deadline, with other limits than the default ones."""
    return Job(Settings(**limits), math.inf, {})


@asynccontextmanager
async def running(app: FastAPI, *, ready: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application whose pool runs. Kernels are loaded when a test first uses them."""
    execution = app.state.execution = Execution(app.state.settings)
    if ready:
        execution.ready.set()
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            yield client
    finally:
        execution.close()


async def until_at_work(app: FastAPI) -> None:
    """Wait until a thread of the pool works, and half a second more, which is time enough to read a request."""
    while not any(job.thread for job in app.state.execution.admitted):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)


def send(app: FastAPI, method: str, path: str, *, ready: bool = True, **options: Any) -> httpx.Response:
    """The response of an application to one request. The options are those of `httpx.AsyncClient.request`."""

    async def respond() -> httpx.Response:
        async with running(app, ready=ready) as client:
            return await client.request(method, path, **options)

    return asyncio.run(respond())

"""FastAPI's dependencies on computations and on stock routes: they run, can refuse, set headers, and are closed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Header, HTTPException, Request, Response

from app.api.expressions import routes as expressions
from app.service.execution import INLINE_BYTES
from app.service.models import RequestModel, ResponseModel
from app.service.problems import Problem
from app.service.routing import ComputationRoute, computation
from tests.rows import for_each
from tests.service.inprocess import running, send, service

PLACES = ("route", "router", "include_router", "app")
ROUTES = ("small computation", "large computation", "stream", "stock GET")

Calls = list[str]
Dependency = Callable[..., Any]


class SquareRequest(RequestModel):
    """A number to square."""

    x: float


class SquareResponse(ResponseModel):
    """A square."""

    value: float


def app_with(place: str, dependency: Dependency, calls: Calls) -> FastAPI:
    """An application with a computation, a stream and a stock GET, and the dependency at one place."""

    def at(name: str) -> list[Any]:
        return [Depends(dependency)] if place == name else []

    computations = APIRouter(route_class=ComputationRoute, dependencies=at("router"))
    stock = APIRouter(dependencies=at("router"))

    @computations.post("/square", dependencies=at("route"))
    def square(request: SquareRequest) -> SquareResponse:
        calls.append("compute")
        return SquareResponse(value=request.x**2)

    @computations.post("/squares", dependencies=at("route"))
    @computation(streams=True)
    def squares(request: SquareRequest) -> Iterator[tuple[str, SquareResponse]]:
        calls.append("compute")
        yield "progress", SquareResponse(value=request.x)
        calls.append("compute more")
        yield "result", SquareResponse(value=request.x**2)

    @stock.get("/square", dependencies=at("route"))
    def read_square(x: float) -> SquareResponse:
        calls.append("compute")
        return SquareResponse(value=x**2)

    app = service(dependencies=at("app"))
    app.include_router(computations, dependencies=at("include_router"))
    app.include_router(stock, dependencies=at("include_router"))
    return app


def send_to(app: FastAPI, route: str) -> httpx.Response:
    """The response of one of `ROUTES` for x = 3."""
    if route == "stock GET":
        return send(app, "GET", "/square?x=3")
    padding = b" " * (INLINE_BYTES if route == "large computation" else 0)
    path = "/squares" if route == "stream" else "/square"
    return send(app, "POST", path, content=b'{"x": 3}' + padding, headers={"Content-Type": "application/json"})


@for_each("route", ROUTES)
@for_each("place", PLACES)
def test_dependency_runs_before_the_function(place: str, route: str) -> None:
    calls: Calls = []

    def note() -> None:
        calls.append("depend")

    response = send_to(app_with(place, note, calls), route)
    assert response.status_code == 200
    assert calls[:2] == ["depend", "compute"] and calls.count("depend") == 1


@for_each("route", ROUTES)
@for_each("place", PLACES)
def test_dependency_refuses_with_http_exception(place: str, route: str) -> None:
    calls: Calls = []

    def refuse() -> None:
        raise HTTPException(403, "members only", headers={"X-Reason": "members"})

    response = send_to(app_with(place, refuse, calls), route)
    assert response.status_code == 403
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-reason"] == "members"
    assert response.json()["status"] == 403 and response.json()["detail"] == "members only"
    assert calls == []


@for_each("route", ROUTES)
@for_each("place", PLACES)
def test_dependency_refuses_with_problem(place: str, route: str) -> None:
    calls: Calls = []

    async def refuse() -> None:
        raise Problem("overloaded", "come back later", headers={"Retry-After": "7"})

    response = send_to(app_with(place, refuse, calls), route)
    assert response.status_code == 503 and response.headers["retry-after"] == "7"
    assert response.json() == {
        "type": "/problems/overloaded",
        "title": "The service is overloaded",
        "status": 503,
        "detail": "come back later",
    }
    assert calls == []


@for_each("route", ROUTES)
@for_each("place", PLACES)
def test_headers_and_status_set_by_a_dependency_reach_the_client(place: str, route: str) -> None:
    def decorate(response: Response) -> None:
        response.headers["X-Plan"] = "free"
        response.set_cookie("visits", "1")
        response.status_code = 202

    response = send_to(app_with(place, decorate, []), route)
    assert response.status_code == 202
    assert response.headers["x-plan"] == "free" and response.cookies["visits"] == "1"
    if route != "stream":
        assert response.json() == {"value": 9.0}


@for_each("route", ROUTES)
@for_each("place", PLACES)
def test_yield_dependency_is_closed_after_the_function(place: str, route: str) -> None:
    calls: Calls = []

    async def resource() -> AsyncIterator[None]:
        calls.append("open")
        yield
        calls.append("close")

    assert send_to(app_with(place, resource, calls), route).status_code == 200
    computed = ["compute", "compute more"] if route == "stream" else ["compute"]
    assert calls == ["open", *computed, "close"]


@pytest.mark.parametrize("failure", [Problem("overloaded", "no"), HTTPException(403), RuntimeError("a defect")], ids=repr)
def test_yield_dependency_is_closed_when_the_function_fails(failure: Exception) -> None:
    calls: Calls = []
    router = APIRouter(route_class=ComputationRoute)

    def resource() -> Iterator[None]:
        try:
            yield
        except Exception as error:
            calls.append(type(error).__name__)
            raise
        finally:
            calls.append("close")

    @router.post("/square", dependencies=[Depends(resource)])
    def square(request: SquareRequest) -> SquareResponse:
        raise failure

    assert send(service(router), "POST", "/square", json={"x": 3}).status_code >= 400
    assert calls == [type(failure).__name__, "close"]


def test_value_of_a_dependency_reaches_the_function() -> None:
    router = APIRouter(route_class=ComputationRoute)

    def factor(times: int = 2) -> int:
        return times

    @router.post("/scale")
    def scale(request: SquareRequest, factor: Annotated[int, Depends(factor)]) -> SquareResponse:
        return SquareResponse(value=factor * request.x)

    app = service(router)
    assert send(app, "POST", "/scale", json={"x": 3}).json() == {"value": 6.0}
    assert send(app, "POST", "/scale?times=5", json={"x": 3}).json() == {"value": 15.0}
    app.dependency_overrides[factor] = lambda: 100
    assert send(app, "POST", "/scale", json={"x": 3}).json() == {"value": 300.0}


BODIES = {
    "small body": b'{"x": 3.0}',
    "body for the pool": b'{"x": 3.0}' + b" " * INLINE_BYTES,
}


@for_each("body", BODIES.values())
@for_each("place", PLACES)
def test_dependency_reads_the_body(place: str, body: bytes) -> None:
    """As in any FastAPI application, although the body has been read and validated before."""
    found: list[Any] = []

    async def read(request: Request) -> None:
        found.extend([await request.body(), await request.json(), await request.json()])
        found.append(b"".join([chunk async for chunk in request.stream()]))

    app = app_with(place, read, [])
    response = send(app, "POST", "/square", content=body, headers={"Content-Type": "application/json"})
    assert response.json() == {"value": 9.0}
    assert found == [body, {"x": 3.0}, {"x": 3.0}, body]


@for_each("body", BODIES.values())
@for_each("place", PLACES)
def test_dependency_reads_a_header(place: str, body: bytes) -> None:
    seen: list[tuple[str, str | None]] = []

    def read(request: Request, x_tenant: Annotated[str, Header()]) -> None:
        seen.append((x_tenant, request.headers.get("x-tenant")))

    headers = {"Content-Type": "application/json", "X-Tenant": "blue"}
    response = send(app_with(place, read, []), "POST", "/square", content=body, headers=headers)
    assert response.status_code == 200 and seen == [("blue", "blue")]


def test_background_task_of_a_dependency_runs_after_the_response() -> None:
    calls: Calls = []

    def later(tasks: BackgroundTasks) -> None:
        tasks.add_task(calls.append, "background")

    assert send_to(app_with("route", later, calls), "small computation").status_code == 200
    assert calls == ["compute", "background"]


def test_routes_of_the_service_take_dependencies() -> None:
    """The routers of the service itself, included as anybody might include them."""

    def refuse() -> None:
        raise HTTPException(403, "members only")

    app = service()
    app.include_router(expressions.router, dependencies=[Depends(refuse)])
    response = send(app, "POST", "/v1/backward", json={"expression": "x**2", "inputs": {"x": 3}})
    assert response.status_code == 403 and response.json()["detail"] == "members only"
    assert send(service(expressions.router), "POST", "/v1/parse", json={"expression": "x"}).status_code == 200


def test_place_in_the_pool_is_free_again_after_a_refusal() -> None:
    def refuse() -> None:
        raise HTTPException(403)

    app = app_with("app", refuse, [])

    async def refuse_often() -> None:
        async with running(app) as client:
            for _ in range(3 * app.state.settings.max_concurrency):
                content = b'{"x": 3}' + b" " * INLINE_BYTES
                response = await client.post("/square", content=content, headers={"Content-Type": "application/json"})
                assert response.status_code == 403
            assert not app.state.execution.admitted

    asyncio.run(refuse_often())

"""Server-sent events: their form, their pace, and what goes wrong before and after the first one."""

import asyncio
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from app.service.models import RequestModel, ResponseModel
from app.service.problems import Problem, problem_at
from app.service.routing import ComputationRoute, computation
from tests.service.inprocess import running, send, service


class Steps(RequestModel):
    """How many steps to do."""

    steps: int = 0


class Step(ResponseModel):
    """A step."""

    step: int


Events = Iterator[tuple[str, Step]]


def stream_app(ended: list[int] | None = None) -> FastAPI:
    """An application with a stream that checks its request first, and one that fails later."""
    router = APIRouter(route_class=ComputationRoute)

    def count(steps: int) -> Events:
        try:
            for step in range(steps):
                yield "progress", Step(step=step)
            yield "result", Step(step=steps)
        finally:
            if ended is not None:
                ended.append(steps)

    @router.post("/count")
    @computation(streams=True)
    def checked(request: Steps) -> Events:
        if request.steps < 0:
            raise problem_at("invalid-request", ("steps",), "steps are not negative")
        return count(request.steps)

    @router.post("/fail")
    @computation(streams=True)
    def failing(request: Steps) -> Events:
        yield "progress", Step(step=0)
        if request.steps == 0:
            raise Problem("non-finite", "the loss is NaN")
        raise RuntimeError("s3cret")

    @router.post("/slow")
    @computation(streams=True)
    def slow(request: Steps) -> Events:
        for step in range(6):
            yield "progress", Step(step=step)
            time.sleep(0.05)
        yield "result", Step(step=-1)

    return service(router)


def events_of(response: httpx.Response) -> list[tuple[str, str]]:
    """The events of a stream as (name, data)."""
    assert response.headers["content-type"].startswith("text/event-stream")
    found = []
    for event in response.text.removesuffix("\n\n").split("\n\n"):
        name, data = event.split("\n")
        found.append((name.removeprefix("event: "), data.removeprefix("data: ")))
    return found


def test_events_have_a_name_and_a_line_of_json() -> None:
    response = send(stream_app(), "POST", "/count", json={"steps": 1})
    assert response.status_code == 200 and response.headers["x-accel-buffering"] == "no"
    assert response.text == 'event: progress\ndata: {"step":0}\n\nevent: result\ndata: {"step":1}\n\n'


def test_progress_is_thinned_and_results_are_not() -> None:
    """At most one in 100 ms."""
    began = time.perf_counter()
    events = events_of(send(stream_app(), "POST", "/slow", json={}))
    most = 1 + (time.perf_counter() - began) / 0.1
    assert 2 <= len(events) - 1 <= most and events[-1] == ("result", '{"step":-1}')
    assert events_of(send(stream_app(), "POST", "/count", json={"steps": 10_000}))[-1] == ("result", '{"step":10000}')


def test_invalid_request_is_an_ordinary_problem() -> None:
    response = send(stream_app(), "POST", "/count", json={"steps": -1})
    assert response.status_code == 422 and response.headers["content-type"] == "application/problem+json"
    assert [error["pointer"] for error in response.json()["errors"]] == ["/steps"]


def test_problem_within_the_stream_is_an_error_event() -> None:
    events = events_of(send(stream_app(), "POST", "/fail", json={}))
    assert [name for name, _ in events] == ["progress", "error"]
    assert '"type":"/problems/non-finite"' in events[1][1] and "the loss is NaN" in events[1][1]


def test_defect_within_the_stream_shows_the_request_id_only(caplog: pytest.LogCaptureFixture) -> None:
    headers = {"X-Request-ID": "the-id"}
    events = events_of(send(stream_app(), "POST", "/fail", json={"steps": 1}, headers=headers))
    assert events[1][0] == "error" and "the-id" in events[1][1] and "s3cret" not in events[1][1]
    assert "s3cret" in caplog.text


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_stream_has_one_media_type(accept: str) -> None:
    response = send(stream_app(), "POST", "/count", json={}, headers={"Accept": accept})
    assert response.status_code == 406 and "text/event-stream" in response.json()["detail"]


def test_place_in_the_pool_is_free_after_the_stream() -> None:
    async def test() -> None:
        ended: list[int] = []
        app = stream_app(ended)
        async with running(app) as client:
            for path in ("/count", "/fail", "/count", "/fail"):
                assert (await client.post(path, json={"steps": 1})).status_code == 200
            deadline = time.perf_counter() + 10
            while app.state.execution.admitted and time.perf_counter() < deadline:
                await asyncio.sleep(0.005)
            assert not app.state.execution.admitted and not app.state.execution.places.locked()
        assert ended == [1, 1]

    asyncio.run(test())


def test_events_come_from_a_thread_of_the_pool() -> None:
    names: list[str] = []
    router = APIRouter(route_class=ComputationRoute)

    @router.post("/names")
    @computation(streams=True)
    def names_of_threads(request: Steps) -> Events:
        names.append(threading.current_thread().name)
        yield "result", Step(step=1)

    assert send(service(router), "POST", "/names", json={}).status_code == 200
    assert [name.startswith("compute") for name in names] == [True]

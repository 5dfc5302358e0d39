"""Server-sent events: their form, their pace, and what goes wrong before and after the first one."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from app.service import streaming
from app.service.execution import Execution, Job
from app.service.models import RequestModel, ResponseModel
from app.service.problems import Problem, problem_at
from app.service.routing import ComputationRoute, computation
from app.service.streaming import pushed
from app.settings import Settings
from tests.service.fake_time import PATIENCE, Clock, Connection, idle, in_pool, run_on, settle, thread_end
from tests.service.inprocess import job_with, running, send, service


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


@pytest.mark.alone
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


@pytest.mark.alone
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
            assert not app.state.execution.admitted and not app.state.execution.places.running
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


# --- under a clock that stands still


class Gate:
    """A step of a stream: it begins, and goes on when the test says so."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.reached = asyncio.Event()
        self.may_go_on = threading.Event()

    def wait(self) -> None:
        """Say that the step has begun, and wait for the test."""
        self.loop.call_soon_threadsafe(self.reached.set)
        assert self.may_go_on.wait(PATIENCE), "nobody let the stream go on"


class Stream:
    """An app with one stream, whose events a test gives as a function of the job, on a pool of one thread."""

    def __init__(self, events: Callable[[Job], Events], settings: Settings | None = None) -> None:
        self.jobs: list[Job] = []
        router = APIRouter(route_class=ComputationRoute)

        @router.post("/stream")
        @computation(streams=True)
        def stream(request: Steps, job: Job) -> Events:
            self.jobs.append(job)
            return events(job)

        self.settings = settings or Settings(max_concurrency=1, max_queue=1)
        self.app = service(router, settings=self.settings)
        self.execution = self.app.state.execution = Execution(self.settings)
        self.execution.ready.set()

    def open(self) -> Connection:
        """Ask for the stream."""
        return Connection(self.app, "/stream", {}, content_type="application/json")

    async def finish(self) -> None:
        """Assert that nothing is left."""
        await idle(self.execution)
        self.execution.close()


def names_and_steps(content: bytes) -> list[tuple[str, int]]:
    """The events of a body as (name, step)."""
    found = []
    for event in content.decode().removesuffix("\n\n").split("\n\n"):
        name, data = event.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: ")).get("step", -1)))
    return found


def test_progress_comes_at_most_every_100_ms() -> None:
    """As the description of the endpoint says."""
    assert streaming.PROGRESS_SECONDS == 0.1


@pytest.mark.parametrize(
    ("pause", "expected"),
    [
        (0.0, [0]),
        (0.03125, [0, 4, 8]),
        (0.0625, [0, 2, 4, 6, 8]),
        (0.109375, [0, 2, 4, 6, 8]),
        (0.125, list(range(10))),
        (0.25, list(range(10))),
        (0.046875, [0, 3, 6, 9]),
    ],
    ids=["none", "a quarter", "a half", "seven eighths", "exactly", "twice", "three eighths"],
)
def test_progress_is_throttled(clock: Clock, monkeypatch: pytest.MonkeyPatch, pause: float, expected: list[int]) -> None:
    """Ten steps, each a fraction of the least time between two events later. The first is sent, and so is the result."""
    monkeypatch.setattr(streaming, "PROGRESS_SECONDS", 0.125)
    clock.now = 0.0

    def events(job: Job) -> Events:
        for step in range(10):
            yield "progress", Step(step=step)
            clock.now += pause
        clock.now -= pause
        yield "result", Step(step=10)

    async def main() -> None:
        stream = Stream(events)
        connection = stream.open()
        await connection.task
        assert names_and_steps(connection.content) == [("progress", step) for step in expected] + [("result", 10)]
        await stream.finish()

    run_on(clock, main())


def test_events_of_other_names_are_all_sent_in_order(clock: Clock) -> None:
    """The clock stands still, and yet none is left out."""

    def events(job: Job) -> Events:
        for step in range(500):
            yield "note", Step(step=step)
        yield "result", Step(step=500)

    async def main() -> None:
        stream = Stream(events)
        connection = stream.open()
        await connection.task
        assert names_and_steps(connection.content) == [("note", step) for step in range(500)] + [("result", 500)]
        assert connection.is_complete
        await stream.finish()

    run_on(clock, main())


def test_event_wakes_the_loop_that_waits_for_it(clock: Clock) -> None:
    """It is sent while its thread still runs, and nothing else happens."""
    seen: list[bool] = []

    async def main() -> None:
        def events(job: Job) -> Events:
            yield "progress", Step(step=0)
            time.sleep(0.02)  # until the loop waits
            yield "result", Step(step=1)
            end = time.perf_counter() + PATIENCE / 4
            while b"result" not in connection.content and time.perf_counter() < end:
                time.sleep(0.001)
            seen.append(b"result" in connection.content)

        stream = Stream(events)
        connection = stream.open()
        await connection.task
        await stream.finish()

    run_on(clock, main())
    assert seen == [True]


def test_first_event_is_sent_before_the_second_is_computed(clock: Clock) -> None:
    async def main() -> None:
        gates = [Gate(), Gate()]

        def events(job: Job) -> Events:
            gates[0].wait()
            yield "progress", Step(step=0)
            gates[1].wait()
            yield "result", Step(step=1)

        stream = Stream(events)
        connection = stream.open()
        await gates[0].reached.wait()
        await settle()
        assert connection.status == 200 and connection.content == b"", "the request is valid, so the response begins"
        assert connection.headers["content-type"].startswith("text/event-stream")
        gates[0].may_go_on.set()
        await gates[1].reached.wait()
        await settle()
        assert names_and_steps(connection.content) == [("progress", 0)] and not connection.is_complete
        assert stream.execution.admitted == set(stream.jobs) and in_pool() == (1, 0)
        assert stream.execution.requests_in_flight == 1
        assert connection.readers == 1, "one task waits for the client to leave"
        gates[1].may_go_on.set()
        await connection.task
        assert names_and_steps(connection.content) == [("progress", 0), ("result", 1)] and connection.is_complete
        await stream.finish()

    run_on(clock, main())


ERRORS: dict[str, tuple[Exception, int, str]] = {
    "problem": (Problem("non-finite", "the loss is NaN"), 422, "non-finite"),
    "defect": (RuntimeError("s3cret"), 500, "internal"),
}


@pytest.mark.parametrize(("error", "status", "name"), ERRORS.values(), ids=ERRORS)
def test_error_within_a_stream_is_its_last_event(
    clock: Clock, caplog: pytest.LogCaptureFixture, error: Exception, status: int, name: str
) -> None:
    def events(job: Job) -> Events:
        yield "progress", Step(step=0)
        raise error

    async def main() -> None:
        stream = Stream(events)
        connection = stream.open()
        await connection.task
        first, last = connection.content.decode().removesuffix("\n\n").split("\n\n")
        assert first == 'event: progress\ndata: {"step":0}'
        line, data = last.split("\n")
        problem = json.loads(data.removeprefix("data: "))
        assert line == "event: error" and (problem["type"], problem["status"]) == (f"/problems/{name}", status)
        assert connection.status == 200 and connection.is_complete and "s3cret" not in data
        await stream.finish()

    run_on(clock, main())
    assert ("s3cret" in caplog.text) == (name == "internal")


@pytest.mark.parametrize(("error", "status", "name"), ERRORS.values(), ids=ERRORS)
def test_error_before_the_first_event_is_an_ordinary_problem(
    clock: Clock, caplog: pytest.LogCaptureFixture, error: Exception, status: int, name: str
) -> None:
    def events(job: Job) -> Events:
        raise error

    async def main() -> None:
        stream = Stream(events)
        connection = stream.open()
        await connection.task
        assert (connection.status, connection.problem()) == (status, name) and b"event" not in connection.content
        await stream.finish()

    run_on(clock, main())


@pytest.mark.parametrize("begun", [False, True], ids=["before the first event", "after the first event"])
def test_deadline_of_a_stream(clock: Clock, begun: bool) -> None:
    """Before the first event it is a 503 that says when to come again, and after it an `error` event."""

    def checked(job: Job) -> None:
        clock.now += 31.0
        job.check()

    def later(job: Job) -> Events:
        yield "progress", Step(step=0)
        checked(job)

    def events(job: Job) -> Events:
        if not begun:
            checked(job)
        return later(job)

    async def main() -> None:
        stream = Stream(events)
        connection = stream.open()
        await connection.task
        if begun:
            assert connection.status == 200
            assert b"event: error\n" in connection.content and b"/problems/deadline-exceeded" in connection.content
        else:
            assert connection.problem() == "deadline-exceeded" and int(connection.headers["retry-after"]) >= 1
        await stream.finish()

    run_on(clock, main())


def test_client_that_leaves_a_stream_stops_it(clock: Clock) -> None:
    """The request is over at once, the thread at its next event, and only then is its place free."""
    produced: list[int] = []

    async def main() -> None:
        gate = Gate()

        def events(job: Job) -> Events:
            for step in range(1000):
                produced.append(step)
                yield "note", Step(step=step)
                if step == 2:
                    gate.wait()

        stream = Stream(events)
        connection, behind = stream.open(), stream.open()
        await gate.reached.wait()
        await settle()
        assert names_and_steps(connection.content) == [("note", 0), ("note", 1), ("note", 2)]
        assert stream.execution.requests_in_flight == 2 and in_pool() == (1, 1)
        connection.left.set()
        await settle()
        assert connection.task.done() and stream.execution.requests_in_flight == 1
        job = stream.jobs[0]
        assert job.cancelled and job in stream.execution.admitted and in_pool() == (1, 1)
        behind.left.set()
        await settle()
        assert behind.task.done() and in_pool() == (1, 0) and len(stream.jobs) == 1
        sent = len(connection.messages)
        gate.may_go_on.set()
        await thread_end(job)
        assert produced == [0, 1, 2, 3] and len(connection.messages) == sent
        await stream.finish()

    run_on(clock, main())


def test_client_that_leaves_before_the_first_event_stops_the_stream(clock: Clock) -> None:
    """Its check ends the work, and there is no response for anybody."""

    async def main() -> None:
        gate = Gate()

        def events(job: Job) -> Events:
            gate.wait()
            job.check()
            raise AssertionError("the work goes on, though nobody waits for it")

        stream = Stream(events)
        connection = stream.open()
        await gate.reached.wait()
        connection.left.set()
        await settle()
        assert stream.jobs[0].cancelled and in_pool() == (1, 0)
        gate.may_go_on.set()
        await connection.task
        assert connection.status == 499
        await stream.finish()

    run_on(clock, main())


def test_handler_that_is_cancelled_before_the_stream_begins_stops_it(clock: Clock) -> None:
    """While the request is still checked."""

    async def main() -> None:
        gate = Gate()

        def steps() -> Events:
            yield "progress", Step(step=0)
            raise AssertionError("the work goes on, though nobody waits for it")

        def events(job: Job) -> Events:
            gate.wait()
            return steps()

        stream = Stream(events)
        connection = stream.open()
        await gate.reached.wait()
        connection.task.cancel()
        await asyncio.wait((connection.task,))
        await settle()
        assert stream.jobs[0].cancelled and connection.task.cancelled()
        gate.may_go_on.set()
        await stream.finish()

    run_on(clock, main())


def test_handler_of_a_stream_that_is_cancelled_stops_it(clock: Clock) -> None:
    """As by a server whose time to shut down has run out."""

    async def main() -> None:
        gate = Gate()

        def events(job: Job) -> Events:
            yield "progress", Step(step=0)
            gate.wait()
            yield "progress", Step(step=1)
            raise AssertionError("the work goes on, though nobody waits for it")

        stream = Stream(events)
        connection = stream.open()
        await gate.reached.wait()
        await settle()
        connection.task.cancel()
        await asyncio.wait((connection.task,))
        await settle()
        assert stream.jobs[0].cancelled and stream.execution.requests_in_flight == 0
        gate.may_go_on.set()
        await stream.finish()

    run_on(clock, main())


def test_stream_that_waits_past_its_deadline_is_an_ordinary_problem(clock: Clock) -> None:
    async def main() -> None:
        gate = Gate()

        def events(job: Job) -> Events:
            yield "progress", Step(step=0)
            gate.wait()

        stream = Stream(events)
        connection, late = stream.open(), stream.open()
        await gate.reached.wait()
        await settle()
        refused = stream.open()
        await settle()
        assert refused.problem() == "overloaded" and int(refused.headers["retry-after"]) >= 1
        await clock.advance(30.0)
        assert late.problem() == "deadline-exceeded" and int(late.headers["retry-after"]) >= 1
        assert in_pool() == (1, 0) and len(stream.jobs) == 1
        gate.may_go_on.set()
        await connection.task
        await stream.finish()

    run_on(clock, main())


def test_streams_of_a_shutdown_end_with_what_they_have(clock: Clock) -> None:
    """A stream that is open when SIGTERM comes can look at the deadline that is left, and goes on to its result."""

    async def main() -> None:
        gate = Gate()

        def events(job: Job) -> Events:
            gate.wait()
            for step in range(100):
                yield "note", Step(step=step)
                clock.now += 1.0
                if clock.now > job.deadline:
                    break
            yield "result", Step(step=step)

        stream = Stream(events, Settings(max_concurrency=1, shutdown_s=12.0))
        connection = stream.open()
        await gate.reached.wait()
        stream.execution.drain()
        gate.may_go_on.set()
        await connection.task
        assert names_and_steps(connection.content)[-1] == ("result", 10)
        await stream.finish()

    run_on(clock, main())


def test_nothing_is_written_for_a_client_that_has_left() -> None:
    """The step that was under way is the last one, and its result is not made into text."""
    job, sent = job_with(), list[Any]()

    def events() -> Events:
        yield "result", Step(step=1)
        job.cancelled = True
        yield "result", Step(step=2)
        raise AssertionError("another step")

    streaming._produce(events, job, sent.append, "list")
    assert sent == [b"", b'event: result\ndata: {"step":1}\n\n', None]


# --- work that pushes


def test_pushed_items_come_in_order_and_then_end() -> None:
    def work(send: Callable[[int], None]) -> None:
        for k in range(1000):
            send(k)

    assert list(pushed(work)) == list(range(1000))


def test_error_in_pushing_work_is_raised_after_its_items() -> None:
    def work(send: Callable[[int], None]) -> None:
        send(1)
        raise ZeroDivisionError("of its own")

    items = pushed(work)
    assert next(items) == 1
    with pytest.raises(ZeroDivisionError, match="of its own"):
        next(items)


def test_closing_waits_until_the_pushing_work_has_noticed() -> None:
    left, ended = threading.Event(), threading.Event()

    def work(send: Callable[[int], None]) -> None:
        send(1)
        left.wait(10)
        ended.set()

    items = pushed(work)
    assert next(items) == 1
    left.set()
    items.close()  # type: ignore[attr-defined]  # of a generator
    assert ended.is_set()


def test_error_objects_may_be_items() -> None:
    def work(send: Callable[[Exception], None]) -> None:
        send(ValueError("an item"))

    assert [str(item) for item in pushed(work)] == ["an item"]

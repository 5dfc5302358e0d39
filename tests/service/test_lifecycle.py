"""How a process starts and ends: readiness, SIGTERM, the grace period, and the count of requests under way."""

import asyncio
import atexit
import errno
import gc
import io
import json
import logging
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import StreamingResponse
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.registry import REGISTRY
from starlette.requests import ClientDisconnect
from starlette.types import Message

from app import __main__ as command
from app import main
from app.api import operations
from app.service import lifecycle, logs, metrics, middleware, processes
from app.service.execution import Execution, Job
from app.service.lifecycle import GRACE_SECONDS, IDLE_SECONDS, PATIENCE_SECONDS, QUIET_SECONDS, drained, interruptible, serving
from app.service.models import RequestModel, ResponseModel
from app.service.problems import Problem
from app.service.routing import ComputationRoute, computation
from app.settings import Settings
from tests.conftest import ROOT
from tests.service.fake_time import PATIENCE, Clock, Connection, Work, assert_idle, idle, run_on, settle
from tests.service.inprocess import service

pytestmark = pytest.mark.usefixtures("environment_as_it_was")

POLL = 0.05
"""How early or late the end of the grace period may be noticed, since the count of requests is looked at now and then."""


class Exited(BaseException):
    """Raised in place of the end of the process."""


class Kernels:
    """What `serving` loads: each part waits for the test, unless it is told to fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.warm = Work(error=error)
        self.preload = Work()
        self.threads: list[str] = []
        self.frozen: list[bool] = []

    def load(self, gradients_are_ready: Callable[[], None]) -> None:
        """Stand in for the warm-up."""
        self.threads.append(threading.current_thread().name)
        gradients_are_ready()
        self.warm()

    def load_more(self) -> None:
        """Stand in for what is loaded after it."""
        self.threads.append(threading.current_thread().name)
        self.preload()


@pytest.fixture
def freezes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls of `gc.freeze`, which are not carried out."""
    calls: list[str] = []
    monkeypatch.setattr(gc, "freeze", lambda: calls.append("freeze"))
    return calls


@pytest.fixture
def terminations() -> Iterator[list[int]]:
    """The calls of the server's own handler of SIGTERM, which a test can send to this process."""
    calls: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: calls.append(number))
    yield calls
    signal.signal(signal.SIGTERM, before)


def terminate() -> None:
    """Send this process SIGTERM. The handler has run when this returns."""
    signal.raise_signal(signal.SIGTERM)


class Item(RequestModel):
    """A request that says how to end."""

    outcome: str = "success"
    seconds: float = 0.0


class Answer(ResponseModel):
    """An answer."""

    value: float = 1.0


def app_of(settings: Settings | None = None, before_the_end: Callable[[], object] = lambda: None) -> FastAPI:
    """An app with the health checks and one computation."""
    router = APIRouter(route_class=ComputationRoute)

    @router.post("/item")
    @computation(estimate_seconds=lambda request: request.seconds)
    def item(request: Item, job: Job) -> Answer:
        before_the_end()
        job.check()
        if request.outcome == "problem":
            raise Problem("non-finite", "no number")
        if request.outcome == "defect":
            raise RuntimeError("s3cret")
        return Answer()

    return service(router, operations.router, settings=settings or Settings(max_concurrency=1, max_queue=1))


def connected() -> Request:
    """A request, already read, of a client that stays."""

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


def post(app: FastAPI, **body: Any) -> Connection:
    """Ask for the computation."""
    return Connection(app, "/item", body, content_type="application/json")


async def get(app: FastAPI, path: str) -> Connection:
    """Return the response to a GET."""
    connection = Connection(app, path, method="GET")
    await connection.task
    return connection


# --- the start


def test_process_is_ready_when_its_kernels_are(
    clock: Clock, freezes: list[str], caplog: pytest.LogCaptureFixture, terminations: list[int]
) -> None:
    """It is alive before. What is loaded after that does not delay readiness."""
    caplog.set_level(logging.INFO, "autodiff")

    async def main() -> None:
        app, kernels = app_of(), Kernels()
        async with serving(app, kernels.load, [kernels.load_more, lambda: None]):
            await kernels.warm.begun.wait()
            await clock.advance(60.0)
            assert app.state.execution.gradients_ready.is_set(), "small requests for gradients are answered already"
            readiness = await get(app, "/readyz")
            assert readiness.problem() == "overloaded" and readiness.status == 503
            assert int(readiness.headers["retry-after"]) >= 1
            assert "not ready" in readiness.json()["detail"]
            assert (await get(app, "/livez")).status == 200
            waiting = post(app)
            await settle()
            assert not waiting.messages and not caplog.records and kernels.preload.outcome is None
            kernels.warm.may_end.set()
            await waiting.task
            assert not kernels.preload.begun.is_set(), "a request was in flight"
            await clock.advance(IDLE_SECONDS)
            await kernels.preload.begun.wait()
            await settle()
            assert (await get(app, "/readyz")).status == 200
            assert waiting.status == 200 and [record.message for record in caplog.records] == ["ready"]
            assert freezes == [], "what is still being loaded is not frozen"
            kernels.preload.may_end.set()
            await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
            assert freezes == ["freeze"] and all(name.startswith("compute") for name in kernels.threads)
            execution = app.state.execution
        assert_idle(execution)

    run_on(clock, main())


def test_loading_does_not_wait_for_a_request_that_does_not_end(clock: Clock, freezes: list[str]) -> None:
    async def main() -> None:
        app, kernels = app_of(), Kernels()
        async with serving(app, kernels.load, [kernels.load_more]):
            execution = app.state.execution
            execution.requests_in_flight += 1
            kernels.warm.may_end.set()
            await execution.ready.wait()
            await clock.pass_in_steps(PATIENCE_SECONDS - 2 * IDLE_SECONDS)
            assert not kernels.preload.begun.is_set()
            await clock.pass_in_steps(4 * IDLE_SECONDS)
            await kernels.preload.begun.wait()
            kernels.preload.may_end.set()
            execution.requests_in_flight -= 1

    run_on(clock, main())


def test_failed_warm_up_ends_the_process_with_status_1(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, freezes: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """An orchestrator starts it again. The reason is logged before, and the process never says that it is ready."""
    caplog.set_level(logging.INFO, "autodiff")
    exits: list[tuple[int, bool]] = []
    logged: list[str] = []
    app = app_of()

    def end(status: int) -> None:
        exits.append((status, app.state.execution.ready.is_set()))
        logged.extend(record.levelname for record in caplog.records)
        raise Exited

    monkeypatch.setattr(os, "_exit", end)

    async def main() -> None:
        kernels = Kernels(ValueError("no compiler"))
        async with serving(app, kernels.load, [kernels.load_more, lambda: None]):
            await kernels.warm.begun.wait()
            before = asyncio.all_tasks()
            kernels.warm.may_end.set()
            done, _ = await asyncio.wait(before - {asyncio.current_task()}, return_when=asyncio.FIRST_COMPLETED)
            assert [type(task.exception()) for task in done] == [Exited]
            assert (await get(app, "/readyz")).status == 503
            assert not kernels.preload.begun.is_set()

    run_on(clock, main())
    assert exits == [(1, False)] and logged == ["ERROR"]
    assert "kernels" in caplog.text and "no compiler" in caplog.text and freezes == []


def test_process_that_ends_during_its_warm_up_waits_for_it(clock: Clock, freezes: list[str]) -> None:
    """A thread that compiles cannot be stopped. The process does not become ready any more."""

    async def main() -> None:
        app, kernels = app_of(), Kernels()
        async with serving(app, kernels.load, [kernels.load_more, lambda: None]):
            await kernels.warm.begun.wait()
            threading.Timer(0.01, kernels.warm.may_end.set).start()
        assert kernels.warm.outcome == "done"
        await settle()
        assert not app.state.execution.ready.is_set() and not kernels.preload.begun.is_set() and freezes == []

    run_on(clock, main())


@pytest.mark.parametrize(
    ("loading", "in_flight", "exits"),
    [("warm", 0, True), ("warm", 1, True), ("preload", 0, True), ("preload", 1, False), (None, 0, False)],
    ids=["compiling", "compiling, asked", "loading more", "loading more, asked", "loaded"],
)
def test_ctrl_c_ends_the_process_at_once_while_it_only_loads(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, freezes: list[str], loading: str | None, in_flight: int, exits: bool
) -> None:
    """Otherwise the server ends it in its own way, which lets requests under way end."""
    calls: list[object] = []
    monkeypatch.setattr(os, "_exit", calls.append)
    before = signal.signal(signal.SIGINT, lambda number, frame: calls.append("server"))

    async def main() -> None:
        app, kernels = app_of(), Kernels()
        app.state.owns_process = True
        async with serving(app, kernels.load, [kernels.load_more]):
            for stage in ("warm", "preload"):
                await getattr(kernels, stage).begun.wait()
                if stage == loading:
                    break
                getattr(kernels, stage).may_end.set()
            else:
                await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
            app.state.execution.requests_in_flight = in_flight
            signal.raise_signal(signal.SIGINT)
            app.state.execution.requests_in_flight = 0
            kernels.warm.may_end.set()
            kernels.preload.may_end.set()

    try:
        run_on(clock, main())
    finally:
        signal.signal(signal.SIGINT, before)
    assert calls[0] == (130 if exits else "server")  # the end of the process would be the last


@pytest.mark.parametrize("owns_process", [True, False])
def test_process_ends_without_the_kernels_that_it_compiles(
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    freezes: list[str],
    owns_process: bool,
) -> None:
    """A program or a test that runs the app goes on, and waits for the thread."""
    calls: list[int] = []
    monkeypatch.setattr(os, "_exit", calls.append)
    caplog.set_level("INFO")

    async def main() -> None:
        app, kernels = app_of(), Kernels()
        app.state.owns_process = owns_process
        async with serving(app, kernels.load, []):
            await kernels.warm.begun.wait()
            kernels.warm.may_end.set()  # which the loop does not see before the end

    run_on(clock, main())
    assert calls == ([0] if owns_process else [])
    assert ("stopped before the kernels were ready" in caplog.messages) == owns_process


def test_end_of_the_service_cancels_what_runs(clock: Clock, freezes: list[str]) -> None:
    """It waits for the thread, which ends at its next check."""

    async def main() -> None:
        begun, ended = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()
        app = app_of(Settings(max_concurrency=2))

        def work(job: Job) -> str:
            loop.call_soon_threadsafe(begun.set)
            try:
                while not ended.wait(0.001):
                    job.check()
            finally:
                ended.set()
            return "never"

        async with serving(app, lambda gradients_are_ready: None, []):
            execution = app.state.execution
            await execution.ready.wait()
            job = Job(execution.settings, clock.now + 30.0, {})
            await execution.admit(job, connected())
            task = asyncio.create_task(execution.run(job, lambda: work(job)))
            await begun.wait()
        assert job.cancelled and ended.is_set()
        with pytest.raises(ClientDisconnect):
            await task
        execution.release(job)
        execution.finish(job)
        await settle()
        assert_idle(execution)

    run_on(clock, main())


# --- the end


@dataclass
class Draining:
    """A process that serves and can be told to end."""

    clock: Clock
    terminations: list[int]
    app: FastAPI = field(default_factory=app_of)

    def __post_init__(self) -> None:
        self.execution = self.app.state.execution = Execution(self.app.state.settings)
        self.execution.ready.set()
        self.contexts = ExitStack()
        self.contexts.enter_context(drained(self.execution))
        self.contexts.callback(self.execution.close)

    def __enter__(self) -> "Draining":
        return self

    def __exit__(self, *_: object) -> None:
        self.contexts.close()

    async def assert_stops_after(self, seconds: float) -> None:
        """Assert that the server is told to stop about so many seconds from now, and only once."""
        await self.clock.pass_in_steps(seconds - POLL)
        assert self.terminations == [], f"told to stop before {seconds} s"
        await self.clock.pass_in_steps(2 * POLL)
        assert self.terminations == [signal.SIGTERM], f"not told to stop after {seconds} s"
        await self.clock.pass_in_steps(1.0)
        assert self.terminations == [signal.SIGTERM], "told to stop again"


def test_grace_period_is_as_long_as_the_documentation_says() -> None:
    """The README: for up to a second, new requests are still accepted."""
    assert GRACE_SECONDS == 1.0 and 0.0 < QUIET_SECONDS < GRACE_SECONDS


def test_grace_period_ends_early_when_it_is_quiet(
    clock: Clock, terminations: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "autodiff")

    async def main() -> None:
        with Draining(clock, terminations) as process:
            await clock.advance(5.0)
            assert not process.execution.draining and not caplog.records
            terminate()
            assert process.execution.draining, "before the handler of the signal returns"
            await settle()
            assert [record.message for record in caplog.records] == ["draining"]
            await process.assert_stops_after(QUIET_SECONDS)

    run_on(clock, main())


def test_grace_period_ends_at_the_latest_after_its_time(clock: Clock, terminations: list[int]) -> None:
    """However long the requests under way take, which the server then waits for."""

    async def main() -> None:
        with Draining(clock, terminations) as process:
            process.execution.requests_in_flight = 1
            terminate()
            await settle()
            await process.assert_stops_after(GRACE_SECONDS)

    run_on(clock, main())


@pytest.mark.parametrize("busy", [0.3, 0.7])
def test_grace_period_ends_when_it_has_become_quiet(clock: Clock, terminations: list[int], busy: float) -> None:
    async def main() -> None:
        with Draining(clock, terminations) as process:
            process.execution.requests_in_flight = 2
            terminate()
            await clock.pass_in_steps(busy)
            process.execution.requests_in_flight = 0
            await process.assert_stops_after(QUIET_SECONDS)

    run_on(clock, main())


def test_request_within_the_grace_period_prolongs_it(clock: Clock, terminations: list[int]) -> None:
    """A client that did not know yet has time to learn that its connection closes."""

    async def main() -> None:
        with Draining(clock, terminations) as process:
            terminate()
            await clock.pass_in_steps(QUIET_SECONDS - POLL)
            process.execution.requests_in_flight = 1
            await clock.pass_in_steps(POLL)
            process.execution.requests_in_flight = 0
            await process.assert_stops_after(QUIET_SECONDS)

    run_on(clock, main())


def test_sigterm_wakes_a_loop_that_waits(clock: Clock, monkeypatch: pytest.MonkeyPatch, terminations: list[int]) -> None:
    """Nothing else happens that would."""

    async def main() -> None:
        begun = asyncio.Event()
        monkeypatch.setattr(lifecycle.log, "info", lambda event: begun.set())
        with Draining(clock, terminations) as process:
            threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGTERM)).start()
            await begun.wait()
            await process.assert_stops_after(QUIET_SECONDS)

    run_on(clock, main())


def test_second_sigterm_stops_the_server_at_once(clock: Clock, terminations: list[int]) -> None:
    """The deadlines stay those of the first."""

    async def main() -> None:
        with Draining(clock, terminations) as process:
            process.execution.requests_in_flight = 1
            terminate()
            deadline = process.execution.last_deadline
            await clock.pass_in_steps(0.5)
            assert terminations == []
            terminate()
            assert terminations == [signal.SIGTERM], "before the handler of the signal returns"
            assert process.execution.draining and process.execution.last_deadline == deadline
            await settle()
            process.execution.requests_in_flight = 0

    run_on(clock, main())


def test_sigint_is_left_to_the_server(clock: Clock, terminations: list[int]) -> None:
    async def main() -> None:
        calls: list[int] = []
        before = signal.signal(signal.SIGINT, lambda number, frame: calls.append(number))
        try:
            with Draining(clock, terminations) as process:
                signal.raise_signal(signal.SIGINT)
                await clock.pass_in_steps(2.0)
                assert calls == [signal.SIGINT] and terminations == [] and not process.execution.draining
        finally:
            signal.signal(signal.SIGINT, before)

    run_on(clock, main())


def assert_handler_is_back(signum: int, within: AbstractContextManager[Any], fails: bool) -> None:
    """Assert that the handler of a signal is another one within a context, and the same as before at its end."""
    server = signal.getsignal(signum)
    with suppress(ZeroDivisionError), within:
        assert signal.getsignal(signum) is not server
        if fails:
            raise ZeroDivisionError
    assert signal.getsignal(signum) is server


@pytest.mark.parametrize("fails", [False, True], ids=["in order", "by an exception"])
def test_handler_of_the_server_is_put_back_at_the_end(clock: Clock, terminations: list[int], fails: bool) -> None:
    async def main() -> None:
        execution = Execution(Settings(max_concurrency=1))
        assert_handler_is_back(signal.SIGTERM, drained(execution), fails)
        terminate()
        assert terminations == [signal.SIGTERM] and not execution.draining
        execution.close()

    run_on(clock, main())


@pytest.mark.parametrize("fails", [False, True], ids=["in order", "by an exception"])
def test_handler_of_ctrl_c_is_put_back_at_the_end(fails: bool) -> None:
    assert_handler_is_back(signal.SIGINT, interruptible(lambda: True, owns_process=True), fails)


def test_server_without_a_handler_can_drain(clock: Clock, terminations: list[int]) -> None:
    async def main() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with Draining(clock, terminations) as process:
            terminate()
            await clock.pass_in_steps(2.0)
            terminate()
            assert process.execution.draining
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            assert not tasks, "the draining has ended"
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN

    run_on(clock, main())


def test_service_in_another_thread_leaves_signals_alone(clock: Clock, terminations: list[int]) -> None:
    """As in a test client: only the main thread may handle signals."""
    server = signal.getsignal(signal.SIGTERM)
    found: list[object] = []

    def serve() -> None:
        async def main() -> None:
            execution = Execution(Settings(max_concurrency=1))
            with drained(execution):
                found.append(signal.getsignal(signal.SIGTERM))
            execution.close()

        run_on(clock, main())

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join(PATIENCE)
    assert found == [server]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/item", {}, 200),
        ("/item", {"outcome": "problem"}, 422),
        ("/item", {"outcome": "defect"}, 500),
        ("/livez", None, 200),
        ("/readyz", None, 200),
        ("/nowhere", None, 404),
    ],
    ids=["computation", "problem", "defect", "liveness", "readiness", "not found"],
)
def test_every_response_closes_its_connection_while_draining(
    clock: Clock, terminations: list[int], caplog: pytest.LogCaptureFixture, path: str, body: Any, status: int
) -> None:
    """And only then. Readiness is a 503 by then that says when to come again; the process is still alive."""

    async def main() -> None:
        with Draining(clock, terminations) as process:

            async def ask() -> Connection:
                method = "GET" if body is None else "POST"
                connection = Connection(process.app, path, body, method, content_type="application/json")
                await connection.task
                return connection

            before = await ask()
            assert "connection" not in before.headers and before.status == status
            terminate()
            after = await ask()
            assert after.headers["connection"] == "close"
            assert after.status == (503 if path == "/readyz" else status)
            if path == "/readyz":
                assert after.problem() == "overloaded" and int(after.headers["retry-after"]) >= 1
                assert "shutting down" in after.json()["detail"]
            await idle(process.execution)

    run_on(clock, main())


def test_computations_before_and_after_sigterm_get_what_time_is_left(clock: Clock, terminations: list[int]) -> None:
    """Two seconds before the end they are answered with a 503 that says to try again."""

    async def main() -> None:
        work: list[Work] = []
        app = app_of(Settings(max_concurrency=2, shutdown_s=8.0), lambda: work.pop()())
        with Draining(clock, terminations, app) as process:
            gates = [Work(), Work()]
            work.extend(gates)
            before = post(app, seconds=1.0)
            await gates[1].begun.wait()
            terminate()
            await clock.pass_in_steps(0.5)
            after = post(app, seconds=1.0)
            await gates[0].begun.wait()
            assert process.execution.requests_in_flight == 2
            await clock.advance(5.6)
            for gate in gates:
                gate.may_end.set()
            for connection in (before, after):
                await connection.task
                assert connection.problem() == "deadline-exceeded" and "shutting down" in connection.json()["detail"]
                assert int(connection.headers["retry-after"]) >= 1 and connection.headers["connection"] == "close"
            await idle(process.execution)

    run_on(clock, main())


# --- requests under way


@dataclass
class Logged:
    """A logger that keeps its lines."""

    lines: list[dict[str, Any]] = field(default_factory=list)

    def info(self, event: str, **facts: Any) -> None:
        """Keep a line."""
        self.lines.append(facts)


def counted(status: int, problem: str | None) -> list[float]:
    """Return from the metrics: requests with this status, the sum of their seconds, and those with this problem, if any."""
    samples = [
        ("autodiff_requests_total", {"route": "/item", "status": str(status)}),
        ("autodiff_request_seconds_sum", {"route": "/item"}),
        ("autodiff_rejected_total", {"problem": problem})
        if problem
        else ("autodiff_requests_total", {"route": "/item", "status": str(status)}),
    ]
    return [REGISTRY.get_sample_value(name, labels) or 0.0 for name, labels in samples]


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (b'{"seconds": 1}', 200, None),
        (b'{"seconds": 1, "outcome": "problem"}', 422, "non-finite"),
        (b'{"seconds": 1, "outcome": "defect"}', 500, None),
        (b'{"seconds": 1, "outcome": "disconnect"}', 499, None),
    ],
    ids=["success", "problem", "defect", "disconnect"],
)
def test_requests_under_way_are_counted_until_they_end(
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    body: bytes,
    status: int,
    problem: str | None,
) -> None:
    """The grace period depends on the count. Each request leaves one line in the log, with its time by the clock."""
    logged = Logged()
    monkeypatch.setattr(middleware, "access_log", logged)

    async def main() -> None:
        gate = Work()
        app = app_of(before_the_end=gate)
        execution = app.state.execution = Execution(app.state.settings)
        execution.ready.set()
        before = counted(status, problem)
        connection = Connection(app, "/item", body, content_type="application/json", x_request_id="mine")
        await gate.begun.wait()
        assert execution.requests_in_flight == 1 and not logged.lines
        other = await get(app, "/livez")
        assert other.status == 200 and execution.requests_in_flight == 1
        logged.lines.clear()
        clock.now += 1.2345678
        if status == 499:
            connection.left.set()
            await settle()
            assert execution.requests_in_flight == 0, "its thread goes on, but nobody waits for it"
        gate.may_end.set()
        await connection.task
        assert (connection.status, connection.headers["x-request-id"]) == (status, "mine")
        await idle(execution)
        line = {"request_id": "mine", "route": "/item", "method": "POST", "status": status, "ms": 1234.568}
        assert [{name: found[name] for name in line} for found in logged.lines] == [line]
        grown = [after - was for after, was in zip(counted(status, problem), before, strict=True)]
        assert grown == pytest.approx([1.0, 1.2345678, 1.0])
        assert logged.lines[0].get("problem") == problem and logged.lines[0]["bytes_in"] == len(body)
        execution.close()

    run_on(clock, main())


def test_request_whose_handler_is_cancelled_is_counted_down(clock: Clock) -> None:
    async def main() -> None:
        gate = Work()
        app = app_of(before_the_end=gate)
        execution = app.state.execution = Execution(app.state.settings)
        execution.ready.set()
        connection = post(app, seconds=1.0)
        await gate.begun.wait()
        connection.task.cancel()
        await asyncio.wait((connection.task,))
        assert connection.task.cancelled() and execution.requests_in_flight == 0
        gate.may_end.set()
        await idle(execution)
        execution.close()

    run_on(clock, main())


def test_request_whose_client_leaves_during_the_upload_is_counted_down(clock: Clock) -> None:
    async def main() -> None:
        app = app_of()
        execution = app.state.execution = Execution(app.state.settings)
        execution.ready.set()
        connection = post(app)
        connection.requests[0]["more_body"] = True
        await settle()
        assert execution.requests_in_flight == 1 and not connection.messages
        connection.left.set()
        await connection.task
        assert connection.status == 499
        await idle(execution)
        execution.close()

    run_on(clock, main())


def test_request_without_a_key_is_counted_down(clock: Clock) -> None:
    async def main() -> None:
        app = app_of(Settings(max_concurrency=1, api_keys="secret"))
        execution = app.state.execution = Execution(app.state.settings)
        execution.ready.set()
        connection = post(app)
        await connection.task
        assert connection.problem() == "unauthorized"
        await idle(execution)
        execution.close()

    run_on(clock, main())


def test_failure_within_a_response_is_raised_to_the_server(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """The server then closes the connection: a second response cannot follow the first."""

    async def main() -> None:
        app = app_of()
        execution = app.state.execution = Execution(app.state.settings)

        async def parts() -> AsyncIterator[bytes]:
            yield b"part"
            raise RuntimeError("s3cret")

        app.add_api_route("/parts", lambda: StreamingResponse(parts()), methods=["GET"])
        connection = Connection(app, "/parts", method="GET")
        await asyncio.wait((connection.task,))
        assert connection.task.exception() is not None
        assert [message["type"] for message in connection.messages] == ["http.response.start", "http.response.body"]
        assert connection.status == 200 and not connection.is_complete and "s3cret" in caplog.text
        await idle(execution)
        execution.close()

    run_on(clock, main())


# --- the log


class File(io.BytesIO):
    """A file that keeps what is written at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> int:
        """Keep what is written."""
        self.written.append(bytes(data))
        return len(data)


def test_log_lines_of_one_turn_are_written_together_and_once(clock: Clock) -> None:
    async def main() -> None:
        file = File()
        lines = logs.BufferedLines(file)
        lines.info(b"one")
        lines.warning(b"two")
        assert file.written == []
        await settle()
        assert file.written == [b"one\ntwo\n"]
        lines.error(b"three")
        await settle()
        assert file.written == [b"one\ntwo\n", b"three\n"]

    run_on(clock, main())


def test_log_line_where_no_loop_runs_is_written_at_once() -> None:
    file = File()
    lines = logs.BufferedLines(file)
    lines.info(b"one")
    lines.info(b"two")
    assert file.written == [b"one\n", b"two\n"]


# --- the process


@pytest.mark.parametrize(
    ("workers", "given", "shared"),
    [(1, None, False), (2, None, True), (2, "mine", True)],
    ids=["one worker", "two workers", "in a folder of the user's"],
)
def test_workers_count_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, workers: int, given: str | None, shared: bool
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", given or "")
    if given is None:
        monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    processes.prepare_metrics(workers)
    found = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    assert (found is not None) == shared and (given is None or found == given)
    assert len(list(tmp_path.iterdir())) == (shared and given is None)


def dead_process() -> int:
    """The id of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_folders_of_metrics_do_not_pile_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """That of a process which runs stays, and so does what only looks like one."""
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = {f"autodiff-metrics-{os.getpid()}-x", "autodiff-metrics-", "autodiff-metrics-old", "other"}
    for name in (*kept, f"autodiff-metrics-{dead_process()}-x"):
        (tmp_path / name).mkdir()
    at_exit: list[tuple[Any, ...]] = []
    monkeypatch.setattr(atexit, "register", lambda *call, **options: at_exit.append(call))
    processes.prepare_metrics(2)
    made = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    assert {folder.name for folder in tmp_path.iterdir()} == kept | {made.name}
    assert made.name.startswith(f"autodiff-metrics-{os.getpid()}-"), "the next start removes it if this process is killed"
    assert at_exit == [(shutil.rmtree, made)]


def test_folder_that_cannot_be_removed_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The workers count together all the same. A file cannot be removed as a folder is, whoever runs the test."""
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(atexit, "register", lambda *call, **options: None)
    left = tmp_path / f"autodiff-metrics-{dead_process()}-x"
    left.touch()
    processes.prepare_metrics(2)
    assert left.exists() and Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).is_dir()


def test_process_of_somebody_else_counts_as_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may not be asked, so its metrics are left alone."""

    def kill(process: int, number: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "kill", kill)
    assert processes.is_alive("1")


def test_worker_that_was_killed_runs_nothing(tmp_path: Path) -> None:
    """What it has counted stays."""
    dead, names = dead_process(), ("gauge_livesum_{}.db", "counter_{}.db", "histogram_{}.db")
    for process in (os.getpid(), dead):
        for name in names:
            (tmp_path / name.format(process)).touch()
    processes.forget_dead_workers(tmp_path)
    left = {file.name for file in tmp_path.iterdir()}
    expected = {name.format(process) for process in (os.getpid(), dead) for name in names}
    assert left == expected - {f"gauge_livesum_{dead}.db"}


def test_metrics_leave_out_what_a_worker_that_was_killed_has_been_doing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    mapped: Any = MmapedDict  # which has no types
    for process, kind, name in (
        (os.getpid(), "gauge_livesum", "autodiff_pool_running"),
        (dead_process(), "gauge_livesum", "autodiff_pool_running"),
        (dead_process(), "counter", "autodiff_requests_total"),
    ):
        file = mapped(str(tmp_path / f"{kind}_{process}.db"))
        file.write_value(json.dumps([name.removesuffix("_total"), name, {}, "help"]), 3.0, 0.0)
        file.close()
    lines = metrics.exposition().decode().splitlines()
    assert "autodiff_pool_running 3.0" in lines and "autodiff_requests_total 3.0" in lines


KILLED = """
import os
from app.service import metrics
if not os.fork():
    metrics.RUNNING.inc(2)
    metrics.QUEUED.inc(3)
    metrics.REQUESTS.labels("/v1/forward", 200).inc(4)
    os._exit(0)
os.wait()
metrics.RUNNING.inc(5)
print(metrics.exposition().decode())
"""


def test_what_a_killed_worker_had_in_its_pool_is_in_no_metric(tmp_path: Path) -> None:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", KILLED], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert "autodiff_pool_running 5.0" in found and "autodiff_pool_queued 3.0" not in found
    assert 'autodiff_requests_total{route="/v1/forward",status="200"} 4.0' in found


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, terminations: list[int]) -> list[dict[str, Any]]:
    """The arguments with which `python -m app` starts its server, which is not started; log and metrics stay as they are."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: calls.append({"app": app} | options))
    monkeypatch.setattr(logs, "configure_logging", lambda level: None)
    monkeypatch.setattr(command, "check_address", lambda host, port: None)  # somebody may listen there
    monkeypatch.setattr(processes, "prepare_metrics", lambda workers: calls.append({"metrics of": workers}))
    return calls


def test_flags_come_before_the_settings(monkeypatch: pytest.MonkeyPatch, served: list[dict[str, Any]]) -> None:
    """The workers' metrics are prepared before the server starts."""
    for name, value in {"HOST": "::1", "PORT": "1", "WORKERS": "2"}.items():
        monkeypatch.setenv(f"AUTODIFF_{name}", value)
    command.main([])
    command.main(["--host", "0.0.0.0", "--port", "9", "--workers", "3"])
    assert [call["metrics of"] for call in served[::2]] == [2, 3]
    found = [(call["host"], call["port"], call["workers"]) for call in served[1::2]]
    assert found == [("::1", 1, 2), ("0.0.0.0", 9, 3)]
    # The worker processes read the settings again: whom /mcp answers, and among how many the memory is divided.
    assert (Settings().host, Settings().workers) == ("0.0.0.0", 3)


@pytest.mark.parametrize(("seconds", "waits"), [("0", 1), ("0.4", 1), ("25", 25), ("3600", 3600)])
def test_server_waits_for_requests_as_long_as_the_setting_says(
    monkeypatch: pytest.MonkeyPatch, served: list[dict[str, Any]], seconds: str, waits: int
) -> None:
    """At least a second: the server takes none for no limit."""
    monkeypatch.setenv("AUTODIFF_SHUTDOWN_S", seconds)
    command.main([])
    assert served[-1]["timeout_graceful_shutdown"] == waits and served[-1]["app"] == "app.main:served"


def test_process_of_the_server_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its event loop waits a millisecond for a thread, and objects that stay are looked through once in ten million."""
    done: list[object] = []
    monkeypatch.setattr(main, "configure_logging", done.append)
    monkeypatch.setattr(main, "keep_heaps_small", lambda: done.append("heaps"))
    monkeypatch.setenv("AUTODIFF_LOG_LEVEL", "error")
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    try:
        app = main.served()
        assert sys.getswitchinterval() == pytest.approx(0.001)
        assert math.prod(gc.get_threshold()) == 10_000_000
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*threshold)
    assert done == ["error", "heaps"]
    assert app.state.owns_process and app.state.settings.log_level == "error"


def test_orderly_end_by_sigterm_is_a_success(served: list[dict[str, Any]], terminations: list[int]) -> None:
    """The server sends itself again the signal that ended it."""
    command.main([])
    with pytest.raises(SystemExit) as end:
        terminate()
    assert end.value.code == 0

"""A clock that moves only when a test moves it, an event loop that goes by it, and clients of an app on that loop."""

import asyncio
import json
import selectors
import threading
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any, TypeVar

import pytest
from fastapi import FastAPI
from starlette.types import Message

from app.service import metrics
from app.service.execution import Execution, Job
from app.service.places import Ticket
from app.settings import Settings

T = TypeVar("T")

PATIENCE = 10.0
"""Real seconds after which a test that waits for nothing fails, instead of waiting for ever."""


class Clock:
    """A stand-in for the module `time`: it stands still until a test moves it."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def perf_counter(self) -> float:
        """Return the time in seconds."""
        return self.now

    def install(self, monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
        """Let these modules read this clock."""
        for module in modules:
            monkeypatch.setattr(module, "time", self)

    async def advance(self, seconds: float) -> None:
        """Move the clock, and let everything that is due happen."""
        self.now += seconds
        await settle()

    async def pass_in_steps(self, seconds: float, step: float = 0.02) -> None:
        """Move the clock in small steps, for code that looks at it again and again."""
        end = self.now + seconds
        while self.now < end - step / 2:
            await self.advance(step)


async def settle() -> None:
    """Let the callbacks and tasks of the event loop run until they wait for a thread, a clock or a client."""
    for _ in range(50):
        await asyncio.sleep(0)


class _Selector(selectors.SelectSelector):
    """A selector that waits for threads, and never for the clock."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        waits = timeout is None or timeout > 0
        ready = super().select(PATIENCE if waits else 0)
        assert ready or not waits, "the event loop waits for something that never happens"
        return ready


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose timers go by a clock of ours."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(_Selector())
        self.clock = clock

    def time(self) -> float:
        return self.clock.now


def run_on(clock: Clock, main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on an event loop that goes by the clock."""
    with asyncio.Runner(loop_factory=lambda: Loop(clock)) as runner:
        return runner.run(main)


def run_with_execution(clock: Clock, settings: Settings, test: Callable[[Execution], Coroutine[Any, Any, None]]) -> None:
    """Run a test with an execution that is ready. At its end no job and no task may be left, and every place must be free."""

    async def main() -> None:
        execution = Execution(settings)
        execution.ready.set()
        try:
            await test(execution)
            await idle(execution)
            assert asyncio.all_tasks() == {asyncio.current_task()}, "every task of a job ends with it"
        finally:
            execution.close()

    run_on(clock, main())


def in_pool() -> tuple[float, float]:
    """Return what the metrics say: how many jobs run, and how many wait. The registry would collect all others too."""
    (running,), (queued,) = metrics.RUNNING.collect(), metrics.QUEUED.collect()
    return running.samples[0].value, queued.samples[0].value


def free_places(execution: Execution) -> int:
    """Return how many long jobs could start now. It gives tickets to all places, and takes them back."""
    tickets = [Ticket("free places", is_short=False) for _ in range(execution.settings.max_concurrency + 1)]
    for ticket in tickets:
        execution.places.add(ticket)
    taken = sum(ticket.granted.done() for ticket in tickets)
    for ticket in reversed(tickets):
        execution.places.remove(ticket)
    return taken


def assert_idle(execution: Execution) -> None:
    """Assert that nothing runs or waits, in the books and in the metrics, and that all places are free."""
    assert execution.admitted == set()
    assert in_pool() == (0, 0)
    assert free_places(execution) == execution.settings.max_concurrency
    assert execution.requests_in_flight == 0
    assert not execution.in_flight and not execution.budget.shares, "nothing is held for anybody"


async def thread_end(job: Job) -> None:
    """Wait until the job's thread has ended, and let what follows happen."""
    if job.thread is not None:  # it is forgotten when it has ended
        await asyncio.wait((job.thread,))
    await settle()


async def idle(execution: Execution) -> None:
    """Wait for the threads of all jobs, and assert that nothing is left."""
    for job in list(execution.admitted):
        if job.thread is not None:
            await asyncio.wait((job.thread,))
    await settle()
    assert_idle(execution)


class Work:
    """Work that begins, waits until the test lets it go on, checks whether it must end, and returns "done"."""

    def __init__(self, job: Job | None = None, error: Exception | None = None) -> None:
        self.job = job
        self.error = error
        self.loop = asyncio.get_running_loop()
        self.begun = asyncio.Event()
        self.may_end = threading.Event()
        self.outcome: object = None

    def __call__(self) -> str:
        """Do the work."""
        self.loop.call_soon_threadsafe(self.begun.set)
        assert self.may_end.wait(PATIENCE), "nobody let the work end"
        try:
            if self.job is not None:
                self.job.check()
            if self.error is not None:
                raise self.error
        except Exception as error:
            self.outcome = error
            raise
        self.outcome = "done"
        return "done"


class Connection:
    """One request over ASGI, by a client that stays until it leaves. It must be made where a loop runs."""

    def __init__(self, app: FastAPI, path: str, body: object = None, method: str = "POST", **headers: str) -> None:
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.messages: list[Message] = []
        self.left = asyncio.Event()
        self.readers = 0
        self.requests: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]
        names = {name.lower().replace("_", "-"): value for name, value in headers.items()}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in names.items()],
            "client": ("127.0.0.1", 1),
            "server": ("test", 80),
        }
        self.task = asyncio.create_task(self._serve(app, scope))

    async def _serve(self, app: FastAPI, scope: dict[str, Any]) -> None:
        await app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if self.requests:
            return self.requests.pop()
        self.readers += 1
        try:
            await self.left.wait()
        finally:
            self.readers -= 1
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        """The status of the response; 0 before it begins."""
        return int(self.messages[0]["status"]) if self.messages else 0

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the response."""
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def content(self) -> bytes:
        """The body as far as it has arrived."""
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    @property
    def is_complete(self) -> bool:
        """Whether the response has ended."""
        return len(self.messages) > 1 and not self.messages[-1].get("more_body", False)

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.content)

    def problem(self) -> str:
        """The name of the problem that the response is."""
        assert self.headers["content-type"] == "application/problem+json"
        found = self.json()
        assert found["status"] == self.status
        return str(found["type"]).removeprefix("/problems/")

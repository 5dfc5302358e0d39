"""Where work runs: on the event loop or in the pool, until its deadline, and only while somebody waits for it."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Message

from app.service.execution import Execution, Job
from app.service.problems import Problem
from app.settings import Settings

SETTINGS = Settings(max_concurrency=1, max_queue=1)


def started(execution: Execution) -> Job:
    """A job that starts now."""
    return Job(execution.settings, time.perf_counter() + execution.settings.compute_timeout_s, {})


class Client:
    """A client that stays connected until it leaves."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    def request(self) -> Request:
        """A request whose body has been read."""

        async def receive() -> Message:
            await self.left.wait()
            return {"type": "http.disconnect"}

        return Request({"type": "http", "method": "POST", "headers": []}, receive)


def run(test: Callable[[Execution], Awaitable[None]], settings: Settings = SETTINGS) -> None:
    """Run a test with an execution that is closed after it."""

    async def with_execution() -> None:
        execution = Execution(settings)
        try:
            await asyncio.wait_for(test(execution), 20)
        finally:
            execution.close()

    asyncio.run(with_execution())


def test_work_runs_in_a_thread_of_the_pool() -> None:
    async def test(execution: Execution) -> None:
        job = started(execution)
        await execution.admit(job, Client().request())
        assert (await execution.run(job, lambda: threading.current_thread().name)).startswith("compute")
        execution.release(job)
        assert not execution.admitted and not job.admitted

    run(test)


def test_error_of_the_work_is_raised() -> None:
    async def test(execution: Execution) -> None:
        job = started(execution)
        await execution.admit(job, Client().request())
        with pytest.raises(ZeroDivisionError):
            await execution.run(job, lambda: 1 / 0)
        execution.release(job)

    run(test)


def test_full_queue_is_refused_at_once() -> None:
    async def test(execution: Execution) -> None:
        running, waiting = started(execution), started(execution)
        await execution.admit(running, Client().request())
        admission = asyncio.create_task(execution.admit(waiting, Client().request()))
        await asyncio.sleep(0)
        with pytest.raises(Problem, match="1 computations are waiting, and AUTODIFF_MAX_QUEUE is 1") as caught:
            await execution.admit(started(execution), Client().request())
        assert caught.value.kind.name == "overloaded" and caught.value.headers == {"Retry-After": "1"}
        assert not admission.done()
        execution.release(running)
        await admission
        execution.release(waiting)
        assert not execution.admitted

    run(test)


def test_waiting_job_ends_at_its_deadline() -> None:
    async def test(execution: Execution) -> None:
        running, waiting = started(execution), Job(SETTINGS, time.perf_counter() + 0.05, {})
        await execution.admit(running, Client().request())
        with pytest.raises(Problem, match="AUTODIFF_COMPUTE_TIMEOUT_S") as caught:
            await execution.admit(waiting, Client().request())
        assert caught.value.kind.name == "deadline-exceeded" and execution.admitted == {running}
        execution.release(running)

    run(test)


def test_client_that_leaves_gives_up_its_place_in_the_queue() -> None:
    async def test(execution: Execution) -> None:
        running, waiting, client = started(execution), started(execution), Client()
        await execution.admit(running, Client().request())
        admission = asyncio.create_task(execution.admit(waiting, client.request()))
        await asyncio.sleep(0)
        client.left.set()
        with pytest.raises(ClientDisconnect):
            await admission
        assert execution.admitted == {running}
        execution.release(running)

    run(test)


def test_place_is_free_only_when_the_thread_has_ended() -> None:
    """Else threads of clients that left would pile up beside those of others."""

    async def test(execution: Execution) -> None:
        job, client, may_end = started(execution), Client(), threading.Event()
        await execution.admit(job, client.request())
        outcome = asyncio.create_task(execution.run(job, may_end.wait))
        await asyncio.sleep(0.01)
        client.left.set()
        with pytest.raises(ClientDisconnect):
            await outcome
        assert job.cancelled
        with pytest.raises(ClientDisconnect):
            job.check()
        execution.release(job)
        assert execution.admitted == {job} and execution.places.locked()
        may_end.set()
        while execution.admitted:
            await asyncio.sleep(0.005)
        assert not execution.places.locked()

    run(test)


def test_check_raises_past_the_deadline() -> None:
    Job(SETTINGS, time.perf_counter() + 60, {}).check()
    with pytest.raises(Problem, match="the computation took over 30 s") as caught:
        Job(SETTINGS, time.perf_counter() - 1, {}).check()
    assert caught.value.headers == {"Retry-After": "1"}


@pytest.mark.parametrize(("shutdown_s", "is_stopping"), [(5.0, True), (3600.0, False)])
def test_drain_brings_deadlines_forward(shutdown_s: float, is_stopping: bool) -> None:
    async def test(execution: Execution) -> None:
        job = started(execution)
        await execution.admit(job, Client().request())
        before = job.deadline
        execution.drain()
        assert execution.draining and job.stopping == is_stopping
        assert (job.deadline < before) == is_stopping
        assert ("shutting down" in job.deadline_exceeded().detail) == is_stopping
        execution.release(job)

    run(test, Settings(max_concurrency=1, shutdown_s=shutdown_s))

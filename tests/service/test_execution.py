"""Where work runs: on the event loop or in the pool, until its deadline, and only while somebody waits for it."""

import asyncio
import gc
import gzip
import json
import math
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.requests import ClientDisconnect
from starlette.types import Message

from app.api.networks import routes
from app.main import create_app
from app.nn import MLP, losses, optimizers, training
from app.service import bodies
from app.service import execution as execution_module
from app.service.execution import INLINE_BYTES, INLINE_SECONDS, TRIM_SECONDS, Execution, Job
from app.service.models import RequestModel, ResponseModel
from app.service.problems import Problem
from app.service.routing import ComputationRoute, computation
from app.settings import Settings
from tests.service.fake_time import (
    Clock,
    Connection,
    Work,
    free_places,
    idle,
    in_pool,
    run_on,
    run_with_execution,
    settle,
    thread_end,
)
from tests.service.inprocess import service

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


def test_work_may_use_the_threads_that_nobody_else_needs() -> None:
    async def test(execution: Execution) -> None:
        first, second, ends = started(execution), started(execution), threading.Event()
        assert first.threads == 1, "on the event loop"
        await execution.admit(first, Client().request())
        assert await execution.run(first, lambda: first.threads) == 3
        await execution.admit(second, Client().request())
        running = asyncio.create_task(execution.run(second, lambda: ends.wait(10) and second.threads))
        assert await execution.run(first, lambda: first.threads) == 2
        ends.set()
        assert await running == 2
        execution.release(first)
        execution.release(second)

    run(test, Settings(max_concurrency=3, max_queue=1))


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


@pytest.mark.alone
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


@pytest.mark.alone
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
        assert execution.admitted == {job} and free_places(execution) == 0
        may_end.set()
        while execution.admitted:
            await asyncio.sleep(0.005)
        assert free_places(execution) == 1

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
        assert (job.deadline_exceeded().detail == "the service is shutting down; try again") == is_stopping
        execution.release(job)

    run(test, Settings(max_concurrency=1, shutdown_s=shutdown_s))


# --- under a clock that stands still


def job_of(clock: Clock, execution: Execution, seconds: float = 30.0) -> Job:
    """A job that may take so many seconds from now on."""
    return Job(execution.settings, clock.now + seconds, {})


async def serve(execution: Execution, job: Job, work: Callable[[], str], client: Client | None = None) -> str:
    """Do what a route does with a job."""
    try:
        await execution.admit(job, (client or Client()).request())
        return await execution.run(job, work)
    finally:
        execution.release(job)
        execution.finish(job)


@dataclass
class Served:
    """A job on its way: its work, its client, and the task that handles it."""

    execution: Execution
    clock: Clock
    seconds: float = 30.0
    error: Exception | None = None
    client: Client = field(default_factory=Client)

    def __post_init__(self) -> None:
        self.job = job_of(self.clock, self.execution, self.seconds)
        self.work = Work(self.job, self.error)
        self.task = asyncio.create_task(serve(self.execution, self.job, self.work, self.client))

    async def end(self) -> None:
        """Let the work end, and check that it does."""
        await self.work.begun.wait()
        self.work.may_end.set()
        assert await self.task == "done"
        await settle()


async def refusal(task: "asyncio.Task[str]", name: str) -> Problem:
    """Return the problem of this name with which a job is answered. A client is told when to come again."""
    await settle()
    assert task.done()
    problem = task.exception()
    assert isinstance(problem, Problem) and problem.kind.name == name and problem.kind.status == 503
    assert problem.headers is not None and int(problem.headers["Retry-After"]) >= 1
    return problem


ONE = Settings(max_concurrency=1, max_queue=4)


@pytest.mark.parametrize("place_is_free", [False, True], ids=["still in the queue", "with a place that has just become free"])
def test_job_past_its_deadline_leaves_the_queue_and_the_next_one_runs(clock: Clock, place_is_free: bool) -> None:
    async def test(execution: Execution) -> None:
        first = Served(execution, clock)
        await first.work.begun.wait()
        late, behind = Served(execution, clock, seconds=5.0), Served(execution, clock)
        await settle()
        assert in_pool() == (1, 2)
        await clock.advance(4.5)
        assert not late.task.done()
        if place_is_free:
            first.work.may_end.set()
            clock.now += 1.0
            await first.task
        else:
            await clock.advance(0.5)
        problem = await refusal(late.task, "deadline-exceeded")
        assert "AUTODIFF_COMPUTE_TIMEOUT_S" in problem.detail
        assert late.work.outcome is None and not late.work.begun.is_set() and late.job.thread is None
        if not place_is_free:
            assert in_pool() == (1, 1) and execution.admitted == {first.job, behind.job}
            await first.end()
        await behind.work.begun.wait()
        assert in_pool() == (1, 0)
        await behind.end()

    run_with_execution(clock, ONE, test)


def test_time_in_the_queue_counts_against_the_deadline(clock: Clock) -> None:
    async def test(execution: Execution) -> None:
        first = Served(execution, clock)
        second = Served(execution, clock, seconds=5.0)
        await first.work.begun.wait()
        await clock.advance(4.0)
        await first.end()
        await second.work.begun.wait()
        clock.now += 2.0
        second.work.may_end.set()
        await refusal_after(second)

    async def refusal_after(served: Served) -> None:
        await asyncio.wait((served.task,))
        await refusal(served.task, "deadline-exceeded")

    run_with_execution(clock, ONE, test)


@pytest.mark.parametrize(("late", "runs"), [(0.0, True), (1e-9, False)], ids=["at the deadline", "just after the deadline"])
def test_only_time_past_the_deadline_is_too_late(clock: Clock, late: float, runs: bool) -> None:
    """Both where a job asks for a place that is free and where its work checks the clock."""

    async def test(execution: Execution) -> None:
        served = Served(execution, clock, seconds=-late)
        if runs:
            await served.end()
            return
        await refusal(served.task, "deadline-exceeded")
        assert not served.work.begun.is_set()

    run_with_execution(clock, ONE, test)
    job = Job(ONE, clock.now - late, {})
    if runs:
        job.check()
    else:
        with pytest.raises(Problem, match="took over 30 s"):
            job.check()


def test_jobs_run_in_the_order_in_which_they_came(clock: Clock) -> None:
    async def test(execution: Execution) -> None:
        jobs = [Served(execution, clock) for _ in range(4)]
        for k, served in enumerate(jobs):
            await served.work.begun.wait()
            await settle()
            assert [other.work.begun.is_set() for other in jobs] == [other <= k for other in range(4)]
            assert in_pool() == (1, 3 - k)
            await served.end()

    run_with_execution(clock, ONE, test)


def test_as_many_jobs_run_at_once_as_the_pool_has_threads(clock: Clock) -> None:
    async def test(execution: Execution) -> None:
        jobs = [Served(execution, clock) for _ in range(4)]
        for served in jobs[:3]:
            await served.work.begun.wait()
        await settle()
        assert not jobs[3].work.begun.is_set() and jobs[3].job.thread is None
        assert in_pool() == (3, 1) and free_places(execution) == 0
        for served in jobs:
            await served.end()

    run_with_execution(clock, Settings(max_concurrency=3, max_queue=4), test)


@pytest.mark.parametrize(
    ("threads", "queue"), [(1, 0), (2, 0), (1, 1), (2, 3)], ids=["1 and none", "2 and none", "1 and 1", "2 and 3"]
)
def test_exactly_the_queue_fits_and_one_more_is_refused(clock: Clock, threads: int, queue: int) -> None:
    """The parameters are the threads and the places in the queue. Once a job has ended there is room for another."""

    async def test(execution: Execution) -> None:
        jobs = [Served(execution, clock) for _ in range(threads + queue)]
        await settle()
        assert in_pool() == (threads, queue) and len(execution.admitted) == threads + queue
        refused = Served(execution, clock)
        problem = await refusal(refused.task, "overloaded")
        assert f"AUTODIFF_MAX_QUEUE is {queue}" in problem.detail and f"{queue} computations are waiting" in problem.detail
        assert not refused.job.admitted and refused.job not in execution.admitted and refused.job.watcher is None
        assert in_pool() == (threads, queue) and free_places(execution) == 0
        await jobs[0].end()
        jobs.append(Served(execution, clock))
        await settle()
        assert in_pool() == (threads, queue)
        for served in jobs[1:]:
            await served.end()

    run_with_execution(clock, Settings(max_concurrency=threads, max_queue=queue), test)


def test_client_that_left_before_its_place_was_given(clock: Clock) -> None:
    async def test(execution: Execution) -> None:
        client = Client()
        client.left.set()
        served = Served(execution, clock, client=client)
        served.work.may_end.set()
        await asyncio.wait((served.task,))
        assert isinstance(served.task.exception(), ClientDisconnect) and served.job.cancelled
        if served.job.thread is not None:
            await thread_end(served.job)
        assert served.work.outcome != "done"
        await Served(execution, clock).end()

    run_with_execution(clock, ONE, test)


def test_client_that_leaves_between_its_place_and_its_work(clock: Clock) -> None:
    """The handler is told at once, and the work ends at its first check."""

    async def test(execution: Execution) -> None:
        client, job = Client(), job_of(clock, execution)
        await execution.admit(job, client.request())
        client.left.set()
        await settle()
        work = Work(job)
        with pytest.raises(ClientDisconnect):
            await execution.run(job, work)
        assert work.outcome is None, "nobody waits for the thread"
        execution.release(job)
        execution.finish(job)
        assert execution.admitted == {job} and in_pool() == (1, 0) and free_places(execution) == 0 and execution.in_flight
        work.may_end.set()
        await thread_end(job)
        assert isinstance(work.outcome, ClientDisconnect)

    run_with_execution(clock, ONE, test)


def test_client_that_leaves_the_queue_makes_room_at_once(clock: Clock) -> None:
    """The others keep their places, and the order stays."""

    async def test(execution: Execution) -> None:
        first, leaving, last = (Served(execution, clock) for _ in range(3))
        await first.work.begun.wait()
        leaving.client.left.set()
        await settle()
        assert leaving.task.done() and isinstance(leaving.task.exception(), ClientDisconnect)
        assert execution.admitted == {first.job, last.job} and in_pool() == (1, 1)
        replacement = Served(execution, clock)
        await settle()
        assert in_pool() == (1, 2) and not replacement.task.done()
        await first.end()
        await last.end()
        await replacement.end()
        assert not leaving.work.begun.is_set()

    run_with_execution(clock, Settings(max_concurrency=1, max_queue=2), test)


def test_client_that_leaves_while_its_thread_runs(clock: Clock) -> None:
    """Its handler ends at once. Its place is free when the thread has ended, which it does at its next check."""

    async def test(execution: Execution) -> None:
        leaving, waiting = Served(execution, clock), Served(execution, clock)
        await leaving.work.begun.wait()
        leaving.client.left.set()
        await settle()
        assert leaving.task.done() and isinstance(leaving.task.exception(), ClientDisconnect)
        assert leaving.job.cancelled and leaving.work.outcome is None
        assert execution.admitted == {leaving.job, waiting.job} and in_pool() == (1, 1)
        assert not waiting.work.begun.is_set()
        leaving.work.may_end.set()
        await thread_end(leaving.job)
        assert isinstance(leaving.work.outcome, ClientDisconnect)
        assert execution.admitted == {waiting.job} and in_pool() == (1, 0)
        await waiting.end()

    run_with_execution(clock, ONE, test)


@pytest.mark.parametrize("error", [None, ZeroDivisionError("s3cret")], ids=["returns", "raises"])
@pytest.mark.parametrize("leaves", [True, False], ids=["the client leaves", "the server gives up"])
def test_outcome_of_abandoned_work_is_not_reported(
    clock: Clock, caplog: pytest.LogCaptureFixture, leaves: bool, error: Exception | None
) -> None:
    """It is nobody's any more, so the log does not have it as an exception that was forgotten."""

    async def test(execution: Execution) -> None:
        client = Client()
        job = job_of(clock, execution)
        work = Work(error=error)
        task = asyncio.create_task(serve(execution, job, work, client))
        await work.begun.wait()
        (client.left.set if leaves else task.cancel)()
        await settle()
        assert task.done() and (not leaves or isinstance(task.exception(), ClientDisconnect))
        work.may_end.set()
        await thread_end(job)
        job.thread = None

    run_with_execution(clock, ONE, test)
    gc.collect()
    assert not caplog.records


def test_work_that_is_cancelled_before_it_begins_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        thread = asyncio.get_running_loop().create_future()
        thread.add_done_callback(execution_module._ignore_result)
        thread.cancel()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert not caplog.records


def test_messages_before_the_disconnect_do_not_cancel_a_job(clock: Clock) -> None:
    async def test(execution: Execution) -> None:
        messages: asyncio.Queue[Message] = asyncio.Queue()
        job = job_of(clock, execution)
        await execution.admit(job, Request({"type": "http", "method": "POST", "headers": []}, messages.get))
        messages.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        await settle()
        assert not job.cancelled
        messages.put_nowait({"type": "http.disconnect"})
        await settle()
        assert job.cancelled
        execution.release(job)
        execution.finish(job)

    run_with_execution(clock, ONE, test)


def test_exception_in_the_work_frees_its_place(clock: Clock) -> None:
    async def test(execution: Execution) -> None:
        failing = Served(execution, clock, error=ZeroDivisionError("no"))
        behind = Served(execution, clock)
        await failing.work.begun.wait()
        assert in_pool() == (1, 1)
        failing.work.may_end.set()
        with pytest.raises(ZeroDivisionError):
            await failing.task
        await behind.work.begun.wait()
        assert execution.admitted == {behind.job} and in_pool() == (1, 0)
        await behind.end()

    run_with_execution(clock, ONE, test)


@pytest.mark.parametrize("place_is_free", [False, True], ids=["in the queue", "as a place becomes free"])
def test_handler_that_is_cancelled_while_it_waits_loses_no_place(clock: Clock, place_is_free: bool) -> None:
    async def test(execution: Execution) -> None:
        first = job_of(clock, execution)
        await execution.admit(first, Client().request())
        job = job_of(clock, execution)
        admission = asyncio.create_task(execution.admit(job, Client().request()))
        await asyncio.sleep(0)
        behind = Served(execution, clock)
        await settle()
        if place_is_free:
            execution.release(first)
        admission.cancel()
        with pytest.raises(asyncio.CancelledError):
            await admission
        await settle()
        assert not job.admitted and job not in execution.admitted
        if not place_is_free:
            assert in_pool() == (1, 1)
            execution.release(first)
        execution.finish(first)
        execution.finish(job)
        await behind.end()

    run_with_execution(clock, ONE, test)


def test_handler_that_is_cancelled_while_its_thread_runs_keeps_its_place_until_then(clock: Clock) -> None:
    async def test(execution: Execution) -> None:
        cancelled, behind = Served(execution, clock), Served(execution, clock)
        await cancelled.work.begun.wait()
        cancelled.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled.task
        await settle()
        assert execution.admitted == {cancelled.job, behind.job} and in_pool() == (1, 1)
        assert not behind.work.begun.is_set()
        cancelled.work.may_end.set()
        await thread_end(cancelled.job)
        assert execution.admitted == {behind.job}
        await behind.end()

    run_with_execution(clock, ONE, test)


def test_place_is_given_back_once(clock: Clock) -> None:
    """Also where a job is released twice, was refused, or never asked for a place."""

    async def test(execution: Execution) -> None:
        job, refused, inline = (job_of(clock, execution) for _ in range(3))
        await execution.admit(job, Client().request())
        with pytest.raises(Problem):
            await execution.admit(refused, Client().request())
        execution.release(refused)
        execution.release(inline)
        assert execution.admitted == {job} and free_places(execution) == 0
        execution.release(job)
        execution.release(job)
        assert free_places(execution) == 1
        for ended in (job, refused, inline, job):
            execution.finish(ended)

    run_with_execution(clock, Settings(max_concurrency=1, max_queue=0), test)


def test_work_in_two_parts_keeps_one_place(clock: Clock) -> None:
    """As for a large body, which is read in the pool and then computed there."""

    async def test(execution: Execution) -> None:
        job = job_of(clock, execution)
        await execution.admit(job, Client().request())
        behind = Served(execution, clock)
        assert await execution.run(job, lambda: "read") == "read"
        await settle()
        assert in_pool() == (1, 1) and not behind.work.begun.is_set()
        assert await execution.run(job, lambda: "computed") == "computed"
        execution.release(job)
        execution.finish(job)
        await behind.end()

    run_with_execution(clock, ONE, test)


# --- a shutdown

SHUTDOWN = Settings(max_concurrency=1, max_queue=4, shutdown_s=12.0)


def test_shutdown_leaves_jobs_the_time_that_the_documentation_says(clock: Clock) -> None:
    """A computation is answered about two seconds before the end of AUTODIFF_SHUTDOWN_S; a sooner deadline stays."""

    async def test(execution: Execution) -> None:
        long, short = Served(execution, clock), Served(execution, clock, seconds=9.0)
        await long.work.begun.wait()
        assert not execution.draining and execution.last_deadline == math.inf
        began = clock.now
        execution.drain()
        assert execution.draining
        assert (long.job.deadline, long.job.stopping) == (began + 10.0, True)
        assert (short.job.deadline, short.job.stopping) == (began + 9.0, False)
        await clock.advance(4.0)
        later, sooner = Served(execution, clock), Served(execution, clock, seconds=2.0)
        await settle()
        assert (later.job.deadline, later.job.stopping) == (began + 10.0, True)
        assert (sooner.job.deadline, sooner.job.stopping) == (began + 6.0, False)
        await clock.advance(2.0)
        await refusal(sooner.task, "deadline-exceeded")
        await clock.advance(3.0)
        problem = await refusal(short.task, "deadline-exceeded")
        assert "AUTODIFF_COMPUTE_TIMEOUT_S" in problem.detail
        await clock.advance(1.0)
        problem = await refusal(later.task, "deadline-exceeded")
        assert "shutting down" in problem.detail
        long.work.may_end.set()
        assert await long.task == "done", "at its deadline a job may still end"

    run_with_execution(clock, SHUTDOWN, test)


def test_shutdown_shortens_the_wait_of_queued_jobs(clock: Clock) -> None:
    """Two seconds before the end of a shutdown of twelve, a job that still waits is answered."""

    async def test(execution: Execution) -> None:
        first = Served(execution, clock)
        await first.work.begun.wait()
        waiting = Served(execution, clock)
        await settle()
        execution.drain()
        await clock.pass_in_steps(9.9, step=0.1)
        assert not waiting.task.done()
        await clock.pass_in_steps(1.2, step=0.1)
        assert "shutting down" in str((await refusal(waiting.task, "deadline-exceeded")).detail)
        first.work.may_end.set()
        await asyncio.wait((first.task,))

    run_with_execution(clock, SHUTDOWN, test)


def test_work_is_cancelled_when_the_server_gives_up_on_its_request(clock: Clock) -> None:
    async def test(execution: Execution) -> None:
        served = Served(execution, clock)
        await served.work.begun.wait()
        assert not served.job.cancelled
        served.task.cancel()
        await settle()
        assert served.task.cancelled() and served.job.cancelled
        served.work.may_end.set()
        await thread_end(served.job)

    run_with_execution(clock, SHUTDOWN, test)


def test_work_past_the_time_of_a_shutdown_is_told_to_try_again(clock: Clock) -> None:
    async def test(execution: Execution) -> None:
        served = Served(execution, clock)
        await served.work.begun.wait()
        execution.drain()
        await clock.advance(10.5)
        served.work.may_end.set()
        await asyncio.wait((served.task,))
        problem = await refusal(served.task, "deadline-exceeded")
        assert "shutting down" in problem.detail and "AUTODIFF" not in problem.detail

    run_with_execution(clock, SHUTDOWN, test)


@pytest.mark.parametrize("seconds", [0.0, 1.0, 2.0])
def test_short_shutdown_ends_work_at_its_next_check(clock: Clock, seconds: float) -> None:
    """The deadline is now, and not in the past: what has just been answered is answered."""

    async def test(execution: Execution) -> None:
        job = job_of(clock, execution)
        await execution.admit(job, Client().request())
        execution.drain()
        assert job.deadline == clock.now and job.stopping
        job.check()
        clock.now += 1e-6
        with pytest.raises(Problem, match="shutting down"):
            job.check()
        execution.release(job)
        execution.finish(job)

    run_with_execution(clock, Settings(max_concurrency=1, shutdown_s=seconds), test)


@pytest.fixture
def trims(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads in which memory is given back to the system."""
    names: list[str] = []
    monkeypatch.setattr(execution_module, "trim_memory", lambda: names.append(threading.current_thread().name))
    return names


async def use_memory(clock: Clock, execution: Execution, size: int, *, close: bool = False) -> None:
    """Let a job hold so much memory, and end, perhaps after the pool."""
    job = job_of(clock, execution)
    await execution.admit(job, Client().request())
    job.reserve(size)
    execution.release(job)
    if close:
        execution.close()
    execution.finish(job)
    assert execution.budget.used == 0 and not execution.in_flight


def test_memory_goes_back_to_the_system_once_for_the_large_jobs_of_a_second(clock: Clock, trims: list[str]) -> None:
    async def test(execution: Execution) -> None:
        for count in (1, 2):
            for _ in range(3):
                await use_memory(clock, execution, 1 << 28)
            await clock.advance(TRIM_SECONDS - 0.01)
            assert len(trims) == count - 1
            await clock.advance(0.02)
            execution.pool.submit(int).result()
            assert len(trims) == count and trims[-1].startswith("compute")

    run_with_execution(clock, Settings(memory_bytes=1 << 30, max_concurrency=1), test)


@pytest.mark.parametrize(("size", "count"), [(33_000_000, 0), (34_000_000, 1)], ids=["small", "large"])
def test_memory_of_large_jobs_alone_goes_back_to_the_system(clock: Clock, trims: list[str], size: int, count: int) -> None:
    async def test(execution: Execution) -> None:
        await use_memory(clock, execution, size)
        await clock.advance(TRIM_SECONDS + 0.01)
        execution.close()
        assert len(trims) == count

    run_with_execution(clock, Settings(memory_bytes=1 << 30), test)


@pytest.mark.parametrize("is_late", [False, True], ids=["before", "after"])
def test_closed_pool_gives_nothing_back_to_the_system(
    clock: Clock, trims: list[str], caplog: pytest.LogCaptureFixture, is_late: bool
) -> None:
    """Whether the job ended before it was closed or ends after it."""

    async def test(execution: Execution) -> None:
        await use_memory(clock, execution, 1 << 28, close=is_late)
        if not is_late:
            execution.close()
        await clock.advance(TRIM_SECONDS + 0.01)
        assert not trims

    run_with_execution(clock, Settings(memory_bytes=1 << 30), test)
    assert not caplog.records, "no callback of the event loop fails"


def test_close_cancels_what_runs_and_waits_for_its_threads(clock: Clock) -> None:
    async def main() -> None:
        execution = Execution(Settings(max_concurrency=2, max_queue=2))
        loop, begun, ended = asyncio.get_running_loop(), [asyncio.Event(), asyncio.Event()], []
        pause = threading.Event()
        jobs = [job_of(clock, execution) for _ in range(3)]

        def work(k: int) -> str:
            loop.call_soon_threadsafe(begun[k].set)
            try:
                while not pause.wait(0.001):
                    jobs[k].check()
            finally:
                ended.append(k)
            return "never"

        def first() -> str:
            return work(0)

        def second() -> str:
            return work(1)

        tasks = [
            asyncio.create_task(serve(execution, job, job_work)) for job, job_work in zip(jobs, (first, second), strict=False)
        ]
        waiting = asyncio.create_task(serve(execution, jobs[2], lambda: "never"))
        for event in begun:
            await event.wait()
        guard = threading.Timer(10.0, pause.set)
        guard.start()
        execution.close()
        guard.cancel()
        assert sorted(ended) == [0, 1] and not pause.is_set()
        assert [job.cancelled for job in jobs] == [True, True, True]
        outcomes = await asyncio.gather(*tasks, waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ClientDisconnect] * 3
        await idle(execution)

    run_on(clock, main())


# --- requests: on the loop or in the pool, and what is left of them


class Item(RequestModel):
    """A request that says how to end, and how long it is estimated to take."""

    outcome: str = "success"
    seconds: float = 0.0
    padding: str = ""


class Thread(ResponseModel):
    """Where a request was computed."""

    thread: str


@dataclass
class App:
    """An app whose computation waits for the test if it runs in the pool; with what it saw."""

    clock: Clock
    settings: Settings = field(default_factory=lambda: Settings(max_concurrency=1, max_queue=0))

    def __post_init__(self) -> None:
        self.jobs: list[Job] = []
        self.begun = asyncio.Event()
        self.may_end = threading.Event()
        router = APIRouter(route_class=ComputationRoute)
        loop = asyncio.get_running_loop()

        def refuse() -> None:
            raise Problem("not-found", "refused by a dependency")

        @router.post("/refused", dependencies=[Depends(refuse)])
        @router.post("/item")
        @computation(estimate_seconds=lambda request: request.seconds)
        def item(request: Item, job: Job) -> Thread:
            self.jobs.append(job)
            if job.admitted:
                loop.call_soon_threadsafe(self.begun.set)
                assert self.may_end.wait(10.0)
            job.check()
            if request.outcome == "problem":
                raise Problem("non-finite", "no number")
            if request.outcome == "defect":
                raise RuntimeError("s3cret")
            return Thread(thread=threading.current_thread().name)

        self.app: FastAPI = service(router, settings=self.settings)
        self.execution = self.app.state.execution = Execution(self.settings)
        self.execution.ready.set()

    def post(self, content: bytes, path: str = "/item", **headers: str) -> Connection:
        """Send a request."""
        return Connection(self.app, path, content, content_type="application/json", **headers)


LONG = {"seconds": 1.0}
PADDED = {"padding": "x" * INLINE_BYTES} | LONG
OUTCOMES = {"success": 200, "problem": 422, "defect": 500, "late": 503, "disconnect": 499, "refused": 404, "invalid": 422}
FORMS: dict[str, tuple[dict[str, Any], bool]] = {
    "small": ({}, False),
    "estimated as long": (LONG, False),
    "large": (PADDED, False),
    "gzip": (LONG, True),
    "large and gzip": (PADDED, True),
}
ENDS = {
    f"{form}, {outcome}": (*FORMS[form], outcome)
    for form in FORMS
    for outcome in OUTCOMES
    if form != "small" or outcome not in ("disconnect", "late")
}


@pytest.mark.parametrize(("more", "zipped", "outcome"), ENDS.values(), ids=ENDS)
def test_job_is_released_whatever_happens(
    clock: Clock, caplog: pytest.LogCaptureFixture, more: dict[str, Any], zipped: bool, outcome: str
) -> None:
    """While a small request runs on the loop, its client cannot leave and its time cannot run out."""
    inline = not more and not zipped

    async def main() -> None:
        app = App(clock)
        execution = app.execution
        request = {"outcome": outcome} | more
        content = json.dumps(request | ({"seconds": "soon"} if outcome == "invalid" else {})).encode()
        headers = {"content_encoding": "gzip"} if zipped else {}
        connection = app.post(
            gzip.compress(content) if zipped else content, "/refused" if outcome == "refused" else "/item", **headers
        )
        if inline or outcome in ("refused", "invalid"):
            await asyncio.wait((connection.task,))
        else:
            await asyncio.wait((connection.task, asyncio.create_task(app.begun.wait())), return_when=asyncio.FIRST_COMPLETED)
            assert execution.requests_in_flight == 1 and execution.admitted == set(app.jobs) and in_pool() == (1, 0)
            overload = app.post(json.dumps(LONG).encode())
            await settle()
            assert overload.problem() == "overloaded" and int(overload.headers["retry-after"]) >= 1
            if outcome == "disconnect":
                connection.left.set()
                await settle()
                assert connection.task.done() and execution.requests_in_flight == 0
                assert execution.admitted == set(app.jobs), "the thread still runs"
            if outcome == "late":
                await clock.advance(31.0)
            app.may_end.set()
            await asyncio.wait((connection.task,))
            await thread_end(app.jobs[0])
        await connection.task
        await settle()
        assert connection.status == OUTCOMES[outcome]
        if outcome == "success":
            assert connection.json()["thread"].startswith("compute") != inline
        if outcome in ("refused", "invalid"):
            assert not app.jobs
        await idle(execution)
        execution.close()

    run_on(clock, main())


@pytest.mark.parametrize(
    ("size", "seconds", "zipped", "in_the_pool"),
    [
        (INLINE_BYTES, INLINE_SECONDS, False, False),
        (INLINE_BYTES + 1, 0.0, False, True),
        (100, math.nextafter(INLINE_SECONDS, 1.0), False, True),
        (100, 0.0, True, True),
        (INLINE_BYTES * 20, 0.0, True, True),
    ],
    ids=["at both limits", "a byte too large", "estimated as longer", "small gzip", "large in a small gzip body"],
)
def test_inline_or_pool(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, size: int, seconds: float, zipped: bool, in_the_pool: bool
) -> None:
    """A body that is large or compressed is also decompressed and validated in the pool."""
    threads: list[str] = []
    parse = bodies.parse

    def noted(body: bytes, model: type[Item], *check: Callable[[], None]) -> Item:
        threads.append("pool" if threading.current_thread().name.startswith("compute") else "loop")
        assert bool(check) == (threads[-1] == "pool"), "the deadline is looked at while the body is decoded"
        return parse(body, model, *check)

    monkeypatch.setattr(bodies, "parse", noted)

    async def main() -> None:
        app = App(clock)
        app.may_end.set()
        content = json.dumps({"seconds": seconds}).encode().ljust(size)
        sent = gzip.compress(content) if zipped else content
        connection = app.post(sent, **({"content_encoding": "gzip"} if zipped else {}))
        await connection.task
        assert connection.json()["thread"].startswith("compute") == in_the_pool
        assert app.jobs[0].facts["bytes_in"] == len(sent)
        assert threads == ["pool" if in_the_pool and (zipped or size > INLINE_BYTES) else "loop"]
        await idle(app.execution)
        app.execution.close()

    run_on(clock, main())


def test_deadline_covers_decompression(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted from when the body has been read, and looked at between the pieces of a gzip body."""

    def slow(body: bytes, limit: int, check: Callable[[], None]) -> bytes:
        check()
        clock.now += 30.0
        check()
        clock.now += 0.5
        check()
        return b"{}"

    monkeypatch.setattr(bodies, "decompress", slow)

    async def main() -> None:
        app = App(clock)
        connection = app.post(gzip.compress(b"{}"), content_encoding="gzip")
        await connection.task
        assert connection.problem() == "deadline-exceeded" and int(connection.headers["retry-after"]) >= 1
        await idle(app.execution)
        app.execution.close()

    run_on(clock, main())


def test_request_that_waits_for_the_kernels_takes_no_place_and_no_time(clock: Clock) -> None:
    """Its deadline counts from when it can begin."""

    async def main() -> None:
        app = App(clock)
        app.execution.ready.clear()
        app.may_end.set()
        connection = app.post(json.dumps(LONG).encode())
        await clock.advance(3600.0)
        assert not connection.messages and app.execution.admitted == set()
        app.execution.ready.set()
        await connection.task
        assert connection.status == 200 and app.jobs[0].deadline == clock.now + 30.0
        await idle(app.execution)
        app.execution.close()

    run_on(clock, main())


TRAINING = {
    "model": {"layers": [{"weights": [[1.0]], "biases": [0.0]}]},
    "data": {"inputs": [[1.0], [2.0]], "targets": [1.0, 2.0]},
    "loss": "mse",
    "steps": 1_000_000,
    "log_every": 1_000_000,
}


@pytest.mark.parametrize("draining", [False, True], ids=["at its deadline", "in a shutdown"])
@pytest.mark.parametrize("path", ["/v1/networks/train", "/v1/networks/train/stream"], ids=["answer", "stream"])
def test_training_out_of_time_answers_with_the_model_so_far(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, path: str, draining: bool
) -> None:
    """Each chunk of steps takes a second; the first one that leaves no time to write the answer is the last."""
    clock.install(monkeypatch, training, routes)
    steps = training._Run.steps
    sizes: list[int] = []
    app = create_app(Settings(max_concurrency=1, shutdown_s=12.0))

    def slow(run: Any, first: int, count: int, *controls: Any) -> Any:
        if draining and not sizes:
            app.state.execution.drain()
        clock.now += 1.0
        sizes.append(count)
        return steps(run, first, count, *controls)

    monkeypatch.setattr(training._Run, "steps", slow)

    async def main() -> None:
        execution = app.state.execution = Execution(app.state.settings)
        execution.ready.set()
        connection = Connection(app, path, TRAINING, content_type="application/json")
        await connection.task
        assert connection.status == 200
        text = connection.content.decode()
        answer = json.loads(text.split("event: result\ndata: ")[1] if path.endswith("stream") else text)
        assert answer["stopped"] == "deadline" and str(TRAINING["steps"]) in answer["detail"]
        assert len(sizes) == (10 if draining else 30) and answer["state"]["step"] == sum(sizes)
        assert answer["history"][-1]["step"] == sum(sizes) - 1
        await idle(execution)
        execution.close()

    run_on(clock, main())


def test_training_whose_last_step_ends_past_the_deadline_is_complete(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    clock.install(monkeypatch, training)
    result = training.train(
        MLP(1, [1]),
        np.ones((2, 1)),
        np.ones((2, 1)),
        training.TrainingOptions(losses.named("mse"), optimizers.make("sgd"), steps=1),
        out_of_time=lambda: True,
    )
    assert (result.stopped, result.state.step, result.detail) == ("completed", 1, None)


def test_training_ends_when_its_client_leaves(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the chunk of steps during which the client left."""
    steps = training._Run.steps
    chunks: list[int] = []

    async def main() -> None:
        app = create_app(Settings(max_concurrency=1))
        execution = app.state.execution = Execution(app.state.settings)
        execution.ready.set()
        chunk = Work()

        def watched(run: Any, first: int, count: int, *controls: Any) -> Any:
            chunks.append(first)
            if len(chunks) == 3:
                chunk()
            assert len(chunks) < 100, "the training goes on, though nobody waits for it"
            return steps(run, first, count, *controls)

        clock.install(monkeypatch, training, routes)
        monkeypatch.setattr(training._Run, "steps", watched)
        request = TRAINING | {"steps": 1_000_000_000}
        connection = Connection(app, "/v1/networks/train", request, content_type="application/json")
        await chunk.begun.wait()
        connection.left.set()
        await connection.task
        assert connection.status == 499 and execution.requests_in_flight == 0
        chunk.may_end.set()
        await idle(execution)
        execution.close()

    run_on(clock, main())
    assert len(chunks) == 3


FAULTY: dict[str, dict[str, Any]] = {
    "unbound input of a text": {"expression": "x*y", "inputs": {"x": 1}},
    "unbound input of a graph": {
        "expression": {"nodes": [{"id": "x", "op": "value"}, {"id": "y", "op": "neg", "args": ["x"]}], "output": "y"}
    },
    "not finite in a text": {"expression": "log(x)", "inputs": {"x": -1}},
    "lists of unlike length": {"expression": "x*y", "inputs": {"x": [1, 2], "y": [1]}},
}


@pytest.mark.parametrize("request_body", FAULTY.values(), ids=FAULTY)
def test_problem_is_the_same_wherever_the_request_runs(clock: Clock, request_body: dict[str, Any]) -> None:
    """Also the place at which it points, which depends on the form of the expression."""

    async def main() -> None:
        app = create_app(Settings(max_concurrency=1))
        execution = app.state.execution = Execution(app.state.settings)
        execution.ready.set()
        content = json.dumps(request_body).encode()
        zipped = {"content_encoding": "gzip"}
        found = []
        for sent, headers in ((content, {}), (content.ljust(INLINE_BYTES + 1), {}), (gzip.compress(content), zipped)):
            connection = Connection(app, "/v1/backward", sent, content_type="application/json", **headers)
            await connection.task
            assert connection.status == 422 and connection.json()["errors"]
            found.append(connection.content)
        assert found[0] == found[1] == found[2]
        await idle(execution)
        execution.close()

    run_on(clock, main())

"""Where work runs: small requests on the event loop, the others in a bounded pool of threads of their own.

A hop to a thread costs as much as a small request does; a large one on the loop would keep all others waiting. Kernels and
NumPy let go of the GIL, so a large computation leaves the loop free. A computation ends at its deadline, or when its client
goes away, at its next checkpoint; its place in the pool is free when its thread has really ended. Not here: what is computed.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.api.metrics import QUEUED, RUNNING
from app.api.problems import Problem
from app.engine import interruption
from app.settings import Settings

T = TypeVar("T")

INLINE_BYTES = 8192
INLINE_SECONDS = 0.001
"""Bodies up to this size are worked on where they arrive, if that takes, by an estimate made before, no longer than this."""


@dataclass(slots=True)
class Job:
    """What a computation can look at while it runs: its deadline, a time of `time.perf_counter`; whether its client is still
    there; the settings. What it finds out about itself goes into `facts`, and on to the log.
    """

    deadline: float
    settings: Settings
    facts: dict[str, Any]
    cancelled: bool = False
    stopping: bool = False

    def check(self) -> None:
        """Raises where the work is to end: ClientDisconnect, or Problem for the deadline."""
        if self.cancelled:
            raise ClientDisconnect
        if time.perf_counter() > self.deadline:
            if self.stopping:
                raise Problem("deadline-exceeded", "the service is stopping; ask again", headers={"Retry-After": "1"})
            raise Problem(
                "deadline-exceeded",
                f"the computation took over {self.settings.compute_timeout_s:g} s, which AUTODIFF_COMPUTE_TIMEOUT_S limits",
                headers={"Retry-After": "1"},
            )


JOB: ContextVar[Job] = ContextVar("JOB")
"""The job that the code which reads it runs for."""


class Execution:
    """The pool of one process, its queue, and whether its kernels are ready."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pool = ThreadPoolExecutor(settings.max_concurrency, thread_name_prefix="compute")
        self.ready = asyncio.Event()
        self.jobs: dict[int, Job] = {}
        self.draining = False
        self.serving = 0

    def job(self, facts: dict[str, Any]) -> Job:
        """A job that begins now."""
        return Job(time.perf_counter() + self.settings.compute_timeout_s, self.settings, facts)

    def inline(self, work: Callable[[], T], request: Request) -> T:
        """The result of small work, done at once."""
        job = self.job(request.scope["state"]["facts"])
        token, check = JOB.set(job), interruption.CHECK.set(job.check)
        try:
            return work()
        finally:
            JOB.reset(token)
            interruption.CHECK.reset(check)

    async def pooled(self, work: Callable[[], T], request: Request) -> T:
        """The result of work done in the pool.

        Raises Problem where the queue is full, ClientDisconnect where the client went away meanwhile.
        """
        job = self.job(request.scope["state"]["facts"])
        future = self.start(work, job)
        watcher = asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait((future, watcher), return_when=asyncio.FIRST_COMPLETED)
            if future.done():
                return future.result()
            future.add_done_callback(_heard)
            raise ClientDisconnect
        finally:
            job.cancelled = True
            watcher.cancel()

    def start(self, work: Callable[[], T], job: Job) -> asyncio.Future[T]:
        """Begins `work` in the pool, as this job. Raises Problem where too many wait already."""
        waiting = len(self.jobs) - self.settings.max_concurrency
        if waiting >= self.settings.max_queue:
            raise Problem(
                "overloaded",
                f"{waiting} computations wait already, and AUTODIFF_MAX_QUEUE is {self.settings.max_queue}",
                headers={"Retry-After": "1"},
            )

        def begin() -> T:
            job.check()
            return work()

        context = copy_context()
        context.run(JOB.set, job)
        context.run(interruption.CHECK.set, job.check)
        self.jobs[id(job)] = job
        self._tell()
        future = asyncio.get_running_loop().run_in_executor(self.pool, context.run, begin)
        future.add_done_callback(lambda _: self._end(job))
        return future

    def _end(self, job: Job) -> None:
        self.jobs.pop(id(job), None)
        self._tell()

    def _tell(self) -> None:
        RUNNING.set(min(len(self.jobs), self.settings.max_concurrency))
        QUEUED.set(max(len(self.jobs) - self.settings.max_concurrency, 0))

    def drain(self) -> None:
        """Lets what runs end in the time that a shutdown leaves; trainings then come to an end with the model so far."""
        self.draining = True
        latest = time.perf_counter() + max(self.settings.shutdown_s - 2.0, 0.0)
        for job in self.jobs.values():
            job.stopping = latest < job.deadline
            job.deadline = min(job.deadline, latest)

    def close(self) -> None:
        """Waits for what runs and takes nothing new."""
        for job in self.jobs.values():
            job.cancelled = True
        self.pool.shutdown()


async def _gone(request: Request) -> None:
    """Returns when the client has gone away. The body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _heard(future: asyncio.Future[Any]) -> None:
    """Takes note of how a computation ended that nobody waits for."""
    if not future.cancelled():
        future.exception()

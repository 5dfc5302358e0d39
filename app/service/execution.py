"""Where work runs: small requests on the event loop, the others in a bounded pool of threads.

A hop to a thread costs as much as a small request, and a large request on the loop would stall all others. Kernels and NumPy
release the GIL, so a large computation leaves the loop free. A computation ends at its deadline, or when its client goes away,
at its next checkpoint; its place in the pool is free again when its thread has really ended.
"""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.service.metrics import QUEUED, RUNNING
from app.service.problems import Problem
from app.settings import Settings

T = TypeVar("T")

INLINE_BYTES = 8192
INLINE_SECONDS = 0.001
"""Bodies up to this size run on the event loop if their estimated run time is not longer than this."""


@dataclass(slots=True, eq=False)
class Job:
    """One computation, from its request to its response.

    Attributes:
        settings: the limits it must keep to.
        deadline: when it must end, as a time of `time.perf_counter`.
        facts: what it found out about itself, for the log line.
        cancelled: nobody waits for it any more.
        stopping: its deadline was brought forward because the service is shutting down.
    """

    settings: Settings
    deadline: float
    facts: dict[str, Any]
    cancelled: bool = False
    stopping: bool = False
    admitted: bool = False
    thread: "asyncio.Future[Any] | None" = None
    watcher: "asyncio.Task[None] | None" = None

    def check(self) -> None:
        """Raise ClientDisconnect or, past the deadline, Problem if the work must end. Long work calls it between its parts."""
        self.check_client()
        if time.perf_counter() > self.deadline:
            raise self.deadline_exceeded()

    def check_client(self) -> None:
        """Raise ClientDisconnect if nobody waits for the work any more."""
        if self.cancelled:
            raise ClientDisconnect

    def deadline_exceeded(self) -> Problem:
        """The problem for a computation that ran out of time."""
        detail = f"the computation took over {self.settings.compute_timeout_s:g} s, the limit of AUTODIFF_COMPUTE_TIMEOUT_S"
        if self.stopping:
            detail = "the service is shutting down; try again"
        return Problem("deadline-exceeded", detail, headers={"Retry-After": "1"})


class Execution:
    """The pool of one process, its queue, and whether its kernels are ready."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pool = ThreadPoolExecutor(settings.max_concurrency, thread_name_prefix="compute")
        self.places = asyncio.Semaphore(settings.max_concurrency)
        self.ready = asyncio.Event()
        self.admitted: set[Job] = set()
        self.draining = False
        self.last_deadline = math.inf  # what a shutdown leaves to jobs, as a time of `time.perf_counter`
        self.requests_in_flight = 0

    async def admit(self, job: Job, request: Request) -> None:
        """Wait for a place in the pool.

        From now on the client's connection is watched, so the body must have been read. Raises Problem where the queue is full
        or the deadline passes first, ClientDisconnect where the client goes away first.
        """
        waiting = len(self.admitted) - self.settings.max_concurrency
        if waiting >= self.settings.max_queue:
            raise Problem(
                "overloaded",
                f"{waiting} computations are waiting, and AUTODIFF_MAX_QUEUE is {self.settings.max_queue}",
                headers={"Retry-After": "1"},
            )
        job.admitted = True
        self.admitted.add(job)
        self._bring_forward(job)
        self._count()
        job.watcher = asyncio.create_task(_cancel_on_disconnect(job, request))
        place = asyncio.ensure_future(self.places.acquire())
        try:
            left = math.inf
            while left > 0.0 and not place.done() and not job.watcher.done():
                left = max(job.deadline - time.perf_counter(), 0.0)
                # In parts, since a shutdown may bring the deadline forward.
                await asyncio.wait((place, job.watcher), timeout=min(left, 1.0), return_when=asyncio.FIRST_COMPLETED)
            job.check()
            if not place.done():
                raise job.deadline_exceeded()
        except BaseException:
            if place.done() and not place.cancelled():
                self.places.release()
            place.cancel()
            self._forget(job)
            raise

    async def run(self, job: Job, work: Callable[[], T]) -> T:
        """The result of `work`, done in a thread of the pool. Raises ClientDisconnect as soon as the client goes away."""
        assert job.watcher is not None, "only admitted jobs run in the pool"
        thread = asyncio.get_running_loop().run_in_executor(self.pool, work)
        job.thread = thread
        try:
            if not job.watcher.done():
                await asyncio.wait((thread, job.watcher), return_when=asyncio.FIRST_COMPLETED)
        except BaseException:  # the server gives up on the request
            job.cancelled = True
            raise
        if not thread.done():
            thread.add_done_callback(_ignore_result)
            raise ClientDisconnect
        return thread.result()

    def release(self, job: Job) -> None:
        """Give the job's place back, now or when its thread ends. Jobs that were never admitted have none."""
        if not job.admitted:
            return
        if job.thread is not None and not job.thread.done():
            job.thread.add_done_callback(lambda _: self.release(job))
            return
        if job in self.admitted:
            self.places.release()
            self._forget(job)

    def _forget(self, job: Job) -> None:
        if job.watcher is not None:
            job.watcher.cancel()
        job.admitted = False
        self.admitted.discard(job)
        self._count()

    def _count(self) -> None:
        RUNNING.set(min(len(self.admitted), self.settings.max_concurrency))
        QUEUED.set(max(len(self.admitted) - self.settings.max_concurrency, 0))

    def drain(self) -> None:
        """Give jobs, also those still to come, the time that a shutdown leaves. Trainings then end with the model so far."""
        self.draining = True
        self.last_deadline = time.perf_counter() + max(self.settings.shutdown_s - 2.0, 0.0)
        for job in self.admitted:
            self._bring_forward(job)

    def _bring_forward(self, job: Job) -> None:
        """End a job in time for a shutdown."""
        job.stopping = self.last_deadline < job.deadline
        job.deadline = min(job.deadline, self.last_deadline)

    def close(self) -> None:
        """Cancel what runs, and wait for its threads to end."""
        for job in self.admitted:
            job.cancelled = True
        self.pool.shutdown()


async def _cancel_on_disconnect(job: Job, request: Request) -> None:
    """Cancel the job when its client goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    job.cancelled = True


def _ignore_result(thread: "asyncio.Future[Any]") -> None:
    """Retrieve the exception of work that nobody waits for, so that asyncio does not report it."""
    if not thread.cancelled():
        thread.exception()
